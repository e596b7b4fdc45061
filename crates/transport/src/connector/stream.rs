//! A TLS connection as hyper takes it.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::Peer;

/// A connection whose handshake is finished and whose server is accepted.
pub struct Stream<T> {
    tls: TokioIo<TlsStream<TokioIo<T>>>,
    peer: Option<Peer>,
    expires: Option<Instant>,
}

impl<T> Stream<T> {
    pub(super) fn new(
        tls: TlsStream<TokioIo<T>>,
        peer: Option<Peer>,
        expires: Option<Instant>,
    ) -> Self {
        Self {
            tls: TokioIo::new(tls),
            peer,
            expires,
        }
    }

    /// The server; `None` if the transport verifies nobody.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// When a certificate of the connection ends, and with it what it proves.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// The connection as tokio takes it.
    pub fn into_tokio(self) -> TlsStream<TokioIo<T>> {
        self.tls.into_inner()
    }
}

impl<T: Connection> Connection for Stream<T> {
    fn connected(&self) -> Connected {
        let (bytes, tls) = self.tls.inner().get_ref();
        let mut connected = bytes.inner().connected();
        if let Some(peer) = &self.peer {
            connected = connected.extra(peer.clone());
        }
        match tls.alpn_protocol() {
            Some(b"h2") => connected.negotiated_h2(),
            _ => connected,
        }
    }
}

impl<T: Read + Write + Unpin> Read for Stream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_read(cx, buffer)
    }
}

impl<T: Read + Write + Unpin> Write for Stream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
