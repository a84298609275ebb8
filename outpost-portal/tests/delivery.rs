//! One delivery: what its page tells, what can be done to it, and what can be saved of it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use outpost_core::{Capabilities, Capability, DeliveryState, ErrorClass, ScriptedReply};

use self::support::{Browser, Seen, Stage};

const PAGE: &str = "/destinations/crm/deliveries/evt_1";

/// A destination `crm` and an event `evt_1` that is answered as the script says.
async fn staged(reply: ScriptedReply, data: &str) -> (Stage, Browser) {
    let stage = Stage::new().await;
    stage.destination("acme", "crm").await;
    stage.transport.answer(move |_, _| reply.clone());
    stage.publish("acme", "evt_1", "order.created", data).await;
    stage.pass(1).await;
    let browser = stage.browser("acme").await;
    (stage, browser)
}

async fn state(stage: &Stage, event: &str) -> DeliveryState {
    stage.outpost.deliveries().get("acme", "crm", event).await.unwrap().state
}

async fn attempts(stage: &Stage, event: &str) -> u32 {
    stage.outpost.deliveries().get("acme", "crm", event).await.unwrap().attempts
}

/// The body of an error page without what differs from one page to the next anyway.
fn body(seen: &Seen) -> String {
    let main = seen.text.split("<main").nth(1).unwrap().split("</main>").next().unwrap();
    main.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_page_tells_what_happened_and_what_comes_next() {
    let (stage, mut browser) = staged(ScriptedReply::status(500).body("<h1>Oops</h1>"), r#"{"a":1}"#).await;
    stage.pass(6).await;
    let page = browser.get(PAGE).await;
    page.must_have("order.created").must_have("Retrying").must_have("evt_1").must_have("crm");
    page.must_have("in 4 min (try 3 of 10)").must_have("Attempt 2").must_have("Attempt 1").must_have("Received");
    page.must_have("500 in 0 ms, automatic").must_have("&lt;h1&gt;Oops&lt;/h1&gt;").must_not_have("<h1>Oops");
    page.must_have("https://crm.example/hook").must_have("webhook-signature").must_have("Reproduce with cURL");
    page.must_have(r#"id="attempt-2""#).must_not_have(r#"id="attempt-1""#);
    assert!(page.text.find("Attempt 2").unwrap() < page.text.find("Attempt 1").unwrap(), "the latest comes first");
    assert_eq!(page.text.matches("<h1").count(), 1);
    let first = browser.get(&format!("{PAGE}?attempt=1#attempt-1")).await;
    first.must_have(r#"id="attempt-1""#).must_have("Response to attempt 1");
    browser.get(&format!("{PAGE}?attempt=99")).await.must_have("Response to attempt 2");
    browser.get(&format!("{PAGE}?attempt=x")).await.must_have("Response to attempt 2");
}

#[tokio::test(start_paused = true)]
async fn a_destinations_own_schedule_is_the_one_that_counts() {
    let stage = Stage::new().await;
    let schedule = outpost_core::Schedule::Explicit(vec![Duration::from_secs(600); 2]);
    let retry = outpost_core::RetryPolicy::new(schedule).unwrap().jitter(0.0).unwrap();
    let settings = outpost_core::DeliverySettings { retry: Some(retry), ..Default::default() };
    let mut new = outpost_core::NewDestination::webhook("https://crm.example/hook")
        .id(outpost_core::DestinationId::new("crm").unwrap());
    new.settings = settings;
    stage.outpost.destinations().create("acme", new).await.unwrap();
    stage.transport.answer(|_, _| ScriptedReply::status(500));
    stage.publish("acme", "evt_1", "order.created", "{}").await;
    stage.pass(1).await;
    let mut browser = stage.browser("acme").await;
    browser.get(PAGE).await.must_have("(try 2 of 3)");
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_told() {
    let reply = ScriptedReply::status(429).retry_after(Duration::from_secs(1800));
    let (stage, mut browser) = staged(reply, "{}").await;
    stage.publish("acme", "evt_2", "order.created", "{}").await;
    stage.pass(1).await;
    browser
        .get("/destinations/crm/deliveries/evt_2")
        .await
        .must_have("Queued")
        .must_have("Waiting until 20:56: the receiver asked for a pause");
}

#[tokio::test(start_paused = true)]
async fn a_page_loads_itself_again_only_while_something_is_about_to_happen() {
    let (stage, mut browser) = staged(ScriptedReply::ok().after(Duration::from_secs(10)), "{}").await;
    let sending = browser.get(PAGE).await;
    sending
        .must_have("Sending")
        .must_have(r#"data-refresh="5""#)
        .must_have(r#"content="5""#)
        .must_have("Being sent now");
    stage.pass(20).await;
    browser.get(PAGE).await.must_have("Delivered").must_not_have("data-refresh").must_not_have("http-equiv");
    let reply = ScriptedReply::status(429).retry_after(Duration::from_secs(1800));
    stage.transport.answer(move |_, _| reply.clone());
    stage.publish("acme", "evt_2", "order.created", "{}").await;
    stage.pass(1).await;
    stage.publish("acme", "evt_3", "order.created", "{}").await;
    stage.pass(1).await;
    let queued = "/destinations/crm/deliveries/evt_3";
    browser.get(queued).await.must_have("Queued").must_have("data-refresh");
    stage.pass(121).await;
    browser.get(queued).await.must_have("Queued").must_not_have("data-refresh");
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_in_words() {
    let (_, mut browser) = staged(ScriptedReply::error(ErrorClass::Timeout).after(Duration::from_secs(60)), "{}").await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    let page = browser.get(PAGE).await;
    page.must_have("timeout in 20 s").must_have("No answer within 20 s.");
    page.must_have("Answer 2xx at once");
    let (_, mut browser) = staged(ScriptedReply::error(ErrorClass::Refused), "{}").await;
    browser.get(PAGE).await.must_have("refused in").must_not_have("connection_refused").must_not_have("scripted");
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_queued_once_and_runs() {
    let (stage, mut browser) = staged(ScriptedReply::status(400), "{}").await;
    let page = browser.get(PAGE).await;
    stage.transport.answer(|_, _| ScriptedReply::ok().after(Duration::from_secs(3)));
    let action = "/destinations/crm/deliveries/evt_1/retry";
    let first = browser.send(&page, action, &[]).await;
    first.must_have("Retry queued. It usually runs within a few seconds.");
    // The same form again, and then a fresh one.
    browser.send(&page, action, &[]).await;
    let mut fresh = page.form(action);
    let other = browser.get("/destinations/crm/deliveries/evt_1").await;
    assert!(!other.has(">Retry now<"), "it is on its way");
    fresh.retain(|(name, _)| name != "form_token");
    let token = other.form("/cancel").into_iter().find(|(name, _)| name == "form_token").unwrap();
    fresh.push(token);
    let again = browser.ask("POST", action, Some(&fresh)).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    let told = browser.get(PAGE).await;
    assert!(told.has("It is being sent right now.") || told.has("An attempt was asked for already."), "{}", told.text);
    stage.pass(10).await;
    assert_eq!(attempts(&stage, "evt_1").await, 2, "two clicks make one attempt");
    browser.get(PAGE).await.must_have("Delivered").must_have("manual");
}

#[tokio::test(start_paused = true)]
async fn a_form_that_was_sent_twice_acts_once_even_when_the_first_is_over() {
    let (stage, mut browser) = staged(ScriptedReply::status(400), "{}").await;
    let page = browser.get(PAGE).await;
    let action = "/destinations/crm/deliveries/evt_1/retry";
    browser.send(&page, action, &[]).await;
    stage.pass(1).await;
    assert_eq!(attempts(&stage, "evt_1").await, 2);
    browser.send(&page, action, &[]).await.must_have("This form was sent before.");
    stage.pass(1).await;
    assert_eq!(attempts(&stage, "evt_1").await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_sent_again_only_when_that_is_confirmed() {
    let (stage, mut browser) = staged(ScriptedReply::ok(), "{}").await;
    let page = browser.get(PAGE).await;
    let action = "/destinations/crm/deliveries/evt_1/retry";
    let asked = browser.send(&page, action, &[]).await;
    asked.must_have("It was delivered at 28 May 2026 20:26:40 UTC; send it again?");
    stage.pass(1).await;
    assert_eq!(attempts(&stage, "evt_1").await, 1, "asking changes nothing");
    browser.send(&asked, action, &[]).await.must_have("Retry queued.");
    stage.pass(1).await;
    assert_eq!(attempts(&stage, "evt_1").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_destination_explains_itself() {
    let (stage, mut browser) = staged(ScriptedReply::status(400), "{}").await;
    let page = browser.get(PAGE).await;
    stage.outpost.destinations().disable("acme", "crm", "test").await.unwrap();
    let told = browser.send(&page, "/destinations/crm/deliveries/evt_1/retry", &[]).await;
    assert_eq!(told.status, StatusCode::CONFLICT);
    told.must_have("Enable the destination first").must_have("/destinations/crm/enable");
    let page = browser.get(PAGE).await;
    page.must_have("Skipped").must_have("The destination is disabled.").must_not_have(">Retry now<");
    assert_eq!(attempts(&stage, "evt_1").await, 1);
}

#[tokio::test(start_paused = true)]
async fn retries_are_cancelled() {
    let (stage, mut browser) = staged(ScriptedReply::status(500), "{}").await;
    let page = browser.get(PAGE).await;
    let action = "/destinations/crm/deliveries/evt_1/cancel";
    let done = browser.send(&page, action, &[]).await;
    done.must_have("nothing more is sent by schedule")
        .must_have("It was cancelled by a user.")
        .must_not_have("/cancel\"");
    assert_eq!(state(&stage, "evt_1").await, DeliveryState::Cancelled(outpost_core::CancelReason::User));
    browser.send(&page, action, &[]).await.must_have("This form was sent before.");
    let mut form = page.form(action);
    form.retain(|(name, _)| name != "form_token");
    form.push(browser.get(PAGE).await.form("/retry").into_iter().find(|(name, _)| name == "form_token").unwrap());
    browser.ask("POST", action, Some(&form)).await;
    browser.get(PAGE).await.must_have("There was nothing to cancel");
}

#[tokio::test(start_paused = true)]
async fn without_the_capability_nothing_is_offered_and_nothing_done() {
    let (stage, mut owner) = staged(ScriptedReply::status(500), "{}").await;
    let mut looker = stage.browser_with("acme", Capabilities::ALL.without(Capability::Retry)).await;
    let page = looker.get(PAGE).await;
    page.must_not_have(">Retry now<").must_not_have("Cancel retries");
    let token = page.form("/logout").into_iter().find(|(name, _)| name == "form_token").unwrap();
    for what in ["retry", "cancel"] {
        let told = looker.ask("POST", &format!("{PAGE}/{what}"), Some(std::slice::from_ref(&token))).await;
        assert_eq!(told.status, StatusCode::FORBIDDEN, "{what}");
    }
    stage.pass(1).await;
    assert_eq!(attempts(&stage, "evt_1").await, 1);
    owner.get(PAGE).await.must_have("Retrying");
}

#[tokio::test(start_paused = true)]
async fn downloads_are_the_bytes_and_never_pages() {
    let html = "<!doctype html><script>alert(1)</script>";
    let (_, mut browser) = staged(ScriptedReply::status(500).body(html), "{ \"a\" :\t1 }").await;
    for (what, kind, name, bytes) in [
        ("payload", "application/json", "evt_1.json", "{ \"a\" :\t1 }"),
        ("attempts/1/response", "application/octet-stream", "evt_1-attempt-1-response.bin", html),
    ] {
        let seen = browser.ask("GET", &format!("{PAGE}/{what}"), None).await;
        assert_eq!((seen.status, seen.header("content-type")), (StatusCode::OK, kind));
        assert_eq!(seen.header("content-disposition"), format!("attachment; filename=\"{name}\""));
        assert_eq!(seen.header("x-content-type-options"), "nosniff");
        assert_eq!(seen.bytes, bytes);
    }
    let curl = browser.ask("GET", &format!("{PAGE}/attempts/1/curl"), None).await;
    assert_eq!(curl.header("content-type"), "text/plain; charset=utf-8");
    assert!(curl.header("content-disposition").starts_with("attachment;"));
    for missing in ["attempts/2/response", "attempts/2/curl", "attempts/0/response"] {
        assert_eq!(browser.get(&format!("{PAGE}/{missing}")).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_answers_are_inert() {
    let rtl = ScriptedReply::status(500).body("a\u{202e}b\" onload=\"x</pre><script>alert(1)</script>");
    let (_, mut browser) = staged(rtl, r#"{"x":"</pre><img src=x onerror=alert(1)>"}"#).await;
    let page = browser.get(PAGE).await;
    page.must_not_have("\u{202e}")
        .must_not_have("<script>alert")
        .must_not_have("<img")
        .must_have("&lt;script&gt;alert(1)");
    for body in [Bytes::from_static(b"a\0b"), Bytes::from_static(&[0xff, 0xfe, 0xfd])] {
        let (_, mut browser) = staged(ScriptedReply::status(500).body(body.clone()), "{}").await;
        let size = format!("Binary, {} B.", body.len());
        browser.get(PAGE).await.must_have(&size);
        assert_eq!(browser.ask("GET", &format!("{PAGE}/attempts/1/response"), None).await.bytes, body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_very_long_body_is_shown_at_its_beginning_and_saved_as_a_whole() {
    let body = Bytes::from("x".repeat(1 << 20));
    let (_, mut browser) = staged(ScriptedReply::status(500).body(body.clone()), "{}").await;
    let page = browser.get(PAGE).await;
    let kept = browser.ask("GET", &format!("{PAGE}/attempts/1/response"), None).await.bytes;
    assert_eq!(kept, body);
    page.must_have("The first 64 KiB of 1.0 MB are shown.");
    assert!(page.text.len() < 100_000, "{}", page.text.len());
    let data = format!("{{\"a\":\"{}\"}}", "y".repeat(200_000));
    let (_, mut browser) = staged(ScriptedReply::status(500), &data).await;
    browser
        .get(PAGE)
        .await
        .must_have("The first 64 KiB of 200.0 KB are shown.")
        .must_not_have(r##"data-copy="#payload""##);
    let curl = browser.ask("GET", &format!("{PAGE}/attempts/1/curl"), None).await;
    curl.must_have("# Download the payload first, as evt_1.json.").must_have("--data-binary '@evt_1.json'");
    assert_eq!(browser.ask("GET", &format!("{PAGE}/payload"), None).await.bytes, data);
}

#[tokio::test(start_paused = true)]
async fn the_command_sends_the_same_request_again() {
    let data = "{\"a\":\"it's \\\"$HOME\\\" `id` $(id) \\\\ !! %s %n \u{1f469}\u{200d}\u{2028}ä\",\r\n\t\"b\": '\"' }"
        .replace("'\"'", "\"'''\"");
    let (_, mut browser) = staged(ScriptedReply::status(500), &data).await;
    let command = browser.ask("GET", &format!("{PAGE}/attempts/1/curl"), None).await;
    let sink = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = sink.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = sink.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..read]);
            let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(all[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if all.len() >= end + 4 + length.parse::<usize>().unwrap() {
                stream.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").unwrap();
                return (head, all[end + 4..].to_vec());
            }
        }
    });
    assert!(command.has("--url 'https://crm.example/hook'"), "{}", command.text);
    let text = command.text.replace("https://crm.example", &format!("http://{address}"));
    let path = std::env::var("PATH").unwrap();
    let done = std::process::Command::new("bash").env_clear().env("PATH", path).args(["-c", &text]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (head, sent) = heard.join().unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), data);
    assert!(head.starts_with("post /hook http/1.1"), "{head}");
    for header in ["content-type: application/json", "webhook-id: evt_1", "webhook-signature: v1,c2lnbmf0dxjl"] {
        assert!(head.lines().any(|line| line == header), "{header} in {head}");
    }
    // What cannot be seen cannot be copied either.
    browser.get(PAGE).await.must_have("The command cannot be shown here as it is.");
}

#[tokio::test(start_paused = true)]
async fn the_deliveries_around_it_stay_beside_it() {
    let stage = Stage::new().await;
    for id in ["crm", "other"] {
        stage.destination("acme", id).await;
    }
    for number in 10..40 {
        stage.publish("acme", &format!("evt_{number}"), "order.created", "{}").await;
        stage.pass(1).await;
    }
    let mut browser = stage.browser("acme").await;
    let page = browser.get("/destinations/crm/deliveries/evt_25").await;
    let side = page.text.split("div class=\"side\"").nth(1).unwrap().split("</table>").next().unwrap();
    assert_eq!(side.matches("class=\"rowlink\"").count(), 15);
    assert_eq!(side.matches("class=\"sel\"").count(), 1);
    assert!(side.contains("evt_32\"") && side.contains("evt_18\"") && !side.contains("evt_17\""), "{side}");
    page.must_have(r#"rel="prev" href="/webhooks/destinations/crm/deliveries/evt_26""#);
    page.must_have(r#"rel="next" href="/webhooks/destinations/crm/deliveries/evt_24""#);
    let newest = browser.get("/destinations/crm/deliveries/evt_39").await;
    newest.must_not_have(r#"rel="prev""#).must_have("deliveries/evt_25\"");
    browser.get("/destinations/crm/deliveries/evt_10").await.must_not_have(r#"rel="next""#);
}

#[tokio::test(start_paused = true)]
async fn what_is_anothers_is_as_if_it_were_not_there() {
    let (stage, mut browser) = staged(ScriptedReply::ok(), "{}").await;
    stage.destination("globex", "theirs").await;
    stage.publish("globex", "evt_secret", "order.created", r#"{"canary":1}"#).await;
    stage.pass(1).await;
    for rest in ["", "/payload", "/attempts/1/response", "/attempts/1/curl"] {
        for (theirs, nobodys) in [
            ("/destinations/theirs/deliveries/evt_secret", "/destinations/nobodys/deliveries/evt_random"),
            ("/destinations/crm/deliveries/evt_secret", "/destinations/crm/deliveries/evt_random"),
        ] {
            let (a, b) =
                (browser.get(&format!("{theirs}{rest}")).await, browser.get(&format!("{nobodys}{rest}")).await);
            assert_eq!((a.status, b.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{theirs}{rest}");
            assert_eq!(body(&a), body(&b), "{theirs}{rest}");
            a.must_not_have("canary").must_not_have("evt_secret");
        }
    }
    let page = browser.get(PAGE).await;
    let form = page.form("/retry");
    for what in ["retry", "cancel"] {
        for path in ["theirs/deliveries/evt_secret", "crm/deliveries/evt_secret"] {
            let told = browser.ask("POST", &format!("/destinations/{path}/{what}"), Some(&form)).await;
            assert_eq!(told.status, StatusCode::NOT_FOUND, "{path}/{what}");
        }
    }
    browser.get("/destinations/crm/deliveries/evt_random").await.must_have("removed after 30 days");
}

#[tokio::test(start_paused = true)]
async fn the_command_leaves_out_what_is_secret_or_the_clients_own() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut reply = ScriptedReply::error(ErrorClass::Reset);
    if let Err(error) = &mut reply.result {
        error.request = Some(outpost_core::RequestRecord {
            method: "POST".to_owned(),
            url: "https://hooks.slack.com/services/***".to_owned(),
            headers: vec![
                header("host", "hooks.slack.com"),
                header("content-length", "2"),
                header("authorization", outpost_core::MASK),
                header("x-empty", ""),
                header("x-odd", "a\nevil: b"),
                header("x-team", "it's $us"),
            ],
        });
    }
    let (_, mut browser) = staged(reply, "{}").await;
    let command = browser.ask("GET", &format!("{PAGE}/attempts/1/curl"), None).await;
    command.must_have("# The header authorization is secret and was left out.\n");
    command.must_have("# Put the secret part of the URL in the place of ***.\n");
    command.must_have("--header 'x-empty;'").must_have(r"--header 'x-team: it'\''s $us'");
    command
        .must_not_have("content-length")
        .must_not_have("host:")
        .must_not_have("evil")
        .must_not_have(outpost_core::MASK);
}
