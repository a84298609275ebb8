//! What a reader of the database file sees, with and without a key, and how keys change.

use std::path::Path;

use outpost_core::{
    DestinationId, DestinationPatch, EgressPolicy, ErrorKind, KeyRing, MapPatch, NewDestination, Outpost,
    OutpostBuilder, SealingKey, WebhookTransport,
};
use outpost_store_sqlite::SqliteStore;

/// In every field that may hold a secret; as a signing secret in base64.
const CANARY: &str = "canary7canary7canary7canary7cana";

fn key(seed: u8) -> SealingKey {
    SealingKey::from_bytes([seed; 32])
}

async fn builder(path: &Path) -> OutpostBuilder {
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().unwrap();
    let transport = WebhookTransport::builder().egress(egress).custom_headers(true).build().unwrap();
    Outpost::builder(SqliteStore::open(path).await.unwrap()).transport(transport)
}

async fn sealed(path: &Path, ring: KeyRing) -> Outpost {
    builder(path).await.sealer(ring).start().await.unwrap()
}

async fn fill(outpost: &Outpost) {
    outpost.tenants().put("acme", None).await.unwrap();
    // More than a page of a file holds.
    let long = CANARY.repeat(100);
    let headers = serde_json::json!({"X-Api-Key": CANARY, "X-Long": long, "X-Longer": long});
    let mut new = NewDestination::webhook(format!("http://user:{CANARY}@127.0.0.1:9/hook?token={CANARY}"))
        .id(DestinationId::new("main").unwrap())
        .config("custom_headers", headers.to_string())
        .credential("secret", format!("whsec_{CANARY}"));
    new.delivery_metadata.insert("note".to_owned(), CANARY.to_owned());
    outpost.destinations().create("acme", new).await.unwrap();
}

/// Whether the canary stands in the clear in the file, its log or its index.
fn is_readable(path: &Path) -> bool {
    let folder = path.parent().unwrap();
    std::fs::read_dir(folder).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_file_tells_all_and_with_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, safe) = (folder.path().join("plain"), folder.path().join("safe"));
    for place in [&plain, &safe] {
        std::fs::create_dir(place).unwrap();
    }
    let (plain, safe) = (plain.join("log.db"), safe.join("log.db"));
    let outpost = builder(&plain).await.start().await.unwrap();
    fill(&outpost).await;
    assert!(is_readable(&plain), "without a key there is nothing to hide it");

    let outpost = sealed(&safe, KeyRing::new(key(1))).await;
    fill(&outpost).await;
    assert!(!is_readable(&safe));
    outpost.destinations().rotate_secret("acme", "main", None).await.unwrap();
    let url = MapPatch::set("url", format!("http://127.0.0.1:9/other?token={CANARY}"));
    let patch = DestinationPatch { config: url, ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
    outpost.publish("acme", outpost_core::NewEvent::new("a.b", "{}").id("e1")).await.unwrap();
    for _ in 0..500 {
        if outpost.deliveries().get("acme", "main", "e1").await.unwrap().attempts > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!is_readable(&safe), "nor in what was sent");
    outpost.destinations().delete("acme", "main").await.unwrap();
    assert!(outpost.shutdown(std::time::Duration::from_secs(10)).await);
    assert!(!is_readable(&safe), "nor in pages that were freed");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_without_losing_anything_and_a_wrong_one_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let stop = async |outpost: Outpost| assert!(outpost.shutdown(std::time::Duration::from_secs(10)).await);
    // Encryption is turned on over a store that was plain.
    let outpost = builder(&path).await.start().await.unwrap();
    fill(&outpost).await;
    stop(outpost).await;
    let outpost = sealed(&path, KeyRing::new(key(1))).await;
    assert!(outpost.destinations().get("acme", "main").await.unwrap().config["url"].contains(CANARY));
    let done = outpost.destinations().reseal().await.unwrap();
    assert_eq!((done.seen, done.changed), (1, 1));
    assert_eq!(outpost.destinations().reseal().await.unwrap().changed, 0, "once is enough");
    stop(outpost).await;
    assert!(!is_readable(&path), "what was plain is gone from the file");

    // Another key alone does not fit, nor does none.
    for (ring, word) in [(Some(KeyRing::new(key(2))), "was sealed with key"), (None, "no key is configured")] {
        let mut builder = builder(&path).await;
        if let Some(ring) = ring {
            builder = builder.sealer(ring);
        }
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        assert!(error.to_string().contains(word) && !error.to_string().contains(CANARY), "{error}");
    }

    // The old key goes on reading until everything is sealed with the new one.
    let outpost = sealed(&path, KeyRing::new(key(2)).reading(key(1))).await;
    assert!(outpost.destinations().get("acme", "main").await.unwrap().config["url"].contains(CANARY));
    assert_eq!(outpost.destinations().reseal().await.unwrap().changed, 1);
    stop(outpost).await;
    let outpost = sealed(&path, KeyRing::new(key(2)).allow_plain(false)).await;
    let found = outpost.destinations().get("acme", "main").await.unwrap();
    assert_eq!(found.credentials.expose()["secret"], format!("whsec_{CANARY}"));
    stop(outpost).await;
}
