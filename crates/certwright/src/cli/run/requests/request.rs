//! What was asked for, as it is written down.

use core::fmt::Write as _;

use aws_lc_rs::digest;
use certwright::ResourceName;
use certwright::annotation::STARTED_AT;
use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::TLS_KEY;
use certwright_issuance::KeyPair;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Failed;
use crate::cli::get::issued_at;

/// Somebody asked for a new certificate.
///
/// Written down it is `AT SECRET`, and if there is more to say U+0000 and words for it. Versions before there was more take
/// everything behind the first blank for the Secret's name. They would renew what was to have a new key, and call it done;
/// U+0000 is in no name, neither of a directory nor of etcd, so that they say that they cannot look there, and leave the
/// request to a version that knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) certificate: ResourceName,
    /// The name of the Secret that is to hold it.
    pub(crate) secret: String,
    /// When somebody asked last, by the clock of who asked.
    pub(crate) at: OffsetDateTime,
    /// The key that is to go, by [its name](key_of): empty if there was none. `None` leaves keys to `rotationPolicy`.
    pub(crate) old_key: Option<String>,
    /// Whether nobody is to trust an earlier certificate of this CA any more.
    pub(crate) drop_old_anchors: bool,
    /// When the process that issues took it in hand, by its own clock: what it began before is no answer. Clocks of two
    /// machines are never compared.
    pub(super) taken: Option<OffsetDateTime>,
}

const OLD_KEY: &str = "old-key=";
const DROP: &str = "drop-old-anchors";
const TAKEN: &str = "taken=";
/// An instant that is further ahead comes from a wrong clock, as plans see it.
const AHEAD: Duration = Duration::HOUR;

impl Request {
    /// For the certificate in this Secret, now.
    pub(crate) fn new(certificate: ResourceName, secret: String, at: OffsetDateTime) -> Self {
        Self {
            certificate,
            secret,
            at,
            old_key: None,
            drop_old_anchors: false,
            taken: None,
        }
    }

    pub(super) fn to_text(&self) -> Result<String, Failed> {
        let mut text = format!("{} {}", self.at.format(&Rfc3339)?, self.secret);
        let mut words = Vec::new();
        words.extend(self.old_key.iter().map(|key| format!("{OLD_KEY}{key}")));
        words.extend(self.drop_old_anchors.then(|| DROP.to_owned()));
        if let Some(taken) = self.taken {
            words.push(format!("{TAKEN}{}", taken.format(&Rfc3339)?));
        }
        if !words.is_empty() {
            write!(text, "\0{}", words.join(" "))?;
        }
        text.push('\n');
        Ok(text)
    }

    /// What was written down; an error if this version does not know all of it.
    pub(super) fn read(certificate: &ResourceName, text: &str) -> Result<Self, Failed> {
        Self::parse(certificate, text).ok_or_else(|| {
            let what = "cannot be read; a newer version may have written it";
            format!("what was asked for Certificate {certificate} {what}").into()
        })
    }

    fn parse(certificate: &ResourceName, text: &str) -> Option<Self> {
        let instant = |text| OffsetDateTime::parse(text, &Rfc3339).ok();
        let (text, words) = text
            .trim_end()
            .split_once('\0')
            .unwrap_or((text.trim_end(), ""));
        let (at, secret) = text.split_once(' ')?;
        let mut request = Self::new(certificate.clone(), secret.to_owned(), instant(at)?);
        for word in words.split_ascii_whitespace() {
            if let Some(key) = word.strip_prefix(OLD_KEY) {
                request.old_key = Some(key.to_owned());
            } else if let Some(taken) = word.strip_prefix(TAKEN) {
                request.taken = Some(instant(taken)?);
            } else if word == DROP {
                request.drop_old_anchors = true;
            } else {
                return None;
            }
        }
        Some(request)
    }

    /// The same with all that was asked for before: who asks for less later does not take it back.
    pub(super) fn and(self, before: Option<Self>) -> Self {
        let Some(before) = before else {
            return self;
        };
        Self {
            at: self.at.max(before.at),
            old_key: self.old_key.or(before.old_key),
            drop_old_anchors: self.drop_old_anchors || before.drop_old_anchors,
            ..self
        }
    }

    /// The same, taken in hand while this Secret is there: its certificate is no answer either, by whatever clock it was
    /// issued.
    pub(super) fn take(&self, secret: Option<&TlsSecret>, now: OffsetDateTime) -> Self {
        let issued = secret.and_then(issued_at);
        let issued = issued.filter(|at| *at <= now.saturating_add(AHEAD));
        let after = issued.map(|at| at.saturating_add(Duration::NANOSECOND));
        Self {
            taken: after.max(Some(now)),
            ..self.clone()
        }
    }

    /// Whether this Secret's certificate is what was asked for: begun after the request was taken in hand, and for another
    /// key if that was asked for.
    pub(super) fn is_answered(&self, secret: Option<&TlsSecret>, now: OffsetDateTime) -> bool {
        let (Some(taken), Some(secret)) = (self.taken, secret) else {
            return false;
        };
        let started = secret.annotations.get(STARTED_AT);
        let started = started.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
        started.is_some_and(|at| taken <= at && at <= now.saturating_add(AHEAD))
            && self.has_new_key(secret)
    }

    /// Whether the key that was to go is gone from this Secret, if one was to.
    pub(crate) fn has_new_key(&self, secret: &TlsSecret) -> bool {
        let is_new = |old: &String| key_of(secret).is_some_and(|key| key != *old);
        self.old_key.as_ref().is_none_or(is_new)
    }
}

/// What tells a Secret's key from others: the SHA-256 of the public one, in hexadecimal. `None` if there is none that can be
/// read, and so none that anybody would use again.
pub(crate) fn key_of(secret: &TlsSecret) -> Option<String> {
    let key = KeyPair::from_pem(secret.get(TLS_KEY)?).ok()?;
    let digest = digest::digest(&digest::SHA256, key.public_key().spki_der());
    let pairs = digest.as_ref().iter().map(|octet| format!("{octet:02x}"));
    Some(pairs.collect())
}

#[cfg(test)]
mod tests {
    use certwright::SecretDir;
    use certwright::annotation::ISSUED_AT;
    use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
    use certwright_storage::Key;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:00.000000001 UTC);

    fn web() -> ResourceName {
        ResourceName::new("shop", "web")
    }

    fn request() -> Request {
        Request::new(web(), "web-tls".to_owned(), NOW)
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        let plain = request();
        assert_eq!(
            plain.to_text().unwrap(),
            "2026-03-01T12:00:00.000000001Z web-tls\n"
        );
        let mut all = request();
        (all.old_key, all.drop_old_anchors) = (Some("ab".to_owned()), true);
        let mut none = all.clone();
        none.old_key = Some(String::new());
        for request in [plain, all.take(None, NOW), all, none] {
            let text = request.to_text().unwrap();
            assert_eq!(Request::read(&web(), &text).unwrap(), request, "{text:?}");
        }
        for text in [
            "",
            "now web-tls",
            "2026-03-01T12:00:00Z",
            "2026-03-01T12:00:00Z web-tls\0of-tomorrow",
            "2026-03-01T12:00:00Z web-tls\0taken=soon",
        ] {
            let error = Request::read(&web(), text).unwrap_err().to_string();
            assert!(error.contains("Certificate shop/web"), "{text:?}: {error}");
        }
    }

    /// As versions read it that know no more than instant and Secret.
    #[test]
    fn earlier_versions_find_no_secret_for_what_they_do_not_know() {
        let mut request = request();
        request.old_key = Some("ab".to_owned());
        for request in [request.take(None, NOW), request] {
            let text = request.to_text().unwrap();
            let (at, secret) = text.trim_end().split_once(' ').unwrap();
            assert!(OffsetDateTime::parse(at, &Rfc3339).is_ok());
            assert!(SecretDir::new("secrets").read("shop", secret).is_err());
            assert!(Key::new(&format!("/v1/certwright/secret/shop/{secret}")).is_err());
        }
    }

    #[test]
    fn nothing_is_taken_back() {
        let later = NOW + Duration::SECOND;
        let plain = request();
        let keyed = Request {
            old_key: Some("ab".to_owned()),
            ..request()
        };
        let dropping = Request {
            drop_old_anchors: true,
            ..keyed.clone()
        };
        let at = |at, request: &Request| Request {
            at,
            ..request.clone()
        };
        for (now, before, expected) in [
            (at(later, &plain), &plain, at(later, &plain)),
            (plain.clone(), &at(later, &plain), at(later, &plain)),
            (at(later, &plain), &keyed, at(later, &keyed)),
            (at(later, &plain), &dropping, at(later, &dropping)),
            (at(later, &keyed), &dropping, at(later, &dropping)),
            (at(later, &dropping), &plain, at(later, &dropping)),
        ] {
            // Whoever has taken the one before in hand has not heard of this one.
            let before = before.take(None, later);
            assert_eq!(now.and(Some(before)), expected);
        }
    }

    #[test]
    fn only_what_began_after_it_was_taken_in_hand_is_an_answer() {
        let key = || {
            let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
            key.to_pem(KeyEncoding::Pkcs8).unwrap()
        };
        let (old, new) = (key(), key());
        let secret = |key: &str, started: OffsetDateTime, issued: OffsetDateTime| {
            let mut secret = TlsSecret::new("shop", "web-tls");
            secret.insert(TLS_KEY, key.as_bytes());
            for (annotation, at) in [(STARTED_AT, started), (ISSUED_AT, issued)] {
                let at = at.format(&Rfc3339).unwrap();
                secret.annotations.insert(annotation.to_owned(), at);
            }
            secret
        };
        let s = Duration::seconds;
        let before = secret(&old, NOW - s(9), NOW - s(9));
        let ahead = secret(&old, NOW + s(60), NOW + s(60));
        let wrong = secret(&old, NOW + s(9000), NOW + s(9000));
        let plain = request();
        let keyed = Request {
            old_key: key_of(&before),
            ..request()
        };
        let without = {
            let mut secret = secret(&new, NOW + s(1), NOW + s(2));
            secret.annotations.remove(STARTED_AT);
            secret
        };
        for (at, (request, there, then, answered)) in [
            (&plain, Some(&before), before.clone_with_keys(), false),
            (
                &plain,
                Some(&before),
                secret(&old, NOW - s(1), NOW + s(1)),
                false,
            ),
            (&plain, Some(&before), secret(&old, NOW, NOW + s(1)), true),
            (&plain, None, secret(&old, NOW + s(1), NOW + s(2)), true),
            (
                &keyed,
                Some(&before),
                secret(&old, NOW + s(1), NOW + s(2)),
                false,
            ),
            (
                &keyed,
                Some(&before),
                secret(&new, NOW - s(1), NOW + s(1)),
                false,
            ),
            (
                &keyed,
                Some(&before),
                secret(&new, NOW + s(1), NOW + s(2)),
                true,
            ),
            // A version that does not tell when it began.
            (&plain, Some(&before), without, false),
            // By a clock that was ahead, a little or wrongly.
            (&plain, Some(&ahead), ahead.clone_with_keys(), false),
            (
                &plain,
                Some(&ahead),
                secret(&old, NOW + s(61), NOW + s(61)),
                true,
            ),
            (&plain, Some(&wrong), wrong.clone_with_keys(), false),
            (
                &plain,
                Some(&wrong),
                secret(&old, NOW + s(1), NOW + s(1)),
                true,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(
                !request.is_answered(Some(&then), NOW + s(90)),
                "{at}: not in hand"
            );
            let taken = request.take(there, NOW);
            assert_eq!(
                taken.is_answered(Some(&then), NOW + s(90)),
                answered,
                "{at}"
            );
            assert!(!taken.is_answered(None, NOW + s(90)), "{at}");
        }
    }
}
