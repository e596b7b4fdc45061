//! What a Secret's annotations tell about where its certificate came from.

use certwright_cert_model::inspect::NameTexts;
use certwright_cert_model::issuer_ref::{CERT_MANAGER_GROUP, IssuerRef};
use certwright_cert_model::secret::annotation::{ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME, details};
use certwright_cert_model::{Fingerprint, TlsSecret, ValidatedSpec};

use crate::inventory::ResourceName;

/// The annotation with the fingerprint of the specification a certificate was issued from.
pub const FINGERPRINT: &str = "certwright/spec-fingerprint";

/// Writes down what was issued, for whom, by whom, and from which specification.
pub(crate) fn record(secret: &mut TlsSecret, certificate: &ResourceName, spec: &ValidatedSpec) {
    let details = details(spec.subject(), &NameTexts::from(spec.names()));
    secret.annotate(
        spec.secret_template(),
        details,
        &certificate.name,
        spec.issuer_ref(),
    );
    let fingerprint = spec.fingerprint().to_string();
    secret
        .annotations
        .insert(FINGERPRINT.to_owned(), fingerprint);
}

/// Whether the certificate was issued from this specification; `None` if the Secret does not tell.
pub(crate) fn same_spec(secret: &TlsSecret, spec: &ValidatedSpec) -> Option<bool> {
    let stored = secret.annotations.get(FINGERPRINT)?;
    Some(stored.parse::<Fingerprint>() == Ok(spec.fingerprint()))
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
