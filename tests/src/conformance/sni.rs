//! Kinds about selecting a certificate by server name, under Traefik's rule.

use std::net::IpAddr;
use std::sync::Arc;

use certwright_sni_store::{CertStore, ChangeSet, DefaultEntry, Entry, Query, SelectionPolicy};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Case, Verdict};

pub(super) fn judge(case: &Case) -> Verdict {
    match case.kind.as_str() {
        "sni-match" => sni_match(case),
        "match-domain" if case.input["fn"] == "tls" => match_domain(case),
        _ => Verdict::Unsupported,
    }
}

/// The address clients connect to in cases that do not say.
const LOCAL: &str = "192.0.2.7:443";

fn sni_match(case: &Case) -> Verdict {
    let input = &case.input;
    let default = match input["default"] {
        Value::Null => "generated-default",
        _ => "configured-default",
    };
    let store = CertStore::with_default(
        SelectionPolicy::Traefik,
        DefaultEntry::Given(Arc::new(default.to_owned())),
    );
    let listed = input["certs"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut change = ChangeSet::new();
    let mut identifiers = Vec::new();
    for (index, certificate) in listed.iter().enumerate() {
        let ips = texts(&certificate["ip"]);
        let ips = ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok());
        // The lower id is the one Traefik loaded first.
        let entry = Entry::new(
            format!("{index:06}"),
            texts(&certificate["dns"]),
            Arc::new(index.to_string()),
        )
        .with_common_name(certificate["cn"].as_str().unwrap_or_default())
        .with_ips(ips);
        identifiers.push(entry.identifier().to_owned());
        change.put(entry);
    }
    store.replace_all(change);

    let name = input["server_name"].as_str().unwrap_or_default();
    let mut query = Query::new(name, OffsetDateTime::UNIX_EPOCH);
    let local = input["local_addr"].as_str().unwrap_or(LOCAL);
    if let Some((host, _)) = local.rsplit_once(':')
        && let Ok(ip) = host.trim_matches(['[', ']']).parse()
    {
        query = query.at_address(ip);
    }
    if input["sni_strict"] == true {
        query = query.strict();
    }
    let selected = store
        .select(&query)
        .map_or("none".to_owned(), |payload| payload.as_ref().clone());
    let expected = match &case.expect["selected"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Verdict::equal(
        &(identifiers, selected),
        &(texts(&case.expect["identifiers"]), expected),
    )
}

fn match_domain(case: &Case) -> Verdict {
    let (Some(pattern), Some(name)) = (
        case.input["pattern"].as_str(),
        case.input["server_name"].as_str(),
    ) else {
        return Verdict::Failed("pattern and server_name are missing".to_owned());
    };
    let found = SelectionPolicy::Traefik.matches(pattern, name);
    Verdict::equal(&Some(found), &case.expect["match"].as_bool())
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
