//! Many callers at once, several processes, and callers that go away.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;

use super::support::{World, key, put, record};
use crate::domain::health::HealthPolicy;
use crate::domain::rollup::Level;
use crate::domain::tenant::Tenant;
use crate::engine::record::LaneChange;
use crate::ports::store::{
    Apply, ApplyOutcome, Claim, Expect, Fetch, Ingest, IngestOutcome, Key, Refusal, Row, Settle, SettleOutcome,
    StoreErrorKind, Sweep, Write,
};

/// Runs the calls at the same time on several threads.
pub(super) async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(calls: Vec<F>) -> Vec<T> {
    let mut set = JoinSet::new();
    for call in calls {
        set.spawn(call);
    }
    set.join_all().await
}

/// Polls a future a few times and then drops it, as a caller does who loses interest.
async fn abandon<F: Future>(call: F, polls: usize) {
    let mut call = pin!(call);
    for _ in 0..polls {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn applying(w: &World, writes: Vec<Write>) -> impl Future<Output = ApplyOutcome> + Send + use<> {
    let (store, now) = (w.store.clone(), w.now());
    async move { store.apply(Apply { now, writes, follow_ups: Vec::new() }).await.expect("apply") }
}

fn count_done(outcomes: &[ApplyOutcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, ApplyOutcome::Done(_))).count()
}

pub(super) async fn parallel_publishes_of_one_event_store_one(w: World) {
    let (tenant, destination) = w.acme().await;
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    let calls =
        (0..50).map(|_| {
            let (store, now, lease, items) = (w.store.clone(), w.now(), w.lease(), vec![item.clone()]);
            async move {
                store.ingest(Ingest { now, lease, quota: Default::default(), items }).await.expect("ingest").remove(0)
            }
        });
    let outcomes = together(calls.collect()).await;
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, IngestOutcome::Stored { .. })).count();
    let repeats = outcomes.iter().filter(|outcome| matches!(outcome, IngestOutcome::Duplicate { .. })).count();
    assert_eq!((stored, repeats), (1, 49), "one of them is stored, the others are told so");
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "and it is delivered once");
}

pub(super) async fn parallel_publishes_are_all_stored(w: World) {
    let (tenant, destination) = w.acme().await;
    let template = w.item(&tenant, w.event(&tenant, "evt"), &[&destination]).await;
    let calls =
        (0..40).map(|number| {
            let (store, now, lease) = (w.store.clone(), w.now(), w.lease());
            let event = Arc::new(w.event(&tenant, &format!("evt_{number}")));
            let items = vec![crate::store::IngestItem { event, ..template.clone() }];
            async move {
                store.ingest(Ingest { now, lease, quota: Default::default(), items }).await.expect("ingest").remove(0)
            }
        });
    for outcome in together(calls.collect()).await {
        assert!(matches!(outcome, IngestOutcome::Stored { .. }), "each is stored, but one is {outcome:?}");
    }
    assert_eq!(w.lane(&destination).await.open, 40, "none is lost");
}

pub(super) async fn parallel_claims_never_share_a_delivery(w: World) {
    let (tenant, destination) = w.acme().await;
    let template = w.item(&tenant, w.event(&tenant, "evt"), &[&destination]).await;
    let items = (0..60).map(|number| {
        let event = Arc::new(w.event(&tenant, &format!("evt_{number}")));
        crate::store::IngestItem { event, ..template.clone() }
    });
    w.ingest(items.collect()).await;
    let calls = (0..20).map(|_| {
        let (store, claim) = (w.store.clone(), Claim { discover: 3, ..w.any() });
        async move { store.claim(claim).await.expect("claim").deliveries }
    });
    let claimed = together(calls.collect()).await.concat();
    let different: BTreeSet<_> = claimed.iter().map(|delivery| &delivery.key).collect();
    assert_eq!(different.len(), claimed.len(), "no delivery is leased to two callers");
    assert_eq!(claimed.len(), 60, "twenty claims of three take all sixty");
}

pub(super) async fn parallel_settles_of_one_lease_count_once(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    let calls = (0..20).map(|_| {
        let (store, now, items) = (w.store.clone(), w.now(), vec![w.attempted(&held, true, None)]);
        async move { store.settle(Settle { now, items }).await.expect("settle").remove(0) }
    });
    let outcomes = together(calls.collect()).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, SettleOutcome::Done { .. })).count();
    assert_eq!(done, 1, "one of them is the holder, for the others it is too late");
    assert_eq!(w.attempts(&destination, "evt_1").await.len(), 1, "one attempt is recorded");
}

pub(super) async fn parallel_creates_keep_the_limit(w: World) {
    let tenant = w.tenant("acme").await;
    let calls = (0..16).map(|number| {
        let destination = Box::new(w.new_destination(&tenant, &format!("des_{number}")));
        applying(&w, vec![Write::PutDestination { destination, expect: Expect::Absent, limit: Some(5) }])
    });
    let outcomes = together(calls.collect()).await;
    assert_eq!(count_done(&outcomes), 5, "the limit holds, however many come at once");
    assert_eq!(w.fetch(Key::DestinationsOf(tenant.incarnation)).await.len(), 5);
    let before = w.find_tenant(tenant.incarnation).await.subscriptions;
    assert_eq!(before, tenant.subscriptions + 5, "each creation has raised the subscriptions");
}

pub(super) async fn parallel_changes_of_one_revision_win_once(w: World) {
    let (_, destination) = w.acme().await;
    let calls = (0..16).map(|_| applying(&w, vec![put(&destination, Expect::Revision(destination.revision))]));
    let outcomes = together(calls.collect()).await;
    assert_eq!(count_done(&outcomes), 1, "one of them is first, the others are told of it");
    for outcome in outcomes.iter().filter(|outcome| !matches!(outcome, ApplyOutcome::Done(_))) {
        let refusal = Refusal::Stale { found: destination.revision + 1 };
        assert_eq!(*outcome, ApplyOutcome::Refused { index: 0, refusal });
    }
}

pub(super) async fn parallel_puts_of_an_absent_record_win_once(w: World) {
    let calls = (0..16).map(|_| {
        applying(&w, vec![Write::PutRecord { record: record("token", "jti", b"used"), expect: Expect::Absent }])
    });
    assert_eq!(count_done(&together(calls.collect()).await), 1, "a token is used up once");
}

pub(super) async fn a_snapshot_shows_whole_commits(w: World) {
    let tenants = [w.tenant("one").await, w.tenant("two").await];
    let both = || tenants.each_ref().map(|tenant| Write::PutTenant { tenant: tenant.clone(), expect: Expect::Any });
    let writers = (0..20).map(|_| {
        let call = applying(&w, both().to_vec());
        Box::pin(async move {
            call.await;
            None
        }) as crate::BoxFuture<'static, Option<Vec<i64>>>
    });
    let readers = (0..20).map(|_| {
        let (store, now) = (w.store.clone(), w.now());
        let keys = tenants.each_ref().map(|tenant| Key::TenantLife(tenant.incarnation)).to_vec();
        Box::pin(async move {
            let rows = store.fetch(Fetch { now, keys }).await.expect("fetch").concat();
            let revision = |row: &crate::store::Row| match row {
                crate::store::Row::Tenant(tenant) => tenant.revision,
                other => panic!("a tenant's key answers a tenant, not {other:?}"),
            };
            Some(rows.iter().map(revision).collect())
        }) as crate::BoxFuture<'static, Option<Vec<i64>>>
    });
    let calls: Vec<_> = writers.zip(readers).flat_map(|(writer, reader)| [writer, reader]).collect();
    for seen in together(calls).await.into_iter().flatten() {
        assert_eq!(seen[0], seen[1], "one fetch sees a batch as a whole or not at all");
    }
}

pub(super) async fn an_abandoned_apply_is_whole_or_nothing(w: World) {
    for polls in 0..8 {
        let pair: [Tenant; 2] = [w.new_tenant(&format!("a{polls}")), w.new_tenant(&format!("b{polls}"))];
        let writes = pair.each_ref().map(|tenant| Write::PutTenant { tenant: tenant.clone(), expect: Expect::Absent });
        abandon(applying(&w, writes.to_vec()), polls).await;
        for _ in 0..5 {
            let found = w.fetch_all(pair.each_ref().map(|tenant| Key::TenantLife(tenant.incarnation)).to_vec()).await;
            assert_eq!(found[0].len(), found[1].len(), "what its caller left alone happens as a whole or not at all");
            tokio::task::yield_now().await;
        }
    }
}

pub(super) async fn an_abandoned_publish_is_whole_or_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    for polls in 0..8 {
        let id = format!("evt_{polls}");
        let item = w.item(&tenant, w.event(&tenant, &id), &[&destination]).await;
        let (store, now, lease, items) = (w.store.clone(), w.now(), w.lease(), vec![item.clone()]);
        abandon(async move { store.ingest(Ingest { now, lease, quota: Default::default(), items }).await }, polls)
            .await;
        let event = Key::Event(tenant.incarnation, super::support::event_id(&id));
        let found = w.fetch_all(vec![event, Key::Delivery(key(&destination, &id))]).await;
        assert_eq!(found[0].len(), found[1].len(), "an event and its delivery are stored together or not at all");
        let outcome = w.ingest_one(item).await;
        let known = matches!(outcome, IngestOutcome::Stored { .. } | IngestOutcome::Duplicate { .. });
        assert!(known, "a repeat publishes it or is told that it was, but it is {outcome:?}");
    }
    assert_eq!(w.lane(&destination).await.open, 8, "each event is there once");
}

pub(super) async fn an_abandoned_settle_is_whole_or_nothing(w: World) {
    let tenant = w.tenant("acme").await;
    for polls in 0..8 {
        let destination = w.destination(&tenant, &format!("des_{polls}")).await;
        w.publish(&tenant, &format!("evt_{polls}"), &[&destination]).await;
        let held = w.claim_all().await.only();
        let mut failed = w.judged(&held, false, HealthPolicy::default());
        failed.lane = Some(LaneChange::Hold { until: w.now(), strikes: 1 });
        let (store, now, items) = (w.store.clone(), w.now(), vec![failed.clone()]);
        abandon(async move { store.settle(Settle { now, items }).await }, polls).await;
        let parts = vec![
            Key::Delivery(held.key.clone()),
            Key::AttemptsOf(held.key.clone()),
            Key::Lane(destination.incarnation),
        ];
        let found = w.fetch_all(parts).await;
        let [Row::Delivery(shown), Row::Lane(lane)] = [&found[0][0], &found[2][0]] else { panic!("{found:?}") };
        let made = (shown.attempts as usize, lane.strikes as usize);
        assert_eq!(made, (found[1].len(), found[1].len()), "delivery, attempt and lane are written together");
        assert_eq!(lane.health.failures, lane.strikes, "and so is its health");
        w.settle(failed).await;
        assert_eq!(w.attempts(&destination, held.key.event.as_str()).await.len(), 1, "and once");
    }
}

pub(super) async fn a_closed_store_is_unavailable(w: World) {
    let (tenant, _) = w.acme().await;
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[]).await;
    let (now, lease) = (w.now(), w.lease());
    w.store.close().await.expect("close");
    let kinds = [
        w.store.apply(Apply { now, writes: Vec::new(), follow_ups: Vec::new() }).await.map(drop),
        w.store.fetch(Fetch { now, keys: vec![Key::Tenant(tenant.id.clone())] }).await.map(drop),
        w.store.ingest(Ingest { now, lease, quota: Default::default(), items: vec![item] }).await.map(drop),
        w.store.claim(w.any()).await.map(drop),
        w.store.settle(Settle { now, items: Vec::new() }).await.map(drop),
        w.store.sweep(Sweep { now, limit: 1, rollups_before: [crate::Timestamp::MIN; 3] }).await.map(drop),
        w.store.prune(w.older(now)).await.map(drop),
        w.store.rollups(w.rollups_of(Level::Day, true)).await.map(drop),
    ]
    .map(|answer| answer.map_err(|error| error.kind));
    assert_eq!(kinds, [Err(StoreErrorKind::Unavailable); 8], "a closed store answers nothing else");
}

pub(super) async fn foreign_changes_are_told(w: World) {
    let Some(other) = w.other.clone() else { return };
    let writes = |kind: &str| vec![Write::PutRecord { record: record(kind, "key", b""), expect: Expect::Any }];
    let put = async |kind: &str| {
        other.apply(Apply { now: w.now(), writes: writes(kind), follow_ups: Vec::new() }).await.expect("apply");
    };
    put("first").await;
    let first = w.store.changed(0).await.expect("changed");
    assert!(first > 0, "the versions rise");
    let waiting = tokio::spawn({
        let store = w.store.clone();
        async move { store.changed(first).await.expect("changed") }
    });
    tokio::task::yield_now().await;
    put("second").await;
    let second = waiting.await.expect("the wait ends");
    assert!(second > first, "the next change is told to whoever waits");
}

pub(super) async fn own_changes_are_not_told(w: World) {
    let mut waiting = pin!(w.store.changed(0));
    for step in 0..20 {
        let told = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(told, Poll::Pending), "this handle's own changes are no news");
        w.tenant(&format!("tenant_{step}")).await;
        tokio::task::yield_now().await;
    }
}

pub(super) async fn two_handles_see_and_share_everything(w: World) {
    let Some(other) = w.other.clone() else { return };
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let claimed = other.claim(w.any()).await.expect("claim").deliveries;
    assert_eq!(claimed.len(), 1, "another process may claim what this one stored");
    assert!(w.claim_all().await.events().is_empty(), "then nobody else gets it");
    let keys = vec![Key::TenantLife(tenant.incarnation)];
    let found = other.fetch(Fetch { now: w.now(), keys }).await.expect("fetch");
    assert_eq!(found[0], [crate::store::Row::Tenant(w.find_tenant(tenant.incarnation).await)], "both read the same");
    other.close().await.expect("close");
    assert!(w.has_event(&tenant, "evt_1").await, "one process's end is not the other's");
}
