//! Trust anchors, from PEM or DER; one that cannot be used is an error, never skipped.

use core::fmt;
use std::collections::BTreeSet;

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
    /// A block that is not a usable certificate, or that there is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, RootsError> {
        let mut certificates = Vec::new();
        for block in pem::read(text).map_err(RootsError::Pem)? {
            if block.label() != "CERTIFICATE" {
                return Err(RootsError::Label {
                    line: block.line(),
                    found: block.label().to_owned(),
                });
            }
            certificates.push(CertificateDer::from(block.der().to_vec()));
        }
        Self::from_der(certificates)
    }

    /// Takes root certificates in DER.
    ///
    /// # Errors
    ///
    /// The first that is not a usable certificate, or that there is none.
    pub fn from_der(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, RootsError> {
        let mut certificates: Vec<_> = certificates.into_iter().collect();
        if certificates.is_empty() {
            return Err(RootsError::Empty);
        }
        let mut anchors = Vec::with_capacity(certificates.len());
        let mut is_new = Vec::with_capacity(certificates.len());
        let mut known = BTreeSet::new();
        for (index, certificate) in certificates.iter().enumerate() {
            let anchor = webpki::anchor_from_trusted_cert(certificate).map_err(|error| {
                RootsError::Certificate {
                    index,
                    reason: format!("{error:?}"),
                }
            })?;
            is_new.push(known.insert(certificate.as_ref()));
            if is_new[index] {
                anchors.push(anchor.to_owned());
            }
        }
        let mut is_new = is_new.into_iter();
        certificates.retain(|_| is_new.next() == Some(true));
        Ok(Self {
            certificates,
            anchors,
        })
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
        let known: BTreeSet<&[u8]> = self.certificates.iter().map(AsRef::as_ref).collect();
        let (certificates, anchors): (Vec<_>, Vec<_>) = other
            .certificates
            .iter()
            .cloned()
            .zip(other.anchors.iter().cloned())
            .filter(|(certificate, _)| !known.contains(certificate.as_ref()))
            .unzip();
        self.certificates.extend(certificates);
        self.anchors.extend(anchors);
        self
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
        let after = [a.der().clone(), a.der().clone(), vec![0].into()];
        assert!(matches!(
            Roots::from_der(after),
            Err(RootsError::Certificate { index: 2, .. })
        ));
        let key = format!("{}{}", a.pem(), *pem::write("PRIVATE KEY", b"k"));
        assert!(matches!(
            Roots::from_pem(key.as_bytes()),
            Err(RootsError::Label { .. })
        ));
    }

    /// A federated bundle is as long as its publisher likes; asking each root about all others took 10 s,
    /// which the suite's time would show.
    #[test]
    fn many_roots_take_linear_time() {
        let der = root("a").der().to_vec();
        let certificates = (0..16_000_u32).map(|i| {
            let mut der = der.clone();
            let end = der.len() - 4;
            der[end..].copy_from_slice(&i.to_be_bytes());
            CertificateDer::from(der)
        });
        let roots = Roots::from_der(certificates).unwrap();
        assert_eq!(roots.clone().merged(&roots), roots);
        assert_eq!(roots.anchors().len(), 16_000);
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
