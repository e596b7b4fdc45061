//! A world for tests: a CA in memory, clocks that stand still, and a store and a CA that
//! can be left alone in the middle of everything.

mod ca;
mod dns;
mod world;

use certwright_storage::Operation;
use certwright_storage::conformance::{Attendant, Call};

use crate::identifier::Identifier;

pub(crate) use ca::{FakeCa, Fault, State};
pub(crate) use dns::{FakeDns, WholeRecords};
pub(crate) use world::{START, World, pass, run, run_for};

/// Makes a store one between whose calls and effects, and effects and answers, one may die.
#[derive(Debug)]
pub(crate) struct Slow;

impl Attendant for Slow {
    fn before(&self, call: Call) -> Operation<'_, ()> {
        Box::pin(async move {
            if let Call::Acquire | Call::Get | Call::Txn = call {
                pass().await;
            }
            Ok(())
        })
    }

    fn after(&self, call: Call) -> Operation<'_, ()> {
        Box::pin(async move {
            if let Call::Acquire | Call::Txn = call {
                pass().await;
            }
            Ok(())
        })
    }
}

/// Identifiers of these texts.
pub(crate) fn identifiers(texts: &[&str]) -> Vec<Identifier> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
