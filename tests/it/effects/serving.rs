//! The listener, the threads and the inference behind them.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use super::{ALARM, Bench, LIVE, TRACE, cores, model, poll, shortest, stop, threads, workers};
use crate::admin::{answer, request};
use crate::harness::{ClosedPort, Dsengine, Running, get, sample, skip};

/// Starts a run whose configuration names a free port; with another one where somebody was quicker to take it.
/// The port, the run and the address of the page it printed.
fn start_at_a_port(bench: &Bench, config: impl Fn(u16) -> String) -> (u16, Running, String) {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut run = bench.command("run", &config(port), &[]).start();
        let said = run.wait_line(super::LIMIT, |line| line.starts_with("page: ") || line.contains(" is in use"));
        if let Some(page) = said.strip_prefix("page: http://") {
            return (port, run, page.trim_end_matches('/').to_owned());
        }
    }
}

#[test]
fn the_pages_are_where_and_what_the_keys_say() {
    let bench = Bench::new();
    // Keys with the port in it, and what the metrics page's two candidate paths answer.
    for (keys, usual, other) in [
        ("prometheus: { port: PORT }", 200, 404),
        ("prometheus: { port: PORT, path: /other }", 404, 200),
        ("prometheus_port: PORT, prometheus_path: /other", 404, 200),
        ("prometheus_port: PORT, metrics_enabled: false", 404, 404),
        ("prometheus: { port: PORT, enabled: false }", 404, 404),
        ("prometheus_port: PORT, prometheus_enabled: false", 404, 404),
    ] {
        let config = |port: u16| format!("{LIVE}monitoring: {{ {} }}\n", keys.replace("PORT", &port.to_string()));
        let (port, run, page) = start_at_a_port(&bench, config);
        assert_eq!(page, format!("127.0.0.1:{port}"), "{keys}");
        let answers = ["/livez", "/metrics", "/other"].map(|path| get(&page, path).0);
        assert_eq!(answers, [200, usual, other], "{keys}");
        stop(run);
    }
    let closed = ClosedPort::take();
    let port = closed.port;
    let config = format!("{LIVE}monitoring: {{ enabled: false, prometheus_port: {port} }}\n");
    let mut run = bench.command("run", &config, &[]).start();
    run.wait_line(super::LIMIT, |line| line.contains("running"));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    assert!(stop(run).iter().all(|line| !line.starts_with("page: ")));
}

#[test]
fn the_pages_answer_to_the_hosts_that_are_listed() {
    let bench = Bench::new();
    for (keys, is_listed) in [("", false), ("monitoring: { allowed_hosts: [cam.example] }\n", true)] {
        let mut run = bench.start(&format!("{LIVE}{keys}"));
        let page = run.page();
        let status = |host: &str| {
            let stream = TcpStream::connect(&page).unwrap();
            answer(request(stream, "GET", "/api/v1/status", &[("Host", host)], "")).status
        };
        assert_eq!((status("localhost"), status("cam.example") == 200), (200, is_listed), "{keys}");
        stop(run);
    }
}

#[test]
fn names_are_what_the_pages_show() {
    let bench = Bench::new();
    for (name, strategy, handler) in [("north", "alarm", "first"), ("south", "bell", "second")] {
        let mut run = bench.start(&format!(
            "name: {name}\n{}sources: [{{ id: a, uri: 'trace:steps.jsonl' }}, {{ id: b, uri: 'test:size=64x64,fps=5' }}]\n\
             alerts: {{ handlers: [{{ name: {handler}, type: file, config: {{ log_file: {handler}.jsonl }} }}] }}\n",
            ALARM.replace("name: alarm", &format!("name: {strategy}"))
        ));
        let page = run.page();
        let delivered = format!("dsengine_alert_deliveries_total{{handler=\"{handler}\"");
        let called = format!("dsengine_strategy_calls_total{{source=\"a\",strategy=\"{strategy}\"}}");
        poll(&mut run, || {
            let metrics = get(&page, "/metrics").1;
            let whole = sample(&metrics, &delivered) == Some(2.0) && sample(&metrics, &called) >= Some(100.0);
            whole.then_some(())
        });
        let status: serde_json::Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
        assert_eq!(status["name"], name);
        stop(run);
    }
}

/// The cores that this process may run on.
fn allowed() -> Vec<usize> {
    let list = cores(Path::new("/proc/self"));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    };
    list.split(',').flat_map(range).collect()
}

#[test]
fn there_are_as_many_workers_as_set_on_the_cores_that_are_set() {
    let bench = Bench::new();
    let detection = format!("detection: {{ model_engine_file: {} }}\n", model("colours"));
    // None of them is the default, the number of cores.
    let cores_and = |more| std::thread::available_parallelism().unwrap().get() + more;
    let nested = format!("monitoring: {{ thread_pool_size: {} }}", cores_and(2));
    let flat = format!("thread_pool_size: {}", cores_and(1));
    for (keys, expected) in [(flat, cores_and(1)), (nested, cores_and(2))] {
        let mut run = bench.start(&format!("{LIVE}{detection}{keys}\n"));
        run.page();
        // A thread names itself once it runs.
        let pid = run.pid();
        poll(&mut run, || (workers(pid) == expected).then_some(()));
        stop(run);
    }
    let allowed = allowed();
    let [first, .., last] = allowed[..] else {
        return skip("there_are_as_many_workers_as_set_on_the_cores_that_are_set", "one core: no choice of cores");
    };
    for core in [first, last] {
        let mut run = bench.start(&format!("{LIVE}{detection}monitoring: {{ cpu_affinity: [{core}] }}\n"));
        run.page();
        let pid = run.pid();
        let ours = poll(&mut run, || {
            let mut ours = threads(pid);
            ours.retain(|(name, _)| ["infer-", "lane-", "control"].iter().any(|start| name.starts_with(start)));
            (ours.len() >= 3).then_some(ours)
        });
        let on: BTreeSet<String> = ours.iter().map(|(_, task)| cores(task)).collect();
        assert_eq!(on, BTreeSet::from([core.to_string()]));
        stop(run);
    }
}

/// Frames per inference call of two cameras with these keys.
fn frames_per_run(bench: &Bench, pipeline: &str, detection: &str) -> f64 {
    let path = model("colours");
    let mut run = bench.start(&format!(
        "sources: [{{ id: a, uri: 'test:pattern=red,size=64x64,fps=30' }}, \
         {{ id: b, uri: 'test:pattern=red,size=64x64,fps=30' }}]\nthread_pool_size: 1\n\
         detection: {{ {detection}strategies: [{{ name: m, model_path: {path} }}] }}\n\
         pipeline: {{ {pipeline}batch_timeout_ms: 900 }}\n"
    ));
    let page = run.page();
    let (frames, runs) = poll(&mut run, || {
        let metrics = get(&page, "/metrics").1;
        let frames = sample(&metrics, "dsengine_inference_frames_total{model=\"m\"}")?;
        let runs = sample(&metrics, "dsengine_inference_seconds_count{model=\"m\"}")?;
        (frames >= 40.0).then_some((frames, runs))
    });
    stop(run);
    frames / runs
}

#[test]
fn frames_are_inferred_in_batches_of_the_size_that_is_set() {
    let bench = Bench::new();
    for (size, expected) in [(1, 0.9..=1.1), (2, 1.7..=2.1)] {
        let found = frames_per_run(&bench, &format!("batch_size: {size}, "), "");
        assert!(expected.contains(&found), "batches of {size}: {found}");
    }
}

#[test]
fn frames_are_inferred_alone_where_a_key_says_so() {
    let bench = Bench::new();
    for (pipeline, detection, expected) in [
        ("processing_mode: batch, ", "batch_inference: true, ", 1.7..=2.1),
        ("processing_mode: single, ", "", 0.9..=1.1),
        ("", "batch_inference: false, ", 0.9..=1.1),
    ] {
        let found = frames_per_run(&bench, &format!("batch_size: 2, {pipeline}"), detection);
        assert!(expected.contains(&found), "{pipeline}{detection}: {found}");
    }
}

#[test]
fn labels_of_the_deployment_are_in_status_and_metrics() {
    let bench = Bench::new();
    for (keys, version, environment) in [
        ("name: gate\n", None, "development"),
        ("name: gate\nversion: 1.2.0\nenvironment: production\n", Some("1.2.0"), "production"),
    ] {
        let mut run = bench.start(&format!("{LIVE}{keys}"));
        let page = run.page();
        let status: serde_json::Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
        assert_eq!((status["config_version"].as_str(), status["environment"].as_str()), (version, Some(environment)));
        let metrics = get(&page, "/metrics").1;
        let line = format!("environment=\"{environment}\",name=\"gate\",version=\"{}\"", version.unwrap_or_default());
        assert_eq!(sample(&metrics, &format!("dsengine_deployment_info{{{line}}}")), Some(1.0), "{metrics}");
        stop(run);
    }
}

#[test]
fn an_unfilled_batch_waits_as_long_as_it_is_told() {
    let bench = Bench::new();
    // Eighteen frames in less than a second, at most three under way at once: a batch of eight is never full. A camera
    // that seldom brings a frame is what is waited for; without it nothing would be.
    let seconds = |keys: &str| {
        let started = std::time::Instant::now();
        let mut run = bench.start(&format!(
            "sources: [{{ id: a, uri: 'test:pattern=red,size=64x64,frames=18,fps=20', realtime: true }}, \
             {{ id: b, uri: 'test:size=64x64,fps=0.5' }}]\nthread_pool_size: 1\n\
             detection: {{ model_engine_file: {} }}\npipeline: {{ batch_size: 8, {keys} }}\n",
            model("colours")
        ));
        let page = run.page();
        poll(&mut run, || {
            let status: serde_json::Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
            (status["sources"][0]["judged"] == 18).then_some(())
        });
        let seconds = started.elapsed().as_secs_f64();
        stop(run);
        seconds
    };
    for (short, long) in
        [("batch_timeout_ms: 1", "batch_timeout_ms: 1000"), ("batch_timeout_us: 1000", "batch_timeout_us: 1000000")]
    {
        let (short, long) = (shortest(1.8, || seconds(short)), seconds(long));
        assert!(long >= short + 1.5, "{short} s, {long} s");
    }
}

#[test]
fn the_inference_library_is_the_one_that_is_named() {
    let test = "the_inference_library_is_the_one_that_is_named";
    let folder = Path::new(env!("CARGO_BIN_EXE_dsengine")).with_file_name("../lib/dsengine");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(library) = entries.into_iter().find(|p| p.to_string_lossy().contains("libonnxruntime.so")) else {
        return skip(test, "no libonnxruntime beside the program; ./dev installs it");
    };
    let bench = Bench::new();
    let own = bench.path("libown.so");
    std::fs::copy(&library, &own).unwrap();
    let detection = format!("detection: {{ model_engine_file: {} }}\n", model("colours"));
    for (keys, named) in [("", false), ("inference: { ort_library: libown.so }\n", true)] {
        let mut run = bench.start(&format!("{LIVE}{detection}{keys}"));
        run.page();
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", run.pid())).unwrap();
        assert_eq!((maps.contains("/libown.so"), maps.contains("/libonnxruntime.so")), (named, !named), "{keys}");
        stop(run);
    }
}

#[test]
fn more_sources_than_a_key_allows_do_not_start() {
    let bench = Bench::new();
    let two = TRACE.replace("}]", "}, { id: b, uri: 'trace:steps.jsonl' }]");
    for key in ["max_concurrent_sources: LIMIT", "pipeline: { max_sources: LIMIT }"] {
        let code = |limit: &str| bench.run(&format!("{two}{}\n", key.replace("LIMIT", limit)));
        let refused = code("1").expect(2).stderr;
        assert!(refused.contains("2 sources are enabled") && refused.contains("allows 1"), "{refused}");
        assert_eq!(code("2").expect(0).json()["sources"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_wrong_token_is_logged_with_its_peer_and_counted() {
    let bench = Bench::new();
    let token = "a-token-of-some-length-1234";
    let file = bench.write("token", token);
    let reference = format!("'${{file:{}}}'", file.display());
    let tokens = format!("listen: 0.0.0.0, tokens: [{{ name: op, token: {reference}, scopes: [read, control] }}]");
    let config = format!("{LIVE}logging: {{ format: text }}\nmonitoring: {{ {tokens} }}\n");
    let mut run = bench.start(&config);
    let page = run.page();
    let list = |token: &str| Dsengine::new(["sources", "list", "--at", &page, "--token", token]).run();
    for _ in 0..5 {
        assert!(list("wr0ng-canary-of-some-length").expect(1).stderr.contains("wants a token, or another one"));
    }
    let out = Dsengine::new(["sources", "list", "--at", &page]).run().expect(1);
    assert!(out.stderr.contains("wants a token"), "{}", out.stderr);
    list(token).expect(0);
    run.wait_line(super::LIMIT, |line| {
        line.contains("a request with a wrong token") && line.contains("peer=127.0.0.1")
    });
    let metrics = Dsengine::new(["config", "show", "--at", &page, "--token", token]).run().expect(0);
    assert!(metrics.stdout.contains("0.0.0.0"), "{}", metrics.stdout);
    let bearer = format!("Bearer {token}");
    let headers = [("Host", "localhost"), ("Authorization", bearer.as_str())];
    let answer = answer(request(TcpStream::connect(&page).unwrap(), "GET", "/metrics", &headers, ""));
    let count = |reason: &str| sample(&answer.body, &format!("dsengine_api_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((count("wrong_token"), count("no_token"), count("scope")), (Some(5.0), Some(1.0), Some(0.0)));
    let seen = stop(run);
    assert_eq!(seen.iter().filter(|line| line.contains("a request with a wrong token")).count(), 1, "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains("canary")), "{seen:?}");
}

#[test]
fn a_container_stays_whose_health_only_a_token_shows() {
    let bench = Bench::new();
    let token = "a-token-of-some-length-1234";
    let file = bench.write("token", token);
    let tokens = format!("tokens: [{{ name: op, token: '${{file:{}}}', scopes: [read] }}]", file.display());
    let mut run = bench.start(&format!("{LIVE}monitoring: {{ listen: 0.0.0.0, public: [], {tokens} }}\n"));
    let page = run.page();
    // The exit code that `HEALTHCHECK` takes for a reason to replace it is 2.
    let out = Dsengine::new(["health-check", "--at", &page]).run().expect(1);
    assert!(out.stderr.contains("wants a token"), "{}", out.stderr);
    let known = Dsengine::new(["health-check", "--at", &page]).env("DSENGINE_TOKEN", token).run();
    assert!(known.stdout.contains("up for"), "{}{}", known.stdout, known.stderr);
    stop(run);
    Dsengine::new(["health-check", "--at", &page]).run().expect(2);
}
