//! `detection`: what finds objects, and the strategies that judge them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::guests::{Grants, Limits, Mode, OnFailure};

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

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Precision {
    Fp32,
    Fp16,
    Int8,
}

impl Precision {
    pub(in crate::config) fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Layout {
    Yolov8,
    Yolox,
}

impl Layout {
    pub(in crate::config) fn as_str(self) -> &'static str {
        match self {
            Self::Yolov8 => "yolov8",
            Self::Yolox => "yolox",
        }
    }
}

/// A model (`model_path`), a script or component (`module`), or a built-in (`name: motion`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct StrategyEntry {
    /// Its name, unique. `motion` without model and module is the built-in. Default none. Example: street.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) name: String,
    /// Whether it runs. Default true. Example: false.
    #[serde(default = "yes")]
    pub(in crate::config) enabled: bool,
    /// A neural network. Default none. Example: models/street.onnx.
    #[serde(default)]
    pub(in crate::config) model_path: Option<PathBuf>,
    /// Its labels, one per line. Default none, the model's own metadata. Example: models/coco.names.
    #[serde(default)]
    pub(in crate::config) labels_path: Option<PathBuf>,
    /// A Lua script or a WASM component. Default none. Example: scripts/intrusion.lua.
    #[serde(default)]
    pub(in crate::config) module: Option<PathBuf>,
    /// The table of a script that holds its functions, where they are not globals. Default none.
    /// Example: MyCustomStrategy.
    #[serde(default)]
    pub(in crate::config) class: Option<String>,
    /// Only these sources, by id. Default none, all. Example: [gate, yard].
    #[serde(default)]
    pub(in crate::config) sources: Vec<String>,
    /// A script may take detections away from later strategies. Default false. Example: true.
    #[serde(default)]
    pub(in crate::config) filters: bool,
    /// Settings of a script, handed to it as they are; of a model, the keys below. Default none.
    /// Example: {zone: door}.
    #[serde(default)]
    pub(in crate::config) config: Map<String, Value>,
    /// What a script or component may use. Default: see its keys. Example: {hard_ms: 50}.
    #[serde(default)]
    pub(in crate::config) limits: Limits,
    /// What a script or component may reach. Default: see its keys. Example: {pixels: true}.
    #[serde(default)]
    pub(in crate::config) grants: Grants,
    /// What becomes of a frame whose judgement fails: `pass` lets it go on unchanged, `skip` shows it to no later
    /// strategy, `disable` is `pass` and switches the strategy off once failures repeat. Default pass. Example: skip.
    #[serde(default)]
    pub(in crate::config) on_failure: OnFailure,
    /// `shadow` runs it beside `shadow_of` without effects and counts differing verdicts. Default active.
    /// Example: shadow.
    #[serde(default)]
    pub(in crate::config) mode: Mode,
    /// The strategy that a shadow is compared with. Default none. Example: loitering.
    #[serde(default)]
    pub(in crate::config) shadow_of: Option<String>,
    /// A model looks at every n-th frame only. Default 1. Range 1–1000. Example: 3.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) interval: Option<u32>,
    /// How a model's outputs are read. Default none, found from the model itself. Example: yolov8.
    #[serde(default)]
    pub(in crate::config) layout: Option<Layout>,
    /// Channels, height and width of a model's input. Default `detection.input_shape`. Example: [3, 608, 608].
    #[serde(default)]
    pub(in crate::config) input_shape: Option<InputShape>,
    /// Outputs of a model to read, by name. Default `detection.output_layers`. Example: ["output"].
    #[serde(default)]
    pub(in crate::config) output_layers: Option<Vec<String>>,
    /// Lowest score this model's detections keep. Default `detection.confidence_threshold`. Range 0–1. Example: 0.4.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) confidence_threshold: Option<f64>,
    /// Overlap for this model. Default `detection.nms_threshold`. Range 0–1. Example: 0.45.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) nms_threshold: Option<f64>,
    /// Most detections of this model per frame. Default `detection.max_objects`. Range 1–10000. Example: 300.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) max_objects: Option<u32>,
    /// Precision of this model's TensorRT engine. Default `detection.tensor_rt_precision`. Example: fp32.
    #[serde(default)]
    pub(in crate::config) precision: Option<Precision>,
}

fn yes() -> bool {
    true
}

/// What a model's `config` may hold: the same as beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ModelSettings {
    /// A model looks at every n-th frame only. Default 1. Range 1–1000. Example: 3.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) interval: Option<u32>,
    /// How a model's outputs are read. Default none, found from the model itself. Example: yolov8.
    pub(in crate::config) layout: Option<Layout>,
    /// Channels, height and width of the input. Default `detection.input_shape`. Example: [3, 608, 608].
    pub(in crate::config) input_shape: Option<InputShape>,
    /// Outputs to read, by name. Default `detection.output_layers`. Example: ["output"].
    pub(in crate::config) output_layers: Option<Vec<String>>,
    /// Lowest score kept. Default `detection.confidence_threshold`. Range 0–1. Example: 0.4.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) confidence_threshold: Option<f64>,
    /// Overlap (IoU) of boxes that are one. Default `detection.nms_threshold`. Range 0–1. Example: 0.45.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) nms_threshold: Option<f64>,
    /// Most detections per frame. Default `detection.max_objects`. Range 1–10000. Example: 300.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) max_objects: Option<u32>,
    /// Precision of the TensorRT engine. Default `detection.tensor_rt_precision`. Example: fp32.
    pub(in crate::config) precision: Option<Precision>,
}

/// What the `config` of the built-in `motion` may hold; the strategy has the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MotionSettings {
    /// Standard deviations of its own noise that a spot must leave its usual brightness by. Range 1–20.
    #[schemars(range(min = 1.0, max = 20.0))]
    threshold: Option<f64>,
    /// Smallest share of the picture that counts. Range 0–1.
    #[schemars(range(min = 0.0, max = 1.0))]
    min_area: Option<f64>,
    /// Time to learn the background before anything is reported. Unit: seconds. Range 0–600.
    #[schemars(range(min = 0.0, max = 600.0))]
    warm_up_seconds: Option<f64>,
    /// Most detections per frame, largest first. Range 1–1000.
    #[schemars(range(min = 1, max = 1000))]
    max_objects: Option<u32>,
}
