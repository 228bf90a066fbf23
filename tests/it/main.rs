//! The integration tests, in one binary.

mod house;
mod scene;
