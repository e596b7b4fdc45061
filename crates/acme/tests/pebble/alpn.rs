//! A TLS server that answers TLS-ALPN-01.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use certwright_acme::challenge::tls_alpn01::{AlpnSink, ChallengeCertificate};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The certificates to answer with, by server name.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl AlpnSink for Answers {
    fn answer(&self, name: &str, certificate: ChallengeCertificate) {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&certificate.key).unwrap();
        let answer = CertifiedKey::new(vec![certificate.certificate], key);
        self.0
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::new(answer));
    }

    fn forget(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }
}

impl Answers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().get(hello.server_name()?).cloned()
    }
}

/// Answers on this port of loopback.
pub(crate) async fn listen(port: u16, answers: Arc<Answers>) -> JoinHandle<()> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(answers);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ = acceptor.accept(stream).await;
            });
        }
    })
}
