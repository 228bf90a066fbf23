//! How late frames are, by a clock that the engine cannot hold up: this process reads `--judgements` from a pipe and
//! notes when each line arrives. A control without edits runs at the same moment and is read the same way; what the
//! edited engine may be later is one frame, and nothing is taken off or tried again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::harness::quantile;

const LIMIT: Duration = Duration::from_secs(30);
/// What an edited engine may be later than its control.
pub(crate) const FRAME: Duration = Duration::from_nanos(33_333_333);

/// A judged frame as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) seq: u64,
    pub(crate) at: Instant,
    /// Generations of the rules that judged it, by name.
    pub(crate) rules: Arc<str>,
}

/// Everything that arrived, by source.
pub(crate) type Arrivals = BTreeMap<String, Vec<Arrival>>;

#[derive(Default)]
struct Shared {
    arrivals: Mutex<Arrivals>,
    changed: Condvar,
}

/// Reads a process's judgements while it runs.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reader {
    /// Makes a pipe at `path`, to be handed to `run --judgements`.
    pub(crate) fn start(path: &Path) -> Self {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success(), "mkfifo {}", path.display());
        let shared = Arc::<Shared>::default();
        let (theirs, path) = (Arc::clone(&shared), path.to_owned());
        let thread = std::thread::spawn(move || {
            // Waits for whoever writes.
            let lines = BufReader::with_capacity(1 << 20, File::open(path).unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                let at = Instant::now();
                theirs.take(&line, at);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// How many frames of a source have arrived.
    pub(crate) fn count(&self, source: &str) -> usize {
        self.shared.arrivals.lock().unwrap().get(source).map_or(0, Vec::len)
    }

    /// The frames of a source from the `from`-th on.
    pub(crate) fn since(&self, source: &str, from: usize) -> Vec<Arrival> {
        self.shared
            .arrivals
            .lock()
            .unwrap()
            .get(source)
            .map(|all| all[from.min(all.len())..].to_vec())
            .unwrap_or_default()
    }

    /// Waits until so many more frames of each of these sources have arrived.
    #[track_caller]
    pub(crate) fn more(&self, sources: &[&str], more: usize) {
        let arrivals = self.shared.arrivals.lock().unwrap();
        let count = |arrivals: &Arrivals, source: &str| arrivals.get(source).map_or(0, Vec::len);
        let wanted: Vec<usize> = sources.iter().map(|source| count(&arrivals, source) + more).collect();
        let short = |arrivals: &mut Arrivals| {
            sources.iter().zip(&wanted).any(|(source, wanted)| count(arrivals, source) < *wanted)
        };
        let (arrivals, out) = self.shared.changed.wait_timeout_while(arrivals, LIMIT, short).unwrap();
        let counts: Vec<usize> = sources.iter().map(|source| count(&arrivals, source)).collect();
        assert!(!out.timed_out(), "frames of {sources:?}: {counts:?}, wanted {wanted:?}");
    }

    /// Everything, once the process has ended.
    pub(crate) fn finish(mut self) -> Arrivals {
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.shared.arrivals.lock().unwrap())
    }
}

impl Shared {
    fn take(&self, line: &str, at: Instant) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let source = line["source"].as_str().unwrap();
        let rules: Arc<str> = line["generations"].to_string().into();
        let mut arrivals = self.arrivals.lock().unwrap();
        let all = arrivals.entry(source.to_owned()).or_default();
        // Most frames are judged by the same rules as the one before.
        let rules = all.last().filter(|last| last.rules == rules).map_or(rules, |last| Arc::clone(&last.rules));
        all.push(Arrival { seq: line["seq"].as_u64().unwrap(), at, rules });
        self.changed.notify_all();
    }
}

/// How late frames of sources at `fps` arrived: after the time at which each was due, counted from its source's
/// promptest frame. In nanoseconds, of all sources together.
pub(crate) fn delays(arrivals: &Arrivals, sources: &[&str], fps: f64) -> Vec<u64> {
    let mut delays = Vec::new();
    for source in sources {
        let frames = arrivals.get(*source).map_or(&[][..], Vec::as_slice);
        let Some(first) = frames.first() else { continue };
        let due = |frame: &Arrival| (frame.seq - first.seq) as f64 / fps * 1e9;
        let late = |frame: &Arrival| (frame.at - first.at).as_nanos() as f64 - due(frame);
        let prompt = frames.iter().map(late).fold(f64::MAX, f64::min);
        delays.extend(frames.iter().map(|frame| (late(frame) - prompt) as u64));
    }
    delays
}

/// The delays of an edited engine beside those of its control.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) p999: [u64; 2],
    pub(crate) longest: [u64; 2],
    frames: [usize; 2],
}

impl Compared {
    pub(crate) fn of(mut edited: Vec<u64>, mut control: Vec<u64>) -> Self {
        let frames = [edited.len(), control.len()];
        let mut both = |share| [quantile(&mut edited, share), quantile(&mut control, share)];
        Self { p999: both(0.999), longest: both(1.0), frames }
    }

    /// Whether nearly all frames are no more than one frame later than the control's.
    pub(crate) fn nearly_all(&self) -> bool {
        self.p999[0] <= self.p999[1] + FRAME.as_nanos() as u64
    }

    /// Whether all are.
    pub(crate) fn all(&self) -> bool {
        self.longest[0] <= self.longest[1] + FRAME.as_nanos() as u64
    }
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |ns: u64| ns as f64 / 1e6;
        let Self { p999, longest, frames } = self;
        write!(
            f,
            "p99.9 {:.1} ms, the control's {:.1}; longest {:.1} ms, the control's {:.1}; of {} and {} frames",
            ms(p999[0]),
            ms(p999[1]),
            ms(longest[0]),
            ms(longest[1]),
            frames[0],
            frames[1]
        )
    }
}

/// A source's frames at 30 a second, each a little late by chance; with those that a stall holds up.
fn arrived(seed: u64, frames: u64, stalls: &[f64], lasts: f64) -> Arrivals {
    let mut rng = fastrand::Rng::with_seed(seed);
    let from = Instant::now();
    let frames = (0..frames).map(|seq| {
        let due = seq as f64 / 30.0 + rng.f64() * 0.003;
        let stall = stalls.iter().find(|stall| due >= **stall && due < **stall + lasts);
        let at = stall.map_or(due, |stall| stall + lasts);
        Arrival { seq, at: from + Duration::from_secs_f64(at), rules: "".into() }
    });
    BTreeMap::from([("s".to_owned(), frames.collect())])
}

#[test]
fn a_stall_at_every_tenth_edit_is_seen_in_nearly_all_and_a_single_one_in_the_longest() {
    let (frames, edits) = (12_000, 300);
    let control = || delays(&arrived(1, frames, &[], 0.0), &["s"], 30.0);
    let with =
        |stalls: &[f64], lasts| Compared::of(delays(&arrived(2, frames, stalls, lasts), &["s"], 30.0), control());
    let quiet = with(&[], 0.0);
    assert!(quiet.nearly_all() && quiet.all(), "{quiet}");
    // Each just before a frame is due.
    let every_tenth: Vec<f64> = (0..edits / 10).map(|n| (n * 30) as f64 + 10.0 - 0.005).collect();
    let stalled = with(&every_tenth, 0.060);
    assert!(!stalled.nearly_all() && !stalled.all(), "{stalled}");
    let once = with(&every_tenth[..1], 0.060);
    assert!(once.nearly_all() && !once.all(), "{once}");
    // What is no longer than a frame is no stall.
    let short = with(&every_tenth, 0.030);
    assert!(short.nearly_all() && short.all(), "{short}");
}
