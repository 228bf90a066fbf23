//! `dsengine new` and `dsengine plugin …`: folders that work as they are written, and a running engine's plugins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{ClosedPort, Dsengine, Outcome, root, skip, write};

fn dsengine(dir: &Path, args: &[&str]) -> Outcome {
    Dsengine::new(args).cwd(dir).run()
}

/// The commands that `new` printed.
fn next(out: &Outcome) -> Vec<String> {
    out.stdout.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_new_plugin_in_lua_passes_its_own_test_and_a_broken_one_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["strategy", "handler"] {
        let out = dsengine(dir.path(), &["new", kind, &format!("my-{kind}"), "--lang", "lua"]).expect(0);
        assert_eq!(next(&out).len(), 3, "{}", out.stdout);
        assert_eq!(next(&out)[0], format!("dsengine test my-{kind}"));
    }
    let out = dsengine(dir.path(), &["test"]).expect(0);
    assert!(out.stdout.ends_with("2 passed, 0 failed\n"), "{}", out.stdout);
    let script = dir.path().join("my-strategy/my-strategy.lua");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, text.replace("#people < most", "#people <= most")).unwrap();
    let out = dsengine(dir.path(), &["test", "my-strategy"]).expect(1);
    assert!(out.stdout.contains("frame 1, alert: did not come"), "{}", out.stdout);
    std::fs::write(&script, text).unwrap();
    dsengine(dir.path(), &["test", "my-strategy"]).expect(0);
}

#[test]
fn a_new_plugin_never_overwrites_and_says_what_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("full")).unwrap();
    write(&dir.path().join("full"), "notes.txt", "mine");
    let out = dsengine(dir.path(), &["new", "strategy", "full"]).expect(2);
    assert!(out.stderr.contains("full is there already and not empty"), "{}", out.stderr);
    assert_eq!(std::fs::read_dir(dir.path().join("full")).unwrap().count(), 1);
    let out = dsengine(dir.path(), &["new", "strategy", "Bad_Name"]).expect(2);
    assert!(out.stderr.contains("names are lower-case letters, digits and hyphens"), "{}", out.stderr);
    for (lang, cost) in [("js", "12 MB and 10 s"), ("python", "18 MB and 13 s")] {
        let out = dsengine(dir.path(), &["new", "strategy", "x", "--lang", lang]).expect(2);
        assert!(out.stderr.contains("come later") && out.stderr.contains(cost), "{}", out.stderr);
    }
    assert!(!dir.path().join("x").exists());
}

/// Whether components can be built from Rust here, without a network or with one.
fn rust(test: &str) -> bool {
    let libdir = Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip2"]).output();
    let there = libdir.is_ok_and(|out| Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir());
    if !there {
        skip(test, "the Rust target wasm32-wasip2 is not installed");
        return false;
    }
    let manifest = root().join("plugins/Cargo.toml");
    let fetched = Command::new("cargo").args(["fetch", "--locked", "--manifest-path"]).arg(manifest).output();
    let there = fetched.is_ok_and(|out| out.status.success());
    if !there {
        skip(test, "the crates of the guests cannot be fetched");
    }
    there
}

#[test]
fn a_new_plugin_in_rust_builds_in_its_own_folder_and_passes_its_test() {
    if !rust("cli_plugin::rust") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dsengine(dir.path(), &["new", "strategy", "too-many", "--lang", "rust"]).expect(0);
    assert_eq!(next(&out)[1..], ["dsengine plugin build too-many", "dsengine test too-many"]);
    // The crates that are known to be there.
    std::fs::copy(root().join("plugins/Cargo.lock"), dir.path().join("too-many/Cargo.lock")).unwrap();
    let not_built = dsengine(dir.path(), &["test", "too-many"]).expect(2);
    assert!(not_built.stderr.contains("hint: build it: dsengine plugin build too-many"), "{}", not_built.stderr);
    let built = dsengine(dir.path(), &["plugin", "build", "too-many"]).expect(0);
    assert!(built.stdout.contains("too_many.wasm: a strategy for API 0.1.0, "), "{}", built.stdout);
    let out = dsengine(dir.path(), &["test", "too-many"]).expect(0);
    assert!(out.stdout.ends_with("1 passed, 0 failed\n"), "{}", out.stdout);
}

#[test]
fn a_check_says_what_a_plugin_is_asks_for_and_whether_it_loads() {
    let dir = tempfile::tempdir().unwrap();
    dsengine(dir.path(), &["new", "handler", "chat"]).expect(0);
    let wanted = "chat 0.1.0, a handler in Lua (chat/chat.lua)\nAPI        this engine offers 0.1\nasks for   requests to \
                  hooks.example.com\nsetting    url string, required: where to post; ${secret:NAME} in it is filled in by \
                  the engine, and never seen here\n";
    let out = dsengine(dir.path(), &["plugin", "check", "chat"]).expect(0);
    let rest = "settings   those of chat/tests/delivered.yaml\nloads      yes, it says that it is version 0.1.0\n";
    assert_eq!(out.stdout, format!("{wanted}{rest}"));
    std::fs::remove_dir_all(dir.path().join("chat/tests")).unwrap();
    let out = dsengine(dir.path(), &["plugin", "check", "chat"]).expect(1);
    assert_eq!(out.stdout, format!("{wanted}loads      no\n"));
    assert!(out.stderr.contains("config.url is missing") && out.stderr.contains("--config FILE"), "{}", out.stderr);
    let config = |grants: &str| {
        format!(
            "sources: [{{ id: a, uri: 'test?frames=1' }}]\ndetection: {{ strategies: [] }}\nalerts:\n  handlers:\n    - {{ name: \
             chat, module: chat/chat.lua, settings: {{ url: 'https://hooks.example.com/x' }}{grants} }}\n"
        )
    };
    write(dir.path(), "without.yaml", &config(""));
    let out = dsengine(dir.path(), &["plugin", "check", "chat", "--config", "without.yaml"]).expect(1);
    assert!(out.stdout.contains("requests to hooks.example.com: NOT granted"), "{}", out.stdout);
    assert!(out.stderr.contains("grants: {http: [hooks.example.com]}"), "{}", out.stderr);
    write(dir.path(), "with.yaml", &config(", grants: { http: [hooks.example.com] }"));
    let out = dsengine(dir.path(), &["plugin", "check", "chat", "--config", "with.yaml"]).expect(0);
    assert!(
        out.stdout.contains("hooks.example.com: granted\n") && out.stdout.contains("\nloads      yes"),
        "{}",
        out.stdout
    );
    let component = root().join("plugins/prebuilt/crowd.wasm");
    let out = dsengine(dir.path(), &["plugin", "check", component.to_str().unwrap()]);
    assert!(out.stdout.contains("a strategy as a component") && out.stdout.contains("state, "), "{}", out.stdout);
    dsengine(dir.path(), &["plugin", "check", "nowhere"]).expect(2);
    write(dir.path(), "broken.lua", "function detect(frame\n");
    let out = dsengine(dir.path(), &["plugin", "check", "broken.lua"]).expect(1);
    assert!(out.stderr.contains("broken.lua:"), "{}", out.stderr);
}

#[test]
fn a_core_module_becomes_a_component_and_a_component_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.core.wasm"), crate::guests::core_strategy()).unwrap();
    let out = dsengine(dir.path(), &["plugin", "build", "good.core.wasm", "-o", "good.wasm"]).expect(0);
    assert!(out.stdout.starts_with("good.wasm: a strategy for API 0.1.0, "), "{}", out.stdout);
    dsengine(dir.path(), &["plugin", "build", "good.wasm"]).expect(0);
    std::fs::write(dir.path().join("empty.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    let out = dsengine(dir.path(), &["plugin", "build", "empty.wasm"]).expect(1);
    assert!(out.stderr.contains("[E0401] empty.wasm: "), "{}", out.stderr);
    std::fs::create_dir(dir.path().join("script")).unwrap();
    let out = dsengine(dir.path(), &["plugin", "build", "script"]).expect(1);
    assert!(out.stderr.contains("there is no Cargo.toml to build"), "{}", out.stderr);
}

#[test]
fn a_bench_shows_calls_beside_their_budget() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "count.lua", "---@since 0.1\nfunction detect(frame)\n    state.set('n', frame:count())\nend\n");
    let out = dsengine(dir.path(), &["plugin", "bench", "count.lua", "--calls", "200"]).expect(0);
    assert!(out.stdout.contains("count: 200 calls, 20 detections a frame, limits on"), "{}", out.stdout);
    let json = dsengine(dir.path(), &["plugin", "bench", "count.lua", "--calls", "200", "--json"]).expect(0).json();
    assert_eq!((&json["calls"], &json["budget_hard_ns"]), (&200.into(), &20_000_000.into()));
    assert!(json["p50_ns"].as_u64().unwrap() <= json["p99_ns"].as_u64().unwrap());
}

#[test]
fn a_running_engine_lists_reloads_and_refuses_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "---@since 0.1\nfunction detect(frame) end\n");
    write(dir.path(), "next.lua", "---@since 0.1\nfunction detect(frame) return nil end\n");
    let config = "sources: [{ id: a, uri: 'test' }]\ndetection:\n  strategies:\n    - { name: rule, module: rule.lua }\n\
                  \x20   - { name: next, module: next.lua, mode: shadow, shadow_of: rule }\n\
                  alerts: { handlers: [] }\nmonitoring: { prometheus: { port: 0 } }\n";
    write(dir.path(), "config.yaml", config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let url = format!("http://{}", run.page());
    let plugin = |args: &[&str]| dsengine(dir.path(), &[&["plugin"], args, &["--url", &url]].concat());
    let out = plugin(&["list"]).expect(0);
    let row = "rule                 strategy  lua            1       1  active         ";
    assert!(out.stdout.lines().nth(1).unwrap().starts_with(row), "{}", out.stdout);
    assert_eq!(plugin(&["list", "--json"]).expect(0).json()[0]["name"], "rule");
    assert!(plugin(&["reload", "rule"]).expect(0).stdout.contains("the file is what runs already"));
    for what in ["reload", "promote"] {
        let out = plugin(&[what, "no-such"]).expect(1);
        assert!(out.stderr.starts_with("error: [E0401] ") && out.stderr.contains("no-such"), "{}", out.stderr);
        assert!(out.stderr.contains("\n  hint: plugins: rule, next"), "{what}: {}", out.stderr);
        run.wait_line(Duration::from_secs(10), |line| line.contains("not replaced, as was asked by HTTP"));
    }
    let out = plugin(&["promote", "rule"]).expect(1);
    assert!(out.stderr.starts_with("error: [E0"), "{}", out.stderr);
    // Whoever is first, the watcher or the command, the answer is the same: it does not load, and why.
    write(dir.path(), "rule.lua", "---@since 0.1\nfunction detect(frame\n");
    let out = plugin(&["reload", "rule"]).expect(1);
    assert!(out.stderr.contains("rule.lua:"), "{}", out.stderr);
    let out = plugin(&["promote", "next"]).expect(0);
    let kept = out.stdout.lines().last().unwrap();
    assert!(kept.starts_with("until the restart; to keep it, set rule's `module` to "), "{}", out.stdout);
    assert!(kept.ends_with("next.lua and remove the shadow"), "{}", out.stdout);
    run.wait_line(Duration::from_secs(10), |line| line.contains("plugin replaced, as was asked by HTTP"));
}

#[test]
fn without_an_engine_the_commands_say_what_to_do() {
    let closed = ClosedPort::take();
    let url = format!("http://127.0.0.1:{}", closed.port);
    let out = dsengine(Path::new("."), &["plugin", "list", "--url", &url]).expect(1);
    assert!(out.stderr.contains(&format!("nothing listens at {url}")), "{}", out.stderr);
    assert!(out.stderr.contains("hint: start the engine (dsengine run)"), "{}", out.stderr);
    let out = dsengine(Path::new("."), &["plugin", "list", "--url", "gopher://x"]).expect(1);
    assert!(out.stderr.contains("write it as http://127.0.0.1:8000"), "{}", out.stderr);
}

#[test]
fn a_pipe_in_place_of_a_plugin_is_told_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("made")).unwrap();
    for name in ["pipe.lua", "pipe.wasm", "made/plugin.toml"] {
        let made = std::process::Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap();
        assert!(made.success(), "mkfifo {name}");
    }
    for path in ["pipe.lua", "pipe.wasm", "made"] {
        let out = dsengine(dir.path(), &["plugin", "check", path]).expect(1);
        assert!(out.stderr.contains("it is no regular file"), "{path}: {}", out.stderr);
    }
    for module in ["pipe.lua", "pipe.wasm"] {
        let config = format!(
            "sources: [{{ id: a, uri: test }}]\ndetection: {{ strategies: [{{ name: r, module: {module} }}] }}\n"
        );
        write(dir.path(), "c.yaml", &config);
        let out = dsengine(dir.path(), &["validate", "c.yaml"]);
        assert!(out.code() != 0 && out.stderr.contains("is no regular file"), "{module}: {}", out.stderr);
    }
}

#[test]
fn a_version_that_forges_a_line_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "name = \"a\"\nversion = \"1\\n2026 CRITICAL\"\nkind = \"strategy\"\nentry = \"a.lua\"\n";
    write(dir.path(), "plugin.toml", toml);
    write(dir.path(), "a.lua", "function detect(frame) end\n");
    let out = dsengine(dir.path(), &["plugin", "check", "."]).expect(1);
    assert!(
        out.stderr.contains("a value holds a control character") && !out.stderr.contains("CRITICAL"),
        "{}",
        out.stderr
    );
}
