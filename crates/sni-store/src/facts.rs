//! What the selector wants to know of a certificate, read from its DER.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A leaf's names and validity.
pub(crate) struct Facts {
    pub(crate) common_name: Option<String>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) validity: RangeInclusive<OffsetDateTime>,
    pub(crate) is_ca: bool,
    pub(crate) self_issued: bool,
}

impl Facts {
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let mut dns_names = Vec::new();
        let mut ips = Vec::new();
        let sans = certificate
            .subject_alternative_name()
            .map_err(|error| error.to_string())?;
        for name in sans.iter().flat_map(|san| &san.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(octets) => ips.push(ip(octets)?),
                _ => {}
            }
        }
        Ok(Self {
            common_name: certificate
                .subject()
                .iter_common_name()
                .last()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            dns_names,
            ips,
            validity: certificate.validity().not_before.to_datetime()
                ..=certificate.validity().not_after.to_datetime(),
            is_ca: certificate.is_ca(),
            self_issued: certificate.subject() == certificate.issuer(),
        })
    }
}

/// RFC 5280 section 4.2.1.6: four octets or sixteen.
fn ip(octets: &[u8]) -> Result<IpAddr, String> {
    let v4 = || <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4().or_else(|_| v6())
        .map_err(|_| format!("an IP address of {} bytes, expected 4 or 16", octets.len()))
}
