//! Transactions: guards, limits, and one order for everybody.

use super::{Failed, Ran, SPACE, Step, Subject, Verdict, join, key, put, same, shown};
use crate::{MAX_TXN_LEN, MAX_TXN_OPS, Revision, Storage, StorageError, Txn, Value};

pub(super) async fn puts_and_deletes(subject: &mut dyn Subject) -> Verdict {
    let (one, two) = (subject.replica(), subject.replica());
    let a = key("a")?;
    same!(one.get(&a).await?, None, "before the first put");
    let first = put(&*one, "a", "1").await?;
    let found = two.get(&a).await?.as_ref().map(shown);
    same!(found, Some(("a".into(), "1".into(), first)), "after a put");
    let second = put(&*two, "a", "").await?;
    same!(second > first, true, "{second} after {first}");
    let found = one.get(&a).await?.as_ref().map(shown);
    same!(
        found,
        Some(("a".into(), String::new(), second)),
        "empty value"
    );
    let third = one.txn(Txn::new().delete(a.clone())).await?;
    same!(third > second, true, "{third} after {second}");
    same!(two.get(&a).await?, None, "after a delete");
    two.txn(Txn::new().delete(a)).await?;
    two.txn(Txn::new()).await?;
    Ok(Ran::Whole)
}

pub(super) async fn guards(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let (a, b) = (key("a")?, key("b")?);
    let both = |value: &str| Txn::new().put(a.clone(), value).put(b.clone(), value);
    let first = storage.txn(both("1").if_absent(a.clone())).await?;
    let listing = storage.list(SPACE).await?;
    let found: Vec<_> = listing.entries.iter().map(shown).collect();
    let expected = [
        ("a".to_owned(), "1".to_owned(), first),
        ("b".to_owned(), "1".to_owned(), first),
    ];
    same!(found[..], expected[..], "two puts at one revision");

    let refused = storage.txn(both("2").if_absent(b.clone())).await;
    conflict(refused, None, Some(first), "absence of what is there")?;
    let wrong = Revision::new(first.get() + 1000);
    let guarded = both("2").if_unchanged(a.clone(), first);
    let refused = storage.txn(guarded.if_unchanged(b.clone(), wrong)).await;
    conflict(
        refused,
        Some(wrong),
        Some(first),
        "the second of two guards",
    )?;
    let missing = both("2").if_unchanged(key("c")?, first);
    let refused = storage.txn(missing).await;
    conflict(refused, Some(first), None, "a guard on what is not there")?;
    for never in [Revision::new(0), Revision::new(u64::MAX)] {
        let missing = both("2").if_unchanged(key("c")?, never);
        let refused = storage.txn(missing).await;
        conflict(refused, Some(never), None, "a revision there never was")?;
    }
    let found: Vec<_> = storage
        .list(SPACE)
        .await?
        .entries
        .iter()
        .map(shown)
        .collect();
    same!(found[..], expected[..], "after refusals");

    let swap = Txn::new().delete(a.clone()).put(b.clone(), "3");
    let second = storage.txn(swap.if_unchanged(a.clone(), first)).await?;
    same!(storage.get(&a).await?, None, "deleted with a put");
    let refused = storage.txn(both("4").if_unchanged(b.clone(), first)).await;
    conflict(refused, Some(first), Some(second), "an overtaken revision")?;
    Ok(Ran::Whole)
}

pub(super) async fn limits(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let a = key("a")?;
    let large = Txn::new().put(a.clone(), vec![0; MAX_TXN_LEN]);
    let mut many = Txn::new();
    for at in 0..=MAX_TXN_OPS {
        many = many.put(key(&format!("{at}"))?, "");
    }
    for (txn, what) in [(large, "bytes"), (many, "writes")] {
        match storage.txn(txn).await {
            Err(StorageError::TooLarge { unit, .. }) if unit == what => {}
            other => return Err(format!("too many {what}: {other:?}").into()),
        }
    }
    match storage.txn(Txn::new().put(a.clone(), "1").delete(a)).await {
        Err(StorageError::WrittenTwice { .. }) => {}
        other => return Err(format!("a key written twice: {other:?}").into()),
    }
    same!(storage.list(SPACE).await?.entries, [], "after refusals");
    Ok(Ran::Whole)
}

pub(super) async fn largest(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let large = key("large")?;
    let bytes = MAX_TXN_LEN - large.as_str().len();
    let value: Vec<u8> = (0..=250).cycle().take(bytes).collect();
    let value = Value::from(value);
    storage
        .txn(Txn::new().put(large.clone(), value.clone()))
        .await?;
    let found = storage.get(&large).await?.map(|entry| entry.value);
    same!(found, Some(value), "a value of {bytes} bytes");

    let mut many = Txn::new();
    for at in 0..MAX_TXN_OPS {
        let key = key(&format!("many/{at:03}"))?;
        many = many.if_absent(key.clone()).put(key, "x");
    }
    let revision = storage.txn(many).await?;
    let listing = storage.list(&format!("{SPACE}many/")).await?;
    same!(listing.entries.len(), MAX_TXN_OPS, "all writes");
    let one_revision = listing
        .entries
        .iter()
        .all(|entry| entry.revision == revision);
    same!(one_revision, true, "one revision for all writes");
    Ok(Ran::Whole)
}

pub(super) async fn increments(subject: &mut dyn Subject) -> Verdict {
    const WRITERS: usize = 8;
    const EACH: usize = 8;
    let writers = (0..WRITERS).map(|_| {
        let storage = subject.replica();
        let writer = async move {
            for _ in 0..EACH {
                increment(&*storage).await?;
            }
            Ok(())
        };
        Box::pin(writer) as Step<'_, Result<(), Failed>>
    });
    for outcome in join(writers.collect()).await {
        outcome?;
    }
    let found = subject.replica().get(&key("counter")?).await?;
    let found = found.as_ref().map(|entry| shown(entry).1);
    same!(found, Some((WRITERS * EACH).to_string()), "the counter");
    Ok(Ran::Whole)
}

pub(super) async fn moments(subject: &mut dyn Subject) -> Verdict {
    const ROUNDS: usize = 40;
    let (from, to) = (key("from")?, key("to")?);
    let (writer, reader) = (subject.replica(), subject.replica());
    let moved = |at: usize| {
        Txn::new()
            .put(from.clone(), (ROUNDS - at).to_string().as_str())
            .put(to.clone(), at.to_string().as_str())
    };
    writer.txn(moved(0)).await?;
    let write = async {
        for at in 1..=ROUNDS {
            writer.txn(moved(at)).await?;
        }
        Ok(())
    };
    let read = async {
        let mut last = Revision::default();
        for _ in 0..ROUNDS {
            let listing = reader.list(SPACE).await?;
            let numbers = listing.entries.iter().map(|entry| shown(entry).1.parse());
            let sum: usize = numbers.map(|number| number.unwrap_or(0)).sum();
            same!(sum, ROUNDS, "sum at {}", listing.revision);
            same!(
                listing.revision >= last,
                true,
                "later listing of an earlier moment"
            );
            last = listing.revision;
        }
        Ok(())
    };
    let both: Vec<Step<'_, Result<(), Failed>>> = vec![Box::pin(write), Box::pin(read)];
    for outcome in join(both).await {
        outcome?;
    }
    Ok(Ran::Whole)
}

async fn increment(storage: &dyn Storage) -> Result<(), Failed> {
    let counter = key("counter")?;
    loop {
        let found = storage.get(&counter).await?;
        let count = match &found {
            Some(entry) => shown(entry).1.parse::<usize>(),
            None => Ok(0),
        };
        let count = count.map_err(|error| format!("a torn counter: {error}"))?;
        let txn = Txn::new().put(counter.clone(), (count + 1).to_string().as_str());
        let txn = match found {
            Some(entry) => txn.if_unchanged(counter.clone(), entry.revision),
            None => txn.if_absent(counter.clone()),
        };
        match storage.txn(txn).await {
            Ok(_) => return Ok(()),
            Err(StorageError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn conflict(
    outcome: Result<Revision, StorageError>,
    wanted: Option<Revision>,
    seen: Option<Revision>,
    what: &str,
) -> Result<(), Failed> {
    match outcome {
        Err(StorageError::Conflict {
            expected, found, ..
        }) if (expected, found) == (wanted, seen) => Ok(()),
        other => Err(format!("{what}: {other:?}").into()),
    }
}
