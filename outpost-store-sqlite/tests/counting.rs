//! Rollups, usage and quotas: counted in memory, written once, and never lost or counted twice.

#![allow(missing_docs)]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test reports by panicking")]

mod support;

use std::path::PathBuf;

use outpost_core::rollup::Level;
use outpost_core::store::{Apply, ApplyOutcome, IngestOutcome, Quota, Rollups, Sweep, Usage};
use outpost_core::{Store as _, Timestamp};
use outpost_store_sqlite::SqliteStore;
use rusqlite::Connection;
use support::{
    apply, at, claim, counted, every_rollup, ingest, ingest_of, life, new_attempt, new_destination, new_event,
    new_tenant, prepare, settle, usage,
};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    Place { path: folder.path().join("s.db"), _folder: folder }
}

/// Counts the rows that are written, by triggers of the host.
fn watch(conn: &Connection) {
    conn.execute_batch("CREATE TABLE written (what TEXT)").expect("makes a table");
    for table in ["rollups", "usage", "lanes"] {
        for change in ["INSERT", "UPDATE"] {
            conn.execute_batch(&format!(
                "CREATE TRIGGER watch_{table}_{change} AFTER {change} ON outpost_{table}
                 BEGIN INSERT INTO written VALUES ('{table}'); END"
            ))
            .expect("makes a trigger");
        }
    }
}

/// How many rows of a table were written since the last call.
fn written(conn: &Connection, table: &str) -> i64 {
    let count =
        conn.query_row("SELECT count(*) FROM written WHERE what = ?1", [table], |row| row.get(0)).expect("counts");
    conn.execute("DELETE FROM written WHERE what = ?1", [table]).expect("forgets");
    count
}

#[tokio::test]
async fn a_batch_writes_each_rollup_usage_and_lane_once() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    let conn = Connection::open(&place.path).expect("opens");
    watch(&conn);
    for round in 0..3 {
        let names: Vec<String> = (0..100).map(|number| format!("e{round}_{number}")).collect();
        ingest(&store, names.iter().map(|id| new_event(1, id, 1, &[2])).collect()).await;
        // In three levels, for the events themselves and for the destination.
        assert_eq!(written(&conn, "rollups"), 6);
        assert_eq!((written(&conn, "usage"), written(&conn, "lanes")), (1, 1));
        assert_eq!(claim(&store, 9, 100).await.deliveries.len(), 100);
        written(&conn, "lanes");
        settle(&store, names.iter().map(|id| new_attempt(2, id, 9, true, 15)).collect()).await;
        assert_eq!(written(&conn, "rollups"), 3);
        assert_eq!((written(&conn, "usage"), written(&conn, "lanes")), (1, 1));
    }
    for level in Level::ALL {
        assert_eq!(counted(&store, level).await, (300, 300));
    }
}

#[tokio::test]
async fn counts_go_on_after_reopening() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    ingest(&store, vec![new_event(1, "a", 1, &[2]), new_event(1, "b", 1, &[2])]).await;
    claim(&store, 9, 10).await;
    settle(&store, vec![new_attempt(2, "a", 9, false, 15)]).await;
    let before = every_rollup(&store, Level::Minute, Some(1)).await;
    let used = usage(&store, 1).await;
    assert_eq!(used, Usage { events: 2, bytes: 2 * 8 + 2, open: 1 });
    store.close().await.expect("closes");
    let store = SqliteStore::open(&place.path).await.expect("opens");
    assert_eq!((every_rollup(&store, Level::Minute, Some(1)).await, usage(&store, 1).await), (before, used));
    settle(&store, vec![new_attempt(2, "b", 9, false, 16)]).await;
    ingest(&store, vec![new_event(1, "c", 1, &[2])]).await;
    for level in Level::ALL {
        assert_eq!(counted(&store, level).await, (3, 2));
        let rows = every_rollup(&store, level, None).await;
        assert_eq!(rows.len(), 3, "events, events of the destination, attempts that ended alike");
        assert_eq!(rows[2].1.firsts, 2);
        assert!(rows[2].1.latency.quantile(0.5).is_some());
    }
    assert_eq!(usage(&store, 1).await, Usage { events: 3, bytes: 3 * 8 + 4, open: 1 });
}

#[tokio::test]
async fn two_handles_count_into_the_same_rows() {
    let place = place();
    let one = SqliteStore::open(&place.path).await.expect("opens");
    let two = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&one).await;
    for number in 0..20 {
        let store = if number % 3 == 0 { &one } else { &two };
        ingest(store, vec![new_event(1, &format!("e{number}"), 1, &[2])]).await;
    }
    assert_eq!(counted(&one, Level::Day).await, (20, 0));
    assert_eq!(usage(&two, 1).await, Usage { events: 20, bytes: 160, open: 20 });
}

#[tokio::test]
async fn what_is_rolled_back_beside_others_in_one_commit_takes_no_counts_with_it() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    let refused = || Apply {
        now: at(0),
        // The second is refused after the first has been written.
        writes: vec![new_tenant(50), new_tenant(1)],
        follow_ups: vec![new_event(1, "never", 1, &[2])],
    };
    for number in 0..30 {
        let [first, second] = [format!("a{number}"), format!("b{number}")];
        let (before, nothing, after) = tokio::join!(
            store.ingest(ingest_of(vec![new_event(1, &first, 1, &[2])])),
            store.apply(refused()),
            store.ingest(ingest_of(vec![new_event(1, &second, 1, &[2])])),
        );
        assert!(matches!(nothing.expect("answers"), ApplyOutcome::Refused { index: 1, .. }));
        assert!(matches!(before.expect("ingests")[0], IngestOutcome::Stored { .. }));
        assert!(matches!(after.expect("ingests")[0], IngestOutcome::Stored { .. }));
    }
    assert!(store.commits() < 80, "they were to be committed together");
    assert_eq!(counted(&store, Level::Hour).await, (60, 0));
    assert_eq!(usage(&store, 1).await, Usage { events: 60, bytes: 480, open: 60 });
}

#[tokio::test]
async fn a_quota_counts_what_the_same_batch_stored_before() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    apply(&store, vec![new_tenant(1), new_tenant(3), new_destination(1, 2), new_destination(1, 4)]).await;
    // Every event here has 8 bytes.
    ingest(&store, vec![new_event(1, "first", 2, &[2, 4])]).await;
    let batch = |quota| {
        let mut request = ingest_of(vec![
            new_event(1, "a", 2, &[2]),
            new_event(1, "b", 2, &[2, 4]),
            new_event(1, "first", 2, &[2]),
            new_event(1, "c", 2, &[4]),
            new_event(1, "old", 1, &[4]),
            new_event(1, "none", 2, &[]),
            new_event(3, "d", 0, &[]),
        ]);
        request.quota = quota;
        request
    };
    let open = Quota { open: Some(4), bytes: None };
    let outcomes = store.ingest(batch(open)).await.expect("ingests");
    let over = |events, open| IngestOutcome::OverQuota { usage: Usage { events, bytes: events * 8, open } };
    let stored = |count| IngestOutcome::Stored { leased: vec![false; count] };
    assert_eq!(outcomes[0], stored(1));
    assert_eq!(outcomes[1], over(2, 3), "3 and 2 are more than 4");
    assert!(matches!(outcomes[2], IngestOutcome::Duplicate { .. }), "what is stored is not over any quota");
    assert_eq!(outcomes[3], stored(1), "3 and 1 are not");
    assert_eq!(outcomes[4], IngestOutcome::Outdated);
    assert_eq!(outcomes[5], stored(0), "it opens nothing");
    assert_eq!(outcomes[6], stored(0), "each tenant has its own");
    // Taking deliveries out of the lanes makes room; disabling the lot does as well.
    assert_eq!(claim(&store, 9, 100).await.deliveries.len(), 4);
    settle(&store, vec![new_attempt(2, "a", 9, true, 15), new_attempt(4, "c", 9, true, 15)]).await;
    let mut again = ingest_of(vec![new_event(1, "b", 2, &[2, 4]), new_event(1, "e", 2, &[2])]);
    again.quota = open;
    assert_eq!(store.ingest(again).await.expect("ingests"), [stored(2), over(5, 4).with_bytes(4)]);
    let mut tight = ingest_of(vec![new_event(1, "f", 2, &[]), new_event(1, "g", 2, &[])]);
    tight.quota = Quota { open: None, bytes: Some(5 * 8 + 4 + 8) };
    assert_eq!(store.ingest(tight).await.expect("ingests"), [stored(0), over(6, 4).with_bytes(4)]);
    assert_eq!(usage(&store, 1).await, Usage { events: 6, bytes: 52, open: 4 });
}

trait WithBytes {
    /// The same with bytes of answers on top.
    fn with_bytes(self, more: u64) -> Self;
}

impl WithBytes for IngestOutcome {
    fn with_bytes(self, more: u64) -> Self {
        match self {
            Self::OverQuota { usage } => Self::OverQuota { usage: Usage { bytes: usage.bytes + more, ..usage } },
            other => other,
        }
    }
}

#[tokio::test]
async fn pages_of_rollups_are_in_order_and_say_when_there_is_more() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    apply(&store, vec![new_tenant(1), new_tenant(3), new_destination(1, 2), new_destination(3, 4)]).await;
    let mut items = Vec::new();
    for minute in (0..10).rev() {
        for (tenant, destination) in [(1, 2), (3, 4)] {
            let mut item = new_event(tenant, &format!("e{minute}"), 1, &[destination]);
            std::sync::Arc::make_mut(&mut item.event).time = at(minute * 60_000);
            items.push(item);
        }
    }
    ingest(&store, items).await;
    let request = |tenant: Option<i64>, limit| Rollups {
        level: Level::Minute,
        events: true,
        tenant: tenant.map(life),
        from: Level::Minute.start_of(at(2 * 60_000)),
        until: Level::Minute.start_of(at(8 * 60_000)),
        limit,
    };
    for (tenant, all) in [(Some(3), 12), (None, 24)] {
        let whole = store.rollups(request(tenant, all)).await.expect("reads");
        assert_eq!((whole.rows.len(), whole.more), (all as usize, false));
        assert!(whole.rows.windows(2).all(|pair| pair[0].0.start <= pair[1].0.start));
        let part = store.rollups(request(tenant, all - 1)).await.expect("reads");
        assert!(part.more);
        assert_eq!(part.rows[..], whole.rows[..part.rows.len()]);
    }
}

#[tokio::test]
async fn rollups_that_were_swept_do_not_come_back() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    ingest(&store, vec![new_event(1, "a", 1, &[2])]).await;
    let later = at(120_000);
    let sweep = |limit, before| Sweep { now: later, limit, rollups_before: before };
    // Only the minute is old, and one row at a time.
    let minute = [later, Timestamp::MIN, Timestamp::MIN];
    for (limit, changed, more) in [(0, 0, true), (1, 1, true), (1, 1, false), (1, 0, false)] {
        let swept = store.sweep(sweep(limit, minute)).await.expect("sweeps");
        assert_eq!((swept.changed, swept.more), (changed, more));
    }
    assert_eq!(counted(&store, Level::Minute).await, (0, 0));
    assert_eq!(counted(&store, Level::Hour).await, (1, 0));
    // A late event of the same minute counts alone there, and on top elsewhere.
    ingest(&store, vec![new_event(1, "b", 1, &[2])]).await;
    assert_eq!(counted(&store, Level::Minute).await, (1, 0));
    assert_eq!(counted(&store, Level::Hour).await, (2, 0));
    let swept = store.sweep(sweep(100, [Timestamp::MAX; 3])).await.expect("sweeps");
    assert_eq!((swept.changed, swept.more), (6, false));
    for level in Level::ALL {
        assert_eq!(counted(&store, level).await, (0, 0));
    }
}
