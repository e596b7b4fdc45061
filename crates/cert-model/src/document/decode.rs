use std::collections::{BTreeMap, HashSet};

use super::shape::Shape;
use super::{Entry, Kind, Node};
use crate::violation::{FieldPath, Span, Violation, ViolationKind, Violations};

/// What a field of an unknown name is; complete by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// A warning; and so is `[...]` for a value, as documentation writes what it leaves out.
    Lenient,
    /// A violation.
    #[default]
    Strict,
}

/// Turns a value into a `T`; `base` is the value's own path, to which all reported paths are added.
///
/// `read` is given the value and takes out of it what it needs; what is wrong is collected, so it
/// can always go on, with a default in place of a value that could not be read.
pub fn decode<'n, T>(
    node: &'n Node,
    base: FieldPath,
    strictness: Strictness,
    read: impl FnOnce(Value<'_>) -> T,
) -> Decoded<'n, T> {
    let mut findings = Findings {
        strictness,
        violations: Vec::new(),
        warnings: Vec::new(),
    };
    let value = read(Value {
        findings: &mut findings,
        place: Place::Base(&base),
        node,
        shape: None,
    });
    let Findings {
        mut violations,
        mut warnings,
        ..
    } = findings;
    sort(&mut violations);
    sort(&mut warnings);
    Decoded {
        value,
        violations,
        warnings,
        node,
        base,
    }
}

/// What a reader asks for, found out by letting it read nothing.
#[cfg(feature = "schema")]
pub(crate) fn shape_of<T>(read: impl FnOnce(Value<'_>) -> T) -> Shape {
    let mut shape = Shape::Any;
    read(Value {
        findings: &mut Findings {
            strictness: Strictness::Lenient,
            violations: Vec::new(),
            warnings: Vec::new(),
        },
        place: Place::Base(&FieldPath::default()),
        node: &NOTHING,
        shape: Some(&mut shape),
    });
    shape
}

const NOTHING: Node = Node {
    kind: Kind::Null,
    span: Span { line: 1, column: 1 },
};

/// A decoded value together with everything that was wrong; the value cannot be had without asking.
#[must_use]
pub struct Decoded<'n, T> {
    pub(super) value: T,
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<Violation>,
    node: &'n Node,
    base: FieldPath,
}

impl<T> Decoded<'_, T> {
    /// The value, if nothing was wrong.
    ///
    /// # Errors
    ///
    /// Every violation, in document order.
    pub fn into_result(self) -> Result<T, Violations> {
        match Violations::from_vec(self.violations) {
            None => Ok(self.value),
            Some(violations) => Err(violations),
        }
    }

    /// The value after a further check, whose violations are located in the document and reported
    /// together with those of decoding.
    ///
    /// A violation of the check at a field that could not even be decoded is left out: it would only
    /// repeat that the value is missing.
    ///
    /// # Errors
    ///
    /// Every violation of both, in document order.
    pub fn and_then<U>(
        self,
        check: impl FnOnce(T) -> Result<U, Violations>,
    ) -> Result<U, Violations> {
        let found = match check(self.value) {
            Ok(checked) => match Violations::from_vec(self.violations) {
                None => return Ok(checked),
                Some(violations) => return Err(violations),
            },
            Err(found) => found,
        };
        let known: HashSet<FieldPath> = self.violations.iter().map(|v| v.field.clone()).collect();
        let mut violations = self.violations;
        for mut violation in found.into_vec() {
            if !is_known(&known, &violation.field) {
                let place = || self.node.locate(&self.base, &violation.field);
                violation.span = Some(violation.span.unwrap_or_else(place));
                violations.push(violation);
            }
        }
        sort(&mut violations);
        Err(Violations(violations))
    }

    pub(crate) fn into_parts(self) -> (T, Vec<Violation>, Vec<Violation>) {
        (self.value, self.violations, self.warnings)
    }

    /// What is worth a look but not wrong, in document order; [`Strictness::Lenient`] puts unknown
    /// fields here.
    pub fn warnings(&self) -> &[Violation] {
        &self.warnings
    }

    /// What was wrong, in document order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl<'n, T> Decoded<'n, T> {
    /// A value that was decoded out of a whole document before.
    pub(crate) fn from_parts(value: T, violations: Vec<Violation>, root: &'n Node) -> Self {
        Self {
            value,
            violations,
            warnings: Vec::new(),
            node: root,
            base: FieldPath::default(),
        }
    }
}

/// Whether the field or one around it is in the set.
fn is_known(known: &HashSet<FieldPath>, field: &FieldPath) -> bool {
    let around = core::iter::successors(Some(field.clone()), FieldPath::parent);
    !known.is_empty() && around.into_iter().any(|field| known.contains(&field))
}

/// Document order; what has no place comes last.
fn sort(violations: &mut [Violation]) {
    violations.sort_by_key(|violation| (violation.span.is_none(), violation.span));
}

/// A value to be read as one type or another; reading a wrong type is a violation and gives `None`.
#[derive(Debug)]
pub struct Value<'a> {
    findings: &'a mut Findings,
    place: Place<'a>,
    node: &'a Node,
    /// Where to note what is asked for, if that is all that is wanted.
    shape: Option<&'a mut Shape>,
}

impl<'a> Value<'a> {
    /// The value as it was parsed.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// A text.
    pub fn text(mut self) -> Option<String> {
        if self.note(Shape::Text) {
            return None;
        }
        match &self.node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => {
                let found = self.node.describe();
                self.report(
                    ViolationKind::TypeInvalid,
                    format!("expected a text, found {found}; put it in quotes"),
                );
                None
            }
            _ => self.mismatch("a text"),
        }
    }

    /// A text that may be a secret: of anything else, only the type is told.
    pub fn secret_text(mut self) -> Option<String> {
        if self.note(Shape::Text) {
            return None;
        }
        match &self.node.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => self.mismatch_hidden("a text"),
        }
    }

    /// `true` or `false`.
    pub fn bool(mut self) -> Option<bool> {
        if self.note(Shape::Bool) {
            return None;
        }
        match self.node.kind {
            Kind::Bool(value) => Some(value),
            _ => self.mismatch("true or false"),
        }
    }

    /// A whole number.
    pub fn int(mut self) -> Option<i64> {
        if self.note(Shape::Int) {
            return None;
        }
        match self.node.kind {
            Kind::Int(value) => Some(value),
            _ => self.mismatch("an integer"),
        }
    }

    /// A map of known fields; a field that `read` does not ask for is unknown, and reported.
    pub fn object<T>(self, read: impl FnOnce(&mut Fields<'_>) -> T) -> Option<T> {
        let entries = match &self.node.kind {
            Kind::Map(entries) => entries.as_slice(),
            _ if self.shape.is_some() => &[],
            _ => return self.mismatch("a map"),
        };
        let mut fields = Fields {
            findings: self.findings,
            place: self.place,
            entries,
            span: self.node.span,
            asked: Vec::with_capacity(16),
            shape: self.shape.map(Shape::object),
        };
        let value = read(&mut fields);
        fields.report_unknown();
        Some(value)
    }

    /// A map of free names to values that `read` reads; what it cannot read is left out.
    pub fn map<T>(
        self,
        mut read: impl FnMut(&'a str, Value<'_>) -> Option<T>,
    ) -> Option<Vec<(String, T)>> {
        if let Some(shape) = self.shape {
            let value = Value {
                shape: Some(shape.map()),
                ..self
            };
            read("", value);
            return None;
        }
        let Kind::Map(entries) = &self.node.kind else {
            return self.mismatch("a map");
        };
        let mut map = Vec::with_capacity(entries.len());
        for entry in entries {
            let value = Value {
                findings: self.findings,
                place: Place::Key(&self.place, &entry.key),
                node: &entry.value,
                shape: None,
            };
            if let Some(value) = read(&entry.key, value) {
                map.push((entry.key.clone(), value));
            }
        }
        Some(map)
    }

    /// A list whose elements `read` reads; one it cannot read is left out.
    pub fn list<T>(self, mut read: impl FnMut(Value<'_>) -> Option<T>) -> Option<Vec<T>> {
        if let Some(shape) = self.shape {
            let value = Value {
                shape: Some(shape.list()),
                ..self
            };
            read(value);
            return None;
        }
        let Kind::List(elements) = &self.node.kind else {
            return self.mismatch("a list");
        };
        let mut list = Vec::with_capacity(elements.len());
        for (index, node) in elements.iter().enumerate() {
            list.extend(read(Value {
                findings: self.findings,
                place: Place::Index(&self.place, index),
                node,
                shape: None,
            }));
        }
        Some(list)
    }

    /// Notes what is asked for, if that is all that is wanted.
    fn note(&mut self, asked: Shape) -> bool {
        let shape = self.shape.take().map(|shape| *shape = asked);
        shape.is_some()
    }

    /// Reports something wrong with this value: what was found and what to change, without the
    /// field's name.
    pub fn report(self, kind: ViolationKind, message: impl Into<String>) {
        let violation = Violation::new(self.place.path(), kind, message);
        self.findings.violations.push(violation.at(self.node.span));
    }

    /// Reports something about this value that is worth a look but not wrong.
    pub fn warn(&mut self, kind: ViolationKind, message: impl Into<String>) {
        let violation = Violation::new(self.place.path(), kind, message);
        self.findings.warnings.push(violation.at(self.node.span));
    }

    /// Like [`mismatch`](Self::mismatch) for a value that may be a secret: only its type is told.
    pub fn mismatch_hidden<T>(self, expected: &str) -> Option<T> {
        let found = self.node.kind.name();
        self.report(
            ViolationKind::TypeInvalid,
            format!("expected {expected}, found {found}"),
        );
        None
    }

    /// Reports that the value is not `expected`, for example `"a list of texts"`.
    pub fn mismatch<T>(self, expected: &str) -> Option<T> {
        let found = self.node.describe();
        self.report(
            ViolationKind::TypeInvalid,
            format!("expected {expected}, found {found}"),
        );
        None
    }
}

/// The fields of a map, taken out by name; `null` is the same as an absent field.
#[derive(Debug)]
pub struct Fields<'a> {
    findings: &'a mut Findings,
    place: Place<'a>,
    entries: &'a [Entry],
    span: Span,
    asked: Vec<&'static str>,
    shape: Option<&'a mut Vec<(&'static str, Shape)>>,
}

/// Whether a value is `[...]`, which documentation writes for what it leaves out.
fn is_ellipsis(node: &Node) -> bool {
    matches!(&node.kind, Kind::List(list) if matches!(list.as_slice(), [one] if one.as_text() == Some("...")))
}

impl Fields<'_> {
    /// The field `name`, to be read in a way of its own.
    pub fn get(&mut self, name: &'static str) -> Option<Value<'_>> {
        let first = !self.asked.contains(&name);
        if first {
            self.asked.push(name);
        }
        let (node, shape) = match &mut self.shape {
            Some(fields) => (&NOTHING, Some(Shape::field(fields, name))),
            None => {
                let entry = self.entries.iter().find(|entry| entry.key == name)?;
                (&entry.value, None)
            }
        };
        if node.kind == Kind::Null && shape.is_none() {
            return None;
        }
        let lenient = self.findings.strictness == Strictness::Lenient;
        let left_out = lenient && is_ellipsis(node);
        let mut value = Value {
            findings: self.findings,
            place: Place::Field(&self.place, name),
            node,
            shape,
        };
        if left_out {
            if first {
                let message = "is left out as documentation does; write its value";
                value.warn(ViolationKind::TypeInvalid, message);
            }
            return None;
        }
        Some(value)
    }

    /// The field `name`; that it is absent is a violation.
    pub fn require(&mut self, name: &'static str) -> Option<Value<'_>> {
        let absent = self.get(name).is_none();
        if absent {
            self.report(name, ViolationKind::Required, "must be set");
            return None;
        }
        self.get(name)
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.get(name)?.text()
    }

    /// `true` or `false`.
    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        self.get(name)?.bool()
    }

    /// A whole number.
    pub fn int(&mut self, name: &'static str) -> Option<i64> {
        self.get(name)?.int()
    }

    /// A list of texts; empty if absent.
    #[allow(
        clippy::redundant_closure_for_method_calls,
        reason = "the method itself is not general enough in its lifetime"
    )]
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.list(name, |value| value.text())
    }

    /// A map of free names to texts; empty if absent.
    pub fn text_map(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let value = self.get(name);
        let map = value.and_then(|value| value.map(|_, value| value.text()));
        map.unwrap_or_default().into_iter().collect()
    }

    /// A list whose elements `read` reads; empty if absent.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        read: impl FnMut(Value<'_>) -> Option<T>,
    ) -> Vec<T> {
        let value = self.get(name);
        value.and_then(|value| value.list(read)).unwrap_or_default()
    }

    /// A map of known fields.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        self.get(name)?.object(read)
    }

    /// A list of maps of known fields; empty if absent.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Fields<'_>) -> T,
    ) -> Vec<T> {
        self.list(name, |value| value.object(&mut read))
    }

    /// Reports something wrong with the field `name`, also an absent one.
    pub fn report(&mut self, name: &str, kind: ViolationKind, message: impl Into<String>) {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        let span = entry.map_or(self.span, |entry| entry.value.span);
        let path = self.place.path().child(name);
        let violation = Violation::new(path, kind, message);
        self.findings.violations.push(violation.at(span));
    }

    /// Accepts every field that was not asked for, in both kinds of strictness.
    pub fn ignore_rest(&mut self) {
        self.entries = &[];
    }

    /// Reports something about the field `name` that is a violation in [`Strictness::Strict`] and a
    /// warning in [`Strictness::Lenient`].
    pub fn report_strict(&mut self, name: &str, kind: ViolationKind, message: impl Into<String>) {
        self.report(name, kind, message);
        let findings = &mut *self.findings;
        if findings.strictness == Strictness::Lenient {
            findings.warnings.extend(findings.violations.pop());
        }
    }

    fn report_unknown(&mut self) {
        for entry in self.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let message = match nearest(&entry.key, &self.asked) {
                Some(name) => format!("unknown field; did you mean {name}?"),
                None if self.asked.is_empty() => "unknown field; there are none here".to_owned(),
                None if self.asked.len() <= FEW => {
                    let known = self.asked.join(", ");
                    format!("unknown field; the fields here are {known}")
                }
                None => "unknown field; remove it or correct its name".to_owned(),
            };
            let path = self.place.path().child(entry.key.as_str());
            let violation = Violation::new(path, ViolationKind::UnknownField, message);
            let violation = violation.at(entry.key_span);
            match self.findings.strictness {
                Strictness::Lenient => self.findings.warnings.push(violation),
                Strictness::Strict => self.findings.violations.push(violation),
            }
        }
    }
}

#[derive(Debug)]
struct Findings {
    strictness: Strictness,
    violations: Vec<Violation>,
    warnings: Vec<Violation>,
}

/// A path on the stack; it becomes a [`FieldPath`] only when something is reported.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Base(&'a FieldPath),
    Field(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
    Key(&'a Place<'a>, &'a str),
}

impl Place<'_> {
    fn path(&self) -> FieldPath {
        match self {
            Self::Base(base) => (*base).clone(),
            Self::Field(parent, name) => parent.path().child(*name),
            Self::Index(parent, index) => parent.path().index(*index),
            Self::Key(parent, key) => parent.path().key(*key),
        }
    }
}

/// How many fields a message lists.
const FEW: usize = 10;

/// The known name that a mistyped one probably means: one that differs in case only, that one
/// starts with the other, or that is at most two edits away.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let close = |candidate: &str| {
        candidate.eq_ignore_ascii_case(name)
            || name.len() >= 4 && (candidate.starts_with(name) || name.starts_with(candidate))
            || name.len() >= 4 && name.len() < 64 && distance(name, candidate) <= 2
    };
    known.iter().copied().find(|candidate| close(candidate))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Format, parse};

    fn read(text: &str, strictness: Strictness) -> (Vec<String>, Vec<String>) {
        let document = parse(text, Format::Yaml).remove(0).unwrap();
        let decoded = decode(&document.root, FieldPath::default(), strictness, |root| {
            root.object(|fields| {
                fields.text("name");
                fields.texts("dnsNames");
                fields.require("size").and_then(Value::int);
                fields.text_map("labels");
                fields.objects("items", |item| item.bool("on"));
            })
        });
        let lines = |found: &[Violation]| found.iter().map(ToString::to_string).collect();
        (lines(decoded.violations()), lines(decoded.warnings()))
    }

    #[test]
    fn everything_wrong_is_reported_in_document_order() {
        let text = "items:\n- on: maybe\n- 3\n- extra: 1\nname: 7\nlabels: {a: b, c: [d]}\ndnsname: x\ndnsNames: y\n";
        let (violations, warnings) = read(text, Strictness::Strict);
        assert_eq!(
            violations,
            [
                "1:1: size: must be set",
                "2:7: items[0].on: expected true or false, found the text \"maybe\"",
                "3:3: items[1]: expected a map, found the integer 3",
                "4:3: items[2].extra: unknown field; the fields here are on",
                "5:7: name: expected a text, found the integer 7; put it in quotes",
                "6:19: labels[c]: expected a text, found a list",
                "7:1: dnsname: unknown field; did you mean dnsNames?",
                "8:11: dnsNames: expected a list, found the text \"y\"",
            ]
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_documentation_leaves_out_is_absent_when_lenient() {
        let text = "name: [...]\nsize: 1\n";
        let (lenient, warnings) = read(text, Strictness::Lenient);
        assert_eq!(lenient, [""; 0]);
        assert_eq!(
            warnings,
            ["1:7: name: is left out as documentation does; write its value"]
        );
        let (strict, _) = read(text, Strictness::Strict);
        assert_eq!(strict.len(), 1, "{strict:?}");
    }

    #[test]
    fn unknown_fields_are_warnings_when_lenient() {
        let (violations, warnings) = read("{size: 1, nme: x, name: null}", Strictness::Lenient);
        assert!(violations.is_empty(), "{violations:?}");
        assert_eq!(
            warnings,
            ["1:11: nme: unknown field; the fields here are name, dnsNames, size, labels, items"]
        );
    }

    #[test]
    fn a_check_adds_its_violations_at_their_places() {
        let text = "spec:\n  b: 1\n  list: [x, y]\n";
        let document = parse(text, Format::Yaml).remove(0).unwrap();
        let spec = document.root.get("spec").unwrap();
        let base = FieldPath::root("spec");
        let decoded = decode(spec, base.clone(), Strictness::Strict, |spec| {
            spec.object(|fields| {
                fields.text("b");
                fields.get("list");
            });
        });
        let result = decoded.and_then(|()| -> Result<(), Violations> {
            let kind = ViolationKind::Invalid;
            Err(Violations(vec![
                Violation::new(base.child("list").index(1), kind, "second"),
                Violation::new(base.child("b"), kind, "left out: known to be unreadable"),
                Violation::new(base.child("absent"), kind, "somewhere here"),
            ]))
        });
        assert_eq!(
            result.unwrap_err().to_string(),
            "2:3: spec.absent: somewhere here\n\
             2:6: spec.b: expected a text, found the integer 1; put it in quotes\n\
             3:13: spec.list[1]: second"
        );
    }
}
