//! A certificate chain and its private key, both PEM, into an entry rustls can serve.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use certwright_cert_model::inspect::FactsError;
use certwright_cert_model::pem::PemError;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_cert_model::{CertificateFacts, TlsSecret};
use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::CertificateDer;

use crate::change::ChangeSet;
use crate::entry::{Entry, EntryId};
use crate::lazy_key::{ColdKeys, LazyKey};
use crate::resolver::key_schemes;
use crate::scheme::SchemeMask;
use crate::store::CertStore;
use crate::{intern, pem};

/// Loads pairs with the keys of one [`CryptoProvider`].
#[derive(Clone)]
pub struct PairLoader {
    provider: Arc<CryptoProvider>,
    threads: NonZeroUsize,
    /// Those of the keys that were left for later, if any are to be.
    cold: Option<ColdKeys>,
}

/// A chain, leaf first, and the leaf's private key, as PEM texts.
///
/// The key may be PKCS #8, PKCS #1 or SEC1.
#[derive(Clone, Copy)]
pub struct PemPair<'a> {
    /// One or more `CERTIFICATE` blocks.
    pub chain: &'a [u8],
    /// One private key block.
    pub key: &'a [u8],
}

impl PairLoader {
    /// A loader for servers that use `provider`, working on all processors.
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            cold: None,
        }
    }

    /// Leaves the private keys of P-256 and P-384 certificates unloaded until they first sign, which
    /// saves memory and most of the loading time where many are never asked for.
    ///
    /// The first handshake then pays for loading the key, unless [`warm_up`](Self::warm_up) came first.
    /// Whether a key is the certificate's is still checked at once; one without its public half in the
    /// file is loaded at once for that reason. What is found late is a key that is damaged inside.
    #[must_use]
    pub fn with_lazy_keys(mut self) -> Self {
        // A loader that leaves keys already goes on sharing them with its clones.
        self.cold.get_or_insert_with(ColdKeys::default);
        self
    }

    /// Loads at most `at_most` of the keys that [`with_lazy_keys`](Self::with_lazy_keys) left, oldest
    /// first, and says how many are left still. Clones of the loader share them.
    ///
    /// A thread that calls it in small portions after a configuration was applied spares handshakes the
    /// work without taking their processor.
    pub fn warm_up(&self, at_most: usize) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.warm_up(at_most))
    }

    /// Loads with at most this many threads, for servers that have handshakes to do meanwhile.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// An entry with the leaf's names and validity, the schemes its key signs with, and a
    /// [`fingerprint`](Self::fingerprint) over both texts.
    ///
    /// # Errors
    /// If a text is no PEM, the leaf is not first or is a CA certificate with an issuer, or the key is
    /// of an unknown kind or another certificate's.
    pub fn load(
        &self,
        id: impl Into<EntryId>,
        pair: PemPair<'_>,
    ) -> Result<Entry<CertifiedKey>, PairError> {
        self.load_as(id.into(), pair, self.fingerprint(pair))
    }

    /// A change set with all these pairs, loaded in parallel: pairs that `store` holds already are
    /// kept unread, broken ones are rejected. Give it to [`CertStore::apply`], or to
    /// [`CertStore::replace_all`] if the pairs are the whole configuration.
    ///
    /// Of several pairs with the same id the last one counts.
    pub fn load_all<'p, I: Into<EntryId>>(
        &self,
        store: &CertStore<CertifiedKey>,
        pairs: impl IntoIterator<Item = (I, PemPair<'p>)>,
    ) -> ChangeSet<CertifiedKey> {
        let pairs: Vec<(EntryId, PemPair<'p>)> = pairs
            .into_iter()
            .map(|(id, pair)| (id.into(), pair))
            .collect();
        let load = |share: &[(EntryId, PemPair<'p>)]| {
            let mut change = ChangeSet::new();
            for (id, pair) in share {
                let fingerprint = self.fingerprint(*pair);
                let known = store.entry(id.as_str());
                if fingerprint.is_some()
                    && known.is_some_and(|known| known.fingerprint() == fingerprint.as_ref())
                {
                    change.keep(id.clone());
                } else {
                    match self.load_as(id.clone(), *pair, fingerprint) {
                        Ok(entry) => change.put(entry),
                        Err(error) => change.reject(id.clone(), error),
                    };
                }
            }
            change
        };
        let share = pairs.len().div_ceil(self.threads.get()).max(MIN_SHARE);
        thread::scope(|scope| {
            let workers: Vec<_> = pairs
                .chunks(share)
                .skip(1)
                .map(|share| scope.spawn(move || load(share)))
                .collect();
            let mut all = pairs.chunks(share).next().map(load).unwrap_or_default();
            for worker in workers {
                // A worker's panic is this caller's.
                all.merge(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            all
        })
    }

    /// The pair alone, for a default entry or a challenge.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn certified_key(&self, pair: PemPair<'_>) -> Result<CertifiedKey, PairError> {
        self.read(pair).map(|read| read.certified)
    }

    /// The fingerprint [`load`](Self::load) gives to an entry, without loading it: a pair that has it
    /// already need not be read again. `None` if the provider has no TLS 1.3 suite with SHA-256.
    pub fn fingerprint(&self, pair: PemPair<'_>) -> Option<[u8; 32]> {
        let suites = &self.provider.cipher_suites;
        let mut hashes = suites
            .iter()
            .filter_map(SupportedCipherSuite::tls13)
            .map(|suite| suite.common.hash_provider);
        // RFC 8446 section 9.1: every TLS 1.3 implementation has it.
        let sha256 = hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
        let mut context = sha256.start();
        // The length keeps the boundary between the two texts.
        context.update(&pair.chain.len().to_be_bytes());
        context.update(pair.chain);
        context.update(pair.key);
        context.finish().as_ref().try_into().ok()
    }

    /// How many intermediate certificates this process shares between chains. They are never freed;
    /// at most 4096 are kept.
    pub fn shared_intermediates() -> usize {
        intern::shared()
    }

    fn load_as(
        &self,
        id: EntryId,
        pair: PemPair<'_>,
        fingerprint: Option<[u8; 32]>,
    ) -> Result<Entry<CertifiedKey>, PairError> {
        let Read {
            certified,
            schemes,
            facts,
        } = self.read(pair)?;
        let mut entry = Entry::new(id, facts.names.dns, Arc::new(certified))
            .with_ips(facts.names.ip)
            .with_validity(facts.not_before..=facts.not_after)
            .with_schemes(schemes);
        // Of several common names the last one counts, as for Traefik.
        if let Some(name) = facts.subject.values(COMMON_NAME).last() {
            entry = entry.with_common_name(name);
        }
        Ok(match fingerprint {
            Some(fingerprint) => entry.with_fingerprint(fingerprint),
            None => entry,
        })
    }

    fn read(&self, pair: PemPair<'_>) -> Result<Read, PairError> {
        let chain = pem::certificates(pair.chain).map_err(PairError::ChainPem)?;
        let key = pem::private_key(pair.key)
            .map_err(PairError::KeyPem)?
            .ok_or(PairError::NoKey)?;
        let leaf = chain.first().ok_or(PairError::NoCertificate)?;
        let facts = CertificateFacts::from_der(leaf)
            .map_err(|source| PairError::Certificate { index: 0, source })?;
        let provider = self.provider.key_provider;
        let deferred = self
            .cold
            .as_ref()
            .and_then(|cold| LazyKey::defer(provider, &key, &facts.public_key, cold));
        let (mut certified, schemes) = match deferred {
            Some((key, schemes)) => (CertifiedKey::new(chain, key), schemes),
            None => {
                let key = pem::load_key(provider, &key)
                    .map_err(|error| PairError::Key(error.to_string()))?;
                let schemes = key_schemes(&*key);
                if !belongs(&*key, &facts.public_key) {
                    return Err(misplaced(&*key, &chain));
                }
                (CertifiedKey::new(chain, key), schemes)
            }
        };
        // What `openssl req -x509` makes is a CA certificate too, alone and self-signed; it serves.
        if facts.is_ca && !(facts.is_self_issued() && certified.cert.len() == 1) {
            return Err(PairError::CaLeaf);
        }
        for certificate in certified.cert.iter_mut().skip(1) {
            intern::intermediate(certificate);
        }
        certified.cert.shrink_to_fit();
        Ok(Read {
            certified,
            schemes,
            facts,
        })
    }
}

impl<'a> PemPair<'a> {
    /// The pair of a `kubernetes.io/tls` Secret: `tls.crt` and `tls.key`, empty if they are absent.
    pub fn of_secret(secret: &'a TlsSecret) -> Self {
        Self {
            chain: secret.get(TLS_CRT).unwrap_or_default(),
            key: secret.get(TLS_KEY).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for PairLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairLoader").finish_non_exhaustive()
    }
}

impl fmt::Debug for PemPair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").finish_non_exhaustive()
    }
}

/// Why a pair was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The first certificate is a CA's.
    #[error("the first certificate is a CA certificate; put the server's certificate first")]
    CaLeaf,
    /// A certificate cannot be read.
    #[error("certificate {index} of the chain cannot be read")]
    Certificate {
        /// Its place in the chain, from 0.
        index: usize,
        /// What is wrong with it.
        source: FactsError,
    },
    /// The chain is no PEM text.
    #[error("the chain is not valid PEM")]
    ChainPem(#[source] PemError),
    /// The key cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The key's text is no PEM.
    #[error("the private key is not valid PEM")]
    KeyPem(#[source] PemError),
    /// The key belongs to a later certificate of the chain.
    #[error("the private key belongs to certificate {index} of the chain; put that one first")]
    LeafNotFirst {
        /// Its place in the chain, from 0.
        index: usize,
    },
    /// The key belongs to none of the certificates.
    #[error("the private key is not that of the certificate")]
    Mismatch,
    /// The chain has no `CERTIFICATE` block.
    #[error("the chain holds no certificate; expected a PEM block CERTIFICATE")]
    NoCertificate,
    /// The key has no private key block.
    #[error("there is no private key; expected a PEM block PRIVATE KEY")]
    NoKey,
}

/// A pair, and what its certificate and key say.
struct Read {
    certified: CertifiedKey,
    schemes: SchemeMask,
    facts: CertificateFacts,
}

/// RFC 4519 section 2.3.
const COMMON_NAME: &str = "2.5.4.3";
/// Loading fewer pairs than this takes less time than starting a thread for them.
const MIN_SHARE: usize = 64;

/// Whether the key is that of this SubjectPublicKeyInfo. A key that does not know its public half, as
/// those of some hardware modules do not, is taken at its word.
///
/// Not rustls' own `keys_match`, which reads the certificate as a client would, and refuses a challenge's
/// for its critical extension.
fn belongs(key: &dyn SigningKey, public_key: &[u8]) -> bool {
    key.public_key()
        .is_none_or(|known| known.as_ref() == public_key)
}

/// Which error it is when the key is not the first certificate's.
fn misplaced(key: &dyn SigningKey, chain: &[CertificateDer<'_>]) -> PairError {
    let mut later = chain.iter().enumerate().skip(1);
    let owner = later.find(|(_, certificate)| {
        CertificateFacts::from_der(certificate).is_ok_and(|facts| belongs(key, &facts.public_key))
    });
    match owner {
        Some((index, _)) => PairError::LeafNotFirst { index },
        None => PairError::Mismatch,
    }
}
