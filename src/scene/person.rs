//! Persons: a walking skeleton of capsules between joints, clothed by shape.

use super::camera::{Camera, Spot, Vec3};
use super::canvas::Canvas;
use super::math::{cos, sin};
use super::path::Pose;
use super::script::{Color, Shape};

/// A person's appearance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clothes {
    pub(super) shape: Shape,
    pub(super) height: f32,
    pub(super) upper: Color,
    pub(super) lower: Color,
    pub(super) skin: Color,
    pub(super) hair: Color,
}

/// A body's coordinate system on the ground: origin and forward direction.
#[derive(Clone, Copy)]
pub(super) struct Body {
    pub(super) at: [f32; 2],
    pub(super) ahead: [f32; 2],
}

impl Body {
    /// The world point `forward` metres ahead, `left` metres to the left, `up` metres above the ground.
    pub(super) fn point(&self, forward: f32, left: f32, up: f32) -> Vec3 {
        [
            self.at[0] + self.ahead[0] * forward - self.ahead[1] * left,
            up,
            self.at[1] + self.ahead[1] * forward + self.ahead[0] * left,
        ]
    }
}

/// The joints of one pose; coordinates in metres.
pub(super) struct Skeleton {
    /// Hip, knee, foot of the left and the right leg.
    pub(super) legs: [[Vec3; 3]; 2],
    /// Shoulder, elbow, hand of the left and the right arm.
    pub(super) arms: [[Vec3; 3]; 2],
    pub(super) hip: Vec3,
    pub(super) chest: Vec3,
    pub(super) head: Vec3,
    /// A point behind the chest.
    pub(super) back: Vec3,
}

/// Metres travelled in one full cycle of two steps, per metre of height.
const STRIDE: f32 = 0.85;

impl Skeleton {
    /// Walking, or standing still with a slight sway.
    fn walking(pose: &Pose, height: f32, t: f32) -> Self {
        let body = Body { at: pose.at, ahead: pose.heading };
        let h = height;
        let phase = pose.travelled / (STRIDE * h);
        let swing = if pose.moving { 1.0 } else { 0.0 };
        let sway = if pose.moving { 0.0 } else { 0.02 * sin(t / 3.1) };
        let bob = swing * 0.012 * h * cos(phase * 2.0);
        let leg = |side: f32, phase: f32| {
            let forward = swing * 0.19 * h * sin(phase);
            let lift = swing * 0.06 * h * cos(phase).max(0.0);
            let hip = body.point(sway, side * 0.055 * h, 0.50 * h + bob);
            let knee = body.point(forward * 0.55 + lift * 0.5, side * 0.055 * h, 0.27 * h + lift * 0.4);
            [hip, knee, body.point(forward, side * 0.06 * h, 0.03 * h + lift)]
        };
        let arm = |side: f32, phase: f32| {
            let forward = swing * 0.13 * h * sin(phase);
            let shoulder = body.point(sway, side * 0.115 * h, 0.79 * h + bob);
            let elbow = body.point(sway + forward * 0.45 - 0.01 * h, side * 0.14 * h, 0.62 * h + bob);
            [shoulder, elbow, body.point(sway + forward * 1.1 + 0.03 * h, side * 0.135 * h, 0.47 * h + bob)]
        };
        Self {
            legs: [leg(1.0, phase), leg(-1.0, phase + 0.5)],
            arms: [arm(1.0, phase + 0.5), arm(-1.0, phase)],
            hip: body.point(sway, 0.0, 0.51 * h + bob),
            chest: body.point(sway, 0.0, 0.75 * h + bob),
            head: body.point(sway + 0.02 * h, 0.0, 0.925 * h + bob),
            back: body.point(sway - 0.11 * h, 0.0, 0.70 * h + bob),
        }
    }
}

/// Paints a person on foot.
pub(super) fn paint(canvas: &mut Canvas, camera: &Camera, pose: &Pose, clothes: &Clothes, t: f32) {
    dress(canvas, camera, &Skeleton::walking(pose, clothes.height, t), clothes);
}

/// Paints a clothed skeleton, far limbs first.
pub(super) fn dress(canvas: &mut Canvas, camera: &Camera, s: &Skeleton, clothes: &Clothes) {
    let far = usize::from(camera.depth(s.arms[1][0]) > camera.depth(s.arms[0][0]));
    let near = 1 - far;
    let behind = camera.depth(s.back) < camera.depth(s.chest);
    arm(canvas, camera, &s.arms[far], clothes, 0.82);
    if !behind {
        pack(canvas, camera, s, clothes);
    }
    leg(canvas, camera, &s.legs[far], clothes, 0.8);
    leg(canvas, camera, &s.legs[near], clothes, 1.0);
    torso(canvas, camera, s, clothes);
    head(canvas, camera, s, clothes);
    arm(canvas, camera, &s.arms[near], clothes, 1.0);
    if behind {
        pack(canvas, camera, s, clothes);
    }
}

fn limb(canvas: &mut Canvas, camera: &Camera, a: Vec3, ra: f32, b: Vec3, rb: f32, color: Color) {
    if let (Some(a), Some(b)) = (camera.project(a), camera.project(b)) {
        canvas.capsule(a, ra, b, rb, color);
    }
}

fn leg(canvas: &mut Canvas, camera: &Camera, joints: &[Vec3; 3], c: &Clothes, light: f32) {
    let h = c.height;
    let bare = matches!(c.shape, Shape::Shorts | Shape::Skirt | Shape::Dress);
    let shin = if bare { c.skin } else { c.lower };
    limb(canvas, camera, joints[1], 0.032 * h, joints[2], 0.024 * h, shin.lit(light));
    limb(canvas, camera, joints[0], 0.052 * h, joints[1], 0.036 * h, c.lower.lit(light));
    limb(canvas, camera, joints[2], 0.026 * h, joints[2], 0.026 * h, Color::new(46, 42, 40));
}

fn arm(canvas: &mut Canvas, camera: &Camera, joints: &[Vec3; 3], c: &Clothes, light: f32) {
    let h = c.height;
    let bare = matches!(c.shape, Shape::Shorts | Shape::Dress);
    let lower = if bare { c.skin } else { c.upper };
    limb(canvas, camera, joints[1], 0.026 * h, joints[2], 0.020 * h, lower.lit(light));
    limb(canvas, camera, joints[0], 0.034 * h, joints[1], 0.027 * h, c.upper.lit(light * 0.95));
    limb(canvas, camera, joints[2], 0.021 * h, joints[2], 0.021 * h, c.skin.lit(light));
}

fn torso(canvas: &mut Canvas, camera: &Camera, s: &Skeleton, c: &Clothes) {
    let h = c.height;
    let low = |share: f32| {
        let mut p = s.hip;
        p[1] -= share * h;
        p
    };
    match c.shape {
        Shape::Coat => limb(canvas, camera, s.hip, 0.095 * h, low(0.2), 0.11 * h, c.upper),
        Shape::Skirt => limb(canvas, camera, s.hip, 0.08 * h, low(0.2), 0.12 * h, c.lower),
        Shape::Dress => limb(canvas, camera, s.hip, 0.075 * h, low(0.26), 0.14 * h, c.upper.lit(0.95)),
        _ => limb(canvas, camera, s.hip, 0.08 * h, low(0.03), 0.078 * h, c.lower),
    }
    // The shoulders make the trunk wider than deep when it turns.
    limb(canvas, camera, s.arms[0][0], 0.05 * h, s.arms[1][0], 0.05 * h, c.upper);
    limb(canvas, camera, s.chest, 0.092 * h, s.hip, 0.078 * h, c.upper);
}

fn head(canvas: &mut Canvas, camera: &Camera, s: &Skeleton, c: &Clothes) {
    let h = c.height;
    let lift = |dy: f32, back: f32| {
        let mut p = s.head;
        p[1] += dy * h;
        // Hair is on the side away from the face: toward the back.
        p[0] += (s.back[0] - s.chest[0]) * back;
        p[2] += (s.back[2] - s.chest[2]) * back;
        p
    };
    let neck = lift(-0.09, 0.0);
    limb(canvas, camera, neck, 0.03 * h, s.head, 0.03 * h, c.skin.lit(0.85));
    let ball = |canvas: &mut Canvas, at: Vec3, r: f32, color: Color| {
        if let Some(spot) = camera.project(at) {
            canvas.disc(spot, r * h, color);
        }
    };
    let facing = camera.depth(s.back) > camera.depth(s.chest);
    let crown = match c.shape {
        Shape::Hood => c.upper.lit(0.9),
        _ => c.hair,
    };
    if facing {
        ball(canvas, lift(0.018, 0.12), 0.066, crown);
        ball(canvas, lift(-0.008, 0.0), 0.056, c.skin);
    } else {
        ball(canvas, lift(-0.008, 0.0), 0.056, c.skin);
        ball(canvas, lift(0.014, 0.14), 0.066, crown);
    }
    if c.shape == Shape::Cap {
        limb(canvas, camera, lift(0.045, 0.0), 0.05 * h, lift(0.035, -0.8), 0.02 * h, c.lower.lit(1.2));
    }
}

fn pack(canvas: &mut Canvas, camera: &Camera, s: &Skeleton, c: &Clothes) {
    if c.shape == Shape::Backpack {
        let mut low = s.back;
        low[1] -= 0.13 * c.height;
        limb(canvas, camera, s.back, 0.075 * c.height, low, 0.08 * c.height, c.hair.toward(c.lower, 0.5).lit(1.1));
    }
}

/// A shadow on the ground from the feet, `length` metres along x.
pub(super) fn shadow(canvas: &mut Canvas, camera: &Camera, at: [f32; 2], length: f32, strength: f32) {
    let w = 0.22;
    let corners = [[0.0, -w], [length, -w * 0.8], [length * 1.08, 0.0], [length, w * 0.8], [0.0, w], [-0.15, 0.0]];
    let spots: Vec<Spot> =
        corners.iter().filter_map(|c| camera.project([at[0] + c[0], 0.0, at[1] + c[1] * 0.8])).collect();
    canvas.shade(&spots, strength);
}
