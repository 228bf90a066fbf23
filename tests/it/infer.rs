//! Inference against the real thing: real clips, real models, the Python reference and the ground truth.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it skips")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use dsengine::config::ModelPlan;
use dsengine::error::Code;
use dsengine::infer::{Choice, Model, Runtime, Search};
use dsengine::types::{BBox, Colorimetry, Detection, Matrix, Picture, Range};

const WIDTH: usize = 480;
const HEIGHT: usize = 360;
const EVERY: usize = 5;

/// The folder of clips and models, or a loud skip.
fn testdata(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DSENGINE_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    if root.join("models/yolox_nano_416.onnx").is_file() {
        return Some(root);
    }
    println!("SKIP {test}: no test data at {} (set DSENGINE_TESTDATA)", root.display());
    None
}

/// ONNX Runtime from ORT_DYLIB_PATH or from where `./dev` puts it, or a loud skip.
fn onnxruntime(test: &str) -> Option<Runtime> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/onnxruntime");
    let mut search = Search::of_process(None);
    if search.variable.is_none() {
        let libraries = std::fs::read_dir(fetched).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
        search.variable = libraries.filter(|p| p.to_string_lossy().contains("libonnxruntime.so")).max();
    }
    match Runtime::open(Choice::OnnxRuntime, &search) {
        Ok((runtime, reason)) => {
            println!("{test}: {reason}");
            Some(runtime)
        }
        Err(error) => {
            println!("SKIP {test}: {}", error.message());
            None
        }
    }
}

fn rten() -> Runtime {
    Runtime::open(Choice::Rten, &Search::default()).unwrap().0
}

fn plan(model: PathBuf, confidence: f32) -> ModelPlan {
    ModelPlan {
        name: "test".into(),
        model,
        labels: None,
        confidence,
        nms: 0.5,
        max_objects: 300,
        input_shape: None,
        output_layers: vec![],
        layout: None,
        interval: 1,
        sources: vec![],
        precision: None,
    }
}

fn yolox(root: &Path, confidence: f32) -> ModelPlan {
    ModelPlan {
        labels: Some(root.join("models/coco.names")),
        ..plan(root.join("models/yolox_nano_416.onnx"), confidence)
    }
}

/// Every fifth frame of the clip as the decoder made it, by frame number.
fn frames(root: &Path, test: &str) -> Option<&'static [(usize, Picture)]> {
    static FRAMES: OnceLock<Option<Vec<(usize, Picture)>>> = OnceLock::new();
    let frames = FRAMES.get_or_init(|| decode(&root.join("clips/vtest-480x360.mp4")));
    if frames.is_none() {
        println!("SKIP {test}: gst-launch-1.0 with an H.264 decoder is not there");
    }
    frames.as_deref()
}

fn decode(clip: &Path) -> Option<Vec<(usize, Picture)>> {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("frames.i420");
    let ran = Command::new("gst-launch-1.0")
        .args(["-q", "filesrc", &format!("location={}", clip.display()), "!", "qtdemux", "!", "h264parse", "!"])
        .args(["avdec_h264", "max-threads=1", "!", "video/x-raw,format=I420", "!"])
        .args(["filesink", &format!("location={}", raw.display())])
        .status();
    if !ran.is_ok_and(|status| status.success()) {
        return None;
    }
    let bytes = std::fs::read(&raw).unwrap();
    let (luma, chroma) = (WIDTH * HEIGHT, WIDTH * HEIGHT / 4);
    let frames = bytes.chunks_exact(luma + 2 * chroma).enumerate().step_by(EVERY);
    // The clip's caps say so.
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let picture = |frame: &[u8]| {
        let (y, rest) = frame.split_at(luma);
        let (u, v) = rest.split_at(chroma);
        let planes = [y, u, v].map(<[u8]>::to_vec);
        Picture::from_i420(WIDTH as u32, HEIGHT as u32, colorimetry, planes).unwrap()
    };
    let frames: Vec<_> = frames.map(|(number, frame)| (number, picture(frame))).collect();
    assert_eq!(frames.len(), 159, "795 frames, every fifth");
    Some(frames)
}

/// A box on either side of a comparison.
#[derive(Debug, Clone, Copy)]
struct Seen {
    bbox: BBox,
    score: f32,
    class: u32,
}

impl From<&Detection> for Seen {
    fn from(d: &Detection) -> Self {
        Self { bbox: d.bbox, score: d.confidence, class: d.class_id }
    }
}

fn detect(model: &Model, frames: &[(usize, Picture)]) -> BTreeMap<usize, Vec<Seen>> {
    let mut worker = model.worker().unwrap();
    let mut seen = |picture| worker.detect(&[picture]).unwrap()[0].iter().map(Seen::from).collect();
    frames.iter().map(|(number, picture)| (*number, seen(picture))).collect()
}

fn reference(root: &Path) -> BTreeMap<usize, Vec<Seen>> {
    let text = std::fs::read_to_string(root.join("reference/vtest-480x360.yolox_nano_416.python-ort.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["frame"].is_u64())
        .map(|line| {
            let boxes = line["dets"].as_array().unwrap().iter().map(|d| {
                let n = |i: usize| d[i].as_f64().unwrap() as f32;
                let (w, h) = (WIDTH as f32, HEIGHT as f32);
                let bbox = BBox::from_corners(n(0) / w, n(1) / h, n(2) / w, n(3) / h);
                Seen { bbox, score: n(4), class: n(5) as u32 }
            });
            (line["frame"].as_u64().unwrap() as usize, boxes.collect())
        })
        .collect()
}

/// Share of the boxes scored 0.3 or more, of both sides, that have a partner of the same class on the other side, one
/// to one, within `iou` and `score`. The partner may score down to 0.25: the threshold cuts noise in two.
fn agreement(a: &BTreeMap<usize, Vec<Seen>>, b: &BTreeMap<usize, Vec<Seen>>, iou: f32, score: f32) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let (mut matched, mut total) = (0, 0);
    for (frame, ours) in a {
        for (from, to) in [(ours, &b[frame]), (&b[frame], ours)] {
            let mut free = vec![true; to.len()];
            for seen in from.iter().filter(|s| s.score >= 0.3) {
                total += 1;
                let near = |(i, o): &(usize, &Seen)| {
                    free[*i]
                        && o.class == seen.class
                        && (o.score - seen.score).abs() <= score
                        && o.bbox.iou(&seen.bbox) >= iou
                };
                let best = to
                    .iter()
                    .enumerate()
                    .filter(near)
                    .max_by(|(_, x), (_, y)| x.bbox.iou(&seen.bbox).total_cmp(&y.bbox.iou(&seen.bbox)));
                if let Some((i, _)) = best {
                    free[i] = false;
                    matched += 1;
                }
            }
        }
    }
    assert!(total > 3000, "{total} boxes compared");
    f64::from(matched) / f64::from(total)
}

/// Precision and recall of persons against the ground truth at IoU 0.5, one to one, all rows counted.
fn against_truth(root: &Path, seen: &BTreeMap<usize, Vec<Seen>>) -> (f64, f64) {
    let text = std::fs::read_to_string(root.join("groundtruth/PETS09-S2L1/gt.txt")).unwrap();
    let mut truth: BTreeMap<usize, Vec<BBox>> = BTreeMap::new();
    for line in text.lines() {
        let n: Vec<f32> = line.split(',').map(|v| v.trim().parse().unwrap()).collect();
        let (x, y) = (0.625 / WIDTH as f32, 0.625 / HEIGHT as f32);
        let bbox = BBox { x: n[2] * x, y: n[3] * y, width: n[4] * x, height: n[5] * y };
        truth.entry(n[0] as usize - 1).or_default().push(bbox);
    }
    let (mut hits, mut found, mut there) = (0, 0, 0);
    for (frame, seen) in seen {
        let rows = truth.get(frame).map_or(&[][..], Vec::as_slice);
        let mut free = vec![true; rows.len()];
        there += rows.len();
        for person in seen.iter().filter(|s| s.class == 0) {
            found += 1;
            let best = (0..rows.len())
                .filter(|i| free[*i] && rows[*i].iou(&person.bbox) > 0.5)
                .max_by(|i, j| rows[*i].iou(&person.bbox).total_cmp(&rows[*j].iou(&person.bbox)));
            if let Some(i) = best {
                free[i] = false;
                hits += 1;
            }
        }
    }
    (f64::from(hits) / f64::from(found), f64::from(hits) / there as f64)
}

fn above(seen: &BTreeMap<usize, Vec<Seen>>, score: f32) -> BTreeMap<usize, Vec<Seen>> {
    seen.iter().map(|(f, s)| (*f, s.iter().filter(|s| s.score >= score).copied().collect())).collect()
}

#[test]
fn yolox_agrees_with_the_python_reference_and_with_the_truth() {
    const TEST: &str = "yolox_agrees_with_the_python_reference_and_with_the_truth";
    let Some(root) = testdata(TEST) else { return };
    let Some(frames) = frames(&root, TEST) else { return };
    let Some(runtime) = onnxruntime(TEST) else { return };
    let figures = |runtime: &Runtime| {
        let model = Model::load(&yolox(&root, 0.25), runtime).unwrap();
        let seen = detect(&model, frames);
        let share = agreement(&seen, &reference(&root), 0.90, 0.05);
        let near = agreement(&seen, &reference(&root), 0.95, 0.02);
        let (precision, recall) = against_truth(&root, &above(&seen, 0.4));
        println!(
            "{}: agreement {share:.4} within 0.90/0.05, {near:.4} within 0.95/0.02; precision {precision:.4}, recall {recall:.4}",
            runtime.name()
        );
        [share, precision, recall]
    };
    let ort = figures(&runtime);
    assert!(ort[0] >= 0.97, "agreement with the Python reference: {}", ort[0]);
    assert!(ort[1] >= 0.77 && ort[2] >= 0.88, "precision {} recall {}", ort[1], ort[2]);
    for (ours, theirs) in ort.iter().zip(figures(&rten())) {
        assert!((ours - theirs).abs() <= 0.005, "rten {theirs}, ONNX Runtime {ours}");
    }
}

/// The same pictures as the reference saw them: RGB by the integer arithmetic of swscale's SIMD path (BT.709 limited,
/// nearest chroma, every product cut off), bit for bit.
fn as_the_reference_saw(picture: &Picture) -> Picture {
    let product = |value: i32, factor: i32| (value * factor) >> 16;
    let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            let sample =
                |plane: usize, x: usize, y: usize| i32::from(picture.plane(plane)[y * picture.stride(plane) + x]);
            let y = product(sample(0, column, row) * 8 - 128, 9539);
            let [u, v] = [1, 2].map(|plane| sample(plane, column / 2, row / 2) * 8 - 1024);
            let mixed = [y + product(v, 14686), y + product(u, -1747) + product(v, -4366), y + product(u, 17305)];
            rgb.extend(mixed.map(|value| value.clamp(0, 255) as u8));
        }
    }
    Picture::from_rgb(WIDTH as u32, HEIGHT as u32, rgb).unwrap()
}

#[test]
fn fed_the_reference_s_own_rgb_it_sees_the_same() {
    const TEST: &str = "fed_the_reference_s_own_rgb_it_sees_the_same";
    let Some(root) = testdata(TEST) else { return };
    let Some(frames) = frames(&root, TEST) else { return };
    let Some(runtime) = onnxruntime(TEST) else { return };
    let frames: Vec<_> = frames.iter().map(|(number, picture)| (*number, as_the_reference_saw(picture))).collect();
    let model = Model::load(&yolox(&root, 0.25), &runtime).unwrap();
    let share = agreement(&detect(&model, &frames), &reference(&root), 0.95, 0.02);
    println!("{TEST}: {share:.4} within 0.95/0.02");
    assert!(share >= 0.99, "{share}");
}

/// One of our own tiny models, which see colours (tests/models/make.py).
fn colours(name: &str) -> ModelPlan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/{name}.onnx"));
    assert!(path.is_file(), "{} is committed", path.display());
    plan(path, 0.9)
}

/// Black, with one 16x16 cell of one colour: `at` counts cells from the left and the top of the 64x64 input.
fn cell(colour: [u8; 3], at: (usize, usize)) -> Picture {
    let mut rgb = vec![0; 64 * 64 * 3];
    for y in 0..16 {
        for x in 0..16 {
            let pixel = ((at.1 * 16 + y) * 64 + at.0 * 16 + x) * 3;
            rgb[pixel..pixel + 3].copy_from_slice(&colour);
        }
    }
    Picture::from_rgb(64, 64, rgb).unwrap()
}

/// Both runtimes, or the built-in one alone where the other is absent.
fn runtimes(test: &str) -> Vec<Runtime> {
    onnxruntime(test).into_iter().chain([rten()]).collect()
}

/// What the cell's own place says: the 16x16 box itself, besides the four 8x8 ones inside it.
fn whole_cell(detections: &[Detection]) -> (String, BBox) {
    let found: Vec<_> = detections.iter().filter(|d| d.bbox.width > 0.2).collect();
    assert_eq!((found.len(), detections.len()), (1, 5), "{detections:?}");
    (found[0].label.to_string(), found[0].bbox)
}

#[test]
fn a_batch_of_four_is_four_singles() {
    for runtime in runtimes("a_batch_of_four_is_four_singles") {
        for (name, most) in [("colours", usize::MAX), ("colours_fp16", usize::MAX), ("colours_batch4", 4)] {
            let model = Model::load(&colours(name), &runtime).unwrap();
            assert_eq!(model.max_batch(), most, "{name}");
            let mut worker = model.worker().unwrap();
            let pictures = [
                cell([255, 0, 0], (0, 0)),
                cell([0, 255, 0], (1, 3)),
                cell([0, 0, 255], (3, 2)),
                Picture::from_rgb(64, 64, vec![0; 64 * 64 * 3]).unwrap(),
                cell([0, 255, 0], (2, 2)),
            ];
            let all: Vec<_> = pictures.iter().collect();
            let together = worker.detect(&all).unwrap();
            let alone: Vec<_> = all.iter().map(|picture| worker.detect(&[picture]).unwrap().remove(0)).collect();
            assert_eq!(together, alone, "{name} on {runtime:?}");
            assert_eq!(worker.rejected(), 0);
            let green = if most == 4 { "class 1" } else { "green" };
            let at = BBox { x: 0.25, y: 0.75, width: 0.25, height: 0.25 };
            assert_eq!(whole_cell(&together[1]), (green.to_owned(), at), "{name} on {runtime:?}");
            assert!(together[3].is_empty(), "nothing is seen on black");
            assert!(worker.detect(&[]).unwrap().is_empty());
        }
    }
}

#[test]
fn a_batch_axis_that_is_open_in_name_only_is_found_out() {
    for runtime in runtimes("a_batch_axis_that_is_open_in_name_only_is_found_out") {
        let model = Model::load(&colours("colours_pretend"), &runtime).unwrap();
        assert_eq!(model.max_batch(), 1, "{runtime:?}");
        let pictures = [cell([255, 0, 0], (0, 0)), cell([0, 255, 0], (1, 3))];
        let seen = model.worker().unwrap().detect(&[&pictures[0], &pictures[1]]).unwrap();
        assert_eq!((whole_cell(&seen[0]).0, whole_cell(&seen[1]).0), ("red".to_owned(), "green".to_owned()));
    }
}

#[test]
fn pictures_of_different_shapes_leave_nothing_behind_in_the_input() {
    let model = Model::load(&ModelPlan { confidence: 0.3, ..colours("colours") }, &rten()).unwrap();
    let red = |w: u32, h: u32| Picture::from_rgb(w, h, [255, 0, 0].repeat((w * h) as usize)).unwrap();
    let pictures = [red(64, 64), red(64, 16), red(16, 64), red(7, 64), red(64, 64), red(200, 50)];
    let mut worker = model.worker().unwrap();
    for _ in 0..2 {
        for pair in pictures.windows(2) {
            let seen = worker.detect(&[&pair[0], &pair[1]]).unwrap();
            let fresh = |picture| model.worker().unwrap().detect(&[picture]).unwrap().remove(0);
            assert_eq!(seen, [fresh(&pair[0]), fresh(&pair[1])], "{pair:?}");
        }
    }
}

#[test]
fn black_pictures_hold_nothing() {
    const TEST: &str = "black_pictures_hold_nothing";
    let Some(root) = testdata(TEST) else { return };
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let black = Picture::from_i420(64, 48, colorimetry, [vec![16; 64 * 48], vec![128; 32 * 24], vec![128; 32 * 24]]);
    for runtime in runtimes(TEST) {
        let mut worker = Model::load(&yolox(&root, 0.1), &runtime).unwrap().worker().unwrap();
        assert_eq!(worker.detect(&[black.as_ref().unwrap()]).unwrap(), [vec![]]);
    }
}

#[test]
fn workers_of_one_model_run_side_by_side() {
    for runtime in runtimes("workers_of_one_model_run_side_by_side") {
        let model = Model::load(&colours("colours"), &runtime).unwrap();
        std::thread::scope(|scope| {
            for column in 0..3 {
                let mut worker = model.worker().unwrap();
                scope.spawn(move || {
                    let picture = cell([255, 0, 0], (column, 1));
                    for _ in 0..20 {
                        let seen = worker.detect(&[&picture]).unwrap();
                        assert_eq!(whole_cell(&seen[0]).1.x, column as f32 * 0.25);
                    }
                });
            }
        });
    }
}

#[test]
fn a_picture_keeps_the_lowest_score_it_was_asked_for() {
    let model = Model::load(&colours("colours"), &rten()).unwrap();
    let mut worker = model.worker().unwrap();
    let dim = cell([128, 0, 0], (1, 1));
    let seen = worker.detect_above(&[(&dim, 0.9), (&dim, 0.4)]).unwrap();
    assert_eq!((seen[0].len(), seen[1].len()), (0, 5));
}

#[test]
fn garbage_is_refused_and_counted_never_detected() {
    for runtime in runtimes("garbage_is_refused_and_counted_never_detected") {
        for (name, places) in [("colours_nan", 84), ("colours_logits", 6)] {
            let model = Model::load(&colours(name), &runtime).unwrap();
            let mut worker = model.worker().unwrap();
            let seen = worker.detect(&[&cell([255, 0, 0], (0, 0))]).unwrap();
            assert!(seen[0].is_empty(), "{name}: {seen:?}");
            // Every place is NaN; of the logits, the cell itself, its four quarters and the place around it.
            assert_eq!(worker.rejected(), places, "{name} on {runtime:?}");
        }
    }
}

#[test]
fn what_cannot_be_fed_or_read_is_refused_with_what_was_found() {
    for runtime in runtimes("what_cannot_be_fed_or_read_is_refused_with_what_was_found") {
        let refused = |plan: ModelPlan, code: Code, words: &[&str]| {
            let error = Model::load(&plan, &runtime).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.code(), code, "{text}");
            assert!(words.iter().all(|w| text.contains(w)), "{words:?} in: {text}");
        };
        refused(
            colours("classifier"),
            Code::ModelLayout,
            &["images f32 [1, 3, 64, 64]", "[[1, 3]]", "yolov8", "yolox"],
        );
        refused(colours("colours_open"), Code::ModelLayout, &["open", "input_shape: [3, 640, 640]"]);
        let wrong = ModelPlan { layout: Some("yolox".into()), ..colours("colours") };
        refused(wrong, Code::ModelLayout, &["`layout: yolox` does not fit", "[1, 7, 84]"]);
        let unknown = ModelPlan { layout: Some("yolov3".into()), ..colours("colours") };
        refused(unknown, Code::ModelLayout, &["`layout: yolov3` is not known"]);
        let other = ModelPlan { output_layers: vec!["boxes".into()], ..colours("colours") };
        refused(other, Code::ModelLayout, &["no output `boxes`", "output0"]);
        let size = ModelPlan { input_shape: Some([3, 32, 64]), ..colours("colours") };
        refused(size, Code::ModelLayout, &["`input_shape` is not the model's"]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/make.py");
        let labels = ModelPlan { labels: Some(script), ..colours("colours") };
        assert_eq!(Model::load(&labels, &runtime).unwrap_err().code(), Code::Labels);

        let open = ModelPlan { input_shape: Some([3, 64, 64]), ..colours("colours_open") };
        let model = Model::load(&open, &runtime).unwrap();
        assert_eq!((model.input_size(), model.layout().as_str()), ((64, 64), "yolov8"));
        assert_eq!(model.labels().iter().map(|l| &**l).collect::<Vec<_>>(), ["red", "green", "blue"]);
    }
}

#[test]
fn a_file_that_is_no_model_is_an_error_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(colours("colours").model).unwrap();
    for runtime in runtimes("a_file_that_is_no_model_is_an_error_not_a_crash") {
        for (name, bytes) in [("empty", &[][..]), ("half", &whole[..whole.len() / 2]), ("text", b"not a model")] {
            let path = folder.path().join(format!("{name}.onnx"));
            std::fs::write(&path, bytes).unwrap();
            let error = Model::load(&plan(path, 0.5), &runtime).unwrap_err();
            assert!([Code::Model, Code::ModelLayout].contains(&error.code()), "{name} on {runtime:?}: {error}");
        }
    }
}

#[test]
fn a_library_that_was_named_and_cannot_be_opened_is_an_error() {
    let search = Search { explicit: Some("/nowhere/libonnxruntime.so".into()), ..Search::default() };
    let error = Runtime::open(Choice::Auto, &search).unwrap_err();
    assert!(error.to_string().contains("/nowhere/libonnxruntime.so"), "{error}");
}

#[test]
fn a_missing_model_is_an_error_that_names_the_path() {
    let error = Model::load(&plan("/nowhere/model.onnx".into(), 0.5), &rten()).unwrap_err();
    assert_eq!(error.code(), Code::Model);
    assert!(error.to_string().contains("/nowhere/model.onnx"), "{error}");
}
