//! A handler's case: alerts in, requests out, with scripted answers.

use std::sync::Arc;

use dsengine::error::Error;
use dsengine::guest::GuestKind;

use super::actual::Actual;
use super::case::Case;
use super::find::Plugin;
use super::script::Outcome;
use super::stage::{self, Stage};
use super::wire::Answers;

/// Runs the case.
pub(super) fn run(plugin: &Plugin, case: &Case) -> Result<Actual, Error> {
    let alerts = case.alerts();
    let wire = Arc::new(Answers::new(&case.script.http));
    let stage = Stage::open(Arc::clone(&wire) as _)?;
    let (plan, bytes, name) = (stage::handler(plugin, case), stage::contents(plugin)?, &plugin.manifest.name);
    let load = || stage.guests.handler(name, &plan, &bytes, &Arc::default());
    let mut handler = load()?;
    let mut actual = Actual::default();
    let dir = plugin.dir.display().to_string();
    for alert in &alerts {
        if case.script.reload_at.0.contains(&alert.seq) {
            handler = load()?;
        }
        let before = wire.sent();
        let outcome = match stage.runtime.block_on(handler.deliver(alert)) {
            // Both are settled for the engine; a handler that sent no request has delivered to nobody.
            Ok(()) if wire.sent() == before => Outcome::Skipped,
            Ok(()) => Outcome::Delivered,
            Err(error) => {
                actual.failed(alert.seq, "delivery", &error.message, &dir);
                if error.retry.gives_up() { Outcome::Failed } else { Outcome::Retry }
            }
        };
        actual.outcome.push(outcome);
    }
    let now_ns = alerts.last().map_or(0, |alert| alert.pts_ns);
    let state = stage.guests.state();
    actual.state = stage::held(&state.space(name, None), now_ns);
    actual.shared_state = stage::held(&state.shared(name, GuestKind::Handler), now_ns);
    (actual.requests, actual.broken) = wire.close();
    Ok(actual)
}
