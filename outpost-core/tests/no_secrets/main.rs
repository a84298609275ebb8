//! No secret and no payload is seen in `Debug` output, in errors, in logs or by the store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod log;
mod over_h2;
mod shown;
mod told;
#[path = "../webhook_support/mod.rs"]
mod webhook_support;

use std::fmt::Debug;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Stands in every secret field.
const CANARY: &str = "canary";
/// Stands in every payload and in publishers' metadata.
const PARROT: &str = "parrot";
/// A signing secret of 30 bytes.
const SECRET: &str = "whsec_canarycanarycanarycanarycanarycanarycana";

/// The spellings in which a word could be seen, in lower case.
fn spellings(word: &str) -> Vec<String> {
    let mut found = vec![word.to_owned()];
    let mut add = |bytes: &[u8]| {
        found.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        found.push(format!("{bytes:?}").trim_matches(['[', ']']).to_owned());
        // From each of the three places in a group of base64, without the digits that the neighbours decide.
        for skipped in 0..3 {
            let shifted = [&b"\0\0"[..skipped], bytes].concat();
            let digits = STANDARD.encode(shifted);
            let digits = digits.trim_end_matches('=');
            found.push(digits[skipped + usize::from(skipped > 0)..digits.len() - 1].to_lowercase());
        }
    };
    add(word.as_bytes());
    // What a secret made of the word holds once it is decoded.
    add(&STANDARD.decode([word, word].concat()).unwrap());
    found
}

static FORBIDDEN: LazyLock<Vec<String>> = LazyLock::new(|| [spellings(CANARY), spellings(PARROT)].concat());

#[track_caller]
fn assert_clean(text: &str) {
    let lower = text.to_lowercase();
    let seen = FORBIDDEN.iter().find(|word| lower.contains(word.as_str()));
    assert_eq!(seen, None, "in {text}");
}

#[track_caller]
fn assert_hidden(value: &impl Debug) {
    assert_clean(&format!("{value:?}"));
    assert_clean(&format!("{value:#?}"));
}

/// An error as it may be logged: with its causes.
#[track_caller]
fn assert_silent(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        assert_clean(&format!("{error} {error:?}"));
        next = error.source();
    }
}

#[test]
fn the_spellings_are_found_where_they_stand() {
    for text in ["xCANARYx", "63616E6172793", "[99, 97, 110, 97, 114, 121]", "a parrot", SECRET] {
        let lower = text.to_lowercase();
        assert!(FORBIDDEN.iter().any(|word| lower.contains(word.as_str())), "{text}");
    }
    for before in ["", "x", "xy", "xyz"] {
        let text = STANDARD.encode(format!("{before}canary!")).to_lowercase();
        assert!(FORBIDDEN.iter().any(|word| text.contains(word.as_str())), "{text}");
    }
    let key = STANDARD.decode(&SECRET["whsec_".len()..]).unwrap();
    let shown = format!("{key:?}");
    assert!(FORBIDDEN.iter().any(|word| shown.contains(word.as_str())));
}
