//! Reading by key.

use super::support::{World, event_id, key, labels};
use crate::domain::event::Event;
use crate::engine::record::{DestinationRecord, LaneRecord};
use crate::ports::store::{Expect, Key, Row};
use crate::values::id::{AttemptId, DestinationId, Incarnation, TenantId};

pub(super) async fn answers_come_in_the_order_of_the_keys(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let found = w
        .fetch_all(vec![
            Key::Lane(destination.incarnation),
            Key::TenantLife(tenant.incarnation),
            Key::Tenant(TenantId::new("nobody").unwrap()),
            Key::Event(tenant.incarnation, event_id("evt_1")),
            Key::TenantLife(tenant.incarnation),
        ])
        .await;
    let kinds: Vec<&str> = found
        .iter()
        .map(|rows| match &rows[..] {
            [Row::Lane(_)] => "lane",
            [Row::Tenant(_)] => "tenant",
            [Row::Event(_)] => "event",
            [] => "nothing",
            _ => "something else",
        })
        .collect();
    assert_eq!(kinds, ["lane", "tenant", "nothing", "event", "tenant"], "each key is answered in its place");
}

pub(super) async fn unknown_keys_answer_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    let unknown = Incarnation::from_i64(1);
    let keys = vec![
        Key::Tenant(TenantId::new("Acme").unwrap()),
        Key::TenantLife(unknown),
        Key::Destination(tenant.incarnation, DestinationId::new("des_2").unwrap()),
        Key::DestinationLife(unknown),
        Key::DestinationLife(tenant.incarnation),
        Key::DestinationsOf(unknown),
        Key::Event(tenant.incarnation, event_id("evt_1")),
        Key::EventEverywhere(event_id("evt_1")),
        Key::Delivery(key(&destination, "evt_1")),
        Key::DeliveriesOf(tenant.incarnation, event_id("evt_1")),
        Key::Attempt(AttemptId::new("att_1").unwrap()),
        Key::AttemptsOf(key(&destination, "evt_1")),
        Key::Record("kind".into(), "key".into()),
        Key::Lane(unknown),
    ];
    for (key, rows) in keys.clone().into_iter().zip(w.fetch_all(keys).await) {
        assert_eq!(rows, [], "{key:?} names nothing");
    }
    assert!(w.fetch_all(Vec::new()).await.is_empty(), "no keys, no answers");
}

pub(super) async fn destinations_of_a_tenant_are_ordered_by_creation_and_id(w: World) {
    let tenant = w.tenant("acme").await;
    let mut wanted = Vec::new();
    for (id, created) in [("z", 5), ("b", 9), ("B", 9), ("a", 10)] {
        let created_at = super::support::at(created);
        wanted.push(DestinationRecord { created_at, ..w.new_destination(&tenant, id) });
    }
    wanted.swap(1, 2);
    for at in [3, 1, 0, 2] {
        w.create(&wanted[at]).await;
    }
    w.destination(&w.tenant("other").await, "c").await;
    let found = w.fetch(Key::DestinationsOf(tenant.incarnation)).await;
    let wanted: Vec<Row> = wanted.into_iter().map(|record| Row::Destination(Box::new(record))).collect();
    assert_eq!(labels(&found), labels(&wanted), "they are ordered by creation, then by the bytes of the id");
}

pub(super) async fn an_event_is_found_in_every_tenant_that_has_it(w: World) {
    let tenants = [w.tenant("c").await, w.tenant("a").await, w.tenant("b").await, w.tenant("without").await];
    for at in [2, 0, 1] {
        w.publish(&tenants[at], "evt_1", &[]).await;
    }
    w.publish(&tenants[3], "evt_2", &[]).await;
    w.delete_tenant(&tenants[1]).await;
    let found = w.fetch(Key::EventEverywhere(event_id("evt_1"))).await;
    let lives: Vec<Incarnation> =
        found.iter().map(|row| if let Row::Event(event) = row { event.tenant } else { panic!("{row:?}") }).collect();
    let wanted: Vec<Incarnation> = tenants[..3].iter().map(|tenant| tenant.incarnation).collect();
    assert_eq!(lives, wanted, "every tenant's event is found, a deleted tenant's too, ordered by tenant");
}

pub(super) async fn an_events_deliveries_are_ordered_by_destination(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_0").await;
    let third = w.destination(&tenant, "des_2").await;
    w.publish(&tenant, "evt_1", &[&third, &first, &second]).await;
    w.publish(&tenant, "evt_2", &[&first]).await;
    let found = w.fetch(Key::DeliveriesOf(tenant.incarnation, event_id("evt_1"))).await;
    let wanted = [&first, &second, &third].map(|to| format!("evt_1 to {:?}", to.incarnation));
    assert_eq!(labels(&found), wanted, "all deliveries of the event, ordered by destination");
}

pub(super) async fn attempts_are_ordered_by_number(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    for _ in 0..12 {
        let held = w.claim_all().await.only();
        // The clock of a later attempt may be behind.
        w.advance(-1);
        let next = Some(w.now());
        w.fail(&held, next).await;
    }
    let numbers: Vec<u32> = w.attempts(&destination, "evt_1").await.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<u32>>(), "attempts are ordered by number, whatever their times");
}

pub(super) async fn an_attempt_is_found_by_its_id(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.succeed(&w.claim_all().await.only()).await;
    let attempt = w.attempts(&destination, "evt_1").await.remove(0);
    let found = w.fetch(Key::Attempt(attempt.id.clone())).await;
    assert_eq!(found, [Row::Attempt(Box::new(attempt))], "an attempt's id names it");
}

pub(super) async fn a_key_does_not_reach_into_another_tenant(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.tenant("other").await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    for key in [
        Key::Event(other.incarnation, event_id("evt_1")),
        Key::DeliveriesOf(other.incarnation, event_id("evt_1")),
        Key::Destination(other.incarnation, destination.id.clone()),
        Key::DestinationsOf(other.incarnation),
    ] {
        assert_eq!(w.fetch(key.clone()).await, [], "{key:?} is of a tenant that has nothing");
    }
}

pub(super) async fn ids_differ_by_case(w: World) {
    let (tenant, _) = w.acme().await;
    w.publish(&tenant, "evt_a", &[]).await;
    w.publish(&tenant, "evt_A", &[]).await;
    let upper = Event { id: event_id("evt_A"), ..w.event(&tenant, "evt_A") };
    assert_eq!(w.find_event(&tenant, "evt_A").await.data, upper.data, "ids that differ by case are different ids");
    w.tenant("ACME").await;
    let destination = w.new_destination(&tenant, "DES_1");
    w.done(vec![super::support::put(&destination, Expect::Absent)]).await;
}

pub(super) async fn a_new_lane_is_empty(w: World) {
    let (_, destination) = w.acme().await;
    let lane = w.lane(&destination).await;
    assert_eq!(lane, LaneRecord::new(destination.incarnation), "a new destination has an empty lane");
}
