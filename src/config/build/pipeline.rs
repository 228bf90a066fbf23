//! Builds what `pipeline` says of pictures and batches.

use std::time::Duration;

use super::Site;
use crate::config::plan::{PictureMax, SourcePlan};
use crate::config::schema::Pipeline;

/// A side that no picture exceeds, in pixels.
const SIDE_MAX: u32 = 16_384;

/// The sources with the bounds of `pipeline` on their pictures: one side that is set leaves the other free.
pub(super) fn bounded(mut sources: Vec<SourcePlan>, pipeline: &Pipeline) -> Vec<SourcePlan> {
    let (width, height) = (pipeline.processing_width, pipeline.processing_height);
    let side = |set: Option<u32>| set.unwrap_or(SIDE_MAX);
    let most = PictureMax { width: side(width), height: side(height) };
    for source in &mut sources {
        source.picture_max = (width.is_some() || height.is_some()).then_some(most);
        source.frames_held_max = pipeline.buffer_pool_size;
    }
    sources
}

/// How long a partial batch waits, in whichever unit it is set.
pub(super) fn batch_timeout(pipeline: &Pipeline, site: &mut Site<'_>) -> Duration {
    let Pipeline { batch_timeout_ms, batch_timeout_us, .. } = *pipeline;
    if let (Some(_), Some(_)) = (batch_timeout_ms, batch_timeout_us) {
        let label = "set one of `batch_timeout_ms` and `batch_timeout_us`";
        site.wrong_key("pipeline.batch_timeout_us", "the batch timeout is set twice", label);
    }
    match (batch_timeout_ms, batch_timeout_us) {
        (Some(ms), _) => Duration::from_secs_f64(ms / 1e3),
        (None, Some(us)) => Duration::from_micros(us.into()),
        (None, None) => Duration::from_millis(40),
    }
}
