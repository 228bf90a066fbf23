//! What every bench shares: the CPU clock of a thread, medians, and the file a result is written to.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread in microseconds: what a busy machine does to others is not in it.
#[allow(dead_code, reason = "not every bench is about one thread")]
pub(crate) fn thread_cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// The middle value.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `target/bench`, made if it is not there.
pub(crate) fn folder() -> Result<PathBuf, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What a figure, or its ratio, is to be.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "not every bench has a goal of each kind")]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

impl Goal {
    fn is_met(self, ours: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::AtMost(most) => ours <= most,
            Self::AtLeast(least) => ours >= least,
            Self::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Self::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio at most {most}"),
            Self::RatioAtLeast(least) => write!(f, "ratio at least {least}"),
        }
    }
}

/// A measured figure.
pub(crate) struct Figure<'a> {
    pub(crate) name: &'a str,
    /// The median.
    pub(crate) ours: f64,
    pub(crate) unit: &'a str,
    pub(crate) runs: usize,
    /// The same of a peer that was measured in the same run, and the ratio, as the bench defines it.
    pub(crate) beside: Option<(f64, f64)>,
    pub(crate) goal: Option<Goal>,
}

impl Figure<'_> {
    /// Writes `target/bench/<name>.json` and prints one line, which says whether the goal is met.
    #[allow(clippy::print_stdout, reason = "a bench prints its result")]
    pub(crate) fn write(&self) -> Result<(), Box<dyn Error>> {
        let Self { name, ours, unit, runs, .. } = self;
        let round = |v: f64| (v * 1e4).round() / 1e4;
        let (theirs, ratio) = self.beside.unzip();
        let met = self.goal.map(|goal| goal.is_met(*ours, ratio));
        let result = serde_json::json!({
            "name": name, "ours": round(*ours), "unit": unit, "runs": runs,
            "theirs": theirs.map(round), "ratio": ratio.map(round),
            "goal": self.goal.map(|goal| goal.to_string()), "met": met,
        });
        fs::write(folder()?.join(format!("{name}.json")), format!("{result:#}\n"))?;
        let beside = self.beside.map_or_else(String::new, |(t, ratio)| format!(", theirs {t:.2}, ratio {ratio:.3}"));
        let goal = self
            .goal
            .zip(met)
            .map_or_else(String::new, |(goal, met)| format!("; goal: {goal}, {}", if met { "met" } else { "MISSED" }));
        println!("{name}: {ours:.2} {unit}{beside} ({runs} runs{goal})");
        Ok(())
    }
}
