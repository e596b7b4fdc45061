//! X509-SVIDs: who is accepted, and what chain proves it.

use certwright_cert_model::name::{SpiffeId, TrustDomain};
use certwright_transport::bundle::{Bundle, TrustBundles};
use certwright_transport::peer::{PeerIdentity, PeerPolicy, SpiffePolicy};
use certwright_transport::servers_transport::Spiffe;
use certwright_transport::upstream::{Upstream, Verified};
use certwright_transport::verify::{PeerRole, PeerVerifier, SvidProfile};
use certwright_transport::{PeerError, Roots, ServersTransport};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::super::{Case, Verdict, only};
use super::pki::{Pki, now};
use super::{handshake, provider, texts};

/// Who is accepted; an error is one of configuration.
fn policy(authorizer: &Value) -> Option<Result<SpiffePolicy, String>> {
    only(authorizer, &["any", "ids", "trust_domain"])?;
    let (ids, domain) = (
        texts(&authorizer["ids"])?,
        authorizer["trust_domain"].as_str(),
    );
    Some(match (ids.is_empty(), domain) {
        // Which of the two counts is the transport's rule.
        (false, Some(domain)) => configured(ids, domain).map(|upstream| spiffe_of(&upstream)),
        (true, Some(domain)) => domain
            .parse::<TrustDomain>()
            .map(SpiffePolicy::TrustDomain)
            .map_err(|error| error.to_string()),
        (_, None) if !authorizer["ids"].is_null() => ids
            .iter()
            .map(|id| id.parse::<SpiffeId>())
            .collect::<Result<_, _>>()
            .map(SpiffePolicy::Ids)
            .map_err(|error| error.to_string()),
        (_, None) => Ok(SpiffePolicy::Any),
    })
}

/// A transport whose `spiffe` section says this.
fn configured(ids: Vec<String>, trust_domain: &str) -> Result<Verified, String> {
    let mut spiffe = Spiffe::default();
    spiffe.ids = ids;
    spiffe.trust_domain = Some(trust_domain.to_owned());
    let mut transport = ServersTransport::default();
    transport.spiffe = Some(spiffe);
    match transport.validate() {
        Ok(Upstream::Verified(upstream)) => Ok(upstream),
        Ok(Upstream::Danger(_)) => Err("servers are not verified".to_owned()),
        Err(violations) => Err(violations.to_string()),
    }
}

fn spiffe_of(upstream: &Verified) -> SpiffePolicy {
    match upstream.policy() {
        PeerPolicy::Spiffe(policy) => policy.clone(),
        other => unreachable!("a spiffe section is a SPIFFE policy, found {other:?}"),
    }
}

pub(super) fn authorize(case: &Case) -> Option<Verdict> {
    only(&case.input, &["authorizer", "id"])?;
    let accepted = match (
        policy(&case.input["authorizer"])?,
        case.input["id"].as_str()?.parse(),
    ) {
        (Ok(policy), Ok(id)) => policy.authorize(&id).is_ok(),
        _ => false,
    };
    Some(Verdict::equal(&json!(accepted), &case.expect["ok"]))
}

pub(super) fn verify(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(
        input,
        &[
            "authorizer",
            "bundles",
            "chain",
            "leaf",
            "profile",
            "role",
            "signed_by",
        ],
    )?;
    let mut pki = Pki::new(&input["chain"]);
    let bundles = bundles(&input["bundles"], &mut pki)?;
    let policy = match &input["authorizer"] {
        Value::Null => SpiffePolicy::Any,
        authorizer => match policy(authorizer)? {
            Ok(policy) => policy,
            Err(_) => return Some(outcome(case, Err("invalid-config"))),
        },
    };
    let name = ServerName::try_from("server.test").ok()?;
    let role = match input["role"].as_str() {
        None | Some("server") => PeerRole::Server(&name),
        Some("client") => PeerRole::Client,
        Some(_) => return None,
    };
    let profile = match input["profile"].as_str() {
        None | Some("standard" | "default") => SvidProfile::Standard,
        Some("strict") => SvidProfile::Strict,
        Some(_) => return None,
    };
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let verifier =
        PeerVerifier::spiffe(policy.clone(), bundles.clone(), algorithms).with_profile(profile);
    let mut chain = Vec::new();
    let mut key = None;
    if !input["leaf"].is_null() {
        let leaf = pki.leaf(&input["leaf"], input["signed_by"].as_str()?)?;
        key = Some(match input["leaf"]["handshake_signature"].as_str() {
            None => leaf.key_der(),
            Some("other-key") => pki.authority("unknown")?.key_der(),
            Some(_) => return None,
        });
        chain.push(leaf.certificate);
        chain.extend(pki.presented()?);
    }
    let found = verifier.verify_chain(&chain, role, now());
    let key = key.filter(|_| !input["leaf"]["handshake_signature"].is_null());
    let found = match (found, key, role) {
        // Possession of the key shows in the handshake only.
        (Ok(id), Some(key), PeerRole::Server(name)) => {
            handshake::meet(&policy, bundles, chain, key, name)?.map(|()| id)
        }
        (_, Some(_), PeerRole::Client) => return None,
        (found, ..) => found,
    };
    Some(match &found {
        Ok(PeerIdentity::Spiffe(id)) => outcome(case, Ok(id)),
        Ok(other) => Verdict::Failed(format!("found {other}")),
        Err(error) => outcome(case, Err(error.code())),
    })
}

fn outcome(case: &Case, found: Result<&SpiffeId, &str>) -> Verdict {
    let found = match found {
        Ok(id) => (json!(true), json!(id.to_string()), Value::Null),
        Err(code) => (json!(false), Value::Null, json!(code)),
    };
    let expect = &case.expect;
    // A case need not name the identity.
    let id = match &expect["id"] {
        Value::Null => found.1.clone(),
        id => id.clone(),
    };
    Verdict::equal(&found, &(expect["ok"].clone(), id, expect["error"].clone()))
}

/// The roots of each trust domain, by the names of CAs.
fn bundles(domains: &Value, pki: &mut Pki<'_>) -> Option<TrustBundles> {
    let mut bundles = TrustBundles::default();
    for (domain, names) in domains.as_object()? {
        let mut roots = Vec::new();
        for name in texts(names)? {
            roots.push(pki.authority(&name)?.certificate.clone());
        }
        let bundle = match roots.is_empty() {
            true => Bundle::default(),
            false => Roots::from_der(roots).ok()?.into(),
        };
        bundles.insert(&domain.parse().ok()?, bundle);
    }
    Some(bundles)
}

/// Traefik's `spiffe` section before a peer with one SPIFFE ID, or with whatever URI names.
pub(super) fn traefik(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(input, &["cert_uris", "ids", "peer_id", "trust_domain"])?;
    let expected = (&case.expect["ok"], case.expect["stage"].as_str());
    let upstream = match configured(
        texts(&input["ids"])?,
        input["trust_domain"].as_str().unwrap_or_default(),
    ) {
        Ok(upstream) => upstream,
        Err(_) => {
            return Some(Verdict::equal(&(&json!(false), Some("config")), &expected));
        }
    };
    let uris = match input["peer_id"].as_str() {
        Some(id) => vec![id.to_owned()],
        None => texts(&input["cert_uris"])?,
    };
    let nothing = json!([]);
    let mut pki = Pki::new(&nothing);
    let leaf = json!({
        "uri_sans": uris,
        "ca": false,
        "key_usage": ["digitalSignature"],
        "eku": ["serverAuth", "clientAuth"],
    });
    let leaf = pki.leaf(&leaf, "ca1")?;
    // The domain of every ID is trusted: who is refused is refused for another reason.
    let ids = uris.iter().filter_map(|uri| uri.parse::<SpiffeId>().ok());
    let domains: serde_json::Map<_, _> = ids
        .map(|id| (id.trust_domain().to_owned(), json!(["ca1"])))
        .collect();
    let bundles = bundles(&Value::Object(domains), &mut pki)?;
    let verifier = PeerVerifier::spiffe(
        spiffe_of(&upstream),
        bundles,
        provider().signature_verification_algorithms.all,
    );
    let name = ServerName::try_from("server.test").ok()?;
    let verdict = verifier.verify(&leaf.certificate, &[], PeerRole::Server(&name), now());
    let found = match &verdict {
        Ok(_) => (&json!(true), None),
        Err(PeerError::Unauthorized(_)) => (&json!(false), Some("authorize")),
        Err(PeerError::UnknownIssuer { .. } | PeerError::NoBundle { .. }) => {
            (&json!(false), Some("chain"))
        }
        Err(PeerError::LeafIdWithoutPath { .. }) if *expected.0 == true => {
            return Some(Verdict::Deliberate("svid-has-a-path"));
        }
        Err(_) => (&json!(false), Some("svid")),
    };
    Some(Verdict::equal(&found, &expected))
}
