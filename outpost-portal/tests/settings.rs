//! Changing destinations: each part by itself, nothing overwritten unseen, nothing wiped by the way.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use http::StatusCode;
use outpost_core::{
    Capabilities, Capability, DeliverySettings, Destination, DestinationId, DestinationPatch, MemoryStore,
    NewDestination, Outpost, RateLimit, RetryPolicy, Schedule, ScriptedReply, ScriptedTransport, TokenSettings, Topics,
};
use outpost_portal::Portal;

use self::support::{Browser, SECRET, Seen, Stage, URL};

const PAGE: &str = "/destinations/hooks/settings";
const FILTER: &str = "{\"data\": {\"amount\": {\"$gte\": 100}}}";

fn part(name: &str) -> String {
    format!("{PAGE}#{name}")
}

async fn open_stage() -> Stage {
    let stage = Stage::with(
        |outpost| outpost.tenant_filters(true).tenant_delivery_settings(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| portal,
    )
    .await;
    equip(&stage).await;
    stage
}

fn retry() -> RetryPolicy {
    RetryPolicy::new(Schedule::Explicit(vec![Duration::from_secs(60); 2])).unwrap()
}

/// A destination that has everything there is.
async fn equip(stage: &Stage) {
    let settings = DeliverySettings {
        timeout: Some(Duration::from_millis(2500)),
        concurrency: Some(3),
        rate_limit: Some(RateLimit { events: 7, per: Duration::from_secs(10) }),
        retry: Some(retry()),
    };
    let new = NewDestination::webhook("https://hooks.example/in")
        .id(DestinationId::new("hooks").unwrap())
        .name("Billing")
        .topics(Topics::new(["order.created", "old.topic", "*.refunded"]).unwrap())
        .filter(FILTER)
        .settings(settings)
        .config("custom_headers", "{\"X-Team\":\"blue-canary\",\"X-Zone\":\"eu-canary\"}");
    stage.outpost.destinations().create("acme", new).await.unwrap();
}

async fn now(stage: &Stage) -> Destination {
    stage.outpost.destinations().get("acme", "hooks").await.unwrap()
}

/// Fills one part's form in and sends it.
async fn save(browser: &mut Browser, name: &str, fields: &[(&str, &str)]) -> Seen {
    let page = browser.get(PAGE).await;
    browser.send(&page, &part(name), fields).await
}

/// Asserts that nothing of a destination differs but what `except` puts right.
#[track_caller]
fn same_but(before: &Destination, after: &Destination, except: impl FnOnce(&mut Destination)) {
    let mut expected = before.clone();
    expected.revision = after.revision;
    expected.updated_at = after.updated_at;
    except(&mut expected);
    assert!(expected == *after, "{expected:?}\n{after:?}\n{:?}\n{:?}", expected.config, after.config);
}

#[tokio::test(start_paused = true)]
async fn the_page_shows_everything_but_what_is_secret() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in [
        "value=\"Billing\"",
        "value=\"https://hooks.example/in\"",
        "value=\"order.created\" checked",
        "old.topic <span class=\"tag\">not a topic any more",
        "value=\"*.refunded\"",
        "value=\"X-Team\"",
        "placeholder=\"kept as it is\"",
        "&quot;$gte&quot;",
        "value=\"2.5\"",
        "value=\"10000\" selected",
        "/destinations/hooks/disable",
        "/destinations/hooks/delete",
    ] {
        page.must_have(text);
    }
    page.must_not_have("canary").must_not_have("whsec_");
    assert_eq!(page.text.matches("<h1").count(), 1);
    let mut ids: Vec<&str> = page.text.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn saving_a_part_changes_that_part_and_nothing_else() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let before = now(&stage).await;
    // Each part as it is.
    for name in ["general", "topics", "endpoint", "headers", "filter", "delivery"] {
        let seen = save(&mut browser, name, &[]).await;
        assert_eq!(seen.status, StatusCode::OK, "{name}: {}", seen.text);
        same_but(&before, &now(&stage).await, |_| {});
    }
    save(&mut browser, "general", &[("name", "  ")]).await.must_have("The name is saved.");
    let after = now(&stage).await;
    same_but(&before, &after, |all| all.name = None);
    save(&mut browser, "topics", &[("topics", "user.created"), ("pattern", "")])
        .await
        .must_have("The topics are saved.");
    let last = now(&stage).await;
    same_but(&after, &last, |all| all.topics = Topics::new(["user.created"]).unwrap());
    save(&mut browser, "endpoint", &[("config.url", "https://other.example/x")])
        .await
        .must_have("The endpoint is saved.");
    let moved = now(&stage).await;
    same_but(&last, &moved, |all| {
        all.config.insert("url".to_owned(), "https://other.example/x".to_owned());
        all.target = "https://other.example/x".to_owned();
    });
    save(&mut browser, "filter", &[("filter", "{\"topic\":\"a\"}")]).await.must_have("The filter is saved.");
    let filtered = now(&stage).await;
    same_but(&moved, &filtered, |all| all.filter = Some("{\"topic\":\"a\"}".to_owned()));
    save(&mut browser, "filter", &[("remove", "1")]).await;
    same_but(&filtered, &now(&stage).await, |all| all.filter = None);
    let fields = [("timeout", ""), ("rate", "5"), ("rate_per", "3600000"), ("concurrency", "")];
    save(&mut browser, "delivery", &fields).await.must_have("The delivery settings are saved.");
    let rate_limit = Some(RateLimit { events: 5, per: Duration::from_secs(3600) });
    let settings = DeliverySettings { rate_limit, retry: Some(retry()), ..DeliverySettings::default() };
    assert_eq!(now(&stage).await.settings, settings);
}

#[tokio::test(start_paused = true)]
async fn headers_keep_their_values_unless_they_are_typed_again() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let headers = |destination: &Destination| destination.config.get("custom_headers").cloned().unwrap_or_default();
    // One kept, one changed, one new.
    let rows = [
        ("header_name", "X-Team"),
        ("header_value", ""),
        ("header_name", "X-Zone"),
        ("header_value", "us"),
        ("header_name", "X-New"),
        ("header_value", "1"),
    ];
    save(&mut browser, "headers", &rows).await.must_have("The headers are saved.");
    let set = headers(&now(&stage).await);
    assert_eq!(set, "{\"X-New\":\"1\",\"X-Team\":\"blue-canary\",\"X-Zone\":\"us\"}");
    let seen = save(&mut browser, "headers", &[("header_name", "X-Other"), ("header_value", "")]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.must_have("Enter a value for ‘X-Other’.").must_not_have("canary");
    // A row more saves nothing and loses nothing.
    let page = browser.get(PAGE).await;
    let fields = page.text.matches("name=\"header_name\"").count();
    let more = browser.send(&page, &part("headers"), &[("add_row", "config.custom_headers")]).await;
    assert_eq!(more.status, StatusCode::OK);
    assert_eq!(more.text.matches("name=\"header_name\"").count(), fields + 1);
    more.must_have("placeholder=\"kept as it is\"").must_not_have("canary");
    assert_eq!(headers(&now(&stage).await), set);
    // A form without the rows says nothing about them.
    let form: Vec<(String, String)> =
        page.form(&part("headers")).into_iter().filter(|(name, _)| !name.starts_with("header_")).collect();
    browser.ask("POST", PAGE, Some(&form)).await;
    assert_eq!(headers(&now(&stage).await), set);
    // Emptied names remove.
    let rows = [("header_name", "X-Team"), ("header_value", ""), ("header_name", ""), ("header_value", "")];
    save(&mut browser, "headers", &rows).await;
    assert_eq!(headers(&now(&stage).await), "{\"X-Team\":\"blue-canary\"}");
    save(&mut browser, "headers", &[("header_name", ""), ("header_value", "")]).await;
    assert_eq!(headers(&now(&stage).await), "");
}

#[tokio::test(start_paused = true)]
async fn without_the_capability_for_secrets_headers_are_replaced_as_a_whole_and_the_origin_stays() {
    let stage = open_stage().await;
    let mut browser = stage.browser_with("acme", Capabilities::ALL.without(Capability::Secrets)).await;
    let before = now(&stage).await;
    let page = browser.get(PAGE).await;
    page.must_have("Some are set.").must_not_have("X-Team").must_not_have("canary");
    save(&mut browser, "headers", &[]).await;
    same_but(&before, &now(&stage).await, |_| {});
    let seen = save(&mut browser, "headers", &[("header_name", "X-A"), ("header_value", "1")]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.must_have("Tick “Replace all” to save these");
    // The path may change, the origin may not, and the page says why.
    save(&mut browser, "endpoint", &[("config.url", "https://hooks.example/new")])
        .await
        .must_have("The endpoint is saved.");
    let seen = save(&mut browser, "endpoint", &[("config.url", "https://evil.example/in")]).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    seen.must_have("needs somebody who may see secrets").must_have("value=\"https://evil.example/in\"");
    let after = now(&stage).await;
    assert_eq!(after.config["url"], "https://hooks.example/new");
    assert_eq!(after.config["custom_headers"], before.config["custom_headers"]);
    let rows = [("header_name", "X-A"), ("header_value", "1"), ("replace", "config.custom_headers")];
    save(&mut browser, "headers", &rows).await.must_have("The headers are saved.");
    assert_eq!(now(&stage).await.config["custom_headers"], "{\"X-A\":\"1\"}");
}

#[tokio::test(start_paused = true)]
async fn a_change_in_between_is_shown_and_never_overwritten() {
    let stage = open_stage().await;
    let (mut one, mut two) = (stage.browser("acme").await, stage.browser("acme").await);
    for (name, theirs, mine, expected) in [
        ("general", vec![("name", "Theirs")], vec![("name", "Mine & <b>")], ("Theirs", "Mine &amp; &lt;b&gt;")),
        (
            "topics",
            vec![("topics", "heartbeat"), ("pattern", "")],
            vec![("topics", "user.created"), ("pattern", "")],
            ("heartbeat", "user.created"),
        ),
        (
            "endpoint",
            vec![("config.url", "https://theirs.example/")],
            vec![("config.url", "https://mine.example/")],
            ("https://theirs.example/", "https://mine.example/"),
        ),
        (
            "headers",
            vec![("header_name", "X-Theirs"), ("header_value", "canary")],
            vec![("header_name", "X-Mine"), ("header_value", "2")],
            ("X-Theirs", "X-Mine"),
        ),
        (
            "filter",
            vec![("filter", "{\"topic\":\"theirs\"}")],
            vec![("filter", "{\"topic\":\"mine\"}")],
            ("{&quot;topic&quot;:&quot;theirs&quot;}", "{&quot;topic&quot;:&quot;mine&quot;}"),
        ),
        ("delivery", vec![("concurrency", "11")], vec![("concurrency", "12")], ("<dd>11</dd>", "<dd>12</dd>")),
    ] {
        let page = one.get(PAGE).await;
        let seen = save(&mut two, name, &theirs).await;
        assert_eq!(seen.status, StatusCode::OK, "{name}: {}", seen.text);
        let before = now(&stage).await;
        let seen = one.send(&page, &part(name), &mine).await;
        assert_eq!(seen.status, StatusCode::CONFLICT, "{name}");
        seen.must_have("It is now:").must_have("You typed:").must_have(expected.0).must_have(expected.1);
        seen.must_have("Someone changed this destination at").must_not_have("canary");
        assert!(now(&stage).await == before, "{name}");
        // Sent again, knowing, it is saved.
        let fields: Vec<(&str, &str)> = mine.into_iter().filter(|(field, _)| *field != "topics").collect();
        let seen = one.send(&seen, &part(name), if name == "topics" { &[] } else { &fields }).await;
        assert_eq!(seen.status, StatusCode::OK, "{name}: {}", seen.text);
        seen.must_have("saved");
        assert!(now(&stage).await != before, "{name}");
    }
    // A form that does not say what it has seen has seen nothing.
    for revision in ["", "x", "-5", "99999999999999999999"] {
        let page = one.get(PAGE).await;
        let seen = one.send(&page, &part("general"), &[("revision", revision), ("name", "No")]).await;
        assert_eq!(seen.status, StatusCode::CONFLICT, "{revision}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_form_twice_is_no_conflict() {
    let stage = open_stage().await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(PAGE).await;
    browser.send(&page, &part("general"), &[("name", "Once")]).await.must_have("The name is saved.");
    let seen = browser.send(&page, &part("general"), &[("name", "Once")]).await;
    seen.must_have("This form was sent twice. Below is what is saved.").must_have("value=\"Once\"");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said_in_its_part_and_what_was_typed_is_kept() {
    let stage = open_stage().await;
    stage.destination("acme", "Other").await;
    let mut browser = stage.browser("acme").await;
    let before = now(&stage).await;
    for (name, fields, message, kept) in [
        ("general", vec![("name", "OTHER")], "You already have a destination called ‘Other’.", "value=\"OTHER\""),
        (
            "topics",
            vec![("topics", "user.gone"), ("pattern", "")],
            "‘user.gone’ is not a topic here.",
            "value=\"user.gone\" checked",
        ),
        ("topics", vec![("topics", ""), ("pattern", "")], "Choose at least one topic, or choose all topics.", ""),
        ("endpoint", vec![("config.url", "")], "Enter the URL that should receive events.", ""),
        (
            "endpoint",
            vec![("config.url", "https://refused.example/")],
            "We cannot send to this address",
            "value=\"https://refused.example/\"",
        ),
        ("headers", vec![("header_name", "Host"), ("header_value", "x")], "‘Host’ is set by us", "value=\"Host\""),
        (
            "filter",
            vec![("filter", "{\"data\": {\"a\": }}")],
            "Line 1, column 16: a value is expected here.",
            "{&quot;data&quot;: {&quot;a&quot;: }}",
        ),
        ("delivery", vec![("timeout", "9999")], "Enter a number of seconds from 0.1 to", "value=\"9999\""),
        ("delivery", vec![("rate", "many")], "Enter a whole number from 1 to 1,000,000", "value=\"many\""),
        ("delivery", vec![("rate_per", "0")], "Choose one of these times.", ""),
        ("delivery", vec![("concurrency", "0")], "Enter a whole number from 1 upwards", ""),
    ] {
        let seen = save(&mut browser, name, &fields).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{message}");
        seen.must_have(message).must_have(kept).must_have("role=\"alert\"").must_have("<title>Error: ");
        assert!(now(&stage).await == before, "{message}");
    }
    // Its own name is no other's; a topic that it has had stays possible.
    save(&mut browser, "general", &[("name", "bILLING")]).await.must_have("The name is saved.");
    save(&mut browser, "topics", &[("topics", "old.topic")]).await.must_have("The topics are saved.");
    let seen = save(&mut browser, "general", &[("section", "nonsense")]).await;
    assert_eq!(seen.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_filter_is_tried_without_being_saved() {
    let stage = open_stage().await;
    stage.publish("acme", "evt_small", "order.created", "{\"amount\": 5, \"who\": \"<script>x\"}").await;
    stage.publish("globex", "evt_theirs", "order.created", "{\"amount\": 500}").await;
    let mut browser = stage.browser("acme").await;
    let before = now(&stage).await;
    let tried = |fields: &[(&'static str, &'static str)]| {
        let mut all = vec![("try", "1")];
        all.extend_from_slice(fields);
        all
    };
    for (fields, message) in [
        (tried(&[("sample", "{\"amount\": 100}")]), "This event fits the filter"),
        (tried(&[("sample", "{\"amount\": 99}")]), "data.amount is 99, which is not at least 100"),
        (tried(&[("event_id", "evt_small")]), "data.amount is 5, which is not at least 100"),
        (tried(&[("sample", "{}"), ("filter", "{\"topic\":\"a.b\"}"), ("sample_topic", "a.b")]), "This event fits"),
        (tried(&[("sample", "{}"), ("filter", "")]), "This event fits"),
        (tried(&[("event_id", "evt_small"), ("filter", "{\"data\":{\"who\":\"x\"}}")]), "&lt;script&gt;x"),
    ] {
        let seen = save(&mut browser, "filter", &fields).await;
        assert_eq!(seen.status, StatusCode::OK, "{message}");
        seen.must_have(message).must_not_have("<script>x").must_have("<details class=\"more\" open>");
    }
    for (fields, message) in [
        (tried(&[]), "Give the ID of an event, or paste an event’s data."),
        (tried(&[("event_id", "evt_theirs")]), "There is no event with this ID."),
        (tried(&[("event_id", "\"><img src=x>")]), "There is no event with this ID."),
        (tried(&[("sample", "{\"a\":")]), "Line 1, column 5: the text ends too soon."),
        (tried(&[("sample", "[1]")]), "The data of an event is a JSON object."),
        (tried(&[("sample", "{}"), ("filter", "{\"data\":{\"a\":{\"$gtr\":1}}}")]), "Did you mean $gt?"),
    ] {
        let seen = save(&mut browser, "filter", &fields).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{message}");
        seen.must_have(message).must_not_have("<img src");
    }
    assert!(now(&stage).await == before);
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_is_hidden_refused_and_never_wiped() {
    // Nothing set at all, and switched off in the portal alone.
    let off = Stage::new().await;
    let hidden = Stage::with(
        |outpost| outpost.tenant_filters(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| portal.destination_filter(false).webhook_custom_headers(false),
    )
    .await;
    for stage in [off, hidden] {
        equip(&stage).await;
        let mut browser = stage.browser("acme").await;
        let before = now(&stage).await;
        let page = browser.get(PAGE).await;
        page.must_not_have("header_name").must_not_have("id=\"f-filter\"").must_not_have("name=\"timeout\"");
        let hidden = [
            (
                "headers",
                vec![("header_name", ""), ("header_value", ""), ("header_name.rows", "1")],
                "Custom headers are not offered here.",
            ),
            ("headers", vec![("header_name", "X-A"), ("header_value", "1")], "Custom headers are not offered here."),
            ("filter", vec![("filter", "{}")], "Filters are not offered here."),
            ("filter", vec![("remove", "1")], "Filters are not offered here."),
            ("filter", vec![("try", "1"), ("sample", "{}")], "Filters are not offered here."),
            (
                "delivery",
                vec![("timeout", "1"), ("rate", ""), ("concurrency", "")],
                "Delivery settings are not offered here.",
            ),
        ];
        for (name, fields, message) in hidden {
            let fields: Vec<_> = fields.into_iter().chain([("section", name)]).collect();
            let seen = browser.send(&page, &part("general"), &fields).await;
            assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
            seen.must_have(message);
        }
        assert!(now(&stage).await == before);
        save(&mut browser, "general", &[("name", "New"), ("filter", ""), ("timeout", ""), ("header_name", "")]).await;
        save(&mut browser, "topics", &[("all_topics", "1")]).await;
        save(&mut browser, "endpoint", &[("config.url", "https://new.example/"), ("config.custom_headers", "")]).await;
        same_but(&before, &now(&stage).await, |all| {
            all.name = Some("New".to_owned());
            all.topics = Topics::all();
            all.config.insert("url".to_owned(), "https://new.example/".to_owned());
            all.target = "https://new.example/".to_owned();
        });
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_may_only_look_sees_values_and_no_forms() {
    let stage = open_stage().await;
    let mut browser = stage.browser_with("acme", Capabilities::NONE.with(Capability::Read)).await;
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in
        ["<dd>Billing</dd>", "<dd>https://hooks.example/in</dd>", "set, not shown", "order.created, old.topic", "2.5 s"]
    {
        page.must_have(text);
    }
    page.must_not_have("name=\"section\"").must_not_have("/delete").must_not_have("canary");
    let before = now(&stage).await;
    let form = page.form("/logout").into_iter().chain([("section".to_owned(), "general".to_owned())]);
    let form: Vec<(String, String)> = form.chain([("name".to_owned(), "No".to_owned())]).collect();
    assert_eq!(browser.ask("POST", PAGE, Some(&form)).await.status, StatusCode::FORBIDDEN);
    assert!(now(&stage).await == before);
    // With the secrets but not the right to change, still no secret and no password.
    let mut browser =
        stage.browser_with("acme", Capabilities::NONE.with(Capability::Read).with(Capability::Secrets)).await;
    browser.get(PAGE).await.must_not_have("canary").must_have("X-Team, X-Zone");
}

#[tokio::test(start_paused = true)]
async fn anothers_destination_does_not_exist() {
    let stage = open_stage().await;
    let mut browser = stage.browser("globex").await;
    let theirs = browser.get(PAGE).await;
    let none = browser.get("/destinations/nothing/settings").await;
    assert_eq!((theirs.status, none.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    theirs.must_have("There is nothing here, or it is not yours.").must_not_have("Billing");
    let before = now(&stage).await;
    let page = browser.get("/").await;
    let mut form = page.form("/logout");
    form.extend(
        [("section", "general"), ("name", "Mine"), ("revision", "1")].map(|(a, b)| (a.to_owned(), b.to_owned())),
    );
    let theirs = browser.ask("POST", PAGE, Some(&form)).await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    assert!(now(&stage).await == before);
}

#[tokio::test(start_paused = true)]
async fn hostile_names_and_values_of_an_api_call_stay_words() {
    let stage = open_stage().await;
    let hostile = "\"><img src=x onerror=alert(1)><script>alert(1)</script>\u{202e}";
    let patch = DestinationPatch {
        name: Some(Some(hostile.to_owned())),
        filter: Some(Some(format!("{{\"data\":{{\"a\":{}}}}}", serde_json::to_string(hostile).unwrap()))),
        ..Default::default()
    };
    stage.outpost.destinations().update("acme", "hooks", patch).await.unwrap();
    for capabilities in [Capabilities::ALL, Capabilities::NONE.with(Capability::Read)] {
        let mut browser = stage.browser_with("acme", capabilities).await;
        let page = browser.get(PAGE).await;
        assert_eq!(page.status, StatusCode::OK);
        page.must_not_have("<img src").must_not_have("<script>alert");
    }
    let mut browser = stage.browser("acme").await;
    for name in ["general", "topics", "endpoint", "headers", "filter", "delivery"] {
        let fields: Vec<(&str, &str)> = [
            "name",
            "topics",
            "pattern",
            "config.url",
            "header_name",
            "header_value",
            "filter",
            "timeout",
            "rate",
            "rate_per",
        ]
        .map(|field| (field, hostile))
        .to_vec();
        let seen = save(&mut browser, name, &fields).await;
        seen.must_not_have("<img src").must_not_have("<script>alert");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_whose_type_is_gone_keeps_its_page() {
    let store = MemoryStore::new();
    let start = async |kind: &'static str| {
        let transport = ScriptedTransport::always(ScriptedReply::ok()).kind(kind);
        let tokens = TokenSettings::new(URL, SECRET);
        Outpost::builder(store.clone()).transport(transport).tokens(tokens).start().await.unwrap()
    };
    let old = start("pigeon").await;
    old.tenants().put("acme", None).await.unwrap();
    let new = NewDestination { kind: "pigeon".to_owned(), ..NewDestination::webhook("https://loft.example/") };
    old.destinations().create("acme", new.id(DestinationId::new("hooks").unwrap())).await.unwrap();
    let outpost = start("owl").await;
    let portal = Portal::builder(outpost.clone()).referer_url("https://app.example/").build().unwrap();
    let mut browser = Browser::new(&portal);
    browser.get(&outpost.portal_link("acme", Default::default()).await.unwrap()).await;
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    page.must_have("<dd>pigeon</dd>").must_have("Destinations of this type are not offered any more.");
    page.must_not_have("name=\"config.url\"");
    let forged = [("section", "endpoint"), ("config.url", "https://evil.example/")];
    let seen = browser.send(&page, &part("general"), &forged).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    browser.send(&page, &part("general"), &[("name", "Old friend")]).await.must_have("The name is saved.");
    let kept = outpost.destinations().get("acme", "hooks").await.unwrap();
    assert_eq!(kept.name.as_deref(), Some("Old friend"));
    assert_eq!(kept.target, "https://loft.example/");
}
