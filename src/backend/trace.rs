//! Traces: recorded detections, one JSON object a line, and the backend that plays them again.
//!
//! The first line is a [`Header`]; every other line one analysed frame. A trace has no pixels: its frames arrive
//! tracked, and the engine judges them on the recorded frame time, as fast as it can.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Backend, Flow, Sink, SourceEvent, SourceState};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::types::{BBox, Detection, Frame, SourceId};

/// The trace format's version; a reader refuses what is newer.
pub const FORMAT: u32 = 1;

/// Longest line a reader accepts, in bytes: several thousand detections.
const LINE_BYTES_MAX: usize = 4 << 20;

/// The first line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the trace format.
    pub format: u32,
    /// Version of the engine that wrote it.
    pub dsengine: String,
    /// SHA-256 of the effective configuration, hex.
    pub config_hash: String,
    /// Wall-clock time of frame time 0, nanoseconds since 1970 UTC: what a replayed alert's `time` counts from.
    pub start_unix_ns: u64,
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
    /// Width of the upright picture in pixels.
    pub width: u32,
    /// Height of the upright picture in pixels.
    pub height: u32,
    /// What was seen, best first as the detector gave it.
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
            width: frame.width,
            height: frame.height,
            detections: detections.collect(),
        }
    }
}

impl Record {
    /// The frame this was recorded from, without pixels.
    pub fn into_frame(self, start_unix_ns: u64) -> Frame {
        // A trace that was recorded without tracking is tracked now.
        let tracked = self.detections.iter().all(|seen| seen.track_id.is_some());
        let detections = self.detections.into_iter().map(|seen| {
            let [x, y, width, height] = seen.bbox;
            let mut detection =
                Detection::new(seen.label, seen.class_id, seen.confidence, BBox { x, y, width, height });
            detection.track_id = seen.track_id;
            detection
        });
        Frame {
            tracked,
            detections: detections.collect(),
            source: self.source,
            seq: self.seq,
            pts_ns: self.pts_ns,
            captured_unix_ns: start_unix_ns + self.pts_ns,
            arrived_ns: 0,
            width: self.width,
            height: self.height,
            picture: None,
        }
    }
}

/// Writes a trace.
pub struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When the medium fails.
    pub fn new(mut out: W, header: &Header) -> std::io::Result<Self> {
        line(&mut out, header)?;
        Ok(Self { out })
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// When the medium fails.
    pub fn write(&mut self, frame: &Frame) -> std::io::Result<()> {
        line(&mut self.out, &Record::from(frame))
    }

    /// Flushes and hands the medium back.
    ///
    /// # Errors
    /// When the medium fails.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Reads a trace line by line.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    number: usize,
    header: Header,
    text: String,
}

impl Reader {
    /// Opens a trace and reads its header.
    ///
    /// # Errors
    /// `Trace` when the file cannot be read, is no trace, or is of a newer format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let broken = |what: String| Error::new(Code::Trace, format!("{}: {what}", path.display()));
        let file = File::open(path).map_err(|e| broken(format!("cannot be opened: {e}")))?;
        let mut lines = BufReader::new(file);
        let mut text = String::new();
        lines.read_line(&mut text).map_err(|e| broken(format!("cannot be read: {e}")))?;
        let header: Header = serde_json::from_str(&text).map_err(|e| {
            broken(format!("line 1 is not the header of a trace: {e}"))
                .hint("write one with `dsengine record -o OUT.jsonl`")
        })?;
        if header.format > FORMAT {
            return Err(broken(format!("is of trace format {}, this engine reads up to {FORMAT}", header.format)));
        }
        Ok(Self { path: path.to_owned(), lines, number: 1, header, text: String::new() })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// `Trace`, with the line's number, when a line is not a frame.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            self.text.clear();
            self.number += 1;
            let place = || format!("{}:{}", self.path.display(), self.number);
            let read = std::io::Read::take(&mut self.lines, LINE_BYTES_MAX as u64 + 1)
                .read_line(&mut self.text)
                .map_err(|e| Error::new(Code::Trace, format!("{}: cannot be read: {e}", place())))?;
            if read == 0 {
                return Ok(None);
            }
            if read > LINE_BYTES_MAX {
                return Err(Error::new(Code::Trace, format!("{}: is longer than {LINE_BYTES_MAX} bytes", place())));
            }
            if self.text.trim().is_empty() {
                continue;
            }
            return serde_json::from_str(&self.text)
                .map(Some)
                .map_err(|e| Error::new(Code::Trace, format!("{}: is not a frame of a trace: {e}", place())));
        }
    }

    /// The names of all sources in the trace, in order of appearance. Reads the file through once more.
    ///
    /// # Errors
    /// As [`Reader::next_record`].
    pub fn sources(path: &Path) -> Result<Vec<SourceId>, Error> {
        let mut reader = Self::open(path)?;
        let mut names = Vec::new();
        while let Some(record) = reader.next_record()? {
            if !names.contains(&record.source) {
                names.push(record.source);
            }
        }
        Ok(names)
    }
}

/// Plays traces. A thread per source reads the file and passes on that source's frames.
#[derive(Default)]
pub struct TraceBackend {
    players: Vec<Player>,
}

struct Player {
    source: SourceId,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Backend for TraceBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let Input::Trace(path) = &plan.input else {
            return Err(Error::new(Code::Source, format!("{}: this backend plays traces only", plan.id)));
        };
        let reader = Reader::open(path)?;
        // A trace of one source may be given any name; of a trace with several, a source plays its namesake.
        let names = Reader::sources(path)?;
        let wanted = match names.as_slice() {
            [only] => only.clone(),
            _ => plan.id.clone(),
        };
        let (id, limits) = (plan.id.clone(), Limits::new(plan));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("trace-{id}"))
            .spawn(move || play(reader, &id, &wanted, limits, &stopped, &*sink))
            .map_err(|e| Error::new(Code::Io, format!("{}: cannot start a thread: {e}", plan.id)))?;
        self.players.push(Player { source: plan.id.clone(), stop, thread });
        Ok(())
    }

    fn remove_source(&mut self, source: &SourceId) {
        if let Some(at) = self.players.iter().position(|p| p.source == *source) {
            let player = self.players.swap_remove(at);
            player.stop.store(true, Ordering::Relaxed);
            // The lane is closed before its source is removed, so the thread is not waiting for room.
            let _ = player.thread.join();
        }
    }

    fn stop(&mut self, _deadline: Duration) {
        for player in &self.players {
            player.stop.store(true, Ordering::Relaxed);
        }
        for player in self.players.drain(..) {
            let _ = player.thread.join();
        }
    }
}

impl Drop for TraceBackend {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Which of a trace's frames are analysed.
struct Limits {
    every: u64,
    fps: Option<f64>,
    seen: u64,
    /// The last slot of the `fps` limit that a frame was passed on in.
    slot: Option<u64>,
}

impl Limits {
    fn new(plan: &SourcePlan) -> Self {
        Self { every: u64::from(plan.every.max(1)), fps: plan.fps, seen: 0, slot: None }
    }

    /// `None` for a frame that is analysed, else the reason for its drop; what `every` leaves out was asked for and has
    /// none.
    fn leave_out(&mut self, pts_ns: u64) -> Option<Option<&'static str>> {
        self.seen += 1;
        if !(self.seen - 1).is_multiple_of(self.every) {
            return Some(None);
        }
        let limit = self.fps?;
        // A frame's time is rounded to nanoseconds: one that falls on a slot's start must not miss it by that.
        let slot = Some((pts_ns as f64 / 1e9 * limit + 1e-6) as u64);
        if self.slot == slot {
            return Some(Some("fps"));
        }
        self.slot = slot;
        None
    }
}

fn play(mut reader: Reader, id: &SourceId, wanted: &SourceId, mut limits: Limits, stop: &AtomicBool, sink: &dyn Sink) {
    sink.event(id, SourceEvent::State(SourceState::Running));
    let start_unix_ns = reader.header().start_unix_ns;
    while !stop.load(Ordering::Relaxed) {
        match reader.next_record() {
            Ok(Some(record)) if record.source == *wanted => {
                if let Some(reason) = limits.leave_out(record.pts_ns) {
                    if let Some(reason) = reason {
                        sink.event(id, SourceEvent::Dropped { reason, count: 1 });
                    }
                    continue;
                }
                let mut frame = record.into_frame(start_unix_ns);
                frame.source = id.clone();
                if sink.frame(frame) == Flow::Stop {
                    return;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                sink.event(id, SourceEvent::State(SourceState::Stopped));
                sink.event(id, SourceEvent::Ended);
                return;
            }
            Err(error) => {
                sink.event(id, SourceEvent::Broken(error.to_string()));
                return;
            }
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
            source: SourceId::from("door"),
            seq: 5,
            pts_ns: 200_000_000,
            captured_unix_ns: 1_000_200_000_000,
            arrived_ns: 3,
            width: 640,
            height: 360,
            detections: vec![detection],
            tracked: false,
            picture: None,
        };
        let header = Header {
            format: FORMAT,
            dsengine: "0.0.0".into(),
            config_hash: "x".into(),
            start_unix_ns: 1_000_000_000_000,
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
    fn a_broken_line_is_named_by_its_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"\",\"start_unix_ns\":0}\n{\"no\":1}\n",
        )
        .unwrap();
        let mut reader = Reader::open(file.path()).unwrap();
        let message = reader.next_record().unwrap_err().to_string();
        assert!(message.contains(":2: is not a frame of a trace"), "{message}");
    }
}
