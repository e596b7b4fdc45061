//! Every option, in every format.

use certwright_cert_model::document::{Format, parse};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::{DnsChallenge, LETS_ENCRYPT, flags};

/// Options as `(path, value)`, which every format can write.
type Options = Vec<(&'static str, Json)>;

fn base() -> Options {
    vec![
        ("email", json!("a@example.com")),
        ("httpChallenge.entryPoint", json!("web")),
    ]
}

/// The base with one option more, or another value of one.
fn with(path: &'static str, value: Json) -> Options {
    let mut options = base();
    options.retain(|(known, _)| *known != path);
    options.push((path, value));
    options
}

fn tree(options: &Options) -> Json {
    let mut root = json!({});
    for (path, value) in options {
        let mut node = &mut root;
        for segment in path.split('.') {
            node = &mut node[segment];
        }
        *node = value.clone();
    }
    json!({
        "entryPoints": {"web": {"address": ":80"}, "websecure": {"address": ":443"}, "alt": {"address": ":8080"}, "quic": {"address": ":443/udp"}},
        "certificatesResolvers": {"le": {"acme": root}},
    })
}

fn toml(options: &Options) -> String {
    let mut text = "[entryPoints]\n  web.address = \":80\"\n  websecure.address = \":443\"\n[certificatesResolvers.le.acme]\n".to_owned();
    for (path, value) in options {
        let value = match value {
            Json::Object(_) => "{}".to_owned(),
            value => value.to_string(),
        };
        text.push_str(&format!("  {path} = {value}\n"));
    }
    text
}

fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = vec![
        "--entryPoints.web.address=:80".to_owned(),
        "--entrypoints.websecure.address=:443".to_owned(),
    ];
    for (path, value) in options {
        let value = match value {
            Json::String(text) => text.clone(),
            Json::Array(texts) => texts
                .iter()
                .filter_map(Json::as_str)
                .collect::<Vec<_>>()
                .join(","),
            Json::Object(_) => "true".to_owned(),
            value => value.to_string(),
        };
        let name = path.to_ascii_lowercase();
        arguments.push(format!("--certificatesresolvers.le.acme.{name}={value}"));
    }
    arguments
}

fn node(text: &str, format: Format) -> Node {
    parse(text, format).remove(0).unwrap().root
}

/// The document in every format.
fn formats(options: &Options) -> [Node; 4] {
    let text = tree(options).to_string();
    [
        node(&text, Format::Yaml),
        node(&text, Format::Json),
        node(&toml(options), Format::Toml),
        flags(arguments(options)).unwrap(),
    ]
}

fn read(options: &Options) -> Resolver {
    let mut shown: Vec<Resolver> = Vec::new();
    for node in formats(options) {
        let decoded = StaticConfig::decode(&node, Strictness::Strict);
        let mut config = decoded
            .into_result()
            .unwrap_or_else(|error| panic!("{options:?}: {error}"));
        shown.push(config.resolvers.remove(0));
    }
    let first = shown.remove(0);
    for other in &shown {
        assert_eq!(format!("{other:?}"), format!("{first:?}"), "{options:?}");
    }
    first
}

/// What is wrong with the document as YAML, without places.
fn wrong(options: &Options, strictness: Strictness) -> (Vec<String>, Vec<String>) {
    let node = node(&tree(options).to_string(), Format::Yaml);
    let decoded = StaticConfig::decode(&node, strictness);
    let texts = |found: &[certwright_cert_model::Violation]| -> Vec<String> {
        let texts = found
            .iter()
            .map(|one| format!("{}: {}", one.field, one.message));
        texts
            .map(|text| text.replace("certificatesResolvers[le].acme.", ""))
            .collect()
    };
    (texts(decoded.violations()), texts(decoded.warnings()))
}

type Shown = fn(&Resolver) -> String;

fn dns(resolver: &Resolver) -> DnsChallenge {
    resolver.dns_challenge.clone().unwrap_or_default()
}

fn eab(resolver: &Resolver) -> (String, Vec<u8>) {
    let eab = resolver.issuers[0].eab.as_ref();
    eab.map_or_else(Default::default, |eab| (eab.kid.clone(), eab.hmac.to_vec()))
}

/// Every row of the documentation's table: the option, its default, whether it is required, another
/// value, and what that becomes.
fn table() -> Vec<(&'static str, &'static str, bool, Json, &'static str, Shown)> {
    vec![
        (
            "email",
            "",
            true,
            json!("b@example.com"),
            "b@example.com",
            |it| {
                it.email
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            },
        ),
        (
            "caServer",
            LETS_ENCRYPT,
            false,
            json!("https://ca.test/dir"),
            "https://ca.test/dir",
            |it| it.issuers[0].ca_server.clone(),
        ),
        (
            "preferredChain",
            "",
            false,
            json!("ISRG Root X1"),
            "ISRG Root X1",
            |it| it.issuers[0].preferred_chain.names.join("|"),
        ),
        (
            "keyType",
            "RSA 4096",
            false,
            json!("EC256"),
            "ECDSA P-256",
            |it| it.key_type.to_string(),
        ),
        (
            "eab",
            "None",
            false,
            json!({"kid": "k", "hmacEncoded": "c2VjcmV0"}),
            "Some(k)",
            |it| {
                let kid = it.issuers[0].eab.as_ref().map(|eab| eab.kid.as_str());
                format!("{kid:?}").replace('"', "")
            },
        ),
        (
            "certificatesDuration",
            "2592000",
            false,
            json!(720),
            "864000",
            |it| {
                let table = match it.renewal_policy() {
                    certwright_renewal::RenewalPolicy::AcmeTable(table) => table,
                    // Two thirds of 90 days are 30 days before the end, as the table has it for 2160.
                    _ => Default::default(),
                };
                table.renew_before().whole_seconds().to_string()
            },
        ),
        (
            "clientTimeout",
            "120s",
            false,
            json!("1m30s"),
            "90s",
            |it| format!("{:?}", it.client_timeout),
        ),
        (
            "clientResponseHeaderTimeout",
            "30s",
            false,
            json!("5s"),
            "5s",
            |it| format!("{:?}", it.client_response_header_timeout),
        ),
        ("dnsChallenge", "false", false, json!({}), "true", |it| {
            it.dns_challenge.is_some().to_string()
        }),
        (
            "dnsChallenge.provider",
            "",
            false,
            json!("cloudflare"),
            "cloudflare",
            |it| dns(it).provider.unwrap_or_default(),
        ),
        (
            "dnsChallenge.resolvers",
            "",
            false,
            json!(["1.1.1.1:53", "8.8.8.8"]),
            "1.1.1.1:53|8.8.8.8:53",
            |it| {
                let resolvers = dns(it).resolvers;
                resolvers
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("|")
            },
        ),
        (
            "dnsChallenge.propagation.delayBeforeChecks",
            "0ns",
            false,
            json!(5),
            "5s",
            |it| format!("{:?}", dns(it).propagation.delay_before_checks),
        ),
        (
            "dnsChallenge.propagation.disableChecks",
            "false",
            false,
            json!(true),
            "true",
            |it| dns(it).propagation.disable_checks.to_string(),
        ),
        (
            "dnsChallenge.propagation.requireAllRNS",
            "false",
            false,
            json!(true),
            "true",
            |it| dns(it).propagation.require_all_rns.to_string(),
        ),
        (
            "dnsChallenge.propagation.disableANSChecks",
            "false",
            false,
            json!(true),
            "true",
            |it| dns(it).propagation.disable_ans_checks.to_string(),
        ),
        (
            "httpChallenge.entryPoint",
            "",
            true,
            json!("websecure"),
            "websecure",
            |it| it.http_challenge.clone().unwrap_or_default().entry_point,
        ),
        (
            "httpChallenge.delay",
            "0ns",
            false,
            json!("10s"),
            "10s",
            |it| format!("{:?}", it.http_challenge.clone().unwrap_or_default().delay),
        ),
        ("tlsChallenge", "false", false, json!({}), "true", |it| {
            it.tls_challenge.is_some().to_string()
        }),
        (
            "storage",
            "acme.json",
            true,
            json!("/data/acme.json"),
            "/data/acme.json",
            |it| it.storage.display().to_string(),
        ),
        // Newer ones.
        ("tlsChallenge.delay", "0ns", false, json!(7), "7s", |it| {
            format!("{:?}", it.tls_challenge.unwrap_or_default().delay)
        }),
        (
            "profile",
            "",
            false,
            json!("shortlived"),
            "shortlived",
            |it| it.issuers[0].profile.clone().unwrap_or_default(),
        ),
        (
            "emailAddresses",
            "0",
            false,
            json!(["x@example.com", "y@example.com"]),
            "2",
            |it| it.email_addresses.len().to_string(),
        ),
        (
            "disableCommonName",
            "Main",
            false,
            json!(true),
            "None",
            |it| format!("{:?}", it.common_name),
        ),
        (
            "certificateTimeout",
            "30s",
            false,
            json!("1m"),
            "60s",
            |it| format!("{:?}", it.certificate_timeout),
        ),
        (
            "caCertificates",
            "",
            false,
            json!(["/a.pem", "/b.pem"]),
            "/a.pem|/b.pem",
            |it| it.issuers[0].trust.ca_certificates.join("|"),
        ),
        (
            "caSystemCertPool",
            "false",
            false,
            json!(true),
            "true",
            |it| it.issuers[0].trust.system_roots.to_string(),
        ),
        (
            "caServerName",
            "",
            false,
            json!("ca.test"),
            "ca.test",
            |it| it.issuers[0].trust.server_name.clone().unwrap_or_default(),
        ),
        // Ours.
        (
            "preferShortestChain",
            "Offered",
            false,
            json!(true),
            "Shortest",
            |it| format!("{:?}", it.issuers[0].preferred_chain.otherwise),
        ),
        (
            "dnsChallenge.disableCNAMESupport",
            "Follow",
            false,
            json!(true),
            "Ignore",
            |it| format!("{:?}", dns(it).cname_records),
        ),
        (
            "certificatePerName",
            "Domain",
            false,
            json!(true),
            "Name",
            |it| format!("{:?}", it.grouping),
        ),
    ]
}

#[test]
fn every_option_in_every_format() {
    for (option, default, _, value, expected, shown) in table() {
        if option == "eab" {
            continue;
        }
        assert_eq!(shown(&Resolver::new("le")), default, "{option}");
        if !base().iter().any(|(path, _)| *path == option) {
            assert_eq!(shown(&read(&base())), default, "{option}");
        }
        assert_eq!(shown(&read(&with(option, value))), expected, "{option}");
    }
    let mut options = base();
    options.push(("eab.kid", json!("k")));
    options.push(("eab.hmacEncoded", json!("c2VjcmV0")));
    assert_eq!(eab(&read(&options)), ("k".to_owned(), b"secret".to_vec()));
    assert_eq!(eab(&read(&base())), Default::default());
}

#[test]
fn required_options() {
    for (option, _, required, _, _, _) in table() {
        let empty = match option {
            "storage" | "email" | "httpChallenge.entryPoint" => json!(""),
            _ => Json::Null,
        };
        let (violations, _) = wrong(&with(option, empty), Strictness::Strict);
        assert_eq!(!violations.is_empty(), required, "{option}: {violations:?}");
    }
    let absent = |path: &str| -> Options {
        base()
            .into_iter()
            .filter(|(known, _)| *known != path)
            .collect()
    };
    let (violations, _) = wrong(&absent("email"), Strictness::Strict);
    assert_eq!(
        violations,
        ["email: must be set; without it, the account has no contact"]
    );
    let (violations, warnings) = wrong(&absent("email"), Strictness::Lenient);
    assert_eq!(violations, [""; 0]);
    assert_eq!(
        warnings,
        ["email: must be set; without it, the account has no contact"]
    );
    let (violations, _) = wrong(&absent("httpChallenge.entryPoint"), Strictness::Lenient);
    assert_eq!(
        violations,
        ["httpChallenge: set one of httpChallenge, tlsChallenge and dnsChallenge"]
    );
}

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

/// The documentation's own example, in its four forms.
#[test]
fn the_example_of_the_documentation() {
    let yaml = r#"
entryPoints:
  web:
    address: ":80"

  websecure:
    address: ":443"

certificatesResolvers:
  myresolver:
    acme:
      email: your-email@example.com
      storage: acme.json
      httpChallenge:
        # used during the challenge
        entryPoint: web
"#;
    let toml = r#"
[entryPoints]
  [entryPoints.web]
    address = ":80"

  [entryPoints.websecure]
    address = ":443"

[certificatesResolvers.myresolver.acme]
  email = "your-email@example.com"
  storage = "acme.json"
  [certificatesResolvers.myresolver.acme.httpChallenge]
    # used during the challenge
    entryPoint = "web"
"#;
    let arguments = [
        "--entryPoints.web.address=:80",
        "--entryPoints.websecure.address=:443",
        "--certificatesresolvers.myresolver.acme.email=your-email@example.com",
        "--certificatesresolvers.myresolver.acme.storage=acme.json",
        "--certificatesresolvers.myresolver.acme.httpchallenge.entrypoint=web",
    ];
    let helm = r#"
# Traefik entryPoints configuration for HTTP and HTTPS.
entryPoints:
  web:
    address: ":80"
  websecure:
    address: ":443"
certificatesResolvers:
  myresolver:
    acme:
      email: "your-email@example.com"
      storage: "/data/acme.json"       # Path to store the certificate information.
      httpChallenge:
        # Entry point to use during the ACME HTTP-01 challenge.
        entryPoint: "web"
"#;
    for (form, document, storage) in [
        ("YAML", node(yaml, Format::Yaml), "acme.json"),
        ("TOML", node(toml, Format::Toml), "acme.json"),
        ("flags", flags(arguments).unwrap(), "acme.json"),
        ("Helm", node(helm, Format::Yaml), "/data/acme.json"),
    ] {
        let decoded = StaticConfig::decode(&document, Strictness::Strict);
        assert_eq!(decoded.warnings(), [], "{form}");
        let config = decoded.into_result().unwrap();
        let resolver = config.resolver("myresolver").unwrap();
        let email = resolver.email.as_ref().map(ToString::to_string);
        assert_eq!(email.as_deref(), Some("your-email@example.com"), "{form}");
        assert_eq!(resolver.storage.to_str(), Some(storage), "{form}");
        let entry = &resolver.http_challenge.as_ref().unwrap().entry_point;
        let port = config.entry_point(entry).map(|entry| entry.port);
        assert_eq!(port, Some(80), "{form}");
    }
}

/// The other snippets of the documentation, the switches of the TLS challenge and the binding.
#[test]
fn the_snippets_of_the_documentation() {
    let eab = "[certificatesResolvers.myresolver.acme]\n  email = \"a@example.com\"\n  [certificatesResolvers.myresolver.acme.eab]\n    kid = \"abc-keyID-xyz\"\n    hmacEncoded = \"abc-hmac-xyz\"\n  [certificatesResolvers.myresolver.acme.tlsChallenge]\n";
    let document = node(eab, Format::Toml);
    let config = StaticConfig::decode(&document, Strictness::Strict)
        .into_result()
        .unwrap();
    let resolver = &config.resolvers[0];
    assert_eq!(self::eab(resolver).0, "abc-keyID-xyz");
    assert!(resolver.tls_challenge.is_some());
    let arguments = flags([
        "--certificatesresolvers.myresolver.acme.email=a@example.com",
        "--certificatesresolvers.myresolver.acme.tlschallenge=true",
        "--certificatesresolvers.myresolver.acme.eab.kid=abc-keyID-xyz",
        "--certificatesresolvers.myresolver.acme.eab.hmacencoded=abc-hmac-xyz",
    ]);
    let arguments = arguments.unwrap();
    let other = StaticConfig::decode(&arguments, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(format!("{other:?}"), format!("{config:?}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Any options together mean in every format what each means alone.
    #[test]
    fn options_do_not_disturb_each_other(chosen in proptest::collection::vec(any::<bool>(), 32)) {
        let sections = ["eab", "dnsChallenge", "tlsChallenge"];
        let rows = table().into_iter().zip(chosen).filter(|(row, _)| !sections.contains(&row.0));
        let rows: Vec<_> = rows.collect();
        let mut options = base();
        for ((option, _, _, value, _, _), _) in rows.iter().filter(|(_, chosen)| *chosen) {
            options.retain(|(known, _)| known != option);
            options.push((option, value.clone()));
        }
        let resolver = read(&options);
        let plain = read(&base());
        for ((option, _, _, _, expected, shown), chosen) in rows {
            let expected = if chosen { expected.to_owned() } else { shown(&plain) };
            prop_assert_eq!(shown(&resolver), expected, "{}", option);
        }
    }
}
