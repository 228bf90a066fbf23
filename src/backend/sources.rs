//! The owner's side of a backend's sources: starts, changes and stops their threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::supervise::Hosts;
use super::{Change, Outlet, Sink};
use crate::config::SourcePlan;
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::types::SourceId;

/// Longest wait for the threads of a dropped backend. Longer than a pipeline may take to shut down.
const DROP_MAX: Duration = Duration::from_secs(3);

/// What a source's thread needs.
#[derive(Debug)]
pub struct SourceContext {
    /// Takes its frames and events.
    pub outlet: Arc<Outlet>,
    /// Delivers changed plans.
    pub change: Arc<Change>,
    /// Signals the end.
    pub stop: Stop,
    /// The hosts of the backend's sources, which limit simultaneous connections.
    pub hosts: Arc<Hosts>,
}

/// The sources of one backend, by name. Implements what every [`Backend`](super::Backend) has in common; dropping it
/// stops all of them.
#[derive(Debug, Default)]
pub struct Sources {
    owned: BTreeMap<SourceId, Owned>,
    hosts: Arc<Hosts>,
}

#[derive(Debug)]
struct Owned {
    outlet: Arc<Outlet>,
    change: Arc<Change>,
    /// `None` for a source played by a shared thread.
    thread: Option<Thread>,
}

impl Sources {
    /// Other sources, which take turns with these at their hosts.
    pub fn beside(&self) -> Self {
        Self { owned: BTreeMap::new(), hosts: Arc::clone(&self.hosts) }
    }

    /// Checks that a source of this name can be started: none runs, or it has ended.
    ///
    /// # Errors
    /// [`Code::Source`] when one is running.
    pub fn vacant(&self, source: &SourceId) -> Result<(), Error> {
        if self.owned.get(source).is_none_or(|owned| owned.outlet.closed()) {
            return Ok(());
        }
        Err(Error::new(Code::Source, format!("source {source} is already running"))
            .hint("remove it first, or give the new one another id"))
    }

    /// Runs `run` for a source on its own thread, named `thread`. A panic in it breaks the source off.
    ///
    /// # Errors
    /// As [`vacant`](Self::vacant), or when no thread can be started.
    pub fn start(
        &mut self,
        plan: &SourcePlan,
        sink: Arc<dyn Sink>,
        thread: &str,
        run: impl FnOnce(SourceContext) + Send + 'static,
    ) -> Result<(), Error> {
        self.vacant(&plan.id)?;
        let (outlet, change) = (Arc::new(Outlet::new(plan.id.clone(), sink)), Arc::new(Change::default()));
        let (ours, theirs, hosts) = (Arc::clone(&outlet), Arc::clone(&change), Arc::clone(&self.hosts));
        let thread = Thread::start(thread, move |stop| {
            let context = SourceContext { outlet: Arc::clone(&ours), change: theirs, stop, hosts };
            // Even after a panic a source must send its last event: others wait for it.
            if catch_unwind(AssertUnwindSafe(|| run(context))).is_err() {
                ours.break_off("an internal error; please report it".into());
            }
        })
        .map_err(|error| Error::new(Code::Source, format!("source {}: no thread for it: {error}", plan.id)))?;
        self.owned.insert(plan.id.clone(), Owned { outlet, change, thread: Some(thread) });
        Ok(())
    }

    /// Adds a source that a shared thread plays; returns that thread's side of it.
    ///
    /// # Errors
    /// As [`vacant`](Self::vacant).
    pub fn join(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(Arc<Outlet>, Arc<Change>), Error> {
        self.vacant(&plan.id)?;
        let (outlet, change) = (Arc::new(Outlet::new(plan.id.clone(), sink)), Arc::new(Change::default()));
        let owned = Owned { outlet: Arc::clone(&outlet), change: Arc::clone(&change), thread: None };
        self.owned.insert(plan.id.clone(), owned);
        Ok((outlet, change))
    }

    /// Passes a changed plan to a running source.
    ///
    /// # Errors
    /// [`Code::Source`] when no source has that name.
    pub fn change(&self, plan: &SourcePlan) -> Result<(), Error> {
        let owned = self.owned.get(&plan.id).ok_or_else(|| {
            Error::new(Code::Source, format!("source {} is not running", plan.id))
                .hint("add it first; `dsengine sources list` shows what runs")
        })?;
        owned.change.put(plan);
        Ok(())
    }

    /// Removes a source within `deadline`; it sends nothing afterwards. Unknown names are ignored.
    pub fn remove(&mut self, source: &SourceId, deadline: Duration) {
        let Some(mut owned) = self.owned.remove(source) else { return };
        owned.outlet.bar();
        let left = match &mut owned.thread {
            Some(thread) => {
                thread.join(deadline);
                Duration::ZERO
            }
            None => deadline,
        };
        if !owned.outlet.close(left) {
            tracing::error!(%source, limit_ms = deadline.as_millis(), "a removed source's frame is still being taken");
        }
    }

    /// Removes all sources within `deadline`, and stops the thread that some of them share.
    pub fn stop(&mut self, shared: Option<Thread>, deadline: Duration) {
        let (mut sources, mut shared) = (std::mem::take(&mut self.owned), shared);
        sources.values().for_each(|owned| owned.outlet.bar());
        Thread::join_all(sources.values_mut().filter_map(|owned| owned.thread.as_mut()).chain(&mut shared), deadline);
        for owned in sources.values() {
            owned.outlet.close(Duration::ZERO);
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.stop(None, DROP_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::supervise::HOST_CONNECTING_MAX;

    #[test]
    fn sources_beside_others_take_turns_with_them() {
        let sources = Sources::default();
        let turns: Vec<_> = (0..HOST_CONNECTING_MAX).map(|_| sources.hosts.queue("gate")).collect();
        assert!(turns.iter().all(|turn| turn.begin(0)));
        let next = sources.beside().hosts.queue("gate");
        assert!(!next.begin(0));
        drop(turns);
        assert!(next.begin(0));
    }
}
