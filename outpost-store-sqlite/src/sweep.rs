//! Writing down what reads show already.

use std::convert::Infallible;

use outpost_core::Incarnation;
use outpost_core::store::{Sweep, Swept};
use rusqlite::params;

use crate::error::Fallible;
use crate::rows::{self, StoredDelivery};
use crate::tx::Tx;

/// How many destinations one sweep looks at: most of them may hold nothing but leased deliveries.
const DESTINATIONS: i64 = 1024;

impl Tx<'_> {
    pub(crate) fn sweep(&mut self, request: &Sweep) -> Fallible<Swept> {
        let mut swept = Swept { changed: 0, more: false };
        let mut after = i64::MIN;
        let mut looked = 0;
        while !swept.more {
            let key = params![after, 64];
            let stale = rows::all(self.conn, &self.sql.destinations_stale, key, |row| rows::int(row, 0))?;
            let Some(last) = stale.last() else { break };
            after = *last;
            for destination in stale {
                self.sweep_destination(request, Incarnation::from_i64(destination), &mut swept)?;
                looked += 1;
                swept.more |= looked >= DESTINATIONS;
                if swept.more {
                    break;
                }
            }
        }
        let room = request.limit - swept.changed;
        let key = params![request.now.as_millis(), i64::from(room) + 1];
        let expired = rows::all(self.conn, &self.sql.records_expired, key, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        swept.more |= expired.len() > room as usize;
        for (kind, name) in expired.into_iter().take(room as usize) {
            rows::run(self.conn, &self.sql.record_delete, params![kind, name])?;
            swept.changed += 1;
        }
        self.sweep_rollups(request, &mut swept)?;
        Ok(swept)
    }

    /// Retires a destination's deliveries that nobody holds, as far as the limit goes.
    fn sweep_destination(&mut self, request: &Sweep, destination: Incarnation, swept: &mut Swept) -> Fallible<()> {
        let Some(record) = self.destination(destination)? else { return self.mark_stale(destination, false) };
        // With the destination gone every epoch is over, else all but the present one.
        let epochs: &[(i64, i64)] = if record.deleted_at.is_some() {
            &[(i64::MIN, i64::MAX)]
        } else {
            &[(i64::MIN, record.epoch), (record.epoch, i64::MAX)]
        };
        let mut kept = false;
        for (above, below) in epochs {
            let (found, held) = self.retired(request, &record, (*above, *below), request.limit - swept.changed)?;
            kept |= held;
            for mut stored in found {
                if swept.changed >= request.limit {
                    swept.more = true;
                    return Ok(());
                }
                if let Some((state, at)) = record.retires(stored.record.epoch) {
                    let Ok(()) = self.change_delivery(&mut stored, |delivery| {
                        delivery.retire(state, at);
                        Ok::<_, Infallible>(())
                    })?;
                    swept.changed += 1;
                }
            }
        }
        if !kept {
            self.mark_stale(destination, false)?;
        }
        Ok(())
    }

    /// Deliveries that expect an attempt in vain and are held by nobody, at most one more than `room`; and whether
    /// there are some that somebody holds. What expects an attempt always waits for something, so the index of
    /// what is due has them all.
    fn retired(
        &self,
        request: &Sweep,
        record: &outpost_core::DestinationRecord,
        (above, below): (i64, i64),
        room: u32,
    ) -> Fallible<(Vec<StoredDelivery>, bool)> {
        let mut statement = self.conn.prepare_cached(&self.sql.waiting)?;
        let mut rows = statement.query(params![record.incarnation.as_i64(), above, below])?;
        let (mut found, mut held) = (Vec::new(), false);
        while let Some(row) = rows.next()? {
            let stored = rows::delivery(row)?;
            if !stored.record.expects_attempt() || record.retires(stored.record.epoch).is_none() {
                continue;
            }
            if stored.record.is_leased(request.now) {
                held = true;
                continue;
            }
            found.push(stored);
            if found.len() > room as usize {
                break;
            }
        }
        Ok((found, held))
    }
}
