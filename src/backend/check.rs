//! A conformance check for backends, public so that authors can check their own.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::after;
use parking_lot::{Condvar, Mutex};

use super::{Backend, Flow, Sink, SourceEvent, SourceState};
use crate::config::SourcePlan;
use crate::types::{Blackout, SourceId, Unmasked};

/// Longest wait for any step of a backend.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The deadline of a removal or a stop while a frame is held.
const SHORT: Duration = Duration::from_millis(300);
/// How far a call may exceed its deadline on a busy machine.
const SLACK: Duration = Duration::from_secs(5);
/// The frame at which the sink blocks its source.
const HELD_AT: usize = 3;
/// `every` in the changed plan.
const EVERY: u32 = 3;

/// Sources that the backend under check can play. Their names are used as they are, with a suffix where two are needed.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// A finite source of at least twenty frames, played as fast as the sink takes them; `None` if the backend has
    /// none.
    pub finite: Option<SourcePlan>,
    /// A source that runs until it is removed, at several frames a second; `None` if the backend has none.
    pub endless: Option<SourcePlan>,
    /// A finite source that is accepted and then breaks; `None` if the backend refuses such a source in `add_source`.
    pub broken: Option<SourcePlan>,
}

/// Checks that a backend delivers frames in order, sends events as documented and none after the last, applies a
/// changed rate, removes a source within the deadline and frees its name, and can be stopped twice. `make` builds a
/// fresh backend per check.
///
/// # Errors
/// The first violation, in one sentence.
pub fn check_backend(make: &dyn Fn() -> Box<dyn Backend>, samples: &Samples) -> Result<(), String> {
    unknown_names(&mut *make())?;
    if let Some(plan) = &samples.finite {
        to_the_end(&mut *make(), plan).map_err(|why| format!("a source played to its end: {why}"))?;
        changed(&mut *make(), plan).map_err(|why| format!("a changed source: {why}"))?;
        removed_while_held(&mut *make(), plan).map_err(|why| format!("a source removed while held up: {why}"))?;
        stopped_while_held(&mut *make(), plan).map_err(|why| format!("a backend stopped while held up: {why}"))?;
    }
    if let Some(plan) = &samples.endless {
        removed_while_running(&mut *make(), plan).map_err(|why| format!("a source removed while it runs: {why}"))?;
    }
    if let Some(plan) = &samples.broken {
        broken(&mut *make(), plan).map_err(|why| format!("a source that breaks: {why}"))?;
    }
    Ok(())
}

fn unknown_names(backend: &mut dyn Backend) -> Result<(), String> {
    let nobody = SourceId::from("nobody");
    backend.remove_source(&nobody, SHORT);
    ensure(backend.peers(&nobody).is_err(), "it takes sessions for a source that it does not have")?;
    in_time("stopping without sources", SHORT, || backend.stop(SHORT))
}

fn to_the_end(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let other = SourcePlan { id: format!("{}-2", plan.id).as_str().into(), ..plan.clone() };
    let (one, two) = (TestSink::open(), TestSink::open());
    add(backend, plan, &one)?;
    add(backend, &other, &two)?;
    for (sink, id) in [(&one, &plan.id), (&two, &other.id)] {
        sink.wait("its end", Received::over)?;
        sink.ended_well(id)?;
    }
    ensure(backend.change_source(plan).is_ok(), "a source that has ended cannot be changed")?;
    let again = TestSink::open();
    add(backend, plan, &again).map_err(|why| format!("its name is not free after its end: {why}"))?;
    again.wait("its second end", Received::over)?;
    backend.stop(TIMEOUT);
    let (first, second) = (one.frames(), again.frames());
    ensure(first == second, format!("it gave {first} frames, and {second} when it was played again"))?;
    one.ended_well(&plan.id)
}

fn changed(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let faster = SourcePlan { every: EVERY, ..plan.clone() };
    ensure(backend.change_source(&faster).is_err(), "a source that was never added can be changed")?;
    let sink = TestSink::held();
    add(backend, plan, &sink)?;
    sink.wait("a frame that is held", |received| received.holding)?;
    ensure(backend.add_source(plan, TestSink::open()).is_err(), "one name can be added twice")?;
    backend.change_source(&faster).map_err(|error| error.to_string())?;
    sink.release();
    sink.wait("its end", Received::over)?;
    sink.ended_well(&plan.id)?;
    let received = sink.received.lock();
    // One frame may have been picked before the change arrived.
    let after = &received.frames[HELD_AT.min(received.frames.len())..];
    let kept = after.iter().skip(1).all(|(seq, _)| seq % u64::from(EVERY) == 0);
    ensure(kept && after.len() > 2, format!("`every` was {EVERY} and frames {:?} came", numbers(after)))
}

fn removed_while_held(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let sink = TestSink::held();
    add(backend, plan, &sink)?;
    sink.wait("a frame that is held", |received| received.holding)?;
    in_time("the removal", SHORT, || backend.remove_source(&plan.id, SHORT))?;
    sink.was_removed()?;
    sink.release();
    let next = TestSink::open();
    add(backend, plan, &next).map_err(|why| format!("its name is not free at once: {why}"))?;
    next.wait("the end of the one that was added again", Received::over)?;
    next.ended_well(&plan.id)?;
    sink.was_removed()?;
    ensure(sink.frames() <= HELD_AT, "frames came after it was removed")?;
    backend.stop(TIMEOUT);
    sink.was_removed()
}

fn stopped_while_held(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let sink = TestSink::held();
    add(backend, plan, &sink)?;
    sink.wait("a frame that is held", |received| received.holding)?;
    in_time("the stop", SHORT, || backend.stop(SHORT))?;
    sink.was_removed()?;
    in_time("the second stop", SHORT, || backend.stop(SHORT))?;
    sink.release();
    sink.was_removed()
}

fn removed_while_running(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let sink = TestSink::open();
    add(backend, plan, &sink)?;
    sink.wait("frames", |received| received.frames.len() >= HELD_AT)?;
    in_time("the removal", TIMEOUT, || backend.remove_source(&plan.id, TIMEOUT))?;
    let frames = sink.frames();
    sink.was_removed()?;
    let next = TestSink::open();
    add(backend, plan, &next).map_err(|why| format!("its name is not free at once: {why}"))?;
    next.wait("frames of the one that was added again", |received| received.frames.len() >= HELD_AT)?;
    ensure(sink.frames() == frames, "frames came after the removal had returned")?;
    in_time("the stop", TIMEOUT, || backend.stop(TIMEOUT))?;
    next.was_removed()
}

fn broken(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let sink = TestSink::open();
    add(backend, plan, &sink)?;
    sink.wait("its end", Received::over)?;
    backend.stop(TIMEOUT);
    let received = sink.received.lock();
    let last: Vec<_> = received.events.iter().rev().take(2).collect();
    let as_documented = matches!(last[..], [SourceEvent::Broken(_), SourceEvent::State(SourceState::Failed)]);
    ensure(as_documented, format!("`failed` and then `Broken` are its last words, not {:?}", received.events))?;
    ensure(received.final_events() == 1, format!("it says more than once that it is over: {:?}", received.events))
}

fn add(backend: &mut dyn Backend, plan: &SourcePlan, sink: &Arc<TestSink>) -> Result<(), String> {
    backend.add_source(plan, Arc::clone(sink) as Arc<dyn Sink>).map_err(|error| error.to_string())
}

fn ensure(kept: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if kept { Ok(()) } else { Err(otherwise.into()) }
}

/// Fails if `call` takes longer than `limit` plus slack.
fn in_time(what: &str, limit: Duration, call: impl FnOnce()) -> Result<(), String> {
    let late = after(limit + SLACK);
    call();
    ensure(late.is_empty(), format!("{what} takes longer than {limit:?}"))
}

fn numbers(frames: &[(u64, u64)]) -> Vec<u64> {
    frames.iter().map(|(seq, _)| *seq).collect()
}

/// What one source sent.
#[derive(Debug, Default)]
struct Received {
    /// Number and time of each frame.
    frames: Vec<(u64, u64)>,
    events: Vec<SourceEvent>,
    /// The first violation.
    wrong: Option<String>,
    /// The sink is holding a frame.
    holding: bool,
}

impl Received {
    fn final_events(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, SourceEvent::Ended | SourceEvent::Broken(_))).count()
    }

    fn over(&self) -> bool {
        self.final_events() > 0
    }

    fn running(&self) -> bool {
        let state = self.events.iter().rev().find_map(|e| if let SourceEvent::State(s) = e { Some(*s) } else { None });
        state == Some(SourceState::Running)
    }
}

/// One source's sink. Blocks at a frame if asked to.
struct TestSink {
    received: Mutex<Received>,
    changed: Condvar,
    /// The frame at which it blocks; `None` never blocks.
    hold: Mutex<Option<usize>>,
}

impl TestSink {
    fn open() -> Arc<Self> {
        Arc::new(Self { received: Mutex::default(), changed: Condvar::new(), hold: Mutex::new(None) })
    }

    fn held() -> Arc<Self> {
        let sink = Self::open();
        *sink.hold.lock() = Some(HELD_AT);
        sink
    }

    fn release(&self) {
        *self.hold.lock() = None;
        // Taking the lock orders the change before the holder's check, so no wake-up is lost.
        drop(self.received.lock());
        self.changed.notify_all();
    }

    fn frames(&self) -> usize {
        self.received.lock().frames.len()
    }

    fn wait(&self, what: &str, done: impl Fn(&Received) -> bool) -> Result<(), String> {
        let mut received = self.received.lock();
        self.changed.wait_while_for(&mut received, |received| !done(received), TIMEOUT);
        if let Some(wrong) = &received.wrong {
            return Err(wrong.clone());
        }
        ensure(
            done(&received),
            format!("{what} does not come; {} frames, {:?}", received.frames.len(), received.events),
        )
    }

    /// The source played to its end and sent the documented events.
    fn ended_well(&self, source: &SourceId) -> Result<(), String> {
        let received = self.received.lock();
        let last: Vec<_> = received.events.iter().rev().take(2).collect();
        let as_documented = matches!(last[..], [SourceEvent::Ended, SourceEvent::State(SourceState::Stopped)]);
        ensure(
            as_documented,
            format!("{source}: `stopped` and then `Ended` are its last words: {:?}", received.events),
        )?;
        ensure(
            received.final_events() == 1,
            format!("{source} says more than once that it is over: {:?}", received.events),
        )?;
        ensure(received.frames.len() > HELD_AT, format!("{source} gave {} frames only", received.frames.len()))?;
        received.wrong.clone().map_or(Ok(()), Err)
    }

    /// The source was removed: `stopped` is its last event, without `Ended` or `Broken`.
    fn was_removed(&self) -> Result<(), String> {
        let received = self.received.lock();
        let stopped = matches!(received.events.last(), Some(SourceEvent::State(SourceState::Stopped)));
        ensure(stopped && !received.over(), format!("`stopped` alone is its last word: {:?}", received.events))?;
        received.wrong.clone().map_or(Ok(()), Err)
    }
}

impl Sink for TestSink {
    fn frame(&self, frame: Unmasked) -> Flow {
        let frame = frame.mask(&Blackout::default());
        let mut received = self.received.lock();
        let last = received.frames.last().copied();
        let wrong = match last {
            _ if !received.running() => Some(format!("frame {} comes in a state other than `running`", frame.seq)),
            _ if received.over() => Some(format!("frame {} comes after its last word", frame.seq)),
            Some((seq, _)) if frame.seq <= seq => Some(format!("frame {} comes after frame {seq}", frame.seq)),
            Some((_, pts)) if frame.pts_ns < pts => Some(format!("the time of frame {} runs backwards", frame.seq)),
            _ => None,
        };
        received.wrong = received.wrong.take().or(wrong);
        if self.hold.lock().is_some_and(|hold| received.frames.len() + 1 >= hold) {
            received.holding = true;
            self.changed.notify_all();
            self.changed.wait_while_for(&mut received, |_| self.hold.lock().is_some(), TIMEOUT);
        }
        received.frames.push((frame.seq, frame.pts_ns));
        self.changed.notify_all();
        Flow::Continue
    }

    fn event(&self, _: &SourceId, event: SourceEvent) {
        let mut received = self.received.lock();
        if received.over() {
            received.wrong = received.wrong.take().or(Some(format!("{event:?} comes after its last word")));
        }
        received.events.push(event);
        self.changed.notify_all();
    }
}
