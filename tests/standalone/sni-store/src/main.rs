//! The selector without any TLS library: the payload is a text here.

use std::sync::Arc;

use certwright_sni_store::{CertStore, ChangeSet, Entry, Query, SelectionPolicy};
use time::macros::datetime;

fn main() {
    let store = CertStore::new(SelectionPolicy::Best);
    let mut change = ChangeSet::new();
    change.put(Entry::new("exact", ["www.example.com"], Arc::new("exact")));
    change.put(Entry::new(
        "wildcard",
        ["*.example.com"],
        Arc::new("wildcard"),
    ));
    let report = store.apply(change);
    assert_eq!(report.added.len(), 2);

    let now = datetime!(2026-01-01 00:00 UTC);
    for (name, expected) in [
        ("WWW.example.com.", Some("exact")),
        ("api.example.com", Some("wildcard")),
        ("a.b.example.com", None),
        ("example.com", None),
    ] {
        let query = Query::new(name, now);
        assert_eq!(store.select(&query).as_deref().copied(), expected, "{name}");
        println!("{}", store.current().explain(&query));
    }
}
