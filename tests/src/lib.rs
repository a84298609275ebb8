//! What the whole-system tests share: an engine in virtual time over a scripted transport.

pub mod receiver;
pub mod stage;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use outpost_core::{
    Delivery, DeliveryState, NewDestination, Outpost, OutpostBuilder, RetryPolicy, ScriptedCalls, ScriptedReply,
    ScriptedTransport, SeededEntropy, Store, Target, Timestamp, TokioClock,
};

/// The time at which virtual tests start.
#[must_use]
pub fn epoch() -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000)
}

/// A builder in virtual time: seeded, without jitter, over `store` and `transport`.
pub fn virtual_builder(store: impl Store, transport: ScriptedTransport) -> OutpostBuilder {
    Outpost::builder(store)
        .transport(transport)
        .clock(TokioClock::starting_at(epoch()))
        .entropy(SeededEntropy::new(1))
        .retry(RetryPolicy::default().jitter(0.0).expect("a fine jitter"))
}

/// An engine in virtual time and the calls its transport gets.
pub async fn virtual_outpost(
    store: impl Store,
    script: impl Fn(&Target, &outpost_core::Message) -> ScriptedReply + Send + Sync + 'static,
) -> (Outpost, ScriptedCalls) {
    let transport = ScriptedTransport::new(script);
    let calls = transport.calls();
    (virtual_builder(store, transport).start().await.expect("starts"), calls)
}

/// Makes a tenant with one webhook destination for each `(id, url)`.
pub async fn tenant_with(outpost: &Outpost, tenant: &str, destinations: &[(&str, &str)]) {
    outpost.tenants().put(tenant, None).await.expect("tenant");
    for (id, url) in destinations {
        let id = outpost_core::DestinationId::new(id).expect("id");
        outpost.destinations().create(tenant, NewDestination::webhook(*url).id(id)).await.expect("destination");
    }
}

/// Waits, in steps of virtual time, until the delivery is no longer open, and returns it.
pub async fn finished(outpost: &Outpost, tenant: &str, destination: &str, event: &str) -> Delivery {
    wait_for(outpost, tenant, destination, event, |delivery| !delivery.state.is_open()).await
}

/// Waits, in steps of virtual time, until the delivery looks as wanted, and returns it.
pub async fn wait_for(
    outpost: &Outpost,
    tenant: &str,
    destination: &str,
    event: &str,
    wanted: impl Fn(&Delivery) -> bool,
) -> Delivery {
    // Steps grow with the time waited, so that days take as few as seconds do.
    let mut step = Duration::from_millis(500);
    for _ in 0..10_000 {
        let delivery = outpost.deliveries().get(tenant, destination, event).await.expect("delivery");
        if wanted(&delivery) {
            return delivery;
        }
        tokio::time::sleep(step).await;
        step = step.mul_f64(1.1).min(Duration::from_secs(600));
    }
    panic!("the delivery never came to look as wanted");
}

/// The state of a delivery now.
pub async fn state(outpost: &Outpost, tenant: &str, destination: &str, event: &str) -> DeliveryState {
    outpost.deliveries().get(tenant, destination, event).await.expect("delivery").state
}

/// A shared list for closures to note things in.
#[must_use]
pub fn notes<T>() -> Arc<std::sync::Mutex<Vec<T>>> {
    Arc::new(std::sync::Mutex::new(Vec::new()))
}

/// The README's code, so that it is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
