//! Where etcd is, and how long to wait for it.

use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::ServerName;
use thiserror::Error;
use zeroize::Zeroizing;

/// Where etcd is, and how long to wait for it.
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// Client addresses of the members, such as `https://etcd-1:2379`; each is tried
    /// when another fails.
    pub endpoints: Vec<String>,
    /// For `https` endpoints: roots, and the client certificate if etcd asks for one.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// User and password, if etcd's authentication is enabled.
    pub user: Option<EtcdUser>,
    /// What all keys in etcd start with; `certwright/` unless changed. Stores with
    /// different ones know nothing of each other, unless one starts with the other.
    pub root: String,
    /// For a connection, TLS included; 1 second by default.
    pub connect_timeout: Duration,
    /// For an answer; 5 seconds by default, several elections long.
    pub request_timeout: Duration,
    /// For an operation with all its attempts; 10 seconds by default.
    pub total_timeout: Duration,
    /// A watch that hears nothing for so long asks anew, in case the connection is dead
    /// and does not say so; 30 seconds by default.
    pub watch_idle: Duration,
}

impl EtcdOptions {
    /// The defaults, with these endpoints.
    pub fn new<T: Into<String>>(endpoints: impl IntoIterator<Item = T>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            user: None,
            root: "certwright/".to_owned(),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(10),
            watch_idle: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoints,
            tls,
            user,
            root,
            connect_timeout,
            request_timeout,
            total_timeout,
            watch_idle,
        } = self;
        let endpoints: Vec<&str> = endpoints.iter().map(|text| without_user(text)).collect();
        f.debug_struct("EtcdOptions")
            .field("endpoints", &endpoints)
            .field("tls", &tls.is_some())
            .field("user", user)
            .field("root", root)
            .field("connect_timeout", connect_timeout)
            .field("request_timeout", request_timeout)
            .field("total_timeout", total_timeout)
            .field("watch_idle", watch_idle)
            .finish()
    }
}

/// An endpoint as it can be shown: what stands before an `@` may be a password.
fn without_user(endpoint: &str) -> &str {
    endpoint.rsplit('@').next().unwrap_or_default()
}

/// A user of etcd.
#[derive(Clone)]
pub struct EtcdUser {
    /// The user's name.
    pub name: String,
    /// The password, wiped when dropped.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtcdUser({:?})", self.name)
    }
}

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EtcdOptionsError {
    /// An endpoint that is none.
    #[error("{endpoint:?} is no endpoint: {reason}")]
    Endpoint {
        /// The text.
        endpoint: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// No endpoint at all.
    #[error("at least one endpoint is needed, such as http://127.0.0.1:2379")]
    NoEndpoint,
    /// A password for an endpoint without TLS on another machine.
    #[error("the password would go to {endpoint} in clear; use https")]
    PasswordInClear {
        /// The endpoint.
        endpoint: String,
    },
    /// An `https` endpoint and no TLS configuration.
    #[error("{endpoint} needs EtcdOptions::tls")]
    TlsMissing {
        /// The endpoint.
        endpoint: String,
    },
}

/// An endpoint that can be connected to.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) text: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// The name to verify, for `https`.
    pub(super) tls: Option<ServerName<'static>>,
}

impl EtcdOptions {
    pub(super) fn parse_endpoints(&self) -> Result<Vec<Endpoint>, EtcdOptionsError> {
        if self.endpoints.is_empty() {
            return Err(EtcdOptionsError::NoEndpoint);
        }
        let endpoints = self.endpoints.iter().map(|text| self.parse_endpoint(text));
        endpoints.collect()
    }

    fn parse_endpoint(&self, text: &str) -> Result<Endpoint, EtcdOptionsError> {
        let endpoint = text.to_owned();
        let refuse = |reason| EtcdOptionsError::Endpoint {
            endpoint: without_user(text).to_owned(),
            reason,
        };
        let uri: Uri = text.parse().map_err(|_| refuse("no URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse("it must start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("user and password belong into EtcdOptions::user"));
        }
        if uri
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(refuse("it must not have a path"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(2379);
        let tls = match secure {
            true if self.tls.is_none() => return Err(EtcdOptionsError::TlsMissing { endpoint }),
            true => {
                let name = ServerName::try_from(host.clone());
                Some(name.map_err(|_| refuse("no host name"))?)
            }
            false => None,
        };
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if self.user.is_some() && !secure && !loopback {
            return Err(EtcdOptionsError::PasswordInClear { endpoint });
        }
        Ok(Endpoint {
            text: endpoint,
            host,
            port,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, expected) in [
            ("http://127.0.0.1:23790", Ok(("127.0.0.1", 23790))),
            ("http://etcd-1", Ok(("etcd-1", 2379))),
            ("http://[::1]:1/", Ok(("::1", 1))),
            (
                "https://etcd-1",
                Err("https://etcd-1 needs EtcdOptions::tls"),
            ),
            (
                "etcd-1:2379",
                Err("\"etcd-1:2379\" is no endpoint: it must start with http:// or https://"),
            ),
            (
                "http://a/b",
                Err("\"http://a/b\" is no endpoint: it must not have a path"),
            ),
            (
                "http://u:p@a",
                Err("\"a\" is no endpoint: user and password belong into EtcdOptions::user"),
            ),
        ] {
            let options = EtcdOptions::new([text]);
            let found = options.parse_endpoints().map_err(|error| error.to_string());
            let found = found
                .as_ref()
                .map(|all| (all[0].host.as_str(), all[0].port));
            assert_eq!(found.map_err(String::as_str), expected);
        }
        let mut options = EtcdOptions::new(["http://127.0.0.1", "http://etcd-1"]);
        options.user = Some(EtcdUser {
            name: "root".to_owned(),
            password: Zeroizing::new("secret".to_owned()),
        });
        let error = options.parse_endpoints().unwrap_err().to_string();
        assert_eq!(
            error,
            "the password would go to http://etcd-1 in clear; use https"
        );
        options
            .endpoints
            .push("http://root:secret@etcd-2".to_owned());
        let shown = format!("{options:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains(r#""http://etcd-1", "etcd-2""#), "{shown}");
    }
}
