//! From a request to a signed certificate, in two halves: what is to be signed, and the signature.

mod error;

use std::borrow::Cow;
use std::sync::Arc;

use certwright_cert_model::key::SignatureAlgorithm;
use certwright_cert_model::usage::{ExtendedKeyUsage, KeyUsage, KeyUsages, Usages};
use rustls_pki_types::TrustAnchor;
use time::OffsetDateTime;

use crate::bundle::{Issuers, SignedBundle};
use crate::certificate::Certificate;
use crate::csr::VerifiedCsr;
use crate::decode::{SEQUENCE, dotted};
use crate::encode::Writer;
use crate::encode::extension::{self, extended_key_usage_oid, id};
use crate::encode::tbs::{self, EMPTY_NAME};
use crate::key_pair::KeyPair;
use crate::name_constraints::check_value;
use crate::preflight::{self, Expected, Warning};
use crate::profile::{Overrun, Preflight, Profile, Role, UsageRule};
use crate::public_key::{PublicKey, signature_identifier};
use crate::serial::Serial;
use crate::validity::{Validity, instant, is_encodable};

pub use error::SignError;

/// Who signs: the parts of an issuer that are the same in every certificate, as DER.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) name: Vec<u8>,
    pub(crate) key: PublicKey,
    pub(crate) key_id: Vec<u8>,
    /// The authorityKeyIdentifier extension of what it signs.
    pub(crate) authority_key_id: Vec<u8>,
    pub(crate) algorithm: SignatureAlgorithm,
    /// The AlgorithmIdentifier of its signatures.
    pub(crate) algorithm_der: Vec<u8>,
    /// The issuing CA and the CAs above it; empty when a certificate signs itself.
    pub(crate) chain: Vec<Certificate>,
    /// What bundles carry above the certificate.
    pub(crate) issuers: Arc<Issuers>,
    /// The issuing CA as webpki sees it; none when a certificate signs itself.
    pub(crate) anchor: Option<TrustAnchor<'static>>,
}

impl Signer {
    /// A signer of this name and key, without certificates; `key_id` is what its certificates are
    /// to point at.
    pub(crate) fn new(name: &[u8], key: PublicKey, key_id: &[u8]) -> Self {
        let algorithm = key.signature_algorithm();
        let mut algorithm_der = Writer::with_capacity(16);
        algorithm_der.element(SEQUENCE, &signature_identifier(algorithm));
        let mut authority_key_id = Writer::with_capacity(64);
        extension::extension(
            &mut authority_key_id,
            id::AUTHORITY_KEY_IDENTIFIER,
            false,
            |w| extension::authority_key_identifier(w, key_id),
        );
        Self {
            name: name.to_vec(),
            key,
            key_id: key_id.to_vec(),
            authority_key_id: authority_key_id.into_vec(),
            algorithm,
            algorithm_der: algorithm_der.into_vec(),
            chain: Vec::new(),
            issuers: Arc::default(),
            anchor: None,
        }
    }
}

/// A certificate that waits for its signature, for example from an HSM; owns everything it needs.
#[derive(Clone, Debug)]
pub struct ToBeSigned {
    tbs: Vec<u8>,
    signer: Arc<Signer>,
    /// What the finished certificate is held against, unless the pre-flight is off.
    expected: Option<Box<Expected>>,
    warnings: Vec<Warning>,
}

impl ToBeSigned {
    /// The bytes to sign: the DER of the TBSCertificate.
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
    /// The key is not the issuer's, or the pre-flight finds fault.
    pub fn sign(self, key: &KeyPair) -> Result<SignedBundle, SignError> {
        if key.public_key() != &self.signer.key {
            return Err(SignError::ForeignKey);
        }
        let signature = key.sign(self.signer.algorithm, &self.tbs);
        self.assemble(&signature.map_err(SignError::Key)?)
    }

    /// The second half with a signature made elsewhere, which is always verified.
    ///
    /// # Errors
    ///
    /// The signature does not verify with the issuer's key, or the pre-flight finds fault.
    pub fn complete(self, signature: &[u8]) -> Result<SignedBundle, SignError> {
        let identifier = signature_identifier(self.signer.algorithm);
        self.signer
            .key
            .verify(&identifier, &self.tbs, signature)
            .map_err(|_| SignError::WrongSignature)?;
        self.assemble(signature)
    }

    fn assemble(self, signature: &[u8]) -> Result<SignedBundle, SignError> {
        let identifier = signature_identifier(self.signer.algorithm);
        let der = tbs::signed(&self.tbs, &identifier, signature);
        let mut warnings = self.warnings;
        if let Some(expected) = self.expected {
            warnings.extend(expected.check(&der, &self.signer)?);
        }
        Ok(SignedBundle::issued(der.into(), &self.signer, warnings))
    }
}

/// The first half, for an issuing CA (`issuer` is its validity) or for a certificate that signs itself.
pub(crate) fn prepare(
    signer: Arc<Signer>,
    issuer: Option<Validity>,
    csr: &VerifiedCsr,
    profile: &Profile,
    now: OffsetDateTime,
    serial: Serial,
) -> Result<ToBeSigned, SignError> {
    let validity = validity(profile, issuer, now)?;
    let usages = usages(csr, profile)?;
    let (ca, max_path_len) = role(csr, profile, usages.key)?;
    let name_constraints = csr.name_constraints();
    if let Some((_, value)) = name_constraints {
        if !ca {
            return Err(SignError::ConstraintsWithoutCa);
        }
        check_value(value).map_err(SignError::MalformedRequestedConstraints)?;
    }
    let subject = csr.subject_der();
    if ca && subject == EMPTY_NAME {
        return Err(SignError::NamelessCa);
    }
    for (oid, _) in csr.copied_extensions() {
        if profile_writes(profile, oid) {
            return Err(SignError::ExtensionOfProfile { oid: dotted(oid) });
        }
    }
    let others: Vec<_> = csr.copied_extensions().map(|(_, whole)| whole).collect();
    let certificate = tbs::Certificate {
        serial: serial.as_be_bytes(),
        algorithm: &signer.algorithm_der,
        issuer: &signer.name,
        validity,
        subject,
        spki: csr.public_key().spki_der(),
        authority_key_id: &signer.authority_key_id,
        subject_key_id: csr.key_id(),
        subject_alt_name: csr.subject_alt_name(),
        key_usage: usages.key,
        extended_key_usage: &usages.extended,
        ca,
        max_path_len,
        name_constraints,
        crl_distribution_points: &profile.crl_distribution_points,
        ocsp_servers: &profile.ocsp_servers,
        issuing_certificate_urls: &profile.issuing_certificate_urls,
        others: &others,
    };
    let tbs = certificate.to_der();
    let warnings = preflight::warnings(csr, usages.key);
    let expected = (profile.preflight != Preflight::Off).then(|| {
        Box::new(Expected {
            level: profile.preflight,
            csr: csr.clone(),
            serial,
            validity,
            usages: usages.into_owned(),
            ca,
            max_path_len: max_path_len.map(u64::from),
            now,
        })
    });
    Ok(ToBeSigned {
        tbs,
        signer,
        expected,
        warnings,
    })
}

/// Whether a profile writes an extension that the policy for requests may let through as well.
fn profile_writes(profile: &Profile, oid: &[u8]) -> bool {
    match oid {
        id::CRL_DISTRIBUTION_POINTS => !profile.crl_distribution_points.is_empty(),
        id::AUTHORITY_INFO_ACCESS => {
            !(profile.ocsp_servers.is_empty() && profile.issuing_certificate_urls.is_empty())
        }
        _ => false,
    }
}

fn validity(
    profile: &Profile,
    issuer: Option<Validity>,
    now: OffsetDateTime,
) -> Result<Validity, SignError> {
    let now = now.unix_timestamp();
    let mut wanted = Validity {
        not_before: now.saturating_sub(profile.backdate.whole_seconds()),
        not_after: now.saturating_add(profile.duration.whole_seconds()),
    };
    if let Some(issuer) = issuer {
        if wanted.not_after > issuer.not_after && profile.overrun == Overrun::Refuse {
            return Err(SignError::OutlivesCa {
                wanted: instant(wanted.not_after),
                ca: instant(issuer.not_after),
            });
        }
        wanted.not_after = wanted.not_after.min(issuer.not_after);
        // Nothing is gained by dating a certificate before its CA existed.
        wanted.not_before = wanted.not_before.max(issuer.not_before);
    }
    if profile.backdate.is_negative()
        || wanted.not_before >= wanted.not_after
        || !is_encodable(wanted.not_before)
        || !is_encodable(wanted.not_after)
    {
        return Err(SignError::Validity {
            not_before: wanted.not_before,
            not_after: wanted.not_after,
        });
    }
    Ok(wanted)
}

fn role(
    csr: &VerifiedCsr,
    profile: &Profile,
    usages: KeyUsages,
) -> Result<(bool, Option<u8>), SignError> {
    let asked = csr.asks_for_ca();
    match profile.role {
        Role::Leaf if asked == Some(true) => Err(SignError::CaRequested),
        Role::Leaf if usages.contains(KeyUsage::CertSign) => Err(SignError::CertSignWithoutCa),
        Role::Leaf => Ok((false, None)),
        Role::Ca { .. } if asked == Some(false) => Err(SignError::LeafRequested),
        Role::Ca { .. } if !usages.contains(KeyUsage::CertSign) => {
            Err(SignError::CaWithoutCertSign)
        }
        Role::Ca { max_path_len } => Ok((true, max_path_len)),
    }
}

fn usages<'a>(csr: &VerifiedCsr, profile: &'a Profile) -> Result<Cow<'a, Usages>, SignError> {
    let (asked_key, asked_extended) = (csr.key_usage(), csr.usage_oids());
    match &profile.usages {
        UsageRule::Exactly(usages) => {
            // cert-manager's rule: a request that names usages names them all.
            if asked_key.is_none() && asked_extended.is_none() {
                return Ok(Cow::Borrowed(usages));
            }
            if asked_key.unwrap_or_default() != usages.key {
                return Err(SignError::KeyUsages {
                    asked: asked_key.unwrap_or_default(),
                    expected: usages.key,
                });
            }
            let expected = || {
                usages
                    .extended
                    .iter()
                    .map(|usage| extended_key_usage_oid(*usage))
            };
            let same = match csr.usage_oids() {
                Some(asked) => asked.eq(expected()),
                None => usages.extended.is_empty(),
            };
            if same {
                return Ok(Cow::Borrowed(usages));
            }
            Err(SignError::ExtendedKeyUsages {
                asked: asked_extended.into_iter().flatten().map(dotted).collect(),
                expected: expected().map(dotted).collect(),
            })
        }
        UsageRule::Requested { within } => {
            // A certificate without one of the two extensions may be used for all it could name, so a
            // request does not get rid of one by leaving it out, or empty.
            let key = asked_key
                .filter(|asked| !asked.is_empty())
                .unwrap_or(within.key);
            if key.iter().any(|usage| !within.key.contains(usage)) {
                return Err(SignError::KeyUsages {
                    asked: key,
                    expected: within.key,
                });
            }
            let mut granted = Usages::default();
            granted.key = key;
            for oid in asked_extended.into_iter().flatten() {
                let known = ExtendedKeyUsage::from_oid(&dotted(oid));
                match known.filter(|usage| within.extended.contains(usage)) {
                    Some(usage) => granted.extended.push(usage),
                    None => return Err(SignError::UnapprovedUsage { oid: dotted(oid) }),
                }
            }
            if granted.extended.is_empty() {
                granted.extended.clone_from(&within.extended);
            }
            Ok(Cow::Owned(granted))
        }
    }
}
