//! The trial of a handler before it delivers: it delivers made-up alerts, and nothing leaves the process.
//!
//! A fault of the contract (a missing field or function, a value of the wrong type) rejects the version, since it would
//! occur with real alerts, too. Any other fault, and any after an answer that nobody gave, is only reported.

use std::sync::Arc;

use super::trial::{MISSING, TRIALS_MAX_NS};
use crate::error::{Code, Error};
use crate::guest::http::{self, Failure, Request, Response, Wire};
use crate::guest::{Doubt, FAULTS_MAX, Fault, FaultKind, Grants, Trial};
use crate::types::{Alert, AlertId, BBox, Clock, Detection, Digest, HeldBy, Level, rfc3339};

/// How the VM reports a value of the wrong type.
const WRONG: [&str; 3] = ["attempt to ", "invalid argument #", "missing argument #"];

/// Answers every request that may be sent with success and an empty JSON object, and sends none.
pub(super) struct Dry(Arc<Trial>);

impl Dry {
    pub(super) fn new(trial: &Arc<Trial>) -> Self {
        Self(Arc::clone(trial))
    }
}

impl Wire for Dry {
    fn send(&self, request: Request, grants: &Grants, _: usize) -> Result<Response, Failure> {
        self.0.answers();
        http::admit(&request, grants)?;
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(Response { status: 200, headers, body: b"{}".to_vec() })
    }
}

/// Has the instance that `make` creates deliver made-up alerts. Returns what fails there and may work otherwise.
///
/// # Errors
/// [`Code::Plugin`] with the location in the guest if it breaks the contract, or if it cannot be created.
pub(super) fn try_out<D: Fn(&Alert) -> Result<(), Fault>>(
    make: impl FnOnce(&Arc<Trial>) -> Result<D, Error>,
    clock: &dyn Clock,
) -> Result<Vec<Doubt>, Error> {
    let trial = Arc::<Trial>::default();
    let deliver = make(&trial)?;
    let until_ns = clock.monotonic_ns() + TRIALS_MAX_NS;
    let (alerts, mut faults) = (alerts(clock.unix_ns()), Vec::new());
    for alert in &alerts {
        trial.broke();
        trial.answered();
        let Err(fault) = deliver(alert) else {
            if clock.monotonic_ns() >= until_ns {
                break;
            }
            continue;
        };
        let is_answered = trial.answered();
        let says = |words: &[&str]| words.iter().any(|what| fault.message.contains(what));
        let is_of_contract = trial.broke() || fault.kind == FaultKind::Verdict || says(&MISSING);
        if is_of_contract || !is_answered && says(&WRONG) {
            return Err(refused(&fault));
        }
        let is_limit = fault.kind.is_limit();
        // As for rules: a trial cuts the time limit.
        if !(fault.kind == FaultKind::Time && trial.is_cut()) {
            faults.push((fault, is_answered));
        }
        if is_limit || clock.monotonic_ns() >= until_ns || faults.len() >= FAULTS_MAX {
            break;
        }
    }
    // A component that breaks with whatever it is given.
    let breaks = |(fault, is_answered): &(Fault, bool)| fault.kind == FaultKind::Trap && !is_answered;
    let always = faults.len() >= alerts.len().min(FAULTS_MAX) && faults.iter().all(breaks);
    match faults.into_iter().next() {
        Some((fault, _)) if always => Err(refused(&fault)),
        first => {
            let told = first.map(|(fault, _)| format!("fails on a made-up alert: {fault}"));
            Ok(told.map(|what| Doubt { what, certain: false }).into_iter().collect())
        }
    }
}

fn refused(fault: &Fault) -> Error {
    Error::new(Code::Plugin, fault.to_string())
        .hint("every handler is tried on made-up alerts before it delivers; this would fail on real ones, too")
}

/// One alert of each level, and one that stands for others.
fn alerts(unix_ns: u64) -> Vec<Alert> {
    let bbox = BBox { x: 0.4, y: 0.4, width: 0.1, height: 0.3 };
    let person = Detection { track_id: Some(1), ..Detection::new("person", 0, 0.9, bbox) };
    let time = rfc3339(unix_ns / 1_000_000);
    let alert = |seq: u8, level: Level| Alert {
        expires_seconds: None,
        id: AlertId::new(unix_ns, [seq; 10]),
        level,
        rule: "made-up".into(),
        source: "made-up".into(),
        key: "1".into(),
        time: time.clone(),
        pts_ns: u64::from(seq) * 1_000_000_000,
        seq: u64::from(seq),
        message: "a made-up alert".into(),
        detections: vec![person.clone()],
        suppressed: 0,
        digest: None,
        tags: Vec::new(),
        picture: false,
        evidence: None,
    };
    let mut alerts: Vec<Alert> = (1..).zip(Level::ALL).map(|(seq, level)| alert(seq, level)).collect();
    let (ids, keys) = (vec![AlertId::new(unix_ns, [0; 10])], vec!["1".to_owned()]);
    let digest = Digest { reason: HeldBy::Burst, count: 2, first: time.clone(), last: time.clone(), ids, keys };
    alerts.push(Alert { digest: Some(digest), ..alert(5, Level::High) });
    alerts
}
