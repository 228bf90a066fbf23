//! `alerts.rules`, `sources[].alerts`: the alert policy of single rules and sources.

use serde_json::Value;

use super::{Bench, poll, stop};

/// Raises an alert on each frame for a person (0.6) and one for a car (0.9), of rules of those names.
const BY_LABEL: &str = "function detect(frame)\n  for i in frame:select{ zone = config.zone } do\n    frame:alert{ rule = \
                        frame:label(i), key = 'k', detections = { i }, message = 'm' }\n  end\nend\n";

/// The alerts of the trace on the sources `a` and `b`, with these keys of `alerts`, and of the `alerts` of `a`.
fn written(bench: &Bench, general: &str, own: &str) -> Vec<Value> {
    let _ = std::fs::remove_file(bench.path("out.jsonl"));
    bench.summary(&config(general, own));
    bench.lines("out.jsonl")
}

fn config(general: &str, own: &str) -> String {
    format!(
        "sources: [{{ id: a, uri: 'trace:steps.jsonl', alerts: {{ {own} }} }}, {{ id: b, uri: 'trace:steps.jsonl' }}]\n\
         detection: {{ strategies: [{{ name: by-label, module: by-label.lua }}] }}\n\
         alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, {general} \
         handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n"
    )
}

/// How many there are of `a` for a person and a car, and of `b`.
fn counts(alerts: &[Value]) -> [usize; 4] {
    [("a", "person"), ("a", "car"), ("b", "person"), ("b", "car")]
        .map(|(source, rule)| alerts.iter().filter(|alert| alert["source"] == source && alert["rule"] == rule).count())
}

#[test]
fn a_rule_and_a_source_have_a_policy_of_their_own() {
    let bench = Bench::new();
    bench.write("by-label.lua", BY_LABEL);
    let night = r#"from: "22:00", to: "06:00""#;
    for (general, own, expected) in [
        ("", "", [100, 100, 100, 100]),
        ("rules: { person: { throttle_seconds: 60 } },", "", [1, 100, 1, 100]),
        ("", "throttle_seconds: 60", [1, 1, 100, 100]),
        ("", "throttle_seconds: 60, rules: { car: { throttle_seconds: 0 } }", [1, 100, 100, 100]),
        // What the source says prevails over what is said of a rule for all sources.
        ("rules: { person: { throttle_seconds: 60 } },", "throttle_seconds: 0", [100, 100, 1, 100]),
        ("", "throttle_seconds: 60, repeat_seconds: 3", [4, 4, 100, 100]),
        ("", "burst_threshold: 2", [3, 3, 100, 100]),
        ("", "burst_threshold: 2, burst_window_seconds: 2", [15, 15, 100, 100]),
        ("rules: { car: { burst_threshold: 2 } },", "", [100, 3, 100, 3]),
        ("", "level: critical, max_critical_per_minute: 7", [8, 8, 100, 100]),
        // Five and two digests.
        ("", "max_alerts_per_minute: 5", [4, 3, 100, 100]),
        ("", "min_confidence: 0.8", [0, 100, 100, 100]),
        ("rules: { person: { min_confidence: 0.8 } },", "rules: { car: { min_confidence: 0.95 } }", [0, 0, 0, 100]),
        ("", &format!("quiet_hours: {{ {night} }}"), [0, 0, 100, 100]),
        ("", &format!("quiet_hours: {{ {night}, min_level: medium }}"), [100, 100, 100, 100]),
        ("", &format!("quiet_hours: {{ {night}, days: [wed-mon] }}"), [100, 100, 100, 100]),
        ("", r#"quiet_hours: { from: "23:00", to: "06:00" }"#, [100, 100, 100, 100]),
        ("", r#"quiet_hours: { from: "22:00", to: "22:05" }"#, [100, 100, 100, 100]),
        (&format!("quiet_hours: {{ {night} }},"), "quiet_hours: []", [100, 100, 0, 0]),
        (&format!("rules: {{ car: {{ quiet_hours: {{ {night} }} }} }},"), "", [100, 0, 100, 0]),
    ] {
        assert_eq!(counts(&written(&bench, general, own)), expected, "{general} | {own}");
    }
    let levels =
        written(&bench, "level: low, rules: { car: { level: high } },", "rules: { person: { level: critical } }");
    for alert in &levels {
        let expected = match (alert["source"].as_str().unwrap(), alert["rule"].as_str().unwrap()) {
            ("a", "person") => "critical",
            (_, "car") => "high",
            _ => "low",
        };
        // The critical ones beyond sixty in a minute are in a digest.
        assert_eq!(alert["level"], expected, "{alert}");
    }
}

#[test]
fn a_profile_lays_a_policy_of_a_rule_and_of_a_source_over_the_rest() {
    let bench = Bench::new();
    bench.write("by-label.lua", BY_LABEL);
    let general = "rules: { car: { throttle_seconds: 60, level: high } },";
    let away = "profiles: { away: { alerts: { rules: { car: { throttle_seconds: 0 }, person: { throttle_seconds: 60 } } }, \
                sources: [{ id: a, alerts: { min_confidence: 0.8 } }] } }\n";
    for (profile, expected) in [("", [100, 1, 100, 1]), ("profile: away\n", [0, 100, 1, 100])] {
        let _ = std::fs::remove_file(bench.path("out.jsonl"));
        bench.summary(&format!("{}{away}{profile}", config(general, "")));
        let alerts = bench.lines("out.jsonl");
        assert_eq!(counts(&alerts), expected, "{profile}");
        assert!(alerts.iter().all(|alert| (alert["rule"] == "car") == (alert["level"] == "high")), "{profile}");
    }
}

#[test]
fn a_saved_policy_of_a_rule_and_a_source_holds_at_once_and_restarts_no_source() {
    let bench = Bench::new();
    bench.write("tick.lua", "function detect(frame) frame:alert{ rule = 'tick', message = 'tick' } end\n");
    let config = |rule: &str, own: &str| {
        format!(
            "sources: [{{ id: a, uri: 'test:pattern=red,size=64x64,fps=30', alerts: {{ {own} }} }}]\n\
             detection: {{ strategies: [{{ name: tick, module: tick.lua }}] }}\nalerts:\n  throttle_seconds: 0\n  \
             max_alerts_per_minute: 0\n  burst_threshold: 0\n  rules: {{ {rule} }}\n  handlers:\n    \
             - {{ name: file, config: {{ log_file: out.jsonl }} }}\n"
        )
    };
    let mut run = bench.start(&config("tick: { level: low }", ""));
    run.page();
    // A line may be half written.
    let alerts = || -> Vec<Value> {
        let text = std::fs::read_to_string(bench.path("out.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let first_of = |level: &str| alerts().into_iter().find(|alert| alert["level"] == level);
    poll(&mut run, || first_of("low"));
    bench.write("config-1.yaml", &config("tick: { level: high }", ""));
    poll(&mut run, || first_of("high"));
    bench.write("config-1.yaml", &config("tick: { level: high }", "level: critical"));
    poll(&mut run, || first_of("critical"));
    stop(run);
    let seqs: Vec<u64> = alerts().iter().map(|alert| alert["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "the source goes on: {seqs:?}");
}

#[test]
fn a_mistake_in_the_policy_of_a_rule_or_a_source_is_named_with_its_place() {
    let bench = Bench::new();
    let out = bench.run(
        "sources:\n  - id: a\n    uri: test\n    alerts:\n      rules: { r: { min_confidence: 3 } }\n\
         alerts:\n  rules:\n    loitering:\n      throttle_second: 5\n      level: hihg\n",
    );
    let said = &out.stderr;
    assert_eq!(out.code(), 2, "{said}");
    for part in [
        "config-1.yaml:5:",
        "`sources[0].alerts.rules.r.min_confidence`",
        "config-1.yaml:9:",
        "unknown key `throttle_second` in `alerts.rules.loitering`",
        "did you mean `throttle_seconds`?",
        "config-1.yaml:10:",
        "`alerts.rules.loitering.level`",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}
