//! Handlers, which deliver alerts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{AlertFilter, BodyTemplate, EmailPlan, GrantPlan, LimitPlan, MqttPlan};
use crate::types::Period;

/// One handler.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerPlan {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Its kind, with its settings.
    pub kind: HandlerKind,
    /// Which alerts it gets.
    pub filter: AlertFilter,
    /// Age at which an alert is no longer tried; `None` = the alert policy's.
    pub max_age: Option<Duration>,
}

impl HandlerPlan {
    /// A handler that gets every alert, and tries it as long as the policy says.
    pub fn new(name: impl Into<Arc<str>>, kind: HandlerKind) -> Self {
        Self { name: name.into(), kind, filter: AlertFilter::default(), max_age: None }
    }
}

/// The kind of a handler.
#[derive(Debug, Clone, PartialEq)]
pub enum HandlerKind {
    /// Lines on standard output.
    Console,
    /// Lines in a file.
    File {
        /// The file.
        path: PathBuf,
        /// Rotate when it would grow past this.
        max_bytes: u64,
        /// Rotated files to keep.
        backups: u32,
        /// How an alert is written.
        format: FileFormat,
        /// How often to rotate, besides by size; `None` = by size only.
        every: Option<Period>,
    },
    /// Mail.
    Email(Box<EmailPlan>),
    /// A Lua script or a WASM component.
    Module(Box<ModulePlan>),
    /// Messages to an MQTT broker.
    Mqtt(Box<MqttPlan>),
    /// A Lua script of this program.
    Shipped {
        /// Its name, settings and grants.
        module: Box<ModulePlan>,
        /// The script.
        text: &'static str,
    },
    /// The alert as JSON over HTTP.
    Webhook(Box<WebhookPlan>),
}

/// A webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookPlan {
    /// The address. Print it only through `telemetry::redact`.
    pub url: String,
    /// The method of its requests.
    pub method: HttpMethod,
    /// Timeout for the response, connecting included.
    pub timeout: Duration,
    /// Timeout for connecting; `None` = the response's.
    pub connect_timeout: Option<Duration>,
    /// Extra headers.
    pub headers: BTreeMap<String, String>,
    /// User and password for Basic authorization. Never printed.
    pub user: Option<(String, String)>,
    /// The body; `None` = the alert as JSON.
    pub body: Option<BodyTemplate>,
    /// Whether the alert's picture is part of the body, where the body is the alert.
    pub picture: bool,
    /// Statuses that count as delivered; empty = 200 to 299.
    pub success: Vec<u16>,
    /// Delivery attempts per alert; `None` = the alert policy's.
    pub attempts: Option<u32>,
    /// The keys of the signatures: each signs, so that a receiver may change from one to the other. Never printed.
    pub signing_keys: Vec<Vec<u8>>,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

impl WebhookPlan {
    /// A webhook that posts alerts to `url`.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: HttpMethod::Post,
            timeout: Duration::from_secs(30),
            connect_timeout: None,
            headers: BTreeMap::new(),
            user: None,
            body: None,
            picture: false,
            success: Vec::new(),
            attempts: None,
            signing_keys: Vec::new(),
            ca_file: None,
        }
    }
}

/// The method of a webhook's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}

/// How a file handler writes an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileFormat {
    /// A JSON object per line.
    #[default]
    Json,
    /// Comma-separated values, with a line of names at the top of each file.
    Csv,
    /// The console's line, without colour.
    Text,
}

/// A script or component that delivers alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulePlan {
    /// The file.
    pub path: PathBuf,
    /// The table that contains a script's functions, if they are not globals.
    pub class: Option<String>,
    /// Its own settings, passed on unchanged.
    pub config: serde_json::Value,
    /// Overridden limits.
    pub limits: LimitPlan,
    /// Its granted capabilities.
    pub grants: GrantPlan,
    /// Whether its state survives a restart of an engine with live sources.
    pub persist_state: bool,
    /// The configuration's `extensions`, for scripts.
    pub extensions: Arc<serde_json::Value>,
}
