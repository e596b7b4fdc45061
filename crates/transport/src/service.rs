//! Kubernetes Services: which transport one refers to, and whether a port speaks TLS.

use std::collections::BTreeMap;

use certwright_cert_model::document::{self, Decoded, Fields, Node, Strictness};
use certwright_cert_model::{FieldPath, ViolationKind};

use crate::peer_error::shown;
use crate::servers_transport::{ServersTransport, normalized};

/// The annotation that names the transport of a Service, as `NAMESPACE-NAME@kubernetescrd`.
pub const TRANSPORT_ANNOTATION: &str = "traefik.ingress.kubernetes.io/service.serverstransport";
/// The annotation that says how a Service's ports are spoken to: `http`, `https` or `h2c`.
pub const SCHEME_ANNOTATION: &str = "traefik.ingress.kubernetes.io/service.serversscheme";

/// What a transport needs to know of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The annotations, by key.
    pub annotations: BTreeMap<String, String>,
    /// The ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// The port's name.
    pub name: Option<String>,
    /// The number.
    pub port: u16,
}

/// Whether a transport may live in another namespace than the Service that refers to it; complete by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// It may: Traefik's `allowCrossNamespace`.
    Any,
    /// It may not.
    #[default]
    Same,
}

impl Service {
    /// Reads a Service; fields that say nothing about transports are passed over.
    pub fn decode(root: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        document::decode(root, FieldPath::default(), strictness, |value| {
            value.object(read).unwrap_or_default()
        })
    }

    /// The transport the Service's annotation refers to; `None` without the annotation.
    ///
    /// # Errors
    ///
    /// The reference is not spelt `NAMESPACE-NAME@kubernetescrd`, no transport or several have that name, or
    /// the transport lives in another namespace and may not.
    pub fn transport<'t>(
        &self,
        transports: &'t [ServersTransport],
        namespaces: Namespaces,
    ) -> Result<Option<&'t ServersTransport>, ReferenceError> {
        let Some(reference) = self.annotations.get(TRANSPORT_ANNOTATION) else {
            return Ok(None);
        };
        let Some(id) = reference.strip_suffix("@kubernetescrd") else {
            return Err(ReferenceError::Spelling {
                found: reference.clone(),
            });
        };
        // One of the dynamic configuration is never meant: its name could be chosen to be found.
        let resources = || {
            transports
                .iter()
                .filter(|transport| transport.namespace.is_some())
        };
        let mut named = resources().filter(|transport| transport.id() == id);
        let transport = named.next().ok_or_else(|| ReferenceError::Unknown {
            found: reference.clone(),
            known: resources().map(ServersTransport::id).collect(),
        })?;
        if let Some(other) = named.next() {
            return Err(ReferenceError::Ambiguous {
                found: reference.clone(),
                one: place(transport),
                other: place(other),
            });
        }
        if namespaces == Namespaces::Same && transport.namespace.as_deref() != Some(&self.namespace)
        {
            return Err(ReferenceError::OtherNamespace {
                transport: place(transport),
                service: format!("{}/{}", self.namespace, self.name),
                expected: format!(
                    "{}@kubernetescrd",
                    normalized(&format!("{}-{}", self.namespace, transport.name))
                ),
            });
        }
        Ok(Some(transport))
    }

    /// Whether a port is spoken to with TLS: the Service's annotation says so, or, without one, its number
    /// is 443 or its name starts with `https`.
    ///
    /// # Errors
    ///
    /// The annotation is none of `http`, `https` and `h2c`.
    pub fn speaks_tls(&self, port: &ServicePort) -> Result<bool, ReferenceError> {
        match self.annotations.get(SCHEME_ANNOTATION).map(String::as_str) {
            Some("https") => Ok(true),
            Some("http" | "h2c") => Ok(false),
            None | Some("") => Ok(port.port == 443
                || port
                    .name
                    .as_deref()
                    .is_some_and(|name| name.starts_with("https"))),
            Some(found) => Err(ReferenceError::Scheme {
                found: found.to_owned(),
            }),
        }
    }
}

fn read(fields: &mut Fields<'_>) -> Service {
    let mut service = Service::default();
    if fields.text("kind").as_deref() != Some("Service") {
        fields.report("kind", ViolationKind::NotSupported, "must be Service");
    }
    fields.object("metadata", |metadata| {
        service.name = metadata.text("name").unwrap_or_default();
        service.namespace = metadata
            .text("namespace")
            .unwrap_or_else(|| "default".to_owned());
        service.annotations = metadata.text_map("annotations");
        metadata.ignore_rest();
    });
    fields.object("spec", |spec| {
        service.ports = spec.objects("ports", |fields| {
            let number = fields.int("port").unwrap_or_default();
            let port = ServicePort {
                name: fields.text("name"),
                port: u16::try_from(number).unwrap_or_default(),
            };
            if port.port == 0 {
                let message = "must be a number from 1 to 65535";
                fields.report("port", ViolationKind::Invalid, message);
            }
            fields.ignore_rest();
            port
        });
        spec.ignore_rest();
    });
    fields.ignore_rest();
    service
}

fn place(transport: &ServersTransport) -> String {
    let namespace = transport.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", transport.name)
}

/// Why a Service's annotations cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Two transports have this name, because a dash joins namespace and name.
    #[error("{found} is the name of both {one} and {other}; rename one of them")]
    Ambiguous {
        /// The reference.
        found: String,
        /// Namespace and name of the first.
        one: String,
        /// Namespace and name of the second.
        other: String,
    },
    /// The transport lives in another namespace than the Service.
    #[error(
        "ServersTransport {transport} lives in another namespace than Service {service}; move it there, refer to it as {expected}, or allow other namespaces"
    )]
    OtherNamespace {
        /// Namespace and name of the transport.
        transport: String,
        /// Namespace and name of the Service.
        service: String,
        /// The reference to a transport of that name in the Service's namespace.
        expected: String,
    },
    /// The scheme is unknown.
    #[error("{found:?} is not a scheme; use http, https or h2c")]
    Scheme {
        /// The scheme.
        found: String,
    },
    /// The reference is not spelt as it must be.
    #[error("{found:?} does not refer to a ServersTransport; write NAMESPACE-NAME@kubernetescrd")]
    Spelling {
        /// The reference.
        found: String,
    },
    /// There is no such transport.
    #[error("there is no ServersTransport {found}; there are {}", shown(known))]
    Unknown {
        /// The reference.
        found: String,
        /// Those that are there.
        known: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(namespace: &str, name: &str) -> ServersTransport {
        ServersTransport {
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            ..ServersTransport::default()
        }
    }

    fn service(reference: &str) -> Service {
        Service {
            namespace: "apps".to_owned(),
            name: "api".to_owned(),
            annotations: BTreeMap::from([(TRANSPORT_ANNOTATION.to_owned(), reference.to_owned())]),
            ports: Vec::new(),
        }
    }

    #[test]
    fn references() {
        let transports = [
            transport("apps", "demo-api-transport"),
            transport("other", "st"),
            transport("a-b", "c"),
            transport("a", "b.c"),
            ServersTransport {
                name: "apps-file".to_owned(),
                ..ServersTransport::default()
            },
        ];
        let found = |reference: &str, namespaces| {
            service(reference)
                .transport(&transports, namespaces)
                .map(|found| found.map(|transport| transport.name.as_str()))
                .map_err(|error| error.to_string())
        };
        let same = |reference: &str| found(reference, Namespaces::Same);
        assert_eq!(
            same("apps-demo-api-transport@kubernetescrd"),
            Ok(Some("demo-api-transport"))
        );
        assert_eq!(
            found("other-st@kubernetescrd", Namespaces::Any),
            Ok(Some("st"))
        );
        let unknown = "there is no ServersTransport apps-file@kubernetescrd; there are apps-demo-api-transport, other-st, a-b-c, a-b-c";
        assert_eq!(
            found("apps-file@kubernetescrd", Namespaces::Any),
            Err(unknown.to_owned())
        );
        for (reference, error) in [
            (
                "demo-api-transport",
                "\"demo-api-transport\" does not refer to a ServersTransport; write NAMESPACE-NAME@kubernetescrd",
            ),
            (
                "apps-demo@file",
                "\"apps-demo@file\" does not refer to a ServersTransport; write NAMESPACE-NAME@kubernetescrd",
            ),
            (
                "apps-x@kubernetescrd",
                "there is no ServersTransport apps-x@kubernetescrd; there are apps-demo-api-transport, other-st, a-b-c, a-b-c",
            ),
            (
                "other-st@kubernetescrd",
                "ServersTransport other/st lives in another namespace than Service apps/api; move it there, refer to it as apps-st@kubernetescrd, or allow other namespaces",
            ),
            (
                "a-b-c@kubernetescrd",
                "a-b-c@kubernetescrd is the name of both a-b/c and a/b.c; rename one of them",
            ),
        ] {
            assert_eq!(same(reference), Err(error.to_owned()), "{reference}");
        }
        assert_eq!(
            Service::default().transport(&transports, Namespaces::Same),
            Ok(None)
        );
    }

    #[test]
    fn documents_and_ports() {
        let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: api-demo-svc\n  namespace: apps\n  annotations:\n    traefik.ingress.kubernetes.io/service.serverstransport: apps-demo-api-transport@kubernetescrd\nspec:\n  selector: {app: api-demo}\n  type: ClusterIP\n  ports:\n  - {port: 443, name: web}\n  - {port: 8443, name: https-alt}\n  - {port: 80, name: http}\n  - {port: 80}\n";
        let node = document::parse(text, document::Format::Yaml)
            .remove(0)
            .unwrap()
            .root;
        let mut service = Service::decode(&node, Strictness::Strict)
            .into_result()
            .unwrap();
        assert_eq!(
            service.annotations[TRANSPORT_ANNOTATION],
            "apps-demo-api-transport@kubernetescrd"
        );
        let tls = |service: &Service| -> Vec<_> {
            let ports = service.ports.iter();
            ports.map(|port| service.speaks_tls(port).ok()).collect()
        };
        assert_eq!(
            tls(&service),
            [Some(true), Some(true), Some(false), Some(false)]
        );
        for (scheme, wanted) in [("h2c", Some(false)), ("https", Some(true)), ("ftp", None)] {
            service
                .annotations
                .insert(SCHEME_ANNOTATION.to_owned(), scheme.to_owned());
            assert_eq!(tls(&service), [wanted; 4], "{scheme}");
        }
        let bad = text
            .replace("port: 443", "port: 70000")
            .replace("kind: Service", "kind: Pod");
        let node = document::parse(&bad, document::Format::Yaml)
            .remove(0)
            .unwrap()
            .root;
        let error = Service::decode(&node, Strictness::Strict)
            .into_result()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "2:7: kind: must be Service\n12:12: spec.ports[0].port: must be a number from 1 to 65535"
        );
    }
}
