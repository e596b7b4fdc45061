//! Serde as text for everything that is read by `FromStr` and written by `Display`.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|error| E::custom(format!("{text:?}: {error}")))
    }
}

macro_rules! as_text {
    ($($name:ty),+ $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }
    )+};
}

as_text!(
    crate::duration::GoDuration,
    crate::fingerprint::Fingerprint,
    crate::name::Cidr,
    crate::name::DnsName,
    crate::name::DnsPattern,
    crate::name::Email,
    crate::name::SpiffeId,
    crate::name::TrustDomain,
    crate::name::Uri,
    crate::oid::Oid,
    crate::usage::Usage,
);
