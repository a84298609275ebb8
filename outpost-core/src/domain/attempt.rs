//! Attempts: what was sent, what came back, and what kind of failure it was.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::delivery::{DeliveryKey, Trigger};
use crate::values::error::Problem;
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

/// Which outcomes are wanted, by their code: what lists of deliveries ask of the latest attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CodeFilter {
    /// Every HTTP status of a class, told by its first digit, such as 5 for 500 to 599.
    Class(u8),
    /// Exactly this code: an HTTP status, the name of an [`ErrorClass`], or what a transport of your own answers.
    Exact(String),
    /// Every failure without an answer, that is one whose code is not an HTTP status.
    NoResponse,
}

impl CodeFilter {
    /// The most bytes that a code may have to be asked for.
    const LONGEST: usize = 64;

    /// Reads what people write: a class from `2xx` to `5xx`, `none` for no answer, or a code such as `404` or
    /// `timeout`. [`Display`](fmt::Display) writes it the same.
    ///
    /// # Errors
    /// A [`Problem`] with field `code`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let is_word = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'-' | b'.');
        match text.as_bytes() {
            b"none" => Ok(Self::NoResponse),
            [digit @ b'2'..=b'5', b'x', b'x'] => Ok(Self::Class(*digit - b'0')),
            [b'0'..=b'9', b'x', b'x'] => Err(Problem::new("code", "must be 2xx, 3xx, 4xx or 5xx to name a class")),
            letters if (1..=Self::LONGEST).contains(&letters.len()) && letters.iter().copied().all(is_word) => {
                Ok(Self::Exact(text.to_owned()))
            }
            _ => Err(Problem::new("code", "must be a class such as 5xx, none, or a code such as 404 or timeout")),
        }
    }

    /// Whether an attempt that ended so is wanted.
    #[must_use]
    pub fn matches(&self, outcome: &Outcome) -> bool {
        let code = outcome.code.as_bytes();
        let is_status = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
        match self {
            Self::Class(class) => is_status && code.first() == Some(&class.saturating_add(b'0')),
            Self::Exact(wanted) => *wanted == outcome.code,
            Self::NoResponse => !outcome.success && !is_status,
        }
    }
}

impl fmt::Display for CodeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(f, "{class}xx"),
            Self::Exact(code) => f.write_str(code),
            Self::NoResponse => f.write_str("none"),
        }
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written() {
        for text in ["2xx", "3xx", "4xx", "5xx", "none", "404", "200", "timeout", "dns_error", "x-1.b"] {
            assert_eq!(CodeFilter::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(CodeFilter::parse("5xx"), Ok(CodeFilter::Class(5)));
        assert_eq!(CodeFilter::parse("none"), Ok(CodeFilter::NoResponse));
        let long = "x".repeat(65);
        for text in ["", "1xx", "6xx", "0xx", "time out", "404 ", "%", "fünf", long.as_str()] {
            assert_eq!(CodeFilter::parse(text).unwrap_err().field, "code", "{text:?}");
        }
    }

    #[test]
    fn a_class_holds_statuses_and_none_holds_failures_without_one() {
        let matching = |wanted: &str| -> Vec<&str> {
            let wanted = CodeFilter::parse(wanted).unwrap();
            let codes = ["200", "204", "404", "500", "503", "50", "5000", "5xx", "timeout", "dns_error", ""];
            let outcome = |code: &str| Outcome { success: code.starts_with('2'), code: code.to_owned() };
            codes.into_iter().filter(|code| wanted.matches(&outcome(code))).collect()
        };
        assert_eq!(matching("2xx"), ["200", "204"]);
        assert_eq!(matching("3xx"), [""; 0]);
        assert_eq!(matching("5xx"), ["500", "503"]);
        assert_eq!(matching("404"), ["404"]);
        assert_eq!(matching("timeout"), ["timeout"]);
        assert_eq!(matching("none"), ["50", "5000", "5xx", "timeout", "dns_error", ""]);
        let accepted = Outcome { success: true, code: "queued".to_owned() };
        assert!(!CodeFilter::NoResponse.matches(&accepted), "what was accepted was answered");
        assert!(!CodeFilter::Class(255).matches(&accepted));
    }
}
