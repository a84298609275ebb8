//! What the portal's tests share: an engine in virtual time whose webhooks are answered by a script, a portal over it,
//! and a browser that keeps cookies, follows redirects and sends the forms it finds.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use outpost_core::{
    Capabilities, DeliveryError, Descriptor, EgressPolicy, Entropy, FaultStore, Faults, MemoryStore, Message,
    NewDestination, NewEvent, Outpost, OutpostBuilder, Party, PortalLink, Problem, Receipt, RequestRecord, RetryPolicy,
    Rotation, ScriptedReply, SeededEntropy, StringMap, Target, Timestamp, TokenSettings, TokioClock, Transport,
    VetError, WebhookTransport, WebhookTransportBuilder, async_trait,
};
use outpost_portal::{Portal, PortalBuilder};
use tower_service::Service as _;

/// The secret of every test's tokens.
pub const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
/// Where browsers see the portal of most tests.
pub const URL: &str = "https://app.example/webhooks";

pub fn epoch() -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000)
}

type Script = Arc<Mutex<Box<dyn Fn(&Target, &Message) -> ScriptedReply + Send + Sync>>>;

/// Webhooks as they are, but for the network: answers come from a script that a test may change.
#[derive(Clone)]
pub struct Staged {
    real: Arc<WebhookTransport>,
    pub script: Script,
    pub sent: Arc<Mutex<Vec<Message>>>,
}

impl Staged {
    pub fn new(builder: WebhookTransportBuilder) -> Self {
        let real = Arc::new(builder.build().expect("a transport"));
        let script: Script = Arc::new(Mutex::new(Box::new(|_, _| ScriptedReply::ok())));
        Self { real, script, sent: Arc::default() }
    }

    pub fn answer(&self, script: impl Fn(&Target, &Message) -> ScriptedReply + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }
}

#[async_trait]
impl Transport for Staged {
    fn descriptor(&self) -> &Descriptor {
        self.real.descriptor()
    }
    fn provision(&self, credentials: &mut StringMap, entropy: &dyn Entropy) {
        self.real.provision(credentials, entropy);
    }
    fn rotate(
        &self,
        credentials: &StringMap,
        rotation: Rotation,
        entropy: &dyn Entropy,
    ) -> Result<StringMap, Vec<Problem>> {
        self.real.rotate(credentials, rotation, entropy)
    }
    fn prepare(
        &self,
        config: &StringMap,
        credentials: &StringMap,
        metadata: &StringMap,
    ) -> Result<Target, Vec<Problem>> {
        self.real.prepare(config, credentials, metadata)
    }
    async fn vet(&self, target: &Target, _: &Party) -> Result<(), VetError> {
        // No look-ups: a name that says so is refused.
        if target.display().contains("refused.example") {
            Err(VetError::refused("config.url", "a test said so"))
        } else {
            Ok(())
        }
    }
    async fn deliver(&self, target: &Target, message: &Message) -> Result<Receipt, DeliveryError> {
        self.sent.lock().unwrap().push(message.clone());
        let reply = (self.script.lock().unwrap())(target, message);
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay.min(message.timeout)).await;
        }
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("webhook-id".to_owned(), message.id.to_string()),
            ("webhook-timestamp".to_owned(), message.now.as_seconds().to_string()),
            ("webhook-signature".to_owned(), "v1,c2lnbmF0dXJl".to_owned()),
        ];
        let request = RequestRecord { method: "POST".to_owned(), url: target.display().to_owned(), headers };
        reply.result.map(|receipt| Receipt { request: request.clone(), ..receipt }).map_err(|mut error| {
            error.request.get_or_insert(request);
            error
        })
    }
}

/// An engine, the portal over it, and the tenants `acme` and `globex`.
pub struct Stage {
    pub outpost: Outpost,
    pub portal: Portal,
    pub transport: Staged,
    pub faults: Faults,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(|outpost| outpost, |webhooks| webhooks, |portal| portal).await
    }

    /// With settings of its own.
    pub async fn with(
        engine: impl FnOnce(OutpostBuilder) -> OutpostBuilder,
        webhooks: impl FnOnce(WebhookTransportBuilder) -> WebhookTransportBuilder,
        portal: impl FnOnce(PortalBuilder) -> PortalBuilder,
    ) -> Self {
        let store = FaultStore::new(MemoryStore::new());
        let faults = store.faults();
        let egress = EgressPolicy::builder().build().expect("a policy");
        let transport = Staged::new(webhooks(WebhookTransport::builder().egress(egress)));
        let builder = Outpost::builder(store)
            .transport(transport.clone())
            .clock(TokioClock::starting_at(epoch()))
            .entropy(SeededEntropy::new(1))
            .retry(RetryPolicy::default().jitter(0.0).expect("a fine jitter"))
            .topics(["order.created", "order.updated", "order.refunded", "user.created", "heartbeat"])
            .tokens(TokenSettings::new(URL, SECRET));
        let outpost = engine(builder).start().await.expect("starts");
        for tenant in ["acme", "globex"] {
            outpost.tenants().put(tenant, None).await.expect("tenant");
        }
        let builder =
            Portal::builder(outpost.clone()).referer_url("https://app.example/home").organization_name("Acme Cloud");
        let portal = portal(builder).build().expect("a portal");
        Self { outpost, portal, transport, faults }
    }

    /// A destination `id` of `tenant` at `https://{id}.example/hook` for all topics.
    pub async fn destination(&self, tenant: &str, id: &str) {
        let new = NewDestination::webhook(format!("https://{id}.example/hook"))
            .id(outpost_core::DestinationId::new(id).expect("an id"))
            .name(id.to_owned());
        self.outpost.destinations().create(tenant, new).await.expect("a destination");
    }

    /// Publishes an event with this id.
    pub async fn publish(&self, tenant: &str, id: &str, topic: &str, data: &str) {
        let event = NewEvent::new(topic.to_owned(), Bytes::copy_from_slice(data.as_bytes())).id(id);
        self.outpost.publish(tenant, event).await.expect("published");
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, seconds: u64) {
        tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    }

    /// A browser that is signed in.
    pub async fn browser(&self, tenant: &str) -> Browser {
        self.browser_with(tenant, Capabilities::ALL).await
    }

    pub async fn browser_with(&self, tenant: &str, capabilities: Capabilities) -> Browser {
        let link =
            self.outpost.portal_link(tenant, PortalLink::default().capabilities(capabilities)).await.expect("a link");
        let mut browser = Browser::new(&self.portal);
        let page = browser.get(&link).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        browser
    }
}

/// One answer, read to its end.
#[derive(Debug)]
pub struct Seen {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub bytes: Bytes,
    /// The path and query that was asked for last.
    pub at: String,
}

impl Seen {
    pub fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    #[track_caller]
    pub fn must_have(&self, text: &str) -> &Self {
        assert!(self.has(text), "{text:?} is not in the page at {}:\n{}", self.at, self.text);
        self
    }

    #[track_caller]
    pub fn must_not_have(&self, text: &str) -> &Self {
        assert!(!self.has(text), "{text:?} is in the page at {}:\n{}", self.at, self.text);
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The fields of the form that goes to `action` (a suffix of it), as a browser would send them untouched.
    #[track_caller]
    pub fn form(&self, action: &str) -> Vec<(String, String)> {
        let form = self
            .text
            .split("<form")
            .skip(1)
            .find(|form| attribute(form.split('>').next().unwrap(), "action").is_some_and(|to| to.ends_with(action)))
            .unwrap_or_else(|| panic!("no form to {action} at {}:\n{}", self.at, self.text));
        let form = form.split("</form>").next().unwrap();
        let mut fields = Vec::new();
        for tag in form.split('<').filter(|tag| tag.starts_with("input ")) {
            let tag = tag.split('>').next().unwrap();
            let (name, kind) = (attribute(tag, "name"), attribute(tag, "type").unwrap_or_default());
            let ticked = !matches!(kind.as_str(), "checkbox" | "radio")
                || tag.ends_with(" checked")
                || tag.contains(" checked ");
            if let Some(name) = name.filter(|_| ticked) {
                fields.push((name, attribute(tag, "value").unwrap_or_default()));
            }
        }
        for area in form.split("<textarea").skip(1) {
            let (tag, rest) = area.split_once('>').unwrap();
            let text = rest.split("</textarea>").next().unwrap();
            if let Some(name) = attribute(tag, "name") {
                fields.push((name, unescape(text.strip_prefix('\n').unwrap_or(text))));
            }
        }
        for select in form.split("<select").skip(1) {
            let (tag, rest) = select.split_once('>').unwrap();
            let options: Vec<&str> = rest.split("</select>").next().unwrap().split("<option").skip(1).collect();
            let chosen = options
                .iter()
                .find(|option| option.split('>').next().unwrap().contains(" selected"))
                .or(options.first());
            if let (Some(name), Some(option)) = (attribute(tag, "name"), chosen) {
                fields.push((name, attribute(option.split('>').next().unwrap(), "value").unwrap_or_default()));
            }
        }
        fields
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescape(rest.split('"').next()?))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// A browser without scripts.
#[derive(Clone)]
pub struct Browser {
    portal: Portal,
    pub cookies: BTreeMap<String, String>,
    /// Headers that it sends besides.
    pub headers: Vec<(&'static str, String)>,
}

impl Browser {
    pub fn new(portal: &Portal) -> Self {
        Self { portal: portal.clone(), cookies: BTreeMap::new(), headers: Vec::new() }
    }

    /// One request, redirects not followed. `url` may be absolute or a path below the mount such as `/activity`.
    pub async fn ask(&mut self, method: &str, url: &str, form: Option<&[(String, String)]>) -> Seen {
        let path = match url.strip_prefix("https://app.example") {
            Some(path) => path.to_owned(),
            None if url.starts_with(self.portal.mount()) => url.to_owned(),
            None => format!("{}{}", self.portal.mount(), url.trim_start_matches('/')),
        };
        let path = path.split('#').next().unwrap().to_owned();
        let mut request = Request::builder().method(method).uri(&path).header("host", "app.example");
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = form.map(|form| form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish());
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).unwrap();
        let response = self.portal.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        for cookie in parts.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, rest) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Seen { status: parts.status, headers: parts.headers, text, bytes, at: path }
    }

    /// A page, redirects within the portal followed.
    pub async fn get(&mut self, url: &str) -> Seen {
        let mut seen = self.ask("GET", url, None).await;
        for _ in 0..5 {
            let to = seen.header("location").to_owned();
            if !seen.status.is_redirection() || !to.starts_with(self.portal.mount()) {
                break;
            }
            seen = self.ask("GET", &to, None).await;
        }
        seen
    }

    /// Sends a form as it is, with `changes` in the place of what is there; redirects are followed.
    pub async fn send(&mut self, page: &Seen, action: &str, changes: &[(&str, &str)]) -> Seen {
        let mut form = page.form(action);
        form.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        form.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let seen = self.ask("POST", action, Some(&form)).await;
        let to = seen.header("location").to_owned();
        if seen.status.is_redirection() && to.starts_with(self.portal.mount()) { self.get(&to).await } else { seen }
    }
}

impl Browser {
    /// A request with these headers and no others but the cookies; what it sets is not kept.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Seen {
        let mut request = Request::builder().method(method).uri(path);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.portal.clone().call(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Seen { status: parts.status, headers: parts.headers, text, bytes, at: path.to_owned() }
    }
}
