use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;
use std::time::Duration;

use certwright_cert_model::name::DnsName;

/// `dnsChallenge`: DNS-01.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsChallenge {
    /// `provider`: who keeps the zone; `None` needs a solver given in code.
    pub provider: Option<String>,
    /// `resolvers`: the recursive servers to ask; none stands for the system's.
    pub resolvers: Vec<Nameserver>,
    /// `propagation`.
    pub propagation: Propagation,
    /// `disableCNAMESupport`, or the environment variable `LEGO_DISABLE_CNAME_SUPPORT`.
    pub cname_records: CnameRecords,
}

/// `dnsChallenge.propagation`: what is looked at before the CA is told to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Propagation {
    /// `delayBeforeChecks`: how long to wait before the first look.
    pub delay_before_checks: Duration,
    /// `disableChecks`: do not look at all; the challenge may then fail.
    pub disable_checks: bool,
    /// `requireAllRNS`: all recursive servers must have the record. Recommended when authoritative
    /// servers are not asked.
    pub require_all_rns: bool,
    /// `disableANSChecks`: do not ask the zone's authoritative servers, when they cannot be reached.
    pub disable_ans_checks: bool,
}

/// What a CNAME at `_acme-challenge` means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CnameRecords {
    /// The TXT record goes where it leads to.
    #[default]
    Follow,
    /// The TXT record goes to the name itself.
    Ignore,
}

/// `httpChallenge`: HTTP-01.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpChallenge {
    /// `entryPoint`: where the CA's requests arrive, on port 80 seen from outside.
    pub entry_point: String,
    /// `delay`: how long to wait before the CA is told to look.
    pub delay: Duration,
}

/// `tlsChallenge`: TLS-ALPN-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsChallenge {
    /// `delay`: how long to wait before the CA is told to look.
    pub delay: Duration,
}

/// A recursive name server: a name or address, and a port, 53 without one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nameserver {
    host: String,
    port: u16,
}

impl Nameserver {
    /// The name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Nameserver {
    type Err = NameserverError;

    fn from_str(text: &str) -> Result<Self, NameserverError> {
        let invalid = || NameserverError {
            found: text.to_owned(),
        };
        let (host, port) = match (text.parse::<Ipv6Addr>(), text.strip_prefix('[')) {
            (Ok(_), _) => (text, None),
            (_, Some(rest)) => {
                let (host, rest) = rest.split_once(']').ok_or_else(invalid)?;
                host.parse::<Ipv6Addr>().map_err(|_| invalid())?;
                match rest {
                    "" => (host, None),
                    rest => (host, Some(rest.strip_prefix(':').ok_or_else(invalid)?)),
                }
            }
            _ => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => 53,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(invalid()),
            },
        };
        if host.parse::<IpAddr>().is_err() && host.parse::<DnsName>().is_err() {
            return Err(invalid());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Nameserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no name server; write an address or a name, and a port if it is not 53, like 192.0.2.53:5353"
)]
#[non_exhaustive]
pub struct NameserverError {
    /// The text.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers() {
        for (text, expected) in [
            ("1.1.1.1", Some("1.1.1.1:53")),
            ("1.1.1.1:5353", Some("1.1.1.1:5353")),
            ("dns.example.com:53", Some("dns.example.com:53")),
            ("2001:db8::53", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]:5353", Some("[2001:db8::53]:5353")),
            ("", None),
            (":53", None),
            ("1.1.1.1:", None),
            ("1.1.1.1:0", None),
            ("1.1.1.1:70000", None),
            ("[1.1.1.1]:53", None),
            ("[2001:db8::53]5353", None),
            ("a b", None),
        ] {
            let read = text.parse::<Nameserver>().ok();
            assert_eq!(
                read.as_ref().map(ToString::to_string).as_deref(),
                expected,
                "{text}"
            );
            if let Some(read) = read {
                assert_eq!(read.to_string().parse(), Ok(read));
            }
        }
    }
}
