/// Whether two URLs have the same host, whatever their schemes and ports; Traefik decides so whether an
/// account belongs to a CA. A text that is no URL has no host and is never the same.
pub fn same_host(one: &str, other: &str) -> bool {
    match (host(one), host(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The host of a URL as Go's `net/url` finds it: empty without an authority, `None` for a text that is
/// no URL.
fn host(url: &str) -> Option<&str> {
    if url.contains(|c: char| c.is_ascii_control()) {
        return None;
    }
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    let rest = match url.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))) {
        Some(0) if url.starts_with(':') => return None,
        Some(end)
            if url[end..].starts_with(':')
                && url.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            &url[end + 1..]
        }
        _ => {
            let first = url.split(['/', '?']).next().unwrap_or_default();
            if first.contains(':') {
                return None;
            }
            url
        }
    };
    let rest = rest.split('?').next().unwrap_or_default();
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    if !is_escaped(path) || !is_escaped(fragment) {
        return None;
    }
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (name, port) = match host.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        None => match host.rfind(':') {
            Some(colon) => host.split_at(colon),
            None => (host, ""),
        },
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let valid = port.bytes().all(|b| b.is_ascii_digit());
    (valid && !name.contains([' ', '%', '\\', '^', '`', '{', '|', '}'])).then_some(name)
}

/// Whether two hexadecimal digits follow each percent sign.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits = part.bytes().take(2).filter(u8::is_ascii_hexdigit);
        digits.count() == 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (one, other, same) in [
            ("https://ca.test/acct/1", "https://ca.test/directory", true),
            ("https://ca.test:1/a", "https://ca.test:2/d", true),
            ("https://ca.test/a", "http://ca.test/d", true),
            ("https://u@ca.test/a", "https://ca.test?x", true),
            ("https://[2001:db8::1]:1/a", "https://[2001:db8::1]", true),
            ("https://ca.test/a", "https://staging.ca.test/d", false),
            ("https://ca.test/a", "https://ca.test.evil/d", false),
            ("https://CA.test/a", "https://ca.test/d", false),
            ("https://ca.test/a", "", false),
            ("", "", true),
            ("://ca.test", "://ca.test", false),
            ("https://ca.test:x/a", "https://ca.test:x/a", false),
            ("https://ca.test/\n", "https://ca.test/\n", false),
            ("https://ca test/", "https://ca test/", false),
            ("ca.test:1/a", "ca.test:1/a", true),
            ("1ca:1", "1ca:1", false),
            ("https://ca.test/%zz", "https://ca.test/%zz", false),
            ("https://ca.test/%7e", "https://ca.test/?%zz", true),
            ("https://%41.test/", "https://%41.test/", false),
        ] {
            assert_eq!(same_host(one, other), same, "{one} {other}");
            assert_eq!(same_host(other, one), same, "{other} {one}");
        }
    }
}
