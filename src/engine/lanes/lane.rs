//! A source's lane: owns all of its ordered state: tracker, zones, strategies, policy.
//!
//! It is a [`Task`]: one thread at a time runs it (see `threads`), one frame or command at a time. Commands (such as a
//! new version of a script) run between two frames, so a frame sees exactly one generation of each strategy.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use super::arrange::{Former, arrange, restore};
use super::change::{Arrangement, LaneChange, Refusal};
use super::control::{Control, Remembered, Snapshot};
use super::given::Given;
use super::inbox::{Step, Wanted};
use super::route::Route;
use super::rule::{Judgement, Rule};
use super::shadow::Shadow;
use super::threads::{Panic, Task, Turn};
use super::{Judged, Observer};
use crate::alert::{Gate, Raiser};
use crate::config::AlertPlan;
use crate::engine::view::live::{Events, Live};
use crate::guest::StateStore;
use crate::telemetry::Stage;
use crate::track::{Tracker, Tracks};
use crate::types::{Clock, Frame, Zone};
use crate::vision::most::keep_best;

/// Number of recent frames that a lane keeps to try new versions on.
const REMEMBERED: usize = 32;
/// How often a lane that waits for room in the handlers' queues looks for some.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// See the module.
pub(in crate::engine) struct Lane {
    pub(in crate::engine) route: Arc<Route>,
    /// Strategies that detect from pixels; they run before the tracker.
    pub(in crate::engine) detectors: Vec<Rule>,
    pub(in crate::engine) tracker: Option<Tracker>,
    pub(in crate::engine) tracks: Tracks,
    pub(in crate::engine) zones: Arc<[Zone]>,
    pub(in crate::engine) rules: Vec<Rule>,
    pub(in crate::engine) remembered: VecDeque<Remembered>,
    pub(in crate::engine) gate: Gate,
    /// The gate's policy.
    pub(in crate::engine) policy: AlertPlan,
    /// What the last change replaced, until it is confirmed or reverted.
    pub(in crate::engine) undo: Option<Undo>,
    pub(in crate::engine) live: Arc<Live>,
    pub(in crate::engine) events: Arc<Events>,
    pub(in crate::engine) observer: Option<Arc<dyn Observer>>,
    /// The state of guests, which gets what they hand over at the end of the process.
    pub(in crate::engine) states: Arc<StateStore>,
    /// What is given up for overload.
    pub(in crate::engine) given: Arc<Given>,
    pub(in crate::engine) clock: Arc<dyn Clock>,
}

/// What a change replaced.
pub(in crate::engine) struct Undo {
    zones: Arc<[Zone]>,
    tracker: Option<Option<Tracker>>,
    policy: Option<AlertPlan>,
    rules: Option<[Former; 2]>,
    shadows: Vec<(Arc<str>, Option<Shadow>)>,
}

/// Closes the lane and ends its source on drop, even if an embedder's strategy panics: other threads wait for its end.
struct End(Arc<Route>);

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_off("its lane panicked (the log says where): it is judged again after a restart".to_owned());
        }
        self.0.inbox.close();
        self.0.finish();
    }
}

impl Task for Lane {
    fn turn(&mut self) -> Turn {
        let wanted = self.wanted();
        match self.route.inbox.poll(wanted) {
            Some(Step::Frame(frame)) => {
                self.judge(*frame);
                match self.route.done() {
                    true => Turn::Again,
                    false => Turn::Wait(self.gate.idle_wait()),
                }
            }
            Some(Step::Control(control)) => {
                self.obey(control);
                Turn::Again
            }
            Some(Step::Ended | Step::Closed) => {
                self.hand_over();
                Turn::Over(None)
            }
            None if wanted == Wanted::NoFrames => Turn::Wait(Some(ROOM_WAIT)),
            None => Turn::Wait(self.gate.idle_wait()),
        }
    }

    fn late(&mut self) {
        // Otherwise it waited for room.
        if self.gate.idle_wait().is_some() {
            self.gate.idle();
        }
    }

    fn wait(&self, limit: Option<Duration>) -> bool {
        let wanted = self.wanted();
        // Nobody reports room: it is looked for.
        let limit = match wanted {
            Wanted::NoFrames => Some(limit.map_or(ROOM_WAIT, |limit| limit.min(ROOM_WAIT))),
            Wanted::Any => limit,
        };
        self.route.inbox.wait(wanted, limit)
    }

    /// What an embedder plugs in may panic. The gate is dropped after the panic, not during it, so that the source's
    /// next lane continues its open conditions.
    fn end(self: Box<Self>, panic: Option<Panic>) {
        let end = End(Arc::clone(&self.route));
        let lane = *self;
        // The gate sends what it holds back before the source counts as ended.
        drop(lane.gate);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        drop(end);
    }
}

impl Lane {
    /// What the lane takes now: a finite source may wait for room in the handlers' queues.
    fn wanted(&self) -> Wanted {
        if self.gate.has_room() { Wanted::Any } else { Wanted::NoFrames }
    }

    /// Records what the strategies hand to those that follow: on a live source that may be built anew, or for a later
    /// process.
    fn hand_over(&mut self) {
        let (states, source) = (Arc::clone(&self.states), &self.route.id);
        for rule in &mut self.rules {
            let name = Arc::clone(rule.name());
            let has_successor = if states.ends() { states.is_kept(&name, Some(source)) } else { self.route.is_live() };
            if has_successor {
                let handed = rule.hand_over();
                states.hand_over(&name, source, rule.strategy.version(), handed);
            }
        }
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Snapshot { rule, answer } => {
                let Some(at) = self.rules.iter().position(|r| *r.name() == rule) else { return };
                let snapshot = Snapshot {
                    version: self.rules[at].strategy.version().to_owned(),
                    state: self.rules[at].hand_over(),
                    frames: self.remembered.iter().cloned().collect(),
                };
                // The receiver is gone if the reload gave up.
                let _ = answer.send(snapshot);
            }
            Control::Change { change, claim, done } => {
                if claim.take() {
                    let _ = done.send(self.change(*change));
                }
            }
            Control::Finish { keep: true } => self.forget(),
            Control::Finish { keep: false } => self.undo(),
            Control::Settle => {
                let now_ns = self.clock.monotonic_ns();
                self.rules.iter_mut().for_each(|rule| rule.settle(now_ns));
            }
        }
    }

    /// Applies a change completely, or not at all if a new version refuses to take over.
    fn change(&mut self, change: LaneChange) -> Result<(), Refusal> {
        let LaneChange { mut swaps, zones, tracking, policy, rules, shadows } = change;
        for swap in &mut swaps {
            if let Some(rule) = self.rules.iter_mut().find(|rule| *rule.name() == swap.rule) {
                let taken = rule.take_over(&mut *swap.strategy);
                taken.map_err(|fault| Refusal { rule: Arc::clone(&swap.rule), fault })?;
            }
        }
        // Nothing below can fail.
        self.forget();
        for swap in swaps {
            if let Some(rule) = self.rules.iter_mut().find(|rule| *rule.name() == swap.rule) {
                rule.install(swap.strategy, swap.generation, swap.probation);
            }
        }
        let former_zones = Arc::clone(&self.zones);
        self.set_zones(zones.unwrap_or_else(|| Arc::clone(&former_zones)));
        let tracker = tracking.map(|plan| std::mem::replace(&mut self.tracker, Tracker::of(&plan)));
        let policy = policy.map(|policy| {
            self.gate.set_plan(&policy);
            std::mem::replace(&mut self.policy, policy)
        });
        let rules = rules.map(|Arrangement { detectors, rules }| {
            [arrange(&mut self.detectors, detectors), arrange(&mut self.rules, rules)]
        });
        let shadows = self.set_shadows(shadows);
        self.undo = Some(Undo { zones: former_zones, tracker, policy, rules, shadows });
        Ok(())
    }

    fn set_zones(&mut self, zones: Arc<[Zone]>) {
        self.gate.set_zones(&zones);
        self.zones = zones;
    }

    /// Installs shadows; returns the former ones.
    fn set_shadows(&mut self, shadows: Vec<(Arc<str>, Option<Shadow>)>) -> Vec<(Arc<str>, Option<Shadow>)> {
        let mut former = Vec::with_capacity(shadows.len());
        for (name, shadow) in shadows {
            let rule = self.rules.iter_mut().find(|rule| *rule.name() == name);
            former.extend(rule.map(|rule| (name, rule.set_shadow(shadow))));
        }
        former
    }

    /// Confirms the last change: disposes of what it replaced.
    fn forget(&mut self) {
        let Some(Undo { rules, shadows, .. }) = self.undo.take() else { return };
        rules.into_iter().flatten().flat_map(|former| former.gone).for_each(Rule::dispose);
        self.dispose_shadows(shadows);
    }

    fn dispose_shadows(&self, shadows: Vec<(Arc<str>, Option<Shadow>)>) {
        for (_, shadow) in shadows {
            if let Some(rule) = self.rules.first() {
                rule.dispose_shadow(shadow);
            }
        }
    }

    /// Reverts the last change. The caller has withdrawn its new versions.
    fn undo(&mut self) {
        let Some(Undo { zones, tracker, policy, rules, shadows }) = self.undo.take() else { return };
        self.set_zones(zones);
        if let Some(tracker) = tracker {
            self.tracker = tracker;
        }
        if let Some(policy) = policy {
            self.gate.set_plan(&policy);
            self.policy = policy;
        }
        // In reverse order: one change may have replaced the same rule's shadow twice.
        let refused = self.set_shadows(shadows.into_iter().rev().collect());
        self.dispose_shadows(refused);
        if let Some([detectors, rules]) = rules {
            restore(&mut self.detectors, detectors);
            restore(&mut self.rules, rules);
        }
        let now_ns = self.clock.monotonic_ns();
        self.rules.iter_mut().for_each(|rule| rule.undo(now_ns));
    }

    fn judge(&mut self, mut frame: Frame) {
        let started_ns = self.clock.monotonic_ns();
        self.gate.open(&frame);
        self.gate.begin(&frame);
        if frame.picture.is_some() {
            let skips = self.given.skips_optional();
            for rule in self.detectors.iter_mut().filter(|rule| !(skips && rule.skips_as_optional())) {
                rule.judge(&mut frame, &self.tracks, &self.zones, &*self.clock);
            }
        }
        keep_best(&mut frame.detections, self.route.max_objects());
        if let Some(tracker) = self.tracker.as_mut().filter(|_| !frame.tracked) {
            tracker.update(frame.pts_ns, &mut frame.detections);
        }
        self.tracks.observe(&frame, &self.zones);
        if let Some(observer) = &self.observer {
            observer.detected(&frame);
        }
        self.remember(&frame);
        let mut skipped = false;
        self.gate.saw_frame(&frame);
        for index in 0..self.rules.len() {
            if self.given.skips_optional() && self.rules[index].skips_as_optional() {
                continue;
            }
            let judgement = self.rules[index].judge(&mut frame, &self.tracks, &self.zones, &*self.clock);
            self.gate.saw(self.rules[index].name(), &judgement.work);
            self.raise(index, &judgement, &frame);
            if judgement.skip {
                skipped = true;
                break;
            }
        }
        self.gate.judged(&frame);
        if let Some(observer) = &self.observer {
            observer.decided(&frame, self.gate.turns());
        }
        if skipped {
            self.route.metrics.dropped("strategy_fault", 1);
        } else {
            self.count(&frame, started_ns);
        }
        self.events.detections(&frame);
        self.live.publish(&frame, self.clock.monotonic_ns());
    }

    /// Keeps the frame to try future versions on. Reuses the buffer of the oldest one.
    fn remember(&mut self, frame: &Frame) {
        if self.rules.is_empty() {
            return;
        }
        let mut detections = match self.remembered.len() {
            REMEMBERED => self.remembered.pop_front().map(|old| old.frame.detections).unwrap_or_default(),
            _ => Vec::new(),
        };
        detections.clone_from(&frame.detections);
        let frame = Frame {
            source: frame.source.clone(),
            seq: frame.seq,
            pts_ns: frame.pts_ns,
            captured_unix_ns: frame.captured_unix_ns,
            arrived_ns: frame.arrived_ns,
            width: frame.width,
            height: frame.height,
            detections,
            tracked: frame.tracked,
            detected: frame.detected,
            turns: None,
            picture: None,
        };
        self.remembered.push_back(Remembered { frame, tracks: self.tracks.clone() });
    }

    /// Passes on what a rule raised and resolved, in its order.
    fn raise(&mut self, rule: usize, judgement: &Judgement, frame: &Frame) {
        let rule = &self.rules[rule];
        let mut resolved = judgement.resolved.iter().peekable();
        for (count, raised) in judgement.raised.iter().enumerate() {
            while let Some(ended) = resolved.next_if(|ended| ended.after <= count) {
                self.gate.resolve(ended, frame);
            }
            let by = Raiser {
                strategy: rule.name(),
                version: rule.strategy.version(),
                generation: rule.generation,
                line: &|| rule.strategy.raised_at(count),
            };
            self.gate.raise_by(Some(by), raised, frame);
        }
        resolved.for_each(|ended| self.gate.resolve(ended, frame));
    }

    /// Counts and publishes a frame that every rule has seen.
    fn count(&self, frame: &Frame, started_ns: u64) {
        let ended_ns = self.clock.monotonic_ns();
        let metrics = &self.route.metrics;
        let seconds = |from_ns: u64, to_ns: u64| to_ns.saturating_sub(from_ns) as f64 / 1e9;
        metrics.frames_judged.inc();
        metrics.queue_depth.set(i64::try_from(self.route.inbox.waiting()).unwrap_or(i64::MAX));
        for detection in &frame.detections {
            metrics.detections(&detection.label, 1);
        }
        metrics.latency(Stage::Queue).observe(seconds(frame.arrived_ns, started_ns));
        metrics.latency(Stage::Judge).observe(seconds(started_ns, ended_ns));
        metrics.latency(Stage::Total).observe(seconds(frame.arrived_ns, ended_ns));
        if self.route.is_live() {
            metrics.latency(Stage::Capture).observe(seconds(frame.captured_unix_ns, self.clock.unix_ns()));
        }
        if let Some(observer) = &self.observer {
            let generations: Vec<(Arc<str>, u64)> =
                self.rules.iter().map(|rule| (Arc::clone(rule.name()), rule.generation)).collect();
            observer.judged(&Judged {
                frame,
                generations: &generations,
                waited_ns: started_ns.saturating_sub(frame.arrived_ns),
                lane_ns: ended_ns.saturating_sub(started_ns),
            });
        }
    }
}
