use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::ports::seal::PlainSealer;
use crate::values::id::Incarnation;
use crate::values::secret::Secret;

const FIRST: &str = "kB2v0yWc9Qm4sT7uXz1eRf6hLj3nPa8dGi5oVqYtE0w=";
const SECOND: &str = "Zr8pN1xK5cV9mD3gT7bQ2wJ6yH0fLs4aUeXoIiRkPzM=";
const FIELDS: [&str; 5] = ["config", "credentials", "delivery_metadata", "key_check", ""];

fn context(tenant: i64, destination: i64, field: &'static str) -> SealContext {
    SealContext { tenant: Incarnation::from_i64(tenant), destination: Incarnation::from_i64(destination), field }
}

fn key(text: &str) -> SealingKey {
    SealingKey::from_text(text).unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

fn any_context() -> impl Strategy<Value = SealContext> {
    (any::<i64>(), any::<i64>(), 0..FIELDS.len()).prop_map(|(t, d, field)| context(t, d, FIELDS[field]))
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again_where_it_belongs_and_nowhere_else(
        bytes in any::<[u8; 32]>(),
        plain in proptest::collection::vec(any::<u8>(), 0..300),
        place in any_context(),
        other in any_context(),
    ) {
        let ring = KeyRing::new(SealingKey::from_bytes(bytes));
        let sealed = ring.seal(&place, &plain).unwrap();
        prop_assert_eq!(sealed.as_bytes().len(), 1 + ID + NONCE + plain.len() + TAG);
        prop_assert!(ring.is_current(&sealed));
        prop_assert_eq!(&ring.open(&place, &sealed).unwrap(), &plain);
        // Each part of the context on its own, and all of them at once.
        let moved = [
            SealContext { tenant: other.tenant, ..place },
            SealContext { destination: other.destination, ..place },
            SealContext { field: other.field, ..place },
            SealContext { tenant: place.destination, destination: place.tenant, ..place },
            other,
        ];
        for moved in moved {
            prop_assert_eq!(ring.open(&moved, &sealed).is_ok(), moved == place);
        }
    }

    #[test]
    fn nothing_that_was_not_sealed_opens_or_panics(
        form in 1..=255u8,
        rest in proptest::collection::vec(any::<u8>(), 0..120),
        own_id in any::<bool>(),
    ) {
        let ring = KeyRing::new(key(FIRST)).allow_plain(false);
        let id = if own_id { ring.writing.id.to_vec() } else { Vec::new() };
        let sealed = Sealed::new([vec![form], id, rest].concat());
        prop_assert!(ring.open(&context(1, 2, "config"), &sealed).is_err());
        ring.is_current(&sealed);
    }
}

#[test]
fn every_flipped_bit_and_every_shorter_or_longer_value_is_refused() {
    let ring = KeyRing::new(key(FIRST)).allow_plain(false);
    let place = context(7, 8, "credentials");
    let whole = ring.seal(&place, b"{\"secret\":\"whsec_x\"}").unwrap();
    let whole = whole.as_bytes();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(ring.open(&place, &Sealed::new(flipped)).is_err(), "bit {bit}");
    }
    for length in 0..whole.len() {
        let cut = Sealed::new(whole[..length].to_vec());
        assert!(ring.open(&place, &cut).is_err(), "{length} bytes");
        // What cannot even hold a tag is not taken for sealed.
        assert!(length >= 1 + ID + NONCE + TAG || !ring.is_current(&cut), "{length} bytes");
    }
    assert!(ring.open(&place, &Sealed::new([whole, &[0]].concat())).is_err());
}

#[test]
fn the_form_cannot_change_unseen() {
    // Made by another implementation of XChaCha20-Poly1305 and HKDF from the description of the form.
    let nonce = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
    let raw = "019c63c53d8f61cfbc404142434445464748494a4b4c4d4e4f5051525354555657af1b7002bcc24334e780f3cedca64abd\
               ea94d9a1602d7cb817006305473730a77b15f7e03cb1ff9a0f";
    let ring = KeyRing::new(SealingKey::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap())));
    let place = context(1, 2, "config");
    let plain = br#"{"url":"https://x.test/"}"#;
    assert_eq!(hex(ring.seal_with(nonce, &place, plain).unwrap().as_bytes()), raw);
    assert_eq!(ring.open(&place, &Sealed::new(from_hex(raw))).unwrap(), plain);
    assert_eq!(ring.writing.id(), "9c63c53d8f61cfbc");

    let text = "01865c12da92c7a125404142434445464748494a4b4c4d4e4f5051525354555657e3abcd747c51595e6f66f18acfa56cad\
                110e7bb470952e";
    let ring = KeyRing::new(key(SECOND));
    let place = context(-1, 1 << 62, "key_check");
    assert_eq!(hex(ring.seal_with(nonce, &place, b"outpost").unwrap().as_bytes()), text);
    assert_eq!(ring.open(&place, &Sealed::new(from_hex(text))).unwrap(), b"outpost");
}

#[test]
fn no_nonce_comes_twice() {
    let ring = KeyRing::new(key(FIRST));
    let place = context(1, 2, "config");
    let seal = |_| ring.seal(&place, b"{}").unwrap().as_bytes()[1 + ID..1 + ID + NONCE].to_vec();
    let nonces: std::collections::HashSet<Vec<u8>> = (0..1000).map(seal).collect();
    assert_eq!(nonces.len(), 1000);
}

#[test]
fn keys_are_changed_by_reading_the_old_one_until_everything_is_sealed_anew() {
    let place = context(1, 2, "credentials");
    let old = KeyRing::new(key(FIRST)).seal(&place, b"{}").unwrap();

    let both = KeyRing::new(key(SECOND)).reading(key(FIRST));
    assert_eq!(both.open(&place, &old).unwrap(), b"{}");
    assert!(!both.is_current(&old));
    let new = both.seal(&place, &both.open(&place, &old).unwrap()).unwrap();
    assert!(both.is_current(&new));

    let only_new = KeyRing::new(key(SECOND));
    assert_eq!(only_new.open(&place, &new).unwrap(), b"{}");
    assert!(only_new.is_current(&new) && !only_new.is_current(&old));
    assert!(only_new.open(&place, &old).is_err());
}

#[test]
fn plain_values_open_until_that_is_turned_off_and_are_never_current() {
    let place = context(1, 2, "config");
    let plain = PlainSealer.seal(&place, b"{}").unwrap();
    let ring = KeyRing::new(key(FIRST));
    assert_eq!(ring.open(&place, &plain).unwrap(), b"{}");
    assert!(!ring.is_current(&plain));
    let strict = ring.allow_plain(false);
    assert_eq!(
        strict.open(&place, &plain).unwrap_err().to_string(),
        "config is stored in plain text, which this key ring does not allow"
    );
    assert_eq!(strict.allow_plain(true).open(&place, &plain).unwrap(), b"{}");
    // And back: without the key it is said, not guessed.
    let sealed = KeyRing::new(key(FIRST)).seal(&place, b"{}").unwrap();
    assert!(PlainSealer.open(&place, &sealed).unwrap_err().to_string().contains("no key is configured"));
    assert!(!PlainSealer.is_current(&sealed));
}

#[test]
fn a_wrong_ring_at_start_up_says_which_keys_it_lacks_and_has() {
    let check = context(0, 0, "key_check");
    let record = KeyRing::new(key(FIRST)).seal(&check, b"outpost").unwrap();
    assert_eq!(KeyRing::new(key(FIRST)).open(&check, &record).unwrap(), b"outpost");

    let (first, second) = (key(FIRST).id(), key(SECOND).id());
    let third = SealingKey::from_bytes([3; 32]);
    assert_eq!(
        KeyRing::new(key(SECOND)).open(&check, &record).unwrap_err().to_string(),
        format!("key_check was sealed with key {first}, but the key ring has {second} (writes)")
    );
    let other = third.id();
    assert_eq!(
        KeyRing::new(key(SECOND)).reading(third).open(&check, &record).unwrap_err().to_string(),
        format!("key_check was sealed with key {first}, but the key ring has {second} (writes), {other}")
    );
    let said = |bytes: &'static [u8]| KeyRing::new(key(FIRST)).open(&check, &Sealed::new(bytes)).unwrap_err().0;
    assert_eq!(said(b""), "key_check is empty, so it was never sealed");
    assert_eq!(said(b"\x02abc"), "key_check is sealed in form 2, which this version does not know");
    assert_eq!(said(b"\x01abc"), "key_check is damaged, or belongs to another tenant, destination or field");
}

#[test]
fn weak_texts_are_refused_by_name_and_never_repeated() {
    let many = "0123456789abcdef0123456789abcdef";
    for (text, hint) in [
        ("", "is empty"),
        (" \n", "is empty"),
        ("change-me", "at least 32 bytes, but has 9"),
        ("kB2v0yWc9Qm4sT7uXz1eRf6hLj3nPa8", "at least 32 bytes, but has 31"),
        ("kB2v0yWc9Qm4sT7uXz1eRf6hLj3nPa8 \n", "at least 32 bytes, but has 31"),
        ("please-Change_Me-before-going-to-production", "placeholder"),
        ("your-secret-key-goes-here-32-chars!!", "placeholder"),
        ("this is only an EXAMPLE of a key, see the docs", "placeholder"),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "placeholder"),
        ("00000000000000000000000000000001", "placeholder"),
        (many, "placeholder"),
    ] {
        let problem = SealingKey::from_text(text).unwrap_err();
        assert_eq!(problem.field, "sealing_key", "{text}");
        assert!(problem.message.contains(hint), "{text}: {problem}");
        assert!(text.trim().len() < 9 || !problem.message.contains(text.trim()), "{problem}");
    }
    // What generators give: base64, hex, UUIDs, words.
    for text in [
        FIRST,
        "9f86d081884c7d659a2feaa0c55ad015",
        "3f0e4b1c-9a57-4d7e-8a34-5b1f0c2d6e79",
        "correct horse battery staple zebra",
        &format!("{FIRST}\n"),
    ] {
        assert!(SealingKey::from_text(text).is_ok(), "{text}");
    }
    assert_eq!(key(FIRST).id(), key(&format!(" {FIRST}\n")).id());
}

#[test]
fn a_ring_is_read_from_one_text_of_which_the_first_key_writes() {
    let ring = KeyRing::parse(&format!("{SECOND}, {FIRST}\n")).unwrap();
    assert_eq!(ring.writing.id(), key(SECOND).id());
    let place = context(1, 2, "config");
    let old = KeyRing::new(key(FIRST)).seal(&place, b"{}").unwrap();
    assert_eq!(ring.open(&place, &old).unwrap(), b"{}");
    assert!(KeyRing::parse(FIRST).unwrap().reading.is_empty());
    for (text, field) in [
        (String::new(), "sealing_keys[0]"),
        (format!(",{FIRST}"), "sealing_keys[0]"),
        (format!("{FIRST},"), "sealing_keys[1]"),
        (format!("{FIRST},short"), "sealing_keys[1]"),
        (format!("{FIRST},{SECOND},change-me"), "sealing_keys[2]"),
    ] {
        let problem = KeyRing::parse(&text).unwrap_err();
        assert_eq!(problem.field, field, "{text}");
        assert!(!problem.to_string().contains(&FIRST[..6]) && !problem.to_string().contains("short"), "{problem}");
    }
}

#[test]
fn nothing_that_is_shown_holds_a_key_or_a_value() {
    let place = context(1, 2, "credentials");
    let canary = "canary-7Hq2mZx9Lw4Tn8Rb3Kd6Vf1Ys5Jp0Gc";
    let raw: [u8; 32] = canary.as_bytes()[..32].try_into().unwrap();
    let rings = || {
        [KeyRing::new(key(canary)).reading(SealingKey::from_bytes(raw)), KeyRing::parse(canary).unwrap()]
            .map(|ring| ring.allow_plain(false))
    };
    let mut shown = vec![
        format!("{:?} {:#?}", key(canary), SealingKey::from_bytes(raw)),
        format!("{:?}", Secret::new(canary)),
        SealingKey::from_text(&canary[..31]).unwrap_err().to_string(),
        format!("{:?}", SealingKey::from_text(&format!("{canary}-change-me"))),
        format!("{:?}", KeyRing::parse(&format!("{FIRST},{canary}-change-me"))),
    ];
    let id = SealingKey::from_bytes(raw).id();
    assert_eq!(format!("{:?}", SealingKey::from_bytes(raw)), format!("SealingKey({id})"));
    for ring in rings() {
        let sealed = ring.seal(&place, canary.as_bytes()).unwrap();
        shown.push(format!("{ring:?} {ring:#?} {sealed:?}"));
        let plain = PlainSealer.seal(&place, canary.as_bytes()).unwrap();
        let cut = Sealed::new(sealed.as_bytes()[..60].to_vec());
        let strange = Sealed::new([b"\x09", canary.as_bytes()].concat());
        let wrong = KeyRing::new(key(FIRST));
        for error in [
            ring.open(&place, &plain),
            ring.open(&place, &cut),
            ring.open(&place, &strange),
            ring.open(&context(1, 3, "credentials"), &sealed),
            wrong.open(&place, &sealed),
        ] {
            let error = error.unwrap_err();
            shown.push(format!("{error} {error:?}"));
        }
        let bytes = sealed.as_bytes();
        assert!(!bytes.windows(6).any(|window| canary.as_bytes().windows(6).any(|part| part == window)));
    }
    // Any six bytes of it, as they are, in hex, in base64, and as a list of numbers.
    let mut parts = Vec::new();
    for window in canary.as_bytes().windows(6) {
        parts.push(String::from_utf8(window.to_vec()).unwrap());
        parts.push(hex(window));
        parts.push(STANDARD.encode(window));
        parts.push(format!("{window:?}").trim_matches(['[', ']']).to_owned());
    }
    for text in shown {
        let found = parts.iter().find(|part| text.to_lowercase().contains(&part.to_lowercase()));
        assert_eq!(found, None, "{text}");
    }
}
