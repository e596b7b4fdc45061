//! DNS-01 (RFC 8555 section 8.4): TXT records, through whoever runs the zone.

#[cfg(feature = "dns")]
mod propagation;
#[cfg(feature = "dns-providers")]
pub mod providers;
#[cfg(feature = "dns")]
mod query;
#[cfg(test)]
mod tests;

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identifier::Identifier;
use crate::runtime::Task;

#[cfg(feature = "dns")]
pub use propagation::{Aliases, Authoritative, Propagation, Require};

/// One value of a TXT record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxtRecord {
    /// The fully qualified name, in lower case, without the last dot. Where the
    /// challenge's own name is an alias, the name at its end.
    pub name: String,
    /// The value: a digest in base64url.
    pub value: String,
}

impl TxtRecord {
    /// The record that answers a challenge: `_acme-challenge` and the name without its
    /// wildcard, with the digest of the key authorization.
    pub(crate) fn new(identifier: &Identifier, authorization: &str) -> Self {
        let digest = digest(&SHA256, authorization.as_bytes());
        Self {
            name: format!("_acme-challenge.{}", identifier.base()),
            value: Base64UrlUnpadded::encode_string(digest.as_ref()),
        }
    }
}

/// Who can write TXT records of a zone.
///
/// A name and the wildcard below it share one record with two values, and somebody else
/// may have a challenge of their own there: values are added and taken away, the record
/// is never replaced.
pub trait DnsProvider: Send + Sync + fmt::Debug {
    /// Adds the value to whatever is there. Adding it again changes nothing.
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>>;

    /// Takes this value away and leaves the others. What is not there is no matter.
    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>>;

    /// How long others may keep what it writes, if it says so.
    fn ttl(&self) -> Option<Duration> {
        None
    }
}

/// Who sees what the world sees of a zone.
pub trait DnsView: Send + Sync + fmt::Debug {
    /// The name at the end of the aliases that start at `name`; `name` itself if it is
    /// none.
    fn canonical<'a>(&'a self, name: &'a str) -> Task<'a, Result<String, DnsError>>;

    /// Whether all servers that are to be asked have the value; if not, who does not.
    fn lacks<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<Option<String>, DnsError>>;

    /// How long others may keep the TXT records of a name, if there are any: a name and
    /// its wildcard share them, and who has kept one value does not see the other.
    fn ttl<'a>(&'a self, _name: &'a str) -> Task<'a, Result<Option<Duration>, DnsError>> {
        Box::pin(async { Ok(None) })
    }
}

/// How DNS-01 challenges are answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dns01 {
    /// Writes the records.
    pub provider: Arc<dyn DnsProvider>,
    /// Follows aliases and sees when the records are there; without one, only
    /// [`Dns01::delay`] is waited for.
    pub view: Option<Arc<dyn DnsView>>,
    /// Whether the view is asked for the records before the CA is told.
    pub checks: Checks,
    /// How long to wait after writing, once for all records of an order, before
    /// looking (`delayBeforeChecks`).
    pub delay: Duration,
    /// How long the records may take to be seen, after that.
    pub propagation_timeout: Duration,
    /// How long to wait between two looks.
    pub poll: Duration,
}

/// Whether records are looked for before the CA is told to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checks {
    /// No (`disableChecks`): the challenge may fail.
    Skip,
    /// Until they are there.
    #[default]
    Wait,
}

impl Dns01 {
    /// DNS-01 through this provider, without looking whether the records arrive.
    pub fn new(provider: Arc<dyn DnsProvider>) -> Self {
        Self {
            provider,
            view: None,
            checks: Checks::default(),
            delay: Duration::ZERO,
            propagation_timeout: Duration::from_secs(120),
            poll: Duration::from_secs(2),
        }
    }

    /// Looks with this view before the CA does.
    #[must_use]
    pub fn with_view(mut self, view: Arc<dyn DnsView>) -> Self {
        self.view = Some(view);
        self
    }

    /// Waits so long after writing.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// Why a TXT record could not be written or seen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DnsError {
    /// Aliases that lead in a circle, or on and on.
    #[error(
        "{name} is an alias of an alias, {count} times over; shorten the chain or switch following off"
    )]
    AliasLoop {
        /// Where they start.
        name: String,
        /// How many were followed.
        count: usize,
    },
    /// The records did not arrive in time.
    #[error(
        "{name} does not have its value at {server} after {after:?}; look at the zone, or raise the timeout"
    )]
    NotSeen {
        /// The record's name.
        name: String,
        /// Which server lacks it.
        server: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The provider refused or did not answer.
    #[error("{provider} did not change {name}: {reason}")]
    Provider {
        /// Which.
        provider: String,
        /// The record's name.
        name: String,
        /// Its words.
        reason: String,
    },
    /// A name server did not answer, or not well.
    #[error("{server} did not answer for {name}: {reason}")]
    Query {
        /// The name asked for.
        name: String,
        /// Which server.
        server: String,
        /// What came instead.
        reason: String,
    },
}

/// Why there is no provider of a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Variables that must be set are not.
    #[error("the DNS provider {provider} needs {}", needed(.variables))]
    Missing {
        /// Its name.
        provider: &'static str,
        /// Each with its other spelling.
        variables: Vec<String>,
    },
    /// The machine has no roots to verify a provider's server with.
    #[error(
        "the DNS provider {provider} needs the system's roots, and there are none; install them (ca-certificates)"
    )]
    NoRoots {
        /// Its name.
        provider: &'static str,
    },
    /// A name that others know.
    #[error("the DNS provider {provider} is not there: {reason}")]
    NotThere {
        /// Its name.
        provider: &'static str,
        /// Why it is not.
        reason: &'static str,
    },
    /// A name that nobody has.
    #[error("there is no DNS provider {name:?}; {}", nearest(.near))]
    Unknown {
        /// The name.
        name: String,
        /// Names like it.
        near: Vec<&'static str>,
    },
    /// A variable's value cannot be used.
    #[error("the DNS provider {provider} cannot use {variable}: {reason}")]
    Value {
        /// Its name.
        provider: &'static str,
        /// The variable.
        variable: String,
        /// What is wrong; it shows no secret.
        reason: String,
    },
}

fn needed(variables: &[String]) -> String {
    let first = variables.first().map(String::as_str).unwrap_or_default();
    let first = first.split(' ').next().unwrap_or_default();
    match variables {
        [one] => format!("{one}: set it, or {first}_FILE to a file that holds it"),
        all => format!(
            "{}: set them, or {first}_FILE and so on to files that hold them",
            all.join(" and ")
        ),
    }
}

fn nearest(near: &[&str]) -> String {
    match near.is_empty() {
        true => "see the table of providers".to_owned(),
        false => format!("near to it are {}", near.join(", ")),
    }
}
