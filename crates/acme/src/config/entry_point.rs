use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use certwright_cert_model::name::DnsName;

/// One entry point: `entryPoints.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryPoint {
    /// Its name.
    pub name: String,
    /// The address it listens on; empty for all.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is one of UDP, which no challenge can use.
    pub udp: bool,
}

impl EntryPoint {
    /// The entry point of this name at an `address` such as `:80`, `127.0.0.1:8080` or `[::1]:443/tcp`.
    ///
    /// # Errors
    ///
    /// The address has no port, or is none.
    pub fn new(name: impl Into<String>, address: &str) -> Result<Self, EntryPointError> {
        let invalid = || EntryPointError {
            found: address.to_owned(),
        };
        let (place, udp) = match address.rsplit_once('/') {
            Some((place, "udp")) => (place, true),
            Some((place, "tcp")) => (place, false),
            Some(_) => return Err(invalid()),
            None => (address, false),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(invalid)?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').ok_or_else(invalid)?,
            None if host.contains(':') => return Err(invalid()),
            None => host,
        };
        let known =
            host.is_empty() || IpAddr::from_str(host).is_ok() || DnsName::from_str(host).is_ok();
        match port.parse() {
            Ok(port) if known => Ok(Self {
                name: name.into(),
                host: host.to_owned(),
                port,
                udp,
            }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for EntryPoint {
    /// The address, as it is written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        f.write_str(if self.udp { "/udp" } else { "" })
    }
}

/// A text that is no address of an entry point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no address to listen on; write a port behind a colon, like :80, or with a host, like 127.0.0.1:80"
)]
#[non_exhaustive]
pub struct EntryPointError {
    /// The text.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            (":80", Some(":80")),
            (":443/tcp", Some(":443")),
            (":443/udp", Some(":443/udp")),
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("[::1]:80", Some("[::1]:80")),
            ("localhost:80", Some("localhost:80")),
            ("", None),
            ("80", None),
            (":http", None),
            (":70000", None),
            ("::1:80", None),
            (":80/quic", None),
            ("a b:80", None),
        ] {
            let read = EntryPoint::new("web", address).ok();
            assert_eq!(
                read.map(|it| it.to_string()).as_deref(),
                expected,
                "{address}"
            );
        }
    }
}
