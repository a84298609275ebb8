//! Writing tenants, destinations, small records and requests about deliveries.

use std::sync::Arc;

use outpost_core::store::{Apply, ApplyOutcome, Expect, Quota, Refusal, SmallRecord, Write};
use outpost_core::{
    DeliveryKey, DeliveryRecord, DestinationRecord, EventId, Incarnation, RequestRefusal, Tenant, Timestamp, Trigger,
};
use rusqlite::params;

use crate::error::Fallible;
use crate::rows::{self, NewEvent};
use crate::tx::Tx;

/// What a write came to: its new revision, or why it was refused.
type Written = Result<i64, Refusal>;

/// An [`Apply`] as the writer gets it.
#[derive(Debug)]
pub(crate) struct ApplyWork {
    now: Timestamp,
    writes: Vec<Write>,
    follow_ups: Vec<NewEvent>,
}

impl ApplyWork {
    pub(crate) fn new(request: Apply) -> Fallible<Self> {
        let Apply { now, writes, follow_ups } = request;
        Ok(Self { now, writes, follow_ups: NewEvent::all(follow_ups)? })
    }

    pub(crate) fn weight(&self) -> usize {
        let rows = |write: &Write| match write {
            Write::Replay { request, create, .. } => 1 + request.len() + create.len(),
            _ => 1,
        };
        self.writes.iter().map(rows).sum::<usize>() + self.follow_ups.len()
    }
}

impl Tx<'_> {
    pub(crate) fn apply(&mut self, work: &ApplyWork) -> Fallible<ApplyOutcome> {
        // A single write is refused before it has written anything; only several need a way back.
        if work.writes.len() + work.follow_ups.len() < 2 {
            return self.apply_all(work);
        }
        // What earlier jobs changed must be down before the savepoint, or the way back would lose it.
        self.flush()?;
        self.conn.execute_batch("SAVEPOINT outpost_apply")?;
        let outcome = self.apply_all(work)?;
        if !matches!(outcome, ApplyOutcome::Done(_)) {
            self.conn.execute_batch("ROLLBACK TO outpost_apply")?;
            self.cache.clear();
        }
        self.conn.execute_batch("RELEASE outpost_apply")?;
        Ok(outcome)
    }

    fn apply_all(&mut self, work: &ApplyWork) -> Fallible<ApplyOutcome> {
        let mut revisions = Vec::with_capacity(work.writes.len());
        for (index, write) in work.writes.iter().enumerate() {
            match self.write(work.now, write)? {
                Ok(revision) => revisions.push(revision),
                Err(refusal) => return Ok(ApplyOutcome::Refused { index, refusal }),
            }
        }
        for new in &work.follow_ups {
            if !self.is_current(&new.item)? {
                return Ok(ApplyOutcome::Outdated);
            }
        }
        for new in &work.follow_ups {
            self.ingest_one(work.now, None, Quota::default(), new)?;
        }
        Ok(ApplyOutcome::Done(revisions))
    }

    /// One write; a refused one has changed nothing.
    fn write(&mut self, now: Timestamp, write: &Write) -> Fallible<Written> {
        match write {
            Write::PutTenant { tenant, expect } => self.put_tenant(tenant, *expect),
            Write::DeleteTenant { tenant, at } => self.delete_tenant(*tenant, *at),
            Write::PutDestination { destination, expect, limit } => self.put_destination(destination, *expect, *limit),
            Write::DeleteDestination { destination, at } => {
                let Some(found) = self.destination(*destination)?.filter(|found| found.deleted_at.is_none()) else {
                    return Ok(Err(Refusal::Missing));
                };
                self.end_destination(*destination, *at, false)?;
                self.raise_subscriptions(found.tenant)?;
                Ok(Ok(0))
            }
            Write::PutRecord { record, expect } => self.put_record(now, record, *expect),
            Write::DeleteRecord { kind, key } => {
                rows::run(self.conn, &self.sql.record_delete, params![kind, key])?;
                Ok(Ok(0))
            }
            Write::RequestAttempt { key, trigger } => {
                let Some(destination) = self.destination(key.destination)? else { return Ok(Err(Refusal::Missing)) };
                let Some(mut delivery) = self.find_delivery(key)? else { return Ok(Err(Refusal::Missing)) };
                let done =
                    self.change_delivery(&mut delivery, |delivery| delivery.request(*trigger, now, &destination))?;
                Ok(done.map(|()| 0).map_err(Refusal::Delivery))
            }
            Write::Replay { destination, revision, request, create } => {
                self.replay(now, *destination, *revision, request, create)
            }
            Write::CancelDelivery { key } => {
                let Some(destination) = self.destination(key.destination)? else { return Ok(Err(Refusal::Missing)) };
                let Some(mut delivery) = self.find_delivery(key)? else { return Ok(Err(Refusal::Missing)) };
                let retired = destination.retires(delivery.record.epoch);
                let done = self.change_delivery(&mut delivery, |delivery| delivery.cancel(now, retired))?;
                Ok(done.map(|()| 0).map_err(Refusal::Delivery))
            }
        }
    }

    fn replay(
        &mut self,
        now: Timestamp,
        destination: Incarnation,
        revision: i64,
        request: &[EventId],
        create: &[EventId],
    ) -> Fallible<Written> {
        let Some(record) = self.destination(destination)? else { return Ok(Err(Refusal::Missing)) };
        if !record.is_enabled() {
            return Ok(Err(Refusal::Delivery(RequestRefusal::DestinationDisabled)));
        }
        if let Err(refusal) = check_revision(Expect::Revision(revision), record.revision) {
            return Ok(Err(refusal));
        }
        let mut requested = 0;
        for event in request {
            let key = DeliveryKey { destination, event: event.clone() };
            let Some(mut found) = self.find_delivery(&key)? else { continue };
            let done = self.change_delivery(&mut found, |found| found.request(Trigger::Replay, now, &record))?;
            requested += i64::from(done.is_ok());
        }
        for event in create {
            let key = params![event.as_str(), record.tenant.as_i64()];
            let found = rows::one(self.conn, &self.sql.event_topic, key, |row| {
                Ok((rows::int(row, 0)?, Arc::from(rows::text(row, 1)?)))
            })?;
            let Some((seq, topic)) = found else { continue };
            let pair = params![seq, destination.as_i64()];
            if rows::one(self.conn, &self.sql.delivery_exists, pair, |_| Ok(()))?.is_none() {
                let key = DeliveryKey { destination, event: event.clone() };
                self.add_delivery(seq, &DeliveryRecord::replayed(key, record.tenant, topic, &record, now))?;
                requested += 1;
            }
        }
        Ok(Ok(requested))
    }

    fn put_tenant(&mut self, tenant: &Tenant, expect: Expect) -> Fallible<Written> {
        let mut tenant = tenant.clone();
        let found = rows::one(self.conn, &self.sql.tenant, [tenant.incarnation.as_i64()], rows::tenant)?;
        if expect == Expect::Absent {
            let live = rows::one(self.conn, &self.sql.tenant_live, [tenant.id.as_str()], |_| Ok(()))?;
            if found.is_some() || live.is_some() {
                return Ok(Err(Refusal::Exists));
            }
            (tenant.revision, tenant.subscriptions) = (1, 0);
        } else {
            let Some(found) = found.filter(|found| found.deleted_at.is_none()) else {
                return Ok(Err(Refusal::Missing));
            };
            if let Err(refusal) = check_revision(expect, found.revision) {
                return Ok(Err(refusal));
            }
            (tenant.revision, tenant.subscriptions) = (found.revision + 1, found.subscriptions);
        }
        rows::put_tenant(self.conn, self.sql, &tenant)?;
        self.forget_tenant(tenant.incarnation);
        Ok(Ok(tenant.revision))
    }

    fn delete_tenant(&mut self, tenant: Incarnation, at: Timestamp) -> Fallible<Written> {
        let key = tenant.as_i64();
        let found = rows::one(self.conn, &self.sql.tenant, [key], rows::tenant)?;
        if found.is_none_or(|found| found.deleted_at.is_some()) {
            return Ok(Err(Refusal::Missing));
        }
        rows::run(self.conn, &self.sql.tenant_end, params![key, at.as_millis()])?;
        self.forget_tenant(tenant);
        let live = rows::all(self.conn, &self.sql.destinations_live_of, [key], |row| rows::int(row, 0))?;
        for destination in live {
            self.end_destination(Incarnation::from_i64(destination), at, true)?;
        }
        Ok(Ok(0))
    }

    /// Ends a destination: its deliveries are told by its row, not one by one.
    fn end_destination(&mut self, destination: Incarnation, at: Timestamp, with_tenant: bool) -> Fallible<()> {
        let key = destination.as_i64();
        rows::run(self.conn, &self.sql.destination_end, params![key, at.as_millis(), with_tenant])?;
        self.forget_destination(destination);
        self.refresh_lane(destination, true)
    }

    fn put_destination(
        &mut self,
        destination: &DestinationRecord,
        expect: Expect,
        limit: Option<u32>,
    ) -> Fallible<Written> {
        let mut destination = destination.clone();
        let (tenant, incarnation) = (destination.tenant, destination.incarnation);
        let owner = rows::one(self.conn, &self.sql.tenant, [tenant.as_i64()], rows::tenant)?;
        if owner.is_none_or(|owner| owner.deleted_at.is_some()) {
            return Ok(Err(Refusal::Missing));
        }
        let before = self.destination(incarnation)?;
        let mut new_epoch = false;
        if expect == Expect::Absent {
            let key = params![tenant.as_i64(), destination.id.as_str()];
            let live = rows::one(self.conn, &self.sql.destination_live, key, |_| Ok(()))?;
            if before.is_some() || live.is_some() {
                return Ok(Err(Refusal::Exists));
            }
            if let Some(limit) = limit {
                let key = [tenant.as_i64()];
                let count = rows::one(self.conn, &self.sql.destinations_count, key, |row| rows::int(row, 0))?;
                if count.unwrap_or(0) >= i64::from(limit) {
                    return Ok(Err(Refusal::LimitReached { limit }));
                }
            }
            destination.revision = 1;
        } else {
            let Some(found) = before.as_ref().filter(|found| found.deleted_at.is_none()) else {
                return Ok(Err(Refusal::Missing));
            };
            if let Err(refusal) = check_revision(expect, found.revision) {
                return Ok(Err(refusal));
            }
            destination.revision = found.revision + 1;
            new_epoch = found.epoch != destination.epoch;
        }
        rows::put_destination(self.conn, self.sql, &destination, new_epoch)?;
        self.forget_destination(incarnation);
        match before {
            Some(before) => self.change_lane(incarnation, |lane| lane.rewritten(&before, &destination))?,
            None => self.new_lane(incarnation)?,
        }
        self.refresh_lane(incarnation, new_epoch)?;
        self.raise_subscriptions(tenant)?;
        Ok(Ok(destination.revision))
    }

    fn put_record(&mut self, now: Timestamp, record: &SmallRecord, expect: Expect) -> Fallible<Written> {
        let found = rows::one(self.conn, &self.sql.record, params![record.kind, record.key], rows::record)?;
        let found = found.filter(|found| found.expires_at.is_none_or(|at| at > now)).map(|found| found.revision);
        match (expect, found) {
            (Expect::Absent, Some(_)) => return Ok(Err(Refusal::Exists)),
            (Expect::Revision(_), None) => return Ok(Err(Refusal::Missing)),
            (Expect::Revision(wanted), Some(found)) if found != wanted => return Ok(Err(Refusal::Stale { found })),
            _ => {}
        }
        let revision = found.unwrap_or(0) + 1;
        rows::put_record(self.conn, self.sql, &SmallRecord { revision, ..record.clone() })?;
        Ok(Ok(revision))
    }
}

fn check_revision(expect: Expect, found: i64) -> Result<(), Refusal> {
    match expect {
        Expect::Revision(wanted) if wanted != found => Err(Refusal::Stale { found }),
        _ => Ok(()),
    }
}
