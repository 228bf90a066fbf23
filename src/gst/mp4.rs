//! MP4 files whose video is much shorter than their audio. GStreamer's demuxer takes a video track of less than a fifth
//! of the file's length for a preview picture and drops it. Where the file has no other video, the demuxer is given a
//! duration that it treats as unknown instead.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;

/// Maximum boxes read per level; real files have far fewer.
const BOXES_MAX: usize = 4_096;
/// Maximum size of the index (`moov`).
const MOOV_BYTES_MAX: u64 = 64 << 20;
/// The duration that GStreamer's demuxer treats as unknown.
const UNKNOWN: u32 = i32::MAX as u32;

/// The offset of a buffer whose position in the file is unknown.
const NO_OFFSET: u64 = u64::MAX;

/// Bytes that replace those at `at` in the file.
#[derive(Debug, PartialEq, Eq)]
struct Patch {
    at: u64,
    bytes: Vec<u8>,
}

/// Makes the demuxer keep a video track in `path`, read by `source`, that it would drop as too short.
pub(super) fn keep_short_video(source: &gst::Element, path: &Path) {
    // The demuxer reports files that cannot be read.
    let Some(patch) = File::open(path).ok().and_then(|mut file| short_video(&mut file)) else { return };
    tracing::debug!(path = %path.display(), "the video is short beside the sound; it is played nevertheless");
    let Some(pad) = source.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::PULL | gst::PadProbeType::PUSH | gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            patch.apply(buffer);
        }
        gst::PadProbeReturn::Ok
    });
}

impl Patch {
    /// Overwrites the part of `buffer` that the patch covers.
    fn apply(&self, buffer: &mut gst::Buffer) {
        let (from, length) = (buffer.offset(), buffer.size() as u64);
        if from == NO_OFFSET || self.at + self.bytes.len() as u64 <= from || self.at >= from + length {
            return;
        }
        let Ok(mut map) = buffer.make_mut().map_writable() else { return };
        for (at, byte) in (self.at..).zip(&self.bytes) {
            let place = at.checked_sub(from).and_then(|place| usize::try_from(place).ok());
            if let Some(slot) = place.and_then(|place| map.get_mut(place)) {
                *slot = *byte;
            }
        }
    }
}

/// The patch for the file's longest video track, if all its video tracks are too short for the demuxer.
fn short_video(file: &mut File) -> Option<Patch> {
    let (start, moov) = index(file)?;
    let boxes = boxes(&moov);
    if boxes.iter().any(|(kind, ..)| kind == b"mvex") {
        return None;
    }
    let whole = boxes.iter().find(|(kind, ..)| kind == b"mvhd").and_then(|(_, _, body)| Length::read(body))?;
    let videos: Vec<(u64, Length)> =
        boxes.iter().filter(|(kind, ..)| kind == b"trak").filter_map(|(_, at, body)| video(*at, body)).collect();
    let is_short = |length: &Length| {
        let (all, own) = (length.scale * whole.duration, whole.scale * length.duration);
        all != 0 && own * 10 / all < 2
    };
    if videos.iter().any(|(_, length)| !is_short(length)) {
        return None;
    }
    let (at, longest) = videos.into_iter().max_by_key(|(_, length)| length.duration * 1_000 / length.scale.max(1))?;
    let unknown = match longest.wide {
        true => u64::from(UNKNOWN).to_be_bytes().to_vec(),
        false => UNKNOWN.to_be_bytes().to_vec(),
    };
    Some(Patch { at: start + at + longest.at, bytes: unknown })
}

/// The contents of the file's index (`moov`) and their offset.
fn index(file: &mut File) -> Option<(u64, Vec<u8>)> {
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut head[..8]).ok()?;
        let kind: [u8; 4] = head[4..8].try_into().ok()?;
        if at == 0 && ![*b"ftyp", *b"moov", *b"mdat", *b"free", *b"skip", *b"wide", *b"pnot"].contains(&kind) {
            return None;
        }
        let (size, header) = match u32::from_be_bytes(head[..4].try_into().ok()?) {
            0 => return None,
            1 => {
                file.read_exact(&mut head[8..]).ok()?;
                (u64::from_be_bytes(head[8..].try_into().ok()?), 16)
            }
            size => (u64::from(size), 8),
        };
        let body = size.checked_sub(header)?;
        if kind == *b"moov" {
            let mut moov = vec![0; usize::try_from(body).ok().filter(|_| body <= MOOV_BYTES_MAX)?];
            file.seek(SeekFrom::Start(at + header)).ok()?;
            file.read_exact(&mut moov).ok()?;
            return Some((at + header, moov));
        }
        at = at.checked_add(size)?;
    }
    None
}

/// The boxes in `bytes`: kind, offset of the contents, and contents. Truncated boxes are left out.
fn boxes(bytes: &[u8]) -> Vec<(&[u8], u64, &[u8])> {
    let (mut out, mut at) = (Vec::new(), 0_usize);
    while out.len() < BOXES_MAX
        && let Some(head) = bytes.get(at..at + 8)
    {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let end = at.saturating_add(size);
        if size < 8 || end > bytes.len() {
            break;
        }
        out.push((&bytes[at + 4..at + 8], (at + 8) as u64, &bytes[at + 8..end]));
        at = end;
    }
    out
}

/// A duration and where it is stored.
struct Length {
    scale: u128,
    duration: u128,
    /// Offset of the duration in its box.
    at: u64,
    /// Whether it takes eight bytes.
    wide: bool,
}

impl Length {
    /// Reads an `mvhd` or `mdhd`, which begin alike.
    fn read(body: &[u8]) -> Option<Self> {
        let wide = *body.first()? == 1;
        let number = |at: usize, length: usize| {
            let bytes = body.get(at..at + length)?;
            Some(bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte)))
        };
        let (scale, at, length) = if wide { (20, 24, 8) } else { (12, 16, 4) };
        Some(Self { scale: number(scale, 4)?, duration: number(at, length)?, at: at as u64, wide })
    }
}

/// The duration of a video track and the offset of its `mdhd`'s contents.
fn video(at: u64, track: &[u8]) -> Option<(u64, Length)> {
    let find = |boxes: Vec<(&'_ [u8], u64, &'_ [u8])>, kind: &[u8]| {
        boxes.iter().find(|(found, ..)| *found == kind).map(|(_, at, body)| (*at, body.to_vec()))
    };
    let (media_at, media) = find(boxes(track), b"mdia")?;
    let (_, handler) = find(boxes(&media), b"hdlr")?;
    let (head_at, head) = find(boxes(&media), b"mdhd")?;
    (handler.get(8..12)? == b"vide").then(|| Length::read(&head).map(|length| (at + media_at + head_at, length)))?
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn a_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn head(scale: u32, duration: u64, wide: bool) -> Vec<u8> {
        match wide {
            true => [&[1; 1][..], &[0; 19], &scale.to_be_bytes(), &duration.to_be_bytes(), &[0; 8]].concat(),
            false => [&[0; 12][..], &scale.to_be_bytes(), &(duration as u32).to_be_bytes(), &[0; 8]].concat(),
        }
    }

    fn track(handler: &[u8; 4], scale: u32, duration: u64, wide: bool) -> Vec<u8> {
        let handler = a_box(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
        let media = a_box(b"mdia", &[a_box(b"mdhd", &head(scale, duration, wide)), handler].concat());
        a_box(b"trak", &[a_box(b"tkhd", &[0; 80]), media].concat())
    }

    /// The original duration at the patch's offset, and the patch's length.
    fn patched(tracks: &[Vec<u8>], fragmented: bool) -> Option<(u64, usize)> {
        let mut moov = a_box(b"mvhd", &head(1_000, 20_000, false));
        moov.extend(tracks.concat());
        if fragmented {
            moov.extend(a_box(b"mvex", &[]));
        }
        let bytes = [a_box(b"ftyp", b"isom"), a_box(b"mdat", &[7; 99]), a_box(b"moov", &moov)].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let patch = short_video(&mut file)?;
        let there = &bytes[patch.at as usize..][..patch.bytes.len()];
        let duration = there.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Some((duration, patch.bytes.len()))
    }

    #[test]
    fn the_length_of_the_only_video_is_found_where_it_is_too_short() {
        let (long, sound) = (track(b"vide", 90_000, 900_000, false), track(b"soun", 48_000, 960_000, false));
        let short = |wide| track(b"vide", 90_000, 270_000, wide);
        assert_eq!(patched(&[sound.clone(), short(false)], false), Some((270_000, 4)));
        assert_eq!(patched(&[short(true), sound.clone()], false), Some((270_000, 8)));
        assert_eq!(patched(&[track(b"vide", 600, 600, false), short(false)], false), Some((270_000, 4)), "the longest");
        assert_eq!(patched(&[long.clone(), short(false)], false), None, "a preview beside a video");
        assert_eq!(patched(&[sound.clone(), long], false), None);
        assert_eq!(patched(std::slice::from_ref(&sound), false), None);
        assert_eq!(patched(&[short(false), sound], true), None, "fragments have lengths of their own");
    }

    #[test]
    fn what_is_no_mp4_or_is_cut_off_has_no_patch() {
        for bytes in [&b""[..], b"RIFF....AVI ", b"\0\0\0\x10ftypisom....\0\0\xff\xffmoov", b"\0\0\0\x01moov"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            assert_eq!(short_video(&mut file), None);
        }
    }

    #[test]
    fn a_patch_is_laid_over_the_part_of_it_that_is_there() {
        gst::init().unwrap();
        let patch = Patch { at: 10, bytes: vec![1, 2, 3, 4] };
        for (from, expected) in
            [(0, [0; 8]), (6, [0, 0, 0, 0, 1, 2, 3, 4]), (12, [3, 4, 0, 0, 0, 0, 0, 0]), (14, [0; 8])]
        {
            let mut buffer = gst::Buffer::from_mut_slice([0_u8; 8]);
            buffer.get_mut().unwrap().set_offset(from);
            patch.apply(&mut buffer);
            assert_eq!(buffer.map_readable().unwrap().as_slice(), expected, "from {from}");
        }
    }
}
