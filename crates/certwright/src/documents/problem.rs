use core::fmt;
use std::io;

use certwright_cert_model::manifest::ManifestError;
use certwright_cert_model::violation::Violation;

use crate::inventory::InventoryError;

/// Something that is wrong with a document, and where it came from.
#[derive(Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The file, or whatever the text was read as.
    pub origin: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong with a document.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot join the others.
    Inventory(InventoryError),
    /// It cannot be read from the disk.
    Io(io::Error),
    /// It is no manifest.
    Manifest(ManifestError),
    /// It is not UTF-8.
    NotUtf8 {
        /// The first line that is not, from 1.
        line: usize,
    },
    /// A rule is broken.
    Violation(Violation),
}

impl Problem {
    pub(super) fn new(origin: &str, kind: ProblemKind) -> Self {
        Self {
            origin: origin.to_owned(),
            kind,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match &self.kind {
            ProblemKind::Inventory(error) => write!(f, "{origin}: {error}"),
            ProblemKind::Io(error) => write!(f, "{origin}: {error}"),
            ProblemKind::Manifest(error) => write!(f, "{origin}:{error}"),
            ProblemKind::NotUtf8 { line } => {
                write!(f, "{origin}:{line}: is not UTF-8; save it as UTF-8")
            }
            ProblemKind::Violation(violation) => write!(f, "{origin}:{violation}"),
        }
    }
}

impl core::error::Error for Problem {}
