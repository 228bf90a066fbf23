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

/// Plays a rule that raises whoever is seen, ten times a second. Returns when there were alerts, in tenths of a second.
fn told(seen_at: impl Fn(u64) -> Option<Detection>) -> Vec<u64> {
    let mut policy = Policy::new(&plan());
    let mut told = Vec::new();
    for tenth in 0..600 {
        let detections = seen_at(tenth).into_iter().collect::<Vec<_>>();
        let frame = Frame { detections: detections.clone(), ..frame("a", tenth, tenth as f64 / 10.0) };
        assert!(policy.due(&frame).is_empty());
        if !detections.is_empty() && is_sent(&mut policy, &on(&draft("intrusion", ""), detections), &frame) {
            told.push(tenth);
        }
    }
    told
}

fn is_sent(policy: &mut Policy, raised: &Raised, frame: &Frame) -> bool {
    matches!(policy.decide(raised, frame), Decision::Accept(_))
}

#[test]
fn somebody_who_comes_where_another_walked_out_is_somebody_new() {
    // Each walks for a second, and begins where the one before was seen last.
    let walks = |from: u64, track: u64, x: f32, step: f32| {
        move |tenth: u64| {
            let steps = tenth.checked_sub(from).filter(|steps| *steps < 10)?;
            Some(tracked(track, x + step * steps as f32))
        }
    };
    let people = [walks(0, 1, 0.3, 0.05), walks(30, 2, 0.73, -0.05), walks(200, 3, 0.32, 0.05)];
    let found_again = |tenth: u64| (45..50).contains(&tenth).then(|| tracked(4, 0.3));
    let seen_at = |tenth| people.iter().find_map(|walk| walk(tenth)).or_else(|| found_again(tenth));
    assert_eq!(told(seen_at), [0, 30, 200], "4 is 2, half a second later");
}

#[test]
fn an_object_is_expected_at_its_place_for_as_long_as_it_had_stood_there() {
    // It walks in, stands for ten seconds, and is found again by another track, a little beside.
    let walks_in = |tenth: u64| (tenth < 10).then(|| tracked(1, 0.05 * tenth as f32));
    let stands = |tenth: u64| (10..110).contains(&tenth).then(|| tracked(1, 0.48));
    for (gap, alerts) in [(20, 1), (90, 1), (120, 2)] {
        let again = |tenth: u64| (110 + gap..200 + gap).contains(&tenth).then(|| tracked(2, 0.5));
        let told = told(|tenth| walks_in(tenth).or_else(|| stands(tenth)).or_else(|| again(tenth)));
        assert_eq!(told.len(), alerts, "{gap} tenths: {told:?}");
    }
}

#[test]
fn what_is_seen_seldom_and_has_not_moved_is_told_once() {
    // A parked car that the detector finds on one frame in twenty seconds, with a new track each time.
    let car = |tenth: u64| tenth.is_multiple_of(200).then(|| tracked(tenth, 0.3 + 0.00001 * tenth as f32));
    assert_eq!(told(car), [0]);
}

#[test]
fn where_frames_are_seldom_an_object_that_moves_a_little_is_told_once() {
    // A frame every four seconds: no track outlives it. The frames between did not come, so they missed nobody.
    let mut policy = Policy::new(&plan());
    for n in 0..20u64 {
        let person = tracked(n + 1, 0.3 + 0.03 * (n % 2) as f32);
        let frame = Frame { detections: vec![person.clone()], ..frame("a", n, 4.0 * n as f64) };
        assert!(policy.due(&frame).is_empty());
        assert_eq!(is_sent(&mut policy, &on(&draft("intrusion", ""), vec![person]), &frame), n == 0, "frame {n}");
    }
}
