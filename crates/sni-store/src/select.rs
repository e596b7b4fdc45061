//! The rule, alone: of the certificates that match a name, the one to serve.
//!
//! Lists come ranked ([`SelectionPolicy::rank`]) from the index, so that choosing is a walk that nearly
//! always ends at the first element.

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::entry::{Entry, Source};
use crate::index::Candidates;
use crate::pattern::Pattern;
use crate::scheme::SchemeMask;
use crate::server_name::Wanted;

/// Which of the matching certificates is the best one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SelectionPolicy {
    /// In this order: usable with the client's signature schemes, currently valid (with none valid, the
    /// one that expires last), an exact name before a wildcard, the last identifier in alphabetical
    /// order; between equals the later start of validity, the greater fingerprint, the greater id.
    ///
    /// Names follow RFC 9525: no common names, one wildcard label. An IP address as server name means
    /// the certificate's addresses, never a wildcard.
    #[default]
    Best,
    /// Traefik's documentation to the letter: of the matching certificates the last identifier in
    /// alphabetical order, where obtained ACME certificates come before expired ones and those before
    /// provided ones (the fallback order of its ACME page). Neither validity nor the client's schemes
    /// are asked for.
    ///
    /// Names match as in Traefik 3.7: common names count, any element may equal the name, and `*.`
    /// stands for the first label of whatever was asked for. Of two equal identifiers Traefik keeps the
    /// one it loaded first, in an order it leaves open; here that is the lower entry id.
    Traefik,
}

impl SelectionPolicy {
    /// Whether a certificate's name covers a server name.
    ///
    /// Under `Traefik` the pattern is a whole identifier (elements separated by commas), and both sides
    /// are compared as they are: the store has lower-cased them before.
    ///
    /// ```
    /// use certwright_sni_store::SelectionPolicy::{Best, Traefik};
    /// assert!(Best.matches("*.example.com", "www.example.com"));
    /// assert!(Traefik.matches("a.test,*.com", "example.com"));
    /// assert!(!Best.matches("*.com", "example.com"));
    /// ```
    pub fn matches(self, pattern: &str, server_name: &str) -> bool {
        match self {
            Self::Best => pattern
                .parse::<Pattern>()
                .is_ok_and(|pattern| pattern.matches(server_name)),
            Self::Traefik => {
                let rest = server_name.find('.').map_or("", |dot| &server_name[dot..]);
                pattern.split(',').any(|element| {
                    element == server_name
                        || element.trim_end_matches('.').strip_prefix('*') == Some(rest)
                })
            }
        }
    }

    /// Best first, as far as neither the client nor the clock has a say.
    pub(crate) fn rank<T>(self, a: &Entry<T>, b: &Entry<T>) -> Ordering {
        match self {
            Self::Best => {
                let key = |e: &Entry<T>| (e.valid_from(), e.fingerprint().copied());
                let last_identifier = b.identifier().cmp(a.identifier());
                last_identifier
                    .then_with(|| key(b).cmp(&key(a)))
                    .then_with(|| b.id().cmp(a.id()))
            }
            Self::Traefik => (a.source().cmp(&b.source()))
                .then_with(|| b.identifier().cmp(a.identifier()))
                .then_with(|| a.id().cmp(b.id())),
        }
    }

    /// What is served out of the candidates found under a name and under its wildcard.
    #[inline]
    pub(crate) fn select<'s, T>(
        self,
        exact: Option<&'s Candidates<T>>,
        wildcard: Option<&'s Candidates<T>>,
        wanted: &Wanted<'_>,
        query: &Query<'_>,
    ) -> Option<Selection<'s, T>> {
        if exact.is_none()
            && let Some((payload, entry)) = wildcard.and_then(|found| found.at_once(query))
        {
            return Some(Selection::served(payload, entry, Match::Wildcard));
        }
        if exact.is_none() && wildcard.is_none() {
            return None;
        }
        let matching = Matching::new(exact, wildcard);
        let chosen = self.choose(&matching, wanted, query)?;
        Some(Selection {
            payload: chosen.entry.payload(),
            entry: Some(chosen.entry),
            matched: chosen.matched(),
            usable: chosen.usable,
            valid: chosen.valid,
        })
    }

    /// The entry to serve out of those that match.
    #[inline]
    fn choose<'s, T>(
        self,
        matching: &Matching<'s, T>,
        wanted: &Wanted<'_>,
        query: &Query<'_>,
    ) -> Option<Chosen<'s, T>> {
        let exact = Chosen::candidates(matching.exact, false, wanted, query);
        let wildcard = Chosen::candidates(matching.wildcard, true, wanted, query);
        match self {
            Self::Best => best(exact.chain(wildcard)),
            Self::Traefik => traefik(traefik_first(exact), traefik_first(wildcard)),
        }
    }
}

/// What a client asked for, and when.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) schemes: SchemeMask,
    pub(crate) local_ip: Option<IpAddr>,
    /// `None`: nobody knows, validity is not considered.
    pub(crate) now: Option<i64>,
    pub(crate) strict: bool,
}

impl<'a> Query<'a> {
    /// A client that sent the server name `name` (empty: none) at the instant `now`.
    ///
    /// The name may be any bytes: what no certificate can cover matches none.
    pub fn new<N: AsRef<[u8]> + ?Sized>(name: &'a N, now: OffsetDateTime) -> Self {
        Self::at_unix_time(name.as_ref(), Some(now.unix_timestamp()))
    }

    /// Asks on behalf of a client that accepts these signature schemes only; any, unless said.
    #[must_use]
    pub fn with_schemes(mut self, schemes: SchemeMask) -> Self {
        self.schemes = schemes;
        self
    }

    /// Says to which local address the client connected, for clients that send no name.
    #[must_use]
    pub fn at_address(mut self, local: IpAddr) -> Self {
        self.local_ip = Some(local);
        self
    }

    /// Never answers with the default entry (Traefik's `sniStrict`).
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Takes every certificate for valid, for a caller whose clock failed.
    #[must_use]
    pub fn ignoring_validity(mut self) -> Self {
        self.now = None;
        self
    }

    pub(crate) fn at_unix_time(name: &'a [u8], now: Option<i64>) -> Self {
        Self {
            name,
            schemes: SchemeMask::ALL,
            local_ip: None,
            now,
            strict: false,
        }
    }
}

/// How a selected certificate matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Match {
    /// None matched; this is the default entry.
    Default,
    /// By the very name or address.
    Exact,
    /// By a wildcard.
    Wildcard,
}

/// The answer to a [`Query`], borrowed from the snapshot.
pub struct Selection<'s, T> {
    pub(crate) payload: &'s Arc<T>,
    pub(crate) entry: Option<&'s Entry<T>>,
    pub(crate) matched: Match,
    pub(crate) usable: bool,
    pub(crate) valid: bool,
}

impl<'s, T> Selection<'s, T> {
    /// An entry the client can use, and that is valid.
    #[inline]
    pub(crate) fn served(payload: &'s Arc<T>, entry: &'s Entry<T>, matched: Match) -> Self {
        Self {
            payload,
            entry: Some(entry),
            matched,
            usable: true,
            valid: true,
        }
    }

    /// What to serve.
    pub fn payload(&self) -> &'s Arc<T> {
        self.payload
    }

    /// The selected entry; `None` for the default.
    pub fn entry(&self) -> Option<&'s Entry<T>> {
        self.entry
    }

    /// How it matches.
    pub fn matched(&self) -> Match {
        self.matched
    }

    /// Whether the client accepts a scheme this key can sign with. If not, nothing better matched and
    /// the handshake will fail.
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// Whether the certificate is within its validity. If not, nothing better matched.
    pub fn valid(&self) -> bool {
        self.valid
    }
}

impl<T> std::fmt::Debug for Selection<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection")
            .field("entry", &self.entry)
            .field("matched", &self.matched)
            .field("usable", &self.usable)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

/// The entries that match a name, each list ranked.
pub(crate) struct Matching<'s, T> {
    pub(crate) exact: &'s [Arc<Entry<T>>],
    pub(crate) wildcard: &'s [Arc<Entry<T>>],
}

impl<'s, T> Matching<'s, T> {
    pub(crate) fn new(
        exact: Option<&'s Candidates<T>>,
        wildcard: Option<&'s Candidates<T>>,
    ) -> Self {
        Self {
            exact: exact.map_or(&[], Candidates::as_slice),
            wildcard: wildcard.map_or(&[], Candidates::as_slice),
        }
    }
}

/// A candidate with what the client and the clock say about it.
pub(crate) struct Chosen<'s, T> {
    pub(crate) entry: &'s Arc<Entry<T>>,
    pub(crate) wildcard: bool,
    pub(crate) usable: bool,
    pub(crate) valid: bool,
}

impl<'s, T> Chosen<'s, T> {
    #[inline]
    pub(crate) fn new(entry: &'s Arc<Entry<T>>, wildcard: bool, query: &Query<'_>) -> Self {
        Self {
            entry,
            wildcard,
            usable: entry.schemes().intersects(query.schemes),
            valid: query
                .now
                .is_none_or(|now| entry.valid_from() <= now && now <= entry.valid_until()),
        }
    }

    pub(crate) fn matched(&self) -> Match {
        if self.wildcard {
            Match::Wildcard
        } else {
            Match::Exact
        }
    }

    fn candidates(
        list: &'s [Arc<Entry<T>>],
        wildcard: bool,
        wanted: &Wanted<'_>,
        query: &Query<'_>,
    ) -> impl Iterator<Item = Self> {
        list.iter()
            .filter(|entry| !entry.excludes(wanted.exact))
            .map(move |entry| Self::new(entry, wildcard, query))
    }

    /// Greater is better; equals are decided by rank. An invalid one is the better the longer it lasted.
    fn standing(&self) -> (bool, bool, i64) {
        let lasts = if self.valid {
            i64::MAX
        } else {
            self.entry.valid_until()
        };
        (self.usable, self.valid, lasts)
    }

    /// Traefik's fallback order: ACME, expired ACME, provided.
    pub(crate) fn fallback_class(&self) -> u8 {
        match (self.entry.source(), self.valid) {
            (Source::Acme, true) => 2,
            (Source::Acme, false) => 1,
            (Source::Provided, _) => 0,
        }
    }
}

/// The candidates come exact ones first, each kind ranked.
fn best<'s, T>(candidates: impl Iterator<Item = Chosen<'s, T>>) -> Option<Chosen<'s, T>> {
    let mut best: Option<Chosen<'s, T>> = None;
    for candidate in candidates {
        if candidate.usable && candidate.valid {
            return Some(candidate);
        }
        if best
            .as_ref()
            .is_none_or(|best| candidate.standing() > best.standing())
        {
            best = Some(candidate);
        }
    }
    best
}

/// The first of the best class within one ranked list, which has ACME certificates in front.
fn traefik_first<'s, T>(
    mut candidates: impl Iterator<Item = Chosen<'s, T>>,
) -> Option<Chosen<'s, T>> {
    let first = candidates.next()?;
    if first.fallback_class() != 1 {
        return Some(first);
    }
    let fresh = candidates
        .take_while(|candidate| candidate.fallback_class() > 0)
        .find(|candidate| candidate.fallback_class() == 2);
    Some(fresh.unwrap_or(first))
}

fn traefik<'s, T>(
    exact: Option<Chosen<'s, T>>,
    wildcard: Option<Chosen<'s, T>>,
) -> Option<Chosen<'s, T>> {
    let (Some(a), Some(b)) = (&exact, &wildcard) else {
        return exact.or(wildcard);
    };
    let key = |chosen: &Chosen<'s, T>| {
        (
            chosen.fallback_class(),
            chosen.entry.identifier(),
            Reverse(chosen.entry.id()),
        )
    };
    if key(a) >= key(b) { exact } else { wildcard }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traefiks_matcher() {
        let table = [
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", false),
            ("*.*.a.test", "c.b.a.test", false),
            ("c.*.a.test", "c.b.a.test", false),
            ("w*.a.test", "www.a.test", false),
            ("*.a.test.", "b.a.test", true),
            ("a.test.", "a.test", false),
            ("a.test.", "a.test.", true),
            ("a.test", "a.test.", false),
            ("*", "localhost", true),
            ("*", "a.test", false),
            ("*.*", "a.test", false),
            ("*.test", "a.test", true),
            ("*.a.test", ".a.test", true),
            ("*.a.test", "*.a.test", true),
            ("*.a.test", "_x.a.test", true),
            ("*.0.2.7", "192.0.2.7", true),
            ("A.test", "a.test", false),
            ("", "", true),
            ("", "a", false),
            ("...", "a.test", false),
            ("x.test,*.a.test", "b.a.test", true),
            ("a.test, b.test", "b.test", false),
            ("a.test,,b.test", "", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(
                SelectionPolicy::Traefik.matches(pattern, name),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
