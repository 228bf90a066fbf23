//! GStreamer's implementation of [`Origin`] and [`Attempt`] for the supervisor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::camera::Attempts;
use super::encoded::Encoded;
use super::evidence::Record;
use super::feed::Feed;
use super::knock::Knock;
use super::picture;
use crate::backend::supervise::{self, Attempt, Limits, Origin, Pacing, Quiet, Timing};
use crate::backend::{Failure, Stream};
use crate::config::{Input, RetryPlan, SourcePlan};
use crate::types::{Clock, Frame};

/// Longest silence of a finite source, before its first frame or later: some broken files make the demuxer wait for
/// ever.
const FILE_SILENCE: Duration = Duration::from_secs(4);
/// The most that one poll adds to that silence; while this process runs, polls are far more frequent.
const FILE_LOOK: Duration = Duration::from_secs(1);
/// How many times its limit a silence may last while this process lacks CPU: a file can wait, but a lost camera must be
/// noticed.
const FILE_PATIENCE: u32 = 30;
const LIVE_PATIENCE: u32 = 2;
/// Subtracted from `gap`: a camera's last frames arrive up to 100 ms after it stopped sending (measured), and a busy
/// machine polls late. So a lost camera is still noticed within `gap`.
const NETWORK_TAIL: Duration = Duration::from_millis(250);

/// The name of the caps of an NTP timestamp.
const NTP: &str = "timestamp/x-ntp";

/// Makes a pipeline for each attempt.
pub(super) struct Playback {
    attempts: Attempts,
}

impl Playback {
    pub(super) fn new(clock: Arc<dyn Clock>, encoded: Arc<Encoded>, record: Record) -> Self {
        Self { attempts: Attempts { record, ..Attempts::new(clock, encoded) } }
    }
}

impl Origin for Playback {
    type Attempt = Feed;

    fn start(&mut self, plan: &SourcePlan, pacing: Pacing) -> Result<Feed, String> {
        if let Input::File(path) = &plan.input {
            readable(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        }
        self.attempts.picture_max = plan.picture_max;
        self.attempts.pause = plan.retry.base;
        Feed::start(&plan.input, pacing, &self.attempts)
    }

    /// A live source's silence counts in full, even while this process could not poll.
    fn limits(&self, plan: &SourcePlan) -> Limits {
        if !plan.input.is_live() {
            let (first_frame, gap) = match plan.input {
                // Its server may be slow, or away for a while.
                Input::Web(_) => (plan.retry.first_frame, plan.retry.gap.max(plan.retry.first_frame)),
                _ => (FILE_SILENCE, FILE_SILENCE),
            };
            let look = FILE_LOOK;
            return Limits { first_frame, gap, look, patience: FILE_PATIENCE };
        }
        let RetryPlan { first_frame, gap, .. } = plan.retry;
        let (first_frame, gap) = match plan.input {
            Input::Rtsp(_) | Input::Web(_) => return live_limits(&plan.retry),
            // A low frame rate is not silence: the next frame is due after `1 / fps`.
            Input::Test { fps, .. } => {
                let due = Duration::try_from_secs_f64(2.0 / fps).unwrap_or(Duration::MAX);
                (first_frame.max(due), gap.max(due))
            }
            _ => (first_frame, gap),
        };
        Limits { first_frame, gap, look: Duration::MAX, patience: LIVE_PATIENCE }
    }

    fn host(&self, plan: &SourcePlan) -> Option<String> {
        match &plan.input {
            Input::Rtsp(camera) => Some(camera.host.clone()),
            Input::Web(web) => Some(web.host.clone()),
            _ => None,
        }
    }

    fn probe(&mut self, plan: &SourcePlan) -> Option<Box<dyn supervise::Probe>> {
        match &plan.input {
            Input::Rtsp(camera) if camera.user.is_some() => Some(Box::new(Knock::start(camera))),
            _ => None,
        }
    }
}

/// The limits of a source that comes over the network.
pub(super) fn live_limits(retry: &RetryPlan) -> Limits {
    let RetryPlan { first_frame, gap, .. } = *retry;
    Limits { first_frame, gap: gap - NETWORK_TAIL.min(gap / 2), look: Duration::MAX, patience: LIVE_PATIENCE }
}

/// Checks that a path is a readable regular file: a pipe or a device could block the thread for ever.
fn readable(path: &Path) -> Result<(), String> {
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is not a file".into());
    }
    std::fs::File::open(path).map(drop).map_err(|error| error.to_string())
}

/// A decoded frame with the info from its caps, parsed once.
pub(super) struct Decoded {
    sample: gst::Sample,
    info: Option<gst_video::VideoInfo>,
}

impl Attempt for Feed {
    type Sample = Decoded;

    fn pull(&mut self, wait: Duration) -> Option<Decoded> {
        let sample = self.next(wait)?;
        let info = picture::info(&sample);
        Some(Decoded { sample, info })
    }

    fn timing(&self, Decoded { sample, info }: &Decoded) -> Option<Timing> {
        let (buffer, info) = (sample.buffer()?, info.as_ref()?);
        if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            return None;
        }
        let pts_ns = buffer.pts().map(|pts| {
            let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
            segment.and_then(|s| s.to_stream_time(pts)).unwrap_or(pts).nseconds()
        });
        let stated = buffer.duration().map(gst::ClockTime::nseconds).filter(|d| *d > 0);
        let period_ns = stated.or_else(|| match (info.fps().numer(), info.fps().denom()) {
            (n, d) if n > 0 && d > 0 => Some(1_000_000_000 * d.unsigned_abs() as u64 / n.unsigned_abs() as u64),
            _ => None,
        });
        Some(Timing { pts_ns, period_ns })
    }

    fn fill(&mut self, Decoded { sample, info }: Decoded, frame: &mut Frame) -> Result<(), &'static str> {
        let info = info.ok_or("its caps say nothing of its size")?;
        let picture = picture::picture(&sample, &info, self.turn())?;
        self.measure(&sample, frame.captured_unix_ns);
        (frame.width, frame.height) = (picture.width, picture.height);
        frame.picture = Some(picture);
        Ok(())
    }

    fn failure(&mut self) -> Option<Failure> {
        Feed::failure(self)
    }

    fn ended(&self) -> bool {
        Feed::ended(self)
    }

    fn cut_off(&self) -> Option<String> {
        Feed::cut_off(self)
    }

    fn dead_end(&mut self) -> Option<Failure> {
        Feed::dead_end(self)
    }

    fn waits_for(&self) -> Option<String> {
        Feed::waits_for(self)
    }

    fn stream(&self) -> Option<Stream> {
        Some(Feed::stream(self))
    }

    fn is_connected(&self) -> bool {
        Feed::is_connected(self)
    }

    /// rtpjitterbuffer attaches it once it has seen a sender report.
    fn sender_ntp_ns(&self, Decoded { sample, .. }: &Decoded) -> Option<u64> {
        let metas = sample.buffer()?.iter_meta::<gst::ReferenceTimestampMeta>();
        let ntp = metas.into_iter().find(|meta| meta.reference().structure(0).is_some_and(|s| s.name() == NTP))?;
        Some(ntp.timestamp().nseconds())
    }

    fn quiet(&self) -> Quiet {
        if self.waits_for_its_time() { Quiet::Paced } else { Quiet::Unexplained }
    }

    fn damaged(&mut self) -> u64 {
        Feed::damaged(self)
    }

    fn lost(&mut self, spared: u64) -> u64 {
        self.write_off(spared)
    }
}
