//! A store's counters through the `metrics` crate, whatever exporter is installed; this one prints:
//! `cargo run -p certwright-sni-store --example metrics`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use certwright_sni_store::{CertStore, ChangeSet, Entry, Query, SelectionPolicy};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, counter, gauge,
};
use time::OffsetDateTime;

/// To be called before each scrape, or every few seconds: reading stops no handshake.
fn export<T: Send + Sync + 'static>(store: &CertStore<T>) {
    let counts = store.counts();
    for (answer, count) in [
        ("challenged", counts.challenged),
        ("default", counts.defaulted),
        ("exact", counts.exact),
        ("invalid", counts.invalid),
        ("none", counts.unmatched),
        ("rejected", counts.rejected),
        ("unusable", counts.unusable),
        ("wildcard", counts.wildcard),
    ] {
        counter!("tls_certificate_selections_total", "answer" => answer).absolute(count);
    }
    for entry in store.entries() {
        let id = entry.id().to_string();
        // A certificate that nobody has asked for need not be renewed.
        if let Some(used) = entry.last_used() {
            let second = used.unix_timestamp() as f64;
            gauge!("tls_certificate_last_use_seconds", "id" => id.clone()).set(second);
        }
        if let Some(until) = entry.not_after() {
            let second = until.unix_timestamp() as f64;
            gauge!("tls_certificate_not_after_seconds", "id" => id).set(second);
        }
    }
    let generation = store.current().generation();
    counter!("tls_certificate_configurations_total").absolute(generation);
}

fn main() -> Result<(), Box<dyn Error>> {
    let printer = Printer::default();
    metrics::set_global_recorder(printer.clone())?;

    let store = CertStore::new(SelectionPolicy::Best);
    store.track_use();
    let now = OffsetDateTime::now_utc();
    let entry = |id: &str, name: &str| {
        let validity = now - time::Duration::DAY..=now + time::Duration::DAY;
        Entry::new(id, [name], Arc::new(())).with_validity(validity)
    };
    let mut change = ChangeSet::new();
    change.put(entry("apps/api", "api.example.com"));
    change.put(entry("apps/www", "*.example.com"));
    change.put(entry("apps/unused", "unused.example.com"));
    store.apply(change);
    for name in [
        "api.example.com",
        "www.example.com",
        "a.example.com",
        "example.org",
    ] {
        store.select(&Query::new(name, now));
    }
    export(&store);
    printer.print();
    Ok(())
}

/// The simplest exporter there is.
#[derive(Clone, Default)]
struct Printer(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Printer {
    fn cell(&self, kind: &str, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={:?}", label.key(), label.value()))
            .collect();
        let name = format!("{kind} {}{{{}}}", key.name(), labels.join(","));
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(name).or_default().clone()
    }

    fn print(&self) {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, cell) in cells.iter() {
            let bits = cell.load(Ordering::Relaxed);
            match name.strip_prefix("gauge ") {
                Some(name) => println!("{name} {}", f64::from_bits(bits)),
                None => println!("{} {bits}", name.trim_start_matches("counter ")),
            }
        }
    }
}

impl Recorder for Printer {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell("counter", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell("gauge", key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
