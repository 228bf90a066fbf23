//! One handler's task: delivers what waits for it, in order, with retries. A handler that is slow, fails, hangs or
//! panics holds up its own queue only.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time;

use super::outbox::Receiver;
use super::{ATTEMPT_MAX, Commands, DeliveryError, Handler, Outbox, Retry, Settlement, Usage};
use crate::config::AlertPlan;
use crate::types::{Alert, Clock};

/// Longest time that a receiver may ask for before the next try.
const PATIENCE_MAX: Duration = Duration::from_secs(300);
/// Longest time that the tries of one alert are put off in all without counting as attempts.
const PATIENCE_OF_ALERT_MAX: Duration = Duration::from_secs(900);

/// When failed deliveries are tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retries {
    attempts: u32,
    delay: Duration,
}

impl Retries {
    pub(super) fn of(plan: &AlertPlan) -> Self {
        Self { attempts: plan.attempts.max(1), delay: plan.retry_delay }
    }
}

/// What delivers under a name; it can be replaced while it delivers.
pub(super) struct Slot {
    current: ArcSwap<Version>,
    replaced: Notify,
}

struct Version {
    number: u64,
    handler: Arc<dyn Handler>,
    commands: Commands,
}

impl Slot {
    pub(super) fn new(handler: Arc<dyn Handler>, commands: Commands) -> Arc<Self> {
        handler.attach(commands.clone());
        let version = Version { number: 0, handler, commands };
        Arc::new(Self { current: ArcSwap::from_pointee(version), replaced: Notify::new() })
    }

    /// The next attempt is the new handler's; one under way goes on with the old one.
    pub(super) fn replace(&self, handler: Arc<dyn Handler>, commands: Commands) {
        handler.attach(commands.clone());
        let number = self.current.load().number + 1;
        let old = self.current.swap(Arc::new(Version { number, handler, commands }));
        old.commands.close();
        self.replaced.notify_waiters();
    }

    /// Refuses its commands from now on.
    pub(super) fn close(&self) {
        self.current.load().commands.close();
    }
}

/// See the module.
pub(super) struct Deliverer {
    pub(super) name: Arc<str>,
    pub(super) slot: Arc<Slot>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) receiver: Receiver,
    pub(super) retries: Arc<ArcSwap<Retries>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Deliverer {
    pub(super) async fn run(self) {
        let mut usage = Usage::default();
        loop {
            let Some(alert) = self.outbox.head(&self.name) else {
                self.receiver.appended.notified().await;
                continue;
            };
            let how = self.deliver(&alert).await;
            if let Some(now) = self.slot.current.load().handler.usage() {
                self.receiver.standing.measure(now, std::mem::replace(&mut usage, now));
            }
            self.outbox.settle(&self.name, &alert.id, how);
        }
    }

    /// Tries until it is delivered, refused for good, or out of attempts. A new version begins to count anew.
    async fn deliver(&self, alert: &Arc<Alert>) -> Settlement {
        let standing = &self.receiver.standing;
        let (mut attempt, mut number, mut waited) = (0, 0, Duration::ZERO);
        loop {
            let version = self.slot.current.load_full();
            if version.number != number {
                (attempt, number) = (0, version.number);
            }
            attempt += 1;
            standing.begin(self.clock.monotonic_ns());
            let Err(error) = self.attempt(&version.handler, alert.clone()).await else {
                standing.succeed(self.age_s(alert));
                return Settlement::Delivered;
            };
            let retries = **self.retries.load();
            let mut delay = retries.delay;
            if let Retry::After(patience) = error.retry {
                delay = patience.clamp(delay.min(PATIENCE_MAX), PATIENCE_MAX);
                // One that asks without end is in the end one that fails.
                if waited < PATIENCE_OF_ALERT_MAX {
                    attempt -= 1;
                }
                waited += delay;
            }
            let replaced = self.slot.current.load().number != number;
            let last = !replaced && (attempt >= retries.attempts || error.retry == Retry::Never);
            standing.fail(&error.to_string(), last, self.clock.monotonic_ns());
            if last {
                tracing::error!(handler = %self.name, alert = %alert.id, attempt, "alert given up: {error}");
                return Settlement::GivenUp;
            }
            tracing::warn!(handler = %self.name, alert = %alert.id, attempt, "delivery failed, trying again: {error}");
            if !replaced {
                // Over early when a new version is there.
                let _ = time::timeout(delay, self.slot.replaced.notified()).await;
            }
        }
    }

    /// One attempt in a task of its own, so that a panic is this attempt's alone; dropped with this one.
    async fn attempt(&self, handler: &Arc<dyn Handler>, alert: Arc<Alert>) -> Result<(), DeliveryError> {
        let (limit, handler) = (handler.timeout(), handler.clone());
        // A version that is replaced while it delivers gets this much longer, whatever it says of itself.
        let replaced = async {
            self.slot.replaced.notified().await;
            time::sleep(ATTEMPT_MAX).await;
        };
        let mut task = JoinSet::new();
        task.spawn(async move { handler.deliver(&alert).await });
        let message = tokio::select! {
            ended = task.join_next() => match ended {
                Some(Ok(result)) => return result,
                _ => "the handler panicked".to_owned(),
            },
            () = wait(limit) => format!("no answer within {:?}", limit.unwrap_or_default()),
            () = replaced => format!("replaced, and no answer within {ATTEMPT_MAX:?} since"),
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

/// Ends after `limit`; never without one.
async fn wait(limit: Option<Duration>) {
    match limit {
        Some(limit) => time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
