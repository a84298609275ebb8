//! Replays: many deliveries of one destination tried again. A form, a look at what it would do, and how far it is.

mod asked;
mod progress;

use http::StatusCode;
use maud::{Markup, html};
use outpost_core::{
    Capability, Delivery, DeliveryFilter, Destination, Direction, Error, ErrorKind, OfDestination, PageRequest, Replay,
    ReplayPreview, ReplayState,
};

use self::asked::{Asked, What};
pub(super) use self::progress::{cancel, progress};
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::request::Params;
use crate::route::{Href, Route};
use crate::text::grouped;
use crate::view::form::{Field, Kind, Wrong, check, form as form_of, id_of};
use crate::view::{Nav, Page, button_link, delivery_pill, disabled_by};

/// How many earlier replays are listed, and how many deliveries a preview shows.
const LISTED: usize = 10;
const SAMPLE: u32 = 5;
/// With more topics than this they are typed, not ticked.
const MOST_TOPICS: usize = 200;

pub(super) async fn form(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = cx.destination(id).await?;
    let asked = Asked::read(&cx.request.query);
    form_page(cx, &destination, &asked, &Wrong::default(), StatusCode::OK).await
}

/// A look at what was asked for, or the start of it.
pub(super) async fn start(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = cx.destination(id).await?;
    let asked = Asked::read(&cx.request.form);
    let starts = cx.request.form.get("step") == Some("start");
    if starts && !cx.may(Capability::Retry) {
        return Err(Fault::Core(Error::new(ErrorKind::Forbidden, "start replay", "the session may not retry")));
    }
    let replays = cx.outpost.replays().list(cx.tenant()).await?;
    if destination.disabled.is_some() || running(&replays, &destination).is_some() {
        // A second click comes here while the first one's replay runs.
        return match running(&replays, &destination) {
            Some(replay) if starts && !cx.first_time().await? => Ok(started_already(cx, replay)),
            _ => form_page(cx, &destination, &asked, &Wrong::default(), StatusCode::CONFLICT).await,
        };
    }
    let mut wrong = Wrong::default();
    let Some(request) = asked.request(cx, &mut wrong) else {
        return form_page(cx, &destination, &asked, &wrong, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    let found = match cx.outpost.replays().preview(cx.tenant(), id, request.clone()).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Invalid => {
            wrong.take(cx, error.problems(), |problem| asked::say(cx, problem));
            return form_page(cx, &destination, &asked, &wrong, StatusCode::UNPROCESSABLE_ENTITY).await;
        }
        Err(error) => return Err(error.into()),
    };
    if !starts || found.found == 0 {
        let sample = Sample::read(cx, &destination, &request).await;
        return Ok(preview_page(cx, &destination, &asked, found, sample.as_ref()));
    }
    if !cx.first_time().await? {
        let latest = replays.iter().find(|replay| replay.destination_id == destination.id);
        return Ok(match latest {
            Some(replay) => started_already(cx, replay),
            None => cx.go(&cx.href(Route::Replay(id))),
        });
    }
    let replay = cx.outpost.replays().start(cx.tenant(), id, request).await?;
    cx.audit("start replay", &replay.id);
    let mut to = cx.href(Route::ReplayJob(&replay.id));
    if !found.at_least {
        to = to.with("of", found.found.to_string());
    }
    Ok(cx.go_saying(&to, &cx.t("Replay started. It goes on when you leave this page.")))
}

fn running<'r>(replays: &'r [Replay], destination: &Destination) -> Option<&'r Replay> {
    replays.iter().find(|replay| replay.state == ReplayState::Running && replay.destination_id == destination.id)
}

fn started_already(cx: &Cx<'_>, replay: &Replay) -> crate::reply::Reply {
    cx.go_saying(&cx.href(Route::ReplayJob(&replay.id)), &cx.t("It was started already."))
}

fn crumbs(cx: &Cx<'_>, destination: &Destination) -> [(String, Href); 3] {
    super::delivery::crumbs(cx, destination)
}

async fn form_page(cx: &Cx<'_>, destination: &Destination, asked: &Asked, wrong: &Wrong, status: StatusCode) -> Answer {
    let id = destination.id.as_str();
    let replays = cx.outpost.replays().list(cx.tenant()).await?;
    let running = running(&replays, destination);
    let body = html! {
        div.narrow {
            h1 { (cx.t("Replay deliveries")) }
            p { (cx.f("Deliveries to {name} are tried again, one attempt each, at the pace that the destination is sent to otherwise.", &[("name", &cx.name_of(destination))])) }
            @if let Some(disabled) = &destination.disabled {
                div.note.warn role="note" {
                    (icon(Icon::Warning))
                    p { (cx.t("The destination is disabled. Enable it before you replay anything.")) " " (disabled_by(cx, disabled.by)) }
                    @if cx.may(Capability::Write) {
                        div.actions { (button_link(&cx.href(Route::Enable(id)), &cx.t("Enable the destination"), true)) }
                    }
                }
            } @else if let Some(replay) = running {
                div.note.info role="note" {
                    (icon(Icon::Clock))
                    p {
                        (cx.t("A replay of this destination is running. Another one can be started when it is over.")) " "
                        a href=(cx.href(Route::ReplayJob(&replay.id))) { (cx.t("See how far it is")) }
                    }
                }
            } @else if !cx.may(Capability::Retry) {
                div.note.info role="note" { (icon(Icon::Info)) p { (cx.t("You can look at replays here, but not start one.")) } }
            } @else {
                (wrong.summary(cx))
                (form_of(cx, &cx.href(Route::Replay(id)), fields(cx, asked, wrong)))
            }
        }
        (earlier(cx, &replays))
    };
    let page = Page::new(cx.t("Replay deliveries"), Nav::Destinations, body).below(crumbs(cx, destination));
    Ok(page.wrong(!wrong.is_empty()).with_status(cx, status))
}

fn fields(cx: &Cx<'_>, asked: &Asked, wrong: &Wrong) -> Markup {
    let (from, until) = (cx.t("From"), cx.t("Until"));
    let zone = cx.f("Times in {zone}. Empty: as far back as events are kept.", &[("zone", &cx.prefs.zone.0)]);
    let now = cx.t("Empty: until now.");
    let from = Field { optional: true, ..Field::new("from", &from, &asked.from, Kind::Time).hint(&zone) };
    let until = Field { optional: true, ..Field::new("until", &until, &asked.until, Kind::Time).hint(&now) };
    html! {
        input type="hidden" name="step" value="preview";
        fieldset.choices id=(id_of("what")) {
            legend { (cx.t("What to replay")) }
            @if let Some(error) = wrong.of("what") { span.error { (error) } }
            @for what in What::ALL {
                label.check {
                    input type="radio" name="what" value=(what.name()) checked[asked.what == Some(what)];
                    span { (cx.t(what.label())) }
                }
            }
        }
        div.row { (from.show(cx, wrong)) (until.show(cx, wrong)) }
        (topics(cx, asked, wrong))
        (check("missing", "1", &cx.t("Also events that were published before the destination wanted them"), asked.missing))
        div.actions { button.btn.primary type="submit" { (cx.t("Preview")) } }
    }
}

fn topics(cx: &Cx<'_>, asked: &Asked, wrong: &Wrong) -> Markup {
    match cx.site.offers.topics.as_ref().filter(|topics| topics.len() <= MOST_TOPICS) {
        Some(topics) => html! {
            fieldset.choices id=(id_of("topics")) {
                legend { (cx.t("Topics")) }
                @if let Some(error) = wrong.of("topics") { span.error { (error) } }
                p.hint { (cx.t("None ticked: all topics.")) }
                div.topics { @for topic in topics { (check("topics", topic, topic, asked.topics.contains(topic))) } }
            }
        },
        None => {
            let (label, hint, value) =
                (cx.t("Topics"), cx.t("One on each line. Empty: all topics."), asked.topics.join("\n"));
            Field { optional: true, ..Field::new("topics", &label, &value, Kind::Lines(4)).hint(&hint) }.show(cx, wrong)
        }
    }
}

fn earlier(cx: &Cx<'_>, replays: &[Replay]) -> Markup {
    html! {
        @if !replays.is_empty() {
            section.detail {
                h2 { (cx.t("Earlier replays")) }
                div.table { table.list {
                    caption.vh { (cx.t("Earlier replays")) }
                    thead { tr {
                        th scope="col" { (cx.t("Started")) }
                        th scope="col" { (cx.t("Destination")) }
                        th scope="col" { (cx.t("State")) }
                        th.num scope="col" { (cx.t("Asked for")) }
                        th.num.c2 scope="col" { (cx.t("Found")) }
                    } }
                    tbody {
                        @for replay in replays.iter().take(LISTED) {
                            tr {
                                th scope="row" {
                                    @let at = crate::time::short(replay.created_at, &cx.prefs.zone.1);
                                    a.rowlink href=(cx.href(Route::ReplayJob(&replay.id)))
                                        aria-label=(cx.f("{time}, replay {id}", &[("time", &at), ("id", &replay.id)])) { (cx.time_short(replay.created_at)) }
                                }
                                td.mono { (replay.destination_id) }
                                td { (progress::pill(cx, replay.state)) }
                                td.num { (grouped(replay.requested)) }
                                td.num.c2 { (grouped(replay.found)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// What a preview shows of the deliveries themselves.
struct Sample {
    newest: Vec<OfDestination<Delivery>>,
    oldest: Option<Delivery>,
}

impl Sample {
    /// Without it the count is shown all the same.
    async fn read(cx: &Cx<'_>, destination: &Destination, request: &outpost_core::ReplayRequest) -> Option<Self> {
        let filter = DeliveryFilter {
            destinations: vec![destination.id.clone()],
            topics: request.topics.clone(),
            states: request.states.clone(),
            from: request.from,
            until: request.until,
            ..DeliveryFilter::default()
        };
        let newest = PageRequest { limit: SAMPLE, ..PageRequest::default() };
        let oldest = PageRequest { limit: 1, direction: Direction::Ascending, cursor: None };
        let deliveries = cx.outpost.deliveries();
        let read = tokio::try_join!(
            deliveries.list(cx.tenant(), &filter, &newest),
            deliveries.list(cx.tenant(), &filter, &oldest)
        );
        match read {
            Ok((newest, oldest)) => {
                Some(Self { newest: newest.items, oldest: oldest.items.into_iter().next().map(|row| row.value) })
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the sample of a preview could not be read");
                None
            }
        }
    }
}

fn preview_page(
    cx: &Cx<'_>,
    destination: &Destination,
    asked: &Asked,
    found: ReplayPreview,
    sample: Option<&Sample>,
) -> crate::reply::Reply {
    let id = destination.id.as_str();
    let change = cx.href(Route::Replay(id)).with_all(asked.pairs());
    let number = grouped(found.found);
    let many = cx.n(found.found, "Replay 1 delivery", "Replay {count} deliveries");
    let title = cx.t("Preview of the replay");
    let body = html! {
        div.narrow {
            h1 { (title) }
            @if found.found == 0 {
                p { (cx.t("No delivery matches, so there is nothing to replay.")) }
            } @else {
                p {
                    strong {
                        @if found.at_least { (cx.f("At least {count} deliveries are tried again.", &[("count", &number)])) }
                        @else { (cx.n(found.found, "1 delivery is tried again.", "{count} deliveries are tried again.")) }
                    }
                }
            }
            dl.facts {
                dt { (cx.t("Destination")) }
                dd { a href=(cx.href(Route::Overview(id))) { (cx.name_of(destination)) } }
                (asked.facts(cx))
                @if let Some(sample) = sample {
                    @if let Some(oldest) = &sample.oldest { dt { (cx.t("Oldest")) } dd { (cx.time(oldest.created_at)) } }
                    @if let Some(newest) = sample.newest.first() { dt { (cx.t("Newest")) } dd { (cx.time(newest.created_at)) } }
                }
            }
            @if found.found > 0 {
                div.note.warn role="note" {
                    (icon(Icon::Info))
                    p { (cx.t("The receiver may see events that it has seen before. By webhook-id it can tell them and ignore them.")) }
                }
            }
            form.stack method="post" action=(cx.href(Route::Replay(id))) novalidate data-guard {
                input type="hidden" name="form_token" value=(cx.form_token());
                input type="hidden" name="step" value="start";
                @for (name, value) in asked.pairs() { input type="hidden" name=(name) value=(value); }
                // So that what came after this page was made is not its business.
                input type="hidden" name="as_of" value=(asked.as_of.unwrap_or(cx.now).as_millis());
                div.actions {
                    @if found.found > 0 && cx.may(Capability::Retry) {
                        button.btn.primary type="submit" { (icon(Icon::Retry)) (many) }
                    }
                    (button_link(&change, &cx.t("Change"), false))
                }
            }
        }
        @if let Some(sample) = sample.filter(|sample| !sample.newest.is_empty()) { (sample_table(cx, destination, sample)) }
    };
    Page::new(title, Nav::Destinations, body).below(crumbs(cx, destination)).ok(cx)
}

fn sample_table(cx: &Cx<'_>, destination: &Destination, sample: &Sample) -> Markup {
    let id = destination.id.as_str();
    html! {
        section.detail {
            h2 { (cx.t("The newest of them")) }
            div.table { table.list {
                caption.vh { (cx.t("The newest of them")) }
                thead { tr {
                    th scope="col" { (cx.t("Event ID")) }
                    th scope="col" { (cx.t("Status")) }
                    th.c2 scope="col" { (cx.t("Topic")) }
                    th scope="col" { (cx.t("Created")) }
                } }
                tbody {
                    @for row in &sample.newest {
                        tr {
                            th.mono scope="row" { a.rowlink href=(cx.href(Route::Delivery(id, row.key.event.as_str()))) { (row.key.event) } }
                            td { (delivery_pill(cx, row)) }
                            td.c2.mono { (row.topic) }
                            td { (cx.time_short(row.created_at)) }
                        }
                    }
                }
            } }
        }
    }
}

/// A field of a form or a link.
fn texts(params: &Params, name: &str) -> String {
    params.text(name).trim().to_owned()
}
