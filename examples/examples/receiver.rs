//! A receiver: verifies the signature over the raw bytes first, then drops repeats, then reads.
//!
//! `cargo run -p outpost-examples --example receiver -- whsec_…`, then point a destination at
//! `http://127.0.0.1:3456/`.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outpost_core::{Clock, SystemClock, Verifier};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::args().nth(1).ok_or("give the destination's secret (whsec_…) as the argument")?;
    let verifier = Arc::new(Verifier::new(&secret)?);
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3456").await?;
    println!("listening at http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (verifier, seen) = (verifier.clone(), seen.clone());
        let service = service_fn(move |request| {
            let (verifier, seen) = (verifier.clone(), seen.clone());
            async move {
                Ok::<_, Infallible>(
                    Response::builder()
                        .status(receive(&verifier, &seen, request).await)
                        .body(Full::<Bytes>::default())
                        .unwrap_or_default(),
                )
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn receive(verifier: &Verifier, seen: &Mutex<HashSet<String>>, request: Request<Incoming>) -> StatusCode {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, 2 << 20).collect().await else { return StatusCode::PAYLOAD_TOO_LARGE };
    let body = body.to_bytes();
    if let Err(error) = verifier.verify_request(&parts.headers, &body, SystemClock::new().now()) {
        println!("refused: {error}");
        return StatusCode::UNAUTHORIZED;
    }
    let id = parts.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    // Delivery is at least once: the same id may come again. A real receiver keeps the ids with its data.
    if seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
        println!("{id}: {}", String::from_utf8_lossy(&body));
    } else {
        println!("{id}: a repeat, dropped");
    }
    StatusCode::NO_CONTENT
}
