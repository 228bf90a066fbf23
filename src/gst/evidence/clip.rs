//! Kept packets as an MP4 file, made in memory: nothing of it is on a disk unless who asked for it writes it there.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::backend::evidence::{Clip, Span, Times, decode_times};
use crate::gst::close::close;
use crate::gst::failure::words;
use crate::gst::feed::{add, make};
use crate::telemetry::redact;

/// Makes the file within `limit`.
pub(super) fn mp4(span: &Span<gst::Caps>, limit: Duration) -> Result<Clip, String> {
    let memory = memfd_create("clip", MemfdFlags::CLOEXEC).map_err(|error| format!("no memory for a clip: {error}"))?;
    let mut file = File::from(memory);
    let pipeline = gst::Pipeline::new();
    let (source, mux, sink) = (source(span), make("mp4mux")?, make("filesink")?);
    // The sink must be able to go back, and opens the memory as a file of its own.
    sink.set_property("location", format!("/proc/self/fd/{}", file.as_raw_fd()));
    add(&pipeline, &[source.upcast_ref(), &mux, &sink])?;
    // By name: appsrc says nothing of its stream yet, and the first pad that mp4mux has is for sound.
    let linked = source.link_pads(Some("src"), &mux, Some("video_%u")).and_then(|()| mux.link(&sink));
    linked.map_err(|_| "mp4mux does not take such a stream")?;
    finish(&pipeline, || feed(&source, span), limit)?;
    let mut mp4 = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut mp4)).map_err(|error| format!("the clip is lost: {error}"))?;
    let shown = || span.units.iter().map(|unit| unit.at_ns);
    let covers_ns = (shown().min().unwrap_or_default(), shown().max().unwrap_or_default());
    Ok(Clip { mp4, covers_ns, pictures: span.units.len() })
}

/// The start of a pipeline that is fed with kept packets.
pub(super) fn source(span: &Span<gst::Caps>) -> gst_app::AppSrc {
    // The packets are in memory already, and the ring bounds them.
    gst_app::AppSrc::builder().format(gst::Format::Time).caps(&span.format).max_bytes(0).build()
}

/// Feeds all packets, and the end.
pub(super) fn feed(source: &gst_app::AppSrc, span: &Span<gst::Caps>) -> Result<(), String> {
    let shown: Vec<u64> = span.units.iter().map(|unit| unit.at_ns).collect();
    let times = decode_times(&shown);
    for (at, (unit, Times { pts_ns, dts_ns })) in span.units.iter().zip(&times).enumerate() {
        // The last picture is shown as long as the one before it: without a time, a player leaves it out.
        let shown_ns = times.get(at + 1).map(|next| next.dts_ns - dts_ns);
        let shown_ns = shown_ns.or_else(|| Some(dts_ns - times.get(at.checked_sub(1)?)?.dts_ns));
        let mut buffer = gst::Buffer::from_slice(std::sync::Arc::clone(&unit.data));
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(*pts_ns));
            buffer.set_dts(gst::ClockTime::from_nseconds(*dts_ns));
            buffer.set_duration(shown_ns.map(gst::ClockTime::from_nseconds));
            if !unit.is_key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        source.push_buffer(buffer).map_err(|_| "the packets are not taken")?;
    }
    source.end_of_stream().map(drop).map_err(|_| "the packets are not taken".to_owned())
}

/// Plays a pipeline to its end and shuts it down.
pub(super) fn finish(
    pipeline: &gst::Pipeline,
    feed: impl FnOnce() -> Result<(), String>,
    limit: Duration,
) -> Result<(), String> {
    let limit = gst::ClockTime::from_nseconds(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX / 2));
    let played = || {
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        let started = pipeline.set_state(gst::State::Playing);
        let fed = started.map_err(|_| "the pipeline does not start".to_owned()).and_then(|_| feed());
        let limit = if fed.is_ok() { limit } else { gst::ClockTime::ZERO };
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        match (bus.timed_pop_filtered(limit, &ends).as_ref().map(|message| message.view()), fed) {
            (Some(gst::MessageView::Eos(_)), Ok(())) => Ok(()),
            (Some(gst::MessageView::Error(error)), _) => Err(redact(&words(error)).into_owned()),
            (_, Err(why)) => Err(why),
            _ => Err(format!("it was not completed within {} s", limit.seconds())),
        }
    };
    let done = played();
    close(pipeline);
    done
}
