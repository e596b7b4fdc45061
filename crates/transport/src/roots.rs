//! Trust anchors, from PEM or DER; one that cannot be used is an error, never skipped.

use core::fmt;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::pem::{self, PemError};
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// One or more root certificates.
///
/// A pool is never empty: there is no way to make one that trusts nobody by accident. Of a root only its
/// name, key and name constraints count (RFC 5280, 6.1.1 d); its validity is not looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Roots {
    /// Reads PEM text: every block must be a `CERTIFICATE` and usable as a root.
    ///
    /// # Errors
    ///
    /// The first block that is not a usable certificate, or that there is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, RootsError> {
        let mut roots = Self::none();
        for block in pem::read(text).map_err(RootsError::Pem)? {
            if block.label() != "CERTIFICATE" {
                return Err(RootsError::Label {
                    line: block.line(),
                    found: block.label().to_owned(),
                });
            }
            roots.add(CertificateDer::from(block.der().to_vec()))?;
        }
        roots.nonempty()
    }

    /// Takes root certificates in DER.
    ///
    /// # Errors
    ///
    /// The first that is not a usable certificate, or that there is none.
    pub fn from_der(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, RootsError> {
        let mut roots = Self::none();
        for certificate in certificates {
            roots.add(certificate)?;
        }
        roots.nonempty()
    }

    /// Reads the roots of a Secret: key `tls.ca`, else `ca.crt`.
    ///
    /// # Errors
    ///
    /// Neither key is there, or the text under it is not what [`Roots::from_pem`] reads.
    pub fn from_secret(secret: &TlsSecret) -> Result<Self, RootsError> {
        let text = CA_KEYS
            .iter()
            .find_map(|key| secret.get(key))
            .ok_or(RootsError::NoCaKey)?;
        Self::from_pem(text)
    }

    /// The root certificates, each once, in the order they were given.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// What webpki needs of them, in the same order.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    pub(crate) fn into_anchors(self) -> Vec<TrustAnchor<'static>> {
        self.anchors
    }

    /// Both pools as one, each root once.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        for (certificate, anchor) in other.certificates.iter().zip(&other.anchors) {
            if !self.certificates.contains(certificate) {
                self.certificates.push(certificate.clone());
                self.anchors.push(anchor.clone());
            }
        }
        self
    }

    fn none() -> Self {
        Self {
            certificates: Vec::new(),
            anchors: Vec::new(),
        }
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), RootsError> {
        let index = self.certificates.len();
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| RootsError::Certificate {
                index,
                reason: format!("{error:?}"),
            })?
            .to_owned();
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
            self.anchors.push(anchor);
        }
        Ok(())
    }

    fn nonempty(self) -> Result<Self, RootsError> {
        if self.certificates.is_empty() {
            return Err(RootsError::Empty);
        }
        Ok(self)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.certificates.len())
    }
}

/// Where a Secret or a ConfigMap keeps roots, in order of preference.
pub(crate) const CA_KEYS: [&str; 2] = ["tls.ca", certwright_cert_model::secret::CA_CRT];

/// Why root certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// One is not a certificate that can be a trust anchor.
    #[error("root {index} is not a usable certificate: {reason}")]
    Certificate {
        /// Its position, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none.
    #[error("there is no certificate; give at least one PEM block CERTIFICATE")]
    Empty,
    /// A block of another kind stands among them.
    #[error("line {line} begins a block {found}; roots are blocks CERTIFICATE only")]
    Label {
        /// Line of its `BEGIN`.
        line: usize,
        /// Its label.
        found: String,
    },
    /// A Secret or ConfigMap has neither of the two keys.
    #[error("neither tls.ca nor ca.crt is there")]
    NoCaKey,
    /// The text is not PEM.
    #[error("the text is not PEM")]
    Pem(#[source] PemError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .self_signed(&rcgen::KeyPair::generate().unwrap())
            .unwrap()
    }

    #[test]
    fn a_bad_root_among_good_ones_is_an_error() {
        let (a, b) = (root("a"), root("b"));
        let good = format!("{}{}{}", a.pem(), b.pem(), a.pem());
        assert_eq!(Roots::from_pem(good.as_bytes()).unwrap().anchors().len(), 2);
        let bad = format!("{}{}", a.pem(), *pem::write("CERTIFICATE", b"junk"));
        assert!(matches!(
            Roots::from_pem(bad.as_bytes()),
            Err(RootsError::Certificate { index: 1, .. })
        ));
        let key = format!("{}{}", a.pem(), *pem::write("PRIVATE KEY", b"k"));
        assert!(matches!(
            Roots::from_pem(key.as_bytes()),
            Err(RootsError::Label { .. })
        ));
    }

    #[test]
    fn no_root_is_an_error() {
        assert_eq!(Roots::from_pem(b"TESTROOTCAS"), Err(RootsError::Empty));
        assert_eq!(Roots::from_der([]), Err(RootsError::Empty));
        let mut secret = TlsSecret::new("ns", "ca");
        assert_eq!(Roots::from_secret(&secret), Err(RootsError::NoCaKey));
        secret.insert("ca.crt", root("a").pem());
        assert!(Roots::from_secret(&secret).is_ok());
        secret.insert("tls.ca", "");
        assert_eq!(Roots::from_secret(&secret), Err(RootsError::Empty));
    }
}
