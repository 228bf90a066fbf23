//! `alerts`: what is written and posted, how often and how patiently.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ALARM, Answer, Bench, LIMIT, LIVE, Receiver, TRACE, poll, stop};
use crate::harness::{ClosedPort, Dsengine, get, root, sample};

/// The alerts of the trace, written by a file handler under these keys.
fn written(bench: &Bench, keys: &str) -> Vec<Value> {
    let _ = std::fs::remove_file(bench.path("out.jsonl"));
    let handlers = "handlers: [{ name: file, config: { log_file: out.jsonl } }]";
    bench.summary(&format!("{TRACE}{ALARM}alerts: {{ {keys}, {handlers} }}\n"));
    bench.lines("out.jsonl")
}

#[test]
fn the_policys_keys_decide_which_alerts_are_written() {
    let bench = Bench::new();
    // A person and a car, each seen ten times a second for ten seconds.
    for (keys, alerts) in [
        ("throttle_seconds: 60", 2),
        // Who stays is told of once, however short it is.
        ("throttle_seconds: 1", 2),
        ("throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0", 200),
        ("throttle_seconds: 0, enabled: false", 0),
        ("throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0.8", 100),
        ("throttle_seconds: 0, min_confidence: 0.95", 0),
    ] {
        assert_eq!(written(&bench, keys).len(), alerts, "{keys}");
    }
    // Raised every four seconds by the one frame in forty that has it.
    bench.write(
        "alarm.lua",
        "function detect(frame)\n  if frame.seq % 40 == 0 then frame:alert{ rule = 'r', message = 'm' } end\nend\n",
    );
    for (seconds, alerts) in [(0, 3), (1, 3), (3, 3), (5, 1), (60, 1)] {
        assert_eq!(written(&bench, &format!("throttle_seconds: {seconds}")).len(), alerts, "{seconds}");
    }
    let bench = Bench::new();
    for level in ["low", "critical"] {
        let alerts = written(&bench, &format!("level: {level}"));
        assert!(alerts.len() == 2 && alerts.iter().all(|alert| alert["level"] == level), "{alerts:?}");
    }
}

/// Raises an alert of its own on each frame.
const FLOOD: &str = "function detect(frame) frame:alert{ rule = 'r', key = frame.seq, message = 'm' } end\n";

/// How many alerts each of these stands for: 0 for itself.
fn digests(alerts: &[Value]) -> Vec<u64> {
    alerts.iter().map(|alert| alert["digest"]["count"].as_u64().unwrap_or(0)).collect()
}

#[test]
fn the_policys_limits_hold_alerts_back_and_digests_name_them() {
    let bench = Bench::new();
    // A person and a car that stay for ten seconds: told at 0, 3, 6 and 9.
    let repeated = written(&bench, "repeat_seconds: 3, burst_threshold: 0, max_alerts_per_minute: 0");
    let suppressed: Vec<u64> = repeated.iter().map(|alert| alert["suppressed"].as_u64().unwrap()).collect();
    assert_eq!(suppressed, [0, 0, 29, 29, 29, 29, 29, 29]);

    // A hundred alerts in ten seconds, on frame time.
    bench.write("alarm.lua", FLOOD);
    let burst = written(&bench, "level: medium");
    assert_eq!(digests(&burst), [0, 0, 0, 97]);
    let digest = &burst[3]["digest"];
    assert_eq!((&digest["reason"], digest["ids"].as_array().unwrap().len()), (&"burst".into(), 97));
    let keys: Vec<String> = (3..100).map(|seq| seq.to_string()).collect();
    assert_eq!(digest["keys"], Value::from(keys), "the first alert of each key is named");
    assert_eq!((&digest["first"], &digest["last"]), (&"2023-11-14T22:13:20.300Z".into(), &burst[3]["time"]));
    assert_eq!(digests(&written(&bench, "burst_threshold: 5")), [0, 0, 0, 0, 0, 95]);
    let windows = written(&bench, "burst_window_seconds: 2, max_alerts_per_minute: 0");
    assert_eq!(digests(&windows), [0, 0, 0, 17_u64].repeat(5));
    assert_eq!(digests(&written(&bench, "burst_threshold: 0, max_alerts_per_minute: 0")), [0_u64; 100]);

    let rate = written(&bench, "burst_threshold: 0");
    assert_eq!(digests(&rate), [vec![0_u64; 10], vec![90]].concat());
    assert_eq!(rate[10]["digest"]["reason"], "rate");
    assert_eq!(rate[10]["pts_ns"], 60_000_000_000_u64, "not in the minute of the ten");
    assert_eq!(digests(&written(&bench, "burst_threshold: 0, max_alerts_per_minute: 4")), [0, 0, 0, 0, 96]);

    // Critical alerts have a limit of their own.
    assert_eq!(digests(&written(&bench, "level: critical")), [vec![0_u64; 60], vec![40]].concat());
    let critical = written(&bench, "level: critical, max_critical_per_minute: 7, burst_threshold: 1");
    assert_eq!(digests(&critical), [0, 0, 0, 0, 0, 0, 0, 93]);
    assert_eq!((&critical[7]["level"], &critical[7]["digest"]["reason"]), (&"critical".into(), &"critical".into()));
}

#[test]
fn a_rising_level_raises_another_alert_and_a_parked_object_none_when_its_track_changes() {
    let bench = Bench::new();
    bench.write(
        "alarm.lua",
        "function detect(frame)\n  frame:alert{ rule = 'r', key = 'k', message = 'm', \
         level = frame.seq < 50 and 'low' or 'high' }\nend\n",
    );
    let alerts = written(&bench, "throttle_seconds: 60");
    let told: Vec<_> = alerts.iter().map(|alert| (alert["level"].as_str(), alert["suppressed"].as_u64())).collect();
    assert_eq!(told, [(Some("low"), Some(0)), (Some("high"), Some(49))]);

    // The tracker follows it anew every two seconds.
    let header = std::fs::read_to_string(bench.path("steps.jsonl")).unwrap().lines().next().unwrap().to_owned();
    let frames = (0..100_u64).map(|seq| {
        let car = serde_json::json!({ "label": "car", "class_id": 2, "confidence": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2],
            "track_id": 1 + seq / 20 });
        let frame = serde_json::json!({ "source": "a", "seq": seq, "pts_ns": seq * 100_000_000, "width": 64,
            "height": 64, "detections": [car] });
        format!("\n{frame}")
    });
    bench.write("parked.jsonl", &(header + &frames.collect::<String>()));
    let script = root().join("scripts/intrusion.lua");
    let _ = std::fs::remove_file(bench.path("out.jsonl"));
    let summary = bench.summary(&format!(
        "sources: [{{ id: a, uri: 'trace:parked.jsonl' }}]\nzones: {{ all: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\n\
         detection: {{ strategies: [{{ name: intrusion, module: '{}', config: {{ zone: all, labels: [car] }} }}] }}\n\
         alerts: {{ handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n",
        script.display()
    ));
    let alerts = bench.lines("out.jsonl");
    assert_eq!((alerts.len(), &alerts[0]["key"]), (1, &"1".into()), "{alerts:?}");
    assert_eq!(summary["sources"][0]["suppressed"], 99);
}

#[test]
fn what_is_in_digests_is_counted() {
    let bench = Bench::new();
    bench.write("alarm.lua", FLOOD);
    let run = bench.run(&format!("{TRACE}{ALARM}alerts: {{ handlers: [] }}\n")).expect(0);
    let summary = run.json();
    let counts = ["raised", "alerts", "digested", "suppressed", "refused"];
    // A digest is raised itself.
    assert_eq!(counts.map(|key| summary["sources"][0][key].as_u64().unwrap()), [101, 4, 97, 0, 0]);
    assert_eq!((&summary["delivered"], &summary["pending"]), (&4.into(), &0.into()));
    let config = format!("{TRACE}{ALARM}alerts: {{ handlers: [] }}\n");
    let run = bench.command("run", &config, &["--port", "0"]).run().expect(0);
    let words = "4 alerts (101 raised: 0 held back, 97 in digests, 0 refused)";
    assert!(run.stdout.contains(words), "{}", run.stdout);
}

#[test]
fn a_camera_that_floods_takes_its_own_share_and_its_digest_is_sent_at_the_end() {
    let bench = Bench::new();
    // One floods, and has one critical alert; the other has one alert after two seconds.
    bench.write(
        "alarm.lua",
        "function detect(frame)\n  local late = frame.seq >= 60\n  if frame.source == 'flood' then\n    frame:alert{ \
         rule = 'r', key = frame.seq, message = 'm' }\n    if late then frame:alert{ rule = 'r', key = 'fire', level = \
         'critical', message = 'm' } end\n  elseif late then frame:alert{ rule = 'r', key = 'k', message = 'm' } end\nend\n",
    );
    let camera = |id: &str| format!("{{ id: {id}, uri: 'test:pattern=red,size=64x64,fps=30' }}");
    let mut run = bench.start(&format!(
        "sources: [{}, {}]\n{ALARM}alerts: {{ burst_threshold: 0, max_alerts_per_minute: 4, handlers: [{{ name: file, \
         config: {{ log_file: out.jsonl }} }}] }}\n",
        camera("flood"),
        camera("quiet")
    ));
    run.page();
    let is_critical = |alert: &&Value| alert["level"] == "critical";
    poll(&mut run, || {
        let alerts = bench.lines("out.jsonl");
        let is_told = alerts.iter().any(|alert| alert["source"] == "quiet");
        (is_told && alerts.iter().filter(is_critical).count() == 1).then_some(())
    });
    stop(run);
    let alerts = bench.lines("out.jsonl");
    let flood: Vec<Value> = alerts.iter().filter(|alert| alert["source"] == "flood").cloned().collect();
    assert_eq!((flood.len(), alerts.len(), flood.iter().filter(is_critical).count()), (4, 5, 1), "{alerts:?}");
    let last = flood.last().unwrap();
    assert!(last["digest"]["reason"] == "rate" && last["digest"]["count"].as_u64() > Some(20), "{last}");
}

#[test]
fn finite_sources_share_the_limit_and_write_the_same_with_any_number_of_workers() {
    let bench = Bench::new();
    bench.write("alarm.lua", FLOOD);
    let mut first = None;
    for workers in [1, 2, 8, 8] {
        let _ = std::fs::remove_file(bench.path("out.jsonl"));
        bench.summary(&format!(
            "thread_pool_size: {workers}\nsources: [{{ id: a, uri: 'trace:steps.jsonl' }}, {{ id: b, uri: \
             'trace:steps.jsonl' }}, {{ id: c, uri: 'trace:steps.jsonl' }}]\n{ALARM}alerts: {{ burst_threshold: 0, \
             max_alerts_per_minute: 9, handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n"
        ));
        let alerts = bench.lines("out.jsonl");
        let sources: String = alerts.iter().map(|alert| alert["source"].as_str().unwrap()).collect();
        assert_eq!((sources.as_str(), digests(&alerts)), ("abcabcabcabc", [vec![0_u64; 9], vec![97; 3]].concat()));
        let text = std::fs::read_to_string(bench.path("out.jsonl")).unwrap();
        assert_eq!(*first.get_or_insert_with(|| text.clone()), text, "with {workers} workers");
    }
}

#[test]
fn file_handlers_write_where_and_as_much_as_they_are_told() {
    let bench = Bench::new();
    let out = bench
        .run(&format!(
            "{TRACE}{ALARM}alerts:\n  throttle_seconds: 0\n  burst_threshold: 0\n  max_alerts_per_minute: 0\n  handlers:\n    - {{ name: shown, type: console }}\n\
             \x20   - {{ name: file, config: {{ log_file: whole.jsonl }} }}\n\
             \x20   - {{ name: two, type: file, config: {{ log_file: two.jsonl, max_size_mb: 0.01, backup_count: 2 }} }}\n\
             \x20   - {{ name: four, type: file, config: {{ log_file: four.jsonl, max_size_mb: 0.01, backup_count: 4 }} }}\n\
             \x20   - {{ name: off, type: file, enabled: false, config: {{ log_file: off.jsonl }} }}\n"
        ))
        .expect(0);
    assert_eq!(out.stdout.lines().filter(|line| line.contains("seen") && line.contains("MEDIUM")).count(), 200);
    assert_eq!(bench.lines("whole.jsonl").len(), 200, "one file, everything in it");
    for (name, backups) in [("two.jsonl", 2), ("four.jsonl", 4)] {
        for index in 1..=backups {
            let size = std::fs::metadata(bench.path(&format!("{name}.{index}"))).unwrap().len();
            assert!((5_000..=10_000).contains(&size), "{name}.{index}: {size}");
        }
        assert!(!bench.path(&format!("{name}.{}", backups + 1)).exists(), "{name}");
    }
    for absent in ["whole.jsonl.1", "off.jsonl"] {
        assert!(!bench.path(absent).exists(), "{absent}");
    }
}

#[test]
fn a_file_is_written_in_the_format_that_is_set_and_rotates_by_the_hour_or_day() {
    let bench = Bench::new();
    bench.write(
        "alarm.lua",
        "function detect(frame)\n  frame:alert{ rule = 'r', key = tostring(frame.seq), message = 'one, \\\"two\\\"\\nthree' \
         }\nend\n",
    );
    let hour = Duration::from_secs(3_600);
    let old = |name: &str, text: &str, age: Duration| {
        let file = std::fs::File::create(bench.path(name)).unwrap();
        std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    };
    for name in ["hourly", "daily", "never"] {
        old(&format!("{name}.jsonl"), "{\"old\":1}\n", if name == "hourly" { hour } else { 24 * hour });
    }
    old("other.csv", "{\"old\":1}\n", Duration::ZERO);
    bench.summary(&format!(
        "{TRACE}{ALARM}alerts:\n  throttle_seconds: 0\n  min_confidence: 0\n  burst_threshold: 1000\n  \
         max_alerts_per_minute: 100000\n  handlers:\n\
         \x20   - {{ name: json, type: file, config: {{ log_file: a.jsonl, format: json }} }}\n\
         \x20   - {{ name: csv, type: file, config: {{ format: csv, max_size_mb: 0.005, backup_count: 9 }} }}\n\
         \x20   - {{ name: other, type: file, config: {{ format: csv, log_file: other.csv, backup_count: 0 }} }}\n\
         \x20   - {{ name: text, type: file, config: {{ format: text }} }}\n\
         \x20   - {{ name: hourly, type: file, config: {{ log_file: hourly.jsonl, rotate: hourly }} }}\n\
         \x20   - {{ name: daily, type: file, config: {{ log_file: daily.jsonl, rotate: daily }} }}\n\
         \x20   - {{ name: never, type: file, config: {{ log_file: never.jsonl, rotate: none }} }}\n"
    ));
    let text = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(bench.lines("a.jsonl").len(), 100);
    // Each file of CSV has its names on top, and together they have every alert once, one a line.
    let files: Vec<String> =
        (0..10).map(|n| if n == 0 { "alerts.csv".into() } else { format!("alerts.csv.{n}") }).collect();
    let files: Vec<String> = files.iter().filter(|name| bench.path(name).exists()).map(|name| text(name)).collect();
    assert!(files.len() >= 2, "it rotated");
    let mut rows = 0;
    for file in &files {
        let mut lines = file.lines();
        assert_eq!(
            lines.next(),
            Some("id,time,level,source,rule,key,message,suppressed,seq,pts_ns,detections,digest,tags")
        );
        for line in lines {
            assert!(line.contains(",medium,a,r,") && line.contains(",\"one, \"\"two\"\"⏎three\","), "{line}");
            rows += 1;
        }
    }
    assert_eq!(rows, 100);
    // What another format wrote is set aside.
    assert_eq!((text("other.csv").lines().count(), text("other.csv.1").as_str()), (101, "{\"old\":1}\n"));
    let told = text("alerts.log");
    assert!(
        told.lines().count() == 100 && told.lines().all(|l| l.ends_with(" MEDIUM   a r: one, \"two\"⏎three")),
        "{told}"
    );
    for name in ["hourly", "daily"] {
        // The hour may end meanwhile.
        let oldest = [2, 1].map(|n| format!("{name}.jsonl.{n}")).into_iter().find(|name| bench.path(name).exists());
        assert_eq!(text(&oldest.unwrap_or_else(|| panic!("{name} did not rotate"))), "{\"old\":1}\n", "{name}");
        assert!((1..=100).contains(&bench.lines(&format!("{name}.jsonl")).len()), "{name}");
    }
    assert_eq!((bench.lines("never.jsonl").len(), bench.path("never.jsonl.1").exists()), (101, false));
}

#[test]
fn handlers_get_the_alerts_that_their_where_lets_through() {
    let bench = Bench::new();
    bench.write(
        "levels.lua",
        "function detect(frame)\n  for _, level in { 'low', 'medium', 'high', 'critical' } do\n    \
         frame:alert{ rule = 'is-' .. level, level = level, key = 'k', message = 'm' }\n  end\nend\n",
    );
    let source = |id: &str| format!("{{ id: {id}, uri: 'test:size=64x64,fps=30', parameters: {{ frames: 3 }} }}");
    let cases = [
        ("all", "{}", ["low", "medium", "high", "critical"].as_slice(), ["gate-1", "yard"].as_slice()),
        ("high", "{ min_level: high }", &["high", "critical"], &["gate-1", "yard"]),
        ("yard", "{ sources: [yard] }", &["low", "medium", "high", "critical"], &["yard"]),
        ("gates", "{ sources: ['gate-*', engine] }", &["low", "medium", "high", "critical"], &["gate-1"]),
        ("others", "{ not_sources: ['g*'] }", &["low", "medium", "high", "critical"], &["yard"]),
        ("two", "{ rules: [is-low, 'is-h*'] }", &["low", "high"], &["gate-1", "yard"]),
        ("rest", "{ not_rules: ['*-low', is-medium] }", &["high", "critical"], &["gate-1", "yard"]),
        (
            "both",
            "{ min_level: medium, sources: ['*'], rules: ['is-*'], not_rules: ['is-c*'] }",
            &["medium", "high"],
            &["gate-1", "yard"],
        ),
        ("none", "{ rules: [nothing] }", &[], &[]),
    ];
    let handlers: Vec<String> = cases
        .iter()
        .map(|(name, filter, ..)| {
            format!("{{ name: {name}, type: file, where: {filter}, config: {{ log_file: {name}.jsonl }} }}")
        })
        .collect();
    let summary = bench.summary(&format!(
        "sources: [{}, {}]\ndetection: {{ strategies: [{{ name: levels, module: levels.lua }}] }}\nalerts:\n  \
         min_confidence: 0\n  max_alerts_per_minute: 1000\n  handlers: [{}]\n",
        source("gate-1"),
        source("yard"),
        handlers.join(", ")
    ));
    for (name, _, levels, sources) in cases {
        let mut got: Vec<(String, String)> = bench
            .lines(&format!("{name}.jsonl"))
            .iter()
            .map(|alert| (alert["source"].as_str().unwrap().into(), alert["rule"].as_str().unwrap().into()))
            .collect();
        got.sort();
        let mut wanted: Vec<(String, String)> = sources
            .iter()
            .flat_map(|source| levels.iter().map(|level| ((*source).to_owned(), format!("is-{level}"))))
            .collect();
        wanted.sort();
        assert_eq!(got, wanted, "{name}");
    }
    assert_eq!(summary["sources"][0]["alerts"], 4, "{summary}");
}

#[test]
fn an_alert_that_no_handler_wants_is_delivered_to_none_and_a_saved_where_holds_at_once() {
    let bench = Bench::new();
    bench.write("tick.lua", "function detect(frame) frame:alert{ rule = 'tick', message = 'tick' } end\n");
    let config = |rule: &str| {
        format!(
            "{LIVE}detection: {{ strategies: [{{ name: tick, module: tick.lua }}] }}\nalerts:\n  throttle_seconds: 0\n  \
             min_confidence: 0\n  max_alerts_per_minute: 100000\n  burst_threshold: 1000\n  handlers:\n    \
             - {{ name: file, where: {{ rules: [{rule}] }}, config: {{ log_file: out.jsonl }} }}\n"
        )
    };
    let mut run = bench.start(&config("other"));
    let page = run.page();
    let delivered = || sample(&get(&page, "/metrics").1, "dsengine_alerts_total{outcome=\"delivered\",rule=\"tick\"");
    poll(&mut run, || (delivered() > Some(0.0)).then_some(()));
    assert!(bench.lines("out.jsonl").is_empty(), "it wants other rules");
    bench.write("config-1.yaml", &config("tick"));
    poll(&mut run, || std::fs::metadata(bench.path("out.jsonl")).is_ok_and(|file| file.len() > 0).then_some(()));
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{:?}", run.seen);
}

/// The trace's one strong alert, handed to these webhooks under these keys, until the program has ended with this code.
#[track_caller]
fn posted(bench: &Bench, keys: &str, webhooks: &str, code: i32) {
    let config = format!("{TRACE}{ALARM}alerts: {{ min_confidence: 0.8, {keys}, handlers: [{webhooks}] }}\n");
    bench.run(&config).expect(code);
}

#[test]
fn webhooks_post_where_and_with_what_they_are_told() {
    let (bench, plain, marked) = (Bench::new(), Receiver::new(Answer::Status(204)), Receiver::new(Answer::Status(204)));
    let webhooks = format!(
        "{{ name: webhook, config: {{ url: 'http://{}/one' }} }}, \
         {{ name: marked, type: webhook, config: {{ url: 'http://{}/two', headers: {{ X-Site: north }} }} }}",
        plain.address, marked.address
    );
    posted(&bench, "throttle_seconds: 60", &webhooks, 0);
    let (plain, marked) = (plain.hits(), marked.hits());
    assert_eq!((plain.len(), marked.len()), (1, 1));
    assert!(plain[0].request.starts_with("POST /one ") && !plain[0].request.contains("x-site"));
    assert!(marked[0].request.starts_with("POST /two ") && marked[0].request.contains("x-site: north\r\n"));
    assert!(plain[0].request.contains("\"key\":\"car\""), "{}", plain[0].request);
}

#[test]
fn webhooks_are_tried_as_often_and_as_patiently_as_they_are_told() {
    let bench = Bench::new();
    let hook = |receiver: &Receiver, name: &str, rest: &str| {
        format!("{{ name: {name}, type: webhook, config: {{ url: 'http://{}/', {rest} }} }}", receiver.address)
    };
    for (attempts, delay) in [(4, 0.1), (2, 1.5)] {
        let receiver = Receiver::new(Answer::Status(503));
        let keys = format!("retry_attempts: {attempts}, max_age_seconds: 0, retry_delay: {delay}");
        posted(&bench, &keys, &hook(&receiver, "down", "timeout: 10"), 1);
        assert_eq!(receiver.hits().len(), attempts, "{keys}");
        let (least, most) = (Duration::from_secs_f64(delay), Duration::from_secs_f64(delay + 1.2));
        assert!(receiver.gaps().iter().all(|gap| *gap < most), "{keys}: {:?}", receiver.gaps());
        assert!(receiver.longest_gaps().iter().all(|gap| *gap >= least), "{keys}: {:?}", receiver.gaps());
    }
    let (hasty, patient) = (Receiver::new(Answer::Silence), Receiver::new(Answer::Silence));
    let webhooks = format!("{}, {}", hook(&hasty, "hasty", "timeout: 0.2"), hook(&patient, "patient", "timeout: 3"));
    posted(&bench, "retry_attempts: 1, max_age_seconds: 0", &webhooks, 1);
    let held = |receiver: &Receiver| {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(held) = receiver.hits().first().and_then(|hit| hit.held) {
                return held.as_secs_f64();
            }
            assert!(Instant::now() < until, "the connection is still held");
            std::thread::yield_now();
        }
    };
    let (hasty, patient) = (held(&hasty), held(&patient));
    assert!(hasty >= 0.05 && patient >= hasty + 1.4, "{hasty} {patient}");
}

#[test]
fn after_a_signal_the_end_comes_within_the_time_that_is_set() {
    let bench = Bench::new();
    for (seconds, expected) in [(1, 0.9..3.7), (4, 3.8..9.0)] {
        // An alert that nobody takes keeps the program waiting as long as it may.
        let silent = Receiver::new(Answer::Silence);
        let mut run = bench.start(&format!(
            "sources: [{{ id: a, uri: 'trace:steps.jsonl' }}, {{ id: b, uri: 'test:size=64x64,fps=5' }}]\n{ALARM}\
             graceful_shutdown_timeout: {seconds}\nalerts: {{ handlers: [{{ name: webhook, config: {{ \
             url: 'http://{}/', timeout: 60 }} }}] }}\n",
            silent.address
        ));
        run.page();
        poll(&mut run, || silent.hits().first().map(|_| ()));
        let signalled = Instant::now();
        run.signal("INT");
        assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{:?}", run.seen);
        let took = signalled.elapsed().as_secs_f64();
        assert!(expected.contains(&took), "{seconds} s allowed, {took} s taken");
    }
}

#[test]
fn what_is_refused_for_its_score_is_told_once_and_counted() {
    let bench = Bench::new();
    let alerts = "alerts: { throttle_seconds: 1, min_confidence: 0.8, handlers: [] }";
    let config = format!("{TRACE}{ALARM}{alerts}\n");
    let run = bench.run(&config).expect(0);
    let told = "alert refused: best detection 0.6 is under alerts.min_confidence 0.8";
    assert_eq!(run.stderr.matches(told).count(), 1, "{}", run.stderr);
    let source = &run.json()["sources"][0];
    let counts = ["alerts", "raised", "suppressed", "refused"].map(|key| source[key].as_u64().unwrap());
    assert_eq!(counts, [1, 200, 99, 100]);
    let refusals = "1 alert (200 raised: 99 held back, 100 refused)";
    let run = bench.command("run", &config, &["--port", "0"]).run().expect(0);
    assert!(run.stdout.contains(refusals), "{}", run.stdout);
    let config = format!("{ALARM}{alerts}\n");
    bench.write("replay.yaml", &config);
    let replay = Dsengine::new(["replay", "steps.jsonl", "--config", "replay.yaml"]).cwd(bench.dir.path()).run();
    let replay = replay.expect(0);
    assert!(replay.stderr.contains(refusals) && replay.stderr.contains(told), "{}", replay.stderr);
}

#[test]
fn a_handler_that_does_not_deliver_is_a_problem_until_it_does() {
    let bench = Bench::new();
    bench.write("tick.lua", "function detect(frame) frame:alert{ rule = 'tick', message = 'tick' } end\n");
    bench.write("boom.lua", "function handle_alert(alert) error('boom') end\n");
    // Nobody listens there until later.
    let closed = ClosedPort::take();
    let address = format!("127.0.0.1:{}", closed.port);
    let mut run = bench.start(&format!(
        "{LIVE}detection: {{ strategies: [{{ name: tick, module: tick.lua }}] }}\nalerts:\n  throttle_seconds: 0\n  burst_threshold: 0\n  max_alerts_per_minute: 0\n  retry_attempts: 1\n  max_age_seconds: 0\n  handlers:\n\
         \x20   - {{ name: file, config: {{ log_file: out.jsonl }} }}\n\
         \x20   - {{ name: boom, module: boom.lua }}\n\
         \x20   - {{ name: hook, type: webhook, config: {{ url: 'http://{address}/C4n4ry' }} }}\n"
    ));
    let page = run.page();
    let status = || -> Value { serde_json::from_str(&get(&page, "/health").1).unwrap() };
    let told = |status: &Value, name: &str| {
        let sentences = status["problems"].as_array().unwrap().iter().filter_map(Value::as_str);
        sentences.filter(|s| s.starts_with(&format!("handler {name}: "))).map(str::to_owned).next()
    };
    let both = |status: &Value| Some((told(status, "hook")?, told(status, "boom")?));
    let ((hook, boom), health) = poll(&mut run, || {
        let status = status();
        Some((both(&status)?, status))
    });
    assert!(hook.contains(" given up, ") && hook.contains("Connection refused"), "{hook}");
    assert!(boom.contains("boom.lua:1: boom") && !health.to_string().contains("C4n4ry"), "{health}");
    assert_eq!((&health["health"], told(&health, "file")), (&"degraded".into(), None), "{health}");
    poll(&mut run, || (status()["handlers"][0]["delivered"].as_u64() > Some(0)).then_some(()));
    assert!(sample(&get(&page, "/metrics").1, "dsengine_problems ") >= Some(2.0));
    let plugins: Value = serde_json::from_str(&get(&page, "/api/v1/plugins").1).unwrap();
    let boom = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "boom").unwrap();
    assert!(boom["degraded"] == true && boom["last_error"].as_str().unwrap().contains("boom.lua:1"), "{boom}");

    drop(closed);
    let receiver = Receiver::at(&address, Answer::Status(204));
    let mended = poll(&mut run, || Some(status()).filter(|status| told(status, "hook").is_none()));
    let hook = &mended["handlers"][2];
    assert!(hook["given_up"].as_u64() > Some(0) && hook["last_error"].is_null(), "{hook}");
    assert!(!receiver.hits().is_empty() && told(&mended, "boom").is_some(), "{mended}");
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{:?}", run.seen);
    for (name, said) in [("file", " 0 given up, 0 pending"), ("boom", "boom.lua:1: boom")] {
        let line = run.seen.iter().find(|line| line.starts_with(&format!("handler {name}: "))).expect(name);
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn alerts_have_the_tags_of_their_strategy_and_go_where_these_are_wanted() {
    let bench = Bench::new();
    bench.write(
        "tagged.lua",
        "function detect(frame)\n  if frame.seq == 0 then\n    frame:alert{ rule = 'plain', key = 1, message = 'm' }\n    \
         frame:alert{ rule = 'own', key = 1, message = 'm', tags = { 'dock-2', 'late' } }\n  end\nend\n",
    );
    let handler = |name: &str, tags: &str| {
        format!("{{ name: {name}, type: file, where: {{ tags: {tags} }}, config: {{ log_file: {name}.jsonl }} }}")
    };
    let config = |keys: &str| {
        let handlers = [handler("all", "[]"), handler("night", "[night]"), handler("docks", "[quay, 'dock-*']")];
        format!(
            "{TRACE}detection: {{ strategies: [{{ name: tagged, module: tagged.lua{keys} }}] }}\n\
             alerts: {{ handlers: [{}] }}\n",
            handlers.join(", ")
        )
    };
    let got = |name: &str| -> Vec<(Value, Value)> {
        bench.lines(&format!("{name}.jsonl")).iter().map(|a| (a["rule"].clone(), a["tags"].clone())).collect()
    };
    let own = json!("own");
    bench.summary(&config(""));
    assert_eq!(got("all"), [(json!("plain"), Value::Null), (own.clone(), json!(["dock-2", "late"]))]);
    assert_eq!((got("night"), got("docks").len()), (vec![], 1));
    for name in ["all", "docks"] {
        std::fs::remove_file(bench.path(&format!("{name}.jsonl"))).unwrap();
    }
    bench.summary(&config(", tags: [late, night]"));
    let both = [(json!("plain"), json!(["late", "night"])), (own, json!(["dock-2", "late", "night"]))];
    assert_eq!((got("all"), got("night"), got("docks")), (both.to_vec(), both.to_vec(), both[1..].to_vec()));
    for (keys, told) in
        [(", tags: ['two words']", "a tag has letters, digits and - _ . : / only"), (", tags: ['']", "a tag is empty")]
    {
        let out = bench.run(&config(keys)).expect(2);
        assert!(out.stderr.contains(told) && out.stderr.contains("detection.strategies[0].tags[0]"), "{}", out.stderr);
    }
    bench.write("tagged.lua", "function detect(frame)\n  frame:alert{ rule = 'r', tags = { 'two words' } }\nend\n");
    let out = bench.run(&config(""));
    let fault = "tagged.lua:2: frame:alert: a tag has letters, digits and - _ . : / only";
    assert!(out.code() != 0 && out.stderr.contains(fault), "{}", out.stderr);
}
