//! Answers of any content to everything that is asked of a camera.
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use dsengine::config::{self, Plan, Request};
use dsengine::engine::Engine;
use dsengine_fuzz::Answerer;

static START: OnceLock<(Answerer, Plan)> = OnceLock::new();

fn start() -> (Answerer, Plan) {
    let camera = Answerer::start();
    let yaml = format!(
        "sources: [{{id: a, type: rtsp, uri: 'rtsp://{}/a', timeout: 0.5}}]\nrecovery: {{max_retries: 0}}\n\
         monitoring: {{enabled: false}}\n",
        camera.address()
    );
    let config = dsengine_fuzz::file("config.yaml", yaml.as_bytes());
    (camera, config::load(&Request { config: Some(config), ..Request::default() }).expect("a plan").plan)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (camera, plan) = START.get_or_init(start);
    camera.set(bytes);
    let engine = Engine::builder(plan.clone()).start().expect("an engine");
    engine.handle().wait(Duration::from_millis(300));
    drop(engine.drain(Duration::from_millis(100)));
});
