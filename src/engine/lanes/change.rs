//! How lanes change between two frames: all of them, or none.
//!
//! A change is prepared whole by whoever asks, and handed to every lane it concerns. What can fail on a lane (a new
//! version that refuses to take over) comes first, so that a lane changes whole or not at all; it keeps what it had
//! until the asker has heard from every lane and says whether the change stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::control::{Control, LANE_WAIT, Patience};
use super::probation::Probation;
use super::route::Route;
use super::rule::Rule;
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
    /// Whether and how objects are followed; their ids begin anew.
    pub(in crate::engine) tracking: Option<TrackingPlan>,
    /// The alert policy; what was sent stays known.
    pub(in crate::engine) policy: Option<AlertPlan>,
    /// Which rules judge, in order.
    pub(in crate::engine) rules: Option<Arrangement>,
    /// Shadows by the rule they stand beside; `None` takes one away.
    pub(in crate::engine) shadows: Vec<(Arc<str>, Option<Shadow>)>,
}

impl LaneChange {
    /// Whether nothing changes.
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
    /// Which rule.
    pub(in crate::engine) rule: Arc<str>,
    /// Its new version.
    pub(in crate::engine) strategy: Box<dyn Strategy>,
    /// The new version's number.
    pub(in crate::engine) generation: u64,
    /// Whether it stays.
    pub(in crate::engine) probation: Arc<Probation>,
}

/// Why a lane does not change.
pub(in crate::engine) struct Refusal {
    /// The rule whose new version it is.
    pub(super) rule: Arc<str>,
    /// What it said when it was to take over.
    pub(super) fault: Fault,
}

/// Every rule of a lane, in order.
#[derive(Default)]
pub(in crate::engine) struct Arrangement {
    /// Those that detect from pixels; they come before the tracker.
    pub(in crate::engine) detectors: Vec<Place>,
    /// The others.
    pub(in crate::engine) rules: Vec<Place>,
}

/// One place among a lane's rules.
pub(in crate::engine) enum Place {
    /// A rule that is there.
    Keep {
        /// Its name.
        name: Arc<str>,
        /// Whether it may take detections away.
        filters: bool,
    },
    /// A rule that comes, in the place of one of its name if there is one.
    New(Box<Rule>),
}

/// Decides between a lane that begins with a change and an asker that gives up.
#[derive(Default)]
pub(in crate::engine) struct Claim(AtomicU8);

impl Claim {
    const TAKEN: u8 = 1;
    const CANCELLED: u8 = 2;

    /// The lane begins; `false` where the asker has given up.
    pub(super) fn take(&self) -> bool {
        self.0.compare_exchange(0, Self::TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The asker gives up; `false` where the lane has begun.
    fn cancel(&self) -> bool {
        self.0.compare_exchange(0, Self::CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Lanes that have changed and keep what they had. Dropped without [`Changed::keep`], they go back.
pub(in crate::engine) struct Changed {
    routes: Vec<Arc<Route>>,
    /// Lanes that had ended before they could change.
    pub(in crate::engine) ended: Vec<Arc<Route>>,
    /// Of the versions that were swapped in.
    probations: Vec<Arc<Probation>>,
    kept: bool,
}

impl Changed {
    /// How many lanes changed.
    pub(in crate::engine) fn lanes(&self) -> usize {
        self.routes.len()
    }

    /// The change stays.
    pub(in crate::engine) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if !self.kept {
            // Before any lane goes back, which each does as a whole.
            self.probations.iter().for_each(|probation| probation.withdraw());
        }
        for route in &self.routes {
            route.inbox.control(Control::Finish { keep: self.kept });
        }
    }
}

/// Hands each lane its change and waits until every one has carried it out.
///
/// # Errors
/// When a lane refuses, or is busy for longer than [`LANE_WAIT`]; every lane is as it was then.
pub(in crate::engine) fn change_lanes(changes: Vec<(Arc<Route>, LaneChange)>) -> Result<Changed, Error> {
    let swaps = changes.iter().flat_map(|(_, change)| &change.swaps);
    let probations = swaps.map(|swap| Arc::clone(&swap.probation)).collect();
    let mut changed = Changed { routes: Vec::new(), ended: Vec::new(), probations, kept: false };
    let waits: Vec<_> = changes.into_iter().map(|(route, change)| ask(route, change)).collect();
    let mut patience = Patience::start();
    let mut first_error = None;
    for (route, claim, wait) in waits {
        match outcome(&claim, &wait, &mut patience) {
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

/// Why a lane that is busy for too long is not changed.
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

fn outcome(claim: &Claim, wait: &Receiver<Result<(), Refusal>>, patience: &mut Patience) -> Outcome {
    let answer = match patience.recv(wait) {
        Err(RecvTimeoutError::Timeout) if claim.cancel() => return Outcome::Busy,
        // The lane has begun: what it still does is bounded by the limits of the versions it swaps.
        Err(RecvTimeoutError::Timeout) => wait.recv().map_err(|_| RecvTimeoutError::Disconnected),
        answer => answer,
    };
    match answer {
        Ok(Ok(())) => Outcome::Changed,
        Ok(Err(refusal)) => Outcome::Refused(refusal),
        Err(_) => Outcome::Ended,
    }
}
