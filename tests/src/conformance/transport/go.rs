//! What Go makes of names in certificates, where upstream leaves that to it.

use std::net::IpAddr;

/// A URI after `net/url` read and wrote it: the scheme in lower case, without an empty fragment.
pub(super) fn uri(text: &str) -> String {
    let text = match text.strip_suffix('#') {
        Some(rest) if !rest.contains('#') => rest,
        _ => text,
    };
    match text.split_once(':') {
        Some((scheme, rest)) => format!("{}:{rest}", scheme.to_ascii_lowercase()),
        None => text.to_owned(),
    }
}

/// `strings.EqualFold`, as far as one of the texts is ASCII: beyond it, only two letters fold to some of its.
pub(super) fn equal_fold(a: &str, b: &str) -> bool {
    let fold = |text: &str| text.to_lowercase().replace('\u{17f}', "s");
    fold(a) == fold(b)
}

/// `Certificate.VerifyHostname` with one DNS name in the certificate.
pub(super) fn verify_hostname(presented: &str, host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if bare.unwrap_or(host).parse::<IpAddr>().is_ok() {
        return false;
    }
    let [presented, host] = [presented, host].map(str::to_ascii_lowercase);
    let name = host.strip_suffix('.').unwrap_or(&host);
    if !is_host_name(name, false) || !is_host_name(&presented, true) {
        return presented == host && !["", "."].contains(&host.as_str());
    }
    match presented.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => presented == name,
    }
}

/// A hyphen at the end of a label counts as one elsewhere.
fn is_host_name(name: &str, is_pattern: bool) -> bool {
    let name = match name.strip_prefix("*.") {
        Some(rest) if is_pattern => rest,
        _ => name,
    };
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    name.split('.')
        .all(|label| !label.is_empty() && !label.starts_with('-') && label.bytes().all(is_letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (presented, host, matches) in [
            ("foo.com", "FOO.com.", true),
            ("*.com", "foo.com", true),
            ("*.foo.com", "a.foo.com.", true),
            ("*.foo.com", "b.a.foo.com", false),
            ("*.foo.com", "foo.com", false),
            ("*.foo.com", "*.foo.com", true),
            ("a.foo.com", "*.foo.com", false),
            ("foo.com.", "foo.com.", true),
            ("foo.com.", "foo.com", false),
            ("foo.com", "foo.com..", false),
            ("foo-.com", "foo-.com", true),
            ("-foo.com", "-foo.com", true),
            ("*.foo.com", "a-.foo.com", true),
            ("*.foo.com", "-a.foo.com", false),
            ("*", "*", true),
            ("*", "localhost", false),
            ("192.0.2.7", "192.0.2.7", false),
            ("[::1]", "[::1]", false),
            ("", "", false),
            (".", ".", false),
        ] {
            assert_eq!(
                verify_hostname(presented, host),
                matches,
                "{presented} / {host}"
            );
        }
    }

    #[test]
    fn uris() {
        for (text, written) in [
            ("SPIFFE://td/A", "spiffe://td/A"),
            ("spiffe://td/a#", "spiffe://td/a"),
            ("spiffe://td/a#b#", "spiffe://td/a#b#"),
            ("spiffe://td/a?", "spiffe://td/a?"),
            ("foo", "foo"),
        ] {
            assert_eq!(uri(text), written);
        }
        for (a, b, equal) in [
            ("spiffe://Foo/K", "spiffe://foo/\u{212a}", true),
            ("spiffe://foo/s", "spiffe://foo/\u{17f}", true),
            ("spiffe://foo/a", "spiffe://foo/b", false),
        ] {
            assert_eq!(equal_fold(a, b), equal, "{a} {b}");
        }
    }
}
