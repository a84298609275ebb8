//! Publishing: from a call to the durable commit.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Outpost, of_store, take};
use crate::domain::event::{Event, Fingerprint, check_data};
use crate::domain::filter::Explanation;
use crate::domain::operator::OPERATOR_TENANT;
use crate::domain::tenant::{Keys, StringMap, check_header_map};
use crate::domain::topic::check_topic;
use crate::ports::store::{IngestItem, IngestOutcome, NewDelivery, StoreResult};
use crate::runtime::directory::TenantView;
use crate::runtime::ingest::Submission;
use crate::runtime::{Phase, Shared};
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::{DestinationId, EventId, TenantId};
use crate::values::time::Timestamp;

/// The most events of one [`publish_batch`](Outpost::publish_batch).
pub const MAX_PUBLISH_BATCH: usize = 1000;
/// How often an event is matched anew because the subscriptions changed under it.
const MATCH_TRIES: u32 = 10;
const OPERATION: &str = "publish";

/// An event to be published. `Debug` shows neither the payload nor the metadata's values.
#[derive(Clone)]
pub struct NewEvent {
    topic: String,
    data: Bytes,
    id: Option<String>,
    time: Option<Timestamp>,
    metadata: StringMap,
    destination: Option<String>,
    eligible_for_retry: bool,
}

impl NewEvent {
    /// An event of `topic` with exactly these bytes as payload, which must be a JSON object.
    pub fn new(topic: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            data: data.into(),
            id: None,
            time: None,
            metadata: StringMap::new(),
            destination: None,
            eligible_for_retry: true,
        }
    }

    /// An event of `topic` whose payload is `data` written as JSON, once, now.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when `data` cannot be written as JSON.
    pub fn json(topic: impl Into<String>, data: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(data)
            .map_err(|error| Error::invalid(OPERATION, vec![Problem::new("data", format!("is not JSON: {error}"))]))?;
        Ok(Self::new(topic, bytes))
    }

    /// Sets the id, by which a repeated publish is recognised. Give one to make repeating safe.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets when it happened. Default: when it is published.
    #[must_use]
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Adds a label, sent along with the event.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Limits it to one destination, which must match and be enabled like any other.
    #[must_use]
    pub fn to(mut self, destination: impl Into<String>) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// Sets whether failed deliveries are retried by schedule. Default: they are.
    #[must_use]
    pub fn eligible_for_retry(mut self, eligible: bool) -> Self {
        self.eligible_for_retry = eligible;
        self
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, data, id, time, metadata, destination, eligible_for_retry } = self;
        f.debug_struct("NewEvent")
            .field("topic", topic)
            .field("data", &format_args!("{} bytes", data.len()))
            .field("id", id)
            .field("time", time)
            .field("metadata", &Keys(metadata))
            .field("destination", destination)
            .field("eligible_for_retry", eligible_for_retry)
            .finish()
    }
}

/// What became of a published event. It is durable and visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The event's id.
    pub id: EventId,
    /// The same event was published before; nothing was stored now.
    pub duplicate: bool,
    /// The enabled destinations that it matched, when it was first published.
    pub matched: Arc<[DestinationId]>,
}

/// An event that has passed every check.
struct Checked {
    tenant: TenantId,
    id: EventId,
    topic: Arc<str>,
    time: Option<Timestamp>,
    metadata: Arc<StringMap>,
    data: Bytes,
    destination: Option<DestinationId>,
    eligible_for_retry: bool,
    fingerprint: Fingerprint,
    now: Timestamp,
}

impl Outpost {
    /// Publishes an event to a tenant's destinations.
    ///
    /// It returns when the event and its deliveries are stored durably; sending starts at once. An event
    /// that matches nothing is stored as well. Dropping the future before the event is queued for storing
    /// does nothing; after that it is stored all the same.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) listing every problem with the input;
    /// [`NotFound`](ErrorKind::NotFound) for the tenant; [`Conflict`](ErrorKind::Conflict) when the id belongs
    /// to a different event; [`NotStored`](ErrorKind::NotStored) and
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing was stored; [`Unknown`](ErrorKind::Unknown) when
    /// that is not known: repeat with the same id; [`ShuttingDown`](ErrorKind::ShuttingDown);
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator.
    pub async fn publish(&self, tenant: &str, event: NewEvent) -> Result<Published> {
        self.actor.operator_only(OPERATION)?;
        let shared = self.shared();
        let checked = check(shared, tenant, event)?;
        publish_one(shared, &checked).await
    }

    /// Publishes many events to a tenant's destinations in as few commits as possible, at most
    /// [`MAX_PUBLISH_BATCH`]. Each is answered for itself, as by [`publish`](Self::publish), in order; a
    /// repeat within the batch is a duplicate.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when there are too many events. The events' own errors are inside.
    pub async fn publish_batch(&self, tenant: &str, events: Vec<NewEvent>) -> Result<Vec<Result<Published>>> {
        self.actor.operator_only(OPERATION)?;
        if events.len() > MAX_PUBLISH_BATCH {
            let problem = Problem::new("events", format!("must be at most {MAX_PUBLISH_BATCH}"));
            return Err(Error::invalid(OPERATION, vec![problem]));
        }
        let shared = self.shared();
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            let first = match check(shared, tenant, event) {
                Ok(checked) => submit(shared, &checked).await.map(|pending| (checked, pending)),
                Err(error) => Err(error),
            };
            sent.push(first);
        }
        let mut answers = Vec::with_capacity(sent.len());
        for first in sent {
            answers.push(match first {
                Ok((checked, pending)) => match settle(&checked, pending).await {
                    Ok(Some(published)) => Ok(published),
                    Ok(None) => {
                        shared.directory.forget_tenant(&checked.tenant);
                        publish_one(shared, &checked).await
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            });
        }
        Ok(answers)
    }
}

/// Every check that needs no store, all problems at once.
fn check(shared: &Shared, tenant: &str, event: NewEvent) -> Result<Checked> {
    let settings = &shared.settings;
    let now = shared.now();
    let mut problems = Vec::new();
    let tenant = take(TenantId::new(tenant), &mut problems);
    if tenant.as_ref().is_some_and(|id| id.as_str() == OPERATOR_TENANT) {
        problems.push(Problem::new("tenant_id", "is reserved for operator events"));
    }
    let id = match &event.id {
        Some(id) => take(EventId::new(id), &mut problems),
        None => take(EventId::new(shared.new_id(&settings.prefixes.event, now)), &mut problems),
    };
    take(check_topic(&event.topic), &mut problems);
    if settings.topics.as_ref().is_some_and(|topics| !event.topic.is_empty() && !topics.contains(&event.topic)) {
        problems.push(Problem::new("topic", "is not one of the topics that are published here"));
    }
    take(check_data(&event.data, settings.max_data), &mut problems);
    check_header_map("metadata", &event.metadata, &mut problems);
    let destination = event.destination.as_ref().and_then(|id| take(DestinationId::new(id), &mut problems));
    let (Some(tenant), Some(id), true) = (tenant, id, problems.is_empty()) else {
        return Err(Error::invalid(OPERATION, problems));
    };
    let fingerprint = Fingerprint::of(
        &event.topic,
        &event.data,
        &event.metadata,
        destination.as_ref(),
        event.eligible_for_retry,
        event.time,
    );
    Ok(Checked {
        tenant,
        id,
        topic: Arc::from(event.topic),
        time: event.time,
        metadata: Arc::new(event.metadata),
        data: event.data,
        destination,
        eligible_for_retry: event.eligible_for_retry,
        fingerprint,
        now,
    })
}

async fn publish_one(shared: &Shared, checked: &Checked) -> Result<Published> {
    for _ in 0..MATCH_TRIES {
        let pending = submit(shared, checked).await?;
        if let Some(published) = settle(checked, pending).await? {
            return Ok(published);
        }
        // The subscriptions changed between matching and storing, here or in another process.
        shared.directory.forget_tenant(&checked.tenant);
    }
    Err(Error::new(ErrorKind::NotStored, OPERATION, "the tenant's destinations are changing all the time; repeat it"))
}

/// An event that is being stored.
struct Pending {
    reply: oneshot::Receiver<StoreResult<IngestOutcome>>,
    matched: Arc<[DestinationId]>,
}

/// Matches an event and queues it for storing.
async fn submit(shared: &Shared, checked: &Checked) -> Result<Pending> {
    let closed = || Error::new(ErrorKind::ShuttingDown, OPERATION, "the engine is shutting down; nothing was stored");
    if shared.phase() != Phase::Running {
        return Err(closed());
    }
    let view = shared.tenant_view(&checked.tenant).await.map_err(|error| of_store(OPERATION, error))?;
    let view = view.ok_or_else(|| Error::new(ErrorKind::NotFound, OPERATION, "tenant not found"))?;
    let (reply, answer) = oneshot::channel();
    let submission = build(checked, &view, reply);
    let matched = submission.item.event.matched.clone();
    shared.publishing.send(submission).await.map_err(|_| closed())?;
    Ok(Pending { reply: answer, matched })
}

fn build(checked: &Checked, view: &TenantView, reply: oneshot::Sender<StoreResult<IngestOutcome>>) -> Submission {
    let mut event = event_of(checked, view);
    let mut deliveries = Vec::new();
    let mut places = Vec::new();
    let mut matched = Vec::new();
    for place in &view.places {
        let record = &place.record;
        let named = checked.destination.as_ref().is_none_or(|wanted| *wanted == record.id);
        if !named || !place.wants(&event) {
            continue;
        }
        let skipped = record.disabled.is_some();
        if !skipped {
            matched.push(record.id.clone());
        }
        deliveries.push(NewDelivery { destination: record.incarnation, epoch: record.epoch, skipped, hand_off: false });
        places.push(place.clone());
    }
    event.matched = Arc::from(matched);
    let item = IngestItem { event: Arc::new(event), subscriptions: view.tenant.subscriptions, deliveries };
    Submission { tenant: checked.tenant.clone(), item, places, reply }
}

/// The event as it is stored, before it is matched.
fn event_of(checked: &Checked, view: &TenantView) -> Event {
    Event {
        id: checked.id.clone(),
        tenant: view.tenant.incarnation,
        topic: checked.topic.clone(),
        time: checked.time.unwrap_or(checked.now),
        created_at: checked.now,
        metadata: checked.metadata.clone(),
        data: checked.data.clone(),
        eligible_for_retry: checked.eligible_for_retry,
        destination_id: checked.destination.clone(),
        matched: Arc::from([]),
        fingerprint: checked.fingerprint,
    }
}

/// What would become of an event at one destination, were it published now.
#[derive(Clone, Debug, PartialEq)]
pub struct WouldReceive {
    /// The destination.
    pub destination: DestinationId,
    /// What would become of it.
    pub verdict: MatchVerdict,
    /// What the filter says, where there is one and the topic is wanted.
    pub filter: Option<Explanation>,
}

/// Why an event would or would not be sent to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchVerdict {
    /// It would be sent.
    Receives,
    /// It matches, but the destination is disabled: it would be kept as skipped.
    Disabled,
    /// The event names another destination.
    NotNamed,
    /// The destination does not want the topic.
    Topic,
    /// The destination's filter does not hold.
    Filter,
}

impl Outpost {
    /// Tells what would become of an event at each of a tenant's destinations, were it published now. Nothing
    /// is stored or sent.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) as [`publish`](Self::publish); [`NotFound`](ErrorKind::NotFound) for the
    /// tenant; [`Forbidden`](ErrorKind::Forbidden) without [`Capability::Read`](crate::Capability::Read); the
    /// store's failures.
    pub async fn would_receive(&self, tenant: &str, event: NewEvent) -> Result<Vec<WouldReceive>> {
        const OPERATION: &str = "match event";
        self.admit(OPERATION, tenant, crate::domain::actor::Capability::Read).await?;
        let shared = self.shared();
        let checked = check(shared, tenant, event)?;
        // Publishing notices when it is behind another process; here nothing would.
        shared.directory.forget_tenant(&checked.tenant);
        let view = shared.tenant_view(&checked.tenant).await.map_err(|error| of_store(OPERATION, error))?;
        let view = view.ok_or_else(|| Error::new(ErrorKind::NotFound, OPERATION, "tenant not found"))?;
        let event = event_of(&checked, &view);
        let told = |place: &Arc<crate::runtime::directory::Place>| {
            let record = &place.record;
            let wanted = record.topics.matches(&event.topic);
            let filter = place.filter.as_ref().filter(|_| wanted).map(|filter| filter.explain(&(&event).into()));
            let verdict = if checked.destination.as_ref().is_some_and(|named| *named != record.id) {
                MatchVerdict::NotNamed
            } else if !wanted {
                MatchVerdict::Topic
            } else if !place.wants(&event) {
                MatchVerdict::Filter
            } else if record.disabled.is_some() {
                MatchVerdict::Disabled
            } else {
                MatchVerdict::Receives
            };
            WouldReceive { destination: record.id.clone(), verdict, filter }
        };
        Ok(view.places.iter().map(told).collect())
    }
}

/// Waits for the store's answer and says what it means; `None`: match again.
async fn settle(checked: &Checked, pending: Pending) -> Result<Option<Published>> {
    let unknown = |_| {
        let message = "the engine stopped while it was being stored; repeat it with the same id, which is safe";
        Error::new(ErrorKind::Unknown, OPERATION, message)
    };
    let outcome = pending.reply.await.map_err(unknown)?.map_err(|error| of_store(OPERATION, error))?;
    let published = |duplicate, matched| Published { id: checked.id.clone(), duplicate, matched };
    match outcome {
        IngestOutcome::Stored { .. } => Ok(Some(published(false, pending.matched))),
        IngestOutcome::Duplicate { matched } => Ok(Some(published(true, matched))),
        IngestOutcome::Conflict => {
            let message = format!("the id {} belongs to a different event; nothing was stored", checked.id);
            Err(Error::new(ErrorKind::Conflict, OPERATION, message))
        }
        IngestOutcome::OverQuota { usage } => {
            let message = format!(
                "the tenant has its most: {} open deliveries and {} bytes are stored; nothing was stored",
                usage.open, usage.bytes
            );
            Err(Error::new(ErrorKind::LimitReached, OPERATION, message))
        }
        IngestOutcome::Outdated => Ok(None),
    }
}
