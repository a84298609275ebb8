//! The guard against random URLs and random answers of name servers: whatever is written and whatever a name
//! leads to, no address is dialed that the policy refuses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use outpost_core::{
    Allowance, Dialer, EgressPolicy, ErrorClass, Io, Message, Party, Resolver, StringMap, Transport, WebhookTransport,
};
use proptest::prelude::*;
use proptest::sample::select;
use webhook_support::spellings::{carriers, edges, literals};
use webhook_support::*;

/// Remembers what it was to open, and opens nothing.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<SocketAddr>>>);

#[async_trait]
impl Dialer for Recorder {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.0.lock().unwrap().push(address);
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

/// One answer after the other; the last one for ever. Remembers the names.
#[derive(Clone, Default)]
struct Answers {
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    names: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Resolver for Answers {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.names.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.ok_or_else(|| io::Error::other("no answer"))
    }
}

/// A transport over scripted answers, and what it dials.
struct Field {
    transport: WebhookTransport,
    policy: EgressPolicy,
    answers: Answers,
    recorder: Recorder,
}

impl Field {
    fn new(policy: EgressPolicy, answers: Vec<Vec<IpAddr>>) -> Self {
        let answers = Answers { answers: Arc::new(Mutex::new(answers.into())), names: Arc::default() };
        let recorder = Recorder::default();
        let builder = WebhookTransport::builder().egress(policy.clone());
        let transport = builder.resolver(answers.clone()).dialer(recorder.clone()).build().unwrap();
        Self { transport, policy, answers, recorder }
    }

    /// Vets and sends to `url` and holds every dialed address against the policy. `None` when the URL is refused
    /// as such, else the verdicts of both.
    async fn try_url(&self, url: &str, party: &Party) -> Option<(bool, bool)> {
        let prepared = self.transport.prepare(&map(&[("url", url)]), &map(&[("secret", SECRET)]), &StringMap::new());
        let target = prepared.ok()?;
        let vetted = self.transport.vet(&target, party).await.is_ok();
        let message = Message { party: party.clone(), ..message("{}") };
        let error = self.transport.deliver(&target, &message).await.unwrap_err().error;
        let dialed: Vec<SocketAddr> = std::mem::take(&mut *self.recorder.0.lock().unwrap());
        let name = self.answers.names.lock().unwrap().last().cloned();
        for address in &dialed {
            let refused = self.policy.check_for(party, name.as_deref(), address.ip(), address.port());
            assert!(refused.is_ok(), "{url:?} {party:?} dialed {address}: {refused:?}");
        }
        match error.class {
            ErrorClass::Refused => assert!(!dialed.is_empty(), "{url:?}"),
            ErrorClass::Blocked | ErrorClass::Dns => assert!(dialed.is_empty(), "{url:?} dialed {dialed:?}"),
            class => panic!("{url:?}: {class}"),
        }
        Some((vetted, error.class == ErrorClass::Refused))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[tokio::test]
async fn every_block_s_edges_are_judged_alike_as_literals_and_as_answers() {
    let mut outside = 0;
    for (address, inside) in edges() {
        let party = party("acme");
        let expected = EgressPolicy::default().check(None, address, 80).is_ok();
        assert!(!(inside && expected), "{address} is allowed");
        outside += usize::from(expected);
        // As an answer, alone and after a public one, the same at write and at send.
        for list in [vec![address], vec!["93.184.216.34".parse().unwrap(), address]] {
            let field = Field::new(EgressPolicy::default(), vec![list]);
            let verdicts = field.try_url("http://hooks.example/", &party).await;
            assert_eq!(verdicts, Some((expected, expected)), "{address} as an answer");
        }
        let field = Field::new(EgressPolicy::default(), Vec::new());
        for host in literals(address) {
            let verdicts = field.try_url(&format!("http://{host}/"), &party).await;
            match verdicts {
                // Only forms that carry a scope or hide the brackets are no URLs at all.
                None => assert!(host.contains('%') && address.is_ipv6(), "{host}"),
                // Another spelling of a public address may be refused, never the other way round.
                Some((vetted, sent)) => assert!(vetted == sent && (!sent || expected), "{host} for {address}"),
            }
        }
        assert_eq!(*field.answers.names.lock().unwrap(), [""; 0], "{address} was resolved");
        if let IpAddr::V4(address) = address {
            for carrier in carriers(address) {
                let field = Field::new(EgressPolicy::default(), vec![vec![carrier.into()]]);
                let (vetted, sent) = field.try_url("http://hooks.example/", &party).await.unwrap();
                assert!(vetted == sent && (!sent || expected), "{carrier} for {address}");
            }
        }
    }
    assert!(outside > 40, "{outside}");
}

fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![
        any::<u32>().prop_map(Ipv4Addr::from),
        (select(&[10_u8, 127, 169, 172, 192, 100, 198][..]), any::<[u8; 3]>())
            .prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d)),
        select(&["169.254.169.254", "127.0.0.1", "10.1.2.3", "93.184.216.34", "172.16.0.1"][..])
            .prop_map(|text| text.parse().unwrap()),
    ];
    prop_oneof![
        4 => v4.clone().prop_map(IpAddr::V4),
        3 => (v4, any::<prop::sample::Index>()).prop_map(|(address, at)| (*at.get(&carriers(address))).into()),
        1 => any::<u128>().prop_map(|n| Ipv6Addr::from(n).into()),
        1 => any::<u128>().prop_map(|n| Ipv6Addr::from(n >> 3 | 1 << 125).into()),
        2 => select(edges()).prop_map(|(address, _)| address),
    ]
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (address(), any::<prop::sample::Index>()).prop_map(|(address, at)| at.get(&literals(address)).clone()),
        3 => select(
            &[
                "hooks.example", "HOOKS.Example.", "db.internal", "a.db.internal", "localhost", "münchen.example",
                "xn--mnchen-3ya.example", "ｌｏｃａｌｈｏｓｔ", "127.0.0.1.nip.example", "1.2.3.4.5", "0x7f.1.",
                "self.example", "SELF.example.", "s%65lf.example", "sélf.example", "self.example..", "0x", "1e3", "-", "_",
            ][..]
        )
        .prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

fn url() -> impl Strategy<Value = String> {
    let scheme = select(
        &[
            "http://",
            "https://",
            "HTTP://",
            "hTTps://",
            "http:",
            "http:/",
            "http:///",
            "http:\\\\",
            "https:\\/",
            "//",
            "ftp://",
            "file://",
            "gopher://",
            "ws://",
            "http://http://",
            "http://@",
            " http://",
            "http://\t",
            "ht\ntp://",
        ][..],
    );
    // The usual ones weigh more, else hardly any URL would get through.
    let scheme = prop_oneof![2 => Just("http://"), 1 => Just("https://"), 2 => scheme];
    let before = select(
        &[
            "",
            "",
            "",
            "",
            "u:p@",
            "a@b@",
            "x.example@",
            "x.example:80@",
            "x.example%2f@",
            "x.example\\@",
            "x.example#@",
            "x.example/@",
            "x.example?@",
            "%00@",
            "\t",
        ][..],
    );
    let after = select(
        &[
            "",
            "",
            "/",
            ":80",
            ":443/",
            ":0",
            ":65536",
            ":",
            "/x",
            "?q",
            "#f",
            "\\x",
            "\\@x.example/",
            "@x.example",
            "#@x.example",
            "%2f@x.example/",
            "/..//%2e%2e/",
            ";x",
            "\n",
            "\r\nHost: x",
            " /",
            "\0",
            "%00",
            "/\u{e9}",
            ".",
            "%",
        ][..],
    );
    (scheme, before, host(), after).prop_map(|(scheme, before, host, after)| format!("{scheme}{before}{host}{after}"))
}

fn policies() -> Vec<EgressPolicy> {
    let builder = EgressPolicy::builder;
    vec![
        EgressPolicy::default(),
        builder().deny_host("self.example").ports("80, 443, 8080").build().unwrap(),
        builder()
            .allow_net_for(Allowance::tenants(["acme"]), "10.0.0.0/8, fd00::/8")
            .allow_host_for(Allowance::Operator, "db.internal, *.db.internal")
            .allow_net("127.0.0.0/16")
            .deny_net("10.1.0.0/16, 8.0.0.0/8")
            .deny_host("self.example")
            .build()
            .unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_reaches_an_address_that_the_policy_refuses(
        texts in proptest::collection::vec(url(), 1..6),
        answers in proptest::collection::vec(proptest::collection::vec(address(), 0..4), 0..6),
        policy in 0..3_usize,
        tenant in select(&["acme", "other"][..]),
        made_by_operator in any::<bool>(),
    ) {
        let party = Party { made_by_operator, ..party(tenant) };
        let field = Field::new(policies()[policy].clone(), answers);
        runtime().block_on(async {
            for text in &texts {
                field.try_url(text, &party).await;
            }
        });
        // A denied host is never so much as asked for.
        let denied = policy > 0 && field.answers.names.lock().unwrap().iter().any(|name| name.trim_end_matches('.') == "self.example");
        prop_assert!(!denied);
    }

    #[test]
    fn the_same_answers_are_judged_the_same_at_write_and_at_send(
        text in url(),
        answer in proptest::collection::vec(address(), 0..3),
        policy in 0..3_usize,
        made_by_operator in any::<bool>(),
    ) {
        let party = Party { made_by_operator, ..party("acme") };
        let field = Field::new(policies()[policy].clone(), vec![answer]);
        if let Some((vetted, sent)) = runtime().block_on(field.try_url(&text, &party)) {
            prop_assert_eq!(vetted, sent, "{}", text);
        }
    }

    #[test]
    fn what_the_url_parser_takes_and_the_http_library_does_not_is_a_problem_and_never_a_panic(
        text in prop_oneof![url(), (url(), "\\PC{0,8}").prop_map(|(url, more)| format!("{url}/{more}")), "\\PC{0,40}"],
    ) {
        let transport = WebhookTransport::builder().build().unwrap();
        let prepared = transport.prepare(&map(&[("url", &text)]), &map(&[("secret", SECRET)]), &StringMap::new());
        let Err(problems) = prepared else {
            // Accepted: both libraries take what is sent of it, as it is written.
            prop_assert!(url::Url::parse(&text).is_ok(), "{:?}", text);
            let written = text.split_once("://").unwrap().1.split('#').next().unwrap();
            let target = written.find(['/', '?']).map_or("/", |at| &written[at..]);
            prop_assert!(target.parse::<http::uri::PathAndQuery>().is_ok(), "{:?}", text);
            return Ok(());
        };
        prop_assert!(problems.len() == 1 && problems[0].field == "config.url" && !problems[0].message.is_empty());
    }
}

#[test]
fn random_urls_are_of_all_kinds() {
    // The properties above would hold for texts that are all refused, too.
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut refused, mut literal, mut named, mut sent) = (0, 0, 0, 0);
    runtime().block_on(async {
        for _ in 0..1000 {
            let text = url().new_tree(&mut runner).unwrap().current();
            let field = Field::new(EgressPolicy::default(), vec![vec!["93.184.216.34".parse().unwrap()]]);
            match field.try_url(&text, &party("acme")).await {
                None => refused += 1,
                Some((_, reached)) => {
                    sent += usize::from(reached);
                    let names = field.answers.names.lock().unwrap().len();
                    *(if names > 0 { &mut named } else { &mut literal }) += 1;
                }
            }
        }
    });
    assert!(refused > 100 && literal > 50 && named > 50 && sent > 50, "{refused} {literal} {named} {sent}");
}
