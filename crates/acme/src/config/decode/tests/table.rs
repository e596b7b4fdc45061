//! Every row of the table in the documentation.

use proptest::prelude::*;

use super::*;

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
