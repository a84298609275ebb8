//! How tokens are made.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use crate::values::error::Problem;

const MIN_SECRET: usize = 32;
const MAX_SECRETS: usize = 8;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How tokens are signed, how long they live and where the portal is:
/// [`OutpostBuilder::tokens`](crate::OutpostBuilder::tokens). `Debug` shows no secret, and secrets are wiped when
/// dropped.
///
/// ```
/// use std::time::Duration;
///
/// use outpost_core::TokenSettings;
///
/// let secret = [7; 32]; // such as from `openssl rand -hex 32`
/// let settings = TokenSettings::new("https://hooks.example.com/portal", secret).session_idle(Duration::from_secs(900));
/// // Outpost::builder(store).tokens(settings)
/// # drop(settings);
/// ```
#[derive(Clone)]
pub struct TokenSettings {
    pub(super) portal_url: String,
    /// The first one signs.
    pub(super) secrets: Vec<Zeroizing<Vec<u8>>>,
    pub(super) entry_lifetime: Duration,
    pub(super) entry_single_use: bool,
    pub(super) session_idle: Duration,
    pub(super) session_lifetime: Duration,
    pub(super) api_lifetime: Duration,
}

impl TokenSettings {
    /// Tokens signed with `secret`, 32 random bytes or more, and links to the portal at `portal_url`, which is an
    /// absolute `http` or `https` URL without user, query and fragment. All processes over one store need the same.
    #[must_use]
    pub fn new(portal_url: &str, secret: impl AsRef<[u8]>) -> Self {
        Self {
            portal_url: portal_url.to_owned(),
            secrets: vec![Zeroizing::new(secret.as_ref().to_vec())],
            entry_lifetime: Duration::from_secs(600),
            entry_single_use: true,
            session_idle: Duration::from_secs(1800),
            session_lifetime: DAY,
            api_lifetime: DAY,
        }
    }

    /// Accepts tokens signed with another secret as well, of 32 bytes or more; at most 8 secrets in all. To change the
    /// secret without signing anybody out, have every process accept the new one first, then sign with it and accept the
    /// old one, and drop the old one after the longest lifetime.
    #[must_use]
    pub fn also_accept(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secrets.push(Zeroizing::new(secret.as_ref().to_vec()));
        self
    }

    /// Sets for how long a portal link can be opened, 1 s to 1 hour. Default: 10 minutes.
    #[must_use]
    pub const fn entry_lifetime(mut self, lifetime: Duration) -> Self {
        self.entry_lifetime = lifetime;
        self
    }

    /// Sets whether a portal link can be opened only once. Default: it can.
    #[must_use]
    pub const fn entry_single_use(mut self, on: bool) -> Self {
        self.entry_single_use = on;
        self
    }

    /// Sets after how long without use a portal session ends, 1 s to 7 days. Default: 30 minutes.
    #[must_use]
    pub const fn session_idle(mut self, idle: Duration) -> Self {
        self.session_idle = idle;
        self
    }

    /// Sets after how long a portal session ends in any case, 1 s to 30 days. Default: 24 hours.
    #[must_use]
    pub const fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = lifetime;
        self
    }

    /// Sets how long an API token lives, 1 s to 366 days. It cannot be revoked but by deleting its tenant or dropping
    /// the secret. Default: 24 hours.
    #[must_use]
    pub const fn api_lifetime(mut self, lifetime: Duration) -> Self {
        self.api_lifetime = lifetime;
        self
    }

    /// What is out of bounds. Holds no part of a secret, nor of the URL, which may hold a password.
    pub(in crate::facade) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let fits = |url: Url| {
            let plain = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && plain && url.query().is_none() && url.fragment().is_none()
        };
        if !Url::parse(&self.portal_url).is_ok_and(fits) {
            let message = "must be an absolute http or https URL without user, query and fragment";
            problems.push(Problem::new("tokens.portal_url", message));
        }
        for (at, secret) in self.secrets.iter().enumerate().filter(|(_, secret)| secret.len() < MIN_SECRET) {
            let which = if at == 0 { String::new() } else { format!(" (the one accepted besides, number {at})") };
            let message = format!("must have at least {MIN_SECRET} bytes, but has {}{which}", secret.len());
            problems.push(Problem::new("tokens.secret", message));
        }
        if self.secrets.len() > MAX_SECRETS {
            problems.push(Problem::new("tokens.secret", format!("must be at most {MAX_SECRETS} secrets in all")));
        }
        let bounds: [(&str, Duration, RangeInclusive<Duration>, &str); 4] = [
            ("entry_lifetime", self.entry_lifetime, SECOND..=HOUR, "1 s and 1 hour"),
            ("session_idle", self.session_idle, SECOND..=7 * DAY, "1 s and 7 days"),
            ("session_lifetime", self.session_lifetime, SECOND..=30 * DAY, "1 s and 30 days"),
            ("api_lifetime", self.api_lifetime, SECOND..=366 * DAY, "1 s and 366 days"),
        ];
        for (field, value, range, words) in bounds {
            if !range.contains(&value) {
                problems.push(Problem::new(format!("tokens.{field}"), format!("must be between {words}")));
            }
        }
        problems
    }
}

impl fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSettings")
            .field("secrets", &self.secrets.len())
            .field("entry_lifetime", &self.entry_lifetime)
            .field("entry_single_use", &self.entry_single_use)
            .field("session_idle", &self.session_idle)
            .field("session_lifetime", &self.session_lifetime)
            .field("api_lifetime", &self.api_lifetime)
            .finish_non_exhaustive()
    }
}
