//! Lists: their orders, pages, ends, and the bound on rows examined. The filters are in `scan_filter.rs`.

use super::support::{START, World, at, event_id, labels};
use crate::domain::event::Event;
use crate::domain::tenant::Tenant;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{Expect, Filter, List, Scan, Write};
use crate::values::id::EventId;
use crate::values::page::{Direction, Position};
use crate::values::time::Timestamp;

/// Walks the list in pages of several sizes, from both ends.
pub(super) async fn both_ways(w: &World, list: List, filter: Filter, wanted: &[String]) {
    let reversed: Vec<String> = wanted.iter().rev().cloned().collect();
    for limit in [1, 2, 3, 1000] {
        let found = w.walk(list, filter.clone(), Direction::Ascending, limit).await;
        assert_eq!(found, wanted, "{list:?} oldest first in pages of {limit}");
        let found = w.walk(list, filter.clone(), Direction::Descending, limit).await;
        assert_eq!(found, reversed, "{list:?} newest first in pages of {limit}");
    }
}

fn scan(list: List, limit: u32) -> Scan {
    Scan { list, filter: Filter::default(), direction: Direction::Ascending, after: None, limit, examine: 10_000 }
}

/// Stores events whose times are in `times`, named by their place in it.
async fn events_at(w: &World, tenant: &Tenant, times: &[Timestamp]) {
    for (at, time) in times.iter().enumerate() {
        let event = Event { time: *time, ..w.event(tenant, &format!("evt_{at}")) };
        let item = w.item(tenant, event, &[]).await;
        w.ingest_one(item).await;
    }
}

pub(super) async fn an_empty_store_has_empty_lists(w: World) {
    for list in [List::Tenants, List::Destinations, List::Events, List::Deliveries, List::Attempts] {
        let page = w.scan(scan(list, 10)).await;
        assert_eq!((page.rows, page.resume), (vec![], None), "{list:?} of an empty store");
    }
}

pub(super) async fn tenants_are_listed_by_creation_and_id(w: World) {
    let mut wanted = Vec::new();
    // Capitals come before small letters, and '.' before digits: the order is that of the bytes.
    for (id, created) in [("z", -1), ("B", 5), ("a", 5), ("a.b", 5), ("a0", 5), ("b", 5), ("A", 6)] {
        wanted.push(Tenant { created_at: at(created), ..w.new_tenant(id) });
    }
    for place in [3, 6, 0, 2, 5, 1, 4] {
        w.done(vec![Write::PutTenant { tenant: wanted[place].clone(), expect: Expect::Absent }]).await;
    }
    let wanted: Vec<String> = wanted.iter().map(|tenant| format!("{} {:?}", tenant.id, tenant.incarnation)).collect();
    both_ways(&w, List::Tenants, Filter::default(), &wanted).await;
}

pub(super) async fn destinations_are_listed_by_creation_id_and_life(w: World) {
    let (one, two) = (w.tenant("one").await, w.tenant("two").await);
    let mut wanted = Vec::new();
    for (tenant, id, created) in [(&two, "z", 1), (&one, "a", 2), (&two, "a", 2), (&one, "b", 2), (&one, "0", 3)] {
        let created_at = at(created);
        wanted.push(DestinationRecord { created_at, ..w.new_destination(tenant, id) });
    }
    for place in [4, 2, 0, 1, 3] {
        w.create(&wanted[place]).await;
    }
    let label = |found: &DestinationRecord| format!("{} {:?}", found.id, found.incarnation);
    let all: Vec<String> = wanted.iter().map(label).collect();
    both_ways(&w, List::Destinations, Filter::default(), &all).await;
    let own: Vec<String> = wanted.iter().filter(|found| found.tenant == one.incarnation).map(label).collect();
    let filter = Filter { tenant: Some(one.incarnation), ..Filter::default() };
    both_ways(&w, List::Destinations, filter, &own).await;
}

pub(super) async fn events_are_listed_by_time_id_and_tenant(w: World) {
    let (one, two) = (w.tenant("one").await, w.tenant("two").await);
    let rows = [(&two, "z", -9), (&one, "A", 5), (&one, "a", 5), (&two, "a", 5), (&one, "b", 5), (&two, "0", 7)];
    for place in [5, 3, 1, 0, 4, 2] {
        let (tenant, id, time) = rows[place];
        w.advance(1);
        let item = w.item(tenant, Event { time: at(time), ..w.event(tenant, id) }, &[]).await;
        w.ingest_one(item).await;
    }
    let label = |(tenant, id, _): &(&Tenant, &str, i64)| format!("{id} of {:?}", tenant.incarnation);
    both_ways(&w, List::Events, Filter::default(), &rows.iter().map(label).collect::<Vec<_>>()).await;
    let own: Vec<String> = rows.iter().filter(|row| row.0.id == one.id).map(label).collect();
    both_ways(&w, List::Events, Filter { tenant: Some(one.incarnation), ..Filter::default() }, &own).await;
}

pub(super) async fn deliveries_are_listed_by_creation_event_and_destination(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_0").await;
    let third = w.destination(&tenant, "des_2").await;
    let mut wanted = Vec::new();
    for (millis, id) in [(1, "b"), (2, "a"), (2, "c"), (2, "d"), (3, "B")] {
        w.set(millis);
        // The event's own time does not order its deliveries.
        let event = Event { time: at(100 - millis), ..w.event(&tenant, id) };
        let item = w.item(&tenant, event, &[&third, &first, &second]).await;
        w.ingest_one(item).await;
        wanted.extend([&first, &second, &third].map(|to| format!("{id} to {:?}", to.incarnation)));
    }
    both_ways(&w, List::Deliveries, Filter::default(), &wanted).await;
}

pub(super) async fn attempts_are_listed_by_time_and_id(w: World) {
    let (tenant, destination) = w.acme().await;
    let events = ["a", "b", "c", "d", "e"];
    for event in events {
        w.publish(&tenant, event, &[&destination]).await;
        w.advance(1);
    }
    w.set(100);
    let held = w.claim_all().await.held();
    let mut items = Vec::new();
    for (held, time) in held.iter().zip([7, 5, 9, 5, 5]) {
        w.set(time);
        items.push(w.attempted(held, true, None));
    }
    w.set(100);
    w.settle_all(items).await;
    let mut wanted: Vec<(Timestamp, String, String)> = Vec::new();
    for event in events {
        let attempt = w.attempts(&destination, event).await.remove(0);
        let label = format!("{} {event} to {:?}", attempt.id, destination.incarnation);
        wanted.push((attempt.time, attempt.id.to_string(), label));
    }
    wanted.sort();
    let wanted: Vec<String> = wanted.into_iter().map(|(_, _, label)| label).collect();
    both_ways(&w, List::Attempts, Filter::default(), &wanted).await;
}

pub(super) async fn rows_of_one_time_are_all_paged(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(0); 9]).await;
    let wanted: Vec<String> = (0..9).map(|id| format!("evt_{id} of {:?}", tenant.incarnation)).collect();
    both_ways(&w, List::Events, Filter::default(), &wanted).await;
}

pub(super) async fn events_at_the_ends_of_time_are_listed(w: World) {
    let tenant = w.tenant("acme").await;
    let times = [Timestamp::MIN, Timestamp::from_millis(-1), Timestamp::from_millis(0), at(0), Timestamp::MAX];
    events_at(&w, &tenant, &times).await;
    let wanted: Vec<String> = (0..5).map(|id| format!("evt_{id} of {:?}", tenant.incarnation)).collect();
    both_ways(&w, List::Events, Filter::default(), &wanted).await;
    let filter = Filter { from: Some(Timestamp::MIN), until: Some(Timestamp::MAX), ..Filter::default() };
    both_ways(&w, List::Events, filter, &wanted[..4]).await;
}

pub(super) async fn a_full_page_resumes_after_its_last_row(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(1), at(2), at(3)]).await;
    let page = w.scan(scan(List::Events, 2)).await;
    assert_eq!(page.rows.len(), 2, "the page is full");
    let wanted = Position { time: at(2), id: "evt_1".to_owned(), scope: tenant.incarnation.as_i64() };
    let page = w.scan(Scan { after: page.resume, ..scan(List::Events, 2) }).await;
    assert_eq!(labels(&page.rows), [format!("evt_2 of {:?}", tenant.incarnation)], "it goes on behind {wanted:?}");
    // A position is built by hand for a page before another one.
    let page = w.scan(Scan { after: Some(wanted), ..scan(List::Events, 2) }).await;
    assert_eq!(page.rows.len(), 1, "a position is the row's time, id and scope");
}

pub(super) async fn a_page_that_ends_the_list_does_not_resume(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(1), at(2), at(3)]).await;
    for direction in [Direction::Ascending, Direction::Descending] {
        let page = w.scan(Scan { direction, ..scan(List::Events, 3) }).await;
        assert_eq!((page.rows.len(), page.resume), (3, None), "nothing follows a page that holds all there is");
        let after = w.scan(Scan { direction, ..scan(List::Events, 2) }).await.resume;
        let page = w.scan(Scan { direction, after, ..scan(List::Events, 1) }).await;
        assert_eq!((page.rows.len(), page.resume), (1, None), "nothing follows a full page that ends the list");
    }
}

pub(super) async fn what_follows_must_match_to_resume(w: World) {
    let tenant = w.tenant("acme").await;
    for (event, topic) in [("evt_0", "wanted"), ("evt_1", "wanted"), ("evt_2", "unwanted")] {
        w.publish_on(&tenant, event, topic, &[]).await;
        w.advance(1);
    }
    let filter = Filter { topics: vec!["wanted".to_owned()], ..Filter::default() };
    let page = w.scan(Scan { filter: filter.clone(), ..scan(List::Events, 1) }).await;
    assert!(page.resume.is_some(), "a row that matches follows");
    let page = w.scan(Scan { filter, ..scan(List::Events, 2) }).await;
    assert_eq!((page.rows.len(), page.resume), (2, None), "only a row that does not match follows");
}

pub(super) async fn the_rows_examined_are_bounded(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(1); 40]).await;
    let page = w.scan(Scan { examine: 5, ..scan(List::Events, 100) }).await;
    assert!(page.rows.len() <= 10, "about 5 rows are examined, so {} cannot be returned", page.rows.len());
    assert!(page.resume.is_some(), "there is more behind the bound");
}

pub(super) async fn a_walk_in_small_bounds_finds_every_row(w: World) {
    let tenant = w.tenant("acme").await;
    let mut wanted = Vec::new();
    for number in 0..20 {
        let (event, hit) = (format!("evt_{number:02}"), number % 7 == 3);
        w.publish_on(&tenant, &event, if hit { "wanted" } else { "unwanted" }, &[]).await;
        if hit {
            wanted.push(format!("{event} of {:?}", tenant.incarnation));
        }
    }
    let filter = Filter { topics: vec!["wanted".to_owned()], ..Filter::default() };
    for (direction, examine, limit) in
        [(Direction::Ascending, 1, 1), (Direction::Ascending, 3, 2), (Direction::Descending, 2, 9)]
    {
        let mut found = Vec::new();
        let mut next = Scan { filter: filter.clone(), direction, examine, ..scan(List::Events, limit) };
        for _ in 0..50 {
            let page = w.scan(next.clone()).await;
            found.extend(labels(&page.rows));
            assert_ne!(page.resume, next.after, "a page that resumes has moved on");
            next.after = page.resume;
            if next.after.is_none() {
                break;
            }
        }
        if direction == Direction::Descending {
            found.reverse();
        }
        assert_eq!(found, wanted, "short pages lose nothing, with {examine} rows examined for each");
    }
}

pub(super) async fn a_walk_survives_rows_that_come_in(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(10), at(20), at(30), at(40)]).await;
    let page = w.scan(scan(List::Events, 2)).await;
    for (id, time) in [("before", 15), ("behind", 25), ("last", 50)] {
        let item = w.item(&tenant, Event { time: at(time), ..w.event(&tenant, id) }, &[]).await;
        w.ingest_one(item).await;
    }
    let page = w.scan(Scan { after: page.resume, ..scan(List::Events, 100) }).await;
    let wanted = ["behind", "evt_2", "evt_3", "last"].map(|id| format!("{id} of {:?}", tenant.incarnation));
    assert_eq!(labels(&page.rows), wanted, "the walk goes on behind its position, whatever came in");
}

pub(super) async fn a_walk_survives_the_loss_of_its_position(w: World) {
    let (tenant, first) = w.acme().await;
    w.advance(1);
    let second = w.destination(&tenant, "des_2").await;
    w.advance(1);
    let third = w.destination(&tenant, "des_3").await;
    let page = w.scan(scan(List::Destinations, 2)).await;
    assert_eq!(page.rows.len(), 2);
    w.delete(&second).await;
    let after = page.resume;
    let page = w.scan(Scan { after: after.clone(), ..scan(List::Destinations, 2) }).await;
    assert_eq!(labels(&page.rows), [format!("des_3 {:?}", third.incarnation)], "it goes on behind the deleted row");
    let back = Scan { after, direction: Direction::Descending, ..scan(List::Destinations, 2) };
    let page = w.scan(back).await;
    assert_eq!(labels(&page.rows), [format!("des_1 {:?}", first.incarnation)], "and before it, the other way");
}

pub(super) async fn a_position_need_not_be_a_row(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(10), at(20)]).await;
    let beyond = EventId::new("zzz").unwrap();
    for (time, id, ascending, descending) in [
        (5, "m".to_owned(), 2, 0),
        (10, beyond.to_string(), 1, 1),
        (15, String::new(), 1, 1),
        (20, event_id("a").to_string(), 1, 1),
        (25, "m".to_owned(), 0, 2),
    ] {
        let after = Some(Position { time: at(time), id, scope: 0 });
        for (direction, wanted) in [(Direction::Ascending, ascending), (Direction::Descending, descending)] {
            let page = w.scan(Scan { after: after.clone(), direction, ..scan(List::Events, 9) }).await;
            assert_eq!(page.rows.len(), wanted, "{direction:?} from {after:?}");
        }
    }
}

pub(super) async fn a_position_outside_the_time_range_is_harmless(w: World) {
    let tenant = w.tenant("acme").await;
    events_at(&w, &tenant, &[at(10), at(20), at(30)]).await;
    let filter = Filter { from: Some(at(15)), until: Some(at(25)), ..Filter::default() };
    for (time, ascending) in [(Timestamp::MIN, 1), (at(27), 0), (Timestamp::from_millis(START * 2), 0)] {
        let after = Some(Position { time, id: "m".to_owned(), scope: i64::MAX });
        let page = w.scan(Scan { after: after.clone(), filter: filter.clone(), ..scan(List::Events, 9) }).await;
        assert_eq!((page.rows.len(), page.resume), (ascending, None), "from {after:?} within the range");
        let direction = Direction::Descending;
        let page =
            w.scan(Scan { after: after.clone(), direction, filter: filter.clone(), ..scan(List::Events, 9) }).await;
        assert_eq!(page.rows.len(), 1 - ascending, "the other way from {after:?} within the range");
    }
}
