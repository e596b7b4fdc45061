//! Peer names: certificates that must carry one of a list of names.

use certwright_cert_model::Violations;
use certwright_transport::peer::{HostName, PeerPolicy, PeerSan};
use certwright_transport::servers_transport::San;
use certwright_transport::upstream::Upstream;
use certwright_transport::verify::{PeerRole, PeerVerifier};
use certwright_transport::{PeerError, Roots, ServersTransport};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::super::{Case, Verdict, only};
use super::pki::{Pki, now};
use super::{provider, texts};

/// The host every server is asked for.
const HOST: &str = "server.test";

/// The names and whether the host counts as well, or why the configuration is refused; `None` if it names nobody.
fn policy(transport: ServersTransport) -> Option<Result<(Vec<PeerSan>, HostName), Violations>> {
    match transport.validate() {
        Ok(Upstream::Verified(upstream)) => match upstream.policy() {
            PeerPolicy::PeerSans { sans, host_name } => Some(Ok((sans.clone(), *host_name))),
            _ => None,
        },
        Ok(Upstream::Danger(_)) => None,
        Err(violations) => Some(Err(violations)),
    }
}

/// Holds a leaf with these properties to a policy; no leaf is a peer without a certificate.
fn meet(
    (sans, host_name): (Vec<PeerSan>, HostName),
    leaf: Option<&Value>,
    signed_by: &str,
) -> Option<Result<(), PeerError>> {
    let nothing = json!([]);
    let mut pki = Pki::new(&nothing);
    let roots = Roots::from_der([pki.authority("ca1")?.certificate.clone()]).ok()?;
    let algorithms = provider().signature_verification_algorithms.all;
    let verifier = PeerVerifier::peer_sans(sans, host_name, roots, algorithms);
    let mut chain = Vec::new();
    if let Some(leaf) = leaf {
        chain.push(pki.leaf(leaf, signed_by)?.certificate);
    }
    let name = ServerName::try_from(HOST).ok()?;
    let verdict = verifier.verify_chain(&chain, PeerRole::Server(&name), now());
    Some(verdict.map(drop))
}

pub(super) fn uri(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(
        input,
        &[
            "dns_sans",
            "insecure_skip_verify",
            "no_certificate",
            "peer_cert_uri",
            "san_uris",
            "signed_by",
        ],
    )?;
    let mut transport = ServersTransport::default();
    transport.peer_cert_uri = Some(input["peer_cert_uri"].as_str()?.to_owned());
    transport.insecure_skip_verify = input["insecure_skip_verify"] == true;
    // A certificate that is right but for what the case is about: also for the host.
    let mut dns = vec![HOST.to_owned()];
    dns.extend(texts(&input["dns_sans"])?);
    let leaf = json!({
        "uri_sans": input["san_uris"],
        "dns_sans": dns,
        "ca": false,
        "key_usage": ["digitalSignature"],
        "eku": ["serverAuth"],
    });
    let leaf = (input["no_certificate"] != true).then_some(&leaf);
    let signed_by = input["signed_by"].as_str().unwrap_or("ca1");
    let found = match policy(transport)? {
        Err(_) => (false, Some("invalid-config")),
        Ok(policy) => match meet(policy, leaf, signed_by)? {
            Ok(()) => (true, None),
            // The list of names has one, a URI.
            Err(PeerError::NoMatchingSan { .. }) => (false, Some("no-matching-uri")),
            Err(error) => (false, Some(error.code())),
        },
    };
    Some(Verdict::equal(
        &(Some(found.0), found.1),
        &(case.expect["ok"].as_bool(), case.expect["error"].as_str()),
    ))
}

/// Traefik's rule, which leaves the host aside.
pub(super) fn traefik(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(input, &["cert_dns", "cert_uris", "chain", "peer_cert_sans"])?;
    let mut transport = ServersTransport::default();
    transport.insecure_skip_verify = true;
    for entry in input["peer_cert_sans"].as_array()? {
        let mut san = San::default();
        san.kind = entry["type"].as_str()?.to_owned();
        san.value = entry["value"].as_str()?.to_owned();
        transport.peer_cert_sans.push(san);
    }
    let wanted = transport.peer_cert_sans.clone();
    let expected = (case.expect["ok"].as_bool()?, case.expect["stage"].as_str());
    let policy = match policy(transport)? {
        Ok(policy) => policy,
        // Upstream takes any text, which then fits nothing; the connection fails one step later.
        Err(_) if !expected.0 => return Some(Verdict::Deliberate("peer-names-are-checked")),
        Err(violations) => return Some(Verdict::Failed(format!("refused: {violations}"))),
    };
    let chain = input["chain"].as_str()?;
    let (validity, eku, signed_by) = match chain {
        "client-auth-only" => ("now", "clientAuth", "ca1"),
        "expired" => ("past", "serverAuth", "ca1"),
        "not-yet-valid" => ("future", "serverAuth", "ca1"),
        "none" | "trusted" => ("now", "serverAuth", "ca1"),
        "untrusted" => ("now", "serverAuth", "unknown"),
        _ => return None,
    };
    let leaf = json!({
        "uri_sans": input["cert_uris"],
        "dns_sans": input["cert_dns"],
        "ca": false,
        "key_usage": ["digitalSignature"],
        "eku": [eku],
        "validity": validity,
    });
    let found = match meet(policy, (chain != "none").then_some(&leaf), signed_by)? {
        Ok(()) => (true, None),
        Err(PeerError::NoMatchingSan { .. }) => (false, Some("san")),
        Err(_) => (false, Some("chain")),
    };
    let uris = texts(&input["cert_uris"])?;
    let folded = wanted.iter().filter(|san| san.kind == "URI").any(|san| {
        let value = san.value.to_lowercase();
        uris.iter().any(|uri| uri.to_lowercase() == value)
    });
    if expected.0 && found == (false, Some("san")) && folded {
        return Some(Verdict::Deliberate("uris-match-exactly"));
    }
    Some(Verdict::equal(&found, &expected))
}
