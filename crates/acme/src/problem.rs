//! What a CA says when it refuses: problem documents ([RFC 7807], [RFC 8555 section 6.7]), their
//! classes, and `Retry-After`.
//!
//! ```
//! use certwright_acme::problem::{Class, Problem, Remedy};
//!
//! let body = br#"{"type":"urn:ietf:params:acme:error:orderNotReady","detail":"pending"}"#;
//! let problem = Problem::read(403, body);
//! assert_eq!(problem.class(), Class::Order);
//! assert_eq!(problem.class().remedies(), [Remedy::RefreshOrder]);
//! assert_eq!(problem.to_string(), "status 403, orderNotReady: pending");
//! ```
//!
//! [RFC 7807]: https://www.rfc-editor.org/rfc/rfc7807
//! [RFC 8555 section 6.7]: https://www.rfc-editor.org/rfc/rfc8555#section-6.7

mod class;
mod error_type;
mod rate_limit;
mod retry_after;

use core::fmt;

use serde_json::{Map, Value as Json};

pub use class::{Class, Remedy};
pub use error_type::ErrorType;
pub use rate_limit::RateLimitScope;
pub use retry_after::{Bounds, RetryAfter};

/// The longest body that is read as a problem document, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// The longest text that is kept of a body or a field, in characters.
pub const MAX_TEXT: usize = 1000;
/// How many subproblems are kept; Let's Encrypt allows 100 names in an order.
pub const MAX_SUBPROBLEMS: usize = 100;

/// Why a CA refused.
///
/// Every text is one line of at most [`MAX_TEXT`] characters, whatever came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The status of the HTTP response; of an error within a challenge, what its document says, or 0.
    pub status: u16,
    /// Which error; [`ErrorType::Blank`] if the body was no problem document.
    pub kind: ErrorType,
    /// `title`.
    pub title: Option<String>,
    /// `detail`; the body's text if it was no problem document.
    pub detail: Option<String>,
    /// `instance`: where a person has to go for [`ErrorType::UserActionRequired`].
    pub instance: Option<String>,
    /// `subproblems`: what is wrong with single names.
    pub subproblems: Vec<Subproblem>,
    /// How many subproblems came beyond [`MAX_SUBPROBLEMS`].
    pub left_out: usize,
}

/// What is wrong with one name ([RFC 8555 section 6.7.1]).
///
/// [RFC 8555 section 6.7.1]: https://www.rfc-editor.org/rfc/rfc8555#section-6.7.1
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subproblem {
    /// Which error.
    pub kind: ErrorType,
    /// `detail`.
    pub detail: Option<String>,
    /// The identifier's value, such as `a.example.com`.
    pub identifier: Option<String>,
}

impl Problem {
    /// Reads the body of a response with an error's status. It never fails: a body that is no problem
    /// document is kept as text, a field of a wrong type counts as absent.
    pub fn read(status: u16, body: &[u8]) -> Self {
        let parsed = match body.len() {
            ..=MAX_BODY => serde_json::from_slice(body).ok(),
            _ => None,
        };
        match parsed {
            Some(fields) => Self::of_fields(Some(status), &fields),
            None => Self {
                detail: text_of(body),
                ..Self::new(status, ErrorType::Blank)
            },
        }
    }

    /// Reads the `error` of a challenge or an order, a JSON object; `None` if it is none.
    pub fn read_error(json: &[u8]) -> Option<Self> {
        let fields = serde_json::from_slice(json.get(..json.len().min(MAX_BODY))?).ok()?;
        Some(Self::of_fields(None, &fields))
    }

    /// A problem of this kind that says nothing else.
    pub fn new(status: u16, kind: ErrorType) -> Self {
        Self {
            status,
            kind,
            title: None,
            detail: None,
            instance: None,
            subproblems: Vec::new(),
            left_out: 0,
        }
    }

    fn of_fields(status: Option<u16>, fields: &Map<String, Json>) -> Self {
        let said = fields.get("status").and_then(Json::as_u64);
        let said = said.and_then(|status| u16::try_from(status).ok());
        let listed = fields.get("subproblems").and_then(Json::as_array);
        let listed = listed.map(Vec::as_slice).unwrap_or_default();
        let subproblems = listed.iter().filter_map(Json::as_object);
        Self {
            status: status.or(said).unwrap_or_default(),
            kind: kind_of(fields),
            title: text_field(fields, "title"),
            detail: text_field(fields, "detail"),
            instance: text_field(fields, "instance"),
            subproblems: subproblems
                .take(MAX_SUBPROBLEMS)
                .map(|fields| Subproblem {
                    kind: kind_of(fields),
                    detail: text_field(fields, "detail"),
                    identifier: fields
                        .get("identifier")
                        .and_then(Json::as_object)
                        .and_then(|identifier| text_field(identifier, "value")),
                })
                .collect(),
            left_out: listed.len().saturating_sub(MAX_SUBPROBLEMS),
        }
    }

    /// Whether the CA itself spoke: something between us and it does not write problem documents.
    pub(crate) fn is_document(&self) -> bool {
        self.kind != ErrorType::Blank || !self.subproblems.is_empty()
    }
}

impl fmt::Display for Problem {
    /// One line: `status 403, unauthorized: what the CA says (a.example.com: dns: what it says)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status != 0 {
            write!(f, "status {}, ", self.status)?;
        }
        self.kind.fmt(f)?;
        if let Some(text) = self.detail.as_ref().or(self.title.as_ref()) {
            write!(f, ": {text}")?;
        }
        for (index, subproblem) in self.subproblems.iter().take(SHOWN).enumerate() {
            f.write_str(if index == 0 { " (" } else { "; " })?;
            subproblem.fmt(f)?;
        }
        let more = self.subproblems.len().saturating_sub(SHOWN) + self.left_out;
        match (self.subproblems.is_empty(), more) {
            (true, _) => Ok(()),
            (false, 0) => f.write_str(")"),
            (false, more) => write!(f, "; and {more} more)"),
        }
    }
}

impl fmt::Display for Subproblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(identifier) = &self.identifier {
            write!(f, "{identifier}: ")?;
        }
        self.kind.fmt(f)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// How many subproblems are shown.
const SHOWN: usize = 5;

fn kind_of(fields: &Map<String, Json>) -> ErrorType {
    match fields.get("type").and_then(Json::as_str) {
        Some(uri) => ErrorType::from_uri(uri),
        None => ErrorType::Blank,
    }
}

fn text_field(fields: &Map<String, Json>, name: &str) -> Option<String> {
    one_line(fields.get(name)?.as_str()?)
}

fn text_of(body: &[u8]) -> Option<String> {
    // Four bytes are the most a character has, so that nothing is decoded only to be dropped.
    let start = body.get(..body.len().min(4 * MAX_TEXT))?;
    one_line(&String::from_utf8_lossy(start))
}

/// A text in one line without control characters: it goes into logs and terminals.
pub(crate) fn one_line(text: &str) -> Option<String> {
    let mut line = String::new();
    let mut space = false;
    let mut left = MAX_TEXT;
    for c in text.trim().chars() {
        if c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') {
            space = true;
            continue;
        }
        if left <= usize::from(space) {
            break;
        }
        if core::mem::take(&mut space) {
            line.push(' ');
            left -= 1;
        }
        line.push(c);
        left -= 1;
    }
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents() {
        for (status, body, expected) in [
            (
                400,
                r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Bad\n\u001b[31mJWS","status":500}"#,
                "status 400, malformed: Bad [31mJWS",
            ),
            (
                403,
                r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"Some names","subproblems":[{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"policy","identifier":{"type":"dns","value":"a.test"}},{"type":"urn:ietf:params:acme:error:caa"},7]}"#,
                "status 403, rejectedIdentifier: Some names (a.test: rejectedIdentifier: policy; caa)",
            ),
            (418, r#"{"title":"teapot"}"#, "status 418, no type: teapot"),
            (
                400,
                r#"{"type":"https://ca.test/errors/odd","detail":7}"#,
                "status 400, https://ca.test/errors/odd",
            ),
            (
                502,
                "<html>\r\n<h1>502 Bad Gateway</h1>",
                "status 502, no type: <html> <h1>502 Bad Gateway</h1>",
            ),
            (500, "", "status 500, no type"),
            (500, "[]", "status 500, no type: []"),
            (404, "{\"type\":", "status 404, no type: {\"type\":"),
        ] {
            let problem = Problem::read(status, body.as_bytes());
            assert_eq!(problem.to_string(), expected, "{body}");
        }
    }

    #[test]
    fn errors_within_objects() {
        let error =
            br#"{"type":"urn:ietf:params:acme:error:dns","detail":"NXDOMAIN","status":400}"#;
        let problem = Problem::read_error(error).unwrap();
        assert_eq!(problem.to_string(), "status 400, dns: NXDOMAIN");
        assert_eq!(Problem::read_error(b"null"), None);
        assert_eq!(Problem::read_error(b""), None);
    }

    #[test]
    fn long_answers_are_cut() {
        let long = "x".repeat(2 * MAX_BODY);
        let problem = Problem::read(500, long.as_bytes());
        assert_eq!(problem.detail.map(|text| text.len()), Some(MAX_TEXT));
        let one = r#"{"type":"urn:ietf:params:acme:error:dns"},"#.repeat(MAX_SUBPROBLEMS + 3);
        let body = format!(r#"{{"subproblems":[{}]}}"#, one.trim_end_matches(','));
        let problem = Problem::read(400, body.as_bytes());
        assert_eq!((problem.subproblems.len(), problem.left_out), (100, 3));
        assert!(problem.to_string().ends_with("; dns; and 98 more)"));
    }

    #[test]
    fn lines_are_lines() {
        for (text, line) in [
            ("", None),
            (" \n ", None),
            (" a \r\n\t b ", Some("a b")),
            ("a\u{2028}b\u{85}c", Some("a b c")),
        ] {
            assert_eq!(one_line(text).as_deref(), line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_one_short_line(status: u16, body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let problem = Problem::read(status, &body);
            let shown = problem.to_string();
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
            prop_assert!(shown.chars().count() < 2 * MAX_TEXT);
            // Whatever came, there is something to do.
            prop_assert!(!problem.class().remedies().is_empty());
        }
    }
}
