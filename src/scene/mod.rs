//! Scripted scenes: a street with persons, bicycles and cars from a small YAML file, rendered in pure Rust.
//!
//! A scene is a source without a camera and with known ground truth: the same seed yields the same bytes on every
//! machine (`math` avoids the platform's sine), any frame can be rendered on its own, and the ground truth comes from
//! the pixels that each object still owns after painting. `backend::scene` plays scenes as sources; [`export_training`]
//! uses the renderer to train our own model. Shipped scenes are in `scenes/`. Nothing here starts a thread or reads a
//! clock.
//!
//! Read `script` (the YAML format) and `stage` (how a frame is painted) next.

mod bicycle;
mod camera;
mod canvas;
mod car;
mod export;
mod ground;
mod i420;
mod math;
mod path;
mod person;
mod props;
mod random;
mod script;
mod stage;

use std::io::Read;
use std::sync::{Arc, Weak};

pub use export::{export_scene, export_training};
pub use random::Domain;

use crate::error::{Code, Error};
use crate::types::{BBox, Detection, Picture, Point, Polygon, Zone};
use script::Script;
use stage::Stage;

/// The built-in scenes, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("street", include_str!("../../scenes/street.yaml")),
    ("crossing", include_str!("../../scenes/crossing.yaml")),
    ("empty", include_str!("../../scenes/empty.yaml")),
];

/// Maximum size of a script.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

/// Labels of scene objects, in the order of their class ids.
pub const LABELS: [&str; 3] = ["person", "bicycle", "car"];

/// Ground truth: one object in a frame, as far as it is visible.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The object's number, from 1, constant over all frames. A bicycle and its rider are two objects.
    pub object: u64,
    /// Its class.
    pub label: Arc<str>,
    /// Index into [`LABELS`].
    pub class_id: u32,
    /// The box of its visible pixels, 0..1 of the picture.
    pub bbox: BBox,
    /// Share of its pixels inside the picture that nearer objects hide, 0..1.
    pub occluded: f32,
    /// Share of its box outside the picture, 0..1.
    pub truncated: f32,
    /// Number of visible pixels.
    pub pixels: u32,
}

/// A scene ready to play. Cheap to clone; frames are a pure function of script, seed and index.
#[derive(Debug, Clone)]
pub struct Scene {
    name: Arc<str>,
    stage: Arc<Stage>,
}

impl Scene {
    /// Loads a shipped scene by name, or a YAML file by path.
    ///
    /// # Errors
    /// When neither exists, or the script is invalid.
    pub fn load(name_or_path: &str) -> Result<Self, Error> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, name);
        }
        let mut bytes = Vec::new();
        let read = crate::text::open(std::path::Path::new(name_or_path))
            .and_then(|file| file.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|e| {
            let shipped: Vec<&str> = Self::shipped().collect();
            Error::new(Code::Source, format!("there is no scene `{name_or_path}`: {e}"))
                .hint(format!("shipped scenes are {}; anything else is the path of a YAML file", shipped.join(", ")))
        })?;
        if bytes.len() as u64 > SCRIPT_BYTES_MAX {
            return Err(Error::new(
                Code::Source,
                format!("scene `{name_or_path}` is longer than {SCRIPT_BYTES_MAX} bytes"),
            ));
        }
        let text = crate::text::decode(&bytes);
        let text = text.map_err(|e| Error::new(Code::Source, format!("scene `{name_or_path}`:{}: {e}", e.line)))?;
        Self::parse(&text, name_or_path)
    }

    /// Parses a scene from YAML; `name` is used in errors.
    ///
    /// # Errors
    /// When the script cannot be read or is invalid.
    pub fn parse(yaml: &str, name: &str) -> Result<Self, Error> {
        Ok(Self::from_script(Script::parse(yaml, name)?, name))
    }

    /// A random scene: objects, palettes, viewpoint, light and background are drawn from `seed`.
    pub fn random(seed: u64, domain: Domain) -> Self {
        Self::from_script(random::script(seed, domain), "random")
    }

    /// The names of the built-in scenes.
    pub fn shipped() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    fn from_script(script: Script, name: &str) -> Self {
        Self { name: name.into(), stage: Arc::new(Stage::new(script)) }
    }

    /// The same script with another seed: other noise, textures and clothes; the same paths.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        let script = Script { seed, ..self.stage.script().clone() };
        Self { name: self.name.clone(), stage: Arc::new(Stage::new(script)) }
    }

    /// The name or path it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.stage.script().frames()
    }

    /// Number of objects; they are numbered from 1.
    pub(crate) fn objects(&self) -> u64 {
        self.stage.objects()
    }

    /// Frames per second.
    pub fn fps(&self) -> f64 {
        f64::from(self.stage.script().fps)
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.stage.script().width, self.stage.script().height)
    }

    /// Presentation time of frame `index`, nanoseconds.
    pub fn pts_ns(&self, index: u64) -> u64 {
        (index as f64 * 1e9 / self.fps()).round() as u64
    }

    /// The zones suggested by the script.
    pub fn zones(&self) -> Vec<Zone> {
        let zones = self.stage.script().zones.iter();
        zones
            .filter_map(|z| {
                let points = z.polygon.iter().map(|&[x, y]| Point { x, y }).collect();
                Some(Zone { name: z.name.clone(), polygon: Polygon::new(points)? })
            })
            .collect()
    }

    /// Renders frame `index` as I420 (BT.709, limited range), with its truth.
    pub fn frame(&self, index: u64) -> (Picture, Vec<Truth>) {
        self.stage.frame(index)
    }

    /// The truth of frame `index`, without rendering colours.
    pub fn truth(&self, index: u64) -> Vec<Truth> {
        self.stage.truth(index)
    }

    /// The truth of frame `index` as tracked detections: the output of a perfect detector and tracker for visible
    /// objects. Objects hidden by more than [`HIDDEN_SHARE_MAX`], outside the picture by more than
    /// [`OUTSIDE_SHARE_MAX`] or lower than [`LOW_PIXELS`] are left out; the confidence is 1 minus half of the hidden
    /// share.
    pub fn detections(&self, index: u64) -> Vec<Detection> {
        let height = self.size().1 as f32;
        let seen = self.truth(index).into_iter();
        seen.filter(|t| t.occluded <= HIDDEN_SHARE_MAX && t.truncated <= OUTSIDE_SHARE_MAX)
            .filter(|t| t.bbox.height * height >= LOW_PIXELS)
            .map(|t| {
                let mut d = Detection::new(t.label, t.class_id, 1.0 - t.occluded * 0.5, t.bbox);
                d.track_id = Some(t.object);
                d
            })
            .collect()
    }
}

/// The stages in use.
#[derive(Debug, Default)]
pub(crate) struct Stages(Vec<Weak<Stage>>);

impl Stages {
    /// Returns the scene with the stage of another one with an identical script, if there is one, so that sources share
    /// cached work; otherwise remembers its own stage.
    pub(crate) fn share(&mut self, scene: Scene) -> Scene {
        self.0.retain(|stage| stage.strong_count() > 0);
        match self.0.iter().filter_map(Weak::upgrade).find(|stage| stage.script() == scene.stage.script()) {
            Some(stage) => Scene { stage, ..scene },
            None => {
                self.0.push(Arc::downgrade(&scene.stage));
                scene
            }
        }
    }
}

/// Objects hidden by more than this share are not detected.
pub const HIDDEN_SHARE_MAX: f32 = 0.7;
/// Objects outside the picture by more than this share are not detected.
pub const OUTSIDE_SHARE_MAX: f32 = 0.8;
/// Objects lower than this, in pixels, are not detected.
pub const LOW_PIXELS: f32 = 12.0;

#[cfg(test)]
mod tests;
