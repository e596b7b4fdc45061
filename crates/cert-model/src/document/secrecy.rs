//! Any text of a document may be a key: what a tree shows of itself, and how it is wiped.

use core::fmt;

use zeroize::Zeroize;

use super::{Decoded, Kind, Node};
use crate::report::Excerpt;

impl fmt::Debug for Node {
    /// The kind and the place, `Text(5 bytes) at 2:3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.kind, f)?;
        write!(f, " at {}", self.span)
    }
}

impl fmt::Debug for Kind {
    /// Names of fields, places and sizes; no text, and no number either, for a PIN is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::Int(_) => f.write_str("Int"),
            Self::Float(_) => f.write_str("Float"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::List(elements) => f.debug_list().entries(elements).finish(),
            Self::Map(entries) => {
                let fields = entries
                    .iter()
                    .map(|field| (Excerpt(&field.key), &field.value));
                f.debug_map().entries(fields).finish()
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Decoded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded")
            .field("value", &self.value)
            .field("violations", &self.violations)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Zeroize for Node {
    /// Overwrites every text and number below; names of fields and the tree's form stay.
    fn zeroize(&mut self) {
        match &mut self.kind {
            Kind::Null | Kind::Bool(_) => {}
            Kind::Int(value) => value.zeroize(),
            Kind::Float(value) => value.zeroize(),
            Kind::Text(text) => text.zeroize(),
            Kind::List(elements) => elements.iter_mut().for_each(Self::zeroize),
            Kind::Map(fields) => fields.iter_mut().for_each(|field| field.value.zeroize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Format, Strictness, decode, parse};

    const TEXT: &str = "a: [hunter2, 31337, 3.25, null]\nb: {c: true, d: hunter2}\n";

    fn root() -> Node {
        parse(TEXT, Format::Yaml).remove(0).unwrap().root
    }

    #[test]
    fn a_tree_shows_its_form_and_no_value() {
        assert_eq!(
            format!("{:?}", root()),
            r#"{"a": [Text(7 bytes) at 1:5, Int at 1:14, Float at 1:21, Null at 1:27] at 1:4, "b": {"c": Bool(true) at 2:8, "d": Text(7 bytes) at 2:17} at 2:4} at 1:1"#
        );
    }

    #[test]
    fn what_was_decoded_shows_no_document() {
        let root = root();
        let decoded = decode(&root, Default::default(), Strictness::Lenient, |_| 7);
        assert_eq!(
            format!("{decoded:?}"),
            "Decoded { value: 7, violations: [], warnings: [], .. }"
        );
    }

    #[test]
    fn a_wiped_tree_has_its_names_only() {
        let mut root = root();
        root.zeroize();
        assert_eq!(
            root.to_yaml(),
            "a:\n- \"\"\n- 0\n- 0.0\n- null\nb:\n  c: true\n  d: \"\"\n"
        );
    }
}
