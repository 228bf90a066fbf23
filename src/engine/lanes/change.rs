//! Changes lanes between two frames: all of them, or none.
//!
//! The caller prepares a change completely and sends it to every affected lane. Steps that can fail on a lane (a new
//! version that refuses to take over) come first, so that a lane applies a change completely or not at all. Each lane
//! keeps what was replaced until the caller has the answer of every lane and confirms or reverts the change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::control::{Control, LANE_WAIT, SharedTimeout};
use super::probation::Probation;
use super::route::Route;
use super::rule::{Rule, RuleSettings};
use super::shadow::Shadow;
use crate::config::{AlertPlan, TrackingPlan};
use crate::error::{Code, Error};
use crate::guest::Fault;
use crate::strategy::Strategy;
use crate::types::{SourceId, Zone};

/// What changes on one lane. The default changes nothing.
#[derive(Default)]
pub(in crate::engine) struct LaneChange {
    /// New versions of rules.
    pub(in crate::engine) swaps: Vec<Swap>,
    /// The source's zones.
    pub(in crate::engine) zones: Option<Arc<[Zone]>>,
    /// The tracking configuration; track ids start over.
    pub(in crate::engine) tracking: Option<TrackingPlan>,
    /// The alert policy; the record of sent alerts is kept.
    pub(in crate::engine) policy: Option<AlertPlan>,
    /// The rules that judge, in order.
    pub(in crate::engine) rules: Option<Arrangement>,
    /// Shadows by the rule that they run alongside; `None` removes one.
    pub(in crate::engine) shadows: Vec<(Arc<str>, Option<Shadow>)>,
}

impl LaneChange {
    pub(in crate::engine) fn is_empty(&self) -> bool {
        let Self { swaps, zones, tracking, policy, rules, shadows } = self;
        swaps.is_empty()
            && zones.is_none()
            && tracking.is_none()
            && policy.is_none()
            && rules.is_none()
            && shadows.is_empty()
    }
}

/// A new version of a rule.
pub(in crate::engine) struct Swap {
    /// The rule's name.
    pub(in crate::engine) rule: Arc<str>,
    /// The new version.
    pub(in crate::engine) strategy: Box<dyn Strategy>,
    /// The new version's generation.
    pub(in crate::engine) generation: u64,
    /// The new version's probation.
    pub(in crate::engine) probation: Arc<Probation>,
}

/// A lane's refusal to change.
pub(in crate::engine) struct Refusal {
    /// The rule whose new version refused.
    pub(super) rule: Arc<str>,
    /// The fault that the new version raised when it took over.
    pub(super) fault: Fault,
}

/// Every rule of a lane, in order.
#[derive(Default)]
pub(in crate::engine) struct Arrangement {
    /// Rules that detect from pixels; they run before the tracker.
    pub(in crate::engine) detectors: Vec<RuleSlot>,
    /// The other rules.
    pub(in crate::engine) rules: Vec<RuleSlot>,
}

/// One position in a lane's list of rules.
pub(in crate::engine) enum RuleSlot {
    /// An existing rule.
    Keep {
        /// The rule's name.
        name: Arc<str>,
        /// Its new settings.
        settings: RuleSettings,
    },
    /// A new rule, which replaces an existing one of the same name.
    New(Box<Rule>),
}

/// Arbitrates between a lane that starts a change and a caller that gives up on it.
#[derive(Default)]
pub(in crate::engine) struct Claim(AtomicU8);

impl Claim {
    const TAKEN: u8 = 1;
    const CANCELLED: u8 = 2;

    /// The lane starts; `false` if the caller has given up.
    pub(super) fn take(&self) -> bool {
        self.0.compare_exchange(0, Self::TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The caller gives up; `false` if the lane has started.
    fn cancel(&self) -> bool {
        self.0.compare_exchange(0, Self::CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Lanes that have changed and can still revert. Dropping this without [`Changed::keep`] reverts them.
pub(in crate::engine) struct Changed {
    routes: Vec<Arc<Route>>,
    /// Lanes that had ended before they could change.
    pub(in crate::engine) ended: Vec<Arc<Route>>,
    /// The probations of the new versions.
    probations: Vec<Arc<Probation>>,
    kept: bool,
}

impl Changed {
    /// How many lanes changed.
    pub(in crate::engine) fn lanes(&self) -> usize {
        self.routes.len()
    }

    /// Confirms the change.
    pub(in crate::engine) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if !self.kept {
            // Withdrawn before any lane reverts, since each lane reverts as a whole.
            self.probations.iter().for_each(|probation| probation.withdraw());
        }
        for route in &self.routes {
            route.inbox.control(Control::Finish { keep: self.kept });
        }
    }
}

/// Sends each lane its change and waits until every lane has applied it.
///
/// # Errors
/// When a lane refuses, or is busy for longer than [`LANE_WAIT`]; every lane is reverted then.
pub(in crate::engine) fn change_lanes(changes: Vec<(Arc<Route>, LaneChange)>) -> Result<Changed, Error> {
    let swaps = changes.iter().flat_map(|(_, change)| &change.swaps);
    let probations = swaps.map(|swap| Arc::clone(&swap.probation)).collect();
    let mut changed = Changed { routes: Vec::new(), ended: Vec::new(), probations, kept: false };
    let waits: Vec<_> = changes.into_iter().map(|(route, change)| ask(route, change)).collect();
    let mut timeout = SharedTimeout::start();
    let mut first_error = None;
    for (route, claim, wait) in waits {
        match outcome(&claim, &wait, &mut timeout) {
            Outcome::Changed => changed.routes.push(route),
            Outcome::Ended => changed.ended.push(route),
            Outcome::Refused(Refusal { rule, fault }) => {
                let what = format!("{rule} cannot take over on {}: {fault}", route.id);
                let error = Error::new(Code::Plugin, what).about(format!("detection.strategies[{rule}]"));
                first_error = first_error.or(Some(error));
            }
            Outcome::Busy => first_error = first_error.or(Some(busy(&route.id))),
        }
    }
    first_error.map_or(Ok(changed), Err)
}

/// The error for a lane that is busy for too long.
pub(in crate::engine) fn busy(source: &SourceId) -> Error {
    let seconds = LANE_WAIT.as_secs();
    Error::new(Code::Plugin, format!("a frame of {source} has been judged for {seconds} s"))
        .hint("nothing was changed; a strategy there takes too long: see its limits")
        .about(format!("sources[{source}]"))
}

fn ask(route: Arc<Route>, change: LaneChange) -> (Arc<Route>, Arc<Claim>, Receiver<Result<(), Refusal>>) {
    let (done, wait) = bounded(1);
    let claim = Arc::new(Claim::default());
    route.inbox.control(Control::Change { change: Box::new(change), claim: Arc::clone(&claim), done });
    (route, claim, wait)
}

enum Outcome {
    Changed,
    /// The lane had ended.
    Ended,
    Refused(Refusal),
    Busy,
}

fn outcome(claim: &Claim, wait: &Receiver<Result<(), Refusal>>, timeout: &mut SharedTimeout) -> Outcome {
    let answer = match timeout.recv(wait) {
        Err(RecvTimeoutError::Timeout) if claim.cancel() => return Outcome::Busy,
        // The lane has started: the limits of the versions being swapped bound the remaining time.
        Err(RecvTimeoutError::Timeout) => wait.recv().map_err(|_| RecvTimeoutError::Disconnected),
        answer => answer,
    };
    match answer {
        Ok(Ok(())) => Outcome::Changed,
        Ok(Err(refusal)) => Outcome::Refused(refusal),
        Err(_) => Outcome::Ended,
    }
}
