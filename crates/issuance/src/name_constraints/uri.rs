//! The host of a URI, as RFC 3986 and as OpenSSL find it.

use super::dns::Host;

/// What constraints on URIs can be applied to.
pub(super) enum UriHost {
    /// A host name.
    Host(Host),
    /// Readers of the URI differ about its host.
    Ambiguous,
    /// There is no host name: no authority, or an IP address (RFC 5280 demands refusal).
    None,
}

/// The host of a URI; `strict` also compares with OpenSSL's way to find it.
pub(super) fn host(uri: &str, strict: bool) -> UriHost {
    let Some((_, rest)) = uri.split_once(':') else {
        return UriHost::None;
    };
    let Some(rest) = rest.strip_prefix("//") else {
        return UriHost::None;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return UriHost::None;
    }
    let name = host.split(':').next().unwrap_or_default();
    let Some(parsed) = Host::new(name.as_bytes()) else {
        return UriHost::None;
    };
    // OpenSSL takes what stands before the first ':' anywhere, or else before the first '/'.
    let theirs = match rest.split_once(':') {
        Some((host, _)) => host,
        None => rest.split('/').next().unwrap_or_default(),
    };
    if strict && theirs != name {
        return UriHost::Ambiguous;
    }
    UriHost::Host(parsed)
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
            let found = match host(uri, true) {
                UriHost::Host(host) => Some(String::from_utf8(host.as_bytes().to_vec()).unwrap()),
                UriHost::Ambiguous | UriHost::None => None,
            };
            assert_eq!(found.as_deref(), expected, "{uri}");
        }
        assert!(matches!(host("https://u@example.com/", false), UriHost::Host(_)));
    }
}
