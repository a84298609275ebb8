//! The tower service: from a request to a page, with everything that holds for all pages.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use outpost_core::{Outpost, Theme};

use crate::cx::{Answer, Cx, Fault};
use crate::pages;
use crate::prefs::Prefs;
use crate::reply::{Body, Content, Reply, gzip};
use crate::request::{MAX_FIELDS, MAX_FORM, Request};
use crate::route::{Methods, Route, segments};
use crate::site::{PortalBuilder, Site};

/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// The portal, as a [`tower_service::Service`] that any router of http requests can mount. Clones are cheap and share
/// everything.
#[derive(Clone)]
pub struct Portal(Arc<Site>);

impl Portal {
    /// Starts building a portal onto `outpost`. It acts for the tenants' users only within what they may do, whatever
    /// the handle may.
    #[must_use]
    pub fn builder(outpost: Outpost) -> PortalBuilder {
        PortalBuilder::new(outpost)
    }

    pub(crate) fn over(site: Site) -> Self {
        Self(Arc::new(site))
    }

    /// The path that browsers reach it under, with a slash at its end.
    #[must_use]
    pub fn mount(&self) -> &str {
        self.0.mount.as_str()
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal").field("mount", &self.mount()).finish_non_exhaustive()
    }
}

/// The answer to come.
pub struct ResponseFuture(Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>);

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

impl Future for ResponseFuture {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl<B> tower_service::Service<http::Request<B>> for Portal
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ResponseFuture {
        let site = self.0.clone();
        ResponseFuture(Box::pin(async move {
            let (parts, body) = request.into_parts();
            answer(&site, &parts, body).await
        }))
    }
}

async fn answer<B>(site: &Site, parts: &Parts, body: B) -> http::Response<Body>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let below = site.mount.below(parts.uri.path());
    let path = below.unwrap_or("/").to_owned();
    let form =
        if below.is_some() && parts.method == Method::POST { form_of(parts, body).await } else { Ok(Bytes::new()) };
    let request = Request::new(parts, path, form.as_ref().unwrap_or(&Bytes::new()));
    let reply = match (below, form) {
        (Some(_), Ok(_)) => page(site, &request, parts).await,
        (None, _) => Err((Box::new(cx_of(site, &request)), Fault::NotFound)),
        (_, Err(fault)) => Err((framed(cx_of(site, &request), parts).await, fault)),
    };
    let reply = reply.unwrap_or_else(|(cx, fault)| pages::errors::page(&cx, &fault));
    finish(site, &request, reply)
}

/// The body of a form.
async fn form_of<B>(parts: &Parts, body: B) -> Result<Bytes, Fault>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Fault::MediaType);
    }
    let whole = http_body_util::Limited::new(Box::pin(body), MAX_FORM).collect();
    match tokio::time::timeout(FORM_TIMEOUT, whole).await {
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            // What is cut off could be what was ticked.
            let fits = form_urlencoded::parse(&body).nth(MAX_FIELDS).is_none();
            if fits { Ok(body) } else { Err(Fault::TooLarge) }
        }
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Fault::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Fault::BadRequest),
    }
}

/// The context of a request before it is known who asks.
fn cx_of<'a>(site: &'a Site, request: &'a Request) -> Cx<'a> {
    let prefs = request.cookies(&site.cookie_name("prefs")).next();
    let asked = request.query.get("theme").and_then(Theme::parse);
    let kept = request.cookies(&site.cookie_name("theme")).next().and_then(|theme| Theme::parse(&theme));
    Cx {
        site,
        request,
        who: None,
        outpost: site.outpost.clone(),
        prefs: prefs.map(|prefs| Prefs::read(&prefs)).unwrap_or_default(),
        theme: asked.or(kept),
        note: None,
        form: None,
        now: site.outpost.now(),
    }
}

/// Any error of a request's body.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Failed<'a> = (Box<Cx<'a>>, Fault);

/// The page of a request, or why there is none with the context to say it in.
async fn page<'a>(site: &'a Site, request: &'a Request, parts: &Parts) -> Result<Reply, Failed<'a>> {
    let mut cx = cx_of(site, request);
    let parts_of_path = segments(&request.path).unwrap_or_else(|| vec![String::new()]);
    let Some(route) = Route::read(&parts_of_path) else {
        // Who is signed in gets the frame with its links, and nobody else learns what exists.
        return Err(match sign_in(&mut cx, parts).await {
            Ok(()) => (Box::new(cx), Fault::NotFound),
            Err(fault) => (Box::new(cx), fault),
        });
    };
    let fine = match route.methods() {
        Methods::Get => matches!(request.method, Method::GET | Method::HEAD),
        Methods::Post => request.method == Method::POST,
        Methods::Both => matches!(request.method, Method::GET | Method::HEAD | Method::POST),
    };
    if !fine {
        return Err((framed(cx, parts).await, Fault::Method(route.methods())));
    }
    if let Some(reply) = pages::outside(&cx, route, parts).await {
        return reply.map_err(|fault| (Box::new(cx), fault));
    }
    // A link's token may stand on any page.
    if let Some(reply) = pages::entry::by_link(&cx, parts).await {
        return reply.map_err(|fault| (Box::new(cx), fault));
    }
    if let Err(fault) = sign_in(&mut cx, parts).await {
        return Err((Box::new(cx), fault));
    }
    let reply = inside(&mut cx, route).await;
    match reply {
        Ok(reply) => Ok(with_cookies(&cx, reply)),
        Err(fault) => {
            let reply = pages::errors::page(&cx, &fault);
            Ok(with_cookies(&cx, reply))
        }
    }
}

/// The context of a request that is refused whoever asks: who is signed in still gets the frame with its links.
async fn framed<'a>(mut cx: Cx<'a>, parts: &Parts) -> Box<Cx<'a>> {
    let _ = sign_in(&mut cx, parts).await;
    Box::new(cx)
}

/// Finds out who asks.
async fn sign_in(cx: &mut Cx<'_>, parts: &Parts) -> Result<(), Fault> {
    let who = cx.site.who(cx.request, parts).await?.ok_or(Fault::NoSession)?;
    cx.outpost = cx.site.outpost.acting_as(who.actor.clone());
    let note = cx.request.cookies(&cx.site.cookie_name("note")).next();
    cx.note = note.and_then(|note| cx.site.keys.read_note(&who.binding, &note, cx.now));
    cx.who = Some(who);
    Ok(())
}

/// A page for somebody who is signed in.
async fn inside(cx: &mut Cx<'_>, route: Route<'_>) -> Answer {
    if cx.request.is_post() {
        if cx.request.is_foreign(cx.site.origin.as_deref()) {
            return Err(Fault::Foreign);
        }
        let token = cx.request.form.text("form_token");
        let form = cx.site.keys.check_form(cx.binding(), token, cx.now).map_err(|_| Fault::Form)?;
        cx.form = Some(form);
    }
    pages::inside(cx, route).await
}

/// The cookies that any page may set.
fn with_cookies(cx: &Cx<'_>, mut reply: Reply) -> Reply {
    let site = cx.site;
    if let Some(session) = cx.who.as_ref().and_then(|who| who.session.as_ref())
        && let Some(token) = site.outpost.tokens().renew(session)
        && !reply.headers.contains_key(header::SET_COOKIE)
    {
        let left = i64::try_from(session.ends_at().since(cx.now).as_secs()).unwrap_or(0);
        reply.add_cookie(&site.cookie("", &token, Some(left)));
    }
    // Shown once.
    if cx.note.is_some() && matches!(reply.body, Content::Html { .. }) {
        reply.add_cookie(&site.no_cookie("note"));
    }
    if let Some(theme) = cx.request.query.get("theme").and_then(Theme::parse) {
        reply.add_cookie(&site.cookie("theme", theme.as_str(), None));
    }
    reply
}

/// Adds the headers that every answer has, and compresses.
fn finish(site: &Site, request: &Request, reply: Reply) -> http::Response<Body> {
    let Reply { status, headers, body } = reply;
    let head = request.method == Method::HEAD;
    let mut response = http::Response::new(Body::new(Bytes::new()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let all = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            all.entry(name).or_insert(value);
        }
    };
    set(header::CONTENT_SECURITY_POLICY, &site.policy());
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()");
    set(HeaderName::from_static("x-robots-tag"), "noindex");
    set(header::CACHE_CONTROL, "no-store");
    if !site.embedded() {
        set(header::X_FRAME_OPTIONS, "DENY");
    }
    let body = match body {
        Content::Empty => Body::new(Bytes::new()),
        Content::Stream(body) => body,
        Content::Bytes(bytes) => {
            set(header::CONTENT_LENGTH, &bytes.len().to_string());
            Body::new(bytes)
        }
        Content::Html { html, secret } => {
            set(header::CONTENT_TYPE, "text/html; charset=utf-8");
            set(header::VARY, "accept-encoding, cookie");
            let small = if secret || !request.accepts_gzip() { None } else { gzip(html.as_bytes(), 6) };
            if small.is_some() {
                set(header::CONTENT_ENCODING, "gzip");
            }
            let bytes = small.unwrap_or_else(|| html.into());
            set(header::CONTENT_LENGTH, &bytes.len().to_string());
            Body::new(bytes)
        }
    };
    if !(head || status == StatusCode::NO_CONTENT) {
        *response.body_mut() = body;
    }
    response
}

impl Site {
    /// One of the files that pages refer to.
    pub(crate) fn asset(&self, request: &Request, name: &str) -> Answer {
        let asset = self.assets.find(name).ok_or(Fault::NotFound)?;
        let zipped = asset.gzip.clone().filter(|_| request.accepts_gzip());
        let mut reply = Reply::empty(StatusCode::OK);
        reply.set(header::CONTENT_TYPE, asset.kind);
        reply.set(header::CACHE_CONTROL, "public, max-age=31536000, immutable");
        reply.set(header::VARY, "accept-encoding");
        if zipped.is_some() {
            reply.set(header::CONTENT_ENCODING, "gzip");
        }
        reply.body = Content::Bytes(zipped.unwrap_or_else(|| asset.plain.clone()));
        Ok(reply)
    }
}
