//! The background: one ray per sample hits ground, house fronts or sky. Painted once per scene.

use super::camera::{Camera, Vec3};
use super::math::{grain, mix};
use super::script::{Color, StreetSpec};

/// Half width of the second road, metres.
const SIDE_ROAD_HALF_M: f32 = 3.2;
/// Width of a zebra crossing, metres.
pub(super) const ZEBRA_M: f32 = 3.2;

/// Paints the background at `width` x `height`, R, G, B, with 2 x 2 samples per pixel.
pub(super) fn paint(camera: &Camera, street: &StreetSpec, seed: u64, width: usize, height: usize) -> Vec<u8> {
    let mut rgb = vec![0; width * height * 3];
    for (i, out) in rgb.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        let mut sum = [0u32; 3];
        for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
            let color = sample(camera, street, seed, camera.ray(x + dx, y + dy));
            for (s, c) in sum.iter_mut().zip(color.0) {
                *s += u32::from(c);
            }
        }
        for (o, s) in out.iter_mut().zip(sum) {
            *o = ((s + 2) / 4) as u8;
        }
    }
    rgb
}

fn sample(camera: &Camera, street: &StreetSpec, seed: u64, ray: Vec3) -> Color {
    let h = camera.position[1];
    let ground = if ray[1] < -1e-4 { -h / ray[1] } else { f32::MAX };
    let front = if street.houses_m > 0.0 && ray[2] > 1e-4 { street.houses_m / ray[2] } else { f32::MAX };
    if front < ground {
        let (x, up) = (ray[0] * front, h + ray[1] * front);
        if let Some(color) = house(street, seed, x, up) {
            return color;
        }
    }
    if ground < 400.0 {
        let (x, z) = (ray[0] * ground, ray[2] * ground);
        // Far ground fades into haze.
        return soil(street, seed, x, z).toward(street.sky, ((ground - 60.0) / 200.0).clamp(0.0, 0.7));
    }
    let rise = (ray[1] * 2.0).clamp(0.0, 1.0);
    street.sky.toward(Color::new(120, 160, 214), rise * 0.6)
}

fn side_road(street: &StreetSpec, x: f32) -> Option<f32> {
    street.side_road_m.map(|centre| (x - centre).abs())
}

/// The ground at `(x, z)`.
fn soil(street: &StreetSpec, seed: u64, x: f32, z: f32) -> Color {
    let fine = grain(seed, (x * 14.0).floor() as i32, (z * 14.0).floor() as i32) - 0.5;
    let coarse = grain(seed ^ 7, (x * 0.7).floor() as i32, (z * 0.7).floor() as i32) - 0.5;
    let main = z >= street.near_kerb_m && z < street.far_kerb_m;
    let side = side_road(street, x).is_some_and(|d| d < SIDE_ROAD_HALF_M);
    let texture = |color: Color, strength: f32| color.lit(1.0 + strength * (fine + 0.6 * coarse));
    if main {
        return marks(street, x, z, side).unwrap_or_else(|| texture(street.asphalt, 0.14));
    }
    if side {
        return texture(street.asphalt, 0.14);
    }
    let beside = if z < street.near_kerb_m { street.near_kerb_m - z } else { z - street.far_kerb_m };
    let by_side = side_road(street, x).map_or(f32::MAX, |d| d - SIDE_ROAD_HALF_M);
    let edge = beside.min(by_side);
    if edge < 0.18 {
        return texture(street.paving.lit(1.12), 0.05);
    }
    if edge < street.pavement_m {
        let slab = grain(seed ^ 3, (x / 0.9).floor() as i32, (z / 0.9).floor() as i32) - 0.5;
        let (u, v) = (x / 0.9 - (x / 0.9).floor(), z / 0.9 - (z / 0.9).floor());
        let joint = if u < 0.05 || v < 0.05 { 0.9 } else { 1.0 };
        return texture(street.paving.lit(joint * (1.0 + 0.06 * slab)), 0.05);
    }
    texture(street.verge, 0.22)
}

/// Lane marks and zebra crossings on the main road.
fn marks(street: &StreetSpec, x: f32, z: f32, side: bool) -> Option<Color> {
    let white = Color::new(214, 214, 208);
    if street.zebras_m.iter().any(|&left| x >= left && x < left + ZEBRA_M) {
        let stripe = (z - street.near_kerb_m) / 1.0;
        return (stripe - stripe.floor() < 0.5).then_some(white);
    }
    if !street.marks || side {
        return None;
    }
    let middle = (street.near_kerb_m + street.far_kerb_m) * 0.5;
    let dash = x / 5.0 - (x / 5.0).floor();
    let lane = (z - middle).abs() < 0.07 && dash < 0.5;
    let edge = (z - street.near_kerb_m - 0.35).abs() < 0.05 || (z - street.far_kerb_m + 0.35).abs() < 0.05;
    (lane || edge).then_some(white)
}

/// The house front at `x`, `up` metres above the ground; `None` for sky or a gap.
fn house(street: &StreetSpec, seed: u64, x: f32, up: f32) -> Option<Color> {
    if side_road(street, x).is_some_and(|d| d < SIDE_ROAD_HALF_M + street.pavement_m) || up < 0.0 {
        return None;
    }
    let plot = 9.0;
    let number = (x / plot).floor();
    let own = mix(seed ^ 0x5eed ^ (number as i32 as u32 as u64));
    let share = |shift: u32| ((own >> shift) & 0xff) as f32 / 255.0;
    let eaves = 5.5 + 3.2 * (share(0) * 3.0).floor();
    if up > eaves + 1.6 {
        return None;
    }
    if up > eaves {
        return Some(Color::new(112, 66, 54).lit(0.8 + 0.5 * share(8)));
    }
    let wall = street.wall.toward(Color::new(206, 198, 180), share(16)).lit(0.85 + 0.3 * share(24));
    let local = x - number * plot;
    if local < 0.12 {
        return Some(wall.lit(0.7));
    }
    let storey = up / 2.9 - (up / 2.9).floor();
    let pane = local / 2.2 - (local / 2.2).floor();
    let window = (0.32..0.8).contains(&storey) && (0.25..0.72).contains(&pane) && local < 8.8;
    let door = up < 2.2 && (local - 4.4).abs() < 0.55;
    if door {
        return Some(Color::new(80, 60, 48).lit(0.7 + 0.7 * share(32)));
    }
    if window {
        let frame = !(0.35..0.77).contains(&storey) || !(0.28..0.69).contains(&pane) || (pane - 0.485).abs() < 0.012;
        let glass = Color::new(70, 84, 100).lit(0.8 + 0.5 * storey);
        return Some(if frame { Color::new(216, 214, 208) } else { glass });
    }
    let brick = grain(seed ^ 11, (x * 4.0).floor() as i32, (up * 9.0).floor() as i32) - 0.5;
    Some(wall.lit(1.0 + 0.08 * brick))
}
