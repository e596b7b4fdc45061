//! What is issued says what was asked for; x509-cert reads it.

use certwright_cert_model::name::Names;
use certwright_cert_model::usage::{KeyUsage, KeyUsages};
use certwright_issuance::name_constraints::name_constraints_from_der;
use certwright_issuance::profile::{Role, UsageRule};
use certwright_issuance::{subject_alt_name_to_der, subject_to_der};
use der::{Decode, Encode};
use proptest::prelude::*;
use x509_cert::ext::pkix;

use crate::arbitrary::wish;
use crate::common::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn parsed_is_what_was_asked(wish in wish()) {
        let ca = root(&request("ca", &[]), None);
        let key = p256();
        let csr = verified(&wish.request, &key);
        let bundle = ca.sign(&csr, &wish.profile, now()).unwrap();
        let parsed = x509_cert::Certificate::from_der(bundle.leaf()).unwrap();
        // DER has one form: what x509-cert writes of what it read is what we wrote.
        prop_assert_eq!(parsed.to_der().unwrap(), bundle.leaf().to_vec());

        let tbs = parsed.tbs_certificate();
        let subject = subject_to_der(&wish.request.subject, wish.request.style).unwrap();
        prop_assert_eq!(tbs.subject().to_der().unwrap(), subject.clone());
        prop_assert_eq!(tbs.subject_public_key_info().to_der().unwrap(), key.public_key().spki_der());
        let names = tbs.get_extension::<pkix::SubjectAltName>().unwrap();
        prop_assert_eq!(names.is_none(), wish.request.names == Names::default());
        if let Some((critical, names)) = names {
            prop_assert_eq!(critical, subject == [0x30, 0]);
            prop_assert_eq!(names.to_der().unwrap(), subject_alt_name_to_der(&wish.request.names));
        }
        let UsageRule::Exactly(usages) = &wish.profile.usages else { unreachable!() };
        let bits = tbs.get_extension::<pkix::KeyUsage>().unwrap();
        let bits: KeyUsages = bits.map_or_else(KeyUsages::empty, |(_, bits)| {
            KeyUsage::ALL.into_iter().filter(|usage| bits.0.bits() & (1 << usage.bit()) != 0).collect()
        });
        prop_assert_eq!(bits, usages.key);
        let extended = tbs.get_extension::<pkix::ExtendedKeyUsage>().unwrap();
        let extended: Vec<_> = extended.into_iter().flat_map(|(_, list)| list.0).map(|oid| oid.to_string()).collect();
        let expected: Vec<_> = usages.extended.iter().map(|usage| usage.oid()).collect();
        prop_assert_eq!(extended, expected);
        let (_, basic) = tbs.get_extension::<pkix::BasicConstraints>().unwrap().unwrap();
        let role = if basic.ca { Role::Ca { max_path_len: basic.path_len_constraint } } else { Role::Leaf };
        prop_assert_eq!(role, wish.profile.role);

        let issued = bundle.certificate().unwrap();
        let constraints = issued.name_constraints().map(|(critical, value)| {
            name_constraints_from_der(critical, value).unwrap()
        });
        prop_assert_eq!(constraints, wish.request.constraints);
        prop_assert_eq!(issued.not_before(), now());
        prop_assert_eq!(issued.not_after(), now() + wish.profile.duration);
    }
}
