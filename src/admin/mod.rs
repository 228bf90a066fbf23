//! HTTP: metrics, health, pages and live pictures. Holds the engine's handle.
