//! `timezone`, schedules and quiet hours: what the clock on the wall of a zone lets pass.

use serde_json::{Value, json};

use super::{ALARM, Bench, TRACE, labels, model, poll, stop};
use crate::harness::{get, request, sample};

/// The trace's frames are of Tuesday, 2023-11-14, 22:13:20 UTC and the ten seconds after.
const WHEN: &str = "function detect(frame)\n  local t = time.localtime(frame)\n  frame:alert{ rule = 'when', message = \
                    ('%s %04d-%02d-%02d %02d:%02d %s %d'):format(t.zone, t.year, t.month, t.day, t.hour, t.minute, \
                    t.weekday, t.offset_minutes) }\nend\n";

fn written(bench: &Bench, config: &str) -> Vec<Value> {
    let _ = std::fs::remove_file(bench.path("out.jsonl"));
    bench.summary(config);
    bench.lines("out.jsonl")
}

/// The alerts of the trace, judged by the alarm under these keys of its entry and of the whole.
fn alerts(bench: &Bench, keys: &str, rest: &str) -> usize {
    let out = "alerts: { handlers: [{ name: file, config: { log_file: out.jsonl } }] }\n";
    let strategy = format!("{{ name: alarm, module: alarm.lua, {keys} }}");
    written(bench, &format!("{TRACE}detection: {{ strategies: [{strategy}] }}\n{out}{rest}")).len()
}

/// Days of which none is near today, in any zone.
fn other_days() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let today = dsengine::types::TimeZone::utc().at(u64::try_from(now).unwrap()).weekday;
    dsengine::types::Weekday::ALL[(today as usize + 3) % 7].as_str().to_owned()
}

#[test]
fn scripts_are_told_the_local_time_of_the_zone_that_is_set() {
    let bench = Bench::new();
    bench.write("when.lua", WHEN);
    let config = |zone: &str| {
        let out = "alerts: { handlers: [{ name: file, config: { log_file: out.jsonl } }] }\n";
        format!("{TRACE}detection: {{ strategies: [{{ name: when, module: when.lua }}] }}\n{out}{zone}")
    };
    for (zone, said) in [
        ("", "UTC 2023-11-14 22:13 tue 0"),
        ("timezone: Europe/Vienna\n", "Europe/Vienna 2023-11-14 23:13 tue 60"),
        ("timezone: asia/tokyo\n", "Asia/Tokyo 2023-11-15 07:13 wed 540"),
    ] {
        assert_eq!(written(&bench, &config(zone))[0]["message"], said, "{zone}");
    }
    let wrong = bench.run(&config("timezone: Europe/Viena\n"));
    let told = ["there is no time zone `Europe/Viena`", "did you mean `Europe/Vienna`?"];
    assert!(wrong.code() == 2 && told.iter().all(|part| wrong.stderr.contains(part)), "{}", wrong.stderr);
}

#[test]
fn a_replay_sees_the_local_time_of_the_recording() {
    let bench = Bench::new();
    bench.write("when.lua", WHEN);
    let rules = "detection: { strategies: [{ name: when, module: when.lua }] }\n";
    // The recording of a trace has its times.
    bench.record(&format!("{TRACE}timezone: Asia/Tokyo\n"));
    let head = bench.lines("recorded.jsonl").remove(0);
    assert_eq!(head["timezone"], "Asia/Tokyo", "{head}");
    for (zone, said) in [("", "Asia/Tokyo"), ("timezone: America/New_York\n", "America/New_York")] {
        bench.write("rules.yaml", &format!("{rules}{zone}"));
        let replay = crate::harness::Dsengine::new(["replay", "recorded.jsonl", "--config", "rules.yaml"]);
        let out = replay.cwd(bench.dir.path()).run().expect(0);
        assert!(out.stdout.contains(&format!("\"message\":\"{said} 2023-11-1")), "{zone}: {}", out.stdout);
    }
}

#[test]
fn a_strategy_judges_within_its_schedule_only() {
    let bench = Bench::new();
    let tokyo = "timezone: Asia/Tokyo\n";
    for (schedule, zone, count) in [
        (r#"{ from: "22:13", to: "22:14" }"#, "", 2),
        (r#"{ from: "22:14", to: "22:13" }"#, "", 0),
        ("{ days: [tue] }", "", 2),
        ("{ days: tue }", "", 2),
        ("{ days: [wed-mon] }", "", 0),
        ("{ days: [mon-fri] }", "", 2),
        (r#"[{ days: [wed] }, { from: "22:00", to: "06:00" }]"#, "", 2),
        // It is Wednesday morning in Tokyo: of the night that began on Tuesday.
        (r#"{ from: "22:13", to: "22:14" }"#, tokyo, 0),
        (r#"{ days: [tue], from: "22:00", to: "08:00" }"#, tokyo, 2),
        (r#"{ days: [wed], from: "22:00", to: "08:00" }"#, tokyo, 0),
    ] {
        assert_eq!(alerts(&bench, &format!("schedule: {schedule}"), zone), count, "{schedule} {zone}");
    }
    for (schedule, told) in [
        (r#"{ from: "25:00" }"#, "`detection.strategies[0].schedule.from` is no time of day"),
        (r#"[{ to: "6" }]"#, "`detection.strategies[0].schedule[0].to` is no time of day"),
        (r#"{ from: "06:00", to: "06:00" }"#, "begins and ends at the same time"),
        ("{ days: [Monday] }", "did you mean `mon`?"),
        ("{ days: [mon-friday] }", "or a span such as `mon-fri`"),
        ("{ days: [] }", "names no day"),
        (r#"{ form: "06:00" }"#, "did you mean `from`?"),
    ] {
        let strategy = format!("{{ name: alarm, module: alarm.lua, schedule: {schedule} }}");
        let out = bench.run(&format!("{TRACE}detection: {{ strategies: [{strategy}] }}\n"));
        assert!(out.code() == 2 && out.stderr.contains(told), "{schedule}: {}", out.stderr);
    }
}

#[test]
fn a_model_analyses_within_its_schedule_only() {
    let bench = Bench::new();
    let seen = |schedule: &str| {
        let strategy = format!("{{ name: m, model_path: {}, schedule: {schedule} }}", model("colours"));
        let source = "sources: [{ id: a, uri: 'test:pattern=red,frames=3,size=64x64' }]\n";
        let frames = bench.record(&format!("{source}detection: {{ strategies: [{strategy}] }}\n"));
        frames.iter().map(|frame| labels(frame).len()).collect::<Vec<_>>()
    };
    let off = seen(&format!("{{ days: [{}] }}", other_days()));
    assert_eq!(off, [0, 0, 0], "every frame goes on, without detections");
    let on = seen("{ days: [mon-sun] }");
    assert!(on.len() == 3 && on.iter().all(|count| *count > 0), "{on:?}");
}

#[test]
fn what_a_schedule_leaves_out_is_counted_and_shown_and_changes_while_it_runs() {
    let bench = Bench::new();
    let scene = "sources: [{ id: a, uri: 'scene:street?live=true&pixels=false' }]\n";
    let strategy = format!("{{ name: alarm, module: alarm.lua, schedule: {{ days: [{}] }} }}", other_days());
    let mut run =
        bench.start(&format!("{scene}detection: {{ strategies: [{strategy}] }}\nalerts: {{ handlers: [] }}\n"));
    let page = run.page();
    let strategy = || {
        let status: Value = serde_json::from_str(&get(&page, "/api/v1/strategies").1).unwrap();
        status[0].clone()
    };
    let counted = |series: &str| {
        let series = format!("dsengine_strategy_{series}_total{{source=\"a\",strategy=\"alarm\"}}");
        sample(&get(&page, "/metrics").1, &series).unwrap_or(0.0)
    };
    poll(&mut run, || (strategy()["off_schedule"] == true && counted("off_schedule") > 2.0).then_some(()));
    assert_eq!((counted("calls"), strategy()["generation"].as_u64()), (0.0, Some(1)));
    let change = json!({ "detection": { "strategies": [{ "name": "alarm", "schedule": null }] } });
    let (status, body) = request("POST", &page, "/api/v1/config/apply", &change.to_string());
    assert_eq!(status, 200, "{body}");
    poll(&mut run, || (strategy()["off_schedule"] == false && counted("calls") > 2.0).then_some(()));
    assert_eq!(strategy()["generation"], 1, "it is the same version");
    stop(run);
}

#[test]
fn quiet_hours_suppress_all_but_the_gravest_alerts() {
    let bench = Bench::new();
    let night = r#"from: "22:00", to: "06:00""#;
    let count = |keys: &str| {
        let out = "handlers: [{ name: file, config: { log_file: out.jsonl } }]";
        let _ = std::fs::remove_file(bench.path("out.jsonl"));
        let summary = bench.summary(&format!("{TRACE}{ALARM}alerts: {{ {keys}, {out} }}\n"));
        let source = &summary["sources"][0];
        assert_eq!(source["raised"], 200, "{keys}");
        (bench.lines("out.jsonl").len(), source["suppressed"].as_u64().unwrap())
    };
    for (keys, sent) in [
        (format!("quiet_hours: {{ {night} }}"), 0_usize),
        (format!("quiet_hours: {{ {night} }}, level: critical"), 2),
        (format!("quiet_hours: {{ {night}, min_level: medium }}"), 2),
        (format!("quiet_hours: {{ {night}, min_level: high }}"), 0),
        (format!("quiet_hours: {{ {night}, days: [wed-mon] }}"), 2),
        (r#"quiet_hours: { from: "22:00", to: "22:05" }"#.to_owned(), 2),
        (format!("quiet_hours: [{{ days: [tue], min_level: medium }}, {{ {night}, min_level: high }}]"), 0),
    ] {
        assert_eq!(count(&keys), (sent, 200 - sent as u64), "{keys}");
    }
}
