//! Disabling, enabling and deleting a destination: each with a page that says what will happen, and a form that does it.

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{
    Capability, Destination, DisabledBy, Error, ErrorKind, LaneRecord, Measure, MetricValue, MetricsQuery,
};

use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::reply::Reply;
use crate::route::{Href, Route};
use crate::view::code::one_line;
use crate::view::form::{Field, Kind, Wrong, form};
use crate::view::{Nav, Page, button_link, disabled_by};

/// A destination's queue, for what only adorns a page: without it the page says less.
pub(super) async fn lane(cx: &Cx<'_>, id: &str) -> Option<LaneRecord> {
    match cx.outpost.destinations().lane(cx.tenant(), id).await {
        Ok(lane) => Some(lane),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a queue could not be read");
            None
        }
    }
}

pub(super) async fn confirm_disable(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    if destination.disabled.is_some() {
        return Ok(cx.go_saying(&cx.href(Route::Overview(id)), &cx.t("It is disabled already.")));
    }
    let waiting = waiting(cx, id).await;
    let title = cx.f("Disable {name}?", &[("name", &cx.name_of(&destination))]);
    let inside = html! {
        ul {
            li { (waits(cx, waiting)) }
            li { (cx.t("New events are kept as skipped and can be replayed once it is enabled.")) }
            li { (cx.t("What is being sent at this moment may still arrive.")) }
        }
        (confirm(cx, &cx.href(Route::Disable(id)), &cx.href(Route::Overview(id)), &cx.t("Disable"), html! {}))
    };
    Ok(page(cx, &destination, &title, inside, &Wrong::default()).ok(cx))
}

pub(super) async fn disable(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    let there = cx.href(Route::Overview(id));
    if destination.disabled.is_some() {
        return Ok(cx.go_saying(&there, &cx.t("It is disabled already.")));
    }
    if !cx.first_time().await? {
        return Ok(twice(cx, &there));
    }
    let waiting = waiting(cx, id).await;
    cx.outpost.destinations().disable(cx.tenant(), id, "").await?;
    cx.audit("disable destination", id);
    let said = match waiting {
        None => cx.t("Disabled. Nothing is sent to it any more.").into_owned(),
        Some(0) => cx.t("Disabled. Nothing waited for it.").into_owned(),
        Some(count) => cx.n(
            count,
            "Disabled. The delivery that waited for it is skipped.",
            "Disabled. The {count} deliveries that waited for it are skipped.",
        ),
    };
    Ok(cx.go_saying(&there, &said))
}

pub(super) async fn confirm_enable(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    let Some(disabled) = &destination.disabled else {
        return Ok(cx.go_saying(&cx.href(Route::Overview(id)), &cx.t("It is enabled already.")));
    };
    let title = cx.f("Enable {name}?", &[("name", &cx.name_of(&destination))]);
    let inside = html! {
        p { (disabled_by(cx, disabled.by)) }
        dl.facts {
            dt { (cx.t("Since")) } dd { (cx.time(disabled.at)) " (" (cx.until_or_ago(disabled.at)) ")" }
            @if !disabled.reason.is_empty() { dt { (cx.t("Reason")) } dd { (one_line(&disabled.reason)) } }
        }
        @if disabled.by == DisabledBy::OperatorLock {
            (locked(cx))
            div.actions { (button_link(&cx.href(Route::Overview(id)), &cx.t("Back"), false)) }
        } @else {
            ul {
                li { (cx.t("New events are sent to it from then on.")) }
                li { (cx.t("What was published in the meantime is not sent by itself; replay it if it is wanted.")) }
                @if matches!(disabled.by, DisabledBy::Gone | DisabledBy::Failures | DisabledBy::Failing) {
                    li { (cx.t("If the receiver still fails, it will be disabled again. Send a test event first.")) }
                }
            }
            (confirm(cx, &cx.href(Route::Enable(id)), &cx.href(Route::Overview(id)), &cx.t("Enable"), html! {}))
        }
    };
    Ok(page(cx, &destination, &title, inside, &Wrong::default()).ok(cx))
}

pub(super) async fn enable(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    let there = cx.href(Route::Overview(id));
    let Some(disabled) = &destination.disabled else {
        return Ok(cx.go_saying(&there, &cx.t("It is enabled already.")));
    };
    if disabled.by == DisabledBy::OperatorLock {
        return Ok(refused(cx, &destination, locked(cx), http::StatusCode::FORBIDDEN));
    }
    if !cx.first_time().await? {
        return Ok(twice(cx, &there));
    }
    match cx.outpost.destinations().enable(cx.tenant(), id).await {
        Ok(_) => {
            cx.audit("enable destination", id);
            Ok(cx.go_saying(&there, &cx.t("Enabled. Events that are published from now on are sent to it.")))
        }
        // Locked since the page was shown.
        Err(error) if error.kind() == ErrorKind::Forbidden => {
            Ok(refused(cx, &destination, locked(cx), http::StatusCode::FORBIDDEN))
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            let why = note(&cx.t("It was not enabled: its address cannot be sent to. Change it in the settings."));
            let actions = html! { (why) ul { @for problem in error.problems() { li { (problem.field) ": " (problem.message) } } }
            div.actions { (button_link(&cx.href(Route::Settings(id)), &cx.t("Settings"), true)) } };
            Ok(refused(cx, &destination, actions, http::StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn confirm_delete(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    Ok(delete_page(cx, &destination, &Wrong::default()).await.ok(cx))
}

pub(super) async fn delete(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    let name = cx.name_of(&destination);
    if is_busy(cx, &destination).await && cx.request.form.text("name").trim() != name.trim() {
        let mut wrong = Wrong::default();
        wrong.add("name", cx.f("Type {name} to confirm.", &[("name", &name)]));
        return Ok(delete_page(cx, &destination, &wrong).await.unprocessable(cx));
    }
    let home = cx.href(Route::Home);
    if !cx.first_time().await? {
        return Ok(twice(cx, &home));
    }
    let waiting = waiting(cx, id).await;
    cx.outpost.destinations().delete(cx.tenant(), id).await?;
    cx.audit("delete destination", id);
    let said = match waiting {
        None | Some(0) => cx.f("{name} was deleted.", &[("name", &name)]),
        Some(1) => cx.f("{name} was deleted. The delivery that waited for it is cancelled.", &[("name", &name)]),
        Some(count) => cx.f(
            "{name} was deleted. The {count} deliveries that waited for it are cancelled.",
            &[("name", &name), ("count", &crate::text::grouped(count))],
        ),
    };
    Ok(cx.go_saying(&home, &said))
}

async fn delete_page(cx: &Cx<'_>, destination: &Destination, wrong: &Wrong) -> Page {
    let id = destination.id.as_str();
    let (waiting, name) = (waiting(cx, id).await, cx.name_of(destination));
    let title = cx.f("Delete {name}?", &[("name", &name)]);
    let label = cx.f("Type {name} to confirm", &[("name", &name)]);
    let hint = cx.t("It was sent to within the last 24 hours.");
    let typed = cx.request.form.text("name");
    let field = Field::new("name", &label, typed, Kind::Line("")).hint(&hint);
    let busy = is_busy(cx, destination).await;
    let inside = html! {
        ul {
            @match waiting {
                None => li { (cx.t("What waits for it is cancelled.")) },
                Some(0) => li { (cx.t("Nothing waits for it.")) },
                Some(count) => li { (cx.n(count, "1 delivery waits for it. It is cancelled.", "{count} deliveries wait for it. They are cancelled.")) },
            }
            li { (cx.t("New events are not sent to it.")) }
            li { (cx.t("Its settings and its signing secret are gone. What was sent to it stays in the log.")) }
            li { (cx.t("This cannot be undone. To stop for a while, disable it instead.")) }
        }
        (confirm(cx, &cx.href(Route::Delete(id)), &cx.href(Route::Settings(id)), &cx.t("Delete"), html! {
            @if busy { (field.show(cx, wrong)) }
        }))
    };
    page(cx, destination, &title, inside, wrong)
}

/// A live destination that the user may change.
pub(super) async fn destination_to_change(cx: &Cx<'_>, id: &str) -> Result<Destination, Fault> {
    let destination = cx.destination(id).await?;
    if cx.may(Capability::Write) {
        return Ok(destination);
    }
    Err(Fault::Core(Error::new(ErrorKind::Forbidden, "change destination", "this needs the capability \"write\"")))
}

/// How many deliveries wait for it, where that can be told.
async fn waiting(cx: &Cx<'_>, id: &str) -> Option<u64> {
    lane(cx, id).await.map(|lane| u64::try_from(lane.open).unwrap_or(0))
}

fn waits(cx: &Cx<'_>, waiting: Option<u64>) -> String {
    match waiting {
        None => cx.t("What waits for it is skipped.").into_owned(),
        Some(0) => cx.t("Nothing waits for it.").into_owned(),
        Some(count) => cx.n(
            count,
            "1 delivery waits for it. It is skipped, not kept for later.",
            "{count} deliveries wait for it. They are skipped, not kept for later.",
        ),
    }
}

/// Whether anything was sent to it in the last 24 hours. Where that cannot be told, its name is asked for.
async fn is_busy(cx: &Cx<'_>, destination: &Destination) -> bool {
    // Whole minutes are what short ranges are counted in.
    let until = outpost_core::Timestamp::from_millis((cx.now.as_millis().div_euclid(60_000) + 1) * 60_000);
    let mut query = MetricsQuery::new(until.before(Duration::from_secs(24 * 3600)), until);
    query.measures = vec![Measure::Count];
    query.filter.destination_lives = vec![destination.incarnation];
    match cx.outpost.metrics().attempts(cx.tenant(), &query).await {
        Ok(report) => report
            .rows
            .iter()
            .flat_map(|row| &row.measures)
            .any(|(_, value)| matches!(value, MetricValue::Count(count) if *count > 0)),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "attempts could not be counted");
            true
        }
    }
}

fn locked(cx: &Cx<'_>) -> Markup {
    note(
        &cx.t(
            "The operator has locked this destination. Only the operator can enable it; ask there what has to change.",
        ),
    )
}

fn note(text: &str) -> Markup {
    html! { div.note.warn role="note" { (icon(Icon::Info)) p { (text) } } }
}

fn refused(cx: &Cx<'_>, destination: &Destination, why: Markup, status: http::StatusCode) -> Reply {
    let title = cx.f("{name} was not enabled", &[("name", &cx.name_of(destination))]);
    page(cx, destination, &title, why, &Wrong::default()).with_status(cx, status)
}

fn twice(cx: &Cx<'_>, to: &Href) -> Reply {
    cx.go_saying(to, &cx.t("The form was sent twice; it counted once."))
}

/// The form that does it, and the way back.
fn confirm(cx: &Cx<'_>, to: &Href, back: &Href, text: &str, more: Markup) -> Markup {
    let danger = !to.to_string().ends_with("/enable");
    html! {
        (form(cx, to, html! {
            (more)
            div.actions {
                button class=(if danger { "btn primary danger" } else { "btn primary" }) type="submit" { (text) }
                (button_link(back, &cx.t("Cancel"), false))
            }
        }))
    }
}

fn page(cx: &Cx<'_>, destination: &Destination, title: &str, inside: Markup, wrong: &Wrong) -> Page {
    let crumbs = [
        (cx.t("Destinations").into_owned(), cx.href(Route::Home)),
        (cx.name_of(destination), cx.href(Route::Overview(destination.id.as_str()))),
    ];
    let body = html! { div.narrow { (wrong.summary(cx)) h1 { (title) } p.target { (destination.target) } (inside) } };
    Page::new(title, Nav::Destinations, body).below(crumbs)
}
