//! What is kept of an attempt: all of it, exactly.

use std::time::Duration;

use bytes::Bytes;

use super::support::{Held, World, at, item, no_answer};
use crate::domain::attempt::{Attempt, ErrorClass, Outcome, RequestRecord, ResponseRecord};
use crate::domain::delivery::Trigger;
use crate::ports::store::{List, Row, SettleAction};

/// Records an attempt and reads it back by every way there is.
async fn kept(w: &World, change: impl FnOnce(&Held, Attempt) -> Attempt) -> (Attempt, Attempt) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    let attempt = change(&held, w.attempt(&held, true));
    let next = attempt.next_attempt_at;
    w.settled(item(&held, SettleAction::Attempted { attempt: attempt.clone().into(), next })).await;
    let found = w.attempts(&destination, "evt_1").await.remove(0);
    let by_id = w.fetch(crate::store::Key::Attempt(attempt.id.clone())).await;
    assert_eq!(by_id, [Row::Attempt(Box::new(found.clone()))], "by its id it is the same");
    let listed = w
        .scan(crate::store::Scan {
            list: List::Attempts,
            filter: crate::store::Filter::default(),
            direction: crate::Direction::Descending,
            after: None,
            limit: 10,
            examine: 100,
        })
        .await;
    assert_eq!(listed.rows, [Row::Attempt(Box::new(found.clone()))], "in the list it is the same");
    (found, attempt)
}

pub(super) async fn an_attempt_is_read_back_exactly(w: World) {
    let (found, given) = kept(&w, |_, attempt| Attempt {
        started_at: at(-40),
        time: at(-3),
        trigger: Trigger::Automatic,
        outcome: Outcome { success: false, code: "418".to_owned() },
        next_attempt_at: Some(at(5_000)),
        ..attempt
    })
    .await;
    assert_eq!(found, given, "an attempt is kept as it was given");
}

pub(super) async fn answers_keep_their_bytes(w: World) {
    let body: Bytes = (0..2_048_u32).map(|at| at.wrapping_mul(167).to_le_bytes()[0]).collect::<Vec<u8>>().into();
    let (found, given) = kept(&w, |_, attempt| Attempt {
        response: Some(ResponseRecord { status: 500, headers: Vec::new(), body, truncated: true }),
        ..attempt
    })
    .await;
    assert_eq!(found.response, given.response, "a body is bytes, not text, and is kept as long as it was given");
}

pub(super) async fn an_empty_answer_is_an_answer(w: World) {
    let (found, given) = kept(&w, |_, attempt| Attempt {
        response: Some(ResponseRecord { status: 204, ..ResponseRecord::default() }),
        request: Some(RequestRecord::default()),
        ..attempt
    })
    .await;
    assert_eq!(found, given, "empty parts stay, and stay empty");
}

pub(super) async fn headers_keep_order_and_repeats(w: World) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("set-cookie", "b=***"),
        header("set-cookie", "a=***"),
        header("X-Upper", ""),
        header("a", "\u{fffd}\u{fffd} ü \" \\ ' \t"),
        header("set-cookie", "b=***"),
    ];
    let (found, given) = kept(&w, |_, attempt| Attempt {
        request: Some(RequestRecord { method: "POST".into(), url: "https://x/?ü".into(), headers: headers.clone() }),
        response: Some(ResponseRecord { status: 200, headers, body: Bytes::new(), truncated: false }),
        ..attempt
    })
    .await;
    assert_eq!(found.request, given.request, "headers that were sent");
    assert_eq!(found.response, given.response, "headers that came back");
}

pub(super) async fn durations_keep_their_microseconds(w: World) {
    let duration = Duration::from_micros(1_234_567);
    let (found, _) = kept(&w, |_, attempt| Attempt { duration, ..attempt }).await;
    assert_eq!(found.duration, duration, "a duration is kept to the microsecond");
}

pub(super) async fn an_attempt_without_an_answer_keeps_its_error(w: World) {
    let (found, given) = kept(&w, |_, attempt| Attempt {
        request: None,
        response: None,
        error: Some(no_answer()),
        outcome: Outcome { success: false, code: "timeout".to_owned() },
        ..attempt
    })
    .await;
    assert_eq!(found, given, "what went wrong is kept, for the tenant and for the operator");
}

pub(super) async fn every_class_of_error_is_kept(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let classes = [
        ErrorClass::Dns,
        ErrorClass::Refused,
        ErrorClass::Reset,
        ErrorClass::Unreachable,
        ErrorClass::Timeout,
        ErrorClass::Tls,
        ErrorClass::Protocol,
        ErrorClass::Blocked,
        ErrorClass::Request,
        ErrorClass::Network,
        ErrorClass::System,
    ];
    for class in classes {
        let held = w.claim_all().await.only();
        let mut attempt = w.attempt(&held, false);
        attempt.error = Some(crate::AttemptError { class, maybe_seen: class == ErrorClass::Reset, ..no_answer() });
        attempt.outcome.code = class.as_str().to_owned();
        let next = Some(w.now());
        w.settled(item(&held, SettleAction::Attempted { attempt: attempt.into(), next })).await;
    }
    for (found, class) in w.attempts(&destination, "evt_1").await.iter().zip(classes) {
        let error = found.error.as_ref().expect("the error is kept");
        assert_eq!((error.class, error.maybe_seen), (class, class == ErrorClass::Reset), "its class is kept");
        assert_eq!(found.outcome.code, class.as_str());
    }
}

pub(super) async fn every_trigger_is_kept(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.fail(&w.claim_all().await.only(), None).await;
    for trigger in [Trigger::Manual, Trigger::Replay, Trigger::Test] {
        let key = super::support::key(&destination, "evt_1");
        w.done(vec![crate::store::Write::RequestAttempt { key, trigger }]).await;
        assert_eq!(w.delivery(&destination, "evt_1").await.requested, Some(trigger), "the request is shown");
        let held = w.claim_all().await.only();
        assert_eq!(held.trigger, trigger, "a claim tells why the attempt is made");
        w.fail(&held, None).await;
    }
    let found: Vec<Trigger> = w.attempts(&destination, "evt_1").await.iter().map(|made| made.trigger).collect();
    assert_eq!(found, [Trigger::Automatic, Trigger::Manual, Trigger::Replay, Trigger::Test]);
}
