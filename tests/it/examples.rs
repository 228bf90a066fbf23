//! Every program in `examples/` runs, and shows what it says.
use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts examples: beside the test's own folder.
pub(crate) fn example(name: &str) -> PathBuf {
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_dsengine"));
    bin.parent().map(|dir| dir.join("examples").join(name)).filter(|p| p.exists()).unwrap_or_else(|| {
        panic!("example {name} is not built: cargo build --release --examples");
    })
}

fn run(name: &str) -> String {
    let out = Command::new(example(name)).output().unwrap();
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn two_engines_run_in_one_process() {
    let out = run("embed");
    assert!(out.contains("60 judged, 60 observed"), "{out}");
    assert!(out.contains("300 judged, 300 observed"), "{out}");
}

#[test]
fn the_smallest_program_is_the_one_in_the_readme() {
    assert_eq!(run("smallest"), "300 frames judged\n");
    let program = std::fs::read_to_string(crate::harness::root().join("examples/smallest.rs")).unwrap();
    let readme = std::fs::read_to_string(crate::harness::root().join("README.md")).unwrap();
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(program.ends_with(shown), "{shown}");
}

#[test]
fn a_strategy_and_a_handler_of_ones_own_take_part() {
    let out = run("custom_strategy");
    assert!(out.contains("high crowd: "), "{out}");
    assert!(out.contains("300 frames, "), "{out}");
}
