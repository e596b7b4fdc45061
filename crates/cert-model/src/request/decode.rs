use super::*;
use crate::document::{Decoded, Fields, Node, Strictness, Value, decode};
use crate::violation::FieldPath;

impl CertificateRequestSpec {
    /// Reads the `spec` of a CertificateRequest; paths are reported below `spec`.
    pub fn decode(spec: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        decode(spec, FieldPath::root("spec"), strictness, Self::read)
    }

    pub(crate) fn read(value: Value<'_>) -> Self {
        let fields = |fields: &mut Fields<'_>| Self {
            duration: fields.text("duration"),
            issuer_ref: fields
                .object("issuerRef", IssuerRefSpec::fields)
                .unwrap_or_default(),
            request: fields.text("request").unwrap_or_default(),
            is_ca: fields.bool("isCA").unwrap_or_default(),
            usages: fields.texts("usages"),
            username: fields.text("username"),
            uid: fields.text("uid"),
            groups: fields.texts("groups"),
            extra: extra(fields),
        };
        value.object(fields).unwrap_or_default()
    }
}

#[allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the method itself is not general enough in its lifetime"
)]
fn extra(fields: &mut Fields<'_>) -> BTreeMap<String, Vec<String>> {
    let map = fields.get("extra");
    let map = map.and_then(|map| map.map(|_, texts| texts.list(|text| text.text())));
    map.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Format, parse};

    fn request(lines: &str) -> Result<CertificateRequest, String> {
        let document = parse(lines, Format::Yaml).remove(0).unwrap();
        CertificateRequestSpec::decode(&document.root, Strictness::Strict)
            .and_then(|spec| spec.validate(&Defaults::cert_manager_1_21()))
            .map_err(|violations| violations.to_string())
    }

    fn valid(lines: &str) -> CertificateRequest {
        let csr = crate::pem::write("CERTIFICATE REQUEST", b"csr");
        let base64 = Base64::encode_string(csr.as_bytes());
        request(&format!(
            "{{issuerRef: {{name: ca}}, request: {base64}, {lines}}}"
        ))
        .unwrap()
    }

    fn usages(names: &[&str]) -> Option<Usages> {
        Some(
            names
                .iter()
                .map(|name| name.parse::<Usage>().unwrap())
                .collect(),
        )
    }

    #[test]
    fn the_csr_must_ask_for_what_the_request_says() {
        for (lines, names, is_ca, fits) in [
            ("", usages(&["signing", "key encipherment"]), None, true),
            ("", None, None, true),
            ("", usages(&[]), None, false),
            (
                "isCA: true",
                usages(&["signing", "key encipherment", "cert sign"]),
                Some(true),
                true,
            ),
            (
                "isCA: true",
                usages(&["signing", "key encipherment"]),
                None,
                false,
            ),
            ("isCA: true", None, Some(false), false),
            (
                "usages: [server auth, client auth]",
                usages(&["client auth", "server auth"]),
                None,
                false,
            ),
            (
                "usages: [signing, digital signature]",
                usages(&["signing"]),
                None,
                true,
            ),
        ] {
            let csr = CsrUsages::new(names, is_ca);
            assert_eq!(
                valid(lines).check_csr(&csr).is_ok(),
                fits,
                "{lines} {csr:?}"
            );
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(
            request("{usages: [nope], duration: 1d, more: 1}").unwrap_err(),
            "1:1: spec.issuerRef.name: must name the issuer that signs\n\
             1:1: spec.request: must be the base64 of a CSR in PEM\n\
             1:10: spec.usages: unknown usage \"nope\"; the names are those of cert-manager's KeyUsage, such as \"server auth\"\n\
             1:28: spec.duration: \"1d\": unit \"d\" at byte 1 is not one of h, m, s, ms, us, ns; write 24h\n\
             1:32: spec.more: unknown field; the fields here are duration, issuerRef, request, isCA, usages, username, uid, groups, extra"
        );
        assert_eq!(
            request("{issuerRef: {name: ca}, request: YWJj}").unwrap_err(),
            "1:34: spec.request: holds no CERTIFICATE REQUEST block"
        );
    }
}
