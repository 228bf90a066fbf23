//! Boxes, points and polygons in the coordinate system of all users: 0..1 of the original picture.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A point, 0..1 of the picture's width (`x`) and height (`y`), origin at the top left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Share of the width from the left edge.
    pub x: f32,
    /// Share of the height from the top edge.
    pub y: f32,
}

/// An axis-aligned box: top-left corner and size, each 0..1 of the original picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default, ToSchema)]
pub struct BBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl BBox {
    /// A box from its corners; the corners may come in any order.
    pub fn from_corners(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        let (l, r) = if x0 <= x1 { (x0, x1) } else { (x1, x0) };
        let (t, b) = if y0 <= y1 { (y0, y1) } else { (y1, y0) };
        Self { x: l, y: t, width: r - l, height: b - t }
    }

    /// Right edge.
    pub fn right(&self) -> f32 {
        self.x + self.width
    }

    /// Bottom edge.
    pub fn bottom(&self) -> f32 {
        self.y + self.height
    }

    /// Area, 0..1 of the picture.
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Centre point.
    pub fn center(&self) -> Point {
        Point { x: self.x + self.width * 0.5, y: self.y + self.height * 0.5 }
    }

    /// Middle of the bottom edge: where an upright object touches the ground. The anchor of zones.
    pub fn bottom_center(&self) -> Point {
        Point { x: self.x + self.width * 0.5, y: self.bottom() }
    }

    /// The part inside the picture; `None` if it is empty or not finite.
    pub fn clamped(&self) -> Option<Self> {
        if ![self.x, self.y, self.width, self.height].iter().all(|v| v.is_finite()) {
            return None;
        }
        let (l, t) = (self.x.clamp(0.0, 1.0), self.y.clamp(0.0, 1.0));
        let (r, b) = (self.right().clamp(0.0, 1.0), self.bottom().clamp(0.0, 1.0));
        (r > l && b > t).then_some(Self { x: l, y: t, width: r - l, height: b - t })
    }

    /// Intersection over union, 0..1; 0 for degenerate boxes.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = self.right().min(other.right()) - self.x.max(other.x);
        let h = self.bottom().min(other.bottom()) - self.y.max(other.y);
        if w <= 0.0 || h <= 0.0 {
            return 0.0;
        }
        let inter = w * h;
        inter / (self.area() + other.area() - inter).max(f32::MIN_POSITIVE)
    }
}

/// A simple polygon of at least three points, in picture coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<Point>,
}

impl Polygon {
    /// Creates a polygon; `None` for fewer than three points or a coordinate that is not finite.
    pub fn new(points: Vec<Point>) -> Option<Self> {
        (points.len() >= 3 && points.iter().all(|p| p.x.is_finite() && p.y.is_finite())).then_some(Self { points })
    }

    /// The corners, in the order given.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Whether two of its edges cross, so that some of the enclosed area counts as outside.
    pub fn crosses_itself(&self) -> bool {
        let count = self.points.len();
        let edge = |i: usize| (self.points[i], self.points[(i + 1) % count]);
        let side = |(a, b): (Point, Point), p: Point| (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x);
        let parted = |of: (Point, Point), by: (Point, Point)| side(by, of.0) * side(by, of.1) < 0.0;
        let crosses = |i: usize, j: usize| parted(edge(i), edge(j)) && parted(edge(j), edge(i));
        (0..count).any(|i| (i + 1..count).any(|j| crosses(i, j)))
    }

    /// Whether anything is inside: beside some edge, a ten-thousandth of the picture away. Corners on a line enclose
    /// nothing.
    pub fn has_area(&self) -> bool {
        const BESIDE: f32 = 1e-4;
        let ends = self.points.iter().zip(self.points.iter().cycle().skip(1));
        ends.into_iter().any(|(a, b)| {
            let (dx, dy) = (b.x - a.x, b.y - a.y);
            let length = dx.hypot(dy);
            length > 0.0
                && [0.3, 0.5, 0.8].iter().any(|part| {
                    let (x, y) = (a.x + part * dx, a.y + part * dy);
                    let (aside, down) = (BESIDE * dy / length, BESIDE * dx / length);
                    self.contains(Point { x: x - aside, y: y + down })
                        || self.contains(Point { x: x + aside, y: y - down })
                })
        })
    }

    /// Whether `p` is inside, by the even-odd rule (ray casting). Points on a left or top edge are inside.
    pub fn contains(&self, p: Point) -> bool {
        let mut inside = false;
        let mut j = self.points.len() - 1;
        for i in 0..self.points.len() {
            let (a, b) = (self.points[i], self.points[j]);
            if (a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x {
                inside = !inside;
            }
            j = i;
        }
        inside
    }
}

/// A named area of one source's picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// The name that rules use.
    pub name: String,
    /// Its outline.
    pub polygon: Polygon,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> Polygon {
        Polygon::new([(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)].map(|(x, y)| Point { x, y }).to_vec()).unwrap()
    }

    #[test]
    fn a_polygon_contains_its_inside_only() {
        let square = square();
        assert!(square.contains(Point { x: 0.5, y: 0.5 }));
        assert!(!square.contains(Point { x: 0.9, y: 0.5 }));
        assert!(!square.contains(Point { x: 0.5, y: 0.1 }));
        assert!(Polygon::new(vec![Point { x: 0.0, y: 0.0 }; 2]).is_none());
        assert!(Polygon::new(vec![Point { x: f32::NAN, y: 0.0 }; 3]).is_none());
    }

    #[test]
    fn an_outline_that_crosses_itself_is_known() {
        let of = |corners: &[(f32, f32)]| {
            Polygon::new(corners.iter().map(|&(x, y)| Point { x, y }).collect()).unwrap().crosses_itself()
        };
        assert!(of(&[(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)]), "a bow");
        assert!(of(&[(0.1, 0.1), (0.9, 0.1), (0.2, 0.9), (0.5, 0.0), (0.8, 0.9)]), "a star's beginning");
        assert!(!square().crosses_itself());
        assert!(!of(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.2), (0.0, 1.0)]), "a notch");
        assert!(!of(&[(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 1.0)]), "a corner on an edge");
    }

    #[test]
    fn an_outline_without_an_inside_is_known() {
        let of = |corners: &[(f32, f32)]| {
            Polygon::new(corners.iter().map(|&(x, y)| Point { x, y }).collect()).unwrap().has_area()
        };
        assert!(!of(&[(0.5, 0.5); 3]), "a point");
        assert!(!of(&[(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)]), "a line");
        assert!(!of(&[(0.1, 0.2), (0.5, 0.2), (0.3, 0.2), (0.9, 0.2)]), "a line there and back");
        assert!(!of(&[(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.9, 0.1)]), "a path there and back");
        assert!(square().has_area());
        assert!(of(&[(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)]), "a bow");
        assert!(of(&[(0.0, 0.0), (1.0, 0.0), (1.0, 0.001), (0.0, 0.001)]), "a narrow strip");
        assert!(of(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]), "the picture");
    }

    #[test]
    fn overlap_is_symmetric_and_bounded() {
        let a = BBox { x: 0.0, y: 0.0, width: 0.5, height: 0.5 };
        let b = BBox { x: 0.25, y: 0.0, width: 0.5, height: 0.5 };
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&b), b.iou(&a));
        assert!((a.iou(&a) - 1.0).abs() < 1e-6);
        assert_eq!(a.iou(&BBox { x: 0.9, y: 0.9, width: 0.1, height: 0.1 }), 0.0);
    }

    #[test]
    fn clamping_refuses_what_is_not_a_box() {
        assert!(BBox { x: f32::NAN, y: 0.0, width: 1.0, height: 1.0 }.clamped().is_none());
        assert!(BBox { x: 1.5, y: 0.0, width: 1.0, height: 1.0 }.clamped().is_none());
        let b = BBox { x: -0.5, y: 0.5, width: 1.0, height: 1.0 }.clamped().unwrap();
        assert_eq!((b.x, b.width, b.height), (0.0, 0.5, 0.5));
    }
}
