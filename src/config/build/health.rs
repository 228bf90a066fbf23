//! Builds the engine's self-monitoring: a threshold applies only if its key is set, whatever its default.

use std::time::Duration;

use super::Site;
use crate::config::plan::{HealthPlan, ThresholdKind, ThresholdPlan};
use crate::config::schema::Monitoring;

pub(super) fn build(monitoring: &Monitoring, source_lost_seconds: f64, site: &Site<'_>) -> HealthPlan {
    let thresholds = &monitoring.thresholds;
    let limits = [
        ("cpu_threshold", ThresholdKind::Cpu, monitoring.cpu_threshold),
        ("memory_threshold", ThresholdKind::Memory, monitoring.memory_threshold),
        ("thresholds.max_cpu_percent", ThresholdKind::EngineCpu, thresholds.max_cpu_percent),
        ("thresholds.max_memory_mb", ThresholdKind::EngineMemory, thresholds.max_memory_mb),
        ("thresholds.min_fps", ThresholdKind::Fps, thresholds.min_fps),
        ("thresholds.max_latency_ms", ThresholdKind::Latency, thresholds.max_latency_ms),
    ];
    let set = limits.into_iter().filter(|(key, ..)| site.places.is_set(&format!("monitoring.{key}")));
    HealthPlan {
        sample_every: Duration::from_secs_f64(monitoring.metrics_interval),
        check_every: Duration::from_secs_f64(monitoring.health_check_interval),
        log_metrics: monitoring.log_metrics,
        profile: monitoring.profiling_enabled,
        degradation: monitoring.degradation,
        source_lost: Duration::from_secs_f64(source_lost_seconds),
        thresholds: set.map(|(_, kind, bound)| ThresholdPlan { kind, bound }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{HealthPlan, Request, ThresholdKind, load};

    fn health(keys: &str) -> HealthPlan {
        let document = Some(format!("sources: [{{ id: a, uri: test }}]\nmonitoring: {{ {keys} }}\n"));
        load(&Request { document, ..Request::default() }).unwrap().plan.health
    }

    #[test]
    fn a_limit_holds_where_it_is_set_even_to_its_default() {
        assert_eq!(health(""), HealthPlan::default());
        let keys = "cpu_threshold: 80, thresholds: { min_fps: 20, max_latency_ms: 500 }, metrics_interval: 5";
        let plan = health(keys);
        let limits: Vec<_> = plan.thresholds.iter().map(|limit| (limit.kind, limit.bound)).collect();
        assert_eq!(limits, [(ThresholdKind::Cpu, 80.0), (ThresholdKind::Fps, 20.0), (ThresholdKind::Latency, 500.0)]);
        assert_eq!((plan.sample_every.as_secs(), plan.check_every.as_secs()), (5, 30));
    }
}
