//! Detects NVIDIA DeepStream and its version; the backend itself comes later.
//!
//! Several DeepStream versions can be installed side by side; the plugin that GStreamer loads decides which one runs.
//! So the plugin is queried first, then the installation's files, and last the library itself (`abi`), because it loads
//! CUDA. Building and starting without DeepStream requires nothing from NVIDIA, and newer versions are never refused.

mod abi;
mod version;

pub use version::{Install, find, find_in, finding};
