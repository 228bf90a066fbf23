//! Inference: what is refused, what batches and workers do, on tiny models of our own and on both runtimes. How well
//! a real model sees on a real clip is in [`agreement`].
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it skips")]

pub(crate) mod agreement;

use std::path::{Path, PathBuf};

use dsengine::config::ModelPlan;
use dsengine::error::Code;
use dsengine::infer::{Choice, Model, Runtime, Search};
use dsengine::types::{BBox, Colorimetry, Detection, Layout, Matrix, Picture, Range};

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
pub(crate) fn onnxruntime(test: &str) -> Option<Runtime> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lib/dsengine");
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
    ModelPlan { confidence, ..ModelPlan::new("test", model) }
}

fn yolox(root: &Path, confidence: f32) -> ModelPlan {
    ModelPlan {
        labels: Some(root.join("models/coco.names")),
        ..plan(root.join("models/yolox_nano_416.onnx"), confidence)
    }
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
        let wrong = ModelPlan { layout: Some(Layout::YoloX), ..colours("colours") };
        refused(wrong, Code::ModelLayout, &["`layout: yolox` does not fit", "[1, 7, 84]"]);
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
fn models_of_other_layouts_are_refused_not_guessed_at() {
    const TEST: &str = "models_of_other_layouts_are_refused_not_guessed_at";
    let Some(root) = testdata(TEST) else { return };
    for runtime in runtimes(TEST) {
        for name in ["fastestdet_352", "ultraface_rfb_320", "yunet_n_320_320", "yunet_n_dynamic"] {
            let plan = plan(root.join(format!("models/{name}.onnx")), 0.5);
            let error = Model::load(&plan, &runtime).unwrap_err();
            assert_eq!(error.code(), Code::ModelLayout, "{name} on {runtime:?}: {error}");
        }
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
