//! Private keys: made, labelled, matched; the signatures they make as issuers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize};
use certwright_cert_model::pem;
use certwright_issuance::key_pair::KeyError;
use certwright_issuance::public_key::signature_algorithm_of;
use certwright_issuance::{KeyPair, PublicKey, rotation};
use serde_json::json;

use super::super::{Case, Verdict, der::element};
use super::{expects_error, refused, refused_key, validated_key};

/// A key of each algorithm, made once per process: large RSA keys take seconds.
pub(super) fn made(algorithm: KeyAlgorithm) -> Result<Arc<KeyPair>, KeyError> {
    static MADE: Mutex<Option<HashMap<KeyAlgorithm, Arc<KeyPair>>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.get_or_insert_default();
    if let Some(key) = made.get(&algorithm) {
        return Ok(Arc::clone(key));
    }
    let key = Arc::new(KeyPair::generate(algorithm)?);
    made.insert(algorithm, Arc::clone(&key));
    Ok(key)
}

pub(super) fn generate(case: &Case) -> Option<Verdict> {
    let spec = match validated_key(&case.input)? {
        Ok(spec) => spec,
        Err(violations) => {
            return Some(refused(case, &violations, |(path, _)| {
                refused_key(&case.input, path)
            }));
        }
    };
    let key = match made(spec.key().algorithm) {
        Ok(key) => key,
        Err(KeyError::CannotGenerate { .. }) if case.expect["ok"] == true => {
            return Some(Verdict::Deliberate("rsa-sizes-generated"));
        }
        Err(error) => {
            return Some(match expects_error(case) {
                true => Verdict::Passed,
                false => Verdict::Failed(error.to_string()),
            });
        }
    };
    let size = match key.algorithm() {
        KeyAlgorithm::Ecdsa(curve) => Some(u64::from(curve.bits())),
        KeyAlgorithm::Ed25519 => None,
        KeyAlgorithm::Rsa(size) => Some(u64::from(size.bits())),
    };
    let (ok, wanted) = (&case.expect["ok"], &case.expect["keySize"]);
    // A case need not say what size it expects.
    let sized = wanted.is_null() || wanted.as_u64() == size;
    Some(Verdict::equal(&(&json!(true), sized), &(ok, true)))
}

pub(super) fn pem_label(case: &Case) -> Option<Verdict> {
    let spec = match validated_key(&case.input)? {
        Ok(spec) => spec.key(),
        Err(violations) => {
            return Some(refused(case, &violations, |(path, _)| {
                refused_key(&case.input, path)
            }));
        }
    };
    let text = made(spec.algorithm).ok()?.to_pem(spec.encoding).ok()?;
    let blocks = pem::read(text.as_bytes()).ok()?;
    let labels: Vec<_> = blocks.iter().map(pem::Block::label).collect();
    Some(Verdict::equal(
        &labels,
        &vec![case.expect["label"].as_str()?],
    ))
}

/// A key as cases name it, with its bits.
#[derive(Clone, Copy)]
enum Named {
    Ecdsa(u16),
    Ed25519,
    Rsa(u16),
}

impl Named {
    fn read(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::Ed25519);
        }
        match name.split_once('-')? {
            ("RSA", bits) => Some(Self::Rsa(bits.parse().ok()?)),
            ("P" | "ECDSA", bits) => Some(Self::Ecdsa(bits.trim_start_matches("P-").parse().ok()?)),
            _ => None,
        }
    }

    /// The fields of a specification that upstream finds another key in: the size only of the right algorithm.
    fn mismatch(self, algorithm: Option<&str>, size: Option<i64>) -> Vec<&'static str> {
        let (name, bits, default) = match self {
            Self::Ecdsa(bits) => ("ECDSA", bits, 256),
            Self::Ed25519 => ("Ed25519", 0, 0),
            Self::Rsa(bits) => ("RSA", bits, 2048),
        };
        let wanted = algorithm.filter(|name| !name.is_empty()).unwrap_or("RSA");
        let size = size.filter(|size| *size > 0).unwrap_or(default);
        if wanted != name {
            vec!["spec.privateKey.algorithm"]
        } else if matches!(self, Self::Ed25519) || size == i64::from(bits) {
            Vec::new()
        } else {
            vec!["spec.privateKey.size"]
        }
    }

    /// The algorithm, if keys of it can exist here.
    fn algorithm(self) -> Option<KeyAlgorithm> {
        Some(match self {
            Self::Ecdsa(bits) => KeyAlgorithm::Ecdsa(Curve::from_bits(i64::from(bits))?),
            Self::Ed25519 => KeyAlgorithm::Ed25519,
            Self::Rsa(bits) => KeyAlgorithm::Rsa(RsaSize::from_bits(i64::from(bits))?),
        })
    }

    /// A public key of this kind as a certificate holds it. An RSA modulus of the right length will do: only
    /// its size decides, and making a real one takes long.
    fn spki(self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(bits) => {
                let mut modulus = vec![0xff; usize::from(bits.div_ceil(8))];
                match bits % 8 {
                    // A number whose first bit is set has a zero before it, or it would be negative.
                    0 => modulus.insert(0, 0),
                    some => *modulus.first_mut()? >>= 8 - some,
                }
                let key = [element(0x02, &modulus), element(0x02, &[1, 0, 1])].concat();
                Some(spki(RSA_ENCRYPTION, &element(0x30, &key)))
            }
            Self::Ecdsa(bits) if self.algorithm().is_none() => {
                let point = vec![4; 1 + 2 * usize::from(bits.div_ceil(8))];
                Some(spki(SECP224R1, &point))
            }
            _ => {
                let key = made(self.algorithm()?).ok()?;
                Some(key.public_key().spki_der().to_vec())
            }
        }
    }
}

fn spki(identifier: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    let fields = [element(0x30, identifier), element(0x03, &bits)].concat();
    element(0x30, &fields)
}

/// The issuer's own signature follows its key, whoever holds the private half.
pub(super) fn issuer_signature_algorithm(case: &Case) -> Option<Verdict> {
    let named = Named::read(case.input["signerKey"].as_str()?)?;
    let expected = case.expect["signatureAlgorithm"].as_str();
    let key = match PublicKey::from_spki_der(&named.spki()?) {
        Ok(key) => key,
        // Upstream knows no upper limit.
        Err(_) if matches!(named, Named::Rsa(8193..)) && expected == Some("SHA512WithRSA") => {
            return Some(Verdict::Deliberate("keys-in-use"));
        }
        Err(error) => {
            return Some(match expects_error(case) {
                true => Verdict::Passed,
                false => Verdict::Failed(error.to_string()),
            });
        }
    };
    let found = key.signature_algorithm().name();
    // Upstream counts the bytes of a modulus.
    if let Named::Rsa(bits) = named
        && let Some(whole) = RsaSize::from_bits(i64::from(bits.checked_next_multiple_of(8)?))
        && expected != Some(found)
        && expected == Some(signature_algorithm_of(KeyAlgorithm::Rsa(whole)).name())
    {
        return Some(Verdict::Deliberate("keys-in-bits"));
    }
    Some(Verdict::equal(&Some(found), &expected))
}

pub(super) fn matches_spec(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    let named = Named::read(input["key"].as_str()?)?;
    let upstream = named.mismatch(input["algorithm"].as_str(), input["size"].as_i64());
    let as_upstream = json!(upstream) == case.expect;
    let spec = match validated_key(input)? {
        Ok(spec) => spec,
        Err(violations) => {
            return Some(refused(case, &violations, |(path, _)| {
                let sized = path == "spec.privateKey.size" && as_upstream;
                refused_key(input, path).or(sized.then_some("key-checked-first"))
            }));
        }
    };
    let Some(found) = named.algorithm() else {
        // It is not read at all, and replaced for that.
        return Some(match as_upstream && !upstream.is_empty() {
            true => Verdict::Deliberate("keys-in-use"),
            false => Verdict::Failed(format!("expected {}, but no such key is read", case.expect)),
        });
    };
    let mismatch = rotation::mismatch(spec.key().algorithm, found);
    let fields: Vec<_> = mismatch.iter().map(|mismatch| mismatch.field).collect();
    Some(Verdict::equal(&json!(fields), &case.expect))
}

/// rsaEncryption with its NULL (RFC 3279, 2.3.1).
const RSA_ENCRYPTION: &[u8] = &[
    0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0,
];
/// id-ecPublicKey with secp224r1 (RFC 5480, 2.1.1), one of the curves that are not supported.
const SECP224R1: &[u8] = &[
    0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 5, 0x2b, 0x81, 4, 0, 33,
];
