//! The JSON of SPIFFE bundles and bundle maps (SPIFFE Trust Domain and Bundle, 4 and 5).

use core::fmt;
use core::time::Duration;

use base64ct::{Base64, Encoding};
use certwright_cert_model::name::{SpiffeIdError, TrustDomain};
use rustls_pki_types::CertificateDer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Bundle, TrustBundles};
use crate::roots::{Roots, RootsError};

impl Bundle {
    /// Reads a SPIFFE bundle, a JWK set with the trust domain's CA certificates.
    ///
    /// Elements for another use, of an unknown kind of key or without a certificate are left out, as the
    /// specification wants; of several certificates in one element only the first counts.
    ///
    /// # Errors
    ///
    /// The text is not JSON or names a member twice, `keys` is missing, or a certificate cannot be used.
    pub fn from_json(text: &str) -> Result<Self, BundleError> {
        bundle(&unique(text)?)
    }
}

impl TrustBundles {
    /// Reads a bundle map: `{"trust_domains": {"example.org": {"keys": […]}}}`.
    ///
    /// # Errors
    ///
    /// As [`Bundle::from_json`], and a name that is no trust domain or is there twice.
    pub fn from_json(text: &str) -> Result<Self, BundleError> {
        let map = unique(text)?;
        let domains = match map.get("trust_domains") {
            Some(Value::Object(domains)) => domains,
            Some(_) => return Err(BundleError::member("trust_domains", "an object")),
            None => return Err(BundleError::NoTrustDomains),
        };
        let mut bundles = Self::default();
        for (name, value) in domains {
            let domain: TrustDomain = match name.parse() {
                Ok(domain) if !name.contains('/') => domain,
                Ok(_) => {
                    return Err(BundleError::TrustDomain {
                        found: name.clone(),
                        source: SpiffeIdError::TrustDomainCharacter {
                            at: name.find(':').unwrap_or_default(),
                            found: ':',
                        },
                    });
                }
                Err(source) => {
                    return Err(BundleError::TrustDomain {
                        found: name.clone(),
                        source,
                    });
                }
            };
            let Value::Object(value) = value else {
                return Err(BundleError::member(name, "an object"));
            };
            bundles.insert(&domain, bundle(value)?);
        }
        Ok(bundles)
    }
}

fn bundle(map: &Map<String, Value>) -> Result<Bundle, BundleError> {
    let keys = match map.get("keys") {
        None | Some(Value::Null) => return Err(BundleError::NoKeys),
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err(BundleError::member("keys", "an array")),
    };
    let mut certificates = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        certificates.extend(authority(index, key)?);
    }
    let roots = match certificates.is_empty() {
        true => None,
        false => Some(Roots::from_der(certificates).map_err(BundleError::Authority)?),
    };
    let number = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| BundleError::member(name, "a whole number that is not negative")),
    };
    Ok(Bundle {
        roots,
        sequence: number("spiffe_sequence")?,
        refresh_hint: number("spiffe_refresh_hint")?.map(Duration::from_secs),
    })
}

/// The CA certificate of one element, if it is for X509-SVIDs.
fn authority(index: usize, key: &Value) -> Result<Option<CertificateDer<'static>>, BundleError> {
    let Value::Object(key) = key else {
        return Err(BundleError::member("keys", "an array of objects"));
    };
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("use") != Some("x509-svid") || !text("kty").is_some_and(|kty| KINDS.contains(&kty)) {
        return Ok(None);
    }
    let certificates = match key.get("x5c") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(certificates)) => certificates,
        Some(_) => return Err(BundleError::member("x5c", "an array")),
    };
    let Some(first) = certificates.first() else {
        return Ok(None);
    };
    let first = first
        .as_str()
        .ok_or_else(|| BundleError::member("x5c", "an array of texts"))?;
    Base64::decode_vec(first)
        .map(|der| Some(der.into()))
        .map_err(|_| BundleError::Base64 { index })
}

fn unique(text: &str) -> Result<Map<String, Value>, BundleError> {
    let Unique(value) = serde_json::from_str(text).map_err(|error| BundleError::Json {
        line: error.line(),
        column: error.column(),
        reason: error.to_string(),
    })?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(BundleError::member("the document", "an object")),
    }
}

/// A value in which no object has a member twice: serde_json itself keeps the last one silently.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(value)) = elements.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("member {name:?} is there twice")));
            }
            let Unique(value) = members.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// The kinds of keys there are (RFC 7518, 6.1; RFC 8037, 2).
const KINDS: [&str; 3] = ["EC", "OKP", "RSA"];

/// Why a text is not a SPIFFE bundle or bundle map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A certificate cannot be a root.
    #[error("a certificate of the bundle cannot be a root")]
    Authority(#[source] RootsError),
    /// A certificate is not base64.
    #[error("keys[{index}]: the first value of x5c is not base64 with padding")]
    Base64 {
        /// Position of the element in `keys`.
        index: usize,
    },
    /// The text is not JSON, or names a member twice.
    #[error("the text is not a JSON document: {reason}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// A member has another type.
    #[error("{name} must be {expected}")]
    Member {
        /// The member.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
    /// `keys` is missing; an empty array would revoke everything, so the two are not the same.
    #[error("keys is missing; write [] if everything is revoked")]
    NoKeys,
    /// `trust_domains` is missing.
    #[error("trust_domains is missing")]
    NoTrustDomains,
    /// A name of the map is not a trust domain's.
    #[error("{found:?} is not the name of a trust domain")]
    TrustDomain {
        /// The name.
        found: String,
        /// What is wrong with it.
        source: SpiffeIdError,
    },
}

impl BundleError {
    fn member(name: &str, expected: &'static str) -> Self {
        Self::Member {
            name: name.to_owned(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> String {
        let params = rcgen::CertificateParams::default();
        let key = rcgen::KeyPair::generate().unwrap();
        Base64::encode_string(params.self_signed(&key).unwrap().der())
    }

    fn count(text: &str) -> Option<usize> {
        let bundle = Bundle::from_json(text).ok()?;
        Some(bundle.roots.map_or(0, |roots| roots.anchors().len()))
    }

    #[test]
    fn elements() {
        let (a, b) = (root(), root());
        for (keys, roots) in [
            (String::new(), Some(0)),
            (
                format!(r#"{{"use":"x509-svid","kty":"EC","x5c":["{a}"]}}"#),
                Some(1),
            ),
            (
                format!(r#"{{"use":"x509-svid","kty":"RSA","x5c":["{a}","junk"]}}"#),
                Some(1),
            ),
            (
                format!(
                    r#"{{"use":"x509-svid","kty":"EC","x5c":["{a}"]}},{{"use":"x509-svid","kty":"EC","x5c":["{b}"]}}"#
                ),
                Some(2),
            ),
            (
                format!(
                    r#"{{"use":"x509-svid","kty":"EC","x5c":["{a}"]}},{{"use":"x509-svid","kty":"EC","x5c":["{a}"]}}"#
                ),
                Some(1),
            ),
            (
                format!(r#"{{"use":"X509-SVID","kty":"EC","x5c":["{a}"]}}"#),
                Some(0),
            ),
            (format!(r#"{{"kty":"EC","x5c":["{a}"]}}"#), Some(0)),
            (
                format!(r#"{{"use":"x509-svid","kty":"XX","x5c":["{a}"]}}"#),
                Some(0),
            ),
            (format!(r#"{{"use":"x509-svid","x5c":["{a}"]}}"#), Some(0)),
            (r#"{"use":"x509-svid","kty":"EC"}"#.to_owned(), Some(0)),
            (
                r#"{"use":"x509-svid","kty":"EC","x5c":[]}"#.to_owned(),
                Some(0),
            ),
            (r#"{"use":"jwt-svid","kty":"EC"}"#.to_owned(), Some(0)),
            (
                r#"{"use":"x509-svid","kty":"EC","x5c":["AAAA"]}"#.to_owned(),
                None,
            ),
            (
                r#"{"use":"x509-svid","kty":"EC","x5c":["_-_-"]}"#.to_owned(),
                None,
            ),
            (
                r#"{"use":"x509-svid","kty":"EC","x5c":[1]}"#.to_owned(),
                None,
            ),
            ("1".to_owned(), None),
        ] {
            assert_eq!(
                count(&format!(r#"{{"keys":[{keys}],"x":1}}"#)),
                roots,
                "{keys}"
            );
        }
    }

    #[test]
    fn members() {
        for (text, error) in [
            (
                "{",
                "the text is not a JSON document: EOF while parsing an object at line 1 column 1",
            ),
            ("[]", "the document must be an object"),
            ("{}", "keys is missing; write [] if everything is revoked"),
            (
                r#"{"keys":null}"#,
                "keys is missing; write [] if everything is revoked",
            ),
            (r#"{"keys":{}}"#, "keys must be an array"),
            (
                r#"{"keys":[],"keys":[]}"#,
                "the text is not a JSON document: member \"keys\" is there twice at line 1 column 17",
            ),
            (
                r#"{"keys":[{"x":1,"x":2}]}"#,
                "the text is not a JSON document: member \"x\" is there twice at line 1 column 19",
            ),
            (
                r#"{"keys":[],"spiffe_sequence":-1}"#,
                "spiffe_sequence must be a whole number that is not negative",
            ),
            (
                r#"{"keys":[],"spiffe_refresh_hint":1.5}"#,
                "spiffe_refresh_hint must be a whole number that is not negative",
            ),
        ] {
            assert_eq!(
                Bundle::from_json(text).unwrap_err().to_string(),
                error,
                "{text}"
            );
        }
        let bundle = Bundle::from_json(
            r#"{"keys":[],"spiffe_sequence":18446744073709551615,"spiffe_refresh_hint":60}"#,
        )
        .unwrap();
        assert_eq!(bundle.sequence, Some(u64::MAX));
        assert_eq!(bundle.refresh_interval(), Duration::from_secs(60));
    }

    /// The publisher is another organisation: it must not make us fetch without pause, or never.
    #[test]
    fn refresh_intervals_have_bounds() {
        for (hint, seconds) in [
            (None, 300),
            (Some(0), 60),
            (Some(90), 90),
            (Some(u64::MAX), 86_400),
        ] {
            let bundle = Bundle {
                refresh_hint: hint.map(Duration::from_secs),
                ..Bundle::default()
            };
            assert_eq!(bundle.refresh_interval(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn maps() {
        let map = TrustBundles::from_json(
            r#"{"trust_domains":{"b.test":{"keys":[]},"a.test":{"keys":[]}}}"#,
        )
        .unwrap();
        assert_eq!(map.domains().collect::<Vec<_>>(), ["a.test", "b.test"]);
        for bad in [
            "{}",
            r#"{"trust_domains":[]}"#,
            r#"{"trust_domains":{"a.test":{"keys":[]},"a.test":{"keys":[]}}}"#,
            r#"{"trust_domains":{"A.test":{"keys":[]}}}"#,
            r#"{"trust_domains":{"spiffe://a.test":{"keys":[]}}}"#,
            r#"{"trust_domains":{"a.test":{}}}"#,
            r#"{"trust_domains":{"a.test":[]}}"#,
        ] {
            assert!(TrustBundles::from_json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_older_bundle_does_not_replace_a_newer_one() {
        let domain: TrustDomain = "a.test".parse().unwrap();
        let at = |sequence| Bundle {
            sequence,
            ..Bundle::default()
        };
        let mut bundles = TrustBundles::default();
        for (sequence, taken) in [
            (None, true),
            (Some(3), true),
            (Some(2), false),
            (Some(3), true),
            (Some(4), true),
            (None, true),
        ] {
            assert_eq!(
                bundles.update(&domain, at(sequence)).is_ok(),
                taken,
                "{sequence:?}"
            );
        }
    }
}
