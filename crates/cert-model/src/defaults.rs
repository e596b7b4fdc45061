//! What an absent field means.

use crate::duration::GoDuration;
use crate::key::RotationPolicy;
use crate::usage::Usage;

/// The values that absent fields of a Certificate take, and rules that differ between versions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defaults {
    /// How long a certificate is valid: 2160h.
    pub duration: GoDuration,
    /// What a certificate may be used for.
    pub usages: Vec<Usage>,
    /// Whether key encipherment is left out of defaulted usages where the key cannot do it (RFC 8813, 3).
    pub key_aware_usages: bool,
    /// What happens to the key at the next issue.
    pub rotation: RotationPolicy,
    /// How many CertificateRequests are kept.
    pub revision_history_limit: u32,
}

impl Defaults {
    /// What cert-manager's documentation of the Certificate resource says: usages digital signature,
    /// key encipherment and server auth; the key is kept. Usages follow the key's algorithm.
    pub fn documented() -> Self {
        use crate::usage::{ExtendedKeyUsage, KeyUsage};
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
        }
    }

    /// What cert-manager 1.21 does: no server auth, a new key at every issue.
    pub fn cert_manager_1_21() -> Self {
        use crate::usage::KeyUsage;
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

impl Default for Defaults {
    fn default() -> Self {
        Self::documented()
    }
}
