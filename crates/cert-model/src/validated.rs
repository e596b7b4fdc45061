//! A Certificate's `spec` that keeps every rule.

#[cfg(feature = "windows")]
use certwright_renewal::window::{Window, Windows};
use certwright_renewal::{Percent, RenewalPolicy};

use crate::duration::GoDuration;
use crate::fingerprint::Fingerprint;
use crate::issuer_ref::IssuerRef;
use crate::key::{KeySpec, SignatureAlgorithm};
use crate::name::Names;
use crate::name_constraints::NameConstraints;
use crate::output::{Keystores, OutputFormat, SecretTemplate};
use crate::subject::Subject;
use crate::usage::Usages;
use crate::violation::Violation;

/// A specification in which nothing is wrong and nothing is left open; made by
/// [`CertificateSpec::validate`](crate::CertificateSpec::validate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedSpec {
    pub(crate) secret_name: String,
    pub(crate) issuer_ref: IssuerRef,
    pub(crate) subject: Subject,
    pub(crate) literal_subject: bool,
    pub(crate) common_name: Option<String>,
    pub(crate) names: Names,
    pub(crate) key: KeySpec,
    pub(crate) signature_algorithm: Option<SignatureAlgorithm>,
    pub(crate) duration: GoDuration,
    pub(crate) renewal: RenewalRequest,
    pub(crate) usages: Usages,
    pub(crate) encode_usages_in_request: bool,
    pub(crate) is_ca: bool,
    pub(crate) constraints: Option<NameConstraints>,
    pub(crate) outputs: Vec<OutputFormat>,
    pub(crate) secret_template: SecretTemplate,
    pub(crate) keystores: Keystores,
    pub(crate) revision_history_limit: u32,
    pub(crate) duration_is_default: bool,
    pub(crate) timing: RenewalTiming,
    pub(crate) warnings: Vec<Violation>,
}

/// When the certificate is to be renewed, as the specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenewalRequest {
    /// This long before the certificate expires.
    Before(GoDuration),
    /// When this share of its lifetime is left.
    Percentage(Percent),
    /// After two thirds of its lifetime.
    TwoThirds,
}

/// At which times a due renewal may start (`spec.renewal`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenewalTiming {
    /// At any time.
    #[default]
    AnyTime,
    /// Never: the certificate is renewed only by hand or by a change of its specification.
    Disabled,
    /// Only in these windows.
    Windows(RenewalWindows),
}

/// Windows in which a renewal may start (`spec.renewal.windows`); at least one, each of them opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalWindows {
    #[cfg(feature = "windows")]
    windows: Windows,
    /// Without the feature there is no way to make one.
    #[cfg(not(feature = "windows"))]
    never: core::convert::Infallible,
}

#[cfg(feature = "windows")]
impl RenewalWindows {
    /// The windows, to fit a schedule into.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }
}

#[cfg(feature = "windows")]
impl FromIterator<Window> for RenewalWindows {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        let windows = windows.into_iter().collect();
        Self { windows }
    }
}

impl ValidatedSpec {
    /// The Secret that holds the result.
    pub fn secret_name(&self) -> &str {
        &self.secret_name
    }

    /// Who signs.
    pub fn issuer_ref(&self) -> &IssuerRef {
        &self.issuer_ref
    }

    /// The subject, common name included.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Whether the subject was written as a whole (`spec.literalSubject`).
    pub fn has_literal_subject(&self) -> bool {
        self.literal_subject
    }

    /// The common name, at most 64 bytes.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The subject alternative names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The private key asked for.
    pub fn key(&self) -> KeySpec {
        self.key
    }

    /// The signature algorithm of the request, if one is prescribed.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        self.signature_algorithm
    }

    /// Whether no duration was asked for, so that [`duration`](Self::duration) is a default that an
    /// issuer's own choice does not contradict.
    pub fn duration_is_default(&self) -> bool {
        self.duration_is_default
    }

    /// How long the certificate is to be valid: at least 1h.
    pub fn duration(&self) -> GoDuration {
        self.duration
    }

    /// When it is to be renewed, as written.
    pub fn renewal(&self) -> RenewalRequest {
        self.renewal
    }

    /// The same as a policy that schedules an issued lifetime.
    pub fn renewal_policy(&self) -> RenewalPolicy {
        match self.renewal {
            RenewalRequest::Before(before) => RenewalPolicy::Before(before.into()),
            RenewalRequest::Percentage(percentage) => RenewalPolicy::Percent(percentage),
            RenewalRequest::TwoThirds => RenewalPolicy::TwoThirds,
        }
    }

    /// At which times a due renewal may start.
    pub fn renewal_timing(&self) -> &RenewalTiming {
        &self.timing
    }

    /// What it may be used for; includes `cert sign` for a CA.
    pub fn usages(&self) -> &Usages {
        &self.usages
    }

    /// Whether the usages are written into the request.
    pub fn encode_usages_in_request(&self) -> bool {
        self.encode_usages_in_request
    }

    /// Whether the certificate is a CA's.
    pub fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// The name constraints of a CA certificate.
    pub fn constraints(&self) -> Option<&NameConstraints> {
        self.constraints.as_ref()
    }

    /// Additional formats to keep in the Secret.
    pub fn outputs(&self) -> &[OutputFormat] {
        &self.outputs
    }

    /// Keystores to keep in the Secret.
    pub fn keystores(&self) -> &Keystores {
        &self.keystores
    }

    /// How many of the past CertificateRequests are kept: at least 1.
    pub fn revision_history_limit(&self) -> u32 {
        self.revision_history_limit
    }

    /// What is worth a look but not wrong, in the order of the rules.
    pub fn warnings(&self) -> &[Violation] {
        &self.warnings
    }

    /// A digest of everything whose change means a new certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// Labels and annotations to keep on the Secret.
    pub fn secret_template(&self) -> &SecretTemplate {
        &self.secret_template
    }
}
