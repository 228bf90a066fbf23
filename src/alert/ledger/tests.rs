//! Queueing and settling, case by case.

use super::super::check::alert;
use super::*;

fn ledger(alerts: usize, durable: bool, handlers: &[&str]) -> Ledger {
    let mut ledger = Ledger::new(alerts, OUTBOX_BYTES_MAX, durable);
    assert!(handlers.iter().all(|name| ledger.add(&Arc::from(*name))));
    ledger
}

fn missed(offered: Offered) -> Vec<String> {
    match offered {
        Offered::Taken { missed, .. } => missed.iter().map(ToString::to_string).collect(),
        other => panic!("not taken: {other:?}"),
    }
}

fn head(ledger: &Ledger, handler: &str) -> Option<u64> {
    ledger.head(handler).map(|alert| alert.seq)
}

#[test]
fn each_handler_sees_every_alert_in_order_and_the_last_one_settles_it() {
    let mut ledger = ledger(10, false, &["x", "y"]);
    let [one, two] = [1, 2].map(|n| alert(n, "m"));
    for alert in [&one, &two] {
        assert!(missed(ledger.offer(alert.clone(), None)).is_empty());
    }
    assert_eq!((ledger.pending("x"), ledger.pending("y")), (2, 2));
    assert_eq!(head(&ledger, "x"), Some(1));
    assert!(ledger.settle("x", &one.id, Settlement::Delivered).unwrap().is_none());
    assert!(ledger.settle("x", &one.id, Settlement::Delivered).is_none(), "it had settled it already");
    assert_eq!(head(&ledger, "x"), Some(2));
    let done = ledger.settle("y", &one.id, Settlement::GivenUp).unwrap().unwrap();
    assert_eq!((done.alert.seq, done.failed), (1, true));
    // By id, whatever its position.
    ledger.offer(alert(3, "m"), None);
    ledger.settle("x", &alert(3, "m").id, Settlement::Delivered).unwrap();
    assert_eq!(head(&ledger, "x"), Some(2));
    ledger.settle("x", &two.id, Settlement::Delivered).unwrap();
    assert!(!ledger.settle("y", &two.id, Settlement::Delivered).unwrap().unwrap().failed);
    assert_eq!((head(&ledger, "x"), ledger.pending("y"), ledger.open_alerts()), (None, 1, 1));
}

#[test]
fn a_full_handler_misses_it_and_only_when_all_are_full_it_is_refused() {
    let mut ledger = ledger(1, false, &["x", "y"]);
    let [one, two] = [1, 2].map(|n| alert(n, "m"));
    assert!(missed(ledger.offer(one.clone(), None)).is_empty());
    ledger.settle("y", &one.id, Settlement::Delivered);
    assert_eq!(missed(ledger.offer(two.clone(), None)), ["x"]);
    let done = ledger.settle("y", &two.id, Settlement::Delivered).unwrap().unwrap();
    assert!(done.failed, "one of its handlers never got it");
    ledger.offer(alert(3, "m"), None);
    let full = Offered::Refused(NoRoom::Queues { alerts: 1, bytes: OUTBOX_BYTES_MAX });
    assert_eq!(ledger.offer(alert(4, "m"), None), full);
}

#[test]
fn a_queue_is_bounded_in_bytes_and_has_room_again_once_they_are_settled() {
    let mut ledger = ledger(1_000, false, &["x"]);
    ledger.bytes_max = 10_000;
    let large = |n| alert(n, &"m".repeat(4_000));
    assert!(missed(ledger.offer(large(1), None)).is_empty() && missed(ledger.offer(large(2), None)).is_empty());
    assert!(matches!(ledger.offer(large(3), None), Offered::Refused(NoRoom::Queues { .. })));
    assert!(missed(ledger.offer(alert(4, "small"), None)).is_empty());
    ledger.settle("x", &large(1).id, Settlement::Delivered);
    assert!(missed(ledger.offer(large(3), None)).is_empty());
}

#[test]
fn an_id_that_is_open_is_known_and_one_that_is_settled_may_come_again() {
    let mut ledger = ledger(10, false, &["x"]);
    let one = alert(1, "m");
    ledger.offer(one.clone(), None);
    assert_eq!(ledger.offer(one.clone(), None), Offered::Known);
    ledger.settle("x", &one.id, Settlement::Delivered);
    assert!(missed(ledger.offer(one, None)).is_empty());
}

#[test]
fn without_handlers_an_alert_is_settled_at_once() {
    let mut ledger = ledger(10, false, &[]);
    let taken = Offered::Taken { missed: vec![], written: true, finished: true };
    assert_eq!(ledger.offer(alert(1, "m"), None), taken);
    assert_eq!(ledger.open_alerts(), 0);
}

#[test]
fn a_removed_handler_is_settled_for_and_the_others_keep_what_is_theirs() {
    let mut ledger = ledger(10, false, &["x", "y"]);
    (1..4).for_each(|n| drop(ledger.offer(alert(n, "m"), None)));
    ledger.settle("y", &alert(2, "m").id, Settlement::Delivered);
    ledger.close("x");
    ledger.offer(alert(4, "m"), None);
    let (held, finished) = ledger.remove("x");
    assert_eq!((held, finished.len()), (3, 1), "the fourth was never its own");
    assert!(finished[0].failed && finished[0].alert.seq == 2);
    assert_eq!((head(&ledger, "y"), ledger.pending("y"), ledger.head("x")), (Some(1), 3, None));
    assert!(ledger.add(&"x".into()), "the name is free again");
}

#[test]
fn behind_a_journal_nothing_is_delivered_before_it_is_written() {
    let mut ledger = ledger(1, true, &["x", "y"]);
    let [one, two] = [1, 2].map(|n| alert(n, "m"));
    let taken = Offered::Taken { missed: vec![], written: false, finished: false };
    assert_eq!(ledger.offer(one.clone(), None), taken);
    assert_eq!((ledger.head("x"), ledger.pending("x"), ledger.held("x")), (None, 0, 1));
    let batch = ledger.take_unwritten(100);
    assert_eq!(batch, [Entry::Accepted { alert: one.clone(), handlers: vec!["x".into(), "y".into()] }]);
    assert_eq!(ledger.unwritten(), 1, "taken is not written");
    assert_eq!(ledger.written(&batch).accepted.len(), 1);
    ledger.batch_done();
    assert_eq!((head(&ledger, "x"), ledger.unwritten()), (Some(1), 0));
    ledger.settle("y", &one.id, Settlement::Delivered);
    assert_eq!(missed(ledger.offer(two.clone(), None)), ["x"]);
    let id = |alert: &Arc<Alert>| alert.id.clone();
    assert_eq!(
        ledger.take_unwritten(100),
        [
            Entry::Settled { id: id(&one), handler: "y".into(), how: Settlement::Delivered },
            Entry::Accepted { alert: two.clone(), handlers: vec!["y".into(), "x".into()] },
            Entry::Settled { id: id(&two), handler: "x".into(), how: Settlement::QueueFull },
        ]
    );
}

#[test]
fn an_alert_whose_only_handler_goes_before_it_is_written_is_settled_when_it_is() {
    let mut ledger = ledger(10, true, &["x"]);
    ledger.settle_absent();
    ledger.offer(alert(1, "m"), None);
    let (held, finished) = ledger.remove("x");
    assert_eq!((held, finished.len(), ledger.open_alerts()), (1, 0, 1));
    let batch = ledger.take_unwritten(100);
    let written = ledger.written(&batch);
    assert_eq!((written.accepted.len(), written.finished.len(), ledger.open_alerts()), (1, 1, 0));
    assert!(written.finished[0].failed);
}

#[test]
fn what_waits_for_the_journal_is_bounded_in_count_and_bytes() {
    let mut many = ledger(100_000, true, &["x"]);
    (0..UNWRITTEN_MAX as u64).for_each(|n| assert!(missed(many.offer(alert(n, "m"), None)).is_empty()));
    let refused = Offered::Refused(NoRoom::Journal { waiting: UNWRITTEN_MAX });
    assert_eq!(many.offer(alert(99_999, "m"), None), refused);
    let batch = many.take_unwritten(10);
    assert_eq!(many.offer(alert(99_999, "m"), None), refused, "a batch under way still waits");
    many.written(&batch);
    assert!(missed(many.offer(alert(99_999, "m"), None)).is_empty());

    let mut large = ledger(100_000, true, &["x"]);
    let taken = (0..100u64)
        .filter(|n| matches!(large.offer(alert(*n, &"m".repeat(1 << 20)), None), Offered::Taken { .. }))
        .count();
    assert_eq!(taken, (UNWRITTEN_BYTES_MAX >> 20) - 1);
}

#[test]
fn what_a_former_process_left_waits_again_for_the_handlers_that_are_there() {
    let mut ledger = ledger(10, true, &["x", "y"]);
    let pending = |n, handlers: &[&str], failed| Pending {
        alert: alert(n, "m"),
        handlers: handlers.iter().map(|name| Arc::from(*name)).collect(),
        failed,
    };
    for (n, handlers, failed) in [(1, &["x"][..], true), (2, &["y", "old"], false), (3, &["old", "late"], false)] {
        assert!(ledger.recover(pending(n, handlers, failed)));
    }
    assert!(!ledger.recover(pending(1, &["x"], false)), "once");
    assert_eq!((head(&ledger, "x"), head(&ledger, "y")), (Some(1), Some(2)));
    assert!(ledger.add(&"late".into()) && head(&ledger, "late") == Some(3), "one that is added later finds its own");
    assert_eq!(ledger.remove("late").0, 0, "the start fails: nothing is settled");
    let (missed, finished) = ledger.settle_absent();
    assert_eq!(missed.into_iter().collect::<Vec<_>>(), [("late".into(), 1), ("old".into(), 2)]);
    assert!(finished.len() == 1 && finished[0].failed && finished[0].alert.seq == 3);
    let removed = ledger.take_unwritten(10);
    assert!(removed.iter().all(|e| matches!(e, Entry::Settled { how: Settlement::HandlerRemoved, .. })));
    assert_eq!(removed.len(), 3);
    let done = ledger.settle("x", &alert(1, "m").id, Settlement::Delivered).unwrap().unwrap();
    assert!(done.failed, "its worst handler was one of the former process's");
    assert!(ledger.settle("y", &alert(2, "m").id, Settlement::Delivered).unwrap().unwrap().failed);
}
