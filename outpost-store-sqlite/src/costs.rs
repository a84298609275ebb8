//! What the hot path costs, in statements. Tests only: a statement too many is found here before a bench does.

use std::collections::BTreeMap;

use outpost_core::store::{Apply, Quota, Settle};
use rusqlite::{Connection, StatementStatus};

use crate::apply::ApplyWork;
use crate::ingest::IngestWork;
use crate::schema;
use crate::settle::SettleWork;
use crate::sql::Sql;
use crate::support::{at, ingest_of, new_attempt, new_destination, new_event, new_tenant};
use crate::tx::{Cache, Tx};

struct Bench {
    conn: Connection,
    sql: Sql,
    cache: Cache,
}

type Costs = BTreeMap<&'static str, i32>;

impl Bench {
    fn new() -> Self {
        let conn = Connection::open_in_memory().unwrap();
        conn.set_prepared_statement_cache_capacity(256);
        schema::migrate(&conn, "t_", |conn| Ok(conn.execute_batch("BEGIN IMMEDIATE")?)).unwrap();
        let mut bench = Self { conn, sql: Sql::new("t_"), cache: Cache::default() };
        let writes = vec![new_tenant(1), new_destination(1, 2), new_destination(1, 4)];
        let apply = ApplyWork::new(Apply { now: at(0), writes, follow_ups: Vec::new() }).unwrap();
        bench.commit(|tx| drop(tx.apply(&apply).unwrap()));
        bench
    }

    /// Which statements a transaction ran how often.
    fn commit(&mut self, job: impl FnOnce(&mut Tx<'_>)) -> Costs {
        self.runs();
        self.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut tx = Tx { conn: &self.conn, sql: &self.sql, cache: &mut self.cache };
        job(&mut tx);
        tx.flush().unwrap();
        self.conn.execute_batch("COMMIT").unwrap();
        self.runs()
    }

    fn runs(&self) -> Costs {
        let run = |text: &str| {
            let statement = self.conn.prepare_cached(text).unwrap();
            statement.reset_status(StatementStatus::Run)
        };
        self.sql.all().into_iter().map(|(name, text)| (name, run(text))).filter(|(_, runs)| *runs > 0).collect()
    }

    fn ingest(&mut self, round: usize, quota: Quota) -> Costs {
        let items = (0..100).map(|number| new_event(1, &format!("e{round}_{number}"), 2, &[2])).map(|mut item| {
            item.deliveries[0].hand_off = true;
            item
        });
        let mut request = ingest_of(items.collect());
        request.quota = quota;
        let work = IngestWork::new(request).unwrap();
        self.commit(|tx| drop(tx.ingest(&work).unwrap()))
    }

    fn settle(&mut self, round: usize) -> Costs {
        let items = (0..100).map(|number| new_attempt(2, &format!("e{round}_{number}"), 1, true, 15)).collect();
        let work = SettleWork::new(Settle { now: at(20), items }).unwrap();
        self.commit(|tx| drop(tx.settle(&work).unwrap()))
    }
}

#[test]
fn a_commit_of_a_hundred_events_and_one_of_their_attempts_cost_this_much() {
    let mut bench = Bench::new();
    bench.ingest(0, Quota::default());
    bench.settle(0);
    // Whatever is read once is known by now.
    let ingest = bench.ingest(1, Quota::default());
    let wanted: Costs =
        [("event_put", 100), ("delivery_put", 100), ("lane_put", 1), ("usage_put", 1), ("rollup_put", 6)].into();
    assert_eq!(ingest, wanted);
    let settle = bench.settle(1);
    let wanted: Costs = [
        ("delivery_by_key", 100),
        ("delivery_set", 100),
        ("attempt_put", 100),
        ("due_first", 1),
        ("lane_put", 1),
        ("usage_put", 1),
        ("rollup_put", 3),
    ]
    .into();
    assert_eq!(settle, wanted);
}

#[test]
fn a_quota_costs_one_look_at_a_tenant_and_is_followed_from_then_on() {
    let mut bench = Bench::new();
    let quota = Quota { open: Some(1_000_000), bytes: Some(1_000_000) };
    bench.ingest(0, Quota::default());
    bench.settle(0);
    let plain = bench.ingest(1, Quota::default());
    let first = bench.ingest(2, quota);
    assert_eq!(first.get("destinations_live_of"), Some(&1));
    bench.settle(1);
    assert_eq!(bench.ingest(3, quota), plain);
}
