//! TXT records at a DNS provider: written, waited for, and taken away, by one order at a
//! time.

use std::collections::BTreeSet;

use certwright_storage::{Key, StorageError};
use tokio::sync::OwnedMutexGuard;

use super::authorize::TURN;
use super::drive::Drive;
use super::failure::{Setback, Trouble};
use crate::challenge::dns01::{Checks, Dns01, DnsError, TxtRecord};
use crate::event::Event;
use crate::issuer::Issuer;
use crate::layout;
use crate::problem::Class;
use crate::runtime::{Task, within};

/// The right to change a record: on this replica, and among all.
struct RecordTurn {
    _turn: OwnedMutexGuard<()>,
    lease: Key,
}

impl Drive<'_> {
    /// All records first, then one wait for all.
    pub(super) async fn publish(
        &mut self,
        dns: &Dns01,
        records: &mut [&TxtRecord],
    ) -> Result<(), Trouble> {
        records.sort_by(|one, other| one.name.cmp(&other.name));
        for same in records.chunk_by(|one, other| one.name == other.name) {
            let Some(record) = same.first() else { continue };
            let turn = self.take_record(&record.name).await?;
            let turn = turn.map_err(|busy| Setback::new(Class::Transient, busy))?;
            for record in same {
                let appended = dns.provider.append(record);
                self.asked("the DNS provider", &record.name, appended)
                    .await??;
            }
            self.leave_record(turn).await;
        }
        self.hold.sleep(dns.delay).await?;
        self.report_long_lives(dns, records).await?;
        let (Some(view), Checks::Wait) = (&dns.view, dns.checks) else {
            return Ok(());
        };
        let end = self.shared.runtime.instant() + dns.propagation_timeout;
        for record in records {
            loop {
                let lacks = view.lacks(record);
                let unseen = match self.asked("the name server", &record.name, lacks).await? {
                    Ok(None) => break,
                    Ok(Some(server)) => DnsError::NotSeen {
                        name: record.name.clone(),
                        server,
                        after: dns.propagation_timeout,
                    },
                    // A name server's trouble may pass before the time is over.
                    Err(error) => error,
                };
                if self.shared.runtime.instant() > end {
                    return Err(unseen.into());
                }
                self.hold.sleep(dns.poll).await?;
            }
        }
        Ok(())
    }

    async fn report_long_lives(
        &mut self,
        dns: &Dns01,
        records: &[&TxtRecord],
    ) -> Result<(), Trouble> {
        let looking = dns.view.as_ref().filter(|_| dns.checks == Checks::Wait);
        let wait = match looking {
            Some(_) => dns.delay + dns.propagation_timeout,
            None => dns.delay,
        };
        let names: BTreeSet<&String> = records.iter().map(|record| &record.name).collect();
        for name in names {
            let mut ttl = dns.provider.ttl();
            if let Some(view) = looking {
                // A server that does not answer will be told of when the value is looked for.
                let limit = self.shared.options.provider_timeout;
                let asked = within(&*self.shared.runtime, limit, view.ttl(name));
                let seen = self.hold.during(asked).await?.and_then(Result::ok);
                ttl = ttl.max(seen.unwrap_or_default());
            }
            if let Some(ttl) = ttl.filter(|ttl| *ttl > wait) {
                self.shared.events.emit(Event::LongTtl {
                    id: self.id.clone(),
                    name: name.clone(),
                    ttl,
                    wait,
                });
            }
        }
        Ok(())
    }

    /// Removes a record with the provider that made it: another does not have its zone, and
    /// may say all the same that the record is gone.
    pub(super) async fn unpublish(
        &mut self,
        record: &TxtRecord,
        issuer: &str,
    ) -> Result<Result<(), String>, StorageError> {
        let mut issuers = self.shared.issuers.iter();
        let made = |one: &&Issuer| issuer.is_empty() || one.name == issuer;
        let mut made = issuers.by_ref().filter(made);
        let Some(dns) = made.find_map(|one| one.solvers.dns01.as_ref()) else {
            let name = &record.name;
            return Ok(Err(match issuer {
                "" => format!("no DNS provider is set up to remove {name}"),
                issuer => format!(
                    "{name} was made by the DNS provider of issuer {issuer}, which is not set up any more; set it up again, or remove the record by hand"
                ),
            }));
        };
        let turn = match self.take_record(&record.name).await? {
            Ok(turn) => turn,
            Err(busy) => return Ok(Err(busy)),
        };
        let removed = dns.provider.remove(record);
        let removed = self
            .asked("the DNS provider", &record.name, removed)
            .await?;
        self.leave_record(turn).await;
        Ok(removed.map_err(|error| error.to_string()))
    }

    /// Waits until nobody else changes this record; if that takes too long, says who does.
    /// Most providers read its values and write all of them: of two changes at once, one
    /// would be lost.
    async fn take_record(
        &mut self,
        name: &str,
    ) -> Result<Result<RecordTurn, String>, StorageError> {
        let shared = self.shared;
        let (options, runtime) = (&shared.options, &*shared.runtime);
        let lease = layout::record_lock(name);
        let end = runtime.instant() + options.patience;
        // In a row on this replica, so that only one of it asks for the lease.
        let turn = within(runtime, options.patience, shared.turn(&lease).lock_owned());
        let Some(turn) = self.hold.during(turn).await? else {
            return Ok(Err(format!("other orders are changing {name}")));
        };
        while let Some(owner) = self
            .hold
            .also(&lease, &options.owner, options.lease)
            .await?
        {
            if runtime.instant() > end {
                return Ok(Err(format!("{owner} is changing {name} for another order")));
            }
            self.hold.sleep(TURN).await?;
        }
        let _turn = turn;
        Ok(Ok(RecordTurn { _turn, lease }))
    }

    async fn leave_record(&mut self, turn: RecordTurn) {
        self.hold.end(&turn.lease).await;
    }

    /// What somebody answers who may never do: the lease must not be held for ever.
    pub(super) async fn asked<T>(
        &mut self,
        whom: &str,
        name: &str,
        work: Task<'_, Result<T, DnsError>>,
    ) -> Result<Result<T, DnsError>, StorageError> {
        let shared = self.shared;
        let limit = shared.options.provider_timeout;
        let answer = self.hold.during(within(&*shared.runtime, limit, work));
        Ok(answer.await?.unwrap_or_else(|| {
            Err(DnsError::Provider {
                provider: whom.to_owned(),
                name: name.to_owned(),
                reason: format!("no answer after {limit:?}"),
            })
        }))
    }
}
