//! A folder of pictures, or numbered ones.

use std::fmt;
use std::path::PathBuf;

/// Digits of a number.
const DIGITS_MAX: usize = 12;

/// Pictures that are played one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Where they are.
    pub folder: PathBuf,
    /// How their names are numbered; `None` for all pictures of the folder, in the order of their names.
    pub numbered: Option<Numbered>,
    /// Frames per second.
    pub fps: f64,
}

/// Names with a number in them, as `frame-%05d.jpg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    before: String,
    after: String,
    /// Least digits, filled with zeros.
    digits: usize,
    /// The pattern as written.
    pattern: String,
}

impl Numbered {
    /// Reads a pattern; `None` for a name without one.
    pub fn read(pattern: &str) -> Option<Self> {
        let (before, rest) = pattern.split_once('%')?;
        let (digits, after) = rest.split_once('d')?;
        let digits: usize = match digits {
            "" => 1,
            digits => digits.strip_prefix('0')?.parse().ok().filter(|digits| (1..=DIGITS_MAX).contains(digits))?,
        };
        let is_plain = !before.contains('/') && !after.contains(['/', '%']);
        is_plain.then(|| Self { before: before.into(), after: after.into(), digits, pattern: pattern.into() })
    }

    /// The number in a name of this pattern.
    pub fn number_of(&self, name: &str) -> Option<u64> {
        let number = name.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        let is_padded = number.len() == self.digits || (number.len() > self.digits && !number.starts_with('0'));
        let is_number = number.len() <= DIGITS_MAX && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_padded && is_number).then(|| number.parse().ok()).flatten()
    }
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_names_that_a_program_makes_of_it() {
        let five = Numbered::read("f-%05d.jpg").unwrap();
        assert_eq!(five.to_string(), "f-%05d.jpg");
        for (name, number) in [
            ("f-00017.jpg", Some(17)),
            ("f-123456.jpg", Some(123_456)),
            ("f-17.jpg", None),
            ("f-000017.jpg", None),
            ("f-00017.png", None),
            ("g-00017.jpg", None),
            ("f-0001x.jpg", None),
            ("f-9999999999999.jpg", None),
        ] {
            assert_eq!(five.number_of(name), number, "{name}");
        }
        let plain = Numbered::read("%d.png").unwrap();
        assert_eq!(["0.png", "10.png", "010.png"].map(|name| plain.number_of(name)), [Some(0), Some(10), None]);
        for none in ["clip.mp4", "100%.mp4", "%5d.jpg", "%0d.jpg", "%099d.jpg", "%d%d.jpg"] {
            assert_eq!(Numbered::read(none), None, "{none}");
        }
    }
}
