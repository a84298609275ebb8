//! The code that the pages show is run, in every language that is installed, against requests that were really signed
//! and sent over a socket: genuine ones pass, and nothing else does.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::{
    Clock as _, DestinationId, EgressPolicy, EventId, HeaderChoice, Message, NewDestination, Party, ServiceHeaders,
    Signing, SigningKey, StringMap, SystemClock, TenantId, Timestamp, Transport as _, Trigger, WebhookTransport,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use self::support::Stage;

/// With what could be lost on the way: spaces, line ends, and letters that are not ASCII.
const BODY: &[u8] = "{ \"name\": \"Zoë\",\r\n \"n\": 1.50,\n\t\"s\": \"a\\\"b\" }\n".as_bytes();
const PAIR: &str = "whsk_AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

/// A request as it came off the socket.
#[derive(Clone)]
struct Received {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Sends one signed request to a socket of our own, at `now` by the sender's clock.
async fn deliver(signing: Signing, credentials: &StringMap, now: Timestamp) -> Received {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().unwrap();
    let transport = WebhookTransport::builder().egress(egress).signing(signing).build().unwrap();
    let config = StringMap::from([("url".to_owned(), url)]);
    let target = transport.prepare(&config, credentials, &StringMap::new()).unwrap();
    let message = Message {
        id: EventId::new("evt_1").unwrap(),
        topic: "order.created".into(),
        time: now,
        metadata: Arc::default(),
        data: Bytes::from_static(BODY),
        attempt: 1,
        trigger: Trigger::Automatic,
        now,
        timeout: Duration::from_secs(5),
        party: party(),
    };
    let (receipt, received) = tokio::join!(transport.deliver(&target, &message), receive(&listener));
    assert_eq!(receipt.unwrap().code, "204");
    received
}

async fn receive(listener: &TcpListener) -> Received {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let headers: Vec<(String, String)> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse::<usize>().unwrap();
        if bytes.len() >= end + 4 + length {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            return Received { headers, body: bytes[end + 4..].to_vec() };
        }
    }
}

/// A language, what it is run with, and how its code is made ready.
struct Language {
    slug: &'static str,
    program: &'static str,
    /// Puts a program around `code` in the directory, and answers what runs it there.
    prepare: fn(&Path) -> Vec<&'static str>,
}

const LANGUAGES: [Language; 4] = [
    Language { slug: "node", program: "node", prepare: node },
    Language { slug: "python", program: "python3", prepare: python },
    Language { slug: "go", program: "go", prepare: go },
    Language { slug: "shell", program: "bash", prepare: shell },
];

fn node(dir: &Path) -> Vec<&'static str> {
    fs::rename(dir.join("code"), dir.join("verify.mjs")).unwrap();
    let main = "import { readFileSync } from 'node:fs'; import { verify } from './verify.mjs';\n\
        const headers = JSON.parse(readFileSync('headers.json'));\n\
        process.exit(verify(headers, readFileSync('body.bin')) === true ? 0 : 1);\n";
    fs::write(dir.join("main.mjs"), main).unwrap();
    vec!["node", "main.mjs"]
}

fn python(dir: &Path) -> Vec<&'static str> {
    fs::rename(dir.join("code"), dir.join("verify.py")).unwrap();
    let main = "import json, sys\nfrom verify import verify\n\
        headers = json.load(open('headers.json'))\n\
        sys.exit(0 if verify(headers, open('body.bin', 'rb').read()) is True else 1)\n";
    fs::write(dir.join("main.py"), main).unwrap();
    vec!["python3", "-B", "main.py"]
}

fn go(dir: &Path) -> Vec<&'static str> {
    fs::create_dir(dir.join("webhooks")).unwrap();
    fs::rename(dir.join("code"), dir.join("webhooks/verify.go")).unwrap();
    let main = "package main\n\nimport (\n\"encoding/json\"\n\"fmt\"\n\"net/http\"\n\"os\"\n\"check/webhooks\"\n)\n\n\
        func main() {\nplain := map[string]string{}\ntext, _ := os.ReadFile(\"headers.json\")\n\
        if err := json.Unmarshal(text, &plain); err != nil {\npanic(err)\n}\n\
        header := http.Header{}\nfor name, value := range plain {\nheader.Set(name, value)\n}\n\
        body, _ := os.ReadFile(\"body.bin\")\n\
        if err := webhooks.Verify(header, body); err != nil {\nfmt.Println(err)\nos.Exit(1)\n}\n}\n";
    fs::write(dir.join("main.go"), main).unwrap();
    fs::write(dir.join("go.mod"), "module check\n\ngo 1.20\n").unwrap();
    let built = Command::new("go")
        .args(["build", "-o", "check", "."])
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    vec!["./check"]
}

fn shell(dir: &Path) -> Vec<&'static str> {
    fs::rename(dir.join("code"), dir.join("verify.sh")).unwrap();
    vec!["bash", "verify.sh", "headers.txt", "body.bin"]
}

fn installed(program: &str) -> bool {
    let version = if program == "go" { "version" } else { "--version" };
    Command::new(program).arg(version).output().is_ok_and(|output| output.status.success())
}

/// A directory that is gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("outpost-snippets-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the code takes the request. That it refuses must be its own decision, not a failure to run.
fn accepts(dir: &Path, argv: &[&str], env: (&str, &str), received: &Received, name: &str) -> bool {
    let plain: StringMap = received.headers.iter().cloned().collect();
    fs::write(dir.join("headers.json"), serde_json::to_vec(&plain).unwrap()).unwrap();
    // As a receiver may have written them down: names in any case.
    let lines: String = received
        .headers
        .iter()
        .map(|(name, value)| format!("{}: {value}\r\n", name.replace("webhook", "Webhook").replace("x-o", "X-O")))
        .collect();
    fs::write(dir.join("headers.txt"), lines).unwrap();
    fs::write(dir.join("body.bin"), &received.body).unwrap();
    let mut command = Command::new(argv[0]);
    let output = command.args(&argv[1..]).current_dir(dir).env(env.0, env.1).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => true,
        Some(1) => {
            for broken in ["Traceback", "SyntaxError", "Error:", "not set", "is not a", "cannot", ".go:"] {
                assert!(!said.contains(broken), "{name}: {said}");
            }
            false
        }
        other => panic!("{name} ended with {other:?}: {said}"),
    }
}

/// The text of the block with this id.
fn block(page: &str, id: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("<pre class=\"code\" id=\"{id}\""))?;
    let (_, rest) = rest.split_once('>')?;
    let text = rest.split("</pre>").next()?;
    assert!(!text.contains('<'), "{text}");
    Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
}

fn changed(received: &Received, name: &str, value: &str) -> Received {
    let mut changed = received.clone();
    let header = changed.headers.iter_mut().find(|(known, _)| known == name).unwrap();
    header.1 = value.to_owned();
    changed
}

fn header<'a>(received: &'a Received, name: &str) -> &'a str {
    &received.headers.iter().find(|(known, _)| known == name).unwrap().1
}

struct Scheme<'a> {
    slug: &'a str,
    signing: Signing,
    signature: &'a str,
    timestamp: Option<&'a str>,
    languages: usize,
}

/// Takes the code of every language from the destination's own page and runs it.
async fn try_all(scheme: &Scheme<'_>, secret: Option<&str>) {
    let (signing, slug) = (scheme.signing.clone(), scheme.slug);
    let stage = Stage::with(|engine| engine, |webhooks| webhooks.signing(signing), |portal| portal).await;
    let mut new = NewDestination::webhook("https://shop.example/hook").id(DestinationId::new("shop").unwrap());
    if let Some(secret) = secret {
        new = new.credential("secret", secret);
    }
    stage.outpost.destinations().create("acme", new).await.unwrap();
    stage.outpost.destinations().rotate_secret("acme", "shop", Some(Duration::from_secs(3600))).await.unwrap();
    let destination = stage.outpost.destinations().get("acme", "shop").await.unwrap();
    let mut credentials = destination.credentials.expose().clone();
    let page = stage.browser("acme").await.get("/destinations/shop/secret").await;
    for secret in [&credentials["secret"], &credentials["previous_secret"]] {
        page.must_not_have(secret.split_once('_').unwrap().1);
    }
    let (variable, key): (_, fn(&str) -> String) = if slug == "v1a" {
        ("WEBHOOK_PUBLIC_KEY", |secret| SigningKey::parse(secret).unwrap().public_key().unwrap())
    } else {
        ("WEBHOOK_SECRET", str::to_owned)
    };
    let other = stage_secret(slug);

    let mut found = 0;
    for language in &LANGUAGES {
        let Some(code) = block(&page.text, &format!("verify-{slug}-{}", language.slug)) else { continue };
        found += 1;
        assert!(code.ends_with('\n') && code.contains(scheme.signature), "{code}");
        if !installed(language.program) {
            continue;
        }
        let scratch = Scratch::new(&format!("{}-{slug}-{}", scheme.signature, language.slug));
        fs::write(scratch.0.join("code"), &code).unwrap();
        let argv = (language.prepare)(&scratch.0);
        let run = |what: &str, secret: &str, received: &Received| {
            let name = format!("{slug} {} {what}", language.slug);
            accepts(&scratch.0, &argv, (variable, &key(secret)), received, &name)
        };
        // The code goes by the real time, and so does what is signed here.
        let now = SystemClock::default().now();
        let until = now.after(Duration::from_secs(3 * 3600)).to_string();
        credentials.insert("previous_secret_invalid_at".to_owned(), until);
        let good = deliver(scheme.signing.clone(), &credentials, now).await;
        assert_eq!(good.body, BODY);
        let hour = Duration::from_secs(3600);
        let old = deliver(scheme.signing.clone(), &credentials, now.before(hour)).await;
        let early = deliver(scheme.signing.clone(), &credentials, now.after(hour)).await;
        let mut flipped = good.clone();
        flipped.body[12] ^= 1;
        let mut longer = good.clone();
        longer.body.push(b'\n');
        let unsigned = changed(&good, scheme.signature, "");
        let other_version = header(&good, scheme.signature).replace("v1", "v2").replace("v0", "v2");
        let version = changed(&good, scheme.signature, &other_version);
        assert!(run("good", &credentials["secret"], &good), "{} refuses a genuine request", language.slug);
        assert!(run("rotated", &credentials["previous_secret"], &good), "{}: with the old secret", language.slug);
        assert!(!run("other", &other, &good), "{} accepts another secret", language.slug);
        let mut bad = vec![("flipped", &flipped), ("longer", &longer), ("unsigned", &unsigned), ("version", &version)];
        if scheme.timestamp.is_some() {
            bad.extend([("old", &old), ("early", &early)]);
        }
        let garbled = scheme.timestamp.map(|name| changed(&good, name, "nonsense"));
        bad.extend(garbled.iter().map(|garbled| ("garbled", garbled)));
        // Signed by Standard Webhooks, the time is not for others to change.
        let moved =
            (slug != "v0").then(|| changed(&old, scheme.timestamp.unwrap(), header(&good, scheme.timestamp.unwrap())));
        bad.extend(moved.iter().map(|moved| ("moved", moved)));
        for (what, received) in bad {
            assert!(!run(what, &credentials["secret"], received), "{} accepts: {what}", language.slug);
        }
    }
    assert_eq!(found, scheme.languages);
    assert!(installed("bash"), "none of the code was run");
}

fn party() -> Party {
    Party { tenant: TenantId::new("acme").unwrap(), made_by_operator: false }
}

/// Another key of the same kind.
fn stage_secret(slug: &str) -> String {
    if slug == "v1a" { PAIR.replace("Aw", "BQ") } else { "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX".to_owned() }
}

#[tokio::test]
async fn standard_webhooks_are_checked_in_every_language() {
    let scheme = Scheme {
        slug: "v1",
        signing: Signing::standard(),
        signature: "webhook-signature",
        timestamp: Some("webhook-timestamp"),
        languages: 4,
    };
    try_all(&scheme, None).await;
}

#[tokio::test]
async fn names_of_the_operator_s_own_are_those_in_the_code() {
    let scheme = Scheme {
        slug: "v1",
        signing: Signing::standard_with_prefix("Acme-"),
        signature: "acme-signature",
        timestamp: Some("acme-timestamp"),
        languages: 4,
    };
    // Without padding, which decoders like less.
    try_all(&scheme, Some("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA")).await;
}

#[tokio::test]
async fn public_keys_are_checked_where_the_language_can() {
    let scheme = Scheme {
        slug: "v1a",
        signing: Signing::standard(),
        signature: "webhook-signature",
        timestamp: Some("webhook-timestamp"),
        languages: 3,
    };
    try_all(&scheme, Some(PAIR)).await;
}

#[tokio::test]
async fn the_service_s_own_scheme_is_checked_in_every_language() {
    let scheme = Scheme {
        slug: "v0",
        signing: Signing::service(ServiceHeaders::default()),
        signature: "x-outpost-signature",
        timestamp: Some("x-outpost-timestamp"),
        languages: 4,
    };
    try_all(&scheme, None).await;
}

#[tokio::test]
async fn without_a_time_in_the_headers_there_is_none_in_the_code() {
    let headers = ServiceHeaders {
        prefix: String::new(),
        timestamp: HeaderChoice::Off,
        signature: HeaderChoice::Named("X-Sign".to_owned()),
        ..ServiceHeaders::default()
    };
    let scheme =
        Scheme { slug: "v0", signing: Signing::both(headers), signature: "x-sign", timestamp: None, languages: 4 };
    try_all(&scheme, None).await;
}
