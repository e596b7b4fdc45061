//! A private key is in other hands: what `docs/security.md` says to do then is done here, step by step, and after
//! the last step the thief gets nowhere, while everybody else is served.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use certwright::{Manager, ResourceName, TRUST_BUNDLE, publish};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_issuance::crl::{RevocationList, RevocationReason, Revoked};
use certwright_issuance::csr::Request as CertificateRequest;
use certwright_issuance::{Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile};
use certwright_sni_store::{AcceptError, CertAcceptor, CertStore, PairLoader, Resolver};
use certwright_tests::manifests::{inventory, issued, manager};
use certwright_transport::client_auth::{ClientAuth, ClientAuthType};
use certwright_transport::connector::{DialCause, Peer};
use certwright_transport::revocation::Crls;
use certwright_transport::upstream_client::RequestError;
use certwright_transport::{
    Connector, Identity, Material, PeerError, Roots, Rotating, ServersTransport, Upstream,
    UpstreamClient,
};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, StreamOwned,
};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A CA that may sign revocation lists, a server and one of its clients.
const PKI: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: shop}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: ca, namespace: shop}
spec:
  secretName: ca
  isCA: true
  commonName: Shop CA
  usages: [cert sign, crl sign]
  duration: 8760h
  privateKey: {algorithm: ECDSA}
  issuerRef: {name: self}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca, namespace: shop}
spec: {ca: {secretName: ca}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: api, namespace: shop}
spec:
  secretName: api
  dnsNames: [api.shop.example]
  privateKey: {algorithm: ECDSA}
  issuerRef: {name: ca}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: worker, namespace: shop}
spec:
  secretName: worker
  dnsNames: [worker.shop.example]
  usages: [digital signature, client auth]
  privateKey: {algorithm: ECDSA}
  issuerRef: {name: ca}
";
const HOST: &str = "api.shop.example";

/// All certificates, and the store they are served from.
struct Shop {
    manager: Manager,
    store: CertStore<rustls::sign::CertifiedKey>,
    provider: Arc<CryptoProvider>,
    /// When all of it began, three hours ago.
    begin: OffsetDateTime,
    lists: u64,
}

impl Shop {
    fn open() -> Self {
        let begin = OffsetDateTime::now_utc() - Duration::hours(3);
        let mut manager = manager(PKI);
        assert_eq!(issued(&mut manager, begin).len(), 3);
        let shop = Self {
            manager,
            store: CertStore::default(),
            provider: Arc::new(aws_lc_rs::default_provider()),
            begin,
            lists: 0,
        };
        shop.publish();
        shop
    }

    fn publish(&self) {
        let loader = PairLoader::new(self.provider.clone());
        let report = publish(&self.store, &loader, [self.secret("api")]);
        assert!(report.rejected.is_empty(), "{report}");
    }

    fn secret(&self, name: &str) -> &TlsSecret {
        self.manager.secret(&named(name)).unwrap()
    }

    fn leaf(&self, name: &str) -> Certificate {
        let chain = self.secret(name).get(TLS_CRT).unwrap();
        Certificate::read_pem(chain).unwrap().remove(0)
    }

    fn key(&self, name: &str) -> Vec<u8> {
        self.secret(name).get(TLS_KEY).unwrap().to_vec()
    }

    fn authority(&self) -> CertificateAuthority {
        let ca = self.secret("ca");
        let (chain, key) = (ca.get(TLS_CRT).unwrap(), ca.get(TLS_KEY).unwrap());
        CertificateAuthority::from_pem(chain, key, OffsetDateTime::now_utc()).unwrap()
    }

    /// The next revocation list of the CA, as it is distributed.
    fn list(&mut self, revoked: &[Certificate]) -> Arc<Crls> {
        self.lists += 1;
        let now = OffsetDateTime::now_utc();
        let mut list = RevocationList::new(self.lists, now + Duration::DAY);
        for certificate in revoked {
            let mut revoked = Revoked::certificate(certificate, now).unwrap();
            revoked.reason = Some(RevocationReason::KeyCompromise);
            list.revoked.push(revoked);
        }
        let list = self.authority().sign_crl(&list, now).unwrap();
        Arc::new(Crls::from_pem(list.to_pem().as_bytes()).unwrap())
    }

    /// The anchors, as everybody below the CA reads them.
    fn roots(&self) -> Roots {
        Roots::from_pem(self.secret("api").get(TRUST_BUNDLE).unwrap()).unwrap()
    }

    /// What a client of the shop's server verifies with.
    fn material(&self, crls: Option<&Arc<Crls>>) -> Material {
        let mut material = Material::default();
        material.system_roots = Some(self.roots());
        material.crls = crls.cloned();
        material
    }

    /// A configuration that has seen no session yet.
    fn acceptor(&self, clients: Option<Arc<dyn ClientCertVerifier>>) -> CertAcceptor {
        acceptor(&self.store, &self.provider, clients)
    }

    /// The clients that a server of the shop wants.
    fn clients(&self, crls: &Crls) -> Arc<dyn ClientCertVerifier> {
        let kind = Some(ClientAuthType::RequireAndVerifyClientCert);
        let clients = ClientAuth::new(kind, Some(&self.roots()), Some(crls), &self.provider);
        let Ok(ClientAuth::Verified(clients)) = clients else {
            panic!("{clients:?}")
        };
        clients
    }
}

fn named(name: &str) -> ResourceName {
    ResourceName::new("shop", name)
}

fn acceptor(
    store: &CertStore<rustls::sign::CertifiedKey>,
    provider: &Arc<CryptoProvider>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> CertAcceptor {
    let resolver = Resolver::new(store.clone(), Arc::new(DefaultTimeProvider));
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_cert_resolver(Arc::new(resolver.clone()));
    CertAcceptor::new(Arc::new(config), resolver)
}

/// A server whose configuration can be replaced, and what it has seen.
struct Server {
    address: SocketAddr,
    acceptor: Arc<Mutex<CertAcceptor>>,
    accepted: Arc<AtomicUsize>,
    /// The rules that clients broke.
    refused: UnboundedReceiver<&'static str>,
}

impl Server {
    async fn start(acceptor: CertAcceptor) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (refusing, refused) = unbounded_channel();
        let server = Self {
            address: listener.local_addr().unwrap(),
            acceptor: Arc::new(Mutex::new(acceptor)),
            accepted: Arc::default(),
            refused,
        };
        let (current, accepted) = (server.acceptor.clone(), server.accepted.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                let acceptor = current.lock().unwrap().clone();
                let refusing = refusing.clone();
                tokio::spawn(async move {
                    let stream = match acceptor.accept(stream, None).await {
                        Ok(stream) => stream.unwrap(),
                        Err(error) => {
                            rule(&error).map(|rule| refusing.send(rule));
                            return;
                        }
                    };
                    let answer = service_fn(|_: Request<Incoming>| async {
                        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                    });
                    let served =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                    // A client that goes away is no failure.
                    let _ = served.await;
                });
            }
        });
        server
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn replace(&self, acceptor: CertAcceptor) {
        *self.acceptor.lock().unwrap() = acceptor;
    }
}

/// The rule a client's certificates broke, if that is what it is about.
fn rule(error: &AcceptError) -> Option<&'static str> {
    let AcceptError::Handshake { source, .. } = error else {
        return None;
    };
    let error = source.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(PeerError::from_rustls(error)?.code())
}

type Client = UpstreamClient<Empty<Bytes>>;

/// A client of the family, whatever it connects to, and the handle to change what it trusts.
fn client(shop: &Shop, material: &Material) -> (Client, Arc<Rotating>) {
    let mut transport = ServersTransport::default();
    transport.server_name = Some(HOST.to_owned());
    let Ok(Upstream::Verified(upstream)) = transport.validate() else {
        panic!("a transport that verifies")
    };
    let clock = Arc::new(DefaultTimeProvider);
    let rotating = Rotating::new(upstream, shop.provider.clone(), clock, material).unwrap();
    let rotating = Arc::new(rotating);
    (
        UpstreamClient::new(Connector::new(rotating.clone())),
        rotating,
    )
}

/// The certificate that answered, or the rule that it broke.
async fn ask(client: &Client, server: &Server) -> Result<CertificateDer<'static>, &'static str> {
    let request = Request::get(format!("https://{}/", server.address));
    match client.request(request.body(Empty::new()).unwrap()).await {
        Ok(response) => {
            let peer = response.extensions().get::<Peer>().unwrap();
            let leaf = peer.chain()[0].clone();
            // Only a connection whose answer was read to its end is used again.
            response.into_body().collect().await.unwrap();
            Ok(leaf)
        }
        Err(RequestError::Dial(error)) => match error.cause {
            DialCause::Refused { source } => Err(source.code()),
            cause => panic!("{cause}"),
        },
        Err(error) => panic!("{error}"),
    }
}

/// A client of rustls' own that asks for no revocation list and resumes sessions, as most do.
fn bare(shop: &Shop, identity: Option<&TlsSecret>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in shop.roots().certificates() {
        roots.add(root.clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(shop.provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(secret) => {
            let identity = Identity::from_secret(secret, &shop.provider).unwrap();
            let key = identity.certified_key().clone();
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
        None => builder.with_no_client_auth(),
    })
}

/// One request over one connection: how the handshake went, and whose certificate counts for it.
async fn visit(
    config: &Arc<ClientConfig>,
    server: &Server,
) -> std::io::Result<(HandshakeKind, CertificateDer<'static>)> {
    let (config, address) = (config.clone(), server.address);
    let visit = tokio::task::spawn_blocking(move || {
        let name = ServerName::try_from(HOST).unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        let mut tls = StreamOwned::new(connection, TcpStream::connect(address)?);
        tls.write_all(b"GET / HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        tls.read_to_string(&mut answer)?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let leaf = tls.conn.peer_certificates().unwrap()[0]
            .clone()
            .into_owned();
        Ok((tls.conn.handshake_kind().unwrap(), leaf))
    });
    visit.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_key_is_stolen() {
    let mut shop = Shop::open();
    let stolen = shop.secret("api").clone_with_keys();
    let stolen_leaf = shop.leaf("api");
    let nobody = shop.list(&[]);
    let server = Server::start(shop.acceptor(None)).await;
    // The thief is somewhere between.
    let booty = CertStore::default();
    let loader = PairLoader::new(shop.provider.clone());
    publish(&booty, &loader, [&stolen]);
    let thief = Server::start(acceptor(&booty, &shop.provider, None)).await;

    // It works: one connection for two requests, sessions are resumed, and the thief is believed.
    let (client, rotating) = client(&shop, &shop.material(Some(&nobody)));
    assert_eq!(ask(&client, &server).await, Ok(stolen_leaf.der().clone()));
    for attempt in 1.. {
        let before = server.accepted();
        assert_eq!(ask(&client, &server).await, Ok(stolen_leaf.der().clone()));
        if server.accepted() == before {
            break;
        }
        // It goes back to the pool in a task of its own, a moment after its answer.
        assert!(attempt < 100, "no connection is kept");
        tokio::task::yield_now().await;
    }
    assert!(ask(&client, &thief).await.is_ok());
    let resuming = bare(&shop, None);
    assert_eq!(
        visit(&resuming, &server).await.unwrap().0,
        HandshakeKind::Full
    );
    assert_eq!(
        visit(&resuming, &server).await.unwrap().0,
        HandshakeKind::Resumed
    );

    // Somebody renews, and thinks that this was it. The key is the same.
    let (key, later) = (shop.key("api"), shop.begin + Duration::HOUR);
    assert!(shop.manager.renew(&named("api"), later));
    assert_eq!(issued(&mut shop.manager, later).len(), 1);
    shop.publish();
    let renewed_leaf = shop.leaf("api");
    assert!(renewed_leaf.der() != stolen_leaf.der() && shop.key("api") == key);

    // 1. Revoke: every certificate of that key. Nobody is asked over a connection that the older list allowed.
    let both = shop.list(&[stolen_leaf.clone(), renewed_leaf.clone()]);
    rotating.update(&shop.material(Some(&both))).unwrap();
    let before = server.accepted();
    assert_eq!(ask(&client, &server).await, Err("revoked"));
    assert_eq!(
        server.accepted(),
        before + 1,
        "the pooled connection is gone"
    );
    assert_eq!(ask(&client, &thief).await, Err("revoked"));

    // 2. Make a new key; the store serves its certificate to the next client.
    let later = later + Duration::HOUR;
    assert!(shop.manager.rekey(&named("api"), later));
    assert_eq!(issued(&mut shop.manager, later).len(), 1);
    shop.publish();
    let new_leaf = shop.leaf("api");
    assert_ne!(shop.key("api"), key);
    assert_eq!(ask(&client, &server).await, Ok(new_leaf.der().clone()));
    assert_eq!(ask(&client, &thief).await, Err("revoked"));

    // 3. Drop sessions: in a resumed one, what was stolen still counts; a new configuration knows none.
    let (kind, leaf) = visit(&resuming, &server).await.unwrap();
    assert_eq!(kind, HandshakeKind::Resumed);
    assert_eq!(&leaf, stolen_leaf.der());
    server.replace(shop.acceptor(None));
    let (kind, leaf) = visit(&resuming, &server).await.unwrap();
    assert_eq!(kind, HandshakeKind::Full);
    assert_eq!(&leaf, new_leaf.der());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_key_is_stolen() {
    let mut shop = Shop::open();
    let nobody = shop.list(&[]);
    let mut server = Server::start(shop.acceptor(Some(shop.clients(&nobody)))).await;
    let stolen_leaf = shop.leaf("worker");
    let thief = bare(&shop, Some(shop.secret("worker")));
    assert_eq!(visit(&thief, &server).await.unwrap().0, HandshakeKind::Full);
    assert_eq!(
        visit(&thief, &server).await.unwrap().0,
        HandshakeKind::Resumed
    );

    // 1 and 3. The list goes into a new configuration, and no session of the old one is resumed.
    let list = shop.list(&[stolen_leaf]);
    server.replace(shop.acceptor(Some(shop.clients(&list))));
    visit(&thief, &server).await.unwrap_err();
    assert_eq!(server.refused.recv().await, Some("revoked"));

    // 2. The worker goes on with a new key.
    let later = shop.begin + Duration::HOUR;
    assert!(shop.manager.rekey(&named("worker"), later));
    assert_eq!(issued(&mut shop.manager, later).len(), 1);
    let worker = bare(&shop, Some(shop.secret("worker")));
    assert_eq!(
        visit(&worker, &server).await.unwrap().0,
        HandshakeKind::Full
    );
    assert!(server.refused.is_empty());
}

/// Whoever has a CA's key makes certificates with it.
fn forged(ca: &CertificateAuthority) -> TlsSecret {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let csr = CertificateRequest::new("", &[HOST])
        .unwrap()
        .sign(&key)
        .unwrap();
    let csr = csr.verify(&CsrPolicy::default()).unwrap();
    let usages = ["digital signature", "server auth"].map(|usage| usage.parse().unwrap());
    let profile = Profile::leaf(usages.into_iter().collect(), Duration::days(30));
    let bundle = ca.sign(&csr, &profile, OffsetDateTime::now_utc()).unwrap();
    let secret = TlsSecret::new("nowhere", "forged");
    bundle
        .into_secret(secret, &key, KeyEncoding::Pkcs8, &[])
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cas_key_is_stolen() {
    let mut shop = Shop::open();
    let stolen = shop.authority();
    let old_leaf = shop.leaf("api");
    let booty = CertStore::default();
    publish(
        &booty,
        &PairLoader::new(shop.provider.clone()),
        [&forged(&stolen)],
    );
    let server = Server::start(shop.acceptor(None)).await;
    let thief = Server::start(acceptor(&booty, &shop.provider, None)).await;
    let (client, rotating) = client(&shop, &shop.material(None));
    assert!(ask(&client, &server).await.is_ok());
    assert!(ask(&client, &thief).await.is_ok());

    // 4. A new key for the CA. Both anchors are trusted, so that an ordinary change breaks nothing: not yet enough.
    let later = shop.begin + Duration::HOUR;
    assert!(shop.manager.rekey(&named("ca"), later));
    shop.manager.reconcile(later);
    assert_eq!(
        shop.leaf("api").der(),
        old_leaf.der(),
        "until the new anchor has spread"
    );
    assert_eq!(shop.roots().certificates().len(), 2);
    rotating.update(&shop.material(None)).unwrap();
    assert!(ask(&client, &thief).await.is_ok());

    // The old anchor goes, and what is below is issued again at once.
    assert!(!shop.manager.drop_old_anchors(&named("ca")).is_empty());
    assert_eq!(shop.roots().certificates().len(), 1);
    let again = issued(&mut shop.manager, later);
    assert_eq!(again.len(), 2, "{again:?}");
    shop.publish();
    rotating.update(&shop.material(None)).unwrap();
    // The CA is called what it was called before; its key is another one.
    assert_eq!(ask(&client, &thief).await, Err("bad-signature"));
    assert_ne!(shop.leaf("api").der(), old_leaf.der());
    assert_eq!(
        ask(&client, &server).await,
        Ok(shop.leaf("api").der().clone())
    );
}

#[test]
fn the_cas_key_is_stolen_and_only_documents_can_change() {
    let mut shop = Shop::open();
    let (old_root, old_leaf) = (shop.leaf("ca"), shop.leaf("api"));
    let text = PKI.replace("secretName: ca\n", "secretName: ca-2\n");
    let text = text.replace(
        "spec: {ca: {secretName: ca}}",
        "spec: {ca: {secretName: ca-2}}",
    );
    shop.manager.replace_inventory(inventory(&text));
    let later = shop.begin + Duration::HOUR;
    assert_eq!(issued(&mut shop.manager, later).len(), 3);
    assert_ne!(shop.leaf("ca-2").der(), old_root.der());
    assert_ne!(shop.leaf("api").der(), old_leaf.der());
    let roots = shop.roots();
    assert_eq!(roots.certificates(), [shop.leaf("ca-2").der().clone()]);
}
