//! Which key the next certificate gets (`spec.privateKey.rotationPolicy`).

use certwright_cert_model::key::{KeyAlgorithm, RotationPolicy};

use crate::key_pair::{KeyError, KeyPair};

/// A key for the next certificate, and where it comes from.
#[derive(Debug)]
#[non_exhaustive]
pub struct NextKey {
    /// The key.
    pub key: KeyPair,
    /// Why this one.
    pub origin: KeyOrigin,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOrigin {
    /// The policy is `Always`.
    Rotated,
    /// There was none yet.
    First,
    /// What is in the Secret cannot be read as a key.
    Replaced(KeyError),
    /// It was in the Secret already, and the policy is `Never`.
    Reused,
}

/// The key for the next certificate: under `Always` a new one, also at first; under `Never` the one
/// in `stored` (`tls.key`) if it can be read and is of the kind the specification asks for.
///
/// # Errors
///
/// Under `Never`, a stored key of another kind: neither keeping nor replacing it is what the
/// specification says. Otherwise what [`KeyPair::generate`] refuses.
pub fn next_key(
    algorithm: KeyAlgorithm,
    rotation: RotationPolicy,
    stored: Option<&[u8]>,
) -> Result<NextKey, RotationError> {
    let origin = match (rotation, stored) {
        (RotationPolicy::Always, _) => KeyOrigin::Rotated,
        (RotationPolicy::Never, None) => KeyOrigin::First,
        (RotationPolicy::Never, Some(text)) => match KeyPair::from_pem(text) {
            Ok(key) => {
                return match mismatch(algorithm, key.algorithm()) {
                    Some(mismatch) => Err(RotationError::Mismatch(mismatch)),
                    None => Ok(NextKey {
                        key,
                        origin: KeyOrigin::Reused,
                    }),
                };
            }
            Err(error) => KeyOrigin::Replaced(error),
        },
    };
    let key = KeyPair::generate(algorithm).map_err(RotationError::Generate)?;
    Ok(NextKey { key, origin })
}

/// What about a key is not as the specification says, if anything.
pub fn mismatch(expected: KeyAlgorithm, found: KeyAlgorithm) -> Option<KeyMismatch> {
    let field = match (expected, found) {
        _ if expected == found => return None,
        (KeyAlgorithm::Rsa(_), KeyAlgorithm::Rsa(_))
        | (KeyAlgorithm::Ecdsa(_), KeyAlgorithm::Ecdsa(_)) => "spec.privateKey.size",
        _ => "spec.privateKey.algorithm",
    };
    Some(KeyMismatch {
        field,
        expected,
        found,
    })
}

/// A key of another kind than the specification asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored key is {found}, but {field} asks for {expected}")]
#[non_exhaustive]
pub struct KeyMismatch {
    /// The field of the specification: `spec.privateKey.algorithm` or `spec.privateKey.size`.
    pub field: &'static str,
    /// What the specification asks for.
    pub expected: KeyAlgorithm,
    /// What the key is.
    pub found: KeyAlgorithm,
}

/// Why there is no key for the next certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// No key could be made.
    #[error("a new key cannot be made")]
    Generate(#[source] KeyError),
    /// The stored key is of another kind, and the policy is to keep it.
    #[error("{0}; delete tls.key or set privateKey.rotationPolicy to Always")]
    Mismatch(KeyMismatch),
}

#[cfg(test)]
mod tests {
    use super::*;
    use certwright_cert_model::key::{Curve, KeyEncoding, RsaSize};

    const P256: KeyAlgorithm = KeyAlgorithm::Ecdsa(Curve::P256);
    const P384: KeyAlgorithm = KeyAlgorithm::Ecdsa(Curve::P384);

    fn rsa(bits: i64) -> KeyAlgorithm {
        KeyAlgorithm::Rsa(RsaSize::from_bits(bits).unwrap())
    }

    #[test]
    fn mismatches_name_the_field() {
        for (expected, found, field) in [
            (rsa(2048), rsa(2048), None),
            (rsa(2048), rsa(4096), Some("spec.privateKey.size")),
            (P256, P384, Some("spec.privateKey.size")),
            (rsa(2048), P256, Some("spec.privateKey.algorithm")),
            (
                KeyAlgorithm::Ed25519,
                rsa(2048),
                Some("spec.privateKey.algorithm"),
            ),
            (KeyAlgorithm::Ed25519, KeyAlgorithm::Ed25519, None),
        ] {
            assert_eq!(mismatch(expected, found).map(|m| m.field), field);
        }
    }

    #[test]
    fn reuse_and_rotation() {
        use KeyOrigin::{First, Reused, Rotated};
        use RotationPolicy::{Always, Never};
        let stored = KeyPair::generate(P256).unwrap();
        let pem = stored.to_pem(KeyEncoding::Pkcs1).unwrap();
        for (rotation, text, origin) in [
            (Always, None, Rotated),
            (Always, Some(pem.as_bytes()), Rotated),
            (Never, None, First),
            (Never, Some(pem.as_bytes()), Reused),
            (
                Never,
                Some(&b"garbage"[..]),
                KeyOrigin::Replaced(KeyError::NoKey),
            ),
        ] {
            let next = next_key(P256, rotation, text).unwrap();
            assert_eq!(
                next.key.public_key() == stored.public_key(),
                origin == Reused
            );
            assert_eq!(next.origin, origin);
        }
        assert!(matches!(
            next_key(P384, Never, Some(pem.as_bytes())),
            Err(RotationError::Mismatch(_))
        ));
    }
}
