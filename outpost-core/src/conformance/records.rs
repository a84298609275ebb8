//! Small records: preconditions and expiry.

use bytes::Bytes;

use super::support::{World, at, record};
use crate::ports::store::{Expect, Key, Refusal, Row, SmallRecord, Write};

async fn find(w: &World, kind: &str, key: &str) -> Option<SmallRecord> {
    match w.fetch(Key::Record(kind.to_owned(), key.to_owned())).await.pop() {
        None => None,
        Some(Row::Record(record)) => Some(record),
        Some(other) => panic!("a record's key answers a record, not {other:?}"),
    }
}

fn write(record: &SmallRecord, expect: Expect) -> Write {
    Write::PutRecord { record: record.clone(), expect }
}

pub(super) async fn a_small_record_is_read_back_whole(w: World) {
    let value: Bytes = (0..65_536_u32).map(|at| at.to_le_bytes()[0]).collect::<Vec<u8>>().into();
    let record = SmallRecord { value, expires_at: Some(at(1)), ..record(&"k".repeat(32), &"y".repeat(512), b"") };
    let revisions = w.done(vec![write(&record, Expect::Absent)]).await;
    let found = find(&w, &record.kind, &record.key).await.expect("it is stored");
    assert_eq!(revisions, [found.revision], "apply answers the revision that is stored");
    let wanted = SmallRecord { revision: found.revision, ..record };
    assert_eq!(found, wanted, "a record of the largest size is kept as it was given");
}

pub(super) async fn put_if_absent_never_overwrites(w: World) {
    w.done(vec![write(&record("token", "a", b"first"), Expect::Absent)]).await;
    let refusal = w.refused(write(&record("token", "a", b"second"), Expect::Absent)).await;
    assert_eq!(refusal, Refusal::Exists, "there is one already");
    let found = find(&w, "token", "a").await.expect("it is stored");
    assert_eq!(found.value, Bytes::from_static(b"first"), "the first one stands");
}

pub(super) async fn a_record_write_needs_the_named_revision(w: World) {
    let first = record("job", "a", b"1");
    let refusal = w.refused(write(&first, Expect::Revision(1))).await;
    assert_eq!(refusal, Refusal::Missing, "there is none at any revision");
    let revision = w.done(vec![write(&first, Expect::Absent)]).await[0];
    let second = record("job", "a", b"2");
    let refusal = w.refused(write(&second, Expect::Revision(revision + 1))).await;
    assert_eq!(refusal, Refusal::Stale { found: revision }, "it is at another revision");
    let next = w.done(vec![write(&second, Expect::Revision(revision))]).await[0];
    assert_eq!(next, revision + 1, "a write raises the revision by one");
    let found = find(&w, "job", "a").await.expect("it is stored");
    assert_eq!((found.value, found.revision), (Bytes::from_static(b"2"), next), "the write at its revision counts");
}

pub(super) async fn any_writes_a_record_whether_it_exists_or_not(w: World) {
    let first = w.done(vec![write(&record("meta", "a", b"1"), Expect::Any)]).await[0];
    let second = w.done(vec![write(&record("meta", "a", b""), Expect::Any)]).await[0];
    assert_eq!(second, first + 1, "a write raises the revision by one");
    assert_eq!(find(&w, "meta", "a").await.expect("it is stored").value, Bytes::new(), "an empty value is a value");
}

pub(super) async fn an_expired_record_counts_as_absent(w: World) {
    let expiring = SmallRecord { expires_at: Some(at(100)), ..record("guard", "a", b"1") };
    w.done(vec![write(&expiring, Expect::Absent)]).await;
    w.set(99);
    assert!(find(&w, "guard", "a").await.is_some(), "until it expires it is there");
    assert_eq!(w.refused(write(&expiring, Expect::Absent)).await, Refusal::Exists, "and taken");
    w.set(100);
    assert_eq!(find(&w, "guard", "a").await, None, "from its expiry on it counts as absent");
    assert_eq!(w.refused(write(&expiring, Expect::Revision(1))).await, Refusal::Missing, "also for a precondition");
    w.done(vec![write(&record("guard", "a", b"2"), Expect::Absent)]).await;
    w.set(1_000_000);
    let found = find(&w, "guard", "a").await.expect("what was put in its place stays");
    assert_eq!((found.value, found.expires_at), (Bytes::from_static(b"2"), None));
}

pub(super) async fn deleting_a_record_is_never_an_error(w: World) {
    let delete = Write::DeleteRecord { kind: "k".into(), key: "a".into() };
    w.done(vec![write(&record("k", "a", b"1"), Expect::Any), delete.clone(), delete]).await;
    assert_eq!(find(&w, "k", "a").await, None, "it is gone");
    w.done(vec![write(&record("k", "a", b"2"), Expect::Absent)]).await;
}

pub(super) async fn record_kinds_do_not_mix(w: World) {
    w.done(vec![write(&record("a", "bc", b"1"), Expect::Absent), write(&record("ab", "c", b"2"), Expect::Absent)])
        .await;
    assert_eq!(find(&w, "a", "bc").await.expect("stored").value, Bytes::from_static(b"1"), "kind and key both count");
    assert_eq!(find(&w, "a", "BC").await, None, "keys differ by case");
    w.done(vec![Write::DeleteRecord { kind: "a".into(), key: "bc".into() }]).await;
    assert!(find(&w, "ab", "c").await.is_some(), "deleting one leaves the other");
}

pub(super) async fn a_sweep_removes_expired_records_only(w: World) {
    for (key, expires_at) in [("a", Some(at(1))), ("b", Some(at(2))), ("c", None)] {
        w.done(vec![write(&SmallRecord { expires_at, ..record("k", key, b"1") }, Expect::Absent)]).await;
    }
    assert_eq!(w.sweep(10).await.changed, 0, "nothing has expired");
    w.set(1);
    let swept = w.sweep(10).await;
    assert_eq!((swept.changed, swept.more), (1, false), "one has expired");
    assert!(find(&w, "k", "b").await.is_some(), "what has not expired is left");
    w.set(1000);
    assert_eq!(w.sweep(10).await.changed, 1, "the second one has expired");
    assert!(find(&w, "k", "c").await.is_some(), "what never expires is left");
}

/// The keys of the records of a kind that start with this, in the order that they are found.
async fn keys(w: &World, kind: &str, prefix: &str) -> Vec<String> {
    let rows = w.fetch(Key::Records(kind.to_owned(), prefix.to_owned())).await;
    let record = |row| match row {
        Row::Record(record) if record.kind == kind => record.key,
        other => panic!("records of {kind} were asked for, not {other:?}"),
    };
    rows.into_iter().map(record).collect()
}

async fn create(w: &World, kind: &str, names: &[&str]) {
    let writes = names.iter().map(|name| write(&record(kind, name, b"1"), Expect::Absent));
    w.done(writes.collect()).await;
}

pub(super) async fn records_are_found_by_the_start_of_their_key(w: World) {
    create(&w, "job", &["b", "ab", "a", "abc", "ac", "ü", "üb", "B", "abc/2", "abc/10"]).await;
    create(&w, "jobs", &["abd"]).await;
    create(&w, "jo", &["abd"]).await;
    let all = ["B", "a", "ab", "abc", "abc/10", "abc/2", "ac", "b", "ü", "üb"];
    assert_eq!(keys(&w, "job", "").await, all, "those of one kind, in the order of their keys");
    assert_eq!(keys(&w, "job", "ab").await, ["ab", "abc", "abc/10", "abc/2"], "the key itself is among them");
    assert_eq!(keys(&w, "job", "ü").await, ["ü", "üb"]);
    assert_eq!(keys(&w, "job", "abd").await, [""; 0], "there is none");
    assert_eq!(keys(&w, "none", "").await, [""; 0]);
    let found = w.fetch(Key::Records("job".to_owned(), "abc/".to_owned())).await;
    let one = async |key: &str| Row::Record(find(&w, "job", key).await.expect("it is stored"));
    assert_eq!(found, [one("abc/10").await, one("abc/2").await], "they are the same records as by their keys");
}

pub(super) async fn the_start_of_a_key_is_literal(w: World) {
    create(&w, "k", &["a%", "a%b", "a_", "a_b", "axb", "A%", "a*", "a[b]", "a\\%", "a'", "\u{10ffff}a", "~"]).await;
    assert_eq!(keys(&w, "k", "a%").await, ["a%", "a%b"], "% is a character");
    assert_eq!(keys(&w, "k", "a_").await, ["a_", "a_b"], "and so is _");
    assert_eq!(keys(&w, "k", "%").await, [""; 0]);
    assert_eq!(keys(&w, "k", "A").await, ["A%"], "keys differ by case");
    assert_eq!(keys(&w, "k", "a*").await, ["a*"]);
    assert_eq!(keys(&w, "k", "a[").await, ["a[b]"]);
    assert_eq!(keys(&w, "k", "a\\").await, ["a\\%"]);
    assert_eq!(keys(&w, "k", "a'").await, ["a'"]);
    assert_eq!(keys(&w, "k", "\u{10ffff}").await, ["\u{10ffff}a"], "the last character there is has none after it");
}

pub(super) async fn expired_records_are_not_found_by_the_start_of_their_key(w: World) {
    for (key, expires_at) in [("a1", Some(at(100))), ("a2", None), ("a3", Some(at(101)))] {
        w.done(vec![write(&SmallRecord { expires_at, ..record("k", key, b"1") }, Expect::Absent)]).await;
    }
    w.set(99);
    assert_eq!(keys(&w, "k", "a").await, ["a1", "a2", "a3"]);
    w.set(100);
    assert_eq!(keys(&w, "k", "a").await, ["a2", "a3"], "from its expiry on a record counts as absent");
    w.sweep_all(10).await;
    assert_eq!(keys(&w, "k", "a").await, ["a2", "a3"], "a sweep changes nothing of it");
}

pub(super) async fn a_thousand_records_are_found_at_most(w: World) {
    let gone =
        (0..5).map(|number| SmallRecord { expires_at: Some(at(1)), ..record("k", &format!("a{number:04}"), b"") });
    let live = (5..1010).map(|number| record("k", &format!("a{number:04}"), b""));
    w.done(gone.chain(live).map(|record| write(&record, Expect::Absent)).collect()).await;
    w.set(1);
    let found = keys(&w, "k", "a").await;
    assert_eq!(found.len(), 1000, "so many and no more");
    assert_eq!((&*found[0], &*found[999]), ("a0005", "a1004"), "the first ones; what has expired takes no place");
    assert_eq!(keys(&w, "k", "a1").await.len(), 10, "a longer start finds the rest");
}
