//! How long a clip says it is, in bytes: a file that was cut off plays to its end without an error of GStreamer's.
//!
//! Containers that declare their size are read: MP4 and QuickTime (ISO/IEC 14496-12, the boxes of the top level),
//! Matroska and WebM (RFC 8794, the size of the segment), AVI (the size of the first RIFF chunk). Of others nothing is
//! known.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Boxes of the top level; where another one begins there is no box but something appended.
const BOXES: &[&[u8; 4]] = &[
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"moof", b"mfra", b"sidx", b"styp",
    b"meta", b"udta",
];
/// Maximum number of boxes read.
const BOXES_MAX: usize = 65_536;
/// Bytes of a Matroska file in which its segment begins.
const HEAD_BYTES: u64 = 4_096;
const EBML: &[u8] = &[0x1a, 0x45, 0xdf, 0xa3];
const SEGMENT: &[u8] = &[0x18, 0x53, 0x80, 0x67];

/// The message for a clip that is shorter than it says; `None` where it is whole or does not say.
pub(super) fn cut_off(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let declared = declared(&mut file, size)?;
    (declared > size).then(|| format!("the file is cut off: {size} of {declared} bytes are there"))
}

/// The size that the container declares, at most as far as the first part that does not fit into the file.
fn declared(file: &mut (impl Read + Seek), size: u64) -> Option<u64> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    match head.get(..12)? {
        [b'R', b'I', b'F', b'F', a, b, c, d, b'A', b'V', b'I', b' '] => {
            Some(u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 8)
        }
        start if start.starts_with(EBML) => segment_end(&head),
        _ => boxes_end(file, size),
    }
}

/// The end of the last box, or of the first that does not fit into `size` bytes.
fn boxes_end(file: &mut (impl Read + Seek), size: u64) -> Option<u64> {
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at)).ok()?;
        if file.read_exact(&mut head[..8]).is_err() {
            return Some(at);
        }
        let kind: [u8; 4] = head[4..8].try_into().ok()?;
        if !BOXES.contains(&&kind) {
            return Some(at);
        }
        let length = match u32::from_be_bytes(head[..4].try_into().ok()?) {
            // It reaches to the end of the file, wherever that is.
            0 => return None,
            1 => {
                file.read_exact(&mut head[8..]).ok()?;
                u64::from_be_bytes(head[8..].try_into().ok()?)
            }
            length => u64::from(length),
        };
        at = at.checked_add(length.max(8))?;
        if at > size {
            return Some(at);
        }
    }
    None
}

/// The end of a Matroska segment; `None` where its size is unknown, as in a live recording.
fn segment_end(head: &[u8]) -> Option<u64> {
    let (header, length) = number(head.get(4..)?)?;
    let segment = usize::try_from(header?).ok()?.checked_add(4 + length)?;
    let rest = head.get(segment..)?.strip_prefix(SEGMENT)?;
    let (size, length) = number(rest)?;
    size?.checked_add((segment + SEGMENT.len() + length) as u64)
}

/// A number of variable length (RFC 8794, section 4) and its bytes; a number of ones alone means unknown.
fn number(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..length).filter(|_| length <= 8)?;
    let all = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let ones = (1_u64 << (7 * length)) - 1;
    let value = all & ones;
    Some(((value != ones).then_some(value), length))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Whether a file of these bytes is whole after each of the given numbers of bytes.
    fn is_cut(bytes: &[u8], left: usize) -> bool {
        let bytes = &bytes[..left];
        declared(&mut Cursor::new(bytes), bytes.len() as u64).is_some_and(|declared| declared > bytes.len() as u64)
    }

    fn a_box(kind: &[u8; 4], length: usize) -> Vec<u8> {
        [&(length as u32 + 8).to_be_bytes()[..], kind, &vec![7; length]].concat()
    }

    #[test]
    fn a_container_that_is_shorter_than_it_says_is_cut_off() {
        let mp4 = [a_box(b"ftyp", 16), a_box(b"moov", 500), a_box(b"mdat", 9_000)].concat();
        let mut wide = [a_box(b"ftyp", 16), a_box(b"mdat", 900)].concat();
        let at = 24;
        wide[at..at + 4].copy_from_slice(&1_u32.to_be_bytes());
        wide[at + 8..at + 16].copy_from_slice(&908_u64.to_be_bytes());
        let avi = [&b"RIFF"[..], &2_004_u32.to_le_bytes(), b"AVI ", &[0; 2_000]].concat();
        let mkv = [EBML, &[0x84, 1, 2, 3, 4], SEGMENT, &[0x48, 0x00], &[0; 2_048]].concat();
        for whole in [mp4, wide, avi, mkv] {
            assert!(!is_cut(&whole, whole.len()), "whole");
            for left in [whole.len() - 1, whole.len() / 2, 64] {
                assert!(is_cut(&whole, left), "{left} of {}", whole.len());
            }
        }
    }

    #[test]
    fn what_does_not_say_how_long_it_is_is_not_cut_off() {
        let open = [a_box(b"ftyp", 16), [&[0; 4][..], b"mdat", &[7; 50]].concat()].concat();
        let appended = [a_box(b"ftyp", 16), a_box(b"mdat", 50), b"TAG of some other program".to_vec()].concat();
        let live = [EBML, &[0x84, 1, 2, 3, 4], SEGMENT, &[0x01, 255, 255, 255, 255, 255, 255, 255], &[0; 64]].concat();
        let stream = [0, 0, 0, 1, 0x67, 9, 9, 9, 9, 9, 9, 9, 9, 9].to_vec();
        for bytes in [open, appended, live, stream, Vec::new(), b"RIFF".to_vec()] {
            assert!(!is_cut(&bytes, bytes.len()), "{bytes:?}");
        }
    }
}
