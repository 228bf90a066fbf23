//! Changes that fail on a lane, or late, and those that meet a version on probation.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use dsengine::engine::{Engine, EngineApi as _, Handle, Observer};
use dsengine::strategy::{Strategy, Verdict, View};

use super::seen::Frames;
use super::site::{Rule, Site, UNTOUCHED, source};
use crate::harness::{bar, write};

struct Running {
    /// Held so that it runs.
    _engine: Engine,
    handle: Handle,
    frames: Arc<Frames>,
    site: Site,
    dir: tempfile::TempDir,
}

impl Running {
    fn new(prepare: impl FnOnce(&mut Site)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Site::new(dir.path(), 100);
        prepare(&mut site);
        let frames = Frames::new();
        let engine = Engine::builder(site.plan()).observer(Arc::clone(&frames) as Arc<dyn Observer>).start().unwrap();
        frames.more(&UNTOUCHED, 3);
        Self { handle: engine.handle(), _engine: engine, frames, site, dir }
    }

    #[track_caller]
    fn apply(&self) {
        self.handle.apply(self.site.plan()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn generation(&self, rule: &str) -> u64 {
        self.handle.plugins().into_iter().find(|plugin| plugin.name == rule).unwrap().generation
    }

    /// Waits until it is so.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if is_so(self) {
                return;
            }
            self.frames.more(&["w0"], 10);
        }
        panic!("never {what}: {:?} {:?}", self.handle.status().problems, self.handle.plugins());
    }
}

#[test]
fn a_version_that_one_lane_refuses_is_taken_back_on_all_with_zones_and_rules() {
    let mut run = Running::new(|_| ());
    let before = UNTOUCHED.map(|id| run.frames.last(id));
    let counts = UNTOUCHED.map(|id| run.frames.count(id));
    let former = run.site.clone();
    run.site.stamp = 7;
    run.site.rules.insert(0, Rule::new("first"));
    run.site.rules[1].config = ", refuse_on: l1".into();
    run.site.throttle = 9;
    let error = run.handle.apply(run.site.plan()).expect_err("l1 refuses");
    assert!(error.message().contains("l1") && error.message().contains("it will not take over"), "{error}");
    run.frames.more(&UNTOUCHED, 3);
    for ((id, before), from) in UNTOUCHED.into_iter().zip(before).zip(counts) {
        assert_eq!(run.frames.last(id), before, "{id}");
        for frame in run.frames.since(id, from) {
            // The whole of one set or the whole of the other.
            assert!(frame.rules.1 == former.marks(id) || frame.rules.1 == run.site.marks(id), "{id}: {frame:?}");
        }
    }
    let status = run.handle.status();
    assert!(status.rejected.is_empty() && status.problems.is_empty(), "{:?}", status.problems);
    assert_eq!((run.generation("r0"), status.strategies.len()), (1, 2));
    // What refused is no hindrance to what comes next.
    run.site.rules[1].config.clear();
    run.apply();
    run.frames.more(&UNTOUCHED, 2);
    UNTOUCHED.iter().for_each(|id| assert_eq!(run.frames.last(id).1, run.site.marks(id), "{id}"));
}

/// Holds a frame for as long as it is told to.
#[derive(Default)]
struct Hold {
    held: Mutex<bool>,
    changed: Condvar,
}

struct Holds(Arc<Hold>);

/// Lets the frame go, however the test ends: the engine's end waits for its lanes.
struct Release(Arc<Hold>);

impl Drop for Release {
    fn drop(&mut self) {
        if let Ok(mut held) = self.0.held.lock() {
            *held = false;
        }
        self.0.changed.notify_all();
    }
}

impl Strategy for Holds {
    fn name(&self) -> &str {
        "holds"
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, dsengine::strategy::Fault> {
        if view.frame.source.as_str() == "e1" {
            let held = self.0.held.lock().unwrap();
            let _free = self.0.changed.wait_while(held, |held| *held).unwrap();
        }
        Ok(Verdict::default())
    }
}

#[test]
fn a_lane_that_is_busy_for_too_long_refuses_a_change_and_is_changed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path(), 30);
    let (frames, hold) = (Frames::new(), Arc::new(Hold::default()));
    let theirs = Arc::clone(&hold);
    let engine = Engine::builder(site.plan())
        .observer(Arc::clone(&frames) as Arc<dyn Observer>)
        .strategy("holds", move |_| Holds(Arc::clone(&theirs)))
        .start()
        .unwrap();
    let (handle, _release) = (engine.handle(), Release(Arc::clone(&hold)));
    frames.more(&["e1", "w0"], 3);
    *hold.held.lock().unwrap() = true;
    frames.more(&["w0"], 5);
    let (former, from) = (site.clone(), Instant::now());
    for edit in [|site: &mut Site| site.stamp = 5, |site: &mut Site| site.throttle = 5] {
        edit(&mut site);
        let started = Instant::now();
        let error = handle.apply(site.plan()).expect_err("e1 is busy");
        assert!(error.message().contains("a frame of e1 has been judged for 5 s"), "{error}");
        let took = started.elapsed();
        assert!(took < bar(Duration::from_secs(8)), "{took:?}");
        site = former.clone();
    }
    // A save is refused likewise, and the books say what runs.
    let rule = dir.path().join("rule.lua");
    let saved = format!("{}-- again\n", std::fs::read_to_string(&rule).unwrap());
    let error = handle.reload(&rule, saved.as_bytes()).expect_err("e1 is busy");
    assert!(error.message().contains("a frame of e1 has been judged for 5 s"), "{error}");
    let plugins = handle.plugins();
    assert!(plugins.iter().all(|plugin| (plugin.generation, plugin.on_probation) == (1, false)), "{plugins:?}");
    assert!(!handle.status().rejected.is_empty(), "it is told");
    // The others were not held up.
    let seconds = from.elapsed().as_secs() as usize;
    assert!(frames.count("w0") >= seconds * 20, "{} frames in {seconds} s", frames.count("w0"));
    *hold.held.lock().unwrap() = false;
    hold.changed.notify_all();
    frames.more(&["e1"], 3);
    assert_eq!(frames.last("e1").1, former.marks("e1"), "what was refused does not come later");
    assert_eq!(handle.reload(&rule, saved.as_bytes()).unwrap().lanes, 6);
    assert!(handle.status().rejected.is_empty(), "{:?}", handle.status().rejected);
    site.stamp = 6;
    handle.apply(site.plan()).unwrap();
    frames.more(&["e1"], 3);
    assert_eq!(frames.last("e1").1, site.marks("e1"));
}

#[test]
fn a_version_on_probation_goes_back_on_a_source_that_joined_meanwhile_too() {
    let mut run = Running::new(|_| ());
    // Faults once a file is there, which its probation sees.
    let late = "function detect(frame)\n  if frame.source == 'x' and frame.seq > 5 then error('late') end\nend\n";
    write(run.dir.path(), "late.lua", late);
    run.site.rules[0].module = "late.lua".into();
    run.apply();
    assert_eq!(run.generation("r0"), 2);
    run.site.sources.push(source("x", "scene:scene.yaml?pixels=false&live=true", ""));
    run.apply();
    run.frames.more(&["x"], 3);
    run.until("rolled back", |run| run.generation("r0") == 1);
    run.frames.more(&["x", "w0", "l1"], 3);
    for id in ["x", "w0", "l1"] {
        let rules = run.frames.last(id);
        assert_eq!(rules.0[0], ("r0".to_owned(), 1), "{id}: {rules:?}");
        assert!(rules.1[0].starts_with("r0="), "{id}: {rules:?}");
    }
    assert!(run.handle.status().problems.iter().any(|problem| problem.contains("late")), "{:?}", run.handle.status());
}

/// Faults on w0 after its first 150 frames, and lets a lane refuse what comes after it.
const LATE: &str = "local n, calls, source = 0, 0, ''
function detect(frame)
  n, source = n + 1, frame.source
  if n > 150 and source == 'w0' then error('late') end
end
function suspend()
  calls += 1
  return { source = source, calls = calls }
end
function resume(from, handed)
  if config.refuse_on == handed.source and handed.calls > 1 then error('it will not take over', 0) end
end
";

#[test]
fn a_version_on_probation_stays_on_probation_when_a_change_after_it_is_refused() {
    let mut run = Running::new(|_| ());
    write(run.dir.path(), "late.lua", LATE);
    run.site.rules[0].module = "late.lua".into();
    run.apply();
    run.frames.more(&["w0"], 5);
    run.site.rules[0].config = ", refuse_on: l1".into();
    let error = run.handle.apply(run.site.plan()).expect_err("l1 refuses");
    assert!(error.message().contains("it will not take over"), "{error}");
    let plugin = run.handle.plugins().into_iter().find(|plugin| plugin.name == "r0").unwrap();
    assert_eq!((plugin.generation, plugin.on_probation), (2, true));
    run.until("rolled back", |run| run.generation("r0") == 1);
    run.frames.more(&UNTOUCHED, 3);
    for id in UNTOUCHED {
        assert_eq!(run.frames.last(id).0[0], ("r0".to_owned(), 1), "{id}");
    }
}

#[test]
fn a_source_that_starts_again_begins_anew_and_the_others_go_on() {
    let run = Running::new(|_| ());
    let from = run.frames.count("e1");
    let others = run.frames.count("w1");
    run.handle.restart_source("e1").unwrap();
    run.frames.more(&["e1", "w1"], 3);
    let seqs: Vec<u64> = run.frames.since("e1", from).iter().map(|seen| seen.seq).collect();
    assert!(seqs.contains(&0), "{seqs:?}");
    assert!(run.frames.since("w1", others).windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    let error = run.handle.restart_source("nobody").expect_err("there is none");
    assert!(error.to_string().contains("there is no source 'nobody'"), "{error}");
    let states: Vec<&str> = run.handle.status().sources.iter().map(|source| source.state).collect();
    assert_eq!(states, ["running"; 6]);
}

#[test]
fn a_source_that_could_not_start_again_is_not_taken_down() {
    let good = super::site::scene(30);
    let run = Running::new(|site| {
        write(&site.dir, "own.yaml", &good);
        site.source("e1").uri = "scene:own.yaml?pixels=false&live=true".into();
    });
    write(run.dir.path(), "own.yaml", "seed: nothing\n");
    run.handle.restart_source("e1").expect_err("its scene is broken");
    let shown = |run: &Running| run.handle.status().sources.into_iter().find(|source| source.id == "e1").unwrap().state;
    assert_eq!(shown(&run), "running");
    let from = run.frames.count("e1");
    run.frames.more(&["e1"], 3);
    assert!(run.frames.since("e1", from).iter().all(|frame| frame.seq > 0), "it goes on");
    write(run.dir.path(), "own.yaml", &good);
    run.handle.restart_source("e1").unwrap();
    run.until("running", |run| shown(run) == "running");
}

#[test]
fn after_a_promotion_plans_go_on_to_be_applied() {
    let mut run = Running::new(|site| {
        let shadow = Rule { module: "other.lua".into(), shadow_of: Some("r0".into()), ..Rule::new("s") };
        site.rules.push(shadow);
    });
    run.handle.promote("s").unwrap();
    assert_eq!(run.generation("r0"), 2);
    run.until("its probation is over", |run| !run.handle.plugins().iter().any(|plugin| plugin.on_probation));
    run.site.sources.push(source("x", "scene:scene.yaml?pixels=false&live=true", ""));
    run.apply();
    run.frames.more(&["x", "w0"], 3);
    let rules = run.frames.last("x").0;
    assert_eq!(rules, run.frames.last("w0").0, "the promoted version judges the new source too");
    // The shadow is configured, and comes back with a change of its own.
    run.site.rules[2].config = ", other: 1".into();
    run.site.rules.insert(1, Rule::new("more"));
    run.apply();
    run.frames.more(&["x", "w0"], 3);
    let shadow = run.handle.plugins().into_iter().find(|plugin| plugin.name == "s").expect("it is back");
    assert_eq!((shadow.shadow_of.as_deref(), shadow.sources), (Some("r0"), 7));
}

#[test]
fn a_shadow_that_takes_anothers_place_goes_back_with_a_change_that_fails() {
    let mut run = Running::new(|site| {
        site.rules.push(Rule { shadow_of: Some("r0".into()), ..Rule::new("s") });
    });
    let calls = |run: &Running| {
        let page = run.handle.metrics().render();
        let series = "dsengine_strategy_calls_total{source=\"w0\",strategy=\"s\"}";
        crate::harness::sample(&page, series).unwrap_or(0.0)
    };
    run.until("the shadow judges", |run| calls(run) > 0.0);
    run.site.rules[2].name = "t".into();
    run.site.rules[1].config = ", refuse_on: l1".into();
    run.handle.apply(run.site.plan()).expect_err("l1 refuses");
    let before = calls(&run);
    run.until("the shadow judges again", |run| calls(run) > before + 5.0);
}

#[test]
fn an_engine_that_stops_while_it_changes_ends_both() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path(), 30);
    let engine = Engine::builder(site.plan()).start().unwrap();
    let handle = engine.handle();
    let plans: Vec<_> = (2..30).map(|stamp| Site { stamp, ..site.clone() }.plan()).collect();
    let (begun, first) = std::sync::mpsc::sync_channel(1);
    let asker = std::thread::spawn(move || {
        plans
            .into_iter()
            .map(|plan| {
                let done = handle.apply(plan).is_ok();
                let _ = begun.try_send(());
                done
            })
            .filter(|done| *done)
            .count()
    });
    first.recv().unwrap();
    let started = Instant::now();
    let _ = engine.drain(Duration::from_secs(5));
    assert!(started.elapsed() < bar(Duration::from_secs(6)), "{:?}", started.elapsed());
    assert!(asker.join().unwrap() >= 1);
}
