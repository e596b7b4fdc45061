//! The index finds what a plain scan over all certificates finds, and what is told of a selection is what was selected:
//! the first line is the server name, every further line a certificate's names.
#![no_main]

use std::sync::Arc;

use certwright_sni_store::{CertStore, ChangeSet, Entry, Query, SelectionPolicy};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|b| *b == b'\n');
    let name = lines.next().unwrap_or_default();
    let certificates: Vec<Vec<String>> = lines
        .take(32)
        .map(|line| {
            String::from_utf8_lossy(line)
                .split(' ')
                .map(str::to_owned)
                .collect()
        })
        .collect();
    let query = Query::new(name, OffsetDateTime::UNIX_EPOCH);
    let [found, _] = [SelectionPolicy::Best, SelectionPolicy::Traefik].map(|policy| {
        let store = CertStore::new(policy);
        let mut change = ChangeSet::new();
        for (id, names) in certificates.iter().enumerate() {
            change.put(Entry::new(format!("{id:02}"), names.clone(), Arc::new(id)));
        }
        store.replace_all(change);
        let found = store.select(&query).map(|id| *id);
        let explained = store.current().explain(&query).candidates;
        let mut won = explained
            .iter()
            .filter(|candidate| candidate.lost.is_none());
        let told = won.next().map(|candidate| candidate.id.to_string());
        assert_eq!(told, found.map(|id| format!("{id:02}")), "{policy:?}");
        assert_eq!(won.next(), None);
        found
    });

    let Ok(name) = std::str::from_utf8(name) else {
        assert_eq!(found, None);
        return;
    };
    // One dot at the end belongs to a name; the pattern takes it off by itself.
    let address = name.strip_suffix('.').unwrap_or(name);
    if address.parse::<std::net::IpAddr>().is_ok() {
        return;
    }
    let best = certificates.iter().enumerate().filter_map(|(id, names)| {
        let matching = names
            .iter()
            .filter(|pattern| SelectionPolicy::Best.matches(pattern, name));
        let exact = matching.map(|pattern| !pattern.starts_with('*')).max()?;
        // An empty name is the common name that is not there.
        let names = names.iter().filter(|name| !name.is_empty());
        let mut identifier: Vec<_> = names.map(|name| name.to_ascii_lowercase()).collect();
        identifier.sort();
        Some((exact, identifier.join(","), id))
    });
    assert_eq!(
        found,
        best.max().map(|(_, _, id)| id),
        "{name:?} of {certificates:?}"
    );
});
