//! What must not be shown: secret parts of URLs, and header values that carry credentials.

use super::url::percent_decode;
use crate::domain::attempt::HeaderList;
use crate::domain::destination::MASK;

/// Paths below `prefix` on `host` (a name, or a suffix that starts with a dot) are secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathMask {
    pub(super) host: String,
    pub(super) prefix: String,
}

/// Services whose webhook URLs are themselves the secret.
const KNOWN: &[(&str, &str)] = &[
    ("hooks.slack.com", "/services/"),
    ("hooks.slack.com", "/workflows/"),
    ("hooks.slack.com", "/triggers/"),
    ("discord.com", "/api/webhooks/"),
    ("discordapp.com", "/api/webhooks/"),
    ("outlook.office.com", "/webhook/"),
    (".webhook.office.com", "/webhookb2/"),
    ("hooks.zapier.com", "/hooks/"),
    ("maker.ifttt.com", "/trigger/"),
    ("api.telegram.org", "/bot"),
    (".make.com", "/"),
    (".pipedream.net", "/"),
];

/// Parts of names that tell that a value is secret.
const SENSITIVE: &[&str] = &["token", "secret", "key", "pass", "pwd", "auth", "cred", "cookie", "session"];
/// Whole parameter names that are secret too; `code` is what Azure Functions call their key.
const SENSITIVE_PARAMETERS: &[&str] = &["sig", "hmac", "code"];

/// What stands for a secret part of a URL.
const URL_MASK: &str = "***";

/// Whether a header of this lowercase name carries a credential. Signatures are made to be seen.
pub(super) fn is_sensitive_header(name: &str) -> bool {
    contains_sensitive(name)
}

fn contains_sensitive(name: &str) -> bool {
    SENSITIVE.iter().any(|part| name.contains(part))
}

/// Path and query for display.
pub(super) fn mask_target(host: &str, target: &str, masks: &[PathMask]) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let known = KNOWN.iter().copied().chain(masks.iter().map(|mask| (mask.host.as_str(), mask.prefix.as_str())));
    let mut shown = path.to_owned();
    for (mask_host, prefix) in known {
        let same_host = if mask_host.starts_with('.') { host.ends_with(mask_host) } else { host == mask_host };
        if same_host && path.len() > prefix.len() && path.starts_with(prefix) {
            shown = format!("{prefix}{URL_MASK}");
            break;
        }
    }
    if let Some(query) = query {
        shown.push('?');
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                shown.push('&');
            }
            match pair.split_once('=') {
                Some((name, _)) if is_sensitive_parameter(name) => {
                    shown.push_str(name);
                    shown.push('=');
                    shown.push_str(URL_MASK);
                }
                _ => shown.push_str(pair),
            }
        }
    }
    shown
}

fn is_sensitive_parameter(name: &str) -> bool {
    let name = String::from_utf8_lossy(&percent_decode(name)).to_ascii_lowercase();
    contains_sensitive(&name) || name.contains("signature") || SENSITIVE_PARAMETERS.contains(&name.as_str())
}

/// How many headers of an answer are kept.
const MAX_HEADERS: usize = 128;
/// How many bytes of names and values of an answer's headers are kept.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Headers as they are recorded: at most 128 and 32 KiB, a value that does not fit cut short, what is not
/// text replaced, credentials masked.
pub(super) fn record(headers: &http::HeaderMap) -> HeaderList {
    let mut list = HeaderList::with_capacity(headers.len().min(MAX_HEADERS));
    let mut budget = MAX_HEADER_BYTES;
    for (name, value) in headers.iter().take(MAX_HEADERS) {
        let name = name.as_str();
        budget = budget.saturating_sub(name.len());
        if budget == 0 {
            break;
        }
        let shown = if value.is_sensitive() || is_sensitive_header(name) {
            MASK.to_owned()
        } else {
            let bytes = value.as_bytes();
            let kept = bytes.get(..budget).unwrap_or(bytes);
            let mut text = String::from_utf8_lossy(kept).into_owned();
            if kept.len() < bytes.len() {
                text.push('…');
            }
            text
        };
        budget = budget.saturating_sub(shown.len());
        list.push((name.to_owned(), shown));
    }
    list
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn secret_paths_and_parameters_are_masked() {
        let own = PathMask { host: "in.corp".to_owned(), prefix: "/w/".to_owned() };
        for (host, target, shown) in [
            ("hooks.slack.com", "/services/T0/B0/xyz", "/services/***"),
            ("discord.com", "/api/webhooks/1/abc?wait=true", "/api/webhooks/***?wait=true"),
            ("corp.webhook.office.com", "/webhookb2/a@b/IncomingWebhook/c", "/webhookb2/***"),
            ("in.corp", "/w/abc", "/w/***"),
            ("in.corp", "/w/", "/w/"),
            ("other.test", "/services/T0", "/services/T0"),
            (
                "x.test",
                "/?X-Amz-Signature=a&access_token=b&%74oken=c&q=token&tokenless",
                "/?X-Amz-Signature=***&access_token=***&%74oken=***&q=token&tokenless",
            ),
            ("x.test", "/?sig=a&CODE=b&Password=&plain=1", "/?sig=***&CODE=***&Password=***&plain=1"),
        ] {
            assert_eq!(mask_target(host, target, std::slice::from_ref(&own)), shown);
        }
    }

    #[test]
    fn recorded_headers_are_lossy_bounded_and_masked() {
        let mut headers = HeaderMap::new();
        headers.insert("x-odd", HeaderValue::from_bytes(b"a\xff\x80").unwrap());
        headers.insert("set-cookie", HeaderValue::from_static("sid=canary"));
        headers.insert("x-api-key", HeaderValue::from_static("canary"));
        headers.insert("webhook-signature", HeaderValue::from_static("v1,abc"));
        headers.insert("x-long", HeaderValue::from_str(&"l".repeat(60_000)).unwrap());
        headers.insert("x-after", HeaderValue::from_static("gone"));
        let list = record(&headers);
        let value = |name: &str| list.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("x-odd"), Some("a\u{fffd}\u{fffd}"));
        assert_eq!([value("set-cookie"), value("x-api-key")], [Some(MASK); 2]);
        assert_eq!(value("webhook-signature"), Some("v1,abc"));
        assert!(value("x-long").unwrap().len() < MAX_HEADER_BYTES + 4 && value("x-long").unwrap().ends_with('…'));
        assert_eq!(value("x-after"), None);

        let mut many = HeaderMap::new();
        for index in 0..500 {
            many.append(HeaderName::from_static("x-a"), HeaderValue::from(index));
        }
        assert_eq!(record(&many).len(), MAX_HEADERS);
    }
}
