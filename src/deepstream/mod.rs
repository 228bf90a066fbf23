//! NVIDIA DeepStream: found and versioned here; the backend itself comes later.
//!
//! Several DeepStream versions can be installed side by side, and which one would run is decided by which plugin
//! GStreamer loads. So the plugin is asked first, then the files of the installation, and last, because it drags
//! CUDA in, the library itself (`abi`). Nothing of NVIDIA's is needed to build or to start without it, and no
//! version is refused for being new.

mod abi;
mod version;

pub use version::{Install, find, find_in, finding};
