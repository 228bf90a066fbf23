//! What every bench shares: the CPU clock of a thread, medians, and the file a result is written to.

use std::error::Error;
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

/// Writes `<name>.json` and prints one line. Each bench says what it divides by what.
#[allow(clippy::print_stdout, reason = "a bench prints its result")]
pub(crate) fn write(
    name: &str,
    ours: f64,
    theirs: f64,
    ratio: f64,
    unit: &str,
    runs: usize,
) -> Result<(), Box<dyn Error>> {
    let round = |v: f64| (v * 1e4).round() / 1e4;
    let result = serde_json::json!({
        "name": name, "ours": round(ours), "theirs": round(theirs), "ratio": round(ratio), "unit": unit, "runs": runs,
    });
    fs::write(folder()?.join(format!("{name}.json")), format!("{result:#}\n"))?;
    println!("{name}: ours {ours:.1}, theirs {theirs:.1} {unit}, ratio {ratio:.3} ({runs} runs)");
    Ok(())
}
