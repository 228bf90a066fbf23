//! README as a stranger follows it: every file it shows is written, every command it gives is run, in its order.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{root, signal, skip};

/// A fenced block: its language and its text.
struct Block {
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in readme.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => open = Some(Block { language: language.to_owned(), text: String::new() }),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The name in the block's first comment: `# camera.yaml`, `-- too-many.lua`.
fn file_name(block: &Block) -> Option<&str> {
    let first = block.text.lines().next()?;
    let name = first.trim_start_matches(['#', '-', ' ']);
    (first.starts_with(['#', '-']) && name.contains('.') && !name.contains(' ')).then_some(name)
}

/// A folder that looks like a fresh clone with the program built.
fn clone(dir: &Path) {
    for name in ["configs", "scripts", "models", "target", "scenes"] {
        std::os::unix::fs::symlink(root().join(name), dir.join(name)).unwrap();
    }
}

/// Whether a command line runs until it is stopped: its source, or the configuration that it names, begins again.
fn endless(line: &str, dir: &Path) -> bool {
    let config = line.split_whitespace().skip_while(|word| *word != "--config").nth(1);
    let config = config.and_then(|name| std::fs::read_to_string(dir.join(name)).ok()).unwrap_or_default();
    line.starts_with("dsengine run ") && (line.contains("loop=true") || config.contains("loop: true"))
}

/// Runs a command line as README gives it. One that runs until it is stopped is stopped after it has had a moment.
fn run(line: &str, dir: &Path, endless: bool) {
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_dsengine"));
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let log = dir.join("log.txt");
    let out = std::fs::File::create(&log).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .current_dir(dir)
        .env("PATH", path)
        .env("DSENGINE_MONITORING__PROMETHEUS__PORT", "0")
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let started = Instant::now();
    let mut stopped = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if endless && !stopped && said().contains("state=\"running\"") {
            signal(child.id(), "INT");
            stopped = true;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "`{line}` does not end:\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "`{line}`: {status}\n{}", said());
}

#[test]
fn every_file_and_every_command_of_the_readme_works_in_order() {
    let dir = tempfile::tempdir().unwrap();
    clone(dir.path());
    let mut commands = 0;
    for block in blocks() {
        if let Some(name) = file_name(&block) {
            std::fs::write(dir.path().join(name), &block.text).unwrap();
            continue;
        }
        if block.language != "sh" {
            continue;
        }
        for line in block.text.lines() {
            let line = line.split("  #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with("export PATH=") {
                continue;
            }
            commands += 1;
            if line.contains("rtsp://") {
                match crate::sources::rtsp_server() {
                    Some((_server, url)) => {
                        let line = line.split_whitespace().map(|w| if w.starts_with("rtsp://") { &*url } else { w });
                        run(&line.collect::<Vec<_>>().join(" "), dir.path(), true);
                    }
                    None => skip("readme::rtsp", "the RTSP server example is not built"),
                }
                continue;
            }
            run(line, dir.path(), endless(line, dir.path()));
        }
    }
    assert!(commands >= 8, "README gives {commands} commands");
}

#[test]
fn the_two_commands_of_the_readme_are_the_scripts() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let dev = std::fs::read_to_string(root().join("dev")).unwrap();
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in ["demo", "test", "bench", "doctor"] {
        assert!(dev.contains(&format!("\n{command})")) || dev.contains(&format!("\n{command} ")), "dev has {command}");
    }
    assert!(readme.contains("./dev demo") && readme.contains("./dev test") && ci.contains("./dev test"));
}

#[test]
fn the_references_that_the_readme_names_are_there() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split("## Where everything is").nth(1).unwrap();
    let mut seen = 0;
    for word in table.split('`').skip(1).step_by(2) {
        let path = word.trim_end_matches('/');
        if word.contains('/') && !word.contains(' ') {
            assert!(root().join(path).exists(), "README names `{word}`, which is not there");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}
