//! Test events: sent to one destination at once, for somebody who waits for the answer.

use bytes::Bytes;

use super::{Destinations, take};
use crate::domain::actor::{Actor, Capability};
use crate::domain::attempt::Attempt;
use crate::domain::delivery::{DeliveryKey, DeliveryState, Trigger};
use crate::domain::event::{Event, Fingerprint, check_data};
use crate::domain::health::HealthPolicy;
use crate::domain::tenant::{StringMap, check_header_map};
use crate::domain::topic::check_topic;
use crate::engine::outcome::conclude;
use crate::engine::pace::Pace;
use crate::ports::clock::random_u64;
use crate::ports::store::ClaimedDelivery;
use crate::runtime::Phase;
use crate::runtime::send::exchange;
use crate::values::error::{Error, ErrorKind, Result};
use crate::values::id::{AttemptId, EventId};

/// A test event, for [`Destinations::test`]. The default one is fine for "does this endpoint answer?"; give topic
/// and data for "does it understand this?".
#[derive(Clone, Debug)]
pub struct TestEvent {
    /// Its topic. Default: `test`. It need not be one of the topics that are published.
    pub topic: String,
    /// Its payload, a JSON object as [`publish`](crate::Outpost::publish) takes it. Default:
    /// `{"message":"This is a test event.","test":true}`.
    pub data: Bytes,
    /// Its metadata, sent along as with every event. Default: none.
    pub metadata: StringMap,
}

impl Default for TestEvent {
    fn default() -> Self {
        let data = Bytes::from_static(br#"{"message":"This is a test event.","test":true}"#);
        Self { topic: "test".to_owned(), data, metadata: StringMap::new() }
    }
}

impl Destinations<'_> {
    /// Sends a test event to a destination, enabled or not, and answers the whole exchange once it has ended, after
    /// the destination's timeout at the latest. It is sent as every event would be, signature and guard included,
    /// whatever the destination's topics, filter, holds and rate limit. It is not stored, not retried, and counts
    /// neither into the destination's health nor into metrics. A process sends 32 at once; further ones wait.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad topic, payload or metadata; [`NotFound`](ErrorKind::NotFound) for
    /// tenant or destination; [`RateLimited`](ErrorKind::RateLimited) and [`Forbidden`](ErrorKind::Forbidden)
    /// without [`Capability::Write`] for a tenant's user; [`ShuttingDown`](ErrorKind::ShuttingDown); the store's
    /// failures. That the receiver does not accept it is no error, but an attempt that failed.
    pub async fn test(&self, tenant: &str, id: &str, event: TestEvent) -> Result<Attempt> {
        const OPERATION: &str = "test destination";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Write).await?;
        let shared = self.0.shared();
        let mut problems = Vec::new();
        take(check_topic(&event.topic), &mut problems);
        take(check_data(&event.data, shared.settings.max_data), &mut problems);
        check_header_map("metadata", &event.metadata, &mut problems);
        let now = shared.now();
        let event_id = take(EventId::new(shared.new_id("test_", now)), &mut problems);
        let attempt_id = take(AttemptId::new(shared.new_id(&shared.settings.prefixes.attempt, now)), &mut problems);
        let (Some(event_id), Some(attempt_id), true) = (event_id, attempt_id, problems.is_empty()) else {
            return Err(Error::invalid(OPERATION, problems));
        };
        let record = self.record(OPERATION, &tenant, id).await?;
        if let Actor::Tenant { incarnation, .. } = &*self.0.actor {
            self.0.limit(OPERATION, *incarnation, shared.settings.tenant_limits.tests)?;
        }
        let closed = || Error::new(ErrorKind::ShuttingDown, OPERATION, "the engine is shutting down");
        let _permit = shared.tests.acquire().await.map_err(|_| closed())?;
        if shared.phase() != Phase::Running {
            return Err(closed());
        }
        // Read anew, so that what was just saved is what is tried.
        let place = shared.new_place(record);
        let fingerprint = Fingerprint::of(&event.topic, &event.data, &event.metadata, None, false, None);
        let event = Event {
            id: event_id.clone(),
            tenant: tenant.incarnation,
            topic: event.topic.into(),
            time: now,
            created_at: now,
            metadata: event.metadata.into(),
            data: event.data,
            eligible_for_retry: false,
            destination_id: None,
            matched: [].into(),
            fingerprint,
        };
        let delivery = ClaimedDelivery {
            key: DeliveryKey { destination: place.record.incarnation, event: event_id },
            event: event.into(),
            trigger: Trigger::Test,
            state: DeliveryState::Pending,
            attempts: 0,
            automatic_attempts: 0,
            scheduled_at: None,
            destination_revision: place.record.revision,
        };
        let (timing, result) = exchange(shared, &place, &delivery).await;
        let policy = (&shared.settings.retry, HealthPolicy::default());
        // Its pace is its own: an overloaded answer to a test holds nothing.
        let (mut pace, random) = (Pace::new(1), random_u64(&*shared.entropy));
        let conclusion = conclude(&delivery, attempt_id, timing, result, policy, &mut pace, random);
        let mut attempt = std::sync::Arc::unwrap_or_clone(conclusion.attempt);
        self.0.deliveries().hide_detail(&mut attempt);
        Ok(attempt)
    }
}
