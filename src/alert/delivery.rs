//! Delivering what was accepted: one owned task per handler, in order, with retries. A handler that is slow, fails,
//! hangs or panics holds up its own queue only.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;

use super::{DeliveryError, Handler, Retry, Settlement, Standing, Store};
use crate::config::AlertPlan;
use crate::telemetry::{AlertOutcome, Metrics};
use crate::types::{Alert, Clock};

/// The deliverers. Dropping it stops them; what they had not delivered stays in the store.
pub struct Delivery {
    standings: Vec<Arc<Standing>>,
    settled: Arc<Notify>,
    tasks: Vec<AbortHandle>,
}

impl Delivery {
    /// Starts one task per handler on `runtime`.
    pub fn start(
        runtime: &runtime::Handle,
        store: Arc<dyn Store>,
        handlers: &[Arc<dyn Handler>],
        plan: &AlertPlan,
        metrics: &Arc<Metrics>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let settled = Arc::new(Notify::new());
        let standings: Vec<Arc<Standing>> = handlers
            .iter()
            .map(|handler| Standing::new(handler.name(), metrics.handler(handler.name()), store.clone()))
            .collect();
        let tasks = handlers
            .iter()
            .zip(&standings)
            .map(|(handler, standing)| {
                let deliverer = Deliverer {
                    name: standing.name().clone(),
                    handler: handler.clone(),
                    store: store.clone(),
                    attempts: plan.attempts.max(1),
                    retry_delay: plan.retry_delay,
                    standing: standing.clone(),
                    metrics: metrics.clone(),
                    clock: clock.clone(),
                    settled: settled.clone(),
                };
                runtime.spawn(deliverer.run()).abort_handle()
            })
            .collect();
        Self { standings, settled, tasks }
    }

    /// How each handler stands, in their order.
    pub fn standings(&self) -> &[Arc<Standing>] {
        &self.standings
    }

    /// Alerts still to be settled, summed over the handlers.
    pub fn pending(&self) -> usize {
        self.standings.iter().map(|standing| standing.pending()).sum()
    }

    /// Waits until everything accepted is settled, `deadline` at most. Returns what is left.
    pub async fn drain(&self, deadline: Duration) -> usize {
        let drained = async {
            while self.pending() > 0 {
                self.settled.notified().await;
            }
        };
        // Late or not, what counts is what is left.
        let _ = time::timeout(deadline, drained).await;
        self.pending()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One handler's task.
struct Deliverer {
    name: Arc<str>,
    handler: Arc<dyn Handler>,
    store: Arc<dyn Store>,
    attempts: u32,
    retry_delay: Duration,
    standing: Arc<Standing>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    settled: Arc<Notify>,
}

impl Deliverer {
    async fn run(self) {
        loop {
            let Some(alert) = self.store.head(&self.name) else {
                self.store.appended(&self.name).await;
                continue;
            };
            let how = self.deliver(&alert).await;
            if let Some(done) = self.store.settle(&self.name, how) {
                // A source that is gone by now has no series to count under.
                if let Some(source) = self.metrics.known_source(&done.alert.source) {
                    let outcome = if done.delivered { AlertOutcome::Delivered } else { AlertOutcome::Failed };
                    source.alert(&done.alert.rule, outcome);
                }
            }
            self.standing.settled();
            self.settled.notify_one();
        }
    }

    /// Tries until it is delivered, refused for good, or out of attempts.
    async fn deliver(&self, alert: &Arc<Alert>) -> Settlement {
        for attempt in 1..=self.attempts {
            self.standing.begin(self.clock.monotonic_ns());
            let Err(error) = self.attempt(alert.clone()).await else {
                self.standing.succeed(self.age_s(alert));
                return Settlement::Delivered;
            };
            let last = attempt == self.attempts || error.retry == Retry::Never;
            self.standing.fail(&error.message, last, self.clock.monotonic_ns());
            if last {
                tracing::error!(handler = %self.name, alert = %alert.id, attempt, "alert given up: {error}");
                break;
            }
            tracing::warn!(handler = %self.name, alert = %alert.id, attempt, "delivery failed, trying again: {error}");
            time::sleep(self.retry_delay).await;
        }
        Settlement::GivenUp
    }

    /// One attempt in a task of its own, so that a panic is this attempt's alone; dropped with this one.
    async fn attempt(&self, alert: Arc<Alert>) -> Result<(), DeliveryError> {
        let (handler, limit) = (self.handler.clone(), self.handler.timeout());
        let mut task = JoinSet::new();
        task.spawn(async move { handler.deliver(&alert).await });
        let ended = match limit {
            Some(limit) => time::timeout(limit, task.join_next()).await,
            None => Ok(task.join_next().await),
        };
        let message = match (ended, limit.unwrap_or_default()) {
            (Ok(Some(Ok(result))), _) => return result,
            (Ok(_), _) => "the handler panicked".to_owned(),
            (Err(_), limit) => format!("no answer within {limit:?}"),
        };
        Err(DeliveryError { message, retry: Retry::Later })
    }

    /// Seconds from the capture of the alert's frame until now.
    fn age_s(&self, alert: &Alert) -> f64 {
        let captured =
            humantime::parse_rfc3339(&alert.time).ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        captured
            .map_or(0.0, |captured| Duration::from_nanos(self.clock.unix_ns()).saturating_sub(captured).as_secs_f64())
    }
}
