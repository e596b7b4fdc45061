//! The check of a finished certificate before it leaves.

use core::time::Duration;

use certwright_cert_model::key::KeyAlgorithm;
use certwright_cert_model::usage::{KeyUsage, KeyUsages, Usages};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;

use crate::certificate::{Certificate, CertificateError};
use crate::csr::VerifiedCsr;
use crate::encode::extension::extended_key_usage_oid;
use crate::encode::tbs::EMPTY_NAME;
use crate::name_constraints::{NameForm, forms_rustls_cannot_evaluate};
use crate::profile::Preflight;
use crate::public_key::ALGORITHMS;
use crate::serial::Serial;
use crate::signing::Signer;
use crate::validity::Validity;

/// What the certificate was to say.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) level: Preflight,
    pub(crate) csr: VerifiedCsr,
    pub(crate) serial: Serial,
    pub(crate) validity: Validity,
    pub(crate) usages: Usages,
    pub(crate) ca: bool,
    pub(crate) max_path_len: Option<u64>,
    pub(crate) now: OffsetDateTime,
}

fn verify_with_webpki(
    certificate: &Certificate,
    anchor: &rustls_pki_types::TrustAnchor<'_>,
    now: OffsetDateTime,
) -> Result<(), webpki::Error> {
    let der: &CertificateDer<'_> = certificate.der();
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    webpki::EndEntityCert::try_from(der)?
        .verify_for_usage(
            ALGORITHMS,
            core::slice::from_ref(anchor),
            &[],
            time,
            AnyUsage,
            None,
            None,
        )
        .map(|_| ())
}

/// What a certificate is used for is not the pre-flight's business.
struct AnyUsage;

impl webpki::ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl Expected {
    /// Reads the finished certificate back; the result is what webpki does not like about it.
    pub(crate) fn check(
        &self,
        der: &[u8],
        signer: &Signer,
    ) -> Result<Option<Warning>, PreflightError> {
        let certificate =
            Certificate::from_der(der.to_vec()).map_err(PreflightError::Unreadable)?;
        self.compare(&certificate, signer)?;
        if self.level != Preflight::Full {
            return Ok(None);
        }
        let mut refusal = None;
        if let (Some(anchor), false) = (&signer.anchor, self.ca) {
            match verify_with_webpki(&certificate, anchor, self.now) {
                Ok(()) => return Ok(None),
                Err(error) => {
                    let reason = format!("{error:?}");
                    refusal = Some(Warning::RefusedByRustls { reason });
                }
            }
        }
        // webpki was not asked, or refused, perhaps without a look at the signature.
        certificate
            .verify_signature(&signer.key)
            .map_err(|_| PreflightError::Signature)?;
        Ok(refusal)
    }

    fn compare(&self, found: &Certificate, signer: &Signer) -> Result<(), PreflightError> {
        let csr = &self.csr;
        let critical = csr.subject_der() == EMPTY_NAME;
        let usages = self.usages.extended.iter();
        let usages = usages.map(|usage| extended_key_usage_oid(*usage));
        let serial = found.serial();
        let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
        let checks = [
            ("serial number", serial == self.serial.as_be_bytes()),
            ("issuer", found.issuer_der() == signer.name),
            ("validity", found.validity() == self.validity),
            ("subject", found.subject_der() == csr.subject_der()),
            (
                "public key",
                found.spki_der() == csr.public_key().spki_der(),
            ),
            (
                "subject alternative names",
                found.subject_alt_name() == csr.subject_alt_name().map(|value| (critical, value)),
            ),
            (
                "key usage",
                found.key_usage().unwrap_or_default() == self.usages.key,
            ),
            ("extended key usage", found.usage_oids().eq(usages)),
            (
                "basic constraints",
                (found.is_ca(), found.max_path_len()) == (self.ca, self.max_path_len),
            ),
            (
                "name constraints",
                found.name_constraints() == csr.name_constraints(),
            ),
            (
                "subject key identifier",
                found.subject_key_id() == Some(csr.key_id().as_slice()),
            ),
            (
                "authority key identifier",
                found.authority_key_id() == Some(&signer.key_id),
            ),
        ];
        match checks.into_iter().find(|(_, same)| !same) {
            Some((field, _)) => Err(PreflightError::Differs { field }),
            None => Ok(()),
        }
    }
}

/// What is unusual about what is asked for.
pub(crate) fn warnings(csr: &VerifiedCsr, usages: KeyUsages) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let key = csr.public_key().algorithm();
    if !matches!(key, KeyAlgorithm::Rsa(_)) {
        for usage in [KeyUsage::KeyEncipherment, KeyUsage::DataEncipherment] {
            if usages.contains(usage) {
                warnings.push(Warning::UsageUnfitForKey { usage, key });
            }
        }
    }
    if let Some((critical, value)) = csr.name_constraints() {
        let forms = forms_rustls_cannot_evaluate(value);
        warnings.extend(forms.map(|form| Warning::RustlsCannotEvaluate { form }));
        if !critical {
            warnings.push(Warning::UncriticalConstraints);
        }
    }
    warnings
}

/// What is unusual about a certificate, though nothing forbids it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// webpki, and with it rustls, does not accept the certificate; others do.
    #[error("rustls will refuse this certificate: {reason}")]
    RefusedByRustls {
        /// webpki's word for why.
        reason: String,
    },
    /// A constraint of the CA that webpki cannot evaluate.
    #[error(
        "rustls will refuse every certificate below this CA that has a name of this form: {form}"
    )]
    RustlsCannotEvaluate {
        /// The form constrained.
        form: NameForm,
    },
    /// nameConstraints that are not critical (RFC 5280, 4.2.1.10, wants them critical).
    #[error(
        "the name constraints are not critical, so software that does not know them ignores them; set nameConstraints.critical"
    )]
    UncriticalConstraints,
    /// A usage that the key's algorithm does not have (RFC 8813, 3; RFC 9295, 3).
    #[error("an {key} key cannot do {usage:?}; leave it out of usages")]
    UsageUnfitForKey {
        /// The usage.
        usage: KeyUsage,
        /// The key.
        key: KeyAlgorithm,
    },
}

/// Why a finished certificate does not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// A field differs from what was to be signed.
    #[error("the {field} is not what was to be signed")]
    Differs {
        /// Which.
        field: &'static str,
    },
    /// The signature does not verify with the issuer's key.
    #[error("the signature does not verify with the issuer's key")]
    Signature,
    /// The certificate cannot be read back.
    #[error("the certificate cannot be read back")]
    Unreadable(#[source] CertificateError),
}
