//! What the operations that write share: one transaction, and what it knows of tenants, destinations and
//! lanes.

use std::collections::HashMap;
use std::sync::Arc;

use outpost_core::store::IngestItem;
use outpost_core::{DeliveryKey, DeliveryRecord, DestinationRecord, Incarnation, LaneRecord, Timestamp};
use rusqlite::{Connection, params};

use crate::error::Fallible;
use crate::rows::{self, StoredDelivery};
use crate::sql::Sql;

/// More entries than this and everything known is forgotten; it is only read again.
const MOST_KNOWN: usize = 50_000;

/// What the writer knows of the stored state. It outlives a transaction: the writer alone changes it, and
/// it is cleared when another connection has committed or a transaction was rolled back.
#[derive(Default)]
pub(crate) struct Cache {
    tenants: HashMap<i64, Option<TenantState>>,
    destinations: HashMap<i64, Option<Arc<DestinationRecord>>>,
    lanes: HashMap<i64, Option<LaneState>>,
    /// Lanes that differ from what is stored.
    dirty: Vec<i64>,
}

#[derive(Clone, Copy)]
struct TenantState {
    live: bool,
    subscriptions: i64,
}

struct LaneState {
    lane: LaneRecord,
    dirty: bool,
    /// The earliest due time was taken away, so it has to be looked up again.
    due_unknown: bool,
    requested_unknown: bool,
}

impl Cache {
    pub(crate) fn clear(&mut self) {
        self.tenants.clear();
        self.destinations.clear();
        self.lanes.clear();
        self.dirty.clear();
    }

    /// Keeps it from growing without end. Only between transactions: dirty lanes would be lost.
    pub(crate) fn trim(&mut self) {
        if self.tenants.len() + self.destinations.len() + self.lanes.len() > MOST_KNOWN {
            self.clear();
        }
    }
}

/// The side of a delivery that its lane looks at.
#[derive(Clone, Copy)]
struct Footprint {
    epoch: i64,
    open: bool,
    requested: bool,
    due: Option<Timestamp>,
}

impl Footprint {
    const fn of(delivery: &DeliveryRecord) -> Self {
        Self {
            epoch: delivery.epoch,
            open: delivery.state.is_open(),
            requested: delivery.requested.is_some(),
            due: delivery.due,
        }
    }
}

/// One transaction of the writer.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) sql: &'a Sql,
    pub(crate) cache: &'a mut Cache,
}

impl Tx<'_> {
    /// Whether an item was matched against the tenant's present subscriptions.
    pub(crate) fn is_current(&mut self, item: &IngestItem) -> Fallible<bool> {
        let key = item.event.tenant.as_i64();
        let state = match self.cache.tenants.get(&key) {
            Some(known) => *known,
            None => {
                let found = rows::one(self.conn, &self.sql.tenant, [key], rows::tenant)?;
                let state = found.map(|tenant| TenantState {
                    live: tenant.deleted_at.is_none(),
                    subscriptions: tenant.subscriptions,
                });
                self.cache.tenants.insert(key, state);
                state
            }
        };
        Ok(state.is_some_and(|tenant| tenant.live && tenant.subscriptions == item.subscriptions))
    }

    pub(crate) fn raise_subscriptions(&mut self, tenant: Incarnation) -> Fallible<()> {
        rows::run(self.conn, &self.sql.tenant_raise, [tenant.as_i64()])?;
        self.forget_tenant(tenant);
        Ok(())
    }

    pub(crate) fn forget_tenant(&mut self, tenant: Incarnation) {
        self.cache.tenants.remove(&tenant.as_i64());
    }

    pub(crate) fn forget_destination(&mut self, destination: Incarnation) {
        self.cache.destinations.remove(&destination.as_i64());
    }

    /// What decides about a destination's deliveries, deleted or not.
    pub(crate) fn destination(&mut self, destination: Incarnation) -> Fallible<Option<Arc<DestinationRecord>>> {
        let key = destination.as_i64();
        if let Some(known) = self.cache.destinations.get(&key) {
            return Ok(known.clone());
        }
        let found = rows::one(self.conn, &self.sql.destination_state, [key], rows::destination_state)?.map(Arc::new);
        self.cache.destinations.insert(key, found.clone());
        Ok(found)
    }

    fn lane_state(&mut self, destination: Incarnation) -> Fallible<Option<&mut LaneState>> {
        let key = destination.as_i64();
        if !self.cache.lanes.contains_key(&key) {
            let found = rows::one(self.conn, &self.sql.lane, [key], rows::lane)?;
            let state =
                found.map(|lane| LaneState { lane, dirty: false, due_unknown: false, requested_unknown: false });
            self.cache.lanes.insert(key, state);
        }
        Ok(self.cache.lanes.get_mut(&key).and_then(Option::as_mut))
    }

    /// Makes the lane of a new destination.
    pub(crate) fn new_lane(&mut self, destination: Incarnation) -> Fallible<()> {
        rows::run(self.conn, &self.sql.lane_new, [destination.as_i64()])?;
        self.cache.lanes.remove(&destination.as_i64());
        Ok(())
    }

    /// Whether a new delivery may be handed straight to the publisher's process.
    pub(crate) fn allows_hand_off(&mut self, destination: Incarnation, now: Timestamp) -> Fallible<bool> {
        // Holds and strikes only, so the due times need not be known.
        Ok(self.lane_state(destination)?.is_some_and(|state| state.lane.allows_hand_off(now)))
    }

    /// The lane with its due times looked up.
    pub(crate) fn lane(&mut self, destination: Incarnation) -> Fallible<Option<LaneRecord>> {
        self.resolve_lane(destination)?;
        Ok(self.lane_state(destination)?.map(|state| state.lane.clone()))
    }

    /// Changes a lane's hold, rest or count; it is written when the transaction's lanes are.
    pub(crate) fn change_lane(
        &mut self,
        destination: Incarnation,
        change: impl FnOnce(&mut LaneRecord),
    ) -> Fallible<()> {
        let Some(state) = self.lane_state(destination)? else { return Ok(()) };
        let before = state.lane.clone();
        change(&mut state.lane);
        if state.lane != before && !state.dirty {
            state.dirty = true;
            self.cache.dirty.push(destination.as_i64());
        }
        Ok(())
    }

    /// Has both due times looked up again, because the destination itself has changed. `emptied`: its open
    /// deliveries are of another epoch now.
    pub(crate) fn refresh_lane(&mut self, destination: Incarnation, emptied: bool) -> Fallible<()> {
        let Some(state) = self.lane_state(destination)? else { return Ok(()) };
        (state.due_unknown, state.requested_unknown) = (true, true);
        if emptied {
            state.lane.open = 0;
        }
        if !state.dirty {
            state.dirty = true;
            self.cache.dirty.push(destination.as_i64());
        }
        Ok(())
    }

    /// Tells a lane that a delivery of its destination has changed from `before` to `after`.
    fn follow(&mut self, destination: Incarnation, before: Option<Footprint>, after: Footprint) -> Fallible<()> {
        let Some(record) = self.destination(destination)? else { return Ok(()) };
        let (epoch, live, enabled) = (record.epoch, record.deleted_at.is_none(), record.is_enabled());
        let Some(state) = self.lane_state(destination)? else { return Ok(()) };
        let was = state.lane.clone();
        let counts = |side: Footprint| i64::from(live && side.open && side.epoch == epoch);
        state.lane.open += counts(after) - before.map_or(0, counts);
        if enabled {
            let side = |side: Footprint| side.due.filter(|_| side.epoch == epoch).map(|due| (due, side.requested));
            if let Some((due, requested)) = before.and_then(side) {
                if requested && state.lane.next_requested == Some(due) {
                    state.requested_unknown = true;
                } else if !requested && state.lane.next_due == Some(due) {
                    state.due_unknown = true;
                }
            }
            if let Some((due, requested)) = side(after) {
                let next = if requested { &mut state.lane.next_requested } else { &mut state.lane.next_due };
                *next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        if !state.dirty && (state.lane != was || state.due_unknown || state.requested_unknown) {
            state.dirty = true;
            self.cache.dirty.push(destination.as_i64());
        }
        Ok(())
    }

    /// Looks up the due times of a lane that are not known.
    fn resolve_lane(&mut self, destination: Incarnation) -> Fallible<()> {
        let unknown = self.lane_state(destination)?.map(|state| (state.due_unknown, state.requested_unknown));
        let Some((due_unknown, requested_unknown)) = unknown.filter(|(due, requested)| *due || *requested) else {
            return Ok(());
        };
        let Some(record) = self.destination(destination)? else { return Ok(()) };
        let (epoch, enabled) = (record.epoch, record.is_enabled());
        let conn = self.conn;
        let first = |wanted: bool, sql: &str| -> Fallible<Option<Timestamp>> {
            if !wanted || !enabled {
                return Ok(None);
            }
            let due = rows::one(conn, sql, [destination.as_i64(), epoch], |row| rows::int(row, 0))?;
            Ok(due.map(Timestamp::from_millis))
        };
        let next_due = first(due_unknown, &self.sql.due_first)?;
        let next_requested = first(requested_unknown, &self.sql.requested_first)?;
        if let Some(state) = self.lane_state(destination)? {
            if due_unknown {
                state.lane.next_due = next_due;
            }
            if requested_unknown {
                state.lane.next_requested = next_requested;
            }
            (state.due_unknown, state.requested_unknown) = (false, false);
        }
        Ok(())
    }

    /// Writes every lane that has changed, each once.
    pub(crate) fn flush_lanes(&mut self) -> Fallible<()> {
        for key in std::mem::take(&mut self.cache.dirty) {
            let destination = Incarnation::from_i64(key);
            self.resolve_lane(destination)?;
            if let Some(state) = self.cache.lanes.get_mut(&key).and_then(Option::as_mut) {
                state.dirty = false;
                rows::set_lane(self.conn, self.sql, &state.lane)?;
            }
        }
        Ok(())
    }

    /// A delivery by its key. Events are unique within the destination's tenant.
    pub(crate) fn find_delivery(&mut self, key: &DeliveryKey) -> Fallible<Option<StoredDelivery>> {
        let Some(destination) = self.destination(key.destination)? else { return Ok(None) };
        rows::one(
            self.conn,
            &self.sql.delivery_by_key,
            params![key.event.as_str(), destination.tenant.as_i64(), key.destination.as_i64()],
            rows::delivery,
        )
    }

    /// Stores a new delivery.
    pub(crate) fn add_delivery(&mut self, event_seq: i64, delivery: &DeliveryRecord) -> Fallible<()> {
        rows::put_delivery(self.conn, self.sql, event_seq, delivery)?;
        self.follow(delivery.key.destination, None, Footprint::of(delivery))
    }

    /// Changes a delivery, its row and its lane. An error of `change` must have left the delivery alone.
    pub(crate) fn change_delivery<T, E>(
        &mut self,
        stored: &mut StoredDelivery,
        change: impl FnOnce(&mut DeliveryRecord) -> Result<T, E>,
    ) -> Fallible<Result<T, E>> {
        let before = Footprint::of(&stored.record);
        let result = change(&mut stored.record);
        if result.is_ok() {
            rows::set_delivery(self.conn, self.sql, stored.seq, &stored.record)?;
            self.follow(stored.record.key.destination, Some(before), Footprint::of(&stored.record))?;
        }
        Ok(result)
    }

    /// Marks a destination for the sweep.
    pub(crate) fn mark_stale(&mut self, destination: Incarnation, stale: bool) -> Fallible<()> {
        rows::run(self.conn, &self.sql.destination_stale, params![destination.as_i64(), stale])?;
        Ok(())
    }
}
