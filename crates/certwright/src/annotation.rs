//! What a Secret's annotations tell about where its certificate came from.

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer_ref::{CERT_MANAGER_GROUP, IssuerRef};

use crate::inventory::ResourceName;

const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";
const ISSUER_GROUP: &str = "cert-manager.io/issuer-group";
const ISSUER_KIND: &str = "cert-manager.io/issuer-kind";
const ISSUER_NAME: &str = "cert-manager.io/issuer-name";

/// Writes down which Certificate a Secret belongs to and who signed.
pub(crate) fn record(secret: &mut TlsSecret, certificate: &ResourceName, issuer: &IssuerRef) {
    for (key, value) in [
        (CERTIFICATE_NAME, certificate.name.as_str()),
        (ISSUER_GROUP, issuer.group()),
        (ISSUER_KIND, issuer.kind()),
        (ISSUER_NAME, &issuer.name),
    ] {
        secret.annotations.insert(key.to_owned(), value.to_owned());
    }
}

/// The issuer a Secret tells of, `Kind/name`, if it is another one; a Secret that tells nothing is nobody's.
pub(crate) fn other_issuer(secret: &TlsSecret, issuer: &IssuerRef) -> Option<String> {
    let get = |key: &str| secret.annotations.get(key).map(String::as_str);
    if [ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME]
        .iter()
        .all(|key| get(key).is_none())
    {
        return None;
    }
    let stored = (
        get(ISSUER_GROUP).unwrap_or(CERT_MANAGER_GROUP),
        get(ISSUER_KIND).unwrap_or("Issuer"),
        get(ISSUER_NAME).unwrap_or_default(),
    );
    let wanted = (issuer.group(), issuer.kind(), issuer.name.as_str());
    (stored != wanted).then(|| format!("{}/{}", stored.1, stored.2))
}
