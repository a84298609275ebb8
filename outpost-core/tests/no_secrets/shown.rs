//! Every public type that can hold a secret or a payload, as `Debug` shows it.

use std::sync::Arc;
use std::time::Duration;

use outpost_core::store::{
    Apply, Claimed, ClaimedDelivery, Expect, Ingest, IngestItem, Row, ScanPage, Settle, SettleAction, SettleItem,
    SmallRecord, Write,
};
use outpost_core::{
    Attempt, AttemptId, BodyKey, Credentials, DeliveryError, DeliveryKey, DeliveryState, Destination, DestinationId,
    DestinationPatch, DestinationRecord, ErrorClass, Event, EventId, Fingerprint, Incarnation, KeyRing, Lease,
    LeaseToken, MapPatch, Message, NewDestination, NewEvent, OfDestination, OfTenant, Outcome, Page, PlainSealer,
    Receipt, RequestRecord, ResponseRecord, SealContext, Sealed, Sealer as _, SealingKey, Secret, SigningKey,
    StringMap, TenantId, Timestamp, Topics, Transport as _, Trigger, Verdict, Verifier, WebhookTransport,
};

use crate::webhook_support::{self, map};
use crate::{CANARY, PARROT, SECRET, assert_clean, assert_hidden};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const URL: &str = "https://canary:canary@x.test/hooks?token=canary";

pub fn config() -> StringMap {
    map(&[("url", URL), ("custom_headers", r#"{"X-Plain":"canary","X-Api-Key":"canary"}"#)])
}

pub fn credentials() -> StringMap {
    map(&[
        ("secret", SECRET),
        ("previous_secret", SECRET),
        ("previous_secret_invalid_at", "2099-01-01T00:00:00Z"),
        ("older_secrets", &format!(r#"[{{"secret":"{SECRET}","invalid_at":"2099-01-01T00:00:00Z"}}]"#)),
    ])
}

pub fn delivery_metadata() -> StringMap {
    map(&[("note", CANARY)])
}

fn life(number: i64) -> Incarnation {
    Incarnation::from_i64(number)
}

fn record() -> DestinationRecord {
    // In plain text, as without a key.
    let seal = |field, map: &StringMap| {
        let context = SealContext { tenant: life(1), destination: life(2), field };
        PlainSealer.seal(&context, &serde_json::to_vec(map).unwrap()).unwrap()
    };
    DestinationRecord {
        id: DestinationId::new("d").unwrap(),
        incarnation: life(2),
        tenant_id: TenantId::new("t").unwrap(),
        tenant: life(1),
        kind: "webhook".to_owned(),
        name: None,
        topics: Topics::all(),
        filter: None,
        settings: Default::default(),
        by_operator: false,
        config: seal("config", &config()),
        credentials: seal("credentials", &credentials()),
        delivery_metadata: seal("delivery_metadata", &delivery_metadata()),
        metadata: StringMap::new(),
        target: "https://***@x.test/hooks?token=***".to_owned(),
        created_at: NOW,
        updated_at: NOW,
        disabled: None,
        deleted_at: None,
        deleted_with_tenant: false,
        epoch: 0,
        epoch_at: NOW,
        revision: 1,
    }
}

pub fn event() -> Arc<Event> {
    Arc::new(Event {
        id: EventId::new("e").unwrap(),
        tenant: life(1),
        topic: "user.created".into(),
        time: NOW,
        created_at: NOW,
        metadata: Arc::new(map(&[("trace", PARROT)])),
        data: br#"{"card":"parrot"}"#.as_slice().into(),
        eligible_for_retry: true,
        destination_id: None,
        matched: Arc::from([]),
        fingerprint: Fingerprint([0; 32]),
    })
}

fn request() -> RequestRecord {
    let headers = vec![("x-plain".to_owned(), CANARY.to_owned()), ("webhook-trace".to_owned(), PARROT.to_owned())];
    RequestRecord { method: "POST".to_owned(), url: "https://***@x.test/".to_owned(), headers }
}

fn response() -> ResponseRecord {
    let headers = vec![("x-echo".to_owned(), CANARY.to_owned())];
    ResponseRecord { status: 200, headers, body: "you sent parrot with canary".into(), truncated: false }
}

fn attempt() -> Attempt {
    Attempt {
        id: AttemptId::new("a").unwrap(),
        delivery: DeliveryKey { destination: life(2), event: EventId::new("e").unwrap() },
        tenant: life(1),
        topic: "user.created".into(),
        number: 1,
        trigger: Trigger::Automatic,
        started_at: NOW,
        time: NOW,
        duration: Duration::ZERO,
        outcome: Outcome { success: true, code: "200".to_owned() },
        request: Some(request()),
        response: Some(response()),
        error: None,
        next_attempt_at: None,
    }
}

#[test]
fn destinations_and_their_changes_show_keys_only() {
    let mut new = NewDestination::webhook(URL);
    new.config = config();
    new.credentials = Credentials::new(credentials());
    new.delivery_metadata = delivery_metadata();
    let shown = format!("{new:?}");
    assert!(shown.contains("custom_headers") && shown.contains("older_secrets") && shown.contains("note"), "{shown}");
    assert_hidden(&new);

    let DestinationRecord { id, tenant_id, incarnation, kind, name, topics, metadata, target, .. } = record();
    let destination = Destination {
        id,
        tenant_id,
        incarnation,
        kind,
        name,
        topics,
        filter: None,
        settings: Default::default(),
        config: config(),
        credentials: Credentials::new(credentials()),
        metadata,
        delivery_metadata: delivery_metadata(),
        target,
        created_at: NOW,
        updated_at: NOW,
        disabled: None,
        revision: 1,
    };
    assert_hidden(&Page { items: vec![destination.clone()], next: None, prev: None });
    assert_hidden(&destination);

    let merge = |map: StringMap| MapPatch::Merge(map.into_iter().map(|(key, value)| (key, Some(value))).collect());
    let patch = DestinationPatch {
        config: merge(config()),
        credentials: merge(credentials()),
        delivery_metadata: MapPatch::set("note", CANARY),
        ..DestinationPatch::default()
    };
    assert_hidden(&patch);
    let change = MapPatch::Merge([("a".to_owned(), Some(CANARY.to_owned())), ("b".to_owned(), None)].into());
    assert_eq!(format!("{change:?}"), r#"Merge {"a": "set", "b": "remove"}"#);
    assert_eq!(format!("{:?} {:?}", MapPatch::Keep, MapPatch::Clear), "Keep Clear");
}

#[test]
fn what_goes_to_and_comes_from_a_store_is_hidden() {
    let record = record();
    let small = SmallRecord {
        kind: "job".to_owned(),
        key: "k".to_owned(),
        value: format!("{CANARY} {PARROT}").into(),
        expires_at: None,
        revision: 1,
    };
    let item = IngestItem { event: event(), subscriptions: 0, deliveries: Vec::new() };
    let put = Write::PutDestination { destination: Box::new(record.clone()), expect: Expect::Any, limit: None };
    let writes = vec![put, Write::PutRecord { record: small.clone(), expect: Expect::Any }];
    assert_hidden(&Apply { now: NOW, writes, follow_ups: vec![item.clone()] });
    assert_hidden(&Ingest {
        now: NOW,
        lease: Lease { token: LeaseToken(1), until: NOW },
        quota: Default::default(),
        items: vec![item],
    });
    let rows = vec![
        Row::Destination(Box::new(record)),
        Row::Event(event()),
        Row::Attempt(Box::new(attempt())),
        Row::Record(small),
    ];
    assert_hidden(&ScanPage { rows, resume: None });
    let claimed = ClaimedDelivery {
        key: attempt().delivery,
        event: event(),
        trigger: Trigger::Automatic,
        state: DeliveryState::Pending,
        attempts: 0,
        automatic_attempts: 0,
        scheduled_at: None,
        destination_revision: 1,
    };
    assert_hidden(&Claimed { deliveries: vec![claimed], lanes: Vec::new(), next: None });
    let action = SettleAction::Attempted { attempt: Arc::new(attempt()), next: None };
    let item = SettleItem {
        key: attempt().delivery,
        token: LeaseToken(1),
        action,
        lane: None,
        disable: None,
        judge: None,
        alerts: None,
        follow_ups: vec![IngestItem { event: event(), subscriptions: 0, deliveries: Vec::new() }],
    };
    assert_hidden(&Settle { now: NOW, items: vec![item] });
}

#[test]
fn events_and_attempts_show_neither_payloads_nor_header_values() {
    let (tenant_id, destination_id) = (TenantId::new("t").unwrap(), DestinationId::new("d").unwrap());
    assert_hidden(&NewEvent::new("user.created", r#"{"card":"parrot"}"#).metadata("trace", PARROT));
    assert_hidden(&OfTenant { tenant_id: tenant_id.clone(), value: event() });
    assert_hidden(&OfDestination { tenant_id, destination_id, value: attempt() });
    let message = Message { metadata: event().metadata.clone(), ..webhook_support::message(event().data.clone()) };
    assert_hidden(&message);
    let receipt = Receipt {
        verdict: Verdict::Accepted,
        code: "200".to_owned(),
        retry_after: None,
        request: request(),
        response: Some(response()),
    };
    assert_hidden(&outpost_core::ScriptedReply { delay: Duration::ZERO, result: Ok(receipt) });
    let failed = DeliveryError {
        request: Some(request()),
        response: Some(response()),
        ..DeliveryError::unseen(ErrorClass::Reset, "closed", "closed")
    };
    assert_hidden(&failed);
    let shown = format!("{:?}", attempt());
    assert!(shown.contains("x-plain") && shown.contains("27 bytes"), "{shown}");
}

#[tokio::test]
async fn a_scripted_call_hides_its_message() {
    let transport = outpost_core::ScriptedTransport::always(outpost_core::ScriptedReply::ok());
    let target = transport.prepare(&map(&[("url", "https://x.test/")]), &StringMap::new(), &StringMap::new()).unwrap();
    let message = Message { metadata: event().metadata.clone(), ..webhook_support::message(event().data.clone()) };
    transport.deliver(&target, &message).await.unwrap();
    assert_eq!(transport.calls().all().len(), 1);
    assert_hidden(&transport.calls().all());
    assert_hidden(&transport);
}

#[test]
fn keys_secrets_and_transports_show_nothing_of_themselves() {
    assert_hidden(&Secret::new(CANARY));
    assert_hidden(&Credentials::new(credentials()));
    assert_hidden(&Sealed::new(CANARY.as_bytes()));
    assert_hidden(&SigningKey::parse(SECRET).unwrap());
    assert_hidden(&BodyKey::new(SECRET).unwrap());
    assert_hidden(&Verifier::new(SECRET).unwrap());
    let text = "canarycanaryCANARY-0123456789-canary";
    assert_hidden(&SealingKey::from_text(text).unwrap());
    assert_hidden(&KeyRing::parse(text).unwrap().reading(SealingKey::from_bytes(*b"canarycanarycanarycanarycanaryca")));

    let transport = WebhookTransport::builder().build().unwrap();
    let target = transport.prepare(&config(), &credentials(), &delivery_metadata()).unwrap();
    assert_hidden(&target);
    assert_clean(target.display());
    assert_hidden(&transport);
}
