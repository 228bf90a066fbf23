//! A scene's script, as written in YAML: camera, light, street, props, objects on paths, zones.
//!
//! Distances are metres on the ground (`[x, z]`: x to the right, z away from the camera), times seconds, colours
//! `"#rrggbb"`. Unknown keys are errors.

use serde::{Deserialize, Deserializer};

use crate::error::{Code, Error};

/// Longest scene, seconds.
const DURATION_S_MAX: f32 = 86_400.0;
/// Maximum objects and props of a scene.
const ITEMS_MAX: usize = 512;

/// A colour, R, G, B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Color(pub(super) [u8; 3]);

impl Color {
    pub(super) const fn new(r: u8, g: u8, b: u8) -> Self {
        Self([r, g, b])
    }

    /// Brighter (`by` > 1) or darker.
    pub(super) fn lit(self, by: f32) -> Self {
        Self(self.0.map(|c| (f32::from(c) * by).clamp(0.0, 255.0) as u8))
    }

    /// Mixes two colours: 0 = this one, 1 = `other`.
    pub(super) fn toward(self, other: Self, share: f32) -> Self {
        let mut out = [0; 3];
        for (o, (a, b)) in out.iter_mut().zip(self.0.into_iter().zip(other.0)) {
            *o = (f32::from(a) + (f32::from(b) - f32::from(a)) * share).clamp(0.0, 255.0) as u8;
        }
        Self(out)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bad = || serde::de::Error::custom(format!("`{text}` is no colour; write \"#rrggbb\""));
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.is_ascii()).ok_or_else(bad)?;
        let value = u32::from_str_radix(digits, 16).map_err(|_| bad())?;
        Ok(Self([(value >> 16) as u8, (value >> 8) as u8, value as u8]))
    }
}

/// A whole scene.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) duration_s: f32,
    pub(super) fps: f32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) camera: CameraSpec,
    #[serde(default)]
    pub(super) light: LightSpec,
    /// Sensor noise, standard deviation in code values.
    #[serde(default)]
    pub(super) noise: f32,
    #[serde(default)]
    pub(super) street: StreetSpec,
    #[serde(default)]
    pub(super) props: Vec<PropSpec>,
    #[serde(default)]
    pub(super) objects: Vec<ObjectSpec>,
    #[serde(default)]
    pub(super) zones: Vec<ZoneSpec>,
}

/// Position and direction of the camera.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraSpec {
    pub(super) height_m: f32,
    /// Tilt downwards.
    pub(super) pitch_deg: f32,
    /// Turn to the right.
    #[serde(default)]
    pub(super) yaw_deg: f32,
    /// Focal length in picture widths: 1 is a field of view of about 53 degrees.
    pub(super) focal: f32,
}

/// Light: overall gain, its slow drift, warmth, and shadows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LightSpec {
    pub(super) gain: f32,
    /// Amplitude of the gain's drift, as a share.
    pub(super) drift: f32,
    pub(super) period_s: f32,
    /// -1 cold to 1 warm.
    pub(super) warmth: f32,
    /// Darkness of shadows, 0..1.
    pub(super) shadow: f32,
    /// Length of shadows on the ground per metre of height, along x.
    pub(super) slant: f32,
}

impl Default for LightSpec {
    fn default() -> Self {
        Self { gain: 1.0, drift: 0.03, period_s: 11.0, warmth: 0.1, shadow: 0.35, slant: 0.5 }
    }
}

/// The street along x, its surroundings, and the houses behind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreetSpec {
    pub(super) near_kerb_m: f32,
    pub(super) far_kerb_m: f32,
    pub(super) pavement_m: f32,
    /// Distance of the house fronts; 0 = no houses.
    pub(super) houses_m: f32,
    /// Left edges of zebra crossings.
    pub(super) zebras_m: Vec<f32>,
    /// Centre of a second road running away from the camera.
    pub(super) side_road_m: Option<f32>,
    pub(super) asphalt: Color,
    pub(super) paving: Color,
    pub(super) verge: Color,
    pub(super) wall: Color,
    pub(super) sky: Color,
    /// Lane marks on the road.
    pub(super) marks: bool,
}

impl Default for StreetSpec {
    fn default() -> Self {
        Self {
            near_kerb_m: 10.0,
            far_kerb_m: 17.5,
            pavement_m: 3.5,
            houses_m: 24.0,
            zebras_m: Vec::new(),
            side_road_m: None,
            asphalt: Color::new(88, 89, 93),
            paving: Color::new(160, 154, 146),
            verge: Color::new(104, 128, 72),
            wall: Color::new(168, 120, 96),
            sky: Color::new(188, 208, 228),
            marks: true,
        }
    }
}

/// Static objects on the street.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PropKind {
    Pole,
    Tree,
    Sign,
    Bin,
    Bench,
    Board,
    Bush,
}

/// One prop.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PropSpec {
    pub(super) kind: PropKind,
    pub(super) at: [f32; 2],
    /// Height; 0 for the kind's default.
    #[serde(default)]
    pub(super) height_m: f32,
    #[serde(default)]
    pub(super) color: Option<Color>,
}

/// Moving objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Person,
    /// A bicycle with its rider: two ground truth objects, `bicycle` and `person`.
    Bicycle,
    Car,
}

/// The shape of an object. The first shapes of each kind are used in training, the others only in evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    // Persons.
    Plain,
    Coat,
    Skirt,
    Backpack,
    Shorts,
    Hood,
    Dress,
    Cap,
    // Bicycles.
    City,
    Racer,
    Cargo,
    // Cars.
    Sedan,
    Hatch,
    Van,
    Wagon,
    Pickup,
}

impl Shape {
    /// Whether the shape belongs to `kind`.
    pub(super) fn fits(self, kind: Kind) -> bool {
        use Shape::*;
        let of = match self {
            Plain | Coat | Skirt | Backpack | Shorts | Hood | Dress | Cap => Kind::Person,
            City | Racer | Cargo => Kind::Bicycle,
            Sedan | Hatch | Van | Wagon | Pickup => Kind::Car,
        };
        of == kind
    }
}

/// One moving object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectSpec {
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) shape: Option<Shape>,
    /// When it starts on its path; may be negative.
    #[serde(default)]
    pub(super) start_s: f32,
    pub(super) speed_mps: f32,
    /// Corners of its path on the ground.
    pub(super) path: Vec<[f32; 2]>,
    /// Stops on the way.
    #[serde(default)]
    pub(super) waits: Vec<WaitSpec>,
    /// Height of a person, length of a car or bicycle; 0 for the kind's default.
    #[serde(default)]
    pub(super) size_m: f32,
    /// Colour of the jacket, or the paint.
    #[serde(default)]
    pub(super) color: Option<Color>,
    /// Colour of a person's or rider's trousers.
    #[serde(default)]
    pub(super) lower: Option<Color>,
    #[serde(default)]
    pub(super) skin: Option<Color>,
    #[serde(default)]
    pub(super) hair: Option<Color>,
}

/// A stop at a corner of the path.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitSpec {
    /// Index of the corner.
    pub(super) corner: usize,
    pub(super) seconds: f32,
}

/// A suggested zone, for demos and tests.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZoneSpec {
    pub(super) name: String,
    pub(super) polygon: Vec<[f32; 2]>,
}

impl Script {
    /// Parses and validates a script; `whence` names it in errors.
    pub(super) fn parse(text: &str, whence: &str) -> Result<Self, Error> {
        let script: Self = serde_yaml::from_str(text).map_err(|e| {
            Error::new(Code::Source, format!("scene `{whence}` cannot be read: {e}"))
                .hint("scenes/street.yaml is a working example of every key")
        })?;
        match script.problem() {
            Some(problem) => Err(Error::new(Code::Source, format!("scene `{whence}`: {problem}")).hint(
                "distances are metres on the ground, [x to the right, z away from the camera]; times are seconds",
            )),
            None => Ok(script),
        }
    }

    /// Number of frames.
    pub(super) fn frames(&self) -> u64 {
        (f64::from(self.duration_s) * f64::from(self.fps)).round() as u64
    }

    /// The first invalid value.
    fn problem(&self) -> Option<String> {
        let within = |name: &str, value: f32, low: f32, high: f32| {
            (!(low..=high).contains(&value)).then(|| format!("`{name}` is {value}, allowed is {low} to {high}"))
        };
        within("duration_s", self.duration_s, 0.04, DURATION_S_MAX)
            .or_else(|| within("fps", self.fps, 0.1, 240.0))
            .or_else(|| {
                let (seconds, fps) = (self.duration_s, self.fps);
                (self.frames() == 0).then(|| format!("`duration_s` {seconds} at `fps` {fps} holds no frame"))
            })
            .or_else(|| within("width", self.width as f32, 64.0, 4096.0))
            .or_else(|| within("height", self.height as f32, 64.0, 4096.0))
            .or_else(|| within("camera.height_m", self.camera.height_m, 0.5, 100.0))
            .or_else(|| within("camera.pitch_deg", self.camera.pitch_deg, 0.0, 85.0))
            .or_else(|| within("camera.yaw_deg", self.camera.yaw_deg, -80.0, 80.0))
            .or_else(|| within("camera.focal", self.camera.focal, 0.2, 10.0))
            .or_else(|| within("light.gain", self.light.gain, 0.0, 3.0))
            .or_else(|| within("light.drift", self.light.drift, 0.0, 1.0))
            .or_else(|| within("light.period_s", self.light.period_s, 0.1, DURATION_S_MAX))
            .or_else(|| within("light.warmth", self.light.warmth, -1.0, 1.0))
            .or_else(|| within("light.shadow", self.light.shadow, 0.0, 1.0))
            .or_else(|| within("light.slant", self.light.slant, -3.0, 3.0))
            .or_else(|| within("noise", self.noise, 0.0, 60.0))
            .or_else(|| {
                within(
                    "number of objects and props",
                    (self.objects.len() + self.props.len()) as f32,
                    0.0,
                    ITEMS_MAX as f32,
                )
            })
            .or_else(|| {
                self.objects.iter().enumerate().find_map(|(i, o)| o.problem().map(|p| format!("objects[{i}]: {p}")))
            })
            .or_else(|| self.zones.iter().find_map(ZoneSpec::problem))
    }
}

impl ZoneSpec {
    fn problem(&self) -> Option<String> {
        if self.polygon.len() < 3 {
            return Some(format!("zone `{}` needs three points", self.name));
        }
        let outside = self.polygon.iter().flatten().any(|v| !(0.0..=1.0).contains(v));
        outside.then(|| format!("zone `{}`: corners are shares of the picture, 0 to 1", self.name))
    }
}

impl ObjectSpec {
    fn problem(&self) -> Option<String> {
        if self.path.len() < 2 {
            return Some("`path` needs two corners".into());
        }
        if self.path.iter().flatten().any(|v| !v.is_finite()) || !self.start_s.is_finite() {
            return Some("`path` and `start_s` must be finite".into());
        }
        if !(0.05..=60.0).contains(&self.speed_mps) {
            return Some(format!("`speed_mps` is {}, allowed is 0.05 to 60", self.speed_mps));
        }
        if !(0.0..=20.0).contains(&self.size_m) {
            return Some(format!("`size_m` is {}, allowed is 0 (the kind's own) to 20", self.size_m));
        }
        if let Some(shape) = self.shape.filter(|s| !s.fits(self.kind)) {
            return Some(format!("`shape: {shape:?}` is none of a {:?}", self.kind).to_lowercase());
        }
        self.waits.iter().find(|w| w.corner >= self.path.len() || !(0.0..=DURATION_S_MAX).contains(&w.seconds)).map(
            |w| {
                format!(
                    "`waits` names corner {} for {} s; the path has corners 0 to {}",
                    w.corner,
                    w.seconds,
                    self.path.len() - 1
                )
            },
        )
    }
}
