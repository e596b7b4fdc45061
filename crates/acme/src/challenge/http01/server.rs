//! A listener for port 80 that answers challenges and nothing else.

use core::convert::Infallible;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Http01;
use super::places::{Place, Places};

impl Http01 {
    /// The response to a request, for a hyper or axum service: the answer with status
    /// 200, 404 if the path is not that of a challenge we know, 405 for methods other
    /// than GET and HEAD, 503 if the store cannot be read.
    ///
    /// The future does not keep the request, so that it is `Send` whatever the body is.
    pub fn respond<'a, B>(
        &'a self,
        request: &Request<B>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<'a, B> {
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path().to_owned();
        async move {
            let (status, body) = match asks {
                true => match self.answer(&path).await {
                    Ok(Some(answer)) => (StatusCode::OK, answer),
                    Ok(None) => (StatusCode::NOT_FOUND, String::new()),
                    Err(_) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
                },
                false => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
            };
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = status;
            let octets = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(CONTENT_TYPE, octets);
            response
        }
    }

    /// Listens on this address, port 80 as the CA sees it, until the listener is dropped.
    ///
    /// It bears 256 connections. When there are more, those go that have asked for nothing
    /// yet, the oldest from wherever most of them are first, and those of an address that has more
    /// than a quarter of all.
    ///
    /// # Errors
    /// The address is taken, or not ours to listen on.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<Http01Listener> {
        self.listen_for(address, MAX_CONNECTIONS).await
    }

    async fn listen_for(&self, address: SocketAddr, most: usize) -> io::Result<Http01Listener> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, self.clone(), most));
        Ok(Http01Listener { address, task })
    }
}

/// A running listener; dropping it ends it.
#[derive(Debug)]
pub struct Http01Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Http01Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and waits until the address is free again.
    pub async fn close(mut self) {
        self.task.abort();
        // An error says that it was aborted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Http01Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, answers: Http01, most: usize) {
    let places = Places::new(most);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let answers = answers.clone();
                places.serve(peer.ip(), |place| async move {
                    let served = tokio::time::timeout(LONGEST, serve(stream, answers, place));
                    // Whoever is on the other side has gone, or is too slow.
                    let _ = served.await;
                });
            }
            // Out of descriptors, for example: a pause, or this would spin.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, answers: Http01, place: Arc<Place>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        place.has_asked();
        let answers = answers.clone();
        async move { Ok::<_, Infallible>(answers.respond(&request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(MAX_HEAD)
        // A CA asks once; whoever goes on asking would keep a place from it.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: usize = 16 << 10;
const HEADER: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use certwright_storage::MemoryStorage;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::challenge::http01::PATH;

    #[tokio::test]
    async fn those_who_say_nothing_hold_up_nobody() {
        let answers = Http01::new(Arc::new(MemoryStorage::default()));
        let token = "t".repeat(43);
        answers.show(&token, "ours");
        // Each of both ends is a descriptor, and some systems have 256 for all tests.
        let most = 16;
        let listener = answers.listen_for(([127, 0, 0, 1], 0).into(), most);
        let listener = listener.await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..most + 10 {
            silent.push(TcpStream::connect(listener.address()).await.unwrap());
        }
        let asked = async {
            let mut client = TcpStream::connect(listener.address()).await.unwrap();
            let request = format!("GET {PATH}{token} HTTP/1.1\r\nhost: a.test\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).await.unwrap();
            response
        };
        // Long before the silent ones are too late with their heads.
        let response = tokio::time::timeout(HEADER / 2, asked).await.unwrap();
        assert!(response.ends_with("ours"), "{response}");
        listener.close().await;
    }
}
