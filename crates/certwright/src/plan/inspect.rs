use std::collections::BTreeSet;

use certwright_cert_model::inspect::CertificateFacts;
use certwright_cert_model::usage::Usage;
use certwright_cert_model::validated::{RenewalTiming, ValidatedSpec};
use certwright_cert_model::{Difference, Requested, TlsSecret};
use certwright_issuance::Certificate;
use certwright_issuance::rotation::mismatch;
use certwright_renewal::{Basis, Lifetime, Schedule, Seed};
use time::{Duration, OffsetDateTime};

use super::constraints;
use super::observed::{Authority, CurrentRequest, Observed};
use super::reason::{AuthorityChange, Reason};
use super::stored::Stored;
use crate::annotation;

/// A stored certificate that is as it should be.
pub(super) struct Inspected<'a> {
    pub(super) stored: Stored<'a>,
    pub(super) schedule: Option<Schedule>,
}

/// How far clocks may be apart: less is waited for, so that a small correction of the clock replaces no CA.
const SKEW: Duration = Duration::HOUR;

/// The stored certificate, or why another one is needed.
pub(super) fn inspect<'a>(
    spec: &ValidatedSpec,
    seen: &Observed<'a>,
    now: OffsetDateTime,
) -> Result<Inspected<'a>, Reason> {
    let stored = Stored::read(seen.secret)?;
    matches(spec, seen, &stored)?;
    signed_by(seen, &stored)?;
    let leaf = stored.leaf();
    if leaf.not_before() > now.saturating_add(SKEW) {
        return Err(Reason::NotYetValid(leaf.not_before()));
    }
    if let Some(at) = requested(seen, now)
        && (issued_at(stored.secret, now).is_some() || leaf.not_before() < at)
    {
        return Err(Reason::Requested(at));
    }
    let schedule = schedule(spec, seen, &stored)?;
    match schedule.filter(|schedule| schedule.is_due(now)) {
        None => Ok(Inspected { stored, schedule }),
        Some(due) => Err(renewal(&due, &stored)),
    }
}

/// When a user asked for a new certificate, if none was issued since then as far as the Secret tells.
pub(super) fn requested(seen: &Observed<'_>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let at = seen.requested.filter(|at| *at <= now)?;
    let issued = seen.secret.and_then(|secret| issued_at(secret, now));
    issued.is_none_or(|issued| issued < at).then_some(at)
}

/// When a certificate was issued. An instant in the future is a wrong clock's, or somebody's who wants no user to be
/// heard.
fn issued_at(secret: &TlsSecret, now: OffsetDateTime) -> Option<OffsetDateTime> {
    annotation::issued_at(secret).filter(|issued| *issued <= now.saturating_add(SKEW))
}

/// Whether a stored certificate is what is asked for, whatever the time is and whoever would sign now.
pub(super) fn matches(
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    stored: &Stored<'_>,
) -> Result<(), Reason> {
    let secret = stored.secret;
    if secret
        .annotations
        .get(annotation::TEMPORARY)
        .is_some_and(|value| value == "true")
    {
        return Err(Reason::Temporary);
    }
    if let Some(stored) = annotation::other_issuer(secret, spec.issuer_ref()) {
        let wanted = spec.issuer_ref().clone();
        return Err(Reason::IncorrectIssuer { stored, wanted });
    }
    if let Some(stored) = annotation::other_certificate(secret, seen.certificate) {
        let (stored, wanted) = (stored.to_owned(), seen.certificate.to_owned());
        return Err(Reason::IncorrectCertificate { stored, wanted });
    }
    if let Some(mismatch) = mismatch(spec.key().algorithm, stored.key.algorithm()) {
        return Err(Reason::KeyMismatch(mismatch));
    }
    let request = match seen.request {
        CurrentRequest::Known(request) => Some(request),
        CurrentRequest::Unknown => None,
        CurrentRequest::Unreadable(why) => {
            return Err(Reason::InvalidCertificateRequest(why.to_owned()));
        }
    };
    if stored.is_issued() == Some(false) {
        let serial = hex(stored.leaf().serial());
        return Err(Reason::Replaced { serial });
    }
    asked_for(spec, request, seen.authority, stored)
}

/// Whether a stored certificate was asked for as it is asked for now.
fn asked_for(
    spec: &ValidatedSpec,
    request: Option<&Requested>,
    authority: Authority<'_>,
    stored: &Stored<'_>,
) -> Result<(), Reason> {
    if let Some(request) = request {
        if request.public_key != stored.key.public_key().spki_der() {
            return Err(Reason::KeyNotRequested);
        }
        let differences = request.differences(spec);
        if !differences.is_empty() {
            return Err(Reason::RequestChanged(differences));
        }
    }
    // A fingerprint that is not bound to the certificate says nothing about it.
    let same = annotation::same_spec(stored.secret, stored.fingerprint(spec));
    match same.filter(|same| !same || request.is_some() || stored.is_issued() == Some(true)) {
        Some(true) => Ok(()),
        Some(false) => Err(Reason::SpecChanged(visible(spec, stored)?)),
        None => {
            let mut differences = match request {
                Some(_) => Vec::new(),
                None => {
                    let facts = stored.facts()?;
                    let mut differences = facts.name_differences(spec);
                    // Ours sign what is asked for and nothing else.
                    if !matches!(authority, Authority::Unknown) {
                        differences.extend(usages_differ(spec, &facts));
                    }
                    differences
                }
            };
            differences.extend(constraints::differ(spec, stored.leaf()));
            if differences.is_empty() {
                Ok(())
            } else {
                Err(Reason::SpecMismatch(differences))
            }
        }
    }
}

/// How the usages of an end entity's certificate differ from those of a specification.
fn usages_differ(spec: &ValidatedSpec, facts: &CertificateFacts) -> Option<Difference> {
    if spec.is_ca() {
        // What a CA needs is added to what is asked for.
        return None;
    }
    // What stands twice means what stands once.
    let wanted: BTreeSet<_> = spec.usages().extended.iter().map(|one| one.oid()).collect();
    let found = facts.extended_key_usages.as_deref().unwrap_or_default();
    let found: BTreeSet<_> = found.iter().map(String::as_str).collect();
    let key = facts.key_usages.unwrap_or_default();
    if key == spec.usages().key && wanted == found {
        return None;
    }
    let list = |usages: &mut dyn Iterator<Item = String>| usages.collect::<Vec<_>>().join(", ");
    let wanted = list(&mut spec.usages().iter().map(|usage| usage.to_string()));
    let key = key.iter().map(|usage| Usage::Key(usage).to_string());
    let found = list(&mut key.chain(found.into_iter().map(str::to_owned)));
    Some(Difference::new("spec.usages", wanted, found))
}

/// What a certificate shows of a changed specification.
fn visible(spec: &ValidatedSpec, stored: &Stored<'_>) -> Result<Vec<Difference>, Reason> {
    let facts = stored.facts()?;
    let mut issued = Requested::of(spec, facts.public_key);
    (issued.subject, issued.names, issued.is_ca) = (facts.subject, facts.names, facts.is_ca);
    let mut differences = issued.differences(spec);
    differences.extend(constraints::differ(spec, stored.leaf()));
    Ok(differences)
}

/// Whether the CA that would sign now signed a stored certificate, and lasts as long.
fn signed_by(seen: &Observed<'_>, stored: &Stored<'_>) -> Result<(), Reason> {
    let leaf = stored.leaf();
    let changed = |change, stored: Option<&Certificate>, current: &Certificate| {
        Err(Reason::IssuerChanged {
            change,
            stored: stored.map(|one| hex(one.serial())).unwrap_or_default(),
            current: hex(current.serial()),
        })
    };
    let current = match seen.authority {
        Authority::OwnKey if leaf.is_self_signed() => return Ok(()),
        Authority::OwnKey => return changed(AuthorityChange::Kind, stored.issuer(), leaf),
        Authority::Unknown | Authority::Chain([]) => return Ok(()),
        Authority::Chain([current, ..]) => current,
    };
    if !stored.above().any(|one| one.der() == current.der()) {
        if leaf.is_self_issued() && leaf.subject_der() != current.subject_der() {
            return changed(AuthorityChange::Kind, None, current);
        }
        match stored.issuer() {
            Some(issuer) if issuer.spki_der() == current.spki_der() => {
                return changed(AuthorityChange::Renewed, Some(issuer), current);
            }
            Some(issuer) => return changed(AuthorityChange::Rekeyed, Some(issuer), current),
            // Somebody took the CA's certificate out of the Secret. The signature tells whose key it was, and the date
            // whether it was this certificate of it: nothing is dated before the CA that signs it.
            None if leaf.not_before() < current.not_before() => {
                return changed(AuthorityChange::Renewed, None, current);
            }
            None => {}
        }
    }
    let mark = annotation::seal(stored.secret);
    let known = seen.seal.zip(mark);
    let known = known.is_some_and(|(seal, mark)| seal.holds(mark, leaf));
    let signed = |key| leaf.verify_signature(&key).is_ok();
    if !known && !current.public_key().is_ok_and(signed) {
        return Err(Reason::InvalidCertificate(
            "its CA did not sign it".to_owned(),
        ));
    }
    if leaf.not_after() > current.not_after() {
        return Err(Reason::ChainEndsFirst {
            chain: current.not_after(),
            certificate: leaf.not_after(),
        });
    }
    Ok(())
}

/// When a stored certificate is renewed; `None` if never.
fn schedule(
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    stored: &Stored<'_>,
) -> Result<Option<Schedule>, Reason> {
    let leaf = stored.leaf();
    let life = Lifetime::new(leaf.not_before(), leaf.not_after())
        .map_err(|e| Reason::InvalidCertificate(e.to_string()))?;
    let windows = match spec.renewal_timing() {
        RenewalTiming::Disabled => return Ok(None),
        RenewalTiming::Windows(windows) => Some(windows.windows()),
        _ => None,
    };
    let policy = spec.renewal_policy();
    let plain = |life| match seen.ari {
        Some(window) => policy.schedule_with_ari(life, window, Seed::new(leaf.der())),
        None => policy.schedule(life),
    };
    // A lead that leaves no time between two certificates is bounded, so that it cannot become a loop.
    let guarded = |life| plain(life).unwrap_or_else(|loops| loops.guarded());
    let mut schedule = guarded(life);
    if let Some(shorter) = shortened(life, stored) {
        let earlier = guarded(shorter);
        if earlier.due() < schedule.due() {
            schedule = earlier;
        }
    }
    // Without a window before expiry it is renewed when it is due: late would be an outage.
    let fitted = windows.and_then(|windows| windows.fit(schedule).ok());
    Ok(Some(fitted.unwrap_or(schedule)))
}

/// The lifetime until the chain ends, if that is earlier and worth a renewal: an issuer that hands out the same
/// ending chain again is asked once or twice, not ever faster.
fn shortened(life: Lifetime, stored: &Stored<'_>) -> Option<Lifetime> {
    let shorter = Lifetime::new(life.not_before(), stored.chain_end()?).ok()?;
    (shorter.length() >= life.length() / 3).then_some(shorter)
}

fn renewal(schedule: &Schedule, stored: &Stored<'_>) -> Reason {
    let due = schedule.due();
    let certificate = stored.leaf().not_after();
    match schedule.basis() {
        Basis::Ari(window) | Basis::AriFloor(window) => Reason::Suggested { window, due },
        _ if schedule.lifetime().not_after() < certificate => Reason::ChainEndsFirst {
            chain: schedule.lifetime().not_after(),
            certificate,
        },
        _ => Reason::Renewing(due),
    }
}

fn hex(serial: &[u8]) -> String {
    let pairs: Vec<_> = serial.iter().map(|octet| format!("{octet:02x}")).collect();
    pairs.join(":")
}
