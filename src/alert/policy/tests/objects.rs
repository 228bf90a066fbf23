//! Alerts without a key: the object is the key.

use super::*;

#[test]
fn without_a_key_the_object_is_the_key_and_keeps_it_where_its_track_changes() {
    let mut policy = Policy::new(&plan());
    let key = |policy: &mut Policy, second: f64, track, x| {
        let raised = on(&draft("parked", ""), vec![tracked(track, x)]);
        let frame = Frame { detections: vec![tracked(track, x)], ..frame("a", second as u64, second) };
        match policy.decide(&raised, &frame) {
            Decision::Accept(alert) => Some(alert.key.clone()),
            _ => None,
        }
    };
    assert_eq!(key(&mut policy, 0.0, 7, 0.1).as_deref(), Some("7"));
    assert_eq!(key(&mut policy, 1.0, 7, 0.1), None);
    assert_eq!(key(&mut policy, 2.0, 9, 0.12), None, "another track at its place is the same object");
    // It moves on under its new track.
    for (second, x) in [(3.0, 0.3), (4.0, 0.5), (5.0, 0.7)] {
        assert_eq!(key(&mut policy, second, 9, x), None);
    }
    assert_eq!(key(&mut policy, 6.0, 11, 0.1).as_deref(), Some("11"), "elsewhere it is another one");
    assert_eq!(key(&mut policy, 7.0, 12, 0.7), None);
    assert_eq!(key(&mut policy, 70.0, 13, 0.7).as_deref(), Some("13"), "the condition has ended");
    let named = on(&draft("parked", "mine"), vec![tracked(13, 0.7)]);
    assert_eq!(accepted(policy.decide(&named, &frame("a", 71, 71.0))).key, "mine");
    let untracked = Detection { track_id: None, ..tracked(0, 0.4) };
    assert_eq!(accepted(policy.decide(&on(&draft("other", ""), vec![untracked]), &frame("a", 72, 72.0))).key, "");
}

#[test]
fn two_objects_at_one_place_are_two_while_both_are_seen() {
    let mut policy = Policy::new(&plan());
    let both = || vec![tracked(1, 0.1), tracked(2, 0.12)];
    for track in [1, 2] {
        let raised = on(&draft("r", ""), vec![tracked(track, 0.1 + 0.01 * track as f32)]);
        let frame = Frame { detections: both(), ..frame("a", 0, 0.0) };
        assert_eq!(accepted(policy.decide(&raised, &frame)).key, track.to_string());
    }
}
