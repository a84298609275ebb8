//! The guard at every door: create, update, enable, test and send; and settings that went bad in the store.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use outpost_core::store::{Apply, ApplyOutcome, Expect, Fetch, Key, Row, Write};
use outpost_core::{
    Actor, Capabilities, DestinationPatch, Dialer, ErrorClass, ErrorKind, Io, MapPatch, MemoryStore, NewDestination,
    NewEvent, Outpost, Resolver, Sealed, Store, TestEvent, WebhookTransport,
};
use outpost_tests::{notes, tenant_with, wait_for};

/// Names that turn from public to private.
struct Rebound(Arc<AtomicBool>);

#[async_trait]
impl Resolver for Rebound {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        let private = self.0.load(Ordering::SeqCst);
        Ok(vec![if private { IpAddr::from([10, 0, 0, 7]) } else { IpAddr::from([93, 184, 216, 34]) }])
    }
}

/// Refuses to connect and remembers where to.
struct Nowhere(Arc<std::sync::Mutex<Vec<SocketAddr>>>);

#[async_trait]
impl Dialer for Nowhere {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.0.lock().unwrap().push(address);
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_checked_at_create_update_enable_test_and_send() {
    let (private, dialed) = (Arc::new(AtomicBool::new(false)), notes());
    let transport =
        WebhookTransport::builder().resolver(Rebound(private.clone())).dialer(Nowhere(dialed.clone())).build().unwrap();
    let outpost = Outpost::builder(MemoryStore::new()).transport(transport).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let tenant = outpost.tenants().get("acme").await.unwrap();
    let user = outpost.acting_as(Actor::Tenant {
        tenant: tenant.id,
        incarnation: tenant.incarnation,
        capabilities: Capabilities::ALL,
    });
    let new = NewDestination::webhook("http://hooks.test/");
    let made = user.destinations().create("acme", new.clone()).await.unwrap();
    let id = made.id.as_str();
    private.store(true, Ordering::SeqCst);
    let url = |text: &str| DestinationPatch { config: MapPatch::set("url", text), ..DestinationPatch::default() };
    outpost.destinations().disable("acme", id, "x").await.unwrap();
    let refused = [
        user.destinations().create("acme", new).await.unwrap_err(),
        user.destinations().update("acme", id, url("http://other.test/")).await.unwrap_err(),
        user.destinations().update("acme", id, url("http://169.254.169.254/latest")).await.unwrap_err(),
        user.destinations().update("acme", id, url("http://[::ffff:7f00:1]/")).await.unwrap_err(),
        user.destinations().enable("acme", id).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.problems()[0].message, "this address cannot be used", "{error}");
    }
    let tried = user.destinations().test("acme", id, TestEvent::default()).await.unwrap();
    assert_eq!(tried.outcome.code, ErrorClass::Dns.as_str(), "a tenant is not told which it was");
    let tried = outpost.destinations().test("acme", id, TestEvent::default()).await.unwrap();
    assert!(tried.error.unwrap().detail.contains("10.0.0.7"), "the operator is");
    // Enabled while it was public, and private when the event is sent.
    private.store(false, Ordering::SeqCst);
    outpost.destinations().enable("acme", id).await.unwrap();
    private.store(true, Ordering::SeqCst);
    outpost.publish("acme", NewEvent::new("a.b", "{}").id("e1")).await.unwrap();
    let delivery = wait_for(&outpost, "acme", id, "e1", |delivery| delivery.attempts > 0).await;
    assert_eq!(delivery.last_outcome.unwrap().code, ErrorClass::Blocked.as_str());
    assert!(dialed.lock().unwrap().is_empty(), "nothing was dialed: {dialed:?}");
}

#[tokio::test(start_paused = true)]
async fn settings_that_went_bad_in_the_store_are_a_failed_attempt_and_hold_up_nobody() {
    let store = MemoryStore::new();
    let dialed = notes();
    let transport = || {
        let public = Rebound(Arc::new(AtomicBool::new(false)));
        WebhookTransport::builder().resolver(public).dialer(Nowhere(dialed.clone())).build().unwrap()
    };
    let setter = Outpost::builder(store.clone()).transport(transport()).start().await.unwrap();
    tenant_with(&setter, "acme", &[("bad", "https://one.test/"), ("good", "https://two.test/")]).await;
    let life = setter.destinations().get("acme", "bad").await.unwrap().incarnation;
    let now = setter.tenants().get("acme").await.unwrap().created_at;
    let rows = store.fetch(Fetch { now, keys: vec![Key::DestinationLife(life)] }).await.unwrap();
    let Some(Row::Destination(mut record)) = rows.into_iter().flatten().next() else { panic!("it is there") };
    record.config = Sealed::new(&b"\0{\"url\":\"gopher://canary/\"}"[..]);
    let write = Write::PutDestination { destination: record, expect: Expect::Any, limit: None };
    let done = store.apply(Apply { now, writes: vec![write], follow_ups: Vec::new() }).await.unwrap();
    assert!(matches!(done, ApplyOutcome::Done(_)));
    drop(setter);

    let outpost = Outpost::builder(store.another_process())
        .transport(transport())
        .clock(outpost_core::TokioClock::starting_at(now))
        .start()
        .await
        .unwrap();
    outpost.publish("acme", NewEvent::new("a.b", "{}").id("e1")).await.unwrap();
    let delivery = wait_for(&outpost, "acme", "bad", "e1", |delivery| delivery.attempts > 0).await;
    assert_eq!(delivery.last_outcome.unwrap().code, ErrorClass::Request.as_str());
    assert!(delivery.next_attempt_at.is_some(), "it is retried like every failure");
    let attempt = &outpost.deliveries().attempts_of("acme", "bad", "e1").await.unwrap()[0];
    let error = attempt.error.as_ref().unwrap();
    assert!(error.message.contains("could not be built") && !error.message.contains("gopher"), "{}", error.message);
    assert!(error.detail.contains("config.url"), "{}", error.detail);
    wait_for(&outpost, "acme", "good", "e1", |delivery| delivery.attempts > 0).await;
    assert_eq!(dialed.lock().unwrap().len(), 1);
}
