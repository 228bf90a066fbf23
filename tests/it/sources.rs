//! Sources through the portable backend: what decodes, what breaks, and how it comes back.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dsengine::backend::{Backend, SourceEvent, SourceState};
use dsengine::config::{Camera as Address, Input, RetryPlan, SourcePlan};
use dsengine::gst::{GstBackend, Mp4Writer};
use dsengine::types::{Clock, Colorimetry, Matrix, Picture, Range};
use gstreamer::prelude::*;
use gstreamer_video::prelude::*;

use crate::harness::{ClosedPort, bar};
use crate::recorder::{Machine, Recorder, Story};

fn plan(id: &str, input: Input) -> SourcePlan {
    let retry = RetryPlan {
        max_retries: 3,
        base: Duration::from_millis(500),
        cap: Duration::from_secs(10),
        exponential: true,
        first_frame: Duration::from_secs(8),
        gap: Duration::from_secs(3),
    };
    SourcePlan::new(id, input, retry)
}

/// A camera at an address.
fn camera(uri: &str) -> Input {
    Input::Rtsp(Box::new(Address::read(uri).unwrap()))
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

/// Runs of equal picture sizes, each with its length.
type Sizes = &'static [((u32, u32), usize)];

/// Clip, frames, runs of sizes, frames left out as corrupt, whether it breaks.
const DECODES: &[(&str, usize, Sizes, u64, bool)] = &[
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

/// The last picture of `path`, as GStreamer's own elements show it: tightly packed I420 planes, upright.
fn shown_by_gstreamer(path: &Path) -> (u32, u32, Vec<Vec<u8>>) {
    let pipeline = gstreamer::parse::launch(&format!(
        "filesrc location={path:?} ! decodebin ! videoconvert ! videoflip video-direction=auto ! videoconvert \
         ! video/x-raw,format=I420 ! fakesink name=sink sync=false"
    ))
    .unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    let limit = gstreamer::ClockTime::from_seconds(30);
    bus.timed_pop_filtered(limit, &[gstreamer::MessageType::Eos]).expect("it plays to its end");
    let sink = pipeline.downcast_ref::<gstreamer::Bin>().unwrap().by_name("sink").unwrap();
    let sample = sink.property::<gstreamer::Sample>("last-sample");
    let info = gstreamer_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
    let frame = gstreamer_video::VideoFrame::from_buffer_readable(sample.buffer_owned().unwrap(), &info).unwrap();
    let planes = (0..3).map(|plane| {
        let (width, height) = (info.comp_width(plane as u8) as usize, info.comp_height(plane as u8) as usize);
        rows(frame.plane_data(plane as u32).unwrap(), frame.plane_stride()[plane] as usize, width, height)
    });
    let shown = (info.width(), info.height(), planes.collect());
    pipeline.set_state(gstreamer::State::Null).unwrap();
    shown
}

fn rows(plane: &[u8], stride: usize, width: usize, height: usize) -> Vec<u8> {
    (0..height).flat_map(|row| &plane[row * stride..row * stride + width]).copied().collect()
}

#[test]
fn pixels_are_those_that_gstreamer_shows() {
    for file in ["BA_MW_D.264", "nasa_13013_rotated.mp4", "testsrc2_odd_height_and_width_vp9.mp4", "h264_10bits.mp4"] {
        let Some(path) = testdata("pixels_are_those_that_gstreamer_shows", &format!("corner/{file}")) else { continue };
        let ours = play(Input::File(path.clone()), MINUTE).last.unwrap();
        let (width, height, theirs) = shown_by_gstreamer(&path);
        assert_eq!((ours.width, ours.height), (width, height), "{file}");
        for (index, theirs) in theirs.iter().enumerate() {
            let (bytes, lines) = ours.plane_size(index);
            assert!(
                rows(ours.planes().unwrap().plane(index), ours.stride(index), bytes, lines) == *theirs,
                "{file}: plane {index}"
            );
        }
    }
}

#[test]
fn every_fifth_frame_means_0_5_10_and_the_others_are_counted() {
    let mut plan = plan("one", test_input(Some(23)));
    plan.every = 5;
    let story = play_plan(&plan, MINUTE);
    assert_eq!(story.frames.iter().map(|f| f.0).collect::<Vec<_>>(), [0, 5, 10, 15, 20]);
    assert_eq!(story.dropped("skipped"), 18);
}

#[test]
fn fps_limits_what_is_analysed_and_counts_the_rest() {
    let mut plan = plan("one", test_input(Some(100)));
    plan.fps = Some(5.0);
    let story = play_plan(&plan, MINUTE);
    assert_eq!(story.frames.len(), 20, "four seconds at 5 fps");
    assert_eq!(story.dropped("fps"), 80);
    assert!(story.frames.windows(2).all(|w| w[1].1 - w[0].1 == 200_000_000), "evenly spaced");
}

#[test]
fn a_missing_file_is_broken_at_once_and_says_why() {
    let story = play(Input::File("no/such/clip.mp4".into()), Duration::from_secs(5));
    assert!(story.broken().unwrap().contains("no/such/clip.mp4"), "{:?}", story.broken());
    assert_eq!(story.states(), [SourceState::Connecting, SourceState::Failed], "one attempt only");
    let folder = play(Input::File(std::env::temp_dir()), Duration::from_secs(5));
    assert!(folder.broken().unwrap().contains("not a file"), "{:?}", folder.broken());
}

#[test]
fn what_is_no_video_is_broken_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "this is not a video\n".repeat(100)).unwrap();
    assert!(play(Input::File(text), MINUTE).broken().is_some());
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    assert!(play(Input::File(empty), MINUTE).broken().is_some());
    if let Some(encrypted) = testdata("what_is_no_video_is_broken", "corner/mp4parse-short-cenc.mp4") {
        let story = play(Input::File(encrypted), MINUTE);
        assert_eq!(story.broken(), Some("it is encrypted, and there is no key for it"));
    }
    let sound = dir.path().join("sound.wav");
    let mut wav =
        b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\x7d\0\0".to_vec();
    wav.resize(32_044, 0);
    std::fs::write(&sound, wav).unwrap();
    let story = play(Input::File(sound), MINUTE);
    assert_eq!(story.broken(), Some("there is no video stream in it"));
}

#[test]
fn a_clip_that_is_shorter_than_it_says_broke_off() {
    let test = "a_clip_that_is_shorter_than_it_says_broke_off";
    let Some(clip) = testdata(test, "clips/vtest-480x360.mp4") else { return };
    let bytes = std::fs::read(clip).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let story = play(Input::File(cut), MINUTE);
    let (there, whole) = (bytes.len() / 2, bytes.len());
    let why = story.broken().unwrap();
    assert!(
        why.starts_with("broke off after ") && why.ends_with(&format!("{there} of {whole} bytes are there")),
        "{why}"
    );
    assert!(story.frames.len() > 100, "what is there is played: {}", story.frames.len());
}

#[test]
fn a_slow_engine_is_not_taken_for_a_silent_file() {
    // Ten seconds pass over each frame; the watchdog of a file bites at four.
    let clock = Machine::start();
    let sink = Recorder::slow(&clock, Duration::from_secs(10));
    let mut backend = GstBackend::new(clock).unwrap();
    backend.add_source(&plan("one", test_input(Some(40))), sink.clone()).unwrap();
    let story = sink.wait("one", MINUTE, Story::over);
    assert_eq!((story.broken(), story.frames.len()), (None, 40));
}

#[test]
fn a_finite_source_that_says_nothing_is_given_up() {
    // Each of these frames takes far longer to draw than a look at the clock, and every look takes two seconds.
    let input = Input::Test { pattern: "snow".into(), frames: Some(9), width: 8192, height: 8192, fps: 25.0 };
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    clock.rush(Duration::from_secs(2));
    backend.add_source(&plan("one", input), sink.clone()).unwrap();
    let story = sink.wait("one", MINUTE, Story::over);
    assert!(story.broken().unwrap().starts_with("no first frame for"), "{:?}", story.broken());
    assert_eq!(story.states(), [SourceState::Connecting, SourceState::Failed]);
}

#[test]
fn a_file_on_a_starved_machine_is_slow_and_not_silent() {
    // As above, but that the process waited for a processor meanwhile.
    let input = Input::Test { pattern: "snow".into(), frames: Some(3), width: 8192, height: 4096, fps: 25.0 };
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    clock.starve();
    clock.rush(Duration::from_millis(500));
    backend.add_source(&plan("one", input), sink.clone()).unwrap();
    let story = sink.wait("one", MINUTE, Story::over);
    assert_eq!((story.broken(), story.frames.len()), (None, 3));
}

#[test]
fn a_live_source_slower_than_its_gap_is_not_silent() {
    let input = Input::Test { pattern: "ball".into(), frames: None, width: 160, height: 120, fps: 0.8 };
    let mut slow = plan("one", input);
    slow.retry.gap = Duration::from_millis(600);
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock).unwrap();
    backend.add_source(&slow, sink.clone()).unwrap();
    let story = sink.wait("one", MINUTE, |s| s.frames.len() >= 3);
    assert_eq!(story.states(), [SourceState::Connecting, SourceState::Running]);
    backend.stop(Duration::from_secs(3));
}

#[test]
fn a_live_source_stamps_arrival_and_stops_when_taken_away() {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    backend.add_source(&plan("cam", test_input(None)), sink.clone()).unwrap();
    assert!(backend.add_source(&plan("cam", test_input(None)), sink.clone()).is_err(), "one id, one source");
    let story = sink.wait("cam", MINUTE, |s| s.frames.len() >= 10);
    assert!(story.frames.windows(2).all(|w| w[0].1 < w[1].1 && w[0].0 < w[1].0));
    assert!(story.frames[9].1 <= clock.monotonic_ns() && story.frames[9].1 > 0);
    let before = clock.monotonic_ns();
    backend.remove_source(&"cam".into(), Duration::from_secs(3));
    assert!(clock.monotonic_ns() - before < 3 * S, "removing does not wait until the limit of 3 s");
    let story = sink.story("cam");
    assert_eq!(story.states().last(), Some(&SourceState::Stopped));
    assert!(!story.over(), "a source that was taken away did not end by itself");
}

#[test]
fn what_cannot_work_is_refused_at_once_without_its_secrets() {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock).unwrap();
    for input in [
        Input::Trace("t.jsonl".into()),
        Input::Test { pattern: "no-such".into(), frames: None, width: 160, height: 120, fps: 25.0 },
        Input::Test { pattern: "ball".into(), frames: None, width: 0, height: 120, fps: 25.0 },
    ] {
        let error = backend.add_source(&plan("x", input), sink.clone()).unwrap_err().to_string();
        assert!(error.starts_with("[E0201]") && !error.contains("canary"), "{error}");
    }
}

#[test]
fn an_encoded_clip_plays_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.mp4");
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    // A size that is odd both ways: the last row and column go.
    let (width, height) = (161u32, 121u32);
    let luma = |n: usize| (0..width as usize * height as usize).map(|i| (40 + i % 161 / 2 + n) as u8).collect();
    let mut writer = Mp4Writer::create(&path, 25.0).unwrap();
    for n in 0..30 {
        let planes = [luma(n), vec![90; 81 * 61], vec![160; 81 * 61]];
        let picture = Picture::from_i420(width, height, colorimetry, planes).unwrap();
        writer.write(&picture, n as u64 * 40_000_000).unwrap();
    }
    writer.finish(Duration::from_secs(20)).unwrap();
    let story = play(Input::File(path), MINUTE);
    assert_eq!(story.sizes(), [((160, 120), 30)]);
    assert_eq!(story.frames[29].1, 29 * 40_000_000);
    let last = story.last.unwrap();
    assert_eq!(last.colorimetry, colorimetry, "what the values mean survives");
    let truth: Vec<u8> = luma(29);
    let worst = (0..120 * 160).map(|i| {
        let (x, y) = (i % 160, i / 160);
        last.planes().unwrap().plane(0)[y * last.stride(0) + x].abs_diff(truth[y * 161 + x])
    });
    assert!(worst.max().unwrap() <= 12, "luma is what was written");
    assert!(
        last.planes().unwrap().plane(1)[0].abs_diff(90) <= 6 && last.planes().unwrap().plane(2)[0].abs_diff(160) <= 6
    );
}

#[test]
fn full_range_colours_survive_a_container_that_does_not_tell_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.mp4");
    let mut writer = Mp4Writer::create(&path, 10.0).unwrap();
    for range in [Range::Full; 5].into_iter().enumerate() {
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: range.1 };
        let planes = [vec![240; 64 * 48], vec![90; 32 * 24], vec![160; 32 * 24]];
        let picture = Picture::from_i420(64, 48, colorimetry, planes).unwrap();
        writer.write(&picture, range.0 as u64 * 100_000_000).unwrap();
    }
    writer.finish(Duration::from_secs(20)).unwrap();
    let last = play(Input::File(path), MINUTE).last.unwrap();
    assert_eq!(last.colorimetry, Colorimetry { matrix: Matrix::Bt709, range: Range::Full });
}

/// A file of the test data with one byte in the middle changed.
fn damaged(test: &str, file: &str, share: f64) -> Option<(tempfile::TempDir, PathBuf)> {
    let mut bytes = std::fs::read(testdata(test, file)?).unwrap();
    let at = (bytes.len() as f64 * share) as usize;
    bytes[at] ^= 0xff;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged");
    std::fs::write(&path, bytes).unwrap();
    Some((dir, path))
}

#[test]
fn pictures_that_a_decoder_gives_up_without_a_word_are_counted() {
    let test = "sources::pictures_that_a_decoder_gives_up";
    for (file, frames) in [
        ("corner/testsrc2_odd_height_and_width_vp9.mp4", 25),
        ("corner/mediamtx-offline_vp9.mp4", 30),
        ("corner/testsrc2_vp8.webm", 30),
    ] {
        for share in [0.12, 0.3, 0.55] {
            let Some((_dir, path)) = damaged(test, file, share) else { return };
            let story = play(Input::File(path), MINUTE);
            let seen = story.frames.len() as u64 + story.dropped("corrupt");
            assert!(story.broken().is_some() || seen == frames, "{file} at {share}: {seen} of {frames}");
        }
    }
}

#[test]
fn a_short_video_beside_a_long_sound_is_played() {
    let dir = tempfile::tempdir().unwrap();
    for (name, offset) in [("sound", 0_u64), ("late", 20_000_000_000)] {
        let path = dir.path().join(format!("{name}.mp4"));
        let pipeline = gstreamer::parse::launch(&format!(
            "mp4mux name=mux ! filesink location={path:?} \
             videotestsrc num-buffers=30 timestamp-offset={offset} ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 \
             ! x264enc ! h264parse ! mux. audiotestsrc num-buffers=400 samplesperbuffer=2205 ! audio/x-raw,rate=44100,channels=1 \
             ! audioconvert ! avenc_aac ! mux."
        ));
        let Ok(pipeline) = pipeline else {
            println!("SKIP a_short_video_beside_a_long_sound_is_played: x264enc or avenc_aac is not installed");
            return;
        };
        pipeline.set_state(gstreamer::State::Playing).unwrap();
        let limit = gstreamer::ClockTime::from_seconds(30);
        pipeline.bus().unwrap().timed_pop_filtered(limit, &[gstreamer::MessageType::Eos]).expect("it is written");
        pipeline.set_state(gstreamer::State::Null).unwrap();
        let story = play(Input::File(path), MINUTE);
        assert_eq!((story.broken(), story.frames.len()), (None, 30), "{name}");
        assert!(story.frames.windows(2).all(|w| w[0].1 < w[1].1), "{name}");
    }
}

#[test]
fn an_encoded_clip_may_come_from_rgb() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rgb.mp4");
    let mut writer = Mp4Writer::create(&path, 10.0).unwrap();
    for n in 0..5 {
        let red = Picture::from_rgb(64, 48, [200, 20, 20].repeat(64 * 48)).unwrap();
        writer.write(&red, n * 100_000_000).unwrap();
    }
    let other = Picture::from_rgb(32, 32, vec![0; 32 * 32 * 3]).unwrap();
    assert!(writer.write(&other, 500_000_000).is_err(), "another size is refused");
    writer.finish(Duration::from_secs(20)).unwrap();
    let last = play(Input::File(path), MINUTE).last.unwrap();
    assert!(last.planes().unwrap().plane(2)[0] > 180, "red has much V: {}", last.planes().unwrap().plane(2)[0]);
    assert!(Mp4Writer::create(Path::new("/no/such/folder/x.mp4"), 10.0).is_err());
}

/// How often a camera is started before its port counts as taken.
const STARTS_MAX: usize = 20;

/// A camera in a process of its own.
pub(crate) struct Camera {
    process: Child,
    pub(crate) port: u16,
}

impl Camera {
    /// Starts one on `port` (0 = any); `None` after saying that the double is not built.
    pub(crate) fn start(test: &str, port: u16, args: &[&str]) -> Option<Self> {
        let program = std::env::current_exe().unwrap().parent()?.parent()?.join("examples/rtsp_server");
        if !program.exists() {
            println!(
                "SKIP {test}: examples/rtsp_server is not built (cargo test builds it, cargo test --test it does not)"
            );
            return None;
        }
        Some(Self::of(|| Command::new(&program), port, args))
    }

    /// Starts one of a program that prints its port.
    pub(crate) fn of(program: impl Fn() -> Command, port: u16, args: &[&str]) -> Self {
        // Somebody's connection may have the port for a moment.
        for _ in 0..STARTS_MAX {
            let mut process = program()
                .args(["--port", &port.to_string()])
                .env_remove("GST_DEBUG")
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let camera = Self { process, port: line.trim().parse().unwrap_or_default() };
            if camera.port > 0 {
                return camera;
            }
            drop(camera);
            std::thread::sleep(Duration::from_millis(250));
        }
        panic!("the camera does not print its port");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn uri(&self) -> Input {
        camera(&format!("rtsp://127.0.0.1:{}/cam", self.port))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const S: u64 = 1_000_000_000;

#[test]
fn a_camera_that_never_was_is_tried_for_ever_and_its_password_stays_secret() {
    let test = "a_camera_that_never_was_is_tried_for_ever";
    let closed = ClosedPort::take();
    let port = closed.port;
    let mut plan = plan("cam", camera(&format!("rtsp://viewer:c%40nary@127.0.0.1:{port}/cam")));
    plan.retry.base = Duration::from_millis(20);
    plan.retry.cap = Duration::from_millis(80);
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    backend.add_source(&plan, sink.clone()).unwrap();
    let faults = |s: &Story| s.events.iter().filter(|(_, e)| matches!(e, SourceEvent::Fault { .. })).count();
    // Then its circuit breaker is open: it is only asked whether it is there.
    let story = sink.wait("cam", MINUTE, |s| faults(s) >= 5);
    let mut expected = Vec::new();
    for attempt in 1..=3 {
        expected.extend([SourceState::Connecting, SourceState::Backoff { attempt }]);
    }
    expected.extend([SourceState::Connecting, SourceState::Failed]);
    assert_eq!(story.states(), expected, "failed after three retries, and still tried");
    assert!(!format!("{:?}", story.events).contains("nary"), "{:?}", story.events);

    drop(closed);
    let Some(_camera) = Camera::start(test, port, &["--user", "viewer", "--password", "c@nary"]) else { return };
    sink.wait("cam", MINUTE, |s| s.states().last() == Some(&SourceState::Running));

    plan.id = "stranger".into();
    plan.input = camera(&format!("rtsp://viewer:wrong-canary@127.0.0.1:{port}/cam"));
    backend.add_source(&plan, sink.clone()).unwrap();
    let story = sink.wait("stranger", MINUTE, |s| faults(s) >= 1);
    let told = format!("{:?}", story.events);
    assert!(told.to_lowercase().contains("authori") && !told.contains("canary"), "{told}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_and_let_go_of() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("rtsp://{}/cam", listener.local_addr().unwrap());
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    backend.add_source(&plan("cam", camera(&uri)), sink.clone()).unwrap();
    let (_held, _) = listener.accept().unwrap();
    clock.skip(Duration::from_secs(8));
    let fault = |s: &Story| {
        s.events.iter().any(|(_, e)| matches!(e, SourceEvent::Fault { reason, .. } if reason.contains("first frame")))
    };
    sink.wait("cam", Duration::from_secs(5), fault);
    let before = clock.monotonic_ns();
    backend.stop(Duration::from_secs(3));
    assert!(clock.monotonic_ns() - before < 3 * S, "stopping while it hangs does not wait until the limit");
    assert_eq!(sink.story("cam").states().last(), Some(&SourceState::Stopped));
}

/// Clips, and at how many cuts each is tried: every 1/64, except the three long ones, which take minutes so.
const CUTS: &[(&str, usize)] =
    &[("clips/vtest-480x360.mp4", 7), ("clips/one-by-one-person-detection.mp4", 7), ("clips/car-detection.mp4", 7)];
/// Sources that play at the same time.
const CUTS_AT_ONCE: usize = 6;

#[test]
fn no_cut_file_crashes_or_stays_silent() {
    let dir = tempfile::tempdir().unwrap();
    let mut cuts = Vec::new();
    for (file, ..) in DECODES {
        let Some(path) = testdata("no_cut_file_crashes_or_stays_silent", file) else { continue };
        let bytes = std::fs::read(path).unwrap();
        let every = std::env::var_os("DSENGINE_TEST_ALL_CUTS").is_some();
        let points = CUTS.iter().find(|(name, _)| name == file && !every).map_or(63, |(_, n)| *n);
        for k in 1..=points {
            let cut = dir.path().join(format!("{}-{k}", file.replace('/', "-")));
            cuts.push((cut, bytes[..bytes.len() * k / (points + 1)].to_vec()));
        }
    }
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    let (mut ended, mut broken, mut stalled) = (0, 0, 0);
    for group in cuts.chunks(CUTS_AT_ONCE) {
        for (path, bytes) in group {
            std::fs::write(path, bytes).unwrap();
            let id = path.file_name().unwrap().to_str().unwrap();
            backend.add_source(&plan(id, Input::File(path.clone())), sink.clone()).unwrap();
        }
        for (path, _) in group {
            let id = path.file_name().unwrap().to_str().unwrap();
            let story = sink.wait(id, MINUTE, Story::over);
            let silent = Duration::from_nanos(story.longest_ns);
            assert!(silent < bar(Duration::from_secs(5)), "{id} was silent for {silent:?}");
            match story.broken() {
                None => ended += 1,
                Some(why) if why.contains("for 4.0 s") => stalled += 1,
                Some(_) => broken += 1,
            }
            backend.remove_source(&id.into(), Duration::from_secs(3));
            sink.forget(id);
            std::fs::remove_file(path).unwrap();
        }
    }
    println!("note: {} cuts: {ended} ended, {broken} broke, {stalled} fell silent and were given up", cuts.len());
}

/// Threads and open files of this process.
fn held() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Runs test `name` in a process of its own (whose threads, files and log are nobody else's); `false` in that process.
fn elsewhere(name: &str, env: &[(&str, &str)]) -> bool {
    const ALONE: &str = "DSENGINE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("sources::{name}"), "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .envs(env.iter().copied())
        .status()
        .unwrap();
    assert!(status.success());
    true
}

#[test]
fn adding_and_removing_leaves_no_thread_and_no_descriptor_behind() {
    if elsewhere("adding_and_removing_leaves_no_thread_and_no_descriptor_behind", &[]) {
        return;
    }
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    let mut cycle = |n: usize| {
        let id = format!("s{n}");
        let input = match n % 3 {
            0 => test_input(None),
            1 => test_input(Some(5)),
            _ => camera("rtsp://127.0.0.1:9/nobody"),
        };
        backend.add_source(&plan(&id, input), sink.clone()).unwrap();
        sink.wait(&id, MINUTE, |s| s.frames.len() >= 3 || s.over() || s.events.len() >= 3);
        backend.remove_source(&id.as_str().into(), Duration::from_secs(3));
        // A picture holds the decoder's buffer pool, and that holds descriptors.
        sink.forget(&id);
    };
    // GStreamer's and GLib's own pools fill in the first cycles and are kept.
    (0..9).for_each(&mut cycle);
    let (threads, files) = held();
    (9..60).for_each(&mut cycle);
    // GLib lets a thread of its pool go when it has been idle for 15 s.
    let until = Instant::now() + Duration::from_secs(20);
    let (threads_after, files_after) = loop {
        let now = held();
        if (now.0 <= threads + 1 && now.1 <= files) || Instant::now() > until {
            break now;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(threads_after <= threads + 1, "{threads} threads before, {threads_after} after 50 cycles");
    assert!(files_after <= files, "{files} descriptors before, {files_after} after 50 cycles");
    println!("note: threads {threads} -> {threads_after}, descriptors {files} -> {files_after}");
}

/// Log lines as they would be printed.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_most_talkative_log_of_gstreamer_goes_through_ours_and_tells_no_password() {
    let name = "the_most_talkative_log_of_gstreamer_goes_through_ours_and_tells_no_password";
    if elsewhere(name, &[("GST_DEBUG", "rtsp*:9,default:9,uri*:9,GST_PADS:4")]) {
        return;
    }
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    dsengine::gst::log_to_tracing(gstreamer::DebugLevel::Warning).unwrap();
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock).unwrap();
    let fault = |s: &Story| s.events.iter().any(|(_, e)| matches!(e, SourceEvent::Fault { .. }));
    backend.add_source(&plan("gone", camera("rtsp://viewer:canary@127.0.0.1:9/cam")), sink.clone()).unwrap();
    sink.wait("gone", MINUTE, fault);
    if let Some(served) = Camera::start(name, 0, &["--user", "viewer", "--password", "canary"]) {
        let uri = format!("rtsp://viewer:canary@127.0.0.1:{}/cam?token=canary", served.port);
        backend.add_source(&plan("cam", camera(&uri)), sink.clone()).unwrap();
        sink.wait("cam", MINUTE, |s| s.frames.len() > 2 || fault(s));
        let lines = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
        assert!(lines.contains("token=***"), "URIs are among them, redacted");
    }
    drop(backend);
    let lines = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(lines.contains("gstreamer:") && lines.contains("rtspsrc"), "GStreamer's lines are there");
    // "viewer:canary" as HTTP basic authentication writes it.
    for secret in ["canary", "dmlld2VyOmNhbmFyeQ"] {
        let told: Vec<&str> = lines.lines().filter(|line| line.contains(secret)).take(3).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}

/// A camera for tests of other files, with its address; `None` (said loudly) where the double is not built.
pub(crate) fn rtsp_server() -> Option<(impl Drop, String)> {
    let camera = Camera::start("readme::rtsp", 0, &[])?;
    let url = format!("rtsp://127.0.0.1:{}/cam", camera.port);
    Some((camera, url))
}

/// What is bounded in time: run one at a time (`./dev test performance`).
mod perf {
    use super::*;

    /// Frames told after `from_ns`.
    fn frame_after(story: &Story, from_ns: u64) -> Option<u64> {
        story.frames.iter().map(|f| f.1).find(|at| *at > from_ns)
    }

    fn bar_ns(quiet_s: u64) -> u64 {
        bar(Duration::from_secs(quiet_s)).as_nanos() as u64
    }

    #[test]
    fn a_camera_that_dies_and_freezes_comes_back_and_costs_the_others_nothing() {
        let test = "a_camera_that_dies_and_freezes_comes_back";
        let Some(mut camera) = Camera::start(test, 0, &[]) else { return };
        let clock = Machine::start();
        let sink = Recorder::new(&clock);
        let mut backend = GstBackend::new(clock.clone()).unwrap();
        backend.add_source(&plan("cam", camera.uri()), sink.clone()).unwrap();
        let files = ["a", "b", "c"];
        for id in files {
            // At its own pace, so that it plays through all of the camera's misfortunes.
            let mut file = plan(id, test_input(Some(300)));
            file.realtime = true;
            backend.add_source(&file, sink.clone()).unwrap();
        }
        sink.wait("cam", MINUTE, |s| s.frames.len() > 20);

        // Killed, and started again at once.
        let killed = clock.monotonic_ns();
        camera.kill();
        let gone = |state: &SourceState| matches!(state, SourceState::Stalled | SourceState::Backoff { .. });
        let story = sink.wait("cam", MINUTE, |s| s.entered(killed, gone).is_some());
        let noticed = story.entered(killed, gone).unwrap() - killed;
        assert!(noticed <= bar_ns(3), "noticed after {noticed} ns");
        let port = camera.port;
        camera = Camera::start(test, port, &[]).unwrap();
        let returned = clock.monotonic_ns();
        let story = sink.wait("cam", MINUTE, |s| frame_after(s, returned).is_some());
        let back = frame_after(&story, returned).unwrap() - returned;
        assert!(back <= bar_ns(2), "back after {back} ns of its return from a short loss");
        println!("note: killed: noticed after {} ms, back after {} ms", noticed / 1_000_000, back / 1_000_000);

        // Frozen: the connection stands, nothing comes.
        sink.wait("cam", MINUTE, |s| s.frames.len() > 60);
        camera.signal(rustix::process::Signal::STOP);
        let frozen = clock.monotonic_ns();
        let stalled = |state: &SourceState| *state == SourceState::Stalled;
        let story = sink.wait("cam", MINUTE, |s| s.entered(frozen, stalled).is_some());
        let noticed = story.entered(frozen, stalled).unwrap() - frozen;
        assert!(noticed <= bar_ns(3), "noticed after {noticed} ns");
        camera.signal(rustix::process::Signal::CONT);
        let returned = clock.monotonic_ns();
        let story = sink.wait("cam", 2 * MINUTE, |s| frame_after(s, returned).is_some());
        let back = frame_after(&story, returned).unwrap() - returned;
        assert!(back <= bar_ns(12), "back after {back} ns");
        println!("note: frozen: noticed after {} ms, back after {} ms", noticed / 1_000_000, back / 1_000_000);
        assert!(story.frames.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1), "numbers and times go on");

        for id in files {
            let story = sink.wait(id, MINUTE, Story::over);
            assert_eq!(story.broken(), None, "{id}");
            assert!(story.frames.iter().map(|f| f.0).eq(0..300), "{id} lost a frame");
        }
    }
}
