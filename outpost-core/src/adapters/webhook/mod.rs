//! Webhooks: signed POST requests over HTTP/1.1 and HTTP/2.

mod builder;
mod connect;
mod describe;
mod exchange;
mod failure;
mod headers;
mod mask;
mod pools;
mod proxy;
mod request;
mod secrets;
mod signing;
mod stall;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri, header};

pub use self::builder::WebhookTransportBuilder;
use self::connect::{NoAddress, WAITING, Waiting};
use self::failure::Failure;
use self::mask::PathMask;
use self::pools::Pools;
pub use self::signing::{HeaderChoice, ServiceHeaders, Signing};
use crate::domain::attempt::ErrorClass;
use crate::domain::descriptor::Descriptor;
use crate::domain::egress::Party;
use crate::domain::tenant::StringMap;
use crate::ports::clock::Entropy;
use crate::ports::transport::{DeliveryError, Message, Receipt, Rotation, Target, Transport, VetError};
use crate::values::error::Problem;

/// How long a name may take to resolve when a destination is written.
const VET_LIMIT: Duration = Duration::from_secs(5);

/// Sends events as signed POST requests.
///
/// All destinations share one client: a pool of connections per origin, HTTP/2 where the receiver offers it.
/// Redirects are never followed, proxies of the environment never used, and no address is connected to that
/// the [`EgressPolicy`](crate::EgressPolicy) has not passed. Destinations with the same limited allowances share
/// a pool of their own, so that no other destination is ever given a connection they made. One deadline covers the whole exchange from the
/// call to the last byte that is kept.
///
/// Cloning is cheap and shares the pool.
#[derive(Clone)]
pub struct WebhookTransport {
    descriptor: Descriptor,
    pools: Arc<Pools>,
    user_agent: HeaderValue,
    https_only: bool,
    masks: Vec<PathMask>,
}

/// A destination's settings, parsed.
struct Settings {
    uri: Uri,
    host: ::url::Host<String>,
    port: u16,
    /// What is the same in every request.
    headers: HeaderMap,
    keys: Vec<secrets::Live>,
}

impl WebhookTransport {
    /// Starts with the defaults: Standard Webhooks signatures, public addresses only.
    pub fn builder() -> WebhookTransportBuilder {
        WebhookTransportBuilder::default()
    }
}

impl std::fmt::Debug for WebhookTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookTransport").finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for WebhookTransport {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn provision(&self, credentials: &mut StringMap, entropy: &dyn Entropy) {
        secrets::provision(credentials, entropy);
    }

    fn rotate(
        &self,
        credentials: &StringMap,
        rotation: Rotation,
        entropy: &dyn Entropy,
    ) -> Result<StringMap, Vec<Problem>> {
        secrets::rotate(credentials, rotation, entropy)
    }

    fn prepare(
        &self,
        config: &StringMap,
        credentials: &StringMap,
        delivery_metadata: &StringMap,
    ) -> Result<Target, Vec<Problem>> {
        let names = &self.pools.everybody().names;
        let mut problems = Vec::new();
        let url = config.get("url").map_or("", String::as_str);
        let endpoint = url::parse(url, self.https_only, &self.masks).map_err(|problem| problems.push(problem)).ok();
        let custom = config.get("custom_headers").map_or("", String::as_str);
        let mut headers = headers::custom(custom, names, &mut problems);
        headers::add_delivery_metadata(&mut headers, delivery_metadata, names, &mut problems);
        let keys = secrets::parse(credentials, names, &mut problems);
        if let Some(basic) = endpoint.as_ref().and_then(|endpoint| endpoint.basic.clone())
            && headers.insert(header::AUTHORIZATION, basic).is_some()
        {
            problems.push(Problem::new(
                "config.custom_headers.authorization",
                "cannot be used together with a user name in the URL",
            ));
        }
        let Some(endpoint) = endpoint.filter(|_| problems.is_empty()) else { return Err(problems) };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        let url::Endpoint { uri, host, port, display, .. } = endpoint;
        Ok(Target::new(display, Settings { uri, host, port, headers, keys }))
    }

    async fn vet(&self, target: &Target, party: &Party) -> Result<(), VetError> {
        let Some(settings) = target.settings::<Settings>() else {
            return Err(VetError::open(vec![Problem::new("type", "belongs to another transport")]));
        };
        let exchanger = self.pools.of(self.pools.everybody().connector.grant(party));
        let addresses = exchanger.connector.addresses(&settings.host, settings.port);
        match tokio::time::timeout(VET_LIMIT, addresses).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(NoAddress::Refused(refused))) => {
                Err(VetError::refused("config.url", format!("cannot be used: {refused}")))
            }
            Ok(Err(NoAddress::Unresolved(detail))) => {
                Err(VetError::unresolved("config.url", format!("cannot be used: {detail}")))
            }
            Err(_) => {
                let host = &settings.host;
                let detail = format!("cannot be used: {host} does not resolve within {VET_LIMIT:?}");
                Err(VetError::unresolved("config.url", detail))
            }
        }
    }

    async fn deliver(&self, target: &Target, message: &Message) -> Result<Receipt, DeliveryError> {
        let Some(settings) = target.settings::<Settings>() else {
            let failure = Failure::new(ErrorClass::Request, "the target belongs to another transport");
            return Err(DeliveryError::unseen(failure.class, failure.message, failure.detail));
        };
        let exchanger = self.pools.of(self.pools.everybody().connector.grant(&message.party));
        let waiting = Arc::new(Waiting::default());
        let exchange = exchanger.deliver(settings, target.display(), message);
        let outcome = WAITING.scope(Arc::clone(&waiting), exchange).await;
        outcome.map_err(|error| {
            let late = error.error.class == ErrorClass::Timeout && !error.error.maybe_seen;
            match exchanger.connector.fault(&waiting).filter(|_| late) {
                Some(fault) => DeliveryError::unseen(fault.class, fault.message, fault.detail),
                None => error,
            }
        })
    }
}
