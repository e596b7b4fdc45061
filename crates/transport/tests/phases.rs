//! A server that stalls, resets, half-closes or answers late, at every phase of a request, under a paused clock:
//! each limit ends its own phase, and nothing hangs.
#![cfg(feature = "hyper")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/upstream.rs"]
mod upstream;
#[path = "support/wire.rs"]
mod wire;

use std::error::Error;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use certwright_transport::connector::{
    Connector, DialCause, DialError, Peer, Phase, Resolving, Stream, Tcp,
};
use certwright_transport::upstream_client::RequestError;
use certwright_transport::{PeerError, ServersTransport, UpstreamClient};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use pki::Authority;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;
use upstream::{
    Pipes, World, after_request, answer, get, half_close, serve, serve_http, serving, stall, text,
    timeouts,
};

const URL: &str = "https://api.test/";

/// What a request came to: the phase it ended in, after how many seconds, and whether by a limit.
type End = (Phase, u64, bool);

async fn end(client: &upstream::Client) -> End {
    of(&client.request(get(URL)).await.unwrap_err())
}

fn of(error: &RequestError) -> End {
    (error.phase(), error.after().as_secs(), error.is_timeout())
}

fn limits(transport: &mut ServersTransport) {
    transport.forwarding_timeouts = timeouts(|timeouts| {
        timeouts.dial_timeout = Some("20s".to_owned());
        timeouts.response_header_timeout = Some("5s".to_owned());
    });
}

/// What a server does with the bytes of one connection.
type Behaviour = fn(DuplexStream, Arc<ServerConfig>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test(start_paused = true)]
async fn every_phase_ends_by_its_own_limit() {
    let behaviours: [(&str, Behaviour, End); 12] = [
        (
            "never answers the ClientHello",
            |pipe, _| Box::pin(stall(pipe)),
            (Phase::Handshake, 10, true),
        ),
        (
            "closes at once",
            |pipe, _| Box::pin(async move { drop(pipe) }),
            (Phase::Handshake, 0, false),
        ),
        (
            "closes after the ClientHello",
            |mut pipe, _| {
                Box::pin(async move {
                    pipe.read_exact(&mut [0; 64]).await.unwrap();
                })
            },
            (Phase::Handshake, 0, false),
        ),
        (
            "closes its direction",
            |pipe, _| Box::pin(half_close(pipe)),
            (Phase::Handshake, 0, false),
        ),
        (
            "speaks plain HTTP",
            |mut pipe, _| {
                Box::pin(async move {
                    let text = b"HTTP/1.1 400 Bad Request\r\n\r\n";
                    pipe.write_all(text).await.unwrap();
                    stall(pipe).await;
                })
            },
            (Phase::Handshake, 0, false),
        ),
        (
            "begins the handshake too late",
            |pipe, tls| {
                Box::pin(async move {
                    sleep(Duration::from_secs(11)).await;
                    serve(pipe, tls, answer(0)).await;
                })
            },
            (Phase::Handshake, 10, true),
        ),
        (
            "reads the request and says nothing",
            |pipe, tls| Box::pin(async move { stall(after_request(pipe, tls).await).await }),
            (Phase::Headers, 5, true),
        ),
        (
            "answers too late",
            |pipe, tls| {
                Box::pin(async move {
                    let mut stream = after_request(pipe, tls).await.unwrap();
                    sleep(Duration::from_secs(6)).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
                })
            },
            (Phase::Headers, 5, true),
        ),
        (
            "resets after the request",
            |pipe, tls| {
                Box::pin(async move {
                    drop(after_request(pipe, tls).await.unwrap());
                })
            },
            (Phase::Headers, 0, false),
        ),
        (
            "closes its direction after the request",
            |pipe, tls| {
                Box::pin(async move {
                    half_close(after_request(pipe, tls).await.unwrap()).await;
                })
            },
            (Phase::Headers, 0, false),
        ),
        (
            "stops in the middle of the headers",
            |pipe, tls| {
                Box::pin(async move {
                    let mut stream = after_request(pipe, tls).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
                    stall(stream).await;
                })
            },
            (Phase::Headers, 5, true),
        ),
        (
            "speaks no HTTP",
            |pipe, tls| {
                Box::pin(async move {
                    let mut stream = after_request(pipe, tls).await.unwrap();
                    stream
                        .write_all(b"\x15\x03\x03 what?\r\n\r\n")
                        .await
                        .unwrap();
                    stall(stream).await;
                })
            },
            (Phase::Headers, 0, false),
        ),
    ];
    for (what, behaviour, wanted) in behaviours {
        let world = World::new(false, limits);
        let tls = Arc::clone(&world.tls);
        let client = world.client(Pipes::new(move |pipe, _| behaviour(pipe, Arc::clone(&tls))));
        assert_eq!(end(&client).await, wanted, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn late_is_not_too_late() {
    let world = World::new(false, limits);
    let tls = Arc::clone(&world.tls);
    let client = world.client(Pipes::new(move |pipe, number| {
        let tls = Arc::clone(&tls);
        async move {
            sleep(Duration::from_secs(9)).await;
            serve(pipe, tls, answer(number)).await;
        }
    }));
    let mut request = get(URL);
    request
        .headers_mut()
        .insert("x-wait-ms", "4900".parse().unwrap());
    let start = Instant::now();
    assert_eq!(text(client.request(request).await.unwrap()).await, "1");
    assert_eq!(start.elapsed().as_millis(), 13_900);
}

#[tokio::test(start_paused = true)]
async fn the_dial_limit_counts_over_all_of_its_phases() {
    let world = World::new(false, |transport| {
        transport.forwarding_timeouts = timeouts(|timeouts| {
            timeouts.dial_timeout = Some("4s".to_owned());
        });
    });
    let client = world.client(Pipes::new(|pipe, _| stall(pipe)));
    assert_eq!(end(&client).await, (Phase::Handshake, 4, true));

    let stalled = |resolver| {
        let mut tcp = Tcp::new_with_resolver(Resolving(resolver));
        tcp.enforce_http(false);
        let connector = Connector::over(Arc::clone(&world.rotating), tcp);
        UpstreamClient::<Full<Bytes>, _>::new(connector)
    };
    let error = stalled(Lookup::Never).request(get(URL)).await.unwrap_err();
    assert_eq!(of(&error), (Phase::Resolve, 4, true));
    assert_eq!(
        error.to_string(),
        "no connection to api.test: the look-up of its address failed after 4.0s"
    );
    let error = stalled(Lookup::Unknown)
        .request(get(URL))
        .await
        .unwrap_err();
    assert_eq!(of(&error), (Phase::Resolve, 0, false));
    let RequestError::Dial(error) = error else {
        panic!("{error}");
    };
    assert!(
        matches!(&error.cause, DialCause::Io { reason } if reason.ends_with("no such host")),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dial_without_limits_waits() {
    let world = World::new(false, |transport| {
        transport.forwarding_timeouts = timeouts(|timeouts| {
            timeouts.dial_timeout = Some("0".to_owned());
        });
    });
    let slow = Slow(Pipes::serving(&world.tls));
    let connector = Connector::over(Arc::clone(&world.rotating), slow);
    let client = UpstreamClient::<Full<Bytes>, _>::new(connector);
    let start = Instant::now();
    client.request(get(URL)).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn headers_are_awaited_from_the_end_of_the_request() {
    for http2 in [false, true] {
        let world = World::new(http2, limits);
        let tls = Arc::clone(&world.tls);
        let pipes = Pipes::new(move |pipe, number| {
            // Reads the body, and then waits as the request says.
            serve(pipe, Arc::clone(&tls), answer(number))
        });
        let connector = Connector::over(Arc::clone(&world.rotating), pipes);
        let client = UpstreamClient::new(connector);
        let request = |wait: &str| {
            let body = Slowly {
                left: 7,
                wait: None,
            };
            let request = Request::post(URL).header("x-wait-ms", wait);
            request.body(body).unwrap()
        };
        let response = client.request(request("4900")).await.unwrap();
        assert_eq!(text(response).await, "1");
        let error = client.request(request("60000")).await.unwrap_err();
        assert_eq!(of(&error), (Phase::Headers, 12, true), "h2: {http2}");
        let wanted = "api.test sent no response headers within 5s after the end of the request, 12.0s after it was made";
        assert_eq!(error.to_string(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_in_one_piece_ends_when_it_is_written() {
    for http2 in [false, true] {
        let world = World::new(http2, limits);
        let tls = Arc::clone(&world.tls);
        let client = world.client(Pipes::new(move |pipe, number| {
            let tls = Arc::clone(&tls);
            async move {
                let stream = TlsAcceptor::from(tls).accept(pipe).await.unwrap();
                // Longer than the limit, with more on the way than pipes and windows hold.
                if number == 1 {
                    sleep(Duration::from_secs(8)).await;
                }
                serve_http(stream, answer(number)).await;
            }
        }));
        let request = |wait: &str| {
            let request = Request::post(URL).header("x-wait-ms", wait);
            request.body(Full::from(vec![0; 8 << 20])).unwrap()
        };
        let response = client.request(request("4900")).await.unwrap();
        assert_eq!(text(response).await, "1", "h2: {http2}");
        let error = client.request(request("60000")).await.unwrap_err();
        assert_eq!(of(&error), (Phase::Headers, 5, true), "h2: {http2}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_server_that_stalls_ends_by_the_same_limit() {
    let world = World::new(true, limits);
    let client = world.client(Pipes::serving(&world.tls));
    let mut request = get(URL);
    request
        .headers_mut()
        .insert("x-wait-ms", "60000".parse().unwrap());
    let error = client.request(request).await.unwrap_err();
    assert_eq!(of(&error), (Phase::Headers, 5, true));
    // The connection is not to blame.
    assert_eq!(text(client.request(get(URL)).await.unwrap()).await, "1");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_stream_counts_where_there_is_no_body() {
    let world = World::new(true, limits);
    let tls = Arc::clone(&world.tls);
    let pipes = Pipes::new(move |pipe, _| {
        let tls = Arc::clone(&tls);
        async move {
            let stream = TlsAcceptor::from(tls).accept(pipe).await.unwrap();
            let mut server = h2::server::Builder::new();
            let mut connection = server
                .max_concurrent_streams(1)
                .handshake::<_, Bytes>(stream)
                .await
                .unwrap();
            let mut held = Vec::new();
            while let Some(Ok(request)) = connection.accept().await {
                held.push(request);
            }
        }
    });
    let client = world.client(pipes.clone());
    let first = tokio::spawn({
        let client = client.clone();
        async move { end(&client).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(end(&client).await, (Phase::Headers, 5, true));
    assert_eq!(first.await.unwrap(), (Phase::Headers, 5, true));
    assert_eq!(pipes.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_server_is_refused_in_its_own_phase() {
    let world = World::new(false, limits);
    let stranger = serving(&Authority::root("other"), false);
    let client = world.client(Pipes::serving(&stranger));
    let error = client.request(get(URL)).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Verify);
    let RequestError::Dial(error) = error else {
        panic!("{error}");
    };
    let refusal = PeerError::UnknownIssuer {
        trust_domain: Some("td.test".to_owned()),
    };
    assert_eq!(error.cause, DialCause::Refused { source: refusal });
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_for_is_not_dialed() {
    let world = World::new(false, limits);
    let pipes = Pipes::serving(&world.tls);
    let client = world.client(pipes.clone());
    for (uri, wanted) in [
        (
            "http://api.test/",
            "the request is for scheme http and host api.test; write https://HOST/PATH",
        ),
        (
            "/",
            "the request is for scheme none and host none; write https://HOST/PATH",
        ),
        (
            "https://user:secret@a..test/",
            "no connection to a..test: the look-up of its address failed after 0.0ns",
        ),
    ] {
        let error = client.request(get(uri)).await.unwrap_err();
        assert_eq!(
            (error.phase(), error.to_string()),
            (Phase::Resolve, wanted.to_owned())
        );
    }
    let mut connector = client.connector().clone();
    let uri = Uri::from_static("http://api.test/");
    let error: Result<Stream<_>, _> = connector.call(uri).await;
    assert_eq!(
        error.unwrap_err().cause.to_string(),
        "this transport speaks TLS only; write https instead of \"http\""
    );
    assert_eq!(pipes.made(), 0);
    for uri in [
        "https://[::1]:8443/",
        "https://192.0.2.1/",
        "https://api.test./",
    ] {
        client.request(get(uri)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn http2_is_refused_where_it_is_disabled() {
    let world = World::new(true, |transport| transport.disable_http2 = true);
    let client = world.client(Pipes::serving(&world.tls));
    let response = client.request(get(URL)).await.unwrap();
    assert_eq!(response.version(), hyper::Version::HTTP_11);
    // A server that has nothing else ends the handshake (RFC 7301, 3.2).
    let mut only = (*world.tls).clone();
    only.alpn_protocols = vec![b"h2".to_vec()];
    let client = world.client(Pipes::serving(&Arc::new(only)));
    assert_eq!(end(&client).await, (Phase::Handshake, 0, false));
}

#[tokio::test(start_paused = true)]
async fn a_peer_identity_is_on_every_response() {
    let world = World::new(true, |_| {});
    let client = world.client(Pipes::serving(&world.tls));
    for _ in 0..2 {
        let response = client.request(get(URL)).await.unwrap();
        let peer = response.extensions().get::<Peer>().unwrap();
        assert_eq!(peer.identity().to_string(), upstream::SERVER);
        assert_eq!((peer.generation(), peer.chain().len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_connector_serves_hyper_utils_pool() {
    let world = World::new(true, |_| {});
    let pool = |tls: &Arc<ServerConfig>| {
        let connector = Connector::over(Arc::clone(&world.rotating), Pipes::serving(tls));
        Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector)
    };
    let response = pool(&world.tls).request(get(URL)).await.unwrap();
    assert_eq!(response.version(), hyper::Version::HTTP_2);
    let peer = response.extensions().get::<Peer>().unwrap();
    assert_eq!(peer.identity().to_string(), upstream::SERVER);
    let stranger = serving(&Authority::root("other"), true);
    let error = pool(&stranger).request(get(URL)).await.unwrap_err();
    let cause: Option<&DialError> = error.source().and_then(|cause| cause.downcast_ref());
    assert_eq!(cause.unwrap().phase, Phase::Verify);
}

/// Over real sockets, with real time.
#[tokio::test]
async fn nobody_there_is_said_in_its_phase() {
    let world = World::new(false, |_| {});
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let client = UpstreamClient::new(Connector::new(Arc::clone(&world.rotating)));
    for host in ["127.0.0.1", "localhost"] {
        let request = get(&format!("https://{host}:{port}/"));
        let error = client.request(request).await.unwrap_err();
        assert_eq!(error.phase(), Phase::Connect, "{host}: {error:?}");
    }
}

/// A resolver that is no help.
#[derive(Clone)]
enum Lookup {
    Never,
    Unknown,
}

impl Service<Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        match self {
            Self::Never => Box::pin(pending()),
            Self::Unknown => Box::pin(async { Err(io::Error::other("no such host")) }),
        }
    }
}

/// Takes an hour to connect.
#[derive(Clone)]
struct Slow(Pipes);

impl Service<Uri> for Slow {
    type Response = upstream::Pipe;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<upstream::Pipe>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let made = self.0.call(uri);
        Box::pin(async move {
            sleep(Duration::from_secs(3600)).await;
            made.await
        })
    }
}

/// A body of one byte a second.
struct Slowly {
    left: u64,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Slowly {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wait = self
            .wait
            .get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
        if wait.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.wait = None;
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}
