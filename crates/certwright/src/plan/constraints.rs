use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::{Difference, ValidatedSpec};
use certwright_issuance::Certificate;
use certwright_issuance::name_constraints::name_constraints_from_der;

/// How a certificate's name constraints differ from those of a specification.
pub(super) fn differ(spec: &ValidatedSpec, leaf: &Certificate) -> Option<Difference> {
    let found = leaf
        .name_constraints()
        .map(|(critical, value)| name_constraints_from_der(critical, value));
    let found = match found {
        None => None,
        Some(Ok(found)) => Some(found),
        Some(Err(error)) => {
            return Some(difference(spec.constraints(), error.to_string()));
        }
    };
    if spec.constraints() == found.as_ref() {
        return None;
    }
    let found = found.as_ref().map(text).unwrap_or_default();
    Some(difference(spec.constraints(), found))
}

fn difference(wanted: Option<&NameConstraints>, found: String) -> Difference {
    let wanted = wanted.map(text).unwrap_or_default();
    Difference::new("spec.nameConstraints", wanted, found)
}

fn text(constraints: &NameConstraints) -> String {
    let mut parts = Vec::new();
    parts.extend(constraints.critical.then(|| "critical".to_owned()));
    for (side, subtrees) in [
        ("permitted", &constraints.permitted),
        ("excluded", &constraints.excluded),
    ] {
        if !subtrees.is_empty() {
            parts.push(format!("{side} {}", names(subtrees)));
        }
    }
    parts.join(", ")
}

fn names(subtrees: &Subtrees) -> String {
    let dns = subtrees.dns.iter().map(ToString::to_string);
    let ip = subtrees.ip.iter().map(ToString::to_string);
    let email = subtrees.email.iter().map(ToString::to_string);
    let uri = subtrees.uri.iter().map(ToString::to_string);
    let names: Vec<_> = dns.chain(ip).chain(email).chain(uri).collect();
    names.join(" ")
}
