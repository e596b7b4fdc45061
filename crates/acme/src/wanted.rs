//! What is wanted: a certificate for some identifiers.

use certwright_cert_model::key::{Curve, KeyAlgorithm, RotationPolicy};
use certwright_cert_model::name::{DnsPattern, Email, Names};
use certwright_issuance::KeyPair;
use certwright_issuance::csr::{Csr, CsrError, Request};
use time::Duration;

use crate::config::CommonName;
use crate::identifier::Identifier;
use crate::layout::CertId;

/// A certificate that is wanted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Wanted {
    /// For what; the first is the main one. At least one.
    pub identifiers: Vec<Identifier>,
    /// Which key.
    pub key: KeyAlgorithm,
    /// Whether a renewal makes a new key.
    pub rotation: RotationPolicy,
    /// The CA's profile; the issuer's own if `None`.
    pub profile: Option<String>,
    /// Whether the main name becomes the subject's common name, if it is no longer than
    /// the 64 characters X.520 allows.
    pub common_name: CommonName,
    /// E-mail addresses to ask for in the CSR; public CAs ignore or refuse them.
    pub emails: Vec<Email>,
    /// Asks the CA for a certificate valid from so long after the order is placed, before
    /// it if negative (`notBefore` of RFC 8555 section 7.4). One that is not valid yet is
    /// not put in use. Public CAs refuse it; of one that takes no notice
    /// [`Event::OtherValidity`](crate::event::Event::OtherValidity) tells.
    pub not_before: Option<Duration>,
    /// Asks the CA for a certificate valid until so long after the order is placed
    /// (`notAfter`). Public CAs refuse it, or have profiles instead.
    pub not_after: Option<Duration>,
    /// Tells apart certificates for the same identifiers; usually empty.
    pub label: String,
}

impl Wanted {
    /// A certificate for these identifiers with an ECDSA P-256 key, new for every
    /// renewal.
    pub fn new(identifiers: Vec<Identifier>) -> Self {
        Self {
            identifiers,
            key: KeyAlgorithm::Ecdsa(Curve::P256),
            rotation: RotationPolicy::Always,
            profile: None,
            common_name: CommonName::default(),
            emails: Vec::new(),
            not_before: None,
            not_after: None,
            label: String::new(),
        }
    }

    /// Its name in the store, within a group ([`Options::group`]): that of every
    /// certificate for the same identifiers, in whatever order, with the same profile,
    /// kind of key and label. Who issues it is no part of it: a list of issuers may grow and shrink.
    ///
    /// [`Options::group`]: crate::Options::group
    pub fn id(&self, group: &str) -> CertId {
        let mut names: Vec<String> = self.identifiers.iter().map(Identifier::value).collect();
        names.sort_unstable();
        names.dedup();
        let key = self.key.to_string();
        let profile = self.profile.as_deref().unwrap_or_default();
        let names = names.join("\n");
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        CertId::of([group, profile, &key, &names].into_iter().chain(label))
    }

    /// The identifiers, each once, the main one first.
    pub(crate) fn distinct(&self) -> Vec<Identifier> {
        let mut distinct: Vec<Identifier> = Vec::new();
        for identifier in &self.identifiers {
            if !distinct.contains(identifier) {
                distinct.push(identifier.clone());
            }
        }
        distinct
    }

    /// The request for it, signed with this key.
    pub(crate) fn csr(&self, key: &KeyPair) -> Result<Csr, CsrError> {
        let mut names = Names::default();
        for identifier in self.distinct() {
            match identifier {
                Identifier::Dns(name) => names.dns.push(lower(name)),
                Identifier::Ip(address) => names.ip.push(address),
            }
        }
        names.email.clone_from(&self.emails);
        let main = self.identifiers.first();
        let main = main.filter(|main| matches!(main, Identifier::Dns(_)));
        let main = main.map(Identifier::value);
        let common_name = match self.common_name {
            CommonName::Main => main.filter(|name| name.len() <= MAX_COMMON_NAME),
            CommonName::None => None,
        };
        let mut request = Request::new(common_name.as_deref().unwrap_or_default(), &[])
            .map_err(|_| CsrError::NoIdentity)?;
        request.names = names;
        request.sign(key)
    }
}

/// A request that is made elsewhere, with its key, to be used instead of one of the
/// engine's own.
///
/// Its key is in the journal from the moment the CSR is sent: a certificate that is there
/// after a crash may be for an earlier request's key, and brings that along
/// ([`IssuedCertificate::key_pem`](crate::IssuedCertificate::key_pem)).
#[derive(Debug)]
pub struct OwnRequest<'r> {
    /// The key.
    pub key: &'r KeyPair,
    /// The CSR, signed with it, for the identifiers that are wanted.
    pub csr: &'r Csr,
}

/// ub-common-name of X.520.
const MAX_COMMON_NAME: usize = 64;

/// CAs write names in lower case, and so do we.
fn lower(name: DnsPattern) -> DnsPattern {
    let text = name.to_string().to_ascii_lowercase();
    text.parse().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use certwright_issuance::CsrPolicy;

    use super::*;

    fn wanted(texts: &[&str]) -> Wanted {
        Wanted::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn names_in_the_store() {
        let one = wanted(&["a.test", "B.test"]);
        let id = |wanted: &Wanted| wanted.id("");
        assert_eq!(id(&one), id(&wanted(&["b.test", "a.test", "A.test"])));
        assert_ne!(id(&one), id(&wanted(&["a.test"])));
        assert_ne!(id(&one), one.id("internal"));
        let short = Wanted {
            profile: Some("shortlived".to_owned()),
            ..one.clone()
        };
        assert_ne!(id(&one), id(&short));
        let other_key = Wanted {
            key: KeyAlgorithm::Ed25519,
            ..one.clone()
        };
        assert_ne!(id(&one), id(&other_key));
        let labelled = Wanted {
            label: "x".to_owned(),
            ..one.clone()
        };
        assert_ne!(id(&one), id(&labelled));
    }

    #[test]
    fn requests() {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let long = format!("{}.test", "a".repeat(60));
        for (mut wanted, common_name, named) in [
            (
                wanted(&["A.test", "*.b.test", "192.0.2.1"]),
                CommonName::Main,
                true,
            ),
            (wanted(&["a.test"]), CommonName::None, false),
            (wanted(&[&long]), CommonName::Main, false),
            (wanted(&["192.0.2.1", "a.test"]), CommonName::Main, false),
        ] {
            wanted.common_name = common_name;
            let csr = wanted.csr(&key).unwrap();
            let read = csr.verify(&CsrPolicy::default()).unwrap();
            let subject = read.subject_der();
            assert_eq!(subject.ends_with(b"a.test"), named, "{wanted:?}");
            assert_eq!(read.names().count(), wanted.identifiers.len());
        }
    }
}
