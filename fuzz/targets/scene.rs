//! A scripted street of any content: where it is read, its first truth can be told.
#![no_main]

use dsengine::scene::Scene;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(scene) = Scene::parse(text, "scene.yaml") {
        drop((scene.zones(), scene.truth(0)));
    }
});
