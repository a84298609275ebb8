//! How far a replay has come.

use maud::{Markup, html};
use outpost_core::{Capability, Destination, Error, ErrorKind, Replay, ReplayState};

use super::asked::What;
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::route::{Href, Route};
use crate::text::grouped;
use crate::time::field;
use crate::view::{Nav, Page, post_button};

/// Seconds until a page about a running replay is loaded again.
const AGAIN: u32 = 3;

pub(in crate::pages) async fn progress(cx: &Cx<'_>, job: &str) -> Answer {
    let replay = cx.outpost.replays().get(cx.tenant(), job).await?;
    // It may be deleted meanwhile.
    let destination = match cx.destination(replay.destination_id.as_str()).await {
        Ok(destination) => Some(destination),
        Err(Fault::NotFound) => None,
        Err(fault) => return Err(fault),
    };
    let running = replay.state == ReplayState::Running;
    let reload = running.then_some(AGAIN);
    let body = html! {
        div.detail data-refresh=[reload] {
            div.head {
                div.title { h1 { (cx.t("Replay")) } (pill(cx, replay.state)) }
                @if running && cx.may(Capability::Retry) {
                    div.actions { (post_button(cx, &cx.href(Route::CancelReplay(job)), &cx.t("Cancel replay"), "danger")) }
                }
            }
            section.card {
                h2 { (cx.t("Progress")) }
                (bar(cx, &replay))
                p { (words(cx, &replay)) }
            }
            (facts(cx, &replay, destination.as_ref()))
            @if destination.is_some() {
                section.detail {
                    h2 { (cx.t("What became of them")) }
                    p { (cx.t("The replay asks for attempts; they are made at the destination’s pace. The deliveries tell how they ended.")) }
                    div.actions { a.btn href=(deliveries(cx, &replay)) { (cx.t("See the deliveries")) } }
                }
            }
        }
    };
    let mut crumbs = vec![(cx.t("Destinations").into_owned(), cx.href(Route::Home))];
    if let Some(destination) = &destination {
        let id = destination.id.as_str();
        crumbs.push((cx.name_of(destination), cx.href(Route::Overview(id))));
        crumbs.push((cx.t("Replay deliveries").into_owned(), cx.href(Route::Replay(id))));
    }
    Ok(Page::new(cx.t("Replay"), Nav::Destinations, body).below(crumbs).reload(reload).ok(cx))
}

pub(super) fn pill(cx: &Cx<'_>, state: ReplayState) -> Markup {
    let (class, sign, word) = match state {
        ReplayState::Running => ("info", Icon::Clock, "Running"),
        ReplayState::Done => ("ok", Icon::Check, "Done"),
        ReplayState::Cancelled => ("neutral", Icon::Pause, "Cancelled"),
        ReplayState::Stopped => ("fail", Icon::Cross, "Stopped"),
    };
    html! { span class={ "pill " (class) } { (icon(sign)) (cx.t(word)) } }
}

/// The bar has an end where the preview told of one.
fn bar(cx: &Cx<'_>, replay: &Replay) -> Markup {
    let expected = cx.request.query.get("of").and_then(|of| of.parse::<u64>().ok()).filter(|of| *of > 0);
    let most = expected.map(|of| of.max(replay.found));
    let label = cx.t("Progress of the replay");
    html! {
        @match (replay.state, most) {
            (ReplayState::Done, _) => progress max="1" value="1" aria-label=(label) {},
            (_, Some(most)) => progress max=(most) value=(replay.found) aria-label=(label) {},
            (ReplayState::Running, None) => progress aria-label=(label) {},
            (_, None) => {}
        }
    }
}

fn words(cx: &Cx<'_>, replay: &Replay) -> String {
    let text = match replay.state {
        ReplayState::Running => "{found} found so far, {requested} of them asked for again.",
        ReplayState::Done => {
            "{found} found, {requested} of them asked for again. The others were on their way already."
        }
        ReplayState::Cancelled => "It was cancelled after {found} were found; {requested} of them are tried again.",
        ReplayState::Stopped => {
            "It was stopped after {found} were found and {requested} asked for again: the destination was disabled or deleted."
        }
    };
    let text = if replay.state == ReplayState::Done && replay.found == replay.requested {
        "{found} found, all of them asked for again."
    } else {
        text
    };
    cx.f(text, &[("found", &grouped(replay.found)), ("requested", &grouped(replay.requested))])
}

fn facts(cx: &Cx<'_>, replay: &Replay, destination: Option<&Destination>) -> Markup {
    let request = &replay.request;
    html! {
        dl.facts {
            dt { (cx.t("Replay ID")) }
            dd { code { (replay.id) } }
            dt { (cx.t("Destination")) }
            dd {
                @match destination {
                    Some(found) => a href=(cx.href(Route::Overview(found.id.as_str()))) { (cx.name_of(found)) },
                    None => { code { (replay.destination_id) } " " span.tag { (cx.t("deleted")) } }
                }
            }
            dt { (cx.t("Started")) }
            dd { (cx.time(replay.created_at)) }
            dt { (if replay.state == ReplayState::Running { cx.t("Last step") } else { cx.t("Ended") }) }
            dd { (cx.time(replay.updated_at)) }
            @if let Some(what) = What::of(&request.states) { dt { (cx.t("What")) } dd { (cx.t(what.label())) } }
            @if let Some(from) = request.from { dt { (cx.t("From")) } dd { (cx.time(from)) } }
            @if let Some(until) = request.until { dt { (cx.t("Until")) } dd { (cx.time(until)) } }
            @if !request.topics.is_empty() { dt { (cx.t("Topics")) } dd.mono { (request.topics.join(", ")) } }
            @if request.missing { dt { (cx.t("Besides")) } dd { (cx.t("Events that were published before it wanted them")) } }
        }
    }
}

/// The destination's deliveries of the same time.
fn deliveries(cx: &Cx<'_>, replay: &Replay) -> Href {
    let zone = &cx.prefs.zone.1;
    let mut to = cx.href(Route::Deliveries(replay.destination_id.as_str()));
    if let Some(from) = replay.request.from {
        to = to.with("from", field(from, zone));
    }
    // A minute more, because the field has no seconds.
    if let Some(until) = replay.request.until {
        to = to.with("until", field(until.after(std::time::Duration::from_secs(59)), zone));
    }
    to
}

pub(in crate::pages) async fn cancel(cx: &Cx<'_>, job: &str) -> Answer {
    cx.outpost.replays().get(cx.tenant(), job).await?;
    if !cx.may(Capability::Retry) {
        return Err(Fault::Core(Error::new(ErrorKind::Forbidden, "cancel replay", "the session may not retry")));
    }
    let here = cx.href(Route::ReplayJob(job));
    let done = cx.t("Replay cancelled. What was asked for before is still sent.");
    if !cx.first_time().await? {
        return Ok(cx.go_saying(&here, &done));
    }
    match cx.outpost.replays().cancel(cx.tenant(), job).await {
        Ok(_) => {
            cx.audit("cancel replay", job);
            Ok(cx.go_saying(&here, &done))
        }
        Err(error) if error.kind() == ErrorKind::Conflict => {
            Ok(cx.go_saying(&here, &cx.t("The replay had ended already.")))
        }
        Err(error) => Err(error.into()),
    }
}
