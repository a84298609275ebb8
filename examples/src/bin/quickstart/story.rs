//! One destination's bad day: its receiver fails, the engine warns, disables it and says why; the receiver is
//! mended, the destination enabled again, and what it missed is replayed.

use std::sync::Arc;
use std::time::Duration;

use outpost_core::{
    DeliveryFilter, DeliveryState, DestinationId, NewEvent, Outpost, PageRequest, ReplayRequest, ReplayState, Signal,
    Timestamp,
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
/// The story takes about ten seconds; something is wrong when it takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let since = outpost.destinations().enable(TENANT, DESTINATION).await?.updated_at;
    publish(outpost, DURING).await?;
    watch.0.notified().await;

    let found = outpost.destinations().get(TENANT, DESTINATION).await?;
    let disabled = found.disabled.ok_or("it was just disabled")?;
    let last = disabled.last_error.unwrap_or_default();
    screen.story(&format!("{TENANT}/{DESTINATION} is disabled since {}; its last error: {last}", disabled.at));
    publish(outpost, AFTER).await?;
    // What was on its way when it was disabled ends as well.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let missed = count(outpost, since, vec![DeliveryState::Skipped]).await?;
    screen.story(&format!("{missed} events are kept as skipped; now the receiver is mended"));

    receiver.mend();
    outpost.destinations().enable(TENANT, DESTINATION).await?;
    let request = ReplayRequest { from: Some(since), ..ReplayRequest::default() };
    let replay = outpost.replays().start(TENANT, DESTINATION, request).await?;
    screen.story(&format!("{TENANT}/{DESTINATION} is enabled again and a replay started"));
    loop {
        let now = outpost.replays().get(TENANT, &replay.id).await?;
        let open = vec![DeliveryState::Skipped, DeliveryState::Failed, DeliveryState::Pending, DeliveryState::Retrying];
        if now.state != ReplayState::Running && count(outpost, since, open).await? == 0 {
            let delivered = count(outpost, since, vec![DeliveryState::Delivered]).await?;
            screen.story(&format!("replayed {} of {}; all {delivered} events have arrived", now.requested, now.found));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn publish(outpost: &Outpost, count: usize) -> Anything<()> {
    for number in 0..count {
        let data = serde_json::json!({"customer": number});
        outpost.publish(TENANT, NewEvent::json(TOPIC, &data)?).await?;
    }
    Ok(())
}

/// How many deliveries made since then are in one of these states.
async fn count(outpost: &Outpost, since: Timestamp, states: Vec<DeliveryState>) -> Anything<usize> {
    let destinations = vec![DestinationId::new(DESTINATION)?];
    let filter = DeliveryFilter { destinations, states, from: Some(since), ..DeliveryFilter::default() };
    let page = PageRequest { limit: 100, ..PageRequest::default() };
    Ok(outpost.deliveries().list(TENANT, &filter, &page).await?.items.len())
}
