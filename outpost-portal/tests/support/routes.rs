//! Every address of the portal, as `routes.txt` lists them. A unit test beside the map checks that none is missing.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use outpost_core::{Capabilities, Capability};

use super::support::Stage;

/// What a request to an address needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Not even a session.
    Open,
    /// A session that may do nothing.
    Any,
    /// Reading, and this.
    May(Capability),
    /// This alone.
    Just(Capability),
}

impl Need {
    fn read(text: &str) -> Option<Self> {
        match text {
            "-" => None,
            "open" => Some(Self::Open),
            "any" => Some(Self::Any),
            name if name.starts_with('=') => Capability::parse(&name[1..]).map(Self::Just),
            name => Some(Self::May(Capability::parse(name).unwrap_or_else(|| panic!("{name}")))),
        }
    }

    pub fn met_by(self, capabilities: Capabilities) -> bool {
        match self {
            Self::Open | Self::Any => true,
            Self::Just(one) => capabilities.has(one),
            Self::May(one) => capabilities.has(Capability::Read) && capabilities.has(one),
        }
    }
}

/// One address.
#[derive(Clone, Debug)]
pub struct Door {
    pub pattern: &'static str,
    pub get: Option<Need>,
    pub post: Option<Need>,
    /// What a GET answers to whoever may.
    pub status: u16,
}

impl Door {
    /// The path below the mount with these ids.
    pub fn path(&self, ids: [&str; 3]) -> String {
        let path = self.pattern.replace("DES", ids[0]).replace("EVT", ids[1]).replace("JOB", ids[2]);
        format!("/{}", path.trim_start_matches('/'))
    }

    pub fn has_ids(&self) -> bool {
        ["DES", "EVT", "JOB"].iter().any(|id| self.pattern.contains(id))
    }

    /// The methods, each with what it needs.
    pub fn methods(&self) -> impl Iterator<Item = (&'static str, Need)> {
        [("GET", self.get), ("POST", self.post)].into_iter().filter_map(|(method, need)| Some((method, need?)))
    }
}

pub fn doors() -> Vec<Door> {
    let lines = include_str!("routes.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&'static str> = line.split('|').map(str::trim).collect();
            let status = cells[3].parse().unwrap_or(0);
            Door { pattern: cells[0], get: Need::read(cells[1]), post: Need::read(cells[2]), status }
        })
        .collect()
}

/// The ids of what `furnish` made for a tenant: a destination, an event and a replay.
pub struct Ids(pub [String; 3]);

impl Ids {
    pub fn refs(&self) -> [&str; 3] {
        self.0.each_ref().map(String::as_str)
    }

    /// Nobody has these.
    pub fn nobodys() -> Self {
        Self(["nowhere".to_owned(), "evt_nothing".to_owned(), "rpl_never".to_owned()])
    }
}

/// Gives `tenant` a destination `{tenant}-shop`, an event that waits for its second attempt and a finished replay, so
/// that there is something at every address.
pub async fn furnish(stage: &Stage, tenant: &str) -> Ids {
    let (destination, event) = (format!("{tenant}-shop"), format!("evt_{tenant}"));
    stage.transport.answer(|_, _| outpost_core::ScriptedReply::status(500).body("no"));
    stage.destination(tenant, &destination).await;
    stage.publish(tenant, &event, "order.created", r#"{"n":1}"#).await;
    stage.pass(2).await;
    let request = outpost_core::ReplayRequest::default();
    let replay = stage.outpost.replays().start(tenant, &destination, request).await.expect("a replay");
    stage.pass(2).await;
    Ids([destination, event, replay.id])
}

/// All that a refused request must leave as it was, in words.
pub async fn state(stage: &Stage) -> String {
    let outpost = &stage.outpost;
    let page = outpost_core::PageRequest::default();
    let mut state = String::new();
    for tenant in ["acme", "globex"] {
        for destination in outpost.destinations().list(tenant).await.unwrap() {
            let (config, secrets) = (&destination.config, destination.credentials.expose());
            state += &format!("{destination:?} {config:?} {secrets:?} {:?}\n", destination.filter);
        }
        for delivery in outpost.deliveries().list(tenant, &Default::default(), &page).await.unwrap().items {
            let delivery = &*delivery;
            state += &format!("{:?} {:?} {}\n", delivery.key, delivery.state, delivery.attempts);
            state += &format!("{:?}\n", delivery.requested);
        }
        for event in outpost.events().list(tenant, &Default::default(), &page).await.unwrap().items {
            state += &format!("{}\n", event.id);
        }
        for replay in outpost.replays().list(tenant).await.unwrap() {
            state += &format!("{} {:?} {}\n", replay.id, replay.state, replay.requested);
        }
    }
    state
}
