//! Reading what certmagic (Caddy) keeps in a directory, and writing it as Kubernetes
//! Secrets.
//!
//! The layout is that of certmagic's `FileStorage` and `StorageKeys`:
//! `certificates/ISSUER/NAME/NAME.{crt,key,json}` and
//! `acme/ISSUER/users/EMAIL/USER.{json,key}`. Challenge tokens, OCSP staples and locks
//! are of the moment and stay behind.

use core::fmt;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use certwright_cert_model::TlsSecret;
use certwright_cert_model::pem;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use serde_json::{Map, Value as Json};
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes; a chain has some thousands.
pub const MAX_FILE_LEN: u64 = 1 << 20;

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
#[non_exhaustive]
pub struct LeftOut {
    /// The directory or file.
    pub path: PathBuf,
    /// What is missing or does not fit.
    pub reason: String,
}

/// A directory that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}", path.display())]
#[non_exhaustive]
pub struct ImportError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Reads a directory of certmagic. Changes nothing there, and follows no link inside
/// `certificates` and `acme`: whoever may write there decides about certificates, not
/// about what else of the machine becomes a Secret.
///
/// # Errors
/// [`ImportError`] if something cannot be read; what can be read and not be used is in
/// [`Imported::left_out`].
pub fn read(directory: &Path) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let Imported {
        certificates,
        accounts,
        left_out,
    } = &mut imported;
    for issuer in directories(&directory.join("certificates"), left_out)? {
        for dir in directories(&issuer, left_out)? {
            keep(certificate(name(&issuer), &dir), certificates, left_out)?;
        }
    }
    for issuer in directories(&directory.join("acme"), left_out)? {
        let users = directories(&issuer, left_out)?;
        let users = users.iter().find(|dir| dir.ends_with("users"));
        for dir in users.map_or(Ok(Vec::new()), |users| directories(users, left_out))? {
            keep(account(name(&issuer), &dir), accounts, left_out)?;
        }
    }
    Ok(imported)
}

impl Imported {
    /// Every certificate as a Kubernetes Secret, one YAML document each, private keys
    /// included. Names as of [`ImportedCertificate::secret_name`]; of two issuers with
    /// the same name, later ones have `-2` and so on.
    pub fn to_manifests(&self, namespace: &str) -> Zeroizing<String> {
        // Each used name, and the number it goes on with.
        let mut used: HashMap<String, u32> = HashMap::new();
        let mut documents = Vec::new();
        for certificate in &self.certificates {
            let wanted = certificate.secret_name();
            let mut free = wanted.clone();
            while used.contains_key(&free) {
                let number = used.entry(wanted.clone()).or_insert(1);
                *number += 1;
                free = format!("{wanted}-{number}");
            }
            documents.push(certificate.to_secret(namespace, &free).to_manifest());
            used.insert(free, 1);
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

type Usable<T> = Result<T, Unusable>;

enum Unusable {
    Failed(ImportError),
    LeftOut(LeftOut),
}

impl From<ImportError> for Unusable {
    fn from(error: ImportError) -> Self {
        Self::Failed(error)
    }
}

fn keep<T>(
    usable: Usable<T>,
    kept: &mut Vec<T>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), ImportError> {
    match usable {
        Ok(usable) => kept.push(usable),
        Err(Unusable::LeftOut(reason)) => left_out.push(reason),
        Err(Unusable::Failed(error)) => return Err(error),
    }
    Ok(())
}

fn certificate(issuer: String, dir: &Path) -> Usable<ImportedCertificate> {
    let path = |ending: &str| dir.join(format!("{}.{ending}", name(dir)));
    let (Some(chain), Some(key), Some(meta)) = (
        file(&path("crt"))?,
        file(&path("key"))?,
        file(&path("json"))?,
    ) else {
        return Err(unusable(
            dir,
            "the chain, the key or the JSON file is missing",
        ));
    };
    for (ending, text, label) in [("crt", &chain, "CERTIFICATE"), ("key", &key, "PRIVATE KEY")] {
        if let Err(reason) = first_block(text, label) {
            return Err(unusable(&path(ending), &reason));
        }
    }
    let Ok(Json::Object(mut meta)) = serde_json::from_slice(&meta) else {
        return Err(unusable(&path("json"), "it is no JSON object"));
    };
    let names = meta.remove("sans");
    let names: Option<Vec<String>> = names.and_then(|names| serde_json::from_value(names).ok());
    let Some(names) = names else {
        return Err(unusable(&path("json"), "sans is no list of names"));
    };
    Ok(ImportedCertificate {
        issuer,
        names,
        chain: chain.to_vec(),
        key,
        issuer_data: meta.remove("issuer_data").unwrap_or_default(),
    })
}

fn account(issuer: String, dir: &Path) -> Usable<ImportedAccount> {
    // The user's part of the address names the files; there is one account in each.
    let paths = entries(dir)?;
    let ending = |wanted: &str| {
        let mut found = paths.iter();
        found.find(|path| path.extension().is_some_and(|ending| ending == wanted))
    };
    let (Some(json), Some(pem)) = (ending("json"), ending("key")) else {
        return Err(unusable(dir, "the JSON file or the key is missing"));
    };
    let (Some(text), Some(key)) = (file(json)?, file(pem)?) else {
        return Err(unusable(dir, "the JSON file or the key is missing"));
    };
    if let Err(reason) = first_block(&key, "PRIVATE KEY") {
        return Err(unusable(pem, &reason));
    }
    let Ok(Json::Object(registration)) = serde_json::from_slice(&text) else {
        return Err(unusable(json, "it is no JSON object"));
    };
    Ok(ImportedAccount {
        issuer,
        email: name(dir),
        registration,
        key,
    })
}

/// Whether a text in PEM starts with a block of such a label, `EC PRIVATE KEY` included.
fn first_block(text: &[u8], label: &str) -> Result<(), String> {
    let blocks = pem::read(text).map_err(|error| error.to_string())?;
    match blocks.first() {
        Some(block) if block.label() == "ENCRYPTED PRIVATE KEY" => {
            Err("the key is encrypted, decrypt it first".to_owned())
        }
        Some(block) if block.label().ends_with(label) => Ok(()),
        Some(block) => Err(format!("expected {label}, found {}", block.label())),
        None => Err(format!("expected {label}, found nothing in PEM")),
    }
}

fn unusable(path: &Path, reason: &str) -> Unusable {
    Unusable::LeftOut(left_out(path, reason))
}

fn left_out(path: &Path, reason: &str) -> LeftOut {
    LeftOut {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The directories in a directory, and not those that links lead to.
fn directories(dir: &Path, out: &mut Vec<LeftOut>) -> Result<Vec<PathBuf>, ImportError> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        let kind = fs::symlink_metadata(&path).map_err(failed(&path))?;
        if kind.is_symlink() {
            out.push(left_out(&path, "it is a link, which is not followed"));
        } else if kind.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

/// What is in a directory, by name; nothing if there is no such directory.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let listed = match dir.read_dir() {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(dir)(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = listed.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed(dir))?;
    paths.sort();
    Ok(paths)
}

/// What is in a file, if there is one.
fn file(path: &Path) -> Usable<Option<Zeroizing<Vec<u8>>>> {
    match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_file() => {}
        Ok(_) => return Err(unusable(path, "it is no file; links are not followed")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error).into()),
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = fs::File::open(path).map_err(failed(path))?;
    let read = opened.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes);
    if read.map_err(failed(path))? as u64 > MAX_FILE_LEN {
        let reason = format!("it has more than {MAX_FILE_LEN} bytes");
        return Err(unusable(path, &reason));
    }
    Ok(Some(bytes))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ImportError {
    let path = path.to_owned();
    move |source| ImportError {
        path: path.clone(),
        source,
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
