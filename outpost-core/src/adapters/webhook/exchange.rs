//! One request and its answer, under one deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use tokio::time::{Instant, timeout_at};

use super::connect::{Connector, Wire};
use super::failure::Failure;
use super::mask::record;
use super::{Settings, request};
use crate::adapters::status::verdict;
use crate::domain::attempt::{AttemptError, ErrorClass, RequestRecord, ResponseRecord};
use crate::ports::transport::{DeliveryError, Message, Receipt, Verdict};
use crate::values::time::Timestamp;

/// The longest wait that is read from `Retry-After`: a year. The engine caps it far lower.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// What all exchanges share.
pub(super) struct Exchanger {
    pub(super) names: super::signing::Names,
    pub(super) connector: Connector,
    pub(super) pooled: HttpClient,
    /// Never takes a connection from a pool.
    pub(super) fresh: HttpClient,
    pub(super) capture: usize,
    pub(super) envelope: bool,
    pub(super) max_idle: usize,
    pub(super) busy: AtomicUsize,
}

/// Counts an exchange while it runs.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends a connection of HTTP/1.1 together with the exchange, also when the exchange is given up from outside.
/// Without it the client first waits for the receiver to read the rest of the request.
struct Cut<'a>(Option<&'a CaptureConnection>);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if let Some(wire) = self.0.and_then(wire) {
            wire.cut();
        }
    }
}

/// A failed try, and what the connection can tell about it.
struct Failed {
    failure: Failure,
    maybe_seen: bool,
    /// It was a kept connection that the receiver had closed.
    stale: bool,
}

impl Exchanger {
    pub(super) async fn deliver(
        &self,
        settings: &Settings,
        shown_url: &str,
        message: &Message,
    ) -> Result<Receipt, DeliveryError> {
        let now = Instant::now();
        let deadline = now.checked_add(message.timeout).unwrap_or(now + MAX_RETRY_AFTER);
        let body = request::body(message, self.envelope);
        let headers = request::headers(settings, &self.names, message, &body).map_err(|detail| {
            let failure = Failure::new(ErrorClass::Request, detail);
            DeliveryError::unseen(failure.class, failure.message, failure.detail)
        })?;
        let sent = RequestRecord { method: "POST".to_owned(), url: shown_url.to_owned(), headers: record(&headers) };

        let _busy = Busy::new(&self.busy);
        let mut first_seen = false;
        let mut outcome = self.send(&self.pooled, settings, headers, &body, deadline).await;
        // A connection kept from before that the receiver closed while this request was on its way is
        // nobody's failure: the request goes out once more, on a new connection. The receiver has answered
        // nothing, and should it have acted all the same, the event's id tells.
        if let Err(failed) = &outcome
            && failed.stale
        {
            tracing::debug!(url = shown_url, detail = %failed.failure.detail, "sending again on a new connection");
            first_seen = failed.maybe_seen;
            if let Ok(headers) = request::headers(settings, &self.names, message, &body) {
                outcome = self.send(&self.fresh, settings, headers, &body, deadline).await;
            }
        }
        match outcome {
            Ok(answer) => Ok(self.receive(answer, sent, message.now, deadline).await),
            Err(failed) => {
                let Failure { class, message: text, detail, .. } = failed.failure;
                let maybe_seen = failed.maybe_seen || first_seen;
                Err(DeliveryError {
                    error: AttemptError { class, message: text.to_owned(), detail, maybe_seen },
                    request: maybe_seen.then_some(sent),
                    response: None,
                })
            }
        }
    }

    async fn send(
        &self,
        client: &HttpClient,
        settings: &Settings,
        headers: HeaderMap,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = settings.uri.clone();
        *request.headers_mut() = headers;
        let connection = capture_connection(&mut request);
        let mut exchange = std::pin::pin!(client.request(request));
        let mut cut = Cut(Some(&connection));
        let failure = match timeout_at(deadline, exchange.as_mut()).await {
            Ok(Ok(response)) => {
                cut.0 = None;
                self.limit_idle(&connection);
                return Ok(response);
            }
            Ok(Err(error)) => Failure::classify(&error),
            Err(_) => {
                // It may be dead, or starved of window. Whoever else is on it stays; nobody new comes.
                if let Some(connected) = connection.connection_metadata().as_ref() {
                    connected.poison();
                }
                Failure::new(ErrorClass::Timeout, "the deadline passed before the answer's headers were complete")
            }
        };
        let wire = wire(&connection);
        let lost = failure.class == ErrorClass::Reset;
        Err(Failed {
            maybe_seen: wire.as_ref().is_some_and(|wire| wire.may_have_sent()),
            stale: lost && (failure.unprocessed || wire.is_some_and(|wire| wire.is_stale())),
            failure,
        })
    }

    /// Keeps the number of idle sockets within bounds: when there are more open sockets than requests under
    /// way and the limit allow, this connection is not kept.
    fn limit_idle(&self, connection: &CaptureConnection) {
        let idle = self.connector.open_sockets().saturating_sub(self.busy.load(Ordering::Relaxed));
        if idle >= self.max_idle
            && let Some(connected) = connection.connection_metadata().as_ref()
        {
            connected.poison();
        }
    }

    async fn receive(
        &self,
        response: Response<Incoming>,
        request: RequestRecord,
        now: Timestamp,
        deadline: Instant,
    ) -> Receipt {
        let (parts, body) = response.into_parts();
        let verdict = verdict(parts.status.as_u16());
        let retry_after = if verdict == Verdict::Accepted { None } else { retry_after(&parts.headers, now) };
        // Whatever happens to the body, the status has decided.
        let (body, truncated) = read_body(body, self.capture, deadline).await;
        if !truncated && let Some(wire) = parts.extensions.get::<Arc<Wire>>() {
            wire.settle();
        }
        let headers = record(&parts.headers);
        Receipt {
            verdict,
            code: parts.status.as_str().to_owned(),
            retry_after,
            request,
            response: Some(ResponseRecord { status: parts.status.as_u16(), headers, body, truncated }),
        }
    }
}

fn wire(connection: &CaptureConnection) -> Option<Arc<Wire>> {
    let metadata = connection.connection_metadata();
    let mut extras = http::Extensions::new();
    metadata.as_ref()?.get_extras(&mut extras);
    extras.remove::<Arc<Wire>>()
}

/// Reads at most `cap` bytes, and tells whether anything is missing. A body that is longer, late or broken
/// is dropped together with its connection, never read to its end.
async fn read_body(mut body: Incoming, cap: usize, deadline: Instant) -> (Bytes, bool) {
    let mut kept = Vec::new();
    while !body.is_end_stream() {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            // Some resets of HTTP/2 streams are told as an end; the length tells what is missing.
            Ok(None) => return (kept.into(), body.size_hint().lower() > 0),
            Ok(Some(Err(_))) | Err(_) => return (kept.into(), true),
        };
        // Copied, because a slice would keep the connection's whole read buffer alive.
        if let Ok(data) = frame.into_data() {
            let room = cap - kept.len();
            if data.len() > room {
                kept.extend_from_slice(data.get(..room).unwrap_or_default());
                return (kept.into(), true);
            }
            kept.extend_from_slice(&data);
        }
    }
    (kept.into(), false)
}

/// Reads `Retry-After`: seconds, or a date, which counts from `now`. A date that has passed asks for no wait.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let at: SystemTime = httpdate::parse_http_date(text).ok()?;
    let at = i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    Some(Timestamp::from_millis(at).since(now).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = Timestamp::parse("t", "2026-01-31T08:00:00Z").unwrap();
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("99999999999999999999999"), Some(MAX_RETRY_AFTER.as_secs()));
        assert_eq!(read("Sat, 31 Jan 2026 08:01:30 GMT"), Some(90));
        assert_eq!(read("Saturday, 31-Jan-26 08:01:30 GMT"), Some(90));
        assert_eq!(read("Sat Jan 31 08:01:30 2026"), Some(90));
        assert_eq!(read("Sat, 31 Jan 2026 07:00:00 GMT"), Some(0));
        for text in ["", "-1", "1.5", "soon", "Sat, 31 Feb 2026 08:01:30 GMT", "+1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
