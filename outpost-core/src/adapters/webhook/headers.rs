//! Headers that users may set, and those they may not.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::signing::Names;
use crate::domain::tenant::{StringMap, check_header_map};
use crate::values::error::Problem;

/// The most custom headers of a destination.
const MAX_HEADERS: usize = 64;
/// The longest value of a custom header, in bytes.
const MAX_VALUE: usize = 4 * 1024;
/// The most bytes that names and values of a destination's custom headers may have together.
const MAX_TOTAL: usize = 16 * 1024;

/// Headers that describe the message or the connection; only the transport may set them.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Whether only the transport may set this lowercase name.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with("proxy-") || RESERVED.contains(&name)
}

/// Reads the `custom_headers` field: a JSON object of texts. Every problem is reported.
pub(super) fn custom(json: &str, names: &Names, problems: &mut Vec<Problem>) -> HeaderMap {
    const FIELD: &str = "config.custom_headers";
    // Room for what every request adds, so that copies need not grow.
    let mut headers = HeaderMap::with_capacity(24);
    if json.trim().is_empty() {
        return headers;
    }
    let Ok(map) = serde_json::from_str::<StringMap>(json) else {
        problems.push(Problem::new(FIELD, "must be a JSON object of texts"));
        return headers;
    };
    if map.len() > MAX_HEADERS {
        problems.push(Problem::new(FIELD, format!("must have at most {MAX_HEADERS} headers")));
        return headers;
    }
    if map.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_TOTAL {
        problems.push(Problem::new(FIELD, format!("must have at most {MAX_TOTAL} bytes altogether")));
        return headers;
    }
    for (key, text) in &map {
        match header(key, text, names) {
            Ok((name, _)) if headers.contains_key(&name) => {
                problems.push(Problem::new(format!("{FIELD}.{key}"), "is given twice, in different spelling"));
            }
            Ok((name, value)) => {
                headers.insert(name, value);
            }
            Err(message) => problems.push(Problem::new(format!("{FIELD}.{}", shown(key)), message)),
        }
    }
    headers
}

fn header(key: &str, text: &str, names: &Names) -> Result<(HeaderName, HeaderValue), String> {
    let grammar = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && key.starts_with(|first: char| first.is_ascii_alphanumeric());
    let name = HeaderName::from_bytes(key.as_bytes()).ok().filter(|_| grammar && key.len() <= 128);
    let Some(name) = name else {
        return Err("must have a name of at most 128 letters, digits, '-' and '_'".to_owned());
    };
    if is_reserved(name.as_str()) || names.is_system(&name) {
        return Err("is set by the library and cannot be changed".to_owned());
    }
    if text.is_empty() {
        return Err("is required".to_owned());
    }
    if text.len() > MAX_VALUE {
        return Err(format!("must be at most {MAX_VALUE} bytes"));
    }
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) || text.trim() != text {
        return Err("must be visible ASCII with spaces only inside".to_owned());
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| "cannot be a header value".to_owned())?;
    // Whatever its name: the field as a whole is sealed in the store, so its values must not stand in attempts.
    value.set_sensitive(true);
    Ok((name, value))
}

/// A key as a field path shows it: short, and without characters that could break a log line.
fn shown(key: &str) -> String {
    key.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Adds metadata as headers under each prefix. What the transport itself sets is left out. Values that are
/// `sealed` in the store are masked where the request is recorded.
pub(super) fn add_metadata(
    headers: &mut HeaderMap,
    map: &StringMap,
    names: &Names,
    sealed: bool,
) -> Result<(), (String, &'static str)> {
    for (key, text) in map {
        let mut value =
            HeaderValue::from_str(text).map_err(|_| (key.clone(), "has a value that cannot be a header"))?;
        value.set_sensitive(sealed);
        for prefix in names.prefixes() {
            let name = if prefix.is_empty() {
                HeaderName::from_bytes(key.as_bytes())
            } else {
                HeaderName::from_bytes([prefix, key].concat().as_bytes())
            };
            let name = name.map_err(|_| (key.clone(), "has a key that cannot be a header's name"))?;
            if !is_reserved(name.as_str()) && !names.is_system(&name) {
                headers.insert(name, value.clone());
            }
        }
    }
    Ok(())
}

/// Checks and adds the metadata that a destination sends with every event.
pub(super) fn add_delivery_metadata(
    headers: &mut HeaderMap,
    map: &StringMap,
    names: &Names,
    problems: &mut Vec<Problem>,
) {
    let before = problems.len();
    check_header_map("delivery_metadata", map, problems);
    if problems.len() == before
        && let Err((key, message)) = add_metadata(headers, map, names, true)
    {
        problems.push(Problem::new(format!("delivery_metadata.{key}"), message));
    }
}
