//! Values with a grammar of their own.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_cert_model::document::{Fields, Kind, Value};
use certwright_cert_model::name::{Email, Uri};
use certwright_cert_model::{GoDuration, ViolationKind};
use zeroize::Zeroizing;

use super::LETS_ENCRYPT;

/// A Go duration, or whole seconds with or without quotes.
fn go_duration(value: Value<'_>) -> Option<GoDuration> {
    let seconds = |seconds: i64| {
        seconds
            .checked_mul(1_000_000_000)
            .map(GoDuration::from_nanos)
    };
    let parsed = match &value.node().kind {
        Kind::Int(number) => seconds(*number).ok_or_else(|| "is too long".to_owned()),
        Kind::Text(text) => match text.parse::<i64>() {
            Ok(number) => seconds(number).ok_or_else(|| "is too long".to_owned()),
            Err(_) => text.parse().map_err(|error| format!("{text:?}: {error}")),
        },
        _ => return value.mismatch("a duration like 30s, or whole seconds"),
    };
    match parsed {
        Ok(duration) => Some(duration),
        Err(message) => {
            value.report(ViolationKind::Invalid, message);
            None
        }
    }
}

/// A pause: nothing, zero and less are none.
pub(super) fn pause(fields: &mut Fields<'_>, name: &'static str) -> Duration {
    let duration = fields.get(name).and_then(go_duration);
    duration
        .map(GoDuration::as_nanos)
        .map_or(Duration::ZERO, nanos)
}

/// A time limit, which every request has.
pub(super) fn timeout(fields: &mut Fields<'_>, name: &'static str, default: Duration) -> Duration {
    let Some(duration) = fields.get(name).and_then(go_duration) else {
        return default;
    };
    if duration.as_nanos() <= 0 {
        let message = "must be longer than zero: no request goes without a limit";
        fields.report(name, ViolationKind::Invalid, message);
        return default;
    }
    nanos(duration.as_nanos())
}

fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// A text that is not empty.
pub(super) fn filled(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    fields.text(name).filter(|text| !text.is_empty())
}

pub(super) fn email(value: Value<'_>) -> Option<Email> {
    let Some(text) = value.node().as_text().map(str::to_owned) else {
        return value.mismatch("an e-mail address");
    };
    match text.parse() {
        Ok(email) => Some(email),
        Err(error) => {
            value.report(ViolationKind::Invalid, format!("{text:?}: {error}"));
            None
        }
    }
}

/// The URL of a directory: HTTPS (RFC 8555, section 6.1), or HTTP to this machine, for tests.
pub(super) fn directory(mut value: Value<'_>) -> Option<String> {
    let Some(text) = value.node().as_text().map(str::to_owned) else {
        return value.mismatch("the URL of a CA's directory");
    };
    if text.starts_with("https://acme-v01.api.letsencrypt.org") {
        let message = format!("this version of the protocol is no more; {LETS_ENCRYPT} is asked");
        value.warn(ViolationKind::NotSupported, message);
        return Some(LETS_ENCRYPT.to_owned());
    }
    let uri = match text.parse::<Uri>() {
        Ok(uri) => uri,
        Err(error) => {
            value.report(ViolationKind::Invalid, format!("{text:?}: {error}"));
            return None;
        }
    };
    let host = uri.host().filter(|host| !host.is_empty());
    let scheme = uri.scheme().to_ascii_lowercase();
    let plain = scheme == "http" && host.is_some_and(is_loopback);
    if host.is_none() || !(scheme == "https" || plain) || text.contains(['@', '#']) {
        let message = format!("{text:?} is no directory's URL; write one like {LETS_ENCRYPT}");
        value.report(ViolationKind::Invalid, message);
        return None;
    }
    if plain {
        value.warn(
            ViolationKind::Invalid,
            "is not encrypted; only tests may do that",
        );
    }
    Some(text)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse::<core::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The key of an external account: base64url. Padding is refused, or accepted when lenient.
pub(super) fn hmac(fields: &mut Fields<'_>, name: &'static str) -> Option<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(fields.require(name)?.secret_text()?);
    let stripped = text.trim_end_matches('=');
    let mistake = if stripped.is_empty() {
        Some("must be set")
    } else if stripped.contains(['+', '/']) {
        Some("must be base64url: write - for + and _ for /")
    } else {
        None
    };
    let decoded = Base64UrlUnpadded::decode_vec(stripped).ok();
    let mistake = match (mistake, &decoded) {
        (None, None) => Some("must be base64url without padding"),
        (mistake, _) => mistake,
    };
    if let Some(mistake) = mistake {
        fields.report(name, ViolationKind::Invalid, mistake);
        return None;
    }
    if stripped.len() < text.len() {
        fields.report_strict(
            name,
            ViolationKind::Invalid,
            "must have no padding: remove the = at its end",
        );
    }
    decoded.map(Zeroizing::new)
}
