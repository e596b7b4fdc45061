use core::fmt;

use zeroize::Zeroizing;

use crate::chain::ChainPreference;

/// Let's Encrypt's directory, the default.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Let's Encrypt's directory for trying things out: certificates that nobody trusts, generous limits.
pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// A CA and how to deal with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuerOptions {
    /// `caServer`: the URL of its directory.
    pub ca_server: String,
    /// `eab`.
    pub eab: Option<ExternalAccountBinding>,
    /// `preferredChain` and `preferShortestChain`.
    pub preferred_chain: ChainPreference,
    /// `profile`: one of those the CA's directory lists.
    pub profile: Option<String>,
    /// Who vouches for the CA's own server.
    pub trust: Trust,
}

impl Default for IssuerOptions {
    fn default() -> Self {
        Self::new(LETS_ENCRYPT)
    }
}

impl IssuerOptions {
    /// The CA of this directory.
    pub fn new(ca_server: impl Into<String>) -> Self {
        Self {
            ca_server: ca_server.into(),
            eab: None,
            preferred_chain: ChainPreference::default(),
            profile: None,
            trust: Trust::default(),
        }
    }
}

/// Who vouches for the server of a CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trust {
    /// `caCertificates`: paths of PEM files, or PEM text; none stands for the system's roots.
    pub ca_certificates: Vec<String>,
    /// `caSystemCertPool`: whether the system's roots count beside `ca_certificates`.
    pub system_roots: bool,
    /// `caServerName`: the name to ask for and to verify instead of the URL's.
    pub server_name: Option<String>,
}

/// `eab`: the account at the CA's own books (RFC 8555, section 7.3.4).
#[derive(Clone)]
#[non_exhaustive]
pub struct ExternalAccountBinding {
    /// `kid`.
    pub kid: String,
    /// `hmacEncoded`, decoded.
    pub hmac: Zeroizing<Vec<u8>>,
}

impl ExternalAccountBinding {
    /// A binding by key identifier and decoded key.
    pub fn new(kid: impl Into<String>, hmac: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self {
            kid: kid.into(),
            hmac: hmac.into(),
        }
    }
}

impl fmt::Debug for ExternalAccountBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccountBinding")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let eab = ExternalAccountBinding::new("kid-1", b"secret".to_vec());
        assert_eq!(
            format!("{eab:?}"),
            "ExternalAccountBinding { kid: \"kid-1\", .. }"
        );
    }
}
