//! GStreamer's side of supervision: how an attempt at a source is made, and what comes out of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::camera::Attempts;
use super::feed::Feed;
use super::picture;
use crate::backend::Failure;
use crate::backend::supervise::{Attempt, Limits, Origin, Pacing, Quiet, Timing};
use crate::config::{Input, RetryPlan, SourcePlan};
use crate::types::{Clock, Frame};

/// Longest silence of a finite source, at its start or in the middle: some broken files make the demuxer wait
/// for ever without a word.
const FILE_SILENCE: Duration = Duration::from_secs(4);
/// The most of it that passes between two looks, which come often while this process runs.
const FILE_LOOK: Duration = Duration::from_secs(1);
/// How often its limit a silence may last at most while this process is kept from working: a file can wait, a camera that
/// is gone has to be noticed.
const FILE_PATIENCE: u32 = 30;
const LIVE_PATIENCE: u32 = 2;
/// A network camera's last frames come out up to 100 ms after it fell silent (measured), and a busy machine looks
/// late. So much less silence is put up with, so that a camera is noticed to be gone within its `gap`.
const NETWORK_TAIL: Duration = Duration::from_millis(250);

/// Makes a pipeline for each attempt.
pub(super) struct Playback {
    attempts: Attempts,
}

impl Playback {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { attempts: Attempts { clock, udp: Arc::default() } }
    }
}

impl Origin for Playback {
    type Attempt = Feed;

    fn start(&mut self, plan: &SourcePlan, pacing: Pacing) -> Result<Feed, String> {
        if let Input::File(path) = &plan.input {
            readable(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        }
        Feed::start(&plan.input, pacing, &self.attempts)
    }

    /// A live source's silence is measured on the wall, whatever kept this process from looking.
    fn limits(&self, plan: &SourcePlan) -> Limits {
        if !plan.input.is_live() {
            let (first_frame, gap, look) = (FILE_SILENCE, FILE_SILENCE, FILE_LOOK);
            return Limits { first_frame, gap, look, patience: FILE_PATIENCE };
        }
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
        Limits { first_frame, gap, look: Duration::MAX, patience: LIVE_PATIENCE }
    }
}

/// Whether a file can be read at all: a pipe or a device would hold the thread up without a word.
fn readable(path: &Path) -> Result<(), String> {
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is not a file".into());
    }
    std::fs::File::open(path).map(drop).map_err(|error| error.to_string())
}

/// A decoded frame with what its own caps say, which is read once.
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

    fn dead_end(&mut self) -> Option<Failure> {
        Feed::dead_end(self)
    }

    fn waits_for(&self) -> Option<String> {
        Feed::waits_for(self)
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
