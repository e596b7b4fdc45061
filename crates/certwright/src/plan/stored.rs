use core::cell::OnceCell;
use core::fmt;

use certwright_cert_model::inspect::CertificateFacts;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::{Fingerprint, TlsSecret, ValidatedSpec};
use certwright_issuance::{Certificate, KeyPair};
use time::OffsetDateTime;

use super::reason::Reason;
use crate::annotation;

/// A Secret whose key and certificate can be read and belong together.
pub(super) struct Stored<'a> {
    pub(super) secret: &'a TlsSecret,
    pub(super) key: KeyPair,
    /// `tls.crt`, leaf first; never empty.
    chain: Vec<Certificate>,
    /// `ca.crt`.
    authority: Vec<Certificate>,
    /// The leaf's SHA-256, and the specification's fingerprint: each is needed twice.
    digest: OnceCell<String>,
    fingerprint: OnceCell<Fingerprint>,
}

impl<'a> Stored<'a> {
    pub(super) fn read(secret: Option<&'a TlsSecret>) -> Result<Self, Reason> {
        let secret = secret.ok_or(Reason::DoesNotExist)?;
        let data = |key| {
            secret
                .get(key)
                .filter(|bytes| !bytes.is_empty())
                .ok_or(Reason::MissingData(key))
        };
        let (key, chain) = (data(TLS_KEY)?, data(TLS_CRT)?);
        let key = KeyPair::from_pem(key).map_err(|e| Reason::InvalidKeyPair(chained(&e)))?;
        let chain =
            Certificate::read_pem(chain).map_err(|e| Reason::InvalidCertificate(chained(&e)))?;
        let leaf = chain.first().ok_or(Reason::MissingData(TLS_CRT))?;
        if leaf.spki_der() != key.public_key().spki_der() {
            let why = "it is not the certificate's".to_owned();
            return Err(Reason::InvalidKeyPair(why));
        }
        let authority = secret.get(CA_CRT).unwrap_or_default();
        Ok(Self {
            secret,
            key,
            chain,
            // What cannot be read is not the CA's; it is told as drift.
            authority: Certificate::read_pem(authority).unwrap_or_default(),
            digest: OnceCell::new(),
            fingerprint: OnceCell::new(),
        })
    }

    pub(super) fn leaf(&self) -> &Certificate {
        // `read` refuses an empty chain.
        &self.chain[0]
    }

    /// The certificates beside the leaf: those above it in `tls.crt`, and `ca.crt` unless it is the leaf itself.
    pub(super) fn above(&self) -> impl Iterator<Item = &Certificate> {
        let authority = self.authority.iter();
        let authority = authority.filter(|one| one.der() != self.leaf().der());
        self.chain.iter().skip(1).chain(authority)
    }

    /// Whether the leaf is alone in `tls.crt`, and alone in `ca.crt`.
    pub(super) fn is_its_own_authority(&self) -> bool {
        let [leaf] = self.chain.as_slice() else {
            return false;
        };
        self.authority == core::slice::from_ref(leaf)
    }

    /// The certificate beside the leaf that is in its issuer's name.
    pub(super) fn issuer(&self) -> Option<&Certificate> {
        let name = self.leaf().issuer_der();
        self.above().find(|one| one.subject_der() == name)
    }

    /// When the first certificate above the leaf ends, if that is within the leaf's own time.
    pub(super) fn chain_end(&self) -> Option<OffsetDateTime> {
        let ends = self.above().map(Certificate::not_after).min()?;
        (ends < self.leaf().not_after()).then_some(ends)
    }

    /// Whether the certificate is the one that was issued; `None` if the Secret does not tell.
    pub(super) fn is_issued(&self) -> Option<bool> {
        annotation::issued_certificate(self.secret).map(|issued| issued == self.digest())
    }

    /// The certificate's SHA-256, as the Secret's annotation has it.
    pub(super) fn digest(&self) -> &str {
        self.digest
            .get_or_init(|| annotation::digest(self.leaf().der()))
    }

    /// The fingerprint of the specification that this is held against.
    pub(super) fn fingerprint(&self, spec: &ValidatedSpec) -> Fingerprint {
        *self.fingerprint.get_or_init(|| spec.fingerprint())
    }

    pub(super) fn facts(&self) -> Result<CertificateFacts, Reason> {
        CertificateFacts::from_der(self.leaf().der())
            .map_err(|e| Reason::InvalidCertificate(e.to_string()))
    }
}

/// An error and what led to it, in one text.
fn chained(error: &(dyn core::error::Error + 'static)) -> String {
    let causes = core::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

impl fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("leaf", self.leaf())
            .finish_non_exhaustive()
    }
}
