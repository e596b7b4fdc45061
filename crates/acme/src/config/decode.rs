//! Reading resolvers from a document.

mod challenge;

use certwright_cert_model::document::{self, Decoded, Fields, Kind, Node, Strictness, Value};
use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize};
use certwright_cert_model::{FieldPath, ViolationKind};

use super::value::{directory, email, filled, hmac, timeout};
use super::{
    CommonName, EntryPoint, ExternalAccountBinding, IssuerOptions, Resolver, StaticConfig, Trust,
};
use crate::chain::{ChainPreference, Otherwise};
use crate::domains::Grouping;

use challenge::challenges;

impl StaticConfig {
    /// Reads `entryPoints` and `certificatesResolvers` of a static configuration, or of the values of
    /// Traefik's Helm chart; what else stands in the document belongs to others.
    ///
    /// Without `entryPoints` there is one, `http` at `:80`, as in Traefik. Resolvers that are not of ACME
    /// are left out.
    pub fn decode(root: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        document::decode(root, FieldPath::default(), strictness, |value| {
            value.object(static_config).unwrap_or_default()
        })
    }
}

impl Resolver {
    /// Reads the options of one resolver, what stands in `certificatesResolvers.NAME.acme`, alone;
    /// whether its entry point exists is not checked.
    pub fn decode<'n>(name: &str, acme: &'n Node, strictness: Strictness) -> Decoded<'n, Self> {
        document::decode(acme, FieldPath::default(), strictness, |value| {
            let resolver = value.object(|fields| resolver(name, fields, None));
            resolver.unwrap_or_else(|| Self::new(name))
        })
    }
}

fn static_config(fields: &mut Fields<'_>) -> StaticConfig {
    let mut names = Vec::new();
    let listed = fields.get("entryPoints").and_then(|value| {
        value.map(|name, value| {
            names.push(name.to_owned());
            entry_point(name, value)
        })
    });
    let mut entry_points: Vec<EntryPoint> = listed
        .unwrap_or_default()
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    if names.is_empty()
        && let Ok(default) = EntryPoint::new("http", ":80")
    {
        names.push(default.name.clone());
        entry_points.push(default);
    }
    let known = EntryPoints {
        names: &names,
        valid: &entry_points,
    };
    let resolvers = fields.get("certificatesResolvers").and_then(|value| {
        value.map(|name, value| {
            let acme = value.object(|fields| {
                // Another kind of resolver.
                if fields.get("tailscale").is_some() {
                    return None;
                }
                let acme = fields.require("acme")?;
                acme.object(|fields| resolver(name, fields, Some(&known)))
            });
            acme.flatten()
        })
    });
    // Names that nobody else has, so that a slip of the pen does not configure nothing.
    for (slip, meant) in [
        ("certificateResolvers", "certificatesResolvers"),
        ("certificatesresolvers", "certificatesResolvers"),
        ("certificatesResolver", "certificatesResolvers"),
        ("certResolvers", "certificatesResolvers"),
        ("entrypoints", "entryPoints"),
        ("entryPoint", "entryPoints"),
    ] {
        if fields.get(slip).is_some() {
            let message = format!("unknown field; did you mean {meant}?");
            fields.report_strict(slip, ViolationKind::UnknownField, message);
        }
    }
    fields.ignore_rest();
    let resolvers = resolvers.unwrap_or_default();
    StaticConfig {
        entry_points,
        resolvers: resolvers
            .into_iter()
            .map(|(_, resolver)| resolver)
            .collect(),
    }
}

/// The entry points that resolvers may name.
struct EntryPoints<'e> {
    /// All of them, also those whose address could not be read.
    names: &'e [String],
    valid: &'e [EntryPoint],
}

fn entry_point(name: &str, value: Value<'_>) -> Option<EntryPoint> {
    let entry = value.object(|fields| {
        let address = fields.require("address").and_then(Value::text);
        let entry = address.map(|address| EntryPoint::new(name, &address));
        if let Some(Err(error)) = &entry {
            fields.report("address", ViolationKind::Invalid, error.to_string());
        }
        fields.ignore_rest();
        entry.and_then(Result::ok)
    });
    entry.flatten()
}

fn resolver(name: &str, fields: &mut Fields<'_>, entries: Option<&EntryPoints<'_>>) -> Resolver {
    let mut resolver = Resolver::new(name);
    match filled(fields, "email") {
        Some(_) => resolver.email = fields.get("email").and_then(email),
        None => {
            let message = "must be set; without it, the account has no contact";
            fields.report_strict("email", ViolationKind::Required, message);
        }
    }
    resolver.issuers = vec![issuer(fields)];
    resolver
        .issuers
        .extend(fields.objects("fallbackIssuers", issuer));
    if let Some(key_type) = fields.text("keyType") {
        match key_algorithm(&key_type) {
            Some(key) => resolver.key_type = key,
            None => {
                let message = format!(
                    "{key_type:?} is not supported; use EC256, EC384, RSA2048, RSA4096 or RSA8192"
                );
                fields.report("keyType", ViolationKind::NotSupported, message);
            }
        }
    }
    if let Some(hours) = fields.int("certificatesDuration") {
        match u64::try_from(hours) {
            Ok(hours) if hours > 0 => resolver.certificates_duration = Some(hours),
            _ => {
                let message = "must be at least 1 hour";
                fields.report("certificatesDuration", ViolationKind::Invalid, message);
            }
        }
    }
    timeouts(fields, &mut resolver);
    challenges(fields, &mut resolver, entries);
    match fields.text("storage") {
        Some(path) if path.is_empty() => {
            let message = "must be a path; acme.json without it";
            fields.report("storage", ViolationKind::Required, message);
        }
        Some(path) => resolver.storage = path.into(),
        None => {}
    }
    resolver.email_addresses = fields.list("emailAddresses", email);
    if fields.bool("disableCommonName").unwrap_or_default() {
        resolver.common_name = CommonName::None;
    }
    if fields.bool("certificatePerName").unwrap_or_default() {
        resolver.grouping = Grouping::Name;
    }
    resolver
}

fn issuer(fields: &mut Fields<'_>) -> IssuerOptions {
    let mut issuer = IssuerOptions::default();
    if let Some(url) = fields.get("caServer").and_then(directory) {
        issuer.ca_server = url;
    }
    let binding = fields.object("eab", |eab| {
        let kid = eab.require("kid").and_then(Value::text);
        if kid.as_deref() == Some("") {
            eab.report("kid", ViolationKind::Required, "must be set");
        }
        let hmac = hmac(eab, "hmacEncoded");
        Some(ExternalAccountBinding::new(kid?, hmac?))
    });
    issuer.eab = binding.flatten();
    issuer.preferred_chain = ChainPreference {
        names: names(fields, "preferredChain"),
        otherwise: match fields.bool("preferShortestChain") {
            Some(true) => Otherwise::Shortest,
            _ => Otherwise::Offered,
        },
    };
    issuer.profile = filled(fields, "profile");
    issuer.trust = Trust {
        ca_certificates: fields.texts("caCertificates"),
        system_roots: fields.bool("caSystemCertPool").unwrap_or_default(),
        server_name: filled(fields, "caServerName"),
    };
    issuer
}

/// One name or several; empty ones are none.
fn names(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let list = |value: Value<'_>| matches!(value.node().kind, Kind::List(_));
    let names = match fields.get(name).is_some_and(list) {
        true => fields.texts(name),
        false => fields.text(name).into_iter().collect(),
    };
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

fn key_algorithm(text: &str) -> Option<KeyAlgorithm> {
    let rsa = |bits| RsaSize::from_bits(bits).map(KeyAlgorithm::Rsa);
    match text {
        "EC256" => Some(KeyAlgorithm::Ecdsa(Curve::P256)),
        "EC384" => Some(KeyAlgorithm::Ecdsa(Curve::P384)),
        "RSA2048" => rsa(2048),
        "RSA4096" => rsa(4096),
        "RSA8192" => rsa(8192),
        _ => None,
    }
}

fn timeouts(fields: &mut Fields<'_>, resolver: &mut Resolver) {
    resolver.client_timeout = timeout(fields, "clientTimeout", resolver.client_timeout);
    resolver.client_response_header_timeout = timeout(
        fields,
        "clientResponseHeaderTimeout",
        resolver.client_response_header_timeout,
    );
    resolver.certificate_timeout =
        timeout(fields, "certificateTimeout", resolver.certificate_timeout);
    if resolver.client_timeout < resolver.client_response_header_timeout {
        let message = "must not be shorter than clientResponseHeaderTimeout, which it includes";
        fields.report("clientTimeout", ViolationKind::Invalid, message);
    }
}

#[cfg(test)]
mod tests;
