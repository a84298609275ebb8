//! Operator events: what the library tells the operator of, as events with a payload of its own.

use bytes::Bytes;
use serde::Serialize;

use super::attempt::Attempt;
use super::delivery::Trigger;
use super::destination::Disabled;
use super::event::Event;
use super::health::HealthNews;
use super::tenant::StringMap;
use crate::values::id::{DestinationId, TenantId};
use crate::values::time::Timestamp;

/// The tenant that operator events are stored under. Its id is valid, but no host can create it.
pub const OPERATOR_TENANT: &str = "outpost:operator";
/// The one destination of that tenant.
pub const OPERATOR_DESTINATION: &str = "operator";

/// A destination has reached a threshold of failed attempts in a row.
pub const CONSECUTIVE_FAILURE: &str = "alert.destination.consecutive_failure";
/// The engine has disabled a destination.
pub const DISABLED: &str = "alert.destination.disabled";
/// A destination that had been warned about works again.
pub const RECOVERED: &str = "alert.destination.recovered";
/// A delivery has used up its retries.
pub const EXHAUSTED_RETRIES: &str = "alert.attempt.exhausted_retries";
/// An attempt succeeded.
pub const ATTEMPT_SUCCESS: &str = "attempt.success";
/// An attempt failed.
pub const ATTEMPT_FAILED: &str = "attempt.failed";
/// The topics or the number of a tenant's destinations have changed.
pub const SUBSCRIPTION_UPDATED: &str = "tenant.subscription.updated";

/// Every topic of operator events.
pub const OPERATOR_TOPICS: [&str; 7] = [
    CONSECUTIVE_FAILURE,
    DISABLED,
    RECOVERED,
    EXHAUSTED_RETRIES,
    ATTEMPT_SUCCESS,
    ATTEMPT_FAILED,
    SUBSCRIPTION_UPDATED,
];

/// What an operator event about an attempt is made from.
pub struct About<'a> {
    /// The tenant.
    pub tenant_id: &'a TenantId,
    /// The destination's id.
    pub destination_id: &'a DestinationId,
    /// The destination's kind.
    pub kind: &'a str,
    /// Its topics.
    pub topics: &'a super::topic::Topics,
    /// Its config, secret parts masked.
    pub config: &'a StringMap,
    /// When it was created.
    pub created_at: Timestamp,
    /// Since when it is disabled.
    pub disabled_at: Option<Timestamp>,
    /// The event.
    pub event: &'a Event,
    /// The attempt.
    pub attempt: &'a Attempt,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    id: &'a str,
    topic: &'a str,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment_id: Option<&'a str>,
    tenant_id: &'a TenantId,
    data: T,
}

#[derive(Serialize)]
struct AboutData<'a, T> {
    tenant_id: &'a TenantId,
    destination: DestinationData<'a>,
    event: EventData<'a>,
    attempt: AttemptData<'a>,
    #[serde(flatten)]
    more: T,
}

#[derive(Serialize)]
struct DestinationData<'a> {
    id: &'a DestinationId,
    tenant_id: &'a TenantId,
    r#type: &'a str,
    topics: &'a super::topic::Topics,
    config: &'a StringMap,
    created_at: Timestamp,
    disabled_at: Option<Timestamp>,
}

/// The payload is the tenant's own and stays out.
#[derive(Serialize)]
struct EventData<'a> {
    id: &'a str,
    tenant_id: &'a TenantId,
    topic: &'a str,
    time: Timestamp,
    eligible_for_retry: bool,
    metadata: &'a StringMap,
}

#[derive(Serialize)]
struct AttemptData<'a> {
    id: &'a str,
    tenant_id: &'a TenantId,
    event_id: &'a str,
    destination_id: &'a DestinationId,
    destination_type: &'a str,
    attempt_number: u32,
    manual: bool,
    status: &'static str,
    time: Timestamp,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Failures {
    consecutive_failures: Counts,
}

#[derive(Serialize)]
struct Counts {
    current: u32,
    max: u32,
    threshold: u8,
    since: Timestamp,
}

#[derive(Serialize)]
struct DisabledData<'a> {
    disabled_at: Timestamp,
    reason: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
}

#[derive(Serialize)]
struct RecoveredData {
    failures: u32,
    since: Timestamp,
}

#[derive(Serialize)]
struct Nothing {}

/// The id, topic and payload of an operator event.
#[derive(Debug)]
pub struct OperatorEvent {
    /// The same for the same attempt and topic, so that it is stored once however often it is made.
    pub id: String,
    /// One of [`OPERATOR_TOPICS`].
    pub topic: &'static str,
    /// The payload.
    pub data: Bytes,
}

impl About<'_> {
    /// The event that tells of `news`.
    #[must_use]
    pub fn news(&self, news: HealthNews, deployment: Option<&str>) -> OperatorEvent {
        match news {
            HealthNews::Failing { percent, failures, limit, since } => {
                let counts = Counts { current: failures, max: limit, threshold: percent, since };
                let mark = format!("failing{percent}");
                self.make(CONSECUTIVE_FAILURE, &mark, deployment, Failures { consecutive_failures: counts })
            }
            HealthNews::Exhausted => self.make(EXHAUSTED_RETRIES, "exhausted", deployment, Nothing {}),
            HealthNews::Recovered { failures, since } => {
                self.make(RECOVERED, "recovered", deployment, RecoveredData { failures, since })
            }
        }
    }

    /// The event that tells of the destination's disabling.
    #[must_use]
    pub fn disabled(&self, disabled: &Disabled, deployment: Option<&str>) -> OperatorEvent {
        let data = DisabledData {
            disabled_at: disabled.at,
            reason: disabled.by.as_str(),
            detail: &disabled.reason,
            last_error: disabled.last_error.as_deref(),
        };
        let about = About { disabled_at: Some(disabled.at), ..*self };
        about.make(DISABLED, "disabled", deployment, data)
    }

    /// The event that tells of the attempt itself.
    #[must_use]
    pub fn attempted(&self, deployment: Option<&str>) -> OperatorEvent {
        let topic = if self.attempt.outcome.success { ATTEMPT_SUCCESS } else { ATTEMPT_FAILED };
        self.make(topic, "attempt", deployment, Nothing {})
    }

    fn make(&self, topic: &'static str, mark: &str, deployment: Option<&str>, more: impl Serialize) -> OperatorEvent {
        let attempt = self.attempt;
        let data = AboutData {
            tenant_id: self.tenant_id,
            destination: DestinationData {
                id: self.destination_id,
                tenant_id: self.tenant_id,
                r#type: self.kind,
                topics: self.topics,
                config: self.config,
                created_at: self.created_at,
                disabled_at: self.disabled_at,
            },
            event: EventData {
                id: self.event.id.as_str(),
                tenant_id: self.tenant_id,
                topic: &self.event.topic,
                time: self.event.time,
                eligible_for_retry: self.event.eligible_for_retry,
                metadata: &self.event.metadata,
            },
            attempt: AttemptData {
                id: attempt.id.as_str(),
                tenant_id: self.tenant_id,
                event_id: attempt.delivery.event.as_str(),
                destination_id: self.destination_id,
                destination_type: self.kind,
                attempt_number: attempt.number,
                manual: attempt.trigger != Trigger::Automatic,
                status: if attempt.outcome.success { "success" } else { "failed" },
                time: attempt.time,
                code: &attempt.outcome.code,
                error: attempt.error.as_ref().map(|error| error.message.as_str()),
            },
            more,
        };
        // Ids of events hold no dots.
        let id = format!("op_{}_{mark}", attempt.id.as_str().replace('.', "_"));
        envelope(id, topic, attempt.time, deployment, self.tenant_id, data)
    }
}

/// What a tenant's destinations subscribe to, all in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topics, sorted; `*` alone when one subscribes to all.
    pub topics: Vec<String>,
    /// How many destinations there are.
    pub count: usize,
}

impl Subscription {
    /// What destinations with these topics subscribe to.
    pub fn of<'a>(destinations: impl Iterator<Item = &'a super::topic::Topics>) -> Self {
        let (mut topics, mut count) = (std::collections::BTreeSet::new(), 0);
        for found in destinations {
            count += 1;
            topics.extend(found.as_slice().iter().cloned());
        }
        let all = topics.contains("*");
        Self { topics: if all { vec!["*".to_owned()] } else { topics.into_iter().collect() }, count }
    }
}

#[derive(Serialize)]
struct SubscriptionData<'a> {
    tenant_id: &'a TenantId,
    topics: &'a [String],
    previous_topics: &'a [String],
    destinations_count: usize,
    previous_destinations_count: usize,
}

/// The event that tells of a changed subscription; `id` must be fresh.
#[must_use]
pub fn subscription_updated(
    id: String,
    at: Timestamp,
    tenant_id: &TenantId,
    (before, after): (&Subscription, &Subscription),
    deployment: Option<&str>,
) -> OperatorEvent {
    let data = SubscriptionData {
        tenant_id,
        topics: &after.topics,
        previous_topics: &before.topics,
        destinations_count: after.count,
        previous_destinations_count: before.count,
    };
    envelope(id, SUBSCRIPTION_UPDATED, at, deployment, tenant_id, data)
}

fn envelope(
    id: String,
    topic: &'static str,
    time: Timestamp,
    deployment_id: Option<&str>,
    tenant_id: &TenantId,
    data: impl Serialize,
) -> OperatorEvent {
    let envelope = Envelope { id: &id, topic, time, deployment_id, tenant_id, data };
    // Nothing in it can fail to be written; should it all the same, the event still says what it is about.
    let data = serde_json::to_vec(&envelope).unwrap_or_else(|_| b"{}".to_vec());
    OperatorEvent { id, topic, data: Bytes::from(data) }
}
