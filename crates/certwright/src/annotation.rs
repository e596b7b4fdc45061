//! What a Secret's labels and annotations tell about where its certificate came from.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use certwright_cert_model::inspect::NameTexts;
use certwright_cert_model::issuer_ref::{CERT_MANAGER_GROUP, IssuerRef};
use certwright_cert_model::secret::TLS_CRT;
use certwright_cert_model::secret::annotation::{
    CERTIFICATE_NAME, ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME, details,
};
use certwright_cert_model::{Fingerprint, TlsSecret, ValidatedSpec, pem};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::plan::issuer_text;

/// The annotation with the fingerprint of the specification a certificate was issued from.
pub const FINGERPRINT: &str = "certwright/spec-fingerprint";
/// The annotation with the instant a certificate was issued at, RFC 3339: what was requested before is done.
pub const ISSUED_AT: &str = "certwright/issued-at";
/// The annotation with the instant the work on the certificate began at, RFC 3339: it answers whoever asked for one before
/// that, and nobody who asked while it was under way.
pub const STARTED_AT: &str = "certwright/started-at";
/// The annotation with the SHA-256 of the certificate that was issued, in hexadecimal: another one was put there by
/// somebody else.
pub const CERTIFICATE: &str = "certwright/certificate-sha256";
/// The annotation by which a manager knows that it verified the certificate's signature.
pub const SEAL: &str = "certwright/seal";
/// The annotation, `true`, of a Secret that holds a temporary certificate until the real one is there.
pub const TEMPORARY: &str = "certwright/temporary";
/// The annotation with the keys of the annotations that came from `spec.secretTemplate`, separated by commas: what
/// is taken out of the template is taken off the Secret, and what others put there stays.
pub const TEMPLATE_ANNOTATIONS: &str = "certwright/template-annotations";
/// The same for labels.
pub const TEMPLATE_LABELS: &str = "certwright/template-labels";

/// The annotation with the number of the certificate, from 1: how many were issued for the Certificate.
pub const REVISION: &str = "certwright/revision";
/// The annotation, `true`, of a Secret that holds a CA, which signs and is not served.
pub const CA: &str = "certwright/ca";
/// The annotation with where a certificate came from, if that matters: [`ACME`].
pub const SOURCE: &str = "certwright/source";
/// Of a certificate from an ACME server.
pub const ACME: &str = "acme";

/// The labels and annotations that a Secret is to have; others may be there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Metadata {
    /// What a specification with this fingerprint wants on the Secret of the Certificate of this name, with a
    /// certificate that has this SHA-256; an empty name leaves out the name.
    pub(crate) fn of(
        spec: &ValidatedSpec,
        fingerprint: Fingerprint,
        certificate: &str,
        digest: Option<String>,
    ) -> Self {
        let mut template = spec.secret_template().clone();
        // What plans are made by is nothing a template could set.
        let ours = |key: &str| key.starts_with("certwright/");
        template.annotations.retain(|key, _| !ours(key));
        let details = details(spec.subject(), &NameTexts::from(spec.names()));
        let mut secret = TlsSecret::new("", "");
        secret.annotate(&template, details, certificate, spec.issuer_ref());
        let mut annotations = secret.annotations;
        if certificate.is_empty() {
            annotations.remove(CERTIFICATE_NAME);
        }
        annotations.insert(FINGERPRINT.to_owned(), fingerprint.to_string());
        annotations.extend(digest.map(|digest| (CERTIFICATE.to_owned(), digest)));
        for (key, map) in [
            (TEMPLATE_ANNOTATIONS, &template.annotations),
            (TEMPLATE_LABELS, &template.labels),
        ] {
            if !map.is_empty() {
                let keys: Vec<_> = map.keys().map(String::as_str).collect();
                annotations.insert(key.to_owned(), keys.join(","));
            }
        }
        Self {
            annotations,
            labels: secret.labels,
        }
    }

    /// The keys of annotations and of labels that are to go: an earlier template put them there, or an earlier
    /// certificate had such names.
    pub(crate) fn outdated<'s>(&self, secret: &'s TlsSecret) -> [BTreeSet<&'s str>; 2] {
        let listed = |key: &str| secret.annotations.get(key).into_iter();
        let keys = |key: &str| listed(key).flat_map(|keys| keys.split(','));
        let annotations = keys(TEMPLATE_ANNOTATIONS)
            .chain([TEMPLATE_ANNOTATIONS, TEMPLATE_LABELS])
            .chain(
                secret
                    .annotations
                    .keys()
                    .map(String::as_str)
                    .filter(|key| describes(key)),
            )
            .filter(|key| !self.annotations.contains_key(*key));
        // Borrowed from the Secret, not from what lists them.
        let annotations = annotations.filter_map(|key| secret.annotations.get_key_value(key));
        let labels = keys(TEMPLATE_LABELS).filter(|key| !self.labels.contains_key(*key));
        let labels = labels.filter_map(|key| secret.labels.get_key_value(key));
        [
            annotations.map(|(key, _)| key.as_str()).collect(),
            labels.map(|(key, _)| key.as_str()).collect(),
        ]
    }

    /// Brings the Secret's labels and annotations up to date; what others put there stays.
    pub(crate) fn apply(self, secret: &mut TlsSecret) {
        let [annotations, labels] = self
            .outdated(secret)
            .map(|keys| keys.into_iter().map(str::to_owned).collect::<Vec<_>>());
        for key in annotations {
            secret.annotations.remove(&key);
        }
        for key in labels {
            secret.labels.remove(&key);
        }
        secret.annotations.extend(self.annotations);
        secret.labels.extend(self.labels);
    }
}

/// Whether an annotation describes a part that a certificate may lack.
fn describes(key: &str) -> bool {
    key == "cert-manager.io/email-sans" || key.starts_with("cert-manager.io/subject-")
}

/// Writes down what was issued `now`, for which Certificate, by whom, and from which specification: what
/// [`plan`](crate::plan::plan) looks for later. Labels and annotations that others put on the Secret stay.
///
/// Do this to every Secret you issue into yourself, when the certificate is in it.
pub fn record(
    secret: &mut TlsSecret,
    certificate: &str,
    spec: &ValidatedSpec,
    now: OffsetDateTime,
) {
    secret.annotations.remove(CERTIFICATE);
    secret.annotations.remove(SEAL);
    let leaf = leaf(secret).map(|leaf| digest(&leaf));
    Metadata::of(spec, spec.fingerprint(), certificate, leaf).apply(secret);
    secret.annotations.remove(TEMPORARY);
    // It was the one before whose beginning is told.
    secret.annotations.remove(STARTED_AT);
    // An instant that RFC 3339 cannot write is none that a request is compared with.
    match now.format(&Rfc3339) {
        Ok(now) => secret.annotations.insert(ISSUED_AT.to_owned(), now),
        Err(_) => secret.annotations.remove(ISSUED_AT),
    };
}

/// Takes off what [`record`] writes about a certificate that is no longer there, but not whose Secret it is, nor how
/// many certificates there were.
pub(crate) fn unrecord(secret: &mut TlsSecret) {
    for key in [
        CA,
        CERTIFICATE,
        FINGERPRINT,
        ISSUED_AT,
        ISSUER_GROUP,
        ISSUER_KIND,
        ISSUER_NAME,
        SEAL,
        SOURCE,
        STARTED_AT,
    ] {
        secret.annotations.remove(key);
    }
}

/// Writes down when the work on the certificate began.
pub(crate) fn started(secret: &mut TlsSecret, at: OffsetDateTime) {
    // An instant that RFC 3339 cannot write answers nobody.
    let at = at.format(&Rfc3339).ok();
    let at = at.map(|at| (STARTED_AT.to_owned(), at));
    secret.annotations.extend(at);
}

/// Writes down which certificate it is, whether it is a CA's, and whether it came from ACME.
pub(crate) fn number(secret: &mut TlsSecret, revision: u64, is_ca: bool, is_acme: bool) {
    let mut put = |key: &str, value: Option<String>| match value {
        Some(value) => secret.annotations.insert(key.to_owned(), value),
        None => secret.annotations.remove(key),
    };
    put(REVISION, Some(revision.to_string()));
    put(CA, is_ca.then(|| "true".to_owned()));
    put(SOURCE, is_acme.then(|| ACME.to_owned()));
}

/// The number of the certificate, if the Secret tells.
pub(crate) fn revision(secret: &TlsSecret) -> Option<u64> {
    secret.annotations.get(REVISION)?.parse().ok()
}

pub(crate) fn is_ca(secret: &TlsSecret) -> bool {
    says(secret, CA)
}

pub(crate) fn is_temporary(secret: &TlsSecret) -> bool {
    says(secret, TEMPORARY)
}

fn says(secret: &TlsSecret, key: &str) -> bool {
    secret
        .annotations
        .get(key)
        .is_some_and(|value| value == "true")
}

/// The Certificate a Secret tells of.
pub(crate) fn certificate(secret: &TlsSecret) -> Option<&str> {
    secret.annotations.get(CERTIFICATE_NAME).map(String::as_str)
}

/// The SHA-256 of the certificate that was issued, if the Secret tells.
pub(crate) fn issued_certificate(secret: &TlsSecret) -> Option<&str> {
    secret.annotations.get(CERTIFICATE).map(String::as_str)
}

/// The mark of a certificate whose signature was verified.
pub(crate) fn seal(secret: &TlsSecret) -> Option<&str> {
    secret.annotations.get(SEAL).map(String::as_str)
}

/// The first certificate of `tls.crt` in DER.
pub(crate) fn leaf(secret: &TlsSecret) -> Option<Vec<u8>> {
    let blocks = pem::read(secret.get(TLS_CRT)?).ok()?;
    let block = blocks
        .first()
        .filter(|block| block.label() == "CERTIFICATE");
    block.map(|block| block.der().to_vec())
}

/// The SHA-256 of a certificate in DER.
pub(crate) fn digest(leaf: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, leaf).as_ref())
}

pub(crate) fn hex(octets: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    let mut text = String::with_capacity(octets.len() * 2);
    for octet in octets {
        text.push(digit(octet >> 4));
        text.push(digit(*octet));
    }
    text
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let octets = digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]));
    octets.collect::<Result<_, _>>().ok()
}

/// When the certificate was issued, if the Secret tells.
pub(crate) fn issued_at(secret: &TlsSecret) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(secret.annotations.get(ISSUED_AT)?, &Rfc3339).ok()
}

/// Whether the certificate was issued from this specification; `None` if the Secret does not tell.
pub(crate) fn same_spec(secret: &TlsSecret, spec: Fingerprint) -> Option<bool> {
    let stored = secret.annotations.get(FINGERPRINT)?;
    Some(stored.parse::<Fingerprint>() == Ok(spec))
}

/// The issuer a Secret tells of, if it is another one.
///
/// As upstream, kind and group have their defaults when they are absent, and the name is compared only if one of the
/// three annotations is there: a Secret that tells nothing may be an Issuer's, but not a ClusterIssuer's.
pub(crate) fn other_issuer(secret: &TlsSecret, issuer: &IssuerRef) -> Option<String> {
    let get = |key: &str| secret.annotations.get(key).map(String::as_str);
    let told = [ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME].map(get);
    let or = |value: Option<_>, default| {
        value
            .filter(|text: &&str| !text.is_empty())
            .unwrap_or(default)
    };
    let [group, kind, name] = [
        or(told[0], CERT_MANAGER_GROUP),
        or(told[1], "Issuer"),
        told[2].unwrap_or_default(),
    ];
    let silent = told.iter().all(Option::is_none);
    let differs =
        (!silent && name != issuer.name) || kind != issuer.kind() || group != issuer.group();
    differs.then(|| issuer_text(kind, group, name))
}

/// The Certificate a Secret tells of, if it is another one.
pub(crate) fn other_certificate<'s>(secret: &'s TlsSecret, certificate: &str) -> Option<&'s str> {
    let stored = secret.annotations.get(CERTIFICATE_NAME)?.as_str();
    (!certificate.is_empty() && stored != certificate).then_some(stored)
}
