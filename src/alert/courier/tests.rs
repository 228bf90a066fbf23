//! Decisions at given times, and random days of a receiver.

use super::*;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;

fn retries() -> Retries {
    Retries {
        attempts: 3,
        delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(60),
        max_age: Duration::from_secs(86_400),
        hurried: false,
    }
}

fn at(seconds: u64) -> Now {
    let ns = seconds * SECOND;
    Now { monotonic_ns: ns, unix_ns: ns }
}

fn head(source: &str, is_ordinary: bool, number: u64) -> Head {
    let line = Line { is_ordinary, source: source.into() };
    Head { line, number, id: AlertId::new(number, [0; 10]), accepted_ns: 0 }
}

fn chosen(step: Step) -> Option<u64> {
    match step {
        Step::Deliver(head) => Some(head.number),
        _ => None,
    }
}

#[test]
fn the_oldest_is_tried_first_and_a_critical_one_before_all_others() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 4), head("b", true, 3), head("b", false, 7)];
    assert_eq!(chosen(courier.next(&heads, at(0), &retries())), Some(7));
    assert_eq!(chosen(courier.next(&heads[..2], at(0), &retries())), Some(3));
    assert_eq!(courier.next(&[], at(0), &retries()), Step::Idle);
}

#[test]
fn a_temporary_failure_pauses_the_handler_for_a_random_part_of_a_bound_that_doubles() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 1)];
    let mut now = at(0);
    for bound in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert_eq!(courier.failed(1, Retry::Later, 3, now, &retries(), 0.5), None, "never given up for it");
        let until_ns = now.monotonic_ns + bound * SECOND / 2;
        assert_eq!(courier.next(&heads, now, &retries()), Step::Wait(until_ns), "half of {bound} s");
        now.monotonic_ns = until_ns;
        assert_eq!(chosen(courier.next(&heads, now, &retries())), Some(1));
    }
    courier.succeeded(1, now);
    assert_eq!(courier.failed(2, Retry::Later, 3, now, &retries(), 1.0), None);
    let until_ns = now.monotonic_ns + SECOND;
    assert_eq!(
        courier.next(&[head("a", true, 2)], now, &retries()),
        Step::Wait(until_ns),
        "from the first bound again"
    );
}

#[test]
fn an_alert_expires_at_its_age_and_not_before() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 1)];
    courier.failed(1, Retry::Later, 3, at(86_399), &retries(), 1.0);
    let just_before = Now { unix_ns: 24 * HOUR - 1, ..at(86_399) };
    assert!(matches!(courier.next(&heads, just_before, &retries()), Step::Wait(_)));
    assert_eq!(courier.next(&heads, at(86_400), &retries()), Step::Expire(heads[0].clone()), "even in a pause");
    // One that was never tried, too: it waited behind another, or for a restart.
    assert_eq!(Courier::default().next(&heads, at(86_400), &retries()), Step::Expire(heads[0].clone()));
}

#[test]
fn an_answer_that_looks_permanent_concerns_its_alert_alone() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 1), head("b", true, 2)];
    assert_eq!(courier.failed(1, Retry::Never, 3, at(0), &retries(), 0.5), None);
    assert_eq!(chosen(courier.next(&heads, at(0), &retries())), Some(2), "the others go on");
    courier.succeeded(2, at(0));
    assert_eq!(courier.next(&heads[..1], at(0), &retries()), Step::Wait(SECOND));
    assert_eq!(courier.failed(1, Retry::Never, 3, at(1), &retries(), 0.5), None);
    assert_eq!(courier.failed(1, Retry::Never, 3, at(2), &retries(), 0.5), Some(Settlement::GivenUp));
}

#[test]
fn what_fails_while_others_get_through_is_not_tried_for_ever() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 1), head("b", true, 2)];
    let (mut now, mut others, mut gone) = (at(0), 0, None);
    for _ in 0..10_000 {
        match courier.next(&heads, now, &retries()) {
            Step::Deliver(head) if head.number == 1 => {
                gone = courier.failed(1, Retry::Later, 3, now, &retries(), 1.0);
                if gone.is_some() {
                    break;
                }
            }
            Step::Deliver(head) => {
                courier.succeeded(head.number, now);
                others += 1;
            }
            Step::Wait(until_ns) => now.monotonic_ns = until_ns,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone, Some(Settlement::GivenUp));
    assert!(others > 3, "{others}");
}

#[test]
fn a_requested_wait_is_kept_within_limits_and_counts_as_no_answer() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 1)];
    let mut now = at(0);
    for (asked, kept) in [(7, 7), (0, 1), (3_600, 300)] {
        let after = Retry::After(Duration::from_secs(asked));
        assert_eq!(courier.failed(1, after, 1, now, &retries(), 0.0), None);
        assert_eq!(courier.next(&heads, now, &retries()), Step::Wait(now.monotonic_ns + kept * SECOND));
        now.monotonic_ns += kept * SECOND;
    }
    // Where temporary failures count, the waits of one alert are bounded.
    let brief = Retries { max_age: Duration::ZERO, ..retries() };
    let mut courier = Courier::default();
    let patience =
        |courier: &mut Courier| courier.failed(1, Retry::After(Duration::from_secs(300)), 1, now, &brief, 0.0);
    assert_eq!([(); 4].map(|()| patience(&mut courier)), [None, None, None, Some(Settlement::GivenUp)]);
}

#[test]
fn without_an_age_temporary_failures_count_as_permanent_ones() {
    let brief = Retries { max_age: Duration::ZERO, ..retries() };
    let mut courier = Courier::default();
    let heads = [head("a", true, 1)];
    assert_eq!(chosen(courier.next(&heads, at(1_000_000), &brief)), Some(1), "it is tried at any age");
    assert_eq!(courier.failed(1, Retry::Later, 3, at(0), &brief, 0.1), None);
    assert_eq!(courier.next(&heads, at(0), &brief), Step::Wait(SECOND), "after the delay, not a part of it");
    assert_eq!(courier.failed(1, Retry::Later, 3, at(1), &brief, 0.1), None);
    assert_eq!(courier.failed(1, Retry::Later, 3, at(2), &brief, 0.1), Some(Settlement::GivenUp));
}

#[test]
fn refused_logins_pause_the_handler_for_five_minutes_until_it_is_renewed() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 4)];
    for number in 1..=3 {
        let refused = courier.failed(number, Retry::Login, 9, at(10), &retries(), 0.5);
        assert_eq!((refused, courier.rests()), (Some(Settlement::GivenUp), number == 3));
    }
    assert_eq!(courier.next(&heads, at(11), &retries()), Step::Wait(310 * SECOND));
    let hurried = Retries { hurried: true, ..retries() };
    assert_eq!(
        courier.next(&heads, at(11), &hurried),
        Step::Wait(310 * SECOND),
        "no account is locked at the end either"
    );
    assert_eq!(chosen(courier.next(&heads, at(310), &retries())), Some(4));
    courier.renew();
    assert_eq!(chosen(courier.next(&heads, at(11), &retries())), Some(4));
}

#[test]
fn the_end_of_the_process_ends_the_pauses_once_and_bounds_the_next_ones() {
    let mut courier = Courier::default();
    let heads = [head("a", true, 1), head("b", true, 2)];
    assert!((0..9).all(|_| courier.failed(1, Retry::Later, 3, at(0), &retries(), 1.0).is_none()));
    let hurried = Retries { hurried: true, ..retries() };
    assert_eq!(courier.next(&heads, at(0), &retries()), Step::Wait(60 * SECOND));
    assert_eq!(chosen(courier.next(&heads, at(0), &hurried)), Some(2));
    courier.failed(2, Retry::Later, 3, at(0), &hurried, 1.0);
    assert_eq!(courier.next(&heads, at(0), &hurried), Step::Wait(SECOND));
}

#[test]
fn after_an_outage_a_queue_is_drained_at_fifty_alerts_per_second() {
    let mut courier = Courier::default();
    assert!((0..2).all(|_| courier.failed(0, Retry::Later, 3, at(0), &retries(), 0.0).is_none()));
    let (mut now, mut number) = (at(100), 0);
    while number < 200 {
        match courier.next(&[head("a", true, number)], now, &retries()) {
            Step::Deliver(_) => {
                courier.succeeded(number, now);
                number += 1;
            }
            Step::Wait(until_ns) => now.monotonic_ns = until_ns,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(now.monotonic_ns, 100 * SECOND + 199 * SECOND / 50);
    assert_eq!(courier.next(&[], now, &retries()), Step::Idle);
    courier.succeeded(number, now);
    assert_eq!(chosen(courier.next(&[head("a", true, 900)], now, &retries())), Some(900), "at full speed again");
}

#[test]
fn a_receiver_that_refuses_everything_costs_a_few_alerts_and_not_the_whole_queue() {
    let mut courier = Courier::default();
    let retries = Retries { attempts: 1, ..retries() };
    let (mut now, mut gone, mut number, mut tries) = (at(0), Vec::new(), 0, 0);
    while tries < 50 {
        match courier.next(&[head("a", true, number)], now, &retries) {
            Step::Deliver(head) => {
                tries += 1;
                if courier.failed(head.number, Retry::Never, 1, now, &retries, 1.0).is_some() {
                    gone.push(head.number);
                    number += 1;
                }
            }
            Step::Wait(until_ns) => now.monotonic_ns = until_ns,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone, (0..REFUSED_MAX as u64 - 1).collect::<Vec<_>>());
    assert!(
        courier.is_stuck(Retry::Never, &retries) && now.monotonic_ns > 40 * 60 * SECOND,
        "{now:?}: with growing pauses"
    );
    // One that is taken ends it, and the others follow at once.
    courier.succeeded(number, now);
    assert!(!courier.is_stuck(Retry::Never, &retries));
    now.monotonic_ns += SECOND;
    assert_eq!(chosen(courier.next(&[head("a", true, number + 1)], now, &retries)), Some(number + 1));
    assert_eq!(
        courier.failed(number + 1, Retry::Never, 1, now, &retries, 1.0),
        Some(Settlement::GivenUp),
        "a lone one"
    );
}

#[test]
fn refused_alerts_with_a_success_between_are_at_fault_themselves() {
    let (mut courier, now) = (Courier::default(), at(0));
    for number in 0..100 {
        let how = courier.failed(2 * number, Retry::Never, 1, now, &retries(), 1.0);
        assert_eq!(how, Some(Settlement::GivenUp), "{number}");
        if number % 4 == 3 {
            courier.succeeded(2 * number + 1, now);
        }
    }
    // Where temporary failures count, too, nothing waits.
    let brief = Retries { max_age: Duration::ZERO, ..retries() };
    let mut courier = Courier::default();
    assert!((0..100).all(|number| courier.failed(number, Retry::Never, 1, now, &brief, 1.0).is_some()));
}

#[test]
fn mails_that_some_receivers_refuse_go_on() {
    let (mut courier, now) = (Courier::default(), at(0));
    for number in 0..100 {
        assert_eq!(courier.failed(number, Retry::Partly, 9, now, &retries(), 1.0), Some(Settlement::GivenUp));
        assert_eq!(chosen(courier.next(&[head("a", true, number + 1)], now, &retries())), Some(number + 1));
    }
}

#[test]
fn a_receiver_that_refuses_some_lines_is_tried_with_the_others() {
    let mut courier = Courier::default();
    let heads: Vec<Head> = (0..8).map(|number| head(&number.to_string(), true, number)).collect();
    let mut now = at(0);
    // A refused alert waits; the eighth is the only one that is taken.
    for _ in 0..1_000 {
        match courier.next(&heads, now, &retries()) {
            Step::Deliver(head) if head.number == 7 => return,
            Step::Deliver(head) => drop(courier.failed(head.number, Retry::Never, 3, now, &retries(), 1.0)),
            Step::Wait(until_ns) => now.monotonic_ns = until_ns,
            other => panic!("{other:?}"),
        }
    }
    panic!("it was never tried");
}
