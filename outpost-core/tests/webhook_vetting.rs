//! What the network and the operator's settings allow a destination to be, as users of the library meet it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{
    Actor, Allowance, Capabilities, Capability, DestinationPatch, EgressPolicy, Error, ErrorKind, MASK, MapPatch,
    MemoryStore, NewDestination, Outpost, Problem, Resolver, TokioClock, WebhookTransport, WebhookTransportBuilder,
};
use webhook_support::net::Memory;
use webhook_support::*;

/// Names of every kind.
struct Zone;

#[async_trait]
impl Resolver for Zone {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let address = match host {
            "public.example" | "own.example" => "93.184.216.34",
            "private.example" => "10.1.2.3",
            "mixed.example" => return Ok(vec!["93.184.216.34".parse().unwrap(), "10.1.2.3".parse().unwrap()]),
            "empty.example" => return Ok(Vec::new()),
            "slow.example" => std::future::pending().await,
            _ => return Err(io::Error::other("NXDOMAIN")),
        };
        Ok(vec![address.parse().unwrap()])
    }
}

/// Every kind of host that cannot be used, and what the operator is told of it.
const UNUSABLE: &[(&str, &str)] = &[
    ("private.example", "10.0.0.0/8"),
    ("mixed.example", "10.0.0.0/8"),
    ("10.1.2.3", "private use"),
    ("[::1]", "loopback"),
    ("own.example", "deny_host(own.example)"),
    ("missing.example", "NXDOMAIN"),
    ("empty.example", "no such name"),
    ("slow.example", "within 5s"),
];

fn transport() -> WebhookTransportBuilder {
    let policy = EgressPolicy::builder()
        .deny_host("own.example")
        .allow_net_for(Allowance::tenants(["inner"]), "10.0.0.0/8")
        .build()
        .unwrap();
    WebhookTransport::builder().egress(policy).resolver(Zone).dialer(Memory::default())
}

async fn start(builder: WebhookTransportBuilder) -> Outpost {
    let outpost = Outpost::builder(MemoryStore::new())
        .clock(TokioClock::starting_at(now()))
        .transport(builder.build().unwrap())
        .start()
        .await
        .unwrap();
    for tenant in ["acme", "inner"] {
        outpost.tenants().put(tenant, None).await.unwrap();
    }
    outpost
}

async fn user(outpost: &Outpost, tenant: &str, capabilities: Capabilities) -> Outpost {
    let tenant = outpost.tenants().get(tenant).await.unwrap();
    outpost.acting_as(Actor::Tenant { tenant: tenant.id, incarnation: tenant.incarnation, capabilities })
}

fn patch(key: &str, value: &str) -> DestinationPatch {
    DestinationPatch { config: MapPatch::set(key, value), ..DestinationPatch::default() }
}

/// All that a caller can see of an error.
fn seen(error: &Error) -> (ErrorKind, String, Vec<Problem>) {
    (error.kind(), error.to_string(), error.problems().to_vec())
}

#[tokio::test(start_paused = true)]
async fn tenants_cannot_tell_why_an_address_cannot_be_used_and_the_operator_can() {
    let outpost = start(transport()).await;
    let tenant = user(&outpost, "acme", Capabilities::ALL).await;
    let made = tenant.destinations().create("acme", NewDestination::webhook("https://public.example/")).await.unwrap();
    let id = made.id.as_str();
    for (host, detail) in UNUSABLE {
        let url = format!("https://{host}/in");
        let expected = vec![Problem::new("config.url", "this address cannot be used")];
        let created = tenant.destinations().create("acme", NewDestination::webhook(&url)).await.unwrap_err();
        let (kind, text, problems) = seen(&created);
        assert_eq!((kind, problems), (ErrorKind::Invalid, expected.clone()), "{host}");
        assert_eq!(text, "create destination: config.url this address cannot be used");
        let changed = tenant.destinations().update("acme", id, patch("url", &url)).await.unwrap_err();
        assert_eq!((changed.kind(), changed.problems()), (ErrorKind::Invalid, &expected[..]), "{host}");

        let unresolved = ["missing.example", "empty.example", "slow.example"].contains(host);
        match outpost.destinations().create("acme", NewDestination::webhook(&url)).await {
            // A name may be made after the destination that needs it.
            Ok(saved) => {
                assert!(unresolved, "{host}");
                // What the operator has saved is no way round for a tenant.
                outpost.destinations().disable("acme", saved.id.as_str(), "").await.unwrap();
                let enabled = tenant.destinations().enable("acme", saved.id.as_str()).await.unwrap_err();
                assert_eq!(enabled.problems(), expected, "{host}");
                outpost.destinations().enable("acme", saved.id.as_str()).await.unwrap();
            }
            Err(error) => {
                assert!(!unresolved && error.kind() == ErrorKind::Invalid, "{host}");
                assert_eq!(error.problems()[0].field, "config.url");
                assert!(error.problems()[0].message.contains(detail), "{error}");
            }
        }
    }
    assert_eq!(tenant.destinations().get("acme", id).await.unwrap().config["url"], "https://public.example/");
    outpost.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_allowance_of_one_tenant_is_none_of_another() {
    let outpost = start(transport()).await;
    let new = || NewDestination::webhook("http://private.example/");
    user(&outpost, "inner", Capabilities::ALL).await.destinations().create("inner", new()).await.unwrap();
    outpost.destinations().create("inner", new()).await.unwrap();
    user(&outpost, "acme", Capabilities::ALL).await.destinations().create("acme", new()).await.unwrap_err();
    outpost.destinations().create("acme", new()).await.unwrap_err();
    outpost.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn custom_headers_that_are_not_offered_are_the_operator_s_and_are_never_lost() {
    const HEADERS: &str = r#"{"X-Key":"canary"}"#;
    let outpost = start(transport()).await;
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["config.custom_headers"]);
        assert!(error.to_string().contains("only the operator"), "{error}");
    };
    let new = || NewDestination::webhook("https://public.example/");
    let with_headers = || new().config("custom_headers", HEADERS);
    let tenant = user(&outpost, "acme", Capabilities::ALL).await;
    refused(tenant.destinations().create("acme", with_headers()).await.unwrap_err());
    // Left empty it is no setting at all.
    tenant.destinations().create("acme", new().config("custom_headers", "")).await.unwrap();

    let made = outpost.destinations().create("acme", with_headers()).await.unwrap();
    let id = made.id.as_str();
    for change in [r#"{"X-Key":"other"}"#, "{}", ""] {
        refused(tenant.destinations().update("acme", id, patch("custom_headers", change)).await.unwrap_err());
    }
    let remove = MapPatch::Merge([("custom_headers".to_owned(), None)].into());
    let remove = DestinationPatch { config: remove, ..DestinationPatch::default() };
    refused(tenant.destinations().update("acme", id, remove.clone()).await.unwrap_err());

    // Saving other things, and sending back what was shown, keeps it.
    let blind = user(&outpost, "acme", Capabilities::ALL.without(Capability::Secrets)).await;
    let shown = blind.destinations().get("acme", id).await.unwrap();
    assert_eq!(shown.config["custom_headers"], MASK);
    let all = shown.config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let whole = DestinationPatch { config: MapPatch::Merge(all), ..DestinationPatch::default() };
    blind.destinations().update("acme", id, whole).await.unwrap();
    tenant.destinations().update("acme", id, patch("url", "https://public.example/new")).await.unwrap();
    tenant.destinations().update("acme", id, patch("custom_headers", HEADERS)).await.unwrap();
    tenant.destinations().rotate_secret("acme", id, None).await.unwrap();
    tenant.destinations().disable("acme", id, "").await.unwrap();
    tenant.destinations().enable("acme", id).await.unwrap();
    assert_eq!(outpost.destinations().get("acme", id).await.unwrap().config["custom_headers"], HEADERS);

    outpost.destinations().update("acme", id, patch("custom_headers", r#"{"X-Key":"new"}"#)).await.unwrap();
    outpost.destinations().update("acme", id, remove).await.unwrap();
    assert!(!outpost.destinations().get("acme", id).await.unwrap().config.contains_key("custom_headers"));
    outpost.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn custom_headers_that_are_offered_are_for_everybody() {
    let outpost = start(transport().custom_headers(true)).await;
    let tenant = user(&outpost, "acme", Capabilities::ALL).await;
    let new = NewDestination::webhook("https://public.example/").config("custom_headers", r#"{"X-Key":"a"}"#);
    let made = tenant.destinations().create("acme", new).await.unwrap();
    tenant.destinations().update("acme", made.id.as_str(), patch("custom_headers", "{}")).await.unwrap();
    outpost.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn headers_that_are_not_offered_are_sent_all_the_same() {
    let memory = Memory::default();
    let transport = transport().dialer(memory.clone()).build().unwrap();
    let config = map(&[("url", "http://public.example/"), ("custom_headers", r#"{"X-Key":"kept"}"#)]);
    let target = outpost_core::Transport::prepare(&transport, &config, &map(&[("secret", SECRET)]), &map(&[])).unwrap();
    outpost_core::Transport::deliver(&transport, &target, &message("{}")).await.unwrap();
    assert_eq!(memory.seen.lock().unwrap()[0].header("x-key"), Some("kept"));
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_may_reach_ends_when_a_tenant_points_a_destination_elsewhere() {
    let policy = EgressPolicy::builder().allow_net_for(Allowance::Operator, "10.0.0.0/8").build().unwrap();
    let transport = WebhookTransport::builder().egress(policy).resolver(Zone).dialer(Memory::default());
    let outpost = start(transport).await;
    let tenant = user(&outpost, "acme", Capabilities::ALL).await;
    let id = outpost.destinations().create("acme", NewDestination::webhook("http://10.1.2.3/a")).await.unwrap().id;
    let refused = tenant.destinations().create("acme", NewDestination::webhook("http://10.1.2.3/a")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    let elsewhere = patch("url", "http://10.1.2.4/a");
    assert_eq!(
        tenant.destinations().update("acme", id.as_str(), elsewhere.clone()).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    outpost.destinations().update("acme", id.as_str(), elsewhere).await.unwrap();
    let public = patch("url", "http://public.example/");
    tenant.destinations().update("acme", id.as_str(), public).await.unwrap();
    let back = patch("url", "http://10.1.2.4/a");
    let error = outpost.destinations().update("acme", id.as_str(), back).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "it is the tenant's now");
}
