//! Bicycles and their riders.

use super::camera::{Camera, Vec3};
use super::canvas::Canvas;
use super::math::{cos, sin};
use super::path::Pose;
use super::person::{Body, Clothes, Skeleton, dress};
use super::script::{Color, Shape};

/// Segments of a wheel's outline.
const SPOKES: usize = 14;

/// A bicycle's dimensions: wheel radius, distance between the hubs, saddle height, bar height, tube radius.
struct Frame {
    wheel: f32,
    base: f32,
    saddle: f32,
    bar: f32,
    tube: f32,
}

fn frame(shape: Shape, length: f32) -> Frame {
    let scale = length / 1.75;
    let (wheel, base, saddle, bar, tube) = match shape {
        Shape::Racer => (0.34, 1.0, 1.0, 0.92, 0.018),
        Shape::Cargo => (0.31, 1.35, 0.95, 1.1, 0.034),
        _ => (0.345, 1.08, 0.93, 1.08, 0.026),
    };
    Frame { wheel: wheel * scale, base: base * scale, saddle: saddle * scale, bar: bar * scale, tube: tube * scale }
}

fn tube(canvas: &mut Canvas, camera: &Camera, a: Vec3, b: Vec3, radius: f32, color: Color) {
    if let (Some(a), Some(b)) = (camera.project(a), camera.project(b)) {
        canvas.capsule(a, radius, b, radius, color);
    }
}

/// Paints the bicycle without its rider.
pub(super) fn paint(canvas: &mut Canvas, camera: &Camera, pose: &Pose, shape: Shape, length: f32, color: Color) {
    let body = Body { at: pose.at, ahead: pose.heading };
    let f = frame(shape, length);
    let half = f.base * 0.5;
    let tyre = Color::new(34, 34, 36);
    for hub in [-half, half] {
        let rim = |k: usize| {
            let turn = k as f32 / SPOKES as f32;
            body.point(hub + f.wheel * cos(turn), 0.0, f.wheel + f.wheel * sin(turn))
        };
        for k in 0..SPOKES {
            tube(canvas, camera, rim(k), rim(k + 1), 0.027, tyre);
        }
        // Two spokes that turn with the wheel.
        let roll = -pose.travelled / (f.wheel * std::f32::consts::TAU);
        for turn in [roll, roll + 0.25] {
            let end = |t: f32| body.point(hub + f.wheel * cos(t), 0.0, f.wheel + f.wheel * sin(t));
            tube(canvas, camera, end(turn), end(turn + 0.5), 0.008, Color::new(120, 120, 124));
        }
    }
    let rear = body.point(-half, 0.0, f.wheel);
    let front = body.point(half, 0.0, f.wheel);
    let crank = body.point(-0.08, 0.0, f.wheel * 0.9);
    let seat = body.point(-half * 0.5, 0.0, f.saddle);
    let stem = body.point(half * 0.72, 0.0, f.bar * 0.86);
    let bar = body.point(half * 0.66, 0.0, f.bar);
    for (a, b) in [(rear, crank), (rear, seat), (crank, seat), (crank, stem), (seat, stem), (front, stem), (stem, bar)]
    {
        tube(canvas, camera, a, b, f.tube, color);
    }
    let (left, right) = (body.point(half * 0.6, 0.27, f.bar), body.point(half * 0.6, -0.27, f.bar));
    tube(canvas, camera, left, right, 0.02, tyre);
    tube(
        canvas,
        camera,
        body.point(-half * 0.75, 0.0, f.saddle + 0.03),
        body.point(-half * 0.25, 0.0, f.saddle + 0.03),
        0.05,
        tyre,
    );
    if shape == Shape::Cargo {
        let (a, b) = (body.point(half * 0.35, 0.0, f.wheel * 2.0), body.point(half * 0.9, 0.0, f.wheel * 2.0));
        tube(canvas, camera, a, b, 0.16, color.lit(0.8));
    }
}

/// Paints the rider of the bicycle at `pose`.
pub(super) fn paint_rider(
    canvas: &mut Canvas,
    camera: &Camera,
    pose: &Pose,
    shape: Shape,
    length: f32,
    clothes: &Clothes,
) {
    let body = Body { at: pose.at, ahead: pose.heading };
    let f = frame(shape, length);
    let (h, half) = (clothes.height, f.base * 0.5);
    let lean = if shape == Shape::Racer { 0.42 } else { 0.22 };
    let hip = body.point(-half * 0.5, 0.0, f.saddle + 0.08);
    let shoulder_up = f.saddle + 0.08 + 0.27 * h;
    let chest = body.point(-half * 0.5 + lean, 0.0, shoulder_up - 0.04 * h);
    let turn = -pose.travelled / 4.2;
    let leg = |side: f32, turn: f32| {
        let pedal = (-0.08 + 0.17 * cos(turn), f.wheel * 0.9 + 0.17 * sin(turn));
        let hip = (-half * 0.5, f.saddle + 0.06);
        // The knee is ahead of the midpoint between hip and pedal.
        let knee = ((hip.0 + pedal.0) * 0.5 + 0.22, (hip.1 + pedal.1) * 0.5 + 0.1);
        [
            body.point(hip.0, side * 0.09, hip.1),
            body.point(knee.0, side * 0.1, knee.1),
            body.point(pedal.0, side * 0.12, pedal.1),
        ]
    };
    let arm = |side: f32| {
        let shoulder = (-half * 0.5 + lean, shoulder_up);
        let hand = (half * 0.58, f.bar + 0.02);
        [
            body.point(shoulder.0, side * 0.19, shoulder.1),
            body.point((shoulder.0 + hand.0) * 0.5, side * 0.25, (shoulder.1 + hand.1) * 0.5 - 0.07),
            body.point(hand.0, side * 0.24, hand.1),
        ]
    };
    let skeleton = Skeleton {
        legs: [leg(1.0, turn), leg(-1.0, turn + 0.5)],
        arms: [arm(1.0), arm(-1.0)],
        hip,
        chest,
        head: body.point(-half * 0.5 + lean + 0.06, 0.0, shoulder_up + 0.135 * h),
        back: body.point(-half * 0.5 + lean - 0.2, 0.0, shoulder_up - 0.05),
    };
    dress(canvas, camera, &skeleton, clothes);
}
