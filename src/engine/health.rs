//! The thread that monitors the engine: samples the machine, logs the figures, checks the thresholds, and looks for
//! lost sources (`losses`) and for overload (`overload`).
//!
//! A crossed threshold is a problem in `/health` and one alert of the source `engine`, with the ordinary policy and
//! handlers. Thresholds apply while a source is live or repeats: a run that ends by itself may use the whole machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::handle::{Handle, Shared};
use super::losses::Losses;
use super::overload::{self, Overload};
use super::thresholds::Subject;
use super::view::outside::EngineApi as _;
use super::view::status::Status;
use crate::alert::Gate;
use crate::backend::SourceState;
use crate::config::{ENGINE_SOURCE, HealthPlan, Plan, ThresholdKind};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::telemetry::{Sample, Sampler, SourceMetrics, Stage};
use crate::types::{Frame, Level, Raised, SourceId};

/// How often the thread checks what is due: intervals can change, and shutdown must not wait.
const TICK: Duration = Duration::from_millis(200);
/// Longest wait for the thread to end.
const END_WAIT: Duration = Duration::from_millis(500);

/// The thread; dropping this stops it.
pub(super) struct Watch(Thread);

impl Watch {
    /// Starts to monitor an engine.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let mut monitor = Monitor::new(shared);
        let run = move |stop: Stop| {
            while stop.pause(TICK) {
                monitor.run_due();
            }
        };
        let thread = Thread::start("health", run);
        thread.map(Self).map_err(|e| Error::new(Code::Io, format!("cannot start thread health: {e}")))
    }

    pub(super) fn stop(&mut self) {
        self.0.join(END_WAIT);
    }
}

/// The counters of one source at the last check.
#[derive(Clone, Copy)]
struct Counted {
    frames: u64,
    latency_s: f64,
    judged: u64,
}

impl Counted {
    fn of(metrics: &SourceMetrics) -> Self {
        let latency = metrics.latency(Stage::Total);
        Self {
            frames: metrics.frames_decoded(),
            latency_s: latency.get_sample_sum(),
            judged: latency.get_sample_count(),
        }
    }
}

struct Monitor {
    shared: Arc<Shared>,
    sampler: Sampler,
    sample: Sample,
    sampled_ns: u64,
    checked_ns: u64,
    counted: BTreeMap<SourceId, Counted>,
    gate: Option<Gate>,
    losses: Losses,
    overload: Overload,
    /// Number of alerts raised.
    raised: u64,
}

impl Monitor {
    fn new(shared: &Arc<Shared>) -> Self {
        let now_ns = shared.clock.monotonic_ns();
        let mut sampler = Sampler::default();
        let sample = sampler.take(now_ns);
        Self {
            shared: Arc::clone(shared),
            sampler,
            sample,
            sampled_ns: now_ns,
            checked_ns: now_ns,
            counted: BTreeMap::new(),
            gate: None,
            losses: Losses::default(),
            overload: Overload::default(),
            raised: 0,
        }
    }

    /// Samples and checks whatever is due.
    fn run_due(&mut self) {
        let now_ns = self.shared.clock.monotonic_ns();
        self.send_digests(now_ns);
        let plan = Arc::clone(&self.shared.view().plan);
        self.losses.look(&self.shared, &plan, now_ns);
        self.shared.parts.delivery.standings().iter().for_each(|standing| standing.sample(now_ns));
        if let Some(change) =
            self.overload.check(&self.shared, &plan, &self.sample, now_ns).filter(|change| change.is_worse)
        {
            self.raise(&plan, "system.degraded", overload::key(change.step), &change.message, now_ns);
        }
        let health = &plan.health;
        if is_due(self.sampled_ns, health.sample_every, now_ns) {
            self.sampled_ns = now_ns;
            self.sample(health, now_ns);
        }
        if is_due(self.checked_ns, health.check_every, now_ns) {
            let since_ns = now_ns - std::mem::replace(&mut self.checked_ns, now_ns);
            self.check(&plan, now_ns, since_ns);
        }
    }

    /// Sends the digests that are due, even if no source delivers frames.
    fn send_digests(&mut self, now_ns: u64) {
        let Shared { parts, clock, .. } = &*self.shared;
        if let Some(gate) = &mut self.gate {
            gate.begin(&frame(now_ns, clock.unix_ns(), self.raised));
        }
        parts.delivery.tick(now_ns);
    }

    /// Samples the machine, and logs the figures if configured.
    fn sample(&mut self, health: &HealthPlan, now_ns: u64) {
        self.sample = self.sampler.take(now_ns);
        let Sample { cpu_percent, memory_percent, engine_cpu_percent, engine_memory_mb } = self.sample;
        self.shared.metrics.set_machine(&self.sample);
        let status = Handle(Arc::clone(&self.shared)).status();
        let figures = figures(&status, &self.sample);
        self.shared.figures.store(Some(Arc::new(figures.to_string())));
        if health.log_metrics {
            let [cpu_percent, memory_percent, engine_cpu_percent, engine_memory_mb] =
                [cpu_percent, memory_percent, engine_cpu_percent, engine_memory_mb].map(tenths);
            let (sources_running, fps) = (running(&status).count(), tenths(Some(fps(&status))));
            let judged: u64 = status.sources.iter().map(|source| source.judged).sum();
            let (alerts, pending, problems) = (status.alerts.accepted, status.alerts.pending, status.problems.len());
            tracing::info!(
                cpu_percent,
                memory_percent,
                engine_cpu_percent,
                engine_memory_mb,
                sources_running,
                fps,
                judged,
                alerts,
                pending,
                problems,
                "metrics"
            );
        }
    }

    /// Checks the thresholds.
    fn check(&mut self, plan: &Plan, now_ns: u64, since_ns: u64) {
        let hold_ns = u64::try_from(plan.health.check_every.as_nanos()).unwrap_or(u64::MAX);
        let limits = if is_endless(plan) { &plan.health.thresholds[..] } else { &[] };
        let values = self.values(since_ns);
        let turns = self.shared.thresholds.lock().see(limits, &values, now_ns, hold_ns);
        for turn in turns {
            let rule = turn.subject.kind.rule();
            if turn.is_crossed {
                tracing::warn!(rule, "{}", turn.message);
                let key = turn.subject.source.as_ref().map_or("", SourceId::as_str);
                self.raise(plan, rule, key, &turn.message, now_ns);
            } else {
                tracing::info!(rule, "{}", turn.message);
            }
        }
    }

    /// The current values: the machine's from its last sample, each source's since the last check.
    fn values(&mut self, since_ns: u64) -> Vec<(Subject, f64)> {
        let Sample { cpu_percent, memory_percent, engine_cpu_percent, engine_memory_mb } = self.sample;
        let whole = [
            (ThresholdKind::Cpu, cpu_percent),
            (ThresholdKind::Memory, memory_percent),
            (ThresholdKind::EngineCpu, engine_cpu_percent),
            (ThresholdKind::EngineMemory, engine_memory_mb),
        ];
        let whole = whole.into_iter().filter_map(|(kind, value)| Some((Subject { kind, source: None }, value?)));
        let mut values: Vec<_> = whole.collect();
        let mut counted = BTreeMap::new();
        for source in &self.shared.view().sources {
            // A source that does not run is reported separately.
            if source.route.board.state() != SourceState::Running {
                continue;
            }
            let (id, now) = (source.route.id.clone(), Counted::of(&source.route.metrics));
            if let Some(before) = self.counted.get(&id) {
                let of = |kind| Subject { kind, source: Some(id.clone()) };
                let frames = now.frames.saturating_sub(before.frames);
                values.push((of(ThresholdKind::Fps), frames as f64 * 1e9 / since_ns.max(1) as f64));
                let judged = now.judged.saturating_sub(before.judged);
                if judged > 0 {
                    values.push((of(ThresholdKind::Latency), 1e3 * (now.latency_s - before.latency_s) / judged as f64));
                }
            }
            counted.insert(id, now);
        }
        self.counted = counted;
        values
    }

    /// Raises an alert of the engine.
    fn raise(&mut self, plan: &Plan, rule: &str, key: &str, message: &str, now_ns: u64) {
        let Shared { parts, metrics, clock, .. } = &*self.shared;
        let gate = self.gate.get_or_insert_with(|| {
            let source = SourceId::from(ENGINE_SOURCE);
            metrics.hide_source(&source);
            Gate::new(&plan.alerts, &source, parts.delivery.outbox(), metrics)
        });
        gate.set_plan(&plan.alerts);
        let raised = Raised {
            rule: rule.into(),
            level: Some(Level::High),
            key: key.into(),
            message: message.into(),
            detections: Vec::new(),
            tags: Vec::new(),
            picture: None,
            expires_seconds: None,
        };
        gate.raise(&raised, &frame(now_ns, clock.unix_ns(), self.raised));
        self.raised += 1;
    }
}

/// What the engine's own alerts are raised on.
fn frame(pts_ns: u64, captured_unix_ns: u64, seq: u64) -> Frame {
    Frame { pts_ns, captured_unix_ns, ..Frame::empty(ENGINE_SOURCE, seq) }
}

/// Whether any source runs until it is stopped.
fn is_endless(plan: &Plan) -> bool {
    plan.sources.iter().any(|source| source.input.is_live() || source.repeat)
}

/// Whether an interval has elapsed.
fn is_due(since_ns: u64, every: Duration, now_ns: u64) -> bool {
    u128::from(now_ns.saturating_sub(since_ns)) >= every.as_nanos()
}

fn tenths(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 10.0).round() / 10.0)
}

fn running(status: &Status) -> impl Iterator<Item = f64> {
    let running = SourceState::Running.as_str();
    status.sources.iter().filter(move |source| source.state == running).map(|source| source.fps)
}

/// Frames per second over all running sources.
fn fps(status: &Status) -> f64 {
    // The sum of nothing is -0.
    running(status).sum::<f64>() + 0.0
}

/// The newest figures, as in every record of the JSON log.
fn figures(status: &Status, sample: &Sample) -> serde_json::Value {
    let judged: u64 = status.sources.iter().map(|source| source.judged).sum();
    let dropped: u64 = status.sources.iter().flat_map(|source| source.dropped.values()).sum();
    json!({
        "fps": tenths(Some(fps(status))), "judged": judged, "dropped": dropped, "alerts": status.alerts.accepted,
        "engine_cpu_percent": tenths(sample.engine_cpu_percent), "engine_memory_mb": tenths(sample.engine_memory_mb),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Request, load};

    #[test]
    fn limits_hold_in_a_run_that_does_not_end_by_itself() {
        for (sources, endless) in [
            ("[{ uri: test }]", true),
            ("[{ uri: 'test:frames=9' }]", false),
            ("[{ uri: 'rtsp://cam/1' }]", true),
            ("[{ uri: clip.mp4 }]", false),
            ("[{ uri: clip.mp4, realtime: true }]", false),
            ("[{ uri: clip.mp4, parameters: { loop: true } }]", true),
            ("[{ uri: 'scene:street' }, { uri: 'trace:a.jsonl' }]", false),
            ("[{ uri: 'scene:street?live=true' }]", true),
            ("[]", false),
        ] {
            let request = Request { document: Some(format!("sources: {sources}\n")), ..Request::default() };
            assert_eq!(is_endless(&load(&request).unwrap().plan), endless, "{sources}");
        }
    }
}
