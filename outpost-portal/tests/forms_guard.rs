//! Forms: only ours are taken, whole, in time and from the session they were made for.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use std::time::Duration;

use outpost_core::TokenSettings;

use self::routes::{Need, doors, furnish, state};
use self::support::{Browser, SECRET, Seen, Stage, URL};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn token_of(page: &Seen) -> String {
    page.form("/logout").into_iter().find(|(name, _)| name == "form_token").expect("a token").1
}

async fn token(browser: &mut Browser) -> String {
    token_of(&browser.get("/preferences").await)
}

/// Sends a form that says yes to everything to every address that takes one, and wants `status` and no change.
async fn all_refuse(stage: &Stage, browser: &Browser, token: &str, headers: &[(&str, &str)], status: u16) {
    let ids = ["acme-shop", "evt_acme", "rpl_none"];
    let before = state(stage).await;
    let (pick, all) = (format!("{}/{}", ids[0], ids[1]), headers.to_vec());
    for door in doors().iter().filter(|door| door.post.is_some_and(|need| need != Need::Open)) {
        let path = door.path(ids);
        let form = [("form_token", token), ("pick", &pick), ("confirm", ids[0]), ("name", "Changed"), ("zone", "UTC")];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let seen = browser.raw("POST", &format!("/webhooks{path}"), &all, body).await;
        assert_eq!(seen.status, status, "{path} with {headers:?} and {token:?}:\n{}", seen.text);
        assert!(!seen.headers.contains_key("location"), "{path}");
    }
    assert_eq!(state(stage).await, before, "{headers:?}, {token:?}");
}

#[tokio::test(start_paused = true)]
async fn a_form_without_its_own_token_does_nothing() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let own = token(&mut browser).await;
    let colleague = token(&mut stage.browser("acme").await).await;
    let stranger = token(&mut stage.browser("globex").await).await;
    let mut bent = own.clone();
    bent.replace_range(3..4, if own[3..].starts_with('A') { "B" } else { "A" });
    for token in ["", "x", &"A".repeat(5000), &own[1..], &bent, &colleague, &stranger] {
        all_refuse(&stage, &browser, token, &[FORM], 403).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_may_stay_open_for_twelve_hours() {
    let days = Duration::from_secs(5 * 24 * 3600);
    let tokens = TokenSettings::new(URL, SECRET).session_idle(days).session_lifetime(days);
    let stage = Stage::with(|outpost| outpost.tokens(tokens), |webhooks| webhooks, |portal| portal).await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    // The event's retries are over by then, so nothing changes by itself.
    stage.pass(3 * 24 * 3600).await;
    let page = browser.get("/preferences").await;
    stage.pass(12 * 3600 - 1).await;
    assert_eq!(browser.ask("POST", "/preferences", Some(&page.form("/preferences"))).await.status, 303);
    let old = token(&mut browser).await;
    stage.pass(12 * 3600 + 1).await;
    all_refuse(&stage, &browser, &old, &[FORM], 403).await;
}

#[tokio::test(start_paused = true)]
async fn a_form_from_another_site_does_nothing_and_is_not_offered_again() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let own = token(&mut browser).await;
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "nonsense"),
        ("origin", "https://evil.example"),
        ("origin", "http://app.example"),
        ("origin", "https://app.example:8443"),
        ("origin", "https://app.example.evil.example"),
        ("origin", "null"),
    ];
    for header in foreign {
        all_refuse(&stage, &browser, &own, &[FORM, header], 403).await;
        let body = "zone=Europe%2FBerlin&name=planted";
        let seen = browser.raw("POST", "/webhooks/preferences", &[FORM, header], body).await;
        seen.must_have("This form is not one of ours").must_not_have("planted").must_not_have("Send it again");
        // A browser that keeps the cookie to itself shows no more.
        let seen = Browser::new(&stage.portal).raw("POST", "/webhooks/preferences", &[FORM, header], body).await;
        assert_eq!(seen.status, 401);
        seen.must_not_have("planted").must_not_have("Send it again");
    }
    // Where both are said, the newer one counts; a host that rewrites the origin does no harm.
    for headers in [
        vec![("sec-fetch-site", "same-origin"), ("origin", "https://app.example")],
        vec![("sec-fetch-site", "none")],
        vec![("origin", "https://app.example")],
        vec![],
    ] {
        let body = format!("form_token={}&zone=UTC&page=25&theme=auto", token(&mut browser).await);
        let headers = [&[FORM][..], &headers].concat();
        assert_eq!(browser.raw("POST", "/webhooks/preferences", &headers, body).await.status, 303, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_or_a_client_says_of_the_host_changes_nothing() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let lies = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", "/webhooks/preferences"),
        ("x-http-method-override", "POST"),
        ("forwarded", "host=evil.example;proto=http"),
    ];
    for path in ["/", "/activity", "/destinations/acme-shop", "/nothing", "/assets/nothing.css"] {
        let path = format!("/webhooks{path}");
        let (plain, lied) = (browser.raw("GET", &path, &[], "").await, browser.raw("GET", &path, &lies, "").await);
        assert_eq!(plain.status, lied.status, "{path}");
        assert_eq!(plain.text.len(), lied.text.len(), "{path}");
        lied.must_not_have("evil");
        let nobody = Browser::new(&stage.portal);
        let (plain, lied) = (nobody.raw("GET", &path, &[], "").await, nobody.raw("GET", &path, &lies, "").await);
        assert_eq!(plain.header("location"), lied.header("location"), "{path}");
    }
    let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
    let link = link.strip_prefix("https://app.example").unwrap();
    let entered = Browser::new(&stage.portal).raw("GET", link, &lies, "").await;
    assert!(entered.header("location").starts_with("/webhooks/?entered="), "{}", entered.header("location"));
    assert!(entered.header("set-cookie").contains("; Secure"), "{}", entered.header("set-cookie"));
    // Nor is an origin ours because a header says so.
    let headers = [&lies[..], &[FORM, ("origin", "https://evil.example")]].concat();
    let own = token(&mut browser).await;
    all_refuse(&stage, &browser, &own, &headers, 403).await;
}

#[tokio::test(start_paused = true)]
async fn only_forms_are_taken_and_only_whole_ones() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let own = token(&mut browser).await;
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json", "text/plain;charset=utf-8", "x"] {
        all_refuse(&stage, &browser, &own, &[("content-type", kind)], 415).await;
    }
    let body = |rest: &str| format!("form_token={own}&zone=UTC&page=25&theme=auto{rest}");
    let spelled = [("content-type", "Application/X-WWW-Form-UrlEncoded; charset=UTF-8")];
    assert_eq!(browser.raw("POST", "/webhooks/preferences", &spelled, body("")).await.status, 303);
    let fields = |count: usize| body(&"&x=1".repeat(count - 4));
    let megabyte = |over: usize| {
        let start = body("&y=");
        format!("{start}{}", "y".repeat((1 << 20) + over - start.len()))
    };
    for (form, status) in [(fields(1999), 303), (fields(2000), 303), (fields(2001), 413)].into_iter().chain([
        (megabyte(0), 303),
        (megabyte(1), 413),
        (megabyte(1 << 20), 413),
    ]) {
        let length = form.len();
        let seen = browser.raw("POST", "/webhooks/preferences", &[FORM], form).await;
        assert_eq!(seen.status, status, "{length} bytes");
        if status == 413 {
            seen.must_have("That is too large").must_have("Webhooks of acme").must_not_have("yyyy");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_answers_its_methods_alone() {
    let stage = Stage::new().await;
    furnish(&stage, "acme").await;
    let ids = ["acme-shop", "evt_acme", "rpl_none"];
    for browser in [stage.browser("acme").await, Browser::new(&stage.portal)] {
        let before = state(&stage).await;
        for door in doors() {
            let path = format!("/webhooks{}", door.path(ids));
            let allow = match (door.get, door.post) {
                (Some(_), Some(_)) => "GET, HEAD, POST",
                (Some(_), None) => "GET, HEAD",
                _ => "POST",
            };
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
                if allow.split(", ").any(|known| known == method) {
                    continue;
                }
                let seen = browser.raw(method, &path, &[FORM], "").await;
                assert_eq!(seen.status, 405, "{method} {path}");
                assert_eq!(seen.header("allow"), allow, "{method} {path}");
            }
        }
        assert_eq!(state(&stage).await, before);
    }
    // Who is signed in finds the way on.
    let seen = stage.browser("acme").await.raw("GET", "/webhooks/logout", &[], "").await;
    seen.must_have("Webhooks of acme").must_have("Nothing was changed").must_have("All destinations");
}

#[tokio::test(start_paused = true)]
async fn what_was_typed_is_kept_but_for_secrets_and_can_be_sent_again() {
    let stage = Stage::new().await;
    let mut browser = stage.browser("acme").await;
    let typed = [
        ("form_token", "old"),
        ("zone", "Europe/Berlin"),
        ("page", "50"),
        ("theme", "dark"),
        ("name", "<b>\"Käse\" & Brot</b>"),
        ("credentials.key", "canary-1"),
        ("new_secret", "canary-2"),
        ("password", "canary-3"),
        ("token", "canary-4"),
        ("header_name", "Authorization"),
        ("header_value", "canary-5"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let refused = browser.ask("POST", "/preferences", Some(&typed)).await;
    assert_eq!(refused.status, 403);
    refused.must_have("This form was open too long").must_have("Nothing was changed").must_not_have("canary");
    refused.must_not_have("<b>").must_have("&lt;b&gt;");
    // Not compressed, and no address is told to anybody.
    assert_eq!(refused.header("referrer-policy"), "no-referrer");
    let again = browser.send(&refused, "/preferences", &[]).await;
    again.must_have("Europe/Berlin");
    assert_eq!(browser.get("/preferences").await.form("/preferences").iter().find(|f| f.0 == "page").unwrap().1, "50");
    // Without a session it is kept as well; after signing in again it goes on.
    let mut out = Browser::new(&stage.portal);
    let kept = out.ask("POST", "/preferences", Some(&typed)).await;
    assert_eq!(kept.status, 401);
    kept.must_have("Send it again").must_not_have("canary");
    let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
    out.get(&link).await;
    let second = out.send(&kept, "/preferences", &[]).await;
    assert_eq!(second.status, 403);
    out.send(&second, "/preferences", &[]).await.must_have("Europe/Berlin");
}
