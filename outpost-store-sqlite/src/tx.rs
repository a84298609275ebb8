//! What the operations that write share: one transaction, and what it knows of tenants, destinations and
//! lanes.

use std::collections::HashMap;
use std::sync::Arc;

use outpost_core::store::IngestItem;
use outpost_core::{DeliveryKey, DeliveryRecord, DestinationRecord, Incarnation, LaneRecord, Timestamp};
use rusqlite::{Connection, params};

use crate::error::Fallible;
use crate::rollups::Tallies;
use crate::rows::{self, StoredDelivery};
use crate::sql::Sql;
use crate::usage::Usages;

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
    pub(crate) usages: Usages,
    pub(crate) tallies: Tallies,
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
    urgent_unknown: bool,
}

impl Cache {
    pub(crate) fn clear(&mut self) {
        self.tenants.clear();
        self.destinations.clear();
        self.lanes.clear();
        self.dirty.clear();
        self.usages.clear();
        self.tallies.clear();
    }

    /// Keeps it from growing without end. Only between transactions: what is not written yet would be lost.
    pub(crate) fn trim(&mut self) {
        self.usages.trim(MOST_KNOWN);
        self.tallies.trim();
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
    urgent: bool,
    due: Option<Timestamp>,
}

impl Footprint {
    fn of(delivery: &DeliveryRecord) -> Self {
        Self { epoch: delivery.epoch, open: delivery.state.is_open(), urgent: delivery.is_urgent(), due: delivery.due }
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
            let state = found.map(|lane| LaneState { lane, dirty: false, due_unknown: false, urgent_unknown: false });
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

    /// The lane as far as it is known: its due times may have to be looked up.
    pub(crate) fn peek_lane(&mut self, destination: Incarnation) -> Fallible<Option<&LaneRecord>> {
        Ok(self.lane_state(destination)?.map(|state| &state.lane))
    }

    /// Whether a new delivery may be handed straight to the publisher's process.
    pub(crate) fn allows_hand_off(&mut self, destination: Incarnation, now: Timestamp) -> Fallible<bool> {
        // Holds and strikes only, so the due times need not be known.
        Ok(self.peek_lane(destination)?.is_some_and(|lane| lane.allows_hand_off(now)))
    }

    /// The lane with its due times looked up.
    pub(crate) fn lane(&mut self, destination: Incarnation) -> Fallible<Option<LaneRecord>> {
        self.resolve_lane(destination)?;
        Ok(self.lane_state(destination)?.map(|state| state.lane.clone()))
    }

    /// Changes a lane's hold, rest or health; it is written when the transaction's lanes are.
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
        (state.due_unknown, state.urgent_unknown) = (true, true);
        if emptied {
            state.lane.open = 0;
        }
        if !state.dirty {
            state.dirty = true;
            self.cache.dirty.push(destination.as_i64());
        }
        if emptied && let Some(record) = self.destination(destination)? {
            self.cache.usages.forget_open(record.tenant);
        }
        Ok(())
    }

    /// Tells a lane that a delivery of its destination has changed from `before` to `after`.
    fn follow(&mut self, destination: Incarnation, before: Option<Footprint>, after: Footprint) -> Fallible<()> {
        let Some(record) = self.destination(destination)? else { return Ok(()) };
        let (epoch, live, enabled) = (record.epoch, record.deleted_at.is_none(), record.is_enabled());
        let Some(state) = self.lane_state(destination)? else { return Ok(()) };
        let was = (state.lane.next_due, state.lane.next_urgent);
        let counts = |side: Footprint| i64::from(live && side.open && side.epoch == epoch);
        let opened = counts(after) - before.map_or(0, counts);
        state.lane.open += opened;
        if enabled {
            let side = |side: Footprint| side.due.filter(|_| side.epoch == epoch).map(|due| (due, side.urgent));
            if let Some((due, urgent)) = before.and_then(side) {
                if urgent && state.lane.next_urgent == Some(due) {
                    state.urgent_unknown = true;
                } else if !urgent && state.lane.next_due == Some(due) {
                    state.due_unknown = true;
                }
            }
            if let Some((due, urgent)) = side(after) {
                let next = if urgent { &mut state.lane.next_urgent } else { &mut state.lane.next_due };
                *next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        let moved = opened != 0 || was != (state.lane.next_due, state.lane.next_urgent);
        if !state.dirty && (moved || state.due_unknown || state.urgent_unknown) {
            state.dirty = true;
            self.cache.dirty.push(destination.as_i64());
        }
        self.cache.usages.count_open(record.tenant, opened);
        Ok(())
    }

    /// Looks up the due times of a lane that are not known.
    fn resolve_lane(&mut self, destination: Incarnation) -> Fallible<()> {
        let unknown = self.lane_state(destination)?.map(|state| (state.due_unknown, state.urgent_unknown));
        let Some((due_unknown, urgent_unknown)) = unknown.filter(|(due, urgent)| *due || *urgent) else {
            return Ok(());
        };
        let Some(record) = self.destination(destination)? else { return Ok(()) };
        let (epoch, enabled) = (record.epoch, record.is_enabled());
        let (conn, sql) = (self.conn, self.sql);
        let first = |wanted: bool, urgent: bool| -> Fallible<Option<Timestamp>> {
            if !wanted || !enabled {
                return Ok(None);
            }
            let key = params![destination.as_i64(), epoch, urgent];
            let due = rows::one(conn, &sql.due_first, key, |row| rows::int(row, 0))?;
            Ok(due.map(Timestamp::from_millis))
        };
        let next_due = first(due_unknown, false)?;
        let next_urgent = first(urgent_unknown, true)?;
        if let Some(state) = self.lane_state(destination)? {
            if due_unknown {
                state.lane.next_due = next_due;
            }
            if urgent_unknown {
                state.lane.next_urgent = next_urgent;
            }
            (state.due_unknown, state.urgent_unknown) = (false, false);
        }
        Ok(())
    }

    /// Writes whatever has changed and is written once per transaction: lanes, usages and rollups.
    pub(crate) fn flush(&mut self) -> Fallible<()> {
        self.flush_lanes()?;
        self.flush_usages()?;
        self.flush_tallies()
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
