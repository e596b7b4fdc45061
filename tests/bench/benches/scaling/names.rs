//! What a look-up costs among more and more names, in nanoseconds.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use certwright_sni_store::{CertStore, ChangeSet, Entry, Query, SelectionPolicy};
use time::OffsetDateTime;

use crate::clock::{best, thread_time};
use crate::point;

const ASKED: usize = 4096;
const ROUNDS: usize = 40;

pub(crate) type Payload = Arc<[u8; 64]>;

pub(crate) fn measure() {
    for size in [10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        let names = exact(size);
        let store = CertStore::new(SelectionPolicy::Best);
        store.replace_all(entries(&names));
        let map: HashMap<&str, Payload> = names
            .iter()
            .map(|n| (&**n, Payload::new([0; 64])))
            .collect();

        let hits: Vec<&str> = (0..ASKED).map(|n| &*names[n * 7919 % size]).collect();
        let below: Vec<String> = (0..ASKED)
            .map(|n| format!("www.{}", wildcard(n * 7919 % size)))
            .collect();
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        let nobody: Vec<String> = (0..ASKED)
            .map(|n| format!("none{n}.shop.example.org"))
            .collect();
        let nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
        let now = OffsetDateTime::UNIX_EPOCH;
        let ask = |asked: &[&str]| {
            thread_time(|| {
                for name in asked {
                    black_box(store.select(&Query::new(*name, now)));
                }
            })
        };
        let seconds = best(
            ROUNDS,
            [
                &mut || ask(&hits),
                &mut || ask(&below),
                &mut || ask(&nobody),
                &mut || {
                    thread_time(|| {
                        for name in &hits {
                            black_box(map.get(name).cloned());
                        }
                    })
                },
            ],
        );
        let series = ["exact", "wildcard", "miss", "map-exact-only"];
        for (series, seconds) in series.into_iter().zip(seconds) {
            point("names", series, size, seconds * 1e9 / ASKED as f64);
        }
    }
}

/// So many names, in no order that a cache could profit from.
fn exact(size: usize) -> Vec<String> {
    (0..size)
        .map(|n| format!("host{:08}.shop.example.com", n * 7_368_787 % 100_000_007))
        .collect()
}

fn wildcard(n: usize) -> String {
    format!("zone{n:08}.example.net")
}

/// Each name with a certificate, and as many wildcards.
fn entries(names: &[String]) -> ChangeSet<[u8; 64]> {
    let wildcards = (0..names.len()).map(|n| format!("*.{}", wildcard(n)));
    let all = names.iter().cloned().chain(wildcards);
    all.map(|name| Entry::new(name.clone(), [name], Payload::new([0; 64])))
        .collect()
}
