//! Backend for scenes: one thread per source with pixels, one shared thread for all sources without.
//!
//! The shared thread mimics hardware pipelines: many sources, one caller, frames already detected and tracked. A sink
//! that blocks (a finite source loses nothing) blocks this thread and every other source on it: finite sources are
//! delayed, live ones count late frames.

mod player;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use self::player::{Player, Step};
use crate::backend::{Backend, Sink, SourceContext, SourceState, Sources};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::scene::{Scene, Stages};
use crate::types::{Clock, SourceId};

/// Sources queued for the shared thread.
const ADDED_MAX: usize = 64;
/// Longest wait for room in that queue while the shared thread is blocked in a sink.
const ADD_MAX: Duration = Duration::from_secs(2);

/// Plays [`Scene`]s.
pub struct SceneBackend {
    clock: Arc<dyn Clock>,
    sources: Sources,
    /// The thread that plays sources without pixels, and its queue.
    shared: Option<(Sender<Player>, Thread)>,
    /// Stages shared by sources with the same script.
    stages: Stages,
}

impl SceneBackend {
    /// Creates a backend without sources; `clock` paces and timestamps live scenes.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sources: Sources::default(), shared: None, stages: Stages::default() }
    }

    fn play_together(
        &mut self,
        plan: &SourcePlan,
        shown: (Scene, bool, bool),
        sink: Arc<dyn Sink>,
    ) -> Result<(), Error> {
        let (queue, _) = match &mut self.shared {
            Some(shared) => shared,
            empty => {
                let (queue, added) = bounded(ADDED_MAX);
                let clock = Arc::clone(&self.clock);
                let thread = Thread::start("scene-tracked", move |stop| play_together(&added, &stop, &*clock));
                let thread = thread.map_err(|error| {
                    Error::new(Code::Source, format!("source {}: no thread for it: {error}", plan.id))
                })?;
                empty.insert((queue, thread))
            }
        };
        let (outlet, change) = self.sources.join(plan, sink)?;
        outlet.enter(SourceState::Connecting);
        let player = Player::new(plan, shown, outlet, change, Arc::clone(&self.clock));
        if queue.send_timeout(player, ADD_MAX).is_err() {
            self.sources.remove(&plan.id, Duration::ZERO);
            let what = format!("source {} cannot start: {ADDED_MAX} scenes are waiting to start", plan.id);
            return Err(Error::new(Code::Source, what)
                .hint("the engine takes frames too slowly; start fewer detections-only scenes at once"));
        }
        Ok(())
    }
}

impl Backend for SceneBackend {
    fn check_source(&self, plan: &SourcePlan) -> Result<(), Error> {
        match &plan.input {
            Input::Scene { name, .. } => Scene::load(name).map(drop),
            _ => Err(Error::new(Code::Source, format!("source `{}` is no scene", plan.id))),
        }
    }

    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let Input::Scene { name, pixels, seed, live } = &plan.input else {
            return Err(Error::new(Code::Source, format!("source `{}` is no scene", plan.id)));
        };
        self.sources.vacant(&plan.id)?;
        let mut scene = Scene::load(name)?;
        if let Some(seed) = seed {
            scene = scene.with_seed(*seed);
        }
        let scene = self.stages.share(scene);
        let (plan, shown, clock) = (plan.clone(), (scene, *pixels, *live), Arc::clone(&self.clock));
        if !pixels {
            return self.play_together(&plan, shown, sink);
        }
        let name = format!("scene-{}", plan.id);
        self.sources.start(&plan.clone(), sink, &name, move |SourceContext { outlet, change, stop, .. }| {
            outlet.enter(SourceState::Connecting);
            play_alone(Player::new(&plan, shown, outlet, change, clock), &stop);
        })
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.sources.remove(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(self.shared.take().map(|(_, thread)| thread), deadline);
    }
}

/// Plays one source until it ends or the owner stops it.
fn play_alone(mut player: Player, stop: &Stop) {
    while stop.pause(player.wait()) {
        if player.step() == Step::Done {
            return;
        }
    }
}

/// Plays all sources received from `added`, each frame when it is due, until the owner stops it.
fn play_together(added: &Receiver<Player>, stop: &Stop, clock: &dyn Clock) {
    // By the time of their next frame; those of the same time in turn.
    let mut players: BTreeMap<(u64, u64), Player> = BTreeMap::new();
    let mut turns = 0;
    let mut insert = |players: &mut BTreeMap<(u64, u64), Player>, player: Player| {
        turns += 1;
        let wait_ns = u64::try_from(player.wait().as_nanos()).unwrap_or(u64::MAX);
        players.insert((clock.monotonic_ns().saturating_add(wait_ns), turns), player);
    };
    while !stop.requested() {
        let next = players.first_key_value().map(|((due_ns, _), _)| due_ns.saturating_sub(clock.monotonic_ns()));
        if next != Some(0) {
            let due =
                next.map_or_else(crossbeam_channel::never, |ns| crossbeam_channel::after(Duration::from_nanos(ns)));
            // A new source, the stop signal or the next frame, whichever comes first.
            crossbeam_channel::select_biased! {
                recv(stop.signal()) -> _ => return,
                recv(added) -> player => match player {
                    Ok(player) => insert(&mut players, player),
                    Err(_) => return,
                },
                recv(due) -> _ => {}
            }
            continue;
        }
        if let Ok(player) = added.try_recv() {
            insert(&mut players, player);
        }
        if let Some((_, mut player)) = players.pop_first()
            && player.step() != Step::Done
        {
            insert(&mut players, player);
        }
    }
}
