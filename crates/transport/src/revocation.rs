//! Certificate revocation lists.

use certwright_cert_model::pem;
use core::fmt;
use rustls_pki_types::CertificateRevocationListDer;
use webpki::{BorrowedCertRevocationList, CertRevocationList};

/// One or more revocation lists (RFC 5280, 5).
///
/// Given lists count for the whole chain: a certificate no list speaks for is refused, and so is a list
/// past its `nextUpdate`.
pub struct Crls {
    der: Vec<CertificateRevocationListDer<'static>>,
    lists: Vec<CertRevocationList<'static>>,
}

impl Crls {
    /// Takes lists in DER.
    ///
    /// # Errors
    ///
    /// The first that is not a list webpki can use, or that there is none.
    pub fn from_der(
        der: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    ) -> Result<Self, CrlError> {
        let der: Vec<_> = der.into_iter().collect();
        let mut lists = Vec::with_capacity(der.len());
        for (index, list) in der.iter().enumerate() {
            let list = BorrowedCertRevocationList::from_der(list)
                .and_then(|list| list.to_owned())
                .map_err(|error| CrlError::List {
                    index,
                    reason: format!("{error:?}"),
                })?;
            lists.push(CertRevocationList::Owned(list));
        }
        if lists.is_empty() {
            return Err(CrlError::Empty);
        }
        Ok(Self { der, lists })
    }

    /// Reads PEM text: every block must be an `X509 CRL`.
    ///
    /// # Errors
    ///
    /// The text is not PEM, or what [`Crls::from_der`] says.
    pub fn from_pem(text: &[u8]) -> Result<Self, CrlError> {
        let mut der = Vec::new();
        for block in pem::read(text).map_err(CrlError::Pem)? {
            if block.label() != "X509 CRL" {
                return Err(CrlError::Label {
                    line: block.line(),
                    found: block.label().to_owned(),
                });
            }
            der.push(CertificateRevocationListDer::from(block.der().to_vec()));
        }
        Self::from_der(der)
    }

    /// The lists in DER, as rustls takes them.
    pub fn der(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.der
    }

    pub(crate) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().collect()
    }
}

impl fmt::Debug for Crls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crls({})", self.lists.len())
    }
}

/// Why revocation lists cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// There is none.
    #[error(
        "there is no revocation list; give at least one PEM block X509 CRL, or no lists at all"
    )]
    Empty,
    /// A block of another kind stands among them.
    #[error("line {line} begins a block {found}; revocation lists are blocks X509 CRL only")]
    Label {
        /// Line of its `BEGIN`.
        line: usize,
        /// Its label.
        found: String,
    },
    /// One is not a list that can be used.
    #[error("revocation list {index} cannot be used: {reason}")]
    List {
        /// Its position, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is not PEM.
    #[error("the text is not PEM")]
    Pem(#[source] pem::PemError),
}
