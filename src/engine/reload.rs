//! Replacing scripts while they judge: new beside old, then swap between frames.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::lane::Control;
use super::route::Route;
use super::strategies::StrategyBoard;
use crate::error::{Code, Error};
use crate::strategy::Strategy;
use crate::telemetry::Metrics;

/// Longest wait for a lane to come to the end of a frame: far above any call's wall ceiling.
const SWAP_WAIT: Duration = Duration::from_secs(5);

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The strategies that run the script.
    pub strategies: Vec<String>,
    /// The generation that judges from now on.
    pub generation: u64,
    /// How many lanes swapped.
    pub lanes: usize,
    /// `false` when the contents were already running and nothing was done.
    pub changed: bool,
}

/// Builds one strategy for one source from a script's text.
pub(super) type Make = Box<dyn Fn(&str) -> Result<Box<dyn Strategy>, Error> + Send + Sync>;

/// One place where a script runs: a rule on a lane.
pub(super) struct Seat {
    pub(super) board: Arc<StrategyBoard>,
    pub(super) route: Arc<Route>,
    pub(super) rule: usize,
    pub(super) make: Make,
}

struct Script {
    text: String,
    generation: u64,
}

/// See the module.
pub(super) struct Scripts {
    seats: BTreeMap<PathBuf, Vec<Seat>>,
    /// Held over a whole reload, so that each save waits for the former's verdict. No frame path takes it.
    scripts: Mutex<BTreeMap<PathBuf, Script>>,
    metrics: Arc<Metrics>,
}

impl Scripts {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        seats: BTreeMap<PathBuf, Vec<Seat>>,
        texts: BTreeMap<PathBuf, String>,
    ) -> Self {
        let scripts = texts.into_iter().map(|(path, text)| (path, Script { text, generation: 1 })).collect();
        Self { seats, scripts: Mutex::new(scripts), metrics }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.seats.keys().cloned().collect()
    }

    /// A script's text as it runs now.
    pub(super) fn text(&self, path: &Path) -> Option<String> {
        let scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.get(path).map(|script| script.text.clone())
    }

    pub(super) fn reload(&self, path: &Path, text: &str) -> Result<Reloaded, Error> {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(script), Some(seats)) = (scripts.get_mut(path), self.seats.get(path)) else {
            return Err(Error::new(Code::Plugin, format!("{}: no strategy runs this script", path.display())));
        };
        let mut strategies: Vec<String> = seats.iter().map(|seat| seat.board.name.to_string()).collect();
        strategies.sort();
        strategies.dedup();
        if script.text == text {
            // An edit that was taken back: what was wrong with it is over.
            seats.iter().for_each(|seat| seat.board.set_error(None));
            return Ok(Reloaded { strategies, generation: script.generation, lanes: 0, changed: false });
        }
        let generation = script.generation + 1;
        let built: Result<Vec<_>, Error> = seats.iter().map(|seat| (seat.make)(text)).collect();
        let built = built.inspect_err(|error| {
            seats.iter().for_each(|seat| seat.board.set_error(Some(error.message().to_owned())));
            strategies.iter().for_each(|name| self.metrics.versions(name).reload("rejected"));
        })?;

        let lanes = swap_all(seats, built, generation);
        script.generation = generation;
        text.clone_into(&mut script.text);
        seats.iter().for_each(|seat| seat.board.reloaded(generation));
        for name in &strategies {
            let metrics = self.metrics.versions(name);
            metrics.reload("ok");
            metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        }
        Ok(Reloaded { strategies, generation, lanes, changed: true })
    }
}

/// Hands every lane its new version, then waits until each has sent the old one back (or has ended).
fn swap_all(seats: &[Seat], built: Vec<Box<dyn Strategy>>, generation: u64) -> usize {
    let waits: Vec<_> = seats
        .iter()
        .zip(built)
        .map(|(seat, strategy)| {
            let (old, wait) = crossbeam_channel::bounded(1);
            seat.route.inbox.control(Control::Swap { rule: seat.rule, strategy, generation, old });
            wait
        })
        .collect();
    // The old versions are dropped here, off the frame path.
    waits.into_iter().filter(|wait| wait.recv_timeout(SWAP_WAIT).is_ok()).count()
}
