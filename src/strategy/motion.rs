//! Background motion as a strategy: adds a detection labelled `motion` for every moving object.
//!
//! The default for sources without a model, so that any camera shows something useful in the first minute. It needs
//! pixels; a frame without a picture passes unchanged.

use std::sync::Arc;

use serde::Deserialize;

use super::{Fault, Strategy, Verdict, View};
use crate::error::{Code, Error};
use crate::guest::FaultKind;
use crate::types::{Detection, Unreadable};
use crate::vision::motion::{Background, MotionSettings};

/// The label of its detections.
pub const LABEL: &str = "motion";

/// The strategy's `config`, as written by users.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// How many standard deviations of its own noise a spot's brightness must deviate from its mean. Range 1..=20.
    threshold: f32,
    /// Minimum share of the picture. Range 0..=1.
    min_area: f32,
    /// Seconds for learning the background before anything is reported. Range 0..=600.
    warm_up_seconds: f32,
    /// Maximum detections per frame, largest first. Range 1..=1000.
    max_objects: usize,
}

impl Default for Config {
    fn default() -> Self {
        let MotionSettings { threshold, min_area, warm_up_ns, max_objects } = MotionSettings::default();
        Self { threshold, min_area, warm_up_seconds: warm_up_ns as f32 * 1e-9, max_objects }
    }
}

/// Reports moving objects.
pub struct Motion {
    name: String,
    label: Arc<str>,
    background: Background,
}

impl Motion {
    /// Creates a strategy of this name; `config` comes from the plan, null or an empty map for the defaults.
    ///
    /// # Errors
    /// [`Code::Config`] with the unknown or out-of-range key.
    pub fn new(name: impl Into<String>, config: &serde_json::Value) -> Result<Self, Error> {
        let name = name.into();
        let wrong = |what: String| Error::new(Code::Config, format!("strategy '{name}': {what}"));
        let config = match config {
            serde_json::Value::Null => Config::default(),
            given => Config::deserialize(given).map_err(|e| wrong(e.to_string()))?,
        };
        let Config { threshold, min_area, warm_up_seconds, max_objects } = config;
        let ranges = [
            ("threshold", threshold, 1.0, 20.0),
            ("min_area", min_area, 0.0, 1.0),
            ("warm_up_seconds", warm_up_seconds, 0.0, 600.0),
            ("max_objects", max_objects as f32, 1.0, 1000.0),
        ];
        if let Some((key, value, least, most)) = ranges.into_iter().find(|(_, v, a, b)| !(*a..=*b).contains(v)) {
            return Err(wrong(format!("{key} is {value}, it must be within {least}..={most}")));
        }
        let warm_up_ns = (f64::from(warm_up_seconds) * 1e9) as u64;
        let settings = MotionSettings { threshold, min_area, warm_up_ns, max_objects };
        Ok(Self { name, label: LABEL.into(), background: Background::new(settings) })
    }
}

impl Strategy for Motion {
    fn name(&self) -> &str {
        &self.name
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let Some(picture) = &view.frame.picture else { return Ok(Verdict::default()) };
        let unreadable =
            |error: Unreadable| Fault { kind: FaultKind::Error, message: format!("{}: {error}", self.name) };
        let picture = picture.planes().map_err(unreadable)?;
        let blobs = self.background.update(&picture, view.frame.pts_ns);
        let added = blobs.iter().map(|b| Detection::new(Arc::clone(&self.label), 0, b.contrast, b.bbox)).collect();
        Ok(Verdict { added, ..Verdict::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_by_name() {
        assert!(Motion::new("m", &serde_json::Value::Null).is_ok());
        assert!(Motion::new("m", &serde_json::json!({ "min_area": 0.01, "threshold": 5 })).is_ok());
        let message = |config| Motion::new("m", &config).err().unwrap().to_string();
        assert!(message(serde_json::json!({ "min_aera": 0.01 })).contains("unknown field `min_aera`"));
        assert_eq!(
            message(serde_json::json!({ "threshold": 0.5 })),
            "[E0101] strategy 'm': threshold is 0.5, it must be within 1..=20"
        );
    }
}
