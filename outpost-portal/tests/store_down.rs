//! When the store does not answer, or holds more, less or other than usual: pages say so and lose nothing.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use outpost_core::{
    Fault, FaultStore, MemoryStore, NewDestination, Operation, Outpost, OutpostBuilder, ScriptedReply,
    ScriptedTransport, StoreErrorKind, Times, TokenSettings, TokioClock, WebhookTransport,
};
use outpost_portal::Portal;

use self::routes::{Need, doors, furnish, state};
use self::support::{Browser, SECRET, Seen, Stage, Staged, URL, epoch};

fn down(stage: &Stage, operation: Operation) {
    stage.faults.inject(operation, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
}

/// A page that says that it could not be made: framed, worded, and to be tried again.
#[track_caller]
fn says_so(seen: &Seen) {
    assert_eq!(seen.status, 503, "{}: {}", seen.at, seen.text);
    assert!(seen.header("retry-after").parse::<u32>().unwrap() > 0, "{}", seen.at);
    assert_eq!(seen.header("location"), "");
    assert_eq!(seen.text.matches("<h1>").count(), 1, "{}", seen.at);
    for text in ["injected", "Scan", "Apply", "Fetch", "store"] {
        seen.must_not_have(text);
    }
}

#[tokio::test(start_paused = true)]
async fn lists_that_cannot_be_read_say_that_nothing_is_lost() {
    let stage = Stage::new().await;
    let ids = furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    down(&stage, Operation::Scan);
    let lists =
        ["/activity?status=failed&code=5xx", "/destinations/acme-shop/deliveries", "/activity.csv", "/events/evt_acme"];
    for path in lists {
        let seen = browser.ask("GET", path, None).await;
        says_so(&seen);
        seen.must_have("We could not load this").must_have("Nothing is lost").must_have("Webhooks of acme");
        // Once more is the same list with the same filters.
        let again = format!("href=\"/webhooks{}\">Try again", path.replace('&', "&amp;"));
        seen.must_have(&again);
    }
    // Nothing else hangs on lists.
    for path in ["/", "/preferences", "/destinations/acme-shop/settings", "/destinations/acme-shop/secret"] {
        assert_eq!(browser.ask("GET", path, None).await.status, 200, "{path}");
    }
    for door in doors().iter().filter(|door| door.get.is_some()) {
        let seen = browser.ask("GET", &door.path(ids.refs()), None).await;
        assert_ne!(seen.status, 500, "{}", seen.at);
    }
    stage.faults.clear(Operation::Scan);
    for path in lists {
        assert_eq!(browser.ask("GET", path, None).await.status, 200, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_that_cannot_be_read_take_no_page_down() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    for (path, row) in [("/", "acme-shop"), ("/destinations/acme-shop", "https://acme-shop.example/hook")] {
        browser.get(path).await.must_not_have("We could not load the numbers");
        for kind in [StoreErrorKind::Unavailable, StoreErrorKind::Corrupt] {
            stage.faults.inject(Operation::Rollups, Fault::Before(kind), Times::UntilCleared);
            let seen = browser.get(path).await;
            assert_eq!(seen.status, 200, "{path}");
            seen.must_have("We could not load the numbers").must_have("Nothing is lost").must_have(row);
        }
        stage.faults.clear(Operation::Rollups);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_said_and_what_was_typed_is_kept() {
    let stage = Stage::new().await;
    let ids = furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let settings = browser.get("/destinations/acme-shop/settings").await;
    let retry = browser.get("/destinations/acme-shop/deliveries/evt_acme").await;
    let before = state(&stage).await;
    down(&stage, Operation::Apply);
    let typed = [("name", "Typed \"with\" care")];
    let seen = browser.send(&settings, "/destinations/acme-shop/settings#general", &typed).await;
    says_so(&seen);
    seen.must_have("We could not do this").must_have("Typed &quot;with&quot; care");
    let tried = browser.send(&retry, "/destinations/acme-shop/deliveries/evt_acme/retry", &[]).await;
    says_so(&tried);
    let token = |page: &Seen| page.form("/logout").into_iter().find(|(name, _)| name == "form_token").unwrap();
    for door in doors().iter().filter(|door| matches!(door.post, Some(Need::May(_)))) {
        let form = [token(&browser.get("/preferences").await)];
        let seen = browser.ask("POST", &door.path(ids.refs()), Some(&form)).await;
        assert!(matches!(seen.status.as_u16(), 200 | 303 | 400 | 409 | 422 | 503), "{}: {}", seen.at, seen.status);
    }
    assert_eq!(state(&stage).await, before);
    // It works without typing anything again once the store is back.
    stage.faults.clear(Operation::Apply);
    let again = browser.send(&seen, "/destinations/acme-shop/settings", &[]).await;
    assert_eq!(again.status, 200);
    let saved = stage.outpost.destinations().get("acme", "acme-shop").await.unwrap();
    assert_eq!(saved.name.as_deref(), Some("Typed \"with\" care"));
    let again = browser.send(&tried, "/destinations/acme-shop/deliveries/evt_acme/retry", &[]).await;
    again.must_have("Retry queued");
}

#[tokio::test(start_paused = true)]
async fn when_it_is_not_known_whether_it_was_done_the_page_says_so() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/destinations/acme-shop/disable").await;
    stage.faults.inject(Operation::Apply, Fault::After, Times::UntilCleared);
    let seen = browser.send(&page, "/destinations/acme-shop/disable", &[]).await;
    says_so(&seen);
    seen.must_have("Look whether it was done before you send it again");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_signed_out_because_the_store_is_away() {
    let stage = Stage::new().await;
    let ids = furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let form = browser.get("/preferences").await.form("/preferences");
    down(&stage, Operation::Fetch);
    let mut sent_again = Vec::new();
    for door in doors() {
        for (method, _) in door.methods().filter(|(_, need)| *need != Need::Open) {
            let sent = (method == "POST").then_some(&form[..]);
            let seen = browser.ask(method, &door.path(ids.refs()), sent).await;
            says_so(&seen);
            let (said, way) = match method {
                "GET" => ("Nothing is lost", "Try again"),
                _ => ("Nothing was changed", "Send it again"),
            };
            seen.must_have(said).must_have(way);
            sent_again.push((door.pattern, seen));
        }
    }
    // Who never had a session is sent away as ever, and files are there.
    assert_eq!(Browser::new(&stage.portal).ask("GET", "/", None).await.status, 303);
    assert_eq!(browser.cookies.len(), 1, "the session is still there");
    // A link is not used up.
    let link = {
        stage.faults.clear(Operation::Fetch);
        let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
        down(&stage, Operation::Fetch);
        link
    };
    let mut late = Browser::new(&stage.portal);
    says_so(&late.ask("GET", &link, None).await);
    stage.faults.clear(Operation::Fetch);
    assert_eq!(late.get(&link).await.status, 200);
    let (_, kept) = sent_again.iter().rfind(|(pattern, _)| *pattern == "preferences").unwrap();
    assert_eq!(browser.send(kept, "/preferences", &[]).await.status, 200);
    assert_eq!(browser.get("/").await.status, 200);
}

fn engine(store: FaultStore<MemoryStore>) -> OutpostBuilder {
    Outpost::builder(store)
        .clock(TokioClock::starting_at(epoch()))
        .transport(Staged::new(WebhookTransport::builder()))
        .tokens(TokenSettings::new(URL, SECRET))
}

#[tokio::test(start_paused = true)]
async fn a_destination_whose_type_is_gone_can_still_be_looked_at_and_deleted() {
    let store = MemoryStore::new();
    let queue = ScriptedTransport::always(ScriptedReply::status(500).body("no")).kind("queue");
    let old = engine(FaultStore::new(store.clone())).transport(queue).start().await.unwrap();
    old.tenants().put("acme", None).await.unwrap();
    let mut new = NewDestination::webhook("queue:jobs").id(outpost_core::DestinationId::new("jobs").unwrap());
    new.kind = "queue".to_owned();
    old.destinations().create("acme", new).await.unwrap();
    let event = outpost_core::NewEvent::new("order.created", bytes::Bytes::from("{}")).id("evt_1");
    old.publish("acme", event).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    old.shutdown(std::time::Duration::from_secs(1)).await;
    let store = FaultStore::new(store.another_process());
    let faults = store.faults();
    let outpost = engine(store).start().await.unwrap();
    let portal = Portal::builder(outpost.clone()).referer_url("https://app.example/home").build().unwrap();
    let stage = Stage { outpost, portal, transport: Staged::new(WebhookTransport::builder()), faults };
    let mut browser = stage.browser("acme").await;
    for door in doors().iter().filter(|door| door.get.is_some() && !door.pattern.contains("JOB")) {
        let seen = browser.ask("GET", &door.path(["jobs", "evt_1", ""]), None).await;
        // There is no secret to show, nothing to test with, and no command for what is not HTTP.
        let none =
            ["destinations/DES/secret", "destinations/DES/test", "destinations/DES/deliveries/EVT/attempts/1/curl"];
        let gone = none.contains(&door.pattern) && seen.status == 404;
        // It is not disabled, so there is nothing to enable.
        let enabled = door.pattern == "destinations/DES/enable" && seen.status == 303;
        assert!(seen.status == door.status || gone || enabled, "{}: {}\n{}", seen.at, seen.status, seen.text);
    }
    browser.get("/").await.must_have("queue");
    browser.get("/destinations/jobs").await.must_have("queue");
    let page = browser.get("/destinations/jobs/settings").await;
    let renamed = browser.send(&page, "/destinations/jobs/settings#general", &[("name", "Old jobs")]).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    renamed.must_have("Old jobs");
    let page = browser.get("/destinations/jobs/delete").await;
    browser.send(&page, "/destinations/jobs/delete", &[("name", "Old jobs")]).await.must_have("No destinations yet");
}

#[tokio::test(start_paused = true)]
async fn five_hundred_destinations_are_shown_page_by_page() {
    let plain = |builder| builder;
    let stage = Stage::with(|engine| engine.max_destinations(500), |webhooks| webhooks, plain).await;
    for n in 0..500 {
        stage.destination("acme", &format!("shop-{n:03}")).await;
    }
    let mut browser = stage.browser("acme").await;
    let mut seen = browser.get("/?sort=name").await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..30 {
        assert!(seen.bytes.len() < 200_000, "{} bytes", seen.bytes.len());
        let rows = seen.text.split("https://shop-").skip(1).map(|rest| rest[..3].to_owned());
        names.extend(rows);
        let next =
            seen.text.split("rel=\"next\" href=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        let Some(next) = next else { break };
        seen = browser.get(&next.replace("&amp;", "&")).await;
    }
    assert_eq!(names.len(), 500);
    seen.must_have("You have used 500 of 500 destinations.");
    let found = browser.get("/?q=shop-321").await;
    assert_eq!(found.text.matches("class=\"rowlink\"").count(), 1);
    let full = browser.ask("GET", "/destinations/new/webhook", None).await;
    full.must_have("You have used 500 of 500 destinations.");
}

#[tokio::test(start_paused = true)]
async fn a_megabyte_of_an_answer_is_cut_for_the_page_and_whole_in_its_file() {
    let stage = Stage::new().await;
    stage.destination("acme", "shop").await;
    let body = "<b>ä</b>".repeat((1 << 20) / 9);
    let sent = body.clone();
    stage.transport.answer(move |_, _| ScriptedReply::status(500).body(sent.clone()));
    stage.publish("acme", "evt_1", "order.created", "{}").await;
    stage.pass(2).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/destinations/shop/deliveries/evt_1").await;
    assert_eq!(page.status, 200);
    page.must_not_have("<b>").must_have("&lt;b&gt;");
    assert!(page.bytes.len() < 300_000, "{} bytes", page.bytes.len());
    let file = browser.get("/destinations/shop/deliveries/evt_1/attempts/1/response").await;
    assert!(body.as_bytes().starts_with(&file.bytes) && file.bytes.len() >= 64 << 10, "{}", file.bytes.len());
    for path in ["/", "/activity", "/destinations/shop", "/destinations/shop/deliveries", "/events/evt_1"] {
        assert!(browser.get(path).await.bytes.len() < 100_000, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_outlive_their_destination() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let attempts = stage.outpost.deliveries().attempts_of("acme", "acme-shop", "evt_acme").await.unwrap();
    stage.outpost.destinations().delete("acme", "acme-shop").await.unwrap();
    let mut browser = stage.browser("acme").await;
    let list = browser.get("/activity").await;
    list.must_have("acme-shop (deleted)").must_have("href=\"/webhooks/events/evt_acme\"");
    list.must_not_have("/destinations/acme-shop").must_not_have("name=\"pick\"");
    browser.get("/events/evt_acme").await.must_have("deleted").must_have("Cancelled");
    browser.get("/activity.csv").await.must_have("acme-shop");
    assert_eq!(browser.get("/activity?destination=acme-shop").await.status, 200);
    let found = browser.ask("GET", &format!("/find?q={}", attempts[0].id), None).await;
    assert_eq!(found.header("location"), "/webhooks/events/evt_acme");
    let ids = ["acme-shop", "evt_acme", "none"];
    for door in doors().iter().filter(|door| door.pattern.contains("DES") && door.get.is_some()) {
        assert_eq!(browser.ask("GET", &door.path(ids), None).await.status, 404, "{}", door.pattern);
    }
    // One that has its id now has nothing of it.
    stage.destination("acme", "acme-shop").await;
    browser.get("/activity").await.must_have("acme-shop (deleted)");
    browser.get("/destinations/acme-shop/deliveries").await.must_not_have("evt_acme");
    assert_eq!(browser.get("/destinations/acme-shop/deliveries/evt_acme").await.status, 404);
}
