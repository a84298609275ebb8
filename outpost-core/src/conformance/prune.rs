//! What a prune forgets, how it walks, and what outlives it. What is old enough is in `prune_age.rs`.

use super::support::{Held, World, at, event_id, key};
use crate::domain::delivery::DeliveryState;
use crate::domain::rollup::Level;
use crate::domain::tenant::Tenant;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{Claim, Filter, IngestOutcome, Key, List, Prune, Pruned, Scan, SettleOutcome, Usage, Write};
use crate::values::page::Direction;

/// Stores so many events, each of which is attempted twice and then over.
pub(super) async fn over(w: &World, tenant: &Tenant, to: &DestinationRecord, names: &[&str]) {
    for name in names {
        w.publish(tenant, name, &[to]).await;
        let lanes = vec![(to.incarnation, 1)];
        let claim = || Claim { lanes: lanes.clone(), discover: 0, ..w.any() };
        w.fail(&w.claim(claim()).await.only(), Some(w.now())).await;
        w.succeed(&w.claim(claim()).await.only()).await;
    }
}

/// Which of these events are still stored.
pub(super) async fn left(w: &World, tenant: &Tenant, names: &[&'static str]) -> Vec<&'static str> {
    let keys = names.iter().map(|name| Key::Event(tenant.incarnation, event_id(name))).collect();
    let found = w.fetch_all(keys).await;
    names.iter().zip(found).filter(|(_, rows)| !rows.is_empty()).map(|(name, _)| *name).collect()
}

pub(super) async fn an_empty_store_has_nothing_to_prune(w: World) {
    assert_eq!(w.prune(w.older(at(1_000_000))).await, Pruned::default());
    let (tenant, _) = w.acme().await;
    let own = Prune { tenant: Some(tenant.incarnation), ..w.older(at(1_000_000)) };
    assert_eq!(w.prune(own).await, Pruned::default(), "nothing was examined, and this is the end");
}

pub(super) async fn everything_goes_with_its_event(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.destination(&tenant, "des_2").await;
    over(&w, &tenant, &destination, &["gone"]).await;
    w.publish(&tenant, "wide", &[&destination, &other]).await;
    for held in w.claim_all().await.held() {
        w.succeed(&held).await;
    }
    w.set(10);
    over(&w, &tenant, &destination, &["stays"]).await;
    let attempts = w.attempts(&destination, "gone").await;
    let before = w.usage(&tenant).await;
    let pruned = w.prune_all(w.older(at(10))).await;
    assert_eq!((pruned.events, pruned.attempts), (2, 4), "two events, with all that hangs on them");
    let mut keys = Vec::new();
    for event in ["gone", "wide"] {
        keys.push(Key::Event(tenant.incarnation, event_id(event)));
        keys.push(Key::EventEverywhere(event_id(event)));
        keys.push(Key::DeliveriesOf(tenant.incarnation, event_id(event)));
        keys.extend([&destination, &other].map(|found| Key::Delivery(key(found, event))));
        keys.extend([&destination, &other].map(|found| Key::AttemptsOf(key(found, event))));
    }
    keys.extend(attempts.iter().map(|attempt| Key::Attempt(attempt.id.clone())));
    for (key, found) in keys.iter().zip(w.fetch_all(keys.clone()).await) {
        assert_eq!(found, [], "{key:?} names nothing any more");
    }
    let tenants = [None, Some(tenant.incarnation)];
    for (list, count) in [(List::Events, 1), (List::Deliveries, 1), (List::Attempts, 2)] {
        for tenant in tenants {
            for destinations in [vec![], vec![destination.incarnation, other.incarnation]] {
                let filter = Filter { tenant, destinations, ..Filter::default() };
                assert_eq!(w.list(list, filter).await.len(), count, "{list:?}: only what stays is listed");
            }
            let events = vec![event_id("gone"), event_id("wide")];
            let filter = Filter { tenant, events, ..Filter::default() };
            assert!(w.list(list, filter).await.is_empty(), "{list:?}: nothing is found by the ids");
        }
    }
    assert_eq!(w.attempts(&destination, "stays").await.len(), 2, "what stays is whole");
    let after = w.usage(&tenant).await;
    assert_eq!((after.events, after.bytes), (1, before.bytes - pruned.bytes), "as much is given back as is told");
    assert_eq!(w.lane(&destination).await.open, 0);
    assert_eq!(w.claim_all().await.claimed.next, None, "nothing is left to be done");
}

pub(super) async fn pruning_gives_back_what_was_stored(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["evt_1", "evt_2"]).await;
    w.publish(&tenant, "open", &[&destination]).await;
    w.publish(&tenant, "evt_3", &[]).await;
    let length = async |event| w.find_event(&tenant, event).await.data.len() as u64;
    let (open, three) = (length("open").await, length("evt_3").await);
    let bodies = 2 * 2 * b"answer".len() as u64;
    let two = length("evt_1").await + length("evt_2").await;
    let before = Usage { events: 4, bytes: two + open + three + bodies, open: 1 };
    assert_eq!(w.usage(&tenant).await, before);
    let wanted = Pruned { events: 3, attempts: 4, bytes: two + three + bodies, kept: 1, resume: None };
    assert_eq!(w.prune_all(w.older(at(1))).await, wanted, "payloads and bodies, and one event that is kept");
    assert_eq!(w.usage(&tenant).await, Usage { events: 1, bytes: open, open: 1 }, "only the open one is left");
    assert_eq!(w.prune_all(w.older(at(1))).await, Pruned { kept: 1, ..Pruned::default() }, "there is nothing more");
}

pub(super) async fn a_pruned_id_is_free_again(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["evt_1"]).await;
    w.prune_all(w.older(at(1))).await;
    w.set(500);
    // It would be a conflict with the event that was there.
    let event = crate::Event { fingerprint: crate::Fingerprint([3; 32]), ..w.event(&tenant, "evt_1") };
    let outcome = w.ingest_one(w.item(&tenant, event.clone(), &[&destination]).await).await;
    assert_eq!(outcome, IngestOutcome::Stored { leased: vec![false] }, "nobody remembers the earlier one");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.state, found.attempts), (DeliveryState::Pending, 0), "nothing of it is inherited");
    assert!(w.attempts(&destination, "evt_1").await.is_empty());
    let held = w.claim_all().await.only();
    assert_eq!(held.attempts, 0);
    w.succeed(&held).await;
    assert_eq!(w.attempts(&destination, "evt_1").await.len(), 1);
    assert_eq!(w.usage(&tenant).await.events, 1);
}

pub(super) async fn pruning_one_tenant_leaves_others(w: World) {
    let (first, one) = w.acme().await;
    let second = w.tenant("other").await;
    let two = w.destination(&second, "des_1").await;
    over(&w, &first, &one, &["evt_1", "evt_2"]).await;
    over(&w, &second, &two, &["evt_1", "evt_2"]).await;
    let before = w.usage(&second).await;
    let pruned = w.prune_all(Prune { tenant: Some(first.incarnation), ..w.older(at(1)) }).await;
    assert_eq!((pruned.events, pruned.attempts), (2, 4), "its own two");
    assert_eq!(left(&w, &first, &["evt_1", "evt_2"]).await, [""; 0]);
    assert_eq!(left(&w, &second, &["evt_1", "evt_2"]).await, ["evt_1", "evt_2"], "another tenant's stay");
    assert_eq!(w.attempts(&two, "evt_1").await.len(), 2, "with their attempts");
    assert_eq!(w.usage(&second).await, before);
    let own = Filter { tenant: Some(second.incarnation), ..Filter::default() };
    assert_eq!(w.list(List::Attempts, own).await.len(), 4);
    assert_eq!(w.prune_all(w.older(at(1))).await.events, 2, "without a tenant everybody's are pruned");
    assert_eq!(w.usage(&second).await, Usage::default());
}

pub(super) async fn a_deleted_tenants_log_is_pruned(w: World) {
    let (first, one) = w.acme().await;
    over(&w, &first, &one, &["done"]).await;
    w.publish(&first, "cancelled", &[&one]).await;
    w.delete_tenant(&first).await;
    w.sweep_all(10).await;
    let second = w.tenant("acme").await;
    let two = w.destination(&second, "des_1").await;
    over(&w, &second, &two, &["done"]).await;
    w.set(1000);
    let pruned = w.prune_all(Prune { tenant: Some(first.incarnation), ..w.older(at(1000)) }).await;
    assert_eq!((pruned.events, pruned.attempts, pruned.kept), (2, 2, 0), "whatever it has left behind");
    assert_eq!(w.usage(&first).await, Usage::default());
    assert_eq!(left(&w, &second, &["done"]).await, ["done"], "the new life of its id has a log of its own");
    assert_eq!(w.prune_all(w.older(at(1000))).await.events, 1);
}

pub(super) async fn a_walk_of_prunes_examines_everything_once(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.tenant("other").await;
    let names: Vec<String> = (0..12).map(|number| format!("evt_{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        // Several have the same time, and every third one is open.
        let event = crate::Event { time: at((number / 4) as i64), ..w.event(&tenant, name) };
        let to: &[&DestinationRecord] = if number % 3 == 0 { &[&destination] } else { &[] };
        w.ingest_one(w.item(&tenant, event, to).await).await;
        w.publish(&other, name, &[]).await;
    }
    w.set(1000);
    for (limit, examine, tenant, wanted) in
        [(1, 1, Some(tenant.incarnation), (8, 4)), (2, 1, None, (12, 4)), (1, 1, None, (0, 4)), (5, 7, None, (0, 4))]
    {
        let pruned = w.prune_all(Prune { limit, examine, tenant, ..w.older(at(1000)) }).await;
        assert_eq!((pruned.events, pruned.kept), wanted, "limit {limit}, {examine} examined: each is examined once");
    }
    let kept: Vec<&str> = names.iter().step_by(3).map(String::as_str).collect();
    let found = w.list(List::Events, Filter::default()).await;
    assert_eq!(found.len(), kept.len(), "only the open ones are left");
}

pub(super) async fn a_prune_is_bounded(w: World) {
    let (tenant, destination) = w.acme().await;
    let mut items = Vec::new();
    for number in 0..60 {
        let to: &[&DestinationRecord] = if number < 30 { &[&destination] } else { &[] };
        items.push(w.item(&tenant, w.event(&tenant, &format!("evt_{number}")), to).await);
    }
    w.ingest(items).await;
    w.set(1000);
    // Half of the events are open. However they are walked, thirty can be deleted and thirty cannot.
    let mut request = Prune { limit: 1000, examine: 10, ..w.older(at(1000)) };
    let first = w.prune(request.clone()).await;
    assert!(first.events + first.kept <= 20, "about ten may be examined, but {first:?}");
    assert!(first.resume.is_some(), "there is more to do");
    request = Prune { limit: 7, examine: 1000, ..request };
    let second = w.prune(request.clone()).await;
    assert_eq!(second.events, 7.min(30 - first.events), "as many as the limit allows, if there are so many");
    let rest = w.prune_all(request).await;
    assert_eq!(first.events + second.events + rest.events, 30, "it comes to an end");
    assert_eq!(w.usage(&tenant).await, Usage { events: 30, open: 30, ..w.usage(&tenant).await });
}

pub(super) async fn walks_survive_a_prune(w: World) {
    let (tenant, destination) = w.acme().await;
    let names = ["evt_0", "evt_1", "evt_2", "evt_3", "evt_4"];
    for name in names {
        over(&w, &tenant, &destination, &[name]).await;
        w.advance(1);
    }
    let ways = [(List::Events, Direction::Descending, at(2)), (List::Deliveries, Direction::Ascending, at(3))];
    for (list, direction, before) in ways {
        let filter = Filter { destinations: vec![destination.incarnation], ..Filter::default() };
        let scan = Scan { list, filter, direction, after: None, limit: 1, examine: 1000 };
        let page = w.scan(scan.clone()).await;
        // The second one deletes the row that the walk stands on.
        w.prune_all(w.older(before)).await;
        let rest = w.scan(Scan { after: page.resume, limit: 10, ..scan }).await;
        assert_eq!((rest.rows.len(), rest.resume), (2, None), "{list:?}: it goes on with what is left");
    }
}

pub(super) async fn rollups_outlive_the_log(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["evt_1", "evt_2"]).await;
    let read = async || {
        let mut found = Vec::new();
        for level in Level::ALL {
            found.push((w.tallies(level, true).await, w.tallies(level, false).await));
        }
        found
    };
    let before = read().await;
    assert_eq!(w.prune_all(w.older(at(1))).await.events, 2);
    assert_eq!(read().await, before, "what was counted is not forgotten with what it stands for");
    over(&w, &tenant, &destination, &["evt_1"]).await;
    let events = w.tallies(Level::Day, true).await;
    assert!(events.values().all(|tally| tally.count == 3), "the next event is added: {events:?}");
}

pub(super) async fn what_is_pruned_cannot_be_settled(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let late = w.claim_all().await.only();
    w.set(super::support::LEASE);
    w.succeed(&w.claim_all().await.only()).await;
    w.advance(1);
    assert_eq!(w.prune_all(w.older(w.now())).await.events, 1);
    assert_eq!(w.settle(w.attempted(&late, true, None)).await, SettleOutcome::Stale, "there is nothing left to settle");
    let unknown = Held { key: key(&destination, "evt_2"), ..late };
    assert_eq!(w.settle(w.attempted(&unknown, true, None)).await, SettleOutcome::Stale);
    assert_eq!(w.list(List::Attempts, Filter::default()).await, [""; 0]);
    assert_eq!(w.usage(&tenant).await, Usage::default());
}

pub(super) async fn what_was_cancelled_under_a_lapsed_lease_is_pruned_and_forgotten_by_its_lane(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    w.done(vec![Write::CancelDelivery { key: held.key.clone() }]).await;
    w.set(1);
    assert_eq!(w.prune_all(w.older(w.now())).await.events, 0, "somebody may still settle it");
    // The holder has died.
    w.set(super::support::LEASE);
    assert_eq!(w.prune_all(w.older(w.now())).await.events, 1, "it is over, though a due time is left");
    let lane = w.lane(&destination).await;
    assert_eq!((lane.next_due, lane.next_urgent, lane.open), (None, None, 0), "its lane waits for nothing");
    let taken = w.claim_all().await;
    assert!(taken.events().is_empty() && taken.claimed.next.is_none(), "nor does a claim");
}
