//! Static props that hide objects behind them: poles, trees, signs, bins, benches, boards, bushes.

use super::camera::{Camera, Spot, Vec3};
use super::canvas::Canvas;
use super::math::{Rng, cos, sin};
use super::script::{Color, PropKind, PropSpec};

impl PropKind {
    fn own_height(self) -> f32 {
        match self {
            Self::Pole => 5.5,
            Self::Tree => 5.0,
            Self::Sign => 2.6,
            Self::Bin => 1.0,
            Self::Bench => 0.85,
            Self::Board => 1.7,
            Self::Bush => 1.1,
        }
    }

    fn own_color(self) -> Color {
        match self {
            Self::Pole => Color::new(92, 96, 100),
            Self::Tree => Color::new(74, 112, 58),
            Self::Sign => Color::new(40, 84, 168),
            Self::Bin => Color::new(70, 92, 74),
            Self::Bench => Color::new(130, 92, 60),
            Self::Board => Color::new(58, 96, 150),
            Self::Bush => Color::new(64, 96, 56),
        }
    }
}

/// Paints one prop; `seed` varies its leaves.
pub(super) fn paint(canvas: &mut Canvas, camera: &Camera, prop: &PropSpec, seed: u64) {
    let h = if prop.height_m > 0.0 { prop.height_m } else { prop.kind.own_height() };
    let color = prop.color.unwrap_or(prop.kind.own_color());
    let at = |dx: f32, up: f32| -> Vec3 { [prop.at[0] + dx, up, prop.at[1]] };
    let rod = |canvas: &mut Canvas, a: Vec3, ra: f32, b: Vec3, rb: f32, color: Color| {
        if let (Some(a), Some(b)) = (camera.project(a), camera.project(b)) {
            canvas.capsule(a, ra, b, rb, color);
        }
    };
    match prop.kind {
        PropKind::Pole => {
            rod(canvas, at(0.0, 0.0), 0.11, at(0.0, h), 0.07, color);
            rod(canvas, at(0.0, h), 0.05, at(0.9, h + 0.1), 0.05, color);
            rod(canvas, at(0.8, h + 0.05), 0.09, at(1.2, h + 0.05), 0.09, color.lit(1.4));
        }
        PropKind::Sign => {
            rod(canvas, at(0.0, 0.0), 0.04, at(0.0, h), 0.04, Color::new(130, 132, 134));
            disc(canvas, camera, at(0.0, h), 0.34, Color::new(226, 226, 224));
            disc(canvas, camera, at(0.0, h), 0.27, color);
        }
        PropKind::Tree => {
            rod(canvas, at(0.0, 0.0), 0.17, at(0.1, h * 0.6), 0.1, Color::new(84, 66, 50));
            leaves(canvas, camera, &at, h * 0.72, h * 0.3, color, seed);
        }
        PropKind::Bush => leaves(canvas, camera, &at, h * 0.5, h * 0.5, color, seed),
        PropKind::Bin => {
            rod(canvas, at(0.0, 0.25), 0.27, at(0.0, h * 0.8), 0.3, color);
            rod(canvas, at(-0.28, h * 0.9), 0.07, at(0.28, h * 0.9), 0.07, color.lit(0.7));
        }
        PropKind::Bench => {
            for x in [-0.7, 0.7] {
                rod(canvas, at(x, 0.0), 0.05, at(x, h * 0.55), 0.05, Color::new(60, 60, 62));
            }
            rod(canvas, at(-0.9, h * 0.55), 0.07, at(0.9, h * 0.55), 0.07, color);
            rod(canvas, at(-0.9, h), 0.09, at(0.9, h), 0.09, color);
        }
        PropKind::Board => {
            for x in [-0.4, 0.4] {
                rod(canvas, at(x, 0.0), 0.04, at(x, h), 0.04, Color::new(90, 90, 92));
            }
            let quad: Vec<Spot> = [(-0.5, h * 0.45), (0.5, h * 0.45), (0.5, h), (-0.5, h)]
                .iter()
                .filter_map(|&(x, up)| camera.project(at(x, up)))
                .collect();
            canvas.polygon(&quad, color);
        }
    }
}

fn disc(canvas: &mut Canvas, camera: &Camera, at: Vec3, radius: f32, color: Color) {
    if let Some(spot) = camera.project(at) {
        canvas.disc(spot, radius, color);
    }
}

/// A crown of overlapping discs.
fn leaves(
    canvas: &mut Canvas,
    camera: &Camera,
    at: &dyn Fn(f32, f32) -> Vec3,
    up: f32,
    size: f32,
    color: Color,
    seed: u64,
) {
    let mut rng = Rng::new(seed);
    for k in 0..11 {
        let turn = k as f32 / 11.0 + rng.between(-0.04, 0.04);
        let reach = size * rng.between(0.35, 0.75);
        let shade = rng.between(0.75, 1.15);
        disc(
            canvas,
            camera,
            at(reach * cos(turn), up + reach * 0.8 * sin(turn)),
            size * rng.between(0.35, 0.5),
            color.lit(shade),
        );
    }
    disc(canvas, camera, at(0.0, up), size * 0.6, color);
}
