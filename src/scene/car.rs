//! Cars: body and cabin extruded from their side profiles, so every view is consistent.

use super::camera::{Camera, Spot, Vec3, cross, dot, sub, unit};
use super::canvas::Canvas;
use super::math::{cos, sin};
use super::path::Pose;
use super::person::Body;
use super::script::{Color, Shape};

/// Side profiles: share of the length (along) and metres (up), front to the right.
struct Profile {
    body: &'static [(f32, f32)],
    cabin: &'static [(f32, f32)],
    width: f32,
    wheel: f32,
    /// Axle positions, as shares of the length from the middle.
    axles: (f32, f32),
}

fn profile(shape: Shape) -> Profile {
    let sedan: &[(f32, f32)] =
        &[(-0.5, 0.3), (-0.5, 0.78), (-0.47, 0.92), (0.2, 0.95), (0.46, 0.78), (0.5, 0.62), (0.5, 0.3)];
    let boxy: &[(f32, f32)] = &[(-0.5, 0.3), (-0.5, 0.98), (0.28, 1.0), (0.46, 0.9), (0.5, 0.7), (0.5, 0.3)];
    match shape {
        Shape::Hatch => Profile {
            body: sedan,
            cabin: &[(-0.49, 0.9), (-0.4, 1.46), (0.02, 1.5), (0.24, 0.93)],
            width: 1.72,
            wheel: 0.31,
            axles: (-0.33, 0.32),
        },
        Shape::Van => Profile {
            body: boxy,
            cabin: &[(-0.5, 0.95), (-0.49, 2.0), (0.22, 2.0), (0.42, 0.95)],
            width: 1.95,
            wheel: 0.34,
            axles: (-0.31, 0.33),
        },
        Shape::Wagon => Profile {
            body: sedan,
            cabin: &[(-0.5, 0.9), (-0.46, 1.42), (0.06, 1.48), (0.22, 0.94)],
            width: 1.82,
            wheel: 0.33,
            axles: (-0.3, 0.31),
        },
        Shape::Pickup => Profile {
            body: boxy,
            cabin: &[(-0.06, 0.98), (-0.03, 1.72), (0.16, 1.74), (0.29, 0.98)],
            width: 1.9,
            wheel: 0.38,
            axles: (-0.31, 0.32),
        },
        _ => Profile {
            body: sedan,
            cabin: &[(-0.36, 0.91), (-0.22, 1.4), (0.06, 1.43), (0.22, 0.94)],
            width: 1.78,
            wheel: 0.32,
            axles: (-0.31, 0.32),
        },
    }
}

/// Direction of the light.
const SUN: Vec3 = [-0.45, 0.8, -0.4];

/// The faces of a convex profile, extruded to both sides.
fn faces(body: &Body, outline: &[(f32, f32)], length: f32, low: f32, high: f32) -> Vec<Vec<Vec3>> {
    let ring = |side: f32| outline.iter().map(|&(a, up)| body.point(a * length, side, up)).collect::<Vec<_>>();
    let (left, right) = (ring(high), ring(low));
    let n = outline.len();
    let mut out: Vec<Vec<Vec3>> =
        (0..n).map(|i| vec![left[i], left[(i + 1) % n], right[(i + 1) % n], right[i]]).collect();
    out.push(left);
    out.push(right);
    out
}

/// The face's outward normal; `centre` is inside the solid.
fn outward(face: &[Vec3], centre: Vec3) -> Vec3 {
    let normal = unit(cross(sub(face[1], face[0]), sub(face[2], face[0])));
    if dot(normal, sub(face[0], centre)) < 0.0 { [-normal[0], -normal[1], -normal[2]] } else { normal }
}

fn middle(points: &[Vec3]) -> Vec3 {
    let n = points.len() as f32;
    let mut sum = [0.0; 3];
    for p in points {
        for (s, v) in sum.iter_mut().zip(p) {
            *s += v / n;
        }
    }
    sum
}

fn fill(canvas: &mut Canvas, camera: &Camera, corners: &[Vec3], color: Color) {
    let spots: Vec<Spot> = corners.iter().filter_map(|&p| camera.project(p)).collect();
    if spots.len() == corners.len() {
        canvas.polygon(&spots, color);
    }
}

/// A face shrunk toward its middle: a window in its frame.
fn inset(face: &[Vec3], share: f32) -> Vec<Vec3> {
    let centre = middle(face);
    face.iter().map(|p| [0, 1, 2].map(|k| centre[k] + (p[k] - centre[k]) * share)).collect()
}

/// Paints the car.
pub(super) fn paint(canvas: &mut Canvas, camera: &Camera, pose: &Pose, shape: Shape, length: f32, color: Color) {
    let body = Body { at: pose.at, ahead: pose.heading };
    let p = profile(shape);
    let half = p.width * 0.5;
    solid(canvas, camera, &faces(&body, p.body, length, -half, half), color, None);
    wheels(canvas, camera, &body, &p, length, pose.travelled);
    lamps(canvas, camera, &body, &p, length);
    let glass = Color::new(44, 54, 66);
    let closed = shape == Shape::Van;
    solid(canvas, camera, &faces(&body, p.cabin, length, -half * 0.86, half * 0.86), color, Some((glass, closed)));
}

fn solid(canvas: &mut Canvas, camera: &Camera, faces: &[Vec<Vec3>], color: Color, glass: Option<(Color, bool)>) {
    let centre = middle(&faces.iter().map(|f| middle(f)).collect::<Vec<_>>());
    for (i, face) in faces.iter().enumerate() {
        let normal = outward(face, centre);
        if dot(normal, sub(camera.position, face[0])) <= 0.0 {
            continue;
        }
        let light = 0.62 + 0.5 * dot(normal, SUN).max(0.0);
        fill(canvas, camera, face, color.lit(light));
        let Some((glass, closed)) = glass else { continue };
        let side = i + 2 >= faces.len();
        let roof = normal[1] > 0.95;
        // A closed van has a window only in front.
        let front = i + 4 == faces.len();
        if !roof && normal[1] > -0.5 && (!closed || front) {
            fill(canvas, camera, &inset(face, if side { 0.8 } else { 0.84 }), glass.lit(0.8 + 0.5 * light));
        }
    }
}

fn wheels(canvas: &mut Canvas, camera: &Camera, body: &Body, p: &Profile, length: f32, travelled: f32) {
    let half = p.width * 0.5;
    for side in [-half, half] {
        let toward = body.point(0.0, side * 2.0, 0.4);
        let at = body.point(0.0, side, 0.4);
        if dot(sub(toward, at), sub(camera.position, at)) <= 0.0 {
            continue;
        }
        for axle in [p.axles.0, p.axles.1] {
            let ring = |radius: f32, phase: f32, corners: usize| {
                (0..corners)
                    .map(|k| {
                        let turn = k as f32 / corners as f32 + phase;
                        body.point(axle * length + radius * cos(turn), side * 1.005, p.wheel + radius * sin(turn))
                    })
                    .collect::<Vec<_>>()
            };
            let roll = -travelled / (p.wheel * std::f32::consts::TAU);
            fill(canvas, camera, &ring(p.wheel * 1.05, 0.0, 14), Color::new(26, 26, 28));
            fill(canvas, camera, &ring(p.wheel * 0.58, roll, 5), Color::new(150, 152, 156));
        }
    }
}

fn lamps(canvas: &mut Canvas, camera: &Camera, body: &Body, p: &Profile, length: f32) {
    let half = p.width * 0.5;
    for (end, color) in [(0.5, Color::new(250, 246, 224)), (-0.5, Color::new(196, 34, 30))] {
        let outward = sub(body.point(end * 2.0, 0.0, 0.6), body.point(end, 0.0, 0.6));
        let face = body.point(end * length, 0.0, 0.6);
        if dot(outward, sub(camera.position, face)) <= 0.0 {
            continue;
        }
        for side in [-1.0, 1.0] {
            let lamp = |inner: f32, up: f32| body.point(end * length * 1.004, side * half * inner, up);
            fill(canvas, camera, &[lamp(0.6, 0.56), lamp(0.95, 0.56), lamp(0.95, 0.7), lamp(0.6, 0.7)], color);
        }
        let plate = |side: f32, up: f32| body.point(end * length * 1.004, side * half, up);
        fill(
            canvas,
            camera,
            &[plate(-0.3, 0.4), plate(0.3, 0.4), plate(0.3, 0.5), plate(-0.3, 0.5)],
            Color::new(214, 214, 206),
        );
    }
}

/// The shadow under and next to the car.
pub(super) fn shadow(canvas: &mut Canvas, camera: &Camera, pose: &Pose, length: f32, slant: f32, strength: f32) {
    let body = Body { at: pose.at, ahead: pose.heading };
    let corners =
        [(-0.52, -1.0), (0.52, -1.0), (0.52, 1.0), (-0.52, 1.0)].map(|(a, side)| body.point(a * length, side, 0.0));
    for shift in [0.0, slant * 0.7] {
        let spots: Vec<Spot> = corners.iter().filter_map(|c| camera.project([c[0] + shift, 0.0, c[2]])).collect();
        if spots.len() == corners.len() {
            canvas.shade(&spots, strength * if shift == 0.0 { 1.0 } else { 0.6 });
        }
    }
}
