//! What the client keeps between requests, for how long, and what an update of the material ends.
#![cfg(feature = "hyper")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/upstream.rs"]
mod upstream;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certwright_transport::connector::{Connector, Peer, Phase};
use certwright_transport::servers_transport::RootCa;
use certwright_transport::upstream::Sni;
use certwright_transport::upstream_client::ResponseBody;
use certwright_transport::{Identity, Roots, ServersTransport, Upstream, UpstreamClient};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Version};
use pki::{Authority, Spec};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{advance, sleep};
use tokio_rustls::LazyConfigAcceptor;
use upstream::{
    Answer, Client, Deaf, Pipes, World, after_request, answer, bundles, get, half_close, rotating,
    serve, serve_http, serving, stall, text, timeouts, verified,
};
use wire::{Clock, provider, server};

const URL: &str = "https://api.test/";

async fn ask(client: &Client) -> String {
    text(client.request(get(URL)).await.unwrap()).await
}

fn waiting(millis: u64) -> Request<http_body_util::Full<hyper::body::Bytes>> {
    let mut request = get(URL);
    let millis = millis.to_string().parse().unwrap();
    request.headers_mut().insert("x-wait-ms", millis);
    request
}

/// Lets everything run that has something to do, without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn together(client: &Client, count: usize) -> Vec<Response<ResponseBody>> {
    let requests: Vec<_> = (0..count)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request(waiting(100)).await.unwrap() })
        })
        .collect();
    let mut responses = Vec::new();
    for request in requests {
        responses.push(request.await.unwrap());
    }
    responses
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_when_their_time_is_over() {
    for http2 in [false, true] {
        let world = World::new(http2, |_| {});
        let pipes = Pipes::serving(&world.tls);
        let client = world.client(pipes.clone());
        assert_eq!(ask(&client).await, "1");
        settle().await;
        advance(Duration::from_secs(89)).await;
        assert_eq!(ask(&client).await, "1");
        settle().await;
        assert_eq!(pipes.open(), 1);
        // Nobody asks, and it is closed all the same.
        sleep(Duration::from_secs(91)).await;
        settle().await;
        assert_eq!(pipes.open(), 0, "h2: {http2}");
        assert_eq!(ask(&client).await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn shared_connections_are_idle_from_the_end_of_their_last_response() {
    let world = World::new(true, |_| {});
    let pipes = Pipes::serving(&world.tls);
    let client = world.client(pipes.clone());
    let late = client.request(waiting(200_000)).await.unwrap();
    sleep(Duration::from_secs(89)).await;
    assert_eq!(ask(&client).await, "1");
    // Somebody takes all the time there is to read it.
    sleep(Duration::from_secs(200)).await;
    assert_eq!(text(late).await, "1");
    sleep(Duration::from_secs(89)).await;
    assert_eq!(pipes.open(), 1);
    let given_up = client.request(get(URL)).await.unwrap();
    sleep(Duration::from_secs(200)).await;
    drop(given_up);
    sleep(Duration::from_secs(89)).await;
    settle().await;
    assert_eq!((pipes.made(), pipes.open()), (1, 1));
    sleep(Duration::from_secs(2)).await;
    settle().await;
    assert_eq!(pipes.open(), 0);
}

#[test]
fn idle_connections_are_closed_in_the_next_runtime_too() {
    for http2 in [false, true] {
        let world = World::new(http2, |_| {});
        let pipes = Pipes::serving(&world.tls);
        let client = world.client(pipes.clone());
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().start_paused(true).build().unwrap()
        };
        let first = async {
            assert_eq!(ask(&client).await, "1");
            settle().await;
        };
        runtime().block_on(first);
        runtime().block_on(async {
            // What the first runtime held was not closed but is gone.
            let open = pipes.open();
            assert_eq!(ask(&client).await, "2");
            settle().await;
            assert_eq!(pipes.open(), open + 1);
            sleep(Duration::from_secs(181)).await;
            settle().await;
            assert_eq!(pipes.open(), open, "h2: {http2}");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_idle_connections_stay() {
    let world = World::new(false, |transport| {
        transport.forwarding_timeouts = timeouts(|timeouts| {
            timeouts.idle_conn_timeout = Some("0".to_owned());
        });
    });
    let client = world.client(Pipes::serving(&world.tls));
    assert_eq!(ask(&client).await, "1");
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(ask(&client).await, "1");
}

#[tokio::test(start_paused = true)]
async fn as_many_connections_are_kept_as_go_keeps() {
    for (setting, kept, reused) in [
        (None, 2, true),
        (Some(0), 2, true),
        (Some(3), 3, true),
        (Some(-1), 0, false),
    ] {
        let world = World::new(false, |transport| {
            transport.max_idle_conns_per_host = setting;
        });
        let pipes = Pipes::serving(&world.tls);
        let client = world.client(pipes.clone());
        for response in together(&client, 5).await {
            text(response).await;
        }
        settle().await;
        assert_eq!((pipes.made(), pipes.open()), (5, kept), "{setting:?}");
        ask(&client).await;
        assert_eq!(pipes.made() == 5, reused, "{setting:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_shares_one_connection_from_the_first_request_on() {
    let world = World::new(true, |_| {});
    let pipes = Pipes::serving(&world.tls);
    let client = world.client(pipes.clone());
    for response in together(&client, 50).await {
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(text(response).await, "1");
    }
    // A transport that keeps nothing has a connection for each.
    let world = World::new(true, |transport| {
        transport.max_idle_conns_per_host = Some(-1);
    });
    let pipes = Pipes::serving(&world.tls);
    let client = world.client(pipes.clone());
    together(&client, 3).await;
    settle().await;
    assert_eq!((pipes.made(), pipes.open()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_dial_share_its_failure() {
    let world = World::new(true, |_| {});
    let pipes = Pipes::new(|pipe, _| stall(pipe));
    let client = world.client(pipes.clone());
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.request(get(URL)).await.unwrap_err().after() }
    });
    settle().await;
    advance(Duration::from_secs(4)).await;
    let second = client.request(get(URL)).await.unwrap_err();
    assert_eq!(second.phase(), Phase::Handshake);
    assert_eq!(first.await.unwrap().as_secs(), 10);
    assert_eq!(pipes.made(), 1);
    // The next one tries again.
    client.request(get(URL)).await.unwrap_err();
    assert_eq!(pipes.made(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dial_outlives_the_request_that_began_it() {
    let world = World::new(false, |_| {});
    let tls = Arc::clone(&world.tls);
    let both = {
        let mut both = (*tls).clone();
        both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(both)
    };
    for tls in [tls, both] {
        let pipes = Pipes::new(move |pipe, number| {
            let tls = Arc::clone(&tls);
            async move {
                sleep(Duration::from_secs(1)).await;
                serve(pipe, tls, answer(number)).await;
            }
        });
        let client = world.client(pipes.clone());
        let impatient = tokio::spawn({
            let client = client.clone();
            async move { ask(&client).await }
        });
        settle().await;
        impatient.abort();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(ask(&client).await, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_connections_that_hear_nothing_are_pinged_and_given_up() {
    let world = World::new(true, |transport| {
        transport.forwarding_timeouts = timeouts(|timeouts| {
            timeouts.read_idle_timeout = Some("5s".to_owned());
            timeouts.ping_timeout = Some("3s".to_owned());
        });
    });
    let is_deaf = Arc::new(AtomicBool::new(false));
    let (tls, deaf) = (Arc::clone(&world.tls), Arc::clone(&is_deaf));
    let pipes = Pipes::new(move |pipe, number| {
        let is_deaf = match number {
            1 => Arc::clone(&deaf),
            _ => Arc::default(),
        };
        serve(Deaf { pipe, is_deaf }, Arc::clone(&tls), answer(number))
    });
    let client = world.client(pipes);
    assert_eq!(ask(&client).await, "1");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ask(&client).await, "1");
    is_deaf.store(true, Ordering::SeqCst);
    let request = Request::post(URL)
        .body(http_body_util::Full::from("x"))
        .unwrap();
    let error = client.request(request).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Headers);
    assert!((5..=8).contains(&error.after().as_secs()), "{error}");
    assert_eq!(ask(&client).await, "2");
}

#[tokio::test(start_paused = true)]
async fn no_connection_is_kept_longer_than_its_certificates() {
    // The server's certificate ends in a day, and our own in half a day.
    for (own_days, seconds) in [(30, 86_400), (1, 86_400)] {
        for http2 in [false, true] {
            let mut world = World::new(http2, |transport| {
                transport.forwarding_timeouts = timeouts(|timeouts| {
                    timeouts.idle_conn_timeout = Some("0".to_owned());
                });
            });
            let days = (-1, if own_days == 1 { 30 } else { 1 });
            let mut tls = (*server(&world.ca.issue(&Spec {
                days,
                ..Spec::svid(upstream::SERVER)
            })))
            .clone();
            tls.alpn_protocols.clone_from(&world.tls.alpn_protocols);
            world.tls = Arc::new(tls);
            let own = world.ca.issue(&Spec {
                days: (-1, own_days),
                ..Spec::svid("spiffe://td.test/client")
            });
            let mut material = bundles(&[&world.ca]);
            let key = own.key_der();
            material.identities = vec![Identity::from_der(own.chain, key, &provider()).unwrap()];
            world.rotating.update(&material).unwrap();
            let pipes = Pipes::serving(&world.tls);
            let client = world.client(pipes.clone());
            assert_eq!(ask(&client).await, "1");
            sleep(Duration::from_secs(seconds - 1)).await;
            assert_eq!(ask(&client).await, "1");
            sleep(Duration::from_secs(2)).await;
            settle().await;
            assert_eq!(pipes.open(), 0);
            assert_eq!(ask(&client).await, "2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_closes_what_is_idle_at_once() {
    for http2 in [false, true] {
        let world = World::new(http2, |_| {});
        let pipes = Pipes::serving(&world.tls);
        let client = world.client(pipes.clone());
        assert_eq!(ask(&client).await, "1");
        settle().await;
        world.rotating.update(&bundles(&[&world.ca])).unwrap();
        settle().await;
        assert_eq!(pipes.open(), 0, "h2: {http2}");
        let response = client.request(get(URL)).await.unwrap();
        let peer = response.extensions().get::<Peer>();
        assert_eq!(peer.unwrap().generation(), 2);
        assert_eq!(text(response).await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_are_finished_and_their_connection_is_not_used_again() {
    for http2 in [false, true] {
        let world = World::new(http2, |_| {});
        let pipes = Pipes::serving(&world.tls);
        let client = world.client(pipes.clone());
        let under_way = tokio::spawn({
            let client = client.clone();
            async move { text(client.request(waiting(5000)).await.unwrap()).await }
        });
        sleep(Duration::from_secs(1)).await;
        world.rotating.update(&bundles(&[])).unwrap();
        let error = client.request(get(URL)).await.unwrap_err();
        assert_eq!(error.phase(), Phase::Verify, "h2: {http2}");
        assert_eq!(under_way.await.unwrap(), "1");
        settle().await;
        assert_eq!(pipes.open(), 0);
        let error = client.request(get(URL)).await.unwrap_err();
        assert_eq!(error.phase(), Phase::Verify);
        world.rotating.update(&bundles(&[&world.ca])).unwrap();
        ask(&client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_during_the_handshake_counts() {
    for http2 in [false, true] {
        for is_kept in [true, false] {
            let world = World::new(http2, |_| {});
            let (tls, rotating) = (Arc::clone(&world.tls), Arc::clone(&world.rotating));
            let ca = Arc::new(world.ca.certificate.clone());
            let pipes = Pipes::new(move |pipe, number| {
                let (tls, rotating, ca) = (Arc::clone(&tls), Arc::clone(&rotating), ca.clone());
                async move {
                    let hello = LazyConfigAcceptor::new(Acceptor::default(), pipe).await;
                    // The client has chosen its configuration.
                    if number == 1 {
                        let mut material = bundles(&[]);
                        if is_kept {
                            let roots = Roots::from_der([(*ca).clone()]).unwrap();
                            let domain = "td.test".parse().unwrap();
                            material.bundles.insert(&domain, roots);
                        }
                        rotating.update(&material).unwrap();
                    }
                    let Ok(stream) = hello.unwrap().into_stream(tls).await else {
                        return;
                    };
                    serve_http(stream, answer(number)).await;
                }
            });
            let client = world.client(pipes.clone());
            match (client.request(get(URL)).await, is_kept) {
                (Ok(response), true) => {
                    let peer: Option<&Peer> = response.extensions().get();
                    assert_eq!(peer.unwrap().generation(), 2);
                    assert_eq!(text(response).await, "2");
                    settle().await;
                    assert_eq!(pipes.open(), 1);
                    assert_eq!(ask(&client).await, "2");
                }
                (Err(error), false) => assert_eq!(error.phase(), Phase::Verify, "{error:?}"),
                (other, _) => panic!("h2: {http2}, kept: {is_kept}: {other:?}"),
            }
        }
    }
}

/// Whoever updates all the time is not kept waiting for a moment between two updates.
#[tokio::test(start_paused = true)]
async fn updates_during_every_handshake_end_nothing() {
    for http2 in [false, true] {
        let world = World::new(http2, |_| {});
        let (tls, rotating) = (Arc::clone(&world.tls), Arc::clone(&world.rotating));
        let ca = Arc::new(world.ca.certificate.clone());
        let pipes = Pipes::new(move |pipe, number| {
            let (tls, rotating, ca) = (Arc::clone(&tls), Arc::clone(&rotating), ca.clone());
            async move {
                let hello = LazyConfigAcceptor::new(Acceptor::default(), pipe).await;
                let mut material = bundles(&[]);
                let roots = Roots::from_der([(*ca).clone()]).unwrap();
                let domain = "td.test".parse().unwrap();
                material.bundles.insert(&domain, roots);
                rotating.update(&material).unwrap();
                if let Ok(stream) = hello.unwrap().into_stream(tls).await {
                    serve_http(stream, answer(number)).await;
                }
            }
        });
        let client = world.client(pipes.clone());
        assert_eq!(ask(&client).await, "3", "h2: {http2}");
        settle().await;
        assert_eq!(pipes.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_after_an_update_waits_for_no_dial_before_it() {
    let world = World::new(true, |_| {});
    let tls = Arc::clone(&world.tls);
    let pipes = Pipes::new(move |pipe, number| {
        let tls = Arc::clone(&tls);
        async move {
            sleep(Duration::from_secs(1)).await;
            serve(pipe, tls, answer(number)).await;
        }
    });
    let client = world.client(pipes);
    let before = tokio::spawn({
        let client = client.clone();
        async move { ask(&client).await }
    });
    settle().await;
    world.rotating.update(&bundles(&[&world.ca])).unwrap();
    assert_eq!(ask(&client).await, "2");
    // Nor is one before it sent over what older material made.
    assert_eq!(before.await.unwrap(), "2");
    assert_eq!(ask(&client).await, "2");
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_the_host_and_nothing_before_it() {
    for http2 in [false, true] {
        let world = World::new(http2, |_| {});
        let tls = Arc::clone(&world.tls);
        let pipes = Pipes::new(move |pipe, _| {
            let echo: Answer = Arc::new(|request: Request<Incoming>| {
                // One of the two, never both.
                let host = request.headers().get("host").into_iter();
                let host = host.map(|host| host.to_str().unwrap());
                let authority = request.uri().authority();
                let authority = authority.map(hyper::http::uri::Authority::as_str);
                let text = host.chain(authority).collect::<String>();
                Box::pin(async move { Response::new(http_body_util::Full::from(text)) })
            });
            serve(pipe, Arc::clone(&tls), echo)
        });
        let client = world.client(pipes);
        let request = get("https://user:secret@api.test:8443/");
        let response = client.request(request).await.unwrap();
        assert_eq!(text(response).await, "api.test:8443", "h2: {http2}");
        let mut request = get(URL);
        let host = "www.test".parse().unwrap();
        request.headers_mut().insert("host", host);
        let response = client.request(request).await.unwrap();
        assert_eq!(text(response).await, "www.test", "h2: {http2}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_the_server_closed_costs_no_request() {
    let world = World::new(false, |_| {});
    let tls = Arc::clone(&world.tls);
    let pipes = || {
        let tls = Arc::clone(&tls);
        Pipes::new(move |pipe, number| closing(pipe, Arc::clone(&tls), number))
    };
    async fn closing(pipe: DuplexStream, tls: Arc<ServerConfig>, number: usize) {
        if number > 1 {
            return serve(pipe, tls, answer(number)).await;
        }
        let mut stream = after_request(pipe, tls).await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";
        stream.write_all(response).await.unwrap();
        // The next request is read, and never answered.
        stream.read_exact(&mut [0; 8]).await.unwrap();
    }
    for (method, body, wanted) in [
        (Method::GET, "", Some("2")),
        (Method::POST, "", None),
        (Method::GET, "x", None),
    ] {
        let client = world.client(pipes());
        assert_eq!(ask(&client).await, "1");
        settle().await;
        let request = Request::builder().method(method.clone()).uri(URL);
        let request = request.body(http_body_util::Full::from(body)).unwrap();
        let response = client.request(request).await;
        match (response, wanted) {
            (Ok(response), Some(wanted)) => assert_eq!(text(response).await, wanted),
            (Err(error), None) => assert_eq!(error.phase(), Phase::Headers),
            (other, _) => panic!("{method}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_ended_while_idle_is_not_used() {
    for is_half in [true, false] {
        let world = World::new(false, |_| {});
        let tls = Arc::clone(&world.tls);
        let pipes = Pipes::new(move |pipe, number| {
            let tls = Arc::clone(&tls);
            async move {
                if number > 1 {
                    return serve(pipe, tls, answer(number)).await;
                }
                let mut stream = after_request(pipe, tls).await.unwrap();
                let response = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";
                stream.write_all(response).await.unwrap();
                sleep(Duration::from_secs(1)).await;
                if is_half {
                    half_close(stream).await;
                }
            }
        });
        let client = world.client(pipes);
        assert_eq!(ask(&client).await, "1");
        sleep(Duration::from_secs(2)).await;
        // What may not be repeated is not lost either.
        let request = Request::post(URL).body(http_body_util::Full::from("x"));
        let response = client.request(request.unwrap()).await.unwrap();
        assert_eq!(text(response).await, "2", "half: {is_half}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_off_is_an_error_and_its_connection_is_gone() {
    let world = World::new(false, |_| {});
    let tls = Arc::clone(&world.tls);
    let pipes = Pipes::new(move |pipe, number| {
        let tls = Arc::clone(&tls);
        async move {
            if number > 1 {
                // More than is on the way before somebody reads.
                let long: Answer = Arc::new(|_| {
                    let body = vec![0; 4 << 20].into();
                    Box::pin(async move { Response::new(body) })
                });
                return serve(pipe, tls, long).await;
            }
            let mut stream = after_request(pipe, tls).await.unwrap();
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1234";
            stream.write_all(response).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    });
    let client = world.client(pipes.clone());
    let response = client.request(get(URL)).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    settle().await;
    // Nor is one whose response nobody reads to its end.
    let response = client.request(get(URL)).await.unwrap();
    assert_eq!(pipes.made(), 2);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(pipes.open(), 1);
    drop(response);
    settle().await;
    assert_eq!(pipes.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_is_told_about_its_name() {
    let fixed = || Sni::Fixed("front.test".parse().unwrap());
    for (sni, told) in [
        (Sni::Host, Some("api.test")),
        (Sni::None, None),
        (fixed(), Some("front.test")),
    ] {
        let world = World::new(false, |_| {});
        let upstream = world.rotating.upstream().clone().with_sni(sni).unwrap();
        let rotating = rotating(upstream, &bundles(&[&world.ca]));
        let tls = Arc::clone(&world.tls);
        let seen = upstream::Log::default();
        let log = Arc::clone(&seen);
        let pipes = Pipes::new(move |pipe, _| {
            let (tls, log) = (Arc::clone(&tls), Arc::clone(&log));
            async move {
                let stream = tokio_rustls::TlsAcceptor::from(tls).accept(pipe).await;
                let stream = stream.unwrap();
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                log.lock().unwrap().push(name.unwrap_or_default());
            }
        });
        let client: Client = UpstreamClient::new(Connector::over(rotating, pipes));
        client.request(get(URL)).await.unwrap_err();
        assert_eq!(*seen.lock().unwrap(), [told.unwrap_or_default()]);
    }
    // Where the name is verified, another one cannot be told.
    let mut transport = ServersTransport::default();
    transport.server_name = Some("api.test".to_owned());
    let error = verified(transport).with_sni(fixed()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the host name is verified, so front.test cannot be told instead; set serverName to it"
    );
}

#[tokio::test]
async fn danger_has_a_connector_too_and_proves_nobody() {
    let mut transport = ServersTransport::default();
    transport.insecure_skip_verify = true;
    let Upstream::Danger(unverified) = transport.validate().unwrap() else {
        panic!("verified");
    };
    let material = Default::default();
    let connector = unverified.connector(&provider(), Clock::fixed(), &material);
    let ca = Authority::root("anyone");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = serving(&ca, true);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, tls, answer(1)).await;
    });
    let client = UpstreamClient::new(connector.unwrap());
    for _ in 0..2 {
        let request = get(&format!("https://127.0.0.1:{port}/"));
        let response = client.request(request).await.unwrap();
        assert!(response.extensions().get::<Peer>().is_none());
        assert_eq!(text(response).await, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_peer_names_are_proven_too() {
    let ca = Authority::root("ca");
    let pair = ca.issue(&Spec {
        dns: vec!["api.test".to_owned()],
        ..Spec::svid(upstream::SERVER)
    });
    let mut root = RootCa::default();
    root.file = Some(ca.pem());
    let mut named = ServersTransport::default();
    named.root_cas = vec![root];
    let mut peer = named.clone();
    peer.peer_cert_uri = Some(upstream::SERVER.to_owned());
    for (transport, wanted) in [
        (named, "host api.test".to_owned()),
        (peer, format!("URI {}", upstream::SERVER)),
    ] {
        let rotating = rotating(verified(transport), &Default::default());
        let pipes = Pipes::serving(&server(&pair));
        let client: Client = UpstreamClient::new(Connector::over(rotating, pipes));
        let response = client.request(get(URL)).await.unwrap();
        let peer = response.extensions().get::<Peer>().cloned();
        assert_eq!(peer.unwrap().identity().to_string(), wanted);
    }
}
