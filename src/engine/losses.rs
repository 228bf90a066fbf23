//! Raises the alerts about lost sources, on the thread that monitors the engine.

use super::handle::Shared;
use super::lost::{BACK, LOST, LostSources, Seen};
use crate::alert::Gate;
use crate::backend::SourceState;
use crate::config::{AlertPlan, ENGINE_SOURCE, Plan};
use crate::types::{Frame, Raised, SourceId};

/// See the module.
#[derive(Default)]
pub(super) struct Losses {
    sources: LostSources,
    gate: Option<Gate>,
    /// Number of alerts raised.
    raised: u64,
}

impl Losses {
    /// Looks at every live source, and raises the alert that is due.
    pub(super) fn look(&mut self, shared: &Shared, plan: &Plan, now_ns: u64) {
        let after_ns = u64::try_from(plan.health.source_lost.as_nanos()).unwrap_or(u64::MAX);
        let seen = if after_ns == 0 { Vec::new() } else { seen(shared, plan) };
        self.sources.see(&seen, after_ns, now_ns);
        let Some(notice) = self.sources.due(now_ns) else { return };
        let raised = Raised {
            rule: notice.rule.into(),
            level: Some(notice.level),
            key: notice.key.clone(),
            message: notice.message.clone(),
            detections: Vec::new(),
            ..Raised::default()
        };
        let unix_ns = shared.clock.unix_ns();
        let frame = Frame { pts_ns: now_ns, captured_unix_ns: unix_ns, ..Frame::empty(ENGINE_SOURCE, self.raised) };
        let is_told = self.gate(shared, &plan.alerts).tell(&raised, &frame);
        self.raised += 1;
        if is_told {
            tracing::warn!(rule = notice.rule, "{}", notice.message);
            self.sources.sent(&notice, now_ns);
        } else {
            self.sources.held_back(now_ns);
        }
    }

    /// The gate with the policy of these alerts: each is about something new, and there are few of them, so it takes
    /// none for a duplicate and has no burst.
    fn gate(&mut self, shared: &Shared, plan: &AlertPlan) -> &mut Gate {
        let mut plan = AlertPlan {
            throttle: std::time::Duration::ZERO,
            repeat: std::time::Duration::ZERO,
            burst_threshold: 0,
            ..plan.clone()
        };
        // Nor by `alerts.rules`: what is held back is raised again and again, so that it would never be sent.
        for rule in [LOST, BACK] {
            if let Some(changes) = plan.rules.get_mut(rule) {
                (changes.throttle, changes.repeat, changes.burst_threshold) = (None, None, None);
            }
        }
        let gate = self.gate.get_or_insert_with(|| {
            let source = SourceId::from(ENGINE_SOURCE);
            shared.metrics.hide_source(&source);
            Gate::new(&plan, &source, shared.parts.delivery.outbox(), &shared.metrics)
        });
        gate.set_plan(&plan);
        gate
    }
}

/// The live sources as they are now. A source that has stopped was removed, or is about to be.
fn seen(shared: &Shared, plan: &Plan) -> Vec<Seen> {
    let is_live = |id: &SourceId| plan.sources.iter().any(|source| source.id == *id && source.input.is_live());
    let view = shared.view();
    let routes = view.sources.iter().map(|source| &source.route).filter(|route| is_live(&route.id));
    let seen = routes.filter_map(|route| {
        let is_up = match route.board.state() {
            SourceState::Running | SourceState::Waiting => true,
            SourceState::Connecting | SourceState::Stalled | SourceState::Backoff { .. } | SourceState::Failed => false,
            SourceState::Stopped => return None,
        };
        Some(Seen { id: route.id.clone(), is_up, cause: route.board.error() })
    });
    seen.collect()
}
