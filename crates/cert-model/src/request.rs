//! CertificateRequests: one attempt to have a CSR signed.

#[cfg(feature = "documents")]
mod decode;

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};

use crate::certificate::IssuerRefSpec;
use crate::certificate::validate::issuer_ref;
use crate::defaults::Defaults;
use crate::duration::GoDuration;
use crate::issuer_ref::IssuerRef;
use crate::key::KeyAlgorithm;
use crate::report::{Report, spec};
use crate::usage::{Usage, Usages};
use crate::violation::{ViolationKind, Violations};

/// The `spec` of a `cert-manager.io/v1` CertificateRequest as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct CertificateRequestSpec {
    /// How long the certificate is to be valid, in Go's form.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub duration: Option<String>,
    /// Who is to sign. Required.
    pub issuer_ref: IssuerRefSpec,
    /// Base64 of a CSR in PEM. Required.
    pub request: String,
    /// Whether a CA's certificate is asked for.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "isCA", skip_serializing_if = "core::ops::Not::not")
    )]
    pub is_ca: bool,
    /// Names of [`Usage`]s; the [`Defaults`] if empty.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub usages: Vec<String>,
    /// Who made the request; the API server writes it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub username: Option<String>,
    /// The same user's identifier.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub uid: Option<String>,
    /// The same user's groups.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub groups: Vec<String>,
    /// More about the same user.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A CertificateRequest that keeps every rule that does not need the CSR itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateRequest {
    /// How long the certificate is to be valid.
    pub duration: GoDuration,
    /// Whether that is the default because the request does not say.
    pub duration_is_default: bool,
    /// Who is to sign.
    pub issuer_ref: IssuerRef,
    /// The CSR, a PEM text.
    pub csr: Vec<u8>,
    /// Whether a CA's certificate is asked for.
    pub is_ca: bool,
    /// What the certificate may be used for; includes `cert sign` for a CA.
    pub usages: Usages,
}

/// What a CSR's extensions ask for, to be compared with its CertificateRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsrUsages {
    /// The usages, or `None` if the CSR has neither of the two extensions.
    pub usages: Option<Usages>,
    /// Whether it asks for a CA's certificate, or `None` if it has no basic constraints.
    pub is_ca: Option<bool>,
}

impl CsrUsages {
    /// What a CSR with these extensions asks for.
    pub fn new(usages: Option<Usages>, is_ca: Option<bool>) -> Self {
        Self { usages, is_ca }
    }
}

impl CertificateRequestSpec {
    /// Checks the rules that do not need the CSR itself.
    ///
    /// Absent usages are cert-manager's defaults whatever the key is: its algorithm is only known
    /// from the CSR.
    ///
    /// # Errors
    ///
    /// Every violation, in the order of the fields.
    pub fn validate(self, defaults: &Defaults) -> Result<CertificateRequest, Violations> {
        let mut report = Report::default();
        let issuer_ref = issuer_ref(&mut report, &self.issuer_ref);
        let duration = match self.duration.as_deref() {
            None => defaults.duration,
            Some(text) => GoDuration::parse(text, defaults.durations).unwrap_or_else(|error| {
                report.refused(spec("duration"), text, &error);
                defaults.duration
            }),
        };
        let csr = csr(&mut report, &self.request);
        let mut usages = Vec::with_capacity(self.usages.len());
        let mut unknown = Vec::new();
        for name in &self.usages {
            match name.parse::<Usage>() {
                Ok(usage) => usages.push(usage),
                Err(error) => unknown.push(error.to_string()),
            }
        }
        if !unknown.is_empty() {
            // One of the list, as upstream has it here.
            report.invalid(spec("usages"), unknown.join("; "));
        }
        let usages = defaults.usages_for(&usages, self.is_ca, KeyAlgorithm::default());
        report.finish()?;
        Ok(CertificateRequest {
            duration,
            duration_is_default: self.duration.is_none(),
            issuer_ref,
            csr,
            is_ca: self.is_ca,
            usages,
        })
    }
}

impl CertificateRequest {
    /// Checks that the CSR asks for what the request says: usages only if the CSR has such an
    /// extension, `isCA` only if it has basic constraints.
    ///
    /// # Errors
    ///
    /// One violation of `spec.request` for each difference.
    pub fn check_csr(&self, csr: &CsrUsages) -> Result<(), Violations> {
        let mut report = Report::default();
        if let Some(asked) = &csr.usages
            && *asked != self.usages
        {
            report.invalid(
                spec("request"),
                format!(
                    "the CSR asks for the usages {asked}, but spec.usages and spec.isCA mean {}",
                    self.usages
                ),
            );
        }
        if let Some(is_ca) = csr.is_ca
            && is_ca != self.is_ca
        {
            report.invalid(
                spec("request"),
                format!(
                    "the CSR's basic constraints say CA: {is_ca}, but spec.isCA is {}",
                    self.is_ca
                ),
            );
        }
        report.finish().map(|_| ())
    }
}

fn csr(report: &mut Report, request: &str) -> Vec<u8> {
    let field = || spec("request");
    if request.is_empty() {
        let message = "must be the base64 of a CSR in PEM";
        report.violation(field(), ViolationKind::Required, message);
        return Vec::new();
    }
    let clean: String = request.split_ascii_whitespace().collect();
    let Ok(text) = Base64::decode_vec(&clean) else {
        report.invalid(field(), "is not base64");
        return Vec::new();
    };
    match crate::pem::read(&text) {
        Ok(blocks)
            if blocks
                .first()
                .is_some_and(|b| b.label() == "CERTIFICATE REQUEST") => {}
        Ok(_) => report.invalid(field(), "holds no CERTIFICATE REQUEST block"),
        Err(error) => report.invalid(field(), error.to_string()),
    }
    text
}
