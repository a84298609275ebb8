//! Random operations on the store under test and on the reference, which must agree in every answer.
//!
//! The times are chosen so that no two deliveries of a lane are ever due at the same time, because the
//! contract leaves their order open: the clock shows even milliseconds, everything scheduled is at an odd one
//! that is used once.

mod choose;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::compare;
use super::support::{Held, Taken, World, at, item};
use crate::MemoryStore;
use crate::domain::delivery::{CancelReason, DeliveryKey, DeliveryState, Trigger};
use crate::domain::event::Event;
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneChange, Lease, LeaseToken};
use crate::ports::store::{
    ApplyOutcome, Claim, Expect, IngestItem, Key, List, NewDelivery, Scan, SettleAction, SettleItem, Write,
};
use crate::values::id::Incarnation;
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
                self.vary(std::sync::Arc::make_mut(attempt));
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

    /// What a bounded sweep takes first is open, so both sides sweep to the end.
    async fn sweep(&mut self) {
        let limit = 1 + u32::try_from(self.below(9)).unwrap();
        for side in &self.sides {
            side.sweep_all(limit).await;
        }
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
