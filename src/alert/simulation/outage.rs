//! A receiver that is away for a day: it refuses connections, hangs, breaks off its answers or asks to wait. Another
//! one is there all the time.
//!
//! Each attempt takes place exactly when it should: after the n-th failure in a row at a random part of the first
//! bound, doubled n times, or as the receiver asked; after the outage twenty milliseconds after the former one, which
//! is fifty a second, until the queue is empty. Nothing is lost, each line stays in order, and critical alerts are
//! ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::courier::{Courier, Head, Now, Retries, Step};
use super::super::policy::tests::plan;
use super::super::{Gate, Order, Outbox, Retry, Settlement};
use super::clock::{self, SECOND};
use super::planted::Planted;
use super::world::{HANDLERS, SOURCES, raised};
use crate::config::{AlertFilter, AlertPlan};
use crate::telemetry::Metrics;
use crate::types::{Alert, AlertId, Clock as _, Frame, Level, TestClock};

const HOUR: u64 = 3_600 * SECOND;
/// The receiver is away from the beginning until then.
const AWAY: u64 = 24 * HOUR;
const ALERTS: u64 = 200;
/// And so many once the receiver is back.
const ALERTS_MORE: u64 = 20;
/// How long an attempt waits for an answer.
const ANSWER_MAX: u64 = 10 * SECOND;
const DRAIN_PAUSE: u64 = 20_000_000;
const ASKED_MAX: u64 = 300 * SECOND;
/// How exactly a random pause is checked.
const ROUNDING: u64 = 1_000;

/// A handler as it should be.
struct Handler {
    name: &'static str,
    is_away: bool,
    courier: Courier,
    /// The attempt without an answer, until it ends.
    hanging: Option<(u64, Head)>,
    /// The earliest time of the next attempt.
    due_ns: u64,
    /// Since when something waits for it.
    waits_ns: Option<u64>,
    failures: i32,
    drains: bool,
    /// What it delivered, in order, with the times.
    got: Vec<(u64, Arc<Alert>)>,
    attempts: u64,
}

pub(super) fn day(seed: u64, planted: Option<Planted>) -> Result<(), String> {
    let mut site = Site::new(seed, planted);
    let accepted = site.play()?;
    for handler in &site.handlers {
        arrived(handler, &accepted)?;
    }
    let [hook, mail] = &site.handlers;
    if let Some((at_ns, alert)) = mail.got.iter().find(|(at_ns, alert)| *at_ns != accepted[&alert.id].0) {
        return Err(format!("{} came at {at_ns} ns by the handler that works", alert.id));
    }
    drained(hook, &accepted)
}

/// Alerts by id, with the time of acceptance and their number.
type Accepted = BTreeMap<AlertId, (u64, usize)>;

struct Site {
    rng: Rng,
    plan: AlertPlan,
    planted: Option<Planted>,
    clock: Arc<TestClock>,
    outbox: Arc<Outbox>,
    gates: Vec<Gate>,
    handlers: [Handler; 2],
}

impl Site {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = AlertPlan {
            throttle: Duration::ZERO,
            retry_delay: Duration::from_millis(rng.u64(100..5_000)),
            max_retry_delay: Duration::from_secs([60, 300, 1_800][rng.usize(..3)]),
            max_age: Duration::from_nanos(2 * AWAY),
            // Only alerts that fail alone are counted; none does.
            attempts: 2,
            ..plan()
        };
        let clock = clock::start();
        let metrics = Metrics::new(clock.clone());
        let outbox = Outbox::new(&plan, metrics.clone(), Arc::new(|_| ()), None);
        let gate = |source: &&str| Gate::new(&plan, &(*source).into(), &outbox, &metrics).joined(Order::Arrival);
        let gates = SOURCES.iter().map(gate).collect();
        let handlers = HANDLERS.map(|name| {
            drop(outbox.add(name, &AlertFilter::default()));
            Handler::new(name)
        });
        Self { rng, plan, planted, clock, outbox, gates, handlers }
    }

    fn play(&mut self) -> Result<Accepted, String> {
        let mut times: Vec<u64> = (0..ALERTS).map(|_| self.rng.u64(..AWAY + HOUR)).collect();
        times.sort_unstable();
        let (mut accepted, mut next, mut is_back) = (Accepted::new(), 0, false);
        loop {
            let now_ns = self.clock.monotonic_ns();
            self.handlers[0].is_away = now_ns < AWAY;
            let mut wake_ns = if now_ns < AWAY { AWAY } else { u64::MAX };
            for at in 0..self.handlers.len() {
                wake_ns = wake_ns.min(self.turn(at)?);
            }
            if !is_back && !self.handlers[0].got.is_empty() {
                // Others come while the queue drains.
                is_back = true;
                times.extend((0..ALERTS_MORE).map(|_| now_ns + self.rng.u64(..3 * SECOND)));
                times[next..].sort_unstable();
            }
            let wake_ns = times.get(next).map_or(wake_ns, |time_ns| wake_ns.min(*time_ns));
            if wake_ns == u64::MAX {
                return Ok(accepted);
            }
            self.clock.pass_to(wake_ns);
            while times.get(next).is_some_and(|time_ns| *time_ns <= wake_ns) {
                let id = self.raise(next as u64)?;
                accepted.insert(id, (wake_ns, next));
                next += 1;
            }
        }
    }

    fn raise(&mut self, seq: u64) -> Result<AlertId, String> {
        let at = self.rng.usize(..SOURCES.len());
        let (pts_ns, captured_unix_ns) = (self.clock.monotonic_ns(), self.clock.unix_ns());
        let frame = Frame { pts_ns, captured_unix_ns, ..Frame::empty(SOURCES[at], seq) };
        let raised = raised("r", &self.rng.u32(..5).to_string());
        let alert = self.gates[at].raise(&raised, &frame).ok_or("an alert below the capacity is not accepted")?;
        for handler in &mut self.handlers {
            handler.waits_ns.get_or_insert(pts_ns);
        }
        Ok(alert.id.clone())
    }

    /// Lets a handler go on until it waits. Returns until when.
    fn turn(&mut self, at: usize) -> Result<u64, String> {
        let Self { rng, plan, planted, clock, outbox, handlers, .. } = self;
        let handler = &mut handlers[at];
        loop {
            let (now, retries) = (clock::now(clock), retries(plan, *planted));
            match handler.hanging.take() {
                Some((until_ns, head)) if until_ns > now.monotonic_ns => {
                    handler.hanging = Some((until_ns, head));
                    return Ok(until_ns);
                }
                Some((_, head)) => handler.fail(&head, Retry::Later, plan, &retries, (now, rng.f64()), outbox)?,
                None => {}
            }
            match handler.courier.next(&outbox.heads(handler.name), now, &retries) {
                Step::Deliver(head) => {
                    let alert = outbox.begin(handler.name, &head).ok_or("a head is no open alert")?;
                    handler.tries(now.monotonic_ns)?;
                    match (handler.is_away, rng.u32(..4)) {
                        (true, 0) => handler.hanging = Some((now.monotonic_ns + ANSWER_MAX, head)),
                        (true, 1) => {
                            let asked = Retry::After(Duration::from_secs(rng.u64(..1_000)));
                            handler.fail(&head, asked, plan, &retries, (now, rng.f64()), outbox)?;
                        }
                        (true, _) => handler.fail(&head, Retry::Later, plan, &retries, (now, rng.f64()), outbox)?,
                        (false, _) => {
                            if *planted == Some(Planted::DrainedAtOnce) {
                                handler.courier.renew();
                            }
                            handler.courier.succeeded(head.number, now);
                            outbox.settle(handler.name, &alert.id, Settlement::Delivered);
                            let is_empty = outbox.heads(handler.name).is_empty();
                            handler.succeed(now.monotonic_ns, alert, is_empty);
                        }
                    }
                }
                Step::Expire(head) => return Err(format!("{} expired", head.id)),
                Step::Wait(until_ns) if until_ns > now.monotonic_ns => return Ok(until_ns),
                Step::Wait(_) => return Err(format!("{} waits for a time that has passed", handler.name)),
                Step::Idle => return Ok(u64::MAX),
            }
        }
    }
}

fn retries(plan: &AlertPlan, planted: Option<Planted>) -> Retries {
    let retries = Retries::of(plan);
    match planted {
        Some(Planted::RetriedEarly) => Retries { max_delay: retries.delay, ..retries },
        _ => retries,
    }
}

impl Handler {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            is_away: false,
            courier: Courier::default(),
            hanging: None,
            due_ns: 0,
            waits_ns: None,
            failures: 0,
            drains: false,
            got: Vec::new(),
            attempts: 0,
        }
    }

    /// An attempt begins: neither early nor late.
    fn tries(&mut self, now_ns: u64) -> Result<(), String> {
        self.attempts += 1;
        let waits_ns = self.waits_ns.ok_or("an attempt, and nothing waits")?;
        let due_ns = self.due_ns.max(waits_ns);
        match now_ns.abs_diff(due_ns) <= ROUNDING {
            true => Ok(()),
            false => Err(format!("attempt {} of {} at {now_ns} ns, not at {due_ns}", self.attempts, self.name)),
        }
    }

    fn succeed(&mut self, now_ns: u64, alert: Arc<Alert>, is_empty: bool) {
        self.drains |= self.failures >= 2;
        self.due_ns = if self.drains { now_ns + DRAIN_PAUSE } else { now_ns };
        self.failures = 0;
        if is_empty {
            (self.drains, self.waits_ns) = (false, None);
        }
        self.got.push((now_ns, alert));
    }

    fn fail(
        &mut self,
        head: &Head,
        retry: Retry,
        plan: &AlertPlan,
        retries: &Retries,
        (now, chance): (Now, f64),
        outbox: &Outbox,
    ) -> Result<(), String> {
        let pause_ns = match retry {
            Retry::After(asked) => (asked.as_nanos() as u64).clamp(plan.retry_delay.as_nanos() as u64, ASKED_MAX),
            _ => {
                let bound_s = plan.retry_delay.as_secs_f64() * 2_f64.powi(self.failures);
                let pause_s = bound_s.min(plan.max_retry_delay.as_secs_f64()) * chance;
                (pause_s.max(0.01) * 1e9) as u64
            }
        };
        self.failures += 1;
        self.due_ns = now.monotonic_ns + pause_ns;
        match self.courier.failed(head.number, retry, plan.attempts, now, retries, chance) {
            Some(how) => return Err(format!("{} is {how:?}, and the receiver was only away", head.id)),
            None => outbox.rest(self.name),
        }
        Ok(())
    }
}

/// Everything arrived once, each line in order.
fn arrived(handler: &Handler, accepted: &Accepted) -> Result<(), String> {
    let ids: BTreeSet<&AlertId> = handler.got.iter().map(|(_, alert)| &alert.id).collect();
    if ids.len() != accepted.len() || handler.got.len() != accepted.len() {
        return Err(format!("{} of {} alerts arrived by {}", ids.len(), accepted.len(), handler.name));
    }
    let mut last: BTreeMap<(&str, Level), usize> = BTreeMap::new();
    for (_, alert) in &handler.got {
        let (_, number) = accepted[&alert.id];
        let former = last.insert((alert.source.as_str(), alert.level), number);
        if former.is_some_and(|former| former > number) {
            return Err(format!("{} arrived after a later alert of its line by {}", alert.id, handler.name));
        }
    }
    Ok(())
}

/// What waited for the receiver came at a bounded rate, without a gap, and but for the alert that found it there, the
/// critical ones first.
fn drained(hook: &Handler, accepted: &Accepted) -> Result<(), String> {
    let waited = |(at_ns, alert): &&(u64, Arc<Alert>)| accepted[&alert.id].0 < AWAY.min(*at_ns);
    let backlog: Vec<&(u64, Arc<Alert>)> = hook.got.iter().filter(waited).collect();
    let Some(((first_ns, _), (last_ns, _))) = backlog.first().zip(backlog.last()) else { return Ok(()) };
    let (took_ns, most_ns) = (last_ns - first_ns, (backlog.len() as u64 + ALERTS + ALERTS_MORE) * DRAIN_PAUSE);
    if took_ns < (backlog.len() as u64 - 1) * DRAIN_PAUSE || took_ns > most_ns {
        return Err(format!("{} alerts were drained in {took_ns} ns", backlog.len()));
    }
    let is_critical = |(_, alert): &&(u64, Arc<Alert>)| alert.level == Level::Critical;
    let critical = backlog.iter().skip(1).filter(|one| is_critical(one)).count();
    match backlog.iter().skip(1).take(critical).find(|one| !is_critical(one)) {
        Some((_, alert)) => Err(format!("{} was drained before a critical one", alert.id)),
        None => Ok(()),
    }
}
