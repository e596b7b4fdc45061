//! Private keys that are not loaded before they have to sign, or somebody warms them up.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustls::crypto::KeyProvider;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroize as _;

use crate::der::{BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE, context, expect};
use crate::pem;
use crate::scheme::SchemeMask;

/// The key as it was read, and once it is needed as the provider made it.
pub(crate) struct LazyKey {
    provider: &'static dyn KeyProvider,
    der: PrivateKeyDer<'static>,
    /// `None` for a key the provider refuses.
    loaded: OnceLock<Option<Arc<dyn SigningKey>>>,
}

impl LazyKey {
    /// Defers a P-256 or P-384 key that brings its public half along, if that is the certificate's:
    /// a key that belongs elsewhere is to be found now, not in a handshake.
    pub(crate) fn defer(
        provider: &'static dyn KeyProvider,
        key: &PrivateKeyDer<'static>,
        public_key: &[u8],
    ) -> Option<(Arc<Self>, SchemeMask)> {
        let (scheme, point) = curve_and_point(public_key)?;
        let unwrapped = pem::unwrapped(key);
        let PrivateKeyDer::Sec1(sec1) = unwrapped.as_ref().unwrap_or(key) else {
            return None;
        };
        if public_half(sec1.secret_sec1_der())? != point {
            return None;
        }
        let lazy = Self {
            provider,
            der: key.clone_key(),
            loaded: OnceLock::new(),
        };
        Some((Arc::new(lazy), SchemeMask::from_code_points([scheme])))
    }

    fn key(&self) -> Option<&Arc<dyn SigningKey>> {
        let load = || pem::load_key(self.provider, &self.der).ok();
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
        self.der.zeroize();
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
pub(crate) struct ColdKeys(Arc<Mutex<VecDeque<Weak<LazyKey>>>>);

impl ColdKeys {
    pub(crate) fn push(&self, key: &Arc<LazyKey>) {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signature scheme of a certificate's curve, and its public point (RFC 5480 section 2).
fn curve_and_point(public_key: &[u8]) -> Option<(u16, &[u8])> {
    let (info, _) = expect(public_key, SEQUENCE)?;
    let (algorithm, rest) = expect(info, SEQUENCE)?;
    let (kind, parameters) = expect(algorithm, OID)?;
    let (curve, _) = expect(parameters, OID).filter(|_| kind == EC_PUBLIC_KEY)?;
    let scheme = match curve {
        P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
        _ => return None,
    };
    Some((scheme.into(), expect(rest, BIT_STRING)?.0))
}

/// The optional publicKey of an ECPrivateKey (RFC 5915 section 3).
fn public_half(sec1: &[u8]) -> Option<&[u8]> {
    let (content, _) = expect(sec1, SEQUENCE)?;
    let (_version, rest) = expect(content, INTEGER)?;
    let (_scalar, rest) = expect(rest, OCTET_STRING)?;
    let rest = expect(rest, context(0)).map_or(rest, |(_, rest)| rest);
    let (public, _) = expect(rest, context(1))?;
    Some(expect(public, BIT_STRING)?.0)
}

/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
