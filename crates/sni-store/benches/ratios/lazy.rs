//! What is loaded on first use: a hit against the store's own, and the memory a flood leaves.

use std::error::Error;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use certwright_sni_store::{
    CertStore, ChangeSet, Entry, EntryId, Lazy, LazyOptions, LazySource, Query, SchemeMask,
    SelectionPolicy,
};
use hashbrown::HashSet;
use rustls::sign::CertifiedKey;

use crate::clock::{best, thread_time};
use crate::load;
use crate::look_up::at;

const NAMES: usize = 10_000;
const CHUNK: usize = 4096;
const ROUNDS: usize = 60;
const NOW: i64 = 1_767_225_600;

pub(crate) fn measure() {
    let names: Vec<String> = (0..NAMES)
        .map(|n| format!("host{:08}.shop.example.com", n * 7_368_787 % 100_000_007))
        .collect();
    let entry = |name: &str| {
        Entry::new(name, [name], load::any_key())
            .with_validity(at(0)..=at(4_000_000_000))
            .with_schemes(SchemeMask::from_code_points([0x0403]))
    };
    let eager = CertStore::new(SelectionPolicy::Best);
    eager.replace_all(names.iter().map(|n| entry(n)).collect::<ChangeSet<_>>());
    let source = Listed(names.iter().map(|name| name.as_str().into()).collect());
    let mut settings = LazyOptions::default();
    settings.max_entries = 2 * NAMES;
    settings.max_bytes = 256 << 20;
    let lazy = Lazy::new(CertStore::new(SelectionPolicy::Best), source, &settings);
    let client = SchemeMask::from_code_points([0x0403, 0x0804]);
    let query = |name| Query::new(name, at(NOW)).with_schemes(client);
    for name in &names {
        assert!(block_on(lazy.ready(&query(name.as_str()))).is_some());
    }
    let tracked = CertStore::new(SelectionPolicy::Best);
    tracked.replace_all(names.iter().map(|n| entry(n)).collect::<ChangeSet<_>>());
    tracked.track_use();
    let chunk = |round: usize| names.iter().cycle().skip(round * CHUNK % NAMES).take(CHUNK);
    let [snapshot, cached, waited, counted] = best(
        ROUNDS,
        [
            &mut |round| {
                thread_time(|| {
                    for name in chunk(round) {
                        black_box(eager.select(&query(name.as_str())).unwrap());
                    }
                })
            },
            &mut |round| {
                thread_time(|| {
                    for name in chunk(round) {
                        black_box(lazy.select(&query(name.as_str())).unwrap());
                    }
                })
            },
            &mut |round| {
                thread_time(|| {
                    for name in chunk(round) {
                        black_box(block_on(lazy.ready(&query(name.as_str()))).unwrap());
                    }
                })
            },
            &mut |round| {
                thread_time(|| {
                    for name in chunk(round) {
                        black_box(tracked.select(&query(name.as_str())).unwrap());
                    }
                })
            },
        ],
    )
    .map(|seconds| seconds * 1e9 / CHUNK as f64);
    println!(
        "RATIO lazy_hit_vs_snapshot_hit {:.2} <=4.0",
        cached / snapshot
    );
    println!("WATCH lazy_hit_ns {cached:.0} awaited {waited:.0}, the store's own {snapshot:.0}");
    println!("WATCH tracked_hit_ns {counted:.0} untracked {snapshot:.0}");
}

/// The names it knows, each its own; loads cost nothing.
struct Listed(HashSet<EntryId>);

impl LazySource<CertifiedKey> for Listed {
    fn identify(&self, name: &str) -> Option<EntryId> {
        self.0.get(name).cloned()
    }

    fn load(&self, id: &EntryId) -> Result<Vec<Entry<CertifiedKey>>, Box<dyn Error + Send + Sync>> {
        let entry = Entry::new(id.clone(), [id.as_str()], load::any_key())
            .with_validity(at(0)..=at(4_000_000_000));
        Ok(vec![entry])
    }

    fn size(&self, _: &CertifiedKey) -> usize {
        4096
    }
}

/// Prints what a flood grows this process by beyond the configured bound, divided by `share`.
///
/// The flood asks for names that are refused, that are below one wildcard, that are missing and that are
/// there, each of them once.
pub(crate) fn flood(resident: impl Fn() -> Option<f64>, share: usize) {
    const BOUND: usize = 16 << 20;
    const MISSES: usize = 4096;
    /// What the documentation says a remembered miss takes.
    const MISS: usize = 100;
    const FLOOD: usize = 200_000;
    const PAYLOAD: usize = 2048;
    struct Open;
    impl LazySource<Vec<u8>> for Open {
        fn identify(&self, name: &str) -> Option<EntryId> {
            match name.split_once('.')? {
                (_, "wild.example.com") => Some("wild".into()),
                (_, "miss.example.com" | "there.example.com") => Some(name.into()),
                _ => None,
            }
        }
        fn load(&self, id: &EntryId) -> Result<Vec<Entry<Vec<u8>>>, Box<dyn Error + Send + Sync>> {
            let name = match id.as_str() {
                "wild" => "*.wild.example.com",
                id if id.ends_with(".there.example.com") => id,
                _ => return Ok(Vec::new()),
            };
            Ok(vec![Entry::new(
                id.clone(),
                [name],
                Arc::new(vec![0; PAYLOAD]),
            )])
        }
        fn size(&self, payload: &Vec<u8>) -> usize {
            payload.len() + size_of::<Vec<u8>>()
        }
    }
    let mut settings = LazyOptions::default();
    settings.max_bytes = BOUND;
    settings.max_entries = BOUND / PAYLOAD;
    settings.max_misses = MISSES;
    let Some(before) = resident() else { return };
    let lazy = Lazy::new(CertStore::new(SelectionPolicy::Best), Open, &settings);
    for n in 0..FLOOD {
        for zone in ["refused", "wild", "miss", "there"] {
            let name = format!("host{n}.{zone}.example.com");
            black_box(block_on(lazy.ready(&Query::new(&name, at(NOW)))));
        }
    }
    let grown = resident().unwrap_or(before) - before;
    println!(
        "{}",
        (grown - (BOUND + MISSES * MISS) as f64) / share as f64
    );
    drop(lazy);
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    if let Poll::Ready(output) = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        return output;
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
