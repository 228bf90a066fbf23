//! Random scenes for training. The two domains share nothing that a detector could memorise: shapes, palettes and
//! viewpoints of [`Domain::HeldOut`] never occur in [`Domain::Train`].

use super::camera::Camera;
use super::math::{Rng, cos, sin};
use super::script::{
    CameraSpec, Color, Kind, LightSpec, ObjectSpec, PropKind, PropSpec, Script, Shape, StreetSpec, WaitSpec,
};

/// The domain of a random scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// For training.
    Train,
    /// For evaluation; never seen in training.
    HeldOut,
}

/// Duration of a random scene in seconds; objects reach their drawn positions in the middle of it.
const DURATION_S: f32 = 2.0;

/// A colour of the domain: held-out hues lie in gaps between the training hues; saturation and value are distributed
/// alike.
fn hue(rng: &mut Rng, domain: Domain) -> Color {
    // Six sectors of the colour circle; training uses the first half of each, held-out the second half.
    let sector = rng.below(6) as f32;
    let within = rng.between(0.04, 0.46) + if domain == Domain::HeldOut { 0.5 } else { 0.0 };
    let turn = (sector + within) / 6.0;
    let saturation = if rng.chance(0.4) { rng.between(0.0, 0.2) } else { rng.between(0.25, 0.85) };
    let value = rng.between(0.12, 0.95);
    let channel = |shift: f32| {
        let k = (turn + shift) * 6.0;
        let k = k - (k / 6.0).floor() * 6.0;
        let ramp = k.min(4.0 - k).clamp(0.0, 1.0);
        ((value - value * saturation * ramp) * 255.0) as u8
    };
    Color::new(channel(5.0 / 6.0), channel(3.0 / 6.0), channel(1.0 / 6.0))
}

/// A greyish colour near `base`.
fn dull(rng: &mut Rng, base: Color, spread: f32) -> Color {
    let light = 1.0 + rng.between(-spread, spread);
    Color([0, 1, 2].map(|k| (f32::from(base.0[k]) * light * (1.0 + rng.between(-0.06, 0.06))).clamp(0.0, 255.0) as u8))
}

fn viewpoint(rng: &mut Rng, domain: Domain) -> CameraSpec {
    let sign = if rng.chance(0.5) { 1.0 } else { -1.0 };
    match domain {
        Domain::Train => {
            let high = rng.chance(0.4);
            CameraSpec {
                height_m: if high { rng.between(5.5, 9.5) } else { rng.between(2.2, 4.2) },
                pitch_deg: if high { rng.between(19.0, 32.0) } else { rng.between(5.0, 14.0) },
                yaw_deg: sign * rng.between(0.0, 18.0),
                focal: if rng.chance(0.5) { rng.between(0.7, 1.1) } else { rng.between(1.25, 1.7) },
            }
        }
        Domain::HeldOut => CameraSpec {
            height_m: rng.between(4.4, 5.3),
            pitch_deg: rng.between(14.5, 18.5),
            yaw_deg: sign * rng.between(20.0, 28.0),
            focal: rng.between(1.12, 1.23),
        },
    }
}

/// Generates a random script.
pub(super) fn script(seed: u64, domain: Domain) -> Script {
    let mut rng = Rng::new(seed ^ if domain == Domain::Train { 0x7121 } else { 0x4e1d });
    let rng = &mut rng;
    let (width, height) = if rng.chance(0.25) { (480, 360) } else { (640, 360) };
    let camera = viewpoint(rng, domain);
    let eye = Camera::new(&camera, width, height);
    let street = street(rng, &eye, width as f32, height as f32);
    let mut objects = Vec::new();
    let crowd = if rng.chance(0.06) { 0 } else { 2 + rng.below(9) };
    for _ in 0..crowd {
        let at = place(rng, &eye, width as f32, height as f32, camera.focal);
        // No objects behind the house fronts.
        if let Some(at) = at.filter(|at| street.houses_m == 0.0 || at[1] < street.houses_m - 1.0) {
            object(rng, domain, &street, at, &mut objects);
        }
    }
    let props = (0..rng.below(7)).filter_map(|_| prop(rng, &eye, width as f32, height as f32)).collect();
    Script {
        seed,
        duration_s: DURATION_S,
        fps: 15.0,
        width,
        height,
        camera,
        light: LightSpec {
            gain: rng.between(0.6, 1.25),
            drift: 0.03,
            period_s: 9.0,
            warmth: rng.between(-1.0, 1.0),
            shadow: if rng.chance(0.3) { 0.0 } else { rng.between(0.1, 0.55) },
            slant: rng.between(-1.4, 1.4),
        },
        noise: rng.between(0.0, 6.0),
        street,
        props,
        objects,
        zones: Vec::new(),
    }
}

/// A point on the ground that is in the picture and not too far away.
fn place(rng: &mut Rng, eye: &Camera, width: f32, height: f32, focal: f32) -> Option<[f32; 2]> {
    for _ in 0..12 {
        let ray = eye.ray(rng.between(0.0, 1.0) * width, rng.between(0.15, 1.15) * height);
        if ray[1] > -1e-3 {
            continue;
        }
        let t = -eye.position[1] / ray[1];
        if t < 34.0 * focal {
            return Some([ray[0] * t, ray[2] * t]);
        }
    }
    None
}

fn street(rng: &mut Rng, eye: &Camera, width: f32, height: f32) -> StreetSpec {
    let ray = eye.ray(width * 0.5, height * rng.between(0.6, 1.0));
    let near = if ray[1] < -1e-3 { -eye.position[1] / ray[1] * ray[2] } else { 8.0 };
    // One scene in six is a square or a park, with the road out of sight.
    let open = rng.chance(0.16);
    let near = if open { 300.0 } else { near.clamp(3.0, 18.0) };
    let far = near + rng.between(5.0, 9.0);
    let grass = rng.chance(0.6);
    let green = dull(rng, Color::new(104, 128, 72), 0.35);
    let plain = dull(rng, Color::new(150, 144, 130), 0.35);
    StreetSpec {
        near_kerb_m: near,
        far_kerb_m: far,
        pavement_m: rng.between(1.5, 6.0),
        houses_m: if !open && rng.chance(0.6) { far + rng.between(4.0, 14.0) } else { 0.0 },
        zebras_m: if rng.chance(0.35) { vec![rng.between(-8.0, 6.0)] } else { Vec::new() },
        side_road_m: rng.chance(0.35).then(|| rng.between(-7.0, 7.0)),
        asphalt: dull(rng, Color::new(92, 93, 97), 0.4),
        paving: dull(rng, Color::new(160, 154, 146), 0.3),
        verge: if grass { green } else { plain },
        wall: dull(rng, Color::new(168, 130, 106), 0.4),
        sky: dull(rng, Color::new(190, 208, 226), 0.15),
        marks: rng.chance(0.75),
    }
}

fn prop(rng: &mut Rng, eye: &Camera, width: f32, height: f32) -> Option<PropSpec> {
    let at = place(rng, eye, width, height, 1.0)?;
    use PropKind::*;
    let kind = rng.pick(&[Pole, Pole, Tree, Tree, Sign, Bin, Bench, Board, Bush]);
    let own = matches!(kind, Tree | Bush);
    let color = if own { dull(rng, Color::new(74, 112, 58), 0.4) } else { hue(rng, Domain::Train) };
    Some(PropSpec { kind, at, height_m: 0.0, color: rng.chance(0.7).then_some(color) })
}

fn object(rng: &mut Rng, domain: Domain, street: &StreetSpec, mut at: [f32; 2], out: &mut Vec<ObjectSpec>) {
    let (trained, choice) = (domain == Domain::Train, rng.unit());
    let kind = match choice {
        c if c < 0.52 => Kind::Person,
        c if c < 0.74 => Kind::Bicycle,
        _ => Kind::Car,
    };
    let along = if rng.chance(0.5) { 0.0 } else { 0.5 };
    let mut turn = rng.unit();
    if kind == Kind::Car && rng.chance(0.75) {
        turn = along + rng.between(-0.02, 0.02);
        if street.near_kerb_m < 100.0 && rng.chance(0.7) {
            at[1] = rng.between(street.near_kerb_m + 1.0, street.far_kerb_m - 1.0);
        }
    } else if rng.chance(0.35) {
        turn = along + rng.between(-0.05, 0.05);
    }
    let heading = [cos(turn), sin(turn)];
    let (speed, size) = match kind {
        Kind::Person => (rng.between(0.7, 2.4), rng.between(1.5, 1.95)),
        Kind::Bicycle => (rng.between(2.5, 6.0), rng.between(1.6, 1.95)),
        Kind::Car => (rng.between(3.0, 10.0), rng.between(3.7, 5.2)),
    };
    // A third of the persons stand; all other objects pass their drawn position in the middle of the scene.
    let stands = kind == Kind::Person && rng.chance(0.3);
    let reach = speed * DURATION_S;
    let from = [at[0] - heading[0] * reach, at[1] - heading[1] * reach];
    let to = [at[0] + heading[0] * reach, at[1] + heading[1] * reach];
    use Shape::*;
    let shape = match (kind, trained) {
        (Kind::Person, true) => rng.pick(&[Plain, Plain, Coat, Skirt, Backpack, Shorts]),
        (Kind::Person, false) => rng.pick(&[Hood, Dress, Cap]),
        (Kind::Bicycle, true) => rng.pick(&[City, Racer]),
        (Kind::Bicycle, false) => Cargo,
        (Kind::Car, true) => rng.pick(&[Sedan, Hatch, Van]),
        (Kind::Car, false) => rng.pick(&[Wagon, Pickup]),
    };
    let skin = Color::new(232, 190, 160).lit(rng.between(0.4, 1.05));
    let one = ObjectSpec {
        kind,
        shape: Some(shape),
        start_s: -DURATION_S * 0.5,
        speed_mps: speed,
        path: vec![from, at, to],
        waits: if stands { vec![WaitSpec { corner: 1, seconds: DURATION_S }] } else { Vec::new() },
        size_m: size,
        color: Some(hue(rng, domain)),
        lower: Some(hue(rng, domain).lit(0.7)),
        skin: Some(skin),
        hair: Some(dull(rng, Color::new(90, 66, 46), 0.7)),
    };
    // Some persons come in groups.
    if kind == Kind::Person && rng.chance(0.3) {
        for _ in 0..1 + rng.below(3) {
            let shift = [rng.between(-1.6, 1.6), rng.between(-1.2, 1.2)];
            let path = one.path.iter().map(|p| [p[0] + shift[0], p[1] + shift[1]]).collect();
            out.push(ObjectSpec {
                path,
                color: Some(hue(rng, domain)),
                lower: Some(hue(rng, domain).lit(0.7)),
                ..one.clone()
            });
        }
    }
    out.push(one);
}
