//! NVIDIA DeepStream: found and versioned here; the backend itself comes later.
