//! What a list shows, to be taken along: as CSV or as a line of JSON for each delivery, made while it is sent.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use outpost_core::{Delivery, DeliveryFilter, OfDestination, Outpost, PageRequest};

use super::log::{Asked, Place};
use crate::cx::{Answer, Cx};
use crate::reply::{Body, Content, Reply};
use crate::route::Format;

/// The most deliveries of one export.
const MOST: usize = 100_000;
/// How many are read at once.
const PAGE: u32 = 500;
/// The most pages that are read, however few rows of them are wanted.
const PAGES: usize = 400;
const HEADINGS: &str =
    "event_id,destination_id,topic,status,created_at,finished_at,next_attempt_at,attempts,last_code\r\n";

struct Writing {
    outpost: Outpost,
    tenant: String,
    filter: DeliveryFilter,
    format: Format,
    /// The page to read next; `None` at the end.
    next: Option<PageRequest>,
    written: usize,
    read: usize,
    ready: VecDeque<Bytes>,
}

pub(super) async fn stream(cx: &Cx<'_>, id: Option<&str>, format: Format) -> Answer {
    if let Some(id) = id {
        cx.destination(id).await?;
    }
    let asked = Asked::read(cx, id.map_or(Place::All, Place::Of));
    if asked.unmatched {
        // Those are events; there is no delivery of them.
        return Err(crate::cx::Fault::NotFound);
    }
    let mut writing = Writing {
        outpost: cx.outpost.clone(),
        tenant: cx.tenant().to_owned(),
        filter: asked.filter,
        format,
        next: Some(PageRequest { limit: PAGE, ..PageRequest::default() }),
        written: 0,
        read: 0,
        ready: VecDeque::new(),
    };
    if format == Format::Csv {
        writing.ready.push_back(Bytes::from_static(HEADINGS.as_bytes()));
    }
    // The first page is read before the answer begins, so that a failure can still be an error page.
    writing.read().await?;
    cx.audit("export deliveries", id.unwrap_or("all"));
    let kind = match format {
        Format::Csv => "text/csv; charset=utf-8",
        Format::Ndjson => "application/x-ndjson",
    };
    let body = Content::Stream(Body::streamed(stream::unfold(writing, Writing::chunk)));
    let mut reply = Reply::download(&format!("deliveries.{}", format.extension()), kind, body);
    reply.status = StatusCode::OK;
    reply.set(header::HeaderName::from_static("x-outpost-export-limit"), &MOST.to_string());
    Ok(reply)
}

impl Writing {
    async fn read(&mut self) -> outpost_core::Result<()> {
        let Some(request) = self.next.take() else { return Ok(()) };
        let page = self.outpost.deliveries().list(self.tenant.as_str(), &self.filter, &request).await?;
        let mut text = String::new();
        for delivery in &page.items {
            if self.written == MOST {
                self.ready.push_back(text.into());
                self.ready.push_back(cut(self.format));
                return Ok(());
            }
            self.written += 1;
            write_row(&mut text, self.format, delivery);
        }
        self.ready.push_back(text.into());
        self.read += 1;
        if self.read == PAGES && page.next.is_some() {
            self.ready.push_back(cut(self.format));
            return Ok(());
        }
        self.next = page.next.map(|cursor| PageRequest { limit: PAGE, cursor: Some(cursor), ..PageRequest::default() });
        Ok(())
    }

    async fn chunk(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some((chunk, self));
            }
            self.next.as_ref()?;
            if let Err(error) = self.read().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "an export broke off");
                return Some((cut(self.format), self));
            }
        }
    }
}

/// The last line of an export that is not whole.
fn cut(format: Format) -> Bytes {
    Bytes::from_static(match format {
        Format::Csv => b"# cut off here: not everything could be exported; narrow the filters down\r\n",
        Format::Ndjson => b"{\"error\":\"cut off here: not everything could be exported; narrow the filters down\"}\n",
    })
}

fn write_row(text: &mut String, format: Format, delivery: &OfDestination<Delivery>) {
    let time = |at: Option<outpost_core::Timestamp>| at.map(|at| at.to_string());
    let code = delivery.last_outcome.as_ref().map(|outcome| outcome.code.as_str());
    match format {
        Format::Csv => {
            let cells = [
                delivery.key.event.to_string(),
                delivery.destination_id.to_string(),
                delivery.topic.to_string(),
                delivery.state.to_string(),
                delivery.created_at.to_string(),
                time(delivery.finished_at).unwrap_or_default(),
                time(delivery.next_attempt_at).unwrap_or_default(),
                delivery.attempts.to_string(),
                code.unwrap_or_default().to_owned(),
            ];
            let line: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            let _ = write!(text, "{}\r\n", line.join(","));
        }
        Format::Ndjson => {
            let line = serde_json::json!({
                "event_id": delivery.key.event.as_str(),
                "destination_id": delivery.destination_id.as_str(),
                "topic": &*delivery.topic,
                "status": delivery.state.as_str(),
                "created_at": delivery.created_at.to_string(),
                "finished_at": time(delivery.finished_at),
                "next_attempt_at": time(delivery.next_attempt_at),
                "attempts": delivery.attempts,
                "last_code": code,
            });
            let _ = writeln!(text, "{line}");
        }
    }
}

/// A cell that no spreadsheet takes for a formula.
fn csv_cell(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if risky { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        for (cell, written) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("-a", "'-a"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=a\nb", "\"'=a\nb\""),
        ] {
            assert_eq!(csv_cell(cell), written);
        }
    }
}
