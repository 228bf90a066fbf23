//! What scripts may use and reach, what becomes of their failures, shadows, and handlers in scripts.

use serde_json::{Value, json};

use super::{Answer, Bench, LIMIT, LIVE, Receiver, TRACE, poll, stop};
use crate::harness::{get, sample, signal};

/// The trace judged by `rule.lua` with these keys beside its name.
fn judged(bench: &Bench, keys: &str, script: &str) -> (Value, Vec<Value>) {
    bench.write("rule.lua", script);
    let _ = std::fs::remove_file(bench.path("alerts.jsonl"));
    let config = format!(
        "{TRACE}detection: {{ strategies: [{{ name: rule, module: rule.lua{keys} }}] }}\n\
         alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, handlers: [file] }}\n"
    );
    let summary = bench.summary(&config);
    (summary, bench.lines("alerts.jsonl"))
}

fn faults(summary: &Value) -> u64 {
    summary["strategies"][0]["faults"].as_u64().unwrap()
}

#[test]
fn a_script_is_held_to_the_limits_that_are_set() {
    let bench = Bench::new();
    let pair = |key: &str, tight: &str, wide: &str, script: &str| {
        let with = |value: &str| judged(&bench, &format!(", limits: {{ {key}: {value} }}"), script);
        (with(tight), with(wide))
    };
    // Some 60 ms of work for one frame.
    let busy = "function detect(frame)\n  if frame.seq == 3 then\n    local n = 0\n    for i = 1, 4000000 do n += i % 7 end\n  end\nend\n";
    let ((tight, _), (wide, _)) = pair("hard_ms", "3", "9000, wall_ms: 60000", busy);
    assert_eq!((faults(&tight), faults(&wide)), (1, 0), "hard_ms");
    // Within its CPU time, and longer than a call may last.
    let ((tight, _), (wide, _)) = pair("hard_ms: 9000, wall_ms", "10", "60000", busy);
    let last = tight["strategies"][0]["last_error"].as_str().unwrap_or_default();
    assert!(faults(&tight) == 1 && last.ends_with(": stopped after 10 ms"), "wall_ms: {tight}");
    assert_eq!(faults(&wide), 0, "wall_ms: {wide}");
    let hungry =
        "local kept = {}\nfunction detect(frame)\n  for i = 1, 2000 do kept[#kept + 1] = { frame.seq, i } end\nend\n";
    let ((tight, _), (wide, _)) = pair("memory_mb", "2", "512, hard_ms: 9000, wall_ms: 60000", hungry);
    assert!(faults(&tight) > 0 && faults(&wide) == 0, "memory_mb: {} {}", faults(&tight), faults(&wide));
    let loud = "function detect(frame)\n  for i = 1, 5 do frame:alert{ rule = 'r' .. i, key = frame.seq } end\nend\n";
    let ((_, tight), (_, wide)) = pair("alerts_per_call", "2", "5", loud);
    assert_eq!((tight.len(), wide.len()), (200, 500), "alerts_per_call");
    let adds = "function detect(frame)\n  for i = 1, 5 do frame:add{ label = 'x', bbox = { 0, 0, 1, 1 } } end\nend\n";
    let ((tight, _), (wide, _)) = pair("added_per_call", "4", "5", adds);
    assert!(faults(&tight) > 0 && faults(&wide) == 0, "added_per_call");
    let long = "function detect(frame)\n  if frame.seq == 0 then frame:alert{ rule = 'r', message = ('x'):rep(500) } end\nend\n";
    let ((_, tight), (_, wide)) = pair("message_bytes", "100", "1000", long);
    let length = |alerts: &[Value]| alerts[0]["message"].as_str().unwrap().chars().count();
    assert_eq!((length(&tight), length(&wide)), (101, 500), "message_bytes");
    let keeps = "function detect(frame) state.set('k' .. frame.seq, ('x'):rep(100)) end\n";
    let ((tight, _), (wide, _)) = pair("state_bytes", "1000", "100000", keeps);
    assert!(faults(&tight) > 0 && faults(&wide) == 0, "state_bytes");
    let talks = "function detect(frame)\n  for i = 1, 20 do log.warn('line ' .. frame.seq .. '.' .. i) end\nend\n";
    bench.write("rule.lua", talks);
    let lines = |limit: u32| {
        let config = format!(
            "{TRACE}detection: {{ strategies: [{{ name: rule, module: rule.lua, limits: {{ log_lines_per_second: {limit} }} }}] }}\n"
        );
        let out = bench.run(&config).expect(0);
        out.stderr.matches("line ").count()
    };
    // Ten seconds of frame time.
    assert_eq!((lines(3), lines(30)), (30, 300), "log_lines_per_second");
    // Slow is counted, not stopped.
    bench.write("rule.lua", &busy.replace("frame.seq == 3", "true").replace("4000000", "400000"));
    let slow = |soft: &str| {
        let keys = format!("limits: {{ soft_ms: {soft}, hard_ms: 5000, wall_ms: 60000 }}");
        let mut run =
            bench.start(&format!("{LIVE}detection: {{ strategies: [{{ name: rule, module: rule.lua, {keys} }}] }}\n"));
        let page = run.page();
        poll(&mut run, || {
            let metrics = get(&page, "/metrics").1;
            sample(&metrics, "dsengine_strategy_calls_total{").filter(|calls| *calls > 130.0).map(|_| {
                let series = "dsengine_strategy_limited_total{source=\"a\",strategy=\"rule\",what=\"slow_calls\"}";
                sample(&metrics, series).unwrap_or(0.0)
            })
        })
    };
    let (tight, wide) = (slow("0.1"), slow("5000"));
    assert!(tight > 0.0 && wide == 0.0, "soft_ms: {tight} {wide}");
}

#[test]
fn a_script_reaches_what_is_granted_and_nothing_else() {
    let bench = Bench::new();
    let secret = bench.write("secret.txt", "from a file");
    let needs =
        format!("---@needs env HOME\n---@needs shared_state\n---@needs pixels\n---@needs files {}\n", secret.display());
    let script = format!(
        "{needs}local kept = files.read('{}')\nfunction detect(frame)\n  shared.add('n', 1)\n  if frame.seq == 99 then\n    frame:alert{{ rule = 'r', message = \
         env.HOME .. '|' .. kept .. '|' .. shared.get('n') .. '|' .. tostring(pixels.size()) }}\n  end\nend\n",
        secret.display()
    );
    let grants = format!("env: [HOME], shared_state: true, pixels: true, files: [{}]", bench.dir.path().display());
    let (summary, alerts) = judged(&bench, &format!(", grants: {{ {grants} }}"), &script);
    assert_eq!(faults(&summary), 0, "{summary}");
    let home = std::env::var("HOME").unwrap();
    assert_eq!(alerts[0]["message"], format!("{home}|from a file|100|nil"));
    // Each one that is missing is named, and nothing runs.
    for (missing, told) in [
        ("env: [HOME], ", "the environment variable HOME"),
        ("shared_state: true, ", "state over all sources"),
        ("pixels: true, ", "pixels"),
    ] {
        bench.write("rule.lua", &script);
        let keys = grants.replace(missing, "");
        let out = bench.run(&format!(
            "{TRACE}detection: {{ strategies: [{{ name: rule, module: rule.lua, grants: {{ {keys} }} }}] }}\n"
        ));
        assert_eq!(out.code(), 2);
        assert!(out.stderr.contains(&format!("rule asks for {told}, which is not granted")), "{}", out.stderr);
    }
    // With the grant there are pixels: of a red picture.
    bench.write(
        "seen.lua",
        "---@needs pixels\nfunction detect(frame)\n  local r, g, b = pixels.mean()\n  frame:alert{ rule = 'r', message = \
         ('%d %s'):format(select(1, pixels.size()), tostring(r > 200 and g < 60 and b < 60)) }\nend\n",
    );
    let _ = std::fs::remove_file(bench.path("alerts.jsonl"));
    let out = bench.run(
        "sources: [{ id: a, uri: 'test:pattern=red,size=64x48,frames=1' }]\n\
         detection: { strategies: [{ name: seen, module: seen.lua, grants: { pixels: true } }] }\n\
         alerts: { min_confidence: 0, handlers: [{ name: file, config: { log_file: alerts.jsonl } }] }\n",
    );
    assert_eq!(out.code(), 0, "{}", out.stderr);
    assert_eq!(bench.lines("alerts.jsonl")[0]["message"], "64 true");
    // A link leads no further than what is granted.
    let folder = bench.path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&secret, folder.join("out")).unwrap();
    bench.write("rule.lua", &format!("---@needs files {}/out\nfunction detect(frame) end\n", folder.display()));
    let out = bench.run(&format!(
        "{TRACE}detection: {{ strategies: [{{ name: rule, module: rule.lua, grants: {{ files: ['{}'] }} }}] }}\n",
        folder.display()
    ));
    assert_eq!(out.code(), 2);
    assert!(
        out.stderr.contains(&format!("(it leads to {}), which is not granted", secret.display())),
        "{}",
        out.stderr
    );
    // What is granted and not asked for is not there.
    let (summary, _) =
        judged(&bench, &format!(", grants: {{ {grants} }}"), &script.replace("---@needs env HOME\n", ""));
    assert!(faults(&summary) > 0, "{summary}");
}

#[test]
fn a_failed_frame_goes_where_on_failure_says() {
    let bench = Bench::new();
    bench.write("broken.lua", "function detect(frame)\n  if frame.seq < 3 then error('no') end\nend\n");
    bench.write("after.lua", "function detect(frame) frame:alert{ rule = 'seen', key = frame.seq } end\n");
    let seen = |word: &str| {
        let _ = std::fs::remove_file(bench.path("alerts.jsonl"));
        let config = format!(
            "{TRACE}detection: {{ strategies: [{{ name: broken, module: broken.lua, on_failure: {word} }}, \
             {{ name: after, module: after.lua }}] }}\n\
             alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, handlers: [file] }}\n"
        );
        let summary = bench.summary(&config);
        let source = &summary["sources"][0];
        let dropped = source["dropped"]["strategy_fault"].as_u64().unwrap_or(0);
        assert_eq!(source["judged"].as_u64().unwrap() + dropped, 100, "each frame is one or the other: {summary}");
        (bench.lines("alerts.jsonl").len(), dropped)
    };
    assert_eq!(seen("pass"), (100, 0));
    assert_eq!(seen("skip"), (97, 3));
    // Off for good after five faults, where it otherwise would come back after ten seconds of frame time.
    let always = "function detect(frame) error('no') end\n";
    let off = |word: &str| faults(&judged(&bench, &format!(", on_failure: {word}"), always).0);
    assert_eq!(off("disable"), 5);
    assert_eq!(seen("disable"), (100, 0));
}

#[test]
fn keys_of_the_other_kind_of_module_are_refused() {
    let bench = Bench::new();
    bench.write("handler.lua", "function handle_alert(alert) end\n");
    for (keys, told) in [
        ("limits: { timeout_seconds: 1 }", "a strategy waits for nothing"),
        ("grants: { http: [a.example] }", "a strategy sends no requests"),
        ("grants: { secrets: { A: b } }", "a strategy sends none"),
    ] {
        let config = format!("{TRACE}detection: {{ strategies: [{{ name: alarm, module: alarm.lua, {keys} }}] }}\n");
        let out = bench.run(&config);
        assert!(out.code() == 2 && out.stderr.contains(told), "{keys}: {}", out.stderr);
    }
    for (keys, told) in [
        ("limits: { wall_ms: 10 }", "its bound is `timeout_seconds`"),
        ("limits: { alerts_per_call: 1 }", "a handler raises no alerts"),
        ("limits: { added_per_call: 1 }", "a handler adds no detections"),
        ("grants: { pixels: true }", "a handler has no picture"),
    ] {
        let config = format!("{TRACE}alerts: {{ handlers: [{{ name: h, module: handler.lua, {keys} }}] }}\n");
        let out = bench.run(&config);
        assert!(out.code() == 2 && out.stderr.contains(told), "{keys}: {}", out.stderr);
    }
}

#[test]
fn a_class_of_a_script_judges() {
    let bench = Bench::new();
    let script = "Loud = {}\nLoud.__index = Loud\nfunction Loud.new(config)\n  return setmetatable({ word = config.word }, Loud)\nend\n\
                  function Loud:detect(frame)\n  frame:alert{ rule = self.word, key = frame.seq }\nend\n\
                  function Loud:should_process(d) return d.confidence > 0.8 end\n\
                  Quiet = {}\nfunction Quiet:detect(frame) end\n";
    let (_, alerts) = judged(&bench, ", class: Loud, config: { word: heard }", script);
    assert_eq!((alerts.len(), &alerts[0]["rule"]), (100, &json!("heard")));
    let (_, alerts) = judged(&bench, ", class: Quiet", script);
    assert!(alerts.is_empty());
}

#[test]
fn a_shadow_is_compared_and_promoted() {
    let bench = Bench::new();
    bench.write("old.lua", "function detect(frame) state.set('n', (state.get('n') or 0) + 1) end\n");
    bench.write(
        "new.lua",
        "function detect(frame)\n  state.set('n', (state.get('n') or 0) + 1)\n  frame:alert{ rule = 'new', message = 'n ' .. state.get('n') }\nend\n",
    );
    let config = format!(
        "{LIVE}detection: {{ strategies: [{{ name: next, module: new.lua, mode: shadow, shadow_of: now }}, \
         {{ name: now, module: old.lua }}, {{ name: same, module: old.lua, mode: shadow, shadow_of: now }}] }}\n\
         alerts: {{ min_confidence: 0, handlers: [file] }}\n"
    );
    // One shadow to a strategy.
    let out = bench.run(&config);
    assert!(out.code() == 2 && out.stderr.contains("already has the shadow"), "{}", out.stderr);
    let config = config.replace(", { name: same, module: old.lua, mode: shadow, shadow_of: now }", "");
    let mut run = bench.start(&config);
    let page = run.page();
    let different = "dsengine_strategy_shadow_total{source=\"a\",strategy=\"next\",verdict=\"different\"}";
    let metric = |series: &str| sample(&get(&page, "/metrics").1, series);
    poll(&mut run, || metric(different).filter(|n| *n >= 10.0));
    assert!(bench.lines("alerts.jsonl").is_empty(), "a shadow has no effect");
    let plugins = || serde_json::from_str::<Value>(&get(&page, "/api/v1/plugins").1).unwrap();
    assert_eq!(plugins()[0]["shadow_of"], "now");
    let (status, answer) = crate::harness::post(&page, "/api/v1/plugins/next/promote");
    assert_eq!(status, 200, "{answer}");
    poll(&mut run, || bench.lines("alerts.jsonl").first().cloned());
    // The shadow has become the strategy, and goes when the probation is over.
    poll(&mut run, || (plugins().as_array().unwrap().len() == 1).then_some(()));
    assert_eq!((&plugins()[0]["name"], &plugins()[0]["generation"]), (&json!("now"), &json!(2)));
    let message = bench.lines("alerts.jsonl")[0]["message"].as_str().unwrap().to_owned();
    let n: u64 = message.trim_start_matches("n ").parse().unwrap();
    assert!(n > 10, "the strategy's own state goes on: {message}");
    stop(run);
}

#[test]
fn a_promotion_that_fails_leaves_both_as_they_were() {
    let bench = Bench::new();
    bench.write("now.lua", "function detect(frame) end\n");
    let late = "local seen = 0\nfunction detect(frame)\n  seen += 1\n  if seen > 40 then error('too late') end\nend\n";
    bench.write("late.lua", late);
    let mut run = bench.start(&format!(
        "{LIVE}detection: {{ strategies: [{{ name: now, module: now.lua }}, \
         {{ name: next, module: late.lua, mode: shadow, shadow_of: now }}] }}\n"
    ));
    let page = run.page();
    poll(&mut run, || sample(&get(&page, "/metrics").1, "dsengine_strategy_calls_total{").filter(|n| *n > 5.0));
    let (status, answer) = crate::harness::post(&page, "/api/v1/plugins/next/promote");
    assert_eq!(status, 200, "{answer}");
    run.wait_line(LIMIT, |line| line.contains("rolled back to the former version"));
    let health = get(&page, "/health").1;
    assert!(health.contains("late.lua") && !health.contains("now.lua is"), "{health}");
    let plugins: Value = serde_json::from_str(&get(&page, "/api/v1/plugins").1).unwrap();
    let told: Vec<_> = plugins.as_array().unwrap().iter().map(|p| (&p["name"], &p["generation"])).collect();
    assert_eq!(told, [(&json!("now"), &json!(1)), (&json!("next"), &json!(1))]);
    // The one that judges again is watched again.
    bench.write("now.lua", "-- second\nfunction detect(frame) end\n");
    run.wait_line(LIMIT, |line| line.contains("script reloaded"));
    stop(run);
}

#[test]
fn a_shadow_that_keeps_failing_is_no_shadow_that_agrees() {
    let bench = Bench::new();
    bench.write("now.lua", "function detect(frame) end\n");
    bench.write("next.lua", "function detect(frame) error('no') end\n");
    let config = format!(
        "{LIVE}detection: {{ strategies: [{{ name: now, module: now.lua }}, \
         {{ name: next, module: next.lua, mode: shadow, shadow_of: now }}] }}\n"
    );
    let mut run = bench.start(&config);
    let page = run.page();
    let of = |verdict: &str| {
        let series = "dsengine_strategy_shadow_total{source=\"a\",strategy=\"next\",verdict=";
        sample(&get(&page, "/metrics").1, &format!("{series}\"{verdict}\"}}")).unwrap_or(0.0)
    };
    poll(&mut run, || (of("skipped") >= 10.0).then_some(()));
    assert_eq!((of("fault"), of("same"), of("different")), (5.0, 0.0, 0.0));
    let plugins: Value = serde_json::from_str(&get(&page, "/api/v1/plugins").1).unwrap();
    let next = plugins.as_array().unwrap().iter().find(|p| p["name"] == "next").unwrap();
    assert!(next["degraded"] == true && next["last_error"].as_str().is_some_and(|e| e.contains("no")), "{next}");
    let metrics = get(&page, "/metrics").1;
    let count = |name: &str| {
        let series = format!("dsengine_strategy_call_seconds_count{{source=\"a\",strategy=\"{name}\"}}");
        sample(&metrics, &series).unwrap_or(0.0)
    };
    // Of a frame that is being judged, one may be counted already.
    assert!(count("next") >= 15.0 && (count("now") - count("next")).abs() <= 1.0, "{metrics}");
    stop(run);
}

#[test]
fn sighup_reads_every_script_again() {
    let bench = Bench::new();
    bench.write("rule.lua", "function detect(frame) log.info('first') end\n");
    let mut run = bench.start(&format!("{LIVE}detection: {{ strategies: [{{ name: rule, module: rule.lua }}] }}\n"));
    let page = run.page();
    run.wait_line(LIMIT, |line| line.contains("first"));
    signal(run.pid(), "HUP");
    run.wait_line(LIMIT, |line| line.contains("the file is the running version again"));
    run.wait_line(LIMIT, |line| line.contains("SIGHUP: the configuration and 1 script read again"));
    assert_eq!(get(&page, "/livez").0, 200);
    stop(run);
}

/// A run over the trace whose alerts go to `handler.lua` with these keys beside its name.
fn handled(bench: &Bench, keys: &str, script: &str) -> (i32, Value, String) {
    bench.write("handler.lua", script);
    let config = format!(
        "{TRACE}detection: {{ strategies: [{{ name: alarm, module: alarm.lua }}] }}\n\
         alerts: {{ min_confidence: 0, retry_attempts: 1, max_age_seconds: 0, retry_delay: 0.1, handlers: [{{ name: own, module: handler.lua{keys} }}] }}\n"
    );
    let out = bench.run(&config);
    let (code, told) = (out.code(), out.stderr.clone());
    (code, if code == 2 { Value::Null } else { out.json() }, told)
}

#[test]
fn a_handler_in_a_script_delivers_within_its_limits_and_grants() {
    let bench = Bench::new();
    let receiver = Receiver::new(Answer::Status(204));
    let address = &receiver.address;
    let script = format!(
        "---@needs http {address}\n---@needs env HOME\n---@needs shared_state\n---@needs files {dir}\n\
         local kept = files.read('{dir}/a.txt')\nOwn = {{}}\nfunction Own:handle_alert(alert)\n  shared.add('n', 1)\n  return http.post('http://{address}/' .. config.path, \
         {{ text = alert.message, home = env.HOME, file = kept }}, \
         {{ headers = {{ Authorization = 'Bearer ${{secret:TOKEN}}' }} }})\nend\n",
        dir = bench.dir.path().display()
    );
    bench.write("a.txt", "A");
    let dir = bench.dir.path().display();
    let grants = format!(
        "http: ['http://{address}'], env: [HOME], shared_state: true, files: ['{dir}'], secrets: {{ TOKEN: t0psecret }}"
    );
    // `config` of a module is its settings.
    for word in ["config", "settings"] {
        let keys = format!(", class: Own, {word}: {{ path: hook }}, grants: {{ {grants} }}");
        let (code, summary, told) = handled(&bench, &keys, &script);
        assert_eq!(code, 0, "{told}");
        assert_eq!((&summary["delivered"], &summary["failed"]), (&json!(2), &json!(0)), "{summary} {told}");
        assert!(!told.contains("t0psecret"), "{told}");
    }
    let requests = receiver.hits().into_iter().map(|hit| hit.request).collect::<Vec<_>>().join("\n");
    assert_eq!(requests.matches("POST /hook ").count(), 4, "{requests}");
    assert!(requests.contains("Bearer t0psecret") && requests.contains("\"text\":\"seen\""), "{requests}");
    assert!(requests.contains("\"file\":\"A\""), "{requests}");
    // A secret in clear has to be granted as such.
    let unclear = grants.replace("http://", "");
    let (_, summary, told) =
        handled(&bench, &format!(", class: Own, config: {{ path: hook }}, grants: {{ {unclear} }}"), &script);
    assert!(summary["failed"] == 2 && told.contains("in clear: write https://"), "{summary} {told}");
    for missing in [format!("http: ['http://{address}'], "), "env: [HOME], ".into(), "shared_state: true, ".into()] {
        let keys = format!(", class: Own, config: {{ path: hook }}, grants: {{ {} }}", grants.replace(&missing, ""));
        let (code, _, told) = handled(&bench, &keys, &script);
        assert!(code == 2 && told.contains("own asks for "), "{missing}: {told}");
    }
}

#[test]
fn a_handler_in_a_script_is_held_to_the_limits_that_are_set() {
    let bench = Bench::new();
    let given_up = |limits: &str, body: &str| {
        let keys = format!(", limits: {{ {limits} }}");
        let (code, summary, told) = handled(&bench, &keys, &format!("function handle_alert(alert)\n{body}\nend\n"));
        let failed = summary["failed"].as_u64().unwrap();
        assert_eq!(code, i32::from(failed > 0), "{told}");
        (failed, told)
    };
    let busy = "  local n = 0\n  for i = 1, 4000000 do n += i % 7 end";
    assert_eq!((given_up("hard_ms: 3", busy).0, given_up("hard_ms: 9000", busy).0), (2, 0));
    let endless = "  while true do end";
    let (lost, told) = given_up("timeout_seconds: 0.1, hard_ms: 9000", endless);
    assert!(lost == 2 && told.contains("stopped after 100 ms"), "{told}");
    let long = busy.replace("4000000", "40000000");
    let lost = |seconds: &str| given_up(&format!("timeout_seconds: {seconds}, hard_ms: 9000"), &long).0;
    assert_eq!((lost("0.1"), lost("60")), (2, 0), "timeout_seconds");
    let hungry = "  local kept = {}\n  for i = 1, 200000 do kept[i] = { i } end";
    assert_eq!(
        (given_up("memory_mb: 2, hard_ms: 9000", hungry).0, given_up("memory_mb: 512, hard_ms: 9000", hungry).0),
        (2, 0)
    );
    let keeps = "  state.set('k', ('x'):rep(900))";
    assert_eq!((given_up("state_bytes: 100", keeps).0, given_up("state_bytes: 10000", keeps).0), (2, 0));
    let talks = "  for i = 1, 20 do log.warn('line ' .. ('x'):rep(100) .. i) end";
    let lines = |limits: &str| given_up(limits, talks).1.matches("line xxx").count();
    assert!(lines("log_lines_per_second: 3") < lines("log_lines_per_second: 100"));
    let long = |limits: &str| given_up(limits, talks).1.contains(&"x".repeat(100));
    assert!(!long("message_bytes: 50") && long("message_bytes: 500"));
    // Slow is counted, not stopped.
    let slow = |soft: &str| {
        bench.write("handler.lua", &format!("function handle_alert(alert)\n{busy}\nend\n"));
        let config = format!(
            "{LIVE}detection: {{ strategies: [{{ name: alarm, module: always.lua }}] }}\nalerts: {{ min_confidence: 0, \
             burst_threshold: 0, max_alerts_per_minute: 0, \
             handlers: [{{ name: own, module: handler.lua, limits: {{ soft_ms: {soft}, hard_ms: 9000 }} }}] }}\n"
        );
        bench.write("always.lua", "function detect(frame) frame:alert{ rule = 'r', key = frame.seq } end\n");
        let mut run = bench.start(&config);
        let page = run.page();
        poll(&mut run, || {
            let metrics = get(&page, "/metrics").1;
            sample(&metrics, "dsengine_alert_deliveries_total{handler=\"own\",outcome=\"delivered\"}")
                .filter(|delivered| *delivered > 3.0)
                .map(|_| {
                    sample(&metrics, "dsengine_handler_limited_total{handler=\"own\",what=\"slow\"}").unwrap_or(0.0)
                })
        })
    };
    let (tight, wide) = (slow("0.1"), slow("9000"));
    assert!(tight > 0.0 && wide == 0.0, "soft_ms: {tight} {wide}");
}

#[test]
fn scripts_are_handed_the_extensions_and_their_changes() {
    let bench = Bench::new();
    bench.write(
        "rule.lua",
        "local site = extensions.site or {}\nfunction detect(frame)\n  local ok = pcall(function() extensions.new = 1 end)\n  \
         log.info(('rule %s %s %s %s'):format(tostring(site.floor), typeof(site.floor), tostring(site.open), tostring(ok)))\n  \
         frame:alert{ rule = 'r', key = frame.seq }\nend\n",
    );
    bench.write(
        "desk.lua",
        "function handle_alert(alert) log.info('desk ' .. tostring(extensions.site and extensions.site.floor)) end\n",
    );
    let config = |extensions: &str| {
        format!(
            "{LIVE}{extensions}detection: {{ strategies: [{{ name: rule, module: rule.lua }}] }}\n\
             alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, handlers: [{{ name: desk, module: desk.lua }}] }}\n"
        )
    };
    let mut run = bench.start(&config("extensions: { site: { floor: 3, open: true } }\n"));
    run.wait_line(LIMIT, |line| line.contains("rule 3 number true false"));
    run.wait_line(LIMIT, |line| line.contains("desk 3"));
    // Live, in strategies and in handlers.
    bench.write("config-1.yaml", &config("extensions: { site: { floor: up, open: false } }\n"));
    run.wait_line(LIMIT, |line| line.contains("rule up string false false"));
    run.wait_line(LIMIT, |line| line.contains("desk up"));
    bench.write("config-1.yaml", &config(""));
    run.wait_line(LIMIT, |line| line.contains("rule nil nil nil false"));
    run.wait_line(LIMIT, |line| line.contains("desk nil"));
    stop(run);
}

#[test]
fn an_attribute_of_one_script_is_seen_by_the_next_and_by_alerts() {
    let bench = Bench::new();
    bench.write("reads.lua", "function detect(frame)\n  for i in frame:select{ label = 'car' } do frame:set_attribute(i, 'plate', 'W ' .. frame.seq) end\nend\n");
    bench.write(
        "rule.lua",
        "function detect(frame)\n  for i in frame:select{ label = 'car' } do\n    frame:alert{ rule = 'r', key = frame.seq, \
         message = frame:attributes(i).plate, detections = { i } }\n  end\nend\n",
    );
    bench.summary(&format!(
        "{TRACE}detection: {{ strategies: [{{ name: reads, module: reads.lua }}, {{ name: rule, module: rule.lua }}] }}\n\
         alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, handlers: [file] }}\n"
    ));
    let alerts = bench.lines("alerts.jsonl");
    assert_eq!(alerts.len(), 100);
    assert_eq!(alerts[7]["message"], "W 7");
    assert_eq!(alerts[7]["detections"][0]["attributes"], json!({ "plate": "W 7" }));
}

/// The loitering script of the product, with these settings.
fn loitering(settings: &str) -> String {
    let script = crate::harness::root().join("scripts/loitering.lua");
    format!(
        "{TRACE}zones: {{ door: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\n\
         detection:\n  strategies:\n    - name: loitering\n      module: '{}'\n      config: {{ {settings} }}\n",
        script.display()
    )
}

#[test]
fn a_misspelt_setting_of_a_script_is_refused_with_its_place_and_the_nearest_name() {
    let bench = Bench::new();
    for (settings, place, message, hint) in [
        ("zone: door, secnds: 10", ":7:", "loitering: there is no setting `secnds`", "did you mean `seconds`?"),
        ("zone: door, seconds: soon", ":7:", "the setting `seconds` is a text, expected number", ""),
        ("zone: door, min_confidence: 1.5", ":7:", "is out of range: got 1.5, expected 0..1", ""),
        ("zone: door, level: urgent", ":7:", "the setting `level` is another word, expected \"low\" | \"medium\"", ""),
        ("seconds: 10", ":7:", "config.zone is missing: the name of the zone to watch", ""),
    ] {
        for (command, args) in [("validate", [].as_slice()), ("run", &["--port", "0"])] {
            let out = bench.command(command, &loitering(settings), args).run();
            assert_ne!(out.code(), 0, "{settings}");
            let said = [place, message, hint].iter().all(|part| out.stderr.contains(part));
            assert!(said, "{command} {settings}: {}", out.stderr);
        }
    }
    bench.command("validate", &loitering("zone: door"), &[]).run().expect(0);
}

#[test]
fn settings_are_declared_in_a_manifest_and_their_defaults_filled_in() {
    let bench = Bench::new();
    let folder = bench.path("crowd");
    std::fs::create_dir(&folder).unwrap();
    let manifest = "name = \"crowd\"\nversion = \"1\"\nkind = \"strategy\"\nentry = \"crowd.lua\"\n\
                    [settings.most]\ntype = \"integer\"\ndefault = 3\nrange = [1, 9]\nhelp = \"how many\"\n\
                    [settings.name]\ntype = \"string\"\n";
    bench.write("crowd/plugin.toml", manifest);
    bench.write(
        "crowd/crowd.lua",
        "function detect(frame) frame:alert{ rule = 'r', message = config.most .. ' ' .. tostring(config.name) } end\n",
    );
    let config = |settings: &str| {
        format!(
            "{TRACE}detection: {{ strategies: [{{ name: crowd, module: crowd/crowd.lua, config: {{ {settings} }} }}] }}\n\
             alerts: {{ min_confidence: 0, handlers: [file] }}\n"
        )
    };
    for (settings, said) in [("", "3 nil"), ("most: 5, name: x", "5 x")] {
        let _ = std::fs::remove_file(bench.path("alerts.jsonl"));
        bench.summary(&config(settings));
        assert_eq!(bench.lines("alerts.jsonl")[0]["message"], said);
    }
    let out = bench.run(&config("msot: 5"));
    assert!(out.code() != 0 && out.stderr.contains("did you mean `most`?"), "{}", out.stderr);
    // What makes no sense is refused with the manifest's name; a script without declarations takes anything.
    bench.write("crowd/plugin.toml", &manifest.replace("default = 3", "default = 30"));
    let out = bench.run(&config(""));
    assert!(
        out.stderr.contains("plugin.toml: settings.most: its default is out of range: got 30, expected 1..9"),
        "{}",
        out.stderr
    );
    bench.write("crowd/plugin.toml", manifest.split("[settings.most]").next().unwrap());
    bench.summary(&config("most: many, anything: [1]"));
}
