//! Sources that end, judged by one, two and eight workers. Each worker takes a frame of some source and needs some time
//! for it; a lane judges its source's frames in order.
//!
//! Byte for byte the same, whatever the schedule: the alerts that are accepted and their order, what the log says of
//! each draft, the counts, and what each handler gets of each line, in order. Not the same: when a handler gets an
//! alert, and so which of its lines is ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::courier::{Courier, Retries, Step};
use super::super::policy::tests::plan;
use super::super::{Entry, Gate, Order, Outbox, Settlement};
use super::clock::{self, START_UNIX_NS};
use super::network::{Mood, Receiver};
use super::planted::Planted;
use super::world::{HANDLERS, SOURCES, raised};
use crate::config::{AlertFilter, AlertPlan};
use crate::telemetry::Metrics;
use crate::types::{Clock as _, Frame, Level, Raised, TestClock};

const WORKERS: [usize; 3] = [1, 2, 8];
/// Frames of each source.
const FRAMES: u64 = 70;
/// Frames of a source that are on their way at once.
const TICKETS: usize = 4;
const MS: u64 = 1_000_000;

/// A frame, and what its rules raise on it.
struct Shot {
    frame: Frame,
    drafts: Vec<Raised>,
}

/// What happens in front of the cameras.
struct Street {
    seed: u64,
    plan: AlertPlan,
    order: Order,
    shots: [Vec<Shot>; 3],
}

/// What became of it.
#[derive(Debug, Default, PartialEq)]
struct Told {
    accepted: Vec<String>,
    decided: BTreeSet<String>,
    totals: String,
    /// By handler, source, and whether it is critical.
    delivered: BTreeMap<(&'static str, String, bool), Vec<String>>,
}

pub(super) fn day(seed: u64, planted: Option<Planted>) -> Result<(), String> {
    let street = Street::new(seed);
    let [alone, others @ ..] = WORKERS.map(|workers| Play::new(&street, workers, planted).play());
    let alone = alone?;
    for (workers, told) in WORKERS[1..].iter().zip(others) {
        let told = told?;
        if told != alone {
            let differs = told.accepted.iter().zip(&alone.accepted).find(|(one, other)| one != other);
            let counts = (told.accepted.len(), alone.accepted.len());
            return Err(format!("{workers} workers tell something else than one: {counts:?} alerts, {differs:?}"));
        }
    }
    Ok(())
}

impl Street {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = AlertPlan {
            throttle: Duration::from_secs(10),
            burst_threshold: rng.u32(2..5),
            max_per_minute: rng.u32(2..9),
            max_critical_per_minute: rng.u32(0..3),
            // No alert may be given up: when a receiver is away depends on the schedule.
            attempts: u32::MAX,
            retry_delay: Duration::from_secs(1),
            ..plan()
        };
        let order = [Order::Frame, Order::Capture][rng.usize(..2)];
        let shots = SOURCES.map(|source| {
            let (mut ns, step_ms) = (0, rng.u64(100..3_000));
            let shot = |seq| {
                ns += rng.u64(1..=step_ms) * MS;
                let captured_unix_ns = START_UNIX_NS + ns;
                let frame = Frame { pts_ns: ns, captured_unix_ns, ..Frame::empty(source, seq) };
                let drafts =
                    (0..rng.u32(..4)).map(|_| raised(["r", "s"][rng.usize(..2)], &rng.u32(..5).to_string())).collect();
                Shot { frame, drafts }
            };
            (0..FRAMES).map(shot).collect()
        });
        Self { seed, plan, order, shots }
    }
}

/// One run.
struct Play<'s> {
    street: &'s Street,
    workers: usize,
    /// The schedule's; what happens does not depend on it.
    rng: Rng,
    clock: Arc<TestClock>,
    outbox: Arc<Outbox>,
    gates: [Option<Gate>; 3],
    couriers: [Courier; 2],
    receivers: [Receiver; 2],
    told: Told,
}

impl<'s> Play<'s> {
    fn new(street: &'s Street, workers: usize, planted: Option<Planted>) -> Self {
        let clock = clock::start();
        let metrics = Metrics::new(clock.clone());
        let (wake, _woken) = crossbeam_channel::bounded(1);
        let outbox = Outbox::new(&street.plan, metrics.clone(), Arc::new(|_| ()), Some(wake));
        HANDLERS.iter().for_each(|name| drop(outbox.add(name, &AlertFilter::default())));
        let order = if planted == Some(Planted::WorkersTold) { Order::Arrival } else { street.order };
        let gate = |source: &str| Some(Gate::new(&street.plan, &source.into(), &outbox, &metrics).joined(order));
        Self {
            street,
            workers,
            rng: Rng::with_seed(street.seed ^ ((workers as u64) << 32)),
            clock,
            gates: SOURCES.map(gate),
            outbox,
            couriers: Default::default(),
            receivers: [Receiver::new(), Receiver::new()],
            told: Told::default(),
        }
    }

    fn play(mut self) -> Result<Told, String> {
        // What each worker is at: when it is done, and with which frame of which source.
        let mut busy: Vec<(u64, usize, usize)> = Vec::new();
        let (mut taken, mut judged) = ([0; 3], [0; 3]);
        let mut done: [BTreeSet<usize>; 3] = Default::default();
        loop {
            while busy.len() < self.workers {
                let has_credit = |at: &usize| taken[*at] < FRAMES as usize && taken[*at] - judged[*at] < TICKETS;
                let ready: Vec<usize> = (0..SOURCES.len()).filter(has_credit).collect();
                let Some(at) = self.rng.choice(ready) else { break };
                let slow = if self.rng.u32(..20) == 0 { 3_000 } else { 200 };
                busy.push((self.clock.monotonic_ns() + self.rng.u64(1..slow) * MS, at, taken[at]));
                taken[at] += 1;
            }
            let Some(first) = (0..busy.len()).min_by_key(|worker| busy[*worker]) else { break };
            let (ns, at, number) = busy.swap_remove(first);
            self.clock.pass_to(ns);
            done[at].insert(number);
            while done[at].remove(&judged[at]) {
                self.judge(at, judged[at]);
                judged[at] += 1;
            }
            self.deliver()?;
        }
        self.finish()
    }

    fn judge(&mut self, at: usize, number: usize) {
        let (shot, gate) = (&self.street.shots[at][number], &mut self.gates[at]);
        if let Some(gate) = gate {
            gate.begin(&shot.frame);
            for raised in &shot.drafts {
                gate.raise(raised, &shot.frame);
            }
            gate.judged(&shot.frame);
        }
        if number + 1 == FRAMES as usize {
            *gate = None;
        }
        self.outbox.tick(self.clock.monotonic_ns());
    }

    /// Writes what waits, and lets each handler try something, or not yet.
    fn deliver(&mut self) -> Result<(), String> {
        if self.rng.bool() {
            self.write();
        }
        for handler in 0..HANDLERS.len() {
            if self.rng.u32(..8) == 0 {
                let moods = [Mood::Up, Mood::Up, Mood::Away, Mood::Mute, Mood::Busy];
                self.receivers[handler].mood = moods[self.rng.usize(..moods.len())];
            }
            self.attempt(handler)?;
        }
        Ok(())
    }

    fn write(&mut self) {
        let batch = self.outbox.take_unwritten(usize::MAX);
        for entry in &batch {
            match entry {
                Entry::Accepted { alert, .. } => self.told.accepted.push(json(&**alert)),
                Entry::Decided(decided) => {
                    self.told.decided.insert(json(&**decided));
                }
                _ => {}
            }
        }
        self.outbox.written(&batch);
    }

    /// Returns when the handler has something to do again.
    fn attempt(&mut self, handler: usize) -> Result<u64, String> {
        let (name, now, retries) = (HANDLERS[handler], clock::now(&self.clock), Retries::of(&self.street.plan));
        let courier = &mut self.couriers[handler];
        let head = match courier.next(&self.outbox.heads(name), now, &retries) {
            Step::Deliver(head) => head,
            Step::Expire(head) => return Err(format!("{} expired", head.id)),
            Step::Wait(until_ns) => return Ok(until_ns),
            Step::Idle => return Ok(u64::MAX),
        };
        let alert = self.outbox.begin(name, &head).ok_or("a head is no open alert")?;
        match self.receivers[handler].answer(&alert) {
            Ok(()) => {
                courier.succeeded(head.number, now);
                self.outbox.settle(name, &alert.id, Settlement::Delivered);
                let line = (name, alert.source.to_string(), alert.level == Level::Critical);
                self.told.delivered.entry(line).or_default().push(json(&*alert));
            }
            Err(retry) => {
                let how = courier.failed(head.number, retry, u32::MAX, now, &retries, self.rng.f64());
                if how.is_some() {
                    return Err(format!("{} is given up", alert.id));
                }
                self.outbox.rest(name);
            }
        }
        Ok(now.monotonic_ns)
    }

    /// Every source has ended, and the receivers are there.
    fn finish(mut self) -> Result<Told, String> {
        self.outbox.send_held();
        self.receivers.iter_mut().for_each(|receiver| receiver.mood = Mood::Up);
        self.write();
        while self.outbox.open() > 0 {
            let next_ns = self.attempt(0)?.min(self.attempt(1)?);
            if next_ns == u64::MAX {
                return Err(format!("{} alerts are open, and nobody tries them", self.outbox.open()));
            }
            self.clock.pass_to(next_ns);
            self.write();
        }
        self.told.totals = format!("{:?}", self.outbox.totals());
        Ok(self.told)
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values without maps")
}
