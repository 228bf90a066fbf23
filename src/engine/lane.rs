//! A source's lane: the one thread that owns everything ordered about it: tracker, zones, strategies, policy.
//!
//! A slow or hostile script holds up its own lane only. Control (a new version of a script) is obeyed between two
//! frames, so a frame sees exactly one generation of each strategy.

use std::collections::VecDeque;
use std::sync::Arc;

use super::control::{Control, Look, Remembered};
use super::grave::bury;
use super::inbox::Step;
use super::live::{Events, Live};
use super::route::Route;
use super::rule::{Judgement, Rule};
use super::{Judged, Observer};
use crate::alert::Gate;
use crate::telemetry::Stage;
use crate::track::{Tracker, Tracks};
use crate::types::{Clock, Frame, Raised, Zone};

/// Frames that a lane remembers, for new versions to be tried on.
const REMEMBERED: usize = 32;

/// See the module.
pub(super) struct Lane {
    pub(super) route: Arc<Route>,
    /// Strategies that detect from pixels; they come before the tracker.
    pub(super) detectors: Vec<Rule>,
    pub(super) tracker: Option<Tracker>,
    pub(super) tracks: Tracks,
    pub(super) zones: Arc<[Zone]>,
    pub(super) rules: Vec<Rule>,
    pub(super) remembered: VecDeque<Remembered>,
    /// `None` where alerts are off.
    pub(super) gate: Option<Gate>,
    pub(super) live: Arc<Live>,
    pub(super) events: Arc<Events>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Ends what belongs to a lane with it, even where a strategy of the embedder's panics: others wait for its end.
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

impl Lane {
    /// Runs until the source is through or the lane is closed.
    pub(super) fn run(mut self) {
        let route = Arc::clone(&self.route);
        let _end = End(Arc::clone(&route));
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
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Look { rule, answer } => {
                let Some(rule) = self.rules.get_mut(rule) else { return };
                let look = Look {
                    version: rule.strategy.version().to_owned(),
                    state: rule.hand_over(),
                    frames: self.remembered.iter().cloned().collect(),
                    zones: Arc::clone(&self.zones),
                };
                // Nobody waits any more where the reload gave up.
                let _ = answer.send(look);
            }
            Control::Swap { rule, strategy, generation, probation, done } => {
                let Some(rule) = self.rules.get_mut(rule) else { return };
                let _ = done.send(rule.swap(strategy, generation, probation));
            }
            Control::Shadow { rule, shadow } => {
                let Some(rule) = self.rules.get_mut(rule) else { return };
                if let Some(old) = std::mem::replace(&mut rule.shadow, shadow) {
                    bury(&rule.grave, old.strategy);
                }
            }
            Control::Settle => {
                let now_ns = self.clock.monotonic_ns();
                self.rules.iter_mut().for_each(|rule| rule.settle(now_ns));
            }
        }
    }

    fn judge(&mut self, mut frame: Frame) {
        let started_ns = self.clock.monotonic_ns();
        if frame.picture.is_some() {
            for rule in &mut self.detectors {
                rule.judge(&mut frame, &self.tracks, &self.zones, &*self.clock);
            }
        }
        if let Some(tracker) = self.tracker.as_mut().filter(|_| !frame.tracked) {
            tracker.update(frame.pts_ns, &mut frame.detections);
        }
        self.tracks.observe(&frame, &self.zones);
        if let Some(observer) = &self.observer {
            observer.detected(&frame);
        }
        self.remember(&frame);
        let mut skipped = false;
        for index in 0..self.rules.len() {
            let Judgement { raised, skip } =
                self.rules[index].judge(&mut frame, &self.tracks, &self.zones, &*self.clock);
            self.raise(raised, &frame);
            if skip {
                skipped = true;
                break;
            }
        }
        if skipped {
            self.route.metrics.dropped("strategy_fault", 1);
        } else {
            self.count(&frame, started_ns);
        }
        self.events.detections(&frame);
        self.live.publish(&frame, self.clock.monotonic_ns());
    }

    /// Keeps the frame for versions to come. The oldest one's room is used again.
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
            pts_ns: frame.pts_ns,
            captured_unix_ns: frame.captured_unix_ns,
            arrived_ns: frame.arrived_ns,
            width: frame.width,
            height: frame.height,
            detections,
            detected: frame.detected,
            tracked: frame.tracked,
            ..Frame::empty(frame.source.clone(), frame.seq)
        };
        self.remembered.push_back(Remembered { frame, tracks: self.tracks.clone() });
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

    /// Counts and shows a frame that every rule has seen.
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
    }
}
