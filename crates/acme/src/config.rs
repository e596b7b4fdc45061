//! The options of a certificates resolver, as Traefik's static configuration writes them: YAML, TOML and
//! flags.
//!
//! ```
//! use certwright_acme::config::{StaticConfig, flags};
//! use certwright_cert_model::document::Strictness;
//!
//! let node = flags([
//!     "--entryPoints.web.address=:80",
//!     "--certificatesresolvers.le.acme.email=you@example.com",
//!     "--certificatesresolvers.le.acme.httpchallenge.entrypoint=web",
//! ])?;
//! let config = StaticConfig::decode(&node, Strictness::Strict).into_result()?;
//! let resolver = config.resolver("le").unwrap();
//! assert_eq!(resolver.storage.to_str(), Some("acme.json"));
//! assert_eq!(resolver.issuers[0].ca_server, "https://acme-v02.api.letsencrypt.org/directory");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: Traefik's ACME documentation, and for what it leaves open (newer options, old spellings, what
//! an unknown value does) what Traefik 3.7 does.

mod challenge;
mod decode;
mod entry_point;
mod environment;
mod flag;
mod issuer;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use certwright_cert_model::key::{KeyAlgorithm, RsaSize};
use certwright_cert_model::name::Email;
use certwright_renewal::{AcmeTable, RenewalPolicy};

use crate::chain::ChainPreference;
use crate::domains::{Grouping, OrderRules, Wildcards};

pub use challenge::{
    CnameRecords, DnsChallenge, HttpChallenge, Nameserver, NameserverError, Propagation,
    TlsChallenge,
};
pub use entry_point::{EntryPoint, EntryPointError};
pub use environment::BooleanError;
pub use flag::{FlagError, flags};
pub use issuer::{
    ExternalAccountBinding, IssuerOptions, LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Trust,
};

/// What a static configuration says about certificates: its resolvers and where they can be reached.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StaticConfig {
    /// `entryPoints`, in order.
    pub entry_points: Vec<EntryPoint>,
    /// `certificatesResolvers`, in order.
    pub resolvers: Vec<Resolver>,
}

impl StaticConfig {
    /// The resolver of this name.
    pub fn resolver(&self, name: &str) -> Option<&Resolver> {
        self.resolvers.iter().find(|resolver| resolver.name == name)
    }

    /// The entry point of this name.
    pub fn entry_point(&self, name: &str) -> Option<&EntryPoint> {
        self.entry_points.iter().find(|entry| entry.name == name)
    }
}

/// One resolver: `certificatesResolvers.NAME.acme`.
///
/// | option | default | required |
/// |---|---|---|
/// | `email` | "" | yes; when lenient, an account without contact |
/// | `caServer` | Let's Encrypt, version 2 | no |
/// | `preferredChain` | "" | no |
/// | `keyType` | `RSA4096` | no |
/// | `eab.kid`, `eab.hmacEncoded` | "" | both or none |
/// | `certificatesDuration` | 2160 | no |
/// | `clientTimeout` | `2m` | no |
/// | `clientResponseHeaderTimeout` | `30s` | no |
/// | `dnsChallenge`, `httpChallenge`, `tlsChallenge` | | one of them |
/// | `dnsChallenge.provider` | "" | no: a solver may be given in code |
/// | `dnsChallenge.resolvers` | `[]` | no |
/// | `dnsChallenge.propagation.delayBeforeChecks` | `0s` | no |
/// | `dnsChallenge.propagation.disableChecks`, `.requireAllRNS`, `.disableANSChecks` | false | no |
/// | `httpChallenge.entryPoint` | "" | yes |
/// | `httpChallenge.delay`, `tlsChallenge.delay` | 0 | no |
/// | `storage` | `acme.json` | yes: not empty |
/// | `profile`, `emailAddresses`, `disableCommonName` | none | no |
/// | `certificateTimeout` | `30s` | no |
/// | `caCertificates`, `caSystemCertPool`, `caServerName` | none | no |
///
/// Ours, which Traefik does not have: `preferredChain` as a list of names, the most wanted first;
/// `preferShortestChain`; `fallbackIssuers`, a list of `caServer`, `eab`, `profile`, `preferredChain`,
/// `preferShortestChain`, `caCertificates`, `caSystemCertPool` and `caServerName`;
/// `dnsChallenge.disableCNAMESupport`; `certificatePerName`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolver {
    /// The resolver's name.
    pub name: String,
    /// `email`: the account's contact; `None` registers without one.
    pub email: Option<Email>,
    /// The CAs, the most wanted first; never empty.
    pub issuers: Vec<IssuerOptions>,
    /// `keyType`: the key of certificates.
    pub key_type: KeyAlgorithm,
    /// `certificatesDuration` in hours, if it is set; see [`Resolver::renewal_policy`].
    pub certificates_duration: Option<u64>,
    /// `clientTimeout`: the longest a request to the CA may take, its answer's body included.
    pub client_timeout: Duration,
    /// `clientResponseHeaderTimeout`: the longest the CA may take to begin an answer.
    pub client_response_header_timeout: Duration,
    /// `certificateTimeout`: the longest a CA may take from finalizing to a certificate.
    pub certificate_timeout: Duration,
    /// `dnsChallenge`.
    pub dns_challenge: Option<DnsChallenge>,
    /// `httpChallenge`.
    pub http_challenge: Option<HttpChallenge>,
    /// `tlsChallenge`.
    pub tls_challenge: Option<TlsChallenge>,
    /// `storage`: Traefik's file, which is imported, or a directory.
    pub storage: PathBuf,
    /// `emailAddresses`: e-mail addresses to put into requests for certificates.
    pub email_addresses: Vec<Email>,
    /// `disableCommonName`: whether requests have a common name.
    pub common_name: CommonName,
    /// `certificatePerName`: how names share certificates.
    pub grouping: Grouping,
}

/// Whether a request has its main name in the subject too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommonName {
    /// The main name, if it has at most 64 bytes, as X.520 allows.
    #[default]
    Main,
    /// None.
    None,
}

impl Resolver {
    /// A resolver of this name with the documented defaults: Let's Encrypt, RSA-4096, `acme.json`, no
    /// contact and no challenge yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            email: None,
            issuers: vec![IssuerOptions::default()],
            key_type: KeyAlgorithm::Rsa(RsaSize::from_bits(4096).unwrap_or_default()),
            certificates_duration: None,
            client_timeout: Duration::from_secs(120),
            client_response_header_timeout: Duration::from_secs(30),
            certificate_timeout: Duration::from_secs(30),
            dns_challenge: None,
            http_challenge: None,
            tls_challenge: None,
            storage: PathBuf::from("acme.json"),
            email_addresses: Vec::new(),
            common_name: CommonName::default(),
            grouping: Grouping::default(),
        }
    }

    /// Which chain of the first issuer is taken.
    pub fn preferred_chain(&self) -> Option<&ChainPreference> {
        Some(&self.issuers.first()?.preferred_chain)
    }

    /// When certificates are renewed: by Traefik's table if `certificatesDuration` is set, which says
    /// nothing about the certificate; otherwise after two thirds of what the certificate really lasts,
    /// which for 90 days is the same.
    pub fn renewal_policy(&self) -> RenewalPolicy {
        match self.certificates_duration {
            Some(hours) => RenewalPolicy::AcmeTable(AcmeTable::for_hours(hours)),
            None => RenewalPolicy::TwoThirds,
        }
    }

    /// How orders are made: wildcards need a DNS challenge.
    pub fn order_rules(&self) -> OrderRules {
        OrderRules {
            grouping: self.grouping,
            wildcards: match self.dns_challenge {
                Some(_) => Wildcards::Allowed,
                None => Wildcards::Refused,
            },
        }
    }

    /// The file of Traefik to import: `storage`, if it names a file of JSON.
    pub fn import_file(&self) -> Option<&Path> {
        let json = self.storage.extension().is_some_and(|it| it == "json");
        json.then_some(self.storage.as_path())
    }

    /// The directory our data lives in: beside Traefik's file (`acme.json.d`), which is left untouched,
    /// or `storage` itself.
    pub fn data_directory(&self) -> PathBuf {
        if self.import_file().is_none() {
            return self.storage.clone();
        }
        let mut name = self.storage.clone().into_os_string();
        name.push(".d");
        PathBuf::from(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_data_lives_beside_traefiks_file() {
        for (storage, import, directory) in [
            ("acme.json", Some("acme.json"), "acme.json.d"),
            (
                "/data/acme.json",
                Some("/data/acme.json"),
                "/data/acme.json.d",
            ),
            ("/var/lib/certs", None, "/var/lib/certs"),
        ] {
            let mut resolver = Resolver::new("le");
            resolver.storage = storage.into();
            assert_eq!(resolver.import_file(), import.map(Path::new));
            assert_eq!(resolver.data_directory(), Path::new(directory));
        }
    }

    #[test]
    fn wildcards_need_a_dns_challenge() {
        let mut resolver = Resolver::new("le");
        assert_eq!(resolver.order_rules().wildcards, Wildcards::Refused);
        resolver.dns_challenge = Some(DnsChallenge::default());
        assert_eq!(resolver.order_rules().wildcards, Wildcards::Allowed);
    }
}
