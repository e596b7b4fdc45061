//! One Certificate and its issuer, whose CA nobody reaches.

use std::sync::Arc;

use certwright_cert_model::document::Format;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_storage::MemoryStorage;

use super::AcmeIssuers;
use crate::documents::Documents;
use crate::inventory::{Inventory, ResourceName};
use crate::issuer::AcmeAccount;

const MANIFESTS: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca, namespace: ns}
spec: {acme: {server: 'http://127.0.0.1:1/', privateKeySecretRef: {name: a}, solvers: [{http01: {}}]}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: ns}
spec: {secretName: web, issuerRef: {name: ca}, dnsNames: [web.example]}
";

/// An inventory, the name of the Certificate in it, and the account it is ordered under.
pub(super) fn web() -> (Inventory, ResourceName, AcmeAccount) {
    let mut documents = Documents::default();
    documents.read("test", MANIFESTS, Format::Yaml);
    let inventory = documents.inventory;
    let name = ResourceName::new("ns", "web");
    let spec = inventory.certificate(&name).unwrap();
    let issuer = inventory.issuer("ns", spec.issuer_ref()).unwrap();
    let IssuerSpec::Acme(acme) = issuer.spec else {
        panic!("{:?}", issuer.spec);
    };
    let account = AcmeAccount {
        namespace: "ns".to_owned(),
        name: "ca".to_owned(),
        spec: acme.clone(),
        binding_key: None,
    };
    (inventory, name, account)
}

/// With a storage of their own, and without roots.
pub(super) fn issuers() -> AcmeIssuers {
    AcmeIssuers::new(Arc::new(MemoryStorage::default())).with_roots(Vec::new())
}
