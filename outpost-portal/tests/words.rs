//! Every word of every page comes from the language: with each text in brackets, nothing but data stands outside.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use std::collections::BTreeSet;

use outpost_core::{Capabilities, Capability, ScriptedReply};
use outpost_portal::Language;

use self::routes::{doors, furnish};
use self::support::{Browser, Seen, Stage};

/// What may stand outside: what the test itself named things, units, and names of things that have no other.
const DATA: &[&str] = &[
    "acme",
    "shop",
    "empty",
    "globex",
    "evt",
    "order",
    "created",
    "updated",
    "refunded",
    "user",
    "heartbeat",
    "example",
    "hook",
    "https",
    "UTC",
    "min",
    "ms",
    "sec",
    "KiB",
    "MiB",
    "CSV",
    "NDJSON",
    "JSON",
    "URL",
    "webhook",
    "Europe",
    "Berlin",
    "Node",
    "js",
    "Python",
    "Go",
    "Shell",
    "xx",
    "because",
    "day",
    "days",
    "Apr",
    "May",
    "Jun",
    // The label of the type, which not all pages look up.
    "Webhook",
];
/// Attributes that are read out or shown.
const SPOKEN: &[&str] = &["aria-label", "title", "placeholder", "alt", "data-done", "data-live-text", "label"];
/// Elements whose text is data or code.
const SILENT: &[&str] = &["script", "pre", "code", "time", "textarea"];

/// What of a text stands outside of brackets and is a word that is not data. `depth`: in how many it begins.
fn outside(text: &str, depth: &mut u32) -> Option<String> {
    let mut left = String::new();
    for letter in text.replace("&amp;", "&").replace("&quot;", "\"").chars() {
        match letter {
            '⟦' => *depth += 1,
            '⟧' => *depth = depth.saturating_sub(1),
            _ if *depth == 0 => left.push(letter),
            _ => {}
        }
    }
    let words = left.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() > 1);
    let bad = words.filter(|word| !DATA.contains(word)).count() > 0;
    bad.then(|| left.trim().to_owned())
}

/// The texts and the spoken attributes of a page that are not in brackets.
fn untranslated(page: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    let mut silent: Option<String> = None;
    // A text may be laid out as several elements.
    let mut depth = 0;
    for part in page.text.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        for attribute in SPOKEN {
            let value = tag.split_once(&format!(" {attribute}=\"")).and_then(|(_, rest)| rest.split('"').next());
            // A time's title is the time.
            if let Some(bad) = value.filter(|_| name != "time").and_then(|text| outside(text, &mut 0)) {
                found.push(format!("<{name} {attribute}>: {bad}"));
            }
        }
        // Monospace is for ids, topics and addresses.
        let data = tag.contains("mono") || tag.contains("class=\"target\"");
        if silent.is_none() && (SILENT.contains(&name) || (data && !name.starts_with('/'))) {
            silent = Some(name.to_owned());
        } else if silent.as_deref().is_some_and(|open| name.strip_prefix('/') == Some(open)) {
            silent = None;
        }
        let bad = outside(text, &mut depth);
        if silent.is_none() {
            found.extend(bad.map(|bad| format!("<{name}>: {bad}")));
        }
    }
    assert_eq!(depth, 0, "a text does not end at {}", page.at);
    found
}

#[derive(Default)]
struct Looked {
    pages: usize,
    bad: BTreeSet<String>,
}

impl Looked {
    fn at(&mut self, seen: &Seen) {
        if seen.header("content-type").starts_with("text/html") {
            self.pages += 1;
            let shown = |bad| format!("{} ({}): {bad}", seen.at, seen.status.as_u16());
            self.bad.extend(untranslated(seen).into_iter().map(shown));
        }
    }

    async fn get(&mut self, browser: &mut Browser, path: &str) -> Seen {
        let seen = browser.ask("GET", path, None).await;
        self.at(&seen);
        seen
    }

    /// Sends the form of a page with changes, and looks at what comes of it, a redirect's page included.
    async fn send(&mut self, browser: &mut Browser, page: &str, action: &str, changes: &[(&str, &str)]) {
        let page = browser.get(page).await;
        let seen = browser.send(&page, action, changes).await;
        self.at(&seen);
    }
}

async fn stage() -> Stage {
    let brackets = Language::english().every(|text| format!("⟦{text}⟧"));
    Stage::with(
        |engine| engine.tenant_filters(true).tenant_delivery_settings(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| portal.language(brackets).organization_name("shop"),
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn every_text_of_every_page_can_be_translated() {
    let stage = stage().await;
    let ids = furnish(&stage, "acme").await;
    stage.destination("acme", "shop").await;
    stage.transport.answer(|target, _| match target.display() {
        "https://shop.example/hook" => ScriptedReply::error(outpost_core::ErrorClass::Timeout),
        _ => ScriptedReply::status(404),
    });
    for n in 0..30 {
        stage.publish("acme", &format!("evt_{n}"), "order.updated", "{\"n\":[1,{}]}").await;
    }
    stage.pass(3 * 3600).await;
    stage.transport.answer(|_, _| ScriptedReply::ok().body("{}"));
    stage.publish("acme", "evt_fine", "order.created", "{}").await;
    stage.pass(60).await;
    let mut looked = Looked::default();
    let read = Capabilities::NONE.with(Capability::Read);
    for capabilities in [Capabilities::ALL, read, Capabilities::ALL.without(Capability::Secrets), read] {
        let mut browser = stage.browser_with("acme", capabilities).await;
        for door in doors() {
            for ids in [ids.refs(), ["shop", "evt_fine", "none"], ["none", "none", "none"]] {
                looked.get(&mut browser, &door.path(ids)).await;
            }
        }
        let lists = ["status=failed", "status=nonsense&code=x", "topic=user.created", "live=1&code=404", "id=evt_1"];
        for query in lists.iter().chain(&["from=x&until=2020-01-01T00:00", "status=unmatched", "range=24h&code=5xx"]) {
            looked.get(&mut browser, &format!("/activity?{query}")).await;
            looked.get(&mut browser, &format!("/destinations/shop/deliveries?{query}")).await;
        }
        for path in ["/?q=nothing", "/?status=disabled&sort=name", "/find?q=nothing", "/find?q=evt_fine", "/nothing"] {
            looked.get(&mut browser, path).await;
        }
        for range in ["1h", "24h", "7d", "30d", "x"] {
            looked.get(&mut browser, &format!("/destinations/shop?range={range}")).await;
        }
        stage.outpost.destinations().disable("acme", "shop", "because").await.unwrap();
        for path in ["", "/deliveries", "/settings", "/replay", "/deliveries/evt_fine", "/enable", "/test", "/disable"]
        {
            looked.get(&mut browser, &format!("/destinations/shop{path}")).await;
        }
        looked.get(&mut browser, "/").await;
        stage.outpost.destinations().enable("acme", "shop").await.unwrap();
    }
    assert!(looked.pages > 300, "{}", looked.pages);
    assert!(looked.bad.is_empty(), "{:#?}", looked.bad);
}

#[tokio::test(start_paused = true)]
async fn every_message_of_every_form_can_be_translated() {
    let stage = stage().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let one = "/destinations/acme-shop";
    let mut looked = Looked::default();
    let bad = [
        ("name", ""),
        ("config.url", "http://user:x@"),
        ("topics", "order!"),
        ("filter", "{\"data\":{\"a\":{\"$gtt\":1}}}"),
        ("header_name", "Host"),
        ("header_value", ""),
        ("rate", "x"),
        ("timeout", "x"),
        ("what", ""),
        ("from", "x"),
        ("until", "y"),
        ("grace", "x"),
        ("confirm", "x"),
        ("zone", "Nowhere"),
        ("headers", "x"),
        ("body", "x"),
        ("data", "{"),
        ("topic", "x y"),
    ];
    let pages = [
        ("/destinations/new/webhook".to_owned(), "/new/webhook".to_owned()),
        ("/preferences".to_owned(), "/preferences".to_owned()),
    ];
    let own = ["replay", "test", "delete"].map(|page| (format!("{one}/{page}"), format!("/acme-shop/{page}")));
    for (page, form) in pages.into_iter().chain(own) {
        let seen = browser.get(&page).await;
        let mut fields = seen.form(&form);
        for skip in 0..=bad.len() {
            let changed = bad.iter().enumerate().filter(|(at, _)| skip == bad.len() || *at == skip).map(|(_, bad)| bad);
            for (name, value) in changed.filter(|(name, _)| *name != "confirm") {
                fields.retain(|(known, _)| known != name);
                fields.push(((*name).to_owned(), (*value).to_owned()));
            }
            let seen = browser.ask("POST", &page, Some(&fields)).await;
            looked.at(&seen);
        }
    }
    for part in ["general", "topics", "endpoint", "headers", "filter", "delivery"] {
        let page = format!("{one}/settings");
        looked.send(&mut browser, &page, &format!("{page}#{part}"), &bad).await;
        looked.send(&mut browser, &page, &format!("{page}#{part}"), &[("revision", "0"), ("name", "globex")]).await;
    }
    for (page, action) in [
        ("secret", "secret/reveal"),
        ("secret", "secret/rotate"),
        ("secret", "secret/check#check"),
        ("replay", "replay"),
        ("test", "test"),
        ("deliveries", "retry"),
        ("deliveries/evt_acme", "deliveries/evt_acme/retry"),
        ("deliveries/evt_acme", "deliveries/evt_acme/cancel"),
        ("disable", "disable"),
        ("enable", "enable"),
        ("delete", "delete"),
    ] {
        looked.send(&mut browser, &format!("{one}/{page}"), &format!("{one}/{action}"), &[]).await;
    }
    looked.at(&browser.ask("POST", "/preferences", Some(&[])).await);
    looked.at(&browser.ask("DELETE", "/preferences", None).await);
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let body = "&".repeat((1 << 20) + 1);
        looked.at(&browser.raw("POST", "/webhooks/preferences", &[("content-type", kind)], body).await);
    }
    let link = stage.outpost.portal_link("globex", Default::default()).await.unwrap();
    looked.get(&mut browser, &link).await;
    let mut nobody = Browser::new(&stage.portal);
    nobody.get(&link).await;
    let mut nobody = Browser::new(&stage.portal);
    for path in [&link, "/signed-out", "/expired", "/?entered=1", "/enter"] {
        looked.get(&mut nobody, path).await;
    }
    looked.at(&nobody.ask("POST", "/preferences", Some(&[])).await);
    for operation in [outpost_core::Operation::Scan, outpost_core::Operation::Rollups] {
        let fault = outpost_core::Fault::Before(outpost_core::StoreErrorKind::Busy);
        stage.faults.inject(operation, fault, outpost_core::Times::UntilCleared);
        for path in ["/", "/activity", "/find?q=x"] {
            looked.get(&mut browser, path).await;
        }
        stage.faults.clear(operation);
    }
    assert!(looked.pages > 100, "{}", looked.pages);
    assert!(looked.bad.is_empty(), "{:#?}", looked.bad);
}

#[tokio::test(start_paused = true)]
async fn this_test_sees_what_is_not_translated() {
    let stage = Stage::new().await;
    let page = stage.browser("acme").await.get("/").await;
    let found = untranslated(&page);
    for bad in ["<h1>: Destinations", "<a>: Activity", "<nav aria-label>: Main", "<input placeholder>: Find by ID"] {
        assert!(found.iter().any(|found| found == bad), "{bad} in {found:#?}");
    }
}
