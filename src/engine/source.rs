//! One running source: its route, its lane, its backend. Builds and stops it, for a start and for a change.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::lanes::{Inlet, Lane, LaneHandle, OnProbation, Place, Route, Rule, RuleSettings, Shadow, Stages};
use super::models::Models;
use super::parts::Parts;
use super::stills::FromEvidence;
use super::versions::{GuestStrategy, Versions};
use super::view::live::Live;
use super::view::strategy::{Notes, StrategyBoard};
use crate::alert::{Order, Stills};
use crate::backend::evidence::Evidence;
use crate::config::{Input, Plan, SourcePlan, StrategyKind, StrategyPlan};
use crate::error::{Code, Error};
use crate::strategy::{FaultKind, Motion, Strategy};
use crate::telemetry::StrategyMetrics;
use crate::track::{Tracker, Tracks};
use crate::types::SourceId;

/// See the module.
pub(super) struct SourceUnit {
    pub(super) route: Arc<Route>,
    pub(super) live: Arc<Live>,
    /// What is kept of its encoded stream: the same value as long as the source runs.
    pub(super) evidence: Option<Arc<dyn Evidence>>,
    lane: Mutex<Option<LaneHandle>>,
}

/// A source that is built and not yet running.
pub(super) struct Built {
    lane: Lane,
    live: Arc<Live>,
    pub(super) route: Arc<Route>,
}

impl Parts {
    /// Builds a source's route and lane with an instance of every strategy that judges it, and registers the lane with
    /// its guests.
    pub(super) fn build_source(
        &self,
        source: &SourcePlan,
        plan: &Plan,
        models: &Models,
        versions: &mut Versions,
        boards: &super::owner::Boards,
    ) -> Result<Built, Error> {
        let unended = Arc::clone(&self.unended);
        let route = Arc::new(Route::new(
            source,
            source.frames_held_max.map_or(self.in_flight_max, |most| self.in_flight_max.min(most.into())),
            self.metrics.source(&source.id),
            Arc::clone(&self.clock),
            Arc::clone(&self.events),
            Box::new(move || unended.ended()),
        ));
        let mut lane = self.empty_lane(source, plan, &route);
        // Shadows last: the rules that they run alongside must exist.
        let judging = || plan.strategies.iter().filter(|strategy| strategy.judges(&source.id));
        for strategy in judging().filter(|s| s.shadow_of.is_none()) {
            let rule = self.build_rule(strategy, &route, versions, boards)?;
            if is_detector(strategy) { &mut lane.detectors } else { &mut lane.rules }.push(rule);
        }
        for strategy in judging() {
            let Some(of) = &strategy.shadow_of else { continue };
            let Some(at) = lane.rules.iter().position(|rule| **rule.name() == **of) else { continue };
            let shadow = self.build_shadow(strategy, &route, versions, boards)?;
            let rule = lane.rules.remove(at).with_shadow(shadow);
            lane.rules.insert(at, rule);
        }
        for own in &self.own {
            let metrics = self.series(&own.board, &source.id, 1);
            let notes = Notes::new(Arc::clone(&own.board));
            let (strategy, settings) = (own.instance(&source.id)?, RuleSettings::default());
            lane.rules.push(Rule::new(strategy, 1, settings, metrics, notes, self.reaper.disposal()));
        }
        route.set_stages(self.stages(source, plan, models, &route));
        self.unended.begun();
        let live = Arc::clone(&lane.live);
        Ok(Built { lane, live, route })
    }

    fn empty_lane(&self, source: &SourcePlan, plan: &Plan, route: &Arc<Route>) -> Lane {
        let policy = plan.alerts.of_source(&source.alerts);
        let mut gate = self.delivery.gate(&policy, &source.id).joined(order(source));
        if source.input.is_live() {
            gate = gate.remembering();
        }
        gate.set_zones(&source.zones);
        Lane {
            route: Arc::clone(route),
            detectors: Vec::new(),
            tracker: Tracker::of(&plan.tracking),
            tracks: Tracks::default(),
            zones: Arc::clone(&source.zones),
            rules: Vec::new(),
            remembered: VecDeque::new(),
            gate,
            policy,
            undo: None,
            live: Live::new(),
            events: Arc::clone(&self.events),
            observer: self.observer.clone(),
            states: Arc::clone(self.guests.state()),
            given: Arc::clone(&self.given),
            clock: Arc::clone(&self.clock),
        }
    }

    /// The models that a source's frames pass, in listed order.
    pub(super) fn stages(&self, source: &SourcePlan, plan: &Plan, models: &Models, route: &Route) -> Stages {
        let judging = plan.models.iter().filter(|model| model.judges(&source.id));
        let units: Vec<_> = judging.filter_map(|model| models.get(&model.name).cloned()).collect();
        Stages::attach(&self.pool, &units, route.credit(), source.confidence)
    }

    /// Builds the running version of a strategy for a source's lane.
    pub(super) fn build_rule(
        &self,
        strategy: &StrategyPlan,
        route: &Arc<Route>,
        versions: &mut Versions,
        boards: &super::owner::Boards,
    ) -> Result<Rule, Error> {
        let part = |error: Error| error.about(format!("detection.strategies[{}]", strategy.name));
        let board = boards.of(&strategy.name);
        let notes = Notes::new(Arc::clone(&board));
        let built_in: Box<dyn Strategy> = match &strategy.kind {
            StrategyKind::Motion => Box::new(Motion::new(&*strategy.name, &strategy.config).map_err(part)?),
            StrategyKind::Lua(_) | StrategyKind::Wasm(_) => {
                return self.build_guest(strategy, route, versions, notes).map_err(part);
            }
        };
        let metrics = self.series(&board, &route.id, 1);
        Ok(Rule::new(built_in, 1, strategy.into(), metrics, notes, self.reaper.disposal()))
    }

    /// Builds the running version of a script or component for a source's lane.
    fn build_guest(
        &self,
        strategy: &StrategyPlan,
        route: &Arc<Route>,
        versions: &mut Versions,
        notes: Notes,
    ) -> Result<Rule, Error> {
        let Some(guest) = versions.strategies.get_mut(strategy.name.as_str()) else {
            // Every guest of a plan is loaded before its rules are built.
            return Err(Error::new(Code::Plugin, format!("'{}' is not loaded", strategy.name)));
        };
        let generation = guest.running.generation;
        let kept = strategy.persist_state && route.is_live();
        let version = &guest.running.version;
        if kept {
            // Otherwise once the change is made: a failed one must lose nothing.
            self.guests.state().keep(&strategy.name, Some(&route.id), true);
        }
        let instance = version.instance(&route.id)?;
        let trial = former(guest, &route.id)?;
        guest.joined(route);
        let metrics = self.series(&notes.board, &route.id, generation);
        Ok(Rule::new(instance, generation, strategy.into(), metrics, notes, self.reaper.disposal()).on_probation(trial))
    }

    /// Builds a shadow for a source's lane.
    pub(super) fn build_shadow(
        &self,
        strategy: &StrategyPlan,
        route: &Arc<Route>,
        versions: &mut Versions,
        boards: &super::owner::Boards,
    ) -> Result<Option<Shadow>, Error> {
        let Some(guest) = versions.strategies.get_mut(strategy.name.as_str()) else { return Ok(None) };
        let part = |error: Error| error.about(format!("detection.strategies[{}]", strategy.name));
        let instance = guest.running.version.rehearsal(&route.id).map_err(part)?;
        let (board, generation) = (boards.of(&strategy.name), guest.running.generation);
        guest.joined(route);
        let metrics = self.series(&board, &route.id, generation);
        Ok(Some(Shadow::new(instance, board, metrics)))
    }

    fn series(&self, board: &StrategyBoard, source: &SourceId, generation: u64) -> StrategyMetrics {
        self.metrics.versions(&board.name).generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        let own = self.metrics.strategy(&board.name, source);
        own.may_fault(FaultKind::ALL.map(FaultKind::as_str));
        own
    }
}

/// How a source's alerts are ordered among those of the others.
fn order(source: &SourcePlan) -> Order {
    match source.input {
        _ if source.input.is_live() || source.repeat || source.realtime => Order::Arrival,
        // The files of several sources begin together; recordings began when they were made.
        Input::Trace(_) => Order::Capture,
        _ => Order::Frame,
    }
}

/// The kind of thread that a source's lane runs on: a source without pictures whose frames have a pace needs little.
fn place(source: &SourcePlan) -> Place {
    let is_paced = source.input.is_live() || source.realtime;
    if is_paced && !source.input.has_pixels() { Place::Shared } else { Place::Own }
}

/// Whether a strategy detects from pixels, before the tracker.
pub(super) fn is_detector(strategy: &StrategyPlan) -> bool {
    match strategy.kind {
        StrategyKind::Motion => true,
        StrategyKind::Lua(_) | StrategyKind::Wasm(_) => false,
    }
}

/// The version to restore on this lane if the current version's probation fails.
fn former(guest: &GuestStrategy, source: &SourceId) -> Result<Option<OnProbation>, Error> {
    let Some(trial) = &guest.trial else { return Ok(None) };
    let previous: Box<dyn Strategy> = trial.former.version.instance(source)?;
    trial.probation.lane_joined();
    Ok(Some(OnProbation::new(previous, trial.former.generation, Arc::clone(&trial.probation))))
}

impl Built {
    /// Runs the lane and starts the source. Its rules take over from those of the source before it, which has ended.
    ///
    /// # Errors
    /// Any error that its backend reports immediately; nothing runs then.
    pub(super) fn start(self, plan: &SourcePlan, parts: &Parts) -> Result<Arc<SourceUnit>, Error> {
        let Self { mut lane, live, route } = self;
        for rule in &mut lane.rules {
            let name = Arc::clone(rule.name());
            parts.take_over(&name, &route.id, rule.strategy());
        }
        let running = Arc::clone(&route);
        // From here on the lane's end ends the source.
        let lane = parts.threads.run(lane, place(plan)).inspect_err(|_| running.finish())?;
        let mut unit = SourceUnit { route, live, evidence: None, lane: Mutex::new(Some(lane)) };
        let added = parts.backends.add(plan, Arc::new(Inlet(Arc::clone(&unit.route))));
        if let Err(error) = added {
            unit.end();
            return Err(error.about(format!("sources[{}]", plan.id)));
        }
        unit.evidence = parts.backends.evidence(&plan.id);
        let stills = unit.evidence.clone().map(|kept| Arc::new(FromEvidence(kept)) as Arc<dyn Stills>);
        parts.delivery.pictures().take_from(&plan.id, stills);
        Ok(Arc::new(unit))
    }
}

impl Built {
    /// Ends a source that never ran.
    pub(super) fn discard(self) {
        self.route.inbox.close();
        self.route.finish();
    }
}

impl SourceUnit {
    /// Stops the source, then its lane; frames in flight are dropped.
    pub(super) fn stop(&self, parts: &Parts) {
        // The lane first: this wakes a source that waits for room.
        self.route.inbox.close();
        parts.backends.remove(&self.route.id);
        parts.delivery.pictures().take_from(&self.route.id, None);
        self.end();
    }

    /// Ends the lane of a source whose backend has stopped.
    pub(super) fn end(&self) {
        self.route.inbox.close();
        self.route.set_stages(Stages::default());
        if let Some(lane) = self.lane.lock().take() {
            lane.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tests::plan;

    #[test]
    fn lanes_of_sources_with_a_pace_and_without_pictures_share_threads() {
        let scene = |pixels, live| Input::Scene { name: "street".into(), pixels, seed: None, live };
        for (input, expected) in [
            (scene(false, true), Place::Shared),
            (scene(true, true), Place::Own),
            (scene(false, false), Place::Own),
            (Input::Trace("a.jsonl".into()), Place::Own),
        ] {
            assert_eq!(place(&SourcePlan { input: input.clone(), ..plan("a") }), expected, "{input:?}");
        }
        assert_eq!(place(&SourcePlan { realtime: true, input: scene(false, false), ..plan("a") }), Place::Shared);
    }

    #[test]
    fn what_plays_at_its_own_pace_is_ordered_by_arrival_and_what_does_not_by_its_frames() {
        let clip = SourcePlan { input: Input::File("a.mp4".into()), ..plan("clip") };
        let trace = SourcePlan { input: Input::Trace("a.jsonl".into()), ..plan("trace") };
        assert_eq!((order(&clip), order(&trace)), (Order::Frame, Order::Capture));
        assert_eq!(order(&SourcePlan { realtime: true, ..clip.clone() }), Order::Arrival);
        assert_eq!(order(&SourcePlan { repeat: true, ..clip }), Order::Arrival);
        assert_eq!(order(&plan("camera")), Order::Arrival);
    }
}
