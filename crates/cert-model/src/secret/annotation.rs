//! The labels and annotations that a controller keeps on a TLS Secret.

use std::collections::BTreeMap;

use super::TlsSecret;
use crate::inspect::NameTexts;
use crate::issuer_ref::IssuerRef;
use crate::output::SecretTemplate;
use crate::subject::{Subject, attribute};

/// The annotation with the name of the Certificate that the Secret belongs to.
pub const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";
/// The annotation with the issuer's name.
pub const ISSUER_NAME: &str = "cert-manager.io/issuer-name";
/// The annotation with the issuer's kind.
pub const ISSUER_KIND: &str = "cert-manager.io/issuer-kind";
/// The annotation with the issuer's API group.
pub const ISSUER_GROUP: &str = "cert-manager.io/issuer-group";
/// The label that marks Secrets of a controller, always `true`.
pub const CONTROLLED: &str = "controller.cert-manager.io/fao";

/// The annotations that describe a certificate: its names, and the parts of its subject that exist.
///
/// Lists are one line of RFC 4180: values stand in quotes where they hold a comma or a quote.
pub fn details(subject: &Subject, names: &NameTexts) -> BTreeMap<String, String> {
    let common_name = subject.values(attribute::COMMON_NAME).last();
    let ip: Vec<_> = names
        .ip
        .iter()
        .map(|ip| ip.to_canonical().to_string())
        .collect();
    let mut details = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        details.insert(format!("cert-manager.io/{name}"), value);
    };
    put("common-name", common_name.unwrap_or_default().to_owned());
    let line = |values: &[String]| {
        values
            .iter()
            .map(|value| csv(value))
            .collect::<Vec<_>>()
            .join(",")
    };
    put("alt-names", line(&names.dns));
    put("ip-sans", line(&ip));
    put("uri-sans", line(&names.uri));
    if !names.email.is_empty() {
        put("email-sans", line(&names.email));
    }
    for (name, oid) in [
        ("organizations", attribute::ORGANIZATION),
        ("organizationalunits", attribute::ORGANIZATIONAL_UNIT),
        ("countries", attribute::COUNTRY),
        ("provinces", attribute::PROVINCE),
        ("localities", attribute::LOCALITY),
        ("postalcodes", attribute::POSTAL_CODE),
        ("streetaddresses", attribute::STREET_ADDRESS),
    ] {
        let values: Vec<_> = subject.values(oid).map(csv).collect();
        if !values.is_empty() {
            put(&format!("subject-{name}"), values.join(","));
        }
    }
    if let Some(number) = subject.values(attribute::SERIAL_NUMBER).last() {
        put("subject-serialnumber", number.to_owned());
    }
    details
}

/// One value of a line of RFC 4180, quoted when Go's `encoding/csv` quotes it.
fn csv(value: &str) -> String {
    let quoted = value == "\\."
        || value.contains([',', '"', '\r', '\n'])
        || value.starts_with(char::is_whitespace);
    if quoted {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

impl TlsSecret {
    /// Sets the labels and annotations of a certificate that was issued: the template's, and over
    /// them [`details`], the Certificate's name and the issuer.
    pub fn annotate(
        &mut self,
        template: &SecretTemplate,
        details: BTreeMap<String, String>,
        certificate_name: &str,
        issuer: &IssuerRef,
    ) {
        self.labels.clone_from(&template.labels);
        self.labels.insert(CONTROLLED.to_owned(), "true".to_owned());
        self.annotations.clone_from(&template.annotations);
        self.annotations.extend(details);
        for (key, value) in [
            (CERTIFICATE_NAME, certificate_name),
            (ISSUER_NAME, &issuer.name),
            (ISSUER_KIND, issuer.kind()),
            (ISSUER_GROUP, issuer.group()),
        ] {
            self.annotations.insert(key.to_owned(), value.to_owned());
        }
    }
}

impl SecretTemplate {
    /// Whether the Secret has all of the template's labels and annotations.
    pub fn is_applied_to(&self, secret: &TlsSecret) -> bool {
        let has = |all: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
            wanted
                .iter()
                .all(|(key, value)| all.get(key) == Some(value))
        };
        has(&secret.annotations, &self.annotations) && has(&secret.labels, &self.labels)
    }

    /// Whether the Secret has one of the template's labels or annotations with another value; a
    /// missing one is no conflict.
    pub fn conflicts_with(&self, secret: &TlsSecret) -> bool {
        let differs = |all: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
            let other = |(key, value)| all.get(key).is_some_and(|found| found != value);
            wanted.iter().any(other)
        };
        differs(&secret.annotations, &self.annotations) || differs(&secret.labels, &self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer_ref::IssuerKind;
    use crate::subject::LiteralSubject;

    #[test]
    fn what_is_empty_is_left_out_except_the_four_that_always_stand() {
        let empty = details(&Subject::default(), &NameTexts::default());
        let keys: Vec<_> = empty
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            keys,
            [
                ("cert-manager.io/alt-names", ""),
                ("cert-manager.io/common-name", ""),
                ("cert-manager.io/ip-sans", ""),
                ("cert-manager.io/uri-sans", ""),
            ]
        );
        let subject: LiteralSubject = "CN=web,O=A\\, B+O=say \\\"c\\\",SERIALNUMBER=7"
            .parse()
            .unwrap();
        let names = NameTexts {
            dns: vec!["a.b".to_owned(), "*.c.d".to_owned()],
            email: vec!["a@b.c".to_owned()],
            ..NameTexts::default()
        };
        let full = details(&subject.to_subject(), &names);
        assert_eq!(full["cert-manager.io/alt-names"], "a.b,*.c.d");
        assert_eq!(full["cert-manager.io/email-sans"], "a@b.c");
        assert_eq!(
            full["cert-manager.io/subject-organizations"],
            "\"A, B\",\"say \"\"c\"\"\""
        );
        assert_eq!(full["cert-manager.io/subject-serialnumber"], "7");
        assert_eq!(full.len(), 7);
    }

    #[test]
    fn lists_of_names_are_lines_of_csv() {
        for (text, line) in [
            ("spiffe://td/a", "spiffe://td/a,spiffe://td/a"),
            ("urn:a,b", "\"urn:a,b\",\"urn:a,b\""),
            ("\"a,b\"@c.d", "\"\"\"a,b\"\"@c.d\",\"\"\"a,b\"\"@c.d\""),
        ] {
            let list = vec![text.to_owned(), text.to_owned()];
            let names = NameTexts {
                dns: list.clone(),
                email: list.clone(),
                uri: list,
                ..NameTexts::default()
            };
            let details = details(&Subject::default(), &names);
            for name in ["alt-names", "email-sans", "uri-sans"] {
                assert_eq!(details[&format!("cert-manager.io/{name}")], line);
            }
        }
        let names = NameTexts {
            ip: ["::ffff:10.0.0.1", "2001:db8::1"]
                .map(|ip| ip.parse().unwrap())
                .to_vec(),
            ..NameTexts::default()
        };
        let details = details(&Subject::default(), &names);
        assert_eq!(details["cert-manager.io/ip-sans"], "10.0.0.1,2001:db8::1");
    }

    #[test]
    fn computed_annotations_win_over_the_template() {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let template = SecretTemplate {
            annotations: map(ISSUER_NAME, "forged"),
            labels: map("app", "web"),
        };
        let mut secret = TlsSecret::new("default", "web-tls");
        let issuer = IssuerRef::new("ca", IssuerKind::ClusterIssuer);
        secret.annotate(&template, BTreeMap::new(), "web", &issuer);
        assert_eq!(secret.annotations[ISSUER_NAME], "ca");
        assert_eq!(secret.annotations[ISSUER_KIND], "ClusterIssuer");
        assert_eq!(secret.annotations[CERTIFICATE_NAME], "web");
        assert_eq!(secret.labels["app"], "web");
        assert_eq!(secret.labels[CONTROLLED], "true");
        assert!(template.conflicts_with(&secret));
    }

    #[test]
    fn a_missing_value_is_not_applied_and_no_conflict() {
        let map = |value: &str| BTreeMap::from([("a".to_owned(), value.to_owned())]);
        let template = SecretTemplate {
            annotations: map("1"),
            labels: BTreeMap::new(),
        };
        let mut secret = TlsSecret::new("n", "s");
        for (annotations, applied, conflict) in [
            (BTreeMap::new(), false, false),
            (map("2"), false, true),
            (map("1"), true, false),
        ] {
            secret.annotations = annotations;
            assert_eq!(template.is_applied_to(&secret), applied);
            assert_eq!(template.conflicts_with(&secret), conflict);
        }
    }
}
