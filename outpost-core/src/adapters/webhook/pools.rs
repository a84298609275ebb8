//! Which destinations may share connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::exchange::Exchanger;
use crate::domain::egress::Grant;

/// One pool of connections for everybody, and one more for each set of limited allowances.
///
/// A kept connection is not checked again when it is used again. So one that a limited allowance has opened
/// must never serve a destination without it, and pools that are apart make that impossible. There are as many
/// as the policy's allowances can be combined, however many tenants there are.
pub(super) struct Pools {
    everybody: Arc<Exchanger>,
    limited: Mutex<HashMap<Grant, Arc<Exchanger>>>,
    make: Box<dyn Fn(Grant) -> Exchanger + Send + Sync>,
}

impl Pools {
    pub(super) fn new(make: impl Fn(Grant) -> Exchanger + Send + Sync + 'static) -> Self {
        let everybody = Arc::new(make(Grant::default()));
        Self { everybody, limited: Mutex::default(), make: Box::new(make) }
    }

    pub(super) fn everybody(&self) -> &Exchanger {
        &self.everybody
    }

    pub(super) fn of(&self, grant: Grant) -> Arc<Exchanger> {
        if grant == Grant::default() {
            return Arc::clone(&self.everybody);
        }
        let mut limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(limited.entry(grant).or_insert_with_key(|grant| Arc::new((self.make)(grant.clone()))))
    }
}
