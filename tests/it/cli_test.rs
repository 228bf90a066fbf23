//! `dsengine test`: cases beside a plugin, run without an engine; what differs is said frame by frame.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Dsengine, Outcome, root, write};

const LIMIT: Duration = Duration::from_secs(20);

const COUNTER: &str = r#"---@since 0.1
local most = config.most or 2
function detect(frame)
    local frames = (state.get("frames") or 0) + 1
    state.set("frames", frames)
    local people = frame:select{ label = "person", zone = "gate" }
    if #people >= most then
        frame:alert{ rule = "crowd", level = "high", key = "gate", detections = people,
                     message = ("%d people, frame %d"):format(#people, frames) }
    end
end
"#;

const FRAMES: &str = "zones: { gate: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] }
frames:
  - { seq: 0, detections: [{ label: person, bbox: [0.1, 0.2, 0.1, 0.3], track_id: 1 }] }
  - seq: 3
    detections:
      - { label: person, bbox: [0.1, 0.2, 0.1, 0.3], track_id: 1 }
      - { label: car, bbox: [0.2, 0.2, 0.1, 0.3], track_id: 2 }
      - { label: person, bbox: [0.3, 0.2, 0.1, 0.3], track_id: 3 }
";

/// A plugin `crowd` in Lua with one case.
fn plugin(script: &str, case: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "strategy", "", script);
    write(&dir.path().join("tests"), "case.yaml", case);
    dir
}

fn put(dir: &Path, kind: &str, needs: &str, script: &str) {
    std::fs::create_dir_all(dir.join("tests")).unwrap();
    let toml = format!(
        "name = \"crowd\"\nversion = \"1.0.0\"\napi = \"0.1\"\nkind = \"{kind}\"\nentry = \"crowd.lua\"\n{needs}"
    );
    write(dir, "plugin.toml", &toml);
    write(dir, "crowd.lua", script);
}

fn run(dir: &Path, args: &[&str]) -> Outcome {
    Dsengine::new([&["test"], args].concat()).cwd(dir).run()
}

#[test]
fn a_case_says_when_and_where_its_frames_are_captured() {
    let script = "---@since 0.1\nfunction detect(frame)\n  local t = time.localtime(frame)\n  frame:alert{ rule = 'r', \
                  message = ('%s %02d:%02d'):format(t.weekday, t.hour, t.minute) }\nend\n";
    let frames = "frames: [{ seq: 0 }]\n";
    for (when, message) in [
        ("", "thu 00:00"),
        ("start: 2026-11-28T23:30:00Z\n", "sat 23:30"),
        ("start: 2026-11-28T23:30:00Z\ntimezone: Europe/Vienna\n", "sun 00:30"),
    ] {
        let expect = format!("expect:\n  alerts: [{{ seq: 0, message: '{message}' }}]\n");
        let dir = plugin(script, &format!("{when}{frames}{expect}"));
        run(dir.path(), &[]).expect(0);
    }
    for (when, told) in [
        ("start: noon\n", "`start: noon` is no time"),
        ("timezone: Europe/Wien\n", "there is no time zone `Europe/Wien`"),
    ] {
        let out = run(plugin(script, &format!("{when}{frames}")).path(), &[]);
        assert!(
            out.code() != 0 && format!("{}{}", out.stdout, out.stderr).contains(told),
            "{}{}",
            out.stdout,
            out.stderr
        );
    }
}

#[test]
fn a_case_compares_the_tags_of_alerts_and_what_was_resolved() {
    let script = "---@since 0.1\nfunction detect(frame)\n  frame:alert{ rule = 'r', key = 1, tags = { 'night' } }\n  \
                  frame:resolve{ rule = 'r', key = 1 }\n  frame:resolve{ rule = 'other' }\nend\n";
    for (expect, code) in [
        ("alerts: [{ tags: [night] }]", 0),
        ("alerts: [{ tags: [day] }]", 1),
        ("resolved: [{ seq: 0, rule: r, key: '1' }, { seq: 0, rule: other }]", 0),
        ("resolved: [{ seq: 0, rule: r, key: '2' }, { seq: 0, rule: other }]", 1),
        ("resolved: []", 1),
    ] {
        let dir = plugin(script, &format!("frames: [{{ seq: 0 }}]\nexpect: {{ {expect} }}\n"));
        run(dir.path(), &[]).expect(code);
    }
}

#[test]
fn a_case_that_holds_passes_and_only_what_it_lists_is_compared() {
    let expect = "expect:\n  alerts: [{ seq: 3, message: '2 people, frame 2' }]\n  state: { frames: 2 }\n  kept: { 3: [0, 1, 2] }\n";
    let dir = plugin(COUNTER, &format!("name: two at the gate\n{FRAMES}{expect}"));
    let out = run(dir.path(), &[]).expect(0);
    assert_eq!(out.stdout, "ok    crowd: two at the gate  (tests/case.yaml)\n1 passed, 0 failed\n");
}

#[test]
fn a_difference_is_said_with_its_frame_and_both_sides_and_fails() {
    let expect = "expect:
  alerts:
    - { seq: 0, rule: crowd }
    - { seq: 3, rule: crowd, level: low, message: '3 people, frame 2', detections: [0, 2] }
  kept: { 3: [0] }
  state: { frames: 7, other: 1 }
";
    let dir = plugin(COUNTER, &format!("name: two at the gate\n{FRAMES}{expect}"));
    let out = run(dir.path(), &[]).expect(1);
    let wanted = r#"FAIL  crowd: two at the gate  (tests/case.yaml)
      frame 0, alert: did not come
        expected  {"rule":"crowd","seq":0}
      frame 3, alert: level
        expected  "low"
        came      "high"
      frame 3, alert: message
        expected  "3 people, frame 2"
        came      "2 people, frame 2"
      frame 3, kept
        expected  [0]
        came      [0,1,2]
      state, frames
        expected  7
        came      2
      state, other
        expected  1
        came      nothing
0 passed, 1 failed
"#;
    assert_eq!(out.stdout, wanted);
    let json = run(dir.path(), &["--json"]).expect(1).json();
    assert_eq!((&json["failed"], &json["cases"][0]["ok"]), (&1.into(), &false.into()));
    assert_eq!(json["cases"][0]["differences"][1]["place"], "frame 3, alert: level");
}

#[test]
fn an_update_writes_what_came_and_the_case_passes() {
    let case =
        format!("# looked over\nname: two\n{FRAMES}expect: # from a run\n  alerts: []\n  state: {{ frames: 0 }}\n");
    let dir = plugin(COUNTER, &case);
    assert!(run(dir.path(), &[]).expect(1).stdout.contains("frame 3, alert: was not expected"));
    assert!(run(dir.path(), &["--update"]).expect(0).stdout.contains("wrote ./tests/case.yaml"));
    let text = std::fs::read_to_string(dir.path().join("tests/case.yaml")).unwrap();
    let wanted = format!(
        "# looked over\nname: two\n{FRAMES}expect:\n  alerts:\n    - {{ seq: 3, rule: \"crowd\", level: \"high\", key: \
         \"gate\", message: \"2 people, frame 2\", detections: [0, 2] }}\n  state:\n    \"frames\": 2\n"
    );
    assert_eq!(text, wanted);
    let out = run(dir.path(), &[]).expect(0);
    assert!(out.stdout.ends_with("1 passed, 0 failed\n"), "{}", out.stdout);
}

#[test]
fn an_update_of_a_plugin_that_fails_writes_nothing_unless_the_case_expects_it() {
    let script = COUNTER.replace("state.set", "if frame.seq == 3 then error(\"boom\") end\n    state.set");
    let case = format!("{FRAMES}expect: {{ alerts: [] }}\n");
    let dir = plugin(&script, &case);
    let text = || std::fs::read_to_string(dir.path().join("tests/case.yaml")).unwrap();
    let refused = run(dir.path(), &["--update"]).expect(1).stdout;
    assert!(refused.contains("nothing is written") && refused.contains("frame 3: the plugin failed"), "{refused}");
    assert!(refused.contains("boom"), "{refused}");
    assert_eq!(text(), case);
    // A golden file.
    write(&dir.path().join("tests"), "case.yaml", &format!("{FRAMES}expect: wanted.jsonl\n"));
    run(dir.path(), &["--update"]).expect(1);
    assert!(!dir.path().join("tests/wanted.jsonl").exists());
    write(&dir.path().join("tests"), "case.yaml", &format!("{FRAMES}expect: {{ faults: [{{}}] }}\n"));
    run(dir.path(), &["--update"]).expect(0);
    assert!(text().contains("seq: 3") && text().contains("boom"), "{}", text());
    run(dir.path(), &[]).expect(0);
}

#[test]
fn a_recording_and_a_golden_file_are_read_from_beside_the_case() {
    let dir = plugin(
        COUNTER,
        "name: recorded\nframes: street.jsonl\nexpect: wanted.jsonl\nzones: { gate: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] }\n",
    );
    let frame = |seq: u64| {
        let person = |x: f32| {
            format!(
                "{{\"label\":\"person\",\"class_id\":0,\"confidence\":0.9,\"bbox\":[{x},0.2,0.1,0.3],\"track_id\":null}}"
            )
        };
        format!(
            "{{\"source\":\"left\",\"seq\":{seq},\"pts_ns\":{},\"width\":64,\"height\":48,\"detections\":[{},{}]}}\n",
            seq * 1000,
            person(0.1),
            person(0.3)
        )
    };
    let header = "{\"format\":1,\"dsengine\":\"0.1.0\",\"config_hash\":\"\",\"start_unix_ns\":0}\n";
    write(&dir.path().join("tests"), "street.jsonl", &format!("{header}{}{}", frame(5), frame(6)));
    assert!(run(dir.path(), &[]).expect(1).stdout.contains("--update writes it"));
    run(dir.path(), &["--update"]).expect(0);
    let golden = std::fs::read_to_string(dir.path().join("tests/wanted.jsonl")).unwrap();
    assert_eq!(golden.lines().count(), 3, "{golden}");
    run(dir.path(), &[]).expect(0);
    write(&dir.path().join("tests"), "wanted.jsonl", &golden.replace("frame 2", "frame 9"));
    let out = run(dir.path(), &["tests/case.yaml"]).expect(1);
    assert!(
        out.stdout.contains("frame 6, alerts\n        expected  [{") && out.stdout.contains("frame 9"),
        "{}",
        out.stdout
    );
}

#[test]
fn a_reload_in_mid_stream_keeps_what_the_host_holds_and_hands_over_the_rest() {
    let script = r#"---@since 0.1
local seen = 0
function detect(frame)
    seen = seen + 1
    local total = (state.get("total") or 0) + 1
    state.set("total", total)
    frame:alert{ rule = "n", key = "n", message = ("%d of %d"):format(seen, total) }
end
"#;
    let frames = "frames: [{ seq: 0 }, { seq: 1 }, { seq: 2 }]\n";
    let wants = |third: &str| {
        format!("expect: {{ alerts: [{{ message: 1 of 1 }}, {{ message: 2 of 2 }}, {{ message: {third} }}] }}\n")
    };
    let dir = plugin(script, &format!("{frames}{}", wants("3 of 3")));
    run(dir.path(), &[]).expect(0);
    write(&dir.path().join("tests"), "case.yaml", &format!("{frames}reload_at: 2\n{}", wants("1 of 3")));
    run(dir.path(), &[]).expect(0);
    let handing =
        format!("{script}function suspend() return seen end\nfunction resume(from, given) seen = given end\n");
    write(dir.path(), "crowd.lua", &handing);
    write(&dir.path().join("tests"), "case.yaml", &format!("{frames}reload_at: [2]\n{}", wants("3 of 3")));
    run(dir.path(), &[]).expect(0);
    write(&dir.path().join("tests"), "case.yaml", &format!("{frames}reload_at: 7\n{}", wants("3 of 3")));
    assert!(run(dir.path(), &[]).expect(1).stdout.contains("there is no frame 7 to reload before"));
}

#[test]
fn tracks_dwell_on_frame_time() {
    let script = r#"---@since 0.1
function detect(frame)
    for i in frame:select{ zone = "gate" } do
        local track = frame:track(i)
        if track and (track:dwell("gate") or 0) >= 2 then
            frame:alert{ rule = "stay", key = track.id, detections = { i }, message = "stayed" }
        end
    end
end
"#;
    let seen = "detections: [{ label: person, bbox: [0.1, 0.2, 0.1, 0.3], track_id: 4 }]";
    let case = format!(
        "zones: {{ gate: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] }}\nframes:\n  - {{ seq: 0, pts_ns: 0, {seen} }}\n  - {{ \
         seq: 1, pts_ns: 1900000000, {seen} }}\n  - {{ seq: 2, pts_ns: 2100000000, {seen} }}\nexpect: {{ alerts: [{{ seq: 2, \
         rule: stay, key: '4', detections: [0] }}] }}\n"
    );
    run(plugin(script, &case).path(), &[]).expect(0);
}

#[test]
fn faults_are_expected_by_kind_and_words_and_fail_a_case_that_expects_none() {
    let script = "---@since 0.1\nfunction detect(frame)\n    if frame.seq == 1 then error('no such luck') end\nend\n";
    let frames = "frames: [{ seq: 0 }, { seq: 1 }, { seq: 2 }]\n";
    let dir = plugin(script, &format!("{frames}expect: {{ alerts: [] }}\n"));
    let out = run(dir.path(), &[]).expect(1);
    assert!(
        out.stdout.contains("frame 1, fault: was not expected") && out.stdout.contains("crowd.lua:3"),
        "{}",
        out.stdout
    );
    let expect = "expect: { faults: [{ seq: 1, kind: error, contains: no such luck }] }\n";
    write(&dir.path().join("tests"), "case.yaml", &format!("{frames}{expect}"));
    run(dir.path(), &[]).expect(0);
}

#[test]
fn limits_hold_in_tests_as_they_do_in_the_engine() {
    let script = "---@since 0.1\nfunction detect(frame)\n    while frame.seq == 1 do end\n    for i = 1, 9 do frame:alert{ rule = 'r', key = i, message = 'm' } end\nend\n";
    let case = "frames: [{ seq: 0 }, { seq: 1 }]\nlimits: { hard_ms: 5, alerts_per_call: 2 }\n\
                expect:\n  alerts: [{ seq: 0, key: '1' }, { seq: 0, key: '2' }]\n  faults: [{ seq: 1, kind: time }]\n";
    run(plugin(script, case).path(), &[]).expect(0);
}

const POSTER: &str = r#"---@since 0.1
local url = config.url
function handle_alert(alert)
    state.set("sent", (state.get("sent") or 0) + 1)
    return http.post(url, { text = alert.message })
end
"#;

#[test]
fn a_handler_gets_answers_made_up_and_its_requests_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "handler", "[needs]\nhttp = [\"hooks.example.com\"]\n", POSTER);
    let case = |http: &str, expect: &str| {
        let text = format!(
            "config: {{ url: 'https://hooks.example.com/x' }}\nalert: {{ message: hello, level: high }}\nhttp: {http}\nexpect: {expect}\n"
        );
        write(&dir.path().join("tests"), "case.yaml", &text);
    };
    let good = "[{ url: 'https://hooks.example.com/x', status: 200, body: ok }]";
    let asked = "requests: [{ method: POST, url: 'https://hooks.example.com/x', body: { text: hello } }]";
    case(good, &format!("{{ outcome: delivered, {asked}, state: {{ sent: 1 }} }}"));
    run(dir.path(), &[]).expect(0);
    case(&good.replace("200", "503"), "{ outcome: retry }");
    run(dir.path(), &[]).expect(0);
    case(&good.replace("200", "404"), "{ outcome: failed }");
    run(dir.path(), &[]).expect(0);
    case(&good.replace("200", "404"), "{ outcome: delivered }");
    assert!(run(dir.path(), &[]).expect(1).stdout.contains("came      \"failed\""));
    case("[]", "{ outcome: retry }");
    let out = run(dir.path(), &[]).expect(1);
    let named =
        "http: POST https://hooks.example.com/x was asked for, and the case has no answer for it (none is left)";
    assert!(out.stdout.contains(named), "{}", out.stdout);
    case(&good.replace("]", ", { url: 'https://hooks.example.com/y' }]"), "{ outcome: delivered }");
    assert!(
        run(dir.path(), &[]).expect(1).stdout.contains("the answer for https://hooks.example.com/y was not asked for")
    );
}

#[test]
fn a_handler_is_given_the_digest_of_a_case_as_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let script = "---@since 0.1\nfunction handle_alert(alert)\n  local digest = alert.digest\n  if digest == nil then return \
                  false, 'no digest' end\n  if digest.count ~= 7 or digest.keys[2] ~= 'b' or digest.reason ~= 'burst' then \
                  return false, 'another digest' end\nend\n";
    put(dir.path(), "handler", "", script);
    let digest = "digest: { reason: burst, count: 7, first: '2026-01-01T12:00:00.000Z', last: \
                  '2026-01-01T12:00:09.000Z', ids: [], keys: [a, b] }";
    for (digest, code) in [(format!(", {digest}"), 0), (String::new(), 1)] {
        let case = format!("alert: {{ message: m{digest} }}\nexpect: {{ outcome: delivered }}\n");
        write(&dir.path().join("tests"), "case.yaml", &case);
        run(dir.path(), &[]).expect(code);
    }
}

#[test]
fn what_is_not_granted_is_refused_as_in_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "handler", "[needs]\nhttp = [\"hooks.example.com\"]\n", POSTER);
    let text = "config: { url: 'https://hooks.example.com/x' }\nalert: { message: hello }\ngrants: {}\nexpect: { refused: which is not granted }\n";
    write(&dir.path().join("tests"), "case.yaml", text);
    run(dir.path(), &[]).expect(0);
    write(
        &dir.path().join("tests"),
        "case.yaml",
        &text.replace("expect: { refused: which is not granted }", "expect: { outcome: delivered }"),
    );
    assert!(
        run(dir.path(), &[]).expect(1).stdout.contains("asks for requests to hooks.example.com, which is not granted")
    );
    let elsewhere =
        "config: { url: 'https://elsewhere.example/x' }\nalert: { message: hello }\nexpect: { outcome: delivered }\n";
    write(&dir.path().join("tests"), "case.yaml", elsewhere);
    assert!(run(dir.path(), &[]).expect(1).stdout.contains("requests to elsewhere.example are not granted"));
}

#[test]
fn mistakes_in_a_case_are_errors_with_their_place() {
    let dir = plugin(COUNTER, &format!("{FRAMES}expect:\n  alerts: []\n  kepd: {{}}\n"));
    let out = run(dir.path(), &[]).expect(2);
    assert!(out.stderr.contains("[E0101] tests/case.yaml:11:3: unknown field `kepd`"), "{}", out.stderr);
    write(&dir.path().join("tests"), "case.yaml", "name: nothing\nexpect: { alerts: [] }\n");
    assert!(run(dir.path(), &[]).expect(2).stderr.contains("write `frames:`, or `alert:` for a handler"));
    std::fs::remove_file(dir.path().join("tests/case.yaml")).unwrap();
    assert!(run(dir.path(), &[]).expect(2).stderr.contains("there are no tests"));
    assert!(run(dir.path(), &["tests"]).expect(2).stderr.contains("there is no plugin.toml"));
    assert!(run(dir.path(), &["nowhere"]).expect(2).stderr.contains("there is no such file or folder"));
}

#[test]
fn a_component_is_tested_as_a_script_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("plugins/crowd");
    std::fs::create_dir_all(at.join("tests")).unwrap();
    std::fs::copy(root().join("plugins/prebuilt/crowd.wasm"), at.join("crowd.wasm")).unwrap();
    write(&at, "plugin.toml", "name = \"crowd\"\nversion = \"0.1.0\"\nkind = \"strategy\"\nentry = \"crowd.wasm\"\n");
    let case = format!(
        "config: {{ zone: gate, most: 2 }}\nreload_at: 3\n{FRAMES}expect:\n  alerts: [{{ seq: 3, rule: crowd, key: gate, detections: [0, 2] }}]\n  state: {{ calls: 2 }}\n"
    );
    write(&at.join("tests"), "case.yaml", &case);
    // From two folders above: plugins are searched for.
    let out = run(dir.path(), &[]).expect(0);
    assert!(out.stdout.ends_with("1 passed, 0 failed\n") && !out.stderr.contains("older"), "{}", out.stderr);
    // A source that was saved after the component was built.
    std::fs::create_dir(at.join("src")).unwrap();
    write(&at.join("src"), "lib.rs", "// newer");
    let source = std::fs::File::options().write(true).open(at.join("src/lib.rs")).unwrap();
    let built = std::fs::metadata(at.join("crowd.wasm")).unwrap().modified().unwrap();
    for (seconds, is_stale) in [(60, true), (1, false)] {
        source.set_modified(built + Duration::from_secs(seconds)).unwrap();
        let out = run(dir.path(), &[]).expect(0);
        let told = "plugins/crowd/src/lib.rs: the tests run what was built before";
        assert_eq!(
            out.stderr.contains(told) && out.stderr.contains("dsengine plugin build"),
            is_stale,
            "{}",
            out.stderr
        );
    }
}

#[test]
fn watching_runs_again_after_a_save_until_it_is_stopped() {
    let dir = plugin(COUNTER, &format!("{FRAMES}expect: {{ alerts: [{{ seq: 3 }}] }}\n"));
    let mut watching = Dsengine::new(["test", "--watch"]).cwd(dir.path()).start();
    watching.wait_line(LIMIT, |line| line == "1 passed, 0 failed");
    write(dir.path(), "crowd.lua", &COUNTER.replace("#people >= most", "false"));
    watching.wait_line(LIMIT, |line| line == "0 passed, 1 failed");
    // A case that cannot be read is watched on.
    write(&dir.path().join("tests"), "case.yaml", "expect: [\n");
    watching.wait_line(LIMIT, |line| line.contains("tests/case.yaml:"));
    write(&dir.path().join("tests"), "case.yaml", &format!("{FRAMES}expect: {{ alerts: [] }}\n"));
    watching.wait_line(LIMIT, |line| line == "1 passed, 0 failed");
    watching.signal("INT");
    assert!(watching.end(LIMIT).is_some_and(|status| status.success()));
}

#[test]
fn a_manifest_that_cannot_be_read_is_a_problem_of_its_plugin_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["bad", "good", "templates"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        put(&dir.path().join(name), "strategy", "", COUNTER);
        write(&dir.path().join(name).join("tests"), "case.yaml", &format!("{FRAMES}expect: {{ alerts: [] }}\n"));
    }
    write(&dir.path().join("bad"), "plugin.toml", "name = \"{{name}}\"\n");
    let out = run(dir.path(), &["--update"]).expect(2);
    assert!(out.stderr.contains("bad/plugin.toml") && !out.stderr.contains("good"), "{}", out.stderr);
    let case = |name: &str| std::fs::read_to_string(dir.path().join(name).join("tests/case.yaml")).unwrap();
    assert!(case("good").contains("rule: \"crowd\""), "{}", case("good"));
    assert!(case("templates").contains("alerts: []"), "what is no plugin yet is left alone");
}
