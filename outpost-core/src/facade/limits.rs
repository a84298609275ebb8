//! How often a tenant's users may do what makes requests at once.

use super::Outpost;
use crate::domain::settings::RateLimit;
use crate::engine::rate::Bucket;
use crate::values::error::{Error, ErrorKind, Result};
use crate::values::id::Incarnation;

/// More buckets than this and the full ones are forgotten: they are the same as new ones.
const MOST_KNOWN: usize = 10_000;

impl Outpost {
    /// Counts one call against a tenant's limit; the operator has none.
    pub(super) fn limit(&self, operation: &'static str, tenant: Incarnation, limit: RateLimit) -> Result<()> {
        if self.actor.is_operator() {
            return Ok(());
        }
        let shared = self.shared();
        let now = shared.now();
        let mut rates = crate::runtime::lock(&shared.rates);
        if rates.len() >= MOST_KNOWN {
            rates.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = rates.entry((tenant, operation)).or_insert_with(|| Bucket::new(limit));
        if bucket.available(now) > 0 {
            bucket.take(now);
            return Ok(());
        }
        let wait = bucket.next_at(now).since(now);
        let message = format!("too often: at most {} times in {:?}", limit.events, limit.per);
        Err(Error::new(ErrorKind::RateLimited, operation, message).with_retry_after(wait))
    }
}
