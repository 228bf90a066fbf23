//! Reads a trace line by line.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{FORMAT, Header, Record};
use crate::error::{Code, Error};
use crate::types::{SourceId, one_line};

/// Longest line a reader accepts, in bytes: several thousand detections.
const LINE_BYTES_MAX: usize = 4 << 20;

/// A reader of trace records.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    number: usize,
    header: Header,
    line: Vec<u8>,
    cut_off: bool,
}

impl Reader {
    /// Opens a trace and reads its header.
    ///
    /// # Errors
    /// `Trace` when the file cannot be read, is not a trace, or has a newer format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let broken = |what: String| Error::new(Code::Trace, format!("{}: {what}", path.display()));
        let opening = |e: std::io::Error| broken(format!("cannot be opened: {e}"));
        let mut lines = BufReader::new(crate::text::open(path).map_err(opening)?);
        let mut line = Vec::new();
        std::io::Read::take(&mut lines, LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)
            .map_err(|e| broken(format!("cannot be read: {e}")))?;
        let first = line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&line);
        let header: Header = serde_json::from_slice(first).map_err(|e| {
            broken(format!("line 1 is not the header of a trace: {e}"))
                .hint("write one with `dsengine record -o OUT.jsonl`")
        })?;
        if header.format > FORMAT {
            return Err(broken(format!("is of trace format {}, this engine reads up to {FORMAT}", header.format)));
        }
        Ok(Self { path: path.to_owned(), lines, number: 1, header, line, cut_off: false })
    }

    /// The trace's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the trace ends in the middle of a line because its recorder was killed. Known once the end is reached.
    pub fn cut_off(&self) -> bool {
        self.cut_off
    }

    /// The next frame; `None` at the end. An incomplete last line counts as the end, see [`Reader::cut_off`].
    ///
    /// # Errors
    /// `Trace`, with the line number, when a line is not a frame.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            self.line.clear();
            self.number += 1;
            let place = || format!("{}:{}", self.path.display(), self.number);
            let read = std::io::Read::take(&mut self.lines, LINE_BYTES_MAX as u64 + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(|e| Error::new(Code::Trace, format!("{}: cannot be read: {e}", place())))?;
            if read == 0 {
                return Ok(None);
            }
            if read > LINE_BYTES_MAX {
                return Err(Error::new(Code::Trace, format!("{}: is longer than {LINE_BYTES_MAX} bytes", place())));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            return match serde_json::from_slice(&self.line) {
                Ok(record) => printable(record, &place()).map(Some),
                // A writer terminates every line, so this one is incomplete, and nothing follows it.
                Err(_) if !self.line.ends_with(b"\n") => {
                    self.cut_off = true;
                    Ok(None)
                }
                Err(e) => Err(Error::new(Code::Trace, format!("{}: is not a frame of a trace: {e}", place()))),
            };
        }
    }

    /// The names of all sources in the trace, in order of appearance. Reads the whole file once more.
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

/// The record with labels of one line each; its source's name must be one, as in the configuration: both reach the log.
fn printable(mut record: Record, place: &str) -> Result<Record, Error> {
    if matches!(one_line(record.source.as_str()), Cow::Owned(_)) {
        return Err(Error::new(Code::Trace, format!("{place}: a source's name holds a control character")));
    }
    for seen in &mut record.detections {
        if let Cow::Owned(label) = one_line(&seen.label) {
            seen.label = label.into();
        }
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"\",\"start_unix_ns\":0}\n";
    const FRAME: &str = "{\"source\":\"tür\",\"seq\":0,\"pts_ns\":0,\"width\":4,\"height\":3,\"detections\":[]}\n";

    fn reader(bytes: &[u8]) -> Reader {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Reader::open(file.path()).unwrap()
    }

    #[test]
    fn a_broken_line_is_named_by_its_number() {
        for after in ["", FRAME, &FRAME[..20]] {
            let mut reader = reader(format!("{HEADER}{{\"no\":1}}\n{after}").as_bytes());
            let message = reader.next_record().unwrap_err().to_string();
            assert!(message.contains(":2: is not a frame of a trace"), "{message}");
        }
    }

    #[test]
    fn a_name_that_steers_the_terminal_is_refused_and_a_label_is_one_line() {
        let forged = FRAME.replace("tür", "a\\u001b[2J\\n2026 CRITICAL");
        let message = reader(format!("{HEADER}{forged}").as_bytes()).next_record().unwrap_err().to_string();
        assert!(message.contains(":2: a source's name holds a control character"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        let seen = "{\"label\":\"a\\nb\",\"class_id\":0,\"confidence\":1,\"bbox\":[0,0,1,1],\"track_id\":null}";
        let labelled = FRAME.replace("[]", &format!("[{seen}]"));
        let record = reader(format!("{HEADER}{labelled}").as_bytes()).next_record().unwrap().unwrap();
        assert_eq!(&*record.detections[0].label, "a⏎b");
    }

    #[test]
    fn a_pipe_a_folder_and_a_device_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, dir.path(), Path::new("/dev/zero")] {
            let message = Reader::open(path).err().unwrap().to_string();
            assert!(message.contains("it is "), "{message}");
        }
    }

    #[test]
    fn a_trace_cut_off_anywhere_in_its_last_line_gives_what_is_whole() {
        let whole = format!("{HEADER}{FRAME}{FRAME}");
        let (first, second) = (HEADER.len() + FRAME.len(), whole.len());
        for length in first..=second {
            let mut reader = reader(&whole.as_bytes()[..length]);
            let frames = std::iter::from_fn(|| reader.next_record().unwrap()).count();
            // A record is complete without its line end.
            let whole = length >= second - 1;
            assert_eq!((frames, reader.cut_off()), (1 + usize::from(whole), !whole && length > first), "{length}");
        }
    }
}
