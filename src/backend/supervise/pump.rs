//! Runs one attempt from start to end.

use std::time::Duration;

use super::deliver::Delivery;
use super::{Attempt, Gaps, Limits, Origin, Pacing, Quiet, Starved, Watchdog};
use crate::backend::{Change, Failure, Flow, Outlet, SourceState};
use crate::config::SourcePlan;
use crate::own::Stop;
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
}

/// What an attempt works with. A change that arrives meanwhile updates the plan.
pub(super) struct Pump<'a, O> {
    pub(super) origin: &'a mut O,
    pub(super) plan: &'a mut SourcePlan,
    pub(super) delivery: &'a mut Delivery,
    pub(super) outlet: &'a Outlet,
    pub(super) change: &'a Change,
    pub(super) clock: &'a dyn Clock,
    pub(super) stop: &'a Stop,
    /// A live source's gaps between frames.
    pub(super) gaps: &'a mut Gaps,
}

/// State of the running attempt.
struct Watch {
    pacing: Pacing,
    watchdog: Watchdog,
    starved: Starved,
    /// Frames pulled.
    seen: u64,
    /// The first failure, and the time of it or of the last frame after it.
    failure: Option<(Failure, u64)>,
    /// The source's number of frames before this attempt.
    first_seq: u64,
}

impl<O: Origin> Pump<'_, O> {
    /// Starts an attempt and delivers its frames until it ends.
    pub(super) fn attempt(mut self) -> End {
        let pacing = match (self.plan.input.is_live(), self.plan.realtime) {
            (true, _) => Pacing::Live,
            (false, true) => Pacing::Realtime,
            (false, false) => Pacing::Fast,
        };
        // The start counts, too: a server that accepts and never sends is silent from here.
        self.gaps.start();
        let watchdog = Watchdog::new(self.limits(), self.clock.monotonic_ns());
        let mut attempt = match self.origin.start(self.plan, pacing) {
            Ok(attempt) => attempt,
            Err(reason) => return End::Failed(reason.into()),
        };
        self.delivery.start();
        let watch = Watch {
            pacing,
            watchdog,
            starved: Starved::default(),
            seen: 0,
            failure: None,
            first_seq: self.delivery.frames(),
        };
        let end = self.pump(&mut attempt, watch);
        self.delivery.damaged(attempt.damaged());
        if pacing == Pacing::Live {
            self.delivery.lost(attempt.lost(0));
        }
        end
    }

    /// The limits on silence, from the kind of source and the stream's own pace.
    fn limits(&self) -> Limits {
        let limits = self.origin.limits(self.plan);
        match self.plan.input.is_live() {
            true => Limits { gap: self.gaps.limit(limits.gap, limits.first_frame), ..limits },
            false => limits,
        }
    }

    fn pump(&mut self, attempt: &mut O::Attempt, mut watch: Watch) -> End {
        let live = watch.pacing == Pacing::Live;
        loop {
            if self.stop.requested() {
                return End::Removed;
            }
            if take_change(self.change, self.plan) {
                self.delivery.change(self.plan);
                watch.watchdog.change(self.limits());
            }
            let sample = attempt.pull(watch.watchdog.left(self.clock.monotonic_ns()).min(TICK));
            let got = sample.is_some();
            if let Some(sample) = sample {
                watch.seen += 1;
                let period_ns = attempt.timing(&sample).filter(|_| live).and_then(|timing| timing.period_ns);
                if self.delivery.deliver(attempt, sample) == Flow::Stop {
                    return End::Removed;
                }
                // Read after delivery: time blocked in a lossless sink is not the source's silence.
                let now = self.clock.monotonic_ns();
                watch.watchdog.frame(now);
                watch.starved.over();
                if live {
                    self.gaps.frame(now, period_ns);
                    watch.watchdog.change(self.limits());
                }
                if let Some((_, at)) = &mut watch.failure {
                    *at = now;
                }
            }
            let now = self.clock.monotonic_ns();
            if watch.failure.is_none() {
                watch.failure = attempt.failure().map(|failure| (failure, now));
            }
            self.delivery.damaged(attempt.damaged());
            if live {
                // One frame may be queued and one in transit; more were replaced by newer ones.
                self.delivery.lost(attempt.lost(2));
            }
            if !got && let Some(end) = self.over(attempt, &mut watch, now) {
                return end;
            }
        }
    }

    /// Checks, when no frame came, whether and how the attempt has ended.
    fn over(&mut self, attempt: &mut O::Attempt, watch: &mut Watch, now: u64) -> Option<End> {
        let (live, seen) = (watch.pacing == Pacing::Live, watch.seen);
        let describe = |reason: String| match (live, seen) {
            (false, 1..) => format!("broke off after {}: {reason}", count(seen, "frame")),
            _ => reason,
        };
        let failed = |failure: Failure| End::Failed(Failure { reason: describe(failure.reason), ..failure });
        // An error that caused the end was posted before it.
        let cause = |attempt: &mut O::Attempt, failure: &mut Option<(Failure, u64)>| {
            failure.take().map(|(failure, _)| failure).or_else(|| attempt.failure())
        };
        if attempt.ended() {
            return Some(match cause(attempt, &mut watch.failure) {
                Some(failure) => failed(failure),
                None if self.delivery.frames() == watch.first_seq => {
                    End::Failed("it ended without a frame that decodes".into())
                }
                None => attempt.cut_off().map_or(End::Ended, |reason| failed(reason.into())),
            });
        }
        if !live
            && seen == 0
            && let Some(dead_end) = attempt.dead_end()
        {
            return Some(End::Failed(cause(attempt, &mut watch.failure).unwrap_or(dead_end)));
        }
        if let Some((failure, at)) = &watch.failure
            && (live || now.saturating_sub(*at) >= DRAIN_NS)
        {
            return Some(failed(failure.clone()));
        }
        match attempt.quiet() {
            Quiet::Paced => watch.watchdog.excuse(now),
            Quiet::NoPublisher => {
                self.waiting(watch, now);
            }
            Quiet::Unexplained => {
                if self.outlet.state() == Some(SourceState::Waiting) {
                    self.outlet.enter(SourceState::Connecting);
                }
                let mut silent = watch.watchdog.silence(now);
                if watch.watchdog.doubts(now) && (silent.is_some() || watch.starved.due(now)) {
                    watch.watchdog.forgive(watch.starved.look(self.clock.waited_ns(), now));
                    silent = watch.watchdog.silence(now);
                }
                let silent = silent?.as_secs_f64();
                if attempt.let_go() {
                    self.waiting(watch, now);
                    return None;
                }
                let reason = match (seen, attempt.waits_for()) {
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
    fn waiting(&mut self, watch: &mut Watch, now: u64) {
        watch.watchdog.restart(now);
        self.gaps.start();
        self.outlet.enter(SourceState::Waiting);
    }
}

/// Applies a pending change to the parts of the plan that a running source may change; returns whether there was one.
pub(super) fn take_change(change: &Change, plan: &mut SourcePlan) -> bool {
    let Some(SourcePlan { fps, every, retry, .. }) = change.take() else { return false };
    (plan.fps, plan.every, plan.retry) = (fps, every, retry);
    true
}
