//! Kinds about selecting a certificate by server name, under Traefik's rule.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use certwright_sni_store::{CertStore, ChangeSet, DefaultEntry, Entry, Query, SelectionPolicy};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Case, Verdict, only};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "sni-match" => sni_match(case),
        "match-domain" if case.input["fn"] == "tls" => match_domain(case),
        _ => return Verdict::Unsupported,
    };
    verdict.unwrap_or_else(|| Verdict::Failed("the case's input cannot be read".to_owned()))
}

/// The address clients connect to in cases that do not say.
const LOCAL: &str = "192.0.2.7:443";

/// The theirs name that is looked up, in bytes.
const MAX_NAME: usize = 253;

fn sni_match(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(
        input,
        &[
            "certs",
            "default",
            "local_addr",
            "server_name",
            "sni_strict",
        ],
    )?;
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
        only(certificate, &["cn", "dns", "ip"])?;
        let ips = texts(&certificate["ip"]);
        let ips: Result<Vec<IpAddr>, _> = ips.iter().map(|ip| ip.parse()).collect();
        // The lower id is the one Traefik loaded first.
        let entry = Entry::new(
            format!("{index:06}"),
            texts(&certificate["dns"]),
            Arc::new(index.to_string()),
        )
        .with_common_name(certificate["cn"].as_str().unwrap_or_default())
        .with_ips(ips.ok()?);
        identifiers.push(entry.identifier().to_owned());
        change.put(entry);
    }
    store.replace_all(change);

    let name = input["server_name"].as_str().unwrap_or_default();
    let host = host(input["local_addr"].as_str().unwrap_or(LOCAL));
    // Upstream compares texts, so that an address counts only as Go writes it.
    let address = host.parse::<IpAddr>().ok();
    let address = address.filter(|ip| ip.to_canonical().to_string() == host);
    let asked = match (name.trim().is_empty(), address) {
        (true, None) => host,
        _ => name,
    };
    let mut query = Query::new(asked, OffsetDateTime::UNIX_EPOCH);
    if let Some(ip) = address {
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
    let name = name.trim().to_lowercase();
    let theirs = identifiers
        .iter()
        .enumerate()
        .filter(|(_, identifier)| SelectionPolicy::Traefik.matches(identifier, &name))
        .max_by_key(|(index, identifier)| (*identifier, Reverse(*index)))
        .map(|(index, _)| index.to_string());
    let as_unknown = selected.parse::<usize>().is_err() && theirs.as_ref() == Some(&expected);
    let wanted = texts(&case.expect["identifiers"]);
    if name.len() > MAX_NAME && as_unknown && identifiers == wanted {
        return Some(Verdict::Deliberate("server-names-fit-dns"));
    }
    Some(Verdict::equal(
        &(identifiers, selected),
        &(wanted, expected),
    ))
}

/// The host of an address as Go's `net.SplitHostPort` finds it; empty if that is an error.
fn host(address: &str) -> &str {
    let parts = address.rsplit_once(':').and_then(|(host, port)| {
        let bracketed = host.strip_prefix('[');
        let host = match bracketed {
            Some(inner) => inner.strip_suffix(']')?,
            None => host,
        };
        let plain = !host.contains(['[', ']']) && !port.contains(['[', ']']);
        (plain && (bracketed.is_some() || !host.contains(':'))).then_some(host)
    });
    parts.unwrap_or_default()
}

fn match_domain(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(input, &["fn", "pattern", "server_name"])?;
    let (pattern, name) = (input["pattern"].as_str()?, input["server_name"].as_str()?);
    let found = SelectionPolicy::Traefik.matches(pattern, name);
    Some(Verdict::equal(
        &Some(found),
        &case.expect["match"].as_bool(),
    ))
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ending;
    use super::*;

    #[test]
    fn hosts() {
        for (address, expected) in [
            ("192.0.2.7:443", "192.0.2.7"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[fe80::1%eth0]:443", "fe80::1%eth0"),
            ("localhost:443", "localhost"),
            (":443", ""),
            ("192.0.2.7", ""),
            ("2001:db8::1", ""),
            ("[::1]", ""),
            ("[::1]x:1", ""),
            ("[::1:1", ""),
            ("[::1]:4]", ""),
            ("@", ""),
            ("/run/x.sock", ""),
            ("", ""),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }

    fn selected(dns: &[&str], ip: &[&str], name: &str, local: &str, selected: &Value) -> Ending {
        let mut identifier = [dns, ip].concat();
        identifier.sort_unstable();
        let input = json!({
            "certs": [{"cn": "", "dns": dns, "ip": ip}],
            "server_name": name,
            "local_addr": local,
        });
        let expect = json!({"identifiers": [identifier.join(",")], "selected": selected});
        ending("sni-match", input, expect)
    }

    type Ending = Result<bool, &'static str>;

    #[test]
    fn without_a_name() {
        let default = json!("generated-default");
        for (dns, ip, local, expected) in [
            (
                [].as_slice(),
                ["2001:db8::1"].as_slice(),
                "[2001:db8::1]:443",
                json!(0),
            ),
            (
                &[],
                &["2001:db8::1"],
                "[2001:DB8:0:0::1]:443",
                default.clone(),
            ),
            (
                &[],
                &["192.0.2.7"],
                "[::ffff:192.0.2.7]:443",
                default.clone(),
            ),
            (&["localhost"], &[], "localhost:443", json!(0)),
            (&[], &[], "[fe80::1%eth0]:443", default.clone()),
            (&[], &[], "@", json!(0)),
        ] {
            assert_eq!(
                selected(dns, ip, " ", local, &expected),
                Ok(true),
                "{local}"
            );
        }
    }

    #[test]
    fn long_names() {
        let (short, long) = (
            format!("{}.t", "a".repeat(251)),
            format!("{}.t", "a".repeat(252)),
        );
        let default = json!("generated-default");
        for (pattern, name, expected, rule) in [
            ("*.t", short.clone(), json!(0), Ok(true)),
            ("*.t", format!("  {short}"), json!(0), Ok(true)),
            ("*.t", long.clone(), json!(0), Err("server-names-fit-dns")),
            ("*.t", long.clone(), default, Ok(true)),
            ("*.u", long, json!(0), Ok(false)),
        ] {
            assert_eq!(
                selected(&[pattern], &[], &name, LOCAL, &expected),
                rule,
                "{name}"
            );
        }
    }

    #[test]
    fn nothing_is_left_unread() {
        for (kind, input, expect) in [
            (
                "sni-match",
                json!({"certs": [], "server_name": "a.test", "alpn": ["acme-tls/1"]}),
                json!({"identifiers": null, "selected": "generated-default"}),
            ),
            (
                "match-domain",
                json!({"fn": "tls", "pattern": "a", "server_name": "a", "release": "3.6"}),
                json!({"match": true}),
            ),
            (
                "acme-renew-durations",
                json!({"hours": 2160, "release": "3.6"}),
                json!({"renew_interval_s": 86400, "renew_period_s": 2_592_000}),
            ),
        ] {
            assert_eq!(ending(kind, input, expect), Ok(false), "{kind}");
        }
    }
}
