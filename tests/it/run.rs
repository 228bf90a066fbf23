//! `run`, `record` and `replay` from outside: what ends, what is refused, what adds up.
use std::time::Duration;

use crate::harness::{ClosedPort, Dsengine, bar, get, sample, write};

#[test]
fn a_finite_source_ends_by_itself_with_a_summary_that_adds_up() {
    let out = Dsengine::new(["run", "--source", "test:frames=90,fps=30", "--port", "0", "--json"]).run().expect(0);
    let summary = out.json();
    let source = &summary["sources"][0];
    assert_eq!(source["frames"], 90);
    assert_eq!(source["judged"], 90, "a finite source loses nothing: {summary}");
}

#[test]
fn a_missing_file_ends_with_1_after_the_others_have_finished() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "config.yaml",
        "sources:\n  - { id: gone, type: file, uri: no-such.mp4 }\n  - { id: good, type: test, uri: 'test:frames=60' }\n\
         monitoring: { prometheus: { port: 0 } }\n",
    );
    let out = Dsengine::new(["run", "--config", "config.yaml", "--json"]).cwd(dir.path()).run().expect(1);
    let summary = out.json();
    assert_eq!(summary["sources"][1]["judged"], 60, "{summary}");
    let broken = summary["sources"][0]["broken"].as_str().unwrap();
    assert!(broken.contains("no-such.mp4"), "{broken}");
}

#[test]
fn a_missing_model_is_a_start_up_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "config.yaml",
        "sources: [{ id: a, type: test, uri: 'test:frames=5' }]\n\
         detection: { strategies: [{ name: m, model_path: no-such.onnx }] }\n",
    );
    let out = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).run().expect(2);
    assert!(out.stderr.contains("no-such.onnx"), "{}", out.stderr);
}

#[test]
fn a_strategy_that_refuses_the_second_source_ends_the_start_with_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "sources:\n  - {{ id: a, uri: 'scene:street?pixels=false', zones: {{ gate: [[0, 0], [1, 0], [1, 1]] }} }}\n\
         \x20 - {{ id: b, uri: 'scene:street?pixels=false' }}\n\
         detection: {{ strategies: [{{ name: crowd, module: {}, config: {{ zone: gate }} }}] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n",
        crate::harness::root().join("plugins/prebuilt/crowd.wasm").display()
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let status = run.end(Duration::from_secs(30)).expect("it ends by itself");
    let said = run.seen.join("\n");
    assert!(status.code() == Some(2) && said.contains("[E0401]") && said.contains("gate"), "{status}: {said}");
    // What a start refuses, `validate` finds.
    let out = Dsengine::new(["validate", "config.yaml"]).cwd(dir.path()).run().expect(1);
    assert!(out.stderr.contains("[E0401]") && out.stderr.contains("gate"), "{}", out.stderr);
}

#[test]
fn nothing_is_detected_on_black_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let model = crate::harness::root().join("models/street.onnx");
    for strategies in [format!("[{{ name: m, model_path: {} }}]", model.display()), "[{ name: motion }]".to_owned()] {
        let config = format!(
            "sources: [{{ id: black, type: test, uri: 'test:pattern=black,frames=60' }}]\n\
             detection: {{ confidence_threshold: 0.25, strategies: {strategies} }}\n\
             monitoring: {{ prometheus: {{ port: 0 }} }}\n"
        );
        write(dir.path(), "config.yaml", &config);
        let summary =
            Dsengine::new(["run", "--config", "config.yaml", "--json"]).cwd(dir.path()).run().expect(0).json();
        assert_eq!(summary["sources"][0]["judged"], 60);
        assert_eq!(summary["sources"][0]["detections"], 0, "{strategies}: {summary}");
    }
}

#[test]
fn a_trace_gives_the_same_alerts_every_time_and_with_any_number_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    Dsengine::new(["scene", "render", &at("street.mp4"), "--truth", &at("street.jsonl")]).run().expect(0);
    write(
        dir.path(),
        "config.yaml",
        "zones: { half: [[0.0, 0.0], [0.6, 0.0], [0.6, 1.0], [0.0, 1.0]] }\n\
         detection: { strategies: [{ name: seen, module: seen.lua }] }\n\
         alerts: { throttle_seconds: 2, burst_threshold: 20, max_alerts_per_minute: 1000 }\n",
    );
    write(
        dir.path(),
        "seen.lua",
        "function detect(frame)\n  for i in frame:select{ zone = 'half' } do\n    local t = frame:track(i)\n\
         \x20   frame:alert{ rule = 'seen', key = frame:label(i), detections = { i },\n\
         \x20     message = ('%s for %.2f s'):format(frame:label(i), t and t:dwell('half') or 0) }\n  end\nend\n",
    );
    let replay = |workers: &str| {
        let args = ["replay", &at("street.jsonl"), "--config", "config.yaml", "--workers", workers];
        Dsengine::new(args).cwd(dir.path()).run().expect(0).stdout
    };
    let first = replay("1");
    assert!(first.lines().count() >= 5, "the trace raises alerts:\n{first}");
    for workers in ["1", "2", "8"] {
        assert_eq!(replay(workers), first, "with {workers} workers");
    }
}

#[test]
fn the_page_the_metrics_and_the_health_answer_while_it_runs() {
    let mut run = Dsengine::new(["run", "--source", "test:fps=30", "--port", "0"]).start();
    let page = run.page();
    assert_eq!(get(&page, "/livez").0, 200);
    // Ready as soon as the first frame is through.
    let ready = (0..100).any(|_| get(&page, "/readyz").0 == 200 || run.end(Duration::from_millis(50)).is_some());
    assert!(ready, "{}", get(&page, "/readyz").1);
    let metrics = get(&page, "/metrics").1;
    assert!(sample(&metrics, "dsengine_source_up{source=").is_some_and(|up| up == 1.0), "{metrics}");
    let (status, body) = get(&page, "/");
    assert!(status == 200 && body.contains("<html"), "{body}");
    run.signal("INT");
    assert_eq!(run.end(bar(Duration::from_secs(5))).and_then(|s| s.code()), Some(0));
}

#[test]
fn every_command_has_help_and_an_unknown_one_exits_with_2() {
    for command in
        ["run", "start", "validate", "record", "replay", "scene", "doctor", "schema", "explain", "completions"]
    {
        let out = Dsengine::new([command, "--help"]).run().expect(0);
        assert!(out.stdout.contains("Usage:"), "{command}: {}", out.stdout);
    }
    let out = Dsengine::new(["no-such-command"]).run().expect(2);
    assert!(out.stderr.contains("no-such-command"), "{}", out.stderr);
}

#[test]
fn explain_prints_the_page_of_a_code_and_refuses_an_unknown_one() {
    for code in dsengine::error::Code::ALL {
        let out = Dsengine::new(["explain", code.as_str()]).run().expect(0);
        assert_eq!(out.stdout.trim_end(), code.page().trim_end());
    }
    Dsengine::new(["explain", "E9999"]).run().expect(2);
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let bin = env!("CARGO_BIN_EXE_dsengine");
    for command in ["schema", "completions bash", "explain", "doctor"] {
        let out =
            std::process::Command::new("sh").args(["-c", &format!("{bin} {command} | head -c 1")]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains("panicked"), "{command}: {said}");
    }
}

#[test]
fn output_that_cannot_be_written_fails_a_command_and_errors_that_cannot_are_its_code() {
    let command = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dsengine"));
        command.args(args).stdin(std::process::Stdio::null());
        command
    };
    for args in [&["schema"][..], &["completions", "bash"], &["explain"], &["explain", "E0101"], &["--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = command(args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(1) && said.contains("standard output cannot be written"), "{args:?}: {said}");
    }
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let status = command(&["validate", "no-such.yaml"]).stdout(std::process::Stdio::null()).stderr(closed).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

#[test]
fn judgements_that_cannot_be_written_fail_a_run_and_are_told_once() {
    let args = ["run", "--source", "test:frames=150,size=64x64,fps=100", "--port", "0", "--judgements", "/dev/full"];
    let out = Dsengine::new(args).run().expect(1);
    assert_eq!(out.stderr.matches("judgements are no longer written").count(), 1, "{}", out.stderr);
    assert!(out.stderr.contains("error: [E0701] /dev/full: cannot be written"), "{}", out.stderr);
}

#[test]
fn alerts_that_nobody_took_fail_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let gone = ClosedPort::take();
    write(dir.path(), "rule.lua", "function detect(frame) frame:alert{ rule = 'r', message = 'x' } end\n");
    let config = format!(
        "sources: [{{ id: a, uri: 'test:frames=3' }}]\ndetection: {{ strategies: [{{ name: r, module: rule.lua }}] }}\n\
         alerts: {{ min_confidence: 0, retry_attempts: 1, max_age_seconds: 0, handlers: [{{ name: webhook, config: {{ url: 'http://127.0.0.1:{}/' }} }}] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n",
        gone.port
    );
    write(dir.path(), "config.yaml", &config);
    let summary = Dsengine::new(["run", "--config", "config.yaml", "--json"]).cwd(dir.path()).run().expect(1).json();
    assert_eq!((&summary["delivered"], &summary["failed"]), (&0.into(), &1.into()), "{summary}");
}

#[test]
fn validate_loads_the_scripts_and_fails_on_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame)\n  if then\nend\n");
    let config =
        "sources: [{ id: a, uri: 'test:frames=1' }]\ndetection: { strategies: [{ name: r, module: rule.lua }] }\n";
    write(dir.path(), "config.yaml", config);
    let out = Dsengine::new(["validate", "config.yaml"]).cwd(dir.path()).run().expect(1);
    assert!(out.stderr.contains("error: [E0401] ") && out.stderr.contains("rule.lua:2:"), "{}", out.stderr);
    assert!(out.stdout.starts_with("not valid: "), "{}", out.stdout);
    write(dir.path(), "rule.lua", "function detect(frame) end\n");
    Dsengine::new(["validate", "config.yaml", "--strict"]).cwd(dir.path()).run().expect(0);
    let folder = config.replace("rule.lua", "scripts");
    std::fs::create_dir(dir.path().join("scripts")).unwrap();
    write(dir.path(), "config.yaml", &folder);
    let out = Dsengine::new(["validate", "config.yaml"]).cwd(dir.path()).run().expect(2);
    assert!(out.stderr.contains("name the .lua or .wasm in it"), "{}", out.stderr);
}

#[test]
fn the_summary_names_strategies_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame)\n  error('no')\nend\n");
    let config = "sources: [{ id: a, uri: 'test:frames=3' }]\ndetection: { strategies: [{ name: r, module: rule.lua }] }\n\
                  monitoring: { prometheus: { port: 0 } }\n";
    write(dir.path(), "config.yaml", config);
    let out = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).run().expect(1);
    assert!(
        out.stdout.contains("strategy r: 3 faults, the last: ") && out.stdout.contains("rule.lua:2:"),
        "{}",
        out.stdout
    );
}

#[test]
fn a_busy_port_is_found_before_any_source_is_disturbed() {
    let camera = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    camera.set_nonblocking(true).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let uri = format!("rtsp://{}/cam", camera.local_addr().unwrap());
    let out = Dsengine::new(["run", "--source", &uri, "--port", &port]).run().expect(2);
    assert!(out.stderr.contains(&format!("port {port} on 127.0.0.1 is in use")), "{}", out.stderr);
    assert!(camera.accept().is_err(), "nobody called the camera");
}

#[test]
fn what_cannot_be_written_is_a_usage_error_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.yaml", "logging: { log_file: no/such/folder/x.log }\n");
    write(dir.path(), "trace.jsonl", TRACE);
    let (bad, good) = ("no/such/folder/out", "good.mp4");
    for command in [
        &["run", "--source", "test:frames=3", "--port", "0", "--judgements", bad][..],
        &["run", "--source", "test:frames=3", "--port", "0", "--config", "config.yaml"],
        &["record", "--source", "test:frames=3", "-o", bad],
        &["record", "--source", "test:frames=3", "-o", "trace.out", "--annotated", bad],
        &["scene", "render", bad],
        &["scene", "render", good, "--truth", bad],
        &["replay", "trace.jsonl", "--config", "config.yaml"],
    ] {
        let out = Dsengine::new(command).cwd(dir.path()).run().expect(2);
        assert!(out.stderr.contains("error: ") && out.stderr.contains("no/such/folder"), "{command:?}: {}", out.stderr);
    }
}

#[test]
fn a_refused_configuration_says_its_code() {
    let out = Dsengine::new(["validate", "--source", "rstp://cam/s"]).run().expect(2);
    assert!(out.stderr.starts_with("error: [E0101] the configuration cannot be used\n"), "{}", out.stderr);
}

/// A trace of one frame.
const TRACE: &str = "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"\",\"start_unix_ns\":0}\n\
     {\"source\":\"a\",\"seq\":0,\"pts_ns\":0,\"width\":4,\"height\":3,\"detections\":[]}\n";

#[test]
fn a_trace_whose_recorder_was_killed_plays_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "cut.jsonl", &format!("{TRACE}{}", &TRACE[TRACE.len() - 50..TRACE.len() - 20]));
    let out = Dsengine::new(["replay", "cut.jsonl"]).cwd(dir.path()).run().expect(0);
    assert!(
        out.stderr.contains("1 frame replayed") && out.stderr.contains("in the middle of a line"),
        "{}",
        out.stderr
    );
    let args = ["run", "--source", "trace:cut.jsonl", "--port", "0", "--json"];
    let summary = Dsengine::new(args).cwd(dir.path()).run().expect(0).json();
    assert_eq!(
        (&summary["sources"][0]["judged"], &summary["sources"][0]["dropped"]["cut_off"]),
        (&1.into(), &1.into())
    );
    // A bad line with more behind it is no half line.
    write(dir.path(), "bad.jsonl", &format!("{TRACE}{{\"no\":1}}\n{}", &TRACE[..30]));
    let out = Dsengine::new(["replay", "bad.jsonl"]).cwd(dir.path()).run().expect(2);
    assert!(out.stderr.contains("bad.jsonl:3: is not a frame"), "{}", out.stderr);
}

#[test]
fn a_rejected_edit_is_a_problem_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame) end\n");
    let config = "sources: [{ id: a, uri: 'scene:street?live=true&pixels=false' }]\n\
                  detection: { strategies: [{ name: r, module: rule.lua }] }\nmonitoring: { prometheus: { port: 0 } }\n";
    write(dir.path(), "config.yaml", config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let limit = Duration::from_secs(20);
    let rejected = |page: &str| -> (serde_json::Value, String) {
        let health: serde_json::Value = serde_json::from_str(&get(page, "/health").1).unwrap();
        (health["rejected"].clone(), health["problems"].to_string())
    };
    assert_eq!(rejected(&page).0, serde_json::json!([]));
    write(dir.path(), "rule.lua", "function detect(frame)\n  if then\nend\n");
    run.wait_line(limit, |l| l.contains("not reloaded"));
    let (list, problems) = rejected(&page);
    assert!(list[0]["error"].as_str().unwrap().contains("rule.lua:2:"), "{list}");
    assert!(
        problems.contains("rule.lua: the latest version was rejected, the previous one is running: "),
        "{problems}"
    );
    write(dir.path(), "rule.lua", "function detect(frame)\nend\n");
    run.wait_line(limit, |l| l.contains("script reloaded"));
    let (list, problems) = rejected(&page);
    assert!(list == serde_json::json!([]) && !problems.contains("rejected"), "{list} {problems}");
    run.signal("INT");
    assert_eq!(run.end(limit).and_then(|s| s.code()), Some(0));
}
