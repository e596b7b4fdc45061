//! SPIFFE trust bundles: the roots of each trust domain, kept apart.

mod json;

use core::time::Duration;
use std::collections::BTreeMap;

use certwright_cert_model::name::TrustDomain;
use rustls_pki_types::TrustAnchor;

use crate::roots::Roots;

pub use json::BundleError;

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
    /// Grows with every change of the bundle (SPIFFE Trust Domain and Bundle, 4.1.1).
    pub sequence: Option<u64>,
    /// How often the publisher wants to be asked for changes (4.1.2).
    pub refresh_hint: Option<Duration>,
}

impl TrustBundles {
    /// Puts the bundle of `domain`, replacing an earlier one.
    pub fn insert(&mut self, domain: &TrustDomain, bundle: impl Into<Bundle>) {
        self.0.insert(domain.as_str().to_owned(), bundle.into());
    }

    /// Puts a bundle that was fetched for `domain`, unless a newer one is there already.
    ///
    /// # Errors
    ///
    /// The sequence number is lower than that of the bundle that is there, which stays.
    pub fn update(&mut self, domain: &TrustDomain, bundle: Bundle) -> Result<(), OlderBundle> {
        let known = self.get(domain).and_then(|bundle| bundle.sequence);
        if let (Some(known), Some(found)) = (known, bundle.sequence)
            && found < known
        {
            return Err(OlderBundle { found, known });
        }
        self.insert(domain, bundle);
        Ok(())
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

/// A bundle that was fetched is older than the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bundle has sequence number {found}, but {known} was there already")]
#[non_exhaustive]
pub struct OlderBundle {
    /// The number of the bundle that was refused.
    pub found: u64,
    /// The number of the bundle that stays.
    pub known: u64,
}

impl Bundle {
    /// How long to wait before the bundle is fetched again: the publisher's hint, at least a minute and at
    /// most a day; five minutes without one.
    pub fn refresh_interval(&self) -> Duration {
        const MINUTE: u64 = 60;
        self.refresh_hint
            .unwrap_or(Duration::from_secs(5 * MINUTE))
            .clamp(
                Duration::from_secs(MINUTE),
                Duration::from_secs(24 * 60 * MINUTE),
            )
    }
}

impl From<Roots> for Bundle {
    fn from(roots: Roots) -> Self {
        Self {
            roots: Some(roots),
            ..Self::default()
        }
    }
}
