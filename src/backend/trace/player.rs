//! The backend that plays traces again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Reader;
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Backend, Flow, Sink, SourceEvent, SourceState};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::types::SourceId;

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
        let (id, pace) = (plan.id.clone(), Pace::of(plan));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("trace-{id}"))
            .spawn(move || play(reader, &id, &wanted, pace, &stopped, &*sink))
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

fn play(mut reader: Reader, id: &SourceId, wanted: &SourceId, mut pace: Pace, stop: &AtomicBool, sink: &dyn Sink) {
    sink.event(id, SourceEvent::State(SourceState::Running));
    let start_unix_ns = reader.header().start_unix_ns;
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        match reader.next_record() {
            Ok(Some(record)) if record.source == *wanted => {
                let picked = pace.pick(seen, record.pts_ns);
                seen += 1;
                match picked {
                    Pick::Take => {}
                    // Asked for, so it is no drop.
                    Pick::NotEvery => continue,
                    Pick::OverRate => {
                        sink.event(id, SourceEvent::Dropped { reason: "fps", count: 1 });
                        continue;
                    }
                }
                let mut frame = record.into_frame(start_unix_ns);
                frame.source = id.clone();
                if sink.frame(frame) == Flow::Stop {
                    return;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                if reader.cut_off() {
                    // Whose frame it was cannot be read any more; each source of the trace counts it.
                    tracing::warn!(source = %id, "the trace ends in the middle of a line, which is left out");
                    sink.event(id, SourceEvent::Dropped { reason: "cut_off", count: 1 });
                }
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
