//! What several tests need.
#![allow(dead_code, reason = "each test needs a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use certwright::{ResourceName, SecretDir};
use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_cert_model::{CertificateSpec, Defaults, TlsSecret};
use certwright_issuance::{
    Certificate, CertificateAuthority, Csr, CsrPolicy, KeyPair, Profile, self_signed,
};
use time::{Duration, OffsetDateTime};

/// A CA `root` that signs itself, and `web` below it, in namespace `ns`; each in the Secret of its name.
pub(crate) const PKI: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: ns}
spec: {secretName: root, isCA: true, commonName: Root, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: ns}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: ns}
spec: {secretName: web, dnsNames: [web.example], privateKey: {algorithm: ECDSA}, issuerRef: {name: root}}
";

/// Longer than anything takes on a machine with other things to do.
pub(crate) const PATIENCE: core::time::Duration = core::time::Duration::from_secs(180);

/// Asks again and again.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what:?} never comes");
        std::thread::sleep(core::time::Duration::from_millis(20));
    }
}

/// That the key of a Secret is its certificate's; the certificate.
pub(crate) fn check_pair(secret: &TlsSecret) -> Certificate {
    let chain = Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap();
    let key = KeyPair::from_pem(secret.get(TLS_KEY).unwrap()).unwrap();
    let name = (&secret.namespace, &secret.name);
    assert_eq!(chain[0].spki_der(), key.public_key().spki_der(), "{name:?}");
    chain[0].clone()
}

/// Every Secret that is in a directory now; what is renamed or removed meanwhile may be missing.
pub(crate) fn all_secrets(dir: &SecretDir) -> Vec<TlsSecret> {
    let names = dir.versions().unwrap();
    let read = |name: &ResourceName| dir.read(&name.namespace, &name.name).unwrap();
    names.keys().filter_map(read).collect()
}

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
