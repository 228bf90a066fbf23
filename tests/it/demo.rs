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
    assert!(out.stderr.contains("do not match the truth") || out.stderr.contains("E030"), "{}", out.stderr);
}
