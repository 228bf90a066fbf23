//! Kinds of strategies, sources and handlers: what each takes, and how it is named.

use dsengine::config::{Plan, StrategyKind};

use crate::config::plan_of;

fn with_strategy(entry: &str) -> Result<Plan, String> {
    plan_of(&format!("sources: [{{id: a, uri: test}}]\ndetection: {{strategies: [{entry}]}}\n"))
}

#[test]
fn a_strategy_of_any_name_watches_for_motion_by_its_type() {
    let plan = with_strategy("{name: watch, type: motion, config: {min_area: 0.01}}").unwrap();
    assert_eq!(plan.strategies.len(), 1, "{:?}", plan.strategies);
    assert_eq!((plan.strategies[0].name.as_str(), &plan.strategies[0].kind), ("watch", &StrategyKind::Motion));
    let error = with_strategy("{name: watch, type: motion, config: {min_aera: 1}}").unwrap_err();
    assert!(error.contains("did you mean `min_area`?"), "{error}");
}

#[test]
fn a_type_that_other_keys_contradict_is_refused_in_its_place() {
    let error = with_strategy("{name: a, type: motion, module: a.lua}").unwrap_err();
    assert!(error.contains("`detection.strategies[0].type` is motion, but there is a `module`"), "{error}");
    assert!(error.contains("write module or leave `type` out"), "{error}");
    let error = with_strategy("{name: a, type: model}").unwrap_err();
    assert!(error.contains("strategy `a` is a model and has no `model_path`"), "{error}");
    let error = with_strategy("{name: a, type: modle, model_path: a.onnx}").unwrap_err();
    assert!(error.contains("Expected `model` or `module` or `motion`"), "{error}");
}

#[test]
fn a_type_that_agrees_says_nothing_new() {
    let told = with_strategy("{name: a, model_path: a.onnx}").unwrap();
    let said = with_strategy("{name: a, type: model, model_path: a.onnx}").unwrap();
    assert_eq!((said.models.len(), said.strategies.len()), (1, 0));
    assert_eq!((&said.models[0].name, said.models[0].interval), (&told.models[0].name, told.models[0].interval));
    assert_eq!(said.models[0].model.file_name(), told.models[0].model.file_name());
}

#[test]
fn a_key_of_another_kind_is_refused() {
    for (entry, expected) in [
        ("{name: a, model_path: a.onnx, mode: shadow}", "`mode` applies to a script or component"),
        ("{name: motion, labels_path: a}", "`labels_path` applies to a model"),
        ("{name: a, module: a.lua, interval: 2}", "`interval` applies to a model"),
    ] {
        let error = with_strategy(entry).unwrap_err();
        assert!(error.contains(expected), "{entry}: {error}");
    }
    let error = plan_of("sources: [{id: a, uri: test, parameters: {latency: 5}}]\n").unwrap_err();
    assert!(error.contains("`latency` is not a parameter of a test source"), "{error}");
    let error = plan_of("alerts: {handlers: [{name: file, config: {url: \"https://x/y\"}}]}\n").unwrap_err();
    assert!(error.contains("it takes backup_count, format, log_file, max_size_mb, rotate"), "{error}");
}
