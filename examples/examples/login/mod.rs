//! The login that a host application has anyway; both examples of the portal are behind it. Two users of two tenants,
//! sessions in memory. A real one keeps its sessions elsewhere, checks hashes of passwords, and has `Secure` cookies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Form, Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use outpost_core::check_return_to;

/// Email, password, tenant.
const USERS: [(&str, &str, &str); 2] = [("ann@acme.test", "ann", "acme"), ("bob@globex.test", "bob", "globex")];
const COOKIE_NAME: &str = "host_session";

/// Somebody who is logged in. The middleware [`recognize`] puts it into a request's extensions.
#[derive(Clone)]
pub(crate) struct LoggedIn {
    /// The id of the session, which ends with it.
    pub(crate) session: String,
    pub(crate) email: &'static str,
    /// The customer that the user belongs to: a tenant of Outpost.
    pub(crate) tenant: &'static str,
}

/// The sessions, by their ids.
#[derive(Clone, Default)]
pub(crate) struct Logins(Arc<Mutex<HashMap<String, LoggedIn>>>);

impl Logins {
    /// The pages `/login` and `/logout`.
    pub(crate) fn routes(&self) -> Router {
        Router::new().route("/login", get(form).post(log_in)).route("/logout", post(log_out)).with_state(self.clone())
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, LoggedIn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_cookie(&self, headers: &HeaderMap) -> Option<LoggedIn> {
        let cookies = headers.get(COOKIE)?.to_str().ok()?;
        let id = cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))?;
        self.sessions().get(id).cloned()
    }
}

/// Middleware for everything that wants to know who asks.
pub(crate) async fn recognize(State(logins): State<Logins>, mut request: Request, next: Next) -> Response {
    if let Some(user) = logins.by_cookie(request.headers()) {
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}

/// Leads to the login, and after it to `next`, a path on this host.
pub(crate) fn then(next: &str) -> Redirect {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    Redirect::to(&format!("/login?{query}"))
}

type Fields = Form<HashMap<String, String>>;

/// Of a GET request axum's `Form` is the query.
async fn form(Form(query): Fields) -> Html<String> {
    Html(page(&query, ""))
}

async fn log_in(State(logins): State<Logins>, Form(fields): Fields) -> Response {
    let given = |name: &str| fields.get(name).map_or("", String::as_str);
    let found =
        USERS.into_iter().find(|(email, password, _)| (*email, *password) == (given("email"), given("password")));
    let mut random = [0; 16];
    let Some((email, _, tenant)) = found.filter(|_| getrandom::fill(&mut random).is_ok()) else {
        return (StatusCode::UNAUTHORIZED, Html(page(&fields, "<p>That is not right.</p>"))).into_response();
    };
    let session = format!("{:032x}", u128::from_be_bytes(random));
    let cookie = format!("{COOKIE_NAME}={session}; Path=/; HttpOnly; SameSite=Lax");
    logins.sessions().insert(session.clone(), LoggedIn { session, email, tenant });
    // A path on this host and nothing else, or the login would lead wherever somebody wants.
    let next = Some(given("next")).filter(|next| check_return_to(next).is_ok()).unwrap_or("/");
    ([(SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

async fn log_out(State(logins): State<Logins>, headers: HeaderMap) -> Response {
    if let Some(user) = logins.by_cookie(&headers) {
        logins.sessions().remove(&user.session);
    }
    let cookie = format!("{COOKIE_NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    ([(SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

fn page(fields: &HashMap<String, String>, problem: &str) -> String {
    let next = escaped(fields.get("next").map_or("/", String::as_str));
    let [first, second] = USERS.map(|(email, password, _)| format!("{email} with {password}"));
    format!(
        "<!doctype html><html lang=\"en\"><link rel=\"icon\" href=\"data:,\"><title>Log in</title><h1>Log in</h1>{problem}\
         <form method=\"post\" action=\"/login\"><p><label>Email <input name=\"email\"></label>\
         <p><label>Password <input name=\"password\" type=\"password\"></label>\
         <input type=\"hidden\" name=\"next\" value=\"{next}\"><p><button>Log in</button></form>\
         <p>{first}, or {second}"
    )
}

/// A text that is to stand in an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
