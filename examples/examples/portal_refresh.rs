//! Portal links and what happens when a session ends: the portal sends its users back to the application, which knows
//! them by its own login, makes a fresh link for *their* tenant and leads them to the page that they wanted.
//!
//! `cargo run -p outpost-examples --example portal_refresh`, then bookmark any page of the portal, let the session end
//! (`--session-idle 5` makes that quick), and open the bookmark. Each part may run on a server of its own: all they
//! share are the two addresses.

mod login;

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router, http::StatusCode, middleware};
use login::{LoggedIn, Logins};
use outpost_core::{
    DestinationId, MemoryStore, NewDestination, Outpost, PortalLink, TokenSettings, WebhookTransport, check_return_to,
};
use outpost_portal::Portal;

/// `PORTAL_REFRESH_URL`: where the portal sends whoever has no session, with `return_to`, the page that was wanted.
///
/// Anybody can open this address with any parameters, so they prove nothing. Who asks is known by the application's own
/// session, and the tenant is that user's. A parameter `tenant` would be an open door to every customer's webhooks.
async fn webhooks_link(
    State(outpost): State<Outpost>,
    user: Option<Extension<LoggedIn>>,
    Form(query): Form<HashMap<String, String>>, // of a GET request this is the query
) -> Response {
    // Only a path, else the link would lead out of the portal. Anything else: its first page.
    let page = query.get("return_to").filter(|page| check_return_to(page).is_ok()).map_or("/", String::as_str);
    let Some(Extension(user)) = user else {
        // Log in first, then come back here with the same page in mind.
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", page).finish();
        return login::then(&format!("/webhooks-link?{query}")).into_response();
    };
    match outpost.portal_link(user.tenant, PortalLink::default().return_to(page)).await {
        // Whoever has the link is that user: it opens once, within ten minutes, and is shown to nobody else.
        Ok(link) => Redirect::to(&link).into_response(),
        Err(error) => {
            eprintln!("no portal link for {}: {error}", user.tenant);
            (StatusCode::SERVICE_UNAVAILABLE, "The webhooks cannot be opened at the moment.").into_response()
        }
    }
}

async fn home(user: Option<Extension<LoggedIn>>) -> Response {
    let Some(Extension(user)) = user else { return login::then("/").into_response() };
    Html(format!(
        "<!doctype html><html lang=\"en\"><link rel=\"icon\" href=\"data:,\"><title>The application</title><h1>The application</h1>\
         <p>{} of {}</p><p><a href=\"/webhooks-link\">Webhooks</a></p>\
         <form method=\"post\" action=\"/logout\"><button>Log out</button></form>",
        user.email, user.tenant
    ))
    .into_response()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (listen, idle) = flags()?;
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    let host = format!("http://{}", listener.local_addr()?);

    // Random for each run here. A real one is kept, and is the same wherever links are made and wherever the portal is.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
    let tokens = TokenSettings::new(&format!("{host}/webhooks"), secret).session_idle(idle);
    let outpost = Outpost::builder(MemoryStore::new())
        .transport(WebhookTransport::builder().build()?)
        .tokens(tokens)
        .start()
        .await?;
    for tenant in ["acme", "globex"] {
        outpost.tenants().put(tenant, None).await?;
        let new = NewDestination::webhook(format!("https://1.1.1.1/{tenant}")).id(DestinationId::new("orders")?);
        outpost.destinations().create(tenant, new.name(format!("Orders of {tenant}"))).await?;
    }

    let portal = Portal::builder(outpost.clone())
        .referer_url(format!("{host}/"))
        .refresh_url(format!("{host}/webhooks-link"))
        .organization_name("Example")
        .build()?;
    let logins = Logins::default();
    let application = Router::new()
        .route("/", get(home))
        .route("/webhooks-link", get(webhooks_link))
        .with_state(outpost)
        .layer(middleware::from_fn_with_state(logins.clone(), login::recognize))
        .merge(logins.routes())
        // It has sessions of its own, and asks the application's login for nothing.
        .nest_service("/webhooks", portal);
    println!("listening at {host}/");
    axum::serve(listener, application).await?;
    Ok(())
}

/// Where to listen, and after how many seconds without use a portal session ends.
fn flags() -> Result<(String, Duration), lexopt::Error> {
    use lexopt::prelude::*;
    let (mut listen, mut idle) = ("127.0.0.1:3000".to_owned(), Duration::from_secs(1800));
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("listen") => listen = given.value()?.string()?,
            Long("session-idle") => idle = Duration::from_secs(given.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok((listen, idle))
}
