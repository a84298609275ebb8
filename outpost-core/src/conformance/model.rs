//! Random operations on the store under test and on the reference, which must agree in every answer.
//!
//! The times are chosen so that no two deliveries of a lane are ever due at the same time, because the
//! contract leaves their order open: the clock shows even milliseconds, everything scheduled is at an odd one
//! that is used once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::compare;
use super::support::{Held, Taken, World, at, item, no_answer, put};
use crate::MemoryStore;
use crate::domain::attempt::Attempt;
use crate::domain::delivery::{CancelReason, DeliveryKey, DeliveryState, Trigger};
use crate::domain::event::{Event, Fingerprint};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneChange, Lease, LeaseToken};
use crate::ports::store::{
    ApplyOutcome, Claim, Expect, Filter, IngestItem, Key, List, NewDelivery, Row, Scan, SettleAction, SettleItem,
    SmallRecord, Write,
};
use crate::values::id::{EventId, Incarnation};
use crate::values::page::Direction;
use crate::values::time::Timestamp;

const STEPS: u64 = 220;

/// Tells how to replay a run that fails.
struct Seed(u64);

impl Drop for Seed {
    #[allow(clippy::print_stderr, reason = "the seed must be seen whatever panicked")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this run with OUTPOST_SEED={}", self.0);
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub(super) async fn random_operations_agree_with_the_reference(w: World) {
    let fresh = || std::hash::RandomState::new().build_hasher().finish();
    let seed = Seed(from_environment("OUTPOST_SEED").unwrap_or_else(fresh));
    let steps = from_environment("OUTPOST_STEPS").unwrap_or(STEPS);
    let reference = World::new(MemoryStore::new().into());
    let mut model = Model {
        sides: [w, reference],
        random: seed.0,
        used: BTreeSet::new(),
        tenants: Vec::new(),
        destinations: Vec::new(),
        events: Vec::new(),
        deliveries: Vec::new(),
        held: Vec::new(),
    };
    for _ in 0..3 {
        let tenant = model.create_tenant().map(|write| vec![write]);
        model.apply_both(tenant, None).await;
        let destination = model.create_destination().await.unwrap().map(|write| vec![write]);
        model.apply_both(destination, None).await;
    }
    for step in 0..steps {
        model.step().await;
        if step % 20 == 19 {
            model.compare_everything().await;
        }
    }
    model.compare_everything().await;
}

/// The same write for both sides.
fn both(write: Write) -> [Write; 2] {
    [write.clone(), write]
}

struct Model {
    /// The store under test and the reference.
    sides: [World; 2],
    random: u64,
    /// The odd times that are taken.
    used: BTreeSet<i64>,
    /// Every life there ever was. The first tenant is the operator's, for follow-ups.
    tenants: Vec<Tenant>,
    destinations: Vec<DestinationRecord>,
    events: Vec<(Incarnation, Event)>,
    deliveries: Vec<DeliveryKey>,
    held: Vec<Held>,
}

impl Model {
    fn next(&mut self) -> u64 {
        // SplitMix64: small, and good enough to choose operations.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in so many times.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    fn now(&self) -> Timestamp {
        self.sides[0].now()
    }

    fn advance(&mut self, millis: usize) {
        let millis = i64::try_from(millis / 2 * 2).unwrap();
        self.sides.iter().for_each(|side| side.advance(millis));
    }

    /// An odd time after now that was never used.
    fn later(&mut self) -> Timestamp {
        let mut millis = (self.now().since(at(0)).as_millis() as i64) + 1 + 2 * self.below(4000) as i64;
        while !self.used.insert(millis) {
            millis += 2;
        }
        at(millis)
    }

    fn lease(&mut self) -> Lease {
        let token = LeaseToken(i64::from_ne_bytes(self.next().to_ne_bytes()));
        Lease { token, until: self.later() }
    }

    async fn step(&mut self) {
        self.advance(2);
        match self.below(40) {
            0..=11 => self.apply().await,
            12..=19 => self.publish().await,
            20..=25 => self.claim().await,
            26..=34 => self.settle().await,
            35 => self.sweep().await,
            36 => {
                let far = self.below(12_000);
                self.advance(far);
            }
            _ => self.scan().await,
        }
    }

    /// Applies one to three writes, and now and then an event with them.
    async fn apply(&mut self) {
        let mut writes = [Vec::new(), Vec::new()];
        // Two requests of one call would be due at the same time, and two destinations created in one call
        // could be refused for either of two reasons.
        let mut used = BTreeSet::new();
        for _ in 0..=self.below(3) {
            let kind = self.below(12);
            if !used.insert(kind) {
                continue;
            }
            let made = match kind {
                0 => Some(self.create_tenant()),
                1 => self.change_tenant().await,
                2..=4 if used.insert(100) => self.create_destination().await,
                5 | 6 => self.change_destination().await,
                7 => self.write_record().await,
                8..=10 if used.insert(101) => self.request(),
                _ => self.cancel(),
            };
            for (all, one) in writes.iter_mut().zip(made.into_iter().flatten()) {
                all.push(one);
            }
        }
        let operator = self.tenants[0].incarnation;
        let is_operators = |write: &Write| {
            let life = match write {
                Write::PutDestination { destination, .. } => destination.incarnation,
                Write::DeleteDestination { destination, .. } => *destination,
                _ => return false,
            };
            let own = |found: &DestinationRecord| found.incarnation == life && found.tenant == operator;
            self.destinations.iter().any(own)
                || matches!(write, Write::PutDestination { destination, .. } if destination.tenant == operator)
        };
        // Whether a follow-up is matched before or after the writes that come with it is open.
        let alone = writes[0].iter().any(is_operators);
        let follow_up = if !alone && self.one_in(4) { Some(self.follow_up()) } else { None };
        self.apply_both(writes, follow_up).await;
    }

    async fn apply_both(&mut self, writes: [Vec<Write>; 2], follow_up: Option<IngestItem>) {
        let created = writes[0].clone();
        let mut answers = Vec::new();
        for (side, writes) in self.sides.iter().zip(writes) {
            let mut follow_ups: Vec<IngestItem> = follow_up.iter().cloned().collect();
            for follow_up in &mut follow_ups {
                follow_up.subscriptions += side.find_tenant(follow_up.event.tenant).await.subscriptions;
            }
            answers.push(compare::applied(side.apply_with(writes, follow_ups).await));
        }
        assert_eq!(answers[0], answers[1], "apply: the store under test (left) and the reference (right)");
        if !matches!(answers[0], ApplyOutcome::Done(_)) {
            return;
        }
        for write in created {
            match write {
                Write::PutTenant { tenant, expect: Expect::Absent } => self.tenants.push(tenant),
                Write::PutDestination { destination, expect: Expect::Absent, .. } => {
                    self.destinations.push(*destination);
                }
                _ => {}
            }
        }
    }

    fn create_tenant(&mut self) -> [Write; 2] {
        let id = format!("tenant_{}", self.below(3));
        let tenant = self.sides[0].new_tenant(if self.tenants.is_empty() { "operator" } else { &id });
        both(Write::PutTenant { tenant, expect: Expect::Absent })
    }

    /// A tenant, mostly one that lives.
    async fn some_tenant(&mut self) -> Tenant {
        let mut from = self.tenants.clone();
        if !self.one_in(10) {
            from.clear();
            for tenant in &self.tenants {
                if self.sides[1].find_tenant(tenant.incarnation).await.deleted_at.is_none() {
                    from.push(tenant.clone());
                }
            }
        }
        self.pick(&from).unwrap()
    }

    async fn change_tenant(&mut self) -> Option<[Write; 2]> {
        let tenants = self.tenants.clone();
        let (tenant, delete) = (self.pick(&tenants[1..])?, self.one_in(3));
        let (now, wrong) = (self.now(), i64::from(self.one_in(4)));
        let write = async |side: &World| {
            let revision = side.find_tenant(tenant.incarnation).await.revision + wrong;
            if delete {
                Write::DeleteTenant { tenant: tenant.incarnation, at: now }
            } else {
                let tenant = Tenant { metadata: BTreeMap::new(), updated_at: now, ..tenant.clone() };
                Write::PutTenant { tenant, expect: Expect::Revision(revision) }
            }
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    async fn create_destination(&mut self) -> Option<[Write; 2]> {
        let (tenant, id) = (self.some_tenant().await, format!("des_{}", self.below(4)));
        let record = self.sides[0].new_destination(&tenant, &id);
        // Which of two reasons to refuse is told is open, so there is only one at a time.
        let taken = self.sides[1].fetch(Key::Destination(tenant.incarnation, record.id.clone())).await;
        let (destination, limit) = (Box::new(record), taken.is_empty().then_some(3));
        Some(both(Write::PutDestination { destination, expect: Expect::Absent, limit }))
    }

    async fn change_destination(&mut self) -> Option<[Write; 2]> {
        let destinations = self.destinations.clone();
        let destination = self.pick(&destinations)?;
        let (now, kind, wrong) = (self.now(), self.below(12), i64::from(self.one_in(4)));
        let write = async |side: &World| {
            let mut found = side.find_destination(destination.incarnation).await;
            let expect = Expect::Revision(found.revision + wrong);
            match kind {
                0 => return Write::DeleteDestination { destination: destination.incarnation, at: now },
                1 | 2 => found.disable(side.disabled()),
                3..=7 => found.disabled = None,
                _ => found.name = Some("renamed".to_owned()),
            }
            put(&found, expect)
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    async fn write_record(&mut self) -> Option<[Write; 2]> {
        let (kind, key) = ("kind".to_owned(), format!("key_{}", self.below(3)));
        let expires_at = if self.one_in(2) { Some(self.later()) } else { None };
        let value = Bytes::from(self.next().to_string());
        let record = SmallRecord { kind: kind.clone(), key: key.clone(), value, expires_at, revision: 0 };
        let (choice, wrong) = (self.below(4), i64::from(self.one_in(3)));
        let write = async |side: &World| {
            let expect = match (choice, side.fetch(Key::Record(kind.clone(), key.clone())).await.pop()) {
                (0, _) => return Write::DeleteRecord { kind: kind.clone(), key: key.clone() },
                (1, _) => Expect::Absent,
                (2, Some(Row::Record(found))) => Expect::Revision(found.revision + wrong),
                _ => Expect::Any,
            };
            Write::PutRecord { record: record.clone(), expect }
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    fn request(&mut self) -> Option<[Write; 2]> {
        let deliveries = self.deliveries.clone();
        let key = self.pick(&deliveries)?;
        let trigger = [Trigger::Manual, Trigger::Replay, Trigger::Test][self.below(3)];
        Some(both(Write::RequestAttempt { key, trigger }))
    }

    fn cancel(&mut self) -> Option<[Write; 2]> {
        let deliveries = self.deliveries.clone();
        Some(both(Write::CancelDelivery { key: self.pick(&deliveries)? }))
    }

    /// An item as `side` sees it, with deliveries to these destinations.
    async fn item(side: &World, event: &Event, to: &[(Incarnation, bool)], wrong: i64) -> IngestItem {
        let subscriptions = side.find_tenant(event.tenant).await.subscriptions + wrong;
        let mut deliveries = Vec::new();
        for (destination, hand_off) in to {
            let found = side.find_destination(*destination).await;
            let (skipped, hand_off) = (found.disabled.is_some(), *hand_off);
            deliveries.push(NewDelivery { destination: *destination, epoch: found.epoch, skipped, hand_off });
        }
        IngestItem { event: Arc::new(event.clone()), subscriptions, deliveries }
    }

    async fn publish(&mut self) {
        let mut wanted = Vec::new();
        let mut free: Vec<Incarnation> = self.destinations.iter().map(|found| found.incarnation).collect();
        for _ in 0..=self.below(3) {
            let tenant = self.some_tenant().await;
            let (event, to) = self.event(&tenant, &mut free).await;
            wanted.push((event.clone(), to, i64::from(self.one_in(10))));
            if self.one_in(8) {
                wanted.push((event, Vec::new(), 0));
            }
        }
        let lease = self.lease();
        let mut answers = Vec::new();
        for side in &self.sides {
            let mut items = Vec::new();
            for (event, to, wrong) in &wanted {
                items.push(Self::item(side, event, to, *wrong).await);
            }
            answers.push(side.ingest_under(lease, items).await);
        }
        assert_eq!(answers[0], answers[1], "ingest: the store under test (left) and the reference (right)");
        for ((event, to, _), outcome) in wanted.into_iter().zip(answers.swap_remove(0)) {
            let crate::store::IngestOutcome::Stored { leased } = outcome else { continue };
            for ((destination, _), leased) in to.into_iter().zip(leased) {
                let key = DeliveryKey { destination, event: event.id.clone() };
                self.deliveries.push(key.clone());
                if leased {
                    let (tenant, topic, trigger) = (event.tenant, event.topic.clone(), Trigger::Automatic);
                    self.held.push(Held { token: lease.token, key, tenant, topic, trigger, attempts: 0 });
                }
            }
            self.events.push((event.tenant, event));
        }
    }

    /// A new event, or now and then one that was there before. Each destination is used once in a call.
    async fn event(&mut self, tenant: &Tenant, free: &mut Vec<Incarnation>) -> (Event, Vec<(Incarnation, bool)>) {
        let events = self.events.clone();
        let repeat = if self.one_in(6) { self.pick(&events) } else { None };
        if let Some((owner, mut event)) = repeat
            && self.sides[1].find_tenant(owner).await.deleted_at.is_none()
        {
            if self.one_in(3) {
                event.fingerprint = Fingerprint([9; 32]);
            }
            return (event, Vec::new());
        }
        let id = format!("evt_{}", self.next());
        let topic = ["order.created", "order.paid", "user.created"][self.below(3)];
        // Several events have the same time.
        let time = at(1000 * self.below(5) as i64);
        let event = Event { time, topic: Arc::from(topic), ..self.sides[0].event(tenant, &id) };
        let mut to = Vec::new();
        for destination in self.destinations.clone() {
            let place = free.iter().position(|found| *found == destination.incarnation);
            let live = self.sides[1].find_destination(destination.incarnation).await.deleted_at.is_none();
            if let Some(place) = place.filter(|_| live && destination.tenant == tenant.incarnation)
                && self.one_in(2)
            {
                to.push((free.remove(place), self.one_in(3)));
            }
        }
        (event, to)
    }

    async fn claim(&mut self) {
        let mut lanes = Vec::new();
        let mut saturated = Vec::new();
        for destination in self.destinations.clone() {
            match self.below(6) {
                0 => lanes.push((destination.incarnation, u32::try_from(self.below(4)).unwrap())),
                1 => saturated.push(destination.incarnation),
                _ => {}
            }
        }
        // The limit cuts short only where the order of lanes is given.
        let named = self.one_in(3);
        let limit = if named { 1 + u32::try_from(self.below(4)).unwrap() } else { 1000 };
        let discover = if named { 0 } else { 1 + u32::try_from(self.below(4)).unwrap() };
        let rest = Duration::from_millis(2 * self.below(2000) as u64);
        let claim = Claim { now: self.now(), lease: self.lease(), limit, lanes, discover, saturated, rest };
        let mut taken: Vec<Taken> = Vec::new();
        for side in &self.sides {
            taken.push(side.claim(claim.clone()).await);
        }
        let [one, other] = [&taken[0], &taken[1]].map(|taken| compare::claimed(&taken.claimed, claim.now));
        assert_eq!(one, other, "claim: the store under test (left) and the reference (right)");
        let mut seen = BTreeSet::new();
        for held in taken[1].held() {
            // Leases of one lane must not end together.
            if !seen.insert(held.key.destination) {
                self.advance(2);
                let until = self.later();
                self.settle_items(vec![item(&held, SettleAction::Extended { until })]).await;
            }
            self.held.push(held);
        }
    }

    async fn settle_items(&mut self, items: Vec<SettleItem>) {
        let mut answers: Vec<Vec<String>> = Vec::new();
        for side in &self.sides {
            // Follow-ups were matched against what this side shows.
            let mut own = items.clone();
            for follow_up in own.iter_mut().flat_map(|item| item.follow_ups.iter_mut()) {
                follow_up.subscriptions += side.find_tenant(follow_up.event.tenant).await.subscriptions;
            }
            let outcomes = side.settle_all(own).await;
            answers.push(items.iter().zip(outcomes).map(|(item, outcome)| compare::settled(item, outcome)).collect());
        }
        assert_eq!(answers[0], answers[1], "settle: the store under test (left) and the reference (right)");
    }

    async fn settle(&mut self) {
        let mut items = Vec::new();
        let mut released = false;
        let mut batch = BTreeSet::new();
        for _ in 0..=self.below(3) {
            if self.held.is_empty() {
                break;
            }
            let place = self.below(self.held.len());
            let held = self.held.swap_remove(place);
            if !batch.insert(held.key.clone()) {
                continue;
            }
            let next = if self.one_in(4) { None } else { Some(self.later()) };
            let mut item = match self.below(12) {
                0..=3 => self.sides[0].attempted(&held, true, None),
                4..=8 => self.sides[0].attempted(&held, false, next),
                9 if !released => {
                    released = true;
                    item(&held, SettleAction::Released)
                }
                10 => item(&held, SettleAction::Retired { state: DeliveryState::Cancelled(CancelReason::User) }),
                _ => {
                    let until = self.later();
                    self.held.push(held.clone());
                    item(&held, SettleAction::Extended { until })
                }
            };
            if self.one_in(8) {
                item.token = LeaseToken(item.token.0 ^ 1);
            }
            if let SettleAction::Attempted { attempt, .. } = &mut item.action {
                self.vary(attempt);
            }
            item.lane = match self.below(6) {
                0 => Some(LaneChange::Hold { until: self.later(), strikes: u32::try_from(self.below(3)).unwrap() }),
                1 => Some(LaneChange::Clear),
                _ => None,
            };
            item.disable = if self.one_in(12) { Some(self.sides[0].disabled()) } else { None };
            if items.is_empty() && self.one_in(5) {
                item.follow_ups.push(self.follow_up());
            }
            items.push(item);
        }
        self.settle_items(items).await;
    }

    /// Gives an attempt an odd answer, or none.
    fn vary(&mut self, attempt: &mut Attempt) {
        attempt.duration = Duration::from_micros(self.next() % 30_000_000);
        if self.one_in(4) {
            (attempt.response, attempt.error) = (None, Some(no_answer()));
        } else if let Some(response) = &mut attempt.response {
            let length = self.below(3000);
            response.body = (0..length).map(|_| self.next().to_le_bytes()[0]).collect::<Vec<u8>>().into();
            response.truncated = self.one_in(2);
            let again = response.headers.clone();
            response.headers.insert(0, ("x-first".to_owned(), length.to_string()));
            response.headers.extend(again);
        }
    }

    /// An event of the operator's without deliveries; now and then matched against the wrong number.
    fn follow_up(&mut self) -> IngestItem {
        let id = format!("op_{}", self.next());
        let operator = self.tenants[0].clone();
        let event = self.sides[0].event(&operator, &id);
        // The number is what it is off by; each side adds its own.
        let subscriptions = i64::from(self.one_in(3));
        if subscriptions == 0 {
            self.events.push((operator.incarnation, event.clone()));
        }
        IngestItem { event: Arc::new(event), subscriptions, deliveries: Vec::new() }
    }

    /// What a bounded sweep takes first is open, so both sides sweep to the end.
    async fn sweep(&mut self) {
        let limit = 1 + u32::try_from(self.below(9)).unwrap();
        for side in &self.sides {
            side.sweep_all(limit).await;
        }
    }

    /// A time to filter by, as often as not one that events have.
    fn edge(&mut self) -> Timestamp {
        if self.one_in(2) { at(1000 * self.below(6) as i64) } else { at(self.below(9000) as i64) }
    }

    fn filter(&mut self) -> Filter {
        let (tenants, destinations, events) = (self.tenants.clone(), self.destinations.clone(), self.events.clone());
        let mut filter = Filter::default();
        if self.one_in(2) {
            filter.tenant = self.pick(&tenants).map(|tenant| tenant.incarnation);
        }
        if self.one_in(3) {
            filter.destinations.extend(self.pick(&destinations).map(|found| found.incarnation));
            filter.destinations.extend(self.pick(&destinations).map(|found| found.incarnation));
        }
        if self.one_in(6) {
            let ids: [Option<EventId>; 2] = [(); 2].map(|()| self.pick(&events).map(|(_, event)| event.id));
            filter.events = ids.into_iter().flatten().collect();
        }
        if self.one_in(4) {
            filter.topics = vec!["order.paid".to_owned(), "user.created".to_owned()];
        }
        if self.one_in(3) {
            filter.states = vec![DeliveryState::ALL[self.below(8)], DeliveryState::ALL[self.below(8)]];
        }
        if self.one_in(4) {
            filter.success = Some(self.one_in(2));
        }
        if self.one_in(4) {
            filter.from = Some(self.edge());
        }
        if self.one_in(4) {
            filter.until = Some(self.edge());
        }
        filter
    }

    /// Walks one list on both sides in pages of the same size. Each list ignores filters that are not its.
    async fn scan(&mut self) {
        let list = [List::Tenants, List::Destinations, List::Events, List::Deliveries, List::Attempts][self.below(5)];
        let mut filter = self.filter();
        if matches!(list, List::Tenants | List::Destinations) {
            (filter.events, filter.topics) = (Vec::new(), Vec::new());
        }
        if list == List::Tenants {
            filter.destinations.clear();
        }
        if list != List::Deliveries {
            filter.states.clear();
        }
        if list != List::Attempts {
            filter.success = None;
        }
        let direction = if self.one_in(2) { Direction::Ascending } else { Direction::Descending };
        let limit = 1 + u32::try_from(self.below(12)).unwrap();
        let scan = Scan { list, filter, direction, after: None, limit, examine: 100_000 };
        if self.one_in(3) {
            // Where pages end under a small bound is open, so only all rows together are compared.
            let examine = 2 + u32::try_from(self.below(6)).unwrap();
            let mut answers = [Vec::new(), Vec::new()];
            for (side, rows) in self.sides.iter().zip(&mut answers) {
                let mut next = Scan { examine, ..scan.clone() };
                for _ in 0..1000 {
                    let page = side.scan(next.clone()).await;
                    rows.extend(compare::rows(vec![page.rows], self.now()).concat());
                    next.after = page.resume;
                    if next.after.is_none() {
                        break;
                    }
                }
            }
            assert_eq!(answers[0], answers[1], "{scan:?} in pages of {examine} rows examined");
            return;
        }
        let mut after = [None, None];
        for _ in 0..20 {
            let mut answers = Vec::new();
            for (side, after) in self.sides.iter().zip(&mut after) {
                let page = side.scan(Scan { after: after.clone(), ..scan.clone() }).await;
                after.clone_from(&page.resume);
                answers.push(compare::page(page, self.now()));
            }
            assert_eq!(answers[0], answers[1], "{scan:?}: the store under test (left) and the reference (right)");
            if !answers[0].1 {
                break;
            }
        }
    }

    async fn compare_everything(&mut self) {
        let mut keys: Vec<Key> = Vec::new();
        for tenant in &self.tenants {
            keys.push(Key::TenantLife(tenant.incarnation));
            keys.push(Key::Tenant(tenant.id.clone()));
            keys.push(Key::DestinationsOf(tenant.incarnation));
        }
        for destination in &self.destinations {
            keys.push(Key::DestinationLife(destination.incarnation));
            keys.push(Key::Destination(destination.tenant, destination.id.clone()));
            keys.push(Key::Lane(destination.incarnation));
        }
        for (tenant, event) in &self.events {
            keys.push(Key::Event(*tenant, event.id.clone()));
            keys.push(Key::DeliveriesOf(*tenant, event.id.clone()));
        }
        keys.extend(self.deliveries.iter().cloned().map(Key::AttemptsOf));
        keys.extend((0..3).map(|key| Key::Record("kind".to_owned(), format!("key_{key}"))));
        let mut answers = Vec::new();
        for side in &self.sides {
            answers.push(compare::rows(side.fetch_all(keys.clone()).await, self.now()));
        }
        let [one, other] = [answers.remove(0), answers.remove(0)];
        for ((key, one), other) in keys.iter().zip(one).zip(other) {
            assert_eq!(one, other, "{key:?}: the store under test (left) and the reference (right)");
        }
        for _ in 0..3 {
            self.scan().await;
        }
    }
}
