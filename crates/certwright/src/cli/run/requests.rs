//! Renewals that somebody asked for, and how they reach the process that issues.
//!
//! A request is a record beside the Secrets: `.renew/NAMESPACE/CERTIFICATE` in the directory, or
//! `PREFIX/renew/NAMESPACE/CERTIFICATE` in etcd. The process that issues takes it in hand, writes down when, and removes it
//! once the Secret holds a certificate that was begun after that: a process that dies in between neither forgets it nor
//! does it twice.

mod place;
mod request;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certwright::ResourceName;
use certwright::run::Handle;
use time::OffsetDateTime;

pub(crate) use self::place::Requests;
pub(crate) use self::request::{Request, key_of};
pub(crate) use self::trust::anchors;
use super::events::Events;
use crate::cli::place::Manifests;

/// How often requests are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// A request that nobody could do in this time is given up.
const OLDEST: time::Duration = time::Duration::days(7);

type Failed = Box<dyn Error + Send + Sync>;

/// Hands requests on while its process issues.
#[derive(Debug)]
pub(super) struct Follower {
    requests: Requests,
    /// What is below a CA stands there.
    manifests: Manifests,
    handle: Handle,
    leading: Arc<AtomicBool>,
    events: Events,
    /// What the runner was asked for.
    handed: BTreeMap<ResourceName, Request>,
    /// The CAs whose old anchors it was asked to drop.
    dropping: BTreeSet<ResourceName>,
}

impl Follower {
    pub(super) fn new(
        requests: Requests,
        manifests: Manifests,
        handle: Handle,
        leading: Arc<AtomicBool>,
        events: Events,
    ) -> Self {
        Self {
            requests,
            manifests,
            handle,
            leading,
            events,
            handed: BTreeMap::new(),
            dropping: BTreeSet::new(),
        }
    }

    /// For ever.
    pub(super) async fn follow(mut self) {
        let mut broken = false;
        loop {
            tokio::time::sleep(EVERY).await;
            if !self.leading.load(Ordering::Relaxed) {
                self.handed.clear();
                self.dropping.clear();
                continue;
            }
            match self.look().await {
                Ok(()) => broken = false,
                // Told once, not every second.
                Err(error) => {
                    if !broken {
                        self.events.say("store", &crate::cli::with_causes(&*error));
                    }
                    broken = true;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failed> {
        // One that cannot be looked at keeps no other.
        let mut failed = Ok(());
        for request in self.requests.list().await? {
            let looked = match request {
                Ok(request) => self.advance(&request).await,
                Err(error) => Err(error),
            };
            failed = looked.and(failed);
        }
        failed
    }

    /// Does what is next about a request.
    async fn advance(&mut self, request: &Request) -> Result<(), Failed> {
        let name = &request.certificate;
        let now = OffsetDateTime::now_utc();
        if now - request.at > OLDEST {
            let what = "no longer: it could not be done in seven days";
            self.events.about("asked", &name.to_string(), what);
            return self.end(request).await;
        }
        let target = ResourceName::new(&name.namespace, &request.secret);
        let secret = self.requests.secret(&target).await?;
        if !request.is_answered(secret.as_ref(), now) {
            // What another process took in hand, by another clock, is taken anew: nobody knows how far that one came.
            if self.handed.get(name) != Some(request) {
                let taken = request.take(secret.as_ref(), now);
                if self.requests.replace(request, Some(&taken)).await? {
                    self.hand(taken);
                }
            }
            return Ok(());
        }
        if request.drop_old_anchors && !self.is_trusted_alone(name, secret.as_ref()).await? {
            if self.dropping.insert(name.clone()) {
                let what = "for an end of the trust in its old anchors";
                self.events.about("asked", &name.to_string(), what);
            }
            // Its new certificate is stored, and what stores it serves it before it hears of this. Said again until it is
            // seen in the store: a runner that began anew meanwhile may have known of no anchor yet, and where there is one
            // anchor there is nothing to drop.
            self.handle.drop_old_anchors(name.clone());
            return Ok(());
        }
        self.end(request).await
    }

    fn hand(&mut self, request: Request) {
        let name = request.certificate.clone();
        let what = match request.old_key {
            Some(_) => "for a new certificate with a new key",
            None => "for a new certificate",
        };
        self.events.about("asked", &name.to_string(), what);
        match request.old_key {
            Some(_) => self.handle.rekey(name.clone()),
            None => self.handle.renew(name.clone()),
        };
        self.handed.insert(name, request);
    }

    async fn end(&mut self, request: &Request) -> Result<(), Failed> {
        self.requests.replace(request, None).await?;
        self.handed.remove(&request.certificate);
        self.dropping.remove(&request.certificate);
        Ok(())
    }
}
