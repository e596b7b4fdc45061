//! TLS versions and cipher suites, by the names Go and Traefik give them.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ProtocolVersion, SupportedProtocolVersion};

/// The versions and suites to offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsParameters {
    /// The lowest version; TLS 1.2 without it.
    pub(crate) min: Option<TlsVersion>,
    /// The highest version; TLS 1.3 without it.
    pub(crate) max: Option<TlsVersion>,
    /// The suites; every one the provider has without it.
    pub(crate) suites: Option<Vec<CipherSuite>>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.0, which rustls does not have.
    V1_0,
    /// TLS 1.1, which rustls does not have.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What a name of a suite stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedSuite {
    Known(CipherSuite),
    /// Go has it, rustls will not: CBC, static RSA, RC4, 3DES.
    Obsolete,
}

impl TlsVersion {
    /// Reads `VersionTLS10` to `VersionTLS13`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "VersionTLS10" => Self::V1_0,
            "VersionTLS11" => Self::V1_1,
            "VersionTLS12" => Self::V1_2,
            "VersionTLS13" => Self::V1_3,
            _ => return None,
        })
    }
}

impl TlsParameters {
    /// The suites to offer, by number; `None` stands for every one the crypto provider has.
    pub fn suites(&self) -> Option<&[CipherSuite]> {
        self.suites.as_deref()
    }

    /// Whether a version is to be offered.
    pub fn allows(&self, version: TlsVersion) -> bool {
        version >= self.min.unwrap_or(TlsVersion::V1_2).max(TlsVersion::V1_2)
            && version <= self.max.unwrap_or(TlsVersion::V1_3)
    }

    /// Whether any suite is left for any version; the provider may still have none of them.
    pub(crate) fn offers_anything(&self) -> bool {
        let offers = |version: TlsVersion, wants_tls13: bool| {
            self.allows(version)
                && self.suites.as_ref().is_none_or(|suites| {
                    suites
                        .iter()
                        .any(|suite| TLS13_SUITES.contains(suite) == wants_tls13)
                })
        };
        offers(TlsVersion::V1_2, false) || offers(TlsVersion::V1_3, true)
    }

    /// The provider with these suites only, and the versions that are left; `None` if nothing is.
    pub(crate) fn apply(
        &self,
        provider: &CryptoProvider,
    ) -> Option<(CryptoProvider, Vec<&'static SupportedProtocolVersion>)> {
        let mut provider = provider.clone();
        provider.cipher_suites.retain(|suite| {
            self.suites
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&suite.suite()))
        });
        let versions: Vec<_> = rustls::ALL_VERSIONS
            .iter()
            .copied()
            .filter(|version| {
                let name = match version.version {
                    ProtocolVersion::TLSv1_2 => TlsVersion::V1_2,
                    ProtocolVersion::TLSv1_3 => TlsVersion::V1_3,
                    _ => return false,
                };
                self.allows(name)
                    && provider
                        .cipher_suites
                        .iter()
                        .any(|suite| suite.version().version == version.version)
            })
            .collect();
        (!versions.is_empty()).then_some((provider, versions))
    }
}

/// A suite by its name in Go, with Traefik's two aliases.
pub(crate) fn suite(name: &str) -> Option<NamedSuite> {
    use CipherSuite as S;
    Some(NamedSuite::Known(match name {
        "TLS_AES_128_GCM_SHA256" => S::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => S::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => S::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"
        | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        name if OBSOLETE.contains(&name) => return Some(NamedSuite::Obsolete),
        _ => return None,
    }))
}

/// Every suite of TLS 1.3 that has a name above.
pub(crate) const TLS13_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// `TLS_FALLBACK_SCSV` is among Traefik's names, though it is a signal and no suite.
const OBSOLETE: [&str; 18] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_FALLBACK_SCSV",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA256",
];
