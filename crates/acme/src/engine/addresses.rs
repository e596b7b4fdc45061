//! Before an order: whether its names lead here.

use super::drive::Drive;
use super::failure::{Setback, Trouble};
use crate::challenge::ChallengeKind;
use crate::challenge::reach::{Otherwise, Unreachable};
use crate::event::Event;
use crate::identifier::Identifier;
use crate::issuer::Issuer;
use crate::problem::Class;
use crate::runtime::within;

impl Drive<'_> {
    /// Before an order: whether the CA would find us at its names.
    pub(super) async fn look_around(&mut self, issuer: &Issuer) -> Result<(), Trouble> {
        let solvers = &issuer.solvers;
        let Some(check) = &solvers.addresses else {
            return Ok(());
        };
        let mut refusal = None;
        for identifier in self.wanted.distinct() {
            let first = solvers
                .kinds()
                .find(|kind| solvers.may_prove(*kind, &identifier));
            let (Identifier::Dns(_), Some(ChallengeKind::Http01 | ChallengeKind::TlsAlpn01)) =
                (&identifier, first)
            else {
                continue;
            };
            let name = identifier.value();
            let limit = self.shared.options.provider_timeout;
            let looked = within(&*self.shared.runtime, limit, check.problem(&name));
            let Some(reason) = self.hold.during(looked).await?.unwrap_or_else(|| {
                let reason = format!("no answer after {limit:?}");
                Some(Unreachable::Untold { reason })
            }) else {
                continue;
            };
            let refused = check.otherwise == Otherwise::Refuse
                && solvers.dns01.is_none()
                && !matches!(reason, Unreachable::Untold { .. });
            if refused {
                refusal.get_or_insert_with(|| format!("{identifier} is not ordered: {reason}"));
            }
            self.shared.events.emit(Event::Unreachable {
                id: self.id.clone(),
                identifier,
                reason,
                refused,
            });
        }
        match refusal {
            // The record may be there in a moment, and looking costs the CA nothing.
            Some(detail) => Err(Setback::new(Class::Transient, detail).into()),
            None => Ok(()),
        }
    }
}
