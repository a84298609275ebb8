//! Which headers carry the event's id, time, topic and signature.

use http::HeaderName;

use super::headers::is_reserved;
use crate::domain::descriptor::{ServiceGuide, SigningGuide, StandardGuide};
use crate::values::error::Problem;

/// How requests are signed: by Standard Webhooks, by the service's own scheme, or by both at once, for the
/// time in which receivers move from one to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    standard: Option<String>,
    service: Option<ServiceHeaders>,
}

impl Default for Signing {
    fn default() -> Self {
        Self::standard()
    }
}

impl Signing {
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`; and `webhook-topic`.
    #[must_use]
    pub fn standard() -> Self {
        Self::standard_with_prefix("webhook-")
    }

    /// Standard Webhooks under another prefix. Verifiers made for the standard then need to be told.
    #[must_use]
    pub fn standard_with_prefix(prefix: impl Into<String>) -> Self {
        Self { standard: Some(prefix.into()), service: None }
    }

    /// The service's own scheme: `v0=` and HMAC-SHA256 in hex over the body.
    #[must_use]
    pub const fn service(headers: ServiceHeaders) -> Self {
        Self { standard: None, service: Some(headers) }
    }

    /// Standard Webhooks and the service's scheme in one request.
    #[must_use]
    pub fn both(headers: ServiceHeaders) -> Self {
        Self { service: Some(headers), ..Self::standard() }
    }
}

/// The name of one header of the service's scheme.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeaderChoice {
    /// The prefix and the header's own name.
    #[default]
    Default,
    /// Exactly this name.
    Named(String),
    /// The header is not sent.
    Off,
}

/// The headers of the service's scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHeaders {
    /// What names start with, those of metadata included; may be empty.
    pub prefix: String,
    /// The event's id; `event-id` after the prefix.
    pub event_id: HeaderChoice,
    /// The attempt's time in RFC 3339, whole seconds; `timestamp` after the prefix.
    pub timestamp: HeaderChoice,
    /// The attempt's time with milliseconds; `timestamp-ms` after the prefix. Off unless chosen.
    pub timestamp_ms: HeaderChoice,
    /// The event's topic; `topic` after the prefix.
    pub topic: HeaderChoice,
    /// The signature; `signature` after the prefix.
    pub signature: HeaderChoice,
}

impl Default for ServiceHeaders {
    fn default() -> Self {
        Self {
            prefix: "x-outpost-".to_owned(),
            event_id: HeaderChoice::Default,
            timestamp: HeaderChoice::Default,
            timestamp_ms: HeaderChoice::Off,
            topic: HeaderChoice::Default,
            signature: HeaderChoice::Default,
        }
    }
}

/// The effective names, checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) standard: Option<StandardNames>,
    pub(super) service: Option<ServiceNames>,
}

#[derive(Clone, Debug)]
pub(super) struct StandardNames {
    pub(super) prefix: String,
    pub(super) id: HeaderName,
    pub(super) timestamp: HeaderName,
    pub(super) signature: HeaderName,
    pub(super) topic: HeaderName,
}

#[derive(Clone, Debug)]
pub(super) struct ServiceNames {
    pub(super) prefix: String,
    pub(super) event_id: Option<HeaderName>,
    pub(super) timestamp: Option<HeaderName>,
    pub(super) timestamp_ms: Option<HeaderName>,
    pub(super) topic: Option<HeaderName>,
    pub(super) signature: Option<HeaderName>,
}

impl Names {
    /// Works out the names and reports those that are no header names, are reserved, or clash.
    pub(super) fn new(signing: &Signing, problems: &mut Vec<Problem>) -> Self {
        let before = problems.len();
        let mut check = Check { problems, taken: Vec::new() };
        let standard = signing.standard.as_deref().map(|prefix| StandardNames {
            prefix: prefix.to_ascii_lowercase(),
            id: check.name("signing.id", &format!("{prefix}id")),
            timestamp: check.name("signing.timestamp", &format!("{prefix}timestamp")),
            signature: check.name("signing.signature", &format!("{prefix}signature")),
            topic: check.name("signing.topic", &format!("{prefix}topic")),
        });
        let service = signing.service.as_ref().map(|headers| {
            let prefix = headers.prefix.trim();
            let mut choose = |choice: &HeaderChoice, key: &str| match choice {
                HeaderChoice::Default => Some(check.name(&format!("signing.{key}"), &format!("{prefix}{key}"))),
                HeaderChoice::Named(name) => Some(check.name(&format!("signing.{key}"), name)),
                HeaderChoice::Off => None,
            };
            ServiceNames {
                prefix: prefix.to_ascii_lowercase(),
                event_id: choose(&headers.event_id, "event-id"),
                timestamp: choose(&headers.timestamp, "timestamp"),
                timestamp_ms: choose(&headers.timestamp_ms, "timestamp-ms"),
                topic: choose(&headers.topic, "topic"),
                signature: choose(&headers.signature, "signature"),
            }
        });
        if problems.len() > before { Self::default() } else { Self { standard, service } }
    }

    /// Whether the transport itself sends a header of this name.
    pub(super) fn is_system(&self, name: &HeaderName) -> bool {
        let standard =
            self.standard.iter().flat_map(|names| [&names.id, &names.timestamp, &names.signature, &names.topic]);
        let service = self.service.iter().flat_map(|names| {
            [&names.event_id, &names.timestamp, &names.timestamp_ms, &names.topic, &names.signature]
                .into_iter()
                .flatten()
        });
        standard.chain(service).any(|system| system == name)
    }

    /// What receivers need to know; `None` when no signature is sent at all.
    pub(super) fn guide(&self) -> Option<SigningGuide> {
        let text = |name: &HeaderName| name.as_str().to_owned();
        let standard = self.standard.as_ref().map(|names| StandardGuide {
            id: text(&names.id),
            timestamp: text(&names.timestamp),
            signature: text(&names.signature),
        });
        let service = self.service.as_ref().and_then(|names| {
            let signature = text(names.signature.as_ref()?);
            let timestamp = names.timestamp.as_ref().or(names.timestamp_ms.as_ref()).map(text);
            Some(ServiceGuide { signature, timestamp })
        });
        (standard.is_some() || service.is_some()).then_some(SigningGuide { standard, service })
    }

    /// What the names of metadata headers start with.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let standard = self.standard.iter().map(|names| names.prefix.as_str());
        standard.chain(self.service.iter().map(|names| names.prefix.as_str()))
    }
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
    taken: Vec<HeaderName>,
}

impl Check<'_> {
    /// The name, or any other when there is a problem, which is then reported.
    fn name(&mut self, field: &str, text: &str) -> HeaderName {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            self.problems.push(Problem::new(field, format!("{text:?} is not a header name")));
            return http::header::HOST;
        };
        if is_reserved(name.as_str()) {
            self.problems.push(Problem::new(field, format!("{text:?} is reserved")));
        } else if self.taken.contains(&name) {
            self.problems.push(Problem::new(field, format!("{text:?} is already the name of another header")));
        }
        self.taken.push(name.clone());
        name
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn guide(signing: &Signing) -> Option<SigningGuide> {
        let mut problems = Vec::new();
        let guide = Names::new(signing, &mut problems).guide();
        assert_eq!(problems, []);
        guide
    }

    #[test]
    fn the_guide_tells_the_effective_names() {
        let standard = guide(&Signing::standard_with_prefix("Acme-")).unwrap();
        assert_eq!(standard.service, None);
        let names = standard.standard.unwrap();
        assert_eq!([&*names.id, &*names.timestamp, &*names.signature], ["acme-id", "acme-timestamp", "acme-signature"]);

        let both = guide(&Signing::both(ServiceHeaders::default())).unwrap();
        assert_eq!(both.standard.unwrap().id, "webhook-id");
        let names = both.service.unwrap();
        assert_eq!(names.signature, "x-outpost-signature");
        assert_eq!(names.timestamp.as_deref(), Some("x-outpost-timestamp"));

        let odd = ServiceHeaders {
            signature: HeaderChoice::Named("X-Sign".to_owned()),
            timestamp: HeaderChoice::Off,
            ..ServiceHeaders::default()
        };
        let names = guide(&Signing::service(odd.clone())).unwrap().service.unwrap();
        assert_eq!((&*names.signature, names.timestamp), ("x-sign", None));
        let exact = ServiceHeaders { timestamp_ms: HeaderChoice::Default, ..odd.clone() };
        let names = guide(&Signing::service(exact)).unwrap().service.unwrap();
        assert_eq!(names.timestamp.as_deref(), Some("x-outpost-timestamp-ms"));
        assert_eq!(guide(&Signing::service(ServiceHeaders { signature: HeaderChoice::Off, ..odd })), None);
    }
}
