//! The HTML of pages and states, so that no change of it goes unseen. `INSTA_UPDATE=always cargo test -p outpost-portal
//! --test snapshots` takes the new ones; look at the difference before committing it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use outpost_core::{Capabilities, Capability, ErrorClass, ScriptedReply};

use self::support::{Browser, Seen, Stage};

/// The page with a line for each block, and without what differs from one run to the next.
fn settled(page: &Seen) -> String {
    let mut text = page.text.clone();
    for (before, after) in [
        ("name=\"form_token\" value=\"", "\""),
        ("/assets/portal.", "\""),
        ("name=\"as_of\" value=\"", "\""),
        ("data-ends=\"", "\""),
    ] {
        let mut rest = text.as_str();
        let mut cut = String::new();
        while let Some((head, tail)) = rest.split_once(before) {
            cut.push_str(head);
            cut.push_str(before);
            cut.push('…');
            rest = &tail[tail.find(after).unwrap()..];
        }
        cut.push_str(rest);
        text = cut;
    }
    // Blocks of code keep their lines; all else is broken before what begins something.
    for tag in [
        "<head",
        "<body",
        "<header",
        "<main",
        "<nav",
        "<form",
        "<div",
        "<section",
        "<h1",
        "<h2",
        "<p",
        "<ul",
        "<ol",
        "<li",
        "<dl",
        "<dt",
        "<table",
        "<tr",
        "<th",
        "<td",
        "<footer",
        "<details",
        "<label",
        "<input",
        "<select",
        "<option",
        "<textarea",
        "<fieldset",
        "<button",
        "<pre",
        "</form",
        "</main",
        "</table",
        "</footer",
    ] {
        text = text.replace(tag, &format!("\n{tag}"));
    }
    format!("{} {}\n{text}\n", page.status.as_u16(), page.at.split("token=").next().unwrap())
}

async fn story() -> Stage {
    let stage = Stage::with(
        |engine| engine.tenant_filters(true).tenant_delivery_settings(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| portal.accent_color("#0f766e"),
    )
    .await;
    stage.destination("acme", "orders").await;
    stage.destination("acme", "broken").await;
    stage.destination("acme", "resting").await;
    stage.transport.answer(|target, _| {
        if target.display().contains("broken") {
            ScriptedReply::error(ErrorClass::Timeout)
        } else {
            ScriptedReply::ok().body(&br#"{"received":true}"#[..])
        }
    });
    stage.outpost.destinations().disable("acme", "resting", "moving house").await.unwrap();
    for number in 0..4 {
        stage
            .publish("acme", &format!("evt-{number}"), "order.created", r#"{"order":1,"total":19.90,"items":[]}"#)
            .await;
        stage.pass(10).await;
    }
    stage
}

macro_rules! snapshots {
    ($($name:ident: $path:expr;)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            let stage = story().await;
            let page = stage.browser("acme").await.get($path).await;
            insta::assert_snapshot!(stringify!($name), settled(&page));
        })*
    };
}

snapshots! {
    destinations: "/";
    destinations_that_match_nothing: "/?q=nothing";
    create: "/destinations/new/webhook";
    overview: "/destinations/orders?range=1h";
    overview_of_a_failing_destination: "/destinations/broken";
    overview_of_a_disabled_destination: "/destinations/resting";
    deliveries: "/destinations/orders/deliveries?status=delivered";
    activity: "/activity";
    delivery: "/destinations/orders/deliveries/evt-1";
    delivery_that_is_retried: "/destinations/broken/deliveries/evt-1";
    event: "/events/evt-2";
    settings: "/destinations/orders/settings";
    secret: "/destinations/orders/secret";
    replay: "/destinations/broken/replay";
    test_event: "/destinations/orders/test";
    disable: "/destinations/orders/disable";
    delete: "/destinations/orders/delete";
    preferences: "/preferences";
    nothing_found: "/find?q=nothing";
    not_found: "/nothing/here";
    retries_explained: "/help/retries";
    filters_explained: "/help/filters";
}

#[tokio::test(start_paused = true)]
async fn destinations_of_a_new_tenant() {
    let stage = Stage::new().await;
    let page = stage.browser("globex").await.get("/").await;
    insta::assert_snapshot!("destinations_of_a_new_tenant", settled(&page));
}

#[tokio::test(start_paused = true)]
async fn settings_for_those_who_only_read() {
    let stage = story().await;
    let reader = Capabilities::NONE.with(Capability::Read);
    let page = stage.browser_with("acme", reader).await.get("/destinations/orders/settings").await;
    insta::assert_snapshot!("settings_for_those_who_only_read", settled(&page));
}

#[tokio::test(start_paused = true)]
async fn create_with_everything_wrong() {
    let stage = story().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/destinations/new/webhook").await;
    let wrong =
        [("name", "orders"), ("config.url", "ftp://x"), ("filter", "{"), ("timeout", "soon"), ("header_name", "a b")];
    let page = browser.send(&page, "/destinations/new/webhook", &wrong).await;
    insta::assert_snapshot!("create_with_everything_wrong", settled(&page));
}

#[tokio::test(start_paused = true)]
async fn pages_without_a_session() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage.portal);
    for (name, path) in [("signed_out", "/signed-out"), ("expired", "/expired"), ("a_used_link", "/?token=used")] {
        let page = browser.get(path).await;
        insta::assert_snapshot!(name, settled(&page));
    }
}
