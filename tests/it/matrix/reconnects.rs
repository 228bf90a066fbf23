//! What many reconnects leave behind: nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dsengine::backend::Backend as _;
use dsengine::config::{Camera as Address, Input, RetryPlan, SourcePlan, Transport};
use dsengine::gst::GstBackend;

use crate::fault_proxy::{FaultProxy, Protocol};
use crate::harness::{rss_kib, soak};
use crate::recorder::{Machine, Recorder};
use crate::sources::Camera;

/// Sources that are lost in turn, half of them at a time: the camera encodes for the others all along.
const SOURCES: usize = 8;
const LIMIT: Duration = Duration::from_secs(60);
/// Descriptors by which two moments of the same sessions differ: a decoder has a pool of buffers or two, each with some.
/// One that every reconnect leaves behind would be more.
const FILES: usize = 2 * SOURCES;
/// Most growth after the first reconnects.
const GROWTH_KIB: u64 = 5 * 1024;

/// Runs the test in a process of its own, with GStreamer's tracer of leaks; in that process, its log.
fn elsewhere(name: &str) -> Option<PathBuf> {
    const ALONE: &str = "DSENGINE_TEST_ALONE";
    if let Some(log) = std::env::var_os(ALONE) {
        return Some(log.into());
    }
    let test = format!("matrix::reconnects::{name}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    let log = tempfile::NamedTempFile::new().unwrap();
    command.args(["--exact", &test, "--nocapture", "--test-threads=1"]).env(ALONE, log.path());
    command.env("GST_TRACERS", "leaks").env("GST_LEAKS_TRACER_SIG", "1").env("GST_DEBUG", "GST_TRACER:7");
    command.env("GST_DEBUG_FILE", log.path()).env("GST_DEBUG_NO_COLOR", "1");
    // Every thread of every session may have an arena of its own, which is no growth of what is in use.
    command.env("MALLOC_ARENA_MAX", "2");
    assert!(command.status().unwrap().success());
    None
}

/// Threads, open files and memory of this process.
fn held() -> (usize, usize, u64) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"), rss_kib(std::process::id()))
}

/// What is held while nothing is lost: a session's threads and descriptors come and go while it plays.
fn baseline() -> (usize, usize, u64) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut most = held();
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(50));
        let now = held();
        most = (most.0.max(now.0), most.1.max(now.1), most.2.max(now.2));
    }
    most
}

/// How many objects of each type GStreamer's tracer of leaks has seen come and not go: at SIGUSR1 it writes them into
/// its log.
fn alive(log: &Path) -> BTreeMap<String, usize> {
    let from = std::fs::metadata(log).map_or(0, |file| file.len()) as usize;
    // This one is there, so the list is never empty.
    let _witness = gstreamer::Bin::with_name("witness");
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1).unwrap();
    let end = Instant::now() + LIMIT;
    let (mut text, mut listed) = (String::new(), String::new());
    while !listed.contains("witness") || listed != text {
        assert!(Instant::now() < end, "the tracer of leaks does not answer");
        text = std::mem::take(&mut listed);
        gstreamer::glib::MainContext::default().iteration(false);
        std::thread::park_timeout(Duration::from_millis(200));
        listed = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()[from..]).into_owned();
    }
    let mut alive = BTreeMap::new();
    for line in listed.lines().filter(|line| line.contains("object-alive,")) {
        let kind = line.split("type-name=(string)").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("?");
        // The registry makes each of its factories once and keeps it.
        if !kind.ends_with("Factory") {
            *alive.entry(kind.to_owned()).or_default() += 1;
        }
    }
    alive
}

/// A source that is tried again at once.
fn plan(n: usize, port: u16) -> SourcePlan {
    let mut camera = Address::read(&format!("rtsp://127.0.0.1:{port}/cam")).unwrap();
    camera.transport = if n.is_multiple_of(2) { Transport::Tcp } else { Transport::Udp };
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(80));
    let (first_frame, gap) = (Duration::from_secs(20), Duration::from_secs(10));
    let retry = RetryPlan { max_retries: 100, base, cap, exponential: true, first_frame, gap };
    SourcePlan::new(format!("s{n}").as_str(), Input::Rtsp(Box::new(camera)), retry)
}

#[test]
fn reconnects_leave_no_memory_thread_descriptor_or_object_behind() {
    const NAME: &str = "reconnects_leave_no_memory_thread_descriptor_or_object_behind";
    let args = ["--size", "160x120", "--fps", "10", "--key-frames", "2"];
    let Some(log) = elsewhere(NAME) else { return };
    let Some(camera) = Camera::start("matrix::reconnects", 0, &args) else { return };
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock.clone()).unwrap();
    let nothing = alive(&log);
    let proxies: Vec<FaultProxy> =
        (0..SOURCES).map(|n| FaultProxy::start(Protocol::Rtsp, camera.port, n as u64)).collect();
    for (n, proxy) in proxies.iter().enumerate() {
        backend.add_source(&plan(n, proxy.port), sink.clone()).unwrap();
        sink.wait(&format!("s{n}"), LIMIT, |s| s.frames.len() >= 2);
    }
    // Half of the sources are lost and come back.
    let mut lost = 0;
    let mut round = || {
        let half: Vec<usize> = (0..SOURCES).filter(|n| (n / 2) % 2 == lost / (SOURCES / 2) % 2).collect();
        for n in &half {
            sink.forget(&format!("s{n}"));
            proxies[*n].reset();
        }
        for n in &half {
            let is_back = |s: &crate::recorder::Story| {
                let fault =
                    s.events.iter().position(|(_, e)| matches!(e, dsengine::backend::SourceEvent::Fault { .. }));
                fault.is_some() && s.states().last() == Some(&dsengine::backend::SourceState::Running)
            };
            sink.wait(&format!("s{n}"), LIMIT, is_back);
            sink.forget(&format!("s{n}"));
        }
        lost += half.len();
        lost
    };
    let (warm, all) = if soak() { (50, 1_050) } else { (16, 48) };
    while round() < warm {}
    let before = baseline();
    let begun = Instant::now();
    while round() < all {}
    let took = begun.elapsed();
    // A thread of a pool goes when it has been idle for 15 s.
    let end = Instant::now() + Duration::from_secs(20);
    let after = loop {
        let now = held();
        if (now.0 <= before.0 + 1 && now.1 <= before.1 + FILES) || Instant::now() > end {
            break now;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    };
    println!("matrix: {} reconnects in {took:.1?}: threads, files, KiB {before:?} -> {after:?}", all - warm);
    assert!(after.0 <= before.0 + 1 && after.1 <= before.1 + FILES, "{before:?} before, {after:?} after");
    // The allocator's own caches fill in the first hundreds, wherever the machine has other work.
    assert!(!soak() || after.2 <= before.2 + GROWTH_KIB, "{} KiB before, {} after", before.2, after.2);
    backend.stop(Duration::from_secs(5));
    (0..SOURCES).for_each(|n| sink.forget(&format!("s{n}")));
    let end = Instant::now() + LIMIT;
    let mut left = alive(&log);
    while left != nothing && Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(100));
        left = alive(&log);
    }
    assert_eq!(left, nothing, "objects that nobody has let go of");
}
