//! Replays: asks for many attempts, step by step, each step one commit with the note how far it came. The
//! attempts wait in the store and are sent like everything else, so a replay cannot become a storm.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::directory::Place;
use super::{Phase, Shared};
use crate::domain::delivery::DeliveryKey;
use crate::domain::replay::{Replay, ReplayState, ReplayStep};
use crate::ports::store::{
    Apply, ApplyOutcome, Expect, Fetch, Filter, Key, List, Refusal, Row, Scan, ScanPage, SmallRecord, StoreResult,
    Write,
};
use crate::values::id::EventId;
use crate::values::page::{Direction, Position};

/// The kind of the records that hold replays: those that run, and those that have ended.
pub(crate) const RUNNING: &str = "replay";
pub(crate) const ENDED: &str = "replay_ended";
/// How long a replay is kept after its end.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows of one step, and rows looked at for them.
const STEP: u32 = 200;
const EXAMINE: u32 = 5000;
/// When another process got on with a replay, this one leaves it alone for this long.
const YIELD: Duration = Duration::from_secs(10);
/// Replays that a crashed process left behind are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// The key of a replay's record.
pub(crate) fn key_of(tenant: crate::values::id::Incarnation, id: &str) -> String {
    format!("{:016x}/{id}", tenant.as_i64())
}

/// A replay as it is stored.
pub(crate) fn record_of(replay: &Replay) -> SmallRecord {
    let running = replay.state == ReplayState::Running;
    SmallRecord {
        kind: if running { RUNNING } else { ENDED }.to_owned(),
        key: key_of(replay.tenant, &replay.id),
        // Nothing in it can fail to be written.
        value: Bytes::from(serde_json::to_vec(replay).unwrap_or_default()),
        expires_at: (!running).then(|| replay.updated_at.after(KEPT)),
        revision: 0,
    }
}

/// The writes that put a changed replay in its place.
pub(crate) fn writes_of(replay: &Replay, revision: i64) -> Vec<Write> {
    let record = record_of(replay);
    if replay.state == ReplayState::Running {
        return vec![Write::PutRecord { record, expect: Expect::Revision(revision) }];
    }
    // The first write is the fence: somebody else may have got on meanwhile.
    let (kind, key) = (RUNNING.to_owned(), record.key.clone());
    let fence = SmallRecord { kind: kind.clone(), ..record.clone() };
    vec![
        Write::PutRecord { record: fence, expect: Expect::Revision(revision) },
        Write::DeleteRecord { kind, key },
        Write::PutRecord { record, expect: Expect::Any },
    ]
}

pub(super) async fn run(shared: Arc<Shared>) {
    while shared.phase() == Phase::Running {
        let wait = match step_all(&shared).await {
            Ok(wait) => wait,
            Err(error) => {
                let mut tries = 4;
                shared.back_off("replay", &error.context, &mut tries).await;
                continue;
            }
        };
        tokio::select! {
            () = shared.replays.notified() => {}
            () = shared.clock.sleep(wait) => {}
        }
    }
}

/// Gets on with every replay by turns until none is left to do; tells when to look again.
async fn step_all(shared: &Arc<Shared>) -> StoreResult<Duration> {
    let mut left_alone = HashSet::new();
    loop {
        let keys = vec![Key::Records(RUNNING.to_owned(), String::new())];
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await?;
        let mut stepped = false;
        for row in rows.into_iter().flatten() {
            let Row::Record(record) = row else { continue };
            if shared.phase() != Phase::Running || left_alone.contains(&record.key) {
                continue;
            }
            let Ok(replay) = serde_json::from_slice::<Replay>(&record.value) else {
                tracing::error!(replay = record.key, "a stored replay cannot be read; it is left alone");
                left_alone.insert(record.key);
                continue;
            };
            if step(shared, replay, record.revision).await? {
                stepped = true;
            } else {
                left_alone.insert(record.key);
            }
        }
        if !stepped {
            return Ok(if left_alone.is_empty() { LOOK_EVERY } else { YIELD });
        }
    }
}

/// One step of one replay; false: somebody else does it.
async fn step(shared: &Arc<Shared>, mut replay: Replay, revision: i64) -> StoreResult<bool> {
    let enabled = |place: Option<Arc<Place>>| place.filter(|place| place.record.is_enabled());
    let mut place = enabled(shared.place(replay.destination, 0).await?);
    if place.is_none() {
        // Another process may have enabled it just now, which is not to be mistaken for the end.
        shared.directory.forget_place(replay.destination);
        place = enabled(shared.place(replay.destination, 0).await?);
    }
    let Some(place) = place else {
        replay.state = ReplayState::Stopped;
        return Ok(write(shared, &mut replay, revision, Vec::new()).await? != Written::ByOthers);
    };
    let (request, create, next) = match &replay.step {
        ReplayStep::Deliveries(after) => {
            let page = deliveries(shared, &replay, after.clone().map(Position::from)).await?;
            let found: Vec<EventId> = page.rows.into_iter().filter_map(event_of).collect();
            let next = match page.resume {
                Some(at) => Some(ReplayStep::Deliveries(Some(at.into()))),
                None => replay.request.missing.then_some(ReplayStep::Missing(None)),
            };
            (found, Vec::new(), next)
        }
        ReplayStep::Missing(after) => {
            let page = events(shared, &replay, after.clone().map(Position::from)).await?;
            let next = page.resume.map(|at| ReplayStep::Missing(Some(at.into())));
            (Vec::new(), missing(shared, &replay, &place, page.rows).await?, next)
        }
    };
    replay.found += (request.len() + create.len()) as u64;
    match next {
        Some(next) => replay.step = next,
        None => replay.state = ReplayState::Done,
    }
    let asks = !request.is_empty() || !create.is_empty();
    let ask = Write::Replay { destination: replay.destination, revision: place.record.revision, request, create };
    let ask = if asks { vec![ask] } else { Vec::new() };
    match write(shared, &mut replay, revision, ask).await? {
        Written::ByOthers => Ok(false),
        Written::Done => Ok(true),
        // The destination has changed: the same step again, from the same record.
        Written::Outdated => {
            shared.directory.forget_place(replay.destination);
            Ok(true)
        }
    }
}

#[derive(PartialEq, Eq)]
enum Written {
    Done,
    Outdated,
    ByOthers,
}

/// Commits a step, then notes how many attempts it asked for, which is known only afterwards.
async fn write(shared: &Arc<Shared>, replay: &mut Replay, revision: i64, ask: Vec<Write>) -> StoreResult<Written> {
    let now = shared.now();
    replay.updated_at = now;
    let asked = !ask.is_empty();
    let mut writes = ask;
    writes.extend(writes_of(replay, revision));
    match shared.store.apply(Apply { now, writes, follow_ups: Vec::new() }).await? {
        ApplyOutcome::Done(numbers) => {
            let requested = u64::try_from(numbers.first().copied().unwrap_or(0)).unwrap_or(0);
            if asked && requested > 0 {
                shared.look_for_work();
                count(shared, &key_of(replay.tenant, &replay.id), requested).await;
            }
            Ok(Written::Done)
        }
        ApplyOutcome::Refused {
            index: 0,
            refusal: Refusal::Stale { .. } | Refusal::Delivery(_) | Refusal::Missing,
        } if asked => Ok(Written::Outdated),
        ApplyOutcome::Refused { .. } | ApplyOutcome::Outdated => Ok(Written::ByOthers),
    }
}

/// Adds to what a replay has asked for, wherever its record is by now: somebody may have ended it meanwhile, or
/// another process got on with it.
async fn count(shared: &Shared, key: &str, requested: u64) {
    let (mut tries, mut written) = (0, Bytes::new());
    loop {
        match count_once(shared, key, requested, &mut written).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) if shared.phase() != Phase::Running => return,
            Err(error) => shared.back_off("replay", &error.context, &mut tries).await,
        }
    }
}

/// False: somebody else has changed the record. `written` is what an earlier try may have written.
async fn count_once(shared: &Shared, key: &str, requested: u64, written: &mut Bytes) -> StoreResult<bool> {
    let now = shared.now();
    let keys = [RUNNING, ENDED].map(|kind| Key::Record(kind.to_owned(), key.to_owned())).to_vec();
    let rows = shared.store.fetch(Fetch { now, keys }).await?;
    let Some(Row::Record(record)) = rows.into_iter().flatten().next() else { return Ok(true) };
    let Ok(mut replay) = serde_json::from_slice::<Replay>(&record.value) else { return Ok(true) };
    if record.value == *written {
        return Ok(true);
    }
    replay.requested += requested;
    *written = record_of(&replay).value;
    let expect = Expect::Revision(record.revision);
    let write = Write::PutRecord { record: SmallRecord { value: written.clone(), ..record }, expect };
    let outcome = shared.store.apply(Apply { now, writes: vec![write], follow_ups: Vec::new() }).await?;
    Ok(matches!(outcome, ApplyOutcome::Done(_)))
}

/// A page of the deliveries that a replay is about.
pub(crate) async fn deliveries(shared: &Shared, replay: &Replay, after: Option<Position>) -> StoreResult<ScanPage> {
    if replay.request.states.is_empty() {
        return Ok(ScanPage { rows: Vec::new(), resume: None });
    }
    let filter = Filter { states: replay.request.states.clone(), ..filter_of(replay) };
    scan(shared, List::Deliveries, Filter { destinations: vec![replay.destination], ..filter }, after).await
}

/// A page of the events among which those without a delivery are looked for.
pub(crate) async fn events(shared: &Shared, replay: &Replay, after: Option<Position>) -> StoreResult<ScanPage> {
    scan(shared, List::Events, filter_of(replay), after).await
}

fn filter_of(replay: &Replay) -> Filter {
    let request = &replay.request;
    Filter {
        tenant: Some(replay.tenant),
        topics: request.topics.clone(),
        from: request.from,
        until: request.until,
        ..Filter::default()
    }
}

async fn scan(shared: &Shared, list: List, filter: Filter, after: Option<Position>) -> StoreResult<ScanPage> {
    let direction = Direction::Ascending;
    shared.store.scan(Scan { list, filter, direction, after, limit: STEP, examine: EXAMINE }).await
}

fn event_of(row: Row) -> Option<EventId> {
    if let Row::Delivery(delivery) = row { Some(delivery.key.event) } else { None }
}

/// Those events that match a destination and have no delivery to it.
pub(crate) async fn missing(
    shared: &Shared,
    replay: &Replay,
    place: &Place,
    rows: Vec<Row>,
) -> StoreResult<Vec<EventId>> {
    let mut matching = Vec::new();
    for row in rows {
        if let Row::Event(event) = row
            && event.destination_id.as_ref().is_none_or(|named| *named == place.record.id)
            && place.wants(&event)
        {
            matching.push(event.id.clone());
        }
    }
    let destination = replay.destination;
    let keys = matching.iter().map(|event| Key::Delivery(DeliveryKey { destination, event: event.clone() }));
    let found = shared.store.fetch(Fetch { now: shared.now(), keys: keys.collect() }).await?;
    Ok(matching.into_iter().zip(found).filter(|(_, rows)| rows.is_empty()).map(|(event, _)| event).collect())
}
