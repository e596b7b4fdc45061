//! Instants in records: RFC 3339, in UTC.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

pub(crate) fn serialize<S: Serializer>(
    instant: &OffsetDateTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::ser::Error;
    let text = instant.to_offset(UtcOffset::UTC).format(&Rfc3339);
    serializer.serialize_str(&text.map_err(S::Error::custom)?)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<OffsetDateTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = "a time like 2026-01-31T12:00:00Z";
    OffsetDateTime::parse(&text, &Rfc3339)
        .map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), &expected))
}

/// The same where there may be none.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, OffsetDateTime, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        instant: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match instant {
            Some(instant) => super::serialize(instant, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        #[derive(Deserialize)]
        struct Instant(#[serde(with = "super")] OffsetDateTime);
        let read = Option::<Instant>::deserialize(deserializer)?;
        Ok(read.map(|Instant(instant)| instant))
    }
}
