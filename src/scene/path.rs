//! An object's position over time: along its path, at its speed, with its stops.

use super::script::ObjectSpec;

/// An object's position on the ground, its heading, and the distance travelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pose {
    pub(super) at: [f32; 2],
    /// Unit vector.
    pub(super) heading: [f32; 2],
    /// Metres travelled; animates legs and wheels.
    pub(super) travelled: f32,
    pub(super) moving: bool,
}

/// One segment of the path, or a stop (`from == to`).
#[derive(Debug, Clone)]
struct Leg {
    begins: f32,
    ends: f32,
    from: [f32; 2],
    to: [f32; 2],
    heading: [f32; 2],
    travelled: f32,
    length: f32,
}

/// A path with its timing.
#[derive(Debug, Clone)]
pub(super) struct Path {
    legs: Vec<Leg>,
}

/// Duration of a turn before and after a corner, seconds.
const TURN_S: f32 = 0.35;

impl Path {
    pub(super) fn new(spec: &ObjectSpec) -> Self {
        let mut legs = Vec::new();
        let (mut now, mut travelled, mut heading) = (spec.start_s, 0.0, [1.0, 0.0]);
        for (i, &corner) in spec.path.iter().enumerate() {
            if i > 0 {
                let from = spec.path[i - 1];
                let d = [corner[0] - from[0], corner[1] - from[1]];
                let length = (d[0] * d[0] + d[1] * d[1]).sqrt();
                if length > 1e-4 {
                    heading = [d[0] / length, d[1] / length];
                    let ends = now + length / spec.speed_mps;
                    legs.push(Leg { begins: now, ends, from, to: corner, heading, travelled, length });
                    (now, travelled) = (ends, travelled + length);
                }
            }
            for wait in spec.waits.iter().filter(|w| w.corner == i) {
                let ends = now + wait.seconds;
                legs.push(Leg { begins: now, ends, from: corner, to: corner, heading, travelled, length: 0.0 });
                now = ends;
            }
        }
        Self { legs }
    }

    /// The object's pose at `t` seconds; `None` before it enters and after it has left.
    pub(super) fn pose(&self, t: f32) -> Option<Pose> {
        let index = self.legs.iter().position(|leg| (leg.begins..leg.ends).contains(&t))?;
        let leg = &self.legs[index];
        let share = (t - leg.begins) / (leg.ends - leg.begins).max(1e-6);
        let at = [leg.from[0] + (leg.to[0] - leg.from[0]) * share, leg.from[1] + (leg.to[1] - leg.from[1]) * share];
        let mut heading = leg.heading;
        // Half of the turn is before the corner, half after.
        let to_end = leg.ends - t;
        let since = t - leg.begins;
        let (other, weight) = if to_end < TURN_S {
            (self.legs.get(index + 1), 0.5 * (1.0 - to_end / TURN_S))
        } else if since < TURN_S && index > 0 {
            (self.legs.get(index - 1), 0.5 * (1.0 - since / TURN_S))
        } else {
            (None, 0.0)
        };
        if let Some(other) = other {
            let mixed = [0, 1].map(|k| heading[k] + (other.heading[k] - heading[k]) * weight);
            let length = (mixed[0] * mixed[0] + mixed[1] * mixed[1]).sqrt();
            if length > 0.1 {
                heading = [mixed[0] / length, mixed[1] / length];
            }
        }
        Some(Pose { at, heading, travelled: leg.travelled + leg.length * share, moving: leg.length > 0.0 })
    }
}
