//! Odd URLs on the wire: what is written is what is sent, and what is secret in it is never shown.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use outpost_core::{StringMap, Transport, WebhookTransport};
use proptest::prelude::*;
use webhook_support::net::{Memory, Names};
use webhook_support::*;

fn public(memory: &Memory) -> WebhookTransport {
    WebhookTransport::builder().resolver(Names::new(&[&["93.184.216.34"]])).dialer(memory.clone()).build().unwrap()
}

/// Sends to `url` and gives the request as it arrived, and everything about it that people see.
async fn sent(url: &str) -> (Seen, String) {
    let memory = Memory::default();
    let transport = public(&memory);
    let target = target(&transport, url);
    let receipt = transport.deliver(&target, &message("{}")).await.unwrap();
    let seen = memory.seen.lock().unwrap().remove(0);
    (seen, format!("{target:?} {} {receipt:?}", target.display()))
}

#[tokio::test]
async fn the_request_target_is_what_was_written() {
    for (written, on_the_wire) in [
        ("", "/"),
        ("/", "/"),
        ("//", "//"),
        ("//a//b/", "//a//b/"),
        ("/a/./b/../c/..", "/a/./b/../c/.."),
        ("/%2e%2E/%2F", "/%2e%2E/%2F"),
        ("/%e2%82%ac/%E2%82%AC/%7e~", "/%e2%82%ac/%E2%82%AC/%7e~"),
        ("/%zz/%", "/%zz/%"),
        ("/a%20b+c", "/a%20b+c"),
        ("?", "/?"),
        ("/?", "/?"),
        ("/??", "/??"),
        ("?a=b", "/?a=b"),
        ("/?&&=&a==b&a=1&a=2&", "/?&&=&a==b&a=1&a=2&"),
        ("/p?u=https://y.example/x?z=%23", "/p?u=https://y.example/x?z=%23"),
        ("/a;v=1,2:3@4!$'()*", "/a;v=1,2:3@4!$'()*"),
        ("/a|b[c]^{d}\\e", "/a|b[c]^{d}\\e"),
        ("/#frag?x", "/"),
        ("#frag", "/"),
        ("/a?b#", "/a?b"),
        ("/https://other.example/", "/https://other.example/"),
    ] {
        let prepared = public(&Memory::default()).prepare(
            &map(&[("url", &format!("http://hooks.example{written}"))]),
            &map(&[("secret", SECRET)]),
            &StringMap::new(),
        );
        if prepared.is_err() {
            // Refused in words rather than sent as something else.
            assert!(written.contains(['^', '|']), "{written}");
            continue;
        }
        let (seen, _) = sent(&format!("http://hooks.example{written}")).await;
        assert_eq!(seen.line(), format!("POST {on_the_wire} HTTP/1.1"), "{written}");
        assert_eq!(seen.all("host"), ["hooks.example"]);
    }
}

#[tokio::test]
async fn hosts_and_ports_go_out_in_their_canonical_form() {
    for (url, host) in [
        ("http://hooks.example:80/", "hooks.example"),
        ("http://hooks.example:/", "hooks.example"),
        ("http://hooks.example:080/", "hooks.example"),
        ("http://hooks.example:443/", "hooks.example:443"),
        ("http://hooks.example:08080/", "hooks.example:8080"),
        ("HTTP://HOOKS.Example:65535/", "hooks.example:65535"),
        ("http://hooks.example./", "hooks.example."),
        ("http://münchen.example/", "xn--mnchen-3ya.example"),
        ("http://MÜNCHEN.example:81/", "xn--mnchen-3ya.example:81"),
        ("http://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example"),
        ("http://ｈooks。example/", "hooks.example"),
        ("http://h%6F%6Fks.example/", "hooks.example"),
        ("http://under_score.example/", "under_score.example"),
        ("http://0x5DB8D822/", "93.184.216.34"),
        ("http://[2606:4700:0::1]:8080/", "[2606:4700::1]:8080"),
        ("http://user:pw@hooks.example/", "hooks.example"),
    ] {
        let (seen, _) = sent(url).await;
        assert_eq!(seen.all("host"), [host], "{url}");
        assert_eq!(seen.line(), "POST / HTTP/1.1");
    }
}

#[tokio::test]
async fn user_information_becomes_basic_authorization_in_every_spelling_and_is_never_shown() {
    for (user, value) in [
        ("user:canary", "Basic dXNlcjpjYW5hcnk="),
        ("us%65r:c%61nary", "Basic dXNlcjpjYW5hcnk="),
        (":canary", "Basic OmNhbmFyeQ=="),
        ("canary", "Basic Y2FuYXJ5Og=="),
        ("canary:", "Basic Y2FuYXJ5Og=="),
        ("a@b:canary", "Basic YUBiOmNhbmFyeQ=="),
        ("a:canary:b", "Basic YTpjYW5hcnk6Yg=="),
        ("é:canary", "Basic w6k6Y2FuYXJ5"),
        ("a%0D%0AX-B:canary", "Basic YQ0KWC1COmNhbmFyeQ=="),
    ] {
        let (seen, shown) = sent(&format!("http://{user}@hooks.example/in?api_key=canary#canary")).await;
        assert_eq!(seen.all("authorization"), [value], "{user}");
        assert_eq!(seen.line(), "POST /in?api_key=canary HTTP/1.1");
        assert!(!shown.contains("canary") && shown.contains("http://***@hooks.example/in?api_key=***"), "{shown}");
    }
    let (seen, _) = sent("http://@hooks.example/").await;
    assert_eq!(seen.header("authorization"), None);
}

#[tokio::test]
async fn failures_show_no_secret_of_the_url() {
    let transport = WebhookTransport::builder().resolver(Names::default()).dialer(Memory::default()).build().unwrap();
    for host in ["missing.example", "10.0.0.1"] {
        let target = target(&transport, &format!("http://user:canary@{host}/?token=canary"));
        let error = transport.deliver(&target, &message("{}")).await.unwrap_err();
        let vetted = transport.vet(&target, &party("acme")).await.unwrap_err();
        assert!(!format!("{error:?} {vetted:?}").contains("canary"));
    }
    let config = map(&[("url", "http://user:canary@x.example/a b?token=canary")]);
    let problems = transport.prepare(&config, &map(&[("secret", SECRET)]), &StringMap::new()).unwrap_err();
    assert!(!format!("{problems:?}").contains("canary"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_accepted_goes_out_byte_for_byte(written in "[/?][!-\"$-~]{0,30}", fragment in "(#[!-~]{0,5})?") {
        let url = format!("http://hooks.example{written}{fragment}");
        let memory = Memory::default();
        let transport = public(&memory);
        let prepared = transport.prepare(&map(&[("url", &url)]), &map(&[("secret", SECRET)]), &StringMap::new());
        if let Ok(target) = prepared {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(transport.deliver(&target, &message("{}"))).unwrap();
            let line = memory.seen.lock().unwrap()[0].line().to_owned();
            let slash = if written.starts_with('/') { "" } else { "/" };
            prop_assert_eq!(line, format!("POST {slash}{written} HTTP/1.1"));
        } else {
            // These cannot stand in a request line as they are.
            prop_assert!(written.contains(['"', '<', '>', '`', '^', '|', '{', '}', '\\', '[', ']']), "{}", url);
        }
    }
}
