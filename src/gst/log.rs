//! Forwards GStreamer's log to `tracing`, with secrets redacted.

use std::env;

use gstreamer as gst;
use gstreamer::DebugLevel;

use crate::error::{Code, Error};
use crate::telemetry::redact;

/// The `tracing` target for GStreamer's log.
const TARGET: &str = "gstreamer";

/// Removes GStreamer's log from standard error and sends it to `tracing` (target `gstreamer`), with URIs redacted.
/// Lines up to `threshold` pass, errors at debug level; where `GST_DEBUG` is set, it decides instead, and errors stay
/// errors. This affects the whole process, so only the binary calls it, and only once.
///
/// # Errors
/// [`Code::Pipeline`] when GStreamer does not start.
pub fn log_to_tracing(threshold: DebugLevel) -> Result<(), Error> {
    // Before GStreamer starts, so that its first lines are forwarded, too.
    gst::log::remove_default_log_function();
    let asked_for = env::var_os("GST_DEBUG").is_some();
    gst::log::add_log_function(move |category, level, _file, _function, _line, object, message| {
        let text = message.get().map(|text| text.to_string()).unwrap_or_default();
        let object = object.map(ToString::to_string).unwrap_or_default();
        let (text, category) = (redact(&text), category.name());
        match level {
            // An element's error also arrives on the bus and is logged with its source; this avoids up to five
            // duplicates.
            DebugLevel::Error if !asked_for => tracing::debug!(target: TARGET, category, object, "{text}"),
            DebugLevel::Error => tracing::error!(target: TARGET, category, object, "{text}"),
            DebugLevel::Warning | DebugLevel::Fixme => tracing::warn!(target: TARGET, category, object, "{text}"),
            DebugLevel::Info => tracing::info!(target: TARGET, category, object, "{text}"),
            DebugLevel::Debug => tracing::debug!(target: TARGET, category, object, "{text}"),
            _ => tracing::trace!(target: TARGET, category, object, "{text}"),
        }
    });
    gst::init().map_err(|error| Error::new(Code::Pipeline, format!("GStreamer does not start: {error}")))?;
    // GStreamer reads GST_DEBUG itself at start; do not override it.
    if !asked_for {
        gst::log::set_default_threshold(threshold);
    }
    gst::log::set_active(true);
    Ok(())
}
