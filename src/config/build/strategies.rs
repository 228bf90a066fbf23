//! Strategies: models first, then what judges on the lane.

use std::path::Path;

use serde_json::Value;

use super::sources::has_pixels;
use super::{Site, known_sources, modules, not_built};
use crate::config::plan::{GrantPlan, LimitPlan, ModelPlan, OnFailure, SourcePlan, StrategyKind, StrategyPlan};
use crate::config::schema::{Detection, Mode, ModelSettings, StrategyEntry};
use crate::config::warning::{Severity, Warning};
use crate::types::SourceId;

/// What only handlers have.
const HANDLERS_ONLY: &[(&str, &str)] = &[
    ("limits.timeout_seconds", "a strategy waits for nothing: its calls have `wall_ms`"),
    ("grants.http", "a strategy sends no requests: raise an alert and let a handler send it"),
    ("grants.secrets", "secrets are for requests, and a strategy sends none"),
];
/// What only scripts and components have.
const MODULES_ONLY: &[&str] = &["class", "limits", "grants", "on_failure", "mode", "shadow_of"];
/// The built-in that watches for motion.
const MOTION: &str = "motion";

pub(super) fn build(
    detection: Detection,
    sources: &[&SourcePlan],
    site: &mut Site<'_>,
) -> (Vec<ModelPlan>, Vec<StrategyPlan>) {
    let mut models = Vec::new();
    let mut strategies = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut motion_is_listed = false;
    if let Some(path) = &detection.model_engine_file {
        names.push("model".to_owned());
        models.push(model("model", path, None, &ModelSettings::default(), Vec::new(), &detection, site));
        refuse_engine(path, "detection.model_engine_file", site);
    }
    for (index, entry) in detection.strategies.iter().enumerate() {
        let path = format!("detection.strategies[{index}]");
        if names.contains(&entry.name) {
            let message = format!("two strategies are named `{}`", entry.name);
            site.wrong(&format!("{path}.name"), message, "give each a name of its own");
        }
        names.push(entry.name.clone());
        let only = known_sources(&entry.sources, &format!("{path}.sources"), sources, site);
        // Limited to sources that are all switched off: nothing left to look at.
        let idle = !entry.sources.is_empty() && only.is_empty();
        let kind = match (&entry.model_path, &entry.module) {
            (Some(_), Some(_)) => {
                let label = "a strategy is a model or a module";
                site.wrong_key(&format!("{path}.module"), format!("`{path}` has a model and a module"), label);
                continue;
            }
            (Some(file), None) => {
                module_keys_do_not_apply(entry, &path, site);
                let settings = model_settings(entry, &path, site);
                if entry.enabled && !idle {
                    let labels = entry.labels_path.as_deref();
                    models.push(model(&entry.name, file, labels, &settings, only, &detection, site));
                    refuse_engine(file, &format!("{path}.model_path"), site);
                }
                continue;
            }
            (None, Some(module)) => {
                model_keys_do_not_apply(entry, &path, site);
                modules::does_not_apply(&path, HANDLERS_ONLY, site);
                if !entry.enabled {
                    continue;
                }
                match module_kind(entry, module, &path, site) {
                    Some(kind) => kind,
                    None => continue,
                }
            }
            (None, None) if entry.name == MOTION => {
                motion_is_listed = true;
                module_keys_do_not_apply(entry, &path, site);
                model_keys_do_not_apply(entry, &path, site);
                if !entry.enabled {
                    continue;
                }
                StrategyKind::Motion
            }
            (None, None)
                if site.places.is_set(&format!("{path}.module"))
                    || site.places.is_set(&format!("{path}.model_path")) =>
            {
                continue;
            }
            (None, None) => {
                let label = "`model_path` or `module` is needed";
                site.wrong(&path, format!("strategy `{}` says neither model nor module", entry.name), label);
                continue;
            }
        };
        if !idle {
            let config = Value::Object(entry.config.clone());
            let shadow_of = shadowed(entry, &path, &detection, site);
            strategies.push(StrategyPlan {
                name: entry.name.clone(),
                kind,
                sources: only,
                filters: entry.filters,
                config,
                class: entry.class.clone(),
                limits: entry.limits.clone().into(),
                grants: modules::grants(&entry.grants, site),
                on_failure: entry.on_failure.into(),
                shadow_of,
            });
        }
    }
    if !motion_is_listed {
        strategies.splice(0..0, motion_by_default(&models, sources, site));
    }
    (models, strategies)
}

/// The strategy that a shadow is compared with.
fn shadowed(entry: &StrategyEntry, path: &str, detection: &Detection, site: &mut Site<'_>) -> Option<String> {
    let at = format!("{path}.shadow_of");
    match (entry.mode, &entry.shadow_of) {
        (Mode::Active, None) => None,
        (Mode::Active, Some(_)) => {
            site.wrong_key(&at, format!("strategy `{}` is no shadow", entry.name), "write `mode: shadow`, too");
            None
        }
        (Mode::Shadow, None) => {
            let message = format!("the shadow `{}` does not say whose it is", entry.name);
            site.wrong(&format!("{path}.mode"), message, "name the strategy it is compared with as `shadow_of`");
            None
        }
        (Mode::Shadow, Some(of)) => {
            let mut others = detection.strategies.iter().filter(|s| s.name != entry.name && s.module.is_some());
            if !others.any(|s| s.name == *of && s.mode == Mode::Active) {
                let label = "expected the name of an active strategy with a module";
                site.wrong(&at, format!("there is no strategy `{of}` to run beside"), label);
            }
            let is_other = |s: &&StrategyEntry| s.enabled && s.shadow_of.as_ref() == Some(of) && s.mode == Mode::Shadow;
            // In listed order, so that the second one is told.
            if let Some(first) = detection.strategies.iter().find(is_other).filter(|first| first.name != entry.name) {
                let label = "take one of them away: a strategy has one shadow at a time";
                site.wrong(&at, format!("`{of}` already has the shadow `{}`", first.name), label);
            }
            Some(of.clone())
        }
    }
}

/// A source with pictures and no model is watched for motion, so that any camera shows something.
fn motion_by_default(models: &[ModelPlan], sources: &[&SourcePlan], site: &mut Site<'_>) -> Option<StrategyPlan> {
    let has_model = |id: &SourceId| models.iter().any(|model| model.sources.is_empty() || model.sources.contains(id));
    let bare: Vec<SourceId> =
        sources.iter().filter(|s| has_pixels(&s.input) && !has_model(&s.id)).map(|s| s.id.clone()).collect();
    let all = bare.len() == sources.len();
    if (bare.is_empty() && !sources.is_empty()) || (sources.is_empty() && !models.is_empty()) {
        return None;
    }
    let message = if all {
        "no model is configured: sources are watched for motion".to_owned()
    } else {
        let ids: Vec<&str> = bare.iter().map(SourceId::as_str).collect();
        format!("no model is configured for {}: watched for motion", ids.join(", "))
    };
    let hint =
        "set one with detection.strategies: [{name: objects, model_path: your-model.onnx}] (YOLOv8, v11 or YOLOX)";
    site.warnings.push(Warning::new("no-model", Severity::Note, message).hint(hint));
    Some(StrategyPlan {
        name: MOTION.to_owned(),
        kind: StrategyKind::Motion,
        sources: if all { Vec::new() } else { bare },
        filters: false,
        config: Value::Object(serde_json::Map::new()),
        class: None,
        limits: LimitPlan::default(),
        grants: GrantPlan::default(),
        on_failure: OnFailure::default(),
        shadow_of: None,
    })
}

fn model(
    name: &str,
    file: &Path,
    labels: Option<&Path>,
    settings: &ModelSettings,
    sources: Vec<SourceId>,
    detection: &Detection,
    site: &Site<'_>,
) -> ModelPlan {
    let set = site.places.is_set("detection.tensor_rt_precision");
    ModelPlan {
        name: name.to_owned(),
        model: site.find(file),
        labels: labels.or(detection.labels_file.as_deref()).map(|path| site.find(path)),
        confidence: settings.confidence_threshold.unwrap_or(detection.confidence_threshold) as f32,
        nms: settings.nms_threshold.unwrap_or(detection.nms_threshold) as f32,
        max_objects: settings.max_objects.unwrap_or(detection.max_objects) as usize,
        input_shape: settings.input_shape.or(detection.input_shape).map(|shape| shape.0),
        output_layers: settings.output_layers.clone().or_else(|| detection.output_layers.clone()).unwrap_or_default(),
        layout: settings.layout.map(|layout| layout.as_str().to_owned()),
        interval: settings.interval.unwrap_or(1),
        sources,
        precision: settings
            .precision
            .or(set.then_some(detection.tensor_rt_precision))
            .map(|precision| precision.as_str().to_owned()),
    }
}

/// A key that only a script or component has, on a strategy that is none.
fn module_keys_do_not_apply(entry: &StrategyEntry, path: &str, site: &mut Site<'_>) {
    for key in MODULES_ONLY {
        let at = format!("{path}.{key}");
        if site.places.is_set(&at) {
            let message = format!("`{key}` applies to a script or component, and strategy `{}` is none", entry.name);
            site.wrong_key(&at, message, "name one as `module`");
        }
    }
}

/// A model's settings: beside its name or under `config`, each once.
fn model_settings(entry: &StrategyEntry, path: &str, site: &mut Site<'_>) -> ModelSettings {
    let inner: ModelSettings = match serde_json::from_value(Value::Object(entry.config.clone())) {
        Ok(inner) => inner,
        Err(error) => {
            // Where a key did not fit, that was said with its own place, and this comes beside it.
            let message = format!("the `config` of strategy `{}` cannot be read", entry.name);
            site.wrong(&format!("{path}.config"), message, error.to_string());
            ModelSettings::default()
        }
    };
    let mut twice = |key: &str, a: bool, b: bool| {
        if a && b {
            let message = format!("`{key}` of strategy `{}` is set twice", entry.name);
            let label = format!("it is set as `{path}.{key}`, too");
            site.wrong_key(&format!("{path}.config.{key}"), message, label);
        }
    };
    twice("interval", entry.interval.is_some(), inner.interval.is_some());
    twice("layout", entry.layout.is_some(), inner.layout.is_some());
    twice("input_shape", entry.input_shape.is_some(), inner.input_shape.is_some());
    twice("output_layers", entry.output_layers.is_some(), inner.output_layers.is_some());
    twice("confidence_threshold", entry.confidence_threshold.is_some(), inner.confidence_threshold.is_some());
    twice("nms_threshold", entry.nms_threshold.is_some(), inner.nms_threshold.is_some());
    twice("max_objects", entry.max_objects.is_some(), inner.max_objects.is_some());
    twice("precision", entry.precision.is_some(), inner.precision.is_some());
    ModelSettings {
        interval: entry.interval.or(inner.interval),
        layout: entry.layout.or(inner.layout),
        input_shape: entry.input_shape.or(inner.input_shape),
        output_layers: entry.output_layers.clone().or(inner.output_layers),
        confidence_threshold: entry.confidence_threshold.or(inner.confidence_threshold),
        nms_threshold: entry.nms_threshold.or(inner.nms_threshold),
        max_objects: entry.max_objects.or(inner.max_objects),
        precision: entry.precision.or(inner.precision),
    }
}

/// A key that only a model has, on a strategy that is none, would have no effect: said, not swallowed.
fn model_keys_do_not_apply(entry: &StrategyEntry, path: &str, site: &mut Site<'_>) {
    for key in [
        "labels_path",
        "interval",
        "layout",
        "input_shape",
        "output_layers",
        "confidence_threshold",
        "nms_threshold",
        "max_objects",
        "precision",
    ] {
        let at = format!("{path}.{key}");
        if site.places.is_set(&at) {
            let message = format!("`{key}` applies to a model, and strategy `{}` is none", entry.name);
            site.wrong_key(&at, message, "a script's own settings stand under `config`");
        }
    }
}

fn module_kind(entry: &StrategyEntry, module: &Path, path: &str, site: &mut Site<'_>) -> Option<StrategyKind> {
    let at = format!("{path}.module");
    if let Some(found) = modules::with_ending(module, site) {
        return module_kind(entry, &found, path, site);
    }
    match module.extension().and_then(|e| e.to_str()) {
        Some("lua" | "luau") => Some(StrategyKind::Lua(site.find(module))),
        Some("wasm") => Some(StrategyKind::Wasm(site.find(module))),
        _ if site.find(module).is_dir() => {
            let message = format!("strategy `{}`: {} is a folder", entry.name, module.display());
            site.wrong(&at, message, "name the .lua or .wasm in it, as its plugin.toml has it under `entry`");
            None
        }
        None | Some("py") => {
            let stem = module.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
            let message = format!("strategy `{}` is a Python module, which is not run", entry.name);
            let hint = format!(
                "port it to Lua: `detect(frame)` becomes a function in scripts/{stem}.lua, which is then named as \
                 `module: scripts/{stem}.lua`; `dsengine explain E0102` shows one beside the other"
            );
            site.warn(&at, not_built("python-module", message, &hint));
            None
        }
        Some(other) => {
            let message = format!("strategy `{}`: no module ends in `.{other}`", entry.name);
            site.wrong(&at, message, "expected a .lua script or a .wasm component");
            None
        }
    }
}

fn refuse_engine(file: &Path, path: &str, site: &mut Site<'_>) {
    if file.extension().is_some_and(|e| e == "engine") {
        let message = format!("{} is a TensorRT engine, and this build has no TensorRT", file.display());
        let hint = "use the ONNX file that it was made from";
        site.warn(path, not_built("engine-without-tensorrt", message, hint));
    }
}
