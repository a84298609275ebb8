//! The settings of a destination: a form for each part, so that saving one never touches another.

mod parts;

use http::StatusCode;
use maud::{Markup, html};
use outpost_core::{Capability, Destination, DestinationPatch, Error, ErrorKind, MapPatch};

use self::parts::Part;
use super::fields::pairs::Pairs;
use super::fields::{self, delivery, filter};
use super::topics::Choice;
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::form::{Wrong, form as form_of};
use crate::view::{Nav, Page, Tab, destination_head};

/// What became of a form that was sent.
#[derive(Default)]
struct Sent {
    /// The part that it was for.
    part: Option<Part>,
    wrong: Wrong,
    /// Somebody else's change came first: what would have been, had it not.
    clash: Option<Box<Destination>>,
    /// What trying the filter came to.
    tried: Option<Markup>,
}

pub(super) async fn page(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = cx.destination(id).await?;
    show(cx, &destination, &Sent::default(), StatusCode::OK).await
}

pub(super) async fn save(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = cx.destination(id).await?;
    if !cx.may(Capability::Write) {
        let message = "this needs the capability \"write\"";
        return Err(Fault::Core(Error::new(ErrorKind::Forbidden, "change settings", message)));
    }
    let form = &cx.request.form;
    let part = Part::read(form.text("section")).ok_or(Fault::BadRequest)?;
    let mut sent = Sent { part: Some(part), ..Sent::default() };
    if let Err(message) = part.offered(cx, &destination) {
        sent.wrong.add(part.id(), message);
        return show(cx, &destination, &sent, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    if form.has("add_row") {
        return show(cx, &destination, &sent, StatusCode::OK).await;
    }
    if part == Part::Filter && form.has("try") {
        sent.tried = filter::try_it(cx, form, &mut sent.wrong).await?;
        let status = if sent.wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        return show(cx, &destination, &sent, status).await;
    }
    let mut patch = patch(cx, part, &destination, &mut sent.wrong).await?;
    if !sent.wrong.is_empty() {
        return show(cx, &destination, &sent, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    // Without one the form is older than any revision.
    let seen = form.get("revision").and_then(|revision| revision.parse().ok()).unwrap_or(0);
    patch.if_revision = Some(seen);
    if !cx.first_time().await? {
        return Ok(
            cx.go_saying(&cx.href(Route::Settings(id)), &cx.t("This form was sent twice. Below is what is saved."))
        );
    }
    match cx.outpost.destinations().update(cx.tenant(), id, patch.clone()).await {
        Ok(_) => {
            cx.audit(part.action(), id);
            // At the top of the page, where the note is.
            Ok(cx.go_saying(&cx.href(Route::Settings(id)), &cx.t(part.saved())))
        }
        Err(error) => refused(cx, id, destination, patch, sent, error).await,
    }
}

/// The page that says why the core did not take a change.
async fn refused(
    cx: &Cx<'_>,
    id: &str,
    destination: Destination,
    patch: DestinationPatch,
    mut sent: Sent,
    error: Error,
) -> Answer {
    match error.kind() {
        ErrorKind::Invalid => {
            let kind = cx.site.kind(&destination.kind);
            sent.wrong.take(cx, error.problems(), |problem| fields::words(cx, kind, &cx.request.form, problem));
            show(cx, &destination, &sent, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        // Their values would go to another server, and could be read there.
        ErrorKind::Forbidden if sent.part == Some(Part::Endpoint) && !cx.may(Capability::Secrets) => {
            let text = "You may change what comes after the host, but not where the secrets of this destination are sent: another scheme, host or port needs somebody who may see secrets.";
            sent.wrong.add("config.url", cx.t(text));
            show(cx, &destination, &sent, StatusCode::FORBIDDEN).await
        }
        ErrorKind::Stale => {
            let now = cx.destination(id).await?;
            sent.clash = Some(Box::new(changed(now.clone(), patch)));
            show(cx, &now, &sent, StatusCode::CONFLICT).await
        }
        _ => Err(error.into()),
    }
}

/// What a change makes of a destination.
fn changed(mut destination: Destination, patch: DestinationPatch) -> Destination {
    destination.name = patch.name.unwrap_or(destination.name);
    destination.topics = patch.topics.unwrap_or(destination.topics);
    destination.filter = patch.filter.unwrap_or(destination.filter);
    destination.settings = patch.settings.unwrap_or(destination.settings);
    destination.config = patch.config.apply(&destination.config, None);
    destination
}

/// The change that the form asks for, of its own part alone.
async fn patch(
    cx: &Cx<'_>,
    part: Part,
    destination: &Destination,
    wrong: &mut Wrong,
) -> Result<DestinationPatch, Fault> {
    let form = &cx.request.form;
    let mut patch = DestinationPatch::default();
    match part {
        Part::General => {
            let all = cx.outpost.destinations().list(cx.tenant()).await?.into_iter();
            let others = all.filter(|other| other.incarnation != destination.incarnation);
            let others: Vec<String> = others.filter_map(|other| other.name).collect();
            patch.name = Some(fields::read_name(cx, form, &others, wrong));
        }
        Part::Topics => patch.topics = Choice::posted(cx, form).read(cx, Some(&destination.topics), wrong),
        Part::Endpoint | Part::Headers => {
            let Some(kind) = cx.site.kind(&destination.kind) else { return Ok(patch) };
            let own = if part == Part::Endpoint {
                fields::own(cx, kind)
            } else {
                fields::headers(cx, kind).into_iter().collect()
            };
            let (mut config, mut credentials) = (fields::Changes::new(), fields::Changes::new());
            for own in own {
                if let Some(change) = fields::read(cx, own, Some(destination), form, wrong) {
                    let changes = if own.is_config() { &mut config } else { &mut credentials };
                    changes.insert(own.field.key.to_owned(), change);
                }
            }
            let map = |changes: fields::Changes| match changes.is_empty() {
                true => MapPatch::Keep,
                false => MapPatch::Merge(changes),
            };
            (patch.config, patch.credentials) = (map(config), map(credentials));
        }
        Part::Filter => {
            let text = form.get("filter").filter(|_| !form.has("remove"));
            patch.filter = Some(text.map(str::to_owned));
        }
        Part::Delivery => patch.settings = Some(delivery::read(cx, &destination.settings, form, wrong)),
    }
    Ok(patch)
}

async fn show(cx: &Cx<'_>, destination: &Destination, sent: &Sent, status: StatusCode) -> Answer {
    let id = destination.id.as_str();
    let failures = super::lifecycle::lane(cx, id).await.map_or(0, |lane| lane.health.failures);
    let shown: Vec<Part> = Part::ALL.into_iter().filter(|part| part.is_shown(cx, destination)).collect();
    let write = cx.may(Capability::Write);
    let body = html! {
        (destination_head(cx, destination, failures, Tab::Settings))
        @if destination.disabled.is_some() {
            div.note.warn {
                (icon(Icon::Pause))
                p {
                    (cx.t("This destination is disabled. Saving a change does not enable it.")) " "
                    @if write { a href=(cx.href(Route::Enable(id))) { (cx.t("Enable it")) } }
                }
            }
        }
        @if sent.part.is_some_and(|part| !shown.contains(&part)) { (sent.wrong.summary(cx)) }
        @for part in &shown {
            @let sent = Some(sent).filter(|sent| sent.part == Some(*part));
            section.card id=(part.id()) {
                h2 { (part.title(cx)) }
                @if !write || part.offered(cx, destination).is_err() {
                    (facts(&part.facts(cx, destination)))
                    @if let Some(message) = part.offered(cx, destination).err().filter(|_| write) { p.muted { (message) } }
                } @else {
                    (form(cx, *part, destination, sent))
                }
            }
        }
        @if write { (danger(cx, destination)) }
    };
    let crumbs = [(cx.t("Destinations").into_owned(), cx.href(Route::Home))];
    let title = cx.f("Settings of {name}", &[("name", &cx.name_of(destination))]);
    let page = Page::new(title, Nav::Destinations, body).below(crumbs);
    let reply: Reply = page.wrong(!status.is_success()).with_status(cx, status);
    // What was typed may be a secret.
    Ok(if sent.part.is_some() { reply.secret() } else { reply })
}

fn form(cx: &Cx<'_>, part: Part, destination: &Destination, sent: Option<&Sent>) -> Markup {
    let none = Wrong::default();
    let wrong = sent.map_or(&none, |sent| &sent.wrong);
    let typed = sent.map(|_| &cx.request.form);
    // The fragment brings a browser back to this part whatever the answer is.
    let to = cx.href(Route::Settings(destination.id.as_str())).at(part.id());
    html! {
        (wrong.summary(cx))
        @if let Some(clash) = sent.and_then(|sent| sent.clash.as_deref()) { (conflict(cx, part, destination, clash)) }
        (form_of(cx, &to, html! {
            input type="hidden" name="section" value=(part.id());
            input type="hidden" name="revision" value=(destination.revision);
            (part.fields(cx, destination, typed, wrong, sent.and_then(|sent| sent.tried.as_ref())))
        }))
    }
}

/// Says whose values are whose when somebody else was quicker.
fn conflict(cx: &Cx<'_>, part: Part, now: &Destination, typed: &Destination) -> Markup {
    let at = crate::time::full(now.updated_at, &cx.prefs.zone.1);
    html! {
        div.errors role="alert" tabindex="-1" data-focus {
            (icon(Icon::Warning))
            p { (cx.f("Someone changed this destination at {time}. Nothing of yours was saved.", &[("time", &at)])) }
            p {
                (cx.t("Yours is in the form below: save it again to put it in the place of what is there.")) " "
                a href=(cx.href(Route::Settings(now.id.as_str())).at(part.id())) { (cx.t("Load the current settings")) }
            }
        }
        div.cols {
            div { h3 { (cx.t("It is now:")) } (facts(&part.facts(cx, now))) }
            div { h3 { (cx.t("You typed:")) } (facts(&part.facts(cx, typed))) }
        }
    }
}

fn facts(facts: &[(String, String)]) -> Markup {
    html! { dl.facts { @for (label, value) in facts { dt { (label) } dd { (value) } } } }
}

fn danger(cx: &Cx<'_>, destination: &Destination) -> Markup {
    let id = destination.id.as_str();
    html! {
        section.danger {
            @if destination.disabled.is_some() {
                h2 { (cx.t("Enable or delete")) }
                p { (cx.t("While it is disabled, new events are not sent to it.")) }
            } @else {
                h2 { (cx.t("Disable or delete")) }
                p { (cx.t("A disabled destination keeps its settings, but gets no events.")) }
            }
            div.actions {
                @if destination.disabled.is_some() {
                    a.btn href=(cx.href(Route::Enable(id))) { (cx.t("Enable destination…")) }
                } @else {
                    a.btn href=(cx.href(Route::Disable(id))) { (cx.t("Disable destination…")) }
                }
                a.btn.danger href=(cx.href(Route::Delete(id))) { (cx.t("Delete destination…")) }
            }
        }
    }
}

/// The names of headers as people read them.
fn header_names(json: Option<&str>) -> Option<Vec<String>> {
    let json = json.filter(|json| !json.is_empty())?;
    (!Pairs::is_hidden(json)).then(|| Pairs::names_of(json))
}
