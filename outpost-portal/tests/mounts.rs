//! Wherever the portal is mounted, and whoever says who asks: every link leads to a page.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use http::request::Parts;
use outpost_core::{Capabilities, Capability, Error, ErrorKind, TokenSettings};
use outpost_portal::{Authenticator, Portal, Principal, async_trait};

use self::routes::furnish;
use self::support::{Browser, SECRET, Seen, Stage};

/// The values of an attribute on a page.
fn values(page: &Seen, attribute: &str) -> Vec<String> {
    let start = format!(" {attribute}=\"");
    let parts = page.text.split(&start).skip(1);
    parts.filter_map(|part| part.split('"').next()).map(|value| value.replace("&amp;", "&")).collect()
}

/// Follows every link, and every form that asks, from the first page. `proxy`: what it takes off each path.
async fn crawl(browser: &Browser, mount: &str, proxy: &str) -> usize {
    let mut waiting = VecDeque::from([mount.to_owned()]);
    let mut known: BTreeSet<String> = waiting.iter().cloned().collect();
    let mut fragments: Vec<(String, String, String)> = Vec::new();
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut posts = BTreeSet::new();
    while let Some(path) = waiting.pop_front() {
        assert!(known.len() < 2000, "there is no end: {known:?}");
        let asked = format!("/{}", path.strip_prefix(proxy).unwrap_or(&path).trim_start_matches('/'));
        let seen = browser.raw("GET", &asked, &[], "").await;
        let status = seen.status.as_u16();
        assert!(matches!(status, 200 | 303), "{path}: {status}\n{}", seen.text);
        let mut links = Vec::new();
        if status == 303 {
            links.push(seen.header("location").to_owned());
        } else if seen.header("content-type").starts_with("text/html") {
            let all = values(&seen, "id");
            let own: BTreeSet<String> = all.iter().cloned().collect();
            assert_eq!(all.len(), own.len(), "ids twice at {path}: {all:?}");
            for name in values(&seen, "for") {
                assert!(own.contains(&name), "no field {name} at {path}");
            }
            for names in values(&seen, "aria-describedby").iter().flat_map(|names| names.split(' ')) {
                assert!(own.contains(names), "nothing {names} at {path}");
            }
            ids.insert(path.clone(), own);
            links.extend(values(&seen, "href").into_iter().chain(values(&seen, "src")));
            for action in values(&seen, "action") {
                let inside = action.starts_with(mount);
                assert!(inside, "the form to {action} at {path}");
                posts.insert(action.split('#').next().unwrap().to_owned());
            }
        }
        for link in links.iter().filter(|link| !link.starts_with("data:") && !link.starts_with("https://")) {
            let (to, fragment) = link.split_once('#').unwrap_or((link, ""));
            let to = if to.is_empty() { path.as_str() } else { to };
            assert!(to.starts_with(mount) && !to.starts_with("//"), "{link} at {path}");
            if !fragment.is_empty() {
                fragments.push((path.clone(), to.to_owned(), fragment.to_owned()));
            }
            // A live list asks the same again and again; a cursor leads to pages like the one before.
            if known.insert(to.to_owned()) {
                waiting.push_back(to.to_owned());
            }
        }
    }
    for (from, to, fragment) in fragments {
        // A redirect or a file has none.
        let Some(there) = ids.get(&to) else { panic!("{to}#{fragment} at {from} is no page") };
        assert!(there.contains(&fragment), "{to}#{fragment} at {from} is not there");
    }
    for action in &posts {
        let asked = format!("/{}", action.strip_prefix(proxy).unwrap_or(action).trim_start_matches('/'));
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let seen = browser.raw("POST", &asked, &form, "").await;
        // There, and it wants its token; or it only asks.
        assert!(matches!(seen.status.as_u16(), 403 | 405), "POST {action}: {}", seen.status);
    }
    known.len()
}

async fn mounted(mount: &str, stripped: Option<bool>) -> (Stage, Browser) {
    let url = format!("https://app.example{mount}");
    let stage = Stage::with(
        |engine| engine.tokens(TokenSettings::new(&url, SECRET)).tenant_filters(true),
        |webhooks| webhooks.custom_headers(true),
        |portal| match stripped {
            Some(stripped) => portal.prefix_stripped(stripped),
            None => portal,
        },
    )
    .await;
    furnish(&stage, "acme").await;
    stage.transport.answer(|_, _| outpost_core::ScriptedReply::ok().body("{}"));
    for n in 0..30 {
        stage.publish("acme", &format!("evt_{n}"), "order.updated", "{}").await;
    }
    stage.pass(60).await;
    let link = stage.outpost.portal_link("acme", Default::default()).await.unwrap();
    let path = link.strip_prefix("https://app.example").unwrap();
    let proxy = if stripped == Some(true) { mount } else { "" };
    let path = format!("/{}", path.strip_prefix(proxy).unwrap_or(path).trim_start_matches('/'));
    let entered = Browser::new(&stage.portal).raw("GET", &path, &[], "").await;
    assert_eq!(entered.status, 303, "{path}: {}", entered.text);
    let mut browser = Browser::new(&stage.portal);
    let cookie = entered.header("set-cookie");
    let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
    let bare = stage.portal.mount().trim_end_matches('/');
    let bare = if bare.is_empty() { "/" } else { bare };
    assert!(cookie.contains(&format!("; Path={bare};")), "{cookie}");
    browser.cookies.insert(name.to_owned(), value.to_owned());
    (stage, browser)
}

#[tokio::test(start_paused = true)]
async fn every_link_leads_to_a_page_wherever_it_is_mounted() {
    let mut pages = Vec::new();
    for (mount, path) in [("", "/"), ("/webhooks", "/webhooks/"), ("/webhooks/", "/webhooks/"), ("/a/b/c", "/a/b/c/")] {
        let (stage, browser) = mounted(mount, None).await;
        assert_eq!(stage.portal.mount(), path);
        pages.push(crawl(&browser, path, "").await);
        // The mount itself, with and without the slash.
        for home in [path, path.trim_end_matches('/')].iter().filter(|home| !home.is_empty()) {
            let seen = browser.raw("GET", home, &[], "").await;
            assert_eq!(seen.status, 200, "{home}");
            seen.must_have("<h1>Destinations</h1>");
        }
        let slashed = browser.raw("GET", &format!("{path}activity/"), &[], "").await;
        assert_eq!(slashed.status, 200);
    }
    // The same pages everywhere.
    assert!(pages[0] > 80 && pages.iter().all(|count| *count == pages[0]), "{pages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_prefix_may_be_taken_off_on_the_way() {
    for (mount, stripped) in [("/hooks", Some(true)), ("/a/b/c", Some(true)), ("/activity", Some(true))] {
        let (_stage, browser) = mounted(mount, stripped).await;
        assert!(crawl(&browser, &format!("{mount}/"), mount).await > 80);
    }
    let (stage, browser) = mounted("/activity", Some(false)).await;
    assert!(crawl(&browser, "/activity/", "").await > 80);
    assert_eq!(browser.raw("GET", "/preferences", &[], "").await.status, 404);
    drop(stage);
    // Without a word either is understood.
    let (stage, browser) = mounted("/hooks", None).await;
    for path in ["/hooks/preferences", "/preferences"] {
        let seen = browser.raw("GET", path, &[], "").await;
        assert_eq!(seen.status, 200);
        seen.must_have("href=\"/hooks/activity\"");
    }
    let builder = Portal::builder(stage.outpost.clone()).referer_url("https://app.example/").mount("/activity");
    let error = builder.build().unwrap_err();
    assert!(error.problems().iter().any(|problem| problem.field == "mount"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn portals_below_each_other_keep_their_sessions_apart() {
    let stage = Stage::new().await;
    let inner = Portal::builder(stage.outpost.clone())
        .referer_url("https://app.example/home")
        .public_url("https://app.example/webhooks/inner");
    let inner = inner.build().unwrap();
    let mut outer = stage.browser("acme").await;
    let link = stage.outpost.portal_link("globex", Default::default()).await.unwrap();
    let mut within = Browser::new(&inner);
    // A browser sends the cookies of both to the inner one.
    within.cookies = outer.cookies.clone();
    let token = link.split_once("token=").unwrap().1;
    let page = within.get(&format!("/?token={token}")).await;
    page.must_have("Webhooks of globex").must_have("href=\"/webhooks/inner/activity\"");
    assert_eq!(within.cookies.len(), 2, "{:?}", within.cookies.keys());
    within.get("/").await.must_have("Webhooks of globex");
    outer.cookies.extend(within.cookies.clone());
    outer.get("/").await.must_have("Webhooks of acme");
    let form = within.get("/").await.form("/logout");
    within.ask("POST", "/logout", Some(&form)).await;
    assert_eq!(within.cookies.len(), 1);
    outer.get("/").await.must_have("Webhooks of acme");
}

type Says = Arc<Mutex<Box<dyn Fn() -> outpost_core::Result<Option<Principal>> + Send>>>;

/// A host that answers what a test wants.
#[derive(Clone)]
struct Host(Says);

#[async_trait]
impl Authenticator for Host {
    async fn authenticate(&self, _: &Parts) -> outpost_core::Result<Option<Principal>> {
        (self.0.lock().unwrap())()
    }
}

fn user(tenant: &str, capabilities: Capabilities, binding: &str) -> Principal {
    Principal { tenant: tenant.into(), capabilities, binding: binding.into(), name: "ada@example.com".into() }
}

#[tokio::test(start_paused = true)]
async fn the_host_may_say_who_asks() {
    let host = Host(Arc::new(Mutex::new(Box::new(|| Ok(Some(user("acme", Capabilities::ALL, "one")))))));
    let says =
        |answer: Box<dyn Fn() -> outpost_core::Result<Option<Principal>> + Send>| *host.0.lock().unwrap() = answer;
    let audited: Arc<Mutex<Vec<String>>> = Arc::default();
    let (shared, log) = (host.clone(), audited.clone());
    let stage = Stage::with(
        |engine| engine,
        |webhooks| webhooks,
        |portal| {
            let portal = portal.authenticator(shared).refresh_url("https://app.example/login");
            portal
                .audit(move |done| log.lock().unwrap().push(format!("{} {} {}", done.action, done.tenant, done.actor)))
        },
    )
    .await;
    let ids = furnish(&stage, "acme").await;
    furnish(&stage, "globex").await;
    let mut browser = Browser::new(&stage.portal);
    let page = browser.ask("GET", "/", None).await;
    page.must_have("Webhooks of acme").must_not_have("Sign out");
    assert!(browser.cookies.is_empty(), "the host's session is enough: {:?}", browser.cookies);
    crawl(&browser, "/webhooks/", "").await;
    // Links are no door besides the host's own.
    let link = stage.outpost.portal_link("globex", Default::default()).await.unwrap();
    browser.get(&link).await.must_have("Webhooks of acme");
    assert_eq!(browser.ask("GET", "/enter?token=x", None).await.status, 404);
    // What the host says holds at once.
    let settings = "/destinations/acme-shop/settings";
    browser.get(settings).await.must_have("Save");
    let form = token(&mut browser).await;
    says(Box::new(|| Ok(Some(user("acme", Capabilities::NONE.with(Capability::Read), "one")))));
    let fields = [&form[..], &[("section".into(), "general".into()), ("name".into(), "x".into())]].concat();
    let refused = browser.ask("POST", settings, Some(&fields)).await;
    assert_eq!(refused.status, 403);
    refused.must_have("You may not do this");
    assert_eq!(browser.ask("GET", "/destinations/acme-shop/delete", None).await.status, 403);
    // Another session of the host's: the forms of the last one are void.
    says(Box::new(|| Ok(Some(user("acme", Capabilities::ALL, "two")))));
    let retry = format!("/destinations/acme-shop/deliveries/{}/retry", ids.0[1]);
    let void = browser.ask("POST", &retry, Some(&form)).await;
    assert_eq!(void.status, 403);
    void.must_have("This form was open too long");
    let form = token(&mut browser).await;
    assert_eq!(browser.ask("POST", &retry, Some(&form)).await.status, 303);
    assert_eq!(audited.lock().unwrap().last().unwrap(), "retry delivery acme ada@example.com");
    // The same binding at another tenant.
    says(Box::new(|| Ok(Some(user("globex", Capabilities::ALL, "two")))));
    assert_eq!(browser.ask("GET", "/destinations/acme-shop", None).await.status, 404);
    assert_eq!(browser.ask("POST", &retry, Some(&form)).await.status, 403, "a form of acme");
    let form = token(&mut browser).await;
    assert_eq!(browser.ask("POST", &retry, Some(&form)).await.status, 404);
    says(Box::new(|| Ok(None)));
    let seen = browser.ask("GET", "/activity", None).await;
    assert_eq!(seen.header("location"), "https://app.example/login?return_to=%2Factivity");
    says(Box::new(|| Err(Error::new(ErrorKind::Unavailable, "authenticate", "their database is away"))));
    let seen = browser.ask("GET", "/activity", None).await;
    assert_eq!((seen.status.as_u16(), seen.header("location")), (503, ""));
    assert!(!seen.header("retry-after").is_empty());
    seen.must_not_have("database").must_have("Try again");
    for (tenant, binding) in [("unknown", "two"), ("not a tenant!", "two"), ("", "two"), ("acme", "")] {
        says(Box::new(move || Ok(Some(user(tenant, Capabilities::ALL, binding)))));
        let seen = browser.ask("GET", "/", None).await;
        assert_eq!(seen.status, 500, "{tenant}");
        seen.must_have("Reference ").must_not_have("authenticator");
    }
}

/// The token of a form, as a field.
async fn token(browser: &mut Browser) -> Vec<(String, String)> {
    let page = browser.get("/preferences").await;
    page.form("/preferences").into_iter().filter(|(name, _)| name == "form_token").collect()
}

#[tokio::test(start_paused = true)]
async fn a_host_without_a_place_to_go_to_gets_a_page_not_a_loop() {
    let stage = Stage::new().await;
    let nobody = Host(Arc::new(Mutex::new(Box::new(|| Ok(None)))));
    let portal = Portal::builder(stage.outpost.clone()).authenticator(nobody).build().unwrap();
    let seen = Browser::new(&portal).ask("GET", "/activity", None).await;
    assert_eq!(seen.status, 401);
    seen.must_have("Your session has ended").must_not_have("Continue");
}
