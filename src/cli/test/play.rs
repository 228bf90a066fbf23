//! A strategy's case: frames in, verdicts out, on frame time.

use std::sync::Arc;

use dsengine::config::StrategyPlan;
use dsengine::error::{Code, Error};
use dsengine::guest::GuestKind;
use dsengine::strategy::{Strategy, View, apply};
use dsengine::track::Tracks;

use super::actual::Actual;
use super::case::Case;
use super::find::Plugin;
use super::stage::{self, Stage};
use super::wire::Answers;

/// Runs the case.
pub(super) fn run(plugin: &Plugin, case: &Case) -> Result<Actual, Error> {
    let (frames, zones, source) = (case.frames()?, case.zones()?, case.source());
    let stage = Stage::open(Arc::new(Answers::default()))?;
    stage.guests.set_zones(&source, &zones);
    let plan = StrategyPlan { timezone: case.timezone()?, ..stage::strategy(plugin, case) };
    let bytes = stage::contents(plugin)?;
    let load = || stage.guests.strategy(&plan, &bytes, &Arc::default())?.instance(&source);
    let mut strategy = load()?;
    let (mut tracks, mut actual) = (Tracks::default(), Actual::default());
    let dir = plugin.dir.display().to_string();
    let mut reloads = case.script.reload_at.0.clone();
    for frame in &frames {
        if reloads.contains(&frame.seq) {
            reloads.retain(|seq| *seq != frame.seq);
            strategy = reload(strategy, load()?, frame.seq)?;
        }
        tracks.observe(frame, &zones);
        let view = View { frame, tracks: &tracks, zones: &zones };
        let mut detections = frame.detections.clone();
        let outcome = strategy.judge(&view).and_then(|verdict| match apply(verdict.clone(), true, &mut detections) {
            Ok(_) => Ok(verdict),
            Err(fault) => {
                strategy.refused(&fault, &view);
                Err(fault)
            }
        });
        match outcome {
            Ok(verdict) => actual.verdict(frame.seq, frame.detections.len(), &verdict),
            Err(fault) => actual.fault(frame.seq, &fault, &dir),
        }
    }
    if let Some(seq) = reloads.first() {
        actual.broken.push(format!("reload_at: there is no frame {seq} to reload before"));
    }
    let now_ns = frames.last().map_or(0, |frame| frame.pts_ns);
    let state = stage.guests.state();
    actual.state = stage::held(&state.space(&plan.name, Some(&source)), now_ns);
    actual.shared_state = stage::held(&state.shared(&plan.name, GuestKind::Strategy), now_ns);
    Ok(actual)
}

/// Replaces the strategy between two frames, as the engine does after a save.
fn reload(mut old: Box<dyn Strategy>, mut new: Box<dyn Strategy>, seq: u64) -> Result<Box<dyn Strategy>, Error> {
    let failed = |what: &str, fault: &dyn std::fmt::Display| {
        Error::new(Code::Plugin, format!("reload before frame {seq}: {what}: {fault}"))
    };
    let handed = old.suspend().map_err(|fault| failed("the running version cannot hand over", &fault))?;
    new.resume(old.version(), &handed).map_err(|fault| failed("the new version does not take over", &fault))?;
    Ok(new)
}
