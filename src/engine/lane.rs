//! A source's lane: the one thread that owns everything ordered about it: tracker, zones, strategies, policy.
//!
//! A slow or hostile script holds up its own lane only. Control (a new version of a script) is obeyed between two
//! frames, so a frame sees exactly one generation of each strategy.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::inbox::Step;
use super::live::{Events, Live};
use super::route::Route;
use super::strategies::Notes;
use super::{Judged, Observer};
use crate::alert::Gate;
use crate::guest::BreakerState;
use crate::strategy::{Strategy, View, apply};
use crate::telemetry::{Stage, StrategyMetrics};
use crate::track::{Tracker, Tracks};
use crate::types::{Clock, Frame, Raised, Zone};

/// What a lane obeys between frames.
pub(super) enum Control {
    /// Put a new version of a rule in place of the old one, which is sent back to be dropped elsewhere.
    Swap {
        /// Which rule.
        rule: usize,
        /// Its new version.
        strategy: Box<dyn Strategy>,
        /// The new version's number.
        generation: u64,
        /// Takes the old version.
        old: Sender<Box<dyn Strategy>>,
    },
}

/// A strategy on the lane, after the tracker.
pub(super) struct Rule {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) generation: u64,
    pub(super) filters: bool,
    pub(super) metrics: StrategyMetrics,
    pub(super) notes: Notes,
}

/// See the module.
pub(super) struct Lane {
    pub(super) route: Arc<Route>,
    /// Strategies that detect from pixels; they come before the tracker.
    pub(super) detectors: Vec<Rule>,
    pub(super) tracker: Option<Tracker>,
    pub(super) tracks: Tracks,
    pub(super) zones: Arc<[Zone]>,
    pub(super) rules: Vec<Rule>,
    /// `None` where alerts are off.
    pub(super) gate: Option<Gate>,
    pub(super) live: Arc<Live>,
    pub(super) events: Arc<Events>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Lane {
    /// Runs until the source is through or the lane is closed.
    pub(super) fn run(mut self) {
        let route = Arc::clone(&self.route);
        loop {
            match route.inbox.next() {
                Step::Frame(frame) => {
                    self.judge(*frame);
                    route.done();
                }
                Step::Control(control) => self.obey(control),
                Step::Ended | Step::Closed => break,
            }
        }
        route.inbox.close();
        route.finish();
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Swap { rule, mut strategy, generation, old } => {
                if let Some(rule) = self.rules.get_mut(rule) {
                    std::mem::swap(&mut rule.strategy, &mut strategy);
                    rule.generation = generation;
                }
                // The receiver waits; should it be gone, the old version is dropped here.
                let _ = old.send(strategy);
            }
        }
    }

    fn judge(&mut self, mut frame: Frame) {
        let started_ns = self.clock.monotonic_ns();
        if frame.picture.is_some() {
            for rule in &mut self.detectors {
                consult(rule, &mut frame, &self.tracks, &self.zones, &*self.clock);
            }
        }
        if let Some(tracker) = self.tracker.as_mut().filter(|_| !frame.tracked) {
            tracker.update(frame.pts_ns, &mut frame.detections);
        }
        self.tracks.observe(&frame, &self.zones);
        if let Some(observer) = &self.observer {
            observer.detected(&frame);
        }
        for index in 0..self.rules.len() {
            let raised = consult(&mut self.rules[index], &mut frame, &self.tracks, &self.zones, &*self.clock);
            self.raise(raised, &frame);
        }
        self.publish(&frame, started_ns);
    }

    fn raise(&mut self, raised: Vec<Raised>, frame: &Frame) {
        let Some(gate) = &mut self.gate else { return };
        for raised in &raised {
            let Some(alert) = gate.raise(raised, frame) else { continue };
            if let Some(observer) = &self.observer {
                observer.alert(&alert);
            }
            self.events.alert(&alert);
        }
    }

    fn publish(&mut self, frame: &Frame, started_ns: u64) {
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
        if let Some(observer) = &self.observer {
            let generations: Vec<(Arc<str>, u64)> =
                self.rules.iter().map(|r| (Arc::clone(&r.notes.board.name), r.generation)).collect();
            observer.judged(&Judged {
                frame,
                generations: &generations,
                waited_ns: started_ns.saturating_sub(frame.arrived_ns),
                lane_ns: ended_ns.saturating_sub(started_ns),
            });
        }
        self.events.detections(frame);
        self.live.publish(frame, ended_ns);
    }
}

/// Lets one strategy judge, applies what it says, and returns what it raises. A fault leaves the frame as it was.
fn consult(rule: &mut Rule, frame: &mut Frame, tracks: &Tracks, zones: &[Zone], clock: &dyn Clock) -> Vec<Raised> {
    let started_ns = clock.monotonic_ns();
    let verdict = rule.strategy.judge(&View { frame, tracks, zones });
    let applied = verdict.and_then(|verdict| apply(verdict, rule.filters, &mut frame.detections));
    rule.metrics.calls.inc();
    rule.metrics.call_seconds.observe(clock.monotonic_ns().saturating_sub(started_ns) as f64 / 1e9);
    if let Some(health) = rule.strategy.health() {
        rule.notes.set_open(health.breaker != BreakerState::Closed);
        rule.metrics.degraded.set(i64::from(rule.notes.board.degraded()));
    }
    match applied {
        Ok(applied) => applied.raised,
        Err(fault) => {
            rule.metrics.fault(fault.kind.as_str());
            rule.notes.fault(&frame.source, &fault, started_ns);
            Vec::new()
        }
    }
}
