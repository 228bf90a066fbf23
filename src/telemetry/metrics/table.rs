//! The table of metrics: the name, type, labels and help of each.

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its full name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its help text, one sentence.
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind, labels, help }
}

use Kind::{Counter as C, Gauge as G, Histogram as H};

/// Labels of the series of a strategy's instances.
const BY_SOURCE: &[&str] = &["strategy", "source"];

/// All metrics, in order of documentation.
pub const TABLE: &[Definition] = &[
    row("dsengine_build_info", G, &["version"], "Always 1; the labels say what is running."),
    row(
        "dsengine_deployment_info",
        G,
        &["name", "version", "environment"],
        "Always 1; the labels are those of the configuration.",
    ),
    row("dsengine_uptime_seconds", G, &[], "Seconds since this engine started."),
    row("dsengine_machine_cpu_percent", G, &[], "CPU of the machine in use over the last metrics interval."),
    row("dsengine_machine_memory_percent", G, &[], "Memory of the machine in use at the last metrics interval."),
    row("dsengine_problems", G, &[], "What keeps this engine from being healthy: the number of sentences in /health."),
    row(
        "dsengine_degraded_step",
        G,
        &[],
        "What is given up for overload: 0 nothing, 1 frames by priority, 2 optional strategies, 3 new sources.",
    ),
    row("dsengine_source_up", G, &["source"], "1 while frames of the source flow, else 0."),
    row(
        "dsengine_source_state",
        G,
        &["source", "state"],
        "1 for the state the source is in, 0 for those it has been in.",
    ),
    row("dsengine_source_reconnects_total", C, &["source"], "Attempts to bring the source back after a failure."),
    row(
        "dsengine_source_failures_total",
        C,
        &["source", "class"],
        "Failed attempts by the class of their error: transient, permanent, configuration.",
    ),
    row(
        "dsengine_source_health_score",
        G,
        &["source"],
        "How well the source has done over the last ten minutes, 0 to 100; 0 before it first ran.",
    ),
    row("dsengine_source_breaker_open", G, &["source"], "1 while the source's circuit breaker is not closed, else 0."),
    row(
        "dsengine_source_last_frame_timestamp_seconds",
        G,
        &["source"],
        "Unix time at which the newest frame was captured.",
    ),
    row("dsengine_source_fps", G, &["source"], "Frames received per second over the last few seconds."),
    row(
        "dsengine_source_stream_up",
        G,
        &["source", "stream"],
        "1 while packets of another stream of the source flow, else 0; the stream is evidence.",
    ),
    row(
        "dsengine_source_stream_state",
        G,
        &["source", "stream", "state"],
        "1 for the state that another stream of the source is in.",
    ),
    row(
        "dsengine_source_stream_reconnects_total",
        C,
        &["source", "stream"],
        "Attempts to bring another stream of the source back after a failure.",
    ),
    row("dsengine_evidence_seconds", G, &["source"], "Seconds of the source's encoded stream that are kept."),
    row("dsengine_evidence_bytes", G, &["source"], "Bytes of the source's encoded stream that are kept."),
    row(
        "dsengine_evidence_dropped_total",
        C,
        &["source", "reason"],
        "Encoded pictures that were not kept as long as they should be, by reason.",
    ),
    row("dsengine_source_queue_depth", G, &["source"], "Frames of the source waiting for its lane."),
    row("dsengine_frames_decoded_total", C, &["source"], "Frames received from the source's decoder."),
    row("dsengine_frames_total", C, &["source"], "Frames judged: detected, tracked and seen by every strategy."),
    row("dsengine_frames_dropped_total", C, &["source", "reason"], "Frames not judged, by reason."),
    row(
        "dsengine_frame_latency_seconds",
        H,
        &["source", "stage"],
        "Time a frame spent in a stage; total is from arrival to verdict, capture from the camera's clock to verdict.",
    ),
    row("dsengine_detections_total", C, &["source", "class"], "Detections after all strategies, by class."),
    row(
        "dsengine_alerts_total",
        C,
        &["source", "rule", "outcome"],
        "Alerts by outcome: raised + recovered = delivered + dead_lettered + expired + dropped + suppressed + digested \
         + refused + still pending.",
    ),
    row(
        "dsengine_alert_deliveries_total",
        C,
        &["handler", "outcome"],
        "Delivery attempts by handler: delivered, retried, failed (given up).",
    ),
    row(
        "dsengine_alert_latency_seconds",
        H,
        &["handler"],
        "From the capture of the frame to the delivery of its alert.",
    ),
    row(
        "dsengine_alert_undelivered_total",
        C,
        &["reason"],
        "Deliveries that do not happen, one per alert and handler: given_up, expired, queue_full, journal_full, handler_removed.",
    ),
    row(
        "dsengine_alert_decisions_lost_total",
        C,
        &[],
        "Decisions on drafts that the log behind `dsengine explain` neither has nor counts, for lack of room.",
    ),
    row(
        "dsengine_alert_pictures_total",
        C,
        &["outcome"],
        "Pictures of alerts: kept, dropped (no room), failed (not encoded or written), removed (old, many, unneeded).",
    ),
    row(
        "dsengine_alert_commands_total",
        C,
        &["outcome"],
        "What handlers asked of the engine: taken, or refused as queue_full, too_large, closed.",
    ),
    row("dsengine_handler_memory_bytes", G, &["handler"], "Memory of a scripted handler's instance."),
    row("dsengine_handler_state_bytes", G, &["handler"], "State that the host keeps for a scripted handler."),
    row(
        "dsengine_handler_limited_total",
        C,
        &["handler", "what"],
        "What went over a limit without failing the delivery: slow deliveries, log lines left out.",
    ),
    row("dsengine_alerts_pending", G, &["handler"], "Alerts accepted and waiting for the handler."),
    row("dsengine_strategy_calls_total", C, BY_SOURCE, "Frames the strategy was asked to judge."),
    row("dsengine_strategy_off_schedule_total", C, BY_SOURCE, "Frames the strategy's schedule left out."),
    row(
        "dsengine_strategy_faults_total",
        C,
        &["strategy", "source", "kind"],
        "Calls that failed or ran into a limit, by kind; the frame passed unchanged.",
    ),
    row(
        "dsengine_strategy_limited_total",
        C,
        &["strategy", "source", "what"],
        "What went over a limit without failing the call: slow calls, alerts and log lines left out, messages cut; \
         overload: frames without an optional strategy.",
    ),
    row("dsengine_strategy_call_seconds", H, BY_SOURCE, "Duration of the strategy's calls."),
    row("dsengine_strategy_memory_bytes", G, BY_SOURCE, "Memory of the strategy's instance."),
    row("dsengine_strategy_state_bytes", G, BY_SOURCE, "State that the host keeps for the strategy."),
    row("dsengine_strategy_alerts_total", C, BY_SOURCE, "Alerts the strategy raised."),
    row(
        "dsengine_strategy_shadow_total",
        C,
        &["strategy", "source", "verdict"],
        "Frames shown to a shadow, by how its verdict compares: same, different, fault, skipped while it is switched off.",
    ),
    row(
        "dsengine_strategy_generation",
        G,
        &["strategy"],
        "Generation that judges now; grows by one with every reload.",
    ),
    row("dsengine_strategy_degraded", G, BY_SOURCE, "1 while the strategy is switched off after repeated faults."),
    row("dsengine_strategy_reloads_total", C, &["strategy", "result"], "Reloads by result: ok, rejected, rolled_back."),
    row("dsengine_inference_seconds", H, &["model"], "Duration of the model's runs, one per batch."),
    row("dsengine_inference_frames_total", C, &["model"], "Frames the model was run on."),
    row(
        "dsengine_inference_rejected_total",
        C,
        &["model"],
        "Values of the model's output that were refused: not finite, outside 0..1, no box.",
    ),
    row("dsengine_queue_depth", G, &["queue"], "Items waiting in a queue of the engine."),
    row(
        "dsengine_api_refused_total",
        C,
        &["reason"],
        "Requests that the API refused: wrong_token, no_token, scope (of a token that may not do this).",
    ),
    row("dsengine_log_lines_lost_total", C, &[], "Lines that logging.log_file did not take: they are missing from it."),
    row("process_cpu_seconds_total", C, &[], "User and system CPU time spent by the process."),
    row("process_resident_memory_bytes", G, &[], "Resident memory of the process."),
    row("process_open_fds", G, &[], "Open file descriptors of the process."),
    row("process_threads", G, &[], "Threads of the process."),
];
