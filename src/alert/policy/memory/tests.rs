//! What a later process knows of the alerts of an earlier one, on injected time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::tests::{draft, frame, plan};
use super::super::*;
use super::{At, SavedChanges, prefix};
use crate::config::AlertPlan;
use crate::types::{BBox, Detection, Frame};

const SECOND: u64 = 1_000_000_000;
const GATE: &str = "gate";
/// The wall-clock time at which the tests begin.
const EPOCH_S: u64 = 1_700_000_000;

/// What is saved, as the journal keeps it.
#[derive(Debug, Default, Clone)]
struct Disk(BTreeMap<Arc<str>, Arc<str>>);

impl Disk {
    fn write(&mut self, changes: SavedChanges) {
        for (name, contents) in changes {
            match contents {
                Some(contents) => drop(self.0.insert(name, contents)),
                None => drop(self.0.remove(&name)),
            }
        }
    }
}

/// One run of the process: its frame time begins anew, the wall clock goes on.
struct Process {
    policy: Policy,
    /// The wall-clock time of frame time 0, in seconds.
    start_s: f64,
    seq: u64,
    disk: Disk,
}

impl Process {
    fn start(disk: &Disk, wall_s: f64, plan: &AlertPlan) -> Self {
        let mut policy = Policy::new(plan);
        policy.remember();
        let mut process = Self { policy, start_s: wall_s, seq: 0, disk: disk.clone() };
        let ended = process.policy.restore(&GATE.into(), disk.0.clone(), process.at(wall_s));
        ended.iter().for_each(|name| drop(process.disk.0.remove(name)));
        process
    }

    fn at(&self, wall_s: f64) -> At {
        let frame = self.frame(wall_s, Vec::new());
        At { pts_ns: frame.pts_ns, unix_ns: frame.captured_unix_ns }
    }

    fn frame(&self, wall_s: f64, detections: Vec<Detection>) -> Frame {
        Frame {
            captured_unix_ns: (EPOCH_S * SECOND).saturating_add_signed((wall_s * 1e9) as i64),
            detections,
            ..frame(GATE, self.seq, wall_s - self.start_s)
        }
    }

    /// Raises a draft at a wall-clock time, and saves what is due.
    fn raise(&mut self, wall_s: f64, raised: &Raised) -> Decision {
        self.seq += 1;
        let frame = self.frame(wall_s, raised.detections.clone());
        let decision = self.policy.decide(raised, &frame);
        let changes = self.policy.take_changes(&GATE.into(), self.at(wall_s), false);
        self.disk.write(changes);
        decision
    }

    fn is_sent(&mut self, wall_s: f64, raised: &Raised) -> bool {
        matches!(self.raise(wall_s, raised), Decision::Accept(_))
    }

    /// Whether one of the same draft, raised ten times a second, is sent.
    fn stays(&mut self, from_s: f64, to_s: f64, raised: &Raised) -> usize {
        let count = ((to_s - from_s) * 10.0) as u64;
        (0..count).filter(|tenth| self.is_sent(from_s + *tenth as f64 / 10.0, raised)).count()
    }

    fn kill(self) -> Disk {
        self.disk
    }

    fn stop(mut self, wall_s: f64) -> Disk {
        let changes = self.policy.take_changes(&GATE.into(), self.at(wall_s), true);
        self.disk.write(changes);
        self.disk
    }
}

#[test]
fn who_stays_over_a_restart_or_a_kill_is_not_told_again_within_the_window_and_then_is() {
    let raised = draft("intrusion", "door");
    for kill in [true, false] {
        for (away_s, sent) in [(1.0, 0), (30.0, 0), (59.0, 0), (68.0, 1)] {
            let mut first = Process::start(&Disk::default(), 0.0, &plan());
            assert_eq!(first.stays(0.0, 100.0, &raised), 1);
            let disk = if kill { first.kill() } else { first.stop(100.0) };
            let mut second = Process::start(&disk, 100.0 + away_s, &plan());
            let told = second.stays(100.0 + away_s, 110.0 + away_s, &raised);
            assert_eq!(told, sent, "away for {away_s} s, killed: {kill}");
        }
    }
}

#[test]
fn a_condition_that_is_raised_between_two_kills_lasts_from_that_raise() {
    let raised = draft("r", "k");
    let mut first = Process::start(&Disk::default(), 0.0, &plan());
    assert!(first.is_sent(0.0, &raised));
    // The second process takes it for raised at 5 s, and raises it again so soon after that it would not be saved.
    let mut second = Process::start(&first.kill(), 5.0, &plan());
    assert!(!second.is_sent(11.0, &raised));
    let mut third = Process::start(&second.kill(), 65.0, &plan());
    assert!(!third.is_sent(70.0, &raised), "59 s after the last raise");
}

#[test]
fn the_next_alert_says_how_many_were_held_back_before_the_restart() {
    let raised = draft("r", "k");
    let mut first = Process::start(&Disk::default(), 0.0, &plan());
    first.stays(0.0, 10.0, &raised);
    let mut second = Process::start(&first.stop(10.0), 20.0, &plan());
    assert!(matches!(second.raise(20.0, &raised), Decision::Suppressed { count: 100 }));
    let Decision::Accept(alert) = second.raise(81.0, &raised) else { panic!("it has ended") };
    assert_eq!(alert.suppressed, 100);
}

#[test]
fn a_new_level_breaks_through_after_a_restart_and_one_that_was_told_does_not() {
    let at = |level| Raised { level: Some(level), ..draft("r", "k") };
    let mut first = Process::start(&Disk::default(), 0.0, &plan());
    assert!(first.is_sent(0.0, &at(Level::Low)) && first.is_sent(1.0, &at(Level::Medium)));
    let mut second = Process::start(&first.kill(), 5.0, &plan());
    assert!(!second.is_sent(5.0, &at(Level::Low)) && !second.is_sent(6.0, &at(Level::Medium)));
    assert!(second.is_sent(7.0, &at(Level::High)));
}

#[test]
fn a_clock_that_was_set_silences_nothing_for_longer_than_the_window() {
    let raised = draft("r", "k");
    for set_s in [-3_600.0, -86_400.0 * 365.0, 3_600.0] {
        let mut first = Process::start(&Disk::default(), 0.0, &plan());
        first.stays(0.0, 10.0, &raised);
        let now_s = 10.0 + set_s;
        let mut second = Process::start(&first.stop(10.0), now_s, &plan());
        // Nothing is raised until the window has ended.
        assert!(second.is_sent(now_s + 61.0, &raised), "set by {set_s} s");
    }
    // Nor is it prolonged by restarts until the clock has caught up.
    let mut first = Process::start(&Disk::default(), 10_000.0, &plan());
    first.is_sent(10_000.0, &raised);
    let mut disk = first.kill();
    for restart in 0..3 {
        let mut next = Process::start(&disk, f64::from(restart) * 30.0, &plan());
        next.is_sent(f64::from(restart) * 30.0, &draft("other", "k"));
        disk = next.kill();
    }
    assert!(Process::start(&disk, 90.0, &plan()).is_sent(90.0, &raised), "the window ended at 60 s");
}

#[test]
fn an_object_keeps_its_key_by_its_place_and_a_new_one_with_the_same_number_is_told() {
    let person = |track: u64, x: f32| {
        let bbox = BBox { x, y: 0.1, width: 0.2, height: 0.4 };
        let seen = Detection { track_id: Some(track), ..Detection::new("person", 0, 0.9, bbox) };
        Raised { detections: vec![seen], ..draft("intrusion", "") }
    };
    let mut first = Process::start(&Disk::default(), 0.0, &plan());
    assert!(first.is_sent(0.0, &person(7, 0.1)));
    first.stays(0.1, 5.0, &person(7, 0.1));
    let mut second = Process::start(&first.kill(), 8.0, &plan());
    assert!(!second.is_sent(8.0, &person(1, 0.11)), "the tracker has begun anew");
    assert!(second.is_sent(8.1, &person(7, 0.7)), "another person");
    assert!(!second.is_sent(8.2, &person(7, 0.7)));
    // A rule that names tracks itself: their numbers mean nothing in another process.
    let named = |track: u64| Raised { key: track.to_string(), ..person(track, 0.1) };
    let mut first = Process::start(&Disk::default(), 0.0, &plan());
    assert!(first.is_sent(0.0, &named(1)) && !first.is_sent(1.0, &named(1)));
    assert!(Process::start(&first.stop(1.0), 2.0, &plan()).is_sent(2.0, &named(1)));
}

#[test]
fn an_alert_that_was_still_held_back_is_raised_again() {
    let burst = AlertPlan { burst_threshold: 1, ..plan() };
    let mut first = Process::start(&Disk::default(), 0.0, &burst);
    assert!(first.is_sent(0.0, &draft("r", "a")));
    assert_eq!(first.raise(0.1, &draft("r", "b")), Decision::Digested);
    // The digest is lost with the process.
    let mut second = Process::start(&first.kill(), 1.0, &burst);
    assert!(!second.is_sent(1.0, &draft("r", "a")));
    assert!(second.is_sent(1.1, &draft("r", "b")));
}

#[test]
fn what_has_ended_or_is_damaged_is_removed_and_the_window_is_that_of_the_rule_now() {
    let raised = draft("r", "k");
    let mut first = Process::start(&Disk::default(), 0.0, &plan());
    assert!(first.is_sent(0.0, &raised) && first.is_sent(0.0, &draft("other", "k")));
    let mut disk = first.kill();
    let name: Arc<str> = format!("{}1.rdamaged", prefix(&GATE.into())).into();
    disk.0.insert(name.clone(), "{\"raised_ms\":".into());
    assert_eq!(disk.0.len(), 3);
    let short = crate::config::AlertChanges { throttle: Some(Duration::from_secs(10)), ..Default::default() };
    let plan = AlertPlan { rules: [("r".to_owned(), short)].into(), ..plan() };
    let mut second = Process::start(&disk, 30.0, &plan);
    assert_eq!(second.disk.0.len(), 1, "{:?}", second.disk.0.keys());
    assert!(second.is_sent(30.0, &raised) && !second.is_sent(30.0, &draft("other", "k")));
}

#[test]
fn without_a_restart_saving_changes_no_decision() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = AlertPlan { throttle: Duration::from_secs(rng.u64(0..20)), ..plan() };
        let mut saved = Process::start(&Disk::default(), 0.0, &plan);
        let mut plain = Policy::new(&plan);
        let mut wall_s = 0.0;
        for _ in 0..200 {
            wall_s += rng.f64() * 2.0;
            let raised = draft(["r", "s"][rng.usize(..2)], &rng.u8(..6).to_string());
            let frame = Frame { seq: saved.seq + 1, ..saved.frame(wall_s, Vec::new()) };
            let expected = plain.decide(&raised, &frame);
            assert_eq!(saved.raise(wall_s, &raised), expected, "seed {seed}");
        }
    }
}

#[test]
fn a_condition_that_its_rule_has_ended_is_told_anew_after_a_kill() {
    let raised = draft("r", "k");
    for key in [Some("k"), None] {
        let mut first = Process::start(&Disk::default(), 0.0, &plan());
        assert!(first.is_sent(0.0, &raised));
        first.policy.end(&GATE.into(), "r", key);
        // Saves what is due.
        first.raise(1.0, &draft("other", "k"));
        let mut second = Process::start(&first.kill(), 2.0, &plan());
        assert!(second.is_sent(3.0, &raised), "{key:?}");
    }
}
