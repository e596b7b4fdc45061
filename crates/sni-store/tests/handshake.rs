//! rustls clients against a rustls server that serves a store, in memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use certwright_sni_store::{
    ACME_TLS_ALPN, CertStore, Challenges, ChangeSet, DefaultEntry, Entry, PairLoader, PemPair,
    Resolver, SelectionPolicy,
};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use time::OffsetDateTime;

/// 2026-01-01T00:00:00Z
const NOW: u64 = 1_767_225_600;
const DAY: i64 = 86_400;

#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            self.0,
        )))
    }
}

/// An authority and the store its certificates go to.
struct Site {
    authority: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    loader: PairLoader,
    store: CertStore<CertifiedKey>,
}

#[derive(Clone, Copy)]
enum Key {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl Site {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = at(-1000);
        params.not_after = at(1000);
        let root = params.self_signed(&key).unwrap();
        Self {
            root: root.der().clone(),
            authority: Issuer::new(params, key),
            loader: PairLoader::new(provider()),
            store: CertStore::new(SelectionPolicy::Best),
        }
    }

    fn issue(&self, names: &[&str], key: Key, days: std::ops::Range<i64>) -> (String, String) {
        let key = KeyPair::generate_for(match key {
            Key::P256 => &PKCS_ECDSA_P256_SHA256,
            Key::P384 => &PKCS_ECDSA_P384_SHA384,
            Key::Ed25519 => &PKCS_ED25519,
            Key::Rsa => &PKCS_RSA_SHA256,
        })
        .unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = at(days.start);
        params.not_after = at(days.end);
        let leaf = params.signed_by(&key, &self.authority).unwrap();
        (leaf.pem(), key.serialize_pem())
    }

    fn entry(&self, id: &str, names: &[&str], key: Key) -> Entry<CertifiedKey> {
        let (chain, key) = self.issue(names, key, -1..1);
        self.loader.load(id, pair(&chain, &key)).unwrap()
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(self.store.clone(), Arc::new(Clock(NOW)))
    }

    /// Publishes and tells the leaf.
    fn publish(&self, id: &str, names: &[&str], key: Key) -> CertificateDer<'static> {
        let entry = self.entry(id, names, key);
        let leaf = entry.payload().cert[0].clone();
        assert!(self.store.apply(entry).changed());
        leaf
    }
}

fn at(days: i64) -> OffsetDateTime {
    let now = i64::try_from(NOW).unwrap();
    OffsetDateTime::from_unix_timestamp(now + days * DAY).unwrap()
}

fn pair<'a>(chain: &'a str, key: &'a str) -> PemPair<'a> {
    PemPair {
        chain: chain.as_bytes(),
        key: key.as_bytes(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Whom the client says to be.
struct Client {
    provider: Arc<CryptoProvider>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
    sni: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            provider: provider(),
            versions: rustls::ALL_VERSIONS,
            alpn: Vec::new(),
            sni: true,
        }
    }
}

impl Client {
    /// The leaf this client is shown, verified, or why not.
    fn connect(
        &self,
        site: &Site,
        resolver: Resolver,
        name: &str,
    ) -> Result<CertificateDer<'static>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(site.root.clone()).unwrap();
        let mut config =
            ClientConfig::builder_with_details(self.provider.clone(), Arc::new(Clock(NOW)))
                .with_protocol_versions(self.versions)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = self.sni;
        let mut server = ServerConfig::builder_with_details(provider(), Arc::new(Clock(NOW)))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        server.alpn_protocols = vec![b"h2".to_vec(), ACME_TLS_ALPN.to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
            }
            let refused = server.process_new_packets().err();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
            }
            client.process_new_packets()?;
            if let Some(error) = refused {
                return Err(error);
            }
        }
        Ok(client.peer_certificates().unwrap()[0].clone().into_owned())
    }
}

#[test]
fn a_published_pair_is_served_and_renewed() {
    let site = Site::new();
    let client = Client::default();
    let refused = client
        .connect(&site, site.resolver(), "a.test")
        .unwrap_err();
    assert_eq!(
        refused,
        rustls::Error::AlertReceived(AlertDescription::AccessDenied)
    );
    let first = site.publish("apps/a", &["a.test", "*.a.test"], Key::P256);
    for name in ["a.test", "www.a.test", "WWW.A.test"] {
        assert_eq!(client.connect(&site, site.resolver(), name).unwrap(), first);
    }
    let second = site.publish("apps/a", &["a.test"], Key::P256);
    assert_ne!(first, second);
    assert_eq!(
        client.connect(&site, site.resolver(), "a.test").unwrap(),
        second
    );
    assert!(
        client
            .connect(&site, site.resolver(), "www.a.test")
            .is_err()
    );
}

#[test]
fn identical_pairs_change_nothing() {
    let site = Site::new();
    let (chain, key) = site.issue(&["a.test"], Key::P256, -1..1);
    let load = || site.loader.load("a", pair(&chain, &key)).unwrap();
    assert_eq!(site.store.apply(load()).generation, 1);
    let again = site.store.apply(load());
    assert_eq!((again.generation, again.unchanged), (1, 1));
}

#[test]
fn the_default_serves_what_nothing_matches() {
    let site = Site::new();
    let default = DefaultEntry::self_signed(provider(), Arc::new(Clock(NOW)));
    let mut change = ChangeSet::from(site.entry("a", &["a.test"], Key::P256));
    change.default_entry(default);
    let report = site.store.apply(change);
    assert!(report.rejected.is_empty(), "{report:?}");
    let unknown = |resolver| Client::default().connect(&site, resolver, "b.test");
    // The client trusts only the authority, hence refuses the self-signed one, which it was shown.
    assert!(matches!(
        unknown(site.resolver()).unwrap_err(),
        rustls::Error::InvalidCertificate(_)
    ));
    assert!(matches!(
        unknown(site.resolver().strict_sni()).unwrap_err(),
        rustls::Error::AlertReceived(AlertDescription::AccessDenied)
    ));
}

/// A provider whose clients offer these signature schemes only.
fn verifying(only: fn(rustls::SignatureScheme) -> bool) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let kept: Vec<_> = provider
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| only(*scheme))
        .copied()
        .collect();
    provider.signature_verification_algorithms.mapping = kept.leak();
    Arc::new(provider)
}

fn is_rsa(scheme: rustls::SignatureScheme) -> bool {
    use rustls::SignatureScheme as S;
    matches!(
        scheme,
        S::RSA_PKCS1_SHA256
            | S::RSA_PKCS1_SHA384
            | S::RSA_PKCS1_SHA512
            | S::RSA_PSS_SHA256
            | S::RSA_PSS_SHA384
            | S::RSA_PSS_SHA512
    )
}

#[test]
fn each_client_gets_a_key_it_can_use() {
    let site = Site::new();
    let rsa = site.publish("rsa", &["a.test"], Key::Rsa);
    let p256 = site.publish("p256", &["*.test", "a.test"], Key::P256);
    let ed25519 = site.publish("ed25519", &["*.a.test"], Key::Ed25519);
    let p384 = site.publish("p384", &["b.a.test"], Key::P384);
    static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let only_suites = |suites: &[CipherSuite]| {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| suites.contains(&suite.suite()));
        Arc::new(provider)
    };
    use CipherSuite as C;
    use rustls::SignatureScheme as S;
    let ecdsa_suites = only_suites(&[C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]);
    let rsa_suites = only_suites(&[C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]);
    let not_p384 = |scheme| scheme != S::ECDSA_NISTP384_SHA384;
    let table = [
        // With everything usable the last identifier wins: "a.test" after "*.test,a.test".
        ("a.test", provider(), TLS13, &rsa),
        ("a.test", rsa_suites, TLS12, &rsa),
        ("a.test", ecdsa_suites.clone(), TLS12, &p256),
        ("b.a.test", provider(), TLS13, &p384),
        ("b.a.test", provider(), TLS12, &p384),
        // The exact certificate's key is of no use to this client, the wildcard's is.
        ("b.a.test", verifying(not_p384), TLS13, &ed25519),
        ("b.a.test", ecdsa_suites, TLS12, &p384),
        ("a.test", verifying(is_rsa), TLS13, &rsa),
        ("a.test", verifying(is_rsa), TLS12, &rsa),
        ("a.test", verifying(|scheme| !is_rsa(scheme)), TLS13, &p256),
        ("a.test", verifying(|scheme| !is_rsa(scheme)), TLS12, &p256),
    ];
    for (row, (name, provider, versions, expected)) in table.into_iter().enumerate() {
        let client = Client {
            provider,
            versions,
            ..Client::default()
        };
        let leaf = client.connect(&site, site.resolver(), name);
        assert_eq!(leaf.as_ref(), Ok(expected), "row {row}");
    }
    assert_eq!(site.store.counts().unusable, 0);
}

#[test]
fn without_server_name_the_local_address_decides() {
    let site = Site::new();
    let leaf = site.publish("ip", &["192.0.2.7"], Key::P256);
    let client = Client {
        sni: false,
        ..Client::default()
    };
    let at = |ip: &str| site.resolver().at_address(ip.parse().unwrap());
    let connect = |resolver| client.connect(&site, resolver, "192.0.2.7");
    assert_eq!(connect(at("192.0.2.7")).unwrap(), leaf);
    assert_eq!(connect(at("::ffff:192.0.2.7")).unwrap(), leaf);
    assert!(connect(at("192.0.2.8")).is_err());
    assert!(connect(site.resolver()).is_err());
}

#[test]
fn challenges_are_answered_to_acme_alone() {
    let site = Site::new();
    let serving = site.publish("a", &["a.test", "b.test"], Key::P256);
    let challenges = Challenges::new();
    let (chain, key) = site.issue(&["a.test"], Key::P256, -1..1);
    let challenge = site.loader.certified_key(pair(&chain, &key)).unwrap();
    let proof = challenge.cert[0].clone();
    challenges.insert("a.test", challenge).unwrap();
    let resolver = site.resolver().with_challenges(challenges);
    let acme = ACME_TLS_ALPN;
    let table: [(&[&[u8]], _, _, _); 6] = [
        (&[acme], "a.test", true, Some(&proof)),
        (&[acme, b"h2"], "a.test", true, Some(&serving)),
        (&[b"h2"], "a.test", true, Some(&serving)),
        (&[], "a.test", true, Some(&serving)),
        (&[acme], "b.test", true, None),
        (&[acme], "a.test", false, None),
    ];
    for (row, (alpn, name, sni, expected)) in table.into_iter().enumerate() {
        let client = Client {
            alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
            sni,
            ..Client::default()
        };
        let leaf = client.connect(&site, resolver.clone(), name);
        assert_eq!(leaf.as_ref().ok(), expected, "row {row}: {leaf:?}");
    }
    let acme_only = Client {
        alpn: vec![acme.to_vec()],
        ..Client::default()
    };
    assert!(acme_only.connect(&site, site.resolver(), "a.test").is_err());
}

#[test]
fn an_expired_exact_name_yields_to_a_valid_wildcard() {
    let site = Site::new();
    let (chain, key) = site.issue(&["a.b.test"], Key::P256, -9..-1);
    let expired = site.loader.load("expired", pair(&chain, &key)).unwrap();
    let shown = expired.payload().cert[0].clone();
    site.store.apply(expired);
    let connect = || Client::default().connect(&site, site.resolver(), "a.b.test");
    assert!(matches!(
        connect(),
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::ExpiredContext { .. }
        ))
    ));
    assert_eq!(site.store.counts().invalid, 1);
    let wildcard = site.publish("wildcard", &["*.b.test"], Key::P256);
    assert_ne!(shown, wildcard);
    assert_eq!(connect().unwrap(), wildcard);
}
