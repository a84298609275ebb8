//! Coming in, staying in and going out.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::StatusCode;
use outpost_core::{PortalLink, Theme};

use self::support::{Browser, Stage};

#[tokio::test(start_paused = true)]
async fn a_link_opens_the_portal_once_and_leaves_no_token_behind() {
    let stage = Stage::new().await;
    let link = stage.outpost.portal_link("acme", PortalLink::default()).await.unwrap();
    let mut browser = Browser::new(&stage.portal);
    let first = browser.ask("GET", &link, None).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    assert_eq!(first.header("location"), format!("/webhooks/?entered={}", stage.outpost.now().as_seconds()));
    assert_eq!(first.header("referrer-policy"), "no-referrer");
    let cookie = first.header("set-cookie");
    for part in ["__Secure-outpost-", "HttpOnly", "Secure", "SameSite=Lax", "Path=/webhooks;"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let page = browser.get("/?entered=1").await;
    assert_eq!(page.status, StatusCode::OK);
    page.must_have("Webhooks of acme").must_have("No destinations yet");
    // Again with the session: on it goes. Somebody else: not.
    assert_eq!(browser.ask("GET", &link, None).await.status, StatusCode::SEE_OTHER);
    let other = Browser::new(&stage.portal).ask("GET", &link, None).await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED);
    other.must_have("This link does not work any more");
}

#[tokio::test(start_paused = true)]
async fn looking_ahead_does_not_use_a_link_up() {
    let stage = Stage::new().await;
    let link = stage.outpost.portal_link("acme", PortalLink::default()).await.unwrap();
    let mut scanner = Browser::new(&stage.portal);
    assert_eq!(scanner.ask("HEAD", &link, None).await.status, StatusCode::NO_CONTENT);
    for (name, value) in [("sec-purpose", "prefetch"), ("purpose", "prefetch"), ("sec-fetch-dest", "empty")] {
        scanner.headers = vec![(name, value.to_owned())];
        assert_eq!(scanner.ask("GET", &link, None).await.status, StatusCode::NO_CONTENT);
    }
    assert!(scanner.cookies.is_empty());
    assert_eq!(Browser::new(&stage.portal).get(&link).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_session_is_sent_to_the_host_with_the_way_back() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage.portal);
    let seen = browser.ask("GET", "/activity?status=failed", None).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
    assert_eq!(seen.header("location"), "https://app.example/home?return_to=%2Factivity%3Fstatus%3Dfailed");
    // A script and a form are told so, without a redirect.
    browser.headers = vec![("sec-fetch-dest", "empty".to_owned())];
    assert_eq!(browser.ask("GET", "/activity", None).await.status, StatusCode::UNAUTHORIZED);
    let form = [("name".to_owned(), "typed & kept".to_owned()), ("credentials.secret".to_owned(), "canary".to_owned())];
    let seen = browser.ask("POST", "/destinations/new/webhook", Some(&form)).await;
    assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
    seen.must_have("typed &amp; kept").must_not_have("canary");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_keeps_no_cookies_is_told_so() {
    let stage = Stage::new().await;
    let marked = format!("/?entered={}", stage.outpost.now().as_seconds());
    let seen = Browser::new(&stage.portal).ask("GET", &marked, None).await;
    assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
    seen.must_have("Your browser keeps no cookies here");
    // Somebody may have made a bookmark of it.
    stage.pass(61).await;
    assert_eq!(Browser::new(&stage.portal).ask("GET", &marked, None).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_theme_of_the_link_holds_for_the_session() {
    let stage = Stage::new().await;
    let link = stage.outpost.portal_link("acme", PortalLink::default().theme(Theme::Dark)).await.unwrap();
    let mut browser = Browser::new(&stage.portal);
    browser.get(&link).await.must_have("data-theme=\"dark\"");
    browser.get("/").await.must_have("data-theme=\"dark\"");
    browser.get("/?theme=light").await.must_have("data-theme=\"light\"");
    browser.get("/").await.must_have("data-theme=\"light\"");
    browser.get("/?theme=pink").await.must_have("data-theme=\"light\"");
}

#[tokio::test(start_paused = true)]
async fn signing_out_ends_the_session_for_good() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let stolen = browser.clone();
    let page = browser.get("/").await;
    let out = browser.send(&page, "/logout", &[]).await;
    out.must_have("You are signed out");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    let seen = stolen.clone().ask("GET", "/", None).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
    assert!(seen.header("location").starts_with("https://app.example/home"));
}

#[tokio::test(start_paused = true)]
async fn anothers_link_asks_before_it_switches() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let link = stage.outpost.portal_link("globex", PortalLink::default()).await.unwrap();
    let asked = browser.get(&link).await;
    asked.must_have("Switch to globex?");
    browser.get("/").await.must_have("Webhooks of acme");
    browser.send(&asked, "/enter", &[]).await.must_have("Webhooks of globex");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_is_not_used() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    for _ in 0..10 {
        stage.pass(20 * 60).await;
        assert_eq!(browser.get("/").await.status, StatusCode::OK);
    }
    stage.pass(31 * 60).await;
    assert_eq!(browser.ask("GET", "/", None).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn the_door_itself_asks_as_well_before_it_switches() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let link = stage.outpost.portal_link("globex", PortalLink::default()).await.unwrap();
    let token = link.split("token=").nth(1).unwrap();
    browser.get(&format!("/enter?token={token}")).await.must_have("Switch to globex?");
    browser.get("/").await.must_have("Webhooks of acme");
    // A used one of the same tenant goes on.
    let own = stage.outpost.portal_link("acme", PortalLink::default()).await.unwrap();
    let token = own.split("token=").nth(1).unwrap();
    for _ in 0..2 {
        browser.get(&format!("/enter?token={token}")).await.must_have("Webhooks of acme");
    }
}
