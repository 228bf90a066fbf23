//! The integration tests, in one binary.

mod house;
mod lua;
mod motion;
mod track;
mod wit;
