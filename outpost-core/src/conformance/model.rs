//! Random operations on the store under test and on the reference, which must agree in every answer.
//!
//! The times are chosen so that no two deliveries of a lane are ever due at the same time, because the
//! contract leaves their order open: the clock shows even milliseconds, everything scheduled is at an odd one
//! that is used once.

mod check;
mod choose;
mod settle;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::compare;
use super::support::{Held, Taken, World, at, item};
use crate::MemoryStore;
use crate::domain::delivery::{DeliveryKey, Trigger};
use crate::domain::event::Event;
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, Lease, LeaseToken};
use crate::ports::store::{ApplyOutcome, Claim, Expect, IngestItem, NewDelivery, Prune, SettleAction, Write};
use crate::values::id::Incarnation;
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
        match self.below(42) {
            0..=11 => self.apply().await,
            12..=19 => self.publish().await,
            20..=25 => self.claim().await,
            26..=34 => self.settle().await,
            35 => self.sweep().await,
            36 => self.prune().await,
            37 => {
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
            let kind = self.below(14);
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
                11 | 12 if used.insert(101) => self.replay().await,
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
            let outcome = side.apply_with(writes.clone(), follow_ups).await;
            answers.push(compare::applied(&writes, outcome));
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
                Write::Replay { destination, create, .. } => {
                    self.deliveries.extend(create.into_iter().map(|event| DeliveryKey { destination, event }));
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
        let (lease, quota) = (self.lease(), self.quota());
        let mut answers = Vec::new();
        for side in &self.sides {
            let mut items = Vec::new();
            for (event, to, wrong) in &wanted {
                items.push(Self::item(side, event, to, *wrong).await);
            }
            answers.push(side.ingest_within(quota, lease, items).await);
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
        let (mut saturated, mut urgent_only) = (Vec::new(), Vec::new());
        for destination in self.destinations.clone() {
            if self.one_in(6) {
                urgent_only.push(destination.incarnation);
            }
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
        let claim =
            Claim { now: self.now(), lease: self.lease(), limit, lanes, discover, saturated, urgent_only, rest };
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
                self.settle_items(vec![(item(&held, SettleAction::Extended { until }), None)]).await;
            }
            self.held.push(held);
        }
    }

    /// What a bounded sweep takes first is open, so both sides sweep to the end.
    async fn sweep(&mut self) {
        let limit = 1 + u32::try_from(self.below(9)).unwrap();
        let old = [(); 3].map(|()| if self.one_in(4) { self.edge() } else { Timestamp::MIN });
        for side in &self.sides {
            side.sweep_all_with(limit, old).await;
        }
    }

    /// In which order events are examined is open too, so both sides prune to the end.
    async fn prune(&mut self) {
        let tenants = self.tenants.clone();
        let tenant = if self.one_in(2) { self.pick(&tenants).map(|tenant| tenant.incarnation) } else { None };
        let (limit, examine) = (1 + self.below(9), 1 + self.below(9));
        let [limit, examine] = [limit, examine].map(|bound| u32::try_from(bound).unwrap());
        let before = if self.one_in(2) { self.now() } else { self.edge() };
        let mut answers = Vec::new();
        for side in &self.sides {
            let pruned = side.prune_all(Prune { tenant, limit, examine, ..side.older(before) }).await;
            answers.push((pruned.events, pruned.attempts, pruned.bytes));
        }
        assert_eq!(answers[0], answers[1], "prune: the store under test (left) and the reference (right)");
    }
}
