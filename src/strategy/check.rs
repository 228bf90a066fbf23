//! The conformance check for strategies, for embedders' tests.

use super::{Fault, Strategy, Verdict, View, apply};
use crate::guest::BreakerState;
use crate::track::{Tracker, Tracks};
use crate::types::{BBox, Colorimetry, Detection, Frame, Matrix, Picture, Point, Polygon, Range, Zone};

const FRAME_NS: u64 = 40_000_000;
/// Number of frames: enough for strategies that wait for some.
const FRAMES: u64 = 12;

/// The zones of the check's source `cam`: `door`, the picture's right half.
pub fn zones() -> Vec<Zone> {
    let corners = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)].map(|(x, y)| Point { x, y });
    let polygon = Polygon::new(corners.to_vec());
    polygon.into_iter().map(|polygon| Zone { name: "door".into(), polygon }).collect()
}

/// The frames of the check, from source `cam`, each with its tracks: first empty ones, then three walking persons, with
/// pixels in which something moves, and a gap in the sequence numbers.
pub fn frames() -> Vec<(Frame, Tracks)> {
    let (mut tracker, mut tracks) = (Tracker::default(), Tracks::default());
    let zones = zones();
    let mut shown = |n: u64| {
        let mut frame = frame(n);
        tracker.update(frame.pts_ns, &mut frame.detections);
        tracks.observe(&frame, &zones);
        (frame, tracks.clone())
    };
    (0..FRAMES).map(&mut shown).collect()
}

fn frame(n: u64) -> Frame {
    let seq = if n < FRAMES / 2 { n } else { n + 100 };
    let walked = n as f32 * 0.005;
    let person = |x: f32| Detection::new("person", 0, 0.9, BBox { x: x + walked, y: 0.3, width: 0.1, height: 0.2 });
    let detections = if n < 2 { Vec::new() } else { [0.1, 0.6, 0.8].map(person).to_vec() };
    let luma = (0..64 * 64).map(|at| if at / 64 == n as usize * 4 { 250 } else { 30 }).collect();
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let picture = Picture::from_i420(64, 64, colorimetry, [luma, vec![128; 32 * 32], vec![128; 32 * 32]]);
    Frame { pts_ns: seq * FRAME_NS, width: 64, height: 64, detections, picture, ..Frame::empty("cam", seq) }
}

/// Lets a strategy judge one of [`frames`].
///
/// # Errors
/// The strategy's own fault.
pub fn judge(strategy: &mut dyn Strategy, (frame, tracks): &(Frame, Tracks)) -> Result<Verdict, Fault> {
    strategy.judge(&View { frame, tracks, zones: &zones() })
}

/// Checks a strategy. `make` builds a fresh instance for the source `cam`, without state from earlier ones.
///
/// ```
/// use dsengine::strategy::{self, Fault, Strategy, Verdict, View};
///
/// struct Quiet;
///
/// impl Strategy for Quiet {
///     fn name(&self) -> &str {
///         "quiet"
///     }
///     fn judge(&mut self, _view: &View<'_>) -> Result<Verdict, Fault> {
///         Ok(Verdict::default())
///     }
/// }
///
/// strategy::check::check_strategy(|| Box::new(Quiet)).unwrap();
/// ```
///
/// # Errors
/// The rule that it breaks, as a sentence.
pub fn check_strategy(make: impl Fn() -> Box<dyn Strategy>) -> Result<(), String> {
    let (one, other) = (make(), make());
    rule(!one.name().is_empty() && !one.version().is_empty(), || "its name or its version is empty".to_owned())?;
    let same = (one.name(), one.version()) == (other.name(), other.version());
    rule(same, || "its name or its version differs from instance to instance".to_owned())?;
    let frames = frames();
    let expected = verdicts(one, other, &frames)?;
    let bare = Frame { picture: None, detections: Vec::new(), ..frames[0].0.clone() };
    let quiet = judge(&mut *make(), &(bare, Tracks::default())).map_err(|fault| format!("a bare frame: {fault}"))?;
    rule(quiet == Verdict::default(), || "it says something of a frame with nothing in it".to_owned())?;
    succession(make(), make(), &frames, &expected)
}

/// Verdicts must be valid and depend only on the frames shown; an empty frame yields an empty verdict.
fn verdicts(
    mut one: Box<dyn Strategy>,
    mut other: Box<dyn Strategy>,
    frames: &[(Frame, Tracks)],
) -> Result<Vec<Verdict>, String> {
    let mut expected = Vec::new();
    for shown in frames {
        let seq = shown.0.seq;
        let context = |fault: Fault| format!("frame {seq}: {fault}");
        let verdict = judge(&mut *one, shown).map_err(context)?;
        let twin = judge(&mut *other, shown).map_err(context)?;
        rule(verdict == twin, || format!("frame {seq}: two instances that were shown the same differ"))?;
        apply(verdict.clone(), true, &mut shown.0.detections.clone()).map_err(context)?;
        expected.push(verdict);
    }
    rule(expected[0] == Verdict::default(), || "it does not leave an empty frame as it is".to_owned())?;
    if let Some(health) = one.health() {
        let counted = (health.calls, health.skipped, health.faults.iter().sum::<u64>()) == (FRAMES, 0, 0);
        rule(counted, || format!("{FRAMES} frames without a fault are counted as {health:?}"))?;
        let well = health.breaker == BreakerState::Closed && !health.disabled && health.last_fault.is_none();
        rule(well, || format!("it is not well after frames without a fault: {health:?}"))?;
    }
    Ok(expected)
}

/// A successor must continue from its predecessor's state.
fn succession(
    mut first: Box<dyn Strategy>,
    mut second: Box<dyn Strategy>,
    frames: &[(Frame, Tracks)],
    expected: &[Verdict],
) -> Result<(), String> {
    let half = frames.len() / 2;
    let context = |fault: Fault| format!("succession: {fault}");
    for (shown, expected) in frames[..half].iter().zip(expected) {
        let same = judge(&mut *first, shown).map_err(context)? == *expected;
        rule(same, || format!("frame {}: an instance differs from a former one", shown.0.seq))?;
    }
    let handed = first.suspend().map_err(context)?;
    second.resume(first.version(), &handed).map_err(context)?;
    let again = second.suspend().map_err(context)?;
    rule(again == handed, || "it does not hand over what it was handed".to_owned())?;
    // A strategy that learns only from pixels hands nothing over and learns again.
    if handed.is_empty() {
        return Ok(());
    }
    for (shown, expected) in frames[half..].iter().zip(&expected[half..]) {
        let same = judge(&mut *second, shown).map_err(context)? == *expected;
        rule(same, || format!("frame {}: a successor does not go on where its predecessor was", shown.0.seq))?;
    }
    Ok(())
}

/// Fails the check unless `kept`.
fn rule(kept: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if kept { Ok(()) } else { Err(what()) }
}
