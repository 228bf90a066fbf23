//! One handler's task: delivers its queue in order, with retries. A handler that is slow, fails, hangs or panics delays
//! only its own queue.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time;

use super::outbox::Receiver;
use super::{ATTEMPT_MAX, Commands, DeliveryError, Entry, Handler, Outbox, Retry, Settlement, Usage};
use crate::config::AlertPlan;
use crate::telemetry::redact;
use crate::types::{Alert, Clock, seconds};

/// Upper bound on a wait requested by a receiver.
const PATIENCE_MAX: Duration = Duration::from_secs(300);
/// Upper bound on all requested waits for one alert; beyond it retries count as attempts.
const PATIENCE_OF_ALERT_MAX: Duration = Duration::from_secs(900);

/// Refused logins in a row before the handler pauses between alerts.
const LOGINS: u32 = 3;
/// The pause between alerts after refused logins.
const LOGIN_PAUSE: Duration = Duration::from_secs(300);

/// Retry policy of failed deliveries.
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

/// The current version of a handler; it can be replaced during a delivery.
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

    /// Replaces the handler for the next attempt; an attempt in progress continues with the old one.
    pub(super) fn replace(&self, handler: Arc<dyn Handler>, commands: Commands) {
        handler.attach(commands.clone());
        let number = self.current.load().number + 1;
        let old = self.current.swap(Arc::new(Version { number, handler, commands }));
        old.commands.close();
        self.replaced.notify_waiters();
    }

    /// The current version's handler.
    pub(super) fn handler(&self) -> Arc<dyn Handler> {
        self.current.load().handler.clone()
    }

    /// Completes for the next replacement.
    pub(super) fn replaced(&self) -> Notified<'_> {
        self.replaced.notified()
    }

    /// Refuses its commands from now on.
    pub(super) fn close(&self) {
        self.current.load().commands.close();
    }
}

/// The login refusals of a handler's current version since its last success.
#[derive(Debug, Default)]
struct Logins {
    refused: u32,
    /// The version that they are of.
    number: u64,
    /// On the monotonic clock.
    last_ns: u64,
}

impl Logins {
    /// The rest of the pause at `now_ns`, for this version; none for a new one.
    fn pause(&mut self, number: u64, now_ns: u64) -> Option<Duration> {
        if number != self.number {
            *self = Self { number, ..Self::default() };
        }
        let since = Duration::from_nanos(now_ns.saturating_sub(self.last_ns));
        self.rests().then(|| LOGIN_PAUSE.saturating_sub(since)).filter(|rest| !rest.is_zero())
    }

    /// Whether the handler pauses between alerts.
    fn rests(&self) -> bool {
        self.refused >= LOGINS
    }
}

/// A handler's task and its dependencies.
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
        let (mut usage, mut logins) = (Usage::default(), Logins::default());
        loop {
            let Some(alert) = self.outbox.head(&self.name) else {
                self.receiver.appended.notified().await;
                continue;
            };
            self.collect(&alert).await;
            let how = self.deliver(&alert, &mut logins).await;
            if let Some(now) = self.slot.current.load().handler.usage() {
                self.receiver.standing.measure(now, std::mem::replace(&mut usage, now));
            }
            self.outbox.settle(&self.name, &alert.id, how);
        }
    }

    /// Retries until the alert is delivered, permanently refused, or out of attempts. A new version resets the count.
    async fn deliver(&self, alert: &Arc<Alert>, logins: &mut Logins) -> Settlement {
        let standing = &self.receiver.standing;
        let (mut attempt, mut number, mut waited) = (0, 0, Duration::ZERO);
        loop {
            // Created before the version is read: it completes for any replacement from here on.
            let mut renewed = pin!(self.slot.replaced.notified());
            let version = self.slot.current.load_full();
            if let Some(pause) = logins.pause(version.number, self.clock.monotonic_ns()) {
                let _ = time::timeout(pause, renewed).await;
                continue;
            }
            if version.number != number {
                (attempt, number) = (0, version.number);
            }
            attempt += 1;
            standing.begin(self.clock.monotonic_ns());
            let Err(error) = self.attempt(&version.handler, alert.clone(), renewed.as_mut()).await else {
                logins.refused = 0;
                standing.succeed(self.age_s(alert));
                return Settlement::Delivered;
            };
            let retries = **self.retries.load();
            let mut delay = retries.delay;
            if let Retry::After(patience) = error.retry {
                delay = patience.clamp(delay.min(PATIENCE_MAX), PATIENCE_MAX);
                // A receiver that asks for waits without end eventually fails.
                if waited < PATIENCE_OF_ALERT_MAX {
                    attempt -= 1;
                }
                waited += delay;
            }
            let replaced = self.slot.current.load().number != number;
            let attempts = version.handler.attempts().unwrap_or(retries.attempts);
            let last = !replaced && (attempt >= attempts || error.retry.gives_up());
            let error = self.refuse(error, logins);
            standing.fail(&error, last, self.clock.monotonic_ns());
            self.outbox.log(Entry::Attempted {
                id: alert.id.clone(),
                handler: self.name.clone(),
                at_ms: self.clock.unix_ns() / 1_000_000,
                error: redact(&error).into_owned(),
            });
            if last {
                tracing::error!(handler = %self.name, alert = %alert.id, attempt, "alert given up: {error}");
                return Settlement::GivenUp;
            }
            tracing::warn!(handler = %self.name, alert = %alert.id, attempt, "delivery failed, trying again: {error}");
            if !replaced {
                // Ends early when the handler is replaced.
                let _ = time::timeout(delay, renewed).await;
            }
        }
    }

    /// Counts a refused login. Returns the error's text, which says so where the handler pauses from now on.
    fn refuse(&self, error: DeliveryError, logins: &mut Logins) -> String {
        if error.retry == Retry::Login {
            logins.refused += 1;
            logins.last_ns = self.clock.monotonic_ns();
        }
        match logins.rests() {
            true => format!(
                "{error}; one alert every {} s is tried until its settings change, so that no account is locked, and the \
                 others wait",
                LOGIN_PAUSE.as_secs()
            ),
            false => error.to_string(),
        }
    }

    /// Runs one attempt in its own task, so that a panic fails only this attempt. The task is aborted with this future.
    async fn attempt(
        &self,
        handler: &Arc<dyn Handler>,
        alert: Arc<Alert>,
        renewed: Pin<&mut Notified<'_>>,
    ) -> Result<(), DeliveryError> {
        let (limit, handler) = (handler.timeout(), handler.clone());
        // A version replaced during a delivery gets this much more time, whatever its own timeout.
        let replaced = async {
            renewed.await;
            time::sleep(ATTEMPT_MAX).await;
        };
        let mut task = JoinSet::new();
        task.spawn(async move { handler.deliver(&alert).await });
        let message = tokio::select! {
            ended = task.join_next() => match ended {
                Some(Ok(result)) => return result,
                _ => "the handler panicked".to_owned(),
            },
            () = wait(limit) => format!("no answer within {}", seconds(limit.unwrap_or_default())),
            () = replaced => format!("replaced, and no answer within {} since", seconds(ATTEMPT_MAX)),
        };
        Err(DeliveryError { message, retry: Retry::Later })
    }

    /// Seconds since the capture of the alert's frame.
    fn age_s(&self, alert: &Alert) -> f64 {
        let captured =
            humantime::parse_rfc3339(&alert.time).ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        captured
            .map_or(0.0, |captured| Duration::from_nanos(self.clock.unix_ns()).saturating_sub(captured).as_secs_f64())
    }
}

/// Completes after `limit`; never without a limit.
async fn wait(limit: Option<Duration>) {
    match limit {
        Some(limit) => time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
