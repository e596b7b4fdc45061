//! The host of a URI, as RFC 3986 and as OpenSSL find it.

use super::ViolationReason;
use super::dns::Host;

/// The host of a URI; `strict` also compares with OpenSSL's way to find it.
///
/// No host is there without an authority, and where an IP address is: RFC 5280 demands refusal.
pub(super) fn host(uri: &str, strict: bool) -> Result<Host, ViolationReason> {
    let Some((_, rest)) = uri.split_once(':') else {
        return Err(ViolationReason::NoHost);
    };
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(ViolationReason::NoHost);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return Err(ViolationReason::NoHost);
    }
    let name = host.split(':').next().unwrap_or_default();
    let Some(parsed) = Host::new(name.as_bytes()) else {
        return Err(ViolationReason::NoHost);
    };
    // OpenSSL takes what stands before the first ':' anywhere, or else before the first '/'.
    let theirs = match rest.split_once(':') {
        Some((host, _)) => host,
        None => rest.split('/').next().unwrap_or_default(),
    };
    if strict && theirs != name {
        return Err(ViolationReason::AmbiguousHost);
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (uri, expected) in [
            ("https://example.com/x", Some("example.com")),
            ("https://EXAMPLE.com:8443/", Some("example.com")),
            ("spiffe://td/ns/a", Some("td")),
            ("urn:uuid:1", None),
            ("https://10.0.0.1/", None),
            ("https://[::1]/", None),
            ("https:///x", None),
            ("mailto:a@example.com", None),
            ("https://u@example.com/", None),
            ("https://good.com@evil.com/", None),
            ("https://example.com?x", None),
            ("https://example.com/a:b", None),
        ] {
            let found = host(uri, true).ok();
            let found = found.map(|host| super::super::dns::forward(host.key()));
            assert_eq!(found.as_deref(), expected, "{uri}");
        }
        assert!(host("https://u@example.com/", false).is_ok());
    }
}
