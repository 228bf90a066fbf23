//! Gates of sources that fall silent, and of those that are built anew.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::alert::policy::tests::{draft, frame, plan};
use crate::alert::{Pictures, Which};
use crate::config::PicturesPlan;
use crate::types::{BBox, Detection, Picture, TestClock};

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

/// What becomes of alerts of these scores, each of another frame: the accepted ones, and their pictures in `folder`.
fn pictured(
    plan: &AlertPlan,
    enabled: bool,
    folder: &Path,
    scores: &[f32],
) -> (Vec<Arc<Alert>>, Pictures, Arc<Metrics>) {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::default();
    let metrics = Metrics::new(clock.clone());
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let list = accepted.clone();
    let on_accepted = Arc::new(move |alert: &Arc<Alert>| list.lock().push(alert.clone()));
    let outbox = Outbox::new(plan, metrics.clone(), on_accepted, None);
    let keep = Duration::from_secs(86_400);
    let pictures = PicturesPlan { enabled, keep, bytes_max: 1_000_000, quality: 80, max_width: 64, clean: true };
    let thread = outbox.pictures.open(folder.to_owned(), &pictures, &metrics, &clock).unwrap();
    let mut gate = Gate::new(plan, &"gate".into(), &outbox, &metrics).joined(Order::Arrival);
    for (seq, score) in (0..).zip(scores) {
        let bbox = BBox { x: 0.1, y: 0.1, width: 0.1, height: 0.2 };
        let detections = vec![Detection::new("person", 0, *score, bbox)];
        let frame = Frame { picture: Some(picture(seq)), ..frame("gate", seq, seq as f64 / 10.0) };
        gate.begin(&frame);
        gate.raise(&Raised { detections, ..draft("r", &seq.to_string()) }, &frame);
        gate.judged(&frame);
    }
    // What is held back is sent, then what waits is written.
    drop(gate);
    let pictures = outbox.pictures.clone();
    drop(thread);
    let accepted = accepted.lock().clone();
    (accepted, pictures, metrics)
}

/// The picture of a frame: every one is of another colour.
fn picture(seq: u64) -> Picture {
    Picture::from_rgb(16, 8, vec![20 * seq as u8; 384]).unwrap()
}

#[test]
fn a_digest_has_the_picture_of_its_best_alert_whichever_limit_held_it_back() {
    // One is sent. Of the others the fourth is the best by the margin.
    let scores = [0.6, 0.6, 0.55, 0.9, 0.92, 0.7];
    for (burst, per_minute) in [(1, 0), (0, 1), (1, 1)] {
        let what = format!("burst {burst}, per minute {per_minute}");
        let folder = tempfile::tempdir().unwrap();
        let plan = AlertPlan { burst_threshold: burst, max_per_minute: per_minute, ..plan() };
        let (accepted, pictures, metrics) = pictured(&plan, true, folder.path(), &scores);
        let [sent, digest] = accepted.as_slice() else { panic!("{what}: {accepted:?}") };
        let held = digest.digest.as_ref().unwrap();
        assert_eq!((held.count, digest.detections[0].confidence), (5, 0.9), "{what}");
        assert!(sent.picture && digest.picture, "{what}");
        for (alert, seq) in [(sent, 0), (digest, 3)] {
            let jpeg = crate::vision::jpeg::encode(&picture(seq), 64, 80).unwrap();
            // Behind its head, which names the source.
            assert!(pictures.of(alert, Which::Clean).unwrap().ends_with(&jpeg[20..]), "{what}: that of frame {seq}");
            assert!(pictures.of(alert, Which::Annotated).is_some(), "{what}");
        }
        assert!(held.ids.iter().all(|id| pictures.find(id, Which::Annotated).is_none()), "{what}: they have none");
        let page = metrics.render();
        let kept = page.lines().find_map(|line| line.strip_prefix("dsengine_alert_pictures_total{outcome=\"kept\"} "));
        // The one that was sent, the best one, and one that was the best before, if there was time.
        assert!(["2", "3"].contains(&kept.unwrap()), "{what}: {kept:?}");
    }
}

#[test]
fn a_digest_has_no_picture_where_none_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let plan = AlertPlan { burst_threshold: 1, ..plan() };
    let (accepted, ..) = pictured(&plan, false, folder.path(), &[0.6, 0.7, 0.9]);
    assert!(accepted.len() == 2 && accepted.iter().all(|alert| !alert.picture), "{accepted:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
