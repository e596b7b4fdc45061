//! What is left after a crash.

use std::time::Duration;

use super::lease::granted;
use super::{Ran, SPACE, Subject, Verdict, key, put, same, shown};
use crate::Txn;

pub(super) async fn survival(subject: &mut dyn Subject) -> Verdict {
    const ROUNDS: usize = 4;
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let storage = subject.replica();
        let (a, b) = (format!("{round}/a"), format!("{round}/b"));
        let revision = storage
            .txn(Txn::new().put(key(&a)?, "a").put(key(&b)?, "b"))
            .await?;
        expected.push((a, "a".to_owned(), revision));
        let revision = put(&*storage, &b, "b2").await?;
        expected.push((b, "b2".to_owned(), revision));
        put(&*storage, "gone", "").await?;
        storage.txn(Txn::new().delete(key("gone")?)).await?;
        drop(storage);
        if !subject.crash().await {
            return Ok(Ran::NotPossible);
        }
        let listing = subject.replica().list(SPACE).await?;
        let found: Vec<_> = listing.entries.iter().map(shown).collect();
        same!(found, expected, "after {round} crashes and one more");
    }
    Ok(Ran::Whole)
}

pub(super) async fn growth(subject: &mut dyn Subject) -> Verdict {
    const TTL: Duration = Duration::from_secs(2);
    let storage = subject.replica();
    let lease = granted(&*storage, "lock", "before", TTL).await?;
    put(&*storage, "a", "1").await?;
    let last = storage.txn(Txn::new().delete(key("a")?)).await?;
    drop(storage);
    if !subject.crash().await {
        return Ok(Ran::NotPossible);
    }
    let pause = lease.ttl() * 3 / 2 + Duration::from_secs(1);
    subject.pass(pause).await;
    let storage = subject.replica();
    let later = granted(&*storage, "lock", "after", TTL).await?;
    same!(later.token() > lease.token(), true, "a greater token");
    let next = put(&*storage, "a", "2").await?;
    same!(next > last, true, "{next} after {last}");
    storage.release(later).await?;
    Ok(Ran::Whole)
}
