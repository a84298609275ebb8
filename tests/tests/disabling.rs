//! What becomes of the deliveries of a destination that is disabled, enabled again, deleted or made anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outpost_core::{
    CancelReason, DeliveryFilter, DeliveryState, ErrorKind, HealthPolicy, NewEvent, Outpost, PageRequest,
    ReplayRequest, ReplayState, ScriptedReply, ScriptedTransport,
};
use outpost_tests::stage::{Bed, Stage};
use outpost_tests::{over_every_store, state, tenant_with};

const DAY: Duration = Duration::from_secs(86_400);

over_every_store!(
    what_waits_for_a_destination_that_disables_itself_is_skipped_and_can_be_had_later,
    what_is_published_for_a_disabled_destination_is_kept_with_the_reason,
    an_attempt_on_its_way_while_its_destination_is_disabled_is_recorded_and_not_repeated,
    what_waits_for_a_deleted_destination_is_cancelled_and_a_new_one_gets_nothing_of_it,
    what_waits_for_a_deleted_tenant_is_cancelled_and_a_new_one_gets_nothing_of_it,
);

fn event(id: impl Into<String>) -> NewEvent {
    NewEvent::new("a.b", "{}").id(id)
}

/// Lets ten days pass, in steps that no schedule can hide between.
async fn let_days_pass(stage: &Stage) {
    for _ in 0..40 {
        stage.clock.advance(DAY / 4);
        // Whatever is due now is claimed and sent in this time, were there anything.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn states(outpost: &Outpost, tenant: &str, count: usize) -> Vec<DeliveryState> {
    let mut states = Vec::new();
    for n in 0..count {
        states.push(state(outpost, tenant, "main", &format!("e{n}")).await);
    }
    states
}

async fn what_waits_for_a_destination_that_disables_itself_is_skipped_and_can_be_had_later(bed: Bed) {
    let stage = Stage::default();
    let works = Arc::new(AtomicBool::new(false));
    let read = works.clone();
    let transport =
        ScriptedTransport::new(move |_, _| ScriptedReply::status(if read.load(Ordering::SeqCst) { 200 } else { 500 }));
    let policy = HealthPolicy::default().consecutive_failures(Some(20)).disable_at_count(true);
    let outpost = stage.builder(bed.open().await, transport).health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish_batch("acme", (0..20).map(|n| event(format!("e{n}"))).collect()).await.unwrap();
    stage.signals.attempts(20).await;
    assert_eq!(states(&outpost, "acme", 20).await, [DeliveryState::Skipped; 20]);
    let disabled = outpost.destinations().get("acme", "main").await.unwrap().disabled.unwrap();
    assert_eq!(disabled.reason, "20 attempts in a row failed");
    let refused = outpost.deliveries().retry("acme", "main", "e0").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("disabled"), "{refused}");
    let refused = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let_days_pass(&stage).await;
    assert_eq!(stage.signals.attempted(), 20, "nothing is sent meanwhile");
    // Enabling sends nothing by itself either.
    works.store(true, Ordering::SeqCst);
    outpost.destinations().enable("acme", "main").await.unwrap();
    let_days_pass(&stage).await;
    assert_eq!(stage.signals.attempted(), 20);
    assert_eq!(states(&outpost, "acme", 20).await, [DeliveryState::Skipped; 20]);
    outpost.deliveries().retry("acme", "main", "e0").await.unwrap();
    stage.signals.attempts(21).await;
    assert_eq!(state(&outpost, "acme", "main", "e0").await, DeliveryState::Delivered);
    let replay = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    stage.signals.attempts(40).await;
    assert_eq!(states(&outpost, "acme", 20).await, [DeliveryState::Delivered; 20]);
    assert_eq!(stage.signals.attempted(), 40, "what was delivered by hand is not sent once more");
    // The replay may write down that it is done after the last one is sent.
    while outpost.replays().get("acme", &replay.id).await.unwrap().state != ReplayState::Done {
        tokio::task::yield_now().await;
    }
}

async fn what_is_published_for_a_disabled_destination_is_kept_with_the_reason(bed: Bed) {
    let stage = Stage::default();
    let transport = ScriptedTransport::always(ScriptedReply::ok());
    let outpost = stage.builder(bed.open().await, transport).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.destinations().disable("acme", "main", "maintenance until noon").await.unwrap();
    for n in 0..3 {
        let published = outpost.publish("acme", event(format!("e{n}"))).await.unwrap();
        assert!(published.matched.is_empty());
    }
    assert_eq!(states(&outpost, "acme", 3).await, [DeliveryState::Skipped; 3]);
    let listed = outpost.deliveries().list("acme", &DeliveryFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(listed.items.len(), 3);
    for delivery in &listed.items {
        assert_eq!(delivery.state.as_str(), "skipped");
        assert_eq!((delivery.attempts, delivery.next_attempt_at), (0, None));
    }
    let disabled = outpost.destinations().get("acme", "main").await.unwrap().disabled.unwrap();
    assert_eq!(disabled.reason, "maintenance until noon");
    outpost.destinations().enable("acme", "main").await.unwrap();
    outpost.deliveries().retry("acme", "main", "e2").await.unwrap();
    stage.signals.attempts(1).await;
    let wanted = [DeliveryState::Skipped, DeliveryState::Skipped, DeliveryState::Delivered];
    assert_eq!(states(&outpost, "acme", 3).await, wanted);
}

async fn an_attempt_on_its_way_while_its_destination_is_disabled_is_recorded_and_not_repeated(bed: Bed) {
    let stage = Stage::default();
    let transport = ScriptedTransport::always(ScriptedReply::status(500).after(Duration::from_millis(60)));
    let calls = transport.calls();
    let outpost = stage.builder(bed.open().await, transport).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e0")).await.unwrap();
    calls.reached(1).await;
    outpost.destinations().disable("acme", "main", "stop").await.unwrap();
    outpost.destinations().enable("acme", "main").await.unwrap();
    assert_eq!(stage.signals.attempted(), 0, "it is still on its way");
    stage.signals.attempts(1).await;
    let delivery = outpost.deliveries().get("acme", "main", "e0").await.unwrap();
    assert_eq!((delivery.state, delivery.attempts, delivery.next_attempt_at), (DeliveryState::Skipped, 1, None));
    let_days_pass(&stage).await;
    assert_eq!(calls.total(), 1);
}

/// Publishes 100 events whose receiver fails, has one on its way and 99 waiting, and then ends what `end`
/// ends and makes it anew.
async fn ended(bed: Bed, reason: CancelReason, end: impl AsyncFn(&Outpost)) {
    let stage = Stage::default();
    let transport = ScriptedTransport::new(|target, message| match target.display() {
        "https://old.test/" if message.attempt == 2 => ScriptedReply::status(500).after(Duration::from_millis(60)),
        "https://old.test/" => ScriptedReply::status(500),
        _ => ScriptedReply::ok(),
    });
    let calls = transport.calls();
    let outpost = stage.builder(bed.open().await, transport).destination_concurrency(1).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://old.test/")]).await;
    let old = outpost.destinations().get("acme", "main").await.unwrap().incarnation;
    outpost.publish_batch("acme", (0..100).map(|n| event(format!("e{n}"))).collect()).await.unwrap();
    stage.signals.attempts(100).await;
    stage.clock.advance(Duration::from_secs(5));
    calls.reached(101).await;
    end(&outpost).await;
    assert_eq!(stage.signals.attempted(), 100, "one is on its way still");
    tenant_with(&outpost, "acme", &[("main", "https://new.test/")]).await;
    stage.signals.attempts(101).await;
    let filter = DeliveryFilter { destination_lives: vec![old], ..DeliveryFilter::default() };
    let page = PageRequest { limit: 100, ..PageRequest::default() };
    let found = outpost.deliveries().list(outpost_core::Scope::All, &filter, &page).await.unwrap();
    assert_eq!(found.items.len(), 100);
    assert!(found.items.iter().all(|delivery| delivery.state == DeliveryState::Cancelled(reason)));
    assert!(found.items.iter().all(|delivery| delivery.next_attempt_at.is_none()));
    let missing = outpost.deliveries().retry("acme", "main", "e0").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "the new one has no such delivery");
    let_days_pass(&stage).await;
    assert_eq!(calls.total(), 101, "nothing old is sent, neither to the old address nor to the new one");
    let lane = outpost.destinations().lane("acme", "main").await.unwrap();
    assert_eq!((lane.health.failures, lane.open), (0, 0));
    outpost.publish("acme", event("new")).await.unwrap();
    stage.signals.attempts(102).await;
    assert_eq!(&*calls.all().last().unwrap().target, "https://new.test/");
    assert_eq!(state(&outpost, "acme", "main", "new").await, DeliveryState::Delivered);
}

async fn what_waits_for_a_deleted_destination_is_cancelled_and_a_new_one_gets_nothing_of_it(bed: Bed) {
    ended(bed, CancelReason::DestinationDeleted, async |outpost| {
        outpost.destinations().delete("acme", "main").await.unwrap();
    })
    .await;
}

async fn what_waits_for_a_deleted_tenant_is_cancelled_and_a_new_one_gets_nothing_of_it(bed: Bed) {
    ended(bed, CancelReason::TenantDeleted, async |outpost| outpost.tenants().delete("acme").await.unwrap()).await;
}
