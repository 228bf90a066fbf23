//! Random days of a site: policy, sequencer, outbox and delivery together, with time, chance, disk and network as
//! arguments. A day has three sources, two handlers, at least 200 events, and two restarts; it follows from its seed
//! alone.
//!
//! `world` plays a day of live sources with everything that may fail, `disk` and `network` fail in it, `deliver` is one
//! attempt in it, `check` judges it. The others test one promise each: `workers` plays files with several workers,
//! `restart` the same frames with and without restarts, `outage` a receiver that is away for a day. Faults planted on
//! purpose show that the checks find what they are for.

mod check;
mod clock;
mod deliver;
mod disk;
mod network;
mod outage;
mod planted;
mod restart;
mod workers;
mod world;

use planted::Planted;
use world::World;

/// Days in the ordinary suite, and in `./dev soak`.
const DAYS: [u64; 2] = [10_000, 100_000];
/// Days in which a planted fault must show.
const DAYS_PLANTED: u64 = 300;

/// Plays a day that tests one promise.
type Play = fn(u64, Option<Planted>) -> Result<(), String>;

/// Each promise is tested on one day in so many.
const TURNS: u64 = 8;

/// Plays a day, and on some days that of a promise; with a planted fault, that of each. Returns what is wrong with it.
fn day(seed: u64, planted: Option<Planted>) -> Result<(), String> {
    World::new(seed, planted).play()?;
    let promises: [(&str, Play); 3] = [("workers", workers::day), ("restart", restart::day), ("outage", outage::day)];
    for (turn, (name, play)) in (0..).zip(promises) {
        if planted.is_some() || seed % TURNS == turn {
            play(seed, planted).map_err(|what| format!("{name}: {what}"))?;
        }
    }
    Ok(())
}

#[test]
fn nothing_accepted_is_lost_and_nobody_is_flooded_on_any_day() {
    let days = DAYS[usize::from(std::env::var_os("DSENGINE_TEST_SOAK").is_some())];
    for seed in 0..days {
        if let Err(what) = day(seed, None) {
            panic!("seed {seed}: {what}");
        }
    }
}

#[test]
fn every_planted_fault_is_found() {
    for planted in Planted::ALL {
        let found = (0..DAYS_PLANTED).find_map(|seed| day(seed, Some(planted)).err());
        assert!(found.is_some(), "{planted:?} shows on none of {DAYS_PLANTED} days");
    }
}
