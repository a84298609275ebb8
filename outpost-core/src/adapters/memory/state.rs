//! The data of the memory store and every operation that writes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::attempt::Attempt;
use crate::domain::delivery::{DeliveryKey, Trigger};
use crate::domain::event::Event;
use crate::domain::health::Judgement;
use crate::domain::rollup::{self, RollupKey, Tally};
use crate::domain::tenant::Tenant;
use crate::engine::record::Lease;
use crate::engine::record::{DeliveryRecord, DestinationRecord, LaneRecord, RequestRefusal};
use crate::ports::store::{
    Apply, ApplyOutcome, Claim, Claimed, ClaimedDelivery, Expect, Ingest, IngestItem, IngestOutcome, Quota, Refusal,
    Settle, SettleAction, SettleItem, SettleOutcome, SmallRecord, Sweep, Swept, Usage, VisitedLane, Write,
};
use crate::values::id::{AttemptId, DestinationId, EventId, Incarnation, TenantId};
use crate::values::page::Position;
use crate::values::time::Timestamp;

/// Where a delivery waits: destination, epoch, whether it is urgent, due time, age.
type DueKey = (Incarnation, i64, bool, Timestamp, u64);

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) tenants: BTreeMap<Incarnation, Tenant>,
    pub(super) live_tenants: HashMap<TenantId, Incarnation>,
    pub(super) destinations: BTreeMap<Incarnation, DestinationRecord>,
    pub(super) live_destinations: HashMap<(Incarnation, DestinationId), Incarnation>,
    pub(super) lanes: HashMap<Incarnation, LaneRecord>,
    ready: BTreeSet<(Timestamp, Incarnation)>,
    pub(super) events: HashMap<(Incarnation, EventId), Arc<Event>>,
    pub(super) deliveries: HashMap<DeliveryKey, (u64, DeliveryRecord)>,
    due: BTreeMap<DueKey, DeliveryKey>,
    /// Deliveries of each event.
    pub(super) fan_out: BTreeMap<(Incarnation, EventId), BTreeSet<Incarnation>>,
    /// Lists in order, once for everybody (`None`) and once for each tenant.
    pub(super) event_order: BTreeMap<(Option<Incarnation>, Position), (Incarnation, EventId)>,
    pub(super) delivery_order: BTreeMap<(Option<Incarnation>, Position), DeliveryKey>,
    pub(super) attempts: BTreeMap<(Option<Incarnation>, Position), Arc<Attempt>>,
    pub(super) attempt_ids: HashMap<AttemptId, Arc<Attempt>>,
    pub(super) attempts_of: HashMap<DeliveryKey, Vec<Arc<Attempt>>>,
    pub(super) records: BTreeMap<(String, String), SmallRecord>,
    pub(super) rollups: BTreeMap<RollupKey, Tally>,
    /// What each tenant has stored, open deliveries not counted here.
    pub(super) stored: HashMap<Incarnation, Usage>,
    age: u64,
}

impl State {
    pub(super) fn apply(&mut self, request: Apply) -> ApplyOutcome {
        let before = (request.writes.len() > 1 || !request.follow_ups.is_empty()).then(|| self.clone());
        let mut revisions = Vec::with_capacity(request.writes.len());
        for (index, write) in request.writes.into_iter().enumerate() {
            match self.write(request.now, write) {
                Ok(revision) => revisions.push(revision),
                Err(refusal) => {
                    if let Some(before) = before {
                        *self = before;
                    }
                    return ApplyOutcome::Refused { index, refusal };
                }
            }
        }
        if request.follow_ups.iter().any(|item| !self.is_current(item)) {
            if let Some(before) = before {
                *self = before;
            }
            return ApplyOutcome::Outdated;
        }
        for item in &request.follow_ups {
            self.ingest_one(request.now, None, Quota::default(), item);
        }
        ApplyOutcome::Done(revisions)
    }

    /// One write; a refused one has changed nothing.
    fn write(&mut self, now: Timestamp, write: Write) -> Result<i64, Refusal> {
        match write {
            Write::PutTenant { tenant, expect } => self.put_tenant(tenant, expect),
            Write::DeleteTenant { tenant, at } => self.delete_tenant(tenant, at),
            Write::PutDestination { destination, expect, limit } => self.put_destination(*destination, expect, limit),
            Write::DeleteDestination { destination, at } => {
                let found = self.destinations.get(&destination).filter(|found| found.deleted_at.is_none());
                let tenant = found.ok_or(Refusal::Missing)?.tenant;
                self.end_destination(destination, at, false);
                self.raise_subscriptions(tenant);
                Ok(0)
            }
            Write::PutRecord { mut record, expect } => {
                let key = (record.kind.clone(), record.key.clone());
                let found = self.records.get(&key).filter(|found| found.expires_at.is_none_or(|at| at > now));
                let revision = found.map(|found| found.revision);
                match (expect, revision) {
                    (Expect::Absent, Some(_)) => return Err(Refusal::Exists),
                    (Expect::Revision(_), None) => return Err(Refusal::Missing),
                    (Expect::Revision(wanted), Some(found)) if found != wanted => return Err(Refusal::Stale { found }),
                    _ => {}
                }
                record.revision = revision.unwrap_or(0) + 1;
                let revision = record.revision;
                self.records.insert(key, record);
                Ok(revision)
            }
            Write::DeleteRecord { kind, key } => {
                self.records.remove(&(kind, key));
                Ok(0)
            }
            Write::RequestAttempt { key, trigger } => {
                let destination = self.destinations.get(&key.destination).cloned().ok_or(Refusal::Missing)?;
                self.change_delivery(&key, |delivery| delivery.request(trigger, now, &destination))
                    .ok_or(Refusal::Missing)?
                    .map_err(Refusal::Delivery)?;
                Ok(0)
            }
            Write::Replay { destination, revision, request, create } => {
                self.replay(now, destination, revision, request, create)
            }
            Write::CancelDelivery { key } => {
                let destination = self.destinations.get(&key.destination).cloned().ok_or(Refusal::Missing)?;
                self.change_delivery(&key, |delivery| delivery.cancel(now, destination.retires(delivery.epoch)))
                    .ok_or(Refusal::Missing)?
                    .map_err(Refusal::Delivery)?;
                Ok(0)
            }
        }
    }

    fn replay(
        &mut self,
        now: Timestamp,
        destination: Incarnation,
        revision: i64,
        request: Vec<EventId>,
        create: Vec<EventId>,
    ) -> Result<i64, Refusal> {
        let record = self.destinations.get(&destination).cloned().ok_or(Refusal::Missing)?;
        if !record.is_enabled() {
            return Err(Refusal::Delivery(RequestRefusal::DestinationDisabled));
        }
        check_revision(Expect::Revision(revision), record.revision)?;
        let mut requested = 0;
        for event in request {
            let done = self.change_delivery(&DeliveryKey { destination, event }, |found| {
                found.request(Trigger::Replay, now, &record)
            });
            requested += i64::from(matches!(done, Some(Ok(()))));
        }
        for id in create {
            let key = DeliveryKey { destination, event: id };
            let Some(event) = self.events.get(&(record.tenant, key.event.clone())).cloned() else { continue };
            if !self.deliveries.contains_key(&key) {
                let topic = event.topic.clone();
                self.add_delivery(&event, now, DeliveryRecord::replayed(key, event.tenant, topic, &record, now));
                requested += 1;
            }
        }
        Ok(requested)
    }

    fn put_tenant(&mut self, mut tenant: Tenant, expect: Expect) -> Result<i64, Refusal> {
        if expect == Expect::Absent {
            if self.live_tenants.contains_key(&tenant.id) || self.tenants.contains_key(&tenant.incarnation) {
                return Err(Refusal::Exists);
            }
            (tenant.revision, tenant.subscriptions) = (1, 0);
            self.live_tenants.insert(tenant.id.clone(), tenant.incarnation);
        } else {
            let found = self.tenants.get(&tenant.incarnation).filter(|found| found.deleted_at.is_none());
            let found = found.ok_or(Refusal::Missing)?;
            check_revision(expect, found.revision)?;
            (tenant.revision, tenant.subscriptions) = (found.revision + 1, found.subscriptions);
        }
        let revision = tenant.revision;
        self.tenants.insert(tenant.incarnation, tenant);
        Ok(revision)
    }

    fn delete_tenant(&mut self, incarnation: Incarnation, at: Timestamp) -> Result<i64, Refusal> {
        let tenant = self.tenants.get_mut(&incarnation).filter(|found| found.deleted_at.is_none());
        let tenant = tenant.ok_or(Refusal::Missing)?;
        tenant.deleted_at = Some(at);
        tenant.updated_at = at;
        tenant.revision += 1;
        tenant.subscriptions += 1;
        self.live_tenants.remove(&tenant.id);
        let live: Vec<Incarnation> = self.live_destinations_of(incarnation).map(|found| found.incarnation).collect();
        for destination in live {
            self.end_destination(destination, at, true);
        }
        Ok(0)
    }

    fn put_destination(
        &mut self,
        mut destination: DestinationRecord,
        expect: Expect,
        limit: Option<u32>,
    ) -> Result<i64, Refusal> {
        let tenant = destination.tenant;
        if self.tenants.get(&tenant).is_none_or(|found| found.deleted_at.is_some()) {
            return Err(Refusal::Missing);
        }
        let incarnation = destination.incarnation;
        if expect == Expect::Absent {
            let taken = self.live_destinations.contains_key(&(tenant, destination.id.clone()))
                || self.destinations.contains_key(&incarnation);
            if taken {
                return Err(Refusal::Exists);
            }
            if let Some(limit) = limit.filter(|limit| self.live_destinations_of(tenant).count() >= *limit as usize) {
                return Err(Refusal::LimitReached { limit });
            }
            destination.revision = 1;
            self.live_destinations.insert((tenant, destination.id.clone()), incarnation);
            self.lanes.insert(incarnation, LaneRecord::new(incarnation));
        } else {
            let found = self.destinations.get(&incarnation).filter(|found| found.deleted_at.is_none());
            let found = found.ok_or(Refusal::Missing)?;
            check_revision(expect, found.revision)?;
            destination.revision = found.revision + 1;
        }
        let revision = destination.revision;
        self.replace_destination(destination);
        self.raise_subscriptions(tenant);
        Ok(revision)
    }

    /// Puts a changed destination in its place; a new epoch empties its lane.
    fn replace_destination(&mut self, destination: DestinationRecord) {
        let incarnation = destination.incarnation;
        let before = self.destinations.insert(incarnation, destination.clone());
        if let (Some(before), Some(lane)) = (before, self.lanes.get_mut(&incarnation)) {
            if before.epoch != destination.epoch {
                lane.open = 0;
            }
            lane.rewritten(&before, &destination);
        }
        self.refresh_lane(incarnation);
    }

    fn end_destination(&mut self, incarnation: Incarnation, at: Timestamp, with_tenant: bool) {
        if let Some(found) = self.destinations.get_mut(&incarnation) {
            found.delete(at, with_tenant);
            found.revision += 1;
            self.live_destinations.remove(&(found.tenant, found.id.clone()));
        }
        if let Some(lane) = self.lanes.get_mut(&incarnation) {
            lane.open = 0;
        }
        self.refresh_lane(incarnation);
    }

    pub(super) fn live_destinations_of(&self, tenant: Incarnation) -> impl Iterator<Item = &DestinationRecord> {
        self.destinations.values().filter(move |found| found.tenant == tenant && found.deleted_at.is_none())
    }

    fn raise_subscriptions(&mut self, tenant: Incarnation) {
        if let Some(tenant) = self.tenants.get_mut(&tenant) {
            tenant.subscriptions += 1;
        }
    }

    /// Whether an item was matched against the tenant's present subscriptions.
    fn is_current(&self, item: &IngestItem) -> bool {
        self.tenants
            .get(&item.event.tenant)
            .is_some_and(|tenant| tenant.deleted_at.is_none() && tenant.subscriptions == item.subscriptions)
    }

    pub(super) fn ingest(&mut self, request: &Ingest) -> Vec<IngestOutcome> {
        request
            .items
            .iter()
            .map(|item| self.ingest_one(request.now, Some(request.lease), request.quota, item))
            .collect()
    }

    fn ingest_one(&mut self, now: Timestamp, lease: Option<Lease>, quota: Quota, item: &IngestItem) -> IngestOutcome {
        let event = &item.event;
        let id = (event.tenant, event.id.clone());
        if let Some(first) = self.events.get(&id) {
            return if first.fingerprint == event.fingerprint {
                IngestOutcome::Duplicate { matched: first.matched.clone() }
            } else {
                IngestOutcome::Conflict
            };
        }
        if !self.is_current(item) {
            return IngestOutcome::Outdated;
        }
        let usage = self.usage(event.tenant);
        let bytes = event.data.len() as u64;
        if quota.is_exceeded(usage, bytes, item.open()) {
            return IngestOutcome::OverQuota { usage };
        }
        let stored = self.stored.entry(event.tenant).or_default();
        stored.events += 1;
        stored.bytes += bytes;
        for key in rollup::of_event(event, item.matched()) {
            self.rollups.entry(key).or_default().add(&Tally::of_event());
        }
        let place = Position { time: event.time, id: event.id.to_string(), scope: event.tenant.as_i64() };
        self.event_order.insert((None, place.clone()), id.clone());
        self.event_order.insert((Some(event.tenant), place), id.clone());
        self.events.insert(id.clone(), event.clone());
        let mut leased = Vec::with_capacity(item.deliveries.len());
        for new in &item.deliveries {
            let key = DeliveryKey { destination: new.destination, event: event.id.clone() };
            let mut delivery =
                DeliveryRecord::new(key.clone(), event.tenant, event.topic.clone(), new.epoch, now, new.skipped);
            let allowed = self.lanes.get(&new.destination).is_some_and(|lane| lane.allows_hand_off(now));
            let hand_off = lease.filter(|_| new.hand_off && !new.skipped && allowed);
            leased.push(hand_off.is_some_and(|lease| delivery.take(lease).is_some()));
            self.add_delivery(event, now, delivery);
        }
        IngestOutcome::Stored { leased }
    }

    fn add_delivery(&mut self, event: &Event, now: Timestamp, delivery: DeliveryRecord) {
        let key = delivery.key.clone();
        self.age += 1;
        let place = Position { time: now, id: event.id.to_string(), scope: key.destination.as_i64() };
        self.delivery_order.insert((None, place.clone()), key.clone());
        self.delivery_order.insert((Some(event.tenant), place), key.clone());
        self.fan_out.entry((event.tenant, event.id.clone())).or_default().insert(key.destination);
        self.place(self.age, &delivery);
        self.count_open(&delivery, 1);
        self.deliveries.insert(key.clone(), (self.age, delivery));
        self.refresh_lane(key.destination);
    }

    /// What a tenant has stored.
    pub(super) fn usage(&self, tenant: Incarnation) -> Usage {
        let lanes = self.destinations.values().filter(|found| found.tenant == tenant);
        let open: i64 = lanes.filter_map(|found| self.lanes.get(&found.incarnation)).map(|lane| lane.open).sum();
        Usage { open: open.unsigned_abs(), ..self.stored.get(&tenant).copied().unwrap_or_default() }
    }

    /// Changes a delivery and everything that hangs on it; `None` when there is no such delivery.
    fn change_delivery<T>(&mut self, key: &DeliveryKey, change: impl FnOnce(&mut DeliveryRecord) -> T) -> Option<T> {
        let (age, mut delivery) = self.deliveries.remove(key)?;
        self.unplace(age, &delivery);
        self.count_open(&delivery, -1);
        let result = change(&mut delivery);
        self.count_open(&delivery, 1);
        self.place(age, &delivery);
        self.deliveries.insert(key.clone(), (age, delivery));
        self.refresh_lane(key.destination);
        Some(result)
    }

    pub(super) fn unplace(&mut self, age: u64, delivery: &DeliveryRecord) {
        if let Some(due) = delivery.due {
            self.due.remove(&(delivery.key.destination, delivery.epoch, delivery.is_urgent(), due, age));
        }
    }

    fn place(&mut self, age: u64, delivery: &DeliveryRecord) {
        if let Some(due) = delivery.due {
            let key = &delivery.key;
            self.due.insert((key.destination, delivery.epoch, delivery.is_urgent(), due, age), key.clone());
        }
    }

    fn count_open(&mut self, delivery: &DeliveryRecord, by: i64) {
        let destination = self.destinations.get(&delivery.key.destination);
        if destination.is_some_and(|found| found.deleted_at.is_none() && delivery.is_open_at(found.epoch))
            && let Some(lane) = self.lanes.get_mut(&delivery.key.destination)
        {
            lane.open += by;
        }
    }

    /// The earliest waiting delivery of a destination's present epoch.
    fn earliest(&self, destination: Incarnation, epoch: i64, urgent: bool) -> Option<(Timestamp, &DeliveryKey)> {
        let from = (destination, epoch, urgent, Timestamp::MIN, 0);
        let to = (destination, epoch, urgent, Timestamp::MAX, u64::MAX);
        self.due.range(from..=to).next().map(|((_, _, _, due, _), key)| (*due, key))
    }

    pub(super) fn refresh_lane(&mut self, destination: Incarnation) {
        let Some(record) = self.destinations.get(&destination) else { return };
        let (epoch, live) = (record.epoch, record.is_enabled());
        let next_due = self.earliest(destination, epoch, false).map(|(due, _)| due).filter(|_| live);
        let next_urgent = self.earliest(destination, epoch, true).map(|(due, _)| due).filter(|_| live);
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        if let Some(at) = lane.ready_at() {
            self.ready.remove(&(at, destination));
        }
        (lane.next_due, lane.next_urgent) = (next_due, next_urgent);
        if let Some(at) = lane.ready_at() {
            self.ready.insert((at, destination));
        }
    }

    fn change_lane(&mut self, destination: Incarnation, change: impl FnOnce(&mut LaneRecord)) {
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        if let Some(at) = lane.ready_at() {
            self.ready.remove(&(at, destination));
        }
        change(lane);
        if let Some(at) = lane.ready_at() {
            self.ready.insert((at, destination));
        }
    }

    pub(super) fn claim(&mut self, request: &Claim) -> Claimed {
        let mut claimed = Claimed::default();
        let mut visited: HashSet<Incarnation> = HashSet::new();
        let saturated: HashSet<Incarnation> = request.saturated.iter().copied().collect();
        let rest_until = request.now.after(request.rest);
        for (lane, most) in &request.lanes {
            if visited.insert(*lane) {
                self.visit(request, *lane, *most, &mut claimed);
            }
        }
        if request.discover > 0 {
            let ready: Vec<Incarnation> =
                self.ready.range(..=(request.now, Incarnation::from_i64(i64::MAX))).map(|(_, lane)| *lane).collect();
            for lane in ready {
                if claimed.deliveries.len() >= request.limit as usize {
                    break;
                }
                if saturated.contains(&lane) {
                    self.change_lane(lane, |lane| lane.rest_until = Some(rest_until));
                } else if visited.insert(lane) {
                    self.visit(request, lane, request.discover, &mut claimed);
                }
            }
        }
        claimed.next = self.ready.first().map(|(at, _)| *at);
        claimed
    }

    fn visit(&mut self, request: &Claim, destination: Incarnation, most: u32, claimed: &mut Claimed) {
        let Some(record) = self.destinations.get(&destination).filter(|found| found.is_enabled()) else { return };
        let (epoch, revision, settings) = (record.epoch, record.revision, record.settings.clone());
        let Some(lane) = self.lanes.get(&destination) else { return };
        let room = request.limit.saturating_sub(u32::try_from(claimed.deliveries.len()).unwrap_or(u32::MAX));
        let most = most.min(room);
        let only_urgent = request.urgent_only.contains(&destination);
        let mut scheduled_left = if only_urgent { 0 } else { lane.allowance(request.now, most) };
        let mut taken = 0;
        while taken < most {
            let urgent = self.earliest(destination, epoch, true).filter(|(due, _)| *due <= request.now);
            let scheduled =
                self.earliest(destination, epoch, false).filter(|(due, _)| *due <= request.now && scheduled_left > 0);
            let Some((_, key)) = urgent.or(scheduled) else { break };
            let key = key.clone();
            let is_scheduled = urgent.is_none();
            let trigger = self.change_delivery(&key, |delivery| delivery.take(request.lease)).flatten();
            let (Some(trigger), Some((_, delivery))) = (trigger, self.deliveries.get(&key)) else { continue };
            let Some(event) = self.events.get(&(delivery.tenant, key.event.clone())) else { continue };
            taken += 1;
            scheduled_left -= u32::from(is_scheduled);
            claimed.deliveries.push(ClaimedDelivery {
                key,
                event: event.clone(),
                trigger,
                state: delivery.state,
                attempts: delivery.attempts,
                automatic_attempts: delivery.automatic_attempts,
                scheduled_at: delivery.scheduled_at,
                destination_revision: revision,
            });
        }
        let rest_until = request.now.after(request.rest);
        let now = request.now;
        let more = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        self.change_lane(destination, |lane| {
            let more = more(lane.next_urgent) || (more(lane.next_due) && lane.allowance(now, 1) > 0);
            lane.rest_until = more.then_some(rest_until);
            claimed.lanes.push(VisitedLane { lane: lane.clone(), more, settings: settings.clone() });
        });
    }

    pub(super) fn settle(&mut self, request: Settle) -> Vec<SettleOutcome> {
        let now = request.now;
        request.items.into_iter().map(|item| self.settle_one(now, item)).collect()
    }

    fn settle_one(&mut self, now: Timestamp, item: SettleItem) -> SettleOutcome {
        let held = self.deliveries.get(&item.key).is_some_and(|(_, delivery)| delivery.is_held_by(item.token));
        if !held {
            return SettleOutcome::Stale;
        }
        let destination = item.key.destination;
        let record = self.destinations.get(&destination).cloned();
        let mut health = self.lanes.get(&destination).cloned();
        let mut judgement = Judgement::default();
        if let (SettleAction::Attempted { attempt, .. }, Some(judge), Some(lane), Some(record)) =
            (&item.action, item.judge, &mut health, &record)
        {
            judgement = lane.judge(record, attempt, judge);
        }
        let enabled = record.filter(DestinationRecord::is_enabled);
        judgement.disabled = item.disable.or(judgement.disabled).filter(|_| enabled.is_some());
        let mut follow_ups = item.follow_ups;
        follow_ups.extend(item.alerts.iter().flat_map(|alerts| alerts.events(&judgement)));
        if follow_ups.iter().any(|follow_up| !self.is_current(follow_up)) {
            return SettleOutcome::Outdated;
        }
        for follow_up in &follow_ups {
            self.ingest_one(now, None, Quota::default(), follow_up);
        }
        if let Some(found) = health {
            self.change_lane(destination, |lane| lane.health = found.health);
        }
        if let (Some(disabled), Some(mut record)) = (&judgement.disabled, enabled) {
            record.disable(disabled.clone());
            record.revision += 1;
            let tenant = record.tenant;
            self.replace_destination(record);
            self.raise_subscriptions(tenant);
        }
        if let Some(change) = item.lane {
            self.change_lane(destination, |lane| lane.change(change));
        }
        let record = self.destinations.get(&destination).cloned();
        let outcome = self.change_delivery(&item.key, |delivery| {
            let retired = record.and_then(|record| record.retires(delivery.epoch));
            match &item.action {
                SettleAction::Attempted { attempt, next } => delivery.attempted(attempt, *next, retired),
                SettleAction::Released => delivery.released(now),
                SettleAction::Extended { until } => delivery.extended(*until),
                SettleAction::Retired { state } => delivery.retire(*state, now),
            }
            SettleOutcome::Done { state: delivery.state, due: delivery.due, judgement }
        });
        if let SettleAction::Attempted { attempt, .. } = item.action {
            self.keep_attempt(attempt);
        }
        outcome.unwrap_or(SettleOutcome::Stale)
    }

    fn keep_attempt(&mut self, attempt: Arc<Attempt>) {
        for key in rollup::of_attempt(&attempt) {
            self.rollups.entry(key).or_default().add(&Tally::of_attempt(&attempt));
        }
        self.stored.entry(attempt.tenant).or_default().bytes += body_of(&attempt);
        let place = Position { time: attempt.time, id: attempt.id.to_string(), scope: attempt.tenant.as_i64() };
        self.attempts.insert((None, place.clone()), attempt.clone());
        self.attempts.insert((Some(attempt.tenant), place), attempt.clone());
        self.attempt_ids.insert(attempt.id.clone(), attempt.clone());
        self.attempts_of.entry(attempt.delivery.clone()).or_default().push(attempt);
    }

    pub(super) fn sweep(&mut self, request: Sweep) -> Swept {
        let retired: Vec<DeliveryKey> = self
            .deliveries
            .values()
            .filter(|(_, delivery)| delivery.expects_attempt() && !delivery.is_leased(request.now))
            .filter(|(_, delivery)| self.retires(delivery).is_some())
            .map(|(_, delivery)| delivery.key.clone())
            .collect();
        let expired: Vec<(String, String)> = self
            .records
            .iter()
            .filter(|(_, record)| record.expires_at.is_some_and(|at| at <= request.now))
            .map(|(key, _)| key.clone())
            .collect();
        let old: Vec<RollupKey> = self
            .rollups
            .keys()
            .filter(|key| request.rollups_before.get(usize::from(key.level.code())).is_some_and(|at| key.start < *at))
            .cloned()
            .collect();
        let total = retired.len() + expired.len() + old.len();
        let mut changed = 0;
        for key in retired.into_iter().take(request.limit as usize) {
            let ended = self.deliveries.get(&key).and_then(|(_, delivery)| self.retires(delivery));
            if let Some((state, at)) = ended {
                self.change_delivery(&key, |delivery| delivery.retire(state, at));
                changed += 1;
            }
        }
        for key in expired.into_iter().take((request.limit - changed) as usize) {
            self.records.remove(&key);
            changed += 1;
        }
        for key in old.into_iter().take((request.limit - changed) as usize) {
            self.rollups.remove(&key);
            changed += 1;
        }
        Swept { changed, more: total > changed as usize }
    }

    pub(super) fn retires(
        &self,
        delivery: &DeliveryRecord,
    ) -> Option<(crate::domain::delivery::DeliveryState, Timestamp)> {
        self.destinations.get(&delivery.key.destination)?.retires(delivery.epoch)
    }
}

/// How many bytes of an attempt count as stored.
pub(super) fn body_of(attempt: &Attempt) -> u64 {
    attempt.response.as_ref().map_or(0, |response| response.body.len() as u64)
}

fn check_revision(expect: Expect, found: i64) -> Result<(), Refusal> {
    match expect {
        Expect::Revision(wanted) if wanted != found => Err(Refusal::Stale { found }),
        _ => Ok(()),
    }
}
