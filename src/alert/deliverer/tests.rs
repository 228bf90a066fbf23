//! Replacements during a delivery, and the pause after refused logins.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::super::check::alert;
use super::super::command::CommandQueue;
use super::super::{Acceptance, BoxFuture, Pictures};
use super::*;
use crate::alert::policy::tests::plan;
use crate::config::AlertPlan;
use crate::telemetry::Metrics;
use crate::types::TestClock;

/// Wall time that no test reaches.
const LIMIT: Duration = Duration::from_secs(20);

/// Answers every delivery alike, and counts them.
struct Fixed(Option<Retry>, Arc<AtomicUsize>);

impl Handler for Fixed {
    fn name(&self) -> &str {
        "hook"
    }

    fn deliver<'a>(&'a self, _: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let failed = |retry| Err(DeliveryError { message: "refused".into(), retry });
        Box::pin(std::future::ready(self.0.map_or(Ok(()), failed)))
    }
}

/// A clock that replaces the handler when it is read for the n-th time.
struct Replacing {
    reads: AtomicU64,
    at: AtomicU64,
    slot: Mutex<Weak<Slot>>,
    commands: Commands,
}

impl Clock for Replacing {
    fn monotonic_ns(&self) -> u64 {
        if self.reads.fetch_add(1, Ordering::SeqCst) + 1 == self.at.load(Ordering::SeqCst)
            && let Some(slot) = self.slot.lock().upgrade()
        {
            slot.replace(Arc::new(Fixed(None, Arc::default())), self.commands.clone());
        }
        0
    }

    fn unix_ns(&self) -> u64 {
        0
    }
}

/// A handler that fails with `retry`, its task, and a clock to replace it with.
fn deliverer(retry: Retry) -> (Deliverer, Arc<Replacing>, Arc<AtomicUsize>) {
    let name: Arc<str> = "hook".into();
    let plan = AlertPlan {
        attempts: 5,
        retry_delay: Duration::from_secs(3_600),
        max_retry_delay: Duration::from_secs(3_600),
        outbox_max: 100,
        ..plan()
    };
    let metrics = Metrics::new(Arc::new(TestClock::default()));
    let commands = CommandQueue::new(metrics.clone(), Pictures::default()).of(&name);
    let outbox = Outbox::new(&plan, metrics, Arc::new(|_| {}), None);
    let standing = outbox.add(&name, &crate::config::AlertFilter::default()).unwrap();
    let count = Arc::<AtomicUsize>::default();
    let slot = Slot::new(Arc::new(Fixed(Some(retry), count.clone())), commands.clone());
    let clock = Arc::new(Replacing {
        reads: AtomicU64::new(0),
        at: AtomicU64::new(u64::MAX),
        slot: Mutex::new(Arc::downgrade(&slot)),
        commands,
    });
    let retries = Arc::new(ArcSwap::from_pointee(Retries::of(&plan)));
    (Deliverer { name, slot, outbox, standing, retries, clock: clock.clone() }, clock, count)
}

/// Accepts alerts and runs the task until they are settled.
async fn settled(deliverer: Deliverer, alerts: u64) -> bool {
    let outbox = deliverer.outbox.clone();
    assert!((1..=alerts).all(|n| outbox.accept(alert(n, "m"), None, false) == Acceptance::Taken));
    let task = tokio::spawn(deliverer.run());
    let settled = time::timeout(LIMIT, outbox.settled()).await.is_ok();
    task.abort();
    settled
}

#[tokio::test]
async fn a_replacement_at_any_moment_of_a_failed_attempt_ends_the_pause_after_it() {
    // The clock is read before the attempt, at its start, and when it has failed.
    for at in 1..=3 {
        let (deliverer, clock, count) = deliverer(Retry::Later);
        let outbox = deliverer.outbox.clone();
        clock.at.store(at, Ordering::SeqCst);
        assert!(settled(deliverer, 1).await, "replaced at reading {at}");
        assert_eq!((outbox.totals().delivered, count.load(Ordering::SeqCst)), (1, 1));
    }
}

/// As a script's handler: its next version replaces it within.
struct Mended(AtomicBool);

impl Handler for Mended {
    fn name(&self) -> &str {
        "hook"
    }

    fn deliver<'a>(&'a self, _: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let failed = || DeliveryError { message: "away".into(), retry: Retry::Later };
        Box::pin(std::future::ready(self.0.load(Ordering::SeqCst).then_some(()).ok_or_else(failed)))
    }
}

#[tokio::test]
async fn a_version_that_replaces_another_within_its_handler_ends_the_pause() {
    let (deliverer, ..) = deliverer(Retry::Later);
    let (standing, outbox) = (deliverer.standing.clone(), deliverer.outbox.clone());
    let handler = Arc::new(Mended(AtomicBool::new(false)));
    deliverer.slot.replace(handler.clone(), deliverer.slot.current.load().commands.clone());
    assert_eq!(outbox.accept(alert(1, "m"), None, false), Acceptance::Taken);
    let task = tokio::spawn(deliverer.run());
    let failed = async {
        while standing.trouble(0).is_none() {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(LIMIT, failed).await.unwrap();
    handler.0.store(true, Ordering::SeqCst);
    standing.renew();
    time::timeout(LIMIT, outbox.settled()).await.unwrap();
    task.abort();
    assert_eq!(outbox.totals().delivered, 1);
}

#[tokio::test]
async fn refused_logins_pause_the_handler_until_it_is_replaced() {
    let (deliverer, _, count) = deliverer(Retry::Login);
    let (slot, standing) = (deliverer.slot.clone(), deliverer.standing.clone());
    let (outbox, commands) = (deliverer.outbox.clone(), slot.current.load().commands.clone());
    assert!((1..=4).all(|n| outbox.accept(alert(n, "m"), None, false) == Acceptance::Taken));
    let task = tokio::spawn(deliverer.run());
    let three = async {
        while standing.given_up() < 3 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(LIMIT, three).await.unwrap();
    let error = standing.trouble(0).unwrap().error;
    assert!(error.contains("one alert every 300 s"), "{error}");
    // The fourth waits; the replacement ends that.
    slot.replace(Arc::new(Fixed(None, Arc::default())), commands);
    time::timeout(LIMIT, outbox.settled()).await.unwrap();
    task.abort();
    let totals = outbox.totals();
    assert_eq!((totals.dead_lettered, totals.delivered), (3, 1));
    assert_eq!(count.load(Ordering::SeqCst), 3, "the refused login was not tried again");
}

#[tokio::test]
async fn an_alert_that_was_accepted_too_long_ago_expires_untried() {
    let (deliverer, _, count) = deliverer(Retry::Later);
    deliverer.slot.set_max_age(Some(Duration::from_secs(5)));
    let outbox = deliverer.outbox.clone();
    // They were accepted at second 0.
    let deliverer = Deliverer { clock: Arc::new(TestClock::at(6_000_000_000)), ..deliverer };
    assert!(settled(deliverer, 2).await);
    assert_eq!((outbox.totals().expired, count.load(Ordering::SeqCst)), (2, 0));
}

#[tokio::test]
async fn an_alert_that_is_of_no_use_any_more_is_not_tried() {
    let (deliverer, _, count) = deliverer(Retry::Later);
    let outbox = deliverer.outbox.clone();
    let of_use = |n, seconds| Arc::new(Alert { expires_seconds: Some(seconds), ..(*alert(n, "m")).clone() });
    // The second one is of use for longer.
    assert_eq!(outbox.accept(of_use(1, 5), None, false), Acceptance::Taken);
    assert_eq!(outbox.accept(of_use(2, 7), None, false), Acceptance::Taken);
    deliverer.slot.replace(Arc::new(Fixed(None, count.clone())), deliverer.slot.current.load().commands.clone());
    // They were accepted at second 0.
    let deliverer = Deliverer { clock: Arc::new(TestClock::at(6_000_000_000)), ..deliverer };
    assert!(settled(deliverer, 0).await);
    let totals = outbox.totals();
    assert_eq!((totals.expired, totals.delivered, count.load(Ordering::SeqCst)), (1, 1, 1));
}

#[test]
fn an_error_of_a_stuck_handler_says_whether_to_check_the_script_or_the_receiver() {
    let retries = Retries {
        attempts: 1,
        delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(1),
        max_age: Duration::from_secs(60),
        hurried: false,
    };
    let mut courier = Courier::default();
    let now = Now { monotonic_ns: 0, unix_ns: 0 };
    for number in 0..REFUSED_MAX as u64 {
        courier.failed(number, Retry::Never, 1, now, &retries, 0.5);
    }
    let error = |retry| DeliveryError { message: "x.lua:2: attempt to index nil".into(), retry };
    let of_script = described(&error(Retry::Fault), &courier, &retries);
    assert!(of_script.contains("check its script") && !of_script.contains("receiver"), "{of_script}");
    let of_receiver = described(&error(Retry::Never), &courier, &retries);
    assert!(of_receiver.contains("check the address and what the receiver takes"), "{of_receiver}");
}
