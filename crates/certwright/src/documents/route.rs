//! Ingresses and Traefik's IngressRoutes, as far as they name certificates.

use certwright_cert_model::CertificateSpec;
use certwright_cert_model::document::{Fields, Strictness, decode};
use certwright_cert_model::manifest::{Metadata, Resource};
use certwright_cert_model::violation::{FieldPath, Violations};

use super::name;
use crate::inventory::ResourceName;

/// A router: an Ingress, or an IngressRoute, IngressRouteTCP or TCP's like of Traefik.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Its name.
    pub name: ResourceName,
    /// Its kind, for example `Ingress`.
    pub kind: String,
    /// What it says about TLS; nothing means that it does not use TLS.
    pub tls: Vec<RouteTls>,
}

/// What a [`Route`] says about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteTls {
    /// The names it is for; empty if it does not say.
    pub hosts: Vec<String>,
    /// The Secret with the certificate; none means the best match of all.
    pub secret: Option<ResourceName>,
    /// The certificate resolver that is to get one.
    pub resolver: Option<String>,
}

/// A Certificate that an annotated Ingress stands for.
pub(super) struct Wanted {
    pub(super) name: ResourceName,
    pub(super) spec: CertificateSpec,
}

/// The router a document is; none if it is something else. Fields that are not about certificates are not looked at.
pub(super) fn read(document: &Resource<()>) -> Option<Result<Route, Violations>> {
    let metadata = document.metadata();
    let group = metadata.api_version.split('/').next().unwrap_or_default();
    let read: fn(&mut Fields<'_>, &str) -> Vec<RouteTls> = match (group, metadata.kind.as_str()) {
        ("networking.k8s.io" | "extensions", "Ingress") => ingress,
        ("traefik.io" | "traefik.containo.us", "IngressRoute" | "IngressRouteTCP") => ingress_route,
        _ => return None,
    };
    let name = name(metadata);
    let decoded = decode(
        document.node(),
        FieldPath::default(),
        Strictness::Strict,
        |root| {
            root.object(|fields| {
                let tls = fields.object("spec", |spec| {
                    let tls = read(spec, &name.namespace);
                    spec.ignore_rest();
                    tls
                });
                fields.ignore_rest();
                tls.unwrap_or_default()
            })
        },
    );
    Some(decoded.into_result().map(|tls| Route {
        kind: metadata.kind.clone(),
        name,
        tls: tls.unwrap_or_default(),
    }))
}

fn ingress(spec: &mut Fields<'_>, namespace: &str) -> Vec<RouteTls> {
    spec.objects("tls", |tls| {
        let secret = tls.text("secretName").filter(|secret| !secret.is_empty());
        RouteTls {
            hosts: tls.texts("hosts"),
            secret: secret.map(|secret| ResourceName::new(namespace, secret)),
            resolver: None,
        }
    })
}

fn ingress_route(spec: &mut Fields<'_>, namespace: &str) -> Vec<RouteTls> {
    let tls = spec.object("tls", |tls| {
        let secret = tls.text("secretName").filter(|secret| !secret.is_empty());
        let domains = tls.objects("domains", |domain| {
            let main = domain.text("main");
            let names = main.into_iter().chain(domain.texts("sans"));
            names.collect::<Vec<_>>()
        });
        let read = RouteTls {
            hosts: domains.into_iter().flatten().collect(),
            secret: secret.map(|secret| ResourceName::new(namespace, secret)),
            resolver: tls.text("certResolver"),
        };
        tls.ignore_rest();
        read
    });
    tls.into_iter().collect()
}

/// The Certificates that an Ingress with cert-manager's annotations stands for: one for each Secret it names.
pub(super) fn certificates(route: &Route, metadata: &Metadata) -> Vec<Wanted> {
    let annotation = |key: &str| {
        let value = metadata.annotations.get(&format!("cert-manager.io/{key}"));
        value.filter(|value| !value.is_empty()).cloned()
    };
    let (issuer, kind) = match (annotation("issuer"), annotation("cluster-issuer")) {
        (Some(issuer), _) => (issuer, annotation("issuer-kind")),
        (None, Some(issuer)) => (issuer, Some("ClusterIssuer".to_owned())),
        (None, None) => return Vec::new(),
    };
    let wanted = |tls: &RouteTls| {
        let name = tls.secret.clone()?;
        let mut spec = CertificateSpec::default();
        spec.secret_name.clone_from(&name.name);
        spec.dns_names.clone_from(&tls.hosts);
        spec.issuer_ref.name.clone_from(&issuer);
        spec.issuer_ref.kind.clone_from(&kind);
        spec.issuer_ref.group = annotation("issuer-group");
        spec.common_name = annotation("common-name");
        spec.duration = annotation("duration");
        spec.renew_before = annotation("renew-before");
        Some(Wanted { name, spec })
    };
    match route.kind.as_str() {
        "Ingress" => route.tls.iter().filter_map(wanted).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use certwright_cert_model::document::Format;

    use crate::Documents;
    use crate::inventory::ResourceName;

    #[test]
    fn an_annotated_ingress_is_a_certificate_for_each_secret() {
        let mut documents = Documents::default();
        let text = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: shop
  annotations:
    cert-manager.io/cluster-issuer: public
    acme.cert-manager.io/http01-edit-in-place: 'true'
spec:
  rules: [{host: shop.example}]
  tls:
  - {hosts: [shop.example, www.shop.example], secretName: shop-tls}
  - {hosts: [other.example], secretName: given}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: own, namespace: shop}
spec: {secretName: own, issuerRef: {name: ca}, dnsNames: [own.example]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: plain}
spec: {routes: [{match: Host(`a.example`), kind: Rule}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: secure}
spec:
  routes: []
  tls: {secretName: own, certResolver: le, domains: [{main: a.example, sans: ['*.a.example']}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: broken}
spec: {tls: {hosts: x}}
";
        documents.read("m", text, Format::Yaml);
        let names = documents.inventory.certificates().map(|(name, spec)| {
            let hosts = spec.names().dns.iter().map(ToString::to_string);
            format!("{name} {}", hosts.collect::<Vec<_>>().join(","))
        });
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "shop/given other.example",
                "shop/own own.example",
                "shop/shop-tls shop.example,www.shop.example"
            ]
        );
        let shop = ResourceName::new("shop", "shop-tls");
        let spec = documents.inventory.certificate(&shop).unwrap();
        assert_eq!(spec.issuer_ref().to_string(), "ClusterIssuer/public");
        assert!(documents.inventory.is_temporary_wanted(&shop));
        let [_, plain, secure] = documents.routes.as_slice() else {
            panic!("{:?}", documents.routes);
        };
        assert!(plain.tls.is_empty(), "no TLS that nobody asked for");
        assert_eq!(secure.tls[0].hosts, ["a.example", "*.a.example"]);
        assert_eq!(secure.tls[0].resolver.as_deref(), Some("le"));
        let served = documents.served();
        let served: Vec<_> = served.iter().map(ToString::to_string).collect();
        assert_eq!(served, ["default/own", "shop/given", "shop/shop-tls"]);
        let problems: Vec<_> = documents.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("spec.tls"), "{problems:?}");
    }
}
