//! A conformance check for backends, public so that authors can check their own.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::after;
use parking_lot::{Condvar, Mutex};

use super::{Backend, Flow, Sink, SourceEvent, SourceState};
use crate::config::SourcePlan;
use crate::types::{Frame, SourceId};

/// Longest wait for any step of a backend.
const PATIENCE: Duration = Duration::from_secs(60);
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
    ensure(backend.offer(&nobody, "v=0").is_err(), "it answers an offer for a source that it does not have")?;
    in_time("stopping without sources", SHORT, || backend.stop(SHORT))
}

fn to_the_end(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let other = SourcePlan { id: format!("{}-2", plan.id).as_str().into(), ..plan.clone() };
    let (one, two) = (Tap::open(), Tap::open());
    add(backend, plan, &one)?;
    add(backend, &other, &two)?;
    for (tap, id) in [(&one, &plan.id), (&two, &other.id)] {
        tap.wait("its end", Story::over)?;
        tap.ended_well(id)?;
    }
    ensure(backend.change_source(plan).is_ok(), "a source that has ended cannot be changed")?;
    let again = Tap::open();
    add(backend, plan, &again).map_err(|why| format!("its name is not free after its end: {why}"))?;
    again.wait("its second end", Story::over)?;
    backend.stop(PATIENCE);
    let (first, second) = (one.frames(), again.frames());
    ensure(first == second, format!("it gave {first} frames, and {second} when it was played again"))?;
    one.ended_well(&plan.id)
}

fn changed(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let faster = SourcePlan { every: EVERY, ..plan.clone() };
    ensure(backend.change_source(&faster).is_err(), "a source that was never added can be changed")?;
    let tap = Tap::held();
    add(backend, plan, &tap)?;
    tap.wait("a frame that is held", |story| story.holding)?;
    ensure(backend.add_source(plan, Tap::open()).is_err(), "one name can be added twice")?;
    backend.change_source(&faster).map_err(|error| error.to_string())?;
    tap.release();
    tap.wait("its end", Story::over)?;
    tap.ended_well(&plan.id)?;
    let story = tap.story.lock();
    // One frame may have been picked before the change arrived.
    let after = &story.frames[HELD_AT.min(story.frames.len())..];
    let kept = after.iter().skip(1).all(|(seq, _)| seq % u64::from(EVERY) == 0);
    ensure(kept && after.len() > 2, format!("`every` was {EVERY} and frames {:?} came", numbers(after)))
}

fn removed_while_held(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let tap = Tap::held();
    add(backend, plan, &tap)?;
    tap.wait("a frame that is held", |story| story.holding)?;
    in_time("the removal", SHORT, || backend.remove_source(&plan.id, SHORT))?;
    tap.taken_away()?;
    tap.release();
    let next = Tap::open();
    add(backend, plan, &next).map_err(|why| format!("its name is not free at once: {why}"))?;
    next.wait("the end of the one that was added again", Story::over)?;
    next.ended_well(&plan.id)?;
    tap.taken_away()?;
    ensure(tap.frames() <= HELD_AT, "frames came after it was removed")?;
    backend.stop(PATIENCE);
    tap.taken_away()
}

fn stopped_while_held(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let tap = Tap::held();
    add(backend, plan, &tap)?;
    tap.wait("a frame that is held", |story| story.holding)?;
    in_time("the stop", SHORT, || backend.stop(SHORT))?;
    tap.taken_away()?;
    in_time("the second stop", SHORT, || backend.stop(SHORT))?;
    tap.release();
    tap.taken_away()
}

fn removed_while_running(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let tap = Tap::open();
    add(backend, plan, &tap)?;
    tap.wait("frames", |story| story.frames.len() >= HELD_AT)?;
    in_time("the removal", PATIENCE, || backend.remove_source(&plan.id, PATIENCE))?;
    let frames = tap.frames();
    tap.taken_away()?;
    let next = Tap::open();
    add(backend, plan, &next).map_err(|why| format!("its name is not free at once: {why}"))?;
    next.wait("frames of the one that was added again", |story| story.frames.len() >= HELD_AT)?;
    ensure(tap.frames() == frames, "frames came after the removal had returned")?;
    in_time("the stop", PATIENCE, || backend.stop(PATIENCE))?;
    next.taken_away()
}

fn broken(backend: &mut dyn Backend, plan: &SourcePlan) -> Result<(), String> {
    let tap = Tap::open();
    add(backend, plan, &tap)?;
    tap.wait("its end", Story::over)?;
    backend.stop(PATIENCE);
    let story = tap.story.lock();
    let last: Vec<_> = story.events.iter().rev().take(2).collect();
    let as_documented = matches!(last[..], [SourceEvent::Broken(_), SourceEvent::State(SourceState::Failed)]);
    ensure(as_documented, format!("`failed` and then `Broken` are its last words, not {:?}", story.events))?;
    ensure(story.last_words() == 1, format!("it says more than once that it is over: {:?}", story.events))
}

fn add(backend: &mut dyn Backend, plan: &SourcePlan, tap: &Arc<Tap>) -> Result<(), String> {
    backend.add_source(plan, Arc::clone(tap) as Arc<dyn Sink>).map_err(|error| error.to_string())
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
struct Story {
    /// Number and time of each frame.
    frames: Vec<(u64, u64)>,
    events: Vec<SourceEvent>,
    /// The first violation.
    wrong: Option<String>,
    /// The sink is holding a frame.
    holding: bool,
}

impl Story {
    fn last_words(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, SourceEvent::Ended | SourceEvent::Broken(_))).count()
    }

    fn over(&self) -> bool {
        self.last_words() > 0
    }

    fn running(&self) -> bool {
        let state = self.events.iter().rev().find_map(|e| if let SourceEvent::State(s) = e { Some(*s) } else { None });
        state == Some(SourceState::Running)
    }
}

/// One source's sink. Blocks at a frame if asked to.
struct Tap {
    story: Mutex<Story>,
    changed: Condvar,
    /// The frame at which it blocks; `None` never blocks.
    hold: Mutex<Option<usize>>,
}

impl Tap {
    fn open() -> Arc<Self> {
        Arc::new(Self { story: Mutex::default(), changed: Condvar::new(), hold: Mutex::new(None) })
    }

    fn held() -> Arc<Self> {
        let tap = Self::open();
        *tap.hold.lock() = Some(HELD_AT);
        tap
    }

    fn release(&self) {
        *self.hold.lock() = None;
        // Taking the lock orders the change before the holder's check, so no wake-up is lost.
        drop(self.story.lock());
        self.changed.notify_all();
    }

    fn frames(&self) -> usize {
        self.story.lock().frames.len()
    }

    fn wait(&self, what: &str, done: impl Fn(&Story) -> bool) -> Result<(), String> {
        let mut story = self.story.lock();
        self.changed.wait_while_for(&mut story, |story| !done(story), PATIENCE);
        if let Some(wrong) = &story.wrong {
            return Err(wrong.clone());
        }
        ensure(done(&story), format!("{what} does not come; {} frames, {:?}", story.frames.len(), story.events))
    }

    /// The source played to its end and sent the documented events.
    fn ended_well(&self, source: &SourceId) -> Result<(), String> {
        let story = self.story.lock();
        let last: Vec<_> = story.events.iter().rev().take(2).collect();
        let as_documented = matches!(last[..], [SourceEvent::Ended, SourceEvent::State(SourceState::Stopped)]);
        ensure(as_documented, format!("{source}: `stopped` and then `Ended` are its last words: {:?}", story.events))?;
        ensure(story.last_words() == 1, format!("{source} says more than once that it is over: {:?}", story.events))?;
        ensure(story.frames.len() > HELD_AT, format!("{source} gave {} frames only", story.frames.len()))?;
        story.wrong.clone().map_or(Ok(()), Err)
    }

    /// The source was removed: `stopped` is its last event, without `Ended` or `Broken`.
    fn taken_away(&self) -> Result<(), String> {
        let story = self.story.lock();
        let stopped = matches!(story.events.last(), Some(SourceEvent::State(SourceState::Stopped)));
        ensure(stopped && !story.over(), format!("`stopped` alone is its last word: {:?}", story.events))?;
        story.wrong.clone().map_or(Ok(()), Err)
    }
}

impl Sink for Tap {
    fn frame(&self, frame: Frame) -> Flow {
        let mut story = self.story.lock();
        let last = story.frames.last().copied();
        let wrong = match last {
            _ if !story.running() => Some(format!("frame {} comes in a state other than `running`", frame.seq)),
            _ if story.over() => Some(format!("frame {} comes after its last word", frame.seq)),
            Some((seq, _)) if frame.seq <= seq => Some(format!("frame {} comes after frame {seq}", frame.seq)),
            Some((_, pts)) if frame.pts_ns < pts => Some(format!("the time of frame {} runs backwards", frame.seq)),
            _ => None,
        };
        story.wrong = story.wrong.take().or(wrong);
        if self.hold.lock().is_some_and(|hold| story.frames.len() + 1 >= hold) {
            story.holding = true;
            self.changed.notify_all();
            self.changed.wait_while_for(&mut story, |_| self.hold.lock().is_some(), PATIENCE);
        }
        story.frames.push((frame.seq, frame.pts_ns));
        self.changed.notify_all();
        Flow::Continue
    }

    fn event(&self, _: &SourceId, event: SourceEvent) {
        let mut story = self.story.lock();
        if story.over() {
            story.wrong = story.wrong.take().or(Some(format!("{event:?} comes after its last word")));
        }
        story.events.push(event);
        self.changed.notify_all();
    }
}
