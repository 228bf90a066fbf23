//! A script's old versions leave nothing behind.

use dsengine::lua::{self, Script};
use dsengine::strategy::Watchdog;

use crate::harness::rss_kib;
use crate::lua::{camera_of, person, script, shipped};

#[test]
fn a_thousand_loads_leave_memory_flat() {
    let watchdog = Watchdog::start().unwrap();
    let text = std::fs::read_to_string(shipped("loitering.lua")).unwrap();
    let config = serde_json::json!({ "zone": "door", "seconds": 1 });
    let mut camera = camera_of(Script { config: config.clone(), ..script(&text) });
    let mut resident = Vec::new();
    for n in 0..1000 {
        camera.strategy = lua::load(Script { config: config.clone(), ..script(&text) }, &watchdog).unwrap();
        camera.see(vec![person(0.6, 0.5, 0.9)]).unwrap();
        if n == 200 || n == 999 {
            resident.push(rss_kib(std::process::id()));
        }
    }
    println!("resident after 200 and 1,000 loads: {resident:?} KiB");
    // A VM that stayed would be 0.6 MiB, 800 times.
    assert!(resident[1] < resident[0] + (8 << 10), "{resident:?}");
}
