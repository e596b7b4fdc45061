//! Bytes of strangers: refused or read, never a panic.

use certwright_cert_model::key::{KeyAlgorithm, KeyEncoding};
use certwright_issuance::name_constraints::{
    ConstraintLevel, check_chain, name_constraints_from_der,
};
use certwright_issuance::{Certificate, CsrPolicy, KeyPair, PublicKey, VerifiedCsr, chain};
use proptest::prelude::*;

use crate::arbitrary::wish;
use crate::common::*;

/// Valid DER with a few bytes changed, and a few cut off.
fn damaged(der: &[u8], changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
    let mut der = der.to_vec();
    for (at, byte) in changes {
        let at = at % der.len();
        der[at] = *byte;
    }
    der.truncate(der.len() - cut.min(der.len()));
    der
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics(
        wish in wish(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in prop_oneof![9 => Just(0), 1 => 0..2000_usize],
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let csr = wish.request.sign(&key).unwrap();
        let ca = root(&request("ca", &[]), None);
        let verified = csr.verify(&CsrPolicy::default()).unwrap();
        let issued = ca.sign(&verified, &wish.profile, now()).unwrap();
        let private = key.to_der(KeyEncoding::Pkcs8).unwrap();
        for der in [damaged(csr.der(), &changes, cut), noise.clone()] {
            let _ = VerifiedCsr::from_der(&der, &CsrPolicy::default());
        }
        for der in [damaged(&private, &changes, cut), damaged(&p256().to_der(KeyEncoding::Pkcs1).unwrap(), &changes, cut), noise.clone()] {
            let _ = KeyPair::from_der(&der);
        }
        let _ = PublicKey::from_spki_der(&damaged(key.public_key().spki_der(), &changes, cut));
        let _ = name_constraints_from_der(true, &noise);
        if let Ok(certificate) = Certificate::from_der(damaged(issued.leaf(), &changes, cut)) {
            let root = ca.chain().certificate().clone();
            let _ = (certificate.subject(), certificate.names().count(), format!("{certificate:?}"));
            let _ = chain::assemble(vec![certificate.clone(), root.clone()]);
            let _ = check_chain(&[certificate.clone(), root.clone()], ConstraintLevel::Interop);
            // As the CA of another: whatever its constraints have become.
            let _ = check_chain(&[root, certificate], ConstraintLevel::Interop);
        }
    }
}
