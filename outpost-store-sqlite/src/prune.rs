//! Forgetting events that are over, and giving their space back.

use bytes::Bytes;
use outpost_core::store::{Prune, Pruned};
use outpost_core::{Incarnation, Timestamp};
use rusqlite::params;

use crate::error::Fallible;
use crate::rows;
use crate::tx::Tx;

/// How many events are read at a time, at most.
const PORTION: u32 = 256;
/// After so many events in a row that are too young it is looked whether any older one follows.
const YOUNG: u32 = 256;
/// How many pages one call gives back at most: each may cost a move.
const PAGES: i64 = 1024;
/// One page in so many may stay free: giving back what the next events take again is work for nothing.
const SPARE: i64 = 16;

/// Where a walk stands.
enum Cursor {
    /// Over everybody's events in the order they were stored: after this one, with so many young ones
    /// directly before.
    Stored { seq: i64, young: u32 },
    /// Over one tenant's events in the order of their time and id.
    Tenant { tenant: Incarnation, time: i64, id: String },
}

/// A delivery that is over.
struct Ended {
    seq: i64,
    /// Its destination, when a lease that has lapsed left a due time behind.
    due: Option<Incarnation>,
}

/// An event that is examined.
struct Candidate {
    seq: i64,
    tenant: Incarnation,
    created_at: Timestamp,
    bytes: i64,
    time: i64,
    id: String,
}

impl Cursor {
    /// Where to begin or to go on; what is not ours begins anew.
    fn read(tenant: Option<Incarnation>, resume: Option<&[u8]>) -> Self {
        let number = |bytes: &[u8; 8]| i64::from_be_bytes(*bytes);
        let place = resume.and_then(<[u8]>::split_first_chunk).map(|(first, rest)| (number(first), rest));
        match tenant {
            None => {
                let (seq, rest) = place.unwrap_or((i64::MIN, &[]));
                Self::Stored { seq, young: rest.try_into().map_or(0, u32::from_be_bytes) }
            }
            Some(tenant) => {
                let (time, rest) = place.unwrap_or((i64::MIN, &[]));
                Self::Tenant { tenant, time, id: String::from_utf8_lossy(rest).into_owned() }
            }
        }
    }

    fn write(&self) -> Bytes {
        let (first, rest) = match self {
            Self::Stored { seq, young } => (seq, young.to_be_bytes().to_vec()),
            Self::Tenant { time, id, .. } => (time, id.as_bytes().to_vec()),
        };
        Bytes::from([&first.to_be_bytes()[..], &rest].concat())
    }

    /// Moves on to an event.
    fn pass(&mut self, event: Candidate, is_young: bool) {
        match self {
            Self::Stored { seq, young } => {
                *seq = event.seq;
                *young = if is_young { young.saturating_add(1) } else { 0 };
            }
            Self::Tenant { time, id, .. } => (*time, *id) = (event.time, event.id),
        }
    }
}

impl Tx<'_> {
    pub(crate) fn prune(&mut self, request: &Prune) -> Fallible<Pruned> {
        let mut pruned = Pruned::default();
        let mut cursor = Cursor::read(request.tenant, request.resume.as_deref());
        let mut examined = 0;
        'walk: loop {
            // One more tells whether the end was reached.
            let wanted = request.examine.saturating_sub(examined).saturating_add(1).min(PORTION);
            let portion = self.candidates(&cursor, wanted)?;
            let is_last = portion.len() < wanted as usize;
            for event in portion {
                if examined >= request.examine || pruned.events >= u64::from(request.limit) {
                    pruned.resume = Some(cursor.write());
                    break 'walk;
                }
                examined += 1;
                let is_young = event.created_at >= request.before;
                let ended = if is_young { None } else { self.ended(event.seq, (request.now, request.before))? };
                match ended {
                    Some(deliveries) => self.forget_event(&event, &deliveries, &mut pruned)?,
                    None => pruned.kept += 1,
                }
                cursor.pass(event, is_young);
                if let Cursor::Stored { seq, young } = &mut cursor
                    && *young >= YOUNG
                {
                    if !self.older_follows(*seq, request.before)? {
                        break 'walk;
                    }
                    *young = 0;
                }
            }
            if is_last {
                break;
            }
        }
        self.give_back()?;
        Ok(pruned)
    }

    fn candidates(&self, cursor: &Cursor, wanted: u32) -> Fallible<Vec<Candidate>> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Candidate {
                seq: rows::int(row, 0)?,
                tenant: rows::incarnation(row, 1)?,
                created_at: rows::time(row, 2)?,
                bytes: rows::int(row, 3)?,
                time: rows::int(row, 4)?,
                id: rows::text(row, 5)?.to_owned(),
            })
        };
        match cursor {
            Cursor::Stored { seq, .. } => rows::all(self.conn, &self.sql.events_stored, params![seq, wanted], read),
            Cursor::Tenant { tenant, time, id } => {
                rows::all(self.conn, &self.sql.events_of, params![tenant.as_i64(), time, id, wanted], read)
            }
        }
    }

    /// Whether an event old enough is found after a run of young ones, looking at one event at distances that
    /// double. Events are stored in the order of time, except where a clock was set back: then the ones that
    /// seem young come first. Old ones behind such a run may be missed while they are fewer than the run is
    /// long, so they may stay for as long as it takes to store that many; they cannot stay for ever. Without
    /// this every walk would read all that is stored, or the run would end it until its own time had come.
    fn older_follows(&self, seq: i64, before: Timestamp) -> Fallible<bool> {
        let mut step = 1_i64;
        loop {
            let at = [seq.saturating_add(step)];
            let created = rows::one(self.conn, &self.sql.event_age, at, |row| rows::time(row, 0))?;
            match created {
                None => return Ok(false),
                Some(created) if created < before => return Ok(true),
                Some(_) => step = step.saturating_mul(2),
            }
        }
    }

    /// An event's deliveries, if all of them have ended before.
    fn ended(&self, seq: i64, (now, before): (Timestamp, Timestamp)) -> Fallible<Option<Vec<Ended>>> {
        let mut statement = self.conn.prepare_cached(&self.sql.deliveries_of)?;
        let mut rows = statement.query([seq])?;
        let mut ended = Vec::new();
        while let Some(row) = rows.next()? {
            let stored = rows::delivery(row)?;
            if !stored.record.is_settled(now) || stored.record.finished_at.is_none_or(|at| at >= before) {
                return Ok(None);
            }
            let due = stored.record.due.map(|_| stored.record.key.destination);
            ended.push(Ended { seq: stored.seq, due });
        }
        Ok(Some(ended))
    }

    fn forget_event(&mut self, event: &Candidate, deliveries: &[Ended], pruned: &mut Pruned) -> Fallible<()> {
        let (conn, sql) = (self.conn, self.sql);
        let mut bytes = event.bytes;
        for Ended { seq, due } in deliveries {
            let bodies = rows::all(conn, &sql.attempts_forget, [seq], |row| rows::int(row, 0))?;
            pruned.attempts += bodies.len() as u64;
            bytes += bodies.iter().sum::<i64>();
            rows::run(conn, &sql.delivery_forget, [seq])?;
            // It is not open, so its lane does not count it; but it may be the next one due.
            if let Some(destination) = due {
                self.refresh_lane(*destination, false)?;
            }
        }
        rows::run(conn, &sql.event_forget, [event.seq])?;
        pruned.events += 1;
        pruned.bytes += u64::try_from(bytes).unwrap_or(0);
        self.add_usage(event.tenant, -1, -bytes)
    }

    /// Gives free pages back to the file system, where the file was made for that; a host's file may not be.
    /// The file itself gets shorter when the log is next copied into it.
    fn give_back(&self) -> Fallible<()> {
        let number =
            |pragma: &str| -> Fallible<i64> { Ok(self.conn.query_row(pragma, [], |row| row.get::<_, i64>(0))?) };
        // 2: pages are given back when somebody asks.
        if number("PRAGMA main.auto_vacuum")? != 2 {
            return Ok(());
        }
        let spare = number("PRAGMA main.page_count")? / SPARE;
        let pages = (number("PRAGMA main.freelist_count")? - spare).min(PAGES);
        if pages > 0 {
            // One step for each page.
            let mut statement = self.conn.prepare(&format!("PRAGMA main.incremental_vacuum({pages})"))?;
            let mut steps = statement.query([])?;
            while steps.next()?.is_some() {}
        }
        Ok(())
    }
}
