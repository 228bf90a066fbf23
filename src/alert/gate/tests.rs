//! Gates of sources that fall silent, and of those that are built anew.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::alert::policy::tests::{draft, frame, plan};
use crate::types::TestClock;

const SECOND: u64 = 1_000_000_000;

/// An outbox, and the number of alerts that it has accepted.
fn counting(plan: &AlertPlan, clock: &Arc<TestClock>) -> (Arc<Outbox>, Arc<Metrics>, Arc<AtomicU64>) {
    let metrics = Metrics::new(clock.clone());
    let accepted = Arc::new(AtomicU64::new(0));
    let counted = accepted.clone();
    let on_accepted = Arc::new(move |_: &Arc<Alert>| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (Outbox::new(plan, metrics.clone(), on_accepted, None), metrics, accepted)
}

#[test]
fn the_next_gate_of_a_live_source_goes_on_where_the_last_one_was_until_the_source_is_removed() {
    let plan = AlertPlan { burst_threshold: 1, max_per_minute: 0, ..plan() };
    let (outbox, metrics, accepted) = counting(&plan, &Arc::default());
    let gate = |id: &str, order| {
        let gate = Gate::new(&plan, &id.into(), &outbox, &metrics).joined(order);
        if order == Order::Arrival { gate.remembering() } else { gate }
    };
    let told = || accepted.swap(0, Ordering::Relaxed);
    // Frame time begins anew with each; ten seconds pass. The second key is over the limit, and told in a digest.
    for (id, order, again) in [("gate", Order::Arrival, 0), ("clip", Order::Frame, 2)] {
        let mut first = gate(id, order);
        // Built before the first one ends; finite sources would wait for each other.
        let built = (order == Order::Arrival).then(|| gate(id, order));
        for key in ["1", "2"] {
            first.raise(&draft("r", key), &Frame { captured_unix_ns: 100 * SECOND, ..frame(id, 0, 50.0) });
        }
        drop(first);
        assert_eq!(told(), 2, "one, and a digest at the end");
        let mut second = built.unwrap_or_else(|| gate(id, order));
        for key in ["1", "2"] {
            second.raise(&draft("r", key), &Frame { captured_unix_ns: 110 * SECOND, ..frame(id, 0, 0.0) });
        }
        // One that never gets a frame takes nothing away.
        drop(gate(id, order));
        drop(second);
        assert_eq!(told(), again, "{id}");
        outbox.forget_conditions(&id.into());
        let mut other = gate(id, order);
        other.raise(&draft("r", "1"), &Frame { captured_unix_ns: 120 * SECOND, ..frame(id, 0, 0.0) });
        assert_eq!(told(), 1, "another source of the same name");
        drop(other);
    }
}

#[test]
fn the_burst_of_a_live_source_that_falls_silent_is_told_in_time() {
    let plan = AlertPlan { burst_threshold: 1, ..plan() };
    for (order, told) in [(Order::Arrival, 2), (Order::Frame, 1)] {
        let clock = Arc::<TestClock>::default();
        let (outbox, metrics, accepted) = counting(&plan, &clock);
        clock.pass(100 * SECOND);
        let mut gate = Gate::new(&plan, &"gate".into(), &outbox, &metrics).joined(order);
        assert_eq!(gate.idle_wait(), None, "nothing is held back");
        for key in ["1", "2", "3"] {
            gate.raise(&draft("r", key), &frame("gate", 0, 5.0));
        }
        assert_eq!(gate.idle_wait().is_some(), order == Order::Arrival);
        clock.pass(9 * SECOND);
        gate.idle();
        assert_eq!(accepted.load(Ordering::Relaxed), 1, "not yet");
        if order == Order::Arrival {
            assert_eq!(gate.idle_wait(), Some(Duration::from_secs(1)));
            clock.pass(SECOND);
            gate.idle();
        }
        assert_eq!(accepted.load(Ordering::Relaxed), told, "{order:?}");
        drop(gate);
        assert_eq!(accepted.load(Ordering::Relaxed), 2, "told at the end at the latest");
    }
}
