//! Small records that expire: who sees them, for how long, and that only one can put each.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use bytes::Bytes;
use outpost_core::store::{Expect, Fetch, Key, Row, Sweep, Write};
use outpost_core::{
    Actor, Capabilities, Capability, ErrorKind, MemoryStore, Outpost, ScriptedReply, ScriptedTransport, Store, Tenant,
    Timestamp, TokioClock,
};

const MINUTE: Duration = Duration::from_secs(60);

fn at_start() -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000)
}

async fn process(store: &MemoryStore) -> Outpost {
    Outpost::builder(store.another_process())
        .transport(ScriptedTransport::always(ScriptedReply::ok()))
        .clock(TokioClock::starting_at(at_start()))
        .start()
        .await
        .unwrap()
}

async fn tenant(outpost: &Outpost, id: &str) -> Tenant {
    outpost.tenants().put(id, None).await.unwrap().tenant
}

fn user(outpost: &Outpost, tenant: &Tenant, capabilities: Capabilities) -> Outpost {
    outpost.acting_as(Actor::Tenant { tenant: tenant.id.clone(), incarnation: tenant.incarnation, capabilities })
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn the_first_value_is_kept_until_its_millisecond_and_then_there_may_be_another() {
    let store = MemoryStore::new();
    let outpost = process(&store).await;
    tenant(&outpost, "acme").await;
    let records = outpost.ephemeral();
    assert_eq!(records.get("acme", "form", "k").await.unwrap(), None);
    assert!(records.put("acme", "form", "k", text("one"), MINUTE).await.unwrap());
    assert!(!records.put("acme", "form", "k", text("two"), MINUTE).await.unwrap());
    tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(records.get("acme", "form", "k").await.unwrap(), Some(text("one")));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(records.get("acme", "form", "k").await.unwrap(), None);
    assert!(records.put("acme", "form", "k", Bytes::new(), MINUTE).await.unwrap());
    assert_eq!(records.get("acme", "form", "k").await.unwrap(), Some(Bytes::new()));
    // Other kinds and keys are other records.
    assert_eq!(records.get("acme", "flash", "k").await.unwrap(), None);
    assert_eq!(records.get("acme", "form", "k2").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_deleted_by_the_sweep() {
    let store = MemoryStore::new();
    let outpost = process(&store).await;
    tenant(&outpost, "acme").await;
    outpost.ephemeral().put("acme", "form", "short", text("x"), MINUTE).await.unwrap();
    outpost.ephemeral().put("acme", "form", "long", text("x"), 300 * MINUTE).await.unwrap();
    tokio::time::sleep(2 * 60 * MINUTE).await;
    // As of a time when both would still be there.
    let all = Fetch { now: at_start(), keys: vec![Key::Records("user.form".to_owned(), String::new())] };
    let rows = store.fetch(all).await.unwrap();
    let [Row::Record(record)] = &rows[0][..] else { panic!("{rows:?}") };
    assert!(record.key.ends_with("/long"));
    let sweep = Sweep { now: at_start().after(300 * MINUTE), limit: 10, rollups_before: [at_start(); 3] };
    assert_eq!(store.sweep(sweep).await.unwrap().changed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_belongs_to_one_life_of_one_tenant() {
    let store = MemoryStore::new();
    let (outpost, second) = (process(&store).await, process(&store).await);
    let acme = tenant(&outpost, "acme").await;
    let other = tenant(&outpost, "other").await;
    let reader = user(&outpost, &acme, Capabilities::NONE.with(Capability::Read));
    assert!(reader.ephemeral().put("acme", "form", "k", text("mine"), MINUTE).await.unwrap());
    assert_eq!(second.ephemeral().get("acme", "form", "k").await.unwrap(), Some(text("mine")));
    assert_eq!(outpost.ephemeral().get("other", "form", "k").await.unwrap(), None);

    for (actor, expected) in [
        (user(&outpost, &other, Capabilities::ALL), ErrorKind::NotFound),
        (user(&outpost, &acme, Capabilities::ALL.without(Capability::Read)), ErrorKind::Forbidden),
    ] {
        let (get, put) = (
            actor.ephemeral().get("acme", "form", "k").await.unwrap_err(),
            actor.ephemeral().put("acme", "form", "new", text("x"), MINUTE).await.unwrap_err(),
        );
        assert_eq!((get.kind(), put.kind()), (expected, expected));
    }
    let missing = outpost.ephemeral().get("nobody", "form", "k").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    outpost.tenants().delete("acme").await.unwrap();
    tenant(&outpost, "acme").await;
    assert_eq!(outpost.ephemeral().get("acme", "form", "k").await.unwrap(), None);
    assert!(outpost.ephemeral().put("acme", "form", "k", text("new"), MINUTE).await.unwrap());
    let old_user = reader.ephemeral().get("acme", "form", "k").await.unwrap_err();
    assert_eq!(old_user.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_put_at_once_exactly_one_does() {
    let store = MemoryStore::new();
    let (outpost, second) = (process(&store).await, process(&store).await);
    tenant(&outpost, "acme").await;
    for round in 0..10 {
        let tries = (0..20).map(|number| {
            let outpost = if number % 2 == 0 { outpost.clone() } else { second.clone() };
            tokio::spawn(async move {
                let value = Bytes::from(number.to_string());
                outpost.ephemeral().put("acme", "form", &format!("k{round}"), value, MINUTE).await.unwrap()
            })
        });
        let mut winners = Vec::new();
        for (number, attempt) in tries.collect::<Vec<_>>().into_iter().enumerate() {
            if attempt.await.unwrap() {
                winners.push(number.to_string());
            }
        }
        let kept = outpost.ephemeral().get("acme", "form", &format!("k{round}")).await.unwrap().unwrap();
        assert_eq!(winners, [String::from_utf8(kept.to_vec()).unwrap()]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_bounds_is_refused_and_named() {
    let outpost = process(&MemoryStore::new()).await;
    tenant(&outpost, "acme").await;
    let records = outpost.ephemeral();
    let long = "k".repeat(256);
    let big = Bytes::from(vec![0; (64 << 10) + 1]);
    let week = Duration::from_secs(7 * 24 * 3600);
    let cases: [(&'static str, &str, Bytes, Duration, &str); 10] = [
        ("", "k", Bytes::new(), MINUTE, "kind"),
        ("a.b", "k", Bytes::new(), MINUTE, "kind"),
        ("Form", "k", Bytes::new(), MINUTE, "kind"),
        ("abcdefghijklmnopqrstuvwxy", "k", Bytes::new(), MINUTE, "kind"),
        ("form", "", Bytes::new(), MINUTE, "key"),
        ("form", &long, Bytes::new(), MINUTE, "key"),
        ("form", "a\0b", Bytes::new(), MINUTE, "key"),
        ("form", "k", big.clone(), MINUTE, "value"),
        ("form", "k", Bytes::new(), Duration::ZERO, "lifetime"),
        ("form", "k", Bytes::new(), week + Duration::from_millis(1), "lifetime"),
    ];
    for (kind, key, value, lifetime, field) in cases {
        let error = records.put("acme", kind, key, value, lifetime).await.unwrap_err();
        let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!((error.kind(), fields), (ErrorKind::Invalid, vec![field]), "{kind} {key}");
    }
    let most = big.slice(1..);
    let kind = "abcdefghijklmnopqrstuvwx";
    assert!(records.put("acme", kind, &long[1..], most.clone(), week).await.unwrap());
    assert_eq!(records.get("acme", kind, &long[1..]).await.unwrap(), Some(most));
    assert_eq!(records.get("acme", "a.b", "k").await.unwrap_err().problems()[0].field, "kind");
}

#[tokio::test(start_paused = true)]
async fn the_librarys_own_records_cannot_be_reached() {
    let store = MemoryStore::new();
    let outpost = process(&store).await;
    let acme = tenant(&outpost, "acme").await;
    let own = outpost_core::store::SmallRecord {
        kind: "meta".to_owned(),
        key: format!("{:016x}/k", acme.incarnation.as_i64()),
        value: text("own"),
        expires_at: None,
        revision: 0,
    };
    let write = Write::PutRecord { record: own, expect: Expect::Absent };
    let request = outpost_core::store::Apply { now: at_start(), writes: vec![write], follow_ups: Vec::new() };
    store.apply(request).await.unwrap();
    assert_eq!(outpost.ephemeral().get("acme", "meta", "k").await.unwrap(), None);
    assert!(outpost.ephemeral().put("acme", "meta", "k", text("user's"), MINUTE).await.unwrap());
}
