//! What is to be kept true: certificates, the issuers that sign them, and the order in which to issue.

use core::fmt;
use std::collections::BTreeMap;

use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::validated::ValidatedSpec;

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
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    certificates: BTreeMap<ResourceName, ValidatedSpec>,
    /// By Secret: the Certificate that keeps its result there.
    owners: BTreeMap<ResourceName, ResourceName>,
    issuers: BTreeMap<ResourceName, IssuerSpec>,
    cluster_issuers: BTreeMap<String, IssuerSpec>,
    cluster_namespace: String,
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
}

impl Inventory {
    /// Nothing yet; the CA Secrets of ClusterIssuers are looked for in `cluster_namespace`
    /// (cert-manager's `--cluster-resource-namespace`, by default `cert-manager`).
    pub fn new(cluster_namespace: impl Into<String>) -> Self {
        Self {
            cluster_namespace: cluster_namespace.into(),
            ..Self::default()
        }
    }

    /// Adds a Certificate.
    ///
    /// # Errors
    ///
    /// One of this name is there already, or another one keeps its result in the same Secret: both would
    /// overwrite each other's forever.
    pub fn add_certificate(
        &mut self,
        name: ResourceName,
        spec: ValidatedSpec,
    ) -> Result<(), InventoryError> {
        let secret = ResourceName::new(&name.namespace, spec.secret_name());
        if self.certificates.contains_key(&name) {
            return Err(InventoryError::Repeated {
                kind: "Certificate",
                name: name.to_string(),
            });
        }
        if let Some(owner) = self.owner(&secret) {
            return Err(InventoryError::SharedSecret {
                owner: owner.clone(),
                second: name,
                secret: secret.name,
            });
        }
        self.owners.insert(secret, name.clone());
        self.certificates.insert(name, spec);
        Ok(())
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

    /// The Certificates, by name.
    pub fn certificates(&self) -> impl ExactSizeIterator<Item = (&ResourceName, &ValidatedSpec)> {
        self.certificates.iter()
    }

    /// The Certificate of this name.
    pub fn certificate(&self, name: &ResourceName) -> Option<&ValidatedSpec> {
        self.certificates.get(name)
    }

    /// The number of issuers of both kinds.
    pub fn issuer_count(&self) -> usize {
        self.issuers.len() + self.cluster_issuers.len()
    }

    /// The Certificate that keeps its result in this Secret.
    pub fn owner(&self, secret: &ResourceName) -> Option<&ResourceName> {
        self.owners.get(secret)
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

    /// The Certificates in an order in which every CA comes before what it signs.
    ///
    /// `stored` tells whether a Secret exists that no Certificate here keeps, such as a CA made elsewhere.
    ///
    /// # Errors
    ///
    /// Everything that makes an order impossible: missing issuers, missing CA Secrets, cycles.
    pub fn order(
        &self,
        stored: impl Fn(&ResourceName) -> bool,
    ) -> Result<Vec<ResourceName>, Vec<OrderError>> {
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
                next = self.signer(name, &stored).unwrap_or_else(|error| {
                    errors.push(error);
                    None
                });
            }
            for name in path.into_iter().rev() {
                marks.insert(name, Mark::Done);
                order.push(name.clone());
            }
        }
        if errors.is_empty() {
            Ok(order)
        } else {
            Err(errors)
        }
    }

    /// The Certificate whose Secret holds the CA of `name`, if there is one to wait for.
    fn signer(
        &self,
        name: &ResourceName,
        stored: &impl Fn(&ResourceName) -> bool,
    ) -> Result<Option<&ResourceName>, OrderError> {
        let Some(spec) = self.certificates.get(name) else {
            return Ok(None);
        };
        let reference = spec.issuer_ref();
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
        match self.owner(&secret) {
            Some(owner)
                if self
                    .certificates
                    .get(owner)
                    .is_some_and(ValidatedSpec::is_ca) =>
            {
                Ok(Some(owner))
            }
            Some(owner) => Err(OrderError::NotCa {
                certificate: name.clone(),
                issuer: reference.clone(),
                signer: owner.clone(),
            }),
            None if stored(&secret) => Ok(None),
            None => Err(OrderError::MissingCaSecret {
                certificate: name.clone(),
                issuer: reference.clone(),
                secret,
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
    /// Two Certificates for one Secret.
    #[error(
        "Certificate {second} keeps its result in Secret {secret}, which belongs to Certificate {owner}; give each its own spec.secretName"
    )]
    SharedSecret {
        /// The Certificate that came first.
        owner: ResourceName,
        /// The Certificate that came second.
        second: ResourceName,
        /// The Secret both name.
        secret: String,
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
        "Certificate {certificate} needs Secret {secret} of {issuer}, which neither exists nor is made by a Certificate with isCA: true"
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
        IssuerKind::External { group, .. } => {
            format!("; issuers of group {group} are not ours to run")
        }
        IssuerKind::ClusterIssuer => String::new(),
    }
}
