//! What a user prefers: theme, time zone, page size, shortcuts. Kept in a cookie of this browser.

use maud::html;
use outpost_core::Theme;

use crate::cx::{Answer, Cx};
use crate::prefs::{PAGE_SIZES, Prefs, page_size, zone};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::form::{Field, Kind, Wrong, check, form};
use crate::view::{Nav, Page};

/// The zones that are suggested; any other IANA name can be typed.
const ZONES: [&str; 24] = [
    "UTC",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/New_York",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Europe/Athens",
    "Europe/Kyiv",
    "Europe/Istanbul",
    "Africa/Lagos",
    "Africa/Johannesburg",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Australia/Sydney",
    "Pacific/Auckland",
];
/// A year, in seconds.
const KEPT: i64 = 365 * 24 * 3600;

pub(super) async fn page(cx: &Cx<'_>) -> Answer {
    let theme = cx.prefs.theme.map_or("auto", Theme::as_str);
    let page = cx.prefs.page.to_string();
    Ok(show(cx, theme, &cx.prefs.zone.0, &page, cx.prefs.keys, &Wrong::default()).ok(cx))
}

fn show(cx: &Cx<'_>, theme: &str, zone: &str, size: &str, keys: bool, wrong: &Wrong) -> Page {
    let themes = [("auto", "As the browser has it"), ("light", "Light"), ("dark", "Dark")];
    let themes = themes.map(|(value, label)| (value.to_owned(), cx.t(label).into_owned())).to_vec();
    let sizes = PAGE_SIZES.map(|size| (size.to_string(), cx.f("{count} rows", &[("count", &size)]))).to_vec();
    let title = cx.t("Preferences").into_owned();
    let inside = html! {
        @if cx.site.forced_theme.is_none() {
            (Field::new("theme", &cx.t("Theme"), theme, Kind::Select(themes)).show(cx, wrong))
        }
        div.field {
            label for="f-zone" { (cx.t("Time zone")) }
            span.hint #f-zone-h { (cx.t("A name such as Europe/Berlin. Times are shown and read in it.")) }
            @if let Some(error) = wrong.of("zone") { span.error #f-zone-e { (error) } }
            input type="text" id="f-zone" name="zone" value=(zone) list="zones" autocomplete="off" spellcheck="false" data-zone
                aria-describedby=(if wrong.of("zone").is_some() { "f-zone-e f-zone-h" } else { "f-zone-h" })
                aria-invalid=[wrong.of("zone").map(|_| "true")];
            datalist id="zones" { @for name in ZONES { option value=(name) {} } }
        }
        (Field::new("page", &cx.t("Rows of a list"), size, Kind::Select(sizes)).show(cx, wrong))
        (check("keys", "1", &cx.t("Single keys are shortcuts: / finds, j and k go down and up a list, r retries, ? helps"), keys))
        div.actions { button.btn.primary type="submit" { (cx.t("Save")) } }
    };
    let body = html! {
        div.narrow {
            h1 { (title) }
            p.muted { (cx.t("These hold for this browser.")) }
            (wrong.summary(cx))
            (form(cx, &cx.href(Route::Preferences), inside))
        }
    };
    Page::new(title.clone(), Nav::None, body)
}

pub(super) async fn save(cx: &Cx<'_>) -> Answer {
    let given = &cx.request.form;
    let (theme, size) = (given.text("theme"), given.text("page"));
    let name = given.text("zone").trim();
    let mut wrong = Wrong::default();
    let found = zone(if name.is_empty() { "UTC" } else { name });
    if found.is_none() {
        wrong.add("zone", cx.f("There is no time zone {name}. A name looks like Europe/Berlin.", &[("name", &name)]));
    }
    let page = page_size(size);
    if page.is_none() {
        wrong.add("page", cx.t("Choose one of the sizes."));
    }
    let keys = given.get("keys").is_some();
    let (Some(zone), Some(page)) = (found, page) else {
        return Ok(show(cx, theme, name, size, keys, &wrong).unprocessable(cx));
    };
    let prefs = Prefs { theme: Theme::parse(theme), zone, page, keys };
    let mut reply: Reply = cx.go_saying(&cx.href(Route::Home), &cx.t("Your preferences are saved."));
    reply.add_cookie(&cx.site.cookie("prefs", &prefs.write(), Some(KEPT)));
    // What a link wanted must not stand in the way of what was just chosen.
    reply.add_cookie(&cx.site.no_cookie("theme"));
    Ok(reply)
}
