//! Reading a `ServersTransport` from a document.

use certwright_cert_model::document::{self, Decoded, Fields, Kind, Node, Strictness, Value};
use certwright_cert_model::{FieldPath, ViolationKind};

use super::{CertificateFiles, ForwardingTimeouts, RootCa, San, ServersTransport, Spiffe};

impl ServersTransport {
    /// Reads the custom resource: `apiVersion`, `kind`, `metadata` and `spec`.
    ///
    /// `metadata.namespace` is `default` when it is not given, as it is for Kubernetes.
    pub fn decode(root: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        document::decode(root, FieldPath::default(), strictness, |value| {
            value.object(resource).unwrap_or_default()
        })
    }

    /// Reads every entry of `http.serversTransports` of a dynamic configuration, in its order; what else
    /// stands in the document belongs to others.
    pub fn decode_dynamic(root: &Node, strictness: Strictness) -> Decoded<'_, Vec<Self>> {
        document::decode(root, FieldPath::default(), strictness, |value| {
            let transports = value.object(|fields| {
                let transports = fields.object("http", |http| {
                    let transports = http.get("serversTransports").and_then(|map| map.map(entry));
                    http.ignore_rest();
                    transports
                });
                fields.ignore_rest();
                transports
            });
            let transports = transports.flatten().flatten().unwrap_or_default();
            transports.into_iter().map(|(_, it)| it).collect()
        })
    }
}

fn resource(fields: &mut Fields<'_>) -> ServersTransport {
    let version = fields.require("apiVersion").and_then(Value::text);
    if let Some(version) = version
        && !API_VERSIONS.contains(&version.as_str())
    {
        let message = format!("{version:?} is not known; use {}", API_VERSIONS[0]);
        fields.report("apiVersion", ViolationKind::NotSupported, message);
    }
    let kind = fields.require("kind").and_then(Value::text);
    if let Some(kind) = kind
        && kind != "ServersTransport"
    {
        let message = format!("{kind:?} is another resource than ServersTransport");
        fields.report("kind", ViolationKind::NotSupported, message);
    }
    let mut name = None;
    let mut namespace = None;
    if let Some(metadata) = fields.require("metadata") {
        metadata.object(|metadata| {
            name = metadata.require("name").and_then(Value::text);
            namespace = metadata.text("namespace");
            metadata.ignore_rest();
        });
    }
    let spec = fields.require("spec");
    let mut transport = spec
        .and_then(|spec| spec.object(spec_of_resource))
        .unwrap_or_default();
    // Written by the cluster, not by people.
    fields.get("status");
    transport.name = name.unwrap_or_default();
    transport.namespace = Some(namespace.unwrap_or_else(|| "default".to_owned()));
    transport.path = FieldPath::root("spec");
    transport
}

fn spec_of_resource(fields: &mut Fields<'_>) -> ServersTransport {
    let mut transport = common(fields);
    transport.root_cas_secrets = fields.texts("rootCAsSecrets");
    transport.root_cas = fields.objects("rootCAs", |root| RootCa {
        config_map: root.text("configMap"),
        file: None,
        secret: root.text("secret"),
    });
    transport.certificates_secrets = fields.texts("certificatesSecrets");
    transport
}

fn entry(name: &str, value: Value<'_>) -> Option<ServersTransport> {
    let mut transport = value.object(|fields| {
        let mut transport = common(fields);
        transport.root_cas = fields.list("rootCAs", |root| {
            Some(RootCa {
                file: Some(root.text()?),
                ..RootCa::default()
            })
        });
        transport.certificates = fields.list("certificates", certificate);
        transport
    })?;
    transport.name = name.to_owned();
    transport.path = FieldPath::root("http").child("serversTransports").key(name);
    Some(transport)
}

/// A single text is one file with both the chain and the key.
fn certificate(value: Value<'_>) -> Option<CertificateFiles> {
    if let Kind::Text(file) = &value.node().kind {
        return Some(CertificateFiles {
            cert_file: file.clone(),
            key_file: file.clone(),
        });
    }
    value.object(|fields| CertificateFiles {
        cert_file: fields.text("certFile").unwrap_or_default(),
        key_file: fields.text("keyFile").unwrap_or_default(),
    })
}

fn common(fields: &mut Fields<'_>) -> ServersTransport {
    ServersTransport {
        server_name: fields.text("serverName"),
        insecure_skip_verify: fields.bool("insecureSkipVerify").unwrap_or_default(),
        cipher_suites: fields.texts("cipherSuites"),
        min_version: fields.text("minVersion"),
        max_version: fields.text("maxVersion"),
        max_idle_conns_per_host: fields.int("maxIdleConnsPerHost"),
        forwarding_timeouts: fields.object("forwardingTimeouts", |fields| ForwardingTimeouts {
            dial_timeout: duration(fields, "dialTimeout"),
            response_header_timeout: duration(fields, "responseHeaderTimeout"),
            idle_conn_timeout: duration(fields, "idleConnTimeout"),
            read_idle_timeout: duration(fields, "readIdleTimeout"),
            ping_timeout: duration(fields, "pingTimeout"),
        }),
        disable_http2: fields.bool("disableHTTP2").unwrap_or_default(),
        peer_cert_uri: fields.text("peerCertURI"),
        peer_cert_sans: fields.objects("peerCertSANs", |san| San {
            kind: san.text("type").unwrap_or_default(),
            value: san.text("value").unwrap_or_default(),
        }),
        spiffe: fields.object("spiffe", |spiffe| Spiffe {
            ids: spiffe.texts("ids"),
            trust_domain: spiffe.text("trustDomain"),
        }),
        ..ServersTransport::default()
    }
}

/// A text, or whole seconds as a number.
fn duration(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let value = fields.get(name)?;
    match value.node().kind {
        Kind::Int(seconds) => Some(seconds.to_string()),
        Kind::Text(_) => value.text(),
        _ => value.mismatch("a duration like 30s, or whole seconds"),
    }
}

const API_VERSIONS: [&str; 2] = ["traefik.io/v1alpha1", "traefik.containo.us/v1alpha1"];
