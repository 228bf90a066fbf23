//! One source's thread: attempt, watch, wait, try again, until it ends or is taken away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::backoff;
use super::feed::{Feed, Pacing};
use super::picture;
use super::stop::Stop;
use super::watchdog::{Limits, Watchdog};
use crate::backend::change::Change;
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Flow, Sink, SourceEvent, SourceState};
use crate::config::{Input, RetryPlan, SourcePlan};
use crate::types::{Clock, Frame};

/// Longest silence of a finite source, at its start or in the middle: some broken files make the demuxer wait
/// for ever without a word.
const FILE_SILENCE: Duration = Duration::from_secs(4);
/// The most of it that passes between two looks, which are a [`TICK`] apart while this process runs.
const FILE_LOOK: Duration = Duration::from_secs(1);
/// How often the thread looks up from waiting (for a frame, for the next attempt).
const TICK: Duration = Duration::from_millis(25);
/// After an error, a file's frames decoded before it are still delivered; this long without one, there are none.
const DRAIN_NS: u64 = 500_000_000;
/// Time between frames of a file that states neither timestamps nor a frame rate.
const FRAME_NS_DEFAULT: u64 = 40_000_000;

/// Whether a file can be read at all: a pipe or a device would hold the thread up without a word.
fn readable(path: &Path) -> Result<(), String> {
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is not a file".into());
    }
    std::fs::File::open(path).map(drop).map_err(|error| error.to_string())
}

/// A network camera's last frames come out up to 100 ms after it fell silent (measured), and a busy machine looks
/// late. So much less silence is put up with, so that a camera is noticed to be gone within its `gap`.
const NETWORK_TAIL: Duration = Duration::from_millis(250);

/// What a live source is given; its silence is measured on the wall, whatever kept this process from looking.
fn live_limits(plan: &SourcePlan) -> Limits {
    let RetryPlan { first_frame, gap, .. } = plan.retry;
    let (first_frame, gap) = match plan.input {
        Input::Rtsp(_) => (first_frame, gap - NETWORK_TAIL.min(gap / 2)),
        // Slow pictures are no silence: the next one is due after `1 / fps`.
        Input::Test { fps, .. } => {
            let due = Duration::try_from_secs_f64(2.0 / fps).unwrap_or(Duration::MAX);
            (first_frame.max(due), gap.max(due))
        }
        _ => (first_frame, gap),
    };
    Limits { first_frame, gap, look: Duration::MAX }
}

/// How an attempt ended.
enum End {
    /// The source was taken away.
    Removed,
    /// Its last frame was delivered.
    Ended,
    /// It went silent.
    Stalled(String),
    /// It failed.
    Failed(String),
}

/// Everything about one source, owned by its thread.
pub(super) struct Source {
    plan: SourcePlan,
    live: bool,
    sink: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    stop: Arc<Stop>,
    change: Arc<Change>,
    pace: Pace,
    state: Option<SourceState>,
    next_seq: u64,
    next_pts_ns: u64,
    last_pts_ns: u64,
    /// Where the times of the running attempt begin: after the last frame of the one before, where the file repeats.
    base_pts_ns: u64,
    started_unix_ns: u64,
    /// First and last frame of the running attempt, on the engine's clock.
    ran_ns: Option<(u64, u64)>,
}

impl Source {
    /// A source that has not been tried yet.
    pub(super) fn new(
        plan: SourcePlan,
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
        stop: Arc<Stop>,
        change: Arc<Change>,
    ) -> Self {
        Self {
            live: plan.input.is_live(),
            pace: Pace::of(&plan),
            plan,
            sink,
            clock,
            stop,
            change,
            state: None,
            next_seq: 0,
            next_pts_ns: 0,
            last_pts_ns: 0,
            base_pts_ns: 0,
            started_unix_ns: 0,
            ran_ns: None,
        }
    }

    /// Runs until the source ends, breaks or is taken away.
    pub(super) fn run(mut self) {
        let mut streak = backoff::Streak::default();
        loop {
            if self.stop.requested() {
                return self.enter(SourceState::Stopped);
            }
            // A source that was given up stays `Failed` in everybody's eyes until a frame proves otherwise.
            if !matches!(self.state, Some(SourceState::Failed | SourceState::Running)) {
                self.enter(SourceState::Connecting);
            }
            let end = self.attempt();
            let reason = match end {
                End::Removed => return self.enter(SourceState::Stopped),
                End::Ended if self.plan.repeat => {
                    self.base_pts_ns = self.next_pts_ns;
                    continue;
                }
                End::Ended if !self.live => {
                    self.enter(SourceState::Stopped);
                    return self.tell(SourceEvent::Ended);
                }
                End::Ended => "the live stream ended".to_owned(),
                End::Stalled(reason) => {
                    if self.state == Some(SourceState::Running) {
                        self.enter(SourceState::Stalled);
                    }
                    reason
                }
                End::Failed(reason) => reason,
            };
            if !self.live {
                self.enter(SourceState::Failed);
                return self.tell(SourceEvent::Broken(reason));
            }
            let ran = self.ran_ns.take().map_or(0, |(first, last)| last.saturating_sub(first));
            self.back_off(reason, streak.failed(Duration::from_nanos(ran)));
        }
    }

    /// Takes up a changed plan, if there is one; whether there was.
    fn take_change(&mut self) -> bool {
        let Some(SourcePlan { fps, every, retry, .. }) = self.change.take() else { return false };
        self.plan = SourcePlan { fps, every, retry, ..self.plan.clone() };
        self.pace.change(&self.plan);
        true
    }

    fn back_off(&mut self, reason: String, failures: u32) {
        let retry = &self.plan.retry;
        let (wait, state) = if failures > retry.max_retries {
            (backoff::at_cap(retry, fastrand::f64()), SourceState::Failed)
        } else {
            (backoff::delay(retry, failures, fastrand::f64()), SourceState::Backoff { attempt: failures })
        };
        self.tell(SourceEvent::Fault { reason, attempt: failures, retry_in: wait });
        self.enter(state);
        let after = |from: u64, wait: Duration| from.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let begun = self.clock.monotonic_ns();
        let mut until = after(begun, wait);
        while !self.stop.requested() && self.clock.monotonic_ns() < until {
            self.stop.pause(TICK);
            if self.take_change() {
                until = until.min(after(begun, self.plan.retry.cap));
            }
        }
    }

    /// One pipeline, from its start to its end.
    fn attempt(&mut self) -> End {
        if let Input::File(path) = &self.plan.input
            && let Err(why) = readable(path)
        {
            return End::Failed(format!("cannot read {}: {why}", path.display()));
        }
        let (pacing, limits) = if self.live {
            (Pacing::Live, live_limits(&self.plan))
        } else {
            let pacing = if self.plan.realtime { Pacing::Realtime } else { Pacing::Fast };
            (pacing, Limits { first_frame: FILE_SILENCE, gap: FILE_SILENCE, look: FILE_LOOK })
        };
        // Starting counts: a server that accepts and says nothing is silent from here.
        let watchdog = Watchdog::new(limits, self.clock.monotonic_ns());
        let mut feed = match Feed::start(&self.plan.input, pacing) {
            Ok(feed) => feed,
            Err(reason) => return End::Failed(reason),
        };
        // A file that plays faster than its own pace is ahead of the clock when it begins again.
        self.started_unix_ns = self.started_unix_ns.max(self.clock.unix_ns().saturating_sub(self.base_pts_ns));
        let end = self.pump(&mut feed, pacing, watchdog);
        if self.live {
            self.lost(feed.write_off(0));
        }
        end
    }

    /// Hands frames on until the pipeline is done.
    fn pump(&mut self, feed: &mut Feed, pacing: Pacing, mut watchdog: Watchdog) -> End {
        let mut seen = 0u64;
        let first_seq = self.next_seq;
        let mut failure: Option<(String, u64)> = None;
        loop {
            if self.stop.requested() {
                return End::Removed;
            }
            if self.take_change() && self.live {
                watchdog.change(live_limits(&self.plan));
            }
            let sample = feed.pull(watchdog.left(self.clock.monotonic_ns()).min(TICK));
            let got = sample.is_some();
            if let Some(sample) = sample {
                seen += 1;
                if self.deliver(feed, &sample) == Flow::Stop {
                    return End::Removed;
                }
                // Read after the hand-over: the time a lossless sink took is not the source's silence.
                let now = self.clock.monotonic_ns();
                watchdog.frame(now);
                if let Some((_, at)) = &mut failure {
                    *at = now;
                }
            }
            let now = self.clock.monotonic_ns();
            if failure.is_none() {
                failure = feed.failure().map(|reason| (reason, now));
            }
            if self.live {
                // One frame may be waiting and one on its way; what is beyond was replaced by a newer one.
                self.lost(feed.write_off(2));
            }
            if got {
                continue;
            }
            if feed.ended() {
                // An error that caused the end was posted before it.
                let failure = failure.map(|(reason, _)| reason).or_else(|| feed.failure());
                return match failure {
                    Some(reason) => End::Failed(self.broken(seen, reason)),
                    None if self.next_seq == first_seq => End::Failed("it ended without a frame that decodes".into()),
                    None => End::Ended,
                };
            }
            if !self.live && seen == 0 && feed.dead_end() {
                // An error that was let through was posted before the demuxer stopped.
                let reason = failure.map(|(reason, _)| reason).or_else(|| feed.failure());
                return End::Failed(reason.unwrap_or_else(|| "no stream can be read from it; it is cut off".into()));
            }
            if let Some((reason, at)) = &failure
                && (self.live || now.saturating_sub(*at) >= DRAIN_NS)
            {
                return End::Failed(self.broken(seen, reason.clone()));
            }
            if pacing == Pacing::Realtime && feed.unpulled() > 0 {
                // It waits in the pipeline for its presentation time.
                watchdog.excuse(now);
            } else if let Some(silent) = watchdog.silence(now) {
                let silent = silent.as_secs_f64();
                let reason = if seen == 0 { "no first frame" } else { "no frame" };
                return End::Stalled(self.broken(seen, format!("{reason} for {silent:.1} s")));
            }
        }
    }

    fn broken(&self, seen: u64, reason: String) -> String {
        if self.live || seen == 0 { reason } else { format!("broke off after {seen} frames: {reason}") }
    }

    /// Frames that a live pipeline replaced by newer ones before we came for them.
    fn lost(&mut self, count: u64) {
        if count > 0 {
            self.next_seq += count;
            self.tell(SourceEvent::Dropped { reason: "overrun", count });
        }
    }

    fn deliver(&mut self, feed: &Feed, sample: &gst::Sample) -> Flow {
        let arrived_ns = self.clock.monotonic_ns();
        self.ran_ns = Some((self.ran_ns.map_or(arrived_ns, |(first, _)| first), arrived_ns));
        let (Some(buffer), Some(info)) = (sample.buffer(), picture::info(sample)) else {
            self.drop_one("corrupt");
            return Flow::Continue;
        };
        if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            self.drop_one("corrupt");
            return Flow::Continue;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let (pts_ns, captured_unix_ns) = if self.live {
            (arrived_ns, self.clock.unix_ns())
        } else {
            let pts = self.presentation_ns(sample, &info);
            (pts, self.started_unix_ns.saturating_add(pts))
        };
        self.last_pts_ns = pts_ns.max(self.last_pts_ns);
        let pts_ns = self.last_pts_ns;
        match self.pace.pick(seq, pts_ns) {
            Pick::Take => {}
            Pick::OverRate => {
                self.drop_one("fps");
                return Flow::Continue;
            }
            Pick::NotEvery => {
                self.drop_one("skipped");
                return Flow::Continue;
            }
        }
        let picture = match picture::picture(sample, &info, feed.turn()) {
            Ok(picture) => picture,
            Err(reason) => {
                tracing::warn!(source = %self.plan.id, seq, reason, "a decoded frame cannot be used");
                self.drop_one("corrupt");
                return Flow::Continue;
            }
        };
        if self.state != Some(SourceState::Running) {
            self.enter(SourceState::Running);
        }
        self.sink.frame(Frame {
            pts_ns,
            captured_unix_ns,
            arrived_ns,
            width: picture.width,
            height: picture.height,
            picture: Some(picture),
            ..Frame::empty(self.plan.id.clone(), seq)
        })
    }

    /// A file's presentation time; counted on from the frame before where the file does not say.
    fn presentation_ns(&mut self, sample: &gst::Sample, info: &gst_video::VideoInfo) -> u64 {
        let buffer = sample.buffer();
        let stated = buffer.and_then(|b| b.pts()).map(|pts| {
            let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
            self.base_pts_ns + segment.and_then(|s| s.to_stream_time(pts)).unwrap_or(pts).nseconds()
        });
        let period = buffer.and_then(|b| b.duration()).map(gst::ClockTime::nseconds).filter(|d| *d > 0);
        let period = period.unwrap_or_else(|| match (info.fps().numer(), info.fps().denom()) {
            (n, d) if n > 0 && d > 0 => 1_000_000_000 * d.unsigned_abs() as u64 / n.unsigned_abs() as u64,
            _ => FRAME_NS_DEFAULT,
        });
        let pts = stated.unwrap_or(self.next_pts_ns);
        self.next_pts_ns = pts.saturating_add(period);
        pts
    }

    fn drop_one(&self, reason: &'static str) {
        self.tell(SourceEvent::Dropped { reason, count: 1 });
    }

    fn enter(&mut self, state: SourceState) {
        if self.state.replace(state) != Some(state) {
            self.tell(SourceEvent::State(state));
        }
    }

    fn tell(&self, event: SourceEvent) {
        self.sink.event(&self.plan.id, event);
    }
}
