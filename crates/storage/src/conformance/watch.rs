//! Watches: nothing missed, nothing twice.

use super::{Failed, Ran, SPACE, Subject, Verdict, key, next, put, same, shown};
use crate::{Change, Event, Revision, Txn};

pub(super) async fn every_change(subject: &mut dyn Subject) -> Verdict {
    let (writer, reader) = (subject.replica(), subject.replica());
    put(&*writer, "before", "").await?;
    let start = reader.list(SPACE).await?.revision;
    let mut watch = reader.watch(&format!("{SPACE}in/"), start).await?;
    let first = put(&*writer, "in/a", "1").await?;
    put(&*writer, "out", "").await?;
    let second = put(&*writer, "in/a", "2").await?;
    let swap = Txn::new().delete(key("in/a")?).put(key("in/b")?, "3");
    let third = writer.txn(swap.put(key("out")?, "")).await?;
    writer.txn(Txn::new().delete(key("in/missing")?)).await?;
    let fourth = writer.txn(Txn::new().delete(key("in/b")?)).await?;
    let expected = [
        (first, vec!["+in/a=1".to_owned()]),
        (second, vec!["+in/a=2".to_owned()]),
        (third, vec!["+in/b=3".to_owned(), "-in/a".to_owned()]),
        (fourth, vec!["-in/b".to_owned()]),
    ];
    for expected in expected {
        same!(text(next(&mut watch).await?)?, expected, "next event");
    }
    Ok(Ran::Whole)
}

pub(super) async fn from_the_past(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let zero = put(&*storage, "a", "0").await?;
    let first = put(&*storage, "a", "1").await?;
    let second = storage.txn(Txn::new().delete(key("a")?)).await?;
    let mut watch = storage.watch(SPACE, zero).await?;
    let third = put(&*storage, "a", "2").await?;
    for expected in [
        (first, vec!["+a=1".to_owned()]),
        (second, vec!["-a".to_owned()]),
        (third, vec!["+a=2".to_owned()]),
    ] {
        same!(text(next(&mut watch).await?)?, expected, "next event");
    }
    let mut late = storage.watch(SPACE, second).await?;
    let event = text(next(&mut late).await?)?;
    same!(
        event,
        (third, vec!["+a=2".to_owned()]),
        "of the later watch"
    );
    Ok(Ran::Whole)
}

pub(super) async fn compaction(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let first = put(&*storage, "a", "1").await?;
    put(&*storage, "a", "2").await?;
    put(&*storage, "b", "3").await?;
    if !subject.compact().await {
        return Ok(Ran::NotPossible);
    }
    let storage = subject.replica();
    let mut watch = storage.watch(SPACE, first).await?;
    match next(&mut watch).await? {
        Event::Compacted { oldest } if oldest > first => {}
        other => return Err(format!("expected compaction, found {other:?}").into()),
    }
    same!(watch.next().await.is_none(), true, "end after compaction");
    let listing = storage.list(SPACE).await?;
    let found: Vec<_> = listing.entries.iter().map(|entry| shown(entry).1).collect();
    same!(found, ["2", "3"], "listing after compaction");
    let mut watch = storage.watch(SPACE, listing.revision).await?;
    let later = put(&*storage, "a", "4").await?;
    let event = text(next(&mut watch).await?)?;
    same!(event, (later, vec!["+a=4".to_owned()]), "after re-listing");
    Ok(Ran::Whole)
}

/// The changes of one transaction in any order, sorted.
fn text(event: Event) -> Result<(Revision, Vec<String>), Failed> {
    let Event::Changed { revision, changes } = event else {
        return Err(format!("expected changes, found {event:?}").into());
    };
    let mut texts = Vec::new();
    for change in changes {
        texts.push(match change {
            Change::Put(entry) => {
                let (name, value, written) = shown(&entry);
                same!(written, revision, "revision of {name}");
                format!("+{name}={value}")
            }
            Change::Delete(key) => {
                let name = key.as_str();
                format!("-{}", name.strip_prefix(SPACE).unwrap_or(name))
            }
        });
    }
    texts.sort();
    Ok((revision, texts))
}
