//! Configurations of Traefik and Secrets of Kubernetes, served.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::sync::Arc;

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, manifest};
use certwright_sni_store::{
    CertStore, ChangeSet, ConfigError, Match, Origin, PairLoader, PemPair, Query, SelectionPolicy,
    TlsConfig,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

fn loader() -> PairLoader {
    PairLoader::new(Arc::new(aws_lc_rs::default_provider()))
}

fn self_signed(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn ask(store: &CertStore<CertifiedKey>, name: &str) -> Option<(Match, Option<String>)> {
    let now = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    let current = store.current();
    let selected = current.select(&Query::new(name, now))?;
    let id = selected.entry().map(|entry| entry.id().to_string());
    Some((selected.matched(), id))
}

#[test]
fn traefiks_own_secret_is_served() {
    let text = include_str!("data/whoami-secret.yaml");
    let manifest = manifest::read(text, Format::Yaml, Strictness::Strict).remove(0);
    let Manifest::Secret(secret) = manifest.unwrap() else {
        panic!("not a Secret")
    };
    let entry = loader().load("apps/secret-tls", PemPair::of_secret(&secret));
    let entry = entry.unwrap();
    assert_eq!(entry.identifier(), "whoami,whoami.localhost");
    // Its certificate is valid for a hundred years, beyond what 32 bits of seconds hold.
    assert!(entry.not_after().unwrap().unix_timestamp() > i64::from(u32::MAX));
    let store = CertStore::new(SelectionPolicy::Traefik);
    store.apply(entry);
    let expected = Some((Match::Exact, Some("apps/secret-tls".to_owned())));
    assert_eq!(ask(&store, "whoami.localhost"), expected);
    assert_eq!(ask(&store, "other.localhost"), None);
}

#[test]
fn both_syntaxes_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["domain", "other"] {
        let (chain, key) = self_signed(&format!("{name}.test"));
        fs::write(directory.path().join(format!("{name}.cert")), chain).unwrap();
        fs::write(directory.path().join(format!("{name}.key")), key).unwrap();
    }
    let (chain, key) = self_signed("default.test");
    let indented = |text: &str| text.trim().replace('\n', "\n          ");
    let yaml = format!(
        "
http:
  routers: {{}}
tls:
  options:
    default: {{minVersion: VersionTLS12}}
  certificates:
    - certFile: domain.cert
      keyFile: domain.key
    - certFile: other.cert
      keyFile: other.key
      stores: [default]
    - certFile: never-read.cert
      keyFile: never-read.key
      stores: [elsewhere]
  stores:
    default:
      defaultCertificate:
        certFile: |
          {}
        keyFile: |
          {}
",
        indented(&chain),
        indented(&key)
    );
    let toml = format!(
        "
[[tls.certificates]]
  certFile = \"domain.cert\"
  keyFile = \"domain.key\"

[[tls.certificates]]
  certFile = \"other.cert\"
  keyFile = \"other.key\"

[tls.stores.default.defaultCertificate]
  certFile = '''{chain}'''
  keyFile = '''{key}'''
"
    );
    for (text, format) in [(yaml, Format::Yaml), (toml, Format::Toml)] {
        let config = TlsConfig::parse(&text, format, Strictness::Strict).unwrap();
        let store = CertStore::new(SelectionPolicy::Best);
        let load = || store.replace_all(config.load(&loader(), &store, directory.path()));
        let report = load();
        assert_eq!(report.rejected.len(), usize::from(format == Format::Yaml));
        for rejection in &report.rejected {
            assert_eq!(
                rejection.error.to_string(),
                "the pair at 13:7 is for stores other than default, which nothing is served from"
            );
        }
        let again = load();
        assert_eq!((again.unchanged, again.generation), (2, 1));
        let exact = |id: &str| Some((Match::Exact, Some(id.to_owned())));
        assert_eq!(ask(&store, "domain.test"), exact("tls.certificates[00000]"));
        assert_eq!(ask(&store, "other.test"), exact("tls.certificates[00001]"));
        // The default takes no part in matching, not even for its own name.
        for name in ["default.test", "unknown.test"] {
            assert_eq!(ask(&store, name), Some((Match::Default, None)));
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let text = "
tls:
  certificates:
    - certFile: a.cert
      stores: [default]
    - certfile: b.cert
      keyFile: b.key
  stores:
    default:
      defaultGeneratedCert: {resolver: le}
";
    let error = TlsConfig::parse(text, Format::Yaml, Strictness::Strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4:7: tls.certificates[0].keyFile: must be set
6:7: tls.certificates[1].certFile: must be set
6:7: tls.certificates[1].certfile: unknown field; did you mean certFile?
10:29: tls.stores.default.defaultGeneratedCert: is issued by an ACME resolver, which this store does not run; give a defaultCertificate"
    );
    let broken = TlsConfig::parse("tls: [", Format::Yaml, Strictness::Strict);
    assert!(matches!(broken, Err(ConfigError::Syntax(_))));
    let elsewhere = TlsConfig::parse("http: {}", Format::Yaml, Strictness::Strict);
    assert!(elsewhere.unwrap().is_empty());
}

#[test]
fn broken_files_are_named_and_leave_what_was_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (chain, key) = self_signed("a.test");
    fs::write(path("a.cert"), &chain).unwrap();
    fs::write(path("a.key"), &key).unwrap();
    let text = "
tls:
  certificates:
    - {certFile: a.cert, keyFile: a.key}
    - {certFile: absent.cert, keyFile: a.key}
  stores: {default: {defaultCertificate: {certFile: a.cert, keyFile: a.cert}}}
";
    let config = TlsConfig::parse(text, Format::Yaml, Strictness::Strict).unwrap();
    let store = CertStore::new(SelectionPolicy::Best);
    let mut first = ChangeSet::new();
    first.merge(config.load(&loader(), &store, directory.path()));
    let report = store.replace_all(first);
    assert_eq!(report.added.len(), 1);
    let said: Vec<_> = report
        .rejected
        .iter()
        .map(|r| (r.origin.clone(), r.error.to_string()))
        .collect();
    let absent = format!("{} cannot be read", path("absent.cert").display());
    let default = "a.cert, which the configuration names at 6:42, cannot be used";
    assert_eq!(
        said,
        [
            (Origin::Default, default.to_owned()),
            (Origin::Entry("tls.certificates[00001]".into()), absent)
        ]
    );
    let reason = report.rejected[0].error.source().unwrap();
    assert!(reason.to_string().starts_with("there is no private key"));

    fs::write(path("a.key"), "truncated").unwrap();
    let report = store.replace_all(config.load(&loader(), &store, directory.path()));
    assert!(!report.changed());
    assert_eq!(
        report.rejected[1].error.to_string(),
        "a.key, which the configuration names at 4:7, cannot be used"
    );
    assert!(ask(&store, "a.test").is_some());
}

#[test]
fn a_key_in_the_configuration_is_never_taken_for_a_path() {
    let (chain, key) = self_signed("a.test");
    let body = key.lines().nth(1).unwrap();
    // What `openssl pkcs12 -nodes` writes in front, a comment, and a first line that was lost.
    let attributes = "Bag Attributes\n    localKeyID: 01\nKey Attributes: <No Attributes>\n";
    let lost: String = key
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    for (key, served) in [
        (format!("{attributes}{key}"), true),
        (format!("# of a.test\n{key}"), true),
        (lost, false),
    ] {
        let text = format!(
            "[[tls.certificates]]\ncertFile = '''\n{attributes}{chain}'''\nkeyFile = '''\n{key}'''\n"
        );
        let config = TlsConfig::parse(&text, Format::Toml, Strictness::Strict).unwrap();
        let store = CertStore::new(SelectionPolicy::Best);
        let report = store.replace_all(config.load(&loader(), &store, "/base"));
        assert_eq!(ask(&store, "a.test").is_some(), served, "{report:?}");
        for rejection in &report.rejected {
            let said = format!("{rejection:?} {}", rejection.error);
            assert!(!said.contains(body), "{said}");
        }
        assert_eq!(report.rejected.len(), usize::from(!served));
    }
}
