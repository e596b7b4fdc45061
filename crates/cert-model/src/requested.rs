//! What a certificate was asked for, to be compared with what is asked for now.

#[cfg(feature = "x509")]
mod csr;

use std::collections::BTreeSet;

use crate::difference::{
    Difference, common_name, dns, emails, in_any_order, ips, is_ca, others, uris,
};
use crate::duration::GoDuration;
use crate::inspect::NameTexts;
use crate::issuer_ref::IssuerRef;
use crate::subject::{Subject, attribute};
use crate::usage::{KeyUsage, Usage, Usages};
use crate::validated::ValidatedSpec;

/// A CertificateRequest and its CSR in one: everything a specification is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requested {
    /// Who was to sign.
    pub issuer_ref: IssuerRef,
    /// The CSR's subject.
    pub subject: Subject,
    /// The CSR's subject alternative names.
    pub names: NameTexts,
    /// The CSR's `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// Whether a CA's certificate was asked for.
    pub is_ca: bool,
    /// What the certificate was to be used for.
    pub usages: Usages,
    /// How long the certificate was to be valid, if that was said.
    pub duration: Option<GoDuration>,
}

impl Requested {
    /// What a specification asks for, for a key with this `SubjectPublicKeyInfo` (DER).
    pub fn of(spec: &ValidatedSpec, public_key: impl Into<Vec<u8>>) -> Self {
        Self {
            issuer_ref: spec.issuer_ref().clone(),
            subject: spec.subject().clone(),
            names: NameTexts::from(spec.names()),
            public_key: public_key.into(),
            is_ca: spec.is_ca(),
            usages: spec.usages().clone(),
            duration: (!spec.duration_is_default()).then(|| spec.duration()),
        }
    }

    /// Every field in which a specification asks for something else now, in cert-manager's order.
    ///
    /// Lists are compared in any order, usages as sets; DNS names and the hosts of e-mail addresses in any case. Durations
    /// are compared if both sides name one, `otherNames` if the specification has some. The specification's
    /// `literalSubject` is compared as a whole, other subjects field by field. Name constraints and the
    /// signature algorithm are no part of a request's comparison, as upstream; a
    /// [`Fingerprint`](crate::Fingerprint) covers them.
    pub fn differences(&self, spec: &ValidatedSpec) -> Vec<Difference> {
        let wanted = NameTexts::from(spec.names());
        let mut differences: Vec<_> = [
            ips(&wanted, &self.names),
            uris(&wanted, &self.names),
            emails(&wanted, &self.names),
            dns(&wanted, &self.names),
            others(&wanted, &self.names),
        ]
        .into_iter()
        .flatten()
        .collect();
        if spec.has_literal_subject() {
            if !same_subject(spec.subject(), &self.subject) {
                let texts = (spec.subject().to_string(), self.subject.to_string());
                differences.push(Difference::new("spec.literalSubject", texts.0, texts.1));
            }
        } else {
            differences.extend(subject_fields(spec.subject(), &self.subject));
        }
        differences.extend(is_ca(spec, self.is_ca));
        // Whether it is a CA's decides about this usage; that has been told.
        let told =
            |usage: &Usage| spec.is_ca() != self.is_ca && *usage == Usage::Key(KeyUsage::CertSign);
        let usages = |usages: &Usages| usages.iter().filter(|u| !told(u)).collect::<BTreeSet<_>>();
        if usages(spec.usages()) != usages(&self.usages) {
            let texts = (spec.usages().to_string(), self.usages.to_string());
            differences.push(Difference::new("spec.usages", texts.0, texts.1));
        }
        if let Some(asked) = self.duration
            && !spec.duration_is_default()
            && asked != spec.duration()
        {
            let texts = (spec.duration().to_string(), asked.to_string());
            differences.push(Difference::new("spec.duration", texts.0, texts.1));
        }
        if *spec.issuer_ref() != self.issuer_ref {
            let text = |issuer: &IssuerRef| {
                format!("{}.{}/{}", issuer.kind(), issuer.group(), issuer.name)
            };
            let texts = (text(spec.issuer_ref()), text(&self.issuer_ref));
            differences.push(Difference::new("spec.issuerRef", texts.0, texts.1));
        }
        differences
    }
}

/// The fields of `spec.subject`, in the order in which they are compared.
const SUBJECT_FIELDS: [(&str, &str); 7] = [
    ("spec.subject.organizations", attribute::ORGANIZATION),
    ("spec.subject.countries", attribute::COUNTRY),
    ("spec.subject.localities", attribute::LOCALITY),
    (
        "spec.subject.organizationalUnits",
        attribute::ORGANIZATIONAL_UNIT,
    ),
    ("spec.subject.postalCodes", attribute::POSTAL_CODE),
    ("spec.subject.provinces", attribute::PROVINCE),
    ("spec.subject.streetAddresses", attribute::STREET_ADDRESS),
];

fn subject_fields(wanted: &Subject, found: &Subject) -> Vec<Difference> {
    let last = |subject: &Subject, oid| subject.values(oid).last().unwrap_or_default().to_owned();
    let one = |field, wanted: String, found: String| {
        (wanted != found).then(|| Difference::new(field, wanted, found))
    };
    let names = (
        common_name(wanted).to_owned(),
        common_name(found).to_owned(),
    );
    let number = attribute::SERIAL_NUMBER;
    let mut differences: Vec<_> = [
        one("spec.commonName", names.0, names.1),
        one(
            "spec.subject.serialNumber",
            last(wanted, number),
            last(found, number),
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (field, oid) in SUBJECT_FIELDS {
        let texts = |subject: &Subject| {
            let texts = subject.values(oid).map(str::to_owned);
            texts.collect::<Vec<_>>()
        };
        differences.extend(in_any_order(
            field,
            &texts(wanted),
            &texts(found),
            str::to_owned,
        ));
    }
    differences
}

/// Whether two names are the same once DER has sorted the attributes of each RDN.
fn same_subject(one: &Subject, other: &Subject) -> bool {
    let sorted = |subject: &Subject| {
        let rdns = subject.rdns().iter().map(|rdn| {
            let attributes = rdn.attributes().iter();
            let mut texts: Vec<_> = attributes
                .map(|attribute| (attribute.oid.as_str().to_owned(), attribute.value.clone()))
                .collect();
            texts.sort_unstable();
            texts
        });
        rdns.collect::<Vec<_>>()
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateSpec;
    use crate::defaults::Defaults;
    use crate::document::{Format, Strictness, parse};

    fn spec(lines: &str) -> ValidatedSpec {
        let text = format!("{{secretName: web, issuerRef: {{name: ca}}, {lines}}}");
        let document = parse(&text, Format::Yaml).remove(0).unwrap();
        CertificateSpec::decode(&document.root, Strictness::Strict)
            .and_then(|spec| spec.validate(&Defaults::cert_manager_1_21()))
            .unwrap_or_else(|violations| panic!("{text}: {violations}"))
    }

    #[test]
    fn each_field_in_its_place() {
        const BASE: &str =
            "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], duration: 24h";
        for (lines, fields) in [
            (BASE, ""),
            (
                "duration: 24h, uris: ['spiffe://x'], dnsNames: [C.d, a.B], commonName: web",
                "",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x']",
                "",
            ),
            (
                "commonName: web, dnsNames: [a.b], uris: ['spiffe://X'], duration: 25h",
                "spec.uris spec.dnsNames spec.duration",
            ),
            (
                "dnsNames: [a.b, c.d, c.d], uris: ['spiffe://x'], ipAddresses: [10.0.0.1], emailAddresses: [a@b.c]",
                "spec.ipAddresses spec.emailAddresses spec.dnsNames spec.commonName",
            ),
            (
                "literalSubject: CN=web, dnsNames: [a.b, c.d], uris: ['spiffe://x']",
                "",
            ),
            (
                "literalSubject: 'CN=web,O=x', dnsNames: [a.b, c.d], uris: ['spiffe://x']",
                "spec.literalSubject",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], otherNames: [{oid: 1.2.3, utf8Value: x}]",
                "spec.otherNames",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], isCA: true",
                "spec.isCA",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], isCA: true, usages: [server auth]",
                "spec.isCA spec.usages",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], usages: [key encipherment, signing, signing]",
                "",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], subject: {provinces: [a], postalCodes: [b], serialNumber: c}",
                "spec.subject.serialNumber spec.subject.postalCodes spec.subject.provinces",
            ),
            (
                "commonName: web, dnsNames: [a.b, c.d], uris: ['spiffe://x'], privateKey: {size: 4096}, renewBefore: 1h",
                "",
            ),
        ] {
            let requested = Requested::of(&spec(BASE), b"key".as_slice());
            let differences = requested.differences(&spec(lines));
            let found: Vec<_> = differences.iter().map(|one| one.field).collect();
            assert_eq!(found.join(" "), fields, "{lines}");
        }
        let mut elsewhere = Requested::of(&spec(BASE), b"key".as_slice());
        elsewhere.issuer_ref.kind = crate::IssuerKind::ClusterIssuer;
        assert_eq!(
            elsewhere.differences(&spec(BASE))[0].to_string(),
            "spec.issuerRef asks for Issuer.cert-manager.io/ca, but there is ClusterIssuer.cert-manager.io/ca"
        );
    }

    #[test]
    fn usages_are_sets() {
        for (asked, wanted, same) in [
            ("server auth, client auth", "client auth, server auth", true),
            ("server auth", "server auth, server auth", true),
            (
                "s/mime, signing",
                "digital signature, email protection",
                true,
            ),
            ("server auth", "client auth", false),
            ("server auth", "server auth, client auth", false),
            ("server auth, signing", "server auth", false),
        ] {
            let spec = |usages: &str| spec(&format!("commonName: web, usages: [{usages}]"));
            let requested = Requested::of(&spec(asked), Vec::new());
            let differences = requested.differences(&spec(wanted));
            assert_eq!(differences.is_empty(), same, "{asked} {wanted}");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_was_asked_for() {
        let lines = "literalSubject: 'CN=a+OU=b,C=GB', isCA: true, usages: [any, signing]";
        let spec = spec(lines);
        assert_eq!(Requested::of(&spec, Vec::new()).differences(&spec), []);
    }

    #[cfg(feature = "x509")]
    #[test]
    fn a_request_is_read_with_its_csr() {
        use crate::request::CertificateRequestSpec;
        use base64ct::{Base64, Encoding};
        let mut request = CertificateRequestSpec::default();
        request.issuer_ref.name = "ca".to_owned();
        let csr = include_bytes!("../tests/data/request.pem");
        request.request = Base64::encode_string(csr);
        request.duration = Some("24h".to_owned());
        let request = request.validate(&Defaults::cert_manager_1_21()).unwrap();
        let requested = Requested::read(&request).unwrap();
        let spec = spec(
            "commonName: web, subject: {organizations: [A, B]}, dnsNames: [a.example, b.example], ipAddresses: [10.0.0.1], uris: ['spiffe://td/x'], emailAddresses: [a@b.EXAMPLE], duration: 24h",
        );
        assert_eq!(requested.differences(&spec), []);
        assert_eq!(requested.public_key.len(), 44, "an Ed25519 key");
    }
}
