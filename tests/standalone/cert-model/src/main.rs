//! A linter in thirty lines: only the vocabulary crate is asked.

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::name::SpiffeId;
use certwright_cert_model::{Defaults, Manifest, manifest};

const MANIFEST: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: default}
spec:
  secretName: web-tls
  issuerRef: {name: ca}
  dnsNames: [www.example.com]
  uris: ['spiffe://example.com/web']
  duration: 90d
";

fn check(text: &str) -> Result<String, String> {
    let mut manifests = manifest::read(text, Format::Yaml, Strictness::Strict);
    let manifest = manifests.remove(0).map_err(|e| e.to_string())?;
    let Manifest::Certificate(certificate) = manifest else {
        return Err("not a Certificate".to_owned());
    };
    let valid = certificate
        .validate(&Defaults::documented())
        .map_err(|e| e.to_string())?;
    let id: SpiffeId = valid.spec.names().uri[0]
        .as_str()
        .parse()
        .map_err(|e| format!("{e}"))?;
    Ok(id.trust_domain().to_owned())
}

fn main() {
    let problem = check(MANIFEST).expect_err("Go has no days");
    assert!(
        problem.starts_with("10:13: spec.duration: ") && problem.ends_with("write 2160h"),
        "{problem}"
    );
    println!("{problem}");
    assert_eq!(
        check(&MANIFEST.replace("90d", "2160h")).as_deref(),
        Ok("example.com")
    );
}
