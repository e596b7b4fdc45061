//! Kinds about which names an ACME resolver asks for.

use certwright_acme::domains::{self, Coverage, Domain};
use certwright_acme::import::same_host;
use serde_json::{Value, json};

use super::{Case, Verdict, only};

pub(super) fn judge(case: &Case) -> Verdict {
    let input = &case.input;
    let found = match (case.kind.as_str(), input["fn"].as_str()) {
        ("acme-domains", Some("account-matches-ca")) => account(input),
        ("acme-domains", Some("prune")) => {
            return prune(case).unwrap_or(Verdict::Unsupported);
        }
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

fn prune(case: &Case) -> Option<Verdict> {
    only(&case.input, &["fn", "domains"])?;
    let given = case.input["domains"].as_array()?.iter().map(domain);
    let given = given.collect::<Option<Vec<_>>>()?;
    let expected = case.expect["domains"].as_array()?.iter().map(domain);
    let expected = expected.collect::<Option<Vec<_>>>()?;
    let found = domains::prune(&given);
    let difference = Verdict::equal(&found, &expected);
    if difference == Verdict::Passed {
        return Some(difference);
    }
    let names = |entry: &Domain| entry.names().map(str::to_owned).collect::<Vec<_>>();
    // Upstream looks no further once an entry met its equal.
    let met = |entry: &Domain| {
        let names = names(entry);
        let holding = given.iter().filter(|other| {
            let mut held = names.iter();
            held.all(|name| other.names().any(|other| other == name))
        });
        given.contains(entry) && holding.count() > 1
    };
    let pruned = expected.iter().map(|entry| {
        let covered = |name: &String| {
            given.iter().any(|other| {
                other.main.starts_with('*')
                    && other.main != entry.main
                    && domains::matches(&other.main, name)
            })
        };
        let left = names(entry).into_iter().filter(|name| !covered(name));
        match met(entry) {
            true => Domain::of_names(left),
            false => Some(entry.clone()),
        }
    });
    if pruned.flatten().eq(found.iter().cloned()) {
        return Some(Verdict::Deliberate("wildcards-past-equals"));
    }
    // Upstream leaves an entry that it compared with none as it is written.
    let moved = expected.iter().map(|entry| match given.contains(entry) {
        true => Domain::of_names(names(entry)),
        false => Some(entry.clone()),
    });
    Some(match moved.flatten().eq(found.iter().cloned()) {
        true => Verdict::Deliberate("first-name-is-main"),
        false => difference,
    })
}

fn sanitize(input: &Value) -> Option<Value> {
    only(input, &["fn", "main", "sans"])?;
    let main = input["main"].as_str().unwrap_or_default();
    let domain = Domain::new(main, texts(&input["sans"])?);
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

#[cfg(test)]
mod tests {
    use super::super::ending;
    use super::*;

    /// Entries between semicolons, a main name before its alternatives.
    fn entries(text: &str) -> Value {
        let entry = |text: &str| {
            let mut names = text.split(',');
            json!({"main": names.next(), "sans": names.collect::<Vec<_>>()})
        };
        text.split(';').map(entry).collect()
    }

    #[test]
    fn pruned() {
        for (given, expected, rule) in [
            ("b.a.t;*.a.t", "*.a.t", Ok(true)),
            ("b.a.t;*.a.t", "b.a.t;*.a.t", Ok(false)),
            (
                "b.a.t;b.a.t;*.a.t",
                "b.a.t;*.a.t",
                Err("wildcards-past-equals"),
            ),
            ("b.a.t;b.a.t;*.a.t", "b.a.t", Ok(false)),
            (
                "c.t;c.t,b.a.t;b.a.t;*.a.t",
                "c.t;b.a.t;*.a.t",
                Err("wildcards-past-equals"),
            ),
            (",a.t,b.t", ",a.t,b.t", Err("first-name-is-main")),
            (",a.t,b.t", "b.t,a.t", Ok(false)),
        ] {
            let input = json!({"fn": "prune", "domains": entries(given)});
            let expect = json!({"domains": entries(expected)});
            assert_eq!(ending("acme-domains", input, expect), rule, "{given}");
        }
    }

    #[test]
    fn main_may_be_absent() {
        let expect = json!({"domains": ["a.t"]});
        for input in [
            json!({"fn": "sanitize", "sans": ["a.t"]}),
            json!({"fn": "sanitize", "main": null, "sans": ["a.t"]}),
            json!({"fn": "sanitize", "main": "A.t."}),
        ] {
            assert_eq!(ending("acme-domains", input, expect.clone()), Ok(true));
        }
    }
}
