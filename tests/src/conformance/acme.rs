//! Kinds about which names an ACME resolver asks for.

use certwright_acme::domains::{self, Coverage, Domain};
use certwright_acme::import::same_host;
use serde_json::{Value, json};

use super::{Case, Verdict, only};

pub(super) fn judge(case: &Case) -> Verdict {
    let input = &case.input;
    let found = match (case.kind.as_str(), input["fn"].as_str()) {
        ("acme-domains", Some("account-matches-ca")) => account(input),
        ("acme-domains", Some("prune")) => prune(input),
        ("acme-domains", Some("sanitize")) => sanitize(input),
        ("acme-domains", Some("uncovered")) => uncovered(input),
        ("match-domain", Some("acme")) => matches(input),
        _ => None,
    };
    match found {
        None => Verdict::Unsupported,
        Some(found) => Verdict::equal(&found, &case.expect),
    }
}

fn account(input: &Value) -> Option<Value> {
    only(input, &["fn", "account_uri", "ca_server"])?;
    let [account, server] = [&input["account_uri"], &input["ca_server"]].map(Value::as_str);
    Some(json!({ "match": same_host(account?, server?) }))
}

fn prune(input: &Value) -> Option<Value> {
    only(input, &["fn", "domains"])?;
    let given = input["domains"].as_array()?.iter().map(domain);
    let pruned = domains::prune(&given.collect::<Option<Vec<_>>>()?);
    let pruned = pruned.iter().map(|domain| match domain.sans.is_empty() {
        true => json!({ "main": domain.main }),
        false => json!({ "main": domain.main, "sans": domain.sans }),
    });
    Some(json!({ "domains": pruned.collect::<Vec<_>>() }))
}

fn sanitize(input: &Value) -> Option<Value> {
    only(input, &["fn", "main", "sans"])?;
    let domain = Domain::new(input["main"].as_str()?, texts(&input["sans"])?);
    Some(match domains::sanitize(&domain) {
        Ok(names) => json!({ "domains": names }),
        Err(error) => json!({ "err": error.to_string() }),
    })
}

fn uncovered(input: &Value) -> Option<Value> {
    only(input, &["fn", "wanted", "existing"])?;
    let existing = texts(&input["existing"])?;
    let coverage = Coverage::of(existing.iter().map(String::as_str));
    Some(json!({ "uncovered": coverage.uncovered(&texts(&input["wanted"])?) }))
}

fn matches(input: &Value) -> Option<Value> {
    only(input, &["fn", "pattern", "server_name"])?;
    let [pattern, name] = [&input["pattern"], &input["server_name"]].map(Value::as_str);
    Some(json!({ "match": domains::matches(pattern?, name?) }))
}

fn domain(value: &Value) -> Option<Domain> {
    only(value, &["main", "sans"])?;
    let main = value["main"].as_str().unwrap_or_default();
    Some(Domain::new(main, texts(&value["sans"])?))
}

/// A list of texts; empty if absent.
fn texts(value: &Value) -> Option<Vec<String>> {
    let list = match value {
        Value::Null => &[][..],
        value => value.as_array()?,
    };
    let texts = list.iter().map(|text| text.as_str().map(str::to_owned));
    texts.collect()
}
