//! What the terminal shows.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use outpost_core::{DeliveryState, Signal};

#[derive(Default)]
pub(crate) struct Screen {
    delivered: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    /// The lines of the story, to be shown once more without what came between them.
    story: Mutex<Vec<String>>,
}

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const GREY: &str = "90";
const CYAN: &str = "36";

fn paint(colour: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The time of day in UTC.
fn time() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

fn form(colour: &str, what: &str, text: &str) -> String {
    format!("{}  {} {text}", paint(GREY, &time()), paint(colour, &format!("{what:<10}")))
}

fn show(line: &str) {
    // A reader that has gone away is no reason to stop delivering.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn line(colour: &str, what: &str, text: &str) {
    show(&form(colour, what, text));
}

impl Screen {
    /// Where to go from the terminal.
    pub(crate) fn portal(&self, url: &str) {
        show(&format!("portal: {}", paint(CYAN, url)));
    }

    pub(crate) fn note(&self, text: &str) {
        line(GREY, "", text);
    }

    /// What happens in the story of the destination that fails.
    pub(crate) fn story(&self, text: &str) {
        self.chapter(CYAN, "story", text);
    }

    fn chapter(&self, colour: &str, what: &str, text: &str) {
        let line = form(colour, what, text);
        show(&line);
        self.story.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn show(&self, signal: &Signal) {
        match signal {
            Signal::Published { tenant, event, topic, deliveries } => {
                let plural = if *deliveries == 1 { "delivery" } else { "deliveries" };
                line(GREY, "published", &format!("{event}  {topic} for {tenant}: {deliveries} {plural}"));
            }
            Signal::Attempted {
                tenant, destination, event, number, outcome, duration, state, next_attempt_at, ..
            } => {
                let to = format!("{event}  to {tenant}/{destination}, attempt {number}: {}", outcome.code);
                match (state, next_attempt_at) {
                    (DeliveryState::Delivered, _) => {
                        self.delivered.fetch_add(1, Ordering::Relaxed);
                        line(GREEN, "delivered", &format!("{to} in {} ms", duration.as_millis()));
                    }
                    (_, Some(at)) => {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                        let wait = at.as_millis().saturating_sub(i64::try_from(now.as_millis()).unwrap_or(0)).max(0);
                        line(YELLOW, "attempt", &format!("{to}, retry in {:.1} s", wait as f64 / 1000.0));
                    }
                    (DeliveryState::Skipped, None) => line(YELLOW, "skipped", &to),
                    (state, None) => {
                        // Somebody may well have added a destination that always fails.
                        if crate::is_ours(tenant.as_str(), destination.as_str()) {
                            self.failed.fetch_add(1, Ordering::Relaxed);
                        }
                        line(RED, state.as_str(), &to);
                    }
                }
            }
            Signal::Held { tenant, destination, .. } => {
                line(YELLOW, "held", &format!("{tenant}/{destination} asked to be left alone for a while"));
            }
            Signal::Failing { tenant, destination, percent, failures, limit, .. } => {
                let text =
                    format!("{tenant}/{destination}: {failures} attempts in a row failed, {percent} % of {limit}");
                self.chapter(YELLOW, "warning", &text);
            }
            Signal::Recovered { tenant, destination, failures, .. } => {
                self.chapter(GREEN, "recovered", &format!("{tenant}/{destination} after {failures} failed attempts"));
            }
            Signal::Disabled { tenant, destination, disabled } => {
                let last = disabled.last_error.as_deref().unwrap_or("unknown");
                let text = format!("{tenant}/{destination}: {}; last error: {last}", disabled.reason);
                self.chapter(RED, "disabled", &text);
            }
            Signal::StoreFailing { operation, message, .. } => line(RED, "store", &format!("{operation}: {message}")),
            Signal::StoreRecovered => line(GREEN, "store", "works again"),
            _ => {}
        }
    }

    pub(crate) fn summary(&self, published: u64, left: i64, good: u64, bad: u64) {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let (failed, refused) = (self.failed(), self.refused.load(Ordering::Relaxed));
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        if !story.is_empty() {
            show("\nthe story of the destination that failed, once more:");
            story.iter().for_each(|line| show(line));
            show("");
        }
        println!(
            "summary: {published} events published, {delivered} deliveries made, {refused} attempts retried, \
             {failed} given up, {left} left for the next start, {good} signatures verified, {bad} bad"
        );
    }
}
