//! The guard against internal addresses, with resolvers and dialers that the test holds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{
    Dialer, EgressPolicy, ErrorClass, Io, Message, Resolver, StringMap, Transport, Verdict, WebhookTransport,
};
use tokio::io::AsyncWriteExt as _;
use webhook_support::*;

const TENANT_TEXT: &str = "this address cannot be used";

/// Gives one prepared answer after the other; the last one for ever.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<VecDeque<Vec<IpAddr>>>>);

impl Names {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Self(Arc::new(Mutex::new(answers.iter().map(parse).collect())))
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.ok_or_else(|| io::Error::other("no answer"))
    }
}

/// Opens streams in memory to a receiver that answers 200; remembers what it was asked for.
#[derive(Clone, Default)]
struct Memory {
    dialed: Arc<Mutex<Vec<SocketAddr>>>,
    /// How dialing these addresses fails.
    broken: Vec<(IpAddr, i32)>,
    /// Dialing this address never ends.
    silent: Option<IpAddr>,
}

impl Memory {
    fn dialed(&self) -> Vec<String> {
        self.dialed.lock().unwrap().iter().map(SocketAddr::to_string).collect()
    }
}

#[async_trait]
impl Dialer for Memory {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.dialed.lock().unwrap().push(address);
        if let Some((_, code)) = self.broken.iter().find(|(broken, _)| *broken == address.ip()) {
            return Err(io::Error::from_raw_os_error(*code));
        }
        if self.silent == Some(address.ip()) {
            std::future::pending::<()>().await;
        }
        let (near, mut far) = tokio::io::duplex(65536);
        tokio::spawn(async move {
            while read_request(&mut far, 0).await.is_some() {
                far.write_all(OK).await.unwrap();
            }
        });
        Ok(Box::new(near))
    }
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
        let problems = transport.vet(&target).await.unwrap_err();
        assert_eq!((problems[0].field.as_str(), problems[0].message.as_str()), ("config.url", TENANT_TEXT), "{host}");
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
        assert_eq!(transport.vet(&target).await.unwrap_err()[0].message, TENANT_TEXT);
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
    assert_eq!(transport.vet(&target).await, Ok(()));
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
async fn a_name_without_addresses_passes_the_check_but_not_the_send() {
    for names in [Names::default(), Names::new(&[&[]])] {
        let memory = Memory::default();
        let transport = guarded(names, &memory);
        let target = target(&transport, "http://missing.example/");
        assert_eq!(transport.vet(&target).await, Ok(()));
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
        assert_eq!(transport.vet(&target).await.is_ok(), ok, "{url}");
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
    assert_eq!(transport.vet(&target).await, Ok(()));
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
    assert!(transport.vet(&foreign).await.is_err());
    let error = transport.deliver(&foreign, &message("{}")).await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen), (ErrorClass::Request, false));
}
