//! Private keys that are not loaded before they have to sign, or somebody warms them up.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustls::crypto::KeyProvider;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{PrivateKeyDer, PrivateSec1KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroize as _;

use crate::der::{BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE, context, expect};
use crate::pem;
use crate::scheme::SchemeMask;

/// The key as it was read, and once it is needed as the provider made it.
pub(crate) struct LazyKey {
    provider: &'static dyn KeyProvider,
    kept: Kept,
    /// `None` for a key the provider refuses.
    loaded: OnceLock<Option<Arc<dyn SigningKey>>>,
}

/// A key in as little memory as the provider can load it from.
enum Kept {
    Der(PrivateKeyDer<'static>),
    /// Of P-256 the private half alone; the other can be computed, and is in the certificate anyway.
    P256([u8; 32]),
}

impl Kept {
    fn load(&self, provider: &dyn KeyProvider) -> Option<Arc<dyn SigningKey>> {
        match self {
            Self::Der(der) => pem::load_key(provider, der).ok(),
            Self::P256(scalar) => {
                let key = PrivateSec1KeyDer::from([SEC1_HEAD, scalar, SEC1_TAIL].concat());
                provider.load_private_key(key.into()).ok()
            }
        }
    }
}

impl LazyKey {
    /// Defers a P-256 or P-384 key that brings its public half along, if that is the certificate's:
    /// a key that belongs elsewhere is to be found now, not in a handshake.
    pub(crate) fn defer(
        provider: &'static dyn KeyProvider,
        key: &PrivateKeyDer<'static>,
        public_key: &[u8],
        cold: &ColdKeys,
    ) -> Option<(Arc<Self>, SchemeMask)> {
        let (scheme, point) = curve_and_point(public_key)?;
        let unwrapped = pem::unwrapped(key);
        let PrivateKeyDer::Sec1(sec1) = unwrapped.as_ref().unwrap_or(key) else {
            return None;
        };
        let (scalar, public_half) = halves(sec1.secret_sec1_der())?;
        if public_half != point {
            return None;
        }
        let scalar = scalar
            .try_into()
            .ok()
            .filter(|_| scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
        let lazy = Self {
            provider,
            kept: match scalar {
                Some(scalar) if cold.is_half_enough(provider, scalar, public_key) => {
                    Kept::P256(scalar)
                }
                _ => Kept::Der(key.clone_key()),
            },
            loaded: OnceLock::new(),
        };
        let lazy = Arc::new(lazy);
        cold.push(&lazy);
        Some((lazy, SchemeMask::from_code_points([scheme.into()])))
    }

    fn key(&self) -> Option<&Arc<dyn SigningKey>> {
        let load = || self.kept.load(self.provider);
        self.loaded.get_or_init(load).as_ref()
    }
}

impl SigningKey for LazyKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.key()?.choose_scheme(offered)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key()?.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Drop for LazyKey {
    fn drop(&mut self) {
        match &mut self.kept {
            Kept::Der(der) => der.zeroize(),
            Kept::P256(scalar) => scalar.zeroize(),
        }
    }
}

impl fmt::Debug for LazyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyKey")
            .field("loaded", &self.loaded.get().is_some())
            .finish_non_exhaustive()
    }
}

/// The keys that were deferred and may still be cold, oldest first.
#[derive(Clone, Default)]
pub(crate) struct ColdKeys(Arc<Queue>);

#[derive(Default)]
struct Queue {
    keys: Mutex<VecDeque<Weak<LazyKey>>>,
    /// Whether the provider loads P-256 keys from the private half alone; found out with the first.
    half_is_enough: OnceLock<bool>,
}

impl ColdKeys {
    fn is_half_enough(
        &self,
        provider: &dyn KeyProvider,
        scalar: [u8; 32],
        public_key: &[u8],
    ) -> bool {
        *self.0.half_is_enough.get_or_init(|| {
            let mut half = Kept::P256(scalar);
            let loaded = half.load(provider);
            if let Kept::P256(scalar) = &mut half {
                scalar.zeroize();
            }
            loaded.is_some_and(|key| {
                key.public_key()
                    .is_some_and(|known| known.as_ref() == public_key)
            })
        })
    }

    fn push(&self, key: &Arc<LazyKey>) {
        let mut queue = self.queue();
        if queue.len() == queue.capacity() {
            // Keys of certificates that were replaced meanwhile would pile up.
            queue.retain(|key| key.strong_count() > 0);
        }
        queue.push_back(Arc::downgrade(key));
    }

    /// Loads at most as many and says how many are left.
    pub(crate) fn warm_up(&self, at_most: usize) -> usize {
        let mut warmed = 0;
        while warmed < at_most {
            let Some(key) = self.queue().pop_front() else {
                return 0;
            };
            if let Some(key) = key.upgrade().filter(|key| key.loaded.get().is_none()) {
                // Whether it works shows in the handshake that needs it.
                let _known_later = key.key();
                warmed += 1;
            }
        }
        self.queue().len()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Weak<LazyKey>>> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signature scheme of a certificate's curve, and its public point (RFC 5480 section 2).
fn curve_and_point(public_key: &[u8]) -> Option<(SignatureScheme, &[u8])> {
    let (info, _) = expect(public_key, SEQUENCE)?;
    let (algorithm, rest) = expect(info, SEQUENCE)?;
    let (kind, parameters) = expect(algorithm, OID)?;
    let (curve, _) = expect(parameters, OID).filter(|_| kind == EC_PUBLIC_KEY)?;
    let scheme = match curve {
        P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
        _ => return None,
    };
    Some((scheme, expect(rest, BIT_STRING)?.0))
}

/// The private half of an ECPrivateKey, and the optional public one (RFC 5915 section 3).
fn halves(sec1: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, _) = expect(sec1, SEQUENCE)?;
    let (_version, rest) = expect(content, INTEGER)?;
    let (scalar, rest) = expect(rest, OCTET_STRING)?;
    let rest = expect(rest, context(0)).map_or(rest, |(_, rest)| rest);
    let (public, _) = expect(rest, context(1))?;
    Some((scalar, expect(public, BIT_STRING)?.0))
}

/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// An ECPrivateKey up to the private half: version 1, an OCTET STRING of 32 bytes.
const SEC1_HEAD: &[u8] = &[0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
/// What follows it: the curve P-256, and no public half.
const SEC1_TAIL: &[u8] = &[
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];
