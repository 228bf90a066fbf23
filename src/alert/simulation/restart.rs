//! Live sources whose process is restarted, on capture time: the same frames with and without restarts.
//!
//! Without limits on bursts and rates, the alerts are the same in source, rule, key, level, time and message, and in
//! order. These are not compared:
//! * The frame's number and time in its stream, and the id that depends on them: they begin anew with a process.
//! * The number of suppressed repeats that an alert reports: it is not kept for a condition that ended. It is never
//!   higher.
//! * Drafts that come just after the window of their condition. The simulated days have none. Not every raise is saved,
//!   so a killed process may leave a condition an eighth of the window and a second longer.
//! * What is sent after a wall clock was set back. Ages are at most the window; the simulation checks that a condition
//!   that was not raised for that long since the restart raises an alert.
//!
//! With limits, what a process holds back when it ends is sent at once, or lost with it and raised again. So only the
//! limit is checked: no minute has more alerts than it allows, with or without restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::policy::tests::plan;
use super::super::{Entry, Gate, Order, Outbox, Saved, SavedKind};
use super::clock::{self, SECOND};
use super::planted::Planted;
use super::world::{SOURCES, raised};
use crate::config::AlertPlan;
use crate::telemetry::Metrics;
use crate::types::{Alert, Clock as _, Frame, Level, TestClock};

const FRAMES: usize = 210;
const MS: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const WINDOW: u64 = 10 * SECOND;
/// A condition that was killed may last so much longer.
const SLACK: u64 = 3 * SECOND;

type Values = BTreeMap<(SavedKind, Arc<str>), Arc<str>>;
/// Source, rule and key.
type Condition = (usize, &'static str, u32);

/// A frame of a source, after a pause, and what its rules raise on it.
struct Shot {
    at: usize,
    wait_ns: u64,
    drafts: Vec<(&'static str, u32)>,
}

/// An end of the process, before a frame.
#[derive(Clone, Copy)]
struct Restart {
    before: usize,
    is_kill: bool,
    /// The wall clock is set back by an hour.
    sets_back: bool,
}

/// An alert that was sent.
struct Sent {
    at_ns: u64,
    alert: Arc<Alert>,
    /// The process has ended; what was held back is sent at once.
    is_rest: bool,
}

pub(super) fn day(seed: u64, planted: Option<Planted>) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut shots = shots(&mut rng);
    let mut restarts: Vec<Restart> = [1..FRAMES / 2, FRAMES / 2..FRAMES]
        .map(|range| Restart { before: rng.usize(range), is_kill: rng.bool(), sets_back: false })
        .into();
    let repeat = Duration::from_secs([0, 25][rng.usize(..2)]);
    let (min, unlimited) = (rng.u32(2..9), AlertPlan { throttle: Duration::from_nanos(WINDOW), repeat, ..plan() });
    let whole = play(&unlimited, &shots, &[], planted);
    let parted = play(&unlimited, &shots, &restarts, planted);
    same(&whole, &parted)?;
    let limited = AlertPlan { burst_threshold: rng.u32(2..5), max_per_minute: min, ..unlimited.clone() };
    within(&play(&limited, &shots, &restarts, planted), min as usize)?;
    // Long enough that a condition may end after the restart.
    restarts.truncate(1);
    restarts[0].sets_back = true;
    shots.iter_mut().skip(restarts[0].before).for_each(|shot| shot.wait_ns *= 4);
    let once = AlertPlan { repeat: Duration::ZERO, ..unlimited };
    released(&shots, restarts[0].before, &play(&once, &shots, &restarts, planted))
}

/// The frames of a day: no draft comes just after the window of its condition.
fn shots(rng: &mut Rng) -> Vec<Shot> {
    let (mut now_ns, mut last) = (0, BTreeMap::<Condition, u64>::new());
    let shot = |_| {
        let (at, wait_ns) = (rng.usize(..SOURCES.len()), rng.u64(1..2_000) * MS);
        now_ns += wait_ns;
        let drafts = (0..rng.u32(..4)).filter_map(|_| {
            let (rule, key) = (["r", "s"][rng.usize(..2)], rng.u32(..5));
            let gap_ns = last.get(&(at, rule, key)).map(|last_ns| now_ns - last_ns);
            if gap_ns.is_some_and(|gap_ns| (WINDOW..WINDOW + SLACK).contains(&gap_ns)) {
                return None;
            }
            last.insert((at, rule, key), now_ns);
            Some((rule, key))
        });
        Shot { at, wait_ns, drafts: drafts.collect() }
    };
    (0..FRAMES).map(shot).collect()
}

/// One process.
struct Process {
    outbox: Arc<Outbox>,
    gates: Vec<Gate>,
    began_ns: u64,
    seq: u64,
}

impl Process {
    fn start(plan: &AlertPlan, clock: &Arc<TestClock>, values: &Values, planted: Option<Planted>) -> Self {
        let metrics = Metrics::new(clock.clone());
        let (wake, _woken) = crossbeam_channel::bounded(1);
        let outbox = Outbox::new(plan, metrics.clone(), Arc::new(|_| ()), Some(wake));
        let is_window = |name: &str| name.starts_with('\n');
        let kept = values.iter().filter(|((_, name), _)| match planted {
            Some(Planted::ConditionsForgotten) => is_window(name),
            Some(Planted::MinuteForgotten) => !is_window(name),
            _ => true,
        });
        let saved = |((kind, name), contents): (&(SavedKind, Arc<str>), &Arc<str>)| Saved {
            kind: *kind,
            name: name.clone(),
            contents: Some(contents.clone()),
        };
        outbox.restore(kept.map(saved).collect());
        let gate = |source: &&str| Gate::new(plan, &(*source).into(), &outbox, &metrics).joined(Order::Arrival);
        let gates = SOURCES.iter().map(|source| gate(source).remembering()).collect();
        Self { outbox, gates, began_ns: clock.monotonic_ns(), seq: 0 }
    }

    fn judge(&mut self, shot: &Shot, clock: &TestClock) {
        let frame = Frame {
            pts_ns: clock.monotonic_ns() - self.began_ns,
            captured_unix_ns: clock.unix_ns(),
            ..Frame::empty(SOURCES[shot.at], self.seq)
        };
        self.seq += 1;
        self.gates.iter_mut().for_each(Gate::idle);
        self.outbox.tick(clock.monotonic_ns());
        let gate = &mut self.gates[shot.at];
        gate.begin(&frame);
        for (rule, key) in &shot.drafts {
            gate.raise(&raised(rule, &key.to_string()), &frame);
        }
        gate.judged(&frame);
    }

    /// Writes everything, with what the next process finds.
    fn write(&self, values: &mut Values) -> Vec<Arc<Alert>> {
        let batch = self.outbox.take_unwritten(usize::MAX);
        let mut accepted = Vec::new();
        for entry in &batch {
            match entry {
                Entry::Accepted { alert, .. } => accepted.push(alert.clone()),
                Entry::Saved(Saved { kind, name, contents: Some(contents) }) => {
                    values.insert((*kind, name.clone()), contents.clone());
                }
                Entry::Saved(Saved { kind, name, contents: None }) => {
                    values.remove(&(*kind, name.clone()));
                }
                _ => {}
            }
        }
        self.outbox.written(&batch);
        accepted
    }
}

/// Plays the frames; each is judged and written before the next one, or the end of a process.
fn play(plan: &AlertPlan, shots: &[Shot], restarts: &[Restart], planted: Option<Planted>) -> Vec<Sent> {
    let (clock, mut values, mut sent) = (clock::start(), Values::new(), Vec::new());
    let mut process = Process::start(plan, &clock, &values, planted);
    for (number, shot) in shots.iter().enumerate() {
        if let Some(restart) = restarts.iter().find(|restart| restart.before == number) {
            if !restart.is_kill {
                process.gates.clear();
                process.outbox.send_held();
                let rest = process.write(&mut values).into_iter();
                sent.extend(rest.map(|alert| Sent { at_ns: clock.monotonic_ns(), alert, is_rest: true }));
            }
            if restart.sets_back {
                clock.set_back(3_600 * SECOND);
            }
            process = Process::start(plan, &clock, &values, planted);
        }
        clock.pass(shot.wait_ns);
        process.judge(shot, &clock);
        let now = process.write(&mut values).into_iter();
        sent.extend(now.map(|alert| Sent { at_ns: clock.monotonic_ns(), alert, is_rest: false }));
    }
    sent
}

/// A restart changes no decision.
fn same(whole: &[Sent], parted: &[Sent]) -> Result<(), String> {
    for at in 0..whole.len().max(parted.len()) {
        let [one, other] = [whole, parted].map(|sent| {
            let alert = &sent.get(at)?.alert;
            Some((&alert.source, &alert.rule, &alert.key, alert.level, &alert.time, &alert.message))
        });
        if one != other {
            return Err(format!("alert {at} without and with restarts: {one:?}, {other:?}"));
        }
        if parted[at].alert.suppressed > whole[at].alert.suppressed {
            return Err(format!("alert {at} counts more with restarts: {:?}", parted[at].alert));
        }
    }
    Ok(())
}

/// Never more than the limit in any minute, over all processes.
fn within(sent: &[Sent], limit: usize) -> Result<(), String> {
    let counts = |sent: &&Sent| sent.alert.level != Level::Critical && !sent.is_rest;
    let times: Vec<u64> = sent.iter().filter(counts).map(|sent| sent.at_ns).collect();
    match times.windows(limit + 1).find(|window| window[limit] - window[0] < MINUTE) {
        Some(window) => Err(format!("with restarts, more than {limit} alerts in a minute: {window:?}")),
        None => Ok(()),
    }
}

/// After a restart with the clock set back, what was not raised for a while is sent.
fn released(shots: &[Shot], restart: usize, sent: &[Sent]) -> Result<(), String> {
    let began_ns: u64 = shots[..restart].iter().map(|shot| shot.wait_ns).sum();
    let (mut now_ns, mut last) = (began_ns, BTreeMap::<Condition, u64>::new());
    // The ages count from the first frame of each source.
    let mut first = [None; SOURCES.len()];
    for shot in &shots[restart..] {
        now_ns += shot.wait_ns;
        let first_ns = *first[shot.at].get_or_insert(now_ns);
        for (rule, key) in &shot.drafts {
            let last_ns = last.insert((shot.at, *rule, *key), now_ns);
            let is_new = now_ns - last_ns.unwrap_or(first_ns) >= WINDOW + SLACK;
            let is_it = |sent: &&Sent| {
                let alert = &sent.alert;
                let is_same = alert.source.as_str() == SOURCES[shot.at] && alert.rule == *rule;
                sent.at_ns == now_ns && is_same && alert.key == key.to_string()
            };
            if is_new && !sent.iter().any(|sent| is_it(&sent)) {
                return Err(format!("{} {rule} {key} is not told at {now_ns} ns", SOURCES[shot.at]));
            }
        }
    }
    Ok(())
}
