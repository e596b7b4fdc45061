//! The versioned envelope around what is stored.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use thiserror::Error;

use crate::Value;

/// A stored record: what kind it is, the version of its form, and its fields.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use certwright_storage::Record;
///
/// #[derive(Serialize, Deserialize)]
/// struct Account { url: String }
///
/// let stored = br#"{"kind":"account","version":1,"data":{"url":"https://a","later":true}}"#;
/// let mut record = Record::decode(stored, "account", 1)?;
/// record.update(|account: &mut Account| account.url.push('b'))?;
/// let written = record.encode();
/// assert!(String::from_utf8_lossy(written.as_bytes()).contains(r#""later":true,"url":"https://ab""#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In JSON an object of `kind`, `version` and `data`. A new field is no new version:
/// whoever does not know it keeps it, in the envelope, in the data and in objects
/// inside; not in lists, whose items have no names to find them by. A new version is one that older readers would misunderstand; they refuse it.
#[derive(Clone, PartialEq)]
pub struct Record {
    kind: String,
    version: u32,
    data: Map<String, Json>,
    other: Map<String, Json>,
}

impl Record {
    /// A record of this kind and version with the fields of `data`.
    ///
    /// # Errors
    /// [`RecordError::Shape`] if `data` does not become a JSON object.
    pub fn new<T: Serialize>(kind: &str, version: u32, data: &T) -> Result<Self, RecordError> {
        Ok(Self {
            kind: kind.to_owned(),
            version,
            data: fields(kind, data)?,
            other: Map::new(),
        })
    }

    /// Reads a record of this kind, of this version or an older one.
    ///
    /// # Errors
    /// [`RecordError`] if it is something else.
    pub fn decode(bytes: &[u8], kind: &str, newest: u32) -> Result<Self, RecordError> {
        let mut other: Map<String, Json> =
            serde_json::from_slice(bytes).map_err(|error| RecordError::Syntax {
                kind: kind.to_owned(),
                line: error.line(),
                column: error.column(),
            })?;
        match other.remove("kind") {
            Some(Json::String(found)) if found == kind => {}
            found => {
                return Err(RecordError::Kind {
                    expected: kind.to_owned(),
                    found: found.and_then(|found| found.as_str().map(str::to_owned)),
                });
            }
        }
        let version = other.remove("version");
        let version = version.and_then(|version| u32::try_from(version.as_u64()?).ok());
        let version = version.ok_or_else(|| shape(kind, "version is no number of 32 bits"))?;
        if version > newest {
            return Err(RecordError::Newer {
                kind: kind.to_owned(),
                version,
                newest,
            });
        }
        let Some(Json::Object(data)) = other.remove("data") else {
            return Err(shape(kind, "data is no object"));
        };
        Ok(Self {
            kind: kind.to_owned(),
            version,
            data,
            other,
        })
    }

    /// The record in JSON.
    pub fn encode(&self) -> Value {
        let head = [
            ("kind".to_owned(), Json::from(self.kind.as_str())),
            ("version".to_owned(), Json::from(self.version)),
            ("data".to_owned(), Json::Object(self.data.clone())),
        ];
        let all: Map<String, Json> = head.into_iter().chain(self.other.clone()).collect();
        Json::Object(all).to_string().into_bytes().into()
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The version it was written in.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the record says.
    ///
    /// # Errors
    /// [`RecordError::Shape`] if a field of `T` is missing or of another type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, RecordError> {
        serde_json::from_value(Json::Object(self.data.clone()))
            .map_err(|error| shape(&self.kind, &without_value(&error.to_string())))
    }

    /// Changes what the record says, keeping the fields `T` does not know.
    ///
    /// # Errors
    /// [`RecordError::Shape`] as of [`Record::read`].
    pub fn update<T: Serialize + DeserializeOwned>(
        &mut self,
        change: impl FnOnce(&mut T),
    ) -> Result<(), RecordError> {
        let mut value: T = self.read()?;
        let known = fields(&self.kind, &value)?;
        change(&mut value);
        let mut next = fields(&self.kind, &value)?;
        keep_unknown(&self.data, &known, &mut next);
        self.data = next;
        Ok(())
    }
}

impl core::fmt::Debug for Record {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Names only: a field may be a private key.
        f.debug_struct("Record")
            .field("kind", &self.kind)
            .field("version", &self.version)
            .field("data", &self.data.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why bytes are not the record that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A record of another kind, or of none.
    #[error("expected a record of kind {expected}, found {}", .found.as_deref().unwrap_or("none"))]
    Kind {
        /// The kind that was asked for.
        expected: String,
        /// The kind there is.
        found: Option<String>,
    },
    /// Written by a later release, in a form this one would misunderstand.
    #[error("{kind} record of version {version}, this release reads up to {newest}; upgrade it")]
    Newer {
        /// The record's kind.
        kind: String,
        /// The record's version.
        version: u32,
        /// The newest that can be read.
        newest: u32,
    },
    /// JSON of another shape.
    #[error("{kind} record: {reason}")]
    Shape {
        /// The kind that was asked for.
        kind: String,
        /// What does not fit.
        reason: String,
    },
    /// No JSON object.
    #[error("{kind} record: no JSON object, see line {line} column {column}")]
    Syntax {
        /// The kind that was asked for.
        kind: String,
        /// Line of the first mistake, from 1.
        line: usize,
        /// Column of the first mistake.
        column: usize,
    },
}

fn shape(kind: &str, reason: &str) -> RecordError {
    RecordError::Shape {
        kind: kind.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The message without the value that did not fit, which may be a private key.
fn without_value(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((what, expected)) => {
            let what = what.split([':', '`']).next().unwrap_or_default();
            format!("{}, expected {expected}", what.trim_end())
        }
        None => message.to_owned(),
    }
}

fn fields<T: Serialize>(kind: &str, data: &T) -> Result<Map<String, Json>, RecordError> {
    match serde_json::to_value(data) {
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(_) => Err(shape(kind, "data is no object")),
        Err(error) => Err(shape(kind, &error.to_string())),
    }
}

/// Copies what is in `old` and not in `known` to `next`: the fields the type could not
/// have said itself.
fn keep_unknown(old: &Map<String, Json>, known: &Map<String, Json>, next: &mut Map<String, Json>) {
    for (name, old) in old {
        match (known.get(name), old) {
            (None, old) => {
                next.entry(name.clone()).or_insert_with(|| old.clone());
            }
            (Some(Json::Object(known)), Json::Object(old)) => {
                if let Some(Json::Object(next)) = next.get_mut(name) {
                    keep_unknown(old, known, next);
                }
            }
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<u32>,
        step: Step,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Step {
        name: String,
    }

    const STORED: &str = concat!(
        r#"{"kind":"order","version":1,"data":{"failed":3,"new":[1],"step":{"at":5,"name":"a"},"#,
        r#""url":"u"},"writer":"2.0"}"#
    );

    fn text(record: &Record) -> String {
        String::from_utf8(record.encode().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn unknown_fields_stay_and_removed_ones_go() {
        let mut record = Record::decode(STORED.as_bytes(), "order", 1).unwrap();
        record
            .update(|order: &mut Order| {
                order.failed = None;
                order.step.name = "b".to_owned();
            })
            .unwrap();
        let expected = concat!(
            r#"{"kind":"order","version":1,"data":{"url":"u","step":{"name":"b","at":5},"new":[1]},"#,
            r#""writer":"2.0"}"#
        );
        let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        assert_eq!(json(&text(&record)), json(expected));
    }

    #[test]
    fn encoding_and_decoding_are_inverse() {
        let record = Record::decode(STORED.as_bytes(), "order", 1).unwrap();
        let again = Record::decode(record.encode().as_bytes(), "order", 1).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (stored, expected) in [
            ("[]", "order record: no JSON object, see line 1 column 0"),
            ("{\n!", "order record: no JSON object, see line 2 column 1"),
            ("{}", "expected a record of kind order, found none"),
            (
                r#"{"kind":"account"}"#,
                "expected a record of kind order, found account",
            ),
            (
                r#"{"kind":"order","version":-1}"#,
                "order record: version is no number of 32 bits",
            ),
            (
                r#"{"kind":"order","version":2,"data":{}}"#,
                "order record of version 2, this release reads up to 1; upgrade it",
            ),
            (
                r#"{"kind":"order","version":1,"data":[]}"#,
                "order record: data is no object",
            ),
        ] {
            let error = Record::decode(stored.as_bytes(), "order", 1).unwrap_err();
            assert_eq!(error.to_string(), expected, "{stored}");
        }
        let record = Record::decode(br#"{"kind":"order","version":1,"data":{}}"#, "order", 1);
        let error = record.unwrap().read::<Order>().unwrap_err();
        assert_eq!(error.to_string(), "order record: missing field `url`");
    }

    #[test]
    fn errors_show_no_values() {
        let data = r#"{"url":"u","failed":"secret, expected 3","step":{"name":"n"}}"#;
        let stored = format!(r#"{{"kind":"order","version":1,"data":{data}}}"#);
        let record = Record::decode(stored.as_bytes(), "order", 1).unwrap();
        let error = record.read::<Order>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "order record: invalid type, expected u32"
        );
        let data = r#"{"url":"u","step":"secret"}"#;
        let stored = format!(r#"{{"kind":"order","version":1,"data":{data}}}"#);
        let record = Record::decode(stored.as_bytes(), "order", 1).unwrap();
        let error = record.read::<Order>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn debug_shows_names_only() {
        let record = Record::new(
            "key",
            1,
            &Step {
                name: "secret".to_owned(),
            },
        )
        .unwrap();
        assert!(!format!("{record:?}").contains("secret"));
    }
}
