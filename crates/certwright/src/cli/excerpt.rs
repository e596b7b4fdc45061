//! The line of a manifest that something is told about, if it may be shown.

use certwright::{Problem, ProblemKind};
use certwright_cert_model::manifest::ManifestError;
use certwright_cert_model::violation::{FieldPath, Span, Violation};

/// How much of a line is shown, in characters.
const WIDTH: usize = 100;

/// One thing told about a document.
#[derive(Debug)]
pub(crate) struct Remark {
    /// The file.
    pub(crate) origin: String,
    /// Where in it.
    pub(crate) span: Option<Span>,
    /// Which field.
    pub(crate) field: Option<FieldPath>,
    /// What it is about.
    pub(crate) message: String,
}

impl Remark {
    /// What a problem tells: several violations of one document are several remarks.
    pub(crate) fn of(problem: &Problem) -> Vec<Self> {
        let at = |span: Option<Span>, message: String| Self {
            origin: problem.origin.clone(),
            span,
            field: None,
            message,
        };
        let violated = |violation: &Violation| Self {
            field: Some(violation.field.clone()),
            ..at(violation.span, violation.message.clone())
        };
        match &problem.kind {
            ProblemKind::Inventory(error) => vec![at(None, error.to_string())],
            ProblemKind::Io(error) => vec![at(None, error.to_string())],
            ProblemKind::Manifest(ManifestError::Syntax(error)) => {
                vec![at(Some(error.span), error.kind.to_string())]
            }
            ProblemKind::Manifest(ManifestError::Violations(violations)) => {
                violations.iter().map(violated).collect()
            }
            ProblemKind::NotUtf8 { line } => {
                let line = *line;
                let span = Span { line, column: 1 };
                vec![at(Some(span), "is not UTF-8; save it as UTF-8".to_owned())]
            }
            ProblemKind::Violation(violation) => vec![violated(violation)],
            other => vec![at(None, format!("{other:?}"))],
        }
    }

    /// The message with the field before it.
    pub(crate) fn text(&self) -> String {
        let text = match &self.field {
            Some(field) => format!("{field}: {}", self.message),
            None => self.message.clone(),
        };
        super::one_line(&text)
    }
}

/// A line and what stands under it, to be shown below a remark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The number of the line, from 1.
    pub(crate) number: usize,
    /// The line, or the part of it around the place.
    pub(crate) line: String,
    /// How many columns the caret is away from the line's beginning.
    pub(crate) indent: usize,
}

/// The lines of a text, looked through once: there may be as many remarks as lines.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Each line, and whether its document may hold keys.
    lines: Vec<(String, bool)>,
}

impl Listing {
    pub(crate) fn of(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut listed = Vec::with_capacity(lines.len());
        for document in lines.chunk_by(|_, next| !is_mark(next)) {
            let private = document.iter().any(|line| holds_secrets(line));
            listed.extend(document.iter().map(|line| ((*line).to_owned(), private)));
        }
        Self { lines: listed }
    }

    /// What stands at a place; nothing where a key or a password may be.
    pub(crate) fn excerpt(&self, span: Span) -> Option<Excerpt> {
        let (line, private) = self.lines.get(span.line.checked_sub(1)?)?;
        if *private || names_private(line) {
            return None;
        }
        let column = span.column.saturating_sub(1);
        let length = line.chars().count();
        let from = match length > WIDTH {
            true => column.saturating_sub(WIDTH / 2).min(length - WIDTH),
            false => 0,
        };
        let shown: String = line.chars().skip(from).take(WIDTH).map(plain).collect();
        Some(Excerpt {
            number: span.line,
            indent: column.min(length).saturating_sub(from),
            line: shown.trim_end().to_owned(),
        })
    }
}

/// As wide as the character, and nothing that speaks to a terminal.
fn plain(c: char) -> char {
    match c {
        '\t' => ' ',
        c if super::is_loud(c) => '\u{fffd}',
        c => c,
    }
}

/// Where a document of a stream begins.
fn is_mark(line: &str) -> bool {
    line.trim_end() == "---" || line.starts_with("--- ")
}

/// Whether this line tells that its document may hold keys or passwords, in any of its lines: Secrets do, and lists,
/// which may hold Secrets. What is no document may have been meant as one.
fn holds_secrets(line: &str) -> bool {
    let kept = |c: &char| !c.is_whitespace() && !matches!(c, '"' | '\'');
    let line: String = line.chars().filter(kept).collect();
    [
        "kind:Secret",
        "kind=Secret",
        "kind:List",
        "stringData",
        "PRIVATEKEY",
    ]
    .iter()
    .any(|mark| line.contains(mark))
}

/// Whether a line itself speaks of a key or a password.
fn names_private(line: &str) -> bool {
    let lower = line.to_lowercase();
    ["password", "tls.key", "token", "hmac"]
        .iter()
        .any(|mark| lower.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, line: usize, column: usize) -> Option<Excerpt> {
        Listing::of(text).excerpt(Span { line, column })
    }

    #[test]
    fn a_line_is_shown_around_the_place() {
        let shown = at("a: 1\nb: \u{1b}[2J2\n", 2, 4).unwrap();
        assert_eq!((shown.number, shown.indent), (2, 3));
        assert_eq!(shown.line, "b: \u{fffd}[2J2");
        let long = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let shown = at(&long, 1, 501).unwrap();
        assert_eq!(shown.line.chars().count(), WIDTH);
        assert_eq!(shown.line.chars().nth(shown.indent), Some('x'));
        assert_eq!(at("a: 1\n", 9, 1), None);
    }

    #[test]
    fn nothing_is_shown_where_a_key_may_be() {
        for text in [
            "kind: Secret\ndata: {x: MIIC}",
            "{\"kind\" : \"Secret\",\n\"data\": {}}",
            "kind: Issuer\npassword: x",
            "kind: List\nitems: [x]",
            "a: b\n-----BEGIN PRIVATE KEY-----",
            "stringData:\n  x: y",
        ] {
            assert_eq!(at(text, 2, 1), None, "{text}");
        }
        let two = "kind: Secret\n---\nkind: Issuer\nspec: x\n---\nkind: Secret";
        assert!(at(two, 4, 1).is_some(), "another document's Secret");
        assert_eq!(at(two, 6, 1), None);
        assert_eq!(at(two, 1, 1), None);
    }
}
