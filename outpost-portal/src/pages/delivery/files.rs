//! What can be saved of a delivery. Nothing of it is ever shown by the browser itself.

use outpost_core::Attempt;

use super::curl as command;
use crate::cx::{Answer, Cx, Fault};
use crate::reply::{Content, Reply};

/// The name of an event's file, short enough for every file system.
fn name(event: &str, end: &str) -> String {
    let start: String = event.chars().take(100).collect();
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{}{end}", start.replace(|c| safe(c) != c, "_"))
}

pub(super) fn payload_name(event: &str) -> String {
    name(event, ".json")
}

pub(in crate::pages) async fn payload(cx: &Cx<'_>, id: &str, event: &str) -> Answer {
    cx.outpost.deliveries().get(cx.tenant(), id, event).await?;
    let found = cx.outpost.events().get(cx.tenant(), event).await?;
    Ok(Reply::download(&payload_name(event), "application/json", Content::Bytes(found.data.clone())))
}

/// The body that was answered, as bytes of no kind: what a receiver calls HTML must not run here.
pub(in crate::pages) async fn response(cx: &Cx<'_>, id: &str, event: &str, number: u32) -> Answer {
    let attempt = attempt(cx, id, event, number).await?;
    let response = attempt.response.ok_or(Fault::NotFound)?;
    let name = name(event, &format!("-attempt-{number}-response.bin"));
    Ok(Reply::download(&name, "application/octet-stream", Content::Bytes(response.body)))
}

pub(in crate::pages) async fn curl(cx: &Cx<'_>, id: &str, event: &str, number: u32) -> Answer {
    let attempt = attempt(cx, id, event, number).await?;
    let found = cx.outpost.events().get(cx.tenant(), event).await?;
    let request = attempt.request.ok_or(Fault::NotFound)?;
    let text = command::command(cx, &request, &found).ok_or(Fault::NotFound)?;
    let name = name(event, &format!("-attempt-{number}-curl.sh"));
    Ok(Reply::download(&name, "text/plain; charset=utf-8", Content::Bytes(text.into())))
}

async fn attempt(cx: &Cx<'_>, id: &str, event: &str, number: u32) -> Result<Attempt, Fault> {
    let attempts = cx.outpost.deliveries().attempts_of(cx.tenant(), id, event).await?;
    attempts.into_iter().find(|attempt| attempt.number == number).ok_or(Fault::NotFound)
}
