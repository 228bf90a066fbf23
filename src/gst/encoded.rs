//! A source's encoded pictures since its last key frame, kept for those that pass them on as they are.
//!
//! They are taken from the pad behind the parser, without copying, so keeping them costs a lock per picture and the
//! bytes of one group of pictures at most. A listener begins with the last key frame. It never holds up the source: one
//! that reads too slowly loses pictures up to the next key frame.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use parking_lot::{Condvar, Mutex};

/// Most bytes kept per source. A longer group of pictures is not kept: listeners wait for the next key frame.
const RING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes queued for one listener.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most pictures queued for one listener.
const QUEUE_MAX: usize = 1_000;
/// How far into a picture its first slice is looked for: parameter sets and messages come before it.
const HEAD_BYTES_MAX: usize = 4_096;

/// Why nothing can be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// No picture has arrived yet.
    Nothing,
    /// The stream is of another codec, by its media type.
    Codec(String),
    /// It has B-frames, which WebRTC players do not show in order.
    Reordered,
    /// It must not leave: part of its picture is blacked out.
    Hidden,
}

/// One encoded picture.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) buffer: gst::Buffer,
    pub(super) caps: gst::Caps,
}

impl Packet {
    /// Whether decoding can begin with it.
    fn is_key(&self) -> bool {
        !self.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Encoded(Mutex<State>);

#[derive(Default)]
struct State {
    /// Number of the pipeline whose pictures are taken.
    pipeline: u64,
    hidden: bool,
    /// Media type of the stream that is decoded.
    codec: Option<String>,
    caps: Option<gst::Caps>,
    reordered: bool,
    /// From a key frame on.
    ring: VecDeque<Packet>,
    bytes: usize,
    listeners: Vec<Weak<Shared>>,
}

/// One pipeline's part. Once it is dropped, with the pipeline, nothing of it is passed on.
struct Tap {
    encoded: Arc<Encoded>,
    pipeline: u64,
    /// Parsers that were added. Evidence adds one before the decoder's own; the newest one's pictures are taken.
    parsers: AtomicU64,
}

impl Encoded {
    /// Takes the pictures of a pipeline that is about to start, instead of those of the last one.
    pub(super) fn tap(self: &Arc<Self>, pipeline: &gst::Pipeline) {
        let number = {
            let mut state = self.0.lock();
            state.forget();
            state.pipeline += 1;
            state.pipeline
        };
        let tap = Arc::new(Tap { encoded: Arc::clone(self), pipeline: number, parsers: AtomicU64::new(0) });
        pipeline.connect_deep_element_added(move |_, _, element| tap.added(element));
    }

    fn push(&self, pipeline: u64, packet: Packet) {
        let reordered = has_b_slice(&packet);
        let mut state = self.0.lock();
        if state.hidden || state.pipeline != pipeline {
            return;
        }
        state.reordered |= reordered;
        if state.caps.as_ref() != Some(&packet.caps) {
            state.caps = Some(packet.caps.clone());
        }
        state.keep(&packet);
        state.listeners.retain(|listener| match listener.upgrade() {
            Some(shared) => {
                shared.put(&packet);
                true
            }
            None => false,
        });
    }

    /// Whether its pictures may leave; those that are kept are forgotten where not.
    pub(super) fn hide(&self, hidden: bool) {
        let mut state = self.0.lock();
        if std::mem::replace(&mut state.hidden, hidden) != hidden {
            state.clear();
        }
    }

    /// Whether there is a stream that can be passed on.
    pub(super) fn fit(&self) -> Result<gst::Caps, Unfit> {
        let state = self.0.lock();
        state.fit()?;
        state.caps.clone().ok_or(Unfit::Nothing)
    }

    /// Listens from the last key frame on.
    pub(super) fn listen(&self) -> Result<Listener, Unfit> {
        let mut state = self.0.lock();
        state.fit()?;
        let shared = Arc::new(Shared::default());
        for packet in &state.ring {
            shared.put(packet);
        }
        state.listeners.push(Arc::downgrade(&shared));
        Ok(Listener { shared, backlog: state.ring.len() })
    }
}

impl Tap {
    fn added(self: &Arc<Self>, element: &gst::Element) {
        let Some(factory) = element.factory() else { return };
        if factory.has_type(gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO)
            && let Some(codec) = media_type(&factory)
        {
            let mut state = self.encoded.0.lock();
            if state.pipeline == self.pipeline {
                state.codec = Some(codec);
            }
        }
        let Some(pad) = element.static_pad("src").filter(|_| factory.name() == "h264parse") else { return };
        let tap = Arc::clone(self);
        let own = self.parsers.fetch_add(1, Ordering::AcqRel) + 1;
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if tap.parsers.load(Ordering::Acquire) != own {
                return gst::PadProbeReturn::Remove;
            }
            if let (Some(gst::PadProbeData::Buffer(buffer)), Some(caps)) = (&info.data, pad.current_caps()) {
                tap.encoded.push(tap.pipeline, Packet { buffer: buffer.clone(), caps });
            }
            gst::PadProbeReturn::Ok
        });
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut state = self.encoded.0.lock();
        if state.pipeline == self.pipeline {
            state.forget();
        }
    }
}

impl State {
    /// Forgets the pipeline's stream.
    fn forget(&mut self) {
        (self.codec, self.caps, self.reordered) = (None, None, false);
        self.clear();
    }

    fn clear(&mut self) {
        self.ring.clear();
        self.bytes = 0;
    }

    fn fit(&self) -> Result<(), Unfit> {
        match &self.codec {
            _ if self.hidden => Err(Unfit::Hidden),
            None => Err(Unfit::Nothing),
            Some(codec) if codec != "video/x-h264" => Err(Unfit::Codec(codec.clone())),
            Some(_) if self.reordered => Err(Unfit::Reordered),
            Some(_) => Ok(()),
        }
    }

    fn keep(&mut self, packet: &Packet) {
        if packet.is_key() {
            self.clear();
        } else if self.ring.is_empty() {
            return;
        }
        self.bytes += packet.buffer.size();
        self.ring.push_back(packet.clone());
        if self.bytes > RING_BYTES_MAX {
            self.clear();
        }
    }
}

/// One listener's queue.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// Whether it has a key frame to begin with.
    begun: bool,
    dropped: u64,
}

impl Shared {
    fn put(&self, packet: &Packet) {
        let mut queue = self.queue.lock();
        if !queue.begun && !packet.is_key() {
            queue.dropped += 1;
            return;
        }
        queue.begun = true;
        queue.bytes += packet.buffer.size();
        queue.packets.push_back(packet.clone());
        if queue.bytes > QUEUE_BYTES_MAX || queue.packets.len() > QUEUE_MAX {
            queue.dropped += queue.packets.len() as u64;
            queue.packets.clear();
            (queue.bytes, queue.begun) = (0, false);
        }
        self.ready.notify_one();
    }
}

/// Receives a source's pictures until it is dropped.
pub(super) struct Listener {
    shared: Arc<Shared>,
    /// How many of the next pictures were there before it.
    pub(super) backlog: usize,
}

impl Listener {
    /// The next picture; waits at most `wait`.
    pub(super) fn next(&self, wait: Duration) -> Option<Packet> {
        let mut queue = self.shared.queue.lock();
        if queue.packets.is_empty() {
            self.shared.ready.wait_for(&mut queue, wait);
        }
        let packet = queue.packets.pop_front()?;
        queue.bytes -= packet.buffer.size();
        Some(packet)
    }

    /// Pictures that it lost, because it read too slowly or had no key frame to begin with.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.queue.lock().dropped
    }
}

/// The media type that a decoder takes.
fn media_type(factory: &gst::ElementFactory) -> Option<String> {
    let templates = factory.static_pad_templates();
    let sink = templates.iter().find(|template| template.direction() == gst::PadDirection::Sink)?;
    Some(sink.caps().structure(0)?.name().to_string())
}

/// Whether the first slice of an H.264 picture is a B-slice: such pictures are shown in another order than they come.
fn has_b_slice(packet: &Packet) -> bool {
    let Ok(bytes) = packet.buffer.map_readable() else { return false };
    let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let format = packet.caps.structure(0).and_then(|s| s.get::<&str>("stream-format").ok()).unwrap_or_default();
    let slice = match format {
        "byte-stream" => starts(head).find_map(|at| slice_type(&head[at..])),
        // Lengths of four bytes, as every writer uses.
        _ => lengths(head).find_map(|at| slice_type(&head[at..])),
    };
    slice.is_some_and(|kind| kind % 5 == 1)
}

/// Where units begin, after their start codes.
fn starts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(3).enumerate().filter(|(_, window)| *window == [0, 0, 1]).map(|(at, _)| at + 3)
}

/// Where units begin, after their lengths.
fn lengths(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let after = |at: usize| {
        let length = bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)?;
        usize::try_from(length).ok()?.checked_add(at + 4)
    };
    std::iter::successors(Some(0), move |at| after(*at)).map(|at| at + 4).take_while(|at| *at < bytes.len())
}

/// The type of a slice (H.264, 7.3.3); `None` where the unit is not one.
fn slice_type(unit: &[u8]) -> Option<u32> {
    if !matches!(unit.first()? & 0x1f, 1 | 5) {
        return None;
    }
    let mut at = 8;
    let _first_macroblock = exp_golomb(unit, &mut at)?;
    exp_golomb(unit, &mut at)
}

/// An unsigned Exp-Golomb number (H.264, 9.1).
fn exp_golomb(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut bit = || {
        let byte = bytes.get(*at / 8)?;
        let bit = byte >> (7 - *at % 8) & 1;
        *at += 1;
        Some(u32::from(bit))
    };
    let mut zeros = 0;
    while bit()? == 0 {
        zeros += 1;
        if zeros > 16 {
            return None;
        }
    }
    let mut value = 1;
    for _ in 0..zeros {
        value = value << 1 | bit()?;
    }
    Some(value - 1)
}

#[cfg(test)]
mod tests;
