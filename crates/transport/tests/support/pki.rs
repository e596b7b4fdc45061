//! A small certificate authority for tests, able to make certificates that no honest one would.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test uses another part, and a test may panic"
)]

use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use time::{Duration, OffsetDateTime};

/// The instant tests verify at, unless they move it: 2026-06-15 00:00 UTC.
pub const NOW: i64 = 1_781_481_600;

pub fn now() -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()))
}

/// A certificate with its key, and its issuers' certificates up to but without the root.
pub struct Pair {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
}

impl Pair {
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    certwright_cert_model::pem::write(label, der).to_string()
}

/// What to put into a certificate.
#[derive(Clone)]
pub struct Spec {
    pub common_name: String,
    pub uris: Vec<Vec<u8>>,
    pub dns: Vec<String>,
    pub emails: Vec<String>,
    /// `None`: no basic constraints.
    pub ca: Option<bool>,
    pub path_length: Option<u8>,
    pub key_usage: Option<Vec<KeyUsagePurpose>>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    /// Days from [`NOW`].
    pub days: (i64, i64),
    pub extensions: Vec<CustomExtension>,
    pub serial: Option<u64>,
    pub crl_points: Vec<CrlDistributionPoint>,
}

impl Spec {
    pub fn leaf() -> Self {
        Self {
            common_name: "leaf".to_owned(),
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            ca: Some(false),
            path_length: None,
            key_usage: Some(vec![KeyUsagePurpose::DigitalSignature]),
            purposes: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            days: (-1, 30),
            extensions: Vec::new(),
            serial: None,
            crl_points: Vec::new(),
        }
    }

    pub fn svid(id: &str) -> Self {
        Self {
            uris: vec![id.as_bytes().to_vec()],
            ..Self::leaf()
        }
    }

    pub fn host(name: &str) -> Self {
        Self {
            dns: vec![name.to_owned()],
            ..Self::leaf()
        }
    }

    pub fn ca(name: &str) -> Self {
        Self {
            common_name: name.to_owned(),
            ca: Some(true),
            key_usage: Some(vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]),
            purposes: Vec::new(),
            days: (-365, 3650),
            ..Self::leaf()
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.clone());
        params.is_ca = match (self.ca, self.path_length) {
            (None, _) => IsCa::NoCa,
            (Some(false), _) => IsCa::ExplicitNoCa,
            (Some(true), None) => IsCa::Ca(BasicConstraints::Unconstrained),
            (Some(true), Some(length)) => IsCa::Ca(BasicConstraints::Constrained(length)),
        };
        params.serial_number = self.serial.map(Into::into);
        params.crl_distribution_points = self.crl_points.clone();
        params.key_usages = self.key_usage.clone().unwrap_or_default();
        params.extended_key_usages = self.purposes.clone();
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        params.not_before = now + Duration::days(self.days.0);
        params.not_after = now + Duration::days(self.days.1);
        let names = self.names();
        if !names.is_empty() {
            let extension = der(0x30, &[&names]);
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(
                    &[2, 5, 29, 17],
                    extension,
                ));
        }
        params
            .custom_extensions
            .extend(self.extensions.iter().cloned());
        params
    }

    fn names(&self) -> Vec<u8> {
        let mut names = Vec::new();
        for email in &self.emails {
            names.extend(der(0x81, &[email.as_bytes()]));
        }
        for dns in &self.dns {
            names.extend(der(0x82, &[dns.as_bytes()]));
        }
        for uri in &self.uris {
            names.extend(der(0x86, &[uri]));
        }
        names
    }
}

/// Name constraints with one subtree: `part` is 0 for permitted, 1 for excluded; `kind` a name's tag.
pub fn name_constraint(part: u8, kind: u8, base: &str) -> CustomExtension {
    let subtree = der(0x30, &[&der(kind, &[base.as_bytes()])]);
    let content = der(0x30, &[&der(0xa0 + part, &[&subtree])]);
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    extension.set_criticality(true);
    extension
}

/// An element of DER with these parts as its value.
pub fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let mut out = vec![tag];
    match value.len() {
        short @ 0..0x80 => out.push(short.try_into().unwrap()),
        medium @ 0x80..0x100 => out.extend([0x81, medium.try_into().unwrap()]),
        long => {
            out.push(0x82);
            out.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    out.extend(value);
    out
}

/// A CA: a root, or one signed by another.
pub struct Authority {
    pub certificate: CertificateDer<'static>,
    pub issuer: Issuer<'static, KeyPair>,
    /// Itself and its issuers, without the root; empty for a root.
    above: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub fn root(name: &str) -> Self {
        Self::root_of(&Spec::ca(name))
    }

    pub fn root_of(spec: &Spec) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = spec.params();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
            above: Vec::new(),
        }
    }

    pub fn sub(&self, spec: &Spec) -> Self {
        self.sub_for(spec, KeyPair::generate().unwrap())
    }

    pub fn sub_for(&self, spec: &Spec, key: KeyPair) -> Self {
        let params = spec.params();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let mut above = vec![certificate.clone()];
        above.extend(self.above.iter().cloned());
        Self {
            certificate,
            issuer: Issuer::new(params, key),
            above,
        }
    }

    pub fn issue(&self, spec: &Spec) -> Pair {
        self.issue_for(spec, KeyPair::generate().unwrap())
    }

    pub fn issue_for(&self, spec: &Spec, key: KeyPair) -> Pair {
        let leaf = spec.params().signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(self.above.iter().cloned());
        Pair { chain, key }
    }

    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }
}
