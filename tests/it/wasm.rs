//! WASM components as strategies and handlers: what they say, what stops them, what they cannot reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsengine::alert::{Handler as _, Retry};
use dsengine::guest::http::{Failure, Request, Response, Wire};
use dsengine::guest::{BreakerState, Grants, GuestContext, GuestKind, Limits, StateStore, Watchdog};
use dsengine::strategy::{Fault, FaultKind, Guarded, OnFailure, Strategy, Verdict, View, apply};
use dsengine::track::{Tracker, Tracks};
use dsengine::types::{Alert, AlertId, BBox, Detection, Frame, Level, Picture, Point, Polygon, SourceId, Zone};
use dsengine::wasm::{Host, Program, WasmGuest};
use rustix::time::{ClockId, clock_gettime};

use crate::guests;

const FRAME_NS: u64 = 40_000_000;

/// Everything an engine would have around its components.
struct Bench {
    host: Arc<Host>,
    watchdog: Arc<Watchdog>,
    store: StateStore,
    limits: Limits,
    config: serde_json::Value,
    grants: Grants,
}

impl Bench {
    fn new() -> Self {
        Self {
            host: Host::start(None).unwrap_or_else(|e| panic!("{e}")),
            watchdog: Watchdog::start().unwrap(),
            store: StateStore::default(),
            limits: Limits::wasm(),
            config: serde_json::json!({}),
            grants: Grants::default(),
        }
    }

    fn context(&self, source: Option<&str>) -> GuestContext {
        let (config, grants) = (Arc::new(self.config.clone()), Arc::new(self.grants.clone()));
        let source = source.map(SourceId::from);
        let watchdog = Arc::clone(&self.watchdog);
        let context = GuestContext::new("rule", source, self.limits.clone(), &self.store, watchdog);
        context.with_config(config).with_grants(grants).with_zones(&zones())
    }

    fn program(&self, bytes: &[u8]) -> Program {
        self.host.compile(bytes, &self.limits, "rule.wasm").unwrap_or_else(|e| panic!("{e}"))
    }

    fn camera(&self, bytes: &[u8]) -> Camera {
        let strategy = self.program(bytes).strategy(self.context(Some("cam")), OnFailure::Pass);
        Camera {
            strategy: strategy.unwrap_or_else(|e| panic!("{e}")),
            tracker: Tracker::default(),
            tracks: Tracks::default(),
            seq: 0,
            picture: None,
        }
    }

    fn refused(&self, bytes: &[u8]) -> String {
        match self.program(bytes).strategy(self.context(Some("cam")), OnFailure::Pass) {
            Ok(_) => panic!("loaded"),
            Err(error) => error.to_string(),
        }
    }

    /// The counter of the guests that count.
    fn calls(&self) -> u64 {
        let space = self.store.space("rule", Some(&SourceId::from("cam")));
        let space = space.lock();
        let bytes = space.get("calls", 0).map(|kept| kept.to_bytes()).unwrap_or_default();
        bytes.try_into().map(u64::from_le_bytes).unwrap_or_default()
    }
}

fn zones() -> Vec<Zone> {
    let corners = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)].map(|(x, y)| Point { x, y });
    vec![Zone { name: "door".into(), polygon: Polygon::new(corners.to_vec()).unwrap() }]
}

/// One camera with one component.
struct Camera {
    strategy: Guarded<WasmGuest>,
    tracker: Tracker,
    tracks: Tracks,
    seq: u64,
    picture: Option<Picture>,
}

fn person(x: f32, y: f32) -> Detection {
    Detection::new("person", 0, 0.9, BBox { x: x - 0.05, y: y - 0.2, width: 0.1, height: 0.2 })
}

impl Camera {
    fn frame(&mut self, detections: Vec<Detection>) -> Frame {
        let mut frame = Frame {
            pts_ns: self.seq * FRAME_NS,
            width: 1920,
            height: 1080,
            detections,
            picture: self.picture.clone(),
            ..Frame::empty("cam", self.seq)
        };
        self.seq += 1;
        self.tracker.update(frame.pts_ns, &mut frame.detections);
        self.tracks.observe(&frame, &zones());
        frame
    }

    fn see(&mut self, detections: Vec<Detection>) -> Result<Verdict, Fault> {
        let frame = self.frame(detections);
        self.strategy.judge(&View { frame: &frame, tracks: &self.tracks, zones: &zones() })
    }

    fn fault(&mut self) -> (FaultKind, String) {
        let fault = self.see(vec![person(0.7, 0.5)]).expect_err("a fault");
        (fault.kind, fault.message)
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn instances_beyond_the_pools_thousand_judge_and_are_stopped_like_the_others() {
    let bench = Bench::new();
    let program = bench.program(&guests::good());
    let zones = zones();
    let (mut tracks, frame) = (Tracks::default(), Frame { width: 1920, height: 1080, ..Frame::empty("cam", 0) });
    tracks.observe(&frame, &zones);
    let mut all: Vec<_> = (0..1_010)
        .map(|n| {
            let strategy = program.strategy(bench.context(Some(&format!("cam{n}"))), OnFailure::Pass);
            strategy.unwrap_or_else(|error| panic!("instance {n}: {error}"))
        })
        .collect();
    for (n, strategy) in all.iter_mut().enumerate() {
        let verdict = strategy.judge(&View { frame: &frame, tracks: &tracks, zones: &zones });
        assert!(verdict.is_ok(), "instance {n}: {verdict:?}");
    }
    // One that never ends is stopped outside the pool, too.
    let mut endless = bench.camera(&guests::spin());
    let (kind, message) = endless.fault();
    assert_eq!(kind, FaultKind::Time, "{message}");
    // Places that come free are used again.
    drop(all);
    assert!(bench.camera(&guests::good()).see(vec![person(0.7, 0.5)]).is_ok());
}

#[test]
fn a_verdict_is_applied_like_a_scripts() {
    let bench = Bench::new();
    let mut camera = bench.camera(&guests::good());
    let mut frame = camera.frame(vec![person(0.7, 0.5), person(0.2, 0.5)]);
    let view = View { frame: &frame, tracks: &camera.tracks, zones: &zones() };
    let verdict = camera.strategy.judge(&view).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(verdict.keep.as_deref(), Some(&[0][..]));
    let applied = apply(verdict, true, &mut frame.detections).unwrap();
    let raised = &applied.raised[0];
    assert_eq!((&*raised.rule, raised.level, &*raised.key), ("wat", Some(Level::High), "wat"));
    assert_eq!((&*raised.message, raised.detections.len(), applied.removed), ("wat0.1.0", 1, 1));
    assert_eq!(camera.strategy.version(), "0.1.0");
    assert_eq!(camera.see(vec![]).unwrap(), Verdict::default(), "an empty frame stays as it is");
    assert!(camera.strategy.health().unwrap().memory_bytes >= 65536);
}

#[test]
fn one_program_makes_instances_that_know_nothing_of_each_other() {
    let bench = Bench::new();
    let program = bench.program(&guests::counter());
    let mut cameras: Vec<_> = ["a", "b"]
        .map(|source| program.strategy(bench.context(Some(source)), OnFailure::Pass).unwrap_or_else(|e| panic!("{e}")))
        .into();
    let mut shared = bench.camera(&guests::counter());
    for _ in 0..3 {
        let frame = shared.frame(vec![]);
        cameras[0].judge(&View { frame: &frame, tracks: &shared.tracks, zones: &zones() }).unwrap();
    }
    let kept = |source: &str| bench.store.space("rule", Some(&SourceId::from(source))).lock().bytes();
    assert!(kept("a") > 0);
    assert_eq!((kept("b"), kept("cam")), (0, 0));
}

#[test]
fn a_trap_leaves_the_frame_and_the_next_has_a_fresh_instance() {
    let bench = Bench::new();
    let mut camera = bench.camera(&guests::trap());
    for _ in 0..2 {
        let (kind, message) = camera.fault();
        assert_eq!(kind, FaultKind::Trap);
        assert_eq!(message, "rule:judge: wasm `unreachable` instruction executed");
    }
    assert_eq!(camera.strategy.health().unwrap().faults[FaultKind::Trap as usize], 2);
}

#[test]
fn a_runaway_is_stopped_by_its_own_cpu_time() {
    let mut bench = Bench::new();
    // So that a busy machine meets the limit that this is about.
    bench.limits.call.wall = Duration::from_secs(60);
    let mut camera = bench.camera(&guests::spin());
    let before = cpu();
    let (kind, message) = camera.fault();
    let spent = cpu() - before;
    assert_eq!((kind, &*message), (FaultKind::Time, "rule:judge: stopped after 20 ms of CPU time"));
    assert!(spent >= bench.limits.call.hard_cpu, "{spent:?}");
    // Late looks of a busy machine, and nothing like a runaway.
    assert!(spent < bench.limits.call.hard_cpu + Duration::from_secs(1), "{spent:?}");
    assert_eq!(camera.fault().0, FaultKind::Time, "and so is the next");
}

#[test]
fn a_runaway_that_loads_is_refused() {
    let mut bench = Bench::new();
    bench.limits.load.hard_cpu = Duration::from_millis(30);
    let message = bench.refused(&guests::spin_in_init());
    assert!(message.contains("rule:init: stopped after 30 ms of CPU time"), "{message}");
    assert!(message.contains("init only sets things up"), "{message}");
    let message = bench.refused(&guests::spin_in_start());
    assert!(message.contains("rule:start: stopped after 30 ms of CPU time"), "{message}");
}

#[test]
fn slow_and_legal_is_not_stopped_and_counted_as_slow() {
    let mut bench = Bench::new();
    bench.limits.call.soft_cpu = Duration::ZERO;
    bench.limits.call.hard_cpu = Duration::from_secs(5);
    bench.limits.call.wall = Duration::from_secs(60);
    let mut camera = bench.camera(&guests::busy(30_000_000));
    camera.see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(camera.strategy.health().unwrap().slow, 1);
}

#[test]
fn memory_is_bounded() {
    let mut bench = Bench::new();
    // Touching this much takes a slow machine longer than a call may.
    bench.limits.call.hard_cpu = Duration::from_secs(20);
    bench.limits.call.wall = Duration::from_secs(60);
    let mut camera = bench.camera(&guests::grow());
    let (kind, message) = camera.fault();
    assert_eq!((kind, &*message), (FaultKind::Memory, "rule:judge: wants more than 64 MiB of memory"));
    assert_eq!(camera.strategy.health().unwrap().memory_bytes, 0, "the instance is gone");
    assert_eq!(camera.fault().0, FaultKind::Memory, "a fresh one does the same");
}

#[test]
fn recursion_is_bounded() {
    let (kind, message) = Bench::new().camera(&guests::recurse()).fault();
    assert_eq!(kind, FaultKind::Trap);
    assert_eq!(message, "rule:judge: needs more than 512 KiB of stack; does it call itself?");
}

#[test]
fn a_verdict_that_makes_no_sense_is_a_fault() {
    let bench = Bench::new();
    let said = |bytes: &[u8]| bench.camera(bytes).fault();
    let (kind, message) = said(&guests::index_out_of_range());
    assert_eq!(kind, FaultKind::Verdict);
    assert_eq!(message, "rule:judge: the verdict keeps detection 4000000000 of 1 (counted from 0)");
    let (kind, message) = said(&guests::nan_box());
    assert_eq!(kind, FaultKind::Verdict);
    assert!(message.contains("adds a 'wat' with the box x NaN"), "{message}");
    let (kind, message) = said(&guests::infinite_confidence());
    assert_eq!(kind, FaultKind::Verdict);
    assert!(message.contains("the confidence inf, which is not within 0..1"), "{message}");
}

#[test]
fn an_error_is_told_in_the_guests_words_and_leaves_the_instance() {
    let mut camera = Bench::new().camera(&guests::fail());
    assert_eq!(camera.fault(), (FaultKind::Error, "rule:judge: not today".into()));
    assert!(camera.strategy.health().unwrap().memory_bytes > 0);
}

#[test]
fn floods_are_trimmed_and_counted() {
    let bench = Bench::new();
    let mut camera = bench.camera(&guests::many_alerts(10_000));
    let verdict = camera.see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(verdict.alerts.len(), 16);
    assert_eq!(camera.strategy.health().unwrap().alerts_dropped, 10_000 - 16);

    let mut camera = bench.camera(&guests::long_message(1_000_000));
    let verdict = camera.see(vec![person(0.7, 0.5)]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(verdict.alerts[0].message.len(), 4096 + "…".len());
    assert_eq!(camera.strategy.health().unwrap().messages_cut, 1);

    let (kind, message) = bench.camera(&guests::long_message(40_000_000)).fault();
    assert_eq!((kind, &*message), (FaultKind::Memory, "rule:judge: hands over more than 8 MiB at once"));
    let (kind, _) = bench.camera(&guests::long_message(100_000_000)).fault();
    assert!(matches!(kind, FaultKind::Memory | FaultKind::Trap), "{kind:?}");
}

#[test]
fn what_refuses_to_load_says_why() {
    let bench = Bench::new();
    assert!(bench.refused(&guests::refuse()).contains("rule:init: config.zone is missing"));
    assert!(bench.refused(&guests::trap_in_init()).contains("rule:init: wasm `unreachable`"));
    let compile = |bytes: &[u8]| match bench.host.compile(bytes, &bench.limits, "rule.wasm") {
        Ok(_) => panic!("compiled"),
        Err(error) => error.message().to_owned(),
    };
    assert_eq!(
        compile(&guests::wrong_version()),
        "rule.wasm: plugin wants dsengine:plugin@0.3, this engine offers 0.1"
    );
    assert_eq!(
        compile(&guests::missing_export()),
        "rule.wasm: dsengine:plugin/strategy@0.1.0 lacks the function resume"
    );
    assert_eq!(compile(b"\0asm\x01\0\0\0"), "rule.wasm: this is a core module, not a component");
    let handler = bench.program(&guests::deliver()).strategy(bench.context(Some("cam")), OnFailure::Pass);
    assert_eq!(handler.err().unwrap().message(), "rule: the component is a handler, not a strategy");
}

#[test]
fn state_survives_and_what_a_failed_call_wrote_does_not() {
    let bench = Bench::new();
    let mut camera = bench.camera(&guests::counter());
    for _ in 0..3 {
        camera.see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    }
    assert_eq!(bench.calls(), 3);
    let (kind, _) = bench.camera(&guests::count_and_trap()).fault();
    assert_eq!((kind, bench.calls()), (FaultKind::Trap, 3), "the failed call left no trace");
    bench.camera(&guests::counter()).see(vec![]).unwrap();
    assert_eq!(bench.calls(), 4, "a successor goes on counting");
}

#[test]
fn state_is_only_read_while_a_component_hands_over_and_has_no_time_to_live_while_it_takes_over() {
    let bench = Bench::new();
    let mut camera = bench.camera(&guests::sets_in_suspend());
    let fault = camera.strategy.suspend().unwrap_err();
    assert!(fault.message.contains("rule:suspend: while a plugin hands over, state can only be read"), "{fault}");
    assert_eq!(bench.calls(), 0);
    let mut camera = bench.camera(&guests::sets_in_resume(true));
    let fault = camera.strategy.resume("0", b"").unwrap_err();
    assert!(fault.message.contains("rule:resume: no frame is at hand"), "{fault}");
    assert_eq!(bench.calls(), 0);
    bench.camera(&guests::sets_in_resume(false)).strategy.resume("0", b"").unwrap();
    assert_eq!(bench.calls(), 1, "what stays may be set");
}

#[test]
fn adding_to_what_is_no_number_is_a_fault_and_leaves_it() {
    let mut bench = Bench::new();
    bench.grants.has.shared_state = true;
    let kept = |bench: &Bench| {
        let shared = bench.store.shared("rule", GuestKind::Strategy);
        shared.lock().get("n", 0).map(|kept| kept.to_bytes()).unwrap_or_default()
    };
    let (kind, message) = bench.camera(&guests::adds_to("north")).fault();
    assert_eq!(kind, FaultKind::Trap);
    assert_eq!(message, "rule:judge: shared-state.add: what is kept under the key is no number");
    assert_eq!(kept(&bench), b"north");
    bench.camera(&guests::adds_to("41")).see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(kept(&bench), b"42.0");
}

#[test]
fn a_rehearsal_leaves_the_state_alone() {
    let bench = Bench::new();
    bench.camera(&guests::counter()).see(vec![]).unwrap();
    let context = bench.context(Some("cam")).rehearsal();
    let mut camera = bench.camera(&guests::counter());
    camera.strategy = bench.program(&guests::counter()).strategy(context, OnFailure::Pass).unwrap();
    for _ in 0..5 {
        camera.see(vec![]).unwrap();
    }
    assert_eq!(bench.calls(), 1);
}

#[test]
fn the_breaker_leaves_out_what_keeps_failing() {
    let mut camera = Bench::new().camera(&guests::trap());
    (0..5).for_each(|_| _ = camera.fault());
    assert_eq!(camera.see(vec![person(0.7, 0.5)]).unwrap(), Verdict::default());
    let health = camera.strategy.health().unwrap();
    assert_eq!((health.breaker, health.calls, health.skipped), (BreakerState::Open, 5, 1));
}

/// Answers every request with 200 and remembers it; refuses what is not granted, as the real one does.
#[derive(Default)]
struct FakeWire(Mutex<Vec<Request>>);

impl Wire for FakeWire {
    fn send(&self, request: Request, grants: &Grants, _: usize) -> Result<Response, Failure> {
        if !grants.has.http.iter().any(|host| request.url.contains(&**host)) {
            return Err(Failure::Denied("requests to that host are not granted".into()));
        }
        self.0.lock().unwrap().push(request);
        Ok(Response { status: 200, headers: vec![], body: vec![] })
    }
}

fn alert() -> Alert {
    Alert {
        id: AlertId::new(0, [0; 10]),
        level: Level::High,
        rule: "r".into(),
        source: SourceId::from("cam"),
        key: "k".into(),
        time: "2026-01-01T00:00:00.000Z".into(),
        pts_ns: 1,
        seq: 1,
        message: "m".into(),
        detections: vec![person(0.5, 0.5)],
        suppressed: 0,
        digest: None,
        tags: vec![],
        picture: false,
        evidence: None,
        expires_seconds: None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// What becomes of two deliveries in a row, and what went over the wire.
#[allow(clippy::type_complexity, reason = "a test's own shorthand")]
fn delivered(bench: &Bench, bytes: &[u8]) -> (Vec<Result<(), (Retry, String)>>, Vec<Request>) {
    let runtime = runtime();
    let wire = Arc::new(FakeWire::default());
    let network: Arc<dyn Wire> = Arc::<FakeWire>::clone(&wire);
    let handler = bench.program(bytes).handler(bench.context(None), network, runtime.handle().clone());
    let handler = handler.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((handler.name(), handler.version()), ("rule", "0.1.0"));
    let results = (0..2).map(|_| runtime.block_on(handler.deliver(&alert())).map_err(|e| (e.retry, e.message)));
    let results = results.collect();
    (results, std::mem::take(&mut *wire.0.lock().unwrap()))
}

#[test]
fn a_handler_delivers_over_the_wire_to_granted_hosts_only() {
    let mut bench = Bench::new();
    bench.config = serde_json::json!({ "url": "https://hooks.example/x" });
    let (results, sent) = delivered(&bench, &guests::asker());
    assert_eq!(results[0], Err((Retry::Never, "rule:handle-alert: requests to that host are not granted".into())));
    assert!(sent.is_empty());
    bench.grants.has.http = vec!["hooks.example".into()];
    let (results, sent) = delivered(&bench, &guests::asker());
    assert_eq!(results, [Ok(()), Ok(())]);
    assert_eq!((&*sent[0].method, &*sent[0].url, &*sent[0].body), ("POST", "https://hooks.example/x", &b"{}"[..]));
    assert_eq!(sent[0].timeout, Duration::from_secs(1));
}

#[test]
fn a_handlers_outcome_decides_what_becomes_of_the_alert() {
    let bench = Bench::new();
    assert_eq!(delivered(&bench, &guests::deliver()).0, [Ok(()), Ok(())]);
    let (results, _) = delivered(&bench, &guests::retry());
    assert_eq!(results[0], Err((Retry::Later, "rule:handle-alert: wants another try".into())));
    let (results, _) = delivered(&bench, &guests::trapping_handler());
    let trap = (Retry::Fault, "rule:handle-alert: wasm `unreachable` instruction executed".to_owned());
    assert_eq!(results, [Err(trap.clone()), Err(trap)], "the second had an instance of its own");
}

/// A strategy by hand that calls the older WASI: `judge` runs these instructions and changes nothing. What it finds
/// wrong, it traps on. Wants to see people only, and of those the ones it is surer of than 0.5.
fn by_hand(imports: &str, judge: &str) -> Vec<u8> {
    let text = format!(
        r#"(module {imports}
        (memory (export "memory") 32)
        (global $top (mut i32) (i32.const 65536))
        (data (i32.const 512) "wat0.1.0person")
        (data (i32.const 560) "\n\00\00\00\06\00\00\00")
        (data (i32.const 600) "thread '<unnamed>' panicked at src/lib.rs:12:5:\0aindex out of bounds\0a")
        (data (i32.const 700) "secretother")
        (func $fine (result i32) (memory.fill (i32.const 16) (i32.const 0) (i32.const 64)) (i32.const 16))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "dsengine:plugin/strategy@0.1.0#describe") (result i32)
            (drop (call $fine))
            (i32.store (i32.const 16) (i32.const 512)) (i32.store (i32.const 20) (i32.const 3))
            (i32.store (i32.const 24) (i32.const 515)) (i32.store (i32.const 28) (i32.const 5))
            (i32.store (i32.const 560) (i32.const 520)) (i32.store (i32.const 564) (i32.const 6))
            (i32.store (i32.const 36) (i32.const 560)) (i32.store (i32.const 40) (i32.const 1))
            (i32.store8 (i32.const 44) (i32.const 1))
            (i32.const 16))
        (func (export "dsengine:plugin/strategy@0.1.0#init") (result i32) (call $fine))
        (func (export "dsengine:plugin/strategy@0.1.0#should-process")
            (param i32 i32 i32 f32 f32 f32 f32 f32 i32 i64 i32 i32) (result i32)
            (f32.gt (local.get 3) (f32.const 0.5)))
        (func (export "dsengine:plugin/strategy@0.1.0#judge")
            (param i32 i32 i64 i64 i64 i32 i32 i32 i32 i32 i32) (result i32)
            {judge})
        (func (export "dsengine:plugin/strategy@0.1.0#suspend") (result i32) (call $fine))
        (func (export "dsengine:plugin/strategy@0.1.0#resume") (param i32 i32 i32 i32) (result i32) (call $fine)))"#
    );
    let module = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}"));
    dsengine::wasm::encode(&module).unwrap_or_else(|e| panic!("{e}"))
}

/// An import of the older WASI, `$name`, all parameters `i32` but where `kind` says otherwise.
fn old_wasi(name: &str, kind: &str) -> String {
    format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} {kind} (result i32)))"#)
}

#[test]
fn what_a_strategy_does_not_want_to_see_stays_and_indices_are_the_frames_own() {
    let bench = Bench::new();
    // Keeps only the first it is shown, and traps unless it is shown two.
    let judge = "(if (i32.ne (local.get 10) (i32.const 2)) (then unreachable))
        (drop (call $fine))
        (i32.store8 (i32.const 20) (i32.const 1))
        (i32.store (i32.const 192) (i32.const 0))
        (i32.store (i32.const 24) (i32.const 192)) (i32.store (i32.const 28) (i32.const 1))
        (i32.const 16)";
    let mut camera = bench.camera(&by_hand("", judge));
    let unsure = Detection { confidence: 0.4, ..person(0.1, 0.5) };
    let car = Detection { label: "car".into(), ..person(0.3, 0.9) };
    let verdict = camera.see(vec![car, unsure, person(0.5, 0.5), person(0.8, 0.5)]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(verdict.keep, Some(vec![0, 1, 2]), "the car and the unsure one were not its affair");
}

#[test]
fn detections_come_flat_with_each_label_once() {
    let bench = Bench::new();
    // Traps unless there are two labels and three detections (48 bytes each: label, class id, confidence, box at 12,
    // flag at 32, track id at 40), of which the last is of the second label and stands where it does.
    let judge = "(if (i32.ne (local.get $labels_len) (i32.const 2)) (then unreachable))
        (if (i32.ne (i32.load offset=12 (local.get $labels)) (i32.const 3)) (then unreachable))
        (if (i32.ne (local.get $count) (i32.const 3)) (then unreachable))
        (if (i32.load (local.get $detections)) (then unreachable))
        (if (i32.load offset=48 (local.get $detections)) (then unreachable))
        (if (i32.ne (i32.load offset=96 (local.get $detections)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load offset=100 (local.get $detections)) (i32.const 2)) (then unreachable))
        (if (f32.ne (f32.load offset=104 (local.get $detections)) (f32.const 0.75)) (then unreachable))
        (if (f32.ne (f32.load offset=120 (local.get $detections)) (f32.const 0.2)) (then unreachable))
        (call $fine)";
    let mut camera = bench.camera(&guests::looks(judge));
    let car = Detection { label: "car".into(), class_id: 2, confidence: 0.75, ..person(0.3, 0.9) };
    // Each `person` has a text of its own, as from two detectors.
    camera.see(vec![person(0.1, 0.5), person(0.5, 0.5), car]).unwrap_or_else(|f| panic!("{f}"));
}

#[test]
fn more_of_a_detection_is_fetched_by_its_index_in_what_was_handed_over() {
    let bench = Bench::new();
    let mut camera = bench.camera(&guests::curious());
    let told = |name: &str| Detection {
        attributes: [(name.to_owned(), dsengine::types::Value::Boolean(true))].into(),
        ..person(0.7, 0.5)
    };
    // Raises an alert about those in the zone `door`, with the name of the first one's first attribute as message.
    let verdict = camera.see(vec![person(0.1, 0.5), told("helmet")]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!((&*verdict.alerts[0].message, &*verdict.alerts[0].detections), ("helmet", &[1][..]));
    let verdict = camera.see(vec![told("vest"), person(0.1, 0.5)]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!((&*verdict.alerts[0].message, &*verdict.alerts[0].detections), ("vest", &[0][..]));
    let (kind, message) = bench.camera(&guests::asks_for_the_seventh()).fault();
    assert_eq!(kind, FaultKind::Trap);
    assert_eq!(message, "rule:judge: detections.attributes: no detection 7 of 1 (from 0)");
}

#[test]
fn the_environment_is_out_of_reach_without_a_grant() {
    let mut bench = Bench::new();
    // Traps unless it has as many variables as this.
    let guest = |count: u32| {
        let judge = format!(
            "(drop (call $environ_sizes_get (i32.const 192) (i32.const 196)))
             (if (i32.ne (i32.load (i32.const 192)) (i32.const {count})) (then unreachable)) (call $fine)"
        );
        by_hand(&old_wasi("environ_sizes_get", "(param i32 i32)"), &judge)
    };
    assert!(std::env::vars().count() > 1, "there is something to see");
    bench.camera(&guest(0)).see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    bench.grants.env = [("SITE".to_owned(), "north".to_owned())].into();
    bench.camera(&guest(1)).see(vec![]).unwrap_or_else(|f| panic!("{f}"));
}

#[test]
fn files_are_out_of_reach_without_a_grant_and_read_only_with_one() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "x").unwrap();
    let imports = old_wasi("fd_prestat_get", "(param i32 i32)")
        + &old_wasi("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32)")
        + &old_wasi("path_create_directory", "(param i32 i32 i32)");
    // The first folder, where there is one, is descriptor 3.
    let none = by_hand(
        &imports,
        "(if (i32.eqz (call $fd_prestat_get (i32.const 3) (i32.const 192))) (then unreachable)) (call $fine)",
    );
    bench.camera(&none).see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    bench.grants.has.files = vec![folder.path().to_owned()];
    let open = |flags: u32, name: u32, length: u32, rights: u64| {
        format!(
            "(call $path_open (i32.const 3) (i32.const 0) (i32.const {name}) (i32.const {length}) (i32.const {flags})
                (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 192))"
        )
    };
    // Reads (right 2) what is there; neither makes a file (flag 1) with the right to write (64), nor a folder.
    let judge = format!(
        "(if {read} (then unreachable))
         (if (i32.eqz {make}) (then unreachable))
         (if (i32.eqz {write}) (then unreachable))
         (if (i32.eqz (call $path_create_directory (i32.const 3) (i32.const 706) (i32.const 5))) (then unreachable))
         (call $fine)",
        read = open(0, 700, 6, 2),
        make = open(1, 706, 5, 66),
        write = open(0, 700, 6, 64),
    );
    let mut camera = bench.camera(&by_hand(&imports, &judge));
    camera.see(vec![]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn a_pipe_that_nobody_fills_costs_a_call_its_time_and_not_its_thread() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("secret");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let path = folder.path().to_owned();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bench = Bench::new();
        bench.grants.has.files = vec![path];
        bench.limits.call.wall = Duration::from_millis(200);
        let judge = "(drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 700) (i32.const 6) (i32.const 0)
                (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 192)))
             (call $fine)";
        let imports = old_wasi("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32)");
        let mut camera = bench.camera(&by_hand(&imports, judge));
        let _ = ended.send([camera.fault(), camera.fault()]);
    });
    let faults = end.recv_timeout(Duration::from_secs(20)).expect("the lane waits for a file for ever");
    for (kind, message) in faults {
        assert_eq!((kind, message.contains("stopped after 200 ms")), (FaultKind::Time, true), "{message}");
    }
}

#[test]
fn the_network_is_not_offered_to_components() {
    let bench = Bench::new();
    let functions = ["describe", "init", "should-process", "judge", "suspend", "resume"];
    let exports: String = functions.map(|f| format!("(export \"{f}\" (func $f))")).concat();
    let text = format!(
        r#"(component (import "wasi:sockets/tcp@0.2.0" (instance))
            (core module $m (func (export "f") (result i32) i32.const 1))
            (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "f")))
            (instance $s {exports})
            (export "dsengine:plugin/strategy@0.1.0" (instance $s)))"#
    );
    let bytes = wat::parse_str(text).unwrap();
    let error = bench.host.compile(&bytes, &bench.limits, "rule.wasm").err().unwrap();
    assert_eq!(error.message(), "rule.wasm: imports wasi:sockets/tcp@0.2.0, which plugins are not offered");
    assert!(error.to_string().contains("a handler sends requests with dsengine:plugin/http"), "{error}");
}

#[test]
fn what_is_imported_has_to_be_granted() {
    let mut bench = Bench::new();
    let import = r#"(import "dsengine:plugin/shared-state@0.1.0" "delete" (func $forget (param i32 i32)))"#;
    let guest = by_hand(import, "(call $forget (i32.const 700) (i32.const 6)) (call $fine)");
    let message = bench.refused(&guest);
    assert!(message.contains("rule imports state over all sources, which it has not asked for"), "{message}");
    assert!(message.contains("grants: {shared_state: true}"), "{message}");
    bench.grants.has.shared_state = true;
    bench.camera(&guest).see(vec![]).unwrap_or_else(|f| panic!("{f}"));
}

#[test]
fn a_panic_is_told_with_the_guests_own_file_and_line() {
    let bench = Bench::new();
    let imports = old_wasi("fd_write", "(param i32 i32 i32 i32)");
    let judge = "(i32.store (i32.const 192) (i32.const 600)) (i32.store (i32.const 196) (i32.const 70))
        (drop (call $fd_write (i32.const 2) (i32.const 192) (i32.const 1) (i32.const 200))) unreachable";
    let (kind, message) = bench.camera(&by_hand(&imports, judge)).fault();
    assert_eq!((kind, &*message), (FaultKind::Trap, "rule:judge: src/lib.rs:12:5: index out of bounds"));
}

#[test]
fn a_guest_that_sleeps_is_stopped_by_the_wall_ceiling_and_clocks_stand_at_frame_time() {
    let mut bench = Bench::new();
    bench.limits.call.wall = Duration::from_millis(40);
    // A subscription (48 bytes) to the monotonic clock (1 at 16) for an hour (nanoseconds at 24).
    let sleep = "(memory.fill (i32.const 192) (i32.const 0) (i32.const 48))
        (i32.store (i32.const 208) (i32.const 1)) (i64.store (i32.const 216) (i64.const 3600000000000))
        (drop (call $poll_oneoff (i32.const 192) (i32.const 256) (i32.const 1) (i32.const 320))) (call $fine)";
    let imports = old_wasi("poll_oneoff", "(param i32 i32 i32 i32)");
    let (kind, message) = bench.camera(&by_hand(&imports, sleep)).fault();
    assert_eq!((kind, &*message), (FaultKind::Time, "rule:judge: stopped after 40 ms"));

    let look = format!(
        "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 192)))
         (if (i64.ne (i64.load (i32.const 192)) (i64.const {})) (then unreachable)) (call $fine)",
        7 * FRAME_NS
    );
    let mut camera = bench.camera(&by_hand(&old_wasi("clock_time_get", "(param i32 i64 i32)"), &look));
    camera.seq = 7;
    camera.see(vec![]).unwrap_or_else(|f| panic!("{f}"));
}

/// A component of `plugins/`, as it is committed.
fn prebuilt(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/prebuilt").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_component_in_rust_judges_counts_and_hands_over() {
    let mut bench = Bench::new();
    bench.config = serde_json::json!({ "zone": "yard" });
    let message = bench.refused(&prebuilt("crowd.wasm"));
    assert!(message.contains("rule:init: config.zone is 'yard', and this source has no such zone"), "{message}");
    bench.config = serde_json::json!({ "zone": "door", "most": 2, "seconds": 0.1 });
    let mut camera = bench.camera(&prebuilt("crowd.wasm"));
    let crowd = || vec![person(0.7, 0.5), person(0.2, 0.5), person(0.8, 0.5)];
    let alerts: Vec<_> = (0..4).map(|_| camera.see(crowd()).unwrap_or_else(|f| panic!("{f}")).alerts).collect();
    assert_eq!(alerts.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 1], "0.1 s are three frames later");
    assert_eq!((&*alerts[3][0].message, &*alerts[3][0].detections), ("2 people in door", &[0, 2][..]));
    assert_eq!(bench.calls(), 4);

    let handed = camera.strategy.suspend().unwrap();
    let version = camera.strategy.version().to_owned();
    let mut successor = bench.camera(&prebuilt("crowd.wasm"));
    successor.strategy.resume(&version, &handed).unwrap();
    successor.seq = 4;
    assert_eq!(successor.see(crowd()).unwrap().alerts.len(), 1, "goes on where its predecessor was");
    let mut fresh = bench.camera(&prebuilt("crowd.wasm"));
    fresh.seq = 5;
    assert_eq!(fresh.see(crowd()).unwrap().alerts.len(), 0);
}

#[test]
fn compiled_components_are_kept_in_a_private_folder() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("cache");
    let limits = Limits::wasm();
    let files = || -> Vec<PathBuf> { std::fs::read_dir(&place).unwrap().map(|e| e.unwrap().path()).collect() };
    for _ in 0..2 {
        let host = Host::start(Some(place.clone())).unwrap_or_else(|e| panic!("{e}"));
        host.compile(&guests::good(), &limits, "good.wasm").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(files().len(), 1);
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&files()[0])), (0o700, 0o600));
    // What is broken is compiled again, and written anew.
    let file = files().remove(0);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let host = Host::start(Some(place.clone())).unwrap();
    host.compile(&guests::good(), &limits, "good.wasm").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(std::fs::read(&file).unwrap().len(), whole.len());
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    // What others can write is not loaded; it is compiled instead, and nothing is left there.
    std::fs::remove_file(&file).unwrap();
    let host = Host::start(Some(place.clone())).unwrap_or_else(|e| panic!("{e}"));
    host.compile(&guests::good(), &limits, "good.wasm").unwrap_or_else(|e| panic!("{e}"));
    assert!(files().is_empty(), "{:?}", files());
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // No folder can be there, even for root; /proc takes none.
    for place in [file.join("cache"), file.clone(), "/proc/nowhere/dsengine".into(), "/dev/null/.cache/dsengine".into()]
    {
        let host = Host::start(Some(place)).unwrap_or_else(|e| panic!("{e}"));
        host.compile(&guests::good(), &Limits::wasm(), "good.wasm").unwrap_or_else(|e| panic!("{e}"));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.wasm"), guests::good()).unwrap();
    let trace = "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"0\",\"start_unix_ns\":0}\n";
    crate::harness::write(dir.path(), "t.jsonl", trace);
    let config = "sources: [{ id: s, uri: 'trace:t.jsonl' }]\n\
                  detection: { strategies: [{ name: g, module: good.wasm }] }\n\
                  monitoring: { enabled: false }\nalerts: { handlers: [] }\n";
    crate::harness::write(dir.path(), "c.yaml", config);
    for context in ["/dev/null", "/proc"] {
        for command in [&["validate", "c.yaml"][..], &["run", "--config", "c.yaml"]] {
            let run = crate::harness::Dsengine::new(command).cwd(dir.path()).env("HOME", context);
            run.env("XDG_CACHE_HOME", "").env("XDG_STATE_HOME", "").run().expect(0);
        }
    }
}

#[test]
fn what_compiles_too_slowly_or_is_too_large_is_refused() {
    let bench = Bench::new();
    let mut limits = Limits::wasm();
    limits.compile = Duration::ZERO;
    let error = bench.host.compile(&guests::good(), &limits, "good.wasm").err().unwrap();
    assert!(error.message().contains("takes longer than 0 s"), "{error}");
    let limits = Limits { component_bytes: 100, ..Limits::wasm() };
    let error = bench.host.compile(&guests::good(), &limits, "good.wasm").err().unwrap();
    assert!(error.message().contains("the limit is 100"), "{error}");
}
