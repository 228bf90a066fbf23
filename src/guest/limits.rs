//! What one instance of a guest may use.

use std::time::Duration;

use super::TimeLimits;
use crate::config::LimitPlan;

/// Memory of a script's VM.
const LUA_MEMORY_BYTES: usize = 32 << 20;
/// Memory of a component's instance.
const WASM_MEMORY_BYTES: usize = 64 << 20;

/// Limits of one instance; each has its hit counted and none can be lifted from inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Time of one call that judges a frame, the filter included.
    pub call: TimeLimits,
    /// Time to load: a script's top level with all it requires; a component's `describe`, `init` and `resume`.
    pub load: TimeLimits,
    /// Time of one delivery by a handler: its own CPU time, and the wall time with all it waits for.
    pub delivery: TimeLimits,
    /// Longest time a component may take to compile, and the largest one.
    pub compile: Duration,
    /// Memory, checked while the guest's code runs.
    pub memory_bytes: usize,
    /// Stack of a component.
    pub stack_bytes: usize,
    /// Alerts one call may raise; the rest is dropped and counted.
    pub alerts_per_call: usize,
    /// Longest alert message or log line; longer ones are cut and counted.
    pub message_bytes: usize,
    /// Detections one call may add.
    pub added_per_call: usize,
    /// State kept per source, and again over all sources.
    pub state_bytes: usize,
    /// Longest key of the state.
    pub key_bytes: usize,
    /// Log lines per second of frame time; the rest is dropped and counted.
    pub log_lines_per_s: u32,
    /// Longest source text of a script or module.
    pub source_bytes: usize,
    /// Largest component.
    pub component_bytes: usize,
    /// HTTP requests of one delivery.
    pub requests_per_call: u32,
    /// Largest body of an HTTP answer.
    pub response_bytes: usize,
}

impl Limits {
    /// The defaults for a script.
    pub fn lua() -> Self {
        Self { memory_bytes: LUA_MEMORY_BYTES, ..Self::wasm() }
    }

    /// The defaults for a component.
    pub fn wasm() -> Self {
        Self {
            call: TimeLimits::default(),
            load: TimeLimits {
                soft_cpu: Duration::from_millis(100),
                hard_cpu: Duration::from_millis(200),
                wall: Duration::from_secs(5),
            },
            delivery: TimeLimits {
                soft_cpu: Duration::from_millis(5),
                hard_cpu: Duration::from_millis(20),
                wall: Duration::from_secs(30),
            },
            compile: Duration::from_secs(60),
            memory_bytes: WASM_MEMORY_BYTES,
            stack_bytes: 512 << 10,
            alerts_per_call: 16,
            message_bytes: 4096,
            added_per_call: 256,
            state_bytes: 1 << 20,
            key_bytes: 256,
            log_lines_per_s: 50,
            source_bytes: 512 << 10,
            component_bytes: 64 << 20,
            requests_per_call: 8,
            response_bytes: 1 << 20,
        }
    }

    /// These, with what the configuration sets.
    #[must_use]
    pub fn with(mut self, plan: &LimitPlan) -> Self {
        let LimitPlan {
            soft_ms,
            hard_ms,
            wall_ms,
            timeout_seconds,
            memory_mb,
            alerts_per_call,
            added_per_call,
            message_bytes,
            state_bytes,
            log_lines_per_second,
        } = plan;
        let ms = |ms: &f64| Duration::from_secs_f64(ms / 1e3);
        for time in [&mut self.call, &mut self.delivery] {
            time.soft_cpu = soft_ms.as_ref().map_or(time.soft_cpu, ms);
            time.hard_cpu = hard_ms.as_ref().map_or(time.hard_cpu, ms);
        }
        self.call.wall = wall_ms.as_ref().map_or(self.call.wall, ms);
        self.delivery.wall = timeout_seconds.map_or(self.delivery.wall, Duration::from_secs_f64);
        self.memory_bytes = memory_mb.map_or(self.memory_bytes, |mb| (mb * f64::from(1 << 20)) as usize);
        self.alerts_per_call = alerts_per_call.unwrap_or(self.alerts_per_call);
        self.added_per_call = added_per_call.unwrap_or(self.added_per_call);
        self.message_bytes = message_bytes.unwrap_or(self.message_bytes);
        self.state_bytes = state_bytes.unwrap_or(self.state_bytes);
        self.log_lines_per_s = log_lines_per_second.unwrap_or(self.log_lines_per_s);
        self
    }

    /// The smaller of each: what a manifest wants, under the ceiling that these are.
    #[must_use]
    pub fn under(self, wanted: &LimitPlan) -> Self {
        let want = self.clone().with(wanted);
        let time = |have: TimeLimits, want: TimeLimits| TimeLimits {
            soft_cpu: have.soft_cpu.min(want.soft_cpu),
            hard_cpu: have.hard_cpu.min(want.hard_cpu),
            wall: have.wall.min(want.wall),
        };
        Self {
            call: time(self.call, want.call),
            delivery: time(self.delivery, want.delivery),
            memory_bytes: self.memory_bytes.min(want.memory_bytes),
            alerts_per_call: self.alerts_per_call.min(want.alerts_per_call),
            added_per_call: self.added_per_call.min(want.added_per_call),
            message_bytes: self.message_bytes.min(want.message_bytes),
            state_bytes: self.state_bytes.min(want.state_bytes),
            log_lines_per_s: self.log_lines_per_s.min(want.log_lines_per_s),
            ..self
        }
    }
}
