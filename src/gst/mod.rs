//! The portable backend: GStreamer pipelines, one supervised pipeline per source.
