//! What is wrong, and what is worth a look.

use super::*;

#[test]
fn what_is_wrong() {
    for (option, value, expected) in [
        ("email", json!("nobody"), &["email: \"nobody\": "][..]),
        ("caServer", json!("ca.test"), &["caServer: \"ca.test\": "]),
        (
            "caServer",
            json!("http://ca.test/dir"),
            &[
                "caServer: \"http://ca.test/dir\" is no directory's URL; write one like https://acme-v02.api.letsencrypt.org/directory",
            ],
        ),
        (
            "caServer",
            json!("https://u:p@ca.test/dir"),
            &["caServer: \"https://u:p@ca.test/dir\" is no directory's URL"],
        ),
        (
            "keyType",
            json!("EC521"),
            &["keyType: \"EC521\" is not supported; use EC256, EC384, RSA2048, RSA4096 or RSA8192"],
        ),
        (
            "certificatesDuration",
            json!(0),
            &["certificatesDuration: must be at least 1 hour"],
        ),
        (
            "certificatesDuration",
            json!("x"),
            &["certificatesDuration: expected an integer, found the text \"x\""],
        ),
        (
            "clientTimeout",
            json!("20s"),
            &[
                "clientTimeout: must not be shorter than clientResponseHeaderTimeout, which it includes",
            ],
        ),
        (
            "clientTimeout",
            json!(0),
            &["clientTimeout: must be longer than zero: no request goes without a limit"],
        ),
        (
            "certificateTimeout",
            json!("-1s"),
            &["certificateTimeout: must be longer than zero: no request goes without a limit"],
        ),
        (
            "httpChallenge.delay",
            json!("5 s"),
            &["httpChallenge.delay: \"5 s\": "],
        ),
        (
            "httpChallenge.entryPoint",
            json!("wbe"),
            &[
                "httpChallenge.entryPoint: there is no entry point \"wbe\"; there are alt, quic, web, websecure",
            ],
        ),
        (
            "httpChallenge.entryPoint",
            json!("quic"),
            &[
                "httpChallenge.entryPoint: \"quic\" is an entry point of UDP; HTTP-01 needs one of TCP",
            ],
        ),
        (
            "dnsChallenge.resolvers",
            json!(["1.1.1.1:x"]),
            &[
                "dnsChallenge.resolvers[0]: \"1.1.1.1:x\" is no name server; write an address or a name, and a port if it is not 53, like 192.0.2.53:5353",
            ],
        ),
        (
            "dnsChallenge",
            json!("yes"),
            &["dnsChallenge: expected a map, true or false, found the text \"yes\""],
        ),
        (
            "eab",
            json!({"kid": "k"}),
            &["eab.hmacEncoded: must be set"],
        ),
        (
            "eab",
            json!({"kid": "", "hmacEncoded": "c2VjcmV0"}),
            &["eab.kid: must be set"],
        ),
        (
            "eab",
            json!({"kid": "k", "hmacEncoded": "a+b/"}),
            &["eab.hmacEncoded: must be base64url: write - for + and _ for /"],
        ),
        (
            "eab",
            json!({"kid": "k", "hmacEncoded": "c2VjcmV0ZQ=="}),
            &["eab.hmacEncoded: must have no padding: remove the = at its end"],
        ),
        (
            "eab",
            json!({"kid": "k", "hmacEncoded": "!"}),
            &["eab.hmacEncoded: must be base64url without padding"],
        ),
        (
            "eab",
            json!({"kid": "k", "hmacEncoded": 7}),
            &["eab.hmacEncoded: expected a text, found an integer"],
        ),
        (
            "emial",
            json!("x"),
            &["emial: unknown field; did you mean email?"],
        ),
        (
            "dnsChallenge",
            json!({"delayBeforeCheck": 5, "propagation": {"delayBeforeChecks": 6}}),
            &[
                "dnsChallenge.delayBeforeCheck: propagation.delayBeforeChecks is set too, which is its new name; remove this one",
            ],
        ),
    ] {
        let (violations, _) = wrong(&with(option, value), Strictness::Strict);
        assert_eq!(violations.len(), expected.len(), "{option}: {violations:?}");
        for (violation, expected) in violations.iter().zip(expected) {
            assert!(violation.starts_with(expected), "{violation}");
        }
    }
}

#[test]
fn what_is_worth_a_look() {
    for (option, value, expected) in [
        ("httpChallenge.entryPoint", json!("web"), &[][..]),
        (
            "httpChallenge.entryPoint",
            json!("alt"),
            &[
                "httpChallenge.entryPoint: \"alt\" listens on port 8080; the CA asks at port 80, which must lead there",
            ],
        ),
        (
            "caServer",
            json!("https://acme-v01.api.letsencrypt.org/directory"),
            &[
                "caServer: this version of the protocol is no more; https://acme-v02.api.letsencrypt.org/directory is asked",
            ],
        ),
        (
            "caServer",
            json!("http://127.0.0.1:14000/dir"),
            &["caServer: is not encrypted; only tests may do that"],
        ),
        (
            "dnsChallenge.propagation.disableANSChecks",
            json!(true),
            &[
                "dnsChallenge.propagation.disableANSChecks: set requireAllRNS too: with no authoritative server asked, one recursive server is not enough",
            ],
        ),
        (
            "dnsChallenge.propagation.disableChecks",
            json!(true),
            &[
                "dnsChallenge.propagation.disableChecks: the CA may look before the record is everywhere, and the challenge fail",
            ],
        ),
        (
            "dnsChallenge.delayBeforeCheck",
            json!(5),
            &["dnsChallenge.delayBeforeCheck: is an old name; write propagation.delayBeforeChecks"],
        ),
        (
            "dnsChallenge.disablePropagationCheck",
            json!(true),
            &[
                "dnsChallenge.disablePropagationCheck: is an old name; write propagation.disableChecks",
            ],
        ),
    ] {
        let (violations, warnings) = wrong(&with(option, value), Strictness::Strict);
        assert_eq!(
            (violations, warnings),
            (vec![], expected.iter().map(|it| (*it).to_owned()).collect()),
            "{option}"
        );
    }
    let padded = with("eab", json!({"kid": "k", "hmacEncoded": "c2VjcmV0ZQ=="}));
    let document = node(&tree(&padded).to_string(), Format::Yaml);
    let decoded = StaticConfig::decode(&document, Strictness::Lenient);
    assert_eq!(decoded.warnings().len(), 1);
    let config = decoded.into_result().unwrap();
    assert_eq!(eab(&config.resolvers[0]).1, b"secrete");
    let unreachable =
        "certificatesResolvers: {le: {acme: {email: a@example.com, tlsChallenge: {}}}}";
    let document = node(unreachable, Format::Yaml);
    let decoded = StaticConfig::decode(&document, Strictness::Strict);
    assert_eq!(
        decoded.warnings()[0].to_string(),
        "1:73: certificatesResolvers[le].acme.tlsChallenge: no entry point has port 443, where the CA asks; some port 443 must lead to one"
    );
}

#[test]
fn slips_of_the_pen_do_not_configure_nothing() {
    for (text, expected) in [
        (
            "certificateResolvers: {}",
            "1:23: certificateResolvers: unknown field; did you mean certificatesResolvers?",
        ),
        (
            "entrypoints: {}",
            "1:14: entrypoints: unknown field; did you mean entryPoints?",
        ),
        (
            "certificatesResolvers: {le: {}}",
            "1:29: certificatesResolvers[le].acme: must be set",
        ),
        (
            "entryPoints: {web: {}}",
            "1:20: entryPoints[web].address: must be set",
        ),
        (
            "entryPoints: {web: {address: eighty}}",
            "1:30: entryPoints[web].address: \"eighty\" is no address to listen on; write a port behind a colon, like :80, or with a host, like 127.0.0.1:80",
        ),
    ] {
        let document = node(text, Format::Yaml);
        let error = StaticConfig::decode(&document, Strictness::Strict)
            .into_result()
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let others = node("log: {level: DEBUG}\napi: {}\n", Format::Yaml);
    let config = StaticConfig::decode(&others, Strictness::Strict)
        .into_result()
        .unwrap();
    assert!(config.resolvers.is_empty());
    assert_eq!(config.entry_point("http").map(|entry| entry.port), Some(80));
}
