//! HTTP-01 where port 80 only redirects: the validating side follows to HTTPS, as CAs do
//! (RFC 8555 section 8.3), and our handler on that side answers tokens and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use certwright_acme::challenge::http01::{Http01, PATH};
use certwright_acme::layout::CHALLENGES;
use certwright_storage::{MemoryStorage, Storage, Txn};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::LOCATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Port 80 of a site that is on HTTPS: everything goes there.
async fn redirector(to: SocketAddr, status: u16) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                let path = request.uri().path_and_query().unwrap();
                let place = format!("https://localhost:{}{path}", to.port());
                let response = Response::builder().status(status).header(LOCATION, place);
                Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(served);
        }
    });
    address
}

/// The HTTPS side of the site, with our handler in front of what else it has.
async fn site(answers: Http01) -> (SocketAddr, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let answers = answers.clone();
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let answers = answers.clone();
                async move {
                    let challenge = answers.respond(&request).await;
                    Ok::<_, Infallible>(match challenge.status() {
                        StatusCode::NOT_FOUND => Response::new(Full::from("the site itself")),
                        _ => challenge,
                    })
                }
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(served);
        }
    });
    (address, TlsConnector::from(Arc::new(client)))
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // Who closes without a word has said it all before.
    let _ = stream.read_to_end(&mut text).await;
    let text = String::from_utf8(text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text)
}

/// As a CA validates: over HTTP, and wherever that leads.
async fn validate(at: SocketAddr, tls: &TlsConnector, path: &str) -> (u16, String) {
    let (status, text) = get(TcpStream::connect(at).await.unwrap(), path).await;
    if !matches!(status, 301 | 302 | 307 | 308) {
        return (status, text);
    }
    let mut lines = text.lines();
    let place = lines
        .find_map(|line| line.strip_prefix("location: "))
        .unwrap();
    let rest = place.strip_prefix("https://localhost:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tls.connect(name, stream.await.unwrap()).await.unwrap();
    get(stream, &format!("/{path}")).await
}

#[tokio::test]
async fn port_80_that_only_redirects() {
    let storage = MemoryStorage::default();
    let token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
    let key = format!("{CHALLENGES}http/{token}").parse().unwrap();
    storage
        .txn(Txn::new().put(key, "the answer"))
        .await
        .unwrap();
    let (https, tls) = site(Http01::new(Arc::new(storage))).await;
    for status in [301, 302, 307, 308] {
        let http = redirector(https, status).await;
        for (path, expected) in [
            (format!("{PATH}{token}"), "the answer"),
            // Some redirects carry a query along.
            (format!("{PATH}{token}?x=1"), "the answer"),
            (format!("{PATH}{}", "x".repeat(43)), "the site itself"),
            (format!("{PATH}{token}/"), "the site itself"),
            (
                format!("{PATH}../acme-challenge/{token}"),
                "the site itself",
            ),
            (format!("/other{PATH}{token}"), "the site itself"),
            ("/".to_owned(), "the site itself"),
        ] {
            let (found, text) = validate(http, &tls, &path).await;
            assert_eq!(found, 200, "{path}");
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, expected, "{status} {path}");
        }
    }
}
