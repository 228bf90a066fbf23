//! Delivers accepted alerts: one task per handler, the journal's thread, and the outbox between them and the lanes.
//! Handlers can be added and removed by name at run time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime;
use tokio::task::AbortHandle;
use tokio::time;

use super::command::CommandQueue;
use super::courier::Retries;
use super::deliverer::{Deliverer, Slot};
use super::ledger::GIVE_HINT;
use super::writer::Writer;
use super::{CASES_MAX, Commanded, Gate, Handler, Journal, OnAccepted, Outbox, Pictures, Standing, Switches};
use crate::config::{AlertFilter, AlertPlan, PicturesPlan};
use crate::error::{Code, Error};
use crate::own::Thread;
use crate::telemetry::Metrics;
use crate::types::{Clock, SourceId};

/// Longest wait for the journal's thread on drop.
const STOP_MAX: Duration = Duration::from_secs(1);

/// The deliverers. Dropping it stops them; undelivered alerts stay in the journal, if there is one.
pub struct Delivery {
    runtime: runtime::Handle,
    outbox: Arc<Outbox>,
    retries: Arc<ArcSwap<Retries>>,
    running: Mutex<BTreeMap<Arc<str>, Running>>,
    commands: CommandQueue,
    writer: Mutex<Option<Writer>>,
    /// The thread that encodes pictures, if they are kept.
    encoder: Mutex<Option<Thread>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// A handler's running task.
struct Running {
    slot: Arc<Slot>,
    standing: Arc<Standing>,
    task: AbortHandle,
}

impl Running {
    fn stop(&self) {
        self.slot.close();
        self.task.abort();
    }
}

impl Delivery {
    /// Recovers what an earlier process left in `journal`, and starts one task per handler on `runtime`. More handlers
    /// may be added; once all are, [`Delivery::settle_absent`] settles the alerts left for others. `on_accepted` is
    /// called with every alert accepted from now on; recovered alerts were passed to it in their own process.
    ///
    /// # Errors
    /// When the journal cannot be read, its thread cannot start, or two handlers share a name.
    pub fn start(
        runtime: &runtime::Handle,
        mut journal: Box<dyn Journal>,
        handlers: &[Arc<dyn Handler>],
        plan: &AlertPlan,
        metrics: &Arc<Metrics>,
        clock: &Arc<dyn Clock>,
        on_accepted: OnAccepted,
    ) -> Result<Self, Error> {
        let durable = journal.is_durable();
        let pending = journal.recover().map_err(|error| {
            Error::new(Code::Io, format!("the alert journal cannot be read: {error}"))
                .hint("mend or move the journal; alerts in it are not delivered yet")
        })?;
        let saved = journal.saved().map_err(|error| {
            Error::new(Code::Io, format!("the alert journal cannot be read: {error}"))
                .hint("mend or move the journal; what it keeps for this run would be lost")
        })?;
        let kept = journal.newest(CASES_MAX).map_err(|error| {
            Error::new(Code::Io, format!("the alert journal cannot be read: {error}"))
                .hint("mend or move the journal; alerts in it are not delivered yet")
        })?;
        let (wake, woken) = bounded(1);
        let outbox = Outbox::new(plan, metrics.clone(), on_accepted, durable.then_some(wake));
        let delivery = Self {
            runtime: runtime.clone(),
            outbox: outbox.clone(),
            retries: Arc::new(ArcSwap::from_pointee(Retries::of(plan))),
            running: Mutex::default(),
            commands: CommandQueue::new(metrics.clone(), outbox.pictures.clone()).with_outbox(&outbox),
            writer: Mutex::default(),
            encoder: Mutex::default(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        for handler in handlers {
            delivery.add(handler.clone())?;
        }
        outbox.recover(pending);
        outbox.restore(saved);
        outbox.forget_ended_conditions(clock.unix_ns());
        outbox.restore_silences(clock.unix_ns());
        outbox.restore_cases(kept);
        if durable {
            *delivery.writer() = Some(Writer::start(journal, outbox, clock.clone(), woken)?);
        }
        Ok(delivery)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Running>> {
        self.running.lock()
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock()
    }

    /// Adds a handler: it gets all alerts accepted from now on.
    ///
    /// # Errors
    /// [`Code::Handler`] when a handler has this name already.
    pub fn add(&self, handler: Arc<dyn Handler>) -> Result<Arc<Standing>, Error> {
        self.add_where(handler, &AlertFilter::default())
    }

    /// Adds a handler: it gets the alerts accepted from now on that pass `filter`.
    ///
    /// # Errors
    /// As [`Delivery::add`].
    pub fn add_where(&self, handler: Arc<dyn Handler>, filter: &AlertFilter) -> Result<Arc<Standing>, Error> {
        let name: Arc<str> = handler.name().into();
        let Some(standing) = self.outbox.add(&name, filter) else {
            return Err(Error::new(Code::Handler, format!("there are two handlers named {name}"))
                .hint("give each handler a name of its own"));
        };
        let slot = {
            let _context = self.runtime.enter();
            Slot::new(handler, self.commands.of(&name))
        };
        let deliverer = Deliverer {
            name: name.clone(),
            slot: slot.clone(),
            outbox: self.outbox.clone(),
            standing: standing.clone(),
            retries: self.retries.clone(),
            clock: self.clock.clone(),
        };
        let task = self.runtime.spawn(deliverer.run()).abort_handle();
        self.running().insert(name, Running { slot, standing: standing.clone(), task });
        Ok(standing)
    }

    /// Removes a handler. It gets no new alerts, and has until `deadline` to deliver its queue; the rest is settled as
    /// `handler_removed`, and its number returned. Other handlers' queues are unaffected. Blocks: do not call it from a
    /// thread that must not block.
    pub fn remove(&self, name: &str, deadline: Duration) -> usize {
        let Some(running) = self.running().remove(name) else { return 0 };
        self.outbox.close(name);
        self.outbox.nudge();
        self.outbox.wait_settled(name, deadline);
        running.stop();
        let left = self.outbox.remove(name);
        self.metrics.remove_handler(name);
        if left > 0 {
            tracing::warn!(handler = %name, alerts = left, "handler removed before it had delivered everything{GIVE_HINT}");
        }
        left
    }

    /// Replaces the handler of the same name; its queue stays. A delivery in progress continues with the old one.
    ///
    /// # Errors
    /// [`Code::Handler`] when no handler has this name.
    pub fn replace(&self, handler: Arc<dyn Handler>) -> Result<Arc<Standing>, Error> {
        let running = self.running();
        let name = handler.name();
        let Some((name, Running { slot, standing, .. })) = running.get_key_value(name) else {
            return Err(Error::new(Code::Handler, format!("there is no handler named {name}")));
        };
        let _context = self.runtime.enter();
        slot.replace(handler, self.commands.of(name));
        standing.renew();
        Ok(standing.clone())
    }

    /// Sets which alerts a handler gets from now on; its queued ones stay.
    pub fn set_filter(&self, handler: &str, filter: &AlertFilter) {
        self.outbox.set_filter(handler, filter);
    }

    /// Sets the age at which a handler's alerts expire; `None` for the alert policy's.
    pub fn set_max_age(&self, handler: &str, max_age: Option<Duration>) {
        if let Some(running) = self.running().get(handler) {
            running.slot.set_max_age(max_age);
        }
    }

    /// Creates a gate for a source's lane. See [`Gate::joined`].
    pub fn gate(&self, plan: &AlertPlan, source: &SourceId) -> Gate {
        Gate::new(plan, source, &self.outbox, &self.metrics)
    }

    /// Sends the digests that are due at `now_ns` on the monotonic clock, even if no source delivers frames.
    pub fn tick(&self, now_ns: u64) {
        self.outbox.tick(now_ns);
    }

    /// Settles the alerts that an earlier process left for other handlers as `handler_removed`: all configured handlers
    /// are added now. Before this call such alerts wait for their handler, and removing a handler keeps its alerts, so
    /// that a failed start settles nothing.
    pub fn settle_absent(&self) {
        self.outbox.settle_absent();
    }

    /// Applies new limits and retries. Queued alerts stay.
    pub fn set_plan(&self, plan: &AlertPlan) {
        self.retries.rcu(|former| Retries { hurried: former.hurried, ..Retries::of(plan) });
        self.outbox.set_plan(plan);
    }

    /// Keeps the pictures of alerts in `folder` from now on.
    ///
    /// # Errors
    /// When the thread that encodes them cannot be started.
    pub fn keep_pictures(&self, folder: PathBuf, plan: &PicturesPlan) -> Result<(), Error> {
        let thread = self.outbox.pictures.open(folder, plan, &self.metrics, &self.clock)?;
        *self.encoder.lock() = Some(thread);
        Ok(())
    }

    /// Applies new settings to the next pictures.
    pub fn set_pictures(&self, plan: &PicturesPlan) {
        self.outbox.pictures.set_plan(plan);
    }

    /// The alerts' pictures.
    pub fn pictures(&self) -> &Pictures {
        &self.outbox.pictures
    }

    /// The outbox, which takes the lanes' alerts and knows their state.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The state of each handler, in the order in which they were added.
    pub fn standings(&self) -> Vec<Arc<Standing>> {
        self.outbox.standings()
    }

    /// The queue of handlers' commands. Each command goes to one reader.
    pub fn commands(&self) -> Receiver<Commanded> {
        self.commands.receiver()
    }

    /// Shows handlers what they may switch.
    pub fn show_switches(&self, switches: Switches) {
        self.commands.show(switches);
    }

    /// Outstanding deliveries, summed over the handlers.
    pub fn pending(&self) -> usize {
        self.outbox.pending()
    }

    /// Sends what the limits still hold back: no more frames come.
    pub fn finish(&self) {
        self.outbox.send_held();
        self.outbox.end();
    }

    /// Waits until everything accepted is settled and journalled, at most `deadline`. Returns what is left. What is
    /// paused is tried at once.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.retries.rcu(|former| Retries { hurried: true, ..**former });
        self.running().values().for_each(|running| running.slot.wake());
        // The remaining number counts, whether it timed out or not.
        let drained = time::timeout(deadline, async {
            self.outbox.settled().await;
            self.outbox.save_cases();
            self.outbox.settled().await;
        });
        if drained.await.is_err() {
            self.outbox.save_cases();
        }
        self.outbox.pending().max(self.outbox.open())
    }

    /// Stops the tasks and the journal's thread; waits for the latter, at most `within`.
    pub fn stop(&self, within: Duration) {
        std::mem::take(&mut *self.running()).values().for_each(Running::stop);
        let writer = self.writer().take();
        if let Some(mut writer) = writer
            && !writer.stop(within)
        {
            tracing::error!("the alert journal does not answer: what it has not written is lost");
        }
        // Its drop waits for the pictures that are on their way, two seconds at most.
        drop(self.encoder.lock().take());
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop(STOP_MAX);
    }
}
