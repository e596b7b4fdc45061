//! Who trusts which certificates of a CA.

use std::collections::BTreeSet;

use certwright::{Inventory, ResourceName, TRUST_BUNDLE};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Failed, Follower};

impl Follower {
    /// Whether the CA's own Secret and all below it that are stored trust one anchor.
    pub(super) async fn is_trusted_alone(
        &self,
        ca: &ResourceName,
        own: Option<&TlsSecret>,
    ) -> Result<bool, Failed> {
        if own.is_some_and(|own| anchors(own) > 1) {
            return Ok(false);
        }
        let mut documents = self.manifests.reading.documents();
        documents.read_paths(&self.manifests.paths);
        let inventory = &documents.inventory;
        let home = &self.manifests.reading.cluster_namespace;
        for secret in below(inventory, home, ca) {
            let secret = self.requests.secret(&secret).await?;
            if secret.is_some_and(|secret| anchors(&secret) > 1) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How many certificates a Secret trusts.
pub(crate) fn anchors(secret: &TlsSecret) -> usize {
    let bundle = secret.get(TRUST_BUNDLE).unwrap_or_default();
    CertificateDer::pem_slice_iter(bundle).count()
}

/// The Secret of a CA and those of everything below it; the CA Secrets of ClusterIssuers are in `home`.
fn below(inventory: &Inventory, home: &str, ca: &ResourceName) -> BTreeSet<ResourceName> {
    let mut found: BTreeSet<_> = inventory.target(ca).into_iter().collect();
    loop {
        let issuers = inventory.issuers().filter(|(namespace, _, issuer)| {
            let IssuerSpec::Ca(issuer) = issuer else {
                return false;
            };
            let namespace = namespace.unwrap_or(home);
            found.contains(&ResourceName::new(namespace, &issuer.secret_name))
        });
        let issuers: BTreeSet<_> = issuers
            .map(|(namespace, reference, _)| (namespace, reference))
            .collect();
        let signed = inventory.certificates().filter(|(name, spec)| {
            let spaces = [None, Some(name.namespace.as_str())];
            let ways = spaces.map(|space| (space, spec.issuer_ref().clone()));
            ways.iter().any(|way| issuers.contains(way))
        });
        let signed: Vec<_> = signed
            .filter_map(|(name, _)| inventory.target(name))
            .collect();
        let before = found.len();
        found.extend(signed);
        if found.len() == before {
            return found;
        }
    }
}
