//! A sink that records what sources tell it, and the clock it is told by.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsengine::backend::{Flow, Sink, SourceEvent, SourceState};
use dsengine::types::{Blackout, Clock, Picture, SourceId, Unmasked};

/// The machine's clock: these tests run real pipelines against real time.
pub(crate) struct Machine {
    start: std::time::Instant,
    skipped_ns: AtomicU64,
    rush_ns: AtomicU64,
    starved: AtomicBool,
}

impl Machine {
    #[allow(clippy::disallowed_methods, reason = "a test's own clock for real pipelines")]
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self {
            start: std::time::Instant::now(),
            skipped_ns: AtomicU64::new(0),
            rush_ns: AtomicU64::new(0),
            starved: AtomicBool::new(false),
        })
    }

    /// From now on `time` passes with every look at the clock.
    pub(crate) fn rush(&self, time: Duration) {
        self.rush_ns.store(time.as_nanos() as u64, Ordering::SeqCst);
    }

    /// From now on a thread of this process waits for a processor all the time.
    pub(crate) fn starve(&self) {
        self.starved.store(true, Ordering::SeqCst);
    }

    /// Lets time pass at once.
    pub(crate) fn skip(&self, time: Duration) {
        self.skipped_ns.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for Machine {
    fn monotonic_ns(&self) -> u64 {
        self.skipped_ns.fetch_add(self.rush_ns.load(Ordering::SeqCst), Ordering::SeqCst);
        self.start.elapsed().as_nanos() as u64 + self.skipped_ns.load(Ordering::SeqCst)
    }

    #[allow(clippy::disallowed_methods, reason = "a test's own clock for real pipelines")]
    fn unix_ns(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    }

    fn waited_ns(&self) -> BTreeMap<u64, u64> {
        match self.starved.load(Ordering::SeqCst) {
            true => BTreeMap::from([(1, self.monotonic_ns())]),
            false => BTreeMap::new(),
        }
    }
}

/// What one source told, with the time it was told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Story {
    /// Sequence number, time and size of each frame.
    pub(crate) frames: Vec<(u64, u64, (u32, u32))>,
    /// The last frame's picture.
    pub(crate) last: Option<Picture>,
    pub(crate) events: Vec<(u64, SourceEvent)>,
    /// When anything was last told.
    pub(crate) told_ns: u64,
    /// Longest silence between two things told.
    pub(crate) longest_ns: u64,
}

impl Story {
    pub(crate) fn over(&self) -> bool {
        self.events.iter().any(|(_, e)| matches!(e, SourceEvent::Ended | SourceEvent::Broken(_)))
    }

    pub(crate) fn broken(&self) -> Option<&str> {
        self.events.iter().find_map(|(_, e)| if let SourceEvent::Broken(why) = e { Some(why.as_str()) } else { None })
    }

    pub(crate) fn dropped(&self, wanted: &str) -> u64 {
        let counts = self.events.iter().filter_map(|(_, e)| match e {
            SourceEvent::Dropped { reason, count } if *reason == wanted => Some(*count),
            _ => None,
        });
        counts.sum()
    }

    pub(crate) fn states(&self) -> Vec<SourceState> {
        let states =
            self.events.iter().filter_map(|(_, e)| if let SourceEvent::State(s) = e { Some(*s) } else { None });
        states.collect()
    }

    /// When `state` was entered first, at or after `from_ns`.
    pub(crate) fn entered(&self, from_ns: u64, wanted: impl Fn(&SourceState) -> bool) -> Option<u64> {
        let hit = |e: &SourceEvent| matches!(e, SourceEvent::State(state) if wanted(state));
        self.events.iter().find(|(at, e)| *at >= from_ns && hit(e)).map(|(at, _)| *at)
    }

    /// The sizes in order, each run of equal ones once, with its length.
    pub(crate) fn sizes(&self) -> Vec<((u32, u32), usize)> {
        let mut runs: Vec<((u32, u32), usize)> = Vec::new();
        for (_, _, size) in &self.frames {
            match runs.last_mut() {
                Some((last, n)) if last == size => *n += 1,
                _ => runs.push((*size, 1)),
            }
        }
        runs
    }
}

/// Records everything. Lets `slow` pass on the clock over each frame, as a slow engine would.
pub(crate) struct Recorder {
    pub(crate) clock: Arc<Machine>,
    pub(crate) stories: Mutex<BTreeMap<SourceId, Story>>,
    pub(crate) changed: Condvar,
    pub(crate) slow: Duration,
}

impl Recorder {
    pub(crate) fn new(clock: &Arc<Machine>) -> Arc<Self> {
        Self::slow(clock, Duration::ZERO)
    }

    pub(crate) fn slow(clock: &Arc<Machine>, slow: Duration) -> Arc<Self> {
        let (clock, stories) = (Arc::clone(clock), Mutex::default());
        Arc::new(Self { clock, stories, changed: Condvar::new(), slow })
    }

    /// What was recorded stays readable when a test has failed meanwhile.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SourceId, Story>> {
        self.stories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, source: &SourceId, what: impl FnOnce(&mut Story, u64)) {
        let now = self.clock.monotonic_ns();
        let mut stories = self.lock();
        let story = stories.entry(source.clone()).or_default();
        if story.told_ns > 0 {
            story.longest_ns = story.longest_ns.max(now - story.told_ns);
        }
        what(story, now);
        story.told_ns = now;
        self.changed.notify_all();
    }

    /// The story of `source` once `done` holds of it; fails with the story after `limit`.
    pub(crate) fn wait(&self, source: &str, limit: Duration, done: impl Fn(&Story) -> bool) -> Story {
        let source = SourceId::from(source);
        let pending = |stories: &mut BTreeMap<SourceId, Story>| !stories.get(&source).is_some_and(&done);
        let (stories, timeout) = self.changed.wait_timeout_while(self.lock(), limit, pending).unwrap();
        let story = stories.get(&source).cloned().unwrap_or_default();
        let (frames, events) = (story.frames.len(), &story.events);
        assert!(!timeout.timed_out(), "{source}: not within {limit:?}; {frames} frames, {events:?}");
        story
    }

    /// Lets go of what `source` told, its last picture included.
    pub(crate) fn forget(&self, source: &str) {
        self.lock().remove(&SourceId::from(source));
    }

    pub(crate) fn story(&self, source: &str) -> Story {
        self.lock().get(&SourceId::from(source)).cloned().unwrap_or_default()
    }
}

impl Sink for Recorder {
    fn frame(&self, frame: Unmasked) -> Flow {
        let frame = frame.mask(&Blackout::default());
        let size = frame.picture.as_ref().map(|picture| (picture.width, picture.height));
        let is_whole = frame.detected || size == Some((frame.width, frame.height));
        assert!(is_whole, "a decoded frame has pixels of its size: {size:?}");
        self.clock.skip(self.slow);
        self.tell(&frame.source, |story, _| {
            story.last = frame.picture;
            story.frames.push((frame.seq, frame.pts_ns, (frame.width, frame.height)));
        });
        Flow::Continue
    }

    fn event(&self, source: &SourceId, event: SourceEvent) {
        self.tell(source, |story, now| story.events.push((now, event)));
    }
}
