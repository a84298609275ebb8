//! Thousands of hostile exchanges in one process: each ends as its kind should, and neither memory nor file
//! descriptors add up. Alone in its file, so that nobody else's memory is counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{Message, Resolver};
use tokio::net::TcpListener;
use webhook_support::hostile::Step::{Again, Byte, Flood, Hold, Request, Reset};
use webhook_support::hostile::*;
use webhook_support::tls::{acceptor, authority, trusting};
use webhook_support::*;

const EXCHANGES: usize = 5_000;
const WARM: usize = 500;
const LANES: usize = 16;
/// What memory may grow by between the two measurements, in KiB.
const GROWTH: usize = 16 << 10;

struct NoNames;

#[async_trait]
impl Resolver for NoNames {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("no such name"))
    }
}

/// A kind of hostility: where it is, how long an exchange with it may take, how it may end.
struct Kind {
    name: &'static str,
    url: String,
    timeout: Duration,
    outcomes: &'static [&'static str],
    _receiver: Option<Receiver>,
}

/// Resident memory, in KiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Descriptors once connections that are being closed are closed.
async fn settled(sender: &Sender, expected: usize) -> usize {
    sender.all_closed().await;
    // The receivers' ends follow on their own; nothing tells when.
    for _ in 0..100 {
        if descriptors() <= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    descriptors()
}

async fn kinds() -> (Sender, Vec<Kind>) {
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(40);
    let ours = authority("ours");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = |head: &str| say(format!("HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\nok"));
    let mut kinds = Vec::new();
    let mut add = |name, timeout, outcomes, url: String, receiver| {
        kinds.push(Kind { name, url, timeout, outcomes, _receiver: receiver });
    };

    let plain: Vec<(&'static str, Duration, &'static [&'static str], Vec<Step>)> = vec![
        ("closed at once", LONG, &["connection_reset seen", "connection_reset unseen"], vec![]),
        ("reset at once", LONG, &["connection_reset seen", "connection_reset unseen"], vec![Reset]),
        ("closed", LONG, &["connection_reset seen"], vec![Request]),
        ("reset", LONG, &["connection_reset seen"], vec![Request, Reset]),
        ("half a head", LONG, &["connection_reset seen"], vec![Request, say("HTTP/1.1 200 OK\r\nx")]),
        ("no HTTP", LONG, &["protocol_error seen"], vec![Request, say("SSH-2.0-x\r\n\r\n")]),
        ("HTTP/0.9", LONG, &["protocol_error seen"], vec![Request, say("<html>ok</html>")]),
        ("status 099", LONG, &["protocol_error seen"], vec![Request, answer("099 Low")]),
        (
            "many headers",
            LONG,
            &["protocol_error seen"],
            vec![Request, answer(&format!("200 OK{}", "\r\nx: a".repeat(1100)))],
        ),
        (
            "endless headers",
            LONG,
            &["protocol_error seen"],
            vec![Request, say("HTTP/1.1 200 OK\r\nx: "), Flood(vec![b'a'; 1 << 16])],
        ),
        (
            "cookies",
            LONG,
            &["200 Accepted"],
            vec![Request, answer(&format!("200 OK{}", "\r\nset-cookie: a=b".repeat(300))), Again],
        ),
        (
            "binary",
            LONG,
            &["200 Accepted"],
            vec![
                Request,
                say(b"HTTP/1.1 200 \xff\r\nx: \x80\xff\r\ncontent-length: 5\r\n\r\n\xff\xfe\0\xc3(".to_vec()),
                Again,
            ],
        ),
        (
            "cut body",
            LONG,
            &["200 Accepted cut"],
            vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")],
        ),
        ("broken chunks", LONG, &["200 Accepted cut"], vec![Request, say(format!("{chunked}zz\r\n"))]),
        (
            "endless chunks",
            LONG,
            &["200 Accepted cut"],
            vec![Request, say(chunked), Flood([b"10000\r\n", &[b'x'; 1 << 16][..], b"\r\n"].concat())],
        ),
        (
            "redirect",
            LONG,
            &["302 Rejected"],
            vec![Request, answer("302 Found\r\nlocation: http://169.254.169.254/"), Again],
        ),
        (
            "upgrade",
            LONG,
            &["101 Rejected"],
            vec![Request, say("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), Hold],
        ),
        ("gone", LONG, &["410 Gone"], vec![Request, answer("410 Gone"), Again]),
        ("busy", LONG, &["503 Overloaded"], vec![Request, answer("503 Busy\r\nretry-after: 7"), Again]),
        ("two answers", LONG, &["200 Accepted"], vec![Request, say([OK, OK].concat()), Again]),
        ("none with a body", LONG, &["204 Accepted"], vec![Request, answer("204 None"), Again]),
        (
            "interim answers",
            LONG,
            &["200 Accepted"],
            vec![Request, say("HTTP/1.1 103 Hints\r\n\r\n".repeat(20)), say(OK), Again],
        ),
        ("silence", SHORT, &["timeout seen", "timeout unseen"], vec![Request, Hold]),
        (
            "silence in a body",
            SHORT,
            &["200 Accepted cut", "timeout seen", "timeout unseen"],
            vec![Request, say(chunked), Hold],
        ),
    ];
    for (name, timeout, outcomes, steps) in plain {
        let receiver = Receiver::scripted(steps).await;
        add(name, timeout, outcomes, receiver.url("/"), Some(receiver));
    }
    for (name, timeout, outcomes, steps) in [
        ("no TLS", LONG, &["tls_error unseen"][..], vec![Byte, say("HTTP/1.1 400 Bad\r\n\r\n"), Hold]),
        ("TLS alert", LONG, &["tls_error unseen"], vec![Byte, say([0x15, 3, 3, 0, 2, 2, 70])]),
        ("silent TLS", SHORT, &["timeout unseen"], vec![Hold]),
    ] {
        let receiver = Receiver::scripted(steps).await;
        add(name, timeout, outcomes, receiver.secure(), Some(receiver));
    }
    let first = |frames: &[Vec<u8>]| vec![Request, say([frames::settings(), frames.concat()].concat())];
    // Two exchanges may meet on one connection; the scripts answer only the first.
    for (name, outcomes, steps) in [
        ("h2 closed", &["200 Accepted", "connection_reset seen"][..], first(&[frames::ok(true)])),
        ("h2 reset", &["connection_reset seen"], first(&[frames::reset(2)])),
        ("h2 refused", &["connection_reset seen"], first(&[frames::reset(7)])),
        ("h2 goodbye", &["connection_reset seen"], first(&[frames::go_away(0, 11)])),
        ("h2 garbage", &["protocol_error seen", "connection_reset seen"], first(&[vec![0xff; 64]])),
        (
            "h2 cut body",
            &["200 Accepted cut", "connection_reset seen"],
            first(&[frames::ok(false), frames::data(b"part", false)]),
        ),
    ] {
        let receiver = Receiver::scripted_tls(acceptor(&ours, "127.0.0.1", false, &["h2"]), steps).await;
        add(name, LONG, outcomes, receiver.secure(), Some(receiver));
    }
    let foreign = Receiver::scripted_tls(acceptor(&authority("foreign"), "127.0.0.1", false, &[]), []).await;
    add("unknown issuer", LONG, &["tls_error unseen"], foreign.secure(), Some(foreign));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    add("refused", LONG, &["connection_refused unseen"], format!("http://{free}/"), None);
    add("no name", LONG, &["dns_error unseen"], "http://nowhere.example/".to_owned(), None);
    add("blocked", LONG, &["blocked unseen"], "http://169.254.169.254/".to_owned(), None);

    (Sender::new(trusting(&ours).resolver(NoNames).idle_timeout(Duration::from_millis(100))), kinds)
}

/// Runs the exchanges with these numbers, each with the kind whose turn it is, some at a time.
async fn run(sender: &Arc<Sender>, kinds: &Arc<Vec<Kind>>, numbers: std::ops::Range<usize>) -> BTreeMap<String, usize> {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (sender, kinds, next, end) = (Arc::clone(sender), Arc::clone(kinds), Arc::clone(&next), numbers.end);
            tokio::spawn(async move {
                let mut ends = BTreeMap::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return ends;
                    }
                    let kind = &kinds[number % kinds.len()];
                    let message = Message { timeout: kind.timeout, ..message("{}") };
                    let outcome = sender.send_message(&kind.url, message).await;
                    let short = summary(&outcome);
                    assert!(kind.outcomes.contains(&&*short), "{} {number}: {outcome:?}", kind.name);
                    *ends.entry(short).or_insert(0) += 1;
                }
            })
        })
        .collect();
    let mut ends = BTreeMap::new();
    for lane in lanes {
        for (end, count) in lane.await.unwrap() {
            *ends.entry(end).or_insert(0) += count;
        }
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_hostile_exchanges_all_end_and_leave_nothing_behind() {
    let (sender, kinds) = kinds().await;
    let (sender, kinds) = (Arc::new(sender), Arc::new(kinds));
    let idle = descriptors();
    let first = run(&sender, &kinds, 0..WARM).await;
    let (open, before) = (settled(&sender, idle + 2).await, memory());
    let rest = run(&sender, &kinds, WARM..EXCHANGES).await;
    let (left, after) = (settled(&sender, idle + 2).await, memory());
    assert_eq!(first.values().sum::<usize>() + rest.values().sum::<usize>(), EXCHANGES, "{first:?} {rest:?}");
    assert!(after < before + GROWTH, "{before} KiB after {WARM} exchanges, {after} KiB after {EXCHANGES}");
    assert!(left <= open + 2 && left <= idle + 8, "{idle} descriptors at first, then {open}, in the end {left}");
}
