//! The host application that the crash tests kill: what the test and the process share.

use std::path::Path;
use std::time::Duration;

use outpost_core::{DestinationId, EgressPolicy, NewDestination, Outpost, RetryPolicy, Schedule, WebhookTransport};
use outpost_store_sqlite::{SqliteStore, Synchronous};

/// The most requests that a worker has on their way.
pub const CONCURRENCY: u32 = 16;

/// An engine over the file at `path`, for receivers on loopback.
pub async fn engine(path: &Path, synchronous: Synchronous) -> Outpost {
    let store = SqliteStore::builder(path).synchronous(synchronous).open().await.expect("the file opens");
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().expect("a fine policy");
    let transport = WebhookTransport::builder().egress(egress).build().expect("a fine transport");
    let delays = vec![Duration::from_millis(200); 20];
    Outpost::builder(store)
        .transport(transport)
        .retry(RetryPolicy::new(Schedule::Explicit(delays)).expect("a fine policy"))
        .timeout(Duration::from_millis(500))
        .concurrency(CONCURRENCY)
        .start()
        .await
        .expect("the engine starts")
}

/// Makes the tenant `acme` and its destination `main`, unless they are there.
pub async fn set_up(outpost: &Outpost, url: &str) {
    outpost.tenants().put("acme", None).await.expect("a tenant");
    let new = NewDestination::webhook(url).id(DestinationId::new("main").expect("an id"));
    if let Err(error) = outpost.destinations().create("acme", new).await {
        assert_eq!(error.kind(), outpost_core::ErrorKind::Conflict, "{error}");
    }
}

/// The payload of an event, told by its id, so that both sides know it.
#[must_use]
pub fn payload(id: &str) -> String {
    format!("{{ \"id\":\"{id}\",\n \"n\": 1.0e2, \"x\":\"{}\"}}", "y".repeat(id.len() * 7))
}
