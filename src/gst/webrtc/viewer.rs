//! A viewer: its own pipeline, to which one thread passes the source's encoded pictures as they are.
//!
//! `appsrc ! h264parse ! rtph264pay ! webrtcbin`. Nothing is decoded or encoded. Packets go out over UDP, so a viewer
//! that reads slowly holds up nothing; one that is gone is noticed by its missing reports (RTCP).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::super::close::close;
use super::super::decode::set_if_there;
use super::super::encoded::{Encoded, Listener, Packet, Unfit};
use super::super::feed::{add, make};
use super::connection::{Connection, Link};
use super::sdp::{Codec, Description, Payload, Profile, parameter, with_fmtp};
use crate::backend::Unanswered;
use crate::config::IceServers;
use crate::own::Stop;
use crate::types::Clock;

/// Longest time from the answer to the connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a viewer, which reports every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often the thread looks at the connection.
const TICK: Duration = Duration::from_millis(50);
/// Bytes sent at once, and the pause after them: receivers have buffers of about 200 KiB.
const BURST_BYTES: usize = 64 * 1024;
const BURST_PAUSE: Duration = Duration::from_millis(5);
/// Most bytes queued before the payloader; more means that the connection takes none.
const QUEUE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a viewer's session ends.
const ENDED: &str = "its session was ended";
const UNFIT: &str = "the stream can no longer be passed on";

/// The clock, and the stream.
pub(super) struct Supply {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) encoded: Arc<Encoded>,
}

/// A viewer whose offer was answered. Dropping it shuts its pipeline down.
pub(super) struct Viewer {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    connection: Connection,
    /// When its last report came, on the engine's clock.
    heard_ns: Arc<AtomicU64>,
}

impl Viewer {
    /// Builds the pipeline for an offer, to show a stream with these caps; returns it with the answer.
    pub(super) fn answer(
        offer: &Description<'_>,
        caps: &gst::Caps,
        from: IpAddr,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, String), Unanswered> {
        let payload = choose(offer, caps).ok_or_else(|| Unanswered::Invalid("it takes no H.264".into()))?;
        let (viewer, answer) = Self::start(offer, payload, caps, from, clock).map_err(Unanswered::Failed)?;
        Ok((viewer, with_fmtp(&answer, payload)))
    }

    fn start(
        offer: &Description<'_>,
        payload: &Payload,
        caps: &gst::Caps,
        from: IpAddr,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, String), String> {
        let pipeline = gst::Pipeline::new();
        let connection = Connection::add(&pipeline, &IceServers::default(), from)?;
        let source = gst_app::AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .caps(caps)
            .max_bytes(QUEUE_BYTES_MAX)
            .block(false)
            .build();
        let (parse, pay, filter) = (make("h264parse")?, make("rtph264pay")?, make("capsfilter")?);
        pay.set_property("pt", u32::from(payload.number));
        // With every key frame, for viewers that join or lose something.
        pay.set_property("config-interval", -1_i32);
        set_if_there(&pay, "aggregate-mode", "zero-latency");
        let rtp = gst::Caps::builder("application/x-rtp")
            .field("media", "video")
            .field("encoding-name", "H264")
            .field("clock-rate", 90_000_i32)
            .field("packetization-mode", "1")
            .field("payload", i32::from(payload.number))
            .build();
        filter.set_property("caps", &rtp);
        add(&pipeline, &[source.upcast_ref(), &parse, &pay, &filter])?;
        gst::Element::link_many([source.upcast_ref(), &parse, &pay, &filter])
            .map_err(|_| "the payloader does not link")?;
        let name = format!("sink_{}", offer.video);
        let sink = connection.bin.request_pad_simple(&name).ok_or("webrtcbin takes no stream")?;
        send_only(&sink);
        let out = filter.static_pad("src").ok_or("capsfilter has no pad")?;
        out.link(&sink).map_err(|_| "webrtcbin does not take H.264")?;
        let heard_ns = Arc::new(AtomicU64::new(clock.monotonic_ns()));
        hear(&connection.bin, clock, &heard_ns);
        // From here on, dropping it shuts the pipeline down.
        let viewer = Self { pipeline, source, connection, heard_ns };
        viewer.pipeline.set_state(gst::State::Playing).map_err(|_| "the pipeline does not start")?;
        let answer = viewer.connection.answer(&offer.only(payload, Profile::Open))?;
        Ok((viewer, answer))
    }

    /// Passes pictures on until the viewer or the stream is gone; returns why it ended, and how many pictures it lost.
    pub(super) fn show(self, supply: &Supply, stop: &Stop) -> (&'static str, u64) {
        let clock = &*supply.clock;
        let begun_ns = clock.monotonic_ns();
        while self.connection.link() == Link::Opening {
            if !stop.pause(TICK) {
                return (ENDED, 0);
            }
            if since(clock, begun_ns) > CONNECT_MAX {
                return ("it never connected", 0);
            }
        }
        let Ok(listener) = supply.encoded.listen() else { return (UNFIT, 0) };
        self.heard_ns.store(clock.monotonic_ns(), Ordering::Release);
        let (mut stamps, mut burst) = (Stamps::new(&listener, self.pipeline.current_running_time()), 0);
        let why = loop {
            if let Some(why) = self.over(supply, stop) {
                break why;
            }
            let Some(packet) = listener.next(TICK) else { continue };
            burst += packet.buffer.size();
            if !self.pass(packet, &mut stamps) {
                break "the connection takes nothing";
            }
            if burst > BURST_BYTES {
                burst = 0;
                stop.pause(BURST_PAUSE);
            }
        };
        (why, listener.dropped())
    }

    /// Why it is over, if it is.
    fn over(&self, supply: &Supply, stop: &Stop) -> Option<&'static str> {
        if stop.requested() {
            return Some(ENDED);
        }
        if self.connection.link() == Link::Lost {
            return Some("the connection is lost");
        }
        if since(&*supply.clock, self.heard_ns.load(Ordering::Acquire)) > SILENCE_MAX {
            return Some("no report comes from it");
        }
        // A source that starts again has no stream for a while.
        supply.encoded.fit().is_err_and(|unfit| unfit != Unfit::Nothing).then_some(UNFIT)
    }

    /// Passes a picture on. Returns whether the pipeline takes any.
    fn pass(&self, packet: Packet, stamps: &mut Stamps) -> bool {
        let Packet { mut buffer, caps } = packet;
        let pts = stamps.next(buffer.pts());
        {
            // Shares the memory; only the metadata is copied.
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            buffer.set_dts(pts);
        }
        if self.source.caps().as_ref() != Some(&caps) {
            self.source.set_caps(Some(&caps));
        }
        self.source.current_level_bytes() < QUEUE_BYTES_MAX && self.source.push_buffer(buffer).is_ok()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        close(&self.pipeline);
    }
}

fn since(clock: &dyn Clock, ns: u64) -> Duration {
    Duration::from_nanos(clock.monotonic_ns().saturating_sub(ns))
}

/// The payload type for a stream: the first with its profile, else the first.
fn choose<'o>(offer: &'o Description<'_>, caps: &gst::Caps) -> Option<&'o Payload> {
    let profile = match caps.structure(0).and_then(|s| s.get::<&str>("profile").ok()).unwrap_or_default() {
        "high" => "64",
        "main" => "4d",
        _ => "42",
    };
    let h264 = || offer.payloads.iter().filter(|payload| payload.codec == Codec::H264);
    let same = |payload: &&Payload| {
        let id = parameter(&payload.fmtp, "profile-level-id").unwrap_or_default();
        id.get(..2).is_some_and(|own| own.eq_ignore_ascii_case(profile))
    };
    h264().find(same).or_else(|| h264().next())
}

/// Makes the stream of a pad one that is only sent, and repaired on request.
fn send_only(pad: &gst::Pad) {
    if pad.find_property("transceiver").is_none() {
        return;
    }
    let transceiver: Option<gst::glib::Object> = pad.property("transceiver");
    let Some(transceiver) = transceiver else { return };
    if transceiver.find_property("direction").is_some() {
        transceiver.set_property_from_str("direction", "sendonly");
    }
    if transceiver.find_property("do-nack").is_some() {
        transceiver.set_property("do-nack", true);
    }
}

/// Notes when reports of the viewer arrive.
fn hear(bin: &gst::Element, clock: &Arc<dyn Clock>, heard_ns: &Arc<AtomicU64>) {
    let Some(rtp) = bin.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("rtpbin")) else { return };
    let (clock, heard_ns) = (Arc::clone(clock), Arc::clone(heard_ns));
    rtp.connect_pad_added(move |_, pad| {
        if !pad.name().starts_with("recv_rtcp_sink") {
            return;
        }
        let (clock, heard_ns) = (Arc::clone(&clock), Arc::clone(&heard_ns));
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
            heard_ns.store(clock.monotonic_ns(), Ordering::Release);
            gst::PadProbeReturn::Ok
        });
    });
}

/// Presentation times of a viewer's pictures. Those that were there before it are a millisecond apart: with their own
/// distances, the player would show everything later by the age of the first.
struct Stamps {
    backlog: usize,
    last: gst::ClockTime,
    /// The stream's own time of the last picture.
    own: Option<gst::ClockTime>,
}

/// Distance of pictures that were there before.
const TIGHT: gst::ClockTime = gst::ClockTime::from_mseconds(1);
/// Longest distance of two pictures; more is a jump of the stream's time.
const APART_MAX: gst::ClockTime = gst::ClockTime::from_seconds(10);

impl Stamps {
    fn new(listener: &Listener, now: Option<gst::ClockTime>) -> Self {
        Self { backlog: listener.backlog, last: now.unwrap_or_default(), own: None }
    }

    fn next(&mut self, own: Option<gst::ClockTime>) -> gst::ClockTime {
        let apart = own.zip(self.own).and_then(|(own, last)| own.checked_sub(last));
        let apart = match self.backlog {
            0 => apart.filter(|apart| *apart <= APART_MAX).unwrap_or(TIGHT).max(TIGHT),
            _ => TIGHT,
        };
        self.backlog = self.backlog.saturating_sub(1);
        self.own = own.or(self.own);
        self.last += apart;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_sent_close_together_and_then_the_stream_sets_the_pace() {
        let ms = gst::ClockTime::from_mseconds;
        let mut stamps = Stamps { backlog: 2, last: ms(1_000), own: None };
        let own = [ms(5_000), ms(5_040), ms(5_080), ms(5_120), ms(90_000), ms(7), ms(47)];
        let sent: Vec<u64> = own.iter().map(|own| stamps.next(Some(*own)).mseconds()).collect();
        assert_eq!(sent, [1_001, 1_002, 1_042, 1_082, 1_083, 1_084, 1_124]);
        assert_eq!(stamps.next(None).mseconds(), 1_125);
    }
}
