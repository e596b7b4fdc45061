//! TLS-ALPN-01 (RFC 8737): the certificates that answer, for whoever listens on port
//! 443.

mod answers;

use core::fmt;
use core::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::identifier::Identifier;

pub use answers::TlsAlpn01;

/// Who answers TLS clients that offer `acme-tls/1` alone: the challenge map of a
/// certificate store, for example.
///
/// Told by the store's watch, which may be behind the CA's question on replicas that did
/// not order; a server that reads the hello before it goes on asks [`TlsAlpn01`] as well.
pub trait AlpnSink: Send + Sync + fmt::Debug {
    /// Answer for this server name with this certificate from now on, and until
    /// [`AlpnSink::forget`].
    fn answer(&self, name: &str, certificate: ChallengeCertificate);

    /// Do not answer for it any more; what was never there is no matter.
    fn forget(&self, name: &str);
}

/// A certificate that answers one challenge and nothing else.
pub struct ChallengeCertificate {
    /// The certificate, alone in its chain.
    pub certificate: CertificateDer<'static>,
    /// Its key, ECDSA P-256 in PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

impl ChallengeCertificate {
    /// The certificate of RFC 8737 section 3 for an identifier and a key authorization:
    /// self-signed, its only name the identifier, with the digest in a critical
    /// `acmeIdentifier`. `None` for a wildcard, which this challenge cannot prove.
    pub(crate) fn new(identifier: &Identifier, authorization: &str) -> Option<Self> {
        let name = match identifier {
            Identifier::Ip(address) => SanType::IpAddress(*address),
            dns if dns.is_wildcard() => return None,
            dns => SanType::DnsName(dns.value().try_into().ok()?),
        };
        let digest = digest(&SHA256, authorization.as_bytes());
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let key = KeyPair::generate().ok()?;
        let certificate = params.self_signed(&key).ok()?;
        Some(Self {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

impl fmt::Debug for ChallengeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeCertificate(..)")
    }
}

/// The server name the CA asks with: the name itself, or an address as the name it is
/// reverse-mapped to (RFC 8738 section 6).
pub(crate) fn server_name(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(_) => identifier.base(),
        Identifier::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev();
            let nibbles = nibbles.flat_map(|byte| [byte & 15, byte >> 4]);
            let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            format!("{labels}ip6.arpa")
        }
    }
}

/// What a server name of a challenge stands for: the reverse of the above.
pub(crate) fn identifier_of(name: &str) -> Option<Identifier> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<&str> = octets.split('.').collect();
        octets.reverse();
        return octets.join(".").parse().ok().map(Identifier::Ip);
    }
    if let Some(nibbles) = name.strip_suffix(".ip6.arpa") {
        let digits: Vec<&str> = nibbles.split('.').rev().collect();
        let groups: Vec<String> = digits.chunks(4).map(<[&str]>::concat).collect();
        return groups.join(":").parse().ok().map(Identifier::Ip);
    }
    name.parse().ok().map(Identifier::Dns)
}

#[cfg(test)]
mod tests {
    use certwright_cert_model::inspect::CertificateFacts;

    use super::*;

    #[test]
    fn server_names_read_back() {
        for (text, name) in [
            ("Www.example.org", "www.example.org"),
            ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ] {
            let identifier: Identifier = text.parse().unwrap();
            assert_eq!(server_name(&identifier), name);
            assert_eq!(identifier_of(name), Some(identifier));
        }
    }

    #[test]
    fn the_certificate_carries_the_digest_and_one_name() {
        let identifier: Identifier = "www.example.org".parse().unwrap();
        let made = ChallengeCertificate::new(&identifier, "token.thumb").unwrap();
        let facts = CertificateFacts::from_der(&made.certificate).unwrap();
        assert_eq!(facts.names.dns, ["www.example.org"]);
        let digest = digest(&SHA256, b"token.thumb");
        // id-pe-acmeIdentifier, critical, an OCTET STRING of 32 bytes inside one of 34.
        let extension = [
            &[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 1, 1, 0xff, 4, 34, 4, 32][..],
            digest.as_ref(),
        ]
        .concat();
        let der = made.certificate.as_ref();
        assert!(der.windows(extension.len()).any(|part| part == extension));
        assert!(ChallengeCertificate::new(&"*.a.test".parse().unwrap(), "x").is_none());
    }
}
