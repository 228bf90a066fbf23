//! The stage: a script prepared for painting any frame by its index.

use std::sync::{Arc, OnceLock};

use super::camera::Camera;
use super::canvas::{Canvas, NOBODY};
use super::i420::{self, Sensor};
use super::math::{Rng, mix, sin};
use super::path::{Path, Pose};
use super::person::{self, Clothes};
use super::script::{Color, Kind, ObjectSpec, Script, Shape};
use super::{LABELS, Truth, bicycle, car, ground, props};
use crate::types::{BBox, Picture};

/// An object with defaults for everything that its script leaves open.
#[derive(Debug, Clone)]
struct Actor {
    path: Path,
    kind: Kind,
    shape: Shape,
    /// Length of a car or bicycle.
    length: f32,
    color: Color,
    clothes: Clothes,
    /// Its object number; a bicycle's rider has the next one.
    id: u16,
}

/// An item to paint, sorted by depth.
enum Item {
    Actor(usize, Pose),
    Prop(usize),
}

#[derive(Debug)]
pub(super) struct Stage {
    script: Script,
    camera: Camera,
    actors: Vec<Actor>,
    /// Class of each object; `classes[0]` belongs to object 1.
    classes: Vec<u32>,
    labels: [Arc<str>; 3],
    background: OnceLock<Vec<u8>>,
    /// Cached truth of the first frames: many detections-only sources may share a stage.
    kept: Box<[OnceLock<Vec<Truth>>]>,
}

/// Number of frames whose truth is cached.
const KEPT_FRAMES_MAX: u64 = 2048;

impl Stage {
    pub(super) fn new(script: Script) -> Self {
        let camera = Camera::new(&script.camera, script.width, script.height);
        let mut classes = Vec::new();
        let actors = script.objects.iter().enumerate().map(|(i, spec)| {
            let id = classes.len() as u16 + 1;
            match spec.kind {
                Kind::Person => classes.push(0),
                Kind::Bicycle => classes.extend([1, 0]),
                Kind::Car => classes.push(2),
            }
            Actor::new(spec, id, mix(script.seed ^ ((i as u64) << 32)))
        });
        let actors = actors.collect();
        let kept = (0..script.frames().min(KEPT_FRAMES_MAX)).map(|_| OnceLock::new()).collect();
        Self { script, camera, actors, classes, labels: LABELS.map(Arc::from), background: OnceLock::new(), kept }
    }

    pub(super) fn script(&self) -> &Script {
        &self.script
    }

    fn size(&self) -> (usize, usize) {
        (self.script.width as usize, self.script.height as usize)
    }

    pub(super) fn frame(&self, index: u64) -> (Picture, Vec<Truth>) {
        let (width, height) = self.size();
        let background = self
            .background
            .get_or_init(|| ground::paint(&self.camera, &self.script.street, self.script.seed, width, height));
        let canvas = self.paint(index, background.clone());
        let sensor = self.sensor(index);
        #[allow(clippy::expect_used, reason = "the script's check keeps width and height above zero")]
        let picture = i420::convert(&canvas.rgb, width, height, &sensor).expect("planes fit their own size");
        (picture, self.read_truth(&canvas))
    }

    pub(super) fn truth(&self, index: u64) -> Vec<Truth> {
        let read = || self.read_truth(&self.paint(index, Vec::new()));
        match usize::try_from(index).ok().and_then(|i| self.kept.get(i)) {
            Some(kept) => kept.get_or_init(read).clone(),
            None => read(),
        }
    }

    fn seconds(&self, index: u64) -> f32 {
        (index as f64 / f64::from(self.script.fps)) as f32
    }

    /// The light's gain drifts slowly, as with clouds or a sensor's own gain.
    fn sensor(&self, index: u64) -> Sensor {
        let light = &self.script.light;
        let gain = light.gain * (1.0 + light.drift * sin(self.seconds(index) / light.period_s));
        let warm = 0.08 * light.warmth;
        Sensor {
            gain: [gain * (1.0 + warm), gain, gain * (1.0 - warm)],
            noise: self.script.noise,
            seed: mix(self.script.seed ^ mix(index.wrapping_add(1))),
        }
    }

    fn paint(&self, index: u64, rgb: Vec<u8>) -> Canvas {
        let (width, height) = self.size();
        let t = self.seconds(index);
        let mut canvas = Canvas::new(width, height, rgb, self.classes.len());
        let depth = |at: [f32; 2]| self.camera.depth([at[0], 0.0, at[1]]);
        let mut items: Vec<(f32, Item)> = Vec::with_capacity(self.actors.len() + self.script.props.len());
        for (i, actor) in self.actors.iter().enumerate() {
            if let Some(pose) = actor.path.pose(t) {
                self.shadow(&mut canvas, actor, &pose);
                items.push((depth(pose.at), Item::Actor(i, pose)));
            }
        }
        items.extend(self.script.props.iter().enumerate().map(|(i, p)| (depth(p.at), Item::Prop(i))));
        // Far first; the sort is stable, so equal depths keep the script's order.
        items.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, item) in &items {
            match item {
                Item::Actor(i, pose) => self.actor(&mut canvas, &self.actors[*i], pose, t),
                Item::Prop(i) => {
                    canvas.paint_as(NOBODY);
                    props::paint(&mut canvas, &self.camera, &self.script.props[*i], mix(self.script.seed ^ *i as u64));
                }
            }
        }
        canvas
    }

    fn shadow(&self, canvas: &mut Canvas, actor: &Actor, pose: &Pose) {
        let light = &self.script.light;
        match actor.kind {
            Kind::Car => car::shadow(canvas, &self.camera, pose, actor.length, light.slant, light.shadow),
            _ => {
                let length = actor.clothes.height * light.slant;
                person::shadow(canvas, &self.camera, pose.at, length, light.shadow);
            }
        }
    }

    fn actor(&self, canvas: &mut Canvas, actor: &Actor, pose: &Pose, t: f32) {
        canvas.paint_as(actor.id);
        match actor.kind {
            Kind::Person => person::paint(canvas, &self.camera, pose, &actor.clothes, t),
            Kind::Car => car::paint(canvas, &self.camera, pose, actor.shape, actor.length, actor.color),
            Kind::Bicycle => {
                bicycle::paint(canvas, &self.camera, pose, actor.shape, actor.length, actor.color);
                canvas.paint_as(actor.id + 1);
                bicycle::paint_rider(canvas, &self.camera, pose, actor.shape, actor.length, &actor.clothes);
            }
        }
    }

    /// The highest object number.
    pub(super) fn objects(&self) -> u64 {
        self.classes.len() as u64
    }

    /// Computes the truth from the pixels that each object still owns.
    fn read_truth(&self, canvas: &Canvas) -> Vec<Truth> {
        // Pixel count, and left, top, right, bottom (inclusive), by object number.
        let mut seen = vec![(0u32, [usize::MAX, usize::MAX, 0, 0]); self.classes.len() + 1];
        for (y, row) in canvas.owner.chunks_exact(canvas.width).enumerate() {
            for (x, &id) in row.iter().enumerate() {
                if id != NOBODY {
                    let (count, b) = &mut seen[usize::from(id)];
                    *count += 1;
                    *b = [b[0].min(x), b[1].min(y), b[2].max(x), b[3].max(y)];
                }
            }
        }
        let (w, h) = (canvas.width as f32, canvas.height as f32);
        let visible = seen.into_iter().enumerate().skip(1).filter(|(_, (pixels, _))| *pixels > 0);
        visible
            .map(|(id, (pixels, b))| {
                let extent = canvas.extent(id as u16);
                let f = extent.bounds;
                let inside = (f[2].min(w) - f[0].max(0.0)) * (f[3].min(h) - f[1].max(0.0));
                let class_id = self.classes[id - 1];
                Truth {
                    object: id as u64,
                    label: self.labels[class_id as usize].clone(),
                    class_id,
                    bbox: BBox::from_corners(
                        b[0] as f32 / w,
                        b[1] as f32 / h,
                        (b[2] + 1) as f32 / w,
                        (b[3] + 1) as f32 / h,
                    ),
                    occluded: 1.0 - pixels as f32 / extent.painted.max(pixels) as f32,
                    truncated: (1.0 - inside / ((f[2] - f[0]) * (f[3] - f[1])).max(1e-3)).clamp(0.0, 1.0),
                    pixels,
                }
            })
            .collect()
    }
}

/// Default colours of clothes and paint.
const PAINTS: [Color; 8] = [
    Color::new(188, 44, 40),
    Color::new(40, 74, 150),
    Color::new(214, 214, 210),
    Color::new(52, 54, 60),
    Color::new(150, 152, 156),
    Color::new(46, 110, 74),
    Color::new(206, 160, 48),
    Color::new(120, 64, 120),
];
const SKINS: [Color; 4] =
    [Color::new(232, 190, 160), Color::new(204, 152, 116), Color::new(150, 102, 74), Color::new(98, 66, 48)];
const HAIRS: [Color; 4] =
    [Color::new(40, 30, 26), Color::new(96, 66, 40), Color::new(170, 130, 70), Color::new(130, 128, 126)];

impl Actor {
    fn new(spec: &ObjectSpec, id: u16, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (own_shape, own_size) = match spec.kind {
            Kind::Person => (rng.pick(&[Shape::Plain, Shape::Coat, Shape::Skirt, Shape::Backpack]), 1.74),
            Kind::Bicycle => (rng.pick(&[Shape::City, Shape::Racer]), 1.75),
            Kind::Car => (rng.pick(&[Shape::Sedan, Shape::Hatch, Shape::Wagon]), 4.3),
        };
        let shape = spec.shape.unwrap_or(own_shape);
        let size = if spec.size_m > 0.0 { spec.size_m } else { own_size };
        let paint = rng.pick(&PAINTS);
        let lower = Color::new(48, 52, 66).lit(rng.between(0.6, 1.5));
        // A rider wears another colour than the bicycle, and no coat.
        let worn = if spec.kind == Kind::Bicycle { rng.pick(&PAINTS) } else { spec.color.unwrap_or(paint) };
        let clothes = Clothes {
            shape: if spec.kind == Kind::Person { shape } else { Shape::Plain },
            height: if spec.kind == Kind::Person { size } else { 1.74 },
            upper: worn,
            lower: spec.lower.unwrap_or(lower),
            skin: spec.skin.unwrap_or(rng.pick(&SKINS)),
            hair: spec.hair.unwrap_or(rng.pick(&HAIRS)),
        };
        Self {
            path: Path::new(spec),
            kind: spec.kind,
            shape,
            length: size,
            color: spec.color.unwrap_or(paint),
            clothes,
            id,
        }
    }
}
