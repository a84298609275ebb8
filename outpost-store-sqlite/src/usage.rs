//! What each tenant has stored: counted in memory, written once per transaction.

use std::collections::HashMap;

use outpost_core::Incarnation;
use outpost_core::store::{IngestItem, Quota, Usage};
use rusqlite::params;

use crate::error::Fallible;
use crate::rows;
use crate::tx::Tx;

/// What the writer knows of the tenants' usage.
#[derive(Default)]
pub(crate) struct Usages {
    known: HashMap<i64, Known>,
    /// Tenants whose row differs from what is stored.
    dirty: Vec<i64>,
}

#[derive(Default)]
struct Known {
    events: i64,
    bytes: i64,
    /// Open deliveries, once somebody has asked for them: they are kept in the lanes.
    open: Option<i64>,
    dirty: bool,
}

impl Usages {
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.dirty.clear();
    }

    /// Forgets everything once it is more than `most`. Only between transactions.
    pub(crate) fn trim(&mut self, most: usize) {
        if self.known.len() > most {
            self.clear();
        }
    }

    /// Follows a change of a lane's count.
    pub(crate) fn count_open(&mut self, tenant: Incarnation, by: i64) {
        if by != 0
            && let Some(open) = self.known.get_mut(&tenant.as_i64()).and_then(|known| known.open.as_mut())
        {
            *open += by;
        }
    }

    /// A lane's count was set anew, so the sum has to be made again.
    pub(crate) fn forget_open(&mut self, tenant: Incarnation) {
        if let Some(known) = self.known.get_mut(&tenant.as_i64()) {
            known.open = None;
        }
    }
}

impl Tx<'_> {
    fn known_usage(&mut self, tenant: i64) -> Fallible<&mut Known> {
        if !self.cache.usages.known.contains_key(&tenant) {
            let stored = rows::one(self.conn, &self.sql.usage, [tenant], |row| {
                Ok(Known { events: rows::int(row, 0)?, bytes: rows::int(row, 1)?, ..Known::default() })
            })?;
            self.cache.usages.known.insert(tenant, stored.unwrap_or_default());
        }
        Ok(self.cache.usages.known.entry(tenant).or_default())
    }

    /// Counts events and bytes that come, or go when they are negative.
    pub(crate) fn add_usage(&mut self, tenant: Incarnation, events: i64, bytes: i64) -> Fallible<()> {
        if (events, bytes) == (0, 0) {
            return Ok(());
        }
        let key = tenant.as_i64();
        let known = self.known_usage(key)?;
        known.events = known.events.saturating_add(events).max(0);
        known.bytes = known.bytes.saturating_add(bytes).max(0);
        if !std::mem::replace(&mut known.dirty, true) {
            self.cache.usages.dirty.push(key);
        }
        Ok(())
    }

    /// What a tenant has stored. The first look at a tenant adds up the lanes of its live destinations, those
    /// of deleted ones being empty; from then on the sum is followed.
    fn usage(&mut self, tenant: Incarnation) -> Fallible<Usage> {
        let key = tenant.as_i64();
        if self.known_usage(key)?.open.is_none() {
            let mut sum = 0;
            let live = rows::all(self.conn, &self.sql.destinations_live_of, [key], |row| rows::int(row, 0))?;
            for destination in live {
                sum += self.peek_lane(Incarnation::from_i64(destination))?.map_or(0, |lane| lane.open);
            }
            self.known_usage(key)?.open = Some(sum);
        }
        let known = self.known_usage(key)?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let open = count(known.open.unwrap_or(0));
        Ok(Usage { events: count(known.events), bytes: count(known.bytes), open })
    }

    /// What the tenant has, when the item would be too much for the quota.
    pub(crate) fn over_quota(&mut self, quota: Quota, item: &IngestItem) -> Fallible<Option<Usage>> {
        if quota == Quota::default() {
            return Ok(None);
        }
        let usage = self.usage(item.event.tenant)?;
        Ok(quota.is_exceeded(usage, item.event.data.len() as u64, item.open()).then_some(usage))
    }

    /// Writes every usage that has changed, each once.
    pub(crate) fn flush_usages(&mut self) -> Fallible<()> {
        for key in std::mem::take(&mut self.cache.usages.dirty) {
            if let Some(known) = self.cache.usages.known.get_mut(&key) {
                known.dirty = false;
                rows::run(self.conn, &self.sql.usage_put, params![key, known.events, known.bytes])?;
            }
        }
        Ok(())
    }
}
