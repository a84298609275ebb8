//! Writing tenants, destinations, small records and requests about deliveries.

use std::fmt;

use bytes::Bytes;

use super::IngestItem;
use crate::domain::delivery::{DeliveryKey, Trigger};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, RequestRefusal};
use crate::values::id::{EventId, Incarnation};
use crate::values::time::Timestamp;

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

/// One write of [`Store::apply`](super::Store::apply).
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
    /// Deletes a live tenant and its destinations, as [`DestinationRecord::delete`] does, and raises both its numbers.
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
    /// Deletes a live destination, as [`DestinationRecord::delete`] does, and raises the tenant's `subscriptions`. Its
    /// sealed values are wiped in the same commit and overwritten where the store can.
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

/// A request of [`Store::apply`](super::Store::apply).
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

/// What came of [`Store::apply`](super::Store::apply).
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
