//! Pictures of alerts from what is kept of a camera's encoded stream: larger than the frames that are analysed.

use std::sync::Arc;
use std::time::Duration;

use super::{Kept, Pictures, Shot};
use crate::types::{InEvidence, Picture, SourceId};

/// Longest wait for a picture that has not arrived yet: the kept stream may be later than the analysed one.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Where the pictures of a source's alerts come from, in place of its frames.
pub trait Stills: Send + Sync {
    /// Where a moment of the source's frames is in it.
    fn mark(&self) -> InEvidence;

    /// The picture at a moment of the source's frames (Unix time, nanoseconds). Waits at most `wait` for it, and
    /// decodes it. `None` if there is none.
    fn still(&self, at_ns: u64, wait: Duration) -> Option<Picture>;
}

impl Pictures {
    /// Takes the pictures of a source's alerts from here from now on; from its frames with `None`.
    pub fn take_from(&self, source: &SourceId, stills: Option<Arc<dyn Stills>>) {
        let Some(kept) = self.0.get() else { return };
        let mut all = kept.stills.lock();
        match stills {
            Some(stills) => drop(all.insert(source.clone(), stills)),
            None => drop(all.remove(source)),
        }
    }

    /// Where a moment of a source is in what is kept of it.
    pub(in crate::alert) fn mark(&self, source: &SourceId) -> Option<InEvidence> {
        self.0.get()?.stills_of(source).map(|stills| stills.mark())
    }
}

impl Kept {
    fn stills_of(&self, source: &SourceId) -> Option<Arc<dyn Stills>> {
        self.stills.lock().get(source).cloned()
    }

    /// The shot with the picture of the kept stream, if there is one. Its boxes and zones are shares of the picture, so
    /// both streams must show the same.
    pub(super) fn with_still(&self, source: &SourceId, shot: Shot) -> Shot {
        match (shot, self.stills_of(source)) {
            (Shot::Frame { picture, at_ns, detections, raised, zones }, Some(stills)) => {
                let picture = stills.still(at_ns, WAIT_MAX).unwrap_or_else(|| {
                    tracing::debug!(source = %source, "the picture of an alert is that of its frame");
                    picture
                });
                Shot::Frame { picture, at_ns, detections, raised, zones }
            }
            (shot, _) => shot,
        }
    }
}
