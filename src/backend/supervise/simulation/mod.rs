//! Random failures of several sources against the state machine, in virtual time. `camera` is what takes GStreamer's
//! place, `checks` is what must hold, `world` plays a schedule.
//!
//! A failing seed is named in the message; `DSENGINE_TEST_SEED=N` plays it alone.

mod camera;
mod checks;
mod world;

use std::time::Duration;

use crossbeam_channel::after;
use world::World;

/// Schedules played.
const SEEDS: u64 = 10_000;
/// A build that is not optimised plays as many of them as fit into this time, unless `DSENGINE_TEST_SOAK` is set.
const PLAYED_FOR: Duration = Duration::from_secs(30);

#[test]
fn whatever_fails_every_source_comes_back_within_bounds_and_no_account_is_tried_too_often() {
    let mut total = checks::Totals::default();
    if let Some(seed) = std::env::var("DSENGINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        total.add(&World::new(seed).play());
        println!("supervision: schedule {seed}: {total:?}");
        return;
    }
    let (time, has_time) = (after(PLAYED_FOR), std::env::var_os("DSENGINE_TEST_SOAK").is_some());
    let mut played = 0;
    while played < SEEDS && (has_time || time.is_empty()) {
        total.add(&World::new(played).play());
        played += 1;
    }
    println!("supervision: {played} schedules: {total:?}");
    assert!(played >= 100, "it takes far too long");
    assert!(total.is_varied(played), "the schedules reach every part of it: {total:?}");
}
