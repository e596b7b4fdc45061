//! An `acme.json` taken over into the store: once, and to the end.

use core::fmt;
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use certwright_issuance::Certificate;
use certwright_issuance::general_name::GeneralName;
use certwright_renewal::Lifetime;
use certwright_storage::{Record, Storage, StorageError, Txn};
use serde::{Deserialize, Serialize};

use super::{ImportError, Imported, ImportedAccount, ImportedCertificate, describe, read_file};
use crate::account::AccountError;
use crate::certificate::IssuedCertificate;
use crate::config::Resolver;
use crate::domains::{OrderNames, Wildcards};
use crate::engine::Engine;
use crate::issuer::Issuer;
use crate::layout::{self, CertId};
use crate::secret::StoredKey;

/// What became of a resolver's `acme.json`; complete by definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// It was taken over at an earlier start, which left this report.
    Earlier(ImportReport),
    /// There is none: `storage` is a directory, or the file does not exist.
    NoFile,
    /// It is taken over now.
    Now(ImportReport),
}

/// What was taken out of an `acme.json`, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// The URL of the account, if the file has one of a CA of ours.
    pub account: Option<String>,
    /// The names of each certificate, the main one first, joined by spaces.
    pub certificates: Vec<String>,
    /// What was left out, each with its reason. A report of thousands is not kept whole.
    pub left_out: Vec<String>,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.account.as_deref().unwrap_or("none");
        let certificates = self.certificates.len();
        write!(f, "account: {account}, certificates: {certificates}")?;
        for left_out in &self.left_out {
            write!(f, "\nleft out: {left_out}")?;
        }
        Ok(())
    }
}

impl Resolver {
    /// Takes the account and the certificates of this resolver out of [`Resolver::import_file`]
    /// into the engine's store: the account is used as it is registered, the certificates are
    /// served, and renewed when they are due. What the store has already stays. The file is only
    /// read, and never again once this was done to the end; killed in the middle, it goes on next
    /// time.
    ///
    /// [`Resolver::engine`] does it. The engine's issuers are those of [`Resolver::issuers`], and
    /// it has not ordered anything yet. It blocks for as long as it takes to read the file.
    ///
    /// # Errors
    ///
    /// [`ImportError`] for a file that cannot be read, or that is none; the store's.
    pub async fn import(&self, engine: &Engine) -> Result<Import, ImportError> {
        let storage = engine.storage();
        let Some(path) = self.import_file() else {
            return Ok(Import::NoFile);
        };
        let done = layout::import(&self.name);
        if let Some(entry) = storage.get(&done).await? {
            let record = Record::decode(entry.value.as_bytes(), KIND, VERSION)?;
            return Ok(Import::Earlier(record.read()?));
        }
        if !path.try_exists().is_ok_and(|exists| exists) {
            return Ok(Import::NoFile);
        }
        let report = self.take_over(&read_file(path)?, engine).await?;
        let done = |report: &ImportReport| {
            let record = Record::new(KIND, VERSION, report)?.encode();
            Ok::<_, ImportError>(Txn::new().if_absent(done.clone()).put(done.clone(), record))
        };
        match put_new(storage, done(&report)?).await {
            // Thousands of lines: told below, but not kept.
            Err(StorageError::TooLarge { .. }) => {
                let account = report.account.clone();
                let short = ImportReport {
                    account,
                    ..ImportReport::default()
                };
                put_new(storage, done(&short)?).await?;
            }
            put => put?,
        }
        for left_out in &report.left_out {
            tracing::warn!(resolver = %self.name, %left_out, "not imported from acme.json");
        }
        Ok(Import::Now(report))
    }

    async fn take_over(
        &self,
        imported: &Imported,
        engine: &Engine,
    ) -> Result<ImportReport, ImportError> {
        let (storage, issuers) = (engine.storage(), engine.issuers());
        let mut report = ImportReport::default();
        let others = self.without_others(imported);
        report.left_out.extend(others);
        let ours = |resolver: &str| resolver == self.name;
        let mut accounts = imported.accounts.iter();
        let mut home = None;
        if let Some(account) = accounts.find(|account| ours(&account.resolver)) {
            home = issuers
                .iter()
                .find(|issuer| account.belongs_to(&issuer.account.directory));
            match take_account(account, home, storage).await? {
                Ok(()) => report.account = Some(account.uri.clone()),
                Err(reason) => report
                    .left_out
                    .push(format!("account {}: {reason}", account.uri)),
            }
        }
        let issuer = home.or(issuers.first()).map(|issuer| issuer.name.as_str());
        let issuer = issuer.unwrap_or_default();
        let mut chosen: BTreeMap<CertId, IssuedCertificate> = BTreeMap::new();
        let certificates = imported.certificates.iter();
        for certificate in certificates.filter(|one| ours(&one.resolver)) {
            let reason = match self.certificate(certificate, issuer, engine) {
                Ok((id, taken)) => match chosen.entry(id) {
                    Entry::Vacant(place) => {
                        place.insert(taken);
                        continue;
                    }
                    Entry::Occupied(mut place) => {
                        if place.get().not_after() < taken.not_after() {
                            place.insert(taken);
                        }
                        "another for the same names lasts as long or longer".to_owned()
                    }
                },
                Err(reason) => reason,
            };
            let main = &certificate.domain.main;
            report
                .left_out
                .push(format!("certificate {main}: {reason}"));
        }
        for (id, taken) in chosen {
            let place = id.current();
            let txn = Txn::new().if_absent(place.clone());
            put_new(storage, txn.put(place, taken.encode()?)).await?;
            report.certificates.push(names_of(&taken));
        }
        report.certificates.sort_unstable();
        Ok(report)
    }

    /// What reading left out of this resolver's part, and a word if it has no part.
    fn without_others(&self, imported: &Imported) -> Vec<String> {
        let own = certwright_cert_model::FieldPath::default().key(&self.name);
        let own = format!("{own}.");
        let lines = imported.left_out.iter().map(ToString::to_string);
        let mut lines: Vec<String> = lines.filter(|line| line.starts_with(&own)).collect();
        let accounts = imported.accounts.iter().map(|one| &one.resolver);
        let certificates = imported.certificates.iter().map(|one| &one.resolver);
        let mut found: Vec<&str> = accounts.chain(certificates).map(String::as_str).collect();
        found.sort_unstable();
        found.dedup();
        if lines.is_empty() && !found.is_empty() && !found.contains(&self.name.as_str()) {
            lines.push(format!(
                "everything: it is of {}, nothing of a resolver called {}",
                found.join(", "),
                self.name
            ));
        }
        lines
    }

    /// The certificate as if it had been obtained here: under the name that the same names get
    /// when they are wanted, whatever kind of key it has.
    fn certificate(
        &self,
        imported: &ImportedCertificate,
        issuer: &str,
        engine: &Engine,
    ) -> Result<(CertId, IssuedCertificate), String> {
        let leaf = imported.chain.leaf().ok_or("the chain is empty")?;
        let mut names = names_in(leaf);
        // `sort_by_key` keeps the others' order.
        names.sort_by_key(|name| !name.eq_ignore_ascii_case(&imported.domain.main));
        let names = OrderNames::new(&names, Wildcards::Allowed).map_err(|one| describe(&one))?;
        let wanted = self.wanted(&names).map_err(|error| describe(&error))?;
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        Lifetime::new(not_before, not_after).map_err(|error| describe(&error))?;
        let taken = IssuedCertificate {
            identifiers: wanted.distinct(),
            generation: 1,
            issuer: issuer.to_owned(),
            chain: imported.chain.to_pem(),
            profile: wanted.profile.clone(),
            key: StoredKey::of(&imported.key).map_err(|error| describe(&error))?,
            not_before,
            not_after,
            obtained: not_before,
            // Nothing says that this CA issued it: Traefik keeps certificates when `caServer`
            // changes. A CA refuses an order that replaces a stranger's certificate.
            ari_id: None,
            order: None,
        };
        Ok((engine.id(&wanted), taken))
    }
}

/// `Err` with the reason it is left out.
async fn take_account(
    account: &ImportedAccount,
    home: Option<&Issuer>,
    storage: &dyn Storage,
) -> Result<Result<(), String>, ImportError> {
    let Some(home) = home else {
        return Ok(Err("its CA is none of this resolver's".to_owned()));
    };
    // Let's Encrypt does not repeat contacts any more.
    let contacts = match account.contacts.is_empty() && !account.email.is_empty() {
        true => vec![format!("mailto:{}", account.email)],
        false => account.contacts.clone(),
    };
    let spec = &home.account;
    match spec
        .adopt(storage, &account.key, &account.uri, &contacts)
        .await
    {
        Ok(true) => Ok(Ok(())),
        Ok(false) => Ok(Err(
            "the store has another account at this CA, which stays in use".to_owned(),
        )),
        Err(error @ (AccountError::Key(_) | AccountError::KeyKind { .. })) => {
            Ok(Err(describe(&error)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes what is not there yet. Somebody else's is as good, and so is what an earlier attempt
/// has left.
async fn put_new(storage: &dyn Storage, txn: Txn) -> Result<(), StorageError> {
    match storage.txn(txn).await {
        Ok(_) | Err(StorageError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn names_in(leaf: &Certificate) -> Vec<String> {
    let names = leaf.names().filter_map(|name| match name {
        GeneralName::Dns(dns) => Some(dns.to_owned()),
        GeneralName::Ip(octets) => {
            let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(octets).map(IpAddr::from);
            Some(four.or(sixteen).ok()?.to_string())
        }
        _ => None,
    });
    names.collect()
}

fn names_of(certificate: &IssuedCertificate) -> String {
    let names = certificate.identifiers().iter();
    let names: Vec<String> = names.map(ToString::to_string).collect();
    names.join(" ")
}

const KIND: &str = "acme-import";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64ct::{Base64, Encoding};
    use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
    use certwright_issuance::KeyPair;
    use certwright_storage::MemoryStorage;
    use certwright_storage::conformance::Attended;

    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::Solvers;
    use crate::config::IssuerOptions;
    use crate::engine::Options;
    use crate::runtime::TokioRuntime;
    use crate::sample::{Authorities, authorities, issue};
    use crate::testing::{FakeCa, Slow, run, run_for};

    const CA: &str = "https://ca.test/dir";

    fn account() -> KeyPair {
        KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P384)).unwrap()
    }

    /// A file with an account at this URL, and certificates.
    fn file(url: &str, key: &KeyPair, certificates: &[(&str, String, String)]) -> String {
        let certificates = certificates.iter().map(|(main, chain, key)| {
            serde_json::json!({ "domain": { "main": main }, "Store": "default",
                "certificate": Base64::encode_string(chain.as_bytes()),
                "key": Base64::encode_string(key.as_bytes()) })
        });
        let certificates: Vec<_> = certificates.collect();
        let key = Base64::encode_string(&key.to_der(KeyEncoding::Pkcs8).unwrap());
        serde_json::json!({ "le": { "Certificates": certificates, "Account": {
            "Email": "a@example.com", "PrivateKey": key, "Registration": { "uri": url },
        } } })
        .to_string()
    }

    fn pair() -> (&'static str, String, String) {
        let Authorities { issuing, .. } = authorities();
        let (bundle, key) = issue(&issuing);
        let key = key.to_pem(KeyEncoding::Pkcs8).unwrap().to_string();
        ("*.a.test", bundle.chain_pem(), key)
    }

    struct Setup {
        dir: tempfile::TempDir,
        resolver: Resolver,
        engine: Engine,
        storage: MemoryStorage,
    }

    fn setup(text: &str) -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let mut resolver = Resolver::new("le");
        resolver.storage = dir.path().join("acme.json");
        resolver.issuers = vec![IssuerOptions::default()];
        std::fs::write(&resolver.storage, text).unwrap();
        let storage = MemoryStorage::default();
        let protocol = Arc::new(FakeCa::at_present(&storage));
        let issuer = Issuer::new(CA, AccountSpec::new(CA), protocol, Solvers::http01());
        let slow = Arc::new(Attended::new(storage.clone(), Slow));
        let engine = Engine::new(
            slow,
            Arc::new(TokioRuntime),
            vec![issuer],
            Options::default(),
        );
        Setup {
            dir,
            resolver,
            engine: engine.unwrap(),
            storage,
        }
    }

    impl Setup {
        async fn import(&self) -> Import {
            self.resolver.import(&self.engine).await.unwrap()
        }

        fn place(&self, names: &[&str]) -> certwright_storage::Key {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let names = OrderNames::new(&names, Wildcards::Allowed).unwrap();
            let wanted = self.resolver.wanted(&names).unwrap();
            self.engine.id(&wanted).current()
        }
    }

    #[test]
    fn killed_at_any_moment_it_goes_on() {
        let key = account();
        let text = file("https://ca.test/acct/7", &key, &[pair(), pair()]);
        let mut ended = false;
        for polls in 1..100 {
            let setup = setup(&text);
            ended = run_for(polls, setup.import()).is_some();
            let report = match (run(setup.import()), ended) {
                (Import::Now(report), false) | (Import::Earlier(report), _) => report,
                (other, _) => panic!("after {polls} polls: {other:?}"),
            };
            assert_eq!(report.account.as_deref(), Some("https://ca.test/acct/7"));
            assert_eq!(report.certificates, ["*.a.test a.test 192.0.2.7"]);
            let [left_out] = report.left_out.as_slice() else {
                panic!("{report}");
            };
            assert_eq!(
                left_out,
                "certificate *.a.test: another for the same names lasts as long or longer"
            );
            let place = setup.place(&["a.test", "192.0.2.7", "*.a.test"]);
            let entry = run(setup.storage.get(&place)).unwrap().unwrap();
            let stored = IssuedCertificate::decode(entry.value.as_bytes()).unwrap();
            assert_eq!((stored.generation(), stored.issuer()), (1, CA));
            let entry = run(setup
                .storage
                .get(&setup.engine.issuers()[0].account.place()));
            let record = entry.unwrap().unwrap();
            let record = String::from_utf8_lossy(record.value.as_bytes()).into_owned();
            assert!(record.contains(r#""contacts":["mailto:a@example.com"]"#));
            assert_eq!(
                std::fs::read_to_string(&setup.resolver.storage).unwrap(),
                text
            );
            assert_eq!(run(setup.import()), Import::Earlier(report));
            if ended {
                break;
            }
        }
        assert!(ended);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let key = account();
        let p521 = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P521)).unwrap();
        for (url, key, expected) in [
            (
                "https://other.test/acct/7",
                &key,
                "account https://other.test/acct/7: its CA is none of this resolver's",
            ),
            (
                "https://ca.test/acct/7",
                &p521,
                "account https://ca.test/acct/7: an account's key must be ECDSA P-256 or P-384, or RSA; this one is ECDSA P-521",
            ),
        ] {
            let setup = setup(&file(url, key, &[pair()]));
            let Import::Now(report) = run(setup.import()) else {
                panic!();
            };
            assert_eq!((report.account, report.certificates.len()), (None, 1));
            assert_eq!(report.left_out, [expected]);
        }

        let mut other = setup(&file("https://ca.test/acct/7", &key, &[pair()]));
        other.resolver.name = "mine".to_owned();
        let Import::Now(report) = run(other.import()) else {
            panic!();
        };
        assert_eq!(
            report.to_string(),
            "account: none, certificates: 0\nleft out: everything: it is of le, nothing of a resolver called mine"
        );
    }

    #[test]
    fn what_the_store_has_stays() {
        let (one, other) = (account(), account());
        let setup = setup(&file("https://ca.test/acct/7", &one, &[pair()]));
        let spec = &setup.engine.issuers()[0].account;
        let adopted = spec.adopt(&setup.storage, &other, "https://ca.test/acct/1", &[]);
        assert!(run(adopted).unwrap());
        let place = setup.place(&["a.test", "192.0.2.7", "*.a.test"]);
        let put = Txn::new().put(place.clone(), "ours");
        run(setup.storage.txn(put)).unwrap();
        let Import::Now(report) = run(setup.import()) else {
            panic!();
        };
        assert_eq!(
            report.left_out,
            [
                "account https://ca.test/acct/7: the store has another account at this CA, which stays in use"
            ]
        );
        let entry = run(setup.storage.get(&place)).unwrap().unwrap();
        assert_eq!(entry.value.as_bytes(), b"ours");
    }

    #[test]
    fn a_report_that_is_too_long_is_not_kept() {
        let broken = ("a.test", String::new(), String::new());
        let many = vec![broken; 20_000];
        let setup = setup(&file("https://ca.test/acct/7", &account(), &many));
        let Import::Now(report) = run(setup.import()) else {
            panic!();
        };
        assert_eq!(report.left_out.len(), many.len());
        let Import::Earlier(kept) = run(setup.import()) else {
            panic!();
        };
        assert_eq!((kept.account, kept.left_out.len()), (report.account, 0));
    }

    #[test]
    fn without_a_file_there_is_nothing_to_do() {
        let mut setup = setup("");
        std::fs::remove_file(&setup.resolver.storage).unwrap();
        assert_eq!(run(setup.import()), Import::NoFile);
        setup.resolver.storage = setup.dir.path().to_owned();
        assert_eq!(run(setup.import()), Import::NoFile);
        let broken = setup.dir.path().join("acme.json");
        std::fs::write(&broken, "{").unwrap();
        setup.resolver.storage = broken;
        let failed = run(setup.resolver.import(&setup.engine));
        assert!(matches!(failed, Err(ImportError::Json(_))), "{failed:?}");
    }
}
