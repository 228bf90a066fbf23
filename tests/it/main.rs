//! The integration tests, in one binary.

mod house;
mod recorder;
mod sources;
