//! The state of plugins over the end of a process: kept on live sources, exact after a clean end, of one version only.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Dsengine, Running, get, soak, write, write_scene, write_trace};

/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Frames per second of the scene.
const FPS: u64 = 20;
/// Counts frames in the host's state and logs every count; with `state`, a pair that is always equal.
const COUNTS: &str = "---@version 1\nfunction detect(frame)\n  local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n  state.set('pair', { n, n })\n  \
                      log.info('tally ' .. n)\nend\n";

/// A folder with a live scene that `count.lua` judges; `keys` are further keys of the strategy, `rest` of the file.
fn folder(uri: &str, keys: &str, rest: &str, script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "count.lua", script);
    write_scene(dir.path(), FPS);
    write_trace(dir.path(), 10);
    let config = format!(
        "sources: [{{ id: a, uri: '{uri}' }}]\n\
         detection: {{ strategies: [{{ name: count, module: count.lua, limits: {{ log_lines_per_second: 1000 }}{keys} }}] }}\n{rest}"
    );
    write(dir.path(), "c.yaml", &config);
    dir
}

fn start(dir: &Path) -> Running {
    Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir).start()
}

const LIVE: &str = "scene:scene.yaml?live=true&pixels=false";
/// Without a page: nothing asks for it.
const QUIET: &str = "monitoring: { enabled: false }\n";

/// The count in a log line.
fn count(line: &str) -> Option<u64> {
    line.split_once("tally ")?.1.split_whitespace().next()?.trim_matches('"').parse().ok()
}

fn counts(lines: &[String]) -> Vec<u64> {
    lines.iter().filter_map(|line| count(line)).collect()
}

/// Ends a run as a service does; returns what it counted.
fn end(mut run: Running) -> Vec<u64> {
    run.signal("TERM");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
    counts(&run.seen)
}

#[test]
fn a_counter_over_a_clean_restart_is_exact() {
    let dir = folder(LIVE, "", QUIET, COUNTS);
    let mut last = 0;
    for _ in 0..3 {
        let mut run = start(dir.path());
        run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= last + 3));
        let counted = end(run);
        assert_eq!(counted.first(), Some(&(last + 1)), "it goes on where it was");
        last = *counted.last().unwrap();
        assert_eq!(counted.len() as u64, last - counted[0] + 1);
    }
}

#[test]
fn state_survives_a_restart_where_it_is_kept() {
    // Each: the source, the strategy's keys, and whether the second run goes on counting.
    for (uri, keys, kept) in [(LIVE, "", true), (LIVE, ", persist_state: false", false), ("trace:t.jsonl", "", false)] {
        let dir = folder(uri, keys, QUIET, COUNTS);
        let firsts: Vec<u64> = (0..2)
            .map(|_| {
                let mut run = start(dir.path());
                run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 3));
                if uri == LIVE {
                    return end(run)[0];
                }
                run.end(LIMIT);
                counts(&run.seen)[0]
            })
            .collect();
        assert_eq!(firsts[0], 1);
        assert_eq!(firsts[1] > 1, kept, "{uri}{keys}: {firsts:?}");
    }
}

#[test]
fn state_that_is_not_kept_any_more_is_not_found_later() {
    let dir = folder(LIVE, "", QUIET, COUNTS);
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    let without = config.replace("module: count.lua", "module: count.lua, persist_state: false");
    for (config, goes_on) in [(&config, false), (&without, false), (&config, false), (&config, true)] {
        write(dir.path(), "c.yaml", config);
        let mut run = start(dir.path());
        run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 3));
        assert_eq!(end(run)[0] > 1, goes_on);
    }
}

/// A version of the counter: it says which version the state that it finds is of, and converts that of another.
fn version(number: usize) -> String {
    format!(
        "---@version {number}\nlocal function check()\n  local of, n, twice = state.get('of'), (state.get('n') or 0), (state.get('twice') or 0)\n  \
         if of ~= nil and (of ~= '{number}' or twice ~= 2 * n) then log.error('mixed ' .. of .. ' ' .. n .. ' ' .. twice) end\n  return n\nend\n\
         function migrate(from)\n  if state.get('of') ~= from then log.error('mixed: of ' .. tostring(state.get('of')) .. ', not ' .. from) end\n  \
         state.set('of', '{number}')\nend\n\
         function detect(frame)\n  local n = check() + 1\n  state.set('of', '{number}')\n  state.set('n', n)\n  state.set('twice', 2 * n)\n  \
         log.info('tally ' .. n .. ' at ' .. time.now())\nend\n"
    )
}

/// The frame time of a count in a log line, in seconds.
fn time(line: &str) -> Option<f64> {
    line.split_once("tally ")?.1.split_once(" at ")?.1.split_whitespace().next()?.trim_matches('"').parse().ok()
}

#[test]
fn a_kill_costs_the_last_second_at_most_and_never_mixes_two_versions() {
    let kills = if soak() { 200 } else { 6 };
    let dir = folder(LIVE, "", QUIET, &version(0));
    fastrand::seed(11);
    // The counts of the last run, each with the time of its frame.
    let mut counted: Vec<(u64, f64)> = Vec::new();
    for n in 0..kills {
        // Edited between two runs, and in some of them.
        write(dir.path(), "count.lua", &version(n));
        let mut run = start(dir.path());
        let first = count(&run.wait_line(LIMIT, |line| count(line).is_some())).unwrap();
        if let Some((last, killed_s)) = counted.last().copied() {
            assert!(first <= last + 1, "{first} after {last} (run {n})");
            let saved = counted.iter().find(|(count, _)| *count + 1 == first);
            // Nothing of a short run: what it found counts.
            let saved = saved.or_else(|| counted.first().filter(|(count, _)| *count == first));
            let lost_s = saved.map(|(_, saved_s)| killed_s - saved_s);
            // A second, and what a busy machine adds to the write.
            let most_s = if soak() { 1.0 } else { 3.0 };
            assert!(lost_s.is_some_and(|lost_s| lost_s <= most_s), "lost {lost_s:?} s: {first} after {last} (run {n})");
        }
        assert!(n < 2 || first > 1, "run {n} began anew");
        // Long enough for a save, and a little more.
        let more = FPS * 3 / 2 + fastrand::u64(0..FPS / 2);
        run.wait_line(LIMIT, |line| count(line).is_some_and(|count| count >= first + more));
        run.signal("KILL");
        run.end(LIMIT);
        let mixed = run.seen.iter().find(|line| line.contains("mixed"));
        assert_eq!(mixed, None, "run {n}");
        counted = run.seen.iter().filter_map(|line| Some((count(line)?, time(line)?))).collect();
    }
}

#[test]
fn state_that_a_new_version_cannot_convert_is_dropped_and_that_is_said() {
    let dir = folder(LIVE, "", QUIET, COUNTS);
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 3));
    end(run);
    let refuses =
        COUNTS.replace("@version 1", "@version 2") + "function migrate(from) error('not from ' .. from) end\n";
    write(dir.path(), "count.lua", &refuses);
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| {
        line.contains("starts without the state of the last instance") && line.contains("not from 1")
    });
    run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 3));
    assert_eq!(end(run)[0], 1);
}

#[test]
fn what_suspend_returns_is_handed_to_the_next_process_once() {
    let script = "local n = 0\nfunction detect(frame)\n  n += 1\n  log.info('tally ' .. n)\nend\n\
                  function suspend() return n end\nfunction resume(from, handed) n = handed end\n";
    let dir = folder(LIVE, "", QUIET, script);
    let mut last = 0;
    for _ in 0..2 {
        let mut run = start(dir.path());
        run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= last + 3));
        let counted = end(run);
        assert_eq!(counted[0], last + 1);
        last = *counted.last().unwrap();
    }
}

#[test]
fn a_value_expires_by_capture_time_over_a_restart() {
    let script = "function detect(frame)\n  if not state.get('first') then\n    state.set('first', true)\n    \
                  state.set('long', 1, 3600)\n    state.set('short', 1, 0.5)\n  end\n  \
                  log.info('tally ' .. ((state.get('long') or 0) * 10 + (state.get('short') or 0)) )\nend\n";
    let dir = folder(LIVE, "", QUIET, script);
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| count(line) == Some(11));
    run.wait_line(LIMIT, |line| count(line) == Some(10));
    end(run);
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| count(line).is_some());
    let counted = end(run);
    assert!(counted.iter().all(|n| *n == 10), "{counted:?}");
}

#[test]
fn a_handlers_state_survives_a_restart_where_it_is_kept() {
    let rule = "function detect(f) f:alert{ rule = 'r', key = tostring(f.seq), message = 'm' } end";
    let desk = "function handle_alert(alert)\n  local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n  log.info('tally ' .. n)\nend\n";
    for (keys, kept) in [("", true), (", persist_state: false", false)] {
        let alerts = format!(
            "alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 1000, max_alerts_per_minute: 100000, \
             handlers: [{{ name: desk, module: desk.lua, limits: {{ log_lines_per_second: 1000 }}{keys} }}] }}\n{QUIET}"
        );
        let dir = folder(LIVE, "", &alerts, rule);
        write(dir.path(), "desk.lua", desk);
        let mut last = 0;
        for run_number in 0..2 {
            let mut run = start(dir.path());
            let first = count(&run.wait_line(LIMIT, |line| count(line).is_some())).unwrap();
            assert_eq!(first, if kept { last + 1 } else { 1 }, "run {run_number}{keys}");
            run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= first + 3));
            last = *end(run).last().unwrap();
        }
    }
}

/// A change that keeps no state any more and is refused for another reason must leave the state alone.
#[test]
fn a_refused_change_loses_nothing_of_a_handlers_state() {
    let rule = "function detect(f) f:alert{ rule = 'r', key = tostring(f.seq), message = 'm' } end";
    let desk = "function handle_alert(alert)\n  local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n  log.info('tally ' .. n)\nend\n";
    let alerts = format!(
        "alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 1000, max_alerts_per_minute: 100000, \
         handlers: [{{ name: desk, module: desk.lua, limits: {{ log_lines_per_second: 1000 }} }}] }}\n{QUIET}"
    );
    let dir = folder(LIVE, "", &alerts, rule);
    write(dir.path(), "desk.lua", desk);
    write(dir.path(), "late.lua", "function handle(alert) end\n");
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 3));
    let edit = config.replace("module: desk.lua,", "module: desk.lua, persist_state: false,");
    let edit = edit.replace("1000 } }] }", "1000 } }, { name: late, module: late.lua }] }");
    assert!(edit.contains("late.lua"), "{edit}");
    write(dir.path(), "c.yaml", &edit);
    run.wait_line(LIMIT, |line| line.contains("there is no function handle_alert(alert)"));
    write(dir.path(), "c.yaml", &config);
    let last = *end(run).last().unwrap();
    let mut run = start(dir.path());
    assert_eq!(count(&run.wait_line(LIMIT, |line| count(line).is_some())), Some(last + 1));
    end(run);
}

/// As above, where the source of a rule's state comes back with the change.
#[test]
fn a_refused_change_loses_nothing_of_a_rules_state() {
    let script = "function detect(frame)\n  local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n  \
                  log.info((if frame.source == 'a' then 'tally ' else 'other ') .. n)\nend\n";
    let dir = folder(LIVE, "", QUIET, script);
    write(dir.path(), "broken.yaml", "seed: nothing\n");
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 3));
    let last = *end(run).last().unwrap();
    // Without the source, its state waits.
    let entry = |id: &str, uri: &str| format!("{{ id: {id}, uri: '{uri}' }}");
    write(dir.path(), "c.yaml", &config.replace(&entry("a", LIVE), &entry("b", LIVE)));
    let mut run = start(dir.path());
    run.wait_line(LIMIT, |line| line.contains("other 3"));
    let sources = [entry("b", LIVE), entry("a", LIVE), entry("c", "scene:broken.yaml?live=true&pixels=false")];
    let edit = config.replace(&entry("a", LIVE), &sources.join(", "));
    assert!(edit.contains("broken.yaml"), "{edit}");
    write(dir.path(), "c.yaml", &edit.replace("module: count.lua", "module: count.lua, persist_state: false"));
    run.wait_line(LIMIT, |line| line.contains("broken.yaml"));
    end(run);
    write(dir.path(), "c.yaml", &config);
    let mut run = start(dir.path());
    assert_eq!(count(&run.wait_line(LIMIT, |line| count(line).is_some())), Some(last + 1));
    end(run);
}

#[test]
fn the_state_of_a_plugin_is_shown_and_cleared_while_it_runs() {
    let dir = folder(LIVE, "", "", COUNTS);
    let args = ["run", "--config", "c.yaml", "--state", "state", "--port", "0"];
    let mut run = Dsengine::new(args).cwd(dir.path()).start();
    let page = run.page();
    run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= 5));
    let plugin = |args: &[&str]| {
        let args = [&["plugin", "state"][..], args, &["--at", &page][..]].concat();
        Dsengine::new(args).cwd(dir.path()).run()
    };
    let shown: Value = plugin(&["count", "--json"]).expect(0).json();
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    let (source, kept, values) = (&shown[0]["source"], &shown[0]["kept"], &shown[0]["values"]);
    assert!(source == "a" && *kept == true && *values == 2 && shown[0]["version"] == "1", "{shown}");
    let text = plugin(&["count"]).expect(0).stdout;
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("a ") && line.ends_with("kept")), "{text}");
    assert_eq!(get(&page, "/api/v1/plugins/count/state").0, 200);
    assert_eq!(plugin(&["count", "--clear"]).expect(0).stdout, "count: 2 values cleared\n");
    run.wait_line(LIMIT, |line| count(line) == Some(1));
    let unknown = plugin(&["cuont"]);
    assert!(unknown.code() != 0 && unknown.stderr.contains("there is no plugin 'cuont'"), "{}", unknown.stderr);
    end(run);
}
