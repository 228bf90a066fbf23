//! One day: what happens, step by step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;

use super::super::courier::Courier;
use super::super::policy::tests::plan;
use super::super::{Entry, Gate, Order, Outbox, Settlement};
use super::check;
use super::clock::{self, SECOND};
use super::deliver::Hanging;
use super::disk::{Disk, Write};
use super::network::Receiver;
use super::planted::Planted;
use crate::config::{AlertFilter, AlertPlan, WhenFull};
use crate::telemetry::Metrics;
use crate::types::{Alert, AlertId, Clock as _, Frame, Level, Raised, SourceId, TestClock};

pub(super) const SOURCES: [&str; 3] = ["dock", "gate", "yard"];
pub(super) const HANDLERS: [&str; 2] = ["hook", "mail"];
const STEPS: usize = 200;
/// The key whose alerts are critical.
pub(super) const CRITICAL: &str = "4";
/// The key whose alerts are of use for a while.
const OF_PASSING_USE: &str = "3";
/// How long they are.
const EXPIRES_SECONDS: u32 = 30;

/// What a rule raises: a critical alert for one of the keys.
pub(super) fn raised(rule: &str, key: &str) -> Raised {
    let level = Some(if key == CRITICAL { Level::Critical } else { Level::Medium });
    Raised { rule: rule.into(), level, key: key.into(), message: "m".to_owned(), ..Raised::default() }
}

/// A draft that a rule raised.
pub(super) struct Draft {
    pub(super) source: SourceId,
    pub(super) key: String,
    pub(super) rule: String,
    pub(super) pts_ns: u64,
}

/// What one process did.
#[derive(Default)]
pub(super) struct Life {
    pub(super) raised: Vec<Draft>,
    /// The alerts that were sent, with the time of the decision.
    pub(super) decided: Vec<(u64, Arc<Alert>)>,
    /// How many of them were sent before the sources left; then what was held back is sent at once.
    pub(super) running: Option<usize>,
    /// Whether it ended in good order, and nothing was refused in it.
    pub(super) is_whole: bool,
}

/// What is running.
pub(super) struct Process {
    pub(super) outbox: Arc<Outbox>,
    gates: Vec<Gate>,
    pub(super) couriers: [Courier; 2],
    /// Attempts that have no answer yet.
    pub(super) hanging: [Option<Hanging>; 2],
    /// Entries that wait to be written, and those of a write that failed, which come first.
    queue: VecDeque<Entry>,
    failed: Vec<Entry>,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) plan: AlertPlan,
    pub(super) planted: Option<Planted>,
    pub(super) clock: Arc<TestClock>,
    seq: u64,
    pub(super) disk: Disk,
    pub(super) receivers: [Receiver; 2],
    /// The alerts that were shown as accepted.
    pub(super) accepted: Arc<Mutex<Vec<Arc<Alert>>>>,
    /// When each alert was accepted, on the wall clock.
    pub(super) accepted_ns: BTreeMap<AlertId, u64>,
    /// What a handler was done with undelivered: a crash may forget it, and the alert comes late.
    pub(super) given_up: BTreeSet<(String, AlertId)>,
    /// Failed attempts of each handler since the process began.
    pub(super) failures: BTreeMap<(usize, AlertId), u32>,
    pub(super) lives: Vec<Life>,
    pub(super) crashes: u32,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = AlertPlan {
            throttle: Duration::from_secs(10),
            burst_threshold: rng.u32(2..5),
            max_per_minute: rng.u32(2..9),
            attempts: rng.u32(2..5),
            retry_delay: Duration::from_secs(1),
            max_age: Duration::from_secs([600, 7_200, 86_400][rng.usize(..3)]),
            outbox_max: [5, 1_000][rng.usize(..2)],
            when_full: [WhenFull::DropLowestLevel, WhenFull::DropOldest][rng.usize(..2)],
            ..plan()
        };
        Self {
            rng,
            plan,
            planted,
            clock: clock::start(),
            seq: 0,
            disk: Disk::default(),
            receivers: [Receiver::new(), Receiver::new()],
            accepted: Arc::default(),
            accepted_ns: BTreeMap::new(),
            given_up: BTreeSet::new(),
            failures: BTreeMap::new(),
            lives: Vec::new(),
            crashes: 0,
        }
    }

    /// Plays the day. Returns what is wrong with it.
    pub(super) fn play(mut self) -> Result<(), String> {
        let ends = [self.rng.usize(1..STEPS / 2), self.rng.usize(STEPS / 2..STEPS)];
        let mut process = self.start()?;
        for step in 0..STEPS {
            if ends.contains(&step) {
                self.end(process)?;
                process = self.start()?;
            }
            self.step(&mut process)?;
            let totals = process.outbox.totals();
            if totals.pending() != process.outbox.open() as u64 {
                return Err(format!("step {step}: {} alerts are open: {totals:?}", process.outbox.open()));
            }
        }
        self.finish(process)?;
        check::day(&self)
    }

    fn start(&mut self) -> Result<Process, String> {
        let metrics = Metrics::new(self.clock.clone());
        let accepted = self.accepted.clone();
        let shown = Arc::new(move |alert: &Arc<Alert>| accepted.lock().push(alert.clone()));
        let (wake, _woken) = crossbeam_channel::bounded(1);
        let outbox = Outbox::new(&self.plan, metrics.clone(), shown, Some(wake));
        HANDLERS.iter().for_each(|name| drop(outbox.add(name, &AlertFilter::default())));
        let left = self.disk.recover(self.planted);
        let count = left.len() as u64;
        outbox.recover(left);
        outbox.settle_absent();
        if outbox.totals().recovered != count {
            return Err(format!("{count} alerts are open, {} are recovered", outbox.totals().recovered));
        }
        let mut plan = self.plan.clone();
        match self.planted {
            Some(Planted::RateIgnored) => plan.max_per_minute = 0,
            Some(Planted::ThrottleIgnored) => plan.throttle = Duration::ZERO,
            _ => {}
        }
        outbox.set_plan(&plan);
        let gate = |source: &&str| Gate::new(&plan, &(*source).into(), &outbox, &metrics).joined(Order::Arrival);
        let gates = SOURCES.iter().map(gate).collect();
        self.failures.clear();
        self.receivers.iter_mut().for_each(|receiver| receiver.lost = 0);
        self.lives.push(Life { is_whole: true, ..Life::default() });
        let (couriers, hanging) = Default::default();
        Ok(Process { outbox, gates, couriers, hanging, queue: VecDeque::new(), failed: Vec::new() })
    }

    /// A restart, in good order or not.
    fn end(&mut self, mut process: Process) -> Result<(), String> {
        if self.rng.bool() {
            self.leave(&mut process);
            while self.write(&mut process, Write::Done) {}
            self.life().is_whole = process.outbox.totals().refused == 0;
            return Ok(());
        }
        self.crashes += 1;
        self.life().is_whole = false;
        // The last batch may have reached the disk.
        if self.rng.bool() {
            let batch = self.batch(&mut process);
            self.disk.write(&batch, Write::Unreported, self.planted);
        }
        process.gates.clear();
        Ok(())
    }

    /// Removes the sources, which sends what is held back.
    fn leave(&mut self, process: &mut Process) {
        let running = self.life().decided.len();
        self.life().running = Some(running);
        if self.planted == Some(Planted::BurstLost) {
            process.gates.drain(..).for_each(std::mem::forget);
        }
        process.gates.clear();
        process.outbox.send_held();
        self.take(process);
    }

    fn life(&mut self) -> &mut Life {
        self.lives.last_mut().expect("a process has started")
    }

    fn step(&mut self, process: &mut Process) -> Result<(), String> {
        match self.rng.u32(..100) {
            0..45 => self.frame(process),
            45..65 => {
                let how = [Write::Done, Write::Done, Write::Done, Write::Failed, Write::Unreported];
                let how = how[self.rng.usize(..how.len())];
                self.write(process, how);
            }
            65..90 => {
                let handler = self.rng.usize(..HANDLERS.len());
                self.deliver(process, handler)?;
            }
            90..94 => {
                let handler = self.rng.usize(..HANDLERS.len());
                self.receivers[handler].change(&mut self.rng);
            }
            94..98 => {
                let seconds = [1, 30, 70, 400][self.rng.usize(..4)];
                let ns = self.rng.u64(..seconds * SECOND);
                self.clock.pass(ns);
                process.outbox.tick(self.clock.monotonic_ns());
                process.gates.iter_mut().for_each(Gate::idle);
                self.take(process);
            }
            // Somebody sets the wall clock.
            _ if self.rng.bool() => self.clock.set_back(3_600 * SECOND),
            _ => self.clock.set_ahead(3_600 * SECOND),
        }
        Ok(())
    }

    fn frame(&mut self, process: &mut Process) {
        let ns = self.rng.u64(..2 * SECOND);
        self.clock.pass(ns);
        let at = self.rng.usize(..SOURCES.len());
        self.seq += 1;
        let frame = Frame {
            pts_ns: self.clock.monotonic_ns(),
            captured_unix_ns: self.clock.unix_ns(),
            ..Frame::empty(SOURCES[at], self.seq)
        };
        let gate = &mut process.gates[at];
        gate.begin(&frame);
        for _ in 0..self.rng.u32(..4) {
            let (rule, key) = (["r", "s"][self.rng.usize(..2)], self.rng.u32(..5).to_string());
            let mut raised = raised(rule, &key);
            raised.expires_seconds = (key == OF_PASSING_USE).then_some(EXPIRES_SECONDS);
            if self.planted == Some(Planted::CriticalLowered) {
                raised.level = Some(Level::Medium);
            }
            gate.raise(&raised, &frame);
            let draft = Draft { source: SOURCES[at].into(), key, rule: rule.into(), pts_ns: frame.pts_ns };
            self.lives.last_mut().expect("a process has started").raised.push(draft);
        }
        gate.judged(&frame);
        self.take(process);
    }

    /// Takes what the outbox wants to have written.
    fn take(&mut self, process: &mut Process) {
        let now = clock::now(&self.clock);
        for entry in process.outbox.take_unwritten(usize::MAX) {
            if let Entry::Accepted { alert, .. } = &entry {
                self.accepted_ns.insert(alert.id.clone(), now.unix_ns);
                self.life().decided.push((now.monotonic_ns, alert.clone()));
            }
            if let Entry::Settled { id, handler, how } = &entry
                && *how != Settlement::Delivered
            {
                self.given_up.insert((handler.to_string(), id.clone()));
            }
            process.queue.push_back(entry);
        }
    }

    /// The next batch: one that failed comes again as it was.
    fn batch(&mut self, process: &mut Process) -> Vec<Entry> {
        if !process.failed.is_empty() {
            return std::mem::take(&mut process.failed);
        }
        let most = self.rng.usize(1..40).min(process.queue.len());
        process.queue.drain(..most).collect()
    }

    /// Writes a batch; `false` if there is none.
    fn write(&mut self, process: &mut Process, how: Write) -> bool {
        self.take(process);
        let batch = self.batch(process);
        if batch.is_empty() {
            return false;
        }
        let is_done = self.disk.write(&batch, how, self.planted);
        if is_done || self.planted == Some(Planted::FailedWriteAcknowledged) {
            process.outbox.written(&batch);
        } else {
            process.failed = batch;
        }
        true
    }

    /// The rest of the day is quiet: everything works.
    fn finish(&mut self, mut process: Process) -> Result<(), String> {
        self.leave(&mut process);
        self.receivers.iter_mut().for_each(|receiver| receiver.mood = super::network::Mood::Up);
        for _ in 0..100_000 {
            while self.write(&mut process, Write::Done) {}
            if process.outbox.open() == 0 {
                self.life().is_whole = process.outbox.totals().refused == 0;
                return Ok(());
            }
            let mut next_ns = u64::MAX;
            for handler in 0..HANDLERS.len() {
                match self.deliver(&mut process, handler)? {
                    Some(until_ns) => next_ns = next_ns.min(until_ns),
                    None => next_ns = 0,
                }
            }
            if next_ns == u64::MAX {
                return Err(format!("{} alerts are open, and nobody tries them", process.outbox.open()));
            }
            self.clock.pass(next_ns.saturating_sub(self.clock.monotonic_ns()));
        }
        Err("the queues are never empty".into())
    }
}
