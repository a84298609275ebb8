//! Adding destinations: the picker of types, the form, its messages, and what is never made.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::StatusCode;
use outpost_core::{
    Capabilities, Capability, Destination, MemoryStore, Outpost, ScriptedReply, ScriptedTransport, TokenSettings,
    Topics,
};
use outpost_portal::{Language, Portal};

use self::support::{Browser, SECRET, Seen, Stage, URL};

const FORM: &str = "/destinations/new/webhook";
const HOOK: &str = "https://hooks.example/in";

async fn all(stage: &Stage) -> Vec<Destination> {
    stage.outpost.destinations().list("acme").await.unwrap()
}

/// Everything that may be offered.
async fn open_stage() -> Stage {
    Stage::with(
        |outpost| outpost.tenant_filters(true).tenant_delivery_settings(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| portal,
    )
    .await
}

/// Fills the form in and sends it.
async fn fill(browser: &mut Browser, fields: &[(&str, &str)]) -> Seen {
    let page = browser.get(FORM).await;
    browser.send(&page, FORM, fields).await
}

#[tokio::test(start_paused = true)]
async fn one_type_goes_straight_to_its_form_and_makes_a_destination() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let seen = browser.ask("GET", "/destinations/new", None).await;
    assert_eq!((seen.status, seen.header("location")), (StatusCode::SEE_OTHER, "/webhooks/destinations/new/webhook"));
    let page = browser.get(FORM).await;
    page.must_have("Add a destination: Webhook").must_have("Setup guide").must_have("accepts <code>POST</code>");
    assert_eq!(page.text.matches("<h1").count(), 1);
    // Nothing is offered that is switched off.
    page.must_not_have("Custom headers").must_not_have("name=\"filter\"").must_not_have("name=\"timeout\"");
    page.must_have("name=\"credentials.secret\"").must_not_have("previous_secret").must_not_have("older_secrets");
    let mut form = page.form(FORM);
    for (name, value) in [("name", " Billing "), ("config.url", HOOK), ("topics", "order.*"), ("topics", "heartbeat")] {
        form.retain(|(known, old)| known != name || !old.is_empty());
        form.push((name.to_owned(), value.to_owned()));
    }
    let seen = browser.ask("POST", FORM, Some(&form)).await;
    let made = all(&stage).await;
    assert_eq!(made.len(), 1);
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
    assert_eq!(seen.header("location"), format!("/webhooks/destinations/{}?created=1", made[0].id));
    assert_eq!(made[0].name.as_deref(), Some("Billing"));
    assert_eq!(made[0].config["url"], HOOK);
    assert_eq!(made[0].topics, Topics::new(["heartbeat", "order.*"]).unwrap());
    assert!(made[0].credentials.expose()["secret"].starts_with("whsec_"));

    // The very same form again makes no other one, and leads to the first.
    let again = browser.ask("POST", FORM, Some(&form)).await;
    assert_eq!(again.header("location"), seen.header("location"));
    let mut other = form.clone();
    other.iter_mut().find(|(name, _)| name == "name").unwrap().1 = "Another".to_owned();
    let again = browser.ask("POST", FORM, Some(&other)).await;
    assert_eq!(again.header("location"), seen.header("location"));
    assert_eq!(all(&stage).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_clicks_at_once_one_counts() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let mut form = browser.get(FORM).await.form(FORM);
    form.retain(|(name, _)| name != "config.url");
    form.extend([("config.url", HOOK), ("all_topics", "1")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut second = browser.clone();
    let (one, two) = tokio::join!(browser.ask("POST", FORM, Some(&form)), second.ask("POST", FORM, Some(&form)));
    assert_eq!((one.status, two.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
    assert_eq!(all(&stage).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_wrong_is_said_at_once_and_what_was_typed_is_kept() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let seen = fill(
        &mut browser,
        &[
            ("name", "Kept & safe"),
            ("config.url", "hooks.example/in"),
            ("filter", "{\"data\": {\"amount\": {\"$gtt\": 5}}}"),
            ("timeout", "soon"),
            ("rate", "0"),
            ("concurrency", "-1"),
            ("header_name", "X-Team"),
            ("header_value", ""),
            ("credentials.secret", "whsec_canary"),
        ],
    )
    .await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in [
        "<title>Error: ",
        "role=\"alert\"",
        "Enter a URL that starts with https:// or http://.",
        "Choose at least one topic, or choose all topics.",
        "Unknown operator $gtt. Did you mean $gt?",
        "Enter a number of seconds from 0.1 to",
        "Enter a whole number from 1 to 1,000,000, or leave it empty.",
        "Enter a whole number from 1 upwards, or leave it empty.",
        "Enter a value for ‘X-Team’.",
        "The signing secret must",
        "value=\"Kept &amp; safe\"",
        "value=\"hooks.example/in\"",
        "value=\"soon\"",
        "value=\"X-Team\"",
        "href=\"#f-config-url\"",
        "id=\"f-config-url\"",
        "<details class=\"more\" open>",
    ] {
        seen.must_have(text);
    }
    seen.must_not_have("whsec_canary");
    assert!(all(&stage).await.is_empty());
    // Put right, the same page goes through.
    let right = [
        ("config.url", HOOK),
        ("all_topics", "1"),
        ("filter", ""),
        ("timeout", "2,5"),
        ("rate", "10"),
        ("rate_per", "60000"),
        ("concurrency", "3"),
        ("header_value", "blue"),
        ("header_name", "X-Team"),
    ];
    browser.send(&seen, FORM, &right).await;
    let made = all(&stage).await;
    assert_eq!(made.len(), 1);
    assert!(made[0].topics.is_all());
    assert_eq!(made[0].config["custom_headers"], "{\"X-Team\":\"blue\"}");
    assert_eq!(made[0].settings.timeout.unwrap().as_millis(), 2500);
    assert_eq!(made[0].settings.concurrency, Some(3));
    let limit = made[0].settings.rate_limit.unwrap();
    assert_eq!((limit.events, limit.per.as_secs()), (10, 60));
}

#[tokio::test(start_paused = true)]
async fn every_message_about_an_address() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let long = format!("https://x.example/{}", "a".repeat(2048));
    for (url, message) in [
        ("", "Enter the URL that should receive events."),
        ("ftp://x.example", "Enter a URL that starts with https:// or http://."),
        ("https://", "This is not a URL. Check its spelling."),
        ("https:///x", "Enter a URL with the name of a host"),
        ("https://x.example/a b", "Remove the spaces from the URL."),
        ("https://x.example/é", "percent-encode every character"),
        ("https://x.example:99999/", "This is not a URL. Check its spelling."),
        (&long, "Use a URL of 2,048 characters or fewer."),
        ("https://refused.example/", "We cannot send to this address"),
    ] {
        let seen = fill(&mut browser, &[("config.url", url), ("all_topics", "1")]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
        seen.must_have(message);
    }
    assert!(all(&stage).await.is_empty());
    let only = Stage::with(|outpost| outpost, |webhooks| webhooks.https_only(true), |portal| portal).await;
    let mut browser = only.browser("acme").await;
    let seen = fill(&mut browser, &[("config.url", "http://x.example"), ("all_topics", "1")]).await;
    seen.must_have("Enter a URL that starts with https://.");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_short_plain_and_its_own() {
    let stage = Stage::new().await;
    stage.destination("acme", "Billing").await;
    stage.destination("globex", "Shipping").await;
    let mut browser = stage.browser("acme").await;
    let long = "ä".repeat(129);
    for (name, message) in [
        ("bILLing ", "You already have a destination called ‘Billing’."),
        (long.as_str(), "Use 128 characters or fewer."),
        ("a\u{0}b", "Use letters, digits and signs on one line."),
    ] {
        let seen = fill(&mut browser, &[("name", name), ("config.url", HOOK), ("all_topics", "1")]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
        seen.must_have(message);
    }
    // Another tenant's names are its own.
    fill(&mut browser, &[("name", "Shipping"), ("config.url", HOOK), ("all_topics", "1")]).await;
    assert_eq!(all(&stage).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_message_about_a_filter() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    for (filter, message) in [
        ("{\"a\":\n1,}", "Line 2, column 3: expected a name in double quotes."),
        ("[]", "A filter is a JSON object, for example"),
        ("{\"data\":{\"a\":{\"$gte\":[]}}}", "data.a.$gte must be a number or a text."),
        ("{\"data\":{\"a\":{\"$wonderful\":1}}}", "Unknown operator $wonderful. There are $eq, "),
        ("{\"data\":{\"<script>alert(1)\":{\"$x\":1}}}", "Unknown operator"),
    ] {
        let seen = fill(&mut browser, &[("config.url", HOOK), ("all_topics", "1"), ("filter", filter)]).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
        seen.must_have(message).must_not_have("<script>alert");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(20), "}".repeat(20));
    let seen = fill(&mut browser, &[("config.url", HOOK), ("all_topics", "1"), ("filter", &deep)]).await;
    seen.must_have("is nested more than 16 levels deep.");
    let filter = "{\"data\": {\"amount\": {\"$gt\": 5}}}";
    fill(&mut browser, &[("config.url", HOOK), ("all_topics", "1"), ("filter", filter)]).await;
    assert_eq!(all(&stage).await[0].filter.as_deref(), Some(filter));
}

#[tokio::test(start_paused = true)]
async fn every_message_about_headers_and_rows_are_added_without_saving() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(FORM).await;
    assert_eq!(page.text.matches("name=\"header_name\"").count(), 1);
    let typed = [("header_name", "X-One"), ("header_value", "1"), ("add_row", "config.custom_headers")];
    let more = browser.send(&page, FORM, &typed).await;
    assert_eq!(more.status, StatusCode::OK);
    assert_eq!(more.text.matches("name=\"header_name\"").count(), 2);
    more.must_have("value=\"X-One\"").must_not_have("role=\"alert\"");
    let more = browser.send(&more, FORM, &[("add_row", "1")]).await;
    assert_eq!(more.text.matches("name=\"header_name\"").count(), 3);
    assert!(all(&stage).await.is_empty());
    let big = "v".repeat(5000);
    for (rows, message) in [
        (vec![("X Foo", "1")], "‘X Foo’ is not a valid header name."),
        (vec![("Host", "x")], "‘Host’ is set by us and cannot be changed."),
        (vec![("X-Team", "a"), ("x-team", "b")], "‘x-team’ is listed twice."),
        (vec![("X-Team", "a"), ("", "b")], "Enter a name for this value"),
        (vec![("X-Team", "")], "Enter a value for ‘X-Team’."),
        (vec![("X-Team", "a\nb")], "The value of ‘X-Team’ must be one line of plain ASCII characters."),
        (vec![("X-Team", &big)], "The value of ‘X-Team’ must be at most 4096 bytes."),
        (vec![("\"><img src=x onerror=y>", "1")], "is not a valid header name."),
    ] {
        let mut fields = vec![("config.url", HOOK), ("all_topics", "1")];
        for (name, value) in &rows {
            fields.extend([("header_name", *name), ("header_value", *value)]);
        }
        let seen = fill(&mut browser, &fields).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{message}");
        seen.must_have(message).must_not_have("<img src");
    }
    let many: Vec<String> = (0..70).map(|n| format!("X-{n}")).collect();
    let mut fields = vec![("config.url", HOOK), ("all_topics", "1")];
    many.iter().for_each(|name| fields.extend([("header_name", name.as_str()), ("header_value", "1")]));
    fill(&mut browser, &fields).await.must_have("The headers must have at most 64 headers.");
    assert!(all(&stage).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_refused_when_it_is_sent_anyway() {
    // Once switched off in the engine, once in the portal alone.
    let off = Stage::new().await;
    let hidden = Stage::with(
        |outpost| outpost.tenant_filters(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| portal.destination_filter(false).webhook_custom_headers(false),
    )
    .await;
    for stage in [off, hidden] {
        let mut browser = stage.browser("acme").await;
        for (fields, message) in [
            (vec![("filter", "{\"topic\":\"x\"}")], "Filters are not offered here."),
            (vec![("header_name", "X-A"), ("header_value", "1")], "Custom headers are not offered here."),
            (vec![("timeout", "3")], "Delivery settings are not offered here."),
        ] {
            let fields: Vec<_> = fields.into_iter().chain([("config.url", HOOK), ("all_topics", "1")]).collect();
            let seen = fill(&mut browser, &fields).await;
            assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
            seen.must_have(message);
        }
        assert!(all(&stage).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_ones_own_needs_the_capability() {
    let stage = Stage::new().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let without = Capabilities::ALL.without(Capability::Secrets);
    let mut browser = stage.browser_with("acme", without).await;
    let page = browser.get(FORM).await;
    page.must_not_have("credentials.secret");
    let fields = [("config.url", HOOK), ("all_topics", "1"), ("credentials.secret", secret)];
    let seen = browser.send(&page, FORM, &fields).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    seen.must_not_have(secret);
    assert!(all(&stage).await.is_empty());
    fill(&mut browser, &fields[..2]).await;
    // They are listed by age.
    stage.pass(1).await;
    let mut browser = stage.browser("acme").await;
    fill(&mut browser, &fields).await;
    let secrets: Vec<String> =
        all(&stage).await.iter().map(|made| made.credentials.expose()["secret"].clone()).collect();
    assert!(secrets[0].starts_with("whsec_") && secrets[0] != secret);
    assert_eq!(secrets[1], secret);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_only_look_gets_no_form() {
    let stage = Stage::new().await;
    let mut browser = stage.browser_with("acme", Capabilities::NONE.with(Capability::Read)).await;
    for path in ["/destinations/new", FORM] {
        assert_eq!(browser.ask("GET", path, None).await.status, StatusCode::FORBIDDEN);
    }
    let writer = stage.browser("acme").await;
    let page = writer.clone().get(FORM).await;
    // Another session's token is worth nothing; with its own the core would refuse.
    let seen = browser.send(&page, FORM, &[("config.url", HOOK), ("all_topics", "1")]).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    assert!(all(&stage).await.is_empty());
    assert_eq!(browser.get("/destinations/new/pigeon").await.status, StatusCode::FORBIDDEN);
    assert_eq!(writer.clone().get("/destinations/new/pigeon").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_there_is_no_form() {
    let stage = Stage::with(|outpost| outpost.max_destinations(2), |webhooks| webhooks, |portal| portal).await;
    let mut browser = stage.browser("acme").await;
    stage.destination("acme", "one").await;
    let page = browser.get(FORM).await;
    stage.destination("acme", "two").await;
    let seen = browser.get(FORM).await;
    assert_eq!(seen.status, StatusCode::OK);
    seen.must_have("You have used 2 of 2 destinations.").must_not_have("name=\"config.url\"");
    let seen = browser.send(&page, FORM, &[("config.url", HOOK), ("all_topics", "1")]).await;
    assert_eq!(seen.status, StatusCode::CONFLICT);
    seen.must_have("You have used 2 of 2 destinations.");
    assert_eq!(all(&stage).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn topics_are_chosen_one_by_one_by_group_by_pattern_or_all() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(FORM).await;
    page.must_have("value=\"order.*\"").must_have("value=\"heartbeat\"").must_not_have("value=\"user.*\"");
    for (fields, expected) in [
        (vec![("topics", "order.created")], vec!["order.created"]),
        (vec![("topics", "order.*"), ("topics", "order.created")], vec!["order.*"]),
        (vec![("pattern", "*.created, us*"), ("topics", "heartbeat")], vec!["*.created", "heartbeat", "us*"]),
        (vec![("all_topics", "1"), ("topics", "heartbeat")], vec!["*"]),
        (vec![("pattern", "*")], vec!["*"]),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("config.url", HOOK)]).collect();
        fill(&mut browser, &fields).await;
        let made = all(&stage).await.pop().unwrap();
        assert_eq!(made.topics.as_slice(), expected);
        stage.outpost.destinations().delete("acme", made.id.as_str()).await.unwrap();
    }
    for (fields, message) in [
        (vec![("topics", "order.gone")], "‘order.gone’ is not a topic here. Remove it."),
        (vec![("pattern", "order.gone")], "‘order.gone’ is not a topic here. Remove it."),
        (vec![("pattern", "ordér.*")], "‘ordér.*’ cannot be a topic."),
        (vec![("topics", "<script>alert(1)</script>")], "is not a topic here."),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("config.url", HOOK)]).collect();
        let seen = fill(&mut browser, &fields).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
        seen.must_have(message).must_not_have("<script>alert");
    }
    assert!(all(&stage).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_thousand_topics_fit_on_a_page_that_is_not_too_large() {
    let topics: Vec<String> = (0..2000).map(|n| format!("group{:02}.something_{n}", n % 50)).collect();
    let many = topics.clone();
    let stage = Stage::with(move |outpost| outpost.topics(many), |webhooks| webhooks, |portal| portal).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(FORM).await;
    assert_eq!(page.text.matches("name=\"topics\"").count(), 2050);
    assert!(page.text.len() < 340_000, "{}", page.text.len());
    page.must_have("data-filter=\"#topic-list\"").must_not_have("<details class=\"group\" open");
    browser.headers = vec![("accept-encoding", "gzip".to_owned())];
    let packed = browser.get(FORM).await;
    assert!(packed.bytes.len() < 24_000, "{}", packed.bytes.len());
    browser.headers.clear();
    // More than a destination may have, one by one; as groups they are few.
    let mut fields = vec![("config.url", HOOK)];
    fields.extend(topics.iter().take(300).map(|topic| ("topics", topic.as_str())));
    let seen = browser.send(&page, FORM, &fields).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.must_have("Choose at most 256 topics");
    fields.push(("topics", "group00.*"));
    let groups: Vec<String> = (0..50).map(|n| format!("group{n:02}.*")).collect();
    fields.extend(groups.iter().map(|group| ("topics", group.as_str())));
    browser.send(&page, FORM, &fields).await;
    assert_eq!(all(&stage).await[0].topics.as_slice().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn hostile_words_stay_words() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let hostile = "\"><img src=x onerror=alert(1)><script>alert(1)</script>\u{202e}";
    let fields: Vec<(&str, &str)> = [
        "name",
        "config.url",
        "pattern",
        "topics",
        "filter",
        "timeout",
        "rate",
        "rate_per",
        "concurrency",
        "header_name",
        "header_value",
        "add_row",
    ]
    .map(|name| (name, hostile))
    .to_vec();
    for fields in [&fields[..], &fields[..fields.len() - 1]] {
        let seen = fill(&mut browser, fields).await;
        seen.must_not_have("<script>alert").must_not_have("<img src");
    }
    assert!(all(&stage).await.is_empty());
    // As a name it is kept, and shown as it is.
    fill(&mut browser, &[("name", hostile), ("config.url", HOOK), ("all_topics", "1")]).await;
    let seen = fill(&mut browser, &[("name", hostile), ("config.url", HOOK), ("all_topics", "1")]).await;
    seen.must_have("You already have a destination called").must_not_have("<img src");
    assert_eq!(all(&stage).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_types_one_is_chosen() {
    let outpost = Outpost::builder(MemoryStore::new())
        .transport(ScriptedTransport::always(ScriptedReply::ok()).kind("pigeon"))
        .transport(ScriptedTransport::always(ScriptedReply::ok()).kind("owl"))
        .tokens(TokenSettings::new(URL, SECRET))
        .start()
        .await
        .unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let language = Language::english().text("Where should your account’s events go?", "Wohin?");
    let portal =
        Portal::builder(outpost.clone()).referer_url("https://app.example/").language(language).build().unwrap();
    let link = outpost.portal_link("acme", Default::default()).await.unwrap();
    let mut browser = Browser::new(&portal);
    browser.get(&link).await;
    let page = browser.get("/destinations/new").await;
    assert_eq!(page.status, StatusCode::OK);
    page.must_have("href=\"/webhooks/destinations/new/pigeon\"").must_have("/destinations/new/owl").must_have("Wohin?");
    let form = browser.get("/destinations/new/owl").await;
    // No topics are listed, so any may be named.
    form.must_have("<textarea").must_have("One topic in a line.");
    let to = "/destinations/new/owl";
    let mut fields: Vec<(&str, &str)> = vec![("topics", "a.b\r\nc.*\n\n a.b ")];
    let names: Vec<String> =
        form.form(to).into_iter().map(|(name, _)| name).filter(|name| name.starts_with("config.")).collect();
    fields.extend(names.iter().map(|name| (name.as_str(), "https://owl.example/")));
    browser.send(&form, to, &fields).await;
    let made = outpost.destinations().list("acme").await.unwrap();
    assert_eq!((made.len(), made[0].kind.as_str()), (1, "owl"));
    assert_eq!(made[0].topics.as_slice(), ["a.b", "c.*"]);
}
