//! The pipeline of one attempt: decodes a file, a network stream or the test picture into frames to pull.
//!
//! `source ! decodebin ! videoconvert ! appsink`. The converter passes I420 and NV12 through and only converts other
//! formats. `decodebin` gets no particular caps: with raw video as its caps it would not choose libav's decoders.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::camera::{Attempts, Session, Verdict};
use super::close::close;
use super::decode::{clip_decodebin, tune_decoders};
use super::evidence::{self, Record};
use super::failure::{ENCRYPTED, of_clip};
use super::observed::Observed;
use super::turn::Turn;
use super::{extent, mp4};
use crate::backend::supervise::Pacing;
use crate::backend::{Cause, Failure};
use crate::config::Input;
use crate::telemetry::redact;

/// Decoded frames queued for a source that must not lose any.
const LOSSLESS_FRAMES_MAX: u32 = 3;
/// The reason where a source holds only audio, text or data.
const NO_VIDEO: &str = "there is no video stream in it";
/// The reason where a demuxer finds no stream and posts no error.
const CUT_OFF: &str = "no stream can be read from it; it is cut off";
/// The context that a demuxer asks for when a stream is encrypted.
const DECRYPTION: &str = "drm-preferred-decryption-system-id";

/// A playing pipeline. Dropping it shuts it down within a time limit.
pub(super) struct Feed {
    pipeline: gst::Pipeline,
    appsink: gst_app::AppSink,
    bus: gst::Bus,
    observed: Arc<Observed>,
    pacing: Pacing,
    pulled: u64,
    written_off: u64,
    /// Undecoded pictures already reported by `damaged`.
    undecoded: u64,
    missing: Option<String>,
    /// The first error, kept until its cause is known.
    error: Option<gst::Message>,
    /// The RTSP session, for a camera.
    session: Option<Session>,
    /// What it does for evidence.
    record: Record,
    /// The file, where it plays one.
    clip: Option<PathBuf>,
}

impl Feed {
    /// Builds the pipeline and starts it. The error is a reason without secrets.
    pub(super) fn start(input: &Input, pacing: Pacing, attempts: &Attempts) -> Result<Self, String> {
        let mut session = match input {
            Input::Rtsp(camera) => Some(Session::new(camera, attempts)),
            _ => None,
        };
        let pipeline = gst::Pipeline::new();
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        let observed = Arc::new(Observed::default());
        let record = attempts.record.clone();
        let end = if record.is_own() { evidence::packets(&pipeline) } else { pictures(&pipeline, pacing, &observed) };
        let (appsink, convert) = end?;
        tune_decoders(&pipeline, &observed);
        match (input, &mut session) {
            (Input::File(path), _) => file(&pipeline, path, &convert, &observed)?,
            (Input::Test { pattern, frames, width, height, fps }, _) => {
                test(&pipeline, pattern, *frames, (*width, *height), *fps, &convert)?;
            }
            (_, Some(session)) => session.build(&pipeline, &convert, &observed)?,
            _ => return Err("not a source that GStreamer plays".into()),
        }
        let (missing, error) = (None, None);
        let mut feed = Self {
            pipeline,
            appsink,
            bus,
            observed,
            pacing,
            pulled: 0,
            written_off: 0,
            undecoded: 0,
            missing,
            error,
            session,
            record,
            clip: input.file().map(Path::to_owned),
        };
        if feed.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(feed.failure().map_or_else(|| "the pipeline does not start".into(), |failure| failure.reason));
        }
        Ok(feed)
    }

    /// The next decoded frame; waits at most `wait`.
    pub(super) fn next(&mut self, wait: Duration) -> Option<gst::Sample> {
        let wait = gst::ClockTime::from_nseconds(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 2));
        let sample = self.appsink.try_pull_sample(wait)?;
        self.pulled += 1;
        Some(sample)
    }

    /// Measures for evidence when a frame says that it was captured, in Unix time, against the arrival of its packets.
    pub(super) fn measure(&self, sample: &gst::Sample, captured_ns: u64) {
        self.record.measure(sample, &self.pipeline, captured_ns);
    }

    /// Whether every frame has been pulled and none will follow.
    pub(super) fn ended(&self) -> bool {
        // An end of stream caused by an error does not count until the error's cause is known.
        self.error.is_none() && self.appsink.is_eos()
    }

    /// Why the file is shorter than it says.
    pub(super) fn cut_off(&self) -> Option<String> {
        self.clip.as_deref().and_then(extent::cut_off)
    }

    /// Whether a decoded frame waits in the pipeline for its presentation time.
    pub(super) fn waits_for_its_time(&self) -> bool {
        self.pacing == Pacing::Realtime && self.unpulled() > 0
    }

    /// Decoded frames that were neither pulled nor written off: queued, in transit to the queue, or replaced by newer
    /// ones.
    fn unpulled(&self) -> u64 {
        self.observed.decoded.load(Ordering::Acquire).saturating_sub(self.pulled + self.written_off)
    }

    /// Writes off all unpulled frames but `spared` as lost; returns how many.
    pub(super) fn write_off(&mut self, spared: u64) -> u64 {
        let lost = self.unpulled().saturating_sub(spared);
        self.written_off += lost;
        lost
    }

    /// Pictures that a decoder dropped silently since the last call.
    pub(super) fn damaged(&mut self) -> u64 {
        let all = self.observed.undecoded.load(Ordering::Acquire);
        all.saturating_sub(std::mem::replace(&mut self.undecoded, all))
    }

    /// Detects a demuxer that has stopped reading and found no stream, without an error on the bus. decodebin swallows
    /// errors that an element posts while it is being plugged in, so otherwise only the watchdog would notice a file
    /// cut off before its index.
    pub(super) fn dead_end(&mut self) -> Option<Failure> {
        let mut stopped = None;
        // The iterator may need a resync (an element was just added); the next poll retries.
        let _ = self.pipeline.iterate_recurse().foreach(|element| {
            let demuxer = element.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DEMUXER));
            if demuxer && element.num_src_pads() == 0 {
                let idle =
                    |pad: &gst::Pad| pad.mode() == gst::PadMode::Pull && pad.task_state() == gst::TaskState::Paused;
                stopped = stopped.take().or_else(|| element.sink_pads().into_iter().find(idle));
            }
        });
        // A task pauses before it posts its error. It holds the stream lock while it runs, so taking the lock waits for
        // the error.
        drop(stopped?.stream_lock());
        let failure = self.failure();
        failure.or_else(|| self.observed.refused.get().map(|why| why.clone().into())).or_else(|| Some(CUT_OFF.into()))
    }

    /// The stream's orientation.
    pub(super) fn turn(&self) -> Turn {
        Turn::from_bits(self.observed.turn.load(Ordering::Acquire))
    }

    /// The failure since the last call, if any: the first error on the bus, or no video in the source.
    pub(super) fn failure(&mut self) -> Option<Failure> {
        while let Some(message) = self.bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) => {
                    tracing::debug!(message = %redact(error.error().message()), "pipeline error");
                    if self.error.is_none() {
                        self.error = Some(message);
                    }
                }
                gst::MessageView::Warning(warning) => {
                    tracing::debug!(message = %redact(warning.error().message()), "pipeline warning");
                }
                gst::MessageView::Progress(progress) => {
                    let (kind, code, text) = progress.get();
                    // A `Start` message only queues the step; it runs later on rtspsrc's own thread.
                    if let Some(session) = self.session.as_mut().filter(|_| kind != gst::ProgressType::Start) {
                        session.progress(code, text, &self.observed);
                    }
                }
                // The demuxer asks for a decryption key.
                gst::MessageView::NeedContext(asked) if asked.context_type() == DECRYPTION => {
                    let _ = self.observed.refused.set(ENCRYPTED.to_owned());
                }
                gst::MessageView::Element(element) => {
                    if let Some(s) = element.structure().filter(|s| s.name() == "missing-plugin") {
                        self.missing = s.get::<String>("name").ok();
                    }
                }
                _ => {}
            }
        }
        if let Some(failure) = self.refusal() {
            self.error = None;
            return Some(failure);
        }
        let no_video = self.observed.no_video.swap(false, Ordering::AcqRel);
        match self.error.take() {
            Some(message) => self.judge(message),
            None if no_video => Some(self.no_video()),
            None => self.session.as_mut().and_then(Session::gave_up),
        }
    }

    /// Why the session must not go on, whatever error it has.
    fn refusal(&mut self) -> Option<Failure> {
        let session = self.session.as_mut()?;
        let failure = session.untrusted().or_else(|| session.redirected(&self.observed))?;
        Some(Failure { reason: redact(&failure.reason).into_owned(), ..failure })
    }

    /// Turns an error into a failure, or keeps the error while its cause is unknown.
    fn judge(&mut self, message: gst::Message) -> Option<Failure> {
        let gst::MessageView::Error(error) = message.view() else { return None };
        let unlinked = !self.observed.linked.load(Ordering::Acquire);
        let debug = error.debug().unwrap_or_default();
        if self.observed.refused.get().is_some() || self.missing.is_some() || (unlinked && debug.contains("not-linked"))
        {
            return Some(self.no_video());
        }
        let Some(session) = &mut self.session else { return Some(redact(&of_clip(error)).into_owned().into()) };
        match session.judge(error, &self.observed) {
            Verdict::Failed(failure) => Some(Failure { reason: redact(&failure.reason).into_owned(), ..failure }),
            Verdict::Unknown => {
                self.error = Some(message);
                None
            }
            Verdict::OverUdp => {
                let (input, attempts) = session.restart_args();
                // Some servers must close the old session before they accept a new one.
                close(&self.pipeline);
                match Self::start(&input, self.pacing, &attempts) {
                    Ok(fresh) => *self = fresh,
                    Err(why) => return Some(why.into()),
                }
                None
            }
        }
    }

    /// Why the source yields no picture.
    fn no_video(&self) -> Failure {
        let cause = match (self.observed.refused.get(), &self.missing) {
            (Some(why), _) => return why.clone().into(),
            (None, Some(name)) if self.session.is_some() => Cause::NoDecoder(name.clone()),
            (None, Some(name)) => return missing(name).into(),
            (None, None) => Cause::NoVideo,
        };
        match &self.session {
            Some(session) => session.failed(&cause),
            None => NO_VIDEO.into(),
        }
    }

    /// Why no first frame has arrived yet, where known.
    pub(super) fn waits_for(&self) -> Option<String> {
        self.session.as_ref().map(|session| session.waits_for(&self.observed))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        close(&self.pipeline);
    }
}

fn missing(name: &str) -> String {
    format!("GStreamer has no {name} here (`dsengine doctor` names the package)")
}

/// The end of a pipeline that decodes: what takes decoded pictures, and the sink.
fn pictures(
    pipeline: &gst::Pipeline,
    pacing: Pacing,
    observed: &Arc<Observed>,
) -> Result<(gst_app::AppSink, gst::Element), String> {
    let (appsink, convert) = (appsink(pacing, observed), make("videoconvert")?);
    add(pipeline, &[&convert, appsink.upcast_ref()])?;
    convert.link(&appsink).map_err(|_| "videoconvert and appsink do not link")?;
    Ok((appsink, convert))
}

pub(super) fn make(factory: &str) -> Result<gst::Element, String> {
    gst::ElementFactory::make(factory).build().map_err(|_| missing(factory))
}

pub(super) fn add(pipeline: &gst::Pipeline, elements: &[&gst::Element]) -> Result<(), String> {
    pipeline.add_many(elements).map_err(|e| e.message.to_string())
}

fn appsink(pacing: Pacing, observed: &Arc<Observed>) -> gst_app::AppSink {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list([gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12])
        .build();
    let appsink = gst_app::AppSink::builder()
        .caps(&caps)
        .sync(pacing == Pacing::Realtime)
        .max_buffers(if pacing == Pacing::Live { 1 } else { LOSSLESS_FRAMES_MAX })
        .drop(pacing == Pacing::Live)
        .enable_last_sample(false)
        .build();
    if let Some(pad) = appsink.static_pad("sink") {
        watch_pad(&pad, observed);
    }
    appsink
}

/// Counts frames, reads the orientation tag, and accepts padded rows in the allocation query (else decoders copy).
fn watch_pad(pad: &gst::Pad, observed: &Arc<Observed>) {
    let counted = Arc::clone(observed);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counted.decoded.fetch_add(1, Ordering::AcqRel);
        gst::PadProbeReturn::Ok
    });
    let turned = Arc::clone(observed);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && let gst::EventView::Tag(tag) = event.view()
            && let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>()
        {
            match Turn::from_tag(orientation.get()) {
                Some(turn) => turned.turn.store(turn.to_bits(), Ordering::Release),
                None => tracing::warn!(tag = orientation.get(), "unknown orientation; the picture stays as it is"),
            }
        }
        gst::PadProbeReturn::Ok
    });
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Query(query)) = &mut info.data
            && let gst::QueryViewMut::Allocation(allocation) = query.view_mut()
        {
            allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

fn file(pipeline: &gst::Pipeline, path: &Path, convert: &gst::Element, observed: &Arc<Observed>) -> Result<(), String> {
    let location = path.to_str().ok_or("its path is not UTF-8")?;
    let source = make("filesrc")?;
    source.set_property("location", location);
    mp4::keep_short_video(&source, path);
    let decode = clip_decodebin(convert, observed)?;
    add(pipeline, &[&source, &decode])?;
    source.link(&decode).map_err(|_| "filesrc and decodebin do not link".into())
}

fn test(
    pipeline: &gst::Pipeline,
    pattern: &str,
    frames: Option<u64>,
    (width, height): (u32, u32),
    fps: f64,
    convert: &gst::Element,
) -> Result<(), String> {
    let source = make("videotestsrc")?;
    source.set_property_from_str("pattern", pattern);
    source.set_property("is-live", frames.is_none());
    if let Some(frames) = frames {
        source.set_property("num-buffers", i32::try_from(frames).map_err(|_| "more frames than videotestsrc makes")?);
    }
    let size = |v: u32| i32::try_from(v).map_err(|_| "the picture is too large");
    let caps = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .width(size(width)?)
        .height(size(height)?)
        .framerate(gst::Fraction::approximate_f64(fps).ok_or("its frame rate is not a number")?)
        .build();
    add(pipeline, &[&source])?;
    source.link_filtered(convert, &caps).map_err(|_| "videotestsrc does not make such a picture".into())
}

#[cfg(test)]
mod tests;
