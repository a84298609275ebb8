//! What a metrics query costs as the log grows: the 99th percentile with 500,000 attempts stored, as a ratio to
//! that with 5,000, in one process. Both logs cover the same two days, destinations and answers, so what the
//! rollups hold is the same; only the log is a hundred times as long.
//!
//! The last line on standard output is JSON; everything else goes to standard error.

use std::time::{Duration, Instant};

use outpost_benches::history::{Anything, HOURS, Log, log, p99};
use outpost_core::{Dimension, Granularity, Measure, MetricsQuery, Timestamp};

/// One query: two days by the hour, by destination and answer.
async fn query(log: &Log) -> Anything<(Duration, u64)> {
    let from = log.until.before(Duration::from_millis(u64::try_from(HOURS * 3_600_000)?));
    let start = Timestamp::from_millis(from.as_millis() / 3_600_000 * 3_600_000);
    let mut query = MetricsQuery::new(start, log.until.after(Duration::from_secs(3600)));
    query.granularity = Some(Granularity::parse("1h")?);
    query.measures = vec![Measure::Count, Measure::ErrorRate, Measure::P95Latency];
    query.dimensions = vec![Dimension::DestinationId, Dimension::Code];
    let begin = Instant::now();
    let report = log.outpost.metrics().attempts("acme", &query).await?;
    Ok((begin.elapsed(), report.rollups_read))
}

fn main() -> Anything<()> {
    use lexopt::prelude::*;
    let (mut small, mut large, mut queries) = (5_000, 500_000, 300);
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("small") => small = given.value()?.parse()?,
            Long("large") => large = given.value()?.parse()?,
            Long("queries") => queries = given.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (few, many) = runtime.block_on(async {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((log(small).await?, log(large).await?))
    })?;
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    let mut read = (0, 0);
    for _ in 0..queries {
        // By turns, so that whatever else the machine does meets both.
        let (took, rows) = runtime.block_on(query(&few))?;
        of_few.push(took);
        read.0 = rows;
        let (took, rows) = runtime.block_on(query(&many))?;
        of_many.push(took);
        read.1 = rows;
    }
    let (few, many) = (p99(of_few), p99(of_many));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    eprintln!("{small} attempts: p99 {few:?}, {} rollups read; {large} attempts: p99 {many:?}, {}", read.0, read.1);
    println!(
        "{{\"p99_ratio\":{ratio:.2},\"p99_small_ms\":{:.2},\"p99_large_ms\":{:.2}}}",
        few.as_secs_f64() * 1e3,
        many.as_secs_f64() * 1e3
    );
    Ok(())
}
