//! What was shown, taken away.

use certwright_storage::{Guard, Write};

use super::EngineError;
use super::drive::Drive;
use crate::challenge::Receipt;
use crate::event::Event;
use crate::layout::{self, Shown};

impl Drive<'_> {
    /// Waiting: takes away what was shown. What cannot be taken away stays in the
    /// journal for the next time.
    pub(super) async fn clean(&mut self) -> Result<(), EngineError> {
        if self.journal.receipts.is_empty() && self.journal.given_up.is_empty() {
            return Ok(());
        }
        self.give_up().await?;
        let at = self.revision.unwrap_or_default();
        let mut writes = Vec::new();
        let mut left = Vec::new();
        for receipt in core::mem::take(&mut self.journal.receipts) {
            match &receipt {
                Receipt::Http01 { token, .. } => {
                    self.shared.hide(&Shown::Token(token.clone()), at);
                    writes.push((None, Write::Delete(layout::http_token(token))));
                }
                Receipt::TlsAlpn01 {
                    name,
                    authorization,
                } => {
                    let options = &self.shared.options;
                    let lock = layout::alpn_lock(name);
                    let held = self.hold.also(&lock, &options.owner, options.lease);
                    if held.await?.is_some() {
                        // Whoever is at it writes over our answer, or ends before and leaves it to us.
                        left.push(receipt);
                        continue;
                    }
                    let place = layout::alpn_name(name);
                    let found = self.shared.storage.get(&place);
                    match self.hold.during(found).await?? {
                        // The answer of another order for the same name.
                        Some(entry) if entry.value.as_bytes() != authorization.as_bytes() => {}
                        Some(entry) => {
                            let name = Shown::Name(name.clone());
                            self.shared.hide(&name, at.max(entry.revision));
                            let same = Guard::Unchanged(place.clone(), entry.revision);
                            writes.push((Some(same), Write::Delete(place)));
                        }
                        None => self.shared.hide(&Shown::Name(name.clone()), at),
                    }
                }
                Receipt::Dns01 { record, issuer } => {
                    if let Err(reason) = self.unpublish(record, issuer).await? {
                        self.shared.events.emit(Event::NotCleaned {
                            id: self.id.clone(),
                            reason,
                        });
                        left.push(receipt);
                    }
                }
            }
        }
        self.journal.receipts = left;
        self.write_many(writes).await?;
        self.hold.let_go().await;
        Ok(())
    }
}
