//! Scenes behind the Backend seam: one thread per source with pixels, one thread for all sources without.
//!
//! The shared thread is the shape in which hardware pipelines deliver: many sources, one caller, frames already
//! detected and tracked. A sink that waits for room (a finite source loses nothing) holds up that one thread and
//! so every other source on it: finite ones come later, live ones count what became late meanwhile.

mod player;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use self::player::{Player, Step};
use crate::backend::change::{self, Change};
use crate::backend::{Backend, Outlet, Sink, SourceState};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::scene::{Scene, Stages};
use crate::types::{Clock, SourceId};

/// Sources that can wait to be taken up by the shared thread.
const ADDED_MAX: usize = 64;
/// How long a source waits to be taken up by a shared thread that is inside a sink.
const ADD_MAX: Duration = Duration::from_secs(2);

/// Plays [`Scene`]s.
pub struct SceneBackend {
    clock: Arc<dyn Clock>,
    sources: BTreeMap<SourceId, Playing>,
    /// Where sources without pixels are played.
    shared: Option<(Sender<Player>, Thread)>,
    /// Shared by sources with the same script.
    stages: Stages,
}

/// The owner's side of a source.
struct Playing {
    outlet: Arc<Outlet>,
    change: Arc<Change>,
    /// A source with pixels has its own.
    thread: Option<Thread>,
}

impl SceneBackend {
    /// A backend without sources; live scenes are paced and stamped by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sources: BTreeMap::new(), shared: None, stages: Stages::default() }
    }

    fn play_together(&mut self, player: Player) -> Result<(), Error> {
        let (queue, _) = match &mut self.shared {
            Some(shared) => shared,
            empty => {
                let (queue, added) = bounded(ADDED_MAX);
                let thread = start("scene-tracked", move |stop| play_together(&added, &stop))?;
                empty.insert((queue, thread))
            }
        };
        let id = player.outlet.id().clone();
        queue.send_timeout(player, ADD_MAX).map_err(|_| {
            Error::new(Code::Source, format!("source `{id}` cannot start: {ADDED_MAX} scenes are waiting to start"))
                .hint("the engine takes frames too slowly; start fewer detections-only scenes at once")
        })
    }
}

fn start(name: &str, run: impl FnOnce(Stop) + Send + 'static) -> Result<Thread, Error> {
    Thread::start(name, run).map_err(|e| Error::new(Code::Source, format!("cannot start a thread for {name}: {e}")))
}

impl Backend for SceneBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let Input::Scene { name, pixels, seed, live } = &plan.input else {
            return Err(Error::new(Code::Source, format!("source `{}` is no scene", plan.id)));
        };
        if self.sources.get(&plan.id).is_some_and(|playing| !playing.outlet.closed()) {
            return Err(change::running(&plan.id));
        }
        let mut scene = Scene::load(name)?;
        if let Some(seed) = seed {
            scene = scene.with_seed(*seed);
        }
        let scene = self.stages.share(scene);
        let (outlet, change) = (Arc::new(Outlet::new(plan.id.clone(), sink)), Arc::new(Change::default()));
        outlet.enter(SourceState::Connecting);
        let shown = (scene, *pixels, *live);
        let player = Player::new(plan, shown, Arc::clone(&outlet), Arc::clone(&change), Arc::clone(&self.clock));
        let thread = if *pixels {
            Some(start(&format!("scene-{}", plan.id), move |stop| play_alone(player, &stop))?)
        } else {
            self.play_together(player)?;
            None
        };
        self.sources.insert(plan.id.clone(), Playing { outlet, change, thread });
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.get(&plan.id).ok_or_else(|| change::unknown(&plan.id))?.change.put(plan);
        Ok(())
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        let Some(mut playing) = self.sources.remove(source) else { return };
        // Closed first: a thread that is paced or shared need not notice for the source to be gone.
        playing.outlet.stop();
        if let Some(thread) = &mut playing.thread {
            thread.join(deadline);
        }
    }

    fn stop(&mut self, deadline: Duration) {
        let mut sources = std::mem::take(&mut self.sources);
        sources.values().for_each(|playing| playing.outlet.stop());
        let mut shared = self.shared.take().map(|(_, thread)| thread);
        Thread::join_all(sources.values_mut().filter_map(|p| p.thread.as_mut()).chain(&mut shared), deadline);
    }
}

impl Drop for SceneBackend {
    fn drop(&mut self) {
        self.stop(change::DROP_MAX);
    }
}

/// Plays one source until its end or until the owner stops it.
fn play_alone(mut player: Player, stop: &Stop) {
    while stop.pause(player.wait()) {
        if player.step() == Step::Done {
            return;
        }
    }
}

/// Plays all sources that `added` brings, in turn, until the owner stops it.
fn play_together(added: &Receiver<Player>, stop: &Stop) {
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
            recv(stop.signal()) -> _ => return,
            recv(added) -> player => match player {
                Ok(player) => players.push(player),
                Err(_) => return,
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
}
