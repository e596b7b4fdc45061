//! Octets where a keystore was are at most one of those that could be wanted; a store with one octet more is none.
#![no_main]

use std::sync::LazyLock;

use certwright_cert_model::output::Pkcs12Profile::{
    self, LegacyDes, LegacyRc2, Modern2023, Modern2026,
};
use certwright_issuance::keystore::{Contents, Jks, KeyEntry, Pkcs12};
use certwright_issuance::{Certificate, KeyPair};
use libfuzzer_sys::fuzz_target;

const PROFILES: [Pkcs12Profile; 4] = [LegacyDes, LegacyRc2, Modern2023, Modern2026];

static PAIR: LazyLock<(KeyPair, [Certificate; 1])> = LazyLock::new(|| {
    let key = KeyPair::from_pem(include_bytes!("../seeds/key/tenants.pem"));
    let leaf = Certificate::from_der(include_bytes!("../seeds/facts/tenants").to_vec());
    (key.expect("a key"), [leaf.expect("its certificate")])
});

fn wanted(stored: &[u8]) -> usize {
    let (key, chain) = &*PAIR;
    let entry = KeyEntry {
        alias: Some("a"),
        key,
        chain,
        authorities: &[],
    };
    let (password, good) = ("x", "a key and its certificate");
    let mut found = 0;
    for contents in [Contents::Key(entry), Contents::Trust(chain)] {
        let jks = Jks { password, contents };
        found += usize::from(jks.matches(stored).expect(good));
        for profile in PROFILES {
            let pkcs12 = Pkcs12 {
                profile,
                password,
                contents,
            };
            found += usize::from(pkcs12.matches(stored).expect(good));
        }
    }
    found
}

fuzz_target!(|stored: &[u8]| {
    let found = wanted(stored);
    assert!(found <= 1);
    if found == 1 {
        assert_eq!(wanted(&[stored, &[0]].concat()), 0);
    }
});
