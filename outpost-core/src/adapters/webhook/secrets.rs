//! A destination's signing secrets: the current one, and replaced ones that stay valid for a while.

use serde::{Deserialize, Serialize};

use super::signing::Names;
use crate::domain::signing::{BodyKey, Scheme, SigningKey};
use crate::domain::tenant::StringMap;
use crate::ports::clock::Entropy;
use crate::ports::transport::Rotation;
use crate::values::error::Problem;
use crate::values::time::Timestamp;

pub(super) const SECRET: &str = "secret";
pub(super) const PREVIOUS: &str = "previous_secret";
pub(super) const PREVIOUS_UNTIL: &str = "previous_secret_invalid_at";
pub(super) const OLDER: &str = "older_secrets";

/// The most secrets a destination signs with at once.
pub(super) const MAX_LIVE: usize = 5;
/// The longest secret, in bytes.
const MAX_SECRET: usize = 512;

/// One entry of the `older_secrets` list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Older {
    secret: String,
    invalid_at: Timestamp,
}

/// A secret ready for signing, for as long as it is valid.
pub(super) struct Live {
    /// `None`: until it is replaced.
    until: Option<Timestamp>,
    pub(super) standard: Option<SigningKey>,
    pub(super) service: Option<BodyKey>,
}

impl Live {
    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Reads all secrets, newest first. Every problem is reported.
pub(super) fn parse(credentials: &StringMap, names: &Names, problems: &mut Vec<Problem>) -> Vec<Live> {
    let get = |key: &str| credentials.get(key).filter(|text| !text.is_empty());
    let mut live = Vec::new();
    match get(SECRET) {
        Some(secret) => live.extend(key("credentials.secret", secret, None, names, problems)),
        None => problems.push(Problem::new("credentials.secret", "is required")),
    }
    match (get(PREVIOUS), get(PREVIOUS_UNTIL)) {
        (None, None) => {}
        (Some(_), None) => {
            problems.push(Problem::new("credentials.previous_secret_invalid_at", "is required with previous_secret"));
        }
        (None, Some(_)) => {
            problems.push(Problem::new("credentials.previous_secret", "is required with previous_secret_invalid_at"));
        }
        (Some(secret), Some(until)) => match Timestamp::parse("credentials.previous_secret_invalid_at", until) {
            Ok(until) => live.extend(key("credentials.previous_secret", secret, Some(until), names, problems)),
            Err(problem) => problems.push(problem),
        },
    }
    match older(credentials) {
        Err(problem) => problems.push(problem),
        Ok(list) => {
            for entry in list {
                live.extend(key("credentials.older_secrets", &entry.secret, Some(entry.invalid_at), names, problems));
            }
        }
    }
    live
}

fn older(credentials: &StringMap) -> Result<Vec<Older>, Problem> {
    const FIELD: &str = "credentials.older_secrets";
    let Some(json) = credentials.get(OLDER).filter(|json| !json.trim().is_empty()) else { return Ok(Vec::new()) };
    let list: Vec<Older> = serde_json::from_str(json)
        .map_err(|_| Problem::new(FIELD, r#"must be a JSON list of {"secret": …, "invalid_at": …}"#))?;
    if list.len() > MAX_LIVE - 2 {
        return Err(Problem::new(FIELD, format!("must have at most {} entries", MAX_LIVE - 2)));
    }
    Ok(list)
}

fn key(
    field: &str,
    secret: &str,
    until: Option<Timestamp>,
    names: &Names,
    problems: &mut Vec<Problem>,
) -> Option<Live> {
    if secret.len() > MAX_SECRET || secret.chars().any(char::is_control) {
        problems
            .push(Problem::new(field, format!("must be at most {MAX_SECRET} bytes and hold no control characters")));
        return None;
    }
    let standard = names.standard.as_ref().map(|_| SigningKey::parse(secret)).transpose();
    let service = names.service.as_ref().map(|_| BodyKey::new(secret)).transpose();
    match (standard, service) {
        (Ok(standard), Ok(service)) => Some(Live { until, standard, service }),
        (Err(error), _) | (_, Err(error)) => {
            problems.push(Problem::new(field, error.to_string()));
            None
        }
    }
}

/// Gives a new destination a secret if the caller gave none.
pub(super) fn provision(credentials: &mut StringMap, entropy: &dyn Entropy) {
    let missing = credentials.get(SECRET).is_none_or(String::is_empty);
    if missing {
        let secret = Scheme::Hmac.generate_secret(|bytes| entropy.fill(bytes));
        credentials.insert(SECRET.to_owned(), secret.expose().to_owned());
    }
}

/// Puts a new secret of the same scheme first. The old one becomes the previous one, the previous one moves
/// to the list of older ones; whatever has expired, or goes beyond the limit, is dropped.
pub(super) fn rotate(
    credentials: &StringMap,
    rotation: Rotation,
    entropy: &dyn Entropy,
) -> Result<StringMap, Vec<Problem>> {
    let get = |key: &str| credentials.get(key).filter(|text| !text.is_empty());
    let Some(current) = get(SECRET) else {
        return Err(vec![Problem::new("credentials.secret", "is required before it can be rotated")]);
    };
    // None outlives the one that is replaced now: no overlap means that every secret before is void.
    let end = rotation.now.after(rotation.overlap);
    let mut replaced = vec![Older { secret: current.clone(), invalid_at: end }];
    if let Some((secret, until)) = get(PREVIOUS).zip(get(PREVIOUS_UNTIL)) {
        let invalid_at =
            Timestamp::parse("credentials.previous_secret_invalid_at", until).map_err(|problem| vec![problem])?;
        replaced.push(Older { secret: secret.clone(), invalid_at });
    }
    replaced.extend(older(credentials).map_err(|problem| vec![problem])?);
    replaced.iter_mut().for_each(|entry| entry.invalid_at = entry.invalid_at.min(end));
    replaced.retain(|entry| entry.invalid_at > rotation.now);
    replaced.truncate(MAX_LIVE - 1);

    let fresh = Scheme::of_secret(current).generate_secret(|bytes| entropy.fill(bytes));
    let mut rotated = credentials.clone();
    for key in [PREVIOUS, PREVIOUS_UNTIL, OLDER] {
        rotated.remove(key);
    }
    rotated.insert(SECRET.to_owned(), fresh.expose().to_owned());
    let mut replaced = replaced.into_iter();
    if let Some(previous) = replaced.next() {
        rotated.insert(PREVIOUS.to_owned(), previous.secret);
        rotated.insert(PREVIOUS_UNTIL.to_owned(), previous.invalid_at.to_string());
    }
    let rest: Vec<Older> = replaced.collect();
    if !rest.is_empty() {
        let json = serde_json::to_string(&rest)
            .map_err(|_| vec![Problem::new("credentials.older_secrets", "cannot be written")])?;
        rotated.insert(OLDER.to_owned(), json);
    }
    Ok(rotated)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::adapters::system::SeededEntropy;
    use crate::adapters::webhook::signing::Signing;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn live(credentials: &StringMap, now: Timestamp) -> usize {
        let mut problems = Vec::new();
        let names = Names::new(&Signing::standard(), &mut problems);
        let keys = parse(credentials, &names, &mut problems);
        assert_eq!(problems, []);
        keys.iter().filter(|key| key.is_valid(now)).count()
    }

    #[test]
    fn rotating_keeps_live_secrets_and_drops_expired_ones() {
        let entropy = SeededEntropy::new(1);
        let mut credentials = StringMap::new();
        provision(&mut credentials, &entropy);
        let first = credentials[SECRET].clone();
        provision(&mut credentials, &entropy);
        assert_eq!(credentials[SECRET], first);

        let overlap = Duration::from_secs(100);
        for round in 0..8 {
            let before = credentials[SECRET].clone();
            credentials = rotate(&credentials, Rotation { now: at(round), overlap }, &entropy).unwrap();
            assert_ne!(credentials[SECRET], before);
            assert_eq!(credentials[PREVIOUS], before);
        }
        assert_eq!(live(&credentials, at(8)), MAX_LIVE);
        assert_eq!(live(&credentials, at(105)), 3);
        assert_eq!(live(&credentials, at(107)), 1);
        credentials = rotate(&credentials, Rotation { now: at(500), overlap }, &entropy).unwrap();
        assert!(!credentials.contains_key(OLDER));
        assert_eq!(live(&credentials, at(500)), 2);
        credentials = rotate(&credentials, Rotation { now: at(550), overlap }, &entropy).unwrap();
        assert_eq!(live(&credentials, at(551)), 3);
        credentials = rotate(&credentials, Rotation { now: at(552), overlap: Duration::ZERO }, &entropy).unwrap();
        assert_eq!(credentials.keys().collect::<Vec<_>>(), [SECRET]);
    }

    #[test]
    fn rotation_stays_with_the_scheme() {
        let entropy = SeededEntropy::new(2);
        let secret = Scheme::Ed25519.generate_secret(|bytes| entropy.fill(bytes));
        let credentials = StringMap::from([(SECRET.to_owned(), secret.expose().to_owned())]);
        let rotated = rotate(&credentials, Rotation { now: at(0), overlap: Duration::from_secs(1) }, &entropy).unwrap();
        assert!(rotated[SECRET].starts_with("whsk_"));
        assert!(rotate(&StringMap::new(), Rotation { now: at(0), overlap: Duration::ZERO }, &entropy).is_err());
    }
}
