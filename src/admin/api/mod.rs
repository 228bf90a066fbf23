//! The API's endpoints, one file per resource.

pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod config;
pub(super) mod detections;
pub(super) mod events;
pub(super) mod evidence;
pub(super) mod explain;
pub(super) mod logs;
pub(super) mod pictures;
pub(super) mod plugins;
pub(super) mod profile;
pub(super) mod retry;
pub(super) mod session;
pub(super) mod silences;
pub(super) mod sources;
mod sse;
pub(super) mod status;
