//! What goes back: bodies, and the headers that every answer has.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

/// The body of an answer of the portal.
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, Infallible>);

impl Body {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self(Full::new(bytes.into()).boxed_unsync())
    }

    /// A body that is made while it is sent, so that it is never in memory as a whole.
    pub(crate) fn streamed(chunks: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Self {
        use futures_util::StreamExt as _;
        let frames = chunks.map(|chunk| Ok::<_, Infallible>(http_body::Frame::data(chunk)));
        Self(http_body_util::StreamBody::new(frames).boxed_unsync())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// An answer before the portal's own headers are added.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Empty,
    /// A page. `secret` ones are not compressed, because the length of what is compressed tells of its content.
    Html {
        html: String,
        secret: bool,
    },
    Bytes(Bytes),
    Stream(Body),
}

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Content::Empty }
    }

    pub(crate) fn html(status: StatusCode, html: String) -> Self {
        Self { status, headers: HeaderMap::new(), body: Content::Html { html, secret: false } }
    }

    /// Goes on elsewhere with a GET.
    pub(crate) fn see_other(to: &str) -> Self {
        let mut reply = Self::empty(StatusCode::SEE_OTHER);
        reply.set(header::LOCATION, to);
        reply
    }

    /// A file to be saved, never shown.
    pub(crate) fn download(name: &str, kind: &'static str, body: Content) -> Self {
        let mut reply = Self { status: StatusCode::OK, headers: HeaderMap::new(), body };
        reply.set(header::CONTENT_TYPE, kind);
        let safe: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        reply.set(header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{safe}\""));
        reply
    }

    /// Sets a header; what cannot be one is left out.
    pub(crate) fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }

    pub(crate) fn add_cookie(&mut self, cookie: &str) {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            self.headers.append(header::SET_COOKIE, value);
        }
    }

    /// Marks a page that shows a secret.
    #[must_use]
    pub(crate) fn secret(mut self) -> Self {
        if let Content::Html { secret, .. } = &mut self.body {
            *secret = true;
        }
        self.set(header::REFERRER_POLICY, "no-referrer");
        self
    }
}

/// Bytes compressed for a browser that can read it.
pub(crate) fn gzip(bytes: &[u8], level: u32) -> Option<Bytes> {
    let mut encoder =
        flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 3), flate2::Compression::new(level));
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
