//! What a webhook destination and the transport itself may be set to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::time::Duration;

use outpost_core::{
    EgressPolicy, HeaderChoice, Problem, Rotation, SeededEntropy, ServiceHeaders, Signing, StringMap, Transport,
    WebhookTransport,
};
use proptest::prelude::*;
use webhook_support::*;

fn transport() -> WebhookTransport {
    WebhookTransport::builder().build().unwrap()
}

fn fields(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.field.as_str()).collect()
}

fn custom(transport: &WebhookTransport, json: &str) -> Vec<Problem> {
    let config = map(&[("url", "https://x.example/"), ("custom_headers", json)]);
    transport.prepare(&config, &map(&[("secret", SECRET)]), &StringMap::new()).err().unwrap_or_default()
}

#[test]
fn every_problem_is_reported_together_with_its_path() {
    let config = map(&[("url", "ftp://x"), ("custom_headers", r#"{"Host":"a","X-A":"b\r\nX-B: c"}"#)]);
    let credentials = map(&[("secret", "whsec_short"), ("previous_secret", SECRET), ("older_secrets", "{}")]);
    let problems = transport().prepare(&config, &credentials, &map(&[("a b", "c")])).unwrap_err();
    assert_eq!(
        fields(&problems),
        [
            "config.url",
            "config.custom_headers.Host",
            "config.custom_headers.X-A",
            "delivery_metadata",
            "credentials.secret",
            "credentials.previous_secret_invalid_at",
            "credentials.older_secrets",
        ]
    );
    let problems = transport().prepare(&StringMap::new(), &StringMap::new(), &StringMap::new()).unwrap_err();
    assert_eq!(fields(&problems), ["config.url", "credentials.secret"]);
}

#[test]
fn reserved_headers_are_refused_in_any_case() {
    let transport = transport();
    for name in [
        "content-type",
        "Content-Length",
        "HOST",
        "connection",
        "User-Agent",
        "transfer-encoding",
        "TE",
        "Trailer",
        "upgrade",
        "Keep-Alive",
        "Proxy-Authorization",
        "proxy-x",
        "Expect",
        "Accept-Encoding",
        "Webhook-Id",
        "webhook-timestamp",
        "WEBHOOK-SIGNATURE",
        "webhook-topic",
        "Content-Encoding",
    ] {
        let problems = custom(&transport, &format!(r#"{{"{name}":"x"}}"#));
        assert_eq!(fields(&problems), [format!("config.custom_headers.{name}")]);
    }
    // Names of schemes that are not in use are free.
    assert_eq!(custom(&transport, r#"{"x-outpost-signature":"x","Authorization":"Bearer t","Cookie":"a=b"}"#), []);
    let named = ServiceHeaders { signature: HeaderChoice::Named("X-Sig".into()), ..ServiceHeaders::default() };
    let service = WebhookTransport::builder().signing(Signing::service(named)).build().unwrap();
    assert_eq!(custom(&service, r#"{"x-outpost-signature":"x","webhook-id":"x"}"#), []);
    assert_eq!(custom(&service, r#"{"x-sig":"x","x-outpost-topic":"x"}"#).len(), 2);
}

#[test]
fn custom_headers_are_bounded_and_clean() {
    let transport = transport();
    for json in ["", " ", "{}"] {
        assert_eq!(custom(&transport, json), [], "{json:?}");
    }
    for json in ["[]", "{", r#"{"a":1}"#, r#"{"a":null}"#, "null"] {
        assert_eq!(fields(&custom(&transport, json)), ["config.custom_headers"], "{json}");
    }
    for (name, value) in [
        ("X A", "a"),
        ("", "a"),
        ("-a", "a"),
        ("a:", "a"),
        ("é", "a"),
        ("a\\u0000", "a"),
        ("x-a", ""),
        ("x-a", "a\\nb"),
        ("x-a", "a\\r\\nX-B: c"),
        ("x-a", "\\u0000"),
        ("x-a", "\\u007f"),
        ("x-a", "é"),
        ("x-a", " a"),
        ("x-a", "a "),
        ("x-a", "a\\tb"),
    ] {
        assert_eq!(custom(&transport, &format!(r#"{{"{name}":"{value}"}}"#)).len(), 1, "{name} {value}");
    }
    assert_eq!(custom(&transport, r#"{"X-A":"1","x-a":"2"}"#).len(), 1);
    let sized = |count: usize, length: usize| {
        let all: StringMap = (0..count).map(|n| (format!("x-{n}"), "v".repeat(length))).collect();
        custom(&transport, &serde_json::to_string(&all).unwrap()).len()
    };
    assert_eq!([sized(64, 10), sized(65, 10), sized(3, 4096), sized(1, 4097), sized(5, 4000)], [0, 1, 0, 1, 1]);
}

#[test]
fn authorization_comes_from_one_place() {
    let config = map(&[("url", "https://u:p@x.example/"), ("custom_headers", r#"{"AUTHORIZATION":"Bearer x"}"#)]);
    let problems = transport().prepare(&config, &map(&[("secret", SECRET)]), &StringMap::new()).unwrap_err();
    assert_eq!(fields(&problems), ["config.custom_headers.authorization"]);
}

#[test]
fn secrets_are_checked_by_scheme_and_never_shown() {
    let config = map(&[("url", "https://x.example/")]);
    let service = WebhookTransport::builder().signing(Signing::service(ServiceHeaders::default())).build().unwrap();
    let both = WebhookTransport::builder().signing(Signing::both(ServiceHeaders::default())).build().unwrap();
    let odd = map(&[("secret", "canary of any form")]);
    assert!(service.prepare(&config, &odd, &StringMap::new()).is_ok());
    for transport in [transport(), both] {
        let problems = transport.prepare(&config, &odd, &StringMap::new()).unwrap_err();
        assert_eq!(fields(&problems), ["credentials.secret"]);
        assert!(!format!("{problems:?}").contains("canary"));
    }
    let many = format!("[{}]", vec![format!(r#"{{"secret":"{SECRET}","invalid_at":"2026-01-01"}}"#); 4].join(","));
    let credentials = map(&[("secret", SECRET), ("older_secrets", &many)]);
    assert_eq!(
        fields(&transport().prepare(&config, &credentials, &StringMap::new()).unwrap_err()),
        ["credentials.older_secrets"]
    );
}

#[test]
fn a_new_destination_gets_a_secret_and_rotation_keeps_the_old_one() {
    let transport = transport();
    let entropy = SeededEntropy::new(1);
    let mut credentials = StringMap::new();
    transport.provision(&mut credentials, &entropy);
    assert!(credentials["secret"].starts_with("whsec_"));
    let rotation = Rotation { now: now(), overlap: Duration::from_secs(60) };
    let rotated = transport.rotate(&credentials, rotation, &entropy).unwrap();
    assert_eq!(rotated["previous_secret"], credentials["secret"]);
    assert_eq!(rotated["previous_secret_invalid_at"], "2026-01-31T08:01:00.123Z");
    let config = map(&[("url", "https://x.example/")]);
    assert_eq!(transport.descriptor().problems(&config, &rotated), []);
    assert!(transport.prepare(&config, &rotated, &StringMap::new()).is_ok());
}

#[test]
fn the_descriptor_knows_every_field_and_offers_custom_headers_only_when_asked() {
    let keys = |transport: &WebhookTransport| {
        transport.descriptor().config_fields.iter().map(|field| field.key).collect::<Vec<_>>()
    };
    let with_headers = WebhookTransport::builder().custom_headers(true).build().unwrap();
    assert_eq!(keys(&with_headers), ["url", "custom_headers"]);
    let plain = transport();
    assert_eq!(keys(&plain), ["url"]);
    assert_eq!(plain.descriptor().kind, "webhook");
    // What is not offered is known all the same, so that a destination that has it can be changed.
    let config = map(&[("url", "https://x.example/"), ("custom_headers", "{}")]);
    assert_eq!(plain.descriptor().problems(&config, &StringMap::new()), []);
    assert!(plain.descriptor().known_config_fields().any(|field| field.key == "custom_headers" && field.sensitive));
}

#[test]
fn bad_settings_of_the_transport_are_reported_together() {
    let clash = ServiceHeaders {
        prefix: "webhook-".into(),
        signature: HeaderChoice::Named("Host".into()),
        ..ServiceHeaders::default()
    };
    let error = WebhookTransport::builder()
        .root_der(b"no certificate")
        .root_pem(b"nothing here")
        .user_agent("a\nb")
        .response_capture(usize::MAX)
        .idle_timeout(Duration::ZERO)
        .mask_path("", "x")
        .signing(Signing::both(clash))
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), outpost_core::ErrorKind::Invalid);
    assert_eq!(
        fields(error.problems()),
        [
            "root_der",
            "root_pem",
            "mask_path",
            "signing.timestamp",
            "signing.topic",
            "signing.signature",
            "user_agent",
            "response_capture",
            "idle_timeout",
        ]
    );
    let error = WebhookTransport::builder().signing(Signing::standard_with_prefix("bad prefix ")).build().unwrap_err();
    assert_eq!(error.problems().len(), 4);
}

#[test]
fn https_can_be_demanded_in_two_places() {
    let policy = EgressPolicy::builder().https_only(true).build().unwrap();
    for builder in [WebhookTransport::builder().https_only(true), WebhookTransport::builder().egress(policy)] {
        let transport = builder.build().unwrap();
        let prepare =
            |url: &str| transport.prepare(&map(&[("url", url)]), &map(&[("secret", SECRET)]), &StringMap::new());
        assert_eq!(prepare("http://x.example/").unwrap_err()[0].message, "must start with https://");
        assert!(prepare("https://x.example/").is_ok());
    }
}

#[test]
fn operators_can_mask_paths_of_their_own() {
    let transport = WebhookTransport::builder().mask_path("in.example", "/w/").build().unwrap();
    assert_eq!(target(&transport, "https://in.example/w/canary?x=1").display(), "https://in.example/w/***?x=1");
    assert_eq!(
        target(&transport, "https://hooks.slack.com/services/T0/B0/canary").display(),
        "https://hooks.slack.com/services/***"
    );
}

/// Pieces that URLs go wrong with, in any order.
fn odd_urls() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("http://".to_owned()),
        Just("https://".to_owned()),
        Just("http:".to_owned()),
        Just("//".to_owned()),
        "[/?#@:%\\[\\]\\\\<>{}|^`\"' ~!$&()*+,;=.-]",
        "[a-z0-9]{1,5}",
        "%[0-9a-f]{0,2}",
        "\\PC",
        "[\u{0}-\u{20}]",
        Just("x.example".to_owned()),
        Just("[::1]".to_owned()),
        Just("127.1".to_owned()),
        Just("münchen".to_owned()),
        Just("xn--".to_owned()),
        Just(":443".to_owned()),
        Just(":99999".to_owned()),
        Just("user:pw@".to_owned()),
    ];
    let start = prop_oneof![Just(""), Just("http://"), Just("https://"), Just("http://h"), Just("https://h/")];
    (start, proptest::collection::vec(piece, 0..8)).prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_destination_or_a_problem_and_never_a_panic(text in odd_urls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let memory = NoNetwork;
        let transport = WebhookTransport::builder().resolver(memory).dialer(memory).build().unwrap();
        let prepared = transport.prepare(&map(&[("url", &text)]), &map(&[("secret", SECRET)]), &StringMap::new());
        match prepared {
            Err(problems) => prop_assert_eq!(fields(&problems), ["config.url"]),
            Ok(target) => {
                // What is accepted can be checked and sent; only the network is missing here.
                let error = runtime.block_on(async {
                    let _ = transport.vet(&target, &party("acme")).await;
                    transport.deliver(&target, &message("{}")).await.unwrap_err()
                });
                prop_assert!(matches!(error.error.class.as_str(), "dns_error" | "blocked" | "connection_refused"), "{:?}", error);
                let without_fragment = text.split('#').next().unwrap();
                let written = without_fragment.split_once("://").unwrap().1;
                let at = written.find(['/', '?']).unwrap_or(written.len());
                if !text.contains('@') && !text.contains('=') {
                    prop_assert!(target.display().ends_with(&written[at..]), "{} for {}", target.display(), text);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct NoNetwork;

#[async_trait::async_trait]
impl outpost_core::Resolver for NoNetwork {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        Ok(Vec::new())
    }
}

#[async_trait::async_trait]
impl outpost_core::Dialer for NoNetwork {
    async fn dial(&self, _: std::net::SocketAddr) -> std::io::Result<Box<dyn outpost_core::Io>> {
        Err(std::io::ErrorKind::ConnectionRefused.into())
    }
}
