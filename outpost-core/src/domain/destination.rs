//! Destinations: where a tenant wants events sent.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::DeliverySettings;
use super::tenant::{Keys, StringMap};
use super::topic::Topics;
use crate::values::error::Problem;
use crate::values::id::{DestinationId, Incarnation, TenantId};
use crate::values::time::Timestamp;

/// Who or what disabled a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledBy {
    /// A user of the tenant.
    Tenant,
    /// The operator.
    Operator,
    /// The operator, and a tenant cannot undo it.
    OperatorLock,
    /// The receiver answered 410 Gone.
    Gone,
    /// Too many attempts in a row failed.
    Failures,
    /// Nothing but failures for too long.
    Failing,
}

impl DisabledBy {
    /// The name, as operator events tell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Operator => "operator",
            Self::OperatorLock => "operator_lock",
            Self::Gone => "gone",
            Self::Failures => "consecutive_failure",
            Self::Failing => "failing",
        }
    }
}

/// That a destination is disabled, since when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Since when.
    pub at: Timestamp,
    /// By whom or what.
    pub by: DisabledBy,
    /// The reason in words, for people.
    pub reason: String,
    /// How the latest attempt ended, when failures are the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Where a tenant wants events sent, as the actor that asked may see it. `Debug` shows only the keys of
/// `config`, `credentials` and `delivery_metadata`: a URL or a header may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Unique within the tenant.
    pub id: DestinationId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// Which life of this id it is.
    pub incarnation: Incarnation,
    /// The kind, which names the transport; never changes.
    pub kind: String,
    /// A name for people.
    pub name: Option<String>,
    /// The topics it wants.
    pub topics: Topics,
    /// Which of the topics' events it wants: the JSON text of a
    /// [`DestinationFilter`](crate::DestinationFilter), as it was given. `None`: all.
    pub filter: Option<String>,
    /// How it is sent to, where that differs from the defaults.
    pub settings: DeliverySettings,
    /// The transport's settings.
    pub config: StringMap,
    /// The transport's secrets; masked unless the actor may see secrets.
    pub credentials: Credentials,
    /// Labels for the host and its users.
    pub metadata: StringMap,
    /// Sent along with every event.
    pub delivery_metadata: StringMap,
    /// What the destination points at, for display, secret parts masked.
    pub target: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed, enabling and disabling included.
    pub updated_at: Timestamp,
    /// Whether and why it is disabled.
    pub disabled: Option<Disabled>,
    /// Rises by one with every change; give it to [`DestinationPatch::if_revision`] to avoid overwriting
    /// somebody else's change.
    pub revision: i64,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, tenant_id, incarnation, kind, name, topics, config, credentials, .. } = self;
        let Self { metadata, delivery_metadata, target, created_at, updated_at, disabled, revision, .. } = self;
        f.debug_struct("Destination")
            .field("id", id)
            .field("tenant_id", tenant_id)
            .field("incarnation", incarnation)
            .field("kind", kind)
            .field("name", name)
            .field("topics", topics)
            .field("config", &Keys(config))
            .field("credentials", credentials)
            .field("metadata", metadata)
            .field("delivery_metadata", &Keys(delivery_metadata))
            .field("target", target)
            .field("created_at", created_at)
            .field("updated_at", updated_at)
            .field("disabled", disabled)
            .field("revision", revision)
            .finish()
    }
}

/// A map of secrets that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credentials(StringMap);

/// What stands for a secret that the actor may not see. Sent back exactly, it means "keep".
pub const MASK: &str = "••••••••";

impl Credentials {
    /// Wraps a map of secrets.
    #[must_use]
    pub const fn new(map: StringMap) -> Self {
        Self(map)
    }

    /// The secrets in clear. Keep them out of logs and errors.
    #[must_use]
    pub const fn expose(&self) -> &StringMap {
        &self.0
    }

    /// The same keys with every value replaced by [`MASK`].
    #[must_use]
    pub fn masked(&self) -> Self {
        Self(self.0.keys().map(|key| (key.clone(), MASK.to_owned())).collect())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Keys(&self.0).fmt(f)
    }
}

/// What a new destination is made from. `Debug` hides what it hides of a [`Destination`].
#[derive(Clone)]
pub struct NewDestination {
    /// The id; generated when absent.
    pub id: Option<DestinationId>,
    /// The kind, which names the transport.
    pub kind: String,
    /// A name for people, at most 128 characters.
    pub name: Option<String>,
    /// The topics it wants.
    pub topics: Topics,
    /// Which of the topics' events it wants: the JSON text of a
    /// [`DestinationFilter`](crate::DestinationFilter). `None`: all.
    pub filter: Option<String>,
    /// How it is sent to, where that differs from the defaults.
    pub settings: DeliverySettings,
    /// The transport's settings.
    pub config: StringMap,
    /// The transport's secrets; what is missing is generated where the transport can.
    pub credentials: Credentials,
    /// Labels for the host and its users.
    pub metadata: StringMap,
    /// Sent along with every event.
    pub delivery_metadata: StringMap,
    /// Create it disabled, for this reason.
    pub disabled: Option<String>,
}

impl NewDestination {
    /// A webhook to `url` for every topic.
    #[must_use]
    pub fn webhook(url: impl Into<String>) -> Self {
        Self {
            id: None,
            kind: "webhook".to_owned(),
            name: None,
            topics: Topics::all(),
            filter: None,
            settings: DeliverySettings::default(),
            config: StringMap::from([("url".to_owned(), url.into())]),
            credentials: Credentials::default(),
            metadata: StringMap::new(),
            delivery_metadata: StringMap::new(),
            disabled: None,
        }
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: DestinationId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the topics.
    #[must_use]
    pub fn topics(mut self, topics: Topics) -> Self {
        self.topics = topics;
        self
    }

    /// Sets the filter, the JSON text of a [`DestinationFilter`](crate::DestinationFilter).
    #[must_use]
    pub fn filter(mut self, json: impl Into<String>) -> Self {
        self.filter = Some(json.into());
        self
    }

    /// Sets how it is sent to.
    #[must_use]
    pub fn settings(mut self, settings: DeliverySettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets one entry of the config.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }

    /// Sets one secret.
    #[must_use]
    pub fn credential(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.credentials.0.insert(key.into(), value.into());
        self
    }
}

impl fmt::Debug for NewDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            kind,
            name,
            topics,
            config,
            credentials,
            metadata,
            delivery_metadata,
            disabled,
            filter,
            settings,
        } = self;
        f.debug_struct("NewDestination")
            .field("id", id)
            .field("kind", kind)
            .field("name", name)
            .field("topics", topics)
            .field("config", &Keys(config))
            .field("credentials", credentials)
            .field("metadata", metadata)
            .field("delivery_metadata", &Keys(delivery_metadata))
            .field("disabled", disabled)
            .field("filter", filter)
            .field("settings", settings)
            .finish()
    }
}

/// How a map is changed: RFC 7396 merge-patch for a flat map of texts. `Debug` shows only which keys are
/// changed and how, because the map may be one of secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum MapPatch {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Remove every entry.
    Clear,
    /// Set the entries with a value, remove those with `None`, keep the others.
    Merge(BTreeMap<String, Option<String>>),
}

impl fmt::Debug for MapPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("Keep"),
            Self::Clear => f.write_str("Clear"),
            Self::Merge(changes) => {
                f.write_str("Merge ")?;
                let shown = |change: &Option<String>| if change.is_some() { "set" } else { "remove" };
                f.debug_map().entries(changes.iter().map(|(key, change)| (key, shown(change)))).finish()
            }
        }
    }
}

impl MapPatch {
    /// A patch that sets one entry.
    #[must_use]
    pub fn set(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Merge(std::iter::once((key.into(), Some(value.into()))).collect())
    }

    /// The map after the change. A value that equals `mask` keeps what was there.
    #[must_use]
    pub fn apply(&self, map: &StringMap, mask: Option<&str>) -> StringMap {
        match self {
            Self::Keep => map.clone(),
            Self::Clear => StringMap::new(),
            Self::Merge(changes) => {
                let mut merged = map.clone();
                for (key, change) in changes {
                    match change {
                        None => {
                            merged.remove(key);
                        }
                        Some(value) if mask == Some(value.as_str()) && map.contains_key(key) => {}
                        Some(value) => {
                            merged.insert(key.clone(), value.clone());
                        }
                    }
                }
                merged
            }
        }
    }
}

/// A change to a destination; what is not named stays.
#[derive(Clone, Debug, Default)]
pub struct DestinationPatch {
    /// Must equal the destination's kind when given: the kind never changes.
    pub kind: Option<String>,
    /// A new name; `Some(None)` removes it.
    pub name: Option<Option<String>>,
    /// New topics.
    pub topics: Option<Topics>,
    /// A new filter in place of the old one; `Some(None)` removes it.
    pub filter: Option<Option<String>>,
    /// New delivery settings in place of the old ones.
    pub settings: Option<DeliverySettings>,
    /// Changes to the config.
    pub config: MapPatch,
    /// Changes to the credentials.
    pub credentials: MapPatch,
    /// Changes to the metadata.
    pub metadata: MapPatch,
    /// Changes to the delivery metadata.
    pub delivery_metadata: MapPatch,
    /// Only change this revision, else the error has kind [`Stale`](crate::ErrorKind::Stale).
    pub if_revision: Option<i64>,
}

/// The longest name of a destination, in characters.
pub const MAX_NAME: usize = 128;

/// Checks a destination's name.
pub fn check_name(name: Option<&str>, problems: &mut Vec<Problem>) {
    if let Some(name) = name
        && (name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control))
    {
        problems.push(Problem::new(
            "name",
            format!("must have 1 to {MAX_NAME} characters, none of them control characters"),
        ));
    }
}

/// How long a replaced secret stays valid when the caller does not say.
pub const DEFAULT_ROTATION_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_merge_remove_clear_and_keep_masked_values() {
        let map = StringMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!(MapPatch::Keep.apply(&map, None), map);
        assert!(MapPatch::Clear.apply(&map, None).is_empty());
        let patch = MapPatch::Merge(
            [("a".to_owned(), None), ("b".to_owned(), Some(MASK.to_owned())), ("c".to_owned(), Some("3".to_owned()))]
                .into(),
        );
        let merged = patch.apply(&map, Some(MASK));
        assert_eq!(merged, StringMap::from([("b".to_owned(), "2".to_owned()), ("c".to_owned(), "3".to_owned())]));
        assert_eq!(MapPatch::Merge(Default::default()).apply(&map, None), map);
    }

    #[test]
    fn debug_shows_only_the_keys_of_credentials() {
        let shown = format!("{:?}", NewDestination::webhook("https://x.test").credential("secret", "canary"));
        assert!(shown.contains("secret") && !shown.contains("canary"), "{shown}");
    }
}
