//! Random days of a site: policy, sequencer, outbox and delivery together, with time, chance, disk and network as
//! arguments. A day has three sources, two handlers, 200 steps and two restarts; it follows from its seed alone.
//!
//! `world` plays a day, `disk` and `network` fail in it, `check` judges it. Faults planted on purpose show that the checks
//! find what they are for.

mod check;
mod disk;
mod hands;
mod network;
mod planted;
mod world;

use planted::Planted;
use world::World;

/// Days in the ordinary suite, and with `DSENGINE_SOAK=1`.
const DAYS: [u64; 2] = [10_000, 100_000];
/// Days in which a planted fault must show.
const DAYS_PLANTED: u64 = 300;

#[test]
fn nothing_accepted_is_lost_and_nobody_is_flooded_on_any_day() {
    let days = DAYS[usize::from(std::env::var_os("DSENGINE_SOAK").is_some())];
    for seed in 0..days {
        if let Err(what) = World::new(seed, None).play() {
            panic!("seed {seed}: {what}");
        }
    }
}

#[test]
fn every_planted_fault_is_found() {
    for planted in Planted::ALL {
        let found = (0..DAYS_PLANTED).find_map(|seed| World::new(seed, Some(planted)).play().err());
        assert!(found.is_some(), "{planted:?} shows on none of {DAYS_PLANTED} days");
    }
}
