//! The store against the naive reading of its rules, for random stores, clients and instants.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;
use std::sync::Arc;

use certwright_sni_store::{
    CertStore, ChangeSet, Entry, Match, Pattern, Query, SchemeMask, SelectionPolicy, Source,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use time::OffsetDateTime;

/// What an entry is made of, before a store has seen it.
#[derive(Clone, Debug)]
struct Spec {
    id: u8,
    names: Vec<&'static str>,
    ips: Vec<&'static str>,
    common_name: &'static str,
    valid: (i64, i64),
    schemes: Vec<u16>,
    acme: bool,
    excluded: Vec<&'static str>,
    fingerprint: Option<u8>,
}

impl Spec {
    fn entry(&self) -> Entry<u8> {
        let entry = Entry::new(
            format!("{:03}", self.id),
            self.names.iter().copied(),
            Arc::new(self.id),
        )
        .with_ips(self.ips.iter().map(|ip| ip.parse().unwrap()))
        .with_common_name(self.common_name)
        .with_validity(at(self.valid.0)..=at(self.valid.1))
        .with_schemes(SchemeMask::from_code_points(self.schemes.clone()))
        .with_excluded(self.excluded.iter().map(|name| name.parse().unwrap()))
        .with_source(if self.acme {
            Source::Acme
        } else {
            Source::Provided
        });
        match self.fingerprint {
            Some(fingerprint) => entry.with_fingerprint([fingerprint; 32]),
            None => entry,
        }
    }

    fn valid(&self, client: &Client) -> bool {
        self.valid.0 <= client.now && client.now <= self.valid.1
    }

    fn usable(&self, client: &Client) -> bool {
        self.schemes.iter().any(|s| client.schemes.contains(s))
    }
}

#[derive(Clone, Debug)]
struct Client {
    name: String,
    local: Option<&'static str>,
    schemes: Vec<u16>,
    now: i64,
}

impl Client {
    fn query(&self) -> Query<'_> {
        let query = Query::new(&self.name, at(self.now))
            .with_schemes(SchemeMask::from_code_points(self.schemes.clone()));
        match self.local {
            Some(ip) => query.at_address(ip.parse().unwrap()),
            None => query,
        }
    }
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

/// How, if at all, the entry matches under `Best`: RFC 9525, an address never by wildcard.
fn best_match(spec: &Spec, client: &Client) -> Option<Match> {
    let name = client.name.strip_suffix('.').unwrap_or(&client.name);
    let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let address = if client.name.is_empty() {
        Some(client.local?.parse::<IpAddr>().unwrap())
    } else {
        literal.unwrap_or(name).parse().ok()
    };
    if let Some(address) = address {
        let covers =
            |ip: &&str| ip.parse::<IpAddr>().unwrap().to_canonical() == address.to_canonical();
        return spec.ips.iter().any(covers).then_some(Match::Exact);
    }
    let patterns: Vec<Pattern> = spec.names.iter().filter_map(|n| n.parse().ok()).collect();
    let matching = |wildcard: bool| {
        let mut of_kind = patterns
            .iter()
            .filter(|pattern| pattern.as_str().starts_with('*') == wildcard);
        of_kind.any(|pattern| pattern.matches(&client.name))
    };
    if spec
        .excluded
        .iter()
        .any(|n| n.parse::<Pattern>().unwrap().matches(&client.name))
    {
        None
    } else if matching(false) {
        Some(Match::Exact)
    } else if matching(true) {
        Some(Match::Wildcard)
    } else {
        None
    }
}

fn naive_best(specs: &[Spec], client: &Client) -> Option<u8> {
    let matching = specs
        .iter()
        .filter_map(|spec| Some((best_match(spec, client)?, spec)));
    let key = |(matched, spec): &(Match, &Spec)| {
        let valid = spec.valid(client);
        let entry = spec.entry();
        (
            spec.usable(client),
            valid,
            if valid { 0 } else { spec.valid.1 },
            *matched == Match::Exact,
            entry.identifier().to_owned(),
            spec.valid.0,
            spec.fingerprint,
            spec.id,
        )
    };
    matching.max_by_key(key).map(|(_, spec)| spec.id)
}

/// Sort all identifiers, walk them from the last, serve the first that matches.
fn naive_traefik(specs: &[Spec], client: &Client) -> Option<u8> {
    let mut name = client.name.trim().to_lowercase();
    if let (true, Some(ip)) = (name.is_empty(), client.local) {
        name = ip.parse::<IpAddr>().unwrap().to_canonical().to_string();
    }
    let mut sorted: Vec<(String, &Spec)> = specs
        .iter()
        .filter(|spec| {
            let mut excluded = spec.excluded.iter();
            !excluded.any(|n| n.parse::<Pattern>().unwrap().matches(&name))
        })
        .map(|spec| (spec.entry().identifier().to_owned(), spec))
        .collect();
    sorted.sort_by(|a, b| match b.0.cmp(&a.0) {
        Ordering::Equal => a.1.id.cmp(&b.1.id),
        order => order,
    });
    let matching: Vec<&Spec> = sorted
        .iter()
        .filter(|(identifier, _)| SelectionPolicy::Traefik.matches(identifier, &name))
        .map(|(_, spec)| *spec)
        .collect();
    let class = |spec: &Spec| match (spec.acme, spec.valid(client)) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    matching.iter().min_by_key(|spec| class(spec)).map(|s| s.id)
}

const NAMES: [&str; 18] = [
    "a.test",
    "A.test",
    "b.a.test",
    "*.a.test",
    "*.A.Test",
    "*.b.a.test",
    "c.b.a.test",
    "*.test",
    "*",
    "*.*.test",
    "a.test.",
    "*.a.test.",
    "w*.a.test",
    "_x.a.test",
    "localhost",
    "a..test",
    "*.0.2.7",
    "a-very-long-label-that-does-not-fit.into-a-slot.a.test",
];
const IPS: [&str; 4] = ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "10.0.0.1"];
const ASKED: [&str; 26] = [
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "c.a.test",
    "x.test",
    "_x.a.test",
    "localhost",
    "",
    "other",
    "192.0.2.7",
    "[2001:db8::7]",
    "::ffff:192.0.2.7",
    "*.a.test",
    ".a.test",
    "a..test",
    "-.a.test",
    "  a.test ",
    "foo",
    "bar",
    "bücher.a.test",
    "d.b.a.test",
    "a.test..",
    ".",
    "..",
    "a-very-long-label-that-does-not-fit.into-a-slot.a.test",
    "x.0.2.7",
];
const SCHEMES: [u16; 3] = [0x0403, 0x0804, 0x0807];

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let spec = (
        subsequence(NAMES.to_vec(), 0..4),
        subsequence(IPS.to_vec(), 0..2),
        select(vec!["", "", "", "foo,bar", "a.test", "zeta org"]),
        (-2i64..3, 0i64..4),
        subsequence(SCHEMES.to_vec(), 1..3),
        any::<bool>(),
        prop_oneof![
            4 => Just(vec![]),
            1 => subsequence(vec!["b.a.test", "*.a.test", "a.test"], 1)
        ],
        option::of(0u8..3),
        prop::bool::weighted(0.3),
    );
    vec(spec, 0..12).prop_map(|parts| {
        let mut specs: Vec<Spec> = Vec::new();
        for (id, part) in parts.into_iter().enumerate() {
            let mut spec = Spec {
                id: u8::try_from(id).unwrap(),
                names: part.0,
                ips: part.1,
                common_name: part.2,
                valid: (part.3.0, part.3.0 + part.3.1),
                schemes: part.4,
                acme: part.5,
                excluded: part.6,
                fingerprint: part.7,
            };
            // Equal identifiers, which chance alone makes too few of.
            if let (true, Some(twin)) = (part.8, specs.last()) {
                spec.names.clone_from(&twin.names);
                spec.ips.clone_from(&twin.ips);
                spec.common_name = twin.common_name;
            }
            specs.push(spec);
        }
        specs
    })
}

fn client() -> impl Strategy<Value = Client> {
    (
        select(ASKED.to_vec()),
        option::of(select(IPS.to_vec())),
        subsequence(SCHEMES.to_vec(), 0..3),
        -3i64..6,
    )
        .prop_map(|(name, local, schemes, now)| Client {
            name: name.to_owned(),
            local,
            schemes,
            now,
        })
}

fn policy() -> impl Strategy<Value = SelectionPolicy> {
    select(vec![SelectionPolicy::Best, SelectionPolicy::Traefik])
}

fn ask(store: &CertStore<u8>, client: &Client) -> Option<u8> {
    store.select(&client.query()).map(|id| *id)
}

fn naive(policy: SelectionPolicy, specs: &[Spec], client: &Client) -> Option<u8> {
    match policy {
        SelectionPolicy::Best => naive_best(specs, client),
        _ => naive_traefik(specs, client),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn selection_is_the_naive_rule(
        policy in policy(), specs in specs(), clients in vec(client(), 12), apart in any::<u16>(),
    ) {
        // One by one in some order, and all at once in another.
        let single = CertStore::new(policy);
        let mut order: Vec<&Spec> = specs.iter().collect();
        order.sort_by_key(|spec| (u16::from(spec.id).wrapping_mul(apart | 1), Reverse(spec.id)));
        for spec in order {
            single.apply(spec.entry());
        }
        let bulk = CertStore::new(policy);
        bulk.replace_all(specs.iter().rev().map(Spec::entry).collect::<ChangeSet<_>>());
        for client in &clients {
            let expected = naive(policy, &specs, client);
            prop_assert_eq!(ask(&single, client), expected, "{:?}", client);
            prop_assert_eq!(ask(&bulk, client), expected, "{:?}", client);

            let explanation = single.current().explain(&client.query());
            let winners: Vec<_> =
                explanation.candidates.iter().filter(|c| c.lost.is_none()).collect();
            prop_assert_eq!(winners.len(), usize::from(expected.is_some()), "{}", explanation);
        }
    }

    #[test]
    fn changes_leave_what_they_do_not_name(
        policy in policy(), first in specs(), second in specs(), removed in vec(0u8..12, 0..6),
        clients in vec(client(), 12),
    ) {
        // Ids of `first` and `second` overlap: puts replace.
        let store = CertStore::new(policy);
        store.apply(first.iter().map(Spec::entry).collect::<ChangeSet<_>>());
        let mut change = ChangeSet::new();
        change.extend(second.iter().map(Spec::entry));
        for id in &removed {
            change.remove(format!("{id:03}"));
        }
        store.apply(change);
        let kept = first.iter().skip(second.len()).chain(&second);
        let unchanged = |spec: &Spec| {
            // An equal fingerprint, identifier, source and exclusions mean the same content.
            first.get(usize::from(spec.id)).filter(|old| {
                let (old, new) = (old.entry(), spec.entry());
                old.fingerprint().is_some()
                    && old.fingerprint() == new.fingerprint()
                    && old.identifier() == new.identifier()
                    && old.source() == new.source()
                    && old.excluded() == new.excluded()
            }).unwrap_or(spec).clone()
        };
        let expected: Vec<Spec> =
            kept.filter(|spec| !removed.contains(&spec.id)).map(unchanged).collect();
        let ids: Vec<u8> = store.entries().iter().map(|entry| **entry.payload()).collect();
        let mut expected_ids: Vec<u8> = expected.iter().map(|spec| spec.id).collect();
        expected_ids.sort_unstable();
        prop_assert_eq!(ids, expected_ids);
        for client in &clients {
            let expected = naive(policy, &expected, client);
            prop_assert_eq!(ask(&store, client), expected, "{:?}", client);
        }
    }

    #[test]
    fn case_and_trailing_dot_never_matter(
        specs in specs(), client in client(), upper in any::<u64>(),
    ) {
        let store = CertStore::new(SelectionPolicy::Best);
        store.apply(specs.iter().map(Spec::entry).collect::<ChangeSet<_>>());
        let mut mangled = client.clone();
        mangled.name = client.name.chars().enumerate().map(|(index, c)| {
            if upper >> (index % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c }
        }).collect();
        let plain = store.select(&client.query());
        prop_assert_eq!(&plain, &store.select(&mangled.query()));
        if !client.name.is_empty() && !client.name.ends_with('.') {
            mangled.name.push('.');
            prop_assert_eq!(&plain, &store.select(&mangled.query()));
        }
    }

    #[test]
    fn any_bytes_match_as_the_pattern_says(name in bytes(), policy in policy()) {
        let store = CertStore::new(policy);
        store.apply(Entry::new("id", ["*.a.test", "a.test"], Arc::new(0)));
        let expected = std::str::from_utf8(&name).is_ok_and(|name| match policy {
            SelectionPolicy::Best => {
                policy.matches("*.a.test", name) || policy.matches("a.test", name)
            }
            _ => {
                let name = name.trim().to_lowercase();
                name.len() <= 253 && policy.matches("*.a.test,a.test", &name)
            }
        });
        prop_assert_eq!(store.select(&Query::new(&name, at(0))).is_some(), expected);
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let near = "[a-zA-Z0-9*_. -]{0,4}[.]?[aA].test[. ]{0,2}";
    prop_oneof![
        vec(any::<u8>(), 0..300),
        near.prop_map(String::into_bytes),
        "[a-z-]{60,66}.a.test".prop_map(String::into_bytes),
        (".{0,3}.a.test", 0usize..70)
            .prop_map(|(n, pad)| format!("{}{n}", "é".repeat(pad)).into_bytes()),
    ]
}
