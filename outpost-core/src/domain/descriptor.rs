//! What a kind of destination is made of. Forms and validation are drawn from it.

use serde::Serialize;

use super::tenant::{StringMap, check_map};
use crate::values::error::Problem;

/// How a field is edited and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FieldKind {
    /// A line of text.
    Text {
        /// The fewest characters.
        #[serde(skip_serializing_if = "Option::is_none")]
        minlength: Option<usize>,
        /// The most characters.
        #[serde(skip_serializing_if = "Option::is_none")]
        maxlength: Option<usize>,
        /// A pattern as HTML forms know it. It guides forms; the transport itself checks the value.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'static str>,
    },
    /// `true` or `false`.
    Checkbox,
    /// A whole number.
    Number {
        /// The least value.
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<i64>,
        /// The greatest value.
        #[serde(skip_serializing_if = "Option::is_none")]
        max: Option<i64>,
    },
    /// One of a list.
    Select {
        /// Value and label of each choice.
        options: &'static [(&'static str, &'static str)],
    },
    /// A JSON object of texts, written as a string.
    KeyValueMap,
}

/// One field of a destination's config or credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The key in the map.
    pub key: &'static str,
    /// How it is edited and checked.
    #[serde(flatten)]
    pub kind: FieldKind,
    /// What a form calls it.
    pub label: &'static str,
    /// What a form says about it.
    pub description: &'static str,
    /// It must be there.
    pub required: bool,
    /// Its value is masked for whoever may not see secrets.
    pub sensitive: bool,
}

/// How a transport signs what it sends with a destination's secret, for pages that tell receivers how to check it. A
/// transport may do both at once. Names of headers are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningGuide {
    /// Standard Webhooks: what is signed is the id, the time in whole seconds since 1970 and the body, with a dot
    /// between them.
    pub standard: Option<StandardGuide>,
    /// The service's own scheme: what is signed is the body alone, see [`BodyKey`](crate::BodyKey).
    pub service: Option<ServiceGuide>,
}

/// The headers of Standard Webhooks under a transport's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardGuide {
    /// The event's id.
    pub id: String,
    /// The attempt's time, in seconds since 1970.
    pub timestamp: String,
    /// Signatures, `v1,…` or `v1a,…`, with a space between them.
    pub signature: String,
}

/// The headers of the service's own scheme. Of these the signature covers none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceGuide {
    /// `v0=` and signatures in lowercase hex, with a comma between them.
    pub signature: String,
    /// The attempt's time in RFC 3339, where it is sent.
    pub timestamp: Option<String>,
}

/// A kind of destination: its name, how it presents itself, and its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    /// The kind's name, such as `webhook`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What a form calls it.
    pub label: &'static str,
    /// One sentence about it.
    pub description: &'static str,
    /// An inline SVG.
    pub icon: &'static str,
    /// How to set up a receiver, in Markdown.
    pub instructions: &'static str,
    /// The fields of `config`.
    pub config_fields: Vec<Field>,
    /// Fields of `config` that are understood but not offered: forms leave them out, tenants cannot set or
    /// change them, and a destination that has a value keeps it.
    #[serde(skip)]
    pub hidden_config_fields: Vec<Field>,
    /// The fields of `credentials`.
    pub credential_fields: Vec<Field>,
    /// How requests are signed, for transports that sign by a scheme that is known here.
    #[serde(skip)]
    pub signing: Option<SigningGuide>,
}

impl Descriptor {
    /// The fields of `config` that may have a value, whether they are offered or not.
    pub fn known_config_fields(&self) -> impl Iterator<Item = &Field> {
        self.config_fields.iter().chain(&self.hidden_config_fields)
    }

    /// Checks both maps against the fields and reports every problem: unknown keys, missing and malformed
    /// values. What only the transport knows it checks itself in
    /// [`Transport::prepare`](crate::Transport::prepare).
    #[must_use]
    pub fn problems(&self, config: &StringMap, credentials: &StringMap) -> Vec<Problem> {
        let mut problems = Vec::new();
        let config_fields: Vec<&Field> = self.known_config_fields().collect();
        let credential_fields: Vec<&Field> = self.credential_fields.iter().collect();
        for (side, fields, map) in [("config", config_fields, config), ("credentials", credential_fields, credentials)]
        {
            check_map_shape(side, map, &mut problems);
            for key in map.keys() {
                if !fields.iter().any(|field| field.key == key) {
                    problems
                        .push(Problem::new(format!("{side}.{key}"), format!("is not a field of type {}", self.kind)));
                }
            }
            for field in fields {
                let path = format!("{side}.{}", field.key);
                match map.get(field.key).map(String::as_str) {
                    None | Some("") if field.required => problems.push(Problem::new(path, "is required")),
                    None | Some("") => {}
                    Some(value) => check_value(&path, &field.kind, value, &mut problems),
                }
            }
        }
        problems
    }
}

/// Config values may be long (a map of headers is one value), so only the shape is bounded here.
fn check_map_shape(side: &str, map: &StringMap, problems: &mut Vec<Problem>) {
    let long: Vec<&String> = map.iter().filter(|(_, value)| value.len() > 32 * 1024).map(|(key, _)| key).collect();
    for key in long {
        problems.push(Problem::new(format!("{side}.{key}"), "must be at most 32768 bytes"));
    }
    let keys: StringMap = map.keys().map(|key| (key.clone(), String::new())).collect();
    check_map(side, &keys, problems);
}

fn check_value(path: &str, kind: &FieldKind, value: &str, problems: &mut Vec<Problem>) {
    let mut refuse = |message: String| problems.push(Problem::new(path, message));
    match kind {
        FieldKind::Text { minlength, maxlength, .. } => {
            let length = value.chars().count();
            if let Some(least) = minlength.filter(|least| length < *least) {
                refuse(format!("must be at least {least} characters"));
            }
            if let Some(most) = maxlength.filter(|most| length > *most) {
                refuse(format!("must be at most {most} characters"));
            }
        }
        FieldKind::Checkbox if !matches!(value, "true" | "false") => refuse("must be true or false".to_owned()),
        FieldKind::Checkbox => {}
        FieldKind::Number { min, max } => match value.parse::<i64>() {
            Err(_) => refuse("must be a whole number".to_owned()),
            Ok(number) => {
                if let Some(least) = min.filter(|least| number < *least) {
                    refuse(format!("must be at least {least}"));
                }
                if let Some(most) = max.filter(|most| number > *most) {
                    refuse(format!("must be at most {most}"));
                }
            }
        },
        FieldKind::Select { options } => {
            if !options.iter().any(|(option, _)| *option == value) {
                let choices: Vec<&str> = options.iter().map(|(option, _)| *option).collect();
                refuse(format!("must be one of: {}", choices.join(", ")));
            }
        }
        FieldKind::KeyValueMap => {
            if serde_json::from_str::<StringMap>(value).is_err() {
                refuse("must be a JSON object of texts".to_owned());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = FieldKind::Text { minlength: Some(3), maxlength: None, pattern: None };
        let field = |key, kind, required| Field { key, kind, label: "", description: "", required, sensitive: false };
        let descriptor = Descriptor {
            kind: "queue",
            label: "",
            description: "",
            icon: "",
            instructions: "",
            config_fields: vec![
                field("url", text, true),
                field("size", FieldKind::Number { min: Some(1), max: Some(9) }, false),
                field("mode", FieldKind::Select { options: &[("a", "A"), ("b", "B")] }, false),
                field("map", FieldKind::KeyValueMap, false),
                field("on", FieldKind::Checkbox, false),
            ],
            hidden_config_fields: vec![field("old", FieldKind::KeyValueMap, false)],
            credential_fields: vec![field("key", FieldKind::Checkbox, true)],
            signing: None,
        };
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let problems = descriptor.problems(
            &map(&[
                ("url", "x"),
                ("size", "10"),
                ("mode", "c"),
                ("map", "[]"),
                ("on", "1"),
                ("extra", "1"),
                ("old", "x"),
            ]),
            &map(&[]),
        );
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "config.extra",
                "config.url",
                "config.size",
                "config.mode",
                "config.map",
                "config.on",
                "config.old",
                "credentials.key"
            ]
        );
        // Forms are drawn from what is serialized.
        assert!(!serde_json::to_string(&descriptor).unwrap().contains("old"));
    }
}
