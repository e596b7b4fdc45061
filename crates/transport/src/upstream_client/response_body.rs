//! The body of a response, which keeps its connection from being idle.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::link::Busy;

/// The body of a response. Until it is read to its end or dropped, its connection is not idle.
#[derive(Debug)]
pub struct ResponseBody {
    body: Incoming,
    busy: Option<Busy>,
}

impl ResponseBody {
    pub(super) fn new(body: Incoming, busy: Busy) -> Self {
        let busy = (!body.is_end_stream()).then_some(busy);
        Self { body, busy }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.busy = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
