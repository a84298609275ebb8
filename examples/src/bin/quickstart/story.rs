//! One destination's bad day: its receiver fails, the engine warns, disables it and says why; the receiver is
//! mended, the destination enabled again, and what it missed is replayed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outpost_core::{
    Delivery, DeliveryFilter, DeliveryState, DestinationId, NewEvent, OfDestination, Outpost, PageRequest,
    ReplayRequest, ReplayState, Signal, Timestamp,
};
use tokio::sync::Notify;

use crate::Anything;
use crate::receiver::Receiver;
use crate::screen::Screen;

pub(crate) const TENANT: &str = "initech";
pub(crate) const DESTINATION: &str = "crm";
pub(crate) const TOPIC: &str = "customer.updated";

/// So many events meet the failing receiver, and so many come while the destination is disabled.
const DURING: usize = 10;
const AFTER: usize = 4;
/// The story takes a few seconds, half a minute more when a run that was killed still holds some of the deliveries.
const PATIENCE: Duration = Duration::from_secs(90);

/// Notices that the destination was disabled.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Notify>);

impl Watch {
    pub(crate) fn see(&self, signal: &Signal) {
        if matches!(signal, Signal::Disabled { tenant, .. } if tenant.as_str() == TENANT) {
            self.0.notify_one();
        }
    }
}

pub(crate) async fn tell(outpost: &Outpost, receiver: &Receiver, screen: &Screen, watch: &Watch) -> Anything<()> {
    tokio::time::timeout(PATIENCE, chapters(outpost, receiver, screen, watch))
        .await
        .map_err(|_| format!("{TENANT}/{DESTINATION} did not recover within {PATIENCE:?}"))?
}

async fn chapters(outpost: &Outpost, receiver: &Receiver, screen: &Screen, watch: &Watch) -> Anything<()> {
    let (destinations, replays) = (outpost.destinations(), outpost.replays());

    // An earlier run may have been killed while it was disabled.
    destinations.enable(TENANT, DESTINATION).await?;
    screen.story(&format!("{TENANT}/{DESTINATION} gets {DURING} events, and its receiver answers 500 to all of them"));
    publish(outpost, DURING).await?;
    // The observer is told of the warnings and of the disabling meanwhile.
    while destinations.get(TENANT, DESTINATION).await?.disabled.is_none() {
        watch.0.notified().await;
    }
    publish(outpost, AFTER).await?;
    let missed = missed(outpost).await?;
    screen.story(&format!("{AFTER} more events come meanwhile: {missed} in all are kept as skipped, none is lost"));

    receiver.mend();
    destinations.enable(TENANT, DESTINATION).await?;
    screen.story("the receiver is mended, the destination enabled again, and a replay started");
    let mut replay = replays.start(TENANT, DESTINATION, ReplayRequest::default()).await?;
    while replay.state == ReplayState::Running || !undelivered(outpost).await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        replay = replays.get(TENANT, &replay.id).await?;
    }
    screen.story(&format!("the replay has found {} deliveries and asked for {}", replay.found, replay.requested));
    screen.story(&format!("all {missed} events have arrived, nothing is missing"));
    Ok(())
}

async fn publish(outpost: &Outpost, count: usize) -> Anything<()> {
    for number in 0..count {
        let data = serde_json::json!({"customer": number});
        outpost.publish(TENANT, NewEvent::json(TOPIC, &data)?).await?;
    }
    Ok(())
}

/// How many deliveries the destination has missed, once the last of those on their way has ended.
async fn missed(outpost: &Outpost) -> Anything<usize> {
    loop {
        let found = undelivered(outpost).await?;
        let now = Timestamp::from_millis(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
        if found.iter().all(|delivery| delivery.leased_until.is_none_or(|until| until <= now)) {
            return Ok(found.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What has not arrived, of this run and of earlier ones.
async fn undelivered(outpost: &Outpost) -> Anything<Vec<OfDestination<Delivery>>> {
    let states = vec![DeliveryState::Pending, DeliveryState::Retrying, DeliveryState::Failed, DeliveryState::Skipped];
    let destinations = vec![DestinationId::new(DESTINATION)?];
    let filter = DeliveryFilter { destinations, states, ..DeliveryFilter::default() };
    let page = PageRequest { limit: 1000, ..PageRequest::default() };
    Ok(outpost.deliveries().list(TENANT, &filter, &page).await?.items)
}
