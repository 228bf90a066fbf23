//! Handlers: a name or a map each, told apart by kind.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Site;
use super::not_built;
use crate::config::plan::{HandlerKind, HandlerPlan, ModulePlan};
use crate::config::schema::{Alerts, Handler, HandlerEntry, HandlerSettings};
use crate::config::warning::{Severity, Warning};

/// Which settings each kind takes.
const SETTINGS: &[(&str, &[&str])] = &[
    ("console", &[]),
    ("file", &["log_file", "max_size_mb", "backup_count"]),
    ("webhook", &["url", "timeout", "headers", "retry_attempts"]),
    ("email", &["smtp_server", "smtp_port", "username", "password", "to_addresses"]),
    ("slack", &["webhook_url"]),
];

/// What only strategies have.
const STRATEGIES_ONLY: &[(&str, &str)] = &[
    ("limits.wall_ms", "a delivery waits for others: its bound is `timeout_seconds`"),
    ("limits.alerts_per_call", "a handler raises no alerts"),
    ("limits.added_per_call", "a handler adds no detections"),
    ("grants.pixels", "a handler has no picture"),
];

pub(super) fn build(alerts: &Alerts, site: &mut Site<'_>) -> Vec<HandlerPlan> {
    let mut out: Vec<HandlerPlan> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, HandlerEntry(handler)) in alerts.handlers.iter().enumerate() {
        let path = format!("alerts.handlers[{index}]");
        if names.contains(&handler.name.as_str()) {
            let message = format!("two handlers are named `{}`", handler.name);
            site.wrong(&path, message, "give each a name of its own, and its kind as `type`");
        }
        names.push(&handler.name);
        if let Some(kind) = kind(handler, &path, site).filter(|_| handler.enabled) {
            out.push(HandlerPlan { name: handler.name.as_str().into(), kind });
        }
    }
    out
}

/// What stands behind a handler, `None` where nothing can.
fn kind(handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
    if let Some(module) = &handler.module {
        return module_kind(handler, module, path, site);
    }
    for key in ["class", "settings", "limits", "grants"] {
        let at = format!("{path}.{key}");
        if site.places.is_set(&at) {
            let message = format!("`{key}` applies to a module, and handler `{}` has none", handler.name);
            site.wrong_key(&at, message, "name the script or component as `module`");
        }
    }
    let word = handler.kind.as_deref().unwrap_or(&handler.name);
    let Some((_, takes)) = SETTINGS.iter().find(|(kind, _)| *kind == word) else {
        let kinds = SETTINGS.iter().map(|(kind, _)| *kind);
        let label = match crate::config::nearest::nearest(word, kinds.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its kind is missing: type: {}", kinds.collect::<Vec<_>>().join(", ")),
        };
        site.wrong(&format!("{path}.name"), format!("there is no handler `{word}`"), label);
        return None;
    };
    let prefix = format!("{path}.config.");
    let strangers: Vec<String> = site
        .places
        .below(&prefix)
        .filter(|key| !key.contains(['.', '[']) && !takes.contains(key))
        .map(str::to_owned)
        .collect();
    for key in strangers {
        let label =
            if takes.is_empty() { "it takes no settings".to_owned() } else { format!("it takes {}", takes.join(", ")) };
        site.wrong_key(&format!("{prefix}{key}"), format!("`{key}` is no setting of a {word} handler"), label);
    }
    let HandlerSettings { log_file, max_size_mb, backup_count, url, timeout, headers, .. } = &handler.config;
    match word {
        "console" => Some(HandlerKind::Console),
        "file" => Some(HandlerKind::File {
            path: site.place_file(log_file.as_deref().unwrap_or("alerts.jsonl".as_ref())),
            max_bytes: (max_size_mb.unwrap_or(100.0) * 1e6) as u64,
            backups: backup_count.unwrap_or(5),
        }),
        "webhook" => {
            let Some(url) = url.as_deref().filter(|url| !url.is_empty()) else {
                if handler.enabled {
                    let message = format!("the webhook handler `{}` has no url", handler.name);
                    let hint = "set its config.url, or take it off the list";
                    site.warn(path, Warning::new("webhook-without-url", Severity::Refusal, message).hint(hint));
                }
                return None;
            };
            if !is_web_address(url) {
                let message = format!("`{prefix}url` is no web address");
                // Its path is a secret by itself, so it is not repeated.
                site.wrong(&format!("{prefix}url"), message, "expected https://host/path");
                return None;
            }
            Some(HandlerKind::Webhook {
                url: url.to_owned(),
                timeout: Duration::from_secs_f64(timeout.unwrap_or(30.0)),
                headers: headers.clone().unwrap_or_default(),
            })
        }
        other => {
            if handler.enabled {
                let message = format!("the handler `{other}` is not built yet");
                site.warn(path, not_built("handler-not-built", message, "console, file and webhook are"));
            }
            None
        }
    }
}

/// A script or a component.
fn module_kind(handler: &Handler, module: &Path, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
    if let Some(word) = handler.kind.as_deref().filter(|word| *word != "module") {
        let at = format!("{path}.type");
        site.wrong(&at, format!("handler `{}` is a module and a {word}", handler.name), "take one of them away");
        return None;
    }
    super::modules::does_not_apply(path, STRATEGIES_ONLY, site);
    let found = super::modules::with_ending(module, site);
    let module = found.as_deref().unwrap_or(module);
    if super::modules::language(module).is_none() {
        let message = format!("handler `{}`: no module is named `{}`", handler.name, module.display());
        site.wrong(&format!("{path}.module"), message, "expected a .lua script or a .wasm component");
        return None;
    }
    Some(HandlerKind::Module(Box::new(ModulePlan {
        path: site.find(module),
        class: handler.class.clone(),
        config: Value::Object(handler.settings.clone()),
        limits: handler.limits.clone().into(),
        grants: super::modules::grants(&handler.grants, site),
    })))
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
