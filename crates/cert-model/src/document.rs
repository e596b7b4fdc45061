//! Documents of every configuration format as one tree in which each value knows its line and column.
//!
//! [`parse`] reads YAML streams, JSON and TOML; [`decode`] turns a tree into a typed value and
//! collects everything that is wrong on the way, in document order.
//!
//! ```
//! use certwright_cert_model::document::{self, Format, Strictness};
//!
//! let text = "server: web\nports: [80, x]\ntypo: 1\n";
//! let document = document::parse(text, Format::Yaml).remove(0)?;
//! let decoded = document::decode(&document.root, Default::default(), Strictness::Strict, |root| {
//!     root.object(|fields| (fields.text("server"), fields.list("ports", |port| port.int())))
//! });
//! let report = decoded.into_result().unwrap_err().to_string();
//! assert_eq!(
//!     report,
//!     "2:13: ports[1]: expected an integer, found the text \"x\"\n\
//!      3:1: typo: unknown field; the fields here are server, ports"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod json;
mod secrecy;
#[cfg_attr(not(feature = "schema"), allow(dead_code))]
pub(crate) mod shape;
mod toml;
mod write;
mod yaml;

#[cfg(feature = "schema")]
pub(crate) use decode::shape_of;
pub use decode::{Decoded, Fields, Strictness, Value, decode};

use crate::report::Excerpt;
use crate::violation::{FieldPath, Segment, Span};

/// How deeply lists and maps may lie in each other.
pub const MAX_DEPTH: usize = 128;

/// A value of a document and where it starts.
///
/// Any text may be a key or a password, so `Debug` shows names of fields, places and sizes. A tree is
/// not wiped by itself: what may hold a secret goes into a [`Zeroizing`](zeroize::Zeroizing).
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it starts; the value behind a YAML alias stands where its anchor is.
    pub span: Span,
}

/// A value: complete by definition, these are the types the three formats share.
#[derive(Clone, PartialEq)]
pub enum Kind {
    /// `null`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; one beyond 64 bits is a syntax error.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text; dates and times of YAML and TOML too, as they are written.
    Text(String),
    /// Values in order.
    List(Vec<Node>),
    /// Fields in the order they are written; no name twice.
    Map(Vec<Entry>),
}

/// A field of a map.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The field's name.
    pub key: String,
    /// Where the name starts.
    pub key_span: Span,
    /// The field's value.
    pub value: Node,
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Document {
    /// The whole document.
    pub root: Node,
}

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON value (RFC 8259).
    Json,
    /// One TOML table.
    Toml,
    /// Any number of YAML 1.2 documents, with the core schema's scalars and merge keys.
    Yaml,
}

/// Reads every document of a text; one that is broken does not hide the others.
///
/// A YAML stream is split at `---` before anything is parsed. Documents without content are left
/// out; an empty text has none. Lines are those of the whole text.
pub fn parse(text: &str, format: Format) -> Vec<Result<Document, SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Json => vec![json::parse(text)],
        Format::Toml => vec![toml::parse(text)],
        Format::Yaml => yaml::parse(text),
    }
}

impl Format {
    /// The format that a file of this extension has: `yaml`, `yml`, `json`, `toml`.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

impl Node {
    /// A value at a place.
    pub fn new(kind: Kind, span: Span) -> Self {
        Self { kind, span }
    }

    /// The field `name` of a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let entry = self.entries().iter().find(|entry| entry.key == name)?;
        Some(&entry.value)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The fields of a map; of anything else, none.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; of anything else, none.
    pub fn elements(&self) -> &[Self] {
        match &self.kind {
            Kind::List(elements) => elements,
            _ => &[],
        }
    }

    /// Where the value at `path` stands, or the nearest value around it that exists; `base` is this
    /// value's own path.
    pub fn locate(&self, base: &FieldPath, path: &FieldPath) -> Span {
        let mut node = self;
        for segment in path.strip_prefix(base).unwrap_or_default() {
            let next = match segment {
                Segment::Field(name) | Segment::Key(name) => node.get(name),
                Segment::Index(index) => node.elements().get(*index),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.span
    }

    /// What the value is, for messages: `the text "x"`, `a list`.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Bool(value) => format!("the boolean {value}"),
            Kind::Int(value) => format!("the integer {value}"),
            Kind::Float(value) => format!("the number {value}"),
            Kind::Text(text) => format!("the text {:?}", Excerpt(text)),
            other => other.name().to_owned(),
        }
    }
}

impl Kind {
    /// What kind of value it is, for messages: `a list`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Entry {
    /// A field.
    pub fn new(key: impl Into<String>, key_span: Span, value: Node) -> Self {
        Self {
            key: key.into(),
            key_span,
            value,
        }
    }
}

/// The positions of two fields with one name, the first such pair.
fn duplicate(entries: &[Entry]) -> Option<(usize, usize)> {
    // Most maps are small: comparing all pairs beats an allocation.
    if entries.len() <= 16 {
        return (1..entries.len()).find_map(|again| {
            let first = (0..again).find(|first| entries[*first].key == entries[again].key)?;
            Some((first, again))
        });
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key).then(a.cmp(b)));
    order
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .filter(|(first, again)| entries[*first].key == entries[*again].key)
        .min_by_key(|(_, again)| *again)
}

fn check_duplicates(entries: &[Entry]) -> Result<(), SyntaxError> {
    match duplicate(entries) {
        None => Ok(()),
        Some((first, again)) => Err(SyntaxError::new(
            entries[again].key_span,
            SyntaxErrorKind::DuplicateKey {
                key: entries[again].key.clone(),
                first: entries[first].key_span,
            },
        )),
    }
}

/// Why a text is not a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{span}: {kind}")]
#[non_exhaustive]
pub struct SyntaxError {
    /// The place, in lines of the whole text.
    pub span: Span,
    /// What is wrong.
    pub kind: SyntaxErrorKind,
}

impl SyntaxError {
    fn new(span: Span, kind: SyntaxErrorKind) -> Self {
        Self { span, kind }
    }
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// Aliases repeat more than 4 MiB.
    #[error("aliases repeat more than {limit} bytes; write the values out")]
    AliasBomb {
        /// The limit in bytes.
        limit: usize,
    },
    /// Lists and maps lie in each other too deeply.
    #[error("lists and maps lie in each other more than {MAX_DEPTH} deep")]
    Depth,
    /// A name stands twice in one map.
    #[error("field {key:?} is already set at {first}; remove one of the two")]
    DuplicateKey {
        /// The name.
        key: String,
        /// Where it stands first.
        first: Span,
    },
    /// The text breaks the format's grammar.
    #[error("{message}")]
    Grammar {
        /// What the parser expected or found.
        message: String,
    },
    /// A list or a map, or nothing, stands where a field's name must stand.
    #[error("the name of a field must be text")]
    KeyType,
    /// `<<` with something else than a map or a list of maps.
    #[error("a merge key (<<) needs an alias to a map, or a list of them")]
    Merge,
    /// A number beyond 64 bits, or infinite; it is not repeated, for a password can look like one.
    #[error("the number does not fit into 64 bits; put it in quotes if it is text")]
    Number,
    /// An anchor's value contains its own alias.
    #[error("an alias stands inside the value it repeats")]
    RecursiveAlias,
    /// A tag other than those of YAML's core schema, or one that does not fit the value; it is not
    /// repeated, for a password can begin with `!`.
    #[error(
        "the tag is not supported here; only !!str, !!int, !!float, !!bool, !!null, !!map and !!seq are, on values of their form; put a text that begins with ! in quotes"
    )]
    Tag,
}
