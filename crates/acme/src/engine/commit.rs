//! The certificate, fetched, looked at and stored.

use std::sync::Arc;

use certwright_storage::Txn;
use time::{Duration, OffsetDateTime};

use super::drive::{Drive, Step};
use super::failure::{Setback, Trouble};
use super::{EngineError, Outcome};
use crate::account::Account;
use crate::certificate::{IssuedCertificate, ari_id_of};
use crate::chain::{Chain, Ordered, Selected, WrongChain};
use crate::event::Event;
use crate::identifier::Identifier;
use crate::issuer::Issuer;
use crate::journal::Stage;
use crate::problem::Class;
use crate::protocol::ProtocolError;

impl Drive<'_> {
    /// Issued: fetches the chain and puts it in use. The key is in the journal, so it
    /// does not matter how often this is begun.
    pub(super) async fn commit(&mut self) -> Step {
        let (index, account) = self.account().await?;
        let shared = self.shared;
        let issuer = &shared.issuers[index];
        let Stage::Issued {
            plan, certificate, ..
        } = &self.journal.stage
        else {
            return Ok(None);
        };
        let key = plan.key.read()?;
        let place = certificate.clone();
        let chain = self.download(issuer, &account, &place).await?;
        let now = self.now();
        let names: Vec<String> = self
            .journal
            .identifiers
            .iter()
            .map(Identifier::value)
            .collect();
        if let Err(wrong) = chain.check(&Ordered::new(key.public_key(), &names, now)) {
            return Err(self.reject(&chain, &wrong).await?.into());
        }
        let leaf = chain.leaf().ok_or(EngineError::NoCsr)?;
        let (plan, order) = self.journal.committed()?;
        let issued = Arc::new(IssuedCertificate {
            identifiers: self.journal.identifiers.clone(),
            generation: self.journal.generation,
            issuer: plan.issuer,
            chain: chain.to_pem(),
            key: plan.key,
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            obtained: now,
            ari_id: ari_id_of(leaf),
            order: Some(order.url.clone()),
            profile: self.wanted.profile.clone(),
        });
        self.store(&issued).await?;
        if is_otherwise(order.not_before, order.not_after, &issued) {
            shared.events.emit(Event::OtherValidity {
                id: self.id.clone(),
                not_before: order.not_before,
                not_after: order.not_after,
                certificate: Arc::clone(&issued),
            });
        }
        shared.events.emit(Event::Issued {
            id: self.id.clone(),
            certificate: Arc::clone(&issued),
        });
        self.clean().await?;
        Ok(Some(Outcome::Issued(issued)))
    }

    /// The chain the issuer's preference asks for.
    async fn download(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        place: &str,
    ) -> Result<Chain, Trouble> {
        let asked = issuer.protocol.certificate(account, place);
        let offered = self.hold.during(asked).await??;
        let first = read(&offered.pem)?;
        if !issuer.chain.wants_alternates(&first) {
            return Ok(first);
        }
        let mut chains = vec![first];
        for url in &offered.alternates {
            let asked = issuer.protocol.certificate(account, url);
            chains.push(read(&self.hold.during(asked).await??.pem)?);
        }
        let selected = issuer.chain.select(&chains);
        if let Some(Selected::NoneNamed { .. }) = selected {
            tracing::warn!(certificate = %self.id, wanted = ?issuer.chain.names, "the CA does not offer the preferred chain");
        }
        let index = selected.map(Selected::index).unwrap_or_default();
        Ok(chains.swap_remove(index))
    }

    /// One transaction: the new certificate in, the old one aside, the journal done.
    async fn store(&mut self, issued: &IssuedCertificate) -> Result<(), EngineError> {
        let (current, previous) = (self.id.current(), self.id.previous());
        let mut txn = Txn::new().put(current.clone(), issued.encode()?);
        txn = match &self.current {
            Some(old) => txn
                .if_unchanged(current, old.entry.revision)
                .put(previous, old.entry.value.clone()),
            None => txn.if_absent(current),
        };
        self.write(txn).await
    }

    /// Keeps a chain that does not fit as evidence; it is never served.
    async fn reject(&mut self, chain: &Chain, wrong: &WrongChain) -> Result<Setback, Trouble> {
        let reason = wrong.to_string();
        let detail = format!("the certificate does not fit: {reason}");
        // Our clock may be set right, and then it does.
        if let WrongChain::NotYetValid { .. } = wrong {
            return Ok(Setback::new(Class::Transient, detail));
        }
        let evidence = Txn::new().put(self.id.rejected(), chain.to_pem().as_str());
        self.write(evidence).await?;
        let id = self.id.clone();
        self.shared.events.emit(Event::Rejected { id, reason });
        Ok(Setback::new(Class::Validation, detail))
    }
}

/// Whether the CA did not go by the validity it was asked for; that it sets the start back
/// a little, for clocks that are slow, is usual.
fn is_otherwise(
    not_before: Option<OffsetDateTime>,
    not_after: Option<OffsetDateTime>,
    issued: &IssuedCertificate,
) -> bool {
    let exact = -Duration::MINUTE..=Duration::MINUTE;
    let set_back = -Duration::HOUR..=Duration::MINUTE;
    not_before.is_some_and(|asked| !set_back.contains(&(issued.not_before - asked)))
        || not_after.is_some_and(|asked| !exact.contains(&(issued.not_after - asked)))
}

/// A chain that cannot be read may have been cut off on its way.
fn read(pem: &str) -> Result<Chain, ProtocolError> {
    Chain::read(pem.as_bytes()).map_err(|error| ProtocolError::Malformed {
        request: "the certificate",
        reason: error.to_string(),
    })
}
