//! Scripted scenes: a street of persons, bicycles and cars from a small YAML, rendered in pure Rust.
//!
//! A scene is the source that needs no camera and whose truth is known: the same seed gives the same bytes on
//! every machine (`math` avoids the platform's sine), any frame can be had without the ones before it, and
//! the ground truth comes from the very pixels that each object still owns after all painting. `backend::scene` plays
//! scenes as sources; [`export_training`] feeds the same renderer to the training of our own model. Shipped scenes lie
//! in `scenes/`. Nothing here starts a thread or reads a clock.
//!
//! Read on in `script` (what the YAML says) and `stage` (how a frame is painted).

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

use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Weak};

pub use export::{export_scene, export_training};
pub use random::Domain;

use crate::error::{Code, Error};
use crate::types::{BBox, Detection, Picture, Point, Polygon, Zone};
use script::Script;
use stage::Stage;

/// The scenes inside the program, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("street", include_str!("../../scenes/street.yaml")),
    ("crossing", include_str!("../../scenes/crossing.yaml")),
    ("empty", include_str!("../../scenes/empty.yaml")),
];

/// A longer script is refused.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

/// Labels of scene objects, in the order of their class ids.
pub const LABELS: [&str; 3] = ["person", "bicycle", "car"];

/// What really is in a frame: one object, as far as it can be seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The object's number, from 1, the same in every frame. A bicycle and its rider are two objects.
    pub object: u64,
    /// What it is.
    pub label: Arc<str>,
    /// Index into [`LABELS`].
    pub class_id: u32,
    /// The box of its visible pixels, 0..1 of the picture.
    pub bbox: BBox,
    /// Share of its pixels inside the picture that something nearer hides, 0..1.
    pub occluded: f32,
    /// Share of its box that lies outside the picture, 0..1.
    pub truncated: f32,
    /// Pixels that can be seen.
    pub pixels: u32,
}

/// A scene ready to be played. Cheap to clone; frames are a pure function of the script, the seed and the index.
#[derive(Debug, Clone)]
pub struct Scene {
    name: Arc<str>,
    stage: Arc<Stage>,
}

impl Scene {
    /// Loads a shipped scene by its name, or a YAML file by its path.
    ///
    /// # Errors
    /// When there is neither, or the script makes no sense.
    pub fn load(name_or_path: &str) -> Result<Self, Error> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, name);
        }
        let mut bytes = Vec::new();
        let read = File::open(name_or_path).and_then(|file| file.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes));
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

    /// Reads a scene from YAML; `name` is used in errors.
    ///
    /// # Errors
    /// When the script cannot be read or makes no sense.
    pub fn parse(yaml: &str, name: &str) -> Result<Self, Error> {
        Ok(Self::from_script(Script::parse(yaml, name)?, name))
    }

    /// A scene nobody wrote: objects, palettes, viewpoint, light and background drawn from `seed`.
    pub fn random(seed: u64, domain: Domain) -> Self {
        Self::from_script(random::script(seed, domain), "random")
    }

    /// The names of the scenes inside the program.
    pub fn shipped() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    fn from_script(script: Script, name: &str) -> Self {
        Self { name: name.into(), stage: Arc::new(Stage::new(script)) }
    }

    /// The same script with another seed: other noise, texture and clothes; the same paths.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        let script = Script { seed, ..self.stage.script().clone() };
        Self { name: self.name.clone(), stage: Arc::new(Stage::new(script)) }
    }

    /// Name or path it was loaded by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.stage.script().frames()
    }

    /// How many objects it has; they are numbered from 1.
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

    /// The zones that the script suggests.
    pub fn zones(&self) -> Vec<Zone> {
        let zones = self.stage.script().zones.iter();
        zones
            .filter_map(|z| {
                let points = z.polygon.iter().map(|&[x, y]| Point { x, y }).collect();
                Some(Zone { name: z.name.clone(), polygon: Polygon::new(points)? })
            })
            .collect()
    }

    /// Frame `index` as I420 (BT.709, limited range) with its truth.
    pub fn frame(&self, index: u64) -> (Picture, Vec<Truth>) {
        self.stage.frame(index)
    }

    /// The truth of frame `index`, without painting colours.
    pub fn truth(&self, index: u64) -> Vec<Truth> {
        self.stage.truth(index)
    }

    /// The truth of frame `index` as tracked detections: what a perfect detector and tracker would say of what
    /// can be seen. Objects hidden by more than [`HIDDEN_SHARE_MAX`], outside the picture by more than
    /// [`OUTSIDE_SHARE_MAX`] or lower than [`LOW_PIXELS`] are left out; the confidence is 1 less half of the hidden
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

/// The stages of scenes that are being played.
#[derive(Debug, Default)]
pub(crate) struct Stages(Vec<Weak<Stage>>);

impl Stages {
    /// The same scene on the stage of another one with the very same script, else on its own, which joins the others:
    /// what one source worked out serves all that play it.
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

/// An object hidden by more than this share is no detection.
pub const HIDDEN_SHARE_MAX: f32 = 0.7;
/// An object that lies outside the picture by more than this share is no detection.
pub const OUTSIDE_SHARE_MAX: f32 = 0.8;
/// An object lower than this, in pixels, is no detection.
pub const LOW_PIXELS: f32 = 12.0;

#[cfg(test)]
mod tests;
