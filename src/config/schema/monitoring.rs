//! `monitoring` and `logging`: what is seen from outside.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::plan::Scope;

/// Metrics, health, pages and API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Monitoring {
    /// Listen for HTTP: metrics, health, pages, API. Default true. Example: false.
    pub(in crate::config) enabled: bool,
    /// IP address of the listener. Loopback is open; any other asks for a token. Default 127.0.0.1. Example: 0.0.0.0.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) listen: String,
    /// Host names that requests may carry besides localhost and IP addresses. Default none. Example: [cam.example].
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub(in crate::config) allowed_hosts: Vec<String>,
    /// Who may ask, where the listener is not on loopback. Default none.
    /// Example: [{name: viewer, token: "${env:VIEWER_TOKEN}", scopes: [read]}].
    #[schemars(length(max = 100))]
    pub(in crate::config) tokens: Vec<Token>,
    /// What needs no token. Default [probes]. Example: [probes, metrics].
    #[schemars(length(max = 2))]
    pub(in crate::config) public: Vec<PublicPart>,
    /// Serve the metrics page. Default true. Example: false.
    pub(in crate::config) metrics_enabled: bool,
    /// Prometheus, nested form. Default: see its keys. Example: {port: 9100}.
    pub(in crate::config) prometheus: Prometheus,
    /// Serve the metrics page, flat form. Default true. Example: false.
    pub(in crate::config) prometheus_enabled: Option<bool>,
    /// Port of the listener, flat form; 0 = any free one. Default 8000. Range 0–65535. Example: 9100.
    #[schemars(range(min = 0, max = 65_535))]
    pub(in crate::config) prometheus_port: Option<u16>,
    /// Path of the metrics page, flat form. Default /metrics. Example: /prometheus.
    #[schemars(regex(pattern = r"^/"))]
    pub(in crate::config) prometheus_path: Option<String>,
    /// Pin the engine's threads to these cores. Default none. Range 0–1023. Example: [0, 1].
    #[schemars(length(max = 1024), inner(range(min = 0, max = 1023)))]
    pub(in crate::config) cpu_affinity: Vec<u32>,
    /// Inference workers, one thread each. Default none, one per core. Range 1–1024. Example: 4.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) thread_pool_size: Option<u32>,
    /// Time between samples of the machine and the process. Default 30. Unit: seconds. Range 1–300. Example: 10.
    #[schemars(range(min = 1, max = 300))]
    pub(in crate::config) metrics_interval: f64,
    /// Time between looks at the thresholds below. Default 30. Unit: seconds. Range 5–300. Example: 10.
    #[schemars(range(min = 5, max = 300))]
    pub(in crate::config) health_check_interval: f64,
    /// Say at the end of a run where the time went: by stage, model and rule. Default false. Example: true.
    pub(in crate::config) profiling_enabled: bool,
    /// Write a line with the newest figures to the log at each sample. Default true. Example: false.
    pub(in crate::config) log_metrics: bool,
    /// Try a live source again for ever. With false it stays down once it is failed (its `max_retries` are used up, or
    /// its settings have to be changed) until it is edited or `dsengine sources restart` is run. Default true.
    /// Example: false.
    pub(in crate::config) auto_recovery: bool,
    /// Give up something while the engine is overloaded: frames by the priority of their sources, then optional
    /// strategies, then new sources. Default true. Example: false.
    pub(in crate::config) degradation: bool,
    /// Most CPU of the machine in use, where it is set; more raises a system alert. Default 80. Unit: per cent.
    /// Range 10–100. Example: 90.
    #[schemars(range(min = 10, max = 100))]
    pub(in crate::config) cpu_threshold: f64,
    /// Most memory of the machine in use, where it is set; more raises a system alert. Default 80. Unit: per cent.
    /// Range 10–100. Example: 90.
    #[schemars(range(min = 10, max = 100))]
    pub(in crate::config) memory_threshold: f64,
    /// GPU use that raises a system alert. Default 90. Unit: per cent. Range 10–100. Example: 95.
    #[schemars(range(min = 10, max = 100))]
    pub(in crate::config) gpu_threshold: f64,
    /// Limits of the engine itself; each acts where it is set, and raises a system alert. Default: see its keys. Example: {min_fps: 10}.
    pub(in crate::config) thresholds: Thresholds,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: "127.0.0.1".to_owned(),
            allowed_hosts: Vec::new(),
            tokens: Vec::new(),
            public: vec![PublicPart::Probes],
            metrics_enabled: true,
            prometheus: Prometheus::default(),
            prometheus_enabled: None,
            prometheus_port: None,
            prometheus_path: None,
            cpu_affinity: Vec::new(),
            thread_pool_size: None,
            metrics_interval: 30.0,
            health_check_interval: 30.0,
            profiling_enabled: false,
            log_metrics: true,
            auto_recovery: true,
            degradation: true,
            cpu_threshold: 80.0,
            memory_threshold: 80.0,
            gpu_threshold: 90.0,
            thresholds: Thresholds::default(),
        }
    }
}

/// One who may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Token {
    /// Its name, in the audit; each its own. Default none, it is needed. Example: viewer.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) name: String,
    /// A reference to its text, which has 16 characters or more. Default none, it is needed.
    /// Example: "${env:VIEWER_TOKEN}".
    pub(in crate::config) token: String,
    /// What it allows: seeing, changing, sending pictures or detections in. Default none, it is needed.
    /// Example: [read, control].
    #[schemars(length(min = 1, max = 3))]
    pub(in crate::config) scopes: Vec<TokenScope>,
    /// The only sources that it is for, by id. Default none, all. Example: [gate].
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub(in crate::config) sources: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum TokenScope {
    Read,
    Control,
    Publish,
}

impl From<TokenScope> for Scope {
    fn from(word: TokenScope) -> Self {
        match word {
            TokenScope::Read => Self::Read,
            TokenScope::Control => Self::Control,
            TokenScope::Publish => Self::Publish,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum PublicPart {
    Probes,
    Metrics,
}

/// Prometheus, nested form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Prometheus {
    /// Serve the metrics page. Default true. Example: false.
    pub(in crate::config) enabled: Option<bool>,
    /// Port of the listener; 0 = any free one. Default 8000. Range 0–65535. Example: 9100.
    #[schemars(range(min = 0, max = 65_535))]
    pub(in crate::config) port: Option<u16>,
    /// Path of the metrics page. Default /metrics. Example: /prometheus.
    #[schemars(regex(pattern = r"^/"))]
    pub(in crate::config) path: Option<String>,
}

/// Limits of the engine itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Thresholds {
    /// Most memory of the engine. Default 2048. Unit: MB. Range 16–1048576. Example: 4096.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub(in crate::config) max_memory_mb: f64,
    /// Most of the machine's CPU that the engine uses. Default 80. Unit: per cent. Range 10–100. Example: 90.
    #[schemars(range(min = 10, max = 100))]
    pub(in crate::config) max_cpu_percent: f64,
    /// Fewest frames per second that a running source delivers. Default 20. Range 0–240. Example: 10.
    #[schemars(range(min = 0, max = 240))]
    pub(in crate::config) min_fps: f64,
    /// Longest mean time from a frame's arrival to its verdict. Default 200. Unit: milliseconds. Range 1–60000.
    /// Example: 500.
    #[schemars(range(min = 1, max = 60_000))]
    pub(in crate::config) max_latency_ms: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { max_memory_mb: 2048.0, max_cpu_percent: 80.0, min_fps: 20.0, max_latency_ms: 200.0 }
    }
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Logging {
    /// Lowest level that is logged. Default info. Example: debug.
    pub(in crate::config) level: LogLevel,
    /// JSON lines, plain text, or text with colour on a terminal. Default colored. Example: json.
    pub(in crate::config) format: LogFormat,
    /// Also write the log to this file. Default none. Example: /var/log/dsengine.log.
    pub(in crate::config) log_file: Option<PathBuf>,
    /// Write the log to standard error. Default true. Example: false.
    pub(in crate::config) console_output: bool,
    /// JSON lines, whatever `format` says. Default false. Example: true.
    pub(in crate::config) json_output: bool,
    /// Give each record of a JSON log the newest figures. Default true. Example: false.
    pub(in crate::config) include_metrics: bool,
    /// Rotate the log file at this size. Default 100. Unit: MB (1,000,000 bytes). Range 1–100000. Example: 10.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) max_file_size_mb: u32,
    /// Rotated log files to keep. Default 5. Range 0–1000. Example: 3.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) backup_count: u32,
    /// Let the log be followed as JSON lines at a port of loopback. Default false. Example: true.
    pub(in crate::config) real_time_streaming: bool,
    /// That port. Default 9999. Range 1024–65535. Example: 9998.
    #[schemars(range(min = 1024, max = 65_535))]
    pub(in crate::config) streaming_port: u16,
    /// Write a line that repeats once (an error five times), then how often it came in ten seconds. Default true. Example: false.
    pub(in crate::config) filter_spam: bool,
    /// Most lines of one place and level in a minute; how many more there were is told. Lines for debugging are not
    /// limited. Default 1000. Range 10–1000000. Example: 100.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub(in crate::config) rate_limit_per_minute: u32,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Colored,
            log_file: None,
            console_output: true,
            json_output: false,
            include_metrics: true,
            max_file_size_mb: 100,
            backup_count: 5,
            real_time_streaming: false,
            streaming_port: 9999,
            filter_spam: true,
            rate_limit_per_minute: 1000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl LogLevel {
    pub(in crate::config) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum LogFormat {
    Json,
    Text,
    Colored,
}
