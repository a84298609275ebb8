//! Error pages: what happened, whether anything was changed, and what to do next. Never a stack, never another's words.

use http::{StatusCode, header};
use maud::html;
use outpost_core::{Entropy as _, ErrorKind, SystemEntropy};

use super::entry;
use crate::cx::{Cx, Fault};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::{Nav, Page};

pub(crate) fn page(cx: &Cx<'_>, fault: &Fault) -> Reply {
    if matches!(fault, Fault::NoSession) {
        return entry::no_session(cx);
    }
    let status = fault.status();
    let (title, text) = words(cx, fault);
    let again = matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::INTERNAL_SERVER_ERROR
    );
    let here = (again && !cx.request.is_post()).then(|| here(cx));
    // What another site has filled in is not to be sent from here by a click.
    let ours = cx.request.is_post() && !cx.request.is_foreign(cx.site.origin.as_deref());
    let kept = ours && (again || matches!(fault, Fault::Form));
    let body = html! {
        div.narrow {
            h1 { (title) }
            p { (text) }
            @if let Fault::Core(error) = fault {
                @if error.kind() == ErrorKind::Invalid {
                    ul { @for problem in error.problems() { li { (problem.field) ": " (problem.message) } } }
                }
            }
            @if kept { (entry::kept_form(cx)) }
            div.actions {
                @if let Some(here) = here { a.btn.primary href=(here) { (cx.t("Try again")) } }
                @if cx.who.is_some() { a.btn href=(cx.href(Route::Home)) { (cx.t("All destinations")) } }
            }
        }
    };
    let mut reply = Page::new(title, Nav::None, body).with_status(cx, status);
    if kept {
        reply = reply.secret();
    }
    match fault {
        Fault::Method(methods) => reply.set(header::ALLOW, methods.allow()),
        Fault::Core(error) => {
            let wait = error.retry_after().map(|wait| wait.as_secs() + 1);
            if let Some(wait) = wait.or_else(|| error.is_transient().then_some(5)) {
                reply.set(header::RETRY_AFTER, &wait.to_string());
            }
        }
        _ => {}
    }
    reply
}

/// The address that was asked for, without what was for the door alone.
fn here(cx: &Cx<'_>) -> String {
    let kept = cx.request.query.pairs().iter().filter(|(name, _)| !matches!(name.as_str(), "token" | "theme"));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    let path = format!("{}{}", cx.site.mount.as_str(), cx.request.path.trim_start_matches('/'));
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

fn words(cx: &Cx<'_>, fault: &Fault) -> (String, String) {
    let say = |title, text| (cx.t(title).into_owned(), cx.t(text).into_owned());
    let error = match fault {
        Fault::NotFound => return say("Nothing here", "There is nothing here, or it is not yours."),
        Fault::NoSession => return say("Your session has ended", "Sign in again to go on."),
        Fault::Method(_) => {
            return say("That does not work here", "This address does not take such a request. Nothing was changed.");
        }
        Fault::Form => {
            return say(
                "This form was open too long",
                "Nothing was changed. What you typed is kept; secrets must be typed again.",
            );
        }
        Fault::Foreign => {
            return say("This form is not one of ours", "It was sent from another site. Nothing was changed.");
        }
        Fault::MediaType => {
            return say("That is not a form", "Only forms of these pages are taken. Nothing was changed.");
        }
        Fault::TooLarge => {
            return say("That is too large", "A form may have 1 MiB and 2,000 fields. Nothing was changed.");
        }
        Fault::BadRequest => return say("The request did not arrive whole", "Nothing was changed. Please try again."),
        Fault::Core(error) => error,
    };
    match error.kind() {
        ErrorKind::Forbidden => say("You may not do this", "You can look, but not change this here."),
        ErrorKind::RateLimited => {
            let wait = error.retry_after().map_or(1, |wait| wait.as_secs() + 1);
            let text = cx.n(
                wait,
                "Too many requests. Try again in a second.",
                "Too many requests. Try again in {count} seconds.",
            );
            (cx.t("A little slower, please").into_owned(), text)
        }
        ErrorKind::Stale => say(
            "Somebody else was quicker",
            "It was changed by somebody else in the meantime. Nothing of yours was saved; load the page again.",
        ),
        ErrorKind::LimitReached => (cx.t("A limit is reached").into_owned(), sentence(error.message())),
        ErrorKind::Conflict => (cx.t("That is not possible now").into_owned(), sentence(error.message())),
        ErrorKind::Invalid => say("That is not quite right", "Nothing was changed. This could not be used:"),
        kind if kind.is_transient() => {
            tracing::warn!(error = error as &dyn std::error::Error, "a page could not be made");
            if cx.request.is_post() && cx.who.is_none() {
                return say("We could not do this", "Nothing was changed. Please send it again in a moment.");
            }
            if cx.request.is_post() {
                let text = "Something did not answer in time. Look whether it was done before you send it again.";
                return say("We could not do this", text);
            }
            say("We could not load this", "Nothing is lost, and deliveries go on. Please try again in a moment.")
        }
        _ => {
            let mut random = [0; 4];
            SystemEntropy::default().fill(&mut random);
            let reference = format!("{:08x}", u32::from_be_bytes(random));
            tracing::error!(reference, error = error as &dyn std::error::Error, "a page failed");
            let text = cx.f("Something went wrong on our side. Reference {reference}.", &[("reference", &reference)]);
            (cx.t("That is our fault").into_owned(), text)
        }
    }
}

/// The core's message as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}
