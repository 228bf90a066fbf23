//! A camera that comes back with other pictures: zones, tracks and the policy of alerts go on.

use super::events::{Told, What};
use super::rig::{Engine, LIMIT};
use crate::harness::write;
use crate::sources::Camera;

const SEES: &str = "function detect(frame)
  frame:add{ label = 'post', confidence = 0.9, bbox = { x = 0.6, y = 0.5, width = 0.1, height = 0.3 } }
end
";
/// The post stands in `right`, whose corners are shares of the picture; the ball moves somewhere in `all`.
const JUDGES: &str = "function detect(frame)
  for i in frame:select{ label = 'post', zone = 'right' } do
    frame:alert{ rule = 'right', key = 'post', message = 'm', detections = { i } }
  end
  for i in frame:select{ label = 'post', zone = 'left' } do
    frame:alert{ rule = 'left', key = 'post', message = 'm', detections = { i } }
  end
  if #frame:select{ label = 'motion', zone = 'all' } > 0 then
    frame:alert{ rule = 'moves', key = 'ball', message = 'm' }
  end
end
";
const REST: &str = "zones:
  all: [[0, 0], [1, 0], [1, 1], [0, 1]]
  right: [[0.5, 0.7], [0.9, 0.7], [0.9, 0.95], [0.5, 0.95]]
  left: [[0.1, 0.7], [0.45, 0.7], [0.45, 0.95], [0.1, 0.95]]
detection:
  strategies:
    - { name: motion }
    - { name: sees, module: sees.lua }
    - { name: judges, module: judges.lua }
alerts: { min_confidence: 0, throttle_seconds: 3600, burst_threshold: 0, max_alerts_per_minute: 0 }";

#[test]
fn zones_and_policy_hold_through_a_change_of_size_and_of_codec() {
    const TEST: &str = "matrix::changes::zones_and_policy_hold";
    let args = ["--fps", "10", "--key-frames", "10"];
    let resized = [&args[..], &["--resize", "480x368", "--after", "40"]].concat();
    let Some(mut camera) = Camera::start(TEST, 0, &resized) else { return };
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "sees.lua", SEES);
    write(dir.path(), "judges.lua", JUDGES);
    let port = camera.port;
    let sources = format!("  - {{ id: cam, uri: 'rtsp://127.0.0.1:{port}/cam', retry_delay: 0.1 }}\n");
    let engine = Engine::start_with(dir, &sources, REST, &[]);
    let frames = |from: usize, count: usize| {
        let mut at = from;
        for _ in 0..count {
            at = 1 + engine.events.wait(at, LIMIT, Told::is_frame).expect("frames go on").0;
        }
        at
    };
    let at = frames(0, 80);
    let in_stream = engine.events.of_source("cam", 0).iter().filter(|told| told.is_loss()).count();
    assert_eq!(in_stream, 0, "another size is no failure");
    camera.kill();
    let (lost, _) = engine.events.wait(at, LIMIT, Told::is_loss).expect("it is noticed");
    camera = Camera::start(TEST, port, &[&args[..], &["--codec", "vp8", "--size", "640x480"]].concat()).unwrap();
    let (back, _) = engine.events.wait(lost, LIMIT, Told::is_running).expect("it is back");
    frames(back, 60);
    drop(camera);
    let told = engine.events.of_source("cam", 0);
    let alert = |what: &What| match what {
        What::Alert(rule, key) => Some(format!("{rule} {key}")),
        _ => None,
    };
    let mut alerts: Vec<String> = told.iter().filter_map(|told| alert(&told.what)).collect();
    alerts.sort();
    assert_eq!(alerts, ["moves ball", "right post"], "what lasts is raised once, and nothing stands on the left");
    // What moves is found at each of the three sizes.
    let moves = |told: &Told| matches!(&told.what, What::Frame(labels) if labels.iter().any(|label| label == "motion"));
    let seen: Vec<bool> = told.iter().filter(|told| told.is_frame()).map(moves).collect();
    let frames = [&seen[..40], &seen[45..80], &seen[seen.len() - 40..]];
    assert!(frames.iter().all(|frames| frames.iter().any(|moves| *moves)), "{seen:?}");
    engine.end_without_a_secret();
}
