//! The work: storing events, leasing deliveries, writing down outcomes, forgetting what is over.

use std::sync::Arc;

use bytes::Bytes;

use super::Usage;
use crate::domain::attempt::Attempt;
use crate::domain::delivery::{DeliveryKey, DeliveryState, Trigger};
use crate::domain::destination::Disabled;
use crate::domain::event::Event;
use crate::domain::health::{Judge, Judgement};
use crate::domain::settings::DeliverySettings;
use crate::engine::record::{LaneChange, LaneRecord, Lease, LeaseToken};
use crate::values::id::{DestinationId, Incarnation};
use crate::values::time::Timestamp;

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

/// A request of [`Store::ingest`](super::Store::ingest).
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

/// What came of one item of [`Store::ingest`](super::Store::ingest).
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

/// A request of [`Store::claim`](super::Store::claim).
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

/// What came of [`Store::claim`](super::Store::claim).
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

/// One item of [`Store::settle`](super::Store::settle).
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

/// A request of [`Store::settle`](super::Store::settle).
#[derive(Clone, Debug)]
pub struct Settle {
    /// The time.
    pub now: Timestamp,
    /// Each happens as a whole or not at all, in this order.
    pub items: Vec<SettleItem>,
}

/// What came of one item of [`Store::settle`](super::Store::settle).
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

/// A request of [`Store::sweep`](super::Store::sweep).
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The time.
    pub now: Timestamp,
    /// At most this many rows are changed.
    pub limit: u32,
    /// Rollups of each level, in the order of [`Level::ALL`](crate::rollup::Level::ALL), are deleted when they start before this.
    pub rollups_before: [Timestamp; 3],
}

/// A request of [`Store::prune`](super::Store::prune).
#[derive(Clone, Debug)]
pub struct Prune {
    /// The time.
    pub now: Timestamp,
    /// Of this tenant only, live or deleted.
    pub tenant: Option<Incarnation>,
    /// Only events that were stored before this and whose deliveries all ended before this, later attempts
    /// at them included. An event with a delivery that is leased, or that is open or has a requested attempt as it
    /// is written, stays, whatever its age: [`DeliveryRecord::is_settled`](crate::DeliveryRecord::is_settled).
    pub before: Timestamp,
    /// Where the last call stopped; `None` to begin.
    pub resume: Option<Bytes>,
    /// At most this many events are deleted.
    pub limit: u32,
    /// At most about this many events are examined.
    pub examine: u32,
}

/// What came of [`Store::prune`](super::Store::prune).
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

/// What came of [`Store::sweep`](super::Store::sweep).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many rows were changed.
    pub changed: u32,
    /// There is more to do.
    pub more: bool,
}
