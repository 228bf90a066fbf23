//! Handlers that come, go and change while alerts are raised, and what they may ask of the engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsengine::alert::{
    BoxFuture, COMMAND_BYTES_MAX, COMMANDS_MAX, Command, CommandRefused, Commanded, Commands, DeliveryError, Handler,
    Journal, NoJournal, Settlement,
};
use dsengine::config::{AlertFilter, AlertPlan};
use dsengine::types::{Alert, Level, Raised};

use crate::journal::{Answer, Faults, JsonLines, LIMIT, Process, Told, draft, frame, plan, until};

fn process(handlers: Vec<Arc<dyn Handler>>) -> Process {
    Process::start(Box::new(NoJournal), handlers, &plan())
}

fn undelivered(process: &Process, how: Settlement) -> Option<f64> {
    process.metric(&format!("dsengine_alert_undelivered_total{{reason=\"{}\"}}", how.as_str()))
}

#[test]
fn a_handler_that_is_added_gets_what_comes_and_one_of_its_name_is_an_error() {
    let (first, second) = (Told::new("first", Answer::Ok), Told::new("second", Answer::Ok));
    let mut process = process(vec![first.clone()]);
    process.raise(1);
    process.delivery.add(second.clone()).unwrap();
    process.raise(2);
    assert_eq!(process.drain(), 0);
    assert_eq!((first.got(), second.got()), (vec![1, 2], vec![2]));
    let names: Vec<_> = process.delivery.standings().iter().map(|standing| standing.name().to_string()).collect();
    assert_eq!(names, ["first", "second"], "in the order in which they came");
    assert!(process.delivery.add(Told::new("second", Answer::Ok)).is_err());
    assert!(process.delivery.replace(Told::new("third", Answer::Ok)).is_err());
    process.assert_balance();
}

#[test]
fn a_handler_that_is_removed_has_its_time_and_the_others_keep_what_waits_for_them() {
    let (busy, hung) = (Told::new("busy", Answer::Later), Told::new("hung", Answer::Hang));
    let patient = AlertPlan { attempts: u32::MAX, ..plan() };
    let mut process = Process::start(Box::new(NoJournal), vec![busy.clone(), hung.clone()], &patient);
    (0..10).for_each(|seq| drop(process.raise(seq)));
    std::thread::scope(|scope| {
        let removed = scope.spawn(|| process.delivery.remove("busy", LIMIT));
        busy.say(Answer::Ok);
        assert_eq!(removed.join().unwrap(), 0, "in time");
    });
    assert_eq!(busy.got(), (0..10).collect::<Vec<_>>());
    assert_eq!(process.delivery.remove("hung", Duration::from_millis(20)), 10);
    assert_eq!(process.delivery.remove("hung", LIMIT), 0, "it is gone");
    assert_eq!(undelivered(&process, Settlement::HandlerRemoved), Some(10.0));
    assert_eq!((process.totals().failed(), process.totals().pending()), (10, 0));
    assert!(!process.metrics.render().contains("handler=\"hung\""), "its series are gone");
    process.raise(10);
    assert_eq!((process.totals().delivered, process.drain()), (1, 0), "nobody is there to wait for");
    process.assert_balance();
}

#[test]
fn what_waits_for_others_is_untouched_by_a_removal() {
    let (stays, goes) = (Told::new("stays", Answer::Later), Told::new("goes", Answer::Hang));
    let patient = AlertPlan { attempts: u32::MAX, ..plan() };
    let mut process = Process::start(Box::new(NoJournal), vec![goes, stays.clone()], &patient);
    (0..100).for_each(|seq| drop(process.raise(seq)));
    assert_eq!(process.delivery.remove("goes", Duration::ZERO), 100);
    assert_eq!((process.delivery.pending(), process.totals().pending()), (100, 100));
    stays.say(Answer::Ok);
    assert_eq!(process.drain(), 0);
    assert_eq!(stays.got(), (0..100).collect::<Vec<_>>());
    assert_eq!(process.totals().failed(), 100, "each by its worst handler");
    process.assert_balance();
}

#[test]
fn a_handler_that_is_replaced_keeps_its_queue_and_does_not_wait_for_the_old_ones_pause() {
    let (old, new) = (Told::new("hook", Answer::Later), Told::new("hook", Answer::Ok));
    let slow = AlertPlan { attempts: 2, retry_delay: 100 * LIMIT, ..plan() };
    let mut process = Process::start(Box::new(NoJournal), vec![old.clone()], &slow);
    (0..10).for_each(|seq| drop(process.raise(seq)));
    until("the old one fails", || {
        process.metric("dsengine_alert_deliveries_total{handler=\"hook\",outcome=\"retried\"}") > Some(0.0)
    });
    let standing = process.delivery.replace(new.clone()).unwrap();
    assert_eq!(process.drain(), 0);
    assert_eq!((old.got(), new.got()), (vec![], (0..10).collect()));
    assert_eq!((standing.delivered(), standing.given_up()), (10, 0));
    assert!(standing.trouble(u64::MAX).is_none());
    process.assert_balance();
}

#[test]
fn the_old_ones_refusal_does_not_settle_what_the_new_one_can_deliver() {
    /// Refuses for good, once it is let.
    struct Gated(Arc<AtomicBool>, Arc<tokio::sync::Notify>);
    impl Handler for Gated {
        fn name(&self) -> &str {
            "hook"
        }
        fn deliver<'a>(&'a self, _: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
            Box::pin(async move {
                self.0.store(true, Ordering::Release);
                self.1.notified().await;
                Err(DeliveryError { message: "no".into(), retry: dsengine::alert::Retry::Never })
            })
        }
    }
    let (called, go) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
    let new = Told::new("hook", Answer::Ok);
    let mut process = process(vec![Arc::new(Gated(called.clone(), go.clone()))]);
    process.raise(1);
    until("it delivers", || called.load(Ordering::Acquire));
    process.delivery.replace(new.clone()).unwrap();
    go.notify_one();
    assert_eq!((process.drain(), new.got()), (0, vec![1]));
    process.assert_balance();
}

#[test]
fn a_filter_holds_for_what_is_accepted_from_then_on_and_what_nobody_wants_is_delivered_to_none() {
    let rules = |rule: &str| AlertFilter { rules: vec![rule.into()], ..AlertFilter::default() };
    let (all, some) = (Told::new("all", Answer::Ok), Told::new("some", Answer::Later));
    let patient = AlertPlan { attempts: u32::MAX, ..plan() };
    let mut process = Process::start(Box::new(NoJournal), vec![all.clone(), some.clone()], &patient);
    (0..2).for_each(|seq| drop(process.raise(seq)));
    process.delivery.set_filter("some", &rules("no such rule"));
    (2..4).for_each(|seq| drop(process.raise(seq)));
    // What waited is still delivered, also through a replacement.
    let new = Told::new("some", Answer::Ok);
    process.delivery.replace(new.clone()).unwrap();
    assert_eq!((process.drain(), all.got(), new.got()), (0, vec![0, 1, 2, 3], vec![0, 1]));
    process.delivery.set_filter("all", &rules("no such rule"));
    process.raise(4);
    assert_eq!((process.totals().delivered, process.drain()), (5, 0), "delivered to none");
    process.delivery.set_filter("some", &AlertFilter::default());
    process.raise(5);
    assert_eq!((process.drain(), all.got().len(), new.got()), (0, 4, vec![0, 1, 5]));
    let late = Told::new("late", Answer::Ok);
    process.delivery.add_where(late.clone(), &rules("no such rule")).unwrap();
    process.raise(6);
    assert_eq!((process.drain(), late.got()), (0, vec![]));
    process.assert_balance();
}

#[test]
fn a_full_queue_refuses_only_what_its_handler_wants() {
    let only = AlertFilter { rules: vec!["no such rule".into()], ..AlertFilter::default() };
    let small = AlertPlan { attempts: u32::MAX, outbox_max: 1, ..plan() };
    let mut process = Process::start(Box::new(NoJournal), vec![Told::new("full", Answer::Later)], &small);
    let low = |seq| Raised { level: Some(Level::Low), ..draft(seq) };
    assert!(process.raise(0).is_some());
    assert!(process.gate.raise(&low(1), &frame("gate", 1)).is_none(), "its queue is full of better ones");
    process.delivery.set_filter("full", &only);
    assert!(process.raise(2).is_some(), "it does not want it");
    assert_eq!((process.totals().refused, process.totals().delivered), (1, 1));
    assert_eq!(undelivered(&process, Settlement::QueueFull), Some(1.0));
    process.assert_balance();
}

#[test]
fn limits_and_retries_change_while_alerts_wait() {
    let told = Told::new("x", Answer::Later);
    let patient = AlertPlan { attempts: u32::MAX, outbox_max: 5, ..plan() };
    let mut process = Process::start(Box::new(NoJournal), vec![told], &patient);
    let raised = |process: &mut Process, from: u64| {
        assert!((from..from + 20).all(|seq| process.raise(seq).is_some()));
        process.delivery.pending()
    };
    assert_eq!(raised(&mut process, 0), 5, "the newest");
    process.delivery.set_plan(&AlertPlan { outbox_max: 8, ..patient.clone() });
    assert_eq!(process.delivery.pending(), 5, "what waited is still there");
    assert_eq!(raised(&mut process, 100), 8);
    process.delivery.set_plan(&AlertPlan { attempts: 1, ..patient });
    assert_eq!(process.drain(), 0);
    assert_eq!((process.totals().dropped, process.totals().dead_lettered), (32, 8));
    process.assert_balance();
}

#[test]
fn a_gate_that_is_off_counts_nothing_and_remembers_what_was_sent() {
    let told = Told::new("x", Answer::Ok);
    let mut process = process(vec![told.clone()]);
    let raise = |process: &mut Process, seq: u64| process.gate.raise(&draft(1), &frame("gate", seq)).is_some();
    assert!(raise(&mut process, 0));
    process.gate.set_plan(&AlertPlan { enabled: false, ..plan() });
    let before = process.totals();
    assert!(!raise(&mut process, 1));
    process.gate.set_plan(&plan());
    assert_eq!(process.totals().raised, before.raised);
    assert!(!raise(&mut process, 2), "a duplicate of the one before it was off");
    process.gate.set_plan(&AlertPlan { throttle: Duration::ZERO, ..plan() });
    assert!(raise(&mut process, 3));
    assert_eq!((process.drain(), told.got()), (0, vec![0, 3]));
    process.assert_balance();
}

/// Passes on what its receiver asks: here, that each alert is acknowledged.
#[derive(Default)]
struct Asks(Mutex<Option<Commands>>);

impl Asks {
    fn send(&self, command: Command) -> Result<(), CommandRefused> {
        self.0.lock().unwrap().clone().expect("attached before anything else").send(command)
    }
}

impl Handler for Asks {
    fn name(&self) -> &str {
        "asks"
    }

    fn attach(&self, commands: Commands) {
        *self.0.lock().unwrap() = Some(commands);
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        self.send(Command::Ack { alert: alert.id.clone() }).unwrap();
        Box::pin(async { Ok(()) })
    }
}

#[test]
fn a_handler_sends_commands_back_and_what_is_refused_is_counted() {
    let asks = Arc::new(Asks::default());
    let mut process = process(vec![asks.clone()]);
    let alert = process.raise(1).unwrap();
    assert_eq!(process.drain(), 0);
    let commands = process.delivery.commands();
    let ack = Commanded { handler: "asks".into(), command: Command::Ack { alert: alert.id.clone() } };
    assert_eq!(commands.try_recv(), Ok(ack));

    let custom = || Command::Custom("snooze".into(), serde_json::json!({ "minutes": 5 }));
    (0..COMMANDS_MAX).for_each(|_| asks.send(custom()).unwrap());
    assert_eq!(asks.send(custom()), Err(CommandRefused::Full));
    let huge = Command::Custom("x".into(), "y".repeat(COMMAND_BYTES_MAX).into());
    assert_eq!(asks.send(huge), Err(CommandRefused::TooLarge));
    assert_eq!(commands.try_iter().filter(|got| got.command == custom()).count(), COMMANDS_MAX);

    let successor = Arc::new(Asks::default());
    process.delivery.replace(successor.clone()).unwrap();
    assert_eq!((asks.send(custom()), successor.send(custom())), (Err(CommandRefused::Closed), Ok(())));
    process.delivery.remove("asks", LIMIT);
    assert_eq!(successor.send(custom()), Err(CommandRefused::Closed));
    let counted = |outcome| process.metric(&format!("dsengine_alert_commands_total{{outcome=\"{outcome}\"}}"));
    let outcomes = ["taken", "queue_full", "too_large", "closed"].map(counted);
    assert_eq!(outcomes, [Some(COMMANDS_MAX as f64 + 2.0), Some(1.0), Some(1.0), Some(2.0)]);
}

#[test]
fn every_alert_is_in_one_place_whatever_comes_and_goes_and_fails() {
    for seed in 0..12 {
        fastrand::seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::<Faults>::default();
        let open = || Box::new(JsonLines::open(&folder.path().join("j"), faults.clone()).unwrap()) as Box<dyn Journal>;
        let names = ["a", "b", "c"];
        let small = AlertPlan { outbox_max: 30, attempts: 2, ..plan() };
        // Three processes, one after the other, each of which leaves something.
        for life in 0..3u64 {
            let moody = |name| Told::new(name, [Answer::Ok, Answer::Never, Answer::Later][fastrand::usize(..3)]);
            let handlers: Vec<Arc<dyn Handler>> = vec![moody("a"), Told::new("b", Answer::Hang)];
            let journal = if seed % 3 == 0 { Box::new(NoJournal) } else { open() };
            let mut process = Process::start(journal, handlers, &small);
            for step in 0..400 {
                match fastrand::u32(..100) {
                    0..4 => drop(process.delivery.add(moody(names[fastrand::usize(..3)]))),
                    4..8 => drop(process.delivery.remove(names[fastrand::usize(..3)], Duration::ZERO)),
                    8..12 => drop(process.delivery.replace(moody(names[fastrand::usize(..3)]))),
                    12..15 => faults.failing.store(1, Ordering::Relaxed),
                    // Keys that come again are duplicates.
                    _ => drop(process.gate.raise(&draft(fastrand::u64(..300)), &frame("gate", life * 1_000 + step))),
                }
            }
            for name in names {
                let _ = process.delivery.replace(Told::new(name, Answer::Ok));
            }
            if process.delivery.outbox().standing("b").is_some() && fastrand::bool() {
                process.delivery.remove("b", Duration::from_millis(5));
            }
            until("all is written", || process.delivery.outbox().unwritten() == 0);
            until("what is not settled is in a queue", || {
                let totals = process.totals();
                totals.raised == totals.accepted + totals.suppressed + totals.refused
            });
            process.runtime.block_on(process.delivery.drain(Duration::from_millis(50)));
            process.assert_balance();
            let totals = process.totals();
            assert!(totals.suppressed > 0 && totals.delivered + totals.failed() > 0, "seed {seed}: {totals:?}");
            assert_eq!(process.shown().len() as u64, totals.accepted, "each is shown once");
        }
    }
}
