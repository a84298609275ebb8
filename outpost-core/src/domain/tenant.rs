//! Tenants and the string maps that tenants, destinations and events carry.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::values::error::Problem;
use crate::values::id::{Incarnation, TenantId};
use crate::values::time::Timestamp;

/// A map of short texts, such as metadata.
pub type StringMap = BTreeMap<String, String>;

/// Stands for a map whose values may be secret in `Debug`: only the keys are shown.
pub(crate) struct Keys<'a>(pub(crate) &'a StringMap);

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The most entries a [`StringMap`] given to the library may have.
pub const MAX_MAP_ENTRIES: usize = 64;
/// The longest key, in bytes.
pub const MAX_MAP_KEY: usize = 128;
/// The longest value, in bytes.
pub const MAX_MAP_VALUE: usize = 4096;

/// A customer of the host application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The id the host chose.
    pub id: TenantId,
    /// Which life of this id it is.
    pub incarnation: Incarnation,
    /// The host's own labels.
    pub metadata: StringMap,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; such a tenant is seen only by the operator, in its log.
    pub deleted_at: Option<Timestamp>,
    /// Rises by one with every change of the tenant itself.
    pub revision: i64,
    /// Rises by one whenever one of its destinations is created, changed or deleted.
    pub subscriptions: i64,
}

/// Checks a map of labels: at most [`MAX_MAP_ENTRIES`] entries, keys of 1 to [`MAX_MAP_KEY`] bytes, values
/// of at most [`MAX_MAP_VALUE`] bytes, no control characters. Every problem is reported.
pub fn check_map(field: &str, map: &StringMap, problems: &mut Vec<Problem>) {
    if map.len() > MAX_MAP_ENTRIES {
        problems.push(Problem::new(field, format!("must have at most {MAX_MAP_ENTRIES} entries")));
    }
    for (key, value) in map.iter().take(MAX_MAP_ENTRIES) {
        if key.is_empty() || key.len() > MAX_MAP_KEY || key.chars().any(char::is_control) {
            problems.push(Problem::new(
                field,
                format!("keys must have 1 to {MAX_MAP_KEY} bytes and no control characters"),
            ));
        } else if value.len() > MAX_MAP_VALUE {
            problems.push(Problem::new(format!("{field}.{key}"), format!("must be at most {MAX_MAP_VALUE} bytes")));
        } else if value.chars().any(char::is_control) {
            problems.push(Problem::new(format!("{field}.{key}"), "must not hold control characters"));
        }
    }
}

/// Checks a map whose entries are sent as HTTP headers: what [`check_map`] checks, and keys made of header
/// name characters, values of visible ASCII with inner spaces.
pub fn check_header_map(field: &str, map: &StringMap, problems: &mut Vec<Problem>) {
    let before = problems.len();
    check_map(field, map, problems);
    if problems.len() > before {
        return;
    }
    for (key, value) in map {
        if http::HeaderName::from_bytes(key.as_bytes()).is_err() {
            problems.push(Problem::new(field, format!("key {key:?} cannot be part of a header name")));
        } else if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) || value.trim() != value {
            problems.push(Problem::new(
                format!("{field}.{key}"),
                "cannot be a header value: only visible ASCII and inner spaces",
            ));
        }
    }
}
