//! The portal inside an axum application, behind the application's own login: no links, no tokens, no second session.
//! Whoever is logged in sees the webhooks of the customer that they belong to, and logging out ends that too.
//!
//! `cargo run -p outpost-examples --example axum_host`

mod login;

use std::collections::HashMap;

use axum::extract::{Form, State};
use axum::http::{StatusCode, request::Parts};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use login::{LoggedIn, Logins};
use outpost_core::{Capabilities, MemoryStore, NewEvent, Outpost, WebhookTransport, check_return_to};
use outpost_portal::{Authenticator, Portal, Principal, async_trait};

/// Where the portal is in this application.
const MOUNT: &str = "/settings/webhooks";

/// Tells the portal who asks. The application's middleware has found that out already.
struct OurLogin;

#[async_trait]
impl Authenticator for OurLogin {
    async fn authenticate(&self, request: &Parts) -> outpost_core::Result<Option<Principal>> {
        Ok(request.extensions.get::<LoggedIn>().map(|user| Principal {
            // From the session, never from the request.
            tenant: user.tenant.to_owned(),
            // Some of them for those who may only look, such as `Capabilities::NONE.with(Capability::Read)`.
            capabilities: Capabilities::ALL,
            // Forms of the portal are good for this session only.
            binding: user.session.clone(),
            name: user.email.to_owned(),
        }))
    }
}

/// Where the portal sends whoever is not logged in: to the login, and from there to the page that was wanted.
async fn webhooks_login(Form(query): Form<HashMap<String, String>>) -> Redirect {
    let page = query.get("return_to").filter(|page| check_return_to(page).is_ok()).map_or("/", String::as_str);
    login::then(&format!("{MOUNT}{page}"))
}

/// What the application is for: it does something, and tells its customer's destinations.
async fn place_order(State(outpost): State<Outpost>, user: Option<Extension<LoggedIn>>) -> Response {
    let Some(Extension(user)) = user else { return login::then("/").into_response() };
    match outpost.publish(user.tenant, NewEvent::new("order.created", r#"{"amount": 42}"#)).await {
        Ok(_) => Redirect::to("/").into_response(),
        Err(error) => {
            eprintln!("not published: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "The order could not be placed.").into_response()
        }
    }
}

async fn home(user: Option<Extension<LoggedIn>>) -> Response {
    let Some(Extension(user)) = user else { return login::then("/").into_response() };
    Html(format!(
        "<!doctype html><html lang=\"en\"><link rel=\"icon\" href=\"data:,\"><title>The application</title><h1>The application</h1>\
         <p>{} of {}</p><p><a href=\"{MOUNT}\">Webhooks</a></p>\
         <form method=\"post\" action=\"/orders\"><button>Place an order</button></form>\
         <form method=\"post\" action=\"/logout\"><button>Log out</button></form>",
        user.email, user.tenant
    ))
    .into_response()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind(listen()?).await?;
    let host = format!("http://{}", listener.local_addr()?);

    let outpost = Outpost::builder(MemoryStore::new())
        .transport(WebhookTransport::builder().build()?)
        .topics(["order.created", "order.shipped"])
        .start()
        .await?;
    // Where the application creates a customer, it creates the tenant too.
    for tenant in ["acme", "globex"] {
        outpost.tenants().put(tenant, None).await?;
    }

    // It guards the portal's forms. Random for each run here; a real one is kept, and is the same in every process.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
    let portal = Portal::builder(outpost.clone())
        .authenticator(OurLogin)
        .secret(secret)
        .public_url(format!("{host}{MOUNT}"))
        .referer_url(format!("{host}/"))
        .refresh_url(format!("{host}/webhooks-login"))
        .organization_name("Example")
        .audit(|action| println!("{} of {}: {} {}", action.actor, action.tenant, action.action, action.subject))
        .build()?;

    let logins = Logins::default();
    let application = Router::new()
        .route("/", get(home))
        .route("/orders", post(place_order))
        .route("/webhooks-login", get(webhooks_login))
        .with_state(outpost)
        .nest_service(MOUNT, portal)
        // Around everything above it, the portal included.
        .layer(middleware::from_fn_with_state(logins.clone(), login::recognize))
        .merge(logins.routes());
    println!("listening at {host}/");
    axum::serve(listener, application).await?;
    Ok(())
}

fn listen() -> Result<String, lexopt::Error> {
    use lexopt::prelude::*;
    let mut listen = "127.0.0.1:3000".to_owned();
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("listen") => listen = given.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(listen)
}
