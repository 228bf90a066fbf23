//! One attempt of a handler, in a day.

use std::sync::Arc;
use std::time::Duration;

use super::super::courier::{Head, Retries, Step};
use super::super::{Retry, Settlement};
use super::clock::{self, SECOND};
use super::planted::Planted;
use super::world::{HANDLERS, Process, World};
use crate::types::{Alert, AlertId};

/// How long an attempt waits for its answer, which a handler limits.
const ANSWER_MAX_NS: u64 = 10 * SECOND;

/// How long an alert is of use, if it says so.
fn of_use(alert: &Alert) -> Option<Duration> {
    alert.expires_seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

/// An attempt that has no answer yet.
pub(super) struct Hanging {
    head: Head,
    alert: Arc<Alert>,
    until_ns: u64,
}

impl World {
    /// Lets a handler go on. Returns when it has something to do again, if it waits.
    pub(super) fn deliver(&mut self, process: &mut Process, handler: usize) -> Result<Option<u64>, String> {
        let (outbox, name, now) = (process.outbox.clone(), HANDLERS[handler], clock::now(&self.clock));
        if let Some(hanging) = process.hanging[handler].take_if(|hanging| hanging.until_ns <= now.monotonic_ns) {
            return self.failed(process, handler, &hanging.head, &hanging.alert, Retry::Later).map(|()| None);
        }
        if let Some(hanging) = &process.hanging[handler] {
            return Ok(Some(hanging.until_ns));
        }
        let (courier, retries) = (&mut process.couriers[handler], self.retries());
        let step = match self.planted {
            Some(Planted::OutdatedDelivered) => courier.next(&outbox.heads(name), now, &retries),
            _ => outbox.next_step(name, courier, now, &retries),
        };
        match step {
            Step::Deliver(head) => {
                let alert = outbox.begin(name, &head).ok_or("a head is no open alert")?;
                let accepted_ns = self.accepted_ns.get(&alert.id).copied().unwrap_or(now.unix_ns);
                let age = Duration::from_nanos(now.unix_ns.saturating_sub(accepted_ns));
                if of_use(&alert).is_some_and(|of_use| age >= of_use) {
                    return Err(format!("{} is delivered at an age of {age:?}", alert.id));
                }
                let sent = match self.planted {
                    Some(Planted::NewIdAtRetry) if self.failures.contains_key(&(handler, alert.id.clone())) => {
                        Arc::new(Alert { id: AlertId::new(0, [9; 10]), ..(*alert).clone() })
                    }
                    _ => alert.clone(),
                };
                let result = self.receivers[handler].answer(&sent);
                let is_lie = self.planted == Some(Planted::TemporaryFailureSettled) && result == Err(Retry::Later);
                match result {
                    Err(Retry::Later) if self.receivers[handler].hangs() && !is_lie => {
                        let until_ns = now.monotonic_ns + ANSWER_MAX_NS;
                        process.hanging[handler] = Some(Hanging { head, alert, until_ns });
                    }
                    Err(retry) if !is_lie => self.failed(process, handler, &head, &alert, retry)?,
                    _ => {
                        courier.succeeded(head.number, now);
                        outbox.settle(name, &alert.id, Settlement::Delivered);
                    }
                }
            }
            Step::Expire(head) => {
                let accepted_ns = self.accepted_ns.get(&head.id).copied().ok_or("an alert that was never accepted")?;
                let age = Duration::from_nanos(now.unix_ns.saturating_sub(accepted_ns / 1_000_000 * 1_000_000));
                let alert = outbox.begin(name, &head).ok_or("what expires is no open alert")?;
                if age < of_use(&alert).map_or(self.plan.max_age, |of_use| of_use.min(self.plan.max_age)) {
                    return Err(format!("{} expired at an age of {age:?}", head.id));
                }
                self.given_up.insert((name.to_owned(), head.id.clone()));
                outbox.settle(name, &head.id, Settlement::Expired);
            }
            Step::Wait(until_ns) => return Ok(Some(until_ns)),
            Step::Idle => return Ok(Some(u64::MAX)),
        }
        Ok(None)
    }

    fn retries(&self) -> Retries {
        let mut retries = Retries::of(&self.plan);
        match self.planted {
            Some(Planted::ExpiredEarly) => retries.max_age /= 100,
            Some(Planted::QueueEmptied) => retries.max_age = Duration::ZERO,
            _ => {}
        }
        retries
    }

    /// An attempt failed.
    fn failed(
        &mut self,
        process: &mut Process,
        handler: usize,
        head: &Head,
        alert: &Alert,
        retry: Retry,
    ) -> Result<(), String> {
        let (name, retries, now) = (HANDLERS[handler], self.retries(), clock::now(&self.clock));
        let tries = self.failures.entry((handler, alert.id.clone())).or_default();
        *tries += 1;
        let attempts = if self.planted == Some(Planted::GivenUpEarly) { 1 } else { self.plan.attempts };
        let courier = &mut process.couriers[handler];
        match courier.failed(head.number, retry, attempts, now, &retries, self.rng.f64()) {
            Some(how) if *tries < self.plan.attempts => {
                return Err(format!("{} is {how:?} after {tries} attempts", alert.id));
            }
            Some(how) => {
                self.receivers[handler].lose(retry)?;
                self.given_up.insert((name.to_owned(), alert.id.clone()));
                process.outbox.settle(name, &alert.id, how);
            }
            None => process.outbox.rest(name),
        }
        Ok(())
    }
}
