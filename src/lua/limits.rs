//! What one script may use.

use std::time::Duration;

use crate::strategy::TimeLimits;

/// Limits of one script instance; each has its hit counted and none can be lifted from inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Time of one call of `detect`, `should_process` included.
    pub call: TimeLimits,
    /// Time to run the script's top level, with all it requires.
    pub load: TimeLimits,
    /// The VM's memory, checked while the script's code runs.
    pub memory_bytes: usize,
    /// Alerts one call may raise; the rest is dropped and counted.
    pub alerts_per_call: usize,
    /// Longest alert message or log line; longer ones are cut and counted.
    pub message_bytes: usize,
    /// Detections one call may add.
    pub added_per_call: usize,
    /// State kept per source.
    pub state_bytes: usize,
    /// Log lines per second of frame time; the rest is dropped and counted.
    pub log_lines_per_s: u32,
    /// Longest source text of a script or module.
    pub source_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let load = TimeLimits {
            soft_cpu: Duration::from_millis(100),
            hard_cpu: Duration::from_millis(200),
            wall: Duration::from_secs(5),
        };
        Self {
            call: TimeLimits::default(),
            load,
            memory_bytes: 32 << 20,
            alerts_per_call: 16,
            message_bytes: 4096,
            added_per_call: 256,
            state_bytes: 1 << 20,
            log_lines_per_s: 50,
            source_bytes: 512 << 10,
        }
    }
}
