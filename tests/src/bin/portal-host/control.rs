//! What a browser test asks of the host: links, faults, events, and receivers to send to.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use outpost_core::{
    Capabilities, Capability, DeliveryFilter, DestinationId, Fault, NewDestination, NewEvent, Operation, PageRequest,
    PortalLink, StoreErrorKind, Theme, Times, Topics,
};

use crate::{Answer, Host, text};

pub(crate) async fn answer(host: &Host, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let get = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    match path.as_str() {
        "/sink/ok" | "/sink/fail" | "/sink/slow" | "/sink/page" | "/sink/large" | "/sink/hostile" => {
            sink(host, &path, request).await
        }
        "/control/last" => {
            let last = host.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            text(StatusCode::OK, last.to_string())
        }
        "/control/link" | "/control/token" => {
            let mut link = PortalLink::default();
            if let Some(theme) = get("theme").and_then(Theme::parse) {
                link = link.theme(theme);
            }
            if let Some(path) = get("return_to") {
                link = link.return_to(path);
            }
            if let Some(names) = get("caps") {
                let all = [Capability::Read, Capability::Write, Capability::Secrets, Capability::Retry];
                let wanted = all.into_iter().filter(|one| names.split(',').any(|name| name == one.as_str()));
                link = link.capabilities(wanted.fold(Capabilities::NONE, Capabilities::with));
            }
            let link = host.outpost.portal_link(get("tenant").unwrap_or("acme"), link).await.expect("a link");
            if path == "/control/link" {
                return text(StatusCode::OK, link);
            }
            let token = link.split("token=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
            text(StatusCode::OK, token.to_owned())
        }
        "/control/fault" => {
            for operation in Operation::ALL {
                host.faults.clear(operation);
            }
            let on = get("on").unwrap_or_default().to_owned();
            for operation in Operation::ALL {
                if !on.split(',').any(|name| format!("{operation:?}").eq_ignore_ascii_case(name)) {
                    continue;
                }
                host.faults.inject(operation, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
            }
            text(StatusCode::OK, "set")
        }
        "/control/publish" => {
            let data = get("data").unwrap_or(r#"{"hello":"there"}"#).to_owned();
            let mut event = NewEvent::new(get("topic").unwrap_or("order.created"), Bytes::from(data));
            if let Some(id) = get("id") {
                event = event.id(id);
            }
            match host.outpost.publish(get("tenant").unwrap_or("acme"), event).await {
                Ok(published) => text(StatusCode::OK, published.id.to_string()),
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        "/control/destination" => {
            let sink = get("sink").unwrap_or("ok");
            let mut new = NewDestination::webhook(format!("http://{}/sink/{sink}", host.address));
            if let Some(id) = get("id") {
                new = new.id(DestinationId::new(id).expect("an id"));
            }
            new = new.topics(get("topic").map_or_else(Topics::all, |topic| Topics::new([topic]).expect("a topic")));
            if let Some(name) = get("name") {
                new = new.name(name);
            }
            match host.outpost.destinations().create(get("tenant").unwrap_or("acme"), new).await {
                Ok(made) => text(StatusCode::OK, made.id.to_string()),
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        "/control/state" => {
            let tenant = get("tenant").unwrap_or("acme");
            let destinations = host.outpost.destinations().list(tenant).await.expect("a list");
            let page = PageRequest { limit: 100, ..PageRequest::default() };
            let deliveries =
                host.outpost.deliveries().list(tenant, &DeliveryFilter::default(), &page).await.expect("a list");
            text(StatusCode::OK, format!("{destinations:#?}\n{:#?}", deliveries.items))
        }
        // As another site would try it.
        "/control/form" => {
            let url = get("url").unwrap_or_default().replace('"', "%22");
            html(format!(
                "<!doctype html><title>other</title><form method=post action=\"{url}\"><button>go</button></form>"
            ))
        }
        "/control/frame" => {
            let url = get("url").unwrap_or_default().replace('"', "%22");
            let page =
                format!("<!doctype html><title>host</title><iframe id=f src=\"{url}\" width=1000 height=800></iframe>");
            html(page)
        }
        // The host's own login, for the portal behind it.
        "/control/login" => {
            let mut response = text(StatusCode::OK, "logged in");
            let cookie = format!("host_login={}; Path=/; HttpOnly; SameSite=Lax", get("tenant").unwrap_or("acme"));
            response.headers_mut().insert(header::SET_COOKIE, cookie.parse().expect("a header"));
            response
        }
        "/host" | "/host/refresh" => {
            html(format!("<!doctype html><title>host</title><h1>The host</h1><p id=q>{}</p>", query.len()))
        }
        _ => text(StatusCode::NOT_FOUND, "not here"),
    }
}

fn html(page: String) -> Answer {
    let mut response = text(StatusCode::OK, page);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

async fn sink(host: &Host, path: &str, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let headers: serde_json::Map<String, serde_json::Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into()))
        .collect();
    *host.last.lock().unwrap_or_else(PoisonError::into_inner) =
        serde_json::json!({ "path": path, "headers": headers, "body": String::from_utf8_lossy(&body) });
    match path {
        "/sink/fail" => html("<h1>Internal Server Error</h1><script>alert('from the receiver')</script>".to_owned())
            .map_status(StatusCode::INTERNAL_SERVER_ERROR),
        "/sink/slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            text(StatusCode::OK, "late")
        }
        "/sink/large" => text(StatusCode::BAD_GATEWAY, "x".repeat(1 << 20)),
        "/sink/hostile" => hostile(),
        "/sink/page" => html("<p>fine</p>".to_owned()),
        _ => text(StatusCode::OK, r#"{"received":true}"#),
    }
}

/// An answer of which nothing may be taken at its word.
fn hostile() -> Answer {
    let mut body = crate::seed::HOSTILE.as_bytes().to_vec();
    body.extend_from_slice(b"\0\xff\xfe<script>alert(3)</script>\r\n\x1b[31mred");
    let mut response = text(StatusCode::IM_A_TEAPOT, body);
    let value = header::HeaderValue::from_bytes(b"\"><script>alert(4)</script>\xe2\x80\xae").expect("a header");
    response.headers_mut().insert("x-hostile", value);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"));
    response
}

trait MapStatus {
    fn map_status(self, status: StatusCode) -> Self;
}

impl MapStatus for Answer {
    fn map_status(mut self, status: StatusCode) -> Self {
        *self.status_mut() = status;
        self
    }
}
