//! The headers of every kind of answer.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use std::io::Read as _;

use http::request::Parts;
use outpost_core::{Capabilities, Fault, Operation, StoreErrorKind, Times};
use outpost_portal::{Authenticator, Principal, async_trait};

use self::routes::{doors, furnish};
use self::support::{Browser, Seen, Stage};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What every answer has, whatever it is.
#[track_caller]
fn guarded(what: &str, seen: &Seen) {
    let referrer = seen.header("referrer-policy");
    assert!(["same-origin", "no-referrer"].contains(&referrer), "{what}: {referrer}");
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
        ("x-robots-tag", "noindex"),
    ] {
        let found: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(found, [value], "{name} of {what}");
    }
    for name in ["server", "x-powered-by", "access-control-allow-origin"] {
        assert!(!seen.headers.contains_key(name), "{name} of {what}");
    }
    if !seen.bytes.is_empty() && seen.headers.contains_key("content-length") {
        assert_eq!(seen.header("content-length"), seen.bytes.len().to_string(), "{what}");
    }
}

/// A page: never kept by anybody, and HTML.
#[track_caller]
fn page(what: &str, seen: &Seen, status: u16) {
    assert_eq!(seen.status, status, "{what}: {}", seen.text);
    guarded(what, seen);
    assert_eq!(seen.header("cache-control"), "no-store", "{what}");
    if status != 303 {
        assert_eq!(seen.header("content-type"), "text/html; charset=utf-8", "{what}");
        for inline in
            [" style=", "<style", " onclick=", " onload=", "javascript:", "<script>", "http-equiv=\"Content-S"]
        {
            seen.must_not_have(inline);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_page_and_every_refusal_is_guarded() {
    let stage = Stage::new().await;
    let ids = furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    for door in doors().iter().filter(|door| door.get.is_some() && !door.pattern.starts_with("assets")) {
        let seen = browser.ask("GET", &door.path(ids.refs()), None).await;
        guarded(door.pattern, &seen);
        assert_eq!(seen.header("cache-control"), "no-store", "{}", door.pattern);
        if !seen.headers.contains_key("content-disposition") {
            page(door.pattern, &seen, seen.status.as_u16());
        }
    }
    page("nothing there", &browser.ask("GET", "/nothing", None).await, 404);
    page("outside of the mount", &browser.raw("GET", "/webhookz/%ff", &[], "").await, 404);
    page("a method", &browser.ask("DELETE", "/", None).await, 405);
    page("no token", &browser.ask("POST", "/preferences", Some(&[])).await, 403);
    page("no form", &browser.raw("POST", "/webhooks/preferences", &[("content-type", "text/plain")], "x").await, 415);
    let large = "x".repeat((1 << 20) + 1);
    page("too large", &browser.raw("POST", "/webhooks/preferences", &[FORM], large).await, 413);
    page("nobody", &Browser::new(&stage.portal).ask("GET", "/", None).await, 303);
    page("nobody's form", &Browser::new(&stage.portal).ask("POST", "/preferences", Some(&[])).await, 401);
    let replay = browser.get("/destinations/acme-shop/replay").await;
    let mut form = replay.form("/acme-shop/replay");
    form.retain(|(name, _)| name != "what");
    page("a wrong form", &browser.ask("POST", "/destinations/acme-shop/replay", Some(&form)).await, 422);
    let preferences = browser.get("/preferences").await.form("/preferences");
    page("a form", &browser.ask("POST", "/preferences", Some(&preferences)).await, 303);
    stage.faults.inject(Operation::Scan, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    let down = browser.ask("GET", "/activity", None).await;
    page("the store is down", &down, 503);
    assert!(!down.header("retry-after").is_empty());
}

struct Odd;

#[async_trait]
impl Authenticator for Odd {
    async fn authenticate(&self, _: &Parts) -> outpost_core::Result<Option<Principal>> {
        let (tenant, text) = ("nobody-knows".to_owned(), String::new);
        Ok(Some(Principal { tenant, capabilities: Capabilities::ALL, binding: text(), name: text() }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_ours_is_guarded_and_tells_nothing() {
    let stage = Stage::with(|outpost| outpost, |webhooks| webhooks, |portal| portal.authenticator(Odd)).await;
    let seen = Browser::new(&stage.portal).ask("GET", "/", None).await;
    page("a failure", &seen, 500);
    seen.must_have("Reference ").must_not_have("nobody-knows").must_not_have("authenticator");
}

#[tokio::test(start_paused = true)]
async fn addresses_with_something_secret_are_told_to_nobody() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
    let mut browser = Browser::new(&stage.portal);
    let head = browser.ask("HEAD", &link, None).await;
    assert_eq!(head.status, 204);
    guarded("a scanner", &head);
    let entered = browser.ask("GET", &link, None).await;
    page("the exchange", &entered, 303);
    assert_eq!(entered.header("referrer-policy"), "no-referrer");
    let used = Browser::new(&stage.portal).ask("GET", &link, None).await;
    page("a used link", &used, 401);
    assert_eq!(used.header("referrer-policy"), "no-referrer");
    let other = stage.outpost.portal_link("globex", Default::default()).await.unwrap();
    browser.headers = vec![("accept-encoding", "gzip".to_owned())];
    let asked = browser.ask("GET", &other, None).await;
    page("the question", &asked, 200);
    assert_eq!((asked.header("referrer-policy"), asked.header("content-encoding")), ("no-referrer", ""));
    browser.headers.clear();
    let secret = browser.get("/destinations/acme-shop/secret").await;
    let kept =
        stage.outpost.destinations().get("acme", "acme-shop").await.unwrap().credentials.expose()["secret"].clone();
    secret.must_not_have(&kept);
    assert_eq!(secret.header("referrer-policy"), "same-origin");
    browser.headers = vec![("accept-encoding", "gzip".to_owned())];
    let form = secret.form("/secret/reveal");
    let shown = browser.ask("POST", "/destinations/acme-shop/secret/reveal", Some(&form)).await;
    page("the secret", &shown, 200);
    shown.must_have(&kept);
    assert_eq!((shown.header("referrer-policy"), shown.header("content-encoding")), ("no-referrer", ""));
    assert_eq!(browser.ask("GET", "/destinations/acme-shop/secret", None).await.header("content-encoding"), "gzip");
}

/// The addresses of the stylesheet and the script.
fn assets(page: &Seen) -> Vec<String> {
    let parts = page.text.split('"').filter(|part| part.starts_with("/webhooks/assets/"));
    parts.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn files_are_kept_for_ever_under_the_name_of_their_content() {
    let stage = Stage::new().await;
    let page = stage.browser("acme").await.get("/").await;
    let mut nobody = Browser::new(&stage.portal);
    let found = assets(&page);
    assert_eq!(found.len(), 2, "{found:?}");
    for path in found {
        let seen = nobody.ask("GET", &path, None).await;
        guarded(&path, &seen);
        assert_eq!(seen.status, 200);
        assert_eq!(seen.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(seen.header("vary"), "accept-encoding");
        let kind = if path.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        assert_eq!(seen.header("content-type"), kind);
        assert!(!seen.headers.contains_key("set-cookie"));
        // What an older version called it is gone, and that is not kept.
        let (stem, _) = path.rsplit_once('.').unwrap();
        for name in [path.replace(&stem[stem.len() - 4..], "0000"), "/webhooks/assets/portal.css".to_owned()] {
            let old = nobody.ask("GET", &name, None).await;
            assert_eq!(old.status, 404, "{name}");
            assert_eq!(old.header("cache-control"), "no-store", "{name}");
            guarded(&name, &old);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_saved_is_never_shown_by_the_browser() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    stage.transport.answer(|_, _| outpost_core::ScriptedReply::status(500).body("<script>alert(1)</script>"));
    stage.publish("acme", "evt_html", "order.created", r#"{"html":"<script>alert(1)</script>"}"#).await;
    stage.pass(2).await;
    let mut browser = stage.browser("acme").await;
    let one = "/destinations/acme-shop/deliveries/evt_html";
    for (path, kind) in [
        (format!("{one}/payload"), "application/json"),
        (format!("{one}/attempts/1/response"), "application/octet-stream"),
        (format!("{one}/attempts/1/curl"), "text/plain; charset=utf-8"),
        ("/activity.csv".to_owned(), "text/csv; charset=utf-8"),
        ("/activity.ndjson".to_owned(), "application/x-ndjson"),
        ("/destinations/acme-shop/deliveries.csv".to_owned(), "text/csv; charset=utf-8"),
    ] {
        let seen = browser.ask("GET", &path, None).await;
        guarded(&path, &seen);
        assert_eq!(seen.status, 200, "{path}");
        assert_eq!(seen.header("content-type"), kind, "{path}");
        assert_eq!(seen.header("cache-control"), "no-store", "{path}");
        let named = seen.header("content-disposition");
        assert!(named.starts_with("attachment; filename=\"") && named.ends_with('"'), "{path}: {named}");
        let head = browser.ask("HEAD", &path, None).await;
        assert!(head.bytes.is_empty(), "{path}");
        assert_eq!(head.header("content-disposition"), named, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_compressed_for_whoever_asks() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let css = assets(&browser.get("/").await).remove(0);
    for path in ["/activity", "/destinations/acme-shop", "/nothing", &css] {
        let plain = browser.ask("GET", path, None).await;
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        assert!(plain.header("vary").contains("accept-encoding"), "{path}");
        for (asked, gets) in [
            ("gzip", "gzip"),
            ("br;q=1.0, GZIP;q=0.5", "gzip"),
            ("*", "gzip"),
            ("gzip;q=0", ""),
            ("br, deflate", ""),
            ("identity", ""),
        ] {
            browser.headers = vec![("accept-encoding", asked.to_owned())];
            let seen = browser.ask("GET", path, None).await;
            assert_eq!(seen.header("content-encoding"), gets, "{path} for {asked}");
            assert_eq!(seen.header("content-length"), seen.bytes.len().to_string(), "{path} for {asked}");
            if gets == "gzip" {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&*seen.bytes).read_to_string(&mut text).unwrap();
                assert_eq!(text.len(), plain.text.len(), "{path}");
                assert!(seen.bytes.len() < plain.bytes.len(), "{path}");
            }
            let head = browser.ask("HEAD", path, None).await;
            assert!(head.bytes.is_empty());
            assert_eq!(head.status, seen.status, "{path}");
            assert_eq!(head.header("content-encoding"), gets, "{path} for {asked}");
        }
        browser.headers.clear();
        let head = browser.ask("HEAD", path, None).await;
        assert_eq!(head.header("content-length"), plain.bytes.len().to_string(), "{path}");
    }
}
