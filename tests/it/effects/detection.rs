//! `detection` and its strategies: what is detected, by which model, and which script sees what.

use serde_json::Value;

use super::{Bench, LIMIT, LIVE, labels, model, poll, stop};
use crate::harness::get;

/// Three frames of a test picture, judged by a `detection` section; the last one's detections.
#[track_caller]
fn seen(bench: &Bench, pattern: &str, source: &str, detection: &str) -> Value {
    let config = format!(
        "sources: [{{ id: a, uri: 'test:pattern={pattern},frames=3,size=64x64'{source} }}]\n\
         detection: {{ {detection} }}\n"
    );
    bench.record(&config).pop().unwrap()
}

/// The three places in which a model's key may stand.
fn places(key: &str) -> [String; 3] {
    let path = model("colours");
    [
        format!("model_engine_file: {path}, {key}"),
        format!("strategies: [{{ name: m, model_path: {path}, {key} }}]"),
        format!("strategies: [{{ name: m, model_path: {path}, config: {{ {key} }} }}]"),
    ]
}

#[test]
fn weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say() {
    let bench = Bench::new();
    // On red, each of the model's 84 cells is a red box; those of the coarser grids lie over the finer ones.
    let count = |pattern, detection: &str| labels(&seen(&bench, pattern, "", detection)).len();
    for (key, strict, loose) in [("nms_threshold", "0.1", "0.5"), ("max_objects", "5", "100")] {
        for (strict, loose) in places(&format!("{key}: {strict}")).iter().zip(places(&format!("{key}: {loose}"))) {
            let (few, all) = (count("red", strict), count("red", &loose));
            assert!(few < all && all == 84 && (key != "max_objects" || few == 5), "{strict}: {few} of {all}");
        }
    }
    for (low, high) in places("confidence_threshold: 0.3").iter().zip(places("confidence_threshold: 0.95")) {
        let (all, sure) = (seen(&bench, "smpte", "", low), seen(&bench, "smpte", "", &high));
        let least = |frame: &Value| {
            let scores = frame["detections"].as_array().unwrap().iter().map(|d| d["confidence"].as_f64().unwrap());
            scores.fold(1.0, f64::min)
        };
        assert!(labels(&all).len() > labels(&sure).len() && !labels(&sure).is_empty(), "{low}");
        assert!((0.3..0.95).contains(&least(&all)) && least(&sure) >= 0.95, "{low}");
    }
}

#[test]
fn labels_outputs_and_layout_are_the_ones_that_are_named() {
    let bench = Bench::new();
    bench.write("named.txt", "rouge\nvert\nbleu\n");
    let path = model("colours");
    let first = |detection: &str| labels(&seen(&bench, "red", "", detection))[0].to_owned();
    assert_eq!(first(&format!("model_engine_file: {path}")), "red");
    assert_eq!(first(&format!("model_engine_file: {path}, labels_file: named.txt")), "rouge");
    assert_eq!(first(&format!("strategies: [{{ name: m, model_path: {path}, labels_path: named.txt }}]")), "rouge");
    // The same model twice in one file, with its classes in the other order in the second output.
    let twice = |key: &str| places(key).map(|place| place.replace("colours.onnx", "colours_twice.onnx"));
    for (output, label) in [("output0", "red"), ("output1", "blue")] {
        for place in twice(&format!("output_layers: [{output}]")) {
            assert_eq!(first(&place), label, "{place}");
        }
    }
    // What does not fit is refused before anything runs: the key is what makes the difference.
    let code = |detection: &str| {
        let source = "sources: [{ id: a, uri: 'test:pattern=red,frames=3,size=64x64' }]";
        bench.run(&format!("{source}\ndetection: {{ {detection} }}\n")).code()
    };
    for place in &places("layout: yolov8")[1..] {
        assert_eq!((code(place), code(&place.replace("yolov8", "yolox"))), (0, 2), "{place}");
    }
    for place in places("input_shape: [3, 64, 64]").map(|place| place.replace("colours.onnx", "colours_open.onnx")) {
        let without = place.replace("input_shape: [3, 64, 64]", "max_objects: 9");
        assert_eq!((code(&place), code(&without)), (0, 2), "{place}");
    }
}

#[test]
fn models_detect_and_are_followed_where_they_are_switched_on() {
    let bench = Bench::new();
    let path = model("colours");
    let strategy = format!("strategies: [{{ name: m, model_path: {path} }}]");
    for (detection, seen_red) in [
        (format!("model_engine_file: {path}"), true),
        (strategy.clone(), true),
        (strategy.replace("m,", "m, enabled: false,"), false),
        ("confidence_threshold: 0.5".to_owned(), false),
    ] {
        assert_eq!(labels(&seen(&bench, "red", "", &detection)).contains(&"red"), seen_red, "{detection}");
    }
    for (track, tracked) in [("true", true), ("false", false)] {
        let frame = seen(&bench, "red", "", &format!("model_engine_file: {path}, enable_tracking: {track}"));
        let ids = frame["detections"].as_array().unwrap().iter().map(|d| d["track_id"].is_u64());
        assert!(ids.len() > 0 && ids.clone().all(|id| id == tracked), "{frame}");
    }
    let frames = bench.record(&format!(
        "sources: [{{ id: a, uri: 'test:pattern=red,frames=3,size=64x64' }}, \
         {{ id: b, uri: 'test:pattern=red,frames=3,size=64x64' }}]\n\
         detection: {{ strategies: [{{ name: m, model_path: {path}, sources: [b] }}] }}\n"
    ));
    assert_eq!(frames.len(), 6);
    assert!(frames.iter().all(|frame| labels(frame).contains(&"red") == (frame["source"] == "b")));
}

#[test]
fn scripts_judge_the_sources_and_with_the_settings_that_they_are_given() {
    let bench = Bench::new();
    bench.write("people.lua", "function detect(frame) frame:drop(frame:select{ label = 'car' }) end\n");
    let sources = "sources: [{ id: a, uri: 'trace:steps.jsonl' }, { id: b, uri: 'trace:steps.jsonl', zones: { \
                   there: [[0.6, 0.6], [1, 0.6], [1, 1], [0.6, 1]] } }]\nzones: { here: [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]] }\n";
    let judged = |strategies: &str| {
        let config = format!(
            "{sources}detection: {{ strategies: [{strategies}] }}\n\
             alerts: {{ handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n"
        );
        let _ = std::fs::remove_file(bench.path("out.jsonl"));
        bench.command("run", &config, &["--port", "0", "--json", "--judgements", "judged.jsonl"]).run().expect(0);
        let frames = bench.lines("judged.jsonl");
        assert_eq!(frames.len(), 200);
        let of = |source: &str| frames.iter().find(|frame| frame["source"] == source).unwrap().clone();
        let mut alerts: Vec<String> =
            bench.lines("out.jsonl").iter().map(|a| format!("{}/{}", a["source"], a["key"]).replace('"', "")).collect();
        alerts.sort();
        (of("a"), of("b"), alerts.join(" "))
    };
    let (a, b, alerts) = judged("{ name: alarm, module: alarm.lua }, { name: off, module: alarm.lua, enabled: false }");
    assert_eq!((&a["generations"], &b["generations"]), (&serde_json::json!({ "alarm": 1 }), &a["generations"]));
    assert_eq!((alerts.as_str(), a["detections"].as_u64()), ("a/car a/person b/car b/person", Some(2)));

    // Limited to one source, and under another name.
    let (a, b, alerts) = judged("{ name: bell, module: alarm.lua, sources: [b] }");
    assert_eq!((&a["generations"], &b["generations"]), (&serde_json::json!({}), &serde_json::json!({ "bell": 1 })));
    assert_eq!(alerts, "b/car b/person");

    // Another script, which may or may not take detections away.
    let (a, ..) = judged("{ name: people, module: people.lua }");
    assert_eq!(a["detections"], 2);
    let (a, _, alerts) =
        judged("{ name: people, module: people.lua, filters: true }, { name: alarm, module: alarm.lua }");
    assert_eq!((a["detections"].as_u64(), alerts.as_str()), (Some(1), "a/person b/person"));

    // Its settings name a zone: everybody's, or one source's own.
    let (.., alerts) = judged("{ name: alarm, module: alarm.lua, config: { zone: here } }");
    assert_eq!(alerts, "a/person b/person");
    let (.., alerts) = judged("{ name: alarm, module: alarm.lua, sources: [b], config: { zone: there } }");
    assert_eq!(alerts, "b/car");
}

#[test]
fn files_of_a_model_that_change_are_loaded_again_or_said() {
    let bench = Bench::new();
    let replace = |name: &str, bytes: &[u8]| {
        std::fs::write(bench.path("new"), bytes).unwrap();
        std::fs::rename(bench.path("new"), bench.path(name)).unwrap();
    };
    let whole = std::fs::read(model("colours")).unwrap();
    replace("m.onnx", &whole);
    bench.write("names.txt", "rouge\nvert\nbleu\n");
    let mut run = bench.start(&format!("{LIVE}detection: {{ model_engine_file: m.onnx, labels_file: names.txt }}\n"));
    let page = run.page();
    let status = || serde_json::from_str::<Value>(&get(&page, "/api/v1/status").1).unwrap();
    let seen = |label: &str| status()["sources"][0]["detections"][label].as_u64();
    let problem = |part: &str| status()["problems"].to_string().contains(part);
    poll(&mut run, || seen("rouge"));
    replace("names.txt", b"rot\ngruen\nblau\n");
    run.wait_line(LIMIT, |line| line.contains("models loaded again"));
    poll(&mut run, || seen("rot"));
    assert!(!problem("on disk"), "{}", status());
    // What cannot be loaded changes nothing, and is said until it can.
    replace("m.onnx", b"this is not a network");
    poll(&mut run, || problem("changed models are not loaded: ").then_some(()));
    assert!(problem("m.onnx has changed on disk"), "{}", status());
    let judged = || status()["sources"][0]["judged"].as_u64().unwrap();
    let before = judged();
    poll(&mut run, || (judged() > before).then_some(()));
    std::fs::remove_file(bench.path("m.onnx")).unwrap();
    poll(&mut run, || problem("m.onnx is gone: ").then_some(()));
    replace("m.onnx", &whole);
    poll(&mut run, || (!problem("m.onnx") && !problem("not loaded")).then_some(()));
    stop(run);
}
