//! `monitoring`: how the engine watches itself.

use serde_json::{Value, json};

use super::{ALARM, Bench, LIMIT, LIVE, TRACE, poll, stop};
use crate::harness::{Dsengine, Running, get, request, sample};

/// What `/health` says.
fn health(page: &str) -> Value {
    serde_json::from_str(&get(page, "/health").1).unwrap()
}

/// The names of the limits that are looked at, once there are as many; each with its value, limit and age.
fn checks(run: &mut Running, page: &str, count: usize) -> Vec<(String, f64)> {
    poll(run, || {
        let health = health(page);
        let checks = health["checks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["value"].is_f64() && check["age_s"].as_f64() < Some(8.0)), "{health}");
        let named = |check: &Value| (check["name"].as_str().unwrap().to_owned(), check["limit"].as_f64().unwrap());
        (checks.len() >= count).then(|| checks.iter().map(named).collect())
    })
}

#[test]
fn a_threshold_that_is_crossed_is_a_problem_and_an_alert_until_it_clears() {
    let bench = Bench::new();
    let mut run = bench.start(&format!(
        "{LIVE}monitoring: {{ health_check_interval: 5, thresholds: {{ min_fps: 240 }} }}\n\
         alerts: {{ handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n"
    ));
    let page = run.page();
    let crossed = poll(&mut run, || {
        let health = health(&page);
        (!health["problems"].as_array().unwrap().is_empty() && health["ready"] == true).then_some(health)
    });
    assert_eq!(crossed["health"], "degraded", "{crossed}");
    let problem = crossed["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("system.fps: source a: frame rate is "), "{problem}");
    assert!(problem.contains(" fps, wanted at least 240 fps, for "), "{problem}");
    assert_eq!((get(&page, "/livez").0, get(&page, "/readyz").0, get(&page, "/health").0), (200, 200, 200));
    let url = format!("http://{page}");
    let told = Dsengine::new(["health-check", "--detailed", "--url", &url]).run().expect(1);
    let line = told.stdout.lines().find(|line| line.starts_with("not ok system.fps of source a: "));
    let line = line.unwrap_or_else(|| panic!("{}", told.stdout));
    assert!(line.contains("(wanted: at least 240 fps), ") && line.ends_with(" s old"), "{line}");
    // One alert, in the engine's own name; on the metrics page it is no source.
    let alerts = poll(&mut run, || Some(bench.lines("out.jsonl")).filter(|alerts| !alerts.is_empty()));
    let about = ["source", "rule", "key", "level"].map(|key| alerts[0][key].as_str().unwrap());
    assert_eq!((alerts.len(), about), (1, ["engine", "system.fps", "a", "high"]));
    let metrics = get(&page, "/metrics").1;
    let accepted = "dsengine_alerts_total{outcome=\"accepted\",rule=\"system.fps\",source=\"engine\"}";
    assert_eq!(sample(&metrics, accepted), Some(1.0), "{metrics}");
    assert!(!metrics.contains("dsengine_source_up{source=\"engine\"}"), "{metrics}");
    // A threshold that it keeps: the problem goes, with a line of its own, and no other alert comes.
    let patch = json!({ "monitoring": { "thresholds": { "min_fps": 1 } } });
    assert_eq!(request("POST", &page, "/api/v1/config/apply", &patch.to_string()).0, 200);
    poll(&mut run, || health(&page)["problems"].as_array().unwrap().is_empty().then_some(()));
    assert_eq!(health(&page)["health"], "healthy");
    run.wait_line(LIMIT, |line| line.contains("well again after ") && line.contains("source a: frame rate is "));
    assert_eq!(bench.lines("out.jsonl").len(), 1);
    stop(run);
}

#[test]
fn every_threshold_is_looked_at_where_it_is_set() {
    let bench = Bench::new();
    let keys = "health_check_interval: 5, metrics_interval: 1, cpu_threshold: 100, memory_threshold: 99, \
                thresholds: { max_cpu_percent: 99, max_memory_mb: 16, max_latency_ms: 60000 }";
    let config = |keys: &str| format!("{LIVE}monitoring: {{ {keys} }}\nalerts: {{ handlers: [] }}\n");
    let (mut all, mut none) = (bench.start(&config(keys)), bench.start(&config("health_check_interval: 5")));
    let (page, quiet) = (all.page(), none.page());
    let names = ["system.cpu", "system.memory", "system.engine_cpu", "system.engine_memory", "system.latency"];
    let limits = [100.0, 99.0, 99.0, 16.0, 60_000.0];
    let looked = checks(&mut all, &page, names.len());
    assert_eq!(looked, names.map(str::to_owned).into_iter().zip(limits).collect::<Vec<_>>());
    // The engine takes more than 16 MB, and nobody is told who did not ask.
    let problems = health(&page)["problems"].to_string();
    assert!(problems.contains("system.engine_memory: memory in use by the engine is "), "{problems}");
    assert!(problems.contains(" MB, wanted at most 16 MB"), "{problems}");
    assert_eq!(checks(&mut none, &quiet, 0), []);
    stop(all);
    stop(none);
}

#[test]
fn the_metrics_are_in_the_log_where_and_as_often_as_the_keys_say() {
    let bench = Bench::new();
    // Keys; whether there are lines of figures; whether records have figures.
    for (monitoring, logging, lines, fields) in [
        ("metrics_interval: 1", "format: json", true, true),
        ("metrics_interval: 1", "format: json, include_metrics: false", true, false),
        ("metrics_interval: 1, log_metrics: false", "format: json", false, true),
        ("metrics_interval: 1, log_metrics: false", "format: json, include_metrics: false", false, false),
        ("metrics_interval: 300", "format: json", false, false),
    ] {
        let _ = std::fs::remove_file(bench.path("x.log"));
        let mut run = bench.start(&format!(
            "{LIVE}monitoring: {{ {monitoring} }}\nlogging: {{ {logging}, log_file: x.log, console_output: false }}\n"
        ));
        let page = run.page();
        // With the long interval nothing but time passes.
        let is_sampled = !monitoring.contains("300");
        poll(&mut run, || {
            let metrics = get(&page, "/metrics").1;
            let uptime = sample(&metrics, "dsengine_uptime_seconds").unwrap();
            let has_sampled = sample(&metrics, "dsengine_machine_memory_percent") > Some(0.0);
            assert!(is_sampled || !has_sampled, "{metrics}");
            (uptime > 2.5 && has_sampled == is_sampled).then_some(())
        });
        stop(run);
        let records = bench.lines("x.log");
        let figures: Vec<&Value> = records.iter().filter(|record| record["message"] == "metrics").collect();
        assert_eq!(figures.len() > 1, lines, "{monitoring}: {records:?}");
        assert!(figures.iter().all(|record| record["engine_memory_mb"].is_f64() && record["judged"].is_u64()));
        let with_fields = records.iter().filter(|record| record["metrics"]["judged"].is_u64()).count();
        assert_eq!(with_fields > 0, fields, "{monitoring}, {logging}: {records:?}");
    }
}

#[test]
fn a_run_says_where_the_time_went_where_it_is_asked_to() {
    let bench = Bench::new();
    for (keys, is_asked) in [("profiling_enabled: true", true), ("profiling_enabled: false", false)] {
        let config = format!("{TRACE}{ALARM}alerts: {{ handlers: [] }}\nmonitoring: {{ {keys} }}\n");
        let out = bench.command("run", &config, &["--port", "0"]).run().expect(0);
        let stack = out.stdout.lines().find_map(|line| line.strip_prefix("dsengine;judge;alarm "));
        assert_eq!(stack.is_some_and(|micros| micros.parse::<u64>().is_ok()), is_asked, "{keys}: {}", out.stdout);
        let profile = &bench.summary(&config)["profile"];
        assert_eq!(profile["spent_seconds"]["judge;alarm"].is_f64(), is_asked, "{keys}: {profile}");
        assert_eq!(profile["folded"].as_array().is_some_and(|stacks| !stacks.is_empty()), is_asked, "{keys}");
    }
}

#[test]
fn the_engines_own_names_are_nobody_elses() {
    let bench = Bench::new();
    bench.write("rule.lua", "function detect(frame) frame:alert{ rule = 'system.cpu', message = 'x' } end\n");
    let rule = "detection: { strategies: [{ name: rule, module: rule.lua }] }\n";
    let out = bench.command("run", &format!("{TRACE}{rule}"), &["--port", "0"]).run();
    let told = format!("{}{}", out.stdout, out.stderr);
    assert_ne!(out.code(), 0, "{told}");
    assert!(told.contains("raises an alert of the rule 'system.cpu': `system.…` is the engine's own"), "{told}");
    for (config, told) in [
        ("sources: [{ id: engine, uri: test }]\n", "no source may be named `engine`"),
        (
            "sources: [{ id: a, uri: test }]\ndetection: { strategies: [{ name: system.x, module: rule.lua }] }\n",
            "no rule may be named `system.x`",
        ),
    ] {
        let out = bench.command("validate", config, &[]).run();
        let said = format!("{}{}", out.stdout, out.stderr);
        assert!(out.code() != 0 && said.contains(told) && said.contains(".yaml:"), "{said}");
    }
}
