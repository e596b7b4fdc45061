//! What an absent field means.

use crate::duration::{DurationDialect, GoDuration};
use crate::key::{KeyAlgorithm, RotationPolicy};
use crate::usage::{ExtendedKeyUsage, KeyUsage, Usage, Usages};

/// The values that absent fields of a Certificate take, and rules that differ between versions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defaults {
    /// How long a certificate is valid: 2160h.
    pub duration: GoDuration,
    /// What a certificate may be used for.
    pub usages: Vec<Usage>,
    /// Whether defaulted usages follow the certificate: no key encipherment where the key cannot do it
    /// (RFC 8813, 3), no extended usages for a CA, which would confine everything it signs
    /// (RFC 5280, 4.2.1.12).
    pub key_aware_usages: bool,
    /// What happens to the key at the next issue.
    pub rotation: RotationPolicy,
    /// How many CertificateRequests are kept.
    pub revision_history_limit: u32,
    /// Which units durations may have; cert-manager's API knows Go's only.
    pub durations: DurationDialect,
    /// Which optional features are allowed.
    pub gates: Gates,
}

/// cert-manager's feature gates that decide what a specification may hold; all on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Gates {
    /// `LiteralCertificateSubject`: `literalSubject` may be set.
    pub literal_subject: bool,
    /// `NameConstraints`: `nameConstraints` may be set.
    pub name_constraints: bool,
    /// `OtherNames`: `otherNames` may be set.
    pub other_names: bool,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            literal_subject: true,
            name_constraints: true,
            other_names: true,
        }
    }
}

impl Defaults {
    /// What cert-manager's documentation of the Certificate resource says: usages digital signature,
    /// key encipherment and server auth; the key is kept. Usages follow the key's algorithm.
    pub fn documented() -> Self {
        Self {
            duration: GoDuration::from_hours(2160),
            usages: vec![
                Usage::Key(KeyUsage::DigitalSignature),
                Usage::Key(KeyUsage::KeyEncipherment),
                Usage::Extended(ExtendedKeyUsage::ServerAuth),
            ],
            key_aware_usages: true,
            rotation: RotationPolicy::Never,
            revision_history_limit: 1,
            durations: DurationDialect::Go,
            gates: Gates::default(),
        }
    }

    /// What cert-manager 1.21 does: no server auth, a new key at every issue.
    pub fn cert_manager_1_21() -> Self {
        Self {
            usages: vec![
                Usage::Key(KeyUsage::DigitalSignature),
                Usage::Key(KeyUsage::KeyEncipherment),
            ],
            key_aware_usages: false,
            rotation: RotationPolicy::Always,
            ..Self::documented()
        }
    }
}

impl Defaults {
    /// The usages of a certificate whose specification lists `asked`: those, or the defaults if there
    /// is none, and `cert sign` for a CA.
    pub fn usages_for(&self, asked: &[Usage], is_ca: bool, algorithm: KeyAlgorithm) -> Usages {
        let mut usages: Usages = if asked.is_empty() {
            let fits = |usage: &Usage| match usage {
                Usage::Key(KeyUsage::KeyEncipherment) => matches!(algorithm, KeyAlgorithm::Rsa(_)),
                Usage::Extended(_) => !is_ca,
                Usage::Key(_) => true,
            };
            let defaults = self.usages.iter().copied();
            defaults
                .filter(|usage| !self.key_aware_usages || fits(usage))
                .collect()
        } else {
            asked.iter().copied().collect()
        };
        if is_ca {
            usages.insert(Usage::Key(KeyUsage::CertSign));
        }
        usages
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self::documented()
    }
}
