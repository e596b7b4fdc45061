//! What several tests need.
#![allow(dead_code, reason = "each test needs a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::{CertificateSpec, Defaults};
use certwright_issuance::{CertificateAuthority, Csr, CsrPolicy, KeyPair, Profile, self_signed};
use time::{Duration, OffsetDateTime};

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The result of a future that never waits.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

/// A self-signed CA with its key.
pub(crate) fn root_ca(name: &str, now: OffsetDateTime, duration: Duration) -> CertificateAuthority {
    let mut spec = CertificateSpec::default();
    (spec.secret_name, spec.issuer_ref.name) = ("ca".into(), "self".into());
    (spec.common_name, spec.is_ca) = (Some(name.into()), true);
    let spec = spec.validate(&Defaults::documented()).unwrap();
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let csr = Csr::for_spec(&spec, &key).unwrap();
    let csr = csr.verify(&CsrPolicy::default()).unwrap();
    let mut profile = Profile::for_spec(&spec);
    profile.duration = duration;
    let bundle = self_signed(&csr, &key, &profile, now).unwrap();
    CertificateAuthority::new(vec![bundle.certificate().unwrap()], key, now).unwrap()
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from).unwrap())).unwrap()
    }

    /// A place in a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    /// One time in so many.
    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}
