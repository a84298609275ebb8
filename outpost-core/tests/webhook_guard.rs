//! The guard against internal addresses, with resolvers and dialers that the test holds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{
    Allowance, EgressPolicy, ErrorClass, Message, Party, Problem, Resolver, StringMap, Transport, Verdict, VetError,
    WebhookTransport,
};
use webhook_support::net::{Memory, Names};
use webhook_support::*;

const TENANT_TEXT: &str = "this address cannot be used";

/// Tenants are told what they are told of a refused address.
fn unresolved(error: &VetError, detail: &str) {
    assert!(error.unresolved && error.details[0].message.contains(detail), "{error:?}");
    assert_eq!(error.problems, [Problem::new("config.url", TENANT_TEXT)]);
}

fn guarded(names: Names, memory: &Memory) -> WebhookTransport {
    WebhookTransport::builder().resolver(names).dialer(memory.clone()).build().unwrap()
}

#[tokio::test]
async fn internal_addresses_are_refused_in_every_spelling_at_write_and_at_send() {
    let memory = Memory::default();
    let transport = guarded(Names::default(), &memory);
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[ff02::1]",
        "10.0.0.1",
        "0xa.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "2852039166",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.64.0.1",
        "100.100.100.200",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "168.63.129.16",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ] {
        let target = target(&transport, &format!("http://{host}/x"));
        let refused = transport.vet(&target, &party("acme")).await.unwrap_err();
        assert_eq!(refused.problems, [Problem::new("config.url", TENANT_TEXT)], "{host}");
        assert!(!refused.unresolved && refused.details[0].message.contains("allow_net("), "{refused:?}");
        let error = transport.deliver(&target, &message("{}")).await.unwrap_err();
        assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Blocked, false), "{host}");
        assert_eq!(error.error.message, TENANT_TEXT);
        assert!(error.error.detail.contains("allow_net("), "{}", error.error.detail);
    }
    assert_eq!(memory.dialed(), [""; 0]);
}

#[tokio::test]
async fn a_name_with_one_bad_address_is_refused_and_the_operator_learns_why() {
    for list in [&["93.184.216.34", "10.1.2.3"][..], &["10.1.2.3", "93.184.216.34"], &["::ffff:10.1.2.3"]] {
        let memory = Memory::default();
        let transport = guarded(Names::new(&[list]), &memory);
        let target = target(&transport, "https://hooks.example/");
        let refused = transport.vet(&target, &party("acme")).await.unwrap_err();
        assert_eq!(refused.problems, [Problem::new("config.url", TENANT_TEXT)]);
        assert!(refused.details[0].message.contains("allow_host(hooks.example)"), "{refused:?}");
        let error = transport.deliver(&target, &message("{}")).await.unwrap_err().error;
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::Blocked, TENANT_TEXT));
        for part in ["hooks.example", "10.1.2.3", "10.0.0.0/8", "allow_host(hooks.example)"] {
            assert!(error.detail.contains(part), "{}", error.detail);
        }
        assert_eq!(memory.dialed(), [""; 0]);
    }
}

#[tokio::test]
async fn a_name_that_changes_between_check_and_send_is_refused() {
    let memory = Memory::default();
    let transport = guarded(Names::new(&[&["93.184.216.34"], &["127.0.0.1"]]), &memory);
    let target = target(&transport, "http://rebind.example/");
    assert_eq!(transport.vet(&target, &party("acme")).await, Ok(()));
    let error = transport.deliver(&target, &message("{}")).await.unwrap_err().error;
    assert_eq!(error.class, ErrorClass::Blocked);
    assert_eq!(memory.dialed(), [""; 0]);
}

#[tokio::test]
async fn exactly_the_checked_addresses_are_dialed_in_their_order() {
    const REFUSED: i32 = if cfg!(windows) { 10061 } else { 111 };
    let memory = Memory { broken: vec![("93.184.216.34".parse().unwrap(), REFUSED)], ..Memory::default() };
    // Resolving again would give the bad answer.
    let transport = guarded(Names::new(&[&["93.184.216.34", "2606:4700::1"], &["127.0.0.1"]]), &memory);
    let receipt = deliver(&transport, "http://two.example:8080/").await.unwrap();
    assert_eq!(receipt.verdict, Verdict::Accepted);
    assert_eq!(memory.dialed(), ["93.184.216.34:8080", "[2606:4700::1]:8080"]);
    // The connection is kept, and needs no new address.
    deliver(&transport, "http://two.example:8080/other").await.unwrap();
    assert_eq!(memory.dialed().len(), 2);
}

#[tokio::test]
async fn a_name_without_addresses_is_told_from_a_refused_one_by_the_operator_alone() {
    for names in [Names::default(), Names::new(&[&[]])] {
        let memory = Memory::default();
        let transport = guarded(names, &memory);
        let target = target(&transport, "http://missing.example/");
        let error = transport.vet(&target, &party("acme")).await.unwrap_err();
        unresolved(&error, "missing.example does not resolve");
        let error = transport.deliver(&target, &message("{}")).await.unwrap_err().error;
        assert_eq!((error.class, error.message.as_str(), error.maybe_seen), (ErrorClass::Dns, TENANT_TEXT, false));
        assert!(error.detail.contains("missing.example"));
    }
}

#[tokio::test]
async fn the_policy_s_allowances_and_ports_count() {
    let policy = EgressPolicy::builder()
        .allow_host("*.corp.example")
        .allow_net("10.1.0.0/16")
        .deny_net("10.1.9.0/24")
        .ports("80, 8080")
        .build()
        .unwrap();
    let memory = Memory::default();
    let transport = WebhookTransport::builder()
        .egress(policy)
        .resolver(Names::new(&[&["192.168.0.1"]]))
        .dialer(memory.clone())
        .build()
        .unwrap();
    for (url, ok) in [
        ("http://a.corp.example/", true),
        ("http://other.example/", false),
        ("http://10.1.2.3:8080/", true),
        ("http://10.1.2.3:22/", false),
        ("http://10.1.9.3/", false),
        ("http://93.184.216.34:8081/", false),
    ] {
        let target = target(&transport, url);
        assert_eq!(transport.vet(&target, &party("acme")).await.is_ok(), ok, "{url}");
        assert_eq!(transport.deliver(&target, &message("{}")).await.is_ok(), ok, "{url}");
    }
}

#[tokio::test]
async fn running_out_of_file_handles_is_the_sender_s_own_fault() {
    let codes = if cfg!(windows) { [10024, 10024] } else { [23, 24] };
    for code in codes {
        let memory = Memory { broken: vec![("93.184.216.34".parse().unwrap(), code)], ..Memory::default() };
        let transport = guarded(Names::new(&[&["93.184.216.34", "93.184.216.35"]]), &memory);
        let error = deliver(&transport, "http://x.example/").await.unwrap_err().error;
        assert_eq!((error.class, error.maybe_seen), (ErrorClass::System, false));
        assert_eq!(memory.dialed().len(), 1);
    }
}

struct Hanging;

#[async_trait]
impl Resolver for Hanging {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_never_resolve_end_at_the_deadline() {
    let transport = WebhookTransport::builder().resolver(Hanging).dialer(Memory::default()).build().unwrap();
    let target = target(&transport, "http://slow.example/");
    unresolved(&transport.vet(&target, &party("acme")).await.unwrap_err(), "slow.example does not resolve within 5s");
    let start = tokio::time::Instant::now();
    let error = transport.deliver(&target, &message("{}")).await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen, start.elapsed()), (ErrorClass::Timeout, false, Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_never_answers_leaves_time_for_the_next_one() {
    let memory = Memory { silent: Some("2606:4700::1".parse().unwrap()), ..Memory::default() };
    let transport = guarded(Names::new(&[&["2606:4700::1", "93.184.216.34"]]), &memory);
    let receipt = deliver(&transport, "http://two.example/").await.unwrap();
    assert_eq!((receipt.verdict, memory.dialed().len()), (Verdict::Accepted, 2));

    let memory = Memory { silent: Some("93.184.216.34".parse().unwrap()), ..Memory::default() };
    let transport = guarded(Names::new(&[&["93.184.216.34"]]), &memory);
    let start = tokio::time::Instant::now();
    let error = deliver(&transport, "http://one.example/").await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen, start.elapsed()), (ErrorClass::Timeout, false, Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn in_memory_receivers_work_in_virtual_time() {
    let memory = Memory::default();
    let transport = guarded(Names::new(&[&["93.184.216.34"]]), &memory);
    for day in 0..30 {
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        let message = Message { now: now().after(Duration::from_secs(day * 86_400)), ..message("{}") };
        transport.deliver(&target(&transport, "http://x.example/"), &message).await.unwrap();
    }
    assert_eq!(memory.dialed().len(), 30);
}

#[tokio::test]
async fn a_target_of_another_transport_is_refused() {
    let scripted = outpost_core::ScriptedTransport::always(outpost_core::ScriptedReply::ok());
    let foreign = scripted.prepare(&map(&[("url", "x")]), &StringMap::new(), &StringMap::new()).unwrap();
    let transport = WebhookTransport::builder().build().unwrap();
    let error = transport.vet(&foreign, &party("acme")).await.unwrap_err();
    assert!(error.problems == error.details && !error.unresolved, "{error:?}");
    let error = transport.deliver(&foreign, &message("{}")).await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen), (ErrorClass::Request, false));
}

/// Sends to `url` for this party.
async fn send_for(transport: &WebhookTransport, url: &str, party: &Party) -> Result<(), ErrorClass> {
    let target = target(transport, url);
    let vetted = transport.vet(&target, party).await.is_ok();
    let message = Message { party: party.clone(), ..message("{}") };
    let outcome = transport.deliver(&target, &message).await;
    assert_eq!(vetted, outcome.is_ok(), "{url} {party:?}");
    outcome.map(drop).map_err(|error| error.error.class)
}

#[tokio::test]
async fn what_is_allowed_to_some_is_refused_to_others_also_over_kept_connections() {
    let policy = EgressPolicy::builder()
        .allow_net_for(Allowance::tenants(["acme", "beta"]), "10.0.0.0/8")
        .allow_host_for(Allowance::Operator, "db.internal")
        .build()
        .unwrap();
    let memory = Memory::default();
    let transport = WebhookTransport::builder()
        .egress(policy)
        .resolver(Names::new(&[&["10.1.2.3"]]))
        .dialer(memory.clone())
        .build()
        .unwrap();
    let by_operator = Party { made_by_operator: true, ..party("other") };
    for _ in 0..3 {
        for url in ["http://10.1.2.3/", "http://hooks.example/"] {
            assert_eq!(send_for(&transport, url, &party("acme")).await, Ok(()));
            assert_eq!(send_for(&transport, url, &party("beta")).await, Ok(()));
            assert_eq!(send_for(&transport, url, &party("other")).await, Err(ErrorClass::Blocked));
            assert_eq!(send_for(&transport, url, &by_operator).await, Err(ErrorClass::Blocked));
        }
        assert_eq!(send_for(&transport, "http://db.internal/", &by_operator).await, Ok(()));
        assert_eq!(send_for(&transport, "http://db.internal/", &party("other")).await, Err(ErrorClass::Blocked));
    }
    // Those with the same allowances share what they keep: three origins, one connection to each.
    assert_eq!(memory.dialed(), ["10.1.2.3:80"; 3]);
}

#[tokio::test]
async fn a_connection_to_a_public_address_is_kept_apart_from_those_with_more_allowances() {
    let policy = EgressPolicy::builder().allow_net_for(Allowance::tenants(["acme"]), "10.0.0.0/8").build().unwrap();
    let memory = Memory::default();
    // The name moves into the operator's network after the first look-up.
    let names = Names::new(&[&["93.184.216.34"], &["93.184.216.34"], &["10.1.2.3"]]);
    let transport = WebhookTransport::builder().egress(policy).resolver(names).dialer(memory.clone()).build().unwrap();
    let to = target(&transport, "http://moving.example/");
    let as_tenant = |tenant: &str| Message { party: party(tenant), ..message("{}") };
    for tenant in ["other", "third", "acme", "other", "acme"] {
        transport.deliver(&to, &as_tenant(tenant)).await.unwrap();
    }
    assert_eq!(memory.dialed(), ["93.184.216.34:80"; 2]);
}

/// Counts what it is asked.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicUsize>);

#[async_trait]
impl Resolver for Asked {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(vec!["93.184.216.34".parse().unwrap()])
    }
}

#[tokio::test]
async fn the_sender_s_own_hosts_can_be_denied_and_are_not_even_resolved() {
    let policy = EgressPolicy::builder().allow_host("*.acme.example").deny_host("api.acme.example").build().unwrap();
    let (asked, memory) = (Asked::default(), Memory::default());
    let transport =
        WebhookTransport::builder().egress(policy).resolver(asked.clone()).dialer(memory.clone()).build().unwrap();
    for url in ["https://api.acme.example/publish", "http://API.acme.EXAMPLE.:8080/", "http://u:p@api.acme.example/"] {
        let target = target(&transport, url);
        let refused = transport.vet(&target, &party("acme")).await.unwrap_err();
        assert_eq!(refused.problems, [Problem::new("config.url", TENANT_TEXT)]);
        assert!(refused.details[0].message.contains("deny_host(api.acme.example)"), "{refused:?}");
        let error = transport.deliver(&target, &message("{}")).await.unwrap_err().error;
        assert_eq!((error.class, error.message.as_str(), error.maybe_seen), (ErrorClass::Blocked, TENANT_TEXT, false));
    }
    assert_eq!((asked.0.load(Ordering::SeqCst), memory.dialed().len()), (0, 0));
    deliver(&transport, "http://hooks.acme.example/").await.unwrap();
    assert_eq!(memory.dialed(), ["93.184.216.34:80"]);
}

struct Full;

#[async_trait]
impl Resolver for Full {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }

    fn is_full(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_wait_for_others_until_the_deadline_are_the_sender_s_own_fault() {
    let transport = WebhookTransport::builder().resolver(Full).dialer(Memory::default()).build().unwrap();
    // Also when the deadline is later than that of making a connection.
    for seconds in [10, 60] {
        let start = tokio::time::Instant::now();
        let error = deliver_within(&transport, "http://x.example/", Duration::from_secs(seconds)).await.unwrap_err();
        assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::System, false));
        assert_eq!(start.elapsed().as_secs(), seconds.min(30));
        assert!(error.error.detail.contains("look-ups") && !error.error.message.contains("look-ups"), "{error:?}");
    }
    unresolved(&transport.vet(&target(&transport, "http://x.example/"), &party("acme")).await.unwrap_err(), "5s");
}

#[tokio::test]
async fn answers_are_bounded() {
    let many: Vec<String> = (0..1000).map(|n| format!("93.184.{}.{}", n / 250, n % 250)).collect();
    let mut list: Vec<&str> = many.iter().map(String::as_str).collect();
    let broken = list.iter().map(|address| (address.parse().unwrap(), 111)).collect();
    let memory = Memory { broken, ..Memory::default() };
    let transport = guarded(Names::new(&[&list]), &memory);
    deliver(&transport, "http://many.example/").await.unwrap_err();
    assert_eq!(memory.dialed().len(), 8);
    list[63] = "10.0.0.1";
    let transport = guarded(Names::new(&[&list]), &memory);
    assert_eq!(deliver(&transport, "http://many.example/").await.unwrap_err().error.class, ErrorClass::Blocked);
}
