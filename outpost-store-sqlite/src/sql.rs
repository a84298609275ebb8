//! Every fixed statement, written once with the table prefix filled in.

/// The columns of each kind of row, in the order that `rows` reads them.
const TENANT: &str = "inc, id, metadata, created_at, updated_at, deleted_at, revision, subscriptions";
const STATE: &str = "inc, id, tenant, tenant_id, epoch, epoch_at, deleted_at, deleted_with_tenant, disabled, revision, \
     settings";
const DESTINATION: &str = "inc, id, tenant, tenant_id, epoch, epoch_at, deleted_at, deleted_with_tenant, disabled, \
     revision, settings, created_at, updated_at, kind, name, topics, filter, by_operator, metadata, target, config, \
     credentials, delivery_metadata";
const EVENT: &str = "tenant, id, topic, time, created_at, eligible, destination_id, matched, fingerprint, metadata, \
     data";
const DELIVERY: &str = "seq, event_seq, destination, event, tenant, topic, state, epoch, created_at, finished_at, \
     scheduled_at, requested, due, lease, attempts, automatic, success, code";
const ATTEMPT: &str = "a.id, a.destination, d.event, a.tenant, coalesce(a.topic, d.topic), a.number, a.cause, \
     a.started_at, a.time, a.duration, a.success, a.code, a.next_at, a.request, a.response, a.error, a.body";
const LANE: &str = "destination, hold_until, strikes, rest_until, next_due, next_urgent, open, health";
const RECORD: &str = "kind, name, value, expires_at, revision";
const ROLLUP: &str = "tenant, level, kind, start, destination, topic, success, code, cause";

/// Fills in the table prefix for `$` and the column lists.
pub(crate) fn expand(text: &str, prefix: &str) -> String {
    text.replace("@tenant", TENANT)
        .replace("@state", STATE)
        .replace("@destination", DESTINATION)
        .replace("@event", EVENT)
        .replace("@delivery", DELIVERY)
        .replace("@attempt", ATTEMPT)
        .replace("@lane", LANE)
        .replace("@record", RECORD)
        .replace("@rollup", ROLLUP)
        .replace('$', prefix)
}

macro_rules! statements {
    ($($name:ident = $text:literal;)*) => {
        /// The statements, ready for the statement cache.
        #[derive(Debug)]
        pub(crate) struct Sql {
            pub(crate) prefix: String,
            $(pub(crate) $name: String,)*
        }

        impl Sql {
            pub(crate) fn new(prefix: &str) -> Self {
                Self { prefix: prefix.to_owned(), $($name: expand($text, prefix),)* }
            }

            /// Every statement with its name.
            #[cfg(test)]
            pub(crate) fn all(&self) -> Vec<(&'static str, &str)> {
                vec![$((stringify!($name), self.$name.as_str()),)*]
            }
        }
    };
}

// The planner's choice must not depend on statistics that the host may gather in its file, so statements
// that could go two ways name their index.
statements! {
    tenant_live = "SELECT @tenant FROM $tenants WHERE id = ?1 AND deleted_at IS NULL";
    tenant = "SELECT @tenant FROM $tenants WHERE inc = ?1";
    tenant_put = "INSERT INTO $tenants (inc, id, metadata, created_at, updated_at, deleted_at, revision, subscriptions)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (inc) DO UPDATE SET id = ?2, metadata = ?3, created_at = ?4, updated_at = ?5, deleted_at = ?6,
            revision = ?7, subscriptions = ?8";
    tenant_end = "UPDATE $tenants SET deleted_at = ?2, updated_at = ?2, revision = revision + 1,
        subscriptions = subscriptions + 1 WHERE inc = ?1";
    tenant_raise = "UPDATE $tenants SET subscriptions = subscriptions + 1 WHERE inc = ?1";

    destination_live = "SELECT @destination FROM $destinations INDEXED BY $destinations_live
        WHERE tenant = ?1 AND id = ?2 AND deleted_at IS NULL";
    destination = "SELECT @destination FROM $destinations WHERE inc = ?1";
    destination_state = "SELECT @state FROM $destinations WHERE inc = ?1";
    destinations_of = "SELECT @destination FROM $destinations INDEXED BY $destinations_of
        WHERE tenant = ?1 AND deleted_at IS NULL ORDER BY created_at, id";
    destinations_count = "SELECT count(*) FROM $destinations INDEXED BY $destinations_of
        WHERE tenant = ?1 AND deleted_at IS NULL";
    destinations_live_of = "SELECT inc FROM $destinations INDEXED BY $destinations_of
        WHERE tenant = ?1 AND deleted_at IS NULL";
    destinations_ever_of = "SELECT inc FROM $destinations INDEXED BY $destinations_ever WHERE tenant = ?1 LIMIT ?2";
    destination_put = "INSERT INTO $destinations (inc, id, tenant, tenant_id, epoch, epoch_at, deleted_at,
            deleted_with_tenant, disabled, revision, settings, created_at, updated_at, kind, name, topics, filter,
            by_operator, metadata, target, config, credentials, delivery_metadata, stale)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
            ?23, ?24)
        ON CONFLICT (inc) DO UPDATE SET id = ?2, tenant = ?3, tenant_id = ?4, epoch = ?5, epoch_at = ?6,
            deleted_at = ?7, deleted_with_tenant = ?8, disabled = ?9, revision = ?10, settings = ?11,
            created_at = ?12, updated_at = ?13, kind = ?14, name = ?15, topics = ?16, filter = ?17, by_operator = ?18,
            metadata = ?19, target = ?20, config = ?21, credentials = ?22, delivery_metadata = ?23,
            stale = max(stale, ?24)";
    destination_disable = "UPDATE $destinations SET epoch = ?2, epoch_at = ?3, updated_at = ?4, disabled = ?5,
        revision = ?6, stale = 1 WHERE inc = ?1";
    destination_end = "UPDATE $destinations SET deleted_at = ?2, updated_at = ?2, deleted_with_tenant = ?3,
        revision = revision + 1, stale = 1, config = x'', credentials = x'', delivery_metadata = x'' WHERE inc = ?1";
    destination_stale = "UPDATE $destinations SET stale = ?2 WHERE inc = ?1";
    destinations_stale = "SELECT inc FROM $destinations INDEXED BY $destinations_stale
        WHERE stale = 1 AND inc > ?1 ORDER BY inc LIMIT ?2";

    lane = "SELECT @lane FROM $lanes WHERE destination = ?1";
    lane_new = "INSERT INTO $lanes (destination, strikes, open) VALUES (?1, 0, 0)";
    lane_put = "UPDATE $lanes SET hold_until = ?2, strikes = ?3, rest_until = ?4, next_due = ?5, next_urgent = ?6,
        open = ?7, ready_at = ?8, health = ?9 WHERE destination = ?1";
    lanes_ready = "SELECT ready_at, destination FROM $lanes INDEXED BY $lanes_ready
        WHERE ready_at <= ?1 AND (ready_at, destination) > (?2, ?3) ORDER BY ready_at, destination LIMIT ?4";
    lanes_first = "SELECT ready_at FROM $lanes INDEXED BY $lanes_ready
        WHERE ready_at IS NOT NULL ORDER BY ready_at LIMIT 1";
    due_first = "SELECT due FROM $deliveries INDEXED BY $deliveries_due
        WHERE destination = ?1 AND epoch = ?2 AND urgent = ?3 AND due IS NOT NULL ORDER BY due LIMIT 1";

    event_seq = "SELECT seq FROM $events INDEXED BY $events_id WHERE id = ?1 AND tenant = ?2";
    event_first = "SELECT fingerprint, matched FROM $events INDEXED BY $events_id WHERE id = ?1 AND tenant = ?2";
    event_place = "SELECT time, id, tenant, topic FROM $events WHERE seq = ?1";
    event = "SELECT @event FROM $events WHERE seq = ?1";
    event_by_key = "SELECT @event FROM $events INDEXED BY $events_id WHERE id = ?1 AND tenant = ?2";
    events_by_id = "SELECT @event FROM $events INDEXED BY $events_id WHERE id = ?1 ORDER BY tenant LIMIT ?2";
    event_seqs = "SELECT seq FROM $events INDEXED BY $events_id WHERE id = ?1 ORDER BY tenant LIMIT ?2";
    event_put = "INSERT INTO $events (tenant, id, topic, time, created_at, eligible, destination_id, matched,
            fingerprint, metadata, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (id, tenant) DO NOTHING";
    event_topic = "SELECT seq, topic FROM $events INDEXED BY $events_id WHERE id = ?1 AND tenant = ?2";
    events_stored = "SELECT seq, tenant, created_at, length(data), time, id FROM $events
        WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    events_of = "SELECT seq, tenant, created_at, length(data), time, id FROM $events INDEXED BY $events_tenant
        WHERE tenant = ?1 AND (time, id) > (?2, ?3) ORDER BY time, id LIMIT ?4";
    event_age = "SELECT created_at FROM $events WHERE seq >= ?1 ORDER BY seq LIMIT 1";
    event_forget = "DELETE FROM $events WHERE seq = ?1";

    delivery = "SELECT @delivery FROM $deliveries WHERE seq = ?1";
    delivery_by_key = "SELECT @delivery FROM $deliveries INDEXED BY $deliveries_event
        WHERE event_seq = (SELECT seq FROM $events INDEXED BY $events_id WHERE id = ?1 AND tenant = ?2)
            AND destination = ?3";
    delivery_exists = "SELECT 1 FROM $deliveries INDEXED BY $deliveries_event
        WHERE event_seq = ?1 AND destination = ?2";
    delivery_places = "SELECT created_at, event, destination, seq FROM $deliveries INDEXED BY $deliveries_event
        WHERE event_seq = ?1 ORDER BY destination LIMIT ?2";
    deliveries_of = "SELECT @delivery FROM $deliveries INDEXED BY $deliveries_event
        WHERE event_seq = ?1 ORDER BY destination";
    delivery_put = "INSERT INTO $deliveries (event_seq, destination, event, tenant, topic, state, epoch, created_at,
            finished_at, scheduled_at, requested, urgent, due, lease, attempts, automatic)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, 0)";
    delivery_set = "UPDATE $deliveries SET state = ?2, epoch = ?3, finished_at = ?4, scheduled_at = ?5, requested = ?6,
        urgent = ?7, due = ?8, lease = ?9, attempts = ?10, automatic = ?11, success = ?12, code = ?13 WHERE seq = ?1";
    delivery_forget = "DELETE FROM $deliveries WHERE seq = ?1";
    due = "SELECT @delivery FROM $deliveries INDEXED BY $deliveries_due
        WHERE destination = ?1 AND epoch = ?2 AND urgent = ?3 AND due IS NOT NULL AND due <= ?4
        ORDER BY due, seq LIMIT ?5";
    waiting = "SELECT @delivery FROM $deliveries INDEXED BY $deliveries_due
        WHERE destination = ?1 AND due IS NOT NULL AND epoch > ?2 AND epoch < ?3";

    attempt = "SELECT @attempt FROM $attempts a JOIN $deliveries d ON d.seq = a.delivery WHERE a.seq = ?1";
    attempt_traits = "SELECT a.destination, d.event, a.tenant, coalesce(a.topic, d.topic), a.success
        FROM $attempts a JOIN $deliveries d ON d.seq = a.delivery WHERE a.seq = ?1";
    attempt_by_id = "SELECT @attempt FROM $attempts a INDEXED BY $attempts_id JOIN $deliveries d ON d.seq = a.delivery
        WHERE a.id = ?1 ORDER BY a.seq DESC LIMIT 1";
    attempts_of = "SELECT @attempt FROM $attempts a INDEXED BY $attempts_delivery
        JOIN $deliveries d ON d.seq = a.delivery WHERE a.delivery = ?1 ORDER BY a.seq LIMIT ?2";
    attempt_places = "SELECT time, id, tenant, seq FROM $attempts INDEXED BY $attempts_delivery
        WHERE delivery = ?1 ORDER BY seq LIMIT ?2";
    attempt_put = "INSERT INTO $attempts (delivery, destination, tenant, time, id, topic, number, cause, started_at,
            duration, success, code, next_at, request, response, error, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    attempts_forget = "DELETE FROM $attempts INDEXED BY $attempts_delivery WHERE delivery = ?1
        RETURNING coalesce(length(body), 0)";

    record = "SELECT @record FROM $records WHERE kind = ?1 AND name = ?2";
    records_from = "SELECT @record FROM $records WHERE kind = ?1 AND name >= ?2 ORDER BY name";
    record_put = "INSERT INTO $records (kind, name, value, expires_at, revision) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (kind, name) DO UPDATE SET value = ?3, expires_at = ?4, revision = ?5";
    record_delete = "DELETE FROM $records WHERE kind = ?1 AND name = ?2";
    records_expired = "SELECT kind, name FROM $records INDEXED BY $records_expiry
        WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";

    usage = "SELECT events, bytes FROM $usage WHERE tenant = ?1";
    usage_put = "INSERT INTO $usage (tenant, events, bytes) VALUES (?1, ?2, ?3)
        ON CONFLICT (tenant) DO UPDATE SET events = ?2, bytes = ?3";
    usage_open = "SELECT coalesce(sum(l.open), 0) FROM $destinations d INDEXED BY $destinations_of
        CROSS JOIN $lanes l ON l.destination = d.inc WHERE d.tenant = ?1 AND d.deleted_at IS NULL";

    rollup = "SELECT tally FROM $rollups WHERE tenant = ?1 AND level = ?2 AND kind = ?3 AND start = ?4
        AND destination = ?5 AND topic = ?6 AND success = ?7 AND code = ?8 AND cause = ?9";
    rollup_put = "INSERT INTO $rollups (tenant, level, kind, start, destination, topic, success, code, cause, tally)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (tenant, level, kind, start, destination, topic, success, code, cause) DO UPDATE SET tally = ?10";
    rollup_forget = "DELETE FROM $rollups WHERE tenant = ?1 AND level = ?2 AND kind = ?3 AND start = ?4
        AND destination = ?5 AND topic = ?6 AND success = ?7 AND code = ?8 AND cause = ?9";
    rollups_of = "SELECT @rollup, tally FROM $rollups
        WHERE tenant = ?5 AND level = ?1 AND kind = ?2 AND start >= ?3 AND start < ?4 ORDER BY start LIMIT ?6";
    rollups_all = "SELECT @rollup, tally FROM $rollups INDEXED BY $rollups_time
        WHERE level = ?1 AND kind = ?2 AND start >= ?3 AND start < ?4 ORDER BY start LIMIT ?5";
    rollups_old = "SELECT @rollup FROM $rollups INDEXED BY $rollups_time
        WHERE level = ?1 AND kind = ?2 AND start < ?3 ORDER BY start LIMIT ?4";
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use outpost_core::Direction;
    use rusqlite::Connection;

    use super::Sql;
    use crate::{scan, schema};

    fn plan(conn: &Connection, text: &str) -> String {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let nothing = vec![None::<i64>; statement.parameter_count()];
        let steps = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    }

    #[test]
    fn every_statement_seeks_and_none_sorts() {
        let conn = Connection::open_in_memory().unwrap();
        let sql = Sql::new("test_");
        schema::migrate(&conn, "test_", |conn| Ok(conn.execute_batch("BEGIN IMMEDIATE")?)).unwrap();
        let mut texts: Vec<(String, String)> =
            sql.all().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        for index in scan::INDEXES {
            for direction in [Direction::Ascending, Direction::Descending] {
                texts.push((format!("{} {direction:?}", index.name), index.sql("test_", direction)));
            }
        }
        let mut wrong = Vec::new();
        for (name, text) in texts {
            let plan = plan(&conn, &text);
            // A page is bounded on both sides by the index itself.
            if text.contains("LIMIT ?7") && !(plan.contains(">(?,?") && plan.contains("<(?,?")) {
                wrong.push(format!("{name} is not bounded: {plan}"));
            }
            // The lane that is ready first is the first entry of an index of the ready ones.
            let walks = plan.contains("SCAN") && name != "lanes_first";
            if walks || plan.contains("TEMP B-TREE") {
                wrong.push(format!("{name}: {plan}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn rollups_are_one_range_of_the_table_or_of_the_index() {
        let conn = Connection::open_in_memory().unwrap();
        let sql = Sql::new("test_");
        schema::migrate(&conn, "test_", |conn| Ok(conn.execute_batch("BEGIN IMMEDIATE")?)).unwrap();
        let own = plan(&conn, &sql.rollups_of);
        assert!(own.contains("PRIMARY KEY (tenant=? AND level=? AND kind=? AND start>? AND start<?)"), "{own}");
        let all = plan(&conn, &sql.rollups_all);
        assert!(all.contains("test_rollups_time (level=? AND kind=? AND start>? AND start<?)"), "{all}");
    }
}
