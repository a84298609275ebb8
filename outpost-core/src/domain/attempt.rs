//! Attempts: what was sent, what came back, and what kind of failure it was.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::delivery::{DeliveryKey, Trigger};
use crate::values::id::{AttemptId, Incarnation};
use crate::values::time::Timestamp;

/// What kind of failure kept the receiver's answer from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// The name could not be resolved.
    Dns,
    /// The receiver's machine refused the connection.
    Refused,
    /// The connection was cut before the answer was complete.
    Reset,
    /// There is no way to the address.
    Unreachable,
    /// The time for the whole attempt ran out.
    Timeout,
    /// The secure connection could not be made.
    Tls,
    /// The answer was not HTTP, or broke its rules.
    Protocol,
    /// The address is one we must not send to.
    Blocked,
    /// The request could not be built from the destination's settings.
    Request,
    /// Any other trouble on the network.
    Network,
    /// A fault on our side, such as no free file handles; it says nothing about the receiver.
    System,
}

impl ErrorClass {
    /// The class as the attempt's code shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns_error",
            Self::Refused => "connection_refused",
            Self::Reset => "connection_reset",
            Self::Unreachable => "network_unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls_error",
            Self::Protocol => "protocol_error",
            Self::Blocked => "blocked",
            Self::Request => "request_error",
            Self::Network => "network_error",
            Self::System => "system_error",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an attempt ended, in the short form that a delivery shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether the receiver accepted the event.
    pub success: bool,
    /// The HTTP status as text, or the [`ErrorClass`].
    pub code: String,
}

/// The headers of a request or response, in the order they were sent. Values that are not text are shown
/// with replacement characters, sensitive ones masked.
pub type HeaderList = Vec<(String, String)>;

/// Stands for headers in `Debug`: only their names are shown, because which values are masked is up to the
/// transport, and what a receiver answers up to it.
struct Names<'a>(&'a HeaderList);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What was sent. The body is the event's data, so it is not repeated here. `Debug` shows only the headers'
/// names.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The method, for transports that have one.
    pub method: String,
    /// The URL or other address, with user information and secret parts masked.
    pub url: String,
    /// The headers, sensitive values masked.
    pub headers: HeaderList,
}

impl fmt::Debug for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, url, headers } = self;
        f.debug_struct("RequestRecord")
            .field("method", method)
            .field("url", url)
            .field("headers", &Names(headers))
            .finish()
    }
}

/// What came back. `Debug` shows only the headers' names and the body's length.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResponseRecord {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderList,
    /// The body's first bytes, whatever they are.
    #[serde(skip)]
    pub body: Bytes,
    /// The body is not whole: it was longer than is kept, broke off, or did not end in time. The status stands all
    /// the same.
    pub truncated: bool,
}

impl fmt::Debug for ResponseRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body, truncated } = self;
        f.debug_struct("ResponseRecord")
            .field("status", status)
            .field("headers", &Names(headers))
            .field("body", &format_args!("{} bytes", body.len()))
            .field("truncated", truncated)
            .finish()
    }
}

/// The text and class of a failure without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// What kind of failure.
    pub class: ErrorClass,
    /// What the tenant is told.
    pub message: String,
    /// What the operator is told; may name addresses.
    pub detail: String,
    /// Whether the receiver may have seen the request all the same.
    pub maybe_seen: bool,
}

/// One try at a delivery. Written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The attempt's own id.
    pub id: AttemptId,
    /// The delivery it belongs to.
    pub delivery: DeliveryKey,
    /// The tenant's incarnation.
    pub tenant: Incarnation,
    /// The event's topic.
    pub topic: std::sync::Arc<str>,
    /// 1 for the first attempt at the delivery; one sequence whatever the trigger.
    pub number: u32,
    /// Why it was made.
    pub trigger: Trigger,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended; lists are ordered by this.
    pub time: Timestamp,
    /// How long it took, around the exchange alone.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// What was sent, if it came to that.
    pub request: Option<RequestRecord>,
    /// What came back, if anything did.
    pub response: Option<ResponseRecord>,
    /// What went wrong, when there was no answer.
    pub error: Option<AttemptError>,
    /// When the next automatic attempt is due, as decided with this one.
    pub next_attempt_at: Option<Timestamp>,
}
