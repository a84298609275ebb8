//! What the library asks of storage: few operations, each atomic and batched.
//!
//! No method reads a clock; `now` comes in the request. Everything a store decides about deliveries and
//! lanes it decides by calling the functions of [`DeliveryRecord`](crate::DeliveryRecord), [`LaneRecord`] and
//! [`DestinationRecord`], so that all stores behave alike; the conformance suite (feature `conformance`)
//! holds them to it.
//!
//! A future that is dropped must not leave an operation half done: it happens as a whole or not at all.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::attempt::Attempt;
use crate::domain::delivery::{Delivery, DeliveryKey, DeliveryState, Trigger};
use crate::domain::destination::Disabled;
use crate::domain::event::Event;
use crate::domain::health::{Judge, Judgement};
use crate::domain::rollup::{Level, RollupKey, Tally};
use crate::domain::settings::DeliverySettings;
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneChange, LaneRecord, Lease, LeaseToken, RequestRefusal};
use crate::values::id::{AttemptId, DestinationId, EventId, Incarnation, TenantId};
use crate::values::page::{Direction, Position};
use crate::values::time::Timestamp;

/// What went wrong in a store, which decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Somebody else holds the store for longer than we wait; nothing was written.
    Busy,
    /// The store cannot be reached; nothing was written.
    Unavailable,
    /// There is no room; nothing was written.
    Full,
    /// The store may not be written to.
    ReadOnly,
    /// The stored data is damaged.
    Corrupt,
    /// The store was made by another version or is not ours.
    Incompatible,
    /// The commit may or may not have happened.
    Unknown,
    /// A defect.
    Internal,
}

/// An error of a store.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct StoreError {
    /// What kind of failure.
    pub kind: StoreErrorKind,
    /// What was being done and what the engine below says. Holds no secret and no payload.
    pub context: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error of `kind`.
    #[must_use]
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }
}

/// The result of a store's operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// What a commit of the store survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Memory,
    /// The end of the process, but the last commits may be lost with the power.
    Process,
    /// Loss of power.
    Power,
}

/// What a store is and promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreProfile {
    /// Its name, such as `sqlite`.
    pub name: &'static str,
    /// What a commit survives.
    pub durability: Durability,
}

/// What must be true of the stored thing for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none: it is created.
    Absent,
    /// It exists at this revision.
    Revision(i64),
    /// It exists at whatever revision. For a small record: whether it exists or not.
    Any,
}

/// A small typed record beside tenants and destinations: jobs, format marks, used-up tokens. `Debug` shows only
/// the value's length.
#[derive(Clone, PartialEq, Eq)]
pub struct SmallRecord {
    /// The name of the kind, at most 32 bytes of ASCII.
    pub kind: String,
    /// The key within the kind, at most 512 bytes.
    pub key: String,
    /// At most 64 KiB.
    pub value: Bytes,
    /// From then on the record counts as absent.
    pub expires_at: Option<Timestamp>,
    /// Rises by one with every write; kept by the store.
    pub revision: i64,
}

impl fmt::Debug for SmallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value, expires_at, revision } = self;
        f.debug_struct("SmallRecord")
            .field("kind", kind)
            .field("key", key)
            .field("value", &format_args!("{} bytes", value.len()))
            .field("expires_at", expires_at)
            .field("revision", revision)
            .finish()
    }
}

/// One write of [`Store::apply`].
#[derive(Clone, Debug)]
pub enum Write {
    /// Creates or changes a tenant. Its `revision`, from 1, and `subscriptions`, from 0, are kept by the store. With
    /// [`Expect::Absent`] no live tenant may have the id; else the live tenant must have this incarnation.
    PutTenant {
        /// The tenant as it shall be.
        tenant: Tenant,
        /// The precondition.
        expect: Expect,
    },
    /// Deletes a live tenant and its destinations, and raises both its numbers.
    DeleteTenant {
        /// Which.
        tenant: Incarnation,
        /// When.
        at: Timestamp,
    },
    /// Creates or changes a destination of a live tenant and raises the tenant's `subscriptions`. Its
    /// `revision` is kept by the store. With [`Expect::Absent`] no live destination of the tenant may have
    /// the id; else it must be live.
    PutDestination {
        /// The destination as it shall be.
        destination: Box<DestinationRecord>,
        /// The precondition.
        expect: Expect,
        /// When creating: the most live destinations the tenant may have, this one included.
        limit: Option<u32>,
    },
    /// Deletes a live destination and raises the tenant's `subscriptions`.
    DeleteDestination {
        /// Which.
        destination: Incarnation,
        /// When.
        at: Timestamp,
    },
    /// Creates or changes a small record.
    PutRecord {
        /// The record as it shall be.
        record: SmallRecord,
        /// The precondition.
        expect: Expect,
    },
    /// Deletes a small record; no error when there is none.
    DeleteRecord {
        /// The kind.
        kind: String,
        /// The key.
        key: String,
    },
    /// Asks for an attempt: [`DeliveryRecord::request`](crate::DeliveryRecord::request).
    RequestAttempt {
        /// Of which delivery.
        key: DeliveryKey,
        /// Why.
        trigger: Trigger,
    },
    /// Asks for attempts at many deliveries of one destination: part of a replay. Answers for how many.
    Replay {
        /// Which destination; refused as [`Stale`](Refusal::Stale) at another revision, and as
        /// [`DestinationDisabled`](RequestRefusal::DestinationDisabled) when it is not enabled.
        destination: Incarnation,
        /// The destination's revision that `create` was matched against.
        revision: i64,
        /// Of events with a delivery: [`DeliveryRecord::request`](crate::DeliveryRecord::request) with
        /// [`Trigger::Replay`]. Those that do not exist or do not allow it are passed over.
        request: Vec<EventId>,
        /// Of events without a delivery:
        /// [`DeliveryRecord::replayed`](crate::DeliveryRecord::replayed). Those that are not stored, or have
        /// one by now, are passed over.
        create: Vec<EventId>,
    },
    /// Cancels a delivery: [`DeliveryRecord::cancel`](crate::DeliveryRecord::cancel).
    CancelDelivery {
        /// Which.
        key: DeliveryKey,
    },
}

/// A request of [`Store::apply`].
#[derive(Clone, Debug)]
pub struct Apply {
    /// The time of the writes.
    pub now: Timestamp,
    /// All of them happen, in this order, or none. The first one that is refused is told; when a new
    /// destination's id is taken and the limit is reached as well, it is the id.
    pub writes: Vec<Write>,
    /// Events stored in the same commit, after the writes: their `subscriptions` must be those that the
    /// writes leave behind.
    pub follow_ups: Vec<IngestItem>,
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is one already.
    Exists,
    /// There is none, or it is deleted.
    Missing,
    /// It is at another revision.
    Stale {
        /// The revision it is at.
        found: i64,
    },
    /// The limit is reached.
    LimitReached {
        /// The limit.
        limit: u32,
    },
    /// The delivery does not allow it.
    Delivery(RequestRefusal),
}

/// What came of [`Store::apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// All writes happened. Holds each one's new revision, 0 where there is none; for a replay, of how
    /// many deliveries an attempt was requested.
    Done(Vec<i64>),
    /// Nothing happened.
    Refused {
        /// The write that was refused.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
    /// Nothing happened: a follow-up event was matched against subscriptions that have changed.
    Outdated,
}

/// What [`Store::fetch`] looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The live tenant with this id.
    Tenant(TenantId),
    /// A tenant by incarnation, deleted or not.
    TenantLife(Incarnation),
    /// The tenant's live destination with this id.
    Destination(Incarnation, DestinationId),
    /// A destination by incarnation, deleted or not.
    DestinationLife(Incarnation),
    /// Every live destination of a tenant, ordered by (created, id).
    DestinationsOf(Incarnation),
    /// A tenant's event.
    Event(Incarnation, EventId),
    /// Every tenant's event with this id, deleted tenants included, at most 100, ordered by tenant.
    EventEverywhere(EventId),
    /// A delivery.
    Delivery(DeliveryKey),
    /// Every delivery of a tenant's event, ordered by destination.
    DeliveriesOf(Incarnation, EventId),
    /// An attempt.
    Attempt(AttemptId),
    /// Every attempt at a delivery, by number, at most 1000.
    AttemptsOf(DeliveryKey),
    /// A small record that has not expired.
    Record(String, String),
    /// The small records of a kind whose key starts with this text, by key, at most 1000.
    Records(String, String),
    /// What a tenant has stored.
    Usage(Incarnation),
    /// A destination's lane.
    Lane(Incarnation),
}

/// A request of [`Store::fetch`].
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The time, for records that expire.
    pub now: Timestamp,
    /// What to look up.
    pub keys: Vec<Key>,
}

/// One row that a store returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A tenant.
    Tenant(Tenant),
    /// A destination.
    Destination(Box<DestinationRecord>),
    /// An event with its data.
    Event(Arc<Event>),
    /// A delivery as it is shown: [`DeliveryRecord::shown`](crate::DeliveryRecord::shown).
    Delivery(Box<Delivery>),
    /// An attempt.
    Attempt(Box<Attempt>),
    /// A small record.
    Record(SmallRecord),
    /// A lane.
    Lane(LaneRecord),
    /// What a tenant has stored.
    Usage(Usage),
}

/// What a tenant has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many events.
    pub events: u64,
    /// How many bytes of payloads, and of answers' bodies that were kept.
    pub bytes: u64,
    /// How many open deliveries: the sum of its lanes' [`open`](LaneRecord::open).
    pub open: u64,
}

/// How much a tenant may have stored for a further event to be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Open deliveries, those of the further event included.
    pub open: Option<u64>,
    /// [`Usage::bytes`], the further event's payload included.
    pub bytes: Option<u64>,
}

impl Quota {
    /// Whether an event with `bytes` of payload and `open` new open deliveries is too much.
    #[must_use]
    pub fn is_exceeded(&self, usage: Usage, bytes: u64, open: u64) -> bool {
        let over = |quota: Option<u64>, sum: u64| quota.is_some_and(|most| sum > most);
        (open > 0 && over(self.open, usage.open.saturating_add(open)))
            || over(self.bytes, usage.bytes.saturating_add(bytes))
    }
}

/// The lists of [`Store::scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// Live tenants by (created, id, incarnation).
    Tenants,
    /// Live destinations by (created, id, incarnation).
    Destinations,
    /// Events by (time, id, tenant), those of deleted tenants included.
    Events,
    /// Deliveries by (created, event id, destination).
    Deliveries,
    /// Attempts by (time, id, tenant).
    Attempts,
}

/// Which rows of a list are wanted. An empty list of values means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Of this tenant only.
    pub tenant: Option<Incarnation>,
    /// Destinations: these. Events: those with a delivery to one of these. Deliveries and attempts: to
    /// one of these.
    pub destinations: Vec<Incarnation>,
    /// Events with these ids, and their deliveries and attempts.
    pub events: Vec<EventId>,
    /// Of one of these topics, literally.
    pub topics: Vec<String>,
    /// Deliveries that are shown in one of these states.
    pub states: Vec<DeliveryState>,
    /// Attempts that succeeded, or did not.
    pub success: Option<bool>,
    /// At or after this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// A request of [`Store::scan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Which list.
    pub list: List,
    /// Which rows of it.
    pub filter: Filter,
    /// Which end first.
    pub direction: Direction,
    /// Only rows after this position, in the direction.
    pub after: Option<Position>,
    /// At most this many rows.
    pub limit: u32,
    /// At most about this many rows are examined, matching or not; at least 1.
    pub examine: u32,
}

/// One page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where to go on. `None`: nothing that matches follows. Otherwise either a row that matches follows,
    /// or the bound on rows examined was reached.
    pub resume: Option<Position>,
}

/// One delivery of an event to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// To which destination.
    pub destination: Incarnation,
    /// The destination's epoch.
    pub epoch: i64,
    /// The destination is disabled: the delivery is stored as skipped.
    pub skipped: bool,
    /// Hand it out leased to the caller, if its lane allows.
    pub hand_off: bool,
}

/// One event to be stored with its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestItem {
    /// The event.
    pub event: Arc<Event>,
    /// The tenant's `subscriptions` that the deliveries were matched against.
    pub subscriptions: i64,
    /// The deliveries.
    pub deliveries: Vec<NewDelivery>,
}

impl IngestItem {
    /// How many of its deliveries are open from the start.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.deliveries.iter().filter(|delivery| !delivery.skipped).count() as u64
    }

    /// The enabled destinations among its deliveries, which its rollups count.
    pub fn matched(&self) -> impl Iterator<Item = Incarnation> + Clone {
        self.deliveries.iter().filter(|delivery| !delivery.skipped).map(|delivery| delivery.destination)
    }
}

/// A request of [`Store::ingest`].
#[derive(Clone, Debug)]
pub struct Ingest {
    /// The time of storing.
    pub now: Timestamp,
    /// The lease for deliveries that are handed out.
    pub lease: Lease,
    /// What each tenant may have stored; follow-up events are stored regardless.
    pub quota: Quota,
    /// Each is stored as a whole or not at all, independently of the others.
    pub items: Vec<IngestItem>,
}

/// What came of one item of [`Store::ingest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngestOutcome {
    /// It is stored. For each delivery, whether it is leased to the caller.
    Stored {
        /// In the order of the item's deliveries.
        leased: Vec<bool>,
    },
    /// The same event is stored already; nothing was written.
    Duplicate {
        /// What the first one matched.
        matched: Arc<[DestinationId]>,
    },
    /// Another event has the id; nothing was written.
    Conflict,
    /// The tenant is gone or its subscriptions have changed; nothing was written.
    Outdated,
    /// The tenant would have more than the quota; nothing was written. Told only of what is current and new.
    OverQuota {
        /// What the tenant has, items stored before in the same batch included.
        usage: Usage,
    },
}

/// A request of [`Store::claim`].
#[derive(Clone, Debug)]
pub struct Claim {
    /// The time.
    pub now: Timestamp,
    /// The lease for what is claimed.
    pub lease: Lease,
    /// At most this many deliveries in all.
    pub limit: u32,
    /// Lanes to be visited first, each with how many deliveries to take at most.
    pub lanes: Vec<(Incarnation, u32)>,
    /// Then visit lanes whose [`LaneRecord::ready_at`] has come, in that order, and take at most this many
    /// from each; 0 to visit none.
    pub discover: u32,
    /// Lanes that have no room: discovery passes over them and lets them rest.
    pub saturated: Vec<Incarnation>,
    /// Lanes from which nothing but urgent deliveries is taken. What is due besides counts as left behind.
    pub urgent_only: Vec<Incarnation>,
    /// How long a lane rests that was left with due work behind it.
    pub rest: std::time::Duration,
}

/// A delivery that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Which.
    pub key: DeliveryKey,
    /// The event.
    pub event: Arc<Event>,
    /// Why an attempt is to be made.
    pub trigger: Trigger,
    /// Its state.
    pub state: DeliveryState,
    /// Attempts made so far.
    pub attempts: u32,
    /// Automatic attempts made so far.
    pub automatic_attempts: u32,
    /// When the automatic attempt is scheduled.
    pub scheduled_at: Option<Timestamp>,
    /// The destination's revision.
    pub destination_revision: i64,
}

/// A lane that a claim visited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitedLane {
    /// The lane after the claim.
    pub lane: LaneRecord,
    /// There is due work left in it that may be claimed.
    pub more: bool,
    /// The destination's own settings.
    pub settings: Arc<DeliverySettings>,
}

/// What came of [`Store::claim`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The deliveries, leased to the caller. Within a lane urgent ones first, then oldest due first, then
    /// in the order they were stored.
    pub deliveries: Vec<ClaimedDelivery>,
    /// The lanes that were visited and not saturated.
    pub lanes: Vec<VisitedLane>,
    /// The earliest [`LaneRecord::ready_at`] of all lanes after this claim; it may have come already.
    pub next: Option<Timestamp>,
}

/// What the holder of a delivery did with it.
#[derive(Clone, Debug)]
pub enum SettleAction {
    /// An attempt was made: [`DeliveryRecord::attempted`](crate::DeliveryRecord::attempted).
    Attempted {
        /// The attempt, shared so that a batch can be repeated without copying it.
        attempt: Arc<Attempt>,
        /// When the next automatic attempt is due.
        next: Option<Timestamp>,
    },
    /// It was not tried: [`DeliveryRecord::released`](crate::DeliveryRecord::released).
    Released,
    /// It is kept for longer: [`DeliveryRecord::extended`](crate::DeliveryRecord::extended).
    Extended {
        /// The new end of the lease.
        until: Timestamp,
    },
    /// It cannot be sent any more: [`DeliveryRecord::retire`](crate::DeliveryRecord::retire).
    Retired {
        /// What it becomes.
        state: DeliveryState,
    },
}

/// Makes the events that tell of a destination's health, once the commit has found out about it. Must be
/// quick and pure: a store calls it inside its transaction, possibly more than once.
pub trait Alerts: std::fmt::Debug + Send + Sync {
    /// The events to be stored in the same commit, before the destination is disabled: their
    /// `subscriptions` are those before it.
    fn events(&self, judgement: &Judgement) -> Vec<IngestItem>;
}

/// One item of [`Store::settle`].
#[derive(Clone, Debug)]
pub struct SettleItem {
    /// Which delivery.
    pub key: DeliveryKey,
    /// The lease it is held under.
    pub token: LeaseToken,
    /// What was done.
    pub action: SettleAction,
    /// What it does to the lane.
    pub lane: Option<LaneChange>,
    /// Disable the destination, unless it is disabled or deleted already, and raise the tenant's
    /// `subscriptions`.
    pub disable: Option<Disabled>,
    /// How an attempt counts into the lane's health, by [`LaneRecord::judge`]; what that disables is
    /// disabled as by `disable`, which comes first. `None`: it does not count.
    pub judge: Option<Judge>,
    /// Tells of what was judged: more events for the same commit, under the same conditions as
    /// `follow_ups`.
    pub alerts: Option<Arc<dyn Alerts>>,
    /// Events stored in the same commit, before the disabling: their `subscriptions` are those before it.
    pub follow_ups: Vec<IngestItem>,
}

/// A request of [`Store::settle`].
#[derive(Clone, Debug)]
pub struct Settle {
    /// The time.
    pub now: Timestamp,
    /// Each happens as a whole or not at all, in this order.
    pub items: Vec<SettleItem>,
}

/// What came of one item of [`Store::settle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It is written.
    Done {
        /// Where the delivery stands now, as written.
        state: DeliveryState,
        /// When it is due next.
        due: Option<Timestamp>,
        /// What was found out about the destination's health. `disabled` is what this item disabled it for,
        /// by whichever way; `None` when it was disabled already.
        judgement: Judgement,
    },
    /// The caller holds the delivery no longer; nothing was written.
    Stale,
    /// A follow-up event was matched against subscriptions that have changed; nothing was written.
    Outdated,
}

/// A request of [`Store::sweep`].
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The time.
    pub now: Timestamp,
    /// At most this many rows are changed.
    pub limit: u32,
    /// Rollups of each level, in the order of [`Level::ALL`], are deleted when they start before this.
    pub rollups_before: [Timestamp; 3],
}

/// A request of [`Store::prune`].
#[derive(Clone, Debug)]
pub struct Prune {
    /// The time.
    pub now: Timestamp,
    /// Of this tenant only, live or deleted.
    pub tenant: Option<Incarnation>,
    /// Only events that were stored before this and whose deliveries all ended before this, later attempts
    /// at them included. An event with a delivery that is open as it is written, leased, or has a requested
    /// attempt stays, whatever its age.
    pub before: Timestamp,
    /// Where the last call stopped; `None` to begin.
    pub resume: Option<Bytes>,
    /// At most this many events are deleted.
    pub limit: u32,
    /// At most about this many events are examined.
    pub examine: u32,
}

/// What came of [`Store::prune`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many events were deleted, with their deliveries and attempts.
    pub events: u64,
    /// How many attempts.
    pub attempts: u64,
    /// How many bytes of payloads and bodies, as [`Usage::bytes`] counts them.
    pub bytes: u64,
    /// How many events were examined and kept.
    pub kept: u64,
    /// Where to go on; `None`: the end was reached.
    pub resume: Option<Bytes>,
}

/// A request of [`Store::rollups`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollups {
    /// Of which level.
    pub level: Level,
    /// Of events if true, else of attempts.
    pub events: bool,
    /// Of this tenant only.
    pub tenant: Option<Incarnation>,
    /// Starting at or after this.
    pub from: Timestamp,
    /// Starting before this.
    pub until: Timestamp,
    /// At most this many rows, at least 1.
    pub limit: u32,
}

/// What came of [`Store::rollups`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollupRows {
    /// The rows, ordered by their start.
    pub rows: Vec<(RollupKey, Tally)>,
    /// There are more than the limit.
    pub more: bool,
}

/// What came of [`Store::sweep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many rows were changed.
    pub changed: u32,
    /// There is more to do.
    pub more: bool,
}

/// Storage for everything the library keeps.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What the store is and promises.
    fn profile(&self) -> StoreProfile;

    /// Writes tenants, destinations, small records and requests about deliveries. The batch is one commit.
    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome>;

    /// Looks things up by key in one snapshot: for each key the rows found, in the order of the keys.
    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>>;

    /// Reads one page of a list from one snapshot.
    async fn scan(&self, request: Scan) -> StoreResult<ScanPage>;

    /// Stores events with their deliveries. An id taken already, also earlier in the same batch, is a
    /// duplicate or a conflict, by the fingerprint, which is told before outdated subscriptions are. Returns
    /// only when what it stored is durable.
    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>>;

    /// Leases due deliveries of enabled destinations to the caller. Its cost depends on what it returns,
    /// not on how many deliveries, lanes, holds or saturated lanes there are.
    async fn claim(&self, request: Claim) -> StoreResult<Claimed>;

    /// Writes down what the caller did with deliveries it holds. Returns only when it is durable.
    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>>;

    /// Writes down, in one bounded batch, what reads show already: open deliveries that their
    /// destination's disabling or deletion ended and nobody holds; small records that have expired. Deletes
    /// old rollups.
    async fn sweep(&self, request: Sweep) -> StoreResult<Swept>;

    /// Deletes, in one bounded batch, events that are over, with everything that hangs on them but the
    /// rollups, which outlive the log. Gives the space back where the store can.
    async fn prune(&self, request: Prune) -> StoreResult<Pruned>;

    /// Reads rollups from one snapshot. Every ingest counts what it stores, and every settle the attempts it
    /// writes, in the same commit, by the functions of [`rollup`](crate::rollup). Its cost depends on the
    /// rows it reads, not on how many events and attempts they stand for.
    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows>;

    /// Waits until somebody else than this handle has changed the store since it answered `since`, and
    /// answers the new version; start with 0. A store that nobody else can reach never answers. It may
    /// answer early, and for changes that matter to nobody; a claim need not count. Closing ends it with an
    /// error.
    async fn changed(&self, since: u64) -> StoreResult<u64>;

    /// How far the store's own clock is ahead of `now`, in milliseconds, when it has one.
    async fn clock_offset(&self, now: Timestamp) -> StoreResult<Option<i64>>;

    /// Ends its work and frees what it holds. Later calls answer
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    async fn close(&self) -> StoreResult<()>;
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn profile(&self) -> StoreProfile {
        (**self).profile()
    }
    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome> {
        (**self).apply(request).await
    }
    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        (**self).fetch(request).await
    }
    async fn scan(&self, request: Scan) -> StoreResult<ScanPage> {
        (**self).scan(request).await
    }
    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        (**self).ingest(request).await
    }
    async fn claim(&self, request: Claim) -> StoreResult<Claimed> {
        (**self).claim(request).await
    }
    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        (**self).settle(request).await
    }
    async fn sweep(&self, request: Sweep) -> StoreResult<Swept> {
        (**self).sweep(request).await
    }
    async fn prune(&self, request: Prune) -> StoreResult<Pruned> {
        (**self).prune(request).await
    }
    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows> {
        (**self).rollups(request).await
    }
    async fn changed(&self, since: u64) -> StoreResult<u64> {
        (**self).changed(since).await
    }
    async fn clock_offset(&self, now: Timestamp) -> StoreResult<Option<i64>> {
        (**self).clock_offset(now).await
    }
    async fn close(&self) -> StoreResult<()> {
        (**self).close().await
    }
}
