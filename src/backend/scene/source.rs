//! Scenes behind the Backend seam: one thread per source with pixels, one thread for all sources without.
//!
//! The shared thread is the shape in which hardware pipelines deliver: many sources, one caller, frames already
//! detected and tracked. A sink that waits for room (a finite source loses nothing) holds up that one thread and
//! so every other source on it: finite ones come later, live ones count what became late meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Scene;
use super::player::{Player, Signals, Step};
use super::stage::Stage;
use crate::backend::{Backend, Sink, SourceEvent, SourceState};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::types::{Clock, SourceId};

/// Sources that can wait to be taken up by the shared thread.
const ADDED_MAX: usize = 64;
/// How long removing one source, or dropping the backend, waits for a thread that is inside the sink.
const HALT_MAX: Duration = Duration::from_secs(2);

/// Plays [`Scene`]s.
pub struct SceneBackend {
    clock: Arc<dyn Clock>,
    /// Sources with pixels, each with its thread.
    alone: BTreeMap<SourceId, (Arc<Signals>, Worker)>,
    /// Sources on the shared thread.
    together: BTreeMap<SourceId, (Arc<Signals>, Arc<dyn Sink>)>,
    shared: Option<(Sender<Player>, Worker)>,
    /// Scenes being played, to be shared by sources with the same script.
    stages: Vec<Weak<Stage>>,
}

/// A thread that ends when its owner goes: it waits on a channel whose other end is here.
struct Worker {
    name: String,
    stop: Option<Sender<()>>,
    /// Disconnects when the thread ends.
    alive: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(name: String, body: impl FnOnce(Receiver<()>) + Send + 'static) -> Result<Self, Error> {
        let (stop, stopped) = bounded(1);
        let (living, alive) = bounded::<()>(1);
        let run = move || {
            body(stopped);
            drop(living);
        };
        let thread = thread::Builder::new()
            .name(name.clone())
            .spawn(run)
            .map_err(|e| Error::new(Code::Source, format!("cannot start a thread for {name}: {e}")))?;
        Ok(Self { name, stop: Some(stop), alive, thread: Some(thread) })
    }

    /// Asks the thread to end, without waiting.
    fn signal(&mut self) {
        self.stop = None;
    }

    /// Waits for the thread; one that does not end in time is left to itself.
    fn join(&mut self, within: Duration) {
        self.signal();
        let Some(thread) = self.thread.take() else { return };
        match self.alive.recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(thread = self.name, waited_ms = within.as_millis(), "scene thread did not stop in time");
            }
            _ if thread.join().is_err() => tracing::error!(thread = self.name, "scene thread panicked"),
            _ => {}
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.join(HALT_MAX);
    }
}

impl SceneBackend {
    /// A backend without sources; live scenes are paced and stamped by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, alone: BTreeMap::new(), together: BTreeMap::new(), shared: None, stages: Vec::new() }
    }

    /// Forgets sources that came to their end, so that their names can be used again.
    fn sweep(&mut self) {
        self.alone.retain(|_, (signals, _)| !signals.done.load(Ordering::Acquire));
        self.together.retain(|_, (signals, _)| !signals.done.load(Ordering::Acquire));
    }

    fn play_together(&mut self, player: Player, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let (queue, _) = match &mut self.shared {
            Some(shared) => shared,
            empty => {
                let (queue, added) = bounded(ADDED_MAX);
                let worker = Worker::start("scene-tracked".into(), move |stop| play_together(&added, &stop))?;
                empty.insert((queue, worker))
            }
        };
        let (id, signals) = (player.id.clone(), player.signals.clone());
        queue.send_timeout(player, HALT_MAX).map_err(|_| {
            Error::new(Code::Source, format!("source `{id}` cannot start: {ADDED_MAX} scenes are waiting to start"))
                .hint("the engine takes frames too slowly; start fewer detections-only scenes at once")
        })?;
        self.together.insert(id, (signals, sink));
        Ok(())
    }
}

impl Backend for SceneBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let Input::Scene { name, pixels, seed, live } = &plan.input else {
            return Err(Error::new(Code::Source, format!("source `{}` is no scene", plan.id)));
        };
        self.sweep();
        if self.alone.contains_key(&plan.id) || self.together.contains_key(&plan.id) {
            return Err(Error::new(Code::Source, format!("source `{}` is already playing", plan.id)));
        }
        let mut scene = Scene::load(name)?;
        if let Some(seed) = seed {
            scene = scene.with_seed(*seed);
        }
        let scene = scene.sharing(&mut self.stages);
        sink.event(&plan.id, SourceEvent::State(SourceState::Connecting));
        let player = Player::new(plan, scene, (*pixels, *live), sink.clone(), self.clock.clone());
        if !pixels {
            return self.play_together(player, sink);
        }
        let signals = player.signals.clone();
        let worker = Worker::start(format!("scene-{}", plan.id.as_str().replace('\0', "")), move |stop| {
            play_alone(player, &stop)
        })?;
        self.alone.insert(plan.id.clone(), (signals, worker));
        Ok(())
    }

    fn remove_source(&mut self, source: &SourceId) {
        if let Some((signals, mut worker)) = self.alone.remove(source) {
            signals.cancelled.store(true, Ordering::Release);
            worker.join(HALT_MAX);
        }
        if let Some((signals, sink)) = self.together.remove(source) {
            signals.stop(source, &*sink);
        }
    }

    fn stop(&mut self, deadline: Duration) {
        let begun = self.clock.monotonic_ns();
        for (signals, worker) in self.alone.values_mut() {
            signals.cancelled.store(true, Ordering::Release);
            worker.signal();
        }
        for (source, (signals, sink)) in &self.together {
            signals.stop(source, &**sink);
        }
        let left = || deadline.saturating_sub(Duration::from_nanos(self.clock.monotonic_ns().saturating_sub(begun)));
        for (_, worker) in self.alone.values_mut() {
            worker.join(left());
        }
        if let Some((_, worker)) = &mut self.shared {
            worker.join(left());
        }
        self.alone.clear();
        self.together.clear();
        self.shared = None;
    }
}

/// Plays one source until its end or until the owner lets go of `stop`.
fn play_alone(mut player: Player, stop: &Receiver<()>) {
    while stop.recv_timeout(player.wait()) == Err(RecvTimeoutError::Timeout) {
        if player.step() == Step::Done {
            return;
        }
    }
    player.stopped();
}

/// Plays all sources that `added` brings, in turn, until the owner lets go of `stop`.
fn play_together(added: &Receiver<Player>, stop: &Receiver<()>) {
    let mut players: Vec<Player> = Vec::new();
    let mut turn = 0;
    loop {
        // With nothing due, wait for a new source, the end, or the next frame, whichever comes first.
        let idle = crossbeam_channel::never();
        let due = match players.iter().map(Player::wait).min() {
            Some(wait) => crossbeam_channel::after(wait),
            None => idle,
        };
        crossbeam_channel::select_biased! {
            recv(stop) -> _ => break,
            recv(added) -> player => match player {
                Ok(player) => players.push(player),
                Err(_) => break,
            },
            recv(due) -> _ => {
                turn = (turn + 1) % players.len().max(1);
                // Round robin: one source gives one frame, then the next that has one due.
                let ready = (0..players.len()).map(|k| (turn + k) % players.len()).find(|&k| players[k].wait().is_zero());
                if let Some(k) = ready && players[k].step() == Step::Done {
                    players.swap_remove(k);
                }
            }
        }
    }
    for player in &mut players {
        player.stopped();
    }
}
