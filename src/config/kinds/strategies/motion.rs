//! `motion`: the built-in motion detector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Kind, Listed, Planned, StrategyType};
use crate::config::build::Site;
use crate::config::plan::{ModelPlan, SourcePlan, StrategyKind, StrategyPlan};
use crate::config::schema;
use crate::config::warning::{Severity, Warning};
use crate::types::SourceId;

pub(super) const KIND: Kind = Kind {
    of: StrategyType::Motion,
    word: NAME,
    key: None,
    shapes: &[],
    applies: ("motion", "write `type: motion`"),
    config: Some(schema::inlined::<MotionSettings>),
    plan,
};

/// The name that implies the kind.
pub(super) const NAME: &str = "motion";

/// What its `config` may hold; the strategy has the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct MotionSettings {
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

fn plan(listed: &Listed<'_>, _: &mut Site<'_>) -> Option<Planned> {
    let head = &listed.entry.head;
    listed.is_active().then(|| {
        let config = Value::Object(head.config.clone());
        let plan = StrategyPlan { filters: head.filters, config, ..motion(&head.name, listed.only.clone()) };
        Planned::Lane(Box::new(plan))
    })
}

fn motion(name: &str, sources: Vec<SourceId>) -> StrategyPlan {
    StrategyPlan { sources, ..StrategyPlan::new(name, StrategyKind::Motion) }
}

/// Adds motion detection for sources with pictures and without a model, so that any camera shows something.
pub(in crate::config) fn by_default(
    models: &[ModelPlan],
    sources: &[&SourcePlan],
    site: &mut Site<'_>,
) -> Option<StrategyPlan> {
    let has_model = |id: &SourceId| models.iter().any(|model| model.sources.is_empty() || model.sources.contains(id));
    let bare: Vec<SourceId> =
        sources.iter().filter(|s| s.input.has_pixels() && !has_model(&s.id)).map(|s| s.id.clone()).collect();
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
    Some(motion(NAME, if all { Vec::new() } else { bare }))
}
