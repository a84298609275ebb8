//! From an id to its page.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::StatusCode;
use outpost_core::{AttemptFilter, DeliveryState, PageRequest, ReplayRequest, ScriptedReply};

use self::support::Stage;

/// A destination, an event, an attempt and a replay of a tenant, and their ids.
async fn ids(stage: &Stage, tenant: &str, destination: &str, event: &str) -> [String; 4] {
    stage.destination(tenant, destination).await;
    stage.publish(tenant, event, "order.created", "{}").await;
    stage.pass(1).await;
    let page = PageRequest::default();
    let attempts = stage.outpost.deliveries().attempts(tenant, &AttemptFilter::default(), &page).await.unwrap();
    let request = ReplayRequest { states: vec![DeliveryState::Failed], ..ReplayRequest::default() };
    let replay = stage.outpost.replays().start(tenant, destination, request).await.unwrap();
    [destination.to_owned(), event.to_owned(), attempts.items[0].id.to_string(), replay.id]
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_id_leads_to_its_page() {
    let stage = Stage::new().await;
    stage.transport.answer(|_, _| ScriptedReply::status(500));
    let [destination, event, attempt, replay] = ids(&stage, "acme", "crm", "evt_1").await;
    let mut browser = stage.browser("acme").await;
    for (id, to) in [
        (destination.as_str(), "/webhooks/destinations/crm".to_owned()),
        (&event, "/webhooks/events/evt_1".to_owned()),
        (&attempt, "/webhooks/destinations/crm/deliveries/evt_1?attempt=1#attempt-1".to_owned()),
        (&replay, format!("/webhooks/replays/{replay}")),
        (" evt_1 ", "/webhooks/events/evt_1".to_owned()),
    ] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", id).finish();
        let seen = browser.ask("GET", &format!("/find?{query}"), None).await;
        assert_eq!((seen.status, seen.header("location")), (StatusCode::SEE_OTHER, to.as_str()), "{id}");
    }
    stage.outpost.destinations().delete("acme", "crm").await.unwrap();
    let seen = browser.ask("GET", &format!("/find?q={attempt}"), None).await;
    assert_eq!(seen.header("location"), "/webhooks/events/evt_1", "the attempt's destination is gone");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_or_not_ones_own_is_not_found() {
    let stage = Stage::new().await;
    let theirs = ids(&stage, "globex", "theirs", "evt_theirs").await;
    let mut browser = stage.browser("acme").await;
    for id in theirs.iter().map(String::as_str).chain(["evt_nobodys", "a/b", "..", "new"]) {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", id).finish();
        let seen = browser.ask("GET", &format!("/find?{query}"), None).await;
        assert_eq!(seen.status, StatusCode::OK, "{id}");
        seen.must_have("Nothing with this ID");
        let link = format!("/webhooks/activity?{}", query.replacen("q=", "id=", 1));
        seen.must_have(&link);
    }
}

#[tokio::test(start_paused = true)]
async fn odd_and_endless_questions_are_answered_and_inert() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    browser.get("/find").await.must_have("Enter the whole ID").must_not_have("Nothing with this ID");
    let odd = browser.get("/find?q=%3Cscript%3E%22%E2%80%AE%00").await;
    odd.must_have("&lt;script&gt;").must_not_have("<script>\"").must_not_have("\u{202e}").must_not_have("\0");
    let long = browser.get(&format!("/find?q={}", "x".repeat(5000))).await;
    long.must_have("Nothing with this ID").must_not_have(&"x".repeat(256)).must_not_have("?id=");
}
