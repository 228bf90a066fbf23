//! Lua scripts as strategies: what they see, what they say, what stops them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsengine::config::OnFailure;
use dsengine::guest::{BreakerState, FaultKind, Grants, GuestContext, Limits, Needs, StateStore, Watchdog};
use dsengine::lua::{self, LuaStrategy, Script};
use dsengine::strategy::{Applied, Strategy, Verdict, View, apply};
use dsengine::track::{Tracker, Tracks};
use dsengine::types::{BBox, Detection, Frame, Level, Picture, Point, Polygon, SourceId, Zone};

const FRAME_NS: u64 = 40_000_000;

/// One camera with a zone "door" in its right half, its tracker, and one script.
pub(crate) struct Camera {
    pub(crate) strategy: LuaStrategy,
    tracker: Tracker,
    tracks: Tracks,
    zones: Vec<Zone>,
    pub(crate) seq: u64,
    /// What its frames show.
    pub(crate) picture: Option<Picture>,
    /// When they are captured.
    pub(crate) captured_unix_ns: u64,
}

fn zone(name: &str, x0: f32, y0: f32, x1: f32, y1: f32) -> Zone {
    let corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)].map(|(x, y)| Point { x, y });
    Zone { name: name.into(), polygon: Polygon::new(corners.to_vec()).unwrap() }
}

/// A place of its own for the rule "rule" on "cam", with what the manifest would ask for granted.
pub(crate) fn context(needs: Needs, state: &StateStore) -> GuestContext {
    let grants = Arc::new(Grants { has: needs, ..Grants::default() });
    let watchdog = Watchdog::start().unwrap();
    let cam = Some(SourceId::from("cam"));
    GuestContext::new("rule", cam, Limits::lua(), state, watchdog).with_grants(grants)
}

pub(crate) fn script(text: &str) -> Script {
    script_of(context(Needs::default(), &StateStore::default()), text)
}

pub(crate) fn script_of(context: GuestContext, text: &str) -> Script {
    Script {
        context,
        file: "scripts/x.lua".into(),
        text: text.into(),
        class: None,
        roots: vec![],
        on_failure: OnFailure::Pass,
    }
}

/// The script with settings of its own.
pub(crate) fn with_config(mut script: Script, config: serde_json::Value) -> Script {
    script.context.config = Arc::new(config);
    script
}

pub(crate) fn camera_of(script: Script) -> Camera {
    let strategy = lua::load(script).unwrap_or_else(|e| panic!("{e}"));
    let zones = vec![zone("door", 0.5, 0.0, 1.0, 1.0)];
    let (tracker, tracks) = (Tracker::default(), Tracks::default());
    Camera { strategy, tracker, tracks, zones, seq: 0, picture: None, captured_unix_ns: 0 }
}

pub(crate) fn camera(text: &str) -> Camera {
    camera_of(script(text))
}

fn refused(text: &str) -> String {
    match lua::load(script(text)) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn person(x: f32, y: f32, confidence: f32) -> Detection {
    Detection::new("person", 0, confidence, BBox { x: x - 0.05, y: y - 0.2, width: 0.1, height: 0.2 })
}

pub(crate) fn car(x: f32, y: f32, confidence: f32) -> Detection {
    Detection::new("car", 2, confidence, BBox { x: x - 0.1, y: y - 0.1, width: 0.2, height: 0.1 })
}

impl Camera {
    fn frame(&mut self, detections: Vec<Detection>) -> Frame {
        let mut frame = Frame {
            pts_ns: self.seq * FRAME_NS,
            captured_unix_ns: self.captured_unix_ns,
            width: 1920,
            height: 1080,
            detections,
            picture: self.picture.clone(),
            ..Frame::empty("cam", self.seq)
        };
        self.seq += 1;
        self.tracker.update(frame.pts_ns, &mut frame.detections);
        self.tracks.observe(&frame, &self.zones);
        frame
    }

    pub(crate) fn see(&mut self, detections: Vec<Detection>) -> Result<Verdict, dsengine::guest::Fault> {
        let frame = self.frame(detections);
        self.strategy.judge(&View { frame: &frame, tracks: &self.tracks, zones: &self.zones })
    }

    /// What the script's one alert says of a frame; the way tests look inside.
    pub(crate) fn says(&mut self, detections: Vec<Detection>) -> String {
        self.see(detections).unwrap_or_else(|f| panic!("{f}")).alerts.remove(0).message
    }

    pub(crate) fn fault(&mut self, detections: Vec<Detection>) -> (FaultKind, String) {
        let fault = self.see(detections).expect_err("a fault");
        (fault.kind, fault.message)
    }

    pub(crate) fn applied(&mut self, detections: Vec<Detection>, filters: bool) -> (Applied, Vec<Detection>) {
        let mut frame = self.frame(detections);
        let view = View { frame: &frame, tracks: &self.tracks, zones: &self.zones };
        let verdict = self.strategy.judge(&view).unwrap_or_else(|f| panic!("{f}"));
        let applied = apply(verdict, filters, &mut frame.detections).unwrap();
        (applied, frame.detections)
    }
}

fn labels(detections: &[Detection]) -> Vec<&str> {
    detections.iter().map(|d| &*d.label).collect()
}

#[test]
fn a_script_reads_the_frame_through_its_cursor() {
    let mut camera = camera(
        r#"
        function detect(frame)
            local x, y, w, h = frame:bbox(2)
            local said = {
                frame:count(), frame:label(1), frame:label(2), frame:class_id(2),
                ("%.2f"):format(frame:confidence(1)), ("%.2f %.2f %.2f %.2f"):format(x, y, w, h),
                frame:track_id(1), frame.source, frame.seq, frame.width, frame.height, frame.time, time.now(),
                tostring(frame:in_zone(1, "door")), tostring(frame:in_zone(2, "door")), table.concat(frame:zones(), "+"),
            }
            frame:alert{ rule = "r", message = table.concat(said, " ") }
        end
        "#,
    );
    camera.seq = 25;
    let said = camera.says(vec![person(0.25, 0.5, 0.9), car(0.7, 0.5, 0.6)]);
    assert_eq!(said, "2 person car 2 0.90 0.60 0.40 0.20 0.10 1 cam 25 1920 1080 1 1 false true door");
    assert_eq!(camera.fault(vec![]).1, "scripts/x.lua:3: frame:bbox: no detection 2: this frame has 0, counted from 1");
}

#[test]
fn a_selection_is_iterated_counted_and_collected() {
    let mut camera = camera(
        r#"
        function detect(frame)
            local seen = {}
            for i in frame:select{ label = "person", min_confidence = 0.5 } do table.insert(seen, i) end
            local inside = frame:select{ zone = "door" }
            local both = frame:select{ label = {"person", "car"} }:collect()
            frame:alert{ rule = "r", detections = inside, message = ("%s | %d %s | %s"):format(
                table.concat(seen, " "), inside:count(), tostring(inside[1]), table.concat(both, " ")) }
        end
        "#,
    );
    let crowd = || vec![person(0.2, 0.5, 0.9), car(0.7, 0.5, 0.6), person(0.8, 0.5, 0.3), person(0.9, 0.5, 0.8)];
    let verdict = camera.see(crowd()).unwrap();
    assert_eq!(verdict.alerts[0].message, "1 4 | 3 2 | 1 2 3 4");
    assert_eq!(verdict.alerts[0].detections, [1, 2, 3], "the engine counts from 0");
    assert_eq!(camera.says(vec![]), " | 0 nil | ", "an empty frame");
    let large = camera.see(vec![crowd(); 30].concat()).unwrap();
    assert_eq!(large.alerts[0].detections.len(), 90, "a larger one than the buffer had room for");
}

#[test]
fn a_selection_of_an_earlier_frame_is_refused() {
    for (body, message) in [
        ("frame:keep(old)", "frame:keep: this selection is of an earlier frame; call frame:select again"),
        (
            "frame:alert{ rule = 'r', detections = old }",
            "frame:alert: this selection is of an earlier frame; call frame:select again",
        ),
        ("old:collect()", "selection:collect: this selection is of an earlier frame; call frame:select again"),
    ] {
        let text = format!("local old\nfunction detect(frame)\nold = old or frame:select{{}}\n{body}\nend");
        let mut camera = camera(&text);
        camera.see(vec![person(0.2, 0.5, 0.9)]).unwrap();
        assert_eq!(camera.fault(vec![person(0.2, 0.5, 0.9)]).1, format!("scripts/x.lua:4: {message}"));
    }
}

#[test]
fn a_script_knows_its_sources_zones_while_it_loads() {
    let place = || context(Needs::default(), &StateStore::default()).with_zones(&[zone("door", 0.5, 0.0, 1.0, 1.0)]);
    let text = r#"
        local said = zones.names()[1] .. #zones.polygon("door") .. tostring(zones.contains("door", { 0.7, 0.5, 0.1, 0.1 }))
        function resume() said ..= zones.names()[1] end
        function detect(frame) frame:alert{ rule = "r", message = said } end"#;
    let mut camera = camera_of(script_of(place(), text));
    camera.strategy.resume("0", b"").unwrap();
    assert_eq!(camera.says(vec![]), "door4truedoor");
    let error = lua::load(script_of(place(), "zones.polygon('gate')\nfunction detect() end")).err().unwrap();
    assert_eq!(error.message(), "scripts/x.lua:1: zones.polygon: no zone 'gate'; the zones are door");
}

#[test]
fn dwell_is_told_by_the_track() {
    let mut camera = camera(
        r#"
        function detect(frame)
            local t = frame:track(1)
            frame:alert{ rule = "r", key = t.id, message = ("%d %.2f %s"):format(t.id, t.age, tostring(t:dwell("door"))) }
        end
        "#,
    );
    assert_eq!(camera.says(vec![person(0.45, 0.5, 0.9)]), "1 0.00 nil");
    assert_eq!(camera.says(vec![person(0.52, 0.5, 0.9)]), "1 0.04 0");
    let verdict = camera.see(vec![person(0.55, 0.5, 0.9)]).unwrap();
    assert_eq!((&*verdict.alerts[0].message, &*verdict.alerts[0].key), ("1 0.08 0.04", "1"));
}

#[test]
fn alerts_carry_what_the_script_gave_them() {
    let mut camera = camera(
        r#"
        function detect(frame)
            frame:alert{ rule = "a" }
            frame:alert{ rule = "b", level = "critical", key = "k", message = "text", detections = {2, 1} }
        end
        "#,
    );
    let verdict = camera.see(vec![person(0.2, 0.5, 0.9), car(0.7, 0.5, 0.6)]).unwrap();
    let [a, b] = &verdict.alerts[..] else { panic!("{verdict:?}") };
    assert_eq!((a.level, &*a.key, &*a.message, a.detections.len()), (None, "", "a", 0));
    assert_eq!((b.level, &*b.key, &*b.message, &b.detections[..]), (Some(Level::Critical), "k", "text", &[1, 0][..]));
    assert_eq!(verdict.keep, None);
}

#[test]
fn should_process_narrows_what_the_script_sees_and_nothing_else() {
    let mut camera = camera(
        r#"
        function should_process(d) return d.confidence > 0.5 and d.bbox.width > 0 end
        function detect(frame)
            frame:drop(1)
            frame:edit(2, { label = "van" })
            frame:alert{ rule = "r", detections = {2}, message = frame:count() .. frame:label(1) .. frame:label(2) }
        end
        "#,
    );
    let seen = vec![person(0.1, 0.5, 0.1), person(0.3, 0.5, 0.9), person(0.5, 0.5, 0.2), car(0.8, 0.5, 0.9)];
    let (applied, left) = camera.applied(seen, true);
    assert_eq!(applied.raised[0].message, "2personcar");
    assert_eq!(labels(&applied.raised[0].detections), ["van"]);
    assert_eq!(labels(&left), ["person", "person", "van"]);
    assert!(left[0].confidence < 0.5 && left[1].confidence < 0.5, "what it did not see stays");
}

#[test]
fn keep_leaves_only_the_kept_ones_and_an_empty_list_none() {
    let mut camera = camera(r#"function detect(frame) frame:keep(frame:select{ label = "car" }) end"#);
    let (_, left) = camera.applied(vec![person(0.1, 0.5, 0.9), car(0.8, 0.5, 0.9)], true);
    assert_eq!(labels(&left), ["car"]);
    let (applied, left) = camera.applied(vec![person(0.1, 0.5, 0.9)], true);
    assert_eq!((left.len(), applied.removed), (0, 1));
}

#[test]
fn detections_are_added_by_call_and_by_return() {
    let mut camera = camera(
        r#"
        function detect(frame)
            frame:add{ label = "a", confidence = 0.5, bbox = { x = 0.1, y = 0.1, width = 0.2, height = 0.2 } }
            return { { label = "b", class_id = 3, bbox = { 0.1, 0.1, 0.2, 0.2 } } }
        end
        "#,
    );
    let (_, left) = camera.applied(vec![], false);
    assert_eq!(labels(&left), ["a", "b"]);
    assert_eq!((left[0].confidence, left[1].confidence, left[1].class_id), (0.5, 1.0, 3));
}

#[test]
fn messages_name_the_scripts_own_line() {
    let cases = [
        ("local x = nil\nlocal y = x.field", "scripts/x.lua:3: attempt to index nil with 'field'"),
        ("error('own words')", "scripts/x.lua:2: own words"),
        ("error({})", "scripts/x.lua: a table was raised as the error, not a text"),
        ("frame:lable(1)", "scripts/x.lua:2: the frame has no 'lable'; see scripts/types/dsengine.lua for what it has"),
        ("frame:label(2)", "scripts/x.lua:2: frame:label: no detection 2: this frame has 1, counted from 1"),
        ("frame:label('a')", "scripts/x.lua:2: frame:label: expected an index, got string"),
        ("frame.label(1)", "scripts/x.lua:2: frame:label: an index is missing (write frame:label(i), with a colon)"),
        (
            "frame:select{ lable = 'person' }",
            "scripts/x.lua:2: frame:select: unknown field 'lable'; the fields are label, min_confidence, zone",
        ),
        ("frame:select{ zone = 'dor' }", "scripts/x.lua:2: frame:select: no zone 'dor'; the zones are door"),
        ("frame:in_zone(1, 'dor')", "scripts/x.lua:2: frame:in_zone: no zone 'dor'; the zones are door"),
        ("frame:track(1):dwell('dor')", "scripts/x.lua:2: track:dwell: no zone 'dor'; the zones are door"),
        (
            "frame:alert{ level = 'high' }",
            "scripts/x.lua:2: frame:alert: rule is missing: the name under which this alert is raised",
        ),
        (
            "frame:alert{ rule = 'r', level = 'urgent' }",
            "scripts/x.lua:2: frame:alert: level 'urgent' is none of low, medium, high, critical",
        ),
        (
            "frame:alert{ rule = 'r', detections = {2} }",
            "scripts/x.lua:2: frame:alert: no detection 2: this frame has 1, counted from 1",
        ),
        ("frame:keep('all')", "scripts/x.lua:2: frame:keep: expected an index or a list of indices, got string"),
        (
            "frame:add{ label = 'x' }",
            "scripts/x.lua:2: frame:add: bbox is a table { x =, y =, width =, height = }, got nil",
        ),
        (
            "frame:add{ label = 'x', class_id = 1.5, bbox = { 0, 0, 1, 1 } }",
            "scripts/x.lua:2: frame:add: class_id is a whole number from 0 to 4294967295, got 1.5",
        ),
        (
            "frame:add{ label = 'x', class_id = 0/0, bbox = { 0, 0, 1, 1 } }",
            "scripts/x.lua:2: frame:add: class_id is a whole number from 0 to 4294967295, got nan",
        ),
        ("frame:add{ label = '\\xff', bbox = { 0, 0, 1, 1 } }", "scripts/x.lua:2: frame:add: the label is not UTF-8"),
        ("frame:edit(1, { label = '\\xff' })", "scripts/x.lua:2: frame:edit: the label is not UTF-8"),
        ("table.sort({ 3, 'a' })", "scripts/x.lua:2: attempt to compare string < number"),
        ("table.move(nil, 1, 2, 3)", "scripts/x.lua:2: table.move: expected a table, got nil"),
        ("string.rep('a')", "scripts/x.lua:2: invalid argument #2 to 'rep' (number expected, got nil)"),
        ("string.match('a', '[')", "scripts/x.lua:2: malformed pattern (missing ']')"),
        ("return 5", "scripts/x.lua: detect returned a number; it returns nothing, or a list of detections to add"),
        (
            "return { { label = 'x' } }",
            "scripts/x.lua: detect's list: bbox is a table { x =, y =, width =, height = }, got nil",
        ),
        ("frame.extra = 1", "scripts/x.lua:2: attempt to modify a readonly table"),
        ("config.zone = 'x'", "scripts/x.lua:2: attempt to modify a readonly table"),
        (
            "state.set('f', detect)",
            "scripts/x.lua:2: state.set: a function cannot be kept; what can is booleans, numbers, texts and tables",
        ),
        (
            "state.set('p', { 10, nil, 30 })",
            "scripts/x.lua:2: state.set: a table's keys are texts, or the numbers 1 to n without a gap",
        ),
        (
            "state.set('p', { 10, [1.5] = 30 })",
            "scripts/x.lua:2: state.set: a table's keys are texts, or the numbers 1 to n without a gap",
        ),
        (
            "require('late')",
            "scripts/x.lua:2: require: 'late' is not loaded; modules are read only while the script loads",
        ),
    ];
    for (body, message) in cases {
        let mut camera = camera(&format!("function detect(frame)\n{body}\nend"));
        assert_eq!(camera.fault(vec![person(0.2, 0.5, 0.9)]), (FaultKind::Error, message.to_owned()), "{body}");
    }
}

#[test]
fn a_script_that_cannot_be_loaded_says_where_and_why() {
    let cases = [
        (
            "function detect(frame)\n  return +\nend",
            "[E0401] scripts/x.lua:2: Expected identifier when parsing expression, got '+'",
        ),
        ("local x = 1", "[E0401] scripts/x.lua: there is no function detect(frame)"),
        ("function detect(frame) end\nshould_process = 5", "[E0401] scripts/x.lua: should_process is not a function"),
        ("local a = config.a.b\nfunction detect() end", "[E0401] scripts/x.lua:1: attempt to index nil with 'b'"),
        (
            "-- x\n---@since 0.3\nfunction detect() end",
            "[E0401] scripts/x.lua:2: the plugin wants API 0.3, this engine offers 0.1",
        ),
        (
            "require('../secret')\nfunction detect() end",
            "[E0401] scripts/x.lua:1: require: '../secret' is no module name; write it like 'lib/geometry'",
        ),
        (
            "state.set('k', 1)\nfunction detect() end",
            "[E0401] scripts/x.lua:1: state.set: while the script loads, state can only be read; set it from detect on",
        ),
        ("\n\nwhile true do end\nfunction detect() end", "[E0401] scripts/x.lua:3: stopped after 200 ms of CPU time"),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text).lines().next().unwrap(), message, "{text}");
    }
    let long = format!("function detect() end --{}", "x".repeat(600 << 10));
    assert!(refused(&long).contains("the limit is 524288"));
    assert!(refused("\x1bLuaQ").starts_with("[E0401] scripts/x.lua"), "no bytecode");
}

#[test]
fn a_flood_of_alerts_and_long_messages_is_bounded_and_counted() {
    let mut camera = camera(
        r#"function detect(frame)
            for n = 1, 100 do frame:alert{ rule = "r", key = n, message = ("é"):rep(4000) } end
            for n = 1, 100 do log.debug("line", n) end
        end"#,
    );
    let verdict = camera.see(vec![]).unwrap();
    assert_eq!(verdict.alerts.len(), 16);
    assert!(verdict.alerts.iter().all(|a| a.message.len() <= 4100 && a.message.ends_with('…')));
    let health = camera.strategy.health().unwrap();
    assert_eq!((health.alerts_dropped, health.messages_cut, health.log_lines_dropped), (84, 16, 50));
}

#[test]
fn repeated_faults_open_the_breaker_and_a_good_call_closes_it() {
    let mut camera =
        camera("function detect(frame) if frame.time < 1 then error('young') end frame:alert{ rule = 'r' } end");
    for _ in 0..5 {
        camera.fault(vec![]);
    }
    assert_eq!(camera.strategy.health().unwrap().breaker, BreakerState::Open);
    while camera.seq * FRAME_NS < 10_160_000_000 {
        assert_eq!(camera.see(vec![]).unwrap(), Verdict::default(), "frame {}", camera.seq);
    }
    assert_eq!(camera.says(vec![]), "r");
    let health = camera.strategy.health().unwrap();
    assert_eq!((health.breaker, health.calls, health.skipped, health.faults[0]), (BreakerState::Closed, 6, 249, 5));
}

#[test]
fn state_survives_reload_and_crash_up_to_the_last_completed_call() {
    let state = StateStore::default();
    let text = r#"
        function detect(frame)
            local n = (state.get("n") or 0) + 1
            state.set("n", n)
            state.set("list", { n, { deep = true } })
            state.set("short", "x", 0.06)
            if n == 3 and not state.get("crashed") then
                state.set("crashed", true)
                while true do end
            end
            frame:alert{ rule = "r", message = n .. tostring(state.get("list")[2].deep) .. table.concat(state.keys("s"), ",") }
        end"#;
    let mut camera = camera_of(script_of(context(Needs::default(), &state), text));
    assert_eq!([camera.says(vec![]), camera.says(vec![])], ["1trueshort", "2trueshort"]);
    assert_eq!(camera.fault(vec![]).0, FaultKind::Time);
    assert_eq!(camera.fault(vec![]).0, FaultKind::Time, "the failed call left no trace, so it fails again");
    let fixed = text.replace("n == 3", "false");
    camera.strategy = lua::load(script_of(context(Needs::default(), &state), &fixed)).unwrap();
    assert_eq!(camera.says(vec![]), "3trueshort");
    let space = state.space("rule", Some(&SourceId::from("cam")));
    let now = (camera.seq - 1) * FRAME_NS;
    assert!(space.lock().get("short", now).is_some());
    assert!(space.lock().get("short", now + 60_000_000).is_none(), "its time to live is frame time");
}

#[test]
fn state_is_bounded() {
    let mut camera = camera("function detect(frame) for n = 1, 100 do state.set('k' .. n, ('x'):rep(100000)) end end");
    assert_eq!(camera.fault(vec![]).1, "scripts/x.lua:1: state.set: the state is full: 1048576 bytes per source");
    assert_eq!(camera.strategy.health().unwrap().state_bytes, 0);
}

#[test]
fn a_list_is_kept_in_its_order_however_it_was_filled() {
    let mut camera = camera(
        "function detect(f) local t = {} for i = 5, 1, -1 do t[i] = i end state.set('t', t) f:alert{ rule = 'r', message = table.concat(state.get('t'), ' ') } end",
    );
    assert_eq!(camera.says(vec![]), "1 2 3 4 5");
}

#[test]
fn a_script_has_no_way_out() {
    for name in
        ["io", "os", "loadstring", "load", "dofile", "package", "getfenv", "setfenv", "collectgarbage", "newproxy"]
    {
        let mut camera = camera(&format!("function detect(frame) frame:alert{{ rule = type({name}) }} end"));
        assert_eq!(camera.see(vec![]).unwrap().alerts[0].rule, "nil", "{name}");
    }
    let mut camera = camera(
        "function detect(frame) frame:alert{ rule = tostring(debug.info) .. tostring(getmetatable(frame)) } end",
    );
    assert_eq!(camera.see(vec![]).unwrap().alerts[0].rule, "nilframe");
    for body in ["string.find = nil", "table.sort = print", "getmetatable('').__index = {}", "rawset(frame, 'x', 1)"] {
        let mut camera = camera_of(script(&format!("function detect(frame) {body} end")));
        assert_eq!(camera.fault(vec![]).0, FaultKind::Error, "{body}");
    }
}

#[test]
fn modules_come_from_the_roots_only_and_their_errors_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("scripts");
    std::fs::create_dir_all(root.join("lib")).unwrap();
    std::fs::write(root.join("lib/two.lua"), "return { value = 2 }").unwrap();
    std::fs::write(root.join("lib/two.half.lua"), "return { value = 2.5 }").unwrap();
    std::fs::write(root.join("lib/bad.lua"), "\nlocal x = nil + 1").unwrap();
    std::fs::write(root.join("lib/self.lua"), "return require('lib/self')").unwrap();
    std::fs::write(dir.path().join("secret.lua"), "return {}").unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret.lua"), root.join("lib/link.lua")).unwrap();
    let with = |text: &str| Script { roots: vec![root.clone()], ..script(text) };
    let mut camera = camera_of(with(
        "local two = require('lib/two')\nassert(require('lib/two') == two)\nfunction detect(f) f:alert{ rule = 'r', message = '' .. two.value } end",
    ));
    assert_eq!(camera.says(vec![]), "2");
    let mut camera = camera_of(with(
        "local half = require('lib/two.half')\nfunction detect(f) f:alert{ rule = 'r', message = '' .. half.value } end",
    ));
    assert_eq!(camera.says(vec![]), "2.5");
    let refused = |module: &str| {
        let text = format!("require('{module}')\nfunction detect() end");
        lua::load(with(&text)).err().unwrap().message().to_owned()
    };
    assert!(refused("lib/bad").contains("lib/bad.lua:2: attempt to perform arithmetic"), "{}", refused("lib/bad"));
    assert!(refused("lib/none").starts_with("scripts/x.lua:1: require: no module 'lib/none' in "));
    assert!(refused("lib/link").contains("leads out of"), "{}", refused("lib/link"));
    assert!(refused("lib/self").contains("'lib/self' requires itself"), "{}", refused("lib/self"));
    assert!(refused("/etc/passwd").contains("is no module name"));
    let many = "for i = 1, 300 do pcall(require, 'x' .. i) end\nrequire('lib/two')\nfunction detect() end";
    assert!(lua::load(with(many)).err().unwrap().message().contains("more than 256 modules"));
}

#[test]
fn the_library_moves_sorts_and_searches_as_luau_does() {
    let mut camera = camera(
        r#"
        local function upto(n) local t = table.create(n) for i = 1, n do t[i] = i end return t end
        local up = table.move(upto(70000), 1, 70000, 69000)
        local down = table.move(upto(70000), "2", 70000, 1)
        local other = table.move(upto(70000), 1, 70000, 1, {})
        local t = { 3, 1, 2 }
        table.sort(t, function(a, b) return a > b end)
        local said = { #up, up[69000], up[138999], down[1], #other, other[70000], t[1] .. t[3],
            ("key = 5"):match("(%w+) ="), (("hello"):gsub("l", "L", 1)), string.unpack("<I2", string.pack("<I2", 77)) }
        function detect(frame) frame:alert{ rule = "r", message = table.concat(said, " ", 1, 10) } end
        "#,
    );
    assert_eq!(camera.says(vec![]), "138999 1 70000 2 70000 70000 31 key heLlo 77");
}

#[test]
fn a_coroutine_yields_out_of_pcall() {
    let mut camera = camera(
        "function detect(f) local c = coroutine.wrap(function() pcall(function() coroutine.yield('out') end) return 'end' end) f:alert{ rule = 'r', message = c() .. c() } end",
    );
    assert_eq!(camera.says(vec![]), "outend");
}

#[test]
fn random_numbers_are_the_same_in_a_replay() {
    let text = "function detect(f) f:alert{ rule = 'r', message = tostring(math.random()) .. math.random(1000) } end";
    let mut runs = [camera(text), camera(text)].map(|mut c| [c.says(vec![]), c.says(vec![])]);
    let [a, b] = &mut runs;
    assert_eq!(a, b);
    assert_ne!(a[0], a[1]);
}

/// CPU time of this thread, so that a busy machine fails no test.
/// A list that says another length, and has other items, each time it is asked.
#[test]
fn a_list_is_as_long_as_it_said_first() {
    let evil = |call: &str| {
        format!(
            "function detect(frame)\n  local calls, reads = 0, 0\n  local evil = setmetatable({{}}, {{\n    \
             __len = function() calls += 1 return if calls == 1 then 1 else 60000 end,\n    \
             __index = function() reads += 1 return if reads % 2 == 1 then 1 else -1 end }})\n  {call}\nend"
        )
    };
    let verdict =
        camera(&evil("frame:alert{ rule = 'r', detections = evil }")).see(vec![person(0.1, 0.1, 0.9)]).unwrap();
    assert_eq!(verdict.alerts[0].detections.len(), 0, "what a metatable makes up is not in the list");
    // The table of the alert itself, too: what it answers first counts.
    let twice = evil(
        "frame:alert(setmetatable({ rule = 'r' }, { __index = function(_, k) if k ~= 'detections' then return nil end \
         calls += 1 return if calls == 1 then { 1 } else evil end }))",
    );
    let verdict = camera(&twice).see(vec![person(0.1, 0.1, 0.9)]).unwrap();
    assert_eq!(verdict.alerts[0].detections.len(), 1);
    for call in ["keep", "drop"] {
        let verdict = camera(&evil(&format!("frame:{call}(evil)"))).see(vec![person(0.1, 0.1, 0.9)]).unwrap();
        assert_eq!(verdict.keep, Some(if call == "keep" { vec![0] } else { vec![] }), "{call}");
    }
}

pub(crate) fn cpu_ms(work: impl FnOnce()) -> u64 {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
    };
    let start = now();
    work();
    now() - start
}

pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn ship(name: &str, config: serde_json::Value) -> Camera {
    let text = std::fs::read_to_string(shipped(name)).unwrap();
    camera_of(Script { file: format!("scripts/{name}"), ..with_config(script(&text), config) })
}

#[test]
fn intrusion_alerts_on_who_is_in_the_zone() {
    let mut camera =
        ship("intrusion.lua", serde_json::json!({ "zone": "door", "labels": ["person"], "level": "critical" }));
    assert_eq!(camera.see(vec![person(0.2, 0.5, 0.9), car(0.7, 0.5, 0.9)]).unwrap().alerts.len(), 0);
    let verdict = camera.see(vec![person(0.7, 0.5, 0.9), person(0.2, 0.5, 0.9)]).unwrap();
    let [alert] = &verdict.alerts[..] else { panic!("{verdict:?}") };
    assert_eq!((&*alert.rule, alert.level, &alert.detections[..]), ("intrusion", Some(Level::Critical), &[0][..]));
}

#[test]
fn loitering_alerts_after_the_time_and_not_before() {
    let mut camera = ship("loitering.lua", serde_json::json!({ "zone": "door", "seconds": 2 }));
    let mut first = None;
    for n in 0..100u64 {
        let verdict = camera.see(vec![person(0.7, 0.5, 0.9)]).unwrap();
        if !verdict.alerts.is_empty() && first.is_none() {
            first = Some((n, verdict.alerts[0].clone()));
        }
    }
    let (n, alert) = first.expect("an alert");
    assert_eq!(n, 51, "the first frame past two seconds at 25 per second");
    assert_eq!((&*alert.rule, alert.level, &*alert.key), ("loitering", Some(Level::High), ""));
}

#[test]
pub(crate) fn shipped_scripts_say_what_their_config_lacks() {
    for name in ["intrusion.lua", "loitering.lua"] {
        let text = std::fs::read_to_string(shipped(name)).unwrap();
        let error = lua::load(script(&text)).err().expect("refused");
        assert!(error.message().contains("config.zone"), "{error}");
    }
}
