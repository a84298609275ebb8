//! The portal, and a host application around it. The host's login page lets everybody in as whatever tenant they
//! like, which only a demo on one's own machine may.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use outpost_core::{Outpost, PortalLink, check_return_to};
use outpost_portal::Portal;
use tokio::net::TcpListener;
use tower_service::Service as _;

use crate::serve::{listen, serve};
use crate::{Anything, tenants};

/// The path that the portal is mounted at.
const MOUNT: &str = "/webhooks";
/// The host's session: the tenant that was chosen.
const COOKIE: &str = "quickstart_tenant";

type Answer = Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>;

/// Where browsers come in.
pub(crate) struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

struct Host {
    outpost: Outpost,
    portal: Portal,
}

impl Door {
    /// Listens at `wanted`, or at a free port where that one is taken. Nobody is answered before [`serve`](Self::serve).
    pub(crate) async fn open(wanted: SocketAddr) -> Anything<Self> {
        let listener = listen(wanted).await.map_err(|error| format!("cannot listen at {wanted}: {error}"))?;
        let mut address = listener.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Ok(Self { listener, address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that always works: it makes a fresh link and leads into the portal.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where links into the portal lead.
    pub(crate) fn portal_url(&self) -> String {
        format!("http://{}{MOUNT}/", self.address)
    }

    /// Serves the portal, with `notice` above every page.
    pub(crate) fn serve(self, outpost: &Outpost, notice: &str) -> Anything<()> {
        let portal = Portal::builder(outpost.clone())
            // Whoever has no session, or none any more, gets one and comes back to the same page.
            .refresh_url(self.url())
            .referer_url(format!("{}tenants", self.url()))
            .organization_name("Quickstart")
            .accent_color("#0b6e5f")
            .notice(notice)
            .build()?;
        let host = Arc::new(Host { outpost: outpost.clone(), portal });
        serve(self.listener, move |request| {
            let host = host.clone();
            async move { answer(&host, request).await }
        });
        Ok(())
    }
}

async fn answer(host: &Host, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if path.strip_prefix(MOUNT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return match host.portal.clone().call(request).await {
            Ok(response) => response.map(BodyExt::boxed_unsync),
            Err(never) => match never {},
        };
    }
    match path {
        "/" => enter(host, &request).await,
        "/tenants" => page(StatusCode::OK, &login()),
        _ => page(StatusCode::NOT_FOUND, "<h1>Nothing is here</h1><p><a href=\"/tenants\">Choose a tenant</a></p>"),
    }
}

/// Makes a fresh link for the tenant that is asked for, else the one of the cookie, and leads into the portal. A real
/// host takes the tenant from its own session and from nowhere else: see the example `portal_refresh`.
async fn enter(host: &Host, request: &Request<Incoming>) -> Answer {
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let cookies = request.headers().get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept = cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    let known = |wanted: &str| tenants().find(|tenant| *tenant == wanted);
    let Some(tenant) = known(asked("tenant").or(kept).unwrap_or("acme")) else {
        return page(StatusCode::NOT_FOUND, &login());
    };
    let mut link = PortalLink::default();
    // The page within the portal that was wanted when the session had ended.
    if let Some(path) = asked("return_to").filter(|path| check_return_to(path).is_ok()) {
        link = link.return_to(path);
    }
    match host.outpost.portal_link(tenant, link).await {
        Ok(link) => {
            let mut response = page(StatusCode::SEE_OTHER, "");
            let cookie = format!("{COOKIE}={tenant}; Path=/; HttpOnly; SameSite=Lax");
            for (name, value) in [(header::LOCATION, link), (header::SET_COOKIE, cookie)] {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Err(error) => {
            eprintln!("quickstart: no link for {tenant}: {error}");
            page(StatusCode::INTERNAL_SERVER_ERROR, "<h1>There is no way in at the moment</h1>")
        }
    }
}

fn login() -> String {
    let list: String = tenants().map(|tenant| format!("<li><a href=\"/?tenant={tenant}\">{tenant}</a></li>")).collect();
    format!(
        "<h1>Quickstart</h1><p>This page stands for your application. Its customers are the tenants of Outpost; \
         open the webhooks of one of them:</p><ul>{list}</ul>"
    )
}

fn page(status: StatusCode, body: &str) -> Answer {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\"><title>Quickstart</title>{body}"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
