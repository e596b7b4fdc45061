//! One number for everything in a specification whose change means a new certificate.

use core::fmt;
use core::str::FromStr;

use crate::key::SignatureAlgorithm;
use crate::name::Email;
use crate::name_constraints::{EmailSubtree, Subtrees};
use crate::validated::ValidatedSpec;

/// A digest of what a certificate is issued from.
///
/// It covers the names and the subject, `isCA`, usages, duration, the issuer, the key's algorithm and
/// size (the list of cert-manager's Certificate documentation) and what upstream forgets: name
/// constraints, removed otherNames and the signature algorithm. It does not cover what only says where
/// and how the result is kept: the Secret's name and template, renewal, outputs, keystores, the key's
/// encoding and rotation.
///
/// The order of names and usages and the spelling of a document do not matter. The digest detects
/// change; it is not a cryptographic one and no security boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    pub(crate) fn of(spec: &ValidatedSpec) -> Self {
        let mut digest = Digest::new();
        digest.field("subject");
        for rdn in spec.subject().rdns() {
            // DER sorts the attributes of one RDN.
            let attributes = rdn.attributes().iter();
            digest.set(attributes.map(|a| format!("{}={}", a.oid, a.value)));
        }
        let names = spec.names();
        digest.field("names");
        digest.set(
            names
                .dns
                .iter()
                .map(|name| name.to_string().to_ascii_lowercase()),
        );
        digest.set(names.email.iter().map(lower_host));
        digest.set(names.ip.iter().map(ToString::to_string));
        digest.set(names.uri.iter().map(ToString::to_string));
        digest.set(names.other.iter().map(ToString::to_string));
        digest.field("certificate");
        digest.text(if spec.is_ca() { "ca" } else { "leaf" });
        digest.set(spec.usages().iter().map(|usage| usage.to_string()));
        digest.text(&spec.duration().to_string());
        digest.text(&spec.key().algorithm.to_string());
        let signature = spec.signature_algorithm().map(SignatureAlgorithm::name);
        digest.text(signature.unwrap_or_default());
        digest.field("issuer");
        let issuer = spec.issuer_ref();
        for part in [issuer.group(), issuer.kind(), &issuer.name] {
            digest.text(part);
        }
        if let Some(constraints) = spec.constraints() {
            digest.field("constraints");
            digest.text(if constraints.critical { "critical" } else { "" });
            digest.subtrees(&constraints.permitted);
            digest.subtrees(&constraints.excluded);
        }
        Self(digest.0)
    }
}

impl fmt::Display for Fingerprint {
    /// Writes 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(digest) if digits && text.len() == 32 => Ok(Self(digest)),
            _ => Err(FingerprintError {
                found: text.to_owned(),
            }),
        }
    }
}

/// A text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not 32 lower-case hexadecimal digits")]
#[non_exhaustive]
pub struct FingerprintError {
    /// The text.
    pub found: String,
}

/// Only the host of an address is the same in every spelling.
fn lower_host(email: &Email) -> String {
    let host = email.host().as_str().to_ascii_lowercase();
    format!("{}@{host}", email.local())
}

/// FNV-1a of 128 bits, over texts with their lengths.
struct Digest(u128);

impl Digest {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
    }

    fn text(&mut self, text: &str) {
        for byte in text.len().to_string().bytes().chain([b':']) {
            self.byte(byte);
        }
        text.bytes().for_each(|byte| self.byte(byte));
    }

    fn field(&mut self, name: &str) {
        self.byte(b'.');
        self.text(name);
    }

    /// Texts whose order does not matter; how often one stands there does.
    fn set(&mut self, texts: impl Iterator<Item = String>) {
        let mut texts: Vec<_> = texts.collect();
        texts.sort_unstable();
        self.text(&texts.len().to_string());
        for text in &texts {
            self.text(text);
        }
    }

    fn subtrees(&mut self, subtrees: &Subtrees) {
        let lower = |text: String| text.to_ascii_lowercase();
        self.set(subtrees.dns.iter().map(|name| lower(name.to_string())));
        self.set(subtrees.ip.iter().map(ToString::to_string));
        self.set(subtrees.email.iter().map(|name| match name {
            EmailSubtree::Mailbox(mailbox) => lower_host(mailbox),
            host => lower(host.to_string()),
        }));
        self.set(subtrees.uri.iter().map(|name| lower(name.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateSpec;
    use crate::defaults::Defaults;
    use crate::document::{Format, Strictness, parse};

    const BASE: &str = "secretName: web\nissuerRef: {name: ca}\nisCA: true\n";

    fn fingerprint(lines: &str) -> Fingerprint {
        let document = parse(&format!("{BASE}{lines}\n"), Format::Yaml)
            .remove(0)
            .unwrap();
        CertificateSpec::decode(&document.root, Strictness::Strict)
            .and_then(|spec| spec.validate(&Defaults::documented()))
            .unwrap()
            .fingerprint()
    }

    #[test]
    fn what_issues_again_changes_it() {
        let names = "dnsNames: [a.example.com, b.example.com]\n";
        let base = fingerprint(names);
        let mut seen = vec![base];
        for lines in [
            "dnsNames: [a.example.com]",
            "dnsNames: [a.example.com, b.example.com, b.example.com]",
            "dnsNames: [a.example.com, b.example.com]\nuris: ['spiffe://td/a']",
            "dnsNames: [a.example.com, b.example.com]\nipAddresses: [10.0.0.1]",
            "dnsNames: [a.example.com, b.example.com]\nemailAddresses: [a@example.com]",
            "dnsNames: [a.example.com, b.example.com]\notherNames: [{oid: 1.2.3, utf8Value: x}]",
            "dnsNames: [a.example.com, b.example.com]\ncommonName: a",
            "dnsNames: [a.example.com, b.example.com]\nsubject: {organizations: [a]}",
            "dnsNames: [a.example.com, b.example.com]\nusages: [server auth]",
            "dnsNames: [a.example.com, b.example.com]\nduration: 100h",
            "dnsNames: [a.example.com, b.example.com]\nsignatureAlgorithm: SHA512WithRSA",
            "dnsNames: [a.example.com, b.example.com]\nprivateKey: {size: 4096}",
            "dnsNames: [a.example.com, b.example.com]\nnameConstraints: {permitted: {dnsDomains: [a.b]}}",
            "dnsNames: [a.example.com, b.example.com]\nnameConstraints: {excluded: {dnsDomains: [a.b]}}",
            "dnsNames: [a.example.com, b.example.com]\nnameConstraints: {critical: true, excluded: {dnsDomains: [a.b]}}",
        ] {
            let changed = fingerprint(lines);
            assert!(!seen.contains(&changed), "{lines}");
            seen.push(changed);
        }
    }

    #[test]
    fn spelling_order_and_keeping_do_not() {
        let base = fingerprint(
            "dnsNames: [a.example.com, b.example.com]\nusages: [server auth, client auth]",
        );
        for lines in [
            "renewBefore: 10h",
            "duration: 129600m",
            "secretTemplate: {labels: {a: b}}",
            "additionalOutputFormats: [{type: DER}]",
            "privateKey: {rotationPolicy: Always, encoding: PKCS8, size: 2048, algorithm: RSA}",
            "revisionHistoryLimit: 7",
            "keystores: {jks: {create: true, password: x}}",
        ] {
            let same = fingerprint(&format!(
                "usages: [client auth, server auth, client auth]\ndnsNames: [B.example.com, a.EXAMPLE.com]\n{lines}"
            ));
            assert_eq!(same, base, "{lines}");
        }
        let constraint = |text: &str| {
            fingerprint(&format!(
                "commonName: a\nnameConstraints: {{excluded: {{emailAddresses: [{text}]}}}}"
            ))
        };
        assert_eq!(constraint("a.example"), constraint("A.example"));
        assert_eq!(constraint(".a.example"), constraint(".A.example"));
        assert_eq!(constraint("u@a.example"), constraint("u@A.example"));
        assert_ne!(constraint("u@a.example"), constraint("U@a.example"));
        assert_eq!(base.to_string().parse(), Ok(base));
        assert!("x".parse::<Fingerprint>().is_err());
    }
}
