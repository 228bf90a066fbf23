//! Detections: one object in one frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BBox;

/// A value that a strategy attached to a detection or an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// Named values on a detection; ordered, so that output is stable.
pub type Attributes = BTreeMap<String, Value>;

/// One object in one frame, on a model's, the hardware's or a script's word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Detection {
    /// The class's name, from the label file or the model.
    #[schema(value_type = String)]
    pub label: Arc<str>,
    /// The class's index in the model's output.
    pub class_id: u32,
    /// The detector's score, 0..1.
    pub confidence: f32,
    /// Where it is, 0..1 of the original picture.
    pub bbox: BBox,
    /// The tracker's id, stable while the object is followed; `None` until it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub track_id: Option<u64>,
    /// What strategies added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub attributes: Attributes,
}

impl Detection {
    /// A detection without track or attributes.
    pub fn new(label: impl Into<Arc<str>>, class_id: u32, confidence: f32, bbox: BBox) -> Self {
        Self { label: label.into(), class_id, confidence, bbox, track_id: None, attributes: Attributes::new() }
    }
}
