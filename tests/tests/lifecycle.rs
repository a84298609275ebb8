//! Starting, stopping, dropping, outages, idling, and who may do what.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_core::{
    Actor, Capabilities, Capability, DeliveryState, DestinationPatch, ErrorKind, Fault, FaultStore, Faults, MASK,
    MapPatch, MemoryStore, NewDestination, NewEvent, Operation, Outpost, PageRequest, ScriptedReply, ScriptedTransport,
    Signal, StoreErrorKind, Times,
};
use outpost_store_sqlite::SqliteStore;
use outpost_tests::{finished, tenant_with, virtual_builder, virtual_outpost, wait_for};

fn event(id: &str) -> NewEvent {
    NewEvent::new("a.b", "{}").id(id)
}

fn plain() -> outpost_core::OutpostBuilder {
    Outpost::builder(MemoryStore::new()).transport(ScriptedTransport::always(ScriptedReply::ok()))
}

#[test]
fn without_a_runtime_or_without_time_there_is_a_clear_error() {
    // Any executor will do to learn that this one will not.
    let mut starting = Box::pin(plain().start());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = starting.as_mut().poll(&mut context) else { panic!("it is told at once") };
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(timeless.block_on(async { plain().start().await }).unwrap_err().kind(), ErrorKind::NoRuntime);
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = Outpost::builder(MemoryStore::new()).timeout(Duration::ZERO).concurrency(0).max_data(0).topics(["*"]);
    let error = runtime.block_on(async { builder.start().await }).unwrap_err();
    let fields: HashSet<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, HashSet::from(["transport", "timeout", "concurrency", "max_data", "topics"]));
}

#[test]
fn both_kinds_of_runtime_deliver_and_handles_may_be_dropped_anywhere() {
    for threads in [false, true] {
        let mut builder = if threads {
            tokio::runtime::Builder::new_multi_thread()
        } else {
            tokio::runtime::Builder::new_current_thread()
        };
        let runtime = builder.enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l.db");
        let outpost = runtime.block_on(async {
            let transport = ScriptedTransport::always(ScriptedReply::ok());
            let outpost =
                Outpost::builder(SqliteStore::open(&file).await.unwrap()).transport(transport).start().await.unwrap();
            tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
            outpost.publish("acme", event("e1")).await.unwrap();
            finished(&outpost, "acme", "main", "e1").await;
            let clone = outpost.clone();
            tokio::task::spawn_blocking(move || drop(clone)).await.unwrap();
            let inside = plain().start().await.unwrap();
            drop(inside);
            outpost
        });
        let after = outpost.clone();
        drop(runtime);
        // The runtime is gone: calls fail, nothing panics.
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = other.block_on(after.publish("acme", event("e2"))).unwrap_err();
        assert!(error.is_transient(), "{error}");
        drop((outpost, after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_is_on_its_way_and_then_refuses() {
    let store = MemoryStore::new();
    let (outpost, calls) =
        virtual_outpost(store.clone(), |_, _| ScriptedReply::ok().after(Duration::from_secs(5))).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for n in 0..100 {
        outpost.publish("acme", event(&format!("e{n}"))).await.unwrap();
    }
    calls.reached(32).await;
    let start = tokio::time::Instant::now();
    assert!(outpost.shutdown(Duration::from_secs(30)).await);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(outpost.publish("acme", event("late")).await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    // What waited was given back: the next process need not wait for leases to lapse.
    let (next, more) = virtual_outpost(store.another_process(), |_, _| ScriptedReply::ok()).await;
    for n in 0..100 {
        assert_eq!(finished(&next, "acme", "main", &format!("e{n}")).await.state, DeliveryState::Delivered);
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(calls.total() + more.total(), 100, "nothing is sent twice");
}

async fn faulty(script: ScriptedReply) -> (Outpost, Faults, Arc<Mutex<Vec<Signal>>>) {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults();
    let signals = Arc::new(Mutex::new(Vec::new()));
    let seen = signals.clone();
    let outpost = virtual_builder(store, ScriptedTransport::always(script))
        .observer(move |signal: &Signal| seen.lock().unwrap().push(signal.clone()))
        .start()
        .await
        .unwrap();
    (outpost, faults, signals)
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_returns_in_time_when_receivers_or_the_store_stand_still() {
    for stuck in [None, Some(Operation::Settle), Some(Operation::Ingest), Some(Operation::Claim)] {
        let slow = if stuck.is_none() { Duration::from_secs(19) } else { Duration::ZERO };
        let (outpost, faults, _) = faulty(ScriptedReply::ok().after(slow)).await;
        tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
        if let Some(operation) = stuck {
            faults.inject(operation, Fault::Hang, Times::UntilCleared);
        }
        let publishing = outpost.clone();
        let publisher = tokio::spawn(async move { publishing.publish("acme", event("e1")).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let start = tokio::time::Instant::now();
        let drained = outpost.shutdown(Duration::from_secs(3)).await;
        assert!(start.elapsed() <= Duration::from_secs(3), "{stuck:?} took {:?}", start.elapsed());
        assert!(!drained, "{stuck:?}: what a claim may have leased is unfinished as well");
        if let Err(error) = publisher.await.unwrap() {
            assert_eq!((stuck, error.kind()), (Some(Operation::Ingest), ErrorKind::Unknown));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_the_store_delivery_goes_on_by_itself() {
    let (outpost, faults, signals) = faulty(ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    faults.inject(Operation::Settle, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    faults.inject(Operation::Claim, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    outpost.publish("acme", event("e1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    faults.inject(Operation::Ingest, Fault::Before(StoreErrorKind::Full), Times::UntilCleared);
    let refused = outpost.publish("acme", event("e2")).await.unwrap_err();
    assert!(refused.is_transient() && refused.kind() == ErrorKind::Unavailable, "{refused}");
    for operation in Operation::ALL {
        faults.clear(operation);
    }
    assert!(!outpost.publish("acme", event("e2")).await.unwrap().duplicate, "a repeat really publishes");
    for id in ["e1", "e2"] {
        assert_eq!(finished(&outpost, "acme", "main", id).await.state, DeliveryState::Delivered);
    }
    assert_eq!(outpost.deliveries().attempts_of("acme", "main", "e1").await.unwrap().len(), 1);
    let signals = signals.lock().unwrap();
    assert!(signals.iter().any(|signal| matches!(signal, Signal::StoreFailing { .. })));
    assert!(signals.iter().any(|signal| matches!(signal, Signal::StoreRecovered)));
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_end_is_unknown_is_made_sure_of() {
    let (outpost, faults, _) = faulty(ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    faults.inject(Operation::Ingest, Fault::After, Times::Next(1));
    assert!(!outpost.publish("acme", event("e1")).await.unwrap().duplicate);
    faults.inject(Operation::Settle, Fault::After, Times::Next(1));
    assert_eq!(finished(&outpost, "acme", "main", "e1").await.state, DeliveryState::Delivered);
    let all = outpost.events().list("acme", &Default::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(all.items.len(), 1);
    assert_eq!(outpost.deliveries().attempts_of("acme", "main", "e1").await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_forgotten_when_the_end_of_its_commit_was_unknown() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults();
    let transport = ScriptedTransport::new(|_, message| match message.attempt {
        1 => ScriptedReply::status(500),
        _ => ScriptedReply::ok(),
    });
    let outpost = virtual_builder(store, transport).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    faults.inject(Operation::Settle, Fault::After, Times::Next(1));
    outpost.publish("acme", event("e1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(outpost.deliveries().get("acme", "main", "e1").await.unwrap().state, DeliveryState::Delivered);
    // An event that was stored although its publisher was told that this is not known is delivered as well.
    faults.inject(Operation::Ingest, Fault::After, Times::Next(100));
    assert_eq!(outpost.publish("acme", event("e2")).await.unwrap_err().kind(), ErrorKind::Unknown);
    faults.clear(Operation::Ingest);
    assert_eq!(finished(&outpost, "acme", "main", "e2").await.state, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_stops_nothing() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let outpost = virtual_builder(MemoryStore::new(), ScriptedTransport::always(ScriptedReply::ok()))
        .observer(|_: &Signal| panic!("a fault of the host"))
        .start()
        .await
        .unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for id in ["e1", "e2"] {
        outpost.publish("acme", event(id)).await.unwrap();
        assert_eq!(finished(&outpost, "acme", "main", id).await.state, DeliveryState::Delivered);
    }
    std::panic::set_hook(hook);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_stored_is_not_sent_for_ever() {
    let (outpost, faults, _) = faulty(ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    // The batch, the item alone, and the item without what was sent and received.
    faults.inject(Operation::Settle, Fault::Before(StoreErrorKind::Internal), Times::Next(7));
    outpost.publish("acme", event("e1")).await.unwrap();
    let delivery = finished(&outpost, "acme", "main", "e1").await;
    assert_eq!(delivery.state, DeliveryState::Failed, "parked where the operator sees it");
    outpost.publish("acme", event("e2")).await.unwrap();
    assert_eq!(finished(&outpost, "acme", "main", "e2").await.state, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_leaves_the_store_alone() {
    let (outpost, faults, _) = faulty(ScriptedReply::status(500)).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 10).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let count = |operation| faults.calls(operation);
    let before: Vec<u64> = Operation::ALL.map(count).to_vec();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    for (operation, before) in Operation::ALL.into_iter().zip(before) {
        let more = count(operation) - before;
        // Once an hour: what has ended, what is old, replays that another process left behind.
        let hourly = matches!(operation, Operation::Sweep | Operation::Prune | Operation::Fetch);
        let allowed = if hourly { 24 } else { 0 };
        assert!(more <= allowed, "{operation:?} was called {more} times");
    }
}

fn actor(tenant: &outpost_core::Tenant, capabilities: Capabilities) -> Actor {
    Actor::Tenant { tenant: tenant.id.clone(), incarnation: tenant.incarnation, capabilities }
}

#[tokio::test(start_paused = true)]
async fn capabilities_hold_on_every_call_and_other_tenants_do_not_exist() {
    let (outpost, _) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    tenant_with(&outpost, "other", &[("main", "https://two.test/")]).await;
    for tenant in ["acme", "other"] {
        outpost.publish(tenant, event("e1")).await.unwrap();
        finished(&outpost, tenant, "main", "e1").await;
    }
    let acme = outpost.tenants().get("acme").await.unwrap();
    let page = PageRequest::default();
    for (missing, kind) in [
        (None, ErrorKind::NotFound),
        (Some(Capability::Read), ErrorKind::Forbidden),
        (Some(Capability::Write), ErrorKind::Forbidden),
        (Some(Capability::Retry), ErrorKind::Forbidden),
        (Some(Capability::Secrets), ErrorKind::Forbidden),
    ] {
        let capabilities = missing.map_or(Capabilities::ALL, |missing| Capabilities::ALL.without(missing));
        let o = outpost.acting_as(actor(&acme, capabilities));
        let t = if missing.is_none() { "other" } else { "acme" };
        let mut refused: Vec<(&str, Result<(), outpost_core::Error>)> = Vec::new();
        if missing.is_none_or(|missing| missing == Capability::Read) {
            refused.push(("get tenant", o.tenants().get(t).await.map(drop)));
            refused.push(("get destination", o.destinations().get(t, "main").await.map(drop)));
            refused.push(("list destinations", o.destinations().list(t).await.map(drop)));
            refused.push(("lane", o.destinations().lane(t, "main").await.map(drop)));
            refused.push(("get event", o.events().get(t, "e1").await.map(drop)));
            refused.push(("list events", o.events().list(t, &Default::default(), &page).await.map(drop)));
            refused.push(("get delivery", o.deliveries().get(t, "main", "e1").await.map(drop)));
            refused.push(("list deliveries", o.deliveries().list(t, &Default::default(), &page).await.map(drop)));
            refused.push(("list attempts", o.deliveries().attempts(t, &Default::default(), &page).await.map(drop)));
            refused.push(("attempts of", o.deliveries().attempts_of(t, "main", "e1").await.map(drop)));
        }
        if missing.is_none_or(|missing| missing == Capability::Write) {
            refused.push((
                "create",
                o.destinations().create(t, NewDestination::webhook("https://x.test/")).await.map(drop),
            ));
            refused.push(("update", o.destinations().update(t, "main", DestinationPatch::default()).await.map(drop)));
            refused.push(("enable", o.destinations().enable(t, "main").await.map(drop)));
            refused.push(("disable", o.destinations().disable(t, "main", "").await.map(drop)));
            refused.push(("delete", o.destinations().delete(t, "main").await.map(drop)));
        }
        if missing.is_none_or(|missing| missing == Capability::Retry) {
            refused.push(("retry", o.deliveries().retry(t, "main", "e1").await));
            refused.push(("cancel", o.deliveries().cancel(t, "main", "e1").await));
        }
        if missing.is_none_or(|missing| missing == Capability::Secrets) {
            refused.push(("rotate", o.destinations().rotate_secret(t, "main", None).await.map(drop)));
        }
        for (call, result) in refused {
            assert_eq!(result.expect_err(call).kind(), kind, "{call} without {missing:?}");
        }
    }
    let full = outpost.acting_as(actor(&acme, Capabilities::ALL));
    for (call, result) in [
        ("publish", full.publish("acme", event("e9")).await.map(drop)),
        ("put tenant", full.tenants().put("acme", None).await.map(drop)),
        ("delete tenant", full.tenants().delete("acme").await.map(drop)),
        ("find event", full.events().find("e1").await.map(drop)),
        (
            "everybody's events",
            full.events().list(outpost_core::Scope::All, &Default::default(), &page).await.map(drop),
        ),
        ("a life", full.events().list(acme.incarnation, &Default::default(), &page).await.map(drop)),
        ("lock", full.destinations().lock("acme", "main", "").await.map(drop)),
    ] {
        assert_eq!(result.expect_err(call).kind(), ErrorKind::Forbidden, "{call}");
    }
    // Another tenant's attempt by its id.
    let theirs = outpost.deliveries().attempts_of("other", "main", "e1").await.unwrap().remove(0);
    assert_eq!(full.deliveries().attempt("acme", theirs.id.as_str()).await.unwrap_err().kind(), ErrorKind::NotFound);
    // A cursor of another tenant's list.
    for n in 0..5 {
        outpost.publish("other", event(&format!("m{n}"))).await.unwrap();
        outpost.publish("acme", event(&format!("m{n}"))).await.unwrap();
    }
    let small = PageRequest { limit: 1, ..PageRequest::default() };
    let cursor = outpost.events().list("other", &Default::default(), &small).await.unwrap().next;
    let stolen = PageRequest { limit: 1, cursor, ..PageRequest::default() };
    assert_eq!(full.events().list("acme", &Default::default(), &stolen).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(full.tenants().list(&page).await.unwrap().items.len(), 1);
    // An actor of an earlier life of the tenant.
    outpost.tenants().delete("acme").await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    assert_eq!(full.tenants().get("acme").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn secrets_are_masked_and_a_mask_sent_back_keeps_them() {
    let egress = outpost_core::EgressPolicy::builder().allow_net("127.0.0.0/8").build().unwrap();
    let transport = outpost_core::WebhookTransport::builder().egress(egress).build().unwrap();
    let outpost = Outpost::builder(MemoryStore::new()).transport(transport).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let new = NewDestination::webhook("http://user:canary-password@127.0.0.1:9/")
        .id(outpost_core::DestinationId::new("main").unwrap());
    let made = outpost.destinations().create("acme", new).await.unwrap();
    let secret = made.credentials.expose()["secret"].clone();
    let acme = outpost.tenants().get("acme").await.unwrap();
    let seen = outpost.acting_as(actor(&acme, Capabilities::ALL.without(Capability::Secrets)));
    let shown = seen.destinations().get("acme", "main").await.unwrap();
    assert_eq!(shown.credentials.expose()["secret"], MASK);
    assert!(!format!("{shown:?}").contains("canary-password") && !format!("{made:?}").contains(&secret));
    let patch = |credentials| DestinationPatch { credentials, ..DestinationPatch::default() };
    seen.destinations().update("acme", "main", patch(MapPatch::set("secret", MASK))).await.unwrap();
    let kept = outpost.destinations().get("acme", "main").await.unwrap();
    assert_eq!(kept.credentials.expose()["secret"], secret);
    let changed = seen.destinations().update("acme", "main", patch(MapPatch::set("secret", "whsec_x"))).await;
    assert_eq!(changed.unwrap_err().kind(), ErrorKind::Forbidden);
    let elsewhere =
        DestinationPatch { config: MapPatch::set("url", "http://127.0.0.2:9/"), ..DestinationPatch::default() };
    assert_eq!(seen.destinations().update("acme", "main", elsewhere).await.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn locks_limits_and_revisions_hold() {
    let (outpost, _) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let acme = outpost.tenants().get("acme").await.unwrap();
    let tenant = outpost.acting_as(actor(&acme, Capabilities::ALL));
    outpost.destinations().lock("acme", "main", "unpaid").await.unwrap();
    assert_eq!(tenant.destinations().enable("acme", "main").await.unwrap_err().kind(), ErrorKind::Forbidden);
    let first = outpost.destinations().enable("acme", "main").await.unwrap();
    let renamed = |revision| DestinationPatch {
        name: Some(Some("n".to_owned())),
        if_revision: Some(revision),
        ..DestinationPatch::default()
    };
    tenant.destinations().update("acme", "main", renamed(first.revision)).await.unwrap();
    let stale = tenant.destinations().update("acme", "main", renamed(first.revision)).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Stale);
    let mut creators = tokio::task::JoinSet::new();
    for n in 0..50 {
        let outpost = outpost.clone();
        creators.spawn(async move {
            outpost.destinations().create("acme", NewDestination::webhook(format!("https://{n}.test/"))).await
        });
    }
    let mut created = 0;
    while let Some(result) = creators.join_next().await {
        match result.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::LimitReached),
        }
    }
    assert_eq!((created, outpost.destinations().list("acme").await.unwrap().len()), (19, 20));
}
