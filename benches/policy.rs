//! The alert policy alone: decisions per second on one core, with the limits that are the default, for drafts with and
//! without a key, and with a policy of its own for each of a hundred rules. A hundred objects stay for ten thousand frames, so most decisions are on duplicates, as in practice.
//! "Theirs" is the least that the design sets, and the ratio ours / least.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use dsengine::alert::{Decision, Policy};
use dsengine::config::{AlertChanges, AlertPlan};
use dsengine::types::{BBox, Detection, Frame, Level, Raised};
use report::Goal;

const OBJECTS: u64 = 100;
const FRAMES: u64 = 10_000;
const RUNS: usize = 5;
const LEAST: f64 = 1e6;
const OWN_RULES: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    for (name, has_key, rules) in
        [("policy", true, 0), ("policy_by_object", false, 0), ("policy_of_rules", true, OWN_RULES)]
    {
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            rates.push(run(has_key, rules)?);
        }
        let ours = report::median(&mut rates);
        let (unit, goal) = ("decisions per second", Some(Goal::AtLeast(LEAST)));
        report::Figure { name, ours, unit, runs: RUNS, beside: None, goal }.write()?;
    }
    Ok(())
}

/// Decisions per second of CPU time, where so many rules have a policy of their own.
fn run(has_key: bool, own_rules: usize) -> Result<f64, Box<dyn Error>> {
    let own = AlertChanges { throttle: Some(Duration::from_secs(90)), ..AlertChanges::default() };
    let names = ["intrusion".to_owned()].into_iter().chain((1..own_rules).map(|number| format!("rule {number}")));
    let rules: BTreeMap<String, AlertChanges> = names.take(own_rules).map(|name| (name, own.clone())).collect();
    let plan = AlertPlan {
        enabled: true,
        throttle: Duration::from_secs(60),
        repeat: Duration::ZERO,
        burst_threshold: 3,
        burst_window: Duration::from_secs(10),
        max_per_minute: 10,
        max_critical_per_minute: 60,
        min_confidence: 0.5,
        default_level: Level::Medium,
        attempts: 3,
        retry_delay: Duration::from_secs(1),
        max_retry_delay: Duration::from_secs(60),
        max_age: Duration::from_secs(86_400),
        when_full: Default::default(),
        outbox_max: 10_000,
        quiet_hours: Vec::new(),
        rules,
        source_max_per_minute: None,
    };
    let mut policy = Policy::new(&plan);
    let drafts: Vec<Raised> = (0..OBJECTS).map(|track| draft(track, has_key)).collect();
    let detections: Vec<Detection> = drafts.iter().flat_map(|draft| draft.detections.clone()).collect();
    let mut frame = Frame { detections, ..Frame::empty("gate", 0) };
    let (mut told, started_us) = (0, report::thread_cpu_us());
    for seq in 0..FRAMES {
        (frame.seq, frame.pts_ns) = (seq, seq * 33_333_333);
        told += policy.due(&frame).len();
        for draft in &drafts {
            told += usize::from(matches!(policy.decide(draft, &frame), Decision::Accept(_)));
        }
    }
    let took_us = report::thread_cpu_us() - started_us;
    if told != 4 {
        return Err(format!("that was no honest run: {told} alerts, not three and a digest").into());
    }
    Ok((FRAMES * OBJECTS) as f64 * 1e6 / took_us)
}

fn draft(track: u64, has_key: bool) -> Raised {
    let (x, y) = ((track % 10) as f32 * 0.1, (track / 10) as f32 * 0.1);
    let bbox = BBox { x, y, width: 0.05, height: 0.08 };
    let detection = Detection { track_id: Some(track), ..Detection::new("person", 0, 0.9, bbox) };
    Raised {
        rule: "intrusion".into(),
        level: None,
        key: if has_key { track.to_string() } else { String::new() },
        message: "person in the yard".into(),
        detections: vec![detection],
        tags: Vec::new(),
        picture: None,
        expires_seconds: None,
    }
}
