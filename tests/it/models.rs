//! Models as people bring them, written here byte by byte: layouts with other strides, names that say nothing, outputs
//! that cannot be meant.

mod onnx;

use std::path::Path;
use std::time::Duration;

use dsengine::config::ModelPlan;
use dsengine::error::Code;
use dsengine::infer::{Choice, Model, Runtime, Search};
use dsengine::types::{Layout, Picture};

use self::onnx::{Network, column};
use crate::harness::{Dsengine, get, testdata, write};
use crate::infer::onnxruntime;

const LIMIT: Duration = Duration::from_secs(60);

fn runtimes(test: &str) -> impl Iterator<Item = Runtime> {
    let rten = Runtime::open(Choice::Rten, &Search::default()).unwrap().0;
    onnxruntime(test).into_iter().chain([rten])
}

fn plan(model: &Path, layout: Option<Layout>) -> ModelPlan {
    ModelPlan { confidence: 0.5, layout, ..ModelPlan::new("test", model.to_owned()) }
}

fn grey() -> Picture {
    Picture::from_rgb(64, 64, vec![128; 64 * 64 * 3]).unwrap()
}

/// One object in the middle of a 64 x 64 input, as YOLOv8 lays it out for two classes.
fn yolov8(places: usize) -> Network {
    Network::new([1, 6, places], column(6, &[32.0, 32.0, 16.0, 32.0, 0.0, 0.9]), 1)
}

#[test]
fn yolov8_is_read_whatever_its_strides_are() {
    const TEST: &str = "yolov8_is_read_whatever_its_strides_are";
    let dir = tempfile::tempdir().unwrap();
    // At 64: strides 4..32, 8..64, 4..64, 8 and 16, 4 and 32, 16..64; 100 is of none.
    let strided = [340, 85, 341, 80, 260, 21];
    let said = [("task", " Detect "), ("names", "{0: 'person', 1: 'car'}")];
    let cases = strided.map(|places| (places, None, vec![])).into_iter();
    let cases =
        cases.chain([(100, Some(Layout::YoloV8), vec![]), (100, None, said.to_vec()), (7, None, said.to_vec())]);
    for (places, layout, metadata) in cases {
        let path = yolov8(places).with(&metadata).write(dir.path(), "m.onnx");
        for runtime in runtimes(TEST) {
            let model = Model::load(&plan(&path, layout), &runtime).unwrap_or_else(|e| panic!("{places}: {e}"));
            assert_eq!(model.layout(), Layout::YoloV8);
            let seen = model.worker().unwrap().detect(&[&grey()]).unwrap().remove(0);
            assert_eq!(seen.len(), 1, "{places} places: {seen:?}");
            assert!((seen[0].bbox.x - 0.375).abs() < 1e-3 && seen[0].class_id == 1, "{seen:?}");
        }
    }
}

#[test]
fn yolox_is_read_with_other_strides_in_a_row_and_ambiguous_shapes_by_their_names() {
    const TEST: &str = "yolox_is_read_with_other_strides_in_a_row_and_ambiguous_shapes_by_their_names";
    let dir = tempfile::tempdir().unwrap();
    // The first place is the upper left cell of the finest stride.
    let row = [0.5, 0.5, 1.0, 1.0, 0.9, 0.0, 1.0];
    for (places, stride) in [(84, 8.0), (340, 4.0), (85, 8.0), (341, 4.0)] {
        let path = Network::new([1, places, 7], row.to_vec(), 7).write(dir.path(), "m.onnx");
        for runtime in runtimes(TEST) {
            let model = Model::load(&plan(&path, None), &runtime).unwrap_or_else(|e| panic!("{places}: {e}"));
            assert_eq!(model.layout(), Layout::YoloX, "{places}");
            let seen = model.worker().unwrap().detect(&[&grey()]).unwrap().remove(0);
            let wide = (0.5 * stride + 0.5 * stride * std::f32::consts::E) / 64.0;
            assert!(seen.len() == 1 && (seen[0].bbox.width - wide).abs() < 1e-3, "{places}: {seen:?}");
        }
    }
    // 84 by 84 is 80 classes of YOLOv8 or 79 of YOLOX: the names tell.
    for (classes, layout) in [(80, Layout::YoloV8), (79, Layout::YoloX)] {
        let names: Vec<String> = (0..classes).map(|n| format!("{n}: 'n{n}'")).collect();
        let names = format!("{{{}}}", names.join(", "));
        let path = Network::new([1, 84, 84], vec![0.0], 1).with(&[("names", &names)]).write(dir.path(), "m.onnx");
        let model = Model::load(&plan(&path, None), &runtimes(TEST).next().unwrap()).unwrap();
        assert_eq!((model.layout(), model.other_layouts().len()), (layout, 1));
    }
}

#[test]
fn shapes_that_are_not_read_say_what_they_look_like() {
    const TEST: &str = "shapes_that_are_not_read_say_what_they_look_like";
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ([1, 84, 6], None, "axes swapped"),
        ([1, 252, 10], None, "YOLOv5"),
        ([1, 300, 6], None, "NMS inside"),
        ([1, 300, 6], Some(Layout::YoloV8), "NMS inside"),
    ];
    for runtime in runtimes(TEST) {
        for (shape, layout, said) in cases {
            // The first would be one of YOLOX, too.
            let layout = if said == "axes swapped" { Some(Layout::YoloV8) } else { layout };
            let path = Network::new(shape, vec![0.0], 1).write(dir.path(), "m.onnx");
            let error = Model::load(&plan(&path, layout), &runtime).unwrap_err();
            assert_eq!(error.code(), Code::ModelLayout);
            assert!(error.to_string().contains(said) && error.to_string().contains("explain E0302"), "{error}");
        }
    }
    // Without `layout`, the names tell.
    let names = [("names", "{0: 'person', 1: 'car'}")];
    let path = Network::new([1, 84, 6], vec![0.0], 1).with(&names).write(dir.path(), "m.onnx");
    for runtime in runtimes(TEST) {
        let error = Model::load(&plan(&path, None), &runtime).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("[1, 84, 6] reads as [N, 84 places, 4 + 2 classes]"), "{text}");
        assert!(text.contains("axes swapped") && text.contains("without the transposition"), "{text}");
    }
    let pose = yolov8(84).with(&[("task", "pose")]).write(dir.path(), "m.onnx");
    let error = Model::load(&plan(&pose, Some(Layout::YoloV8)), &runtimes(TEST).last().unwrap()).unwrap_err();
    assert!(error.message().contains("`pose`"), "{error}");
}

#[test]
fn an_operator_that_rten_gets_wrong_is_refused_by_it() {
    const TEST: &str = "an_operator_that_rten_gets_wrong_is_refused_by_it";
    let dir = tempfile::tempdir().unwrap();
    let path = yolov8(84).quantised().write(dir.path(), "m.onnx");
    for runtime in runtimes(TEST) {
        let loaded = Model::load(&plan(&path, None), &runtime);
        match runtime.name() {
            "rten" => {
                let error = loaded.unwrap_err();
                assert!(
                    error.message().contains("ConvInteger") && error.to_string().contains("ONNX Runtime"),
                    "{error}"
                );
            }
            _ => drop(loaded.unwrap()),
        }
    }
}

#[test]
fn files_that_are_no_models_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::open(Choice::Rten, &Search::default()).unwrap().0;
    for (text, said) in [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("<html><body>Sign in</body></html>", "web page"),
        ("PK\u{3}\u{4}archive/data.pkl", "yolo export"),
        ("", "empty"),
    ] {
        let path = write(dir.path(), "m.onnx", text);
        let error = Model::load(&plan(&path, None), &runtime).unwrap_err();
        assert!(error.code() == Code::Model && error.to_string().contains(said), "{error}");
    }
}

/// The problems in `/health` while a model sees some frames, and what it said until then.
fn problems(dir: &Path, labels: &str, done: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    let config = format!(
        "sources: [{{ id: a, uri: 'test:pattern=red,size=64x64,fps=30' }}]\n\
         detection: {{ strategies: [{{ name: objects, model_path: m.onnx{labels} }}] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\nlogging: {{ format: text }}\n"
    );
    write(dir, "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir).start();
    let page = run.page();
    if !run.seen.iter().any(|line| done(line)) {
        run.wait_line(LIMIT, |line| done(line));
    }
    let health: serde_json::Value = serde_json::from_str(&get(&page, "/health").1).unwrap();
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0));
    (health["problems"].to_string(), run.seen.clone())
}

#[test]
fn names_that_say_nothing_are_told_at_the_start_and_in_the_health() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "same.names", "person\nperson\n");
    for (metadata, labels, said) in [
        ("", "", "called 'class 0' to 'class 1'"),
        ("{0: '0', 1: '1'}", "", "labels are numbers"),
        ("{0: 'class0', 1: 'class1'}", "", "labels are numbers"),
        ("", ", labels_path: same.names", "both called 'person'"),
    ] {
        let metadata = if metadata.is_empty() { vec![] } else { vec![("names", metadata)] };
        yolov8(84).with(&metadata).write(dir.path(), "m.onnx");
        let (problems, seen) = problems(dir.path(), labels, |line| line.contains(said));
        assert!(problems.contains(said) && problems.contains("labels_path"), "{problems}");
        assert_eq!(seen.iter().filter(|line| line.contains(said)).count(), 1, "{seen:#?}");
    }
}

#[test]
fn an_output_that_cannot_be_meant_is_told_and_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    let names = [("names", "{0: 'person', 1: 'car'}")];
    // Shares of the picture in the place of pixels; scores that are none; boxes that are decoded already.
    let shares = column(6, &[0.5, 0.5, 0.2, 0.4, 0.0, 0.9]);
    let logits = column(6, &[32.0, 32.0, 16.0, 32.0, 0.0, 7.5]);
    let decoded = vec![32.0, 32.0, 60.0, 90.0, 0.9, 0.0, 1.0];
    let cases = [
        (Network::new([1, 6, 84], shares, 1), "shares of it (0..1)"),
        (Network::new([1, 6, 84], logits, 1), "scores not activated"),
        (Network::new([1, 84, 7], decoded, 7), "decoded already"),
    ];
    for (network, said) in cases {
        network.with(&names).write(dir.path(), "m.onnx");
        let (problems, _) = problems(dir.path(), "", |line| line.contains("of the first "));
        assert!(problems.contains("model objects: of the first") && problems.contains(said), "{said}: {problems}");
    }
}

#[test]
fn a_model_that_is_not_read_is_told_in_a_few_lines() {
    const TEST: &str = "a_model_that_is_not_read_is_told_in_a_few_lines";
    for name in ["models/fastestdet_352.onnx", "models/yunet_n_320_320.onnx"] {
        let Some(model) = testdata(TEST, name) else { return };
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "sources: [{{ id: a, uri: 'test:frames=1' }}]\ndetection: {{ strategies: [{{ name: m, model_path: {} }}] }}\n\
             monitoring: {{ enabled: false }}\n",
            model.display()
        );
        write(dir.path(), "config.yaml", &config);
        for (command, code) in [(&["run", "--config", "config.yaml"][..], 2), (&["validate", "config.yaml"], 1)] {
            let out = Dsengine::new(command).cwd(dir.path()).run().expect(code);
            assert!(out.stderr.contains("[E0302]"), "{}", out.stderr);
            // The runtime's own words are for debugging.
            assert!(out.stderr.lines().count() <= 8, "{}", out.stderr);
        }
    }
}
