use core::fmt;

use super::one_line;

/// The `type` of a problem document.
///
/// Those of RFC 8555 (section 6.7), of RFC 9773 (section 7.4) and of the profiles extension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorType {
    /// The account does not exist.
    AccountDoesNotExist,
    /// The certificate that was to be replaced has been replaced already.
    AlreadyReplaced,
    /// The certificate is revoked already.
    AlreadyRevoked,
    /// The request for a certificate is unacceptable.
    BadCsr,
    /// The nonce is not known any more.
    BadNonce,
    /// The account key is not supported.
    BadPublicKey,
    /// The reason for revoking is not allowed.
    BadRevocationReason,
    /// The signature's algorithm is not supported.
    BadSignatureAlgorithm,
    /// No type, `about:blank` (RFC 7807, section 4.2), or no problem document at all.
    Blank,
    /// CAA records forbid the CA to issue.
    Caa,
    /// Several errors, in the subproblems.
    Compound,
    /// The CA could not connect to the server.
    Connection,
    /// A DNS query failed.
    Dns,
    /// The account must be bound to an external one.
    ExternalAccountRequired,
    /// What came was not what the challenge asks for.
    IncorrectResponse,
    /// A contact's URL is invalid.
    InvalidContact,
    /// The CA has no such profile.
    InvalidProfile,
    /// The request is malformed.
    Malformed,
    /// The order is not ready to be finalized.
    OrderNotReady,
    /// Too many requests, orders or failures.
    RateLimited,
    /// The CA will not issue for a name.
    RejectedIdentifier,
    /// The CA failed.
    ServerInternal,
    /// The CA had a TLS error with the server.
    Tls,
    /// The account may not do this, or does not control the name.
    Unauthorized,
    /// A contact's URL has a scheme that is not supported.
    UnsupportedContact,
    /// A name is of a type that is not supported.
    UnsupportedIdentifier,
    /// A person must visit the URL in `instance`.
    UserActionRequired,
    /// Any other type: its URI in one line.
    Other(String),
}

impl ErrorType {
    /// The error of this URI, such as `urn:ietf:params:acme:error:dns`.
    pub fn from_uri(uri: &str) -> Self {
        if uri.is_empty() || uri == "about:blank" {
            return Self::Blank;
        }
        let known = uri.strip_prefix(NAMESPACE).and_then(|name| {
            let mut known = NAMES.iter();
            known.find(|(_, known)| *known == name)
        });
        match known {
            Some((kind, _)) => kind.clone(),
            None => one_line(uri).map_or(Self::Blank, Self::Other),
        }
    }

    /// The error's URI; empty for [`ErrorType::Blank`].
    pub fn to_uri(&self) -> String {
        match (self, self.name()) {
            (Self::Other(uri), _) => uri.clone(),
            (_, Some(name)) => format!("{NAMESPACE}{name}"),
            (_, None) => String::new(),
        }
    }

    fn name(&self) -> Option<&'static str> {
        let mut known = NAMES.iter();
        known.find(|(kind, _)| kind == self).map(|(_, name)| *name)
    }
}

impl fmt::Display for ErrorType {
    /// The name alone: `dns`; of other types the whole URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.name()) {
            (Self::Other(uri), _) => f.write_str(uri),
            (_, name) => f.write_str(name.unwrap_or("no type")),
        }
    }
}

const NAMESPACE: &str = "urn:ietf:params:acme:error:";

const NAMES: [(ErrorType, &str); 26] = [
    (ErrorType::AccountDoesNotExist, "accountDoesNotExist"),
    (ErrorType::AlreadyReplaced, "alreadyReplaced"),
    (ErrorType::AlreadyRevoked, "alreadyRevoked"),
    (ErrorType::BadCsr, "badCSR"),
    (ErrorType::BadNonce, "badNonce"),
    (ErrorType::BadPublicKey, "badPublicKey"),
    (ErrorType::BadRevocationReason, "badRevocationReason"),
    (ErrorType::BadSignatureAlgorithm, "badSignatureAlgorithm"),
    (ErrorType::Caa, "caa"),
    (ErrorType::Compound, "compound"),
    (ErrorType::Connection, "connection"),
    (ErrorType::Dns, "dns"),
    (
        ErrorType::ExternalAccountRequired,
        "externalAccountRequired",
    ),
    (ErrorType::IncorrectResponse, "incorrectResponse"),
    (ErrorType::InvalidContact, "invalidContact"),
    (ErrorType::InvalidProfile, "invalidProfile"),
    (ErrorType::Malformed, "malformed"),
    (ErrorType::OrderNotReady, "orderNotReady"),
    (ErrorType::RateLimited, "rateLimited"),
    (ErrorType::RejectedIdentifier, "rejectedIdentifier"),
    (ErrorType::ServerInternal, "serverInternal"),
    (ErrorType::Tls, "tls"),
    (ErrorType::Unauthorized, "unauthorized"),
    (ErrorType::UnsupportedContact, "unsupportedContact"),
    (ErrorType::UnsupportedIdentifier, "unsupportedIdentifier"),
    (ErrorType::UserActionRequired, "userActionRequired"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_read_back() {
        for (kind, name) in &NAMES {
            assert_eq!(kind.to_string(), *name);
            assert_eq!(ErrorType::from_uri(&kind.to_uri()), *kind);
        }
        for (uri, expected) in [
            ("", ErrorType::Blank),
            ("about:blank", ErrorType::Blank),
            ("\n", ErrorType::Blank),
            ("dns", ErrorType::Other("dns".to_owned())),
            ("urn:x:\ny", ErrorType::Other("urn:x: y".to_owned())),
        ] {
            assert_eq!(ErrorType::from_uri(uri), expected, "{uri:?}");
        }
    }
}
