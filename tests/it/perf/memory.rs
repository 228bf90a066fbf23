//! A script's old versions leave nothing behind.

use dsengine::lua;

use crate::harness::rss_kib;
use crate::lua::{camera_of, person, script, shipped, with_config};

#[test]
fn a_thousand_loads_leave_memory_flat() {
    let text = std::fs::read_to_string(shipped("loitering.lua")).unwrap();
    let config = serde_json::json!({ "zone": "door", "seconds": 1 });
    let script = with_config(script(&text), config);
    let mut camera = camera_of(script.clone());
    let mut resident = Vec::new();
    for n in 0..1000 {
        camera.strategy = lua::load(script.clone()).unwrap();
        camera.see(vec![person(0.6, 0.5, 0.9)]).unwrap();
        if n == 200 || n == 999 {
            resident.push(rss_kib(std::process::id()));
        }
    }
    println!("resident after 200 and 1,000 loads: {resident:?} KiB");
    // A VM that stayed would be 0.6 MiB, 800 times.
    assert!(resident[1] < resident[0] + (8 << 10), "{resident:?}");
}
