//! `logging`: the bytes on standard error and in the log file.

use std::process::Command;

use super::Bench;
use crate::harness::skip;

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
