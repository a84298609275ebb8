//! What a judgement does in its commit: it disables, and its alerts are stored.

use std::time::Duration;

use super::flow::Tell;
use super::health::{failing, news, warning_at};
use super::support::{Held, World, at, item};
use crate::domain::delivery::DeliveryState;
use crate::domain::destination::{Disabled, DisabledBy};
use crate::domain::health::{Health, HealthNews, Judge, Judgement};
use crate::domain::tenant::Tenant;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{SettleAction, SettleItem, SettleOutcome};
use crate::values::time::Timestamp;

fn disabled(time: Timestamp, failures: u32) -> Disabled {
    Disabled {
        at: time,
        by: DisabledBy::Failures,
        reason: format!("{failures} attempts in a row failed"),
        last_error: Some("the receiver answered 503".to_owned()),
    }
}

/// An operator's tenant beside the usual one, whose destination has so many deliveries that are held.
async fn with_operator(w: &World, count: u32) -> (Tenant, DestinationRecord, Vec<Held>, Tenant) {
    let operator = w.tenant("operator").await;
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, count).await;
    (tenant, destination, held, operator)
}

pub(super) async fn too_many_failures_disable_in_the_same_commit(w: World) {
    let (tenant, destination, held, _) = with_operator(&w, 3).await;
    w.publish(&tenant, "waiting", &[&destination]).await;
    let policy = warning_at(2).disable_at_count(true);
    w.set(5);
    let warned = news(&[failing(50, 1, 2, at(5))]);
    assert_eq!(w.judgement(w.judged(&held[0], false, policy)).await, warned, "one failure is not too many");
    let before = w.find_destination(destination.incarnation).await;
    let subscriptions = w.find_tenant(tenant.incarnation).await.subscriptions;
    w.set(7);
    // It would be retried, were its destination not disabled by it.
    let judge = Some(Judge { policy, exhausted: false });
    let judged = SettleItem { judge, ..w.attempted(&held[1], false, Some(at(900))) };
    let reason = disabled(at(7), 2);
    let wanted = SettleOutcome::Done {
        state: DeliveryState::Skipped,
        due: None,
        judgement: Judgement { news: vec![failing(100, 2, 2, at(5))], disabled: Some(reason.clone()) },
    };
    assert_eq!(w.settle(judged).await, wanted, "its holder is told that the destination is disabled, and why");
    let mut changed = before.clone();
    changed.disable(reason);
    changed.revision += 1;
    assert_eq!(w.find_destination(destination.incarnation).await, changed, "it is disabled, under a new epoch");
    let found = w.find_tenant(tenant.incarnation).await.subscriptions;
    assert_eq!(found, subscriptions + 1, "the tenant's subscriptions have changed");
    for event in ["waiting", held[2].key.event.as_str()] {
        let found = w.delivery(&destination, event).await;
        assert_eq!((found.state, found.finished_at), (DeliveryState::Skipped, Some(at(7))), "{event}: it is skipped");
    }
    assert_eq!(w.lane(&destination).await.open, 0, "nothing is open");
    assert_eq!(w.claim_all().await.claimed.next, None, "and nothing is to come");
}

pub(super) async fn failing_for_too_long_disables(w: World) {
    let (_, destination, held, _) = with_operator(&w, 11).await;
    let policy = warning_at(1000).disable_after(Some(Duration::from_secs(60)));
    for (second, held) in (0..).zip(&held) {
        assert_eq!(w.find_destination(destination.incarnation).await.disabled, None, "not before the time is up");
        w.set(second * 6000);
        w.judgement(w.judged(held, false, policy)).await;
    }
    let found = w.find_destination(destination.incarnation).await.disabled.expect("it is disabled");
    assert_eq!((found.by, found.at), (DisabledBy::Failing, at(60_000)), "for a minute it has done nothing but fail");
    assert_eq!(w.lane(&destination).await.health.failures, 11, "what it was disabled for can still be seen");
}

pub(super) async fn what_an_item_disables_comes_before_its_judgement(w: World) {
    let (_, destination, held, _) = with_operator(&w, 1).await;
    let gone = Some(w.disabled());
    let judged = w.judged(&held[0], false, warning_at(1).disable_at_count(true));
    let judgement = w.judgement(SettleItem { disable: gone.clone(), ..judged }).await;
    let wanted = Judgement { news: vec![failing(100, 1, 1, at(0))], disabled: gone.clone() };
    assert_eq!(judgement, wanted, "one reason is told, and it is the item's own; the attempt counts all the same");
    let found = w.find_destination(destination.incarnation).await;
    assert_eq!((found.disabled, found.epoch), (gone, destination.epoch + 1), "it is disabled once, for that reason");
}

pub(super) async fn a_disabling_is_told_by_the_item_that_does_it(w: World) {
    let (tenant, destination, held, _) = with_operator(&w, 4).await;
    let policy = warning_at(2).disable_at_count(true);
    let subscriptions = w.find_tenant(tenant.incarnation).await.subscriptions;
    let mut items: Vec<SettleItem> = held.iter().map(|held| w.judged(held, false, policy)).collect();
    items[3].disable = Some(w.disabled());
    let told: Vec<Judgement> = w
        .settle_all(items)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            SettleOutcome::Done { judgement, .. } => judgement,
            other => panic!("its holder may settle it, but it is {other:?}"),
        })
        .collect();
    let second = Judgement { disabled: Some(disabled(at(0), 2)), ..news(&[failing(100, 2, 2, at(0))]) };
    let first = news(&[failing(50, 1, 2, at(0))]);
    assert_eq!(told, [first, second, news(&[]), news(&[])], "those after it find it disabled already");
    assert_eq!(w.lane(&destination).await.health.failures, 2, "and count nothing");
    let found = w.find_destination(destination.incarnation).await;
    assert_eq!(
        (found.disabled, found.epoch),
        (Some(disabled(at(0), 2)), destination.epoch + 1),
        "who was first stands"
    );
    assert_eq!(w.find_tenant(tenant.incarnation).await.subscriptions, subscriptions + 1, "it changed once");
}

pub(super) async fn disabling_without_an_attempt_is_told_too(w: World) {
    let (_, destination, held, operator) = with_operator(&w, 1).await;
    let released = SettleItem {
        disable: Some(w.disabled()),
        alerts: Tell::of("alert", w.follow_up(&operator, "x", &[]).await),
        ..item(&held[0], SettleAction::Released)
    };
    assert_eq!(w.judgement(released).await.disabled, Some(w.disabled()), "what the item disabled it for");
    assert!(w.find_destination(destination.incarnation).await.disabled.is_some());
    assert!(w.has_event(&operator, "alert_disabled").await, "and the alerts hear of it");
}

pub(super) async fn alerts_are_stored_with_the_outcome(w: World) {
    let (_, _, held, operator) = with_operator(&w, 3).await;
    let listener = w.destination(&operator, "des_op").await;
    let template = w.follow_up(&operator, "x", &[&listener]).await;
    let mut told = Vec::new();
    for (number, held) in held.iter().enumerate() {
        w.set(number as i64 * 1000);
        let alerts = Tell::of(&format!("alert_{number}"), template.clone());
        let judged = w.judged(held, number == 2, warning_at(3));
        let judged = SettleItem { alerts, follow_ups: Vec::new(), ..judged };
        told.push(w.judgement(judged).await);
    }
    assert!(!w.has_event(&operator, "alert_0_failing_50").await, "the first failure is no news");
    let since = at(0);
    assert_eq!(told[1], news(&[failing(50, 2, 3, since)]));
    let found = w.find_event(&operator, "alert_1_failing_50").await;
    assert_eq!(found.data, format!("{:?}", told[1]), "the alerts are made of what the outcome tells");
    assert_eq!(told[2], news(&[HealthNews::Recovered { failures: 2, since }]));
    assert!(w.has_event(&operator, "alert_2_recovered").await, "it works again");
    let wanted = ["alert_1_failing_50", "alert_2_recovered"];
    assert_eq!(w.claim_all().await.events(), wanted, "each is delivered like any event");
}

pub(super) async fn alerts_hear_of_everything_in_one_judgement(w: World) {
    let (tenant, destination, held, _) = with_operator(&w, 1).await;
    let listener = w.destination(&tenant, "des_2").await;
    // The events are matched against what was true before the disabling, which their own tenant sees.
    let template = w.follow_up(&tenant, "x", &[&listener, &destination]).await;
    let policy = warning_at(1).disable_at_count(true).exhausted_window(Some(Duration::ZERO));
    let follow_ups = vec![w.follow_up(&tenant, "beside", &[]).await];
    let judged = SettleItem {
        judge: Some(Judge { policy, exhausted: true }),
        alerts: Tell::of("alert", template),
        follow_ups,
        ..w.attempted(&held[0], false, None)
    };
    let judgement = w.judgement(judged).await;
    assert_eq!(judgement.news, [failing(100, 1, 1, at(0)), HealthNews::Exhausted], "all of it is told");
    assert_eq!(judgement.disabled, Some(disabled(at(0), 1)));
    for event in ["alert_failing_100", "alert_exhausted", "alert_disabled"] {
        let found = w.find_event(&tenant, event).await;
        assert_eq!(found.data, format!("{judgement:?}"), "{event}: the alerts see the judgement as a whole");
        assert_eq!(w.delivery(&listener, event).await.state, DeliveryState::Pending, "{event} is on its way");
        assert_eq!(w.delivery(&destination, event).await.state, DeliveryState::Skipped, "{event}: stored before");
    }
    assert!(w.has_event(&tenant, "beside").await, "other follow-ups are stored as well");
}

pub(super) async fn outdated_alerts_write_nothing(w: World) {
    let (tenant, destination, held, operator) = with_operator(&w, 1).await;
    let mut late = w.follow_up(&operator, "x", &[]).await;
    late.subscriptions += 1;
    let good = w.follow_up(&operator, "good", &[]).await;
    let before = (w.delivery(&destination, held[0].key.event.as_str()).await, w.lane(&destination).await);
    let owner = w.find_tenant(tenant.incarnation).await;
    let mut judged = SettleItem {
        alerts: Tell::of("alert", late),
        follow_ups: vec![good.clone()],
        ..w.judged(&held[0], false, warning_at(1).disable_at_count(true))
    };
    assert_eq!(w.settle(judged.clone()).await, SettleOutcome::Outdated, "the alerts are matched against the past");
    let after = (w.delivery(&destination, held[0].key.event.as_str()).await, w.lane(&destination).await);
    assert_eq!(after, before, "then nothing is written of the delivery and of the health");
    assert!(w.attempts(&destination, held[0].key.event.as_str()).await.is_empty(), "nor an attempt");
    assert_eq!(w.find_destination(destination.incarnation).await, destination, "nor of the destination");
    assert_eq!(w.find_tenant(tenant.incarnation).await, owner, "nor of its tenant");
    assert!(!w.has_event(&operator, "good").await, "nor another follow-up");
    judged.alerts = Tell::of("alert", good);
    let wanted = Judgement { disabled: Some(disabled(at(0), 1)), ..news(&[failing(100, 1, 1, at(0))]) };
    assert_eq!(w.judgement(judged).await, wanted, "matched again, the same is found out, and told");
    assert!(w.has_event(&operator, "alert_disabled").await);
}

pub(super) async fn a_stale_item_stores_no_alert(w: World) {
    let (_, destination, held, operator) = with_operator(&w, 1).await;
    let judged = SettleItem {
        alerts: Tell::of("alert", w.follow_up(&operator, "x", &[]).await),
        ..w.judged(&held[0], false, warning_at(1))
    };
    w.settled(w.attempted(&held[0], true, None)).await;
    assert_eq!(w.settle(judged).await, SettleOutcome::Stale, "it is settled already");
    assert!(!w.has_event(&operator, "alert_failing_100").await, "what did not count alarms nobody");
    assert_eq!(w.lane(&destination).await.health, Health::default());
}
