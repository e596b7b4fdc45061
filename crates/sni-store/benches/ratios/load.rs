//! From PEM texts to a serving store.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use certwright_sni_store::{CertStore, PairLoader, PemPair, SelectionPolicy};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::clock::{best, process_time};

const MANY: usize = 100_000;

pub(crate) fn measure() {
    let pairs = Pairs::new(MANY);
    let few: Vec<_> = pairs.named().take(MANY / 10).collect();
    let all: Vec<_> = pairs.named().collect();
    // One in a hundred is another certificate's pair under the same id.
    let changed: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(n, (name, pair))| match n % 100 {
            0 => (*name, all[(n + 1) % MANY].1),
            _ => (*name, *pair),
        })
        .collect();
    // One thread on each side: two threads that share a core take more CPU time for the same work.
    let loader = PairLoader::new(provider()).with_threads(NonZeroUsize::MIN);
    let store = |pairs: &[(&str, PemPair<'_>)]| {
        let store = CertStore::new(SelectionPolicy::Best);
        let report = store.replace_all(loader.load_all(&store, pairs.iter().copied()));
        assert_eq!(report.added.len(), pairs.len());
        store
    };
    let loaded = store(&all);
    let mut flip = false;
    let [by_hand, full, tenth, reload] = best(
        3,
        [
            &mut |_| process_time(|| load_by_hand(&all)),
            &mut |_| process_time(|| store(&all)),
            &mut |_| process_time(|| store(&few)),
            &mut |_| {
                flip = !flip;
                let next = if flip { &changed } else { &all };
                process_time(|| {
                    let change = loader.load_all(&loaded, next.iter().copied());
                    assert_eq!(loaded.replace_all(change).replaced.len(), MANY / 100);
                })
            },
        ],
    );
    println!(
        "RATIO load_100k_p256_vs_by_hand {:.2} <=1.2",
        full / by_hand
    );
    println!(
        "RATIO load_100k_vs_10k_per_certificate {:.2} <=1.2",
        full / tenth / 10.0
    );
    println!(
        "RATIO reload_100k_1pct_changed_vs_full {:.3} <=0.1",
        reload / full
    );
    println!(
        "WATCH load_p256_us {:.1} per certificate; by hand {:.1}",
        full * 1e6 / MANY as f64,
        by_hand * 1e6 / MANY as f64
    );
}

/// What a careful user of rustls writes: parse, check that the key belongs, read the names, fill a map.
fn load_by_hand(pairs: &[(&str, PemPair<'_>)]) -> HashMap<String, Arc<CertifiedKey>> {
    let provider = provider();
    let mut map = HashMap::new();
    for (_, pair) in pairs {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pair.chain)
            .map(Result::unwrap)
            .collect();
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let names: Vec<String> = leaf
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_lowercase()),
                _ => None,
            })
            .collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key).unwrap();
        let certified = Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap());
        for name in names {
            map.insert(name, certified.clone());
        }
    }
    map
}

/// Distinct P-256 pairs, each leaf about 1000 bytes and below one intermediate of about 1300, like
/// those of public authorities.
pub(crate) struct Pairs(Vec<(String, String, String)>);

impl Pairs {
    pub(crate) fn new(count: usize) -> Self {
        let padding = |length: usize| {
            let mut content = vec![0x04, 0x82];
            content.extend(u16::try_from(length).unwrap().to_be_bytes());
            content.resize(length + 4, 0x5a);
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], content)
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "intermediate");
        params.custom_extensions = vec![padding(850)];
        let intermediate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let extension = padding(550);
        let pairs = (0..count).map(|n| {
            let name = format!("host{n:08}.shop.example.com");
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.clone()]).unwrap();
            params.custom_extensions = vec![extension.clone()];
            // As authorities write it: a host name or nothing.
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, &*name);
            let leaf = params.signed_by(&key, &issuer).unwrap();
            (name, leaf.pem() + &intermediate, key.serialize_pem())
        });
        Self(pairs.collect())
    }

    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, PemPair<'_>)> {
        self.0.iter().map(|(name, chain, key)| {
            let pair = PemPair {
                chain: chain.as_bytes(),
                key: key.as_bytes(),
            };
            (&**name, pair)
        })
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Some certified key, the same each time.
pub(crate) fn any_key() -> Arc<CertifiedKey> {
    static KEY: OnceLock<Arc<CertifiedKey>> = OnceLock::new();
    KEY.get_or_init(|| {
        let pairs = Pairs::new(1);
        let (_, pair) = pairs.named().next().unwrap();
        // One thread on each side: two threads that share a core take more CPU time for the same work.
        let loader = PairLoader::new(provider()).with_threads(NonZeroUsize::MIN);
        Arc::new(loader.certified_key(pair).unwrap())
    })
    .clone()
}
