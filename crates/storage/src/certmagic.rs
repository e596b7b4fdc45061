//! Reading what certmagic (Caddy) keeps in a directory, and writing it as Kubernetes
//! Secrets.
//!
//! The layout is that of certmagic's `FileStorage` and `StorageKeys`:
//! `certificates/ISSUER/NAME/NAME.{crt,key,json}` and
//! `acme/ISSUER/users/EMAIL/USER.{json,key}`. Challenge tokens, OCSP staples and locks
//! are of the moment and stay behind.

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use certwright_cert_model::TlsSecret;
use certwright_cert_model::pem;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use serde_json::{Map, Value as Json};
use thiserror::Error;
use zeroize::Zeroizing;

/// What a directory of certmagic holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The certificates, by issuer and name.
    pub certificates: Vec<ImportedCertificate>,
    /// The accounts, by issuer and email.
    pub accounts: Vec<ImportedAccount>,
    /// What could not be used, each with the reason.
    pub left_out: Vec<LeftOut>,
}

/// A certificate with its key.
#[non_exhaustive]
pub struct ImportedCertificate {
    /// certmagic's name of the issuer, such as `acme-v02.api.letsencrypt.org-directory`.
    pub issuer: String,
    /// The names the certificate was asked for.
    pub names: Vec<String>,
    /// The chain in PEM, leaf first.
    pub chain: Vec<u8>,
    /// The private key in PEM.
    pub key: Zeroizing<Vec<u8>>,
    /// What the issuer keeps about it, such as the URL of the certificate.
    pub issuer_data: Json,
}

/// An account at a CA with its key.
#[non_exhaustive]
pub struct ImportedAccount {
    /// certmagic's name of the issuer.
    pub issuer: String,
    /// The directory it is in: the email address, or `default`.
    pub email: String,
    /// The registration as the CA answered it; `location` is the account's URL.
    pub registration: Map<String, Json>,
    /// The private key in PEM.
    pub key: Zeroizing<Vec<u8>>,
}

/// A directory that is no whole certificate or account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The directory or file.
    pub path: PathBuf,
    /// What is missing or does not fit.
    pub reason: String,
}

/// A directory that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}", path.display())]
pub struct ImportError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Reads a directory of certmagic. Changes nothing there.
///
/// # Errors
/// [`ImportError`] if something cannot be read; what can be read and not be used is in
/// [`Imported::left_out`].
pub fn read(directory: &Path) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    for issuer in directories(&directory.join("certificates"))? {
        for dir in directories(&issuer)? {
            match certificate(name(&issuer), &dir)? {
                Ok(certificate) => imported.certificates.push(certificate),
                Err(left_out) => imported.left_out.push(left_out),
            }
        }
    }
    for issuer in directories(&directory.join("acme"))? {
        for dir in directories(&issuer.join("users"))? {
            match account(name(&issuer), &dir)? {
                Ok(account) => imported.accounts.push(account),
                Err(left_out) => imported.left_out.push(left_out),
            }
        }
    }
    Ok(imported)
}

impl Imported {
    /// Every certificate as a Kubernetes Secret, one YAML document each, private keys
    /// included. Names as of [`ImportedCertificate::secret_name`]; of two issuers with
    /// the same name, later ones have `-2` and so on.
    pub fn to_manifests(&self, namespace: &str) -> Zeroizing<String> {
        let mut used: Vec<String> = Vec::new();
        let mut documents = Vec::new();
        for certificate in &self.certificates {
            let wanted = certificate.secret_name();
            let numbered = (2_u32..).map(|number| format!("{wanted}-{number}"));
            let mut names = core::iter::once(wanted.clone()).chain(numbered);
            let free = names
                .find(|name| !used.contains(name))
                .unwrap_or(wanted.clone());
            documents.push(certificate.to_secret(namespace, &free).to_manifest());
            used.push(free);
        }
        let len = documents.iter().map(|document| document.len() + 4).sum();
        let mut text = Zeroizing::new(String::with_capacity(len));
        for document in &documents {
            text.push_str("---\n");
            text.push_str(document);
        }
        text
    }
}

impl ImportedCertificate {
    /// The certificate as a Secret of type `kubernetes.io/tls`.
    pub fn to_secret(&self, namespace: &str, name: &str) -> TlsSecret {
        let mut secret = TlsSecret::new(namespace, name);
        secret.insert(TLS_CRT, self.chain.clone());
        secret.insert(TLS_KEY, self.key.to_vec());
        secret
    }

    /// A name for the Secret: the first name of the certificate, as far as Kubernetes
    /// allows it, and `-tls`; `wildcard` for the asterisk.
    pub fn secret_name(&self) -> String {
        let first = self.names.first().map_or("certificate", String::as_str);
        let text = first.to_ascii_lowercase().replace('*', "wildcard");
        let allowed = |c: char| match c {
            'a'..='z' | '0'..='9' | '.' => c,
            _ => '-',
        };
        // 253 characters are allowed; the rest is for `-tls` and a number.
        let name: String = text.chars().map(allowed).take(240).collect();
        let name = name.trim_matches(['.', '-']);
        if name.is_empty() {
            "certificate-tls".to_owned()
        } else {
            format!("{name}-tls")
        }
    }
}

impl fmt::Debug for ImportedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedCertificate")
            .field("issuer", &self.issuer)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ImportedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedAccount")
            .field("issuer", &self.issuer)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

type Usable<T> = Result<Result<T, LeftOut>, ImportError>;

fn certificate(issuer: String, dir: &Path) -> Usable<ImportedCertificate> {
    let path = |ending: &str| dir.join(format!("{}.{ending}", name(dir)));
    let (Some(chain), Some(key), Some(meta)) = (
        file(&path("crt"))?,
        file(&path("key"))?,
        file(&path("json"))?,
    ) else {
        return Ok(Err(left_out(
            dir,
            "the chain, the key or the JSON file is missing",
        )));
    };
    for (ending, text, label) in [("crt", &chain, "CERTIFICATE"), ("key", &key, "PRIVATE KEY")] {
        if let Err(reason) = first_block(text, label) {
            return Ok(Err(left_out(&path(ending), &reason)));
        }
    }
    let Ok(Json::Object(mut meta)) = serde_json::from_slice(&meta) else {
        return Ok(Err(left_out(&path("json"), "it is no JSON object")));
    };
    let names = meta.remove("sans");
    let names: Option<Vec<String>> = names.and_then(|names| serde_json::from_value(names).ok());
    let Some(names) = names else {
        return Ok(Err(left_out(&path("json"), "sans is no list of names")));
    };
    Ok(Ok(ImportedCertificate {
        issuer,
        names,
        chain: chain.to_vec(),
        key,
        issuer_data: meta.remove("issuer_data").unwrap_or_default(),
    }))
}

fn account(issuer: String, dir: &Path) -> Usable<ImportedAccount> {
    // The user's part of the address names the files; there is one account in each.
    let paths = entries(dir)?;
    let ending = |wanted: &str| {
        let mut found = paths.iter();
        found.find(|path| path.extension().is_some_and(|ending| ending == wanted))
    };
    let (Some(json), Some(pem)) = (ending("json"), ending("key")) else {
        return Ok(Err(left_out(dir, "the JSON file or the key is missing")));
    };
    let (Some(text), Some(key)) = (file(json)?, file(pem)?) else {
        return Ok(Err(left_out(dir, "the JSON file or the key is missing")));
    };
    if let Err(reason) = first_block(&key, "PRIVATE KEY") {
        return Ok(Err(left_out(pem, &reason)));
    }
    let Ok(Json::Object(registration)) = serde_json::from_slice(&text) else {
        return Ok(Err(left_out(json, "it is no JSON object")));
    };
    Ok(Ok(ImportedAccount {
        issuer,
        email: name(dir),
        registration,
        key,
    }))
}

/// Whether a text in PEM starts with a block of such a label, `EC PRIVATE KEY` included.
fn first_block(text: &[u8], label: &str) -> Result<(), String> {
    let blocks = pem::read(text).map_err(|error| error.to_string())?;
    match blocks.first() {
        Some(block) if block.label().ends_with(label) => Ok(()),
        Some(block) => Err(format!("expected {label}, found {}", block.label())),
        None => Err(format!("expected {label}, found nothing in PEM")),
    }
}

fn left_out(path: &Path, reason: &str) -> LeftOut {
    LeftOut {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

/// What is in a directory, by name; nothing if there is no such directory.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let failed = |source| ImportError {
        path: dir.to_owned(),
        source,
    };
    let listed = match dir.read_dir() {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = listed.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImportError {
            path: path.to_owned(),
            source,
        }),
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
