//! The recommendations of Standard Webhooks 1.0.0, each with the tests that show it.

use std::path::Path;
use std::time::Duration;

use outpost_core::{
    Clock as _, DestinationId, EgressPolicy, MemoryStore, NewDestination, NewEvent, Outpost, SystemClock, Verifier,
    WebhookTransport,
};
use outpost_tests::receiver;

/// What a line is shown by.
enum Shown {
    /// Tests of these names, anywhere in the workspace.
    By(&'static [&'static str]),
    /// Not a test's matter: why.
    Reason(&'static str),
}
use Shown::{By, Reason};

const LINES: &[(&str, Shown)] = &[
    // The payload.
    (
        "sent as the body of a POST",
        By(&["the_exact_bytes_go_out_with_standard_headers_and_a_signature_that_others_accept"]),
    ),
    ("JSON by preference", By(&["everything_else_is_refused_by_name"])),
    ("`type`, `timestamp` and `data` at the top", By(&["the_envelope_holds_the_data_as_it_was_published"])),
    ("`timestamp` is when the event happened", By(&["the_envelope_holds_the_data_as_it_was_published"])),
    ("an example and a schema for each type", Reason("the event types are the host's; it documents them")),
    ("thin or full payloads", Reason("the publisher decides what its data holds")),
    ("small payloads", By(&["bad_input_is_answered_with_every_problem_and_stores_nothing"])),
    (
        "the bytes that are signed are those that are sent",
        By(&["ten_thousand_odd_objects_arrive_byte_for_byte_and_verify_on_every_attempt"]),
    ),
    // Metadata and what is signed.
    (
        "the id is unique for each event and the same on every attempt",
        By(&["every_attempt_has_a_fresh_time_and_the_same_id"]),
    ),
    (
        "the timestamp is the attempt's, in whole seconds",
        By(&["every_attempt_has_a_fresh_time_and_the_same_id", "signatures_have_a_form_that_verifiers_know"]),
    ),
    (
        "signatures are a list separated by spaces",
        By(&["during_rotation_requests_verify_with_the_new_and_the_old_secret"]),
    ),
    ("the headers' names start with `webhook-`", By(&["signatures_have_a_form_that_verifiers_know"])),
    ("id, timestamp and body are signed with dots between", By(&["the_reference_library_s_vector_is_reproduced"])),
    ("no dot in an id", By(&["grammar_accepts_what_it_says_and_names_the_field_otherwise"])),
    // Schemes and keys.
    ("`v1` is HMAC-SHA256 in base64", By(&["the_reference_library_s_vector_is_reproduced"])),
    ("`v1a` is ed25519 in base64", By(&["an_asymmetric_destination_verifies_with_its_public_key_alone"])),
    (
        "symmetric secrets are 24 to 64 random bytes shown with `whsec_`",
        By(&["secrets_are_checked_and_never_shown", "every_destination_has_a_secret_of_its_own"]),
    ),
    (
        "asymmetric keys are shown with `whsk_` and `whpk_`",
        By(&["an_asymmetric_destination_verifies_with_its_public_key_alone"]),
    ),
    ("a key for each endpoint", By(&["every_destination_has_a_secret_of_its_own"])),
    (
        "asymmetric keys where one side is not trusted",
        Reason("offered; the host or its customer chooses by the secret's prefix"),
    ),
    (
        "keys are distributed, never taken from a request",
        Reason("the receiver's matter; the verifier takes its keys from the caller"),
    ),
    (
        "both kinds beside each other in one header",
        By(&["both_kinds_of_signature_stand_in_one_header_while_migrating"]),
    ),
    // Rotation.
    ("several signatures are accepted", By(&["during_rotation_requests_verify_with_the_new_and_the_old_secret"])),
    (
        "new and old secret sign for a fixed time",
        By(&["during_rotation_requests_verify_with_the_new_and_the_old_secret"]),
    ),
    // Verification.
    (
        "signatures are compared in constant time",
        Reason("by construction: the verifier uses the mac's own comparison and ed25519-dalek"),
    ),
    ("old and future timestamps are refused", By(&["the_time_must_be_near_in_both_directions"])),
    ("repeats are dropped by id", Reason("the receiver's matter; the example receiver shows it")),
    ("raw bytes are verified", By(&["ten_thousand_odd_objects_arrive_byte_for_byte_and_verify_on_every_attempt"])),
    ("unknown versions are skipped", By(&["any_trusted_key_will_do_and_unknown_versions_are_skipped"])),
    // Event types.
    ("identifiers with dots", By(&["wildcards_span_separators_and_published_topics_are_literal"])),
    ("one type, one schema", Reason("the host's matter")),
    ("receivers choose types, the sender filters", By(&["lists_are_normalised", "agrees_with_the_obvious_matcher"])),
    // Etiquette.
    (
        "retries over days, with jitter",
        By(&["the_full_schedule_of_days_is_exact_and_then_ends", "jitter_only_lengthens_and_by_a_fifth_at_most"]),
    ),
    (
        "after long failure tell and disable",
        Reason("the signals are there; disabling by count comes with destination health"),
    ),
    ("only 2xx is success", By(&["statuses_become_verdicts"])),
    ("redirects are not followed", By(&["redirects_are_not_followed"])),
    ("410 stops and disables", By(&["gone_stops_the_delivery_and_disables_the_destination_with_a_reason"])),
    ("429, 502 and 504 slow down", By(&["an_overloaded_destination_rests_then_is_probed_once_then_starts_slowly"])),
    ("Retry-After counts", By(&["a_wish_to_be_left_alone_is_a_floor_with_a_cap"])),
    ("15 to 30 seconds for an attempt", By(&["an_attempt_may_take_twenty_seconds_by_default"])),
    ("HTTPS can be demanded", By(&["https_can_be_demanded"])),
    ("fixed source addresses", Reason("the operator's network decides")),
    (
        "internal addresses are out of reach",
        By(&["internal_addresses_are_refused_in_every_spelling_at_write_and_at_send"]),
    ),
    // Extra functions.
    ("several endpoints for a customer", By(&["several_failing_destinations_have_schedules_of_their_own"])),
    (
        "failures and reasons are seen, one can be sent again",
        By(&[
            "a_delivery_that_succeeds_is_recorded_with_its_exchange",
            "manual_attempts_neither_delay_nor_replace_the_schedule",
        ]),
    ),
    (
        "endpoints are managed through an interface",
        By(&["disabling_and_deleting_end_pending_work_and_a_new_life_inherits_nothing"]),
    ),
    (
        "migration: the headers beside an older scheme",
        By(&["the_service_s_scheme_has_its_own_headers_and_both_schemes_fit_in_one_request"]),
    ),
];

fn sources(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target" && name != ".git") {
            sources(&path, out);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            out.push_str(&std::fs::read_to_string(path).expect("readable"));
        }
    }
}

#[test]
fn every_line_has_a_test_or_a_reason() {
    let mut all = String::new();
    sources(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"), &mut all);
    let mut missing = Vec::new();
    for (line, shown) in LINES {
        match shown {
            By(tests) => {
                assert!(!tests.is_empty(), "{line}");
                missing
                    .extend(tests.iter().filter(|name| !all.contains(&format!("fn {name}("))).map(|name| (line, name)));
            }
            Reason(reason) => assert!(reason.len() > 10, "{line}"),
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

async fn engine() -> Outpost {
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().expect("a fine policy");
    let transport = WebhookTransport::builder().egress(egress).build().expect("a fine transport");
    let outpost = Outpost::builder(MemoryStore::new()).transport(transport).start().await.expect("starts");
    outpost.tenants().put("acme", None).await.expect("a tenant");
    outpost
}

async fn received(inbox: &receiver::Inbox, id: &str) -> receiver::Received {
    for _ in 0..500 {
        if let Some(received) = inbox.all().get(id).and_then(|all| all.first().cloned()) {
            return received;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{id} never came");
}

fn main_at(address: std::net::SocketAddr) -> NewDestination {
    NewDestination::webhook(format!("http://{address}/")).id(DestinationId::new("main").expect("an id"))
}

#[tokio::test]
async fn signatures_have_a_form_that_verifiers_know() {
    let (address, inbox) = receiver::start(|_, _| 200).await;
    let outpost = engine().await;
    let destination = outpost.destinations().create("acme", main_at(address)).await.unwrap();
    outpost.publish("acme", NewEvent::new("a.b", "{}").id("one")).await.unwrap();
    let got = received(&inbox, "one").await;
    let seconds: i64 = got.headers["webhook-timestamp"].to_str().unwrap().parse().expect("whole seconds");
    assert!((SystemClock::new().now().as_seconds() - seconds).abs() <= 2);
    assert!(got.headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
    let key = standardwebhooks::Webhook::new(&destination.credentials.expose()["secret"]).unwrap();
    key.verify(&got.body, &got.headers).unwrap();
}

#[tokio::test]
async fn every_destination_has_a_secret_of_its_own() {
    let outpost = engine().await;
    let mut secrets = std::collections::HashSet::new();
    for n in 0..10 {
        let new = NewDestination::webhook(format!("http://127.0.0.1:9/{n}"));
        let destination = outpost.destinations().create("acme", new).await.unwrap();
        let secret = destination.credentials.expose()["secret"].clone();
        assert!(secret.starts_with("whsec_"));
        secrets.insert(secret);
    }
    assert_eq!(secrets.len(), 10);
}

#[tokio::test]
async fn during_rotation_requests_verify_with_the_new_and_the_old_secret() {
    let (address, inbox) = receiver::start(|_, _| 200).await;
    let outpost = engine().await;
    let before = outpost.destinations().create("acme", main_at(address)).await.unwrap();
    let after = outpost.destinations().rotate_secret("acme", "main", None).await.unwrap();
    let last = outpost.destinations().rotate_secret("acme", "main", None).await.unwrap();
    outpost.publish("acme", NewEvent::new("a.b", "{}").id("one")).await.unwrap();
    let got = received(&inbox, "one").await;
    assert_eq!(got.headers["webhook-signature"].to_str().unwrap().split(' ').count(), 3);
    for destination in [before, after, last] {
        let key = standardwebhooks::Webhook::new(&destination.credentials.expose()["secret"]).unwrap();
        key.verify(&got.body, &got.headers).unwrap();
    }
    // Without overlap the old one is worth nothing any more.
    let only = outpost.destinations().rotate_secret("acme", "main", Some(Duration::ZERO)).await.unwrap();
    assert!(only.credentials.expose()["secret"].starts_with("whsec_"));
}

/// The 32-byte seed 0x00 … 0x1f.
const ASYMMETRIC: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test]
async fn an_asymmetric_destination_verifies_with_its_public_key_alone() {
    let (address, inbox) = receiver::start(|_, _| 200).await;
    let outpost = engine().await;
    let new = main_at(address).credential("secret", ASYMMETRIC);
    outpost.destinations().create("acme", new).await.unwrap();
    outpost.publish("acme", NewEvent::new("a.b", "{\"n\":1}").id("one")).await.unwrap();
    let got = received(&inbox, "one").await;
    assert!(got.headers["webhook-signature"].to_str().unwrap().starts_with("v1a,"));
    let public = outpost_core::SigningKey::parse(ASYMMETRIC).unwrap().public_key().expect("an asymmetric key has one");
    assert!(public.starts_with("whpk_"));
    let verifier = Verifier::new(&public).unwrap();
    let now = SystemClock::new().now();
    verifier.verify_request(&got.headers, &got.body, now).unwrap();
    assert!(verifier.verify_request(&got.headers, b"{\"n\":2}", now).is_err());
}

#[tokio::test]
async fn both_kinds_of_signature_stand_in_one_header_while_migrating() {
    let (address, inbox) = receiver::start(|_, _| 200).await;
    let outpost = engine().await;
    let symmetric = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let new = main_at(address)
        .credential("secret", ASYMMETRIC)
        .credential("previous_secret", symmetric)
        .credential("previous_secret_invalid_at", "2999-01-01T00:00:00Z");
    outpost.destinations().create("acme", new).await.unwrap();
    outpost.publish("acme", NewEvent::new("a.b", "{}").id("one")).await.unwrap();
    let got = received(&inbox, "one").await;
    let signature = got.headers["webhook-signature"].to_str().unwrap().to_owned();
    assert!(signature.contains("v1a,") && signature.contains("v1,"), "{signature}");
    standardwebhooks::Webhook::new(symmetric).unwrap().verify(&got.body, &got.headers).unwrap();
}

#[test]
fn an_attempt_may_take_twenty_seconds_by_default() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (outpost, calls) =
            outpost_tests::virtual_outpost(MemoryStore::new(), |_, _| outpost_core::ScriptedReply::ok()).await;
        outpost_tests::tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
        outpost.publish("acme", NewEvent::new("a.b", "{}")).await.unwrap();
        calls.reached(1).await;
        assert_eq!(calls.all()[0].message.timeout, Duration::from_secs(20));
    });
}

#[tokio::test]
async fn https_can_be_demanded() {
    let transport = WebhookTransport::builder().https_only(true).build().unwrap();
    let outpost = Outpost::builder(MemoryStore::new()).transport(transport).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let error =
        outpost.destinations().create("acme", NewDestination::webhook("http://93.184.216.34/")).await.unwrap_err();
    assert_eq!(error.problems()[0].field, "config.url", "{error}");
}
