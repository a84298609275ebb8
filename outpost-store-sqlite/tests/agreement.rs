//! Random operations on this store and on the memory store, which must agree: health and alerts, quotas, usage,
//! rollups, replays and pruning. `OUTPOST_SEED` replays a run, `OUTPOST_STEPS` makes it longer.

#![allow(missing_docs)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test reports by panicking and printing"
)]

mod support;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::rollup::Level;
use outpost_core::store::{
    Alerts, Apply, ApplyOutcome, Claim, Expect, Fetch, Filter, Ingest, IngestItem, IngestOutcome, Key, List, Prune,
    Quota, Row, Settle, SettleAction, SettleItem, SettleOutcome, Sweep, Write,
};
use outpost_core::{
    Attempt, AttemptId, DeliveryKey, DeliverySettings, DestinationRecord, Disabled, DisabledBy, EventId, Fingerprint,
    HealthPolicy, Judge, Judgement, LaneChange, Lease, LeaseToken, MemoryStore, Outcome, ResponseRecord, Store,
    Timestamp, Trigger,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use support::{apply, at, every_rollup, every_row, life, new_destination, new_event, new_tenant, scan_of};

const TENANTS: [i64; 2] = [1, 2];
/// Each belongs to the tenant of its remainder.
const DESTINATIONS: [i64; 5] = [10, 11, 12, 13, 14];

const fn tenant_of(destination: i64) -> i64 {
    1 + destination % 2
}

/// Tells of a judgement by an event that holds it.
#[derive(Debug)]
struct Tell {
    tenant: i64,
    subscriptions: i64,
    to: Vec<(i64, i64)>,
    id: String,
    at: Timestamp,
}

impl Alerts for Tell {
    fn events(&self, judgement: &Judgement) -> Vec<IngestItem> {
        if *judgement == Judgement::default() {
            return Vec::new();
        }
        vec![made(self.tenant, &self.id, self.subscriptions, &self.to, self.at, format!("{judgement:?}"))]
    }
}

/// An event with deliveries to destinations at an epoch.
fn made(tenant: i64, id: &str, subscriptions: i64, to: &[(i64, i64)], at: Timestamp, data: String) -> IngestItem {
    let numbers: Vec<i64> = to.iter().map(|(number, _)| *number).collect();
    let mut item = new_event(tenant, id, subscriptions, &numbers);
    for (delivery, (_, epoch)) in item.deliveries.iter_mut().zip(to) {
        (delivery.epoch, delivery.hand_off) = (*epoch, true);
    }
    let event = Arc::make_mut(&mut item.event);
    (event.time, event.created_at, event.data) = (at, at, Bytes::from(data));
    item
}

struct Held {
    key: DeliveryKey,
    token: LeaseToken,
    trigger: Trigger,
    attempts: u32,
}

struct World {
    seed: u64,
    random: u64,
    now: i64,
    serial: i64,
    memory: MemoryStore,
    sqlite: SqliteStore,
    path: PathBuf,
    held: Vec<Held>,
    events: Vec<(i64, String)>,
    /// How often what matters came about: a run in which it never does proves nothing.
    seen: BTreeMap<&'static str, u64>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this run with OUTPOST_SEED={}", self.seed);
        }
    }
}

async fn open(path: &PathBuf) -> SqliteStore {
    SqliteStore::builder(path).synchronous(Synchronous::Normal).open().await.expect("opens")
}

/// Asks both stores the same and answers what both answered.
macro_rules! both {
    ($world:expr, $operation:ident, $request:expr) => {{
        let request = $request;
        let left = $world.memory.$operation(request.clone()).await.expect("memory answers");
        let right = $world.sqlite.$operation(request.clone()).await.expect("sqlite answers");
        assert_eq!(left, right, "{request:#?}");
        left
    }};
}

impl World {
    fn pick(&mut self, below: usize) -> usize {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        usize::try_from(self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0) % below
    }

    fn note(&mut self, what: &'static str, count: u64) {
        *self.seen.entry(what).or_default() += count;
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == 0
    }

    fn time(&self) -> Timestamp {
        at(self.now)
    }

    fn next(&mut self) -> i64 {
        self.serial += 1;
        self.serial
    }

    async fn subscriptions(&self, tenant: i64) -> i64 {
        let rows = self.memory.fetch(Fetch { now: self.time(), keys: vec![Key::TenantLife(life(tenant))] }).await;
        match &rows.expect("answers")[0][..] {
            [Row::Tenant(tenant)] => tenant.subscriptions,
            other => panic!("{other:?}"),
        }
    }

    async fn destination(&self, number: i64) -> DestinationRecord {
        let keys = vec![Key::DestinationLife(life(number))];
        let rows = self.memory.fetch(Fetch { now: self.time(), keys }).await;
        match &rows.expect("answers")[0][..] {
            [Row::Destination(found)] => (**found).clone(),
            other => panic!("{other:?}"),
        }
    }

    fn lease(&mut self) -> Lease {
        Lease { token: LeaseToken(self.next()), until: at(self.now + 30_000) }
    }

    /// An event of a tenant to all its live destinations; now and then matched against what was before.
    async fn event(&mut self, tenant: i64, data: String) -> IngestItem {
        let stale = i64::from(self.one_in(12));
        let subscriptions = self.subscriptions(tenant).await - stale;
        let mut to = Vec::new();
        let mut skipped = Vec::new();
        for number in DESTINATIONS.into_iter().filter(|number| tenant_of(*number) == tenant) {
            let found = self.destination(number).await;
            if found.deleted_at.is_none() && !self.one_in(3) {
                to.push((number, found.epoch));
                skipped.push(found.disabled.is_some());
            }
        }
        let repeats = self.one_in(6) && !self.events.is_empty();
        let id = if repeats {
            let at = self.pick(self.events.len());
            self.events[at].1.clone()
        } else {
            format!("e{}", self.next())
        };
        let mut item = made(tenant, &id, subscriptions, &to, self.time(), data);
        for (delivery, skipped) in item.deliveries.iter_mut().zip(skipped) {
            delivery.skipped = skipped;
        }
        let odd = self.one_in(10);
        let event = Arc::make_mut(&mut item.event);
        if odd {
            event.fingerprint = Fingerprint([9; 32]);
        }
        self.events.push((tenant, id));
        item
    }

    async fn ingest(&mut self) {
        let mut items = Vec::new();
        for _ in 0..1 + self.pick(4) {
            let tenant = TENANTS[self.pick(2)];
            let size = self.pick(60);
            items.push(self.event(tenant, "x".repeat(size)).await);
        }
        let quota = match self.pick(3) {
            0 => Quota::default(),
            1 => Quota { open: Some(self.pick(40) as u64), bytes: None },
            _ => Quota { open: Some(self.pick(80) as u64), bytes: Some(self.pick(3000) as u64) },
        };
        let lease = self.lease();
        let request = Ingest { now: self.time(), lease, quota, items };
        let outcomes = both!(self, ingest, request.clone());
        for (item, outcome) in request.items.iter().zip(outcomes) {
            self.note("over quota", u64::from(matches!(outcome, IngestOutcome::OverQuota { .. })));
            let IngestOutcome::Stored { leased } = outcome else { continue };
            for (delivery, _) in item.deliveries.iter().zip(leased).filter(|(_, leased)| *leased) {
                let key = DeliveryKey { destination: delivery.destination, event: item.event.id.clone() };
                self.held.push(Held { key, token: lease.token, trigger: Trigger::Automatic, attempts: 0 });
            }
        }
    }

    async fn claim(&mut self) {
        let lease = self.lease();
        let request = Claim {
            now: self.time(),
            lease,
            limit: 1 + u32::try_from(self.pick(10)).unwrap_or(0),
            lanes: Vec::new(),
            discover: 4,
            saturated: Vec::new(),
            urgent_only: Vec::new(),
            rest: Duration::from_secs(1),
        };
        let claimed = both!(self, claim, request);
        for found in claimed.deliveries {
            self.held.push(Held {
                key: found.key,
                token: lease.token,
                trigger: found.trigger,
                attempts: found.attempts,
            });
        }
    }

    async fn settle(&mut self) {
        let mut items = Vec::new();
        for _ in 0..1 + self.pick(6) {
            if self.held.is_empty() {
                break;
            }
            let at = self.pick(self.held.len());
            let held = self.held.swap_remove(at);
            items.push(self.settled(held).await);
        }
        for outcome in both!(self, settle, Settle { now: self.time(), items }) {
            let SettleOutcome::Done { judgement, .. } = outcome else { continue };
            self.note("news", judgement.news.len() as u64);
            let judged = judgement.disabled.is_some_and(|disabled| disabled.by == DisabledBy::Failures);
            self.note("disabled", u64::from(judged));
        }
    }

    async fn settled(&mut self, held: Held) -> SettleItem {
        let now = self.time();
        let number = held.key.destination.as_i64();
        let tenant = tenant_of(number);
        let success = self.one_in(3);
        let retries = self.one_in(2);
        let body = "b".repeat(self.pick(20));
        let attempt = Attempt {
            id: AttemptId::new(format!("att_{}", self.next())).expect("an id"),
            delivery: held.key.clone(),
            tenant: life(tenant),
            topic: Arc::from("order.created"),
            number: held.attempts + 1,
            trigger: held.trigger,
            started_at: now,
            time: now,
            duration: Duration::from_millis(self.pick(5000) as u64),
            outcome: Outcome { success, code: if success { "200" } else { "500" }.to_owned() },
            request: None,
            response: Some(ResponseRecord { status: 1, body: Bytes::from(body), ..ResponseRecord::default() }),
            error: None,
            next_attempt_at: None,
        };
        let policy = HealthPolicy::default().consecutive_failures(Some(4)).disable_at_count(true);
        let judge = (!self.one_in(5)).then_some(Judge { policy, exhausted: !success && !retries });
        let next = (!success && retries).then(|| at(self.now + 2000));
        let action = match self.pick(8) {
            0 => SettleAction::Released,
            1 => SettleAction::Extended { until: at(self.now + 40_000) },
            _ => SettleAction::Attempted { attempt: Arc::new(attempt), next },
        };
        let gone = Disabled { at: now, by: DisabledBy::Gone, reason: "gone".to_owned(), last_error: None };
        let lane = match self.pick(6) {
            0 => Some(LaneChange::Hold { until: at(self.now + 3000), strikes: 1 }),
            1 => Some(LaneChange::Clear),
            _ => None,
        };
        let other = DESTINATIONS.into_iter().rfind(|number| tenant_of(*number) == tenant).unwrap_or(number);
        let found = self.destination(other).await;
        let to = if found.is_enabled() { vec![(other, found.epoch)] } else { Vec::new() };
        let subscriptions = self.subscriptions(tenant).await;
        let tell = Tell { tenant, subscriptions, to, id: format!("alert{}", self.next()), at: now };
        let follow_ups = if self.one_in(6) { vec![self.event(tenant, "{}".to_owned()).await] } else { Vec::new() };
        SettleItem {
            key: held.key,
            token: held.token,
            action,
            lane,
            disable: self.one_in(25).then_some(gone),
            judge,
            alerts: Some(Arc::new(tell)),
            follow_ups,
        }
    }

    async fn change(&mut self) {
        let number = DESTINATIONS[self.pick(DESTINATIONS.len())];
        let mut record = self.destination(number).await;
        // One of the latest of its tenant, which may be stored still.
        let event = |world: &mut Self| {
            let skip = world.pick(12);
            let own = world.events.iter().rev().filter(|(tenant, _)| *tenant == tenant_of(number));
            EventId::new(own.skip(skip).map(|(_, id)| id.as_str()).next().unwrap_or("none")).expect("an id")
        };
        let write = match self.pick(14) {
            0..=5 if record.deleted_at.is_none() => {
                // Enables it, or changes its settings.
                let concurrency = u32::try_from(self.pick(3)).ok().filter(|number| *number > 0);
                record.settings = Arc::new(DeliverySettings { concurrency, ..DeliverySettings::default() });
                record.filter = concurrency.map(|_| Arc::from("{\"a\": \"ü\"}"));
                record.by_operator = concurrency.is_some();
                record.disabled = None;
                Write::PutDestination { destination: Box::new(record), expect: Expect::Any, limit: None }
            }
            6 if record.is_enabled() => {
                let reason = "by hand".to_owned();
                record.disable(Disabled { at: self.time(), by: DisabledBy::Tenant, reason, last_error: None });
                Write::PutDestination { destination: Box::new(record), expect: Expect::Any, limit: None }
            }
            7 if self.one_in(60) => Write::DeleteDestination { destination: life(number), at: self.time() },
            8 => {
                let trigger = if self.one_in(2) { Trigger::Manual } else { Trigger::Test };
                let key = DeliveryKey { destination: life(number), event: event(self) };
                Write::RequestAttempt { key, trigger }
            }
            9 => Write::CancelDelivery { key: DeliveryKey { destination: life(number), event: event(self) } },
            _ => Write::Replay {
                destination: life(number),
                revision: record.revision - i64::from(self.one_in(8)),
                request: (0..self.pick(4)).map(|_| event(self)).collect(),
                create: (0..self.pick(4)).map(|_| event(self)).collect(),
            },
        };
        let mut writes = vec![write];
        if self.one_in(3) {
            // Refused half the time, with the first one undone.
            let id = TENANTS[self.pick(2)] + if self.one_in(2) { 0 } else { 100 + self.next() };
            writes.push(new_tenant(id));
        }
        let follow_ups = if self.one_in(4) { vec![self.event(1, "{}".to_owned()).await] } else { Vec::new() };
        let replays = matches!(writes.first(), Some(Write::Replay { .. }));
        match both!(self, apply, Apply { now: self.time(), writes, follow_ups }) {
            ApplyOutcome::Done(numbers) if replays => self.note("replayed", numbers[0].unsigned_abs()),
            ApplyOutcome::Refused { index, .. } => self.note("undone", index as u64),
            _ => {}
        }
    }

    async fn forget(&mut self) {
        if self.one_in(3) {
            // Without a limit, because the order within a sweep is each store's own.
            let old = at(self.now - 100_000);
            let before = if self.one_in(4) { [old, old, Timestamp::MIN] } else { [Timestamp::MIN; 3] };
            let swept = both!(self, sweep, Sweep { now: self.time(), limit: 1_000_000, rollups_before: before });
            self.note("swept", u64::from(swept.changed));
            return;
        }
        let tenant = if self.one_in(3) { None } else { Some(life(TENANTS[self.pick(2)])) };
        // Everybody's events come in an order of the store's own, so only whole passes are the same.
        let (limit, examine) = if tenant.is_some() { (1 + self.pick(5), 1 + self.pick(20)) } else { (9999, 9999) };
        let (limit, examine) = (u32::try_from(limit).unwrap_or(1), u32::try_from(examine).unwrap_or(1));
        let before = at(self.now - 20_000);
        let request = Prune { now: self.time(), tenant, before, resume: None, limit, examine };
        let (mut left, mut right) = (request.clone(), request);
        loop {
            let one = self.memory.prune(left.clone()).await.expect("memory answers");
            let two = self.sqlite.prune(right.clone()).await.expect("sqlite answers");
            (left.resume, right.resume) = (one.resume.clone(), two.resume.clone());
            assert_eq!(left.resume.is_some(), right.resume.is_some(), "{left:?}");
            let told = |done: outpost_core::store::Pruned| (done.events, done.attempts, done.bytes, done.kept);
            self.note("pruned attempts", one.attempts);
            assert_eq!(told(one), told(two), "{left:?}");
            if left.resume.is_none() {
                return;
            }
        }
    }

    async fn compare(&mut self) {
        let mut keys: Vec<Key> = TENANTS.into_iter().map(|tenant| Key::Usage(life(tenant))).collect();
        for destination in DESTINATIONS {
            keys.extend([Key::Lane(life(destination)), Key::DestinationLife(life(destination))]);
        }
        both!(self, fetch, Fetch { now: self.time(), keys });
        for level in Level::ALL {
            for tenant in [None, Some(1), Some(2)] {
                let left = every_rollup(&self.memory, level, tenant).await;
                assert_eq!(left, every_rollup(&self.sqlite, level, tenant).await);
            }
        }
        for list in [List::Events, List::Deliveries, List::Attempts] {
            let scan = scan_of(list, Filter::default());
            assert_eq!(every_row(&self.memory, scan.clone()).await, every_row(&self.sqlite, scan).await);
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn random_operations_agree_with_the_memory_store() {
    let fresh = || std::hash::RandomState::new().build_hasher().finish();
    let seed = from_environment("OUTPOST_SEED").unwrap_or_else(fresh);
    let steps = from_environment("OUTPOST_STEPS").unwrap_or(900);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.db");
    let sqlite = open(&path).await;
    let (held, events) = (Vec::new(), Vec::new());
    let memory = MemoryStore::new();
    let mut world = World {
        seed,
        random: seed | 1,
        now: 0,
        serial: 1000,
        memory,
        sqlite,
        path,
        held,
        events,
        seen: BTreeMap::new(),
    };
    let mut writes: Vec<Write> = TENANTS.into_iter().map(new_tenant).collect();
    writes.extend(DESTINATIONS.into_iter().map(|number| new_destination(tenant_of(number), number)));
    apply(&world.memory, writes.clone()).await;
    apply(&world.sqlite, writes).await;
    for step in 0..steps {
        world.now += i64::try_from(world.pick(900)).unwrap_or(0);
        match world.pick(20) {
            0..=6 => world.ingest().await,
            7..=9 => world.claim().await,
            10..=14 => world.settle().await,
            15..=18 => world.change().await,
            _ => world.forget().await,
        }
        if step % 20 == 19 {
            world.compare().await;
        }
        if step % 150 == 149 {
            world.sqlite.close().await.expect("closes");
            world.sqlite = open(&world.path).await;
        }
    }
    world.compare().await;
    eprintln!("{:?}", world.seen);
    for what in ["over quota", "news", "disabled", "replayed", "undone", "swept", "pruned attempts"] {
        assert!(world.seen.get(what).is_some_and(|count| *count > 0), "{what}: {:?}", world.seen);
    }
}
