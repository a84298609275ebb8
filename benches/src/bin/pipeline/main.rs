//! From publish to recorded delivery, as a ratio.
//!
//! Three things are measured in turn, round after round, in one process: Outpost over SQLite at
//! `synchronous=FULL`; a bare pipeline written by hand for exactly this work; and HTTP alone. The machine's
//! speed cancels out of the ratio, which is what counts.
//!
//! The last line on standard output is JSON; everything else goes to standard error.

mod bare;
mod ours;
mod raw;
mod receiver;

use std::time::{Duration, Instant};

use bytes::Bytes;

/// How many publishers publish at once.
const PUBLISHERS: u64 = 256;
/// How many requests are on their way at once.
const SENDERS: usize = 64;

/// What one round was.
struct Round {
    events: u64,
    took: Duration,
    /// Transactions committed, which at FULL is about the number of syncs.
    commits: u64,
}

impl Round {
    fn per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

/// A JSON object of 1 KiB.
fn payload(number: u64) -> Bytes {
    let head = format!("{{\"number\":{number},\"text\":\"");
    let fill = "x".repeat(1024 - head.len() - 2);
    Bytes::from(format!("{head}{fill}\"}}"))
}

fn main() -> raw::Anything<()> {
    use lexopt::prelude::*;
    let (mut rounds, mut events) = (5_usize, 20_000_u64);
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("rounds") => rounds = given.value()?.parse()?,
            Long("events") => events = given.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = receiver::start()?;
    let (mut ours, mut bare, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let start = Instant::now();
        let one = runtime.block_on(ours::round(address, events))?;
        let two = runtime.block_on(bare::round(address, events))?;
        let three = runtime.block_on(raw::round(address, events))?;
        eprintln!(
            "round {round}: ours {:.0}/s ({} commits), bare {:.0}/s ({} commits), http alone {:.0}/s, ratio {:.2} ({:.1} s)",
            one.per_second(),
            one.commits,
            two.per_second(),
            two.commits,
            three.per_second(),
            one.per_second() / two.per_second(),
            start.elapsed().as_secs_f64(),
        );
        ours.push(one.per_second());
        bare.push(two.per_second());
        raw.push(three.per_second());
    }
    let (ours, bare, raw) = (median(ours), median(bare), median(raw));
    println!(
        "{{\"deliveries_per_s\":{ours:.0},\"bare_per_s\":{bare:.0},\"raw_http_per_s\":{raw:.0},\"ratio\":{:.3}}}",
        ours / bare
    );
    Ok(())
}
