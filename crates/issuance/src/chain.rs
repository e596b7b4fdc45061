//! Chains from certificates in any order, by cert-manager's rules.

use std::collections::{HashMap, HashSet};

use certwright_cert_model::pem;

use crate::certificate::{Certificate, CertificateError};
use crate::pem_limit;

/// The most different certificates that are put in order.
pub const MAX_CERTIFICATES: usize = 1000;

/// How many signatures may be checked per certificate; only certificates that share a subject need
/// more than one.
const MAX_CHECKS_PER_CERTIFICATE: usize = 8;

/// Certificates in the order in which servers send them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssembledChain {
    /// What `tls.crt` holds: the leaf, then each one's issuer, without a self-signed certificate
    /// unless it is the leaf itself.
    pub chain: Vec<Certificate>,
    /// What `ca.crt` holds: the root, or else the highest intermediate if there is one.
    pub authority: Option<Certificate>,
}

/// Puts certificates in order. Repeated ones count once. The cost grows linearly with their number.
///
/// # Errors
///
/// None, too many, or certificates that are not one chain without gap, branch or stranger.
pub fn assemble(certificates: Vec<Certificate>) -> Result<AssembledChain, AssembleError> {
    let ordered = order(certificates)?;
    let mut chain = ordered.path;
    let authority = match (ordered.rooted, chain.len()) {
        (true, 1) => chain.first().cloned(),
        (true, _) => chain.pop(),
        (false, 1) => None,
        (false, _) => chain.last().cloned(),
    };
    Ok(AssembledChain { chain, authority })
}

/// Puts the certificates of a PEM text in order, as [`assemble`] does; text between blocks is skipped.
///
/// # Errors
///
/// More than [`pem_limit::CHAIN`] bytes, something that is no certificate, none, or certificates that are not one
/// chain.
pub fn read_pem(text: &[u8]) -> Result<AssembledChain, ReadError> {
    pem_limit::check(text, pem_limit::CHAIN).map_err(CertificateError::from)?;
    Ok(assemble(Certificate::read_pem(text)?)?)
}

/// The PEM text of a list of certificates, self-signed ones left out, in the order given.
pub fn encode_chain(certificates: &[Certificate]) -> String {
    let chain = certificates.iter().filter(|one| !one.is_self_signed());
    chain
        .map(|one| pem::write("CERTIFICATE", one.der()).to_string())
        .collect()
}

/// A path from a leaf up.
pub(crate) struct Ordered {
    pub(crate) path: Vec<Certificate>,
    /// Whether the last one is self-signed.
    pub(crate) rooted: bool,
}

pub(crate) fn order(mut certificates: Vec<Certificate>) -> Result<Ordered, AssembleError> {
    let mut seen = HashSet::new();
    certificates.retain(|one| seen.insert(one.der().clone()));
    if certificates.len() > MAX_CERTIFICATES {
        return Err(AssembleError::TooMany {
            found: certificates.len(),
        });
    }
    let parents = parents(&certificates)?;
    let mut children = vec![Vec::new(); certificates.len()];
    for (child, parent) in parents.iter().enumerate() {
        if let Parent::Other(parent) = parent {
            children[*parent].push(child);
        }
    }
    let subject = |index: usize| certificates[index].subject();
    if let Some((parent, several)) = children.iter().enumerate().find(|(_, c)| c.len() > 1) {
        return Err(AssembleError::Branch {
            issuer: subject(parent),
            one: subject(several[0]),
            other: subject(several[1]),
        });
    }
    let mut leaves = (0..certificates.len()).filter(|index| children[*index].is_empty());
    // Without a leaf there is a circle of cross-signed CAs, or nothing at all.
    let Some(leaf) = leaves.next() else {
        return Err(match certificates.first() {
            Some(one) => AssembleError::Circle {
                subject: one.subject(),
            },
            None => AssembleError::Empty,
        });
    };
    if let Some(other) = leaves.next() {
        return Err(AssembleError::Gap {
            one: subject(leaf),
            other: subject(other),
        });
    }
    let mut path = vec![leaf];
    let mut last = leaf;
    while let Parent::Other(parent) = parents[last] {
        path.push(parent);
        last = parent;
    }
    let rooted = matches!(parents[last], Parent::Itself);
    if let Some(left) = (0..certificates.len()).find(|index| !path.contains(index)) {
        return Err(AssembleError::Circle {
            subject: subject(left),
        });
    }
    let mut slots: Vec<Option<Certificate>> = certificates.into_iter().map(Some).collect();
    let path = path.into_iter().filter_map(|index| slots[index].take());
    Ok(Ordered {
        path: path.collect(),
        rooted,
    })
}

/// Who signed a certificate.
#[derive(Clone, Copy)]
enum Parent {
    Itself,
    Other(usize),
    Unknown,
}

fn parents(certificates: &[Certificate]) -> Result<Vec<Parent>, AssembleError> {
    let keys: Vec<_> = certificates
        .iter()
        .map(|one| one.public_key().ok())
        .collect();
    let mut by_subject: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, certificate) in certificates.iter().enumerate() {
        by_subject
            .entry(certificate.subject_der())
            .or_default()
            .push(index);
    }
    let mut checks = 0;
    let mut parents = Vec::with_capacity(certificates.len());
    for (index, certificate) in certificates.iter().enumerate() {
        let mut candidates: Vec<usize> = by_subject
            .get(certificate.issuer_der())
            .cloned()
            .unwrap_or_default();
        // The identifiers are only a hint: whoever they point at is asked first, itself before all.
        let wanted = certificate.authority_key_id();
        candidates.sort_by_key(|candidate| {
            let matches = wanted.is_some() && certificates[*candidate].subject_key_id() == wanted;
            (*candidate != index, !matches)
        });
        let mut parent = Parent::Unknown;
        for candidate in candidates {
            checks += 1;
            if checks > MAX_CHECKS_PER_CERTIFICATE * certificates.len() {
                return Err(AssembleError::Ambiguous {
                    issuer: certificates[candidate].subject(),
                });
            }
            let signed = keys[candidate]
                .as_ref()
                .is_some_and(|key| certificate.verify_signature(key).is_ok());
            if signed {
                parent = if candidate == index {
                    Parent::Itself
                } else {
                    Parent::Other(candidate)
                };
                break;
            }
        }
        parents.push(parent);
    }
    Ok(parents)
}

/// Why a text is no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The certificates are not one chain.
    #[error("the certificates are not one chain")]
    Assemble(#[from] AssembleError),
    /// Too long, not PEM, or not certificates.
    #[error("the chain is not a PEM text of certificates")]
    Certificate(#[from] CertificateError),
}

/// Why certificates are not one chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// Too many certificates share a subject.
    #[error("too many certificates have the subject {issuer:?}")]
    Ambiguous {
        /// The subject.
        issuer: String,
    },
    /// Two certificates of one issuer.
    #[error("{issuer:?} issued both {one:?} and {other:?}; keep one chain")]
    Branch {
        /// The issuer's subject.
        issuer: String,
        /// Subject of one certificate.
        one: String,
        /// Subject of the other.
        other: String,
    },
    /// CAs that signed each other.
    #[error("{subject:?} is part of a circle of CAs that signed each other")]
    Circle {
        /// The subject of one of them.
        subject: String,
    },
    /// No certificate.
    #[error("there is no certificate")]
    Empty,
    /// Two ends: an issuer between them is missing, or one does not belong here.
    #[error(
        "{one:?} and {other:?} both end a chain; an issuer is missing, or one of them does not belong here"
    )]
    Gap {
        /// Subject of one end.
        one: String,
        /// Subject of the other.
        other: String,
    },
    /// More than [`MAX_CERTIFICATES`].
    #[error("{found} certificates are more than the 1000 allowed in a chain")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}
