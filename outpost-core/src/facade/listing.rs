//! Pages of every list: cursors in both directions, bound to the list, its filters and its tenant.

use sha2::{Digest, Sha256};

use super::{Outpost, of_store};
use crate::domain::actor::Capability;
use crate::ports::store::{Filter, List, Row, Scan, ScanPage};
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::Incarnation;
use crate::values::page::{Direction, MAX_PAGE, Page, PageRequest, Position, Toward, decode_cursor, encode_cursor};

/// The most rows examined for one page.
const EXAMINE: u32 = 10_000;

/// Whose rows a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's; for the operator only.
    All,
    /// The live tenant with this id.
    Tenant(String),
    /// One life of a tenant, deleted or not; for the operator only.
    Life(Incarnation),
}

impl From<&str> for Scope {
    fn from(tenant: &str) -> Self {
        Self::Tenant(tenant.to_owned())
    }
}

impl From<Incarnation> for Scope {
    fn from(life: Incarnation) -> Self {
        Self::Life(life)
    }
}

impl Scope {
    /// The incarnation that the scope is limited to.
    pub(super) async fn resolve(
        &self,
        outpost: &Outpost,
        operation: &'static str,
        capability: Capability,
    ) -> Result<Option<Incarnation>> {
        match self {
            Self::All => outpost.actor.operator_only(operation).map(|()| None),
            Self::Life(life) => outpost.actor.operator_only(operation).map(|()| Some(*life)),
            Self::Tenant(id) => Ok(Some(outpost.admit(operation, id, capability).await?.incarnation)),
        }
    }
}

/// Keeps the rows that `pick` wants.
pub(super) fn pick<T>(page: Page<Row>, pick: impl Fn(Row) -> Option<T>) -> Page<T> {
    Page { items: page.items.into_iter().filter_map(pick).collect(), next: page.next, prev: page.prev }
}

/// A page of nothing, such as of a destination that does not exist.
pub(super) fn nothing<T>() -> Page<T> {
    Page { items: Vec::new(), next: None, prev: None }
}

/// A bad time range is a mistake, not an empty list.
pub(super) fn check_range(operation: &'static str, filter: &Filter) -> Result<()> {
    if let (Some(from), Some(until)) = (filter.from, filter.until)
        && from >= until
    {
        return Err(Error::invalid(operation, vec![Problem::new("from", "must be before until")]));
    }
    Ok(())
}

/// One page of a list. Everybody's lists leave the operator's own tenant out, so such a page may be short.
pub(super) async fn page(
    outpost: &Outpost,
    operation: &'static str,
    list: List,
    filter: Filter,
    request: &PageRequest,
) -> Result<Page<Row>> {
    let everybodys = filter.tenant.is_none();
    let mut found = whole_page(outpost, operation, list, filter, request).await?;
    if everybodys && let Some(view) = outpost.shared().operator.view() {
        found.items.retain(|row| tenant_of(row) != Some(view.tenant.incarnation));
    }
    Ok(found)
}

fn tenant_of(row: &Row) -> Option<Incarnation> {
    match row {
        Row::Tenant(tenant) => Some(tenant.incarnation),
        Row::Destination(found) => Some(found.tenant),
        Row::Event(event) => Some(event.tenant),
        Row::Delivery(delivery) => Some(delivery.tenant),
        Row::Attempt(attempt) => Some(attempt.tenant),
        Row::Record(_) | Row::Lane(_) | Row::Usage(_) => None,
    }
}

async fn whole_page(
    outpost: &Outpost,
    operation: &'static str,
    list: List,
    filter: Filter,
    request: &PageRequest,
) -> Result<Page<Row>> {
    let refuse = |problem| Error::invalid(operation, vec![problem]);
    if !(1..=MAX_PAGE).contains(&request.limit) {
        return Err(refuse(Problem::new("limit", format!("must be between 1 and {MAX_PAGE}"))));
    }
    check_range(operation, &filter)?;
    let fingerprint = fingerprint(list, &filter, request.direction);
    let cursor = request.cursor.as_deref().map(|text| decode_cursor(fingerprint, text)).transpose().map_err(refuse)?;
    let walk = Walk { outpost, operation, list, filter };
    let (forward, backward) = (request.direction, request.direction.reversed());
    let encode = |toward, at: &Position| encode_cursor(fingerprint, toward, at);
    match cursor {
        None => {
            let found = walk.scan(forward, None, request.limit).await?;
            let next = found.resume.as_ref().map(|at| encode(Toward::Next, at));
            Ok(Page { items: found.rows, next, prev: None })
        }
        Some((Toward::Next, at)) => {
            let found = walk.scan(forward, Some(at.clone()), request.limit).await?;
            let first = found.rows.first().and_then(position).unwrap_or(at);
            let prev = walk.has_any(backward, &first).await?.then(|| encode(Toward::Prev, &first));
            let next = found.resume.as_ref().map(|at| encode(Toward::Next, at));
            Ok(Page { items: found.rows, next, prev })
        }
        Some((Toward::Prev, at)) => {
            let mut found = walk.scan(backward, Some(at.clone()), request.limit).await?;
            found.rows.reverse();
            let last = found.rows.last().and_then(position).unwrap_or(at);
            let next = walk.has_any(forward, &last).await?.then(|| encode(Toward::Next, &last));
            let prev = found.resume.as_ref().map(|at| encode(Toward::Prev, at));
            Ok(Page { items: found.rows, next, prev })
        }
    }
}

struct Walk<'a> {
    outpost: &'a Outpost,
    operation: &'static str,
    list: List,
    filter: Filter,
}

impl Walk<'_> {
    async fn scan(&self, direction: Direction, after: Option<Position>, limit: u32) -> Result<ScanPage> {
        let scan = Scan { list: self.list, filter: self.filter.clone(), direction, after, limit, examine: EXAMINE };
        self.outpost.shared().store.scan(scan).await.map_err(|error| of_store(self.operation, error))
    }

    /// Whether the list goes on that way; also true when that could not be found out within the bound.
    async fn has_any(&self, direction: Direction, after: &Position) -> Result<bool> {
        let found = self.scan(direction, Some(after.clone()), 1).await?;
        Ok(!found.rows.is_empty() || found.resume.is_some())
    }
}

/// Tells lists apart, so that a cursor of one is refused by another. The direction counts too: the words
/// `next` and `prev` mean something else the other way round.
fn fingerprint(list: List, filter: &Filter, direction: Direction) -> u64 {
    let hash = Sha256::digest(format!("{list:?} {filter:?} {direction:?}"));
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Where a row stands in its list.
fn position(row: &Row) -> Option<Position> {
    let at = |time, id: &str, scope: Incarnation| Some(Position { time, id: id.to_owned(), scope: scope.as_i64() });
    match row {
        Row::Tenant(tenant) => at(tenant.created_at, tenant.id.as_str(), tenant.incarnation),
        Row::Destination(found) => at(found.created_at, found.id.as_str(), found.incarnation),
        Row::Event(event) => at(event.time, event.id.as_str(), event.tenant),
        Row::Delivery(delivery) => at(delivery.created_at, delivery.key.event.as_str(), delivery.key.destination),
        Row::Attempt(attempt) => at(attempt.time, attempt.id.as_str(), attempt.tenant),
        Row::Record(_) | Row::Lane(_) | Row::Usage(_) => None,
    }
}

/// The error for something that is not there, or not the actor's.
pub(super) fn not_found(operation: &'static str, what: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("{what} not found"))
}
