//! The house guards itself: arrows go down, modules say what they are for, codes have pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

const FLOORS: &[(&str, u8)] = &[
    ("types", 0),
    ("error", 0),
    ("own", 0),
    ("text", 0),
    ("config", 1),
    ("vision", 1),
    ("telemetry", 1),
    ("outbound", 1),
    ("infer", 2),
    ("track", 2),
    ("guest", 2),
    ("scene", 2),
    ("backend", 3),
    ("strategy", 3),
    ("alert", 3),
    ("gst", 4),
    ("deepstream", 4),
    ("lua", 4),
    ("wasm", 4),
    ("handlers", 4),
    ("sqlite", 4),
    ("engine", 5),
    ("control", 6),
    ("admin", 7),
    ("watch", 7),
];

/// Arrows inside a floor that the design allows: DeepStream is GStreamer with other elements, and everything on
/// the ground floor may speak of errors.
const ALLOWED: &[(&str, &str)] = &[("deepstream", "gst"), ("error", "types")];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, f)| *f)
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let module = relative.split(['/', '.']).next().unwrap().to_owned();
            (relative, module, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn arrows_between_modules_point_down_only() {
    let mut wrong = Vec::new();
    for (file, module, text) in sources() {
        let Some(from) = floor(&module) else { continue };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for part in code.split("crate::").skip(1) {
                let target: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let Some(to) = floor(&target) else { continue };
                let allowed = target == module || to < from || ALLOWED.contains(&(module.as_str(), target.as_str()));
                if !allowed {
                    wrong
                        .push(format!("src/{file}:{}: {module} (floor {from}) uses {target} (floor {to})", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let mute: Vec<_> =
        sources().into_iter().filter(|(_, _, text)| !text.starts_with("//!")).map(|(file, ..)| file).collect();
    assert!(mute.is_empty(), "files without a leading //!: {mute:?}");
}

#[test]
fn every_folder_of_the_library_has_a_floor() {
    let unknown: Vec<_> = sources()
        .into_iter()
        .map(|(_, module, _)| module)
        .filter(|m| floor(m).is_none() && !["lib", "main", "cli", "explain"].contains(&m.as_str()))
        .collect();
    assert!(unknown.is_empty(), "modules without a floor in tests/it/house.rs: {unknown:?}");
}

#[test]
fn every_error_code_has_a_page_that_explains_it() {
    for code in dsengine::error::Code::ALL {
        let page = code.page();
        assert!(page.starts_with(&format!("# {}", code.as_str())), "{} starts with its code", code.as_str());
        assert!(page.len() > 120, "src/explain/{}.md says what it means and what to do", code.as_str());
    }
}

/// The engine's wings, each of which uses those below it only. The owner's is the folder itself.
const WINGS: &[(&str, u8)] = &[("view", 0), ("lanes", 1), ("versions", 2)];

/// The wing of a file of the engine, and its floor.
fn wing(file: &str) -> Option<(&str, u8)> {
    let inside = file.strip_prefix("engine/")?;
    let found = inside.split_once('/').and_then(|(folder, _)| WINGS.iter().find(|(name, _)| *name == folder));
    Some(found.copied().unwrap_or(("owner", 3)))
}

#[test]
fn arrows_between_the_engines_wings_point_down_only() {
    let mut wrong = Vec::new();
    for (file, _, text) in sources() {
        let Some((name, from)) = wing(&file).filter(|(name, _)| *name != "owner") else { continue };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for part in code.split("crate::engine::").skip(1) {
                let target: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let to = WINGS.iter().find(|(wing, _)| *wing == target).map_or(3, |(_, floor)| *floor);
                // The one real clock is for tests here.
                if to > from && target != "SystemClock" {
                    wrong.push(format!("src/{file}:{}: {name} uses engine::{target}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows between wings that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_named_files_build_adapters() {
    const NAMED: &[&str] = &[
        "engine/backends.rs",
        "engine/builder.rs",
        "engine/handlers.rs",
        "engine/check.rs",
        "engine/versions/guests.rs",
        "engine/versions/guests/handlers.rs",
        "engine/versions/guests/shipped.rs",
    ];
    const ADAPTERS: &[&str] = &[
        "gst",
        "deepstream",
        "lua",
        "wasm",
        "handlers",
        "sqlite",
        "backend::scene",
        "backend::trace",
        "backend::detections",
    ];
    let mut wrong = Vec::new();
    for (file, module, text) in sources() {
        if module != "engine" || NAMED.contains(&file.as_str()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let names = |adapter: &&&str| {
                let path = format!("crate::{adapter}");
                let grouped = code.contains("use crate::{") && code.contains(**adapter);
                grouped
                    || code
                        .split(&path)
                        .skip(1)
                        .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            if let Some(adapter) = ADAPTERS.iter().find(names) {
                wrong.push(format!("src/{file}:{}: {adapter}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "adapters named elsewhere than in {NAMED:?}:\n{}", wrong.join("\n"));
}

/// Longest function, in lines, but for tables.
const FUNCTION_LINES_MAX: usize = 80;

#[test]
fn a_function_fits_on_a_screen() {
    let mut long = Vec::new();
    for (file, _, text) in sources() {
        let lines: Vec<&str> = text.lines().take_while(|line| *line != "#[cfg(test)]").collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let begins = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(crate) fn ", "pub(super) fn "]
                .iter()
                .any(|word| code.starts_with(word))
                || code.starts_with("pub(in crate::engine) fn ");
            if !begins {
                continue;
            }
            // Formatted code closes a function at the depth at which it opened it.
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let length = lines[start..].iter().position(|line| *line == end).map_or(0, |at| at + 1);
            if length > FUNCTION_LINES_MAX {
                long.push(format!("src/{file}:{}: {length} lines", start + 1));
            }
        }
    }
    assert!(long.is_empty(), "functions of more than {FUNCTION_LINES_MAX} lines:\n{}", long.join("\n"));
}

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 400;

#[test]
fn no_file_grows_beyond_400_lines() {
    let all = sources();
    // A tree without files would be a mistake of this test.
    assert!(all.len() > 200, "{} files", all.len());
    let long: Vec<_> =
        all.iter().filter(|(_, _, text)| text.lines().count() > FILE_LINES_MAX).map(|(file, ..)| file).collect();
    assert!(long.is_empty(), "files of more than {FILE_LINES_MAX} lines, to be split: {long:?}");
}

#[test]
fn every_crate_that_is_named_is_used() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let section = rest.split("\n[").next().unwrap();
    let names: Vec<_> =
        section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim()).collect();
    assert!(names.len() > 40, "{names:?}");
    let all: String = sources().into_iter().map(|(_, _, text)| text).collect();
    let words: std::collections::BTreeSet<_> = all.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let unused: Vec<_> = names.iter().filter(|name| !words.contains(&*name.replace('-', "_"))).collect();
    assert!(unused.is_empty(), "named in Cargo.toml and used nowhere: {unused:?}");
}

#[test]
fn the_category_of_tests_without_a_test_says_so_and_does_not_fail() {
    let out = std::process::Command::new("sh").arg(root().join("dev")).args(["test", "gpu"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("there is no test that needs a GPU yet"), "{said}");
}

/// What `./dev test` makes of such a log: its exit code and what it prints.
fn summary(log: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = crate::harness::write(dir.path(), "log.txt", log);
    let allow = crate::harness::write(dir.path(), "allow", "may_skip\n");
    let out =
        std::process::Command::new("sh").arg("tests/summary.sh").args([&path, &allow]).current_dir(root()).output();
    let out = out.unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn the_suites_summary_tells_its_own_failures_from_what_tests_print() {
    let passed = "     Running a\ntest result: ok. 3 passed; 0 failed; 0 ignored\n";
    let printed = format!("error: `fps` sets no key\nerror: [E0401] rule.lua:3: boom\n{passed}");
    assert_eq!(summary(&printed), (0, "3 passed, 0 failed, 0 skipped\n".to_owned()));
    let skipped = format!("SKIP may_skip: no compiler\n{passed}");
    assert_eq!(summary(&skipped).0, 0);
    for (line, said) in [
        ("error: could not compile `dsengine` (lib)", "could not compile"),
        ("error[E0433]: cannot find type", "E0433"),
        ("error: test failed, to rerun pass `--lib`", "test failed"),
        ("SKIP must_run: no tool", "not allowed to: must_run"),
        (
            "test a::b ... note: said meanwhile\nthread 'a::b' (7) panicked at t.rs:1:2:\nthe reason\nFAILED\n\n\
             failures:\n\nfailures:\n    a::b\n\ntest result: FAILED. 3 passed; 1 failed; 0 ignored",
            "failed: a::b\nthread 'a::b' (7) panicked at t.rs:1:2:\nthe reason\n",
        ),
    ] {
        let (code, out) = summary(&format!("{passed}{line}\n"));
        assert!(code == 1 && out.contains(said), "{line}: {code} {out}");
    }
    assert_eq!(summary("nothing ran\n").0, 1);
}

/// The dependencies that a lock file has of the project's own package, without versions.
fn locked(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let package = text.split("[[package]]").find(|package| package.contains("\nname = \"dsengine\"\n")).unwrap();
    let listed = package.split_once("dependencies = [").unwrap().1.split(']').next().unwrap();
    listed.split('"').skip(1).step_by(2).map(|name| name.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn the_lock_file_of_the_fuzz_targets_is_up_to_date() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let tests_only = manifest.split_once("[dev-dependencies]").unwrap().1.split("\n[").next().unwrap();
    let is_ours = |name: &String| !tests_only.lines().any(|line| line.split(' ').next() == Some(name));
    let ours: BTreeSet<String> = locked("Cargo.lock").into_iter().filter(is_ours).collect();
    assert_eq!(locked("fuzz/Cargo.lock"), ours, "cargo update --workspace --manifest-path fuzz/Cargo.toml");
}
