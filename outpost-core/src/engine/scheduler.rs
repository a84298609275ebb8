//! Which queued delivery is sent next. Bounded memory, and fair: no destination and no tenant can take
//! what others need, however much it has queued or however slowly it answers.
//!
//! Both for sending and for queueing the limit of each is a multiple of what is free (a *dynamic
//! threshold*): alone, one may use most of the capacity; the more are busy, the less each gets, and some
//! always stays free for whoever comes next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::settings::DeliverySettings;
use crate::engine::pace::Pace;
use crate::engine::rate::Bucket;
use crate::engine::record::{LaneRecord, LeaseToken};
use crate::ports::store::ClaimedDelivery;
use crate::values::id::Incarnation;
use crate::values::time::Timestamp;

/// A delivery that this process holds.
#[derive(Debug)]
pub struct Work {
    /// The delivery.
    pub delivery: ClaimedDelivery,
    /// The lease it is held under.
    pub token: LeaseToken,
    /// When the lease ends.
    pub until: Timestamp,
}

impl Work {
    fn lane(&self) -> Incarnation {
        self.delivery.key.destination
    }

    fn tenant(&self) -> Incarnation {
        self.delivery.event.tenant
    }

    fn bytes(&self) -> usize {
        self.delivery.event.data.len()
    }

    fn is_urgent(&self) -> bool {
        self.delivery.trigger.is_urgent()
    }
}

/// The limits of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests on their way at once.
    pub concurrency: u32,
    /// Requests on their way at once to one destination.
    pub destination_concurrency: u32,
    /// Deliveries waiting in memory.
    pub queued: u32,
    /// Deliveries of one destination waiting in memory.
    pub destination_queued: u32,
    /// Bytes of payload waiting in memory.
    pub queued_bytes: usize,
}

/// How many times what is free one tenant may use, and one destination of what is free to its tenant.
const SHARE: u32 = 4;
/// One destination may queue this part of the free queue; a tenant as much as is free.
const QUEUE_SHARE: u32 = 4;

struct Lane {
    tenant: Incarnation,
    /// Attempts that somebody waits for; they go first, past a hold and a rate limit.
    urgent: VecDeque<Work>,
    scheduled: VecDeque<Work>,
    /// Room promised to deliveries that are being stored.
    reserved: u32,
    in_flight: u32,
    pace: Pace,
    settings: Arc<DeliverySettings>,
    bucket: Option<Bucket>,
    /// The store holds due work of this lane that is not in memory.
    backlog: bool,
    /// It stands in its tenant's ring.
    ringed: bool,
}

impl Lane {
    fn queued(&self) -> u32 {
        u32::try_from(self.urgent.len() + self.scheduled.len()).unwrap_or(u32::MAX).saturating_add(self.reserved)
    }

    /// Whether what is scheduled may start: not held, and within the rate limit.
    fn is_open(&self, now: Timestamp) -> bool {
        self.pace.held_until(now).is_none() && self.bucket.as_ref().is_none_or(|bucket| bucket.available(now) > 0)
    }

    fn is_runnable(&self, now: Timestamp) -> bool {
        self.in_flight < self.pace.window()
            && (!self.urgent.is_empty() || (!self.scheduled.is_empty() && self.is_open(now)))
    }

    /// How many more deliveries the rate limit lets start now, beside those that are queued.
    fn within_rate(&self, now: Timestamp) -> u32 {
        self.bucket.as_ref().map_or(u32::MAX, |bucket| {
            let queued = u32::try_from(self.scheduled.len()).unwrap_or(u32::MAX).saturating_add(self.reserved);
            bucket.available(now).saturating_sub(queued)
        })
    }

    /// Whether it may be forgotten. A bucket that is not full is worth remembering.
    fn is_idle(&self, now: Timestamp) -> bool {
        self.in_flight == 0
            && self.queued() == 0
            && !self.backlog
            && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }

    fn adopt(&mut self, settings: &Arc<DeliverySettings>, limit: u32) {
        if Arc::ptr_eq(&self.settings, settings) || self.settings == *settings {
            return;
        }
        self.pace.set_limit(settings.concurrency.map_or(limit, |own| own.min(limit)));
        if self.bucket.as_ref().map(Bucket::limit) != settings.rate_limit {
            self.bucket = settings.rate_limit.map(Bucket::new);
        }
        self.settings = settings.clone();
    }
}

#[derive(Default)]
struct Tenant {
    in_flight: u32,
    queued: u32,
    lanes: VecDeque<Incarnation>,
    ringed: bool,
}

/// What a claim is to fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimPlan {
    /// At most this many in all; 0: there is no room.
    pub limit: u32,
    /// Lanes known to have more, with how many each can take.
    pub lanes: Vec<(Incarnation, u32)>,
    /// Lanes without room.
    pub saturated: Vec<Incarnation>,
    /// When a lane with more in the store is within its rate limit again.
    pub wake_at: Option<Timestamp>,
}

/// The queues and the rules.
pub struct Scheduler {
    limits: Limits,
    lanes: HashMap<Incarnation, Lane>,
    tenants: HashMap<Incarnation, Tenant>,
    ring: VecDeque<Incarnation>,
    in_flight: u32,
    queued: u32,
    queued_bytes: usize,
}

impl Scheduler {
    /// An empty scheduler.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            tenants: HashMap::new(),
            ring: VecDeque::new(),
            in_flight: 0,
            queued: 0,
            queued_bytes: 0,
        }
    }

    /// Requests on their way.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Deliveries in memory that are not on their way.
    #[must_use]
    pub const fn queued(&self) -> u32 {
        self.queued
    }

    fn lane_mut(&mut self, destination: Incarnation, tenant: Incarnation) -> &mut Lane {
        let limit = self.limits.destination_concurrency;
        self.lanes.entry(destination).or_insert_with(|| Lane {
            tenant,
            urgent: VecDeque::new(),
            scheduled: VecDeque::new(),
            reserved: 0,
            in_flight: 0,
            pace: Pace::new(limit),
            settings: Arc::default(),
            bucket: None,
            backlog: false,
            ringed: false,
        })
    }

    /// How many more deliveries the queue of a lane may take.
    fn room(&self, destination: Incarnation, tenant: Incarnation, now: Timestamp) -> u32 {
        if self.queued_bytes >= self.limits.queued_bytes {
            return 0;
        }
        let free = self.limits.queued.saturating_sub(self.queued);
        let (queued, most) = match self.lanes.get(&destination) {
            // While probing, what waits behind the probe is of no use in memory.
            Some(lane) if lane.pace.is_probing() => (lane.queued() + lane.in_flight, 1),
            Some(lane) => {
                let rate = lane.within_rate(now).saturating_add(lane.queued());
                (lane.queued(), self.limits.destination_queued.min(rate))
            }
            None => (0, self.limits.destination_queued),
        };
        let tenant_room = free.saturating_sub(self.tenants.get(&tenant).map_or(0, |tenant| tenant.queued));
        most.min((free / QUEUE_SHARE).max(1)).saturating_sub(queued).min(tenant_room)
    }

    /// Promises room for a delivery that is about to be stored, so that it can be handed over without a
    /// claim. Refused when the lane has older work in the store, is held, or there is no room.
    pub fn reserve(
        &mut self,
        destination: Incarnation,
        tenant: Incarnation,
        settings: &Arc<DeliverySettings>,
        now: Timestamp,
    ) -> bool {
        self.adopt(destination, tenant, settings);
        let refused = self
            .lanes
            .get(&destination)
            .is_some_and(|lane| lane.backlog || lane.pace.is_probing() || lane.pace.held_until(now).is_some());
        if refused || self.room(destination, tenant, now) == 0 {
            self.forget_if_idle(destination, now);
            return false;
        }
        self.lane_mut(destination, tenant).reserved += 1;
        self.count_queued(tenant, 1);
        true
    }

    /// Learns a destination's own settings.
    fn adopt(&mut self, destination: Incarnation, tenant: Incarnation, settings: &Arc<DeliverySettings>) {
        if self.lanes.contains_key(&destination) || !settings.is_default() {
            let limit = self.limits.destination_concurrency;
            self.lane_mut(destination, tenant).adopt(settings, limit);
        }
    }

    /// Takes back a promise of [`reserve`](Self::reserve).
    pub fn unreserve(&mut self, destination: Incarnation, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&destination).filter(|lane| lane.reserved > 0) {
            lane.reserved -= 1;
            let tenant = lane.tenant;
            self.uncount_queued(tenant, 1);
            self.forget_if_idle(destination, now);
        }
    }

    fn count_queued(&mut self, tenant: Incarnation, by: u32) {
        self.queued += by;
        self.tenants.entry(tenant).or_default().queued += by;
    }

    fn uncount_queued(&mut self, tenant: Incarnation, by: u32) {
        self.queued = self.queued.saturating_sub(by);
        if let Some(found) = self.tenants.get_mut(&tenant) {
            found.queued = found.queued.saturating_sub(by);
            self.forget_tenant_if_idle(tenant);
        }
    }

    fn forget_tenant_if_idle(&mut self, tenant: Incarnation) {
        if self.tenants.get(&tenant).is_some_and(|found| found.in_flight == 0 && found.queued == 0 && !found.ringed) {
            self.tenants.remove(&tenant);
        }
    }

    /// Says that the store holds work of a lane that is due but not in memory.
    pub fn note_backlog(&mut self, destination: Incarnation, tenant: Incarnation) {
        self.lane_mut(destination, tenant).backlog = true;
    }

    /// Says that a claim that named a lane did not find it: it is disabled or gone.
    pub fn not_visited(&mut self, destination: Incarnation, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.backlog = false;
            self.forget_if_idle(destination, now);
        }
    }

    /// Takes over what a claim found out about a lane. When that is a hold, what was scheduled is handed back:
    /// it waits better in the store.
    pub fn visited(&mut self, record: &LaneRecord, more: bool, now: Timestamp) -> Vec<Work> {
        let Some(lane) = self.lanes.get_mut(&record.destination) else { return Vec::new() };
        lane.backlog = more;
        lane.pace.adopt(record);
        let held = lane.pace.held_until(now).is_some();
        let drained = if held { self.drain(record.destination, false, now) } else { Vec::new() };
        self.ring_up(record.destination, now);
        self.forget_if_idle(record.destination, now);
        drained
    }

    /// Takes over what the store knows of a lane's pace before a delivery of it is offered. A lane that had come
    /// to rest was forgotten here, and would start every row of holds anew.
    pub fn resume(&mut self, record: &LaneRecord, tenant: Incarnation) {
        if record.strikes > 0 || record.hold_until.is_some() {
            self.lane_mut(record.destination, tenant).pace.adopt(record);
        }
    }

    /// Queues a delivery that this process holds. Gives it back when its lane is held or over its rate limit,
    /// since it would only wait there; the caller releases it.
    pub fn offer(&mut self, work: Work, settings: &Arc<DeliverySettings>, now: Timestamp) -> Option<Work> {
        let (destination, tenant, bytes) = (work.lane(), work.tenant(), work.bytes());
        self.adopt(destination, tenant, settings);
        let lane = self.lane_mut(destination, tenant);
        if work.is_urgent() {
            lane.urgent.push_back(work);
        } else if lane.pace.held_until(now).is_some() {
            self.forget_if_idle(destination, now);
            return Some(work);
        } else if lane.within_rate(now) == 0 {
            lane.backlog = true;
            return Some(work);
        } else {
            lane.scheduled.push_back(work);
        }
        self.count_queued(tenant, 1);
        self.queued_bytes = self.queued_bytes.saturating_add(bytes);
        self.ring_up(destination, now);
        None
    }

    /// Puts a lane that can run into its tenant's ring, and the tenant into the ring of tenants.
    fn ring_up(&mut self, destination: Incarnation, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        if lane.ringed || !lane.is_runnable(now) {
            return;
        }
        lane.ringed = true;
        let tenant = self.tenants.entry(lane.tenant).or_default();
        tenant.lanes.push_back(destination);
        if !tenant.ringed {
            tenant.ringed = true;
            self.ring.push_back(lane.tenant);
        }
    }

    /// The next delivery to send, now counted as on its way; `None` when nothing may be sent.
    pub fn next(&mut self, now: Timestamp) -> Option<Work> {
        for _ in 0..self.ring.len() {
            let free = self.limits.concurrency.saturating_sub(self.in_flight);
            if free == 0 {
                return None;
            }
            let tenant_id = self.ring.pop_front()?;
            let Some(tenant) = self.tenants.get_mut(&tenant_id) else { continue };
            let share = free.saturating_mul(SHARE);
            let mut picked = None;
            if tenant.in_flight < share {
                let lane_share = (share - tenant.in_flight).saturating_mul(SHARE);
                for _ in 0..tenant.lanes.len() {
                    let Some(id) = tenant.lanes.pop_front() else { break };
                    let Some(lane) = self.lanes.get_mut(&id) else { continue };
                    if !lane.is_runnable(now) {
                        lane.ringed = false;
                        forget_if_idle(&mut self.lanes, id, now);
                        continue;
                    }
                    if lane.in_flight >= lane_share {
                        tenant.lanes.push_back(id);
                        continue;
                    }
                    let open = lane.is_open(now);
                    let next = lane.urgent.pop_front();
                    picked = next.or_else(|| if open { lane.scheduled.pop_front() } else { None });
                    if let Some(bucket) = &mut lane.bucket {
                        bucket.take(now);
                    }
                    lane.in_flight += 1;
                    // To the back: the others' turn.
                    lane.ringed = lane.is_runnable(now);
                    if lane.ringed {
                        tenant.lanes.push_back(id);
                    }
                    break;
                }
            }
            if picked.is_some() {
                tenant.in_flight += 1;
            }
            tenant.ringed = !tenant.lanes.is_empty();
            if tenant.ringed {
                self.ring.push_back(tenant_id);
            } else {
                self.forget_tenant_if_idle(tenant_id);
            }
            if let Some(work) = picked {
                self.in_flight += 1;
                self.uncount_queued(tenant_id, 1);
                self.queued_bytes = self.queued_bytes.saturating_sub(work.bytes());
                return Some(work);
            }
        }
        None
    }

    /// Lets the outcome of an attempt change the lane's pace.
    pub fn with_pace<T>(&mut self, destination: Incarnation, decide: impl FnOnce(&mut Pace) -> T) -> T {
        match self.lanes.get_mut(&destination) {
            Some(lane) => decide(&mut lane.pace),
            None => decide(&mut Pace::new(self.limits.destination_concurrency)),
        }
    }

    /// A delivery is no longer on its way.
    pub fn finished(&mut self, destination: Incarnation, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let tenant_id = lane.tenant;
        if let Some(tenant) = self.tenants.get_mut(&tenant_id) {
            tenant.in_flight = tenant.in_flight.saturating_sub(1);
            self.forget_tenant_if_idle(tenant_id);
        }
        self.ring_up(destination, now);
        self.forget_if_idle(destination, now);
    }

    /// Takes out of the queues what is better given back: everything of a lane, or only what is scheduled
    /// while the lane is held.
    pub fn drain(&mut self, destination: Incarnation, urgent_too: bool, now: Timestamp) -> Vec<Work> {
        let Some(lane) = self.lanes.get_mut(&destination) else { return Vec::new() };
        let mut drained: Vec<Work> = lane.scheduled.drain(..).collect();
        if urgent_too {
            drained.extend(lane.urgent.drain(..));
        }
        let tenant = lane.tenant;
        self.uncount_queued(tenant, u32::try_from(drained.len()).unwrap_or(u32::MAX));
        let bytes: usize = drained.iter().map(Work::bytes).sum();
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
        self.forget_if_idle(destination, now);
        drained
    }

    /// Takes everything out of all queues.
    pub fn drain_all(&mut self, now: Timestamp) -> Vec<Work> {
        let lanes: Vec<Incarnation> = self.lanes.keys().copied().collect();
        lanes.into_iter().flat_map(|lane| self.drain(lane, true, now)).collect()
    }

    /// Whether a lane known to have more in the store could take a good part of it.
    #[must_use]
    pub fn wants_refill(&self, destination: Incarnation, now: Timestamp) -> bool {
        self.lanes.get(&destination).is_some_and(|lane| {
            lane.backlog && lane.queued() <= lane.pace.window() && self.room(destination, lane.tenant, now) > 0
        })
    }

    /// What to claim now. Lanes with more in the store are named while their queue runs low. Forgets lanes
    /// that have come to rest since the last time.
    pub fn plan(&mut self, now: Timestamp) -> ClaimPlan {
        self.lanes.retain(|_, lane| lane.ringed || lane.bucket.is_none() || !lane.is_idle(now));
        let free = self.limits.queued.saturating_sub(self.queued);
        let mut plan = ClaimPlan { limit: free.min(1024), ..ClaimPlan::default() };
        if self.queued_bytes >= self.limits.queued_bytes {
            plan.limit = 0;
        }
        for (id, lane) in &self.lanes {
            let room = self.room(*id, lane.tenant, now);
            if lane.backlog
                && let Some(bucket) = lane.bucket.as_ref().filter(|bucket| bucket.available(now) == 0)
            {
                let at = bucket.next_at(now);
                plan.wake_at = Some(plan.wake_at.map_or(at, |wake| wake.min(at)));
            }
            if room == 0 || lane.queued() > lane.pace.window().saturating_mul(2) {
                plan.saturated.push(*id);
            } else if lane.backlog && lane.pace.held_until(now).is_none() {
                plan.lanes.push((*id, room.min(256)));
            }
        }
        // Oldest life first is as good as any order, and a fixed one makes runs repeatable.
        plan.lanes.sort_unstable();
        plan.saturated.sort_unstable();
        plan
    }

    fn forget_if_idle(&mut self, destination: Incarnation, now: Timestamp) {
        forget_if_idle(&mut self.lanes, destination, now);
    }
}

fn forget_if_idle(lanes: &mut HashMap<Incarnation, Lane>, destination: Incarnation, now: Timestamp) {
    // A lane that is probing is known to the store as well.
    if lanes.get(&destination).is_some_and(|lane| lane.is_idle(now) && !lane.ringed) {
        lanes.remove(&destination);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::domain::delivery::{DeliveryKey, DeliveryState, Trigger};
    use crate::domain::event::{Event, Fingerprint};
    use crate::domain::settings::RateLimit;
    use crate::values::id::EventId;

    const NOW: Timestamp = Timestamp::from_millis(0);
    const LIMITS: Limits = Limits {
        concurrency: 64,
        destination_concurrency: 8,
        queued: 1000,
        destination_queued: 200,
        queued_bytes: 1 << 20,
    };

    fn life(number: i64) -> Incarnation {
        Incarnation::from_i64(number)
    }

    fn work(tenant: i64, destination: i64, trigger: Trigger) -> Work {
        let event = Event {
            id: EventId::new("e").unwrap(),
            tenant: life(tenant),
            topic: Arc::from("t"),
            time: NOW,
            created_at: NOW,
            metadata: Arc::default(),
            data: Bytes::from_static(b"{}"),
            eligible_for_retry: true,
            destination_id: None,
            matched: Arc::from([]),
            fingerprint: Fingerprint([0; 32]),
        };
        let delivery = ClaimedDelivery {
            key: DeliveryKey { destination: life(destination), event: event.id.clone() },
            event: Arc::new(event),
            trigger,
            state: DeliveryState::Pending,
            attempts: 0,
            automatic_attempts: 0,
            scheduled_at: Some(NOW),
            destination_revision: 1,
        };
        Work { delivery, token: LeaseToken(1), until: Timestamp::MAX }
    }

    fn fill(scheduler: &mut Scheduler, tenant: i64, destination: i64, count: usize) {
        for _ in 0..count {
            assert!(scheduler.offer(work(tenant, destination, Trigger::Automatic), &Arc::default(), NOW).is_none());
        }
    }

    fn start_all(scheduler: &mut Scheduler) -> BTreeMap<i64, usize> {
        let mut started = BTreeMap::new();
        while let Some(work) = scheduler.next(NOW) {
            *started.entry(work.lane().as_i64()).or_default() += 1;
        }
        started
    }

    #[test]
    fn one_destination_stays_within_its_concurrency() {
        let mut scheduler = Scheduler::new(LIMITS);
        fill(&mut scheduler, 1, 10, 50);
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(10, 8)]));
        scheduler.finished(life(10), NOW);
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(10, 1)]));
    }

    #[test]
    fn a_tenant_with_many_stalled_destinations_leaves_room_for_others() {
        let mut scheduler = Scheduler::new(LIMITS);
        for destination in 10..30 {
            fill(&mut scheduler, 1, destination, 20);
        }
        let stalled: usize = start_all(&mut scheduler).values().sum();
        assert!((40..=56).contains(&stalled), "{stalled}");
        fill(&mut scheduler, 2, 99, 8);
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(99, 8)]));
    }

    #[test]
    fn turns_go_round_between_tenants_and_destinations() {
        let mut scheduler = Scheduler::new(LIMITS);
        fill(&mut scheduler, 1, 10, 20);
        fill(&mut scheduler, 1, 11, 20);
        fill(&mut scheduler, 2, 20, 20);
        let order: Vec<i64> = (0..6).map(|_| scheduler.next(NOW).unwrap().lane().as_i64()).collect();
        assert_eq!(order, [10, 20, 11, 20, 10, 20]);
    }

    #[test]
    fn a_hold_stops_what_is_scheduled_but_not_what_is_requested() {
        let mut scheduler = Scheduler::new(LIMITS);
        fill(&mut scheduler, 1, 10, 5);
        scheduler.with_pace(life(10), |pace| pace.overloaded(NOW, NOW, Duration::from_secs(60)));
        assert_eq!(scheduler.drain(life(10), false, NOW).len(), 5);
        assert!(scheduler.offer(work(1, 10, Trigger::Automatic), &Arc::default(), NOW).is_some(), "given back");
        assert!(!scheduler.reserve(life(10), life(1), &Arc::default(), NOW));
        assert!(scheduler.offer(work(1, 10, Trigger::Manual), &Arc::default(), NOW).is_none());
        assert_eq!(scheduler.next(NOW).unwrap().delivery.trigger, Trigger::Manual);
        assert_eq!(scheduler.queued(), 0);
    }

    #[test]
    fn queue_room_shrinks_as_it_fills_and_never_runs_out_for_newcomers() {
        let mut scheduler = Scheduler::new(LIMITS);
        for destination in 0..100 {
            while scheduler.reserve(life(destination), life(1), &Arc::default(), NOW) {}
        }
        assert!(scheduler.queued() < 1000, "{}", scheduler.queued());
        assert!(scheduler.reserve(life(500), life(2), &Arc::default(), NOW));
    }

    #[test]
    fn lanes_with_a_backlog_take_no_hand_off_and_are_named_in_the_plan() {
        let mut scheduler = Scheduler::new(LIMITS);
        scheduler.note_backlog(life(10), life(1));
        assert!(!scheduler.reserve(life(10), life(1), &Arc::default(), NOW));
        let plan = scheduler.plan(NOW);
        assert_eq!((plan.limit, plan.lanes, plan.saturated), (1000, vec![(life(10), 200)], vec![]));
        assert!(scheduler.visited(&LaneRecord::new(life(10)), false, NOW).is_empty());
        assert!(scheduler.reserve(life(10), life(1), &Arc::default(), NOW));
        scheduler.unreserve(life(10), NOW);
        assert_eq!(scheduler.queued(), 0);
    }

    fn limited(events: u32, seconds: u64) -> Arc<DeliverySettings> {
        let rate_limit = Some(RateLimit { events, per: Duration::from_secs(seconds) });
        Arc::new(DeliverySettings { rate_limit, ..DeliverySettings::default() })
    }

    #[test]
    fn a_rate_limit_takes_into_memory_only_what_may_start() {
        let mut scheduler = Scheduler::new(LIMITS);
        let settings = limited(3, 60);
        let reserved = (0..5).filter(|_| scheduler.reserve(life(10), life(1), &settings, NOW)).count();
        assert_eq!(reserved, 3);
        for _ in 0..3 {
            scheduler.unreserve(life(10), NOW);
            assert!(scheduler.offer(work(1, 10, Trigger::Automatic), &settings, NOW).is_none());
        }
        assert!(scheduler.offer(work(1, 10, Trigger::Replay), &settings, NOW).is_some(), "given back");
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(10, 3)]));
        (0..3).for_each(|_| scheduler.finished(life(10), NOW));
        assert!(!scheduler.reserve(life(10), life(1), &settings, NOW), "what was used is remembered");
        assert!(scheduler.offer(work(1, 10, Trigger::Manual), &settings, NOW).is_none(), "a person does not wait");
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(10, 1)]));
        scheduler.finished(life(10), NOW);
        let plan = scheduler.plan(NOW);
        assert_eq!((plan.lanes, plan.saturated), (vec![], vec![life(10)]));
        // The one by hand was a fourth, so the next is due after two intervals of twenty seconds.
        assert_eq!(plan.wake_at, Some(Timestamp::from_millis(40_000)));
        let later = Timestamp::from_millis(40_000);
        assert_eq!(scheduler.plan(later).lanes, [(life(10), 1)]);
        scheduler.visited(&LaneRecord::new(life(10)), false, later);
        scheduler.plan(Timestamp::from_millis(200_000));
        assert!(scheduler.lanes.is_empty(), "a full bucket is forgotten");
    }

    #[test]
    fn a_limit_that_is_lifted_holds_nothing_up() {
        let mut scheduler = Scheduler::new(LIMITS);
        assert!(scheduler.reserve(life(10), life(1), &limited(1, 3600), NOW));
        assert!(!scheduler.reserve(life(10), life(1), &limited(1, 3600), NOW));
        assert!(scheduler.reserve(life(10), life(1), &Arc::default(), NOW));
    }

    #[test]
    fn a_destination_s_own_concurrency_is_kept_and_changes_at_once() {
        let mut scheduler = Scheduler::new(LIMITS);
        let own = |concurrency| Arc::new(DeliverySettings { concurrency, ..DeliverySettings::default() });
        for _ in 0..20 {
            assert!(scheduler.offer(work(1, 10, Trigger::Automatic), &own(Some(2)), NOW).is_none());
        }
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(10, 2)]));
        assert!(scheduler.offer(work(1, 10, Trigger::Automatic), &own(Some(100)), NOW).is_none());
        assert_eq!(start_all(&mut scheduler), BTreeMap::from([(10, 6)]), "the engine's own limit holds besides");
    }

    #[test]
    fn nothing_is_kept_of_what_is_done() {
        let mut scheduler = Scheduler::new(LIMITS);
        for round in 0..50 {
            fill(&mut scheduler, round, round, 3);
            while let Some(work) = scheduler.next(NOW) {
                scheduler.finished(work.lane(), NOW);
            }
        }
        assert!(scheduler.lanes.len() <= 1 && scheduler.tenants.len() <= 1 && scheduler.ring.len() <= 1);
        assert_eq!((scheduler.queued, scheduler.queued_bytes, scheduler.in_flight), (0, 0, 0));
    }
}
