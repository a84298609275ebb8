//! How an event reaches a kind of destination.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::clock::Entropy;
use crate::domain::attempt::{AttemptError, ErrorClass, RequestRecord, ResponseRecord};
use crate::domain::delivery::Trigger;
use crate::domain::descriptor::Descriptor;
use crate::domain::egress::{Party, TENANT_MESSAGE};
use crate::domain::tenant::{Keys, StringMap};
use crate::values::error::Problem;
use crate::values::id::EventId;
use crate::values::time::Timestamp;

/// A destination's settings, parsed once and ready for use.
#[derive(Clone)]
pub struct Target {
    display: Arc<str>,
    settings: Arc<dyn Any + Send + Sync>,
}

impl Target {
    /// Wraps the transport's parsed settings. `display` is what people see of it; it must hold no secret.
    pub fn new<T: Any + Send + Sync>(display: impl Into<Arc<str>>, settings: T) -> Self {
        Self { display: display.into(), settings: Arc::new(settings) }
    }

    /// What people see of it.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// The transport's parsed settings, if they are of type `T`.
    #[must_use]
    pub fn settings<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.settings.downcast_ref()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.display).finish()
    }
}

/// One event to be sent once. `Debug` shows neither the payload nor the metadata's values.
#[derive(Clone)]
pub struct Message {
    /// The event's id, the same on every attempt.
    pub id: EventId,
    /// The event's topic.
    pub topic: Arc<str>,
    /// When the event happened.
    pub time: Timestamp,
    /// The publisher's metadata.
    pub metadata: Arc<StringMap>,
    /// The payload: exactly these bytes are signed and sent.
    pub data: Bytes,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Why it is made.
    pub trigger: Trigger,
    /// The time of this attempt, which is what is signed.
    pub now: Timestamp,
    /// When the whole exchange must be over, counted from the call.
    pub timeout: Duration,
    /// Whose destination it goes to.
    pub party: Party,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, topic, time, metadata, data, attempt, trigger, now, timeout, party } = self;
        f.debug_struct("Message")
            .field("id", id)
            .field("topic", topic)
            .field("time", time)
            .field("metadata", &Keys(metadata))
            .field("data", &format_args!("{} bytes", data.len()))
            .field("attempt", attempt)
            .field("trigger", trigger)
            .field("now", now)
            .field("timeout", timeout)
            .field("party", party)
            .finish()
    }
}

/// What the receiver's answer means for the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the event.
    Accepted,
    /// It refused; try again by schedule.
    Rejected,
    /// It refused because it is overloaded or down: hold the destination, then try again.
    Overloaded,
    /// It is gone for good: stop, and disable the destination.
    Gone,
}

/// The receiver's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What the answer means.
    pub verdict: Verdict,
    /// The answer's code as the attempt shows it, such as `200`.
    pub code: String,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
    /// What was sent.
    pub request: RequestRecord,
    /// What came back.
    pub response: Option<ResponseRecord>,
}

/// There was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryError {
    /// What went wrong.
    pub error: AttemptError,
    /// What was sent, if it came to that.
    pub request: Option<RequestRecord>,
    /// What had come back before it went wrong.
    pub response: Option<ResponseRecord>,
}

impl DeliveryError {
    /// A failure before anything reached the receiver.
    #[must_use]
    pub fn unseen(class: ErrorClass, message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            error: AttemptError { class, message: message.into(), detail: detail.into(), maybe_seen: false },
            request: None,
            response: None,
        }
    }
}

/// Why a destination may not be saved as it is, in two versions.
///
/// A tenant is told the same about an address of the operator's network, a denied host and a name that does
/// not exist: anything more would map that network for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VetError {
    /// What a tenant is told.
    pub problems: Vec<Problem>,
    /// What the operator is told: the address, why it is refused, and the setting that would allow it.
    pub details: Vec<Problem>,
    /// A name could not be resolved just now. The operator may save such a destination, a tenant may not.
    pub unresolved: bool,
}

impl VetError {
    /// An address that may not be sent to; `detail` continues a sentence that starts with `field`.
    #[must_use]
    pub fn refused(field: &str, detail: impl Into<String>) -> Self {
        Self {
            problems: vec![Problem::new(field, TENANT_MESSAGE)],
            details: vec![Problem::new(field, detail)],
            unresolved: false,
        }
    }

    /// A name that could not be resolved, or not in time.
    #[must_use]
    pub fn unresolved(field: &str, detail: impl Into<String>) -> Self {
        Self { unresolved: true, ..Self::refused(field, detail) }
    }

    /// Problems that everybody may know of.
    #[must_use]
    pub fn open(problems: Vec<Problem>) -> Self {
        Self { details: problems.clone(), problems, unresolved: false }
    }
}

/// How secrets are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The time of the rotation.
    pub now: Timestamp,
    /// How long the replaced secret stays valid.
    pub overlap: Duration,
}

/// Delivers events to one kind of destination. It never retries; the engine decides.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The kind and its fields. The same value on every call.
    fn descriptor(&self) -> &Descriptor;

    /// Fills in the secrets that a new destination needs and the caller did not give.
    fn provision(&self, credentials: &mut StringMap, entropy: &dyn Entropy);

    /// The credentials after a rotation: a new secret first, the old ones valid for a while.
    ///
    /// # Errors
    /// Every problem, when this kind has no secret to rotate.
    fn rotate(
        &self,
        credentials: &StringMap,
        rotation: Rotation,
        entropy: &dyn Entropy,
    ) -> Result<StringMap, Vec<Problem>>;

    /// Parses a destination's settings, without IO. The fields' general checks
    /// ([`Descriptor::problems`]) have passed.
    ///
    /// # Errors
    /// Every problem found.
    fn prepare(
        &self,
        config: &StringMap,
        credentials: &StringMap,
        delivery_metadata: &StringMap,
    ) -> Result<Target, Vec<Problem>>;

    /// Checks what only the network can tell, such as whether a host name leads to an internal address.
    /// Called when a destination of `party` is written or enabled; [`deliver`](Self::deliver) must check
    /// again.
    ///
    /// # Errors
    /// Every problem found, once for tenants and once for the operator.
    async fn vet(&self, target: &Target, party: &Party) -> Result<(), VetError>;

    /// Sends `message` once. An answer of any kind is a [`Receipt`].
    ///
    /// # Errors
    /// A [`DeliveryError`] when there was no answer.
    async fn deliver(&self, target: &Target, message: &Message) -> Result<Receipt, DeliveryError>;
}
