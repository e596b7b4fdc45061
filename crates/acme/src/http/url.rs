//! The parts of a URL that a request needs.

use core::net::IpAddr;

use super::HttpError;

/// An absolute URL of HTTPS, or of HTTP on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as they were written, for the `Host` header.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, HttpError> {
        let wrong = |reason| wrong(text, reason);
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("a URL has no spaces and no characters beyond ASCII"));
        }
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong("it must start with https://")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("it must not have a user name"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest
                .split_once(']')
                .ok_or_else(|| wrong("an address must end with ]"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port
                .parse()
                .map_err(|_| wrong("the port must be a number"))?,
            None if port.is_empty() => [80, 443][usize::from(tls)],
            None => return Err(wrong("only a port may follow the host")),
        };
        if host.is_empty() {
            return Err(wrong("it must have a host"));
        }
        if !tls && !is_loopback(host) {
            return Err(wrong("it must start with https://"));
        }
        let target = target.split('#').next().unwrap_or_default();
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            target,
        })
    }

    /// What a connection is for.
    pub(crate) fn origin(&self) -> String {
        let tls = if self.tls { "s" } else { "" };
        format!("{tls} {} {}", self.host, self.port)
    }
}

/// Why this URL is not asked.
pub(super) fn wrong(text: &str, reason: &'static str) -> HttpError {
    HttpError::Url {
        url: text.chars().take(MAX_SHOWN).collect(),
        reason,
    }
}

/// A test's CA, that need not have a certificate: nobody is in between.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (text, expected) in [
            ("https://ca.test", Some((true, "ca.test", 443, "/"))),
            (
                "https://ca.test:8443/a/b?c=d#e",
                Some((true, "ca.test", 8443, "/a/b?c=d")),
            ),
            ("https://ca.test?x", Some((true, "ca.test", 443, "/?x"))),
            (
                "https://[::1]:14000/dir",
                Some((true, "::1", 14000, "/dir")),
            ),
            (
                "http://127.0.0.1:4001/dir",
                Some((false, "127.0.0.1", 4001, "/dir")),
            ),
            (
                "http://localhost/dir",
                Some((false, "localhost", 80, "/dir")),
            ),
            ("http://ca.test/dir", None),
            ("http://127.0.0.1.ca.test/dir", None),
            ("https://a@ca.test/", None),
            ("https://ca.test:x/", None),
            ("https://[::1/", None),
            ("https://[::1]x/", None),
            ("https:///dir", None),
            ("ftp://ca.test/", None),
            ("https://ca.test/ü", None),
            ("https://ca.test/a\r\nb", None),
            ("", None),
        ] {
            let read = Url::parse(text).ok();
            let read = read.as_ref();
            let parts = read.map(|url| (url.tls, url.host.as_str(), url.port, url.target.as_str()));
            assert_eq!(parts, expected, "{text}");
        }
    }
}
