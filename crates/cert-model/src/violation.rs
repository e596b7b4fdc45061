//! What is wrong with a document, and where.

use core::fmt;

/// The path of a field, written as Kubernetes does: `spec.dnsNames[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Segment {
    Field(String),
    Index(usize),
    Key(String),
}

impl FieldPath {
    /// The path of a top-level field.
    pub fn root(field: impl Into<String>) -> Self {
        Self::default().child(field)
    }

    /// This path extended by a field of an object: `.field`.
    #[must_use]
    pub fn child(&self, field: impl Into<String>) -> Self {
        self.with(Segment::Field(field.into()))
    }

    /// This path extended by a position in a list: `[index]`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path extended by a key of a map: `[key]`.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Segment::Key(key.into()))
    }

    /// The path this one extends, or `None` for the document itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// Whether this path is `prefix` or lies below it.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The segments below `base`.
    #[cfg(feature = "documents")]
    pub(crate) fn strip_prefix(&self, base: &Self) -> Option<&[Segment]> {
        self.0.strip_prefix(base.0.as_slice())
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if i == 0 => write!(f, "{}", OneLine(name))?,
                Segment::Field(name) => write!(f, ".{}", OneLine(name))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{}]", OneLine(key))?,
            }
        }
        Ok(())
    }
}

/// A name without control characters: a document's own names must not forge lines of a report or
/// speak to a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    write!(f, "{}", c.escape_default())?;
                }
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A place in a document: line and column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The class of a violation, in Kubernetes' words (`field.ErrorType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// The value repeats one that must be unique.
    Duplicate,
    /// The value may not be set here.
    Forbidden,
    /// The value breaks the field's grammar or range.
    Invalid,
    /// The value is not one of those supported.
    NotSupported,
    /// The field must be set.
    Required,
    /// The value is longer than allowed.
    TooLong,
    /// The value has another type than the field, such as a map for a text.
    TypeInvalid,
    /// No field of this name exists here.
    UnknownField,
}

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which field.
    pub field: FieldPath,
    /// What class of problem.
    pub kind: ViolationKind,
    /// What was found, which rule it breaks and what to change; without the field's name.
    pub message: String,
    /// Where in the document, if it came from one.
    pub span: Option<Span>,
}

impl Violation {
    /// A violation of `kind` at `field`; `message` says what was found and what to change.
    pub fn new(field: FieldPath, kind: ViolationKind, message: impl Into<String>) -> Self {
        Self {
            field,
            kind,
            message: message.into(),
            span: None,
        }
    }

    /// The same violation at a place of a document.
    #[must_use]
    pub fn at(self, span: Span) -> Self {
        Self {
            span: Some(span),
            ..self
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = self.span {
            write!(f, "{span}: ")?;
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Everything wrong with a document, in document order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations(pub(crate) Vec<Violation>);

impl Violations {
    /// Wraps a list, or `None` if nothing is wrong.
    pub fn from_vec(violations: Vec<Violation>) -> Option<Self> {
        (!violations.is_empty()).then_some(Self(violations))
    }

    /// The violations, in document order.
    pub fn iter(&self) -> core::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// The violations as a list.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = core::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Violations {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_line_without_control_characters() {
        let path = FieldPath::root("spec")
            .child("a\nspec.b: fine")
            .key("\u{1b}[2J\u{fc}");
        assert_eq!(path.to_string(), "spec.a\\nspec.b: fine[\\u{1b}[2J\u{fc}]");
    }
}
