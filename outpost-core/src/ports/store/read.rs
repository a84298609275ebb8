//! Looking things up and reading lists.

use std::sync::Arc;

use super::SmallRecord;
use crate::domain::attempt::{Attempt, CodeFilter, Outcome};
use crate::domain::delivery::{Delivery, DeliveryKey, DeliveryState};
use crate::domain::event::Event;
use crate::domain::rollup::{Level, RollupKey, Tally};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneRecord};
use crate::values::id::{AttemptId, DestinationId, EventId, Incarnation, TenantId};
use crate::values::page::{Direction, Position};
use crate::values::time::Timestamp;

/// What [`Store::fetch`](super::Store::fetch) looks up.
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

/// A request of [`Store::fetch`](super::Store::fetch).
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

/// The lists of [`Store::scan`](super::Store::scan).
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
    /// Deliveries whose latest attempt ended in one of these ways; [`Filter::wants_outcome`] decides.
    pub codes: Vec<CodeFilter>,
    /// Attempts that succeeded, or did not.
    pub success: Option<bool>,
    /// At or after this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether `codes` wants a delivery whose latest attempt ended like this; `None`: none was made. Every store asks
    /// this, so no two of them read a code differently.
    #[must_use]
    pub fn wants_outcome(&self, latest: Option<&Outcome>) -> bool {
        self.codes.is_empty() || latest.is_some_and(|latest| self.codes.iter().any(|wanted| wanted.matches(latest)))
    }
}

/// A request of [`Store::scan`](super::Store::scan).
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

/// A request of [`Store::rollups`](super::Store::rollups).
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

/// What came of [`Store::rollups`](super::Store::rollups).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollupRows {
    /// The rows, ordered by their start.
    pub rows: Vec<(RollupKey, Tally)>,
    /// There are more than the limit.
    pub more: bool,
}
