//! One certificate in every format: the Secret of a specification with both kinds of keystore, and a
//! revocation list of its CA.
//!
//! `cargo run -p certwright-issuance --example keystores -- FOLDER`, then for example
//! `keytool -list -keystore FOLDER/keystore.jks -storepass changeit`,
//! `openssl pkcs12 -info -in FOLDER/keystore.p12 -passin pass:changeit -noenc` and
//! `openssl crl -in FOLDER/crl.pem -noout -text`.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::{Defaults, Manifest, TlsSecret, manifest};
use certwright_issuance::crl::{RevocationList, RevocationReason, Revoked};
use certwright_issuance::csr::Request;
use certwright_issuance::keystore::SecretKeystores;
use certwright_issuance::{CertificateAuthority, Csr, CsrPolicy, KeyPair, Profile, self_signed};
use time::{Duration, OffsetDateTime};

const CERTIFICATE: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: default}
spec:
  secretName: web-tls
  issuerRef: {name: ca}
  dnsNames: [example.com]
  privateKey: {algorithm: ECDSA}
  additionalOutputFormats: [{type: DER}, {type: CombinedPEM}]
  keystores:
    jks: {create: true, alias: web, passwordSecretRef: {name: passwords, key: keystores}}
    pkcs12: {create: true, profile: Modern2023, passwordSecretRef: {name: passwords, key: keystores}}
";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let now = OffsetDateTime::now_utc();
    let mut passwords = TlsSecret::new("default", "passwords");
    passwords.insert("keystores", "changeit");

    let ca = authority(now)?;
    let Some(Ok(Manifest::Certificate(certificate))) =
        manifest::read(CERTIFICATE, Format::Yaml, Strictness::Strict).pop()
    else {
        return Err("the Certificate cannot be read".into());
    };
    let spec = certificate.validate(&Defaults::documented())?.spec;
    let key = KeyPair::generate(spec.key().algorithm)?;
    let csr = Csr::for_spec(&spec, &key)?.verify(&CsrPolicy::default())?;
    let bundle = ca.sign(&csr, &Profile::for_spec(&spec), now)?;
    let leaf = bundle.certificate()?;

    let secret = TlsSecret::new("default", "web-tls");
    let mut secret = bundle.into_secret(secret, &key, spec.key().encoding, spec.outputs())?;
    let stores = SecretKeystores::resolve(spec.keystores(), |name, key| {
        (name == passwords.name)
            .then(|| passwords.get(key))
            .flatten()
    })?;
    stores.write(&mut secret, now)?;
    assert!(stores.outdated(&secret)?.is_empty());

    let mut list = RevocationList::new(1, now + Duration::days(7));
    let mut revoked = Revoked::certificate(&leaf, now)?;
    revoked.reason = Some(RevocationReason::Superseded);
    list.revoked.push(revoked);
    let crl = ca.sign_crl(&list, now)?.to_pem();

    let crl = [("crl.pem", crl.as_bytes())];
    for (name, bytes) in secret.data().chain(crl) {
        println!("{name:16} {:6} bytes", bytes.len());
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
            write_private(&folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// For nobody else to read: there are keys in it.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    options.open(path)?.write_all(bytes)
}

fn authority(now: OffsetDateTime) -> Result<CertificateAuthority, Box<dyn Error>> {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let csr = Request::new("Example Root", &[])?.sign(&key)?;
    let csr = csr.verify(&CsrPolicy::default())?;
    let usages = ["cert sign".parse()?, "crl sign".parse()?];
    let profile = Profile::ca(usages.into_iter().collect(), Duration::days(3650), None);
    let root = self_signed(&csr, &key, &profile, now)?;
    Ok(CertificateAuthority::new(
        vec![root.certificate()?],
        key,
        now,
    )?)
}
