//! The containers of private keys: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) and SEC1 (RFC 5915).

use certwright_cert_model::key::Curve;
use rustls_pki_types::alg_id;
use zeroize::Zeroizing;

use super::KeyError;
use crate::decode::{
    Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context, context_primitive, dotted,
    unsigned,
};
use crate::public_key::PublicKeyError;

/// How a private key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Pkcs1,
    Pkcs8,
    Sec1,
}

impl Form {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pkcs1 => "a PKCS#1 RSA key",
            Self::Pkcs8 => "a PKCS#8 key",
            Self::Sec1 => "a SEC1 EC key",
        }
    }
}

/// The key inside a container.
pub(super) enum Inner<'a> {
    /// An ECPrivateKey or a PKCS#8 around one.
    Ecdsa {
        curve: Curve,
        der: Zeroizing<Vec<u8>>,
    },
    Ed25519 {
        seed: &'a [u8],
        public: Option<&'a [u8]>,
    },
    Rsa {
        pkcs1: &'a [u8],
        bits: usize,
    },
}

/// Tells containers apart by their second element.
pub(super) fn recognize(der: &[u8]) -> Option<Form> {
    let mut outer = Reader::new(der);
    let sequence = outer.expect(SEQUENCE, "").ok()?;
    let mut fields = outer.inside(&sequence);
    fields.expect(INTEGER, "").ok()?;
    match fields.peek()? {
        SEQUENCE => Some(Form::Pkcs8),
        OCTET_STRING => Some(Form::Sec1),
        INTEGER => Some(Form::Pkcs1),
        _ => None,
    }
}

pub(super) fn open(der: &[u8], form: Form) -> Result<Inner<'_>, KeyError> {
    match form {
        Form::Pkcs1 => rsa(der),
        Form::Pkcs8 => pkcs8(der),
        Form::Sec1 => {
            let curve = sec1_curve(der)?.ok_or(KeyError::NoCurve)?;
            Ok(Inner::Ecdsa {
                curve,
                der: Zeroizing::new(der.to_vec()),
            })
        }
    }
}

/// The content of the OCTET STRING in a PKCS#8 key.
pub(super) fn private_key(der: &[u8]) -> Result<&[u8], KeyError> {
    Ok(split(der)?.key.content(der))
}

struct Pkcs8 {
    identifier: Element,
    key: Element,
    public: Option<Element>,
}

fn split(der: &[u8]) -> Result<Pkcs8, KeyError> {
    let mut outer = Reader::new(der);
    let sequence = outer.expect(SEQUENCE, "expected a PrivateKeyInfo SEQUENCE")?;
    let mut fields = outer.inside(&sequence);
    outer.finish()?;
    fields.small_integer(INTEGER)?;
    let identifier = fields.expect(SEQUENCE, "expected an AlgorithmIdentifier SEQUENCE")?;
    let key = fields.expect(OCTET_STRING, "expected the key in an OCTET STRING")?;
    fields.optional(context(0))?;
    let public = fields.optional(context_primitive(1))?;
    fields.finish()?;
    Ok(Pkcs8 {
        identifier,
        key,
        public,
    })
}

fn pkcs8(der: &[u8]) -> Result<Inner<'_>, KeyError> {
    let parts = split(der)?;
    let identifier = parts.identifier.content(der);
    let key = parts.key.content(der);
    if identifier == alg_id::RSA_ENCRYPTION.as_ref() {
        return rsa(key);
    }
    if identifier == alg_id::ED25519.as_ref() {
        let mut inner = Reader::new(key);
        let seed = inner.expect(OCTET_STRING, "expected the seed in an OCTET STRING")?;
        inner.finish()?;
        // The first octet counts the unused bits of the BIT STRING: none.
        let public = parts.public.map(|bits| {
            let public = bits.content(der).strip_prefix(&[0]);
            public.ok_or(KeyError::Rejected {
                reason: "its public half is not a BIT STRING of whole octets".to_owned(),
            })
        });
        return Ok(Inner::Ed25519 {
            seed: seed.content(key),
            public: public.transpose()?,
        });
    }
    if let Some(curve) = curve_of(identifier) {
        if sec1_curve(key)?.is_some_and(|inner| inner != curve) {
            return Err(KeyError::Rejected {
                reason: "it names two different curves".to_owned(),
            });
        }
        return Ok(Inner::Ecdsa {
            curve,
            der: Zeroizing::new(der.to_vec()),
        });
    }
    let mut fields = Reader::new(identifier);
    let oid = fields.expect(OID, "expected an object identifier")?;
    let curve = fields.optional(OID)?;
    Err(PublicKeyError::Algorithm {
        oid: dotted(oid.content(identifier)),
        parameters: curve.map_or_else(String::new, |curve| {
            format!(" with curve {}", dotted(curve.content(identifier)))
        }),
    }
    .into())
}

/// The curve whose AlgorithmIdentifier has this content.
fn curve_of(identifier: &[u8]) -> Option<Curve> {
    [
        (alg_id::ECDSA_P256, Curve::P256),
        (alg_id::ECDSA_P384, Curve::P384),
        (alg_id::ECDSA_P521, Curve::P521),
    ]
    .into_iter()
    .find_map(|(id, curve)| (id.as_ref() == identifier).then_some(curve))
}

/// The curve that an ECPrivateKey names, if it names one.
fn sec1_curve(der: &[u8]) -> Result<Option<Curve>, KeyError> {
    let mut outer = Reader::new(der);
    let sequence = outer.expect(SEQUENCE, "expected an ECPrivateKey SEQUENCE")?;
    let mut fields = outer.inside(&sequence);
    outer.finish()?;
    fields.small_integer(INTEGER)?;
    fields.expect(OCTET_STRING, "expected the key in an OCTET STRING")?;
    let parameters = fields.optional(context(0))?;
    let Some(parameters) = parameters else {
        return Ok(None);
    };
    let mut parameters = fields.inside(&parameters);
    let oid = parameters.expect(OID, "expected a named curve")?;
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        // The identifiers of `curve_of` are id-ecPublicKey (9 bytes) and the curve.
        let id = match curve {
            Curve::P256 => alg_id::ECDSA_P256,
            Curve::P384 => alg_id::ECDSA_P384,
            Curve::P521 => alg_id::ECDSA_P521,
        };
        if id.as_ref().ends_with(oid.whole(der)) {
            return Ok(Some(curve));
        }
    }
    Err(PublicKeyError::Algorithm {
        oid: "1.2.840.10045.2.1".to_owned(),
        parameters: format!(" with curve {}", dotted(oid.content(der))),
    }
    .into())
}

fn rsa(der: &[u8]) -> Result<Inner<'_>, KeyError> {
    let mut outer = Reader::new(der);
    let sequence = outer.expect(SEQUENCE, "expected an RSAPrivateKey SEQUENCE")?;
    let mut fields = outer.inside(&sequence);
    outer.finish()?;
    fields.small_integer(INTEGER)?;
    let modulus = fields.expect(INTEGER, "expected the modulus")?;
    let modulus = unsigned(modulus.content(der)).unwrap_or_default();
    let leading = modulus.first().map_or(0, |octet| octet.leading_zeros());
    Ok(Inner::Rsa {
        pkcs1: der,
        bits: (modulus.len() * 8).saturating_sub(leading as usize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::element;
    use crate::key_pair::KeyPair;
    use certwright_cert_model::key::{KeyAlgorithm, KeyEncoding};

    #[test]
    fn the_public_half_of_an_ed25519_key_is_its_own() {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let other = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let pkcs8 = key.to_der(KeyEncoding::Pkcs8).unwrap();
        let read = |prefix: &[u8], public: &[u8]| {
            let bits = element(context_primitive(1), &[prefix, public].concat());
            // Version 2, written 1; then what version 1 holds.
            let fields = [&[INTEGER, 1, 1], &pkcs8[5..], &bits].concat();
            KeyPair::from_der(&element(SEQUENCE, &fields))
        };
        let (own, foreign) = (key.public_key(), other.public_key());
        assert_eq!(read(&[0], own.key_bytes()).unwrap().public_key(), own);
        for (prefix, public) in [
            (&[0][..], foreign.key_bytes()),
            (&[0], &[]),
            (&[1], own.key_bytes()),
            (&[], &[]),
        ] {
            assert!(read(prefix, public).is_err(), "{prefix:?} {public:02x?}");
        }
    }
}
