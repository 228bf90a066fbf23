//! The head of an HTTP request of any content, to the page of a running engine; and of an answer, to what reads one.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use dsengine::admin::{self, Admin};
use dsengine::config::{self, Request};
use dsengine::engine::Engine;

struct Page {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _engine: Engine,
    _admin: Admin,
}

static PAGE: OnceLock<Page> = OnceLock::new();

fn start() -> Page {
    // libFuzzer's `main` leaves it deadly; Rust's own ignores it.
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default()).expect("a signal");
    let yaml = "sources: [{id: a, type: scene, uri: 'scene:empty?pixels=false&live=true'}]\n\
                monitoring: {prometheus: {port: 0}}\n";
    let config = dsengine_fuzz::file("config.yaml", yaml.as_bytes());
    let plan = config::load(&Request { config: Some(config), ..Request::default() }).expect("a plan").plan;
    let engine = Engine::builder(plan.clone()).start().expect("an engine");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let admin = admin::serve(runtime.handle(), &plan.admin, Arc::new(engine.handle().clone())).expect("a page");
    Page { address: admin.address(), _runtime: runtime, _engine: engine, _admin: admin }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Streams go on for as long as somebody reads them.
    if [&b"/live"[..], b"/events", b"/logs"].iter().any(|path| bytes.windows(path.len()).any(|part| part == *path)) {
        return;
    }
    let page = PAGE.get_or_init(start);
    dsengine_fuzz::converse(page.address, bytes);
});
