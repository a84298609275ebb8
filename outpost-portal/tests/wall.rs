//! The wall: who gets an answer at which address. Every address is asked, as `support/routes.txt` lists them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/routes.rs"]
mod routes;
mod support;

use outpost_core::{Capabilities, Capability};

use self::routes::{Door, Ids, Need, doors, furnish, state};
use self::support::{Browser, Seen, Stage};

/// What a form would hold that does the most at every address.
fn fields(door: &Door, ids: [&str; 3], token: &str) -> Vec<(String, String)> {
    let [destination, event, _] = ids;
    let both = format!("{destination}/{event}");
    let pick = if door.pattern == "activity/retry" { &both } else { event };
    let fields = [
        ("form_token", token),
        ("pick", pick),
        ("confirm", "1"),
        ("confirm", destination),
        ("step", "start"),
        ("what", "all"),
        ("name", destination),
        ("section", "general"),
        ("config.url", "https://changed.example/hook"),
        ("all_topics", "1"),
        ("topics", "order.created"),
        ("topic", "order.created"),
        ("grace", "0"),
        ("zone", "UTC"),
    ];
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A token for a form, as any page has it.
async fn token(browser: &mut Browser) -> String {
    let page = browser.get("/preferences").await;
    page.form("/preferences").into_iter().find(|(name, _)| name == "form_token").expect("a token").1
}

async fn ask(browser: &mut Browser, door: &Door, method: &str, ids: [&str; 3]) -> Seen {
    let path = door.path(ids);
    if method == "GET" {
        return browser.ask("GET", &path, None).await;
    }
    let token = token(browser).await;
    let seen = browser.ask("POST", &path, Some(&fields(door, ids, &token))).await;
    // What it says on the next page is no matter here.
    browser.cookies.retain(|name, _| !name.ends_with("-note"));
    seen
}

/// Asks at every address that needs a session, and wants to be sent away without anything having changed.
async fn is_shut_out(stage: &Stage, who: &str, browser: &Browser, ids: &Ids) {
    let before = state(stage).await;
    for door in doors() {
        for (method, need) in door.methods().filter(|(_, need)| *need != Need::Open) {
            let mut browser = browser.clone();
            let path = door.path(ids.refs());
            let form = (method == "POST").then(|| fields(&door, ids.refs(), "none"));
            let seen = browser.ask(method, &path, form.as_deref()).await;
            let right = if method == "GET" { 303 } else { 401 };
            assert_eq!(seen.status, right, "{who}: {method} {path}, which needs {need:?}");
            if method == "GET" {
                assert!(seen.header("location").starts_with("https://app.example/home?return_to=%2F"), "{path}");
                // A script learns no more.
                browser.headers = vec![("sec-fetch-dest", "empty".to_owned())];
                assert_eq!(browser.ask("GET", &path, None).await.status, 401, "{who}: a script at {path}");
                browser.headers.clear();
                let head = browser.ask("HEAD", &path, None).await;
                assert_eq!((head.status.as_u16(), head.bytes.len()), (303, 0), "{who}: HEAD {path}");
            }
            for data in ["order.created", ids.0[0].as_str()] {
                let shown = seen.text.replace(&path, "").replace(&format!("value=\"{data}"), "");
                assert!(!shown.contains(&format!("{data}.example")), "{who}: {method} {path} tells of {data}");
            }
        }
    }
    assert_eq!(state(stage).await, before, "{who} changed something");
}

#[tokio::test(start_paused = true)]
async fn without_a_session_every_page_sends_away() {
    let stage = Stage::new().await;
    let ids = furnish(&stage, "acme").await;
    let nobody = Browser::new(&stage.portal);
    is_shut_out(&stage, "nobody", &nobody, &ids).await;
    let mut forged = stage.browser("acme").await;
    for value in forged.cookies.values_mut() {
        // The signature's first character: the last one holds bits that may not count.
        let at = value.rfind('.').unwrap() + 1;
        let other = if value[at..].starts_with('A') { "B" } else { "A" };
        value.replace_range(at..=at, other);
    }
    is_shut_out(&stage, "a forger", &forged, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_ended_opens_nothing() {
    let stage = Stage::new().await;
    let ids = furnish(&stage, "acme").await;
    let mut browser = stage.browser("acme").await;
    let copy = browser.clone();
    let page = browser.get("/").await;
    browser.send(&page, "/logout", &[]).await.must_have("You are signed out");
    is_shut_out(&stage, "a copied cookie", &copy, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_outlive_its_tenant() {
    let stage = Stage::new().await;
    let old = stage.browser("acme").await;
    stage.outpost.tenants().delete("acme").await.unwrap();
    let gone = old.clone().ask("GET", "/", None).await;
    assert_eq!(gone.status, 303, "{}", gone.text);
    stage.outpost.tenants().put("acme", None).await.unwrap();
    let ids = furnish(&stage, "acme").await;
    is_shut_out(&stage, "the last tenant of that name", &old, &ids).await;
}

/// A page without what is different each time it is made: its form tokens, the ids that were asked for, a time.
fn plain(seen: &Seen, ids: [&str; 3]) -> String {
    let mut text = String::new();
    for (index, part) in seen.text.split("name=\"form_token\" value=\"").enumerate() {
        text += if index == 0 { part } else { part.split_once('"').map_or("", |(_, rest)| rest) };
    }
    for id in ids {
        text = text.replace(id, "ID");
    }
    text
}

#[tokio::test(start_paused = true)]
async fn what_is_anothers_is_as_if_it_were_not_there() {
    let stage = Stage::new().await;
    let own = furnish(&stage, "acme").await;
    let theirs = furnish(&stage, "globex").await;
    let random = Ids::nobodys();
    let mut browser = stage.browser("acme").await;
    let before = state(&stage).await;
    let mut wrong: Vec<String> = Vec::new();
    for door in doors().iter().filter(|door| door.has_ids()) {
        for (method, _) in door.methods() {
            // Another's id in each place, alone and with own ones around it.
            for place in 0..4 {
                let mix = |others: &Ids| -> [String; 3] {
                    std::array::from_fn(|at| if place == 3 || at == place { &others.0[at] } else { &own.0[at] }.clone())
                };
                let (foreign, none) = (mix(&theirs), mix(&random));
                let (foreign, none) = (foreign.each_ref().map(String::as_str), none.each_ref().map(String::as_str));
                if door.path(foreign) == door.path(own.refs()) {
                    continue;
                }
                let seen = ask(&mut browser, door, method, foreign).await;
                let control = ask(&mut browser, door, method, none).await;
                // A list's form goes back to the list, which is not there either.
                let back = door.pattern == "destinations/DES/retry" && seen.status == 303;
                if seen.status != 404 && !back {
                    wrong.push(format!("{method} {}: {}", door.path(foreign), seen.status));
                }
                assert_eq!(seen.status, control.status, "{method} {}", door.path(foreign));
                assert_eq!(plain(&seen, foreign), plain(&control, none), "{method} {}", door.path(foreign));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(state(&stage).await, before);
}

#[tokio::test(start_paused = true)]
async fn lists_exports_and_the_search_hold_nothing_of_anothers() {
    let stage = Stage::new().await;
    let own = furnish(&stage, "acme").await;
    let theirs = furnish(&stage, "globex").await;
    let mut browser = stage.browser("acme").await;
    for path in ["/", "/activity", "/activity?status=unmatched", "/activity.csv", "/activity.ndjson"] {
        let seen = browser.get(path).await;
        assert_eq!(seen.status, 200, "{path}");
        for id in theirs.refs() {
            seen.must_not_have(id);
        }
    }
    browser.get("/activity.csv").await.must_have(&own.0[1]);
    for (name, id) in [("destination", &theirs.0[0]), ("id", &theirs.0[1])] {
        for list in ["activity", "activity.csv", "activity.ndjson"] {
            let seen = browser.get(&format!("/{list}?{name}={id}")).await;
            let rows = |text: &str| text.matches("order.created").count();
            let none = browser.get(&format!("/{list}?{name}=nothing")).await;
            assert_eq!(rows(&seen.text), rows(&none.text), "{list} by {name}");
        }
    }
    for id in theirs.refs() {
        let seen = browser.ask("GET", &format!("/find?q={id}"), None).await;
        let none = browser.ask("GET", "/find?q=nothing-at-all", None).await;
        assert_eq!(seen.status, 200);
        assert_eq!(plain(&seen, [id; 3]), plain(&none, ["nothing-at-all"; 3]));
    }
    for id in own.refs() {
        assert_eq!(browser.ask("GET", &format!("/find?q={id}"), None).await.status, 303, "{id}");
    }
    // What is ticked in a list may be anything.
    let before = state(&stage).await;
    let picks = [("pick", format!("{}/{}", theirs.0[0], theirs.0[1])), ("form_token", token(&mut browser).await)];
    let form = picks.map(|(name, value)| (name.to_owned(), value));
    let seen = browser.ask("POST", "/activity/retry", Some(&form)).await;
    assert_eq!(seen.status, 303);
    assert_eq!(state(&stage).await, before);
}

#[tokio::test(start_paused = true)]
async fn each_address_needs_its_capability_and_no_other() {
    let mut wrong = Vec::new();
    for set in 0..16_u8 {
        let capabilities: Capabilities =
            Capability::ALL.into_iter().enumerate().filter(|(at, _)| set & 1 << at != 0).map(|(_, one)| one).collect();
        let stage = Stage::new().await;
        let ids = furnish(&stage, "acme").await;
        let link = outpost_core::PortalLink::default().capabilities(capabilities).return_to("/preferences");
        let link = stage.outpost.portal_link("acme", link).await.unwrap();
        let mut browser = Browser::new(&stage.portal);
        assert_eq!(browser.get(&link).await.status, 200, "{capabilities:?}");
        for door in doors().iter().filter(|door| door.pattern != "logout") {
            for (method, need) in door.methods().filter(|(_, need)| *need != Need::Open) {
                let before = state(&stage).await;
                let path = door.path(ids.refs());
                let met = need.met_by(capabilities);
                let seen = if met && method == "POST" {
                    // A form with nothing in it gets on, or gets told so.
                    let form = [("form_token".to_owned(), token(&mut browser).await)];
                    browser.ask("POST", &path, Some(&form)).await
                } else {
                    ask(&mut browser, door, method, ids.refs()).await
                };
                let status = seen.status.as_u16();
                let right = match (met, method) {
                    (false, _) => status == 403,
                    (true, "GET") => status == door.status,
                    (true, _) => matches!(status, 200 | 303 | 400 | 409 | 422),
                };
                if !right {
                    wrong.push(format!("{method} {path} with {capabilities:?}, which needs {need:?}: {status}"));
                }
                if !met {
                    if state(&stage).await != before {
                        wrong.push(format!("{method} {path} with {capabilities:?} changed something"));
                    }
                    seen.must_not_have("shop.example/hook");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
