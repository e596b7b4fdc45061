//! SPIFFE trust bundles: the roots of each trust domain, kept apart.

use std::collections::BTreeMap;

use certwright_cert_model::name::TrustDomain;
use rustls_pki_types::TrustAnchor;

use crate::roots::Roots;

/// The roots of every trust domain that is trusted: one's own and federated ones.
///
/// A peer is verified against the roots of the trust domain it claims and no others, so a domain's
/// authority cannot vouch for another domain (SPIFFE Federation, 7.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustBundles(BTreeMap<String, Bundle>);

/// The roots of one trust domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundle {
    /// The roots; `None` means that everything the domain signed is revoked.
    pub roots: Option<Roots>,
}

impl TrustBundles {
    /// Puts the bundle of `domain`, replacing an earlier one.
    pub fn insert(&mut self, domain: &TrustDomain, bundle: impl Into<Bundle>) {
        self.0.insert(domain.as_str().to_owned(), bundle.into());
    }

    /// Stops trusting `domain`; whether it was trusted.
    pub fn remove(&mut self, domain: &TrustDomain) -> bool {
        self.0.remove(domain.as_str()).is_some()
    }

    /// The bundle of `domain`.
    pub fn get(&self, domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(domain.as_str())
    }

    /// The names of the trust domains, sorted.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The anchors of a domain, perhaps none; `None` if the domain is unknown.
    pub(crate) fn anchors(&self, domain: &str) -> Option<&[TrustAnchor<'static>]> {
        let bundle = self.0.get(domain)?;
        Some(bundle.roots.as_ref().map_or(&[], Roots::anchors))
    }

    pub(crate) fn all_roots(&self) -> impl Iterator<Item = &Roots> {
        self.0.values().filter_map(|bundle| bundle.roots.as_ref())
    }
}

impl From<Roots> for Bundle {
    fn from(roots: Roots) -> Self {
        Self { roots: Some(roots) }
    }
}
