//! A small PKI: specifications as text, a root and an intermediate CA, and whatever is issued.

use certwright::KeySource;
use certwright::annotation::record;
use certwright::plan::{Authority, Observed, Plan, plan};
use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_cert_model::key::KeyEncoding;
use certwright_cert_model::secret::TLS_KEY;
use certwright_cert_model::{CertificateSpec, Defaults, TlsSecret, ValidatedSpec};
use certwright_issuance::{
    Certificate, CertificateAuthority, Csr, CsrPolicy, KeyPair, Profile, SignedBundle, self_signed,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
pub(crate) const NAME: &str = "web";

/// A validated specification: these lines beside `secretName`, `issuerRef` and, unless they name one, an Ed25519 key.
pub(crate) fn spec(lines: &str) -> ValidatedSpec {
    let mut text = format!("secretName: web-tls\n{lines}\n");
    for (field, default) in [
        ("issuerRef", "{name: ca}"),
        ("privateKey", "{algorithm: Ed25519}"),
        ("dnsNames", "[www.example.com]"),
    ] {
        if !lines.contains(field) {
            text.push_str(&format!("{field}: {default}\n"));
        }
    }
    let document = parse(&text, Format::Yaml).remove(0).unwrap();
    CertificateSpec::decode(&document.root, Strictness::Strict)
        .and_then(|spec| spec.validate(&Defaults::documented()))
        .unwrap_or_else(|violations| panic!("{text}{violations}"))
}

/// A CA with the certificates above it.
pub(crate) struct Ca {
    key_pem: String,
    chain: Vec<Certificate>,
    authority: CertificateAuthority,
}

impl Ca {
    /// A root CA, made `now`, for so many days.
    pub(crate) fn root(now: OffsetDateTime, days: i64) -> Self {
        Self::make(None, None, now, days)
    }

    /// A CA below this one.
    pub(crate) fn below(&self, now: OffsetDateTime, days: i64) -> Self {
        Self::make(Some(self), None, now, days)
    }

    /// The same CA with a new certificate, from above or by itself, with the same key.
    pub(crate) fn renewed(&self, above: Option<&Self>, now: OffsetDateTime, days: i64) -> Self {
        Self::make(above, Some(&self.key_pem), now, days)
    }

    fn make(above: Option<&Self>, key: Option<&str>, now: OffsetDateTime, days: i64) -> Self {
        let name = if above.is_some() {
            "Intermediate"
        } else {
            "Root"
        };
        let spec = spec(&format!(
            "commonName: {name}\ndnsNames: []\nisCA: true\nduration: {}h",
            days * 24
        ));
        let key = match key {
            Some(pem) => KeyPair::from_pem(pem.as_bytes()).unwrap(),
            None => KeyPair::generate(spec.key().algorithm).unwrap(),
        };
        let key_pem = key.to_pem(KeyEncoding::Pkcs8).unwrap().to_string();
        let csr = Csr::for_spec(&spec, &key).unwrap();
        let csr = csr.verify(&CsrPolicy::default()).unwrap();
        let profile = Profile::for_spec(&spec);
        let bundle = match above {
            Some(above) => above.authority.sign(&csr, &profile, now).unwrap(),
            None => self_signed(&csr, &key, &profile, now).unwrap(),
        };
        let mut chain = vec![bundle.certificate().unwrap()];
        chain.extend(above.into_iter().flat_map(|above| above.chain.clone()));
        let authority = CertificateAuthority::new(chain.clone(), key, now).unwrap();
        Self {
            key_pem,
            chain,
            authority,
        }
    }

    pub(crate) fn chain(&self) -> &[Certificate] {
        &self.chain
    }
}

/// Who issues in a test.
#[derive(Clone, Copy)]
pub(crate) enum Issuer<'a> {
    Ca(&'a Ca),
    OwnKey,
}

impl<'a> Issuer<'a> {
    pub(crate) fn authority(self) -> Authority<'a> {
        match self {
            Self::Ca(ca) => Authority::Chain(ca.chain()),
            Self::OwnKey => Authority::OwnKey,
        }
    }
}

/// Issues as a manager would: with a new key or the stored one, into a new Secret or the stored one.
pub(crate) fn issue(
    spec: &ValidatedSpec,
    issuer: Issuer<'_>,
    stored: Option<&TlsSecret>,
    key: KeySource,
    now: OffsetDateTime,
) -> TlsSecret {
    let key = match (key, stored) {
        (KeySource::Reuse, Some(stored)) => KeyPair::from_pem(stored.get(TLS_KEY).unwrap()),
        _ => KeyPair::generate(spec.key().algorithm),
    };
    let key = key.unwrap();
    let csr = Csr::for_spec(spec, &key).unwrap();
    let csr = csr.verify(&CsrPolicy::default()).unwrap();
    let profile = Profile::for_spec(spec);
    let bundle: SignedBundle = match issuer {
        Issuer::Ca(ca) => ca.authority.sign(&csr, &profile, now),
        Issuer::OwnKey => self_signed(&csr, &key, &profile, now),
    }
    .unwrap();
    let secret = match stored {
        Some(stored) => stored.clone_with_keys(),
        None => TlsSecret::new("ns", spec.secret_name()),
    };
    let (encoding, outputs) = (spec.key().encoding, spec.outputs());
    let mut secret = bundle.into_secret(secret, &key, encoding, outputs).unwrap();
    record(&mut secret, NAME, spec, now);
    secret
}

/// A Secret that was issued from a specification `now`.
pub(crate) fn issued(spec: &ValidatedSpec, issuer: Issuer<'_>, now: OffsetDateTime) -> TlsSecret {
    issue(spec, issuer, None, KeySource::Generate, now)
}

/// What is seen of a stored Secret, under this issuer.
pub(crate) fn seen<'a>(secret: &'a TlsSecret, issuer: Issuer<'a>) -> Observed<'a> {
    let mut seen = Observed::new(Some(secret), issuer.authority());
    seen.certificate = NAME;
    seen
}

/// The plan, made twice: it must be the same.
pub(crate) fn planned(spec: &ValidatedSpec, seen: &Observed<'_>, now: OffsetDateTime) -> Plan {
    let first = plan(spec, seen, now);
    assert_eq!(first, plan(spec, seen, now));
    first
}

pub(crate) fn days(days: i64) -> Duration {
    Duration::days(days)
}
