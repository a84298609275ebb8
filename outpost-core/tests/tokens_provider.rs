//! What the application chose for `jsonwebtoken`, which holds for the whole process, is neither used nor changed.
//! A process of its own, because that can be chosen once.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::panic::catch_unwind;

use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use jsonwebtoken::{EncodingKey, Header, encode};
use outpost_core::{Capabilities, MemoryStore, Outpost, ScriptedReply, ScriptedTransport, TokenSettings};

/// As the crate itself behaves when an application's dependencies turn on two kinds of cryptography.
static AMBIGUOUS: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| panic!("two kinds of cryptography"),
    verifier_factory: |_, _| panic!("two kinds of cryptography"),
    key_utils: KeyUtils::new_unimplemented(),
};

#[tokio::test]
async fn tokens_work_where_the_crates_own_choice_would_panic() {
    AMBIGUOUS.install_default().unwrap();
    let outpost = Outpost::builder(MemoryStore::new())
        .transport(ScriptedTransport::always(ScriptedReply::ok()))
        .tokens(TokenSettings::new("https://x.test/portal", [7; 32]))
        .start()
        .await
        .unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let token = outpost.tokens().api("acme", Capabilities::ALL).await.unwrap();
    assert!(outpost.tokens().authenticate(&token).await.is_ok());
    let chosen = catch_unwind(|| encode(&Header::default(), &"claims", &EncodingKey::from_secret(&[7; 32])));
    assert!(chosen.is_err(), "the application's choice was replaced");
}
