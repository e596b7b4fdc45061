//! An agenda gives what a plain map of instants gives, whatever is done to it.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use certwright_renewal::Agenda;
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

#[derive(Arbitrary, Debug)]
enum Step {
    Insert(u8, i16),
    Update(u8, i16),
    Remove(u8),
    Pop(i16),
}

fuzz_target!(|steps: Vec<Step>| {
    let at = |second: i16| OffsetDateTime::UNIX_EPOCH + Duration::seconds(second.into());
    let (mut agenda, mut plain) = (Agenda::new(), BTreeMap::new());
    for step in steps {
        match step {
            Step::Insert(key, due) => {
                assert_eq!(agenda.insert(key, at(due)), plain.insert(key, at(due)));
            }
            Step::Update(key, due) => {
                let before = plain
                    .get_mut(&key)
                    .map(|old| std::mem::replace(old, at(due)));
                assert_eq!(agenda.update(&key, at(due)), before);
            }
            Step::Remove(key) => assert_eq!(agenda.remove(&key), plain.remove(&key)),
            Step::Pop(now) => {
                let first = plain.values().min().copied().filter(|due| *due <= at(now));
                let popped = agenda.pop_due(at(now));
                assert_eq!(popped.map(|(_, due)| due), first);
                if let Some((key, due)) = popped {
                    assert_eq!(plain.remove(&key), Some(due));
                }
            }
        }
        assert_eq!(agenda.next_wake(), plain.values().min().copied());
        assert_eq!(agenda.len(), plain.len());
    }
});
