//! Why this certificate: every candidate for a client, and what decided against the others.

use std::collections::HashSet;
use std::fmt;

use time::{OffsetDateTime, PrimitiveDateTime};

use crate::entry::{Entry, EntryId, Source};
use crate::scheme::SchemeMask;
use crate::select::{Chosen, Match, Query, Selection, SelectionPolicy};
use crate::server_name::{Buffer, Wanted};
use crate::snapshot::Snapshot;

impl<T> Snapshot<T> {
    /// What [`select`](Self::select) answers, and why. Allocates; meant for people.
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        let selected = self.select(query);
        let winner = selected.as_ref().and_then(Selection::entry).map(Entry::id);
        let mut buffer = Buffer::new();
        let wanted = Wanted::new(self.policy, query, &mut buffer);
        let mut chosen = Vec::new();
        let mut excluded = Vec::new();
        if let Some(wanted) = &wanted {
            let matching = self.matching(wanted);
            let exact = matching.exact.iter().map(|entry| (entry, false));
            let wildcard = matching.wildcard.iter().map(|entry| (entry, true));
            for (entry, wildcard) in exact.chain(wildcard) {
                let candidate = Chosen::new(entry, wildcard, query);
                if entry.excludes(wanted.exact) {
                    excluded.push(candidate);
                } else {
                    chosen.push(candidate);
                }
            }
        }
        let won = chosen
            .iter()
            .find(|candidate| Some(candidate.entry.id()) == winner);
        let mut candidates = Vec::new();
        // An entry may match by name and by wildcard; the better way, which comes first, is told.
        let mut told = HashSet::new();
        for candidate in &chosen {
            if told.insert(candidate.entry.id()) {
                let lost = won
                    .filter(|won| won.entry.id() != candidate.entry.id())
                    .map(|won| decisive(self.policy, won, candidate, query));
                candidates.push(Candidate::new(candidate, lost));
            }
        }
        for candidate in &excluded {
            if told.insert(candidate.entry.id()) {
                candidates.push(Candidate::new(candidate, Some(Reason::Excluded)));
            }
        }
        // The winner first, the others in the order they were looked at.
        candidates.sort_by_key(|candidate| candidate.lost.is_some());
        Explanation {
            name: wanted.map(|wanted| String::from_utf8_lossy(wanted.exact).into_owned()),
            policy: self.policy,
            generation: self.generation,
            outcome: selected.map(|selected| selected.matched()),
            candidates,
        }
    }
}

/// How a selection came about. `Display` tells it line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The name looked up: lower-case, or the local address; `None` if what the client sent can match
    /// nothing.
    pub name: Option<String>,
    /// The store's policy.
    pub policy: SelectionPolicy,
    /// The snapshot's generation.
    pub generation: u64,
    /// What is served; `None` for nothing.
    pub outcome: Option<Match>,
    /// Every entry that matches, the winner first.
    pub candidates: Vec<Candidate>,
}

/// An entry that matches the name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The entry.
    pub id: EntryId,
    /// What it is ordered by.
    pub identifier: String,
    /// How it matches.
    pub matched: Match,
    /// Why it was not selected; `None` for the winner.
    pub lost: Option<Reason>,
}

impl Candidate {
    fn new<T>(chosen: &Chosen<'_, T>, lost: Option<Reason>) -> Self {
        Self {
            id: chosen.entry.id().clone(),
            identifier: chosen.entry.identifier().to_owned(),
            matched: chosen.matched(),
            lost,
        }
    }
}

/// The first thing the winner is better at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It has the name among its excluded ones.
    Excluded,
    /// It has expired.
    Expired {
        /// Last second of validity.
        until: OffsetDateTime,
    },
    /// Neither is valid, and the winner lasts longer.
    ExpiresEarlier {
        /// Last second of validity.
        until: OffsetDateTime,
        /// The winner's.
        winner: OffsetDateTime,
    },
    /// Everything else is equal and the winner has the greater fingerprint.
    Fingerprint,
    /// Everything else is equal and the winner has the greater id (under Traefik's policy the lower one).
    Id,
    /// Its identifier comes first in alphabetical order; the last one wins.
    Identifier {
        /// The winner's.
        winner: String,
    },
    /// It becomes valid later.
    NotYetValid {
        /// First second of validity.
        from: OffsetDateTime,
    },
    /// It has become valid earlier than the winner.
    OlderStart {
        /// First second of validity.
        from: OffsetDateTime,
        /// The winner's.
        winner: OffsetDateTime,
    },
    /// The client accepts none of the schemes its key signs with.
    Schemes {
        /// What the key signs with.
        key: SchemeMask,
        /// What the client accepts.
        client: SchemeMask,
    },
    /// The winner is an ACME certificate, which comes before expired ones and those before provided ones.
    Source,
    /// It matches by wildcard, the winner by name.
    Wildcard,
}

/// What made `winner` beat `loser`: the policies' rules once more, as a person would check them.
fn decisive<T>(
    policy: SelectionPolicy,
    winner: &Chosen<'_, T>,
    loser: &Chosen<'_, T>,
    query: &Query<'_>,
) -> Reason {
    let (w, l) = (winner.entry, loser.entry);
    let identifier = || Reason::Identifier {
        winner: w.identifier().to_owned(),
    };
    let same_identifier = w.identifier() == l.identifier();
    match policy {
        SelectionPolicy::Best => {
            if winner.usable && !loser.usable {
                Reason::Schemes {
                    key: l.schemes(),
                    client: query.schemes,
                }
            } else if winner.valid && !loser.valid {
                match query.now {
                    Some(now) if now < l.valid_from() => Reason::NotYetValid {
                        from: instant(l.valid_from()),
                    },
                    _ => Reason::Expired {
                        until: instant(l.valid_until()),
                    },
                }
            } else if !winner.valid && w.valid_until() != l.valid_until() {
                Reason::ExpiresEarlier {
                    until: instant(l.valid_until()),
                    winner: instant(w.valid_until()),
                }
            } else if loser.wildcard && !winner.wildcard {
                Reason::Wildcard
            } else if !same_identifier {
                identifier()
            } else if w.valid_from() != l.valid_from() {
                Reason::OlderStart {
                    from: instant(l.valid_from()),
                    winner: instant(w.valid_from()),
                }
            } else if w.fingerprint() != l.fingerprint() {
                Reason::Fingerprint
            } else {
                Reason::Id
            }
        }
        SelectionPolicy::Traefik => {
            if winner.fallback_class() != loser.fallback_class() {
                match l.source() {
                    Source::Acme => Reason::Expired {
                        until: instant(l.valid_until()),
                    },
                    Source::Provided => Reason::Source,
                }
            } else if !same_identifier {
                identifier()
            } else {
                Reason::Id
            }
        }
    }
}

/// The farthest instants stand for unlimited ones.
fn instant(second: i64) -> OffsetDateTime {
    let farthest = if second < 0 {
        PrimitiveDateTime::MIN
    } else {
        PrimitiveDateTime::MAX
    };
    OffsetDateTime::from_unix_timestamp(second).unwrap_or(farthest.assume_utc())
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.name.as_deref() {
            None => "a name no certificate can have",
            Some("") => "no name",
            Some(name) => name,
        };
        write!(
            f,
            "{name}, policy {:?}, generation {}: ",
            self.policy, self.generation
        )?;
        let winner = self.candidates.iter().find(|c| c.lost.is_none());
        match (self.outcome, winner) {
            (None, _) => f.write_str("nothing is served")?,
            (Some(_), Some(winner)) => write!(f, "{} is served", winner.id)?,
            (Some(_), None) => f.write_str("the default is served")?,
        }
        for candidate in &self.candidates {
            let how = match candidate.matched {
                Match::Wildcard => "by wildcard",
                Match::Default | Match::Exact => "by name",
            };
            write!(
                f,
                "\n  {} [{}] matches {how}",
                candidate.id, candidate.identifier
            )?;
            match &candidate.lost {
                None => f.write_str(", wins")?,
                Some(reason) => write!(f, ", loses: {reason}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded => f.write_str("the name is among its excluded ones"),
            Self::Expired { until } => write!(f, "expired at {until}"),
            Self::ExpiresEarlier { until, winner } => write!(
                f,
                "neither is valid, and it expires at {until}, the winner at {winner}"
            ),
            Self::Fingerprint => f.write_str("equal but for the fingerprint, which is lower"),
            Self::Id => f.write_str("equal but for the id"),
            Self::Identifier { winner } => {
                write!(f, "its identifier sorts before {winner:?}")
            }
            Self::NotYetValid { from } => write!(f, "not valid before {from}"),
            Self::OlderStart { from, winner } => {
                write!(f, "valid since {from}, the winner since {winner}")
            }
            Self::Schemes { key, client } => {
                write!(f, "its key signs with {key}, the client accepts {client}")
            }
            Self::Source => f.write_str("it is provided, the winner comes from ACME"),
            Self::Wildcard => f.write_str("the winner matches by name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use crate::{CertStore, ChangeSet, DefaultEntry, Entry, Query, SchemeMask, SelectionPolicy};

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    #[test]
    fn says_it_in_words() {
        let store =
            CertStore::with_default(SelectionPolicy::Best, DefaultEntry::Given(Arc::new(())));
        let entry = |id: &str, names: &[&str]| {
            Entry::new(id, names.iter().copied(), Arc::new(())).with_validity(at(0)..=at(100))
        };
        let rsa = SchemeMask::from_code_points([0x0804]);
        let ecdsa = SchemeMask::from_code_points([0x0403]);
        store.apply(ChangeSet::from_iter([
            entry("best", &["www.a.test", "x.a.test"]),
            entry("first", &["www.a.test"]),
            entry("wild", &["*.a.test"]),
            entry("old", &["www.a.test"]).with_validity(at(0)..=at(9)),
            entry("new", &["www.a.test"]).with_validity(at(11)..=at(99)),
            entry("rsa", &["www.a.test"]).with_schemes(rsa),
            entry("not-www", &["*.a.test"]).with_excluded(["www.a.test".parse().unwrap()]),
        ]));
        let query = Query::new("WWW.a.test", at(10)).with_schemes(ecdsa);
        assert_eq!(
            store.current().explain(&query).to_string(),
            "www.a.test, policy Best, generation 1: best is served
  best [www.a.test,x.a.test] matches by name, wins
  new [www.a.test] matches by name, loses: not valid before 1970-01-01 0:00:11.0 +00:00:00
  rsa [www.a.test] matches by name, loses: its key signs with rsa_pss_rsae_sha256, the client accepts ecdsa_secp256r1_sha256
  old [www.a.test] matches by name, loses: expired at 1970-01-01 0:00:09.0 +00:00:00
  first [www.a.test] matches by name, loses: its identifier sorts before \"www.a.test,x.a.test\"
  wild [*.a.test] matches by wildcard, loses: the winner matches by name
  not-www [*.a.test] matches by wildcard, loses: the name is among its excluded ones"
        );
        let unknown = store.current().explain(&Query::new("b.test", at(10)));
        assert_eq!(
            unknown.to_string(),
            "b.test, policy Best, generation 1: the default is served"
        );
        let never = store
            .current()
            .explain(&Query::new(b"\xff", at(10)).strict());
        assert_eq!(
            never.to_string(),
            "a name no certificate can have, policy Best, generation 1: nothing is served"
        );
    }
}
