//! Handshakes allocate nothing, and ten thousand configurations leave nothing behind.
//!
//! A file, hence a process, of its own: the counting allocator slows everything down.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use allocation_counter::measure;
use certwright_sni_store::{
    CertStore, ChangeSet, Entry, EntryId, Lazy, LazyOptions, LazySource, PairLoader, PemPair,
    Query, Resolver, SchemeMask, SelectionPolicy,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, ResolvesServerCert};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use time::OffsetDateTime;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn names(count: usize) -> impl Iterator<Item = Entry<usize>> {
    (0..count).map(|n| {
        let names = [format!("host-{n}.example.com"), format!("*.zone-{n}.test")];
        Entry::new(format!("ns/{n}"), names, Arc::new(n))
    })
}

#[test]
fn selecting_allocates_nothing() {
    for policy in [SelectionPolicy::Best, SelectionPolicy::Traefik] {
        let store = CertStore::new(policy);
        store.replace_all(names(2000).collect::<ChangeSet<_>>());
        // Some names in the overlay, some with several candidates.
        store.apply(Entry::new("twin", ["host-7.example.com"], Arc::new(7)));
        let asked: [&[u8]; 9] = [
            b"host-7.example.com",
            b"HOST-8.Example.Com.",
            b"www.zone-9.test",
            b"unknown.test",
            b"192.0.2.7",
            b"[2001:db8::1]",
            b"",
            b"\xff\xff",
            "BÜCHER.zone-9.test".as_bytes(),
        ];
        for name in asked {
            let query = Query::new(name, NOW)
                .with_schemes(SchemeMask::from_code_points([0x0403]))
                .at_address("2001:db8::7".parse().unwrap());
            let mut found = None;
            let counted = measure(|| found = store.select(&query));
            assert_eq!(counted.count_total, 0, "{policy:?} {name:?} {found:?}");
        }
    }
}

#[test]
fn resolving_allocates_nothing() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["*.a.test".to_owned()]).unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pair = PemPair {
        chain: chain.as_bytes(),
        key: key.as_bytes(),
    };
    let entry = PairLoader::new(provider.clone()).load("a", pair).unwrap();
    let store = CertStore::default();
    store.apply(entry);
    let resolver = Resolver::new(store, Arc::new(DefaultTimeProvider));

    for (name, expected) in [("www.a.test", true), ("b.test", false)] {
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let server_name = name.try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), server_name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &wire[..]).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let mut found = None;
        // The hello is rustls' own; what it takes to make one is not ours to count.
        let hello = accepted.client_hello();
        let counted = measure(|| found = resolver.resolve(hello));
        assert_eq!(found.is_some(), expected);
        assert_eq!(counted.count_total, 0, "{name}");
    }
}

#[test]
fn counting_and_what_is_kept_of_a_source_allocate_nothing() {
    struct Listed(HashMap<String, EntryId>);
    impl LazySource<usize> for Listed {
        fn identify(&self, name: &str) -> Option<EntryId> {
            self.0.get(name).cloned()
        }
        fn load(&self, id: &EntryId) -> Result<Vec<Entry<usize>>, Box<dyn Error + Send + Sync>> {
            Ok(vec![Entry::new(id.clone(), [id.as_str()], Arc::new(7))])
        }
        fn size(&self, _: &usize) -> usize {
            size_of::<usize>()
        }
    }
    let store = CertStore::new(SelectionPolicy::Best);
    store.replace_all(names(100).collect::<ChangeSet<_>>());
    store.track_use();
    let lazy = "lazy.example.com";
    let source = Listed(HashMap::from([(lazy.to_owned(), lazy.into())]));
    let lazy = Lazy::new(store, source, &LazyOptions::default());
    let ask = |name: &str| lazy.select(&Query::new(name, NOW));
    // The first one begins the load, which is another thread's.
    assert_eq!(ask("lazy.example.com"), None);
    while lazy.kept().0 == 0 {
        std::thread::yield_now();
    }
    let counted = measure(|| {
        for (name, expected) in [
            ("host-7.example.com", Some(7)),
            ("www.zone-9.test", Some(9)),
            ("lazy.example.com", Some(7)),
            ("LAZY.example.com.", Some(7)),
            ("refused.example.com", None),
        ] {
            assert_eq!(ask(name).as_deref().copied(), expected, "{name}");
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(lazy.store().counts().exact, 3);
    assert_eq!(
        lazy.store().entry("ns/9").unwrap().last_used(),
        Some(OffsetDateTime::UNIX_EPOCH)
    );
}

#[test]
fn ten_thousand_configurations_leave_nothing_behind() {
    const ENTRIES: usize = 1500;
    let store = CertStore::new(SelectionPolicy::Best);
    let all = || store.replace_all(names(ENTRIES).collect::<ChangeSet<_>>());
    let start = measure(|| drop(all()));
    // An open connection keeps what it was served with, and a reader the snapshot it looks at.
    let held = store.current();
    let served = store.select(&Query::new("host-1.example.com", NOW));
    let counted = measure(|| {
        for round in 0..10_000 {
            let n = round % ENTRIES;
            let names = [format!("host-{n}.example.com"), format!("*.zone-{n}.test")];
            store.apply(Entry::new(format!("ns/{n}"), names, Arc::new(round)));
        }
        // The overlay is merged on both sides of the comparison.
        all();
    });
    assert_eq!(held.generation(), 1);
    assert_eq!(served.as_deref(), Some(&1));
    let freed = measure(|| {
        drop(held);
        all();
    });
    let grown = counted.bytes_current + freed.bytes_current;
    assert!(
        grown.abs() * 20 < start.bytes_current,
        "grown by {grown} of {} bytes",
        start.bytes_current
    );
}
