//! What an issuer puts into the certificates it signs.

use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::issuer::{CaIssuer, SelfSignedIssuer};
use certwright_cert_model::usage::Usages;
use time::Duration;

use crate::name_constraints::ConstraintLevel;

/// The rules for one certificate. Names and key come from the request; everything else from here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// How long the certificate is valid, counted from `now`.
    pub duration: Duration,
    /// How far the first second lies before `now`, for peers whose clock is slow. The last second
    /// stays at `now` plus `duration`. cert-manager does not backdate; one minute to one hour is
    /// common.
    pub backdate: Duration,
    /// What happens when the certificate would outlive its CA.
    pub overrun: Overrun,
    /// A leaf, or a CA of its own.
    pub role: Role,
    /// What the certificate may be used for.
    pub usages: UsageRule,
    /// Where the issuer's CRLs are; one distribution point per URL.
    pub crl_distribution_points: Vec<String>,
    /// The issuer's OCSP responders.
    pub ocsp_servers: Vec<String>,
    /// Where the issuer's certificate is.
    pub issuing_certificate_urls: Vec<String>,
    /// How names are held against the name constraints of the chain.
    pub constraint_level: ConstraintLevel,
    /// How the finished certificate is checked.
    pub preflight: Preflight,
}

/// What happens when a certificate would be valid beyond its issuing CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overrun {
    /// It ends with the CA.
    #[default]
    Clamp,
    /// It is refused.
    Refuse,
}

/// What kind of certificate is signed; complete by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A CA.
    Ca {
        /// How many CAs may follow below it (RFC 5280, 4.2.1.9); `None` writes no limit.
        max_path_len: Option<u8>,
    },
    /// Anything else; a request for a CA certificate is refused.
    #[default]
    Leaf,
}

/// Where a certificate's usages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageRule {
    /// Exactly these; a request that names others is refused, as in cert-manager.
    Exactly(Usages),
    /// Those the request names, all of which must be among `within`. A request that names no key
    /// usages gets all of `within`, and so does one that names no extended key usages: a certificate
    /// that does not say is good for every usage.
    Requested {
        /// What is approved.
        within: Usages,
    },
}

/// How a finished certificate is checked before it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preflight {
    /// `Structure`, the signature, and webpki's verdict with the issuing CA as trust anchor: one
    /// public-key operation.
    #[default]
    Full,
    /// Not at all.
    Off,
    /// Read back and compared with what was to be signed.
    Structure,
}

impl Profile {
    /// A leaf with these usages, valid this long; everything else at its default.
    pub fn leaf(usages: Usages, duration: Duration) -> Self {
        Self {
            duration,
            backdate: Duration::ZERO,
            overrun: Overrun::default(),
            role: Role::Leaf,
            usages: UsageRule::Exactly(usages),
            crl_distribution_points: Vec::new(),
            ocsp_servers: Vec::new(),
            issuing_certificate_urls: Vec::new(),
            constraint_level: ConstraintLevel::default(),
            preflight: Preflight::default(),
        }
    }

    /// A CA with these usages, which must include `cert sign`.
    pub fn ca(usages: Usages, duration: Duration, max_path_len: Option<u8>) -> Self {
        Self {
            role: Role::Ca { max_path_len },
            ..Self::leaf(usages, duration)
        }
    }

    /// What a specification asks for: its duration, its usages and whether it is a CA.
    pub fn for_spec(spec: &ValidatedSpec) -> Self {
        let (usages, duration) = (spec.usages().clone(), spec.duration().into());
        if spec.is_ca() {
            Self::ca(usages, duration, None)
        } else {
            Self::leaf(usages, duration)
        }
    }

    /// Adds the URLs of a CA issuer.
    #[must_use]
    pub fn with_ca_issuer(mut self, issuer: &CaIssuer) -> Self {
        self.crl_distribution_points
            .clone_from(&issuer.crl_distribution_points);
        self.ocsp_servers.clone_from(&issuer.ocsp_servers);
        self.issuing_certificate_urls
            .clone_from(&issuer.issuing_certificate_urls);
        self
    }

    /// Adds the URLs of a SelfSigned issuer.
    #[must_use]
    pub fn with_self_signed_issuer(mut self, issuer: &SelfSignedIssuer) -> Self {
        self.crl_distribution_points
            .clone_from(&issuer.crl_distribution_points);
        self
    }
}
