//! Chains: put in order, written, extended by an issuing CA.

use std::time::Instant;

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::subject::{Attribute, Rdn, Subject, attribute};
use certwright_cert_model::usage::{KeyUsage, Usage, Usages};
use certwright_issuance::certificate::CertificateError;
use certwright_issuance::chain::{self, AssembleError, ReadError};
use certwright_issuance::csr::Request;
use certwright_issuance::{Certificate, CertificateAuthority, CsrPolicy, Profile, VerifiedCsr};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::super::{Case, Verdict, only};
use super::expects_error;
use super::key::made;
use super::pki::Pki;

pub(super) fn assemble(case: &Case) -> Option<Verdict> {
    only(&case.input, &["generate", "order", "pki"])?;
    let mut pki = Pki::of(&case.input["pki"]);
    let (start, found) = match &case.input["generate"] {
        Value::Null => {
            let order = case.input["order"].as_array().map(Vec::as_slice);
            let mut text = String::new();
            for name in order.unwrap_or_default() {
                // Upstream refuses a list with a hole in it.
                let Some(name) = name.as_str() else {
                    return Some(Verdict::equal(&expects_error(case), &true));
                };
                // What names no certificate stands between them.
                match pki.knows(name) {
                    true => text.push_str(&pki.certificate(name)?.to_pem()),
                    false => text.push_str(&format!("{name}\n")),
                }
            }
            (Instant::now(), chain::read_pem(text.as_bytes()))
        }
        generate => {
            only(generate, &["intermediates", "selfSigned"])?;
            match (&generate["intermediates"], &generate["selfSigned"]) {
                (intermediates, Value::Null) => {
                    let line = pki.line(intermediates.as_u64()?)?;
                    let text: String = line.iter().map(Certificate::to_pem).collect();
                    (Instant::now(), chain::read_pem(text.as_bytes()))
                }
                // Those of upstream's tests never were a text.
                (Value::Null, many) => {
                    let names = (0..many.as_u64()?).map(|number| format!("root-{number}"));
                    let roots = names.map(|name| pki.certificate(&name));
                    let roots = roots.collect::<Option<_>>()?;
                    (Instant::now(), chain::assemble(roots).map_err(Into::into))
                }
                _ => return None,
            }
        }
    };
    let took = start.elapsed();
    if let Some(limit) = case.expect["maxSeconds"].as_f64()
        && took.as_secs_f64() > limit
    {
        return Some(Verdict::Failed(format!("took {took:?}")));
    }
    let found = match found {
        Ok(found) => found,
        Err(error) => return Some(broken(case, &error)),
    };
    if case.expect["ok"] == true {
        return Some(Verdict::Passed);
    }
    let chain = pki.names(&found.chain);
    let authority = pki.names(&found.authority).pop().flatten();
    Some(Verdict::equal(
        &json!({"chain": chain, "ca": authority}),
        &case.expect,
    ))
}

fn broken(case: &Case, error: &ReadError) -> Verdict {
    let too_much = matches!(
        error,
        ReadError::Assemble(AssembleError::TooMany { .. } | AssembleError::Ambiguous { .. })
            | ReadError::Certificate(CertificateError::TooLong { .. })
    );
    match case.expect["error"].as_str() {
        Some("broken") if too_much => Verdict::Failed(error.to_string()),
        Some(code) if code.starts_with("too-") && !too_much => Verdict::Failed(error.to_string()),
        _ if expects_error(case) => Verdict::Passed,
        _ => Verdict::Failed(error.to_string()),
    }
}

pub(super) fn encode(case: &Case) -> Option<Verdict> {
    let mut pki = Pki::default();
    let given = match &case.input {
        // Upstream skips what is no certificate; our list cannot hold such.
        Value::Array(list) => list
            .iter()
            .filter(|name| !name.is_null())
            .cloned()
            .collect(),
        given => given.clone(),
    };
    let certificates = pki.certificates(&names(&given)?)?;
    let text = chain::encode_chain(&certificates);
    let written = match text.as_str() {
        "" => Vec::new(),
        text => match Certificate::read_pem(text.as_bytes()) {
            Ok(written) => written,
            Err(error) => return Some(Verdict::Failed(error.to_string())),
        },
    };
    Some(Verdict::equal(&json!(pki.names(&written)), &case.expect))
}

pub(super) fn ca_sign(case: &Case) -> Option<Verdict> {
    only(&case.input, &["caCerts", "subject"])?;
    let mut pki = Pki::default();
    let issuers = names(&case.input["caCerts"])?;
    let subject = case.input["subject"].as_str()?;
    let certificates = pki.certificates(&issuers)?;
    let key = match issuers.first() {
        Some(first) => pki.key(first)?,
        None => certwright_issuance::KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).ok()?,
    };
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let authority = match CertificateAuthority::new(certificates, key, now) {
        Ok(authority) => authority,
        Err(_) if expects_error(case) => return Some(Verdict::Passed),
        Err(error) => return Some(Verdict::Failed(error.to_string())),
    };
    let usage = match subject.starts_with("leaf") {
        true => KeyUsage::DigitalSignature,
        false => KeyUsage::CertSign,
    };
    let usages: Usages = [Usage::Key(usage)].into_iter().collect();
    let profile = match usage {
        KeyUsage::CertSign => Profile::ca(usages.clone(), Duration::days(90), None),
        _ => Profile::leaf(usages.clone(), Duration::days(90)),
    };
    let name = Attribute::new(attribute::COMMON_NAME.parse().ok()?, subject);
    let mut request = Request::default();
    request.subject = Subject::new(vec![Rdn::new(vec![name])?]);
    request.usages = usages;
    let csr = request
        .sign(&*made(KeyAlgorithm::Ecdsa(Curve::P256)).ok()?)
        .ok()?;
    let csr = VerifiedCsr::from_der(csr.der(), &CsrPolicy::default()).ok()?;
    let bundle = match authority.sign(&csr, &profile, now) {
        Ok(_) if expects_error(case) => return Some(Verdict::Failed("signed".to_owned())),
        Ok(bundle) => bundle,
        Err(_) if expects_error(case) => return Some(Verdict::Passed),
        Err(error) => return Some(Verdict::Failed(error.to_string())),
    };
    let read =
        |der: &rustls::pki_types::CertificateDer<'static>| Certificate::from_der(der.clone()).ok();
    let above: Vec<_> = bundle.chain().skip(1).map(read).collect::<Option<_>>()?;
    let mut chain = vec![Some(subject)];
    chain.extend(pki.names(&above));
    let ca = bundle.authority().and_then(read);
    let ca = pki.names(&ca).pop().flatten();
    let signed =
        bundle.certificate().ok()?.issuer_der() == authority.chain().certificate().subject_der();
    if !signed {
        return Some(Verdict::Failed(
            "the first of the chain is not the issuer's".to_owned(),
        ));
    }
    Some(Verdict::equal(
        &json!({"chain": chain, "ca": ca}),
        &case.expect,
    ))
}

/// A list of names; none is an empty list.
fn names(list: &Value) -> Option<Vec<&str>> {
    match list {
        Value::Null => Some(Vec::new()),
        list => list.as_array()?.iter().map(Value::as_str).collect(),
    }
}
