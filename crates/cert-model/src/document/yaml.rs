use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use zeroize::{Zeroize, Zeroizing};

use super::{
    Document, Entry, Kind, MAX_DEPTH, Node, SyntaxError, SyntaxErrorKind, check_duplicates,
};
use crate::violation::Span;

/// What aliases may repeat in one document, in bytes of text and one per value.
const MAX_ALIASED: usize = 4 << 20;

pub(super) fn parse(text: &str) -> Vec<Result<Document, SyntaxError>> {
    let mut documents = Vec::new();
    for (line, chunk) in split(text) {
        read_chunk(chunk, line, &mut documents);
    }
    documents
}

/// Cuts a stream in front of every `---` and behind every `...`, with the lines before each piece.
///
/// Both can only be markers at the start of a line: YAML 1.2.2, 9.1.2 forbids them even in block
/// and quoted scalars, so no knowledge of the content is needed.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    let mut open = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line, "---") {
            if open {
                pieces.push((start_line, &text[start..at]));
                (start, start_line) = (at, number);
            }
            open = true;
        } else if !line.starts_with(['%', '#']) && !line.trim().is_empty() {
            open = true;
        }
        at += line.len();
        if is_marker(line, "...") {
            pieces.push((start_line, &text[start..at]));
            (start, start_line) = (at, number + 1);
            open = false;
        }
    }
    pieces.push((start_line, &text[start..]));
    pieces
}

pub(super) fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn read_chunk(chunk: &str, line: usize, documents: &mut Vec<Result<Document, SyntaxError>>) {
    let mut parser = Parser::new_from_str(chunk);
    let end = end_of(chunk, line);
    let mut builder = Builder::new(line, end);
    while let Some(event) = parser.next_event() {
        let result = match event {
            Ok((Event::DocumentStart(_), _)) => {
                builder = Builder::new(line, end);
                Ok(())
            }
            Ok((Event::DocumentEnd, _)) => {
                documents.extend(builder.finish().map(|root| Ok(Document { root })));
                Ok(())
            }
            Ok((event, span)) => builder.event(event, span.start),
            Err(error) => Err(SyntaxError::new(
                builder.span(*error.marker()),
                SyntaxErrorKind::Grammar {
                    message: error.info().to_owned(),
                },
            )),
        };
        if let Err(error) = result {
            documents.push(Err(error));
            return;
        }
    }
}

/// The parser finds the end of a text on a line behind the last; a person finds it at the end of the last.
fn end_of(chunk: &str, lines: usize) -> Span {
    let text = chunk.trim_end_matches(['\n', '\r']);
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
    Span {
        line: lines + text.replace("\r\n", "\n").split(['\n', '\r']).count(),
        column: last.chars().count() + 1,
    }
}

/// Builds one document out of the parser's events, without recursion.
struct Builder {
    lines: usize,
    /// Nothing is behind it, not even what the parser adds.
    end: Span,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    root: Option<Node>,
}

/// A list or map whose end is still to come.
struct Frame {
    span: Span,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<Key>,
        merged: Vec<Merge>,
    },
}

enum Key {
    Merge(Span),
    Name(String, Span),
}

/// A merge key: where it stands, how many fields came before, and its value.
struct Merge {
    span: Span,
    position: usize,
    value: Node,
}

struct Anchored {
    node: Zeroizing<Node>,
    weight: usize,
    depth: usize,
}

impl Builder {
    fn new(lines: usize, end: Span) -> Self {
        Self {
            lines,
            end,
            stack: Vec::new(),
            anchors: HashMap::new(),
            aliased: 0,
            root: None,
        }
    }

    /// The document, unless it has no content.
    fn finish(&mut self) -> Option<Node> {
        self.root.take().filter(|root| root.kind != Kind::Null)
    }

    fn span(&self, mark: Marker) -> Span {
        let span = Span {
            line: self.lines + mark.line(),
            column: mark.col() + 1,
        };
        span.min(self.end)
    }

    fn event(&mut self, event: Event<'_>, mark: Marker) -> Result<(), SyntaxError> {
        let span = self.span(mark);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.expects_key() {
                    let key = match style {
                        ScalarStyle::Plain if text == "<<" => Key::Merge(span),
                        ScalarStyle::Plain if is_null(&text) => {
                            return Err(SyntaxError::new(span, SyntaxErrorKind::KeyType));
                        }
                        _ => Key::Name(text.into_owned(), span),
                    };
                    if let (Key::Name(name, _), true) = (&key, anchor != 0) {
                        let kind = Kind::Text(name.clone());
                        self.anchor(anchor, &Node { kind, span })?;
                    }
                    self.set_key(key);
                    return Ok(());
                }
                let kind = scalar(text, style, tag.as_deref())
                    .map_err(|kind| SyntaxError::new(span, kind))?;
                self.value(Node { kind, span }, anchor)
            }
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    return Err(SyntaxError::new(span, SyntaxErrorKind::RecursiveAlias));
                };
                if self.stack.len() + anchored.depth > MAX_DEPTH {
                    return Err(SyntaxError::new(span, SyntaxErrorKind::Depth));
                }
                let (node, weight) = (Node::clone(&anchored.node), anchored.weight);
                self.repeat(weight, span)?;
                if self.expects_key() {
                    let Kind::Text(name) = node.kind else {
                        return Err(SyntaxError::new(span, SyntaxErrorKind::KeyType));
                    };
                    self.set_key(Key::Name(name, span));
                    return Ok(());
                }
                self.value(node, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", span)?;
                self.open(span, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", span)?;
                let content = Content::Map {
                    entries: Vec::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.open(span, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        self.stack
            .last()
            .is_some_and(|frame| matches!(frame.content, Content::Map { key: None, .. }))
    }

    fn set_key(&mut self, name: Key) {
        if let Some(Frame {
            content: Content::Map { key, .. },
            ..
        }) = self.stack.last_mut()
        {
            *key = Some(name);
        }
    }

    fn open(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), SyntaxError> {
        if self.expects_key() {
            return Err(SyntaxError::new(span, SyntaxErrorKind::KeyType));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(SyntaxError::new(span, SyntaxErrorKind::Depth));
        }
        self.stack.push(Frame {
            span,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let kind = match frame.content {
            Content::List(elements) => Kind::List(elements),
            Content::Map {
                mut entries,
                merged,
                ..
            } => {
                check_duplicates(&entries)?;
                for merge in merged.into_iter().rev() {
                    apply(merge, &mut entries)?;
                }
                Kind::Map(entries)
            }
        };
        let span = frame.span;
        self.value(Node { kind, span }, frame.anchor)
    }

    /// Keeps a copy of a value for its aliases.
    fn anchor(&mut self, anchor: usize, node: &Node) -> Result<(), SyntaxError> {
        let (weight, depth) = measure(node);
        // Anchors inside each other repeat the innermost value without any alias.
        if self.stack.iter().any(|frame| frame.anchor != 0) {
            self.repeat(weight, node.span)?;
        }
        let anchored = Anchored {
            node: Zeroizing::new(node.clone()),
            weight,
            depth,
        };
        self.anchors.insert(anchor, anchored);
        Ok(())
    }

    fn repeat(&mut self, weight: usize, span: Span) -> Result<(), SyntaxError> {
        self.aliased += weight;
        if self.aliased > MAX_ALIASED {
            let limit = MAX_ALIASED;
            return Err(SyntaxError::new(span, SyntaxErrorKind::AliasBomb { limit }));
        }
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if anchor != 0 {
            self.anchor(anchor, &node)?;
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(elements)) => elements.push(node),
            Some(Content::Map {
                entries,
                key,
                merged,
            }) => match key.take() {
                Some(Key::Name(key, key_span)) => entries.push(Entry {
                    key,
                    key_span,
                    value: node,
                }),
                Some(Key::Merge(span)) if merged.is_empty() => merged.push(Merge {
                    span,
                    position: entries.len(),
                    value: node,
                }),
                Some(Key::Merge(span)) => {
                    let (key, first) = ("<<".to_owned(), merged[0].span);
                    return Err(SyntaxError::new(
                        span,
                        SyntaxErrorKind::DuplicateKey { key, first },
                    ));
                }
                None => return Err(SyntaxError::new(node.span, SyntaxErrorKind::KeyType)),
            },
        }
        Ok(())
    }
}

/// Inserts the fields of a merge key that the map does not set itself; of several maps the first wins.
fn apply(merge: Merge, entries: &mut Vec<Entry>) -> Result<(), SyntaxError> {
    let span = merge.span;
    let sources = match merge.value.kind {
        Kind::List(maps) => maps,
        kind => vec![Node { kind, span }],
    };
    let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let mut added = Vec::new();
    for source in sources {
        let Kind::Map(fields) = source.kind else {
            return Err(SyntaxError::new(span, SyntaxErrorKind::Merge));
        };
        for mut field in fields {
            match known.insert(field.key.clone()) {
                true => added.push(field),
                // A copy of what the anchor holds.
                false => field.value.zeroize(),
            }
        }
    }
    entries.splice(merge.position..merge.position, added);
    Ok(())
}

/// What a repetition of this value costs, and how deep it is.
fn measure(node: &Node) -> (usize, usize) {
    let join = |(weight, depth): (usize, usize), node: &Node| {
        let (more, inner) = measure(node);
        (weight + more, depth.max(inner + 1))
    };
    match &node.kind {
        Kind::Text(text) => (1 + text.len(), 0),
        Kind::List(elements) => elements.iter().fold((1, 1), join),
        Kind::Map(entries) => entries.iter().fold((1, 1), |sum, entry| {
            let (weight, depth) = join(sum, &entry.value);
            (weight + entry.key.len(), depth)
        }),
        _ => (1, 0),
    }
}

fn check_tag(tag: Option<&Tag>, expected: &str, span: Span) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
            Err(SyntaxError::new(span, SyntaxErrorKind::Tag))
        }
        _ => Ok(()),
    }
}

/// A scalar by the core schema (YAML 1.2.2, 10.3.2); the parser's own text is kept, not copied.
fn scalar(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Kind, SyntaxErrorKind> {
    let Some(tag) = tag else {
        let kind = match style {
            ScalarStyle::Plain => resolve(&text)?,
            _ => None,
        };
        return Ok(kind.unwrap_or_else(|| Kind::Text(text.into_owned())));
    };
    // `!` alone means: not by the look of the text.
    if tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty() {
        return Ok(Kind::Text(text.into_owned()));
    }
    let suffix = if tag.is_yaml_core_schema() {
        tag.suffix.as_str()
    } else {
        ""
    };
    match (suffix, resolve(&text)?) {
        ("str", _) => Ok(Kind::Text(text.into_owned())),
        ("int", Some(kind @ Kind::Int(_)))
        | ("float", Some(kind @ Kind::Float(_)))
        | ("bool", Some(kind @ Kind::Bool(_)))
        | ("null", Some(kind @ Kind::Null)) => Ok(kind),
        _ => Err(SyntaxErrorKind::Tag),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// What a plain scalar stands for; nothing if that is the text itself.
pub(super) fn resolve(text: &str) -> Result<Option<Kind>, SyntaxErrorKind> {
    if is_null(text) {
        return Ok(Some(Kind::Null));
    }
    match text {
        "true" | "True" | "TRUE" => return Ok(Some(Kind::Bool(true))),
        "false" | "False" | "FALSE" => return Ok(Some(Kind::Bool(false))),
        _ => {}
    }
    // Nearly every text of a document ends here, before any number is tried.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(None);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = |digits: &str, radix: u32| match i64::from_str_radix(digits, radix) {
        Ok(value) => Ok(Some(Kind::Int(value))),
        Err(_) => Err(SyntaxErrorKind::Number),
    };
    if let Some(digits) = text
        .strip_prefix("0x")
        .filter(|d| all(d, u8::is_ascii_hexdigit))
    {
        return whole(digits, 16);
    }
    if let Some(digits) = text
        .strip_prefix("0o")
        .filter(|d| all(d, |b| matches!(b, b'0'..=b'7')))
    {
        return whole(digits, 8);
    }
    if all(unsigned, u8::is_ascii_digit) {
        return whole(text, 10);
    }
    match unsigned {
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => return Err(SyntaxErrorKind::Number),
        _ => {}
    }
    if is_float(unsigned) {
        return match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Some(Kind::Float(value))),
            _ => Err(SyntaxErrorKind::Number),
        };
    }
    Ok(None)
}

fn all(text: &str, predicate: impl FnMut(&u8) -> bool) -> bool {
    !text.is_empty() && text.as_bytes().iter().all(predicate)
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.is_none_or(|exponent| {
        all(
            exponent.strip_prefix(['+', '-']).unwrap_or(exponent),
            u8::is_ascii_digit,
        )
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Node, SyntaxErrorKind> {
        let mut documents = parse(text);
        assert_eq!(documents.len(), 1, "{text}");
        documents
            .remove(0)
            .map(|document| document.root)
            .map_err(|error| error.kind)
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = |text: &str| Kind::Text(text.to_owned());
        for (source, kind) in [
            ("[~]", Kind::Null),
            ("[True]", Kind::Bool(true)),
            ("[yes]", text("yes")),
            ("['true']", text("true")),
            ("[-12]", Kind::Int(-12)),
            ("[+012]", Kind::Int(12)),
            ("[0x1F]", Kind::Int(31)),
            ("[0o17]", Kind::Int(15)),
            ("[1.5e3]", Kind::Float(1500.0)),
            ("[.5]", Kind::Float(0.5)),
            ("[1.]", Kind::Float(1.0)),
            ("[10.0.0.1]", text("10.0.0.1")),
            ("[1h30m]", text("1h30m")),
            ("[2026-01-02]", text("2026-01-02")),
            ("[-a]", text("-a")),
            ("[!!str 12]", text("12")),
            ("[! 12]", text("12")),
            ("[!!int '12']", Kind::Int(12)),
            ("[\"a\\tb\"]", text("a\tb")),
        ] {
            assert_eq!(one(source).unwrap().elements()[0].kind, kind, "{source}");
        }
        for (source, kind) in [
            ("[9223372036854775808]", SyntaxErrorKind::Number),
            ("[1e999]", SyntaxErrorKind::Number),
            ("[.inf]", SyntaxErrorKind::Number),
            ("[!!int x]", SyntaxErrorKind::Tag),
            ("[!Ref x]", SyntaxErrorKind::Tag),
            ("!!set {a: }", SyntaxErrorKind::Tag),
        ] {
            assert_eq!(one(source), Err(kind), "{source}");
        }
    }

    #[test]
    fn a_broken_document_hides_no_other() {
        let text = "# head\n---\na: 1\n---\n{{ template }}: [\n---\n%no\n--- # c\nb:\n  - c\n...\n%YAML 1.2\n---\nd: |\n  ---\n  e\n---\n# nothing\n---\n";
        let documents = parse(text);
        let shown: Vec<_> = documents
            .iter()
            .map(|document| match document {
                Ok(document) => (
                    document.root.span.line,
                    document.root.entries()[0].key.clone(),
                ),
                Err(error) => (error.span.line, String::new()),
            })
            .collect();
        assert_eq!(
            shown,
            [
                (3, "a".to_owned()),
                (5, String::new()),
                (7, String::new()),
                (9, "b".to_owned()),
                (14, "d".to_owned()),
            ]
        );
        assert_eq!(parse(""), []);
        assert_eq!(parse("--- \n...\n---\n"), []);
    }

    #[test]
    fn places_count_characters() {
        let root = one("a: {\u{fc}: [x, y]}\n").unwrap();
        let place = root.get("a").unwrap().get("\u{fc}").unwrap().elements()[1].span;
        assert_eq!((place.line, place.column), (1, 12));
    }

    #[test]
    fn anchors_and_merge_keys_are_written_out() {
        let root =
            one("base: &b {x: 1, y: 2}\nsame: *b\nmerged: {y: 3, <<: [*b, {z: 4}]}\n").unwrap();
        assert_eq!(
            root.get("same").unwrap().get("y").unwrap().kind,
            Kind::Int(2)
        );
        let merged: Vec<_> = root
            .get("merged")
            .unwrap()
            .entries()
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.kind.clone()))
            .collect();
        assert_eq!(
            merged,
            [
                ("y", Kind::Int(3)),
                ("x", Kind::Int(1)),
                ("z", Kind::Int(4))
            ]
        );
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let span = |line, column| Span { line, column };
        for (text, kind) in [
            (
                "a: 1\nb: 2\na: 3\n",
                SyntaxErrorKind::DuplicateKey {
                    key: "a".to_owned(),
                    first: span(1, 1),
                },
            ),
            (
                "a: &a {b: 1}\nc: {<<: *a, <<: *a}\n",
                SyntaxErrorKind::DuplicateKey {
                    key: "<<".to_owned(),
                    first: span(2, 5),
                },
            ),
            ("{<<: 1}", SyntaxErrorKind::Merge),
            ("[a]: b", SyntaxErrorKind::KeyType),
            ("~: b", SyntaxErrorKind::KeyType),
            ("a: &a [*a]", SyntaxErrorKind::RecursiveAlias),
        ] {
            assert_eq!(one(text), Err(kind), "{text}");
        }
    }

    #[test]
    fn a_text_that_ends_too_early_is_wrong_at_its_end() {
        for text in ["a: {b: 1", "a: {b: 1\n", "a: {b: 1\r\n\r\n"] {
            let error = parse(text).remove(0).unwrap_err();
            assert_eq!((error.span.line, error.span.column), (1, 9), "{text:?}");
        }
        // Of a key that is not there, with a comment behind it.
        let error = parse("?\n#*").remove(0).unwrap_err();
        assert_eq!((error.span.line, error.span.column), (2, 3));
    }

    #[test]
    fn repeated_names_are_found_in_large_maps_too() {
        for count in [3, 16, 17, 40] {
            let mut lines: Vec<_> = (0..count).map(|i| format!("k{i}: 1\n")).collect();
            assert!(one(&lines.concat()).is_ok());
            lines.push("k2: 1\n".to_owned());
            lines.push("k1: 1\n".to_owned());
            let Err(SyntaxErrorKind::DuplicateKey { key, first }) = one(&lines.concat()) else {
                panic!("{count}");
            };
            assert_eq!((key.as_str(), first.line), ("k2", 3), "{count}");
        }
    }

    #[test]
    fn a_name_can_be_an_anchor() {
        let root = one("&k name: x\nsame: *k\n").unwrap();
        assert_eq!(root.get("same").unwrap().as_text(), Some("name"));
    }

    #[test]
    fn anchors_inside_each_other_are_a_bomb_too() {
        let text = format!(
            "{}{}{}",
            "&a [".repeat(100),
            "1,".repeat(50_000),
            "]".repeat(100)
        );
        assert_eq!(
            one(&text),
            Err(SyntaxErrorKind::AliasBomb { limit: MAX_ALIASED })
        );
    }

    #[test]
    fn merging_is_linear() {
        let fields = |prefix: &str| -> String {
            let field = |n| format!("  {prefix}{n}: 1\n");
            (0..20_000).map(field).collect()
        };
        let text = format!("x: &x\n{}y:\n  <<: *x\n{}", fields("a"), fields("b"));
        // Compared pair by pair this takes most of a minute; the suite's time would show it.
        let root = one(&text).unwrap();
        assert_eq!(root.get("y").unwrap().entries().len(), 40_000);
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..10 {
            let alias = format!("*a{},", i - 1).repeat(10);
            bomb.push_str(&format!("a{i}: &a{i} [{alias}]\n"));
        }
        assert_eq!(
            one(&bomb),
            Err(SyntaxErrorKind::AliasBomb { limit: MAX_ALIASED })
        );
        let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(one(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(one(&deep(MAX_DEPTH + 1)), Err(SyntaxErrorKind::Depth));
        let half = deep(MAX_DEPTH / 2);
        let stacked = format!("- &a {half}\n- {}*a{}\n", "[".repeat(70), "]".repeat(70));
        assert_eq!(one(&stacked), Err(SyntaxErrorKind::Depth));
    }
}
