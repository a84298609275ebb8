//! Small things that are kept for a while, for what serves tenants' users.

use std::time::Duration;

use bytes::Bytes;

use super::Outpost;
use crate::domain::actor::Capability;
use crate::ports::store::{Expect, Key, Row, SmallRecord, Write};
use crate::values::error::{Error, Problem, Result};
use crate::values::id::Incarnation;

/// Set before the kind, so that no record of the library's own has it.
const NAMESPACE: &str = "user.";
const MAX_KIND: usize = 24;
const MAX_KEY: usize = 255;
const MAX_VALUE: usize = 64 << 10;
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The small records of an [`Outpost`] that expire, for what serves tenants' users: forms that may be sent only once,
/// results to be shown on the next page. They are in the store, so every process sees them and a restart does not lose
/// them. Each belongs to one life of its tenant; another tenant, or the next one with the same id, does not see it.
///
/// There is no quota: whoever writes for a user bounds how often that happens.
#[derive(Clone, Copy)]
pub struct Ephemeral<'a>(pub(super) &'a Outpost);

impl Ephemeral<'_> {
    /// Keeps `value` for `lifetime` unless there is one already, and tells whether it did. Of several calls at once
    /// exactly one does. An empty value is a mark.
    ///
    /// `kind` has 1 to 24 of the characters `a-z`, `0-9` and `_`; `key` 1 to 255 bytes without control characters;
    /// `value` at most 64 KiB; `lifetime` is 1 ms to 7 days.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for what is out of bounds; [`NotFound`](crate::ErrorKind::NotFound) for the tenant;
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without [`Capability::Read`]; the store's failures.
    pub async fn put(
        &self,
        tenant: &str,
        kind: &'static str,
        key: &str,
        value: Bytes,
        lifetime: Duration,
    ) -> Result<bool> {
        const OPERATION: &str = "put ephemeral record";
        let mut problems = problems(kind, key);
        if value.len() > MAX_VALUE {
            problems.push(Problem::new("value", format!("must have at most {MAX_VALUE} bytes")));
        }
        if !(Duration::from_millis(1)..=MAX_LIFETIME).contains(&lifetime) {
            problems.push(Problem::new("lifetime", "must be between 1 ms and 7 days"));
        }
        if !problems.is_empty() {
            return Err(Error::invalid(OPERATION, problems));
        }
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let (kind, key) = place(tenant.incarnation, kind, key);
        let expires_at = Some(self.0.shared().now().after(lifetime));
        let record = SmallRecord { kind, key, value, expires_at, revision: 0 };
        Ok(self.0.write(OPERATION, Write::PutRecord { record, expect: Expect::Absent }).await?.is_ok())
    }

    /// What was kept under this key, while it lasts.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn get(&self, tenant: &str, kind: &'static str, key: &str) -> Result<Option<Bytes>> {
        const OPERATION: &str = "get ephemeral record";
        let problems = problems(kind, key);
        if !problems.is_empty() {
            return Err(Error::invalid(OPERATION, problems));
        }
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let (kind, key) = place(tenant.incarnation, kind, key);
        match self.0.shared().fetch_one(Key::Record(kind, key)).await {
            Ok(Some(Row::Record(record))) => Ok(Some(record.value)),
            Ok(_) => Ok(None),
            Err(error) => Err(super::of_store(OPERATION, error)),
        }
    }
}

fn problems(kind: &str, key: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if kind.is_empty() || kind.len() > MAX_KIND || !kind.bytes().all(plain) {
        problems.push(Problem::new("kind", format!("must have 1 to {MAX_KIND} of the characters a-z, 0-9 and _")));
    }
    if key.is_empty() || key.len() > MAX_KEY || key.chars().any(char::is_control) {
        problems.push(Problem::new("key", format!("must have 1 to {MAX_KEY} bytes and no control characters")));
    }
    problems
}

fn place(tenant: Incarnation, kind: &str, key: &str) -> (String, String) {
    (format!("{NAMESPACE}{kind}"), format!("{:016x}/{key}", tenant.as_i64()))
}
