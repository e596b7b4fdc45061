//! Proving control: answers written down, shown, and pointed out to the CA.

use std::collections::BTreeSet;
use std::time::Duration;

use certwright_storage::{Txn, Write};

use super::drive::{AT_ONCE, Drive};
use super::failure::{Setback, Trouble};
use crate::account::Account;
use crate::challenge::dns01::TxtRecord;
use crate::challenge::tls_alpn01;
use crate::challenge::{ChallengeKind, Receipt};
use crate::identifier::Identifier;
use crate::issuer::Issuer;
use crate::journal::Order;
use crate::layout::{self, Shown};
use crate::problem::{Class, ErrorType};
use crate::protocol::{
    AuthorizationState, AuthorizationStatus, ChallengeState, ChallengeStatus, OrderState,
    OrderStatus, ProtocolError,
};
use crate::runtime::all;

impl Drive<'_> {
    /// Ordered or Presenting, with the order pending: shows what is to be shown, tells
    /// the CA, and waits for what it says.
    pub(super) async fn authorize(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        order: &Order,
        state: &OrderState,
    ) -> Result<(), Trouble> {
        let authorizations = self.authorizations(issuer, account, state).await?;
        let mut chosen = Vec::new();
        for authorization in &authorizations {
            match authorization.status {
                AuthorizationStatus::Pending => chosen.push(self.choose(issuer, authorization)?),
                AuthorizationStatus::Valid => {}
                AuthorizationStatus::Invalid => {
                    return Err(setback_of(&authorizations, state).into());
                }
                AuthorizationStatus::Deactivated
                | AuthorizationStatus::Expired
                | AuthorizationStatus::Revoked => {
                    let detail = format!(
                        "the authorization of {} is {:?}",
                        authorization.identifier, authorization.status
                    );
                    return Err(Setback::new(Class::Gone, detail).into());
                }
            }
        }
        let mut receipts = Vec::new();
        for (authorization, challenge) in &chosen {
            let receipt = self.receipt(issuer, account, authorization, challenge);
            receipts.push(receipt.await?);
        }
        let alone = self.reserve(&receipts).await?;
        self.show(issuer, receipts).await?;
        let unanswered = chosen.iter().filter(|(_, challenge)| {
            // One that the CA is looking at already must not be asked for again.
            challenge.status == ChallengeStatus::Pending
        });
        let unanswered: Vec<&ChallengeState> =
            unanswered.map(|(_, challenge)| *challenge).collect();
        let answers = unanswered.iter();
        let answers = answers.map(|challenge| issuer.protocol.answer(account, &challenge.url));
        let answers = self.hold.during(all(answers.collect())).await?;
        for (challenge, answered) in unanswered.into_iter().zip(answers) {
            match answered {
                Ok(()) => {}
                Err(error) if is_late(&error) => {
                    self.still_pending(issuer, account, state, challenge, error)
                        .await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let state = self.watch(issuer, account, order, OrderStatus::Pending, None);
        self.known = Some(state.await?);
        if alone {
            // The next one for these names is waiting.
            self.clean().await?;
        }
        Ok(())
    }

    /// Waits until nobody else shows answers to TLS-ALPN-01 for these names, of which a
    /// server can show one at a time; whether there are any.
    async fn reserve(&mut self, receipts: &[Receipt]) -> Result<bool, Trouble> {
        let names = receipts.iter().filter_map(|receipt| match receipt {
            Receipt::TlsAlpn01 { name, .. } => Some(name),
            Receipt::Dns01 { .. } | Receipt::Http01 { .. } => None,
        });
        // In one order for all, so that no two wait for each other.
        let names: BTreeSet<&String> = names.collect();
        let shared = self.shared;
        let options = &shared.options;
        let end = shared.runtime.instant() + options.patience;
        for name in &names {
            let place = layout::alpn_lock(name);
            while let Some(owner) = self
                .hold
                .also(&place, &options.owner, options.lease)
                .await?
            {
                if shared.runtime.instant() > end {
                    let detail =
                        format!("{owner} is proving {name} by tls-alpn-01 for another order");
                    return Err(Setback::new(Class::Transient, detail).into());
                }
                self.hold.sleep(TURN).await?;
            }
        }
        Ok(!names.is_empty())
    }

    async fn authorizations(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        state: &OrderState,
    ) -> Result<Vec<AuthorizationState>, Trouble> {
        let ordered = self.journal.identifiers.len();
        let found = state.authorizations.len();
        if found > ordered {
            return Err(ProtocolError::Malformed {
                request: "the order",
                reason: format!("it has {found} authorizations for {ordered} identifiers"),
            }
            .into());
        }
        let urls = state.authorizations.iter();
        let asked = urls.map(|url| issuer.protocol.authorization(account, url));
        let answers = self.hold.during(all(asked.collect())).await?;
        let mut authorizations = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        for authorization in &mut authorizations {
            authorization.identifier = self.ordered(&authorization.identifier)?;
        }
        Ok(authorizations)
    }

    /// The identifier of ours that an authorization is for: nothing is shown for a name
    /// that was not ordered, whatever the CA answers.
    fn ordered(&self, found: &Identifier) -> Result<Identifier, Trouble> {
        let ours = &self.journal.identifiers;
        // Some CAs leave out that it is for a wildcard.
        let bare = |one: &&Identifier| one.is_wildcard() && one.base() == found.value();
        let one = ours.iter().find(|one| *one == found);
        match one.or_else(|| ours.iter().find(bare)) {
            Some(one) => Ok(one.clone()),
            None => Err(ProtocolError::Malformed {
                request: "an authorization",
                reason: format!("it is for {found}, which was not ordered"),
            }
            .into()),
        }
    }

    /// A challenge the CA does not want an answer for: an error only if it is pending all
    /// the same, and not already looked at because somebody else, or we before a crash,
    /// were faster.
    async fn still_pending(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        state: &OrderState,
        challenge: &ChallengeState,
        error: ProtocolError,
    ) -> Result<(), Trouble> {
        let again = self.authorizations(issuer, account, state).await?;
        let pending = again.iter().any(|authorization| {
            let mut challenges = authorization.challenges.iter();
            authorization.status == AuthorizationStatus::Pending
                && challenges
                    .any(|one| one.url == challenge.url && one.status == ChallengeStatus::Pending)
        });
        match pending {
            true => Err(error.into()),
            false => Ok(()),
        }
    }

    fn choose<'a>(
        &self,
        issuer: &Issuer,
        authorization: &'a AuthorizationState,
    ) -> Result<(&'a AuthorizationState, &'a ChallengeState), Trouble> {
        let identifier = &authorization.identifier;
        let failed = self.journal.history.failed.get(&identifier.value());
        // When all kinds have failed, they are tried from the start, after the pause
        // that the journal has put in between.
        let chosen = issuer.solvers.choose(authorization, failed);
        let chosen = chosen.or_else(|| issuer.solvers.choose(authorization, None));
        let Some(challenge) = chosen else {
            let set_up: Vec<&str> = issuer.solvers.kinds().map(ChallengeKind::as_str).collect();
            let offered: Vec<&str> = authorization
                .challenges
                .iter()
                .map(|one| one.kind.as_str())
                .collect();
            let detail = format!(
                "{identifier} cannot be proven: set up is {}, the CA offers {}",
                list(&set_up),
                list(&offered),
            );
            return Err(Setback::new(Class::Permanent, detail).into());
        };
        Ok((authorization, challenge))
    }

    async fn receipt(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        authorization: &AuthorizationState,
        challenge: &ChallengeState,
    ) -> Result<Receipt, Trouble> {
        let identifier = &authorization.identifier;
        let answer = account.key.authorization(&challenge.token);
        Ok(match challenge.kind {
            ChallengeKind::Http01 => Receipt::Http01 {
                token: challenge.token.clone(),
                authorization: answer,
            },
            ChallengeKind::TlsAlpn01 => Receipt::TlsAlpn01 {
                name: tls_alpn01::server_name(identifier),
                authorization: answer,
            },
            ChallengeKind::Dns01 => {
                let mut record = TxtRecord::new(identifier, &answer);
                let view = issuer.solvers.dns01.as_ref();
                if let Some(view) = view.and_then(|dns| dns.view.as_ref()) {
                    let name = record.name.clone();
                    let canonical = view.canonical(&name);
                    record.name = self.asked("the name server", &name, canonical).await??;
                }
                Receipt::Dns01 {
                    record,
                    issuer: issuer.name.clone(),
                }
            }
        })
    }

    /// Writes the answers down, shows them, and waits until the CA can see them.
    async fn show(&mut self, issuer: &Issuer, receipts: Vec<Receipt>) -> Result<(), Trouble> {
        self.journal.presenting(receipts.clone())?;
        // Before any of them is shown, so that it is taken away after a crash.
        let mut writes = Vec::new();
        for receipt in &receipts {
            // With the journal: when the CA is told, every replica can answer.
            let (place, answer) = match receipt {
                Receipt::Http01 {
                    token,
                    authorization,
                } => (layout::http_token(token), authorization),
                Receipt::TlsAlpn01 {
                    name,
                    authorization,
                } => (layout::alpn_name(name), authorization),
                Receipt::Dns01 { .. } => continue,
            };
            writes.push((None, Write::Put(place, answer.as_str().into())));
        }
        if writes.len() > AT_ONCE {
            self.write(Txn::new()).await?;
        }
        self.write_many(writes).await?;
        let at = self.revision.unwrap_or_default();
        let mut delay = Duration::ZERO;
        let mut records = Vec::new();
        for receipt in &receipts {
            match receipt {
                Receipt::Http01 {
                    token,
                    authorization,
                } => {
                    let token = Shown::Token(token.clone());
                    self.shared.show(&token, authorization, at);
                    delay = delay.max(issuer.solvers.http01.unwrap_or_default().0);
                }
                Receipt::TlsAlpn01 {
                    name,
                    authorization,
                } => {
                    let name = Shown::Name(name.clone());
                    self.shared.show(&name, authorization, at);
                    delay = delay.max(issuer.solvers.tls_alpn01.unwrap_or_default().0);
                }
                Receipt::Dns01 { record, .. } => records.push(record),
            }
        }
        if let (Some(dns), false) = (&issuer.solvers.dns01, records.is_empty()) {
            self.publish(dns, &mut records).await?;
        }
        if !delay.is_zero() {
            self.hold.sleep(delay).await?;
        }
        Ok(())
    }

    /// Why the CA gave the order up.
    pub(super) async fn examine(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        state: &OrderState,
    ) -> Result<Setback, Trouble> {
        let authorizations = self.authorizations(issuer, account, state).await?;
        Ok(setback_of(&authorizations, state))
    }

    /// Whether each identifier that failed can be proven in another way.
    pub(super) fn other_challenges(&self, issuer: &Issuer, setback: &Setback) -> bool {
        let failed = &self.journal.history.failed;
        !setback.challenges.is_empty()
            && setback.challenges.iter().all(|(identifier, failing)| {
                let failed = failed.get(&identifier.value());
                issuer.solvers.kinds().any(|kind| {
                    kind != *failing
                        && issuer.solvers.may_prove(kind, identifier)
                        && !failed.is_some_and(|failed| failed.contains(&kind))
                })
            })
    }
}

/// Whether a refusal may mean that the challenge is in another state by now: Boulder says
/// `malformed` then.
fn is_late(error: &ProtocolError) -> bool {
    matches!(error, ProtocolError::Refused { problem, .. }
        if problem.kind == ErrorType::Malformed && (400..404).contains(&problem.status))
}

/// Why an order became invalid: what its challenges say, else what it says itself.
fn setback_of(authorizations: &[AuthorizationState], state: &OrderState) -> Setback {
    let mut classes = Vec::new();
    let mut details = Vec::new();
    let mut challenges = Vec::new();
    for authorization in authorizations {
        let failed = authorization.challenges.iter();
        let failed = failed.filter(|one| one.status == ChallengeStatus::Invalid);
        for challenge in failed {
            let identifier = &authorization.identifier;
            challenges.push((identifier.clone(), challenge.kind));
            if let Some(problem) = &challenge.error {
                classes.push(problem.challenge_class());
                details.push(format!("{identifier} by {}: {problem}", challenge.kind));
            }
        }
    }
    if let (true, Some(problem)) = (classes.is_empty(), &state.error) {
        classes.push(problem.class());
        details.push(problem.to_string());
    }
    // One name that needs a pause makes the whole order need one.
    let worst = [Class::Permanent, Class::RateLimited, Class::Validation];
    let worst = worst.into_iter().find(|class| classes.contains(class));
    let class = worst.or(classes.first().copied()).unwrap_or(Class::Gone);
    if details.is_empty() {
        details.push("the order became invalid, and the CA does not say why".to_owned());
    }
    Setback {
        challenges,
        ..Setback::new(class, details.join("; "))
    }
}

/// How long to wait before asking again for a name.
pub(super) const TURN: Duration = Duration::from_millis(250);

fn list(kinds: &[&str]) -> String {
    match kinds.is_empty() {
        true => "nothing".to_owned(),
        false => kinds.join(", "),
    }
}
