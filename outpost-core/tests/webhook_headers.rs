//! Nothing that users or publishers write can become a header of its own, take the place of one that the
//! library sets, or break a request.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::sync::Arc;

use outpost_core::{
    DestinationPatch, ErrorClass, ErrorKind, MapPatch, MemoryStore, Message, NewDestination, NewEvent, Outpost,
    ServiceHeaders, Signing, StringMap, Transport, WebhookTransport,
};
use proptest::prelude::*;
use webhook_support::net::{Memory, Names};
use webhook_support::*;

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];
const OURS: &[&str] = &["host", "content-length", "content-type", "content-encoding", "expect", "user-agent"];

/// What a header must not be made of, as key and value.
fn bad() -> Vec<(String, String)> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut all: Vec<(String, String)> = [
        "a\r\nX-Evil: b",
        "a\nX-Evil: b",
        "a\rX-Evil: b",
        "a\r\n\r\nPOST /evil HTTP/1.1",
        "a\r\n folded",
        "a\n\tfolded",
        "a\0b",
        "a\u{7f}b",
        "a\u{8}b",
        "\u{e9}",
        "\u{2028}",
        "a\u{85}b",
        "嘊嘍X-Evil: b",
        " a",
        "a ",
        "\ta",
    ]
    .iter()
    .map(|value| pair("x-a", value))
    .collect();
    all.extend(
        [
            "",
            " ",
            "x a",
            "x-a:",
            "x-a: b\r\nx-evil",
            "x\r\nx-evil",
            "x\0",
            "x\u{7f}",
            "é",
            ":path",
            "x/a",
            "(x)",
            "x\n",
        ]
        .map(|key| pair(key, "b")),
    );
    all.push(("x-a".to_owned(), "v".repeat(64 * 1024)));
    all.push(("x".repeat(64 * 1024), "b".to_owned()));
    all
}

fn one(key: &str, value: &str) -> StringMap {
    map(&[(key, value)])
}

fn many(count: usize) -> StringMap {
    (0..count).map(|n| (format!("x-{n}"), "v".to_owned())).collect()
}

fn json(map: &StringMap) -> String {
    serde_json::to_string(map).unwrap()
}

fn memory_transport(memory: &Memory) -> WebhookTransport {
    let names = Names::new(&[&["93.184.216.34"]]);
    WebhookTransport::builder().custom_headers(true).resolver(names).dialer(memory.clone()).build().unwrap()
}

#[test]
fn custom_headers_and_delivery_metadata_are_refused_when_they_are_no_headers() {
    let transport = memory_transport(&Memory::default());
    let secret = map(&[("secret", SECRET)]);
    let mut bad: Vec<StringMap> = bad().iter().map(|(key, value)| one(key, value)).collect();
    bad.push(many(500));
    for map in bad {
        let shown: String = json(&map).chars().take(80).collect();
        let config = webhook_support::map(&[("url", "https://x.example/"), ("custom_headers", &json(&map))]);
        let problems = transport.prepare(&config, &secret, &StringMap::new()).unwrap_err();
        assert!(problems.iter().all(|problem| problem.field.starts_with("config.custom_headers")), "{shown}");
        // Not even the complaint about it may break a log or a page.
        assert!(!format!("{}", problems[0]).contains(['\r', '\n', '\0']) && format!("{problems:?}").len() < 600);
        let config = one("url", "https://x.example/");
        let problems = transport.prepare(&config, &secret, &map).unwrap_err();
        assert!(problems.iter().all(|problem| problem.field.starts_with("delivery_metadata")), "{shown} {problems:?}");
    }
    for name in HOP_BY_HOP.iter().chain(OURS) {
        for name in [(*name).to_owned(), name.to_uppercase()] {
            let config = map(&[("url", "https://x.example/"), ("custom_headers", &json(&one(&name, "x")))]);
            assert_eq!(transport.prepare(&config, &secret, &StringMap::new()).unwrap_err().len(), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn writing_and_publishing_refuse_what_is_no_header() {
    let memory = Memory::default();
    let outpost = Outpost::builder(MemoryStore::new()).transport(memory_transport(&memory)).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let webhook = || NewDestination::webhook("http://hooks.example/");
    let made = outpost.destinations().create("acme", webhook()).await.unwrap();
    let mut bad: Vec<StringMap> = bad().iter().map(|(key, value)| one(key, value)).collect();
    bad.push(many(500));
    for map in bad {
        let shown: String = json(&map).chars().take(80).collect();
        let mut new = webhook();
        new.delivery_metadata = map.clone();
        let error = outpost.destinations().create("acme", new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{shown}");
        let new = webhook().config("custom_headers", json(&map));
        assert_eq!(outpost.destinations().create("acme", new).await.unwrap_err().kind(), ErrorKind::Invalid, "{shown}");
        let merge = MapPatch::Merge(map.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect());
        let patch = DestinationPatch { delivery_metadata: merge, ..DestinationPatch::default() };
        let error = outpost.destinations().update("acme", made.id.as_str(), patch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{shown}");
        let event = map.iter().fold(NewEvent::new("a", "{}"), |event, (key, value)| event.metadata(key, value));
        let error = outpost.publish("acme", event).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{shown}");
        assert!(error.problems().iter().all(|problem| problem.field.starts_with("metadata")), "{shown}");
    }
    assert!(memory.seen.lock().unwrap().is_empty());
    outpost.shutdown(std::time::Duration::from_secs(1)).await;
}

/// Each line of the head but the first is a header that was meant to be there.
fn names(seen: &Seen) -> Vec<String> {
    let lines = seen.head.trim_end_matches("\r\n").split("\r\n").skip(1);
    lines.map(|line| line.split_once(": ").unwrap().0.to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn event_metadata_never_takes_the_place_of_what_describes_the_message() {
    let memory = Memory::default();
    let bare = ServiceHeaders { prefix: " ".into(), ..ServiceHeaders::default() };
    let names_of = Names::new(&[&["93.184.216.34"]]);
    let builder = WebhookTransport::builder().signing(Signing::both(bare)).resolver(names_of).dialer(memory.clone());
    let transport = builder.build().unwrap();
    let to = target(&transport, "http://hooks.example/");
    transport.deliver(&to, &message("{}")).await.unwrap();
    let plain = memory.seen.lock().unwrap().remove(0);
    let metadata: StringMap =
        HOP_BY_HOP.iter().chain(OURS).map(|name| ((*name).to_owned(), "evil".to_owned())).collect();
    transport.deliver(&to, &Message { metadata: Arc::new(metadata), ..message("{}") }).await.unwrap();
    let seen = memory.seen.lock().unwrap().remove(0);
    for name in HOP_BY_HOP.iter().chain(OURS) {
        assert_eq!(seen.all(name), plain.all(name), "{name}");
    }
}

#[tokio::test]
async fn metadata_that_got_past_publishing_fails_the_attempt_or_is_one_header() {
    let memory = Memory::default();
    let transport = memory_transport(&memory);
    let to = target(&transport, "http://hooks.example/");
    for (key, value) in bad() {
        let message = Message { metadata: Arc::new(one(&key, &value)), ..message("{}") };
        let outcome = transport.deliver(&to, &message).await;
        let seen: Vec<Seen> = memory.seen.lock().unwrap().drain(..).collect();
        match outcome {
            Err(error) => {
                assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Request, false), "{key:?}");
                assert!(seen.is_empty() && !error.error.message.contains("evil"));
            }
            Ok(_) => {
                // The prefix makes a name even of an empty key, and spaces at the ends are not part of a value.
                assert!(seen.len() == 1 && !names(&seen[0]).iter().any(|name| name.contains("evil")), "{key:?}");
                let expected = format!("webhook-{}", key.to_ascii_lowercase());
                assert_eq!(names(&seen[0]).iter().filter(|name| **name == expected).count(), 1, "{key:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_text_becomes_a_header_of_its_own(
        key in prop_oneof!["[a-zA-Z-]{1,6}", "[\\x00-\\x7f]{0,6}", "\\PC{0,4}"],
        value in prop_oneof!["[!-~]{1,8}", "[\\x00-\\x7f]{0,8}", "\\PC{0,6}"],
        place in 0..3,
    ) {
        let memory = Memory::default();
        let transport = memory_transport(&memory);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let send = |config: &StringMap, delivery: &StringMap, event: StringMap| {
            let target = transport.prepare(config, &map(&[("secret", SECRET)]), delivery).ok()?;
            let message = Message { metadata: Arc::new(event), ..message("{}") };
            runtime.block_on(transport.deliver(&target, &message)).ok()?;
            memory.seen.lock().unwrap().pop()
        };
        let none = StringMap::new();
        let url = one("url", "http://hooks.example/");
        let plain = names(&send(&url, &none, none.clone()).unwrap());
        let map = one(&key, &value);
        let (seen, added) = match place {
            0 => {
                let config = webhook_support::map(&[("url", "http://hooks.example/"), ("custom_headers", &json(&map))]);
                (send(&config, &none, none.clone()), key.to_ascii_lowercase())
            }
            1 => (send(&url, &map, none.clone()), format!("webhook-{}", key.to_ascii_lowercase())),
            _ => (send(&url, &none, map), format!("webhook-{}", key.to_ascii_lowercase())),
        };
        if let Some(seen) = seen {
            let mut expected = plain.clone();
            if !expected.contains(&added) {
                expected.push(added.clone());
                prop_assert_eq!(seen.header(&added).map(str::trim), Some(value.trim()));
            }
            let mut found = names(&seen);
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(seen.body, b"{}");
        }
    }
}
