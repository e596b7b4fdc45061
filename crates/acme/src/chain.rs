//! Certificate chains as a CA offers them: the alternates of a `Link` header, which one is preferred,
//! and whether it is the one that was ordered.

mod check;
mod link;
mod preference;

use certwright_cert_model::CertificateFacts;
use certwright_issuance::Certificate;
use certwright_issuance::certificate::CertificateError;
use certwright_issuance::chain::{AssembleError, assemble};
use certwright_issuance::pem_limit;

pub use check::{Ordered, WrongChain};
pub use link::{Link, MAX_ALTERNATES, MAX_HEADER, alternates, links};
pub use preference::{ChainPreference, Otherwise, Selected};

/// A chain as it came: the leaf first, each certificate signed by the next
/// ([RFC 8555 section 9.1](https://www.rfc-editor.org/rfc/rfc8555#section-9.1)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Certificate>,
    /// The issuers' common names, as many as there are certificates.
    issuers: Vec<Option<String>>,
}

impl Chain {
    /// Reads a CA's PEM text.
    ///
    /// A chain that came in another order is put in order. Self-signed certificates at its end, which
    /// no client needs, are left out.
    ///
    /// # Errors
    ///
    /// No PEM, a block that is no certificate, more than 95,000 bytes, or certificates that are not
    /// one chain.
    pub fn read(pem: &[u8]) -> Result<Self, ChainError> {
        if pem.len() > pem_limit::CHAIN {
            return Err(ChainError::TooLong { found: pem.len() });
        }
        let mut certificates = Certificate::read_pem(pem)?;
        if !in_order(&certificates) {
            certificates = assemble(certificates)?.chain;
        }
        while certificates.len() > 1 && certificates.last().is_some_and(Certificate::is_self_signed)
        {
            certificates.pop();
        }
        let issuers = certificates.iter().map(issuer_name).collect();
        Ok(Self {
            certificates,
            issuers,
        })
    }

    /// The certificates, leaf first.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The leaf.
    pub fn leaf(&self) -> Option<&Certificate> {
        self.certificates.first()
    }

    /// The common name of the issuer of the last certificate: the root's name in most cases.
    pub fn top_issuer(&self) -> Option<&str> {
        self.issuers.last()?.as_deref()
    }

    /// The common names of all issuers, from the leaf's up.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().flatten().map(String::as_str)
    }

    /// The chain in PEM, leaf first.
    pub fn to_pem(&self) -> String {
        self.certificates.iter().map(Certificate::to_pem).collect()
    }
}

/// Whether each certificate is signed by the next.
fn in_order(certificates: &[Certificate]) -> bool {
    certificates.windows(2).all(|pair| {
        let key = pair[1].public_key();
        pair[0].issuer_der() == pair[1].subject_der()
            && key.is_ok_and(|key| pair[0].verify_signature(&key).is_ok())
    })
}

fn issuer_name(certificate: &Certificate) -> Option<String> {
    let facts = CertificateFacts::from_der(certificate.der()).ok()?;
    // Of several common names, Go takes the last.
    facts.issuer.values("2.5.4.3").last().map(str::to_owned)
}

/// Why a text is no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The certificates are not one chain.
    #[error("the certificates are not one chain")]
    Assemble(#[from] AssembleError),
    /// Not PEM, or not certificates.
    #[error("the chain is not a PEM text of certificates")]
    Certificate(#[from] CertificateError),
    /// More bytes than a chain may have.
    #[error(
        "the chain has {found} bytes, more than {} are allowed",
        pem_limit::CHAIN
    )]
    TooLong {
        /// Its length.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::sample::{Authorities, NOW, authorities, certificates, issue};

    fn pem(certificates: &[&Certificate]) -> Vec<u8> {
        let text: String = certificates.iter().map(|one| one.to_pem()).collect();
        text.into_bytes()
    }

    #[test]
    fn chains_are_put_in_order_and_lose_their_root() {
        let Authorities { root, issuing } = authorities();
        let (bundle, _) = issue(&issuing);
        let leaf = &certificates(&bundle)[0];
        let (issuing, root) = (issuing.chain().certificate(), root.chain().certificate());
        for offered in [
            &[leaf, issuing][..],
            &[leaf, issuing, root],
            &[issuing, leaf],
            &[root, leaf, issuing],
            &[leaf, issuing, issuing],
            &[leaf, issuing, root, root],
            &[root, issuing, root, leaf],
        ] {
            let chain = Chain::read(&pem(offered)).unwrap();
            assert_eq!(chain.certificates(), [leaf.clone(), issuing.clone()]);
            assert_eq!(chain.top_issuer(), Some("Test Root"));
            let issuers: Vec<&str> = chain.issuers().collect();
            assert_eq!(issuers, ["Test Issuing", "Test Root"]);
            assert_eq!(Chain::read(chain.to_pem().as_bytes()).unwrap(), chain);
        }
        let alone = Chain::read(&pem(&[root])).unwrap();
        assert_eq!(alone.top_issuer(), Some("Test Root"));
    }

    #[test]
    fn what_is_no_chain() {
        let Authorities { root, issuing } = authorities();
        let (one, key) = issue(&issuing);
        let (other, _) = issue(&issuing);
        let (leaf, stranger) = (&certificates(&one)[0], &certificates(&other)[0]);
        let root = root.chain().certificate();
        for (text, expected) in [
            (pem(&[leaf, root]), "the certificates are not one chain"),
            (pem(&[leaf, stranger]), "the certificates are not one chain"),
            (Vec::new(), "the chain is not a PEM text of certificates"),
            (
                key.to_pem(Default::default()).unwrap().as_bytes().to_vec(),
                "the chain is not a PEM text of certificates",
            ),
            (
                vec![b'\n'; 100_000],
                "the chain has 100000 bytes, more than 95000 are allowed",
            ),
        ] {
            assert_eq!(Chain::read(&text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_chain_is_checked_against_the_order() {
        let Authorities { issuing, .. } = authorities();
        let (bundle, key) = issue(&issuing);
        let (_, other) = issue(&issuing);
        let chain = Chain::read(bundle.chain_pem().as_bytes()).unwrap();
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let later = NOW + Duration::days(90);
        let earlier = NOW - Duration::minutes(5);
        for (key, wanted, now, expected) in [
            (
                &key,
                names(&["A.test", "*.a.test", "192.0.2.7"]),
                NOW,
                Ok(()),
            ),
            (&key, names(&[]), earlier, Ok(())),
            (&other, names(&["a.test"]), NOW, Err(WrongChain::Key)),
            (
                &key,
                // A wildcard that would cover the name is not the name that was ordered.
                names(&["a.test", "b.a.test"]),
                NOW,
                Err(WrongChain::Name {
                    name: "b.a.test".to_owned(),
                }),
            ),
            (
                &key,
                names(&["192.0.2.8"]),
                NOW,
                Err(WrongChain::Name {
                    name: "192.0.2.8".to_owned(),
                }),
            ),
            (
                &key,
                names(&["a.test"]),
                earlier - Duration::SECOND,
                Err(WrongChain::NotYetValid { not_before: NOW }),
            ),
            (
                &key,
                names(&["a.test"]),
                later + Duration::SECOND,
                Err(WrongChain::Expired {
                    not_after: chain.leaf().unwrap().not_after(),
                }),
            ),
        ] {
            let ordered = Ordered::new(key.public_key(), &wanted, now);
            assert_eq!(chain.check(&ordered), expected, "{wanted:?}");
        }
    }
}
