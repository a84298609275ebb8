//! Between rows and records: what is read is exactly what was written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::store::{IngestItem, SmallRecord};
use outpost_core::{
    Attempt, AttemptError, AttemptId, DeliveryKey, DeliveryRecord, DeliverySettings, DeliveryState, DestinationId,
    DestinationRecord, Disabled, Event, EventId, Fingerprint, Health, Incarnation, LaneRecord, LeaseToken, Outcome,
    RequestRecord, ResponseRecord, Sealed, StringMap, Tenant, TenantId, Timestamp, Topics, Trigger,
};
use rusqlite::{Connection, Params, Row};
use serde_json::{from_slice, to_string};

use crate::error::{Fallible, Fault};
use crate::sql::Sql;

/// The first row of a query.
pub(crate) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl FnOnce(&Row<'_>) -> Fallible<T>,
) -> Fallible<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(decode).transpose()
}

/// Every row of a query.
pub(crate) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    mut decode: impl FnMut(&Row<'_>) -> Fallible<T>,
) -> Fallible<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row)?);
    }
    Ok(found)
}

/// Runs a statement that changes rows; tells how many.
pub(crate) fn run(conn: &Connection, sql: &str, params: impl Params) -> Fallible<usize> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

pub(crate) fn int(row: &Row<'_>, at: usize) -> Fallible<i64> {
    Ok(row.get(at)?)
}

/// A number that is never negative.
pub(crate) fn count(row: &Row<'_>, at: usize) -> Fallible<u64> {
    Ok(u64::try_from(int(row, at)?).unwrap_or(0))
}

pub(crate) fn text<'row>(row: &'row Row<'_>, at: usize) -> Fallible<&'row str> {
    Ok(row.get_ref(at)?.as_str()?)
}

fn text_or_null<'row>(row: &'row Row<'_>, at: usize) -> Fallible<Option<&'row str>> {
    Ok(row.get_ref(at)?.as_str_or_null()?)
}

pub(crate) fn blob(row: &Row<'_>, at: usize) -> Fallible<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(at)?.as_blob()?))
}

pub(crate) fn time(row: &Row<'_>, at: usize) -> Fallible<Timestamp> {
    Ok(Timestamp::from_millis(int(row, at)?))
}

fn time_or_null(row: &Row<'_>, at: usize) -> Fallible<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
}

pub(crate) fn incarnation(row: &Row<'_>, at: usize) -> Fallible<Incarnation> {
    Ok(Incarnation::from_i64(int(row, at)?))
}

pub(crate) fn flag(row: &Row<'_>, at: usize) -> Fallible<bool> {
    Ok(int(row, at)? != 0)
}

pub(crate) fn trigger(code: i64) -> Fallible<Trigger> {
    let known = u8::try_from(code).ok().and_then(Trigger::from_code);
    known.ok_or_else(|| Fault::corrupt("a stored trigger is not known"))
}

fn json_or_null<T: for<'de> JsonValue<'de>>(row: &Row<'_>, at: usize) -> Fallible<Option<T>> {
    text_or_null(row, at)?.map(|text| T::read(text.as_bytes())).transpose()
}

/// The values that are kept as JSON. A trait of our own, because serde itself is no dependency here.
trait JsonValue<'de>: Sized {
    fn read(bytes: &'de [u8]) -> Fallible<Self>;
}

macro_rules! json_values {
    ($($name:ty),*) => {
        $(impl<'de> JsonValue<'de> for $name {
            fn read(bytes: &'de [u8]) -> Fallible<Self> {
                Ok(from_slice(bytes)?)
            }
        })*
    };
}
json_values!(StringMap, Topics, Disabled, DeliverySettings, Health, RequestRecord, ResponseRecord, AttemptError);

pub(crate) fn tenant(row: &Row<'_>) -> Fallible<Tenant> {
    Ok(Tenant {
        incarnation: incarnation(row, 0)?,
        id: TenantId::new(text(row, 1)?)?,
        metadata: from_slice(text(row, 2)?.as_bytes())?,
        created_at: time(row, 3)?,
        updated_at: time(row, 4)?,
        deleted_at: time_or_null(row, 5)?,
        revision: int(row, 6)?,
        subscriptions: int(row, 7)?,
    })
}

/// What decides about a destination's deliveries; everything else in it is left empty.
pub(crate) fn destination_state(row: &Row<'_>) -> Fallible<DestinationRecord> {
    let created_at = Timestamp::MIN;
    Ok(DestinationRecord {
        incarnation: incarnation(row, 0)?,
        id: DestinationId::new(text(row, 1)?)?,
        tenant: incarnation(row, 2)?,
        tenant_id: TenantId::new(text(row, 3)?)?,
        epoch: int(row, 4)?,
        epoch_at: time(row, 5)?,
        deleted_at: time_or_null(row, 6)?,
        deleted_with_tenant: flag(row, 7)?,
        disabled: json_or_null(row, 8)?,
        revision: int(row, 9)?,
        settings: Arc::new(json_or_null(row, 10)?.unwrap_or_default()),
        created_at,
        updated_at: created_at,
        kind: String::new(),
        name: None,
        topics: Topics::all(),
        filter: None,
        by_operator: false,
        metadata: StringMap::new(),
        target: String::new(),
        config: Sealed::default(),
        credentials: Sealed::default(),
        delivery_metadata: Sealed::default(),
    })
}

pub(crate) fn destination(row: &Row<'_>) -> Fallible<DestinationRecord> {
    Ok(DestinationRecord {
        created_at: time(row, 11)?,
        updated_at: time(row, 12)?,
        kind: text(row, 13)?.to_owned(),
        name: text_or_null(row, 14)?.map(str::to_owned),
        topics: from_slice(text(row, 15)?.as_bytes())?,
        filter: text_or_null(row, 16)?.map(Arc::from),
        by_operator: flag(row, 17)?,
        metadata: from_slice(text(row, 18)?.as_bytes())?,
        target: text(row, 19)?.to_owned(),
        config: Sealed::new(blob(row, 20)?),
        credentials: Sealed::new(blob(row, 21)?),
        delivery_metadata: Sealed::new(blob(row, 22)?),
        ..destination_state(row)?
    })
}

pub(crate) fn put_destination(conn: &Connection, sql: &Sql, record: &DestinationRecord, stale: bool) -> Fallible<()> {
    let disabled = record.disabled.as_ref().map(to_string).transpose()?;
    let settings = Some(&*record.settings).filter(|settings| !settings.is_default()).map(to_string).transpose()?;
    run(
        conn,
        &sql.destination_put,
        rusqlite::params![
            record.incarnation.as_i64(),
            record.id.as_str(),
            record.tenant.as_i64(),
            record.tenant_id.as_str(),
            record.epoch,
            record.epoch_at.as_millis(),
            record.deleted_at.map(Timestamp::as_millis),
            record.deleted_with_tenant,
            disabled,
            record.revision,
            settings,
            record.created_at.as_millis(),
            record.updated_at.as_millis(),
            record.kind,
            record.name,
            to_string(&record.topics)?,
            record.filter.as_deref(),
            record.by_operator,
            to_string(&record.metadata)?,
            record.target,
            record.config.as_bytes(),
            record.credentials.as_bytes(),
            record.delivery_metadata.as_bytes(),
            stale,
        ],
    )?;
    Ok(())
}

pub(crate) fn put_tenant(conn: &Connection, sql: &Sql, tenant: &Tenant) -> Fallible<()> {
    run(
        conn,
        &sql.tenant_put,
        rusqlite::params![
            tenant.incarnation.as_i64(),
            tenant.id.as_str(),
            to_string(&tenant.metadata)?,
            tenant.created_at.as_millis(),
            tenant.updated_at.as_millis(),
            tenant.deleted_at.map(Timestamp::as_millis),
            tenant.revision,
            tenant.subscriptions,
        ],
    )?;
    Ok(())
}

/// An event to be stored. Its texts are made by the caller, so that the writer need not.
#[derive(Debug)]
pub(crate) struct NewEvent {
    pub(crate) item: IngestItem,
    metadata: Option<String>,
    matched: String,
}

impl NewEvent {
    pub(crate) fn new(item: IngestItem) -> Fallible<Self> {
        let event = &item.event;
        let metadata = if event.metadata.is_empty() { None } else { Some(to_string(&*event.metadata)?) };
        let mut matched = String::new();
        for id in event.matched.iter() {
            if !matched.is_empty() {
                matched.push(',');
            }
            matched.push_str(id.as_str());
        }
        let mut seen = std::collections::HashSet::new();
        if item.deliveries.len() > 1 && !item.deliveries.iter().all(|new| seen.insert(new.destination)) {
            return Err(Fault::new(
                outpost_core::StoreErrorKind::Internal,
                "an event has two deliveries to one destination",
            ));
        }
        Ok(Self { item, metadata, matched })
    }

    pub(crate) fn all(items: Vec<IngestItem>) -> Fallible<Vec<Self>> {
        items.into_iter().map(Self::new).collect()
    }
}

/// Stores an event. `None`: its id is taken.
pub(crate) fn put_event(conn: &Connection, sql: &Sql, new: &NewEvent) -> Fallible<Option<i64>> {
    let event = &new.item.event;
    let changed = run(
        conn,
        &sql.event_put,
        rusqlite::params![
            event.tenant.as_i64(),
            event.id.as_str(),
            &*event.topic,
            event.time.as_millis(),
            event.created_at.as_millis(),
            event.eligible_for_retry,
            event.destination_id.as_ref().map(DestinationId::as_str),
            new.matched,
            &event.fingerprint.0[..],
            new.metadata,
            &event.data[..],
        ],
    )?;
    Ok((changed > 0).then(|| conn.last_insert_rowid()))
}

pub(crate) fn matched(row: &Row<'_>, at: usize) -> Fallible<Arc<[DestinationId]>> {
    let ids = text(row, at)?.split(',').filter(|id| !id.is_empty());
    Ok(ids.map(DestinationId::new).collect::<Result<Vec<_>, _>>()?.into())
}

pub(crate) fn fingerprint(row: &Row<'_>, at: usize) -> Fallible<Fingerprint> {
    let bytes = row.get_ref(at)?.as_blob()?;
    Ok(Fingerprint(bytes.try_into().map_err(|_| Fault::corrupt("a stored fingerprint has the wrong length"))?))
}

pub(crate) fn event(row: &Row<'_>) -> Fallible<Event> {
    Ok(Event {
        tenant: incarnation(row, 0)?,
        id: EventId::new(text(row, 1)?)?,
        topic: Arc::from(text(row, 2)?),
        time: time(row, 3)?,
        created_at: time(row, 4)?,
        eligible_for_retry: flag(row, 5)?,
        destination_id: text_or_null(row, 6)?.map(DestinationId::new).transpose()?,
        matched: matched(row, 7)?,
        fingerprint: fingerprint(row, 8)?,
        metadata: Arc::new(json_or_null(row, 9)?.unwrap_or_default()),
        data: blob(row, 10)?,
    })
}

/// A delivery and where it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredDelivery {
    pub(crate) seq: i64,
    pub(crate) event_seq: i64,
    pub(crate) record: DeliveryRecord,
}

pub(crate) fn delivery(row: &Row<'_>) -> Fallible<StoredDelivery> {
    let state = u8::try_from(int(row, 6)?).ok().and_then(DeliveryState::from_code);
    let outcome = match row.get::<_, Option<bool>>(16)? {
        Some(success) => Some(Outcome { success, code: text(row, 17)?.to_owned() }),
        None => None,
    };
    Ok(StoredDelivery {
        seq: int(row, 0)?,
        event_seq: int(row, 1)?,
        record: DeliveryRecord {
            key: DeliveryKey { destination: incarnation(row, 2)?, event: EventId::new(text(row, 3)?)? },
            tenant: incarnation(row, 4)?,
            topic: Arc::from(text(row, 5)?),
            state: state.ok_or_else(|| Fault::corrupt("a stored delivery state is not known"))?,
            epoch: int(row, 7)?,
            created_at: time(row, 8)?,
            finished_at: time_or_null(row, 9)?,
            scheduled_at: time_or_null(row, 10)?,
            requested: row.get::<_, Option<i64>>(11)?.map(trigger).transpose()?,
            due: time_or_null(row, 12)?,
            lease: row.get::<_, Option<i64>>(13)?.map(LeaseToken),
            attempts: row.get(14)?,
            automatic_attempts: row.get(15)?,
            last_outcome: outcome,
        },
    })
}

pub(crate) fn put_delivery(conn: &Connection, sql: &Sql, event_seq: i64, new: &DeliveryRecord) -> Fallible<()> {
    run(
        conn,
        &sql.delivery_put,
        rusqlite::params![
            event_seq,
            new.key.destination.as_i64(),
            new.key.event.as_str(),
            new.tenant.as_i64(),
            &*new.topic,
            new.state.code(),
            new.epoch,
            new.created_at.as_millis(),
            new.finished_at.map(Timestamp::as_millis),
            new.scheduled_at.map(Timestamp::as_millis),
            new.requested.map(Trigger::code),
            new.is_urgent(),
            new.due.map(Timestamp::as_millis),
            new.lease.map(|token| token.0),
        ],
    )?;
    Ok(())
}

pub(crate) fn set_delivery(conn: &Connection, sql: &Sql, seq: i64, changed: &DeliveryRecord) -> Fallible<()> {
    run(
        conn,
        &sql.delivery_set,
        rusqlite::params![
            seq,
            changed.state.code(),
            changed.epoch,
            changed.finished_at.map(Timestamp::as_millis),
            changed.scheduled_at.map(Timestamp::as_millis),
            changed.requested.map(Trigger::code),
            changed.is_urgent(),
            changed.due.map(Timestamp::as_millis),
            changed.lease.map(|token| token.0),
            changed.attempts,
            changed.automatic_attempts,
            changed.last_outcome.as_ref().map(|outcome| outcome.success),
            changed.last_outcome.as_ref().map(|outcome| outcome.code.as_str()),
        ],
    )?;
    Ok(())
}

/// An attempt's texts, made by the caller, so that the writer need not.
#[derive(Debug)]
pub(crate) struct AttemptText {
    request: Option<String>,
    response: Option<String>,
    error: Option<String>,
}

impl AttemptText {
    pub(crate) fn of(attempt: &Attempt) -> Fallible<Self> {
        Ok(Self {
            request: attempt.request.as_ref().map(to_string).transpose()?,
            response: attempt.response.as_ref().map(to_string).transpose()?,
            error: attempt.error.as_ref().map(to_string).transpose()?,
        })
    }
}

/// Stores an attempt at the delivery `of`.
pub(crate) fn put_attempt(
    conn: &Connection,
    sql: &Sql,
    of: &StoredDelivery,
    attempt: &Attempt,
    text: &AttemptText,
) -> Fallible<()> {
    run(
        conn,
        &sql.attempt_put,
        rusqlite::params![
            of.seq,
            of.record.key.destination.as_i64(),
            attempt.tenant.as_i64(),
            attempt.time.as_millis(),
            attempt.id.as_str(),
            Some(&*attempt.topic).filter(|topic| *topic != &*of.record.topic),
            attempt.number,
            attempt.trigger.code(),
            attempt.started_at.as_millis(),
            i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX),
            attempt.outcome.success,
            attempt.outcome.code,
            attempt.next_attempt_at.map(Timestamp::as_millis),
            text.request,
            text.response,
            text.error,
            attempt.response.as_ref().map(|response| &response.body[..]).filter(|body| !body.is_empty()),
        ],
    )?;
    Ok(())
}

pub(crate) fn attempt(row: &Row<'_>) -> Fallible<Attempt> {
    let mut response: Option<ResponseRecord> = json_or_null(row, 14)?;
    if let (Some(response), Some(body)) = (&mut response, row.get_ref(16)?.as_blob_or_null()?) {
        response.body = Bytes::copy_from_slice(body);
    }
    Ok(Attempt {
        id: AttemptId::new(text(row, 0)?)?,
        delivery: DeliveryKey { destination: incarnation(row, 1)?, event: EventId::new(text(row, 2)?)? },
        tenant: incarnation(row, 3)?,
        topic: Arc::from(text(row, 4)?),
        number: row.get(5)?,
        trigger: trigger(int(row, 6)?)?,
        started_at: time(row, 7)?,
        time: time(row, 8)?,
        duration: Duration::from_micros(u64::try_from(int(row, 9)?).unwrap_or(0)),
        outcome: Outcome { success: flag(row, 10)?, code: text(row, 11)?.to_owned() },
        next_attempt_at: time_or_null(row, 12)?,
        request: json_or_null(row, 13)?,
        response,
        error: json_or_null(row, 15)?,
    })
}

pub(crate) fn lane(row: &Row<'_>) -> Fallible<LaneRecord> {
    Ok(LaneRecord {
        destination: incarnation(row, 0)?,
        hold_until: time_or_null(row, 1)?,
        strikes: row.get(2)?,
        rest_until: time_or_null(row, 3)?,
        next_due: time_or_null(row, 4)?,
        next_urgent: time_or_null(row, 5)?,
        open: int(row, 6)?,
        health: json_or_null(row, 7)?.unwrap_or_default(),
    })
}

pub(crate) fn set_lane(conn: &Connection, sql: &Sql, lane: &LaneRecord) -> Fallible<()> {
    let health = Some(&lane.health).filter(|health| **health != Health::default()).map(to_string).transpose()?;
    run(
        conn,
        &sql.lane_put,
        rusqlite::params![
            lane.destination.as_i64(),
            lane.hold_until.map(Timestamp::as_millis),
            lane.strikes,
            lane.rest_until.map(Timestamp::as_millis),
            lane.next_due.map(Timestamp::as_millis),
            lane.next_urgent.map(Timestamp::as_millis),
            lane.open,
            lane.ready_at().map(Timestamp::as_millis),
            health,
        ],
    )?;
    Ok(())
}

pub(crate) fn record(row: &Row<'_>) -> Fallible<SmallRecord> {
    Ok(SmallRecord {
        kind: text(row, 0)?.to_owned(),
        key: text(row, 1)?.to_owned(),
        value: blob(row, 2)?,
        expires_at: time_or_null(row, 3)?,
        revision: int(row, 4)?,
    })
}

pub(crate) fn put_record(conn: &Connection, sql: &Sql, record: &SmallRecord) -> Fallible<()> {
    run(
        conn,
        &sql.record_put,
        rusqlite::params![
            record.kind,
            record.key,
            &record.value[..],
            record.expires_at.map(Timestamp::as_millis),
            record.revision,
        ],
    )?;
    Ok(())
}
