//! The Secret of Traefik's documentation of TLS certificates is read.

#![allow(clippy::unwrap_used, reason = "this file is a test")]

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_cert_model::{CertificateFacts, Manifest, manifest, pem};

#[test]
fn a_secret_of_the_documentation_is_read() {
    let text = include_str!("data/traefik-secret.yaml");
    let manifest = manifest::read(text, Format::Yaml, Strictness::Strict)
        .remove(0)
        .unwrap();
    let Manifest::Secret(secret) = manifest else {
        panic!("{manifest:?}");
    };
    assert_eq!(
        (secret.namespace.as_str(), secret.name.as_str()),
        ("apps", "secret-tls")
    );
    let key = pem::read(secret.get(TLS_KEY).unwrap()).unwrap();
    assert_eq!(key[0].label(), "PRIVATE KEY");
    let chain = pem::read(secret.get(TLS_CRT).unwrap()).unwrap();
    let facts = CertificateFacts::from_der(chain[0].der()).unwrap();
    assert_eq!(facts.names.dns, ["whoami.localhost"]);
    assert_eq!(
        facts.subject.to_string(),
        "CN=Whoami,O=Traefik Labs,L=Lyon,C=FR"
    );
    assert!(!format!("{secret:?}").contains("PRIVATE"));
    assert!(!secret.describe().contains("PRIVATE"));
}
