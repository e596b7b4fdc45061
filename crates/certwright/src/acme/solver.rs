//! `spec.acme.solvers` as what the engine asks.

use std::sync::Arc;

use certwright_acme::Identifier;
use certwright_acme::challenge::{ChallengeKind, Pause, SolverRule, Solvers};
use certwright_cert_model::issuer::AcmeSolver;

use super::Settings;
use super::account::{field, wrong};
use crate::issuer::IssuerError;

/// What answers challenges for an issuer with these solvers.
pub(super) fn solvers(written: &[AcmeSolver], settings: &Settings) -> Result<Solvers, IssuerError> {
    let mut solvers = Solvers::default();
    let mut provider: Option<&str> = None;
    for (index, solver) in written.iter().enumerate() {
        let place = || field("solvers").index(index);
        if !solver.selector.match_labels.is_empty() {
            let place = place().child("selector").child("matchLabels");
            let message = "solvers are not selected by labels here; use dnsNames or dnsZones";
            return Err(wrong(&place, message));
        }
        if solver.http01 {
            solvers.http01 = Some(Pause::default());
            solvers.tls_alpn01 = settings.options.alpn.as_ref().map(|_| Pause::default());
        }
        for name in solver.dns01.iter().flat_map(|dns01| &dns01.providers) {
            let place = || place().child("dns01");
            if provider.is_some_and(|provider| provider != name) {
                let message = "an issuer has one DNS provider here; use one issuer for each";
                return Err(wrong(&place(), message));
            }
            let Some(dns01) = settings.dns01.get(name) else {
                let message = format!(
                    "this program was given no DNS provider {name:?}; give one with AcmeIssuers::with_dns01"
                );
                return Err(wrong(&place(), message));
            };
            provider = Some(name);
            solvers.dns01 = Some(dns01.clone());
        }
    }
    solvers.rule = Some(Arc::new(Selectors(written.to_vec())));
    Ok(solvers)
}

/// Which of the solvers is for which name: the one whose selector is closest, of several the first, among those that
/// can prove control over it at all.
#[derive(Debug)]
struct Selectors(Vec<AcmeSolver>);

impl SolverRule for Selectors {
    fn allows(&self, kind: ChallengeKind, identifier: &Identifier) -> bool {
        chosen(&self.0, identifier).is_some_and(|solver| match kind {
            ChallengeKind::Dns01 => solver.dns01.is_some(),
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => solver.http01,
            // No document can ask for it yet.
            _ => false,
        })
    }
}

/// The solver for a name.
pub(super) fn chosen<'s>(
    solvers: &'s [AcmeSolver],
    identifier: &Identifier,
) -> Option<&'s AcmeSolver> {
    let able = |solver: &&AcmeSolver| match solver.http01 {
        true => ChallengeKind::Http01.can_prove(identifier),
        false => ChallengeKind::Dns01.can_prove(identifier),
    };
    let name = identifier.value();
    let fitting = solvers.iter().filter(able);
    let fitting = fitting.filter_map(|solver| Some((solver.fits(&name)?, solver)));
    // Of equals the first.
    let best = fitting.rev().max_by_key(|(closeness, _)| *closeness);
    best.map(|(_, solver)| solver)
}
