use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::Metadata;
use crate::document::{Decoded, Kind, Node, Strictness, Value, decode as decode_node};
use crate::secret::TlsSecret;
use crate::violation::{FieldPath, ViolationKind, Violations};

/// Reads a Secret that has a name.
pub(super) fn read(node: &Node, strictness: Strictness) -> Result<TlsSecret, Violations> {
    decode(node, strictness).and_then(|secret| match secret.name.as_str() {
        "" => Err(Violations(vec![super::unnamed(node)])),
        _ => Ok(secret),
    })
}

/// Reads a Secret: `data` is base64, with line breaks allowed, `stringData` is text and wins.
#[allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the method itself is not general enough in its lifetime"
)]
fn decode(node: &Node, strictness: Strictness) -> Decoded<'_, TlsSecret> {
    decode_node(node, FieldPath::default(), strictness, |root| {
        root.object(|fields| {
            let metadata = Metadata::fields(fields, "v1");
            let mut secret = TlsSecret::new(metadata.namespace, metadata.name);
            secret.annotations = metadata.annotations;
            secret.labels = metadata.labels;
            if let Some(kind) = fields.text("type") {
                secret.kind = kind;
            }
            fields.bool("immutable");
            let data = fields.get("data");
            let data = data.and_then(|data| map(data, bytes));
            for (key, bytes) in data.unwrap_or_default() {
                secret.insert(key, bytes);
            }
            let texts = fields.get("stringData");
            let texts = texts.and_then(|texts| map(texts, |text| text.secret_text()));
            for (key, text) in texts.unwrap_or_default() {
                secret.insert(key, text.into_bytes());
            }
            secret
        })
        .unwrap_or_default()
    })
}

/// What stands in the place of the map may be the secret itself.
fn map<T>(value: Value<'_>, read: impl Fn(Value<'_>) -> Option<T>) -> Option<Vec<(String, T)>> {
    match value.node().kind {
        Kind::Map(_) => value.map(|_, value| read(value)),
        _ => value.mismatch_hidden("a map"),
    }
}

fn bytes(value: Value<'_>) -> Option<Vec<u8>> {
    let Some(text) = value.node().as_text() else {
        // The kind of the value may be told, the value itself may be a secret.
        return value.mismatch_hidden("base64 text");
    };
    let blank = |b: &u8| b.is_ascii_whitespace();
    let mut clean = Zeroizing::new(Vec::with_capacity(text.len()));
    for (offset, byte) in text.bytes().enumerate() {
        if blank(&byte) {
            continue;
        }
        if !(byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)) {
            value.report(
                ViolationKind::Invalid,
                format!("is not base64: unexpected character at byte {offset}"),
            );
            return None;
        }
        clean.push(byte);
    }
    let mut decoded = Zeroizing::new(vec![0; clean.len() / 4 * 3]);
    match Base64::decode(clean.as_slice(), &mut decoded) {
        Ok(bytes) => {
            let length = bytes.len();
            decoded.truncate(length);
            Some(core::mem::take(&mut decoded))
        }
        Err(_) => {
            value.report(
                ViolationKind::Invalid,
                format!(
                    "is not base64: its {} characters do not form whole groups of four with '=' only at the end",
                    clean.len()
                ),
            );
            None
        }
    }
}
