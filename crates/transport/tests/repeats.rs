//! Servers that misbehave once the connection is there: which requests the client sends again, how often, and over
//! how many connections.
#![cfg(feature = "hyper")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/upstream.rs"]
mod upstream;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use hyper::Method;
use pki::Spec;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use upstream::{Pipes, World, get, serve_http, text};
use wire::provider;

const URL: &str = "https://api.test/";

#[derive(Clone, Copy, Debug)]
enum End {
    /// The stream, whichever request it is for.
    Reset(Reason),
    /// The connection, at its first request and without a word.
    Close,
}

/// HTTP/2 connections that all end requests like this; and how many requests they saw.
fn ending(tls: &Arc<ServerConfig>, end: End) -> (Pipes, Arc<AtomicUsize>) {
    let (tls, seen) = (Arc::clone(tls), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&seen);
    let pipes = Pipes::new(move |pipe, _| {
        let (tls, seen) = (Arc::clone(&tls), Arc::clone(&seen));
        async move {
            let stream = TlsAcceptor::from(tls).accept(pipe).await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                match end {
                    End::Reset(reason) => respond.send_reset(reason),
                    End::Close => return,
                }
            }
        }
    });
    (pipes, count)
}

#[tokio::test(start_paused = true)]
async fn only_what_a_server_did_not_look_at_is_sent_again() {
    for (end, method, requests, connections) in [
        (End::Reset(Reason::INTERNAL_ERROR), Method::GET, 1, 1),
        (End::Reset(Reason::ENHANCE_YOUR_CALM), Method::GET, 1, 1),
        (End::Reset(Reason::CANCEL), Method::GET, 1, 1),
        (End::Reset(Reason::REFUSED_STREAM), Method::GET, 3, 2),
        (End::Reset(Reason::REFUSED_STREAM), Method::POST, 1, 1),
        (End::Close, Method::GET, 1, 1),
    ] {
        let world = World::new(true, |_| {});
        let (pipes, seen) = ending(&world.tls, end);
        let client = world.client(pipes.clone());
        let mut request = get(URL);
        *request.method_mut() = method.clone();
        client.request(request).await.unwrap_err();
        let found = (seen.load(Ordering::SeqCst), pipes.made());
        assert_eq!(found, (requests, connections), "{end:?} {method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_served_by_the_new_connection() {
    let world = World::new(true, |_| {});
    let tls = Arc::clone(&world.tls);
    let pipes = Pipes::new(move |pipe, number| {
        let tls = Arc::clone(&tls);
        async move {
            let stream = TlsAcceptor::from(tls).accept(pipe).await.unwrap();
            if number > 1 {
                return serve_http(stream, upstream::answer(number)).await;
            }
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(Reason::REFUSED_STREAM);
            }
        }
    });
    let client = world.client(pipes.clone());
    // The second finds the new one in the pool.
    for _ in 0..2 {
        let response = client.request(get(URL)).await.unwrap();
        assert_eq!(text(response).await, "2");
    }
    assert_eq!(pipes.made(), 2);
}

/// Says at the first request that it looks at none (RFC 9113, 6.8).
#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_is_asked_three_times() {
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let world = World::new(true, |_| {});
        let tls = Arc::clone(&world.tls);
        let pipes = Pipes::new(move |pipe, _| {
            let tls = Arc::clone(&tls);
            async move {
                let mut stream = TlsAcceptor::from(tls).accept(pipe).await.unwrap();
                stream.read_exact(&mut [0; 24]).await.unwrap();
                stream
                    .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
                let mut head = [0; 9];
                while stream.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    let mut payload = vec![0; usize::try_from(length).unwrap()];
                    stream.read_exact(&mut payload).await.unwrap();
                    if head[3] == 1 {
                        let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                        frame.extend(u32::from(reason).to_be_bytes());
                        stream.write_all(&frame).await.unwrap();
                    }
                }
            }
        });
        let client = world.client(pipes.clone());
        client.request(get(URL)).await.unwrap_err();
        assert_eq!(pipes.made(), 3, "{reason:?}");
    }
}

/// Under TLS 1.3 the client hears of it when it has a connection.
#[tokio::test(start_paused = true)]
async fn a_server_that_wants_our_certificate_is_dialed_once() {
    for protocol in ["h2", "http/1.1"] {
        let world = World::new(true, |_| {});
        let mut roots = RootCertStore::empty();
        roots.add(world.ca.certificate.clone()).unwrap();
        let provider = Arc::new(provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let pair = world.ca.issue(&Spec::svid(upstream::SERVER));
        let key = pair.key_der();
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(pair.chain, key)
            .unwrap();
        tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let pipes = Pipes::serving(&Arc::new(tls));
        let client = world.client(pipes.clone());
        for dials in 1..=2 {
            client.request(get(URL)).await.unwrap_err();
            assert_eq!(pipes.made(), dials, "{protocol}");
        }
    }
}
