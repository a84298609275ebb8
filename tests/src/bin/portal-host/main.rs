//! A host application with the portal mounted in several ways, full of data, for a browser to try it.
//!
//! `portal-host [DELIVERIES]` serves on three ports and prints `ready A B C`:
//!
//! - A, `http://127.0.0.1`: the portal under `/webhooks`, another under `/own/portal` behind the host's own login, one
//!   of any accent under `/accent/RRGGBB`; receivers `/sink/ok`, `/sink/fail`, `/sink/slow`, `/sink/page`,
//!   `/sink/large`, `/sink/hostile`; and what a test needs: `/control/link?tenant=…` (a fresh link, as text; `theme`,
//!   `return_to`, `caps`), `/control/token`, `/control/fault?on=scan,fetch` (names of
//!   operations of the store that fail until the next call),
//!   `/control/publish?tenant=…&topic=…&data=…`, `/control/destination?tenant=…&id=…&name=…&sink=…&topic=…`,
//!   `/control/state?tenant=…` (all of its destinations and newest deliveries, to see whether anything changed),
//!   `/control/last` (the last request to a receiver, as JSON), `/control/frame?url=…` (a page with a frame),
//!   `/control/form?url=…` (a page with a form that posts there), `/control/login?tenant=…` (the host's own login).
//! - B, `http://localhost`: another portal at the root, that pages of A may frame, with another accent.
//! - C, `http://127.0.0.1`: a proxy in front of A that takes `/a/b` off the path.

mod control;
mod seed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outpost_core::{
    Capabilities, EgressPolicy, FaultStore, Faults, HealthPolicy, Outpost, RetryPolicy, Schedule, TokenSettings,
    WebhookTransport,
};
use outpost_portal::{Authenticator, Portal, Principal, async_trait};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use tokio::net::TcpListener;
use tower_service::Service as _;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const TOPICS: [&str; 8] = [
    "order.created",
    "order.updated",
    "order.refunded",
    "order.cancelled",
    "user.created",
    "user.deleted",
    "invoice.paid",
    "heartbeat",
];

struct Host {
    outpost: Outpost,
    faults: Faults,
    portal: Portal,
    /// Behind the host's own login.
    own: Portal,
    /// At the root of another origin, framed by this one.
    framed: Portal,
    /// Behind a proxy that takes its prefix off.
    behind: Portal,
    /// Each with the accent that names it, made when it is first asked for.
    accents: Mutex<HashMap<String, Portal>>,
    last: Mutex<serde_json::Value>,
    address: SocketAddr,
}

/// Who is logged in, by a header or a cookie of the host's own.
struct OwnLogin;

#[async_trait]
impl Authenticator for OwnLogin {
    async fn authenticate(&self, request: &http::request::Parts) -> outpost_core::Result<Option<Principal>> {
        let cookies = request.headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let tenant = cookies.split(';').find_map(|pair| pair.trim().strip_prefix("host_login="));
        Ok(tenant.filter(|tenant| !tenant.is_empty()).map(|tenant| Principal {
            tenant: tenant.to_owned(),
            capabilities: Capabilities::ALL,
            binding: format!("session of {tenant}"),
            name: "somebody@example.com".to_owned(),
        }))
    }
}

#[tokio::main]
async fn main() {
    let deliveries: u32 = std::env::args().nth(1).map_or(5_000, |count| count.parse().expect("a count"));
    let bind = || TcpListener::bind("127.0.0.1:0");
    let [a, b, c] = [bind().await.expect("a port"), bind().await.expect("a port"), bind().await.expect("a port")];
    let [at_a, at_b, at_c] = [&a, &b, &c].map(|listener| listener.local_addr().expect("an address"));

    let folder = tempfile::tempdir().expect("a folder");
    let builder = SqliteStore::builder(folder.path().join("o.db")).synchronous(Synchronous::Normal);
    let store = FaultStore::new(builder.open().await.expect("a store"));
    let faults = store.faults();
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().expect("a policy");
    let outpost = Outpost::builder(store)
        .transport(WebhookTransport::builder().egress(egress).custom_headers(true).build().expect("webhooks"))
        .retry(
            RetryPolicy::new(Schedule::Explicit([1, 3600, 7200, 14_400].map(Duration::from_secs).to_vec()))
                .expect("a policy"),
        )
        .timeout(Duration::from_secs(2))
        .max_timeout(Duration::from_secs(5))
        .health(HealthPolicy::default().consecutive_failures(Some(100_000)).exhausted_window(None))
        .topics(TOPICS)
        .max_destinations(600)
        .tenant_filters(true)
        .tenant_delivery_settings(true)
        .tokens(TokenSettings::new(&format!("http://{at_a}/webhooks"), SECRET))
        .start()
        .await
        .expect("starts");

    let portal = |url: String| {
        Portal::builder(outpost.clone())
            .public_url(url)
            .referer_url(format!("http://{at_a}/host"))
            .refresh_url(format!("http://{at_a}/host/refresh"))
            .organization_name("Acme Cloud")
    };
    let host = Arc::new(Host {
        portal: portal(format!("http://{at_a}/webhooks")).build().expect("a portal"),
        own: portal(format!("http://{at_a}/own/portal")).authenticator(OwnLogin).build().expect("a portal"),
        framed: portal(format!("https://localhost:{}", at_b.port()))
            .accent_color("#ffd500")
            .frame_ancestors([format!("http://{at_a}")])
            .build()
            .expect("a portal"),
        behind: portal(format!("http://{at_c}/a/b")).build().expect("a portal"),
        outpost,
        faults,
        accents: Mutex::default(),
        last: Mutex::default(),
        address: at_a,
    });
    serve(a, host.clone(), |host, request| async move { main_host(&host, request).await });
    serve(b, host.clone(), |host, request| async move { call(&host.framed, request).await });
    serve(c, host.clone(), |host, request| async move { proxy(&host, request).await });
    seed::everything(&host.outpost, &format!("http://{at_a}"), deliveries).await;
    println!("ready {at_a} localhost:{} {at_c}", at_b.port());
    std::future::pending::<()>().await;
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves requests with `answer` for as long as the process runs.
fn serve<F>(
    listener: TcpListener,
    host: Arc<Host>,
    answer: impl Fn(Arc<Host>, Request<Incoming>) -> F + Copy + Send + Sync + 'static,
) where
    F: Future<Output = Answer> + Send,
{
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let host = host.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let host = host.clone();
                    async move { Ok::<_, Infallible>(answer(host, request).await) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A browser closes when it likes.
                let _ = connection.await;
            });
        }
    });
}

async fn call(portal: &Portal, request: Request<Incoming>) -> Answer {
    match portal.clone().call(request).await {
        Ok(response) => response.map(http_body_util::BodyExt::boxed_unsync),
        Err(never) => match never {},
    }
}

async fn main_host(host: &Host, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if path == "/webhooks" || path.starts_with("/webhooks/") {
        return call(&host.portal, request).await;
    }
    if path.starts_with("/own/portal") {
        return call(&host.own, request).await;
    }
    if let Some(hex) = path.strip_prefix("/accent/").and_then(|rest| rest.split('/').next()) {
        let portal = accented(host, hex);
        return call(&portal, request).await;
    }
    control::answer(host, request).await
}

fn accented(host: &Host, hex: &str) -> Portal {
    let build = || {
        Portal::builder(host.outpost.clone())
            .public_url(format!("http://{}/accent/{hex}", host.address))
            .referer_url(format!("http://{}/host", host.address))
            .accent_color(format!("#{hex}"))
            .build()
            .expect("an accent")
    };
    host.accents.lock().unwrap_or_else(PoisonError::into_inner).entry(hex.to_owned()).or_insert_with(build).clone()
}

/// Takes the prefix off, as proxies do.
async fn proxy(host: &Host, mut request: Request<Incoming>) -> Answer {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let Some(rest) = target.strip_prefix("/a/b") else { return text(StatusCode::NOT_FOUND, "not below the prefix") };
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    *request.uri_mut() = rest.parse().expect("a path");
    call(&host.behind, request).await
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
