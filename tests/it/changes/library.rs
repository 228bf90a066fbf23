//! Plans by chance, applied to an engine in this process while six sources run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dsengine::engine::{Engine, EngineApi as _, Handle, Observer};

use super::edits::{Edit, valid, wrong};
use super::seen::{Frames, Rules, Seen};
use super::site::{Site, UNTOUCHED};
use crate::harness::soak;

/// Edits of the short version, in rounds: four that can be taken, then one that cannot.
const EDITS: usize = 60;
const EDITS_SOAK: usize = 1500;
/// Frames a second of each source, so that many fall into each change.
const FPS: u32 = 100;

/// What runs, without what counts on by itself.
fn standing(handle: &Handle) -> String {
    let status = handle.status();
    let mut text = format!("{} {:?} {:?} {:?}\n", status.name, status.health, status.problems, status.rejected);
    for source in &status.sources {
        text += &format!("source {} {} {:?}\n", source.id, source.state, source.error);
    }
    for s in &status.strategies {
        text += &format!("strategy {} {} {} {} {:?}\n", s.name, s.kind, s.generation, s.degraded, s.last_error);
    }
    for handler in &status.handlers {
        text += &format!("handler {}\n", handler.name);
    }
    for p in handle.plugins() {
        text += &format!(
            "plugin {} {} {} {:?} {} {:?}\n",
            p.name, p.module, p.generation, p.shadow_of, p.sources, p.last_error
        );
    }
    // The sources and rules that have series.
    let series = handle.metrics().render();
    let labels = series.lines().filter(|line| line.starts_with("dsengine_strategy_calls_total{"));
    let names: BTreeSet<&str> =
        labels.flat_map(|line| line.split(['{', ',', '}']).filter(|part| part.contains("=\""))).collect();
    text + &names.into_iter().collect::<Vec<_>>().join("\n")
}

/// An engine that is edited, and what is known of it.
struct Edited {
    engine: Engine,
    frames: Arc<Frames>,
    site: Site,
    _dir: tempfile::TempDir,
}

impl Edited {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path(), FPS);
        let frames = Frames::new();
        let engine = Engine::builder(site.plan()).observer(Arc::clone(&frames) as Arc<dyn Observer>).start().unwrap();
        frames.more(&UNTOUCHED, 3);
        Self { engine, frames, site, _dir: dir }
    }

    /// Applies an edit and checks everything that has to hold.
    fn apply(&mut self, edit: Edit) {
        let handle = self.engine.handle();
        let marks: BTreeMap<&str, (usize, Rules)> =
            UNTOUCHED.map(|source| (source, (self.frames.count(source), self.frames.last(source)))).into();
        let (before, plan) = (standing(&handle), handle.plan());
        let outcome = handle.apply(edit.next.plan());
        let Edit { what, next, wrong, late } = edit;
        self.frames.more(&UNTOUCHED, 2);
        match (&outcome, &wrong) {
            (Ok(_), None) => self.site = next,
            (Err(error), Some(part)) => {
                let named = error.part().unwrap_or_default();
                assert_eq!(named, part, "{what}: {error}");
                assert_eq!(handle.plan(), plan, "{what}");
                self.same_standing(&before, &what);
            }
            (outcome, _) => panic!("{what}: {outcome:?}"),
        }
        for (source, (from, former)) in marks {
            let frames = self.frames.since(source, from);
            let after = self.frames.last(source);
            let marks = self.site.marks(source);
            assert_eq!(after.1, marks, "{what}: {source} is judged by other rules than the plan's");
            let names: Vec<&str> = after.0.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, self.site.judging(source), "{what}: {source}");
            if wrong.is_some() {
                assert_eq!(after, former, "{what}: {source} is judged as before");
            }
            check(&frames, &former, &after, late, &format!("{what}: {source}"));
        }
    }

    /// What runs is as it was; a source that was taken down comes back to where it stood.
    fn same_standing(&self, before: &str, what: &str) {
        let handle = self.engine.handle();
        for _ in 0..50 {
            if standing(&handle) == before {
                return;
            }
            self.frames.more(&["w0"], 5);
        }
        assert_eq!(standing(&handle), before, "{what}");
    }

    /// Every frame of a waiting source, and of a live one every frame that is not counted as dropped, once, in order.
    fn finish(self) {
        let status = self.engine.handle().status();
        for id in UNTOUCHED {
            let frames = self.frames.since(id, 0);
            let source = status.sources.iter().find(|source| source.id == id).unwrap();
            let expected = frames.last().unwrap().seq + 1;
            let ordered = frames.windows(2).all(|pair| pair[0].seq < pair[1].seq);
            assert!(ordered, "{id}: frames are judged once and in order");
            let missing = expected - frames.len() as u64;
            let dropped: u64 = if id.starts_with('w') { 0 } else { source.dropped.values().sum() };
            assert!(missing <= dropped, "{id}: {missing} of {expected} frames are missing, {:?}", source.dropped);
            println!("{id}: {} frames judged, {missing} dropped", frames.len());
        }
        let summary = self.engine.drain(Duration::from_secs(5));
        assert!(!summary.any_broken(), "{summary:?}");
    }
}

/// Each frame is judged by the rules from before or by those from after, and once by the latter no more by the former.
fn check(frames: &[Seen], before: &Rules, after: &Rules, late: bool, what: &str) {
    let mut changed = false;
    for Seen { seq, rules } in frames {
        let stamps: Vec<&str> =
            rules.1.iter().filter_map(|mark| mark.split_once('=')).map(|(_, stamp)| stamp).collect();
        let whole = stamps.iter().all(|stamp| {
            let (own, zones) = stamp.split_once('/').unwrap();
            stamp == &stamps[0] && zones == format!("z{own}")
        });
        assert!(whole, "{what}: frame {seq} is judged by a mix: {:?}", rules.1);
        if late {
            continue;
        }
        changed |= rules == after && after != before;
        let expected = if changed { after } else { before };
        assert_eq!(rules, expected, "{what}: frame {seq}; before {before:?}, after {after:?}");
    }
}

#[test]
fn plans_by_chance_lose_no_frame_and_mix_no_rules_and_wrong_ones_change_nothing() {
    let seed = std::env::var("DSENGINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut edited = Edited::start();
    for n in 0..if soak() { EDITS_SOAK } else { EDITS } {
        let edit = if n % 4 == 3 { wrong(&edited.site, &mut rng, n / 4) } else { valid(&edited.site, &mut rng, n) };
        edited.apply(edit);
    }
    edited.finish();
}
