//! Brings answers of two stores into a form in which they must be equal, by leaving out what the contract
//! leaves open.

use std::collections::BTreeMap;

use crate::engine::record::LaneRecord;
use crate::ports::store::{
    ApplyOutcome, Claimed, ClaimedDelivery, Refusal, Row, ScanPage, SettleAction, SettleItem, SettleOutcome,
    VisitedLane, Write,
};
use crate::values::id::Incarnation;
use crate::values::time::Timestamp;

/// Where revisions start is the store's own affair; how many deliveries a replay asked for is not.
pub(super) fn applied(writes: &[Write], outcome: ApplyOutcome) -> ApplyOutcome {
    match outcome {
        ApplyOutcome::Done(mut numbers) => {
            for (number, write) in numbers.iter_mut().zip(writes) {
                *number = if matches!(write, Write::Replay { .. }) { *number } else { 0 };
            }
            ApplyOutcome::Done(numbers)
        }
        ApplyOutcome::Refused { index, refusal: Refusal::Stale { .. } } => {
            ApplyOutcome::Refused { index, refusal: Refusal::Stale { found: 0 } }
        }
        other => other,
    }
}

/// A row without its revision; of what is deleted it does not matter when it last changed.
pub(super) fn row(row: Row, now: Timestamp) -> Row {
    match row {
        Row::Tenant(mut tenant) => {
            (tenant.revision, tenant.subscriptions) = (0, 0);
            tenant.updated_at = tenant.deleted_at.unwrap_or(tenant.updated_at);
            Row::Tenant(tenant)
        }
        Row::Destination(mut found) => {
            found.revision = 0;
            found.updated_at = found.deleted_at.unwrap_or(found.updated_at);
            Row::Destination(found)
        }
        Row::Record(mut record) => {
            record.revision = 0;
            Row::Record(record)
        }
        Row::Lane(found) => Row::Lane(lane(found, now)),
        other => other,
    }
}

pub(super) fn rows(found: Vec<Vec<Row>>, now: Timestamp) -> Vec<Vec<Row>> {
    found.into_iter().map(|found| found.into_iter().map(|found| row(found, now)).collect()).collect()
}

/// A page's rows, and whether more follow.
pub(super) fn page(page: ScanPage, now: Timestamp) -> (Vec<Row>, bool) {
    (page.rows.into_iter().map(|found| row(found, now)).collect(), page.resume.is_some())
}

/// A rest that is over is none.
fn lane(mut lane: LaneRecord, now: Timestamp) -> LaneRecord {
    lane.rest_until = lane.rest_until.filter(|until| *until > now);
    lane
}

/// What a claim took from each lane, the lanes it visited, and when to come back.
pub(super) type ByLane =
    (BTreeMap<Incarnation, Vec<ClaimedDelivery>>, BTreeMap<Incarnation, VisitedLane>, Option<Timestamp>);

/// The order of lanes that are ready at the same time is open; the order within a lane is not.
pub(super) fn claimed(claimed: &Claimed, now: Timestamp) -> ByLane {
    let mut deliveries: BTreeMap<Incarnation, Vec<ClaimedDelivery>> = BTreeMap::new();
    for delivery in &claimed.deliveries {
        let delivery = ClaimedDelivery { destination_revision: 0, ..delivery.clone() };
        deliveries.entry(delivery.key.destination).or_default().push(delivery);
    }
    let lanes = claimed.lanes.iter();
    let told = |found: &VisitedLane| VisitedLane { lane: lane(found.lane.clone(), now), ..found.clone() };
    let lanes = lanes.map(|found| (found.lane.destination, told(found))).collect();
    // Which of several times in the past is told does not matter.
    (deliveries, lanes, claimed.next.map(|next| next.max(now)))
}

/// What came of an item. How a delivery is told that its destination has ended meanwhile is open when it is
/// only given back or kept, and so is which of two reasons to write nothing is told.
pub(super) fn settled(item: &SettleItem, outcome: SettleOutcome) -> String {
    match (&item.action, outcome) {
        (SettleAction::Released | SettleAction::Extended { .. }, SettleOutcome::Done { .. }) => "Done".to_owned(),
        (_, SettleOutcome::Stale | SettleOutcome::Outdated) if item.alerts.is_some() || !item.follow_ups.is_empty() => {
            "Nothing".to_owned()
        }
        (_, outcome) => format!("{outcome:?}"),
    }
}
