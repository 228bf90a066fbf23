//! What scripts have beside the frame: classes, shared state, figures, pixels, files, environment, hand-over.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsengine::guest::{FaultKind, Grants, GuestContext, Needs, StateStore};
use dsengine::lua::{self, Script};
use dsengine::strategy::{Strategy, apply};
use dsengine::telemetry::Metrics;
use dsengine::types::{Detection, Picture, TimeZone, Value};
use serde_json::json;

use crate::lua::{Camera, camera, camera_of, car, context, person, script, script_of, shipped, with_config};

fn granted(needs: Needs) -> GuestContext {
    context(needs, &StateStore::default())
}

fn class(name: &str, script: Script) -> Script {
    Script { class: Some(name.into()), ..script }
}

#[test]
fn the_readmes_custom_strategy_runs_as_it_is_described() {
    let text = std::fs::read_to_string(shipped("my_detection.lua")).unwrap();
    let run = |config: serde_json::Value, crowd: Vec<dsengine::types::Detection>| {
        let mut camera = camera_of(class("MyCustomStrategy", with_config(script(&text), config)));
        let (_, left) = camera.applied(crowd, false);
        left.iter().map(|d| d.label.to_string()).collect::<Vec<_>>()
    };
    let crowd = || vec![person(0.2, 0.5, 0.9), person(0.5, 0.5, 0.85), car(0.8, 0.5, 0.7)];
    assert_eq!(run(json!({ "threshold": 0.8 }), crowd()), ["person", "person", "car", "group"]);
    assert_eq!(run(json!({}), crowd()), ["person", "person", "car", "group"], "0.8 by itself");
    assert_eq!(run(json!({ "threshold": 0.88 }), crowd()), ["person", "person", "car"]);
    let mut camera = camera_of(class("MyCustomStrategy", with_config(script(&text), json!({ "threshold": 0.8 }))));
    let verdict = camera.see(crowd()).unwrap();
    let group = verdict.added[0].bbox;
    assert!((group.x - 0.15).abs() < 1e-3 && (group.right() - 0.55).abs() < 1e-3, "the car is not in it: {group:?}");
}

#[test]
fn a_class_is_made_with_its_settings_in_either_way_or_by_itself() {
    let body =
        "function C:detect(frame) frame:alert{ rule = 'r', message = tostring(self.limit or self.config.limit) } end";
    for make in [
        "function C.new(config) return setmetatable({ limit = config.limit }, C) end",
        "function C:new(config) return setmetatable({ limit = config.limit }, self) end",
        "function C.new(config) return { limit = config.limit } end",
        "",
    ] {
        let text = format!("C = {{}} C.__index = C\n{make}\n{body}");
        let mut camera = camera_of(class("C", with_config(script(&text), json!({ "limit": 3 }))));
        assert_eq!(camera.says(vec![]), "3", "{make}");
    }
    for (text, message) in [
        ("local C = {}", "there is no table 'C', the class that the configuration names"),
        ("C = {}", "C has no function detect"),
        ("C = { detect = 5 }", "C.detect is not a function"),
        ("C = { new = function() end }", "C.new returned a nil; it returns the instance, a table"),
        ("C = { new = function(config) error('no', 0) end }", "no"),
    ] {
        let error = lua::load(class("C", script(text))).err().unwrap();
        assert_eq!(error.message(), format!("scripts/x.lua: {message}"), "{text}");
    }
}

#[test]
fn local_time_is_of_the_capture_of_the_frame_and_of_the_zone() {
    let text = r#"
        function detect(frame)
            local t = time.localtime(frame)
            frame:alert{ rule = "r", message = table.concat({
                t.year, t.month, t.day, t.hour, t.minute, t.second, t.weekday, t.yday, t.offset_minutes, t.zone }, " ") }
        end"#;
    let says = |zone: &str, captured: &str| {
        let mut context = granted(Needs::default());
        context.timezone = TimeZone::of(zone).unwrap();
        let mut camera = camera_of(script_of(context, text));
        let captured = humantime::parse_rfc3339(captured).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        camera.captured_unix_ns = captured.as_nanos() as u64;
        camera.says(vec![])
    };
    // The clock jumps from two to three in spring, and shows each minute from two to three twice in autumn.
    for (zone, captured, local) in [
        ("UTC", "2026-11-28T23:59:59.999Z", "2026 11 28 23 59 59 sat 332 0 UTC"),
        ("Europe/Vienna", "2026-03-29T00:59:59Z", "2026 3 29 1 59 59 sun 88 60 Europe/Vienna"),
        ("Europe/Vienna", "2026-03-29T01:00:00Z", "2026 3 29 3 0 0 sun 88 120 Europe/Vienna"),
        ("Europe/Vienna", "2026-10-25T00:30:00Z", "2026 10 25 2 30 0 sun 298 120 Europe/Vienna"),
        ("Europe/Vienna", "2026-10-25T01:30:00Z", "2026 10 25 2 30 0 sun 298 60 Europe/Vienna"),
        ("America/New_York", "2025-01-01T00:00:00Z", "2024 12 31 19 0 0 tue 366 -300 America/New_York"),
    ] {
        assert_eq!(says(zone, captured), local, "{captured}");
        assert_eq!(says(zone, captured), local, "the same moment has the same time");
    }
    let wrong = |body: &str| camera(&format!("function detect(frame)\n{body}\nend")).fault(vec![]).1;
    assert_eq!(wrong("time.localtime()"), "scripts/x.lua:2: time.localtime: expected the frame, got nil");
    assert_eq!(wrong("time.localtime(5)"), "scripts/x.lua:2: time.localtime: expected the frame, got number");
    // The name that comes to mind is a word of the language.
    let error = lua::load(script("function detect(frame)\nlocal t = time.local(frame)\nend")).err().unwrap();
    assert!(error.message().ends_with("write `time.localtime(frame)`"), "{error}");
}

#[test]
fn a_shared_value_lives_by_capture_time_whatever_the_frame_times_of_the_sources_are() {
    const NOON: u64 = 1_700_000_000_000_000_000;
    const S: u64 = 1_000_000_000;
    let store = StateStore::default();
    let needs = Needs { shared_state: true, ..Needs::default() };
    let text = r#"
        function detect(frame)
            if not shared.get("since") then shared.set("since", frame.seq, 10) end
            frame:alert{ rule = "r", message = tostring(shared.get("since")) }
        end"#;
    store.keep("rule", Some(&"cam".into()), true);
    let mut cameras = [(), ()].map(|()| camera_of(script_of(context(needs.clone(), &store), text)));
    let [a, b] = &mut cameras;
    // The first has run for a long time, and the second has just begun.
    (a.seq, a.captured_unix_ns, b.captured_unix_ns) = (9_000, NOON, NOON + 10 * S - 1);
    assert_eq!((a.says(vec![]), b.says(vec![])), ("9000".into(), "9000".into()));
    let until = || {
        let saved = store.changed(1).into_iter().find(|(name, _)| name.contains("strategy-shared"));
        let saved: serde_json::Value = serde_json::from_str(&saved.unwrap().1.unwrap()).unwrap();
        saved["values"]["since"]["until_unix_ms"].as_u64()
    };
    assert_eq!(until(), Some((NOON + 10 * S) / 1_000_000), "saved as the first has set it");
    b.captured_unix_ns = NOON + 10 * S;
    assert_eq!(b.says(vec![]), "1", "it has ended, and is set anew");
    assert_eq!(until(), Some((NOON + 20 * S) / 1_000_000));
}

#[test]
fn shared_state_counts_over_all_sources_at_once() {
    let store = StateStore::default();
    let needs = Needs { shared_state: true, ..Needs::default() };
    let text = r#"
        function detect(frame)
            local n = shared.add("n")
            shared.add("half", 0.5)
            shared.set("last." .. frame.seq, { seq = frame.seq }, 0.05)
            if frame:count() > 0 then error("after it took effect") end
            frame:alert{ rule = "r", message = n .. " " .. shared.get("half") .. " " .. table.concat(shared.keys("last."), ",") }
        end"#;
    let mut cameras = [(), ()].map(|()| camera_of(script_of(context(needs.clone(), &store), text)));
    let [a, b] = &mut cameras;
    assert_eq!((a.says(vec![]), b.says(vec![])), ("1 0.5 last.0".into(), "2 1 last.0".into()));
    assert_eq!(a.fault(vec![person(0.2, 0.5, 0.9)]).0, FaultKind::Error);
    assert_eq!(b.says(vec![]), "4 2 last.0,last.1", "what a failed call shared stays");
    let wrong = |body: &str| {
        camera_of(script_of(context(needs.clone(), &store), &format!("function detect(f)\n{body}\nend")))
            .fault(vec![])
            .1
    };
    assert_eq!(
        wrong("shared.set('t', 'x') shared.add('t')"),
        "scripts/x.lua:2: shared.add: what is kept under the key is no number"
    );
    assert_eq!(
        wrong("shared.set('t', ('x'):rep(2^21))"),
        "scripts/x.lua:2: shared.set: it is larger than the state may be"
    );
    assert_eq!(wrong("shared.add('n', 1/0)"), "scripts/x.lua:2: shared.add: the sum is not finite");
    assert_eq!(
        wrong("shared.get(('k'):rep(300))"),
        "scripts/x.lua:2: shared.get: a key is UTF-8 and at most 256 bytes long"
    );
    let error =
        lua::load(script_of(context(needs.clone(), &store), "shared.add('n')\nfunction detect() end")).err().unwrap();
    assert!(error.message().starts_with("scripts/x.lua:1: shared.add: while the script loads"), "{error}");
}

#[test]
fn figures_are_on_the_metrics_page_and_of_a_rehearsal_nowhere() {
    let metrics = Metrics::new(Arc::new(crate::lua_api::Still));
    let text = r#"
        function detect(frame)
            metrics.add("seen", 2)
            metrics.add("seen")
            metrics.set("level", -1.5)
            metrics.observe("size", 3)
            metrics.add("Bad Name")
        end"#;
    let mut place = granted(Needs::default());
    place.meter = metrics.meter("rule", "cam");
    camera_of(script_of(place.clone(), text)).see(vec![]).unwrap();
    camera_of(script_of(place.rehearsal(), text)).see(vec![]).unwrap();
    let page = metrics.render();
    for line in [
        "dsengine_plugin_seen{plugin=\"rule\",source=\"cam\"} 3",
        "dsengine_plugin_level{plugin=\"rule\",source=\"cam\"} -1.5",
        "dsengine_plugin_size_count{plugin=\"rule\",source=\"cam\"} 1",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
    let mut camera = camera("function detect(f)\nmetrics.add('n', 'x')\nend");
    assert_eq!(camera.fault(vec![]).1, "scripts/x.lua:2: metrics.add: a value is a number, got string");
}

/// A clock that stands.
pub(crate) struct Still;

impl dsengine::types::Clock for Still {
    fn monotonic_ns(&self) -> u64 {
        0
    }
    fn unix_ns(&self) -> u64 {
        0
    }
}

/// A picture whose left half is red and whose right half is blue.
fn flag() -> Picture {
    let row: Vec<u8> = (0..64).flat_map(|x| if x < 32 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    Picture::from_rgb(64, 36, row.repeat(36)).unwrap()
}

fn pixel_camera(body: &str) -> Camera {
    let needs = Needs { pixels: true, ..Needs::default() };
    let text = format!(
        "function detect(frame)\nlocal function say(...) local t = table.pack(...) for i = 1, t.n do t[i] = tostring(t[i]) end frame:alert{{ rule = 'r', message = table.concat(t, ' ') }} end\n{body}\nend"
    );
    let mut camera = camera_of(script_of(granted(needs), &text));
    camera.picture = Some(flag());
    camera
}

#[test]
fn pixels_are_reduced_by_the_host_for_a_box_or_a_detection() {
    let says = |body: &str| pixel_camera(body).says(vec![person(0.2, 0.5, 0.9), person(0.8, 0.5, 0.9)]);
    assert_eq!(says("say(pixels.size())"), "64 36");
    assert_eq!(says("say(pixels.mean())"), "127.5 0 127.5");
    assert_eq!(says("say(pixels.mean(1))"), "255 0 0");
    assert_eq!(says("say(pixels.mean(2))"), "0 0 255");
    assert_eq!(says("say(pixels.mean{ x = 0.5, y = 0, width = 0.5, height = 1 })"), "0 0 255");
    assert_eq!(says("say(pixels.mean{ 2, 0, 0.5, 1 })"), "nil nil nil");
    assert_eq!(
        says(
            "local c = pixels.crop({ 0, 0, 1, 1 }, { max_side = 16 }) say(c.format, c.width, c.height, c.stride, buffer.len(c.data), buffer.readu8(c.data, 0), buffer.readu8(c.data, 47))"
        ),
        "rgb 16 9 48 432 255 255"
    );
    assert_eq!(
        says(
            "local c = pixels.crop(1, { format = 'gray' }) say(c.format, c.stride == c.width, buffer.readu8(c.data, 0))"
        ),
        "gray true 76"
    );
    assert_eq!(says("local j = pixels.encode(nil, { max_side = 8, quality = 50 }) say(j:byte(1, 2))"), "255 216");
    assert_eq!(says("say(pixels.encode(2):byte(1, 2))"), "255 216");
}

#[test]
fn a_picture_is_gone_after_the_call_and_where_there_is_none_the_answers_are_nil() {
    let mut camera = pixel_camera("say(pixels.size(), pixels.mean(), pixels.crop({ 0, 0, 1, 1 }), pixels.encode())");
    let pixels = Arc::new(());
    struct Held(Vec<u8>, #[allow(dead_code, reason = "counted, not read")] Arc<()>);
    impl dsengine::types::Pixels for Held {
        fn planes(&self) -> Result<[&[u8]; 3], dsengine::types::Unreadable> {
            Ok([&self.0, &[], &[]])
        }
    }
    let held = Arc::new(Held(vec![9; 12], Arc::clone(&pixels)));
    let flag = flag();
    camera.picture = Picture::new(flag.format, 2, 2, flag.colorimetry, [6, 0, 0], held);
    camera.says(vec![]);
    camera.picture = None;
    assert_eq!(Arc::strong_count(&pixels), 1, "nothing holds the picture");
    assert_eq!(camera.says(vec![]), "nil nil nil nil");
    for (body, message) in [
        ("pixels.mean(3)", "pixels.mean: no detection 3: this frame has 0, counted from 1"),
        ("pixels.mean('x')", "pixels.mean: expected an index or a box { x =, y =, width =, height = }, got string"),
        ("pixels.crop({ 0, 0, 1, 1 }, { format = 'bgr' })", "pixels.crop: format 'bgr' is none of rgb, gray"),
        (
            "pixels.crop({ 0, 0, 1, 1 }, { side = 3 })",
            "pixels.crop: unknown field 'side'; the fields are format, max_side",
        ),
        ("pixels.encode({ 0, 0, 1, 1 }, { quality = 0 })", "pixels.encode: quality is a number from 1 on"),
        ("pixels.crop({ x = 1 })", "pixels.crop: a box needs the numbers x, y, width and height"),
    ] {
        assert_eq!(pixel_camera(body).fault(vec![]).1, format!("scripts/x.lua:3: {message}"), "{body}");
    }
}

#[test]
fn zones_and_tracks_are_found_by_name_and_id() {
    let mut camera = camera(
        r#"
        function detect(frame)
            local id = frame:track_id(1)
            local t = tracks.get(id)
            local c = zones.polygon("door")
            frame:alert{ rule = "r", message = table.concat({
                table.concat(zones.names(), "+"), tostring(zones.contains("door", 1)), tostring(zones.contains("door", { 0, 0, 0.1, 0.1 })),
                #c, c[1].x, t.label, ("%.2f"):format(t.bbox.width), t.first, t.last, tracks.dwell(id, "door"), tostring(tracks.get(99)), tostring(tracks.get(0/0)),
            }, " ") }
        end"#,
    );
    camera.says(vec![person(0.7, 0.5, 0.9)]);
    assert_eq!(camera.says(vec![person(0.7, 0.5, 0.9)]), "door true false 4 0.5 person 0.10 0 0.04 0.04 nil nil");
}

#[test]
fn what_others_added_to_a_detection_is_told_by_its_index_in_what_the_script_sees() {
    let mut camera = camera(
        r#"
        function should_process(d) return d.label == "person" end
        function detect(frame)
            local first, second = frame:attributes(1), frame:attributes(2)
            local said = { tostring(next(first)), tostring(second.helmet), second.age, second.team }
            frame:alert{ rule = "r", message = table.concat(said, " ") }
        end
        "#,
    );
    let attributes =
        [("helmet", Value::Boolean(true)), ("age", Value::Number(3.5)), ("team", Value::Text("red".into()))];
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let told = Detection { attributes, ..person(0.7, 0.5, 0.9) };
    assert_eq!(camera.says(vec![car(0.1, 0.5, 0.9), person(0.3, 0.5, 0.9), told]), "nil true 3.5 red");
}

#[test]
fn a_script_attaches_values_that_it_reads_back_and_no_more_than_the_bounds_allow() {
    let mut camera = camera(
        r#"
        function detect(frame)
            frame:set_attribute(1, "plate", "W 123")
            frame:set_attribute(1, "age", 3.5)
            frame:set_attribute(1, "seen", false)
            frame:set_attribute(1, "helmet", nil)
            frame:set_attribute(2, "plate", "G 7")
            frame:set_attribute(1, "age", 4)
            local own = frame:attributes(1)
            local said = { own.plate, own.age, tostring(own.seen), tostring(own.helmet), frame:attributes(2).plate }
            for _, wrong in {
                { 3, "a", 1 }, { 1, "", 1 }, { 1, ("x"):rep(65), 1 }, { 1, "a", ("x"):rep(257) }, { 1, "a", 0 / 0 },
                { 1, "a", {} }, { 1, 7, 1 },
            } do
                table.insert(said, tostring((pcall(frame.set_attribute, frame, table.unpack(wrong)))))
            end
            local n = 0
            while pcall(frame.set_attribute, frame, 2, "n" .. n, n) do n += 1 end
            table.insert(said, n)
            frame:alert{ rule = "r", message = table.concat(said, " "), detections = { 1 } }
        end
        "#,
    );
    let attributes: BTreeMap<String, Value> =
        [("helmet".to_owned(), Value::Boolean(true)), ("kept".to_owned(), Value::Number(1.0))].into();
    let told = Detection { attributes, ..person(0.7, 0.5, 0.9) };
    let mut all = vec![told, person(0.3, 0.5, 0.9)];
    let verdict = camera.see(all.clone()).unwrap();
    let message = &verdict.alerts[0].message;
    assert_eq!(message, "W 123 4 false nil G 7 false false false false false false false 15");
    let applied = apply(verdict, false, &mut all).unwrap();
    let text = |text: &str| Value::Text(text.into());
    let expected: BTreeMap<String, Value> = [
        ("plate", text("W 123")),
        ("age", Value::Number(4.0)),
        ("seen", Value::Boolean(false)),
        ("kept", Value::Number(1.0)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    assert_eq!(all[0].attributes, expected);
    assert_eq!(applied.raised[0].detections[0].attributes, expected);
    assert_eq!(all[1].attributes.len(), 16);
}

#[test]
fn attributes_that_come_and_go_are_bounded_and_the_error_names_the_line() {
    // Each name is taken away again: a detection never has more than one, and the host's memory must not grow.
    let mut camera = camera(
        r#"
        function detect(frame)
            local function comes_and_goes(i, value)
                local n = 0
                while n < 200 do
                    local ok, problem = pcall(function()
                        frame:set_attribute(i, "n" .. n, value)
                        frame:set_attribute(i, "n" .. n, nil)
                    end)
                    if not ok then
                        return n, problem
                    end
                    n += 1
                end
                return n, "no end"
            end
            local n, problem = comes_and_goes(1, 1)
            for k = 1, 500 do
                frame:set_attribute(2, "never" .. k, nil)
            end
            local sets = 0
            local ok, full = pcall(function()
                while sets < 4000 do
                    frame:set_attribute(2, "text", ("x"):rep(256))
                    sets += 1
                end
            end)
            frame:alert{ rule = "r", message = n .. " | " .. problem }
            frame:alert{ rule = "s", message = tostring(ok) .. " | " .. tostring(sets < 4000) .. " | " .. tostring(full) }
        end
        "#,
    );
    let verdict = camera.see(vec![person(0.3, 0.5, 0.9), person(0.7, 0.5, 0.9)]).unwrap();
    let told = |index: usize| verdict.alerts[index].message.as_str();
    let (count, problem) = told(0).split_once(" | ").unwrap();
    assert_eq!(count, "32");
    assert!(problem.contains("more than 32 attributes of one detection change in one call"), "{problem}");
    assert!(problem.contains("x.lua:7: "), "{problem}");
    assert!(told(1).starts_with("false | true | "), "{}", told(1));
    assert!(told(1).contains("the attributes set in one call take more than 256 KiB"), "{}", told(1));
    assert!(verdict.edits.iter().all(|edit| edit.attributes.len() <= 32), "{}", verdict.edits.len());
    // The next frame begins anew.
    assert_eq!(camera.see(vec![person(0.3, 0.5, 0.9), person(0.7, 0.5, 0.9)]).unwrap().alerts[0].message, told(0));
}

#[test]
fn an_alert_says_how_long_it_is_of_use() {
    let mut camera = camera(
        r#"
        function detect(frame)
            frame:alert{ rule = "r", expires_seconds = 60 }
            frame:alert{ rule = "s" }
            for _, wrong in { 0, -1, 1.5, 31536001, 0 / 0, "60", true } do
                local ok, problem = pcall(frame.alert, frame, { rule = "r", expires_seconds = wrong })
                if ok or not string.find(problem, "expires_seconds is a whole number from 1 to 31536000, got", 1, true) then
                    error(tostring(problem))
                end
            end
        end
        "#,
    );
    let verdict = camera.see(vec![]).unwrap();
    assert_eq!(verdict.alerts.iter().map(|alert| alert.expires_seconds).collect::<Vec<_>>(), [Some(60), None]);
    let applied = apply(verdict, false, &mut Vec::new()).unwrap();
    assert_eq!(applied.raised[0].expires_seconds, Some(60));
}

#[test]
fn granted_files_and_variables_are_read_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("zones.json"), r#"{"limit": 5}"#).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), site.join("link")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(site.join("pipe")).status().unwrap();
    assert!(fifo.success());
    let needs = Needs { files: vec![site.clone()], env: vec!["SITE".into(), "UNSET".into()], ..Needs::default() };
    let place = || {
        let mut place = granted(needs.clone());
        let env = [("SITE".to_owned(), "north".to_owned())].into();
        place.grants = Arc::new(Grants { has: needs.clone(), env, ..Grants::default() });
        place
    };
    let at = site.display();
    let text = format!(
        "local limit = json.decode(files.read('{at}/zones.json')).limit\nlocal none, why = files.read('{at}/none')\nfunction detect(f) f:alert{{ rule = 'r', message = limit .. env.SITE .. tostring(env.UNSET) .. tostring(none) .. why:match('No such file') .. files.read('{at}/zones.json') }} end"
    );
    let mut camera = camera_of(script_of(place(), &text));
    assert_eq!(camera.says(vec![]), "5northnilnilNo such file{\"limit\": 5}", "what was read stays");
    let refused = |path: &str| {
        let text = format!("local t, why = files.read('{path}')\nif why then error(why, 0) end\nfunction detect() end");
        lua::load(script_of(place(), &text)).err().unwrap().message().to_owned()
    };
    assert!(refused(&format!("{at}/link")).contains("leads out of"), "{}", refused(&format!("{at}/link")));
    assert!(refused(&format!("{at}/../secret")).contains("is not granted"));
    assert!(refused("/etc/passwd").starts_with("scripts/x.lua:1: files.read: '/etc/passwd' is not granted"));
    assert!(refused(&format!("{at}/pipe")).contains("not a file"));
    let mut late = camera_of(script_of(place(), &format!("function detect(f)\nfiles.read('{at}/zones.json')\nend")));
    assert!(late.fault(vec![]).1.contains("files are read only while the script loads"));
}

#[test]
fn what_a_script_suspends_its_successor_resumes() {
    let state = StateStore::default();
    let load = |text: &str| lua::load(script_of(context(Needs::default(), &state), text)).unwrap();
    let old = "---@version 1.0\nlocal n = 0\nfunction detect() n += 1 state.set('count', n) end\nfunction suspend() return { n = n, list = { 1, 2 } } end";
    let mut camera = camera_of(script_of(context(Needs::default(), &state), old));
    camera.see(vec![]).unwrap();
    camera.see(vec![]).unwrap();
    assert_eq!(camera.strategy.version(), "1.0");
    let handed = camera.strategy.suspend().unwrap();
    assert_eq!(String::from_utf8_lossy(&handed), r#"{"list":[1,2],"n":2}"#);

    let same = "---@version 1.0\nlocal n = 0\nfunction resume(from, handed) n = handed.n end\nfunction migrate() error('the version is the same') end\nfunction detect(f) f:alert{ rule = 'r', message = n .. '' } end";
    camera.strategy = load(same);
    camera.strategy.resume("1.0", &handed).unwrap();
    assert_eq!(camera.says(vec![]), "2");

    let new = "---@version 2.0\nlocal said\nfunction migrate(from, handed) state.set('total', state.get('count') * 10) state.delete('count') return handed.n + 1 end\nfunction resume(from, handed) said = from .. ' ' .. handed end\nfunction detect(f) f:alert{ rule = 'r', message = said .. ' ' .. state.get('total') .. tostring(state.get('count')) } end";
    camera.strategy = load(new);
    camera.strategy.resume("1.0", &handed).unwrap();
    assert_eq!(camera.says(vec![]), "1.0 3 20nil");
}

#[test]
fn a_hand_over_that_fails_changes_nothing_and_says_where() {
    let state = StateStore::default();
    let strategy = |text: &str| lua::load(script_of(context(Needs::default(), &state), text)).unwrap();
    let fault = |text: &str| strategy(text).resume("0.9", b"{}").unwrap_err();
    let broken = fault("function detect() end\nfunction migrate()\nstate.set('k', 1)\nerror('no')\nend");
    assert_eq!((broken.kind, &*broken.message), (FaultKind::Error, "scripts/x.lua:4: no"));
    let endless = fault("function detect() end\nfunction resume()\nwhile true do end\nend");
    assert_eq!(
        (endless.kind, &*endless.message),
        (FaultKind::Time, "scripts/x.lua:3: stopped after 200 ms of CPU time")
    );
    let timeless = fault("function resume() state.set('k', 1, 5) end function detect() end");
    assert_eq!(
        timeless.message,
        "scripts/x.lua:1: state.set: no frame is at hand, so a time to live has nothing to count from; set it from detect on"
    );
    let space = state.space("rule", Some(&"cam".into()));
    assert_eq!(space.lock().bytes(), 0);
    let suspended = |text: &str| strategy(&format!("function detect() end\nfunction suspend()\n{text}\nend")).suspend();
    assert_eq!(suspended("return nil").unwrap(), b"");
    assert_eq!(
        suspended("return print").unwrap_err().message,
        "scripts/x.lua: what suspend returned: a function cannot be kept; what can is booleans, numbers, texts and tables"
    );
    assert_eq!(
        suspended("state.set('k', 1)").unwrap_err().message,
        "scripts/x.lua:3: state.set: in suspend, state can only be read: what it holds stays anyway; return the rest"
    );
    assert_eq!(suspended("while true do end").unwrap_err().kind, FaultKind::Time);
    assert_eq!(
        suspended("return table.create(20000, table.create(1000000))").unwrap_err().message,
        "scripts/x.lua: stopped after 200 ms of CPU time"
    );
    // A component's bytes are a text.
    let mut bytes = strategy(
        "local got\nfunction resume(_, handed) got = handed end\nfunction detect(f) f:alert{ rule = got } end",
    );
    bytes.resume("0", b"\x01not json").unwrap();
    let mut camera = camera("function detect() end");
    camera.strategy = bytes;
    assert_eq!(camera.see(vec![]).unwrap().alerts[0].rule, "\u{1}not json");
}

#[test]
fn methods_of_a_class_take_over_too() {
    let text = r#"
        C = {}
        C.__index = C
        function C.new(config) return setmetatable({ n = 0 }, C) end
        function C:detect(frame) self.n += 1 frame:alert{ rule = "r", message = self.n .. "" } end
        function C:suspend() return self.n end
        function C:resume(from, n) self.n = n end"#;
    let mut camera = camera_of(class("C", script(text)));
    assert_eq!((camera.says(vec![]), camera.says(vec![])), ("1".into(), "2".into()));
    let handed = camera.strategy.suspend().unwrap();
    camera.strategy = lua::load(class("C", script(text))).unwrap();
    camera.strategy.resume("0", &handed).unwrap();
    assert_eq!(camera.says(vec![]), "3");
}

#[test]
fn habits_of_other_luas_are_answered_by_what_luau_has() {
    let load = |text: &str| lua::load(script(text)).map(drop).expect_err(text).message().to_owned();
    for (line, told) in [
        ("for i = 1, 3 do if i == 2 then goto continue end ::continue:: end", "`continue`"),
        ("::top::", "`continue`"),
        ("local LIMIT <const> = 3", "write `local NAME = value`"),
        ("local f <close> = g()", "`<close>` is of Lua 5.4"),
        ("local f = 1 << 4", "bit32.lshift"),
        ("local f = 256 >> 4", "bit32.rshift"),
        ("local f = 1 | 2", "bit32.bor"),
        ("local f = 1 & 2", "bit32.band"),
        ("local f = ~1", "bit32.bnot"),
        ("if 1 != 2 then end", "`~=`"),
        ("if a && b then end", "`and`"),
        ("local n = 1 n++", "n += 1"),
        ("local t = os.time()", "time.now()"),
        ("local t = os.date('%H')", "time.now()"),
        ("local f = io.open('x')", "files.read"),
        ("local f = load('return 1')", "require"),
        ("dofile('x.lua')", "require"),
        ("local n = math.type(1)", "one kind of number"),
        ("local n = math.tointeger(1)", "one kind of number"),
        ("package.path = 'x'", "beside the script"),
        ("collectgarbage()", "memory"),
        ("local n = bit.band(1, 2)", "bit32"),
        ("local n = a ? 1 : 2", "if c then a else b"),
        ("sleep(1)", "nothing waits here"),
        ("for w in string.gfind('a b', '%a') do end", "string.gmatch"),
        ("for w in ('a b'):gfind('%a') do end", "`gmatch`"),
        ("local m = require('cjson')", "json.encode"),
        ("local m = require('socket.http')", "http.post"),
    ] {
        let message = load(&format!("-- a rule\n{line}\nfunction detect(frame) end"));
        assert!(message.starts_with("scripts/x.lua:2: ") && message.contains(told), "{line}\n{message}");
    }
    // What is missed at the end is told of the line in the middle.
    let message = load("function detect(frame)\n  if a then\n    b()\n  else if c then\n    d()\n  end\nend\n");
    assert!(message.contains("Expected 'end'") && message.contains("write `elseif`"), "{message}");
    // At the moment it is met, too.
    let (_, message) = camera("function detect(frame)\n  if os.time() % 60 == 0 then end\nend").fault(vec![]);
    assert!(message.starts_with("scripts/x.lua:2: ") && message.contains("time.now()"), "{message}");
    let (_, message) = camera("local pos\nfunction detect(frame)\n  return pos.x\nend").fault(vec![]);
    assert_eq!(message, "scripts/x.lua:3: attempt to index nil with 'x'", "nothing is known of it");
    // What Luau has is not spoken of, and what is not there is nil for who asks.
    let text = "assert(7 // 2 == 3 and 0xff == 255 and os == nil and (os and os.time() or 5) == 5)\n\
                local a = 1 a += 1 assert(a == 2 and #table.pack(1, 2) == 2 and utf8.len('ü') == 1)\n\
                for i = 1, 3 do if i == 2 then continue end end function detect(frame) end";
    camera(text).see(vec![]).unwrap();
}

#[test]
fn modules_are_found_by_the_names_that_people_write() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    put("lib/util.lua", "return { n = 1 }");
    put("lib/deep/er.lua", "return { n = 2 }");
    put("pack/init.lua", "return { n = 3 }");
    put("v1.2.lua", "return { n = 4 }");
    put("v1/2.lua", "return { n = 5 }");
    put("bad.lua", "local x <const> = 1\nreturn x");
    let with = |text: &str| Script { roots: vec![dir.path().to_owned()], ..script(text) };
    for (name, n) in [
        ("lib.util", 1),
        ("lib/util", 1),
        ("./lib/util", 1),
        ("lib/util.lua", 1),
        ("lib.deep.er", 2),
        ("pack", 3),
        ("v1.2", 4),
    ] {
        let text = format!("assert(require('{name}').n == {n}) function detect(frame) end");
        lua::load(with(&text)).map(drop).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["..secret", "lib..util", ".", "lib.", "../x", "/etc/passwd", "lib/../lib/util", ""] {
        let text = format!("require('{name}') function detect(frame) end");
        let error = lua::load(with(&text)).map(drop).expect_err(name);
        assert!(error.message().contains("is no module name") || error.message().contains("no module"), "{error}");
    }
    let error = lua::load(with("require('bad') function detect(frame) end")).map(drop).unwrap_err();
    assert!(error.message().contains("bad.lua:1: ") && error.message().contains("`local NAME = value`"), "{error}");
}

#[test]
fn values_keep_their_kind_through_a_script() {
    let text = "function detect(frame)\n  local t = json.decode(config.text)\n  if config.change then t.new, t.list[1] = 1, 5 end\n  \
                state.set('t', t)\n  frame:alert{ rule = 'r', message = json.encode(state.get('t')) }\nend";
    let through = |value: serde_json::Value, change: bool| -> serde_json::Value {
        let config = json!({ "text": value.to_string(), "change": change });
        serde_json::from_str(&camera_of(with_config(script(text), config)).says(vec![])).unwrap()
    };
    for value in [
        json!({ "list": [], "map": {}, "none": null, "deep": [[], {}, [[]], { "a": null, "b": [] }] }),
        json!({ "list": [null, 1, null, null, "x", null], "only": [null] }),
        json!([]),
        json!({}),
        json!([[], null, {}]),
        json!({ "n": 1, "f": 1.5, "b": false, "s": "" }),
    ] {
        assert_eq!(through(value.clone(), false), value);
    }
    let changed = through(json!({ "list": [], "none": null, "new": null }), true);
    assert_eq!(changed, json!({ "list": [5], "none": null, "new": 1 }));
    // The settings themselves, and what a script makes of them; null is nil for the script.
    let text = "function detect(frame)\n  assert(config.none == nil and #config.list == 0)\n  \
                frame:alert{ rule = 'r', message = json.encode({ a = config.list, b = config, c = {} }) }\nend";
    let config = json!({ "list": [], "none": null });
    let said = camera_of(with_config(script(text), config.clone())).says(vec![]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, json!({ "a": [], "b": config, "c": {} }));
    // What a script says of a table by itself is held to the limits.
    let forged = "function detect(frame)\n  state.set('t', setmetatable({}, { __json = 1e15 }))\nend";
    assert!(camera(forged).fault(vec![]).1.contains("larger than the state may be"));
}
