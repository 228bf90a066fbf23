//! Queueing and settling, case by case.

use super::super::check::alert;
use super::*;
use crate::config::WhenFull;
use crate::types::Level;

fn ledger(alerts: usize, durable: bool, handlers: &[&str]) -> Ledger {
    let mut ledger = Ledger::new(alerts, OUTBOX_BYTES_MAX, durable);
    assert!(handlers.iter().all(|name| ledger.add(&Arc::from(*name))));
    ledger
}

fn missed(offered: Offered) -> Vec<String> {
    match offered {
        Offered::Taken { missed, .. } => missed.iter().map(ToString::to_string).collect(),
        Offered::Known | Offered::Refused(..) => panic!("not taken"),
    }
}

fn head(ledger: &Ledger, handler: &str) -> Option<u64> {
    let heads = ledger.heads(handler);
    let first = heads.iter().min_by_key(|head| head.number)?;
    Some(ledger.open[&first.id].alert.seq)
}

#[test]
fn each_handler_sees_every_alert_in_order_and_the_last_one_settles_it() {
    let mut ledger = ledger(10, false, &["x", "y"]);
    let [one, two] = [1, 2].map(|n| alert(n, "m"));
    for alert in [&one, &two] {
        assert!(missed(ledger.offer(alert.clone(), None, false, 0)).is_empty());
    }
    assert_eq!((ledger.pending("x"), ledger.pending("y")), (2, 2));
    assert_eq!(head(&ledger, "x"), Some(1));
    assert!(ledger.settle("x", &one.id, Settlement::Delivered).unwrap().is_none());
    assert!(ledger.settle("x", &one.id, Settlement::Delivered).is_none(), "it had settled it already");
    assert_eq!(head(&ledger, "x"), Some(2));
    let done = ledger.settle("y", &one.id, Settlement::GivenUp).unwrap().unwrap();
    assert_eq!((done.alert.seq, done.worst), (1, Settlement::GivenUp));
    // By id, whatever its position.
    ledger.offer(alert(3, "m"), None, false, 0);
    ledger.settle("x", &alert(3, "m").id, Settlement::Delivered).unwrap();
    assert_eq!(head(&ledger, "x"), Some(2));
    ledger.settle("x", &two.id, Settlement::Delivered).unwrap();
    assert_eq!(ledger.settle("y", &two.id, Settlement::Delivered).unwrap().unwrap().worst, Settlement::Delivered);
    assert_eq!((head(&ledger, "x"), ledger.pending("y"), ledger.open_alerts()), (None, 1, 1));
}

/// An alert of a level.
fn of(level: Level, n: u64) -> Arc<Alert> {
    Arc::new(Alert { level, ..(*alert(n, "m")).clone() })
}

/// The numbers that an alert's acceptance costs, by handler; `None` if it is refused.
fn cost(ledger: &mut Ledger, alert: &Arc<Alert>) -> Option<Vec<(String, String)>> {
    match ledger.offer(alert.clone(), None, false, 0) {
        Offered::Taken { given_up, .. } => {
            Some(given_up.iter().map(|gone| (gone.handler.to_string(), gone.id.to_string())).collect())
        }
        _ => None,
    }
}

#[test]
fn a_full_queue_gives_up_the_oldest_of_the_lowest_level_unless_the_new_one_is_lower() {
    let mut ledger = ledger(3, false, &["x"]);
    let alerts = [Level::High, Level::Low, Level::Low, Level::Medium, Level::Critical, Level::Low, Level::High];
    let alerts: Vec<_> = alerts.into_iter().zip(1..).map(|(level, n)| of(level, n)).collect();
    let gone = |n: usize| Some(vec![("x".to_owned(), alerts[n].id.to_string())]);
    assert!(alerts[..3].iter().all(|alert| cost(&mut ledger, alert) == Some(vec![])));
    assert_eq!(cost(&mut ledger, &alerts[3]), gone(1));
    assert_eq!(cost(&mut ledger, &alerts[4]), gone(2));
    assert_eq!(cost(&mut ledger, &alerts[5]), None, "there is none lower");
    assert_eq!(cost(&mut ledger, &alerts[6]), gone(3));
    assert_eq!((ledger.open_alerts(), ledger.pending("x")), (3, 3));
}

#[test]
fn a_full_queue_gives_up_the_oldest_where_it_is_told_so_but_not_the_one_that_is_being_delivered() {
    let mut ledger = ledger(2, false, &["x"]);
    ledger.when_full = WhenFull::DropOldest;
    let alerts = [Level::Critical, Level::High, Level::Low, Level::Low].into_iter().zip(1..);
    let alerts: Vec<_> = alerts.map(|(level, n)| of(level, n)).collect();
    assert!(alerts[..2].iter().all(|alert| cost(&mut ledger, alert) == Some(vec![])));
    let first = ledger.heads("x").into_iter().find(|head| head.id == alerts[0].id).unwrap();
    assert!(ledger.begin("x", &first).is_some());
    assert_eq!(cost(&mut ledger, &alerts[2]), Some(vec![("x".to_owned(), alerts[1].id.to_string())]));
    ledger.settle("x", &alerts[0].id, Settlement::Delivered);
    assert_eq!(cost(&mut ledger, &alerts[3]), Some(vec![]));
}

#[test]
fn a_full_queue_costs_the_other_handlers_nothing() {
    let mut ledger = ledger(1, false, &["x", "y"]);
    let [one, two] = [of(Level::High, 1), of(Level::Low, 2)];
    assert!(missed(ledger.offer(one.clone(), None, false, 0)).is_empty());
    ledger.settle("y", &one.id, Settlement::Delivered);
    assert_eq!(missed(ledger.offer(two.clone(), None, false, 0)), ["x"]);
    let done = ledger.settle("y", &two.id, Settlement::Delivered).unwrap().unwrap();
    assert_eq!(done.worst, Settlement::QueueFull, "one of its handlers never got it");
    assert_eq!(missed(ledger.offer(of(Level::Low, 3), None, false, 0)), ["x"]);
    let refused = ledger.offer(of(Level::Low, 4), None, false, 0);
    assert!(matches!(refused, Offered::Taken { missed, given_up, .. } if missed.len() == 1 && given_up.len() == 1));
}

#[test]
fn the_heads_are_the_oldest_of_each_source_and_of_the_critical_ones_apart() {
    let mut ledger = ledger(10, false, &["x"]);
    let at = |source: &str, level, n| Arc::new(Alert { source: source.into(), ..(*of(level, n)).clone() });
    let alerts = [
        at("b", Level::Low, 1),
        at("a", Level::High, 2),
        at("b", Level::Critical, 3),
        at("a", Level::Low, 4),
        at("b", Level::Critical, 5),
    ];
    alerts.iter().for_each(|alert| drop(ledger.offer(alert.clone(), None, false, 7)));
    let heads: Vec<_> = ledger.heads("x").into_iter().map(|head| (head.line.is_ordinary, head.id)).collect();
    let [critical, of_a, of_b] = [2, 1, 0].map(|at: usize| alerts[at].id.clone());
    assert_eq!(heads, [(false, critical), (true, of_a), (true, of_b)]);
    assert!(ledger.heads("x").iter().all(|head| head.accepted_ns == 7));
}

#[test]
fn what_is_of_no_use_any_more_is_found_behind_what_waits_and_after_a_restart() {
    const SECOND: u64 = 1_000_000_000;
    let of_use = |n, seconds| Arc::new(Alert { expires_seconds: seconds, ..(*alert(n, "m")).clone() });
    let [first, second, third] = [of_use(1, None), of_use(2, Some(9)), of_use(3, Some(5))];
    let mut one = ledger(10, true, &["x", "y"]);
    for alert in [&first, &second, &third] {
        one.offer(alert.clone(), None, false, SECOND);
    }
    assert_eq!(one.outdated("x", u64::MAX), None, "none is written");
    let batch = one.take_unwritten(10);
    one.written(&batch);
    let at = |ledger: &Ledger, handler: &str, second: u64| Some(ledger.outdated(handler, second * SECOND)?.id);
    assert_eq!((at(&one, "x", 5), at(&one, "x", 6)), (None, Some(third.id.clone())));
    assert_eq!(one.urgent_ns("x"), Some(7 * SECOND / 2), "half of five seconds after the first");
    one.settle("x", &third.id, Settlement::Expired).unwrap();
    assert_eq!((at(&one, "x", 9), at(&one, "x", 10)), (None, Some(second.id.clone())));
    assert_eq!(at(&one, "y", 6), Some(third.id.clone()), "each handler for itself");
    one.settle("x", &second.id, Settlement::Delivered).unwrap();
    assert_eq!(at(&one, "x", u64::MAX / SECOND), None, "the first one is of use for as long as it takes");
    let mut next = ledger(10, true, &["x"]);
    let pending =
        Pending { alert: third.clone(), handlers: vec!["x".into()], worst: Settlement::Delivered, accepted_ms: 1_000 };
    assert!(next.recover(pending));
    assert_eq!((at(&next, "x", 5), at(&next, "x", 6)), (None, Some(third.id.clone())));
}

#[test]
fn a_dead_letter_is_opened_again_once_and_only_where_there_is_room() {
    let mut ledger = ledger(1, true, &["x"]);
    let one = alert(1, "m");
    ledger.offer(one.clone(), None, false, 0);
    let batch = ledger.take_unwritten(10);
    ledger.written(&batch);
    assert_eq!(ledger.reopen(one.clone(), &"x".into(), None, 5), None, "it is on its way");
    ledger.settle("x", &one.id, Settlement::GivenUp).unwrap().unwrap();
    assert_eq!(ledger.reopen(one.clone(), &"x".into(), Some(&"old".into()), 5_000_000), Some(true));
    assert_eq!(ledger.reopen(alert(2, "m"), &"x".into(), None, 5), None, "no room");
    assert_eq!(ledger.reopen(alert(2, "m"), &"y".into(), None, 5), None, "no such handler");
    let entries = ledger.take_unwritten(10);
    let from = Some("old".into());
    assert_eq!(entries[1], Entry::Reopened { id: one.id.clone(), handler: "x".into(), from, at_ms: 5 });
    assert_eq!(ledger.heads("x")[0].accepted_ns, 5_000_000, "its age counts from now");
    assert_eq!(ledger.settle("x", &one.id, Settlement::Delivered).unwrap().unwrap().worst, Settlement::Delivered);
}

#[test]
fn a_queue_is_bounded_in_bytes_and_has_room_again_once_they_are_settled() {
    let mut ledger = ledger(1_000, false, &["x"]);
    ledger.bytes_max = 10_000;
    let large = |level, n| Arc::new(Alert { level, ..(*alert(n, &"m".repeat(4_000))).clone() });
    assert!((1..3).all(|n| cost(&mut ledger, &large(Level::High, n)) == Some(vec![])));
    assert_eq!(cost(&mut ledger, &large(Level::Low, 3)), None);
    assert_eq!(cost(&mut ledger, &of(Level::Low, 4)), Some(vec![]), "a small one");
    assert_eq!(cost(&mut ledger, &large(Level::High, 5)).unwrap().len(), 2, "the small one and a large one");
    ledger.settle("x", &large(Level::High, 2).id, Settlement::Delivered);
    assert_eq!(cost(&mut ledger, &large(Level::Low, 6)), Some(vec![]));
}

#[test]
fn an_id_that_is_open_is_known_and_one_that_is_settled_may_come_again() {
    let mut ledger = ledger(10, false, &["x"]);
    let one = alert(1, "m");
    ledger.offer(one.clone(), None, false, 0);
    assert!(matches!(ledger.offer(one.clone(), None, false, 0), Offered::Known));
    ledger.settle("x", &one.id, Settlement::Delivered);
    assert!(missed(ledger.offer(one, None, false, 0)).is_empty());
}

#[test]
fn without_handlers_an_alert_is_settled_at_once() {
    let mut ledger = ledger(10, false, &[]);
    let taken = ledger.offer(alert(1, "m"), None, false, 0);
    assert!(matches!(taken, Offered::Taken { written: true, finished: true, .. }));
    assert_eq!(ledger.open_alerts(), 0);
}

#[test]
fn a_removed_handler_is_settled_for_and_the_others_keep_what_is_theirs() {
    let mut ledger = ledger(10, false, &["x", "y"]);
    (1..4).for_each(|n| drop(ledger.offer(alert(n, "m"), None, false, 0)));
    ledger.settle("y", &alert(2, "m").id, Settlement::Delivered);
    ledger.close("x");
    ledger.offer(alert(4, "m"), None, false, 0);
    let (held, finished) = ledger.remove("x");
    assert_eq!((held, finished.len()), (3, 1), "the fourth was never its own");
    assert_eq!((finished[0].worst, finished[0].alert.seq), (Settlement::HandlerRemoved, 2));
    assert_eq!((head(&ledger, "y"), ledger.pending("y"), head(&ledger, "x")), (Some(1), 3, None));
    assert!(ledger.add(&"x".into()), "the name is free again");
}

#[test]
fn behind_a_journal_nothing_is_delivered_before_it_is_written() {
    let mut ledger = ledger(1, true, &["x", "y"]);
    let [one, two] = [of(Level::High, 1), of(Level::Low, 2)];
    let taken = ledger.offer(one.clone(), None, false, 9_000_000);
    assert!(matches!(taken, Offered::Taken { written: false, finished: false, .. }));
    assert_eq!((head(&ledger, "x"), ledger.pending("x"), ledger.held("x")), (None, 0, 1));
    let batch = ledger.take_unwritten(100);
    assert_eq!(batch, [Entry::Accepted { alert: one.clone(), handlers: vec!["x".into(), "y".into()], at_ms: 9 }]);
    assert_eq!(ledger.unwritten(), 1, "taken is not written");
    assert_eq!(ledger.written(&batch).accepted.len(), 1);
    ledger.batch_done(false);
    assert_eq!((head(&ledger, "x"), ledger.unwritten()), (Some(1), 0));
    ledger.settle("y", &one.id, Settlement::Delivered);
    assert_eq!(missed(ledger.offer(two.clone(), None, false, 0)), ["x"]);
    let id = |alert: &Arc<Alert>| alert.id.clone();
    assert_eq!(
        ledger.take_unwritten(100),
        [
            Entry::Settled { id: id(&one), handler: "y".into(), how: Settlement::Delivered },
            Entry::Accepted { alert: two.clone(), handlers: vec!["y".into(), "x".into()], at_ms: 0 },
            Entry::Settled { id: id(&two), handler: "x".into(), how: Settlement::QueueFull },
        ]
    );
}

#[test]
fn an_alert_whose_only_handler_goes_before_it_is_written_is_settled_when_it_is() {
    let mut ledger = ledger(10, true, &["x"]);
    ledger.settle_absent();
    ledger.offer(alert(1, "m"), None, false, 0);
    let (held, finished) = ledger.remove("x");
    assert_eq!((held, finished.len(), ledger.open_alerts()), (1, 0, 1));
    let batch = ledger.take_unwritten(100);
    let written = ledger.written(&batch);
    assert_eq!((written.accepted.len(), written.finished.len(), ledger.open_alerts()), (1, 1, 0));
    assert_eq!(written.finished[0].worst, Settlement::HandlerRemoved);
}

#[test]
fn what_waits_for_the_journal_is_bounded_in_count_and_bytes() {
    let mut many = ledger(100_000, true, &["x"]);
    (0..UNWRITTEN_MAX as u64).for_each(|n| assert!(missed(many.offer(alert(n, "m"), None, false, 0)).is_empty()));
    let is_refused = |offered| matches!(offered, Offered::Refused(NoRoom::Journal { waiting: UNWRITTEN_MAX }, _));
    assert!(is_refused(many.offer(alert(99_999, "m"), None, false, 0)));
    let batch = many.take_unwritten(10);
    assert!(is_refused(many.offer(alert(99_999, "m"), None, false, 0)), "a batch under way still waits");
    many.written(&batch);
    assert!(missed(many.offer(alert(99_999, "m"), None, false, 0)).is_empty());

    let mut large = ledger(100_000, true, &["x"]);
    let taken = (0..100u64)
        .filter(|n| matches!(large.offer(alert(*n, &"m".repeat(1 << 20)), None, false, 0), Offered::Taken { .. }))
        .count();
    assert_eq!(taken, (UNWRITTEN_BYTES_MAX >> 20) - 1);
}

#[test]
fn what_a_former_process_left_waits_again_for_the_handlers_that_are_there() {
    let mut ledger = ledger(10, true, &["x", "y"]);
    let pending = |n, handlers: &[&str], worst| Pending {
        alert: alert(n, "m"),
        handlers: handlers.iter().map(|name| Arc::from(*name)).collect(),
        worst,
        accepted_ms: 3,
    };
    let well = Settlement::Delivered;
    for (n, handlers, worst) in
        [(1, &["x"][..], Settlement::Expired), (2, &["y", "old"], well), (3, &["old", "late"], well)]
    {
        assert!(ledger.recover(pending(n, handlers, worst)));
    }
    assert!(!ledger.recover(pending(1, &["x"], well)), "once");
    assert_eq!(ledger.heads("x")[0].accepted_ns, 3_000_000, "its age counts from its acceptance");
    assert_eq!((head(&ledger, "x"), head(&ledger, "y")), (Some(1), Some(2)));
    assert!(ledger.add(&"late".into()) && head(&ledger, "late") == Some(3), "one that is added later finds its own");
    assert_eq!(ledger.remove("late").0, 0, "the start fails: nothing is settled");
    let (missed, finished) = ledger.settle_absent();
    assert_eq!(missed.into_iter().collect::<Vec<_>>(), [("late".into(), 1), ("old".into(), 2)]);
    assert_eq!((finished.len(), finished[0].worst, finished[0].alert.seq), (1, Settlement::HandlerRemoved, 3));
    let removed = ledger.take_unwritten(10);
    assert!(removed.iter().all(|e| matches!(e, Entry::Settled { how: Settlement::HandlerRemoved, .. })));
    assert_eq!(removed.len(), 3);
    let done = ledger.settle("x", &alert(1, "m").id, Settlement::Delivered).unwrap().unwrap();
    assert_eq!(done.worst, Settlement::Expired, "its worst handler was one of the former process's");
    let done = ledger.settle("y", &alert(2, "m").id, Settlement::Delivered).unwrap().unwrap();
    assert_eq!(done.worst, Settlement::HandlerRemoved);
}

#[test]
fn what_was_given_up_for_an_alert_that_finds_no_room_nevertheless_is_told() {
    let leveled = |number: u64, level: Level| {
        let message = "m".repeat(if level == Level::Low { 10 } else { 1_000 });
        Arc::new(Alert { level, ..(*alert(number, &message)).clone() })
    };
    let [high, low, medium] = [(1, Level::High), (2, Level::Low), (3, Level::Medium)].map(|(n, l)| leveled(n, l));
    let mut ledger = ledger(10, false, &["x"]);
    ledger.when_full = WhenFull::DropLowestLevel;
    ledger.bytes_max = high.memory_bytes() + low.memory_bytes();
    for alert in [&high, &low] {
        assert!(missed(ledger.offer(alert.clone(), None, false, 0)).is_empty());
    }
    let Offered::Refused(_, given_up) = ledger.offer(medium, None, false, 0) else { panic!("there is no room") };
    let told: Vec<_> = given_up.iter().map(|one| (&one.id, one.finished.as_ref().map(|done| done.worst))).collect();
    assert_eq!(told, [(&low.id, Some(Settlement::QueueFull))]);
    assert_eq!(ledger.open_alerts(), 1);
}

#[test]
fn a_dead_letter_of_two_handlers_is_opened_for_both() {
    let mut ledger = ledger(10, false, &["x", "y"]);
    let one = alert(1, "m");
    ledger.offer(one.clone(), None, false, 0);
    for name in ["x", "y"] {
        ledger.settle(name, &one.id, Settlement::GivenUp);
    }
    let reopened = ["x", "y", "y"].map(|name| ledger.reopen(one.clone(), &name.into(), None, 5));
    assert_eq!(reopened, [Some(true), Some(false), None]);
    assert_eq!((ledger.pending("x"), ledger.pending("y"), ledger.open_alerts()), (1, 1, 1));
    assert!(ledger.settle("x", &one.id, Settlement::Delivered).unwrap().is_none());
    assert_eq!(ledger.settle("y", &one.id, Settlement::Delivered).unwrap().unwrap().worst, Settlement::Delivered);
}

#[test]
fn the_alerts_of_a_source_that_waits_for_room_are_kept_and_others_pushed_out_as_ever() {
    let mut ledger = ledger(2, false, &["x"]);
    let source = alert(1, "m").source.clone();
    ledger.note_sender(&alert(1, "m"));
    for when_full in [WhenFull::DropLowestLevel, WhenFull::DropOldest] {
        ledger.when_full = when_full;
        assert!(ledger.has_room(&source));
    }
    ledger.when_full = WhenFull::Block;
    (1..6).for_each(|n| assert!(missed(ledger.offer(alert(n, "m"), None, true, 0)).is_empty()));
    assert_eq!((ledger.pending("x"), ledger.has_room(&source)), (5, false), "what one frame raised");
    (1..4).for_each(|n| drop(ledger.settle("x", &alert(n, "m").id, Settlement::Delivered)));
    assert!(!ledger.has_room(&source), "full");
    ledger.settle("x", &alert(4, "m").id, Settlement::Delivered);
    assert!(ledger.has_room(&source));
    // A live source never waits.
    ledger.offer(of(Level::High, 6), None, false, 0);
    assert_eq!(cost(&mut ledger, &of(Level::Low, 7)), None);
    assert_eq!(cost(&mut ledger, &of(Level::Critical, 8)).map(|gone| gone.len()), Some(1));
    // Nothing grows without a bound.
    let offers = (100..).map(|n| ledger.offer(alert(n, "m"), None, true, 0));
    let taken = offers.take_while(|offered| matches!(offered, Offered::Taken { given_up, .. } if given_up.is_empty()));
    assert_eq!(taken.take(10_000).count(), UNWRITTEN_MAX);
}

#[test]
fn what_is_given_up_or_left_by_a_removed_handler_is_known_until_it_is_sent_again() {
    let mut ledger = ledger(10, false, &["x", "y"]);
    let [one, two] = [1, 2].map(|n| alert(n, "m"));
    for alert in [&one, &two] {
        ledger.offer(alert.clone(), None, false, 0);
        ledger.settle("x", &alert.id, Settlement::GivenUp);
    }
    ledger.remove("y");
    assert_eq!((ledger.left.given_up(), ledger.left.removed()), (2, [("y".to_owned(), 2)].into()));
    assert_eq!(ledger.reopen(one.clone(), &"x".into(), None, 5), Some(true));
    assert_eq!(ledger.left.given_up(), 1, "it is on its way");
    ledger.settle("x", &one.id, Settlement::GivenUp);
    assert_eq!(ledger.left.given_up(), 2, "refused again");
    for alert in [&one, &two] {
        assert_eq!(ledger.reopen(alert.clone(), &"x".into(), Some(&"y".into()), 5), Some(true));
    }
    assert_eq!((ledger.left.given_up(), ledger.left.removed().len()), (0, 0));
}
