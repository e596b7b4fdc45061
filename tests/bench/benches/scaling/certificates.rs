//! What one change costs among more and more certificates, in microseconds: in the store that is serving, against a map
//! that is copied for every change, and in the agenda of renewals.

use std::collections::HashMap;
use std::hint::black_box;

use certwright_renewal::Agenda;
use certwright_sni_store::{CertStore, ChangeSet, Entry, SelectionPolicy};
use time::{Duration, OffsetDateTime};

use crate::clock::{best, thread_time};
use crate::names::Payload;
use crate::point;

const CHANGES: u32 = 200;

pub(crate) fn measure() {
    for size in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let name = |n: usize| format!("host{n:08}.shop.example.com");
        let entry = |n: usize| Entry::new(name(n), [name(n)], Payload::new([1; 64]));
        let store = CertStore::new(SelectionPolicy::Best);
        store.replace_all((0..size).map(entry).collect::<ChangeSet<_>>());
        let map: HashMap<String, Payload> = (0..size)
            .map(|n| (name(n), Payload::new([0; 64])))
            .collect();
        let mut agenda = Agenda::new();
        for key in 0..size {
            agenda.insert(key, due(key));
        }
        let mut turn = 0;
        let mut changed = 0;
        let [apply, copy, update] = best(
            5,
            [
                &mut || {
                    let entries: Vec<_> = (0..CHANGES)
                        .map(|_| {
                            changed += 7919;
                            entry(changed % size)
                        })
                        .collect();
                    thread_time(|| {
                        entries
                            .into_iter()
                            .for_each(|entry| drop(store.apply(entry)));
                    }) / CHANGES
                },
                &mut || thread_time(|| map.clone()),
                &mut || {
                    thread_time(|| {
                        for _ in 0..CHANGES {
                            turn += 7919;
                            black_box(agenda.update(&(turn % size), due(turn)));
                        }
                    }) / CHANGES
                },
            ],
        );
        point("certificates", "store", size, apply * 1e6);
        point("certificates", "copied-map", size, copy * 1e6);
        point("certificates", "agenda", size, update * 1e6);
    }
}

fn due(n: usize) -> OffsetDateTime {
    let seconds = u32::try_from(n * 7_368_787 % 7_776_000).unwrap();
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(i64::from(seconds))
}
