//! A receiver on loopback that keeps what it gets.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What a receiver got, by `webhook-id`.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Mutex<HashMap<String, Vec<Received>>>>);

impl Inbox {
    /// How many different events came in.
    #[must_use]
    pub fn events(&self) -> usize {
        self.all().len()
    }

    /// Everything that came in.
    #[must_use]
    pub fn all(&self) -> HashMap<String, Vec<Received>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts a receiver on the current runtime. `answer` gets a request and how many came before it with the
/// same id, and says the status.
pub async fn start(answer: impl Fn(&Received, usize) -> u16 + Send + Sync + 'static) -> (SocketAddr, Inbox) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (inbox, answer) = (Inbox::default(), Arc::new(answer));
    let keeping = inbox.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (keeping, answer) = (keeping.clone(), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (keeping, answer) = (keeping.clone(), answer.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let id = parts.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
                    let received = Received { path: parts.uri.path().to_owned(), headers: parts.headers, body };
                    let status = {
                        let mut all = keeping.0.lock().unwrap_or_else(PoisonError::into_inner);
                        let before = all.entry(id).or_default();
                        before.push(received.clone());
                        answer(&received, before.len() - 1)
                    };
                    let mut response = Response::new(Full::new(Bytes::new()));
                    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, inbox)
}
