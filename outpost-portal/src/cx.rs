//! What a page is made from: the site, the request, who asks, and the words.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use outpost_core::{Capability, Destination, ErrorKind, Outpost, Theme, Timestamp};

use crate::auth::Who;
use crate::prefs::Prefs;
use crate::reply::Reply;
use crate::request::Request;
use crate::route::{Href, Methods, Route};
use crate::site::{Action, Site};

/// One request on its way to a page.
pub(crate) struct Cx<'a> {
    pub(crate) site: &'a Site,
    pub(crate) request: &'a Request,
    /// Nobody on the pages that need no session.
    pub(crate) who: Option<Who>,
    /// Acts as the one who asks: every call on it is checked in the core. Without a session it can do nothing,
    /// because no page that has none calls it.
    pub(crate) outpost: Outpost,
    pub(crate) prefs: Prefs,
    /// The theme that a link asked for, as long as the browser runs.
    pub(crate) theme: Option<Theme>,
    /// What the page before wanted to have said.
    pub(crate) note: Option<String>,
    /// The form's own part of its token, once it has been checked.
    pub(crate) form: Option<String>,
    pub(crate) now: Timestamp,
}

/// Why there is no page. Each becomes a page of its own.
#[derive(Debug)]
pub(crate) enum Fault {
    NotFound,
    Method(Methods),
    /// The form's token is not good any more; nothing was done.
    Form,
    /// The form was sent from another site; nothing was done.
    Foreign,
    /// Nobody is signed in.
    NoSession,
    /// The kind of the body is not one that forms have.
    MediaType,
    TooLarge,
    /// The request is not one a browser makes of our pages.
    BadRequest,
    Core(outpost_core::Error),
}

impl From<outpost_core::Error> for Fault {
    fn from(error: outpost_core::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Unauthenticated => Self::NoSession,
            _ => Self::Core(error),
        }
    }
}

/// What a page comes to.
pub(crate) type Answer = Result<Reply, Fault>;

impl Cx<'_> {
    /// A text.
    pub(crate) fn t<'t>(&'t self, english: &'static str) -> Cow<'t, str> {
        self.site.language.say(english)
    }

    /// A text with words in braces filled in.
    pub(crate) fn f(&self, english: &'static str, values: &[(&str, &dyn Display)]) -> String {
        self.site.language.fill(english, values)
    }

    /// A text for one or for many, `{count}` filled in.
    pub(crate) fn n(&self, count: u64, one: &'static str, many: &'static str) -> String {
        self.site.language.count(count, one, many)
    }

    /// A link to a page.
    pub(crate) fn href(&self, route: Route<'_>) -> Href {
        Href::new(self.site.mount.as_str(), route)
    }

    /// The tenant's id.
    pub(crate) fn tenant(&self) -> &str {
        self.who.as_ref().map_or("", |who| who.tenant.as_str())
    }

    /// Whether the one who asks may do this. Pages leave out what may not be done; the core refuses it anyway.
    pub(crate) fn may(&self, capability: Capability) -> bool {
        self.who.as_ref().is_some_and(|who| who.actor.has(capability))
    }

    /// A token for a form of this page.
    pub(crate) fn form_token(&self) -> String {
        self.site.keys.form_token(self.binding(), self.now)
    }

    pub(crate) fn binding(&self) -> &str {
        self.who.as_ref().map_or("", |who| who.binding.as_str())
    }

    /// Goes on to a page.
    pub(crate) fn go(&self, to: &Href) -> Reply {
        Reply::see_other(&to.to_string())
    }

    /// Goes on to a page that says `note` at its top.
    pub(crate) fn go_saying(&self, to: &Href, note: &str) -> Reply {
        let mut reply = self.go(to);
        // A cookie holds 4 KiB.
        let short: String = note.chars().take(400).collect();
        let sealed = self.site.keys.note(self.binding(), &short, self.now);
        reply.add_cookie(&self.site.cookie("note", &sealed, Some(120)));
        reply
    }

    /// Whether this very form has not been sent before: a second click, or a page sent again, answers false. To be
    /// asked after everything that can be wrong with the form was checked, and right before it is acted upon.
    pub(crate) async fn first_time(&self) -> Result<bool, Fault> {
        let form = self.form.as_deref().ok_or(Fault::Form)?;
        let kept = Duration::from_secs(24 * 3600);
        Ok(self.outpost.ephemeral().put(self.tenant(), "form", form, Bytes::new(), kept).await?)
    }

    /// Tells the host what was done.
    pub(crate) fn audit(&self, action: &'static str, subject: &str) {
        let actor = self.who.as_ref().map_or("", |who| who.name.as_str());
        let tenant = self.tenant();
        tracing::info!(target: "outpost_portal::audit", action, tenant, subject, actor);
        if let Some(audit) = &self.site.audit {
            audit(&Action { action, tenant, subject, actor });
        }
    }

    /// A live destination of the tenant.
    pub(crate) async fn destination(&self, id: &str) -> Result<Destination, Fault> {
        Ok(self.outpost.destinations().get(self.tenant(), id).await?)
    }

    /// The name that pages call a destination by, without characters that could mislead.
    pub(crate) fn name_of(&self, destination: &Destination) -> String {
        crate::view::code::one_line(destination.name.as_deref().unwrap_or_else(|| destination.id.as_str()))
    }

    /// What pages call a kind of destination; its own name when nothing here knows it any more.
    pub(crate) fn kind_word<'t>(&'t self, kind: &'t str) -> Cow<'t, str> {
        self.site.kind(kind).map_or(Cow::Borrowed(kind), |known| self.t(known.label))
    }

    /// A time in the user's zone, with the seconds and the zone.
    pub(crate) fn time(&self, at: Timestamp) -> maud::Markup {
        let shown = crate::time::full(at, &self.prefs.zone.1);
        maud::html! { time datetime=(at) { (shown) } }
    }

    /// A time in the user's zone for a narrow column.
    pub(crate) fn time_short(&self, at: Timestamp) -> maud::Markup {
        let (full, short) = (crate::time::full(at, &self.prefs.zone.1), crate::time::short(at, &self.prefs.zone.1));
        maud::html! { time datetime=(at) title=(full) { (short) } }
    }

    /// `in 8 min`, `3 h ago`, or `now`.
    pub(crate) fn until_or_ago(&self, at: Timestamp) -> String {
        let (ahead, past) = (at.since(self.now), self.now.since(at));
        if ahead >= Duration::from_secs(1) {
            self.f("in {time}", &[("time", &crate::time::span(ahead))])
        } else if past >= Duration::from_secs(1) {
            self.f("{time} ago", &[("time", &crate::time::span(past))])
        } else {
            self.t("now").into_owned()
        }
    }

    /// A page of a list: the user's page size and the request's cursor.
    pub(crate) fn page_request(&self) -> outpost_core::PageRequest {
        outpost_core::PageRequest {
            limit: self.prefs.page,
            cursor: self.request.query.get("cursor").map(str::to_owned),
            ..Default::default()
        }
    }
}

impl Fault {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Form | Self::Foreign => StatusCode::FORBIDDEN,
            Self::NoSession => StatusCode::UNAUTHORIZED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Core(error) => match error.kind() {
                ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
                ErrorKind::Forbidden => StatusCode::FORBIDDEN,
                ErrorKind::Conflict | ErrorKind::Stale | ErrorKind::LimitReached => StatusCode::CONFLICT,
                ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
                kind if kind.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
}
