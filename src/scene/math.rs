//! Arithmetic with identical bits on every machine: polynomial sine and cosine, seeded random numbers.
//!
//! `f32::sin` and friends call the platform's library and differ between platforms in the last bit, which is enough to
//! move an anti-aliased edge. IEEE 754 defines addition, multiplication, division and square root exactly.

/// Sine of `turns` whole turns (not radians).
pub(super) fn sin(turns: f32) -> f32 {
    let mut x = turns - (turns + 0.5).floor();
    if x > 0.25 {
        x = 0.5 - x;
    } else if x < -0.25 {
        x = -0.5 - x;
    }
    let y = x * std::f32::consts::TAU;
    let y2 = y * y;
    y * (1.0 - y2 / 6.0 * (1.0 - y2 / 20.0 * (1.0 - y2 / 42.0 * (1.0 - y2 / 72.0))))
}

/// Cosine of `turns` whole turns.
pub(super) fn cos(turns: f32) -> f32 {
    sin(turns + 0.25)
}

/// Hashes a 64-bit value (SplitMix64's finaliser).
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 0..1 from a point on an integer grid: texture without memory.
pub(super) fn grain(seed: u64, x: i32, y: i32) -> f32 {
    let cell = (u64::from(x as u32) << 32) | u64::from(y as u32);
    (mix(cell ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 40) as f32 / 16_777_216.0
}

/// Seeded random numbers (SplitMix64).
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// 0..1, 1 excluded.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// 0..n, n excluded; 0 for n = 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize * n) >> 32
    }

    pub(super) fn chance(&mut self, share: f32) -> bool {
        self.unit() < share
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_agree_with_the_library_within_a_thousandth_of_a_percent() {
        for i in -400..400 {
            let turns = i as f32 / 97.0;
            let radians = f64::from(turns) * std::f64::consts::TAU;
            assert!((f64::from(sin(turns)) - radians.sin()).abs() < 1e-5, "sin at {turns}");
            assert!((f64::from(cos(turns)) - radians.cos()).abs() < 1e-5, "cos at {turns}");
        }
    }

    #[test]
    fn random_numbers_stay_in_their_range_and_repeat_with_their_seed() {
        let (mut a, mut b) = (Rng::new(3), Rng::new(3));
        for _ in 0..1000 {
            let (x, n) = (a.unit(), a.below(7));
            assert!((0.0..1.0).contains(&x) && n < 7);
            assert_eq!((x, n), (b.unit(), b.below(7)));
        }
    }
}
