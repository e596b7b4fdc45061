//! What outlives a restart besides certificates: failures in a row, what was asked for by hand, and the trust anchors
//! that were dropped.
//!
//! It is kept in a Secret of its own beside the certificates', without data: the Secret that is served is not touched
//! by what did not come to be, and may not be there yet.

use certwright_cert_model::{Fingerprint, TlsSecret};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::anchors::Dropped;
use super::history::{FAILED, Failing, State};
use super::{Manager, SecretChange};
use crate::annotation::{FINGERPRINT, hex};
use crate::inventory::ResourceName;

/// The annotation with the Certificate that a record is about.
const CERTIFICATE: &str = "certwright/record-of";
/// What the names of records begin with.
const PREFIX: &str = "certwright-record-";
const ATTEMPTS: &str = "certwright/failed-attempts";
const LAST_FAILURE: &str = "certwright/last-failure";
const MESSAGE: &str = "certwright/failure";
const NEXT_ATTEMPT: &str = "certwright/next-attempt";
const REQUESTED: &str = "certwright/requested";
/// What was asked for by hand is a new key as well.
const REKEY: &str = "certwright/requested-key";
/// The anchors that nothing below this CA trusts any more, separated by commas.
const DROPPED: &str = "certwright/dropped-anchors";
/// Nobody waits longer after a failure, and what was asked for a Certificate that is not there was not meant for one that
/// comes later.
const FORGOTTEN: Duration = Duration::days(30);

impl Manager {
    /// Takes a Secret that is a record; gives back any other.
    pub(super) fn take_record(&mut self, secret: TlsSecret) -> Result<(), TlsSecret> {
        let Some(name) = certificate(&secret) else {
            return Err(secret);
        };
        self.unread.insert(name.clone());
        self.records.insert(name, secret);
        Ok(())
    }

    /// Somebody removed a Secret: if it was a record, its failures are forgotten with it.
    pub(super) fn forget_record(&mut self, secret: &ResourceName) {
        if !secret.name.starts_with(PREFIX) {
            return;
        }
        let is_it = |record: &TlsSecret| {
            (&record.namespace, &record.name) == (&secret.namespace, &secret.name)
        };
        let mut records = self.records.iter();
        let Some((name, _)) = records.find(|(_, record)| is_it(record)) else {
            return;
        };
        let name = name.clone();
        self.records.remove(&name);
        self.unread.remove(&name);
        if let Some(state) = self.states.get_mut(&name) {
            state.failing = None;
            self.open.extend(self.ranks.get(&name));
        }
        // What was asked for by hand is written down again.
        self.changed_states.insert(name);
    }

    /// Applies the records that were taken, as far as there are Certificates for them. Those of others are kept for a
    /// while: their documents may not have been read yet.
    pub(super) fn read_records(&mut self) {
        for name in core::mem::take(&mut self.unread) {
            let Some(record) = self.records.get(&name) else {
                continue;
            };
            let Some(spec) = self.inventory.certificate(&name) else {
                if self.last.is_some_and(|now| is_forgotten(record, now)) {
                    self.changed_states.insert(name);
                } else {
                    self.unread.insert(name);
                }
                continue;
            };
            let fingerprint = spec.fingerprint();
            let state = self.states.entry(name.clone()).or_default();
            read(record, state, fingerprint);
            let dropped: Vec<_> = dropped(record).collect();
            if let Some(top) = self.drops_of(&name).filter(|_| !dropped.is_empty()) {
                self.anchors.drop_too(&top, dropped);
                // Whoever still trusts one of them is written again.
                self.open_group(&top);
            }
            self.open.extend(self.ranks.get(&name));
            self.changed_states.insert(name);
        }
    }

    /// What changed of the records since it was asked last.
    pub(super) fn record_changes(&mut self) {
        // One that was not applied yet would be taken for outdated.
        self.read_records();
        for top in self.anchors.groups_with_dropped() {
            let keeper = self.drops_kept_by(top).cloned();
            self.changed_states.extend(keeper);
        }
        let with_dropped = self
            .records
            .iter()
            .filter(|(_, record)| dropped(record).next().is_some());
        let with_dropped = with_dropped.filter(|(name, _)| !self.unread.contains(*name));
        self.changed_states
            .extend(with_dropped.map(|(name, _)| name.clone()));
        for name in core::mem::take(&mut self.changed_states) {
            let spec = self.inventory.certificate(&name);
            let state = self.states.get(&name);
            let top = self.drops_of(&name);
            let top = top.filter(|top| self.drops_kept_by(top) == Some(&name));
            let dropped = top.iter().flat_map(|top| self.anchors.dropped(top));
            let dropped: Vec<_> = dropped.map(ToString::to_string).collect();
            let record = spec.zip(state);
            let record =
                record.and_then(|(spec, state)| write(&name, state, spec.fingerprint(), &dropped));
            match record {
                Some(record) if self.records.get(&name) == Some(&record) => {}
                // Somebody's own Secret is called like it.
                Some(record) if self.is_taken(&record) => {}
                Some(record) => {
                    let change = SecretChange::Put(Box::new(record.clone_with_keys()));
                    self.changes.push(change);
                    self.records.insert(name, record);
                }
                None => {
                    if let Some(record) = self.records.remove(&name) {
                        let secret = ResourceName::new(&record.namespace, &record.name);
                        self.changes.push(SecretChange::Remove(secret));
                    }
                }
            }
        }
    }

    /// The CA whose dropped anchors may be in a Certificate's record: its own, or the one above it that nobody here keeps.
    fn drops_of(&self, name: &ResourceName) -> Option<ResourceName> {
        let top = self.tops.get(name);
        let given = top.filter(|top| self.inventory.owner(top, None).is_none());
        given.cloned().or_else(|| self.inventory.target(name))
    }

    /// The Certificate whose record holds what was dropped of a CA: its own, or the first below it.
    fn drops_kept_by(&self, top: &ResourceName) -> Option<&ResourceName> {
        let below = self.groups.get(top).into_iter().flatten();
        core::iter::once(top)
            .chain(below)
            .find_map(|secret| self.inventory.owner(secret, self.secrets.get(secret)))
    }

    fn is_taken(&self, record: &TlsSecret) -> bool {
        let name = ResourceName::new(&record.namespace, &record.name);
        self.secrets.contains_key(&name) || self.inventory.owner(&name, None).is_some()
    }
}

/// The Certificate that a record is about; `None` of any other Secret.
fn certificate(secret: &TlsSecret) -> Option<ResourceName> {
    let certificate = secret.annotations.get(CERTIFICATE)?;
    let is_record = secret.data().next().is_none();
    (is_record && secret.name == name(certificate))
        .then(|| ResourceName::new(&secret.namespace, certificate))
}

/// The name of a Certificate's record. Names are as long as Kubernetes allows, and this one must not be longer.
fn name(certificate: &str) -> String {
    let name = format!("{PREFIX}{certificate}");
    if name.len() <= 253 {
        return name;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.as_bytes());
    format!("{PREFIX}{}", hex(digest.as_ref()))
}

/// What is worth remembering of a Certificate; `None` if nothing is.
fn write(
    name_of: &ResourceName,
    state: &State,
    spec: Fingerprint,
    dropped: &[String],
) -> Option<TlsSecret> {
    let mut record = TlsSecret::new(&name_of.namespace, name(&name_of.name));
    let at = |at: OffsetDateTime| at.format(&Rfc3339).ok();
    // What waits for something else never asked an issuer, and a CA of this process may be asked at any time.
    let failing = state.failing.zip(state.told.as_ref());
    let failing = failing.filter(|(_, (word, _))| *word == FAILED && state.remote);
    let requested = state.requested.filter(|_| state.rekey || state.remote);
    let (failed, message) = (
        failing.map(|(failing, _)| failing),
        failing.map(|(_, told)| told),
    );
    let entries = [
        (ATTEMPTS, failed.map(|failing| failing.attempts.to_string())),
        (LAST_FAILURE, failed.and_then(|failing| at(failing.last))),
        (NEXT_ATTEMPT, failed.and_then(|failing| at(failing.until))),
        (FINGERPRINT, failed.map(|_| spec.to_string())),
        (MESSAGE, message.map(|(_, message)| message.clone())),
        (REQUESTED, requested.and_then(at)),
        (REKEY, state.rekey.then(|| "Generate".to_owned())),
        (DROPPED, (!dropped.is_empty()).then(|| dropped.join(","))),
    ];
    for (key, value) in entries {
        let entry = value.map(|value| (key.to_owned(), value));
        record.annotations.extend(entry);
    }
    if record.annotations.is_empty() {
        return None;
    }
    let certificate = (CERTIFICATE.to_owned(), name_of.name.clone());
    record.annotations.extend([certificate]);
    Some(record)
}

fn dropped(record: &TlsSecret) -> impl Iterator<Item = Dropped> {
    let text = record.annotations.get(DROPPED).map(String::as_str);
    let all = text.into_iter().flat_map(|text| text.split(','));
    all.filter_map(|one| one.parse().ok())
}

/// Whether nothing of a record counts any more.
fn is_forgotten(record: &TlsSecret, now: OffsetDateTime) -> bool {
    let instants = [LAST_FAILURE, NEXT_ATTEMPT, REQUESTED].into_iter();
    let instants = instants.filter_map(|key| record.annotations.get(key));
    let last = instants.filter_map(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    let ends = dropped(record).filter_map(|one| one.ends());
    last.chain(ends)
        .max()
        .is_none_or(|last| last.saturating_add(FORGOTTEN) < now)
}

/// Takes over what an earlier process remembered: its failures if they were of this specification.
fn read(record: &TlsSecret, state: &mut State, spec: Fingerprint) {
    let get = |key: &str| record.annotations.get(key).map(String::as_str);
    let at = |key: &str| OffsetDateTime::parse(get(key)?, &Rfc3339).ok();
    if let Some(requested) = at(REQUESTED) {
        state.requested = state.requested.max(Some(requested));
        state.rekey |= get(REKEY).is_some();
    }
    let same = get(FINGERPRINT).is_some_and(|found| found.parse() == Ok(spec));
    let attempts = get(ATTEMPTS).and_then(|attempts| attempts.parse().ok());
    let attempts = attempts.filter(|attempts: &i64| *attempts > 0);
    let failing = (attempts, at(LAST_FAILURE), at(NEXT_ATTEMPT));
    if let (true, (Some(attempts), Some(last), Some(until))) = (same, failing) {
        state.failing = Some(Failing {
            attempts,
            last,
            until,
        });
        let message = get(MESSAGE).unwrap_or_default().to_owned();
        state.told = Some((FAILED, message));
        state.remote = true;
    }
}

#[cfg(test)]
mod tests {
    use certwright_cert_model::{CertificateSpec, Defaults};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_record_with_any_number_of_attempts_is_counted_on() {
        let now = datetime!(2026-03-01 12:00 UTC);
        let mut spec = CertificateSpec::default();
        (spec.secret_name, spec.issuer_ref.name) = ("web".into(), "ca".into());
        spec.dns_names = vec!["www.example.com".into()];
        let spec = spec.validate(&Defaults::documented()).unwrap();
        let name = ResourceName::new("ns", "web");
        let mut inventory = crate::Inventory::default();
        inventory
            .add_certificate(name.clone(), spec.clone())
            .unwrap();
        for (attempts, failures) in [(i64::MAX, i64::MAX), (3, 4), (0, 1), (-1, 1)] {
            let mut state = State::default();
            state.failing = Some(Failing {
                attempts,
                last: now,
                until: now,
            });
            state.told = Some((FAILED, String::new()));
            state.remote = true;
            let record = write(&name, &state, spec.fingerprint(), &[]).unwrap();
            let mut manager = Manager::new(inventory.clone(), [record]);
            // There is no such issuer.
            manager.reconcile(now);
            let status = manager.status(&name, now).unwrap();
            assert_eq!(status.failures, failures, "{attempts}");
        }
    }
}
