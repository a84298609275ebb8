//! The data: tenants of all kinds, with everything a page may have to show.

use std::time::Duration;

use bytes::Bytes;
use outpost_core::{
    DeliveryFilter, DeliveryState, DestinationId, NewDestination, NewEvent, Outpost, PageRequest, Topics,
};

use crate::TOPICS;

/// Text that must do nothing but be shown.
pub(crate) const HOSTILE: &str = "\"><img src=x onerror=alert(1)><script>alert(2)</script>\u{202e}txt";

async fn destination(outpost: &Outpost, tenant: &str, id: &str, name: &str, url: String, topics: Topics) {
    let new = NewDestination::webhook(url).id(DestinationId::new(id).expect("an id")).name(name).topics(topics);
    outpost.destinations().create(tenant, new).await.expect("a destination");
}

pub(crate) async fn everything(outpost: &Outpost, own: &str, deliveries: u32) {
    for tenant in ["acme", "globex", "empty", "many"] {
        outpost.tenants().put(tenant, None).await.expect("a tenant");
    }
    let topics = |list: &[&str]| Topics::new(list.iter().copied()).expect("topics");
    destination(outpost, "acme", "orders", "Orders webhook", format!("{own}/sink/ok"), topics(&["order.*"])).await;
    destination(outpost, "acme", "billing", "Billing", format!("{own}/sink/fail"), topics(&["invoice.paid"])).await;
    destination(outpost, "acme", "slow", "Warehouse", format!("{own}/sink/slow?key=value"), topics(&["user.deleted"]))
        .await;
    destination(outpost, "acme", "ledger", "Ledger", format!("{own}/sink/ok"), topics(&["user.deleted"])).await;
    destination(outpost, "acme", "large", "Archive", format!("{own}/sink/large"), topics(&["user.created"])).await;
    destination(outpost, "acme", "staging", "Staging", format!("{own}/sink/page"), topics(&["order.created"])).await;
    destination(outpost, "acme", "hostile", HOSTILE, format!("{own}/sink/ok?x=%22%3E%3Cscript%3E"), Topics::all())
        .await;
    let target = format!("{own}/sink/hostile");
    destination(outpost, "acme", "rude", "Rude receiver", target, topics(&["user.created"])).await;
    outpost.destinations().disable("acme", "hostile", HOSTILE).await.expect("disabled");
    for number in 0..24 {
        let id = format!("shop-{number:02}");
        let url = format!("{own}/sink/ok?shop={number}");
        destination(outpost, "acme", &id, &format!("Shop {number}"), url, topics(&["heartbeat"])).await;
    }
    destination(outpost, "globex", "main", "Main", format!("{own}/sink/ok"), Topics::all()).await;
    destination(outpost, "globex", "secret-plans", "Secret plans", format!("{own}/sink/fail"), Topics::all()).await;
    for number in 0..500 {
        let id = format!("d-{number:03}");
        destination(
            outpost,
            "many",
            &id,
            &format!("Destination {number}"),
            format!("{own}/sink/ok?d={number}"),
            topics(&["heartbeat"]),
        )
        .await;
    }
    for event in ["order.created", "user.created", "invoice.paid"] {
        publish(outpost, "globex", event, &format!("globex-{}", event.replace('.', "-")), r#"{"canary":"globex"}"#)
            .await;
    }
    publish(outpost, "acme", "user.created", "evt-large", r#"{"user":1}"#).await;
    publish(outpost, "acme", "user.deleted", "evt-slow", r#"{"user":2}"#).await;
    publish(
        outpost,
        "acme",
        "invoice.paid",
        "evt-failed",
        r#"{"amount":132.5,"currency":"EUR","note":"a\"b","ok":true,"none":null,"items":[{"sku":"A","qty":2}]}"#,
    )
    .await;
    publish(outpost, "acme", "order.created", "evt-hostile", &serde_json::json!({ "text": HOSTILE }).to_string()).await;
    publish(outpost, "acme", "user.created", "evt-rude", &serde_json::json!({ "text": HOSTILE }).to_string()).await;
    let mut batch = Vec::new();
    for number in 0..deliveries {
        // Some fail, most arrive; one in ten goes to two destinations.
        let topic = if number % 23 == 0 { "invoice.paid" } else { TOPICS[usize::try_from(number % 4).unwrap_or(0)] };
        let data =
            format!(r#"{{"order_id":"ord_{number}","status":"paid","amount":{number}.5,"test":false,"coupon":null}}"#);
        batch.push(NewEvent::new(topic, Bytes::from(data)).id(format!("evt-{number}")));
        if batch.len() == 100 || number + 1 == deliveries {
            for outcome in outpost.publish_batch("acme", std::mem::take(&mut batch)).await.expect("published") {
                outcome.expect("published");
            }
        }
    }
    outpost.destinations().disable("acme", "staging", "moving to another server").await.expect("disabled");
    settled(outpost).await;
}

async fn publish(outpost: &Outpost, tenant: &str, topic: &str, id: &str, data: &str) {
    let event = NewEvent::new(topic, Bytes::copy_from_slice(data.as_bytes())).id(id);
    outpost.publish(tenant, event).await.expect("published");
}

/// Waits until everything has been tried.
async fn settled(outpost: &Outpost) {
    let pending = DeliveryFilter { states: vec![DeliveryState::Pending], ..DeliveryFilter::default() };
    let one = PageRequest { limit: 1, ..PageRequest::default() };
    for _ in 0..600 {
        let left = outpost.deliveries().list("acme", &pending, &one).await.expect("a list");
        if left.items.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the seed never settled");
}
