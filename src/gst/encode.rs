//! Writes pictures into an H.264 mp4 file.

use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::close::close;
use crate::error::{Code, Error};
use crate::telemetry::redact;
use crate::types::{Matrix, Picture, PixelFormat, Planes, Range};

/// Bytes queued for the encoder before [`Mp4Writer::write`] blocks.
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// How often a blocked [`Mp4Writer::write`] checks for room.
const LOOK_MS: u64 = 50;
/// How long an encoder may consume nothing before it counts as stuck.
const STUCK_MS_MAX: u64 = 20_000;
/// x264's constant quality: near transparent, small enough for a demo clip.
const QUALITY: &str = "21";
/// Bits per pixel and frame, for encoders without a constant-quality mode.
const BITS_PER_PIXEL: f64 = 0.15;

/// An mp4 file being written. It is complete only once [`Mp4Writer::finish`] has returned.
pub struct Mp4Writer {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    bus: gst::Bus,
    place: String,
    fps: gst::Fraction,
    format: Option<(PixelFormat, u32, u32)>,
}

impl Mp4Writer {
    /// Opens `path` for writing pictures at about `fps` frames per second.
    ///
    /// # Errors
    /// [`Code::Pipeline`] when no H.264 encoder is installed, [`Code::Io`] when the file cannot be written.
    pub fn create(path: &Path, fps: f64) -> Result<Self, Error> {
        gst::init().map_err(|error| Error::new(Code::Pipeline, format!("GStreamer does not start: {error}")))?;
        let place = path.display().to_string();
        let io = |what: &str| Error::new(Code::Io, format!("cannot write {place}: {what}"));
        // GStreamer would report this too, but later and from another thread.
        std::fs::File::create(path).map_err(|error| io(&error.to_string()))?;
        let location = path.to_str().ok_or_else(|| io("its path is not UTF-8"))?;
        let fps = gst::Fraction::approximate_f64(fps).filter(|f| f.numer() > 0);
        let fps = fps.ok_or_else(|| io("its frame rate is not above zero"))?;
        // Non-blocking: a failed encoder consumes nothing more and reports that on the bus only. See `make_room`.
        let source = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(QUEUE_BYTES_MAX).build();
        let (convert, parse, mux, sink) =
            (make("videoconvert")?, make("h264parse")?, make("mp4mux")?, make("filesink")?);
        let encode = encoder(fps)?;
        sink.set_property("location", location);
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &convert, &encode, &parse, &mux, &sink];
        let linked = pipeline.add_many(chain).and_then(|()| gst::Element::link_many(chain));
        linked.map_err(|error| Error::new(Code::Pipeline, format!("the encoder does not link: {error}")))?;
        let bus = pipeline.bus().ok_or_else(|| Error::new(Code::Pipeline, "the pipeline has no bus"))?;
        let writer = Self { pipeline, source, bus, place, fps, format: None };
        writer.pipeline.set_state(gst::State::Playing).map_err(|_| writer.failure("the encoder does not start"))?;
        Ok(writer)
    }

    /// Adds a picture shown at `pts_ns`, which must increase. Odd sizes lose their last row or column, because H.264
    /// 4:2:0 needs even sizes. Blocks while the encoder is behind.
    ///
    /// # Errors
    /// [`Code::Io`] when the picture differs in size or format from the first, or the encoder has failed.
    pub fn write(&mut self, picture: &Picture, pts_ns: u64) -> Result<(), Error> {
        let format = (picture.format, picture.width, picture.height);
        if *self.format.get_or_insert(format) != format {
            return Err(Error::new(Code::Io, format!("{}: a picture of another size or format came", self.place)));
        }
        let info = self.info(picture)?;
        let planes = picture.planes().map_err(|why| self.error(&why.to_string()))?;
        self.make_room()?;
        if self.source.caps().is_none() {
            let caps = info.to_caps().map_err(|_| self.failure("its pictures cannot be described"))?;
            self.source.set_caps(Some(&caps));
        }
        let mut buffer = gst::Buffer::with_size(info.size()).map_err(|_| self.failure("no memory for a picture"))?;
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(pts_ns));
            let mut map = buffer.map_writable().map_err(|_| self.failure("no memory for a picture"))?;
            copy(&planes, &info, &mut map);
        }
        self.source.push_buffer(buffer).map(drop).map_err(|_| self.failure("the encoder stopped"))
    }

    /// Completes the file within `limit`.
    ///
    /// # Errors
    /// [`Code::Io`] when the encoder failed or did not finish in time; the file is then not playable.
    pub fn finish(self, limit: Duration) -> Result<(), Error> {
        self.source.end_of_stream().map_err(|_| self.failure("the encoder stopped"))?;
        let limit = gst::ClockTime::from_nseconds(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX / 2));
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        match self.bus.timed_pop_filtered(limit, &ends).as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => Err(self.error(error.error().message())),
            _ => Err(self.error("it was not completed in time")),
        }
    }

    /// Waits until the queue has room for a picture; returns the encoder's error if it failed meanwhile.
    fn make_room(&self) -> Result<(), Error> {
        let (mut waited_ms, mut waiting) = (0, u64::MAX);
        loop {
            let bytes = self.source.current_level_bytes();
            let wait_ms = if bytes < QUEUE_BYTES_MAX { 0 } else { LOOK_MS };
            let wait = gst::ClockTime::from_mseconds(wait_ms);
            let message = self.bus.timed_pop_filtered(wait, &[gst::MessageType::Error]);
            if let Some(gst::MessageView::Error(error)) = message.as_ref().map(|message| message.view()) {
                return Err(self.error(error.error().message()));
            }
            if wait_ms == 0 {
                return Ok(());
            }
            waited_ms = if bytes < waiting { 0 } else { waited_ms + wait_ms };
            waiting = bytes;
            if waited_ms >= STUCK_MS_MAX {
                return Err(self.error("the encoder takes no pictures any more"));
            }
        }
    }

    fn info(&self, picture: &Picture) -> Result<gst_video::VideoInfo, Error> {
        let format = match picture.format {
            PixelFormat::I420 => gst_video::VideoFormat::I420,
            PixelFormat::Nv12 => gst_video::VideoFormat::Nv12,
            PixelFormat::Rgb => gst_video::VideoFormat::Rgb,
        };
        let mut info = gst_video::VideoInfo::builder(format, picture.width & !1, picture.height & !1).fps(self.fps);
        let colorimetry = colorimetry(picture);
        if let Some(colorimetry) = &colorimetry {
            info = info.colorimetry(colorimetry);
        }
        info.build().map_err(|_| self.error("pictures must be at least 2x2"))
    }

    /// The error on the pipeline's bus, or `otherwise`.
    fn failure(&self, otherwise: &str) -> Error {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => self.error(error.error().message()),
            _ => self.error(otherwise),
        }
    }

    fn error(&self, what: &str) -> Error {
        Error::new(Code::Io, format!("cannot write {}: {}", self.place, redact(what)))
    }
}

impl Drop for Mp4Writer {
    fn drop(&mut self) {
        close(&self.pipeline);
    }
}

/// Copies the planes, row by row, into the encoder's buffer.
fn copy(picture: &Planes<'_>, info: &gst_video::VideoInfo, out: &mut [u8]) {
    for index in 0..picture.plane_count() {
        let (from, stride) = (picture.plane(index), picture.stride(index));
        let (to, to_stride) = (info.offset()[index], info.stride()[index].unsigned_abs() as usize);
        let (width, height) = (info.width() as usize, info.height() as usize);
        let (bytes, rows) = match (picture.format, index) {
            (PixelFormat::Rgb, _) => (width * 3, height),
            (_, 0) => (width, height),
            (PixelFormat::I420, _) => (width / 2, height / 2),
            (PixelFormat::Nv12, _) => (width, height / 2),
        };
        for row in 0..rows {
            let to = to + row * to_stride;
            out[to..to + bytes].copy_from_slice(&from[row * stride..row * stride + bytes]);
        }
    }
}

fn colorimetry(picture: &Picture) -> Option<gst_video::VideoColorimetry> {
    let range = match picture.colorimetry.range {
        Range::Limited => 2,
        Range::Full => 1,
    };
    // range:matrix:transfer:primaries, as GStreamer's enum values.
    let stated = match picture.colorimetry.matrix {
        _ if picture.format == PixelFormat::Rgb => return None,
        Matrix::Bt601 => format!("{range}:4:16:4"),
        Matrix::Bt709 => format!("{range}:3:5:1"),
        Matrix::Bt2020 => format!("{range}:6:13:7"),
    };
    stated.parse().ok()
}

fn make(factory: &str) -> Result<gst::Element, Error> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        Error::new(Code::Pipeline, format!("GStreamer's {factory} is not installed"))
            .hint("`dsengine doctor` names the package")
    })
}

/// x264 if installed, else openh264. Without B frames: frames are stored in presentation order.
fn encoder(fps: gst::Fraction) -> Result<gst::Element, Error> {
    if let Ok(x264) = gst::ElementFactory::make("x264enc").build() {
        x264.set_property_from_str("pass", "qual");
        x264.set_property_from_str("quantizer", QUALITY);
        x264.set_property_from_str("speed-preset", "veryfast");
        x264.set_property_from_str("bframes", "0");
        x264.set_property_from_str("key-int-max", "60");
        return Ok(x264);
    }
    let openh264 = make("openh264enc")?;
    // The picture's size is not known yet; full HD serves as upper bound.
    let rate = f64::from(fps.numer()) / f64::from(fps.denom()) * 1920.0 * 1080.0 * BITS_PER_PIXEL;
    openh264.set_property_from_str("bitrate", &(rate as u64).to_string());
    openh264.set_property_from_str("complexity", "low");
    Ok(openh264)
}
