//! The canvas: anti-aliased capsules and convex polygons, and a map of the object that owns each pixel.
//!
//! Coverage is analytic (signed distance to the shape's edge), so one pass yields smooth edges. The owner map makes the
//! ground truth exact: an object's box encloses the pixels that it still owns at the end.

use super::camera::Spot;
use super::script::Color;

/// Owner of pixels that no object painted.
pub(super) const NOBODY: u16 = 0;

/// What one object painted, and its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Pixels painted, before other objects painted over them.
    pub(super) painted: u32,
    /// Left, top, right, bottom in pixels, not clipped to the picture.
    pub(super) bounds: [f32; 4],
}

impl Extent {
    const EMPTY: Self = Self { painted: 0, bounds: [f32::MAX, f32::MAX, f32::MIN, f32::MIN] };
}

/// Pixels and their owners.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    /// R, G, B; empty if only the truth is wanted.
    pub(super) rgb: Vec<u8>,
    pub(super) owner: Vec<u16>,
    extents: Vec<Extent>,
    current: u16,
}

impl Canvas {
    /// Creates a canvas over `rgb` (or without colours) for objects 1..=`objects`.
    pub(super) fn new(width: usize, height: usize, rgb: Vec<u8>, objects: usize) -> Self {
        Self {
            width,
            height,
            rgb,
            owner: vec![NOBODY; width * height],
            extents: vec![Extent::EMPTY; objects + 1],
            current: NOBODY,
        }
    }

    /// Assigns everything painted from now on to `object`.
    pub(super) fn paint_as(&mut self, object: u16) {
        self.current = object;
    }

    pub(super) fn extent(&self, object: u16) -> Extent {
        self.extents[usize::from(object)]
    }

    /// A limb: two discs and the area between them, shaded round, lit from the left.
    pub(super) fn capsule(&mut self, a: Spot, ra: f32, b: Spot, rb: f32, color: Color) {
        let (ra, rb) = ((ra * a.scale).max(0.35), (rb * b.scale).max(0.35));
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let inverse = 1.0 / (dx * dx + dy * dy).max(1e-6);
        let bounds =
            [(a.x - ra).min(b.x - rb), (a.y - ra).min(b.y - rb), (a.x + ra).max(b.x + rb), (a.y + ra).max(b.y + rb)];
        self.cover(bounds, color, 255, |x, y| {
            let (px, py) = (x - a.x, y - a.y);
            let h = ((px * dx + py * dy) * inverse).clamp(0.0, 1.0);
            let (ex, ey) = (px - dx * h, py - dy * h);
            let r = ra + (rb - ra) * h;
            (r - (ex * ex + ey * ey).sqrt(), 1.06 - 0.22 * ex / r - 0.06 * ey / r)
        });
    }

    /// A disc.
    pub(super) fn disc(&mut self, at: Spot, radius: f32, color: Color) {
        self.capsule(at, radius, at, radius, color);
    }

    /// A convex polygon, corners in either order.
    pub(super) fn polygon(&mut self, corners: &[Spot], color: Color) {
        self.face(corners, color, 255);
    }

    /// A shadow: darkens pixels without owning them.
    pub(super) fn shade(&mut self, corners: &[Spot], strength: f32) {
        if self.rgb.is_empty() {
            return;
        }
        let kept = std::mem::replace(&mut self.current, NOBODY);
        self.face(corners, Color::new(22, 24, 32), (strength * 255.0) as u32);
        self.current = kept;
    }

    fn face(&mut self, corners: &[Spot], color: Color, opacity: u32) {
        let n = corners.len();
        if n < 3 {
            return;
        }
        let mut bounds = Extent::EMPTY.bounds;
        let mut area = 0.0;
        for i in 0..n {
            let (p, q) = (corners[i], corners[(i + 1) % n]);
            area += p.x * q.y - q.x * p.y;
            bounds = [bounds[0].min(p.x), bounds[1].min(p.y), bounds[2].max(p.x), bounds[3].max(p.y)];
        }
        if area.abs() < 0.02 {
            return;
        }
        let turn = area.signum();
        // Each edge as a half plane a·x + b·y + c, positive inside, in pixels of distance.
        let mut edges = [[0.0f32; 3]; 24];
        let mut count = 0;
        for i in 0..n.min(24) {
            let (p, q) = (corners[i], corners[(i + 1) % n]);
            let (ex, ey) = (q.x - p.x, q.y - p.y);
            let length = (ex * ex + ey * ey).sqrt();
            if length > 1e-3 {
                let (a, b) = (-ey * turn / length, ex * turn / length);
                edges[count] = [a, b, -(a * p.x + b * p.y)];
                count += 1;
            }
        }
        let edges = &edges[..count];
        self.cover(bounds, color, opacity, |x, y| {
            let mut inside = f32::MAX;
            for e in edges {
                inside = inside.min(e[0] * x + e[1] * y + e[2]);
            }
            (inside, 1.0)
        });
    }

    /// Paints a shape; `shape` returns the distance inside its edge, in pixels, and the light.
    fn cover(&mut self, bounds: [f32; 4], color: Color, opacity: u32, shape: impl Fn(f32, f32) -> (f32, f32)) {
        let id = self.current;
        if id != NOBODY {
            let e = &mut self.extents[usize::from(id)].bounds;
            *e = [e[0].min(bounds[0]), e[1].min(bounds[1]), e[2].max(bounds[2]), e[3].max(bounds[3])];
        }
        let clip = |v: f32, limit: usize| v.clamp(0.0, limit as f32) as usize;
        let (x0, x1) = (clip(bounds[0] - 0.5, self.width), clip(bounds[2] + 1.5, self.width));
        let (y0, y1) = (clip(bounds[1] - 0.5, self.height), clip(bounds[3] + 1.5, self.height));
        let colored = !self.rgb.is_empty();
        let mut fresh = 0;
        for y in y0..y1 {
            for x in x0..x1 {
                let (inside, light) = shape(x as f32 + 0.5, y as f32 + 0.5);
                if inside <= -0.5 {
                    continue;
                }
                let at = y * self.width + x;
                // A pixel covered by half or more belongs to the object. Shadows and props paint as NOBODY: a prop in
                // front takes pixels away, while shadows are painted before all objects.
                if inside >= 0.0 && self.owner[at] != id {
                    self.owner[at] = id;
                    fresh += 1;
                }
                if colored {
                    let alpha = ((inside + 0.5).min(1.0) * opacity as f32) as u32;
                    let light = (light * 256.0) as u32;
                    for (out, c) in self.rgb[at * 3..at * 3 + 3].iter_mut().zip(color.0) {
                        let lit = ((u32::from(c) * light) >> 8).min(255);
                        *out = ((u32::from(*out) * (255 - alpha) + lit * alpha + 127) / 255) as u8;
                    }
                }
            }
        }
        self.extents[usize::from(id)].painted += fresh;
    }
}
