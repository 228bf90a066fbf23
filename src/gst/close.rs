//! Shutting a pipeline down within a time limit.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::own::Thread;

/// Longest wait for a pipeline to shut down.
const CLOSE_MS_MAX: u64 = 2_000;

/// Shuts `pipeline` down. An element can block for ever (a server that does not answer, a driver, an encoder), so this
/// runs on its own thread, which is abandoned, with an error in the log, when it takes too long.
pub(super) fn close(pipeline: &gst::Pipeline) {
    let closing = pipeline.clone();
    let thread = Thread::start("gst-close", move |_| {
        // `Null` is refused only by a broken element, and there is no further remedy.
        let _ = closing.set_state(gst::State::Null);
    });
    match thread {
        Ok(mut thread) => {
            if !thread.join(Duration::from_millis(CLOSE_MS_MAX)) {
                tracing::error!(limit_ms = CLOSE_MS_MAX, "a pipeline does not shut down; it is left behind");
            }
        }
        Err(error) => {
            tracing::error!(%error, "no thread to shut a pipeline down; shutting it down here");
            let _ = pipeline.set_state(gst::State::Null);
        }
    }
}
