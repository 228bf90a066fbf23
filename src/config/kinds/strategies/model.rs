//! `model`: a neural network.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Kind, Listed, Planned, Shape, StrategyType};
use crate::config::build::{Site, hardly_reached, not_built};
use crate::config::plan::ModelPlan;
use crate::config::schema::{self, Detection, InputShape};
use crate::types::{Layout, Precision};

pub(super) const KIND: Kind = Kind {
    of: StrategyType::Model,
    word: "model",
    key: Some("model_path"),
    shapes: &[Shape::of::<Model>(), Shape::of::<ModelSettings>()],
    applies: ("a model", "a script's own settings stand under `config`"),
    config: Some(schema::inlined::<ModelSettings>),
    plan,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(in crate::config) struct Model {
    /// A neural network. Default none. Example: models/street.onnx.
    pub(in crate::config) model_path: Option<PathBuf>,
    /// Its labels, one per line. Default none, the model's own metadata. Example: models/coco.names.
    labels_path: Option<PathBuf>,
}

/// The settings of a model: beside its name or under `config`, each once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ModelSettings {
    /// A model looks at every n-th frame only. Default 1. Range 1–1000. Example: 3.
    #[schemars(range(min = 1, max = 1000))]
    interval: Option<u32>,
    /// How a model's outputs are read. Default none, found from the model itself. Example: yolov8.
    layout: Option<Layout>,
    /// Channels, height and width of a model's input. Default `detection.input_shape`. Example: [3, 608, 608].
    input_shape: Option<InputShape>,
    /// Outputs of a model to read, by name. Default `detection.output_layers`. Example: ["output"].
    output_layers: Option<Vec<String>>,
    /// Lowest score this model's detections keep. Default `detection.confidence_threshold`. Range 0–1. Example: 0.4.
    #[schemars(range(min = 0.0, max = 1.0))]
    confidence_threshold: Option<f64>,
    /// Overlap for this model. Default `detection.nms_threshold`. Range 0–1. Example: 0.45.
    #[schemars(range(min = 0.0, max = 1.0))]
    nms_threshold: Option<f64>,
    /// Most detections of this model per frame. Default `detection.max_objects`. Range 1–10000. Example: 300.
    #[schemars(range(min = 1, max = 10_000))]
    max_objects: Option<u32>,
    /// Precision of this model's TensorRT engine. Default `detection.tensor_rt_precision`. Example: fp32.
    precision: Option<Precision>,
}

impl ModelSettings {
    /// These settings, completed from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            interval: self.interval.or(other.interval),
            layout: self.layout.or(other.layout),
            input_shape: self.input_shape.or(other.input_shape),
            output_layers: self.output_layers.or(other.output_layers),
            confidence_threshold: self.confidence_threshold.or(other.confidence_threshold),
            nms_threshold: self.nms_threshold.or(other.nms_threshold),
            max_objects: self.max_objects.or(other.max_objects),
            precision: self.precision.or(other.precision),
        }
    }
}

fn plan(listed: &Listed<'_>, site: &mut Site<'_>) -> Option<Planned> {
    let Model { model_path, labels_path } = &listed.entry.model;
    let file = model_path.as_deref()?;
    let settings = settings(listed, site);
    if !listed.is_active() {
        return None;
    }
    refuse_engine(file, &format!("{}.model_path", listed.path), site);
    let plan = model(listed.name(), file, settings, listed.detection, site);
    let labels = labels_path.as_deref().map(|path| site.find(path)).or(plan.labels);
    Some(Planned::Model(Box::new(ModelPlan { labels, sources: listed.only.clone(), ..plan })))
}

/// The model that `detection.model_engine_file` names without an entry of its own.
pub(in crate::config) fn default_model(file: &Path, detection: &Detection, site: &mut Site<'_>) -> ModelPlan {
    refuse_engine(file, "detection.model_engine_file", site);
    model("model", file, ModelSettings::default(), detection, site)
}

fn model(name: &str, file: &Path, settings: ModelSettings, detection: &Detection, site: &Site<'_>) -> ModelPlan {
    let set = site.places.is_set("detection.tensor_rt_precision");
    ModelPlan {
        name: name.to_owned(),
        model: site.find(file),
        labels: detection.labels_file.as_deref().map(|path| site.find(path)),
        confidence: settings.confidence_threshold.unwrap_or(detection.confidence_threshold) as f32,
        nms: settings.nms_threshold.unwrap_or(detection.nms_threshold) as f32,
        max_objects: settings.max_objects.unwrap_or(detection.max_objects) as usize,
        input_shape: settings.input_shape.or(detection.input_shape).map(|shape| shape.0),
        output_layers: settings.output_layers.or_else(|| detection.output_layers.clone()).unwrap_or_default(),
        layout: settings.layout,
        interval: settings.interval.unwrap_or(1),
        sources: Vec::new(),
        precision: settings.precision.or(set.then_some(detection.tensor_rt_precision)),
        schedule: None,
        optional: false,
    }
}

/// The entry's own settings and those under `config`.
fn settings(listed: &Listed<'_>, site: &mut Site<'_>) -> ModelSettings {
    let path = listed.path;
    let inner = match serde_json::from_value(Value::Object(listed.entry.head.config.clone())) {
        Ok(inner) => inner,
        Err(error) => {
            // A key that does not fit was reported with its own location, in addition to this.
            let message = format!("the `config` of strategy `{}` cannot be read", listed.name());
            site.wrong(&format!("{path}.config"), message, error.to_string());
            ModelSettings::default()
        }
    };
    for key in Shape::of::<ModelSettings>().keys() {
        let (beside, under) = (format!("{path}.{key}"), format!("{path}.config.{key}"));
        if site.places.is_set(&beside) && site.places.is_set(&under) {
            let message = format!("`{key}` of strategy `{}` is set twice", listed.name());
            site.wrong_key(&under, message, format!("it is set as `{beside}`, too"));
        }
    }
    let settings = listed.entry.settings.clone().or(inner);
    if let Some(score) = settings.confidence_threshold {
        let beside = format!("{path}.confidence_threshold");
        let at = if site.places.is_set(&beside) { beside } else { format!("{path}.config.confidence_threshold") };
        hardly_reached(&at, score, site);
    }
    settings
}

fn refuse_engine(file: &Path, path: &str, site: &mut Site<'_>) {
    if file.extension().is_some_and(|e| e == "engine") {
        let message = format!("{} is a TensorRT engine, and this build has no TensorRT", file.display());
        let hint = "use the ONNX file that it was made from";
        site.warn(path, not_built("engine-without-tensorrt", message, hint));
    }
}
