//! Counts pictures that a decoder drops silently: the VP8 and VP9 decoders do not report what they could not decode.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::observed::Observed;

/// Compares a decoder's input with its output, for decoders that output each picture before they take the next.
pub(super) fn count(decoder: &gst::Element, factory: &str, observed: &Arc<Observed>) {
    let shows: fn(&[u8]) -> bool = match factory {
        "vp8dec" => shows_vp8,
        "vp9dec" => shows_vp9,
        _ => return,
    };
    let (Some(sink), Some(src)) = (decoder.static_pad("sink"), decoder.static_pad("src")) else { return };
    // Shown pictures that went in, and pictures that came out.
    let (consumed, produced) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counter, observed) = (Arc::clone(&produced), Arc::clone(observed));
    src.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, Ordering::AcqRel);
        gst::PadProbeReturn::Ok
    });
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    sink.add_probe(kinds, move |_, info| {
        let shown = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => buffer.map_readable().is_ok_and(|bytes| shows(&bytes)),
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => false,
            _ => return gst::PadProbeReturn::Ok,
        };
        // The decoder has output every earlier picture by now.
        let missing = consumed.load(Ordering::Acquire).saturating_sub(produced.load(Ordering::Acquire));
        observed.undecoded.fetch_max(missing, Ordering::AcqRel);
        consumed.fetch_add(u64::from(shown), Ordering::AcqRel);
        gst::PadProbeReturn::Ok
    });
}

/// Whether a VP8 frame is shown: the fifth bit of its frame tag.
fn shows_vp8(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|tag| tag >> 4 & 1 == 1)
}

/// Whether a VP9 picture is shown. In a superframe (with an index at its end), one is.
fn shows_vp9(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if last >> 5 == 0b110 {
        return true;
    }
    // Frame marker (2), profile (2; profile 3 has one more bit), show_existing_frame, frame_type, show_frame.
    let bit = |at: u8| first >> (7 - at) & 1 == 1;
    let more = u8::from(bit(2) && bit(3));
    bit(4 + more) || bit(6 + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_not_missed() {
        assert!(shows_vp8(&[0b0001_0000]) && !shows_vp8(&[0b0000_0001]) && !shows_vp8(&[]));
        for (bytes, shown) in [
            (&[0b1000_0010, 0][..], true),
            (&[0b1000_0000, 0], false),
            (&[0b1000_1000, 0], true),
            (&[0b1011_0001, 0], true),
            (&[0b1000_0000, 0b1100_0001], true),
            (&[], false),
        ] {
            assert_eq!(shows_vp9(bytes), shown, "{bytes:?}");
        }
    }
}
