//! Signed requests (RFC 7515, RFC 8555 section 6.2).

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_issuance::KeyError;
use serde_json::{Value as Json, json};

use crate::account::{AccountKey, ExternalBinding};

/// By what the CA knows who signs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer<'a> {
    /// By the account's URL.
    Account(&'a str),
    /// By the key itself, before there is an account.
    Key,
}

/// The body of a signed request; `payload` is `None` for POST-as-GET.
pub(super) fn sign(
    key: &AccountKey,
    signer: Signer<'_>,
    nonce: &str,
    url: &str,
    payload: Option<&Json>,
) -> Result<Vec<u8>, KeyError> {
    let mut header = json!({ "alg": key.algorithm(), "nonce": nonce, "url": url });
    match signer {
        Signer::Account(account) => header["kid"] = account.into(),
        Signer::Key => header["jwk"] = key.jwk(),
    }
    let protected = encode(&header);
    let payload = payload.map(encode).unwrap_or_default();
    let signature = key.sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(flattened(&protected, &payload, &signature))
}

/// The binding of an account's key to an account elsewhere (section 7.3.4).
pub(super) fn bind(key: &AccountKey, binding: &ExternalBinding, url: &str) -> Json {
    let protected = encode(&json!({ "alg": "HS256", "kid": binding.kid, "url": url }));
    let payload = encode(&key.jwk());
    let mac = hmac::Key::new(hmac::HMAC_SHA256, binding.mac());
    let tag = hmac::sign(&mac, format!("{protected}.{payload}").as_bytes());
    json!({
        "protected": protected,
        "payload": payload,
        "signature": Base64UrlUnpadded::encode_string(tag.as_ref()),
    })
}

fn encode(json: &Json) -> String {
    Base64UrlUnpadded::encode_string(json.to_string().as_bytes())
}

fn flattened(protected: &str, payload: &str, signature: &[u8]) -> Vec<u8> {
    let signature = Base64UrlUnpadded::encode_string(signature);
    let body = json!({ "protected": protected, "payload": payload, "signature": signature });
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use certwright_cert_model::key::{Curve, KeyAlgorithm};
    use certwright_issuance::KeyPair;

    use super::*;

    fn decode(json: &Json, field: &str) -> Vec<u8> {
        Base64UrlUnpadded::decode_vec(json[field].as_str().unwrap()).unwrap()
    }

    fn signed_text(json: &Json) -> String {
        let text = |field: &str| json[field].as_str().unwrap().to_owned();
        format!("{}.{}", text("protected"), text("payload"))
    }

    #[test]
    fn requests_are_signed_by_the_key_and_name_it() {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let key = AccountKey::new(&key).unwrap();
        let point = ["x", "y"].map(|part| decode(&key.jwk(), part));
        let point = [&[4][..], &point[0], &point[1]].concat();
        for (signer, payload) in [
            (Signer::Key, Some(json!({ "a": 1 }))),
            (Signer::Account("https://ca.test/a/1"), None),
        ] {
            let body = sign(&key, signer, "n", "https://ca.test/x", payload.as_ref()).unwrap();
            let json: Json = serde_json::from_slice(&body).unwrap();
            let header: Json = serde_json::from_slice(&decode(&json, "protected")).unwrap();
            assert_eq!(header["url"], "https://ca.test/x");
            assert_eq!(header.get("jwk").is_some(), payload.is_some());
            assert_eq!(header.get("kid").is_some(), payload.is_none());
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
            let signature = decode(&json, "signature");
            public
                .verify(signed_text(&json).as_bytes(), &signature)
                .unwrap();
        }
        let binding = ExternalBinding::new("kid-1", "AAEC").unwrap();
        let bound = bind(&key, &binding, "https://ca.test/new");
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &[0, 1, 2]);
        let tag = decode(&bound, "signature");
        hmac::verify(&mac, signed_text(&bound).as_bytes(), &tag).unwrap();
        let payload: Json = serde_json::from_slice(&decode(&bound, "payload")).unwrap();
        assert_eq!(payload, key.jwk());
    }
}
