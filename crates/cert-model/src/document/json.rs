use super::{
    Document, Entry, Kind, MAX_DEPTH, Node, SyntaxError, SyntaxErrorKind, check_duplicates,
};
use crate::violation::Span;

pub(super) fn parse(text: &str) -> Result<Document, SyntaxError> {
    let mut reader = Reader {
        rest: text,
        span: Span { line: 1, column: 1 },
        depth: 0,
    };
    let root = reader.value()?;
    reader.blank();
    if !reader.rest.is_empty() {
        return Err(reader.grammar("expected the end of the text"));
    }
    Ok(Document { root })
}

/// A recursive descent reader (RFC 8259); serde_json's tree has no places.
struct Reader<'t> {
    rest: &'t str,
    span: Span,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn value(&mut self) -> Result<Node, SyntaxError> {
        self.blank();
        let span = self.span;
        let kind = match self.rest.bytes().next() {
            Some(b'{') => self.nested(Self::map)?,
            Some(b'[') => self.nested(Self::list)?,
            Some(b'"') => Kind::Text(self.text()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { kind, span })
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Kind, SyntaxError>,
    ) -> Result<Kind, SyntaxError> {
        if self.depth >= MAX_DEPTH {
            return Err(SyntaxError::new(self.span, SyntaxErrorKind::Depth));
        }
        self.depth += 1;
        self.advance(1);
        let kind = read(self)?;
        self.depth -= 1;
        Ok(kind)
    }

    fn map(&mut self) -> Result<Kind, SyntaxError> {
        let mut entries = Vec::new();
        if self.eats('}') {
            return Ok(Kind::Map(entries));
        }
        loop {
            self.blank();
            let key_span = self.span;
            if !self.rest.starts_with('"') {
                return Err(self.grammar("expected a field's name in double quotes"));
            }
            let key = self.text()?;
            if !self.eats(':') {
                return Err(self.grammar("expected ':'"));
            }
            let value = self.value()?;
            entries.push(Entry {
                key,
                key_span,
                value,
            });
            if self.eats('}') {
                check_duplicates(&entries)?;
                return Ok(Kind::Map(entries));
            }
            if !self.eats(',') {
                return Err(self.grammar("expected ',' or '}'"));
            }
        }
    }

    fn list(&mut self) -> Result<Kind, SyntaxError> {
        let mut elements = Vec::new();
        if self.eats(']') {
            return Ok(Kind::List(elements));
        }
        loop {
            elements.push(self.value()?);
            if self.eats(']') {
                return Ok(Kind::List(elements));
            }
            if !self.eats(',') {
                return Err(self.grammar("expected ',' or ']'"));
            }
        }
    }

    fn text(&mut self) -> Result<String, SyntaxError> {
        self.advance(1);
        let mut text = String::new();
        loop {
            let plain = self
                .rest
                .find(|c| matches!(c, '"' | '\\' | '\0'..='\x1f'))
                .unwrap_or(self.rest.len());
            text.push_str(&self.rest[..plain]);
            self.advance(plain);
            match self.rest.bytes().next() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.grammar("a control character must be escaped")),
                None => return Err(self.grammar("the text has no closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let c = match self.rest.as_bytes().get(1) {
            Some(b @ (b'"' | b'\\' | b'/')) => char::from(*b),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.grammar("unknown escape")),
        };
        self.advance(2);
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let unit = |text: &str| {
            let digits = text.strip_prefix("\\u")?.get(..4)?;
            let digits = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u16::from_str_radix(digits, 16).ok()
        };
        let first =
            unit(self.rest).ok_or_else(|| self.grammar("expected four hexadecimal digits"))?;
        let second = self.rest.get(6..).and_then(unit);
        let units = [first, second.unwrap_or_default()];
        let (c, length) = match char::from_u32(u32::from(first)) {
            Some(c) => (Some(c), 6),
            None => (char::decode_utf16(units).next().and_then(Result::ok), 12),
        };
        let c = c.ok_or_else(|| self.grammar("half of a surrogate pair"))?;
        self.advance(length);
        Ok(c)
    }

    fn number(&mut self) -> Result<Kind, SyntaxError> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E')))
            .unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        if !is_number(text) {
            return Err(self.grammar("this is not a number"));
        }
        let kind = if text.contains(['.', 'e', 'E']) {
            let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
            value.map(Kind::Float)
        } else {
            text.parse().ok().map(Kind::Int)
        };
        let kind = kind.ok_or_else(|| SyntaxError::new(self.span, SyntaxErrorKind::Number))?;
        self.advance(end);
        Ok(kind)
    }

    fn word(&mut self) -> Result<Kind, SyntaxError> {
        for (word, kind) in [
            ("null", Kind::Null),
            ("true", Kind::Bool(true)),
            ("false", Kind::Bool(false)),
        ] {
            if self.rest.starts_with(word) {
                self.advance(word.len());
                return Ok(kind);
            }
        }
        Err(self.grammar("expected a value"))
    }

    /// Skips blanks, then takes `c` if it comes next.
    fn eats(&mut self, c: char) -> bool {
        self.blank();
        let found = self.rest.starts_with(c);
        if found {
            self.advance(1);
        }
        found
    }

    fn blank(&mut self) {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.advance(self.rest.len() - rest.len());
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest): (&'t str, &'t str) = self.rest.split_at(bytes);
        for c in passed.chars() {
            if c == '\n' {
                self.span.line += 1;
                self.span.column = 1;
            } else {
                self.span.column += 1;
            }
        }
        self.rest = rest;
    }

    fn grammar(&self, message: &str) -> SyntaxError {
        let message = message.to_owned();
        SyntaxError::new(self.span, SyntaxErrorKind::Grammar { message })
    }
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?`
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.strip_prefix(['+', '-']).unwrap_or(exponent),
        ),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && digits(exponent)
        && (whole == "0" || !whole.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_places() {
        let root = parse(
            "{\n  \"a\": [1, -2.5e1, true, null, \"x\\u00fc\\ud83d\\ude00\\n\"],\n  \"b\": {}\n}\n",
        )
        .unwrap()
        .root;
        let kinds: Vec<_> = root
            .get("a")
            .unwrap()
            .elements()
            .iter()
            .map(|node| &node.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                &Kind::Int(1),
                &Kind::Float(-25.0),
                &Kind::Bool(true),
                &Kind::Null,
                &Kind::Text("x\u{fc}\u{1f600}\n".to_owned())
            ]
        );
        let entry = &root.entries()[1];
        assert_eq!(
            (entry.key_span.to_string(), entry.value.span.to_string()),
            ("3:3".to_owned(), "3:8".to_owned())
        );
    }

    #[test]
    fn refusals() {
        for (text, error) in [
            ("", "1:1: expected a value"),
            (
                "{\"a\":1,}",
                "1:8: expected a field's name in double quotes",
            ),
            ("[1 2]", "1:4: expected ',' or ']'"),
            ("[01]", "1:2: this is not a number"),
            ("[1.]", "1:2: this is not a number"),
            ("[-]", "1:2: this is not a number"),
            ("[\"a\nb\"]", "1:4: a control character must be escaped"),
            ("\"\\ud800\"", "1:2: half of a surrogate pair"),
            ("\"\\ud800\\u0041\"", "1:2: half of a surrogate pair"),
            ("\"a", "1:3: the text has no closing quote"),
            ("{} {}", "1:4: expected the end of the text"),
            (
                "{\"a\":1,\"a\":2}",
                "1:8: field \"a\" is already set at 1:2; remove one of the two",
            ),
            (
                "1e999",
                "1:1: the number does not fit into 64 bits; put it in quotes if it is text",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(parse(&deep).unwrap_err().kind, SyntaxErrorKind::Depth);
    }
}
