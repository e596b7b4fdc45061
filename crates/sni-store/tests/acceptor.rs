//! The acceptor under tokio: certificates that are loaded while a client waits, challenges, addresses,
//! configurations per hello, and clients that do not go on.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certwright_sni_store::{
    ACME_TLS_ALPN, AcceptError, CertAcceptor, CertStore, Challenges, Entry, EntryId, Lazy,
    LazyOptions, LazySource, PairLoader, PemPair, Resolver, SelectionPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn pair(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn entry(id: &str, names: &[&str]) -> Entry<CertifiedKey> {
    let (chain, key) = pair(names);
    let pair = PemPair {
        chain: chain.as_bytes(),
        key: key.as_bytes(),
    };
    PairLoader::new(provider()).load(id, pair).unwrap()
}

/// What an ACME client makes of a key authorization (RFC 8737 section 3).
fn proof(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let certificate = params.self_signed(&key).unwrap().der().clone();
    (
        certificate,
        PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    )
}

/// Loads `a.lazy.test` and its like; whatever else ends in `.test` is not there.
struct Source {
    loads: Arc<AtomicUsize>,
    certificate: Arc<CertifiedKey>,
}

impl LazySource<CertifiedKey> for Source {
    fn identify(&self, name: &str) -> Option<EntryId> {
        let (_, zone) = name.split_once('.')?;
        zone.ends_with(".test").then(|| zone.into())
    }

    fn load(&self, id: &EntryId) -> Result<Vec<Entry<CertifiedKey>>, Box<dyn Error + Send + Sync>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let there = id.as_str() == "lazy.test";
        let entry =
            there.then(|| Entry::new(id.clone(), ["*.lazy.test"], self.certificate.clone()));
        Ok(entry.into_iter().collect())
    }

    fn size(&self, payload: &CertifiedKey) -> usize {
        payload.cert.iter().map(|cert| cert.len()).sum()
    }
}

/// A client that takes any certificate and shows which one it was.
#[derive(Debug)]
struct Curious(Arc<CryptoProvider>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        challenges_too(rustls::crypto::verify_tls12_signature(
            message, cert, dss, algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        challenges_too(rustls::crypto::verify_tls13_signature(
            message, cert, dss, algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A challenge's certificate is nothing webpki reads: its extension is critical.
fn challenges_too(
    verified: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    match verified {
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) => {
            Ok(HandshakeSignatureValid::assertion())
        }
        other => other,
    }
}

struct Client {
    name: &'static str,
    alpn: Vec<Vec<u8>>,
    sni: bool,
}

impl Client {
    fn to(name: &'static str) -> Self {
        Self {
            name,
            alpn: Vec::new(),
            sni: true,
        }
    }

    /// The leaf and the protocol this client gets.
    async fn connect(self, stream: DuplexStream) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Curious(provider())))
            .with_no_client_auth();
        config.alpn_protocols = self.alpn;
        config.enable_sni = self.sni;
        let connector = TlsConnector::from(Arc::new(config));
        let connected = connector.connect(self.name.try_into().unwrap(), stream);
        let mut stream = connected.await.map_err(|error| error.to_string())?;
        let (_, connection) = stream.get_ref();
        let leaf = connection.peer_certificates().unwrap()[0].to_vec();
        let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
        // With TLS 1.3 a refusal comes after the client is done.
        let mut greeting = Vec::new();
        stream
            .read_to_end(&mut greeting)
            .await
            .map_err(|error| error.to_string())?;
        Ok((leaf, protocol))
    }
}

fn config() -> ServerConfig {
    // Whatever resolver it has is not asked.
    let store = CertStore::new(SelectionPolicy::Best);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(
            store,
            Arc::new(DefaultTimeProvider),
        )));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

type Ends = (
    Result<bool, AcceptError>,
    Result<(Vec<u8>, Option<Vec<u8>>), String>,
);

/// What both sides make of a handshake; the server's `true` is a stream, `false` an answered challenge.
async fn meet(acceptor: &CertAcceptor, client: Client, local: Option<IpAddr>) -> Ends {
    let (near, far) = duplex(16 * 1024);
    let serve = async {
        let stream = acceptor.accept(near, local).await?;
        let open = stream.is_some();
        if let Some(mut stream) = stream {
            stream.shutdown().await.unwrap();
        }
        Ok(open)
    };
    tokio::join!(serve, client.connect(far))
}

#[tokio::test]
async fn each_hello_gets_what_it_asks_for() {
    let store = CertStore::new(SelectionPolicy::Best);
    let eager = entry("eager", &["eager.test", "192.0.2.7"]);
    let eager_leaf = eager.payload().cert[0].to_vec();
    store.apply(eager);
    let loads = Arc::new(AtomicUsize::new(0));
    let certificate = entry("lazy", &["*.lazy.test"]).payload().clone();
    let lazy_leaf = certificate.cert[0].to_vec();
    let source = Source {
        loads: loads.clone(),
        certificate,
    };
    let lazy = Lazy::new(store, source, &LazyOptions::default());
    let challenges = Challenges::new();
    let (proof_leaf, key) = proof("eager.test");
    challenges
        .answer("eager.test", proof_leaf.clone(), key, &provider())
        .unwrap();
    let clock = Arc::new(DefaultTimeProvider);
    let resolver = Resolver::lazy(lazy, clock).with_challenges(challenges.clone());
    let acceptor = CertAcceptor::new(Arc::new(config()), resolver);

    let h2 = || Some(b"h2".to_vec());
    for (name, leaf, loaded) in [
        ("eager.test", &eager_leaf, 0),
        ("a.lazy.test", &lazy_leaf, 1),
        ("b.lazy.test", &lazy_leaf, 1),
    ] {
        let mut client = Client::to(name);
        client.alpn = vec![b"h2".to_vec()];
        let (server, client) = meet(&acceptor, client, None).await;
        assert!(server.unwrap(), "{name}");
        assert_eq!(client, Ok((leaf.clone(), h2())), "{name}");
        assert_eq!(loads.load(Ordering::Relaxed), loaded, "{name}");
    }
    // No name: the address of this connection, else nothing.
    let nameless = || Client {
        sni: false,
        ..Client::to("eager.test")
    };
    let at = Some("192.0.2.7".parse().unwrap());
    let (server, client) = meet(&acceptor, nameless(), at).await;
    assert!(server.unwrap());
    assert_eq!(client.unwrap().0, eager_leaf);
    let (server, client) = meet(&acceptor, nameless(), None).await;
    let refused = server.unwrap_err();
    assert!(matches!(refused, AcceptError::NoCertificate { name: None }));
    assert!(client.unwrap_err().contains("AccessDenied"));
    // What is not there is refused by name.
    let (server, client) = meet(&acceptor, Client::to("a.missing.test"), None).await;
    assert_eq!(
        server.unwrap_err().to_string(),
        "there is no certificate for a.missing.test"
    );
    assert!(client.unwrap_err().contains("AccessDenied"));

    // A challenge is answered though the server speaks h2 alone, until it is taken back.
    let acme = |name| Client {
        alpn: vec![ACME_TLS_ALPN.to_vec()],
        ..Client::to(name)
    };
    let (server, client) = meet(&acceptor, acme("eager.test"), None).await;
    assert!(!server.unwrap());
    let answered = (proof_leaf.to_vec(), Some(ACME_TLS_ALPN.to_vec()));
    assert_eq!(client, Ok(answered));
    challenges.remove("eager.test");
    let (server, client) = meet(&acceptor, acme("eager.test"), None).await;
    assert!(matches!(server, Err(AcceptError::NoCertificate { .. })));
    assert!(client.is_err());
    let counts = acceptor.resolver().store().counts();
    assert_eq!((counts.challenged, counts.rejected), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn challenges_the_map_does_not_know_are_asked_for() {
    let store = CertStore::new(SelectionPolicy::Best);
    store.apply(entry("serves", &["mapped.test", "asked.test", "slow.test"]));
    let challenges = Challenges::new();
    let (mapped, key) = proof("mapped.test");
    challenges
        .answer("mapped.test", mapped.clone(), key, &provider())
        .unwrap();
    let (asked, key) = proof("asked.test");
    let answer = (asked.clone(), key);
    let resolver = Resolver::new(store, Arc::new(DefaultTimeProvider)).with_challenges(challenges);
    let questions = Arc::new(AtomicUsize::new(0));
    let counter = questions.clone();
    let acceptor =
        CertAcceptor::new(Arc::new(config()), resolver).with_challenges_from(move |name| {
            counter.fetch_add(1, Ordering::Relaxed);
            let (certificate, key) = (answer.0.clone(), answer.1.clone_key());
            async move {
                match name.as_str() {
                    "asked.test" => Some((certificate, key)),
                    "broken.test" => Some((certificate, PrivatePkcs8KeyDer::from(vec![1]).into())),
                    "late.test" => {
                        tokio::time::sleep(Duration::from_millis(4200)).await;
                        Some((certificate, key))
                    }
                    "slow.test" => std::future::pending().await,
                    _ => None,
                }
            }
        });
    let client = |name: &'static str, alpn: &[&[u8]]| Client {
        alpn: alpn.iter().map(|one| one.to_vec()).collect(),
        ..Client::to(name)
    };
    let acme = || Some(ACME_TLS_ALPN.to_vec());
    for (name, leaf, questioned) in [
        ("mapped.test", &mapped, 0),
        ("asked.test", &asked, 1),
        // After two slow looks at a shared store.
        ("late.test", &asked, 2),
    ] {
        let (server, client) = meet(&acceptor, client(name, &[ACME_TLS_ALPN]), None).await;
        assert!(!server.unwrap(), "{name}");
        assert_eq!(client, Ok((leaf.to_vec(), acme())), "{name}");
        assert_eq!(questions.load(Ordering::Relaxed), questioned, "{name}");
    }
    // Nothing that serves is served to a challenge, and nobody waits for ever.
    for name in ["slow.test", "unknown.test"] {
        let (server, client) = meet(&acceptor, client(name, &[ACME_TLS_ALPN]), None).await;
        assert!(
            matches!(server, Err(AcceptError::NoCertificate { .. })),
            "{name}"
        );
        assert!(client.unwrap_err().contains("AccessDenied"), "{name}");
    }
    let (server, _) = meet(&acceptor, client("broken.test", &[ACME_TLS_ALPN]), None).await;
    assert!(matches!(server, Err(AcceptError::Challenge { .. })));
    assert_eq!(questions.load(Ordering::Relaxed), 5);
    // Who offers more asks for no challenge.
    let both = client("asked.test", &[b"h2", ACME_TLS_ALPN]);
    let (server, client) = meet(&acceptor, both, None).await;
    assert!(server.unwrap());
    assert_ne!(client.unwrap().0, asked.to_vec());
    assert_eq!(questions.load(Ordering::Relaxed), 5);
    let counts = acceptor.resolver().store().counts();
    assert_eq!((counts.challenged, counts.rejected), (3, 3));
}

#[tokio::test]
async fn configurations_are_chosen_by_hello_and_challenges_ask_for_no_client_certificate() {
    let store = CertStore::new(SelectionPolicy::Best);
    store.apply(entry("both", &["open.test", "closed.test", "panic.test"]));
    let challenges = Challenges::new();
    let proof = entry("proof", &["closed.test"]).payload().clone();
    challenges
        .insert("closed.test", CertifiedKey::clone(&proof))
        .unwrap();
    let resolver =
        Resolver::new(store.clone(), Arc::new(DefaultTimeProvider)).with_challenges(challenges);
    let mut roots = RootCertStore::empty();
    roots.add(proof.cert[0].clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let mutual = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(Arc::new(resolver.clone()));
    let mutual = Arc::new(mutual);
    let chosen = mutual.clone();
    let acceptor =
        CertAcceptor::new(Arc::new(config()), resolver.clone()).with_config_for(move |hello| {
            match hello.server_name() {
                Some("closed.test") => Some(chosen.clone()),
                Some("panic.test") => panic!("told to"),
                _ => None,
            }
        });
    let (server, client) = meet(&acceptor, Client::to("open.test"), None).await;
    assert!(server.unwrap() && client.is_ok());
    let (server, client) = meet(&acceptor, Client::to("closed.test"), None).await;
    let refused = server.unwrap_err();
    assert!(matches!(&refused, AcceptError::Handshake { name, .. }
        if name.as_deref() == Some("closed.test")));
    assert!(client.unwrap_err().contains("CertificateRequired"));
    let (server, _) = meet(&acceptor, Client::to("panic.test"), None).await;
    assert!(matches!(server, Err(AcceptError::ConfigPanicked)));

    let patient = CertAcceptor::new(mutual, resolver).with_timeout(Duration::MAX);
    for acceptor in [acceptor, patient] {
        let acme = Client {
            alpn: vec![ACME_TLS_ALPN.to_vec()],
            ..Client::to("closed.test")
        };
        let (server, client) = meet(&acceptor, acme, None).await;
        assert!(!server.unwrap());
        assert_eq!(client.unwrap().0, proof.cert[0].to_vec());
    }
}

/// What a server on another runtime does between the hello and the handshake.
#[tokio::test]
async fn a_hello_can_be_answered_by_hand() {
    let loads = Arc::new(AtomicUsize::new(0));
    let certificate = entry("lazy", &["*.lazy.test"]).payload().clone();
    let source = Source {
        loads: loads.clone(),
        certificate: certificate.clone(),
    };
    let store = CertStore::new(SelectionPolicy::Best);
    let lazy = Lazy::new(store, source, &LazyOptions::default());
    let resolver = Resolver::lazy(lazy, Arc::new(DefaultTimeProvider));
    for (name, acme, expected, loaded) in [
        ("a.lazy.test", false, true, 1),
        ("b.lazy.test", false, true, 1),
        ("c.lazy.test", true, false, 1),
        ("a.missing.test", false, false, 2),
    ] {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        if acme {
            config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
        }
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &wire[..]).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let found = resolver.ready(&accepted.client_hello()).await;
        let found = found.map(|found| found.cert.clone());
        assert_eq!(found, expected.then(|| certificate.cert.clone()), "{name}");
        assert_eq!(loads.load(Ordering::Relaxed), loaded, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_do_not_go_on_are_given_up() {
    let store = CertStore::new(SelectionPolicy::Best);
    let resolver = Resolver::new(store.clone(), Arc::new(DefaultTimeProvider));
    let limit = Duration::from_secs(3);
    let acceptor = CertAcceptor::new(Arc::new(config()), resolver).with_timeout(limit);

    let (near, silent) = duplex(1024);
    let refused = acceptor.accept(near, None).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Timeout { after } if after == limit));
    drop(silent);

    // Half a hello is none.
    let (near, mut far) = duplex(1024);
    far.write_all(b"\x16\x03\x01\x02\x00\x01\x00")
        .await
        .unwrap();
    let refused = acceptor.accept(near, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "no handshake within 3s");

    let (near, mut far) = duplex(1024);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let refused = acceptor.accept(near, None).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Hello(_)));
    let (near, far) = duplex(1024);
    drop(far);
    let refused = acceptor.accept(near, None).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Hello(_)));
    assert_eq!(store.counts().rejected, 4);
}
