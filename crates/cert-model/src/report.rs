use core::error::Error;
use core::fmt;

use crate::violation::{FieldPath, Violation, ViolationKind, Violations};

/// What a validation found so far.
///
/// A rule that is broken leaves a violation here and goes on with a stand-in value; [`finish`](Self::finish)
/// makes sure that no stand-in ever gets out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    violations: Vec<Violation>,
    warnings: Vec<Violation>,
}

impl Report {
    pub(crate) fn violation(
        &mut self,
        field: FieldPath,
        kind: ViolationKind,
        message: impl Into<String>,
    ) {
        self.violations.push(Violation::new(field, kind, message));
    }

    pub(crate) fn invalid(&mut self, field: FieldPath, message: impl Into<String>) {
        self.violation(field, ViolationKind::Invalid, message);
    }

    /// A value that its own type refuses.
    pub(crate) fn refused(&mut self, field: FieldPath, found: &str, error: &dyn Error) {
        self.invalid(
            field,
            format!("{:?}: {}", Excerpt(found), with_causes(error)),
        );
    }

    pub(crate) fn warning(
        &mut self,
        field: FieldPath,
        kind: ViolationKind,
        message: impl Into<String>,
    ) {
        self.warnings.push(Violation::new(field, kind, message));
    }

    /// The violations, after at least one was found.
    pub(crate) fn into_violations(self) -> Violations {
        debug_assert!(!self.violations.is_empty());
        Violations(self.violations)
    }

    /// The warnings, if there is no violation.
    pub(crate) fn finish(self) -> Result<Vec<Violation>, Violations> {
        match Violations::from_vec(self.violations) {
            None => Ok(self.warnings),
            Some(violations) => Err(violations),
        }
    }
}

/// An error's text with those of its causes: a violation is read by people, who have only this one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// At most 256 characters of a text, so that a message does not repeat a whole file, and nothing of a
/// PEM text, which may be a key in a wrong place.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains("-----BEGIN ") {
            return write!(f, "(PEM, {} bytes)", self.0.len());
        }
        match self.0.char_indices().nth(256) {
            Some((end, _)) => write!(f, "{:?} and so on", &self.0[..end]),
            None => fmt::Debug::fmt(self.0, f),
        }
    }
}

/// The path of a field of `spec`.
pub(crate) fn spec(field: &str) -> FieldPath {
    FieldPath::root("spec").child(field)
}
