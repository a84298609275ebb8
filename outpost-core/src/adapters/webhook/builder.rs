//! The webhook transport's settings.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::connect::{Connector, Parts};
use super::exchange::{Exchanger, HttpClient};
use super::mask::PathMask;
use super::pools::Pools;
use super::proxy::Proxy;
use super::signing::{Names, Signing};
use super::stall::Bounded;
use super::{WebhookTransport, describe};
use crate::adapters::system::{SystemResolver, TcpDialer};
use crate::domain::egress::{EgressPolicy, Grant};
use crate::ports::net::{Dialer, Resolver};
use crate::values::error::{Error, Problem, Result};

/// How much of an answer's body is kept, in bytes, when the caller does not say.
const DEFAULT_CAPTURE: usize = 128 * 1024;
/// The most that may be kept.
const MAX_CAPTURE: usize = 16 * 1024 * 1024;
/// Below the 5 seconds after which common servers close idle connections.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const DEFAULT_MAX_IDLE: usize = 512;
/// The longest a connection may take to be made; a delivery's own deadline is usually shorter.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Bounds of what is read of an answer's headers.
const MAX_HTTP1_HEADERS: usize = 1024;
const MAX_HTTP2_HEADER_BYTES: u32 = 256 * 1024;

/// Builds a [`WebhookTransport`].
#[must_use]
pub struct WebhookTransportBuilder {
    egress: EgressPolicy,
    roots: RootCertStore,
    dialer: Arc<dyn Dialer>,
    resolver: Arc<dyn Resolver>,
    proxy: Option<Proxy>,
    signing: Signing,
    user_agent: String,
    capture: usize,
    envelope: bool,
    max_idle: usize,
    idle_timeout: Duration,
    custom_headers: bool,
    https_only: bool,
    masks: Vec<PathMask>,
    problems: Vec<Problem>,
}

impl Default for WebhookTransportBuilder {
    fn default() -> Self {
        Self {
            egress: EgressPolicy::default(),
            roots: RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            dialer: Arc::new(TcpDialer),
            resolver: Arc::new(SystemResolver::new()),
            proxy: None,
            signing: Signing::default(),
            user_agent: concat!("Outpost/", env!("CARGO_PKG_VERSION")).to_owned(),
            capture: DEFAULT_CAPTURE,
            envelope: false,
            max_idle: DEFAULT_MAX_IDLE,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            custom_headers: false,
            https_only: false,
            masks: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl WebhookTransportBuilder {
    /// Sets which addresses may be sent to. By default only public ones.
    pub fn egress(mut self, policy: EgressPolicy) -> Self {
        self.egress = policy;
        self
    }

    /// Trusts one more certificate authority, given in DER, besides the public ones.
    pub fn root_der(mut self, der: &[u8]) -> Self {
        if let Err(error) = self.roots.add(CertificateDer::from(der.to_vec())) {
            self.problems.push(Problem::new("root_der", format!("is not a certificate authority: {error}")));
        }
        self
    }

    /// Trusts every certificate authority in a PEM text, besides the public ones.
    pub fn root_pem(mut self, pem: &[u8]) -> Self {
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            found += 1;
            match certificate {
                Ok(certificate) => self = self.root_der(&certificate),
                Err(error) => self.problems.push(Problem::new("root_pem", format!("is not PEM: {error:?}"))),
            }
        }
        if found == 0 {
            self.problems.push(Problem::new("root_pem", "holds no certificate"));
        }
        self
    }

    /// Sets how sockets are opened. By default with TCP.
    pub fn dialer(mut self, dialer: impl Dialer) -> Self {
        self.dialer = Arc::new(dialer);
        self
    }

    /// Sets how names are resolved. By default the operating system does it.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Sends everything through this HTTP proxy: `http://proxy.internal:3128`, with a user name and a password
    /// before the host if it wants them. Proxies named by the process's environment are never used.
    ///
    /// Receivers' names are still resolved and their addresses checked here; the proxy is asked (by `CONNECT`,
    /// for `http` destinations too) for a tunnel to an address that was checked. Its own address is not checked.
    /// What goes wrong with the proxy is a fault on this side ([`System`](crate::ErrorClass::System)), and so is
    /// a receiver that it cannot reach, because its answer does not tell the two apart.
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.proxy = Some(proxy),
            Err(problem) => self.problems.push(problem),
        }
        self
    }

    /// Sets how requests are signed. By default by Standard Webhooks.
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// Sets the `User-Agent`. By default `Outpost/` and the version.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// Sets how many bytes of an answer's body are kept: 128 KiB by default, at most 16 MiB.
    pub fn response_capture(mut self, bytes: usize) -> Self {
        self.capture = bytes;
        self
    }

    /// Sends `{"type":…,"timestamp":…,"data":…}` around the event's data, with the event's topic and time.
    /// The data itself stays as it was published. Off by default.
    pub fn envelope(mut self, on: bool) -> Self {
        self.envelope = on;
        self
    }

    /// Sets about how many idle connections are kept, over all receivers: 512 by default. Destinations that
    /// have the same limited allowances of the egress policy may keep as many again.
    pub fn max_idle(mut self, connections: usize) -> Self {
        self.max_idle = connections;
        self
    }

    /// Sets how long an idle connection is kept: 4 seconds by default, which is below the 5 seconds after
    /// which common servers close theirs.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Offers the `custom_headers` field. Off by default: forms do not show it and only the operator may set
    /// it; headers that a destination already has are still sent.
    pub fn custom_headers(mut self, on: bool) -> Self {
        self.custom_headers = on;
        self
    }

    /// Refuses `http` URLs. Off by default; the egress policy can say the same.
    pub fn https_only(mut self, on: bool) -> Self {
        self.https_only = on;
        self
    }

    /// Masks what follows `prefix` in the path of URLs to `host`, wherever URLs are shown. `host` is a name,
    /// or a dot and a suffix. The URLs of well-known chat services are masked already.
    pub fn mask_path(mut self, host: impl Into<String>, prefix: impl Into<String>) -> Self {
        let mask = PathMask { host: host.into().to_ascii_lowercase(), prefix: prefix.into() };
        if mask.host.is_empty() || !mask.prefix.starts_with('/') {
            self.problems.push(Problem::new("mask_path", "needs a host and a prefix that starts with /"));
        }
        self.masks.push(mask);
        self
    }

    /// The transport.
    ///
    /// # Errors
    /// Every setting that cannot be used, as [`Invalid`](crate::ErrorKind::Invalid).
    pub fn build(mut self) -> Result<WebhookTransport> {
        const OPERATION: &str = "build webhook transport";
        let names = Names::new(&self.signing, &mut self.problems);
        let user_agent = match HeaderValue::from_str(&self.user_agent) {
            Ok(value) if !value.is_empty() => value,
            _ => {
                self.problems.push(Problem::new("user_agent", "must be visible ASCII"));
                HeaderValue::from_static("Outpost")
            }
        };
        if self.capture > MAX_CAPTURE {
            self.problems.push(Problem::new("response_capture", format!("must be at most {MAX_CAPTURE} bytes")));
        }
        if self.idle_timeout.is_zero() || self.idle_timeout > Duration::from_secs(3600) {
            self.problems.push(Problem::new("idle_timeout", "must be above zero and at most an hour"));
        }
        if !self.problems.is_empty() {
            return Err(Error::invalid(OPERATION, self.problems));
        }
        let https_only = self.https_only || self.egress.is_https_only();
        let tls = tls(self.roots).map_err(|error| {
            Error::new(crate::ErrorKind::Internal, OPERATION, "TLS cannot be set up").with_source(error)
        })?;
        let (masks, descriptor) = (self.masks, describe::descriptor(self.custom_headers, &names));
        let (egress, resolver, proxy) = (self.egress, self.resolver, self.proxy);
        let dialer: Arc<dyn Dialer> = Arc::new(Bounded(self.dialer));
        let (capture, envelope, max_idle, idle_timeout) =
            (self.capture, self.envelope, self.max_idle, self.idle_timeout);
        let pools = Pools::new(move |grant: Grant| {
            let parts = Parts {
                egress: egress.clone(),
                grant,
                resolver: Arc::clone(&resolver),
                dialer: Arc::clone(&dialer),
                proxy: proxy.clone(),
                tls: tls.clone(),
                limit: CONNECT_LIMIT,
                open: Arc::new(AtomicUsize::new(0)),
            };
            let connector = Connector::new(parts);
            Exchanger {
                names: names.clone(),
                pooled: client(&connector, max_idle, idle_timeout),
                fresh: client(&connector, 0, idle_timeout),
                connector,
                capture,
                envelope,
                max_idle,
                busy: AtomicUsize::new(0),
            }
        });
        Ok(WebhookTransport { descriptor, pools: Arc::new(pools), user_agent, https_only, masks })
    }
}

fn client(connector: &Connector, max_idle: usize, idle_timeout: Duration) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle_timeout)
        .pool_max_idle_per_host(max_idle)
        // Only requests of which nothing was written yet; what was written is decided in `exchange`.
        .retry_canceled_requests(true)
        .http1_max_headers(MAX_HTTP1_HEADERS)
        // The status line decides; a receiver's odd headers must not turn a success into a failure.
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_max_header_list_size(MAX_HTTP2_HEADER_BYTES)
        .build::<_, Full<Bytes>>(connector.clone())
}

fn tls(roots: RootCertStore) -> std::result::Result<TlsConnector, rustls::Error> {
    // The provider is named here: nothing process-wide is installed or relied on.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
