//! One handler's task: delivers its queue, when and in the order that `courier` says. A handler that is slow, fails, hangs
//! or panics delays only its own queue.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time;

use super::courier::{Courier, LOGIN_PAUSE, Now, REFUSED_MAX, Retries, Step};
use super::{ATTEMPT_MAX, Commands, DeliveryError, Entry, Handler, Outbox, Retry, Settlement, Standing, Usage};
use crate::telemetry::redact;
use crate::types::{Alert, Clock, seconds, since_epoch};

/// The current version of a handler; it can be replaced during a delivery.
pub(super) struct Slot {
    current: ArcSwap<Version>,
    replaced: Notify,
    /// The age at which its alerts expire, in milliseconds; negative for the alert policy's.
    max_age_ms: AtomicI64,
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
        Arc::new(Self {
            current: ArcSwap::from_pointee(version),
            replaced: Notify::new(),
            max_age_ms: AtomicI64::new(-1),
        })
    }

    /// Replaces the handler for the next attempt; an attempt in progress continues with the old one.
    pub(super) fn replace(&self, handler: Arc<dyn Handler>, commands: Commands) {
        handler.attach(commands.clone());
        let number = self.current.load().number + 1;
        let old = self.current.swap(Arc::new(Version { number, handler, commands }));
        old.commands.close();
        self.replaced.notify_waiters();
    }

    /// Sets the age at which its alerts expire; `None` for the alert policy's.
    pub(super) fn set_max_age(&self, max_age: Option<Duration>) {
        let max_age_ms = max_age.map_or(-1, |max_age| i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX));
        self.max_age_ms.store(max_age_ms, Ordering::Relaxed);
        self.wake();
    }

    fn max_age(&self) -> Option<Duration> {
        u64::try_from(self.max_age_ms.load(Ordering::Relaxed)).ok().map(Duration::from_millis)
    }

    /// Ends its pause, so that it looks at what changed.
    pub(super) fn wake(&self) {
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

/// A handler's task and its dependencies.
pub(super) struct Deliverer {
    pub(super) name: Arc<str>,
    pub(super) slot: Arc<Slot>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) standing: Arc<Standing>,
    pub(super) retries: Arc<ArcSwap<Retries>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Deliverer {
    pub(super) async fn run(self) {
        let (mut usage, mut courier, mut of) = (Usage::default(), Courier::default(), (0, 0));
        loop {
            // Created before the version is read: it completes for any replacement from here on.
            let mut renewed = pin!(self.slot.replaced.notified());
            let version = self.slot.current.load_full();
            // A script's next version replaces it within its handler.
            let now_of = (version.number, self.standing.renewals());
            if now_of != of {
                of = now_of;
                courier.renew();
            }
            let retries = self.retries();
            match self.outbox.next_step(&self.name, &mut courier, self.now(), &retries) {
                Step::Deliver(head) => {
                    let Some(alert) = self.outbox.begin(&self.name, &head) else { continue };
                    if self.collect(&alert).await {
                        continue;
                    }
                    self.deliver(&version, &alert, head.number, &mut courier, renewed.as_mut()).await;
                    if let Some(now) = self.slot.current.load().handler.usage() {
                        self.standing.measure(now, std::mem::replace(&mut usage, now));
                    }
                }
                Step::Expire(head) => {
                    tracing::error!(handler = %self.name, alert = %head.id, "alert expired before it was delivered");
                    self.standing.miss();
                    self.outbox.settle(&self.name, &head.id, Settlement::Expired);
                }
                Step::Wait(until_ns) => {
                    let pause = Duration::from_nanos(until_ns.saturating_sub(self.now().monotonic_ns));
                    tokio::select! {
                        () = time::sleep(pause) => {}
                        () = renewed => {}
                        () = self.standing.appended.notified() => {}
                    }
                }
                Step::Idle => tokio::select! {
                    () = self.standing.appended.notified() => {}
                    () = renewed => {}
                },
            }
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ns: self.clock.monotonic_ns(), unix_ns: self.clock.unix_ns() }
    }

    fn retries(&self) -> Retries {
        let retries = **self.retries.load();
        Retries { max_age: self.slot.max_age().unwrap_or(retries.max_age), ..retries }
    }

    /// Tries an alert once, and settles it if the handler is done with it.
    async fn deliver(
        &self,
        version: &Version,
        alert: &Arc<Alert>,
        number: u64,
        courier: &mut Courier,
        renewed: Pin<&mut Notified<'_>>,
    ) {
        let standing = &self.standing;
        standing.begin(self.clock.monotonic_ns());
        let result = self.attempt(version, alert.clone(), renewed).await;
        let now = self.now();
        let Err(error) = result else {
            courier.succeeded(number, now);
            standing.succeed(self.age_s(alert));
            return self.outbox.settle(&self.name, &alert.id, Settlement::Delivered);
        };
        let retries = self.retries();
        // A version that was replaced meanwhile decides on nothing: the next one tries the alert.
        let is_replaced = self.slot.current.load().number != version.number;
        let attempts = if is_replaced { u32::MAX } else { version.handler.attempts().unwrap_or(retries.attempts) };
        let retry = if is_replaced { Retry::Later } else { error.retry };
        let how = courier.failed(number, retry, attempts, now, &retries, fastrand::f64());
        let attempt = courier.attempts(number).max(1);
        let error = described(&error, courier, &retries);
        standing.fail(&error, how.is_some(), now.monotonic_ns);
        self.outbox.log(Entry::Attempted {
            id: alert.id.clone(),
            handler: self.name.clone(),
            at_ms: now.unix_ns / 1_000_000,
            error: redact(&error).into_owned(),
        });
        match how {
            Some(how) => {
                tracing::error!(handler = %self.name, alert = %alert.id, "alert given up: {error}");
                self.outbox.settle(&self.name, &alert.id, how);
            }
            None => {
                self.outbox.rest(&self.name);
                tracing::warn!(
                    handler = %self.name, alert = %alert.id, attempt, "delivery failed, trying again: {error}"
                );
            }
        }
    }

    /// Runs one attempt in its own task, so that a panic fails only this attempt. The task is aborted with this future.
    async fn attempt(
        &self,
        version: &Version,
        alert: Arc<Alert>,
        renewed: Pin<&mut Notified<'_>>,
    ) -> Result<(), DeliveryError> {
        let (limit, handler) = (version.handler.timeout(), version.handler.clone());
        // A version replaced during a delivery gets this much more time, whatever its own timeout.
        let replaced = async {
            renewed.await;
            loop {
                // Created before the check, as above. A wake that is no replacement gives it no end.
                let again = self.slot.replaced();
                if self.slot.current.load().number != version.number {
                    break;
                }
                again.await;
            }
            time::sleep(ATTEMPT_MAX).await;
        };
        let mut task = JoinSet::new();
        task.spawn(async move { handler.deliver(&alert).await });
        let message = tokio::select! {
            ended = task.join_next() => match ended {
                Some(Ok(result)) => return result,
                // It would do so again.
                _ => return Err(DeliveryError { message: "the handler panicked".to_owned(), retry: Retry::Fault }),
            },
            () = wait(limit) => format!("no answer within {}", seconds(limit.unwrap_or_default())),
            () = replaced => format!("replaced, and no answer within {} since", seconds(ATTEMPT_MAX)),
        };
        Err(DeliveryError { message, retry: Retry::Later })
    }

    /// Seconds since the capture of the alert's frame.
    fn age_s(&self, alert: &Alert) -> f64 {
        since_epoch(&alert.time)
            .map_or(0.0, |captured| Duration::from_nanos(self.clock.unix_ns()).saturating_sub(captured).as_secs_f64())
    }
}

/// An error's text. If the handler pauses between alerts, it adds that, and what to check.
fn described(error: &DeliveryError, courier: &Courier, retries: &Retries) -> String {
    if courier.is_stuck(error.retry, retries) {
        let why = match error.retry {
            Retry::Fault => "failed in the handler itself: check its script or code",
            _ => "were refused: check the address and what the receiver takes",
        };
        return format!(
            "{error}; {REFUSED_MAX} alerts in a row {why}; one alert is tried at a time until one is taken, and the \
             others wait"
        );
    }
    match courier.rests() {
        true => format!(
            "{error}; one alert every {} s is tried until its settings change, so that no account is locked, and the \
             others wait",
            LOGIN_PAUSE.as_secs()
        ),
        false => error.to_string(),
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
