//! etcd's messages in the JSON of its gateway: bytes in base64, 64-bit numbers as text,
//! what is zero left out.

use core::fmt;

use base64ct::{Base64, Encoding};
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Revision;

/// A condition on one key of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// The revision that created it is this; 0 if it is absent.
    Created(u64),
    /// The revision that wrote it last is this.
    Modified(u64),
}

/// Everything from a key to another, or the key alone.
pub(super) struct Range<'a> {
    pub(super) key: &'a [u8],
    pub(super) end: Option<&'a [u8]>,
    pub(super) revision: Option<Revision>,
    pub(super) limit: usize,
}

pub(super) fn range(range: &Range<'_>) -> String {
    let mut text = format!("{{\"key\":\"{}\"", base64(range.key));
    if let Some(end) = range.end {
        text += &format!(",\"range_end\":\"{}\"", base64(end));
    }
    if let Some(revision) = range.revision {
        text += &format!(",\"revision\":\"{revision}\"");
    }
    text + &format!(",\"limit\":\"{}\"}}", range.limit)
}

/// A transaction, in the making: comparisons first, then writes. It may hold private
/// keys.
pub(super) struct TxnText {
    text: Zeroizing<Vec<u8>>,
    failure: String,
    last: Last,
    /// For the writes; made before the first of them, because growing leaves copies.
    room: usize,
}

/// What a transaction's text ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Begin,
    Compare,
    Write,
}

impl TxnText {
    /// A transaction that will write about so many bytes.
    pub(super) fn new(len: usize) -> Self {
        Self {
            text: Zeroizing::new(b"{\"compare\":[".to_vec()),
            failure: String::new(),
            last: Last::Begin,
            room: len * 4 / 3 + 128,
        }
    }

    /// Only if; and if not, the answer says how it is.
    pub(super) fn compare(&mut self, key: &[u8], compare: Compare) {
        let key = base64(key);
        let (target, field, number) = match compare {
            Compare::Created(number) => ("CREATE", "create_revision", number),
            Compare::Modified(number) => ("MOD", "mod_revision", number),
        };
        let comma = if self.last == Last::Compare { "," } else { "" };
        self.last = Last::Compare;
        self.push(&format!(
            "{comma}{{\"key\":\"{key}\",\"target\":\"{target}\",\"result\":\"EQUAL\",\"{field}\":\"{number}\"}}"
        ));
        self.failure +=
            &format!("{comma}{{\"request_range\":{{\"key\":\"{key}\",\"keys_only\":true}}}}");
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8], lease: u64) {
        self.next();
        self.push("{\"request_put\":{\"key\":\"");
        self.push_base64(key);
        self.push("\",\"value\":\"");
        self.push_base64(value);
        self.push(&format!("\",\"lease\":\"{lease}\"}}}}"));
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.next();
        self.push("{\"request_delete_range\":{\"key\":\"");
        self.push_base64(key);
        self.push("\"}}");
    }

    pub(super) fn finish(mut self) -> Zeroizing<Vec<u8>> {
        if self.last != Last::Write {
            self.push("],\"success\":[");
        }
        self.push("],\"failure\":[");
        let failure = core::mem::take(&mut self.failure);
        self.push(&failure);
        self.push("]}");
        self.text
    }

    fn next(&mut self) {
        if self.last == Last::Write {
            return self.push(",");
        }
        self.text.reserve(self.room + self.failure.len());
        self.push("],\"success\":[");
        self.last = Last::Write;
    }

    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// In place: a value is nowhere else.
    fn push_base64(&mut self, bytes: &[u8]) {
        let start = self.text.len();
        self.text.resize(start + Base64::encoded_len(bytes), 0);
        let encoded = Base64::encode(bytes, &mut self.text[start..]);
        debug_assert!(encoded.is_ok(), "the room is as long as the text");
    }
}

pub(super) fn watch(key: &[u8], end: &[u8], start: Revision) -> String {
    let (key, end) = (base64(key), base64(end));
    format!(
        "{{\"create_request\":{{\"key\":\"{key}\",\"range_end\":\"{end}\",\"start_revision\":\"{start}\",\"progress_notify\":true,\"fragment\":true}}}}"
    )
}

pub(super) fn grant(seconds: u64) -> String {
    format!("{{\"TTL\":\"{seconds}\"}}")
}

pub(super) fn lease(id: u64) -> String {
    format!("{{\"ID\":\"{id}\"}}")
}

#[derive(Serialize)]
pub(super) struct Authenticate<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

/// Reads an answer; or what does not fit, without a word of its contents.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        format!(
            "not the JSON that was expected, see column {}",
            error.column()
        )
    })
}

/// Who answers, and the revision of the whole store; every answer has one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

#[derive(Deserialize)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Zeroizing<Vec<u8>>,
    #[serde(default, deserialize_with = "bytes")]
    pub(super) value: Zeroizing<Vec<u8>>,
    #[serde(default, deserialize_with = "number")]
    pub(super) create_revision: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) lease: u64,
}

#[derive(Deserialize)]
pub(super) struct RangeAnswer {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
    #[serde(default)]
    pub(super) more: bool,
}

#[derive(Deserialize)]
pub(super) struct TxnAnswer {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<OpAnswer>,
}

#[derive(Deserialize)]
pub(super) struct OpAnswer {
    #[serde(default)]
    pub(super) response_range: Option<FoundAnswer>,
}

#[derive(Deserialize)]
pub(super) struct FoundAnswer {
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
pub(super) struct LeaseAnswer {
    #[serde(default, rename = "ID", deserialize_with = "number")]
    pub(super) id: u64,
    #[serde(default, rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: u64,
}

/// One message of a stream.
#[derive(Deserialize)]
pub(super) struct Streamed<T> {
    pub(super) result: Option<T>,
    #[serde(default)]
    pub(super) error: Option<ErrorAnswer>,
}

#[derive(Deserialize)]
pub(super) struct WatchAnswer {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) cancel_reason: String,
    /// The events go on in the next message.
    #[serde(default)]
    pub(super) fragment: bool,
    #[serde(default, deserialize_with = "number")]
    pub(super) compact_revision: u64,
    #[serde(default)]
    pub(super) events: Vec<WatchEvent>,
}

#[derive(Deserialize)]
pub(super) struct WatchEvent {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) kv: KeyValue,
}

#[derive(Deserialize)]
pub(super) struct Authenticated {
    #[serde(default)]
    pub(super) token: String,
}

/// What was refused, by gRPC's code.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ErrorAnswer {
    #[serde(default, alias = "grpc_code")]
    pub(super) code: u32,
    #[serde(default)]
    pub(super) message: String,
}

/// Every kind of answer, read from the same bytes.
///
/// # Panics
/// If one is not read as it was written.
#[cfg(any(
    fuzzing,
    all(feature = "conformance", feature = "etcd", feature = "file")
))]
pub fn fuzz(bytes: &[u8]) {
    let _ = read::<RangeAnswer>(bytes);
    let _ = read::<TxnAnswer>(bytes);
    let _ = read::<Streamed<WatchAnswer>>(bytes);
    let _ = read::<Streamed<LeaseAnswer>>(bytes);
    let _ = read::<LeaseAnswer>(bytes);
    let _ = read::<Authenticated>(bytes);
    let _ = read::<ErrorAnswer>(bytes);
    if let Ok(answer) = read::<RangeAnswer>(bytes) {
        for kv in answer.kvs {
            assert_eq!(
                Base64::decode_vec(&base64(&kv.value)).as_deref(),
                Ok(&kv.value[..])
            );
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// A number, as text or as such.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Number)
}

struct Number;

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 64 bits")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        text.parse().map_err(E::custom)
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    let bytes = Base64::decode_vec(&text).map_err(D::Error::custom)?;
    Ok(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let mut txn = TxnText::new(8);
        txn.compare(b"a", Compare::Created(0));
        txn.put(b"a", b"b", 0);
        txn.delete(b"c");
        let expected = concat!(
            r#"{"compare":[{"key":"YQ==","target":"CREATE","result":"EQUAL","create_revision":"0"}],"#,
            r#""success":[{"request_put":{"key":"YQ==","value":"Yg==","lease":"0"}},"#,
            r#"{"request_delete_range":{"key":"Yw=="}}],"#,
            r#""failure":[{"request_range":{"key":"YQ==","keys_only":true}}]}"#
        );
        assert_eq!(String::from_utf8_lossy(&txn.finish()), expected);
        let nothing = TxnText::new(0).finish();
        assert_eq!(&nothing[..], br#"{"compare":[],"success":[],"failure":[]}"#);
        let mut guards = TxnText::new(0);
        guards.compare(b"a", Compare::Modified(1));
        guards.compare(b"b", Compare::Modified(2));
        let text: serde_json::Value = serde_json::from_slice(&guards.finish()).unwrap();
        assert_eq!(text["compare"][1]["mod_revision"], "2");
        assert_eq!(text["failure"][1]["request_range"]["key"], "Yg==");
        assert_eq!(text["success"], serde_json::json!([]));
    }

    #[test]
    fn answers() {
        let answer: RangeAnswer = read(
            br#"{"header":{"revision":"7"},"kvs":[{"key":"YQ==","mod_revision":5}],"count":"1"}"#,
        )
        .unwrap();
        let kv = &answer.kvs[0];
        assert_eq!((answer.header.revision, &kv.key[..]), (7, &b"a"[..]));
        assert_eq!(
            (kv.mod_revision, kv.value.len(), answer.more),
            (5, 0, false)
        );
        for nothing in ["{}", r#"{"kvs":[]}"#] {
            assert!(read::<RangeAnswer>(nothing.as_bytes()).is_err());
        }
        let error = read::<RangeAnswer>(br#"{"kvs":[{"key":"!secret"}]}"#)
            .err()
            .unwrap();
        assert!(
            error.starts_with("not the JSON") && !error.contains("secret"),
            "{error}"
        );
        assert!(read::<LeaseAnswer>(br#"{"TTL":"-1"}"#).is_err());
    }
}
