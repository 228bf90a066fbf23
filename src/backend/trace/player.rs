//! The backend that plays traces again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Reader;
use crate::backend::change::{self, Change};
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Backend, Flow, Outlet, Sink, SourceState};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::types::SourceId;

/// Plays traces. A thread per source reads the file and passes on that source's frames.
#[derive(Default)]
pub struct TraceBackend {
    players: BTreeMap<SourceId, Player>,
}

struct Player {
    outlet: Arc<Outlet>,
    change: Arc<Change>,
    thread: Thread,
}

impl Backend for TraceBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let Input::Trace(path) = &plan.input else {
            return Err(Error::new(Code::Source, format!("{}: this backend plays traces only", plan.id)));
        };
        if self.players.get(&plan.id).is_some_and(|player| !player.outlet.closed()) {
            return Err(change::running(&plan.id));
        }
        let reader = Reader::open(path)?;
        // A trace of one source may be given any name; of a trace with several, a source plays its namesake.
        let names = Reader::sources(path)?;
        let wanted = match names.as_slice() {
            [only] => only.clone(),
            _ => plan.id.clone(),
        };
        let (outlet, change) = (Arc::new(Outlet::new(plan.id.clone(), sink)), Arc::new(Change::default()));
        let mut playing = Playing {
            reader,
            wanted,
            pace: Pace::of(plan),
            seen: 0,
            outlet: Arc::clone(&outlet),
            change: Arc::clone(&change),
        };
        let thread = Thread::start(&format!("trace-{}", plan.id), move |stop| playing.run(&stop))
            .map_err(|e| Error::new(Code::Io, format!("{}: cannot start a thread: {e}", plan.id)))?;
        self.players.insert(plan.id.clone(), Player { outlet, change, thread });
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.players.get(&plan.id).ok_or_else(|| change::unknown(&plan.id))?.change.put(plan);
        Ok(())
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        if let Some(mut player) = self.players.remove(source) {
            player.thread.join(deadline);
            player.outlet.stop();
        }
    }

    fn stop(&mut self, deadline: Duration) {
        Thread::join_all(self.players.values_mut().map(|player| &mut player.thread), deadline);
        for (_, player) in std::mem::take(&mut self.players) {
            player.outlet.stop();
        }
    }
}

impl Drop for TraceBackend {
    fn drop(&mut self) {
        self.stop(change::DROP_MAX);
    }
}

/// One source's own thread.
struct Playing {
    reader: Reader,
    /// The source's name in the trace.
    wanted: SourceId,
    pace: Pace,
    seen: u64,
    outlet: Arc<Outlet>,
    change: Arc<Change>,
}

impl Playing {
    fn run(&mut self, stop: &Stop) {
        self.outlet.enter(SourceState::Running);
        let start_unix_ns = self.reader.header().start_unix_ns;
        while !stop.requested() {
            let record = match self.reader.next_record() {
                Ok(Some(record)) if record.source == self.wanted => record,
                Ok(Some(_)) => continue,
                Ok(None) => return self.end(),
                Err(error) => return self.outlet.break_off(error.to_string()),
            };
            if !self.wants(record.pts_ns) {
                continue;
            }
            let mut frame = record.into_frame(start_unix_ns);
            frame.source = self.outlet.id().clone();
            if self.outlet.frame(frame) == Flow::Stop {
                break;
            }
        }
        self.outlet.stop();
    }

    /// Whether `fps` and `every` let the next frame through. What `every` leaves out was asked for and is no drop.
    fn wants(&mut self, pts_ns: u64) -> bool {
        if let Some(plan) = self.change.take() {
            self.pace.change(&plan);
        }
        let picked = self.pace.pick(self.seen, pts_ns);
        self.seen += 1;
        self.outlet.dropped("fps", u64::from(picked == Pick::OverRate));
        picked == Pick::Take
    }

    fn end(&self) {
        if self.reader.cut_off() {
            // Whose frame it was cannot be read any more; each source of the trace counts it.
            tracing::warn!(source = %self.outlet.id(), "the trace ends in the middle of a line, which is left out");
            self.outlet.dropped("cut_off", 1);
        }
        self.outlet.end();
    }
}
