//! What only the portal can have written: form tokens, notes for the next page, and the cookies they travel in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use outpost_core::{Entropy as _, SystemEntropy, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::site::Site;

/// How long a form may stay open.
const FORM_LIFETIME: i64 = 12 * 60 * 60 * 1000;
/// How long a note waits for the page that shows it.
const NOTE_LIFETIME: i64 = 2 * 60 * 1000;
const NONCE: usize = 16;
const MAC: usize = 32;

/// The keys that forms and notes are signed with, the same in every process and after every restart.
pub(crate) struct Keys {
    form: [u8; 32],
    note: [u8; 32],
}

/// Why a form is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormRefusal {
    /// It was open for too long, or belongs to another session.
    Outdated,
}

impl Keys {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        let derive = |label: &[u8]| {
            let mut key = [0; 32];
            // 32 bytes are far below what the function can give, so it cannot fail.
            let _ = Hkdf::<Sha256>::new(Some(b"outpost portal"), &secret).expand(label, &mut key);
            key
        };
        Self { form: derive(b"form"), note: derive(b"note") }
    }

    /// A token for one form of one session. Each is different, so that compressing a page tells nothing of it.
    pub(crate) fn form_token(&self, binding: &str, now: Timestamp) -> String {
        let mut body = [0; NONCE + 8];
        if let Some((nonce, time)) = body.split_at_mut_checked(NONCE) {
            SystemEntropy::default().fill(nonce);
            time.copy_from_slice(&now.as_millis().to_be_bytes());
        }
        seal(&self.form, binding, &body)
    }

    /// The part of a form's token that is the form's own, when the token is good.
    pub(crate) fn check_form(&self, binding: &str, token: &str, now: Timestamp) -> Result<String, FormRefusal> {
        let body = open(&self.form, binding, token).ok_or(FormRefusal::Outdated)?;
        let (nonce, time) = body.split_at_checked(NONCE).ok_or(FormRefusal::Outdated)?;
        let time = time.try_into().map(i64::from_be_bytes).map_err(|_| FormRefusal::Outdated)?;
        let age = now.as_millis().saturating_sub(time);
        // A clock that was set back makes forms of the future.
        if (-NOTE_LIFETIME..=FORM_LIFETIME).contains(&age) {
            Ok(URL_SAFE_NO_PAD.encode(nonce))
        } else {
            Err(FormRefusal::Outdated)
        }
    }

    /// A note that the next page shows.
    pub(crate) fn note(&self, binding: &str, text: &str, now: Timestamp) -> String {
        let mut body = now.as_millis().to_be_bytes().to_vec();
        body.extend_from_slice(text.as_bytes());
        seal(&self.note, binding, &body)
    }

    pub(crate) fn read_note(&self, binding: &str, cookie: &str, now: Timestamp) -> Option<String> {
        let body = open(&self.note, binding, cookie)?;
        let (time, text) = body.split_at_checked(8)?;
        let age = now.as_millis().saturating_sub(i64::from_be_bytes(time.try_into().ok()?));
        if !(-NOTE_LIFETIME..=NOTE_LIFETIME).contains(&age) {
            return None;
        }
        String::from_utf8(text.to_vec()).ok()
    }
}

fn mac(key: &[u8; 32], binding: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    // The length keeps a binding and a body from running into each other.
    mac.update(&(binding.len() as u64).to_be_bytes());
    mac.update(binding.as_bytes());
    mac.update(body);
    Some(mac)
}

fn seal(key: &[u8; 32], binding: &str, body: &[u8]) -> String {
    let mut sealed = body.to_vec();
    if let Some(mac) = mac(key, binding, body) {
        sealed.extend_from_slice(&mac.finalize().into_bytes());
    }
    URL_SAFE_NO_PAD.encode(sealed)
}

fn open(key: &[u8; 32], binding: &str, text: &str) -> Option<Vec<u8>> {
    if text.len() > 4096 {
        return None;
    }
    let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let tag = sealed.split_off(sealed.len().checked_sub(MAC)?);
    mac(key, binding, &sealed)?.verify_slice(&tag).ok()?;
    Some(sealed)
}

impl Site {
    /// The name of one of the portal's cookies. Portals mounted one below the other see each other's cookies, so the
    /// name tells them apart.
    pub(crate) fn cookie_name(&self, what: &str) -> String {
        let hash = Sha256::digest(self.mount.as_str().as_bytes());
        let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let prefix = if self.secure { "__Secure-" } else { "" };
        let dash = if what.is_empty() { "" } else { "-" };
        format!("{prefix}outpost-{hash}{dash}{what}")
    }

    /// The value of a `Set-Cookie` header. `seconds`: how long it is kept; `None`: until the browser ends.
    pub(crate) fn cookie(&self, what: &str, value: &str, seconds: Option<i64>) -> String {
        let mut cookie = cookie::Cookie::build((self.cookie_name(what), value.to_owned()))
            // Without the slash at its end, which links to the mount itself may lack.
            .path(self.mount.bare().to_owned())
            .http_only(true)
            .secure(self.secure);
        // Strict would keep a cookie from the page that follows a link on another site.
        cookie = if self.embedded() {
            cookie.same_site(cookie::SameSite::None).partitioned(true)
        } else {
            cookie.same_site(cookie::SameSite::Lax)
        };
        let mut cookie = cookie.build();
        if let Some(seconds) = seconds {
            cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        }
        cookie.encoded().to_string()
    }

    /// The value of a `Set-Cookie` header that takes a cookie away.
    pub(crate) fn no_cookie(&self, what: &str) -> String {
        self.cookie(what, "", Some(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn a_form_belongs_to_its_session_and_its_time() {
        let keys = Keys::new([7; 32]);
        let token = keys.form_token("session", at(0));
        assert_ne!(token, keys.form_token("session", at(0)), "each form has its own");
        assert!(keys.check_form("session", &token, at(0)).is_ok());
        assert!(keys.check_form("session", &token, at(12 * 3600)).is_ok());
        assert!(keys.check_form("session", &token, at(12 * 3600 + 1)).is_err());
        assert!(keys.check_form("other", &token, at(0)).is_err());
        assert!(Keys::new([8; 32]).check_form("session", &token, at(0)).is_err());
        assert!(Keys::new([7; 32]).check_form("session", &token, at(0)).is_ok(), "after a restart");
        for broken in ["", "AAAA", "!", &token[1..], &format!("{token}A")] {
            assert!(keys.check_form("session", broken, at(0)).is_err(), "{broken}");
        }
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last character holds bits that decoding may refuse or ignore, never another token.
            let fine = keys.check_form("session", &changed, at(0)).is_ok();
            assert!(!fine, "{index}");
        }
    }

    #[test]
    fn a_note_is_shown_to_its_session_only_and_not_for_long() {
        let keys = Keys::new([7; 32]);
        let note = keys.note("session", "Saved “Billing”.", at(0));
        assert_eq!(keys.read_note("session", &note, at(60)).as_deref(), Some("Saved “Billing”."));
        assert_eq!(keys.read_note("session", &note, at(121)), None);
        assert_eq!(keys.read_note("other", &note, at(0)), None);
        // A form's token is no note, nor the other way round.
        assert_eq!(keys.read_note("session", &keys.form_token("session", at(0)), at(0)), None);
        assert!(keys.check_form("session", &note, at(0)).is_err());
    }
}
