//! The right to issue: asked for, had and lost.

use certwright_cert_model::TlsSecret;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{LEAD, Running};
use crate::inventory::ResourceName;
use crate::manager::with_causes;
use crate::run::Event;
use crate::run::unsaved::Unsaved;

impl Running {
    /// Asks for the right to issue, if it is time to.
    pub(super) async fn lead(&mut self) {
        if Instant::now() < self.asked_to_lead + LEAD {
            return;
        }
        let leading = self.ask_to_lead().await;
        if self.leading && !leading {
            self.step_down().await;
        }
        // Whoever led meanwhile may have written.
        let is_new = leading && !self.leading;
        if is_new || self.stale {
            let fresh = self.reload().await;
            if is_new && fresh {
                self.leading = true;
                (self.runner.listener)(&Event::Leading(true));
            }
        }
    }

    pub(super) async fn ask_to_lead(&mut self) -> bool {
        self.asked_to_lead = Instant::now();
        match self.runner.store.lead().await {
            Ok(leading) => {
                self.refused = None;
                leading
            }
            Err(error) => {
                let why = Some(with_causes(&error));
                if self.refused != why {
                    (self.runner.listener)(&Event::Store(&error));
                    self.refused = why;
                }
                false
            }
        }
    }

    /// The right to issue is lost: what is not stored will not be, by this process.
    pub(super) async fn step_down(&mut self) {
        self.leading = false;
        (self.runner.listener)(&Event::Leading(false));
        self.waiting.clear();
        self.jobs.abort_all();
        self.jobs = JoinSet::new();
        for (name, outcome) in core::mem::take(&mut self.untold) {
            self.ask_again(&name, &outcome);
        }
        self.stale = true;
        self.reload().await;
    }

    /// Begins anew with what is stored; whether that worked. Nothing is issued before.
    pub(super) async fn reload(&mut self) -> bool {
        let loaded = match self.runner.store.load().await {
            Ok(loaded) => loaded,
            Err(error) => {
                (self.runner.listener)(&Event::Store(&error));
                return false;
            }
        };
        self.stale = false;
        let (mut unreadable, mut all) = (Vec::new(), Vec::new());
        let copy = |name: &ResourceName| {
            let known = self.manager.secret(name);
            known.map(TlsSecret::clone_with_keys)
        };
        all.extend(self.given.iter().filter_map(copy));
        let unsaved = self.unsaved.names();
        for secret in loaded {
            match secret {
                Ok(secret) => all.push(secret),
                Err(error) => {
                    // What was read before is served on.
                    let known = (!unsaved.contains(&error.secret)).then(|| copy(&error.secret));
                    all.extend(known.flatten());
                    unreadable.push(error);
                }
            }
        }
        self.unsaved = Unsaved::default();
        for publisher in &mut self.runner.publishers {
            publisher.replace(&all.iter().collect::<Vec<_>>());
        }
        self.manager.reload(all);
        for error in unreadable {
            self.unreadable(&error);
        }
        true
    }
}
