//! DNS providers of the CA in memory.

use super::{FakeCa, pass};
use crate::challenge::dns01::{DnsError, DnsProvider, TxtRecord};
use crate::runtime::Task;

/// A DNS provider that writes into the CA's view of the world.
#[derive(Clone, Debug)]
pub(crate) struct FakeDns(pub(crate) FakeCa);

impl DnsProvider for FakeDns {
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        Box::pin(async move {
            pass().await;
            let dumb = {
                let mut state = self.0.state();
                if state.dumb != Some(false) {
                    state.txt.retain(|there| there != record);
                    state.txt.push(record.clone());
                }
                state.dumb.is_some()
            };
            silence(dumb).await;
            pass().await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        Box::pin(async move {
            pass().await;
            let dumb = {
                let mut state = self.0.state();
                if state.dumb != Some(false) {
                    state.txt.retain(|there| there != record);
                }
                state.dumb.is_some()
            };
            silence(dumb).await;
            pass().await;
            Ok(())
        })
    }
}

/// One that reads a record and writes it whole, as most do.
#[derive(Clone, Debug)]
pub(crate) struct WholeRecords(pub(crate) FakeCa);

impl WholeRecords {
    fn change<'a>(
        &'a self,
        record: &'a TxtRecord,
        change: impl FnOnce(&mut Vec<TxtRecord>) + Send + 'a,
    ) -> Task<'a, Result<(), DnsError>> {
        Box::pin(async move {
            pass().await;
            let mut values = self.0.state().txt.clone();
            values.retain(|one| one.name == record.name);
            for _ in 0..5 {
                pass().await;
            }
            change(&mut values);
            let mut state = self.0.state();
            state.txt.retain(|one| one.name != record.name);
            state.txt.extend(values);
            Ok(())
        })
    }
}

impl DnsProvider for WholeRecords {
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        self.change(record, move |values| {
            values.retain(|one| one != record);
            values.push(record.clone());
        })
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        self.change(record, move |values| values.retain(|one| one != record))
    }
}

async fn silence(dumb: bool) {
    if dumb {
        loop {
            pass().await;
        }
    }
}
