//! Exports rendered pictures and labels to plain files, for training with this renderer.
//!
//! A folder gets `pictures.u8` (count x height x width x R, G, B bytes, letterboxed, pad value 114), `labels.jsonl`
//! (one array per picture of `[class, left, top, right, bottom, occluded, truncated]`, corners in its pixels) and
//! `meta.json`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use super::math::mix;
use super::{Domain, LABELS, Scene, Truth};
use crate::error::{Code, Error};
use crate::types::{Picture, Planes};

/// Value of the letterbox padding.
const PAD: u8 = 114;

/// Exported frames of a random scene: objects move between them.
const MOMENTS: [u64; 2] = [15, 4];

/// Writes `count` pictures of random scenes from `domain`, of `size` (width, height), generated from `seed`.
///
/// # Errors
/// When the folder cannot be written.
pub fn export_training(dir: &Path, domain: Domain, count: u64, size: (u32, u32), seed: u64) -> Result<(), Error> {
    let pictures = (0..count).map(|i| {
        let moments = MOMENTS.len() as u64;
        let scene_seed = mix(seed.wrapping_mul(1_000_003).wrapping_add(i / moments));
        Scene::random(scene_seed, domain).frame(MOMENTS[(i % moments) as usize])
    });
    write(dir, pictures, size, count)
}

/// Writes every frame of `scene`, letterboxed to `size`.
///
/// # Errors
/// When the folder cannot be written.
pub fn export_scene(dir: &Path, scene: &Scene, size: (u32, u32)) -> Result<(), Error> {
    write(dir, (0..scene.frames()).map(|i| scene.frame(i)), size, scene.frames())
}

fn write(
    dir: &Path,
    frames: impl Iterator<Item = (Picture, Vec<Truth>)>,
    size: (u32, u32),
    count: u64,
) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::new(Code::Io, format!("cannot write to {}: {e}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    let mut pictures = BufWriter::new(File::create(dir.join("pictures.u8")).map_err(failed)?);
    let mut labels = BufWriter::new(File::create(dir.join("labels.jsonl")).map_err(failed)?);
    for (picture, truth) in frames {
        let fit = Fit::new(&picture, size);
        let planes = picture.planes().map_err(|why| Error::new(Code::Source, why.to_string()))?;
        pictures.write_all(&fit.pixels(&planes)).map_err(failed)?;
        let rows: Vec<_> = truth.iter().map(|t| fit.label(t)).collect();
        writeln!(labels, "{}", serde_json::json!(rows)).map_err(failed)?;
    }
    pictures.flush().and_then(|()| labels.flush()).map_err(failed)?;
    let meta = serde_json::json!({ "count": count, "width": size.0, "height": size.1, "labels": LABELS });
    fs::write(dir.join("meta.json"), meta.to_string()).map_err(failed)
}

/// A picture's position in the letterbox: scaled to fit, centred.
struct Fit {
    size: (u32, u32),
    scale: f32,
    left: f32,
    top: f32,
    from: (f32, f32),
}

impl Fit {
    fn new(picture: &Picture, size: (u32, u32)) -> Self {
        let from = (picture.width as f32, picture.height as f32);
        let scale = (size.0 as f32 / from.0).min(size.1 as f32 / from.1);
        let left = ((size.0 as f32 - from.0 * scale) * 0.5).floor();
        let top = ((size.1 as f32 - from.1 * scale) * 0.5).floor();
        Self { size, scale, left, top, from }
    }

    fn label(&self, t: &Truth) -> [f32; 7] {
        let x = |v: f32| v * self.from.0 * self.scale + self.left;
        let y = |v: f32| v * self.from.1 * self.scale + self.top;
        let b = &t.bbox;
        [t.class_id as f32, x(b.x), y(b.y), x(b.right()), y(b.bottom()), t.occluded, t.truncated]
    }

    /// Bilinear in luma and chroma samples, BT.709 limited to R, G, B.
    fn pixels(&self, picture: &Planes<'_>) -> Vec<u8> {
        let mut out = vec![PAD; (self.size.0 * self.size.1 * 3) as usize];
        for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
            let (x, y) = ((i as u32 % self.size.0) as f32, (i as u32 / self.size.0) as f32);
            let sx = (x - self.left + 0.5) / self.scale - 0.5;
            let sy = (y - self.top + 0.5) / self.scale - 0.5;
            if sx > -0.5 && sy > -0.5 && sx < self.from.0 - 0.5 && sy < self.from.1 - 0.5 {
                pixel.copy_from_slice(&bilinear(picture, sx.max(0.0), sy.max(0.0)));
            }
        }
        out
    }
}

fn bilinear(picture: &Planes<'_>, x: f32, y: f32) -> [u8; 3] {
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(picture.width as usize - 1), (y0 + 1).min(picture.height as usize - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let corners =
        [(x0, y0, (1.0 - fx) * (1.0 - fy)), (x1, y0, fx * (1.0 - fy)), (x0, y1, (1.0 - fx) * fy), (x1, y1, fx * fy)];
    let mut yuv = [0.0f32; 3];
    for (cx, cy, weight) in corners {
        yuv[0] += weight * f32::from(picture.plane(0)[cy * picture.stride(0) + cx]);
        for k in [1, 2] {
            yuv[k] += weight * f32::from(picture.plane(k)[cy / 2 * picture.stride(k) + cx / 2]);
        }
    }
    let (y, u, v) = ((yuv[0] - 16.0) * 1.164_383_6, yuv[1] - 128.0, yuv[2] - 128.0);
    [y + 1.792_741_1 * v, y - 0.213_248_6 * u - 0.532_909_3 * v, y + 2.112_401_8 * u]
        .map(|c| (c + 0.5).clamp(0.0, 255.0) as u8)
}
