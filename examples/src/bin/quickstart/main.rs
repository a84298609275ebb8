//! A host application in one process: it registers tenants and destinations, publishes events at a steady
//! pace, and shows what happens to them. The receiver is built in and fails some of the time; one destination's
//! receiver fails always, until the engine has disabled it and it is mended. The portal shows all of it to the
//! tenants' users, and lets them add destinations of their own.
//!
//! Everything is kept in `outpost.db` in the current folder, so a second start goes on where the first one
//! stopped, however that happened.

mod keys;
mod portal;
mod receiver;
mod screen;
mod serve;
mod story;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outpost_core::{
    Destination, DestinationId, DestinationPatch, EgressPolicy, ErrorKind, HealthPolicy, MapPatch, NewDestination,
    NewEvent, Outpost, RetryPolicy, Schedule, TokenSettings, Topics, WebhookTransport,
};
use outpost_store_sqlite::SqliteStore;

use crate::portal::Door;
use crate::receiver::Receiver;
use crate::screen::Screen;
use crate::story::Watch;

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// The tenants' destinations and what they want to hear of.
const DESTINATIONS: [(&str, &str, &[&str]); 4] = [
    ("acme", "orders", &["order.*"]),
    ("acme", "everything", &["*"]),
    ("globex", "billing", &["invoice.paid", "invoice.overdue"]),
    ("globex", "audit", &["*"]),
];
/// The one whose receiver is broken at first.
const BROKEN: (&str, &str, &[&str]) = (story::TENANT, story::DESTINATION, &[story::TOPIC]);
/// So many failed attempts in a row disable a destination.
const FAILURES: u32 = 20;
const TOPICS: [&str; 4] = ["order.created", "order.shipped", "invoice.paid", "invoice.overdue"];

/// The destinations that are here from the start.
fn ours() -> impl Iterator<Item = (&'static str, &'static str, &'static [&'static str])> {
    DESTINATIONS.into_iter().chain([BROKEN])
}

fn is_ours(tenant: &str, id: &str) -> bool {
    ours().any(|(own, known, _)| (own, known) == (tenant, id))
}

fn tenants() -> impl Iterator<Item = &'static str> {
    ["acme", "globex", story::TENANT].into_iter()
}

const HELP: &str = "quickstart: publish webhooks, deliver them, watch the retries, open the portal

  --listen ADDRESS    where the portal is (127.0.0.1:4000), or at a free port when that one is taken; whoever can
                      reach it gets in. The receiver takes the next port.
  --events N          stop when N events are published and everything is delivered
  --rate N            events a second (2; with --events 20)
  --failure-rate R    the share of requests that the receiver refuses, 0 to 0.5 (0.25)
  --store FILE        the SQLite file (outpost.db); the keys of its secrets and of the portal's sessions lie beside it
                      (outpost.key, outpost.tokens.key)
  --help              this text

Ctrl-C stops in good order; the next start goes on from there.";

struct Flags {
    listen: SocketAddr,
    events: Option<u64>,
    rate: f64,
    failure_rate: f64,
    store: String,
}

fn flags() -> Anything<Option<Flags>> {
    use lexopt::prelude::*;
    let mut flags = Flags {
        listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
        events: None,
        rate: 0.0,
        failure_rate: 0.25,
        store: "outpost.db".to_owned(),
    };
    let mut rate = None;
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("listen") => flags.listen = given.value()?.parse()?,
            Long("events") => flags.events = Some(given.value()?.parse()?),
            Long("rate") => rate = Some(given.value()?.parse()?),
            Long("failure-rate") => flags.failure_rate = given.value()?.parse()?,
            Long("store") => flags.store = given.value()?.string()?,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    // Whoever looks at the portal wants to read what goes by; a run that ends by itself is to end soon.
    flags.rate = rate.unwrap_or(if flags.events.is_some() { 20.0 } else { 2.0 });
    if !(0.1..=10_000.0).contains(&flags.rate) || !(0.0..=0.5).contains(&flags.failure_rate) {
        return Err("--rate must be between 0.1 and 10000, --failure-rate between 0 and 0.5".into());
    }
    Ok(Some(flags))
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match flags() {
        Ok(None) => {
            println!("{HELP}");
            std::process::ExitCode::SUCCESS
        }
        Ok(Some(flags)) => match run(flags).await {
            Ok(true) => std::process::ExitCode::SUCCESS,
            Ok(false) => std::process::ExitCode::FAILURE,
            Err(error) => {
                eprintln!("quickstart: {error}");
                std::process::ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("quickstart: {error}\n\n{HELP}");
            std::process::ExitCode::from(2)
        }
    }
}

/// Answers whether everything that was to be delivered has been.
async fn run(flags: Flags) -> Anything<bool> {
    let screen = Arc::new(Screen::default());
    let door = Door::open(flags.listen).await?;
    // The same port each time, so that destinations that somebody has added go on working.
    let mut next_to_it = door.address();
    next_to_it.set_port(door.address().port().saturating_add(1));
    let receiver = Receiver::start(next_to_it, flags.failure_rate).await?;
    let portal_url = door.url();
    screen.portal(&portal_url);
    if ![0, door.address().port()].contains(&flags.listen.port()) {
        screen.note(&format!("port {} is taken, so it is another one this time", flags.listen.port()));
    }
    screen.note(&format!("tenants to choose from: {}", tenants().collect::<Vec<_>>().join(", ")));
    screen.note("destinations to add there, and what they answer:");
    let failing = format!("500, and is disabled after {FAILURES} in a row");
    for (path, answer) in [("ok", "200"), ("fail", failing.as_str()), ("slow", "nothing in time")] {
        screen.note(&format!("  {:<28} {answer}", receiver.url(path)));
    }

    // The engine: a store, a transport, and a retry schedule that is quick enough to watch.
    let store = SqliteStore::open(&flags.store).await?;
    let keys = keys::beside(&flags.store)?;
    let watch = Watch::default();
    // Destinations may not lead to this machine or its network, unless the operator says so. Here they may lead to the
    // receiver, and because of its port to nothing else.
    let at = receiver.address();
    let egress = EgressPolicy::builder()
        .allow_net(&at.ip().to_string())
        .ports(&at.port().to_string())
        .build()
        .map_err(|problems| format!("{problems:?}"))?;
    let seconds = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5, 5];
    let outpost = Outpost::builder(store)
        .transport(WebhookTransport::builder().egress(egress).custom_headers(true).build()?)
        .retry(RetryPolicy::new(Schedule::Explicit(seconds.map(Duration::from_secs).to_vec()))?)
        .timeout(Duration::from_secs(2))
        // No destination may have a longer one, so that what a killed run was sending goes on within half a minute.
        .max_timeout(Duration::from_secs(2))
        // URLs, secrets and headers of destinations are encrypted in the file.
        .sealer(keys.ring)
        // Links into the portal are signed, and lead to where it is served below.
        .tokens(TokenSettings::new(&door.portal_url(), keys.tokens))
        // What the portal offers to the tenants' users.
        .topics(TOPICS.into_iter().chain([story::TOPIC]))
        .tenant_filters(true)
        .tenant_delivery_settings(true)
        .health(HealthPolicy::default().consecutive_failures(Some(FAILURES)).disable_at_count(true))
        .observer({
            let (screen, watch) = (screen.clone(), watch.clone());
            move |signal: &outpost_core::Signal| {
                screen.show(signal);
                watch.see(signal);
            }
        })
        .start()
        .await?;

    set_up(&outpost, &receiver).await?;
    door.serve(
        &outpost,
        &format!(
            "Try it with destinations at {} (works), {} (fails) or {} (too late). Nothing else can be reached from here.",
            receiver.url("ok"),
            receiver.url("fail"),
            receiver.url("slow")
        ),
    )?;
    let left = waiting(&outpost).await?;
    let key_file = format!("{}{}", keys.file.display(), if keys.made { ", made now" } else { "" });
    screen.note(&format!("everything is kept in {}, its secrets sealed with the key in {key_file}", flags.store));
    screen.note(&format!(
        "the receiver is at {} and refuses {} % of all",
        receiver.url(""),
        flags.failure_rate * 100.0
    ));
    if left > 0 {
        screen.note(&format!(
            "{left} deliveries are left from an earlier run and go on, those it was sending in half a minute"
        ));
    }

    let mut story = std::pin::pin!(story::tell(&outpost, &receiver, &screen, &watch));
    let mut told = false;
    let mut stop = std::pin::pin!(stop_signal());
    let mut stopped = false;
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / flags.rate));
    // The first lines are soon out of sight.
    let mut reminder = tokio::time::interval(Duration::from_secs(30));
    reminder.tick().await;
    let mut number = 0_u64;
    while !stopped && flags.events.is_none_or(|events| number < events) {
        tokio::select! {
            () = &mut stop => stopped = true,
            done = &mut story, if !told => {
                done?;
                told = true;
            }
            _ = reminder.tick() => screen.portal(&portal_url),
            _ = pace.tick() => {
                number += 1;
                publish(&outpost, number).await?;
            }
        }
    }
    while !stopped && (!told || waiting(&outpost).await? > 0) {
        tokio::select! {
            () = &mut stop => stopped = true,
            done = &mut story, if !told => {
                done?;
                told = true;
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    if stopped {
        screen.note("stopping: what is on its way is waited for");
    }
    let left = waiting(&outpost).await?;
    let drained = outpost.shutdown(Duration::from_secs(10)).await;
    let fine = receiver.bad_signatures() == 0 && drained && screen.failed() == 0;
    screen.summary(number, left, receiver.good_signatures(), receiver.bad_signatures());
    Ok(fine && (stopped || left == 0))
}

/// Registers the tenants and destinations, or points those of an earlier run at today's receiver.
async fn set_up(outpost: &Outpost, receiver: &Receiver) -> Anything<()> {
    for (tenant, id, topics) in ours() {
        outpost.tenants().put(tenant, None).await?;
        let url = receiver.url(&format!("{tenant}/{id}"));
        let destination = match outpost.destinations().get(tenant, id).await {
            Ok(_) => lead_to(outpost, tenant, id, url).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let topics = Topics::new(topics.iter().copied())?;
                let new = NewDestination::webhook(url).id(DestinationId::new(id)?).topics(topics);
                outpost.destinations().create(tenant, new).await?
            }
            Err(error) => return Err(error.into()),
        };
        // The receiver verifies signatures, so it has to know the secret, as a real one would.
        let secret = destination.credentials.expose().get("secret").ok_or("a webhook has a secret")?;
        receiver.trust(&format!("{tenant}/{id}"), secret)?;
    }
    // Those that somebody has added in the portal, in case that the receiver has another port today.
    for tenant in tenants() {
        for destination in outpost.destinations().list(tenant).await? {
            let url = destination.config.get("url").map_or("", String::as_str);
            let today = ["ok", "fail", "slow"].map(|path| (format!("/{path}"), receiver.url(path)));
            if let Some((_, today)) = today.into_iter().find(|(path, today)| url.ends_with(path) && url != today) {
                lead_to(outpost, tenant, destination.id.as_str(), today).await?;
            }
        }
    }
    Ok(())
}

async fn lead_to(outpost: &Outpost, tenant: &str, id: &str, url: String) -> Anything<Destination> {
    let patch = DestinationPatch { config: MapPatch::set("url", url), ..DestinationPatch::default() };
    Ok(outpost.destinations().update(tenant, id, patch).await?)
}

async fn publish(outpost: &Outpost, number: u64) -> Anything<()> {
    let pick = usize::try_from(number % 4)?;
    let tenant = if number.is_multiple_of(2) { "acme" } else { "globex" };
    let topic = TOPICS.get(pick).copied().unwrap_or("order.created");
    let data = serde_json::json!({"number": number, "amount": number * 7 % 1000, "currency": "EUR"});
    outpost.publish(tenant, NewEvent::json(topic, &data)?.metadata("source", "quickstart")).await?;
    Ok(())
}

/// How many deliveries are still to be made. Those of destinations that somebody has added may wait for ever.
async fn waiting(outpost: &Outpost) -> Anything<i64> {
    let mut open = 0;
    for (tenant, id, _) in ours() {
        match outpost.destinations().lane(tenant, id).await {
            Ok(lane) => open += lane.open,
            // Deleted in the portal, and made again by the next start.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(open)
}

async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
