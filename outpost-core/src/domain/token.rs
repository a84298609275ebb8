//! What a token says, and where a portal link may lead.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::actor::{Actor, Capabilities, Capability};
use super::tenant::Tenant;
use crate::values::error::Problem;
use crate::values::id::{Incarnation, TenantId};
use crate::values::time::Timestamp;

const ISSUER: &str = "outpost";
const MAX_RETURN_TO: usize = 2048;

/// How the portal looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// Dark text on a light ground.
    Light,
    /// Light text on a dark ground.
    Dark,
}

impl Theme {
    /// The theme's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Light, Self::Dark].into_iter().find(|theme| theme.as_str() == name)
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Checks a page that a portal link leads to: it starts with one `/`, has no `//`, no `\`, no control characters, no
/// segment that is `.` or `..`, encoded or not, and at most 2048 bytes. So it leads neither to another host nor out of
/// the portal.
///
/// # Errors
/// A [`Problem`] with the field `return_to`.
pub fn check_return_to(path: &str) -> Result<(), Problem> {
    let problem = |message: &str| Err(Problem::new("return_to", message));
    if path.len() > MAX_RETURN_TO {
        return Err(Problem::new("return_to", format!("must have at most {MAX_RETURN_TO} bytes")));
    }
    if !path.starts_with('/') {
        return problem("must start with a slash");
    }
    if path.contains("//") || path.contains('\\') || path.chars().any(char::is_control) {
        return problem("must have no double slash, backslash or control character");
    }
    let dots = |part: &str| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split(['?', '#']).next().is_some_and(|path| path.split('/').any(dots)) {
        return problem("must have no segment that is a dot or two");
    }
    Ok(())
}

/// Which door a token opens.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenKind {
    /// Makes a session.
    Entry,
    /// The portal.
    Session,
    /// The API.
    Api,
}

/// The claims of a token, in a form that JWT readers know: times in whole seconds. The end is rounded up, so that no
/// token lives shorter than it should. No `Debug`, so that none gets into a log.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    sub: TenantId,
    iat: i64,
    exp: i64,
    typ: TokenKind,
    /// The life of the tenant that it is for.
    inc: Incarnation,
    #[serde(serialize_with = "to_names", deserialize_with = "from_names")]
    cap: Capabilities,
    /// Names the token itself.
    jti: String,
    /// Names the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    /// When its user signed in, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aut: Option<i64>,
}

impl Claims {
    /// A token named `jti` for a tenant.
    pub(crate) fn new(
        kind: TokenKind,
        tenant: &Tenant,
        capabilities: Capabilities,
        jti: String,
        now: Timestamp,
        lifetime: Duration,
    ) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            sub: tenant.id.clone(),
            iat: now.as_seconds(),
            exp: ceil_seconds(now.after(lifetime)),
            typ: kind,
            inc: tenant.incarnation,
            cap: capabilities,
            jti,
            sid: None,
            aut: None,
        }
    }

    /// The first token of a new session named `sid`, made of an entry token that has been verified.
    pub(crate) fn into_session(self, sid: String, jti: String, now: Timestamp, idle: Duration, end: Timestamp) -> Self {
        Self { typ: TokenKind::Session, sid: Some(sid), aut: Some(now.as_millis()), ..self }
            .prolonged(jti, now, idle, end)
    }

    /// The same session's next token.
    pub(crate) fn prolonged(self, jti: String, now: Timestamp, idle: Duration, end: Timestamp) -> Self {
        Self { iat: now.as_seconds(), exp: ceil_seconds(now.after(idle).min(end)), jti, ..self }
    }

    /// Whether the token is one of ours, opens this door, and has not ended.
    pub(crate) fn admits(&self, kind: TokenKind, now: Timestamp) -> bool {
        self.iss == ISSUER && self.typ == kind && now < self.expires_at()
    }

    pub(crate) const fn tenant_id(&self) -> &TenantId {
        &self.sub
    }

    pub(crate) const fn incarnation(&self) -> Incarnation {
        self.inc
    }

    pub(crate) fn id(&self) -> &str {
        &self.jti
    }

    /// The session's name and when its user signed in.
    pub(crate) fn session(&self) -> Option<(&str, Timestamp)> {
        Some((self.sid.as_deref()?, Timestamp::from_millis(self.aut?)))
    }

    pub(crate) fn issued_at(&self) -> Timestamp {
        Timestamp::from_millis(self.iat.saturating_mul(1000))
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.exp.saturating_mul(1000))
    }

    /// Who makes the calls of whoever brings the token.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Tenant { tenant: self.sub.clone(), incarnation: self.inc, capabilities: self.cap }
    }
}

fn ceil_seconds(time: Timestamp) -> i64 {
    time.after(Duration::from_millis(999)).as_seconds()
}

fn to_names<S: Serializer>(capabilities: &Capabilities, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(capabilities.iter().map(Capability::as_str))
}

/// Names that this version does not know give nothing.
fn from_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Capabilities, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    Ok(names.iter().filter_map(|name| Capability::parse(name)).collect())
}
