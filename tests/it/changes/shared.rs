//! Many sources without pictures, whose lanes share a few threads: each as if it had its own.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dsengine::engine::{Engine, Judged, Observer};
use dsengine::strategy::{Strategy, Verdict, View};

use super::seen::Frames;
use super::site::{Site, source};
use crate::harness::{Dsengine, bar, get, quantile, rss_kib, sample, soak, street, until, write};

/// Threads for lanes of sources without pictures: four that share them, one that checks these, and one for each lane
/// that a busy machine made look slow (at most 32).
const THREADS_MAX: usize = 4 + 1 + 32;

/// The names of a process's threads.
fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok()).collect()
}

#[test]
fn three_hundred_sources_of_detections_need_a_bounded_number_of_threads() {
    const SOURCES: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "scene.yaml", &street(3000, 10));
    write(dir.path(), "rule.lua", "function detect(frame) for i in frame:select{ label = 'person' } do end end\n");
    let sources: String =
        (0..SOURCES).map(|n| format!("  - {{ id: c{n}, uri: 'scene:scene.yaml?pixels=false&live=true' }}\n")).collect();
    let rest = "detection: { strategies: [{ name: rule, module: rule.lua }] }\nalerts: { handlers: [] }\n\
                monitoring: { prometheus: { port: 0 } }\n";
    write(dir.path(), "config.yaml", &format!("sources:\n{sources}{rest}"));
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let line = run.wait_line(bar(Duration::from_secs(30)), |line| line.starts_with("page: "));
    let page = line.trim_start_matches("page: http://").trim_end_matches('/').to_owned();
    let judged = |metrics: &str, n: usize| {
        let series = format!("dsengine_frames_total{{source=\"c{n}\"}}");
        sample(metrics, &series).unwrap_or(0.0)
    };
    until("every source judges", || {
        let metrics = get(&page, "/metrics").1;
        (0..SOURCES).all(|n| judged(&metrics, n) >= 3.0)
    });
    let all = threads(run.pid());
    let lanes = all.iter().filter(|name| name.starts_with("lane")).count();
    let kib = rss_kib(run.pid());
    println!("{SOURCES} sources: {} threads, {lanes} of them for lanes, {kib} KiB", all.len());
    assert!(lanes <= THREADS_MAX, "{all:?}");
    // 2 GiB for a thousand.
    assert!(kib < 300 * 2 * 1024, "{kib} KiB");
}

/// Holds the frames of some sources until it is released, or each for a while.
#[derive(Default)]
struct Hold {
    is_released: Mutex<bool>,
    changed: Condvar,
}

impl Hold {
    fn release(&self) {
        *self.is_released.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

struct Holds(Arc<Hold>, Duration);

impl Strategy for Holds {
    fn name(&self) -> &str {
        "holds"
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, dsengine::strategy::Fault> {
        if view.frame.source.as_str().starts_with("slow") {
            let released = self.0.is_released.lock().unwrap();
            drop(self.0.changed.wait_timeout_while(released, self.1, |released| !*released).unwrap());
        }
        Ok(Verdict::default())
    }
}

/// How long the frames of quick sources waited for their lane, in nanoseconds.
#[derive(Default)]
struct Waits(Mutex<Vec<u64>>);

impl Observer for Waits {
    fn judged(&self, judged: &Judged<'_>) {
        if !judged.frame.source.as_str().starts_with("slow") {
            self.0.lock().unwrap().push(judged.waited_ns);
        }
    }
}

/// Both.
struct Both(Arc<Frames>, Arc<Waits>);

impl Observer for Both {
    fn judged(&self, judged: &Judged<'_>) {
        self.0.judged(judged);
        self.1.judged(judged);
    }
}

/// A site of quick sources and six slow ones, more than there are shared threads.
fn crowd(dir: &std::path::Path, fps: u32, slow: Duration) -> (Engine, Arc<Frames>, Arc<Waits>, Arc<Hold>) {
    let mut site = Site::new(dir, fps);
    let live = |id: String| source(&id, "scene:scene.yaml?pixels=false&live=true", "");
    site.sources = (0..6).map(|n| live(format!("slow{n}"))).chain((0..20).map(|n| live(format!("q{n}")))).collect();
    let (frames, waits, hold) = (Frames::new(), Arc::<Waits>::default(), Arc::<Hold>::default());
    let theirs = Arc::clone(&hold);
    let engine = Engine::builder(site.plan())
        .observer(Arc::new(Both(Arc::clone(&frames), Arc::clone(&waits))))
        .strategy("holds", move |_| Holds(Arc::clone(&theirs), slow))
        .start()
        .unwrap();
    (engine, frames, waits, hold)
}

#[test]
fn slow_sources_delay_the_others_by_a_bounded_time() {
    let quick: Vec<String> = (0..20).map(|n| format!("q{n}")).collect();
    let quick: Vec<&str> = quick.iter().map(String::as_str).collect();
    let dir = tempfile::tempdir().unwrap();
    // For ever: more lanes than shared threads do not return, and the others go on.
    let (engine, frames, _, hold) = crowd(dir.path(), 30, Duration::from_secs(60));
    frames.more(&quick, 20);
    assert!((0..6).all(|n| frames.count(&format!("slow{n}")) == 0), "they are held");
    hold.release();
    frames.more(&["slow0", "slow5"], 3);
    drop(engine);

    // By 80 ms on each frame: once they have threads of their own, the others do not wait for them.
    let (engine, frames, waits, hold) = crowd(dir.path(), 10, Duration::from_millis(80));
    frames.more(&quick, 10);
    waits.0.lock().unwrap().clear();
    frames.more(&quick, 30);
    let mut waited = waits.0.lock().unwrap().clone();
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(&mut waited, share) as f64 / 1e6);
    println!("six slow sources beside 20: these wait {p50:.2} ms at p50, {p99:.2} at p99, {most:.2} at most");
    assert!(!soak() || p99 <= 20.0, "{p99} ms");
    assert!(p50 <= 40.0, "{p50} ms");
    hold.release();
    drop(engine);
}

#[test]
fn changes_under_load_lose_no_frame_of_lanes_that_share_threads() {
    const SOURCES: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path(), 30);
    // Finite and in real time: whatever is not judged is lost.
    let waiting = |n| source(&format!("w{n}"), "scene:scene.yaml?pixels=false", ", realtime: true");
    site.sources = (0..SOURCES).map(waiting).collect();
    let ids: Vec<String> = site.sources.iter().map(|source| source.id.clone()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let frames = Frames::new();
    let engine = Engine::builder(site.plan()).observer(Arc::clone(&frames) as Arc<dyn Observer>).start().unwrap();
    frames.more(&ids, 3);
    let mut allowed = BTreeSet::from_iter(ids.iter().map(|id| site.marks(id)));
    for stamp in 2..6 {
        site.stamp = stamp;
        engine.apply(site.plan()).unwrap();
        allowed.extend(ids.iter().map(|id| site.marks(id)));
        frames.more(&ids, 3);
        ids.iter().for_each(|id| assert_eq!(frames.last(id).1, site.marks(id), "{id}"));
    }
    for id in ids {
        let all = frames.since(id, 0);
        assert!(all.iter().enumerate().all(|(n, frame)| frame.seq == n as u64), "{id}: {all:?}");
        assert!(all.iter().all(|frame| allowed.contains(&frame.rules.1)), "{id}: {all:?}");
        assert!(all.is_sorted_by_key(|frame| frame.rules.0.clone()), "{id}: generations go on");
    }
}
