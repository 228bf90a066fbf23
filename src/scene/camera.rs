//! A pinhole camera over the street: world metres to picture pixels and back to rays.
//!
//! World axes: x to the right, y up from the ground, z away from the camera, which is at x = 0, z = 0.

use super::math::{cos, sin};
use super::script::CameraSpec;

/// A point in the world, metres.
pub(super) type Vec3 = [f32; 3];

pub(super) fn sub(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vec3, b: Vec3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn unit(a: Vec3) -> Vec3 {
    let length = dot(a, a).sqrt().max(1e-9);
    [a[0] / length, a[1] / length, a[2] / length]
}

/// A projected point, with the pixels per metre at its depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) scale: f32,
}

/// Near clipping distance, metres.
const NEAR_M: f32 = 0.8;

#[derive(Debug, Clone)]
pub(super) struct Camera {
    pub(super) position: Vec3,
    right: Vec3,
    up: Vec3,
    forward: Vec3,
    focal: f32,
    centre: (f32, f32),
}

impl Camera {
    pub(super) fn new(spec: &CameraSpec, width: u32, height: u32) -> Self {
        let (sy, cy) = (sin(spec.yaw_deg / 360.0), cos(spec.yaw_deg / 360.0));
        let (sp, cp) = (sin(spec.pitch_deg / 360.0), cos(spec.pitch_deg / 360.0));
        Self {
            position: [0.0, spec.height_m, 0.0],
            right: [cy, 0.0, -sy],
            up: [sy * sp, cp, cy * sp],
            forward: [sy * cp, -sp, cy * cp],
            focal: spec.focal * width as f32,
            centre: (width as f32 * 0.5, height as f32 * 0.5),
        }
    }

    /// Distance along the viewing axis, metres.
    pub(super) fn depth(&self, p: Vec3) -> f32 {
        dot(sub(p, self.position), self.forward)
    }

    /// Projects `p` onto the picture; `None` if it is behind or too near.
    pub(super) fn project(&self, p: Vec3) -> Option<Spot> {
        let d = sub(p, self.position);
        let depth = dot(d, self.forward);
        if depth < NEAR_M {
            return None;
        }
        let scale = self.focal / depth;
        Some(Spot { x: self.centre.0 + dot(d, self.right) * scale, y: self.centre.1 - dot(d, self.up) * scale, scale })
    }

    /// The direction of the picture's point `(x, y)`.
    pub(super) fn ray(&self, x: f32, y: f32) -> Vec3 {
        let (u, v) = ((x - self.centre.0) / self.focal, (self.centre.1 - y) / self.focal);
        [
            self.forward[0] + self.right[0] * u + self.up[0] * v,
            self.forward[1] + self.right[1] * u + self.up[1] * v,
            self.forward[2] + self.right[2] * u + self.up[2] * v,
        ]
    }
}
