//! Kinds that the vocabulary answers: durations, usages, identifiers, SPIFFE IDs.

use certwright_cert_model::GoDuration;
use certwright_cert_model::duration::DurationError;
use certwright_cert_model::name::{SpiffeId, SpiffeIdError, TrustDomain};
use certwright_cert_model::oid::Oid;
use certwright_cert_model::usage::Usage;

use super::resource::rule::{dotted_integers, not_in_der};
use super::{Case, Verdict};

pub(super) fn judge(case: &Case) -> Verdict {
    match case.kind.as_str() {
        "duration-parse" => duration_parse(case),
        "duration-format" => match case.input.as_i64() {
            Some(nanos) => Verdict::equal(
                &Some(GoDuration::from_nanos(nanos).to_string().as_str()),
                &case.expect.as_str(),
            ),
            None => Verdict::Failed("input is not a number of nanoseconds".to_owned()),
        },
        "usage-map" => usage_map(case),
        "oid-parse" => oid_parse(case),
        "spiffe-id-parse" => spiffe_id_parse(case),
        "trust-domain-parse" => trust_domain_parse(case),
        "member-of" => member_of(case),
        _ => Verdict::Unsupported,
    }
}

fn text(case: &Case) -> &str {
    case.input.as_str().unwrap_or_default()
}

fn duration_parse(case: &Case) -> Verdict {
    let found = text(case).parse::<GoDuration>();
    match (&found, case.expect["reason"].as_str()) {
        (Ok(duration), None) => {
            Verdict::equal(&Some(duration.as_nanos()), &case.expect["nanos"].as_i64())
        }
        (Err(error), Some(reason)) => {
            // Go has one message for a missing unit, one for an unknown one, and one for everything else.
            let ours = match error {
                DurationError::Unit { found, .. } if found.is_empty() => "missing-unit",
                DurationError::Unit { .. } => "unknown-unit",
                _ => "invalid",
            };
            Verdict::equal(&ours, &reason)
        }
        _ => Verdict::Failed(format!("found {found:?}")),
    }
}

fn usage_map(case: &Case) -> Verdict {
    match (text(case).parse::<Usage>(), case.expect["error"].as_bool()) {
        (Err(_), Some(true)) => Verdict::Passed,
        (Ok(Usage::Key(usage)), None) => {
            Verdict::equal(&Some(u64::from(usage.bit())), &case.expect["bit"].as_u64())
        }
        (Ok(Usage::Extended(usage)), None) => {
            Verdict::equal(&Some(usage.oid()), &case.expect["eku"].as_str())
        }
        (found, _) => Verdict::Failed(format!("found {found:?}")),
    }
}

fn oid_parse(case: &Case) -> Verdict {
    let found = text(case).parse::<Oid>();
    match (&found, case.expect["arcs"].as_array()) {
        (Err(_), None) => Verdict::Passed,
        (Ok(oid), Some(arcs)) => Verdict::equal(
            &oid.arcs().map(i64::from).collect::<Vec<_>>(),
            &arcs.iter().filter_map(serde_json::Value::as_i64).collect(),
        ),
        (Err(_), Some(arcs)) if not_in_der(text(case)) => {
            let arcs: Option<Vec<_>> = arcs.iter().map(serde_json::Value::as_i64).collect();
            match arcs == dotted_integers(text(case)) {
                true => Verdict::Deliberate("oid-in-der"),
                false => Verdict::Failed(format!("no text of {arcs:?}")),
            }
        }
        (Err(error), Some(_)) => Verdict::Failed(error.to_string()),
        (Ok(_), None) => Verdict::Failed(format!("found {found:?}")),
    }
}

fn code(error: &SpiffeIdError) -> &'static str {
    match error {
        SpiffeIdError::DotSegment { .. } => "dot-segment",
        SpiffeIdError::Empty => "empty",
        SpiffeIdError::EmptySegment { .. } => "empty-segment",
        SpiffeIdError::NoTrustDomain => "missing-trust-domain",
        SpiffeIdError::PathCharacter { .. } => "bad-path-char",
        SpiffeIdError::Scheme => "wrong-scheme",
        SpiffeIdError::TrailingSlash => "trailing-slash",
        SpiffeIdError::TooLong { .. } => "too-long",
        SpiffeIdError::TrustDomainCharacter { .. } => "bad-trust-domain-char",
        SpiffeIdError::TrustDomainTooLong { .. } => "trust-domain-too-long",
        _ => "other",
    }
}

fn spiffe_id_parse(case: &Case) -> Verdict {
    let expect = &case.expect;
    match text(case).parse::<SpiffeId>() {
        Ok(id) => Verdict::equal(
            &(Some(true), Some(id.trust_domain()), Some(id.path())),
            &(
                expect["ok"].as_bool(),
                expect["parts"]["trust_domain"].as_str(),
                expect["parts"]["path"].as_str(),
            ),
        ),
        Err(error) => {
            let wanted = expect["error"].as_str().map(|word| {
                // Which limit it is, a word may say.
                let is_whole = word.ends_with("too-long") && word != "trust-domain-too-long";
                if is_whole { "too-long" } else { word }
            });
            Verdict::equal(&Some(code(&error)), &wanted)
        }
    }
}

fn trust_domain_parse(case: &Case) -> Verdict {
    match text(case).parse::<TrustDomain>() {
        Ok(name) => Verdict::equal(&Some(name.as_str()), &case.expect["name"].as_str()),
        Err(error) => Verdict::equal(&Some(code(&error)), &case.expect["error"].as_str()),
    }
}

fn member_of(case: &Case) -> Verdict {
    let id = case.input["id"]
        .as_str()
        .unwrap_or_default()
        .parse::<SpiffeId>();
    let domain = case.input["trust_domain"]
        .as_str()
        .unwrap_or_default()
        .parse::<TrustDomain>();
    let member = match (id, domain) {
        (Ok(id), Ok(domain)) => id.is_member_of(&domain),
        _ => false,
    };
    Verdict::equal(&Some(member), &case.expect["ok"].as_bool())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ending;

    #[test]
    fn words_for_limits() {
        let id = format!("spiffe://td/{}", "a".repeat(2037));
        for (word, passes) in [
            ("too-long", true),
            ("id-too-long", true),
            ("trust-domain-too-long", false),
            ("bad-path-char", false),
        ] {
            let expect = json!({"ok": false, "error": word});
            let found = ending("spiffe-id-parse", json!(id), expect);
            assert_eq!(found, Ok(passes), "{word}");
        }
    }
}
