use core::fmt;

use super::{Entry, Kind, Node, yaml};
use crate::quote::{Quoted, is_long};

impl Node {
    /// The value as a YAML document in block style; comments and the way texts were quoted are gone.
    pub fn to_yaml(&self) -> String {
        format!("{}", Yaml(self))
    }

    /// The value as JSON, indented by two spaces.
    pub fn to_json(&self) -> String {
        format!("{}", Json(self, 0))
    }
}

struct Yaml<'n>(&'n Node);

impl fmt::Display for Yaml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Map(entries) if !entries.is_empty() => yaml_map(f, entries, 0, false),
            Kind::List(elements) if !elements.is_empty() => yaml_list(f, elements, 0),
            _ => {
                yaml_scalar(f, self.0, 0)?;
                f.write_str("\n")
            }
        }
    }
}

/// The fields of a map; the first one's line may already be indented by a list's dash.
fn yaml_map(
    f: &mut fmt::Formatter<'_>,
    entries: &[Entry],
    indent: usize,
    mut continued: bool,
) -> fmt::Result {
    for Entry { key, value, .. } in entries {
        let padding = if continued { 0 } else { indent };
        continued = false;
        if is_long(key) {
            write!(f, "{:padding$}? {}\n{:indent$}:", "", Plain(key), "")?;
        } else {
            write!(f, "{:padding$}{}:", "", Plain(key))?;
        }
        match &value.kind {
            Kind::Map(entries) if !entries.is_empty() => {
                f.write_str("\n")?;
                yaml_map(f, entries, indent + 2, false)?;
            }
            Kind::List(elements) if !elements.is_empty() => {
                f.write_str("\n")?;
                yaml_list(f, elements, indent)?;
            }
            _ => {
                f.write_str(" ")?;
                yaml_scalar(f, value, indent + 2)?;
                f.write_str("\n")?;
            }
        }
    }
    Ok(())
}

fn yaml_list(f: &mut fmt::Formatter<'_>, elements: &[Node], indent: usize) -> fmt::Result {
    for element in elements {
        write!(f, "{:indent$}-", "")?;
        match &element.kind {
            Kind::Map(entries) if !entries.is_empty() => {
                f.write_str(" ")?;
                yaml_map(f, entries, indent + 2, true)?;
            }
            Kind::List(elements) if !elements.is_empty() => {
                f.write_str("\n")?;
                yaml_list(f, elements, indent + 2)?;
            }
            _ => {
                f.write_str(" ")?;
                yaml_scalar(f, element, indent + 2)?;
                f.write_str("\n")?;
            }
        }
    }
    Ok(())
}

fn yaml_scalar(f: &mut fmt::Formatter<'_>, node: &Node, indent: usize) -> fmt::Result {
    match &node.kind {
        Kind::Text(text) if is_block(text) => {
            f.write_str(if text.ends_with('\n') { "|" } else { "|-" })?;
            for line in text.lines() {
                let padding = if line.is_empty() { 0 } else { indent };
                write!(f, "\n{:padding$}{line}", "")?;
            }
            Ok(())
        }
        Kind::Text(text) => write!(f, "{}", Plain(text)),
        _ => write!(f, "{}", Json(node, 0)),
    }
}

/// Whether a text of several lines can stand as a literal block: what the block's own rules about
/// blanks would change cannot.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && !body.lines().any(|line| line.ends_with(' '))
        // At the start of a line they end a document, wherever they stand.
        && !body.lines().any(|line| ["---", "..."].iter().any(|m| yaml::is_marker(line, m)))
        && !text.contains(|c: char| {
            c.is_control() && c != '\n' || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
        })
}

/// A text without quotes where no reader, of YAML 1.1 either, could take it for something else.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "{}", Quoted(self.0))
        }
    }
}

fn is_plain(text: &str) -> bool {
    const YAML_1_1: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_./@:+*=, ".contains(&b);
    text.bytes().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !YAML_1_1.contains(&text.to_ascii_lowercase().as_str())
        && !is_numeric(text)
        && matches!(yaml::resolve(text), Ok(None))
}

/// Whether some reader could take the text for a number: `1:30`, `1_000` and `0b1` are in YAML 1.1.
fn is_numeric(text: &str) -> bool {
    let part = |b: u8| b.is_ascii_digit() || b"._:+-abcdefxoABCDEFXO".contains(&b);
    text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(part)
}

struct Json<'n>(&'n Node, usize);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outer, inner) = (self.1, self.1 + 2);
        match &self.0.kind {
            Kind::Null => f.write_str("null"),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Int(value) => write!(f, "{value}"),
            // The form with an exponent or a point, so that it stays this kind of number.
            Kind::Float(value) => write!(f, "{value:?}"),
            Kind::Text(text) => write!(f, "{}", Quoted(text)),
            Kind::List(elements) if elements.is_empty() => f.write_str("[]"),
            Kind::Map(entries) if entries.is_empty() => f.write_str("{}"),
            Kind::List(elements) => {
                for (i, element) in elements.iter().enumerate() {
                    f.write_str(if i == 0 { "[\n" } else { ",\n" })?;
                    write!(f, "{:inner$}{}", "", Json(element, inner))?;
                }
                write!(f, "\n{:outer$}]", "")
            }
            Kind::Map(entries) => {
                for (i, entry) in entries.iter().enumerate() {
                    f.write_str(if i == 0 { "{\n" } else { ",\n" })?;
                    let (key, value) = (Quoted(&entry.key), Json(&entry.value, inner));
                    write!(f, "{:inner$}{key}: {value}", "")?;
                }
                write!(f, "\n{:outer$}}}", "")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::{Format, parse};
    use crate::violation::Span;

    fn node(kind: Kind) -> Node {
        Node::new(kind, Span { line: 1, column: 1 })
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let text = prop_oneof![
            any::<String>(),
            "[a-z0-9:.#,' -]{0,8}",
            "[ a\n]{0,8}",
            "(yes|no|null|true|~|1e3|0x1f|1:30|2160h|---|[.]inf|<<|0b1|1_0)",
        ];
        let leaf = prop_oneof![
            Just(Kind::Null),
            any::<bool>().prop_map(Kind::Bool),
            any::<i64>().prop_map(Kind::Int),
            (-1e300..1e300_f64).prop_map(Kind::Float),
            text.clone().prop_map(Kind::Text),
        ];
        leaf.prop_map(node).prop_recursive(4, 24, 4, move |inner| {
            let map = prop::collection::btree_map(text.clone(), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Kind::List),
                map.prop_map(|map| {
                    let span = Span { line: 1, column: 1 };
                    let entries = map.into_iter();
                    Kind::Map(entries.map(|(k, v)| Entry::new(k, span, v)).collect())
                }),
            ]
            .prop_map(node)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(node in any_node()) {
            let json = node.to_json();
            let read = parse(&json, Format::Json).remove(0).unwrap();
            prop_assert_eq!(read.root.to_json(), json.as_str());
            let yaml = node.to_yaml();
            let mut documents = parse(&yaml, Format::Yaml);
            if node.kind == Kind::Null {
                prop_assert!(documents.is_empty());
            } else {
                let read = documents.remove(0);
                prop_assert!(read.is_ok(), "{:?}\n{}", read, yaml);
                prop_assert_eq!(read.unwrap().root.to_json(), json, "{}", yaml);
            }
        }

        #[test]
        fn no_text_panics(text: String, lines in "([-:a{}&*!|>' \\[\\]#\"]{0,6}\n){0,6}") {
            for text in [text, lines] {
                for format in [Format::Yaml, Format::Json, Format::Toml] {
                    let _ = parse(&text, format);
                }
            }
        }
    }

    #[test]
    fn document_markers_and_long_names_read_back() {
        let span = Span { line: 1, column: 1 };
        let text = |text: &str| node(Kind::Text(text.to_owned()));
        let inner = Entry::new("\u{1}".repeat(600), span, text("a\nb"));
        let list = node(Kind::List(vec![node(Kind::Map(vec![inner]))]));
        let long = Entry::new("k".repeat(3000), span, list);
        for node in [
            text("a\n---\nb"),
            text("a\n..."),
            text("a\n--- b\n"),
            node(Kind::Map(vec![long])),
        ] {
            let yaml = node.to_yaml();
            let read = parse(&yaml, Format::Yaml);
            let [Ok(read)] = read.as_slice() else {
                panic!("{yaml}: {read:?}");
            };
            assert_eq!(read.root.to_json(), node.to_json(), "{yaml}");
        }
    }

    #[test]
    fn people_can_read_it() {
        let text = "\
kind: Certificate
metadata:
  name: web
  annotations:
    note: \"yes\"
spec:
  dnsNames:
  - a.example.com
  - \"*.example.org\"
  windows:
  - cron: 0 12 * * *
    windowDuration: 2h
  duration: 2160h
  size: 2048
  empty: {}
  pem: |
    -----BEGIN

    -----END
  trimmed: |-
    a
    b
";
        let document = parse(text, Format::Yaml).remove(0).unwrap();
        assert_eq!(document.root.to_yaml(), text);
    }
}
