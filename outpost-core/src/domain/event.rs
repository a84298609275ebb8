//! Events: one immutable fact each, with the payload's exact bytes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tenant::{Keys, StringMap};
use crate::values::error::Problem;
use crate::values::id::{DestinationId, EventId, Incarnation};
use crate::values::time::Timestamp;

/// What was published, as it is stored and sent. `Debug` shows neither the payload nor the metadata's values.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unique within the tenant; the receiver's key for dropping repeats.
    pub id: EventId,
    /// Which life of the tenant it belongs to.
    pub tenant: Incarnation,
    /// What kind of event it is.
    pub topic: Arc<str>,
    /// When it happened, as the publisher says; else when it was published.
    pub time: Timestamp,
    /// When it was stored.
    pub created_at: Timestamp,
    /// The publisher's labels, sent along as headers where the transport has headers.
    pub metadata: Arc<StringMap>,
    /// The payload: exactly the bytes that were published.
    #[serde(skip)]
    pub data: Bytes,
    /// Whether failed deliveries are retried by schedule.
    pub eligible_for_retry: bool,
    /// The one destination it was published to, if it named one.
    pub destination_id: Option<DestinationId>,
    /// The enabled destinations it matched when it was published.
    pub matched: Arc<[DestinationId]>,
    /// Tells whether a repeated publish is the same event.
    pub fingerprint: Fingerprint,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, tenant, topic, time, created_at, metadata, data, .. } = self;
        let Self { eligible_for_retry, destination_id, matched, fingerprint, .. } = self;
        f.debug_struct("Event")
            .field("id", id)
            .field("tenant", tenant)
            .field("topic", topic)
            .field("time", time)
            .field("created_at", created_at)
            .field("metadata", &Keys(metadata))
            .field("data", &format_args!("{} bytes", data.len()))
            .field("eligible_for_retry", eligible_for_retry)
            .field("destination_id", destination_id)
            .field("matched", matched)
            .field("fingerprint", fingerprint)
            .finish()
    }
}

/// SHA-256 over everything the publisher gave, each part preceded by its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a publish call. `time` only counts when the publisher gave one.
    #[must_use]
    pub fn of(
        topic: &str,
        data: &[u8],
        metadata: &StringMap,
        destination: Option<&DestinationId>,
        eligible_for_retry: bool,
        time: Option<Timestamp>,
    ) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(topic.as_bytes());
        part(data);
        part(&(metadata.len() as u64).to_be_bytes());
        for (key, value) in metadata {
            part(key.as_bytes());
            part(value.as_bytes());
        }
        part(destination.map_or("", DestinationId::as_str).as_bytes());
        part(&[u8::from(eligible_for_retry)]);
        match time {
            Some(time) => part(&time.as_millis().to_be_bytes()),
            None => part(b""),
        }
        Self(hash.finalize().into())
    }
}

/// How deep a payload may be nested: what receivers' JSON readers commonly take.
pub const MAX_NESTING: usize = 128;

/// How deep a JSON text is nested. Of other texts it says nothing.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Checks that `data` is one JSON object in UTF-8, at most `max` bytes and nested at most [`MAX_NESTING`] deep,
/// without reading it into a tree.
///
/// # Errors
/// A [`Problem`] with field `data`.
pub fn check_data(data: &[u8], max: usize) -> Result<(), Problem> {
    if data.len() > max {
        return Err(Problem::new("data", format!("must be at most {max} bytes, but has {}", data.len())));
    }
    let first = data.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    match first {
        None => return Err(Problem::new("data", "is required")),
        Some(b'{') => {}
        Some(_) => return Err(Problem::new("data", "must be a JSON object")),
    }
    let text = std::str::from_utf8(data).map_err(|_| Problem::new("data", "must be UTF-8"))?;
    if nesting(data) > MAX_NESTING {
        return Err(Problem::new("data", format!("must not be nested more than {MAX_NESTING} levels deep")));
    }
    // `IgnoredAny` checks the grammar and builds nothing.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(|error| {
        Problem::new("data", format!("is not valid JSON at line {} column {}", error.line(), error.column()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_every_odd_shape_are_accepted() {
        for good in [
            "{}",
            " {\"a\":1e400}\n",
            "{\"a\":1,\"a\":2}",
            "{\"s\":\"a\\u0000b\"}",
            "{\"s\":\"\\ud800\"}",
            "{\"n\":-1.7976931348623157e+308,\"k\":9007199254740993,\"m\":0.0}",
            "{\"\u{2028}\":\"\u{1f469}\u{200d}\"}",
        ] {
            assert_eq!(check_data(good.as_bytes(), 1000), Ok(()), "{good}");
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for bad in ["", " ", "[]", "null", "\"x\"", "1", "{", "{}x", "{\"a\":}", "{\"a\":nan}", "{'a':1}", "\u{feff}{}"]
        {
            assert_eq!(check_data(bad.as_bytes(), 1000).unwrap_err().field, "data", "{bad}");
        }
        assert!(check_data(b"{\"a\":\"\xff\"}", 1000).is_err());
        assert!(check_data(b"{\"a\":1}", 6).is_err() && check_data(b"{\"a\":1}", 7).is_ok());
        let deep = |levels| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        for levels in [MAX_NESTING + 1, 100_000] {
            assert!(check_data(deep(levels).as_bytes(), usize::MAX).is_err(), "{levels}");
        }
        assert_eq!(check_data(deep(MAX_NESTING).as_bytes(), usize::MAX), Ok(()));
        let text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1000));
        assert_eq!(check_data(text.as_bytes(), usize::MAX), Ok(()), "brackets in a text are no nesting");
    }

    #[test]
    fn fingerprints_cannot_be_confused_by_moving_a_boundary() {
        let none = StringMap::new();
        let one = StringMap::from([("a".to_owned(), "b".to_owned())]);
        let base = Fingerprint::of("ab", b"{}", &none, None, true, None);
        assert_eq!(base, Fingerprint::of("ab", b"{}", &none, None, true, None));
        assert_ne!(base, Fingerprint::of("a", b"b{}", &none, None, true, None));
        assert_ne!(base, Fingerprint::of("ab", b"{}", &one, None, true, None));
        assert_ne!(base, Fingerprint::of("ab", b"{}", &none, None, false, None));
        assert_ne!(base, Fingerprint::of("ab", b"{}", &none, None, true, Some(Timestamp::from_millis(0))));
    }
}
