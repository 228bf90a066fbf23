//! Accepted alerts in memory, until every handler is done with each: bounded per handler, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{BoxFuture, Settled, Settlement, Store, StoreError};
use crate::types::Alert;

/// Alerts in memory. What is pending when the process dies is lost; a database keeps it.
#[derive(Debug)]
pub struct MemoryStore {
    limit: usize,
    queues: Mutex<BTreeMap<Arc<str>, Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<Entry>>,
    appended: Arc<Notify>,
}

/// One alert, shared by the queues of its handlers.
#[derive(Debug)]
struct Entry {
    alert: Arc<Alert>,
    /// Handlers that are not done with it.
    open: AtomicUsize,
    given_up: AtomicBool,
}

impl MemoryStore {
    /// An empty store that holds at most `limit` alerts per handler.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, queues: Mutex::default() })
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Queue>> {
        // Each change under the lock is a single push or pop: a panic elsewhere leaves nothing half-done.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn append(&self, alert: Arc<Alert>, handlers: &[Arc<str>]) -> Result<Vec<Arc<str>>, StoreError> {
        let mut queues = self.queues();
        let length = |name: &Arc<str>| queues.get(name).map_or(0, |q| q.waiting.len());
        let (room, full): (Vec<_>, Vec<_>) = handlers.iter().partition(|name| length(name) < self.limit);
        if room.is_empty() && !full.is_empty() {
            return Err(StoreError::Full { pending: self.limit, limit: self.limit });
        }
        let entry =
            Arc::new(Entry { alert, open: AtomicUsize::new(room.len()), given_up: AtomicBool::new(!full.is_empty()) });
        for name in room {
            let queue = queues.entry(name.clone()).or_default();
            queue.waiting.push_back(entry.clone());
            queue.appended.notify_one();
        }
        Ok(full.into_iter().cloned().collect())
    }

    fn head(&self, handler: &str) -> Option<Arc<Alert>> {
        Some(self.queues().get(handler)?.waiting.front()?.alert.clone())
    }

    fn settle(&self, handler: &str, how: Settlement) -> Option<Settled> {
        let entry = self.queues().get_mut(handler)?.waiting.pop_front()?;
        if how == Settlement::GivenUp {
            entry.given_up.store(true, Ordering::Relaxed);
        }
        // Acquire and release order the others' `given_up` before the last one's reading of it.
        let last = entry.open.fetch_sub(1, Ordering::AcqRel) == 1;
        last.then(|| Settled { alert: entry.alert.clone(), delivered: !entry.given_up.load(Ordering::Relaxed) })
    }

    fn pending(&self, handler: &str) -> usize {
        self.queues().get(handler).map_or(0, |q| q.waiting.len())
    }

    fn appended<'a>(&'a self, handler: &'a str) -> BoxFuture<'a, ()> {
        let appended = self.queues().entry(handler.into()).or_default().appended.clone();
        Box::pin(async move { appended.notified().await })
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::{draft, frame, plan};
    use super::super::{Decision, Policy};
    use super::*;

    fn alert(key: &str) -> Arc<Alert> {
        match Policy::new(&plan()).decide(&draft("r", key), &frame("a", 0, 0.0)) {
            Decision::Accept(alert) => alert,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_handler_sees_every_alert_in_order_and_the_last_one_settles_it() {
        let store = MemoryStore::new(10);
        let handlers: [Arc<str>; 2] = ["x".into(), "y".into()];
        for key in ["1", "2"] {
            assert_eq!(store.append(alert(key), &handlers), Ok(vec![]));
        }
        assert_eq!((store.pending("x"), store.pending("y")), (2, 2));
        assert_eq!(store.head("x").unwrap().key, "1");
        assert_eq!(store.settle("x", Settlement::Delivered), None);
        assert_eq!(store.head("x").unwrap().key, "2");
        let settled = store.settle("y", Settlement::GivenUp).unwrap();
        assert_eq!((settled.alert.key.as_str(), settled.delivered), ("1", false));
        store.settle("x", Settlement::Delivered);
        assert!(store.settle("y", Settlement::Delivered).unwrap().delivered);
        assert_eq!((store.head("x"), store.pending("y")), (None, 0));
    }

    #[test]
    fn a_full_handler_misses_it_and_only_when_all_are_full_it_is_refused() {
        let store = MemoryStore::new(1);
        let (x, y): (Arc<str>, Arc<str>) = ("x".into(), "y".into());
        assert_eq!(store.append(alert("1"), &[x.clone(), y.clone()]), Ok(vec![]));
        store.settle("y", Settlement::Delivered);
        assert_eq!(store.append(alert("2"), &[x.clone(), y.clone()]), Ok(vec![x.clone()]));
        let settled = store.settle("y", Settlement::Delivered).unwrap();
        assert!(!settled.delivered, "one of its handlers never got it");
        store.append(alert("3"), std::slice::from_ref(&y)).unwrap();
        let refused = store.append(alert("4"), &[x, y]);
        assert_eq!(refused, Err(StoreError::Full { pending: 1, limit: 1 }));
    }
}
