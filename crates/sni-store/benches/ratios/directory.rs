//! A hundred new pairs among ten thousand: taken up by what the operating system tells, and by looking
//! through the directory, against loading it whole.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use certwright_sni_store::{CertDir, CertStore, PairLoader, SelectionPolicy};
use rustls::sign::CertifiedKey;

use crate::clock::{best, process_time};
use crate::load::{Pairs, provider};

const MANY: usize = 10_000;
const CHANGED: usize = 100;
const ROUNDS: usize = 3;

pub(crate) fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let pairs = Pairs::new(MANY);
    let path = |name: &str, extension: &str| directory.path().join(format!("{name}.{extension}"));
    for (name, pair) in pairs.named() {
        fs::write(path(name, "crt"), pair.chain).unwrap();
        fs::write(path(name, "key"), pair.key).unwrap();
    }
    let loader = PairLoader::new(provider()).with_threads(NonZeroUsize::MIN);
    let open = || CertDir::new(directory.path(), loader.clone());
    let store: CertStore<CertifiedKey> = CertStore::new(SelectionPolicy::Best);
    let mut watched = open();
    store.apply(watched.changes(&store).unwrap());

    // Each round gives a hundred files another one's pair; returns what was touched.
    let named: Vec<_> = pairs.named().collect();
    let mut shift = 0;
    let mut renew = || -> Vec<PathBuf> {
        shift += 1;
        let renewed = named.iter().enumerate().step_by(MANY / CHANGED);
        renewed
            .flat_map(|(index, (name, _))| {
                let (_, other) = named[(index + shift) % MANY];
                fs::write(path(name, "crt"), other.chain).unwrap();
                fs::write(path(name, "key"), other.key).unwrap();
                [path(name, "crt"), path(name, "key")]
            })
            .collect()
    };
    let mut told = Duration::MAX;
    let mut looked = Duration::MAX;
    for _ in 0..ROUNDS {
        let touched = renew();
        told = told.min(process_time(|| {
            let change = watched.changes_at(&store, &touched).unwrap();
            assert_eq!(store.apply(change).replaced.len(), CHANGED);
        }));
        renew();
        looked = looked.min(process_time(|| {
            let change = watched.changes(&store).unwrap();
            assert_eq!(store.apply(change).replaced.len(), CHANGED);
        }));
    }
    let [full] = best(
        ROUNDS,
        [&mut |_| {
            process_time(|| {
                let store = CertStore::new(SelectionPolicy::Best);
                let report = store.apply(open().changes(&store).unwrap());
                assert_eq!(report.added.len(), MANY);
                store
            })
        }],
    );
    println!(
        "RATIO watch_reload_100_of_10k_vs_full_load {:.3} <=0.05",
        told.as_secs_f64() / full
    );
    println!(
        "WATCH rescan_100_of_10k_vs_full_load {:.3} without being told what changed",
        looked.as_secs_f64() / full
    );
}
