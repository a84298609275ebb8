//! The built-in receiver: it checks every signature with a library that is not ours, and refuses some
//! requests so that there is something to retry. `/ok`, `/fail` and `/slow` are there to be tried by hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use standardwebhooks::Webhook;

use crate::serve::{listen, serve};
use crate::{Anything, story};

const MAX_BODY: usize = 2 << 20;
/// What `/fail` answers.
const FAILS: &str = "This receiver always fails. Change the URL of the destination to end in /ok, then retry.";
/// How long `/slow` takes: longer than any destination here waits.
const SLOW: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    /// The verifier of each path.
    keys: Mutex<HashMap<String, Webhook>>,
    requests: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
    failure_rate: f64,
    /// The one path whose receiver works again.
    mended: AtomicBool,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

impl Receiver {
    /// Listens at `wanted`, or at a free port where that one is taken.
    pub(crate) async fn start(wanted: SocketAddr, failure_rate: f64) -> Anything<Self> {
        let listener = listen(wanted).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { failure_rate, ..State::default() });
        let serving = state.clone();
        serve(listener, move |request| {
            let state = serving.clone();
            async move { answer(&state, request).await }
        });
        Ok(Self { address, state })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Verifies what comes to `path` with this secret from now on.
    pub(crate) fn trust(&self, path: &str, secret: &str) -> Anything<()> {
        let key = Webhook::new(secret)?;
        self.state.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("/{path}"), key);
        Ok(())
    }

    /// Has the broken path work from now on.
    pub(crate) fn mend(&self) {
        self.state.mended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn good_signatures(&self) -> u64 {
        self.state.good.load(Ordering::Relaxed)
    }

    pub(crate) fn bad_signatures(&self) -> u64 {
        self.state.bad.load(Ordering::Relaxed)
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return reply(StatusCode::PAYLOAD_TOO_LARGE, "too large");
    };
    // For the destinations of whoever tries the portal; their secrets are not known here.
    match parts.uri.path() {
        "/ok" => return reply(StatusCode::OK, "thank you"),
        "/fail" => return reply(StatusCode::INTERNAL_SERVER_ERROR, FAILS),
        "/slow" => {
            tokio::time::sleep(SLOW).await;
            return reply(StatusCode::OK, "thank you, at last");
        }
        _ => {}
    }
    let body = body.to_bytes();
    let verified = {
        let keys = state.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(parts.uri.path()).is_some_and(|key| key.verify(&body, &parts.headers).is_ok())
    };
    if !verified {
        state.bad.fetch_add(1, Ordering::Relaxed);
        return reply(StatusCode::UNAUTHORIZED, "the signature is not right");
    }
    state.good.fetch_add(1, Ordering::Relaxed);
    if parts.uri.path() == format!("/{}/{}", story::TENANT, story::DESTINATION) {
        return if state.mended.load(Ordering::Relaxed) {
            reply(StatusCode::OK, "thank you")
        } else {
            reply(StatusCode::INTERNAL_SERVER_ERROR, "broken")
        };
    }
    let number = state.requests.fetch_add(1, Ordering::Relaxed);
    if number == 40 {
        // Once: "leave me alone", which holds the whole destination for a while.
        let mut busy = reply(StatusCode::SERVICE_UNAVAILABLE, "restarting");
        busy.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("2"));
        return busy;
    }
    if refuses(number, state.failure_rate) {
        return reply(StatusCode::INTERNAL_SERVER_ERROR, "bad luck");
    }
    reply(StatusCode::OK, "thank you")
}

/// The same requests of a run are refused every time: a multiplicative hash of their number decides.
fn refuses(number: u64, rate: f64) -> bool {
    let hash = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (hash as f64) < rate * (1_u64 << 24) as f64
}

fn reply(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
