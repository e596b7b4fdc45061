//! Closing connections whose time is over.

use core::error::Error;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::sync::{Arc, Weak};

use hyper::body::Body;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{FORGOTTEN_AFTER, Hosts, Pool};
use crate::rotation::Rotating;

impl<B> Pool<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Sees to it that the reaper looks at `instant` or earlier.
    pub(super) fn look_at(self: &Arc<Self>, hosts: &mut Hosts<B>, instant: Instant) {
        let is_at_work = hosts.reaper.as_ref().is_some_and(|it| !it.is_finished());
        match hosts.next_look {
            Some(next) if is_at_work && next >= Instant::now() => {
                if instant < next {
                    hosts.next_look = Some(instant);
                    self.wake.notify_one();
                }
            }
            // There is none, or the runtime it runs in has ended or stands still.
            _ => {
                hosts.next_look = Some(instant);
                let wake = Arc::clone(&self.wake);
                let reaper = reap(Arc::downgrade(self), wake, self.rotating.clone());
                let reaper = tokio::spawn(reaper).abort_handle();
                if let Some(late) = hosts.reaper.replace(reaper) {
                    late.abort();
                }
            }
        }
    }

    /// Closes what has ended; when to look again, or `None` if nothing is left.
    fn look(&self) -> Option<Instant> {
        let (now, generation) = (Instant::now(), self.generation());
        let mut hosts = self.lock();
        let mut next: Option<Instant> = None;
        hosts.by_name.retain(|_, host| {
            let is_over = |kept: &mut _| !self.is_usable(kept, now, generation);
            host.idle.retain_mut(|kept| !is_over(kept));
            host.shared.take_if(is_over);
            let is_empty = host.idle.is_empty() && host.shared.is_none();
            let forgotten = host.used + FORGOTTEN_AFTER;
            if is_empty && host.scouted.is_none() && forgotten <= now {
                return false;
            }
            let ends = host.idle.iter().chain(&host.shared);
            let look = ends.filter_map(|kept| self.ends(kept)).min();
            let look = look.unwrap_or(if is_empty && forgotten > now {
                forgotten
            } else {
                now + FORGOTTEN_AFTER
            });
            next = Some(next.map_or(look, |next| next.min(look)));
            true
        });
        hosts.next_look = next;
        next
    }
}

/// Looks whenever something may have ended, until the pool is gone or empty.
async fn reap<B>(pool: Weak<Pool<B>>, wake: Arc<Notify>, rotating: Option<Arc<Rotating>>)
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        let mut changed = pin!(
            rotating
                .as_ref()
                .map(|material| material.changed.notified())
        );
        if let Some(changed) = changed.as_mut().as_pin_mut() {
            // From here on no change is missed.
            changed.enable();
        }
        let Some(next) = pool.upgrade().and_then(|pool| pool.look()) else {
            return;
        };
        let (mut time, mut woken) = (pin!(sleep_until(next)), pin!(wake.notified()));
        poll_fn(|cx| {
            let mut is_due = time.as_mut().poll(cx).is_ready();
            is_due |= woken.as_mut().poll(cx).is_ready();
            if let Some(changed) = changed.as_mut().as_pin_mut() {
                is_due |= changed.poll(cx).is_ready();
            }
            match is_due {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
