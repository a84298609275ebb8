//! Test events: sent at once, shown as they went, and gone after a day.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use bytes::Bytes;
use http::StatusCode;
use outpost_core::{
    Capabilities, Capability, DeliveryError, ErrorClass, MemoryStore, Outpost, ResponseRecord, ScriptedReply,
    TokenSettings, TokioClock, WebhookTransport,
};

use self::support::{SECRET, Seen, Stage, Staged, URL, epoch};

const ACTION: &str = "/destinations/shop/test";

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.destination("acme", "shop").await;
    stage
}

/// An answer with this status, headers and body.
fn reply(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> ScriptedReply {
    let mut reply = ScriptedReply::status(status);
    if let Ok(receipt) = &mut reply.result {
        receipt.response = Some(ResponseRecord {
            status,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Bytes::from(body),
            truncated: false,
        });
    }
    reply
}

fn is_valid(seen: &Seen) {
    assert_eq!(seen.text.matches("<h1").count(), 1, "{}", seen.text);
    for inline in [" style=", "<style", "onclick"] {
        assert!(!seen.has(inline), "{inline}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_event_is_sent_as_it_was_typed_and_its_exchange_is_shown() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    stage.transport.answer(|_, _| reply(202, &[("x-served-by", "web-1")], br#"{"fine":true}"#.to_vec()));
    let page = browser.get(ACTION).await;
    is_valid(&page);
    page.must_have("Send a test event").must_have("This is a test event.");
    let seen =
        browser.send(&page, ACTION, &[("topic", "order.updated"), ("data", "{\r\n \"amount\": 12.50\r\n}")]).await;
    assert_eq!(seen.status, StatusCode::OK);
    is_valid(&seen);
    assert!(seen.at.contains("test?result="), "{}", seen.at);
    seen.must_have("The receiver accepted it with 202.").must_have("x-served-by").must_have("web-1");
    seen.must_have("webhook-signature").must_have("https://shop.example/hook").must_have("12.50").must_have("fine");
    let sent = stage.transport.sent.lock().unwrap().pop().unwrap();
    assert_eq!(&*sent.data, b"{\n \"amount\": 12.50\n}");
    assert_eq!(&*sent.topic, "order.updated");
    assert_eq!(sent.trigger, outpost_core::Trigger::Test);
    // It is not among the deliveries, and the form has what was sent.
    assert_eq!(seen.form(ACTION)[1].1, "{\n \"amount\": 12.50\n}");
    let again = browser.get(&seen.at).await;
    again.must_have("The receiver accepted it with 202.");
}

#[tokio::test(start_paused = true)]
async fn what_went_wrong_is_said_with_what_to_do_about_it() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let failed = |class| ScriptedReply {
        result: Err(DeliveryError::unseen(class, "the receiver's certificate has expired", "10.0.0.7 is secret")),
        ..ScriptedReply::ok()
    };
    let cases: Vec<(ScriptedReply, &str, &str)> = vec![
        (reply(301, &[], vec![]), "The receiver answered 301. Redirects are not followed.", "Enter the final URL"),
        (reply(404, &[], vec![]), "The receiver refused it with 404.", "Check the path"),
        (reply(500, &[], vec![]), "The receiver failed with 500.", "Look for an error in the log"),
        (reply(410, &[], vec![]), "it wants no more events", "Answer 410 only"),
        (reply(429, &[], vec![]), "too many requests", "Retry-After"),
        (reply(503, &[], vec![]), "it is overloaded or down", "Retry-After"),
        (failed(ErrorClass::Tls), "TLS certificate has expired", "Install a current certificate"),
        (failed(ErrorClass::Refused), "the receiver refused the connection", "See that the receiver runs"),
        (failed(ErrorClass::Blocked), "the address does not exist, or events may not be sent to it", "public address"),
    ];
    for (answer, sentence, hint) in cases {
        stage.transport.answer(move |_, _| answer.clone());
        let page = browser.get(ACTION).await;
        let seen = browser.send(&page, ACTION, &[]).await;
        seen.must_have(sentence).must_have(hint).must_not_have("10.0.0.7").must_not_have("The receiver accepted it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_answer_is_told_from_one_that_refuses() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    stage.transport.answer(|_, message| {
        let error = DeliveryError::unseen(ErrorClass::Timeout, "the receiver did not answer in time", "");
        ScriptedReply { delay: message.timeout, result: Err(error) }
    });
    let page = browser.get(ACTION).await;
    let seen = browser.send(&page, ACTION, &[]).await;
    let timeout = stage.outpost.offers().timeout.as_secs();
    seen.must_have(&format!("No answer within {timeout} s.")).must_have("Answer 2xx at once");
}

#[tokio::test(start_paused = true)]
async fn a_result_is_gone_after_a_day_and_never_another_s() {
    let stage = stage().await;
    stage.destination("acme", "other").await;
    stage.destination("globex", "shop").await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(ACTION).await;
    let seen = browser.send(&page, ACTION, &[]).await;
    let (_, id) = seen.at.split_once("result=").unwrap();
    let mut asks = vec![
        format!("{ACTION}?result=att_unknown"),
        format!("{ACTION}?result=%00"),
        format!("/destinations/other/test?result={id}"),
    ];
    let mut foreign = stage.browser("globex").await;
    let seen = foreign.get(&format!("{ACTION}?result={id}")).await;
    assert_eq!(seen.status, StatusCode::NOT_FOUND);
    seen.must_have("That test result is gone");
    stage.pass(24 * 3600 + 1).await;
    asks.push(format!("{ACTION}?result={id}"));
    let mut browser = stage.browser("acme").await;
    for ask in asks {
        let seen = browser.get(&ask).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND, "{ask}");
        is_valid(&seen);
        seen.must_have("That test result is gone").must_have("Send test event");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_said_and_kept() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(ACTION).await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(256 << 10));
    let cases = [
        ("order.created", "{\"a\": tru}", "This is not valid JSON: expected ident, in line 1, column"),
        ("order.created", "", "This is not valid JSON"),
        ("order.created", "[1]", "The payload must be a JSON object"),
        ("order.created", large.as_str(), "Use 256 KiB or less."),
        ("no.such.topic", "{}", "Choose one of the topics."),
    ];
    for (topic, data, message) in cases {
        let seen = browser.send(&page, ACTION, &[("topic", topic), ("data", data)]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{message}");
        seen.must_have("<title>Error: ").must_have(message);
        assert_eq!(seen.form(ACTION)[1].1, data);
    }
    assert!(stage.transport.sent.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_list_of_topics_any_may_be_typed() {
    let engine = |_| {
        Outpost::builder(MemoryStore::new())
            .transport(Staged::new(WebhookTransport::builder()))
            .clock(TokioClock::starting_at(epoch()))
            .tokens(TokenSettings::new(URL, SECRET))
    };
    let stage = Stage::with(engine, |webhooks| webhooks, |portal| portal).await;
    stage.destination("acme", "shop").await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(ACTION).await;
    for (topic, message) in [("", "Enter a topic."), ("a b", "Use visible ASCII")] {
        browser.send(&page, ACTION, &[("topic", topic)]).await.must_have(message);
    }
    let seen = browser.send(&page, ACTION, &[("topic", "mine.own")]).await;
    seen.must_have("mine.own").must_have("The receiver accepted it");
}

#[tokio::test(start_paused = true)]
async fn a_form_sent_twice_sends_once_and_too_many_keep_what_was_typed() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(ACTION).await;
    browser.send(&page, ACTION, &[]).await.must_have("The receiver accepted it");
    browser.send(&page, ACTION, &[]).await.must_have("The form was sent twice; it counted once.");
    assert_eq!(stage.transport.sent.lock().unwrap().len(), 1);
    for _ in 0..19 {
        let page = browser.get(ACTION).await;
        browser.send(&page, ACTION, &[]).await.must_have("The receiver accepted it");
    }
    let page = browser.get(ACTION).await;
    let seen = browser.send(&page, ACTION, &[("data", "{\"kept\":1}")]).await;
    assert_eq!(seen.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(seen.header("retry-after").parse::<u64>().unwrap() > 0);
    seen.must_have("Too many test events.");
    assert_eq!(seen.form(ACTION)[1].1, "{\"kept\":1}");
    stage.pass(60).await;
    browser.send(&seen, ACTION, &[]).await.must_have("The receiver accepted it");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_destination_can_be_tested() {
    let stage = stage().await;
    stage.outpost.destinations().disable("acme", "shop", "").await.unwrap();
    let mut browser = stage.browser("acme").await;
    let page = browser.get(ACTION).await;
    page.must_have("The destination is disabled. A test event is sent all the same");
    browser.send(&page, ACTION, &[]).await.must_have("The receiver accepted it");
}

#[tokio::test(start_paused = true)]
async fn testing_needs_the_right_to_write() {
    let stage = stage().await;
    let mut reader = stage.browser_with("acme", Capabilities::ALL.without(Capability::Write)).await;
    let seen = reader.get(ACTION).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    let mut writer = stage.browser_with("acme", Capabilities::ALL.without(Capability::Secrets)).await;
    let page = writer.get(ACTION).await;
    page.must_have("It goes to the address that is saved.");
    writer.send(&page, ACTION, &[]).await.must_have("The receiver accepted it");
    let (other, none) = (writer.get("/destinations/theirs/test").await, writer.get("/destinations/none/test").await);
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    let normal = |seen: &Seen| seen.text.split("<main").nth(1).unwrap().split("</main>").next().unwrap().to_owned();
    assert_eq!(normal(&other), normal(&none));
}

#[tokio::test(start_paused = true)]
async fn what_the_receiver_says_is_inert_and_bounded() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let hostile = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>\u{202e}evil";
    stage.transport.answer(move |_, _| reply(500, &[("x-<b>", hostile)], hostile.as_bytes().to_vec()));
    let page = browser.get(ACTION).await;
    let seen = browser.send(&page, ACTION, &[("data", "{\"a\":\"</textarea><script>\u{202e}\"}")]).await;
    is_valid(&seen);
    seen.must_have("&lt;script&gt;alert(1)")
        .must_not_have("<script>alert")
        .must_not_have("<img")
        .must_not_have("</textarea><script>");
    // The payload's own characters stand in its field, where they are typed; nowhere else does any turn the text.
    let shown: String = seen.text.split("<textarea").next().unwrap().to_owned();
    assert!(!shown.contains('\u{202e}'));

    stage.transport.answer(|_, _| reply(500, &[("content-type", "image/png")], vec![0, 159, 146, 150]));
    let page = browser.get(ACTION).await;
    browser.send(&page, ACTION, &[]).await.must_have("Binary, 4 B.");

    // 1 MB of it, cut within a character, with far too many headers.
    let many: Vec<(String, String)> = (0..400).map(|n| (format!("x-{n}"), "v".repeat(1000))).collect();
    stage.transport.answer(move |_, _| {
        let headers: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        reply(500, &headers, format!("a{}", "ä".repeat(500_000)).into_bytes())
    });
    let page = browser.get(ACTION).await;
    let seen = browser.send(&page, ACTION, &[]).await;
    seen.must_have("The first 32 KiB of 1.0 MB are shown.").must_have("the last ones are left out").must_have("x-0");
    assert!(seen.text.len() < 150_000, "{}", seen.text.len());
}
