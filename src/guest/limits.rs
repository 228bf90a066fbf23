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

    /// Whether each limit that is set, in a manifest or a test's case, is one that the configuration could set too.
    ///
    /// # Errors
    /// The key, what it was given, and what it takes.
    pub fn check(plan: &LimitPlan) -> Result<(), String> {
        let whole = |value: Option<usize>| value.map(|value| value as f64);
        // The ranges of `config/schema/guests.rs`.
        let all = [
            ("soft_ms", plan.soft_ms, 0.1, 10_000.0),
            ("hard_ms", plan.hard_ms, 1.0, 10_000.0),
            ("wall_ms", plan.wall_ms, 10.0, 60_000.0),
            ("timeout_seconds", plan.timeout_seconds, 0.1, 300.0),
            ("memory_mb", plan.memory_mb, 1.0, 4096.0),
            ("alerts_per_call", whole(plan.alerts_per_call), 0.0, 10_000.0),
            ("added_per_call", whole(plan.added_per_call), 0.0, 10_000.0),
            ("message_bytes", whole(plan.message_bytes), 16.0, 1_048_576.0),
            ("state_bytes", whole(plan.state_bytes), 0.0, 1_073_741_824.0),
            ("log_lines_per_second", plan.log_lines_per_second.map(f64::from), 0.0, 100_000.0),
        ];
        for (key, value, least, most) in all {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(format!("limits.{key} is out of range: got {value}, expected {least}..{most}"));
            }
        }
        Ok(())
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
        // To a script's VM, 0 would be no limit at all.
        self.memory_bytes = memory_mb.map_or(self.memory_bytes, |mb| ((mb * f64::from(1 << 20)) as usize).max(1));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_of_a_manifest_are_those_of_the_configuration() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../configs/dsengine.schema.json")).unwrap();
        for (key, range) in schema["$defs"]["Limits"]["properties"].as_object().unwrap() {
            let (least, most) = (range["minimum"].as_f64().unwrap(), range["maximum"].as_f64().unwrap());
            let set = |value: f64| toml::from_str::<LimitPlan>(&format!("{key} = {value}").to_lowercase());
            let whole = range["type"][0] == "integer";
            for value in [least, most] {
                assert_eq!(Limits::check(&set(value).unwrap()), Ok(()), "{key} {value}");
            }
            for value in [least - 1.0, least - 0.01, most + 1.0, f64::INFINITY, f64::NAN] {
                let refused = match set(value) {
                    Ok(plan) => Limits::check(&plan).is_err_and(|what| what.contains(key)),
                    Err(_) => whole,
                };
                assert!(refused, "{key} {value}");
            }
        }
    }
}
