use zeroize::Zeroizing;

use super::*;
use crate::document::{Decoded, Fields, Node, Strictness, Value, decode};
use crate::violation::FieldPath;

impl CertificateSpec {
    /// Reads the `spec` of a Certificate; paths are reported below `spec`.
    pub fn decode(spec: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        decode(spec, FieldPath::root("spec"), strictness, Self::read)
    }

    pub(crate) fn read(value: Value<'_>) -> Self {
        value.object(Self::fields).unwrap_or_default()
    }

    fn fields(fields: &mut Fields<'_>) -> Self {
        Self {
            secret_name: fields.text("secretName").unwrap_or_default(),
            issuer_ref: fields
                .object("issuerRef", IssuerRefSpec::fields)
                .unwrap_or_default(),
            common_name: fields.text("commonName"),
            subject: fields.object("subject", SubjectSpec::fields),
            literal_subject: fields.text("literalSubject"),
            dns_names: fields.texts("dnsNames"),
            ip_addresses: fields.texts("ipAddresses"),
            uris: fields.texts("uris"),
            email_addresses: fields.texts("emailAddresses"),
            other_names: fields.objects("otherNames", |name| OtherNameSpec {
                oid: name.text("oid").unwrap_or_default(),
                utf8_value: name.text("utf8Value").unwrap_or_default(),
            }),
            duration: fields.text("duration"),
            renew_before: fields.text("renewBefore"),
            renew_before_percentage: fields.int("renewBeforePercentage"),
            renewal: fields.object("renewal", RenewalSpec::fields),
            is_ca: fields.bool("isCA").unwrap_or_default(),
            usages: fields.texts("usages"),
            encode_usages_in_request: fields.bool("encodeUsagesInRequest"),
            signature_algorithm: fields.text("signatureAlgorithm"),
            private_key: fields.object("privateKey", |key| PrivateKeySpec {
                algorithm: key.text("algorithm"),
                encoding: key.text("encoding"),
                size: key.int("size"),
                rotation_policy: key.text("rotationPolicy"),
            }),
            name_constraints: fields.object("nameConstraints", |constraints| NameConstraintsSpec {
                critical: constraints.bool("critical").unwrap_or_default(),
                permitted: constraints.object("permitted", SubtreesSpec::fields),
                excluded: constraints.object("excluded", SubtreesSpec::fields),
            }),
            secret_template: fields.object("secretTemplate", |template| SecretTemplateSpec {
                annotations: template.text_map("annotations"),
                labels: template.text_map("labels"),
            }),
            additional_output_formats: fields.objects("additionalOutputFormats", |format| {
                OutputFormatSpec {
                    r#type: format.text("type").unwrap_or_default(),
                }
            }),
            keystores: fields.object("keystores", |keystores| KeystoresSpec {
                jks: keystores.object("jks", |jks| KeystoreSpec {
                    alias: jks.text("alias"),
                    ..KeystoreSpec::fields(jks)
                }),
                pkcs12: keystores.object("pkcs12", |pkcs12| KeystoreSpec {
                    profile: pkcs12.text("profile"),
                    ..KeystoreSpec::fields(pkcs12)
                }),
            }),
            revision_history_limit: fields.int("revisionHistoryLimit"),
        }
    }
}

impl IssuerRefSpec {
    pub(crate) fn fields(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.text("name").unwrap_or_default(),
            kind: fields.text("kind"),
            group: fields.text("group"),
        }
    }
}

impl SubjectSpec {
    fn fields(fields: &mut Fields<'_>) -> Self {
        Self {
            organizations: fields.texts("organizations"),
            countries: fields.texts("countries"),
            organizational_units: fields.texts("organizationalUnits"),
            localities: fields.texts("localities"),
            provinces: fields.texts("provinces"),
            street_addresses: fields.texts("streetAddresses"),
            postal_codes: fields.texts("postalCodes"),
            serial_number: fields.text("serialNumber"),
        }
    }
}

impl RenewalSpec {
    fn fields(fields: &mut Fields<'_>) -> Self {
        Self {
            policy: fields.text("policy"),
            windows: fields.objects("windows", |window| RenewalWindowSpec {
                cron: window.text("cron").unwrap_or_default(),
                window_duration: window.text("windowDuration"),
                timezone: window.text("timezone"),
            }),
        }
    }
}

impl SubtreesSpec {
    fn fields(fields: &mut Fields<'_>) -> Self {
        Self {
            dns_domains: fields.texts("dnsDomains"),
            ip_ranges: fields.texts("ipRanges"),
            email_addresses: fields.texts("emailAddresses"),
            uri_domains: fields.texts("uriDomains"),
        }
    }
}

impl KeystoreSpec {
    fn fields(fields: &mut Fields<'_>) -> Self {
        Self {
            create: fields.bool("create").unwrap_or_default(),
            password: fields
                .get("password")
                .and_then(Value::secret_text)
                .map(Zeroizing::new),
            password_secret_ref: fields.object("passwordSecretRef", |reference| SecretKeyRefSpec {
                name: reference.text("name").unwrap_or_default(),
                key: reference.text("key"),
            }),
            alias: None,
            profile: None,
        }
    }
}
