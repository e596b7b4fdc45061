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
use super::{go, provider, texts};

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
            "ca",
            "dns_sans",
            "eku",
            "insecure_skip_verify",
            "key_usage",
            "no_certificate",
            "peer_cert_uri",
            "san_uris",
            "signed_by",
            "validity",
        ],
    )?;
    let mut transport = ServersTransport::default();
    transport.peer_cert_uri = Some(input["peer_cert_uri"].as_str()?.to_owned());
    transport.insecure_skip_verify = input["insecure_skip_verify"] == true;
    // A certificate that is right but for what the case is about: also for the host.
    let mut dns = vec![HOST.to_owned()];
    dns.extend(texts(&input["dns_sans"])?);
    let mut leaf = json!({
        "uri_sans": input["san_uris"],
        "dns_sans": dns,
        "ca": false,
        "key_usage": ["digitalSignature"],
        "eku": ["serverAuth"],
    });
    for name in ["ca", "eku", "key_usage", "validity"] {
        if let Some(given) = input.get(name) {
            leaf[name] = given.clone();
        }
    }
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
    // Upstream takes any text, which then fits nothing; here it is refused, and the others count.
    let (mut written, mut sans, mut refused) = (Vec::new(), Vec::new(), false);
    for entry in input["peer_cert_sans"].as_array()? {
        only(entry, &["type", "value"])?;
        let mut san = San::default();
        san.kind = entry["type"].as_str()?.to_owned();
        san.value = entry["value"].as_str()?.to_owned();
        let mut transport = ServersTransport::default();
        transport.insecure_skip_verify = true;
        transport.peer_cert_sans.push(san.clone());
        match policy(transport)? {
            Ok((accepted, _)) => sans.extend(accepted),
            Err(_) => refused = true,
        }
        written.push(san);
    }
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
    let leaf = (chain != "none").then_some(&leaf);
    let found = match meet((sans, HostName::Replaced), leaf, signed_by)? {
        Ok(()) => (true, None),
        Err(PeerError::NoMatchingSan { .. }) => (false, Some("san")),
        Err(_) => (false, Some("chain")),
    };
    let expected = (case.expect["ok"].as_bool()?, case.expect["stage"].as_str());
    if found == expected && !refused {
        return Some(Verdict::Passed);
    }
    let (uris, dns) = (texts(&input["cert_uris"])?, texts(&input["cert_dns"])?);
    let by_uri = written.iter().filter(|san| san.kind == "URI").any(|san| {
        uris.iter()
            .any(|uri| go::equal_fold(&san.value, &go::uri(uri)))
    });
    let by_dns = written
        .iter()
        .filter(|san| san.kind == "DNSName")
        .any(|san| dns.iter().any(|name| go::verify_hostname(name, &san.value)));
    let theirs = match found {
        (false, Some("chain")) => found,
        _ if by_uri || by_dns => (true, None),
        _ => (false, Some("san")),
    };
    Some(match (theirs == expected, refused) {
        (false, _) => Verdict::Failed(format!(
            "expected {expected:?}, found {found:?}, names refused: {refused}"
        )),
        (true, true) => Verdict::Deliberate("peer-names-are-checked"),
        (true, false) if found.0 || by_uri => Verdict::Deliberate("uris-match-exactly"),
        (true, false) => Verdict::Deliberate("certificate-names-are-checked"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::ending;
    use super::*;

    #[test]
    fn traefiks_rule() {
        let (ok, san) = (json!({"ok": true}), json!({"ok": false, "stage": "san"}));
        let chain = json!({"ok": false, "stage": "chain"});
        let uris = ["spiffe://td/k"].as_slice();
        for (kinds, values, uris, dns, how, expect, rule) in [
            (
                "U",
                "spiffe://td/k",
                uris,
                [].as_slice(),
                "trusted",
                &ok,
                Ok(true),
            ),
            ("U", "spiffe://td/k", uris, &[], "trusted", &san, Ok(false)),
            (
                "U",
                "spiffe://td/K",
                uris,
                &[],
                "trusted",
                &ok,
                Err("uris-match-exactly"),
            ),
            ("U", "spiffe://td/K", uris, &[], "trusted", &san, Ok(true)),
            (
                "U",
                "spiffe://td/k",
                &["spiffe://td/k#"],
                &[],
                "trusted",
                &ok,
                Err("uris-match-exactly"),
            ),
            (
                "U",
                "spiffe://td/k#",
                &["spiffe://td/k#"],
                &[],
                "trusted",
                &san,
                Err("uris-match-exactly"),
            ),
            (
                "U",
                "spiffe://td/\u{212a}",
                uris,
                &[],
                "trusted",
                &ok,
                Err("peer-names-are-checked"),
            ),
            (
                "U",
                "spiffe://td/\u{212a}",
                uris,
                &[],
                "trusted",
                &chain,
                Ok(false),
            ),
            (
                "U",
                "foo",
                &["foo"],
                &[],
                "trusted",
                &ok,
                Err("peer-names-are-checked"),
            ),
            (
                "E U",
                "a@b spiffe://td/k",
                uris,
                &[],
                "trusted",
                &ok,
                Err("peer-names-are-checked"),
            ),
            (
                "E U",
                "a@b spiffe://td/x",
                uris,
                &[],
                "trusted",
                &ok,
                Ok(false),
            ),
            (
                "E",
                "a@b",
                uris,
                &[],
                "trusted",
                &san,
                Err("peer-names-are-checked"),
            ),
            ("E", "a@b", uris, &[], "trusted", &chain, Ok(false)),
            (
                "E",
                "a@b",
                uris,
                &[],
                "untrusted",
                &chain,
                Err("peer-names-are-checked"),
            ),
            ("E", "a@b", uris, &[], "nonsense", &chain, Ok(false)),
            (
                "D",
                "foo.com",
                &[],
                &["*.com"],
                "trusted",
                &ok,
                Err("certificate-names-are-checked"),
            ),
            (
                "D",
                "foo.com.",
                &[],
                &["foo.com."],
                "trusted",
                &ok,
                Err("certificate-names-are-checked"),
            ),
            ("D", "a.foo.com", &[], &["*.com"], "trusted", &ok, Ok(false)),
            (
                "D",
                "foo-.com",
                &[],
                &["foo-.com"],
                "trusted",
                &ok,
                Err("peer-names-are-checked"),
            ),
            (
                "D",
                "192.0.2.7",
                &[],
                &["192.0.2.7"],
                "trusted",
                &ok,
                Ok(false),
            ),
            ("", "", uris, &[], "trusted", &san, Ok(true)),
        ] {
            let entry = |(kind, value): (&str, &str)| {
                let kind = match kind {
                    "U" => "URI",
                    "D" => "DNSName",
                    _ => "Email",
                };
                json!({"type": kind, "value": value})
            };
            let entries = kinds.split_whitespace().zip(values.split_whitespace());
            let input = json!({
                "peer_cert_sans": entries.map(entry).collect::<Vec<_>>(),
                "cert_uris": uris,
                "cert_dns": dns,
                "chain": how,
            });
            let place = format!("{input} {expect}");
            let ending = ending("peer-cert-uri", input, expect.clone());
            assert_eq!(ending, rule, "{place}");
        }
    }

    #[test]
    fn properties_of_the_leaf() {
        let input = |name: &str, value: Value| {
            let mut input = json!({"peer_cert_uri": "a:b", "san_uris": ["a:b"]});
            input[name] = value;
            input
        };
        for (input, error) in [
            (input("validity", json!("past")), "expired"),
            (input("eku", json!(["clientAuth"])), "wrong-purpose"),
            (input("ca", json!(true)), "leaf-is-ca"),
        ] {
            let expect = json!({"ok": false, "error": error});
            assert_eq!(ending("peer-uri", input, expect), Ok(true), "{error}");
        }
    }
}
