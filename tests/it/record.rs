//! `dsengine record` from outside: the format, what a real model sees on a real clip, and that neither the number of
//! workers nor drawing the boxes changes anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use dsengine::types::BBox;
use serde_json::Value;

use crate::harness::{Dsengine, root, skip, testdata, write};
use crate::infer::agreement::{Seen, above, against_truth, agreement, reference};
use crate::infer::onnxruntime;

/// A trace as it was written.
struct Recording {
    header: Value,
    frames: Vec<Value>,
    /// The frames' lines, byte by byte.
    body: String,
}

fn read(path: &Path) -> Recording {
    let text = std::fs::read_to_string(path).unwrap();
    let (first, body) = text.split_once('\n').unwrap();
    let frames = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Recording { header: serde_json::from_str(first).unwrap(), frames, body: body.to_owned() }
}

/// yolox_nano on every fifth frame of vtest, with more arguments; ended with 0.
fn record(root: &Path, more: &[&str]) -> Recording {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let path = |name: &str| root.join(name).display().to_string();
    let (clip, model, labels) =
        (path("clips/vtest-480x360.mp4"), path("models/yolox_nano_416.onnx"), path("models/coco.names"));
    let mut args = vec!["record", "--source", &clip, "--model", &model, "--labels", &labels, "--confidence", "0.25"];
    let target = out.display().to_string();
    args.extend(["--every", "5", "-o", &target]);
    args.extend(more);
    Dsengine::new(args).run().expect(0);
    read(&out)
}

/// The recording that most tests look at, made once; `None` after saying what is missing.
fn vtest(test: &str) -> Option<(PathBuf, &'static Recording)> {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    let root = vtest_root(test)?;
    onnxruntime(test)?;
    let recording = RECORDING.get_or_init(|| record(&root, &["--runtime", "onnxruntime", "--workers", "1"]));
    Some((root, recording))
}

fn vtest_root(test: &str) -> Option<PathBuf> {
    for needed in ["clips/vtest-480x360.mp4", "models/coco.names"] {
        testdata(test, needed)?;
    }
    Some(testdata(test, "models/yolox_nano_416.onnx")?.parent()?.parent()?.canonicalize().unwrap())
}

#[track_caller]
fn keys(value: &Value, expected: &[&str]) {
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(keys, expected, "{value}");
}

#[test]
fn a_recording_has_a_header_and_every_fifth_frame_with_exactly_its_fields() {
    let Some((root, recording)) = vtest("record::a_recording_has_a_header") else { return };
    keys(&recording.header, &["format", "dsengine", "config_hash", "start_unix_ns", "timezone"]);
    assert_eq!(recording.header["format"], 1);
    assert_eq!(recording.header["dsengine"], env!("CARGO_PKG_VERSION"));
    let hash = recording.header["config_hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");

    let labels = std::fs::read_to_string(root.join("models/coco.names")).unwrap();
    let labels: Vec<&str> = labels.lines().collect();
    let seqs: Vec<u64> = recording.frames.iter().map(|f| f["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..159).map(|n| n * 5).collect::<Vec<_>>());
    for frame in &recording.frames {
        keys(frame, &["source", "seq", "pts_ns", "width", "height", "detections"]);
        assert_eq!((frame["width"].as_u64(), frame["height"].as_u64()), (Some(480), Some(360)));
        assert_eq!(frame["pts_ns"].as_u64(), frame["seq"].as_u64().map(|seq| seq * 100_000_000), "10 frames a second");
        for seen in frame["detections"].as_array().unwrap() {
            keys(seen, &["label", "class_id", "confidence", "bbox", "track_id"]);
            assert_eq!(seen["label"].as_str(), Some(labels[seen["class_id"].as_u64().unwrap() as usize]));
            let score = seen["confidence"].as_f64().unwrap();
            assert!((0.25..=1.0).contains(&score), "{seen}");
            let [x, y, width, height] = bbox(seen);
            assert!(x >= 0.0 && y >= 0.0 && width > 0.0 && height > 0.0, "{seen}");
            assert!(x + width <= 1.0 + 1e-6 && y + height <= 1.0 + 1e-6, "{seen}");
            assert!(seen["track_id"].is_u64() || seen["track_id"].is_null(), "{seen}");
        }
    }
    let all = recording.frames.iter().flat_map(|f| f["detections"].as_array().unwrap());
    let (tracked, total) =
        all.fold((0, 0), |(tracked, total), d| (tracked + usize::from(d["track_id"].is_u64()), total + 1));
    assert!(tracked * 2 > total, "{tracked} of {total} have a track");
}

fn bbox(seen: &Value) -> [f32; 4] {
    serde_json::from_value(seen["bbox"].clone()).unwrap()
}

/// A recording as the comparisons with reference and truth take it.
fn seen(recording: &Recording) -> BTreeMap<usize, Vec<Seen>> {
    let one = |seen: &Value| {
        let [x, y, width, height] = bbox(seen);
        let bbox = BBox { x, y, width, height };
        let class = seen["class_id"].as_u64().unwrap() as u32;
        Seen { bbox, score: seen["confidence"].as_f64().unwrap() as f32, class }
    };
    let frame = |f: &Value| {
        (f["seq"].as_u64().unwrap() as usize, f["detections"].as_array().unwrap().iter().map(one).collect())
    };
    recording.frames.iter().map(frame).collect()
}

/// Agreement with the Python reference, precision and recall.
fn figures(name: &str, root: &Path, recording: &Recording) -> [f64; 3] {
    let seen = seen(recording);
    let share = agreement(&seen, &reference(root), 0.90, 0.05);
    let (precision, recall) = against_truth(root, &above(&seen, 0.4));
    println!("record with {name}: agreement {share:.4}, precision {precision:.4}, recall {recall:.4}");
    [share, precision, recall]
}

#[test]
fn a_recording_agrees_with_the_reference_and_the_truth_on_both_runtimes() {
    let Some((root, recording)) = vtest("record::a_recording_agrees_with_the_reference") else { return };
    let onnx = figures("ONNX Runtime", &root, recording);
    assert!(onnx[0] >= 0.97, "agreement {}", onnx[0]);
    assert!(onnx[1] >= 0.77 && onnx[2] >= 0.88, "precision {}, recall {}", onnx[1], onnx[2]);
    let rten = figures("rten", &root, &record(&root, &["--runtime", "rten"]));
    for (a, b) in onnx.iter().zip(rten) {
        assert!((a - b).abs() <= 0.005, "ONNX Runtime {onnx:?}, rten {rten:?}");
    }
}

#[test]
fn the_number_of_workers_changes_no_byte_but_the_start_time() {
    let Some((root, one)) = vtest("record::the_number_of_workers_changes_no_byte") else { return };
    let two = record(&root, &["--runtime", "onnxruntime", "--workers", "2"]);
    assert!(one.body == two.body, "the frames differ");
    let timeless = |header: &Value| {
        let mut header = header.clone();
        header.as_object_mut().unwrap().remove("start_unix_ns");
        header
    };
    assert_eq!(timeless(&one.header), timeless(&two.header));
}

/// Frames that `run` judges of a file.
fn judged(path: &str) -> Value {
    Dsengine::new(["run", "--source", path, "--port", "0", "--json"]).run().expect(0).json()["sources"][0]["judged"]
        .clone()
}

#[test]
fn an_annotated_film_has_a_picture_for_each_analysed_frame_with_the_boxes_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (film, out) = (at("film.mp4"), at("out.jsonl"));
    let source = ["record", "--source", "test:pattern=ball,frames=43,fps=25", "-o", &out, "--annotated", &film];
    Dsengine::new(source.into_iter().chain(["--every", "5"])).run().expect(0);
    assert_eq!(read(Path::new(&out)).frames.len(), 9);
    assert_eq!(judged(&film), 9);

    // The moving ball is seen, so its box is drawn: an annotated film has colour, the ball's picture has none.
    let plain = colour(&dir.path().join("plain.i420"), &["videotestsrc", "num-buffers=43", "pattern=ball"]);
    Dsengine::new(["record", "--source", "test:pattern=ball,frames=250,fps=25", "-o", &out, "--annotated", &film])
        .run()
        .expect(0);
    let boxes = read(Path::new(&out)).frames.iter().filter(|f| !f["detections"].as_array().unwrap().is_empty()).count();
    assert!(boxes > 50, "the ball moves: {boxes} frames with a box");
    let drawn = colour(
        &dir.path().join("drawn.i420"),
        &["filesrc", &format!("location={film}"), "!", "decodebin", "!", "videoconvert"],
    );
    let (Some(plain), Some(drawn)) = (plain, drawn) else {
        return skip("record::an_annotated_film", "gst-launch-1.0 is not there");
    };
    assert!(plain < 10 && drawn > 40, "furthest from grey: plain {plain}, annotated {drawn}");
}

/// How far the most coloured chroma sample of a whole film is from grey.
fn colour(raw: &Path, elements: &[&str]) -> Option<u8> {
    const SIZE: (usize, usize) = (320, 240);
    let status = std::process::Command::new("gst-launch-1.0")
        .arg("-q")
        .args(elements)
        .args(["!", "videoscale", "!", "video/x-raw,format=I420,width=320,height=240", "!"])
        .args(["filesink", &format!("location={}", raw.display())])
        .status();
    if !status.is_ok_and(|s| s.success()) {
        return None;
    }
    let bytes = std::fs::read(raw).unwrap();
    let luma = SIZE.0 * SIZE.1;
    bytes.chunks_exact(luma * 3 / 2).flat_map(|frame| &frame[luma..]).map(|c| c.abs_diff(128)).max()
}

/// Clip, frames that decode, frames left out as corrupt, whether it is broken: as the table in the test data says.
const CLIPS: &[(&str, u64, u64, bool)] = &[
    ("clips/vtest-480x360.mp4", 795, 0, false),
    ("clips/car-detection.mp4", 377, 0, false),
    ("corner/BA_MW_D_IDR_LOST.264", 70, 26, false),
    ("corner/Error_I_P.264", 6, 0, false),
    ("corner/h264_10bits.mp4", 30, 0, false),
    ("corner/testsrc2_odd_height_and_width_vp9.mp4", 25, 0, false),
    ("corner/mp4parse-zero_empty_stsc.mp4", 0, 0, true),
];

#[test]
fn run_judges_every_frame_that_decodes() {
    let mut config = String::from("monitoring: { prometheus: { port: 0 } }\nsources:\n");
    for (index, (clip, ..)) in CLIPS.iter().enumerate() {
        let Some(path) = testdata("record::run_judges_every_frame_that_decodes", clip) else { return };
        config += &format!("  - {{ id: c{index}, type: file, uri: '{}' }}\n", path.canonicalize().unwrap().display());
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.yaml", &config);
    let summary = Dsengine::new(["run", "--config", "config.yaml", "--json"]).cwd(dir.path()).run().expect(1).json();
    for ((clip, frames, corrupt, broken), source) in CLIPS.iter().zip(summary["sources"].as_array().unwrap()) {
        assert_eq!(source["judged"], *frames, "{clip}: {source}");
        assert_eq!(source["frames"], *frames, "{clip}: {source}");
        assert_eq!(source["dropped"]["corrupt"].as_u64().unwrap_or(0), *corrupt, "{clip}: {source}");
        assert_eq!(source["broken"].is_string(), *broken, "{clip}: {source}");
        if *broken {
            assert_eq!(source["detections"], 0, "{clip}: {source}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_leaves_no_detection() {
    let dir = tempfile::tempdir().unwrap();
    let text = write(dir.path(), "text.mp4", &"no video at all\n".repeat(200)).display().to_string();
    let out = dir.path().join("out.jsonl");
    let target = out.display().to_string();
    for (source, code) in [("no-such.mp4", 2), (&*text, 1)] {
        let ended = Dsengine::new(["record", "--source", source, "-o", &target]).run().expect(code);
        assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
        assert!(if code == 1 { read(&out).frames.is_empty() } else { !out.exists() }, "{source}");
        let summary = Dsengine::new(["run", "--source", source, "--port", "0", "--json"]).run().expect(1).json();
        assert_eq!(summary["sources"][0]["detections"], 0, "{summary}");
        assert_eq!(summary["sources"][0]["judged"], 0, "{summary}");
    }
    let street = root().join("models/street.onnx").display().to_string();
    let model = ["record", "--source", "test:frames=3", "-o", &target, "--model"];
    Dsengine::new(model.into_iter().chain(["no-such.onnx"])).run().expect(2);
    Dsengine::new(model.into_iter().chain([&*street, "--runtime", "no-such"])).run().expect(2);
}

#[test]
fn a_medium_that_is_full_ends_a_command_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let source = ["record", "--source", "test:pattern=ball,frames=100000,size=320x240"];
    let film = ["-o", "out.jsonl", "--annotated", "/dev/full"];
    for args in [
        vec!["scene", "render", "/dev/full"],
        source.into_iter().chain(film).collect(),
        source.into_iter().chain(["-o", "/dev/full"]).collect(),
    ] {
        let mut run = Dsengine::new(&args).cwd(dir.path()).start();
        let status = run.end(Duration::from_secs(60)).unwrap_or_else(|| panic!("{args:?} goes on"));
        assert_eq!(status.code(), Some(1), "{args:?}: {:?}", run.seen);
        assert!(
            run.seen.iter().any(|line| line.starts_with("error: ") && line.contains("/dev/full")),
            "{:?}",
            run.seen
        );
    }
}

#[test]
fn nothing_that_is_read_or_that_cannot_be_made_again_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "trace.jsonl", TRACE);
    write(dir.path(), "keep.jsonl", TRACE);
    std::fs::hard_link(dir.path().join("trace.jsonl"), dir.path().join("other.jsonl")).unwrap();
    for (command, why) in [
        (&["record", "--source", "trace:trace.jsonl", "-o", "trace.jsonl"][..], "it is also read"),
        (&["record", "--source", "trace:trace.jsonl", "-o", "./other.jsonl"], "it is also read"),
        (&["record", "--source", "keep.jsonl", "-o", "x", "--annotated", "keep.jsonl"], "it is also read"),
        (&["record", "--source", "test:frames=3", "-o", "x", "--annotated", "./x"], "it is named as two outputs"),
        (&["scene", "render", "x", "--truth", "x"], "it is named as two outputs"),
        (&["record", "--source", "nope.mp4", "-o", "keep.jsonl"], "nope.mp4 does not exist"),
        (&["record", "-o", "keep.jsonl"], "there is no source to record"),
        (&["record", "--source", "trace:trace.jsonl", "-o", "x", "--annotated", "y.mp4"], "has none"),
    ] {
        let out = Dsengine::new(command).cwd(dir.path()).run().expect(2);
        assert!(out.stderr.contains("error: ") && out.stderr.contains(why), "{command:?}: {}", out.stderr);
        for name in ["trace.jsonl", "keep.jsonl"] {
            assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), TRACE, "{command:?}: {name}");
        }
        assert!(!dir.path().join("x").exists(), "{command:?}");
    }
}

#[test]
fn a_trace_plays_with_the_configuration_it_was_recorded_with() {
    let dir = tempfile::tempdir().unwrap();
    let config = "sources:\n  - { id: gate, uri: 'test:pattern=ball,frames=9' }\n  \
                  - { id: yard, uri: 'test:pattern=ball,frames=9' }\n\
                  detection: { strategies: [{ name: r, module: r.lua, sources: [gate] }] }\n";
    write(dir.path(), "config.yaml", config);
    let rule = "function detect(frame)\n  frame:alert{ rule = 'r', key = tostring(frame.seq), message = 'm' }\nend\n";
    write(dir.path(), "r.lua", rule);
    let command = |args: &[&str]| Dsengine::new(args).cwd(dir.path()).run();
    command(&["record", "--config", "config.yaml", "-o", "t.jsonl"]).expect(0);
    let alerts = command(&["replay", "t.jsonl", "--config", "config.yaml"]).expect(0).stdout;
    assert!(alerts.lines().count() > 0 && alerts.lines().all(|line| line.contains("\"gate\"")), "{alerts}");
    command(&["run", "--config", "config.yaml", "--source", "test:frames=3", "--port", "0"]).expect(0);
    let both = command(&["record", "--config", "config.yaml", "-o", "b.jsonl", "--annotated", "b.mp4"]).expect(2);
    assert!(both.stderr.contains("a film of one source, and there are 2"), "{}", both.stderr);
}

/// A trace of one frame.
const TRACE: &str = "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"\",\"start_unix_ns\":0}\n\
     {\"source\":\"a\",\"seq\":0,\"pts_ns\":0,\"width\":4,\"height\":3,\"detections\":[]}\n";
