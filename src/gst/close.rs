//! Shutting a pipeline down within a time limit.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::own::Thread;

/// How long anybody waits for a pipeline to shut down before going on without it.
const CLOSE_MS_MAX: u64 = 2_000;

/// Shuts `pipeline` down. That can hang inside an element (a server that no longer answers, a driver, an encoder),
/// so it happens on a thread of its own, which is left behind, with a line in the log, when it takes too long.
pub(super) fn close(pipeline: &gst::Pipeline) {
    let closing = pipeline.clone();
    let thread = Thread::start("gst-close", move |_| {
        // Going down to nothing fails only where an element is broken, and then nobody can do more.
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
