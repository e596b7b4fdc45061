//! Proofs of control over a name (RFC 8555 section 8): what is shown where, and what
//! must be taken away again.

pub mod dns01;
pub mod http01;
mod others;
pub mod reach;
pub mod tls_alpn01;

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identifier::Identifier;
use crate::protocol::{AuthorizationState, ChallengeState, ChallengeStatus};

/// The kinds of challenges that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChallengeKind {
    /// A TXT record (RFC 8555 section 8.4), the only one for wildcards.
    #[serde(rename = "dns-01")]
    Dns01,
    /// A text over HTTP on port 80 (section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeKind {
    /// As the protocol writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    /// Whether it can prove control over this.
    pub fn can_prove(self, identifier: &Identifier) -> bool {
        match self {
            Self::Dns01 => matches!(identifier, Identifier::Dns(_)),
            Self::Http01 | Self::TlsAlpn01 => !identifier.is_wildcard(),
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ChallengeKind {
    type Err = UnknownChallenge;

    fn from_str(text: &str) -> Result<Self, UnknownChallenge> {
        let mut known = [Self::Dns01, Self::Http01, Self::TlsAlpn01].into_iter();
        let found = known.find(|kind| kind.as_str() == text);
        found.ok_or_else(|| UnknownChallenge {
            found: text.to_owned(),
        })
    }
}

/// A kind of challenge that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is none of dns-01, http-01 and tls-alpn-01")]
#[non_exhaustive]
pub struct UnknownChallenge {
    /// The text.
    pub found: String,
}

/// Which challenges an issuer may use, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Solvers {
    /// DNS-01, through a provider.
    pub dns01: Option<dns01::Dns01>,
    /// HTTP-01: somebody on port 80 asks [`http01::Http01`].
    pub http01: Option<Pause>,
    /// TLS-ALPN-01: somebody on port 443 is told through [`tls_alpn01::AlpnSink`].
    pub tls_alpn01: Option<Pause>,
    /// Looks, before an order, whether names lead here; nobody does by default.
    pub addresses: Option<reach::AddressCheck>,
    /// Which of them may prove what; all of them everything if `None`.
    pub rule: Option<Arc<dyn SolverRule>>,
}

/// Which kinds of challenges may prove which identifiers.
pub trait SolverRule: Send + Sync + fmt::Debug {
    /// Whether a challenge of this kind may prove control over this identifier.
    fn allows(&self, kind: ChallengeKind, identifier: &Identifier) -> bool;
}

/// How long to wait between showing an answer and telling the CA, for load balancers
/// that learn late (`delay` in Traefik).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause(pub Duration);

impl Solvers {
    /// HTTP-01 alone.
    pub fn http01() -> Self {
        Self {
            http01: Some(Pause::default()),
            ..Self::default()
        }
    }

    /// TLS-ALPN-01 alone.
    pub fn tls_alpn01() -> Self {
        Self {
            tls_alpn01: Some(Pause::default()),
            ..Self::default()
        }
    }

    /// DNS-01 alone.
    pub fn dns01(solver: dns01::Dns01) -> Self {
        Self {
            dns01: Some(solver),
            ..Self::default()
        }
    }

    /// The kinds there are, in the order they are tried: what needs no second party
    /// first.
    pub fn kinds(&self) -> impl Iterator<Item = ChallengeKind> {
        let alpn = self.tls_alpn01.map(|_| ChallengeKind::TlsAlpn01);
        let http = self.http01.map(|_| ChallengeKind::Http01);
        let dns = self.dns01.as_ref().map(|_| ChallengeKind::Dns01);
        [alpn, http, dns].into_iter().flatten()
    }

    /// Whether a challenge of this kind can prove control over this, and may.
    pub(crate) fn may_prove(&self, kind: ChallengeKind, identifier: &Identifier) -> bool {
        let rule = self.rule.as_ref();
        kind.can_prove(identifier) && rule.is_none_or(|rule| rule.allows(kind, identifier))
    }

    /// The challenge to answer for an authorization: the first kind that is set up,
    /// offered, fit for the identifier, and not known to have failed for it.
    pub(crate) fn choose<'a>(
        &self,
        authorization: &'a AuthorizationState,
        failed: Option<&BTreeSet<ChallengeKind>>,
    ) -> Option<&'a ChallengeState> {
        let usable = |kind: &ChallengeKind| {
            self.may_prove(*kind, &authorization.identifier)
                && !failed.is_some_and(|failed| failed.contains(kind))
        };
        let offered = |kind| {
            let mut offered = authorization.challenges.iter();
            offered.find(|one| one.kind == kind && one.status != ChallengeStatus::Invalid)
        };
        self.kinds().filter(usable).find_map(offered)
    }
}

/// What is shown for one challenge: written into the journal before it is shown, so that
/// whoever comes after a crash can take it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Receipt {
    /// A TXT record.
    #[serde(rename = "dns-01")]
    Dns01 {
        /// The record.
        #[serde(flatten)]
        record: dns01::TxtRecord,
        /// The issuer whose provider makes it, and removes it; empty if the journal is of a
        /// release that did not say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        issuer: String,
    },
    /// A text under a token.
    #[serde(rename = "http-01")]
    Http01 {
        /// The token.
        token: String,
        /// The key authorization, which is the whole answer.
        authorization: String,
    },
    /// A certificate for a server name.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01 {
        /// The server name: of an address its reverse-mapped name (RFC 8738 section 6).
        name: String,
        /// The key authorization; its digest goes into the certificate.
        authorization: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::AuthorizationStatus;

    fn offer(identifier: &str, kinds: &[ChallengeKind]) -> AuthorizationState {
        let challenge = |kind: &ChallengeKind| ChallengeState {
            kind: *kind,
            url: kind.to_string(),
            token: String::new(),
            status: ChallengeStatus::Pending,
            error: None,
        };
        AuthorizationState {
            identifier: identifier.parse().unwrap(),
            status: AuthorizationStatus::Pending,
            challenges: kinds.iter().map(challenge).collect(),
        }
    }

    #[test]
    fn the_first_that_can_prove_it() {
        use ChallengeKind::{Dns01, Http01, TlsAlpn01};
        let all = [Dns01, Http01, TlsAlpn01];
        let mut solvers = Solvers::http01();
        solvers.tls_alpn01 = Some(Pause::default());
        for (identifier, offered, failed, expected) in [
            ("a.test", &all[..], &[][..], Some(TlsAlpn01)),
            ("a.test", &all, &[TlsAlpn01], Some(Http01)),
            ("a.test", &all, &[TlsAlpn01, Http01], None),
            ("a.test", &[Http01], &[], Some(Http01)),
            ("a.test", &[Dns01], &[], None),
            ("*.a.test", &all, &[], None),
            ("192.0.2.1", &all, &[], Some(TlsAlpn01)),
        ] {
            let failed = failed.iter().copied().collect();
            let offer = offer(identifier, offered);
            let chosen = solvers.choose(&offer, Some(&failed));
            assert_eq!(
                chosen.map(|one| one.kind),
                expected,
                "{identifier} {failed:?}"
            );
        }
    }

    #[test]
    fn a_rule_leaves_some_out() {
        #[derive(Debug)]
        struct NotHttp;
        impl SolverRule for NotHttp {
            fn allows(&self, kind: ChallengeKind, identifier: &Identifier) -> bool {
                kind != ChallengeKind::Http01 || identifier.base() != "a.test"
            }
        }
        let mut solvers = Solvers::http01();
        solvers.rule = Some(Arc::new(NotHttp));
        for (identifier, expected) in [
            ("a.test", None),
            ("b.test", Some(ChallengeKind::Http01)),
            ("*.b.test", None),
        ] {
            let offer = offer(identifier, &[ChallengeKind::Http01]);
            let chosen = solvers.choose(&offer, None);
            assert_eq!(chosen.map(|one| one.kind), expected, "{identifier}");
        }
    }

    #[test]
    fn names_read_back() {
        for kind in [
            ChallengeKind::Dns01,
            ChallengeKind::Http01,
            ChallengeKind::TlsAlpn01,
        ] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("dns-02".parse::<ChallengeKind>().is_err());
    }
}
