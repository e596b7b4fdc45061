//! Certificate revocation lists.

use core::fmt;

use certwright_cert_model::pem;
use rustls_pki_types::CertificateRevocationListDer;
use webpki::{BorrowedCertRevocationList, CertRevocationList};

use crate::der::{BOOLEAN, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};

/// One or more revocation lists (RFC 5280, 5).
///
/// Given lists count for the whole chain: a certificate no list speaks for is refused, and so is a list
/// past its `nextUpdate`. Of several lists that speak for a certificate the newest counts, by `thisUpdate`
/// and then by CRL number, in whatever order they are given.
pub struct Crls {
    der: Vec<CertificateRevocationListDer<'static>>,
    lists: Vec<CertRevocationList<'static>>,
}

impl Crls {
    /// Takes lists in DER, each under 16 MiB.
    ///
    /// # Errors
    ///
    /// The first that is not a list webpki can use, or that there is none.
    pub fn from_der(
        der: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    ) -> Result<Self, CrlError> {
        let mut read = Vec::new();
        for (index, der) in der.into_iter().enumerate() {
            let unusable = |reason| CrlError::List { index, reason };
            let list = BorrowedCertRevocationList::from_der(&der)
                .and_then(|list| list.to_owned())
                .map_err(|error| unusable(format!("{error:?}")))?;
            let edition =
                Edition::read(&der).ok_or_else(|| unusable("its age is unreadable".to_owned()))?;
            read.push((edition, der, CertRevocationList::Owned(list)));
        }
        if read.is_empty() {
            return Err(CrlError::Empty);
        }
        // webpki and rustls ask the first list that speaks for a certificate and no other, so an older one
        // before a newer one would clear what was revoked since.
        read.sort_by(|(one, ..), (other, ..)| other.cmp(one));
        let (der, lists) = read.into_iter().map(|(_, der, list)| (der, list)).unzip();
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

    /// The lists in DER as rustls takes them, the newest first.
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

/// How new a list is; a later one compares greater.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Edition {
    /// `thisUpdate` with four digits of year.
    issued: Vec<u8>,
    /// The CRL number, longer ones being greater.
    number: (usize, Vec<u8>),
}

impl Edition {
    /// Walks a list that webpki has parsed (RFC 5280, 5.1).
    fn read(der: &[u8]) -> Option<Self> {
        let mut list = Reader::new(Reader::new(der).value(SEQUENCE)?);
        let mut tbs = Reader::new(list.value(SEQUENCE)?);
        tbs.value(INTEGER)?;
        tbs.value(SEQUENCE)?;
        tbs.value(SEQUENCE)?;
        let issued = tbs.time()?;
        let mut number = (0, Vec::new());
        while !tbs.is_empty() {
            let (tag, value) = tbs.element()?;
            if tag == 0xa0 {
                let mut extensions = Reader::new(Reader::new(value).value(SEQUENCE)?);
                while !extensions.is_empty() {
                    let mut extension = Reader::new(extensions.value(SEQUENCE)?);
                    let oid = extension.value(OBJECT_IDENTIFIER)?;
                    extension.optional(BOOLEAN);
                    let mut value = Reader::new(extension.value(OCTET_STRING)?);
                    if oid == CRL_NUMBER {
                        let value = value.value(INTEGER)?;
                        number = (value.len(), value.to_vec());
                    }
                }
            }
        }
        Some(Self { issued, number })
    }
}

const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];

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
