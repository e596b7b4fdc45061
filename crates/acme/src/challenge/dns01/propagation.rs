//! Whether the world sees a record: recursive name servers, and a zone's own.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;
use std::time::Duration;

use hickory_resolver::proto::rr::{RData, RecordType};

use super::query::{Answer, Recursion, plain, query};
use super::{DnsError, DnsView, TxtRecord};
use crate::challenge::reach::AddressView;
use crate::runtime::Task;

/// Asks recursive name servers, and through them a zone's own.
///
/// The options are those of Traefik's `dnsChallenge`. Nothing is remembered: what was not
/// there a moment ago is what is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Propagation {
    /// The recursive servers (`resolvers`), each with its port.
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
#[non_exhaustive]
pub enum Require {
    /// All of them (`requireAllRNS`).
    All,
    /// None, if the zone's own are asked; else the first.
    #[default]
    First,
}

/// Whether the zone's own servers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Authoritative {
    /// All of them must have the record.
    #[default]
    Ask,
    /// They cannot be reached from here (`disableANSChecks`).
    Skip,
}

/// What an alias at `_acme-challenge` means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

    /// The zone a name is in, as the recursive servers see it: the nearest name from it
    /// upwards that has an SOA record of its own.
    ///
    /// # Errors
    /// [`DnsError::Query`] if no recursive server answers, or no name has one.
    pub async fn zone(&self, name: &str) -> Result<String, DnsError> {
        let name = plain(name);
        let mut at = name.as_str();
        loop {
            let found = self.ask(at, RecordType::SOA).await?;
            // One at the end of an alias is of another zone.
            let own = found.of(at).any(|it| matches!(it.data, RData::SOA(_)));
            if own {
                return Ok(at.to_owned());
            }
            (_, at) = at.split_once('.').ok_or_else(|| DnsError::Query {
                name: name.clone(),
                server: "the recursive servers".to_owned(),
                reason: "no name above has an SOA record; is the name public, or resolvers set to those who know it?".to_owned(),
            })?;
        }
    }

    /// The addresses of a name, at the end of its aliases; none if it has none.
    ///
    /// # Errors
    /// [`DnsError::Query`] if no recursive server answers for one of the two kinds.
    pub async fn addresses(&self, name: &str) -> Result<BTreeSet<IpAddr>, DnsError> {
        let mut addresses = BTreeSet::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let found = self.ask(name, kind).await?;
            addresses.extend(found.all().filter_map(RData::ip_addr));
        }
        Ok(addresses)
    }

    /// What the first recursive server that answers says.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Answer, DnsError> {
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
        let mut at = plain(name);
        if self.aliases == Aliases::Ignore {
            return Ok(at);
        }
        let mut seen = BTreeSet::new();
        while seen.len() < MAX_ALIASES && seen.insert(at.clone()) {
            let found = self.ask(&at, RecordType::CNAME).await?;
            let target = found.of(&at).find_map(|record| match &record.data {
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
            count: seen.len(),
        })
    }

    /// The zone's own servers. A zone may begin below the registered domain.
    async fn zone_servers(&self, name: &str) -> Result<(String, Vec<Server>), DnsError> {
        let zone = self.zone(name).await?;
        let found = self.ask(&zone, RecordType::NS).await?;
        let names = found.of(&zone).filter_map(|record| match &record.data {
            RData::NS(server) => Some(plain(&server.0.to_ascii())),
            _ => None,
        });
        let mut servers = Vec::new();
        for server in names {
            let mut addresses = Vec::new();
            for kind in [RecordType::A, RecordType::AAAA] {
                // A server whose addresses of one kind cannot be told may have others.
                if let Ok(found) = self.ask(&server, kind).await {
                    let found = found.all().filter_map(RData::ip_addr);
                    addresses.extend(found.map(|ip| SocketAddr::new(ip, self.authoritative_port)));
                }
            }
            servers.push(Server {
                name: server,
                addresses,
            });
        }
        match servers.is_empty() {
            false => Ok((zone, servers)),
            true => Err(DnsError::Query {
                name: name.to_owned(),
                server: "the recursive servers".to_owned(),
                reason: format!("{zone} has no name servers; skip them if they are hidden"),
            }),
        }
    }

    /// The recursive servers that must have a record.
    fn required(&self) -> &[SocketAddr] {
        match (self.require, self.authoritative) {
            (Require::All, _) => &self.recursive,
            (Require::First, Authoritative::Skip) => self.recursive.get(..1).unwrap_or_default(),
            (Require::First, Authoritative::Ask) => &[],
        }
    }

    async fn missing(&self, record: &TxtRecord) -> Result<Option<String>, DnsError> {
        for server in self.required() {
            let found = query(*server, &record.name, RecordType::TXT, Recursion::Desired).await;
            // A server that does not answer does not have it, and may soon.
            if let Some(lack) = lack(found, &record.value, None) {
                return Ok(Some(format!("{server}{lack}")));
            }
        }
        if self.authoritative == Authoritative::Ask {
            let (zone, servers) = self.zone_servers(&record.name).await?;
            for server in servers {
                if let Some(lacking) = server.lacks(record, &zone).await {
                    return Ok(Some(lacking));
                }
            }
        }
        Ok(None)
    }

    async fn longest(&self, name: &str) -> Result<Option<Duration>, DnsError> {
        let answer = match self.authoritative {
            Authoritative::Skip => self.ask(name, RecordType::TXT).await?,
            Authoritative::Ask => {
                let (_, servers) = self.zone_servers(name).await?;
                let addresses = servers.into_iter().flat_map(|server| server.addresses);
                let mut answer = None;
                for address in addresses {
                    let found = query(address, name, RecordType::TXT, Recursion::None).await;
                    if let Ok(found) = found {
                        answer = Some(found);
                        break;
                    }
                }
                match answer {
                    Some(answer) => answer,
                    None => return Ok(None),
                }
            }
        };
        let lives = answer.of(name).map(|record| u64::from(record.ttl));
        Ok(lives.max().map(Duration::from_secs))
    }
}

/// One of a zone's own servers.
struct Server {
    name: String,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// This server, with what is wrong, if none of its addresses has the record. One
    /// address will do: from here the others may not be reached, as with IPv6.
    async fn lacks(&self, record: &TxtRecord, zone: &str) -> Option<String> {
        let mut first = None;
        for address in &self.addresses {
            let found = query(*address, &record.name, RecordType::TXT, Recursion::None).await;
            match lack(found, &record.value, Some(zone)) {
                None => return None,
                Some(lack) => {
                    first.get_or_insert_with(|| format!("{} ({address}){lack}", self.name));
                }
            }
        }
        first.or_else(|| Some(format!("{}, which has no address", self.name)))
    }
}

/// What keeps an answer from being the value; `zone` is what the server must know of its
/// own.
fn lack(answer: Result<Answer, DnsError>, value: &str, zone: Option<&str>) -> Option<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(DnsError::Query { reason, .. }) => return Some(format!(", which fails: {reason}")),
        Err(error) => return Some(format!(", which fails: {error}")),
    };
    match zone {
        // A lame delegation: what it remembers or guesses is not what the zone says.
        Some(zone) if !answer.authoritative => Some(format!(", which is no authority for {zone}")),
        _ if answer.all().any(|data| is(data, value)) => None,
        _ => Some(String::new()),
    }
}

impl DnsView for Propagation {
    fn canonical<'a>(&'a self, name: &'a str) -> Task<'a, Result<String, DnsError>> {
        Box::pin(self.follow(name))
    }

    fn lacks<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<Option<String>, DnsError>> {
        Box::pin(self.missing(record))
    }

    fn ttl<'a>(&'a self, name: &'a str) -> Task<'a, Result<Option<Duration>, DnsError>> {
        Box::pin(self.longest(name))
    }
}

impl AddressView for Propagation {
    fn addresses<'a>(&'a self, name: &'a str) -> Task<'a, Result<BTreeSet<IpAddr>, DnsError>> {
        Box::pin(self.addresses(name))
    }
}

/// Whether a TXT record is this value; a long one may come in pieces.
fn is(data: &RData, value: &str) -> bool {
    match data {
        RData::TXT(txt) => txt.txt_data.concat() == value.as_bytes(),
        _ => false,
    }
}

/// As many as lego follows.
const MAX_ALIASES: usize = 50;
