//! What the portal's pages cost on the server as a tenant's history grows: the 99th percentile with 500,000 attempts
//! stored, as a ratio to that with 5,000, in one process and page by page. From the request to the last byte of the
//! compressed page, over a real file.
//!
//! The last line on standard output is JSON; everything else goes to standard error.

use std::time::{Duration, Instant};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use outpost_benches::history::{Anything, Log, log, p99};
use outpost_core::PortalLink;
use outpost_portal::Portal;
use tower_service::Service as _;

/// A portal and somebody signed in to it.
struct Visit {
    portal: Portal,
    cookie: String,
    log: Log,
}

async fn get(portal: &Portal, path: &str, cookie: &str) -> Anything<(StatusCode, http::HeaderMap, usize)> {
    let request = Request::get(path).header(header::COOKIE, cookie).header(header::ACCEPT_ENCODING, "gzip");
    let response = portal.clone().call(request.body(Empty::<bytes::Bytes>::new())?).await?;
    let (parts, body) = response.into_parts();
    Ok((parts.status, parts.headers, body.collect().await?.to_bytes().len()))
}

async fn visit(attempts: i64) -> Anything<Visit> {
    let log = log(attempts).await?;
    let portal = Portal::builder(log.outpost.clone()).referer_url("https://app.example/").build()?;
    let link = log.outpost.portal_link("acme", PortalLink::default()).await?;
    let path = link.strip_prefix("https://app.example").unwrap_or(&link);
    let (_, headers, _) = get(&portal, path, "").await?;
    let cookie = headers.get(header::SET_COOKIE).ok_or("no session")?.to_str()?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    Ok(Visit { portal, cookie, log })
}

fn main() -> Anything<()> {
    use lexopt::prelude::*;
    let (mut small, mut large, mut visits) = (5_000, 500_000, 300);
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("small") => small = given.value()?.parse()?,
            Long("large") => large = given.value()?.parse()?,
            Long("visits") => visits = given.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (few, many) = runtime.block_on(async {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((visit(small).await?, visit(large).await?))
    })?;
    let mut figures = Vec::new();
    for page in ["", "destinations/ID", "destinations/ID/deliveries", "activity", "destinations/ID/deliveries/evt_20"] {
        let (mut of_few, mut of_many, mut size) = (Vec::new(), Vec::new(), 0);
        for _ in 0..visits {
            // By turns, so that whatever else the machine does meets both.
            for (visit, times) in [(&few, &mut of_few), (&many, &mut of_many)] {
                let path = format!("/webhooks/{}", page.replace("ID", &visit.log.destination));
                let begin = Instant::now();
                let (status, _, bytes) = runtime.block_on(get(&visit.portal, &path, &visit.cookie))?;
                times.push(begin.elapsed());
                if status != StatusCode::OK {
                    return Err(format!("{path} answered {status}").into());
                }
                size = bytes;
            }
        }
        let (few, many) = (p99(of_few), p99(of_many));
        let (ratio, ms) = (many.as_secs_f64() / few.as_secs_f64(), |time: Duration| time.as_secs_f64() * 1e3);
        eprintln!(
            "/{page}: p99 {:.2} ms with {small} attempts, {:.2} ms with {large}, ratio {ratio:.2}, {size} bytes",
            ms(few),
            ms(many)
        );
        figures.push(format!(
            "\"/{page}\":{{\"p99_ratio\":{ratio:.2},\"p99_small_ms\":{:.2},\"p99_large_ms\":{:.2}}}",
            ms(few),
            ms(many)
        ));
    }
    println!("{{{}}}", figures.join(","));
    Ok(())
}
