//! What an overloaded engine gives up, and how it gets it back.

use serde_json::{Value, json};

use super::{Bench, poll, stop};
use crate::harness::{get, request, sample, soak, testdata};

/// What `/health` says.
fn health(page: &str) -> Value {
    serde_json::from_str(&get(page, "/health").1).unwrap()
}

/// Judges for longer than the time between two frames.
const HEAVY: &str = "function detect(frame)\n  local x = 0\n  for i = 1, 5000000 do x += i % 7 end\nend\n";

#[test]
fn an_overloaded_engine_skips_optional_strategies_then_refuses_sources() {
    let bench = Bench::new();
    bench.write("heavy.lua", HEAVY);
    bench.write("extra.lua", "function detect(frame) end\n");
    let config = |monitoring: &str| {
        format!(
            "pipeline: {{ fps: 100 }}\n\
             sources: [{{ id: a, uri: 'test:size=64x64,fps=100' }}, {{ id: b, uri: 'test:size=64x64,fps=100' }}]\n\
             detection: {{ strategies: [\
             {{ name: heavy, module: heavy.lua, limits: {{ hard_ms: 1000, wall_ms: 60000 }} }}, \
             {{ name: extra, module: extra.lua, optional: true }}] }}\n\
             alerts: {{ handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n\
             monitoring: {{ {monitoring} }}\n"
        )
    };
    let (mut run, mut careless) = (bench.start(&config("")), bench.start(&config("degradation: false")));
    let (page, other) = (run.page(), careless.page());
    let step = |page: &str| sample(&get(page, "/metrics").1, "dsengine_degraded_step").unwrap();
    let problem = poll(&mut run, || {
        let health = health(&page);
        (step(&page) >= 1.0).then(|| (health["health"].clone(), health["problems"].to_string()))
    });
    assert_eq!(problem.0, "degraded");
    assert!(problem.1.contains("of the live frames are replaced by newer ones"), "{}", problem.1);
    // The optional strategy is skipped, the other one is not.
    poll(&mut run, || (step(&page) >= 2.0).then_some(()));
    let count = |series: &str| sample(&get(&page, "/metrics").1, series).unwrap_or(0.0);
    let calls = |rule: &str| count(&format!("dsengine_strategy_calls_total{{source=\"a\",strategy=\"{rule}\"}}"));
    let left_out = "dsengine_strategy_limited_total{source=\"a\",strategy=\"extra\",what=\"overload\"}";
    poll(&mut run, || (count(left_out) > 0.0).then_some(()));
    let before = (calls("heavy"), calls("extra"));
    poll(&mut run, || (calls("heavy") > before.0 + 2.0).then_some(()));
    assert_eq!(calls("extra"), before.1);
    // At last no source is added, while others may go.
    poll(&mut run, || (step(&page) >= 3.0).then_some(()));
    let entry = json!({ "id": "c", "uri": "test:size=64x64,fps=5" }).to_string();
    let (status, told) = request("POST", &page, "/api/v1/sources", &entry);
    assert!(status >= 400 && told.contains("source c is not added: the engine is overloaded"), "{status} {told}");
    let (status, told) = request("DELETE", &page, "/api/v1/sources/b", "");
    assert_eq!(status, 200, "{told}");
    let alerts = poll(&mut run, || Some(bench.lines("out.jsonl")).filter(|alerts| alerts.len() >= 3));
    let about: Vec<[&str; 3]> =
        alerts.iter().map(|alert| ["source", "rule", "key"].map(|key| alert[key].as_str().unwrap())).collect();
    let expected = ["frames", "optional", "additions"].map(|key| ["engine", "system.degraded", key]);
    assert_eq!(about, expected);
    // Nothing of this where it is switched off.
    assert_eq!(step(&other), 0.0);
    assert!(!health(&other)["problems"].to_string().contains("overloaded"));
    assert_eq!(request("POST", &other, "/api/v1/sources", &entry).0, 201);
    stop(careless);
    if soak() {
        // Without the load it is undone, one step after the other.
        assert_eq!(request("PATCH", &page, "/api/v1/sources/a", "{\"fps\": 1}").0, 200);
        for below in [3.0, 2.0, 1.0] {
            poll(&mut run, || (step(&page) < below).then_some(()));
        }
        poll(&mut run, || (health(&page)["health"] == "healthy").then_some(()));
        assert_eq!(request("POST", &page, "/api/v1/sources", &entry).0, 201);
    }
    stop(run);
}

#[test]
fn under_overload_sources_are_analysed_by_their_priority() {
    let name = "under_overload_sources_are_analysed_by_their_priority";
    let Some(model) = testdata(name, "models/yolox_nano_416.onnx") else { return };
    let model = model.canonicalize().unwrap().display().to_string();
    let bench = Bench::new();
    // Priorities of two sources, and the least and the most frames of the first for each of the second.
    for (priorities, least, most) in [([10, 1], 3.0, 12.0), ([4, 4], 0.6, 1.6)] {
        let source =
            |id: &str, priority: u32| format!("{{ id: {id}, priority: {priority}, uri: 'test:size=64x64,fps=120' }}");
        let mut run = bench.start(&format!(
            "pipeline: {{ fps: 120 }}\nsources: [{}, {}]\nthread_pool_size: 1\n\
             detection: {{ strategies: [{{ name: m, model_path: {model} }}] }}\n",
            source("a", priorities[0]),
            source("b", priorities[1])
        ));
        let page = run.page();
        let judged = |id: &str| {
            sample(&get(&page, "/metrics").1, &format!("dsengine_frames_total{{source=\"{id}\"}}")).unwrap_or(0.0)
        };
        poll(&mut run, || (judged("a") > 5.0 && judged("b") > 1.0).then_some(()));
        let from = [judged("a"), judged("b")];
        let share = poll(&mut run, || {
            let now = [judged("a") - from[0], judged("b") - from[1]];
            (now[0] + now[1] >= 66.0).then(|| now[0] / now[1])
        });
        println!("priorities {priorities:?}: {share:.1} frames of the first for each of the second");
        assert!((least..=most).contains(&share), "{priorities:?}: {share}");
        stop(run);
    }
}
