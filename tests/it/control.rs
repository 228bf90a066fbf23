//! A running engine changes with its configuration: with the files, by the API and by the command line.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Dsengine, bar, get, request, write, write_trace};
use crate::site::Site;

const LIMIT: Duration = Duration::from_secs(20);
/// From a save to its effect.
const SOON: Duration = Duration::from_secs(1);

/// A source that never ends and costs little.
fn source(id: &str) -> String {
    format!("  - {{ id: {id}, uri: 'scene:street?live=true&pixels=false' }}\n")
}

fn config(sources: &[&str], rest: &str) -> String {
    let sources: String = sources.iter().map(|id| source(id)).collect();
    format!("sources:\n{sources}monitoring: {{ prometheus: {{ port: 0 }} }}\nalerts: {{ handlers: [] }}\n{rest}")
}

impl Site {
    fn judged(&self, id: &str) -> u64 {
        let status = self.json("/api/v1/status");
        let source = status["sources"].as_array().unwrap().iter().find(|source| source["id"] == id).cloned();
        source.map_or(0, |source| source["judged"].as_u64().unwrap())
    }
}

#[test]
fn an_edit_of_the_file_adds_changes_and_removes_sources_while_the_others_go_on() {
    let mut site = Site::new(&config(&["a", "b"], ""));
    site.until("frames of a", |site| site.judged("a") > 5);
    site.save(&config(&["a", "b", "c"], ""));
    site.until_sources(&["a", "b", "c"]);
    site.until("frames of c", |site| site.judged("c") > 5);
    let before = site.judged("a");
    site.save(&config(&["a", "c"], ""));
    site.until_sources(&["a", "c"]);
    assert!(site.judged("a") >= before, "a was not started anew");
    site.save(&config(&["a", "c"], "").replace("{ id: c,", "{ id: c, fps: 1,"));
    site.run.wait_line(LIMIT, |line| line.contains("source c changed"));
    assert_eq!(site.problems(), "");
    // What a removed source judged stays in the sums.
    site.run.signal("INT");
    assert_eq!(site.run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", site.run.seen.join("\n"));
    let summary = site.run.seen.join("\n");
    let judged = |after: &str| {
        let rest = summary.split(after).nth(1).unwrap_or_else(|| panic!("no `{after}` in {summary}"));
        let before = rest.split(" judged").next().unwrap().trim_end_matches(" frames");
        before.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let each = [judged("\na: "), judged("\nc: "), judged("removed while it ran: 1, ")];
    assert!(each.iter().all(|judged| *judged > 0), "{summary}");
    assert_eq!(judged("total:"), each.iter().sum::<u64>(), "{summary}");
}

#[test]
fn an_edit_that_is_wrong_changes_nothing_and_its_place_is_in_the_health() {
    let mut site = Site::new(&config(&["a"], ""));
    site.save(&config(&["a", "b"], "alerts_: {}\n"));
    site.until("a problem", |site| site.problems().contains("config.yaml:"));
    let problems = site.problems();
    assert!(problems.contains("config.yaml:6:1: unknown key `alerts_`"), "{problems}");
    assert_eq!(site.sources(), ["a"]);
    let (_, health) = get(&site.page, "/health");
    assert!(health.contains("config.yaml:6:1"), "{health}");
    site.save(&config(&["a", "b"], ""));
    site.until_sources(&["a", "b"]);
    site.until("no problem", |site| !site.problems().contains("config.yaml"));
    // An emptied file, as a failed copy leaves it.
    for emptied in ["", "# later\n"] {
        site.save(emptied);
        site.until("a problem", |site| site.problems().contains("there is no source to run"));
        assert_eq!(site.sources(), ["a", "b"]);
        site.save(&config(&["a", "b"], ""));
        site.until("no problem", |site| site.problems().is_empty());
    }
    site.save("sources: []\nmonitoring: { prometheus: { port: 0 } }\nalerts: { handlers: [] }\n");
    site.until_sources(&[]);
}

#[test]
fn a_script_that_the_file_names_before_it_is_there_is_taken_when_it_comes() {
    let mut site = Site::new(&config(&["a"], ""));
    site.save(&config(&["a"], "detection: { strategies: [{ name: rule, module: rule.lua }] }\n"));
    site.until("a problem", |site| site.problems().contains("rule.lua"));
    write(site.dir.path(), "rule.lua", "function detect(frame) end\n");
    site.until("the rule", |site| site.json("/api/v1/plugins")[0]["name"] == "rule");
    site.until("no problem", |site| !site.problems().contains("rule.lua"));
}

#[test]
fn a_flip_of_a_configuration_mount_is_taken_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    for (version, sources) in [("..1", &["a"][..]), ("..2", &["a", "b"])] {
        fs::create_dir(dir.path().join(version)).unwrap();
        write(&dir.path().join(version), "config.yaml", &config(sources, ""));
    }
    symlink("..1", dir.path().join("..data")).unwrap();
    symlink("..data/config.yaml", dir.path().join("config.yaml")).unwrap();
    let mut site = Site::of(dir);
    site.until("frames of a", |site| site.judged("a") > 5);
    symlink("..2", site.dir.path().join("..tmp")).unwrap();
    fs::rename(site.dir.path().join("..tmp"), site.dir.path().join("..data")).unwrap();
    let took = site.until_sources(&["a", "b"]);
    assert!(took < bar(SOON), "{took:?}");
}

#[test]
fn what_needs_a_restart_is_refused_to_the_command_line_and_waits_where_the_file_says_it() {
    let mut site = Site::new(&config(&["a"], ""));
    site.save(&config(&["a", "b"], "thread_pool_size: 3\n"));
    site.until_sources(&["a", "b"]);
    site.until("the key", |site| site.problems().contains("waits for a restart: thread_pool_size"));
    write(site.dir.path(), "edit.yaml", "name: other\n");
    // What waits already is no hindrance.
    let out = site.ask(&["config", "apply", "edit.yaml"]).expect(0);
    assert!(out.stdout.contains("name changed"), "{}", out.stdout);
    write(site.dir.path(), "edit.yaml", "name: third\nmonitoring: { prometheus: { port: 9 } }\n");
    let out = site.ask(&["config", "apply", "edit.yaml"]).expect(1);
    assert!(out.stderr.contains("monitoring.prometheus.port takes effect after a restart only"), "{}", out.stderr);
    assert_eq!(site.json("/api/v1/status")["name"], "other");
    site.save(&config(&["a", "b"], ""));
    site.until("no problem", |site| !site.problems().contains("waits"));
}

#[test]
fn the_command_line_lists_adds_changes_switches_and_removes_sources() {
    let mut site = Site::new(&config(&["a"], ""));
    let uri = "scene:street?live=true&pixels=false";
    let out = site.ask(&["sources", "add", uri, "--id", "b", "--set", "fps=5"]).expect(0);
    assert!(out.stdout.contains("source b added\nuntil the restart"), "{}", out.stdout);
    site.until_sources(&["a", "b"]);
    let out = site.ask(&["sources", "add", uri, "--id", "b"]).expect(1);
    assert!(out.stderr.contains("there is a source 'b' already"), "{}", out.stderr);
    assert!(site.ask(&["sources", "set", "b", "fps=2"]).expect(0).stdout.contains("source b changed"));
    assert!(site.ask(&["sources", "set", "b", "fps=2"]).expect(0).stdout.contains("nothing changes"));
    let said = site.ask(&["sources", "disable", "a"]).expect(0).stdout;
    assert!(said.starts_with("source a disabled\n"), "{said}");
    site.until_sources(&["b"]);
    let list = site.ask(&["sources", "list"]).expect(0).stdout;
    assert!(list.lines().any(|line| line.starts_with("a ") && line.contains("disabled")), "{list}");
    assert!(list.lines().any(|line| line.starts_with("b ") && line.contains("overlay")), "{list}");
    let said = site.ask(&["sources", "enable", "a"]).expect(0).stdout;
    assert!(said.starts_with("source a enabled\n"), "{said}");
    site.until_sources(&["a", "b"]);
    assert!(site.ask(&["sources", "restart", "a"]).expect(0).stdout.contains("source a restarted"));
    site.ask(&["sources", "disable", "b"]).expect(0);
    let out = site.ask(&["sources", "restart", "b"]).expect(1);
    let told = "source 'b' is switched off: it does not run, so it cannot be started again";
    assert!(out.stderr.contains(told) && out.stderr.contains("hint: `dsengine sources enable b`"), "{}", out.stderr);
    site.ask(&["sources", "remove", "b"]).expect(0);
    site.until_sources(&["a"]);
    let out = site.ask(&["sources", "remove", "b"]).expect(1);
    assert!(out.stderr.contains("there is no source 'b'") && out.stderr.contains("hint: sources: a"), "{}", out.stderr);
    site.run.wait_line(LIMIT, |line| line.contains("audit") && line.contains("remove source b"));
}

#[test]
fn an_edit_that_is_wrong_is_refused_with_its_place_and_nothing_changes() {
    let config =
        config(&["a"], "").replace("handlers: []", "handlers: [{ name: file, config: { log_file: a.jsonl } }]");
    let site = Site::new(&config);
    write(
        site.dir.path(),
        "edit.yaml",
        "sources: [{ id: a, fps: -3 }]\nalerts: { throttle_seconds: never }\nname: x\n",
    );
    let before = site.json("/api/v1/config")["hash"].clone();
    // The engine has a handler before this one, of which the edit's file knows nothing.
    write(site.dir.path(), "hook.yaml", "alerts: { handlers: [{ name: hook, type: webhook, confg: {} }] }\n");
    for what in ["diff", "apply"] {
        let out = site.ask(&["config", what, "hook.yaml"]).expect(1);
        assert!(out.stderr.contains("unknown key `confg` in `alerts.handlers[hook]`"), "{what}: {}", out.stderr);
        let out = site.ask(&["config", what, "edit.yaml"]).expect(1);
        assert!(out.stderr.contains("fps") && out.stderr.contains("throttle_seconds"), "{what}: {}", out.stderr);
    }
    assert_eq!(site.json("/api/v1/config")["hash"], before);
    write(site.dir.path(), "edit.yaml", "sources: [{ id: a, fps: 3 }]\nname: x\n");
    let out = site.ask(&["config", "diff", "edit.yaml"]).expect(0);
    assert!(out.stdout.contains("source a changed") && out.stdout.contains("name changed"), "{}", out.stdout);
    assert_eq!(site.json("/api/v1/config")["hash"], before, "a diff changes nothing");
}

#[test]
fn an_edit_lives_until_the_restart_and_a_saved_one_until_the_file_says_otherwise() {
    let mut site = Site::new(&config(&["a"], ""));
    let uri = "scene:street?live=true&pixels=false";
    site.ask(&["sources", "add", uri, "--id", "kept", "--save"]).expect(0);
    site.ask(&["sources", "set", "a", "fps=7", "--save"]).expect(0);
    site.ask(&["sources", "add", uri, "--id", "gone"]).expect(0);
    site.until_sources(&["a", "gone", "kept"]);
    // An edit of a source that is not kept cannot be kept either.
    let out = site.ask(&["sources", "set", "gone", "fps=3", "--save"]);
    let said = out.expect(1).stderr;
    assert!(said.contains("cannot be kept without edits that are not"), "{said}");

    let mut site = site.restart();
    site.until_sources(&["a", "kept"]);
    assert_eq!(site.json("/api/v1/config")["config"]["sources"][0]["fps"], 7.0);
    // The file changes a's fps: the edit of it gives way, the other one stays.
    site.save(&config(&["a"], "").replace("{ id: a,", "{ id: a, fps: 9,"));
    site.run.wait_line(LIMIT, |line| line.contains("earlier edits are dropped") && line.contains("sources[a].fps"));
    assert_eq!(site.json("/api/v1/config")["config"]["sources"][0]["fps"], 9.0);
    let site = site.restart();
    assert_eq!(site.json("/api/v1/config")["config"]["sources"][0]["fps"], 9.0);
    assert_eq!(site.sources(), ["a", "kept"]);
}

#[test]
fn a_typing_error_in_the_file_is_a_problem_with_the_name_that_was_meant() {
    let mut site = Site::new(&config(&["a"], ""));
    site.save(&config(&["a"], "").replace("alerts:", "alrets:"));
    site.until("the problem", |site| site.problems().contains("unknown key `alrets`"));
    assert!(site.problems().contains("; did you mean `alerts`?"), "{}", site.problems());
    // Over the API, too.
    let (status, body) = request("POST", &site.page, "/api/v1/config/apply", r#"{ "alrets": { "enabled": true } }"#);
    let refused: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &refused["hint"]), (422, &Value::from("did you mean `alerts`?")), "{body}");
    write(site.dir.path(), "edit.yaml", "alrets: { enabled: true }\n");
    let told = site.ask(&["config", "apply", "edit.yaml"]).expect(1).stderr;
    assert!(told.contains("did you mean `alerts`?"), "{told}");
}

#[test]
fn saved_edits_are_counted_at_the_start() {
    let site = Site::new(&config(&["a"], ""));
    site.ask(&["sources", "set", "a", "fps=7", "--save"]).expect(0);
    let site = site.restart();
    let told = |site: &Site, start: &str| site.run.seen.iter().any(|line| line.starts_with(start));
    assert!(told(&site, "note: 1 saved edit is in effect: "), "{:?}", site.run.seen);
    write(site.dir.path(), "edit.yaml", "alerts: { throttle_seconds: 9 }\n");
    site.ask(&["config", "apply", "edit.yaml", "--save"]).expect(0);
    let site = site.restart();
    assert!(told(&site, "note: 2 saved edits are in effect: "), "{:?}", site.run.seen);
}

#[test]
fn a_saved_edit_gives_way_to_a_file_that_was_edited_while_nothing_ran() {
    let mut site = Site::new(&config(&["a"], ""));
    site.ask(&["sources", "set", "a", "fps=7", "--save"]).expect(0);
    site.run.signal("INT");
    assert!(site.run.end(LIMIT).is_some());
    site.save(&config(&["a"], "").replace("{ id: a,", "{ id: a, fps: 9,"));
    let site = Site::of(site.dir);
    assert_eq!(site.json("/api/v1/config")["config"]["sources"][0]["fps"], 9.0);
}

#[test]
fn a_secret_is_saved_as_a_reference_only() {
    let site = Site::new(&config(&["a"], ""));
    let edit = "alerts: { handlers: [{ name: hook, type: webhook, enabled: false, config: { url: 'http://127.0.0.1:9/x', \
                headers: { Authorization: geheim } } }] }\n";
    write(site.dir.path(), "edit.yaml", edit);
    let out = site.ask(&["config", "apply", "edit.yaml", "--save"]).expect(1);
    assert!(out.stderr.contains("secret") && !out.stderr.contains("geheim"), "{}", out.stderr);
    let state = site.dir.path().join("state");
    let files = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let saved: Vec<String> = files.filter(|name| !name.starts_with("alerts-")).collect();
    assert!(saved.is_empty(), "{saved:?}");
}

#[test]
fn a_state_folder_that_cannot_be_made_hinders_saving_only() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.yaml", &config(&["a"], ""));
    write(dir.path(), "state", "a file where the folder should be");
    let site = Site::of(dir);
    site.ask(&["sources", "set", "a", "fps=7"]).expect(0);
    let out = site.ask(&["sources", "set", "a", "fps=8", "--save"]).expect(1);
    assert!(out.stderr.contains("cannot be saved") && out.stderr.contains("--state"), "{}", out.stderr);
    assert_eq!(site.json("/api/v1/config")["config"]["sources"][0]["fps"], 7.0);
}

#[test]
fn a_source_of_the_command_line_can_be_joined_and_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let uri = "scene:street?live=true&pixels=false";
    let command = Dsengine::new(["run", "--source", uri, "--port", "0"]).cwd(dir.path());
    let mut site = Site::by(dir, command);
    let first = site.sources();
    site.ask(&["sources", "add", uri, "--id", "b"]).expect(0);
    site.until("both", |site| site.sources().len() == 2);
    site.ask(&["sources", "remove", &first[0]]).expect(0);
    site.until_sources(&["b"]);
    let out = site.ask(&["sources", "set", "b", "fps=2", "--save"]).expect(1);
    assert!(out.stderr.contains("there is nowhere to save edits"), "{}", out.stderr);
}

#[test]
fn sighup_reads_the_configuration_again() {
    let mut site = Site::new(&config(&["a"], ""));
    site.save(&config(&["a", "b"], ""));
    site.run.signal("HUP");
    site.run.wait_line(LIMIT, |line| line.contains("SIGHUP: the configuration and 0 scripts read again"));
    assert_eq!(site.sources(), ["a", "b"]);
}

#[test]
fn with_every_source_taken_out_it_waits_for_others() {
    let mut site = Site::new(&config(&["a"], ""));
    site.save(&config(&[], ""));
    site.until_sources(&[]);
    site.save(&config(&["b"], ""));
    site.until_sources(&["b"]);
    site.save(&config(&[], "").replace("sources:\n", "sources: []\n"));
    site.until_sources(&[]);
    let site = site.restart();
    assert!(site.sources().is_empty());
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let mut site = Site::new(&config(&["a"], "logging: { level: error }\n"));
    site.save(&config(&["a"], "logging: { level: info }\n"));
    site.run.wait_line(LIMIT, |line| line.contains("the configuration has changed") && line.contains("logging.level"));
}

#[test]
fn a_client_without_the_engine_or_its_token_says_what_to_do() {
    let closed = crate::harness::ClosedPort::take();
    let at = format!("127.0.0.1:{}", closed.port);
    let out = Dsengine::new(["sources", "list"]).env("DSENGINE_AT", &at).run().expect(1);
    assert!(out.stderr.contains(&format!("nothing listens at http://{at}")), "{}", out.stderr);
    assert!(out.stderr.contains("--at 127.0.0.1:PORT"), "{}", out.stderr);
    let out = Dsengine::new(["config", "apply", "no-such.yaml", "--at", &at]).run().expect(2);
    assert!(out.stderr.contains("no-such.yaml: cannot be read"), "{}", out.stderr);
    let out = Dsengine::new(["sources", "add", "test:", "--set", "fps", "--at", &at]).run().expect(2);
    assert!(out.stderr.contains("write KEY=VALUE"), "{}", out.stderr);
}

#[test]
fn the_shown_configuration_is_what_acts() {
    let rules = "detection: { confidence_threshold: 0.25, strategies: [{ name: now, module: old.lua }, \
                 { name: next, module: new.lua, mode: shadow, shadow_of: now }] }\n\
                 pipeline: { num_decode_surfaces: 7 }\n";
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "old.lua", "function detect(frame) end\n");
    write(dir.path(), "new.lua", "function detect(frame) end -- new\n");
    write(dir.path(), "config.yaml", &config(&["a"], rules));
    let site = Site::of(dir);
    let show = || site.ask(&["config", "show"]).expect(0).stdout;
    let before = show();
    for (part, shown) in [
        ("confidence_threshold: 0.25", true),
        ("gpu_id", false),
        ("enable_gpu_inference", false),
        ("extensions", true),
        ("num_decode_surfaces: 7", true),
        ("# `pipeline.num_decode_surfaces` has no effect yet: ", true),
        ("# promoted", false),
    ] {
        assert_eq!(before.contains(part), shown, "{part}: {before}");
    }
    site.ask(&["plugin", "promote", "next"]).expect(0);
    let promoted = show();
    let line = promoted.lines().find(|line| line.starts_with("# promoted: now runs ")).unwrap();
    assert!(line.contains("new.lua in place of ") && line.contains("old.lua: "), "{line}");
}

#[test]
fn an_edit_brings_a_reference_by_a_token_for_everything_only() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "hook", "http://127.0.0.1:1/C4n4ry");
    write(dir.path(), "password", "C4n4ry");
    let token = |name: &str, more: &str| {
        write(dir.path(), name, &format!("{name}-0123456789abcdef"));
        format!("{{ name: {name}, token: \"${{file:{name}}}\", scopes: [read, control]{more} }}")
    };
    let config = format!(
        "sources:\n{}monitoring: {{ prometheus: {{ port: 0 }}, tokens: [{}, {}] }}\n\
         alerts: {{ handlers: [{{ name: hook, type: webhook, config: {{ url: \"${{file:hook}}\" }} }}] }}\n",
        source("gate"),
        token("guard", ", sources: [gate]"),
        token("operator", ""),
    );
    write(dir.path(), "config.yaml", &config);
    let site = Site::of(dir);
    let ask = |token: Option<&str>, args: &[&str]| {
        let command = Dsengine::new([args, &["--at", &site.page]].concat()).cwd(site.dir.path());
        match token {
            Some(name) => command.env("DSENGINE_TOKEN", &format!("{name}-0123456789abcdef")).run(),
            None => command.run(),
        }
    };
    let hook = |name: &str| {
        format!("alerts: {{ handlers: [{{ name: {name}, type: webhook, config: {{ url: '${{file:hook}}' }} }}] }}")
    };
    write(site.dir.path(), "same.yaml", &hook("hook"));
    write(site.dir.path(), "other.yaml", &hook("other"));
    let add = ["sources", "add", "rtsp://x:${file:password}@127.0.0.1:1/s", "--id", "new"];
    for args in [&add[..], &["config", "apply", "other.yaml"], &["config", "diff", "other.yaml"]] {
        for token in [None, Some("guard")] {
            let refused = ask(token, args);
            let said = format!("{}{}", refused.stdout, refused.stderr);
            assert_ne!(refused.code(), 0, "{args:?}: {said}");
            assert!(said.contains("may not bring a new reference") && said.contains("configuration's file"), "{said}");
            // On loopback no token is asked for: the message says that one is needed here, and how it is passed.
            assert!(said.contains("send a token with the scope 'control' for all sources"), "{said}");
            assert!(said.contains("DSENGINE_TOKEN") && said.contains("'Authorization: Bearer TOKEN'"), "{said}");
            assert!(!said.contains("C4n4ry"), "{said}");
        }
    }
    // Also where the two signs are written as escapes.
    for document in [r#"{ "name": "${file:password}" }"#, r#"{ "name": "\u0024{file:password}" }"#] {
        let (status, said) = request("POST", &site.page, "/api/v1/config/validate", document);
        assert!(status != 200 && said.contains("may not bring a new reference"), "{document}: {status} {said}");
    }
    assert_eq!(site.sources(), ["gate"]);
    ask(None, &["config", "apply", "same.yaml"]).expect(0);
    ask(Some("operator"), &["config", "apply", "other.yaml"]).expect(0);
    ask(Some("operator"), &add).expect(0);
    // What stands there now stays under other edits.
    ask(None, &["sources", "set", "new", "fps=3"]).expect(0);
}

#[test]
fn a_token_that_is_limited_to_sources_lets_them_open_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let token = |name: &str, more: &str| {
        write(dir.path(), name, &format!("{name}-0123456789abcdef"));
        format!("{{ name: {name}, token: \"${{file:{name}}}\", scopes: [read, control]{more} }}")
    };
    let config = format!(
        "sources:\n{}  - {{ id: hall, type: scene, uri: street, enabled: false }}\n  \
         - {{ id: a, uri: 'trace:t.jsonl', enabled: false }}\n\
         monitoring: {{ listen: 0.0.0.0, prometheus: {{ port: 0 }}, tokens: [{}, {}] }}\nalerts: {{ handlers: [] }}\n",
        source("gate"),
        token("guard", ", sources: [gate, hall, a]"),
        token("chief", ""),
    );
    write_trace(dir.path(), 3);
    write(dir.path(), "other.jsonl", "C4n4ry\n");
    write(dir.path(), "config.yaml", &config);
    let site = Site::of(dir);
    let ask = |token: &str, args: &[&str]| {
        let command = Dsengine::new([args, &["--at", &site.page]].concat()).cwd(site.dir.path());
        command.env("DSENGINE_TOKEN", &format!("{token}-0123456789abcdef")).run()
    };
    for (what, key) in [
        (&["sources", "set", "gate", "uri=trace:other.jsonl"][..], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=trace:no-such.jsonl"], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=trace:other.jsonl", "enabled=false"], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=trace:t.jsonl"], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=other.jsonl", "--save"], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=file:///etc/hostname"], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=scene:other.jsonl"], "sources[gate].uri"),
        (&["sources", "set", "gate", "uri=scene:config.yaml"], "sources[gate].uri"),
        (&["sources", "set", "hall", "type=trace"], "sources[hall].uri"),
        (
            &["sources", "set", "gate", "uri=rtsps://127.0.0.1:1/s", "parameters.ca_file=other.jsonl"],
            "sources[gate].parameters.ca_file",
        ),
    ] {
        let refused = ask("guard", what).expect(1);
        let wanted = format!("`{key}`: this edit may not make the source open another file of this machine");
        assert!(refused.stderr.contains(&wanted), "{what:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("a token that is not limited to sources"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("C4n4ry"), "{}", refused.stderr);
    }
    // Cameras, pictures of our own and what the file names are within its reach.
    for what in [
        &["sources", "set", "gate", "uri=rtsp://127.0.0.1:1/s"][..],
        &["sources", "set", "gate", "uri=scene:empty?live=true&pixels=false"],
        &["sources", "set", "a", "uri=test:size=64x64"],
        &["sources", "set", "a", "uri=trace:t.jsonl"],
        &["sources", "enable", "a"],
    ] {
        ask("guard", what).expect(0);
    }
    // What another one has brought stays under its edits.
    ask("chief", &["sources", "set", "hall", "type=trace", "uri=other.jsonl"]).expect(0);
    ask("guard", &["sources", "set", "hall", "fps=3"]).expect(0);
}
