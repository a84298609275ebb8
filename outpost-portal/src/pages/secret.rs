//! The signing secret of a destination: seeing it, replacing it, and how receivers check what it signs.

mod check;

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{
    Capability, Descriptor, Destination, DestinationPatch, MASK, MapPatch, Scheme, SigningGuide, SigningKey, Timestamp,
};
use serde::Deserialize;

pub(super) use self::check::check;
use super::lifecycle::lane;
use super::snippets;
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::form::{Field, Kind, Wrong, form};
use crate::view::{Nav, Page, Tab, copy_button, destination_head, post_button};

/// How long a replaced secret may stay valid, in seconds, and how that is said.
const GRACE: [(u64, &str); 4] = [(0, "Not at all"), (3_600, "1 hour"), (86_400, "24 hours"), (604_800, "7 days")];

/// One secret of a destination.
struct Held {
    text: String,
    /// `None`: until it is replaced.
    until: Option<Timestamp>,
}

/// One entry of `older_secrets`.
#[derive(Deserialize)]
struct Older {
    secret: String,
    invalid_at: Timestamp,
}

/// What the page is made from.
struct Seen {
    destination: Destination,
    /// Newest first, those that have ended included.
    secrets: Vec<Held>,
    guide: Option<SigningGuide>,
}

impl Seen {
    async fn new(cx: &Cx<'_>, id: &str) -> Result<Self, Fault> {
        let destination = cx.destination(id).await?;
        if !cx.site.signs(&destination.kind) {
            return Err(Fault::NotFound);
        }
        let secrets = if cx.may(Capability::Secrets) { held(&destination) } else { Vec::new() };
        let guide = cx.site.kind(&destination.kind).and_then(|kind: &Descriptor| kind.signing.clone());
        Ok(Self { destination, secrets, guide })
    }

    fn id(&self) -> &str {
        self.destination.id.as_str()
    }

    /// Those that sign now, the current one first.
    fn live(&self, now: Timestamp) -> impl Iterator<Item = &Held> {
        self.secrets.iter().filter(move |held| held.until.is_none_or(|until| now < until))
    }

    /// The public half of the current secret, where it has one.
    fn public_key(&self) -> Option<String> {
        let current = self.secrets.first()?;
        (Scheme::of_secret(&current.text) == Scheme::Ed25519)
            .then(|| SigningKey::parse(&current.text).ok()?.public_key())
            .flatten()
    }
}

fn held(destination: &Destination) -> Vec<Held> {
    let credentials = destination.credentials.expose();
    let get = |key: &str| credentials.get(key).filter(|text| !text.is_empty()).cloned();
    let mut secrets: Vec<Held> = get("secret").map(|text| Held { text, until: None }).into_iter().collect();
    if let Some((text, until)) = get("previous_secret").zip(get("previous_secret_invalid_at")) {
        let until = Timestamp::parse("until", &until).ok();
        secrets.extend(until.map(|until| Held { text, until: Some(until) }));
    }
    let older = get("older_secrets").and_then(|json| serde_json::from_str::<Vec<Older>>(&json).ok());
    let older = older.unwrap_or_default().into_iter();
    secrets.extend(older.map(|older| Held { text: older.secret, until: Some(older.invalid_at) }));
    secrets
}

pub(super) async fn page(cx: &Cx<'_>, id: &str) -> Answer {
    let seen = Seen::new(cx, id).await?;
    Ok(whole(cx, &seen, &Look::default()).await.ok(cx))
}

/// Shows the secrets once: they are in this answer alone, and the next look at the page masks them again.
pub(super) async fn reveal(cx: &Cx<'_>, id: &str) -> Answer {
    let seen = Seen::new(cx, id).await?;
    needs_secrets(cx)?;
    cx.audit("reveal secret", id);
    Ok(whole(cx, &seen, &Look { revealed: true, ..Look::default() }).await.ok(cx).secret())
}

pub(super) async fn rotate(cx: &Cx<'_>, id: &str) -> Answer {
    let seen = Seen::new(cx, id).await?;
    needs_secrets(cx)?;
    let asked = cx.request.form.text("grace").parse().ok();
    let Some(&(seconds, _)) = GRACE.iter().find(|(seconds, _)| Some(*seconds) == asked) else {
        let mut wrong = Wrong::default();
        wrong.add("grace", cx.t("Choose how long the old secret stays valid."));
        return Ok(whole(cx, &seen, &Look { wrong, ..Look::default() }).await.unprocessable(cx));
    };
    if !cx.first_time().await? {
        return Ok(twice(cx, id));
    }
    let overlap = Duration::from_secs(seconds);
    cx.outpost.destinations().rotate_secret(cx.tenant(), id, Some(overlap)).await?;
    cx.audit("rotate secret", id);
    let said = if overlap.is_zero() {
        cx.t("A new secret signs from now on. Every one before it has ended.").into_owned()
    } else {
        let until = crate::time::full(cx.now.after(overlap), &cx.prefs.zone.1);
        cx.f("A new secret signs from now on. The one before it signs as well until {time}.", &[("time", &until)])
    };
    Ok(cx.go_saying(&cx.href(Route::Secret(id)), &said))
}

/// Ends all replaced secrets at once. The current one stays.
pub(super) async fn expire_previous(cx: &Cx<'_>, id: &str) -> Answer {
    let seen = Seen::new(cx, id).await?;
    needs_secrets(cx)?;
    if !cx.first_time().await? {
        return Ok(twice(cx, id));
    }
    let here = cx.href(Route::Secret(id));
    if seen.live(cx.now).count() < 2 {
        return Ok(cx.go_saying(&here, &cx.t("Only the current secret is valid; there was nothing to end.")));
    }
    let ended = ["previous_secret", "previous_secret_invalid_at", "older_secrets"].map(|key| (key.to_owned(), None));
    let patch = DestinationPatch {
        credentials: MapPatch::Merge(ended.into()),
        // Whoever rotated since the page was shown has made another secret the previous one.
        if_revision: Some(cx.request.form.text("revision").parse().unwrap_or(-1)),
        ..DestinationPatch::default()
    };
    cx.outpost.destinations().update(cx.tenant(), id, patch).await?;
    cx.audit("expire previous secrets", id);
    Ok(cx.go_saying(&here, &cx.t("The previous secrets have ended. Only the current one signs from now on.")))
}

/// The core refuses what is changed without the capability; what is only shown is refused here.
fn needs_secrets(cx: &Cx<'_>) -> Result<(), Fault> {
    if cx.may(Capability::Secrets) {
        return Ok(());
    }
    let refused = outpost_core::Error::new(outpost_core::ErrorKind::Forbidden, "see secret", "this needs \"secrets\"");
    Err(Fault::Core(refused))
}

fn twice(cx: &Cx<'_>, id: &str) -> Reply {
    cx.go_saying(&cx.href(Route::Secret(id)), &cx.t("The form was sent twice; it counted once."))
}

/// How the page is to look, beside what it always shows.
#[derive(Default)]
struct Look {
    revealed: bool,
    wrong: Wrong,
    checked: check::Checked,
}

async fn whole(cx: &Cx<'_>, seen: &Seen, look: &Look) -> Page {
    let failures = lane(cx, seen.id()).await.map_or(0, |lane| lane.health.failures);
    let may = cx.may(Capability::Secrets);
    let public = seen.public_key();
    let body = html! {
        (destination_head(cx, &seen.destination, failures, Tab::Secret))
        (look.wrong.summary(cx))
        section.card {
            h2 { (cx.t("Signing secret")) }
            p { (cx.t("Every request is signed with this secret, so the receiver can tell that it comes from here and that nothing was changed on the way.")) }
            @if may {
                (table(cx, seen, look.revealed))
                @if let Some(public) = &public {
                    dl.facts {
                        dt { (cx.t("Public key")) }
                        dd { code #public { (public) } " " (copy_button(cx, "public", &cx.t("public key"))) }
                    }
                }
                @if look.revealed {
                    p.muted { (cx.t("It is shown this once. Keep it where the receiver reads its secrets.")) }
                    div.actions { a.btn href=(cx.href(Route::Secret(seen.id()))) { (cx.t("Hide")) } }
                } @else {
                    div.actions { (post_button(cx, &cx.href(Route::Reveal(seen.id())), &cx.t("Reveal"), "")) }
                }
            } @else {
                div.note.info role="note" { (icon(Icon::Info)) p { (cx.t("You may not see or change signing secrets here. Ask somebody who may.")) } }
            }
        }
        @if may { (change(cx, seen, &look.wrong)) }
        @if let Some(guide) = &seen.guide {
            section.card #verify {
                h2 { (cx.t("Check signatures in the receiver")) }
                (snippets::show(cx, guide, public.is_some()))
            }
            @if may { (look.checked.section(cx, seen, &look.wrong)) }
        }
    };
    let title = cx.f("Signing secret – {name}", &[("name", &cx.name_of(&seen.destination))]);
    let crumbs = [(cx.t("Destinations").into_owned(), cx.href(Route::Home))];
    Page::new(title, Nav::Destinations, body).below(crumbs)
}

fn table(cx: &Cx<'_>, seen: &Seen, revealed: bool) -> Markup {
    html! {
        div.table {
            table.list {
                caption.vh { (cx.t("Secrets that sign now")) }
                thead { tr {
                    th scope="col" { (cx.t("Secret")) }
                    th scope="col" { (cx.t("Value")) }
                    th scope="col" { (cx.t("Valid")) }
                } }
                tbody {
                    @for (index, held) in seen.live(cx.now).enumerate() {
                        @let id = format!("secret-{index}");
                        @let name = if index == 0 { cx.t("Current") } else { cx.t("Previous") };
                        tr {
                            th scope="row" { (name) }
                            td {
                                @if revealed {
                                    code id=(id) { (held.text) } " "
                                    (copy_button(cx, &id, &cx.f("{which} secret", &[("which", &name)])))
                                } @else { span.mono aria-hidden="true" { (MASK) } span.vh { (cx.t("hidden")) } }
                            }
                            td {
                                @match held.until {
                                    Some(until) => { (cx.time(until)) " (" (cx.until_or_ago(until)) ")" },
                                    None => (cx.t("until it is replaced")),
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn change(cx: &Cx<'_>, seen: &Seen, wrong: &Wrong) -> Markup {
    let options = GRACE.iter().map(|(seconds, label)| (seconds.to_string(), cx.t(label).into_owned())).collect();
    let chosen = if wrong.of("grace").is_some() { cx.request.form.text("grace") } else { "86400" };
    let label = cx.t("The old secret stays valid for");
    let hint = cx.t("Meanwhile requests carry two signatures, so the receiver can change its secret at any time. Secrets before the old one end with it at the latest.");
    let grace = Field::new("grace", &label, chosen, Kind::Select(options)).hint(&hint);
    html! {
        section.card {
            h2 { (cx.t("Replace the secret")) }
            p { (cx.t("Replace it from time to time, and at once when somebody may have seen it who should not.")) }
            (form(cx, &cx.href(Route::Rotate(seen.id())), html! {
                (grace.show(cx, wrong))
                div.actions { button.btn type="submit" { (cx.t("Rotate secret")) } }
            }))
        }
        @if cx.may(Capability::Write) && seen.live(cx.now).count() > 1 {
            section.card {
                h2 { (cx.t("End the previous secrets")) }
                p { (cx.t("Do this when the receiver has the current secret, or when a previous one is in wrong hands. A receiver that still has a previous secret refuses every request from then on. The current secret stays as it is.")) }
                form.stack method="post" action=(cx.href(Route::ExpirePrevious(seen.id()))) {
                    input type="hidden" name="form_token" value=(cx.form_token());
                    input type="hidden" name="revision" value=(seen.destination.revision);
                    div.actions { button.btn.danger type="submit" { (cx.t("Expire previous now")) } }
                }
            }
        }
    }
}
