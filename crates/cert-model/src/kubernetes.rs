//! The grammars of Kubernetes names (apimachinery's `validation`), each as the list of broken rules.

const SUBDOMAIN: &str = "must have only lower-case letters, digits, '-' and '.', and start and end every part with a letter or a digit, like example-com-tls";
const NAME: &str = "must have only letters, digits, '-', '_' and '.', and start and end with a letter or a digit, like my-name or 123-abc";

/// RFC 1123 subdomain: the name of an object.
pub(crate) fn subdomain(text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if text.len() > 253 {
        broken.push(format!("has {} bytes, more than 253", text.len()));
    }
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        part.bytes().all(|b| inner(b) || b == b'-')
            && bytes.first().is_some_and(|b| inner(*b))
            && bytes.last().is_some_and(|b| inner(*b))
    };
    if !text.split('.').all(part) {
        broken.push(SUBDOMAIN.to_owned());
    }
    broken
}

/// The key of a label or an annotation: a name, with an optional subdomain and a slash in front.
pub(crate) fn qualified_name(text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut parts = text.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                broken.push("the part before '/' must not be empty".to_owned());
            } else {
                let prefix = subdomain(prefix).into_iter();
                broken.extend(prefix.map(|reason| format!("the part before '/' {reason}")));
            }
            name
        }
        _ => {
            broken.push("must have at most one '/'".to_owned());
            return broken;
        }
    };
    if name.is_empty() {
        broken.push("the name must not be empty".to_owned());
    } else if name.len() > 63 {
        broken.push(format!("the name has {} bytes, more than 63", name.len()));
    }
    if !is_name(name) {
        broken.push(format!("the name {NAME}"));
    }
    broken
}

/// The value of a label; it may be empty.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if text.len() > 63 {
        broken.push(format!("has {} bytes, more than 63", text.len()));
    }
    if !text.is_empty() && !is_name(text) {
        broken.push(NAME.to_owned());
    }
    broken
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_reasons_as_rules_are_broken() {
        let long = "a".repeat(254);
        let upper = "A".repeat(254);
        for (text, reasons) in [
            ("a", 0),
            ("a.b-c.9", 0),
            ("", 1),
            ("a..b", 1),
            ("-a", 1),
            ("a_b", 1),
            (long.as_str(), 1),
            (upper.as_str(), 2),
        ] {
            assert_eq!(subdomain(text).len(), reasons, "{text}");
        }
        let name = "n".repeat(64);
        for (text, reasons) in [
            ("a", 0),
            ("example.com/A_b.c", 0),
            ("a b", 1),
            ("", 2),
            ("/a", 1),
            ("example.com/", 2),
            ("a/b/c", 1),
            ("UPPER/a", 1),
            (name.as_str(), 1),
        ] {
            assert_eq!(qualified_name(text).len(), reasons, "{text}");
        }
        for (text, reasons) in [("", 0), ("a=b", 1), ("-", 1), (name.as_str(), 1)] {
            assert_eq!(label_value(text).len(), reasons, "{text}");
        }
    }
}
