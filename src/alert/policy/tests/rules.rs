//! Rules with settings of their own.

use super::*;
use crate::config::AlertChanges;

#[test]
fn a_rule_has_its_own_times_minimum_and_level_and_others_the_general_ones() {
    let own = AlertChanges {
        throttle: Some(Duration::from_secs(10)),
        min_confidence: Some(0.8),
        default_level: Some(Level::High),
        ..Default::default()
    };
    let general = AlertPlan { rules: [("r".to_owned(), own)].into(), ..plan() };
    let mut policy = Policy::new(&general);
    let weak = on(&draft("r", "1"), seen(0.7));
    let refused = Decision::Refused(Refusal::Confidence { best: 0.7, min: 0.8 });
    assert_eq!(policy.decide(&weak, &frame("a", 0, 0.0)), refused);
    accepted(policy.decide(&on(&draft("s", "1"), seen(0.7)), &frame("a", 0, 0.0)));
    for (rule, level) in [("r", Level::High), ("s2", Level::Medium)] {
        assert_eq!(accepted(policy.decide(&draft(rule, "1"), &frame("a", 0, 0.0))).level, level);
    }
    // After twenty seconds, the one has ended and the other has not.
    accepted(policy.decide(&draft("r", "1"), &frame("a", 1, 20.0)));
    assert_eq!(policy.decide(&draft("s2", "1"), &frame("a", 1, 20.0)), Decision::Suppressed { count: 1 });
    // A change holds at once, for the conditions that there are.
    policy.set_plan(&AlertPlan { default_level: Level::High, ..plan() });
    assert_eq!(policy.decide(&draft("r", "1"), &frame("a", 2, 40.0)), Decision::Suppressed { count: 1 });
}

#[test]
fn a_rule_has_its_own_burst_limits_and_repeats() {
    let own = |burst_threshold, repeat| AlertChanges {
        burst_threshold,
        repeat: Some(Duration::from_secs(repeat)),
        ..Default::default()
    };
    let rules = [("tight".to_owned(), own(Some(1), 0)), ("reminds".to_owned(), own(None, 30))].into();
    let mut policy = Policy::new(&AlertPlan { burst_threshold: 3, rules, ..plan() });
    let mut sent = |rule: &str| {
        let accepted = (0..5).filter(|key| {
            matches!(policy.decide(&draft(rule, &key.to_string()), &frame("a", 0, 0.0)), Decision::Accept(_))
        });
        accepted.count()
    };
    assert_eq!([sent("tight"), sent("other"), sent("reminds")], [1, 3, 3]);
    let told = (1..100).filter(|second| {
        let frame = frame("a", *second, *second as f64);
        policy.due(&frame);
        let decision = policy.decide(&draft("reminds", "0"), &frame);
        matches!(decision, Decision::Accept(_))
    });
    assert_eq!(told.collect::<Vec<_>>(), [30, 60, 90]);
}
