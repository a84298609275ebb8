//! A transport whose answers a test writes down.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::status::verdict;
use crate::domain::attempt::{AttemptError, ErrorClass, RequestRecord, ResponseRecord};
use crate::domain::descriptor::{Descriptor, Field, FieldKind};
use crate::domain::egress::Party;
use crate::domain::tenant::StringMap;
use crate::ports::clock::Entropy;
use crate::ports::transport::{DeliveryError, Message, Receipt, Rotation, Target, Transport, VetError};
use crate::values::error::Problem;

/// How many calls are remembered when the caller does not say.
const DEFAULT_REMEMBERED: usize = 100_000;

/// One answer of a [`ScriptedTransport`], and how long it takes.
#[derive(Clone, Debug)]
pub struct ScriptedReply {
    /// How long the receiver takes to answer. Longer than the message's timeout makes it a timeout.
    pub delay: Duration,
    /// The answer; the request's record is filled in when the receipt has none.
    pub result: Result<Receipt, DeliveryError>,
}

impl ScriptedReply {
    /// 200 at once.
    #[must_use]
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// An answer with this HTTP status, at once.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let receipt = Receipt {
            verdict: verdict(status),
            code: status.to_string(),
            retry_after: None,
            request: RequestRecord::default(),
            response: Some(ResponseRecord { status, ..ResponseRecord::default() }),
        };
        Self { delay: Duration::ZERO, result: Ok(receipt) }
    }

    /// No answer, at once. `maybe_seen` is set for those classes in which a receiver may have seen the
    /// request: reset, timeout and protocol.
    #[must_use]
    pub fn error(class: ErrorClass) -> Self {
        let maybe_seen = matches!(class, ErrorClass::Reset | ErrorClass::Timeout | ErrorClass::Protocol);
        let text = format!("scripted {class}");
        let error = AttemptError { class, message: text.clone(), detail: text, maybe_seen };
        Self { delay: Duration::ZERO, result: Err(DeliveryError { error, request: None, response: None }) }
    }

    /// The same answer, after `delay` of Tokio's time.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same answer with this `Retry-After`; an error stays as it is.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        if let Ok(receipt) = &mut self.result {
            receipt.retry_after = Some(wait);
        }
        self
    }

    /// The same answer with this body; an error stays as it is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        if let Ok(Receipt { response: Some(response), .. }) = &mut self.result {
            response.body = body.into();
        }
        self
    }
}

/// One call of [`ScriptedTransport`].
#[derive(Clone, Debug)]
pub struct ScriptedCall {
    /// What the target shows of itself: the destination's `url`.
    pub target: Arc<str>,
    /// What was to be sent.
    pub message: Message,
    /// When, by Tokio's clock.
    pub at: Instant,
}

/// The calls of a [`ScriptedTransport`], as seen from outside. Clones see the same calls.
#[derive(Clone)]
pub struct ScriptedCalls {
    log: Arc<Mutex<VecDeque<ScriptedCall>>>,
    total: Arc<watch::Sender<u64>>,
    remembered: usize,
}

impl ScriptedCalls {
    fn new(remembered: usize) -> Self {
        Self { log: Arc::default(), total: Arc::new(watch::Sender::new(0)), remembered }
    }

    fn push(&self, call: ScriptedCall) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= self.remembered {
            log.pop_front();
        }
        log.push_back(call);
        drop(log);
        self.total.send_modify(|total| *total += 1);
    }

    /// The remembered calls, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<ScriptedCall> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How many calls there were, forgotten ones included.
    #[must_use]
    pub fn total(&self) -> u64 {
        *self.total.borrow()
    }

    /// Completes when there have been at least `count` calls.
    pub async fn reached(&self, count: u64) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.total.subscribe().wait_for(|total| *total >= count).await;
    }
}

impl fmt::Debug for ScriptedCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedCalls").field("total", &self.total()).finish()
    }
}

type Script = dyn Fn(&Target, &Message) -> ScriptedReply + Send + Sync;

/// A transport for tests: a closure decides each answer, and every call is remembered. It does no IO, and
/// its delays follow Tokio's clock, so it works in paused time.
///
/// ```
/// use outpost_core::{ScriptedReply, ScriptedTransport};
///
/// // Fails twice, then succeeds.
/// let transport = ScriptedTransport::new(|_, message| match message.attempt {
///     1 | 2 => ScriptedReply::status(503),
///     _ => ScriptedReply::ok(),
/// });
/// let calls = transport.calls();
/// assert_eq!(calls.total(), 0);
/// ```
#[derive(Clone)]
pub struct ScriptedTransport {
    descriptor: Arc<Descriptor>,
    script: Arc<Script>,
    calls: ScriptedCalls,
}

impl ScriptedTransport {
    /// A transport of kind `webhook` with one config field `url`, which may be any text.
    pub fn new(script: impl Fn(&Target, &Message) -> ScriptedReply + Send + Sync + 'static) -> Self {
        Self {
            descriptor: Arc::new(descriptor("webhook")),
            script: Arc::new(script),
            calls: ScriptedCalls::new(DEFAULT_REMEMBERED),
        }
    }

    /// A transport that always gives the same answer.
    #[must_use]
    pub fn always(reply: ScriptedReply) -> Self {
        Self::new(move |_, _| reply.clone())
    }

    /// Sets the kind.
    #[must_use]
    pub fn kind(mut self, kind: &'static str) -> Self {
        self.descriptor = Arc::new(descriptor(kind));
        self
    }

    /// Sets how many calls are remembered, 100,000 by default; the oldest are forgotten first.
    #[must_use]
    pub fn remember(mut self, calls: usize) -> Self {
        self.calls = ScriptedCalls::new(calls);
        self
    }

    /// The handle on the calls; take it after [`remember`](Self::remember).
    #[must_use]
    pub fn calls(&self) -> ScriptedCalls {
        self.calls.clone()
    }
}

impl fmt::Debug for ScriptedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTransport").field("kind", &self.descriptor.kind).field("calls", &self.calls).finish()
    }
}

const SECRET: &str = "secret";
const PREVIOUS: &str = "previous_secret";
const PREVIOUS_UNTIL: &str = "previous_secret_invalid_at";

fn descriptor(kind: &'static str) -> Descriptor {
    let field = |key, label, required, sensitive| Field {
        key,
        kind: FieldKind::Text { minlength: None, maxlength: None, pattern: None },
        label,
        description: "",
        required,
        sensitive,
    };
    Descriptor {
        kind,
        label: "Scripted",
        description: "Answers as a test has written down.",
        icon: "<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        instructions: "",
        config_fields: vec![field("url", "URL", true, false)],
        hidden_config_fields: Vec::new(),
        credential_fields: vec![
            field(SECRET, "Secret", false, true),
            field(PREVIOUS, "Previous secret", false, true),
            field(PREVIOUS_UNTIL, "Previous secret expires", false, false),
        ],
        signing: None,
    }
}

fn secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl Transport for ScriptedTransport {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn provision(&self, credentials: &mut StringMap, entropy: &dyn Entropy) {
        credentials.entry(SECRET.to_owned()).or_insert_with(|| secret(entropy));
    }

    fn rotate(
        &self,
        credentials: &StringMap,
        rotation: Rotation,
        entropy: &dyn Entropy,
    ) -> Result<StringMap, Vec<Problem>> {
        let Some(current) = credentials.get(SECRET) else {
            return Err(vec![Problem::new("credentials.secret", "is required before it can be rotated")]);
        };
        let until = rotation.now.after(rotation.overlap).to_string();
        Ok(StringMap::from([
            (SECRET.to_owned(), secret(entropy)),
            (PREVIOUS.to_owned(), current.clone()),
            (PREVIOUS_UNTIL.to_owned(), until),
        ]))
    }

    fn prepare(&self, config: &StringMap, _: &StringMap, _: &StringMap) -> Result<Target, Vec<Problem>> {
        let url = config.get("url").ok_or_else(|| vec![Problem::new("config.url", "is required")])?;
        Ok(Target::new(url.as_str(), ()))
    }

    async fn vet(&self, _: &Target, _: &Party) -> Result<(), VetError> {
        Ok(())
    }

    async fn deliver(&self, target: &Target, message: &Message) -> Result<Receipt, DeliveryError> {
        self.calls.push(ScriptedCall { target: target.display().into(), message: message.clone(), at: Instant::now() });
        let mut reply = (self.script)(target, message);
        if reply.delay > message.timeout {
            reply = ScriptedReply::error(ErrorClass::Timeout).after(message.timeout);
        }
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        reply.result.map(|mut receipt| {
            if receipt.request == RequestRecord::default() {
                receipt.request =
                    RequestRecord { method: "POST".to_owned(), url: target.display().to_owned(), headers: Vec::new() };
            }
            receipt
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::delivery::Trigger;
    use crate::ports::transport::Verdict;
    use crate::values::id::{EventId, TenantId};
    use crate::values::time::Timestamp;

    fn message(attempt: u32) -> Message {
        Message {
            id: EventId::new("evt_1").unwrap(),
            topic: "a".into(),
            time: Timestamp::from_millis(0),
            metadata: Arc::default(),
            data: Bytes::from_static(b"{}"),
            attempt,
            trigger: Trigger::Automatic,
            now: Timestamp::from_millis(0),
            timeout: Duration::from_secs(20),
            party: Party { tenant: TenantId::new("acme").unwrap(), made_by_operator: false },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_follow_the_script_in_paused_time_and_calls_are_remembered() {
        let transport = ScriptedTransport::new(|_, message| match message.attempt {
            1 => ScriptedReply::status(503).retry_after(Duration::from_secs(9)),
            2 => ScriptedReply::error(ErrorClass::Refused),
            3 => ScriptedReply::ok().after(Duration::from_secs(21)),
            _ => ScriptedReply::ok().after(Duration::from_secs(5)).body("hi"),
        })
        .kind("queue")
        .remember(2);
        let calls = transport.calls();
        let config = StringMap::from([("url".to_owned(), "any text".to_owned())]);
        let target = transport.prepare(&config, &StringMap::new(), &StringMap::new()).unwrap();
        let start = Instant::now();

        let receipt = transport.deliver(&target, &message(1)).await.unwrap();
        assert_eq!((receipt.verdict, receipt.retry_after), (Verdict::Overloaded, Some(Duration::from_secs(9))));
        let error = transport.deliver(&target, &message(2)).await.unwrap_err().error;
        assert_eq!((error.class, error.maybe_seen), (ErrorClass::Refused, false));
        let error = transport.deliver(&target, &message(3)).await.unwrap_err().error;
        assert_eq!((error.class, error.maybe_seen), (ErrorClass::Timeout, true));
        assert_eq!(start.elapsed(), Duration::from_secs(20));
        let receipt = transport.deliver(&target, &message(4)).await.unwrap();
        assert_eq!(receipt.response.unwrap().body, "hi");
        assert_eq!(receipt.request.url, "any text");

        calls.reached(4).await;
        let attempts: Vec<u32> = calls.all().iter().map(|call| call.message.attempt).collect();
        assert_eq!((calls.total(), attempts), (4, vec![3, 4]));
        assert_eq!(transport.descriptor().kind, "queue");
    }
}
