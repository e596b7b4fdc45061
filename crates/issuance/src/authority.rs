//! CAs: a key, its certificate and the chain above, proven when they are loaded.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::bundle::{Issuers, SignedBundle};
use crate::certificate::{Certificate, CertificateError};
use crate::chain::{self, AssembleError};
use crate::csr::VerifiedCsr;
use crate::key_pair::{KeyError, KeyPair};
use crate::name_constraints::{ChainConstraints, MalformedConstraints};
use crate::profile::{Profile, Role};
use crate::public_key::PublicKeyError;
use crate::serial::Serial;
use crate::signing::{self, SignError, Signer, ToBeSigned};
use certwright_cert_model::usage::KeyUsage;

/// A CA with its key.
#[derive(Debug)]
pub struct CertificateAuthority {
    chain: CaChain,
    pub(crate) key: KeyPair,
}

impl CertificateAuthority {
    /// A CA from PEM texts: its certificate, followed by the CAs above it if there are any (the
    /// root may be left out), and its private key.
    ///
    /// # Errors
    ///
    /// Texts that cannot be read, a key that is not the certificate's, and everything
    /// [`CaChain::new`] refuses.
    pub fn from_pem(chain: &[u8], key: &[u8], now: OffsetDateTime) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key).map_err(CaError::Key)?;
        Self::new(Certificate::read_pem(chain)?, key, now)
    }

    /// A CA from its chain, itself first, and its key.
    ///
    /// # Errors
    ///
    /// A key that is not the certificate's, and everything [`CaChain::new`] refuses.
    pub fn new(
        chain: Vec<Certificate>,
        key: KeyPair,
        now: OffsetDateTime,
    ) -> Result<Self, CaError> {
        let chain = CaChain::new(chain, now)?;
        if chain.signer.key != *key.public_key() {
            return Err(CaError::ForeignKey {
                ca: chain.certificate().subject(),
            });
        }
        Ok(Self { chain, key })
    }

    /// The CA without its key.
    pub fn chain(&self) -> &CaChain {
        &self.chain
    }

    /// The first half of [`CertificateAuthority::sign`], with a serial number of the caller's.
    ///
    /// # Errors
    ///
    /// As [`CaChain::prepare`].
    pub fn prepare(
        &self,
        csr: &VerifiedCsr,
        profile: &Profile,
        now: OffsetDateTime,
        serial: Serial,
    ) -> Result<ToBeSigned, SignError> {
        self.chain.prepare(csr, profile, now, serial)
    }

    /// Signs a request: both halves, with a random serial number.
    ///
    /// # Errors
    ///
    /// As [`CaChain::prepare`] and [`ToBeSigned::sign`].
    pub fn sign(
        &self,
        csr: &VerifiedCsr,
        profile: &Profile,
        now: OffsetDateTime,
    ) -> Result<SignedBundle, SignError> {
        self.prepare(csr, profile, now, Serial::random()?)?
            .sign(&self.key)
    }
}

/// A CA whose key is elsewhere: its certificate and the chain above, proven to be what they claim.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct CaChain {
    pub(crate) signer: Arc<Signer>,
    constraints: Arc<ChainConstraints>,
    /// How many CAs may follow below the issuing one, by it and all above.
    room: Option<u64>,
}

impl CaChain {
    /// A CA from the PEM text of its chain, itself first.
    ///
    /// # Errors
    ///
    /// As [`CaChain::new`], and a text that cannot be read.
    pub fn from_pem(chain: &[u8], now: OffsetDateTime) -> Result<Self, CaError> {
        Self::new(Certificate::read_pem(chain)?, now)
    }

    /// A CA from its chain: itself first, then the CAs above it in any order.
    ///
    /// # Errors
    ///
    /// No certificate; certificates that are not one chain; one that is not a CA's, may not sign
    /// certificates, is not valid at `now`, has a critical extension we do not know, malformed
    /// constraints or an unusable key; more CAs than a path length allows.
    pub fn new(chain: Vec<Certificate>, now: OffsetDateTime) -> Result<Self, CaError> {
        let first = chain.first().ok_or(CaError::Empty)?.clone();
        let ordered = chain::order(chain).map_err(CaError::Chain)?;
        let chain = ordered.path;
        if chain[0] != first {
            return Err(CaError::NotFirst {
                first: first.subject(),
                lowest: chain[0].subject(),
            });
        }
        for certificate in &chain {
            check_ca(certificate, now)?;
        }
        let key = first.public_key().map_err(|source| CaError::PublicKey {
            ca: first.subject(),
            source,
        })?;
        let (constraints, room) = (ChainConstraints::of(&chain)?, room(&chain)?);
        let mut intermediates: Vec<_> = chain.iter().map(|one| one.der().clone()).collect();
        let authority = if ordered.rooted {
            intermediates.pop()
        } else {
            intermediates.last().cloned()
        };
        let anchor = webpki::anchor_from_trusted_cert(first.der()).ok();
        let own_id = key.key_id();
        let key_id = first.subject_key_id().unwrap_or(&own_id);
        let signer = Signer {
            anchor: anchor.map(|anchor| anchor.to_owned()),
            issuers: Arc::new(Issuers {
                intermediates,
                authority,
            }),
            chain,
            ..Signer::new(first.subject_der(), key, key_id)
        };
        Ok(Self {
            signer: Arc::new(signer),
            constraints: Arc::new(constraints),
            room,
        })
    }

    /// The issuing CA's certificate.
    pub fn certificate(&self) -> &Certificate {
        // `new` refuses an empty chain.
        &self.signer.chain[0]
    }

    /// The issuing CA and the CAs above it that are known.
    pub fn certificates(&self) -> &[Certificate] {
        &self.signer.chain
    }

    /// The name constraints of the chain.
    pub fn constraints(&self) -> &ChainConstraints {
        &self.constraints
    }

    /// Decides whether a request is signed, and what is to be signed then: the first half of issuing.
    ///
    /// # Errors
    ///
    /// A CA that is not valid at `now`; names outside the constraints of the chain; usages, basic
    /// constraints or a lifetime that the profile does not allow; too long a path.
    pub fn prepare(
        &self,
        csr: &VerifiedCsr,
        profile: &Profile,
        now: OffsetDateTime,
        serial: Serial,
    ) -> Result<ToBeSigned, SignError> {
        let chain = &self.signer.chain;
        if let Some(ca) = chain.iter().find(|ca| !ca.validity().contains(now)) {
            return Err(SignError::CaNotValid {
                ca: ca.subject(),
                not_before: ca.not_before(),
                not_after: ca.not_after(),
            });
        }
        if let (Role::Ca { max_path_len }, Some(allowed)) = (profile.role, self.room) {
            let asked = u64::from(max_path_len.unwrap_or(0));
            if asked >= allowed {
                return Err(SignError::PathLength {
                    ca: self.certificate().subject(),
                    allowed,
                    asked,
                });
            }
        }
        self.constraints
            .check(csr.subject_der(), csr.names(), profile.constraint_level)
            .map_err(SignError::Names)?;
        let validity = self.certificate().validity();
        signing::prepare(
            self.signer.clone(),
            Some(validity),
            csr,
            profile,
            now,
            serial,
        )
    }
}

fn check_ca(ca: &Certificate, now: OffsetDateTime) -> Result<(), CaError> {
    let subject = || ca.subject();
    if !ca.is_ca() {
        return Err(CaError::NotACa { subject: subject() });
    }
    let signs = ca
        .key_usage()
        .is_none_or(|usage| usage.contains(KeyUsage::CertSign));
    if !signs {
        return Err(CaError::MayNotSign { subject: subject() });
    }
    if !ca.validity().contains(now) {
        return Err(CaError::NotValid {
            subject: subject(),
            now,
            not_before: ca.not_before(),
            not_after: ca.not_after(),
        });
    }
    if crate::name::rdns(ca.subject_der()).next().is_none() {
        return Err(CaError::Nameless);
    }
    match ca.unknown_critical_extension() {
        Some(oid) => Err(CaError::UnknownExtension {
            subject: subject(),
            oid,
        }),
        None => Ok(()),
    }
}

/// How many CAs may follow below the first of a chain (RFC 5280, 6.1.4 l and m).
fn room(chain: &[Certificate]) -> Result<Option<u64>, CaError> {
    let mut room: Option<u64> = None;
    for (index, ca) in chain.iter().enumerate().rev() {
        let above = chain.get(index + 1);
        if let Some(above) = above.filter(|_| !ca.is_self_issued()) {
            room = match room {
                Some(0) => {
                    return Err(CaError::PathLength {
                        ca: above.subject(),
                    });
                }
                room => room.map(|room| room - 1),
            };
        }
        room = match (room, ca.max_path_len()) {
            (Some(room), Some(own)) => Some(room.min(own)),
            (room, own) => room.or(own),
        };
    }
    Ok(room)
}

/// Why certificates and a key are not a CA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// A certificate cannot be read.
    #[error("the CA's certificates cannot be read")]
    Certificate(#[from] CertificateError),
    /// The certificates are not one chain.
    #[error("the CA's certificates are not one chain")]
    Chain(#[source] AssembleError),
    /// No certificate at all.
    #[error("there is no CA certificate")]
    Empty,
    /// The private key belongs to another certificate.
    #[error("the private key is not that of {ca:?}")]
    ForeignKey {
        /// The CA's subject.
        ca: String,
    },
    /// The private key cannot be read.
    #[error("the CA's private key cannot be read")]
    Key(#[source] KeyError),
    /// Constraints that cannot be read.
    #[error(transparent)]
    MalformedConstraints(#[from] MalformedConstraints),
    /// keyUsage without keyCertSign.
    #[error("{subject:?} may not sign certificates: its key usage lacks cert sign")]
    MayNotSign {
        /// The certificate's subject.
        subject: String,
    },
    /// An empty subject.
    #[error("a CA certificate has an empty subject")]
    Nameless,
    /// basicConstraints does not say CA.
    #[error("{subject:?} is not a CA: issue it with isCA")]
    NotACa {
        /// The certificate's subject.
        subject: String,
    },
    /// The issuing CA does not come first.
    #[error(
        "the chain begins with {first:?}, but {lowest:?} is below it; put the issuing CA first"
    )]
    NotFirst {
        /// Subject of the first certificate.
        first: String,
        /// Subject of the lowest one.
        lowest: String,
    },
    /// Expired or not valid yet.
    #[error("{subject:?} is valid from {not_before} to {not_after}, not at {now}")]
    NotValid {
        /// The certificate's subject.
        subject: String,
        /// The time it was checked for.
        now: OffsetDateTime,
        /// First second of its validity.
        not_before: OffsetDateTime,
        /// Last second of its validity.
        not_after: OffsetDateTime,
    },
    /// More CAs than a path length allows.
    #[error("{ca:?} does not allow so many CAs below it")]
    PathLength {
        /// The CA whose path length is exceeded.
        ca: String,
    },
    /// A public key of no use.
    #[error("the public key of {ca:?} is not acceptable")]
    PublicKey {
        /// The CA's subject.
        ca: String,
        /// Why.
        source: PublicKeyError,
    },
    /// A critical extension that must not be ignored.
    #[error("{subject:?} has the critical extension {oid}, which is not known")]
    UnknownExtension {
        /// The certificate's subject.
        subject: String,
        /// The extension's object identifier.
        oid: String,
    },
}
