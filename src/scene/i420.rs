//! Converts painted colours to a camera's output: light, sensor noise, I420 in BT.709 limited range.

use super::math::mix;
use crate::types::{Colorimetry, Matrix, Picture, Range};

/// Fixed-point weights of R, G, B in luma and both chromas, with 16 fractional bits.
const Y: [i32; 3] = [11_966, 40_254, 4_064];
const U: [i32; 3] = [-6_596, -22_189, 28_785];
const V: [i32; 3] = [28_785, -26_146, -2_639];

/// Sensor settings for a frame.
pub(super) struct Sensor {
    /// Gain of R, G and B.
    pub(super) gain: [f32; 3],
    /// Standard deviation of the noise, code values.
    pub(super) noise: f32,
    /// Differs between frames.
    pub(super) seed: u64,
}

fn curve(gain: f32) -> [u8; 256] {
    let mut out = [0; 256];
    for (i, o) in out.iter_mut().enumerate() {
        *o = (i as f32 * gain + 0.5).clamp(0.0, 255.0) as u8;
    }
    out
}

/// Noise from a 64-bit state: four samples per step.
struct Noise {
    state: u64,
    left: u32,
    strength: i32,
}

impl Noise {
    fn new(seed: u64, deviation: f32) -> Self {
        // The sum of two bytes minus 255 has a deviation of 104.5.
        Self { state: mix(seed) | 1, left: 0, strength: (deviation / 104.5 * 65_536.0) as i32 }
    }

    /// A sample with triangular distribution, in code values, rounded.
    fn sample(&mut self) -> i32 {
        if self.left == 0 {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.left = 4;
        }
        self.left -= 1;
        let bits = (self.state >> (self.left * 16)) as i32;
        (((bits & 0xff) + ((bits >> 8) & 0xff) - 255) * self.strength + 32_768) >> 16
    }
}

/// Converts `rgb` (packed R, G, B); `None` only if the picture is empty.
pub(super) fn convert(rgb: &[u8], width: usize, height: usize, sensor: &Sensor) -> Option<Picture> {
    let curves = sensor.gain.map(curve);
    let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
    let (mut y_plane, mut u_plane, mut v_plane) = (vec![0u8; width * height], vec![0u8; cw * ch], vec![0u8; cw * ch]);
    let at = |x: usize, y: usize| {
        let i = (y * width + x) * 3;
        [0, 1, 2].map(|k| i32::from(curves[k][usize::from(rgb[i + k])]))
    };
    let weigh = |c: [i32; 3], w: [i32; 3]| c[0] * w[0] + c[1] * w[1] + c[2] * w[2];
    for (y, row) in y_plane.chunks_exact_mut(width).enumerate() {
        let mut noise = Noise::new(sensor.seed ^ (y as u64) << 20, sensor.noise);
        for (x, out) in row.iter_mut().enumerate() {
            let luma = ((weigh(at(x, y), Y) + 32_768) >> 16) + 16;
            *out = (luma + noise.sample()).clamp(16, 235) as u8;
        }
    }
    for cy in 0..ch {
        let mut noise = Noise::new(sensor.seed ^ 0xc01a ^ (cy as u64) << 40, sensor.noise * 0.5);
        for cx in 0..cw {
            let (x1, y1) = ((cx * 2 + 1).min(width - 1), (cy * 2 + 1).min(height - 1));
            let mut sum = [0; 3];
            for c in [at(cx * 2, cy * 2), at(x1, cy * 2), at(cx * 2, y1), at(x1, y1)] {
                for (s, v) in sum.iter_mut().zip(c) {
                    *s += v;
                }
            }
            let i = cy * cw + cx;
            for (plane, w) in [(&mut u_plane, U), (&mut v_plane, V)] {
                let chroma = ((weigh(sum, w) + (2 << 16)) >> 18) + 128;
                plane[i] = (chroma + noise.sample()).clamp(16, 240) as u8;
            }
        }
    }
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    Picture::from_i420(width as u32, height as u32, colorimetry, [y_plane, u_plane, v_plane])
}
