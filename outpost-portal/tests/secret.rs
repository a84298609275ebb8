//! The signing secret: masked, shown once, replaced, and used to check a signature without being shown.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex};

use http::StatusCode;
use outpost_core::{
    BodyKey, Capabilities, Capability, DestinationId, HeaderChoice, NewDestination, ServiceHeaders, Signing, SigningKey,
};

use self::support::{Browser, Seen, Stage, epoch};

const PAGE: &str = "/destinations/shop/secret";
const REVEAL: &str = "/destinations/shop/secret/reveal";
const ROTATE: &str = "/destinations/shop/secret/rotate";
const EXPIRE: &str = "/destinations/shop/secret/expire-previous";
/// The form leads on to its result.
const CHECK: &str = "/destinations/shop/secret/check#check";
const BODY: &str = r#"{"a": "x y", "n":1.50}"#;

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.destination("acme", "shop").await;
    stage
}

async fn stage_signing(signing: Signing) -> Stage {
    let stage = Stage::with(|engine| engine, |webhooks| webhooks.signing(signing), |portal| portal).await;
    stage.destination("acme", "shop").await;
    stage
}

/// All the secrets that there are, the current one first.
async fn secrets(stage: &Stage) -> Vec<String> {
    let destination = stage.outpost.destinations().get("acme", "shop").await.unwrap();
    let map = destination.credentials.expose();
    ["secret", "previous_secret"].iter().filter_map(|key| map.get(*key).cloned()).collect()
}

/// A secret is nowhere in the page, nor what follows its prefix.
#[track_caller]
fn hides(seen: &Seen, secrets: &[String]) {
    for secret in secrets {
        seen.must_not_have(secret.strip_prefix("whsec_").unwrap_or(secret));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_shown_once_and_only_in_the_answer_to_the_button() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = told.clone();
    let stage = Stage::with(
        |engine| engine,
        |webhooks| webhooks,
        |portal| portal.audit(move |action| log.lock().unwrap().push(format!("{} {}", action.action, action.subject))),
    )
    .await;
    stage.destination("acme", "shop").await;
    let known = secrets(&stage).await;
    let mut browser = stage.browser("acme").await;
    browser.headers = vec![("accept-encoding", "gzip".to_owned())];
    assert_eq!(browser.get(PAGE).await.header("content-encoding"), "gzip");
    browser.headers = Vec::new();
    let page = browser.get(PAGE).await;
    assert_eq!(page.text.matches("<h1").count(), 1);
    hides(&page, &known);
    page.must_have("••••••••").must_have("Reveal");
    assert_eq!(browser.ask("GET", REVEAL, None).await.status, StatusCode::METHOD_NOT_ALLOWED);

    browser.headers = vec![("accept-encoding", "gzip".to_owned())];
    let shown = browser.ask("POST", REVEAL, Some(&page.form(REVEAL))).await;
    browser.headers = Vec::new();
    assert_eq!(shown.status, StatusCode::OK);
    shown.must_have(&known[0]).must_have("data-copy=\"#secret-0\"").must_have("It is shown this once.");
    assert_eq!(shown.header("cache-control"), "no-store");
    assert_eq!(shown.header("referrer-policy"), "no-referrer");
    assert_eq!(shown.header("content-encoding"), "");
    assert_eq!(*told.lock().unwrap(), ["reveal secret shop"]);
    hides(&browser.get(PAGE).await, &known);
    for cookie in browser.cookies.values() {
        assert!(!cookie.contains(known[0].trim_start_matches("whsec_")));
    }
    let forged = [("form_token".to_owned(), "x".to_owned())];
    let seen = browser.ask("POST", REVEAL, Some(&forged)).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    hides(&seen, &known);
}

#[tokio::test(start_paused = true)]
async fn rotating_keeps_the_old_secret_for_the_time_that_was_chosen() {
    for (grace, until) in [("3600", "in 60 min"), ("86400", "in 24 h"), ("604800", "in 7 days")] {
        let stage = stage().await;
        let before = secrets(&stage).await;
        let mut browser = stage.browser("acme").await;
        let page = browser.get(PAGE).await;
        assert_eq!(page.form(ROTATE)[1], ("grace".to_owned(), "86400".to_owned()));
        let seen = browser.send(&page, ROTATE, &[("grace", grace)]).await;
        let after = secrets(&stage).await;
        assert_eq!(after[1], before[0]);
        assert_ne!(after[0], before[0]);
        seen.must_have("A new secret signs from now on.").must_have(until).must_have("Expire previous now");
        hides(&seen, &after);
        let shown = browser.ask("POST", REVEAL, Some(&seen.form(REVEAL))).await;
        shown.must_have(&after[0]).must_have(&after[1]);
        // The same form again.
        browser.send(&page, ROTATE, &[("grace", grace)]).await.must_have("The form was sent twice; it counted once.");
        assert_eq!(secrets(&stage).await, after);
    }
}

#[tokio::test(start_paused = true)]
async fn rotating_without_grace_ends_the_old_secret_at_once() {
    let stage = stage().await;
    let before = secrets(&stage).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    let seen = browser.send(&page, ROTATE, &[("grace", "0")]).await;
    seen.must_have("Every one before it has ended.").must_not_have("Expire previous now");
    let after = secrets(&stage).await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_is_not_offered_changes_nothing() {
    let stage = stage().await;
    let before = secrets(&stage).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    for grace in ["", "1", "-1", "86400 ", "99999999999999999999", "<script>"] {
        let seen = browser.send(&page, ROTATE, &[("grace", grace)]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{grace}");
        seen.must_have("Choose how long the old secret stays valid.").must_have("<title>Error: ");
        hides(&seen, &before);
    }
    assert_eq!(secrets(&stage).await, before);
}

#[tokio::test(start_paused = true)]
async fn ending_the_previous_secrets_leaves_the_current_one() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    for _ in 0..3 {
        let page = browser.get(PAGE).await;
        browser.send(&page, ROTATE, &[("grace", "604800")]).await;
    }
    let page = browser.get(PAGE).await;
    assert_eq!(page.text.matches("<th scope=\"row\">").count(), 4);
    let current = secrets(&stage).await[0].clone();
    let seen = browser.send(&page, EXPIRE, &[]).await;
    seen.must_have("The previous secrets have ended.").must_not_have("Expire previous now");
    let destination = stage.outpost.destinations().get("acme", "shop").await.unwrap();
    assert_eq!(destination.credentials.expose().iter().collect::<Vec<_>>(), [(&"secret".to_owned(), &current)]);
    browser.send(&page, EXPIRE, &[]).await.must_have("The form was sent twice");
}

#[tokio::test(start_paused = true)]
async fn ending_the_previous_secrets_does_not_hit_one_that_came_since() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    let page = browser.send(&page, ROTATE, &[]).await;
    stage.outpost.destinations().rotate_secret("acme", "shop", None).await.unwrap();
    let before = secrets(&stage).await;
    let seen = browser.send(&page, EXPIRE, &[]).await;
    assert_eq!(seen.status, StatusCode::CONFLICT);
    assert_eq!(secrets(&stage).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_expired_secret_is_not_in_the_table() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    browser.send(&page, ROTATE, &[("grace", "3600")]).await.must_have("Previous");
    stage.pass(3601).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    assert_eq!(page.text.matches("<th scope=\"row\">").count(), 1);
    page.must_not_have("Expire previous now");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_see_secrets_there_is_only_the_help() {
    let stage = stage().await;
    let known = secrets(&stage).await;
    let mut owner = stage.browser("acme").await;
    let form = owner.get(PAGE).await.form(REVEAL);
    let mut browser = stage.browser_with("acme", Capabilities::ALL.without(Capability::Secrets)).await;
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    page.must_have("You may not see or change signing secrets here.")
        .must_have("WEBHOOK_SECRET")
        .must_have("webhook-signature");
    page.must_not_have("Reveal").must_not_have("Rotate secret").must_not_have("Check signature<");
    hides(&page, &known);
    // Whoever sends the forms all the same is refused; the token of another session does not help.
    let own = browser.get("/destinations/shop/test").await.form("/destinations/shop/test");
    for action in [REVEAL, ROTATE, EXPIRE, CHECK] {
        let mut sent = vec![own[0].clone(), ("grace".to_owned(), "0".to_owned())];
        let seen = browser.ask("POST", action, Some(&sent)).await;
        assert_eq!(seen.status, StatusCode::FORBIDDEN, "{action}");
        hides(&seen, &known);
        sent[0] = form[0].clone();
        assert_eq!(browser.ask("POST", action, Some(&sent)).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(secrets(&stage).await, known);
}

#[tokio::test(start_paused = true)]
async fn another_tenant_s_secret_does_not_exist() {
    let stage = stage().await;
    stage.destination("globex", "theirs").await;
    let mut browser = stage.browser("acme").await;
    let main = |seen: &Seen| seen.text.split("<main").nth(1).unwrap().split("</main>").next().unwrap().to_owned();
    let (foreign, none) =
        (browser.get("/destinations/theirs/secret").await, browser.get("/destinations/none/secret").await);
    assert_eq!((foreign.status, main(&foreign)), (StatusCode::NOT_FOUND, main(&none)));
    let form = browser.get(PAGE).await.form(REVEAL);
    for action in ["reveal", "rotate", "expire-previous", "check"] {
        let seen = browser.ask("POST", &format!("/destinations/theirs/secret/{action}"), Some(&form)).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND, "{action}");
    }
}

/// Headers as somebody pastes them.
fn pasted(id: &str, seconds: i64, signature: &str) -> String {
    format!(
        "POST /hook HTTP/1.1\r\nHost: shop.example\r\nWebhook-Id: {id}\r\nwebhook-timestamp:{seconds}\r\nWEBHOOK-SIGNATURE: {signature}\r\n"
    )
}

async fn checked(browser: &mut Browser, headers: &str, body: &str) -> Seen {
    let page = browser.get(PAGE).await;
    let seen = browser.send(&page, CHECK, &[("headers", headers), ("body", body)]).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.text);
    seen
}

#[tokio::test(start_paused = true)]
async fn a_genuine_request_is_told_from_every_kind_of_wrong_one() {
    let stage = stage().await;
    let known = secrets(&stage).await;
    let key = SigningKey::parse(&known[0]).unwrap();
    let mut browser = stage.browser("acme").await;
    let now = epoch().as_seconds();
    let good = key.sign("evt_1", now, BODY.as_bytes());
    let seen = checked(&mut browser, &pasted("evt_1", now, &good), BODY).await;
    seen.must_have("The signature is genuine.").must_have("made with the current secret").must_have("which is recent");
    hides(&seen, &known);

    let cases = [
        (pasted("evt_1", now, &good), BODY.replace("x y", "x z"), "No signature matches."),
        (pasted("evt_2", now, &good), BODY.to_owned(), "the ID evt_2"),
        (pasted("evt_1", now - 1, &good), BODY.to_owned(), "No signature matches."),
        (pasted("evt_1", now, "v1,AAAA"), BODY.to_owned(), "No signature matches."),
        (pasted("evt_1", now, &good).replace("Webhook-Id", "x-id"), BODY.to_owned(), "There is no header webhook-id."),
        (
            pasted("evt_1", now, &good).replace("SIGNATURE", "SIG"),
            BODY.to_owned(),
            "There is no header webhook-signature.",
        ),
        (
            pasted("evt_1", now, &good).replace("timestamp:1", "timestamp:x"),
            BODY.to_owned(),
            "is not a whole number of seconds",
        ),
    ];
    for (headers, body, message) in cases {
        let seen = checked(&mut browser, &headers, &body).await;
        seen.must_have("A receiver refuses this request.").must_have(message).must_not_have("The signature is genuine");
        hides(&seen, &known);
    }
    // Genuine, and yet receivers refuse it.
    for (seconds, message) in [(now - 12 * 60, "too old by 7 min"), (now + 3600, "too far ahead by 55 min")] {
        let signature = key.sign("evt_1", seconds, BODY.as_bytes());
        let seen = checked(&mut browser, &pasted("evt_1", seconds, &signature), BODY).await;
        seen.must_have("genuine, but receivers refuse the request for its time").must_have(message);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_browser_does_to_line_ends_does_not_matter_and_prettifying_is_found_out() {
    let stage = stage().await;
    let key = SigningKey::parse(&secrets(&stage).await[0]).unwrap();
    let mut browser = stage.browser("acme").await;
    let now = epoch().as_seconds();
    for (sent, typed) in [
        ("{\n  \"a\": 1\n}", "{\r\n  \"a\": 1\r\n}"),
        ("{\n  \"a\": 1\n}\n", "{\r\n  \"a\": 1\r\n}\r\n"),
        ("{\"a\":1}", "{\"a\":1}\r\n"),
        ("{\r\n\"a\":1}", "{\r\n\"a\":1}"),
    ] {
        let headers = pasted("evt_1", now, &key.sign("evt_1", now, sent.as_bytes()));
        checked(&mut browser, &headers, typed).await.must_have("The signature is genuine.");
    }
    let headers = pasted("evt_1", now, &key.sign("evt_1", now, br#"{"a":"x \" y","n":1.50}"#));
    let seen = checked(&mut browser, &headers, "{\r\n  \"a\": \"x \\\" y\",\r\n  \"n\": 1.50\r\n}").await;
    seen.must_have("A receiver refuses this request.").must_have("The body is not as it was sent");
}

#[tokio::test(start_paused = true)]
async fn previous_secrets_count_while_they_are_valid() {
    let stage = stage().await;
    let old = SigningKey::parse(&secrets(&stage).await[0]).unwrap();
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    browser.send(&page, ROTATE, &[("grace", "3600")]).await;
    let now = epoch().as_seconds();
    let headers = pasted("evt_1", now, &old.sign("evt_1", now, BODY.as_bytes()));
    checked(&mut browser, &headers, BODY)
        .await
        .must_have("The signature is genuine.")
        .must_have("a previous secret that is still valid");
    stage.pass(2 * 3600).await;
    let mut browser = stage.browser("acme").await;
    let now = now + 2 * 3600;
    let headers = pasted("evt_1", now, &old.sign("evt_1", now, BODY.as_bytes()));
    let seen = checked(&mut browser, &headers, BODY).await;
    seen.must_have("A receiver refuses this request.").must_have("a secret that ended 60 min ago");
}

#[tokio::test(start_paused = true)]
async fn the_service_s_own_scheme_is_checked_as_well() {
    let headers = ServiceHeaders { signature: HeaderChoice::Named("X-Sign".to_owned()), ..ServiceHeaders::default() };
    for signing in [Signing::service(headers.clone()), Signing::both(headers)] {
        let both =
            signing != Signing::service(ServiceHeaders::default()) && format!("{signing:?}").contains("webhook-");
        let stage = stage_signing(signing).await;
        let known = secrets(&stage).await;
        let good = BodyKey::new(&known[0]).unwrap().sign(BODY.as_bytes());
        let mut browser = stage.browser("acme").await;
        let page = browser.get(PAGE).await;
        page.must_have("x-sign");
        assert_eq!(page.has("webhook-signature"), both);
        let paste = |time: &str, signature: &str| format!("X-Sign: {signature}\nX-Outpost-Timestamp: {time}\n");
        let now = epoch().to_string();
        let seen = checked(&mut browser, &paste(&now, &format!("v0={},{good}", "0".repeat(64))), BODY).await;
        seen.must_have("The signature is genuine.");
        hides(&seen, &known);
        for (headers, body, message) in [
            (paste(&now, &format!("v0={good}")), "{}", "No signature matches."),
            (paste(&now, &good), BODY, "x-sign does not begin with v0="),
            (paste("2001-01-01T00:00:00Z", &format!("v0={good}")), BODY, "too old by"),
            (paste("yesterday", &format!("v0={good}")), BODY, "is not a time in RFC 3339: yesterday"),
        ] {
            checked(&mut browser, &headers, body).await.must_have(message).must_not_have("The signature is genuine.");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_pasted_is_bounded_kept_and_inert_and_a_secret_in_it_is_not_echoed() {
    let stage = stage().await;
    let known = secrets(&stage).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    let large = "x".repeat((256 << 10) + 1);
    for (headers, body, message) in [
        ("a: b", large.as_str(), "Use 256 KiB or less."),
        ("a: b", "", "Paste the body of the request."),
        (" ", "{}", "Paste the headers of the request."),
    ] {
        let seen = browser.send(&page, CHECK, &[("headers", headers), ("body", body)]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
        seen.must_have(message).must_have("<title>Error: ");
        assert!(seen.form(CHECK).contains(&("body".to_owned(), body.to_owned())));
    }
    let hostile =
        "webhook-id: <script>\u{202e}\0\nwebhook-timestamp: \"><img onerror=x>\nwebhook-signature: </textarea><b>";
    let seen = browser.send(&page, CHECK, &[("headers", hostile), ("body", "</textarea><script>")]).await;
    seen.must_not_have("<script>\u{202e}")
        .must_not_have("<img")
        .must_not_have("</textarea><b>")
        .must_not_have("</textarea><script");
    let leak = format!("authorization: {}\nwebhook-id: {}", known[0], known[0]);
    let seen = browser.send(&page, CHECK, &[("headers", &leak), ("body", &known[0])]).await;
    hides(&seen, &known);
}

#[tokio::test(start_paused = true)]
async fn a_key_pair_shows_its_public_half_and_never_the_other() {
    let stage = Stage::new().await;
    let secret = "whsk_AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
    let new = NewDestination::webhook("https://shop.example/hook")
        .id(DestinationId::new("shop").unwrap())
        .credential("secret", secret);
    stage.outpost.destinations().create("acme", new).await.unwrap();
    let key = SigningKey::parse(secret).unwrap();
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    page.must_have(&key.public_key().unwrap()).must_have("WEBHOOK_PUBLIC_KEY").must_not_have(secret);
    let now = epoch().as_seconds();
    let headers = pasted("evt_1", now, &key.sign("evt_1", now, BODY.as_bytes()));
    checked(&mut browser, &headers, BODY).await.must_have("The signature is genuine.");
}

#[tokio::test(start_paused = true)]
async fn the_guides_tell_what_holds_here() {
    let stage = stage().await;
    let mut browser = stage.browser("acme").await;
    for (topic, texts) in [
        ("verify", ["webhook-signature", "crypto/hmac"]),
        ("filters", ["$startsWith", "$exist"]),
        ("retries", ["There are 10 attempts.", "3 days"]),
    ] {
        let page = browser.get(&format!("/help/{topic}")).await;
        assert_eq!((page.status, page.text.matches("<h1").count()), (StatusCode::OK, 1));
        for text in texts {
            page.must_have(text);
        }
    }
    browser.get("/help/retries").await.must_have("<td class=\"num\">30 min</td>");
    assert_eq!(browser.get("/help/nothing").await.status, StatusCode::NOT_FOUND);
}
