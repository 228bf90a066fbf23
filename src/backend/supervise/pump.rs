//! Runs one attempt from start to end, one step at a time.

use std::sync::Arc;
use std::time::Duration;

use super::damage::Damage;
use super::deliver::Delivery;
use super::hosts::Turn;
use super::{Attempt, Gaps, Limits, Origin, Pacing, Quiet, Starved, Watchdog};
use crate::backend::{Change, Failure, Flow, Outlet, SourceState};
use crate::config::SourcePlan;
use crate::types::{Clock, count};

/// How often the thread wakes up while it waits for a frame.
const TICK: Duration = Duration::from_millis(25);
/// After an error, frames that a file decoded before it are still delivered, until none has come for this long.
const DRAIN_NS: u64 = 500_000_000;

/// How an attempt ended.
pub(super) enum End {
    /// The source was removed.
    Removed,
    /// The last frame was delivered.
    Ended,
    /// The watchdog found it silent.
    Stalled(String),
    /// It failed.
    Failed(Failure),
    /// So many of its frames were damaged lately that its pipeline is to be built anew.
    Damaged(u64),
}

/// What all attempts of a source share. A change that arrives meanwhile updates the plan.
pub(super) struct Shared<O> {
    pub(super) origin: O,
    pub(super) plan: SourcePlan,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) change: Arc<Change>,
    pub(super) delivery: Delivery,
    /// A live source's gaps between frames.
    pub(super) gaps: Gaps,
    pub(super) damage: Damage,
}

impl<O: Origin> Shared<O> {
    /// The limits on silence, from the kind of source and the stream's own pace.
    fn limits(&self) -> Limits {
        let limits = self.origin.limits(&self.plan);
        match self.plan.input.is_live() {
            true => Limits { gap: self.gaps.limit(limits.gap, limits.first_frame), ..limits },
            false => limits,
        }
    }

    /// Applies a pending change to the parts of the plan that a running source may change; returns whether there was one.
    pub(super) fn take_change(&mut self) -> bool {
        let Some(SourcePlan { fps, every, retry, recovery, .. }) = self.change.take() else { return false };
        self.plan = SourcePlan { fps, every, retry, recovery, ..self.plan.clone() };
        self.delivery.change(&self.plan);
        true
    }

    /// Counts frames of a live source that could not be decoded; returns whether its pipeline is to be built anew.
    fn damaged(&mut self, damaged: u64) -> Option<End> {
        if !self.plan.input.is_live() {
            return None;
        }
        let now_ns = self.clock.monotonic_ns();
        self.damage.count(damaged, self.plan.recovery.damaged_max, now_ns).map(End::Damaged)
    }
}

/// A running attempt.
pub(super) struct Running<A> {
    attempt: A,
    pacing: Pacing,
    watchdog: Watchdog,
    starved: Starved,
    /// Frames pulled.
    seen: u64,
    /// The first failure, and the time of it or of the last frame after it.
    failure: Option<(Failure, u64)>,
    /// The source's number of frames before this attempt.
    first_seq: u64,
    /// Its turn to connect, until it has.
    turn: Option<Turn>,
}

impl<A: Attempt> Running<A> {
    /// Starts an attempt.
    pub(super) fn start<O: Origin<Attempt = A>>(shared: &mut Shared<O>, turn: Option<Turn>) -> Result<Self, Failure> {
        let pacing = match (shared.plan.input.is_live(), shared.plan.realtime) {
            (true, _) => Pacing::Live,
            (false, true) => Pacing::Realtime,
            (false, false) => Pacing::Fast,
        };
        // The start counts, too: a server that accepts and never sends is silent from here.
        shared.gaps.start();
        let watchdog = Watchdog::new(shared.limits(), shared.clock.monotonic_ns());
        let attempt = shared.origin.start(&shared.plan, pacing)?;
        shared.delivery.start();
        let first_seq = shared.delivery.frames();
        Ok(Self { attempt, pacing, watchdog, starved: Starved::default(), seen: 0, failure: None, first_seq, turn })
    }

    /// Waits for a frame, at most a moment, and delivers it. Returns how the attempt has ended, if it has.
    pub(super) fn step<O: Origin<Attempt = A>>(&mut self, shared: &mut Shared<O>) -> Option<End> {
        let live = self.pacing == Pacing::Live;
        if shared.take_change() {
            self.watchdog.change(shared.limits());
        }
        let sample = self.attempt.pull(self.watchdog.left(shared.clock.monotonic_ns()).min(TICK));
        let got = sample.is_some();
        if let Some(sample) = sample {
            let end = self.frame(sample, shared);
            if end.is_some() {
                return end;
            }
        }
        if got || self.attempt.is_connected() {
            self.turn = None;
        }
        let now = shared.clock.monotonic_ns();
        if self.failure.is_none() {
            self.failure = self.attempt.failure().map(|failure| (failure, now));
        }
        let undecoded = self.attempt.damaged();
        shared.delivery.damaged(undecoded);
        if live {
            // One frame may be queued and one in transit; more were replaced by newer ones.
            shared.delivery.lost(self.attempt.lost(2));
        }
        let rebuilt = shared.damaged(undecoded);
        if rebuilt.is_some() || got { rebuilt } else { self.over(shared, now) }
    }

    fn frame<O: Origin<Attempt = A>>(&mut self, sample: A::Sample, shared: &mut Shared<O>) -> Option<End> {
        let live = self.pacing == Pacing::Live;
        self.seen += 1;
        let period_ns = self.attempt.timing(&sample).filter(|_| live).and_then(|timing| timing.period_ns);
        let unusable = shared.delivery.unusable();
        if shared.delivery.deliver(&mut self.attempt, sample) == Flow::Stop {
            return Some(End::Removed);
        }
        // Read after delivery: time blocked in a lossless sink is not the source's silence.
        let now = shared.clock.monotonic_ns();
        self.watchdog.frame(now);
        self.starved.over();
        if live {
            shared.gaps.frame(now, period_ns);
            self.watchdog.change(shared.limits());
        }
        if let Some((_, at)) = &mut self.failure {
            *at = now;
        }
        let damaged = shared.delivery.unusable() - unusable;
        shared.damaged(damaged)
    }

    /// Counts what the attempt leaves behind.
    pub(super) fn finish<O: Origin<Attempt = A>>(mut self, shared: &mut Shared<O>) {
        shared.delivery.damaged(self.attempt.damaged());
        if self.pacing == Pacing::Live {
            shared.delivery.lost(self.attempt.lost(0));
        }
    }

    /// Checks, when no frame came, whether and how the attempt has ended.
    fn over<O: Origin<Attempt = A>>(&mut self, shared: &mut Shared<O>, now: u64) -> Option<End> {
        let (live, seen) = (self.pacing == Pacing::Live, self.seen);
        let describe = |reason: String| match (live, seen) {
            (false, 1..) => format!("broke off after {}: {reason}", count(seen, "frame")),
            _ => reason,
        };
        let failed = |failure: Failure| End::Failed(Failure { reason: describe(failure.reason), ..failure });
        // An error that caused the end was posted before it.
        let cause = |attempt: &mut A, failure: &mut Option<(Failure, u64)>| {
            failure.take().map(|(failure, _)| failure).or_else(|| attempt.failure())
        };
        if self.attempt.ended() {
            return Some(match cause(&mut self.attempt, &mut self.failure) {
                Some(failure) => failed(failure),
                None if shared.delivery.frames() == self.first_seq => {
                    End::Failed("it ended without a frame that decodes".into())
                }
                None => self.attempt.cut_off().map_or(End::Ended, |reason| failed(reason.into())),
            });
        }
        if !live
            && seen == 0
            && let Some(dead_end) = self.attempt.dead_end()
        {
            return Some(End::Failed(cause(&mut self.attempt, &mut self.failure).unwrap_or(dead_end)));
        }
        if let Some((failure, at)) = &self.failure
            && (live || now.saturating_sub(*at) >= DRAIN_NS)
        {
            return Some(failed(failure.clone()));
        }
        match self.attempt.quiet() {
            Quiet::Paced => self.watchdog.excuse(now),
            Quiet::NoPublisher => {
                self.wait(shared, now);
            }
            Quiet::Unexplained => {
                if shared.outlet.state() == Some(SourceState::Waiting) {
                    shared.outlet.enter(SourceState::Connecting);
                }
                let silent = self.silence(&*shared.clock, now)?.as_secs_f64();
                if self.attempt.let_go() {
                    self.wait(shared, now);
                    return None;
                }
                let reason = match (seen, self.attempt.waits_for()) {
                    (0, Some(what)) => format!("no first frame for {silent:.1} s: {what}"),
                    (0, None) => format!("no first frame for {silent:.1} s"),
                    _ => format!("no frame for {silent:.1} s"),
                };
                return Some(End::Stalled(describe(reason)));
            }
        }
        None
    }

    /// Waits for a publisher: the time until it comes is no silence.
    fn wait<O: Origin<Attempt = A>>(&mut self, shared: &mut Shared<O>, now: u64) {
        self.watchdog.restart(now);
        shared.gaps.start();
        shared.outlet.enter(SourceState::Waiting);
    }

    /// The length of the silence once it exceeds its limit, without the time in which this process lacked CPU.
    fn silence(&mut self, clock: &dyn Clock, now: u64) -> Option<Duration> {
        let silent = self.watchdog.silence(now);
        if !self.watchdog.doubts(now) || !(silent.is_some() || self.starved.due(now)) {
            return silent;
        }
        self.watchdog.forgive(self.starved.look(clock.waited_ns(), now));
        self.watchdog.silence(now)
    }
}
