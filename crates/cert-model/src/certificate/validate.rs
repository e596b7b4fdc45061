mod constraints;
mod key;
mod keystore;
mod lifetime;
mod name;
mod secret;
mod subject;
mod usage;
mod window;

use super::{CertificateSpec, IssuerRefSpec};
use crate::defaults::Defaults;
use crate::issuer_ref::{CERT_MANAGER_GROUP, IssuerKind, IssuerRef};
use crate::report::{Report, spec};
use crate::validated::ValidatedSpec;
use crate::violation::{FieldPath, ViolationKind, Violations};

impl CertificateSpec {
    /// Checks every rule, fills in `defaults` and turns text into types.
    ///
    /// The rules are those of cert-manager's admission webhook, and beyond them: DNS names, URIs,
    /// object identifiers and the values of name constraints are checked too.
    ///
    /// # Errors
    ///
    /// Every violation, not only the first, in the order of the fields. They have no place;
    /// `Decoded::and_then` (feature `documents`) adds it.
    pub fn validate(self, defaults: &Defaults) -> Result<ValidatedSpec, Violations> {
        let mut report = Report::default();
        secret::check_name(&mut report, &self.secret_name);
        let issuer_ref = issuer_ref(&mut report, &self.issuer_ref);
        let subject = subject::subject(&mut report, &self, defaults.gates);
        let names = name::names(&mut report, &self, defaults.gates);
        if subject.common_name.is_empty() && !name::any(&self) {
            report.invalid(
                FieldPath::root("spec"),
                "names nothing; set at least one of commonName, dnsNames, uris, emailAddresses, ipAddresses and otherNames",
            );
        }
        let life = lifetime::lifetime(&mut report, &self, defaults);
        let timing = lifetime::timing(&mut report, self.renewal.as_ref(), defaults);
        let key = key::key(&mut report, self.private_key.as_ref(), defaults);
        let usages = usage::usages(&mut report, &self, key.algorithm, defaults);
        let signature_algorithm = key::signature_algorithm(&mut report, &self);
        let constraints = constraints::constraints(&mut report, &self, defaults.gates);
        let secret_template = secret::template(&mut report, self.secret_template);
        let outputs = secret::outputs(&mut report, &self.additional_output_formats);
        let keystores = keystore::keystores(&mut report, self.keystores);
        let revision_history_limit =
            revision_history_limit(&mut report, self.revision_history_limit, defaults);
        Ok(ValidatedSpec {
            warnings: report.finish()?,
            secret_name: self.secret_name,
            issuer_ref,
            subject: subject.name,
            literal_subject: self.literal_subject.is_some_and(|text| !text.is_empty()),
            common_name: Some(subject.common_name).filter(|name| !name.is_empty()),
            names,
            key,
            signature_algorithm,
            duration: life.duration,
            duration_is_default: life.is_default,
            renewal: life.renewal,
            timing,
            usages,
            encode_usages_in_request: self.encode_usages_in_request.unwrap_or(true),
            is_ca: self.is_ca,
            constraints,
            outputs,
            secret_template,
            keystores,
            revision_history_limit,
        })
    }
}

pub(crate) fn issuer_ref(report: &mut Report, reference: &IssuerRefSpec) -> IssuerRef {
    let field = |name: &str| spec("issuerRef").child(name);
    if reference.name.is_empty() {
        report.violation(
            field("name"),
            ViolationKind::Required,
            "must name the issuer that signs",
        );
    }
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let group = text(&reference.group).filter(|group| group != CERT_MANAGER_GROUP);
    let kind = text(&reference.kind);
    let kind = match (group, kind.as_deref()) {
        (Some(group), kind) => IssuerKind::External {
            group,
            kind: kind.unwrap_or("Issuer").to_owned(),
        },
        (None, None | Some("Issuer")) => IssuerKind::Issuer,
        (None, Some("ClusterIssuer")) => IssuerKind::ClusterIssuer,
        (None, Some(kind)) => {
            report.invalid(
                field("kind"),
                format!(
                    "{kind:?} is not Issuer or ClusterIssuer; for an issuer of another API group set issuerRef.group"
                ),
            );
            IssuerKind::Issuer
        }
    };
    IssuerRef::new(reference.name.clone(), kind)
}

fn revision_history_limit(report: &mut Report, limit: Option<i64>, defaults: &Defaults) -> u32 {
    let Some(limit) = limit else {
        return defaults.revision_history_limit;
    };
    // The API's field has 31 bits.
    let valid = i32::try_from(limit).ok().filter(|limit| *limit >= 1);
    valid.map_or_else(
        || {
            report.invalid(
                spec("revisionHistoryLimit"),
                format!("{limit} is not from 1 to {}", i32::MAX),
            );
            1
        },
        i32::unsigned_abs,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Format, Strictness, parse};
    use crate::name_constraints::DnsSubtree;
    use crate::subject::attribute;
    use crate::validated::RenewalRequest;

    /// Validates a specification that adds these lines to a complete one.
    fn validate(lines: &str) -> Result<ValidatedSpec, Violations> {
        let text = format!("secretName: web-tls\nissuerRef: {{name: ca}}\n{lines}\n");
        let document = parse(&text, Format::Yaml).remove(0).unwrap();
        CertificateSpec::decode(&document.root, Strictness::Strict)
            .and_then(|spec| spec.validate(&Defaults::documented()))
    }

    /// The field and the kind of every violation, in document order.
    fn violations(lines: &str) -> String {
        let named = format!("dnsNames: [web.example.com]\n{lines}");
        match validate(&named) {
            Ok(_) => String::new(),
            Err(violations) => violations
                .iter()
                .map(|v| format!("{} {:?}", v.field, v.kind))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }

    #[test]
    fn every_rule_has_its_path_and_kind() {
        for (lines, expected) in [
            ("commonName: web", ""),
            ("literalSubject: 'O=Example,CN=web'", ""),
            (
                "{literalSubject: CN=a, commonName: b, subject: {countries: [GB]}}",
                "spec.commonName Invalid, spec.subject Invalid",
            ),
            ("{literalSubject: CN=a, subject: {}}", ""),
            (
                "{literalSubject: CN=a, commonName: b, signatureAlgorithm: MD5WithRSA, privateKey: {algorithm: DSA}}",
                "spec.commonName Invalid, spec.signatureAlgorithm Invalid, spec.privateKey.algorithm Invalid",
            ),
            ("literalSubject: 'CN'", "spec.literalSubject Invalid"),
            (
                "literalSubject: 'X=a,cn=b'",
                "spec.literalSubject Invalid, spec.literalSubject Invalid",
            ),
            (
                "subject: {organizations: [a, '']}",
                "spec.subject.organizations[1] Invalid",
            ),
            (
                "ipAddresses: [10.0.0.1, 10.0.0.0/8, 'fe80::1%eth0', 010.0.0.1]",
                "spec.ipAddresses[1] Invalid, spec.ipAddresses[2] Invalid, spec.ipAddresses[3] Invalid",
            ),
            ("uris: [spiffe://td/a, foo.bar]", "spec.uris[1] Invalid"),
            (
                "emailAddresses: [a@example.com, 'A <a@example.com>']",
                "spec.emailAddresses[1] Invalid",
            ),
            (
                "otherNames: [{oid: 1.2.3, utf8Value: x}, {}]",
                "spec.otherNames[1].oid Required, spec.otherNames[1].utf8Value Required, spec.otherNames[1].oid Invalid",
            ),
            ("duration: 59m", "spec.duration Invalid"),
            ("duration: 1h", ""),
            (
                "{duration: 365d, renewBefore: 3000h}",
                "spec.duration Invalid",
            ),
            (
                "{duration: 365d, renewBefore: 1m}",
                "spec.duration Invalid, spec.renewBefore Invalid",
            ),
            ("{duration: 1h, renewBefore: 5m}", ""),
            (
                "{duration: 1h, renewBefore: 4m59s}",
                "spec.renewBefore Invalid",
            ),
            ("renewBefore: 2160h", "spec.renewBefore Invalid"),
            ("{duration: 1h, renewBeforePercentage: 95}", ""),
            (
                "{duration: 1h, renewBeforePercentage: 8}",
                "spec.renewBeforePercentage Invalid",
            ),
            (
                "renewBeforePercentage: 0",
                "spec.renewBeforePercentage Invalid",
            ),
            (
                "renewBeforePercentage: 100",
                "spec.renewBeforePercentage Invalid",
            ),
            (
                "{renewBefore: 720h, renewBeforePercentage: 50}",
                "spec.renewBefore Invalid, spec.renewBeforePercentage Invalid",
            ),
            (
                "usages: [server auth, Server Auth]",
                "spec.usages[1] Invalid",
            ),
            (
                "privateKey: {algorithm: rsa}",
                "spec.privateKey.algorithm Invalid",
            ),
            ("privateKey: {size: 2047}", "spec.privateKey.size Invalid"),
            ("privateKey: {size: 0}", ""),
            ("privateKey: {size: -1}", "spec.privateKey.size Invalid"),
            (
                "privateKey: {algorithm: ECDSA, size: 2048}",
                "spec.privateKey.size NotSupported",
            ),
            (
                "privateKey: {encoding: DER, rotationPolicy: Sometimes}",
                "spec.privateKey.encoding NotSupported, spec.privateKey.rotationPolicy NotSupported",
            ),
            (
                "{signatureAlgorithm: PureEd25519, privateKey: {algorithm: ECDSA}}",
                "spec.signatureAlgorithm Invalid",
            ),
            (
                "signatureAlgorithm: MD5WithRSA",
                "spec.signatureAlgorithm Invalid",
            ),
            (
                "nameConstraints: {}",
                "spec.nameConstraints Invalid, spec.nameConstraints Invalid",
            ),
            (
                "{isCA: true, nameConstraints: {permitted: {}}}",
                "spec.nameConstraints.permitted Invalid",
            ),
            (
                "{isCA: true, nameConstraints: {permitted: {ipRanges: [10.0.0.1], dnsDomains: ['*.a.b'], emailAddresses: ['@x'], uriDomains: ['https://a.b']}}}",
                "spec.nameConstraints.permitted.ipRanges[0] Invalid, spec.nameConstraints.permitted.dnsDomains[0] Invalid, spec.nameConstraints.permitted.emailAddresses[0] Invalid, spec.nameConstraints.permitted.uriDomains[0] Invalid",
            ),
            (
                "secretTemplate: {annotations: {cert-manager.io/alt-names: a, cert-manager.io/allow-direct-injection: 'true', A/b: c}, labels: {a b: c, controller.cert-manager.io/fao: 'true'}}",
                "spec.secretTemplate.annotations Invalid, spec.secretTemplate.labels Invalid, spec.secretTemplate.labels Invalid",
            ),
            (
                "additionalOutputFormats: [{type: DER}, {type: PEM}, {type: DER}]",
                "spec.additionalOutputFormats[type] Duplicate, spec.additionalOutputFormats[1].type NotSupported",
            ),
            (
                "keystores: {jks: {create: false}, pkcs12: {create: true, password: x, profile: Best}}",
                "spec.keystores.jks Forbidden, spec.keystores.pkcs12.profile NotSupported",
            ),
            (
                "keystores: {jks: {create: true, alias: CA, password: ''}}",
                "spec.keystores.jks.alias Invalid, spec.keystores.jks.password Forbidden",
            ),
            (
                "revisionHistoryLimit: 0",
                "spec.revisionHistoryLimit Invalid",
            ),
            ("renewal: {policy: Disabled}", ""),
            ("renewal: {}", "spec.renewal.policy NotSupported"),
            (
                "renewal: {policy: RenewBefore, windows: [{windowDuration: 2h, cron: '0 12 * * *', timezone: Europe/Berlin}, {windowDuration: 1h, cron: '@daily'}]}",
                "",
            ),
            (
                "renewal: {policy: RenewBefore, windows: [{cron: '0 12 * * 7'}, {cron: '@daily', windowDuration: 1h, timezone: Mars/Base}, {cron: '0 0 31 2 *', windowDuration: 1d}, {cron: 'TZ=UTC @daily', windowDuration: 1h, timezone: UTC}, {cron: x, windowDuration: 2h, timezone: Mars/Base}]}",
                "spec.renewal.windows[0].windowDuration Required, spec.renewal.windows[0].cron Invalid, spec.renewal.windows[1].cron Invalid, spec.renewal.windows[1].timezone Invalid, spec.renewal.windows[2].cron Invalid, spec.renewal.windows[2].windowDuration Invalid, spec.renewal.windows[3].cron Invalid, spec.renewal.windows[4].cron Invalid, spec.renewal.windows[4].timezone Invalid",
            ),
            (
                "renewal: {policy: Disabled, windows: [{cron: '@daily', windowDuration: 1h}]}",
                "spec.renewal.windows Forbidden",
            ),
        ] {
            let lines = lines
                .strip_prefix('{')
                .and_then(|l| l.strip_suffix('}'))
                .map_or_else(|| lines.to_owned(), block);
            assert_eq!(violations(&lines), expected, "{lines}");
        }
    }

    /// Turns the inside of a flow map into lines.
    fn block(inner: &str) -> String {
        let mut depth = 0;
        let line = |c| match c {
            '{' | '[' => {
                depth += 1;
                c
            }
            '}' | ']' => {
                depth -= 1;
                c
            }
            ',' if depth == 0 => '\n',
            c => c,
        };
        inner
            .chars()
            .map(line)
            .collect::<String>()
            .replace("\n ", "\n")
    }

    #[test]
    fn an_alias_fits_into_a_keystore() {
        // One unit each, and three bytes in the store.
        let errors = |units| {
            let alias = "\u{ffe6}".repeat(units);
            violations(&format!(
                "keystores: {{jks: {{create: true, password: x, alias: {alias}}}}}"
            ))
        };
        assert_eq!(errors(21_845), "");
        assert_eq!(errors(21_846), "spec.keystores.jks.alias Invalid");
    }

    #[test]
    fn many_output_formats_are_checked_in_linear_time() {
        let format = |n: usize| crate::certificate::OutputFormatSpec {
            r#type: format!("{n:08}"),
        };
        let spec = CertificateSpec {
            additional_output_formats: (0..80_000).map(format).collect(),
            ..CertificateSpec::default()
        };
        // Compared pair by pair this takes minutes; the suite's time would show it.
        assert!(spec.validate(&Defaults::documented()).is_err());
    }

    #[test]
    fn a_common_name_beside_a_literal_subject_is_the_only_mistake() {
        for (lines, expected) in [
            (
                "literalSubject: O=x\ncommonName: cn",
                "spec.commonName Invalid",
            ),
            (
                "literalSubject: O\ncommonName: cn",
                "spec.literalSubject Invalid, spec.commonName Invalid",
            ),
        ] {
            let violations = validate(lines).unwrap_err().into_vec();
            let found: Vec<_> = violations
                .iter()
                .map(|v| format!("{} {:?}", v.field, v.kind))
                .collect();
            assert_eq!(found.join(", "), expected, "{lines}");
        }
    }

    #[test]
    fn a_specification_must_name_something() {
        for lines in ["", "commonName: ''", "literalSubject: O=Example"] {
            let error = validate(lines).unwrap_err();
            assert!(
                error.iter().any(|v| v.field.to_string() == "spec"),
                "{lines}: {error}"
            );
        }
        let long = "x".repeat(65);
        for lines in [
            format!("commonName: {long}"),
            format!("literalSubject: CN={long}"),
        ] {
            let violations = validate(&lines).unwrap_err().into_vec();
            assert_eq!(violations.len(), 1, "{lines}");
            assert_eq!(violations[0].kind, ViolationKind::TooLong);
            assert_eq!(violations[0].field.to_string(), "spec.commonName");
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let spec = validate("dnsNames: [web.example.com]").unwrap();
        assert_eq!(spec.duration().to_string(), "2160h0m0s");
        assert!(spec.duration_is_default());
        assert_eq!(spec.renewal(), RenewalRequest::TwoThirds);
        assert_eq!(spec.issuer_ref().to_string(), "Issuer/ca");
        assert_eq!(spec.revision_history_limit(), 1);
        let names = |spec: &ValidatedSpec| spec.usages().to_string();
        assert_eq!(
            names(&spec),
            "digital signature, key encipherment, server auth"
        );
        let ecdsa = "dnsNames: [a.b]\nprivateKey: {algorithm: ECDSA}";
        assert_eq!(
            names(&validate(ecdsa).unwrap()),
            "digital signature, server auth"
        );
        let ca = "commonName: root\nisCA: true";
        assert_eq!(
            names(&validate(ca).unwrap()),
            "digital signature, key encipherment, cert sign"
        );
    }

    #[test]
    fn subjects_have_the_order_of_their_kind() {
        let spec = validate(
            "commonName: web\nsubject: {serialNumber: '7', organizations: [b, a], countries: [GB]}",
        );
        assert_eq!(
            spec.unwrap().subject().to_string(),
            "SERIALNUMBER=7,CN=web,O=b+O=a,C=GB"
        );
        let spec = validate("literalSubject: 'C=GB,CN=last,CN=first'").unwrap();
        assert_eq!(spec.subject().to_string(), "C=GB,CN=last,CN=first");
        assert_eq!(spec.common_name(), Some("last"));
        let names = spec.subject().values(attribute::COMMON_NAME);
        assert_eq!(names.collect::<Vec<_>>(), ["first", "last"]);
    }

    #[test]
    fn constraints_are_canonical() {
        let spec = validate(
            "commonName: root\nisCA: true\nnameConstraints: {critical: true, permitted: {dnsDomains: [example.com], ipRanges: [10.1.2.3/8]}}",
        )
        .unwrap();
        let permitted = &spec.constraints().unwrap().permitted;
        assert_eq!(permitted.ip[0].to_string(), "10.0.0.0/8");
        assert_eq!(
            permitted.dns,
            ["example.com".parse::<DnsSubtree>().unwrap()]
        );
    }

    #[test]
    fn warnings_do_not_refuse() {
        let spec = validate(
            "commonName: web.example.com\nduration: 100h\nrenewBefore: 70h\nusages: [key encipherment]\nprivateKey: {algorithm: ECDSA}\nkeystores: {pkcs12: {create: true, password: x}}\n",
        )
        .unwrap();
        let fields: Vec<_> = spec
            .warnings()
            .iter()
            .map(|w| w.field.to_string())
            .collect();
        assert_eq!(
            fields,
            [
                "spec.commonName",
                "spec.renewBefore",
                "spec.usages[0]",
                "spec.keystores.pkcs12.profile"
            ]
        );
        // The common name is listed where clients look.
        let spec = validate("commonName: Web.example.com\ndnsNames: [web.example.com]\n").unwrap();
        assert!(spec.warnings().is_empty(), "{:?}", spec.warnings());
    }

    #[test]
    fn constraints_that_verifiers_read_differently_are_warned_about() {
        let spec = validate(
            "commonName: root\nisCA: true\nnameConstraints: {permitted: {dnsDomains: [.example.com, example.org], ipRanges: ['::ffff:10.0.0.0/104', 10.0.0.0/8], uriDomains: [td]}}",
        )
        .unwrap();
        let fields: Vec<_> = spec
            .warnings()
            .iter()
            .map(|w| w.field.to_string())
            .collect();
        assert_eq!(
            fields,
            [
                "spec.nameConstraints.critical",
                "spec.nameConstraints.permitted.uriDomains",
                "spec.nameConstraints.permitted.dnsDomains",
                "spec.nameConstraints.permitted.ipRanges",
                "spec.nameConstraints.permitted.uriDomains",
            ]
        );
    }

    #[test]
    fn gates_forbid() {
        let text = "{secretName: x, issuerRef: {name: x}, isCA: true, literalSubject: CN=x, nameConstraints: {permitted: {ipRanges: [x]}}, otherNames: [{oid: 1.2.3, utf8Value: x}, {oid: '', utf8Value: ''}]}";
        let document = parse(text, Format::Yaml).remove(0).unwrap();
        let mut defaults = Defaults::cert_manager_1_21();
        defaults.gates.literal_subject = false;
        defaults.gates.name_constraints = false;
        defaults.gates.other_names = false;
        let spec = CertificateSpec::decode(&document.root, Strictness::Strict);
        let violations = spec.and_then(|spec| spec.validate(&defaults)).unwrap_err();
        let fields: Vec<_> = violations.iter().map(|v| v.field.to_string()).collect();
        assert_eq!(
            fields,
            [
                "spec.OtherNames",
                "spec.literalSubject",
                "spec.nameConstraints"
            ]
        );
    }
}
