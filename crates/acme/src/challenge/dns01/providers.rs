//! DNS providers by the names lego and Traefik have for them, with credentials from the
//! environment.
//!
//! ```
//! use certwright_acme::challenge::dns01::providers::NamedProvider;
//! use certwright_acme::challenge::dns01::Propagation;
//!
//! let environment = |name: &str| match name {
//!     "RFC2136_NAMESERVER" => Some("192.0.2.53:53".to_owned()),
//!     "RFC2136_TSIG_KEY" => Some("update-key".to_owned()),
//!     "RFC2136_TSIG_SECRET" => Some("c2VjcmV0".to_owned()),
//!     _ => None,
//! };
//! let resolvers = Propagation::new(vec!["192.0.2.1:53".parse()?]);
//! let provider = NamedProvider::from_environment("rfc2136", environment, resolvers)?;
//! assert_eq!(provider.name(), "rfc2136");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The table of them all, with their variables, is `docs/dns-providers.md` of this crate.

mod credentials;
mod google;
mod table;
mod update;

use core::fmt;
use core::net::SocketAddr;
use std::time::Duration;

use dns_update::{DnsRecord, DnsRecordType, DnsUpdater};

use super::{DnsError, DnsProvider, Propagation, ProviderError, TxtRecord};
use crate::runtime::Task;

use credentials::Credentials;

/// A provider by its name.
///
/// Values are added to a record and taken away from it one by one. Where the provider can
/// only write whole records, or like Namecheap and Joker whole zones, that is reading,
/// changing and writing: a change that somebody else makes in between may be lost.
pub struct NamedProvider {
    entry: &'static table::Entry,
    updater: DnsUpdater,
    zones: Propagation,
    ttl: u32,
    propagation_timeout: Option<Duration>,
    polling_interval: Option<Duration>,
}

impl NamedProvider {
    /// The provider of this name; `get` returns an environment variable's value, and
    /// `zones` tells which zone a name is in.
    ///
    /// For every variable `NAME` there is `NAME_FILE`, a file that holds its value. Reads
    /// files and looks up name servers: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`ProviderError`], with the names that are near to an unknown one, and with every
    /// variable that is missing.
    pub fn from_environment(
        name: &str,
        get: impl Fn(&str) -> Option<String>,
        mut zones: Propagation,
    ) -> Result<Self, ProviderError> {
        let entry = table::find(name)?;
        let credentials = Credentials::read(entry, &get)?;
        // Without roots, making an HTTP client panics deep inside.
        if entry.names[0] != "rfc2136" && !has_roots() {
            return Err(ProviderError::NoRoots {
                provider: entry.names[0],
            });
        }
        let made = (entry.make)(&credentials)?;
        if let Some(server) = made.primary {
            // Who takes the changes knows its zones, also those nobody else sees.
            zones.recursive.insert(0, server);
        }
        Ok(Self {
            entry,
            updater: made.updater,
            zones,
            ttl: credentials.ttl()?.unwrap_or(entry.ttl),
            propagation_timeout: credentials.seconds("PROPAGATION_TIMEOUT")?,
            polling_interval: credentials.seconds("POLLING_INTERVAL")?,
        })
    }

    /// Its name, the first of those it has.
    pub fn name(&self) -> &'static str {
        self.entry.names[0]
    }

    /// `..._PROPAGATION_TIMEOUT` of the environment: how long its records may take.
    pub fn propagation_timeout(&self) -> Option<Duration> {
        self.propagation_timeout
    }

    /// `..._POLLING_INTERVAL` of the environment: how long to wait between two looks.
    pub fn polling_interval(&self) -> Option<Duration> {
        self.polling_interval
    }

    async fn add(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let zone = self.zones.zone(&record.name).await?;
        let value = vec![DnsRecord::TXT(record.value.clone())];
        let name = record.name.as_str();
        let added =
            self.updater
                .add_to_rrset(name, DnsRecordType::TXT, self.ttl, value, zone.as_str());
        added.await.map_err(|error| self.failed(record, &error))
    }

    async fn take(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let zone = self.zones.zone(&record.name).await?;
        let value = vec![DnsRecord::TXT(record.value.clone())];
        let name = record.name.as_str();
        let taken = self
            .updater
            .remove_from_rrset(name, DnsRecordType::TXT, value, zone.as_str());
        match taken.await {
            Ok(()) | Err(dns_update::Error::NotFound) => Ok(()),
            Err(error) => Err(self.failed(record, &error)),
        }
    }

    fn failed(&self, record: &TxtRecord, error: &dns_update::Error) -> DnsError {
        DnsError::Provider {
            provider: self.name().to_owned(),
            name: record.name.clone(),
            reason: without_queries(&error.to_string()),
        }
    }
}

/// The text with what follows the question mark of a URL left out: dns-update puts the
/// whole URL into its errors, and some providers want the key there, such as NameSilo.
fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        match word.split_once('?') {
            Some((url, query)) if url.contains("://") => {
                let last = |c: char| c.is_whitespace() || matches!(c, ')' | ':');
                let end = query.trim_end_matches(last).len();
                shown.push_str(url);
                shown.push_str("?...");
                shown.push_str(query.get(end..).unwrap_or_default());
            }
            _ => shown.push_str(word),
        }
    }
    shown
}

impl DnsProvider for NamedProvider {
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        Box::pin(self.add(record))
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        Box::pin(self.take(record))
    }

    fn ttl(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.ttl.into()))
    }
}

impl fmt::Debug for NamedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedProvider({})", self.name())
    }
}

/// Whether the machine has roots to verify a provider's server with.
fn has_roots() -> bool {
    !rustls_native_certs::load_native_certs().certs.is_empty()
}

/// What credentials make.
struct Made {
    updater: DnsUpdater,
    /// The server that takes the changes, if it is a name server.
    primary: Option<SocketAddr>,
}

impl From<DnsUpdater> for Made {
    fn from(updater: DnsUpdater) -> Self {
        Self {
            updater,
            primary: None,
        }
    }
}

/// A provider as the table has it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Whose it is.
    pub title: &'static str,
    /// Its names, the usual one first.
    pub names: &'static [&'static str],
    /// The variables it needs, each with its other spellings.
    pub required: &'static [&'static [&'static str]],
    /// Those it knows besides.
    pub optional: &'static [&'static [&'static str]],
    /// The start of `..._TTL`, `..._PROPAGATION_TIMEOUT`, `..._POLLING_INTERVAL` and
    /// `..._HTTP_TIMEOUT`, all in seconds.
    pub prefix: &'static str,
    /// The TTL of its records in seconds, if the environment says no other.
    pub ttl: u32,
}

/// All providers there are a name for, by it.
pub fn listed() -> impl Iterator<Item = Listed> {
    table::ENTRIES.iter().map(|entry| Listed {
        title: entry.title,
        names: entry.names,
        required: entry.required,
        optional: entry.optional,
        prefix: entry.prefix,
        ttl: entry.ttl,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn made(name: &str, variables: &[(&str, &str)]) -> Result<NamedProvider, ProviderError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let get = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        NamedProvider::from_environment(name, get, Propagation::new(Vec::new()))
    }

    fn refused(name: &str, variables: &[(&str, &str)]) -> String {
        made(name, variables).unwrap_err().to_string()
    }

    /// A value that passes, where any text does not.
    fn sample(variable: &str) -> &'static str {
        match variable {
            "AZURE_ENVIRONMENT" => "usgovernment",
            "AUTODNS_CONTEXT" => "4",
            "HUAWEICLOUD_REGION"
            | "ALICLOUD_REGION_ID"
            | "TENCENTCLOUD_REGION"
            | "VOLC_REGION"
            | "AWS_REGION" => "region-1",
            "INWX_SANDBOX"
            | "AWS_PRIVATE_ZONE"
            | "BLUECATV2_SKIP_DEPLOY"
            | "GCE_ALLOW_PRIVATE_ZONE" => "true",
            "OVH_ENDPOINT" => "ovh-eu",
            "JOKER_API_MODE" => "DMAPI",
            "PDNS_API_URL" | "CPANEL_BASE_URL" | "BLUECATV2_SERVER_URL" | "ULTRADNS_ENDPOINT" => {
                "https://dns.test:8443"
            }
            "GCE_SERVICE_ACCOUNT" => {
                r#"{"client_email":"a@b.test","private_key":"c2VjcmV0","token_uri":"https://t.test/"}"#
            }
            // Any file that is there: the key is read when it is used.
            "TRANSIP_PRIVATE_KEY_PATH" => concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "RFC2136_NAMESERVER" => "127.0.0.1:5353",
            "RFC2136_TSIG_SECRET" => "c2VjcmV0",
            "RFC2136_TSIG_ALGORITHM" => "hmac-sha512.",
            _ => "text",
        }
    }

    #[test]
    fn every_provider_can_be_made_of_its_variables() {
        for listed in listed() {
            let all = listed.required.iter().chain(listed.optional);
            // A client costs a look at all the system's roots: no more of them than spellings.
            let spellings = all
                .clone()
                .chain([&listed.names])
                .map(|names| names.len())
                .max();
            for spelling in 0..spellings.unwrap_or(1) {
                let variables = all.clone().filter(|names| names[0] != "RFC2136_TSIG_FILE");
                let variables: Vec<(&str, &str)> = variables
                    .map(|names| (*names.get(spelling).unwrap_or(&names[0]), sample(names[0])))
                    .collect();
                let name = listed.names.get(spelling).unwrap_or(&listed.names[0]);
                let made = made(name, &variables).unwrap();
                assert_eq!(made.name(), listed.names[0]);
                assert_eq!(made.ttl(), Some(Duration::from_secs(listed.ttl.into())));
            }
            let missing = refused(listed.names[0], &[]);
            for names in listed.required {
                assert!(missing.contains(names[0]), "{missing}");
            }
        }
    }

    #[test]
    fn names_are_different() {
        let names: Vec<_> = listed().flat_map(|listed| listed.names).collect();
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
        assert!(listed().map(|listed| listed.names[0]).is_sorted());
    }

    /// The page is made of the code's table: with `UPDATE_DOCS` set, this writes it.
    #[test]
    fn the_page_has_all_of_them() {
        let list = |all: &[&[&str]]| -> String {
            let all = all.iter().map(|names| {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                names.join(" or ")
            });
            let all: Vec<String> = all.collect();
            all.join("<br>")
        };
        let rows = listed().map(|listed| {
            let names: Vec<String> = listed.names.iter().map(|it| format!("`{it}`")).collect();
            format!(
                "| {} | {} | {} | {} | `{}_` | {} |\n",
                listed.title,
                names.join(", "),
                list(listed.required),
                list(listed.optional),
                listed.prefix,
                listed.ttl
            )
        });
        let rows: String = rows.collect();
        let refused = table::REFUSED.iter();
        let refused = refused.map(|(name, reason)| format!("| `{name}` | {reason} |\n"));
        let refused: String = refused.collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dns-providers.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (start, rest) = page.split_once("|---|---|---|---|---|---|\n").unwrap();
        let (_, middle) = rest.split_once("\n\n").unwrap();
        let (middle, end) = middle.split_once("|---|---|\n").unwrap();
        let (_, end) = end.split_once("\n\n").unwrap();
        let made = format!(
            "{start}|---|---|---|---|---|---|\n{rows}\n{middle}|---|---|\n{refused}\n{end}"
        );
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        assert!(page == made, "run this test with UPDATE_DOCS=1");
    }

    #[test]
    fn names_that_are_none() {
        for (name, expected) in [
            (
                "cloudflair",
                r#"there is no DNS provider "cloudflair"; near to it are cloudflare"#,
            ),
            (
                "Route53",
                r#"there is no DNS provider "Route53"; near to it are route53"#,
            ),
            (
                "exec",
                "the DNS provider exec is not there: give a DnsProvider of your own in code",
            ),
            (
                "duckdns",
                "the DNS provider duckdns is not there: it keeps one value per name and overwrites it, and a name and its wildcard need two",
            ),
        ] {
            assert_eq!(refused(name, &[]), expected);
        }
        let far = refused("qqqqqqqqqqqqqqq", &[]);
        assert!(far.ends_with("see the table of providers"), "{far}");
    }

    #[test]
    fn variables_that_are_missing_or_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "secret\n").unwrap();
        let file = file.to_str().unwrap();
        let missing = format!("{file}.not");
        let ovh = |endpoint| {
            refused(
                "ovh",
                &[
                    ("OVH_ENDPOINT", endpoint),
                    ("OVH_APPLICATION_KEY", "hidden"),
                    ("OVH_APPLICATION_SECRET", "hidden"),
                    ("OVH_CONSUMER_KEY", "hidden"),
                ],
            )
        };
        for (found, expected) in [
            (
                refused("cloudflare", &[]),
                "the DNS provider cloudflare needs CF_DNS_API_TOKEN (or CLOUDFLARE_DNS_API_TOKEN): set it, or CF_DNS_API_TOKEN_FILE to a file that holds it",
            ),
            (
                refused("cloudflare", &[("CF_DNS_API_TOKEN", "")]),
                "the DNS provider cloudflare needs CF_DNS_API_TOKEN (or CLOUDFLARE_DNS_API_TOKEN): set it, or CF_DNS_API_TOKEN_FILE to a file that holds it",
            ),
            (
                refused("luadns", &[]),
                "the DNS provider luadns needs LUADNS_API_USERNAME and LUADNS_API_TOKEN: set them, or LUADNS_API_USERNAME_FILE and so on to files that hold them",
            ),
            (
                ovh("ovh-mars"),
                "the DNS provider ovh cannot use OVH_ENDPOINT: \"ovh-mars\" is none of ovh-eu, ovh-us, ovh-ca, kimsufi-eu, kimsufi-ca, soyoustart-eu and soyoustart-ca",
            ),
            (
                refused("desec", &[("DESEC_TOKEN", "hidden"), ("DESEC_TTL", "1h")]),
                "the DNS provider desec cannot use DESEC_TTL: \"1h\" is no number of seconds",
            ),
            (
                refused("desec", &[("DESEC_TOKEN", "hid\nden")]),
                "the DNS provider desec cannot use DESEC_TOKEN: it has a line break in it",
            ),
        ] {
            assert_eq!(found, expected);
        }
        let unread = refused("desec", &[("DESEC_TOKEN_FILE", &missing)]);
        let start = "the DNS provider desec cannot use DESEC_TOKEN_FILE: ";
        assert!(
            unread.starts_with(start) && unread.contains(&missing),
            "{unread}"
        );
        for variables in [
            &[("DESEC_TOKEN_FILE", file)][..],
            &[("DESEC_TOKEN", "secret"), ("DESEC_TOKEN_FILE", &missing)],
        ] {
            let provider = made("desec", variables).unwrap();
            assert_eq!(format!("{provider:?}"), "NamedProvider(desec)");
        }
    }

    #[test]
    fn errors_show_no_keys() {
        for (text, expected) in [
            (
                "API error: Failed to send request to https://a.test/api/list?version=1&key=hidden: error sending request for url (https://a.test/api/list?version=1&key=hidden)",
                "API error: Failed to send request to https://a.test/api/list?...: error sending request for url (https://a.test/api/list?...)",
            ),
            (
                "from http://a.test/?key=hidden\nand on",
                "from http://a.test/?...\nand on",
            ),
            (
                "https://a.test/x: what? why?",
                "https://a.test/x: what? why?",
            ),
            ("Unauthorized", "Unauthorized"),
            ("", ""),
        ] {
            assert_eq!(without_queries(text), expected);
        }
        let provider = made("namesilo", &[("NAMESILO_API_KEY", "hidden")]).unwrap();
        let record = TxtRecord {
            name: "_acme-challenge.a.test".to_owned(),
            value: "x".to_owned(),
        };
        let error = "Failed to send request to https://a.test/?key=hidden: no route";
        let error = dns_update::Error::Api(error.to_owned());
        assert_eq!(
            provider.failed(&record, &error).to_string(),
            "namesilo did not change _acme-challenge.a.test: API error: Failed to send request to https://a.test/?...: no route"
        );
    }

    #[test]
    fn settings_beside_credentials() {
        let provider = made(
            "digitalocean",
            &[
                ("DIGITALOCEAN_ACCESS_TOKEN", "secret"),
                ("DO_TTL", "60"),
                ("DO_PROPAGATION_TIMEOUT", "300"),
                ("DO_POLLING_INTERVAL", "7"),
                ("DO_HTTP_TIMEOUT", "9"),
            ],
        );
        let provider = provider.unwrap();
        assert_eq!(provider.ttl(), Some(Duration::from_secs(60)));
        assert_eq!(
            provider.propagation_timeout(),
            Some(Duration::from_secs(300))
        );
        assert_eq!(provider.polling_interval(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn keys_of_updates() {
        let server = ("RFC2136_NAMESERVER", "127.0.0.1:5353");
        let (key, secret) = (
            ("RFC2136_TSIG_KEY", "k"),
            ("RFC2136_TSIG_SECRET", "c2VjcmV0"),
        );
        let provider = made("rfc2136", &[server, key, secret]).unwrap();
        let first = provider.zones.recursive.first();
        assert_eq!(first, Some(&([127, 0, 0, 1], 5353).into()));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("update.key");
        std::fs::write(
            &file,
            "key \"update-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n",
        )
        .unwrap();
        let file = ("RFC2136_TSIG_FILE", file.to_str().unwrap());
        made("dnsupdate", &[server, file]).unwrap();
        for (variables, expected) in [
            (
                &[server][..],
                "the DNS provider rfc2136 cannot use RFC2136_TSIG_KEY: it is not set; updates are always signed here, with RFC2136_TSIG_KEY and RFC2136_TSIG_SECRET, or RFC2136_TSIG_FILE",
            ),
            (
                &[server, key],
                "the DNS provider rfc2136 cannot use RFC2136_TSIG_SECRET: it is not set; updates are always signed here, with RFC2136_TSIG_KEY and RFC2136_TSIG_SECRET, or RFC2136_TSIG_FILE",
            ),
            (
                &[server, key, ("RFC2136_TSIG_SECRET", "c2Vj*")],
                "the DNS provider rfc2136 cannot use RFC2136_TSIG_SECRET: it is not base64",
            ),
            (
                &[
                    server,
                    key,
                    secret,
                    ("RFC2136_TSIG_ALGORITHM", "hmac-sha1."),
                ],
                "the DNS provider rfc2136 cannot use RFC2136_TSIG_ALGORITHM: \"hmac-sha1.\" is none of hmac-sha256, hmac-sha384 and hmac-sha512; give the server a key of one of these",
            ),
            (
                &[("RFC2136_NAMESERVER", "a b"), key, secret],
                "the DNS provider rfc2136 cannot use RFC2136_NAMESERVER: \"a b\" is no name server; write an address or a name, and a port if it is not 53, like 192.0.2.53:5353",
            ),
        ] {
            assert_eq!(refused("rfc2136", variables), expected);
        }
    }
}
