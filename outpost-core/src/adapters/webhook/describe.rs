//! How the webhook presents itself to forms.

use super::secrets::{OLDER, PREVIOUS, PREVIOUS_UNTIL, SECRET};
use super::signing::Names;
use super::url::MAX_URL;
use crate::domain::descriptor::{Descriptor, Field, FieldKind};

const ICON: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"><path d="M18 16.98h-5.99c-1.1 0-1.95.94-2.48 1.9A4 4 0 0 1 2 17c.01-.7.2-1.4.57-2"/><path d="m6 17 3.13-5.78c.53-.97.1-2.18-.5-3.1a4 4 0 1 1 6.89-4.06"/><path d="m12 6 3.13 5.73C15.66 12.7 16.9 13 18 13a4 4 0 0 1 0 8"/></svg>"#;

const INSTRUCTIONS: &str = "\
1. Make an HTTPS endpoint that accepts `POST` requests with a JSON body.
2. Enter its URL here.
3. Check each request's signature with the secret of this destination before you trust it.
4. Answer with a status from 200 to 299 within the time limit; any other answer is a failure and is retried.
";

pub(super) fn descriptor(custom_headers: bool, names: &Names) -> Descriptor {
    let text = |maxlength| FieldKind::Text { minlength: None, maxlength: Some(maxlength), pattern: None };
    let url = Field {
        key: "url",
        kind: FieldKind::Text { minlength: None, maxlength: Some(MAX_URL), pattern: Some("https?://.+") },
        label: "URL",
        description: "Where events are sent with POST.",
        required: true,
        sensitive: false,
    };
    let headers = Field {
        key: "custom_headers",
        kind: FieldKind::KeyValueMap,
        label: "Custom headers",
        description: "Sent with every request, for example for authentication.",
        required: false,
        sensitive: true,
    };
    let (config_fields, hidden_config_fields) =
        if custom_headers { (vec![url, headers], Vec::new()) } else { (vec![url], vec![headers]) };
    let credential =
        |key, kind, label, description, sensitive| Field { key, kind, label, description, required: false, sensitive };
    Descriptor {
        kind: "webhook",
        label: "Webhook",
        description: "Sends events to an HTTP endpoint.",
        icon: ICON,
        instructions: INSTRUCTIONS,
        config_fields,
        hidden_config_fields,
        credential_fields: vec![
            credential(SECRET, text(512), "Secret", "Signs every request; generated when left empty.", true),
            credential(PREVIOUS, text(512), "Previous secret", "Signs too, until it expires.", true),
            credential(PREVIOUS_UNTIL, text(64), "Previous secret expires", "A time in RFC 3339.", false),
            credential(OLDER, text(4096), "Older secrets", "A JSON list of secrets that have not expired.", true),
        ],
        signing: names.guide(),
    }
}
