//! A rule of any text: it loads within its limits, or says why not.
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use dsengine::config::{self, Plan, Request};
use dsengine::engine::Engine;

static PLAN: OnceLock<Plan> = OnceLock::new();

fn plan() -> Plan {
    let rule = dsengine_fuzz::file("rule.lua", b"function detect(frame) end");
    let yaml = format!(
        "sources: [{{id: a, type: scene, uri: 'scene:empty?pixels=false'}}]\n\
         detection: {{strategies: [{{name: rule, module: {}}}]}}\nmonitoring: {{enabled: false}}\n",
        rule.display()
    );
    let config = dsengine_fuzz::file("config.yaml", yaml.as_bytes());
    config::load(&Request { config: Some(config), ..Request::default() }).expect("a plan").plan
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let plan = PLAN.get_or_init(plan);
    dsengine_fuzz::file("rule.lua", bytes);
    if let Ok(engine) = Engine::builder(plan.clone()).start() {
        drop(engine.drain(Duration::from_millis(100)));
    }
});
