//! `logging`: the bytes on standard error and in the log file.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};

use super::{Bench, LIMIT, LIVE, TRACE, poll, stop};
use crate::admin::request;
use crate::harness::{Dsengine, get, sample, skip};

const SHORT: &str = "sources: [{ id: a, uri: 'test:frames=3,size=16x16' }]\n";

/// Standard error and the log file of a run under these keys, with all of GStreamer's own lines on offer.
fn logged(bench: &Bench, config: &str) -> (String, String) {
    let _ = std::fs::remove_file(bench.path("x.log"));
    let out = bench.command("run", config, &["--port", "0", "--json"]).env("GST_DEBUG", "5").run().expect(0);
    (out.stderr, std::fs::read_to_string(bench.path("x.log")).unwrap_or_default())
}

#[test]
fn the_log_has_the_levels_form_and_places_that_are_set() {
    let bench = Bench::new();
    // Keys; whether the file has lines of these levels.
    for (keys, info, debug) in [
        ("logging: { log_file: x.log, format: text }", true, false),
        ("logging: { log_file: x.log, format: text, level: warning }", false, false),
        ("logging: { log_file: x.log, format: text, level: debug }", true, true),
        ("debug: true\nlogging: { log_file: x.log, format: text }", true, true),
        ("debug: true\nlogging: { log_file: x.log, format: text, level: info }", true, false),
    ] {
        let (_, file) = logged(&bench, &format!("{SHORT}{keys}\n"));
        assert_eq!((file.contains(" INFO "), file.contains(" DEBUG ")), (info, debug), "{keys}:\n{file}");
    }
    for (keys, json) in [
        ("format: text", false),
        ("format: colored", false),
        ("format: json", true),
        ("format: text, json_output: true", true),
        ("format: json, json_output: false", true),
    ] {
        let (_, file) = logged(&bench, &format!("{SHORT}logging: {{ log_file: x.log, {keys} }}\n"));
        let parsed = file
            .lines()
            .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["level"].is_string()));
        assert_eq!(parsed.count(), if json { file.lines().count() } else { 0 }, "{keys}:\n{file}");
        assert!(file.lines().count() > 2 && !file.contains('\x1b'), "{keys}:\n{file}");
    }
    for (keys, console, written) in [
        ("log_file: x.log", true, true),
        ("log_file: x.log, console_output: false", false, true),
        ("console_output: true", true, false),
    ] {
        let (stderr, file) = logged(&bench, &format!("{SHORT}logging: {{ format: text, {keys} }}\n"));
        assert_eq!((stderr.contains(" INFO "), file.contains(" INFO ")), (console, written), "{keys}");
    }
}

#[test]
fn the_log_has_colour_on_a_terminal_only_and_only_where_it_is_asked_for() {
    if Command::new("script").arg("--version").output().is_err() {
        return skip("the_log_has_colour_on_a_terminal_only", "no `script` to make a terminal");
    }
    let bench = Bench::new();
    for (format, colour) in [("colored", true), ("text", false)] {
        bench.write("c.yaml", &format!("{SHORT}logging: {{ format: {format} }}\n"));
        let command = format!("{} run --config c.yaml --port 0 --json", env!("CARGO_BIN_EXE_dsengine"));
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).current_dir(bench.path("")).env_remove("NO_COLOR");
        let out = script.output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains("INFO"), "{text}");
        assert_eq!(text.lines().any(|line| line.contains("INFO") && line.contains('\x1b')), colour, "{text}");
    }
}

#[test]
fn the_log_file_rotates_at_its_size_and_keeps_as_many_as_set() {
    let bench = Bench::new();
    let size = |name: &str| std::fs::metadata(bench.path(name)).map(|file| file.len()).ok();
    for (keys, kept) in [
        ("max_file_size_mb: 1, backup_count: 1", 1),
        ("max_file_size_mb: 1, backup_count: 2", 2),
        ("max_file_size_mb: 100", 0),
    ] {
        for old in ["x.log.1", "x.log.2", "x.log.3"] {
            let _ = std::fs::remove_file(bench.path(old));
        }
        let config = format!(
            "sources: [{{ id: a, uri: 'test:frames=300,size=16x16' }}]\n\
             logging: {{ level: debug, console_output: false, log_file: x.log, {keys} }}\n"
        );
        logged(&bench, &config);
        let backups = (1..=3).filter(|index| size(&format!("x.log.{index}")).is_some()).count();
        assert_eq!(backups, kept, "{keys}");
        for index in 1..=kept {
            let bytes = size(&format!("x.log.{index}")).unwrap();
            assert!((900_000..=1_000_000).contains(&bytes), "{keys}: x.log.{index} has {bytes} bytes");
        }
        assert!(kept > 0 || size("x.log") > Some(3_000_000), "{keys}: {:?}", size("x.log"));
    }
}

/// A configuration of a source with a rule that logs `text` on each frame.
fn talking(bench: &Bench, source: &str, text: &str, logging: &str) -> String {
    bench.write("talk.lua", &format!("function detect(frame) log.info({text}) end\n"));
    let rule = "{ name: talk, module: talk.lua, limits: { log_lines_per_second: 100000 } }";
    format!("{source}detection: {{ strategies: [{rule}] }}\nlogging: {{ format: text, {logging} }}\n")
}

#[test]
fn lines_that_repeat_and_lines_beyond_the_limit_are_counted_and_told() {
    let bench = Bench::new();
    // What is logged on each of a hundred frames; keys; lines of it, and what is told of the others.
    for (text, keys, lines, told) in [
        ("'same'", "level: info", 1, Some("99 more like this: same")),
        ("'same'", "filter_spam: false", 100, None),
        (
            "'same'",
            "filter_spam: false, rate_limit_per_minute: 10",
            10,
            Some("90 lines beyond 10 a minute are left out"),
        ),
        ("'n ' .. frame.seq", "level: info", 100, None),
        (
            "'n ' .. frame.seq",
            "rate_limit_per_minute: 30",
            30,
            Some("70 lines beyond 30 a minute are left out, the first"),
        ),
    ] {
        let config = talking(&bench, TRACE, text, keys);
        let out = bench.command("run", &config, &["--port", "0"]).run().expect(0);
        let own = |line: &&str| line.contains("dsengine::guest") && !line.contains("dsengine::log");
        assert_eq!(out.stderr.lines().filter(own).count(), lines, "{text}, {keys}:\n{}", out.stderr);
        let all: Vec<&str> = out.stderr.lines().filter(|line| line.contains("dsengine::log")).collect();
        assert_eq!(all.len(), usize::from(told.is_some()), "{text}, {keys}:\n{}", out.stderr);
        assert!(told.is_none_or(|told| all[0].contains(told)), "{text}, {keys}: {all:?}");
    }
}

#[test]
fn the_log_is_followed_at_the_port_that_is_set() {
    let bench = Bench::new();
    let secret = "'rtsp://admin:C4n4ry@cam/' .. frame.seq";
    for is_on in [true, false] {
        // With another port where somebody was quicker to take it.
        let (mut run, port, keys) = loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let keys = format!("real_time_streaming: {is_on}, streaming_port: {port}, console_output: false");
            let mut run = bench.start(&talking(&bench, LIVE, secret, &keys));
            let said = run.wait_line(LIMIT, |line| line.starts_with("page: ") || line.contains(" is in use"));
            if said.starts_with("page: ") {
                break (run, port, keys);
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", port));
        assert_eq!(stream.is_ok(), is_on, "{keys}");
        if let Ok(stream) = stream {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            // Others may say something meanwhile: every line is a record, and these come among them.
            let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
            let mut said = || lines.find(|line| line.contains("@cam/")).unwrap();
            for line in [said(), said(), said()] {
                let record: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(
                    (&record["level"], &record["target"]),
                    (&json!("INFO"), &json!("dsengine::guest")),
                    "{line}"
                );
                assert!(record["message"].as_str().unwrap().starts_with("rtsp://***@cam/"), "{line}");
            }
        }
        run.signal("INT");
        assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{:?}", run.seen);
    }
    // A port that somebody has is named, with the key.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = format!("{LIVE}logging: {{ real_time_streaming: true, streaming_port: {port} }}\n");
    let out = bench.command("run", &config, &["--port", "0"]).run().expect(2);
    assert!(out.stderr.contains(&format!("port {port} on 127.0.0.1 is in use")), "{}", out.stderr);
    assert!(out.stderr.contains("set logging.streaming_port to another port"), "{}", out.stderr);
}

#[test]
fn the_log_is_a_stream_of_the_api_by_level_and_text() {
    let bench = Bench::new();
    let mut run =
        bench.start(&talking(&bench, LIVE, "'rtsp://admin:C4n4ry@cam/' .. frame.seq", "console_output: false"));
    let page = run.page();
    let (status, body) = get(&page, "/api/v1/logs?level=info&text=CAM/&limit=2");
    assert_eq!((status, body.matches("event: log").count()), (200, 2), "{body}");
    assert!(body.contains("rtsp://***@cam/") && !body.contains("C4n4ry"), "{body}");
    for line in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["level"], "INFO", "{line}");
    }
    let stream = TcpStream::connect(&page).unwrap();
    let mut errors = request(stream, "GET", "/api/v1/logs?level=warning", &[("Host", "localhost")], "");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        errors.read_line(&mut head).unwrap();
    }
    // A save that does not load is told with an error or a warning, whatever is said meanwhile at INFO.
    bench.write("talk.lua", "function detect(\n");
    let mut heard = String::new();
    while !heard.contains("data: ") {
        errors.read_line(&mut heard).unwrap();
    }
    assert!(heard.contains("talk.lua") && !heard.contains("\"INFO\""), "{heard}");
    for query in ["level=loud", "limit=-1", "other=1"] {
        assert_eq!(get(&page, &format!("/api/v1/logs?{query}")).0, 400, "{query}");
    }
    stop(run);
}

#[test]
fn a_full_disk_under_the_log_is_said_once_and_its_lost_lines_are_counted() {
    let bench = Bench::new();
    let config =
        format!("{LIVE}logging: {{ format: text, console_output: false, filter_spam: false, log_file: x.log }}\n");
    // What is over the limit of a file's size is an error, as on a full disk, where the signal of it is ignored.
    let shell = ["-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let mut run = bench.command("run", &config, &["--port", "0"]).by("sh", &shell).start();
    let page = run.page();
    let restart = || {
        Dsengine::new(["sources", "restart", "a", "--at", &page]).run().expect(0);
    };
    restart();
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.pid()).unwrap());
    let limit = |most: Option<u64>| {
        let limits = Rlimit { current: most, maximum: None };
        rustix::process::prlimit(pid, Resource::Fsize, limits).unwrap();
    };
    limit(Some(std::fs::metadata(bench.path("x.log")).unwrap().len()));
    restart();
    let said = |line: &str| line.starts_with("error: the log file ") && line.contains("x.log cannot be written (");
    run.wait_line(LIMIT, said);
    let problem = poll(&mut run, || {
        let health: Value = serde_json::from_str(&get(&page, "/health").1).unwrap();
        let problems = health["problems"].as_array().unwrap().clone();
        problems.into_iter().find(|problem| problem.as_str().unwrap().contains("x.log cannot be written ("))
    });
    assert!(problem.as_str().unwrap().ends_with(" lost"), "{problem}");
    restart();
    limit(None);
    run.wait_line(LIMIT, |line| line.starts_with("note: the log file ") && line.contains("x.log is written again: "));
    let (_, health) =
        poll(&mut run, || Some(get(&page, "/health")).filter(|(_, health)| !health.contains("the log file")));
    let lost = sample(&get(&page, "/metrics").1, "dsengine_log_lines_lost_total").unwrap();
    assert!(lost >= 2.0, "{lost} {health}");
    restart();
    stop(run);
    let text = std::fs::read_to_string(bench.path("x.log")).unwrap();
    let told: Vec<_> = text.lines().filter(|line| line.contains(" missing here: the log file could not")).collect();
    assert!(told.len() == 1 && told[0].contains(&format!(" {lost} lines are missing here")), "{text}");
    assert!(text.lines().last().unwrap().starts_with("20"), "{text}");
}
