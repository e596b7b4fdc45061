//! `explain`: which certificate a server name gets, and why.

use std::sync::Arc;

use certwright::{annotation, publish};
use certwright_cert_model::TlsSecret;
use certwright_sni_store::{
    CertStore, Explanation, Match, PairLoader, PemPair, Query, SelectionPolicy,
};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::output::Output;
use super::place::{Clock, Place};
use super::{Answer, Exit, one_line};

/// Tells which certificate a client gets that asks for a server name, and why not another one. Ends with 1 if none is
/// for that name.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The server name; '' for a client that sends none.
    #[arg(value_name = "SNI")]
    name: String,
    #[command(flatten)]
    place: Place,
    /// Which rule decides.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    policy: Policy,
    #[command(flatten)]
    clock: Clock,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Policy {
    /// Valid before expired, exact before wildcard, then Traefik's order.
    #[default]
    Best,
    /// Traefik's.
    Traefik,
}

/// What servers serve: Secrets with a certificate and a key, but no CAs.
pub(crate) fn is_served(secret: &TlsSecret) -> bool {
    let pair = PemPair::of_secret(secret);
    let is_ca = secret.annotations.get(annotation::CA);
    is_ca.is_none_or(|value| value != "true") && !pair.chain.is_empty() && !pair.key.is_empty()
}

impl Explain {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let secrets = self.place.load(output)?;
        let policy = match self.policy {
            Policy::Best => SelectionPolicy::Best,
            Policy::Traefik => SelectionPolicy::Traefik,
        };
        let store = CertStore::new(policy);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let loader = PairLoader::new(provider);
        let report = publish(
            &store,
            &loader,
            secrets.iter().filter(|secret| is_served(secret)),
        );
        for rejection in &report.rejected {
            let why = super::with_causes(&*rejection.error);
            output.warn(&format!("{} is not served: {why}", rejection.origin));
        }
        let now = self.clock.now();
        let explanation = store.current().explain(&Query::new(&self.name, now));
        if output.json {
            let served = winner(&explanation);
            let candidates = explanation.candidates.iter().map(|candidate| {
                json!({
                    "secret": candidate.id.to_string(),
                    "identifier": candidate.identifier,
                    "match": word(candidate.matched),
                    "lost": candidate.lost.as_ref().map(ToString::to_string),
                })
            });
            output.document(&json!({
                "kind": "Explanation",
                "name": explanation.name,
                "served": served,
                "match": explanation.outcome.map(word),
                "candidates": candidates.collect::<serde_json::Value>(),
            }))?;
        } else {
            for line in explanation.to_string().lines() {
                output.line(&one_line(line))?;
            }
        }
        Ok(match explanation.outcome {
            Some(Match::Exact | Match::Wildcard) => Exit::Done,
            _ => Exit::No,
        })
    }
}

fn winner(explanation: &Explanation) -> Option<String> {
    explanation.outcome?;
    let won = explanation
        .candidates
        .iter()
        .find(|candidate| candidate.lost.is_none());
    won.map(|won| won.id.to_string())
}

fn word(matched: Match) -> &'static str {
    match matched {
        Match::Exact => "exact",
        Match::Wildcard => "wildcard",
        _ => "default",
    }
}
