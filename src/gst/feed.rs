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
use super::decode::tune_decoders;
use super::encoded::Encoded;
use super::evidence::{self, Record};
use super::failure::{ENCRYPTED, of_clip};
use super::inputs::Reads;
use super::observed::Observed;
use super::sink::appsink;
use super::turn::Turn;
use super::web::Download;
use super::{codecs, doctor, extent, inputs, scale, webcam};
use crate::backend::supervise::Pacing;
use crate::backend::{Cause, Failure, Stream};
use crate::config::{Input, PictureMax, Webcam};
use crate::telemetry::redact;

/// The reason where a source holds only audio, text or data.
const NO_VIDEO: &str = "there is no video stream in it";
/// The reason where a demuxer finds no stream and posts no error.
const CUT_OFF: &str = "no stream can be read from it; it is cut off";
/// The context that a demuxer asks for when a stream is encrypted.
const DECRYPTION: &str = "drm-preferred-decryption-system-id";

/// What a source is added to.
pub(super) struct Place<'a> {
    pub(super) pipeline: &'a gst::Pipeline,
    /// Takes its pictures.
    pub(super) convert: &'a gst::Element,
    /// From which they are pulled.
    pub(super) appsink: &'a gst_app::AppSink,
    pub(super) observed: &'a Arc<Observed>,
}

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
    /// What is read, for a web address.
    download: Option<Download>,
    /// The device, for a camera of this machine.
    webcam: Option<Webcam>,
    /// What it does for evidence.
    record: Record,
    /// The file, where it plays one.
    clip: Option<PathBuf>,
}

impl Feed {
    /// Builds the pipeline and starts it. The error is a reason without secrets.
    pub(super) fn start(input: &Input, pacing: Pacing, attempts: &Attempts) -> Result<Self, String> {
        let mut reads = Reads::default();
        let mut feed = Self::build(pacing, &attempts.encoded, attempts.picture_max, &attempts.record, |place| {
            reads = inputs::build(place, input, attempts)?;
            Ok(())
        })?;
        (feed.session, feed.download) = (reads.session, reads.download);
        feed.clip = input.file().map(Path::to_owned);
        feed.webcam = if let Input::Webcam(webcam) = input { Some(webcam.clone()) } else { None };
        feed.play()
    }

    /// Builds the pipeline around what `source` adds to it.
    pub(super) fn build(
        pacing: Pacing,
        encoded: &Arc<Encoded>,
        picture_max: Option<PictureMax>,
        record: &Record,
        source: impl FnOnce(&Place<'_>) -> Result<(), String>,
    ) -> Result<Self, String> {
        let pipeline = gst::Pipeline::new();
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        let observed = Arc::new(Observed::default());
        let (appsink, convert) = if record.is_own() {
            evidence::packets(&pipeline)?
        } else {
            pictures(&pipeline, pacing, &observed, picture_max)?
        };
        tune_decoders(&pipeline, &observed);
        // Nobody watches what plays faster than its own time, nor what is kept as evidence.
        if pacing != Pacing::Fast && !record.is_own() {
            encoded.tap(&pipeline);
        }
        source(&Place { pipeline: &pipeline, convert: &convert, appsink: &appsink, observed: &observed })?;
        Ok(Self {
            pipeline,
            appsink,
            bus,
            observed,
            pacing,
            pulled: 0,
            written_off: 0,
            undecoded: 0,
            missing: None,
            error: None,
            session: None,
            download: None,
            webcam: None,
            record: record.clone(),
            clip: None,
        })
    }

    /// Starts it.
    pub(super) fn play(mut self) -> Result<Self, String> {
        // The failure of a camera of this machine is found at its device.
        if self.pipeline.set_state(gst::State::Playing).is_err() && self.webcam.is_none() {
            return Err(self.failure().map_or_else(|| "the pipeline does not start".into(), |failure| failure.reason));
        }
        Ok(self)
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
        let mut all = self.observed.undecoded.load(Ordering::Acquire);
        if self.appsink.is_eos() {
            // Of whole pictures it is known at the end how many there should have been.
            let missing = self
                .observed
                .offered
                .load(Ordering::Acquire)
                .saturating_sub(self.observed.decoded.load(Ordering::Acquire));
            all = all.max(missing);
        }
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
        if let Some(failure) = self.download.as_ref().and_then(Download::failure) {
            return Some(Failure { reason: redact(&failure.reason).into_owned(), ..failure });
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
        let Some(session) = &mut self.session else {
            if let Some(webcam) = &self.webcam {
                return Some(webcam::failed(webcam, super::failure::words(error)));
            }
            let why = redact(&of_clip(error)).into_owned();
            return Some(
                self.download.as_ref().map_or(why.clone().into(), |download| download.failed(&Cause::Damaged(why))),
            );
        };
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
            (None, Some(name)) if self.session.is_some() || self.download.is_some() => codecs::no_decoder(name),
            (None, Some(name)) => return Failure::of(&codecs::no_decoder(name), "").reason.into(),
            (None, None) => Cause::NoVideo,
        };
        match (&self.session, &self.download) {
            (Some(session), _) => session.failed(&cause),
            (None, Some(download)) => download.failed(&cause),
            (None, None) => NO_VIDEO.into(),
        }
    }

    /// What the stream is, once a picture of it was decoded.
    pub(super) fn stream(&self) -> Stream {
        let decoder = codecs::in_use(self.pipeline.upcast_ref());
        let caps = self.appsink.static_pad("sink").and_then(|pad| pad.current_caps());
        let info = caps.and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        let rate = info.map(|info| (info.fps().numer(), info.fps().denom()));
        Stream {
            codec: decoder.as_ref().and_then(|(_, codec)| codec.map(str::to_owned)),
            hardware: decoder.as_ref().is_some_and(|(factory, _)| codecs::is_hardware(factory)),
            decoder: decoder.map(|(factory, _)| factory.name().to_string()),
            transport: self.session.as_ref().map(|session| session.transport().to_owned()),
            fps: rate.filter(|(n, d)| *n > 0 && *d > 0).map(|(n, d)| f64::from(n) / f64::from(d)),
            ..Stream::default()
        }
    }

    /// Whether its session is set up, or its server has answered.
    pub(super) fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_connected)
            || self.download.as_ref().is_some_and(Download::is_answered)
    }

    /// Why no first frame has arrived yet, where known.
    pub(super) fn waits_for(&self) -> Option<String> {
        let session = self.session.as_ref().map(|session| session.waits_for(&self.observed));
        session.or_else(|| self.download.as_ref().map(Download::waits_for))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(download) = &mut self.download {
            download.stop();
        }
        close(&self.pipeline);
    }
}

/// The end of a pipeline that decodes: what takes decoded pictures, and the sink.
fn pictures(
    pipeline: &gst::Pipeline,
    pacing: Pacing,
    observed: &Arc<Observed>,
    most: Option<PictureMax>,
) -> Result<(gst_app::AppSink, gst::Element), String> {
    let (appsink, convert) = (appsink(pacing, observed, most), make("videoconvert")?);
    add(pipeline, &[&convert, appsink.upcast_ref()])?;
    scale::link(pipeline, &convert, &appsink, most)?;
    Ok((appsink, convert))
}

pub(super) fn make(factory: &str) -> Result<gst::Element, String> {
    let missing = |_| format!("GStreamer has no {factory} here: {}", doctor::remedy(factory));
    gst::ElementFactory::make(factory).build().map_err(missing)
}

pub(super) fn add(pipeline: &gst::Pipeline, elements: &[&gst::Element]) -> Result<(), String> {
    pipeline.add_many(elements).map_err(|e| e.message.to_string())
}

#[cfg(test)]
mod tests;
