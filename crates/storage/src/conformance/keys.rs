//! Keys nobody would choose, and prefixes.

use super::{Ran, SPACE, Subject, Verdict, key, put, same, shown};
use crate::{Key, MAX_KEY_LEN, Txn};

const ODD: [&str; 24] = [
    " ",
    "%",
    "%2F",
    "%00",
    "*",
    "*.example.org",
    ".",
    "..",
    "../x",
    ".hidden",
    "/",
    "//",
    "a",
    "A",
    "a.rec",
    "a.rec/b",
    "a/",
    "a/.new",
    "a/b",
    "a\nb",
    "a\\b",
    "ü",
    "\u{10ffff}",
    "~",
];

pub(super) async fn odd_keys(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let longest = "l".repeat(MAX_KEY_LEN - SPACE.len());
    let slashes = "/".repeat(MAX_KEY_LEN - SPACE.len());
    let mut names: Vec<&str> = ODD.to_vec();
    names.extend([longest.as_str(), slashes.as_str()]);
    for name in &names {
        put(&*storage, name, name).await?;
    }
    names.sort_unstable();
    let listing = subject.replica().list(SPACE).await?;
    let found: Vec<_> = listing.entries.iter().map(|entry| shown(entry).0).collect();
    same!(found, names, "listing of odd keys");
    for name in &names {
        let found = storage.get(&key(name)?).await?;
        let found = found.as_ref().map(|entry| shown(entry).1);
        same!(found.as_deref(), Some(*name), "value under {name:?}");
    }
    for name in &names {
        storage.txn(Txn::new().delete(key(name)?)).await?;
        same!(
            storage.get(&key(name)?).await?,
            None,
            "after deleting {name:?}"
        );
    }
    same!(storage.list(SPACE).await?.entries, [], "after deleting all");
    Ok(Ran::Whole)
}

pub(super) async fn prefixes(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    for name in ["a", "a/b", "ab", "b", "ü", "\u{fb}", "\u{10ffff}x"] {
        put(&*storage, name, name).await?;
    }
    for (prefix, expected) in [
        ("a", vec!["a", "a/b", "ab"]),
        ("a/", vec!["a/b"]),
        ("ab", vec!["ab"]),
        ("c", vec![]),
        ("\u{fb}", vec!["\u{fb}"]),
        ("\u{10ffff}", vec!["\u{10ffff}x"]),
    ] {
        let listing = storage.list(&format!("{SPACE}{prefix}")).await?;
        let found: Vec<_> = listing.entries.iter().map(|entry| shown(entry).0).collect();
        same!(found, expected, "keys under {prefix:?}");
    }
    let everything = storage.list("").await?;
    let ours = everything
        .entries
        .iter()
        .filter(|entry| entry.key.as_str().starts_with(SPACE));
    same!(ours.count(), 7, "ours of everything");
    Ok(Ran::Whole)
}

pub(super) async fn many(subject: &mut dyn Subject) -> Verdict {
    const KEYS: usize = 1_100;
    let storage = subject.replica();
    let keys: Result<Vec<Key>, _> = (0..KEYS).map(|at| key(&format!("{at:05}"))).collect();
    let keys = keys?;
    for some in keys.chunks(crate::MAX_TXN_OPS) {
        let txn = some
            .iter()
            .fold(Txn::new(), |txn, key| txn.put(key.clone(), "x"));
        storage.txn(txn).await?;
    }
    let listing = storage.list(SPACE).await?;
    let found: Vec<_> = listing.entries.iter().map(|entry| &entry.key).collect();
    let expected: Vec<_> = keys.iter().collect();
    same!(
        found == expected,
        true,
        "{} keys of {KEYS}, in order",
        found.len()
    );
    Ok(Ran::Whole)
}
