//! Certificates by their properties, also such as no honest CA would sign.

use std::collections::HashMap;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::super::der::element;
use super::super::only;
use super::texts;

/// The instant of verification: 2026-06-15 00:00 UTC.
const NOW: i64 = 1_781_481_600;

pub(super) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()))
}

/// A certificate and its key.
pub(super) struct Member {
    pub(super) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Member {
    pub(super) fn key_der(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }
}

/// The CAs that cases name: the roots `ca1`, `ca2` and `unknown`; `int1` below `ca1`, which no peer presents;
/// `chain[n]`, which a case describes.
pub(super) struct Pki<'a> {
    chain: &'a [Value],
    members: HashMap<String, Member>,
}

impl<'a> Pki<'a> {
    pub(super) fn new(chain: &'a Value) -> Self {
        Self {
            chain: chain.as_array().map(Vec::as_slice).unwrap_or_default(),
            members: HashMap::new(),
        }
    }

    /// The CA of this name.
    pub(super) fn authority(&mut self, name: &str) -> Option<&Member> {
        if !self.members.contains_key(name) {
            let root = json!({"ca": true, "key_usage": ["keyCertSign", "cRLSign"]});
            let member = match name {
                "ca1" | "ca2" | "unknown" => make(name, &root, None)?,
                "int1" => make(name, &root, Some(self.authority("ca1")?))?,
                _ => {
                    let number = name.strip_prefix("chain[")?.strip_suffix(']')?;
                    let properties = self.chain.get(number.parse::<usize>().ok()?)?;
                    match properties["signed_by"].as_str()? {
                        "self" => make(name, properties, None)?,
                        // Nobody is their own issuer's issuer.
                        issuer if issuer == name => return None,
                        issuer => make(name, properties, Some(self.authority(issuer)?))?,
                    }
                }
            };
            self.members.insert(name.to_owned(), member);
        }
        self.members.get(name)
    }

    /// What a peer presents besides its own certificate.
    pub(super) fn presented(&mut self) -> Option<Vec<CertificateDer<'static>>> {
        (0..self.chain.len())
            .map(|number| {
                let member = self.authority(&format!("chain[{number}]"))?;
                Some(member.certificate.clone())
            })
            .collect()
    }

    /// A certificate of a peer itself; `self` has no issuer.
    pub(super) fn leaf(&mut self, properties: &Value, signed_by: &str) -> Option<Member> {
        match signed_by {
            "self" => make("leaf", properties, None),
            issuer => make("leaf", properties, Some(self.authority(issuer)?)),
        }
    }
}

fn make(name: &str, properties: &Value, issuer: Option<&Member>) -> Option<Member> {
    let params = params(name, properties)?;
    let key = KeyPair::generate().ok()?;
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, &issuer.issuer),
        None => params.self_signed(&key),
    };
    Some(Member {
        certificate: made.ok()?.der().clone(),
        issuer: Issuer::new(params, key),
    })
}

fn params(name: &str, properties: &Value) -> Option<CertificateParams> {
    only(properties, &PROPERTIES)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = properties["common_name"].as_str().unwrap_or(name);
    params.distinguished_name.push(DnType::CommonName, name);
    let path_length = match &properties["pathlen"] {
        Value::Null => BasicConstraints::Unconstrained,
        length => BasicConstraints::Constrained(u8::try_from(length.as_u64()?).ok()?),
    };
    params.is_ca = match (
        properties["basic_constraints_present"].as_bool(),
        properties["ca"].as_bool()?,
    ) {
        (Some(false), _) => IsCa::NoCa,
        (_, true) => IsCa::Ca(path_length),
        (_, false) => IsCa::ExplicitNoCa,
    };
    let (from, to) = match properties["validity"].as_str() {
        None | Some("now") => (-30, 30),
        Some("past") => (-30, -1),
        Some("future") => (1, 30),
        Some(_) => return None,
    };
    let now = OffsetDateTime::from_unix_timestamp(NOW).ok()?;
    params.not_before = now + Duration::days(from);
    params.not_after = now + Duration::days(to);
    let extensions = &mut params.custom_extensions;
    extensions.extend(names(properties)?);
    extensions.extend(key_usage(&properties["key_usage"])?);
    extensions.extend(constraints(properties)?);
    for oid in texts(&properties["critical_extensions"])? {
        let arcs: Option<Vec<u64>> = oid.split('.').map(|arc| arc.parse().ok()).collect();
        extensions.push(extension(&arcs?, true, vec![0x05, 0]));
    }
    if let Some(purposes) = properties["eku"].as_array() {
        if purposes.is_empty() {
            extensions.push(extension(&[2, 5, 29, 37], false, element(0x30, &[])));
        }
        params.extended_key_usages = purposes
            .iter()
            .map(|purpose| eku(purpose.as_str()?))
            .collect::<Option<_>>()?;
    }
    Some(params)
}

fn extension(oid: &[u64], critical: bool, content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content);
    extension.set_criticality(critical);
    extension
}

/// The subject alternative names, whatever their bytes.
fn names(properties: &Value) -> Option<Option<CustomExtension>> {
    let mut names = Vec::new();
    for (list, tag) in [("email_sans", EMAIL), ("dns_sans", DNS), ("uri_sans", URI)] {
        for text in texts(&properties[list])? {
            names.extend(element(tag, text.as_bytes()));
        }
    }
    let some = !names.is_empty();
    Some(some.then(|| extension(&[2, 5, 29, 17], false, element(0x30, &names))))
}

fn key_usage(usages: &Value) -> Option<Option<CustomExtension>> {
    let Some(usages) = usages.as_array() else {
        return Some(None);
    };
    let mut octets = [0_u8; 2];
    for usage in usages {
        let bit = KEY_USAGES.iter().position(|name| *usage == json!(name))?;
        octets[bit / 8] |= 0x80 >> (bit % 8);
    }
    let content = match octets {
        [0, 0] => vec![0],
        [first, 0] => vec![u8::try_from(first.trailing_zeros()).ok()?, first],
        [first, second] => vec![u8::try_from(second.trailing_zeros()).ok()?, first, second],
    };
    Some(Some(extension(
        &[2, 5, 29, 15],
        true,
        element(0x03, &content),
    )))
}

fn eku(purpose: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match purpose {
        "any" | "anyExtendedKeyUsage" => ExtendedKeyUsagePurpose::Any,
        "clientAuth" => ExtendedKeyUsagePurpose::ClientAuth,
        "codeSigning" => ExtendedKeyUsagePurpose::CodeSigning,
        "emailProtection" => ExtendedKeyUsagePurpose::EmailProtection,
        "OCSPSigning" | "ocspSigning" => ExtendedKeyUsagePurpose::OcspSigning,
        "serverAuth" => ExtendedKeyUsagePurpose::ServerAuth,
        "timeStamping" => ExtendedKeyUsagePurpose::TimeStamping,
        oid => {
            let arcs: Option<Vec<u64>> = oid.split('.').map(|arc| arc.parse().ok()).collect();
            ExtendedKeyUsagePurpose::Other(arcs?)
        }
    })
}

/// `nc_permitted_uri` and the like: lists of subtrees.
fn constraints(properties: &Value) -> Option<Option<CustomExtension>> {
    let mut sides = Vec::new();
    for (part, side) in [(0xa0, "permitted"), (0xa1, "excluded")] {
        let mut subtrees = Vec::new();
        for (form, tag) in [("email", EMAIL), ("dns", DNS), ("uri", URI)] {
            for base in texts(&properties[format!("nc_{side}_{form}")])? {
                subtrees.extend(element(0x30, &element(tag, base.as_bytes())));
            }
        }
        if !subtrees.is_empty() {
            sides.extend(element(part, &subtrees));
        }
    }
    let some = !sides.is_empty();
    Some(some.then(|| extension(&[2, 5, 29, 30], true, element(0x30, &sides))))
}

/// The tags of rfc822Name, dNSName and uniformResourceIdentifier.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;

/// By bit (RFC 5280, 4.2.1.3).
const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

/// What a certificate can be described by; the last two are about who uses it.
const PROPERTIES: [&str; 19] = [
    "basic_constraints_present",
    "ca",
    "common_name",
    "critical_extensions",
    "dns_sans",
    "eku",
    "email_sans",
    "key_usage",
    "nc_excluded_dns",
    "nc_excluded_email",
    "nc_excluded_uri",
    "nc_permitted_dns",
    "nc_permitted_email",
    "nc_permitted_uri",
    "pathlen",
    "uri_sans",
    "validity",
    "handshake_signature",
    "signed_by",
];
