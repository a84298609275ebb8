//! Forms that are drawn from what a transport says of itself: every kind of field, in both forms.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::StatusCode;
use outpost_core::{
    Capabilities, Capability, Credentials, DeliveryError, Descriptor, Destination, Entropy, Field, FieldKind, Message,
    Party, Problem, Receipt, Rotation, ScriptedReply, StringMap, Target, Transport, VetError, async_trait,
};

use self::support::Stage;

/// A queue with a field of every kind.
struct Queue(Descriptor);

impl Queue {
    fn new() -> Self {
        let field = |key, label, kind, required, sensitive| Field {
            key,
            kind,
            label,
            description: "About it.",
            required,
            sensitive,
        };
        let text = || FieldKind::Text { minlength: Some(3), maxlength: Some(20), pattern: None };
        let descriptor = Descriptor {
            signing: None,
            kind: "queue",
            label: "Queue",
            description: "A queue.",
            icon: "",
            instructions: "",
            config_fields: vec![
                field("address", "Address", text(), true, false),
                field("size", "Size", FieldKind::Number { min: Some(1), max: Some(9) }, false, false),
                field("durable", "Durable", FieldKind::Checkbox, false, false),
                field("mode", "Mode", FieldKind::Select { options: &[("a", "Fast"), ("b", "Safe")] }, true, false),
                field("labels", "Labels", FieldKind::KeyValueMap, false, false),
                field("hint", "Hidden hint", text(), false, true),
            ],
            hidden_config_fields: Vec::new(),
            credential_fields: vec![
                field("key", "Access key", text(), true, true),
                field("extra", "Extra key", text(), false, true),
            ],
        };
        Self(descriptor)
    }
}

#[async_trait]
impl Transport for Queue {
    fn descriptor(&self) -> &Descriptor {
        &self.0
    }
    fn provision(&self, _: &mut StringMap, _: &dyn Entropy) {}
    fn rotate(&self, _: &StringMap, _: Rotation, _: &dyn Entropy) -> Result<StringMap, Vec<Problem>> {
        Err(vec![Problem::new("type", "has no secret")])
    }
    fn prepare(&self, config: &StringMap, _: &StringMap, _: &StringMap) -> Result<Target, Vec<Problem>> {
        Ok(Target::new(config.get("address").map_or("", String::as_str), ()))
    }
    async fn vet(&self, _: &Target, _: &Party) -> Result<(), VetError> {
        Ok(())
    }
    async fn deliver(&self, _: &Target, _: &Message) -> Result<Receipt, DeliveryError> {
        ScriptedReply::ok().result
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_field_is_drawn_read_and_kept() {
    const NEW: &str = "/destinations/new/queue";
    let stage = Stage::with(|outpost| outpost.transport(Queue::new()), |webhooks| webhooks, |portal| portal).await;
    let mut browser = stage.browser("acme").await;
    let page = browser.get(NEW).await;
    let seen = browser.send(&page, NEW, &[("all_topics", "1"), ("config.size", "x"), ("config.address", "ab")]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in [
        "“Address” must be at least 3 characters.",
        "“Size” must be a whole number.",
        "Fill in “Mode”.",
        "Fill in “Access key”.",
    ] {
        seen.must_have(text);
    }
    let fields = [
        ("all_topics", "1"),
        ("config.address", "orders"),
        ("config.size", "5"),
        ("config.durable", "true"),
        ("config.mode", "b"),
        ("config.labels.name", "team"),
        ("config.labels.value", "blue"),
        ("config.hint", "canary-hint"),
        ("credentials.key", "canary-key"),
        ("credentials.extra", "canary-extra"),
    ];
    let seen = browser.send(&seen, NEW, &fields[1..2]).await;
    seen.must_not_have("canary");
    browser.send(&seen, NEW, &fields).await;
    let made = stage.outpost.destinations().list("acme").await.unwrap().pop().unwrap();
    let id = made.id.to_string();
    let config = |destination: &Destination| destination.config.clone();
    let map = |pairs: &[(&str, &str)]| -> StringMap {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let set = [
        ("address", "orders"),
        ("size", "5"),
        ("durable", "true"),
        ("mode", "b"),
        ("labels", "{\"team\":\"blue\"}"),
        ("hint", "canary-hint"),
    ];
    assert_eq!(config(&made), map(&set));
    let keys = Credentials::new(map(&[("key", "canary-key"), ("extra", "canary-extra")]));
    assert_eq!(made.credentials, keys);

    let path = format!("/destinations/{id}/settings");
    let endpoint = format!("{path}#endpoint");
    let page = browser.get(&path).await;
    page.must_have("value=\"b\" selected").must_have("value=\"blue\"").must_not_have("canary");
    page.must_have("Replace or remove: Access key");
    let get = async || stage.outpost.destinations().get("acme", &id).await.unwrap();
    // As it is, it stays.
    browser.send(&page, &endpoint, &[]).await.must_have("The endpoint is saved.");
    assert_eq!((config(&get().await), get().await.credentials), (map(&set), keys));
    // A required one cannot go, an optional one can, a third is replaced.
    let page = browser.get(&path).await;
    let seen = browser.send(&page, &endpoint, &[("replace", "credentials.key")]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.must_have("Fill in “Access key”.").must_have("value=\"credentials.key\" checked");
    let page = browser.get(&path).await;
    let mut form = page.form(&endpoint);
    form.retain(|(name, _)| !["config.durable", "config.size", "credentials.key"].contains(&name.as_str()));
    form.extend(
        [("config.size", ""), ("credentials.key", "fresh-key"), ("replace", "credentials.extra")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    assert_eq!(browser.ask("POST", &path, Some(&form)).await.status, StatusCode::SEE_OTHER);
    let after = get().await;
    assert_eq!(after.credentials, Credentials::new(map(&[("key", "fresh-key")])));
    let left = [set[0], ("durable", "false"), set[3], set[4], set[5]];
    assert_eq!(config(&after), map(&left));
    // Without the capability for secrets, credentials are neither shown nor asked for.
    let mut browser = stage.browser_with("acme", Capabilities::ALL.without(Capability::Secrets)).await;
    browser.get(&path).await.must_not_have("credentials.");
    let page = browser.get(&path).await;
    browser.send(&page, &endpoint, &[("config.size", "7")]).await.must_have("The endpoint is saved.");
    let last = get().await;
    assert_eq!(last.config["size"], "7");
    assert_eq!((&last.config["hint"], last.credentials), (&after.config["hint"], after.credentials));
    browser.get(NEW).await.must_have("This type of destination has credentials, and you may not enter any.");
}
