//! The tracker on real people: vtest's ground-truth boxes as detections, identity as truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dsengine::track::Tracker;
use dsengine::types::{BBox, Detection};

/// vtest's frame rate and the ground truth's picture size.
const FRAME_NS: u64 = 100_000_000;
const SIZE: (f32, f32) = (768.0, 576.0);

/// Truth by frame: identity and box. `None` with a loud skip where it is absent.
fn truth(test: &str) -> Option<BTreeMap<u64, Vec<(u32, BBox)>>> {
    let root = std::env::var_os("DSENGINE_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let path = root.join("groundtruth/PETS09-S2L1/gt.txt");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("SKIP {test}: {} is not there (set DSENGINE_TESTDATA)", path.display());
        return None;
    };
    let mut frames: BTreeMap<u64, Vec<(u32, BBox)>> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<f32> = line.split(',').map(|c| c.trim().parse().unwrap()).collect();
        let [frame, who, x, y, width, height] = cells[..6] else { panic!("{line}") };
        let bbox = BBox { x: x / SIZE.0, y: y / SIZE.1, width: width / SIZE.0, height: height / SIZE.1 };
        frames.entry(frame as u64).or_default().push((who as u32, bbox));
    }
    Some(frames)
}

/// Switches of identity, ids given, identities, and boxes, over every `step`-th frame.
fn follow(frames: &BTreeMap<u64, Vec<(u32, BBox)>>, step: u64) -> (usize, usize, usize, usize) {
    let mut tracker = Tracker::default();
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let (mut switches, mut boxes) = (0, 0);
    for (n, people) in frames.iter().filter(|(n, _)| *n % step == 0) {
        let mut seen: Vec<_> = people.iter().map(|(_, b)| Detection::new("person", 0, 1.0, *b)).collect();
        tracker.update(n * FRAME_NS, &mut seen);
        for ((who, _), detection) in people.iter().zip(&seen) {
            let id = detection.track_id.unwrap();
            boxes += 1;
            ids.insert(id);
            switches += usize::from(last.insert(*who, id).is_some_and(|was| was != id));
        }
    }
    (switches, ids.len(), last.len(), boxes)
}

#[test]
fn people_on_vtest_keep_their_ids() {
    let Some(frames) = truth("track::people_on_vtest_keep_their_ids") else { return };
    for (step, switches_max, ids_max) in [(1, 12, 32), (5, 60, 80)] {
        let (switches, ids, people, boxes) = follow(&frames, step);
        println!("every {step}. frame: {boxes} boxes, {people} people, {ids} ids, {switches} switches");
        assert_eq!(people, 19);
        assert!(switches <= switches_max && ids <= ids_max, "{switches} switches, {ids} ids");
    }
}
