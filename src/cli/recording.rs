//! `run --record FILE`: the run as a trace: each frame as its rules saw it, and when its alerts were decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use dsengine::backend::trace::{FORMAT, Header, Record, Writer};
use dsengine::config::{Input, Plan};
use dsengine::engine::Observer;
use dsengine::error::Error;
use dsengine::types::{Frame, SourceId, Turns};
use parking_lot::Mutex;

use super::files;

/// The recording of a run. The header is written with the first frame, whose times determine frame time 0.
pub(crate) struct Recording {
    path: PathBuf,
    hash: String,
    timezone: String,
    /// Sources that are recordings themselves: their capture times are their order.
    traces: BTreeSet<SourceId>,
    out: Mutex<Out>,
}

struct Out {
    file: Option<BufWriter<File>>,
    trace: Option<Writer<BufWriter<File>>>,
    /// The frame of each source that is being judged.
    begun: BTreeMap<SourceId, Record>,
    /// Wall-clock time of frame time 0.
    start_unix_ns: Option<u64>,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl Recording {
    pub(crate) fn create(path: &Path, plan: &Plan) -> Result<Self, Error> {
        let file = Some(BufWriter::new(files::create(path)?));
        let out = Mutex::new(Out { file, trace: None, begun: BTreeMap::new(), start_unix_ns: None, error: None });
        let (hash, timezone) = (plan.hash.clone(), plan.timezone.name().to_owned());
        let traces = plan.sources.iter().filter(|source| matches!(source.input, Input::Trace(_)));
        let traces = traces.map(|source| source.id.clone()).collect();
        Ok(Self { path: path.to_owned(), hash, timezone, traces, out })
    }

    fn header(&self, start_unix_ns: u64) -> Header {
        Header {
            format: FORMAT,
            dsengine: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: self.hash.clone(),
            start_unix_ns,
            timezone: Some(self.timezone.clone()),
        }
    }

    /// Ends the file; returns the first error of all.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let mut out = self.out.lock();
        let written = out.start(|| self.header(0)).and_then(|()| match out.trace.take() {
            Some(trace) => trace.finish().map(drop),
            None => Ok(()),
        });
        out.error.take().map_or(written, Err).map_err(|error| files::io(&self.path, &error))
    }
}

impl Out {
    fn start(&mut self, header: impl FnOnce() -> Header) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            self.trace = Some(Writer::new(file, &header())?);
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.trace.as_mut().map_or(Ok(()), |trace| trace.write_record(record))
    }
}

impl Observer for Recording {
    fn detected(&self, frame: &Frame) {
        let record = Record { captured_unix_ns: Some(frame.captured_unix_ns), ..Record::from(frame) };
        self.out.lock().begun.insert(frame.source.clone(), record);
    }

    fn decided(&self, frame: &Frame, turns: Option<&Turns>) {
        let mut out = self.out.lock();
        let Some(record) = out.begun.remove(&frame.source) else { return };
        if out.error.is_some() {
            return;
        }
        let first_ns = frame.captured_unix_ns.saturating_sub(frame.pts_ns);
        let start_unix_ns = *out.start_unix_ns.get_or_insert(first_ns);
        // Files are merged by frame time, although none begins exactly when the others do.
        let merged = || Turns { judged_unix_ns: start_unix_ns.saturating_add(frame.pts_ns), ..Turns::default() };
        let turns = turns.cloned().or_else(|| (!self.traces.contains(&frame.source)).then(merged));
        let record = Record { turns, ..record };
        let written = out.start(|| self.header(start_unix_ns)).and_then(|()| out.write(&record));
        if let Err(error) = written {
            tracing::error!(file = %self.path.display(), %error, "the run is no longer recorded");
            out.error = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use dsengine::backend::trace::Reader;

    use super::super::input::Input;
    use super::*;

    #[test]
    fn files_that_begin_one_after_the_other_have_their_turns_by_frame_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let input = Input { source: Some("test".to_owned()), ..Input::default() };
        let Ok(loaded) = input.load(Vec::new()) else { panic!("it is loaded") };
        let recording = Recording::create(&path, &loaded.plan).unwrap();
        let live = Turns { judged_unix_ns: 9, alerts_unix_ns: vec![8], live: true };
        // The second file begins half a second later, and its frame is the earlier one.
        for (source, pts_ns, captured_unix_ns, turns) in
            [("a", 300, 1_300, None), ("b", 200, 1_700, None), ("a", 400, 1_400, Some(&live))]
        {
            let frame = Frame { pts_ns, captured_unix_ns, ..Frame::empty(source, pts_ns) };
            recording.detected(&frame);
            recording.decided(&frame, turns);
        }
        recording.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let turns: Vec<_> = std::iter::from_fn(|| reader.next_record().unwrap()).map(|r| r.turns.unwrap()).collect();
        assert_eq!((turns[0].judged_unix_ns, turns[1].judged_unix_ns), (1_300, 1_200));
        assert_eq!(turns[2], live);
    }
}
