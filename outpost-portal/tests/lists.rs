//! Lists of deliveries: filters, pages, exports, and retrying what is ticked.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;

use http::StatusCode;
use outpost_core::{DeliveryState, ScriptedReply};

use self::support::{Seen, Stage};

/// Each row's event, in order.
fn rows(page: &Seen) -> Vec<String> {
    page.text.split("/deliveries/evt-").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

fn link(page: &Seen, rel: &str) -> Option<String> {
    let anchor = page.text.split("<a ").find(|anchor| anchor.contains(&format!("rel=\"{rel}\"")))?;
    Some(anchor.split("href=\"").nth(1)?.split('"').next()?.replace("&amp;", "&"))
}

async fn busy() -> Stage {
    let stage = Stage::new().await;
    stage.destination("acme", "orders").await;
    stage.destination("acme", "audit").await;
    stage.transport.answer(|target, message| {
        if target.display().contains("audit") && message.topic.as_ref() == "order.refunded" {
            ScriptedReply::status(500)
        } else {
            ScriptedReply::ok()
        }
    });
    for number in 0..60 {
        let topic = if number % 3 == 0 { "order.refunded" } else { "order.created" };
        stage.publish("acme", &format!("evt-{number}"), topic, r#"{"a":1}"#).await;
    }
    stage.pass(2).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn pages_go_there_and_back_also_while_a_range_moves_on() {
    let stage = busy().await;
    let mut browser = stage.browser("acme").await;
    for filter in ["", "?range=24h", "?range=24h&status=delivered", "?topic=order.created"] {
        let first = browser.get(&format!("/destinations/orders/deliveries{filter}")).await;
        assert_eq!(first.status, StatusCode::OK);
        let mut seen = rows(&first);
        assert_eq!(seen.len(), 25);
        stage.pass(7).await;
        let second = browser.get(&link(&first, "next").unwrap()).await;
        assert_eq!(second.status, StatusCode::OK, "{filter}: {}", second.text);
        seen.extend(rows(&second));
        let unique: BTreeSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "none twice");
        stage.pass(7).await;
        let back = browser.get(&link(&second, "prev").unwrap()).await;
        assert_eq!(rows(&back), rows(&first), "{filter}");
    }
}

#[tokio::test(start_paused = true)]
async fn filters_stand_in_the_address_and_a_chip_takes_one_away() {
    let stage = busy().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/destinations/audit/deliveries?status=retrying&code=5xx&topic=order.refunded").await;
    assert_eq!(rows(&page).len(), 20);
    page.must_have("href=\"/webhooks/destinations/audit/deliveries?topic=order.refunded&amp;code=5xx\"")
        .must_have("href=\"/webhooks/destinations/audit/deliveries?status=retrying&amp;topic=order.refunded\"")
        .must_have("Clear filters");
    assert!(rows(&browser.get("/destinations/audit/deliveries?code=404").await).is_empty());
    browser.get("/destinations/audit/deliveries?code=404").await.must_have("No delivery matches these filters");
    assert_eq!(rows(&browser.get("/destinations/audit/deliveries?id=evt-7").await), ["7"]);
    // What cannot be understood is said, not passed over in silence.
    let wrong = browser.get("/activity?status=lost&code=9xx&from=yesterday&topic=%20%20&id=a.b").await;
    assert_eq!(wrong.status, StatusCode::OK);
    wrong.must_have("There is no status lost.").must_have("The time yesterday could not be read.");
    browser.get("/activity?from=2026-01-02T00:00&until=2026-01-01T00:00").await.must_have("must be before");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nothing_wanted_is_in_the_activity() {
    let stage = Stage::new().await;
    stage.publish("acme", "evt-alone", "heartbeat", "{}").await;
    stage.destination("acme", "orders").await;
    stage.publish("acme", "evt-wanted", "heartbeat", "{}").await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/activity?status=unmatched").await;
    page.must_have("No destination matched").must_have("evt-alone").must_not_have("evt-wanted");
    browser.get("/activity").await.must_have("evt-wanted").must_not_have("evt-alone");
    browser.get("/events/evt-alone").await.must_have("No destination matched");
}

#[tokio::test(start_paused = true)]
async fn what_is_ticked_is_tried_again_and_the_list_stays_where_it_was() {
    let stage = busy().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/destinations/audit/deliveries?status=retrying").await;
    stage.transport.answer(|_, _| ScriptedReply::ok());
    let mut form = page.form("/retry");
    form.extend(["evt-0", "evt-3", "evt-3000"].map(|id| ("pick".to_owned(), id.to_owned())));
    let sent = browser.ask("POST", "/destinations/audit/retry", Some(&form)).await;
    assert_eq!(sent.header("location"), "/webhooks/destinations/audit/deliveries?status=retrying");
    let after = browser.get(sent.header("location")).await;
    after.must_have("2 retries queued. 1 could not be");
    stage.pass(2).await;
    for event in ["evt-0", "evt-3"] {
        let delivery = stage.outpost.deliveries().get("acme", "audit", event).await.unwrap();
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2));
    }
    // The same form again does nothing; a way back that leads elsewhere is not taken.
    let again = browser.ask("POST", "/destinations/audit/retry", Some(&form)).await;
    browser.get(again.header("location")).await.must_have("That was sent already.");
    let page = browser.get("/activity").await;
    for (name, value) in [("return_to", "https://evil.example/"), ("return_to", "/webhooks/../evil")] {
        let form =
            [("form_token".to_owned(), page.form("/activity/retry")[0].1.clone()), (name.to_owned(), value.to_owned())];
        let sent = browser.ask("POST", "/activity/retry", Some(&form)).await;
        assert_eq!(sent.header("location"), "/webhooks/activity");
    }
    let unknown = browser.ask("POST", "/destinations/nobody/retry", Some(&form)).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_export_has_what_the_filters_show_and_nothing_else() {
    let stage = busy().await;
    stage.publish("globex", "evt-foreign", "heartbeat", "{}").await;
    let mut browser = stage.browser("acme").await;
    let csv = browser.get("/destinations/audit/deliveries.csv?status=retrying").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"deliveries.csv\"");
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines.len(), 21);
    assert!(lines[0].starts_with("event_id,destination_id,topic,status"));
    assert!(
        lines[1..].iter().all(|line| line.contains(",audit,order.refunded,retrying,") && line.ends_with(",1,500")),
        "{}",
        csv.text
    );
    let lines = browser.get("/activity.ndjson").await;
    let rows: Vec<serde_json::Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 120);
    assert!(!lines.has("evt-foreign"));
    assert_eq!(browser.get("/destinations/nobody/deliveries.csv").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn preferences_hold_for_the_browser_and_bad_ones_are_refused() {
    let stage = busy().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/preferences").await;
    let saved = browser
        .send(&page, "/preferences", &[("theme", "dark"), ("zone", "Europe/Berlin"), ("page", "50"), ("keys", "1")])
        .await;
    saved
        .must_have("Your preferences are saved.")
        .must_have("data-theme=\"dark\"")
        .must_have("data-keys=\"1\"")
        .must_have("Times in Europe/Berlin");
    assert_eq!(rows(&browser.get("/destinations/orders/deliveries").await).len(), 50);
    let wrong = browser.send(&page, "/preferences", &[("zone", "Mars/Olympus"), ("page", "1000000")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.must_have("There is no time zone Mars/Olympus.").must_have("value=\"Mars/Olympus\"").must_have("Error: ");
}
