//! Reading rollups and deleting old ones.

use super::rollups::{events_of, one_a_minute, starts};
use super::support::{World, at};
use crate::domain::rollup::{Level, RollupKey, Tally};
use crate::ports::store::Rollups;
use crate::values::time::Timestamp;

pub(super) async fn an_empty_store_has_no_rollups(w: World) {
    for level in Level::ALL {
        for events in [true, false] {
            assert_eq!(w.rollup_rows(w.rollups_of(level, events)).await, [], "nothing was counted");
        }
    }
}

pub(super) async fn every_level_counts(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 1).await.remove(0);
    w.set(61_000);
    w.succeed(&held).await;
    let day = Level::Day.start_of(at(0));
    assert!(day < at(0), "the world does not begin with a day");
    for (level, event, attempt) in
        [(Level::Minute, at(0), at(60_000)), (Level::Hour, at(0), at(0)), (Level::Day, day, day)]
    {
        let found = w.tallies(level, true).await;
        let key = RollupKey { level, start: event, ..events_of(&tenant, Some(&destination)) };
        assert_eq!(found.get(&key), Some(&Tally::of_event()), "{level:?}: the event counts where it belongs");
        assert_eq!(found.len(), 2, "{level:?}: for itself and for its destination");
        let found: Vec<RollupKey> = w.tallies(level, false).await.into_keys().collect();
        let key = found.first().expect("the attempt counts");
        assert_eq!((found.len(), key.level, key.start), (1, level, attempt), "{level:?}: the attempt by its own time");
        assert_eq!((key.tenant, key.destination), (tenant.incarnation, Some(destination.incarnation)));
    }
}

pub(super) async fn a_tenants_rollups_are_its_own(w: World) {
    let (first, one) = w.acme().await;
    let second = w.tenant("other").await;
    let two = w.destination(&second, "des_1").await;
    for (tenant, destination) in [(&first, &one), (&second, &two)] {
        w.succeed(&w.held(tenant, destination, 1).await.remove(0)).await;
    }
    let third = w.tenant("third").await;
    for events in [true, false] {
        for (tenant, count) in [(&first, 1), (&second, 1), (&third, 0)] {
            let own = Rollups { tenant: Some(tenant.incarnation), ..w.rollups_of(Level::Hour, events) };
            let found = w.rollup_rows(own).await;
            assert!(found.iter().all(|(key, _)| key.tenant == tenant.incarnation), "no rollup is another tenant's");
            assert_eq!(found.len(), if events { 2 * count } else { count }, "and all of its own are found");
        }
        let all = w.rollup_rows(w.rollups_of(Level::Hour, events)).await;
        assert_eq!(all.len(), if events { 4 } else { 2 }, "without a tenant everybody's are found");
    }
}

pub(super) async fn rollups_from_is_inclusive_and_until_exclusive(w: World) {
    let tenant = w.tenant("acme").await;
    let minutes = one_a_minute(&w, &tenant, 5).await;
    let between = async |from: i64, until: i64| {
        let request = Rollups { from: at(from), until: at(until), ..w.rollups_of(Level::Minute, true) };
        starts(&w.rollup_rows(request).await).into_iter().map(|(start, _)| start).collect::<Vec<_>>()
    };
    assert_eq!(between(60_000, 180_000).await, minutes[1..3], "the start of a rollup decides");
    assert_eq!(between(60_001, 180_001).await, minutes[2..4], "one that starts before is not wanted, however long");
    assert_eq!(between(60_000, 60_000).await, [], "no time is no rollup");
    assert_eq!(between(180_000, 60_000).await, [], "nor is time that runs backwards");
    assert_eq!(between(-1, 1_000_000).await, minutes);
}

pub(super) async fn rollups_are_ordered_and_limited(w: World) {
    let tenant = w.tenant("acme").await;
    let other = w.tenant("other").await;
    let minutes = one_a_minute(&w, &tenant, 5).await;
    one_a_minute(&w, &other, 2).await;
    let read = async |tenant, limit| {
        let request = Rollups { tenant, limit, ..w.rollups_of(Level::Minute, true) };
        let found = w.store.rollups(request).await.expect("rollups");
        let starts: Vec<Timestamp> = starts(&found.rows).into_iter().map(|(start, _)| start).collect();
        (starts, found.more)
    };
    let own = Some(tenant.incarnation);
    assert_eq!(read(own, 3).await, (minutes[..3].to_vec(), true), "the first ones, and that there are more");
    assert_eq!(read(own, 5).await, (minutes.clone(), false), "exactly as many as there are");
    assert_eq!(read(own, 1).await, (minutes[..1].to_vec(), true));
    let twice = [minutes[0], minutes[0], minutes[1], minutes[1]];
    assert_eq!(read(None, 4).await, (twice.to_vec(), true), "time orders the rollups of several tenants");
}

pub(super) async fn a_sweep_deletes_old_rollups_of_each_level(w: World) {
    let (tenant, destination) = w.acme().await;
    let hour = 3_600_000;
    for millis in [0, 60_000, hour, 30 * hour] {
        w.set(millis);
        w.succeed(&w.held(&tenant, &destination, 1).await.remove(0)).await;
    }
    let read = async |level, events| {
        let rows = w.rollup_rows(w.rollups_of(level, events)).await;
        let mut starts: Vec<Timestamp> = starts(&rows).into_iter().map(|(start, _)| start).collect();
        starts.dedup();
        starts
    };
    let days = [at(0), at(30 * hour)].map(|time| Level::Day.start_of(time));
    w.sweep_all(100).await;
    for events in [true, false] {
        let found = (read(Level::Minute, events).await.len(), read(Level::Hour, events).await.len());
        assert_eq!(found, (4, 3), "no rollup is older than the beginning of time");
    }
    w.sweep_all_with(100, [at(60_000), at(0), days[1]]).await;
    for events in [true, false] {
        let found = read(Level::Minute, events).await;
        assert_eq!(found, [at(60_000), at(hour), at(30 * hour)], "those that start before go, not those at the time");
        assert_eq!(
            read(Level::Hour, events).await,
            [at(0), at(hour), at(30 * hour)],
            "each level has a time of its own"
        );
        assert_eq!(read(Level::Day, events).await, [days[1]]);
    }
    w.sweep_all_with(100, [Timestamp::MAX, Timestamp::MIN, Timestamp::MIN]).await;
    assert_eq!(read(Level::Minute, true).await, [], "all minutes are old");
    assert_eq!(read(Level::Hour, true).await.len(), 3, "the rest is left");
    assert_eq!(w.usage(&tenant).await.events, 4, "and so are the events");
}

pub(super) async fn a_sweep_of_rollups_is_bounded(w: World) {
    let tenant = w.tenant("acme").await;
    one_a_minute(&w, &tenant, 25).await;
    let old = [Timestamp::MAX, Timestamp::MIN, Timestamp::MIN];
    let mut left = 25;
    for _ in 0..30 {
        let swept = w.sweep_with(10, old).await;
        let now = w.tallies(Level::Minute, true).await.len();
        assert_eq!(left - now, swept.changed as usize, "it tells how many it has deleted");
        left = now;
        assert_eq!(swept.more, left > 0, "and whether there are more");
        if !swept.more {
            break;
        }
    }
    assert_eq!(left, 0, "it comes to an end");
    assert_eq!(w.tallies(Level::Hour, true).await.len(), 1, "another level is left alone");
}
