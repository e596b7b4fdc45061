//! Revocation lists (RFC 5280, 5), signed in two halves like certificates.
//!
//! ```
//! use certwright_issuance::crl::{RevocationList, RevocationReason, Revoked};
//! # use certwright_cert_model::key::{Curve, KeyAlgorithm};
//! # use certwright_issuance::{CertificateAuthority, CsrPolicy, KeyPair, Profile, Serial};
//! # use certwright_issuance::{csr::Request, self_signed};
//! # use time::{Duration, OffsetDateTime};
//! # let now = OffsetDateTime::UNIX_EPOCH;
//! # let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
//! # let csr = Request::new("root", &[])?.sign(&key)?.verify(&CsrPolicy::default())?;
//! # let usages = ["cert sign", "crl sign"];
//! # let usages = usages.iter().map(|usage| usage.parse().unwrap()).collect();
//! # let root = self_signed(&csr, &key, &Profile::ca(usages, Duration::days(99), None), now)?;
//! # let ca = CertificateAuthority::new(vec![root.certificate()?], key, now)?;
//! # let serial = Serial::random()?;
//! let mut list = RevocationList::new(7, now + Duration::days(7));
//! let mut revoked = Revoked::new(serial, now);
//! revoked.reason = Some(RevocationReason::KeyCompromise);
//! list.revoked.push(revoked);
//! let crl = ca.sign_crl(&list, now)?;
//! assert!(crl.to_pem().starts_with("-----BEGIN X509 CRL-----\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use certwright_cert_model::key::SignatureAlgorithm;
use certwright_cert_model::pem;
use certwright_cert_model::usage::KeyUsage;
use rustls_pki_types::CertificateRevocationListDer;
use time::OffsetDateTime;

use crate::authority::{CaChain, CertificateAuthority};
use crate::certificate::Certificate;
use crate::encode::crl::List;
use crate::encode::tbs;
use crate::key_pair::{KeyError, KeyPair};
use crate::public_key::signature_identifier;
use crate::serial::{Serial, SerialError};
use crate::signing::Signer;
use crate::validity::is_encodable;

/// What a revocation list is to say. It speaks for everything the CA has issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationList {
    /// The list's number; every list of a CA has a higher one than those before.
    pub number: u64,
    /// When the next list will be there at the latest. Verifiers that are strict, those of this family
    /// among them, refuse everything the CA has issued from then on.
    pub next_update: OffsetDateTime,
    /// The revoked certificates, each once. One may be left out when it has expired, but not before a
    /// list with it was published.
    pub revoked: Vec<Revoked>,
}

impl RevocationList {
    /// A list of this number that revokes nothing.
    pub fn new(number: u64, next_update: OffsetDateTime) -> Self {
        Self {
            number,
            next_update,
            revoked: Vec::new(),
        }
    }
}

/// A revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked, in whole seconds.
    pub at: OffsetDateTime,
    /// Why, if that is to be said.
    pub reason: Option<RevocationReason>,
}

impl Revoked {
    /// A certificate of this serial number, revoked for a reason that is not told.
    pub fn new(serial: Serial, at: OffsetDateTime) -> Self {
        Self {
            serial,
            at,
            reason: None,
        }
    }

    /// This certificate, revoked for a reason that is not told. Put it on a list of the CA that issued
    /// it: nothing but the serial number goes in.
    ///
    /// # Errors
    ///
    /// A serial number that no certificate may have; never for what this crate issued.
    pub fn certificate(certificate: &Certificate, at: OffsetDateTime) -> Result<Self, SerialError> {
        Ok(Self::new(Serial::from_be_bytes(certificate.serial())?, at))
    }
}

/// Why a certificate was revoked (RFC 5280, 5.3.1). Complete by definition for full lists: "unspecified"
/// is to be said by saying nothing, and "remove from CRL" belongs into delta lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// The certificate's private key is in other hands.
    KeyCompromise,
    /// The CA's private key is in other hands.
    CaCompromise,
    /// The subject's name or other facts have changed.
    AffiliationChanged,
    /// There is a new certificate.
    Superseded,
    /// The certificate is not needed any more.
    CessationOfOperation,
    /// On hold: it may come off the list again.
    CertificateHold,
    /// A right that the certificate stood for has been taken back.
    PrivilegeWithdrawn,
    /// The attribute authority's private key is in other hands.
    AaCompromise,
}

impl RevocationReason {
    /// The number of the CRLReason.
    pub const fn code(self) -> u8 {
        match self {
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }
}

impl CertificateAuthority {
    /// Signs a revocation list: both halves.
    ///
    /// # Errors
    ///
    /// As [`CaChain::prepare_crl`], or the key cannot sign.
    pub fn sign_crl(&self, list: &RevocationList, now: OffsetDateTime) -> Result<Crl, CrlError> {
        self.chain().prepare_crl(list, now)?.sign(&self.key)
    }
}

impl CaChain {
    /// Checks a revocation list and encodes it, made at `now`: the first half of signing it.
    ///
    /// # Errors
    ///
    /// A CA that may not sign revocation lists or is not valid at `now`; a next update that is not after
    /// `now`; a serial number that stands there twice; a revocation after `now`.
    pub fn prepare_crl(
        &self,
        list: &RevocationList,
        now: OffsetDateTime,
    ) -> Result<CrlToBeSigned, CrlError> {
        let ca = self.certificate();
        let may = ca
            .key_usage()
            .is_none_or(|usage| usage.contains(KeyUsage::CrlSign));
        if !may {
            return Err(CrlError::MayNotSign { ca: ca.subject() });
        }
        if !ca.validity().contains(now) {
            return Err(CrlError::CaNotValid {
                ca: ca.subject(),
                not_before: ca.not_before(),
                not_after: ca.not_after(),
            });
        }
        let (this_update, next_update) = (now.unix_timestamp(), list.next_update.unix_timestamp());
        if next_update <= this_update || !is_encodable(next_update) {
            return Err(CrlError::NextUpdate {
                next_update: list.next_update,
                now,
            });
        }
        let mut serials = HashSet::with_capacity(list.revoked.len());
        for revoked in &list.revoked {
            let serial = || hex(revoked.serial.as_be_bytes());
            let at = revoked.at;
            if at.unix_timestamp() > this_update || !is_encodable(at.unix_timestamp()) {
                let serial = serial();
                return Err(CrlError::RevokedAt { serial, at, now });
            }
            if !serials.insert(&revoked.serial) {
                return Err(CrlError::Twice { serial: serial() });
            }
        }
        let signer = &self.signer;
        let tbs = List {
            algorithm: &signer.algorithm_der,
            issuer: &signer.name,
            this_update,
            next_update,
            revoked: &list.revoked,
            authority_key_id: &signer.authority_key_id,
            number: list.number,
        };
        Ok(CrlToBeSigned {
            tbs: tbs.to_der(),
            signer: signer.clone(),
        })
    }
}

/// A revocation list that waits for its signature, for example from an HSM.
#[derive(Clone, Debug)]
pub struct CrlToBeSigned {
    tbs: Vec<u8>,
    signer: Arc<Signer>,
}

impl CrlToBeSigned {
    /// The bytes to sign: the DER of the TBSCertList.
    pub fn bytes(&self) -> &[u8] {
        &self.tbs
    }

    /// How to sign them.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.signer.algorithm
    }

    /// The second half with a key at hand.
    ///
    /// # Errors
    ///
    /// The key is not the CA's, or cannot sign.
    pub fn sign(self, key: &KeyPair) -> Result<Crl, CrlError> {
        if key.public_key() != &self.signer.key {
            return Err(CrlError::ForeignKey);
        }
        let signature = key.sign(self.signer.algorithm, &self.tbs);
        Ok(self.assemble(&signature.map_err(CrlError::Key)?))
    }

    /// The second half with a signature made elsewhere, which is always verified.
    ///
    /// # Errors
    ///
    /// The signature does not verify with the CA's key.
    pub fn complete(self, signature: &[u8]) -> Result<Crl, CrlError> {
        let identifier = signature_identifier(self.signer.algorithm);
        self.signer
            .key
            .verify(&identifier, &self.tbs, signature)
            .map_err(|_| CrlError::WrongSignature)?;
        Ok(self.assemble(signature))
    }

    fn assemble(&self, signature: &[u8]) -> Crl {
        let identifier = signature_identifier(self.signer.algorithm);
        Crl {
            der: tbs::signed(&self.tbs, &identifier, signature).into(),
        }
    }
}

/// A signed revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    der: CertificateRevocationListDer<'static>,
}

impl Crl {
    /// The list in DER, as rustls and the transport crate take it.
    pub fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }

    /// The list in PEM.
    pub fn to_pem(&self) -> String {
        pem::write("X509 CRL", &self.der).to_string()
    }
}

/// Why a revocation list is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// The CA's certificate is not valid at this time.
    #[error("the CA {ca:?} is valid from {not_before} to {not_after} only")]
    CaNotValid {
        /// The CA's subject.
        ca: String,
        /// First second of its validity.
        not_before: OffsetDateTime,
        /// Last second of its validity.
        not_after: OffsetDateTime,
    },
    /// The key does not belong to the CA.
    #[error("the key is not the CA's")]
    ForeignKey,
    /// The key could not sign.
    #[error("the revocation list cannot be signed")]
    Key(#[source] KeyError),
    /// keyUsage without cRLSign (RFC 5280, 4.2.1.3).
    #[error("{ca:?} may not sign revocation lists: issue it with the usage crl sign")]
    MayNotSign {
        /// The CA's subject.
        ca: String,
    },
    /// The list would be out of date at once.
    #[error("the next update at {next_update} is not after {now}, or not before the year 10000")]
    NextUpdate {
        /// The time asked for.
        next_update: OffsetDateTime,
        /// When the list is made.
        now: OffsetDateTime,
    },
    /// A revocation that has not happened yet, or that no date of X.509 can be.
    #[error(
        "the certificate {serial} is revoked at {at}, which is after {now}, when the list is made, or before the year 0"
    )]
    RevokedAt {
        /// Its serial number in hexadecimal digits.
        serial: String,
        /// When it is revoked.
        at: OffsetDateTime,
        /// When the list is made.
        now: OffsetDateTime,
    },
    /// A certificate that stands there twice.
    #[error("the certificate {serial} is on the list twice")]
    Twice {
        /// Its serial number in hexadecimal digits.
        serial: String,
    },
    /// A signature made elsewhere does not verify.
    #[error("the signature does not verify with the CA's key")]
    WrongSignature,
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
