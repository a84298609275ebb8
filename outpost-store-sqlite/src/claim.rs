//! Leasing due deliveries to a caller.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use outpost_core::store::{Claim, Claimed, ClaimedDelivery, VisitedLane};
use outpost_core::{DestinationRecord, Incarnation, Timestamp};
use rusqlite::params;

use crate::error::Fallible;
use crate::rows;
use crate::tx::Tx;

/// How many ready lanes are looked up at a time.
const LANES: i64 = 64;

impl Tx<'_> {
    pub(crate) fn claim(&mut self, request: &Claim) -> Fallible<Claimed> {
        let mut claimed = Claimed::default();
        let mut visited: HashSet<Incarnation> = HashSet::new();
        for (lane, most) in &request.lanes {
            if visited.insert(*lane) {
                self.visit(request, *lane, *most, &mut claimed)?;
            }
        }
        if request.discover > 0 {
            self.discover(request, &mut visited, &mut claimed)?;
        }
        self.flush_lanes()?;
        let next = rows::one(self.conn, &self.sql.lanes_first, [], |row| rows::int(row, 0))?;
        claimed.next = next.map(Timestamp::from_millis);
        Ok(claimed)
    }

    /// Visits the lanes whose time has come. They are read in portions as they are stored; those that this
    /// claim moves are known as visited or saturated should they come by again.
    fn discover(&mut self, request: &Claim, visited: &mut HashSet<Incarnation>, claimed: &mut Claimed) -> Fallible<()> {
        let saturated: HashSet<Incarnation> = request.saturated.iter().copied().collect();
        let rest_until = request.now.after(request.rest);
        let (mut after, mut seen) = ((i64::MIN, i64::MIN), HashSet::new());
        loop {
            // What jobs before this one and this one itself did to lanes has to be in the index.
            self.flush_lanes()?;
            let key = params![request.now.as_millis(), after.0, after.1, LANES];
            let ready =
                rows::all(self.conn, &self.sql.lanes_ready, key, |row| Ok((rows::int(row, 0)?, rows::int(row, 1)?)))?;
            let Some(last) = ready.last() else { return Ok(()) };
            after = *last;
            for (_, destination) in ready {
                if claimed.deliveries.len() >= request.limit as usize {
                    return Ok(());
                }
                let lane = Incarnation::from_i64(destination);
                if !seen.insert(lane) {
                    continue;
                }
                if saturated.contains(&lane) {
                    self.change_lane(lane, |lane| lane.rest_until = Some(rest_until))?;
                } else if visited.insert(lane) {
                    self.visit(request, lane, request.discover, claimed)?;
                }
            }
        }
    }

    fn visit(&mut self, request: &Claim, destination: Incarnation, most: u32, claimed: &mut Claimed) -> Fallible<()> {
        let Some(record) = self.destination(destination)?.filter(|found| found.is_enabled()) else { return Ok(()) };
        let Some(lane) = self.lane(destination)? else { return Ok(()) };
        let now = request.now;
        let room = request.limit.saturating_sub(u32::try_from(claimed.deliveries.len()).unwrap_or(u32::MAX));
        let most = most.min(room);
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        let mut taken = 0;
        if is_due(lane.next_urgent) {
            taken = self.take(request, &record, true, most, claimed)?;
        }
        let only_urgent = request.urgent_only.contains(&destination);
        let scheduled = if only_urgent { 0 } else { lane.allowance(now, most).min(most - taken) };
        if is_due(lane.next_due) && scheduled > 0 {
            self.take(request, &record, false, scheduled, claimed)?;
        }
        let Some(lane) = self.lane(destination)? else { return Ok(()) };
        let more = is_due(lane.next_urgent) || (is_due(lane.next_due) && lane.allowance(now, 1) > 0);
        let rest_until = more.then(|| now.after(request.rest));
        self.change_lane(destination, |lane| lane.rest_until = rest_until)?;
        claimed.lanes.push(VisitedLane { lane: rest_lane(lane, rest_until), more, settings: record.settings.clone() });
        Ok(())
    }

    /// Takes up to `most` due deliveries, the oldest first, from one side of a lane.
    fn take(
        &mut self,
        request: &Claim,
        destination: &DestinationRecord,
        urgent: bool,
        most: u32,
        claimed: &mut Claimed,
    ) -> Fallible<u32> {
        let mut taken = 0;
        while taken < most {
            let wanted = most - taken;
            let life = destination.incarnation.as_i64();
            let key = params![life, destination.epoch, urgent, request.now.as_millis(), wanted];
            let due = rows::all(self.conn, &self.sql.due, key, rows::delivery)?;
            let fewer = due.len() < wanted as usize;
            for mut stored in due {
                let Ok(trigger) =
                    self.change_delivery(&mut stored, |delivery| Ok::<_, Infallible>(delivery.take(request.lease)))?;
                // Nothing was to be done after all; it is not due any more, so another one may be taken.
                let Some(trigger) = trigger else { continue };
                let Some(event) = rows::one(self.conn, &self.sql.event, [stored.event_seq], rows::event)? else {
                    continue;
                };
                taken += 1;
                let record = stored.record;
                claimed.deliveries.push(ClaimedDelivery {
                    key: record.key,
                    event: Arc::new(event),
                    trigger,
                    state: record.state,
                    attempts: record.attempts,
                    automatic_attempts: record.automatic_attempts,
                    scheduled_at: record.scheduled_at,
                    destination_revision: destination.revision,
                });
            }
            // A lease that ends at once would be met again and again.
            if fewer || request.lease.until <= request.now {
                break;
            }
        }
        Ok(taken)
    }
}

fn rest_lane(mut lane: outpost_core::LaneRecord, rest_until: Option<Timestamp>) -> outpost_core::LaneRecord {
    lane.rest_until = rest_until;
    lane
}
