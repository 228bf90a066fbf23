//! The state of a script's call: the frame's flat copy that `frame.luau` reads, the data for host queries, and the
//! verdict so far.
//!
//! Buffer layout, little-endian, offsets in bytes; `frame.luau` knows the same numbers:
//! ```text
//! 0  u32 rows       4  u8 marks used (1 kept, 2 dropped)      8  f64 frame time, seconds
//! 16 f64 seq        24 f64 width        32 f64 height         40 unused
//! 48 rows: f32 confidence, x, y, width, height; u32 class id, label number, origin; f64 track id or -1
//!    then, per origin, u8 marks; per zone, u8 "computed"; per zone and origin, u8 inside
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::picture::Delivered;
use crate::guest::{Space, Writes};
use crate::strategy::{Verdict, View};
use crate::track::Tracks;
use crate::types::{Attributes, BBox, Picture, Zone};

pub(super) const HEADER: usize = 48;
pub(super) const ROW: usize = 40;
pub(super) const KEPT: u8 = 1;
pub(super) const DROPPED: u8 = 2;
/// Maximum distinct labels before the numbering starts over: scripts may relabel without end.
const LABELS_MAX: usize = 4096;

/// The state that host functions and the strategy share during a call.
pub(super) struct CallState {
    pub(super) pts_ns: u64,
    /// The frame's capture time, nanoseconds since 1970 UTC; `None` before the first frame.
    pub(super) captured_unix_ns: Option<u64>,
    /// The time of the state over all sources: when the frame, or the alert's, was captured; 0 before the first one.
    pub(super) shared_ns: u64,
    /// Why state is currently read-only, e.g. since loading must have no effects.
    pub(super) reads_only: Option<&'static str>,
    /// Whether there is no current frame, and so no time to count from.
    pub(super) timeless: bool,
    /// The frame's picture, if pixels are granted; held during the call only.
    pub(super) picture: Option<Picture>,
    /// The deadline for a delivery's waits; `None` outside of one.
    pub(super) deadline: Option<tokio::time::Instant>,
    /// The alert that is being delivered; `None` outside of a delivery.
    pub(super) delivered: Option<Delivered>,
    /// HTTP requests sent in this delivery.
    pub(super) requests: u32,
    pub(super) boxes: Vec<BBox>,
    pub(super) track_ids: Vec<Option<u64>>,
    /// The attributes that strategies added to detections, by origin.
    pub(super) attributes: BTreeMap<usize, Attributes>,
    /// About what the script's own attributes take.
    pub(super) attribute_bytes: usize,
    /// The frame's tracks; held during the call only, so that the lane can then modify its own.
    pub(super) tracks: Option<Tracks>,
    pub(super) zones: Vec<Zone>,
    pub(super) buffer: Option<mlua::Buffer>,
    pub(super) capacity: usize,
    pub(super) verdict: Verdict,
    /// The script's line that raised each alert of the verdict, if it is known.
    pub(super) lines: Vec<Option<(Arc<str>, u32)>>,
    pub(super) space: Arc<Mutex<Space>>,
    /// The script's version, which marks what it writes.
    pub(super) version: Arc<str>,
    pub(super) writes: Writes,
    pub(super) alerts_dropped: u64,
    pub(super) messages_cut: u64,
}

impl CallState {
    pub(super) fn new(space: Arc<Mutex<Space>>, version: Arc<str>) -> Self {
        Self {
            pts_ns: 0,
            captured_unix_ns: None,
            shared_ns: 0,
            reads_only: None,
            timeless: false,
            picture: None,
            deadline: None,
            delivered: None,
            requests: 0,
            boxes: Vec::new(),
            track_ids: Vec::new(),
            attributes: BTreeMap::new(),
            attribute_bytes: 0,
            tracks: None,
            zones: Vec::new(),
            buffer: None,
            capacity: 0,
            verdict: Verdict::default(),
            lines: Vec::new(),
            space,
            version,
            writes: Writes::default(),
            alerts_dropped: 0,
            messages_cut: 0,
        }
    }

    /// Copies the frame; the caller sets the zones.
    pub(super) fn take(&mut self, view: &View<'_>, pixels: bool) {
        if pixels {
            self.picture.clone_from(&view.frame.picture);
        }
        self.pts_ns = view.frame.pts_ns;
        self.captured_unix_ns = Some(view.frame.captured_unix_ns);
        self.shared_ns = view.frame.captured_unix_ns;
        self.boxes.clear();
        self.boxes.extend(view.frame.detections.iter().map(|d| d.bbox));
        self.track_ids.clear();
        self.track_ids.extend(view.frame.detections.iter().map(|d| d.track_id));
        self.attributes.clear();
        self.attribute_bytes = 0;
        let described = view.frame.detections.iter().enumerate().filter(|(_, d)| !d.attributes.is_empty());
        self.attributes.extend(described.map(|(origin, d)| (origin, d.attributes.clone())));
        self.tracks = Some(view.tracks.clone());
        self.verdict = Verdict::default();
        self.lines.clear();
        self.writes.clear();
    }

    /// Notes the line that raised the newest alert.
    pub(super) fn note_line(&mut self, file: Option<&[u8]>, line: Option<u32>) {
        let noted = file.zip(line).map(|(file, line)| {
            // Usually the same file raises all.
            let last = self.lines.iter().rev().flatten().map(|(known, _)| known);
            let known = last.take(1).find(|known| known.as_bytes() == file).cloned();
            (known.unwrap_or_else(|| String::from_utf8_lossy(file).into()), line)
        });
        self.lines.push(noted);
    }

    /// Releases what belongs to the lane.
    pub(super) fn leave(&mut self) {
        self.tracks = None;
        self.picture = None;
        self.deadline = None;
        self.delivered = None;
    }

    /// Commits the writes of a successful call.
    pub(super) fn commit(&mut self) {
        if !self.writes.is_empty() {
            let mut space = self.space.lock();
            self.writes.commit(&mut space);
            space.stamp(&self.version);
        }
    }

    /// Commits the writes of a script that has taken over: from now on the state is in its version's form.
    pub(super) fn take_over(&mut self) {
        let mut space = self.space.lock();
        self.writes.commit(&mut space);
        space.stamp(&self.version);
    }

    /// Computes which rows are inside zone number `zone` (from 0).
    pub(super) fn mark_inside(&self, zone: usize) {
        let (Some(buffer), Some(area)) = (&self.buffer, self.zones.get(zone)) else { return };
        let inside: Vec<u8> = self.boxes.iter().map(|b| u8::from(area.polygon.contains(b.bottom_center()))).collect();
        let ready = HEADER + self.capacity * (ROW + 1);
        buffer.write_bytes(ready + self.zones.len() + zone * self.capacity, &inside);
        buffer.write_bytes(ready + zone, &[1]);
    }
}

/// The size in bytes of a buffer for `capacity` rows and `zones` zones.
pub(super) fn bytes(capacity: usize, zones: usize) -> usize {
    HEADER + capacity * (ROW + 1) + zones + zones * capacity
}

/// Numbers for labels, so that rows do not contain their text.
#[derive(Default)]
pub(super) struct Labels {
    known: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Labels {
    /// The label's number (from 1), and whether it is new to the VM.
    pub(super) fn number(&mut self, label: &Arc<str>) -> (u32, bool) {
        // Frames have few labels, mostly by the same pointers: checking the first ones saves hashing the text.
        if let Some(index) = self.known.iter().take(8).position(|known| Arc::ptr_eq(known, label)) {
            return (index as u32 + 1, false);
        }
        if let Some(index) = self.known.iter().take(8).position(|known| known == label) {
            self.known[index].clone_from(label);
            return (index as u32 + 1, false);
        }
        if let Some(number) = self.numbers.get(label) {
            return (*number, false);
        }
        self.known.push(Arc::clone(label));
        let number = self.known.len() as u32;
        self.numbers.insert(Arc::clone(label), number);
        (number, true)
    }

    /// Clears all numbers once there are too many. Call it only between frames.
    pub(super) fn bound(&mut self) {
        if self.known.len() > LABELS_MAX {
            *self = Self::default();
        }
    }
}

/// Writes header, rows, and cleared marks and zone flags into `out`, everything but the inside bytes.
pub(super) fn write(
    out: &mut Vec<u8>,
    view: &View<'_>,
    capacity: usize,
    zones: usize,
    mut number: impl FnMut(&Arc<str>) -> u32,
) {
    let frame = view.frame;
    out.clear();
    out.extend((frame.detections.len() as u32).to_le_bytes());
    out.extend([0; 4]);
    for value in [frame.pts_ns as f64 * 1e-9, frame.seq as f64, f64::from(frame.width), f64::from(frame.height)] {
        out.extend(value.to_le_bytes());
    }
    out.extend([0; 8]);
    for (origin, d) in frame.detections.iter().enumerate() {
        let mut row = [0u8; ROW];
        for (at, value) in [d.confidence, d.bbox.x, d.bbox.y, d.bbox.width, d.bbox.height].into_iter().enumerate() {
            row[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in [d.class_id, number(&d.label), origin as u32].into_iter().enumerate() {
            row[20 + at * 4..24 + at * 4].copy_from_slice(&value.to_le_bytes());
        }
        row[32..].copy_from_slice(&d.track_id.map_or(-1.0, |id| id as f64).to_le_bytes());
        out.extend(row);
    }
    out.resize(HEADER + capacity * (ROW + 1) + zones, 0);
}
