//! `detection`: what finds objects, and the strategies that judge them.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::hours::{HoursEntry, OneOrMany};
use crate::config::kinds::shape::{Shape, read, union, written};
use crate::config::kinds::strategies::{self, Model, ModelSettings, Module, StrategyType};
use crate::types::Precision;

/// What finds objects, and the strategies that judge them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Detection {
    /// Lowest score of a detection that is kept. Default 0.7. Range 0–1. Example: 0.4.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) confidence_threshold: f64,
    /// Overlap (IoU) above which the weaker of two boxes of one class is dropped. Default 0.5. Range 0–1.
    /// Example: 0.45.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) nms_threshold: f64,
    /// Most detections per frame, best first. Default 100. Range 1–10000. Example: 300.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) max_objects: u32,
    /// Follow objects over time. Default true. Example: false.
    pub(in crate::config) enable_tracking: bool,
    /// Settings of the tracker, a file of its own. Default none. Example: tracker.yaml.
    pub(in crate::config) tracker_config_file: Option<PathBuf>,
    /// A model without an entry under `strategies`. Default none. Example: models/street.onnx.
    pub(in crate::config) model_engine_file: Option<PathBuf>,
    /// Labels of the models, one per line. Default none, the model's own metadata. Example: models/coco.names.
    pub(in crate::config) labels_file: Option<PathBuf>,
    /// Channels, height and width of the models' input. Default none, the model's own. Example: [3, 608, 608].
    pub(in crate::config) input_shape: Option<InputShape>,
    /// Outputs to read, by name. Default none, all in the model's order. Example: ["output"].
    pub(in crate::config) output_layers: Option<Vec<String>>,
    /// Infer several frames at once. Default true. Example: false.
    pub(in crate::config) batch_inference: bool,
    /// Bound on `pipeline.batch_size` for TensorRT. Default none. Range 1–256. Example: 8.
    #[schemars(range(min = 1, max = 256))]
    pub(in crate::config) max_batch_size: Option<u32>,
    /// Precision of TensorRT engines. Default fp16. Example: fp32.
    pub(in crate::config) tensor_rt_precision: Precision,
    /// Labels to keep. Default none, all. Example: [person, car].
    pub(in crate::config) enabled_classes: Vec<String>,
    /// Kinds of models expected. Default none: the layout is found from the model itself. Example: [yolov8].
    pub(in crate::config) supported_models: Vec<String>,
    /// Models, scripts and components, in the order in which they see a frame. Default none: motion.
    /// Example: [{name: street, model_path: models/street.onnx}].
    #[schemars(length(max = 256))]
    pub(in crate::config) strategies: Vec<StrategyEntry>,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            confidence_threshold: 0.7,
            nms_threshold: 0.5,
            max_objects: 100,
            enable_tracking: true,
            tracker_config_file: None,
            model_engine_file: None,
            labels_file: None,
            input_shape: None,
            output_layers: None,
            batch_inference: true,
            max_batch_size: None,
            tensor_rt_precision: Precision::Fp16,
            enabled_classes: Vec::new(),
            supported_models: Vec::new(),
            strategies: Vec::new(),
        }
    }
}

/// Channels, height and width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(in crate::config) struct InputShape(
    #[schemars(inner(range(min = 1, max = 8192)))] pub(in crate::config) [usize; 3],
);

/// A model (`model_path`), a script or component (`module`), or a built-in (`name: motion`): what every strategy has,
/// and what the kinds have.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct StrategyEntry {
    pub(in crate::config) head: StrategyHead,
    pub(in crate::config) model: Model,
    pub(in crate::config) settings: ModelSettings,
    pub(in crate::config) module: Module,
}

/// What every strategy has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(in crate::config) struct StrategyHead {
    /// Its name, unique. `motion` without model and module is the built-in. Default none. Example: street.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) name: String,
    /// What it is. Default: told from `model_path`, `module` or the name. Example: motion.
    #[serde(default, rename = "type")]
    pub(in crate::config) kind: Option<StrategyType>,
    /// Whether it runs. Default true. Example: false.
    #[serde(default = "yes")]
    pub(in crate::config) enabled: bool,
    /// Only these sources, by id. Default none, all. Example: [gate, yard].
    #[serde(default)]
    pub(in crate::config) sources: Vec<String>,
    /// A script may take detections away from later strategies. Default false. Example: true.
    #[serde(default)]
    pub(in crate::config) filters: bool,
    /// When it judges, by a frame's capture time in `timezone`: hours, or a list of them. Default none, always.
    /// Example: {days: [mon-fri], from: "22:00", to: "06:00"}.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub(in crate::config) schedule: OneOrMany<HoursEntry>,
    /// Whether it is skipped while the engine is overloaded. Default false. Example: true.
    #[serde(default)]
    pub(in crate::config) optional: bool,
    /// Words that its alerts have as tags, besides those that a script gives them. Default none. Example: [night, dock].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub(in crate::config) tags: Vec<String>,
    /// Settings of a script, handed to it as they are; of a model, the keys below. Default none.
    /// Example: {zone: door}.
    #[serde(default)]
    pub(in crate::config) config: Map<String, Value>,
}

fn yes() -> bool {
    true
}

impl Serialize for StrategyEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { head, model, settings, module } = self;
        let mut map = written(head).map_err(S::Error::custom)?;
        map.extend(written(model).map_err(S::Error::custom)?);
        map.extend(written(settings).map_err(S::Error::custom)?);
        map.extend(written(module).map_err(S::Error::custom)?);
        map.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StrategyEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        let head = read(&map).map_err(D::Error::custom)?;
        let model = read(&map).map_err(D::Error::custom)?;
        let settings = read(&map).map_err(D::Error::custom)?;
        Ok(Self { head, model, settings, module: read(&map).map_err(D::Error::custom)? })
    }
}

impl JsonSchema for StrategyEntry {
    fn schema_name() -> Cow<'static, str> {
        "StrategyEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A model (`model_path`), a script or component (`module`), or a built-in (`name: motion`).";
        union(generator, description, [Shape::of::<StrategyHead>()].into_iter().chain(strategies::shapes()))
    }
}
