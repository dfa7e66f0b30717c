//! The body of an answer that keeps something until it was sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::crowd::Work;

/// A body, and what is done on the connection as long as there is more of it.
struct Held {
    body: Body,
    _work: Work,
}

/// The same body, which is work on its connection until all of it was handed on or nobody wants it any more.
pub(super) fn until_sent(body: Body, work: Work) -> Body {
    Body::new(Held { body, _work: work })
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
