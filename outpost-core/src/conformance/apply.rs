//! Writes of tenants and destinations: preconditions, limits, whole batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::support::{World, put};
use crate::domain::destination::{Disabled, DisabledBy};
use crate::domain::retry::{RetryPolicy, Schedule};
use crate::domain::settings::{DeliverySettings, RateLimit};
use crate::domain::tenant::Tenant;
use crate::domain::topic::Topics;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{ApplyOutcome, Expect, Key, Refusal, Row, Write};
use crate::values::secret::Sealed;

pub(super) async fn a_created_tenant_is_read_back_whole(w: World) {
    let tenant = Tenant { updated_at: super::support::at(7), ..w.new_tenant("acme:1@x.y|z~-") };
    let revision = w.done(vec![Write::PutTenant { tenant: tenant.clone(), expect: Expect::Absent }]).await;
    let found = w.find_tenant(tenant.incarnation).await;
    assert_eq!(revision, [found.revision], "apply answers the revision that is stored");
    let wanted = Tenant { revision: found.revision, subscriptions: found.subscriptions, ..tenant };
    assert_eq!(found, wanted, "a tenant is kept as it was given");
    let by_id = w.fetch(Key::Tenant(found.id.clone())).await;
    assert_eq!(by_id, [crate::store::Row::Tenant(found)], "the living tenant is found by its id");
}

pub(super) async fn a_tenant_id_is_taken_while_it_lives(w: World) {
    let first = w.tenant("acme").await;
    let second = w.new_tenant("acme");
    let put = Write::PutTenant { tenant: second.clone(), expect: Expect::Absent };
    assert_eq!(w.refused(put.clone()).await, Refusal::Exists, "a living tenant has the id");
    w.delete_tenant(&first).await;
    w.done(vec![put]).await;
    let found = w.fetch(Key::Tenant(first.id.clone())).await;
    assert_eq!(found.len(), 1, "only the living one is found by the id");
    assert_eq!(w.find_tenant(second.incarnation).await.deleted_at, None);
    assert_eq!(w.find_tenant(first.incarnation).await.deleted_at, Some(w.now()), "the earlier life stays deleted");
}

pub(super) async fn changing_a_tenant_raises_its_revision_by_one(w: World) {
    let tenant = w.tenant("acme").await;
    w.destination(&tenant, "des_1").await;
    let before = w.find_tenant(tenant.incarnation).await;
    let metadata = BTreeMap::from([("plan".to_owned(), "pro".to_owned())]);
    // What the caller says of the revision and the subscriptions does not count.
    let changed = Tenant { metadata, revision: 77, subscriptions: 99, ..before.clone() };
    let expect = Expect::Revision(before.revision);
    let revisions = w.done(vec![Write::PutTenant { tenant: changed.clone(), expect }]).await;
    let found = w.find_tenant(tenant.incarnation).await;
    assert_eq!(revisions, [before.revision + 1], "a change raises the revision by one");
    assert_eq!(found.revision, before.revision + 1, "the answered revision is the stored one");
    assert_eq!(found.subscriptions, before.subscriptions, "the tenant's own change leaves its subscriptions alone");
    assert_eq!(found.metadata, changed.metadata, "the change is written");
}

pub(super) async fn a_stale_tenant_write_is_refused(w: World) {
    let tenant = w.tenant("acme").await;
    let changed = Tenant { metadata: BTreeMap::new(), ..tenant.clone() };
    let expect = Expect::Revision(tenant.revision + 1);
    let refusal = w.refused(Write::PutTenant { tenant: changed, expect }).await;
    assert_eq!(refusal, Refusal::Stale { found: tenant.revision }, "the tenant is at another revision");
    assert_eq!(w.find_tenant(tenant.incarnation).await, tenant, "a refused write changes nothing");
}

pub(super) async fn changing_a_tenant_needs_its_living_incarnation(w: World) {
    let unknown = w.new_tenant("acme");
    for expect in [Expect::Any, Expect::Revision(1)] {
        let refusal = w.refused(Write::PutTenant { tenant: unknown.clone(), expect }).await;
        assert_eq!(refusal, Refusal::Missing, "there is no such tenant to change");
    }
    let first = w.tenant("acme").await;
    w.delete_tenant(&first).await;
    w.tenant("acme").await;
    let refusal = w.refused(Write::PutTenant { tenant: first, expect: Expect::Any }).await;
    assert_eq!(refusal, Refusal::Missing, "the incarnation is deleted, though its id lives again");
}

pub(super) async fn a_created_destination_is_read_back_whole(w: World) {
    let tenant = w.tenant("acme").await;
    let disabled =
        Disabled {
            at: w.now(), by: DisabledBy::OperatorLock, reason: "“gesperrt”\n\t0".to_owned(), last_error: None
        };
    let destination = DestinationRecord {
        topics: Topics::all(),
        config: Sealed::new((0..=255_u8).collect::<Vec<u8>>()),
        credentials: Sealed::default(),
        delivery_metadata: Sealed::new(vec![0; 5000]),
        metadata: BTreeMap::from([("ключ".to_owned(), "a\u{1f469}\u{200d}z".to_owned())]),
        disabled: Some(disabled),
        epoch: 3,
        epoch_at: super::support::at(-5),
        ..w.new_destination(&tenant, "des_1")
    };
    let revisions = w.done(vec![put(&destination, Expect::Absent)]).await;
    let found = w.find_destination(destination.incarnation).await;
    let wanted = DestinationRecord { revision: found.revision, ..destination };
    assert_eq!(found, wanted, "a destination is kept as it was given");
    assert_eq!(revisions, [found.revision], "apply answers the revision that is stored");
    let by_id = w.fetch(Key::Destination(tenant.incarnation, found.id.clone())).await;
    assert_eq!(by_id, [crate::store::Row::Destination(Box::new(found))], "it is found by its id");
    let plain = DestinationRecord { name: None, metadata: BTreeMap::new(), ..w.new_destination(&tenant, "des_2") };
    w.create(&plain).await;
    let found = w.find_destination(plain.incarnation).await;
    assert_eq!(found, DestinationRecord { revision: found.revision, ..plain }, "empty fields stay empty");
}

pub(super) async fn a_destination_needs_a_living_tenant(w: World) {
    let tenant = w.new_tenant("acme");
    let destination = w.new_destination(&tenant, "des_1");
    assert_eq!(w.refused(put(&destination, Expect::Absent)).await, Refusal::Missing, "there is no such tenant");
    let (tenant, old) = w.acme().await;
    w.delete_tenant(&tenant).await;
    let late = w.new_destination(&tenant, "des_2");
    assert_eq!(w.refused(put(&late, Expect::Absent)).await, Refusal::Missing, "the tenant is deleted");
    assert_eq!(w.refused(put(&old, Expect::Any)).await, Refusal::Missing, "the destination went with its tenant");
}

pub(super) async fn a_destination_id_is_taken_within_its_tenant_only(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.new_destination(&tenant, "des_1");
    assert_eq!(w.refused(put(&second, Expect::Absent)).await, Refusal::Exists, "a living destination has the id");
    let other = w.tenant("other").await;
    w.destination(&other, "des_1").await;
    w.delete(&first).await;
    w.done(vec![put(&second, Expect::Absent)]).await;
    let found = w.fetch(Key::Destination(tenant.incarnation, first.id.clone())).await;
    assert!(
        matches!(&found[..], [crate::store::Row::Destination(found)] if found.incarnation == second.incarnation),
        "the id names the living destination"
    );
}

pub(super) async fn a_change_of_a_destination_is_written_whole(w: World) {
    let (_, before) = w.acme().await;
    let changed = DestinationRecord {
        name: None,
        topics: Topics::all(),
        config: Sealed::new(&b"new"[..]),
        credentials: Sealed::new(&b"new secret"[..]),
        delivery_metadata: Sealed::new(&b"{}"[..]),
        metadata: BTreeMap::new(),
        target: "elsewhere".to_owned(),
        updated_at: super::support::at(50),
        revision: 1234,
        ..before.clone()
    };
    let revisions = w.done(vec![put(&changed, Expect::Revision(before.revision))]).await;
    assert_eq!(revisions, [before.revision + 1], "a change raises the revision by one");
    let found = w.find_destination(before.incarnation).await;
    let wanted = DestinationRecord { revision: before.revision + 1, ..changed };
    assert_eq!(found, wanted, "every field is as it was written; the revision is the store's");
}

pub(super) async fn a_stale_destination_write_is_refused(w: World) {
    let (tenant, before) = w.acme().await;
    w.disable(&before).await;
    let found = w.find_destination(before.incarnation).await;
    let subscriptions = w.find_tenant(tenant.incarnation).await.subscriptions;
    let refusal = w.refused(put(&before, Expect::Revision(before.revision))).await;
    assert_eq!(refusal, Refusal::Stale { found: found.revision }, "somebody else has changed it meanwhile");
    assert_eq!(w.find_destination(before.incarnation).await, found, "a refused write changes nothing");
    assert_eq!(w.find_tenant(tenant.incarnation).await.subscriptions, subscriptions, "not the subscriptions either");
}

pub(super) async fn every_write_of_a_destination_raises_subscriptions_by_one(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.tenant("other").await;
    let mut before = w.find_tenant(tenant.incarnation).await.subscriptions;
    for step in ["change", "disable", "enable", "delete", "create"] {
        match step {
            "change" => drop(w.done(vec![put(&destination, Expect::Any)]).await),
            "disable" => w.disable(&destination).await,
            "enable" => w.enable(&destination).await,
            "delete" => w.delete(&destination).await,
            _ => drop(w.destination(&tenant, "des_2").await),
        }
        let after = w.find_tenant(tenant.incarnation).await;
        assert_eq!(after.subscriptions, before + 1, "to {step} a destination raises the tenant's subscriptions by one");
        assert_eq!(after.revision, tenant.revision, "to {step} a destination leaves the tenant's revision alone");
        before = after.subscriptions;
    }
    assert_eq!(w.find_tenant(other.incarnation).await, other, "another tenant is not concerned");
}

pub(super) async fn the_limit_counts_living_destinations(w: World) {
    let (tenant, first) = w.acme().await;
    let other = w.tenant("other").await;
    let limited = |tenant: &Tenant, id: &str| Write::PutDestination {
        destination: Box::new(w.new_destination(tenant, id)),
        expect: Expect::Absent,
        limit: Some(2),
    };
    w.done(vec![limited(&tenant, "des_2")]).await;
    let refusal = w.refused(limited(&tenant, "des_3")).await;
    assert_eq!(refusal, Refusal::LimitReached { limit: 2 }, "the third of two is refused");
    w.disable(&first).await;
    let refusal = w.refused(limited(&tenant, "des_3")).await;
    assert_eq!(refusal, Refusal::LimitReached { limit: 2 }, "a disabled destination counts");
    w.done(vec![limited(&other, "des_3")]).await;
    w.delete(&first).await;
    w.done(vec![limited(&tenant, "des_3")]).await;
    let found = w.fetch(Key::DestinationsOf(tenant.incarnation)).await;
    assert_eq!(found.len(), 2, "a deleted destination does not count");
}

pub(super) async fn a_limit_does_not_bind_changes(w: World) {
    let (tenant, first) = w.acme().await;
    w.destination(&tenant, "des_2").await;
    let destination = Box::new(first);
    w.done(vec![Write::PutDestination { destination, expect: Expect::Any, limit: Some(1) }]).await;
}

pub(super) async fn deleting_a_destination_keeps_its_life(w: World) {
    let (tenant, destination) = w.acme().await;
    w.advance(10);
    w.delete(&destination).await;
    let id = destination.id.clone();
    assert_eq!(w.fetch(Key::Destination(tenant.incarnation, id)).await, [], "the id names nothing any more");
    assert_eq!(w.fetch(Key::DestinationsOf(tenant.incarnation)).await, [], "it is not among the tenant's");
    let found = w.find_destination(destination.incarnation).await;
    assert_eq!(found.deleted_at, Some(w.now()), "its life is still known, as deleted");
    assert!(!found.deleted_with_tenant, "its tenant lives");
    assert_eq!(w.refused(put(&found, Expect::Any)).await, Refusal::Missing, "what is deleted cannot be changed");
}

pub(super) async fn deleting_wipes_what_is_sealed(w: World) {
    let tenant = w.tenant("acme").await;
    let secret = |id: &str| DestinationRecord {
        config: Sealed::new(vec![1; 9000]),
        credentials: Sealed::new(&b"secret"[..]),
        delivery_metadata: Sealed::new(&b"label"[..]),
        ..w.new_destination(&tenant, id)
    };
    let (gone, stays, disabled) = (secret("des_2"), secret("des_3"), secret("des_4"));
    for destination in [&gone, &stays, &disabled] {
        w.create(destination).await;
    }
    w.disable(&disabled).await;
    let sealed = async |destination: &DestinationRecord| {
        let found = w.find_destination(destination.incarnation).await;
        [&found.config, &found.credentials, &found.delivery_metadata].map(|sealed| sealed.as_bytes().len())
    };
    w.advance(10);
    w.delete(&gone).await;
    assert_eq!(sealed(&gone).await, [0, 0, 0], "nothing of what was sealed is kept");
    assert_eq!(sealed(&stays).await, [9000, 6, 5], "others keep theirs");
    let found = w.find_destination(gone.incarnation).await;
    let wanted = DestinationRecord {
        config: Sealed::default(),
        credentials: Sealed::default(),
        delivery_metadata: Sealed::default(),
        deleted_at: Some(w.now()),
        updated_at: w.now(),
        revision: found.revision,
        ..gone.clone()
    };
    assert_eq!(found, wanted, "what lists and the log show of it stays");
    // A deletion that is undone with its batch has wiped nothing.
    let delete = Write::DeleteDestination { destination: stays.incarnation, at: w.now() };
    let outcome = w.apply(vec![delete, put(&gone, Expect::Any)]).await;
    assert_eq!(outcome, ApplyOutcome::Refused { index: 1, refusal: Refusal::Missing });
    assert_eq!(sealed(&stays).await, [9000, 6, 5]);
    // The new life of an id has values of its own.
    let again = secret("des_2");
    w.create(&again).await;
    assert_eq!((sealed(&again).await, sealed(&gone).await), ([9000, 6, 5], [0, 0, 0]));
    w.delete_tenant(&tenant).await;
    for destination in [&stays, &disabled, &again] {
        assert_eq!(sealed(destination).await, [0, 0, 0], "they go with the tenant");
        assert_eq!(w.find_destination(destination.incarnation).await.target, destination.target);
    }
}

pub(super) async fn deleting_a_tenant_deletes_its_destinations(w: World) {
    let (tenant, first) = w.acme().await;
    let gone = w.destination(&tenant, "des_2").await;
    let other = w.tenant("other").await;
    let stays = w.destination(&other, "des_1").await;
    w.advance(5);
    w.delete(&gone).await;
    let gone = w.find_destination(gone.incarnation).await;
    w.advance(5);
    w.delete_tenant(&tenant).await;
    let found = w.find_destination(first.incarnation).await;
    assert_eq!(found.deleted_at, Some(w.now()), "a destination is deleted along with its tenant");
    assert!(found.deleted_with_tenant, "it is told that the tenant was the reason");
    assert_eq!(
        w.find_destination(gone.incarnation).await,
        gone,
        "what was deleted before keeps its own time and reason"
    );
    assert_eq!(w.fetch(Key::DestinationsOf(tenant.incarnation)).await, [], "a deleted tenant has no destinations");
    assert_eq!(w.fetch(Key::Tenant(tenant.id.clone())).await, [], "its id names nothing any more");
    assert_eq!(w.find_destination(stays.incarnation).await, stays, "another tenant is not concerned");
}

pub(super) async fn deleting_twice_is_missing(w: World) {
    let (tenant, destination) = w.acme().await;
    let at = w.now();
    let delete = Write::DeleteDestination { destination: destination.incarnation, at };
    w.done(vec![delete.clone()]).await;
    assert_eq!(w.refused(delete).await, Refusal::Missing, "the destination is deleted already");
    let delete = Write::DeleteTenant { tenant: tenant.incarnation, at };
    w.done(vec![delete.clone()]).await;
    assert_eq!(w.refused(delete).await, Refusal::Missing, "the tenant is deleted already");
}

pub(super) async fn a_refused_write_undoes_the_whole_batch(w: World) {
    let (tenant, destination) = w.acme().await;
    let before = w.find_tenant(tenant.incarnation).await;
    let other = w.new_tenant("other");
    let record = super::support::record("kind", "key", b"value");
    let outcome = w
        .apply(vec![
            Write::PutTenant { tenant: other.clone(), expect: Expect::Absent },
            Write::PutRecord { record, expect: Expect::Any },
            Write::DeleteDestination { destination: destination.incarnation, at: w.now() },
            Write::PutTenant { tenant: w.new_tenant("acme"), expect: Expect::Absent },
            put(&w.new_destination(&other, "des_9"), Expect::Absent),
        ])
        .await;
    assert_eq!(outcome, ApplyOutcome::Refused { index: 3, refusal: Refusal::Exists }, "the fourth write is refused");
    assert_eq!(w.fetch(Key::TenantLife(other.incarnation)).await, [], "no tenant of the batch is left");
    assert_eq!(w.fetch(Key::Record("kind".into(), "key".into())).await, [], "no record of the batch is left");
    assert_eq!(w.find_destination(destination.incarnation).await, destination, "nothing was deleted");
    assert_eq!(w.find_tenant(tenant.incarnation).await, before, "the subscriptions are as before");
}

pub(super) async fn a_batch_sees_its_own_earlier_writes(w: World) {
    let tenant = w.new_tenant("acme");
    let limited = |id: &str| Write::PutDestination {
        destination: Box::new(w.new_destination(&tenant, id)),
        expect: Expect::Absent,
        limit: Some(1),
    };
    let create = Write::PutTenant { tenant: tenant.clone(), expect: Expect::Absent };
    let outcome = w.apply(vec![create.clone(), limited("des_1"), limited("des_2")]).await;
    let refusal = Refusal::LimitReached { limit: 1 };
    assert_eq!(outcome, ApplyOutcome::Refused { index: 2, refusal }, "the limit counts the batch's own destinations");
    let revisions = w.done(vec![create, limited("des_1")]).await;
    assert_eq!(revisions.len(), 2, "a destination may be created along with its tenant");
}

pub(super) async fn a_batch_answers_a_revision_for_each_write(w: World) {
    let (tenant, destination) = w.acme().await;
    let tenant = w.find_tenant(tenant.incarnation).await;
    let revisions = w
        .done(vec![
            put(&destination, Expect::Any),
            Write::DeleteRecord { kind: "none".into(), key: "none".into() },
            Write::PutTenant { tenant: tenant.clone(), expect: Expect::Any },
            put(&destination, Expect::Revision(destination.revision + 1)),
        ])
        .await;
    let wanted = [destination.revision + 1, 0, tenant.revision + 1, destination.revision + 2];
    assert_eq!(revisions, wanted, "each write answers its new revision, 0 where there is none");
}

pub(super) async fn an_empty_batch_is_done(w: World) {
    assert_eq!(w.apply(Vec::new()).await, ApplyOutcome::Done(Vec::new()), "nothing speaks against writing nothing");
}

pub(super) async fn follow_ups_are_stored_with_the_writes(w: World) {
    let operator = w.tenant("operator").await;
    let listener = w.destination(&operator, "des_op").await;
    let follow_up = w.follow_up(&operator, "evt_op", &[&listener]).await;
    let tenant = w.new_tenant("acme");
    let create = Write::PutTenant { tenant: tenant.clone(), expect: Expect::Absent };
    let outcome = w.apply_with(vec![create], vec![follow_up.clone()]).await;
    assert!(matches!(outcome, ApplyOutcome::Done(_)), "the writes happen, but the store answered {outcome:?}");
    assert_eq!(*w.find_event(&operator, "evt_op").await, *follow_up.event, "the event is stored with them");
    assert_eq!(w.claim_all().await.events(), ["evt_op"], "its delivery is due");
}

pub(super) async fn outdated_follow_ups_undo_the_writes(w: World) {
    let operator = w.tenant("operator").await;
    let listener = w.destination(&operator, "des_op").await;
    let good = w.follow_up(&operator, "evt_good", &[&listener]).await;
    let mut outdated = w.follow_up(&operator, "evt_late", &[&listener]).await;
    outdated.subscriptions -= 1;
    let tenant = w.new_tenant("acme");
    let create = Write::PutTenant { tenant: tenant.clone(), expect: Expect::Absent };
    let outcome = w.apply_with(vec![create], vec![good, outdated]).await;
    assert_eq!(outcome, ApplyOutcome::Outdated, "the follow-up was matched against other subscriptions");
    assert_eq!(w.fetch(Key::TenantLife(tenant.incarnation)).await, [], "then no write happens");
    assert!(!w.has_event(&operator, "evt_good").await, "and no other follow-up is stored");
}

pub(super) async fn a_refusal_stores_no_follow_up(w: World) {
    let operator = w.tenant("operator").await;
    let follow_up = w.follow_up(&operator, "evt_op", &[]).await;
    let again = Write::PutTenant { tenant: w.new_tenant("operator"), expect: Expect::Absent };
    let outcome = w.apply_with(vec![again], vec![follow_up]).await;
    assert_eq!(outcome, ApplyOutcome::Refused { index: 0, refusal: Refusal::Exists }, "the write is refused");
    assert!(!w.has_event(&operator, "evt_op").await, "a refused batch stores no event");
}

/// Settings in which everything differs from the defaults.
pub(super) fn every_setting() -> Arc<DeliverySettings> {
    let schedule = Schedule::Exponential {
        base: Duration::from_millis(1500),
        factor: 1.5,
        max: Duration::new(86_400, 1_000_000),
        retries: 7,
    };
    let retry = RetryPolicy::new(schedule).and_then(|policy| policy.jitter(0.05)).expect("a policy");
    Arc::new(DeliverySettings {
        timeout: Some(Duration::from_millis(12_345)),
        concurrency: Some(u32::MAX),
        rate_limit: Some(RateLimit { events: 7, per: Duration::from_millis(1) }),
        retry: Some(retry.retry_after_cap(Duration::ZERO)),
    })
}

pub(super) async fn filter_settings_and_maker_are_kept_exactly(w: World) {
    let tenant = w.tenant("acme").await;
    let explicit = RetryPolicy::new(Schedule::Explicit(Vec::new())).expect("a policy");
    let few = Arc::new(DeliverySettings { retry: Some(explicit), ..DeliverySettings::default() });
    let texts = [
        "{\"b\":1, \"a\": [ 1.50, 1e3, 12345678901234567890123 ],\n\t\"a\":null}",
        "{}",
        " { \"größe\" : \"\\u0000 \\\\ ✓\" } ",
        "",
    ];
    let mut wanted = Vec::new();
    let settings = [every_setting(), Arc::default(), few, every_setting()];
    for (number, (text, settings)) in texts.into_iter().zip(settings).enumerate() {
        let filter = Some(Arc::from(text));
        let by_operator = number % 2 == 0;
        let id = format!("des_{number}");
        wanted.push(DestinationRecord { filter, settings, by_operator, ..w.new_destination(&tenant, &id) });
    }
    wanted.push(DestinationRecord { filter: None, ..w.new_destination(&tenant, "des_none") });
    let parts = |found: &DestinationRecord| (found.filter.clone(), found.settings.clone(), found.by_operator);
    for destination in &wanted {
        w.create(destination).await;
        let keys = vec![
            Key::DestinationLife(destination.incarnation),
            Key::Destination(tenant.incarnation, destination.id.clone()),
        ];
        for row in w.fetch_all(keys).await.concat() {
            let Row::Destination(found) = row else { panic!("a destination's key answers a destination, not {row:?}") };
            assert_eq!(parts(&found), parts(destination), "each text to its last blank, and each setting");
        }
    }
    // Each becomes like the next one.
    for (old, new) in wanted.iter().zip(wanted.iter().skip(1).chain([&wanted[0]])) {
        let (filter, settings, by_operator) = parts(new);
        let found = w.find_destination(old.incarnation).await;
        w.done(vec![put(&DestinationRecord { filter, settings, by_operator, ..found }, Expect::Any)]).await;
        assert_eq!(parts(&w.find_destination(old.incarnation).await), parts(new), "a change is written whole");
    }
}
