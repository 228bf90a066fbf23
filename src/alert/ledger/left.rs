//! The alerts that are undelivered now, of those settled since the start: given up, or left by a handler that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AlertId, Settlement};

/// Maximum alerts that are known of one kind; beyond it the oldest are forgotten.
const LEFT_MAX: usize = 10_000;

/// See the module. What is sent again is forgotten.
#[derive(Default)]
pub(in crate::alert) struct Left {
    given_up: BTreeMap<AlertId, Vec<Arc<str>>>,
    /// By the handler that was removed.
    removed: BTreeMap<Arc<str>, BTreeSet<AlertId>>,
}

impl Left {
    /// An alert was settled for a handler.
    pub(super) fn note(&mut self, id: &AlertId, handler: &Arc<str>, how: Settlement) {
        match how {
            Settlement::GivenUp => {
                self.given_up.entry(id.clone()).or_default().push(handler.clone());
                if self.given_up.len() > LEFT_MAX {
                    self.given_up.pop_first();
                }
            }
            Settlement::HandlerRemoved => {
                let ids = self.removed.entry(handler.clone()).or_default();
                ids.insert(id.clone());
                if ids.len() > LEFT_MAX {
                    ids.pop_first();
                }
            }
            Settlement::Delivered | Settlement::Expired | Settlement::QueueFull => {}
        }
    }

    /// An alert is sent again instead of by this handler, or by it.
    pub(super) fn forget(&mut self, id: &AlertId, handler: &str) {
        if let Some(handlers) = self.given_up.get_mut(id) {
            handlers.retain(|name| **name != *handler);
            if handlers.is_empty() {
                self.given_up.remove(id);
            }
        }
        if let Some(ids) = self.removed.get_mut(handler) {
            ids.remove(id);
            if ids.is_empty() {
                self.removed.remove(handler);
            }
        }
    }

    /// How many alerts are given up.
    pub(in crate::alert) fn given_up(&self) -> u64 {
        self.given_up.len() as u64
    }

    /// How many alerts each removed handler left.
    pub(in crate::alert) fn removed(&self) -> BTreeMap<String, u64> {
        self.removed.iter().map(|(handler, ids)| (handler.to_string(), ids.len() as u64)).collect()
    }
}
