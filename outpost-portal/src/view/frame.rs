//! The frame around every page, and the head that all pages of one destination share.

use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use outpost_core::{Capability, Destination};

use super::parts::destination_pill;
use crate::cx::Cx;
use crate::icon::{Icon, icon};
use crate::reply::Reply;
use crate::route::{Href, Route};

/// Which entry of the navigation is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nav {
    Destinations,
    Activity,
    None,
}

/// A page before it is framed.
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) nav: Nav,
    /// What the page lies below, with its own place left out.
    pub(crate) crumbs: Vec<(String, Href)>,
    /// A form was sent and something is wrong with it.
    pub(crate) wrong: bool,
    /// Loads itself again after so many seconds where scripts do not run.
    pub(crate) reload: Option<u32>,
    pub(crate) body: Markup,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, nav: Nav, body: Markup) -> Self {
        Self { title: title.into(), nav, crumbs: Vec::new(), wrong: false, reload: None, body }
    }

    #[must_use]
    pub(crate) fn below(mut self, crumbs: impl IntoIterator<Item = (String, Href)>) -> Self {
        self.crumbs = crumbs.into_iter().collect();
        self
    }

    #[must_use]
    pub(crate) fn wrong(mut self, wrong: bool) -> Self {
        self.wrong = wrong;
        self
    }

    #[must_use]
    pub(crate) fn reload(mut self, seconds: Option<u32>) -> Self {
        self.reload = seconds;
        self
    }

    pub(crate) fn ok(self, cx: &Cx<'_>) -> Reply {
        self.with_status(cx, StatusCode::OK)
    }

    /// The page of a form with something wrong.
    pub(crate) fn unprocessable(self, cx: &Cx<'_>) -> Reply {
        self.wrong(true).with_status(cx, StatusCode::UNPROCESSABLE_ENTITY)
    }

    pub(crate) fn with_status(self, cx: &Cx<'_>, status: StatusCode) -> Reply {
        Reply::html(status, frame(cx, &self).into_string())
    }
}

fn frame(cx: &Cx<'_>, page: &Page) -> Markup {
    let site = cx.site;
    let signed_in = cx.who.is_some();
    let theme = site.forced_theme.or(cx.theme).or(cx.prefs.theme).map(outpost_core::Theme::as_str);
    let heading = site.organization.as_ref().map_or_else(
        || cx.t("Webhooks").into_owned(),
        |name| cx.f("{organization} webhooks", &[("organization", name)]),
    );
    let title = format!("{} – {heading}", page.title);
    let title = if page.wrong { cx.f("Error: {title}", &[("title", &title)]) } else { title };
    let host = site.organization.clone().unwrap_or_else(|| cx.t("the application").into_owned());
    let class = if site.embedded() { "op embedded" } else { "op" };
    let current = |nav| (page.nav == nav).then_some("page");
    let session = cx.who.as_ref().and_then(|who| who.session.as_ref());
    html! {
        (DOCTYPE)
        html lang=(site.language.tag()) dir=(site.language.direction()) class=(class) data-theme=[theme]
            data-keys=[cx.prefs.keys.then_some("1")] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(theme.unwrap_or("light dark"));
                title { (title) }
                link rel="stylesheet" href=(cx.href(Route::Asset(&site.assets.css.name)));
                script src=(cx.href(Route::Asset(&site.assets.js.name))) {}
                // Without one browsers ask for /favicon.ico, outside of the mount.
                link rel="icon" href=(site.favicon.as_deref().unwrap_or("data:,"));
                @if let Some(seconds) = page.reload { noscript { meta http-equiv="refresh" content=(seconds); } }
            }
            body.op {
                a.skip href="#main" { (cx.t("Skip to content")) }
                header.bar { div.bar-in {
                    a.brand href=(cx.href(Route::Home)) {
                        @if let Some(logo) = &site.logo {
                            img.logo src=(logo) alt=(heading) height="24";
                            @if let Some(dark) = site.logo_dark.as_ref().filter(|dark| *dark != logo) {
                                img.logo-dark src=(dark) alt=(heading) height="24";
                            }
                        } @else { (heading) }
                    }
                    @if signed_in {
                        nav.nav aria-label=(cx.t("Main")) {
                            a href=(cx.href(Route::Home)) aria-current=[current(Nav::Destinations)] { (cx.t("Destinations")) }
                            a href=(cx.href(Route::Activity)) aria-current=[current(Nav::Activity)] { (cx.t("Activity")) }
                        }
                        form.find role="search" action=(cx.href(Route::Find)) {
                            input type="search" name="q" aria-label=(cx.t("Find by ID")) placeholder=(cx.t("Find by ID"))
                                maxlength="255" autocomplete="off" spellcheck="false";
                            button.btn.small type="submit" aria-label=(cx.t("Find")) { (icon(Icon::Search)) }
                        }
                    }
                    @if let Some(referer) = &site.referer {
                        a.back href=(referer) { (cx.f("Back to {host}", &[("host", &host)])) }
                    }
                } }
                main #main tabindex="-1" {
                    @if let Some(notice) = &site.notice { div.note.warn role="note" { (icon(Icon::Info)) p { (notice) } } }
                    @if let Some(note) = &cx.note { div.flash role="status" { (icon(Icon::Check)) p { (note) } } }
                    @if let Some(session) = session {
                        div.note.warn hidden role="status" data-ends=(session.expires_at().as_seconds()) {
                            p { (cx.t("Your session ends in two minutes.")) }
                            div.actions { button.btn.small type="button" data-stay=(cx.href(Route::Preferences)) { (cx.t("Stay signed in")) } }
                        }
                    }
                    @if !page.crumbs.is_empty() {
                        nav.crumbs aria-label=(cx.t("You are here")) {
                            ol { @for (name, href) in &page.crumbs { li { a href=(href) { (name) } } } }
                        }
                    }
                    (page.body)
                    div.vh #say role="status" {}
                }
                footer.foot {
                    @if let Some(who) = &cx.who {
                        span { (cx.f("Webhooks of {tenant}", &[("tenant", &who.tenant)])) }
                        span {
                            (cx.f("Times in {zone}", &[("zone", &cx.prefs.zone.0)])) " "
                            a href=(cx.href(Route::Preferences)) aria-label=(cx.t("Change the time zone and other preferences")) { (cx.t("Change")) }
                        }
                        a href=(cx.href(Route::Help("verify"))) { (cx.t("Help")) }
                        @if who.session.is_some() {
                            form method="post" action=(cx.href(Route::Logout)) {
                                input type="hidden" name="form_token" value=(cx.form_token());
                                button.btn.link type="submit" { (cx.t("Sign out")) }
                            }
                        }
                    }
                    @if site.branding { span { (cx.t("Powered by Outpost")) } }
                }
            }
        }
    }
}

/// The tabs of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Overview,
    Deliveries,
    Settings,
    Secret,
    /// A page below none of them.
    None,
}

/// What every page of a destination begins with: name, state, target and tabs. `failures`: how many attempts in a row
/// failed, where that is known.
pub(crate) fn destination_head(cx: &Cx<'_>, destination: &Destination, failures: u32, tab: Tab) -> Markup {
    let id = destination.id.as_str();
    let current = |own| (tab == own).then_some("page");
    let has_secret = cx.site.signs(&destination.kind);
    html! {
        div.head {
            div.title { h1 { (cx.name_of(destination)) } (destination_pill(cx, destination, failures)) }
            div.actions {
                @if tab == Tab::Deliveries && cx.may(Capability::Retry) {
                    a.btn href=(cx.href(Route::Replay(id))) { (icon(Icon::Retry)) (cx.t("Replay failed deliveries…")) }
                }
                @if cx.may(Capability::Write) { a.btn href=(cx.href(Route::Test(id))) { (cx.t("Send test event")) } }
            }
            p.target { (destination.target) }
        }
        nav.tabs aria-label=(cx.t("Destination")) {
            a href=(cx.href(Route::Overview(id))) aria-current=[current(Tab::Overview)] { (cx.t("Overview")) }
            a href=(cx.href(Route::Deliveries(id))) aria-current=[current(Tab::Deliveries)] { (cx.t("Deliveries")) }
            a href=(cx.href(Route::Settings(id))) aria-current=[current(Tab::Settings)] { (cx.t("Settings")) }
            @if has_secret {
                a href=(cx.href(Route::Secret(id))) aria-current=[current(Tab::Secret)] { (cx.t("Signing secret")) }
            }
        }
    }
}
