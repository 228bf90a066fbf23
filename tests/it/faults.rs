//! A whole engine, and what goes wrong at one of its sources: the others lose nothing, and what can come back does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dsengine::config::{self, Request};
use dsengine::engine::{Engine, Judged, Observer};
use dsengine::strategy::{Fault, Strategy, Verdict, View};
use dsengine::types::{Alert, SourceId};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{ClosedPort, Dsengine, Running, bar, get, rss_kib, sample, testdata, write};
use crate::sources::Camera;

/// A strategy of the embedder's own that panics on the frames `from` up to `to` of the source `bad`.
struct Panics {
    bad: bool,
    frames: u32,
    from: u32,
    to: u32,
}

impl Strategy for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn judge(&mut self, _view: &View<'_>) -> Result<Verdict, Fault> {
        self.frames += 1;
        let panics = self.bad && (self.from..self.to).contains(&self.frames);
        assert!(!panics, "this panic belongs to the test");
        Ok(Verdict::default())
    }
}

/// An observer of the embedder's own that panics on the fifth frame of the source `bad`.
struct Observes;

impl Observer for Observes {
    fn judged(&self, judged: &Judged<'_>) {
        let panics = judged.frame.source.as_str() == "bad" && judged.frame.seq == 4;
        assert!(!panics, "this panic belongs to the test");
    }
}

/// A plan of two scripted sources, `bad` and `good`, without handlers.
fn bad_and_good() -> config::Plan {
    let dir = tempfile::tempdir().unwrap();
    let sources = "sources:\n  - { id: bad, uri: 'scene:street?pixels=false' }\n\
                   \x20 - { id: good, uri: 'scene:street?pixels=false' }\n";
    let config = Some(write(dir.path(), "config.yaml", sources));
    let mut plan =
        config::load(&Request { config, working_dir: dir.path().to_owned(), ..Request::default() }).unwrap().plan;
    plan.handlers.clear();
    plan
}

#[test]
fn a_panic_on_a_lane_breaks_its_source_and_no_other() {
    let engine = Engine::builder(bad_and_good()).observer(Arc::new(Observes)).start().unwrap();
    assert!(engine.handle().wait(Duration::from_secs(30)), "both sources end");
    let summary = engine.drain(Duration::from_secs(5));
    let (bad, good) = (&summary.sources[0], &summary.sources[1]);
    assert!(bad.broken.as_ref().is_some_and(|why| why.contains("panicked")), "{bad:?}");
    assert!((4..=5).contains(&bad.judged), "{bad:?}");
    assert!(good.broken.is_none() && good.judged == good.frames && good.frames > 100, "{good:?}");
}

/// An observer that panics once, on the fifth frame, and counts the frames judged after that, and the alerts.
#[derive(Default)]
struct PanicsOnce {
    frames: AtomicU64,
    has_panicked: AtomicBool,
    later: AtomicU64,
    alerts: AtomicU64,
}

impl Observer for PanicsOnce {
    fn judged(&self, _judged: &Judged<'_>) {
        if self.has_panicked.load(Ordering::SeqCst) {
            self.later.fetch_add(1, Ordering::SeqCst);
        } else if self.frames.fetch_add(1, Ordering::SeqCst) == 4 {
            self.has_panicked.store(true, Ordering::SeqCst);
            panic!("this panic belongs to the test");
        }
    }

    fn alert(&self, _alert: &Alert) {
        self.alerts.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_is_open_at_a_panic_on_a_lane_is_known_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "r.lua", "function detect(f) f:alert{ rule = 'stays', key = 'door', message = 'm' } end\n");
    let text = "sources: [{ id: bad, uri: 'scene:street?pixels=false&live=true' }]\n\
                detection: { strategies: [{ name: r, module: r.lua }] }\n\
                alerts: { throttle_seconds: 3600, min_confidence: 0 }\n";
    let config = Some(write(dir.path(), "config.yaml", text));
    let request = Request { config, working_dir: dir.path().to_owned(), ..Request::default() };
    let mut plan = config::load(&request).unwrap().plan;
    plan.handlers.clear();
    let observer = Arc::new(PanicsOnce::default());
    let engine = Engine::builder(plan).observer(Arc::clone(&observer) as Arc<dyn Observer>).start().unwrap();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(30), "never {what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    until("a panic", &|| observer.has_panicked.load(Ordering::SeqCst));
    engine.handle().restart_source("bad").unwrap();
    until("judged again", &|| observer.later.load(Ordering::SeqCst) >= 10);
    engine.drain(Duration::from_secs(5));
    assert_eq!(observer.alerts.load(Ordering::SeqCst), 1, "somebody stays: it is told once");
}

#[test]
fn a_panic_of_an_embedders_strategy_is_a_fault_and_its_source_lives() {
    // Once, and for ever: then the breaker leaves it out.
    for (to, faults) in [(6, 1..=1), (u32::MAX, 5..=9)] {
        let make = move |source: &SourceId| Panics { bad: source.as_str() == "bad", frames: 0, from: 5, to };
        let engine = Engine::builder(bad_and_good()).strategy("panics", make).start().unwrap();
        assert!(engine.handle().wait(Duration::from_secs(30)), "both sources end");
        let page = engine.handle().metrics().render();
        let summary = engine.drain(Duration::from_secs(5));
        for source in &summary.sources {
            assert!(source.broken.is_none() && source.judged == source.frames && source.frames > 100, "{source:?}");
        }
        let strategy = summary.strategies.iter().find(|strategy| strategy.name == "panics").unwrap();
        assert!(faults.contains(&strategy.faults), "{strategy:?}");
        let said = strategy.last_error.as_deref().unwrap();
        assert!(said.contains("it panicked: this panic belongs to the test"), "{said}");
        let counted = "dsengine_strategy_faults_total{kind=\"error\",source=\"bad\",strategy=\"panics\"}";
        assert_eq!(sample(&page, counted), Some(strategy.faults as f64), "{page}");
        let skipped = "dsengine_strategy_limited_total{source=\"bad\",strategy=\"panics\",what=\"skipped\"}";
        assert_eq!(sample(&page, skipped).is_some_and(|skipped| skipped > 50.0), to == u32::MAX, "{page}");
    }
}

/// How often a running engine is looked at.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Longest until a lost camera is noticed, and until it is back after a short loss and after any.
const NOTICED: Duration = Duration::from_secs(3);
const BACK_SOON: Duration = Duration::from_secs(2);
const BACK: Duration = Duration::from_secs(12);
/// How much later than it happens the outside can see it: one look, one answer, and a machine with other work.
const SEEN_LATER: Duration = Duration::from_millis(250);

/// Looks at the engine until `wanted` gives something; how long that took.
#[track_caller]
fn wait<T>(run: &mut Running, limit: Duration, what: &str, mut wanted: impl FnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(found) = wanted() {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}\n{}", run.seen.join("\n"));
        assert!(run.end(POLL_EVERY).is_none(), "it ended: {}", run.seen.join("\n"));
    }
}

/// A source as the API shows it.
fn status(page: &str, id: &str) -> Value {
    let (code, body) = get(page, "/api/v1/status");
    assert_eq!(code, 200, "{body}");
    let status: Value = serde_json::from_str(&body).unwrap();
    status["sources"].as_array().unwrap().iter().find(|s| s["id"] == id).unwrap_or_else(|| panic!("{status}")).clone()
}

fn up(page: &str, id: &str) -> bool {
    sample(&get(page, "/metrics").1, &format!("dsengine_source_up{{source=\"{id}\"}}")) == Some(1.0)
}

fn count(source: &Value, key: &str) -> u64 {
    source[key].as_u64().unwrap()
}

fn threads(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|l| l.strip_prefix("Threads:")).unwrap().trim().parse().unwrap()
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The sequence numbers that were judged, by source, in the order of their judgement.
fn judged(path: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut judged: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        judged.entry(line["source"].as_str().unwrap().to_owned()).or_default().push(line["seq"].as_u64().unwrap());
    }
    judged
}

/// Ends an engine that has a live source.
#[track_caller]
fn interrupt(run: &mut Running) {
    run.signal("INT");
    assert_eq!(run.end(bar(Duration::from_secs(5))).and_then(|s| s.code()), Some(0), "{}", run.seen.join("\n"));
}

#[test]
fn the_end_of_a_live_stream_is_a_failure_and_it_is_asked_for_again() {
    const TEST: &str = "faults::the_end_of_a_live_stream_is_a_failure";
    let Some(camera) = Camera::start(TEST, 0, &["--frames", "40"]) else { return };
    let uri = format!("rtsp://127.0.0.1:{}/cam", camera.port);
    let mut run = Dsengine::new(["run", "--source", &uri, "--port", "0"]).start();
    let page = run.page();
    let only = |page: &str| {
        let status: Value = serde_json::from_str(&get(page, "/api/v1/status").1).unwrap();
        status["sources"][0].clone()
    };
    let (failed, _) = wait(&mut run, Duration::from_secs(20), "the end is a failure", || {
        let source = only(&page);
        (source["state"] == "backoff").then_some(source)
    });
    let reason = failed["error"].as_str().unwrap_or_default();
    assert!(!reason.is_empty() && count(&failed, "frames") > 0, "{failed}");
    println!("faults: a live stream's end: {reason}");
    let before = count(&failed, "frames");
    wait(&mut run, bar(BACK + SEEN_LATER), "it delivers again", || {
        (count(&only(&page), "frames") > before).then_some(())
    });
    interrupt(&mut run);
}

#[test]
fn a_camera_that_is_not_there_is_tried_for_ever_and_nothing_is_detected() {
    let closed = ClosedPort::take();
    let port = closed.port;
    let uri = format!("rtsp://viewer:can4ry@127.0.0.1:{port}/cam");
    let mut run = Dsengine::new(["run", "--source", &uri, "--port", "0", "--json"]).start();
    let page = run.page();
    let metric = "dsengine_source_reconnects_total{";
    wait(&mut run, Duration::from_secs(20), "it is tried again", || {
        (sample(&get(&page, "/metrics").1, metric)? >= 2.0).then_some(())
    });
    assert_eq!(get(&page, "/livez").0, 200);
    assert_eq!(get(&page, "/readyz").0, 503);
    let (_, status) = get(&page, "/api/v1/status");
    let source = serde_json::from_str::<Value>(&status).unwrap()["sources"][0].clone();
    assert_eq!((count(&source, "frames"), source["detections"].as_object().unwrap().len()), (0, 0), "{status}");
    assert!(source["error"].is_string(), "{status}");
    interrupt(&mut run);
    let told = run.seen.join("\n") + &status;
    assert!(!told.contains("can4ry"), "{told}");
    // One line for each attempt, which has all there is to know; and nothing else warns.
    let complaints: Vec<&String> = run.seen.iter().filter(|l| l.contains("WARN") || l.contains("ERROR")).collect();
    assert!(complaints.len() >= 2, "{told}");
    for (line, attempt) in complaints.into_iter().zip(1..) {
        let address = format!("rtsp://***@127.0.0.1:{port}/cam");
        for part in [&address, "source failed and is tried again: ", "retry_in_s=", &format!("attempt={attempt} ")] {
            assert!(line.contains(part), "no `{part}` in: {line}");
        }
    }
}

#[test]
fn a_camera_out_of_retries_says_that_it_is_still_tried() {
    let closed = ClosedPort::take();
    let port = closed.port;
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "monitoring: {{ prometheus: {{ port: 0 }} }}\n\
         recovery: {{ max_retries: 1, retry_delay: 0.1, max_retry_delay: 0.4 }}\n\
         sources: [{{ id: cam, uri: 'rtsp://127.0.0.1:{port}/cam' }}]\n"
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let (cam, _) = wait(&mut run, Duration::from_secs(20), "it is out of retries, and tried", || {
        let cam = status(&page, "cam");
        (cam["state"] == "failed" && count(&cam, "reconnects") >= 4).then_some(cam)
    });
    assert_eq!(cam["retry_every_s"], 0.4, "{cam}");
    // Between two answers it may be trying.
    wait(&mut run, Duration::from_secs(20), "its health says so", || {
        let (code, health) = get(&page, "/health");
        (code == 503 && health.contains("source cam is failed, tried again every 0.4 s: ")).then_some(())
    });
    interrupt(&mut run);
}

/// What is bounded in time, or is lost when the machine stands still: run one at a time (`./dev test performance`).
mod perf {
    use super::*;

    /// Kills the camera, starts it again at the same port, and waits until it has delivered for two seconds.
    #[track_caller]
    fn lose(run: &mut Running, page: &str, mut camera: Camera, limit: Duration) -> Camera {
        camera.kill();
        let ((), noticed) =
            wait(run, bar(NOTICED + SEEN_LATER), "the loss is noticed", || (!up(page, "cam")).then_some(()));
        let camera = Camera::start("faults::perf::lose", camera.port, &[]).unwrap();
        let before = count(&status(page, "cam"), "judged");
        let ((), back) = wait(run, bar(limit + SEEN_LATER), "it is back after a short loss", || {
            (up(page, "cam") && count(&status(page, "cam"), "judged") > before).then_some(())
        });
        println!("faults: killed: noticed after {noticed:?}, back after {back:?}");
        wait(run, Duration::from_secs(10), "it runs on", || {
            (count(&status(page, "cam"), "judged") > before + 50).then_some(())
        });
        camera
    }

    #[test]
    fn a_camera_that_is_killed_frozen_and_restarted_comes_back_and_three_files_lose_no_frame() {
        const TEST: &str = "faults::perf::a_camera_that_is_killed_frozen_and_restarted";
        let Some(mut camera) = Camera::start(TEST, 0, &[]) else { return };
        let port = camera.port;
        let dir = tempfile::tempdir().unwrap();
        let street = dir.path().join("street.mp4");
        Dsengine::new(["scene", "render", street.to_str().unwrap()]).run().expect(0);
        // Two at their own pace, so that they play through the camera's misfortunes, and one as fast as it goes.
        let mut files = vec![("street", street.clone(), 300, true)];
        for (id, clip, frames, realtime) in
            [("cars", "clips/car-detection.mp4", 377, true), ("people", "clips/vtest-480x360.mp4", 795, false)]
        {
            match testdata(TEST, clip) {
                Some(clip) => files.push((id, clip.canonicalize().unwrap(), frames, realtime)),
                None => files.push((id, street.clone(), 300, realtime)),
            }
        }
        let mut config = format!(
            "monitoring: {{ prometheus: {{ port: 0 }} }}\nsources:\n\
             \x20 - {{ id: cam, type: rtsp, uri: 'rtsp://127.0.0.1:{port}/cam', max_retries: 20 }}\n"
        );
        for (id, path, _, realtime) in &files {
            config += &format!("  - {{ id: {id}, type: file, uri: '{}', realtime: {realtime} }}\n", path.display());
        }
        write(dir.path(), "config.yaml", &config);
        let args = ["run", "--config", "config.yaml", "--judgements", "judged.jsonl"];
        let mut run = Dsengine::new(args).cwd(dir.path()).start();
        let page = run.page();
        let running = |page: &str| (count(&status(page, "cam"), "judged") > 25).then_some(());
        wait(&mut run, Duration::from_secs(20), "the camera's first second", || running(&page));

        // Killed and started again at the same port. One that keeps dying is waited for longer each time.
        for limit in [BACK_SOON, BACK] {
            camera = lose(&mut run, &page, camera, limit);
        }

        // Frozen: the connection stands and nothing comes. Then it goes on.
        camera.signal(Signal::STOP);
        let ((), noticed) =
            wait(&mut run, bar(NOTICED + SEEN_LATER), "the silence is noticed", || (!up(&page, "cam")).then_some(()));
        let before = count(&status(&page, "cam"), "judged");
        camera.signal(Signal::CONT);
        let ((), back) = wait(&mut run, bar(BACK + SEEN_LATER), "it is back after a freeze", || {
            (up(&page, "cam") && count(&status(&page, "cam"), "judged") > before).then_some(())
        });
        println!("faults: frozen: noticed after {noticed:?}, back after {back:?}");

        // The files play to their ends meanwhile.
        for (id, ..) in &files {
            wait(&mut run, Duration::from_secs(60), "a file ends", || {
                (status(&page, id)["state"] == "stopped").then_some(())
            });
        }

        // With the camera alone, losing it costs nothing that stays: no thread, no descriptor, no memory.
        let (threads_before, files_before, rss_before) =
            (threads(run.pid()), open_files(run.pid()), rss_kib(run.pid()));
        for _ in 0..4 {
            camera = lose(&mut run, &page, camera, BACK);
        }
        let pid = run.pid();
        // GLib lets a thread of its pool go when it has been idle for 15 s.
        let rss_max = rss_before + 5 * 1024;
        wait(&mut run, Duration::from_secs(25), "threads, descriptors and memory are what they were", || {
            let held = (threads(pid), open_files(pid), rss_kib(pid));
            (held.0 <= threads_before && held.1 <= files_before && held.2 <= rss_max).then_some(())
        });
        let rss_after = rss_kib(pid);
        println!(
            "faults: four losses: threads {threads_before} -> {}, descriptors {files_before} -> {}, memory {rss_before} -> {rss_after} KiB",
            threads(pid),
            open_files(pid)
        );
        let cam = status(&page, "cam");
        assert!(count(&cam, "reconnects") >= 7, "{cam}");
        interrupt(&mut run);

        let judged = judged(&dir.path().join("judged.jsonl"));
        for (id, _, frames, _) in files {
            assert!(judged[id].iter().copied().eq(0..frames), "{id}: {} of {frames} frames judged", judged[id].len());
        }
        let cam = &judged["cam"];
        assert!(cam.windows(2).all(|w| w[0] < w[1]), "the camera's numbers go on through its losses");
    }

    /// What became of a run.
    struct Outcome {
        /// By source: received, judged, lost.
        sources: BTreeMap<String, [u64; 3]>,
        strategies: Vec<Value>,
    }

    impl Outcome {
        /// Frames that the neighbours lost.
        fn lost(&self) -> u64 {
            ["left", "right", "clip"].iter().map(|id| self.sources[*id][2]).sum()
        }

        fn strategy(&self, name: &str) -> &Value {
            self.strategies.iter().find(|s| s["name"] == name).unwrap()
        }
    }

    /// Three sources that a broken script on a fourth could hold up: two live ones, delivered from one thread together
    /// with the broken script's, and a finite one.
    fn run_with(dir: &Path, script: &str) -> Outcome {
        write(dir, "broken.lua", script);
        let config = "monitoring: { prometheus: { port: 0 } }\n\
                      zones: { all: [[0, 0], [1, 0], [1, 1], [0, 1]] }\n\
                      detection:\n  strategies:\n    - { name: broken, module: broken.lua, sources: [bad] }\n\
                      \x20   - { name: fine, module: fine.lua }\n\
                      sources:\n  - { id: bad, type: scene, uri: 'scene:street?live=true&pixels=false' }\n\
                      \x20 - { id: left, type: scene, uri: 'scene:street?live=true&pixels=false&seed=2' }\n\
                      \x20 - { id: right, type: scene, uri: 'scene:crossing?live=true&pixels=false' }\n\
                      \x20 - { id: clip, type: test, uri: 'test:pattern=ball,frames=150,fps=25', realtime: true }\n";
        write(dir, "config.yaml", config);
        let fine = "function detect(frame)\n  for i in frame:select{ zone = 'all' } do frame:label(i) end\nend\n";
        write(dir, "fine.lua", fine);
        let args = ["run", "--config", "config.yaml", "--judgements", "judged.jsonl"];
        let mut run = Dsengine::new(args).cwd(dir).start();
        let page = run.page();
        wait(&mut run, Duration::from_secs(60), "enough is judged", || {
            let enough = ["left", "right", "bad"].iter().all(|id| count(&status(&page, id), "frames") >= 90);
            (enough && status(&page, "clip")["state"] == "stopped").then_some(())
        });
        let status: Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
        interrupt(&mut run);
        let judged = judged(&dir.join("judged.jsonl"));
        let of = |id: &str| {
            let seqs = &judged[id];
            let last = seqs.last().map_or(0, |last| last + 1);
            [last, seqs.len() as u64, last - seqs.len() as u64]
        };
        let sources = ["bad", "left", "right", "clip"].map(|id| (id.to_owned(), of(id))).into();
        Outcome { sources, strategies: status["strategies"].as_array().unwrap().clone() }
    }

    /// How often a run is tried. A live source also loses frames when the machine is busy, with and without a broken
    /// script; one that held up its neighbours would do so every time.
    const TRIES_MAX: usize = 4;
    #[test]
    fn a_script_that_never_returns_on_one_source_costs_the_others_no_frame() {
        let dir = tempfile::tempdir().unwrap();
        let tried = |script: &str, endless: bool| {
            let mut lost = Vec::new();
            while lost.len() < TRIES_MAX && lost.last() != Some(&0) {
                let run = run_with(dir.path(), script);
                println!("faults: an endless script: {endless}; [received, judged, lost] {:?}", run.sources);
                assert_eq!(run.sources["clip"][1], 150, "a finite source loses nothing");
                assert_eq!(count(run.strategy("fine"), "faults"), 0, "{}", run.strategy("fine"));
                if endless {
                    let script = run.strategy("broken");
                    assert!(count(script, "faults") >= 5 && script["degraded"] == true, "{script}");
                    assert!(run.sources["bad"][1] > 0, "its own source goes on: {:?}", run.sources);
                }
                lost.push(run.lost());
            }
            lost
        };
        let without = tried("function detect(frame) end\n", false);
        let with = tried("function detect(frame) while true do end end\n", true);
        // As good as without it: no frame, or what the machine costs at its worst.
        assert!(with.iter().min() <= without.iter().max(), "lost with an endless script {with:?}, without {without:?}");
    }
}
