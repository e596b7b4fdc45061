//! What it costs to hold ten names against the name constraints of three CAs with more and more subtrees each, in
//! microseconds, beside the whole verification by webpki of a chain below one such CA.

use std::hint::black_box;
use std::time::Duration as StdDuration;

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_issuance::csr::Request;
use certwright_issuance::name_constraints::{ChainConstraints, ConstraintLevel};
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, VerifiedCsr, self_signed,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::{Duration, OffsetDateTime};

use crate::clock::{best, thread_time};
use crate::point;

const ROUNDS: usize = 20;

pub(crate) fn measure() {
    for size in [1, 3, 10, 30, 100, 300, 1_000] {
        let authorities: Vec<(Certificate, KeyPair)> = ["one", "two", "three"]
            .map(|name| authority(name, size))
            .into();
        let chain: Vec<Certificate> = authorities.iter().map(|(ca, _)| ca.clone()).collect();
        let constraints = ChainConstraints::of(&chain).unwrap();
        let (csr, _) = leaf();

        let (ca, key) = authority("root", size);
        let root = CertificateDer::from(ca.der().to_vec());
        let ca = CertificateAuthority::new(vec![ca], key, now()).unwrap();
        let bundle = ca.sign(&csr, &profile(), now()).unwrap();
        let leaf = CertificateDer::from(bundle.certificate().unwrap().der().to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
        let anchors = [anchor];

        let times = |count: u32, work: &mut dyn FnMut()| -> StdDuration {
            thread_time(|| (0..count).for_each(|_| work())) / count
        };
        let [ours, theirs] = best(
            ROUNDS,
            [
                &mut || {
                    times(200, &mut || {
                        let verdict = constraints.check(
                            csr.subject_der(),
                            csr.names(),
                            ConstraintLevel::Interop,
                        );
                        assert!(black_box(verdict).is_ok());
                    })
                },
                &mut || {
                    times(20, &mut || {
                        let end = webpki::EndEntityCert::try_from(&leaf).unwrap();
                        let verified = end.verify_for_usage(
                            webpki::ALL_VERIFICATION_ALGS,
                            &anchors,
                            &[],
                            UnixTime::since_unix_epoch(StdDuration::from_secs(SECONDS + 60)),
                            webpki::KeyUsage::server_auth(),
                            None,
                            None,
                        );
                        assert!(black_box(verified).is_ok());
                    })
                },
            ],
        );
        point("subtrees", "check-three-cas", size, ours * 1e6);
        point("subtrees", "webpki-verification-one-ca", size, theirs * 1e6);
    }
}

/// A CA that permits so many zones, of which the last allows everything the leaf asks for.
fn authority(name: &str, size: usize) -> (Certificate, KeyPair) {
    let mut permitted = Subtrees::default();
    for number in 1..size {
        permitted
            .dns
            .push(format!("zone{number}.example.net").parse().unwrap());
    }
    permitted.dns.push("example".parse().unwrap());
    let mut request = request(name);
    request.constraints = NameConstraints::new(true, permitted, Subtrees::default());
    let key = key();
    let csr = verified(&request, &key);
    let usages = ["cert sign", "crl sign"].map(|name| name.parse().unwrap());
    let profile = Profile::ca(usages.into_iter().collect(), Duration::days(3650), None);
    let bundle = self_signed(&csr, &key, &profile, now()).unwrap();
    (bundle.certificate().unwrap(), key)
}

fn leaf() -> (VerifiedCsr, KeyPair) {
    let mut request = request("leaf");
    for number in 0..10 {
        let name = format!("host{number}.zone{number}.example");
        request.names.dns.push(name.parse().unwrap());
    }
    let key = key();
    (verified(&request, &key), key)
}

fn request(name: &str) -> Request {
    let mut request = Request::default();
    let attribute = Attribute::new("2.5.4.3".parse().unwrap(), name);
    request.subject = Subject::new(vec![Rdn::new(vec![attribute]).unwrap()]);
    request
}

fn verified(request: &Request, key: &KeyPair) -> VerifiedCsr {
    let csr = request.sign(key).unwrap();
    csr.verify(&CsrPolicy::default()).unwrap()
}

fn profile() -> Profile {
    let usages = ["digital signature", "server auth"].map(|name| name.parse().unwrap());
    Profile::leaf(usages.into_iter().collect(), Duration::days(90))
}

fn key() -> KeyPair {
    KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap()
}

const SECONDS: u64 = 1_767_225_600;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(SECONDS.cast_signed()).unwrap()
}
