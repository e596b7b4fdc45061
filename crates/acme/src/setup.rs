//! From a resolver's options to an engine.

use std::sync::Arc;

use certwright_cert_model::pem;
use certwright_storage::Storage;
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use crate::account::{AccountSpec, ExternalBinding};
use crate::challenge::dns01::{Dns01, DnsProvider, ProviderError};
use crate::challenge::{Pause, Solvers};
use crate::config::{IssuerOptions, LETS_ENCRYPT, Resolver, Trust};
use crate::domains::OrderNames;
use crate::engine::{Engine, EngineError, Options, Strangers};
use crate::http::{HttpError, HttpOptions};
use crate::import::{Import, ImportError};
use crate::issuer::{Issuer, MAX_NAMES};
use crate::limits::Quotas;
use crate::protocol::AcmeServer;
use crate::runtime::Runtime;
use crate::wanted::Wanted;

impl Resolver {
    /// The issuers these options describe, the most wanted first. `dns` writes the
    /// records for a `dnsChallenge`. Without it, and with the feature `dns-providers`,
    /// the option `provider` names who does, and the process' environment holds the
    /// credentials.
    ///
    /// Reads the files the options name, and looks up the name servers: call it where
    /// blocking is allowed.
    ///
    /// # Errors
    /// [`SetupError`] with the option that cannot be used.
    pub fn issuers(&self, dns: Option<Arc<dyn DnsProvider>>) -> Result<Vec<Issuer>, SetupError> {
        let solvers = self.solvers(dns)?;
        let names = self.issuers.iter().map(|one| one.ca_server.as_str());
        let names: Vec<&str> = names.collect();
        let issuers = self.issuers.iter().enumerate();
        issuers
            .map(|(index, options)| {
                let same = names
                    .iter()
                    .take(index)
                    .filter(|name| *name == &names[index]);
                let name = match same.count() {
                    0 => options.ca_server.clone(),
                    // The same CA again, with another binding or profile.
                    number => format!("{} {}", options.ca_server, number + 1),
                };
                self.issuer(&name, options, solvers.clone())
            })
            .collect()
    }

    /// An engine for these options over this store, such as one in
    /// [`Resolver::data_directory`]; what an `acme.json` of Traefik holds is taken over first,
    /// once, as [`Resolver::import`] does it.
    ///
    /// `options` are those of [`Resolver::engine_options`], completed: TLS-ALPN-01 needs its
    /// sink there.
    ///
    /// # Errors
    /// As [`Resolver::issuers`], and [`SetupError::Import`].
    pub async fn engine(
        &self,
        dns: Option<Arc<dyn DnsProvider>>,
        storage: Arc<dyn Storage>,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Result<(Engine, Import), SetupError> {
        let engine = Engine::new(storage, runtime, self.issuers(dns)?, options)?;
        let imported = self.import(&engine).await?;
        Ok((engine, imported))
    }

    /// The certificate for these names, the first as its main one.
    ///
    /// # Errors
    /// [`SetupError::Name`] if one is no name; [`OrderNames`] has checked them.
    /// [`SetupError::TooManyNames`] if there are more than any certificate may have; what
    /// an issuer takes, `Engine::check` says.
    pub fn wanted(&self, names: &OrderNames) -> Result<Wanted, SetupError> {
        let identifiers = names.names().iter().map(|name| {
            name.parse()
                .map_err(|_| SetupError::Name { name: name.clone() })
        });
        let identifiers = identifiers.collect::<Result<Vec<_>, _>>()?;
        let found = identifiers.len();
        if found > MAX_NAMES {
            return Err(SetupError::TooManyNames { found });
        }
        let mut wanted = Wanted::new(identifiers);
        wanted.key = self.key_type;
        wanted.common_name = self.common_name;
        wanted.emails.clone_from(&self.email_addresses);
        Ok(wanted)
    }

    /// How an engine goes about it: as by default, with the CA given
    /// `certificateTimeout` to make a certificate if that is longer. Issuers are called by
    /// their `caServer`, so a certificate of a server that is no longer named, such as one
    /// for staging, is replaced.
    pub fn engine_options(&self) -> Options {
        let mut options = Options::default();
        options.strangers = Strangers::Replace;
        options.patience = options.patience.max(self.certificate_timeout);
        options
    }

    fn issuer(
        &self,
        name: &str,
        options: &IssuerOptions,
        solvers: Solvers,
    ) -> Result<Issuer, SetupError> {
        let mut http = HttpOptions::new(roots(&options.trust)?);
        http.timeout = self.client_timeout;
        http.header_timeout = self.client_response_header_timeout;
        http.server_name.clone_from(&options.trust.server_name);
        let server = AcmeServer::new(&options.ca_server, http);
        let server = server.map_err(|source| SetupError::Server {
            url: options.ca_server.clone(),
            source,
        })?;
        let mut account = AccountSpec::new(&options.ca_server);
        let contact = self.email.iter().map(|email| format!("mailto:{email}"));
        account.registration.contacts = contact.collect();
        let eab = options.eab.as_ref();
        account.registration.binding =
            eab.map(|eab| ExternalBinding::from_bytes(&eab.kid, eab.hmac.clone()));
        let mut issuer = Issuer::new(name, account, Arc::new(server), solvers);
        issuer.chain = options.preferred_chain.clone();
        issuer.profile.clone_from(&options.profile);
        if options.ca_server != LETS_ENCRYPT {
            // The default is Let's Encrypt's own; a CA in house has no fifty names a week.
            issuer.quotas = Quotas::unlimited();
            issuer.max_names = MAX_NAMES;
        }
        Ok(issuer)
    }

    fn solvers(&self, dns: Option<Arc<dyn DnsProvider>>) -> Result<Solvers, SetupError> {
        let dns01 = match (&self.dns_challenge, dns) {
            (None, _) => None,
            (Some(challenge), dns) => {
                let mut solver = match dns {
                    Some(provider) => Dns01::new(provider),
                    None => named(challenge)?,
                };
                solver.delay = challenge.propagation.delay_before_checks;
                Some(view(challenge, solver)?)
            }
        };
        Ok(Solvers {
            dns01,
            http01: self.http_challenge.as_ref().map(|http| Pause(http.delay)),
            tls_alpn01: self.tls_challenge.map(|tls| Pause(tls.delay)),
            addresses: None,
            rule: None,
        })
    }
}

/// The solver with the provider of this name.
#[cfg(feature = "dns-providers")]
fn named(challenge: &crate::config::DnsChallenge) -> Result<Dns01, SetupError> {
    use crate::challenge::dns01::Propagation;
    use crate::challenge::dns01::providers::NamedProvider;

    let Some(name) = &challenge.provider else {
        return Err(SetupError::NoProvider { provider: None });
    };
    let zones = Propagation::new(recursive(&challenge.resolvers)?);
    let get = |variable: &str| std::env::var(variable).ok();
    let provider = NamedProvider::from_environment(name, get, zones)?;
    let timeout = provider.propagation_timeout();
    let poll = provider.polling_interval();
    let mut solver = Dns01::new(Arc::new(provider));
    solver.propagation_timeout = timeout.unwrap_or(solver.propagation_timeout);
    solver.poll = poll.unwrap_or(solver.poll);
    Ok(solver)
}

#[cfg(not(feature = "dns-providers"))]
fn named(challenge: &crate::config::DnsChallenge) -> Result<Dns01, SetupError> {
    Err(SetupError::NoProvider {
        provider: challenge.provider.clone(),
    })
}

#[cfg(feature = "dns")]
fn view(challenge: &crate::config::DnsChallenge, mut solver: Dns01) -> Result<Dns01, SetupError> {
    use crate::challenge::dns01::{Aliases, Authoritative, Propagation, Require};
    use crate::config::CnameRecords;

    let options = challenge.propagation;
    let mut view = Propagation::new(recursive(&challenge.resolvers)?);
    view.aliases = match challenge.cname_records {
        CnameRecords::Follow => Aliases::Follow,
        CnameRecords::Ignore => Aliases::Ignore,
    };
    if options.require_all_rns {
        view.require = Require::All;
    }
    if options.disable_ans_checks {
        view.authoritative = Authoritative::Skip;
    }
    solver.checks = match options.disable_checks {
        true => crate::challenge::dns01::Checks::Skip,
        false => crate::challenge::dns01::Checks::Wait,
    };
    Ok(solver.with_view(Arc::new(view)))
}

/// Without hickory nobody looks, and aliases are not followed.
#[cfg(not(feature = "dns"))]
fn view(challenge: &crate::config::DnsChallenge, solver: Dns01) -> Result<Dns01, SetupError> {
    match challenge.propagation.disable_checks && challenge.resolvers.is_empty() {
        true => Ok(solver),
        false => Err(SetupError::NoDns),
    }
}

/// The addresses of these servers; the system's if there are none.
#[cfg(feature = "dns")]
fn recursive(
    servers: &[crate::config::Nameserver],
) -> Result<Vec<std::net::SocketAddr>, SetupError> {
    use std::net::{SocketAddr, ToSocketAddrs};

    if servers.is_empty() {
        let (config, _) = hickory_resolver::system_conf::read_system_conf().map_err(|error| {
            SetupError::Resolver {
                server: "the system's".to_owned(),
                reason: error.to_string(),
            }
        })?;
        let servers = config.name_servers().iter();
        return Ok(servers
            .map(|server| SocketAddr::new(server.ip, 53))
            .collect());
    }
    let mut addresses = Vec::new();
    for server in servers {
        let found = (server.host(), server.port()).to_socket_addrs();
        let found = found.map_err(|error| SetupError::Resolver {
            server: server.to_string(),
            reason: error.to_string(),
        })?;
        addresses.extend(found);
    }
    Ok(addresses)
}

fn roots(trust: &Trust) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let mut roots = Vec::new();
    for source in &trust.ca_certificates {
        let unreadable = |reason: String| SetupError::Roots {
            // The text itself would be a page long.
            place: source.lines().next().unwrap_or_default().to_owned(),
            reason,
        };
        let text = match source.contains("-----BEGIN") {
            true => source.clone().into_bytes(),
            false => std::fs::read(source).map_err(|error| unreadable(error.to_string()))?,
        };
        let blocks = pem::read_at_most(&text, MAX_ROOTS);
        let blocks = blocks.map_err(|error| unreadable(error.to_string()))?;
        let certificates = blocks.iter().filter(|block| block.label() == "CERTIFICATE");
        let before = roots.len();
        roots.extend(certificates.map(|block| CertificateDer::from(block.der().to_vec())));
        if roots.len() == before {
            return Err(unreadable("it has no certificate".to_owned()));
        }
    }
    if trust.ca_certificates.is_empty() || trust.system_roots {
        roots.extend(system_roots()?);
    }
    Ok(roots)
}

#[cfg(feature = "platform-roots")]
fn system_roots() -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let system = HttpOptions::system();
    let system = system.map_err(|error| SetupError::Roots {
        place: "the system's roots".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(system.roots)
}

#[cfg(not(feature = "platform-roots"))]
fn system_roots() -> Result<Vec<CertificateDer<'static>>, SetupError> {
    Err(SetupError::Roots {
        place: "the system's roots".to_owned(),
        reason: "this build cannot read them; name caCertificates, or build with the feature platform-roots".to_owned(),
    })
}

/// A bundle of all public roots is a quarter of a mebibyte.
const MAX_ROOTS: usize = 4 << 20;

/// Why options do not make an engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// There can be no engine of these issuers.
    #[error("the issuers make no engine")]
    Engine(#[from] EngineError),
    /// Traefik's file cannot be taken over.
    #[error("storage: the file cannot be imported; mend it, or move it away to start without it")]
    Import(#[from] ImportError),
    /// A name that is none.
    #[error("{name:?} is no name for a certificate")]
    Name {
        /// The name.
        name: String,
    },
    /// Looking at DNS was asked for, and this build cannot.
    #[error(
        "this build cannot look at DNS; build with the feature dns, or set propagation.disableChecks without resolvers"
    )]
    NoDns,
    /// A DNS challenge without anybody who writes records.
    #[error("dnsChallenge has no provider{}; give one in code, or name one and build with the feature dns-providers", .provider.as_ref().map(|name| format!(" for {name:?}")).unwrap_or_default())]
    NoProvider {
        /// The one the options name.
        provider: Option<String>,
    },
    /// The provider of a name cannot be used.
    #[error("dnsChallenge.provider: {0}")]
    Provider(ProviderError),
    /// A name server that cannot be found.
    #[error("name server {server} cannot be asked: {reason}")]
    Resolver {
        /// Which.
        server: String,
        /// Why.
        reason: String,
    },
    /// Roots that cannot be read.
    #[error("caCertificates: {place}: {reason}")]
    Roots {
        /// The file, or the text's first line.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// More names than a certificate may have.
    #[error(
        "{found} names in one certificate, at most {MAX_NAMES} are possible; make several of it"
    )]
    TooManyNames {
        /// How many.
        found: usize,
    },
    /// The CA's server cannot be asked.
    #[error("caServer: {url} cannot be used")]
    Server {
        /// The directory's URL.
        url: String,
        /// Why.
        source: HttpError,
    },
}

impl From<ProviderError> for SetupError {
    /// Its words are in the text, so it is no source.
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certwright_cert_model::document::Strictness;

    use super::*;
    use crate::challenge::ChallengeKind;
    use crate::challenge::dns01::{DnsError, TxtRecord};
    use crate::config::{StaticConfig, flags};
    use crate::domains::Wildcards;
    use crate::runtime::Task;

    fn resolver(more: &[&str]) -> Resolver {
        let common = [
            "--entryPoints.web.address=:80",
            "--certificatesresolvers.le.acme.email=you@example.com",
        ];
        let node = flags(common.iter().chain(more)).unwrap();
        let config = StaticConfig::decode(&node, Strictness::Strict)
            .into_result()
            .unwrap();
        config.resolver("le").unwrap().clone()
    }

    fn root() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap()
            .pem()
    }

    #[test]
    fn options_take_effect() {
        let root = root();
        let mut resolver = resolver(&[
            "--certificatesresolvers.le.acme.caserver=https://ca.test/dir",
            "--certificatesresolvers.le.acme.eab.kid=kid-1",
            "--certificatesresolvers.le.acme.eab.hmacencoded=AAEC",
            "--certificatesresolvers.le.acme.httpchallenge.entrypoint=web",
            "--certificatesresolvers.le.acme.tlschallenge=true",
            "--certificatesresolvers.le.acme.profile=shortlived",
            "--certificatesresolvers.le.acme.preferredchain=Root X",
            "--certificatesresolvers.le.acme.keytype=EC384",
        ]);
        resolver.issuers[0].trust.ca_certificates = vec![root];
        let issuers = resolver.issuers(None).unwrap();
        let [issuer] = issuers.as_slice() else {
            panic!("{issuers:?}");
        };
        assert_eq!(issuer.name, "https://ca.test/dir");
        assert_eq!(issuer.account.directory, "https://ca.test/dir");
        assert_eq!(
            issuer.account.registration.contacts,
            ["mailto:you@example.com"]
        );
        let binding = issuer.account.registration.binding.as_ref().unwrap();
        assert_eq!(
            (binding.kid.as_str(), binding.mac()),
            ("kid-1", &[0, 1, 2][..])
        );
        assert_eq!(issuer.profile.as_deref(), Some("shortlived"));
        assert_eq!(issuer.chain.names, ["Root X"]);
        assert_eq!(issuer.quotas, Quotas::unlimited(), "not Let's Encrypt's");
        let kinds: Vec<_> = issuer.solvers.kinds().collect();
        assert_eq!(kinds, [ChallengeKind::TlsAlpn01, ChallengeKind::Http01]);
        let names = ["a.test".to_owned(), "b.test".to_owned()];
        let names = OrderNames::new(&names, Wildcards::Refused).unwrap();
        let wanted = resolver.wanted(&names).unwrap();
        assert_eq!(wanted.key.to_string(), "ECDSA P-384");
        assert_eq!(wanted.identifiers[0].to_string(), "a.test");
    }

    /// Writes nowhere.
    #[derive(Debug)]
    struct Nowhere;

    impl DnsProvider for Nowhere {
        fn append<'a>(&'a self, _: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
            Box::pin(async { Ok(()) })
        }

        fn remove<'a>(&'a self, _: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[cfg(feature = "dns")]
    #[test]
    fn options_of_dns_take_effect() {
        use crate::challenge::dns01::Checks;

        let servers = "--certificatesresolvers.le.acme.dnschallenge.resolvers=192.0.2.1:5353";
        let solver = |options: &[&str]| {
            let prefix = "--certificatesresolvers.le.acme.dnschallenge.";
            let options: Vec<String> = options.iter().map(|it| format!("{prefix}{it}")).collect();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let mut resolver = resolver(&[&[servers], options.as_slice()].concat());
            resolver.issuers[0].trust.ca_certificates = vec![root()];
            let issuers = resolver.issuers(Some(Arc::new(Nowhere))).unwrap();
            issuers[0].solvers.dns01.clone().unwrap()
        };
        let plain = solver(&[]);
        assert_eq!((plain.checks, plain.delay), (Checks::Wait, Duration::ZERO));
        let view = format!("{:?}", plain.view.unwrap());
        for part in [
            "192.0.2.1:5353",
            "require: First",
            "authoritative: Ask",
            "aliases: Follow",
        ] {
            assert!(view.contains(part), "{view}");
        }
        for (option, part) in [
            ("propagation.requireallrns=true", "require: All"),
            ("propagation.disableanschecks=true", "authoritative: Skip"),
            ("disablecnamesupport=true", "aliases: Ignore"),
        ] {
            let view = format!("{:?}", solver(&[option]).view.unwrap());
            assert!(view.contains(part), "{view}");
        }
        assert_eq!(
            solver(&["propagation.disablechecks=true"]).checks,
            Checks::Skip
        );
        let delayed = solver(&["propagation.delaybeforechecks=90"]);
        assert_eq!(delayed.delay, Duration::from_secs(90));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let http = "--certificatesresolvers.le.acme.httpchallenge.entrypoint=web";
        let with_roots = |roots: &str| {
            let mut resolver = resolver(&[http]);
            resolver.issuers[0].trust.ca_certificates = vec![roots.to_owned()];
            resolver.issuers(None).unwrap_err().to_string()
        };
        let missing = with_roots("/nowhere/ca.pem");
        assert!(
            missing.starts_with("caCertificates: /nowhere/ca.pem: "),
            "{missing}"
        );
        let empty = with_roots("-----BEGIN X-----\n-----END X-----\n");
        assert_eq!(
            empty,
            "caCertificates: -----BEGIN X-----: it has no certificate"
        );
        let provider = |name: &str| {
            let option = format!("--certificatesresolvers.le.acme.dnschallenge.provider={name}");
            let servers = "--certificatesresolvers.le.acme.dnschallenge.resolvers=192.0.2.1";
            let dns = resolver(&[&option, servers]);
            dns.issuers(None).unwrap_err().to_string()
        };
        assert_eq!(
            provider("acme-dns"),
            "dnsChallenge.provider: the DNS provider acme-dns is not there: give a DnsProvider of your own in code"
        );
        assert_eq!(
            provider("cludflare"),
            r#"dnsChallenge.provider: there is no DNS provider "cludflare"; near to it are cloudflare"#
        );
        assert_eq!(
            provider("luadns"),
            "dnsChallenge.provider: the DNS provider luadns needs LUADNS_API_USERNAME and LUADNS_API_TOKEN: set them, or LUADNS_API_USERNAME_FILE and so on to files that hold them"
        );
        let mut plain = resolver(&[http]);
        plain.issuers[0].ca_server = "http://ca.test/dir".to_owned();
        plain.issuers[0].trust.ca_certificates = vec![root()];
        let error = plain.issuers(None).unwrap_err();
        assert!(matches!(error, SetupError::Server { .. }), "{error:?}");
    }
}
