//! Random outcomes.

use std::collections::BTreeSet;

use super::Model;
use crate::conformance::compare;
use crate::conformance::flow::Tell;
use crate::conformance::support::item;
use crate::domain::delivery::{CancelReason, DeliveryState};
use crate::engine::record::{LaneChange, LeaseToken};
use crate::ports::store::{SettleAction, SettleItem};

impl Model {
    /// Settles items, each with what tells of its judgement.
    pub(super) async fn settle_items(&mut self, items: Vec<(SettleItem, Option<Tell>)>) {
        let mut answers: Vec<Vec<String>> = Vec::new();
        for side in &self.sides {
            // Follow-ups were matched against what this side shows.
            let mut own = Vec::new();
            for (mut item, tell) in items.clone() {
                for follow_up in &mut item.follow_ups {
                    follow_up.subscriptions += side.find_tenant(follow_up.event.tenant).await.subscriptions;
                }
                if let Some(Tell { prefix, item: mut template }) = tell {
                    template.subscriptions += side.find_tenant(template.event.tenant).await.subscriptions;
                    item.alerts = Tell::of(&prefix, template);
                }
                own.push(item);
            }
            let outcomes = side.settle_all(own.clone()).await;
            answers.push(own.iter().zip(outcomes).map(|(item, outcome)| compare::settled(item, outcome)).collect());
        }
        assert_eq!(answers[0], answers[1], "settle: the store under test (left) and the reference (right)");
    }

    pub(super) async fn settle(&mut self) {
        let mut items = Vec::new();
        let mut released = false;
        let mut batch = BTreeSet::new();
        for _ in 0..=self.below(3) {
            if self.held.is_empty() {
                break;
            }
            let place = self.below(self.held.len());
            let held = self.held.swap_remove(place);
            if !batch.insert(held.key.clone()) {
                continue;
            }
            let next = if self.one_in(4) { None } else { Some(self.later()) };
            let mut item = match self.below(12) {
                0..=3 => self.sides[0].attempted(&held, true, None),
                4..=8 => self.sides[0].attempted(&held, false, next),
                9 if !released => {
                    released = true;
                    item(&held, SettleAction::Released)
                }
                10 => item(&held, SettleAction::Retired { state: DeliveryState::Cancelled(CancelReason::User) }),
                _ => {
                    let until = self.later();
                    self.held.push(held.clone());
                    item(&held, SettleAction::Extended { until })
                }
            };
            if self.one_in(8) {
                item.token = LeaseToken(item.token.0 ^ 1);
            }
            if let SettleAction::Attempted { attempt, .. } = &mut item.action {
                self.vary(std::sync::Arc::make_mut(attempt));
            }
            item.lane = match self.below(6) {
                0 => Some(LaneChange::Hold { until: self.later(), strikes: u32::try_from(self.below(3)).unwrap() }),
                1 => Some(LaneChange::Clear),
                _ => None,
            };
            item.disable = if self.one_in(12) { Some(self.sides[0].disabled()) } else { None };
            if items.is_empty() && self.one_in(5) {
                item.follow_ups.push(self.follow_up());
            }
            item.judge = if self.one_in(5) { None } else { Some(self.judge()) };
            let tell = if self.one_in(2) { Some(self.tell()) } else { None };
            items.push((item, tell));
        }
        self.settle_items(items).await;
    }
}
