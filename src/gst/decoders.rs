//! Which decoder the pipeline uses for each codec, and whether its pictures reach system memory: found by decoding one
//! key frame as a source would.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::close::close;
use super::codecs::{self, CODECS, Codec};
use super::decode::{camera_decodebin, tune_decoders};
use super::feed::{add, make};
use super::observed::Observed;
use super::picture;
use super::sink::appsink;
use super::turn::Turn;
use crate::backend::supervise::Pacing;
use crate::types::{Finding, Picture};
use crate::vision::jpeg;

/// Longest wait for a decoded picture, in milliseconds: hardware takes time to wake up.
const DECODE_MS_MAX: u64 = 3_000;
/// Width and height of the pictures.
const SIZE: u32 = 192;

/// Why a codec cannot be decoded.
enum Lack {
    /// No decoder is installed.
    Decoder,
    /// The decoder, where one was chosen, gives no usable picture, and why.
    Picture(Option<String>, String),
}

/// Tries a decoder for each codec.
pub(super) fn findings() -> Vec<Finding> {
    CODECS.iter().map(finding).collect()
}

fn finding(codec: &Codec) -> Finding {
    let (detail, hint) = match decode(codec) {
        Ok(decoder) => (format!("{decoder}: a test picture reached system memory"), None),
        Err(Lack::Decoder) => (format!("missing: {}", codec.decoders.join(" or ")), Some(codec.install.to_owned())),
        Err(Lack::Picture(Some(decoder), why)) => {
            let name = decoder.split(' ').next().unwrap_or_default();
            let hint = format!("the variable GST_PLUGIN_FEATURE_RANK={name}:NONE leaves it to another decoder");
            (format!("{decoder} gives no picture in system memory: {why}"), Some(hint))
        }
        Err(Lack::Picture(None, why)) => (format!("no picture is decoded: {why}"), Some(codec.install.to_owned())),
    };
    Finding { name: format!("{} decoder", codec.name), ok: hint.is_none(), optional: false, detail, hint }
}

/// Decodes the codec's key frame; returns the decoder for display.
fn decode(codec: &Codec) -> Result<String, Lack> {
    let failed = |why: String| Lack::Picture(None, why);
    let pipeline = gst::Pipeline::new();
    let observed = Arc::new(Observed::default());
    let (source, sink) = build(codec, &pipeline, &observed).map_err(failed)?;
    let outcome = play(codec, &pipeline, &source, &sink);
    let decoder = codecs::in_use(pipeline.upcast_ref()).map(|(factory, _)| {
        let by = if codecs::is_hardware(&factory) { "hardware" } else { "software" };
        format!("{} ({by})", factory.name())
    });
    close(&pipeline);
    match (outcome, decoder) {
        (Ok(()), Some(decoder)) => Ok(decoder),
        (Ok(()), None) => Err(failed("without a decoder".into())),
        (Err(Lack::Picture(_, why)), decoder) => Err(Lack::Picture(decoder, why)),
        (Err(lack), _) => Err(lack),
    }
}

/// The pipeline of a source, with the key frame in the place of a file.
fn build(
    codec: &Codec,
    pipeline: &gst::Pipeline,
    observed: &Arc<Observed>,
) -> Result<(gst_app::AppSrc, gst_app::AppSink), String> {
    let source = make("appsrc")?.downcast::<gst_app::AppSrc>().map_err(|_| "appsrc is another element")?;
    source.set_caps(Some(&codec.caps.parse().map_err(|_| "its caps cannot be read")?));
    source.set_format(gst::Format::Time);
    let (sink, convert) = (appsink(Pacing::Fast, observed, None), make("videoconvert")?);
    tune_decoders(pipeline, observed);
    let decode = camera_decodebin(&convert, observed)?;
    add(pipeline, &[source.upcast_ref(), &decode, &convert, sink.upcast_ref()])?;
    source.link(&decode).map_err(|_| "appsrc and decodebin do not link")?;
    convert.link(&sink).map_err(|_| "videoconvert and appsink do not link")?;
    Ok((source, sink))
}

/// Plays the key frame until its picture can be read.
fn play(
    codec: &Codec,
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    sink: &gst_app::AppSink,
) -> Result<(), Lack> {
    let failed = |why: &str| Lack::Picture(None, why.to_owned());
    pipeline.set_state(gst::State::Playing).map_err(|_| failed("the pipeline does not start"))?;
    let mut buffer = gst::Buffer::from_slice(key_frame(codec).ok_or_else(|| failed("its key frame cannot be read"))?);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_duration(gst::ClockTime::SECOND);
    }
    // A failure to push is on the bus, too.
    let _ = source.push_buffer(buffer);
    let _ = source.end_of_stream();
    let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(DECODE_MS_MAX)) else {
        return Err(why_none(pipeline));
    };
    let info = picture::info(&sample).ok_or_else(|| failed("its caps say nothing of its size"))?;
    let picture = picture::picture(&sample, &info, Turn::default()).map_err(failed)?;
    match picture.planes() {
        Ok(_) if (picture.width, picture.height) == (SIZE, SIZE) => Ok(()),
        Ok(_) => Err(failed("it has another size")),
        Err(error) => Err(failed(error.0)),
    }
}

/// Why no picture came, from what is on the bus.
fn why_none(pipeline: &gst::Pipeline) -> Lack {
    let mut why = None;
    while let Some(message) = pipeline.bus().and_then(|bus| bus.pop()) {
        match message.view() {
            gst::MessageView::Element(element) if element.structure().is_some_and(|s| s.name() == "missing-plugin") => {
                return Lack::Decoder;
            }
            gst::MessageView::Error(error) => why = why.or_else(|| Some(super::failure::words(error))),
            _ => {}
        }
    }
    Lack::Picture(None, why.filter(|why| !why.is_empty()).unwrap_or_else(|| "none came".into()))
}

/// The codec's key frame.
fn key_frame(codec: &Codec) -> Option<Vec<u8>> {
    if codec.key_frame.is_empty() {
        let side = usize::try_from(SIZE).ok()?;
        let picture = Picture::from_rgb(SIZE, SIZE, vec![0; 3 * side * side])?;
        return jpeg::encode(&picture, SIZE, 50);
    }
    let digits = codec.key_frame.as_bytes().chunks(2).map(std::str::from_utf8);
    digits.map(|digits| u8::from_str_radix(digits.ok()?, 16).ok()).collect()
}
