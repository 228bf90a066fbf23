//! Sources through the portable backend: what decodes, what breaks, and how it comes back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dsengine::backend::{Backend, Flow, Sink, SourceEvent, SourceState};
use dsengine::config::{Input, RetryPlan, SourcePlan};
use dsengine::gst::GstBackend;
use dsengine::types::{Clock, Frame, SourceId};

/// The machine's clock: these tests run real pipelines against real time.
struct Machine(std::time::Instant);

impl Machine {
    #[allow(clippy::disallowed_methods, reason = "a test's own clock for real pipelines")]
    fn start() -> Arc<Self> {
        Arc::new(Self(std::time::Instant::now()))
    }
}

impl Clock for Machine {
    fn monotonic_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    #[allow(clippy::disallowed_methods, reason = "a test's own clock for real pipelines")]
    fn unix_ns(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    }
}

/// What one source told, with the time it was told.
#[derive(Debug, Default, Clone)]
struct Story {
    /// Sequence number, time and size of each frame.
    frames: Vec<(u64, u64, (u32, u32))>,
    /// Digest over the luma of the last frame.
    last_luma: u64,
    events: Vec<(u64, SourceEvent)>,
    /// When anything was last told.
    told_ns: u64,
    /// Longest silence between two things told.
    longest_ns: u64,
}

impl Story {
    fn over(&self) -> bool {
        self.events.iter().any(|(_, e)| matches!(e, SourceEvent::Ended | SourceEvent::Broken(_)))
    }

    fn broken(&self) -> Option<&str> {
        self.events.iter().find_map(|(_, e)| if let SourceEvent::Broken(why) = e { Some(why.as_str()) } else { None })
    }

    fn dropped(&self, wanted: &str) -> u64 {
        let counts = self.events.iter().filter_map(|(_, e)| match e {
            SourceEvent::Dropped { reason, count } if *reason == wanted => Some(*count),
            _ => None,
        });
        counts.sum()
    }

    fn states(&self) -> Vec<SourceState> {
        let states =
            self.events.iter().filter_map(|(_, e)| if let SourceEvent::State(s) = e { Some(*s) } else { None });
        states.collect()
    }

    /// When `state` was entered first, at or after `from_ns`.
    fn entered(&self, from_ns: u64, wanted: impl Fn(&SourceState) -> bool) -> Option<u64> {
        let hit = |e: &SourceEvent| matches!(e, SourceEvent::State(state) if wanted(state));
        self.events.iter().find(|(at, e)| *at >= from_ns && hit(e)).map(|(at, _)| *at)
    }

    /// The sizes in order, each run of equal ones once, with its length.
    fn sizes(&self) -> Vec<((u32, u32), usize)> {
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

/// Records everything; holds each frame `hold` long, as a slow engine would.
struct Recorder {
    clock: Arc<Machine>,
    stories: Mutex<BTreeMap<SourceId, Story>>,
    changed: Condvar,
    hold: Duration,
}

impl Recorder {
    fn new(clock: &Arc<Machine>) -> Arc<Self> {
        Self::holding(clock, Duration::ZERO)
    }

    fn holding(clock: &Arc<Machine>, hold: Duration) -> Arc<Self> {
        let (clock, stories) = (Arc::clone(clock), Mutex::default());
        Arc::new(Self { clock, stories, changed: Condvar::new(), hold })
    }

    fn tell(&self, source: &SourceId, what: impl FnOnce(&mut Story, u64)) {
        let now = self.clock.monotonic_ns();
        let mut stories = self.stories.lock().unwrap();
        let story = stories.entry(source.clone()).or_default();
        if story.told_ns > 0 {
            story.longest_ns = story.longest_ns.max(now - story.told_ns);
        }
        what(story, now);
        story.told_ns = now;
        self.changed.notify_all();
    }

    /// The story of `source` once `done` holds of it; fails with the story after `limit`.
    fn wait(&self, source: &str, limit: Duration, done: impl Fn(&Story) -> bool) -> Story {
        let source = SourceId::from(source);
        let pending = |stories: &mut BTreeMap<SourceId, Story>| !stories.get(&source).is_some_and(&done);
        let (stories, timeout) = self.changed.wait_timeout_while(self.stories.lock().unwrap(), limit, pending).unwrap();
        let story = stories.get(&source).cloned().unwrap_or_default();
        let (frames, events) = (story.frames.len(), &story.events);
        assert!(!timeout.timed_out(), "{source}: not within {limit:?}; {frames} frames, {events:?}");
        story
    }

    fn story(&self, source: &str) -> Story {
        self.stories.lock().unwrap().get(&SourceId::from(source)).cloned().unwrap_or_default()
    }
}

impl Sink for Recorder {
    fn frame(&self, frame: Frame) -> Flow {
        let picture = frame.picture.as_ref().expect("a decoded frame has pixels");
        assert_eq!((picture.width, picture.height), (frame.width, frame.height));
        let mut digest = 0xcbf2_9ce4_8422_2325u64;
        for row in 0..picture.height as usize {
            let start = row * picture.stride(0);
            for byte in &picture.plane(0)[start..start + picture.width as usize] {
                digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if !self.hold.is_zero() {
            let stories = self.stories.lock().unwrap();
            drop(self.changed.wait_timeout_while(stories, self.hold, |_| true));
        }
        self.tell(&frame.source, |story, _| {
            story.last_luma = digest;
            story.frames.push((frame.seq, frame.pts_ns, (frame.width, frame.height)));
        });
        Flow::Continue
    }

    fn event(&self, source: &SourceId, event: SourceEvent) {
        self.tell(source, |story, now| story.events.push((now, event)));
    }
}

fn plan(id: &str, input: Input) -> SourcePlan {
    SourcePlan {
        id: id.into(),
        input,
        fps: None,
        every: 1,
        zones: Arc::new([]),
        confidence: None,
        retry: RetryPlan {
            max_retries: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(10),
            exponential: true,
            first_frame: Duration::from_secs(8),
            gap: Duration::from_secs(3),
        },
        realtime: false,
    }
}

fn test_input(frames: Option<u64>) -> Input {
    Input::Test { pattern: "ball".into(), frames, width: 160, height: 120, fps: 25.0 }
}

/// Plays `input` to its end and returns what it told.
fn play(input: Input, limit: Duration) -> Story {
    play_plan(&plan("one", input), limit)
}

fn play_plan(plan: &SourcePlan, limit: Duration) -> Story {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock).unwrap();
    backend.add_source(plan, sink.clone()).unwrap();
    let story = sink.wait(plan.id.as_str(), limit, Story::over);
    backend.stop(Duration::from_secs(3));
    let ends =
        |s: &Story| s.events.iter().filter(|(_, e)| matches!(e, SourceEvent::Ended | SourceEvent::Broken(_))).count();
    assert_eq!(ends(&sink.story(plan.id.as_str())), 1, "a finite source says once that it is over");
    story
}

/// A file of the test data, or `None` after saying so.
fn testdata(test: &str, file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DSENGINE_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let path = root.join(file);
    if !path.exists() {
        println!("SKIP {test}: no {file} in the test data (DSENGINE_TESTDATA)");
        return None;
    }
    Some(path)
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_bounded_test_source_delivers_exactly_its_frames_in_order() {
    let story = play(test_input(Some(50)), MINUTE);
    assert_eq!(story.frames.iter().map(|f| f.0).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert_eq!(story.frames[49].1 - story.frames[0].1, 49 * 40_000_000, "frame time is presentation time");
    assert_eq!(story.states(), [SourceState::Connecting, SourceState::Running, SourceState::Stopped]);
}

/// Clip, frames, runs of sizes, frames left out as corrupt, whether it breaks.
const DECODES: &[(&str, usize, &[((u32, u32), usize)], u64, bool)] = &[
    ("corner/BA_MW_D.264", 100, &[((176, 144), 100)], 0, false),
    ("corner/BA_MW_D_IDR_LOST.264", 70, &[((176, 144), 70)], 26, false),
    ("corner/Error_I_P.264", 6, &[((352, 288), 2), ((640, 480), 2), ((352, 288), 2)], 0, false),
    ("corner/h264_10bits.mp4", 30, &[((200, 200), 30)], 0, false),
    ("corner/h265_video.mp4", 10, &[((128, 128), 10)], 0, false),
    ("corner/mediamtx-offline_h264.mp4", 30, &[((1920, 1080), 30)], 0, false),
    ("corner/mediamtx-offline_vp9.mp4", 30, &[((1920, 1080), 30)], 0, false),
    ("corner/mp4parse-minimal.mp4", 1, &[((320, 240), 1)], 0, false),
    ("corner/mp4parse-short-cenc.mp4", 0, &[], 0, true),
    ("corner/mp4parse-zero_empty_stsc.mp4", 0, &[], 0, true),
    ("corner/nasa_13013_rotated.mp4", 17, &[((270, 480), 17)], 0, false),
    ("corner/testsrc2_odd_height_and_width_vp9.mp4", 25, &[((321, 241), 25)], 0, false),
    ("corner/testsrc2_vp8.webm", 30, &[((1280, 720), 30)], 0, false),
    ("clips/vtest-480x360.mp4", 795, &[((480, 360), 795)], 0, false),
    ("clips/one-by-one-person-detection.mp4", 1394, &[((768, 432), 1394)], 0, false),
    ("clips/car-detection.mp4", 377, &[((768, 432), 377)], 0, false),
];

#[test]
fn every_clip_delivers_every_frame_that_decodes_once_and_in_order() {
    let mut wrong = Vec::new();
    for (file, frames, sizes, corrupt, breaks) in DECODES {
        let Some(path) = testdata("every_clip_delivers_every_frame", file) else { continue };
        let story = play(Input::File(path), MINUTE);
        let in_order = story.frames.iter().map(|f| f.0).eq(0..*frames as u64);
        let forward = story.frames.windows(2).all(|w| w[0].1 <= w[1].1);
        let seen = (story.frames.len(), story.sizes(), story.dropped("corrupt"), story.broken().is_some());
        if !in_order || !forward || seen != (*frames, sizes.to_vec(), *corrupt, *breaks) {
            wrong.push(format!("{file}: {seen:?}, in order {in_order}, forward {forward}, {:?}", story.broken()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
