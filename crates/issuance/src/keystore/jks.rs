//! Java's own format, for programs that read nothing else. See what it is [worth](super#what-a-keystore-is-worth).

use core::fmt;

use aws_lc_rs::rand;
use certwright_cert_model::key::KeyEncoding;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Contents, KeyEntry, KeystoreError, NULL, sha1, utf16};
use crate::certificate::Certificate;
use crate::decode::{OCTET_STRING, OID, Reader, SEQUENCE};
use crate::encode::Writer;

/// A JKS store to be: what goes in, and the password that locks the store and the key alike.
///
/// The CAs are called `ca`, `ca-1`, `ca-2` and so on, as cert-manager calls them. A password is hashed as
/// Java does it, in UTF-16; cert-manager widens each of its bytes, so Java cannot open what it locks with
/// a password outside of ASCII.
#[derive(Clone, Copy)]
pub struct Jks<'a> {
    /// The password; an empty one locks nothing.
    pub password: &'a str,
    /// What goes in.
    pub contents: Contents<'a>,
}

impl Jks<'_> {
    /// Writes the store; its entries say they were made at `created`.
    ///
    /// # Errors
    ///
    /// An alias that a CA's entry has or that is too long, a key that is not the first certificate's or
    /// cannot be exported, no certificate at all, or no randomness.
    pub fn write(&self, created: OffsetDateTime) -> Result<Vec<u8>, KeystoreError> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).map_err(|_| KeystoreError::Random)?;
        let milliseconds = created.unix_timestamp() * 1000 + i64::from(created.millisecond());
        self.write_with(milliseconds, &salt)
    }

    /// Whether `stored` is this store: written again with the same salt and time it would come out the
    /// same, byte for byte. False after any change of password, alias, key or certificates, and for
    /// stores that another program wrote.
    ///
    /// # Errors
    ///
    /// As [`Jks::write`].
    pub fn matches(&self, stored: &[u8]) -> Result<bool, KeystoreError> {
        self.contents.check()?;
        let alias = match self.contents {
            Contents::Key(entry) => alias(&entry)?,
            Contents::Trust(_) => CA.to_owned(),
        };
        let Some((created, salt)) = chosen(stored, utf(&alias)?.len(), self.contents) else {
            return Ok(false);
        };
        Ok(self.write_with(created, &salt)? == stored)
    }

    fn write_with(&self, created: i64, salt: &[u8; SALT]) -> Result<Vec<u8>, KeystoreError> {
        self.contents.check()?;
        // Room for all of it at once: growing would leave copies behind.
        let mut password = Zeroizing::new(Vec::with_capacity(2 * self.password.len()));
        password.extend(utf16(self.password));
        let authorities = match self.contents {
            Contents::Key(entry) => entry.authorities,
            Contents::Trust(authorities) => authorities,
        };
        let keys = usize::from(matches!(self.contents, Contents::Key(_)));
        let mut store = MAGIC.to_vec();
        store.extend(length(authorities.len() + keys)?);
        if let Contents::Key(entry) = self.contents {
            begin(&mut store, KEY_ENTRY, &alias(&entry)?, created)?;
            let key = entry.key.to_der(KeyEncoding::Pkcs8);
            block(
                &mut store,
                &protect(&key.map_err(KeystoreError::Key)?, &password, salt),
            )?;
            store.extend(length(entry.chain.len())?);
            for one in entry.chain {
                certificate(&mut store, one)?;
            }
        }
        for (index, authority) in authorities.iter().enumerate() {
            begin(&mut store, TRUSTED_ENTRY, &ca_alias(index), created)?;
            certificate(&mut store, authority)?;
        }
        let hash = sha1(&[&password, b"Mighty Aphrodite", &store]);
        store.extend_from_slice(hash.as_slice());
        Ok(store)
    }
}

impl fmt::Debug for Jks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jks")
            .field("contents", &self.contents)
            .finish_non_exhaustive()
    }
}

/// What the writer of a store chose freely: when it was made, and the salt of its key, which is its first
/// entry. `alias` is how long its alias is, as written.
fn chosen(stored: &[u8], alias: usize, contents: Contents<'_>) -> Option<(i64, [u8; SALT])> {
    let entry = stored.get(MAGIC.len() + 4 + 4 + alias..)?;
    let (created, entry) = entry.split_first_chunk()?;
    let created = i64::from_be_bytes(*created);
    if matches!(contents, Contents::Trust(_)) {
        return Some((created, [0; SALT]));
    }
    let (length, entry) = entry.split_first_chunk()?;
    let protected = entry.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let mut outer = Reader::new(protected);
    let sequence = outer.any().ok()?;
    let mut fields = outer.inside(&sequence);
    fields.any().ok()?;
    let salted = fields.any().ok()?;
    let salt = salted.content(protected).first_chunk()?;
    Some((created, *salt))
}

/// The key entry's alias as Java looks it up, which no CA may have.
fn alias(entry: &KeyEntry<'_>) -> Result<String, KeystoreError> {
    let alias = entry.alias.unwrap_or("certificate").to_lowercase();
    if (0..entry.authorities.len()).any(|index| ca_alias(index) == alias) {
        return Err(KeystoreError::AliasClash { alias });
    }
    Ok(alias)
}

/// The first CA's alias.
const CA: &str = "ca";

fn ca_alias(index: usize) -> String {
    match index {
        0 => CA.to_owned(),
        _ => format!("{CA}-{index}"),
    }
}

/// Masks the key (the algorithm that Sun registered for it) and wraps it as an EncryptedPrivateKeyInfo.
fn protect(key: &[u8], password: &[u8], salt: &[u8; SALT]) -> Vec<u8> {
    let mut masked = salt.to_vec();
    let mut mask = Zeroizing::new(*salt);
    for part in key.chunks(mask.len()) {
        mask = sha1(&[password, mask.as_slice()]);
        masked.extend(part.iter().zip(mask.iter()).map(|(byte, mask)| byte ^ mask));
    }
    masked.extend_from_slice(sha1(&[password, key]).as_slice());
    let mut writer = Writer::with_capacity(masked.len() + 32);
    writer.nest(SEQUENCE, |w| {
        w.element(OCTET_STRING, &masked);
        w.nest(SEQUENCE, |w| {
            w.bytes(NULL);
            w.element(OID, KEY_PROTECTOR);
        });
    });
    writer.into_vec()
}

fn begin(store: &mut Vec<u8>, kind: u32, alias: &str, created: i64) -> Result<(), KeystoreError> {
    store.extend(kind.to_be_bytes());
    store.extend(utf(alias)?);
    store.extend(created.to_be_bytes());
    Ok(())
}

fn certificate(store: &mut Vec<u8>, certificate: &Certificate) -> Result<(), KeystoreError> {
    store.extend(utf("X.509")?);
    block(store, certificate.der())
}

fn block(store: &mut Vec<u8>, bytes: &[u8]) -> Result<(), KeystoreError> {
    store.extend(length(bytes.len())?);
    store.extend(bytes);
    Ok(())
}

fn length(found: usize) -> Result<[u8; 4], KeystoreError> {
    // Java's lengths are signed.
    let length = i32::try_from(found).map_err(|_| KeystoreError::TooLarge { found })?;
    Ok(length.to_be_bytes())
}

/// A text as Java's `DataOutput.writeUTF` writes it: its length and "modified UTF-8", which has each half
/// of a surrogate pair on its own, and no zero byte.
fn utf(text: &str) -> Result<Vec<u8>, KeystoreError> {
    let mut bytes = vec![0; 2];
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        let last = 0x80 | (low & 0x3f);
        let middle = (high << 2 & 0x3c) | low >> 6;
        match unit {
            1..0x80 => bytes.push(low),
            0 | 0x80..0x800 => bytes.extend([0xc0 | middle, last]),
            _ => bytes.extend([0xe0 | high >> 4, 0x80 | middle, last]),
        }
    }
    let found = bytes.len() - 2;
    let too_long = |_| KeystoreError::AliasTooLong {
        found,
        max: u16::MAX.into(),
    };
    let length = u16::try_from(found).map_err(too_long)?;
    bytes[..2].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// The format's number and its version 2.
const MAGIC: [u8; 8] = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
const KEY_ENTRY: u32 = 1;
const TRUSTED_ENTRY: u32 = 2;
/// Octets of salt before a masked key.
const SALT: usize = 20;
/// 1.3.6.1.4.1.42.2.17.1.1
const KEY_PROTECTOR: &[u8] = &[0x2b, 6, 1, 4, 1, 42, 2, 17, 1, 1];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_java_writes_them() {
        // What DataOutputStream.writeUTF made of the same texts.
        for (text, written) in [
            ("", &[0, 0][..]),
            ("ca-1", b"\0\x04ca-1"),
            ("\0\x7f", &[0, 3, 0xc0, 0x80, 0x7f]),
            (
                "\u{80}\u{e9}\u{7ff}",
                &[0, 6, 0xc2, 0x80, 0xc3, 0xa9, 0xdf, 0xbf],
            ),
            (
                "\u{800}\u{20ac}",
                &[0, 6, 0xe0, 0xa0, 0x80, 0xe2, 0x82, 0xac],
            ),
            ("\u{1f511}", &[0, 6, 0xed, 0xa0, 0xbd, 0xed, 0xb4, 0x91]),
        ] {
            assert_eq!(utf(text).unwrap(), written, "{text:?}");
        }
        assert!(utf(&"x".repeat(65_535)).is_ok());
        let error = KeystoreError::AliasTooLong {
            found: 65_536,
            max: 65_535,
        };
        assert_eq!(utf(&"x".repeat(65_536)), Err(error));
    }
}
