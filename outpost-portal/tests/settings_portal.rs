//! Every setting of the portal, by code and by the environment's name, with what it does to be seen.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use outpost_core::{DestinationPatch, MemoryStore, Outpost, WebhookTransport};
use outpost_portal::{Language, Portal, PortalBuilder};

use self::support::{Browser, Seen, Stage, Staged};

/// Two stages with one setting: made by code, and by the environment's names.
async fn both(code: impl FnOnce(PortalBuilder) -> PortalBuilder, env: &[(&str, &str)]) -> [Stage; 2] {
    let plain = |webhooks| webhooks;
    let one = Stage::with(|outpost| outpost, plain, code).await;
    let other = Stage::with(|outpost| outpost, plain, |portal| portal.env(env.iter().copied())).await;
    [one, other]
}

/// What is wrong with settings, each as its name and what is said of it.
async fn problems(set: impl FnOnce(PortalBuilder) -> PortalBuilder) -> Vec<String> {
    let stage = Stage::new().await;
    let builder = Portal::builder(stage.outpost.clone()).referer_url("https://app.example/home");
    match set(builder).build() {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(|p| format!("{}: {}", p.field, p.message)).collect(),
    }
}

#[track_caller]
fn names(problems: &[String], fields: &[&str]) {
    let found: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(found, fields, "{problems:?}");
}

async fn nobody(stage: &Stage, path: &str) -> String {
    Browser::new(&stage.portal).ask("GET", path, None).await.header("location").to_owned()
}

async fn css(stage: &Stage) -> String {
    let page = Browser::new(&stage.portal).get("/signed-out").await;
    let name = page.text.split('"').find(|part| part.contains("/assets/") && part.ends_with(".css")).unwrap();
    Browser::new(&stage.portal).get(name).await.text
}

#[tokio::test(start_paused = true)]
async fn the_host_is_linked_to_and_who_has_no_session_is_sent_there() {
    let url = "https://host.example/a?x=1&y=%20#part";
    for stage in both(|portal| portal.referer_url(url), &[("PORTAL_REFERER_URL", url)]).await {
        let page = stage.browser("acme").await.get("/").await;
        page.must_have("href=\"https://host.example/a?x=1&amp;y=%20#part\"").must_have("Back to Acme Cloud");
        let to = nobody(&stage, "/activity?status=failed").await;
        assert_eq!(to, "https://host.example/a?x=1&y=%20&return_to=%2Factivity%3Fstatus%3Dfailed#part");
    }
    for bad in ["javascript:alert(1)", "data:text/html,x", "//host", "home", "https://user:pass@host.example/"] {
        names(&problems(|portal| portal.referer_url(bad)).await, &["referer_url"]);
        names(&problems(|portal| portal.refresh_url(bad)).await, &["refresh_url"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_refresh_url_comes_before_the_referer() {
    let url = "https://host.example/new?a=b#c";
    for stage in both(|portal| portal.refresh_url(url), &[("PORTAL_REFRESH_URL", url)]).await {
        assert_eq!(nobody(&stage, "/").await, "https://host.example/new?a=b&return_to=%2F#c");
        let page = stage.browser("acme").await.get("/").await;
        page.must_have("href=\"https://app.example/home\"").must_not_have("host.example");
        let used = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
        Browser::new(&stage.portal).get(&used).await;
        let ended = Browser::new(&stage.portal).get(&used).await;
        ended.must_have("https://host.example/new?a=b&amp;return_to=%2F#c").must_have("Continue at Acme Cloud");
    }
}

#[tokio::test(start_paused = true)]
async fn the_organisation_heads_the_pages() {
    let name = "Ümläut & <b>Söhne</b>";
    let shown = "Ümläut &amp; &lt;b&gt;Söhne&lt;/b&gt;";
    for stage in both(|portal| portal.organization_name(name), &[("PORTAL_ORGANIZATION_NAME", name)]).await {
        let page = stage.browser("acme").await.get("/").await;
        page.must_have(&format!("<title>Destinations – {shown} webhooks</title>"));
        page.must_have(&format!(">{shown} webhooks</a>")).must_have(&format!("Back to {shown}"));
    }
    names(&problems(|portal| portal.organization_name("a\nb")).await, &["organization_name"]);
    names(&problems(|portal| portal.organization_name("a".repeat(2049))).await, &["organization_name"]);
}

#[tokio::test(start_paused = true)]
async fn the_accent_is_in_the_stylesheet() {
    let plain = css(&Stage::new().await).await;
    assert!(!plain.contains("#b0235f"));
    for stage in both(|portal| portal.accent_color("#B0235F"), &[("PORTAL_ACCENT_COLOR", "#B0235F")]).await {
        let css = css(&stage).await;
        assert!(css.to_lowercase().contains("--op-accent:#b0235f"), "{}", &css[css.len() - 900..]);
        assert!(css.starts_with(&plain), "the colours come after what they overrule");
    }
    let [_, brand] = both(|portal| portal, &[("PORTAL_BRAND_COLOR", "#b0235f")]).await;
    assert!(css(&brand).await.contains("#b0235f"));
    let env = [("PORTAL_ACCENT_COLOR", "#b0235f"), ("PORTAL_BRAND_COLOR", "#00ff00")];
    let [_, both] = both(|portal| portal, &env).await;
    assert!(css(&both).await.contains("#b0235f") && !css(&both).await.contains("#00ff00"));
    for bad in ["red", "#12", "#12345g", "#1234567", "rgb(0,0,0)", "#fff;}body{display:none"] {
        names(&problems(|portal| portal.accent_color(bad)).await, &["accent_color"]);
        names(&problems(|portal| portal.env([("PORTAL_BRAND_COLOR", bad)])).await, &["accent_color"]);
    }
}

#[tokio::test(start_paused = true)]
async fn images_are_shown_and_their_origins_and_no_others_allowed() {
    let (logo, dark, icon) =
        ("https://cdn.example/l.svg?a&b", "https://cdn.example:8443/d.svg", "http://i.example/f.ico");
    let env = [("PORTAL_LOGO", logo), ("PORTAL_LOGO_DARK", dark), ("PORTAL_FAVICON_URL", icon)];
    for stage in both(|portal| portal.logo(logo).logo_dark(dark).favicon_url(icon), &env).await {
        let page = stage.browser("acme").await.get("/").await;
        page.must_have("<img class=\"logo\" src=\"https://cdn.example/l.svg?a&amp;b\" alt=\"Acme Cloud webhooks\"");
        page.must_have("<img class=\"logo-dark\" src=\"https://cdn.example:8443/d.svg\"");
        page.must_have("<link rel=\"icon\" href=\"http://i.example/f.ico\">");
        let images = images(&page);
        assert_eq!(images, "'self' data: http://i.example https://cdn.example https://cdn.example:8443");
    }
    for stage in both(|portal| portal.logo(logo), &[("PORTAL_LOGO", logo)]).await {
        let page = stage.browser("acme").await.get("/").await;
        page.must_have("class=\"logo\"").must_not_have("class=\"logo-dark\"").must_have("href=\"data:,\"");
        assert_eq!(images(&page), "'self' data: https://cdn.example");
    }
    for bad in
        ["javascript:alert(1)", "data:image/svg+xml,<svg/>", "/logo.svg", "https://a.example;sandbox/x", "file:///x"]
    {
        names(&problems(|portal| portal.logo(bad)).await, &["logo"]);
        names(&problems(|portal| portal.logo_dark(bad)).await, &["logo_dark"]);
        names(&problems(|portal| portal.favicon_url(bad)).await, &["favicon_url"]);
    }
}

fn images(page: &Seen) -> String {
    let policy = page.header("content-security-policy");
    policy.split("; ").find_map(|part| part.strip_prefix("img-src ")).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_forced_theme_beats_links_and_preferences() {
    for stage in both(|portal| portal.force_theme("dark"), &[("PORTAL_FORCE_THEME", "dark")]).await {
        let mut browser = stage.browser("acme").await;
        for path in ["/", "/?theme=light", "/"] {
            let page = browser.get(path).await;
            page.must_have("data-theme=\"dark\"").must_have("name=\"color-scheme\" content=\"dark\"");
        }
        let page = browser.get("/preferences").await;
        let token = page.form("/logout")[0].1.clone();
        let form = [("form_token", token.as_str()), ("theme", "light"), ("zone", "UTC"), ("page", "25")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(browser.ask("POST", "/preferences", Some(&form)).await.status, 303);
        browser.get("/").await.must_have("data-theme=\"dark\"");
    }
    for bad in ["auto", "Dark", "pink"] {
        names(&problems(|portal| portal.force_theme(bad)).await, &["force_theme"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_line_at_the_foot_can_be_left_out() {
    let env = [("PORTAL_DISABLE_OUTPOST_BRANDING", "true")];
    for stage in both(|portal| portal.disable_outpost_branding(true), &env).await {
        stage.browser("acme").await.get("/").await.must_not_have("Outpost");
    }
    let env = [("PORTAL_DISABLE_OUTPOST_BRANDING", "0")];
    for stage in both(|portal| portal.disable_outpost_branding(false), &env).await {
        stage.browser("acme").await.get("/").await.must_have("Powered by Outpost");
    }
    for name in
        ["PORTAL_DISABLE_OUTPOST_BRANDING", "PORTAL_ENABLE_DESTINATION_FILTER", "PORTAL_ENABLE_WEBHOOK_CUSTOM_HEADERS"]
    {
        names(&problems(|portal| portal.env([(name, "yes")])).await, &[name]);
        names(&problems(|portal| portal.env([(name, " ")])).await, &[]);
    }
}

/// A stage whose engine offers filters and headers or does not, with a destination that has both.
async fn offering(on: bool, portal: impl FnOnce(PortalBuilder) -> PortalBuilder) -> Stage {
    let stage = Stage::with(|engine| engine.tenant_filters(on), |webhooks| webhooks.custom_headers(on), portal).await;
    stage.destination("acme", "shop").await;
    let headers = ("custom_headers".to_owned(), Some(r#"{"x-team":"blue"}"#.to_owned()));
    let patch = DestinationPatch {
        filter: Some(Some(r#"{"data":{"a":1}}"#.to_owned())),
        config: outpost_core::MapPatch::Merge([headers].into()),
        ..Default::default()
    };
    stage.outpost.destinations().update("acme", "shop", patch).await.expect("set");
    stage
}

/// Whether filters and headers are offered; what is not must be refused and left as it is.
async fn offered(stage: &Stage) -> (bool, bool) {
    let mut browser = stage.browser("acme").await;
    let (settings, create) =
        (browser.get("/destinations/shop/settings").await, browser.get("/destinations/new/webhook").await);
    let shown = |field: &str| {
        let both = [&settings, &create].map(|page| page.has(&format!("name=\"{field}\"")));
        assert_eq!(both[0], both[1], "{field}");
        both[0]
    };
    let offered = (shown("filter"), shown("header_name"));
    let before = stage.outpost.destinations().get("acme", "shop").await.unwrap();
    for (on, fields) in [
        (offered.0, [("section", "filter"), ("filter", "{}"), ("remove", "1")]),
        (offered.1, [("section", "headers"), ("header_name", "x-other"), ("header_value", "1")]),
    ] {
        if on {
            continue;
        }
        let page = browser.get("/destinations/shop/settings").await;
        let (token, revision) = (page.form("/logout")[0].1.clone(), before.revision.to_string());
        let form = [("form_token", token.as_str()), ("revision", &revision)].into_iter().chain(fields);
        let form: Vec<_> = form.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let seen = browser.ask("POST", "/destinations/shop/settings", Some(&form)).await;
        assert_eq!(seen.status, 422, "{fields:?}: {}", seen.text);
    }
    // Other things may be saved without wiping what is not shown.
    let page = browser.get("/destinations/shop/settings").await;
    let mut form = page.form("/shop/settings#general");
    form.retain(|(name, _)| name != "name");
    form.push(("name".to_owned(), "Renamed".to_owned()));
    assert_eq!(browser.ask("POST", "/destinations/shop/settings", Some(&form)).await.status, 303);
    let after = stage.outpost.destinations().get("acme", "shop").await.unwrap();
    assert_eq!((after.name.as_deref(), after.filter), (Some("Renamed"), before.filter));
    assert_eq!(after.config, before.config);
    offered
}

#[tokio::test(start_paused = true)]
async fn filters_and_headers_are_offered_as_the_engine_does_unless_the_portal_hides_them() {
    assert_eq!(offered(&offering(false, |portal| portal).await).await, (false, false));
    assert_eq!(offered(&offering(true, |portal| portal).await).await, (true, true));
    let hidden = |portal: PortalBuilder| portal.destination_filter(false).webhook_custom_headers(false);
    assert_eq!(offered(&offering(true, hidden).await).await, (false, false));
    let (filter, headers) = ("PORTAL_ENABLE_DESTINATION_FILTER", "PORTAL_ENABLE_WEBHOOK_CUSTOM_HEADERS");
    assert_eq!(offered(&offering(true, |portal| portal.env([(filter, "false")])).await).await, (false, true));
    assert_eq!(offered(&offering(true, |portal| portal.env([(headers, "false")])).await).await, (true, false));
    let on = |portal: PortalBuilder| portal.env([(filter, "true"), (headers, "1")]);
    assert_eq!(offered(&offering(true, on).await).await, (true, true));
    names(&problems(on).await, &["destination_filter", "webhook_custom_headers"]);
    let code = |portal: PortalBuilder| portal.destination_filter(true).webhook_custom_headers(true);
    names(&problems(code).await, &["destination_filter", "webhook_custom_headers"]);
}

#[tokio::test(start_paused = true)]
async fn a_notice_stands_above_every_page() {
    let stage = Stage::with(|e| e, |w| w, |portal| portal.notice("Late <today> & tomorrow")).await;
    let mut browser = stage.browser("acme").await;
    for path in ["/", "/activity", "/preferences", "/nothing"] {
        browser.get(path).await.must_have("Late &lt;today&gt; &amp; tomorrow");
    }
    Browser::new(&stage.portal).get("/signed-out").await.must_have("Late &lt;today&gt;");
}

#[tokio::test(start_paused = true)]
async fn the_portal_may_be_framed_by_those_who_are_named() {
    let origins = ["https://app.example", "https://other.example:8443/"];
    let stage = Stage::with(|e| e, |w| w, |portal| portal.frame_ancestors(origins)).await;
    let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
    let entered = Browser::new(&stage.portal).ask("GET", &link, None).await;
    for cookie in entered.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        for part in ["SameSite=None", "Secure", "Partitioned", "HttpOnly", "Path=/webhooks;"] {
            assert!(cookie.contains(part), "{part}: {cookie}");
        }
    }
    let page = stage.browser("acme").await.get("/").await;
    assert!(
        page.header("content-security-policy")
            .ends_with("frame-ancestors https://app.example https://other.example:8443")
    );
    assert_eq!(page.header("x-frame-options"), "");
    page.must_have("class=\"op embedded\"");
    for bad in
        ["app.example", "https://app.example/path", "https://a.example?x", "*", "https://a.example;sandbox", "data:,"]
    {
        names(&problems(|portal| portal.frame_ancestors([bad])).await, &["frame_ancestors"]);
    }
    let plain =
        |portal: PortalBuilder| portal.public_url("http://localhost:3000/x").frame_ancestors(["https://a.example"]);
    names(&problems(plain).await, &["frame_ancestors"]);
}

#[tokio::test(start_paused = true)]
async fn over_plain_http_cookies_go_without_secure() {
    let stage = Stage::with(|e| e, |w| w, |portal| portal.public_url("http://localhost:3000/webhooks")).await;
    let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
    let entered = Browser::new(&stage.portal).ask("GET", &link, None).await;
    let cookie = entered.header("set-cookie");
    assert!(cookie.starts_with("outpost-") && !cookie.contains("Secure"), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
}

#[tokio::test(start_paused = true)]
async fn words_can_be_changed_and_written_from_right_to_left() {
    let ours = Language::english().text("Destinations", "Endpoints").text("{count} rows", "x");
    let stage = Stage::with(|e| e, |w| w, |portal| portal.language(ours)).await;
    let page = stage.browser("acme").await.get("/").await;
    page.must_have("<h1>Endpoints</h1>").must_not_have("Destinations").must_have("Activity");
    let hebrew = Language::new("he", true).text("Activity", "פעילות");
    let stage = Stage::with(|e| e, |w| w, |portal| portal.language(hebrew)).await;
    let page = stage.browser("acme").await.get("/activity").await;
    page.must_have("<html lang=\"he\" dir=\"rtl\"").must_have("<h1>פעילות</h1>");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_listed_at_once() {
    names(&problems(|portal| portal.secret("thirty-one bytes are too few..")).await, &["secret"]);
    names(&problems(|portal| portal.secret([7; 32])).await, &[]);
    let all = problems(|portal| {
        let portal = portal.mount("/a b").accent_color("red").logo("x").force_theme("pink").public_url("ftp://x");
        portal.frame_ancestors(["x"]).secret("x").destination_filter(true).referer_url("x").refresh_url("x")
    });
    let mut all: Vec<String> = all.await.iter().map(|p| p.split(':').next().unwrap().to_owned()).collect();
    all.sort();
    let wrong = ["accent_color", "destination_filter", "force_theme", "frame_ancestors", "logo", "mount", "public_url"];
    assert_eq!(all, [&wrong[..], &["referer_url", "refresh_url", "secret"]].concat());
    // An engine without anything for the portal.
    let webhooks = Staged::new(WebhookTransport::builder());
    let outpost = Outpost::builder(MemoryStore::new()).transport(webhooks).start().await.unwrap();
    let error = Portal::builder(outpost.clone()).build().unwrap_err();
    let found: Vec<_> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(found, ["referer_url", "tokens"]);
}

#[tokio::test(start_paused = true)]
async fn with_nothing_but_a_referer_it_is_plain() {
    let stage = Stage::new().await;
    let portal = Portal::builder(stage.outpost.clone()).env([("PORTAL_REFERER_URL", "https://app.example/home")]);
    let stage = Stage { portal: portal.build().unwrap(), ..stage };
    assert_eq!(stage.portal.mount(), "/webhooks/");
    stage.destination("acme", "shop").await;
    assert_eq!(offered(&stage).await, (false, false));
    let page = stage.browser("acme").await.get("/").await;
    page.must_have("<title>Destinations – Webhooks</title>").must_have("Powered by Outpost");
    page.must_have("content=\"light dark\"")
        .must_not_have("data-theme")
        .must_not_have("<img")
        .must_not_have("note warn\" role=\"note\"");
    page.must_have("Back to the application");
}
