//! Issuers: who signs, and what the signed certificates point at.

#[cfg(feature = "documents")]
mod decode;
mod solver;

pub use self::solver::{AcmeSolver, Dns01Solver, SolverSelector};
use crate::name::Uri;
use crate::report::{Report, spec};
use crate::violation::{FieldPath, ViolationKind, Violations};

/// The `spec` of an Issuer or ClusterIssuer as it is written.
///
/// Exactly one configuration may be present. `acme`, `vault` and `venafi` are recognised; see
/// [`validate`](Self::validate).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawIssuerSpec {
    /// Orders from an ACME server.
    pub acme: Option<AcmeIssuer>,
    /// Signs with the key of a Secret.
    pub ca: Option<CaIssuer>,
    /// Signs each certificate with its own key.
    pub self_signed: Option<SelfSignedIssuer>,
    /// HashiCorp Vault; not supported.
    pub vault: Option<Unsupported>,
    /// Venafi; not supported.
    pub venafi: Option<Unsupported>,
}

/// A configuration of which only the presence matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsupported;

/// The validated `spec` of an Issuer or ClusterIssuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerSpec {
    /// Orders certificates from an ACME server (RFC 8555).
    Acme(AcmeIssuer),
    /// Signs with the key of a Secret.
    Ca(CaIssuer),
    /// Signs each certificate with its own key.
    SelfSigned(SelfSignedIssuer),
}

/// `spec.acme`: the server, the account, and how control over names is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcmeIssuer {
    /// The URL of the server's directory; valid once validated.
    pub server: String,
    /// Where the server sends mail about the account.
    pub email: Option<String>,
    /// The common name of the root to prefer, if the server offers several chains.
    pub preferred_chain: Option<String>,
    /// The certificate profile to order.
    pub profile: Option<String>,
    /// The Secret with the account's key; never empty once validated.
    pub private_key_secret_name: String,
    /// Must be false: the server is always verified.
    pub skip_tls_verify: bool,
    /// Base64 of the PEM roots to verify the server with, instead of the platform's.
    pub ca_bundle: Option<String>,
    /// An account of the CA's own, to which the ACME account is bound (RFC 8555, 7.3.4).
    pub external_account_binding: Option<ExternalAccountBinding>,
    /// Whether an absent account key is an error instead of being made.
    pub disable_account_key_generation: bool,
    /// Whether the order asks for the certificate's duration.
    pub enable_duration_feature: bool,
    /// Where renewal information comes from: `ARI` or `None`.
    pub renewal_information_source: Option<String>,
    /// Who proves control over which names.
    pub solvers: Vec<AcmeSolver>,
}

/// `spec.acme.externalAccountBinding`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExternalAccountBinding {
    /// The CA's name for the account; never empty once validated.
    pub key_id: String,
    /// The Secret with the MAC key; never empty once validated.
    pub key_secret_name: String,
    /// The key within that Secret.
    pub key_secret_key: Option<String>,
}

/// `spec.ca`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaIssuer {
    /// The Secret with `tls.crt` and `tls.key` of the CA; never empty once validated.
    pub secret_name: String,
    /// Copied into every certificate: where its CRLs are.
    pub crl_distribution_points: Vec<String>,
    /// Copied into every certificate: its OCSP responders.
    pub ocsp_servers: Vec<String>,
    /// Copied into every certificate: where the CA's certificate is.
    pub issuing_certificate_urls: Vec<String>,
}

/// `spec.selfSigned`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfSignedIssuer {
    /// Copied into every certificate: where its CRLs are.
    pub crl_distribution_points: Vec<String>,
}

impl RawIssuerSpec {
    /// Checks that there is exactly one configuration, and its values.
    ///
    /// # Errors
    ///
    /// Every violation, in the order of the fields. A `vault` or `venafi` issuer is
    /// [`ViolationKind::NotSupported`]; of several configurations all but the first, by name, are
    /// [`ViolationKind::Forbidden`] and not looked into.
    pub fn validate(self) -> Result<IssuerSpec, Violations> {
        let mut report = Report::default();
        let configurations = [
            ("acme", self.acme.map(Configuration::Acme)),
            ("ca", self.ca.map(Configuration::Ca)),
            (
                "selfSigned",
                self.self_signed.map(Configuration::SelfSigned),
            ),
            ("vault", self.vault.map(Configuration::Unsupported)),
            ("venafi", self.venafi.map(Configuration::Unsupported)),
        ];
        let mut configurations = configurations
            .into_iter()
            .filter_map(|(name, configuration)| Some((name, configuration?)));
        let Some((first, configuration)) = configurations.next() else {
            report.violation(
                FieldPath::root("spec"),
                ViolationKind::Required,
                "has no configuration; write acme, ca or selfSigned",
            );
            return Err(report.into_violations());
        };
        for (name, _) in configurations {
            report.violation(
                spec(name),
                ViolationKind::Forbidden,
                format!("an issuer has one configuration, and {first} is already set"),
            );
        }
        let issuer = match configuration {
            Configuration::Acme(issuer) => {
                issuer.check(&mut report);
                IssuerSpec::Acme(issuer)
            }
            Configuration::Ca(issuer) => {
                issuer.check(&mut report);
                IssuerSpec::Ca(issuer)
            }
            Configuration::SelfSigned(issuer) => {
                let field = spec("selfSigned").child("crlDistributionPoints");
                check_urls(&mut report, &field, &issuer.crl_distribution_points);
                IssuerSpec::SelfSigned(issuer)
            }
            Configuration::Unsupported(Unsupported) => {
                report.violation(
                    spec(first),
                    ViolationKind::NotSupported,
                    "issuers of this kind are not supported; write acme, ca or selfSigned",
                );
                return Err(report.into_violations());
            }
        };
        report.finish()?;
        Ok(issuer)
    }
}

enum Configuration {
    Acme(AcmeIssuer),
    Ca(CaIssuer),
    SelfSigned(SelfSignedIssuer),
    Unsupported(Unsupported),
}

impl AcmeIssuer {
    fn check(&self, report: &mut Report) {
        let field = |name: &str| spec("acme").child(name);
        if self.server.is_empty() {
            report.violation(
                field("server"),
                ViolationKind::Required,
                "must be the URL of the server's directory",
            );
        } else if let Err(error) = self.server.parse::<Uri>() {
            report.refused(field("server"), &self.server, &error);
        }
        if self.private_key_secret_name.is_empty() {
            report.violation(
                field("privateKeySecretRef").child("name"),
                ViolationKind::Required,
                "must name the Secret that holds the account's key",
            );
        }
        if let Some(binding) = &self.external_account_binding {
            let field = |name: &str| field("externalAccountBinding").child(name);
            if binding.key_id.is_empty() {
                let message = "must be the identifier that the CA gave you";
                report.violation(field("keyID"), ViolationKind::Required, message);
            }
            if binding.key_secret_name.is_empty() {
                report.violation(
                    field("keySecretRef").child("name"),
                    ViolationKind::Required,
                    "must name the Secret that holds the MAC key",
                );
            }
        }
        if self.skip_tls_verify {
            report.violation(
                field("skipTLSVerify"),
                ViolationKind::Forbidden,
                "the server is always verified; put its root into caBundle",
            );
        }
        for (index, solver) in self.solvers.iter().enumerate() {
            solver.check(index, report);
        }
    }
}

impl CaIssuer {
    fn check(&self, report: &mut Report) {
        let field = |name: &str| spec("ca").child(name);
        if self.secret_name.is_empty() {
            report.violation(
                field("secretName"),
                ViolationKind::Required,
                "must name the Secret that holds the CA",
            );
        }
        check_urls(
            report,
            &field("crlDistributionPoints"),
            &self.crl_distribution_points,
        );
        // The singular is upstream's; tools match on its paths.
        check_urls(report, &field("ocspServer"), &self.ocsp_servers);
        check_urls(
            report,
            &field("issuingCertificateURLs"),
            &self.issuing_certificate_urls,
        );
    }
}

/// They are copied into certificates, where RFC 5280 (4.2.1.13, 4.2.2.1) wants URIs.
fn check_urls(report: &mut Report, field: &FieldPath, urls: &[String]) {
    for (index, url) in urls.iter().enumerate() {
        if let Err(error) = url.parse::<Uri>() {
            report.refused(field.index(index), url, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(secret_name: &str) -> Option<CaIssuer> {
        Some(CaIssuer {
            secret_name: secret_name.to_owned(),
            ..CaIssuer::default()
        })
    }

    fn fields(issuer: RawIssuerSpec) -> Vec<(String, ViolationKind)> {
        let violations = issuer.validate().unwrap_err();
        let violations = violations.iter();
        violations.map(|v| (v.field.to_string(), v.kind)).collect()
    }

    #[test]
    fn exactly_one_configuration() {
        let raw = RawIssuerSpec::default();
        assert_eq!(
            fields(raw.clone()),
            [("spec".to_owned(), ViolationKind::Required)]
        );
        let several = RawIssuerSpec {
            ca: ca(""),
            self_signed: Some(SelfSignedIssuer::default()),
            vault: Some(Unsupported),
            ..raw.clone()
        };
        assert_eq!(
            fields(several),
            [
                ("spec.selfSigned".to_owned(), ViolationKind::Forbidden),
                ("spec.vault".to_owned(), ViolationKind::Forbidden),
                ("spec.ca.secretName".to_owned(), ViolationKind::Required),
            ]
        );
        let venafi = RawIssuerSpec {
            venafi: Some(Unsupported),
            ..raw
        };
        assert_eq!(
            fields(venafi),
            [("spec.venafi".to_owned(), ViolationKind::NotSupported)]
        );
    }

    #[test]
    fn what_is_copied_into_certificates_must_be_a_uri() {
        let raw = RawIssuerSpec {
            ca: Some(CaIssuer {
                secret_name: "ca".to_owned(),
                crl_distribution_points: vec![
                    "http://example.com/ca.crl".to_owned(),
                    String::new(),
                ],
                ocsp_servers: vec!["ocsp.example.com".to_owned()],
                issuing_certificate_urls: Vec::new(),
            }),
            ..RawIssuerSpec::default()
        };
        assert_eq!(
            fields(raw),
            [
                (
                    "spec.ca.crlDistributionPoints[1]".to_owned(),
                    ViolationKind::Invalid
                ),
                ("spec.ca.ocspServer[0]".to_owned(), ViolationKind::Invalid),
            ]
        );
    }
}
