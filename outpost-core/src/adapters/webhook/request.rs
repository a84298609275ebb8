//! Putting one request together.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

use super::Settings;
use super::headers::add_metadata;
use super::signing::{Names, ServiceNames, StandardNames};
use crate::ports::transport::Message;

/// The body that is signed and sent: the event's own bytes, or an envelope around them.
pub(super) fn body(message: &Message, envelope: bool) -> Bytes {
    if !envelope {
        return message.data.clone();
    }
    // Written by hand: the data must not pass through a parser.
    let topic = serde_json::Value::from(&*message.topic);
    let head = format!(r#"{{"type":{topic},"timestamp":"{}","data":"#, message.time);
    Bytes::from([head.as_bytes(), &message.data, b"}"].concat())
}

/// All headers. What the transport sets goes in last, so that nothing else can stand in its place.
pub(super) fn headers(settings: &Settings, names: &Names, message: &Message, body: &[u8]) -> Result<HeaderMap, String> {
    let mut headers = settings.headers.clone();
    add_metadata(&mut headers, &message.metadata, names, false)
        .map_err(|(key, what)| format!("metadata {key:?} of the event {what}"))?;
    let id = value(message.id.as_str())?;
    let topic = value(&message.topic)?;
    if let Some(names) = &names.standard {
        standard(&mut headers, settings, names, message, body, (&id, &topic))?;
    }
    if let Some(names) = &names.service {
        service(&mut headers, settings, names, message, body, (&id, &topic))?;
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(headers)
}

fn standard(
    headers: &mut HeaderMap,
    settings: &Settings,
    names: &StandardNames,
    message: &Message,
    body: &[u8],
    (id, topic): (&HeaderValue, &HeaderValue),
) -> Result<(), String> {
    let timestamp = message.now.as_seconds().to_string();
    let mut signatures = String::with_capacity(48);
    for key in settings.keys.iter().filter(|key| key.is_valid(message.now)).filter_map(|key| key.standard.as_ref()) {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        key.sign_into(&mut signatures, message.id.as_str(), &timestamp, body);
    }
    headers.insert(&names.id, id.clone());
    headers.insert(&names.topic, topic.clone());
    headers.insert(&names.timestamp, owned(timestamp)?);
    headers.insert(&names.signature, owned(signatures)?);
    Ok(())
}

fn service(
    headers: &mut HeaderMap,
    settings: &Settings,
    names: &ServiceNames,
    message: &Message,
    body: &[u8],
    (id, topic): (&HeaderValue, &HeaderValue),
) -> Result<(), String> {
    let mut put = |name: &Option<_>, value: HeaderValue| {
        if let Some(name) = name {
            headers.insert(name, value);
        }
    };
    put(&names.event_id, id.clone());
    put(&names.topic, topic.clone());
    if names.timestamp.is_some() || names.timestamp_ms.is_some() {
        let exact = message.now.to_string();
        let seconds = exact.split('.').next().unwrap_or_default();
        put(&names.timestamp, owned(format!("{seconds}Z"))?);
        put(&names.timestamp_ms, owned(exact)?);
    }
    if names.signature.is_some() {
        let mut signatures = String::with_capacity(68);
        signatures.push_str("v0=");
        let keys = settings.keys.iter().filter(|key| key.is_valid(message.now));
        for (index, key) in keys.filter_map(|key| key.service.as_ref()).enumerate() {
            if index > 0 {
                signatures.push(',');
            }
            key.sign_into(&mut signatures, body);
        }
        put(&names.signature, owned(signatures)?);
    }
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("{text:?} cannot be a header value"))
}

fn owned(text: String) -> Result<HeaderValue, String> {
    HeaderValue::from_maybe_shared(Bytes::from(text)).map_err(|_| "a computed value cannot be a header".to_owned())
}
