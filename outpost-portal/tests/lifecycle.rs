//! Disabling, enabling and deleting, and what the pages say of it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use http::StatusCode;
use outpost_core::{Capabilities, Capability, DisabledBy, Fault, Operation, ScriptedReply, StoreErrorKind, Times};

use self::support::{Browser, Seen, Stage};

const SHOP: &str = "/destinations/shop";

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.destination("acme", "shop").await;
    stage
}

/// Lets `count` deliveries wait for their next attempt.
async fn wait_for_retry(stage: &Stage, count: usize) {
    stage.transport.answer(|_, _| ScriptedReply::status(500));
    for n in 0..count {
        stage.publish("acme", &format!("evt_{n}"), "order.created", "{}").await;
    }
    stage.pass(1).await;
}

/// What a form's redirect leads to, and what that page says at its top.
async fn act(browser: &mut Browser, page: &Seen, action: &str, changes: &[(&str, &str)]) -> (String, Seen) {
    let mut form = page.form(action);
    form.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    form.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let seen = browser.ask("POST", action, Some(&form)).await;
    let to = seen.header("location").to_owned();
    assert_eq!(seen.status, StatusCode::SEE_OTHER, "{}", seen.text);
    // Notes are shown by whichever page comes next; the home page is always there.
    (to, browser.get("/").await)
}

async fn disabled(stage: &Stage) -> Option<DisabledBy> {
    stage.outpost.destinations().get("acme", "shop").await.unwrap().disabled.map(|disabled| disabled.by)
}

#[tokio::test(start_paused = true)]
async fn disabling_says_before_and_after_what_happens_to_what_waits() {
    let stage = stage().await;
    wait_for_retry(&stage, 3).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(&format!("{SHOP}/disable")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text.matches("<h1").count(), 1);
    page.must_have("Disable shop?").must_have("3 deliveries wait for it. They are skipped");
    assert_eq!(disabled(&stage).await, None);
    let (to, after) = act(&mut browser, &page, &format!("{SHOP}/disable"), &[]).await;
    assert_eq!(to, "/webhooks/destinations/shop");
    after.must_have("Disabled. The 3 deliveries that waited for it are skipped.");
    assert_eq!(disabled(&stage).await, Some(DisabledBy::Tenant));
    // Again: nothing is claimed that did not happen.
    let (_, after) = act(&mut browser, &page, &format!("{SHOP}/disable"), &[]).await;
    after.must_have("It is disabled already.");
    let seen = browser.ask("GET", &format!("{SHOP}/disable"), None).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn numbers_fit_one_none_and_unknown() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    browser.get(&format!("{SHOP}/disable")).await.must_have("Nothing waits for it.");
    browser.get(&format!("{SHOP}/delete")).await.must_have("Nothing waits for it.");
    wait_for_retry(&stage, 1).await;
    browser.get(&format!("{SHOP}/disable")).await.must_have("1 delivery waits for it. It is skipped");
    browser.get(&format!("{SHOP}/delete")).await.must_have("1 delivery waits for it. It is cancelled.");
}

#[tokio::test(start_paused = true)]
async fn enabling_says_what_comes_and_what_does_not() {
    let stage = stage().await;
    stage.outpost.destinations().disable("acme", "shop", "too <b>slow</b>").await.unwrap();
    let mut browser = stage.browser("acme").await;
    let page = browser.get(&format!("{SHOP}/enable")).await;
    page.must_have("Enable shop?").must_have("It was disabled by the operator.").must_have("too &lt;b&gt;slow");
    page.must_have("replay it if it is wanted");
    let (_, after) = act(&mut browser, &page, &format!("{SHOP}/enable"), &[]).await;
    after.must_have("Enabled. Events that are published from now on are sent to it.");
    assert_eq!(disabled(&stage).await, None);
    let (_, after) = act(&mut browser, &page, &format!("{SHOP}/enable"), &[]).await;
    after.must_have("It is enabled already.");
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_has_locked_stays_disabled() {
    let stage = stage().await;
    stage.outpost.destinations().disable("acme", "shop", "").await.unwrap();
    let mut browser = stage.browser("acme").await;
    let before = browser.get(&format!("{SHOP}/enable")).await;
    stage.outpost.destinations().lock("acme", "shop", "abuse").await.unwrap();
    let page = browser.get(&format!("{SHOP}/enable")).await;
    page.must_have("The operator has locked this destination.")
        .must_not_have("action=\"/webhooks/destinations/shop/enable\"");
    // A form from before the lock.
    let seen = browser.send(&before, &format!("{SHOP}/enable"), &[]).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    seen.must_have("shop was not enabled").must_have("The operator has locked this destination.");
    assert_eq!(disabled(&stage).await, Some(DisabledBy::OperatorLock));
}

#[tokio::test(start_paused = true)]
async fn an_idle_destination_is_deleted_without_typing() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(&format!("{SHOP}/delete")).await;
    page.must_have("Delete shop?").must_not_have("Type shop to confirm");
    let (to, after) = act(&mut browser, &page, &format!("{SHOP}/delete"), &[]).await;
    assert_eq!(to, "/webhooks/");
    after.must_have("shop was deleted.").must_have("No destinations yet");
    assert_eq!(browser.get(SHOP).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_busy_one_wants_its_name_and_a_day_later_not_any_more() {
    let stage = stage().await;
    wait_for_retry(&stage, 2).await;
    let mut browser = stage.browser("acme").await;
    let action = format!("{SHOP}/delete");
    let page = browser.get(&action).await;
    page.must_have("Type shop to confirm");
    for typed in ["", "Shop", "<script>"] {
        let seen = browser.send(&page, &action, &[("name", typed)]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
        seen.must_have("Type shop to confirm.").must_have("<title>Error: ").must_not_have("<script>\"");
        assert_eq!(seen.form(&action)[1].1, typed);
    }
    // What was wrong did not use the form up.
    let (_, after) = act(&mut browser, &page, &action, &[("name", " shop ")]).await;
    after.must_have("shop was deleted. The 2 deliveries that waited for it are cancelled.");

    stage.destination("acme", "shop").await;
    stage.transport.answer(|_, _| ScriptedReply::ok());
    browser.get(&action).await.must_not_have("Type shop to confirm");
    stage.publish("acme", "evt_9", "order.created", "{}").await;
    stage.pass(1).await;
    browser.get(&action).await.must_have("Type shop to confirm");
    stage.pass(25 * 3600).await;
    let mut browser = stage.browser("acme").await;
    browser.get(&action).await.must_not_have("Type shop to confirm");
}

#[tokio::test(start_paused = true)]
async fn without_numbers_the_name_is_asked_for_and_the_page_stays() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    stage.faults.inject(Operation::Rollups, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    let page = browser.get(&format!("{SHOP}/delete")).await;
    assert_eq!(page.status, StatusCode::OK);
    page.must_have("Type shop to confirm");
}

#[tokio::test(start_paused = true)]
async fn only_who_may_write_gets_the_pages_and_only_of_the_own_tenant() {
    let stage = stage().await;
    stage.destination("globex", "theirs").await;
    stage.outpost.destinations().disable("globex", "theirs", "").await.unwrap();
    let mut writer = stage.browser("acme").await;
    let form = writer.get(&format!("{SHOP}/disable")).await.form(&format!("{SHOP}/disable"));
    let mut reader = stage.browser_with("acme", Capabilities::ALL.without(Capability::Write)).await;
    let main = |seen: &Seen| seen.text.split("<main").nth(1).unwrap().split("</main>").next().unwrap().to_owned();
    for what in ["disable", "enable", "delete"] {
        assert_eq!(reader.get(&format!("{SHOP}/{what}")).await.status, StatusCode::FORBIDDEN);
        let foreign = writer.get(&format!("/destinations/theirs/{what}")).await;
        let none = writer.get(&format!("/destinations/none/{what}")).await;
        assert_eq!((foreign.status, main(&foreign)), (StatusCode::NOT_FOUND, main(&none)));
        let seen = writer.ask("POST", &format!("/destinations/theirs/{what}"), Some(&form)).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(disabled(&stage).await, None);
    assert!(stage.outpost.destinations().get("globex", "theirs").await.unwrap().disabled.is_some());
}
