//! What is to be kept true: certificates, the issuers that sign them, and the order in which to issue.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::validated::ValidatedSpec;
use time::OffsetDateTime;

use crate::annotation;
use crate::ownership::{Claim, ownership};

/// The name of a namespaced resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ResourceName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

impl ResourceName {
    /// The resource `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Certificates and issuers that belong together.
///
/// An Issuer signs for Certificates of its own namespace, a ClusterIssuer for all; an issuer of another API group is
/// whatever is registered with the manager for its group and kind.
#[derive(Clone, Debug)]
pub struct Inventory {
    certificates: BTreeMap<ResourceName, Arc<ValidatedSpec>>,
    /// The Certificates that want a certificate of no worth while the real one is pending.
    temporary: BTreeSet<ResourceName>,
    /// By Secret: the Certificates that would keep their result there.
    claims: BTreeMap<ResourceName, BTreeSet<ResourceName>>,
    issuers: BTreeMap<ResourceName, IssuerSpec>,
    cluster_issuers: BTreeMap<String, IssuerSpec>,
    cluster_namespace: String,
    /// When they were made, as far as documents tell.
    created: BTreeMap<Object, OffsetDateTime>,
}

/// Something that has an age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Certificate(ResourceName),
    ClusterIssuer(String),
    Issuer(ResourceName),
}

impl Default for Inventory {
    fn default() -> Self {
        Self::new("cert-manager")
    }
}

/// An issuer, and the namespace its CA Secret lives in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundIssuer<'a> {
    pub(crate) spec: &'a IssuerSpec,
    pub(crate) namespace: &'a str,
}

impl FoundIssuer<'_> {
    /// The Secret with the CA's key, if the issuer has one.
    pub(crate) fn ca_secret(&self) -> Option<ResourceName> {
        match self.spec {
            IssuerSpec::Ca(ca) => Some(ResourceName::new(self.namespace, &ca.secret_name)),
            _ => None,
        }
    }

    /// The Secret with the key of the issuer's external account binding, and which of its entries that is.
    pub(crate) fn binding_secret(&self) -> Option<(ResourceName, String)> {
        let IssuerSpec::Acme(acme) = self.spec else {
            return None;
        };
        let binding = acme.external_account_binding.as_ref()?;
        let secret = ResourceName::new(self.namespace, &binding.key_secret_name);
        Some((secret, binding.key_secret_key.clone().unwrap_or_default()))
    }
}

impl Inventory {
    /// Nothing yet; the CA Secrets of ClusterIssuers are looked for in `cluster_namespace`
    /// (cert-manager's `--cluster-resource-namespace`, by default `cert-manager`).
    pub fn new(cluster_namespace: impl Into<String>) -> Self {
        Self {
            certificates: BTreeMap::new(),
            temporary: BTreeSet::new(),
            claims: BTreeMap::new(),
            issuers: BTreeMap::new(),
            cluster_issuers: BTreeMap::new(),
            cluster_namespace: cluster_namespace.into(),
            created: BTreeMap::new(),
        }
    }

    /// Adds a Certificate. Of several with one Secret, [`owner`](Self::owner) tells whose it is; the others wait.
    ///
    /// # Errors
    ///
    /// One of this name is there already.
    pub fn add_certificate(
        &mut self,
        name: ResourceName,
        spec: ValidatedSpec,
    ) -> Result<(), InventoryError> {
        if self.certificates.contains_key(&name) {
            return Err(InventoryError::Repeated {
                kind: "Certificate",
                name: name.to_string(),
            });
        }
        let secret = ResourceName::new(&name.namespace, spec.secret_name());
        self.claims.entry(secret).or_default().insert(name.clone());
        self.certificates.insert(name, Arc::new(spec));
        Ok(())
    }

    /// Asks for a temporary certificate while the real one of this Certificate is pending
    /// (`cert-manager.io/issue-temporary-certificate`).
    pub fn issue_temporary(&mut self, certificate: ResourceName) {
        self.temporary.insert(certificate);
    }

    /// Adds an Issuer, for Certificates of its own namespace.
    ///
    /// # Errors
    ///
    /// One of this name is there already.
    pub fn add_issuer(
        &mut self,
        name: ResourceName,
        spec: IssuerSpec,
    ) -> Result<(), InventoryError> {
        let shown = name.to_string();
        match self.issuers.insert(name, spec) {
            None => Ok(()),
            Some(_) => Err(InventoryError::Repeated {
                kind: "Issuer",
                name: shown,
            }),
        }
    }

    /// Adds a ClusterIssuer, for Certificates of every namespace.
    ///
    /// # Errors
    ///
    /// One of this name is there already.
    pub fn add_cluster_issuer(
        &mut self,
        name: impl Into<String>,
        spec: IssuerSpec,
    ) -> Result<(), InventoryError> {
        let name = name.into();
        let shown = name.clone();
        match self.cluster_issuers.insert(name, spec) {
            None => Ok(()),
            Some(_) => Err(InventoryError::Repeated {
                kind: "ClusterIssuer",
                name: shown,
            }),
        }
    }

    /// Takes note of when something was made.
    pub(crate) fn made(&mut self, object: Object, at: OffsetDateTime) {
        self.created.insert(object, at);
    }

    /// When something was made, if a document tells.
    pub(crate) fn created(&self, object: &Object) -> Option<OffsetDateTime> {
        self.created.get(object).copied()
    }

    /// Everything that has an age.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Object> {
        let certificates = self.certificates.keys().cloned().map(Object::Certificate);
        let issuers = self.issuers.keys().cloned().map(Object::Issuer);
        let cluster = self.cluster_issuers.keys().cloned();
        certificates
            .chain(issuers)
            .chain(cluster.map(Object::ClusterIssuer))
    }

    /// The Certificates, by name.
    pub fn certificates(&self) -> impl ExactSizeIterator<Item = (&ResourceName, &ValidatedSpec)> {
        self.certificates.iter().map(|(name, spec)| (name, &**spec))
    }

    /// The Certificate of this name.
    pub fn certificate(&self, name: &ResourceName) -> Option<&ValidatedSpec> {
        self.certificates.get(name).map(|spec| &**spec)
    }

    /// The same, to be kept.
    pub(crate) fn shared(&self, name: &ResourceName) -> Option<Arc<ValidatedSpec>> {
        self.certificates.get(name).cloned()
    }

    pub(crate) fn is_temporary_wanted(&self, certificate: &ResourceName) -> bool {
        self.temporary.contains(certificate)
    }

    /// The Secret a Certificate keeps its result in.
    pub fn target(&self, certificate: &ResourceName) -> Option<ResourceName> {
        let spec = self.certificates.get(certificate)?;
        Some(ResourceName::new(
            &certificate.namespace,
            spec.secret_name(),
        ))
    }

    /// The issuers of both kinds, as a Certificate names them: those of a namespace, then the ClusterIssuers.
    pub fn issuers(&self) -> impl Iterator<Item = (Option<&str>, IssuerRef, &IssuerSpec)> {
        let local = self.issuers.iter().map(|(name, spec)| {
            let reference = IssuerRef::new(&name.name, IssuerKind::Issuer);
            (Some(name.namespace.as_str()), reference, spec)
        });
        let cluster = self.cluster_issuers.iter().map(|(name, spec)| {
            let reference = IssuerRef::new(name, IssuerKind::ClusterIssuer);
            (None, reference, spec)
        });
        local.chain(cluster)
    }

    /// The number of issuers of both kinds.
    pub fn issuer_count(&self) -> usize {
        self.issuers.len() + self.cluster_issuers.len()
    }

    /// The Certificate that keeps its result in this Secret. Of several, the one the stored Secret tells of, or else
    /// the oldest by the `creationTimestamp` of its document, or the first by name: every replica and every restart
    /// decide the same.
    pub fn owner(
        &self,
        secret: &ResourceName,
        stored: Option<&TlsSecret>,
    ) -> Option<&ResourceName> {
        let claims = self.claims.get(secret)?;
        if claims.len() == 1 {
            return claims.first();
        }
        let claimed = claims.iter().map(|claim| {
            let created = self.created(&Object::Certificate(claim.clone()));
            Claim::new(&claim.name, created)
        });
        let owner = ownership(claimed, stored.and_then(annotation::certificate))?;
        claims.iter().find(|claim| claim.name == owner.owner())
    }

    /// The issuer a Certificate of `namespace` refers to: an Issuer of the same namespace, or a ClusterIssuer.
    pub(crate) fn issuer<'a>(
        &'a self,
        namespace: &'a str,
        reference: &IssuerRef,
    ) -> Option<FoundIssuer<'a>> {
        match reference.kind {
            IssuerKind::Issuer => {
                let spec = self
                    .issuers
                    .get(&ResourceName::new(namespace, &reference.name))?;
                Some(FoundIssuer { spec, namespace })
            }
            IssuerKind::ClusterIssuer => {
                let spec = self.cluster_issuers.get(&reference.name)?;
                let namespace = &self.cluster_namespace;
                Some(FoundIssuer { spec, namespace })
            }
            IssuerKind::External { .. } => None,
        }
    }

    /// Takes over what an earlier inventory has and this one has not; what that was, as kind and name.
    #[cfg(feature = "run")]
    pub(crate) fn keep(&mut self, earlier: &Self) -> Vec<String> {
        let (mut kept, mut objects) = (Vec::new(), Vec::new());
        for (name, spec) in &earlier.certificates {
            if !self.certificates.contains_key(name) {
                kept.push(format!("Certificate {name}"));
                let secret = ResourceName::new(&name.namespace, spec.secret_name());
                self.claims.entry(secret).or_default().insert(name.clone());
                self.certificates.insert(name.clone(), spec.clone());
                if earlier.is_temporary_wanted(name) {
                    self.temporary.insert(name.clone());
                }
                objects.push(Object::Certificate(name.clone()));
            }
        }
        for (name, spec) in &earlier.issuers {
            self.issuers.entry(name.clone()).or_insert_with(|| {
                kept.push(format!("Issuer {name}"));
                objects.push(Object::Issuer(name.clone()));
                spec.clone()
            });
        }
        for (name, spec) in &earlier.cluster_issuers {
            self.cluster_issuers.entry(name.clone()).or_insert_with(|| {
                kept.push(format!("ClusterIssuer {name}"));
                objects.push(Object::ClusterIssuer(name.clone()));
                spec.clone()
            });
        }
        for object in objects {
            match earlier.created(&object) {
                Some(at) => self.created.insert(object, at),
                None => self.created.remove(&object),
            };
        }
        kept
    }

    /// The Certificates in an order in which every CA comes before what it signs.
    ///
    /// `stored` tells whether a Secret exists that no Certificate here keeps, such as a CA made elsewhere.
    ///
    /// # Errors
    ///
    /// Everything that makes an order impossible: missing issuers, missing CA Secrets, cycles. A manager issues the
    /// others all the same.
    pub fn order(
        &self,
        stored: impl Fn(&ResourceName) -> bool,
    ) -> Result<Vec<ResourceName>, Vec<OrderError>> {
        let (order, mut errors) = self.sorted();
        for name in self.certificates.keys() {
            let Some((issuer, secret)) = self.ca_of(name) else {
                continue;
            };
            if self.owner(&secret, None).is_none() && !stored(&secret) {
                errors.push(OrderError::MissingCaSecret {
                    certificate: name.clone(),
                    issuer,
                    secret,
                });
            }
        }
        match errors.is_empty() {
            true => Ok(order),
            false => Err(errors),
        }
    }

    /// Every Certificate once, each CA before what it signs where there is such an order, and why there is none for
    /// the others.
    pub(crate) fn sorted(&self) -> (Vec<ResourceName>, Vec<OrderError>) {
        let mut errors = Vec::new();
        let mut order = Vec::with_capacity(self.certificates.len());
        let mut marks = BTreeMap::new();
        for start in self.certificates.keys() {
            // A Certificate waits for at most one other, so what it waits for is a path, not a tree.
            let mut path = Vec::new();
            let mut next = Some(start);
            while let Some(name) = next {
                match marks.insert(name, Mark::Open) {
                    None => {}
                    Some(Mark::Done) => {
                        marks.insert(name, Mark::Done);
                        break;
                    }
                    Some(Mark::Open) => {
                        let cycle = path.iter().skip_while(|n| **n != name).chain([&name]);
                        let cycle = cycle.map(|n: &&ResourceName| (*n).clone()).collect();
                        errors.push(OrderError::Cycle { cycle });
                        break;
                    }
                }
                path.push(name);
                next = self.signer(name).unwrap_or_else(|error| {
                    errors.push(error);
                    None
                });
            }
            for name in path.into_iter().rev() {
                marks.insert(name, Mark::Done);
                order.push(name.clone());
            }
        }
        (order, errors)
    }

    /// The issuer of a Certificate and the Secret with its CA, if it is a CA issuer.
    pub(crate) fn ca_of(&self, name: &ResourceName) -> Option<(IssuerRef, ResourceName)> {
        let reference = self.certificates.get(name)?.issuer_ref();
        let secret = self.issuer(&name.namespace, reference)?.ca_secret()?;
        Some((reference.clone(), secret))
    }

    /// The Secret with the key of the external account binding of a Certificate's issuer, and which of its entries.
    pub(crate) fn binding_of(&self, name: &ResourceName) -> Option<(ResourceName, String)> {
        let reference = self.certificates.get(name)?.issuer_ref();
        self.issuer(&name.namespace, reference)?.binding_secret()
    }

    /// The Secret with the highest CA above a Certificate that is known here; its own if it is nobody's. Everything
    /// with the same top trusts the same anchors.
    pub(crate) fn top(&self, name: &ResourceName) -> Option<ResourceName> {
        let mut top = self.target(name)?;
        let mut at = name.clone();
        // No path without a cycle is longer.
        for _ in 0..=self.certificates.len() {
            match self.ca_of(&at) {
                Some((_, secret)) if secret != top => {
                    top = secret;
                    match self.owner(&top, None) {
                        Some(owner) => at = owner.clone(),
                        None => return Some(top),
                    }
                }
                _ => return Some(top),
            }
        }
        None
    }

    /// The Certificate whose Secret holds the CA of `name`, if there is one to wait for.
    fn signer(&self, name: &ResourceName) -> Result<Option<&ResourceName>, OrderError> {
        let Some(spec) = self.certificates.get(name) else {
            return Ok(None);
        };
        let reference = spec.issuer_ref();
        if let IssuerKind::External { .. } = reference.kind {
            return Ok(None);
        }
        let missing = || OrderError::MissingIssuer {
            certificate: name.clone(),
            issuer: reference.clone(),
        };
        let issuer = self
            .issuer(&name.namespace, reference)
            .ok_or_else(missing)?;
        let Some(secret) = issuer.ca_secret() else {
            return Ok(None);
        };
        match self.owner(&secret, None) {
            None => Ok(None),
            Some(owner) if self.certificate(owner).is_some_and(ValidatedSpec::is_ca) => {
                Ok(Some(owner))
            }
            Some(owner) => Err(OrderError::NotCa {
                certificate: name.clone(),
                issuer: reference.clone(),
                signer: owner.clone(),
            }),
        }
    }
}

#[derive(Clone, Copy)]
enum Mark {
    Open,
    Done,
}

/// Why a resource cannot join an inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The same name twice.
    #[error("{kind} {name} is defined twice; remove one")]
    Repeated {
        /// `Certificate`, `ClusterIssuer` or `Issuer`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

/// Why Certificates cannot be issued in any order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Each CA waits for the next.
    #[error("no CA can be issued first: {}", cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" is signed by "))]
    Cycle {
        /// The Certificates; the first one is repeated at the end.
        cycle: Vec<ResourceName>,
    },
    /// The CA's Secret does not exist and no Certificate makes it.
    #[error(
        "Certificate {certificate} needs Secret {secret} of {issuer}, which is not known, and no Certificate with isCA: true makes it"
    )]
    MissingCaSecret {
        /// The Certificate to be signed.
        certificate: ResourceName,
        /// Its issuer.
        issuer: IssuerRef,
        /// The Secret with the CA's key.
        secret: ResourceName,
    },
    /// The issuer does not exist.
    #[error(
        "Certificate {certificate} names {issuer}, which does not exist{}",
        scope(issuer, certificate)
    )]
    MissingIssuer {
        /// The Certificate to be signed.
        certificate: ResourceName,
        /// The issuer it names.
        issuer: IssuerRef,
    },
    /// The Certificate that makes the CA's Secret is not a CA's.
    #[error(
        "Certificate {certificate} is signed by {issuer} with the key of Certificate {signer}, which is no CA; set isCA: true there"
    )]
    NotCa {
        /// The Certificate to be signed.
        certificate: ResourceName,
        /// Its issuer.
        issuer: IssuerRef,
        /// The Certificate whose Secret the issuer uses.
        signer: ResourceName,
    },
}

fn scope(issuer: &IssuerRef, certificate: &ResourceName) -> String {
    match &issuer.kind {
        IssuerKind::Issuer => format!(" in namespace {}", certificate.namespace),
        IssuerKind::ClusterIssuer | IssuerKind::External { .. } => String::new(),
    }
}
