//! The names a certificate can carry as subject alternative names (RFC 5280, 4.2.1.6).

mod dns;
mod email;
mod ip;
mod other;
mod punycode;
mod spiffe;
mod uri;

pub use dns::{DnsName, DnsNameError, DnsPattern};
pub use email::{Email, EmailError};
pub use ip::{Cidr, CidrError, parse_ip};
pub use other::OtherName;
pub use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
pub use uri::{Uri, UriError};

/// The subject alternative names of a certificate, per form, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names {
    /// DNS names, some with a wildcard.
    pub dns: Vec<DnsPattern>,
    /// E-mail addresses.
    pub email: Vec<Email>,
    /// IP addresses.
    pub ip: Vec<core::net::IpAddr>,
    /// URIs.
    pub uri: Vec<Uri>,
    /// Other names: an object identifier and UTF-8 text.
    pub other: Vec<OtherName>,
}

impl Names {
    /// Whether there is no name of any form.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty()
            && self.email.is_empty()
            && self.ip.is_empty()
            && self.uri.is_empty()
            && self.other.is_empty()
    }
}
