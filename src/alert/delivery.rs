//! Delivering what was accepted: one owned task per handler, the journal's thread, and the outbox between them and the
//! lanes. Handlers come and go by name while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime;
use tokio::task::AbortHandle;
use tokio::time;

use super::command::CommandQueue;
use super::deliverer::{Deliverer, Retries, Slot};
use super::writer::Writer;
use super::{Commanded, Gate, Handler, Journal, OnAccepted, Outbox, Standing};
use crate::config::AlertPlan;
use crate::error::{Code, Error};
use crate::telemetry::Metrics;
use crate::types::{Clock, SourceId};

/// Longest wait for the journal's thread where nobody says how long.
const STOP_MAX: Duration = Duration::from_secs(1);

/// The deliverers. Dropping it stops them; what they had not delivered is in the journal, where there is one.
pub struct Delivery {
    runtime: runtime::Handle,
    outbox: Arc<Outbox>,
    retries: Arc<ArcSwap<Retries>>,
    running: Mutex<BTreeMap<Arc<str>, Running>>,
    commands: CommandQueue,
    writer: Mutex<Option<Writer>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// A handler's task.
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
    /// Takes back what a former process left in `journal`, and starts one task for each handler on `runtime`. More may
    /// be added; once all are there, [`Delivery::settle_absent`] settles what none of them can deliver. `on_accepted` is shown every alert once it is accepted; recovered ones were shown by their process.
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
        let (wake, woken) = bounded(1);
        let outbox = Outbox::new(plan, metrics.clone(), on_accepted, durable.then_some(wake));
        let delivery = Self {
            runtime: runtime.clone(),
            outbox: outbox.clone(),
            retries: Arc::new(ArcSwap::from_pointee(Retries::of(plan))),
            running: Mutex::default(),
            commands: CommandQueue::new(metrics.clone()),
            writer: Mutex::default(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        for handler in handlers {
            delivery.add(handler.clone())?;
        }
        outbox.recover(pending);
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

    /// Adds a handler: it gets what is accepted from now on.
    ///
    /// # Errors
    /// [`Code::Handler`] when there is one of its name.
    pub fn add(&self, handler: Arc<dyn Handler>) -> Result<Arc<Standing>, Error> {
        let name: Arc<str> = handler.name().into();
        let Some(receiver) = self.outbox.add(&name) else {
            return Err(Error::new(Code::Handler, format!("there are two handlers named {name}"))
                .hint("give each handler a name of its own"));
        };
        let standing = receiver.standing.clone();
        let slot = Slot::new(handler, self.commands.of(&name));
        let deliverer = Deliverer {
            name: name.clone(),
            slot: slot.clone(),
            outbox: self.outbox.clone(),
            receiver,
            retries: self.retries.clone(),
            clock: self.clock.clone(),
        };
        let task = self.runtime.spawn(deliverer.run()).abort_handle();
        self.running().insert(name, Running { slot, standing: standing.clone(), task });
        Ok(standing)
    }

    /// Removes a handler. It gets nothing new at once, and until `deadline` to deliver what it has; the rest is counted
    /// as `handler_removed`, and how many alerts that are is returned. What waits for other handlers stays. Blocks: not
    /// from a thread that may not wait.
    pub fn remove(&self, name: &str, deadline: Duration) -> usize {
        let Some(running) = self.running().remove(name) else { return 0 };
        self.outbox.close(name);
        self.outbox.wait_settled(name, deadline);
        running.stop();
        let left = self.outbox.remove(name);
        self.metrics.remove_handler(name);
        if left > 0 {
            tracing::warn!(handler = %name, alerts = left, "handler removed before it had delivered everything");
        }
        left
    }

    /// Delivers by `handler` from now on under its name, in place of the one there; the queue stays. What is under way
    /// goes on with the old one.
    ///
    /// # Errors
    /// [`Code::Handler`] when there is no handler of its name.
    pub fn replace(&self, handler: Arc<dyn Handler>) -> Result<Arc<Standing>, Error> {
        let running = self.running();
        let name = handler.name();
        let Some((name, Running { slot, standing, .. })) = running.get_key_value(name) else {
            return Err(Error::new(Code::Handler, format!("there is no handler named {name}")));
        };
        slot.replace(handler, self.commands.of(name));
        standing.renew();
        Ok(standing.clone())
    }

    /// A gate for a source's lane.
    pub fn gate(&self, plan: &AlertPlan, source: &SourceId) -> Gate {
        Gate::new(plan, source, &self.outbox, &self.metrics)
    }

    /// Every handler of the configuration is there now: what a former process left for others is settled as
    /// `handler_removed`. Until this is called it waits for handlers to be added, and a handler that is removed leaves
    /// what it had: a start that fails settles nothing.
    pub fn settle_absent(&self) {
        self.outbox.settle_absent();
    }

    /// Takes over new limits and retries. What waits stays.
    pub fn set_plan(&self, plan: &AlertPlan) {
        self.retries.store(Arc::new(Retries::of(plan)));
        self.outbox.set_plan(plan);
    }

    /// Where lanes hand their alerts in, and what is known of them.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// How each handler stands now, in the order in which they were added.
    pub fn standings(&self) -> Vec<Arc<Standing>> {
        self.outbox.standings()
    }

    /// What handlers ask of the engine. Whoever reads takes them.
    pub fn commands(&self) -> Receiver<Commanded> {
        self.commands.receiver()
    }

    /// Deliveries still owed, summed over the handlers.
    pub fn pending(&self) -> usize {
        self.outbox.pending()
    }

    /// Waits until everything accepted is settled, and written to the journal, `deadline` at most. Returns what is left.
    pub async fn drain(&self, deadline: Duration) -> usize {
        // Late or not, what counts is what is left.
        let _ = time::timeout(deadline, self.outbox.settled()).await;
        self.outbox.pending().max(self.outbox.open())
    }

    /// Stops the tasks and the journal's thread; waits for the latter, `within` at most.
    pub fn stop(&self, within: Duration) {
        std::mem::take(&mut *self.running()).values().for_each(Running::stop);
        let writer = self.writer().take();
        if let Some(mut writer) = writer
            && !writer.stop(within)
        {
            tracing::error!("the alert journal does not answer: what it has not written is lost");
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop(STOP_MAX);
    }
}
