//! The table of keys: what each does, on which backend, and which test shows it. `configs/KEYS.md` is printed from it.
//!
//! A key whose capability is not built yet says here what it will do; a configuration that sets it is warned by name.

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// On every backend.
    All,
    /// On the portable backend.
    Portable,
    /// On DeepStream.
    DeepStream,
}

/// Whether a key does something yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Built; the test that shows the effect, where there is one yet.
    Built(Option<&'static str>),
    /// Not built: the effect is what it will do.
    NotBuilt,
}

/// One key.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: &'static str,
    backend: Backend,
    effect: &'static str,
    state: State,
}

const fn built(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::Built(None) }
}

const fn proved(key: &'static str, effect: &'static str, test: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::Built(Some(test)) }
}

const fn portable(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::Portable, effect, state: State::Built(None) }
}

const fn planned(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::NotBuilt }
}

const fn deepstream(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::DeepStream, effect, state: State::NotBuilt }
}

const ROWS: &[Row] = &[
    // The whole
    built("name", "named in status and logs"),
    planned("version", "shown in status"),
    built("debug", "log level debug unless logging.level is set"),
    planned("environment", "label in status and metrics"),
    built("thread_pool_size", "number of inference workers"),
    proved("max_concurrent_sources", "more enabled sources are refused", "more_sources_than_allowed_are_refused"),
    built("graceful_shutdown_timeout", "the process ends within it after a signal"),
    planned("extensions", "handed to scripts"),
    // pipeline
    built("pipeline.batch_size", "frames per inference call of a model with a dynamic batch axis"),
    built("pipeline.batch_timeout_ms", "an unfilled batch is inferred after it"),
    built("pipeline.batch_timeout_us", "an unfilled batch is inferred after it"),
    built("pipeline.fps", "frames analysed per second of each source"),
    deepstream("pipeline.width", "width of the muxed picture"),
    deepstream("pipeline.height", "height of the muxed picture"),
    planned("pipeline.processing_width", "width at which pictures are analysed"),
    planned("pipeline.processing_height", "height at which pictures are analysed"),
    planned("pipeline.buffer_pool_size", "buffers each decoder may hold"),
    deepstream("pipeline.gpu_id", "the GPU that decodes and infers"),
    planned("pipeline.enable_gpu_inference", "infer on the GPU where there is one"),
    deepstream("pipeline.memory_type", "where the GPU keeps pictures"),
    deepstream("pipeline.num_decode_surfaces", "surfaces of each hardware decoder"),
    planned("pipeline.processing_mode", "single infers each frame alone"),
    proved("pipeline.max_sources", "more enabled sources are refused", "more_sources_than_allowed_are_refused"),
    // detection
    built("detection.confidence_threshold", "detections that score lower are dropped"),
    built("detection.nms_threshold", "overlap above which the weaker box of a class is dropped"),
    built("detection.max_objects", "most detections per frame"),
    built("detection.enable_tracking", "detections carry track ids"),
    planned("detection.tracker_config_file", "settings of the tracker"),
    built("detection.model_engine_file", "the model that detects"),
    built("detection.labels_file", "names of the classes"),
    built("detection.input_shape", "input size of a model with a dynamic one"),
    built("detection.output_layers", "outputs that are read"),
    planned("detection.batch_inference", "false infers each frame alone"),
    planned("detection.max_batch_size", "bound on the batch of a TensorRT engine"),
    planned("detection.tensor_rt_precision", "precision of a TensorRT engine"),
    planned("detection.enabled_classes", "other labels are dropped"),
    planned("detection.supported_models", "kinds of models that are accepted"),
    built("detection.strategies[].name", "the strategy's name in logs and metrics"),
    built("detection.strategies[].enabled", "whether it runs"),
    built("detection.strategies[].model_path", "the model that detects"),
    built("detection.strategies[].labels_path", "names of the classes"),
    built("detection.strategies[].module", "the script that judges"),
    planned("detection.strategies[].class", "nothing: Python modules are ported to Lua"),
    built("detection.strategies[].sources", "only these sources are judged"),
    built("detection.strategies[].filters", "may take detections from later strategies"),
    built("detection.strategies[].config", "handed to the script as `config`"),
    planned("detection.strategies[].interval", "the model sees every n-th frame, the tracker bridges the others"),
    built("detection.strategies[].layout", "how the model's outputs are read"),
    built("detection.strategies[].input_shape", "input size of a model with a dynamic one"),
    built("detection.strategies[].output_layers", "outputs that are read"),
    built("detection.strategies[].confidence_threshold", "detections that score lower are dropped"),
    built("detection.strategies[].nms_threshold", "overlap above which the weaker box of a class is dropped"),
    built("detection.strategies[].max_objects", "most detections per frame"),
    planned("detection.strategies[].precision", "precision of a TensorRT engine"),
    planned(
        "detection.strategies[].config.interval",
        "the model sees every n-th frame, the tracker bridges the others",
    ),
    built("detection.strategies[].config.layout", "how the model's outputs are read"),
    built("detection.strategies[].config.input_shape", "input size of a model with a dynamic one"),
    built("detection.strategies[].config.output_layers", "outputs that are read"),
    built("detection.strategies[].config.confidence_threshold", "detections that score lower are dropped"),
    built("detection.strategies[].config.nms_threshold", "overlap above which the weaker box of a class is dropped"),
    built("detection.strategies[].config.max_objects", "most detections per frame"),
    planned("detection.strategies[].config.precision", "precision of a TensorRT engine"),
    // alerts
    built("alerts.enabled", "whether alerts are raised at all"),
    built("alerts.throttle_seconds", "duplicates are held back this long"),
    planned("alerts.burst_threshold", "most alerts of one rule within ten seconds"),
    planned("alerts.max_alerts_per_minute", "most alerts of one source in any minute"),
    built("alerts.min_confidence", "weaker alerts are refused"),
    built("alerts.level", "level of an alert that names none"),
    built("alerts.retry_attempts", "delivery attempts"),
    built("alerts.retry_delay", "pause between attempts"),
    built("alerts.handlers[].name", "the handler's name in logs and metrics, its kind by default"),
    built("alerts.handlers[].type", "console, file or webhook; email and slack are not built yet"),
    built("alerts.handlers[].enabled", "whether alerts go there"),
    built("alerts.handlers[].config.log_file", "where alerts are written"),
    built("alerts.handlers[].config.max_size_mb", "size at which the file rotates"),
    built("alerts.handlers[].config.backup_count", "rotated files kept"),
    built("alerts.handlers[].config.url", "where alerts are posted"),
    built("alerts.handlers[].config.timeout", "longest wait for an answer"),
    built("alerts.handlers[].config.headers", "headers of the request"),
    planned("alerts.handlers[].config.retry_attempts", "attempts of this handler alone"),
    planned("alerts.handlers[].config.smtp_server", "mail server of the email handler"),
    planned("alerts.handlers[].config.smtp_port", "its port"),
    planned("alerts.handlers[].config.username", "user name at the mail server"),
    planned("alerts.handlers[].config.password", "password at the mail server"),
    planned("alerts.handlers[].config.to_addresses", "receivers of mails"),
    planned("alerts.handlers[].config.webhook_url", "address of the slack handler"),
    // monitoring
    built("monitoring.enabled", "whether the HTTP listener is there"),
    built("monitoring.metrics_enabled", "whether the metrics page is there"),
    built("monitoring.prometheus.enabled", "whether the metrics page is there"),
    built("monitoring.prometheus.port", "port of the listener"),
    built("monitoring.prometheus.path", "path of the metrics page"),
    built("monitoring.prometheus_enabled", "whether the metrics page is there"),
    built("monitoring.prometheus_port", "port of the listener"),
    built("monitoring.prometheus_path", "path of the metrics page"),
    built("monitoring.cpu_affinity", "cores that the engine's threads are pinned to"),
    built("monitoring.thread_pool_size", "number of inference workers"),
    planned("monitoring.metrics_interval", "time between samples of the machine's metrics"),
    planned("monitoring.health_check_interval", "time between health checks"),
    planned("monitoring.profiling_enabled", "time per stage and script"),
    planned("monitoring.log_metrics", "metrics in the log"),
    planned("monitoring.auto_recovery", "false leaves failed sources down"),
    planned("monitoring.cpu_threshold", "system alert on CPU use"),
    planned("monitoring.memory_threshold", "system alert on memory use"),
    planned("monitoring.gpu_threshold", "system alert on GPU use"),
    planned("monitoring.thresholds.max_memory_mb", "system alert on the engine's memory"),
    planned("monitoring.thresholds.max_cpu_percent", "system alert on the engine's CPU use"),
    planned("monitoring.thresholds.min_fps", "system alert on a slow source"),
    planned("monitoring.thresholds.max_latency_ms", "system alert on late alerts"),
    // logging
    built("logging.level", "lowest level logged"),
    built("logging.format", "JSON, text, or text with colour on a terminal"),
    built("logging.log_file", "a file that gets the log as well"),
    built("logging.console_output", "whether standard error gets the log"),
    built("logging.json_output", "JSON lines, whatever format says"),
    planned("logging.include_metrics", "metrics in the log"),
    planned("logging.max_file_size_mb", "size at which the log file rotates"),
    planned("logging.backup_count", "rotated log files kept"),
    planned("logging.real_time_streaming", "the log for subscribers"),
    planned("logging.streaming_port", "port for that"),
    planned("logging.filter_spam", "repeated lines are held back"),
    planned("logging.rate_limit_per_minute", "most lines of one message"),
    // recovery
    portable("recovery.max_retries", "retries before a source counts as failed"),
    portable("recovery.retry_delay", "first delay before a retry"),
    portable("recovery.exponential_backoff", "whether the delay doubles"),
    portable("recovery.max_retry_delay", "longest delay"),
    portable("recovery.source_timeout_seconds", "longest silence of a source"),
    planned("recovery.circuit_breaker_enabled", "give up for a while after repeated failures"),
    planned("recovery.circuit_breaker_threshold", "failures that open the breaker"),
    planned("recovery.circuit_breaker_timeout", "time the breaker stays open"),
    planned("recovery.pipeline_restart_threshold", "errors after which the pipeline is rebuilt"),
    // inference
    built("inference.ort_library", "the libonnxruntime that is opened"),
    // sources
    built("sources[].id", "the source's name in frames, alerts, logs and metrics"),
    planned("sources[].name", "a name for people, shown beside the id"),
    built("sources[].type", "file, rtsp, test, scene, trace; webcam, webrtc, network and http are not built yet"),
    built("sources[].uri", "what is read"),
    built("sources[].enabled", "whether it is watched"),
    built("sources[].fps", "frames analysed per second"),
    built("sources[].realtime", "a file plays at its own pace"),
    built("sources[].zones", "areas of its picture"),
    built("sources[].confidence_threshold", "detections that score lower are dropped"),
    planned("sources[].max_objects", "most detections per frame of this source"),
    portable("sources[].max_retries", "retries before it counts as failed"),
    portable("sources[].retry_delay", "first delay before a retry"),
    portable("sources[].timeout", "longest silence"),
    planned("sources[].retry_count", "nothing: a counter that the old system wrote into its files"),
    planned("sources[].parameters.loop", "a file begins again at its end"),
    built("sources[].parameters.realtime", "a file plays at its own pace"),
    built("sources[].parameters.pattern", "the test picture"),
    built("sources[].parameters.frames", "frames of a test source"),
    built("sources[].parameters.num-buffers", "frames of a test source"),
    built("sources[].parameters.framerate", "frames per second of a test source"),
    built("sources[].parameters.width", "width of a test picture"),
    built("sources[].parameters.height", "height of a test picture"),
    built("sources[].parameters.seed", "what a scene shows"),
    built("sources[].parameters.pixels", "whether a scene has pictures"),
    built("sources[].parameters.live", "whether a scene drops what is late"),
    planned("sources[].parameters.latency", "jitter buffer of a stream"),
    planned("sources[].parameters.protocol", "transport of a stream"),
    planned("sources[].parameters.buffer_size", "receive buffer of a stream"),
    // zones
    built("zones", "areas of every source's picture"),
];

/// What a key will do once it is built; `None` for a key that is built, or is no key.
pub(super) fn not_built(key: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.key == key && row.state == State::NotBuilt).map(|row| row.effect)
}

/// Every key of the table, with the test that proves it, where there is one.
pub(super) fn table() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    ROWS.iter().map(|row| match row.state {
        State::Built(test) => (row.key, test),
        State::NotBuilt => (row.key, None),
    })
}

/// The table as Markdown.
pub fn keys_markdown() -> String {
    let missing = ROWS.iter().filter(|row| row.state == State::NotBuilt).count();
    let unproved = ROWS.iter().filter(|row| row.state == State::Built(None)).count();
    let mut out = format!(
        "# Every configuration key\n\nPrinted from `src/config/keys.rs`; what a key means, its range and default: \
         `dsengine schema`.\n\n{} keys: {missing} not built yet, {unproved} built without a test of the effect.\n\n\
         | key | backend | effect | proof |\n|---|---|---|---|\n",
        ROWS.len()
    );
    for row in ROWS {
        let backend = match row.backend {
            Backend::All => "all",
            Backend::Portable => "portable",
            Backend::DeepStream => "deepstream",
        };
        let proof = match row.state {
            State::Built(Some(test)) => format!("`{test}`"),
            State::Built(None) => "no test yet".to_owned(),
            State::NotBuilt => "**not built**".to_owned(),
        };
        out.push_str(&format!("| `{}` | {backend} | {} | {proof} |\n", row.key, row.effect));
    }
    out
}
