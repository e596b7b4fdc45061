//! `Link` headers (RFC 8288), defensively.

/// The longest header value that is looked at, in bytes.
pub const MAX_HEADER: usize = 16 * 1024;
/// How many alternates of one certificate are followed.
pub const MAX_ALTERNATES: usize = 16;

/// One link of a `Link` header ([RFC 8288 section 3]).
///
/// [RFC 8288 section 3]: https://www.rfc-editor.org/rfc/rfc8288#section-3
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Where it leads to, as written.
    pub target: String,
    /// The relations of its first `rel`, lower-cased.
    pub relations: Vec<String>,
    /// The resource it starts at, if that is another than the one asked for.
    pub anchor: Option<String>,
}

/// The URLs of a certificate's alternate chains ([RFC 8555 section 7.4.2]) out of all values of `Link`
/// of the response from `base`: absolute, each once, in order.
///
/// What is not usable is left out: another scheme than `base` has, no host, user information, `base`
/// itself, more than [`MAX_ALTERNATES`].
///
/// [RFC 8555 section 7.4.2]: https://www.rfc-editor.org/rfc/rfc8555#section-7.4.2
pub fn alternates<'h>(base: &str, values: impl IntoIterator<Item = &'h str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for link in values.into_iter().flat_map(links) {
        if found.len() == MAX_ALTERNATES {
            break;
        }
        let alternate = link
            .relations
            .iter()
            .any(|relation| relation == "alternate");
        let own = link
            .anchor
            .is_none_or(|anchor| resolve(base, &anchor).as_deref() == Some(base));
        if !alternate || !own {
            continue;
        }
        if let Some(url) = resolve(base, &link.target)
            && url != base
            && !found.contains(&url)
        {
            found.push(url);
        }
    }
    found
}

/// The links of one header value; what follows the first mistake is left out, and so is everything
/// of a value longer than [`MAX_HEADER`].
pub fn links(value: &str) -> Vec<Link> {
    let mut links = Vec::new();
    if value.len() > MAX_HEADER {
        return links;
    }
    let mut rest = value;
    loop {
        // Empty elements of a list are allowed (RFC 9110, section 5.6.1).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((link, tail)) = link(rest) else {
            return links;
        };
        links.push(link);
        rest = tail.trim_start_matches([' ', '\t']);
        if !rest.starts_with(',') {
            return links;
        }
    }
}

fn link(text: &str) -> Option<(Link, &str)> {
    let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
    if target.contains(|c: char| c.is_control() || c.is_whitespace() || c == '<') {
        return None;
    }
    let mut link = Link {
        target: target.to_owned(),
        relations: Vec::new(),
        anchor: None,
    };
    let mut related = false;
    loop {
        let Some(after) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') else {
            return Some((link, rest));
        };
        let after = after.trim_start_matches([' ', '\t']);
        let end = after.find(|c| !is_token(c)).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        // An empty parameter is allowed: `<a>; ;rel=b`.
        let (value, after) = match after.strip_prefix('=') {
            Some(value) => parameter(value.trim_start_matches([' ', '\t']))?,
            None => (String::new(), after),
        };
        rest = after;
        match name.to_ascii_lowercase().as_str() {
            // Only the first counts (RFC 8288, section 3.3).
            "rel" if !related => {
                related = true;
                let relations = value.split_ascii_whitespace();
                link.relations = relations.map(str::to_ascii_lowercase).collect();
            }
            "anchor" if link.anchor.is_none() => link.anchor = Some(value),
            _ => {}
        }
    }
}

/// A token or a quoted string, and what follows it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ';', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// The absolute URL that a reference in the response from `base` means (RFC 3986, section 5.2), if it
/// has the scheme of `base`, a host, and no user information.
fn resolve(base: &str, reference: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    // A fragment is never sent.
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.contains(|c: char| !c.is_ascii_graphic() || matches!(c, '\\' | '"' | '<' | '>')) {
        return None;
    }
    let colon = reference.find(':');
    let slash = reference.find(['/', '?']).unwrap_or(reference.len());
    let (authority, target) = match (colon, reference.strip_prefix("//")) {
        (Some(colon), _) if colon < slash => {
            let rest = reference[colon + 1..].strip_prefix("//")?;
            if !reference[..colon].eq_ignore_ascii_case(scheme) {
                return None;
            }
            split_authority(rest)
        }
        (_, Some(rest)) => split_authority(rest),
        (_, None) if reference.is_empty() => (authority, path.to_owned()),
        (_, None) if reference.starts_with('/') => (authority, reference.to_owned()),
        (_, None) if reference.starts_with('?') => (authority, format!("{path}{reference}")),
        (_, None) => {
            let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            (authority, format!("{directory}{reference}"))
        }
    };
    let host = authority.split(':').next().unwrap_or_default();
    if host.is_empty() || authority.contains('@') {
        return None;
    }
    Some(format!("{scheme}://{authority}{}", without_dots(&target)))
}

fn split_authority(rest: &str) -> (&str, String) {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    (&rest[..end], rest[end..].to_owned())
}

/// The path without `.` and `..` (RFC 3986, section 5.2.4); a query stays as it is.
fn without_dots(target: &str) -> String {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    format!("/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "https://ca.test/acme/cert/1?x=1";

    #[test]
    fn alternate_chains() {
        for (values, expected) in [
            (&[][..], &[][..]),
            (
                &["<https://ca.test/acme/cert/1/1>;rel=\"alternate\""],
                &["https://ca.test/acme/cert/1/1"],
            ),
            (
                &[
                    "<https://ca.test/dir>;rel=\"index\"",
                    "</a>; rel=alternate, <b>;rel=\"Alternate up\" , <../c/./d>; title=\"a, <x>; rel=\\\"\"; REL = \"alternate\"",
                ],
                &[
                    "https://ca.test/a",
                    "https://ca.test/acme/cert/b",
                    "https://ca.test/acme/c/d",
                ],
            ),
            // Each once, and not itself.
            (
                &["</a>;rel=alternate,</a>;rel=alternate,<?x=1>;rel=alternate"],
                &["https://ca.test/a"],
            ),
            // The first `rel` counts; `rev` is something else.
            (
                &["</a>;rel=up;rel=alternate, </b>;rev=alternate, </c>;rel=\"alternates\""],
                &[],
            ),
            // Links that start elsewhere.
            (
                &["</a>;rel=alternate;anchor=\"/other\", </b>;rel=alternate;anchor=\"\""],
                &[],
            ),
            (
                &["</b>;rel=alternate;anchor=\"?x=1\""],
                &["https://ca.test/b"],
            ),
            // Other hosts are the CA's business; other schemes and users are not.
            (
                &[
                    "<https://b.test:8443>;rel=alternate, <//c.test/x>;rel=alternate, <http://d.test/>;rel=alternate, <https://u@ca.test/>;rel=alternate, <https:///x>;rel=alternate, <file:///etc>;rel=alternate, <https:x>;rel=alternate",
                ],
                &["https://b.test:8443/", "https://c.test/x"],
            ),
            // Mistakes end a value.
            (
                &["</a>;rel=alternate </b>;rel=alternate"],
                &["https://ca.test/a"],
            ),
            (
                &[
                    "</a;rel=alternate",
                    "<a b>;rel=alternate",
                    "/a;rel=alternate",
                    "</a>;rel=\"alternate",
                ],
                &[],
            ),
            (&[",, </a>; ; rel=alternate ,,"], &["https://ca.test/a"]),
            (
                &["</a#f>;rel=alternate, </a#g>;rel=alternate, <#h>;rel=alternate"],
                &["https://ca.test/a", "https://ca.test/acme/cert/1"],
            ),
        ] {
            let found = alternates(BASE, values.iter().copied());
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn floods() {
        let many: Vec<String> = (0..100).map(|i| format!("</{i}>;rel=alternate")).collect();
        let joined = many.join(",");
        assert_eq!(alternates(BASE, [joined.as_str()]).len(), MAX_ALTERNATES);
        assert_eq!(
            alternates(BASE, many.iter().map(String::as_str)).len(),
            MAX_ALTERNATES
        );
        let long = format!("</a>;rel=alternate;title={}", "x".repeat(MAX_HEADER));
        assert!(links(&long).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_https_to_a_host(value in "[<>a/:;=,\"\\\\ .?#@-]{0,60}|.{0,60}") {
            for url in alternates(BASE, [value.as_str(), &format!("<{value}>;rel=alternate")]) {
                prop_assert!(url.starts_with("https://"), "{}", url);
                prop_assert!(!url["https://".len()..].starts_with(['/', ':', '?']), "{}", url);
                prop_assert!(url.is_ascii() && !url.contains([' ', '\n', '@']) || url.find('@') > url[8..].find('/'), "{}", url);
            }
        }

        #[test]
        fn written_links_read_back(targets in proptest::collection::vec("[a-z0-9/.]{1,12}", 0..5), title in "[^\"\\\\\\x00-\\x1f]{0,12}") {
            let value: Vec<String> = targets
                .iter()
                .map(|target| format!("<{target}>; title=\"{title}\"; rel=\"alternate\""))
                .collect();
            let read = links(&value.join(", "));
            prop_assert_eq!(read.iter().map(|link| link.target.clone()).collect::<Vec<_>>(), targets);
        }
    }
}
