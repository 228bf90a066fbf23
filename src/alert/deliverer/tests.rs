//! Replacements during a delivery, and the pause after refused logins.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::super::BoxFuture;
use super::super::Pictures;
use super::super::check::alert;
use super::super::command::CommandQueue;
use super::*;
use crate::telemetry::Metrics;
use crate::types::Level;

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
        enabled: true,
        throttle: Duration::ZERO,
        burst_threshold: 0,
        burst_window: Duration::from_secs(10),
        max_per_minute: 0,
        max_critical_per_minute: 0,
        repeat: Duration::ZERO,
        min_confidence: 0.0,
        default_level: Level::Medium,
        attempts: 5,
        retry_delay: Duration::from_secs(3_600),
        outbox_max: 100,
        quiet_hours: Vec::new(),
    };
    struct Still;
    impl Clock for Still {
        fn monotonic_ns(&self) -> u64 {
            0
        }

        fn unix_ns(&self) -> u64 {
            0
        }
    }
    let metrics = Metrics::new(Arc::new(Still));
    let commands = CommandQueue::new(metrics.clone(), Pictures::default()).of(&name);
    let outbox = Outbox::new(&plan, metrics, Arc::new(|_| {}), None);
    let receiver = outbox.add(&name, &crate::config::AlertFilter::default()).unwrap();
    let count = Arc::<AtomicUsize>::default();
    let slot = Slot::new(Arc::new(Fixed(Some(retry), count.clone())), commands.clone());
    let clock = Arc::new(Replacing {
        reads: AtomicU64::new(0),
        at: AtomicU64::new(u64::MAX),
        slot: Mutex::new(Arc::downgrade(&slot)),
        commands,
    });
    let retries = Arc::new(ArcSwap::from_pointee(Retries::of(&plan)));
    (Deliverer { name, slot, outbox, receiver, retries, clock: clock.clone() }, clock, count)
}

#[tokio::test]
async fn a_replacement_at_any_moment_of_a_failed_attempt_ends_the_pause_after_it() {
    // The clock is read before the attempt, at its start, and when it has failed.
    for at in 1..=3 {
        let (deliverer, clock, count) = deliverer(Retry::Later);
        clock.at.store(at, Ordering::SeqCst);
        let mut logins = Logins::default();
        let settled = time::timeout(LIMIT, deliverer.deliver(&alert(1, "m"), &mut logins)).await;
        assert!(matches!(settled, Ok(Settlement::Delivered)), "replaced at reading {at}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn refused_logins_pause_the_handler_until_it_is_replaced() {
    let (deliverer, clock, count) = deliverer(Retry::Login);
    let mut logins = Logins::default();
    for number in 1..=3 {
        let settled = deliverer.deliver(&alert(number, "m"), &mut logins).await;
        assert!(matches!(settled, Settlement::GivenUp), "{number}");
        let error = deliverer.receiver.standing.trouble(0).unwrap().error;
        assert_eq!(error.contains("one alert every 300 s"), number == 3, "{error}");
    }
    // The fourth waits; the replacement ends that.
    clock.at.store(clock.reads.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
    let settled = time::timeout(LIMIT, deliverer.deliver(&alert(4, "m"), &mut logins)).await;
    assert!(matches!(settled, Ok(Settlement::Delivered)));
    assert_eq!(count.load(Ordering::SeqCst), 3, "the refused login was not tried again");
}

#[test]
fn the_pause_after_refused_logins_lasts_five_minutes_from_the_last_one() {
    let second = 1_000_000_000;
    let mut logins = Logins { refused: 2, number: 7, last_ns: 10 * second };
    assert_eq!(logins.pause(7, 11 * second), None);
    logins.refused = 3;
    assert_eq!(logins.pause(7, 11 * second), Some(Duration::from_secs(299)));
    assert_eq!(logins.pause(7, 310 * second), None, "one more try");
    assert!(logins.rests());
    assert_eq!((logins.pause(8, 11 * second), logins.rests()), (None, false), "another version");
}
