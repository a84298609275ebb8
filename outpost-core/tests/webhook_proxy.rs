//! Sending through a proxy: one written by hand on a real socket, which plays the receiver behind it as well.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{
    DeliveryError, Dialer, EgressPolicy, ErrorClass, Io, Message, Problem, Transport, Verdict, WebhookTransport,
    WebhookTransportBuilder,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use webhook_support::net::Names;
use webhook_support::*;

const PUBLIC: &str = "93.184.216.34";
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n";

/// Behind this tunnel nobody answers.
const SILENT: &[u8] = b"HTTP/1.1 200 Silent\r\n\r\n";

/// What the proxy does with a request, given the address that it names.
type Script = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

struct Proxy {
    address: SocketAddr,
    /// The heads of its requests.
    asked: Arc<Mutex<Vec<String>>>,
    /// What came through its tunnels: the name that TLS asked for, and the request.
    seen: Arc<Mutex<Vec<(String, Seen)>>>,
}

impl Proxy {
    /// Answers as the script says: nothing at all means silence. Behind a 200 there is a receiver.
    async fn start(tls: Option<TlsAcceptor>, script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, seen) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let proxy = Self { address, asked: Arc::clone(&asked), seen: Arc::clone(&seen) };
        let script: Script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = Self::serve(stream, tls.clone(), Arc::clone(&script), asked.clone(), seen.clone());
                tokio::spawn(connection);
            }
        });
        proxy
    }

    async fn serve(
        mut stream: TcpStream,
        tls: Option<TlsAcceptor>,
        script: Script,
        asked: Arc<Mutex<Vec<String>>>,
        seen: Arc<Mutex<Vec<(String, Seen)>>>,
    ) {
        let Some(request) = read_request(&mut stream, 0).await else { return };
        let answer = script(request.line().split(' ').nth(1).unwrap());
        asked.lock().unwrap().push(request.head);
        if answer.is_empty() {
            let _ = stream.read_u8().await;
            return;
        }
        stream.write_all(&answer).await.unwrap();
        if !answer.starts_with(b"HTTP/1.1 200") {
            return;
        }
        if answer == SILENT {
            let _ = read_request(&mut stream, 0).await;
            std::future::pending::<()>().await;
        }
        match tls {
            None => {
                while let Some(request) = read_request(&mut stream, 0).await {
                    seen.lock().unwrap().push((String::new(), request));
                    stream.write_all(OK).await.unwrap();
                }
            }
            Some(tls) => {
                let Ok(mut stream) = tls.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                while let Some(request) = read_request(&mut stream, 0).await {
                    seen.lock().unwrap().push((name.clone(), request));
                    stream.write_all(OK).await.unwrap();
                }
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }

    /// A transport that resolves every name to these addresses and sends through this proxy.
    fn transport(&self, addresses: &[&str]) -> WebhookTransportBuilder {
        let url = format!("http://user:canary%40@{}", self.address);
        WebhookTransport::builder().resolver(Names::new(&[addresses])).proxy(&url)
    }
}

/// The proxy's fault: it does not count against the destination, and only the operator learns what it was.
fn ours(error: &DeliveryError, detail: &str) {
    assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::System, false), "{error:?}");
    assert!(error.error.detail.contains("the proxy 127.0.0.1:") && error.error.detail.contains(detail), "{error:?}");
    assert_eq!(error.error.message, "the sender had a temporary problem of its own");
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn plain_requests_go_through_a_tunnel_to_the_address_that_was_checked() {
    let proxy = Proxy::start(None, |_| ESTABLISHED.to_vec()).await;
    // Asked again, the name would lead inwards.
    let url = format!("http://user:canary%40@{}", proxy.address);
    let names = Names::new(&[&[PUBLIC, "2606:4700::1"], &["10.0.0.1"]]);
    let transport = WebhookTransport::builder().resolver(names).proxy(&url).build().unwrap();
    for target in ["/a?b=%20", "/second"] {
        let receipt = deliver(&transport, &format!("http://hooks.example:8080{target}")).await.unwrap();
        assert_eq!(receipt.verdict, Verdict::Accepted);
        assert!(!format!("{receipt:?}").contains("canary"));
    }
    // One tunnel, which is kept like any connection.
    let asked = proxy.asked.lock().unwrap().clone();
    let expected = format!(
        "CONNECT {PUBLIC}:8080 HTTP/1.1\r\nHost: {PUBLIC}:8080\r\nProxy-Authorization: Basic dXNlcjpjYW5hcnlA\r\n\r\n"
    );
    assert_eq!(asked, [expected]);
    let seen = proxy.seen.lock().unwrap();
    assert_eq!(
        seen.iter().map(|(_, request)| request.line()).collect::<Vec<_>>(),
        ["POST /a?b=%20 HTTP/1.1", "POST /second HTTP/1.1"]
    );
    assert_eq!(seen[0].1.header("host"), Some("hooks.example:8080"));
    // The proxy's password is the proxy's alone.
    assert!(seen.iter().all(|(_, request)| request.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn secure_requests_keep_the_receiver_s_name() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["hooks.example".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let proxy = Proxy::start(Some(TlsAcceptor::from(Arc::new(config))), |_| ESTABLISHED.to_vec()).await;
    let transport = proxy.transport(&["2606:4700::1"]).root_der(authority.der()).build().unwrap();
    deliver(&transport, "https://hooks.example/in").await.unwrap();
    assert_eq!(proxy.lines(), ["CONNECT [2606:4700::1]:443 HTTP/1.1"]);
    assert_eq!(proxy.seen.lock().unwrap()[0].0, "hooks.example");
    // What the receiver does wrong behind the tunnel stays the receiver's.
    let error = deliver(&transport, "https://other.example/").await.unwrap_err().error;
    assert_eq!(error.class, ErrorClass::Tls);
}

#[tokio::test]
async fn the_target_is_checked_though_the_proxy_is_what_is_dialed() {
    let proxy = Proxy::start(None, |_| ESTABLISHED.to_vec()).await;
    let transport = proxy.transport(&[PUBLIC, "10.0.0.1"]).build().unwrap();
    for url in
        ["http://hooks.example/", "http://169.254.169.254/", "http://[::1]/", &format!("http://{}/", proxy.address)]
    {
        let error = deliver(&transport, url).await.unwrap_err().error;
        assert_eq!(error.class, ErrorClass::Blocked, "{url}");
        assert!(transport.vet(&target(&transport, url), &party("acme")).await.is_err());
    }
    // A name that does not resolve here does not become the proxy's to resolve.
    let names = Names::default();
    let transport = WebhookTransport::builder().resolver(names).proxy(&format!("http://{}", proxy.address));
    let error = deliver(&transport.build().unwrap(), "http://hooks.example/").await.unwrap_err().error;
    assert_eq!(error.class, ErrorClass::Dns);
    assert_eq!(proxy.lines(), [""; 0]);
}

#[tokio::test]
async fn what_goes_wrong_with_the_proxy_is_the_sender_s_own_fault() {
    let long = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'a'; 20_000]].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"canary\"\r\n\r\n", "407"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ncanary", "403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502"),
        (b"HTTP/1.0 503\r\n\r\n", "503"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n", "302"),
        (b"\x16\x03\x01garbage\r\n\r\n", "not proper HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "closed the connection"),
        (b"HTTP/1.1 2", "closed the connection"),
        (&long, "has no end"),
    ];
    for (answer, detail) in cases {
        let answer = answer.to_vec();
        let proxy = Proxy::start(None, move |_| answer.clone()).await;
        let transport = proxy.transport(&[PUBLIC]).build().unwrap();
        ours(&deliver(&transport, "http://hooks.example/").await.unwrap_err(), detail);
        assert!(proxy.seen.lock().unwrap().is_empty());
    }
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let transport = WebhookTransport::builder().resolver(Names::new(&[&[PUBLIC]])).proxy(&url).build().unwrap();
    ours(&deliver(&transport, "http://hooks.example/").await.unwrap_err(), "connecting to 127.0.0.1:");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_ends_at_the_deadline_as_the_sender_s_own_fault() {
    let proxy = Proxy::start(None, |_| Vec::new()).await;
    let transport = proxy.transport(&[PUBLIC]).build().unwrap();
    let start = std::time::Instant::now();
    let error = deliver_within(&transport, "http://hooks.example/", Duration::from_millis(200)).await.unwrap_err();
    ours(&error, "the deadline passed");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_receiver_that_says_nothing_behind_the_proxy_is_late_itself() {
    let proxy = Proxy::start(None, |_| SILENT.to_vec()).await;
    let transport = proxy.transport(&[PUBLIC]).build().unwrap();
    let error = deliver_within(&transport, "http://hooks.example/", Duration::from_millis(500)).await.unwrap_err();
    assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Timeout, true), "{error:?}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_the_proxy_cannot_reach_one() {
    let proxy = Proxy::start(None, |address| {
        if address.starts_with('[') { b"HTTP/1.1 502 No IPv6\r\n\r\n".to_vec() } else { ESTABLISHED.to_vec() }
    })
    .await;
    let transport = proxy.transport(&["2606:4700::1", PUBLIC]).build().unwrap();
    deliver(&transport, "http://hooks.example/").await.unwrap();
    assert_eq!(proxy.lines(), ["CONNECT [2606:4700::1]:80 HTTP/1.1", "CONNECT 93.184.216.34:80 HTTP/1.1"]);
}

/// Refuses, and remembers what it was to open.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<SocketAddr>>>);

#[async_trait]
impl Dialer for Recorder {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.0.lock().unwrap().push(address);
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[derive(Clone)]
struct ByName;

#[async_trait]
impl outpost_core::Resolver for ByName {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match host {
            "proxy.internal" => Ok(vec!["10.9.9.9".parse().unwrap()]),
            "hooks.example" => Ok(vec![PUBLIC.parse().unwrap()]),
            _ => Err(io::Error::other("canary")),
        }
    }
}

#[tokio::test]
async fn the_proxy_s_name_is_resolved_and_its_address_is_not_checked() {
    let recorder = Recorder::default();
    let build = |url: &str, egress: EgressPolicy| {
        let builder = WebhookTransport::builder().egress(egress).resolver(ByName).dialer(recorder.clone());
        builder.proxy(url).build().unwrap()
    };
    // Not even the ports and hosts of the policy are meant for it.
    let policy = EgressPolicy::builder().ports("80, 443").deny_host("*.internal").build().unwrap();
    let transport = build("http://proxy.internal:3128/", policy);
    let error = deliver(&transport, "http://hooks.example/").await.unwrap_err();
    assert_eq!(error.error.class, ErrorClass::System);
    assert_eq!(*recorder.0.lock().unwrap(), ["10.9.9.9:3128".parse().unwrap()]);
    let transport = build("HTTP://gone.internal", EgressPolicy::default());
    let error = deliver(&transport, "http://hooks.example/").await.unwrap_err();
    assert_eq!(error.error.class, ErrorClass::System);
    assert!(error.error.detail.contains("gone.internal:80: gone.internal does not resolve"), "{error:?}");
}

#[test]
fn a_proxy_s_url_is_checked_and_never_repeated() {
    for url in [
        "",
        "proxy.internal:3128",
        "https://user:canary@proxy.internal",
        "socks5://user:canary@proxy.internal",
        "http://user:canary@",
        "http://user:canary@proxy.internal/path",
        "http://user:canary@proxy.internal?x",
        "http://user:canary@proxy.internal#x",
        "http://user:canary@proxy.internal:99999",
        "http://us%3Aer:canary@proxy.internal",
        "http://user:can ary@proxy.internal",
    ] {
        let error = WebhookTransport::builder().proxy(url).build().unwrap_err();
        let fields: Vec<&Problem> = error.problems().iter().collect();
        assert_eq!((fields.len(), fields[0].field.as_str()), (1, "proxy"), "{url}");
        assert!(!format!("{error:?} {error}").contains("canary") && !error.to_string().contains("proxy.internal"));
    }
    let transport = WebhookTransport::builder().proxy("http://user:canary@proxy.internal:3128/").build().unwrap();
    assert!(!format!("{transport:?}").contains("canary"));
}

#[tokio::test]
async fn the_password_is_not_sent_to_receivers_nor_the_receiver_s_to_the_proxy() {
    let proxy = Proxy::start(None, |_| ESTABLISHED.to_vec()).await;
    let transport = proxy.transport(&[PUBLIC]).build().unwrap();
    let to = target(&transport, "http://me:receivers@hooks.example/");
    transport.deliver(&to, &Message { ..message("{}") }).await.unwrap();
    let head = proxy.asked.lock().unwrap()[0].clone();
    assert_eq!(head.matches("Basic").count(), 1);
    assert!(head.contains("Basic dXNlcjpjYW5hcnlA\r\n"));
    let seen = proxy.seen.lock().unwrap();
    assert_eq!(seen[0].1.header("authorization"), Some("Basic bWU6cmVjZWl2ZXJz"));
}

#[tokio::test]
async fn a_delivery_without_a_proxy() {
    let mut receiver = Receiver::answering(OK).await;
    deliver(&local().build().unwrap(), &receiver.url("/")).await.unwrap();
    assert_eq!(receiver.next().await.line(), "POST / HTTP/1.1");
}

#[tokio::test]
async fn proxies_of_the_environment_are_never_used() {
    let proxy = Proxy::start(None, |_| ESTABLISHED.to_vec()).await;
    let url = format!("http://{}", proxy.address);
    // The environment belongs to a process, so the test above runs again in one of its own.
    let child = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_delivery_without_a_proxy"]);
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(name, &url);
        }
        command.output().unwrap()
    });
    let output = child.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.lines(), [""; 0]);
}
