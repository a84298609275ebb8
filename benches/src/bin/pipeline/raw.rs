//! HTTP alone: the same signed requests, no store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;

use crate::{Round, SENDERS, payload};

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;
pub(crate) type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(crate) fn client() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(SENDERS * 2).build(connector)
}

/// Signs and sends one request and reads the answer.
pub(crate) async fn send(http: &Http, address: SocketAddr, id: &str, data: Bytes) -> Anything<u16> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a key of thirty-two bytes, as is")?;
    mac.update(format!("{id}.{now}.").as_bytes());
    mac.update(&data);
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac.finalize().into_bytes());
    let request = Request::post(format!("http://{address}/hooks"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", format!("v1,{signature}"))
        .body(Full::new(data))?;
    let response = http.request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

pub(crate) async fn round(address: SocketAddr, events: u64) -> Anything<Round> {
    let (http, next) = (client(), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let (http, next) = (http.clone(), next.clone());
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(());
                }
                send(&http, address, &format!("evt_{number:026}"), payload(number)).await?;
            }
        });
    }
    while let Some(done) = senders.join_next().await {
        done??;
    }
    Ok(Round { events, took: start.elapsed(), commits: 0 })
}
