//! Coming in and going out: portal links, sessions, and what happens without one.

use std::fmt::Write as _;

use http::StatusCode;
use http::header;
use http::request::Parts;
use maud::html;
use outpost_core::{ErrorKind, check_return_to};

use crate::auth::Who;
use crate::cx::{Answer, Cx, Fault};
use crate::reply::Reply;
use crate::request::Request;
use crate::route::Route;
use crate::view::{Nav, Page};

/// Marks the first address after a link was opened with the time, so that a browser that refuses cookies is told so
/// in place of being sent round and round. Later it means nothing: the address may be a bookmark.
const ENTERED: &str = "entered";
/// For how long the mark holds, in seconds.
const MARKED: i64 = 60;

/// The answer to an address with a link's token in it; `None` when there is none.
pub(crate) async fn by_link(cx: &Cx<'_>, parts: &Parts) -> Option<Answer> {
    // With the host's own sessions there are no links.
    if cx.site.authenticator.is_some() || cx.request.is_post() {
        return None;
    }
    let token = cx.request.query.get("token")?;
    Some(open(cx, token, Some(parts)).await)
}

/// `/enter`: a link's token by a form, for hosts that can send one, or in the address.
pub(crate) async fn enter(cx: &Cx<'_>, parts: &Parts) -> Answer {
    if cx.site.authenticator.is_some() {
        return Err(Fault::NotFound);
    }
    let given = if cx.request.is_post() { &cx.request.form } else { &cx.request.query };
    let token = given.get("token").ok_or(Fault::NoSession)?;
    // Who sends a form has been asked already, or comes from the host.
    open(cx, token, (!cx.request.is_post()).then_some(parts)).await
}

/// Uses a token up. `parts`: the request, when it stood in an address that anybody may have followed.
async fn open(cx: &Cx<'_>, token: &str, parts: Option<&Parts>) -> Answer {
    let request = cx.request;
    if !request.is_post() && (request.method == http::Method::HEAD || !request.is_navigation()) {
        // Scanners of links and browsers that look ahead must not use it up.
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    let tokens = cx.site.outpost.tokens();
    let entry = tokens.peek(token).await?;
    let live = match parts {
        Some(parts) => cx.site.who(request, parts).await?,
        None => None,
    };
    match &live {
        Some(who) if who.tenant == entry.tenant_id.as_str() && entry.used => return Ok(clean(cx, false)),
        Some(who) if who.tenant != entry.tenant_id.as_str() && !entry.used => {
            return Ok(confirm(cx, who, entry.tenant_id.as_str(), token));
        }
        _ => {}
    }
    let session = match tokens.enter(token).await {
        Ok(session) => session,
        // Somebody else, or a second click, was quicker.
        Err(error) if error.kind() == ErrorKind::Unauthenticated && live.is_some() => return Ok(clean(cx, false)),
        Err(error) => return Err(error.into()),
    };
    let mut reply = clean(cx, true);
    let left = i64::try_from(session.ends_at().since(cx.now).as_secs()).unwrap_or(0);
    reply.add_cookie(&cx.site.cookie("", session.token(), Some(left)));
    // What the last one wanted does not hold for this one.
    let theme = request.query.get("theme").or_else(|| request.form.get("theme")).and_then(outpost_core::Theme::parse);
    match theme {
        Some(theme) => reply.add_cookie(&cx.site.cookie("theme", theme.as_str(), None)),
        None => reply.add_cookie(&cx.site.no_cookie("theme")),
    }
    Ok(reply)
}

/// On to the page that was wanted, without the token.
fn clean(cx: &Cx<'_>, entered: bool) -> Reply {
    let given = |name| cx.request.query.get(name).or_else(|| cx.request.form.get(name));
    let wanted = given("return_to").or_else(|| given("next")).filter(|path| is_inside(path));
    let own = || {
        // The address itself, less what was only for the door.
        let kept: Vec<(String, String)> = cx
            .request
            .query
            .pairs()
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "token" | "theme" | "return_to" | "next" | ENTERED))
            .cloned()
            .collect();
        let path = if cx.request.path == "/enter" { "/" } else { cx.request.path.as_str() };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    };
    let path = wanted.map_or_else(own, str::to_owned);
    let (path, fragment) =
        path.split_once('#').map_or((path.as_str(), None), |(path, fragment)| (path, Some(fragment)));
    let mut to = format!("{}{}", cx.site.mount.as_str(), path.trim_start_matches('/'));
    if entered {
        to.push_str(if to.contains('?') { "&" } else { "?" });
        let _ = write!(to, "{ENTERED}={}", cx.now.as_seconds());
    }
    if let Some(fragment) = fragment {
        to.push('#');
        to.push_str(fragment);
    }
    let mut reply = Reply::see_other(&to);
    reply.set(header::REFERRER_POLICY, "no-referrer");
    reply
}

/// Whether a way back leads into the portal: a plain path below the mount, however it may be decoded on the way.
pub(crate) fn is_inside(path: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
    let fine = |text: &str| check_return_to(text).is_ok() && text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    fine(path)
        && decoded.is_ok_and(|decoded| check_return_to(decoded.split(['?', '#']).next().unwrap_or_default()).is_ok())
}

/// Somebody is signed in for one tenant and opens another's link.
fn confirm(cx: &Cx<'_>, who: &Who, other: &str, token: &str) -> Reply {
    let given = |name| cx.request.query.get(name);
    let body = html! {
        div.narrow {
            h1 { (cx.f("Switch to {tenant}?", &[("tenant", &other)])) }
            p { (cx.f("You are looking at the webhooks of {current}. This link opens those of {other}.", &[("current", &who.tenant), ("other", &other)])) }
            form method="post" action=(cx.href(Route::Enter)) {
                input type="hidden" name="token" value=(token);
                @for name in ["return_to", "theme"] {
                    @if let Some(value) = given(name) { input type="hidden" name=(name) value=(value); }
                }
                div.actions {
                    button.btn.primary type="submit" { (cx.f("Switch to {tenant}", &[("tenant", &other)])) }
                    a.btn href=(cx.href(Route::Home)) { (cx.f("Stay with {tenant}", &[("tenant", &who.tenant)])) }
                }
            }
        }
    };
    Page::new(cx.f("Switch to {tenant}?", &[("tenant", &other)]), Nav::None, body).ok(cx).secret()
}

/// Ends the session everywhere, for good.
pub(crate) async fn log_out(cx: &Cx<'_>) -> Answer {
    if cx.site.authenticator.is_some() {
        return Err(Fault::NotFound);
    }
    if let Some(session) = cx.who.as_ref().and_then(|who| who.session.as_ref()) {
        cx.site.outpost.tokens().end(session).await?;
    }
    let mut reply = cx.go(&cx.href(Route::SignedOut));
    for cookie in ["", "note", "theme"] {
        reply.add_cookie(&cx.site.no_cookie(cookie));
    }
    Ok(reply)
}

pub(crate) fn signed_out(cx: &Cx<'_>) -> Reply {
    let title = cx.t("You are signed out").into_owned();
    let body = html! {
        div.narrow {
            h1 { (title) }
            p { (cx.t("Nobody can use this browser to see or change the webhooks until somebody signs in again.")) }
            @if let Some(link) = way_back(cx, None) { div.actions { a.btn.primary href=(link) { (continue_at(cx)) } } }
        }
    };
    Page::new(title, Nav::None, body).ok(cx)
}

fn continue_at(cx: &Cx<'_>) -> String {
    match &cx.site.organization {
        Some(name) => cx.f("Continue at {host}", &[("host", name)]),
        None => cx.t("Continue").into_owned(),
    }
}

/// Where the host application gives a new link; with `return_to`, what was wanted here.
fn way_back(cx: &Cx<'_>, return_to: Option<&str>) -> Option<String> {
    let mut url = cx.site.refresh.clone().or_else(|| cx.site.referer.clone())?;
    if let Some(path) = return_to {
        url.query_pairs_mut().append_pair("return_to", path);
    }
    Some(url.into())
}

/// The address within the portal that was asked for, for a way back.
fn wanted(request: &Request) -> String {
    let kept = request.query.pairs().iter().filter(|(name, _)| !matches!(name.as_str(), "token" | "theme" | ENTERED));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    let path = if matches!(request.path.as_str(), "/expired" | "/enter") { "/" } else { &request.path };
    let wanted = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    if is_inside(&wanted) { wanted } else { "/".to_owned() }
}

/// Nobody is signed in.
pub(crate) fn no_session(cx: &Cx<'_>) -> Reply {
    let request = cx.request;
    let here = wanted(request);
    let link = way_back(cx, Some(&here));
    let given_token = request.query.has("token") || request.path == "/enter";
    let marked = request.query.get(ENTERED).and_then(|at| at.parse::<i64>().ok());
    let lately = marked.is_some_and(|at| cx.now.as_seconds().abs_diff(at) <= MARKED.unsigned_abs());
    let cookies_blocked = lately && cx.site.authenticator.is_none();
    let page_wanted = !request.is_post() && request.is_navigation() && request.path != "/expired";
    if let Some(link) = link.as_ref().filter(|_| page_wanted && !given_token && !cookies_blocked) {
        return Reply::see_other(link);
    }
    let (title, text) = if cookies_blocked {
        (
            cx.t("Your browser keeps no cookies here"),
            cx.t("The link was right, but without a cookie the next page does not know you. Allow cookies for this site, or open the link in a window of its own."),
        )
    } else if given_token {
        (
            cx.t("This link does not work any more"),
            cx.t("Links to the webhooks work once and for a short time. Ask for a new one."),
        )
    } else {
        (cx.t("Your session has ended"), cx.t("Sign in again to go on."))
    };
    // What another site has filled in is not to be sent from here by a click.
    let kept = request.is_post() && request.path != "/enter" && !request.is_foreign(cx.site.origin.as_deref());
    let body = html! {
        div.narrow {
            h1 { (title) }
            p { (text) }
            @if let Some(link) = &link { div.actions { a.btn.primary href=(link) { (continue_at(cx)) } } }
            @if kept {
                p { (cx.t("What you typed is kept on this page: sign in again in another tab, then send it again.")) }
                (kept_form(cx))
            }
        }
    };
    Page::new(title.into_owned(), Nav::None, body).with_status(cx, StatusCode::UNAUTHORIZED).secret()
}

/// What was typed into a form that could not be taken, to be sent again. Secrets are left out.
pub(crate) fn kept_form(cx: &Cx<'_>) -> maud::Markup {
    // Such as headers that users add: one of them may be `Authorization`.
    let fields = || cx.site.types.iter().flat_map(|kind| &kind.config_fields).filter(|field| field.sensitive);
    let sensitive =
        |name: &str| name == "header_value" || fields().any(|field| name.split('.').nth(1) == Some(field.key));
    let secret = |name: &str| {
        name == "form_token"
            || name == "token"
            || name.starts_with("credentials.")
            || sensitive(name)
            || name.contains("secret")
            || name.contains("password")
    };
    let kept: Vec<&(String, String)> = cx.request.form.pairs().iter().filter(|(name, _)| !secret(name)).collect();
    let here = format!("{}{}", cx.site.mount.as_str(), cx.request.path.trim_start_matches('/'));
    // Whether the old token is good yet is seen when the form comes back.
    let token = if cx.who.is_some() { cx.form_token() } else { cx.request.form.text("form_token").to_owned() };
    html! {
        form.stack method="post" action=(here) {
            input type="hidden" name="form_token" value=(token);
            @for (name, value) in kept { input type="hidden" name=(name) value=(value); }
            button.btn.primary type="submit" { (cx.t("Send it again")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_never_leads_out() {
        for inside in ["/", "/activity?status=failed&q=a%20b", "/destinations/des_1/deliveries/evt_1#attempt-3"] {
            assert!(is_inside(inside), "{inside}");
        }
        for outside in [
            "",
            "activity",
            "//evil.test",
            "/\\evil.test",
            "https:evil.test",
            "https://evil.test",
            "/%2f%2fevil.test",
            "/%2Fevil.test",
            "/a\r\nset-cookie:x",
            "/%0d%0aset-cookie:x",
            "/\u{0}",
            "/ /evil",
            "/%5cevil.test",
            "/a//b",
            "/../host",
            "/activity/../../host",
            "/%2e%2e/host",
            "/.%2E/host",
            "/./x",
        ] {
            assert!(!is_inside(outside), "{outside:?}");
        }
    }
}
