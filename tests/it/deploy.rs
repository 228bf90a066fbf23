//! The files in `deploy/`: what they name is there, and their configurations run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Dsengine, root, write};

const LIMIT: Duration = Duration::from_secs(20);
/// The file that the configuration of the container takes the token from.
const TOKEN_FILE: &str = "/run/secrets/dsengine-token";

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// The values of a key of the unit, one for each of its lines.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A configuration of the folder in a folder of its own, with a token that is there.
fn configuration(dir: &Path, name: &str) -> PathBuf {
    let token = write(dir, "token", "a-token-of-some-length-1234\n");
    write(dir, name, &text(name).replace(TOKEN_FILE, token.to_str().unwrap()))
}

/// What `dsengine COMMAND --help` says.
fn help(command: &str) -> String {
    Dsengine::new([command, "--help"]).run().expect(0).stdout
}

/// Asserts that a command line of the program is one.
fn check_command(words: &[&str]) {
    let help = help(words[0]);
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "`dsengine {}` has no {flag}", words[0]);
    }
}

/// Asserts that the program reads a variable.
fn check_variable(name: &str) {
    let is_ours = name.starts_with("DSENGINE_");
    let cache = std::fs::read_to_string(root().join("src/wasm/cache.rs")).unwrap();
    assert!(if is_ours { help("run").contains(name) } else { cache.contains(name) }, "nothing reads {name}");
}

#[test]
fn the_unit_is_one_and_names_what_the_program_reads() {
    let unit = text("dsengine.service");
    let [start] = values(&unit, "ExecStart")[..] else { panic!("one ExecStart") };
    let words: Vec<&str> = start.split_whitespace().collect();
    assert_eq!(words[0], "/usr/local/bin/dsengine");
    check_command(&words[1..]);
    for variable in values(&unit, "Environment").iter().flat_map(|line| line.split_whitespace()) {
        check_variable(variable.split('=').next().unwrap());
    }
    for (key, value) in [
        ("Type", "simple"),
        ("Restart", "on-failure"),
        ("StateDirectory", "dsengine"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ] {
        assert_eq!(values(&unit, key), [value], "{key}");
    }
    let sections: Vec<&str> = unit.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(sections, ["[Unit]", "[Service]", "[Install]"]);
    // By systemd itself, where it is there; with a program that is there.
    let dir = tempfile::tempdir().unwrap();
    let here = unit.replace(words[0], env!("CARGO_BIN_EXE_dsengine"));
    let path = write(dir.path(), "dsengine.service", &here);
    if let Ok(out) = Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        // It also reads the units of this machine, and complains about those.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("dsengine.service")).collect();
        assert!(ours.is_empty(), "{said}");
    }
}

#[test]
fn the_image_has_the_packages_and_files_that_it_needs() {
    let dockerfile = text("Dockerfile").replace("\\\n", " ");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    let dev = std::fs::read_to_string(root().join("dev")).unwrap();
    let packages = dev.lines().find_map(|line| line.strip_prefix("RUN_PACKAGES=\"")).unwrap();
    for package in packages.trim_end_matches('"').split(' ') {
        // Those are for tests and for the demo.
        if !["gstreamer1.0-tools", "python3"].contains(&package) {
            assert!(last.split_whitespace().any(|word| word == package), "the image lacks {package}");
        }
    }
    for copied in last.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"))
    {
        let from = copied.split(' ').next().unwrap();
        assert!(root().join(from).exists(), "{from} is not there");
    }
    for variable in last.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace) {
        check_variable(variable.split('=').next().unwrap());
    }
    let json = |key: &str| -> Vec<String> {
        let line = last.lines().find_map(|line| line.trim_start().strip_prefix(key)).unwrap();
        serde_json::from_str(line.trim()).unwrap()
    };
    assert_eq!(json("ENTRYPOINT "), ["dsengine"]);
    let command = json("CMD ");
    check_command(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let check = last.lines().find(|line| line.starts_with("HEALTHCHECK ")).unwrap();
    assert!(check.contains("dsengine health-check"), "{check}");
    check_command(&["health-check"]);
}

#[test]
fn the_configurations_are_valid_and_the_containers_answers_its_health_check() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["service.yaml", "container.yaml"] {
        let config = configuration(dir.path(), name);
        let out = Dsengine::new(["validate", "--config", config.to_str().unwrap()]).cwd(dir.path()).run();
        out.expect(0);
    }
    let config = configuration(dir.path(), "container.yaml");
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let mut run = Dsengine::new(["run", "--config", config.to_str().unwrap(), "--port", "0"])
        .cwd(dir.path())
        .env("DSENGINE_STATE", state.to_str().unwrap())
        .start();
    let page = run.page();
    let until = Instant::now() + LIMIT;
    // As the image asks: without a token.
    while Dsengine::new(["health-check", "--at", &page]).run().code() != 0 {
        assert!(Instant::now() < until && run.end(Duration::from_millis(50)).is_none(), "{}", run.seen.join("\n"));
    }
    run.signal("TERM");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
}
