//! Replays: the form, the preview, the start and how it goes on.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::StatusCode;
use outpost_core::{
    Capabilities, Capability, Fault, NewDestination, Operation, ReplayState, ScriptedReply, StoreErrorKind, Times,
};

use self::support::{Browser, Seen, Stage};

const FORM: &str = "/destinations/crm/replay";

/// `crm` with so many failed deliveries, a second apart, and a browser. From then on it is answered 200.
async fn staged(failed: usize) -> (Stage, Browser) {
    let stage = Stage::new().await;
    stage.destination("acme", "crm").await;
    stage.transport.answer(|_, _| ScriptedReply::status(400));
    for number in 0..failed {
        let topic = if number % 2 == 0 { "order.created" } else { "order.updated" };
        let event = outpost_core::NewEvent::new(topic, "{}").id(format!("evt_{number}")).eligible_for_retry(false);
        stage.outpost.publish("acme", event).await.unwrap();
        stage.pass(1).await;
    }
    stage.transport.answer(|_, _| ScriptedReply::ok());
    let browser = stage.browser("acme").await;
    (stage, browser)
}

fn main_of(seen: &Seen) -> &str {
    seen.text.split("<main").nth(1).unwrap().split("</main>").next().unwrap()
}

async fn sent(stage: &Stage) -> usize {
    stage.transport.sent.lock().unwrap().len()
}

async fn replays(stage: &Stage) -> Vec<outpost_core::Replay> {
    stage.outpost.replays().list("acme").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_previewed_started_and_watched() {
    let (stage, mut browser) = staged(12).await;
    let form = browser.get(FORM).await;
    form.must_have(r#"value="skipped" checked"#).must_have("Times in UTC").must_not_have("Earlier replays");
    let preview = browser.send(&form, FORM, &[("what", "failed")]).await;
    assert_eq!(preview.status, StatusCode::OK);
    preview.must_have("12 deliveries are tried again.").must_have("Replay 12 deliveries");
    preview.must_have("By webhook-id it can tell them").must_have("Failed deliveries");
    preview.must_have("28 May 2026 20:26:40 UTC").must_have("28 May 2026 20:26:51 UTC");
    assert_eq!(preview.text.matches("class=\"rowlink\"").count(), 5, "a sample");
    preview.must_have("evt_11").must_not_have("evt_6");
    preview.must_have(r#"href="/webhooks/destinations/crm/replay?what=failed""#);
    assert_eq!((sent(&stage).await, replays(&stage).await.len()), (12, 0), "a preview does nothing");
    // What comes after the preview is not its business.
    stage.pass(1).await;
    stage.transport.answer(|_, _| ScriptedReply::status(400));
    let late = outpost_core::NewEvent::new("order.created", "{}").id("evt_late").eligible_for_retry(false);
    stage.outpost.publish("acme", late).await.unwrap();
    stage.pass(1).await;
    stage.transport.answer(|_, _| ScriptedReply::ok());
    let started = browser.send(&preview, FORM, &[]).await;
    started.must_have("Replay started.").must_have("<progress");
    let id = replays(&stage).await[0].id.clone();
    assert!(started.at.starts_with(&format!("/webhooks/replays/{id}?of=12")), "{}", started.at);
    stage.pass(5).await;
    let done = browser.get(&format!("/replays/{id}?of=12")).await;
    done.must_have("Done").must_have("12 found, all of them asked for again.").must_not_have("http-equiv");
    done.must_have("/destinations/crm/deliveries?").must_not_have("/cancel");
    assert_eq!(sent(&stage).await, 12 + 1 + 12, "as many as the preview said");
    let again = browser.get(FORM).await;
    again.must_have("Earlier replays").must_have(&format!("/replays/{id}"));
}

#[tokio::test(start_paused = true)]
async fn a_running_replay_shows_how_far_it_is_and_can_be_cancelled() {
    let (stage, mut browser) = staged(3).await;
    stage.faults.inject(Operation::Scan, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    let request = outpost_core::ReplayRequest::default();
    let id = stage.outpost.replays().start("acme", "crm", request).await.unwrap().id;
    let page = browser.get(&format!("/replays/{id}?of=3")).await;
    page.must_have("Running")
        .must_have(r#"max="3" value="0""#)
        .must_have(r#"data-refresh="3""#)
        .must_have(r#"content="3""#);
    browser.get(&format!("/replays/{id}")).await.must_have("<progress aria-label");
    let busy = browser.get(FORM).await;
    busy.must_have("A replay of this destination is running")
        .must_have(&format!("/replays/{id}"))
        .must_not_have("Preview</button>");
    let action = format!("/replays/{id}/cancel");
    let ended = browser.send(&page, &action, &[]).await;
    ended.must_have("Replay cancelled.").must_have("Cancelled").must_not_have("data-refresh");
    assert_eq!(replays(&stage).await[0].state, ReplayState::Cancelled);
    browser.send(&page, &action, &[]).await.must_have("Replay cancelled.");
    stage.faults.clear(Operation::Scan);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_started_once_and_one_at_a_time() {
    let (stage, mut browser) = staged(3).await;
    let form = browser.get(FORM).await;
    let preview = browser.send(&form, FORM, &[]).await;
    let other = browser.send(&form, FORM, &[]).await;
    browser.send(&preview, FORM, &[]).await.must_have("Replay started.");
    // Sent again at once, and again when it is over.
    browser.send(&preview, FORM, &[]).await.must_have("It was started already.");
    stage.pass(5).await;
    browser.send(&preview, FORM, &[]).await;
    assert_eq!(replays(&stage).await.len(), 1);
    // All were delivered meanwhile, so the other preview finds nothing any more.
    browser.send(&other, FORM, &[]).await.must_have("No delivery matches");
    let everything = browser.send(&form, FORM, &[("what", "all")]).await;
    everything.must_have("Replay 3 deliveries");
    stage.faults.inject(Operation::Scan, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    let request = outpost_core::ReplayRequest::default();
    stage.outpost.replays().start("acme", "crm", request).await.unwrap();
    let refused = browser.send(&everything, FORM, &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    refused.must_have("A replay of this destination is running");
    assert_eq!(replays(&stage).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn everything_that_was_asked_counts() {
    let (stage, mut browser) = staged(6).await;
    let form = browser.get(FORM).await;
    browser
        .send(&form, FORM, &[("topics", "order.updated")])
        .await
        .must_have("Replay 3 deliveries")
        .must_have("order.updated");
    browser
        .send(&form, FORM, &[("until", "2026-05-28T20:26")])
        .await
        .must_have("No delivery matches")
        .must_not_have("Replay 0");
    browser.send(&form, FORM, &[("from", "2026-05-28T20:26:43")]).await.must_have("Replay 3 deliveries");
    stage.publish("acme", "evt_fine", "order.created", "{}").await;
    stage.pass(1).await;
    browser
        .send(&form, FORM, &[("what", "all")])
        .await
        .must_have("Replay 7 deliveries")
        .must_have("also what was delivered");
    stage.outpost.destinations().disable("acme", "crm", "test").await.unwrap();
    stage.publish("acme", "evt_skipped", "order.created", "{}").await;
    stage.outpost.destinations().enable("acme", "crm").await.unwrap();
    browser.send(&form, FORM, &[("what", "failed")]).await.must_have("Replay 6 deliveries");
    browser.send(&form, FORM, &[("what", "skipped")]).await.must_have("Replay 7 deliveries");
    stage.transport.answer(|_, _| ScriptedReply::status(500));
    stage.publish("acme", "evt_cancelled", "order.created", "{}").await;
    stage.pass(1).await;
    stage.outpost.deliveries().cancel("acme", "crm", "evt_cancelled").await.unwrap();
    browser.send(&form, FORM, &[("what", "cancelled")]).await.must_have("Replay 8 deliveries");
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_it_was_wanted_is_found_when_asked_for() {
    let stage = Stage::new().await;
    stage.publish("acme", "evt_before", "order.created", "{}").await;
    stage.pass(1).await;
    stage.destination("acme", "crm").await;
    let mut browser = stage.browser("acme").await;
    let form = browser.get(FORM).await;
    browser.send(&form, FORM, &[]).await.must_have("No delivery matches");
    let preview = browser.send(&form, FORM, &[("missing", "1")]).await;
    preview.must_have("Replay 1 delivery<").must_have("before it wanted them");
    browser.send(&preview, FORM, &[]).await.must_have("Replay started.");
    stage.pass(2).await;
    assert_eq!(sent(&stage).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said_beside_what_was_typed() {
    let (_, mut browser) = staged(1).await;
    let form = browser.get(FORM).await;
    for (changes, said) in [
        (vec![("from", "2026-05-28T10:00"), ("until", "2026-05-28T09:00")], "‘From’ must be before ‘until’."),
        (vec![("from", "2026-05-28T10:00"), ("until", "2026-05-28T10:00")], "‘From’ must be before ‘until’."),
        (vec![("from", "2026-04-20T10:00")], "Events before 28 Apr are no longer kept."),
        (vec![("until", "2026-04-20T10:00")], "Events before 28 Apr are no longer kept."),
        (vec![("from", "yesterday")], "Enter a date and a time, such as"),
        (vec![("until", "2026-02-30T10:00")], "Enter a date and a time, such as"),
        (vec![("until", "2026-05-28T10:00:00[America/New_York]junk")], "Enter a date and a time, such as"),
        (vec![("from", "2027-01-01T00:00")], "‘From’ is in the future"),
        (vec![("what", "")], "Choose which deliveries to replay."),
        (vec![("what", "nonsense")], "Choose which deliveries to replay."),
        (vec![("topics", "bad topic\u{0}")], "The topics cannot be used"),
    ] {
        let told = browser.send(&form, FORM, &changes).await;
        assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY, "{changes:?}");
        told.must_have(said).must_have("role=\"alert\"").must_have("<title>Error: ");
        for (name, value) in changes.iter().filter(|(name, value)| *name != "what" && !value.contains('\0')) {
            if *name != "topics" {
                told.must_have(&format!("value=\"{value}\""));
            }
        }
    }
    let kept =
        browser.send(&form, FORM, &[("from", "x\"><script>"), ("topics", "user.created"), ("missing", "1")]).await;
    kept.must_have(r#"value="user.created" checked"#).must_have(r#"name="missing" value="1" checked"#);
    kept.must_have("x&quot;&gt;&lt;script&gt;").must_not_have("<script>\"");
    // The way back from a preview keeps everything too.
    let back = browser.get(&format!("{FORM}?what=all&from=2026-05-28T10%3A00&topics=user.created&missing=1")).await;
    back.must_have(r#"value="all" checked"#)
        .must_have(r#"value="2026-05-28T10:00""#)
        .must_have(r#"value="user.created" checked"#);
}

#[tokio::test(start_paused = true)]
async fn times_are_read_in_the_users_zone() {
    let (stage, mut browser) = staged(1).await;
    let name = browser.cookies.keys().next().unwrap().clone();
    browser.cookies.insert(
        format!("{name}-prefs"),
        "theme=auto&zone=Asia/Tokyo&page=25&keys=0".replace('&', "%26").replace('=', "%3D"),
    );
    let form = browser.get(FORM).await;
    form.must_have("Times in Asia/Tokyo");
    // 20:26:40 UTC is 05:26:40 of the next day there.
    browser.send(&form, FORM, &[("from", "2026-05-29T05:26")]).await.must_have("Replay 1 delivery<");
    browser.send(&form, FORM, &[("until", "2026-05-29T05:26")]).await.must_have("No delivery matches");
    drop(stage);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_destination_explains_itself() {
    let (stage, mut browser) = staged(2).await;
    let form = browser.get(FORM).await;
    let preview = browser.send(&form, FORM, &[]).await;
    stage.outpost.destinations().disable("acme", "crm", "test").await.unwrap();
    for page in [&form, &preview] {
        let told = browser.send(page, FORM, &[]).await;
        assert_eq!(told.status, StatusCode::CONFLICT);
        told.must_have("The destination is disabled.").must_have("/destinations/crm/enable");
    }
    browser.get(FORM).await.must_have("The destination is disabled.").must_not_have("Preview</button>");
    assert_eq!(replays(&stage).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_capability_nothing_is_offered_and_nothing_done() {
    let (stage, mut owner) = staged(2).await;
    let mut looker = stage.browser_with("acme", Capabilities::ALL.without(Capability::Retry)).await;
    let page = looker.get(FORM).await;
    page.must_have("but not start one").must_not_have("Preview</button>");
    let mut form = page.form("/logout");
    form.extend([("step".to_owned(), "start".to_owned()), ("what".to_owned(), "failed".to_owned())]);
    assert_eq!(looker.ask("POST", FORM, Some(&form)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(replays(&stage).await.len(), 0);
    let form = owner.get(FORM).await;
    let preview = owner.send(&form, FORM, &[]).await;
    owner.send(&preview, FORM, &[]).await;
    let id = replays(&stage).await[0].id.clone();
    let page = looker.get(&format!("/replays/{id}")).await;
    page.must_not_have("/cancel");
    let token = page.form("/logout");
    let told = looker.ask("POST", &format!("/replays/{id}/cancel"), Some(&token)).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn anothers_replay_is_as_one_that_never_was() {
    let (stage, mut browser) = staged(1).await;
    let new =
        NewDestination::webhook("https://theirs.example/x").id(outpost_core::DestinationId::new("theirs").unwrap());
    stage.outpost.destinations().create("globex", new).await.unwrap();
    let request = outpost_core::ReplayRequest::default();
    let id = stage.outpost.replays().start("globex", "theirs", request).await.unwrap().id;
    let token = browser.get(FORM).await.form("/logout");
    for (theirs, nobodys) in [
        (format!("/replays/{id}"), "/replays/rpl_nobodys"),
        ("/destinations/theirs/replay".to_owned(), "/destinations/nobodys/replay"),
    ] {
        let (a, b) = (browser.get(&theirs).await, browser.get(nobodys).await);
        assert_eq!((a.status, b.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{theirs}");
        assert_eq!(main_of(&a), main_of(&b));
    }
    for path in [format!("/replays/{id}/cancel"), "/destinations/theirs/replay".to_owned()] {
        assert_eq!(browser.ask("POST", &path, Some(&token)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_ne!(stage.outpost.replays().get("globex", &id).await.unwrap().state, ReplayState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_replay_outlives_its_destination() {
    let (stage, mut browser) = staged(1).await;
    let id = stage.outpost.replays().start("acme", "crm", outpost_core::ReplayRequest::default()).await.unwrap().id;
    stage.outpost.destinations().delete("acme", "crm").await.unwrap();
    stage.pass(5).await;
    let page = browser.get(&format!("/replays/{id}")).await;
    page.must_have("deleted").must_not_have("/destinations/crm");
}
