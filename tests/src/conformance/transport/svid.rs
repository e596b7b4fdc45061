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
use super::{go, handshake, provider, texts};

/// Who is accepted; an error is one of configuration.
fn policy(authorizer: &Value) -> Option<Result<SpiffePolicy, String>> {
    only(authorizer, &["any", "ids", "trust_domain"])?;
    let (ids, domain) = (
        texts(&authorizer["ids"])?,
        authorizer["trust_domain"].as_str(),
    );
    Some(match (!authorizer["ids"].is_null(), domain) {
        // Which of the two counts, and that an empty one does not, is the transport's rule.
        (true, Some(domain)) => configured(ids, domain).map(|upstream| spiffe_of(&upstream)),
        (false, Some(domain)) => domain
            .parse::<TrustDomain>()
            .map(SpiffePolicy::TrustDomain)
            .map_err(|error| error.to_string()),
        (true, None) => ids
            .iter()
            .map(|id| id.parse::<SpiffeId>())
            .collect::<Result<_, _>>()
            .map(SpiffePolicy::Ids)
            .map_err(|error| error.to_string()),
        (false, None) => Ok(SpiffePolicy::Any),
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
            None | Some("own-key") => leaf.key_der(),
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
        (Ok(id), Some(key), PeerRole::Client) => {
            let server = pki.leaf(&json!({"ca": false}), "self")?;
            let server = (vec![server.certificate.clone()], server.key_der());
            handshake::receive(verifier, (chain, key), server, &name)?.map(|()| id)
        }
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
    let expected = (case.expect["ok"].as_bool()?, case.expect["stage"].as_str());
    let policy = match configured(
        texts(&input["ids"])?,
        input["trust_domain"].as_str().unwrap_or_default(),
    ) {
        Ok(upstream) => spiffe_of(&upstream),
        Err(_) => return Some(Verdict::equal(&(false, Some("config")), &expected)),
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
        policy.clone(),
        bundles,
        provider().signature_verification_algorithms.all,
    );
    let name = ServerName::try_from("server.test").ok()?;
    let verdict = verifier.verify(&leaf.certificate, &[], PeerRole::Server(&name), now());
    let found = match &verdict {
        Ok(_) => (true, None),
        Err(PeerError::Unauthorized(_)) => (false, Some("authorize")),
        Err(PeerError::UnknownIssuer { .. } | PeerError::NoBundle { .. }) => (false, Some("chain")),
        Err(_) => (false, Some("svid")),
    };
    // The ID upstream goes on with, where we are done.
    let theirs = match &verdict {
        Err(PeerError::LeafIdWithoutPath { id }) => Some((id.clone(), "svid-has-a-path")),
        Err(PeerError::BadSpiffeId { presented, .. }) => {
            let id = go::uri(presented).parse::<SpiffeId>().ok();
            id.map(|id| (id, "ids-on-raw-bytes"))
        }
        _ => None,
    };
    let theirs = theirs.map(|(id, rule)| match policy.authorize(&id) {
        Ok(()) => ((true, None), rule),
        Err(_) => ((false, Some("authorize")), rule),
    });
    Some(match theirs {
        Some((theirs, rule)) if theirs == expected => Verdict::Deliberate(rule),
        _ => Verdict::equal(&found, &expected),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::ending;
    use super::*;

    #[test]
    fn peers_of_traefik() {
        let (ok, no) = (
            json!({"ok": true}),
            |stage| json!({"ok": false, "stage": stage}),
        );
        let id = "spiffe://td/server";
        for (ids, domain, uri, expect, rule) in [
            ([].as_slice(), "", id, ok.clone(), Ok(true)),
            (
                &[],
                "other",
                "spiffe://td",
                no("authorize"),
                Err("svid-has-a-path"),
            ),
            (&[], "td", "spiffe://td", ok.clone(), Err("svid-has-a-path")),
            (
                &["spiffe://td/x"],
                "",
                "spiffe://td",
                no("authorize"),
                Err("svid-has-a-path"),
            ),
            (&["spiffe://td/x"], "", "spiffe://td", ok.clone(), Ok(false)),
            (
                &[],
                "",
                "SPIFFE://td/server",
                ok.clone(),
                Err("ids-on-raw-bytes"),
            ),
            (
                &[],
                "",
                "spiffe://td/server#",
                ok.clone(),
                Err("ids-on-raw-bytes"),
            ),
            (
                &[],
                "other",
                "spiffe://td/server#",
                no("authorize"),
                Err("ids-on-raw-bytes"),
            ),
            (&[], "other", "spiffe://td/server#", ok.clone(), Ok(false)),
            (&[], "", "spiffe://TD/server", ok.clone(), Ok(false)),
            (&[], "", "spiffe://td/server##", ok.clone(), Ok(false)),
        ] {
            let input = json!({"ids": ids, "trust_domain": domain, "cert_uris": [uri]});
            let place = format!("{input} {expect}");
            assert_eq!(ending("spiffe", input, expect), rule, "{place}");
        }
    }

    #[test]
    fn possession_of_the_key() {
        for (role, signature, signed_by, expect) in [
            ("server", "own-key", "ca1", json!({"ok": true})),
            ("client", "own-key", "ca1", json!({"ok": true})),
            (
                "server",
                "other-key",
                "ca1",
                json!({"ok": false, "error": "bad-signature"}),
            ),
            (
                "client",
                "other-key",
                "ca1",
                json!({"ok": false, "error": "bad-signature"}),
            ),
            (
                "client",
                "own-key",
                "chain[0]",
                json!({"ok": false, "error": "unknown-issuer"}),
            ),
        ] {
            let input = json!({
                "leaf": {
                    "uri_sans": ["spiffe://td/w"],
                    "ca": false,
                    "key_usage": ["digitalSignature"],
                    "handshake_signature": signature,
                },
                "chain": [{"ca": true, "key_usage": ["keyCertSign"], "signed_by": "self"}],
                "signed_by": signed_by,
                "role": role,
                "bundles": {"td": ["ca1"]},
            });
            let place = format!("{role} {signature}");
            assert_eq!(ending("svid-verify", input, expect), Ok(true), "{place}");
        }
    }

    #[test]
    fn authorizers() {
        for (authorizer, ok) in [
            (json!({"ids": [], "trust_domain": ""}), true),
            (json!({"ids": [], "trust_domain": "td"}), true),
            (json!({"ids": [], "trust_domain": "other"}), false),
            (json!({"ids": []}), false),
            (json!({"trust_domain": ""}), false),
        ] {
            let input = json!({"authorizer": authorizer, "id": "spiffe://td/w"});
            let place = input.to_string();
            let expect = json!({ "ok": ok });
            assert_eq!(ending("authorize", input, expect), Ok(true), "{place}");
        }
    }
}
