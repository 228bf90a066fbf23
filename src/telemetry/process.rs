//! Reads this process's figures from the system, for the `process_*` series.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// One reading; values missing in `/proc` are `None`.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Reading {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: Option<i64>,
    pub(super) threads: Option<i64>,
    pub(super) open_fds: Option<i64>,
}

impl Reading {
    /// Takes a reading: some ten microseconds, once per scrape.
    pub(super) fn take() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_ascii_whitespace().nth(1)?.parse::<i64>().ok()
        };
        Self {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident_bytes: field("VmRSS:").map(|kib| kib * 1024),
            threads: field("Threads:"),
            // Minus the descriptor that lists the folder.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|d| d.count() as i64 - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_is_of_this_process() {
        let reading = Reading::take();
        assert!(reading.resident_bytes.unwrap() > 1 << 20);
        assert!(reading.threads.unwrap() >= 1);
        assert!(reading.open_fds.unwrap() >= 3);
    }
}
