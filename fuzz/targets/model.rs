//! A model of any content, read by the built-in runtime: its graph, shapes and metadata. It is not run: how long that
//! takes is the model's own matter.
#![no_main]

use std::sync::OnceLock;

use dsengine::config::{self, Plan, Request};
use dsengine::infer::{Choice, Model, Runtime, Search};

static START: OnceLock<(Plan, Runtime)> = OnceLock::new();

fn start() -> (Plan, Runtime) {
    let model = dsengine_fuzz::file("model.onnx", b"");
    let yaml = format!("detection:\n  strategies:\n    - {{name: objects, model_path: {}}}\n", model.display());
    let config = dsengine_fuzz::file("config.yaml", yaml.as_bytes());
    let plan = config::load(&Request { config: Some(config), ..Request::default() }).expect("a plan").plan;
    let (runtime, _) = Runtime::open(Choice::Rten, &Search::of_process(None)).expect("it is built in");
    (plan, runtime)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (plan, runtime) = START.get_or_init(start);
    dsengine_fuzz::file("model.onnx", bytes);
    drop(Model::described(&plan.models[0], runtime));
});
