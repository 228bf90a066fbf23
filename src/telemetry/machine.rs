//! Load of the machine and of this process: CPU since the previous sample, and current memory.

use std::fs;

use super::process::Reading;

/// One sample; values missing in `/proc` are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// CPU usage of the machine since the previous sample, per cent.
    pub cpu_percent: Option<f64>,
    /// Memory usage of the machine, per cent.
    pub memory_percent: Option<f64>,
    /// This process's share of the machine's CPU since the previous sample, per cent.
    pub engine_cpu_percent: Option<f64>,
    /// Resident memory of this process, in millions of bytes.
    pub engine_memory_mb: Option<f64>,
}

/// Takes samples and keeps the previous one.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Option<Look>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    at_ns: u64,
    /// Ticks over all cores: busy and total.
    ticks: Option<(u64, u64)>,
    engine_cpu_s: f64,
}

impl Sampler {
    /// Takes a sample at `now_ns`. The first one has no CPU values.
    pub fn take(&mut self, now_ns: u64) -> Sample {
        let reading = Reading::take();
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let look = Look { at_ns: now_ns, ticks: ticks(&stat), engine_cpu_s: reading.cpu_seconds };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (cpu_percent, engine_cpu_percent) = match self.before.replace(look) {
            Some(before) => (look.cpu_since(&before), look.engine_cpu_since(&before, cores)),
            None => (None, None),
        };
        Sample {
            cpu_percent,
            memory_percent: memory_percent(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            engine_cpu_percent,
            engine_memory_mb: reading.resident_bytes.map(|bytes| bytes as f64 / 1e6),
        }
    }
}

impl Look {
    fn cpu_since(&self, before: &Self) -> Option<f64> {
        let ((used, all), (used_before, all_before)) = (self.ticks?, before.ticks?);
        let all = all.checked_sub(all_before).filter(|all| *all > 0)?;
        Some(100.0 * used.saturating_sub(used_before) as f64 / all as f64)
    }

    fn engine_cpu_since(&self, before: &Self, cores: usize) -> Option<f64> {
        let seconds = self.at_ns.checked_sub(before.at_ns).filter(|ns| *ns > 0)? as f64 / 1e9;
        Some(100.0 * (self.engine_cpu_s - before.engine_cpu_s).max(0.0) / (seconds * cores as f64))
    }
}

/// Busy and total ticks, from the line for all cores.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // Guest time is included in the first two columns.
    let columns: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|column| column.parse().ok()).collect();
    let [_, _, _, idle, waiting, ..] = columns[..] else { return None };
    let all = columns.iter().sum::<u64>();
    Some((all - idle - waiting, all))
}

/// The share of memory that is not available.
fn memory_percent(meminfo: &str) -> Option<f64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    (total > 0.0).then(|| 100.0 * (total - available) / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_time_between_two_looks() {
        let before = Look { at_ns: 1_000_000_000, ticks: ticks("cpu  10 0 10 70 10 0 0 0 5 0\n"), engine_cpu_s: 1.0 };
        let after = Look { at_ns: 3_000_000_000, ticks: ticks("cpu  40 0 20 100 40 0 0 0 9 0\n"), engine_cpu_s: 2.0 };
        assert_eq!((before.ticks, after.ticks), (Some((20, 100)), Some((60, 200))));
        assert_eq!(after.cpu_since(&before), Some(40.0));
        assert_eq!(after.engine_cpu_since(&before, 2), Some(25.0));
        // No time passed, or a counter went backwards: no value.
        assert_eq!((after.cpu_since(&after), before.cpu_since(&after)), (None, None));
        assert_eq!(after.engine_cpu_since(&after, 2), None);
        assert_eq!(memory_percent("MemTotal: 200 kB\nMemFree: 10 kB\nMemAvailable: 50 kB\n"), Some(75.0));
        assert_eq!((ticks("intr 1"), memory_percent("")), (None, None));
    }

    #[test]
    fn this_machine_and_this_process_are_read() {
        let mut sampler = Sampler::default();
        assert_eq!(sampler.take(1).engine_cpu_percent, None);
        let sample = sampler.take(1_000_000_001);
        assert!(sample.memory_percent.is_some_and(|share| (0.0..=100.0).contains(&share)), "{sample:?}");
        assert!(
            sample.engine_memory_mb.is_some_and(|mb| mb > 1.0) && sample.engine_cpu_percent.is_some(),
            "{sample:?}"
        );
    }
}
