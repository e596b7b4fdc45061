//! What a Secret holds beside key and chain, and how long PEM texts may be.

use std::sync::Arc;

use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_cert_model::output::OutputFormat;
use certwright_cert_model::secret::{CA_CRT, KEY_DER, TLS_COMBINED, TLS_CRT, TLS_KEY};
use certwright_cert_model::subject::{Attribute, Rdn, Subject, attribute};
use certwright_cert_model::usage::{KeyUsage, Usage, Usages};
use certwright_cert_model::{Defaults, TlsSecret, pem};
use certwright_issuance::bundle::combined_pem;
use certwright_issuance::csr::Request;
use certwright_issuance::{CsrPolicy, KeyPair, Profile, VerifiedCsr, pem_limit, self_signed};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::super::{Case, Verdict};
use super::key::made;
use super::{documented, refused, validated};

/// What a format adds to the Secret of a certificate. Where the case gives no key or none that can be read, one
/// of every algorithm is written in every encoding.
pub(super) fn format(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    let spec = json!({"commonName": "x", "additionalOutputFormats": [{"type": input["type"]}]});
    let spec = match validated(&spec, &Defaults::cert_manager_1_21())? {
        Ok(spec) => spec,
        Err(violations) => return Some(refused(case, &violations, documented(&spec))),
    };
    let (name, wanted) = (
        case.expect["dataKey"].as_str()?,
        case.expect["value"].as_str(),
    );
    let (given, chain) = (input["key"].as_str()?, input["chain"].as_str()?);
    let keys = match KeyPair::from_pem(given.as_bytes()) {
        Ok(key) => vec![Arc::new(key)],
        Err(_) => [
            KeyAlgorithm::Ecdsa(Curve::P256),
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::default(),
        ]
        .into_iter()
        .map(made)
        .collect::<Result<_, _>>()
        .ok()?,
    };
    for key in keys {
        for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
            let secret = secret(&key, encoding, spec.outputs())?;
            let plain = [TLS_KEY, TLS_CRT, CA_CRT];
            let added: Vec<_> = secret
                .data()
                .map(|(name, _)| name)
                .filter(|name| !plain.contains(name))
                .collect();
            if added != [name] {
                return Some(Verdict::Failed(format!("expected {name}, found {added:?}")));
            }
            let block = pem::read(secret.get(TLS_KEY)?).ok()?.into_iter().next()?;
            let as_stored = match name {
                KEY_DER => block.der().to_vec(),
                TLS_COMBINED => [secret.get(TLS_KEY)?, b"\n", secret.get(TLS_CRT)?].concat(),
                _ => return None,
            };
            if secret.get(name)? != as_stored {
                return Some(Verdict::Failed(format!("{name} is not as tls.key has it")));
            }
        }
    }
    Some(match spec.outputs() {
        // The texts of the case are no PEM, so they only go through the function that joins them.
        [OutputFormat::CombinedPem] => {
            Verdict::equal(&Some(combined_pem(given, chain).as_str()), &wanted)
        }
        _ => Verdict::Passed,
    })
}

/// The Secret of a self-signed certificate.
pub(super) fn secret(
    key: &KeyPair,
    encoding: KeyEncoding,
    outputs: &[OutputFormat],
) -> Option<TlsSecret> {
    let name = Attribute::new(attribute::COMMON_NAME.parse().ok()?, "x");
    let usages: Usages = [Usage::Key(KeyUsage::DigitalSignature)]
        .into_iter()
        .collect();
    let mut request = Request::default();
    request.subject = Subject::new(vec![Rdn::new(vec![name])?]);
    request.usages = usages.clone();
    let csr = request.sign(key).ok()?;
    let csr = VerifiedCsr::from_der(csr.der(), &CsrPolicy::default()).ok()?;
    let profile = Profile::leaf(usages, Duration::hours(1));
    let bundle = self_signed(
        &csr,
        key,
        &profile,
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000),
    )
    .ok()?;
    bundle
        .into_secret(TlsSecret::new("ns", "name"), key, encoding, outputs)
        .ok()
}

pub(super) fn size_limit(case: &Case) -> Option<Verdict> {
    let limit = match case.input["what"].as_str()? {
        "private-key" => pem_limit::PRIVATE_KEY,
        "single-certificate-or-csr" => pem_limit::CERTIFICATE,
        "certificate-chain" => pem_limit::CHAIN,
        "trust-bundle" => pem_limit::BUNDLE,
        _ => return None,
    };
    let wanted = case.expect["maxBytes"].as_u64();
    if limit == pem_limit::PRIVATE_KEY {
        // Text around the blocks is skipped, so a key can be made as long as the limit, and longer.
        let key = made(KeyAlgorithm::Ed25519).ok()?;
        let text = key.to_pem(KeyEncoding::Pkcs8).ok()?;
        let padded = |length: usize| {
            let padding = "\n".repeat(length.saturating_sub(text.len()));
            KeyPair::from_pem(format!("{padding}{}", text.as_str()).as_bytes())
        };
        let held = padded(limit).is_ok() && padded(limit + 1).is_err();
        if !held {
            return Some(Verdict::Failed(format!("{limit} bytes are not the limit")));
        }
    }
    Some(Verdict::equal(&u64::try_from(limit).ok(), &wanted))
}
