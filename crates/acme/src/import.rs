//! Traefik's `acme.json`: its accounts and certificates, read, and taken over into the store by
//! [`Resolver::import`](crate::config::Resolver::import). The file itself is never written.
//!
//! The form is that of Traefik 2 and 3: an object of resolvers, each with `Account` and `Certificates`.

mod host;
mod takeover;

use core::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use certwright_cert_model::document::{
    self, Decoded, Fields, Format, Kind, Node, Strictness, SyntaxError,
};
use certwright_cert_model::{FieldPath, ViolationKind, Violations};
use certwright_issuance::KeyPair;
use certwright_storage::{RecordError, StorageError};
use zeroize::Zeroizing;

use crate::account::AccountError;
use crate::chain::Chain;
use crate::domains::Domain;

pub use host::same_host;
pub use takeover::{Import, ImportReport};

/// The largest file that is read, in bytes: room for ten thousand certificates.
pub const MAX_FILE: u64 = 256 * 1024 * 1024;

/// What an `acme.json` holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The accounts, by resolver.
    pub accounts: Vec<ImportedAccount>,
    /// The certificates, by resolver and position.
    pub certificates: Vec<ImportedCertificate>,
    /// What could not be used, each with the reason.
    pub left_out: Vec<LeftOut>,
}

/// An account at a CA.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportedAccount {
    /// The resolver's name.
    pub resolver: String,
    /// The email address; may be empty.
    pub email: String,
    /// The account's URL, as the CA gave it: `Registration.uri`.
    pub uri: String,
    /// The contacts that were registered, such as `mailto:a@example.com`.
    pub contacts: Vec<String>,
    /// The account's key; Traefik's are RSA.
    pub key: KeyPair,
}

/// A certificate with its key.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportedCertificate {
    /// The resolver's name.
    pub resolver: String,
    /// The names it was asked for.
    pub domain: Domain,
    /// The TLS store it belongs to; `default` in most files.
    pub store: String,
    /// The chain.
    pub chain: Chain,
    /// The private key; it is that of the leaf.
    pub key: KeyPair,
}

/// An account or certificate that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Where it stands.
    pub field: FieldPath,
    /// What is missing or does not fit.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl ImportedAccount {
    /// Whether the account is one of this CA, as Traefik decides it: the host of the account's URL is
    /// that of the directory's, whatever the port.
    pub fn belongs_to(&self, directory_url: &str) -> bool {
        same_host(&self.uri, directory_url)
    }
}

/// Reads a file.
///
/// # Errors
///
/// The file cannot be read or is larger than [`MAX_FILE`]; otherwise as [`read`].
pub fn read_file(path: &Path) -> Result<Imported, ImportError> {
    let failed = |source| ImportError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut text = Zeroizing::new(Vec::with_capacity(
        usize::try_from(size.min(MAX_FILE)).unwrap_or_default() + 1,
    ));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    read(&text)
}

/// Reads the bytes of a file; no bytes are no data.
///
/// A single account or certificate that cannot be used hides no other: it is in
/// [`Imported::left_out`].
///
/// # Errors
///
/// No JSON, another form than Traefik's, more than [`MAX_FILE`] bytes.
pub fn read(text: &[u8]) -> Result<Imported, ImportError> {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(ImportError::TooLong);
    }
    let text = core::str::from_utf8(text).map_err(|error| ImportError::Encoding {
        at: error.valid_up_to(),
    })?;
    if text.trim().is_empty() {
        return Ok(Imported::default());
    }
    // Its texts hold private keys.
    let root = match document::parse(text, Format::Json).pop() {
        // Written by an early Traefik that had nothing to write.
        Some(Ok(document)) if document.root.kind == Kind::Null => return Ok(Imported::default()),
        Some(Ok(document)) => Zeroizing::new(document.root),
        Some(Err(error)) => return Err(ImportError::Json(error)),
        None => return Ok(Imported::default()),
    };
    match root.get("Account").and(root.get("ChallengeCerts")) {
        Some(_) => Err(ImportError::Traefik1),
        None => decode(&root).into_result().map_err(ImportError::Form),
    }
}

fn decode(root: &Node) -> Decoded<'_, Imported> {
    document::decode(root, FieldPath::default(), Strictness::Strict, |value| {
        let mut imported = Imported::default();
        value.map(|resolver, value| {
            let path = FieldPath::default().key(resolver);
            // A resolver that has not asked for anything yet.
            if value.node().kind == Kind::Null {
                return None;
            }
            value.object(|fields| {
                account(fields, resolver, &path, &mut imported);
                certificates(fields, resolver, &path, &mut imported);
            })
        });
        imported
    })
}

fn account(fields: &mut Fields<'_>, resolver: &str, path: &FieldPath, imported: &mut Imported) {
    let read = fields.object("Account", |account| {
        let email = account.text("Email").unwrap_or_default();
        let registration = account.object("Registration", |registration| {
            let contacts = registration.object("body", |body| {
                let contacts = body.texts("contact");
                // What else lego keeps of the CA's words changes with its releases.
                body.ignore_rest();
                contacts
            });
            let uri = registration.text("uri").unwrap_or_default();
            registration.ignore_rest();
            (uri, contacts.unwrap_or_default())
        });
        // What Traefik would make a new key with; the key says it itself.
        account.text("KeyType");
        (email, registration, bytes(account, "PrivateKey"))
    });
    let Some((email, registration, key)) = read else {
        return;
    };
    let (uri, contacts) = registration.unwrap_or_default();
    let key = match key {
        Some(der) if !uri.is_empty() => KeyPair::from_der(&der).map_err(|error| describe(&error)),
        Some(_) => Err("the account was never registered".to_owned()),
        None => Err("the account has no key".to_owned()),
    };
    match key {
        Ok(key) => imported.accounts.push(ImportedAccount {
            resolver: resolver.to_owned(),
            email,
            uri,
            contacts,
            key,
        }),
        Err(reason) => imported.left_out.push(LeftOut {
            field: path.child("Account"),
            reason,
        }),
    }
}

fn certificates(
    fields: &mut Fields<'_>,
    resolver: &str,
    path: &FieldPath,
    imported: &mut Imported,
) {
    let listed = fields.objects("Certificates", |fields| {
        let domain = fields.object("domain", |domain| {
            Domain::new(
                domain.text("main").unwrap_or_default(),
                domain.texts("sans"),
            )
        });
        let certificate = bytes(fields, "certificate").unwrap_or_default();
        let key = bytes(fields, "key").unwrap_or_default();
        let store = fields.text("Store").filter(|store| !store.is_empty());
        (domain, certificate, key, store)
    });
    for (index, (domain, certificate, key, store)) in listed.into_iter().enumerate() {
        match pair(&certificate, &key) {
            Ok((chain, key)) => imported.certificates.push(ImportedCertificate {
                resolver: resolver.to_owned(),
                domain: domain.unwrap_or_default(),
                store: store.unwrap_or_else(|| "default".to_owned()),
                chain,
                key,
            }),
            Err(reason) => imported.left_out.push(LeftOut {
                field: path.child("Certificates").index(index),
                reason,
            }),
        }
    }
}

fn pair(certificate: &[u8], key: &[u8]) -> Result<(Chain, KeyPair), String> {
    if certificate.is_empty() || key.is_empty() {
        return Err("the certificate or its key is missing".to_owned());
    }
    let chain = Chain::read(certificate).map_err(|error| describe(&error))?;
    let key = KeyPair::from_pem(key).map_err(|error| describe(&error))?;
    let own = chain
        .leaf()
        .is_some_and(|leaf| leaf.spki_der() == key.public_key().spki_der());
    match own {
        true => Ok((chain, key)),
        false => Err("the key is not that of the certificate".to_owned()),
    }
}

/// Base64 as Go writes bytes: with padding, in one line.
fn bytes(fields: &mut Fields<'_>, name: &'static str) -> Option<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(fields.get(name)?.secret_text()?);
    match Base64::decode_vec(&text) {
        Ok(bytes) => Some(Zeroizing::new(bytes)),
        Err(_) => {
            fields.report(name, ViolationKind::Invalid, "must be base64 with padding");
            None
        }
    }
}

/// An error with its causes in one line: what is left out is told to people.
fn describe(error: &dyn core::error::Error) -> String {
    let causes = core::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Why an `acme.json` is not read, or not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The account cannot be stored.
    #[error("the account of acme.json cannot be stored")]
    Account(#[from] AccountError),
    /// The file is no UTF-8 text.
    #[error("acme.json is no UTF-8 text from byte {at} on")]
    Encoding {
        /// Byte offset.
        at: usize,
    },
    /// JSON of another form.
    #[error("acme.json has another form than Traefik 2 and 3 write")]
    Form(#[source] Violations),
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No JSON.
    #[error("acme.json is no JSON document")]
    Json(#[source] SyntaxError),
    /// A record in the store cannot be read or written.
    #[error("what the store says about the import of acme.json cannot be used")]
    Record(#[from] RecordError),
    /// The store failed; what was imported by then stays, and the rest follows next time.
    #[error("acme.json cannot be taken over into the store")]
    Storage(#[from] StorageError),
    /// More than [`MAX_FILE`] bytes.
    #[error("acme.json has more than {MAX_FILE} bytes")]
    TooLong,
    /// The form of Traefik 1.
    #[error("acme.json is of Traefik 1; let Traefik 2 convert it, or start without it")]
    Traefik1,
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use certwright_cert_model::key::{KeyAlgorithm, KeyEncoding, RsaSize};

    use super::*;
    use crate::sample::{Authorities, authorities, issue};

    static ACCOUNT: LazyLock<KeyPair> =
        LazyLock::new(|| KeyPair::generate(KeyAlgorithm::Rsa(RsaSize::MIN)).unwrap());

    fn base64(bytes: &[u8]) -> String {
        Base64::encode_string(bytes)
    }

    /// A file with an account and a certificate for `a.test`, and the PEM text of its key.
    fn file() -> (String, Zeroizing<String>) {
        let Authorities { issuing, .. } = authorities();
        let (bundle, key) = issue(&issuing);
        let account = ACCOUNT.to_der(KeyEncoding::Pkcs1).unwrap();
        let pem = key.to_pem(KeyEncoding::Pkcs1).unwrap();
        let text = format!(
            r#"{{
  "letsencrypt": {{
    "Account": {{
      "Email": "a@example.com",
      "Registration": {{
        "body": {{"status": "valid", "contact": ["mailto:a@example.com"], "orders": 7}},
        "uri": "https://ca.test/acct/1"
      }},
      "PrivateKey": "{}",
      "KeyType": "4096"
    }},
    "Certificates": [
      {{"domain": {{"main": "a.test", "sans": ["*.a.test"]}}, "certificate": "{}", "key": "{}", "Store": "default"}}
    ]
  }},
  "other": {{"Account": null, "Certificates": null}},
  "third": null
}}"#,
            base64(&account),
            base64(bundle.chain_pem().as_bytes()),
            base64(pem.as_bytes())
        );
        (text, pem)
    }

    #[test]
    fn accounts_and_certificates() {
        let (text, key) = file();
        let imported = read(text.as_bytes()).unwrap();
        assert_eq!(imported.left_out, []);
        let account = &imported.accounts[0];
        assert_eq!(
            (account.resolver.as_str(), account.email.as_str()),
            ("letsencrypt", "a@example.com")
        );
        assert_eq!(account.contacts, ["mailto:a@example.com"]);
        assert!(account.belongs_to("https://ca.test/directory"));
        assert!(!account.belongs_to("https://staging.ca.test/directory"));
        assert_eq!(account.key.public_key(), ACCOUNT.public_key());

        let certificate = &imported.certificates[0];
        assert_eq!(certificate.domain, Domain::new("a.test", ["*.a.test"]));
        assert_eq!(certificate.store, "default");
        assert_eq!(certificate.chain.certificates().len(), 2);
        assert_eq!(certificate.key.to_pem(KeyEncoding::Pkcs1).unwrap(), key);
        assert_eq!(
            (imported.accounts.len(), imported.certificates.len()),
            (1, 1)
        );
    }

    #[test]
    fn what_cannot_be_used_hides_nothing() {
        let (text, _) = file();
        let (other, _) = file();
        let field = |text: &str, name: &str| -> String {
            let (_, rest) = text.split_once(&format!("\"{name}\": \"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        for (from, to, reason) in [
            (
                field(&text, "key"),
                field(&other, "key"),
                "[letsencrypt].Certificates[0]: the key is not that of the certificate",
            ),
            (
                field(&text, "key"),
                String::new(),
                "[letsencrypt].Certificates[0]: the certificate or its key is missing",
            ),
            (
                field(&text, "certificate"),
                base64(b"no"),
                "[letsencrypt].Certificates[0]: the chain is not a PEM text of certificates: the text has no CERTIFICATE block",
            ),
            (
                field(&text, "PrivateKey"),
                base64(b"no"),
                "[letsencrypt].Account: the private key is not valid DER",
            ),
            (
                field(&text, "PrivateKey"),
                String::new(),
                "[letsencrypt].Account: the private key is not valid DER",
            ),
            (
                field(&text, "uri"),
                String::new(),
                "[letsencrypt].Account: the account was never registered",
            ),
        ] {
            let imported = read(text.replace(&from, &to).as_bytes()).unwrap();
            let left_out: Vec<String> = imported.left_out.iter().map(ToString::to_string).collect();
            assert!(
                left_out.len() == 1 && left_out[0].starts_with(reason),
                "{left_out:?}"
            );
            assert_eq!(imported.accounts.len() + imported.certificates.len(), 1);
        }
    }

    #[test]
    fn other_forms() {
        for empty in [
            "",
            " \n",
            "null",
            "{}",
            r#"{"a":{"Account":null,"Certificates":[]}}"#,
        ] {
            let imported = read(empty.as_bytes()).unwrap();
            assert_eq!(
                imported.accounts.len() + imported.certificates.len(),
                0,
                "{empty}"
            );
        }
        let describe = |text: &[u8]| describe(&read(text).unwrap_err());
        for (text, expected) in [
            (
                &b"{"[..],
                "acme.json is no JSON document: 1:2: expected a field's name in double quotes",
            ),
            (b"\xff", "acme.json is no UTF-8 text from byte 0 on"),
            (
                b"[]",
                "acme.json has another form than Traefik 2 and 3 write: 1:1: : expected a map, found a list",
            ),
            (
                br#"{"Account":{},"Certificates":[],"ChallengeCerts":{}}"#,
                "acme.json is of Traefik 1; let Traefik 2 convert it, or start without it",
            ),
            (
                br#"{"a":{"Account":{"Mail":"x","PrivateKey":"-"},"Certificates":[{"key":7}]}}"#,
                "acme.json has another form than Traefik 2 and 3 write: \
                 1:18: [a].Account.Mail: unknown field; did you mean Email?\n\
                 1:42: [a].Account.PrivateKey: must be base64 with padding\n\
                 1:70: [a].Certificates[0].key: expected a text, found an integer",
            ),
        ] {
            assert_eq!(describe(text), expected);
        }
    }

    #[test]
    fn a_file_is_left_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.json");
        let (text, _) = file();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read_file(&path).unwrap().certificates.len(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let missing = read_file(&directory.path().join("none.json")).unwrap_err();
        assert!(matches!(missing, ImportError::Io { .. }));
    }
}
