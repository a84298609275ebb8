//! Tokens through the whole library: each opens its own door, for as long as it should, in every process.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod doors;
mod links;
mod sessions;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use outpost_core::{
    Actor, BoxFuture, Capabilities, Capability, Clock, Error, ErrorKind, Fault, FaultStore, MemoryStore,
    OPERATOR_TENANT, Operation, Outpost, OutpostBuilder, PortalLink, ScriptedReply, ScriptedTransport, Session, Store,
    StoreErrorKind, Theme, Times, Timestamp, TokenSettings,
};
use serde_json::{Value, json};

const PORTAL: &str = "https://hooks.example.com/portal";
const SECRET: &str = "0123456789-canary-of-32-bytes-ab";
const OTHER: &str = "another-secret-of-at-least-32-bytes";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A clock that tests move.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_780_000_000_000)))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn seconds(&self) -> i64 {
        self.now().as_seconds()
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// One store and one clock for all processes of a test.
struct World {
    store: MemoryStore,
    clock: Hand,
}

impl World {
    fn new() -> Self {
        Self { store: MemoryStore::new(), clock: Hand::new() }
    }

    fn builder(&self) -> OutpostBuilder {
        self.over(self.store.another_process())
    }

    fn over(&self, store: impl Store) -> OutpostBuilder {
        Outpost::builder(store).transport(ScriptedTransport::always(ScriptedReply::ok())).clock(self.clock.clone())
    }

    async fn process(&self, settings: TokenSettings) -> Outpost {
        self.builder().tokens(settings).start().await.unwrap()
    }
}

fn settings() -> TokenSettings {
    TokenSettings::new(PORTAL, SECRET)
}

/// A process with the tenants `acme` and `other`.
async fn world() -> (World, Outpost) {
    let world = World::new();
    let outpost = world.process(settings()).await;
    for tenant in ["acme", "other"] {
        outpost.tenants().put(tenant, None).await.unwrap();
    }
    (world, outpost)
}

async fn entry(outpost: &Outpost) -> String {
    token_of(&outpost.portal_link("acme", PortalLink::default()).await.unwrap())
}

fn token_of(link: &str) -> String {
    let url = url::Url::parse(link).unwrap();
    url.query_pairs().find(|(key, _)| key == "token").unwrap().1.into_owned()
}

async fn sign_in(outpost: &Outpost) -> Session {
    outpost.tokens().enter(&entry(outpost).await).await.unwrap()
}

async fn api(outpost: &Outpost) -> String {
    outpost.tokens().api("acme", Capabilities::ALL).await.unwrap()
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// Signs `claims` with any header and secret, as somebody else would.
fn forge(header: &Value, claims: &Value, secret: &str) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let algorithm = match header["alg"].as_str() {
        Some("HS512") => Algorithm::HS512,
        Some("HS384") => Algorithm::HS384,
        _ => Algorithm::HS256,
    };
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, what: &str) {
    let Err(error) = result else { panic!("{what} was accepted") };
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{what}: {error}");
    assert_eq!(error.message(), "the token is not valid", "{what}");
}

/// No door opens to it.
async fn assert_opens_nothing(outpost: &Outpost, token: &str, what: &str) {
    let tokens = outpost.tokens();
    assert_refused(tokens.authenticate(token).await, what);
    assert_refused(tokens.peek(token).await, what);
    assert_refused(tokens.enter(token).await, what);
    assert_refused(tokens.session(token).await, what);
}
