//! A network in between, as bad as a test wants it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes from now on, on connections that exist as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    Fair,
    /// Everything late.
    Delay(Duration),
    /// Nothing arrives, and nobody is told.
    Silence,
    /// Requests arrive, answers do not.
    NoAnswers,
    /// Answers end in the middle, the other direction stays open.
    HalfClose,
    /// Connections break.
    Reset,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    weather: Arc<watch::Sender<Weather>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Answers,
    Requests,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let outlook = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                let weather = outlook.subscribe();
                tokio::spawn(async move {
                    let Ok(outside) = TcpStream::connect(("127.0.0.1", to)).await else {
                        return;
                    };
                    let (from_client, to_client) = inside.into_split();
                    let (from_server, to_server) = outside.into_split();
                    let requests =
                        carry(from_client, to_server, Direction::Requests, weather.clone());
                    let answers = carry(from_server, to_client, Direction::Answers, weather);
                    tokio::join!(requests, answers);
                });
            }
        });
        Self { port, weather }
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = weather.changed() => {
                if changed.is_err() || *weather.borrow() == Weather::Reset {
                    return;
                }
                continue;
            }
        };
        let Ok(len @ 1..) = read else {
            return;
        };
        let now = *weather.borrow();
        match (now, direction) {
            (Weather::Reset, _) => return,
            (Weather::Silence, _) | (Weather::NoAnswers, Direction::Answers) => continue,
            (Weather::HalfClose, Direction::Answers) => {
                let _ = to.write_all(&buffer[..len / 2]).await;
                let _ = to.shutdown().await;
                return;
            }
            (Weather::Delay(time), _) => tokio::time::sleep(time).await,
            _ => {}
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}
