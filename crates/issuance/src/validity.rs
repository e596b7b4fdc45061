//! Validity periods: seconds since 1970, and the two ASN.1 time types (RFC 5280, 4.1.2.5).

use time::OffsetDateTime;

use crate::decode::{DerError, Element, GENERALIZED_TIME, Reader, UTC_TIME};
use crate::encode::Writer;

/// From when to when a certificate is valid, in seconds since 1970-01-01T00:00:00Z; both seconds
/// belong to the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z, which means "no end" (RFC 5280, 4.1.2.5).
const RANGE: core::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Validity {
    pub(crate) fn contains(&self, now: OffsetDateTime) -> bool {
        (self.not_before..=self.not_after).contains(&now.unix_timestamp())
    }

    /// Reads the two times of a Validity SEQUENCE.
    pub(crate) fn read(mut times: Reader<'_>) -> Result<Self, DerError> {
        let not_before = read_time(&mut times)?;
        let not_after = read_time(&mut times)?;
        times.finish()?;
        Ok(Self {
            not_before,
            not_after,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.nest(crate::decode::SEQUENCE, |w| {
            write_time(w, self.not_after);
            write_time(w, self.not_before);
        });
    }
}

/// An instant for messages and callers; one outside the years 0 to 9999 cannot come out of a
/// certificate.
pub(crate) fn instant(seconds: i64) -> OffsetDateTime {
    let seconds = seconds.clamp(*RANGE.start(), *RANGE.end());
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Whether a certificate can carry this instant.
pub(crate) fn is_encodable(seconds: i64) -> bool {
    RANGE.contains(&seconds)
}

fn read_time(reader: &mut Reader<'_>) -> Result<i64, DerError> {
    let element = reader.any()?;
    let wrong = DerError {
        at: element.start,
        problem: "expected a time like YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ",
    };
    parse(&element, reader.input()).ok_or(wrong)
}

fn parse(element: &Element, input: &[u8]) -> Option<i64> {
    let digits = element.content(input).strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (element.tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &digits[2..],
            )
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let mut pairs = rest.chunks(2).map(number);
    let mut next = || pairs.next().and_then(|pair| u8::try_from(pair).ok());
    let (month, day) = (next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let month = time::Month::try_from(month).ok()?;
    let date = time::Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?;
    Some(
        date.with_hms(hour, minute, second)
            .ok()?
            .assume_utc()
            .unix_timestamp(),
    )
}

/// UTCTime from 1950 to 2049, GeneralizedTime elsewhere.
pub(crate) fn write_time(writer: &mut Writer, seconds: i64) {
    let time = instant(seconds);
    let year = time.year().unsigned_abs();
    let digits = |value: u32| {
        [
            b'0' + (value / 10 % 10).to_le_bytes()[0],
            b'0' + (value % 10).to_le_bytes()[0],
        ]
    };
    let mark = writer.len();
    writer.bytes(b"Z");
    for value in [
        time.second(),
        time.minute(),
        time.hour(),
        time.day(),
        u8::from(time.month()),
    ] {
        writer.bytes(&digits(u32::from(value)));
    }
    writer.bytes(&digits(year % 100));
    if (1950..2050).contains(&year) {
        writer.close(UTC_TIME, mark);
    } else {
        writer.bytes(&digits(year / 100));
        writer.close(GENERALIZED_TIME, mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_change_their_type_in_2050() {
        for (seconds, text) in [
            (0, "700101000000Z"),
            (2_524_607_999, "491231235959Z"),
            (2_524_608_000, "20500101000000Z"),
            (-631_152_000, "500101000000Z"),
            (-631_152_001, "19491231235959Z"),
            (253_402_300_799, "99991231235959Z"),
        ] {
            let mut writer = Writer::with_capacity(20);
            write_time(&mut writer, seconds);
            assert_eq!(&writer.written()[2..], text.as_bytes());
            assert_eq!(read_time(&mut Reader::new(writer.written())), Ok(seconds));
        }
    }

    #[test]
    fn sloppy_times_are_refused() {
        for text in [
            "7001010000Z",
            "700101000000",
            "700101000000+0000",
            "701301000000Z",
            "700101000060Z",
        ] {
            let der = crate::encode::element(UTC_TIME, text.as_bytes());
            assert!(read_time(&mut Reader::new(&der)).is_err(), "{text}");
        }
    }
}
