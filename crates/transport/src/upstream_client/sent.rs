//! The end of a request, from which the wait for its response counts.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::IoSlice;
use std::sync::Arc;

use hyper::body::{Body, Buf, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// A request's body that tells when it was written to the last byte, or given up.
pub(super) struct Sent<B> {
    body: Option<B>,
    end: Option<Arc<oneshot::Sender<()>>>,
}

/// Bytes of a body. Whoever writes them drops them when they are written: a body of one large piece is handed over
/// long before that.
pub(super) struct Piece<D> {
    data: D,
    _end: Option<Arc<oneshot::Sender<()>>>,
}

/// Where it is told, if there is a body, and how long the response may take from then on; `None` if it may take
/// forever.
pub(super) struct End(Option<(Option<oneshot::Receiver<()>>, Duration)>);

impl<B> Sent<B> {
    pub(super) fn new(body: Option<B>, limit: Option<Duration>) -> (Self, End) {
        let Some(limit) = limit else {
            return (Self { body, end: None }, End(None));
        };
        if body.is_none() {
            // Its beginning is its end, also where it waits for a stream that the server does not allow.
            return (Self { body, end: None }, End(Some((None, limit))));
        }
        let (end, ended) = oneshot::channel();
        let end = Some(Arc::new(end));
        (Self { body, end }, End(Some((Some(ended), limit))))
    }
}

impl End {
    /// `Err` with the limit if `response` is not there that long after the end of the request.
    pub(super) async fn or_late<F: Future>(&mut self, response: F) -> Result<F::Output, Duration> {
        let Some((ended, limit)) = &mut self.0 else {
            return Ok(response.await);
        };
        let late = async {
            // Nothing is ever told: the end is that the other side is dropped.
            if let Some(ended) = ended {
                ended.await.ok();
            }
            sleep(*limit).await;
            *limit
        };
        let (mut response, mut late) = (pin!(response), pin!(late));
        poll_fn(|cx| match response.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Ok(response)),
            Poll::Pending => late.as_mut().poll(cx).map(Err),
        })
        .await
    }
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece<B::Data>>, B::Error>>> {
        let frame = match &mut self.body {
            None => None,
            Some(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        let Some(frame) = frame else {
            self.end = None;
            return Poll::Ready(None);
        };
        let end = self.end.clone();
        let piece = |data| Piece { data, _end: end };
        Poll::Ready(Some(frame.map(|frame| frame.map_data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            None => SizeHint::with_exact(0),
            Some(body) => body.size_hint(),
        }
    }
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}
