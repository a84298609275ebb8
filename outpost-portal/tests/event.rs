//! One event and all its deliveries.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::StatusCode;
use outpost_core::{NewEvent, ScriptedReply};

use self::support::{Seen, Stage};

fn body(seen: &Seen) -> &str {
    seen.text.split("<main").nth(1).unwrap().split("</main>").next().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_what_became_of_it_everywhere() {
    let stage = Stage::new().await;
    for id in ["crm", "billing", "old"] {
        stage.destination("acme", id).await;
    }
    stage.transport.answer(|target, _| {
        if target.display().contains("billing") { ScriptedReply::status(500) } else { ScriptedReply::ok() }
    });
    let event = NewEvent::new("order.created", r#"{"total":12}"#).id("evt_1").metadata("trace", "<b>x");
    stage.outpost.publish("acme", event).await.unwrap();
    stage.pass(1).await;
    stage.outpost.destinations().delete("acme", "old").await.unwrap();
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/events/evt_1").await;
    page.must_have("order.created").must_have("evt_1").must_have("12 B").must_have("total");
    page.must_have("trace").must_have("&lt;b&gt;x").must_not_have("<b>");
    page.must_have("/destinations/crm/deliveries/evt_1\"").must_have("/destinations/billing/deliveries/evt_1\"");
    page.must_have("Delivered").must_have("Retrying").must_have("500");
    page.must_have("<code>old</code>").must_have("deleted").must_not_have("/destinations/old/");
    page.must_have("/payload\"");
    assert_eq!(page.text.matches("<h1").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nothing_wanted_says_so() {
    let stage = Stage::new().await;
    stage.publish("acme", "evt_1", "order.created", "{}").await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/events/evt_1").await;
    assert_eq!(page.status, StatusCode::OK);
    page.must_have("No destination matched when it was published.").must_not_have("/payload");
}

#[tokio::test(start_paused = true)]
async fn anothers_event_is_as_one_that_never_was() {
    let stage = Stage::new().await;
    stage.publish("globex", "evt_theirs", "order.created", r#"{"canary":1}"#).await;
    let mut browser = stage.browser("acme").await;
    let theirs = browser.get("/events/evt_theirs").await;
    let nobodys = browser.get("/events/evt_nobodys").await;
    assert_eq!((theirs.status, nobodys.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(body(&theirs), body(&nobodys));
    theirs.must_have("removed after 30 days").must_not_have("canary").must_not_have("evt_theirs");
    for odd in ["/events/%00", "/events/%E2%80%AE", "/events/..%2F..%2Fx"] {
        let told = browser.get(odd).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{odd}");
        told.must_not_have("\u{202e}").must_not_have("\0");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_removed_is_explained() {
    let stage = Stage::new().await;
    stage.destination("acme", "crm").await;
    stage.publish("acme", "evt_1", "order.created", "{}").await;
    stage.pass(32 * 24 * 3600).await;
    let mut browser = stage.browser("acme").await;
    for path in ["/events/evt_1", "/destinations/crm/deliveries/evt_1"] {
        let told = browser.get(path).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{path}");
        told.must_have("it is over and was removed after 30 days");
    }
}
