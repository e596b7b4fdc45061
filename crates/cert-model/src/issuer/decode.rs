use super::*;
use crate::document::{Decoded, Fields, Node, Strictness, Value, decode};
use crate::violation::FieldPath;

impl RawIssuerSpec {
    /// Reads the `spec` of an Issuer or ClusterIssuer; paths are reported below `spec`.
    pub fn decode(spec: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        decode(spec, FieldPath::root("spec"), strictness, Self::read)
    }

    pub(crate) fn read(value: Value<'_>) -> Self {
        let fields = |fields: &mut Fields<'_>| Self {
            acme: fields.object("acme", acme),
            ca: fields.object("ca", |ca| CaIssuer {
                secret_name: ca.text("secretName").unwrap_or_default(),
                crl_distribution_points: ca.texts("crlDistributionPoints"),
                ocsp_servers: ca.texts("ocspServers"),
                issuing_certificate_urls: ca.texts("issuingCertificateURLs"),
            }),
            self_signed: fields.object("selfSigned", |issuer| SelfSignedIssuer {
                crl_distribution_points: issuer.texts("crlDistributionPoints"),
            }),
            vault: fields.get("vault").map(|_| Unsupported),
            venafi: fields.get("venafi").map(|_| Unsupported),
        };
        value.object(fields).unwrap_or_default()
    }
}

fn acme(fields: &mut Fields<'_>) -> AcmeIssuer {
    AcmeIssuer {
        server: fields.text("server").unwrap_or_default(),
        email: fields.text("email"),
        preferred_chain: fields.text("preferredChain"),
        profile: fields.text("profile"),
        private_key_secret_name: fields
            .object("privateKeySecretRef", |reference| {
                reference.text("key");
                reference.text("name").unwrap_or_default()
            })
            .unwrap_or_default(),
        skip_tls_verify: fields.bool("skipTLSVerify").unwrap_or_default(),
        ca_bundle: fields.text("caBundle"),
        external_account_binding: fields.object("externalAccountBinding", |binding| {
            // Every server has only ever accepted one; upstream keeps the field and ignores it.
            binding.text("keyAlgorithm");
            let (name, key) = binding
                .object("keySecretRef", |reference| {
                    (reference.text("name"), reference.text("key"))
                })
                .unwrap_or_default();
            ExternalAccountBinding {
                key_id: binding.text("keyID").unwrap_or_default(),
                key_secret_name: name.unwrap_or_default(),
                key_secret_key: key,
            }
        }),
        disable_account_key_generation: fields
            .bool("disableAccountKeyGeneration")
            .unwrap_or_default(),
        enable_duration_feature: fields.bool("enableDurationFeature").unwrap_or_default(),
        renewal_information_source: fields.text("renewalInformationSource"),
        solvers: fields.objects("solvers", solver::decode::solver),
    }
}
