//! `sources`: what is read, how much of it, and how fast.

use serde_json::Value;

use super::{Bench, labels, model, poll, shortest, stop};
use crate::harness::{Dsengine, get, sample};

#[test]
fn a_test_source_shows_what_its_parameters_say() {
    let bench = Bench::new();
    let record = |parameters: &str| {
        bench.record(&format!(
            "sources: [{{ id: a, type: test, uri: test, parameters: {{ {parameters} }} }}]\n\
             detection: {{ model_engine_file: {} }}\n",
            model("colours")
        ))
    };
    let red = record("pattern: red, frames: 3, width: 64, height: 64, framerate: 10");
    let blue = record("pattern: blue, num-buffers: 5, width: 128, height: 96, framerate: 20/1");
    let facts = |frames: &[Value]| {
        let last = frames.last().unwrap();
        let number = |key: &str| last[key].as_u64().unwrap();
        (frames.len(), number("width"), number("height"), number("pts_ns"), labels(last)[0].to_owned())
    };
    assert_eq!(facts(&red), (3, 64, 64, 200_000_000, "red".to_owned()));
    assert_eq!(facts(&blue), (5, 128, 96, 200_000_000, "blue".to_owned()));
}

#[test]
fn a_sources_own_threshold_holds_for_it_alone() {
    let bench = Bench::new();
    let frames = bench.record(&format!(
        "sources: [{{ id: a, uri: 'test:pattern=smpte,frames=3,size=64x64' }}, \
         {{ id: b, uri: 'test:pattern=smpte,frames=3,size=64x64', confidence_threshold: 0.95 }}]\n\
         detection: {{ confidence_threshold: 0.3, model_engine_file: {} }}\n",
        model("colours")
    ));
    let count = |id: &str| labels(frames.iter().rfind(|frame| frame["source"] == id).unwrap()).len();
    assert!(count("a") > count("b") && count("b") > 0, "{} {}", count("a"), count("b"));
}

#[test]
fn a_frame_has_so_many_detections_at_most_the_best_ones() {
    let bench = Bench::new();
    let record = |most: &str| bench.record(&format!("sources: [{{ id: a, uri: 'trace:steps.jsonl'{most} }}]\n"));
    assert_eq!(labels(&record("")[0]), ["person", "car"]);
    assert!(record(", max_objects: 1").iter().all(|frame| labels(frame) == ["car"]), "the one of the higher score");
    let seen = |most: &str| {
        let frames = bench.record(&format!(
            "sources: [{{ id: a, uri: 'test:pattern=smpte,frames=3,size=64x64'{most} }}]\n\
             detection: {{ confidence_threshold: 0.3, model_engine_file: {} }}\n",
            model("colours")
        ));
        labels(frames.last().unwrap()).len()
    };
    assert!(seen("") > 2);
    assert_eq!(seen(", max_objects: 2"), 2, "the objects of a model count, too");
}

#[test]
fn a_sources_name_for_people_is_shown_beside_its_id() {
    let bench = Bench::new();
    let mut run = bench.start("sources: [{ id: a, uri: 'test:size=64x64,fps=5', name: North gate }]\n");
    let page = run.page();
    let status = |address: &str| serde_json::from_str::<Value>(&get(address, "/api/v1/status").1).unwrap();
    assert_eq!(status(&page)["sources"][0]["name"], "North gate");
    let list = Dsengine::new(["sources", "list", "--at", &page]).run().expect(0);
    assert!(list.stdout.contains("name: North gate"), "{}", list.stdout);
    let set = ["sources", "set", "a", "name=South gate", "--at", &page];
    let set = Dsengine::new(set).run().expect(0);
    assert!(set.stdout.contains("source a"), "{}", set.stdout);
    let status = status(&page);
    assert_eq!(status["sources"][0]["name"], "South gate");
    assert_eq!(status["sources"][0]["reconnects"], 0, "its pipeline goes on");
}

#[test]
fn pictures_beyond_a_size_are_scaled_down_and_keep_their_shape() {
    let bench = Bench::new();
    let size = |pipeline: &str| {
        let frames = bench.record(&format!(
            "sources: [{{ id: a, uri: 'test:pattern=red,frames=3,size=640x360' }}]\n\
             pipeline: {{ {pipeline} }}\ndetection: {{ model_engine_file: {} }}\n",
            model("colours")
        ));
        let last = frames.last().unwrap();
        assert_eq!(labels(last)[0], "red", "what is seen stays");
        (last["width"].as_u64().unwrap(), last["height"].as_u64().unwrap())
    };
    assert_eq!(size(""), (640, 360));
    assert_eq!(size("processing_width: 320"), (320, 180));
    assert_eq!(size("processing_height: 90"), (160, 90));
    assert_eq!(size("processing_width: 320, processing_height: 90"), (160, 90));
    assert_eq!(size("processing_width: 1280, processing_height: 720"), (640, 360), "none is enlarged");
}

#[test]
fn so_many_pictures_of_a_source_are_held_at_most() {
    let bench = Bench::new();
    bench.write("slow.lua", "function detect(frame)\n  local n = 0\n  for i = 1, 1e12 do n += i end\nend\n");
    let held = |pipeline: &str, wanted: f64| {
        let mut run = bench.start(&format!(
            "sources: [{{ id: a, uri: 'test:pattern=red,frames=200,size=64x64' }}]\npipeline: {{ {pipeline} }}\n\
             monitoring: {{ thread_pool_size: 16 }}\ndetection: {{ strategies: [{{ name: slow, module: slow.lua, \
             limits: {{ hard_ms: 2000, wall_ms: 60000 }} }}] }}\n"
        ));
        let page = run.page();
        let mut most: f64 = 0.0;
        // The first rule is busy for two seconds; meanwhile the source offers what it may.
        poll(&mut run, || {
            let page = get(&page, "/metrics").1;
            let of = |series: &str| sample(&page, &format!("{series}{{source=\"a\"}}")).unwrap_or(0.0);
            let (decoded, judged) = (of("dsengine_frames_decoded_total"), of("dsengine_frames_total"));
            most = most.max(decoded - judged);
            (most >= wanted || judged >= 1.0).then_some(())
        });
        most
    };
    let free = held("batch_size: 1", 18.0);
    assert!(free >= 18.0, "{free}: two more than there are workers");
    let few = held("batch_size: 1, buffer_pool_size: 5", 7.0);
    assert!((5.0..=6.0).contains(&few), "{few}: five, and the one that waits for room");
}

#[test]
fn a_scene_shows_what_its_parameters_say() {
    let bench = Bench::new();
    let source =
        |keys: &str| format!("sources: [{{ id: a, type: scene, uri: scene.yaml, parameters: {{ {keys} }} }}]\n");
    let boxes = |keys: &str| -> Vec<Value> {
        bench.record(&source(keys)).iter().flat_map(|f| f["detections"].as_array().unwrap().clone()).collect()
    };
    let (one, two) = (boxes("pixels: false, seed: 1"), boxes("pixels: false, seed: 2"));
    assert_eq!(one, boxes("pixels: false, seed: 1"), "the same seed, the same scene");
    assert_ne!(one, two);
    assert!(one.iter().all(|d| d["label"] == "person"), "without pixels, the truth itself");
    let drawn = boxes("pixels: true");
    assert!(!drawn.is_empty() && drawn.iter().all(|d| d["label"] == "motion"), "with pixels, what is seen in them");
    let seconds = |keys: &str| bench.summary(&source(keys))["seconds"].as_f64().unwrap();
    let fast = shortest(1.5, || seconds("pixels: false, live: false"));
    let live = seconds("pixels: false, live: true");
    assert!(fast < 1.5 && live > 1.8, "{fast} {live}");
    // A rule that takes longer than a frame lasts: what comes live does not wait for it, the rest does.
    bench.write("slow.lua", "function detect(frame)\n  local n = 0\n  for i = 1, 1e9 do n += i end\nend\n");
    let slow = |keys: &str| {
        let limits = "limits: { hard_ms: 300, wall_ms: 60000 }";
        let rule = format!("detection: {{ strategies: [{{ name: slow, module: slow.lua, {limits} }}] }}\n");
        let out = bench.run(&format!("{}{rule}", source(keys)));
        let summary = out.json();
        let source = &summary["sources"][0];
        let dropped =
            source["dropped"]["overload"].as_u64().unwrap_or(0) + source["dropped"]["late"].as_u64().unwrap_or(0);
        (source["judged"].as_u64().unwrap(), dropped)
    };
    let (judged, dropped) = slow("pixels: false, live: false");
    assert_eq!((judged, dropped), (20, 0), "nothing of a finite source is lost");
    let (judged, dropped) = slow("pixels: false, live: true");
    assert!(judged < 20 && dropped > 0, "{judged} judged, {dropped} dropped");
}

#[test]
fn a_file_and_a_scene_begin_again_where_they_are_told_to() {
    let bench = Bench::new();
    let (clip, scene) = (bench.path("clip.mp4").display().to_string(), bench.path("scene.yaml").display().to_string());
    Dsengine::new(["scene", "render", &clip, "--scene", &scene]).run().expect(0);
    let mut run = bench.start(
        "sources:\n  - { id: clip, uri: clip.mp4, parameters: { loop: true } }\n\
         \x20 - { id: drawn, uri: 'scene:scene.yaml?pixels=false&loop=true' }\n\
         \x20 - { id: parts, type: scene, uri: scene.yaml, parameters: { pixels: false, loop: true } }\n\
         \x20 - { id: once, uri: clip.mp4 }\n",
    );
    let page = run.page();
    let judged = || -> Vec<u64> {
        let health: Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
        let of = |id: &str| health["sources"].as_array().unwrap().iter().find(|s| s["id"] == id).unwrap().clone();
        ["clip", "drawn", "parts", "once"].map(|id| of(id)["judged"].as_u64().unwrap()).to_vec()
    };
    let counts = poll(&mut run, || Some(judged()).filter(|counts| counts[..3].iter().all(|count| *count > 50)));
    assert!(counts[3] <= 20, "{counts:?}");
    stop(run);
}

#[test]
fn a_file_plays_at_its_own_pace_where_it_is_told_to() {
    let bench = Bench::new();
    let clip = bench.path("clip.mp4").display().to_string();
    let scene = bench.path("scene.yaml").display().to_string();
    Dsengine::new(["scene", "render", &clip, "--scene", &scene]).run().expect(0);
    for (keys, paced) in [("", false), (", realtime: true", true), (", parameters: { realtime: true }", true)] {
        let seconds = shortest(if paced { f64::MAX } else { 1.7 }, || {
            let summary = bench.summary(&format!("sources: [{{ id: a, uri: clip.mp4{keys} }}]\n"));
            assert_eq!(summary["sources"][0]["judged"], 20);
            summary["seconds"].as_f64().unwrap()
        });
        assert_eq!(seconds > 1.7, paced, "{keys}: {seconds} s");
    }
}

#[test]
fn the_summary_has_the_sources_that_are_listed_and_switched_on() {
    let bench = Bench::new();
    let summary = bench.summary(
        "sources:\n  - { id: gate, type: trace, uri: steps.jsonl }\n  - { id: few, type: trace, uri: steps.jsonl, fps: 5 }\n\
         \x20 - { id: drawn, uri: 'scene:scene.yaml?pixels=false', fps: 4 }\n  - { id: yard, uri: 'test:frames=60,fps=30' }\n\
         \x20 - { id: slow, uri: 'test:frames=60,fps=30', fps: 5 }\n  - { id: off, uri: test, enabled: false }\n\
         pipeline: { fps: 20 }\n",
    );
    let sources = summary["sources"].as_array().unwrap();
    let told: Vec<_> = sources.iter().map(|s| (s["source"].as_str().unwrap(), s["judged"].as_u64().unwrap())).collect();
    // The trace has its ten frames a second, the others what the pipeline or they themselves allow.
    assert_eq!(told, [("gate", 100), ("few", 50), ("drawn", 8), ("yard", 40), ("slow", 10)], "{summary}");
    // The same bare word without its type is a media file, and this one is none.
    let out = bench.run("sources: [{ id: gate, uri: steps.jsonl }]\n").expect(1);
    assert!(!out.json()["sources"][0]["broken"].is_null());
}
