//! Whether the world sees a record, asked with hickory.

use core::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{DnsError, DnsView, TxtRecord};
use crate::runtime::Task;

/// Asks recursive name servers, and through them a zone's own.
///
/// The options are those of Traefik's `dnsChallenge`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Propagation {
    /// The recursive servers (`resolvers`).
    pub recursive: Vec<SocketAddr>,
    /// Which recursive servers must have the record.
    pub require: Require,
    /// Whether the zone's own servers must have it, all of them.
    pub authoritative: Authoritative,
    /// What an alias at the challenge's name means.
    pub aliases: Aliases,
    /// The port of the zone's own servers: 53, but in tests.
    pub authoritative_port: u16,
}

/// Which recursive servers must have a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Require {
    /// All of them (`requireAllRNS`).
    All,
    /// None, if the zone's own are asked; else the first.
    #[default]
    First,
}

/// Whether the zone's own servers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authoritative {
    /// All of them must have the record.
    #[default]
    Ask,
    /// They cannot be reached from here (`disableANSChecks`).
    Skip,
}

/// What an alias at `_acme-challenge` means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Aliases {
    /// The record goes where it leads.
    #[default]
    Follow,
    /// The record goes beside it (`disableCNAMESupport`).
    Ignore,
}

impl Propagation {
    /// Asks these recursive servers, and the zone's own.
    pub fn new(recursive: Vec<SocketAddr>) -> Self {
        Self {
            recursive,
            require: Require::default(),
            authoritative: Authoritative::default(),
            aliases: Aliases::default(),
            authoritative_port: 53,
        }
    }

    /// What the first recursive server that answers says.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let mut last = DnsError::Query {
            name: name.to_owned(),
            server: "a recursive server".to_owned(),
            reason: "none is set up".to_owned(),
        };
        for server in &self.recursive {
            match query(*server, name, kind, Recursion::Desired).await {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn follow(&self, name: &str) -> Result<String, DnsError> {
        let mut at = name.to_owned();
        if self.aliases == Aliases::Ignore {
            return Ok(at);
        }
        for _ in 0..MAX_ALIASES {
            let found = self.ask(&at, RecordType::CNAME).await?;
            let target = found.iter().find_map(|data| match data {
                RData::CNAME(target) => Some(plain(&target.0.to_ascii())),
                _ => None,
            });
            match target {
                Some(target) => at = target,
                None => return Ok(at),
            }
        }
        Err(DnsError::AliasLoop {
            name: name.to_owned(),
            count: MAX_ALIASES,
        })
    }

    /// The zone's own servers, each with its addresses: those of the nearest name above
    /// that has any, which may be a delegation below the registered domain.
    async fn zone_servers(&self, name: &str) -> Result<Vec<Vec<SocketAddr>>, DnsError> {
        let mut zone = name;
        loop {
            let found = self.ask(zone, RecordType::NS).await?;
            let names = found.iter().filter_map(|data| match data {
                RData::NS(server) => Some(plain(&server.0.to_ascii())),
                _ => None,
            });
            let mut servers = Vec::new();
            for server in names {
                let mut addresses = Vec::new();
                for kind in [RecordType::A, RecordType::AAAA] {
                    // A server whose addresses of one kind cannot be told may have others.
                    let found = self.ask(&server, kind).await.unwrap_or_default();
                    let found = found.iter().filter_map(RData::ip_addr);
                    addresses.extend(found.map(|ip| SocketAddr::new(ip, self.authoritative_port)));
                }
                if !addresses.is_empty() {
                    servers.push(addresses);
                }
            }
            if !servers.is_empty() {
                return Ok(servers);
            }
            match zone.split_once('.') {
                Some((_, above)) => zone = above,
                None => {
                    return Err(DnsError::Query {
                        name: name.to_owned(),
                        server: "the zone's own server".to_owned(),
                        reason: "no zone above has one; skip them if they cannot be reached"
                            .to_owned(),
                    });
                }
            }
        }
    }

    async fn missing(&self, record: &TxtRecord) -> Result<Option<String>, DnsError> {
        let recursive = match (self.require, self.authoritative) {
            (Require::All, _) => self.recursive.as_slice(),
            (Require::First, Authoritative::Skip) => self.recursive.get(..1).unwrap_or_default(),
            (Require::First, Authoritative::Ask) => &[],
        };
        let mut servers: Vec<_> = recursive
            .iter()
            .map(|at| (vec![*at], Recursion::Desired))
            .collect();
        if self.authoritative == Authoritative::Ask {
            let own = self.zone_servers(&record.name).await?;
            servers.extend(own.into_iter().map(|at| (at, Recursion::None)));
        }
        for (addresses, recursion) in servers {
            let mut lacking = None;
            // One address will do: from here the others may not be reached, as with IPv6.
            for server in addresses {
                // A server that does not answer does not have it, and may soon.
                let found = query(server, &record.name, RecordType::TXT, recursion).await;
                if found.is_ok_and(|found| found.iter().any(|data| is(data, &record.value))) {
                    lacking = None;
                    break;
                }
                lacking.get_or_insert(server);
            }
            if let Some(server) = lacking {
                return Ok(Some(server.to_string()));
            }
        }
        Ok(None)
    }
}

impl DnsView for Propagation {
    fn canonical<'a>(&'a self, name: &'a str) -> Task<'a, Result<String, DnsError>> {
        Box::pin(self.follow(name))
    }

    fn lacks<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<Option<String>, DnsError>> {
        Box::pin(self.missing(record))
    }
}

#[derive(Clone, Copy)]
enum Recursion {
    Desired,
    None,
}

/// One server's records of a name; none is an answer, too.
async fn query(
    server: SocketAddr,
    name: &str,
    kind: RecordType,
    recursion: Recursion,
) -> Result<Vec<RData>, DnsError> {
    let failed = |error: NetError| DnsError::Query {
        name: name.to_owned(),
        server: server.to_string(),
        reason: error.to_string(),
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let config = NameServerConfig::new(server.ip(), true, connections.to_vec());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
    let mut options = ResolverOpts::default();
    // What was not there a moment ago is what we ask for.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = TIMEOUT;
    options.attempts = 1;
    options.recursion_desired = matches!(recursion, Recursion::Desired);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(failed)?;
    match resolver.lookup(format!("{name}."), kind).await {
        Ok(found) => Ok(found.answers().iter().map(|one| one.data.clone()).collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Whether a TXT record is this value; a long one may come in pieces.
fn is(data: &RData, value: &str) -> bool {
    match data {
        RData::TXT(txt) => txt.txt_data.concat() == value.as_bytes(),
        _ => false,
    }
}

/// A name as our records have it.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// As many as lego follows.
const MAX_ALIASES: usize = 50;
const TIMEOUT: Duration = Duration::from_secs(5);
