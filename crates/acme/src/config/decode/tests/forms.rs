//! Other ways to say the same.

use super::*;

#[test]
fn old_names_mean_the_new_ones() {
    let old = read(&with("dnsChallenge.delayBeforeCheck", json!(5)));
    let new = read(&with(
        "dnsChallenge.propagation.delayBeforeChecks",
        json!(5),
    ));
    assert_eq!(dns(&old), dns(&new));
    let old = read(&with("dnsChallenge.disablePropagationCheck", json!(true)));
    let new = read(&with("dnsChallenge.propagation.disableChecks", json!(true)));
    assert_eq!(dns(&old), dns(&new));
}

#[test]
fn challenges_are_switches_too() {
    for (value, on) in [
        (json!(true), true),
        (json!({}), true),
        (json!(false), false),
        (Json::Null, false),
    ] {
        let node = node(
            &tree(&with("tlsChallenge", value.clone())).to_string(),
            Format::Yaml,
        );
        let config = StaticConfig::decode(&node, Strictness::Strict)
            .into_result()
            .unwrap();
        assert_eq!(config.resolvers[0].tls_challenge.is_some(), on, "{value}");
    }
    let (violations, _) = wrong(
        &vec![
            ("email", json!("a@example.com")),
            ("httpChallenge", json!(true)),
        ],
        Strictness::Strict,
    );
    assert_eq!(
        violations,
        ["httpChallenge: needs the name of an entryPoint"]
    );
    // Nothing and less are no pause.
    for delay in [json!(0), json!(-5), json!("-5s")] {
        let resolver = read(&with("httpChallenge.delay", delay));
        assert!(resolver.http_challenge.unwrap().delay.is_zero());
    }
}

#[test]
fn several_issuers() {
    let text = "
certificatesResolvers:
  le:
    acme:
      email: a@example.com
      tlsChallenge: {}
      preferredChain: [ISRG Root X2, ISRG Root X1]
      fallbackIssuers:
      - caServer: https://two.test/dir
        eab: {kid: k, hmacEncoded: c2VjcmV0}
        profile: tls
      - caServer: https://three.test/dir
  vpn:
    tailscale: {}
";
    let document = node(text, Format::Yaml);
    let config = StaticConfig::decode(&document, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(config.resolvers.len(), 1);
    let resolver = config.resolver("le").unwrap();
    let servers: Vec<&str> = resolver
        .issuers
        .iter()
        .map(|issuer| issuer.ca_server.as_str())
        .collect();
    assert_eq!(
        servers,
        [
            LETS_ENCRYPT,
            "https://two.test/dir",
            "https://three.test/dir"
        ]
    );
    assert_eq!(
        resolver.issuers[0].preferred_chain.names,
        ["ISRG Root X2", "ISRG Root X1"]
    );
    assert!(resolver.issuers[1].preferred_chain.names.is_empty());
    let by_flags = flags([
        "--certificatesresolvers.le.acme.email",
        "a@example.com",
        "--certificatesresolvers.le.acme.tlschallenge",
        "--certificatesresolvers.le.acme.preferredchain[0]=ISRG Root X2",
        "--certificatesresolvers.le.acme.preferredchain[1]=ISRG Root X1",
        "--certificatesresolvers.le.acme.fallbackissuers[0].caserver=https://two.test/dir",
        "--certificatesresolvers.le.acme.fallbackissuers[0].eab.kid=k",
        "--certificatesresolvers.le.acme.fallbackissuers[0].eab.hmacencoded=c2VjcmV0",
        "--certificatesresolvers.le.acme.fallbackissuers[0].profile=tls",
        "--certificatesresolvers.le.acme.fallbackissuers[1].caserver=https://three.test/dir",
    ]);
    let by_flags = by_flags.unwrap();
    let other = StaticConfig::decode(&by_flags, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(format!("{other:?}"), format!("{config:?}"));
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn one_resolver_alone() {
    let document = node(
        "{email: a@example.com, httpChallenge: {entryPoint: anything}}",
        Format::Yaml,
    );
    let resolver = Resolver::decode("mine", &document, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(resolver.name, "mine");
    assert_eq!(resolver.http_challenge.unwrap().entry_point, "anything");
}
