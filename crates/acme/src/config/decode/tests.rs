//! Every option, in every format.

mod documentation;
mod forms;
mod table;
mod wrong;

use certwright_cert_model::document::{Format, parse};
use serde_json::{Value as Json, json};

use super::*;
use crate::config::{DnsChallenge, LETS_ENCRYPT, flags};

/// Options as `(path, value)`, which every format can write.
type Options = Vec<(&'static str, Json)>;

fn base() -> Options {
    vec![
        ("email", json!("a@example.com")),
        ("httpChallenge.entryPoint", json!("web")),
    ]
}

/// The base with one option more, or another value of one.
fn with(path: &'static str, value: Json) -> Options {
    let mut options = base();
    options.retain(|(known, _)| *known != path);
    options.push((path, value));
    options
}

fn tree(options: &Options) -> Json {
    let mut root = json!({});
    for (path, value) in options {
        let mut node = &mut root;
        for segment in path.split('.') {
            node = &mut node[segment];
        }
        *node = value.clone();
    }
    json!({
        "entryPoints": {"web": {"address": ":80"}, "websecure": {"address": ":443"}, "alt": {"address": ":8080"}, "quic": {"address": ":443/udp"}},
        "certificatesResolvers": {"le": {"acme": root}},
    })
}

fn toml(options: &Options) -> String {
    let mut text = "[entryPoints]\n  web.address = \":80\"\n  websecure.address = \":443\"\n[certificatesResolvers.le.acme]\n".to_owned();
    for (path, value) in options {
        let value = match value {
            Json::Object(_) => "{}".to_owned(),
            value => value.to_string(),
        };
        text.push_str(&format!("  {path} = {value}\n"));
    }
    text
}

fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = vec![
        "--entryPoints.web.address=:80".to_owned(),
        "--entrypoints.websecure.address=:443".to_owned(),
    ];
    for (path, value) in options {
        let value = match value {
            Json::String(text) => text.clone(),
            Json::Array(texts) => texts
                .iter()
                .filter_map(Json::as_str)
                .collect::<Vec<_>>()
                .join(","),
            Json::Object(_) => "true".to_owned(),
            value => value.to_string(),
        };
        let name = path.to_ascii_lowercase();
        arguments.push(format!("--certificatesresolvers.le.acme.{name}={value}"));
    }
    arguments
}

fn node(text: &str, format: Format) -> Node {
    parse(text, format).remove(0).unwrap().root
}

/// The document in every format.
fn formats(options: &Options) -> [Node; 4] {
    let text = tree(options).to_string();
    [
        node(&text, Format::Yaml),
        node(&text, Format::Json),
        node(&toml(options), Format::Toml),
        flags(arguments(options)).unwrap(),
    ]
}

fn read(options: &Options) -> Resolver {
    let mut shown: Vec<Resolver> = Vec::new();
    for node in formats(options) {
        let decoded = StaticConfig::decode(&node, Strictness::Strict);
        let mut config = decoded
            .into_result()
            .unwrap_or_else(|error| panic!("{options:?}: {error}"));
        shown.push(config.resolvers.remove(0));
    }
    let first = shown.remove(0);
    for other in &shown {
        assert_eq!(format!("{other:?}"), format!("{first:?}"), "{options:?}");
    }
    first
}

/// What is wrong with the document as YAML, without places.
fn wrong(options: &Options, strictness: Strictness) -> (Vec<String>, Vec<String>) {
    let node = node(&tree(options).to_string(), Format::Yaml);
    let decoded = StaticConfig::decode(&node, strictness);
    let texts = |found: &[certwright_cert_model::Violation]| -> Vec<String> {
        let texts = found
            .iter()
            .map(|one| format!("{}: {}", one.field, one.message));
        texts
            .map(|text| text.replace("certificatesResolvers[le].acme.", ""))
            .collect()
    };
    (texts(decoded.violations()), texts(decoded.warnings()))
}

type Shown = fn(&Resolver) -> String;

fn dns(resolver: &Resolver) -> DnsChallenge {
    resolver.dns_challenge.clone().unwrap_or_default()
}

fn eab(resolver: &Resolver) -> (String, Vec<u8>) {
    let eab = resolver.issuers[0].eab.as_ref();
    eab.map_or_else(Default::default, |eab| (eab.kid.clone(), eab.hmac.to_vec()))
}
