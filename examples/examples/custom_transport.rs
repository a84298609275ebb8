//! A transport of one's own: events are appended to a file, one line each.
//!
//! `cargo run -p outpost-examples --example custom_transport`

use std::io::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{
    DeliveryError, Descriptor, Entropy, ErrorClass, Field, FieldKind, MemoryStore, Message, NewDestination, NewEvent,
    Outpost, Party, Problem, Receipt, RequestRecord, Rotation, StringMap, Target, Transport, Verdict, VetError,
};

struct FileTransport(Descriptor);

impl FileTransport {
    fn new() -> Self {
        Self(Descriptor {
            kind: "file",
            label: "File",
            description: "Appends events to a file.",
            icon: "",
            instructions: "Give the path of a file that may be written to.",
            config_fields: vec![Field {
                key: "path",
                kind: FieldKind::Text { minlength: Some(1), maxlength: Some(4096), pattern: None },
                label: "Path",
                description: "Where the lines go.",
                required: true,
                sensitive: false,
            }],
            hidden_config_fields: Vec::new(),
            credential_fields: Vec::new(),
            signing: None,
        })
    }
}

#[async_trait]
impl Transport for FileTransport {
    fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    fn provision(&self, _credentials: &mut StringMap, _entropy: &dyn Entropy) {}

    fn rotate(&self, _: &StringMap, _: Rotation, _: &dyn Entropy) -> Result<StringMap, Vec<Problem>> {
        Err(vec![Problem::new("credentials", "a file has no secret to rotate")])
    }

    fn prepare(&self, config: &StringMap, _: &StringMap, _: &StringMap) -> Result<Target, Vec<Problem>> {
        let path = config.get("path").cloned().unwrap_or_default();
        Ok(Target::new(path.clone(), std::path::PathBuf::from(path)))
    }

    async fn vet(&self, _target: &Target, _party: &Party) -> Result<(), VetError> {
        Ok(())
    }

    async fn deliver(&self, target: &Target, message: &Message) -> Result<Receipt, DeliveryError> {
        let failed = |error: &dyn std::fmt::Display| {
            DeliveryError::unseen(ErrorClass::System, "the file could not be written", error.to_string())
        };
        let path = target.settings::<std::path::PathBuf>().ok_or_else(|| failed(&"not a target of ours"))?;
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|error| failed(&error))?;
        let line = [&message.data[..], b"\n"].concat();
        file.write_all(&line).map_err(|error| failed(&error))?;
        Ok(Receipt {
            verdict: Verdict::Accepted,
            code: "OK".to_owned(),
            retry_after: None,
            request: RequestRecord { url: target.display().to_owned(), ..RequestRecord::default() },
            response: None,
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("outpost-events.jsonl");
    let outpost = Outpost::builder(MemoryStore::new()).transport(FileTransport::new()).start().await?;
    outpost.tenants().put("acme", None).await?;
    let mut destination = NewDestination::webhook("").config("path", path.to_string_lossy());
    destination.kind = "file".to_owned();
    destination.config.remove("url");
    outpost.destinations().create("acme", destination).await?;
    outpost.publish("acme", NewEvent::new("order.created", r#"{"number":1}"#)).await?;
    outpost.shutdown(Duration::from_secs(5)).await;
    println!("{} holds:\n{}", path.display(), std::fs::read_to_string(&path)?);
    Ok(())
}
