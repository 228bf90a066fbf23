//! Edits under the pipelines of a file and of a camera: neither notices.

use super::process::Process;
use super::site::{Rule, Site, source};
use crate::harness::{Dsengine, soak, write};
use crate::sources::Camera;

const TEST: &str = "changes::edits_under_a_file_and_a_camera";

/// Edits that change what judges, what is followed and how much is taken, without another input.
const EDITS: &[fn(&mut Site, usize)] = &[
    |site, n| site.stamp = 10 + n as u64,
    |site, _| site.rules.swap(0, 1),
    |site, n| site.source("file").rest = format!("{FILE}, confidence_threshold: 0.{}", 1 + n % 9),
    |site, _| site.tracking = !site.tracking,
    |site, n| {
        site.source("cam").rest = format!(", max_retries: {}, zones: {{ own{n}: [[0, 0], [1, 0], [1, 1]] }}", n % 9)
    },
    |site, n| site.rules.push(Rule::new(&format!("r{n}"))),
    |site, n| site.throttle = 1 + n as u32,
    |site, _| site.rules.truncate(2),
    |site, n| site.source("e0").uri = format!("scene:scene.yaml?pixels=false&seed={n}"),
    |site, _| match site.models.pop() {
        Some(_) => {}
        None => {
            let model = crate::harness::root().join("models/street.onnx").display().to_string();
            site.models.push(("street".into(), format!("model_path: {model}, sources: [e0]")));
        }
    },
];

/// What the file's entry says besides.
const FILE: &str = ", realtime: true, parameters: { loop: true }";

#[test]
fn edits_under_a_file_and_a_camera_cost_neither_a_frame() {
    let Some(camera) = Camera::start(TEST, 0, &["--fps", "30"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path(), 30);
    let short = super::site::scene(30).replace("duration_s: 3000", "duration_s: 6");
    write(dir.path(), "short.yaml", &short);
    Dsengine::new(["scene", "render", "street.mp4", "--scene", "short.yaml"]).cwd(dir.path()).run().expect(0);
    site.sources = vec![
        source("file", "street.mp4", FILE),
        source("cam", &format!("rtsp://127.0.0.1:{}/cam", camera.port), ""),
        source("e0", "scene:scene.yaml?pixels=false", ", realtime: true"),
    ];
    let mut process = Process::start(dir, &site.yaml());
    process.reader.more(&["file", "cam"], 3);
    for n in 0..if soak() { 300 } else { 20 } {
        EDITS[n % EDITS.len()](&mut site, n);
        site.name = format!("edit {n}");
        write(process.dir.path(), "config.yaml", &site.yaml());
        process.until(&site.name, |process| process.json("/api/v1/status")["name"] == *site.name);
        process.reader.more(&["file", "cam"], 2);
    }
    let status = process.json("/api/v1/status");
    for source in status["sources"].as_array().unwrap() {
        assert_eq!((&source["state"], &source["reconnects"]), (&"running".into(), &0.into()), "{source}");
    }
    let (arrivals, dropped) = process.finish();
    let file: Vec<u64> = arrivals["file"].iter().map(|frame| frame.seq).collect();
    assert!(file.iter().copied().eq(0..file.len() as u64), "the file's frames, each once and in order");
    let cam: Vec<u64> = arrivals["cam"].iter().map(|frame| frame.seq).collect();
    assert!(cam.windows(2).all(|pair| pair[0] < pair[1]), "the camera's frames, once and in order");
    let missing = cam[cam.len() - 1] + 1 - cam[0] - cam.len() as u64;
    assert!(missing <= dropped["cam"], "{missing} of the camera's frames are missing, {} dropped", dropped["cam"]);
    println!("file: {} frames; camera: {} frames, {missing} missing", file.len(), cam.len());
    drop(camera);
}
