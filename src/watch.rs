//! Watching files, so that an edit becomes a reload.
