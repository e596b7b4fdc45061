//! Routers that ask for certificates: Traefik's IngressRoutes and dynamic configuration.
//!
//! ```
//! use certwright_acme::router::Router;
//! use certwright_cert_model::document::{Format, Strictness, parse};
//!
//! let text = "
//! apiVersion: traefik.io/v1alpha1
//! kind: IngressRoute
//! metadata: {name: shop, namespace: apps}
//! spec:
//!   routes:
//!   - match: Host(`shop.example.com`) && PathPrefix(`/`)
//!     kind: Rule
//!   tls: {certResolver: le}
//! ";
//! let document = parse(text, Format::Yaml).remove(0)?;
//! let routers = Router::decode(&document.root, Strictness::Strict).into_result()?;
//! assert_eq!(routers[0].resolver.as_deref(), Some("le"));
//! assert_eq!(routers[0].domains()[0].main, "shop.example.com");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: Traefik's ACME documentation, domain definition.

use certwright_cert_model::document::{self, Decoded, Fields, Kind, Node, Strictness, Value};
use certwright_cert_model::{FieldPath, ViolationKind};

use crate::domains::{Domain, DomainError, OrderNames, OrderRules, orders};
use crate::rule::hosts;

/// A router, as far as it asks for certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Router {
    /// Its key in the dynamic configuration, or the resource's `NAMESPACE/NAME`.
    pub name: String,
    /// `tls.certResolver`: who is asked; nobody without it.
    pub resolver: Option<String>,
    /// `tls.domains`.
    pub tls_domains: Vec<Domain>,
    /// The names in `Host()` and `HostSNI()` of the rule.
    pub hosts: Vec<String>,
}

impl Router {
    /// Reads the routes of an IngressRoute or IngressRouteTCP, each of which is a router.
    pub fn decode(root: &Node, strictness: Strictness) -> Decoded<'_, Vec<Self>> {
        document::decode(root, FieldPath::default(), strictness, |value| {
            value.object(resource).unwrap_or_default()
        })
    }

    /// Reads every entry of `http.routers` and `tcp.routers` of a dynamic configuration; what else stands
    /// in the document belongs to others.
    pub fn decode_dynamic(root: &Node, strictness: Strictness) -> Decoded<'_, Vec<Self>> {
        document::decode(root, FieldPath::default(), strictness, |value| {
            let mut routers = Vec::new();
            value.object(|fields| {
                for section in ["http", "tcp"] {
                    fields.object(section, |section| {
                        let found = section.get("routers").and_then(|map| map.map(entry));
                        routers.extend(found.unwrap_or_default().into_iter().map(|(_, it)| it));
                        section.ignore_rest();
                    });
                }
                fields.ignore_rest();
            });
            routers
        })
    }

    /// What certificates are wanted for: `tls.domains` if there are any, otherwise the names of the rule,
    /// all in one.
    pub fn domains(&self) -> Vec<Domain> {
        match self.tls_domains.is_empty() {
            true => Domain::of_names(self.hosts.iter().cloned())
                .into_iter()
                .collect(),
            false => self.tls_domains.clone(),
        }
    }

    /// The orders for this router; none if no resolver is asked.
    ///
    /// # Errors
    ///
    /// As [`orders`].
    pub fn orders(&self, rules: &OrderRules) -> Result<Vec<OrderNames>, DomainError> {
        match &self.resolver {
            None => Ok(Vec::new()),
            Some(name) => orders(&self.domains(), rules).map_err(|error| error.of_resolver(name)),
        }
    }
}

fn resource(fields: &mut Fields<'_>) -> Vec<Router> {
    let version = fields.require("apiVersion").and_then(Value::text);
    if let Some(version) = version
        && !API_VERSIONS.contains(&version.as_str())
    {
        let message = format!("{version:?} is not known; use {}", API_VERSIONS[0]);
        fields.report("apiVersion", ViolationKind::NotSupported, message);
    }
    let kind = fields.require("kind").and_then(Value::text);
    if let Some(kind) = kind
        && !["IngressRoute", "IngressRouteTCP"].contains(&kind.as_str())
    {
        let message = format!("{kind:?} is another resource than IngressRoute and IngressRouteTCP");
        fields.report("kind", ViolationKind::NotSupported, message);
    }
    let name = fields.require("metadata").and_then(|metadata| {
        metadata.object(|metadata| {
            let name = metadata.require("name").and_then(Value::text);
            let namespace = metadata.text("namespace");
            metadata.ignore_rest();
            let namespace = namespace.as_deref().unwrap_or("default");
            format!("{namespace}/{}", name.unwrap_or_default())
        })
    });
    let routers = fields.require("spec").and_then(|spec| spec.object(routes));
    fields.ignore_rest();
    let mut routers = routers.unwrap_or_default();
    for router in &mut routers {
        router.name = name.clone().unwrap_or_default();
    }
    routers
}

fn routes(spec: &mut Fields<'_>) -> Vec<Router> {
    let mut routers = spec.objects("routes", |route| {
        let router = Router {
            hosts: rule(route, "match"),
            ..Router::default()
        };
        route.ignore_rest();
        router
    });
    tls(spec, &mut routers);
    spec.ignore_rest();
    routers
}

fn entry(name: &str, value: Value<'_>) -> Option<Router> {
    value.object(|fields| {
        let mut router = Router {
            name: name.to_owned(),
            hosts: rule(fields, "rule"),
            ..Router::default()
        };
        tls(fields, core::slice::from_mut(&mut router));
        fields.ignore_rest();
        router
    })
}

fn rule(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let text = fields.require(name).and_then(Value::text);
    match text.map(|text| hosts(&text)) {
        Some(Ok(hosts)) => hosts,
        Some(Err(error)) => {
            fields.report(name, ViolationKind::Invalid, error.to_string());
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// What `tls` says for these routers.
fn tls(fields: &mut Fields<'_>, routers: &mut [Router]) {
    let Some(value) = fields.get("tls") else {
        return;
    };
    // TLS with all defaults, as labels write it.
    if matches!(value.node().kind, Kind::Bool(_)) {
        return;
    }
    value.object(|tls| {
        let resolver = tls.text("certResolver").filter(|name| !name.is_empty());
        let domains = tls.objects("domains", |domain| {
            Domain::new(
                domain.text("main").unwrap_or_default(),
                domain.texts("sans"),
            )
        });
        // Fields of a TLS connection; a mistyped one is still told.
        for other in ["options", "passthrough", "secretName", "store"] {
            tls.get(other);
        }
        let nameless = domains.is_empty() && routers.iter().any(|router| router.hosts.is_empty());
        if let (Some(mut value), true) = (tls.get("certResolver"), nameless) {
            let message =
                "a rule names no host, and there is no name in tls.domains: nothing to ask for";
            value.warn(ViolationKind::Required, message);
        }
        for router in routers {
            router.resolver.clone_from(&resolver);
            router.tls_domains.clone_from(&domains);
        }
    });
}

const API_VERSIONS: [&str; 2] = ["traefik.io/v1alpha1", "traefik.containo.us/v1alpha1"];

#[cfg(test)]
mod tests {
    use certwright_cert_model::document::{Format, parse};

    use super::*;

    fn node(text: &str) -> Node {
        parse(text, Format::Yaml).remove(0).unwrap().root
    }

    fn names(router: &Router) -> Vec<Vec<String>> {
        let orders = router.orders(&OrderRules::default()).unwrap();
        orders.iter().map(|order| order.names().to_vec()).collect()
    }

    const ROUTE: &str = "
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: shop, namespace: apps, labels: {a: b}}
spec:
  entryPoints: [websecure]
  routes:
  - {kind: Rule, match: Host(`b.test`) || Host(`c.test`), services: [{name: shop, port: 80}]}
  - {kind: Rule, match: Host(`d.test`), priority: 10}
";

    #[test]
    fn rules_or_domains() {
        for (tls, expected) in [
            ("", &[&[][..], &[]][..]),
            ("  tls: {}", &[&[], &[]]),
            ("  tls: {secretName: web}", &[&[], &[]]),
            (
                "  tls: {certResolver: le, options: {name: o}}",
                &[&["b.test,c.test"], &["d.test"]],
            ),
            (
                "  tls: {certResolver: le, domains: [{main: a.test, sans: [b.test]}, {main: '*.e.test'}]}",
                &[
                    &["a.test,b.test", "*.e.test"],
                    &["a.test,b.test", "*.e.test"],
                ],
            ),
        ] {
            let document = node(&format!("{ROUTE}{tls}"));
            let routers = Router::decode(&document, Strictness::Strict)
                .into_result()
                .unwrap();
            let found: Vec<Vec<String>> = routers
                .iter()
                .map(|router| names(router).iter().map(|names| names.join(",")).collect())
                .collect();
            assert_eq!(found, expected, "{tls}");
            assert_eq!(routers[0].name, "apps/shop");
        }
    }

    #[test]
    fn a_wildcard_names_the_resolver_that_cannot_prove_it() {
        let text = format!("{ROUTE}  tls: {{certResolver: le, domains: [{{main: '*.e.test'}}]}}");
        let document = node(&text);
        let routers = Router::decode(&document, Strictness::Strict);
        let routers = routers.into_result().unwrap();
        let rules = OrderRules {
            wildcards: crate::domains::Wildcards::Refused,
            ..OrderRules::default()
        };
        assert_eq!(
            routers[0].orders(&rules).unwrap_err().to_string(),
            "\"*.e.test\" is a wildcard, and only DNS-01 proves those; add a dnsChallenge to the resolver \"le\" or write the names out"
        );
    }

    #[test]
    fn dynamic_configuration() {
        let text = "
http:
  routers:
    one: {rule: Host(`A.test`), service: s, tls: {certResolver: le}}
    two: {rule: Path(`/`), tls: true}
  services: {s: {}}
tcp:
  routers:
    three: {rule: HostSNI(`b.test`), tls: {certResolver: le, passthrough: false}}
";
        let document = node(text);
        let routers = Router::decode_dynamic(&document, Strictness::Strict)
            .into_result()
            .unwrap();
        let found: Vec<_> = routers
            .iter()
            .map(|it| (it.name.as_str(), names(it).concat().join(",")))
            .collect();
        assert_eq!(
            found,
            [
                ("one", "a.test".to_owned()),
                ("two", String::new()),
                ("three", "b.test".to_owned())
            ]
        );
    }

    #[test]
    fn mistakes() {
        for (from, to, expected) in [
            (
                "Host(`d.test`)",
                "Hosts(`d.test`)",
                "9:25: spec.routes[1].match: unknown matcher \"Hosts\" at byte 0",
            ),
            (
                "IngressRoute\n",
                "Ingress\n",
                "3:7: kind: \"Ingress\" is another resource than IngressRoute and IngressRouteTCP",
            ),
            (
                "traefik.io/",
                "traefik.example/",
                "2:13: apiVersion: \"traefik.example/v1alpha1\" is not known; use traefik.io/v1alpha1",
            ),
            (
                "routes:",
                "tls: {certresolver: le}\n  routes:",
                "7:9: spec.tls.certresolver: unknown field; did you mean certResolver?",
            ),
            (
                "match: Host(`d.test`), ",
                "",
                "9:5: spec.routes[1].match: must be set",
            ),
        ] {
            let document = node(&ROUTE.replace(from, to));
            let error = Router::decode(&document, Strictness::Strict)
                .into_result()
                .unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let text = ROUTE.replace("Host(`d.test`)", "PathPrefix(`/`)") + "  tls: {certResolver: le}";
        let document = node(&text);
        let decoded = Router::decode(&document, Strictness::Strict);
        assert_eq!(
            decoded.warnings()[0].to_string(),
            "10:23: spec.tls.certResolver: a rule names no host, and there is no name in tls.domains: nothing to ask for"
        );
    }
}
