//! Traces: recorded detections, one JSON object per line, and the backend that replays them.
//!
//! The first line is a [`Header`]; every other line is one analysed frame. A trace has no pixels: its frames arrive
//! detected, usually tracked, and are judged at their recorded frame time, as fast as possible. A recorded run has the
//! order in which it decided on its alerts, too; readers that do not know of it pass over it.

mod player;
mod reader;
mod writer;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use player::TraceBackend;
pub use reader::Reader;
pub use writer::Writer;

use crate::types::{BBox, Detection, Frame, SourceId, Turns};

/// The trace format's version; readers refuse newer ones.
pub const FORMAT: u32 = 1;

/// The first line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the trace format.
    pub format: u32,
    /// Version of the engine that wrote it.
    pub dsengine: String,
    /// SHA-256 of the effective configuration, hex.
    pub config_hash: String,
    /// Wall-clock time of frame time 0, nanoseconds since 1970 UTC; the origin of a replayed alert's `time`.
    pub start_unix_ns: u64,
    /// The zone of local times when it was recorded; `None` in traces of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// One analysed frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The source's name.
    pub source: SourceId,
    /// Index of the decoded frame.
    pub seq: u64,
    /// Frame time in nanoseconds.
    pub pts_ns: u64,
    /// Wall-clock time of its capture, where the sources of a trace have no common time 0; otherwise that of the header and
    /// its frame time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_unix_ns: Option<u64>,
    /// The turns of its alerts in the recorded run; none in traces of `record`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
    /// Width of the upright picture in pixels.
    pub width: u32,
    /// Height of the upright picture in pixels.
    pub height: u32,
    /// Detections, in the detector's order (best first).
    pub detections: Vec<Seen>,
}

/// One detection of a [`Record`]: the box is `[x, y, width, height]`, 0..1 of the original picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Class name.
    pub label: Arc<str>,
    /// Class index.
    pub class_id: u32,
    /// Score, 0..1.
    pub confidence: f32,
    /// Box.
    pub bbox: [f32; 4],
    /// Tracker's id; `null` when untracked.
    pub track_id: Option<u64>,
}

impl From<&Frame> for Record {
    fn from(frame: &Frame) -> Self {
        let detections = frame.detections.iter().map(|d| Seen {
            label: Arc::clone(&d.label),
            class_id: d.class_id,
            confidence: d.confidence,
            bbox: [d.bbox.x, d.bbox.y, d.bbox.width, d.bbox.height],
            track_id: d.track_id,
        });
        Self {
            source: frame.source.clone(),
            seq: frame.seq,
            pts_ns: frame.pts_ns,
            captured_unix_ns: None,
            turns: None,
            width: frame.width,
            height: frame.height,
            detections: detections.collect(),
        }
    }
}

impl Record {
    /// The recorded frame, without pixels.
    pub fn into_frame(self, start_unix_ns: u64) -> Frame {
        // A trace recorded without tracking is tracked on replay.
        let tracked = self.detections.iter().all(|seen| seen.track_id.is_some());
        let detections = self.detections.into_iter().map(|seen| {
            let [x, y, width, height] = seen.bbox;
            let mut detection =
                Detection::new(seen.label, seen.class_id, seen.confidence, BBox { x, y, width, height });
            detection.track_id = seen.track_id;
            detection
        });
        Frame {
            detected: true,
            tracked,
            detections: detections.collect(),
            pts_ns: self.pts_ns,
            captured_unix_ns: self.captured_unix_ns.unwrap_or_else(|| start_unix_ns.saturating_add(self.pts_ns)),
            turns: self.turns.map(Arc::new),
            width: self.width,
            height: self.height,
            ..Frame::empty(self.source, self.seq)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_way_through_a_trace() {
        let mut detection = Detection::new("person", 0, 0.5, BBox { x: 0.1, y: 0.2, width: 0.3, height: 0.4 });
        detection.track_id = Some(7);
        let frame = Frame {
            pts_ns: 200_000_000,
            captured_unix_ns: 1_000_200_000_000,
            arrived_ns: 3,
            width: 640,
            height: 360,
            detections: vec![detection],
            ..Frame::empty("door", 5)
        };
        let header = Header {
            format: FORMAT,
            dsengine: "0.0.0".into(),
            config_hash: "x".into(),
            start_unix_ns: 1_000_000_000_000,
            timezone: Some("Europe/Vienna".into()),
        };
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        writer.write(&frame).unwrap();
        let bytes = writer.finish().unwrap();

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let mut reader = Reader::open(file.path()).unwrap();
        assert_eq!(*reader.header(), header);
        let back = reader.next_record().unwrap().unwrap().into_frame(header.start_unix_ns);
        assert_eq!(back.detections, frame.detections);
        assert_eq!((back.seq, back.pts_ns, back.captured_unix_ns), (5, 200_000_000, 1_000_200_000_000));
        assert!(back.tracked && reader.next_record().unwrap().is_none());
    }

    #[test]
    fn a_frame_of_a_run_keeps_its_own_capture_time_and_its_turns() {
        let header = Header {
            format: FORMAT,
            dsengine: String::new(),
            config_hash: String::new(),
            start_unix_ns: 7,
            timezone: None,
        };
        let turns = Turns { judged_unix_ns: 30, alerts_unix_ns: vec![10, 20], live: true };
        let record = Record {
            captured_unix_ns: Some(1_000),
            turns: Some(turns.clone()),
            ..Record::from(&Frame { pts_ns: 5, ..Frame::empty("door", 1) })
        };
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        writer.write_record(&record).unwrap();
        writer.write(&Frame { pts_ns: 5, ..Frame::empty("door", 2) }).unwrap();
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        let frames: Vec<Frame> = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<Record>(line).unwrap().into_frame(header.start_unix_ns))
            .collect();
        assert_eq!((frames[0].captured_unix_ns, frames[0].turns.as_deref()), (1_000, Some(&turns)));
        assert_eq!((frames[1].captured_unix_ns, frames[1].turns.as_deref()), (12, None));
        assert!(!text.lines().nth(2).unwrap().contains("turns"), "a trace of `record` is as it was");
    }
}
