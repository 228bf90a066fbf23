//! What a network between two peers does to what passes, as values: nothing here reads a clock or a socket.

use std::time::Duration;

/// What passes at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    All,
    /// Requests, answers and RTCP, but no media.
    Control,
    /// As [`Passes::All`], with noise in place of the media, and of how it is framed.
    Garbage,
    /// Nothing, while the connections stand.
    Nothing,
}

/// A link, as it is at one moment. Losses and noise concern what the server sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Link {
    pub(crate) passes: Passes,
    /// One way.
    pub(crate) latency: Duration,
    /// At most so much is added to the latency of a packet.
    pub(crate) jitter: Duration,
    /// Share of packets that are lost: datagrams, and the interleaved packets of RTSP.
    pub(crate) loss: f64,
    /// Share of packets in which one byte is another.
    pub(crate) corrupt: f64,
    pub(crate) bytes_per_s: Option<u64>,
    /// Most bytes that are written at once to a stream.
    pub(crate) slice: Option<usize>,
}

impl Link {
    /// Everything passes at once.
    pub(crate) const PERFECT: Self = Self {
        passes: Passes::All,
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        corrupt: 0.0,
        bytes_per_s: None,
        slice: None,
    };

    pub(crate) const fn passing(passes: Passes) -> Self {
        Self { passes, ..Self::PERFECT }
    }

    pub(crate) const fn losing(percent: u8) -> Self {
        Self { loss: percent as f64 / 100.0, ..Self::PERFECT }
    }

    /// A network: percent lost, milliseconds of latency and jitter, kilobits in a second.
    const fn network(percent: u8, latency_ms: u64, jitter_ms: u64, kbit_per_s: u64) -> Self {
        Self {
            latency: Duration::from_millis(latency_ms),
            jitter: Duration::from_millis(jitter_ms),
            bytes_per_s: Some(kbit_per_s * 1000 / 8),
            ..Self::losing(percent)
        }
    }
}

/// How a link changes with time.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    /// Each link, and how long it holds.
    steps: Vec<(Duration, Link)>,
}

impl Timeline {
    /// The same for ever.
    pub(crate) fn constant(link: Link) -> Self {
        Self { steps: vec![(Duration::MAX, link)] }
    }

    /// `up` and nothing in turn; each holds between half and one and a half times as long as it says.
    pub(crate) fn broken(up: (Duration, Link), down: Duration, seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut about = |time: Duration| time.mul_f64(0.5 + chance.f64());
        let pairs = (0..16).map(|_| [(about(up.0), up.1), (about(down), Link::passing(Passes::Nothing))]);
        Self { steps: pairs.collect::<Vec<_>>().concat() }
    }

    /// The link so long after the start; the steps repeat.
    pub(crate) fn at(&self, elapsed: Duration) -> Link {
        let whole = self.steps.iter().fold(Duration::ZERO, |sum, (time, _)| sum.saturating_add(*time));
        let mut left = Duration::from_nanos((elapsed.as_nanos() % whole.as_nanos().max(1)) as u64);
        for (time, link) in &self.steps {
            if left < *time {
                return *link;
            }
            left -= *time;
        }
        Link::PERFECT
    }
}

/// A network of a kind that cameras are behind.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) link: Link,
    /// How long it is there, and away.
    outages: Option<(Duration, Duration)>,
}

impl Profile {
    const fn of(name: &'static str, link: Link) -> Self {
        Self { name, link, outages: None }
    }

    const fn with_outages(self, up_s: u64, down_s: u64) -> Self {
        Self { outages: Some((Duration::from_secs(up_s), Duration::from_secs(down_s))), ..self }
    }

    /// Whether it is away at times.
    pub(crate) fn has_outages(&self) -> bool {
        self.outages.is_some()
    }

    pub(crate) fn timeline(&self, seed: u64) -> Timeline {
        match self.outages {
            None => Timeline::constant(self.link),
            Some((up, down)) => Timeline::broken((up, self.link), down, seed),
        }
    }
}

/// Thirteen networks, from the best to those that no camera should be behind.
pub(crate) const PROFILES: [Profile; 13] = [
    Profile::of("perfect", Link::PERFECT),
    Profile::of("broadband", Link::network(0, 10, 2, 50_000)),
    Profile::of("5g", Link::network(0, 10, 5, 100_000)),
    Profile::of("4g", Link::network(1, 50, 20, 20_000)),
    Profile::of("3g", Link::network(2, 150, 50, 2_000)),
    Profile::of("home-wifi", Link::network(1, 5, 10, 30_000)),
    Profile::of("public-wifi", Link::network(3, 40, 60, 5_000)),
    Profile::of("satellite", Link::network(1, 600, 40, 10_000)),
    Profile::of("poor", Link::network(10, 500, 200, 500)),
    Profile::of("noisy-radio", Link { corrupt: 0.05, ..Link::network(15, 30, 30, 2_000) }),
    Profile::of("intermittent-satellite", Link::network(3, 600, 80, 5_000)).with_outages(12, 6),
    Profile::of("drone-urban", Link::network(20, 60, 80, 4_000)),
    Profile::of("drone-mountain", Link::network(10, 120, 60, 2_000)).with_outages(8, 4),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_repeats_and_the_same_seed_gives_the_same() {
        let up = (Duration::from_secs(4), Link::PERFECT);
        let [one, same, other] = [7, 7, 8].map(|seed| Timeline::broken(up, Duration::from_secs(2), seed));
        let drawn =
            |line: &Timeline| (0..400).map(|n| line.at(Duration::from_millis(250 * n)).passes).collect::<Vec<_>>();
        assert_eq!(drawn(&one), drawn(&same));
        assert_ne!(drawn(&one), drawn(&other));
        assert!(drawn(&one).contains(&Passes::All) && drawn(&one).contains(&Passes::Nothing));
        let forever = Timeline::constant(Link::losing(5));
        assert_eq!(forever.at(Duration::from_secs(1 << 30)), Link::losing(5));
    }
}
