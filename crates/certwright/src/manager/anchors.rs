//! Which trust anchors a `trust-bundle.pem` holds: everything that is below one CA trusts the same.

use core::fmt;
use core::str::FromStr;
use std::collections::{BTreeMap, BTreeSet};

use certwright_issuance::Certificate;
use time::{Duration, OffsetDateTime};

use crate::annotation::hex;
use crate::inventory::ResourceName;

/// Key of the anchors that verify the certificates below the same CA: the one in `ca.crt`, and while a CA is
/// replaced, the one before.
pub const TRUST_BUNDLE: &str = "trust-bundle.pem";

/// The anchors of every group of certificates below one CA.
///
/// An anchor is in the bundle from the moment a CA has it, before anything is issued below, until it has been of no
/// use for a while: long enough for whoever shows an old certificate to have read the new one.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    groups: BTreeMap<ResourceName, Vec<Anchor>>,
    /// By Secret: its group and its anchor.
    members: BTreeMap<ResourceName, (ResourceName, Vec<u8>)>,
    /// By group: what somebody dropped, and nobody brings back but the highest CA itself.
    dropped: BTreeMap<ResourceName, BTreeSet<Dropped>>,
}

/// What an anchor that was dropped is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dropped {
    /// Of its certificate in PEM.
    digest: String,
    /// In Unix seconds: nobody believes it any more.
    ends: i64,
}

impl Dropped {
    fn of(pem: &[u8]) -> Option<Self> {
        let certificate = Certificate::read_pem(pem).ok()?.into_iter().next()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pem);
        Some(Self {
            digest: hex(digest.as_ref()),
            ends: certificate.not_after().unix_timestamp(),
        })
    }

    pub(super) fn ends(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.ends).ok()
    }
}

/// As it is written down: the digest, a dot, and the Unix time at which it ends.
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.digest, self.ends)
    }
}

impl FromStr for Dropped {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (digest, ends) = text.split_once('.').ok_or(())?;
        Ok(Self {
            digest: digest.to_owned(),
            ends: ends.parse().map_err(|_| ())?,
        })
    }
}

#[derive(Debug)]
struct Anchor {
    pem: Vec<u8>,
    users: usize,
    /// When it came into the bundle.
    since: OffsetDateTime,
    /// Since when nothing leads to it.
    unused: Option<OffsetDateTime>,
}

impl Anchors {
    /// A Secret is in the group of `top` with this anchor; whether the group's bundle changed.
    pub(super) fn join(
        &mut self,
        top: &ResourceName,
        secret: &ResourceName,
        anchor: &[u8],
        now: OffsetDateTime,
    ) -> bool {
        let same = |(group, pem): &(ResourceName, Vec<u8>)| group == top && pem == anchor;
        if self.members.get(secret).is_some_and(same) {
            return false;
        }
        let pem = match self.find(top, anchor) {
            Some(_) => anchor.to_vec(),
            // One certificate has many texts.
            None => match normal(anchor) {
                Some(pem) => pem,
                None => return self.leave(secret, now),
            },
        };
        if self.is_dropped(top, &pem) {
            if secret != top {
                return self.leave(secret, now);
            }
            // Somebody gave the CA the old one back: what it signs needs it.
            if let (Some(all), Some(one)) = (self.dropped.get_mut(top), Dropped::of(&pem)) {
                all.remove(&one);
            }
        }
        let left = self.leave(secret, now);
        self.members
            .insert(secret.clone(), (top.clone(), anchor.to_vec()));
        let group = self.groups.entry(top.clone()).or_default();
        match group.iter_mut().find(|known| known.pem == pem) {
            Some(known) => {
                known.users += 1;
                known.unused = None;
                left
            }
            None => {
                let new = Anchor {
                    pem,
                    users: 1,
                    since: now,
                    unused: None,
                };
                group.insert(0, new);
                true
            }
        }
    }

    /// Forgets everything but what was dropped.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.members.clear();
    }

    /// Whether the anchor of a Secret is known.
    pub(super) fn is_member(&self, secret: &ResourceName) -> bool {
        self.members.contains_key(secret)
    }

    /// Whether an anchor is in the bundle of a group.
    pub(super) fn knows(&self, top: &ResourceName, anchor: &[u8]) -> bool {
        let normal = || normal(anchor).is_some_and(|pem| self.find(top, &pem).is_some());
        self.find(top, anchor).is_some() || normal()
    }

    /// Keeps what an earlier bundle held, for a while.
    pub(super) fn remember(&mut self, top: &ResourceName, bundle: &[u8], now: OffsetDateTime) {
        let anchors = Certificate::read_pem(bundle).unwrap_or_default();
        for anchor in anchors.iter().filter(|anchor| anchor.not_after() > now) {
            let pem = anchor.to_pem().into_bytes();
            if self.is_dropped(top, &pem) {
                continue;
            }
            let group = self.groups.entry(top.clone()).or_default();
            match group.iter_mut().find(|known| known.pem == pem) {
                Some(known) => known.since = OffsetDateTime::UNIX_EPOCH,
                None => group.push(Anchor {
                    pem,
                    users: 0,
                    since: OffsetDateTime::UNIX_EPOCH,
                    unused: Some(now),
                }),
            }
        }
    }

    /// A Secret is gone, or has no anchor any more. Never changes a bundle at once.
    pub(super) fn leave(&mut self, secret: &ResourceName, now: OffsetDateTime) -> bool {
        let Some((top, anchor)) = self.members.remove(secret) else {
            return false;
        };
        let pem = match self.find(&top, &anchor) {
            Some(_) => anchor,
            None => normal(&anchor).unwrap_or_default(),
        };
        let known = self.groups.get_mut(&top);
        if let Some(known) = known.and_then(|group| group.iter_mut().find(|a| a.pem == pem)) {
            known.users = known.users.saturating_sub(1);
            if known.users == 0 {
                known.unused = Some(now);
            }
        }
        false
    }

    /// Drops what has been of no use for `grace`; the groups whose bundle changed.
    pub(super) fn drop_unused(
        &mut self,
        now: OffsetDateTime,
        grace: Duration,
    ) -> Vec<ResourceName> {
        let mut changed = Vec::new();
        for (top, group) in &mut self.groups {
            let before = group.len();
            group.retain(|anchor| anchor.gone_at(grace).is_none_or(|gone| now < gone));
            if group.len() != before {
                changed.push(top.clone());
            }
        }
        self.groups.retain(|_, group| !group.is_empty());
        self.dropped.retain(|_, all| {
            all.retain(|one| one.ends().is_some_and(|end| now < end));
            !all.is_empty()
        });
        changed
    }

    /// Drops every anchor of a group but the one that its highest CA has; whether there was another. Who still shows
    /// one that is dropped does not bring it back.
    pub(super) fn drop_others(&mut self, top: &ResourceName) -> bool {
        let Some((_, current)) = self.members.get(top) else {
            return false;
        };
        let current = normal(current);
        let Some(group) = self.groups.get_mut(top) else {
            return false;
        };
        let others = group.extract_if(.., |anchor| Some(&anchor.pem) != current.as_ref());
        let others: Vec<_> = others.collect();
        let any = !others.is_empty();
        let marks = others.iter().filter_map(|anchor| Dropped::of(&anchor.pem));
        self.dropped.entry(top.clone()).or_default().extend(marks);
        self.members
            .retain(|_, (group, anchor)| !any || group != top || normal(anchor) == current);
        any
    }

    /// What was dropped in a group.
    pub(super) fn dropped(&self, top: &ResourceName) -> impl Iterator<Item = &Dropped> {
        self.dropped.get(top).into_iter().flatten()
    }

    /// The groups in which something was dropped.
    pub(super) fn groups_with_dropped(&self) -> impl Iterator<Item = &ResourceName> {
        let groups = self.dropped.iter();
        groups.filter_map(|(top, all)| (!all.is_empty()).then_some(top))
    }

    /// Another process dropped these. What the highest CA has is not among them: it was given that back since.
    pub(super) fn drop_too(&mut self, top: &ResourceName, all: impl IntoIterator<Item = Dropped>) {
        let current = self.members.get(top).and_then(|(_, pem)| normal(pem));
        let current = current.and_then(|pem| Dropped::of(&pem));
        let all = all.into_iter().filter(|one| Some(one) != current.as_ref());
        self.dropped.entry(top.clone()).or_default().extend(all);
        let Some(dropped) = self.dropped.get(top) else {
            return;
        };
        let is_good = |pem: &[u8]| Dropped::of(pem).is_none_or(|one| !dropped.contains(&one));
        if let Some(group) = self.groups.get_mut(top) {
            group.retain(|anchor| is_good(&anchor.pem));
        }
        self.members.retain(|_, (group, anchor)| {
            group != top || normal(anchor).is_none_or(|pem| is_good(&pem))
        });
    }

    /// When [`drop_unused`](Self::drop_unused) drops something next.
    pub(super) fn next_drop(&self, grace: Duration) -> Option<OffsetDateTime> {
        let anchors = self.groups.values().flatten();
        anchors.filter_map(|anchor| anchor.gone_at(grace)).min()
    }

    /// The bundle of a group, the newest anchor first.
    pub(super) fn bundle(&self, top: &ResourceName) -> Option<Vec<u8>> {
        let group = self.groups.get(top)?;
        let anchors: Vec<&[u8]> = group.iter().map(|anchor| &*anchor.pem).collect();
        Some(anchors.concat())
    }

    /// Since when the youngest anchor of a group is in its bundle, if there are others.
    pub(super) fn overlap_since(&self, top: &ResourceName) -> Option<OffsetDateTime> {
        let group = self.groups.get(top).filter(|group| group.len() > 1)?;
        group.iter().map(|anchor| anchor.since).max()
    }

    fn is_dropped(&self, top: &ResourceName, pem: &[u8]) -> bool {
        let all = self.dropped.get(top).filter(|all| !all.is_empty());
        all.is_some_and(|all| Dropped::of(pem).is_some_and(|one| all.contains(&one)))
    }

    fn find(&self, top: &ResourceName, pem: &[u8]) -> Option<&Anchor> {
        self.groups.get(top)?.iter().find(|known| known.pem == pem)
    }
}

impl Anchor {
    fn gone_at(&self, grace: Duration) -> Option<OffsetDateTime> {
        self.unused.map(|since| since.saturating_add(grace))
    }
}

/// The first certificate of a text, as we write it.
fn normal(pem: &[u8]) -> Option<Vec<u8>> {
    let certificates = Certificate::read_pem(pem).ok()?;
    certificates
        .first()
        .map(|first| first.to_pem().into_bytes())
}
