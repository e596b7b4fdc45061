//! What protects a PKCS#12 store, read from the store itself.

use certwright_cert_model::Defaults;
use certwright_cert_model::key::KeyAlgorithm;
use certwright_cert_model::secret::KEYSTORE_P12;
use certwright_issuance::KeyPair;
use certwright_issuance::keystore::SecretKeystores;
use serde_json::{Value, json};
use time::OffsetDateTime;
use x509_parser::der_parser::Oid;
use x509_parser::der_parser::asn1_rs::{Any, FromDer, oid};

use super::super::{Case, Verdict};
use super::output::secret;
use super::{documented, refused, validated};

pub(super) fn profile(case: &Case) -> Option<Verdict> {
    let mut keystore = json!({"create": true, "password": "secret"});
    if !case.input.is_null() {
        keystore["profile"] = case.input.clone();
    }
    let spec = json!({"commonName": "x", "keystores": {"pkcs12": keystore}});
    let valid = match validated(&spec, &Defaults::cert_manager_1_21())? {
        Ok(spec) => spec,
        // Upstream's function behind the kind takes LegacyRC2 for a name it does not know.
        Err(violations) => {
            let legacy = json!({
                "certEncryption": "PBE-SHA1-RC2-40-CBC",
                "keyEncryption": "PBE-SHA1-3DES-3KEY-CBC",
                "mac": "HMAC-SHA1",
                "macIterations": 1,
                "encryptionIterations": 2048,
                "saltLen": 8,
            });
            let rule = documented(&spec);
            return Some(refused(case, &violations, |key| {
                rule(key).filter(|_| case.expect == legacy)
            }));
        }
    };
    let stores = SecretKeystores::resolve(valid.keystores(), |_, _| None).ok()?;
    let key = KeyPair::generate(KeyAlgorithm::Ed25519).ok()?;
    let mut secret = secret(&key, valid.key().encoding, valid.outputs())?;
    stores.write(&mut secret, OffsetDateTime::UNIX_EPOCH).ok()?;
    let found = protection(secret.get(KEYSTORE_P12)?)?;
    Some(Verdict::equal(&found, &case.expect))
}

/// The parameters of a store, in the words of the cases; none where its parts differ in what a case has one
/// word for.
fn protection(store: &[u8]) -> Option<Value> {
    let pfx = inside(store, &[0])?;
    let safe = inside(pfx, &[1, 1, 0, 0])?;
    let certificates = Encryption::of(inside(safe, &[0, 1, 0, 1, 1])?)?;
    let key = Encryption::of(inside(safe, &[1, 1, 0, 0, 0, 1, 0, 0])?)?;
    let mac = mac(inside(pfx, &[2])?)?;
    let same = |one: &Encryption| one.rounds == key.rounds && one.salt == key.salt;
    let same = same(&certificates) && mac.salt == key.salt;
    same.then(|| {
        json!({
            "certEncryption": certificates.name,
            "keyEncryption": key.name,
            "mac": mac.name,
            "macIterations": mac.rounds,
            "encryptionIterations": key.rounds,
            "saltLen": key.salt,
        })
    })
}

/// An algorithm with the rounds of its key derivation and the length of its salt.
struct Encryption {
    name: &'static str,
    rounds: u64,
    salt: usize,
}

impl Encryption {
    /// Reads the content of an AlgorithmIdentifier.
    fn of(algorithm: &[u8]) -> Option<Self> {
        let parameters = inside(algorithm, &[1])?;
        let id = identifier(algorithm)?;
        if id == oid!(1.2.840.113549.1.5.13) {
            let aes = identifier(inside(parameters, &[1])?)? == oid!(2.16.840.1.101.3.4.1.42);
            let iv = inside(parameters, &[1, 1])?.len() == 16;
            let (rounds, salt) = pbkdf2(inside(parameters, &[0])?)?;
            let name = "PBES2(PBKDF2-HMAC-SHA256,AES-256-CBC)";
            return (aes && iv).then_some(Self { name, rounds, salt });
        }
        let name = if id == oid!(1.2.840.113549.1.12.1.3) {
            "PBE-SHA1-3DES-3KEY-CBC"
        } else if id == oid!(1.2.840.113549.1.12.1.6) {
            "PBE-SHA1-RC2-40-CBC"
        } else {
            return None;
        };
        Some(Self {
            name,
            rounds: number(inside(parameters, &[1])?)?,
            salt: inside(parameters, &[0])?.len(),
        })
    }
}

/// Reads the content of a MacData.
fn mac(data: &[u8]) -> Option<Encryption> {
    let algorithm = inside(data, &[0, 0])?;
    let id = identifier(algorithm)?;
    if id == oid!(1.2.840.113549.1.5.14) {
        let parameters = inside(algorithm, &[1])?;
        let (rounds, salt) = pbkdf2(inside(parameters, &[0])?)?;
        let hmac = identifier(inside(parameters, &[1])?)? == oid!(1.2.840.113549.2.9);
        let name = "PBMAC1(PBKDF2-HMAC-SHA256,HMAC-SHA256)";
        return hmac.then_some(Encryption { name, rounds, salt });
    }
    let name = if id == oid!(1.3.14.3.2.26) {
        "HMAC-SHA1"
    } else if id == oid!(2.16.840.1.101.3.4.2.1) {
        "HMAC-SHA256"
    } else {
        return None;
    };
    let rounds = match inside(data, &[2]) {
        Some(rounds) => number(rounds)?,
        // The default, which DER leaves out.
        None => 1,
    };
    Some(Encryption {
        name,
        rounds,
        salt: inside(data, &[1])?.len(),
    })
}

/// Rounds and salt's length of the content of an AlgorithmIdentifier, which must be PBKDF2 with HMAC-SHA-256.
fn pbkdf2(algorithm: &[u8]) -> Option<(u64, usize)> {
    let parameters = inside(algorithm, &[1])?;
    // The length of the key may stand before the pseudo-random function.
    let prf = [2, 3]
        .iter()
        .find_map(|at| identifier(inside(parameters, &[*at])?))?;
    let known =
        identifier(algorithm)? == oid!(1.2.840.113549.1.5.12) && prf == oid!(1.2.840.113549.2.9);
    let salt = inside(parameters, &[0])?.len();
    known.then_some((number(inside(parameters, &[1])?)?, salt))
}

/// The object identifier that the content of an AlgorithmIdentifier begins with.
fn identifier(algorithm: &[u8]) -> Option<Oid<'_>> {
    Oid::from_der(algorithm).ok().map(|(_, oid)| oid)
}

fn number(content: &[u8]) -> Option<u64> {
    let mut octets = [0; 8];
    octets
        .get_mut(8_usize.checked_sub(content.len())?..)?
        .copy_from_slice(content);
    Some(u64::from_be_bytes(octets))
}

/// The content of an element within `der`, by its position at each level.
fn inside<'a>(der: &'a [u8], path: &[usize]) -> Option<&'a [u8]> {
    path.iter().try_fold(der, |content, position| {
        let mut rest = content;
        for _ in 0..*position {
            (rest, _) = Any::from_der(rest).ok()?;
        }
        let (_, found) = Any::from_der(rest).ok()?;
        Some(found.data)
    })
}
