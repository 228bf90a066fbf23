//! `./dev demo`: the main job end to end, and how it fails when it should.

use std::process::Command;

use crate::harness::{Dsengine, root, write};

/// A configuration like the demo's, over files of our own.
fn config(dir: &std::path::Path, clip: &str, model: &str) -> String {
    let text = std::fs::read_to_string(root().join("configs/demo.yaml")).unwrap();
    let text = text
        .replace("target/demo/street.mp4", clip)
        .replace("target/demo/alerts.jsonl", "alerts.jsonl")
        .replace("realtime: true", "realtime: false")
        .replace("models/street.onnx", model)
        .replace("scripts/", &format!("{}/scripts/", root().display()));
    write(dir, "demo.yaml", &text).display().to_string()
}

fn street_model() -> String {
    root().join("models/street.onnx").display().to_string()
}

#[test]
fn the_demo_runs_the_main_job_and_compares_it_with_the_truth() {
    // As from a shell: what cargo tells its tests in the environment would make it build everything anew.
    let kept = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        ["PATH", "HOME", "USER", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"].contains(&&*name)
    });
    let mut demo = Command::new(root().join("dev"));
    let out = demo.arg("demo").current_dir(root()).env_clear().envs(kept).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    // Whoever runs the tests has set up before: a second time there is nothing to do.
    for word in ["installing", "fetching", "building"] {
        assert!(!said.contains(word), "`{word}` in:\n{said}");
    }
    for part in ["page: http://127.0.0.1:", "intrusion:", "loitering:", "truth: precision", "alerts in"] {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}

#[test]
fn a_black_clip_fails_against_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["scene", "render", "black.mp4", "--black"];
    Dsengine::new(args).cwd(dir.path()).run().expect(0);
    Dsengine::new(["scene", "render", "street.mp4", "--truth", "truth.jsonl"]).cwd(dir.path()).run().expect(0);
    let config = config(dir.path(), "black.mp4", &street_model());
    let out = Dsengine::new(["run", "--config", &config, "--truth", "truth.jsonl"]).cwd(dir.path()).run().expect(1);
    assert!(out.stdout.contains(" 0 detections, 0 alerts"), "{}", out.stdout);
    assert!(out.stderr.contains("do not match the truth"), "{}", out.stderr);
}

#[test]
fn randomised_weights_fail_against_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    Dsengine::new(["scene", "render", "street.mp4", "--truth", "truth.jsonl"]).cwd(dir.path()).run().expect(0);
    // Every weight is shuffled within its own neighbourhood of bytes: the graph stays, what was learnt goes.
    let mut bytes = std::fs::read(street_model()).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (first, last) = (bytes.len() / 10, bytes.len() * 9 / 10);
    for at in (first..last - 4).step_by(4) {
        let value = f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        // Only what can be a weight is touched, so that names and shapes survive.
        if value.is_finite() && (1e-6..10.0).contains(&value.abs()) {
            let other = (random.f32() - 0.5) * 2.0 * value.abs();
            bytes[at..at + 4].copy_from_slice(&other.to_le_bytes());
        }
    }
    let model = dir.path().join("random.onnx");
    std::fs::write(&model, bytes).unwrap();
    let config = config(dir.path(), "street.mp4", &model.display().to_string());
    let out = Dsengine::new(["run", "--config", &config, "--truth", "truth.jsonl"]).cwd(dir.path()).run();
    // A model whose numbers make no sense may already be refused at its warm-up; either way it is no success.
    assert_ne!(out.code(), 0, "{}", out.stdout);
    assert!(out.stderr.contains("do not match the truth") || out.stderr.contains("[E0301]"), "{}", out.stderr);
}

/// Programs that `dev` calls, as far as its set-up goes: they note that they were called, and what is installed stays.
const STUBS: &[(&str, &str)] = &[
    ("uname", "echo x86_64"),
    ("dpkg-query", "[ -f \"$STATE/installed\" ] && printf 'install ok installed'"),
    ("sudo", "exec \"$@\""),
    ("apt-get", "echo \"apt-get $1\" >>\"$STATE/calls\"; [ \"$1\" != install ] || touch \"$STATE/installed\""),
    ("sha256sum", "exit 0"),
    (
        "python3",
        "case \"$*\" in\n*download*)\n  echo download >>\"$STATE/calls\"\n  while [ $# -gt 0 ]; do\n    \
         [ \"$1\" = -d ] && touch \"$2/onnxruntime.whl\"\n    case \"$1\" in onnxruntime==*) echo \"${1#*==}\" >\"$STATE/version\" ;; esac\n    \
         shift\n  done ;;\n*zipfile*)\n  mkdir -p onnxruntime/capi\n  touch onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt\n  \
         touch \"onnxruntime/capi/libonnxruntime.so.$(cat \"$STATE/version\")\" ;;\nesac",
    ),
    (
        "cargo",
        "echo \"cargo $1\" >>\"$STATE/calls\"\nmkdir -p target/release\nprintf '#!/bin/sh\\necho checked\\n' >target/release/dsengine\n\
         chmod +x target/release/dsengine",
    ),
];

#[test]
fn a_second_time_dev_installs_fetches_and_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (bin, state) = (dir.path().join("bin"), dir.path().join("state"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&state).unwrap();
    for (name, body) in STUBS {
        let stub = write(&bin, name, &format!("#!/bin/sh\n{body}\n"));
        std::fs::set_permissions(stub, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let repository = dir.path().join("repository");
    std::fs::create_dir_all(&repository).unwrap();
    std::fs::copy(root().join("dev"), repository.join("dev")).unwrap();
    let doctor = || {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut dev = Command::new("sh");
        let out =
            dev.args(["./dev", "doctor"]).current_dir(&repository).env("PATH", path).env("STATE", &state).output();
        let out = out.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{said}");
        let calls = std::fs::read_to_string(state.join("calls")).unwrap_or_default();
        write(&state, "calls", "");
        (said, calls)
    };
    let (said, calls) = doctor();
    for word in ["installing Debian packages: g++", "fetching onnxruntime", "building", "checked"] {
        assert!(said.contains(word), "no `{word}` the first time:\n{said}");
    }
    assert_eq!(calls, "apt-get update\napt-get install\ndownload\ncargo build\n");
    // cargo itself sees that there is nothing to build, and is asked because sources may have changed.
    assert_eq!(doctor(), ("checked\n".to_owned(), "cargo build\n".to_owned()));
}
