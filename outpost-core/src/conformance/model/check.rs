//! Compares all that can be read.

use super::Model;
use crate::conformance::compare;
use crate::domain::rollup::Level;
use crate::ports::store::{Filter, Key, List, Scan};
use crate::values::page::Direction;

impl Model {
    /// Walks one list on both sides in pages of the same size. Each list ignores filters that are not its.
    pub(super) async fn scan(&mut self) {
        let list = [List::Tenants, List::Destinations, List::Events, List::Deliveries, List::Attempts][self.below(5)];
        let mut filter = self.filter();
        if matches!(list, List::Tenants | List::Destinations) {
            (filter.events, filter.topics) = (Vec::new(), Vec::new());
        }
        if list == List::Tenants {
            filter.destinations.clear();
        }
        if list != List::Deliveries {
            filter.states.clear();
            filter.codes.clear();
        }
        if list != List::Attempts {
            filter.success = None;
        }
        let direction = if self.one_in(2) { Direction::Ascending } else { Direction::Descending };
        let limit = 1 + u32::try_from(self.below(12)).unwrap();
        let scan = Scan { list, filter, direction, after: None, limit, examine: 100_000 };
        if self.one_in(3) {
            // Where pages end under a small bound is open, so only all rows together are compared.
            let examine = 2 + u32::try_from(self.below(6)).unwrap();
            let mut answers = [Vec::new(), Vec::new()];
            for (side, rows) in self.sides.iter().zip(&mut answers) {
                let mut next = Scan { examine, ..scan.clone() };
                for _ in 0..1000 {
                    let page = side.scan(next.clone()).await;
                    rows.extend(compare::rows(vec![page.rows], self.now()).concat());
                    next.after = page.resume;
                    if next.after.is_none() {
                        break;
                    }
                }
            }
            assert_eq!(answers[0], answers[1], "{scan:?} in pages of {examine} rows examined");
            return;
        }
        let mut after = [None, None];
        for _ in 0..20 {
            let mut answers = Vec::new();
            for (side, after) in self.sides.iter().zip(&mut after) {
                let page = side.scan(Scan { after: after.clone(), ..scan.clone() }).await;
                after.clone_from(&page.resume);
                answers.push(compare::page(page, self.now()));
            }
            assert_eq!(answers[0], answers[1], "{scan:?}: the store under test (left) and the reference (right)");
            if !answers[0].1 {
                break;
            }
        }
    }

    pub(super) async fn compare_everything(&mut self) {
        let mut keys: Vec<Key> = Vec::new();
        for tenant in &self.tenants {
            keys.push(Key::TenantLife(tenant.incarnation));
            keys.push(Key::Tenant(tenant.id.clone()));
            keys.push(Key::DestinationsOf(tenant.incarnation));
            keys.push(Key::Usage(tenant.incarnation));
        }
        for destination in &self.destinations {
            keys.push(Key::DestinationLife(destination.incarnation));
            keys.push(Key::Destination(destination.tenant, destination.id.clone()));
            keys.push(Key::Lane(destination.incarnation));
        }
        for (tenant, event) in &self.events {
            keys.push(Key::Event(*tenant, event.id.clone()));
            keys.push(Key::DeliveriesOf(*tenant, event.id.clone()));
        }
        keys.extend(self.deliveries.iter().cloned().map(Key::AttemptsOf));
        keys.extend((0..3).map(|key| Key::Record("kind".to_owned(), format!("key_{key}"))));
        keys.extend(["", "key_", "key_1"].map(|prefix| Key::Records("kind".to_owned(), prefix.to_owned())));
        let mut answers = Vec::new();
        for side in &self.sides {
            answers.push(compare::rows(side.fetch_all(keys.clone()).await, self.now()));
        }
        let [one, other] = [answers.remove(0), answers.remove(0)];
        for ((key, one), other) in keys.iter().zip(one).zip(other) {
            assert_eq!(one, other, "{key:?}: the store under test (left) and the reference (right)");
        }
        self.compare_lists().await;
        self.compare_rollups().await;
    }
    /// Compares all rows of the lists that make up the log.
    async fn compare_lists(&self) {
        for list in [List::Events, List::Deliveries, List::Attempts] {
            let (filter, direction) = (Filter::default(), Direction::Ascending);
            let scan = Scan { list, filter, direction, after: None, limit: 10_000, examine: 100_000 };
            let mut answers = Vec::new();
            for side in &self.sides {
                answers.push(compare::page(side.scan(scan.clone()).await, self.now()));
            }
            assert_eq!(answers[0], answers[1], "{list:?}: the store under test (left) and the reference (right)");
        }
    }

    async fn compare_rollups(&self) {
        for level in Level::ALL {
            for events in [true, false] {
                let [one, other] =
                    [self.sides[0].tallies(level, events).await, self.sides[1].tallies(level, events).await];
                assert_eq!(one, other, "{level:?}: the store under test (left) and the reference (right)");
            }
        }
    }
}
