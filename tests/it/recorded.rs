//! A recorded run is replayed as it was: the same alerts in the same order, although all sources share one limit.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Dsengine, write};

/// Longest wait for what takes seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Alerts of all sources in a minute: a share of ten for each, and two for those that come first.
const PLACES: usize = 32;

/// What makes two alerts the same.
fn head(alert: &Value) -> String {
    ["id", "source", "rule", "key", "seq", "pts_ns", "time", "message"].map(|field| alert[field].to_string()).join(" ")
}

/// The alerts that stand for themselves, in their order.
fn heads(text: &str) -> Vec<String> {
    let alerts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    alerts.filter(|alert| alert["digest"].is_null() && alert["rule"] == "r").map(|alert| head(&alert)).collect()
}

#[test]
fn a_recorded_run_of_three_sources_under_one_limit_is_replayed_alert_by_alert() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "r.lua",
        "function detect(frame)\n  frame:alert{ rule = 'r', key = tostring(frame.seq), message = 'm' }\n  \
         if frame.seq % 3 == 0 then frame:alert{ rule = 'r', key = 'more ' .. frame.seq, message = 'm' } end\nend\n",
    );
    let mut sources = Vec::new();
    // Their frames come at paces of their own, so that the order of arrival is not that of their times.
    for (id, fps) in [("a", 25), ("b", 7), ("c", 16)] {
        write(
            dir.path(),
            &format!("{id}.yaml"),
            &format!(
                "seed: 1\nduration_s: 3000\nfps: {fps}\nwidth: 320\nheight: 240\n\
                 camera: {{ height_m: 4, pitch_deg: 12, focal: 0.9 }}\nnoise: 2\n\
                 objects: [{{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }}]\n"
            ),
        );
        sources.push(format!("{{ id: {id}, uri: 'scene:{id}.yaml?live=true&pixels=false' }}"));
    }
    let config = format!(
        "sources: [{}]\nmonitoring: {{ enabled: false }}\n\
         detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
         alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 0, max_alerts_per_minute: {PLACES}, \
         handlers: [{{ name: file, config: {{ log_file: alerts.jsonl }} }}] }}\n",
        sources.join(", ")
    );
    write(dir.path(), "config.yaml", &config);
    let args = ["run", "--config", "config.yaml", "--state", "state", "--record", "t.jsonl"];
    let mut run = Dsengine::new(args).cwd(dir.path()).start();
    let sent = || heads(&std::fs::read_to_string(dir.path().join("alerts.jsonl")).unwrap_or_default());
    let end = Instant::now() + LIMIT;
    while sent().len() < PLACES {
        assert!(Instant::now() < end, "{} of {PLACES}:\n{}", sent().len(), run.seen.join("\n"));
        std::thread::park_timeout(Duration::from_millis(10));
    }
    run.signal("TERM");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
    let live = sent();
    for workers in ["1", "8"] {
        let args = ["replay", "t.jsonl", "--config", "config.yaml", "--workers", workers];
        let replayed = heads(&Dsengine::new(args).cwd(dir.path()).run().expect(0).stdout);
        assert_eq!(replayed, live, "with {workers} workers");
    }
    // A reader that does not know of turns sees an ordinary trace.
    let trace = std::fs::read_to_string(dir.path().join("t.jsonl")).unwrap();
    let head: Value = serde_json::from_str(trace.lines().next().unwrap()).unwrap();
    assert_eq!(head["format"], 1);
}
