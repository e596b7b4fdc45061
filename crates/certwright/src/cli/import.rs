//! `import`: certificates that Traefik or certmagic obtained, as Secrets.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certwright::SecretDir;
use certwright::run::{DirStore, SecretStore as _};
use certwright_acme::import as traefik;
use certwright_cert_model::document::{Format, Node, parse};
use certwright_cert_model::inspect::NameTexts;
use certwright_cert_model::key::{KeyAlgorithm, KeyEncoding};
use certwright_cert_model::secret::annotation::{
    CERTIFICATE_NAME, ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME,
};
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_cert_model::subject::attribute;
use certwright_cert_model::{CertificateFacts, TlsSecret};
use certwright_issuance::{Certificate, KeyPair};
use certwright_storage::certmagic;
use clap::{Args, ValueEnum};
use serde_json::json;
use zeroize::Zeroizing;

use super::output::{Output, columns, count};
use super::place::runtime;
use super::{Answer, Exit, with_causes};

/// Takes over accounts and certificates of Traefik (acme.json, or the file provider's tls.certificates) or certmagic
/// (its directory) as Secrets, readable by their owner only.
///
/// What is imported is neither changed nor removed. With --manifests, a Certificate is written for each, and run
/// renews them.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Traefik's acme.json, a file of its file provider (.yaml, .yml or .toml), or certmagic's directory.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The directory of Secrets.
    #[arg(
        short,
        long,
        value_name = "DIR",
        env = "CERTWRIGHT_SECRETS",
        default_value = "secrets"
    )]
    secrets: PathBuf,
    /// Where the Secrets are to be.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// Only what is of these resolvers (Traefik) or issuers (certmagic).
    #[arg(long, value_name = "NAME")]
    resolver: Vec<String>,
    /// Writes a Certificate for each into this directory.
    #[arg(long, value_name = "DIR", requires = "issuer")]
    manifests: Option<PathBuf>,
    /// The issuer that those Certificates name.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Its kind.
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    issuer_kind: Kind,
    /// Replaces Secrets and manifests that are there.
    #[arg(long)]
    force: bool,
    /// Only tells what would be written.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Kind {
    #[value(name = "ClusterIssuer")]
    ClusterIssuer,
    #[default]
    #[value(name = "Issuer")]
    Issuer,
}

/// Something to be written.
struct Item {
    secret: TlsSecret,
    /// Whose it was.
    resolver: String,
    /// The certificate, unless it is an account.
    facts: Option<CertificateFacts>,
}

impl Item {
    fn account(secret: TlsSecret, resolver: &str) -> Self {
        Self {
            secret,
            resolver: resolver.to_owned(),
            facts: None,
        }
    }

    fn certificate(secret: TlsSecret, resolver: &str) -> Result<Self, String> {
        let facts = facts(secret.get(TLS_CRT).unwrap_or_default())?;
        Ok(Self {
            secret,
            resolver: resolver.to_owned(),
            facts: Some(facts),
        })
    }

    fn names(&self) -> Vec<String> {
        let names = self.facts.iter().map(|facts| &facts.names);
        names.flat_map(texts).collect()
    }
}

/// Every name, as text.
fn texts(names: &NameTexts) -> Vec<String> {
    let ips = names.ip.iter().map(ToString::to_string);
    let others = names.other.iter().map(|other| other.value.clone());
    let texts = names.dns.iter().chain(&names.uri).chain(&names.email);
    texts.cloned().chain(ips).chain(others).collect()
}

/// The common name, if it is worth asking for: it is no other name's text, and not longer than one may be.
fn common_name(facts: &CertificateFacts) -> Option<&str> {
    let name = facts.subject.values(attribute::COMMON_NAME).last()?;
    let names = texts(&facts.names);
    let listed = names.iter().any(|text| text.eq_ignore_ascii_case(name));
    (!listed && (1..=64).contains(&name.len())).then_some(name)
}

/// What the first certificate says.
fn facts(chain: &[u8]) -> Result<CertificateFacts, String> {
    let certificates = Certificate::read_pem(chain).map_err(|error| with_causes(&error))?;
    let leaf = certificates.first().ok_or("there is no certificate")?;
    CertificateFacts::from_der(leaf.der()).map_err(|error| with_causes(&error))
}

impl Import {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let mut left_out = Vec::new();
        let extension = self
            .path
            .extension()
            .and_then(|extension| extension.to_str());
        let mut items = match extension.and_then(Format::from_extension) {
            _ if self.path.is_dir() => self.certmagic(&mut left_out)?,
            Some(format) if format != Format::Json => self.provided(format, &mut left_out)?,
            _ => self.traefik(&mut left_out)?,
        };
        if !self.resolver.is_empty() {
            items.retain(|item| self.resolver.contains(&item.resolver));
        }
        if self.manifests.is_some() {
            for item in &items {
                let unread = item.facts.as_ref().map_or(0, |facts| facts.names.unread);
                if unread > 0 {
                    left_out.push(format!(
                        "{} of {}, of a form that no Certificate asks for",
                        count(unread, "name"),
                        item.secret.name
                    ));
                }
                if item.facts.as_ref().is_some_and(|facts| facts.is_ca) {
                    let name = &item.secret.name;
                    left_out.push(format!(
                        "isCA of {name}: its Certificate is written for a server"
                    ));
                }
            }
        }
        for why in &left_out {
            output.warn(&format!("left out: {why}"));
        }
        if items.is_empty() {
            let path = self.path.display();
            let why = match (left_out.is_empty(), self.resolver.as_slice()) {
                (_, [_, ..]) => "it has nothing of these resolvers",
                (false, []) => "everything was left out",
                (true, []) => "it has no certificate and no account",
            };
            return Err(format!("nothing to import in {path}: {why}").into());
        }
        if let Some(issuer) = &self.issuer {
            for item in items.iter_mut().filter(|item| item.facts.is_some()) {
                self.annotate(&mut item.secret, issuer);
            }
        }
        let dir = SecretDir::new(&self.secrets);
        // Whoever keeps the directory knows what it wrote, and is not written over.
        let keeper = DirStore::new(dir.clone(), Duration::from_secs(1));
        let runtime = runtime()?;
        if !self.dry_run {
            runtime.block_on(keeper.lead())?;
        }
        let mut rows = vec![
            ["SECRET", "FROM", "WHAT", "DONE"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let mut refused = 0;
        for item in &items {
            let secret = &item.secret;
            let there = dir.read(&secret.namespace, &secret.name)?;
            let done = match there {
                Some(there) if there == *secret => "there already",
                Some(_) if !self.force => {
                    refused += 1;
                    "refused: it holds something else; --force replaces it"
                }
                _ if self.dry_run => "would be written",
                _ => {
                    dir.write(secret)?;
                    "written"
                }
            };
            let names = item.names();
            let what = match &item.facts {
                None => "account".to_owned(),
                Some(_) => names.join(" "),
            };
            if output.json {
                output.object(&json!({
                    "kind": "ImportedSecret",
                    "namespace": secret.namespace,
                    "name": secret.name,
                    "resolver": item.resolver,
                    "names": names,
                    "result": done,
                }))?;
            }
            let name = format!("{}/{}", secret.namespace, secret.name);
            rows.push([name, item.resolver.clone(), what, done.to_owned()].to_vec());
        }
        let manifests = self.write_manifests(&items)?;
        if !output.json {
            output.text(&columns(&rows))?;
            if let Some(dir) = &self.manifests {
                let written = count(manifests, "manifest");
                output.line(&format!("{written} written to {}", dir.display()))?;
            }
        }
        match refused {
            0 => Ok(Exit::Done),
            1 => Err("a Secret was not written".into()),
            more => Err(format!("{more} Secrets were not written").into()),
        }
    }

    fn traefik(&self, left_out: &mut Vec<String>) -> Result<Vec<Item>, Box<dyn Error>> {
        let imported = traefik::read_file(&self.path)?;
        left_out.extend(imported.left_out.iter().map(ToString::to_string));
        let mut used = BTreeSet::new();
        let mut items = Vec::new();
        for certificate in &imported.certificates {
            let names: Vec<_> = certificate.domain.names().map(str::to_owned).collect();
            let name = free(
                &secret_name(names.first().map_or("certificate", String::as_str)),
                &mut used,
            );
            let mut secret = TlsSecret::new(&self.namespace, name);
            secret.insert(TLS_CRT, certificate.chain.to_pem());
            insert_key(&mut secret, &certificate.key)?;
            match Item::certificate(secret, &certificate.resolver) {
                Ok(item) => items.push(item),
                Err(why) => left_out.push(format!("{}: {why}", names.join(" "))),
            }
        }
        for account in &imported.accounts {
            let name = free(
                &format!("acme-account-{}", label(&account.resolver)),
                &mut used,
            );
            let mut secret = TlsSecret::new(&self.namespace, name);
            insert_key(&mut secret, &account.key)?;
            annotate_account(&mut secret, &account.uri, &account.email);
            items.push(Item::account(secret, &account.resolver));
        }
        Ok(items)
    }

    /// The pairs of a file provider's `tls.certificates`.
    fn provided(
        &self,
        format: Format,
        left_out: &mut Vec<String>,
    ) -> Result<Vec<Item>, Box<dyn Error>> {
        let text = Zeroizing::new(read(&self.path)?);
        let mut used = BTreeSet::new();
        let mut items = Vec::new();
        for document in parse(&text, format) {
            let document = document.map_err(|error| format!("{}:{error}", self.path.display()))?;
            // Keys may stand in it as text.
            let root = Zeroizing::new(document.root);
            let listed = root.get("tls").and_then(|tls| tls.get("certificates"));
            for (index, entry) in listed.map_or(&[][..], Node::elements).iter().enumerate() {
                match provided(entry) {
                    Ok((chain, key, facts)) => {
                        let names = texts(&facts.names);
                        let first = names.first().map_or("certificate", String::as_str);
                        let mut secret =
                            TlsSecret::new(&self.namespace, free(&secret_name(first), &mut used));
                        secret.insert(TLS_CRT, chain);
                        insert_key(&mut secret, &key)?;
                        items.push(Item {
                            secret,
                            resolver: "file".to_owned(),
                            facts: Some(facts),
                        });
                    }
                    Err(why) => {
                        left_out.push(format!(
                            "{}:{}: tls.certificates[{index}]: {why}",
                            self.path.display(),
                            entry.span
                        ));
                    }
                }
            }
        }
        Ok(items)
    }

    fn certmagic(&self, left_out: &mut Vec<String>) -> Result<Vec<Item>, Box<dyn Error>> {
        let imported = certmagic::read(&self.path)?;
        let why = |left: &certmagic::LeftOut| format!("{}: {}", left.path.display(), left.reason);
        left_out.extend(imported.left_out.iter().map(why));
        let mut used = BTreeSet::new();
        let mut items = Vec::new();
        for certificate in &imported.certificates {
            let name = free(&certificate.secret_name(), &mut used);
            let secret = certificate.to_secret(&self.namespace, &name);
            match Item::certificate(secret, &certificate.issuer) {
                Ok(item) => items.push(item),
                Err(why) => left_out.push(format!("{}: {why}", certificate.names.join(" "))),
            }
        }
        for account in &imported.accounts {
            let name = free(
                &format!("acme-account-{}", label(&account.issuer)),
                &mut used,
            );
            let mut secret = TlsSecret::new(&self.namespace, name);
            secret.insert(TLS_KEY, account.key.to_vec());
            let location = account.registration.get("location");
            let location = location.and_then(serde_json::Value::as_str);
            annotate_account(&mut secret, location.unwrap_or_default(), &account.email);
            items.push(Item::account(secret, &account.issuer));
        }
        Ok(items)
    }

    /// Whose the Secret is from now on, as a manager would have written it.
    fn annotate(&self, secret: &mut TlsSecret, issuer: &str) {
        let kind = self.kind();
        for (key, value) in [
            (CERTIFICATE_NAME, secret.name.clone()),
            (ISSUER_NAME, issuer.to_owned()),
            (ISSUER_KIND, kind.to_owned()),
            (ISSUER_GROUP, "cert-manager.io".to_owned()),
        ] {
            secret.annotations.insert(key.to_owned(), value);
        }
    }

    fn kind(&self) -> &'static str {
        match self.issuer_kind {
            Kind::ClusterIssuer => "ClusterIssuer",
            Kind::Issuer => "Issuer",
        }
    }

    /// A Certificate for each certificate; how many were written.
    fn write_manifests(&self, items: &[Item]) -> Result<usize, Box<dyn Error>> {
        let (Some(dir), Some(issuer)) = (&self.manifests, &self.issuer) else {
            return Ok(0);
        };
        let mut written = 0;
        if !self.dry_run {
            fs::create_dir_all(dir)?;
        }
        for item in items {
            let Some(facts) = &item.facts else { continue };
            if item.names().is_empty() && common_name(facts).is_none() {
                continue;
            }
            let TlsSecret {
                name, namespace, ..
            } = &item.secret;
            let path = dir.join(format!("{name}.yaml"));
            if self.dry_run || (path.exists() && !self.force) {
                continue;
            }
            // JSON's texts are YAML's.
            let quoted = |text: &str| json!(text).to_string();
            let mut text = format!(
                "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n  \
                 secretName: {}\n  issuerRef:\n    name: {}\n    kind: {}\n",
                quoted(name),
                quoted(namespace),
                quoted(name),
                quoted(issuer),
                self.kind()
            );
            match facts.key {
                Some(KeyAlgorithm::Ed25519) => {
                    text.push_str("  privateKey: {algorithm: Ed25519}\n");
                }
                Some(KeyAlgorithm::Ecdsa(curve)) => {
                    let bits: String = curve
                        .to_string()
                        .chars()
                        .filter(char::is_ascii_digit)
                        .collect();
                    text.push_str(&format!(
                        "  privateKey: {{algorithm: ECDSA, size: {bits}}}\n"
                    ));
                }
                Some(KeyAlgorithm::Rsa(size)) => {
                    text.push_str(&format!(
                        "  privateKey: {{algorithm: RSA, size: {}}}\n",
                        size.bits()
                    ));
                }
                None => {}
            }
            if let Some(name) = common_name(facts) {
                text.push_str(&format!("  commonName: {}\n", quoted(name)));
            }
            let NameTexts {
                dns,
                email,
                ip,
                uri,
                other,
                ..
            } = &facts.names;
            let other = other.iter().map(|name| {
                let (oid, value) = (quoted(&name.oid.to_string()), quoted(&name.value));
                format!("{{oid: {oid}, utf8Value: {value}}}")
            });
            let all = |texts: &[String]| texts.iter().map(|text| quoted(text)).collect();
            let lists: [(_, Vec<String>); 5] = [
                ("dnsNames", all(dns)),
                (
                    "ipAddresses",
                    ip.iter().map(|ip| quoted(&ip.to_string())).collect(),
                ),
                ("uris", all(uri)),
                ("emailAddresses", all(email)),
                ("otherNames", other.collect()),
            ];
            for (field, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
                text.push_str(&format!("  {field}:\n"));
                for value in values {
                    text.push_str(&format!("    - {value}\n"));
                }
            }
            fs::write(&path, text)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            written += 1;
        }
        Ok(written)
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Chain, key and certificate of an entry with `certFile` and `keyFile`, which are paths or the PEM texts themselves.
fn provided(entry: &Node) -> Result<(String, KeyPair, CertificateFacts), String> {
    let content = |field: &str| match entry.get(field).and_then(Node::as_text) {
        None => Err(format!("{field} is missing")),
        // No path has lines, and no message is to show a key.
        Some(text) if text.contains("-----BEGIN ") || text.contains('\n') => Ok(text.to_owned()),
        Some(path) => read(Path::new(path)),
    };
    let (chain, key) = (content("certFile")?, Zeroizing::new(content("keyFile")?));
    let key = KeyPair::from_pem(key.as_bytes()).map_err(|error| with_causes(&error))?;
    let facts = facts(chain.as_bytes())?;
    if facts.public_key != key.public_key().spki_der() {
        return Err("the key is not that of the certificate".to_owned());
    }
    Ok((chain, key, facts))
}

fn insert_key(secret: &mut TlsSecret, key: &KeyPair) -> Result<(), Box<dyn Error>> {
    let pem = key.to_pem(KeyEncoding::Pkcs8)?;
    secret.insert(TLS_KEY, pem.as_bytes());
    Ok(())
}

fn annotate_account(secret: &mut TlsSecret, uri: &str, email: &str) {
    for (key, value) in [
        ("certwright/acme-account", uri),
        ("certwright/acme-email", email),
    ] {
        if !value.is_empty() {
            secret.annotations.insert(key.to_owned(), value.to_owned());
        }
    }
}

/// As certmagic's certificates are called: the first name and `-tls`.
fn secret_name(first: &str) -> String {
    format!("{}-tls", label(&first.replace('*', "wildcard")))
}

/// A text as far as Kubernetes allows it in a name.
fn label(text: &str) -> String {
    let allowed = |c: char| match c {
        'a'..='z' | '0'..='9' | '.' => c,
        _ => '-',
    };
    let name: String = text
        .to_ascii_lowercase()
        .chars()
        .map(allowed)
        .take(230)
        .collect();
    match name.trim_matches(['.', '-']) {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// A name that none before has.
fn free(wanted: &str, used: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut number = 1;
    while !used.insert(name.clone()) {
        number += 1;
        name = format!("{wanted}-{number}");
    }
    name
}
