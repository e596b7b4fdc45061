//! Keys and passwords where they do not belong, broken ones, and what is said about them.

use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_cert_model::{Defaults, Manifest, TlsSecret, manifest};
use certwright_issuance::{CertificateAuthority, KeyPair};
use certwright_sni_store::{CertStore, TlsConfig};
use certwright_transport::{Identity, Material, ServersTransport, Upstream};
use rustls::crypto::aws_lc_rs::default_provider;

use super::watch::Watch;
use super::{Given, PASSWORD, block, clock, loader};

pub(crate) fn read(watch: &mut Watch, given: &Given) {
    documents(watch, given);
    keys(watch, given);
    configurations(watch, given);
}

fn documents(watch: &mut Watch, given: &Given) {
    let pem = block(&given.pem, 4);
    let quoted = serde_json::json!(*given.pem).to_string();
    let body = given.pem.lines().nth(1).unwrap();
    let secret =
        |data: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n{data}\n");
    let certificate = |password: &str| {
        format!(
            "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: a}}\nspec: {{secretName: a, issuerRef: {{name: ca}}, dnsNames: [a.b], keystores: {{jks: {{create: true, {password}}}}}}}\n"
        )
    };
    let wrong = [
        secret(&format!("data:\n  tls.key: |\n    {pem}")),
        secret(&format!("data: |\n    {pem}")),
        secret(&format!("data: [{quoted}]")),
        secret(&format!("type: [{quoted}]")),
        secret(&format!("immutable: {quoted}")),
        secret(&format!("stringData:\n  tls.key: |\n    {pem}\n ]")),
        secret(&format!(
            "stringData:\n  tls.key: {quoted}\n  tls.key: {quoted}"
        )),
        secret(&format!("stringData:\n  tls.key: !!binary {body}")),
        secret(&format!("stringData:\n  tls.key: \"{body}")),
        certificate(&format!("password: !{PASSWORD}")),
        certificate(&format!("password: !!{PASSWORD} x")),
        certificate(&format!("password: *{PASSWORD}")),
        certificate(&format!("password: [{PASSWORD}]")),
        certificate(&format!("pasword: {PASSWORD}")),
        certificate(&format!("create: {PASSWORD}")),
    ];
    for text in wrong {
        for read in manifest::read(&text, Format::Yaml, Strictness::Strict) {
            match read {
                Err(error) => watch.read(&error),
                Ok(Manifest::Certificate(found)) => {
                    watch.look(&*found);
                    watch.refused(found.validate(&Defaults::documented()));
                }
                Ok(other) => panic!("{text}: {other:?}"),
            }
        }
    }
    for (text, format) in [
        (format!("{{\"tls.key\": {quoted} \"a\"}}"), Format::Json),
        (format!("{{\"tls.key\": \"{body}\n\"}}"), Format::Json),
        (format!("key = '{body}\n"), Format::Toml),
        (format!("key = {body}\n"), Format::Toml),
        (format!("key = '''{}''' x\n", *given.pem), Format::Toml),
    ] {
        watch.refused(parse(&text, format).remove(0));
    }
    // Twenty digits are a password, or a number beyond 64 bits.
    let digits = "31415926535897932384";
    for (text, format) in [
        (format!("a: {digits}"), Format::Yaml),
        (format!("{{\"a\": {digits}}}"), Format::Json),
        (format!("a = {digits}"), Format::Toml),
    ] {
        let error = parse(&text, format).remove(0).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("31415926"),
            "{error}"
        );
    }
}

fn keys(watch: &mut Watch, given: &Given) {
    let (head, tail) = given.pem.split_at(given.pem.len() / 2);
    for wrong in [
        head.to_owned(),
        format!("{head}!{tail}"),
        given.pem.replace("BEGIN", "BEGN"),
        given.pem.replace("PRIVATE KEY", "CERTIFICATE"),
    ] {
        watch.refused(KeyPair::from_pem(wrong.as_bytes()));
        let now = given.now;
        let ca = CertificateAuthority::from_pem(given.chain.as_bytes(), wrong.as_bytes(), now);
        watch.refused(ca);
        // The key for the chain, and the other way round.
        let ca = CertificateAuthority::from_pem(wrong.as_bytes(), wrong.as_bytes(), now);
        watch.refused(ca);
        let mut secret = TlsSecret::new("ns", "name");
        secret.insert("tls.crt", given.chain.as_bytes());
        secret.insert("tls.key", wrong.as_bytes());
        watch.refused(Identity::from_secret(&secret, &default_provider()));
    }
    watch.refused(KeyPair::from_der(&given.der[..60]));
}

fn configurations(watch: &mut Watch, given: &Given) {
    let headless = given.pem.lines().skip(1).collect::<Vec<_>>().join("\n");
    let bagged = format!("Bag Attributes: <No Attributes>\n{headless}");
    for key in [headless, bagged, given.pem.replace('M', "!")] {
        let certificates = format!(
            "    - certFile: |\n        {}\n      keyFile: |\n        {}\n",
            block(&given.chain, 8),
            block(&key, 8)
        );
        let text = format!("tls:\n  certificates:\n{certificates}");
        let config = TlsConfig::parse(&text, Format::Yaml, Strictness::Strict).unwrap();
        watch.look(&config);
        let store = CertStore::default();
        let report = store.replace_all(config.load(&loader(), &store, "/base"));
        watch.look(&report);
        watch.look(&report.rejected[0]);
        watch.read(&*report.rejected[0].error);

        let text = format!(
            "http:\n  serversTransports:\n    a:\n      rootCAs:\n        - |\n          {}\n      certificates:\n{}",
            block(&given.chain, 10),
            certificates.replace("    ", "        ")
        );
        let root = parse(&text, Format::Yaml).remove(0).unwrap().root;
        let decoded = ServersTransport::decode_dynamic(&root, Strictness::Strict);
        watch.look(&decoded);
        let transport = decoded.into_result().unwrap().remove(0);
        watch.look(&transport);
        let Upstream::Verified(upstream) = transport.validate().unwrap() else {
            panic!("not verified");
        };
        watch.look(&upstream);
        let provider = std::sync::Arc::new(default_provider());
        let material = Material::default();
        let rotating = certwright_transport::Rotating::new(upstream, provider, clock(), &material);
        watch.refused(rotating);
    }
    // The pair for the list of pairs.
    for text in [&*given.pem, PASSWORD] {
        let text = serde_json::json!({"tls": {"certificates": [{"certFile": "a", "keyFile": [text]}, {"certFile": "a", "keyFile": {"a": text}}]}});
        let wrong = TlsConfig::parse(&text.to_string(), Format::Json, Strictness::Strict);
        watch.refused(wrong);
    }
    let text = serde_json::json!({"tls": {"certificates": *given.pem, "stores": *given.pem}});
    let wrong = TlsConfig::parse(&text.to_string(), Format::Json, Strictness::Strict);
    watch.refused(wrong);
}
