//! What a running engine logs, tells, answers and stores.

use std::time::Duration;

use outpost_core::store::{Fetch, Filter, Key, List, Row, Scan};
use outpost_core::{
    Actor, Attempt, AttemptFilter, Capabilities, Capability, Credentials, DestinationPatch, Direction, Error,
    ErrorKind, EventFilter, Fault, FaultStore, KeyRing, MapPatch, MemoryStore, NewDestination, NewEvent, Operation,
    Outpost, PageRequest, SealingKey, Signal, Store, StoreErrorKind, TenantId, Times, Timestamp,
};
use tokio::sync::mpsc;

use crate::webhook_support::{Receiver, local, map};
use crate::{CANARY, SECRET, assert_clean, assert_hidden, assert_silent, log};

fn ring(seed: u8) -> KeyRing {
    KeyRing::new(SealingKey::from_bytes([seed; 32]))
}

/// An engine over `store`, and what it tells.
async fn engine(store: impl Store, ring: KeyRing) -> (Outpost, mpsc::UnboundedReceiver<Signal>) {
    let (sender, signals) = mpsc::unbounded_channel();
    let outpost = Outpost::builder(store)
        .transport(local().build().unwrap())
        .sealer(ring)
        .observer(move |signal: &Signal| drop(sender.send(signal.clone())))
        .start()
        .await
        .unwrap();
    (outpost, signals)
}

/// A destination with the canary in every field that may hold a secret.
fn destination(receiver: &Receiver) -> NewDestination {
    let url = format!("http://canary:canary@{}/hooks?token=canary", receiver.address);
    let mut new = NewDestination::webhook(url)
        .config("custom_headers", r#"{"X-Plain":"canary","X-Api-Key":"canary"}"#)
        .credential("secret", SECRET);
    new.delivery_metadata = map(&[("note", CANARY)]);
    new
}

fn event() -> NewEvent {
    NewEvent::new("user.created", r#"{"card":"parrot"}"#).metadata("trace", "parrot")
}

/// Waits for the next attempt; whatever is told meanwhile must be clean.
async fn attempted(signals: &mut mpsc::UnboundedReceiver<Signal>) {
    loop {
        let signal = signals.recv().await.unwrap();
        assert_hidden(&signal);
        if matches!(signal, Signal::Attempted { .. }) {
            return;
        }
    }
}

fn all() -> PageRequest {
    PageRequest::default()
}

async fn attempts(outpost: &Outpost) -> Vec<Attempt> {
    let page = outpost.deliveries().attempts("t", &AttemptFilter::default(), &all()).await.unwrap();
    assert_hidden(&page);
    page.items.into_iter().map(|attempt| attempt.value).collect()
}

#[tokio::test]
async fn nothing_secret_is_logged_told_answered_or_stored_in_clear() {
    log::catch();
    let echo = b"HTTP/1.1 200 OK\r\nset-cookie: canary\r\nx-echo: parrot\r\ncontent-length: 13\r\n\r\ncanary parrot";
    let mut receiver = Receiver::answering(echo).await;
    let memory = MemoryStore::new();
    let store = FaultStore::new(memory.another_process());
    let faults = store.faults();
    let (outpost, mut signals) = engine(store, ring(1)).await;
    assert_hidden(&outpost);
    assert_hidden(&outpost.tenants().put("t", None).await.unwrap());

    let created = outpost.destinations().create("t", destination(&receiver)).await.unwrap();
    assert_hidden(&created);
    assert!(created.config["url"].contains(CANARY), "the operator may read it");
    let id = created.id.as_str().to_owned();

    // Sent, with a store that fails in between.
    faults.inject(Operation::Settle, Fault::Before(StoreErrorKind::Busy), Times::Next(1));
    outpost.publish("t", event()).await.unwrap();
    attempted(&mut signals).await;
    let seen = receiver.next().await;
    assert_eq!([seen.header("x-plain"), seen.header("webhook-note")], [Some(CANARY); 2], "it was really sent");
    // Sent in vain: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = MapPatch::set("url", format!("http://canary:canary@{free}/hooks?token=canary"));
    let patch = DestinationPatch { config, ..DestinationPatch::default() };
    outpost.destinations().update("t", &id, patch).await.unwrap();
    outpost.publish("t", event()).await.unwrap();
    attempted(&mut signals).await;
    assert_hidden(&outpost.destinations().rotate_secret("t", &id, None).await.unwrap());
    assert_hidden(&outpost.destinations().disable("t", &id, "broken").await.unwrap());
    assert_hidden(&outpost.destinations().list("t").await.unwrap());
    assert_hidden(&outpost.events().list("t", &EventFilter::default(), &all()).await.unwrap());
    assert_eq!(attempts(&outpost).await.len(), 2);

    // A store sees the payload, which is not sealed, but no secret.
    let now = Timestamp::from_millis(0);
    let Row::Tenant(tenant) = memory.fetch(Fetch { now, keys: vec![tenant_key()] }).await.unwrap()[0][0].clone() else {
        panic!("no tenant");
    };
    let keys = vec![Key::DestinationsOf(tenant.incarnation)];
    let Row::Destination(record) = memory.fetch(Fetch { now, keys }).await.unwrap()[0][0].clone() else {
        panic!("no destination");
    };
    for sealed in [&record.config, &record.credentials, &record.delivery_metadata] {
        assert_eq!(sealed.as_bytes()[0], 1, "encrypted");
        assert_clean(&String::from_utf8_lossy(sealed.as_bytes()));
    }
    assert_clean(&record.target);
    let scan = Scan {
        list: List::Attempts,
        filter: Filter::default(),
        direction: Direction::Ascending,
        after: None,
        limit: 10,
        examine: 10,
    };
    let rows = memory.scan(scan).await.unwrap().rows;
    assert_eq!(rows.len(), 2);
    for row in rows {
        let Row::Attempt(attempt) = row else { panic!("no attempt") };
        let Some(request) = attempt.request else { continue };
        assert_clean(&request.url);
        for (name, value) in request.headers {
            assert!(!value.contains(CANARY), "{name}: {value}");
        }
    }

    // With the wrong key: everything says so, and nothing else.
    outpost.destinations().enable("t", &id).await.unwrap();
    let builder = Outpost::builder(memory.another_process()).transport(local().build().unwrap()).sealer(ring(2));
    let error = builder.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("was sealed with key"), "{error}");
    assert_silent(&error);
    // The old key was dropped before everything was sealed anew.
    let both = ring(2).reading(SealingKey::from_bytes([1; 32]));
    drop(engine(memory.another_process(), both).await);
    let (stranger, mut told) = engine(memory.another_process(), ring(2)).await;
    let error = stranger.destinations().get("t", &id).await.unwrap_err();
    assert!(error.to_string().contains("was sealed with key"), "{error}");
    assert_silent(&error);
    stranger.publish("t", event()).await.unwrap();
    attempted(&mut told).await;
    assert!(
        attempts(&stranger).await.iter().any(|attempt| {
            attempt.error.as_ref().is_some_and(|error| error.detail.contains("was sealed with key"))
        })
    );
    // Without the capability, and with a store that is down.
    let capabilities = Capabilities::ALL.without(Capability::Secrets);
    let user = Actor::Tenant { tenant: tenant.id, incarnation: tenant.incarnation, capabilities };
    let user = outpost.acting_as(user);
    let seen = user.destinations().get("t", &id).await.unwrap();
    assert_clean(&format!("{:?} {:?}", seen.config, seen.credentials.expose()));
    faults.inject(Operation::Fetch, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    let error = outpost.destinations().get("t", &id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_silent(&error);

    drop((user, stranger));
    outpost.shutdown(Duration::from_secs(5)).await;
    log::assert_clean_and_with("the store fails");
}

fn tenant_key() -> Key {
    Key::Tenant(TenantId::new("t").unwrap())
}

#[tokio::test]
async fn errors_about_input_never_repeat_it() {
    log::catch();
    let receiver = Receiver::answering("").await;
    let (outpost, _signals) = engine(MemoryStore::new(), ring(1)).await;
    let tenant = outpost.tenants().put("t", None).await.unwrap().tenant;
    let refuse = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_silent(&error);
        for problem in error.problems() {
            assert_hidden(problem);
        }
    };
    for (side, key, value) in [
        ("config", "url", "canary"),
        ("config", "url", "ftp://canary.test"),
        ("config", "url", "https://canary canary.test/canary"),
        ("config", "url", "https://x.test:canary/"),
        ("config", "url", "https://[canary/"),
        ("config", "url", "https://can%61ry:\u{e9}@x.test/\u{e9}canary"),
        // Well-formed, but a private address.
        ("config", "url", "http://canary:canary@10.0.0.1/?token=canary"),
        ("config", "custom_headers", "canary"),
        ("config", "custom_headers", r#"{"X-A":"canary\r\nX-B: c"}"#),
        ("config", "custom_headers", r#"{"X-A":{"canary":1}}"#),
        ("credentials", "secret", "canary"),
        ("credentials", "secret", "whsec_canary!"),
        ("credentials", "secret", "whsec_canary"),
        ("credentials", "secret", "whsk_canarycanary"),
        ("credentials", "previous_secret", "whsec_canary"),
        ("credentials", "previous_secret_invalid_at", "canary"),
        ("credentials", "older_secrets", "canary"),
        ("credentials", "older_secrets", r#"[{"secret":"canary","invalid_at":"canary"}]"#),
        ("delivery_metadata", "note", "canary\n"),
        ("metadata", "note", "canary\n"),
    ] {
        let mut new = destination(&receiver);
        let mut credentials = new.credentials.expose().clone();
        let map = match side {
            "config" => &mut new.config,
            "credentials" => &mut credentials,
            "metadata" => &mut new.metadata,
            _ => &mut new.delivery_metadata,
        };
        map.insert(key.to_owned(), value.to_owned());
        new.credentials = Credentials::new(credentials);
        refuse(outpost.destinations().create("t", new).await.unwrap_err());
    }
    for data in ["parrot", "[\"parrot\"]", r#"{"parrot"}"#, r#"{"a":parrot}"#, r#"{"a":"parrot"#] {
        refuse(outpost.publish("t", NewEvent::new("user.created", data)).await.unwrap_err());
    }
    refuse(outpost.publish("t", event().metadata("trace", "parrot\n")).await.unwrap_err());
    // What a tenant is not told is logged.
    let user = Actor::Tenant { tenant: tenant.id, incarnation: tenant.incarnation, capabilities: Capabilities::ALL };
    let mut new = destination(&receiver);
    new.config = map(&[("url", "http://canary:canary@10.0.0.1/?token=canary")]);
    refuse(outpost.acting_as(user).destinations().create("t", new).await.unwrap_err());
    log::assert_clean_and_with("refused a destination");
}
