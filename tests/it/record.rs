//! `dsengine record` from outside: the format, what a real model sees on a real clip, and that neither the number of
//! workers nor drawing the boxes changes anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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
    keys(&recording.header, &["format", "dsengine", "config_hash", "start_unix_ns"]);
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
    for source in ["no-such.mp4", &text] {
        let ended = Dsengine::new(["record", "--source", source, "-o", &target]).run().expect(1);
        assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
        assert_eq!(read(&out).frames.len(), 0);
        let summary = Dsengine::new(["run", "--source", source, "--port", "0", "--json"]).run().expect(1).json();
        assert_eq!(summary["sources"][0]["detections"], 0, "{summary}");
        assert_eq!(summary["sources"][0]["judged"], 0, "{summary}");
    }
    let street = root().join("models/street.onnx").display().to_string();
    let model = ["record", "--source", "test:frames=3", "-o", &target, "--model"];
    Dsengine::new(model.into_iter().chain(["no-such.onnx"])).run().expect(2);
    Dsengine::new(model.into_iter().chain([&*street, "--runtime", "no-such"])).run().expect(2);
}
