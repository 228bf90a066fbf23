//! GStreamer's own log lines, through `tracing` and without secrets.

use std::env;

use gstreamer as gst;
use gstreamer::DebugLevel;

use crate::error::{Code, Error};
use crate::telemetry::redact;

/// The `tracing` target of GStreamer's lines.
const TARGET: &str = "gstreamer";

/// Takes GStreamer's log away from standard error and sends it through `tracing` (target `gstreamer`), URIs
/// redacted. Lines up to `threshold` are let through, errors as debugging; where `GST_DEBUG` is set, it decides
/// instead, and errors are errors.
/// For the process as a whole, as GStreamer's log is: the binary calls it once, the library never does.
///
/// # Errors
/// [`Code::Pipeline`] when GStreamer does not start.
pub fn log_to_tracing(threshold: DebugLevel) -> Result<(), Error> {
    // Before GStreamer starts, so that its first lines take this way too.
    gst::log::remove_default_log_function();
    let asked_for = env::var_os("GST_DEBUG").is_some();
    gst::log::add_log_function(move |category, level, _file, _function, _line, object, message| {
        let text = message.get().map(|text| text.to_string()).unwrap_or_default();
        let object = object.map(ToString::to_string).unwrap_or_default();
        let (text, category) = (redact(&text), category.name());
        match level {
            // An element's error reaches us as a message too, and is told with its source; nobody needs it five times.
            DebugLevel::Error if !asked_for => tracing::debug!(target: TARGET, category, object, "{text}"),
            DebugLevel::Error => tracing::error!(target: TARGET, category, object, "{text}"),
            DebugLevel::Warning | DebugLevel::Fixme => tracing::warn!(target: TARGET, category, object, "{text}"),
            DebugLevel::Info => tracing::info!(target: TARGET, category, object, "{text}"),
            DebugLevel::Debug => tracing::debug!(target: TARGET, category, object, "{text}"),
            _ => tracing::trace!(target: TARGET, category, object, "{text}"),
        }
    });
    gst::init().map_err(|error| Error::new(Code::Pipeline, format!("GStreamer does not start: {error}")))?;
    // GStreamer read GST_DEBUG itself when it started; it must only not be overruled.
    if !asked_for {
        gst::log::set_default_threshold(threshold);
    }
    gst::log::set_active(true);
    Ok(())
}
