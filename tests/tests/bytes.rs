//! Payload bytes: what is published is what arrives, every time, whatever it looks like.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::{
    DestinationId, EgressPolicy, NewDestination, NewEvent, Outpost, RetryPolicy, Schedule, WebhookTransport,
};
use outpost_store_sqlite::SqliteStore;
use outpost_tests::receiver;

const EVENTS: usize = 10_000;

/// A small generator, so that a seed replays a run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).expect("fits")]
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(self.pick(&["", "", "", " ", "\n", "\t ", "\r\n", "   "]));
    }

    fn text(&mut self, out: &mut String) {
        out.push('"');
        for _ in 0..self.below(5) {
            out.push_str(self.pick(&[
                "a",
                "Z9",
                " ",
                "\\u0000",
                "\\ud800",
                "\\udfff\\ud800",
                "\\/",
                "/",
                "\\\"",
                "\\\\",
                "\\n",
                "é",
                "e\u{301}",
                "\u{1f469}\u{200d}\u{1f680}",
                "\u{2028}",
                "\u{2029}",
                "שלום",
                "\u{202e}x",
                "<>&",
                "\u{feff}",
                "\u{10ffff}",
                "\\u00e9",
            ]));
        }
        out.push('"');
    }

    fn value(&mut self, out: &mut String, depth: u64) {
        match self.below(if depth > 4 { 4 } else { 6 }) {
            0 => out.push_str(self.pick(&[
                "0",
                "-0",
                "-0.0",
                "1e2",
                "1E+2",
                "1.0",
                "10000000000000000000001",
                "-1.7976931348623157e+308",
                "1e400",
                "9007199254740993",
                "0.1000000000000000055511151231257827",
                "5e-324",
            ])),
            1 => self.text(out),
            2 => out.push_str(self.pick(&["true", "false", "null"])),
            3 => out.push_str(self.pick(&["{}", "[]", "{ }", "[\n]"])),
            4 => {
                out.push('[');
                for at in 0..self.below(4) {
                    if at > 0 {
                        out.push(',');
                    }
                    self.space(out);
                    self.value(out, depth + 1);
                    self.space(out);
                }
                out.push(']');
            }
            _ => self.object(out, depth + 1),
        }
    }

    fn object(&mut self, out: &mut String, depth: u64) {
        out.push('{');
        self.space(out);
        for at in 0..self.below(4) {
            if at > 0 {
                out.push(',');
                self.space(out);
            }
            // Few names, so that some come twice.
            if self.below(3) == 0 {
                self.text(out)
            } else {
                out.push_str(self.pick(&["\"a\"", "\"b\"", "\"\""]))
            }
            self.space(out);
            out.push(':');
            self.space(out);
            self.value(out, depth);
            self.space(out);
        }
        out.push('}');
    }
}

async fn engine(file: &Path) -> Outpost {
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().expect("a fine policy");
    let delays = vec![Duration::from_millis(100); 5];
    Outpost::builder(SqliteStore::open(file).await.expect("opens"))
        .transport(WebhookTransport::builder().egress(egress).build().expect("a fine transport"))
        .retry(RetryPolicy::new(Schedule::Explicit(delays)).expect("a fine policy"))
        .start()
        .await
        .expect("starts")
}

async fn drained(outpost: &Outpost) {
    while outpost.destinations().lane("acme", "main").await.expect("a lane").open > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_odd_objects_arrive_byte_for_byte_and_verify_on_every_attempt() {
    let seed = std::env::var("OUTPOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_125);
    println!("OUTPOST_SEED={seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bytes.db");
    // Every third event is refused at first.
    let (address, inbox) = receiver::start(|received, before| {
        let id = received.headers["webhook-id"].to_str().expect("text");
        let number: usize = id.trim_start_matches('e').parse().expect("a number");
        if number.is_multiple_of(3) && before == 0 { 500 } else { 200 }
    })
    .await;
    let outpost = engine(&file).await;
    outpost.tenants().put("acme", None).await.unwrap();
    let new = NewDestination::webhook(format!("http://{address}/")).id(DestinationId::new("main").unwrap());
    let destination = outpost.destinations().create("acme", new).await.unwrap();
    let key = standardwebhooks::Webhook::new(&destination.credentials.expose()["secret"]).unwrap();

    let mut published: HashMap<String, Bytes> = HashMap::new();
    for batch in 0..EVENTS / 1000 {
        let events = (0..1000).map(|n| {
            let id = format!("e{}", batch * 1000 + n);
            let mut data = String::new();
            random.space(&mut data);
            random.object(&mut data, 0);
            random.space(&mut data);
            published.insert(id.clone(), Bytes::from(data.clone()));
            NewEvent::new("a.b", data).id(id).metadata("trace", "t-1")
        });
        for answer in outpost.publish_batch("acme", events.collect()).await.unwrap() {
            answer.unwrap();
        }
    }
    drained(&outpost).await;
    for (id, data) in &published {
        assert_eq!(outpost.events().get("acme", id).await.unwrap().data, data, "{id} is shown as it was given");
    }
    assert!(outpost.shutdown(Duration::from_secs(10)).await);

    // A later process, and attempts by hand.
    let outpost = engine(&file).await;
    for n in 0..30 {
        let id = format!("e{n}");
        assert_eq!(outpost.events().get("acme", &id).await.unwrap().data, published[&id]);
        outpost.deliveries().retry("acme", "main", &id).await.unwrap();
    }
    for n in 0..30 {
        while outpost.deliveries().get("acme", "main", &format!("e{n}")).await.unwrap().requested.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(outpost.shutdown(Duration::from_secs(10)).await);

    let received = inbox.all();
    assert_eq!(received.len(), EVENTS);
    for (id, attempts) in &received {
        let number: usize = id.trim_start_matches('e').parse().unwrap();
        let wanted = 1 + usize::from(number.is_multiple_of(3)) + usize::from(number < 30);
        assert_eq!(attempts.len(), wanted, "{id}");
        let mut names = HashSet::new();
        for attempt in attempts {
            assert_eq!(attempt.body, published[id], "{id} has changed on its way");
            assert_eq!(attempt.headers["content-length"], published[id].len().to_string().as_str());
            key.verify(&attempt.body, &attempt.headers).unwrap_or_else(|error| panic!("{id}: {error}"));
            let mut found: Vec<String> = attempt.headers.keys().map(ToString::to_string).collect();
            found.sort();
            names.insert(found);
        }
        assert_eq!(names.len(), 1, "every attempt has the same headers: {names:?}");
    }
}
