//! The labels that detections of a source may have, as far as they are known before its first frame.

use std::sync::Arc;

use super::versions::Facts;
use crate::config::{Input, Plan, SourcePlan, StrategyKind};
use crate::guest::Labels;
use crate::scene::LABELS;
use crate::strategy::MOTION_LABEL;

/// Reasons why other labels than the models' may occur.
const OF_A_RULE: &str = "a rule before it may add others";
const OF_A_TRACE: &str = "a trace may have any";
const OF_A_CAMERA: &str = "a camera that detects by itself may send any";
const OF_A_BACKEND: &str = "its backend may bring others";
const UNNAMED: &str = "a model's classes have no names: set its labels_path";

/// The classes of a model.
pub(super) struct Classes {
    pub(super) names: Vec<Arc<str>>,
    /// Whether the class names were configured or found in the model.
    pub(super) named: bool,
}

/// The facts known about a source. `classes` returns a model's classes by its name; `foreign` means that the embedder's
/// own backend plays the source.
pub(super) fn facts(
    plan: &Plan,
    source: &SourcePlan,
    foreign: bool,
    classes: impl Fn(&str) -> Option<Classes>,
) -> Facts {
    let labels = labels(plan, source, foreign, classes);
    Facts { zones: Arc::clone(&source.zones), labels, pixels: source.input.has_pixels() }
}

fn labels(plan: &Plan, source: &SourcePlan, foreign: bool, classes: impl Fn(&str) -> Option<Classes>) -> Labels {
    let any = |others| Labels { names: Vec::new(), others: Some(others) };
    match &source.input {
        _ if foreign => return any(OF_A_BACKEND),
        Input::Trace(_) => return any(OF_A_TRACE),
        Input::Detections(_) => return any(OF_A_CAMERA),
        Input::Scene { pixels: false, .. } => {
            return Labels { names: LABELS.map(Into::into).to_vec(), others: None };
        }
        Input::Images(_) | Input::Webcam(_) | Input::Chain { .. } | Input::Webrtc(_) => {}
        Input::File(_) | Input::Rtsp(_) | Input::Web(_) | Input::Test { .. } | Input::Scene { .. } => {}
    }
    let mut known = Labels::default();
    for model in plan.models.iter().filter(|model| model.judges(&source.id)) {
        let Some(Classes { names, named }) = classes(&model.name) else { continue };
        known.names.extend(names);
        known.others = known.others.or((!named).then_some(UNNAMED));
    }
    let motion = plan.strategies.iter().any(|s| s.kind == StrategyKind::Motion && s.judges(&source.id));
    known.names.extend(motion.then(|| MOTION_LABEL.into()));
    known
}

/// The facts about a source as a rule sees them: earlier rules may add labels where `may_label` returns true.
pub(super) fn seen_by(
    plan: &Plan,
    rule: &str,
    source: &SourcePlan,
    facts: Facts,
    may_label: impl Fn(&str) -> bool,
) -> Facts {
    let judging = plan.strategies.iter().filter(|s| s.judges(&source.id) && s.shadow_of.is_none());
    let mut before = judging.take_while(|s| s.name != rule).filter(|s| s.kind != StrategyKind::Motion);
    if facts.labels.others.is_some() || !before.any(|s| may_label(&s.name)) {
        return facts;
    }
    Facts { labels: Labels { others: Some(OF_A_RULE), ..facts.labels }, ..facts }
}
