//! The resource limits of a guest instance.

use std::time::Duration;

use super::TimeLimits;
use crate::config::LimitPlan;

/// Memory limit of a script's VM.
const LUA_MEMORY_BYTES: usize = 32 << 20;
/// Memory limit of a component's instance.
const WASM_MEMORY_BYTES: usize = 64 << 20;

/// Resource limits of one instance. Every hit is counted, and a guest cannot lift them.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Time limit of a call that judges a frame, including the filter.
    pub call: TimeLimits,
    /// Time limit of loading: a script's top level with everything that it requires; a component's `describe`, `init`
    /// and `resume`.
    pub load: TimeLimits,
    /// Time limit of one delivery by a handler: its own CPU time, and the wall time including waits.
    pub delivery: TimeLimits,
    /// Timeout for compiling a component.
    pub compile: Duration,
    /// Memory limit, enforced while the guest's code runs.
    pub memory_bytes: usize,
    /// Stack size of a component.
    pub stack_bytes: usize,
    /// Maximum alerts per call; further ones are dropped and counted.
    pub alerts_per_call: usize,
    /// Maximum length of an alert message or log line; longer ones are truncated and counted.
    pub message_bytes: usize,
    /// Maximum detections that a call may add.
    pub added_per_call: usize,
    /// Maximum state per source, and again over all sources.
    pub state_bytes: usize,
    /// Maximum length of a state key.
    pub key_bytes: usize,
    /// Maximum log lines per second of frame time; further ones are dropped and counted.
    pub log_lines_per_s: u32,
    /// Maximum length of the source text of a script or module.
    pub source_bytes: usize,
    /// Maximum size of a component.
    pub component_bytes: usize,
    /// Maximum HTTP requests per delivery.
    pub requests_per_call: u32,
    /// Maximum body of an HTTP response.
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

    /// Checks that each limit set in a manifest or a test case is in the range that the configuration allows.
    ///
    /// # Errors
    /// The key, its value, and the allowed range.
    pub fn check(plan: &LimitPlan) -> Result<(), String> {
        let whole = |value: Option<usize>| value.map(|value| value as f64);
        // The same ranges as in `config/schema/guests.rs`.
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

    /// These limits, overridden by the configuration.
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
        // For a script's VM, 0 would mean no limit.
        self.memory_bytes = memory_mb.map_or(self.memory_bytes, |mb| ((mb * f64::from(1 << 20)) as usize).max(1));
        self.alerts_per_call = alerts_per_call.unwrap_or(self.alerts_per_call);
        self.added_per_call = added_per_call.unwrap_or(self.added_per_call);
        self.message_bytes = message_bytes.unwrap_or(self.message_bytes);
        self.state_bytes = state_bytes.unwrap_or(self.state_bytes);
        self.log_lines_per_s = log_lines_per_second.unwrap_or(self.log_lines_per_s);
        self
    }

    /// The smaller of each limit: the manifest's values, capped by these.
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
