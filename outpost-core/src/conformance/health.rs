//! Health: what attempts add up to, and which news is told when. What a judgement does besides is in
//! `health_judged.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::sharing::together;
use super::support::{Held, World, at, item, no_answer, put};
use crate::domain::attempt::Attempt;
use crate::domain::delivery::DeliveryState;
use crate::domain::health::{Health, HealthNews, HealthPolicy, Judge, Judgement};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneRecord, LeaseToken};
use crate::ports::store::{Expect, Settle, SettleAction, SettleItem, SettleOutcome};
use crate::values::time::Timestamp;

/// Warns at 50, 70, 90 and 100 % of so many failures and never disables.
pub(super) fn warning_at(limit: u32) -> HealthPolicy {
    HealthPolicy::default().consecutive_failures(Some(limit)).disable_after(None)
}

pub(super) fn failing(percent: u8, failures: u32, limit: u32, since: Timestamp) -> HealthNews {
    HealthNews::Failing { percent, failures, limit, since }
}

pub(super) fn news(news: &[HealthNews]) -> Judgement {
    Judgement { news: news.to_vec(), disabled: None }
}

/// Fails so many attempts at one destination, each in a commit of its own and a second after the other.
/// Answers the news that each one made.
async fn fail_in_turn(w: &World, to: (&Tenant, &DestinationRecord), count: u32, limit: u32) -> Vec<Vec<HealthNews>> {
    let held = w.held(to.0, to.1, count).await;
    let mut told = Vec::new();
    for held in &held {
        w.advance(1000);
        told.push(w.judgement(w.judged(held, false, warning_at(limit))).await.news);
    }
    told
}

async fn health(w: &World, destination: &DestinationRecord) -> Health {
    w.lane(destination).await.health
}

async fn failures(w: &World, destination: &DestinationRecord) -> u32 {
    health(w, destination).await.failures
}

pub(super) async fn failures_in_a_row_are_counted(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.destination(&tenant, "des_2").await;
    fail_in_turn(&w, (&tenant, &destination), 4, 100).await;
    fail_in_turn(&w, (&tenant, &other), 1, 100).await;
    let wanted = Health {
        failures: 4,
        failing_since: Some(at(1000)),
        last_error: Some("the receiver answered 503".to_owned()),
        ..Health::default()
    };
    assert_eq!(health(&w, &destination).await, wanted, "each failure counts, from the first one on");
    assert_eq!(failures(&w, &other).await, 1, "each destination for itself");
}

pub(super) async fn a_success_ends_the_count(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 4, 100).await;
    let held = w.held(&tenant, &destination, 1).await.remove(0);
    assert_eq!(w.judgement(w.judged(&held, true, warning_at(100))).await, news(&[]), "nobody was warned");
    assert_eq!(health(&w, &destination).await, Health::default(), "nothing of the failures is left");
    fail_in_turn(&w, (&tenant, &destination), 1, 100).await;
    let found = health(&w, &destination).await;
    assert_eq!((found.failures, found.failing_since), (1, Some(at(5000))), "the next failure is the first again");
}

pub(super) async fn warnings_are_told_once_at_their_counts(w: World) {
    let (tenant, destination) = w.acme().await;
    let told = fail_in_turn(&w, (&tenant, &destination), 12, 10).await;
    let since = at(1000);
    for (count, told) in (1..).zip(told) {
        let wanted: Vec<HealthNews> = [(5, 50), (7, 70), (9, 90), (10, 100)]
            .into_iter()
            .filter(|(at, _)| *at == count)
            .map(|(_, percent)| failing(percent, count, 10, since))
            .collect();
        assert_eq!(told, wanted, "what is told with failure {count} of 10");
    }
    assert_eq!(health(&w, &destination).await.warned, 100, "the latest warning is remembered");
}

pub(super) async fn one_batch_may_reach_several_thresholds(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 6).await;
    w.set(9);
    let mut items: Vec<SettleItem> = held.iter().map(|held| w.judged(held, false, warning_at(3))).collect();
    items[4] = w.judged(&held[4], true, warning_at(3));
    let told: Vec<Vec<HealthNews>> = w
        .settle_all(items)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            SettleOutcome::Done { judgement, .. } => judgement.news,
            other => panic!("its holder may settle it, but it is {other:?}"),
        })
        .collect();
    let wanted = [
        vec![],
        vec![failing(50, 2, 3, at(9))],
        vec![failing(100, 3, 3, at(9))],
        vec![],
        vec![HealthNews::Recovered { failures: 4, since: at(9) }],
        vec![],
    ];
    assert_eq!(told, wanted, "each item of a batch sees what the ones before it have counted");
    assert_eq!(failures(&w, &destination).await, 1, "the last one is the first failure after the success");
}

pub(super) async fn an_exhausted_delivery_is_told_once_a_window(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 4).await;
    let policy = warning_at(1000).exhausted_window(Some(Duration::from_secs(10)));
    let mut told = Vec::new();
    for (held, second) in held.iter().zip([0, 3, 9, 10]) {
        w.set(second * 1000);
        // The third one is not its delivery's last attempt.
        let judge = Some(Judge { policy, exhausted: second != 9 });
        told.push(w.judgement(SettleItem { judge, ..w.attempted(held, false, None) }).await.news);
    }
    let exhausted = vec![HealthNews::Exhausted];
    assert_eq!(told, [exhausted.clone(), vec![], vec![], exhausted], "one signal stands for those of ten seconds");
    assert_eq!(health(&w, &destination).await.exhausted_at, Some(at(10_000)), "when it was told last is kept");
    let held = w.held(&tenant, &destination, 1).await.remove(0);
    w.judgement(w.judged(&held, true, policy)).await;
    assert_eq!(health(&w, &destination).await.exhausted_at, Some(at(10_000)), "also over a success");
}

pub(super) async fn a_recovery_is_told_once_after_a_warning(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 2, 4).await;
    let held = w.held(&tenant, &destination, 2).await;
    let recovered = HealthNews::Recovered { failures: 2, since: at(1000) };
    assert_eq!(w.judgement(w.judged(&held[0], true, warning_at(4))).await, news(&[recovered]), "it works again");
    assert_eq!(w.judgement(w.judged(&held[1], true, warning_at(4))).await, news(&[]), "that is no news any more");
}

pub(super) async fn two_handles_share_one_count(w: World) {
    let Some(other) = w.other.clone() else { return };
    let (tenant, destination) = w.acme().await;
    let mut told = Vec::new();
    for (turn, held) in w.held(&tenant, &destination, 6).await.iter().enumerate() {
        let items = vec![w.judged(held, false, warning_at(4))];
        let store = if turn % 2 == 0 { &w.store } else { &other };
        let outcome = store.settle(Settle { now: w.now(), items }).await.expect("settle").remove(0);
        let SettleOutcome::Done { judgement, .. } = outcome else { panic!("it is held, but it is {outcome:?}") };
        told.extend(judgement.news);
    }
    // 70 % of four is three, rounded up, and so is 90 % four.
    let wanted = [failing(50, 2, 4, at(0)), failing(70, 3, 4, at(0)), failing(100, 4, 4, at(0))];
    assert_eq!(told, wanted, "two processes count into one health, and each warning is told by one of them");
    assert_eq!(failures(&w, &destination).await, 6);
}

pub(super) async fn parallel_failures_are_each_counted(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 20).await;
    let calls = held.iter().map(|held| {
        let (store, now, items) = (w.store.clone(), w.now(), vec![w.judged(held, false, warning_at(10))]);
        async move { store.settle(Settle { now, items }).await.expect("settle").remove(0) }
    });
    let mut told = Vec::new();
    for outcome in together(calls.collect()).await {
        let SettleOutcome::Done { judgement, .. } = outcome else { panic!("it is held, but it is {outcome:?}") };
        told.extend(judgement.news);
    }
    told.sort_by_key(|news| if let HealthNews::Failing { failures, .. } = news { *failures } else { 0 });
    let wanted = [(50, 5), (70, 7), (90, 9), (100, 10)].map(|(percent, count)| failing(percent, count, 10, at(0)));
    assert_eq!(told, wanted, "each warning is told once, however many fail at the same time");
    assert_eq!(failures(&w, &destination).await, 20, "and none is lost");
}

pub(super) async fn tenants_do_not_share_health(w: World) {
    let (first, one) = w.acme().await;
    let second = w.tenant("other").await;
    let other = w.destination(&second, "des_1").await;
    fail_in_turn(&w, (&first, &one), 3, 4).await;
    assert_eq!(failures(&w, &other).await, 0, "another tenant's destination of the same id has not failed");
    let told = fail_in_turn(&w, (&second, &other), 1, 4).await.concat();
    assert_eq!(told, [], "its first failure is no reason for a warning");
    assert_eq!(failures(&w, &one).await, 3);
}

pub(super) async fn unjudged_attempts_count_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 1, 2).await;
    let before = health(&w, &destination).await;
    let held = w.held(&tenant, &destination, 2).await;
    let judgements =
        [w.judgement(w.attempted(&held[0], false, None)).await, w.judgement(w.attempted(&held[1], true, None)).await];
    assert_eq!(judgements, [Judgement::default(), Judgement::default()], "a test tells nothing of a destination");
    assert_eq!(health(&w, &destination).await, before, "neither for it nor against it");
}

pub(super) async fn what_was_not_attempted_counts_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 1, 2).await;
    let before = health(&w, &destination).await;
    let held = w.held(&tenant, &destination, 3).await;
    let actions = [
        SettleAction::Released,
        SettleAction::Extended { until: at(500_000) },
        SettleAction::Retired { state: DeliveryState::Failed },
    ];
    for (held, action) in held.iter().zip(actions) {
        let judge = Some(Judge { policy: warning_at(2), exhausted: true });
        let judgement = w.judgement(SettleItem { judge, ..item(held, action) }).await;
        assert_eq!(judgement, Judgement::default(), "there is no attempt to judge");
    }
    assert_eq!(health(&w, &destination).await, before, "nothing was tried");
}

/// Checks that an attempt which is still on its way is recorded and counts nothing.
async fn tells_nothing_new(w: &World, destination: &DestinationRecord, held: &[Held; 2]) {
    let before = health(w, destination).await;
    for (held, success) in held.iter().zip([false, true]) {
        let judged = w.judged(held, success, warning_at(2).disable_at_count(true));
        assert_eq!(w.judgement(judged).await, Judgement::default(), "what was on its way tells nothing new");
        assert_eq!(w.attempts(destination, held.key.event.as_str()).await.len(), 1, "but it is recorded");
    }
    assert_eq!(health(w, destination).await, before, "and counts nothing");
}

pub(super) async fn attempts_after_the_disabling_count_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 1, 2).await;
    let held = w.held(&tenant, &destination, 2).await;
    w.disable(&destination).await;
    tells_nothing_new(&w, &destination, &held.try_into().expect("two")).await;
}

pub(super) async fn attempts_after_the_deletion_count_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 1, 2).await;
    let held = w.held(&tenant, &destination, 2).await;
    w.delete(&destination).await;
    tells_nothing_new(&w, &destination, &held.try_into().expect("two")).await;
}

pub(super) async fn enabling_starts_health_anew(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 3, 4).await;
    let before = health(&w, &destination).await;
    w.disable(&destination).await;
    assert_eq!(health(&w, &destination).await, before, "while it is disabled one sees what it was disabled for");
    w.enable(&destination).await;
    assert_eq!(health(&w, &destination).await, Health::default(), "enabled, it has not failed yet");
    let told = fail_in_turn(&w, (&tenant, &destination), 2, 4).await.concat();
    assert_eq!(told, [failing(50, 2, 4, at(4000))], "and is warned of again");
}

pub(super) async fn other_changes_keep_health(w: World) {
    let (tenant, destination) = w.acme().await;
    fail_in_turn(&w, (&tenant, &destination), 3, 4).await;
    let before = health(&w, &destination).await;
    let mut found = w.find_destination(destination.incarnation).await;
    found.name = None;
    w.done(vec![put(&found, Expect::Any)]).await;
    assert_eq!(health(&w, &destination).await, before, "a new name does not heal");
    w.done(vec![crate::store::Write::PutTenant { tenant, expect: Expect::Any }]).await;
    assert_eq!(health(&w, &destination).await, before, "nor does a change of its tenant");
    w.sweep_all(10).await;
    assert_eq!(health(&w, &destination).await, before, "nor a sweep");
}

pub(super) async fn a_new_life_of_a_destination_is_healthy(w: World) {
    let (tenant, first) = w.acme().await;
    fail_in_turn(&w, (&tenant, &first), 3, 4).await;
    w.delete(&first).await;
    let second = w.destination(&tenant, first.id.as_str()).await;
    assert_eq!(w.lane(&second).await, LaneRecord::new(second.incarnation), "what failed was another one");
}

pub(super) async fn health_is_read_back_exactly(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 2).await;
    let mut wanted = Health::default();
    let judge = Judge { policy: warning_at(2).exhausted_window(Some(Duration::ZERO)), exhausted: true };
    // The text is cut in the middle of what it is made of.
    for (held, (time, message)) in held.iter().zip([(-7, "x".to_owned()), (12_345, "“ größer ✓\n\0".repeat(40))])
    {
        let (response, error) = (None, Some(crate::AttemptError { message, ..no_answer() }));
        let attempt = Attempt { time: at(time), response, error, ..w.attempt(held, false) };
        wanted.judge(&attempt, judge);
        let action = SettleAction::Attempted { attempt: Arc::new(attempt), next: None };
        w.settled(SettleItem { judge: Some(judge), ..item(held, action) }).await;
    }
    assert_eq!(health(&w, &destination).await, wanted, "texts and times are kept as they were judged");
    assert_eq!((wanted.warned, wanted.failing_since), (100, Some(at(-7))), "this test says something");
    let claimed = w.claim(crate::store::Claim { lanes: vec![(destination.incarnation, 1)], ..w.any() }).await.claimed;
    assert_eq!(claimed.lanes[0].lane.health, wanted, "a claim tells the same");
}

pub(super) async fn a_stale_item_changes_no_health(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 1).await.remove(0);
    let foreign = Held { token: LeaseToken(held.token.0 ^ 1), ..held.clone() };
    let policy = warning_at(1).disable_at_count(true);
    assert_eq!(w.settle(w.judged(&foreign, false, policy)).await, SettleOutcome::Stale, "somebody else holds it");
    assert_eq!(health(&w, &destination).await, Health::default(), "a former holder's failure counts nothing");
    assert_eq!(w.find_destination(destination.incarnation).await.disabled, None, "and disables nothing");
    let judged = w.judged(&held, false, warning_at(1));
    assert_eq!(w.judgement(judged.clone()).await, news(&[failing(100, 1, 1, at(0))]), "the holder's does");
    assert_eq!(w.settle(judged).await, SettleOutcome::Stale, "and once");
    assert_eq!(failures(&w, &destination).await, 1);
}
