//! Something to connect to: a server with a SPIFFE ID on this machine, and a transport that accepts nobody else.
#![allow(dead_code, reason = "every example uses another part")]

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_transport::upstream::Verified;
use certwright_transport::{Material, Roots, ServersTransport, Upstream};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

pub(crate) const SERVER: &str = "spiffe://demo.test/api";

/// What the transport says, as it would stand in a file.
pub(crate) const TRANSPORT: &str = "
apiVersion: traefik.io/v1alpha1
kind: ServersTransport
metadata: {name: demo, namespace: apps}
spec:
  spiffe: {ids: ['spiffe://demo.test/api']}
  forwardingTimeouts: {dialTimeout: 5s, responseHeaderTimeout: 10s, idleConnTimeout: 30s}
";

/// A service that greets.
#[derive(Clone)]
pub(crate) struct Hello;

impl Service<Request<Incoming>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        ready(Ok(Response::new(Full::from("hello\n"))))
    }
}

/// A CA with the key to sign more.
pub(crate) struct Demo {
    ca: Issuer<'static, KeyPair>,
    root: String,
}

impl Demo {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        let ca = Issuer::new(params, key);
        Ok(Self { ca, root })
    }

    /// The CA's certificate.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The transport, found to be right.
    pub(crate) fn upstream(&self) -> Result<Verified, Box<dyn Error>> {
        let document = parse(TRANSPORT, Format::Yaml).remove(0)?;
        let transport = ServersTransport::decode(&document.root, Strictness::Strict);
        match transport.and_then(ServersTransport::validate)? {
            Upstream::Verified(upstream) => Ok(upstream),
            Upstream::Danger(_) => Err("it verifies nobody".into()),
        }
    }

    /// The roots of the demo's trust domain.
    pub(crate) fn material(&self) -> Result<Material, Box<dyn Error>> {
        let mut material = Material::default();
        let roots = Roots::from_pem(self.root.as_bytes())?;
        material.bundles.insert(&"demo.test".parse()?, roots);
        Ok(material)
    }

    /// Serves `service` with an X509-SVID; where it listens.
    pub(crate) async fn serve<S, B>(&self, service: S) -> Result<SocketAddr, Box<dyn Error>>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut params = CertificateParams::new(["localhost".to_owned()])?;
        params
            .subject_alt_names
            .push(SanType::URI(SERVER.try_into()?));
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.ca)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into()?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                        .await
                        .ok();
                });
            }
        });
        Ok(address)
    }
}
