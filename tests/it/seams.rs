//! What every strategy and every handler keeps to, in whatever language it is written: the same tests for the built-in
//! ones, for scripts and for components.

use std::path::PathBuf;
use std::sync::Arc;

use dsengine::alert::{Handler, Retry};
use dsengine::config::{GrantPlan, LimitPlan, ModulePlan, OnFailure, StrategyKind, StrategyPlan};
use dsengine::engine::Guests;
use dsengine::guest::{BreakerState, Fault, FaultKind};
use dsengine::strategy::{Motion, Strategy, Verdict, View, apply};
use dsengine::telemetry::Metrics;
use dsengine::track::{Tracker, Tracks};
use dsengine::types::{BBox, Colorimetry, Detection, Frame, Matrix, Picture, Point, Polygon, Range, SourceId, Zone};
use tokio::runtime::Runtime;

use crate::alerts::{alert, check_handler};
use crate::guests;
use crate::harness::root;
use crate::watch::Wall;

const FRAME_NS: u64 = 40_000_000;
/// Frames of a check: enough for anything that waits some frames.
const FRAMES: u64 = 12;

/// What a maker is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// One that works.
    Sound,
    /// One that fails on every frame, after it has written state, with this for its failures. `None` where no such can
    /// be made: a built-in one does not fail.
    Failing(OnFailure),
}

fn zones() -> Vec<Zone> {
    let corners = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)].map(|(x, y)| Point { x, y });
    vec![Zone { name: "door".into(), polygon: Polygon::new(corners.to_vec()).unwrap() }]
}

fn person(x: f32) -> Detection {
    Detection::new("person", 0, 0.9, BBox { x, y: 0.3, width: 0.1, height: 0.2 })
}

/// Frames with nothing in them, then with three people who walk, with pixels in which something moves; a gap in the
/// numbers in between.
fn frames() -> Vec<(Frame, Tracks)> {
    let (mut tracker, mut tracks) = (Tracker::default(), Tracks::default());
    let mut frame = |n: u64| {
        let seq = if n < FRAMES / 2 { n } else { n + 100 };
        let walked = n as f32 * 0.005;
        let people = if n < 2 { vec![] } else { [0.1, 0.6, 0.8].map(|x| person(x + walked)).to_vec() };
        let luma = (0..64 * 64).map(|at| if at / 64 == n as usize * 4 { 250 } else { 30 }).collect();
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        let picture = Picture::from_i420(64, 64, colorimetry, [luma, vec![128; 32 * 32], vec![128; 32 * 32]]);
        let mut frame = Frame {
            pts_ns: seq * FRAME_NS,
            width: 64,
            height: 64,
            detections: people,
            picture,
            ..Frame::empty("cam", seq)
        };
        tracker.update(frame.pts_ns, &mut frame.detections);
        tracks.observe(&frame, &zones());
        (frame, tracks.clone())
    };
    (0..FRAMES).map(&mut frame).collect()
}

fn judge(strategy: &mut dyn Strategy, (frame, tracks): &(Frame, Tracks)) -> Result<Verdict, Fault> {
    strategy.judge(&View { frame, tracks, zones: &zones() })
}

/// What every strategy keeps to. `make` builds each anew; nothing of a former one is in it.
fn check_strategy(make: impl Fn(Wanted) -> Option<Box<dyn Strategy>>) {
    let sound = || make(Wanted::Sound).expect("every maker has one that works");
    let (mut one, mut other) = (sound(), sound());
    let name = one.name().to_owned();
    assert!(!name.is_empty() && !one.version().is_empty());
    assert_eq!((other.name(), other.version()), (&*name, one.version()), "the same each time");
    assert_eq!(one.on_failure(), OnFailure::Pass, "{name}: unless it is told otherwise");

    // Verdicts make sense, and depend on what was shown alone; where there is nothing, there is nothing to say.
    let frames = frames();
    let mut said = Vec::new();
    for shown in &frames {
        let verdict = judge(&mut *one, shown).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(judge(&mut *other, shown).unwrap(), verdict, "{name}: frame {}", shown.0.seq);
        let mut detections = shown.0.detections.clone();
        apply(verdict.clone(), true, &mut detections).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        said.push(verdict);
    }
    assert_eq!(said[0], Verdict::default(), "{name}: an empty frame is left as it is");
    let bare = Frame { picture: None, detections: vec![], ..frames[0].0.clone() };
    assert_eq!(judge(&mut *sound(), &(bare, Tracks::default())).unwrap(), Verdict::default());

    // What it tells of itself.
    if let Some(health) = one.health() {
        assert_eq!((health.calls, health.skipped, health.faults.iter().sum::<u64>()), (FRAMES, 0, 0), "{name}");
        assert_eq!((health.breaker, health.disabled, health.last_fault), (BreakerState::Closed, false, None), "{name}");
        // A verdict that was not applied is its fault like any other.
        let fault = Fault { kind: FaultKind::Verdict, message: "the verdict makes no sense".into() };
        let (frame, tracks) = &frames[0];
        one.refused(&fault, &View { frame, tracks, zones: &zones() });
        let health = one.health().unwrap();
        assert_eq!(health.faults[FaultKind::Verdict as usize], 1, "{name}");
        assert_eq!(health.last_fault.as_deref(), Some("the verdict makes no sense"), "{name}");
    }

    // A successor goes on where its predecessor was, from the middle.
    let half = frames.len() / 2;
    let (mut first, mut second) = (sound(), sound());
    let before: Vec<Verdict> = frames[..half].iter().map(|shown| judge(&mut *first, shown).unwrap()).collect();
    assert_eq!(before, said[..half], "{name}");
    let handed = first.suspend().unwrap_or_else(|fault| panic!("{name}: {fault}"));
    second.resume(first.version(), &handed).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let again = second.suspend().unwrap();
    assert_eq!(again, handed, "{name}: hands over what it was handed");
    // One that has its background to learn from pixels has nothing to hand over, and learns it again.
    if !handed.is_empty() {
        let after: Vec<Verdict> = frames[half..].iter().map(|shown| judge(&mut *second, shown).unwrap()).collect();
        assert_eq!(after, said[half..], "{name}: as if there had been one");
    }

    for on_failure in [OnFailure::Pass, OnFailure::Skip, OnFailure::Disable] {
        let Some(mut failing) = make(Wanted::Failing(on_failure)) else { continue };
        assert_eq!(failing.on_failure(), on_failure, "{name}");
        for (faults, shown) in (1..=5).zip(&frames) {
            let fault = judge(&mut *failing, shown).expect_err("it fails");
            let health = failing.health().expect("what can fail tells of it");
            assert!(fault.message.contains(&name) || fault.message.contains('.'), "its own place: {fault}");
            assert_eq!(health.faults[fault.kind as usize], faults, "{name}: {:?}", health.faults);
            assert_eq!(health.faults.iter().sum::<u64>(), faults, "{name}");
            assert_eq!(health.last_fault, Some(fault.message), "{name}");
            assert_eq!(health.state_bytes, 0, "{name}: what a failed call wrote does not stay");
        }
        // After five it is left out for a while, or for good.
        assert_eq!(judge(&mut *failing, &frames[5]).unwrap(), Verdict::default(), "{name}");
        let health = failing.health().unwrap();
        assert_eq!((health.breaker, health.calls, health.skipped), (BreakerState::Open, 5, 1), "{name}");
        assert_eq!(health.disabled, on_failure == OnFailure::Disable, "{name}");
        // Tried again after ten seconds of frame time, unless it was for good.
        let mut later = frames[6].clone();
        later.0.pts_ns = frames[4].0.pts_ns + 10_000_000_000;
        assert_eq!(judge(&mut *failing, &later).is_err(), on_failure != OnFailure::Disable, "{name}");
    }
}

/// Deliveries that fail: what comes of it is as the maker was asked for, each time anew, and the handler stays usable.
fn check_failures(make: impl Fn(Retry) -> Arc<dyn Handler>) {
    let runtime = Runtime::new().unwrap();
    for retry in [Retry::Never, Retry::Later] {
        let handler = make(retry);
        for key in ["1", "2", "3"] {
            let error = runtime.block_on(handler.deliver(&alert(key))).expect_err("it fails");
            assert_eq!(error.retry, retry, "{}: {error}", handler.name());
            assert!(!error.message.is_empty() && error.message.len() < 2000, "{}: {error}", handler.name());
        }
    }
}

/// An engine's guests, with a runtime under them.
struct Shop {
    runtime: Runtime,
    _cache: tempfile::TempDir,
    cache: PathBuf,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { runtime: Runtime::new().unwrap(), cache: folder.path().join("cache"), _cache: folder }
    }

    fn guests(&self) -> Arc<Guests> {
        let cache = Some(self.cache.clone());
        let guests = Guests::start(Metrics::new(Wall::new()), self.runtime.handle().clone(), cache).unwrap();
        guests.know(&SourceId::from("cam"), &zones());
        guests
    }

    /// A strategy made as an engine makes it.
    fn strategy(
        &self,
        path: &str,
        bytes: &[u8],
        config: &serde_json::Value,
        on_failure: OnFailure,
    ) -> Box<dyn Strategy> {
        let path = PathBuf::from(path);
        let kind = match path.extension().is_some_and(|e| e == "wasm") {
            true => StrategyKind::Wasm(path),
            false => StrategyKind::Lua(path),
        };
        let plan = StrategyPlan {
            name: "rule".into(),
            kind,
            sources: vec![],
            filters: true,
            config: config.clone(),
            class: None,
            limits: LimitPlan::default(),
            grants: GrantPlan::default(),
            on_failure,
            shadow_of: None,
        };
        let version = self.guests().strategy(&plan, bytes, &Arc::default()).unwrap_or_else(|e| panic!("{e}"));
        version.instance(&SourceId::from("cam")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn handler(&self, path: &str, bytes: &[u8], config: serde_json::Value) -> Arc<dyn Handler> {
        let (limits, grants) = (LimitPlan::default(), GrantPlan::default());
        let plan = ModulePlan { path: path.into(), class: None, config, limits, grants };
        self.guests().handler("desk", &plan, bytes, &Arc::default()).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Counts people in the door over all frames, in the instance, and hands the count over.
const COUNTS: &str = "local seen = 0\nfunction detect(frame)\n  for i in frame:select{ label = 'person', zone = 'door' } do\n    \
                      seen += 1\n    frame:alert{ rule = 'door', key = i, message = ('%d'):format(seen), detections = { i } }\n  end\nend\n\
                      function suspend() return { seen = seen } end\nfunction resume(from, kept) seen = kept.seen end\n";

#[test]
fn the_built_in_strategy_keeps_to_the_rules_of_the_seam() {
    let config = serde_json::json!({ "warm_up_seconds": 0.0 });
    check_strategy(|wanted| match wanted {
        Wanted::Sound => Some(Box::new(Motion::new("motion", &config).unwrap())),
        Wanted::Failing(_) => None,
    });
}

#[test]
fn a_script_keeps_to_the_rules_of_the_seam() {
    let shop = Shop::new();
    let none = serde_json::json!({});
    check_strategy(|wanted| {
        Some(match wanted {
            Wanted::Sound => shop.strategy("rule.lua", COUNTS.as_bytes(), &none, OnFailure::Pass),
            Wanted::Failing(then) => {
                let text = b"function detect(frame) state.set('calls', 1) error('on purpose') end";
                shop.strategy("rule.lua", text, &none, then)
            }
        })
    });
}

#[test]
fn a_component_keeps_to_the_rules_of_the_seam() {
    let shop = Shop::new();
    let crowd = std::fs::read(root().join("plugins/prebuilt/crowd.wasm")).unwrap();
    let settings = serde_json::json!({ "zone": "door", "most": 1, "seconds": 0.1 });
    let none = serde_json::json!({});
    let failing = |then| shop.strategy("rule.wasm", &guests::count_and_trap(), &none, then);
    check_strategy(|wanted| {
        Some(match wanted {
            Wanted::Sound => shop.strategy("rule.wasm", &crowd, &settings, OnFailure::Pass),
            Wanted::Failing(then) => failing(then),
        })
    });
    check_strategy(|wanted| {
        Some(match wanted {
            Wanted::Sound => shop.strategy("rule.wasm", &guests::good(), &none, OnFailure::Pass),
            Wanted::Failing(then) => failing(then),
        })
    });
}

// The built-in handlers' turn is in `alerts`, with their receivers.

#[test]
fn a_scripts_deliveries_keep_to_the_rules_of_the_seam() {
    let shop = Shop::new();
    let handler = |text: &str| shop.handler("desk.lua", text.as_bytes(), serde_json::json!({}));
    check_handler(|| handler("function handle_alert(alert) log.info(alert.message) end"));
    check_failures(|retry| match retry {
        Retry::Never => handler("function handle_alert(alert) error('on purpose') end"),
        Retry::Later => handler("function handle_alert(alert) while true do end end"),
    });
}

#[test]
fn a_components_deliveries_keep_to_the_rules_of_the_seam() {
    let shop = Shop::new();
    let handler = |bytes: &[u8], config| shop.handler("desk.wasm", bytes, config);
    check_handler(|| handler(&guests::deliver(), serde_json::json!({})));
    check_failures(|retry| match retry {
        // A host that is not granted.
        Retry::Never => handler(&guests::asker(), serde_json::json!({ "url": "https://hooks.example/x" })),
        Retry::Later => handler(&guests::retry(), serde_json::json!({})),
    });
    check_failures(|retry| match retry {
        Retry::Never => handler(&guests::asker(), serde_json::json!({ "url": "https://hooks.example/x" })),
        Retry::Later => handler(&guests::trapping_handler(), serde_json::json!({})),
    });
}

#[test]
fn a_webhooks_refusals_keep_to_the_rules_of_the_seam() {
    let receivers = [404_u16, 503].map(crate::alerts::refusing);
    check_failures(|retry| receivers[usize::from(retry == Retry::Later)].handler());
}
