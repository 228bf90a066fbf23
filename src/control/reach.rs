//! The files of this machine that sources open. A token that is limited to sources may not make them open others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{DetectionsFrom, Input};
use crate::scene::Scene;
use crate::types::SourceId;

/// The path of the first key whose source opens a file that it opens in none of the configurations `known`.
pub(super) fn first_other(inputs: &BTreeMap<SourceId, Input>, known: &[&BTreeMap<SourceId, Input>]) -> Option<String> {
    inputs.iter().find_map(|(id, input)| {
        let before: Vec<_> = known.iter().filter_map(|known| known.get(id)).filter_map(opened).collect();
        let (key, _) = opened(input).filter(|(_, file)| before.iter().all(|(_, other)| other != file))?;
        Some(format!("sources[{id}].{key}"))
    })
}

/// The file that an input opens, with the key that names it.
fn opened(input: &Input) -> Option<(&'static str, PathBuf)> {
    match input {
        Input::File(path) | Input::Trace(path) => Some(("uri", path.clone())),
        // Any other name is a path, whatever it ends with.
        Input::Scene { name, .. } => Scene::shipped().all(|shipped| shipped != name).then(|| ("uri", name.into())),
        Input::Rtsp(camera) => camera.ca_file.clone().map(|file| ("parameters.ca_file", file)),
        Input::Web(web) => web.ca_file.clone().map(|file| ("parameters.ca_file", file)),
        Input::Images(images) => Some(("uri", images.folder.clone())),
        Input::Webcam(webcam) => Some(("uri", webcam.device.clone())),
        // Its elements may open any device and reach any host.
        Input::Chain { chain, .. } => Some(("uri", chain.into())),
        Input::Detections(plan) => match &plan.from {
            DetectionsFrom::Mqtt(topic) => topic.ca_file.clone().map(|file| ("parameters.ca_file", file)),
            DetectionsFrom::Post => None,
        },
        Input::Webrtc(_) | Input::Test { .. } => None,
    }
}
