//! The filters of lists, one by one and together, and the wall between tenants.

use super::scan::both_ways;
use super::support::{World, at, event_id, item, labels};
use crate::domain::attempt::{Attempt, CodeFilter, Outcome};
use crate::domain::delivery::{CancelReason, DeliveryState};
use crate::domain::event::Event;
use crate::domain::tenant::Tenant;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{Filter, List, Scan, SettleAction};
use crate::values::page::Direction;

fn of(tenant: &Tenant, events: &[&str]) -> Vec<String> {
    events.iter().map(|event| format!("{event} of {:?}", tenant.incarnation)).collect()
}

fn to(destination: &DestinationRecord, events: &[&str]) -> Vec<String> {
    events.iter().map(|event| format!("{event} to {:?}", destination.incarnation)).collect()
}

/// Two destinations and four events: `a` to the first, `b` to the second, `c` to both, `d` to none. The
/// topic of `a` and `b` is `t.1`, of the others `t.2`. Deliveries of `a` and `c` have an attempt each; the
/// one of `a` failed.
async fn busy(w: &World) -> (Tenant, DestinationRecord, DestinationRecord) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    for (event, topic, targets) in [
        ("a", "t.1", vec![&first]),
        ("b", "t.1", vec![&second]),
        ("c", "t.2", vec![&first, &second]),
        ("d", "t.2", vec![]),
    ] {
        w.advance(1);
        w.publish_on(&tenant, event, topic, &targets).await;
    }
    for held in w.claim_all().await.held() {
        w.advance(1);
        match held.key.event.as_str() {
            "a" => w.fail(&held, Some(at(1_000_000))).await,
            "c" => w.succeed(&held).await,
            _ => {}
        }
    }
    (tenant, first, second)
}

/// The events of the attempts that match, in any order.
async fn attempted(w: &World, filter: Filter) -> Vec<String> {
    let labels = w.list(List::Attempts, filter).await;
    let mut events: Vec<String> =
        labels.iter().filter_map(|label| label.split(' ').nth(1).map(str::to_owned)).collect();
    events.sort();
    events
}

pub(super) async fn a_tenants_list_holds_only_its_own_rows(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let other = w.tenant("other").await;
    let foreign = w.destination(&other, "des_1").await;
    w.publish_on(&other, "a", "t.1", &[&foreign]).await;
    w.succeed(&w.claim_all().await.only()).await;
    let own = |tenant: &Tenant| Filter { tenant: Some(tenant.incarnation), ..Filter::default() };
    for list in [List::Tenants, List::Destinations, List::Events, List::Deliveries, List::Attempts] {
        let (ours, theirs) = (w.list(list, own(&tenant)).await, w.list(list, own(&other)).await);
        let all = w.list(list, Filter::default()).await;
        assert_eq!(theirs.len(), 1, "{list:?}: the other tenant sees its one row");
        assert!(ours.iter().all(|row| !theirs.contains(row)), "{list:?}: no row is of two tenants");
        assert_eq!(all.len(), ours.len() + 1, "{list:?}: without a tenant every row is listed");
    }
    let crossing = Filter { destinations: vec![first.incarnation, second.incarnation], ..own(&other) };
    for list in [List::Destinations, List::Events, List::Deliveries, List::Attempts] {
        let found = w.list(list, crossing.clone()).await;
        assert!(found.is_empty(), "{list:?}: another tenant's destination opens no door, but {found:?} came through");
    }
}

pub(super) async fn from_is_inclusive_and_until_exclusive(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let range = |from, until| Filter { from: Some(at(from)), until: Some(at(until)), ..Filter::default() };
    both_ways(&w, List::Events, range(2, 4), &of(&tenant, &["b", "c"])).await;
    both_ways(&w, List::Deliveries, range(1, 3), &[to(&first, &["a"]), to(&second, &["b"])].concat()).await;
    let times = [w.attempts(&first, "a").await[0].time, w.attempts(&first, "c").await[0].time];
    let filter = Filter { from: Some(times[0]), until: Some(times[1]), ..Filter::default() };
    let found = attempted(&w, filter).await;
    assert!(found.contains(&"a".to_owned()), "attempts at the start of the range belong to it");
    let ends = w.list(List::Attempts, Filter { until: Some(times[0]), ..Filter::default() }).await;
    assert!(ends.iter().all(|label| !label.contains(" a ")), "attempts at the end of the range do not");
    let tenants = Filter { from: Some(at(0)), until: Some(at(1)), ..Filter::default() };
    assert_eq!(w.list(List::Tenants, tenants.clone()).await.len(), 1, "tenants are of the time of their creation");
    assert_eq!(w.list(List::Destinations, tenants).await.len(), 2, "destinations too");
    assert_eq!(w.list(List::Destinations, range(1, 100)).await.len(), 0, "none was created later");
}

pub(super) async fn an_empty_time_range_is_empty(w: World) {
    busy(&w).await;
    for (from, until) in [(2, 2), (3, 2), (500, 600), (-9, 0)] {
        let filter = Filter { from: Some(at(from)), until: Some(at(until)), ..Filter::default() };
        both_ways(&w, List::Events, filter.clone(), &[]).await;
        both_ways(&w, List::Deliveries, filter, &[]).await;
    }
}

pub(super) async fn topics_are_matched_literally(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let on = |topics: &[&str]| Filter {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        ..Filter::default()
    };
    both_ways(&w, List::Events, on(&["t.1"]), &of(&tenant, &["a", "b"])).await;
    both_ways(&w, List::Events, on(&["t.2", "t.1"]), &of(&tenant, &["a", "b", "c", "d"])).await;
    for none in ["t", "t.*", "*", "T.1", "t%", "t_1", "t.1 "] {
        both_ways(&w, List::Events, on(&[none]), &[]).await;
    }
    both_ways(&w, List::Deliveries, on(&["t.2"]), &[to(&first, &["c"]), to(&second, &["c"])].concat()).await;
    assert_eq!(attempted(&w, on(&["t.2"])).await, ["c", "c"], "attempts have their event's topic");
}

pub(super) async fn events_are_found_by_destination(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let by = |destinations: &[&DestinationRecord]| Filter {
        destinations: destinations.iter().map(|found| found.incarnation).collect(),
        ..Filter::default()
    };
    both_ways(&w, List::Events, by(&[&first]), &of(&tenant, &["a", "c"])).await;
    both_ways(&w, List::Events, by(&[&first, &second]), &of(&tenant, &["a", "b", "c"])).await;
    w.disable(&second).await;
    w.advance(1000);
    w.publish(&tenant, "skipped", &[&second]).await;
    both_ways(&w, List::Events, by(&[&second]), &of(&tenant, &["b", "c", "skipped"])).await;
}

pub(super) async fn deliveries_are_found_by_destination_and_event(w: World) {
    let (_, first, second) = busy(&w).await;
    let filter = Filter { destinations: vec![second.incarnation], ..Filter::default() };
    both_ways(&w, List::Deliveries, filter, &to(&second, &["b", "c"])).await;
    let filter = Filter { events: vec![event_id("c"), event_id("d")], ..Filter::default() };
    both_ways(&w, List::Deliveries, filter.clone(), &[to(&first, &["c"]), to(&second, &["c"])].concat()).await;
    let filter = Filter { destinations: vec![first.incarnation], ..filter };
    both_ways(&w, List::Deliveries, filter, &to(&first, &["c"])).await;
}

pub(super) async fn events_are_found_by_id(w: World) {
    let (tenant, ..) = busy(&w).await;
    let filter = Filter { events: vec![event_id("d"), event_id("a"), event_id("nothing")], ..Filter::default() };
    both_ways(&w, List::Events, filter, &of(&tenant, &["a", "d"])).await;
}

pub(super) async fn attempts_are_found_by_destination_and_event(w: World) {
    let (_, first, second) = busy(&w).await;
    let filter = Filter { destinations: vec![first.incarnation], ..Filter::default() };
    assert_eq!(attempted(&w, filter.clone()).await, ["a", "c"], "those to the destination");
    let filter = Filter { events: vec![event_id("c")], ..filter };
    assert_eq!(attempted(&w, filter).await, ["c"], "those of the event to the destination");
    let filter = Filter { destinations: vec![second.incarnation], ..Filter::default() };
    assert_eq!(attempted(&w, filter).await, ["c"], "those to the other destination");
}

pub(super) async fn attempts_are_found_by_success(w: World) {
    busy(&w).await;
    let success = |success| Filter { success, ..Filter::default() };
    assert_eq!(attempted(&w, success(Some(true))).await, ["c", "c"], "those that succeeded");
    assert_eq!(attempted(&w, success(Some(false))).await, ["a"], "those that did not");
    assert_eq!(attempted(&w, success(None)).await, ["a", "c", "c"], "all of them");
}

pub(super) async fn deliveries_are_found_by_written_state(w: World) {
    let (_, first, second) = busy(&w).await;
    let state = |states: &[DeliveryState]| Filter { states: states.to_vec(), ..Filter::default() };
    both_ways(&w, List::Deliveries, state(&[DeliveryState::Pending]), &to(&second, &["b"])).await;
    both_ways(&w, List::Deliveries, state(&[DeliveryState::Retrying]), &to(&first, &["a"])).await;
    let delivered = [to(&first, &["c"]), to(&second, &["c"])].concat();
    both_ways(&w, List::Deliveries, state(&[DeliveryState::Delivered]), &delivered).await;
    both_ways(&w, List::Deliveries, state(&[DeliveryState::Failed]), &[]).await;
    let both = [to(&second, &["b"]), delivered].concat();
    both_ways(&w, List::Deliveries, state(&[DeliveryState::Pending, DeliveryState::Delivered]), &both).await;
}

pub(super) async fn deliveries_are_found_by_the_state_they_are_shown_in(w: World) {
    let (_, first, second) = busy(&w).await;
    let state = |state| Filter { states: vec![state], ..Filter::default() };
    w.disable(&first).await;
    w.delete(&second).await;
    let cancelled = DeliveryState::Cancelled(CancelReason::DestinationDeleted);
    for _ in 0..2 {
        both_ways(&w, List::Deliveries, state(DeliveryState::Skipped), &to(&first, &["a"])).await;
        both_ways(&w, List::Deliveries, state(cancelled), &to(&second, &["b"])).await;
        both_ways(&w, List::Deliveries, state(DeliveryState::Pending), &[]).await;
        both_ways(&w, List::Deliveries, state(DeliveryState::Retrying), &[]).await;
        // Once more with all of it written down.
        w.advance(10_000_000);
        w.sweep_all(10).await;
    }
}

pub(super) async fn deliveries_are_found_by_the_code_of_their_latest_attempt(w: World) {
    let (tenant, destination) = w.acme().await;
    let ends =
        [("a", "404"), ("b", "503"), ("c", "timeout"), ("d", "200"), ("e", "5"), ("f", "5000"), ("g", "Timeout")];
    for (event, code) in ends {
        w.advance(1);
        w.publish(&tenant, event, &[&destination]).await;
        let held = w.claim_all().await.only();
        let attempt = Attempt {
            outcome: Outcome { success: code == "200", code: code.to_owned() },
            ..w.attempt(&held, code == "200")
        };
        w.settled(item(&held, SettleAction::Attempted { attempt: attempt.into(), next: None })).await;
    }
    w.advance(1);
    w.publish(&tenant, "untried", &[&destination]).await;
    for (wanted, events) in [
        (&["4xx"][..], &["a"][..]),
        (&["5xx"], &["b"]),
        (&["2xx"], &["d"]),
        (&["3xx"], &[]),
        (&["404"], &["a"]),
        (&["timeout"], &["c"]),
        (&["5"], &["e"]),
        (&["none"], &["c", "e", "f", "g"]),
        (&["2xx", "503", "none"], &["b", "c", "d", "e", "f", "g"]),
        (&[], &["a", "b", "c", "d", "e", "f", "g", "untried"]),
    ] {
        let codes = wanted.iter().map(|text| CodeFilter::parse(text).unwrap()).collect();
        both_ways(&w, List::Deliveries, Filter { codes, ..Filter::default() }, &to(&destination, events)).await;
    }
}

pub(super) async fn only_the_latest_code_of_a_delivery_counts(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let codes = |text: &str| Filter { codes: vec![CodeFilter::parse(text).unwrap()], ..Filter::default() };
    both_ways(&w, List::Deliveries, codes("503"), &to(&first, &["a"])).await;
    w.set(1_000_000);
    let retried = w.claim_all().await.held().into_iter().find(|held| held.key.event.as_str() == "a");
    w.succeed(&retried.expect("the failed one is due again")).await;
    both_ways(&w, List::Deliveries, codes("503"), &[]).await;
    let delivered = [to(&first, &["a", "c"]), to(&second, &["c"])].concat();
    both_ways(&w, List::Deliveries, codes("2xx"), &delivered).await;
    // Together with all that deliveries may be asked for besides.
    let filter = Filter {
        tenant: Some(tenant.incarnation),
        destinations: vec![first.incarnation],
        topics: vec!["t.2".to_owned()],
        states: vec![DeliveryState::Delivered],
        ..codes("200")
    };
    both_ways(&w, List::Deliveries, filter.clone(), &to(&first, &["c"])).await;
    both_ways(&w, List::Deliveries, Filter { states: vec![DeliveryState::Failed], ..filter }, &[]).await;
    w.delete(&first).await;
    both_ways(&w, List::Deliveries, codes("2xx"), &delivered).await;
}

pub(super) async fn codes_are_looked_for_within_the_bound(w: World) {
    let (tenant, destination) = w.acme().await;
    for number in 0..40 {
        w.publish(&tenant, &format!("evt_{number:02}"), &[&destination]).await;
        w.advance(1);
    }
    for held in w.claim_all().await.held() {
        if held.key.event.as_str() == "evt_30" {
            w.fail(&held, None).await;
        } else {
            w.succeed(&held).await;
        }
    }
    let filter = Filter { codes: vec![CodeFilter::Class(5)], ..Filter::default() };
    let direction = Direction::Ascending;
    let mut scan = Scan { list: List::Deliveries, filter, direction, after: None, limit: 10, examine: 5 };
    let mut found = Vec::new();
    for pages in 1.. {
        let page = w.scan(scan.clone()).await;
        found.extend(labels(&page.rows));
        scan.after = page.resume;
        if scan.after.is_none() {
            assert!(pages >= 4, "about 5 rows are examined for a page, so 40 are not walked in {pages} pages");
            break;
        }
        assert!(pages < 50, "a walk in small bounds comes to an end");
    }
    assert_eq!(found, to(&destination, &["evt_30"]), "the one that failed is found however far away it is");
}

pub(super) async fn filters_are_combined(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let filter = Filter {
        tenant: Some(tenant.incarnation),
        destinations: vec![first.incarnation, second.incarnation],
        events: vec![event_id("b"), event_id("c"), event_id("d")],
        topics: vec!["t.2".to_owned()],
        from: Some(at(1)),
        until: Some(at(50)),
        ..Filter::default()
    };
    both_ways(&w, List::Events, filter.clone(), &of(&tenant, &["c"])).await;
    let filter = Filter { states: vec![DeliveryState::Delivered], ..filter };
    both_ways(&w, List::Deliveries, filter.clone(), &[to(&first, &["c"]), to(&second, &["c"])].concat()).await;
    let filter = Filter { states: Vec::new(), success: Some(true), ..filter };
    assert_eq!(attempted(&w, filter.clone()).await, ["c", "c"], "everything asked for holds");
    let filter = Filter { success: Some(false), ..filter };
    assert!(attempted(&w, filter).await.is_empty(), "one thing does not hold");
}

pub(super) async fn what_is_deleted_leaves_its_list_but_not_the_log(w: World) {
    let (tenant, first, _) = busy(&w).await;
    let lists = [List::Events, List::Deliveries, List::Attempts];
    let mut before = Vec::new();
    for list in lists {
        before.push(w.list(list, Filter::default()).await);
    }
    w.delete(&first).await;
    assert_eq!(w.list(List::Destinations, Filter::default()).await.len(), 1, "a deleted destination is not listed");
    w.delete_tenant(&tenant).await;
    assert!(w.list(List::Destinations, Filter::default()).await.is_empty(), "nor are those of a deleted tenant");
    assert!(w.list(List::Tenants, Filter::default()).await.is_empty(), "nor is the tenant");
    for (list, before) in lists.into_iter().zip(before) {
        assert_eq!(w.list(list, Filter::default()).await, before, "{list:?}: the log outlives what it is about");
    }
}

pub(super) async fn destinations_are_found_by_incarnation(w: World) {
    let (tenant, first, second) = busy(&w).await;
    let filter = Filter { destinations: vec![second.incarnation], ..Filter::default() };
    both_ways(&w, List::Destinations, filter, &[format!("des_2 {:?}", second.incarnation)]).await;
    let filter =
        Filter { tenant: Some(tenant.incarnation), destinations: vec![first.incarnation], ..Filter::default() };
    both_ways(&w, List::Destinations, filter, &[format!("des_1 {:?}", first.incarnation)]).await;
}

pub(super) async fn an_events_own_time_orders_and_filters_it(w: World) {
    let tenant = w.tenant("acme").await;
    for (id, time) in [("old", -86_400_000), ("new", 86_400_000), ("now", 0)] {
        let item = w.item(&tenant, Event { time: at(time), ..w.event(&tenant, id) }, &[]).await;
        w.ingest_one(item).await;
    }
    both_ways(&w, List::Events, Filter::default(), &of(&tenant, &["old", "now", "new"])).await;
    let filter = Filter { from: Some(at(1)), ..Filter::default() };
    both_ways(&w, List::Events, filter, &of(&tenant, &["new"])).await;
}
