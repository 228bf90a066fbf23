//! What a handler does on a day.

use std::sync::Arc;
use std::time::Duration;

use super::super::planted::Planted;
use super::{HANDLERS, Process, World};
use crate::alert::courier::{Retries, Step};
use crate::alert::{Retry, Settlement};
use crate::types::{Alert, AlertId};

/// How long an alert is of use, if it says so.
fn of_use(alert: &Alert) -> Option<Duration> {
    alert.expires_seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

impl World {
    /// Lets a handler go on. Returns when it has something to do again, if it waits.
    pub(super) fn deliver(&mut self, process: &mut Process, handler: usize) -> Result<Option<u64>, String> {
        let (outbox, name, now) = (process.outbox.clone(), HANDLERS[handler], self.now());
        let courier = &mut process.couriers[handler];
        let mut retries = Retries::of(&self.plan);
        if self.planted == Some(Planted::ExpiredEarly) {
            retries.max_age /= 100;
        }
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
                let key = (handler, alert.id.clone());
                let sent = match self.planted {
                    Some(Planted::NewIdAtRetry) if self.failures.contains_key(&key) => {
                        Arc::new(Alert { id: AlertId::new(0, [9; 10]), ..(*alert).clone() })
                    }
                    _ => alert.clone(),
                };
                let result = self.receivers[handler].answer(&sent);
                let is_lie = self.planted == Some(Planted::TemporaryFailureSettled) && result == Err(Retry::Later);
                match result {
                    Err(retry) if !is_lie => {
                        let tries = self.failures.entry(key).or_default();
                        *tries += 1;
                        let attempts = if self.planted == Some(Planted::GivenUpEarly) { 1 } else { self.plan.attempts };
                        match courier.failed(head.number, retry, attempts, now, &retries, self.rng.f64()) {
                            Some(how) if *tries < self.plan.attempts => {
                                return Err(format!("{} is {how:?} after {tries} attempts", alert.id));
                            }
                            Some(how) => {
                                self.given_up.insert((name.to_owned(), alert.id.clone()));
                                outbox.settle(name, &alert.id, how);
                            }
                            None => outbox.rest(name),
                        }
                    }
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
}
