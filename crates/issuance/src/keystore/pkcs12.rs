//! PKCS#12 (RFC 7292), with the parameters of cert-manager's four profiles.

mod kdf;
mod protection;

use core::fmt;
use std::collections::BTreeSet;

use aws_lc_rs::rand;
use certwright_cert_model::key::KeyEncoding;
use certwright_cert_model::output::Pkcs12Profile;

use super::{Contents, KeystoreError, sha1, utf16};
use crate::certificate::Certificate;
use crate::decode::context_primitive;
use crate::decode::{BMP_STRING, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, context};
use crate::encode::Writer;
use protection::{Password, Protection, Seed};

/// A PKCS#12 store to be: what goes in, and how it is locked.
///
/// | profile | certificates | key | MAC | rounds: encryption, MAC | salt |
/// |---|---|---|---|---|---|
/// | `LegacyRC2` | PBE with SHA-1 and RC2-40 | PBE with SHA-1 and 3DES | HMAC-SHA-1 | 2048, 1 | 8 octets |
/// | `LegacyDES` | PBE with SHA-1 and 3DES | the same | HMAC-SHA-1 | 2048, 1 | 8 octets |
/// | `Modern2023` | PBES2: PBKDF2-HMAC-SHA-256, AES-256-CBC | the same | HMAC-SHA-256 | 2048, 2048 | 16 octets |
/// | `Modern2026` | as `Modern2023` | the same | PBMAC1 (RFC 9579): PBKDF2-HMAC-SHA-256, HMAC-SHA-256 | 2048, 2048 | 16 octets |
///
/// A store with a key has two parts. The certificates are encrypted: the key's own, tied to the key by a
/// `localKeyID` that is its SHA-1, then the rest of the chain, then the CAs. The key follows, encrypted by
/// itself. A trust store has CAs only, each marked as Java's trust anchor for every purpose and called
/// by its subject.
///
/// The format turns the password into UTF-16 for all but the modern ciphers and PBMAC1, which take
/// UTF-8. Java opens PKCS#12 stores with passwords in ASCII only, whatever wrote them.
#[derive(Clone, Copy)]
pub struct Pkcs12<'a> {
    /// The algorithms.
    pub profile: Pkcs12Profile,
    /// The password; an empty one locks nothing.
    pub password: &'a str,
    /// What goes in.
    pub contents: Contents<'a>,
}

impl Pkcs12<'_> {
    /// Writes the store.
    ///
    /// # Errors
    ///
    /// A key that is not the first certificate's or cannot be exported, no certificate at all, or no
    /// randomness.
    pub fn write(&self) -> Result<Vec<u8>, KeystoreError> {
        self.write_with(&Randomness::draw()?)
    }

    /// Whether `stored` is this store: written again with the same salts it would come out the same,
    /// byte for byte. False after any change of password, profile, alias, key or certificates, and for
    /// stores that another program wrote.
    ///
    /// Costs as much as [`Pkcs12::write`], which is the derivation of three keys.
    ///
    /// # Errors
    ///
    /// As [`Pkcs12::write`].
    pub fn matches(&self, stored: &[u8]) -> Result<bool, KeystoreError> {
        self.contents.check()?;
        let protection = Protection::of(self.profile);
        match Randomness::of(stored, &protection, self.contents) {
            Some(random) => Ok(self.write_with(&random)? == stored),
            None => Ok(false),
        }
    }

    fn write_with(&self, random: &Randomness) -> Result<Vec<u8>, KeystoreError> {
        self.contents.check()?;
        let protection = Protection::of(self.profile);
        let password = Password::new(self.password);
        let (bags, key) = match self.contents {
            Contents::Key(entry) => {
                let own = attributes(entry.chain.first(), entry.alias, false);
                let der = entry.key.to_der(KeyEncoding::Pkcs8);
                let der = der.map_err(KeystoreError::Key)?;
                let key = protection.key.encrypt(&password, &random.key, &der)?;
                let rest = core::iter::repeat_with(Vec::new);
                let all = core::iter::once(own.clone()).chain(rest);
                let certificates = entry.chain.iter().chain(entry.authorities);
                (certificates.zip(all).collect(), Some((key, own)))
            }
            Contents::Trust(authorities) => (trusted(authorities), None),
        };
        let cipher = protection.certificates;
        let bags = certificate_bags(&bags);
        let certificates = cipher.encrypt(&password, &random.certificates, &bags)?;

        let mut safe = Writer::with_capacity(certificates.len() + 4096);
        safe.nest(SEQUENCE, |w| {
            if let Some((key, attributes)) = &key {
                content(w, id::DATA, |w| {
                    w.nest(OCTET_STRING, |w| {
                        w.nest(SEQUENCE, |w| {
                            bag(w, id::SHROUDED_KEY_BAG, attributes, |w| {
                                w.nest(SEQUENCE, |w| {
                                    w.element(OCTET_STRING, key);
                                    protection.key.write(w, &random.key);
                                });
                            });
                        });
                    });
                });
            }
            content(w, id::ENCRYPTED_DATA, |w| {
                w.nest(SEQUENCE, |w| {
                    w.nest(SEQUENCE, |w| {
                        w.element(context_primitive(0), &certificates);
                        cipher.write(w, &random.certificates);
                        w.element(OID, id::DATA);
                    });
                    w.element(INTEGER, &[0]);
                });
            });
        });

        let mac = protection.mac.of(&password, &random.mac, safe.written());
        let mut store = Writer::with_capacity(safe.len() + 256);
        store.nest(SEQUENCE, |w| {
            protection.mac.write(w, &random.mac, &mac);
            content(w, id::DATA, |w| w.element(OCTET_STRING, safe.written()));
            w.element(INTEGER, &[3]);
        });
        Ok(store.into_vec())
    }
}

impl fmt::Debug for Pkcs12<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs12")
            .field("profile", &self.profile)
            .field("contents", &self.contents)
            .finish_non_exhaustive()
    }
}

/// What the writer of a store chose freely.
#[derive(Default)]
struct Randomness {
    certificates: Seed,
    key: Seed,
    mac: Seed,
}

impl Randomness {
    fn draw() -> Result<Self, KeystoreError> {
        let mut random = Self::default();
        for seed in [&mut random.certificates, &mut random.key, &mut random.mac] {
            for octets in [&mut seed.salt, &mut seed.iv] {
                rand::fill(octets).map_err(|_| KeystoreError::Random)?;
            }
        }
        Ok(random)
    }

    /// What was chosen for a store, if it has the shape of what we would write.
    fn of(stored: &[u8], protection: &Protection, contents: Contents<'_>) -> Option<Self> {
        let mut random = Self::default();
        let pfx = inside(stored, &[0])?;
        protection.mac.read(inside(pfx, &[2])?, &mut random.mac)?;
        let safe = inside(pfx, &[1, 1, 0, 0])?;
        let encrypted = inside(safe, &[0, 1, 0, 1, 1])?;
        let cipher = protection.certificates;
        cipher.read(encrypted, &mut random.certificates)?;
        if matches!(contents, Contents::Key(_)) {
            let shrouded = inside(safe, &[1, 1, 0, 0, 0, 1, 0, 0])?;
            protection.key.read(shrouded, &mut random.key)?;
        }
        Some(random)
    }
}

/// The content of an element within `der`, by its position at each level.
fn inside<'a>(der: &'a [u8], path: &[usize]) -> Option<&'a [u8]> {
    path.iter().try_fold(der, |content, position| {
        let mut elements = Reader::new(content);
        for _ in 0..*position {
            elements.any().ok()?;
        }
        Some(elements.any().ok()?.content(content))
    })
}

/// The attributes of a SafeBag, each in DER, in the order of a SET OF.
type Attributes = Vec<Vec<u8>>;

/// The CAs of a trust store with their attributes. Java finds its entries by name, so that of two CAs of
/// one name, an old and a new one, it would forget one: the later ones are numbered.
fn trusted(authorities: &[Certificate]) -> Vec<(&Certificate, Attributes)> {
    let mut taken = BTreeSet::new();
    let mut trusted = Vec::new();
    for authority in authorities {
        let subject = authority.subject();
        let mut name = subject.clone();
        let mut number = 1;
        while !taken.insert(name.to_lowercase()) {
            name = format!("{subject}-{number}");
            number += 1;
        }
        trusted.push((authority, attributes(None, Some(&name), true)));
    }
    trusted
}

/// The SafeContents of certificates.
fn certificate_bags(certificates: &[(&Certificate, Attributes)]) -> Vec<u8> {
    let mut bags = Writer::with_capacity(4096);
    bags.nest(SEQUENCE, |w| {
        for (certificate, attributes) in certificates.iter().rev() {
            bag(w, id::CERTIFICATE_BAG, attributes, |w| {
                w.nest(SEQUENCE, |w| {
                    w.nest(context(0), |w| w.element(OCTET_STRING, certificate.der()));
                    w.element(OID, id::X509_CERTIFICATE);
                });
            });
        }
    });
    bags.into_vec()
}

/// A ContentInfo around what `write` writes.
fn content(w: &mut Writer, kind: &[u8], write: impl FnOnce(&mut Writer)) {
    w.nest(SEQUENCE, |w| {
        w.nest(context(0), write);
        w.element(OID, kind);
    });
}

/// A SafeBag around what `write` writes.
fn bag(w: &mut Writer, kind: &[u8], attributes: &[Vec<u8>], write: impl FnOnce(&mut Writer)) {
    w.nest(SEQUENCE, |w| {
        if !attributes.is_empty() {
            w.nest(SET, |w| {
                for attribute in attributes.iter().rev() {
                    w.bytes(attribute);
                }
            });
        }
        w.nest(context(0), write);
        w.element(OID, kind);
    });
}

/// The attributes of a bag: which certificate it belongs to, what it is called, whether Java trusts it.
fn attributes(own: Option<&Certificate>, name: Option<&str>, trusted: bool) -> Attributes {
    let mut attributes = Vec::new();
    let mut push = |kind: &[u8], tag: u8, value: &[u8]| {
        let mut writer = Writer::with_capacity(value.len() + 32);
        writer.nest(SEQUENCE, |w| {
            w.nest(SET, |w| w.element(tag, value));
            w.element(OID, kind);
        });
        attributes.push(writer.into_vec());
    };
    if let Some(own) = own {
        push(
            id::LOCAL_KEY_ID,
            OCTET_STRING,
            sha1(&[own.der()]).as_slice(),
        );
    }
    if let Some(name) = name {
        let name: Vec<u8> = utf16(name).collect();
        push(id::FRIENDLY_NAME, BMP_STRING, &name);
    }
    if trusted {
        push(id::TRUSTED_KEY_USAGE, OID, id::ANY_EXTENDED_KEY_USAGE);
    }
    // DER has the elements of a SET OF in the order of their bytes (X.690, 11.6).
    attributes.sort();
    attributes
}

/// The contents of object identifiers.
mod id {
    /// 1.2.840.113549.1.7.1
    pub(super) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    /// 1.2.840.113549.1.7.6
    pub(super) const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
    /// 1.2.840.113549.1.9.20
    pub(super) const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
    /// 1.2.840.113549.1.9.21
    pub(super) const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
    /// 1.2.840.113549.1.9.22.1
    pub(super) const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
    /// 1.2.840.113549.1.12.10.1.2
    pub(super) const SHROUDED_KEY_BAG: &[u8] =
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2];
    /// 1.2.840.113549.1.12.10.1.3
    pub(super) const CERTIFICATE_BAG: &[u8] =
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
    /// 2.16.840.1.113894.746875.1.1, Oracle's
    pub(super) const TRUSTED_KEY_USAGE: &[u8] = &[
        0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1,
    ];
    /// 2.5.29.37.0
    pub(super) const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
}
