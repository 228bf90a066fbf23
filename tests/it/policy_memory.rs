//! The alert policy over a restart of the real program: who stays is not told again, and a clip is judged anew.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Dsengine, until, write, write_scene, write_trace};

/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Somebody stays; every tenth frame says that frames are judged.
const RULE: &str = "function detect(f)\n  f:alert{ rule = 'stays', key = 'door', message = 'm' }\n  if f.seq % 10 == 0 then \
                    f:alert{ rule = 'tick', key = 'k', message = 'm' } end\nend";

/// A folder with a configuration whose alerts go to a file.
fn folder(source: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "r.lua", RULE);
    write_scene(dir.path(), 30);
    write_trace(dir.path(), 40);
    let config = format!(
        "sources: [{{ id: a, uri: '{source}' }}]\nmonitoring: {{ enabled: false }}\n\
         detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
         alerts: {{ throttle_seconds: 3600, burst_threshold: 0, max_alerts_per_minute: 0, rules: {{ tick: {{ \
         throttle_seconds: 0 }} }}, outbox: {{ durability: sync }}, handlers: [{{ name: file, config: {{ log_file: \
         alerts.jsonl }} }}] }}\n"
    );
    write(dir.path(), "c.yaml", &config);
    dir
}

fn run(dir: &Path) -> Dsengine {
    Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir)
}

/// How many alerts of a rule are in the file.
fn count(dir: &Path, rule: &str) -> usize {
    let text = std::fs::read_to_string(dir.join("alerts.jsonl")).unwrap_or_default();
    // A kill may cut the last line.
    let alerts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    alerts.filter(|alert| alert["rule"] == rule).count()
}

#[test]
fn who_stays_over_a_restart_or_a_kill_is_not_told_again() {
    let dir = folder("scene:scene.yaml?live=true&pixels=false");
    for signal in ["KILL", "TERM", "KILL"] {
        let before = count(dir.path(), "tick");
        let mut process = run(dir.path()).start();
        // What is saved with a frame is written before the alerts of later frames, or with them.
        until("frames are judged", || count(dir.path(), "tick") >= before + 3);
        process.signal(signal);
        assert!(process.end(LIMIT).is_some(), "{}", process.seen.join("\n"));
    }
    assert_eq!(count(dir.path(), "stays"), 1, "over three processes");
}

#[test]
fn a_restart_begins_no_new_minute_of_the_limit() {
    let dir = folder("scene:scene.yaml?live=true&pixels=false");
    write(
        dir.path(),
        "r.lua",
        "function detect(f)\n  f:alert{ rule = 'flood', key = 'k', message = 'm' }\n  \
         if f.seq % 10 == 0 then f:alert{ rule = 'tick', key = 'k', level = 'critical', message = 'm' } end\nend",
    );
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    let limited = config.replace("throttle_seconds: 3600", "throttle_seconds: 0");
    let limited = limited.replace("max_alerts_per_minute: 0", "max_alerts_per_minute: 3");
    write(dir.path(), "c.yaml", &limited);
    for _ in 0..3 {
        let before = count(dir.path(), "tick");
        let mut process = run(dir.path()).start();
        until("frames are judged", || count(dir.path(), "tick") >= before + 3);
        process.signal("KILL");
        assert!(process.end(LIMIT).is_some(), "{}", process.seen.join("\n"));
    }
    let text = std::fs::read_to_string(dir.path().join("alerts.jsonl")).unwrap();
    let alerts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let limited = alerts.filter(|alert| alert["rule"] == "flood");
    // An id begins with its time.
    let times = limited.map(|alert| u64::from_str_radix(&alert["id"].as_str().unwrap()[..12], 16).unwrap());
    let mut times: Vec<u64> = times.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    times.sort_unstable();
    assert!(times.len() >= 3 && times.windows(4).all(|four| four[3] - four[0] >= 60_000), "{times:?}");
}

#[test]
fn a_clip_that_is_run_twice_alerts_twice() {
    let dir = folder("trace:t.jsonl");
    for runs in 1..=2 {
        run(dir.path()).run().expect(0);
        assert_eq!(count(dir.path(), "stays"), runs);
    }
}
