use core::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{Document, Entry, Kind, Node, SyntaxError, SyntaxErrorKind};
use crate::violation::Span;

pub(super) fn parse(text: &str) -> Result<Document, SyntaxError> {
    let places = Places::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().to_owned();
        let span = places.span(error.span().unwrap_or_default());
        SyntaxError::new(span, SyntaxErrorKind::Grammar { message })
    })?;
    let span = Span { line: 1, column: 1 };
    let root = places.table(table.get_ref(), span)?;
    Ok(Document { root })
}

/// Turns byte offsets into lines and columns.
struct Places<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let starts = core::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    fn span(&self, range: Range<usize>) -> Span {
        let line = self.starts.partition_point(|start| *start <= range.start);
        let start = self.starts.get(line.wrapping_sub(1)).copied();
        let before = self.text.get(start.unwrap_or_default()..range.start);
        Span {
            line,
            column: before.map_or(0, |before| before.chars().count()) + 1,
        }
    }

    fn table(&self, table: &DeTable<'_>, span: Span) -> Result<Node, SyntaxError> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            entries.push(Entry {
                key: key.get_ref().clone().into_owned(),
                key_span: self.span(key.span()),
                value: self.value(value.get_ref(), self.span(value.span()))?,
            });
        }
        // The parser's map is sorted by name; the text's order is that of the places.
        entries.sort_by_key(|entry| entry.key_span);
        let kind = Kind::Map(entries);
        Ok(Node { kind, span })
    }

    fn value(&self, value: &DeValue<'_>, span: Span) -> Result<Node, SyntaxError> {
        let number = || SyntaxError::new(span, SyntaxErrorKind::Number);
        let kind = match value {
            DeValue::String(text) => Kind::Text(text.clone().into_owned()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map(Kind::Int)
                .map_err(|_| number())?,
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(value) if value.is_finite() => Kind::Float(value),
                _ => return Err(number()),
            },
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Datetime(time) => Kind::Text(time.to_string()),
            DeValue::Array(elements) => Kind::List(
                elements
                    .iter()
                    .map(|element| self.value(element.get_ref(), self.span(element.span())))
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => return self.table(table, span),
        };
        Ok(Node { kind, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_their_order_and_places() {
        let text = "z = 0x10\n[b.c]\nd = [1.5, true, 2026-01-02]\n[a]\n\"\u{fc}\" = {e = 'f'}\n";
        let root = parse(text).unwrap().root;
        let names: Vec<_> = root
            .entries()
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        assert_eq!(names, ["z", "b", "a"]);
        assert_eq!(root.get("z").unwrap().kind, Kind::Int(16));
        let list = root.get("b").unwrap().get("c").unwrap().get("d").unwrap();
        assert_eq!(list.elements()[2].kind, Kind::Text("2026-01-02".to_owned()));
        assert_eq!(list.elements()[1].span.to_string(), "3:11");
        let inner = root.get("a").unwrap().get("\u{fc}").unwrap();
        assert_eq!(inner.get("e").unwrap().span.to_string(), "5:12");
    }

    #[test]
    fn errors_have_a_place() {
        let error = parse("a = 1\nb = \n").unwrap_err();
        assert_eq!(error.span.line, 2);
        assert!(parse("a = 1\na = 2\n").is_err());
        assert!(matches!(
            parse("a = nan").unwrap_err().kind,
            SyntaxErrorKind::Number
        ));
    }
}
