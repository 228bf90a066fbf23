//! What every strategy and every handler keeps to, in whatever language it is written: the same tests for the built-in
//! ones, for scripts and for components.

use std::path::PathBuf;
use std::sync::Arc;

use dsengine::alert::{Handler, Retry};
use dsengine::config::{GrantPlan, LimitPlan, ModulePlan, OnFailure, StrategyKind, StrategyPlan};
use dsengine::engine::Guests;
use dsengine::guest::{BreakerState, Fault, FaultKind};
use dsengine::strategy::check::{frames, judge, zones};
use dsengine::strategy::{self, Motion, Strategy, Verdict, View};
use dsengine::telemetry::Metrics;
use dsengine::types::SourceId;
use tokio::runtime::Runtime;

use crate::alerts::{alert, check_handler};
use crate::guests;
use crate::harness::root;
use crate::watch::Wall;

/// What a maker is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// One that works.
    Sound,
    /// One that fails on every frame, after it has written state, with this for its failures. `None` where no such can
    /// be made: a built-in one does not fail.
    Failing(OnFailure),
}

/// What every strategy keeps to. `make` builds each anew; nothing of a former one is in it.
fn check_strategy(make: impl Fn(Wanted) -> Option<Box<dyn Strategy>>) {
    let sound = || make(Wanted::Sound).expect("every maker has one that works");
    strategy::check::check_strategy(sound).unwrap_or_else(|rule| panic!("{}: {rule}", sound().name()));
    let (mut one, frames) = (sound(), frames());
    let name = one.name().to_owned();
    assert_eq!(one.on_failure(), OnFailure::Pass, "{name}: unless it is told otherwise");
    if one.health().is_some() {
        // A verdict that was not applied is its fault like any other.
        let fault = Fault { kind: FaultKind::Verdict, message: "the verdict makes no sense".into() };
        let (frame, tracks) = &frames[0];
        one.refused(&fault, &View { frame, tracks, zones: &zones() });
        let health = one.health().unwrap();
        assert_eq!(health.faults[FaultKind::Verdict as usize], 1, "{name}");
        assert_eq!(health.last_fault.as_deref(), Some("the verdict makes no sense"), "{name}");
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

/// Deliveries that fail: each handler always says the same about another attempt, and stays usable.
fn check_failures<const N: usize>(failing: [(Retry, Arc<dyn Handler>); N]) {
    let runtime = Runtime::new().unwrap();
    for (retry, handler) in failing {
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
        guests.set_zones(&SourceId::from("cam"), &zones());
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
            filters: true,
            config: config.clone(),
            on_failure,
            persist_state: false,
            ..StrategyPlan::new("rule", kind)
        };
        let version = self.guests().strategy(&plan, bytes, &Arc::default()).unwrap_or_else(|e| panic!("{e}"));
        version.instance(&SourceId::from("cam")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn handler(&self, path: &str, bytes: &[u8], config: serde_json::Value) -> Arc<dyn Handler> {
        let (limits, grants) = (LimitPlan::default(), GrantPlan::default());
        let (path, extensions) = (path.into(), Arc::default());
        let plan = ModulePlan { path, class: None, config, limits, grants, persist_state: false, extensions };
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
    check_failures([
        (Retry::Fault, handler("function handle_alert(alert) error('on purpose') end")),
        (Retry::Later, handler("function handle_alert(alert) while true do end end")),
    ]);
}

#[test]
fn a_components_deliveries_keep_to_the_rules_of_the_seam() {
    let shop = Shop::new();
    let handler = |bytes: &[u8], config| shop.handler("desk.wasm", bytes, config);
    check_handler(|| handler(&guests::deliver(), serde_json::json!({})));
    check_failures([
        // A host that is not granted.
        (Retry::Never, handler(&guests::asker(), serde_json::json!({ "url": "https://hooks.example/x" }))),
        (Retry::Later, handler(&guests::retry(), serde_json::json!({}))),
        (Retry::Fault, handler(&guests::trapping_handler(), serde_json::json!({}))),
    ]);
}

#[test]
fn a_webhooks_refusals_keep_to_the_rules_of_the_seam() {
    let receivers = [404_u16, 503].map(crate::alerts::refusing);
    check_failures([(Retry::Never, receivers[0].handler()), (Retry::Later, receivers[1].handler())]);
}
