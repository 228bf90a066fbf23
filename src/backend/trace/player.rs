//! The backend that replays traces.

use std::sync::Arc;
use std::time::Duration;

use super::Reader;
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Backend, Flow, Sink, SourceContext, SourceState, Sources};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::types::SourceId;

/// Replays traces. Each source has its own thread, which reads the file and delivers that source's frames.
#[derive(Default)]
pub struct TraceBackend {
    sources: Sources,
}

impl Backend for TraceBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let Input::Trace(path) = &plan.input else {
            return Err(Error::new(Code::Source, format!("{}: this backend plays traces only", plan.id)));
        };
        self.sources.vacant(&plan.id)?;
        let reader = Reader::open(path)?;
        // A trace with one source plays under any name; from a trace with several, a source plays the one of the same
        // name.
        let names = Reader::sources(path)?;
        let wanted = match names.as_slice() {
            [only] => only.clone(),
            _ => plan.id.clone(),
        };
        let pace = Pace::of(plan);
        self.sources.start(plan, sink, &format!("trace-{}", plan.id), move |context| {
            Playing { reader, wanted, pace, seen: 0, context }.run();
        })
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.sources.remove(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(None, deadline);
    }
}

/// A running replay.
struct Playing {
    reader: Reader,
    /// The source's name in the trace.
    wanted: SourceId,
    pace: Pace,
    seen: u64,
    context: SourceContext,
}

impl Playing {
    fn run(&mut self) {
        self.context.outlet.enter(SourceState::Running);
        let start_unix_ns = self.reader.header().start_unix_ns;
        while !self.context.stop.requested() {
            let record = match self.reader.next_record() {
                Ok(Some(record)) if record.source == self.wanted => record,
                Ok(Some(_)) => continue,
                Ok(None) => return self.end(),
                Err(error) => return self.context.outlet.break_off(error.to_string()),
            };
            if !self.wants(record.pts_ns) {
                continue;
            }
            let mut frame = record.into_frame(start_unix_ns);
            frame.source = self.context.outlet.id().clone();
            if self.context.outlet.frame(frame) == Flow::Stop {
                break;
            }
        }
        self.context.outlet.stop();
    }

    /// Whether `fps` and `every` let the next frame through. Frames left out by `every` do not count as drops.
    fn wants(&mut self, pts_ns: u64) -> bool {
        if let Some(plan) = self.context.change.take() {
            self.pace.change(&plan);
        }
        let picked = self.pace.pick(self.seen, pts_ns);
        self.seen += 1;
        self.context.outlet.dropped("fps", u64::from(picked == Pick::OverRate));
        picked == Pick::Take
    }

    fn end(&self) {
        if self.reader.cut_off() {
            // The truncated frame's source is unknown, so each source of the trace counts it.
            tracing::warn!(source = %self.context.outlet.id(), "the trace ends in the middle of a line, which is left out");
            self.context.outlet.dropped("cut_off", 1);
        }
        self.context.outlet.end();
    }
}
