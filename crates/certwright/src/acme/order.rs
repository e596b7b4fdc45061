//! From a request to a certificate, and what the manager is told when there is none.

use std::sync::Arc;

use certwright_acme::journal::Failure as Told;
use certwright_acme::problem::Class;
use certwright_acme::{
    CertId, Demand, Engine, EngineError, Identifier, IssuedCertificate, Outcome, OwnRequest, Wanted,
};
use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::issuer::AcmeSolver;
use certwright_cert_model::violation::FieldPath;
use certwright_issuance::{Certificate, KeyPair};
use certwright_renewal::Failure;
use certwright_storage::{Key, Storage, Txn};
use time::OffsetDateTime;

use super::account::wrong;
use super::{Inner, solver};
use crate::inventory::ResourceName;
use crate::issuer::{AcmeAccount, IssuerError, Request};
use crate::plan::{Reason, instant};

/// Has a request signed: the chain in PEM.
pub(super) async fn issue(
    engine: &Engine,
    inner: &Inner,
    account: &AcmeAccount,
    request: &Request,
) -> Result<Vec<u8>, IssuerError> {
    let wanted = wanted(&request.certificate, &request.spec)?;
    reachable(&wanted.identifiers, &account.spec.solvers)?;
    let id = engine.id(&wanted);
    let current = engine.current(&id).await.map_err(|error| stopped(&error))?;
    let demand = match current {
        None => Demand::Missing,
        Some(current) => {
            let after = current.generation();
            let (storage, now) = (&*inner.settings.storage, inner.settings.runtime.now());
            if inner.orders.is_refused(&id, after) {
                // It is never handed out again, by other processes neither.
                keep(storage, &id, after).await?;
            }
            let fresh = now < current.not_after()
                && !is_leaf(request.stored.as_deref(), &current)
                && !is_for_old_key(request, &current)
                && !was_kept(storage, &id, after).await?;
            match request.reason {
                // The process ended before it came into its Secret.
                _ if fresh => Demand::Missing,
                Reason::Requested(_) => Demand::Force { after },
                _ => Demand::Renew { after },
            }
        }
    };
    let key = request.key();
    let own = OwnRequest {
        key: &key,
        csr: &request.csr,
    };
    let outcome = engine.obtain_with(&wanted, demand, &own).await;
    match outcome.map_err(|error| stopped(&error))? {
        Outcome::Issued(certificate) | Outcome::Current(certificate) => {
            inner.orders.hand_out(&id, certificate.generation());
            let kept = certificate.key_pem().as_bytes();
            let kept = KeyPair::from_pem(kept).map_err(IssuerError::permanent)?;
            if kept.public_key().spki_der() != key.public_key().spki_der() {
                request.answer_is_for(kept);
            }
            Ok(certificate.chain_pem().as_bytes().to_vec())
        }
        Outcome::Busy { owner } => {
            let message = format!("another replica is ordering it: {owner}");
            Err(IssuerError::transient(message))
        }
        Outcome::Parked(failure) => Err(parked(failure)),
        Outcome::Waiting { until, failure } => Err(waiting(until, failure)),
        other => Err(IssuerError::transient(format_args!("{other:?}"))),
    }
}

/// What a Certificate wants of a CA.
pub(super) fn wanted(
    certificate: &ResourceName,
    spec: &ValidatedSpec,
) -> Result<Wanted, IssuerError> {
    let place = |name: &str| FieldPath::root("spec").child(name);
    let names = spec.names();
    for (field, asked) in [
        ("isCA", spec.is_ca()),
        ("uris", !names.uri.is_empty()),
        ("emailAddresses", !names.email.is_empty()),
        ("otherNames", !names.other.is_empty()),
    ] {
        if asked {
            let message = "ACME CAs sign for DNS names and IP addresses only; remove it, or name another issuer";
            return Err(wrong(&place(field), message));
        }
    }
    let dns = names.dns.iter().cloned().map(Identifier::from);
    let ip = names.ip.iter().copied().map(Identifier::Ip);
    let mut identifiers: Vec<Identifier> = dns.chain(ip).collect();
    if let Some(common_name) = spec.common_name() {
        let main = identifiers
            .iter()
            .position(|one| one.value().eq_ignore_ascii_case(common_name));
        let Some(main) = main else {
            let message =
                "must be one of the dnsNames or ipAddresses too, or ACME CAs do not sign for it";
            return Err(wrong(&place("commonName"), message));
        };
        identifiers.swap(0, main);
    }
    let mut wanted = Wanted::new(identifiers);
    wanted.key = spec.key().algorithm;
    // Two Certificates for the same names have their own keys.
    wanted.label = certificate.to_string();
    Ok(wanted)
}

/// Whether there is a solver for every name.
fn reachable(identifiers: &[Identifier], solvers: &[AcmeSolver]) -> Result<(), IssuerError> {
    let lost = identifiers
        .iter()
        .find(|one| solver::chosen(solvers, one).is_none());
    match lost {
        None => Ok(()),
        Some(name) => {
            let message = format_args!("none can prove control over {name}").to_string();
            Err(wrong(&super::account::field("solvers"), message))
        }
    }
}

/// Whether a stored chain begins with this certificate.
pub(super) fn is_leaf(stored: Option<&[u8]>, certificate: &IssuedCertificate) -> bool {
    let stored = stored.and_then(|chain| Certificate::read_pem(chain).ok());
    let leaf = stored.as_ref().and_then(|chain| chain.first());
    leaf.zip(certificate.leaf_der().ok())
        .is_some_and(|(stored, leaf)| stored.der().as_ref() == leaf.as_slice())
}

/// Whether a certificate is for the key of the stored one, although a new key is asked for.
fn is_for_old_key(request: &Request, certificate: &IssuedCertificate) -> bool {
    let made = KeyPair::from_pem(certificate.key_pem().as_bytes());
    made.is_ok_and(|made| {
        let new = request.key().public_key().spki_der() != made.public_key().spki_der();
        new && request.is_stored_for(&made)
    })
}

/// Whether this generation of a certificate was seen in its Secret.
async fn was_kept(
    storage: &dyn Storage,
    id: &CertId,
    generation: u64,
) -> Result<bool, IssuerError> {
    let entry = storage.get(&kept(id)?).await;
    let entry = entry.map_err(IssuerError::transient)?;
    let seen = entry.and_then(|entry| {
        let text = core::str::from_utf8(entry.value.as_bytes()).ok()?;
        text.parse::<u64>().ok()
    });
    Ok(seen.is_some_and(|seen| seen >= generation))
}

/// Remembers that this generation was seen in its Secret.
pub(super) async fn keep(
    storage: &dyn Storage,
    id: &CertId,
    generation: u64,
) -> Result<(), IssuerError> {
    if was_kept(storage, id, generation).await? {
        return Ok(());
    }
    let put = Txn::new().put(kept(id)?, generation.to_string().as_str());
    storage.txn(put).await.map_err(IssuerError::transient)?;
    Ok(())
}

fn kept(id: &CertId) -> Result<Key, IssuerError> {
    Key::new(&format!("/certwright/v1/kept/{id}")).map_err(IssuerError::permanent)
}

fn parked(failure: Option<Told>) -> IssuerError {
    let detail = failure.map_or_else(|| "it did not work".to_owned(), |failure| failure.detail);
    IssuerError::permanent(format_args!(
        "{detail}; nothing is tried before the settings or the request change, or somebody asks for it"
    ))
}

fn waiting(until: OffsetDateTime, failure: Option<Told>) -> IssuerError {
    let what = match failure {
        None => "an order is under way".to_owned(),
        Some(Told { class, detail, .. }) => match class {
            Class::RateLimited => format!("rate limited: {detail}"),
            Class::Validation => format!("control over a name was not proven: {detail}"),
            Class::Account => format!("the account cannot be used: {detail}"),
            _ => detail,
        },
    };
    // The engine's pauses are longer for what will take longer: they are kept to.
    let failure = Failure::RateLimited { until };
    let until = instant(until);
    IssuerError::new(failure, format_args!("{what}; tried again from {until}"))
}

/// What no CA can help with.
pub(super) fn stopped(error: &EngineError) -> IssuerError {
    let mut message = error.to_string();
    let mut cause = core::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    match error {
        EngineError::Storage(_) => IssuerError::transient(message),
        _ => IssuerError::permanent(message),
    }
}

/// A certificate that is in its Secret, if the engine knows it.
pub(super) async fn known(
    engine: &Engine,
    id: &CertId,
    chain: &[u8],
) -> Result<Option<Arc<IssuedCertificate>>, IssuerError> {
    let current = engine.current(id).await.map_err(|error| stopped(&error))?;
    Ok(current
        .filter(|current| is_leaf(Some(chain), current))
        .map(Arc::new))
}
