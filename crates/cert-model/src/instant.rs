//! Instants as Kubernetes writes them: RFC 3339, in UTC, to the second.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Reads RFC 3339 with any offset.
#[cfg_attr(not(any(feature = "documents", feature = "serde")), allow(dead_code))]
pub(crate) fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Writes RFC 3339; `None` for years beyond four digits, which it cannot write.
#[cfg_attr(not(feature = "serde"), allow(dead_code))]
pub(crate) fn format(instant: OffsetDateTime) -> Option<String> {
    let instant = instant
        .to_offset(UtcOffset::UTC)
        .replace_nanosecond(0)
        .ok()?;
    instant.format(&Rfc3339).ok()
}

#[cfg(feature = "serde")]
pub(crate) fn serialize<S: serde::Serializer>(
    instant: &Option<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::ser::Error;
    match instant.map(format) {
        None => serializer.serialize_none(),
        Some(Some(text)) => serializer.serialize_str(&text),
        Some(None) => Err(S::Error::custom("RFC 3339 has no years beyond 9999")),
    }
}

#[cfg(feature = "serde")]
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OffsetDateTime>, D::Error> {
    use serde::Deserialize;
    use serde::de::{Error, Unexpected};
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let expected = "a time like 2026-01-31T12:00:00Z";
    let instant = parse(&text);
    let wrong = || D::Error::invalid_value(Unexpected::Str(&text), &expected);
    instant.ok_or_else(wrong).map(Some)
}
