//! Who the peer must be.

use core::fmt;

use certwright_cert_model::name::{DnsName, DnsPattern, SpiffeId, TrustDomain, Uri};
use rustls_pki_types::ServerName;

use crate::leaf::RawName;
use crate::peer_error::shown;

/// How the other side of a connection is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerPolicy {
    /// One of these names is in the certificate; the chain is always verified.
    PeerSans {
        /// The names, at least one.
        sans: Vec<PeerSan>,
        /// Whether the host name must fit as well.
        host_name: HostName,
    },
    /// The host name is in the certificate: rustls' own verifier, untouched.
    ServerName,
    /// The certificate is an X509-SVID of one of these identities.
    Spiffe(SpiffePolicy),
}

/// Whether a certificate must be valid for the host name besides carrying a peer name; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostName {
    /// It must.
    Checked,
    /// The peer names stand in for it.
    Replaced,
}

/// A subject alternative name a peer may identify itself by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerSan {
    /// A DNS name; a wildcard in the certificate stands for exactly one label (RFC 6125, 6.4.3).
    Dns(DnsPattern),
    /// A URI, compared byte for byte.
    Uri(Uri),
}

/// Which SPIFFE identities are accepted.
///
/// There is no default: accepting any identity of any known trust domain is [`SpiffePolicy::Any`], spelled
/// out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpiffePolicy {
    /// Every identity of every trust domain whose bundle is known.
    Any,
    /// Exactly these identities; an empty list accepts nobody.
    Ids(Vec<SpiffeId>),
    /// Every identity of this trust domain, and of no domain below it.
    TrustDomain(TrustDomain),
}

/// Who the peer proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerIdentity {
    /// The name of the policy that the certificate carries.
    San(PeerSan),
    /// The host name, or the transport's server name, that the certificate is valid for.
    ServerName(ServerName<'static>),
    /// The identity of an X509-SVID.
    Spiffe(SpiffeId),
}

/// The identity is genuine, but not one of those accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id} is not accepted here; accepted is {accepted}")]
#[non_exhaustive]
pub struct Unauthorized {
    /// The peer's identity.
    pub id: SpiffeId,
    /// Who would have been accepted.
    pub accepted: String,
}

impl SpiffePolicy {
    /// Whether a verified identity is accepted.
    ///
    /// # Errors
    ///
    /// It is not; the error says which are.
    pub fn authorize(&self, id: &SpiffeId) -> Result<(), Unauthorized> {
        let accepted = match self {
            Self::Any => true,
            Self::Ids(ids) => ids.contains(id),
            Self::TrustDomain(domain) => id.is_member_of(domain),
        };
        if accepted {
            return Ok(());
        }
        Err(Unauthorized {
            id: id.clone(),
            accepted: self.to_string(),
        })
    }
}

impl PeerSan {
    pub(crate) fn matches(&self, presented: RawName<'_>) -> bool {
        match (self, presented) {
            (Self::Uri(uri), RawName::Uri(presented)) => uri.as_str().as_bytes() == presented,
            (Self::Dns(pattern), RawName::Dns(presented)) => matches_dns(pattern, presented),
            _ => false,
        }
    }
}

/// A certificate's `*.example.com` stands for names one label longer; a bare `*` or `*.com` for none.
fn matches_dns(pattern: &DnsPattern, presented: &[u8]) -> bool {
    let same = |name: &DnsName, bytes: &[u8]| name.as_str().as_bytes().eq_ignore_ascii_case(bytes);
    let wildcard = presented.strip_prefix(b"*.");
    match (pattern, wildcard) {
        (DnsPattern::Exact(name), None) => same(name, presented),
        (DnsPattern::Exact(name), Some(base)) => {
            let parent = name.as_str().split_once('.').map(|(_, parent)| parent);
            base.contains(&b'.')
                && parent.is_some_and(|parent| parent.as_bytes().eq_ignore_ascii_case(base))
        }
        (DnsPattern::Wildcard(name), Some(base)) => same(name, base),
        (DnsPattern::Wildcard(_), None) => false,
    }
}

impl fmt::Display for PeerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerSans { sans, host_name } => {
                f.write_str("one of the names ")?;
                f.write_str(&shown(sans))?;
                match host_name {
                    HostName::Checked => f.write_str(", and the host name"),
                    HostName::Replaced => f.write_str(", whatever the host name"),
                }
            }
            Self::ServerName => f.write_str("the host name"),
            Self::Spiffe(policy) => policy.fmt(f),
        }
    }
}

impl fmt::Display for SpiffePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any SPIFFE ID of a known trust domain"),
            Self::Ids(ids) if ids.is_empty() => f.write_str("nobody (the list of IDs is empty)"),
            Self::Ids(ids) => f.write_str(&shown(ids)),
            Self::TrustDomain(domain) => write!(f, "any SPIFFE ID of trust domain {domain}"),
        }
    }
}

impl fmt::Display for PeerSan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS {name}"),
            Self::Uri(uri) => write!(f, "URI {uri}"),
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::San(san) => san.fmt(f),
            Self::ServerName(name) => write!(f, "host {}", name.to_str()),
            Self::Spiffe(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let (a, b) = ("spiffe://foo.test/A", "spiffe://bar.test/A");
        let ids =
            |ids: &[&str]| SpiffePolicy::Ids(ids.iter().map(|id| id.parse().unwrap()).collect());
        let domain = SpiffePolicy::TrustDomain("foo.test".parse().unwrap());
        for (policy, id, accepted) in [
            (SpiffePolicy::Any, a, true),
            (SpiffePolicy::Any, "spiffe://foo.test", true),
            (ids(&[]), a, false),
            (ids(&[b, a]), a, true),
            (ids(&["spiffe://foo.test"]), a, false),
            (ids(&[a]), "spiffe://foo.test/a", false),
            (ids(&[a]), "spiffe://foo.test/A/B", false),
            (domain.clone(), a, true),
            (domain.clone(), b, false),
            (domain, "spiffe://sub.foo.test/A", false),
        ] {
            let verdict = policy.authorize(&id.parse().unwrap());
            assert_eq!(verdict.is_ok(), accepted, "{policy} / {id}");
        }
        assert_eq!(
            ids(&[a])
                .authorize(&b.parse().unwrap())
                .unwrap_err()
                .to_string(),
            "spiffe://bar.test/A is not accepted here; accepted is spiffe://foo.test/A"
        );
    }

    #[test]
    fn dns_names() {
        for (wanted, presented, matches) in [
            ("foo.com", "foo.com", true),
            ("FOO.com", "foo.COM", true),
            ("foo.com", "foo.com.", false),
            ("a.foo.com", "*.foo.com", true),
            ("a.foo.com", "*.FOO.com", true),
            ("b.a.foo.com", "*.foo.com", false),
            ("foo.com", "*.foo.com", false),
            ("foo.com", "*.com", false),
            ("localhost", "*", false),
            ("a.foo.com", "a*.foo.com", false),
            ("*.foo.com", "*.foo.com", true),
            ("*.foo.com", "a.foo.com", false),
            ("*.foo.com", "*.a.foo.com", false),
            ("foo.com", "foo.com\0.evil.test", false),
            ("foo.com", "", false),
        ] {
            let san = PeerSan::Dns(wanted.parse().unwrap());
            assert_eq!(
                san.matches(RawName::Dns(presented.as_bytes())),
                matches,
                "{wanted} / {presented}"
            );
            assert!(!san.matches(RawName::Uri(presented.as_bytes())));
            assert!(!san.matches(RawName::Other));
        }
    }

    #[test]
    fn uris_match_byte_for_byte() {
        let san = PeerSan::Uri("spiffe://foo.com/a".parse().unwrap());
        for (presented, matches) in [
            ("spiffe://foo.com/a", true),
            ("spiffe://FOO.com/a", false),
            ("spiffe://foo.com/A", false),
            ("spiffe://foo.com/a/", false),
            ("spiffe://foo.com/a#", false),
            ("spiffe://foo.com/a/b", false),
            ("spiffe://foo.com/%61", false),
            ("spiffe://foo.com/a\0.evil", false),
        ] {
            assert_eq!(
                san.matches(RawName::Uri(presented.as_bytes())),
                matches,
                "{presented:?}"
            );
        }
        assert!(!san.matches(RawName::Dns(b"spiffe://foo.com/a")));
    }
}
