//! One name, one certificate: against rustls' map, and the store's cases against each other.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure as count;
use certwright_sni_store::{
    CertStore, ChangeSet, Entry, Query, Resolver, SchemeMask, SelectionPolicy,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use time::OffsetDateTime;

use crate::clock::{best, thread_time};
use crate::load;

const CHUNK: usize = 4096;
const ROUNDS: usize = 60;

pub(crate) fn measure() {
    for (size, tag, goal) in [
        (1_000, "1k", 1.6),
        (100_000, "100k", 0.95),
        (1_000_000, "1m", 0.9),
    ] {
        let fleet = Fleet::new(size);
        let [map, exact, wildcard, miss] = fleet.nanos();
        println!(
            "RATIO exact_hit_{tag}_vs_rustls_map {:.2} <={goal}",
            exact / map
        );
        match tag {
            "1k" => println!("RATIO wildcard_vs_exact_1k {:.2} <=1.7", wildcard / exact),
            "1m" => println!("RATIO wildcard_vs_exact_1m {:.2} <=1.1", wildcard / exact),
            _ => println!("RATIO miss_vs_exact_100k {:.2} <=1.0", miss / exact),
        }
        println!(
            "WATCH look_up_ns_{tag} {exact:.0} exact; wildcard {wildcard:.0}, miss {miss:.0}, rustls' map {map:.0}"
        );
        if tag != "1m" {
            let goal = if tag == "1k" { "0.001" } else { "0.00001" };
            println!(
                "RATIO cold_vs_naive_traefik_{tag} {:.7} <={goal}",
                exact * 1e-9 / fleet.cold_traefik()
            );
        }
    }
    allocations();
}

/// As many names, a tenth of them wildcards, each with a certified key of its own.
pub(crate) struct Fleet {
    pub(crate) store: CertStore<CertifiedKey>,
    pub(crate) map: HashMap<String, Arc<CertifiedKey>>,
    identifiers: Vec<String>,
    exact: Vec<String>,
    wildcard: Vec<String>,
    miss: Vec<String>,
}

impl Fleet {
    pub(crate) fn new(size: usize) -> Self {
        let key = load::any_key();
        let mut map = HashMap::new();
        let mut change = ChangeSet::new();
        let mut identifiers = Vec::new();
        let (mut exact, mut wildcard, mut miss) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..size {
            let n = scramble(n);
            let payload = Arc::new(CertifiedKey::clone(&key));
            let name = if n.is_multiple_of(10) {
                wildcard.push(format!("www.zone{n:08}.example.net"));
                format!("*.zone{n:08}.example.net")
            } else {
                exact.push(format!("host{n:08}.shop.example.com"));
                format!("host{n:08}.shop.example.com")
            };
            miss.push(format!("none{n:08}.shop.example.org"));
            map.insert(name.clone(), payload.clone());
            identifiers.push(name.clone());
            change.put(
                Entry::new(format!("fleet/{n}"), [name], payload)
                    .with_validity(at(0)..=at(4_000_000_000))
                    .with_schemes(SchemeMask::from_code_points([0x0403])),
            );
        }
        let store = CertStore::new(SelectionPolicy::Best);
        store.replace_all(change);
        for list in [&mut exact, &mut wildcard, &mut miss] {
            shuffle(list);
            list.truncate(200_000);
        }
        Self {
            store,
            map,
            identifiers,
            exact,
            wildcard,
            miss,
        }
    }

    /// Nanoseconds of a look-up: rustls' map, exact, wildcard, miss.
    fn nanos(&self) -> [f64; 4] {
        let client = SchemeMask::from_code_points([0x0403, 0x0804]);
        let now = at(1_767_225_600);
        let select = |names: &[String], round: usize| {
            chunk(names, round, |name| {
                black_box(
                    self.store
                        .select(&Query::new(name, now).with_schemes(client)),
                );
            })
        };
        best(
            ROUNDS,
            [
                &mut |round| {
                    chunk(&self.exact, round, |name| {
                        black_box(self.map.get(name).cloned());
                    })
                },
                &mut |round| select(&self.exact, round),
                &mut |round| select(&self.wildcard, round),
                &mut |round| select(&self.miss, round),
            ],
        )
        .map(|seconds| seconds * 1e9 / CHUNK as f64)
    }

    /// The seconds Traefik's rule takes on a cold name: sort the identifiers, walk them.
    fn cold_traefik(&self) -> f64 {
        let [seconds] = best(
            3,
            [&mut |round| {
                let name = &self.exact[round];
                thread_time(|| {
                    let mut sorted: Vec<&String> = self.identifiers.iter().collect();
                    sorted.sort_unstable_by_key(|identifier| Reverse(*identifier));
                    let found = sorted
                        .into_iter()
                        .find(|identifier| SelectionPolicy::Traefik.matches(identifier, name));
                    assert_eq!(found, Some(name));
                })
            }],
        );
        seconds
    }
}

fn chunk(names: &[String], round: usize, mut ask: impl FnMut(&str)) -> Duration {
    let start = round * CHUNK % names.len();
    let asked: Vec<&str> = names
        .iter()
        .cycle()
        .skip(start)
        .take(CHUNK)
        .map(String::as_str)
        .collect();
    thread_time(|| asked.into_iter().for_each(&mut ask))
}

fn allocations() {
    let fleet = Fleet::new(1000);
    let now = at(1_767_225_600);
    let counted = count(|| {
        for name in fleet.exact.iter().chain(&fleet.wildcard).chain(&fleet.miss) {
            black_box(fleet.store.select(&Query::new(name, now)));
        }
    });
    println!("RATIO allocations_per_select {} <=0", counted.count_total);

    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = fleet.exact[0].clone().try_into().unwrap();
    let mut wire = Vec::new();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    client.write_tls(&mut wire).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &wire[..]).unwrap();
    let accepted = acceptor.accept().unwrap().unwrap();
    let resolver = Resolver::new(fleet.store.clone(), Arc::new(DefaultTimeProvider));
    let hello = accepted.client_hello();
    let counted = count(|| assert!(resolver.resolve(hello).is_some()));
    println!("RATIO allocations_per_resolve {} <=0", counted.count_total);
}

pub(crate) fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// A bijection on eight digits that leaves no order for a cache to profit from.
fn scramble(n: usize) -> usize {
    n * 7_368_787 % 100_000_007
}

fn shuffle(list: &mut [String]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for index in (1..list.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let other = usize::try_from(state >> 33).unwrap() % (index + 1);
        list.swap(index, other);
    }
}
