//! The body of an answer to a relay: a stream's line, a few words, or what LaunchDarkly answered.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::body::Frame;
use hyper::body::SizeHint;
use hyper::header;
use hyper::header::HeaderValue;

use crate::guard::stream::line::LineBody;

/// The body of an answer.
#[derive(Debug)]
pub enum GuardBody {
    /// A stream.
    Line(LineBody),
    /// A few words.
    Words(Option<Bytes>),
    /// What LaunchDarkly answered, as it comes.
    Through(reqwest::Body),
}

impl GuardBody {
    /// 200, and a stream.
    pub fn stream(body: LineBody) -> Response<Self> {
        let mut response = Response::new(GuardBody::Line(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
        // When a stream has ended there is nothing more to be had on its connection.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// A status, and a few words.
    pub fn words(status: StatusCode, words: &str) -> Response<Self> {
        let mut response = Response::new(GuardBody::Words(Some(Bytes::from(format!("{words}\n")))));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// 503, which every relay tries again.
    pub fn later(words: &str) -> Response<Self> {
        Self::words(StatusCode::SERVICE_UNAVAILABLE, &format!("rc guard: {words}"))
    }
}

impl Body for GuardBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.get_mut() {
            GuardBody::Line(body) => match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(never))) => match never {},
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            GuardBody::Words(words) => Poll::Ready(words.take().map(|words| Ok(Frame::data(words)))),
            GuardBody::Through(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            GuardBody::Line(body) => body.is_end_stream(),
            GuardBody::Words(words) => words.is_none(),
            GuardBody::Through(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            GuardBody::Line(_) => SizeHint::default(),
            GuardBody::Words(words) => SizeHint::with_exact(words.as_ref().map_or(0, |words| words.len() as u64)),
            GuardBody::Through(body) => body.size_hint(),
        }
    }
}
