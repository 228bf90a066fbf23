//! The commands that look at an engine, and the short ways of `run`.

use serde_json::Value;

use crate::harness::{Dsengine, Running, root, street, write};

const ENDLESS: &str = "scene:street?live=true&loop=true&pixels=false";

/// An engine with a source that goes on, and a rule.
fn engine(rule: &str) -> (Running, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", rule);
    let config = format!(
        "name: gatehouse\nsources: [{{ id: gate, uri: '{ENDLESS}' }}]\n\
         detection: {{ strategies: [{{ name: rule, module: rule.lua }}] }}\nmonitoring: {{ prometheus: {{ port: 0 }} }}\n"
    );
    write(dir.path(), "c.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir.path()).start();
    let page = run.page();
    (run, page, dir)
}

/// Asks until the exit code is this one.
#[track_caller]
fn until(code: i32, args: &[&str]) -> crate::harness::Outcome {
    let mut last = None;
    for _ in 0..100 {
        let out = Dsengine::new(args).run();
        if out.code() == code {
            return out;
        }
        last = Some(out);
    }
    let last = last.unwrap();
    panic!("{args:?} never ends with {code}: {} {}{}", last.code(), last.stdout, last.stderr);
}

#[test]
fn health_check_says_by_its_exit_code_how_an_engine_is() {
    let (_run, page, dir) = engine("function detect(frame) end\n");
    let out = until(0, &["health-check", "--at", &page]);
    assert!(out.stdout.starts_with("gatehouse: healthy") && !out.stdout.contains("source gate"), "{}", out.stdout);
    let detailed = until(0, &["health-check", "--detailed", "--at", &page]).stdout;
    assert!(detailed.contains("ok     source gate: running at"), "{detailed}");
    let health = until(0, &["health-check", "--json", "--at", &page]).json();
    let source = &health["checks"][0];
    assert_eq!(
        (&health["health"], &source["name"], &source["ok"]),
        (&"healthy".into(), &"source gate".into(), &true.into())
    );
    assert!(source["age_s"].as_f64().is_some_and(|age| age < 60.0) && source["limit"] == "running", "{health}");
    // A file that cannot run is a problem, and the version before goes on.
    write(dir.path(), "rule.lua", "function detect(frame\n");
    let out = until(1, &["health-check", "--at", &page]);
    assert!(out.stdout.contains("gatehouse: degraded") && out.stdout.contains("rule.lua:"), "{}", out.stdout);
    let out = Dsengine::new(["health-check", "--at", "127.0.0.1:9"]).run();
    assert!(out.code() == 2 && out.stderr.contains("nothing listens"), "{} {}", out.code(), out.stderr);
}

#[test]
fn alerts_that_are_switched_off_and_silences_are_noticed_and_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame) end\n");
    let config = format!(
        "name: gatehouse\nsources: [{{ id: gate, uri: '{ENDLESS}' }}]\nalerts: {{ enabled: false }}\n\
         detection: {{ strategies: [{{ name: rule, module: rule.lua }}] }}\nmonitoring: {{ prometheus: {{ port: 0 }} }}\n"
    );
    write(dir.path(), "c.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir.path()).start();
    let page = run.page();
    let told = until(0, &["health-check", "--at", &page]).stdout;
    assert!(told.contains("  note: alerts are switched off: alerts.enabled is false\n"), "{told}");
    Dsengine::new(["silence", "add", "--for", "1h", "source=gate", "--at", &page]).run().expect(0);
    let told = until(0, &["health-check", "--at", &page]).stdout;
    assert!(told.starts_with("gatehouse: healthy") && told.contains("  note: 1 silence holds until "), "{told}");
    let health = until(0, &["health-check", "--json", "--at", &page]).json();
    assert_eq!((health["notices"].as_array().map(Vec::len), &health["problems"]), (Some(2), &Value::Array(vec![])));
    let seen = Dsengine::new(["monitor", "--count", "1", "--at", &page]).run().expect(0).stdout;
    assert!(seen.contains("  note: alerts are switched off"), "{seen}");
    // Live: switched on, it is no longer said.
    write(dir.path(), "c.yaml", &config.replace("enabled: false", "enabled: true"));
    for _ in 0..1_000 {
        let told = until(0, &["health-check", "--at", &page]).stdout;
        if !told.contains("switched off") {
            return;
        }
    }
    panic!("it is still said to be switched off:\n{}", run.seen.join("\n"));
}

#[test]
fn monitor_shows_a_running_engine_again_and_again() {
    let (_run, page, _dir) = engine("function detect(frame) end\n");
    let out = Dsengine::new(["monitor", "--count", "3", "--interval", "20ms", "--json", "--at", &page]).run();
    assert_eq!(out.code(), 0, "{}", out.stderr);
    let looks: Vec<Value> = out.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 3);
    assert!(looks.iter().all(|look| look["sources"][0]["id"] == "gate"), "{}", out.stdout);
    let out = Dsengine::new(["monitor", "--count", "1", "--dashboard", "--at", &page]).run();
    assert!(out.stdout.starts_with("gatehouse: ") && out.stdout.contains("gate "), "{}", out.stdout);
    assert!(out.stderr.contains("not built yet"), "{}", out.stderr);
    let never = Dsengine::new(["monitor", "--count", "1", "--interval", "0s", "--at", &page]).run().expect(2);
    assert!(never.stderr.contains("a time above 0"), "{}", never.stderr);
}

#[test]
fn benchmark_runs_so_many_sources_and_says_how_fast() {
    let args =
        ["benchmark", "--sources", "2", "--source", ENDLESS, "--duration", "2s", "--profile", "--output", "json"];
    let out = Dsengine::new(args).run();
    assert_eq!(out.code(), 0, "{}", out.stderr);
    let measured = out.json();
    let sources = measured["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2);
    for source in sources {
        assert!(source["judged"].as_u64().unwrap() > 5, "{measured}");
        assert!(source["fps"]["mean"].as_f64().unwrap() > 1.0, "{measured}");
        let [p50, p99] = ["p50", "p99"].map(|share| source["latency_ms"][share].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{measured}");
    }
    assert!(
        measured["cpu_seconds"].as_f64().unwrap() > 0.0 && measured["rss_mib"].as_f64().unwrap() > 1.0,
        "{measured}"
    );
    assert!(measured["folded"][0].as_str().unwrap().starts_with("dsengine;"), "{measured}");
    let out = Dsengine::new(["benchmark", "--source", ENDLESS, "--duration", "1", "--output", "csv"]).run();
    assert_eq!(
        out.stdout.lines().next(),
        Some("source,judged,dropped,fps_mean,fps_p5,latency_p50_ms,latency_p95_ms,latency_p99_ms")
    );
    assert_eq!(out.stdout.lines().count(), 2, "{}", out.stdout);
}

#[test]
fn a_run_with_a_duration_ends_by_itself_and_a_quiet_one_says_nothing_while_it_runs() {
    let out = Dsengine::new(["run", ENDLESS, "--duration", "1", "-q", "--port", "0"]).run();
    assert_eq!((out.code(), out.stderr.as_str()), (0, ""), "{}", out.stdout);
    assert!(out.stdout.contains(" judged, "), "{}", out.stdout);
    for wrong in ["0", "-1", "soon"] {
        let out = Dsengine::new(["run", ENDLESS, &format!("--duration={wrong}")]).run();
        assert_eq!(out.code(), 2, "{wrong}: {}", out.stderr);
    }
}

#[test]
fn run_takes_a_clip_and_a_model_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.yaml", &street(3, 15));
    let model = root().join("models/street.onnx").display().to_string();
    let args = ["run", "scene:s.yaml", "--model", &model, "--port", "0", "--json"];
    let out = Dsengine::new(args).cwd(dir.path()).run();
    assert_eq!(out.code(), 0, "{}", out.stderr);
    let source = &out.json()["sources"][0];
    assert!(source["judged"].as_u64().unwrap() >= 40 && source["detections"].as_u64().unwrap() > 10, "{source}");
    let out = Dsengine::new(["run", "scene:s.yaml", "--source", "test"]).cwd(dir.path()).run();
    assert!(out.code() == 2 && out.stderr.contains("cannot be used with"), "{}", out.stderr);
    let out = Dsengine::new(["run", "s.yaml"]).cwd(dir.path()).run();
    assert!(out.code() == 2 && out.stderr.contains("hint: dsengine run --config s.yaml"), "{}", out.stderr);
}

#[test]
fn a_configuration_without_a_source_does_not_run_and_validate_says_so() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "c.yaml", "name: nothing\n");
    for (command, code) in [(&["run", "--config", "c.yaml"][..], 2), (&["validate", "c.yaml"], 0)] {
        let out = Dsengine::new(command).cwd(dir.path()).run().expect(code);
        assert!(out.stderr.contains(": there is no source to run"), "{}", out.stderr);
    }
}
