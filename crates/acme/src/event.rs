//! What happens, for those who watch: a typed stream beside `tracing`.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::broadcast;

use crate::certificate::IssuedCertificate;
use crate::challenge::reach::Unreachable;
use crate::identifier::Identifier;
use crate::journal::Failure;
use crate::layout::CertId;

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The CA made a certificate, and it is stored.
    Issued {
        /// Which.
        id: CertId,
        /// The certificate.
        certificate: Arc<IssuedCertificate>,
    },
    /// Something failed; what follows is decided.
    Failed {
        /// For which certificate.
        id: CertId,
        /// Its identifiers.
        identifiers: Vec<Identifier>,
        /// At which issuer.
        issuer: String,
        /// What.
        failure: Failure,
        /// When it is tried again: at once if `None` and not parked.
        next_at: Option<OffsetDateTime>,
        /// Whether nothing happens before the settings change, or the request if it was the caller's.
        parked: bool,
    },
    /// The CA sent a chain that does not fit; it is kept as evidence, and not served.
    Rejected {
        /// For which certificate.
        id: CertId,
        /// Why.
        reason: String,
    },
    /// An order went a step further.
    Step {
        /// For which certificate.
        id: CertId,
        /// The name of the stage it reached.
        stage: &'static str,
    },
    /// Something panicked: a mistake of ours, or of a sink. It is begun anew, or left out.
    Panicked {
        /// What.
        what: String,
        /// Its words.
        reason: String,
    },
    /// A certificate that nobody wants left the store.
    Removed {
        /// Which.
        id: CertId,
        /// What it was for.
        identifiers: Vec<Identifier>,
    },
    /// The CA suggests another time for a renewal than before.
    RenewalMoved {
        /// Of which certificate.
        id: CertId,
        /// The window's start.
        start: OffsetDateTime,
        /// The window's end.
        end: OffsetDateTime,
        /// Where the reason can be read.
        explanation_url: Option<String>,
    },
    /// An order that nobody wants was given up, and nothing is shown for it any more.
    Abandoned {
        /// For which certificate.
        id: CertId,
        /// The name of the stage it ended in.
        stage: &'static str,
    },
    /// The CA does not take the account's contacts; everything else goes on.
    ContactsRefused {
        /// The issuer's name.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// A CA does not answer, and is left alone for a while.
    IssuerAway {
        /// The issuer's name.
        issuer: String,
        /// Until when.
        until: OffsetDateTime,
        /// How the last request ended.
        reason: String,
    },
    /// A CA that was left alone answers again.
    IssuerBack {
        /// The issuer's name.
        issuer: String,
    },
    /// TXT records live longer than is waited: who has kept them from another challenge
    /// may not see the new value in time.
    LongTtl {
        /// For which certificate.
        id: CertId,
        /// The record's name.
        name: String,
        /// How long others may keep it.
        ttl: Duration,
        /// How long is waited at most, before the CA is told.
        wait: Duration,
    },
    /// A CA did not go by the validity it was asked for, which it need not (RFC 8555
    /// section 7.4): the certificate is served, and renewed by what it says itself.
    OtherValidity {
        /// Which.
        id: CertId,
        /// From when it was to be valid, if that was asked for.
        not_before: Option<OffsetDateTime>,
        /// Until when.
        not_after: Option<OffsetDateTime>,
        /// What came.
        certificate: Arc<IssuedCertificate>,
    },
    /// A name does not lead here, as far as can be seen (see
    /// [`AddressCheck`](crate::challenge::reach::AddressCheck)).
    Unreachable {
        /// For which certificate.
        id: CertId,
        /// The name.
        identifier: Identifier,
        /// What is wrong.
        reason: Unreachable,
        /// Whether the order is not placed because of it.
        refused: bool,
    },
    /// An answer to a challenge could not be taken away; it is tried again later.
    NotCleaned {
        /// For which certificate.
        id: CertId,
        /// Why.
        reason: String,
    },
}

/// Where events go: any number of listeners, none of whom can hold up an order.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Event>);

/// The events of one listener.
#[derive(Debug)]
pub struct EventStream(broadcast::Receiver<Event>);

/// How many events a listener may be behind.
const BACKLOG: usize = 1024;

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    /// Everything that happens from now on.
    pub fn listen(&self) -> EventStream {
        EventStream(self.0.subscribe())
    }

    pub(crate) fn emit(&self, event: Event) {
        match &event {
            Event::Issued { id, certificate } => tracing::info!(
                certificate = %id, generation = certificate.generation(),
                issuer = certificate.issuer(), not_after = %certificate.not_after(),
                "certificate issued"
            ),
            Event::Failed {
                id,
                issuer,
                failure,
                next_at,
                parked,
                ..
            } => tracing::warn!(
                certificate = %id, issuer, class = ?failure.class, detail = failure.detail,
                ?next_at, parked, "certificate not issued"
            ),
            Event::Rejected { id, reason } => {
                tracing::error!(certificate = %id, reason, "certificate not usable");
            }
            Event::Step { id, stage } => tracing::debug!(certificate = %id, stage, "order"),
            Event::Panicked { what, reason } => tracing::error!(what, reason, "panicked"),
            Event::Removed { id, .. } => {
                tracing::info!(certificate = %id, "unused certificate removed");
            }
            Event::RenewalMoved {
                id,
                start,
                end,
                explanation_url,
            } => tracing::info!(
                certificate = %id, %start, %end, ?explanation_url, "renewal window changed"
            ),
            Event::Abandoned { id, stage } => {
                tracing::info!(certificate = %id, stage, "order abandoned");
            }
            Event::ContactsRefused { issuer, reason } => {
                tracing::warn!(issuer, reason, "contacts not updated");
            }
            Event::IssuerAway {
                issuer,
                until,
                reason,
            } => tracing::warn!(issuer, %until, reason, "CA does not answer"),
            Event::IssuerBack { issuer } => tracing::info!(issuer, "CA answers again"),
            Event::LongTtl {
                id,
                name,
                ttl,
                wait,
            } => tracing::warn!(
                certificate = %id, name, ?ttl, ?wait, "TXT records live longer than is waited"
            ),
            Event::OtherValidity {
                id,
                not_before,
                not_after,
                certificate,
            } => tracing::warn!(
                certificate = %id, issuer = certificate.issuer(),
                wanted_not_before = ?not_before, wanted_not_after = ?not_after,
                not_before = %certificate.not_before(), not_after = %certificate.not_after(),
                "the CA made the certificate for another time"
            ),
            Event::Unreachable {
                id,
                identifier,
                reason,
                refused,
            } => tracing::warn!(
                certificate = %id, %identifier, %reason, refused, "the CA may not find this name here"
            ),
            Event::NotCleaned { id, reason } => {
                tracing::warn!(certificate = %id, reason, "challenge not taken away");
            }
        }
        // Without a listener there is nobody to tell.
        let _ = self.0.send(event);
    }
}

impl EventStream {
    /// The next event, waiting for it; [`Missed`] in place of those a slow listener was
    /// not in time for; `None` when the engine is gone.
    pub async fn next(&mut self) -> Option<Result<Event, Missed>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Err(Missed { count })),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// A listener was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} events were not listened to in time")]
#[non_exhaustive]
pub struct Missed {
    /// How many events it missed.
    pub count: u64,
}
