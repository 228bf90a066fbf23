//! Reloads: tried on remembered frames, swapped between frames, on probation, rolled back; state kept through all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Dsengine, Running, get, post, sample, street, write};

const LIMIT: Duration = Duration::from_secs(20);

/// The shipped street without pixels, at 30 frames a second, judged by `rule.lua`.
struct Site {
    dir: TempDir,
    run: Running,
    page: String,
}

impl Site {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "scene.yaml", &street(3000, 30));
        write(dir.path(), "rule.lua", script);
        let config = "sources:\n  - { id: left, uri: 'scene:scene.yaml?live=true&pixels=false' }\n\
                      \x20 - { id: right, uri: 'scene:scene.yaml?live=true&pixels=false' }\n\
                      detection: { strategies: [{ name: rule, module: rule.lua }] }\n\
                      alerts: { throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, handlers: [file] }\n\
                      monitoring: { prometheus: { port: 0 } }\nlogging: { format: text }\n";
        write(dir.path(), "config.yaml", config);
        let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
        let page = run.page();
        Self { dir, run, page }
    }

    /// Saves `rule.lua` and waits for the verdict's line.
    #[track_caller]
    fn save(&mut self, script: &str, line: &str) -> String {
        write(self.dir.path(), "rule.lua", script);
        self.run.wait_line(LIMIT, |seen| seen.contains(line))
    }

    /// Waits until both sources have this many more frames judged.
    fn frames(&mut self, more: f64) {
        let judged = |page: &str| {
            let metrics = get(page, "/metrics").1;
            ["left", "right"]
                .map(|s| sample(&metrics, &format!("dsengine_frames_total{{source=\"{s}\"}}")).unwrap_or(0.0))
        };
        let [left, right] = judged(&self.page);
        let page = self.page.clone();
        self.until(|| judged(&page)[0] >= left + more && judged(&page)[1] >= right + more);
    }

    fn until(&mut self, done: impl Fn() -> bool) {
        self.until_folder(|_| done());
    }

    /// Waits until what is in the folder will do.
    fn until_folder(&mut self, done: impl Fn(&TempDir) -> bool) {
        for _ in 0..1000 {
            if done(&self.dir) {
                return;
            }
            assert!(self.run.end(Duration::from_millis(20)).is_none(), "{}", self.run.seen.join("\n"));
        }
        panic!("never:\n{}", self.run.seen.join("\n"));
    }

    fn plugin(&self) -> Value {
        serde_json::from_str::<Value>(&get(&self.page, "/api/v1/plugins").1).unwrap()[0].clone()
    }

    /// Frames of a source that were not judged.
    fn dropped(&self, source: &str) -> u64 {
        let status: Value = serde_json::from_str(&get(&self.page, "/api/v1/status").1).unwrap();
        let source = status["sources"].as_array().unwrap().iter().find(|s| s["id"] == source).unwrap().clone();
        source["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    fn metric(&self, series: &str) -> f64 {
        sample(&get(&self.page, "/metrics").1, series).unwrap_or(0.0)
    }

    fn alerts(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("alerts.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn end(mut self) {
        self.run.signal("INT");
        assert_eq!(self.run.end(LIMIT).and_then(|s| s.code()), Some(0));
    }
}

/// Counts its calls in the state.
const COUNTS: &str = "function detect(frame)\n  state.set('calls', (state.get('calls') or 0) + 1)\nend\n";

#[test]
fn a_version_that_fails_on_remembered_frames_is_refused_with_its_line() {
    let mut site = Site::new(COUNTS);
    site.frames(40.0);
    let broken = format!("-- second\n{COUNTS}").replace("  state.set", "  local x = nil + 1\n  state.set");
    let line = site.save(&broken, "not reloaded");
    assert!(
        line.contains("self-test on left, frame ") && line.contains("rule.lua:3: attempt to perform arithmetic"),
        "{line}"
    );
    assert_eq!((site.plugin()["generation"].as_u64(), site.metric("dsengine_strategy_faults_total{")), (Some(1), 0.0));
    assert_eq!(site.metric("dsengine_strategy_reloads_total{result=\"rejected\""), 1.0);
    assert!(get(&site.page, "/health").1.contains("the latest version was rejected"));
    // The next one is not held up by it, and the self-test counted nothing twice.
    let line = site.save(
        &COUNTS.replace(
            "calls') or 0) + 1)",
            "calls') or 0) + 1)\n  frame:alert{ rule = 'n', message = tostring(state.get('calls')) }",
        ),
        "script reloaded",
    );
    assert!(line.contains("tried=") && !line.contains("tried=0"), "{line}");
    site.until_folder(|dir| !site_alerts(dir).is_empty());
    let alert = site.alerts().remove(0);
    let first: u64 = alert["message"].as_str().unwrap().parse().unwrap();
    let seq = alert["seq"].as_u64().unwrap();
    // What was left out while the machine stood still has a number and was never a call.
    let dropped = site.dropped(alert["source"].as_str().unwrap());
    assert!(
        first <= seq + 1 && first + dropped + 5 >= seq,
        "calls {first} at frame {seq}, {dropped} dropped: one for each frame, none for the rehearsals"
    );
    site.end();
}

fn site_alerts(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("alerts.jsonl")).unwrap_or_default()
}

/// A version that is well on what is remembered, and fails after its first three seconds.
const LATE: &str = "local seen = 0\nfunction detect(frame)\n  seen += 1\n  state.set('calls', (state.get('calls') or 0) + 1)\n  \
                    if seen > 90 then error('too late') end\nend\n";

#[test]
fn a_version_that_fails_on_probation_is_rolled_back_everywhere() {
    let mut site = Site::new(COUNTS);
    site.frames(10.0);
    site.save(LATE, "script reloaded");
    assert_eq!((site.plugin()["generation"].as_u64(), site.plugin()["on_probation"].as_bool()), (Some(2), Some(true)));
    let line = site.run.wait_line(LIMIT, |l| l.contains("rolled back"));
    assert!(line.contains("rule.lua:5: too late"), "{line}");
    // The line comes first, the figures after it: this one last.
    let page = site.page.clone();
    site.until(|| sample(&get(&page, "/metrics").1, "dsengine_strategy_generation{") == Some(1.0));
    let plugin = site.plugin();
    assert_eq!((plugin["generation"].as_u64(), plugin["on_probation"].as_bool()), (Some(1), Some(false)), "{plugin}");
    assert_eq!(site.metric("dsengine_strategy_reloads_total{result=\"rolled_back\""), 1.0);
    assert!(get(&site.page, "/health").1.contains("rolled back"));
    // It judges on, without a fault.
    site.frames(60.0);
    let faults = ["left", "right"]
        .map(|s| site.metric(&format!("dsengine_strategy_faults_total{{kind=\"error\",source=\"{s}\"")));
    assert!((3.0..=4.0).contains(&faults.iter().sum()), "{faults:?}");
    // What was rolled back is not tried again; what differs is, and gets a number of its own.
    let (status, answer) = post(&site.page, "/api/v1/plugins/rule/reload");
    assert!(
        status == 409 && answer.contains("was rolled back before") && answer.contains("too late"),
        "{status} {answer}"
    );
    site.save(&format!("-- mended\n{COUNTS}"), "script reloaded");
    assert_eq!(site.plugin()["generation"], 3);
    assert!(!get(&site.page, "/health").1.contains("rolled back"));
    site.end();
}

#[test]
fn a_save_during_a_probation_acquits_nothing_and_the_last_good_version_comes_back() {
    let mut site = Site::new(COUNTS);
    site.frames(10.0);
    // One fault a second: not over its probation yet, and not good.
    let bad = COUNTS.replace("  state.set", "  if frame.seq % 30 == 0 then error('bad') end\n  state.set");
    site.save(&format!("local seen = 0\n{}", LATE.replace("seen > 90", "seen == 20")), "script reloaded");
    site.frames(5.0);
    let line = site.save(&bad.replace("% 30", "% 3000 + 20"), "replaced on probation");
    assert!(line.contains("generation=2") && line.contains("kept=1"), "{line}");
    site.run.wait_line(LIMIT, |l| l.contains("script reloaded"));
    site.frames(5.0);
    site.save(&LATE.replace("90", "45"), "kept=1");
    let line = site.run.wait_line(LIMIT, |l| l.contains("rolled back"));
    assert!(line.contains("generation=4") && line.contains("back=1") && line.contains("too late"), "{line}");
    let page = site.page.clone();
    site.until(|| sample(&get(&page, "/metrics").1, "dsengine_strategy_generation{") == Some(1.0));
    let plugin = site.plugin();
    assert_eq!((plugin["generation"].as_u64(), plugin["on_probation"].as_bool()), (Some(1), Some(false)), "{plugin}");
    assert!(!site.run.seen.iter().any(|line| line.contains("the new version stays")), "{}", site.run.seen.join("\n"));
    let faults = |site: &Site| {
        ["left", "right"]
            .map(|s| site.metric(&format!("dsengine_strategy_faults_total{{kind=\"error\",source=\"{s}\"")))
    };
    site.frames(2.0);
    let before = faults(&site);
    site.frames(60.0);
    assert_eq!(faults(&site), before, "the first version judges");
    site.end();
}

#[test]
fn a_version_that_stays_well_is_kept() {
    let mut site = Site::new(COUNTS);
    site.frames(5.0);
    site.save(&format!("-- second\n{COUNTS}"), "script reloaded");
    let line = site.run.wait_line(LIMIT, |l| l.contains("the new version stays"));
    assert!(line.contains("generation=2"), "{line}");
    assert_eq!(site.plugin()["on_probation"], false);
    site.end();
}

#[test]
fn what_lives_in_a_version_is_handed_to_the_next() {
    let script = |version: u32, more: &str| {
        format!(
            "---@version {version}\nlocal seen = 0\nfunction detect(frame)\n  seen += 1\n  state.set('calls', (state.get('calls') or 0) + 1)\n  \
             if seen % 10 == 0 then\n    frame:alert{{ rule = 'seen', key = {version}, message = ('%d %d'):format(seen, state.get('calls')) }}\n  \
             end\nend\nfunction suspend() return {{ seen = seen }} end\n{more}"
        )
    };
    let mut site = Site::new(&script(1, "function resume(from, kept) seen = kept.seen end\n"));
    site.frames(30.0);
    let refusing = script(2, "function resume(from, kept) error('cannot read what version ' .. from .. ' kept') end\n");
    let line = site.save(&refusing, "not reloaded");
    assert!(line.contains("taking over") && line.contains("cannot read what version 1 kept"), "{line}");
    site.save(&script(3, "function resume(from, kept) seen = kept.seen end\n"), "script reloaded");
    site.until_folder(|dir| site_alerts(dir).contains("\"key\":\"3\""));
    // The state counts the calls of all versions. A live source leaves numbers out when the machine stands still.
    for alert in site.alerts() {
        let (seen, calls) = alert["message"].as_str().unwrap().split_once(' ').unwrap();
        assert_eq!(seen, calls, "every frame counted once, over both versions: {alert}");
    }
    site.end();
}

#[test]
fn a_newer_version_may_convert_what_is_kept() {
    let old = "---@version 1\nfunction detect(frame) state.set('calls', (state.get('calls') or 0) + 1) end\n";
    let new = "---@version 2\nfunction migrate(from, kept)\n  state.set('n', { from = from, calls = state.get('calls') })\n  state.delete('calls')\nend\n\
               function detect(frame)\n  local n = state.get('n')\n  frame:alert{ rule = 'n', message = ('%s %s'):format(n.from, tostring(state.get('calls'))), key = tostring(n.calls > 20) }\nend\n";
    let mut site = Site::new(old);
    site.frames(30.0);
    site.save(new, "script reloaded");
    site.until_folder(|dir| !site_alerts(dir).is_empty());
    assert_eq!((&site.alerts()[0]["message"], &site.alerts()[0]["key"]), (&"1 nil".into(), &"true".into()));
    site.end();
}

#[test]
fn a_handlers_script_is_reloaded_and_a_broken_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame) frame:alert{ rule = 'r', key = frame.seq } end\n");
    let handler = |word: &str| format!("function handle_alert(alert) log.info('{word}') end\n");
    write(dir.path(), "own.lua", &handler("first"));
    let config = "sources: [{ id: a, uri: 'test:pattern=red,size=64x64,fps=30' }]\n\
                  detection: { strategies: [{ name: rule, module: rule.lua }] }\n\
                  alerts: { throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, handlers: [{ name: own, module: own.lua }] }\n\
                  monitoring: { prometheus: { port: 0 } }\n";
    write(dir.path(), "config.yaml", config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    run.wait_line(LIMIT, |line| line.contains("first"));
    write(dir.path(), "own.lua", "function handle_alert(alert\n");
    let line = run.wait_line(LIMIT, |line| line.contains("not reloaded"));
    assert!(line.contains("own.lua:2:"), "{line}");
    write(dir.path(), "own.lua", &handler("second"));
    run.wait_line(LIMIT, |line| line.contains("second"));
    let plugins: Value = serde_json::from_str(&get(&page, "/api/v1/plugins").1).unwrap();
    let own = plugins.as_array().unwrap().iter().find(|p| p["name"] == "own").unwrap();
    assert_eq!((&own["kind"], &own["generation"]), (&"handler".into(), &2.into()), "{own}");
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|s| s.code()), Some(0));
}

#[test]
fn an_edit_of_what_a_script_requires_is_an_edit_of_the_script() {
    let mut site = Site::new(COUNTS);
    let lib = site.dir.path().join("lib");
    std::fs::create_dir(&lib).unwrap();
    write(&lib, "rule.lua", "return { name = 'first' }\n");
    let script = "local lib = require('lib/rule')\nfunction detect(frame)\n  if frame.seq % 10 == 0 then\n    \
                  frame:alert{ rule = lib.name, message = 'seen' }\n  end\nend\n";
    site.save(script, "script reloaded");
    site.until_folder(|dir| site_alerts(dir).contains("\"rule\":\"first\""));
    write(&lib, "rule.lua", "return { name = 'second' }\n");
    site.run.wait_line(LIMIT, |line| line.contains("script reloaded"));
    assert_eq!(site.plugin()["generation"], 3);
    site.until_folder(|dir| site_alerts(dir).contains("\"rule\":\"second\""));
    write(&lib, "rule.lua", "return {\n  name = = 'third' }\n");
    let line = site.run.wait_line(LIMIT, |line| line.contains("not reloaded"));
    assert!(line.contains("lib/rule.lua:2:"), "{line}");
    assert_eq!(site.plugin()["generation"], 3);
    // What is not there yet is looked out for; the script itself need not be saved again.
    let line = site.save(&script.replace("lib/rule", "lib/more"), "not reloaded");
    assert!(line.contains("no module 'lib/more'"), "{line}");
    write(&lib, "more.lua", "return { name = 'fourth' }\n");
    site.run.wait_line(LIMIT, |line| line.contains("script reloaded"));
    site.until_folder(|dir| site_alerts(dir).contains("\"rule\":\"fourth\""));
    // A reload by name sees it, too.
    let (status, answer) = post(&site.page, "/api/v1/plugins/rule/reload");
    assert!(status == 200 && answer.contains("\"changed\":false"), "{status} {answer}");
    site.end();
}

#[test]
fn an_edit_of_plugin_toml_counts_as_one_of_the_plugin() {
    let mut site = Site::new(COUNTS);
    let manifest = "name = \"rule\"\nversion = \"1.0.0\"\nkind = \"strategy\"\nentry = \"rule.lua\"\n";
    write(site.dir.path(), "plugin.toml", manifest);
    site.save(&format!("-- second\n{COUNTS}"), "script reloaded");
    write(site.dir.path(), "plugin.toml", &format!("{manifest}[needs]\nenv = [\"HOME\"]\n"));
    let line = site.run.wait_line(LIMIT, |line| line.contains("not reloaded"));
    assert!(line.contains("HOME"), "{line}");
    write(site.dir.path(), "plugin.toml", &manifest.replace("1.0.0", "1.1.0"));
    site.run.wait_line(LIMIT, |line| line.contains("script reloaded"));
    site.end();
}

#[test]
fn a_script_that_is_deleted_runs_on_and_shows_in_the_health() {
    let mut site = Site::new(COUNTS);
    site.frames(5.0);
    std::fs::remove_file(site.dir.path().join("rule.lua")).unwrap();
    site.run.wait_line(LIMIT, |line| line.contains("is gone") && line.contains("rule.lua"));
    // The line comes first.
    let page = site.page.clone();
    site.until(|| get(&page, "/health").1.contains("is gone"));
    site.frames(5.0);
    site.save(COUNTS, "the running version again");
    assert!(!get(&site.page, "/health").1.contains("is gone"));
    site.end();
}
