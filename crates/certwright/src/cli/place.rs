//! Where manifests are read from, and where Secrets are kept.

mod identity;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certwright::run::{SecretStore as _, SharedStore};
use certwright::{ACME_GROUP, Documents, Inventory, Manager, ResourceName, SecretDir};
use certwright_cert_model::{Defaults, TlsSecret};
use certwright_storage::{EtcdOptions, EtcdStorage, EtcdUser, Storage};
use clap::{Args, ValueEnum};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use self::identity::Identity;
use super::Exit;
use super::output::Output;
use super::run::acme::OnPaper;

/// Which manifests are meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Manifests {
    /// A manifest or a directory of them; several may be given.
    #[arg(
        short = 'm',
        long = "manifests",
        value_name = "PATH",
        env = "CERTWRIGHT_MANIFESTS",
        value_delimiter = ':',
        default_value = "manifests"
    )]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// The same for commands whose arguments are manifests.
#[derive(Args, Clone, Debug)]
pub(crate) struct Given {
    /// Manifests and directories of them.
    #[arg(
        value_name = "PATH",
        env = "CERTWRIGHT_MANIFESTS",
        value_delimiter = ':',
        default_value = "manifests"
    )]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

impl From<Given> for Manifests {
    fn from(Given { paths, reading }: Given) -> Self {
        Self { paths, reading }
    }
}

/// How manifests are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reading {
    /// What absent fields of a Certificate mean.
    #[arg(long, value_enum, value_name = "RULES", default_value_t)]
    defaults: DefaultsChoice,
    /// Where the CA Secrets of ClusterIssuers are.
    #[arg(long, value_name = "NAMESPACE", default_value = "cert-manager")]
    pub(crate) cluster_namespace: String,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DefaultsChoice {
    /// What cert-manager 1.21 does.
    CertManager,
    /// What cert-manager's Certificate documentation says.
    #[default]
    Documented,
}

impl Reading {
    pub(crate) fn defaults(&self) -> Defaults {
        match self.defaults {
            DefaultsChoice::CertManager => Defaults::cert_manager_1_21(),
            DefaultsChoice::Documented => Defaults::documented(),
        }
    }

    /// Documents as these settings read them.
    pub(crate) fn documents(&self) -> Documents {
        Documents::new(&self.cluster_namespace, self.defaults())
    }
}

/// Where Secrets are kept: in a directory, or in etcd for several machines.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The directory of Secrets: DIR/NAMESPACE/SECRET/tls.crt and its siblings.
    #[arg(
        short,
        long,
        value_name = "DIR",
        env = "CERTWRIGHT_SECRETS",
        default_value = "secrets"
    )]
    pub(crate) secrets: PathBuf,
    #[command(flatten)]
    pub(crate) etcd: Etcd,
}

/// Storage that several machines share.
#[derive(Args, Clone, Debug)]
pub(crate) struct Etcd {
    /// Keeps Secrets in etcd; members of one cluster, separated by commas.
    #[arg(
        long = "etcd",
        value_name = "URL",
        env = "CERTWRIGHT_ETCD",
        value_delimiter = ',',
        help_heading = "Several machines"
    )]
    pub(crate) urls: Vec<String>,
    /// What etcd's keys start with.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "/v1/certwright",
        help_heading = "Several machines"
    )]
    pub(crate) etcd_prefix: String,
    /// Sends keys to an etcd of another machine without encryption.
    #[arg(long, help_heading = "Several machines")]
    etcd_plaintext: bool,
    /// Roots of the servers of etcd, in PEM.
    #[arg(long, value_name = "FILE", help_heading = "Several machines")]
    etcd_ca: Option<PathBuf>,
    /// A certificate for etcd, in PEM, with those above it.
    #[arg(
        long,
        value_name = "FILE",
        requires_all = ["etcd_key", "etcd_ca"],
        help_heading = "Several machines"
    )]
    etcd_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "etcd_cert",
        help_heading = "Several machines"
    )]
    etcd_key: Option<PathBuf>,
    /// A file with a name, a colon and a password for etcd.
    #[arg(long, value_name = "FILE", help_heading = "Several machines")]
    etcd_user: Option<PathBuf>,
}

impl Etcd {
    /// Whether etcd is to be used.
    pub(crate) fn wanted(&self) -> bool {
        !self.urls.is_empty()
    }

    /// The storage. It connects when it is asked.
    pub(crate) fn storage(&self) -> Result<Arc<dyn Storage>, Box<dyn Error>> {
        Ok(Arc::new(EtcdStorage::new(self.options()?)?))
    }

    /// The storage of ACME issuers, whose keys do not start as those of Secrets do.
    pub(crate) fn acme_storage(&self) -> Result<Arc<dyn Storage>, Box<dyn Error>> {
        let mut options = self.options()?;
        options.root = format!("certwright-acme{}", self.etcd_prefix);
        Ok(Arc::new(EtcdStorage::new(options)?))
    }

    fn options(&self) -> Result<EtcdOptions, Box<dyn Error>> {
        let mut options = EtcdOptions::new(self.urls.iter().map(String::as_str));
        if let Some(path) = &self.etcd_user {
            let text = Zeroizing::new(read(path)?);
            let (name, password) = text
                .trim_end()
                .split_once(':')
                .ok_or_else(|| format!("{}: expected NAME:PASSWORD", path.display()))?;
            options.user = Some(EtcdUser {
                name: name.to_owned(),
                password: Zeroizing::new(password.to_owned()),
            });
        }
        let open = |url: &&String| url.starts_with("http:") && !is_local(url);
        if let Some(url) = self.urls.iter().find(open).filter(|_| !self.etcd_plaintext) {
            return Err(format!("{url} would be sent private keys in the clear; use https and --etcd-ca, or say --etcd-plaintext").into());
        }
        let encrypted = self.urls.iter().any(|url| url.starts_with("https:"));
        if let Some(path) = &self.etcd_ca {
            let roots = roots(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let identity = self.etcd_cert.as_deref().zip(self.etcd_key.as_deref());
            options.tls = Some(tls(roots, identity)?);
        } else if encrypted {
            return Err("https needs --etcd-ca: the roots of etcd's servers".into());
        }
        Ok(options)
    }
}

/// Whether a URL is one of this machine.
fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    Ok(std::fs::read_to_string(path).map_err(failed)?)
}

fn roots(path: &Path) -> Result<rustls::RootCertStore, Box<dyn Error>> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(read(path)?.as_bytes()) {
        roots.add(root?)?;
    }
    match roots.is_empty() {
        true => Err("holds no certificate".into()),
        false => Ok(roots),
    }
}

/// How etcd is asked: by whom it may be, and as whom.
fn tls(
    roots: rustls::RootCertStore,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<rustls::ClientConfig>, Box<dyn Error>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some((chain, key)) = identity else {
        return Ok(Arc::new(config.with_no_client_auth()));
    };
    let identity = Identity::new(chain, key, provider)?;
    Ok(Arc::new(
        config.with_client_cert_resolver(Arc::new(identity)),
    ))
}

/// A runtime for those who only ask etcd something.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

impl Place {
    /// Every Secret that is kept; one that cannot be read is told as a warning.
    pub(crate) fn load(&self, output: &mut Output) -> Result<Vec<TlsSecret>, Box<dyn Error>> {
        let mut secrets = Vec::new();
        if self.etcd.wanted() {
            let runtime = runtime()?;
            let ttl = Duration::from_secs(15);
            let prefix = self.etcd.etcd_prefix.as_str();
            let store = SharedStore::new(self.etcd.storage()?, prefix, "reader", ttl);
            for secret in runtime.block_on(store.load())? {
                match secret {
                    Ok(secret) => secrets.push(secret),
                    Err(error) => output.warn(&super::with_causes(&error)),
                }
            }
            return Ok(secrets);
        }
        let dir = SecretDir::new(&self.secrets);
        for name in dir.versions()?.keys() {
            match dir.read(&name.namespace, &name.name) {
                Ok(secret) => secrets.extend(secret),
                Err(error) => output.warn(&super::with_causes(&error)),
            }
        }
        Ok(secrets)
    }
}

/// What manifests ask for and what is kept, at one instant.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) manager: Manager,
    pub(crate) now: OffsetDateTime,
    /// How many documents have something wrong.
    pub(crate) problems: usize,
}

impl World {
    /// Reads both. What is wrong with a document is told as an error, and the others are looked at.
    pub(crate) fn read(
        manifests: &Manifests,
        place: &Place,
        now: OffsetDateTime,
        output: &mut Output,
    ) -> Result<Self, Box<dyn Error>> {
        Self::read_telling(manifests, place, now, output, Output::wrong)
    }

    /// The same for a command that succeeds all the same: what is wrong with a document is told like this.
    pub(crate) fn read_telling(
        manifests: &Manifests,
        place: &Place,
        now: OffsetDateTime,
        output: &mut Output,
        tell: fn(&mut Output, &str),
    ) -> Result<Self, Box<dyn Error>> {
        let mut documents = manifests.reading.documents();
        documents.read_paths(&manifests.paths);
        for problem in &documents.problems {
            tell(output, &problem.to_string());
        }
        let kept = place.load(output)?;
        let secrets = merge(&documents.inventory, documents.secrets, kept);
        let mut manager = Manager::new(documents.inventory, secrets);
        manager.register(ACME_GROUP, "Issuer", Arc::new(OnPaper::new()));
        Ok(Self {
            manager,
            now,
            problems: documents.problems.len(),
        })
    }

    /// How a command ends that has shown what there is.
    pub(crate) fn exit(&self) -> Exit {
        match self.problems {
            0 => Exit::Done,
            _ => Exit::Wrong,
        }
    }

    /// The names of Certificates that are meant by `NAME` or `NAMESPACE/NAME`; exactly one, or why not.
    pub(crate) fn certificate(
        &self,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<ResourceName, Box<dyn Error>> {
        let all = self.manager.inventory().certificates();
        one("Certificate", all.map(|(name, _)| name), name, namespace)
    }
}

/// The Secrets of documents, and those that are kept; what a Certificate keeps wins over where it began.
fn merge(inventory: &Inventory, given: Vec<TlsSecret>, kept: Vec<TlsSecret>) -> Vec<TlsSecret> {
    let name = |secret: &TlsSecret| ResourceName::new(&secret.namespace, &secret.name);
    let known: std::collections::BTreeSet<_> = kept.iter().map(name).collect();
    let begins = |secret: &TlsSecret| {
        let name = name(secret);
        !(known.contains(&name) && inventory.owner(&name, None).is_some())
    };
    // Of two with one name the later counts.
    let given: Vec<_> = given.into_iter().filter(begins).collect();
    kept.into_iter().chain(given).collect()
}

/// When it is.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// As if it were this instant, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<OffsetDateTime>,
}

impl Clock {
    pub(crate) fn now(self) -> OffsetDateTime {
        self.at.unwrap_or_else(OffsetDateTime::now_utc)
    }
}

fn instant(text: &str) -> Result<OffsetDateTime, String> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339);
    parsed.map_err(|_| "expected an instant such as 2026-03-01T12:00:00Z".to_owned())
}

/// Which namespace is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Scope {
    /// Only what is in this namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

impl Scope {
    pub(crate) fn has(&self, namespace: &str) -> bool {
        let wanted = self.namespace.as_deref();
        wanted.is_none_or(|wanted| wanted == namespace)
    }
}

/// The one that `NAME` or `NAMESPACE/NAME` means.
pub(crate) fn one<'a>(
    kind: &str,
    all: impl Iterator<Item = &'a ResourceName>,
    text: &str,
    namespace: Option<&str>,
) -> Result<ResourceName, Box<dyn Error>> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (namespace, text),
    };
    let meant = |found: &&ResourceName| {
        found.name == name && namespace.is_none_or(|namespace| found.namespace == namespace)
    };
    let found: Vec<_> = all.filter(meant).collect();
    let place = namespace.map_or_else(String::new, |namespace| {
        format!(" in namespace {namespace}")
    });
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(format!("there is no {kind} {name}{place}").into()),
        several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(format!(
                "{kind} {name} is in several namespaces: {}",
                names.join(", ")
            )
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_this_machine() {
        for (url, local) in [
            ("http://127.0.0.1:2379", true),
            ("http://[::1]:2379/", true),
            ("http://localhost", true),
            ("http://10.0.0.7:2379", false),
            ("http://localhost.example:2379", false),
            ("http://127.0.0.1.example", false),
            ("http://[2001:db8::1]:2379", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }
}
